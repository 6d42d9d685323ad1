//! The environment that a task gives its commands.

use crate::path::AbsPath;
use crate::system::{Action, Alter, Answer, Entry, FileWrite, Make, Meta, Probe, Removal, System, SystemError};
use std::sync::Arc;

/// A machine whose commands get further environment; what a command brings itself goes first.
pub(super) struct WithEnv {
    under: Arc<dyn System>,
    env: Vec<(String, String)>,
}

impl WithEnv {
    pub(super) fn new(under: Arc<dyn System>, env: &[(String, String)]) -> WithEnv {
        WithEnv {
            under,
            env: env.to_vec(),
        }
    }

    fn env(&self, own: &[(String, String)]) -> Vec<(String, String)> {
        self.env.iter().chain(own).cloned().collect()
    }
}

impl System for WithEnv {
    fn stat(&self, path: &AbsPath) -> Result<Option<Meta>, SystemError> {
        self.under.stat(path)
    }

    fn read(&self, path: &AbsPath, limit: u64) -> Result<Option<Vec<u8>>, SystemError> {
        self.under.read(path, limit)
    }

    fn list(&self, dir: &AbsPath) -> Result<Vec<Entry>, SystemError> {
        self.under.list(dir)
    }

    fn probe(&self, probe: &Probe) -> Result<Answer, SystemError> {
        self.under.probe(&Probe {
            env: self.env(&probe.env),
            ..probe.clone()
        })
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
        self.under.act(&Action {
            env: self.env(&action.env),
            ..action.clone()
        })
    }

    fn promised(&self) -> Vec<String> {
        self.under.promised()
    }

    fn predicted(&self) -> bool {
        self.under.predicted()
    }
}
