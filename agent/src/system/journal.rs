//! Keeps what was there before whatever it lets through, so that a run can be taken back. Before its run has a name
//! nothing is kept, and a run that changes nothing writes nothing.
//!
//! Records lie in a folder of okd-play's own on the machine itself, for the user who acts alone. What has no room there is
//! not kept, and that is said; the change is made all the same, since a full disk may be what it is made for.

use super::guard::unguarded;
use super::links::{Spot, resolve};
use super::{
    Action, Alter, Answer, Declared, Effect, Entry, FileKind, FileWrite, Make, Meta, Probe, Removal, System,
    SystemError,
};
use crate::diff::sha256;
use crate::order::sort_by;
use crate::path::AbsPath;
use crate::system::local::nanos_now;
use crate::wire;
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Larger contents are not kept, in bytes.
pub const LARGEST: u64 = 8 << 20;
/// What a run leaves in a file is kept up to this, in bytes.
const SHORT: usize = 64 << 10;
/// A session keeps no more of one run, in bytes.
const MOST: u64 = 64 << 20;
/// A folder with more in it is not kept when it is removed as a whole.
const MOST_ENTRIES: usize = 2000;
/// So many runs are kept on a machine.
const RUNS: usize = 20;
/// Folders of okd-play's own; what is done there is no part of a run.
const OWN: &[&str] = &["/var/lib/okd-play", "/run/okd-play"];

/// How keys of facts begin that an undo takes back by what they were, without being told how.
const TYPED: &[&str] = &[
    "unit:",
    "unit-enabled:",
    "live:",
    "user:",
    "shadow:",
    "groups:",
    "group:",
    "firewalld:",
    "apt:lists",
    PACKAGES,
    DEVICE,
];
/// Of these it is kept too what a command left, so that it is seen whether somebody has changed it since.
const FOUND: &[&str] = &["user:", "shadow:", "groups:", "group:"];
/// Of devices too, as the command said it beforehand: they come to it by and by.
const DEVICE: &str = "device:";
/// How keys of facts begin that are asked for by a list of all packages.
pub const PACKAGES: &str = "package";

/// One thing that a run did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// When, in nanoseconds since 1970; records of several sessions are put in order by it.
    pub at: u64,
    /// What.
    pub deed: Deed,
}

/// See [`Record`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Deed {
    /// Paths were touched.
    Paths(Vec<Touch>),
    /// A command was run.
    Act(Act),
    /// What a command left, by the keys of facts.
    Found(Vec<(String, Answer)>),
    /// Something was changed of which no record could be kept, for this reason.
    Gap(String),
    /// What the command before has changed in the list of packages.
    Packages(Listed),
}

/// Lines of a list of packages that a command changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// Lines that are new.
    pub came: Vec<String>,
    /// Lines that are no more.
    pub went: Vec<String>,
}

/// A path that was touched.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Touch {
    /// The path, with the links above it followed.
    pub path: AbsPath,
    /// What was there before, where no earlier record of the session has it.
    pub before: Option<Before>,
    /// What is there now.
    pub left: Left,
    /// Whether its content may not be shown.
    pub secret: bool,
}

/// What was at a path.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Before {
    /// `None` where nothing was.
    pub meta: Option<Meta>,
    /// A file's content, where it was to change.
    pub bytes: Option<Vec<u8>>,
    /// Why the content is not kept, where it was to change.
    pub lost: Option<String>,
}

/// What a change leaves at a path; what is `None` was not touched or is not known.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Left {
    /// What stands there.
    pub what: Option<What>,
    /// Permission bits.
    pub mode: Option<u32>,
    /// Owner's name or number.
    pub owner: Option<String>,
    /// Group's name or number.
    pub group: Option<String>,
    /// Last change of the content, where that was asked for.
    pub mtime: Option<i64>,
}

/// What stands at a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum What {
    /// Nothing.
    Nothing,
    /// A file of this size and SHA-256, and what it holds where that is short and no secret, so that it can be said where
    /// somebody has changed it since.
    File(u64, String, Option<Vec<u8>>),
    /// A folder.
    Directory,
    /// A link to there.
    Link(String),
}

