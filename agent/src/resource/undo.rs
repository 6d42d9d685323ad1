//! Takes a run back: what its records hold of this machine is put in place again. It is no module of playbooks;
//! `okd-play undo` asks for it, and it is planned, shown and applied like every kind.
//!
//! A path is brought back to what it was before the run, where it is still what the run left; what somebody has changed
//! since is left alone and said, and so is what no record can bring back.

use super::systemd::{Manager, Unit, control, settle, show};
use super::transaction::{LIVE, live};
use super::{Resource, ResourceError, View};
use crate::diff::{Change, TextChange, TextKind, text};
use crate::params;
use crate::path::AbsPath;
use crate::system::journal::{Act, Before, Deed, LARGEST, Left, Record, Touch, What, read};
use crate::system::links;
use crate::system::{Action, Alter, Answer, Declared, Effect, FileKind, FileWrite, Make, Meta, Probe, Removal, System};
use crate::value::{Map, Value, map};
use serde::Serialize;
use std::collections::BTreeMap;

/// How the reason begins why a path is left alone that is not what the run left.
pub const MOVED: &str = "it was changed since";

params! {
    /// Takes back what a run did on this machine.
    pub struct Undo {
        /// The run's id.
        run: String,
        /// Also what somebody has changed since.
        force: bool = "no",
    }
}

/// What the run touched, as it is now and as it should be.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct State {
    paths: Vec<Spot>,
    units: Vec<UnitSpot>,
    facts: Vec<FactSpot>,
    /// Commands that let something read what changes, in the order of the run.
    tell: Vec<Tell>,
    /// What stays as it is, and why.
    left: Vec<(String, String)>,
}

/// A path that the run touched.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Spot {
    path: AbsPath,
    now: Image,
    before: Image,
    /// When the content was changed last, before the run.
    stamp: Option<i64>,
    /// Whether its content may not be shown.
    secret: bool,
}

/// What is at a path, as far as an undo minds it.
#[derive(Debug, Clone, PartialEq, Serialize)]
enum Image {
    Nothing,
    File {
        bytes: Option<Vec<u8>>,
        mtime: Option<i64>,
        attributes: Attributes,
    },
    Directory(Attributes),
    Link {
        target: String,
        attributes: Attributes,
    },
    Other(Attributes),
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct Attributes {
    mode: u32,
    uid: u32,
    gid: u32,
    owner: String,
    group: String,
}

/// A unit that the run started, stopped, enabled or disabled.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct UnitSpot {
    name: String,
    now: Posture,
    before: Posture,
    /// What systemd said of it before.
    was: Unit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
struct Posture {
    runs: bool,
    enabled: Option<bool>,
    masked: bool,
}

/// A command that takes something back, and the command that did it.
type Back = (Vec<String>, Vec<String>);

/// A fact that one command changes and another takes back.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct FactSpot {
    key: String,
    /// The commands that take it back, the last change first, each with the one that it takes back.
    back: Vec<Back>,
    now: String,
    before: String,
    status: i32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
enum Tell {
    /// Units are read anew.
    Manager,
    /// A unit is told, by this verb, where it runs.
    Unit(String, String),
    /// What a unit's files say becomes so by this command, where it runs.
    Command(String, Vec<String>),
}

impl Tell {
    fn unit(&self) -> Option<&str> {
        match self {
            Tell::Manager => None,
            Tell::Unit(name, _) | Tell::Command(name, _) => Some(name),
        }
    }
}

impl Image {
    fn kind(&self) -> Option<FileKind> {
        match self {
            Image::Nothing => None,
            Image::File { .. } => Some(FileKind::File),
            Image::Directory(_) => Some(FileKind::Directory),
            Image::Link { .. } => Some(FileKind::Link),
            Image::Other(_) => Some(FileKind::Other),
        }
    }

    fn attributes(&self) -> Option<&Attributes> {
        match self {
            Image::Nothing => None,
            Image::Directory(attributes) | Image::Other(attributes) => Some(attributes),
            Image::File { attributes, .. } | Image::Link { attributes, .. } => Some(attributes),
        }
    }

