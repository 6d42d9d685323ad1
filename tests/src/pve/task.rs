//! Tasks: begun at once, done a little later, with a state, a log, and an end in the real one's words.

use super::World;
use super::request::{Asked, Reply};
use serde_json::{Map, Value as Json, json};
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

type Run = Box<dyn FnOnce(&mut World, &mut Vec<String>) -> Result<Step, String> + Send>;
type Job = Box<dyn FnOnce(&mut Vec<String>) -> Result<Json, String> + Send>;
type Then = Box<dyn FnOnce(&mut World, &mut Vec<String>, Json) -> Result<(), String> + Send>;

/// What a task has to do.
pub(crate) struct Work(Run);

/// How far a task has come.
pub(crate) enum Step {
    /// To its end.
    Done,
    /// Nothing lasts; the rest comes at once.
    Now(Then),
    /// Something lasts, such as a download: it is done beside the server, which answers meanwhile; then the rest.
    Aside(Job, Then),
}

impl Step {
    pub(super) fn aside(
        job: impl FnOnce(&mut Vec<String>) -> Result<Json, String> + Send + 'static,
        then: impl FnOnce(&mut World, &mut Vec<String>, Json) -> Result<(), String> + Send + 'static,
    ) -> Step {
        Step::Aside(Box::new(job), Box::new(then))
    }
}

impl Work {
    pub(super) fn new(run: impl FnOnce(&mut World, &mut Vec<String>) -> Result<(), String> + Send + 'static) -> Work {
        Work(Box::new(|world, log| run(world, log).map(|()| Step::Done)))
    }

    pub(super) fn stepped(
        run: impl FnOnce(&mut World, &mut Vec<String>) -> Result<Step, String> + Send + 'static,
    ) -> Work {
        Work(Box::new(run))
    }
}

/// What is done beside the server, and what comes then.
struct Beside {
    ended: Receiver<(Result<Json, String>, Vec<String>)>,
    then: Then,
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
    begun: Instant,
    work: Option<Work>,
    beside: Option<Beside>,
    end: Option<(String, u64)>,
    log: Vec<String>,
}

pub(super) fn now() -> u64 {
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
            beside: None,
            end: None,
            log: Vec::new(),
        }
    }

    fn finish(&mut self, end: Result<(), String>) {
        let (exit, last) = match end {
            Ok(()) => ("OK".to_owned(), "TASK OK".to_owned()),
            Err(said) => (said.clone(), format!("TASK ERROR: {said}")),
        };
        self.log.push(last);
        self.end = Some((exit, now()));
    }

    /// Itself, as it is kept over a restart of the server.
    pub(super) fn kept(&self) -> Json {
        json!({ "upid": self.upid, "end": self.end, "log": self.log })
    }

    /// One that was kept; what had not ended never will.
    pub(super) fn restored(kept: &Json) -> Option<Task> {
        let upid = kept.get("upid")?.as_str()?.to_owned();
        let parts: Vec<&str> = upid.split(':').collect();
        let [_, _, pid, pstart, start, kind, id, token, _] = parts.as_slice() else {
            return None;
        };
        let hex = |text: &str| u64::from_str_radix(text, 16).unwrap_or_default();
        let end = serde_json::from_value(kept.get("end")?.clone()).ok().flatten();
        let log: Vec<String> = serde_json::from_value(kept.get("log")?.clone()).unwrap_or_default();
        Some(Task {
            kind: (*kind).to_owned(),
            id: (*id).to_owned(),
            token: (*token).to_owned(),
            pid: hex(pid),
            pstart: hex(pstart),
            start: hex(start),
            begun: Instant::now(),
            work: None,
            beside: None,
            end: Some(end.unwrap_or_else(|| ("unexpected status".to_owned(), now()))),
            log,
            upid,
        })
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

/// Does what tasks have to do by now; whether anything was done.
pub(super) fn tick(world: &mut World) -> bool {
    let (mut moved, held) = (false, world.held());
    for index in 0..world.tasks.len() {
        let task = &world.tasks[index];
        let stays = !held.is_empty() && held == format!("{}:{}", task.kind, task.id);
        moved |= ended(world, index) | (!stays && begun(world, index));
    }
    moved
}

/// Takes up what ended beside the server.
fn ended(world: &mut World, index: usize) -> bool {
    let Some(beside) = world.tasks[index].beside.take() else {
        return false;
    };
    let (result, more) = match beside.ended.try_recv() {
        Ok(end) => end,
        Err(TryRecvError::Empty) => {
            world.tasks[index].beside = Some(beside);
            return false;
        }
        Err(TryRecvError::Disconnected) => (Err("worker died".to_owned()), Vec::new()),
    };
    let mut log = std::mem::take(&mut world.tasks[index].log);
    log.extend(more);
    let end = result.and_then(|said| (beside.then)(world, &mut log, said));
    world.tasks[index].log = log;
    world.tasks[index].finish(end);
    true
}

/// Begins a task's work, unless another one of the same thing lasts.
fn begun(world: &mut World, index: usize) -> bool {
    let task = &world.tasks[index];
    let busy = |other: &Task| other.beside.is_some() && other.id == task.id && !task.id.is_empty();
    if task.begun.elapsed() < Duration::from_millis(30) || world.tasks.iter().any(busy) {
        return false;
    }
    let Some(Work(run)) = world.tasks[index].work.take() else {
        return false;
    };
    let mut log = std::mem::take(&mut world.tasks[index].log);
    let step = run(world, &mut log);
    world.tasks[index].log = log;
    match step {
        Ok(Step::Now(then)) => {
            let mut log = std::mem::take(&mut world.tasks[index].log);
            let end = then(world, &mut log, Json::Null);
            world.tasks[index].log = log;
            world.tasks[index].finish(end);
        }
        Ok(Step::Done) => world.tasks[index].finish(Ok(())),
        Err(said) => world.tasks[index].finish(Err(said)),
        Ok(Step::Aside(job, then)) => {
            let (sender, ended) = channel();
            std::thread::spawn(move || {
                let mut log = Vec::new();
                let result = job(&mut log);
                let _ = sender.send((result, log));
            });
            world.tasks[index].beside = Some(Beside { ended, then });
        }
    }
    true
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
