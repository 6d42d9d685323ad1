//! A service's files belong together: staged, checked by the service's own checker, swapped, the service told, watched;
//! and where any of that fails the old set is put back. The typed services and `transaction:` on a block are thin layers
//! over this one mechanism.

pub mod block;
mod checker;
mod set;
mod swap;
mod told;
mod typed;
mod unit;
mod view;
mod watch;

pub use checker::Checker;
pub use set::Content;
pub use typed::apply;
pub use unit::{Power, Tell, Unit};
pub use watch::{Listener, Served};

use super::content::resolve;
use super::layout::{Family, path};
use super::{ResourceError, View, systemd};
use crate::diff::Change;
use crate::order::sort_pairs;
use crate::path::AbsPath;
use crate::system::{FileKind, System};
use crate::value::{Map, Value, map};
use serde::Serialize;

/// The words in the first line of every file that okd-play owns; a file without them is never removed.
pub const MARK: &str = "managed by okd-play";

/// The first line of a file that okd-play owns, behind a comment's sign.
#[must_use]
pub fn header(comment: &str) -> String {
    format!("{comment} {MARK}; changes made here are lost\n")
}

/// The key of the question whether what runs is what a unit's files say, where [`Tell::Run`] makes it so; a plan that has
/// told it answers with [`LIVE`].
#[must_use]
pub fn live(unit: &str) -> String {
    format!("live:{unit}")
}

/// What runs is what the files say.
pub const LIVE: &str = "same";

/// What a service looks at before it says what it wants.
#[derive(Debug)]
pub struct Watch {
    /// The unit's full name, such as `named.service`.
    pub unit: &'static str,
    /// The package that brings it, for messages.
    pub package: &'static str,
    /// The files it will want.
    pub files: Vec<AbsPath>,
    /// Folders and endings of names: files of ours there that are not wanted any more are removed.
    pub folders: Vec<(AbsPath, &'static str)>,
}

/// A service's files as they should be, and how the service is brought to them.
#[derive(Debug)]
pub struct FileSet {
    /// The service's name in messages and its process's name, such as `named`.
    pub service: &'static str,
    /// The files.
    pub files: Vec<SetFile>,
    /// What has to accept them.
    pub checker: Checker,
    /// How the running service is told of new files.
    pub tell: Tell,
    /// Whether it runs.
    pub power: Power,
    /// Whether it starts at boot.
    pub enabled: bool,
    /// Where it has to listen once it runs.
    pub listeners: Vec<Listener>,
    /// What it has to answer once it runs.
    pub served: Vec<Served>,
}

/// One file of a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetFile {
    /// Where.
    pub path: AbsPath,
    /// Its content.
    pub bytes: Vec<u8>,
    /// Its content for the checker, where that differs: `{stage}` stands for the folder that holds the staged set.
    pub staged: Option<Vec<u8>>,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub owner: &'static str,
    /// Group.
    pub group: &'static str,
}

impl SetFile {
    /// A file that everybody may read, root's.
    #[must_use]
    pub fn public(path: AbsPath, content: String) -> Self {
        SetFile {
            path,
            bytes: content.into_bytes(),
            staged: None,
            mode: 0o644,
            owner: "root",
            group: "root",
        }
    }
}

/// What can be seen of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct State {
    /// Whose layout.
    pub family: Family,
    /// Every file that is wanted, and those of ours that may not be wanted any more; by path.
    pub files: Vec<(AbsPath, Option<Content>)>,
    /// Files in the service's folders that are not okd-play's.
    pub foreign: Vec<AbsPath>,
    /// The unit.
    pub unit: Unit,
    /// Whether an earlier run wrote files and was cut before the service was told.
    pub owed: bool,
    /// Whether the service runs on other files than these: they were written after it was last told.
    pub behind: bool,
}

impl State {
    /// What a file holds now.
    #[must_use]
    pub fn content(&self, path: &AbsPath) -> Option<&Content> {
        set::at(&self.files, path)
    }

    fn outdated(&self, want: &Self) -> bool {
        self.unit.outdated && !matches!(want.unit.tell, Tell::Run(_))
    }

    /// Whether the service has to be told that its files are `want`'s.
    fn tells(&self, want: &Self) -> bool {
        set::rewritten(&self.files, &want.files).next().is_some() || self.owed || self.behind || self.outdated(want)
    }
}

impl View for State {
    fn changes(&self, want: &Self) -> Vec<Change> {
        let brought = self.unit.promised;
        let files = want.files.iter();
        let mut changes: Vec<Change> = files
            .flat_map(|(path, wanted)| set::changes(path, self.content(path), wanted.as_ref(), brought))
            .collect();
        changes.extend(self.unit.changes(&want.unit, self.tells(want)));
        changes
    }
}

/// Looks at a service's files and its unit.
///
/// # Errors
/// When they cannot be seen, or the service is neither installed nor promised.
pub fn inspect(watch: &Watch, family: Family, world: &dyn System) -> Result<State, ResourceError> {
    let unit = unit::look(watch, world)?;
    let mut files = Vec::new();
    let mut foreign = Vec::new();
    for path in &watch.files {
        files.push((path.clone(), content(path, world)?));
    }
    for (folder, ending) in &watch.folders {
        for entry in world.list(folder)? {
            let path = folder.join(&entry.name);
            let regular = matches!(entry.kind, FileKind::File | FileKind::Link);
            if !regular || !entry.name.ends_with(ending) || watch.files.contains(&path) {
                continue;
            }
            match content(&path, world)? {
                Some(content) if entry.kind == FileKind::File && is_ours(&content.bytes) => {
                    files.push((path, Some(content)));
                }
                _ => foreign.push(path),
            }
        }
    }
    sort_pairs(&mut files);
    let owed = world.stat(&swap::owed_mark(watch.unit))?.is_some();
    let behind = told::behind(&unit, &files, world)?;
    Ok(State {
        family,
        files,
        foreign,
        unit,
        owed,
        behind,
    })
}

