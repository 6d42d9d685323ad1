//! `transaction:` on a block: the files that its steps would leave are one set, whatever kinds wrote them.
//!
//! The steps act in an [`Overlay`]; the commit makes of what it holds a set, and brings that in place as a typed service's.

use super::checker;
use super::set::{self, Content, Files, at, put_all};
use super::swap::{Machine, Reader, Swap, owed_mark};
use super::unit::journal;
use super::view;
use crate::diff::{Change, sha256};
use crate::order::sort_pairs;
use crate::path::AbsPath;
use crate::resource::systemd::Unit;
use crate::resource::{Failure, Kind, Outcome, ResourceError, Status, ended, stale};
use crate::seen::Seen;
use crate::serve::Work;
use crate::system::overlay::{Overlay, Recorded};
use crate::system::{FileKind, FileWrite, Make, Removal, System, SystemError};
use crate::value::{Map, Value, map};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// The end of a block with a transaction: what its steps have staged is put in place, or nothing of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Commit {
    /// What it is called.
    pub name: String,
    /// What has to accept the files; `{stage}` stands for the root of a view that has them.
    pub check: Vec<Vec<String>>,
    /// What tells the service.
    pub reload: Vec<Kind>,
    /// What is asked then.
    pub probe: Vec<Kind>,
    /// Why the set is not known as a whole.
    pub unsure: Option<String>,
    /// What the steps have staged.
    #[serde(skip)]
    pub bracket: Bracket,
}

/// What the steps of a block have staged.
#[derive(Clone, Default)]
pub struct Bracket {
    /// Where they acted; nothing where none of them had anything to do.
    pub staged: Option<Arc<Overlay>>,
    /// In a plan: what will be there besides.
    pub beside: Vec<Recorded>,
}

impl fmt::Debug for Bracket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} changes", self.changes().len())
    }
}

impl Bracket {
    fn changes(&self) -> Vec<Recorded> {
        self.staged.as_ref().map_or_else(Vec::new, |overlay| overlay.since(0))
    }

    /// What is there at the touched paths, and what should be.
    fn set(&self, world: &dyn System) -> Result<(Files, Files), ResourceError> {
        let (mut now, mut want) = (Files::new(), Files::new());
        let Some(overlay) = &self.staged else {
            return Ok((now, want));
        };
        let changes = self.changes();
        let further = changes.iter().find_map(|change| match change {
            Recorded::Make(path, Make::Hard { .. }) => Some(path),
            _ => None,
        });
        if let Some(path) = further {
            let message = format!("{path} would be a further name of a file, which a transaction cannot keep apart");
            return Err(ResourceError::message(message));
        }
        for path in paths(&changes, world)? {
            let (here, mut there) = (Content::look(&path, world)?, Content::look(&path, overlay.as_ref())?);
            if let Some(there) = &mut there {
                there.mtime = touched(&path, &changes);
            }
            if here != there {
                now.push((path.clone(), here));
                want.push((path, there));
            }
        }
        Ok((now, want))
    }
}

/// The paths at which something may have changed, those below a removed folder too.
fn paths(changes: &[Recorded], world: &dyn System) -> Result<BTreeSet<AbsPath>, SystemError> {
    let mut paths = BTreeSet::new();
    for change in changes {
        match change {
            Recorded::Write(FileWrite { path, .. })
            | Recorded::Make(path, _)
            | Recorded::Alter(path, _)
            | Recorded::Remove(path, Removal::File) => drop(paths.insert(path.clone())),
            Recorded::Remove(path, Removal::Tree) => {
                below(path, world, &mut paths)?;
                paths.insert(path.clone());
            }
            Recorded::Act(..) | Recorded::Unforeseen(_) | Recorded::Doubtful(..) => {}
        }
    }
    Ok(paths)
}

/// The time that a step gave a file.
fn touched(path: &AbsPath, changes: &[Recorded]) -> Option<i64> {
    changes.iter().rev().find_map(|change| match change {
        Recorded::Alter(other, alter) if other == path => alter.mtime,
        _ => None,
    })
}

fn below(folder: &AbsPath, world: &dyn System, paths: &mut BTreeSet<AbsPath>) -> Result<(), SystemError> {
    if world.stat(folder)?.is_some_and(|meta| meta.kind == FileKind::Directory) {
        for entry in world.list(folder)? {
            let path = folder.join(&entry.name);
            if entry.kind == FileKind::Directory {
                below(&path, world, paths)?;
            }
            paths.insert(path);
        }
    }
    Ok(())
}

