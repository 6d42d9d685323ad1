//! This machine: the one place that may touch the file system and start processes.
#![allow(clippy::disallowed_methods)]

mod lock;
mod names;
mod process;
mod stage;
mod swap;

use super::claim::Claim;
use super::links::Spot;
use super::{Action, Alter, Answer, Entry, FileKind, FileWrite, Make, Meta, Probe, Removal, System, SystemError};
use crate::order::sort_by;
use crate::path::AbsPath;
use names::Names;
use process::Run;
pub use process::{OUTPUT_LIMIT, PATH};
use rustix::fs::{AtFlags, CWD, OFlags, Timespec, Timestamps, UTIME_OMIT};
use rustix::io::Errno;
use stage::Stage;
pub use stage::{fill_in, stays};
use std::ffi::CStr;
use std::fs::{self, DirBuilder, File, FileType, Metadata, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};
pub use swap::stem;

/// Seconds that a probe may take where it does not say itself.
pub const PROBE_SECONDS: u64 = 60;

/// Seconds since 1970, by this machine's clock.
#[must_use]
pub fn seconds_now() -> Option<i64> {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_secs()).ok())
}

/// Nanoseconds since 1970, by this machine's clock.
#[must_use]
pub fn nanos_now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// This machine, seen and touched as the user that this program runs as.
pub struct Local {
    users: Names,
    groups: Names,
    held: Mutex<Option<lock::Held>>,
}

impl Default for Local {
    fn default() -> Self {
        Local::new()
    }
}

impl Local {
    /// This machine.
    #[must_use]
    pub fn new() -> Self {
        Local {
            users: Names::users(),
            groups: Names::groups(),
            held: Mutex::default(),
        }
    }

    fn look(&self, path: &AbsPath) -> Result<Option<Meta>, SystemError> {
        let real = path_of(path);
        let found = match fs::symlink_metadata(&real) {
            Ok(found) => found,
            Err(error) if is_absent(&error) => return Ok(None),
            Err(error) => return Err(os("stat", path)(error)),
        };
        let kind = kind_of(found.file_type());
        let target = if kind == FileKind::Link {
            let target = fs::read_link(&real).map_err(os("stat", path))?;
            Some(target.to_string_lossy().into_owned())
        } else {
            None
        };
        Ok(Some(self.meta(&found, kind, target)))
    }

    fn meta(&self, found: &Metadata, kind: FileKind, target: Option<String>) -> Meta {
        Meta {
            kind,
            size: found.size(),
            mode: found.mode() & 0o7777,
            uid: found.uid(),
            gid: found.gid(),
            owner: self.users.name(found.uid()),
            group: self.groups.name(found.gid()),
            mtime: found.mtime(),
            target,
            id: (found.dev(), found.ino()),
        }
    }

    fn uid(&self, name: &str) -> Result<u32, SystemError> {
        let missing = || SystemError::NoSuchId {
            kind: "user".to_owned(),
            name: name.to_owned(),
        };
        self.users.id(name).ok_or_else(missing)
    }

    fn gid(&self, name: &str) -> Result<u32, SystemError> {
        let missing = || SystemError::NoSuchId {
            kind: "group".to_owned(),
            name: name.to_owned(),
        };
        self.groups.id(name).ok_or_else(missing)
    }

    fn spot(&self, path: &AbsPath) -> Result<Spot, SystemError> {
        Spot::find(path, false, &mut |at| self.look(at))
    }
}

impl System for Local {
    fn stat(&self, path: &AbsPath) -> Result<Option<Meta>, SystemError> {
        self.look(path)
    }