/// Whether a unit is on this machine, or a plan's package will bring it.
///
/// # Errors
/// Where systemd does not answer: that is no sign that there is no such unit.
pub fn is_or_will_be(unit: &str, package: &str, world: &dyn System) -> Result<bool, ResourceError> {
    if world.promised().iter().any(|promised| promised == package) {
        return Ok(true);
    }
    Ok(systemd::show(unit, systemd::Manager::System, world)?.exists())
}

fn is_ours(bytes: &[u8]) -> bool {
    let first = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    String::from_utf8_lossy(first).contains(MARK)
}

/// What a file holds, also through a link.
fn content(path: &AbsPath, world: &dyn System) -> Result<Option<Content>, ResourceError> {
    let Some(content) = Content::look(path, world)? else {
        return Ok(None);
    };
    if content.kind != FileKind::Link {
        return Ok(Some(content));
    }
    let behind = Content::look(&resolve(path, world)?, world)?;
    Ok(behind.map(|behind| Content {
        kind: FileKind::File,
        bytes: behind.bytes,
        ..content
    }))
}

/// What a service should be like, by the set that it wants.
#[must_use]
pub fn desire(set: &FileSet, now: &State) -> State {
    let mut files: set::Files = now.files.iter().map(|(path, _)| (path.clone(), None)).collect();
    files.retain(|(path, _)| !set.files.iter().any(|file| file.path == *path));
    files.extend(set.files.iter().map(|file| {
        let content = Content::file(file.bytes.clone(), file.mode, file.owner, file.group);
        (file.path.clone(), Some(content))
    }));
    sort_pairs(&mut files);
    let unit = now.unit.wanted(set.power, set.enabled, set.tell);
    State {
        files,
        unit,
        owed: false,
        behind: false,
        ..now.clone()
    }
}

/// What `register` holds of a service.
#[must_use]
pub fn result(state: &State) -> Map {
    let files = state.files.iter().filter(|(_, content)| content.is_some());
    map([
        ("name", state.unit.name.as_str().into()),
        (
            "state",
            Value::from(if state.unit.active() { "started" } else { "stopped" }),
        ),
        ("enabled", state.unit.enabled().into()),
        (
            "files",
            files.map(|(path, _)| path.to_string()).collect::<Vec<_>>().into(),
        ),
    ])
}

/// What a plan says beside the diff.
#[must_use]
pub fn notes(set: &FileSet, now: &State) -> Vec<String> {
    if now.behind && now.unit.active() && !matches!(set.tell, Tell::Run(_)) {
        return vec![format!("{} was last started or reloaded with other files", set.service)];
    }
    if now.unit.promised {
        let program = set.checker.name;
        vec![format!(
            "{program} is not there yet; it checks these files when they are applied, before they are swapped"
        )]
    } else {
        Vec::new()
    }
}

/// Implements [`Resource`](super::Resource) for a service that says what it watches and what it wants.
macro_rules! service {
    ($kind:ident, names: $names:expr, example: $example:expr) => {
        impl $crate::resource::Resource for $kind {
            const NAMES: &'static [&'static str] = $names;
            const EXAMPLE: &'static str = $example;
            const PREDICTS: &'static str =
                "every file byte for byte, the unit's state, and what the checker says where it is installed";
            type World = dyn $crate::system::System;
            type State = $crate::resource::transaction::State;

            fn manages(&self) -> Vec<$crate::ledger::Thing> {
                vec![$crate::ledger::Thing::new(Self::NAMES[0], "")]
            }

            fn check(&self) -> Result<(), Vec<String>> {
                let problems = self.problems();
                if problems.is_empty() {
                    Ok(())
                } else {
                    Err(problems)
                }
            }

            fn inspect(&self, world: &Self::World) -> Result<Self::State, $crate::resource::ResourceError> {
                let family = $crate::resource::layout::Family::of(world)?;
                $crate::resource::transaction::inspect(&self.watch(family, world), family, world)
            }

            fn desire(&self, now: &Self::State) -> Result<Self::State, $crate::resource::ResourceError> {
                Ok($crate::resource::transaction::desire(&self.set(now), now))
            }

            fn apply(
                &self,
                now: &Self::State,
                want: &Self::State,
                world: &Self::World,
            ) -> Result<$crate::value::Map, $crate::resource::ResourceError> {
                $crate::resource::transaction::apply(&self.set(now), now, want, world)
            }

            fn result(&self, state: &Self::State) -> $crate::value::Map {
                $crate::resource::transaction::result(state)
            }

            fn notes(&self, now: &Self::State, _want: &Self::State) -> Vec<String> {
                $crate::resource::transaction::notes(&self.set(now), now)
            }
        }
    };
}
pub(crate) use service;

/// The paths of files by name in a folder.
pub(crate) fn below(folder: &str, name: &str) -> AbsPath {
    path(folder).join(name)
}

#[cfg(test)]
pub(crate) mod tests;
