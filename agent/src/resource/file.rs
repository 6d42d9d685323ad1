//! Files, folders and links: that they are there or not, and what is not their content.

use super::{Resource, ResourceError, View};
use crate::diff::{Change, Sign};
use crate::path::{AbsPath, Mode};
use crate::system::{Alter, FileKind, FileWrite, Make, Meta, Removal, System};
use crate::value::{Map, Value, map};
use crate::{choice, params};
use serde::Serialize;

choice! {
    /// What should be at the path.
    pub enum FileState {
        /// A regular file that is already there; only its attributes are managed.
        File = "file",
        /// A folder, made with its parents.
        Directory = "directory",
        /// Nothing.
        Absent = "absent",
        /// A regular file, made empty where there is none.
        Touch = "touch",
        /// A symbolic link.
        Link = "link",
        /// A further name of a file.
        Hard = "hard",
    }
}

params! {
    /// Makes sure that a path is a file, folder or link with these attributes, or is not there.
    pub struct File {
        /// The path.
        path: AbsPath ["dest", "name"],
        /// What should be there; `directory` makes parents too.
        state: Option<FileState>,
        /// Permission bits, as `"0644"` or `u=rw,g=r`.
        mode: Option<Mode>,
        /// Owner's name or number.
        owner: Option<String>,
        /// Group's name or number.
        group: Option<String>,
        /// What a link points to, or which file a hard link names.
        src: Option<String>,
        /// Give the attributes to everything in the folder too.
        recurse: bool = "no",
        /// Follow a link at the path and manage what it points to.
        follow: bool = "yes",
        /// Replace a file by a link, or make a link that points nowhere.
        force: bool = "no",
        /// With `touch`: `preserve` leaves the times alone, `now` sets them.
        modification_time: Option<String>,
        /// With `touch`: as `modification_time`, for the access time.
        access_time: Option<String>,
    }
}

/// One path below a folder with `recurse`, or the path itself.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Item {
    path: AbsPath,
    directory: bool,
    mode: u32,
    owner: String,
    group: String,
}

/// What is at the path.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct State {
    path: AbsPath,
    kind: Option<FileKind>,
    target: Option<String>,
    /// Whether a hard link already names its source.
    linked: bool,
    items: Vec<Item>,
    /// Set where the times have to be set.
    touched: bool,
}

impl View for State {
    fn changes(&self, want: &Self) -> Vec<Change> {
        let mut changes = Vec::new();
        if self.kind != want.kind || self.linked != want.linked {
            changes.extend(self.kind.map(|kind| item(Sign::Removed, kind, self)));
            changes.extend(want.kind.map(|kind| item(Sign::Added, kind, want)));
        } else if self.target != want.target {
            let shown = |target: &Option<String>| target.clone().unwrap_or_default();
            changes.push(field(&self.path, "target", &shown(&self.target), &shown(&want.target)));
        }
        for wanted in &want.items {
            let here = self.items.iter().find(|item| item.path == wanted.path);
            changes.extend(here.into_iter().flat_map(|here| attributes(here, wanted)));
        }
        if want.touched && self.kind == want.kind {
            changes.push(Change::Act(format!("touch {}", self.path)));
        }
        changes
    }
}

fn item(sign: Sign, kind: FileKind, state: &State) -> Change {
    let path = &state.path;
    let text = match (kind, &state.target) {
        (FileKind::Directory, _) => format!("{path}/"),
        (FileKind::Link, Some(target)) => format!("{path} → {target}"),
        _ => path.to_string(),
    };
    Change::Item { sign, text }
}

fn field(of: &AbsPath, name: &str, before: &str, after: &str) -> Change {
    Change::Field { of: of.to_string(), name: name.to_owned(), before: before.to_owned(), after: after.to_owned() }
}

fn attributes(here: &Item, want: &Item) -> Vec<Change> {
    let mut changes = Vec::new();
    if here.mode != want.mode {
        changes.push(field(&here.path, "mode", &format!("{:04o}", here.mode), &format!("{:04o}", want.mode)));
    }
    if here.owner != want.owner {
        changes.push(field(&here.path, "owner", &here.owner, &want.owner));
    }
    if here.group != want.group {
        changes.push(field(&here.path, "group", &here.group, &want.group));
    }
    changes
}

impl File {
    fn wanted(&self, now: &State) -> FileState {
        self.state.unwrap_or(match now.kind {
            Some(FileKind::Directory) => FileState::Directory,
            _ if self.src.is_some() => FileState::Link,
            _ => FileState::File,
        })
    }

    fn link_source(&self, state: FileState) -> Result<&str, ResourceError> {
        self.src.as_deref().ok_or_else(|| {
            ResourceError::message(format!("`state: {}` needs `src`: what the link points to", state.word()))
        })
    }