    fn read(&self, path: &AbsPath, limit: u64) -> Result<Option<Vec<u8>>, SystemError> {
        let real = path_of(path);
        let found = match fs::metadata(&real) {
            Ok(found) => found,
            Err(error) if is_absent(&error) => return Ok(None),
            Err(error) => return Err(os("read", path)(error)),
        };
        if !found.is_file() {
            return Err(SystemError::wrong_kind(path, "a file", kind_of(found.file_type())));
        }
        let too_large = |size| SystemError::TooLarge {
            path: path.to_string(),
            size,
            limit,
        };
        if found.size() > limit {
            return Err(too_large(found.size()));
        }
        let file = match File::open(&real) {
            Ok(file) => file,
            Err(error) if is_absent(&error) => return Ok(None),
            Err(error) => return Err(os("read", path)(error)),
        };
        let mut bytes = Vec::with_capacity(usize::try_from(found.size()).unwrap_or_default());
        file.take(limit.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(os("read", path))?;
        let size = bytes.len() as u64;
        if size > limit {
            Err(too_large(size))
        } else {
            Ok(Some(bytes))
        }
    }

    fn list(&self, dir: &AbsPath) -> Result<Vec<Entry>, SystemError> {
        let found = match fs::read_dir(path_of(dir)) {
            Ok(found) => found,
            Err(error) if is_absent(&error) => return Ok(Vec::new()),
            Err(error) => return Err(os("list", dir)(error)),
        };
        let entry = |entry: io::Result<fs::DirEntry>| {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            Ok(Entry {
                name,
                kind: kind_of(entry.file_type()?),
            })
        };
        let mut entries: Vec<Entry> = found.map(entry).collect::<io::Result<_>>().map_err(os("list", dir))?;
        sort_by(&mut entries, |one, other| one.name.cmp(&other.name));
        Ok(entries)
    }

    fn probe(&self, probe: &Probe) -> Result<Answer, SystemError> {
        let stage = if probe.stage.is_empty() {
            None
        } else {
            Some(Stage::new(&probe.stage)?)
        };
        let folder = stage.as_ref().map(Stage::name);
        let argv: Vec<String> = match &folder {
            Some(folder) => probe.argv.iter().map(|arg| arg.replace("{stage}", folder)).collect(),
            None => probe.argv.clone(),
        };
        let answer = process::run(&Run {
            argv: &argv,
            stdin: &probe.stdin,
            env: &probe.env,
            cwd: None,
            timeout: Some(probe.timeout.unwrap_or(PROBE_SECONDS)),
        })?;
        if answer.stdout.len() > OUTPUT_LIMIT {
            let reason = format!("it said more than {} MiB", OUTPUT_LIMIT >> 20);
            return Err(SystemError::Command { argv, reason });
        }
        Ok(answer)
    }

    fn write(&self, file: &FileWrite) -> Result<(), SystemError> {
        swap::write(self, file)
    }

    fn make(&self, path: &AbsPath, kind: &Make) -> Result<(), SystemError> {
        let spot = self.spot(path)?;
        let (path, real) = (&spot.path, path_of(&spot.path));
        spot.has_folder("make")?;
        spot.is_free("make", matches!(kind, Make::Link { .. }))?;
        match kind {
            Make::Directory { mode } => {
                DirBuilder::new().mode(0o700).create(&real).map_err(os("make", path))?;
                relabel(&real);
                fs::set_permissions(&real, Permissions::from_mode(*mode)).map_err(os("make", path))
            }
            Make::Link { target } => {
                let fresh = swap::beside(&real);
                symlink(target, &fresh).map_err(os("make", path))?;
                fs::rename(&fresh, &real).map_err(|error| {
                    drop(fs::remove_file(&fresh));
                    os("make", path)(error)
                })
            }
            Make::Hard { source } => {
                let meta = self.look(source)?.ok_or_else(|| SystemError::missing("make", source))?;
                if meta.kind == FileKind::Directory {
                    return Err(SystemError::wrong_kind(source, "a file", meta.kind));
                }
                fs::hard_link(path_of(source), &real).map_err(os("make", path))
            }
        }
    }

    fn alter(&self, path: &AbsPath, change: &Alter) -> Result<(), SystemError> {
        let meta = self.look(path)?.ok_or_else(|| SystemError::missing("alter", path))?;
        let uid = change.owner.as_deref().map(|name| self.uid(name)).transpose()?;
        let gid = change.group.as_deref().map(|name| self.gid(name)).transpose()?;
        let real = path_of(path);
        if uid.is_some() || gid.is_some() {
            lchown(&real, uid, gid).map_err(os("alter", path))?;
        }
        // chown(2) drops the set-id bits; they are given back unless others are asked for.
        let lost = (uid.is_some() || gid.is_some()) && meta.mode & 0o6000 != 0;
        let mode = change
            .mode
            .or(lost.then_some(meta.mode))
            .filter(|_| meta.kind != FileKind::Link);
        if let Some(mode) = mode {
            fs::set_permissions(&real, Permissions::from_mode(mode)).map_err(os("alter", path))?;
        }
        if let Some(mtime) = change.mtime {
            let times = Timestamps {
                last_access: Timespec {
                    tv_sec: 0,
                    tv_nsec: UTIME_OMIT,
                },
                last_modification: Timespec {
                    tv_sec: mtime,
                    tv_nsec: 0,
                },
            };
            rustix::fs::utimensat(CWD, &real, &times, AtFlags::SYMLINK_NOFOLLOW)
                .map_err(|error| os("alter", path)(error.into()))?;
        }
        Ok(())
    }

    fn remove(&self, path: &AbsPath, how: Removal) -> Result<(), SystemError> {
        let spot = self.spot(path)?;
        let Some(meta) = &spot.here else { return Ok(()) };
        spot.may_go()?;
        if meta.kind != FileKind::Directory {
            return match fs::remove_file(path_of(&spot.path)) {
                Err(error) if error.kind() != ErrorKind::NotFound => Err(os("remove", &spot.path)(error)),
                _ => Ok(()),
            };
        }
        if how == Removal::File {
            return Err(SystemError::wrong_kind(&spot.path, "a file or link", meta.kind));
        }
        let real = path_of(&spot.path);
        let (Some(parent), Some(name)) = (real.parent(), real.file_name()) else {
            return Ok(());
        };
        let name = std::ffi::CString::new(name.as_encoded_bytes())
            .map_err(|error| SystemError::io("remove", &spot.path, &error))?;
        let parent = File::open(parent).map_err(os("remove", &spot.path))?;
        sweep(parent.as_fd(), &name, meta.id.0).map_err(|error| os("remove", &spot.path)(error.into()))
    }

    fn act(&self, action: &Action) -> Result<Answer, SystemError> {
        let mut answer = process::run(&Run {
            argv: &action.argv,
            stdin: &action.stdin,
            env: &action.env,
            cwd: action.cwd.as_ref(),
            timeout: action.timeout,
        })?;
        answer.stdout.truncate(OUTPUT_LIMIT);
        answer.stderr.truncate(OUTPUT_LIMIT);
        self.users.forget();
        self.groups.forget();
        Ok(answer)
    }

    fn claim(&self, claim: &Claim) -> Result<Option<String>, SystemError> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.is_none() {
            match lock::take(claim)? {
                Ok(taken) => *held = Some(taken),
                Err(reason) => return Ok(Some(reason)),
            }
        }
        Ok(None)
    }

