//! The files of the control node, as everything that reads sources sees them: those of the disk, which are remembered
//! where a plan is to be kept, or those that a kept plan holds, whatever has become of the disk since.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{Error, ErrorKind, Result};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// See the module. Paths that are not absolute begin at the working directory, of the plan where one is kept.
#[derive(Debug, Default)]
pub struct Files {
    from: From,
    base: Option<PathBuf>,
}

#[derive(Debug, Default)]
enum From {
    #[default]
    Disk,
    Remembered(Mutex<Sights>),
    Kept(Sights),
}

/// What was seen, by absolute path.
pub type Sights = BTreeMap<PathBuf, Sight>;

/// What was seen at a path, links followed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Sight {
    /// What is there.
    pub kind: What,
    /// A file's permission bits.
    pub mode: u32,
    /// A file's content, where it was read.
    pub content: Option<Content>,
    /// The names in a folder, sorted, where they were asked for.
    pub names: Option<Vec<String>>,
    /// Where it really is, where that was asked for.
    pub real: Option<PathBuf>,
}

/// What kind of thing is at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum What {
    /// Nothing.
    #[default]
    Nothing,
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// Something else.
    Other,
}

/// A file's content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    /// Its bytes.
    Bytes(Vec<u8>),
    /// It is read from the disk whenever it is asked for, since a secret stands in it in plain.
    Withheld,
}

impl Files {
    /// The disk; what is seen of it is remembered.
    #[must_use]
    pub fn remembered() -> Self {
        Files {
            from: From::Remembered(Mutex::default()),
            base: std::env::current_dir().ok(),
        }
    }

    /// What was remembered in this working directory, and nothing else.
    #[must_use]
    pub fn kept(sights: Sights, base: PathBuf) -> Self {
        Files {
            from: From::Kept(sights),
            base: Some(base),
        }
    }

    /// What has been remembered.
    #[must_use]
    pub fn sights(&self) -> Sights {
        match &self.from {
            From::Disk => Sights::new(),
            From::Remembered(sights) => lock(sights).clone(),
            From::Kept(sights) => sights.clone(),
        }
    }

    /// A file's bytes.
    ///
    /// # Errors
    /// The operating system's; [`ErrorKind::NotFound`] for what a kept plan does not hold.
    pub fn read(&self, path: &Path) -> Result<Vec<u8>> {
        match &self.from {
            From::Disk => std::fs::read(path),
            From::Remembered(_) => {
                let read = std::fs::read(path);
                let content = read.as_ref().ok().map(|bytes| Content::Bytes(bytes.clone()));
                self.note(path, |sight| sight.content = content);
                read
            }
            From::Kept(sights) => match sights.get(&self.place(path)) {
                None => Err(ErrorKind::NotFound.into()),
                Some(sight) => match (&sight.content, sight.kind) {
                    (Some(Content::Bytes(bytes)), _) => Ok(bytes.clone()),
                    (Some(Content::Withheld), _) => std::fs::read(self.place(path)),
                    (None, What::Nothing) => Err(ErrorKind::NotFound.into()),
                    (None, _) => Err(Error::other("the plan does not hold it, since it was not read for it")),
                },
            },
        }
    }

    /// A file's text.
    ///
    /// # Errors
    /// As [`Files::read`]; [`ErrorKind::InvalidData`] where it is not UTF-8.
    pub fn read_to_string(&self, path: &Path) -> Result<String> {
        String::from_utf8(self.read(path)?).map_err(|error| Error::new(ErrorKind::InvalidData, error))
    }

    /// Whether anything is at a path.
    #[must_use]
    pub fn exists(&self, path: &Path) -> bool {
        self.what(path) != What::Nothing
    }

    /// Whether a regular file is at a path.
    #[must_use]
    pub fn is_file(&self, path: &Path) -> bool {
        self.what(path) == What::File
    }

    /// Whether a folder is at a path.
    #[must_use]
    pub fn is_dir(&self, path: &Path) -> bool {
        self.what(path) == What::Folder
    }

    /// A file's permission bits; `None` where no file is.
    #[must_use]
    pub fn mode(&self, path: &Path) -> Option<u32> {
        let sight = self.look(path);
        (sight.kind == What::File).then_some(sight.mode)
    }

    fn what(&self, path: &Path) -> What {
        self.look(path).kind
    }

