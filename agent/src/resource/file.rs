//! Files, folders and links: that they are there or not, and what is not their content.

use super::content::{promised, resolve};
use super::brought::{self, Folder};
use super::{Resource, ResourceError, View, Touches};
use crate::diff::{Change, Sign};
use crate::ledger::Thing;
use crate::path::{AbsPath, Mode};
use crate::system::{Alter, FileKind, FileWrite, Make, Meta, Removal, System, SystemError};
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
        /// With `absent`: leave a folder in which something is.
        only_empty: bool = "no",
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
    /// Whether it is a folder that stays because something is in it.
    filled: bool,
    /// Folders above a new folder that are missing.
    parents: Vec<AbsPath>,
    /// Whether a new link would point nowhere.
    #[serde(skip)]
    dangles: bool,
    items: Vec<Item>,
    /// Set where the times have to be set.
    touched: bool,
}

impl View for State {
    fn changes(&self, want: &Self) -> Vec<Change> {
        let made = self.parents.iter().filter(|parent| !want.parents.contains(parent));
        let mut changes: Vec<Change> =
            made.map(|parent| Change::Item { sign: Sign::Added, text: format!("{parent}/") }).collect();
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
        let link = self.is_link() && !self.follow;
        Item {
            path: path.clone(),
            directory,
            mode: self.mode.as_ref().filter(|_| !link).map_or(current, |mode| mode.apply(current, directory)),
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

/// The folders above a path that are missing, outermost first.
///
/// # Errors
/// When the machine cannot be looked at.
pub fn missing_above(path: &AbsPath, world: &dyn System) -> Result<Vec<AbsPath>, ResourceError> {
    let mut missing = Vec::new();
    let mut at = path.parent();
    while let Some(folder) = at {
        if world.stat(&folder)?.is_some() {
            break;
        }
        at = folder.parent();
        missing.insert(0, folder);
    }
    Ok(missing)
}

/// Makes a folder and the parents that are missing; the parents get 0755.
///
/// # Errors
/// When the machine refuses.
pub fn make_directories(path: &AbsPath, mode: u32, world: &dyn System) -> Result<(), ResourceError> {
    if world.stat(path)?.is_some() {
        return Ok(());
    }
    for folder in missing_above(path, world)? {
        world.make(&folder, &Make::Directory { mode: 0o755 })?;
    }
    Ok(world.make(path, &Make::Directory { mode })?)
}

/// `preserve`, `now`, or nothing: other times are not supported.
fn check_time(name: &str, time: Option<&str>) -> Option<String> {
    time.filter(|time| !["preserve", "now", ""].contains(time))
        .map(|time| format!("`{name}` is `preserve` or `now`, not `{time}`"))
}

impl File {
    fn is_link(&self) -> bool {
        self.state == Some(FileState::Link)
    }

    fn asks_attributes(&self) -> bool {
        self.mode.is_some() || self.owner.is_some() || self.group.is_some()
    }

    /// Where the path leads, for the states that manage what a link points to.
    fn real(&self, world: &dyn System) -> Result<AbsPath, ResourceError> {
        let stays = matches!(self.state, Some(FileState::Link | FileState::Absent | FileState::Hard));
        if self.follow && !stays { resolve(&self.path, world) } else { Ok(self.path.clone()) }
    }

    /// In a plan, a file whose attributes are managed may be one that a package still to be installed brings.
    fn known(&self, meta: Option<&Meta>, world: &dyn System) -> Result<(), ResourceError> {
        let managed = matches!(self.state, None | Some(FileState::File)) && self.src.is_none();
        match promised(world) {
            Some(packages) if managed && meta.is_none() => {
                Err(SystemError::Unknown(format!("manages {}, which {packages} may bring", self.path)).into())
            }
            _ => Ok(()),
        }
    }

    /// Whether a missing folder is one that a package of the plan brings.
    fn is_brought(&self, path: &AbsPath, world: &dyn System) -> Result<bool, ResourceError> {
        let unknown = |why: String| Err(SystemError::Unknown(why).into());
        match brought::folder(path, world)? {
            Folder::Brought(package) if self.asks_attributes() || self.recurse => {
                unknown(format!("{package} brings {path} with attributes that are not known"))
            }
            Folder::Brought(_) => Ok(true),
            Folder::Perhaps(package) => unknown(format!("makes {path}, which {package} may bring")),
            Folder::Nobodys => Ok(false),
        }
    }

    /// The source of a link as a path of its own.
    fn source(&self) -> Option<AbsPath> {
        let src = self.src.as_deref()?;
        let parent = self.path.parent().unwrap_or_else(|| self.path.clone());
        Some(AbsPath::new(src).unwrap_or_else(|_| parent.join(src)))
    }

    /// What the attributes of a link are given to: what it points to, or with `follow: no` the link itself.
    fn behind_link(&self, meta: Option<&Meta>, world: &dyn System) -> Result<Vec<Item>, ResourceError> {
        if !self.asks_attributes() {
            return Ok(Vec::new());
        }
        if !self.follow {
            let link = meta.filter(|meta| meta.kind == FileKind::Link);
            return Ok(link.map(|meta| seen(&self.path, meta, self)).into_iter().collect());
        }
        let Some(source) = self.source() else { return Ok(Vec::new()) };
        let real = resolve(&source, world)?;
        Ok(world.stat(&real)?.map(|meta| seen(&real, &meta, self)).into_iter().collect())
    }

    fn items(&self, path: &AbsPath, meta: Option<&Meta>, world: &dyn System) -> Result<Vec<Item>, ResourceError> {
        if self.is_link() {
            return self.behind_link(meta, world);
        }
        if self.state == Some(FileState::Hard) {
            let source = self.source().map(|source| world.stat(&source)).transpose()?.flatten();
            return Ok(source.map(|meta| seen(path, &meta, self)).into_iter().collect());
        }
        let mut items = Vec::new();
        if let Some(meta) = meta.filter(|meta| meta.kind != FileKind::Link) {
            items.push(seen(path, meta, self));
            if self.recurse && meta.kind == FileKind::Directory {
                collect(path, self, world, &mut items)?;
            }
        }
        Ok(items)
    }

    /// What stands in the way of the wanted state.
    fn refusal(&self, state: FileState, now: &State) -> Option<String> {
        let path = &now.path;
        Some(match (state, now.kind) {
            (FileState::File, None) => {
                format!("there is no file {path}; `state: touch` makes one, `copy` gives it content")
            }
            (FileState::File | FileState::Touch, Some(FileKind::Directory)) => {
                format!("{path} is a folder, not a file")
            }
            (FileState::Directory, Some(kind)) if kind != FileKind::Directory => {
                format!("{path} is there and is not a folder")
            }
            (FileState::Link, Some(FileKind::Directory)) => {
                format!("{path} is a folder; it is not replaced by a link")
            }
            (FileState::Link, Some(FileKind::File | FileKind::Other)) if !self.force => {
                format!("{path} is a file; `force: true` replaces it")
            }
            (FileState::Link, _) if now.dangles && !self.force && now.target != self.src => {
                let src = self.src.as_deref().unwrap_or_default();
                format!("there is no {src} for {path} to point to; `force: true` makes the link all the same")
            }
            _ => return None,
        })
    }

    fn make(&self, now: &State, want: &State, world: &dyn System) -> Result<(), ResourceError> {
        let path = &want.path;
        match (want.kind, &want.target) {
            (None, _) => world.remove(path, Removal::Tree)?,
            (Some(FileKind::Link), Some(target)) if now.target != want.target || now.kind != want.kind => {
                world.make(path, &Make::Link { target: target.clone() })?;
                if !self.follow && self.asks_attributes() {
                    let (owner, group) = (self.owner.clone(), self.group.clone());
                    world.alter(path, &Alter { owner, group, ..Alter::default() })?;
                }
            }
            (Some(FileKind::Directory), _) if now.kind.is_none() => {
                let mode = want.items.first().map_or(0o755, |item| item.mode);
                for folder in now.parents.iter().chain([path]) {
                    world.make(folder, &Make::Directory { mode })?;
                    let (owner, group) = (self.owner.clone(), self.group.clone());
                    let change = Alter { mode: Some(mode).filter(|mode| mode & 0o7000 != 0), owner, group, mtime: None };
                    if change != Alter::default() {
                        world.alter(folder, &change)?;
                    }
                }
            }
            (Some(FileKind::File), _) if want.linked && !now.linked => {
                let source = self.source().ok_or_else(|| ResourceError::message("a hard link needs `src`"))?;
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
        Ok(())
    }
}

impl Resource for File {
    const NAMES: &'static [&'static str] = &["file", "ansible.builtin.file"];
    const EXAMPLE: &'static str = "- name: Zone folder\n  file:\n    path: /var/named/zones\n    state: directory\n    owner: root\n    group: named\n    mode: \"0750\"\n";
    const PREDICTS: &'static str = "everything; a file or folder that a package still to be installed may bring is unknown until applied";
    const TOUCHES: Touches = Touches::Paths(&["path"]);
    type World = dyn System;
    type State = State;

    fn manages(&self) -> Vec<Thing> {
        vec![Thing::new(Thing::PATH, self.path.as_str())]
    }

    fn check(&self) -> Result<(), Vec<String>> {
        let mut problems = Vec::new();
        if matches!(self.state, Some(FileState::Link | FileState::Hard)) && self.src.is_none() {
            problems.push("a link needs `src`: what it points to".to_owned());
        }
        if self.recurse && self.state != Some(FileState::Directory) {
            problems.push("`recurse` goes with `state: directory` only".to_owned());
        }
        if self.only_empty && self.state != Some(FileState::Absent) {
            problems.push("`only_empty` goes with `state: absent` only".to_owned());
        }
        problems.extend(check_time("modification_time", self.modification_time.as_deref()));
        problems.extend(check_time("access_time", self.access_time.as_deref()));
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    fn inspect(&self, world: &Self::World) -> Result<State, ResourceError> {
        let path = self.real(world)?;
        let meta = world.stat(&path)?;
        self.known(meta.as_ref(), world)?;
        let items = self.items(&path, meta.as_ref(), world)?;
        let source = match (self.source(), self.state) {
            (Some(source), Some(FileState::Link)) => world.stat(&resolve(&source, world).unwrap_or(source))?,
            (Some(source), Some(FileState::Hard)) => world.stat(&source)?,
            _ => None,
        };
        let linked = self.state == Some(FileState::Hard)
            && meta.as_ref().zip(source.as_ref()).is_some_and(|(meta, source)| meta.id == source.id);
        let dangles = self.is_link() && source.is_none() && promised(world).is_none();
        let mut parents = Vec::new();
        let mut kind = meta.as_ref().map(|meta| meta.kind);
        if self.state == Some(FileState::Directory) && meta.is_none() {
            if self.is_brought(&path, world)? {
                kind = Some(FileKind::Directory);
            } else {
                for parent in missing_above(&path, world)? {
                    if brought::folder(&parent, world)? == Folder::Nobodys {
                        parents.push(parent);
                    }
                }
            }
        }
        let target = meta.and_then(|meta| meta.target);
        let filled = self.only_empty && kind == Some(FileKind::Directory) && !world.list(&path)?.is_empty();
        Ok(State { path, kind, target, linked, filled, parents, dangles, items, touched: false })
    }

    fn desire(&self, now: &State) -> Result<State, ResourceError> {
        let state = self.wanted(now);
        if let Some(refusal) = self.refusal(state, now) {
            return Err(ResourceError::message(refusal));
        }
        let mut want = State { linked: false, items: Vec::new(), target: None, kind: None, ..now.clone() };
        match state {
            FileState::Absent if now.filled => return Ok(now.clone()),
            FileState::Absent => {}
            FileState::Link => {
                want.kind = Some(FileKind::Link);
                want.target = Some(self.link_source(state)?.to_owned());
                want.items = now.items.iter().map(|item| self.wish(&item.path, item.directory, Some(item), item.mode)).collect();
            }
            FileState::Hard => {
                self.link_source(state)?;
                want.kind = Some(FileKind::File);
                want.linked = true;
                want.items = self.wishes(now, false);
            }
            FileState::Directory => {
                want.kind = Some(FileKind::Directory);
                want.parents.clear();
                want.items = self.wishes(now, true);
            }
            FileState::File | FileState::Touch => {
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
        self.make(now, want, world)?;
        for wanted in &want.items {
            self.alter(now.items.iter().find(|item| item.path == wanted.path), wanted, world)?;
        }
        if want.touched {
            let Some(now) = crate::system::local::seconds_now() else { return Ok(Map::new()) };
            world.alter(&want.path, &Alter { mtime: Some(now), ..Alter::default() })?;
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

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::param::Params;
    use crate::resource::content::given;
    use crate::resource::laws::laws;
    use crate::resource::{Outcome, Status, converge};
    use crate::system::fake::Fake;
    use crate::system::overlay::Overlay;
    use crate::system::{Action, Declared, Effect};
    use std::sync::Arc;

    fn world() -> Fake {
        let world = Fake::new().user("named", 25).file("/etc/x", "x\n").owned("/etc/x", 0o600, "root", "named");
        world.link("/etc/l", "x").link("/etc/dangling", "/none").file("/srv/d/sub/f", "f\n").link("/srv/d/l", "sub")
    }

    fn apply(pairs: &[(&str, &str)], world: &(dyn System + 'static)) -> Result<Outcome, String> {
        converge(&given::<File>(pairs), world, None).map_err(|failure| failure.message)
    }

    fn meta(world: &Fake, path: &str) -> Meta {
        world.stat(&AbsPath::new(path).unwrap()).unwrap().unwrap()
    }

    #[test]
    fn folders_that_a_package_of_the_plan_brings_are_not_shown_as_made() {
        let plan = Overlay::new(Arc::new(Fake::new().file("/etc/os-release", "ID=debian\n")));
        let brings = ["firewalld", "nginx", "prometheus"].map(str::to_owned).to_vec();
        plan.act(&Action::new(&["apt-get"], Effect::Declared(Declared { brings, ..Declared::default() }))).unwrap();
        let directory = |path: &str| apply(&[("path", path), ("state", "directory")], &plan).unwrap();
        assert_eq!(directory("/etc/firewalld/policies").status, Status::Same);
        let added = |text: &str| Change::Item { sign: Sign::Added, text: text.to_owned() };
        assert_eq!(directory("/var/www/a/b").diff, [added("/var/www/a/"), added("/var/www/a/b/")]);
        assert!(matches!(directory("/etc/prometheus/rules").status, Status::Unknown(_)));
        let owned = apply(&[("path", "/etc/firewalld/zones"), ("state", "directory"), ("mode", "0700")], &plan).unwrap();
        assert!(matches!(owned.status, Status::Unknown(_)));
    }

    #[test]
    pub(crate) fn file_keeps_the_laws() {
        for pairs in [
            vec![("path", "/srv/a/b/c"), ("state", "directory"), ("mode", "2750"), ("group", "named")],
            vec![("path", "/etc/x"), ("mode", "0644"), ("owner", "25")],
            vec![("path", "/etc/n"), ("state", "link"), ("src", "x"), ("mode", "0644")],
            vec![("path", "/etc/n"), ("state", "link"), ("src", "x"), ("owner", "named"), ("follow", "no")],
            vec![("path", "/etc/l"), ("state", "link"), ("src", "/etc/x"), ("group", "root")],
            vec![("path", "/etc/n"), ("state", "link"), ("src", "/none")],
            vec![("path", "/etc/n"), ("state", "link"), ("src", "/none"), ("force", "yes")],
            vec![("path", "/etc/dangling"), ("state", "link"), ("src", "/none")],
            vec![("path", "/etc/n"), ("state", "hard"), ("src", "/etc/x"), ("mode", "0640")],
            vec![("path", "/etc/n"), ("state", "touch"), ("mode", "0600")],
            vec![("path", "/etc/x"), ("state", "touch"), ("modification_time", "preserve"), ("access_time", "preserve")],
            vec![("path", "/srv/d"), ("state", "directory"), ("recurse", "yes"), ("mode", "u=rwX,g=rX,o="), ("owner", "named")],
            vec![("path", "/srv/d"), ("state", "absent")],
            vec![("path", "/srv/d"), ("state", "absent"), ("only_empty", "yes")],
            vec![("path", "/etc/l"), ("state", "absent")],
            vec![("path", "/none"), ("mode", "0600")],
        ] {
            let pairs = if pairs.iter().any(|(name, _)| *name == "modification_time") || !pairs.contains(&("state", "touch")) {
                pairs
            } else {
                [&pairs[..], &[("modification_time", "preserve")]].concat()
            };
            laws(&given::<File>(&pairs), world);
        }
    }

    #[test]
    fn attributes_go_where_ansible_puts_them() {
        let world = world();
        apply(&[("path", "/srv/a/b"), ("state", "directory"), ("mode", "0700"), ("owner", "named")], &world).unwrap();
        assert_eq!((meta(&world, "/srv/a").mode, meta(&world, "/srv/a").owner.as_str()), (0o700, "named"));
        apply(&[("path", "/etc/n"), ("state", "link"), ("src", "x"), ("owner", "named")], &world).unwrap();
        assert_eq!((meta(&world, "/etc/x").owner.as_str(), meta(&world, "/etc/n").owner.as_str()), ("named", "root"));
        apply(&[("path", "/etc/n"), ("state", "link"), ("src", "x"), ("owner", "named"), ("follow", "no")], &world).unwrap();
        assert_eq!(meta(&world, "/etc/n").owner, "named");
        apply(&[("path", "/etc/l"), ("state", "absent")], &world).unwrap();
        assert_eq!(world.text("/etc/x").as_deref(), Some("x\n"));
        let touched = apply(&[("path", "/etc/x"), ("state", "touch")], &world).unwrap();
        assert_eq!(touched.diff, [Change::Act("touch /etc/x".to_owned())]);
    }

    #[test]
    fn a_folder_goes_alone_only_where_nothing_is_in_it() {
        let world = world();
        let goes = |path: &str| apply(&[("path", path), ("state", "absent"), ("only_empty", "yes")], &world).unwrap();
        assert_eq!(goes("/srv/d/sub").result.get("state"), Some(&"directory".into()));
        assert_eq!(goes("/srv/d/sub/f").status, Status::Changed);
        assert_eq!(goes("/srv/d/sub").status, Status::Changed);
        assert_eq!(goes("/srv/d/sub").result.get("state"), Some(&"absent".into()));
        assert_eq!(goes("/srv/d").status, Status::Same, "a link is in it");
    }

    #[test]
    fn what_a_package_may_bring_is_unknown() {
        let plan = Overlay::new(Arc::new(world()));
        let brings = Declared { brings: vec!["bind".to_owned()], ..Declared::default() };
        plan.act(&Action::new(&["dnf", "install", "bind"], Effect::Declared(brings))).unwrap();
        let status = apply(&[("path", "/etc/named.conf"), ("mode", "0640")], &plan).unwrap().status;
        assert_eq!(status, Status::Unknown("manages /etc/named.conf, which bind may bring".to_owned()));
        let made = apply(&[("path", "/var/named/zones"), ("state", "directory"), ("group", "named")], &plan).unwrap();
        assert_eq!(made.status, Status::Changed);
        let link = apply(&[("path", "/etc/n"), ("state", "link"), ("src", "/usr/lib/bind/x")], &plan).unwrap();
        assert_eq!(link.status, Status::Changed);
    }

    #[test]
    fn contradictions_are_refused() {
        for pairs in [
            vec![("path", "/x"), ("state", "link")],
            vec![("path", "/x"), ("state", "file"), ("recurse", "yes")],
            vec![("path", "/x"), ("state", "directory"), ("only_empty", "yes")],
            vec![("path", "/x"), ("state", "touch"), ("modification_time", "202601010000.00")],
        ] {
            let args = pairs.iter().map(|(name, value)| ((*name).to_owned(), Value::from(*value))).collect();
            assert!(File::decode(&args).unwrap().check().is_err(), "{pairs:?}");
        }
    }
}
