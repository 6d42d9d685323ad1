//! A set of files as it is and as it should be: looked at, put in place one by one, put back, and kept while that lasts.

use crate::diff::{Change, text};
use crate::path::AbsPath;
use crate::resource::ResourceError;
use crate::resource::file::make_directories;
use crate::resource::layout::has_selinux;
use crate::system::{Action, Alter, Effect, FileKind, FileWrite, Make, Removal, System, SystemError};
use serde::Serialize;

/// Above this no file is read.
const LIMIT: u64 = 64 << 20;

/// What stands at a path of a set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Content {
    /// What it is: a file, a folder or a link.
    pub kind: FileKind,
    /// A file's bytes; where a link leads.
    pub bytes: Vec<u8>,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub owner: String,
    /// Group.
    pub group: String,
    /// Last change of the content, where somebody asks for one; seconds since 1970.
    pub mtime: Option<i64>,
}

/// Paths with what stands there, by path.
pub(super) type Files = Vec<(AbsPath, Option<Content>)>;

impl Content {
    /// A regular file.
    #[must_use]
    pub fn file(bytes: Vec<u8>, mode: u32, owner: &str, group: &str) -> Self {
        Content {
            kind: FileKind::File,
            bytes,
            mode,
            owner: owner.to_owned(),
            group: group.to_owned(),
            mtime: None,
        }
    }

    /// Looks at what stands at a path.
    ///
    /// # Errors
    /// When it cannot be seen, or is a device or socket.
    pub fn look(path: &AbsPath, world: &dyn System) -> Result<Option<Content>, ResourceError> {
        let Some(meta) = world.stat(path)? else { return Ok(None) };
        let bytes = match meta.kind {
            FileKind::File => match world.read(path, LIMIT)? {
                Some(bytes) => bytes,
                None => return Ok(None),
            },
            FileKind::Link => meta.target.unwrap_or_default().into_bytes(),
            FileKind::Directory => Vec::new(),
            FileKind::Other => return Err(SystemError::wrong_kind(path, "a file, folder or link", meta.kind).into()),
        };
        Ok(Some(Content {
            kind: meta.kind,
            bytes,
            mode: meta.mode,
            owner: meta.owner,
            group: meta.group,
            mtime: None,
        }))
    }

    /// What a service that reads it sees of it.
    fn substance(&self) -> (FileKind, &[u8]) {
        (self.kind, &self.bytes)
    }

    fn attributes(&self) -> String {
        format!("{:04o} {}:{}", self.mode, self.owner, self.group)
    }

    /// Brings a path from what is there to this.
    fn put(&self, path: &AbsPath, here: Option<&Content>, world: &dyn System) -> Result<(), ResourceError> {
        let here = match here {
            Some(here) if here.kind != self.kind => {
                if [here.kind, self.kind].contains(&FileKind::Directory) {
                    world.remove(path, Removal::Tree)?;
                }
                None
            }
            here => here,
        };
        if here.is_none_or(|here| here.bytes != self.bytes) {
            self.place(path, world)?;
        } else if here == Some(self) {
            return Ok(());
        } else {
            world.alter(path, &self.alter())?;
        }
        match (self.kind, self.mtime) {
            (FileKind::Link, _) => world.alter(path, &self.alter())?,
            (_, Some(_)) => world.alter(
                path,
                &Alter {
                    mtime: self.mtime,
                    ..Alter::default()
                },
            )?,
            _ => {}
        }
        Ok(())
    }

    fn place(&self, path: &AbsPath, world: &dyn System) -> Result<(), ResourceError> {
        // A folder that a package of the plan brings is not there yet.
        if let Some(folder) = path.parent().filter(|_| world.promised().is_empty()) {
            make_directories(&folder, 0o755, world)?;
        }
        match self.kind {
            FileKind::Link => {
                let target = String::from_utf8_lossy(&self.bytes).into_owned();
                world.make(path, &Make::Link { target })?;
            }
            FileKind::Directory => {
                world.make(path, &Make::Directory { mode: self.mode })?;
                world.alter(path, &self.alter())?;
            }
            _ => world.write(&FileWrite {
                mode: Some(self.mode),
                owner: Some(self.owner.clone()),
                group: Some(self.group.clone()),
                replaces_link: true,
                ..FileWrite::new(path.clone(), self.bytes.clone())
            })?,
        }
        Ok(())
    }

    fn alter(&self) -> Alter {
        Alter {
            mode: (self.kind != FileKind::Link).then_some(self.mode),
            owner: Some(self.owner.clone()),
            group: Some(self.group.clone()),
            mtime: self.mtime,
        }
    }
}

