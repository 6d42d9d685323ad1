//! Plain SSH: one shell a host and user, spoken to in framed commands.

use super::reach::Reach;
use super::ssh::Connection;
use okd_agent::path::AbsPath;
use okd_agent::system::{Action, Alter, Answer, Entry, FileWrite, Make, Meta, Probe, Removal, System, SystemError};

/// A shell on a host.
pub struct Shell(());

impl Shell {
    /// Starts it.
    ///
    /// # Errors
    /// A sentence for the person.
    pub async fn start(_: &Connection, reach: &Reach) -> Result<Shell, String> {
        Err(format!("plain SSH to {} is not built yet", reach.host))
    }

    fn refused<T>(&self) -> Result<T, SystemError> {
        Err(SystemError::Lost("plain SSH is not built yet".to_owned()))
    }
}

impl System for Shell {
    fn stat(&self, _: &AbsPath) -> Result<Option<Meta>, SystemError> {
        self.refused()
    }
    fn read(&self, _: &AbsPath, _: u64) -> Result<Option<Vec<u8>>, SystemError> {
        self.refused()
    }
    fn list(&self, _: &AbsPath) -> Result<Vec<Entry>, SystemError> {
        self.refused()
    }
    fn probe(&self, _: &Probe) -> Result<Answer, SystemError> {
        self.refused()
    }
    fn write(&self, _: &FileWrite) -> Result<(), SystemError> {
        self.refused()
    }
    fn make(&self, _: &AbsPath, _: &Make) -> Result<(), SystemError> {
        self.refused()
    }
    fn alter(&self, _: &AbsPath, _: &Alter) -> Result<(), SystemError> {
        self.refused()
    }
    fn remove(&self, _: &AbsPath, _: Removal) -> Result<(), SystemError> {
        self.refused()
    }
    fn act(&self, _: &Action) -> Result<Answer, SystemError> {
        self.refused()
    }
}