    fn wish(&self, path: &AbsPath, directory: bool, now: Option<&Item>, default_mode: u32) -> Item {
        let current = now.map_or(default_mode, |item| item.mode);
        Item {
            path: path.clone(),
            directory,
            mode: self.mode.as_ref().map_or(current, |mode| mode.apply(current, directory)),
            owner: self.owner.clone().or_else(|| now.map(|item| item.owner.clone())).unwrap_or_default(),
            group: self.group.clone().or_else(|| now.map(|item| item.group.clone())).unwrap_or_default(),
        }
    }

    fn wishes(&self, now: &State, directory: bool) -> Vec<Item> {
        if now.items.is_empty() {
            let mode = if directory { 0o755 } else { 0o644 };
            return vec![self.wish(&now.path, directory, None, mode)];
        }
        now.items.iter().map(|item| self.wish(&item.path, item.directory, Some(item), item.mode)).collect()
    }

    fn alter(&self, here: Option<&Item>, want: &Item, world: &dyn System) -> Result<(), ResourceError> {
        let change = Alter {
            mode: here.is_none_or(|here| here.mode != want.mode).then_some(want.mode),
            owner: (!want.owner.is_empty() && here.is_none_or(|here| here.owner != want.owner))
                .then(|| want.owner.clone()),
            group: (!want.group.is_empty() && here.is_none_or(|here| here.group != want.group))
                .then(|| want.group.clone()),
            mtime: None,
        };
        if change == Alter::default() { Ok(()) } else { Ok(world.alter(&want.path, &change)?) }
    }
}

/// An item of what `stat` says; numbers that a person gave instead of names stay numbers.
fn seen(path: &AbsPath, meta: &Meta, file: &File) -> Item {
    let named = |name: &str, id: u32, asked: Option<&String>| {
        if asked.is_some_and(|asked| *asked == id.to_string()) { id.to_string() } else { name.to_owned() }
    };
    Item {
        path: path.clone(),
        directory: meta.kind == FileKind::Directory,
        mode: meta.mode,
        owner: named(&meta.owner, meta.uid, file.owner.as_ref()),
        group: named(&meta.group, meta.gid, file.group.as_ref()),
    }
}

fn collect(path: &AbsPath, file: &File, world: &dyn System, items: &mut Vec<Item>) -> Result<(), ResourceError> {
    for entry in world.list(path)? {
        let below = path.join(&entry.name);
        if let Some(meta) = world.stat(&below)?.filter(|meta| meta.kind != FileKind::Link) {
            items.push(seen(&below, &meta, file));
            if meta.kind == FileKind::Directory {
                collect(&below, file, world, items)?;
            }
        }
    }
    Ok(())
}

/// Makes a folder and the parents that are missing; the parents get 0755.
///
/// # Errors
/// When the machine refuses.
pub fn make_directories(path: &AbsPath, mode: u32, world: &dyn System) -> Result<(), ResourceError> {
    let mut missing = Vec::new();
    let mut at = Some(path.clone());
    while let Some(folder) = at {
        if world.stat(&folder)?.is_some() {
            break;
        }
        at = folder.parent();
        missing.push(folder);
    }
    for folder in missing.iter().rev() {
        let mode = if folder == path { mode } else { 0o755 };
        world.make(folder, &Make::Directory { mode })?;
    }
    Ok(())
}

