//! A step that is under way, its items, and how each of them ended.

use super::deed::Deed;
use super::kept::Agreed;
use super::origin::Origin;
use super::prepare::Context;
use super::waiting::Waiting;
use crate::control::back::Back;
use crate::graph::NodeId;
use crate::link::reach::Reach;
use crate::report::StepStatus;
use okd_agent::Value;
use okd_agent::diff::Change;
use okd_agent::ledger::{Debt, Stand};
use okd_agent::path::AbsPath;
use okd_agent::resource::{Failure, Kind};
use okd_agent::seen::Seen;
use okd_agent::system::overlay::Recorded;
use okd_agent::value::Map;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A step that is under way.
pub(super) struct Live {
    pub(super) context: Context,
    pub(super) name: String,
    pub(super) items: Vec<LiveItem>,
    pub(super) looped: bool,
    /// Items that have not ended.
    pub(super) open: usize,
    pub(super) reach: Option<Arc<Reach>>,
    pub(super) delegated: Option<String>,
    /// What steps behind this one in the pipeline have to wait for at the far end.
    pub(super) barrier: Vec<u64>,
    pub(super) attempt: u32,
    pub(super) attempts: u32,
    pub(super) delay: Duration,
    pub(super) started: Instant,
    pub(super) ignore: bool,
    /// Where the step waits for its host to answer.
    pub(super) waiting: Option<Waiting>,
    /// How long each try of each item may take.
    pub(super) timeout: Option<Duration>,
    /// Between the items of a loop.
    pub(super) pause: Duration,
    /// What it owes once it changes something.
    pub(super) owes: Vec<Debt>,
    /// Items whose guard is or may be set up and has not been confirmed, and whether their answer was lost.
    pub(super) guarded: Vec<(usize, bool)>,
}

pub(super) struct LiveItem {
    pub(super) label: Option<String>,
    pub(super) locals: Map,
    pub(super) deed: Option<Box<Deed>>,
    pub(super) env: Vec<(String, String)>,
    /// Paths that it may change.
    pub(super) touches: Vec<AbsPath>,
    /// What nobody knows any more on its machine, where it is not known itself.
    pub(super) doubts: Vec<Recorded>,
    pub(super) args: Map,
    pub(super) sent: Option<u64>,
    /// What names it in a journal.
    pub(super) lasting: Option<u64>,
    pub(super) agreed: Agreed,
    /// Whether it has been asked for.
    pub(super) begun: bool,
    pub(super) end: Option<ItemEnd>,
    /// What takes back what its first try that changed something did.
    pub(super) back: Option<Box<Back>>,
    /// How its own host is reached, where `delegate_to` names one an item.
    pub(super) reach: Option<Arc<Reach>>,
}

impl Live {
    /// Whether an item is asked for only when the one before it has ended.
    pub(super) fn in_turn(&self) -> bool {
        self.items.len() > 1 && (self.timeout.is_some() || !self.pause.is_zero())
    }

    /// The next item to ask for.
    pub(super) fn next(&self) -> Option<usize> {
        self.items.iter().position(|item| !item.begun && item.end.is_none())
    }

    /// Whether an item that was asked for has not ended.
    pub(super) fn trying(&self) -> bool {
        self.items.iter().any(|item| item.begun && item.end.is_none())
    }

    /// How the host of an item is reached.
    pub(super) fn reach_of(&self, index: usize) -> Option<&Arc<Reach>> {
        let own = self.items.get(index).and_then(|item| item.reach.as_ref());
        own.or(self.reach.as_ref())
    }

    /// How long it may take at most: its `timeout`, or that of what waits for something.
    pub(super) fn limit(&self) -> Option<Duration> {
        let waits = self.items.iter().filter_map(|item| match item.deed.as_deref() {
            Some(Deed::Machine(Kind::WaitFor(wait))) => Some(wait.timeout),
            _ => None,
        });
        self.timeout.or_else(|| waits.max().map(Duration::from_secs))
    }
}

/// How an item ended.
#[derive(Debug, Clone)]
pub(super) struct ItemEnd {
    pub(super) status: StepStatus,
    pub(super) diff: Vec<Change>,
    pub(super) msg: String,
    pub(super) notes: Vec<String>,
    pub(super) failure: Option<Box<Failure>>,
    pub(super) result: Value,
    pub(super) fingerprint: Option<u64>,
    pub(super) stand: Option<Stand>,
    pub(super) seen: Option<Seen>,
    pub(super) repeated: bool,
    pub(super) quiet: bool,
    /// Variables that brought what was refused.
    pub(super) origins: Vec<Origin>,
    /// The step whose failure took it back.
    pub(super) by: Option<NodeId>,
    /// What takes it back, where it went through an interface.
    pub(super) back: Option<Box<Back>>,
}

impl ItemEnd {
    pub(super) fn new(status: StepStatus, msg: impl Into<String>, result: Value) -> ItemEnd {
        ItemEnd {
            status,
            diff: Vec::new(),
            msg: msg.into(),
            notes: Vec::new(),
            failure: None,
            result,
            fingerprint: None,
            stand: None,
            seen: None,
            repeated: false,
            quiet: false,
            origins: Vec::new(),
            by: None,
            back: None,
        }
    }
}
