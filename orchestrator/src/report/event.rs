//! What a run says while it goes. Workers never print: they send these, and one place turns them into text or JSON.

use crate::control::back::Back;
use okd_agent::Value;
use okd_agent::diff::Change;
use okd_agent::ledger::Stand;
use okd_agent::resource::Failure;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// In which pass something happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Pass {
    /// Nothing is changed; later steps see what earlier ones will have done.
    Plan,
    /// Steps that the plan found to change, or could not know.
    Apply,
}

impl Pass {
    /// `plan` or `apply`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Pass::Plan => "plan",
            Pass::Apply => "apply",
        }
    }
}

/// One thing that happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// A pass begins with so many steps on these hosts (steps as far as they are known).
    Begin {
        /// Which pass.
        pass: Pass,
        /// The hosts and how many steps each has.
        hosts: Vec<(String, usize)>,
    },
    /// A host's connection: what is being tried, or how it stands ("connecting", "agent 1.4 MB sent", "plain SSH: …").
    Link {
        /// The host.
        host: String,
        /// What is so.
        text: String,
        /// Whether a person should see it without asking (a fallback, a wait above a second).
        notable: bool,
    },
    /// A step is under way on a host.
    Started {
        /// The host.
        host: String,
        /// The step's name.
        task: String,
        /// How long it may take at most, where that is known.
        limit: Option<Duration>,
    },
    /// A step waits: for what, and until when at most.
    Waiting {
        /// The host.
        host: String,
        /// The step's name.
        task: String,
        /// For what.
        text: String,
        /// How long at most.
        limit: Option<Duration>,
    },
    /// A step is tried again until its condition holds.
    Again {
        /// The host.
        host: String,
        /// The step's name.
        task: String,
        /// Which try it is, from 1.
        attempt: u32,
        /// How many there are at most.
        attempts: u32,
        /// How long until this try; `None`: it begins now.
        wait: Option<Duration>,
        /// How long until the last one, as far as the waits between them tell.
        last: Duration,
    },
    /// More steps became known on a host (an include, handlers).
    More {
        /// The host.
        host: String,
        /// How many.
        steps: usize,
    },
    /// A step (or one item of its loop) ended. Steps that loop give one for each item and no other.
    Result(Box<StepResult>),
    /// A sentence for the person: a warning, a hint.
    Note {
        /// The sentence.
        text: String,
    },
    /// A pass has ended.
    End {
        /// Which pass.
        pass: Pass,
        /// Seconds since it began.
        seconds: f64,
        /// Whether it was cut short by the person.
        cancelled: bool,
    },
}

/// How a step ended, as a person and `--output json` see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum StepStatus {
    /// As desired, or done without a change.
    Ok,
    /// Changed, or would change.
    Changed,
    /// In a plan: not known until applied.
    Unknown,
    /// Not meant for this host now.
    Skipped,
    /// Failed.
    Failed,
    /// The host does not answer.
    Unreachable,
    /// Failed, and that was declared not to matter.
    Ignored,
    /// Failed, and its block's rescue took over.
    Rescued,
    /// Not begun, because something before it failed.
    Blocked,
    /// Of a plan that was kept: not done, because the host has moved since, or what it is was not agreed to.
    Refused,
}

impl StepStatus {
    /// The word in JSON and in the recap.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            StepStatus::Ok => "ok",
            StepStatus::Changed => "changed",
            StepStatus::Unknown => "unknown",
            StepStatus::Skipped => "skipped",
            StepStatus::Failed => "failed",
            StepStatus::Unreachable => "unreachable",
            StepStatus::Ignored => "ignored",
            StepStatus::Rescued => "rescued",
            StepStatus::Blocked => "blocked",
            StepStatus::Refused => "refused",
        }
    }
}

/// One step's end on one host.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StepResult {
    /// In which pass.
    pub pass: Pass,
    /// The host of the play (not the one delegated to).
    pub host: String,
    /// Where it ran, when that is another host.
    pub delegated: Option<String>,
    /// The play's name.
    pub play: String,
    /// The step's rendered name.
    pub task: String,
    /// The module's short name.
    pub module: String,
    /// Where the step is written: `FILE:LINE:COLUMN`.
    pub place: String,
    /// The step's stable number, for grouping the same step of several hosts.
    pub path: String,
    /// The label of a loop's item.
    pub item: Option<String>,
    /// Its tags, for the hint how to try only this again.
    pub tags: Vec<String>,
    /// Whether it is a handler, and what notified it.
    pub handler: Option<Vec<String>>,
    /// How it ended.
    pub status: StepStatus,
    /// Whether the diff may be shown (`diff: false` and `no_log` hide it).
    pub show_diff: bool,
    /// What changes or changed.
    pub diff: Vec<Change>,
    /// A sentence: why it is unknown, why it was skipped, what `debug` says, what failed.
    pub msg: String,
    /// Sentences beside the diff.
    pub notes: Vec<String>,
    /// Everything about a failure.
    pub failure: Option<Box<Failure>>,
    /// The variables that brought what was refused, with their places.
    pub origins: Vec<(String, String)>,
    /// How what it manages stands in the ledger of its machine, where it would change it.
    pub stand: Option<Stand>,
    /// What `register` holds, masked.
    pub result: Value,
    /// Which handlers it notified.
    pub notifies: Vec<String>,
    /// For a blocked step: the path and the host of the step that failed.
    pub by: Option<(String, String)>,
    /// Whether the plan had the same result for this step, so that it need not be told twice.
    pub repeated: bool,
    /// Seconds that it took.
    pub seconds: f64,
    /// What the run's journal keeps besides.
    #[serde(skip)]
    pub trace: Trace,
}

/// What a journal keeps of a step's end, for whoever takes the run up again.
#[derive(Debug, Clone, Default)]
pub struct Trace {
    /// The step's stable name within the playbook, wherever it was included.
    pub key: String,
    /// Which item of its loop, from 0.
    pub at: usize,
    /// A hash of what was asked for.
    pub sent: Option<u64>,
    /// The handlers that it notified, by [`StepResult::path`].
    pub fires: Vec<String>,
    /// Whether `no_log` hides its result.
    pub hidden: bool,
    /// What takes it back, where it went through an interface.
    pub back: Option<Box<Back>>,
}
