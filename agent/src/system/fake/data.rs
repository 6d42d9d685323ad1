//! The insides of a fake machine, as plain data, and what the verbs do to it.

use crate::path::AbsPath;
use crate::system::links::{Spot, resolve};
use crate::system::{Action, Alter, Answer, Declared, FileKind, FileWrite, Make, Meta, Probe, Removal, SystemError};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};

/// The device of everything on a fake machine.
const DEVICE: u64 = 1;

/// What a fake machine is made of.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FakeData {
    pub(super) files: BTreeMap<AbsPath, u64>,
    pub(super) nodes: HashMap<u64, Node>,
    pub(super) users: Vec<(String, u32)>,
    pub(super) groups: Vec<(String, u32)>,
    pub(super) acting: (String, String),
    #[serde(skip)]
    pub(super) asked: BTreeMap<String, Probe>,
    pub(super) facts: HashMap<String, Answer>,
    pub(super) commands: Vec<(Vec<String>, Answer)>,
    pub(super) checkers: HashMap<String, Vec<(Vec<u8>, Answer)>>,
    pub(super) packages: Vec<Package>,
    pub(super) laid: Vec<Laid>,
    pub(super) installed: Vec<String>,
    /// The list of packages, once an action has changed it.
    pub(super) listed: Option<Vec<String>>,
    pub(super) failures: Vec<(String, AbsPath, String)>,
    pub(super) failing: Vec<(Vec<String>, Answer)>,
    pub(super) log: Vec<String>,
    pub(super) acts: Vec<Action>,
    pub(super) made: u64,
}

/// How a command begins, and what it lays down.
type Laid = (Vec<String>, Vec<(String, Vec<u8>)>);

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Node {
    pub(super) meta: Meta,
    pub(super) bytes: Vec<u8>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Package {
    pub(super) name: String,
    pub(super) files: Vec<(AbsPath, Vec<u8>)>,
    pub(super) users: Vec<String>,
}

impl FakeData {
    pub(super) fn look(&self, path: &AbsPath) -> Option<Meta> {
        self.files
            .get(path)
            .and_then(|number| self.nodes.get(number))
            .map(|node| node.meta.clone())
    }

    pub(super) fn real(&self, path: &AbsPath, last: bool) -> Result<AbsPath, SystemError> {
        resolve(path, last, &mut |at| Ok(self.look(at).and_then(|meta| meta.target)))
    }

    pub(super) fn spot(&self, path: &AbsPath, last: bool) -> Result<Spot, SystemError> {
        Spot::find(path, last, &mut |at| Ok(self.look(at)))
    }

    pub(super) fn injected(&self, verb: &str, path: &AbsPath) -> Result<(), SystemError> {
        let failure = self
            .failures
            .iter()
            .find(|(failing, at, _)| failing == verb && at == path);
        failure.map_or(Ok(()), |(verb, path, reason)| Err(SystemError::io(verb, path, reason)))
    }

    pub(super) fn put(&mut self, path: AbsPath, meta: Meta, bytes: Vec<u8>) {
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
    pub(super) fn plant(&mut self, path: &str, kind: FileKind, mode: u32, bytes: Vec<u8>, target: Option<String>) {
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

    pub(super) fn newborn(&self, parent: &Meta, kind: FileKind, mode: u32) -> Meta {
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
    pub(super) fn id(&self, kind: &str, name: &str) -> Result<(u32, String), SystemError> {
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

    pub(super) fn own(
        &self,
        meta: &mut Meta,
        owner: Option<&String>,
        group: Option<&String>,
    ) -> Result<(), SystemError> {
        if let Some(name) = owner {
            (meta.uid, meta.owner) = self.id("user", name)?;
        }
        if let Some(name) = group {
            (meta.gid, meta.group) = self.id("group", name)?;
        }
        Ok(())
    }

    pub(super) fn write(&mut self, file: &FileWrite) -> Result<(), SystemError> {
        self.injected("write", &file.path)?;
        let spot = self.spot(&file.path, !file.replaces_link)?;
        let here = spot.takes_file(file.replaces_link)?;
        let parent = spot.has_folder("write")?;
        let mut meta = here
            .cloned()
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

    pub(super) fn make(&mut self, path: &AbsPath, kind: &Make) -> Result<(), SystemError> {
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

    pub(super) fn alter(&mut self, path: &AbsPath, change: &Alter) -> Result<(), SystemError> {
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

    pub(super) fn remove(&mut self, path: &AbsPath, how: Removal) -> Result<(), SystemError> {
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
    /// See [`Fake::lays`](super::Fake::lays).
    pub(super) fn lay(&mut self, argv: &[String]) {
        let laid = self.laid.iter().filter(|(prefix, _)| argv.starts_with(prefix));
        let files: Vec<(String, Vec<u8>)> = laid.flat_map(|(_, files)| files.clone()).collect();
        let folder = argv.last().cloned().unwrap_or_default();
        for (name, bytes) in files {
            self.plant(&format!("{folder}/{name}"), FileKind::File, 0o640, bytes, None);
        }
    }

    pub(super) fn declare(&mut self, declared: &Declared) {
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
        for path in &declared.folders {
            if !self.files.contains_key(path) {
                self.plant(path.as_str(), FileKind::Directory, 0o755, Vec::new(), None);
            }
        }
        for (key, answer) in &declared.predicts {
            match key.split_once(':') {
                Some(("user", name)) => predict(&mut self.users, name, answer),
                Some(("group", name)) => predict(&mut self.groups, name, answer),
                Some(("package", name)) if self.relist(Some(name), answer) => continue,
                None if key == "packages" && self.relist(None, answer) => continue,
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

    /// What lists packages, where this machine has that.
    pub(super) fn list(&self) -> Option<Vec<String>> {
        let scripted = |argv: &[&str]| {
            let argv: Vec<String> = argv.iter().map(|word| (*word).to_owned()).collect();
            let answer = self.answer(&argv, &[]);
            answer
                .success()
                .then(|| answer.text().lines().map(str::to_owned).collect())
        };
        self.listed
            .clone()
            .or_else(|| scripted(&["rpm", "-qa"]))
            .or_else(|| scripted(&["dpkg-query", "-W"]))
    }

    /// The list of packages with the lines of one in the place of those that it had, or a whole new list. What a package
    /// laid down goes with it.
    fn relist(&mut self, package: Option<&str>, answer: &Answer) -> bool {
        let Some(mut list) = self.list() else { return false };
        let bare = |line: &str| line.split([' ', ':']).next().unwrap_or_default().to_owned();
        let text = answer.text();
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        match package {
            Some(name) => {
                list.retain(|line| !lines.iter().any(|other| bare(other) == bare(line)) && bare(line) != name);
                list.extend(lines);
            }
            None => list = lines,
        }
        let gone = |name: &String| !list.iter().any(|line| bare(line) == *name);
        let files = self.packages.iter().filter(|package| gone(&package.name));
        for (path, _) in files.flat_map(|package| &package.files) {
            self.files.remove(path);
        }
        self.installed.retain(|name| !gone(name));
        self.listed = Some(list);
        true
    }

    pub(super) fn unpack(&mut self, name: &str) {
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
    pub(super) fn answer(&self, argv: &[String], contents: &[&[u8]]) -> Answer {
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

pub(super) fn id_of(known: &[(String, u32)], name: &str) -> Option<u32> {
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