    fn bytes(&self) -> Option<&[u8]> {
        match self {
            Image::File { bytes, .. } => bytes.as_deref(),
            _ => None,
        }
    }

    /// Whether this can only become the other by being removed first.
    fn gives_way(&self, to: &Image) -> bool {
        let (here, then) = (self.kind(), to.kind());
        here.is_some() && here != then && (then.is_none() || [here, then].contains(&Some(FileKind::Directory)))
    }
}

impl Spot {
    /// Whether something else is put there, not only changed in its attributes.
    fn anew(&self) -> bool {
        self.now.kind() != self.before.kind() || self.now.bytes() != self.before.bytes()
    }
}

impl From<&Meta> for Attributes {
    fn from(meta: &Meta) -> Self {
        Attributes {
            mode: meta.mode,
            uid: meta.uid,
            gid: meta.gid,
            owner: meta.owner.clone(),
            group: meta.group.clone(),
        }
    }
}

impl From<&Unit> for Posture {
    fn from(unit: &Unit) -> Self {
        Posture {
            runs: unit.runs(),
            enabled: unit.enabled(),
            masked: unit.masked(),
        }
    }
}

/// The records of a path, put together.
struct Trace {
    meta: Option<Meta>,
    bytes: Option<Vec<u8>>,
    lost: Option<String>,
    left: Left,
    content: bool,
    secret: bool,
}

impl Trace {
    fn of(before: Before) -> Trace {
        let Before { meta, bytes, lost } = before;
        Trace {
            meta,
            bytes,
            lost,
            left: Left::default(),
            content: false,
            secret: false,
        }
    }

    fn add(&mut self, touch: Touch) {
        let Touch {
            before, left, secret, ..
        } = touch;
        if let Some(before) = before
            && self.bytes.is_none()
            && self.lost.is_none()
        {
            self.bytes = before.bytes;
            self.lost = before.lost;
        }
        self.content |= left.what.is_some();
        self.secret |= secret;
        let Left {
            what,
            mode,
            owner,
            group,
            mtime,
        } = left;
        if what.is_some() {
            // What is put in place anew has nothing of what was there but what it was given.
            let kept = matches!((&self.left.what, &what), (Some(What::File(..)), Some(What::File(..))));
            self.left = Left {
                what,
                ..if kept { self.left.clone() } else { Left::default() }
            };
        }
        self.left.mode = mode.or(self.left.mode);
        self.left.owner = owner.or_else(|| self.left.owner.take());
        self.left.group = group.or_else(|| self.left.group.take());
        self.left.mtime = mtime.or(self.left.mtime);
    }

    /// What was at the path before.
    fn before(&self) -> Image {
        let Some(meta) = &self.meta else { return Image::Nothing };
        let attributes = Attributes::from(meta);
        match meta.kind {
            FileKind::File => Image::File {
                bytes: self.bytes.clone(),
                mtime: self.timed().then_some(meta.mtime),
                attributes,
            },
            FileKind::Directory => Image::Directory(attributes),
            FileKind::Link => Image::Link {
                target: meta.target.clone().unwrap_or_default(),
                attributes,
            },
            FileKind::Other => Image::Other(attributes),
        }
    }

    /// Whether the time of the last change was changed for its own sake.
    fn timed(&self) -> bool {
        self.left.mtime.is_some()
    }

    /// What is at the path now, as far as the run minds it.
    fn now(&self, path: &AbsPath, world: &dyn System) -> Result<Image, ResourceError> {
        let Some(meta) = world.stat(path)? else {
            return Ok(Image::Nothing);
        };
        let attributes = Attributes::from(&meta);
        Ok(match meta.kind {
            FileKind::File => Image::File {
                bytes: match self.content && meta.size <= LARGEST {
                    true => world.read(path, LARGEST)?,
                    false => None,
                },
                mtime: self.timed().then_some(meta.mtime),
                attributes,
            },
            FileKind::Directory => Image::Directory(attributes),
            FileKind::Link => Image::Link {
                target: meta.target.unwrap_or_default(),
                attributes,
            },
            FileKind::Other => Image::Other(attributes),
        })
    }