/// What stands at a path of a set.
pub(super) fn at<'a>(files: &'a Files, path: &AbsPath) -> Option<&'a Content> {
    files
        .iter()
        .find(|(known, _)| known == path)
        .and_then(|(_, content)| content.as_ref())
}

/// The paths at which a service would read something else.
pub(super) fn rewritten<'a>(now: &'a Files, want: &'a Files) -> impl Iterator<Item = &'a AbsPath> {
    let differs = |(path, wanted): &&(AbsPath, Option<Content>)| {
        at(now, path).map(Content::substance) != wanted.as_ref().map(Content::substance)
    };
    want.iter().filter(differs).map(|(path, _)| path)
}

/// What changes at a path; `brought`: a package will have something there that nobody has seen.
pub(super) fn changes(path: &AbsPath, here: Option<&Content>, wanted: Option<&Content>, brought: bool) -> Vec<Change> {
    let mut note = wanted.map(Content::attributes).unwrap_or_default();
    if here.is_none() && brought && path.as_str().starts_with("/etc/") && !note.is_empty() {
        note.push_str("; replaces what the package brings");
    }
    let file = |content: Option<&Content>| match content {
        Some(content) if content.kind == FileKind::File => Some(content.bytes.clone()),
        _ => None,
    };
    let edited = text(path.as_str(), file(here).as_deref(), file(wanted).as_deref(), &note);
    let mut changes: Vec<Change> = edited.into_iter().collect();
    let field = |name: &str, before: String, after: String| Change::Field {
        of: path.to_string(),
        name: name.to_owned(),
        before,
        after,
    };
    let shape = |content: Option<&Content>| match content {
        None => "absent".to_owned(),
        Some(content) => match content.kind {
            FileKind::Link => format!("link to {}", String::from_utf8_lossy(&content.bytes)),
            FileKind::Directory => "directory".to_owned(),
            _ => "file".to_owned(),
        },
    };
    let (before, after) = (shape(here), shape(wanted));
    if before != after && changes.is_empty() {
        changes.push(field("state", before, after));
    }
    if let (Some(here), Some(wanted)) = (here, wanted) {
        let pairs = [
            ("mode", format!("{:04o}", here.mode), format!("{:04o}", wanted.mode)),
            ("owner", here.owner.clone(), wanted.owner.clone()),
            ("group", here.group.clone(), wanted.group.clone()),
        ];
        let differing = pairs
            .into_iter()
            .filter(|(_, before, after)| before != after && here.kind == wanted.kind);
        changes.extend(differing.map(|(name, before, after)| field(name, before, after)));
    }
    changes
}

/// Puts a whole set in place: what comes in order, what goes at the end, what is below a folder before the folder.
pub(super) fn put_all(now: &Files, want: &Files, world: &dyn System) -> Result<(), ResourceError> {
    for (path, wanted) in want {
        if let Some(wanted) = wanted {
            wanted.put(path, at(now, path), world)?;
        }
    }
    for (path, wanted) in want.iter().rev() {
        if wanted.is_none() && at(now, path).is_some() {
            world.remove(path, Removal::Tree)?;
        }
    }
    let written = rewritten(now, want).filter(|path| at(want, path).is_some());
    Ok(label(&written.map(AbsPath::as_str).collect::<Vec<_>>(), world)?)
}

/// Puts the old set back wherever something else stands now; a sentence for each path where that fails.
pub(super) fn put_back(old: &Files, world: &dyn System) -> Vec<String> {
    let mut left = Vec::new();
    let mut written = Vec::new();
    let fresh = old.iter().rev().filter(|(_, content)| content.is_none());
    for (path, content) in old.iter().filter(|(_, content)| content.is_some()).chain(fresh) {
        let done = Content::look(path, world).and_then(|here| match content {
            Some(content) if here.as_ref() != Some(content) => {
                written.push(path.as_str());
                content.put(path, here.as_ref(), world)
            }
            None if here.is_some() => Ok(world.remove(path, Removal::Tree)?),
            _ => Ok(()),
        });
        if let Err(error) = done {
            left.push(format!("{path} ({error})"));
        }
    }
    left.extend(
        label(&written, world)
            .err()
            .map(|error| format!("SELinux labels ({error})")),
    );
    left
}

/// Gives files the label of their place; a file that was renamed into it has its folder's.
fn label(paths: &[&str], world: &dyn System) -> Result<(), SystemError> {
    if paths.is_empty() || !has_selinux(world)? {
        return Ok(());
    }
    let argv: Vec<&str> = std::iter::once("restorecon").chain(paths.iter().copied()).collect();
    world.act(&Action::new(&argv, Effect::none())).map(|_| ())
}

