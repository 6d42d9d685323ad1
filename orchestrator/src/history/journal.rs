//! A run's journal on the control node: a file of JSON lines to which is only ever added. The file is locked while the run
//! lasts, so that whoever finds it without an end and without a lock knows that the run was killed.
//!
//! A line is handed to the kernel before the run goes on, which a killed process survives; it is written to the disk
//! behind the run's back, since a step should not wait for the control node's disk.

use super::{RunId, folder};
use crate::report::{scrub, warn};
use rustix::fs::{FlockOperation, flock};
use serde_json::Value;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, PoisonError};

/// So many runs are kept,
const RUNS: usize = 200;
/// and no more than this of them, in bytes.
const BYTES: u64 = 256 << 20;

/// The journal of a run that goes on.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    /// `None` once it cannot be written any more.
    file: Mutex<Option<File>>,
    written: Sender<()>,
}

impl Journal {
    /// Begins the journal of a run with its first line. Where there can be none, that is said, and the run goes on
    /// without: what it does is worth more than what is written about it.
    #[must_use]
    pub fn begin(id: &RunId, header: &Value) -> Option<Journal> {
        let path = match folder() {
            Some(folder) => folder.join(format!("{id}.jsonl")),
            None => {
                unwritten("neither $XDG_STATE_HOME nor a home folder is known");
                return None;
            }
        };
        match open(&path).and_then(|file| Ok((file.try_clone()?, file))) {
            Ok((second, file)) => {
                prune(path.parent().unwrap_or(Path::new("/")), &path);
                let journal = Journal {
                    path,
                    file: Mutex::new(Some(file)),
                    written: follow(second),
                };
                journal.write(header);
                Some(journal)
            }
            Err(error) => {
                unwritten(&format!("{}: {error}", path.display()));
                None
            }
        }
    }

    /// Adds a line.
    pub fn write(&self, line: &Value) {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(to) = file.as_mut() else { return };
        let text = scrub::clean(&format!("{line}\n")).into_owned();
        match to.write_all(text.as_bytes()) {
            Ok(()) => drop(self.written.send(())),
            Err(error) => {
                *file = None;
                warn(&format!(
                    "warning: the journal of this run ends here, {}: {error}\nThe run goes on; `okd-play undo` will know it only as far as it was written down.\n",
                    self.path.display()
                ));
            }
        }
    }

    /// Adds the last line, which is on the disk when this returns.
    pub fn end(&self, line: &Value) {
        self.write(line);
        if let Some(file) = &*self.file.lock().unwrap_or_else(PoisonError::into_inner) {
            let _ = file.sync_all();
        }
    }
}

fn unwritten(why: &str) {
    warn(&format!(
        "warning: this run leaves no journal, {why}\nThe run goes on; `okd-play undo` cannot take it back afterwards.\n"
    ));
}

fn open(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let file = OpenOptions::new()
        .append(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    Ok(file)
}

/// Writes out what was handed to the kernel, as often as the disk allows.
fn follow(file: File) -> Sender<()> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        while receiver.recv().is_ok() {
            while receiver.try_recv().is_ok() {}
            if file.sync_data().is_err() {
                return;
            }
        }
    });
    sender
}

/// Whether the run of a journal goes on.
pub(super) fn goes_on(path: &Path) -> bool {
    let Ok(file) = File::open(path) else { return false };
    flock(&file, FlockOperation::NonBlockingLockShared).is_err()
}

/// Takes the oldest journals away where there are too many; never one whose run goes on.
fn prune(folder: &Path, own: &Path) {
    let mut found: Vec<(PathBuf, u64)> = super::files(folder)
        .into_iter()
        .filter(|path| path != own)
        .map(|path| {
            let size = path.metadata().map_or(0, |meta| meta.len());
            (path, size)
        })
        .collect();
    found.sort();
    let (mut bytes, mut runs) = (0, 1);
    for (path, size) in found.iter().rev() {
        (bytes, runs) = (bytes + size, runs + 1);
        if (runs > RUNS || bytes > BYTES) && !goes_on(path) {
            let _ = std::fs::remove_file(path);
        }
    }
}