    /// How what is there now differs from what the run left.
    fn moved(&self, now: &Image, size: Option<u64>) -> Option<String> {
        let what = match (&self.left.what, now) {
            (None, _) | (Some(What::Nothing), Image::Nothing) | (Some(What::Directory), Image::Directory(_)) => true,
            (Some(What::Link(to)), Image::Link { target, .. }) => to == target,
            (Some(What::File(bytes, ..)), Image::File { bytes: None, .. }) => size == Some(*bytes),
            (Some(What::File(_, sum, left)), Image::File { bytes: Some(now), .. }) => {
                if !sum.is_empty() && crate::diff::sha256(now) != *sum {
                    return Some(match left {
                        Some(left) => format!("from {} on", place(left, now)),
                        None => "its content".to_owned(),
                    });
                }
                true
            }
            _ => false,
        };
        if !what {
            return Some("what stands there".to_owned());
        }
        let named = |wanted: &Option<String>, name: &str, id: u32| {
            wanted
                .as_ref()
                .is_none_or(|wanted| wanted == name || *wanted == id.to_string())
        };
        let now = now.attributes()?;
        let parts = [
            ("its mode", self.left.mode.is_none_or(|mode| mode == now.mode)),
            ("its owner", named(&self.left.owner, &now.owner, now.uid)),
            ("its group", named(&self.left.group, &now.group, now.gid)),
        ];
        parts.iter().find(|(_, same)| !same).map(|(name, _)| (*name).to_owned())
    }
}

/// The first byte of a file that is another one than it was, counted from 1.
fn place(was: &[u8], is: &[u8]) -> String {
    let same = was.iter().zip(is).take_while(|(was, is)| was == is).count();
    let lines = is.iter().take(same).filter(|byte| **byte == b'\n').count();
    format!("byte {} (line {})", same + 1, lines + 1)
}

impl Undo {
    fn paths(&self, records: &[Record], state: &mut State, world: &dyn System) -> Result<(), ResourceError> {
        let mut traces: BTreeMap<&AbsPath, Trace> = BTreeMap::new();
        for touch in records
            .iter()
            .filter_map(|record| match &record.deed {
                Deed::Paths(touched) => Some(touched),
                _ => None,
            })
            .flatten()
        {
            if !traces.contains_key(&touch.path) {
                let Some(before) = touch.before.clone() else { continue };
                traces.insert(&touch.path, Trace::of(before));
            }
            if let Some(trace) = traces.get_mut(&touch.path) {
                trace.add(touch.clone());
            }
        }
        // From below, so that a folder knows what of it goes.
        for (path, trace) in traces.into_iter().rev() {
            let now = trace.now(path, world)?;
            let before = trace.before();
            if now == before && (trace.lost.is_none() || !trace.content) {
                continue;
            }
            let size = world.stat(path)?.map(|meta| meta.size);
            if let Some(why) = self.stays(path, &trace, &now, &before, size, state, world)? {
                state.left.push((path.to_string(), why));
                continue;
            }
            let private = |image: &Image| image.attributes().is_some_and(|own| own.mode & 0o077 == 0);
            state.paths.push(Spot {
                path: path.clone(),
                stamp: trace.meta.as_ref().map(|meta| meta.mtime),
                secret: trace.secret || private(&now) || private(&before),
                now,
                before,
            });
        }
        state.paths.reverse();
        self.without_folder(state, world)
    }