impl Left {
    fn of(what: What) -> Left {
        Left {
            what: Some(what),
            ..Left::default()
        }
    }
}

/// A command that was run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Act {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Facts that it changed, with what they were before.
    pub facts: Vec<Fact>,
    /// The command that takes it back.
    pub back: Option<Vec<String>>,
    /// Whether the paths and facts of the records are all that it changed.
    pub whole: bool,
}

/// A fact as it was before it was changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fact {
    /// Its key.
    pub key: String,
    /// How it is asked for, and the answer; `None` where nobody asked before, or an earlier record has it. All packages of
    /// a command have one answer, at the first of them.
    pub before: Option<(Probe, Answer)>,
}

/// Where records may lie, in the order in which these are tried, for a user with this home.
#[must_use]
pub fn folders(home: &str) -> Vec<AbsPath> {
    let own = OWN.iter().map(|folder| (*folder).to_owned());
    let all = own.chain((!home.is_empty()).then(|| format!("{home}/.cache/okd-play")));
    all.filter_map(|folder| AbsPath::new(&format!("{folder}/runs")).ok())
        .collect()
}

/// The records of a run, in order.
///
/// # Errors
/// The world's.
pub fn read(run: &str, world: &dyn System) -> Result<Vec<Record>, SystemError> {
    let folders = folders(&home(world)?);
    read_from(folders.iter().map(|folder| folder.join(run)), world)
}

/// The records in some folders, in order.
///
/// # Errors
/// The world's.
pub fn read_from(folders: impl IntoIterator<Item = AbsPath>, world: &dyn System) -> Result<Vec<Record>, SystemError> {
    let mut records = Vec::new();
    for folder in folders {
        for entry in world.list(&folder)? {
            let bytes = world.read(&folder.join(&entry.name), 4 * MOST)?.unwrap_or_default();
            let mut reader = bytes.as_slice();
            // A record at the end that was cut is none: what it would have been kept for was not done.
            while let Ok(Some(record)) = wire::receive::<Record>(&mut reader) {
                records.push(record);
            }
        }
    }
    sort_by(&mut records, |one, other| one.at.cmp(&other.at));
    Ok(records)
}

fn home(world: &dyn System) -> Result<String, SystemError> {
    let answer = world.probe(&Probe::new("home", &["/bin/sh", "-c", "printf %s \"$HOME\""]))?;
    Ok(answer.text().trim_end_matches('/').to_owned())
}

/// A machine of which is kept what it was.
pub struct Journal {
    under: Arc<dyn System>,
    /// Where records may lie, where that is not for the machine to say.
    folder: Option<AbsPath>,
    run: Mutex<Option<Run>>,
    /// How facts were asked for.
    asked: Mutex<HashMap<String, Probe>>,
}

/// The run that is kept.
struct Run {
    id: String,
    folder: Option<AbsPath>,
    /// Where its records are; `None` before the first one.
    file: Option<AbsPath>,
    /// Paths whose state before is kept, and whether their contents are.
    known: HashMap<AbsPath, bool>,
    facts: HashSet<String>,
    bytes: u64,
    hidden: bool,
    /// Why records could not be kept, once it was said.
    gap: Option<String>,
    notes: Vec<String>,
}

impl Journal {
    /// One that keeps nothing yet.
    #[must_use]
    pub fn new(under: Arc<dyn System>) -> Self {
        Journal {
            under,
            folder: None,
            run: Mutex::default(),
            asked: Mutex::default(),
        }
    }

    /// Keeps its records in this folder and in no other.
    #[must_use]
    pub fn in_folder(self, folder: AbsPath) -> Self {
        Journal {
            folder: Some(folder),
            ..self
        }
    }

    /// What is done from now on is a part of this run.
    pub fn begin(&self, id: &str) {
        *lock(&self.run) = Some(Run {
            id: id.to_owned(),
            folder: self.folder.clone(),
            file: None,
            known: HashMap::new(),
            facts: HashSet::new(),
            bytes: 0,
            hidden: false,
            gap: None,
            notes: Vec::new(),
        });
    }

    /// Whether what is done from now on is shown to nobody.
    pub fn hide(&self, hidden: bool) {
        if let Some(run) = lock(&self.run).as_mut() {
            run.hidden = hidden;
        }
    }

