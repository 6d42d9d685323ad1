//! What has changed on hosts behind okd-play's back: their ledgers against a plan of the whole playbook.

pub mod prune;

use crate::link::reach::Address;
use crate::report::{StepResult, StepStatus};
use crate::run::Outcome;
use crate::run::survey::Survey;
use okd_agent::diff::Change;
use okd_agent::ledger::{Entry, Thing};
use std::collections::HashSet;

/// What is found of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// It was changed since okd-play left it.
    Changed,
    /// No step of the playbook wants it any more.
    Left,
    /// A handler of an earlier run has not run.
    Owed,
    /// It may have left the playbook; that cannot be told.
    Unsure,
    /// The playbook wants it otherwise since; nobody has touched it.
    Pending,
    /// A step could not be planned.
    Failed,
    /// The host does not answer.
    Unreachable,
}

impl Word {
    /// As programs read it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Word::Changed => "changed",
            Word::Left => "left",
            Word::Owed => "owed",
            Word::Unsure => "unsure",
            Word::Pending => "pending",
            Word::Failed => "failed",
            Word::Unreachable => "unreachable",
        }
    }

    /// Whether the host has drifted.
    #[must_use]
    pub fn counts(self) -> bool {
        matches!(self, Word::Changed | Word::Left | Word::Owed)
    }
}

/// One thing that was found.
#[derive(Debug, Clone)]
pub struct Finding {
    /// The machine.
    pub host: String,
    /// What it is.
    pub word: Word,
    /// What is managed, where the ledger told of it.
    pub thing: Option<Thing>,
    /// The step, or the handler.
    pub task: String,
    /// The step's module; empty where it is not known.
    pub module: String,
    /// Where the step is or was written.
    pub place: String,
    /// The run that last left it, by its beginning: microseconds since 1970.
    pub since: Option<u64>,
    /// What would put it right.
    pub diff: Vec<Change>,
    /// Further words.
    pub note: String,
}

/// What was found on all hosts.
#[derive(Debug, Clone, Default)]
pub struct Drift {
    /// The machines that were asked, each with how much is as it was left.
    pub hosts: Vec<(String, usize)>,
    /// What was found.
    pub findings: Vec<Finding>,
}

impl Drift {
    /// Whether anything has drifted.
    #[must_use]
    pub fn any(&self) -> bool {
        self.findings.iter().any(|finding| finding.word.counts())
    }

    /// How often something was found on a host.
    #[must_use]
    pub fn count(&self, host: &str, word: Word) -> usize {
        let of_it = |finding: &&Finding| finding.host == host && finding.word == word;
        self.findings.iter().filter(of_it).count()
    }
}

/// Something that no step of the playbook wants any more.
#[derive(Debug, Clone)]
pub struct Left {
    /// The session whose ledger has it.
    pub address: Address,
    /// What the ledger says of it.
    pub entry: Entry,
    /// What is to become of it.
    pub fate: Fate,
}

/// See [`Left::fate`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It is taken away.
    Goes,
    /// It is not there any more.
    Gone,
    /// It stays, and why.
    Stays(String),
}

/// What the hosts were asked.
#[allow(missing_debug_implementations)]
pub struct Asked<'a> {
    /// The names of the playbook and of all that it imports.
    pub playbooks: &'a [String],
    /// The hosts of its plays.
    pub hosts: &'a HashSet<String>,
    /// The plan's results.
    pub results: &'a [StepResult],
    /// How the plan ended.
    pub outcome: &'a Outcome,
    /// The ledgers.
    pub ledgers: &'a [(Address, Vec<Entry>)],
    /// Where a step is written.
    pub place: &'a dyn Fn(&StepResult) -> String,
}

