//! Tasks: begun at once, done a little later, with a state, a log, and an end in the real one's words.

use super::World;
use super::request::{Asked, Reply};
use serde_json::{Map, Value as Json, json};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

type Run = Box<dyn FnOnce(&mut World, &mut Vec<String>) -> Result<(), String> + Send>;

/// What a task has to do.
pub(crate) struct Work(Run);

impl Work {
    pub(super) fn new(run: impl FnOnce(&mut World, &mut Vec<String>) -> Result<(), String> + Send + 'static) -> Work {
        Work(Box::new(run))
    }

    pub(super) fn run(self, world: &mut World, log: &mut Vec<String>) -> Result<(), String> {
        (self.0)(world, log)
    }
}

/// One task.
pub(crate) struct Task {
    pub(super) upid: String,
    kind: String,
    id: String,
    token: String,
    pid: u64,
    pstart: u64,
    start: u64,
    pub(super) begun: Instant,
    pub(super) work: Option<Work>,
    end: Option<(String, u64)>,
    log: Vec<String>,
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

impl Task {
    pub(super) fn new(world: &World, asked: &Asked, kind: &str, id: &str, pid: u64, work: Work) -> Task {
        let (start, pstart) = (now(), 0x0004_0000 + world.began.elapsed().as_millis() as u64);
        let upid = format!(
            "UPID:{}:{pid:08X}:{pstart:08X}:{start:08X}:{kind}:{id}:{}:",
            world.node, asked.token
        );
        Task {
            upid,
            kind: kind.to_owned(),
            id: id.to_owned(),
            token: asked.token.clone(),
            pid,
            pstart,
            start,
            begun: Instant::now(),
            work: Some(work),
            end: None,
            log: Vec::new(),
        }
    }

    pub(super) fn finish(&mut self, end: Result<(), String>, log: Vec<String>) {
        self.log = log;
        let (exit, last) = match end {
            Ok(()) => ("OK".to_owned(), "TASK OK".to_owned()),
            Err(said) => (said.clone(), format!("TASK ERROR: {said}")),
        };
        self.log.push(last);
        self.end = Some((exit, now()));
    }

    fn row(&self, node: &str) -> Map<String, Json> {
        let mut row = json!({ "upid": self.upid, "node": node, "pid": self.pid, "pstart": self.pstart, "starttime": self.start,
            "type": self.kind, "id": self.id, "user": self.token.split('!').next() });
        if let Some((_, token)) = self.token.split_once('!') {
            row["tokenid"] = token.into();
        }
        match row {
            Json::Object(row) => row,
            _ => Map::new(),
        }
    }
}

pub(super) fn answer(world: &mut World, asked: &Asked, rest: &[&str]) -> Result<Reply, Reply> {
    let node = world.node.clone();
    match (asked.method.as_str(), rest) {
        ("GET", []) => Ok(list(world, asked, &node)),
        (_, [upid, more @ ..]) => {
            if upid.split(':').count() != 9 || !upid.starts_with("UPID:") {
                return Err(Reply::wrong_one("upid", "unable to parse worker upid"));
            }
            let Some(task) = world.tasks.iter().find(|task| task.upid == *upid) else {
                return Err(Reply::die("no such task"));
            };
            let own = task.token.split('!').next() == Some(asked.user());
            if !own {
                world.rights.need(asked, &format!("/nodes/{node}"), &["Sys.Audit"])?;
            }
            match (asked.method.as_str(), more) {
                ("GET", ["status"]) => {
                    let mut row = task.row(&node);
                    let state = if task.end.is_some() { "stopped" } else { "running" };
                    row.insert("status".to_owned(), state.into());
                    if let Some((exit, _)) = &task.end {
                        row.insert("exitstatus".to_owned(), exit.as_str().into());
                    }
                    Ok(Reply::ok(Json::Object(row)))
                }
                ("GET", ["log"]) => {
                    let number = |name: &str, default: usize| {
                        asked.get(name).and_then(|text| text.parse().ok()).unwrap_or(default)
                    };
                    let (start, limit) = (number("start", 0), number("limit", 50));
                    let limit = if limit == 0 { usize::MAX } else { limit };
                    let lines = task.log.iter().enumerate().skip(start).take(limit);
                    let mut rows: Vec<Json> = lines
                        .map(|(index, line)| json!({ "n": index + 1, "t": line }))
                        .collect();
                    if rows.is_empty() {
                        rows.push(json!({ "n": start + 1, "t": "no content" }));
                    }
                    let mut reply = Reply::ok(Json::Array(rows));
                    if let Some(body) = &mut reply.body {
                        body["total"] = task.log.len().into();
                    }
                    Ok(reply)
                }
                _ => Err(Reply::unknown(asked)),
            }
        }
        _ => Err(Reply::unknown(asked)),
    }
}

/// Tasks that run are missing unless they are asked for.
fn list(world: &World, asked: &Asked, node: &str) -> Reply {
    let source = asked.get("source").unwrap_or("archive");
    let wanted = |task: &&Task| {
        let fits = match source {
            "active" => task.end.is_none(),
            "all" => true,
            _ => task.end.is_some(),
        };
        let vmid = asked.get("vmid").is_none_or(|vmid| task.id == vmid);
        fits && vmid && asked.get("typefilter").is_none_or(|kind| task.kind == kind)
    };
    let rows: Vec<Json> = world
        .tasks
        .iter()
        .rev()
        .filter(wanted)
        .map(|task| {
            let mut row = task.row(node);
            match &task.end {
                Some((exit, end)) => {
                    row.insert("endtime".to_owned(), (*end).into());
                    row.insert("status".to_owned(), exit.as_str().into());
                }
                None if source == "all" => drop(row.insert("status".to_owned(), "RUNNING".into())),
                None => {}
            }
            Json::Object(row)
        })
        .collect();
    let total = rows.len();
    let mut reply = Reply::ok(Json::Array(rows));
    if let Some(body) = &mut reply.body {
        body["total"] = total.into();
    }
    reply
}