    /// What could not be kept since this was asked last, in sentences.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        lock(&self.run)
            .as_mut()
            .map(|run| std::mem::take(&mut run.notes))
            .unwrap_or_default()
    }

    /// Keeps what is at a path before it is touched.
    fn touch(&self, path: &AbsPath, last: bool, content: bool, left: Left, secret: bool) {
        let mut run = lock(&self.run);
        let Some(run) = run.as_mut() else { return };
        match run.touched(self.under.as_ref(), path, last, content, left, secret) {
            Ok(Some(touch)) => run.keep(self.under.as_ref(), Deed::Paths(vec![touch])),
            Ok(None) => {}
            Err(error) => run.missed(&error),
        }
    }

    /// What is at a path after a change of it failed, whatever that has done.
    fn failed(&self, path: &AbsPath, last: bool) {
        let mut run = lock(&self.run);
        let Some(run) = run.as_mut() else { return };
        let under = self.under.as_ref();
        let Ok(spot) = Spot::find(path, last, &mut |at| under.stat(at)) else {
            return;
        };
        let Some(content) = run.known.get(&spot.path).copied() else {
            return;
        };
        let here = spot.here.as_ref();
        let left = Left {
            what: seen(&spot.path, here, under).filter(|_| content),
            mode: here.map(|meta| meta.mode),
            owner: here.map(|meta| meta.uid.to_string()),
            group: here.map(|meta| meta.gid.to_string()),
            mtime: None,
        };
        let touch = Touch {
            path: spot.path,
            before: None,
            left,
            secret: false,
        };
        run.keep(under, Deed::Paths(vec![touch]));
    }

    fn acts(&self, action: &Action) -> Expected {
        let mut run = lock(&self.run);
        let Some(run) = run.as_mut() else {
            return Expected::default();
        };
        let under = self.under.as_ref();
        let none = Declared::default();
        let (declared, known) = match &action.effect {
            Effect::Declared(declared) => (declared, !declared.at_least),
            Effect::Unknown(_) => (&none, false),
        };
        let argv = unguarded(&action.argv);
        if known && *declared == none && !tells(argv) {
            return Expected::default();
        }
        let asked = lock(&self.asked);
        // A start script of System V's kind says elsewhere whether it is enabled.
        let scripts = declared.predicts.iter().filter_map(|(key, _)| {
            let unit = format!("unit-enabled:{}", key.strip_prefix("unit:")?);
            asked.contains_key(&unit).then_some(unit)
        });
        let keys = declared.predicts.iter().map(|(key, _)| key.clone()).chain(scripts);
        let mut listed = None;
        let facts: Vec<Fact> = keys
            .map(|key| {
                let ask = |probe: &Probe| Some((probe.clone(), under.probe(probe).ok()?));
                let before = if key.starts_with(PACKAGES) {
                    // Whoever asks for one package is told of all.
                    let any = || asked.iter().find(|(other, _)| other.starts_with(PACKAGES));
                    let probe = asked.get(&key).or_else(|| any().map(|(_, probe)| probe));
                    let list = probe.filter(|_| listed.is_none()).and_then(ask);
                    let list = list.filter(|(_, answer)| answer.success());
                    listed = listed.take().or_else(|| list.clone());
                    list
                } else {
                    let fresh = run.facts.insert(key.clone());
                    asked.get(&key).filter(|_| fresh).and_then(ask)
                };
                Fact { key, before }
            })
            .collect();
        drop(asked);
        let made = || declared.creates.iter().chain(&declared.folders);
        let mut paths: Vec<AbsPath> = made().chain(&declared.removes).cloned().collect();
        for path in made() {
            let mut above = path.parent();
            while let Some(folder) = above.filter(|folder| matches!(under.stat(folder), Ok(None))) {
                above = folder.parent();
                if !paths.contains(&folder) {
                    paths.push(folder);
                }
            }
        }
        let packages = facts.iter().any(|fact| fact.key.starts_with(PACKAGES));
        let whole = known
            && (declared.brings.is_empty() || packages)
            && packages == listed.is_some()
            && (declared.back.is_some()
                || facts
                    .iter()
                    .all(|fact| TYPED.iter().any(|kind| fact.key.starts_with(kind)) || !paths.is_empty()));
        let argv = match (run.hidden, argv.first()) {
            (true, Some(program)) => vec![program.clone(), "…".to_owned()],
            _ => argv.to_vec(),
        };
        let act = Act {
            argv,
            facts,
            back: declared.back.clone(),
            whole,
        };
        run.keep(under, Deed::Act(act));
        if !whole {
            return Expected::default();
        }
        for path in &declared.removes {
            run.sweep(under, path);
        }
        let mut touched = Vec::new();
        for path in paths.iter().filter(|path| !declared.removes.contains(path)) {
            match run.touched(under, path, false, true, Left::default(), false) {
                Ok(touch) => touched.extend(touch),
                Err(error) => run.missed(&error),
            }
        }
        if !touched.is_empty() {
            run.keep(under, Deed::Paths(touched));
        }
        let known = match &listed {
            Some(_) => run
                .known
                .iter()
                .filter(|(_, content)| **content)
                .map(|(path, _)| path.clone())
                .collect(),
            None => Vec::new(),
        };
        let known = known
            .into_iter()
            .map(|path| (under.stat(&path).ok().flatten(), path))
            .collect();
        Expected { paths, listed, known }
    }

    /// Keeps what a command has left at the paths that it touches, and of facts.
    fn done(&self, action: &Action, answer: Option<&Answer>, expected: Expected) {
        let mut run = lock(&self.run);
        let Some(run) = run.as_mut() else { return };
        let under = self.under.as_ref();
        let Effect::Declared(declared) = &action.effect else {
            return;
        };
        let Expected { paths, listed, known } = expected;
        if let Some((probe, before)) = listed
            && let Ok(after) = under.probe(&probe)
            && after.success()
        {
            run.keep(under, Deed::Packages(Listed::of(&before.text(), &after.text())));
        }
        // Packages take files with them, and put others in their place.
        let moved = known
            .into_iter()
            .filter(|(meta, path)| under.stat(path).is_ok_and(|now| now != *meta));
        let moved: Vec<AbsPath> = moved.map(|(_, path)| path).collect();
        let mut left: Vec<Touch> = Vec::new();
        for path in paths.iter().chain(&moved) {
            let Ok(spot) = Spot::find(path, false, &mut |at| under.stat(at)) else {
                continue;
            };
            left.extend(found(&spot.path, spot.here.as_ref(), None, under));
        }
        // What is in a folder that a command made is its work too.
        let printed = answer.filter(|answer| declared.prints && answer.success());
        let printed = printed.and_then(|answer| AbsPath::new(answer.text().trim_end()).ok());
        for path in declared
            .folders
            .iter()
            .filter(|path| paths.contains(path))
            .chain(&printed)
        {
            if let Err(error) = run.furnished(under, path, &mut left) {
                run.missed(&error);
            }
        }
        if !left.is_empty() {
            run.keep(under, Deed::Paths(left));
        }
        let asked = lock(&self.asked);
        let done = answer.is_some_and(Answer::success);
        let left = |(key, said): &(String, Answer)| {
            if key.starts_with(DEVICE) {
                return done.then(|| (key.clone(), said.clone()));
            }
            let found = FOUND.iter().any(|kind| key.starts_with(kind));
            Some((key.clone(), under.probe(asked.get(key).filter(|_| found)?).ok()?))
        };
        let facts: Vec<(String, Answer)> = declared.predicts.iter().filter_map(left).collect();
        drop(asked);
        if !facts.is_empty() {
            run.keep(under, Deed::Found(facts));
        }
    }
}

