//! The machine on which a step is applied: when it may still begin to change anything, and what it owes once it does.

use super::env::WithEnv;
use crate::Turn;
use crate::ledger::{Owing, lock};
use crate::path::AbsPath;
use crate::system::witness::Witness;
use crate::system::{Action, Alter, Answer, Entry, FileWrite, Make, Meta, Probe, Removal, System, SystemError};
use std::sync::{Arc, Mutex};

/// A machine on which a step that has looked at something that moved since the plan changes nothing, and on which it is a
/// step's turn from its first change on.
pub(super) struct Watchful {
    pub(super) under: WithEnv,
    pub(super) witness: Arc<Witness>,
    pub(super) turn: Turn,
    pub(super) moved: Mutex<Option<AbsPath>>,
    pub(super) owing: Owing,
}

impl Watchful {
    fn sees(&self, path: &AbsPath) {
        if self.witness.has_moved(path) {
            *lock(&self.moved) = Some(path.clone());
        }
    }

    fn change<T>(&self, verb: impl FnOnce(&WithEnv) -> Result<T, SystemError>) -> Result<T, SystemError> {
        if let Some(path) = &*lock(&self.moved) {
            return Err(SystemError::Moved(path.to_string()));
        }
        if !self.turn.take() {
            return Err(SystemError::Lost("nobody is there any more to hear of it".to_owned()));
        }
        self.owing.begin();
        self.owing.tried(verb(&self.under))
    }
}

impl System for Watchful {
    fn stat(&self, path: &AbsPath) -> Result<Option<Meta>, SystemError> {
        self.sees(path);
        self.under.stat(path)
    }

    fn read(&self, path: &AbsPath, limit: u64) -> Result<Option<Vec<u8>>, SystemError> {
        self.sees(path);
        self.under.read(path, limit)
    }

    fn list(&self, dir: &AbsPath) -> Result<Vec<Entry>, SystemError> {
        self.sees(dir);
        self.under.list(dir)
    }

    fn probe(&self, probe: &Probe) -> Result<Answer, SystemError> {
        self.under.probe(probe)
    }

    fn write(&self, file: &FileWrite) -> Result<(), SystemError> {
        self.change(|under| under.write(file))
    }

    fn make(&self, path: &AbsPath, kind: &Make) -> Result<(), SystemError> {
        self.change(|under| under.make(path, kind))
    }

    fn alter(&self, path: &AbsPath, change: &Alter) -> Result<(), SystemError> {
        self.change(|under| under.alter(path, change))
    }

    fn remove(&self, path: &AbsPath, how: Removal) -> Result<(), SystemError> {
        self.change(|under| under.remove(path, how))
    }

    fn act(&self, action: &Action) -> Result<Answer, SystemError> {
        self.change(|under| under.act(action))
    }

    fn promised(&self) -> Vec<String> {
        self.under.promised()
    }

    fn predicted(&self) -> bool {
        self.under.predicted()
    }
}
