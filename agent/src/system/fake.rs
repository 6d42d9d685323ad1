//! A machine made of data, for tests: files, users, facts and scripted failures in memory, and a log of what was done.

use super::links::{Spot, resolve};
use super::{
    Action, Alter, Answer, Declared, Effect, Entry, FileKind, FileWrite, Make, Meta, Probe, Removal, System,
    SystemError,
};
use crate::path::AbsPath;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The device of everything on a fake machine.
const DEVICE: u64 = 1;

/// A machine in memory. Builders take it by value, so that a world reads as one expression; a bad path in one of them is
/// passed over and shows as a missing file.
pub struct Fake {
    data: Mutex<FakeData>,
}

/// What a fake machine is made of.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FakeData {
    files: BTreeMap<AbsPath, u64>,
    nodes: HashMap<u64, Node>,
    users: Vec<(String, u32)>,
    groups: Vec<(String, u32)>,
    acting: (String, String),
    facts: HashMap<String, Answer>,
    commands: Vec<(Vec<String>, Answer)>,
    checkers: HashMap<String, Vec<(Vec<u8>, Answer)>>,
    packages: Vec<Package>,
    installed: Vec<String>,
    failures: Vec<(String, AbsPath, String)>,
    failing: Vec<(Vec<String>, Answer)>,
    log: Vec<String>,
    acts: Vec<Action>,
    made: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Node {
    meta: Meta,
    bytes: Vec<u8>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Package {
    name: String,
    files: Vec<(AbsPath, Vec<u8>)>,
    users: Vec<String>,
}

impl Default for Fake {
    fn default() -> Self {
        Fake::new()
    }
}

impl Fake {
    /// A machine with `/`, `/etc`, `/tmp` and `/var`, the users and groups root (0) and nobody (65534), acting as root.
    #[must_use]
    pub fn new() -> Self {
        let data = FakeData {
            files: BTreeMap::new(),
            nodes: HashMap::new(),
            users: vec![("root".to_owned(), 0), ("nobody".to_owned(), 65534)],
            groups: vec![("root".to_owned(), 0), ("nobody".to_owned(), 65534)],
            acting: ("root".to_owned(), "root".to_owned()),
            facts: HashMap::new(),
            commands: Vec::new(),
            checkers: HashMap::new(),
            packages: Vec::new(),
            installed: Vec::new(),
            failures: Vec::new(),
            failing: Vec::new(),
            log: Vec::new(),
            acts: Vec::new(),
            made: 0,
        };
        Fake::from_data(data).dir("/").dir("/etc").dir("/tmp").dir("/var")
    }

    /// A machine from plain data.
    #[must_use]
    pub fn from_data(data: FakeData) -> Self {
        Fake { data: Mutex::new(data) }
    }

    /// The machine as plain data.
    #[must_use]
    pub fn data(&self) -> FakeData {
        self.lock().clone()
    }

    fn with(self, change: impl FnOnce(&mut FakeData)) -> Self {
        change(&mut self.lock());
        self
    }

    /// A file, 0644 root:root, with the folders above it.
    #[must_use]
    pub fn file(self, path: &str, bytes: impl Into<Vec<u8>>) -> Self {
        self.with(|data| data.plant(path, FileKind::File, 0o644, bytes.into(), None))
    }

    /// A folder, 0755 root:root, with the folders above it.
    #[must_use]
    pub fn dir(self, path: &str) -> Self {
        self.with(|data| data.plant(path, FileKind::Directory, 0o755, Vec::new(), None))
    }

    /// A symbolic link.
    #[must_use]
    pub fn link(self, path: &str, target: &str) -> Self {
        self.with(|data| data.plant(path, FileKind::Link, 0o777, Vec::new(), Some(target.to_owned())))
    }

    /// Mode and owners of what was planted at a path before.
    #[must_use]
    pub fn owned(self, path: &str, mode: u32, owner: &str, group: &str) -> Self {
        self.with(|data| {
            let (uid, gid) = (
                id_of(&data.users, owner).unwrap_or(0),
                id_of(&data.groups, group).unwrap_or(0),
            );
            let number = AbsPath::new(path).ok().and_then(|path| data.files.get(&path).copied());
            if let Some(node) = number.and_then(|number| data.nodes.get_mut(&number)) {
                let (owner, group) = (owner.to_owned(), group.to_owned());
                node.meta = Meta {
                    mode,
                    uid,
                    gid,
                    owner,
                    group,
                    ..node.meta.clone()
                };
            }
        })
    }

    /// A user with a group of the same name and number.
    #[must_use]
    pub fn user(self, name: &str, id: u32) -> Self {
        self.with(|data| data.users.push((name.to_owned(), id))).group(name, id)
    }

    /// A group.
    #[must_use]
    pub fn group(self, name: &str, id: u32) -> Self {
        self.with(|data| data.groups.push((name.to_owned(), id)))
    }

    /// The user and group that act.
    #[must_use]
    pub fn acting(self, user: &str, group: &str) -> Self {
        self.with(|data| data.acting = (user.to_owned(), group.to_owned()))
    }

    /// What a probe with this key answers.
    #[must_use]
    pub fn fact(self, key: &str, answer: Answer) -> Self {
        self.with(|data| drop(data.facts.insert(key.to_owned(), answer)))
    }

    /// What a command answers whose arguments begin with these; probes and actions alike, the latest one first.
    #[must_use]
    pub fn command(self, argv: &[&str], answer: Answer) -> Self {
        self.with(|data| data.commands.push((owned(argv), answer)))
    }

    /// A checker that accepts everything; see [`Fake::refuses`].
    #[must_use]
    pub fn checker(self, program: &str) -> Self {
        self.with(|data| {
            data.checkers.entry(program.to_owned()).or_default();
        })
    }

    /// A checker that answers so where a file holds these bytes.
    #[must_use]
    pub fn refuses(self, program: &str, needle: &str, answer: Answer) -> Self {
        let needle = needle.as_bytes().to_vec();
        self.with(|data| {
            data.checkers
                .entry(program.to_owned())
                .or_default()
                .push((needle, answer))
        })
    }

    /// What an action that brings this package lays down: files with the folders above them, users with their groups.
    #[must_use]
    pub fn package(self, name: &str, files: &[(&str, &str)], users: &[&str]) -> Self {
        let files = files
            .iter()
            .filter_map(|(path, text)| Some((AbsPath::new(path).ok()?, text.as_bytes().to_vec())));
        let package = Package {
            name: name.to_owned(),
            files: files.collect(),
            users: owned(users),
        };
        self.with(|data| data.packages.push(package))
    }

    /// Makes a verb (`write`, `make`, `alter`, `remove`, `read`, `stat`, `list`) fail on a path with this reason.
    #[must_use]
    pub fn fail(self, verb: &str, path: &str, reason: &str) -> Self {
        let Ok(path) = AbsPath::new(path) else { return self };
        self.with(|data| data.failures.push((verb.to_owned(), path, reason.to_owned())))
    }

    /// Makes actions whose arguments begin with these do nothing and answer so.
    #[must_use]
    pub fn fail_action(self, argv: &[&str], answer: Answer) -> Self {
        self.with(|data| data.failing.push((owned(argv), answer)))
    }

    /// What was changed, in order, a line each: `write /etc/x 0644 root:root`, `act systemctl restart named`.
    #[must_use]
    pub fn log(&self) -> Vec<String> {
        self.lock().log.clone()
    }

    /// The actions that were run, with their standard input and environment.
    #[must_use]
    pub fn acts(&self) -> Vec<Action> {
        self.lock().acts.clone()
    }

    /// The packages that actions brought.
    #[must_use]
    pub fn installed(&self) -> Vec<String> {
        self.lock().installed.clone()
    }

    /// A file's bytes as text; `None` where there is none.
    #[must_use]
    pub fn text(&self, path: &str) -> Option<String> {
        let path = AbsPath::new(path).ok()?;
        let bytes = self.read(&path, u64::MAX).ok()??;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn lock(&self) -> MutexGuard<'_, FakeData> {
        self.data.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl System for Fake {
    fn stat(&self, path: &AbsPath) -> Result<Option<Meta>, SystemError> {
        let data = self.lock();
        data.injected("stat", path)?;
        Ok(data.look(&data.real(path, false)?))
    }

    fn read(&self, path: &AbsPath, limit: u64) -> Result<Option<Vec<u8>>, SystemError> {
        let data = self.lock();
        data.injected("read", path)?;
        let real = data.real(path, true)?;
        let Some(node) = data.files.get(&real).and_then(|number| data.nodes.get(number)) else {
            return Ok(None);
        };
        let size = node.bytes.len() as u64;
        match node.meta.kind {
            FileKind::File if size > limit => Err(SystemError::TooLarge {
                path: path.to_string(),
                size,
                limit,
            }),
            FileKind::File => Ok(Some(node.bytes.clone())),
            kind => Err(SystemError::wrong_kind(path, "a file", kind)),
        }
    }

    fn list(&self, dir: &AbsPath) -> Result<Vec<Entry>, SystemError> {
        let data = self.lock();
        data.injected("list", dir)?;
        let real = data.real(dir, true)?;
        let inside = data.files.keys().filter(|path| path.parent().as_ref() == Some(&real));
        let mut entries: Vec<Entry> = inside
            .filter_map(|path| {
                Some(Entry {
                    name: path.name().to_owned(),
                    kind: data.look(path)?.kind,
                })
            })
            .collect();
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    fn probe(&self, probe: &Probe) -> Result<Answer, SystemError> {
        let data = self.lock();
        if let Some(answer) = data.facts.get(&probe.key).filter(|_| !probe.key.is_empty()) {
            return Ok(answer.clone());
        }
        let contents: Vec<&[u8]> = probe.stage.iter().map(|file| file.bytes.as_slice()).collect();
        Ok(data.answer(&probe.argv, &contents))
    }

    fn write(&self, file: &FileWrite) -> Result<(), SystemError> {
        self.lock().write(file)
    }

    fn make(&self, path: &AbsPath, kind: &Make) -> Result<(), SystemError> {
        self.lock().make(path, kind)
    }

    fn alter(&self, path: &AbsPath, change: &Alter) -> Result<(), SystemError> {
        self.lock().alter(path, change)
    }

    fn remove(&self, path: &AbsPath, how: Removal) -> Result<(), SystemError> {
        self.lock().remove(path, how)
    }

    fn act(&self, action: &Action) -> Result<Answer, SystemError> {
        let mut data = self.lock();
        data.log.push(format!("act {}", action.argv.join(" ")));
        data.acts.push(action.clone());
        if let Some((_, answer)) = data.failing.iter().find(|(prefix, _)| action.argv.starts_with(prefix)) {
            return Ok(answer.clone());
        }
        let scripted = data
            .commands
            .iter()
            .rev()
            .find(|(prefix, _)| action.argv.starts_with(prefix));
        let answer = scripted.map(|(_, answer)| answer.clone()).unwrap_or_default();
        if let (Effect::Declared(declared), true) = (&action.effect, answer.success()) {
            data.declare(declared);
        }
        Ok(answer)
    }
}

impl FakeData {
    fn look(&self, path: &AbsPath) -> Option<Meta> {
        self.files
            .get(path)
            .and_then(|number| self.nodes.get(number))
            .map(|node| node.meta.clone())
    }

    fn real(&self, path: &AbsPath, last: bool) -> Result<AbsPath, SystemError> {
        resolve(path, last, &mut |at| Ok(self.look(at).and_then(|meta| meta.target)))
    }

    fn spot(&self, path: &AbsPath, last: bool) -> Result<Spot, SystemError> {
        Spot::find(path, last, &mut |at| Ok(self.look(at)))
    }

    fn injected(&self, verb: &str, path: &AbsPath) -> Result<(), SystemError> {
        let failure = self
            .failures
            .iter()
            .find(|(failing, at, _)| failing == verb && at == path);
        failure.map_or(Ok(()), |(verb, path, reason)| Err(SystemError::io(verb, path, reason)))
    }

    fn put(&mut self, path: AbsPath, meta: Meta, bytes: Vec<u8>) {
        self.made += 1;
        let mtime = 1_700_000_000 + i64::try_from(self.made).unwrap_or_default();
        let meta = Meta {
            id: (DEVICE, self.made),
            size: bytes.len() as u64,
            mtime,
            ..meta
        };
        self.nodes.insert(self.made, Node { meta, bytes });
        self.files.insert(path, self.made);
    }

    /// Something that belongs to root, with the folders above it; builders only.
    fn plant(&mut self, path: &str, kind: FileKind, mode: u32, bytes: Vec<u8>, target: Option<String>) {
        let Ok(path) = AbsPath::new(path) else { return };
        if let Some(parent) = path.parent().filter(|parent| !self.files.contains_key(parent)) {
            self.plant(parent.as_str(), FileKind::Directory, 0o755, Vec::new(), None);
        }
        let root = || "root".to_owned();
        let (owner, group) = (root(), root());
        let meta = Meta {
            kind,
            size: 0,
            mode,
            uid: 0,
            gid: 0,
            owner,
            group,
            mtime: 0,
            target,
            id: (0, 0),
        };
        self.put(path, meta, bytes);
    }

    fn newborn(&self, parent: &Meta, kind: FileKind, mode: u32) -> Meta {
        let (owner, group) = self.acting.clone();
        let (uid, gid) = (
            id_of(&self.users, &owner).unwrap_or(0),
            id_of(&self.groups, &group).unwrap_or(0),
        );
        let (gid, group) = if parent.mode & 0o2000 == 0 {
            (gid, group)
        } else {
            (parent.gid, parent.group.clone())
        };
        Meta {
            kind,
            size: 0,
            mode,
            uid,
            gid,
            owner,
            group,
            mtime: 0,
            target: None,
            id: (0, 0),
        }
    }

    /// Number and name of a user or group.
    fn id(&self, kind: &str, name: &str) -> Result<(u32, String), SystemError> {
        let known = if kind == "user" { &self.users } else { &self.groups };
        if let Some(id) = id_of(known, name) {
            return Ok((id, name.to_owned()));
        }
        let missing = || SystemError::NoSuchId {
            kind: kind.to_owned(),
            name: name.to_owned(),
        };
        let id: u32 = name.parse().map_err(|_| missing())?;
        let named = known
            .iter()
            .find(|(_, known)| *known == id)
            .map(|(name, _)| name.clone());
        Ok((id, named.unwrap_or_else(|| name.to_owned())))
    }

    fn own(&self, meta: &mut Meta, owner: Option<&String>, group: Option<&String>) -> Result<(), SystemError> {
        if let Some(name) = owner {
            (meta.uid, meta.owner) = self.id("user", name)?;
        }
        if let Some(name) = group {
            (meta.gid, meta.group) = self.id("group", name)?;
        }
        Ok(())
    }

    fn write(&mut self, file: &FileWrite) -> Result<(), SystemError> {
        self.injected("write", &file.path)?;
        let spot = self.spot(&file.path, true)?;
        spot.takes_file()?;
        let parent = spot.has_folder("write")?;
        let mut meta = spot
            .here
            .clone()
            .unwrap_or_else(|| self.newborn(parent, FileKind::File, 0o644));
        self.own(&mut meta, file.owner.as_ref(), file.group.as_ref())?;
        meta.mode = file.mode.unwrap_or(meta.mode);
        if let Some(argv) = &file.validate {
            let answer = self.answer(argv, &[&file.bytes]);
            if !answer.success() {
                return Err(SystemError::Refused {
                    path: spot.path.to_string(),
                    argv: argv.clone(),
                    answer,
                });
            }
        }
        self.log.push(format!(
            "write {} {:04o} {}:{}",
            spot.path, meta.mode, meta.owner, meta.group
        ));
        self.put(spot.path, meta, file.bytes.clone());
        Ok(())
    }

    fn make(&mut self, path: &AbsPath, kind: &Make) -> Result<(), SystemError> {
        self.injected("make", path)?;
        let spot = self.spot(path, false)?;
        let parent = spot.has_folder("make")?;
        spot.is_free("make", matches!(kind, Make::Link { .. }))?;
        match kind {
            Make::Directory { mode } => {
                self.log.push(format!("make {}/ {mode:04o}", spot.path));
                let meta = self.newborn(parent, FileKind::Directory, *mode);
                self.put(spot.path, meta, Vec::new());
            }
            Make::Link { target } => {
                self.log.push(format!("make {} -> {target}", spot.path));
                let meta = Meta {
                    target: Some(target.clone()),
                    ..self.newborn(parent, FileKind::Link, 0o777)
                };
                self.put(spot.path, meta, Vec::new());
            }
            Make::Hard { source } => {
                let real = self.real(source, false)?;
                let meta = self.look(&real).ok_or_else(|| SystemError::missing("make", source))?;
                if meta.kind == FileKind::Directory {
                    return Err(SystemError::wrong_kind(source, "a file", meta.kind));
                }
                self.log.push(format!("make {} = {source}", spot.path));
                self.files.insert(spot.path, meta.id.1);
            }
        }
        Ok(())
    }

    fn alter(&mut self, path: &AbsPath, change: &Alter) -> Result<(), SystemError> {
        self.injected("alter", path)?;
        let real = self.real(path, false)?;
        let mut meta = self.look(&real).ok_or_else(|| SystemError::missing("alter", path))?;
        self.own(&mut meta, change.owner.as_ref(), change.group.as_ref())?;
        if let Some(mode) = change.mode.filter(|_| meta.kind != FileKind::Link) {
            meta.mode = mode;
        }
        meta.mtime = change.mtime.unwrap_or(meta.mtime);
        self.log
            .push(format!("alter {real} {:04o} {}:{}", meta.mode, meta.owner, meta.group));
        if let Some(node) = self.nodes.get_mut(&meta.id.1) {
            node.meta = meta;
        }
        Ok(())
    }

    fn remove(&mut self, path: &AbsPath, how: Removal) -> Result<(), SystemError> {
        self.injected("remove", path)?;
        let spot = self.spot(path, false)?;
        let Some(meta) = &spot.here else { return Ok(()) };
        spot.may_go()?;
        if how == Removal::File && meta.kind == FileKind::Directory {
            return Err(SystemError::wrong_kind(&spot.path, "a file or link", meta.kind));
        }
        self.log.push(format!("remove {}", spot.path));
        self.files.retain(|name, _| !name.is_within(&spot.path));
        Ok(())
    }

    /// Does exactly what an action says that it will have done.
    fn declare(&mut self, declared: &Declared) {
        for path in &declared.removes {
            self.files.retain(|name, _| !name.is_within(path));
        }
        for path in declared
            .creates
            .iter()
            .filter(|path| !self.files.contains_key(path))
            .cloned()
            .collect::<Vec<_>>()
        {
            self.plant(path.as_str(), FileKind::File, 0o644, Vec::new(), None);
        }
        for (key, answer) in &declared.predicts {
            match key.split_once(':') {
                Some(("user", name)) => predict(&mut self.users, name, answer),
                Some(("group", name)) => predict(&mut self.groups, name, answer),
                _ => {}
            }
            self.facts.insert(key.clone(), answer.clone());
        }
        for name in declared
            .brings
            .iter()
            .filter(|name| !self.installed.contains(name))
            .cloned()
            .collect::<Vec<_>>()
        {
            self.unpack(&name);
            self.installed.push(name);
        }
    }

    fn unpack(&mut self, name: &str) {
        let packages = self.packages.clone();
        for package in packages.into_iter().filter(|package| package.name == name) {
            for (path, bytes) in package.files {
                if !self.files.contains_key(&path) {
                    self.plant(path.as_str(), FileKind::File, 0o644, bytes, None);
                }
            }
            for user in package.users {
                predict(&mut self.users, &user, &Answer::default());
                predict(&mut self.groups, &user, &Answer::default());
            }
        }
    }

    /// How a command ends that changes nothing.
    fn answer(&self, argv: &[String], contents: &[&[u8]]) -> Answer {
        if let Some((_, answer)) = self.commands.iter().rev().find(|(prefix, _)| argv.starts_with(prefix)) {
            return answer.clone();
        }
        let words: Vec<&str> = argv.iter().map(String::as_str).collect();
        if let Some(refusals) = words.first().and_then(|program| self.checkers.get(*program)) {
            let holds = |needle: &[u8]| {
                contents
                    .iter()
                    .any(|bytes| bytes.windows(needle.len()).any(|w| w == needle))
            };
            let refusal = refusals.iter().find(|(needle, _)| holds(needle));
            return refusal.map_or_else(Answer::default, |(_, answer)| answer.clone());
        }
        match words.as_slice() {
            ["true"] => Answer::default(),
            ["id"] => {
                let (user, group) = &self.acting;
                let (uid, gid) = (
                    id_of(&self.users, user).unwrap_or(0),
                    id_of(&self.groups, group).unwrap_or(0),
                );
                Answer::ok(format!("uid={uid}({user}) gid={gid}({group}) groups={gid}({group})\n"))
            }
            ["getent", "passwd", name] => match self.id("user", name) {
                Ok((id, name)) if id_of(&self.users, &name).is_some() => {
                    Answer::ok(format!("{name}:x:{id}:{id}::/home/{name}:/bin/sh\n"))
                }
                _ => Answer::status(2),
            },
            ["getent", "group", name] => match self.id("group", name) {
                Ok((id, name)) if id_of(&self.groups, &name).is_some() => Answer::ok(format!("{name}:x:{id}:\n")),
                _ => Answer::status(2),
            },
            _ => Answer::status(Answer::NO_PROGRAM),
        }
    }
}

fn id_of(known: &[(String, u32)], name: &str) -> Option<u32> {
    known.iter().find(|(known, _)| known == name).map(|(_, id)| *id)
}

/// Adds or takes a user or group as a probe for it will answer; a line of passwd(5) says its number.
fn predict(known: &mut Vec<(String, u32)>, name: &str, answer: &Answer) {
    let text = answer.text();
    let number = text
        .lines()
        .next()
        .and_then(|line| line.split(':').nth(2)?.parse().ok());
    known.retain(|(known, _)| known != name);
    if answer.success() {
        let next = 900 + u32::try_from(known.len()).unwrap_or_default();
        known.push((name.to_owned(), number.unwrap_or(next)));
    }
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}
