//! Remembers what a plan saw of files, so that before anything is applied it can be said which of them somebody else has
//! changed since.

use super::{Action, Alter, Answer, Entry, FileKind, FileWrite, Make, Meta, Probe, Removal, System, SystemError};
use crate::path::AbsPath;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A machine that is watched while a plan is made on it.
pub struct Witness {
    under: Arc<dyn System>,
    watches: AtomicBool,
    seen: Mutex<BTreeMap<(AbsPath, Verb), Sight>>,
    moved: Mutex<BTreeSet<AbsPath>>,
}

/// How something was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Verb {
    Stat,
    Read { limit: u64 },
    List,
}

/// A digest of what was seen; `None` where nothing was there.
type Sight = Option<[u8; 32]>;

impl Witness {
    /// One that has seen nothing yet, and does not watch.
    #[must_use]
    pub fn new(under: Arc<dyn System>) -> Self {
        Witness {
            under,
            watches: AtomicBool::new(false),
            seen: Mutex::default(),
            moved: Mutex::default(),
        }
    }

    /// Whether what is seen from now on is remembered.
    pub fn watch(&self, on: bool) {
        self.watches.store(on, Ordering::Relaxed);
    }

    /// Forgets what was seen.
    pub fn forget(&self) {
        lock(&self.seen).clear();
        lock(&self.moved).clear();
    }

    /// Looks again at everything that was seen. What cannot be looked at now has moved too.
    pub fn recall(&self) {
        self.watch(false);
        let seen = std::mem::take(&mut *lock(&self.seen));
        let moved = seen
            .into_iter()
            .filter(|((path, verb), before)| match self.look(path, *verb) {
                Ok(now) => now != *before,
                Err(_) => true,
            });
        *lock(&self.moved) = moved.map(|((path, _), _)| path).collect();
    }

    /// Whether what is at a path had changed between the plan and [`Witness::recall`].
    #[must_use]
    pub fn has_moved(&self, path: &AbsPath) -> bool {
        lock(&self.moved).contains(path)
    }

    fn look(&self, path: &AbsPath, verb: Verb) -> Result<Sight, SystemError> {
        Ok(match verb {
            Verb::Stat => self.under.stat(path)?.as_ref().map(attributes),
            Verb::Read { limit } => self.under.read(path, limit)?.as_deref().map(digest),
            Verb::List => Some(entries(&self.under.list(path)?)),
        })
    }

    fn note(&self, path: &AbsPath, verb: Verb, sight: impl FnOnce() -> Sight) {
        if self.watches.load(Ordering::Relaxed) {
            lock(&self.seen).entry((path.clone(), verb)).or_insert_with(sight);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn digest(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// What a step may mind that only looks at what is no content: sizes and times change in every log.
fn attributes(meta: &Meta) -> [u8; 32] {
    let Meta {
        kind,
        mode,
        uid,
        gid,
        target,
        ..
    } = meta;
    digest(format!("{kind:?} {mode:o} {uid} {gid} {target:?}").as_bytes())
}

fn entries(entries: &[Entry]) -> [u8; 32] {
    let kind = |kind: FileKind| kind as u8;
    let all: Vec<u8> = entries
        .iter()
        .flat_map(|entry| [entry.name.as_bytes(), &[0, kind(entry.kind)]].concat())
        .collect();
    digest(&all)
}

impl System for Witness {
    fn stat(&self, path: &AbsPath) -> Result<Option<Meta>, SystemError> {
        let meta = self.under.stat(path)?;
        self.note(path, Verb::Stat, || meta.as_ref().map(attributes));
        Ok(meta)
    }

    fn read(&self, path: &AbsPath, limit: u64) -> Result<Option<Vec<u8>>, SystemError> {
        let bytes = self.under.read(path, limit)?;
        self.note(path, Verb::Read { limit }, || bytes.as_deref().map(digest));
        Ok(bytes)
    }

    fn list(&self, dir: &AbsPath) -> Result<Vec<Entry>, SystemError> {
        let list = self.under.list(dir)?;
        self.note(dir, Verb::List, || Some(entries(&list)));
        Ok(list)
    }

    fn probe(&self, probe: &Probe) -> Result<Answer, SystemError> {
        self.under.probe(probe)
    }

    fn remembered(&self, probe: &Probe) {
        self.under.remembered(probe);
    }

    fn write(&self, file: &FileWrite) -> Result<(), SystemError> {
        self.under.write(file)
    }

    fn make(&self, path: &AbsPath, kind: &Make) -> Result<(), SystemError> {
        self.under.make(path, kind)
    }

    fn alter(&self, path: &AbsPath, change: &Alter) -> Result<(), SystemError> {
        self.under.alter(path, change)
    }

    fn remove(&self, path: &AbsPath, how: Removal) -> Result<(), SystemError> {
        self.under.remove(path, how)
    }

    fn act(&self, action: &Action) -> Result<Answer, SystemError> {
        self.under.act(action)
    }

    fn promised(&self) -> Vec<String> {
        self.under.promised()
    }

    fn predicted(&self) -> bool {
        self.under.predicted()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::system::fake::Fake;

    #[test]
    fn what_was_seen_and_has_changed_since_is_named() {
        let path = |text: &str| AbsPath::new(text).unwrap();
        let machine = Arc::new(
            Fake::new()
                .file("/etc/a", "a")
                .file("/etc/b", "b")
                .file("/etc/c", "c")
                .dir("/srv"),
        );
        let witness = Witness::new(machine.clone());
        witness.read(&path("/etc/b"), 100).unwrap();
        witness.watch(true);
        for name in ["/etc/a", "/etc/c", "/etc/none"] {
            witness.stat(&path(name)).unwrap();
            witness.read(&path(name), 100).unwrap();
        }
        witness.list(&path("/srv")).unwrap();
        for name in ["/etc/a", "/etc/b", "/etc/none", "/srv/new"] {
            machine.write(&FileWrite::new(path(name), b"changed".to_vec())).unwrap();
        }
        machine.write(&FileWrite::new(path("/etc/c"), b"c".to_vec())).unwrap();
        witness.recall();
        let moved = ["/etc/a", "/etc/b", "/etc/c", "/etc/none", "/srv"].map(|name| witness.has_moved(&path(name)));
        assert_eq!(moved, [true, false, false, true, true]);
        witness.forget();
        assert!(!witness.has_moved(&path("/etc/a")));
    }
}