/// What a mark's first line begins with; behind it is what stands between the files.
const HEAD: &str = "okd-play keeps here what a transaction replaced. Files are parted by ";

/// Keeps a set at a path until it is [`forgotten`](System::remove), so that a run which is cut can be taken up.
pub(super) fn keep(mark: &AbsPath, old: &Files, world: &dyn System) -> Result<(), ResourceError> {
    if let Some(folder) = mark.parent() {
        make_directories(&folder, 0o755, world)?;
    }
    let all: Vec<u8> = old
        .iter()
        .flat_map(|(_, content)| content.iter().flat_map(|one| one.bytes.clone()))
        .collect();
    let parting = format!("\n-- {} --\n", crate::diff::sha256(&all));
    let mut bytes = format!("{HEAD}{}", parting.trim_start()).into_bytes();
    for (path, content) in old {
        let line = match content {
            None => format!("- 0 - - {path}\n"),
            Some(content) => {
                let letter = match content.kind {
                    FileKind::Link => 'l',
                    FileKind::Directory => 'd',
                    _ => 'f',
                };
                format!(
                    "{letter} {:o} {} {} {path}\n",
                    content.mode, content.owner, content.group
                )
            }
        };
        bytes.extend(line.into_bytes());
        bytes.extend(content.iter().flat_map(|content| content.bytes.iter().copied()));
        bytes.extend(parting.as_bytes());
    }
    Ok(world.write(&FileWrite {
        mode: Some(0o600),
        ..FileWrite::new(mark.clone(), bytes)
    })?)
}

/// The set that is kept at a path; empty where none is.
pub(super) fn kept(mark: &AbsPath, world: &dyn System) -> Result<Files, ResourceError> {
    let bytes = world.read(mark, 4 * LIMIT)?.unwrap_or_default();
    Ok(parsed(&bytes).unwrap_or_default())
}

fn parsed(bytes: &[u8]) -> Option<Files> {
    let line = |bytes: &[u8]| bytes.iter().position(|byte| *byte == b'\n');
    let end = line(bytes)?;
    let parting = format!("\n{}\n", std::str::from_utf8(&bytes[..end]).ok()?.strip_prefix(HEAD)?);
    let mut rest = &bytes[end + 1..];
    let mut files = Files::new();
    while let Some(end) = line(rest) {
        let mut words = std::str::from_utf8(&rest[..end]).ok()?.splitn(5, ' ');
        let mut word = || words.next();
        let (letter, mode, owner, group, path) = (word()?, word()?, word()?, word()?, word()?);
        rest = &rest[end + 1..];
        let length = rest
            .windows(parting.len())
            .position(|window| window == parting.as_bytes())?;
        let kind = match letter {
            "f" => Some(FileKind::File),
            "d" => Some(FileKind::Directory),
            "l" => Some(FileKind::Link),
            _ => None,
        };
        let mode = u32::from_str_radix(mode, 8).ok()?;
        let content = kind.map(|kind| Content {
            kind,
            ..Content::file(rest[..length].to_vec(), mode, owner, group)
        });
        files.push((AbsPath::new(path).ok()?, content));
        rest = &rest[length + parting.len()..];
    }
    Some(files)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::resource::layout::path;
    use crate::system::fake::Fake;

    #[test]
    fn what_is_kept_is_read_back() {
        let file = |bytes: &[u8]| Some(Content::file(bytes.to_vec(), 0o640, "root", "named"));
        let link = Content {
            kind: FileKind::Link,
            ..Content::file(b"../x y".to_vec(), 0o777, "root", "root")
        };
        let folder = Content {
            kind: FileKind::Directory,
            ..Content::file(Vec::new(), 0o1755, "root", "root")
        };
        let files: Files = vec![
            (path("/etc/a b.conf"), file(b"one\n\n-- two --\n\xff")),
            (path("/etc/gone"), None),
            (path("/etc/empty"), file(b"")),
            (path("/etc/folder"), Some(folder)),
            (path("/etc/link"), Some(link)),
        ];
        let (world, mark) = (Fake::new(), path("/var/lib/okd-play/owed/x"));
        keep(&mark, &files, &world).unwrap();
        assert_eq!(kept(&mark, &world).unwrap(), files);
        assert_eq!(kept(&path("/none"), &world).unwrap(), Files::new());
        assert_eq!(parsed(b"an older build's"), None);
    }
}
