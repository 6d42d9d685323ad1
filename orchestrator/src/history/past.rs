//! Journals read back: which runs there were, what they did, and how they ended.

use super::journal::goes_on;
use super::{RunId, files, folder};
use crate::control::back::Back;
use crate::error::Diagnostic;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// The first line of a journal.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Header {
    /// `run`.
    pub event: String,
    /// The run.
    pub id: String,
    /// When it began to change things, in seconds since 1970.
    pub started: i64,
    /// Its name in the ledgers of hosts: microseconds since 1970.
    pub ledger: u64,
    /// Whose it is.
    pub by: String,
    /// The command line, without the values of variables.
    pub words: Vec<String>,
    /// Where it was given.
    pub cwd: PathBuf,
    /// The playbook; empty for an undo.
    pub playbook: PathBuf,
    /// The inventories.
    pub inventory: Vec<String>,
    /// The build of okd-play.
    pub build: String,
    /// The options, for whoever takes the run up again.
    pub args: Value,
    /// Variables whose values were given on the command line and are not kept.
    pub asked: Vec<String>,
    /// The files that were read, with their SHA-256.
    pub sources: BTreeMap<PathBuf, String>,
    /// The run that this one takes up again.
    pub resumes: Option<String>,
    /// The run that this one takes back.
    pub undoes: Option<String>,
    /// The plan that it applied.
    pub applies: Option<PathBuf>,
}

/// A session in which a run changed things, or was about to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Session {
    /// The host, by its name in the inventory.
    pub host: String,
    /// The user that was become.
    pub user: Option<String>,
    /// The user that logged in, where that was said.
    pub login: Option<String>,
    /// Whether it was on the control node.
    pub local: bool,
}

/// A step of a past run, or one item of its loop.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Step {
    /// The host.
    pub host: String,
    /// The step's name.
    pub task: String,
    /// The module.
    pub module: String,
    /// Where it is written.
    pub path: String,
    /// Where it stands in the playbook, as handlers are notified by it.
    pub step: String,
    /// The same, and where it was included: its stable name.
    pub key: String,
    /// Which item of its loop, from 0.
    pub at: usize,
    /// The item's label.
    pub item: Option<String>,
    /// How it ended, by [`crate::report::StepStatus::word`].
    pub status: String,
    /// A sentence about it.
    pub msg: String,
    /// A hash of what was asked for, hexadecimal.
    pub sent: Option<String>,
    /// What `register` held.
    pub result: Value,
    /// The handlers that it notified.
    pub fires: Vec<String>,
    /// Whether it is a handler.
    pub handler: bool,
    /// Whether its result is hidden by `no_log`.
    pub hidden: bool,
    /// Whether the result is all that `register` held: nothing of it is hidden, and no secret was in it.
    pub whole: bool,
    /// What changed, where that may be shown.
    pub diff: Vec<Value>,
    /// Everything about a failure.
    pub failure: Value,
    /// What takes it back, where it changed something through an interface.
    pub back: Option<Back>,
}

impl Step {
    /// Whether it ended well.
    #[must_use]
    pub fn went_well(&self) -> bool {
        matches!(self.status.as_str(), "ok" | "changed")
    }
}

/// The last line of a journal.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct End {
    how: String,
    code: u8,
    hosts: BTreeMap<String, BTreeMap<String, u64>>,
    elapsed_s: f64,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// Well.
    Done,
    /// At least one step failed, was refused, or did not reach its host.
    Failed,
    /// By Ctrl-C, or another signal that asks for the end.
    Interrupted,
    /// Without a word: its process is gone.
    Killed,
    /// Not yet.
    Running,
}

impl How {
    /// As people and JSON say it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            How::Done => "done",
            How::Failed => "failed",
            How::Interrupted => "interrupted",
            How::Killed => "killed",
            How::Running => "running",
        }
    }
}

/// A run that was begun.
#[derive(Debug, Clone)]
pub struct Past {
    /// Its journal.
    pub path: PathBuf,
    /// What it is.
    pub header: Header,
    /// How it ended.
    pub how: How,
    /// Its exit code, where it came to its end.
    pub code: Option<u8>,
    /// How long it took, in seconds, where it came to its end.
    pub seconds: Option<f64>,
    /// Hosts, and how many steps ended there by each word.
    pub hosts: BTreeMap<String, BTreeMap<String, u64>>,
}

/// No line at a journal's end is longer than this but those with results.
const TAIL: u64 = 1 << 20;

/// So many runs that are over are told to hosts, which may not know it.
const OVER: usize = 16;

