//! Bytes to meaning with positions. Every position that a message shows is born here and never thrown away.

mod compose;
pub mod decode;
pub mod files;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
pub(crate) mod golden;
mod hint;
mod offsets;
mod scalar;
pub mod yaml;

use crate::error::Diagnostic;
use files::Files;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock, RwLock};

/// A place in a source file: byte offsets, end exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span {
    /// Which file of the [`SourceMap`].
    pub file: FileId,
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

/// A file in a [`SourceMap`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId(pub u32);

/// One file as it was read.
#[derive(Debug)]
pub struct SourceFile {
    /// The path as a person would type it (relative to the working directory where it lies below it).
    pub path: PathBuf,
    /// The whole text.
    pub text: String,
    /// Whether the text is a secret that no message may quote.
    pub hidden: bool,
    line_starts: Vec<u32>,
}

/// Line and column, both from 1; the column counts characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// From 1.
    pub line: u32,
    /// From 1, in characters.
    pub column: u32,
}

/// All files that were read in this run; shared, append-only.
#[derive(Debug, Clone, Default)]
pub struct SourceMap {
    disk: Arc<OnceLock<Files>>,
    files: Arc<RwLock<Vec<Arc<SourceFile>>>>,
}

impl SourceMap {
    /// Reads from these files. It has to be said before anything is read.
    pub fn read_from(&self, disk: Files) {
        let fresh = self.disk.set(disk).is_ok();
        debug_assert!(fresh, "something was read before it was said where from");
    }

    /// Where files are read from.
    #[must_use]
    pub fn disk(&self) -> &Files {
        self.disk.get_or_init(Files::default)
    }

    /// Reads a file into the map.
    ///
    /// # Errors
    /// The operating system's, where the file cannot be read or is not UTF-8.
    pub fn load(&self, path: &Path) -> std::io::Result<FileId> {
        let text = self.disk().read_to_string(path)?;
        Ok(self.add(path, text))
    }

    /// Reads a file into the map, or says why not.
    ///
    /// # Errors
    /// `unreadable-file`, with the place that asked for the file where there is one.
    pub fn read(&self, path: &Path, asked: Option<Span>) -> Result<FileId, Diagnostic> {
        self.load(path).map_err(|error| {
            let why = match error.kind() {
                std::io::ErrorKind::InvalidData => "it is not UTF-8 text".to_owned(),
                std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
                std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
                _ => error.to_string(),
            };
            let found = Diagnostic::new("unreadable-file", format!("cannot read {}: {why}", plain(path)));
            let found = found.at_some(asked, "asked for here");
            let (folder, name) = (folder_of(path), path.file_name().unwrap_or_default().to_string_lossy());
            match error.kind() {
                std::io::ErrorKind::NotFound => {
                    found.did_you_mean(&name, self.disk().names(&folder).iter().map(String::as_str))
                }
                _ => found,
            }
        })
    }

    /// Adds text under a name, for `-e`, `-i` lists and tests.
    pub fn add(&self, path: &Path, text: String) -> FileId {
        self.push(path, text, false)
    }

    /// Adds text that no message may quote, such as what an encrypted file holds.
    pub fn add_hidden(&self, path: &Path, text: String) -> FileId {
        self.push(path, text, true)
    }

    fn push(&self, path: &Path, text: String, hidden: bool) -> FileId {
        let shown = std::env::current_dir()
            .ok()
            .and_then(|dir| path.strip_prefix(dir).ok().map(Path::to_path_buf))
            .unwrap_or_else(|| path.strip_prefix(".").unwrap_or(path).to_path_buf());
        let line_starts = std::iter::once(0)
            .chain(
                text.bytes()
                    .enumerate()
                    .filter(|(_, byte)| *byte == b'\n')
                    .map(|(at, _)| at as u32 + 1),
            )
            .collect();
        let mut files = self.files.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        files.push(Arc::new(SourceFile {
            path: shown,
            text,
            hidden,
            line_starts,
        }));
        FileId(files.len() as u32 - 1)
    }

    /// The file of an id that this map gave out.
    #[must_use]
    pub fn file(&self, id: FileId) -> Arc<SourceFile> {
        let files = self.files.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        Arc::clone(&files[id.0 as usize])
    }

    /// The files of the disk that are here, each once.
    #[must_use]
    pub fn paths(&self) -> std::collections::BTreeSet<PathBuf> {
        let files = self.files.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        let paths = files.iter().map(|file| file.path.clone());
        paths.filter(|path| path.is_file()).collect()
    }

    /// Where a span begins, as `path:line:column`.
    #[must_use]
    pub fn place(&self, span: Span) -> String {
        let file = self.file(span.file);
        let position = file.position(span.start);
        format!("{}:{}:{}", file.path.display(), position.line, position.column)
    }
}

/// The folder of a path, `.` for a bare name.
#[must_use]
pub fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    }
}

/// A path as a person would type it.
#[must_use]
pub fn plain(path: &Path) -> String {
    let parts: PathBuf = path
        .components()
        .filter(|part| *part != std::path::Component::CurDir)
        .collect();
    match parts.as_os_str().is_empty() {
        true => ".".to_owned(),
        false => parts.display().to_string(),
    }
}

/// Names a file the same wherever its project lies: below the folder that is under git, that folder's name first; else
/// its folder's name and its own.
#[must_use]
pub fn in_project(path: &Path) -> String {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let path = path.canonicalize().unwrap_or(path);
    let root = path.ancestors().skip(1).find(|folder| folder.join(".git").exists());
    let root = root.or(path.parent()).and_then(Path::parent);
    let inside = root.and_then(|root| path.strip_prefix(root).ok()).unwrap_or(&path);
    inside.display().to_string()
}

impl SourceFile {
    /// Line and column of a byte offset.
    #[must_use]
    pub fn position(&self, offset: u32) -> Position {
        let line = self.line_starts.partition_point(|start| *start <= offset).max(1);
        let start = self.line_starts[line - 1] as usize;
        let end = (offset as usize).min(self.text.len());
        let column = self.text.get(start..end).map_or(0, |before| before.chars().count());
        Position {
            line: line as u32,
            column: column as u32 + 1,
        }
    }
}
