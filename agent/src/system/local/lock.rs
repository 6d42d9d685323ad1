//! The lock by which one run has this machine: flock(2) on a file that says whose it is, and the number of the process
//! that took it. The kernel frees it with the process that holds it. All sessions of a run hold it shared; who takes it
//! from nobody holds it alone for as long as it takes to write whose it is.

use super::super::SystemError;
use super::super::claim::Claim;
use super::words;
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Somebody who only looks holds the lock for an instant; it is tried as often before it counts as taken.
const TRIES: u32 = 10;
const PAUSE: Duration = Duration::from_millis(20);

/// How the names of SSH servers' processes begin.
const SERVERS: [&str; 2] = ["sshd", "dropbear"];

/// A machine that is held.
pub(super) struct Held(#[allow(dead_code, reason = "it is held until it is closed")] File);

/// Takes the machine for a run. `Ok(Err(…))` says why there can be no lock here.
pub(super) fn take(claim: &Claim) -> Result<Result<Held, String>, SystemError> {
    let mut file = match open() {
        Ok(file) => file,
        Err(error) => return Ok(Err(format!("no lock can be had: {}", words(&error)))),
    };
    for _ in 0..TRIES {
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
            if let Err(error) = write(&mut file, claim) {
                return Ok(Err(format!("no lock can be had: {}", words(&error))));
            }
            if flock(&file, FlockOperation::NonBlockingLockShared).is_ok() {
                return Ok(Ok(Held(file)));
            }
        } else if flock(&file, FlockOperation::NonBlockingLockShared).is_ok() {
            if read(&mut file).is_some_and(|held| held.run == claim.run) {
                return Ok(Ok(Held(file)));
            }
            let _ = flock(&file, FlockOperation::Unlock);
        }
        std::thread::sleep(PAUSE);
    }
    let mut by = Box::new(read(&mut file).unwrap_or_else(Claim::unknown));
    by.host.clone_from(&claim.host);
    Err(SystemError::Busy { by })
}

/// The run that has the machine.
pub(super) fn taken() -> Option<Claim> {
    let mut file = OpenOptions::new().read(true).open(place().1).ok()?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => None,
        Err(_) => read(&mut file),
    }
}

/// Ends the SSH server's process by which the run that has the machine came here; see [`System::hang_up`].
///
/// [`System::hang_up`]: super::super::System::hang_up
pub(super) fn hang_up(run: &str) -> bool {
    let path = place().1;
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    let number = |text: &str| text.trim().parse().ok().filter(|raw| *raw > 0).and_then(Pid::from_raw);
    let holder = text.lines().nth(4).and_then(number);
    let mut next = holder.filter(|holder| text.lines().next() == Some(run) && has_open(*holder, &path));
    while let Some(pid) = next.filter(|pid| !pid.is_init()) {
        let status = std::fs::read_to_string(proc(pid, "status")).unwrap_or_default();
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name));
        if field("Name:\t").is_some_and(|name| SERVERS.iter().any(|server| name.starts_with(server))) {
            return kill_process(pid, Signal::TERM).is_ok();
        }
        next = field("PPid:").and_then(number);
    }
    false
}

fn proc(pid: Pid, what: &str) -> String {
    format!("/proc/{}/{what}", pid.as_raw_nonzero())
}

/// Whether a process has a file open: a number alone may be another process's by now.
fn has_open(pid: Pid, path: &Path) -> bool {
    let open = std::fs::read_dir(proc(pid, "fd")).into_iter().flatten();
    open.flatten()
        .any(|entry| std::fs::read_link(entry.path()).is_ok_and(|target| target == path))
}

/// The folder that the lock may need, and its file. Who is not root has a lock of the account's own: nobody else could
/// let it go again.
fn place() -> (PathBuf, PathBuf) {
    let uid = rustix::process::geteuid().as_raw();
    let (folder, name) = if uid == 0 {
        (PathBuf::from("/run/okd-play"), "lock")
    } else {
        let session = PathBuf::from(format!("/run/user/{uid}"));
        if session.is_dir() {
            (session, "okd-play.lock")
        } else {
            let home = std::env::var_os("HOME").unwrap_or_else(|| "/nonexistent".into());
            (PathBuf::from(home).join(".cache/okd-play"), "lock")
        }
    };
    let file = folder.join(name);
    (folder, file)
}

fn open() -> io::Result<File> {
    let (folder, file) = place();
    match DirBuilder::new().mode(0o700).recursive(true).create(folder) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    options.open(file)
}

fn write(file: &mut File, claim: &Claim) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(format!("{}{}\n", claim.text(), std::process::id()).as_bytes())
}

fn read(file: &mut File) -> Option<Claim> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.read_to_string(&mut text).ok()?;
    Claim::parse(&text)
}