    /// Why a path is left as it is, where it is.
    #[allow(clippy::too_many_arguments, reason = "all that can be said of one path")]
    fn stays(
        &self,
        path: &AbsPath,
        trace: &Trace,
        now: &Image,
        before: &Image,
        size: Option<u64>,
        state: &State,
        world: &dyn System,
    ) -> Result<Option<String>, ResourceError> {
        if let Some(lost) = &trace.lost {
            return Ok(Some(format!("what it was is not kept: {lost}")));
        }
        if let Some(moved) = trace.moved(now, size).filter(|_| !self.force) {
            return Ok(Some(format!("{MOVED}, {moved}; --force takes it back all the same")));
        }
        if now.kind() == Some(FileKind::Directory) && now.gives_way(before) {
            let spot = links::Spot::find(path, false, &mut |at| world.stat(at))?;
            if let Err(error) = spot.may_go() {
                return Ok(Some(error.to_string()));
            }
            let goes = |name: &str| {
                let below = path.join(name);
                state
                    .paths
                    .iter()
                    .any(|spot| spot.path == below && spot.before == Image::Nothing)
            };
            let foreign: Vec<String> = world
                .list(path)?
                .into_iter()
                .map(|entry| entry.name)
                .filter(|name| !goes(name))
                .collect();
            if let Some(name) = foreign.first() {
                return Ok(Some(format!("it holds what is not of that run: {name}")));
            }
        }
        Ok(None)
    }

    /// What would be put into a folder that is not there stays away too.
    fn without_folder(&self, state: &mut State, world: &dyn System) -> Result<(), ResourceError> {
        let mut kept: Vec<Spot> = Vec::new();
        for spot in std::mem::take(&mut state.paths) {
            let folder = match spot.path.parent().filter(|_| spot.before != Image::Nothing) {
                None => true,
                Some(parent) => match kept.iter().find(|other| other.path == parent) {
                    Some(other) => other.before.kind() == Some(FileKind::Directory),
                    None => world
                        .stat(&parent)?
                        .is_some_and(|meta| meta.kind == FileKind::Directory),
                },
            };
            if folder {
                kept.push(spot);
            } else {
                state.left.push((
                    spot.path.to_string(),
                    "the folder that it was in is not there".to_owned(),
                ));
            }
        }
        state.paths = kept;
        Ok(())
    }