/// What is looked at again when a command has ended.
#[derive(Default)]
struct Expected {
    /// Paths that it touches.
    paths: Vec<AbsPath>,
    /// How packages are listed, and the list before it.
    listed: Option<(Probe, Answer)>,
    /// What the run has touched already, as it was.
    known: Vec<(Option<Meta>, AbsPath)>,
}

impl Listed {
    fn of(before: &str, after: &str) -> Self {
        let lines = |text: &str, other: &str| {
            let other: HashSet<&str> = other.lines().collect();
            let own = text.lines().filter(|line| !other.contains(line));
            own.map(str::to_owned).collect()
        };
        Listed {
            came: lines(after, before),
            went: lines(before, after),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether a command lets something read its files anew.
fn tells(argv: &[String]) -> bool {
    matches!(argv, [program, verb, ..] if program == "systemctl" && !verb.starts_with('-'))
}

/// A record of what a command has left at a path.
fn found(path: &AbsPath, here: Option<&Meta>, before: Option<Before>, under: &dyn System) -> Option<Touch> {
    Some(Touch {
        path: path.clone(),
        before,
        left: Left::of(seen(path, here, under)?),
        secret: false,
    })
}

/// What stands at a path; `None` where that cannot be said.
fn seen(path: &AbsPath, here: Option<&Meta>, world: &dyn System) -> Option<What> {
    Some(match here {
        None => What::Nothing,
        Some(meta) => match meta.kind {
            FileKind::File if meta.size > LARGEST => What::File(meta.size, String::new(), None),
            FileKind::File => {
                let bytes = world.read(path, LARGEST).ok()??;
                What::File(bytes.len() as u64, sha256(&bytes), None)
            }
            FileKind::Directory => What::Directory,
            FileKind::Link => What::Link(meta.target.clone()?),
            FileKind::Other => return None,
        },
    })
}

fn own(path: &AbsPath) -> bool {
    let within = |folder: &&str| AbsPath::new(folder).is_ok_and(|folder| path.is_within(&folder));
    OWN.iter().any(within) || path.as_str().contains("/.cache/okd-play/")
}

impl Run {
    /// What is at a path that is about to be touched; `None` for what is okd-play's own.
    fn touched(
        &mut self,
        under: &dyn System,
        path: &AbsPath,
        last: bool,
        content: bool,
        left: Left,
        secret: bool,
    ) -> Result<Option<Touch>, SystemError> {
        let path = resolve(path, last, &mut |at| Ok(under.stat(at)?.and_then(|meta| meta.target)))?;
        if own(&path) {
            return Ok(None);
        }
        let before = match self.known.get(&path) {
            Some(known) if *known || !content => None,
            _ => {
                let meta = under.stat(&path)?;
                Some(self.before(&path, meta, content, under))
            }
        };
        self.known
            .entry(path.clone())
            .and_modify(|known| *known |= content)
            .or_insert(content);
        Ok(Some(Touch {
            path,
            before,
            left,
            secret: secret || self.hidden,
        }))
    }

    fn before(&mut self, path: &AbsPath, meta: Option<Meta>, content: bool, under: &dyn System) -> Before {
        let wanted = meta.as_ref().filter(|_| content);
        let (bytes, lost) = match wanted.map(|meta| (meta.kind, meta.size)) {
            None | Some((FileKind::Directory | FileKind::Link, _)) => (None, None),
            Some((FileKind::Other, _)) => (None, Some("it is a device, socket or pipe".to_owned())),
            Some((FileKind::File, size)) if size > LARGEST || self.bytes + size > MOST => {
                (None, Some(format!("{size} bytes are more than there is room for")))
            }
            Some((FileKind::File, size)) => match under.read(path, LARGEST) {
                Ok(bytes) => {
                    self.bytes += size;
                    (Some(bytes.unwrap_or_default()), None)
                }
                Err(error) => (None, Some(error.to_string())),
            },
        };
        if let Some(lost) = &lost {
            self.note(path, lost);
        }
        Before { meta, bytes, lost }
    }

    /// Keeps a folder with all that is in it before it is removed.
    fn sweep(&mut self, under: &dyn System, path: &AbsPath) {
        let mut all = Vec::new();
        match self.below(under, path, &mut all) {
            Ok(true) => self.keep(under, Deed::Paths(all)),
            Ok(false) => {
                let lost = format!("more than {MOST_ENTRIES} files, or more than there is room for");
                self.note(path, &lost);
                let touch = Touch {
                    path: path.clone(),
                    before: Some(Before {
                        meta: under.stat(path).ok().flatten(),
                        bytes: None,
                        lost: Some(lost),
                    }),
                    left: Left::of(What::Nothing),
                    secret: true,
                };
                self.keep(under, Deed::Paths(vec![touch]));
            }
            Err(error) => self.missed(&error),
        }
    }

    /// What is below a folder, and it itself; `false` where that is too much.
    fn below(&mut self, under: &dyn System, path: &AbsPath, all: &mut Vec<Touch>) -> Result<bool, SystemError> {
        let Some(touch) = self.touched(under, path, false, true, Left::of(What::Nothing), true)? else {
            return Ok(true);
        };
        let path = touch.path.clone();
        all.push(touch);
        if all.len() > MOST_ENTRIES || self.bytes > MOST {
            return Ok(false);
        }
        if under.stat(&path)?.is_some_and(|meta| meta.kind == FileKind::Directory) {
            for entry in under.list(&path)? {
                if !self.below(under, &path.join(&entry.name), all)? {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// What a command made at a path where nothing was: it, and all that is below it. Other records tell whether anything was.
    fn furnished(&mut self, under: &dyn System, path: &AbsPath, all: &mut Vec<Touch>) -> Result<(), SystemError> {
        let Some(meta) = under.stat(path)? else { return Ok(()) };
        let new = Before {
            meta: None,
            bytes: None,
            lost: None,
        };
        all.extend(found(path, Some(&meta), Some(new), under));
        if meta.kind == FileKind::Directory && all.len() < MOST_ENTRIES {
            for entry in under.list(path)? {
                self.furnished(under, &path.join(&entry.name), all)?;
            }
        }
        Ok(())
    }

    fn note(&mut self, path: &AbsPath, lost: &str) {
        self.notes.push(format!(
            "what {path} was is not kept ({lost}): an undo cannot bring it back"
        ));
    }

    fn missed(&mut self, error: &SystemError) {
        if self.gap.is_none() {
            self.notes.push(format!(
                "what was here before is not kept, so that an undo will not bring all of it back: {error}"
            ));
        }
        self.gap = Some(error.to_string());
    }

    /// Puts a record down; the change that it is kept for may be made when this returns.
    fn keep(&mut self, under: &dyn System, deed: Deed) {
        let gap = self.gap.clone().map(Deed::Gap);
        for deed in gap.into_iter().chain([deed]) {
            match self.put(under, deed) {
                Ok(()) => self.gap = None,
                Err(error) => return self.missed(&error),
            }
        }
    }

    fn put(&mut self, under: &dyn System, deed: Deed) -> Result<(), SystemError> {
        // What is gone for good is on the disk before it goes.
        let precious = matches!(&deed, Deed::Paths(touched)
            if touched.iter().any(|touch| touch.before.as_ref().is_some_and(|before| before.meta.is_some())));
        let record = Record { at: nanos_now(), deed };
        let frame = wire::encode(&record).map_err(|error| SystemError::Lost(error.to_string()))?;
        let file = match &self.file {
            Some(file) => file.clone(),
            None => {
                let folders = match &self.folder {
                    Some(folder) => vec![folder.clone()],
                    None => folders(&home(under)?),
                };
                self.file.insert(place(&self.id, &folders, under)?).clone()
            }
        };
        if under.append(&file, &frame, precious)? {
            return Ok(());
        }
        // A world that cannot add to a file has one for each record.
        let folder = file.parent().unwrap_or(file);
        under.write(&FileWrite {
            mode: Some(0o600),
            ..FileWrite::new(folder.join(&record.at.to_string()), frame)
        })
    }
}

/// A new file for records in the first folder that takes it. The oldest runs there go.
fn place(id: &str, folders: &[AbsPath], under: &dyn System) -> Result<AbsPath, SystemError> {
    let mut last = SystemError::Lost("there is no folder for it".to_owned());
    for folder in folders {
        match folder_for(id, folder, under) {
            Ok(own) => {
                let runs = under.list(folder)?;
                for old in runs.iter().rev().skip(RUNS).filter(|old| old.name != id) {
                    under.remove(&folder.join(&old.name), Removal::Tree)?;
                }
                return Ok(own.join(&nanos_now().to_string()));
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn folder_for(id: &str, folder: &AbsPath, under: &dyn System) -> Result<AbsPath, SystemError> {
    let own = folder.join(id);
    for (path, mode) in [
        (folder.parent(), 0o755),
        (Some(folder.clone()), 0o700),
        (Some(own.clone()), 0o700),
    ] {
        let Some(path) = path else { continue };
        match under.make(&path, &Make::Directory { mode }) {
            Err(error) if under.stat(&path)?.is_none() => return Err(error),
            _ => {}
        }
    }
    // A folder that is there may be somebody else's.
    let trial = own.join("trial");
    under.write(&FileWrite {
        mode: Some(0o600),
        ..FileWrite::new(trial.clone(), Vec::new())
    })?;
    under.remove(&trial, Removal::File)?;
    Ok(own)
}

impl System for Journal {
    fn stat(&self, path: &AbsPath) -> Result<Option<Meta>, SystemError> {
        self.under.stat(path)
    }

    fn read(&self, path: &AbsPath, limit: u64) -> Result<Option<Vec<u8>>, SystemError> {
        self.under.read(path, limit)
    }

    fn list(&self, dir: &AbsPath) -> Result<Vec<Entry>, SystemError> {
        self.under.list(dir)
    }

    fn probe(&self, probe: &Probe) -> Result<Answer, SystemError> {
        if !probe.watches() && probe.stdin.is_empty() && probe.stage.is_empty() {
            self.remembered(probe);
        }
        self.under.probe(probe)
    }

    fn remembered(&self, probe: &Probe) {
        lock(&self.asked).insert(probe.key.clone(), probe.clone());
    }

    fn write(&self, file: &FileWrite) -> Result<(), SystemError> {
        let hidden = file.secret || lock(&self.run).as_ref().is_none_or(|run| run.hidden);
        let short = (!hidden && file.bytes.len() <= SHORT).then(|| file.bytes.clone());
        let left = Left {
            mode: file.mode,
            owner: file.owner.clone(),
            group: file.group.clone(),
            ..Left::of(What::File(file.bytes.len() as u64, sha256(&file.bytes), short))
        };
        let last = !file.replaces_link;
        self.touch(&file.path, last, true, left, file.secret);
        self.under.write(file).inspect_err(|_| self.failed(&file.path, last))
    }

    fn make(&self, path: &AbsPath, kind: &Make) -> Result<(), SystemError> {
        let left = match kind {
            Make::Directory { mode } => Left {
                mode: Some(*mode),
                ..Left::of(What::Directory)
            },
            Make::Link { target } => Left::of(What::Link(target.clone())),
            Make::Hard { source } => Left {
                what: seen(source, self.under.stat(source)?.as_ref(), self.under.as_ref()),
                ..Left::default()
            },
        };
        if let Make::Hard { source } = kind {
            // What is altered by its new name is altered by the old one too.
            self.touch(source, false, false, Left::default(), false);
        }
        self.touch(path, false, true, left, false);
        self.under.make(path, kind).inspect_err(|_| self.failed(path, false))
    }

    fn alter(&self, path: &AbsPath, change: &Alter) -> Result<(), SystemError> {
        let left = Left {
            what: None,
            mode: change.mode,
            owner: change.owner.clone(),
            group: change.group.clone(),
            mtime: change.mtime,
        };
        self.touch(path, false, false, left, false);
        self.under.alter(path, change).inspect_err(|_| self.failed(path, false))
    }

    fn remove(&self, path: &AbsPath, how: Removal) -> Result<(), SystemError> {
        if how == Removal::Tree {
            if let Some(run) = lock(&self.run).as_mut() {
                run.sweep(self.under.as_ref(), path);
            }
        } else {
            self.touch(path, false, true, Left::of(What::Nothing), true);
        }
        self.under.remove(path, how).inspect_err(|_| self.failed(path, false))
    }

    fn act(&self, action: &Action) -> Result<Answer, SystemError> {
        let expected = self.acts(action);
        let answer = self.under.act(action);
        self.done(action, answer.as_ref().ok(), expected);
        answer
    }

    fn promised(&self) -> Vec<String> {
        self.under.promised()
    }

    fn predicted(&self) -> bool {
        self.under.predicted()
    }
}
