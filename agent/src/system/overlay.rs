//! The predicted world: reads fall through to the machine below, writes stay in memory, and predictions add up, so that
//! a later step of a plan sees what an earlier one will have done.

mod ids;
mod tree;

use super::links::{Spot, resolve};
use super::{
    Action, Alter, Answer, Declared, Effect, Entry, FileKind, FileWrite, Make, Meta, Probe, Removal, Staged, System,
    SystemError,
};
use crate::path::AbsPath;
use ids::Acting;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tree::{Content, Found, Tree};

/// One predicted change, as plain data: what another session on the same host has to assume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Recorded {
    /// A file was put in place.
    Write(FileWrite),
    /// A folder or link was made.
    Make(AbsPath, Make),
    /// Attributes were changed.
    Alter(AbsPath, Alter),
    /// Something was removed.
    Remove(AbsPath, Removal),
    /// A command was run that declares its effect.
    Act(Vec<String>, Declared),
    /// A command was run of which nobody knows what it does, for this reason.
    Unforeseen(String),
    /// Nobody knows what is at a path, for this reason: a step that cannot be foreseen may put something there, or take it away.
    Doubtful(AbsPath, String),
}

/// A machine as it will be after everything that was done to it here. The machine itself is asked, never touched.
pub struct Overlay {
    under: Arc<dyn System>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    tree: Tree,
    predictions: HashMap<String, Answer>,
    promised: Vec<String>,
    /// Why nobody knows what is on the machine.
    unforeseen: Option<String>,
    recorded: Vec<Recorded>,
    acting: Option<Acting>,
    /// Folders with their links followed.
    folders: BTreeMap<AbsPath, AbsPath>,
}

impl Overlay {
    /// A prediction that starts at what the machine is now.
    #[must_use]
    pub fn new(under: Arc<dyn System>) -> Self {
        Overlay {
            under,
            state: Mutex::default(),
        }
    }

    /// Starts anew at what the machine is now.
    pub fn forget(&self) {
        *self.lock() = State::default();
    }

    /// How many changes were recorded so far; see [`Overlay::since`].
    #[must_use]
    pub fn mark(&self) -> usize {
        self.lock().recorded.len()
    }

    /// The changes that were made here since a mark, in order; those that were only assumed are not among them.
    #[must_use]
    pub fn since(&self, mark: usize) -> Vec<Recorded> {
        self.lock().recorded.get(mark..).unwrap_or_default().to_vec()
    }

    /// Takes back what was done here since a mark.
    ///
    /// # Errors
    /// When what was done before it does not fit the machine any more.
    pub fn back_to(&self, mark: usize) -> Result<(), SystemError> {
        let mut kept = self.since(0);
        kept.truncate(mark);
        self.forget();
        self.assume(&kept)?;
        self.lock().recorded = kept;
        Ok(())
    }

    /// Takes changes for done that another session predicted for this machine.
    ///
    /// # Errors
    /// When they do not fit what is here.
    pub fn assume(&self, changes: &[Recorded]) -> Result<(), SystemError> {
        let mut state = self.lock();
        for change in changes {
            match change {
                Recorded::Write(file) => state.write(self.under.as_ref(), file).map(drop)?,
                Recorded::Make(path, kind) => state.make(self.under.as_ref(), path, kind).map(drop)?,
                Recorded::Alter(path, change) => state.alter(self.under.as_ref(), path, change)?,
                Recorded::Remove(path, how) => state.remove(self.under.as_ref(), path, *how)?,
                Recorded::Act(argv, declared) => state.declare(self.under.as_ref(), argv, declared)?,
                Recorded::Unforeseen(reason) => state.unforeseen = Some(reason.clone()),
                Recorded::Doubtful(path, reason) => state.doubt(self.under.as_ref(), path, reason),
            }
        }
        Ok(())
    }

    /// Says from here on that nobody knows what is at a path and below it, for this reason. A folder that is there stays one.
    pub fn doubt(&self, path: &AbsPath, reason: &str) {
        let mut state = self.lock();
        state.doubt(self.under.as_ref(), path, reason);
        state.recorded.push(Recorded::Doubtful(path.clone(), reason.to_owned()));
    }