    fn unclaim(&self) {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn append(&self, path: &AbsPath, bytes: &[u8], last: bool) -> Result<bool, SystemError> {
        let real = path_of(path);
        let known = real.exists();
        let mut options = OpenOptions::new();
        options.append(true).create(true).mode(0o600);
        let mut file = options.open(&real).map_err(os("append", path))?;
        let before = file.metadata().map_err(os("append", path))?.len();
        let added = file.write_all(bytes).and_then(|()| match last {
            true => file.sync_data(),
            false => Ok(()),
        });
        if let Err(error) = added {
            let _ = file.set_len(before);
            return Err(os("append", path)(error));
        }
        if !known {
            swap::settle(&real).map_err(os("append", path))?;
        }
        Ok(true)
    }

    fn claimed(&self) -> Option<Claim> {
        lock::taken()
    }

    fn hang_up(&self, run: &str) -> bool {
        lock::hang_up(run)
    }
}

/// Removes what is in a folder and the folder. Links are not followed, other file systems not entered.
fn sweep(parent: BorrowedFd<'_>, name: &CStr, device: u64) -> rustix::io::Result<()> {
    let refused = match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(error @ (Errno::ISDIR | Errno::PERM)) => error,
        Err(error) => return Err(error),
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = match rustix::fs::openat(parent, name, flags, rustix::fs::Mode::empty()) {
        Ok(folder) => folder,
        Err(Errno::NOTDIR) => return Err(refused),
        Err(error) => return Err(error),
    };
    if rustix::fs::fstat(&folder)?.st_dev != device {
        return Err(Errno::BUSY);
    }
    for entry in rustix::fs::Dir::read_from(&folder)? {
        let entry = entry?;
        if ![c".", c".."].contains(&entry.file_name()) {
            sweep(folder.as_fd(), entry.file_name(), device)?;
        }
    }
    rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)
}

/// Gives a new file or folder the SELinux label of the policy, where there is SELinux; see restorecon(8).
fn relabel(path: &Path) {
    if Path::new("/sys/fs/selinux/enforce").exists() {
        let argv = [
            "restorecon".to_owned(),
            "--".to_owned(),
            path.to_string_lossy().into_owned(),
        ];
        drop(process::run(&Run::new(&argv, 10)));
    }
}

fn path_of(path: &AbsPath) -> PathBuf {
    PathBuf::from(path.as_str())
}

fn kind_of(kind: FileType) -> FileKind {
    match kind {
        kind if kind.is_file() => FileKind::File,
        kind if kind.is_dir() => FileKind::Directory,
        kind if kind.is_symlink() => FileKind::Link,
        kind => {
            debug_assert!(kind.is_block_device() || kind.is_char_device() || kind.is_fifo() || kind.is_socket());
            FileKind::Other
        }
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// The operating system's words without its number.
fn words(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

fn os(verb: &'static str, path: &AbsPath) -> impl FnOnce(io::Error) -> SystemError + use<> {
    let path = path.clone();
    move |error| SystemError::io(verb, &path, &words(&error))
}