/// What a commit found, or would leave.
#[derive(Serialize)]
struct State<'a> {
    owed: bool,
    files: &'a Files,
}

impl Work for Commit {
    fn converge(&self, world: &Machine, expect: Option<u64>) -> Result<Outcome, Box<Failure>> {
        ended(self.commit(world, expect))
    }

    fn veil(&mut self, as_read: &dyn Fn(&[u8]) -> Vec<u8>) {
        self.reload
            .iter_mut()
            .chain(&mut self.probe)
            .for_each(|kind| kind.veil(as_read));
    }

    fn holds(&self) -> Vec<Recorded> {
        self.bracket.changes()
    }
}

const NOTHING: &str = "nothing was swapped: all files are as they were";

impl Commit {
    /// Names the debt to the service, from run to run and whatever the block's files are.
    fn service(&self) -> String {
        let told = if self.reload.is_empty() {
            postcard::to_stdvec(&self.check)
        } else {
            postcard::to_stdvec(&self.reload)
        };
        format!("block-{}", &sha256(&told.unwrap_or_default())[..16])
    }

    /// What a checker is shown: the set, and in a plan what will be there besides as far as it is known.
    fn shown(&self, want: &Files, world: &dyn System) -> Files {
        let mut shown = want.clone();
        for path in paths(&self.bracket.beside, world).unwrap_or_default() {
            if !want.iter().any(|(known, _)| *known == path)
                && let Ok(content) = Content::look(&path, world)
            {
                shown.push((path, content));
            }
        }
        sort_pairs(&mut shown);
        shown
    }

    fn commit(&self, world: &Machine, expect: Option<u64>) -> Result<Outcome, ResourceError> {
        let service = self.service();
        let owed = world.stat(&owed_mark(&service))?.is_some();
        let (now, want) = self.bracket.set(world).map_err(|error| untouched(error, &[]))?;
        let diff: Vec<Change> = want
            .iter()
            .flat_map(|(path, wanted)| set::changes(path, at(&now, path), wanted.as_ref(), false))
            .collect();
        if let Some(reason) = &self.unsure {
            if !world.predicted() {
                let message = format!("not all of its files are known: {reason}");
                return Err(untouched(ResourceError::message(message), &diff));
            }
            put_all(&now, &want, world)?;
            return Ok(Outcome::unknown(reason.clone()));
        }
        let seen = Seen::of(&State { owed, files: &now });
        let fingerprint = seen.as_ref().map(Seen::fingerprint);
        let wanted = Seen::of(&State { owed, files: &want });
        let seen = seen.zip(wanted).map(|(now, want)| now.told(&want));
        if want.is_empty() && !owed {
            return Ok(Outcome {
                status: Status::Same,
                diff: Vec::new(),
                result: self.result(&want),
                notes: Vec::new(),
                fingerprint,
                stand: None,
                seen,
            });
        }
        if expect.is_some() && expect != fingerprint {
            return Err(stale(diff, seen));
        }
        let reader = Block {
            commit: self,
            want: &want,
            before: self.services(world),
            told: Mutex::default(),
        };
        let swap = Swap {
            service: &service,
            now: &now,
            want: &want,
            told: true,
            owed,
        };
        match swap.exchange(&reader, world) {
            Ok(()) => {}
            Err(ResourceError::Failed(failure))
                if world.predicted() && is_refusal(&failure) && !world.promised().is_empty() =>
            {
                put_all(&now, &want, world)?;
                let reason = format!("{}; what packages of the plan bring may change that", failure.message);
                return Ok(Outcome::unknown(reason));
            }
            Err(error) => return Err(untouched(error, &diff)),
        }
        let told = reader.told.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(Outcome {
            status: Status::Changed,
            diff: told,
            result: self.result(&want),
            notes: self.notes(owed, want.is_empty(), world),
            fingerprint,
            stand: None,
            seen,
        })
    }

    fn result(&self, want: &Files) -> Map {
        let paths: Vec<String> = want.iter().map(|(path, _)| path.to_string()).collect();
        map([("files", Value::from(paths))])
    }

    fn notes(&self, owed: bool, converged: bool, world: &dyn System) -> Vec<String> {
        let mut notes = Vec::new();
        if owed {
            notes.push("an earlier run was cut before the service was told; this one takes it up".to_owned());
        }
        if !world.predicted() {
            return notes;
        }
        for argv in self.check.iter().filter(|_| !converged) {
            notes.push(format!("checked before anything is swapped: {}", argv.join(" ")));
        }
        notes.extend(
            self.probe
                .iter()
                .map(|kind| format!("asked afterwards: {}", asked(kind))),
        );
        if !(self.reload.is_empty() && self.probe.is_empty()) {
            notes.push("the old set is put back when any of that fails".to_owned());
        }
        notes
    }