impl Asked<'_> {
    fn is_ours(&self, entry: &Entry) -> bool {
        entry.playbooks.iter().any(|own| self.playbooks.contains(own))
    }

    /// Whether all steps that may manage a thing were looked at: those of its host.
    fn is_whole(&self, machine: &str, entry: &Entry) -> bool {
        let host = Some(entry.host.as_str()).filter(|host| !host.is_empty());
        self.hosts.contains(host.unwrap_or(machine))
    }

    fn survey(&self) -> &Survey {
        &self.outcome.survey
    }

    /// Everything but what has left the playbook.
    #[must_use]
    pub fn findings(&self) -> Vec<Finding> {
        let steps = self.results.iter().filter_map(|result| self.of_step(result));
        let owed = self.outcome.owed.iter().filter_map(|owed| {
            let (debt, reason) = (&owed.debt, owed.reason());
            let ran = self.results.iter().find(|result| result.notes.contains(&reason));
            let note = match ran.map(|result| result.status) {
                Some(StepStatus::Ok | StepStatus::Skipped) => return None,
                Some(_) => "the next run makes it good",
                None if !self.playbooks.contains(&debt.playbook) => return None,
                None => "its handler is not in this playbook, or the plan did not come so far",
            };
            Some(Finding {
                host: owed.host().to_owned(),
                word: Word::Owed,
                thing: None,
                task: debt.handler.clone(),
                module: String::new(),
                place: ran.map(self.place).unwrap_or_default(),
                since: Some(debt.run),
                diff: ran.map(|result| result.diff.clone()).unwrap_or_default(),
                note: format!("\"{}\" had changed, and it did not run; {note}", debt.step),
            })
        });
        let unsure = self.entries().filter_map(|(address, entry)| {
            let hidden = self.survey().hidden(&address.host, &entry.thing)?;
            let why = hidden.why.lines().next().unwrap_or_default();
            let note = format!("it may have left the playbook, or stand at {}: {why}", hidden.place);
            Some(of_entry(Word::Unsure, address, entry, note))
        });
        steps.chain(owed).chain(unsure).collect()
    }

    fn of_step(&self, result: &StepResult) -> Option<Finding> {
        let since = result.stand.map(|stand| stand.run);
        let differs = result.diff.iter().any(|change| !matches!(change, Change::Act(_)));
        let (word, note) = match (result.status, result.stand) {
            (StepStatus::Changed, Some(stand)) if stand.moved => (Word::Changed, String::new()),
            (StepStatus::Changed, _) if differs => (Word::Pending, String::new()),
            (StepStatus::Failed, _) => (Word::Failed, result.msg.clone()),
            (StepStatus::Unreachable, _) => (Word::Unreachable, result.msg.clone()),
            _ => return None,
        };
        Some(Finding {
            host: result.delegated.clone().unwrap_or_else(|| result.host.clone()),
            word,
            thing: None,
            task: match &result.item {
                Some(item) => format!("{} ({item})", result.task),
                None => result.task.clone(),
            },
            module: result.module.clone(),
            place: (self.place)(result),
            since,
            diff: if result.show_diff {
                result.diff.clone()
            } else {
                Vec::new()
            },
            note,
        })
    }

    /// What the playbook put there and no step of it wants.
    fn entries(&self) -> impl Iterator<Item = (&Address, &Entry)> {
        let all = self
            .ledgers
            .iter()
            .flat_map(|(address, entries)| entries.iter().map(move |entry| (address, entry)));
        all.filter(|(address, entry)| {
            self.is_ours(entry)
                && self.is_whole(&address.host, entry)
                && !self.survey().has(&address.host, &entry.thing)
        })
    }

    /// What has left the playbook. What is to become of it is not known yet but where it stays in any case.
    #[must_use]
    pub fn left(&self) -> Vec<Left> {
        let all = self.entries();
        let all = all.filter(|(address, entry)| self.survey().hidden(&address.host, &entry.thing).is_none());
        all.map(|(address, entry)| Left {
            address: address.clone(),
            entry: entry.clone(),
            fate: prune::fate(entry, self.playbooks),
        })
        .collect()
    }

    /// The machines with how many things there are as they were left.
    #[must_use]
    pub fn same(&self, drift: &Drift) -> Vec<(String, usize)> {
        let mut hosts: Vec<(String, usize)> = Vec::new();
        for (address, entries) in self.ledgers {
            let wanted = entries
                .iter()
                .filter(|entry| self.is_ours(entry) && self.survey().has(&address.host, &entry.thing));
            let number = wanted.count();
            match hosts.iter_mut().find(|(host, _)| *host == address.host) {
                Some((_, known)) => *known += number,
                None => hosts.push((address.host.clone(), number)),
            }
        }
        for (host, number) in &mut hosts {
            *number = number.saturating_sub(drift.count(host, Word::Changed));
        }
        hosts
    }
}

/// A finding by what the ledger says alone.
#[must_use]
pub fn of_entry(word: Word, address: &Address, entry: &Entry, note: String) -> Finding {
    Finding {
        host: address.host.clone(),
        word,
        thing: Some(entry.thing.clone()),
        task: entry.step.clone(),
        module: String::new(),
        place: entry.place.clone(),
        since: Some(entry.run),
        diff: Vec::new(),
        note,
    }
}
