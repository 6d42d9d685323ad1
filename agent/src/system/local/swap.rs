//! Puts a whole file in the place of another, so that whoever looks sees the old one or the new one.

use super::process::{self, Run};
use super::{Local, os, path_of};
use crate::path::AbsPath;
use crate::system::links::Spot;
use crate::system::{FileWrite, Meta, SystemError};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const PREFIX: &str = ".okd-play-";

/// Leftovers of a process that may still be alive are taken away after this.
const STALE: Duration = Duration::from_secs(3600);

static COUNT: AtomicU64 = AtomicU64::new(0);

/// A file beside the one that it shall replace; gone again unless it was renamed.
struct Temporary {
    path: PathBuf,
    renamed: bool,
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.renamed {
            drop(fs::remove_file(&self.path));
        }
    }
}

/// A fresh name beside a path, which says for whom and by which process it was made. What has that name was left by a
/// process that had this one's number before the machine was restarted, and goes.
pub(super) fn beside(path: &Path) -> PathBuf {
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let fresh = path.with_file_name(format!("{}{}-{count}", stem_of(path), std::process::id()));
    drop(fs::remove_file(&fresh));
    fresh
}

/// How the temporary names beside a file of this name begin, whoever makes them; the number of the process that did
/// follows. What a killed one left is known by it.
#[must_use]
pub fn stem(name: &[u8]) -> String {
    format!("{PREFIX}{}-", &crate::diff::sha256(name)[..8])
}

fn stem_of(path: &Path) -> String {
    stem(path.file_name().unwrap_or_default().as_encoded_bytes())
}

/// Takes away what a killed run left beside a path.
fn tidy(path: &Path) {
    let stem = stem_of(path);
    for entry in path
        .parent()
        .and_then(|folder| fs::read_dir(folder).ok())
        .into_iter()
        .flatten()
        .flatten()
    {
        let name = entry.file_name();
        let Some(rest) = name.to_str().and_then(|name| name.strip_prefix(&stem)) else {
            continue;
        };
        let maker = rest.split('-').next().unwrap_or_default();
        let age = entry
            .metadata()
            .ok()
            .and_then(|meta| meta.modified().ok())
            .and_then(|time| time.elapsed().ok());
        let ended = !Path::new("/proc").join(maker).exists();
        if ended || age.is_some_and(|age| age > STALE) {
            drop(fs::remove_file(entry.path()));
        }
    }
}

/// See [`crate::system::System::write`].
pub(super) fn write(local: &Local, file: &FileWrite) -> Result<(), SystemError> {
    let spot = Spot::find(&file.path, !file.replaces_link, &mut |at| local.look(at))?;
    let here = spot.takes_file(file.replaces_link)?;
    spot.has_folder("write")?;
    let uid = file.owner.as_deref().map(|name| local.uid(name)).transpose()?;
    let gid = file.group.as_deref().map(|name| local.gid(name)).transpose()?;
    let path = path_of(&spot.path);
    tidy(&path);
    let mut temporary = Temporary {
        path: beside(&path),
        renamed: false,
    };
    let owners = (uid.or(here.map(|meta| meta.uid)), gid.or(here.map(|meta| meta.gid)));
    let mode = file.mode.or(here.map(|meta| meta.mode)).unwrap_or(0o644);
    fill(&temporary.path, &path, here, &file.bytes, owners, mode).map_err(os("write", &spot.path))?;
    if let Some(argv) = &file.validate {
        validate(argv, &temporary.path, &spot.path)?;
    }
    fs::rename(&temporary.path, &path).map_err(os("write", &spot.path))?;
    temporary.renamed = true;
    if here.is_none() {
        super::relabel(&path);
    }
    settle(&path).map_err(os("write", &spot.path))
}

fn fill(
    temporary: &Path,
    path: &Path,
    here: Option<&Meta>,
    bytes: &[u8],
    (uid, gid): (Option<u32>, Option<u32>),
    mode: u32,
) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(temporary)?;
    file.write_all(bytes)?;
    let made = file.metadata()?;
    let uid = uid.filter(|uid| *uid != made.uid());
    let gid = gid.filter(|gid| *gid != made.gid());
    if uid.is_some() || gid.is_some() {
        fchown(&file, uid, gid)?;
    }
    if here.is_some() {
        copy_attributes(path, &file);
    }
    file.set_permissions(Permissions::from_mode(mode))?;
    file.sync_all()
}

/// Carries access lists, the SELinux label and the user's own attributes over, as far as the file system has them.
/// Capabilities and signatures belong to the old content and stay behind; see xattr(7).
fn copy_attributes(from: &Path, to: &File) {
    let mut names = vec![0_u8; 64 << 10];
    let Ok(count) = rustix::fs::listxattr(from, &mut names[..]) else {
        return;
    };
    for name in names[..count].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        if [&b"security.capability"[..], b"security.ima", b"security.evm"].contains(&name) {
            continue;
        }
        let mut value = vec![0_u8; 64 << 10];
        if let Ok(length) = rustix::fs::getxattr(from, name, &mut value[..]) {
            let _ = rustix::fs::fsetxattr(to, name, &value[..length], rustix::fs::XattrFlags::empty());
        }
    }
}

fn validate(argv: &[String], temporary: &Path, path: &AbsPath) -> Result<(), SystemError> {
    let argv: Vec<String> = argv
        .iter()
        .map(|arg| arg.replace("%s", &temporary.to_string_lossy()))
        .collect();
    let answer = process::run(&Run::new(&argv, 60))?;
    if answer.success() {
        return Ok(());
    }
    Err(SystemError::Refused {
        path: path.to_string(),
        argv,
        answer,
    })
}

/// Makes a rename last: the folder is written out too.
pub(super) fn settle(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}
