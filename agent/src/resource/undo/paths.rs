//! Files, folders and links that a run touched.

use super::{State, Undo, field, moved_since};
use crate::diff::{Change, TextChange, TextKind, text};
use crate::path::AbsPath;
use crate::resource::ResourceError;
use crate::system::journal::{Before, Deed, LARGEST, Left, Record, Touch, What};
use crate::system::links;
use crate::system::{Alter, FileKind, FileWrite, Make, Meta, Removal, System};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// A path that the run touched.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Spot {
    pub(super) path: AbsPath,
    pub(super) now: Image,
    pub(super) before: Image,
    /// When the content was changed last, before the run.
    stamp: Option<i64>,
    /// Whether its content may not be shown.
    secret: bool,
    /// Whether the run touched it before it installed anything.
    early: bool,
    /// Whether it is a folder that is empty only when packages have gone.
    late: bool,
}

/// What is at a path, as far as an undo minds it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) enum Image {
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
pub(super) struct Attributes {
    mode: u32,
    uid: u32,
    gid: u32,
    owner: String,
    group: String,
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
    /// Whether the run made it, as one of this kind.
    pub(super) fn is_new(&self, kind: FileKind) -> bool {
        self.now.kind() == Some(kind) && self.before == Image::Nothing
    }

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

/// The records of a path, put together.
struct Trace {
    meta: Option<Meta>,
    bytes: Option<Vec<u8>>,
    lost: Option<String>,
    left: Left,
    content: bool,
    secret: bool,
    /// Whether the run touched it before it installed anything.
    early: bool,
    /// Whether it touched it only after that.
    packaged: bool,
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
            early: false,
            packaged: false,
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
    /// What the run touched of files, folders and links.
    pub(super) fn paths(&self, records: &[Record], state: &mut State, world: &dyn System) -> Result<(), ResourceError> {
        let mut traces: BTreeMap<&AbsPath, Trace> = BTreeMap::new();
        let installed = |record: &&Record| matches!(&record.deed, Deed::Packages(listed) if !listed.came.is_empty());
        let installed = records.iter().find(installed).map(|record| record.at);
        let touched = records.iter().filter_map(|record| match &record.deed {
            Deed::Paths(touched) => Some(touched.iter().map(|touch| (touch, record.at))),
            _ => None,
        });
        for (touch, at) in touched.flatten() {
            if !traces.contains_key(&touch.path) {
                let Some(before) = touch.before.clone() else { continue };
                traces.insert(
                    &touch.path,
                    Trace {
                        early: installed.is_some_and(|installed| at < installed),
                        packaged: installed.is_some_and(|installed| at > installed),
                        ..Trace::of(before)
                    },
                );
            }
            if let Some(trace) = traces.get_mut(&touch.path) {
                trace.add(touch.clone());
            }
        }
        let packaged = state.packages.files(world)?;
        // From below, so that a folder knows what of it goes.
        for (path, trace) in traces.into_iter().rev() {
            let now = trace.now(path, world)?;
            let before = trace.before();
            // A folder that a package has too goes with it, as far as it is empty then.
            let shared = before == Image::Nothing && now.kind() == Some(FileKind::Directory);
            if shared && packaged.contains(path.as_str()) {
                continue;
            }
            // What came with a package has gone with it.
            if now == Image::Nothing && trace.packaged && state.packages.gone() {
                continue;
            }
            if now == before && (trace.lost.is_none() || !trace.content) {
                continue;
            }
            let size = world.stat(path)?.map(|meta| meta.size);
            if let Some(why) = self.stays(path, &trace, &now, &before, size, state, &packaged, world)? {
                state.left.push((path.to_string(), why));
                continue;
            }
            let private = |image: &Image| image.attributes().is_some_and(|own| own.mode & 0o077 == 0);
            state.paths.push(Spot {
                path: path.clone(),
                stamp: trace.meta.as_ref().map(|meta| meta.mtime),
                secret: trace.secret || private(&now) || private(&before),
                early: trace.early,
                late: now.kind() == Some(FileKind::Directory) && self.holds(path, &packaged, world)?,
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
        packaged: &BTreeSet<String>,
        world: &dyn System,
    ) -> Result<Option<String>, ResourceError> {
        if let Some(lost) = &trace.lost {
            return Ok(Some(format!("what it was is not kept: {lost}")));
        }
        if let Some(moved) = trace.moved(now, size).filter(|_| !self.force) {
            return Ok(Some(moved_since(Some(&moved))));
        }
        if now.kind() == Some(FileKind::Directory) && now.gives_way(before) {
            let spot = links::Spot::find(path, false, &mut |at| world.stat(at))?;
            if let Err(error) = spot.may_go() {
                return Ok(Some(error.to_string()));
            }
            let spots = &state.paths;
            let goes = |at: &AbsPath| {
                spots
                    .iter()
                    .any(|spot| spot.path == *at && spot.before == Image::Nothing)
            };
            for entry in world.list(path)? {
                if !all_go(&path.join(&entry.name), &goes, packaged, world)? {
                    return Ok(Some(format!("it holds what is not of that run: {}", entry.name)));
                }
            }
        }
        Ok(None)
    }

    /// Whether a folder holds something that goes with packages.
    fn holds(&self, path: &AbsPath, packaged: &BTreeSet<String>, world: &dyn System) -> Result<bool, ResourceError> {
        if packaged.is_empty() {
            return Ok(false);
        }
        let entries = world.list(path)?;
        Ok(entries
            .iter()
            .any(|entry| packaged.contains(path.join(&entry.name).as_str())))
    }

    /// What would be put into a folder that is not there stays away too, unless packages come that may bring it.
    fn without_folder(&self, state: &mut State, world: &dyn System) -> Result<(), ResourceError> {
        let mut kept: Vec<Spot> = Vec::new();
        for spot in std::mem::take(&mut state.paths) {
            let folder = match spot.path.parent().filter(|_| spot.before != Image::Nothing) {
                None => true,
                Some(parent) => match kept.iter().find(|other| other.path == parent) {
                    Some(other) => other.before.kind() == Some(FileKind::Directory),
                    None => match world.stat(&parent)? {
                        Some(meta) => meta.kind == FileKind::Directory,
                        None => state.packages.some_come(),
                    },
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
}

pub(super) fn changes(spot: &Spot, want: &Image, changes: &mut Vec<Change>) {
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

/// Whether all that is at a path and below it goes, by itself or with packages.
fn all_go(
    path: &AbsPath,
    goes: &dyn Fn(&AbsPath) -> bool,
    packaged: &BTreeSet<String>,
    world: &dyn System,
) -> Result<bool, ResourceError> {
    if goes(path) || !packaged.contains(path.as_str()) {
        return Ok(goes(path));
    }
    if world.stat(path)?.is_some_and(|meta| meta.kind == FileKind::Directory) {
        for entry in world.list(path)? {
            if !all_go(&path.join(&entry.name), goes, packaged, world)? {
                return Ok(false);
            }
        }
    }
    Ok(true)
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

/// Makes a folder that no package brought after all.
fn make_folder(path: &AbsPath, world: &dyn System) -> Result<(), ResourceError> {
    if world.stat(path)?.is_some() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        make_folder(&parent, world)?;
    }
    Ok(world.make(path, &Make::Directory { mode: 0o755 })?)
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
    if fresh && let Some(parent) = path.parent() {
        make_folder(&parent, world)?;
    }
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
        Image::Directory(_) if fresh && world.stat(path)?.is_none() => {
            world.make(path, &Make::Directory { mode: attributes.mode })?
        }
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

/// Takes away what is there and was not, or was something else.
pub(super) fn clear(spots: &[Spot], world: &dyn System) -> Result<(), ResourceError> {
    let going = spots.iter().rev().filter(|spot| spot.now.gives_way(&spot.before));
    let mut going = going.filter(|spot| !spot.late);
    going.try_for_each(|spot| remove(spot, world))
}

/// Takes away folders that packages have left empty, and puts in place again what was there before they came and went with
/// them.
pub(super) fn after_packages(spots: &[Spot], world: &dyn System) -> Result<(), ResourceError> {
    for spot in spots
        .iter()
        .rev()
        .filter(|spot| spot.late && spot.now.gives_way(&spot.before))
    {
        if world.list(&spot.path)?.is_empty() {
            world.remove(&spot.path, Removal::Tree)?;
        }
    }
    for spot in spots.iter().filter(|spot| spot.early && spot.before != Image::Nothing) {
        if world.stat(&spot.path)?.is_none() {
            let gone = Spot {
                now: Image::Nothing,
                ..spot.clone()
            };
            restore(&gone, world)?;
        }
    }
    Ok(())
}

/// Puts in place what was there.
pub(super) fn put(spots: &[Spot], world: &dyn System) -> Result<(), ResourceError> {
    // Attributes last: a file that is put in place anew may share them with one that stays.
    let differing = spots.iter().filter(|spot| spot.now != spot.before);
    let (anew, altered): (Vec<&Spot>, Vec<&Spot>) = differing.partition(|spot| spot.anew());
    anew.into_iter()
        .chain(altered)
        .try_for_each(|spot| restore(spot, world))
}