    /// What was run here of which nobody knows what it does, as the last such action says it; what seems to be missing
    /// may be there then.
    #[must_use]
    pub fn unforeseen(&self) -> Option<String> {
        self.lock().unforeseen.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl System for Overlay {
    fn stat(&self, path: &AbsPath) -> Result<Option<Meta>, SystemError> {
        let mut state = self.lock();
        let under = self.under.as_ref();
        let path = state.real(under, path, false)?;
        Ok(state.tree.find(under, &path)?.meta())
    }

    fn read(&self, path: &AbsPath, limit: u64) -> Result<Option<Vec<u8>>, SystemError> {
        let mut state = self.lock();
        let under = self.under.as_ref();
        let real = state.real(under, path, true)?;
        match state.tree.find(under, &real)? {
            Found::Nothing => Ok(None),
            Found::Below(_) => under.read(&real, limit),
            Found::Here(meta, Content::Unknown(command)) if meta.kind == FileKind::File => Err(made_by(path, &command)),
            Found::Here(_, Content::Below(source)) => under.read(&source, limit),
            Found::Here(_, Content::Bytes(bytes)) if bytes.len() as u64 > limit => {
                let size = bytes.len() as u64;
                Err(SystemError::TooLarge {
                    path: path.to_string(),
                    size,
                    limit,
                })
            }
            Found::Here(_, Content::Bytes(bytes)) => Ok(Some(bytes)),
            Found::Here(meta, _) => Err(SystemError::wrong_kind(path, "a file", meta.kind)),
        }
    }

    fn list(&self, dir: &AbsPath) -> Result<Vec<Entry>, SystemError> {
        let mut state = self.lock();
        let under = self.under.as_ref();
        let real = state.real(under, dir, true)?;
        state.tree.is_sure_of_entries(&real)?;
        let below = match state.tree.find(under, &real)? {
            Found::Here(_, Content::Unknown(command)) => return Err(made_by(dir, &command)),
            Found::Below(meta) if matches!(meta.kind, FileKind::Directory | FileKind::Link) => under.list(&real)?,
            _ => Vec::new(),
        };
        Ok(state.tree.merge(&real, below))
    }

    fn probe(&self, probe: &Probe) -> Result<Answer, SystemError> {
        let predicted = self
            .lock()
            .predictions
            .get(&probe.key)
            .filter(|_| !probe.key.is_empty())
            .cloned();
        predicted.map_or_else(|| self.under.probe(probe), Ok)
    }

    fn write(&self, file: &FileWrite) -> Result<(), SystemError> {
        let mut state = self.lock();
        let recorded = state.write(self.under.as_ref(), file)?;
        state.recorded.push(recorded);
        Ok(())
    }

    fn make(&self, path: &AbsPath, kind: &Make) -> Result<(), SystemError> {
        let mut state = self.lock();
        let recorded = state.make(self.under.as_ref(), path, kind)?;
        state.recorded.extend(recorded);
        Ok(())
    }

    fn alter(&self, path: &AbsPath, change: &Alter) -> Result<(), SystemError> {
        let mut state = self.lock();
        state.alter(self.under.as_ref(), path, change)?;
        state.recorded.push(Recorded::Alter(path.clone(), change.clone()));
        Ok(())
    }

    fn remove(&self, path: &AbsPath, how: Removal) -> Result<(), SystemError> {
        let mut state = self.lock();
        state.remove(self.under.as_ref(), path, how)?;
        state.recorded.push(Recorded::Remove(path.clone(), how));
        Ok(())
    }

    fn act(&self, action: &Action) -> Result<Answer, SystemError> {
        let declared = match &action.effect {
            Effect::Unknown(reason) => {
                let mut state = self.lock();
                state.unforeseen = Some(reason.clone());
                state.recorded.push(Recorded::Unforeseen(reason.clone()));
                return Err(SystemError::Unknown(reason.clone()));
            }
            Effect::Declared(declared) => declared,
        };
        let mut state = self.lock();
        state.declare(self.under.as_ref(), &action.argv, declared)?;
        state
            .recorded
            .push(Recorded::Act(action.argv.clone(), declared.clone()));
        Ok(Answer {
            predicted: true,
            ..Answer::default()
        })
    }

    fn promised(&self) -> Vec<String> {
        let mut promised = self.under.promised();
        for package in &self.lock().promised {
            if !promised.contains(package) {
                promised.push(package.clone());
            }
        }
        promised
    }

    fn predicted(&self) -> bool {
        true
    }
}

impl State {
    /// A path with its links followed, in the predicted world.
    fn real(&mut self, under: &dyn System, path: &AbsPath, last: bool) -> Result<AbsPath, SystemError> {
        let Some(parent) = path.parent().filter(|_| !self.tree.is_untouched()) else {
            return Ok(path.clone());
        };
        let tree = &self.tree;
        let mut target = |at: &AbsPath| Ok(tree.find(under, at)?.meta().and_then(|meta| meta.target));
        let folder = match self.folders.get(&parent) {
            Some(folder) => folder.clone(),
            None => resolve(&parent, true, &mut target)?,
        };
        let mut real = folder.join(path.name());
        if last && target(&real)?.is_some() {
            real = resolve(&real, true, &mut target)?;
        }
        self.folders.insert(parent, folder);
        Ok(real)
    }

    fn spot(&self, under: &dyn System, path: &AbsPath, last: bool) -> Result<Spot, SystemError> {
        Spot::find(path, last, &mut |at| Ok(self.tree.find(under, at)?.meta()))
    }

    fn doubt(&mut self, under: &dyn System, path: &AbsPath, reason: &str) {
        let path = self.real(under, path, true).unwrap_or_else(|_| path.clone());
        let found = match self.tree.find(under, &path) {
            Err(SystemError::Unknown(_)) => return,
            found => found.ok().and_then(Found::meta),
        };
        let stays = found.is_some_and(|meta| meta.kind == FileKind::Directory);
        self.tree.doubt(path, stays, reason.to_owned());
        self.folders.clear();
    }

    /// Whether packages will bring what is missing now.
    fn awaits(&self, under: &dyn System) -> bool {
        !self.promised.is_empty() || !under.promised().is_empty()
    }

    /// The folder that something is put in; a missing one is expected where packages are promised.
    fn folder(&self, under: &dyn System, spot: &Spot, verb: &str) -> Result<Option<Meta>, SystemError> {
        match spot.has_folder(verb) {
            Ok(folder) => Ok(Some(folder.clone())),
            Err(_) if spot.parent.is_none() && self.awaits(under) => Ok(None),
            Err(_) if spot.path.parent().is_some_and(|parent| self.tree.is_unknown(&parent)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Owner and group of something new in a folder; see the set-group-ID bit in inode(7).
    fn newborn(&mut self, under: &dyn System, folder: Option<&Meta>) -> Result<Acting, SystemError> {
        let mut acting = self.acting(under)?;
        if let Some(folder) = folder.filter(|folder| folder.mode & 0o2000 != 0) {
            acting.gid = folder.gid;
            acting.group.clone_from(&folder.group);
        }
        Ok(acting)
    }

    fn write(&mut self, under: &dyn System, file: &FileWrite) -> Result<Recorded, SystemError> {
        let spot = self.spot(under, &file.path, !file.replaces_link)?;
        let here = spot.takes_file(file.replaces_link)?;
        let folder = self.folder(under, &spot, "write")?;
        let mut owners = match here {
            Some(meta) => Acting::of(meta),
            None => self.newborn(under, folder.as_ref())?,
        };
        if let Some(name) = &file.owner {
            (owners.uid, owners.user) = self.id(under, "user", name)?;
        }
        if let Some(name) = &file.group {
            (owners.gid, owners.group) = self.id(under, "group", name)?;
        }
        if let Some(argv) = &file.validate {
            self.validate(under, argv, &spot.path, &file.bytes)?;
        }
        let mode = file.mode.or(here.map(|meta| meta.mode)).unwrap_or(0o644);
        let meta = owners.meta(FileKind::File, mode, file.bytes.len() as u64);
        let recorded = FileWrite {
            path: spot.path.clone(),
            bytes: file.bytes.clone(),
            mode: Some(mode),
            owner: Some(owners.user),
            group: Some(owners.group),
            validate: None,
            secret: file.secret,
            replaces_link: file.replaces_link,
        };
        self.tree.put(spot.path, meta, Content::Bytes(file.bytes.clone()));
        Ok(Recorded::Write(recorded))
    }

    /// Runs the checker on a staged copy; one that packages will bring runs when the plan is applied.
    fn validate(&self, under: &dyn System, argv: &[String], path: &AbsPath, bytes: &[u8]) -> Result<(), SystemError> {
        let name = path.name().to_owned();
        let staged = format!("{{stage}}/{name}");
        let probe = Probe {
            argv: argv.iter().map(|arg| arg.replace("%s", &staged)).collect(),
            stage: vec![Staged {
                path: name,
                bytes: bytes.to_vec(),
            }],
            ..Probe::default()
        };
        let answer = under.probe(&probe)?;
        if answer.success() || (answer.rc == Answer::NO_PROGRAM && self.awaits(under)) {
            return Ok(());
        }
        Err(SystemError::Refused {
            path: path.to_string(),
            argv: argv.to_vec(),
            answer,
        })
    }

    fn make(&mut self, under: &dyn System, path: &AbsPath, kind: &Make) -> Result<Vec<Recorded>, SystemError> {
        let spot = self.spot(under, path, false)?;
        let folder = self.folder(under, &spot, "make")?;
        spot.is_free("make", matches!(kind, Make::Link { .. }))?;
        let mut recorded = vec![Recorded::Make(spot.path.clone(), kind.clone())];
        if let Make::Hard { source } = kind {
            let real = self.spot(under, source, false)?;
            let meta = real.here.as_ref().ok_or_else(|| SystemError::missing("make", source))?;
            if meta.kind == FileKind::Directory {
                return Err(SystemError::wrong_kind(source, "a file", meta.kind));
            }
            self.tree.share(meta.clone(), &real.path, spot.path);
            return Ok(recorded);
        }
        let owners = self.newborn(under, folder.as_ref())?;
        recorded.push(Recorded::Alter(
            spot.path.clone(),
            Alter {
                owner: Some(owners.user.clone()),
                group: Some(owners.group.clone()),
                ..Alter::default()
            },
        ));
        match kind {
            Make::Link { target } => {
                let mut meta = owners.meta(FileKind::Link, 0o777, target.len() as u64);
                meta.target = Some(target.clone());
                self.tree.put(spot.path, meta, Content::None);
                self.folders.clear();
            }
            Make::Directory { mode } => {
                self.tree
                    .put(spot.path, owners.meta(FileKind::Directory, *mode, 0), Content::None)
            }
            Make::Hard { .. } => {}
        }
        Ok(recorded)
    }

    fn alter(&mut self, under: &dyn System, path: &AbsPath, change: &Alter) -> Result<(), SystemError> {
        let path = self.real(under, path, false)?;
        let mut meta = self
            .tree
            .find(under, &path)?
            .meta()
            .ok_or_else(|| SystemError::missing("alter", &path))?;
        if let Some(name) = &change.owner {
            (meta.uid, meta.owner) = self.id(under, "user", name)?;
        }
        if let Some(name) = &change.group {
            (meta.gid, meta.group) = self.id(under, "group", name)?;
        }
        if let Some(mode) = change.mode.filter(|_| meta.kind != FileKind::Link) {
            meta.mode = mode;
        }
        meta.mtime = change.mtime.unwrap_or(meta.mtime);
        self.tree.alter(&path, meta);
        Ok(())
    }

    fn remove(&mut self, under: &dyn System, path: &AbsPath, how: Removal) -> Result<(), SystemError> {
        let spot = self.spot(under, path, false)?;
        let Some(meta) = &spot.here else { return Ok(()) };
        spot.may_go()?;
        if how == Removal::File && meta.kind == FileKind::Directory {
            return Err(SystemError::wrong_kind(&spot.path, "a file or link", meta.kind));
        }
        self.tree.hide(&spot.path);
        self.folders.clear();
        Ok(())
    }

    fn declare(&mut self, under: &dyn System, argv: &[String], declared: &Declared) -> Result<(), SystemError> {
        for path in &declared.removes {
            let spot = self.spot(under, path, false)?;
            self.tree.hide(&spot.path);
        }
        for path in &declared.folders {
            let spot = self.spot(under, path, true)?;
            if spot.here.is_none() {
                let owners = self.newborn(under, spot.parent.as_ref())?;
                let meta = owners.meta(FileKind::Directory, 0o755, 0);
                self.tree.put(spot.path, meta, Content::None);
            }
        }
        let command = argv.join(" ");
        for path in &declared.creates {
            let spot = self.spot(under, path, true)?;
            if spot.here.as_ref().is_some_and(|meta| meta.kind == FileKind::Directory) {
                continue;
            }
            let owners = match &spot.here {
                Some(meta) => Acting::of(meta),
                None => self.newborn(under, spot.parent.as_ref())?,
            };
            let mode = spot.here.map_or(0o644, |meta| meta.mode);
            self.tree.put(
                spot.path,
                owners.meta(FileKind::File, mode, 0),
                Content::Unknown(command.clone()),
            );
        }
        self.predictions.extend(declared.predicts.iter().cloned());
        for package in &declared.brings {
            if !self.promised.contains(package) {
                self.promised.push(package.clone());
            }
        }
        self.folders.clear();
        Ok(())
    }
}

fn made_by(path: &AbsPath, command: &str) -> SystemError {
    SystemError::Unknown(format!("{path} is made by `{command}`"))
}