    fn acts(&self, records: &[Record], state: &mut State, world: &dyn System) -> Result<(), ResourceError> {
        let mut first: BTreeMap<&str, (&Probe, &Answer)> = BTreeMap::new();
        let mut units: Vec<&str> = Vec::new();
        let mut backs: Vec<(&str, Vec<Back>)> = Vec::new();
        for act in records.iter().filter_map(|record| match &record.deed {
            Deed::Act(act) => Some(act),
            _ => None,
        }) {
            for fact in &act.facts {
                if let Some((probe, answer)) = &fact.before {
                    first.entry(&fact.key).or_insert((probe, answer));
                }
            }
            if let Some(tell) = told(act).filter(|tell| !state.tell.contains(tell)) {
                state.tell.push(tell);
            }
            for fact in &act.facts {
                match (fact.key.strip_prefix("unit:"), &act.back) {
                    (Some(unit), _) if !units.contains(&unit) => units.push(unit),
                    (None, Some(back)) => match backs.iter_mut().find(|(key, _)| *key == fact.key) {
                        Some((_, all)) if all.iter().any(|(other, _)| other == back) => {}
                        Some((_, all)) => all.insert(0, (back.clone(), act.argv.clone())),
                        None => backs.push((&fact.key, vec![(back.clone(), act.argv.clone())])),
                    },
                    _ => {}
                }
            }
            if !act.whole {
                let line = (
                    format!("`{}`", act.argv.join(" ")),
                    "what a command did is not known".to_owned(),
                );
                if !state.left.contains(&line) {
                    state.left.push(line);
                }
            }
        }
        let runs = |tell: &Tell| {
            tell.unit()
                .is_none_or(|unit| show(unit, Manager::System, world).is_ok_and(|unit| unit.runs()))
        };
        state.tell.retain(runs);
        for unit in units {
            let Some((_, answer)) = first.get(format!("unit:{unit}").as_str()) else {
                continue;
            };
            let mut was = Unit::parse(&answer.text());
            if let Some((_, enabled)) = first.get(format!("unit-enabled:{unit}").as_str()) {
                was.file = if enabled.success() { "enabled" } else { "disabled" }.to_owned();
            }
            let before = Posture::from(&was);
            let now = Posture::from(&show(unit, Manager::System, world)?);
            // A unit of which nobody can choose whether it starts at boot is as it is.
            let enabled = match (now.enabled, before.enabled) {
                (Some(_), Some(before)) => Some(before),
                (now, _) => now,
            };
            let before = Posture { enabled, ..before };
            state.units.push(UnitSpot {
                name: unit.to_owned(),
                now,
                before,
                was,
            });
        }
        for (key, back) in backs.into_iter().rev() {
            let Some((probe, answer)) = first.get(key) else {
                continue;
            };
            let now = world.probe(probe)?;
            state.facts.push(FactSpot {
                key: key.to_owned(),
                back,
                now: now.text(),
                before: answer.text(),
                status: answer.rc,
            });
        }
        Ok(())
    }
}

/// What a command of the run let read its files anew.
fn told(act: &Act) -> Option<Tell> {
    if let Some(unit) = act.facts.iter().find_map(|fact| fact.key.strip_prefix("live:")) {
        return Some(Tell::Command(unit.to_owned(), act.argv.clone()));
    }
    let [program, verb, rest @ ..] = act.argv.as_slice() else {
        return None;
    };
    match (program.as_str(), verb.as_str(), rest) {
        ("systemctl", "daemon-reload", []) => Some(Tell::Manager),
        ("systemctl", "restart" | "reload" | "reload-or-restart" | "try-restart" | "try-reload-or-restart", [unit]) => {
            Some(Tell::Unit(unit.clone(), verb.clone()))
        }
        _ => None,
    }
}

impl State {
    /// Whether anything changes that is read by something that runs.
    fn moves(&self, want: &State) -> bool {
        self.paths
            .iter()
            .zip(&want.paths)
            .any(|(now, want)| now.now != want.now)
    }