impl Past {
    /// Reads who a run is and how it ended; `None` for what is no journal.
    #[must_use]
    pub fn read(path: &Path) -> Option<Past> {
        let running = goes_on(path);
        let mut file = BufReader::new(File::open(path).ok()?);
        let mut first = String::new();
        file.read_line(&mut first).ok()?;
        let header: Header = serde_json::from_str(&first).ok()?;
        RunId::parse(&header.id)?;
        let mut file = file.into_inner();
        let length = file.metadata().ok()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL))).ok()?;
        let mut tail = Vec::new();
        file.read_to_end(&mut tail).ok()?;
        let tail = String::from_utf8_lossy(&tail);
        let last = tail.lines().next_back().unwrap_or_default();
        let end: Option<End> = serde_json::from_str::<Value>(last)
            .ok()
            .filter(|line| line["event"] == "end")
            .and_then(|line| serde_json::from_value(line).ok());
        let mut past = Past {
            path: path.to_path_buf(),
            header,
            how: if running { How::Running } else { How::Killed },
            code: None,
            seconds: None,
            hosts: BTreeMap::new(),
        };
        match end {
            Some(end) => {
                past.how = match end.how.as_str() {
                    "done" => How::Done,
                    "interrupted" => How::Interrupted,
                    _ => How::Failed,
                };
                past.code = Some(end.code);
                past.seconds = Some(end.elapsed_s);
                past.hosts = end.hosts;
            }
            None => {
                for step in past.steps() {
                    *past.hosts.entry(step.host).or_default().entry(step.status).or_default() += 1;
                }
                for session in past.sessions() {
                    past.hosts.entry(session.host).or_default();
                }
            }
        }
        Some(past)
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.header.id
    }

    /// How many steps ended so on all hosts.
    #[must_use]
    pub fn count(&self, word: &str) -> u64 {
        self.hosts.values().filter_map(|counts| counts.get(word)).sum()
    }

    /// The lines of its journal.
    pub fn lines(&self) -> impl Iterator<Item = Value> + use<> {
        let lines = File::open(&self.path).ok().map(|file| BufReader::new(file).lines());
        let lines = lines.into_iter().flatten().map_while(Result::ok);
        // A line that a full disk cut short is none.
        lines.filter_map(|line| serde_json::from_str(&line).ok())
    }

    /// What it did, in order.
    #[must_use]
    pub fn steps(&self) -> Vec<Step> {
        let results = self.lines().filter(|line| line["event"] == "result");
        results.filter_map(|line| serde_json::from_value(line).ok()).collect()
    }

    /// Where it changed things, or was about to, in order.
    #[must_use]
    pub fn sessions(&self) -> Vec<Session> {
        let begun = self.lines().filter(|line| line["event"] == "session");
        let mut all: Vec<Session> = Vec::new();
        for session in begun.filter_map(|line| serde_json::from_value(line).ok()) {
            if !all.contains(&session) {
                all.push(session);
            }
        }
        all
    }
}

/// All runs, the newest first.
#[must_use]
pub fn all() -> Vec<Past> {
    let mut found = folder().map(|folder| files(&folder)).unwrap_or_default();
    found.sort();
    found.iter().rev().filter_map(|path| Past::read(path)).collect()
}

/// The ids of the newest runs that do not go on, however they ended.
#[must_use]
pub fn over() -> Vec<String> {
    let mut found = folder().map(|folder| files(&folder)).unwrap_or_default();
    found.sort();
    let ended = found.iter().rev().filter(|path| !goes_on(path)).take(OVER);
    ended
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .collect()
}

/// The run that is meant by its id, or by a part of it that no other run has.
///
/// # Errors
/// `no-run`.
pub fn find(text: &str) -> Result<Past, Diagnostic> {
    let paths = folder().map(|folder| files(&folder)).unwrap_or_default();
    let named = |path: &PathBuf| {
        path.file_stem()
            .map(|stem| stem.to_string_lossy().into_owned())
            .unwrap_or_default()
    };
    let exact = paths.iter().find(|path| named(path) == text);
    let like: Vec<&PathBuf> = match exact {
        Some(path) => vec![path],
        None => paths
            .iter()
            .filter(|path| !text.is_empty() && named(path).contains(text))
            .collect(),
    };
    let list = "`okd-play runs` lists them";
    match like[..] {
        [path] => Past::read(path).ok_or_else(|| {
            Diagnostic::new(
                "no-run",
                format!("{} cannot be read as a run's journal", path.display()),
            )
            .help(list)
        }),
        [] => {
            let names: Vec<String> = paths.iter().map(named).collect();
            Err(Diagnostic::new("no-run", format!("there is no run `{text}`"))
                .help(list)
                .did_you_mean(text, names.iter().map(String::as_str)))
        }
        _ => Err(Diagnostic::new("no-run", format!("`{text}` is a part of {} runs' ids", like.len())).help(list)),
    }
}
