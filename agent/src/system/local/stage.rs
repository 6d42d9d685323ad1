//! okd-play's own run folder: where a checker's files are laid out for the time that it runs.

use super::os;
use crate::path::AbsPath;
use crate::system::{Staged, SystemError};
use std::ffi::OsString;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

const PREFIX: &str = "okd-play-stage-";

static COUNT: AtomicU64 = AtomicU64::new(0);

/// A fresh folder that nobody else can enter; gone when this is dropped.
pub(super) struct Stage {
    folder: PathBuf,
}

impl Drop for Stage {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.folder));
    }
}

impl Stage {
    /// Lays the files out.
    pub(super) fn new(files: &[Staged]) -> Result<Stage, SystemError> {
        let root = AbsPath::new("/run/okd-play").map_err(SystemError::Lost)?;
        let stage = Stage {
            folder: folder().map_err(os("make", &root))?,
        };
        let name = stage.name();
        for file in files {
            stays(file, &root)?;
            let bytes = fill_in(&file.bytes, name.as_bytes());
            put(&stage.folder.join(&file.path), &bytes).map_err(os("stage", &root))?;
        }
        Ok(stage)
    }

    /// The folder, as it stands for `{stage}`.
    pub(super) fn name(&self) -> String {
        self.folder.to_string_lossy().into_owned()
    }
}

/// Refuses a staged file whose path leads out of the stage; `root` is where stages are.
///
/// # Errors
/// [`SystemError::Io`].
pub fn stays(file: &Staged, root: &AbsPath) -> Result<(), SystemError> {
    let inner = |part| matches!(part, Component::Normal(_));
    if !file.path.is_empty() && !file.path.contains('\0') && Path::new(&file.path).components().all(inner) {
        return Ok(());
    }
    let reason = format!("`{}` does not stay in the stage", file.path);
    Err(SystemError::io("stage", root, &reason))
}

fn put(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
    }
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?
        .write_all(bytes)
}

/// Makes a fresh folder in the first place that allows it.
fn folder() -> io::Result<PathBuf> {
    let mut last = io::Error::from(ErrorKind::NotFound);
    for base in bases() {
        tidy(&base);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = base.join(format!("{PREFIX}{}-{count}", std::process::id()));
        match DirBuilder::new().mode(0o700).create(&folder) {
            Ok(()) => return Ok(folder),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn bases() -> Vec<PathBuf> {
    let own = PathBuf::from("/run/okd-play");
    drop(DirBuilder::new().mode(0o700).create(&own));
    let session = std::env::var_os("XDG_RUNTIME_DIR").filter(|folder: &OsString| Path::new(folder).is_absolute());
    [Some(own), session.map(PathBuf::from), Some(PathBuf::from("/tmp"))]
        .into_iter()
        .flatten()
        .collect()
}

/// Takes away the stages of processes that were killed.
fn tidy(base: &Path) {
    for entry in fs::read_dir(base).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(rest) = name.to_str().and_then(|name| name.strip_prefix(PREFIX)) else {
            continue;
        };
        if !Path::new("/proc")
            .join(rest.split('-').next().unwrap_or_default())
            .exists()
        {
            drop(fs::remove_dir_all(entry.path()));
        }
    }
}

/// Puts the stage's folder in the place of `{stage}`.
#[must_use]
pub fn fill_in(bytes: &[u8], folder: &[u8]) -> Vec<u8> {
    const MARK: &[u8] = b"{stage}";
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(at) = rest.windows(MARK.len()).position(|window| window == MARK) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(folder);
        rest = &rest[at + MARK.len()..];
    }
    out.extend_from_slice(rest);
    out
}