    /// What is told of the change: units that run and go on running, and first their manager.
    fn tellings(&self, want: &State) -> Vec<&Tell> {
        if !self.moves(want) {
            return Vec::new();
        }
        let stays = |name: &str| {
            self.units
                .iter()
                .zip(&want.units)
                .find(|(unit, _)| unit.name == name)
                .is_none_or(|(now, want)| now.now.runs && want.now.runs)
        };
        self.tell.iter().filter(|tell| tell.unit().is_none_or(stays)).collect()
    }
}

impl View for State {
    fn changes(&self, want: &Self) -> Vec<Change> {
        let mut changes = Vec::new();
        for (spot, wanted) in self.paths.iter().zip(&want.paths) {
            spot_changes(spot, &wanted.now, &mut changes);
        }
        for (unit, wanted) in self.units.iter().zip(&want.units) {
            let yes = |truth: bool| if truth { "yes" } else { "no" };
            let runs = |truth: bool| if truth { "started" } else { "stopped" };
            let (now, then) = (unit.now, wanted.now);
            let mut field = |name: &str, before: &str, after: &str| {
                if before != after {
                    changes.push(field(&unit.name, name, before, after));
                }
            };
            field("masked", yes(now.masked), yes(then.masked));
            if let (Some(now), Some(then)) = (now.enabled, then.enabled) {
                field("enabled", yes(now), yes(then));
            }
            field("state", runs(now.runs), runs(then.runs));
        }
        for (fact, wanted) in self.facts.iter().zip(&want.facts) {
            if fact.now != wanted.now {
                changes.push(field(&fact.key, "", fact.now.trim(), wanted.now.trim()));
            }
        }
        changes.extend(self.tellings(want).into_iter().map(|tell| match tell {
            Tell::Manager => Change::Act("systemctl daemon-reload".to_owned()),
            Tell::Unit(unit, verb) => Change::Act(format!("{verb} {}", unit.trim_end_matches(".service"))),
            Tell::Command(_, argv) => Change::Act(argv.join(" ")),
        }));
        changes
    }
}

fn field(of: &str, name: &str, before: &str, after: &str) -> Change {
    Change::Field {
        of: of.to_owned(),
        name: name.to_owned(),
        before: before.to_owned(),
        after: after.to_owned(),
    }
}

fn spot_changes(spot: &Spot, want: &Image, changes: &mut Vec<Change>) {
    if spot.now == *want {
        return;
    }
    let path = spot.path.as_str();
    let word = |image: &Image| match image {
        Image::Nothing => "absent".to_owned(),
        Image::File { .. } => "file".to_owned(),
        Image::Directory(_) => "directory".to_owned(),
        Image::Link { target, .. } => format!("link to {target}"),
        Image::Other(_) => "other".to_owned(),
    };
    let is_file = |image: &Image| matches!(image, Image::File { .. });
    if is_file(&spot.now) || is_file(want) {
        changes.extend(content_change(spot, want));
    }
    if word(&spot.now) != word(want)
        && !(is_file(want) && spot.now == Image::Nothing)
        && !(is_file(&spot.now) && *want == Image::Nothing)
    {
        changes.push(field(path, "state", &word(&spot.now), &word(want)));
    }
    if let (Some(now), Some(then), true) = (spot.now.attributes(), want.attributes(), spot.now.kind() == want.kind()) {
        let pairs = [
            ("mode", format!("{:04o}", now.mode), format!("{:04o}", then.mode)),
            ("owner", now.owner.clone(), then.owner.clone()),
            ("group", now.group.clone(), then.group.clone()),
        ];
        changes.extend(
            pairs
                .iter()
                .filter(|(_, now, then)| now != then)
                .map(|(name, now, then)| field(path, name, now, then)),
        );
    }
    if let (Image::File { mtime: Some(now), .. }, Image::File { mtime: Some(then), .. }) = (&spot.now, want)
        && now != then
    {
        changes.push(field(path, "changed at", &now.to_string(), &then.to_string()));
    }
}

/// A file's content; sizes alone where it may not be shown.
fn content_change(spot: &Spot, want: &Image) -> Option<Change> {
    let path = spot.path.as_str();
    let attributes = want.attributes().filter(|_| spot.now == Image::Nothing);
    let note = attributes
        .map(|own| format!("{:04o} {}:{}", own.mode, own.owner, own.group))
        .unwrap_or_default();
    let there = |image: &Image| matches!(image, Image::File { .. });
    let (now, then) = (spot.now.bytes(), want.bytes());
    if !spot.secret {
        // A file that is too large to be read is one without bytes.
        let side = |image: &Image| there(image).then(|| image.bytes().unwrap_or_default().to_vec());
        return text(path, side(&spot.now).as_deref(), side(want).as_deref(), &note);
    }
    if there(&spot.now) && there(want) && now == then {
        return None;
    }
    let size = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
    let sizes = format!("‹hidden›, {} → {} bytes", size(now), size(then));
    Some(Change::Text(TextChange {
        path: path.to_owned(),
        kind: TextKind::Binary,
        note: if note.is_empty() {
            sizes
        } else {
            format!("{sizes}, {note}")
        },
        hunks: Vec::new(),
        after: String::new(),
    }))
}

impl Resource for Undo {
    const NAMES: &'static [&'static str] = &["okd.undo"];
    const EXAMPLE: &'static str = "";
    const PREDICTS: &'static str = "everything that it takes back";
    type World = dyn System;
    type State = State;

    fn inspect(&self, world: &Self::World) -> Result<State, ResourceError> {
        let records = read(&self.run, world)?;
        let mut state = State {
            paths: Vec::new(),
            units: Vec::new(),
            facts: Vec::new(),
            tell: Vec::new(),
            left: Vec::new(),
        };
        if records.is_empty() {
            state.left.push((
                "everything".to_owned(),
                "there are no records of that run on this host".to_owned(),
            ));
        }
        for record in &records {
            if let Deed::Gap(why) = &record.deed {
                state.left.push((
                    "a part of the run".to_owned(),
                    format!("it could not be recorded: {why}"),
                ));
            }
        }
        self.paths(&records, &mut state, world)?;
        self.acts(&records, &mut state, world)?;
        Ok(state)
    }