    /// The units that are told, as they are now.
    fn services(&self, world: &dyn System) -> Vec<(String, Option<Unit>)> {
        let units = self.reload.iter().filter_map(|kind| match kind {
            Kind::Service(service) => service.seen(world),
            _ => None,
        });
        units.collect()
    }
}

fn asked(kind: &Kind) -> String {
    match kind {
        Kind::Probe(probe) => probe.asked(),
        other => other.name().to_owned(),
    }
}

fn is_refusal(failure: &Failure) -> bool {
    failure.message.contains(" refuses the new files: ")
}

/// A failure with the files that did it, and with what stayed where nobody has said it.
fn untouched(error: ResourceError, diff: &[Change]) -> ResourceError {
    if matches!(&error, ResourceError::System(error) if matches!(**error, SystemError::Unknown(_) | SystemError::Lost(_)))
    {
        return error;
    }
    let mut failure = error.failure();
    if failure.kept.is_empty() {
        NOTHING.clone_into(&mut failure.kept);
    }
    failure.diff = diff.to_vec();
    ResourceError::Failed(failure)
}

/// What reads a block's files.
struct Block<'a> {
    commit: &'a Commit,
    want: &'a Files,
    before: Vec<(String, Option<Unit>)>,
    told: Mutex<Vec<Change>>,
}

impl Block<'_> {
    fn names(&self) -> Vec<&str> {
        let short = |name: &'_ String| name.strip_suffix(".service").unwrap_or(name).len();
        self.before.iter().map(|(name, _)| &name[..short(name)]).collect()
    }

    /// Whose files they are, for messages.
    fn owner(&self) -> String {
        let names = self.names();
        if names.is_empty() {
            self.commit.name.clone()
        } else {
            names.join(", ")
        }
    }

    fn runs(&self) -> bool {
        !self.before.is_empty()
            && self
                .before
                .iter()
                .all(|(_, unit)| unit.as_ref().is_some_and(Unit::runs))
    }

    fn failed(&self, what: &str, mut failure: Box<Failure>, world: &dyn System) -> ResourceError {
        failure.message = format!("{what}: {}", failure.message);
        if failure.journal.is_empty() && !failure.lost {
            failure.journal = self.before.iter().flat_map(|(unit, _)| journal(unit, world)).collect();
        }
        ResourceError::Failed(failure)
    }

    fn tell(&self, kind: &Kind, world: &Machine) -> Result<Outcome, ResourceError> {
        let outcome = kind
            .converge(world, None)
            .map_err(|failure| self.failed("reload", failure, world))?;
        match outcome.status {
            Status::Unknown(reason) => Err(SystemError::Unknown(reason).into()),
            _ => Ok(outcome),
        }
    }
}

impl Reader for Block<'_> {
    fn check(&self, world: &dyn System) -> Result<(), ResourceError> {
        let shown = self.commit.shown(self.want, world);
        for argv in &self.commit.check {
            let check = view::check(argv, &shown)?;
            checker::check(&check, &self.owner(), self.runs(), world)?;
        }
        Ok(())
    }

    fn bring(&self, world: &Machine) -> Result<(), ResourceError> {
        for kind in &self.commit.reload {
            let outcome = self.tell(kind, world)?;
            let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            told.extend(outcome.diff);
        }
        for kind in self.commit.probe.iter().filter(|_| !world.predicted()) {
            let end = kind.converge(world, None);
            end.map_err(|failure| self.failed("probe", failure, world))?;
        }
        Ok(())
    }

    fn back(&self, world: &Machine) -> Result<String, ResourceError> {
        let mut at = self.before.iter();
        for kind in &self.commit.reload {
            let seen = if matches!(kind, Kind::Service(_)) {
                at.next()
            } else {
                None
            };
            match (kind, seen) {
                (Kind::Service(service), Some((_, Some(unit)))) if !unit.runs() => service.stop(world)?,
                _ => drop(self.tell(kind, world)?),
            }
        }
        let names = self.names().join(", ");
        Ok(match (names.is_empty(), self.runs(), self.commit.reload.is_empty()) {
            (_, _, true) => "the old set was put back".to_owned(),
            (true, ..) => "the old set was put back, and its service was told again".to_owned(),
            (_, true, _) => format!("the old set was put back and {names} is running on it"),
            (_, false, _) => format!("the old set was put back; {names} did not run before and does not now"),
        })
    }
}

#[cfg(test)]
mod tests;
