//! What a pass found of each step, so that the next one need not ask again, and the counts of the recap.

use super::owed::Owed;
use crate::report::StepStatus;
use indexmap::IndexMap;
use okd_agent::Value;
use std::collections::{HashMap, HashSet};

/// A step on a host, or one item of its loop.
#[derive(Debug, Clone)]
pub struct Record {
    /// How it ended.
    pub status: StepStatus,
    /// A hash of what was sent; another one means another task.
    pub sent: Option<u64>,
    /// What was seen, where that is sure to be the same when it is applied.
    pub fingerprint: Option<u64>,
    /// Whether everything before it on its host was foreseen, so that what was seen is what will be met.
    pub sure: bool,
    /// What `register` holds.
    pub result: Value,
    /// Whether it declares by its own word that it changes nothing (`changed_when: false`).
    pub quiet: bool,
}

/// Every step of a pass, by its stable key and its host.
pub type Records = HashMap<(String, String), Vec<Record>>;

/// Counts by status.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// As desired.
    pub ok: u32,
    /// Changed, or would change.
    pub changed: u32,
    /// Not known until applied.
    pub unknown: u32,
    /// Not meant for the host now.
    pub skipped: u32,
    /// Failed.
    pub failed: u32,
    /// The host does not answer.
    pub unreachable: u32,
    /// Failed, taken over by a rescue.
    pub rescued: u32,
    /// Failed, declared not to matter.
    pub ignored: u32,
    /// Not begun because of a failure.
    pub blocked: u32,
}

impl Counts {
    /// Counts one more.
    pub fn add(&mut self, status: StepStatus) {
        let field = match status {
            StepStatus::Ok => &mut self.ok,
            StepStatus::Changed => &mut self.changed,
            StepStatus::Unknown => &mut self.unknown,
            StepStatus::Skipped => &mut self.skipped,
            StepStatus::Failed => &mut self.failed,
            StepStatus::Unreachable => &mut self.unreachable,
            StepStatus::Ignored => &mut self.ignored,
            StepStatus::Rescued => &mut self.rescued,
            StepStatus::Blocked => &mut self.blocked,
        };
        *field += 1;
    }

    /// Name and number of each, in the order of the recap.
    #[must_use]
    pub fn each(&self) -> [(&'static str, u32); 9] {
        [
            ("ok", self.ok),
            ("changed", self.changed),
            ("unknown", self.unknown),
            ("skipped", self.skipped),
            ("failed", self.failed),
            ("unreachable", self.unreachable),
            ("rescued", self.rescued),
            ("ignored", self.ignored),
            ("blocked", self.blocked),
        ]
    }
}

/// How a pass ended.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// What it found.
    pub records: Records,
    /// By host, in the order of the inventory. A step that loops counts once.
    pub counts: IndexMap<String, Counts>,
    /// Hosts that were not there, and were planned as blank ones.
    pub assumed: HashSet<String>,
    /// Whether the person cut it short.
    pub cancelled: bool,
    /// Whether a step was refused because its host had moved since the plan.
    pub stale: bool,
    /// Steps that will run in the apply pass though they say that they change nothing.
    pub quiet: u32,
    /// Hosts whose failures `meta: clear_host_errors` has cleared, and that have not failed since.
    pub cleared: HashSet<String>,
    /// Handlers that earlier runs owe, as the ledgers of the hosts told it.
    pub owed: Vec<Owed>,
}

impl Outcome {
    /// Whether applying would do anything: a step that changes, or one that is unknown and does not say that it changes
    /// nothing.
    #[must_use]
    pub fn pending(&self) -> bool {
        let changed: u32 = self.counts.values().map(|counts| counts.changed + counts.unknown).sum();
        changed > self.quiet
    }

    /// Hosts whose plan could not see everything that its later steps will meet.
    #[must_use]
    pub fn unsure(&self) -> HashSet<String> {
        let unsure = self
            .records
            .iter()
            .filter(|(_, items)| items.iter().any(|record| !record.sure));
        unsure.map(|((_, host), _)| host.clone()).collect()
    }

    /// Hosts on which a step failed, or that did not answer, and for which that counts.
    #[must_use]
    pub fn excluded(&self) -> HashSet<String> {
        let bad = self
            .standing()
            .filter(|(_, counts)| counts.failed + counts.unreachable > 0);
        bad.map(|(host, _)| host.clone()).collect()
    }

    /// Whether every host is among [`Outcome::excluded`].
    #[must_use]
    pub fn hopeless(&self) -> bool {
        self.excluded().len() == self.counts.len()
    }

    /// The counts of hosts whose failures count.
    fn standing(&self) -> impl Iterator<Item = (&String, &Counts)> {
        self.counts.iter().filter(|(host, _)| !self.cleared.contains(*host))
    }

    /// This plan, followed by what applying it came to: hosts whose plan failed keep its counts.
    #[must_use]
    pub fn then(self, mut applied: Outcome) -> Outcome {
        for host in self.excluded() {
            if let Some(counts) = self.counts.get(&host) {
                applied.counts.insert(host, *counts);
            }
        }
        applied
    }

    /// Whether a step failed.
    #[must_use]
    pub fn failed(&self) -> bool {
        self.standing().any(|(_, counts)| counts.failed > 0)
    }

    /// Whether a host did not answer.
    #[must_use]
    pub fn unreachable(&self) -> bool {
        self.standing().any(|(_, counts)| counts.unreachable > 0)
    }
}