    fn desire(&self, now: &State) -> Result<State, ResourceError> {
        let mut want = now.clone();
        for spot in &mut want.paths {
            spot.now = spot.before.clone();
        }
        for unit in &mut want.units {
            unit.now = unit.before;
        }
        for fact in &mut want.facts {
            fact.now.clone_from(&fact.before);
        }
        Ok(want)
    }

    fn apply(&self, now: &State, want: &State, world: &Self::World) -> Result<Map, ResourceError> {
        for unit in &now.units {
            unit.down(world)?;
        }
        for spot in now.paths.iter().rev().filter(|spot| spot.now.gives_way(&spot.before)) {
            remove(spot, world)?;
        }
        // Attributes last: a file that is put in place anew may share them with one that stays.
        let (anew, altered): (Vec<&Spot>, Vec<&Spot>) = now
            .paths
            .iter()
            .filter(|spot| spot.now != spot.before)
            .partition(|spot| spot.anew());
        for spot in anew.into_iter().chain(altered) {
            restore(spot, world)?;
        }
        back(&now.facts, world)?;
        let tellings = now.tellings(want);
        if tellings.contains(&&Tell::Manager) {
            super::acting::run(world, &Action::new(&["systemctl", "daemon-reload"], Effect::none()))?;
        }
        for unit in &now.units {
            unit.up(world)?;
        }
        for tell in tellings {
            match tell {
                Tell::Manager => {}
                Tell::Unit(name, verb) => {
                    let unit = show(name, Manager::System, world)?;
                    control(
                        name,
                        Manager::System.command(&[verb, name]),
                        &unit,
                        Manager::System,
                        world,
                    )?;
                    settle(name, &unit, Manager::System, world)?;
                }
                Tell::Command(unit, argv) => {
                    let told = Effect::predicts(live(unit), Answer::ok(LIVE));
                    super::acting::run(
                        world,
                        &Action {
                            argv: argv.clone(),
                            ..Action::new(&[], told)
                        },
                    )?;
                }
            }
        }
        Ok(Map::new())
    }

    fn result(&self, state: &State) -> Map {
        let left = state
            .left
            .iter()
            .map(|(what, why)| Value::Map(map([("what", what.as_str().into()), ("why", why.as_str().into())])));
        map([("left", Value::List(left.collect()))])
    }
}

impl UnitSpot {
    fn command(&self, verb: &str, world: &dyn System, after: impl FnOnce(&mut Unit)) -> Result<(), ResourceError> {
        let mut unit = show(&self.name, Manager::System, world)?;
        after(&mut unit);
        control(
            &self.name,
            Manager::System.command(&[verb, &self.name]),
            &unit,
            Manager::System,
            world,
        )
        .map(drop)
    }

    /// Stops and disables it, while its file is still there.
    fn down(&self, world: &dyn System) -> Result<(), ResourceError> {
        let (now, then) = (self.now, self.before);
        if now.runs && !then.runs {
            self.command("stop", world, |unit| unit.set_active(false))?;
        }
        if now.enabled == Some(true) && then.enabled == Some(false) {
            self.command("disable", world, |unit| "disabled".clone_into(&mut unit.file))?;
        }
        if now.masked && !then.masked {
            self.command("unmask", world, |unit| {
                unit.file.clone_from(&self.was.file);
                unit.load.clone_from(&self.was.load);
            })?;
        }
        Ok(())
    }