    /// What is at a path, without its content.
    fn look(&self, path: &Path) -> Sight {
        match &self.from {
            From::Disk => on_disk(path),
            From::Remembered(_) => {
                self.note(path, |_| {});
                on_disk(path)
            }
            From::Kept(sights) => {
                let sight = sights.get(&self.place(path));
                sight.map_or_else(Sight::default, |sight| Sight {
                    kind: sight.kind,
                    mode: sight.mode,
                    ..Sight::default()
                })
            }
        }
    }

    /// The names in a folder, sorted; none where there is no such folder.
    #[must_use]
    pub fn names(&self, folder: &Path) -> Vec<String> {
        match &self.from {
            From::Disk => listed(folder),
            From::Remembered(_) => {
                let names = listed(folder);
                self.note(folder, |sight| sight.names = Some(names.clone()));
                names
            }
            From::Kept(sights) => {
                let sight = sights.get(&self.place(folder));
                sight.and_then(|sight| sight.names.clone()).unwrap_or_default()
            }
        }
    }

    /// A path without links; `None` where nothing is.
    #[must_use]
    pub fn real(&self, path: &Path) -> Option<PathBuf> {
        match &self.from {
            From::Disk => path.canonicalize().ok(),
            From::Remembered(_) => {
                let real = path.canonicalize().ok();
                self.note(path, |sight| sight.real.clone_from(&real));
                real
            }
            From::Kept(sights) => sights.get(&self.place(path))?.real.clone(),
        }
    }

    fn note(&self, path: &Path, more: impl FnOnce(&mut Sight)) {
        if let From::Remembered(sights) = &self.from {
            more(lock(sights).entry(self.place(path)).or_insert_with(|| on_disk(path)));
        }
    }

    /// The absolute path, without `.` in it.
    fn place(&self, path: &Path) -> PathBuf {
        let whole = match &self.base {
            Some(base) => base.join(path),
            None => path.to_path_buf(),
        };
        whole.components().filter(|part| *part != Component::CurDir).collect()
    }
}

fn lock(sights: &Mutex<Sights>) -> MutexGuard<'_, Sights> {
    sights.lock().unwrap_or_else(PoisonError::into_inner)
}

fn on_disk(path: &Path) -> Sight {
    let Ok(meta) = std::fs::metadata(path) else {
        return Sight::default();
    };
    let kind = match (meta.is_file(), meta.is_dir()) {
        (true, _) => What::File,
        (_, true) => What::Folder,
        _ => What::Other,
    };
    Sight {
        kind,
        mode: meta.permissions().mode() & 0o7777,
        ..Sight::default()
    }
}

fn listed(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_was_remembered_is_there_though_the_disk_has_gone_on() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        std::fs::create_dir(path("d")).unwrap();
        for (name, text) in [("d/a", "one"), ("d/b", "two"), ("d/secret", "hunter2")] {
            std::fs::write(path(name), text).unwrap();
        }
        std::os::unix::fs::symlink("d/a", path("link")).unwrap();
        let disk = Files::remembered();
        let look = |files: &Files| {
            let flags = ["d", "d/a", "d/none", "link"].map(|name| {
                let path = path(name);
                (files.exists(&path), files.is_file(&path), files.is_dir(&path))
            });
            let read = ["d/a", "./link", "d/none", "d/secret"].map(|name| files.read_to_string(&path(name)).ok());
            (
                flags,
                read,
                files.names(&path("d")),
                files.real(&path("link")),
                files.mode(&path("d/b")),
            )
        };
        let before = look(&disk);
        assert_eq!(before.2, ["a", "b", "secret"]);
        let mut sights = disk.sights();
        sights.get_mut(&path("d/secret")).unwrap().content = Some(Content::Withheld);
        std::fs::write(path("d/a"), "changed").unwrap();
        std::fs::remove_file(path("d/b")).unwrap();
        std::fs::write(path("d/none"), "new").unwrap();
        let kept = Files::kept(sights, PathBuf::from("/elsewhere"));
        assert_eq!(look(&kept), before);
        std::fs::remove_file(path("d/secret")).unwrap();
        assert_eq!(kept.read(&path("d/secret")).unwrap_err().kind(), ErrorKind::NotFound);
        assert!(
            kept.read(&path("d/b"))
                .unwrap_err()
                .to_string()
                .contains("was not read")
        );
        assert_eq!(kept.read(&path("x")).unwrap_err().kind(), ErrorKind::NotFound);
    }
}
