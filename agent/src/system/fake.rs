//! A machine made of data, for tests: files, users, facts and scripted failures in memory, and a log of what was done.

mod data;

use super::{
    Action, Alter, Answer, Effect, Entry, FileKind, FileWrite, Make, Meta, Probe, Removal, System, SystemError,
};
use crate::path::AbsPath;
pub use data::FakeData;
use data::{Package, id_of};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A machine in memory. Builders take it by value, so that a world reads as one expression; a bad path in one of them is
/// passed over and shows as a missing file.
pub struct Fake {
    data: Mutex<FakeData>,
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
            asked: BTreeMap::new(),
            facts: HashMap::new(),
            commands: Vec::new(),
            checkers: HashMap::new(),
            packages: Vec::new(),
            laid: Vec::new(),
            installed: Vec::new(),
            listed: None,
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

    /// As it is, with nothing done to it yet.
    #[must_use]
    pub fn unlogged(self) -> Self {
        self.with(|data| {
            data.log.clear();
            data.acts.clear();
        })
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

    /// What an action whose arguments begin with these lays down, in the folder that its last argument names.
    #[must_use]
    pub fn lays(self, argv: &[&str], files: &[(&str, &[u8])]) -> Self {
        let files = files.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.to_vec()));
        self.with(|data| data.laid.push((owned(argv), files.collect())))
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

    /// What probes answer, by their keys, as far as that was planted or predicted.
    #[must_use]
    pub fn facts(&self) -> BTreeMap<String, Answer> {
        self.lock()
            .facts
            .iter()
            .map(|(key, answer)| (key.clone(), answer.clone()))
            .collect()
    }

    /// What was asked so far, by the keys.
    #[must_use]
    pub fn asked(&self) -> BTreeMap<String, Probe> {
        self.lock().asked.clone()
    }

    /// The lines of the list of packages, where this machine has a program that lists them.
    #[must_use]
    pub fn packages(&self) -> Vec<String> {
        self.lock().list().unwrap_or_default()
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
        let mut data = self.lock();
        data.asked.insert(probe.key.clone(), probe.clone());
        if let Some(answer) = data.facts.get(&probe.key).filter(|_| !probe.key.is_empty()) {
            return Ok(answer.clone());
        }
        if let Some(list) = data.listed.as_ref().filter(|_| probe.key.starts_with("package")) {
            let lists = matches!(probe.argv.as_slice(), [program, flag, ..] if [program.as_str(), flag] == ["rpm", "-qa"] || program == "dpkg-query");
            if lists {
                return Ok(Answer::ok(
                    list.iter().map(|line| format!("{line}\n")).collect::<String>(),
                ));
            }
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
            if declared.prints {
                data.plant(answer.text().trim_end(), FileKind::File, 0o600, Vec::new(), None);
            }
            data.lay(&action.argv);
        }
        Ok(answer)
    }
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}