    /// Enables and starts it, once its files are back.
    fn up(&self, world: &dyn System) -> Result<(), ResourceError> {
        let (now, then) = (self.now, self.before);
        if then.enabled == Some(true) && now.enabled == Some(false) {
            self.command("enable", world, |unit| "enabled".clone_into(&mut unit.file))?;
        }
        if then.masked && !now.masked {
            self.command("mask", world, |unit| {
                "masked".clone_into(&mut unit.file);
                "masked".clone_into(&mut unit.load);
            })?;
        }
        if then.runs && !now.runs {
            self.command("start", world, |unit| unit.set_active(true))?;
            let unit = show(&self.name, Manager::System, world)?;
            settle(&self.name, &unit, Manager::System, world)?;
        }
        Ok(())
    }
}

/// Runs the commands that take facts back, each once for all facts that it takes back.
fn back(facts: &[FactSpot], world: &dyn System) -> Result<(), ResourceError> {
    let other: Vec<&FactSpot> = facts.iter().filter(|fact| fact.now != fact.before).collect();
    let mut done: Vec<&Vec<String>> = Vec::new();
    for (argv, forth) in other.iter().flat_map(|fact| &fact.back) {
        if done.contains(&argv) {
            continue;
        }
        done.push(argv);
        let answer = |fact: &FactSpot| Answer {
            rc: fact.status,
            ..Answer::ok(fact.before.clone())
        };
        let own = other.iter().filter(|fact| fact.back.iter().any(|(own, _)| own == argv));
        let declared = Declared {
            predicts: own.map(|fact| (fact.key.clone(), answer(fact))).collect(),
            back: Some(forth.clone()),
            ..Declared::default()
        };
        let action = Action {
            argv: argv.clone(),
            ..Action::new(&[], Effect::Declared(declared))
        };
        super::acting::run(world, &action)?;
    }
    Ok(())
}

fn remove(spot: &Spot, world: &dyn System) -> Result<(), ResourceError> {
    if spot.now.kind() != Some(FileKind::Directory) {
        return Ok(world.remove(&spot.path, Removal::File)?);
    }
    if let Some(entry) = world.list(&spot.path)?.first() {
        return Err(ResourceError::message(format!(
            "{} is not empty: it holds {}",
            spot.path, entry.name
        )));
    }
    Ok(world.remove(&spot.path, Removal::Tree)?)
}

fn restore(spot: &Spot, world: &dyn System) -> Result<(), ResourceError> {
    let path = &spot.path;
    let Some(attributes) = spot.before.attributes() else {
        return Ok(());
    };
    let (owner, group) = (Some(attributes.uid.to_string()), Some(attributes.gid.to_string()));
    let mut alter = Alter {
        mode: Some(attributes.mode),
        owner,
        group,
        mtime: None,
    };
    let fresh = spot.now.kind() != spot.before.kind();
    match &spot.before {
        Image::File { bytes, mtime, .. } => {
            alter.mtime = *mtime;
            if let Some(bytes) = bytes.as_ref().filter(|bytes| fresh || spot.now.bytes() != Some(bytes)) {
                world.write(&FileWrite {
                    mode: alter.mode,
                    owner: alter.owner.clone(),
                    group: alter.group.clone(),
                    secret: spot.secret,
                    replaces_link: true,
                    ..FileWrite::new(path.clone(), bytes.clone())
                })?;
                alter.mtime = spot.stamp;
            }
        }
        Image::Directory(_) if fresh => world.make(path, &Make::Directory { mode: attributes.mode })?,
        Image::Link { target, .. } if spot.now != spot.before => {
            world.make(path, &Make::Link { target: target.clone() })?;
        }
        _ => {}
    }
    let Some(now) = world.stat(path)? else { return Ok(()) };
    let change = Alter {
        mode: alter
            .mode
            .filter(|mode| *mode != now.mode && now.kind != FileKind::Link),
        owner: alter.owner.filter(|_| now.uid != attributes.uid),
        group: alter.group.filter(|_| now.gid != attributes.gid),
        mtime: alter.mtime.filter(|mtime| *mtime != now.mtime),
    };
    if change != Alter::default() {
        world.alter(path, &change)?;
    }
    Ok(())
}