impl Resource for File {
    const NAMES: &'static [&'static str] = &["file", "ansible.builtin.file"];
    const EXAMPLE: &'static str = "- name: Zone folder\n  file:\n    path: /var/named/zones\n    state: directory\n    owner: root\n    group: named\n    mode: \"0750\"\n";
    const PREDICTS: &'static str = "everything";
    type World = dyn System;
    type State = State;

    fn check(&self) -> Result<(), Vec<String>> {
        match (self.state, &self.src) {
            (Some(FileState::Link | FileState::Hard), None) => {
                Err(vec!["a link needs `src`: what it points to".to_owned()])
            }
            _ if self.recurse && self.state != Some(FileState::Directory) => {
                Err(vec!["`recurse` goes with `state: directory` only".to_owned()])
            }
            _ => Ok(()),
        }
    }

    fn inspect(&self, world: &Self::World) -> Result<State, ResourceError> {
        let mut path = self.path.clone();
        let mut meta = world.stat(&path)?;
        let follows = self.follow && !matches!(self.state, Some(FileState::Link | FileState::Absent | FileState::Hard));
        if let Some(target) = meta.as_ref().and_then(|meta| meta.target.clone()).filter(|_| follows) {
            let parent = path.parent().unwrap_or_else(|| path.clone());
            path = AbsPath::new(&target).unwrap_or_else(|_| parent.join(&target));
            meta = world.stat(&path)?;
        }
        let mut items: Vec<Item> = Vec::new();
        if let Some(meta) = meta.as_ref().filter(|meta| meta.kind != FileKind::Link) {
            items.push(seen(&path, meta, self));
            if self.recurse && meta.kind == FileKind::Directory {
                collect(&path, self, world, &mut items)?;
            }
        }
        let linked = match (self.state, self.src.as_deref().map(AbsPath::new), &meta) {
            (Some(FileState::Hard), Some(Ok(source)), Some(meta)) => {
                world.stat(&source)?.is_some_and(|source| source.id == meta.id)
            }
            _ => false,
        };
        let kind = meta.as_ref().map(|meta| meta.kind);
        let target = meta.and_then(|meta| meta.target);
        Ok(State { path, kind, target, linked, items, touched: false })
    }

    fn desire(&self, now: &State) -> Result<State, ResourceError> {
        let state = self.wanted(now);
        let mut want = State { linked: false, items: Vec::new(), target: None, kind: None, ..now.clone() };
        match (state, now.kind) {
            (FileState::Absent, _) => {}
            (FileState::File, None) => {
                return Err(ResourceError::message(format!(
                    "there is no file {}; `state: touch` makes one, `copy` gives it content",
                    now.path
                )));
            }
            (FileState::File | FileState::Touch, Some(FileKind::Directory)) => {
                return Err(ResourceError::message(format!("{} is a folder, not a file", now.path)));
            }
            (FileState::Directory, Some(kind)) if kind != FileKind::Directory => {
                return Err(ResourceError::message(format!("{} is there and is not a folder", now.path)));
            }
            (FileState::Link, Some(FileKind::Directory)) => {
                return Err(ResourceError::message(format!("{} is a folder; it is not replaced by a link", now.path)));
            }
            (FileState::Link, Some(FileKind::File | FileKind::Other)) if !self.force => {
                return Err(ResourceError::message(format!("{} is a file; `force: true` replaces it", now.path)));
            }
            (FileState::Link, _) => {
                want.kind = Some(FileKind::Link);
                want.target = Some(self.link_source(state)?.to_owned());
            }
            (FileState::Hard, _) => {
                self.link_source(state)?;
                want.kind = Some(FileKind::File);
                want.linked = true;
                want.items.clone_from(&now.items);
            }
            (FileState::Directory, _) => {
                want.kind = Some(FileKind::Directory);
                want.items = self.wishes(now, true);
            }
            (FileState::File | FileState::Touch, _) => {
                want.kind = Some(now.kind.unwrap_or(FileKind::File));
                want.target.clone_from(&now.target);
                want.items = self.wishes(now, false);
                want.touched = state == FileState::Touch
                    && now.kind.is_some()
                    && self.modification_time.as_deref() != Some("preserve");
            }
        }
        Ok(want)
    }

    fn apply(&self, now: &State, want: &State, world: &Self::World) -> Result<Map, ResourceError> {
        let path = &want.path;
        match (want.kind, &want.target) {
            (None, _) => world.remove(path, Removal::Tree)?,
            (Some(FileKind::Link), Some(target)) => {
                if now.kind.is_some_and(|kind| kind != FileKind::Link) {
                    world.remove(path, Removal::File)?;
                }
                world.make(path, &Make::Link { target: target.clone() })?;
            }
            (Some(FileKind::Directory), _) if now.kind.is_none() => {
                make_directories(path, want.items.first().map_or(0o755, |item| item.mode), world)?;
            }
            (Some(FileKind::File), _) if want.linked && !now.linked => {
                let source = AbsPath::new(self.link_source(FileState::Hard)?).map_err(ResourceError::message)?;
                if now.kind.is_some() {
                    world.remove(path, Removal::File)?;
                }
                world.make(path, &Make::Hard { source })?;
            }
            (Some(FileKind::File), _) if now.kind.is_none() => {
                world.write(&FileWrite::new(path.clone(), Vec::new()))?;
            }
            _ => {}
        }
        for wanted in want.items.iter().filter(|_| !want.linked) {
            self.alter(now.items.iter().find(|item| item.path == wanted.path), wanted, world)?;
        }
        if want.touched {
            let Some(now) = crate::system::local::seconds_now() else { return Ok(Map::new()) };
            world.alter(path, &Alter { mtime: Some(now), ..Alter::default() })?;
        }
        Ok(Map::new())
    }

    fn result(&self, state: &State) -> Map {
        let word = match state.kind {
            None => "absent",
            Some(FileKind::Directory) => "directory",
            Some(FileKind::Link) => "link",
            Some(_) if state.linked => "hard",
            Some(_) => "file",
        };
        let mut result = map([("path", state.path.as_str().into()), ("state", word.into())]);
        if let Some(item) = state.items.first() {
            result.insert("mode".to_owned(), Value::Str(format!("{:04o}", item.mode)));
            result.insert("owner".to_owned(), item.owner.as_str().into());
            result.insert("group".to_owned(), item.group.as_str().into());
        }
        result
    }
}
