//! The part of a file tree that differs from the machine below: names that came or went, and attributes that changed.

use crate::path::AbsPath;
use crate::system::links::PREDICTED_DEVICE;
use crate::system::{Entry, Meta, System, SystemError};
use std::collections::{BTreeMap, HashMap};

/// What a predicted thing holds.
#[derive(Debug, Clone)]
pub(super) enum Content {
    /// A file's bytes.
    Bytes(Vec<u8>),
    /// A file of the machine below, under another name.
    Below(AbsPath),
    /// Whatever this command puts there.
    Unknown(String),
    /// Nothing of its own: a folder or a link.
    None,
}

/// What stands at a path in the predicted world.
pub(super) enum Found {
    /// Nothing.
    Nothing,
    /// What the machine below has there, with attributes as they will be.
    Below(Meta),
    /// What was put there.
    Here(Meta, Content),
}

impl Found {
    pub(super) fn meta(self) -> Option<Meta> {
        match self {
            Found::Nothing => None,
            Found::Below(meta) | Found::Here(meta, _) => Some(meta),
        }
    }
}

struct Node {
    meta: Meta,
    content: Content,
}

/// Why nobody knows what is at a path.
struct Doubt {
    /// A folder is there, and only what is in it is not known.
    folder: bool,
    reason: String,
}

/// Names that differ from the machine below. A folder among them shows nothing of what is below it there.
#[derive(Default)]
pub(super) struct Tree {
    names: BTreeMap<AbsPath, Option<u64>>,
    nodes: HashMap<u64, Node>,
    altered: HashMap<(u64, u64), Meta>,
    doubts: BTreeMap<AbsPath, Doubt>,
    made: u64,
}

impl Tree {
    pub(super) fn is_untouched(&self) -> bool {
        self.names.is_empty() && self.altered.is_empty() && self.doubts.is_empty()
    }

    /// Says that nobody knows what is at a path, or in the folder that is there.
    pub(super) fn doubt(&mut self, path: AbsPath, folder: bool, reason: String) {
        self.doubts.insert(path, Doubt { folder, reason });
    }

    fn is_sure(&self, path: &AbsPath) -> Result<(), SystemError> {
        if self.doubts.is_empty() {
            return Ok(());
        }
        let mut at = Some(path.clone());
        while let Some(here) = at {
            match self.doubts.get(&here) {
                Some(doubt) if !doubt.folder || here != *path => return Err(doubtful(path, &doubt.reason)),
                _ => at = here.parent(),
            }
        }
        Ok(())
    }

    /// Whether everything that is in a folder is known.
    ///
    /// # Errors
    /// Where it is not.
    pub(super) fn is_sure_of_entries(&self, folder: &AbsPath) -> Result<(), SystemError> {
        let inside = self.doubts.iter().find(|(path, doubt)| match doubt.folder {
            true => *path == folder,
            false => path.parent().as_ref() == Some(folder),
        });
        inside.map_or(Ok(()), |(path, doubt)| Err(doubtful(path, &doubt.reason)))
    }

    /// What stands at a path whose links have been followed.
    pub(super) fn find(&self, under: &dyn System, path: &AbsPath) -> Result<Found, SystemError> {
        self.is_sure(path)?;
        if let Some(name) = self.names.get(path) {
            let node = name.and_then(|number| self.nodes.get(&number));
            return Ok(node.map_or(Found::Nothing, |node| {
                Found::Here(self.attributes(node.meta.clone()), node.content.clone())
            }));
        }
        let mut at = path.parent();
        while let Some(folder) = at {
            if let Some(name) = self.names.get(&folder) {
                return match name
                    .and_then(|number| self.nodes.get(&number))
                    .map(|node| &node.content)
                {
                    Some(Content::Unknown(command)) => Err(super::made_by(path, command)),
                    _ => Ok(Found::Nothing),
                };
            }
            at = folder.parent();
        }
        Ok(under
            .stat(path)?
            .map_or(Found::Nothing, |meta| Found::Below(self.attributes(meta))))
    }

    fn attributes(&self, meta: Meta) -> Meta {
        match self.altered.get(&meta.id) {
            Some(altered) => Meta {
                kind: meta.kind,
                size: meta.size,
                target: meta.target,
                ..altered.clone()
            },
            None => meta,
        }
    }

    /// Puts something new at a path; its identity is made here.
    pub(super) fn put(&mut self, path: AbsPath, meta: Meta, content: Content) {
        self.made += 1;
        let meta = Meta {
            id: (PREDICTED_DEVICE, self.made),
            ..meta
        };
        self.nodes.insert(self.made, Node { meta, content });
        self.names.insert(path, Some(self.made));
    }

    /// Gives what stands at `source` a further name.
    pub(super) fn share(&mut self, meta: Meta, source: &AbsPath, path: AbsPath) {
        let number = self.names.get(source).copied().flatten().unwrap_or_else(|| {
            self.made += 1;
            self.nodes.insert(
                self.made,
                Node {
                    meta,
                    content: Content::Below(source.clone()),
                },
            );
            self.made
        });
        self.names.insert(path, Some(number));
    }

    /// Changes the attributes of what stands at a path, under all its names.
    pub(super) fn alter(&mut self, path: &AbsPath, meta: Meta) {
        let node = self
            .names
            .get(path)
            .copied()
            .flatten()
            .and_then(|number| self.nodes.get_mut(&number));
        match node {
            Some(node) if !matches!(node.content, Content::Below(_)) => node.meta = meta,
            _ => drop(self.altered.insert(meta.id, meta)),
        }
    }

    /// Takes a path away with all that is below it.
    pub(super) fn hide(&mut self, path: &AbsPath) {
        self.names.retain(|name, _| !name.is_within(path));
        self.doubts.retain(|name, _| !name.is_within(path));
        self.names.insert(path.clone(), None);
    }

    /// Whether nobody knows what stands at a path, or below it.
    pub(super) fn is_unknown(&self, path: &AbsPath) -> bool {
        let node = self
            .names
            .get(path)
            .copied()
            .flatten()
            .and_then(|number| self.nodes.get(&number));
        node.is_some_and(|node| matches!(node.content, Content::Unknown(_)))
    }

    /// A folder's entries: those of the machine below without what went, with what came.
    pub(super) fn merge(&self, folder: &AbsPath, below: Vec<Entry>) -> Vec<Entry> {
        let mut entries = BTreeMap::new();
        for entry in below {
            entries.insert(entry.name, entry.kind);
        }
        for (path, name) in self
            .names
            .iter()
            .filter(|(path, _)| path.parent().as_ref() == Some(folder))
        {
            match name.and_then(|number| self.nodes.get(&number)) {
                Some(node) => drop(entries.insert(path.name().to_owned(), node.meta.kind)),
                None => drop(entries.remove(path.name())),
            }
        }
        entries.into_iter().map(|(name, kind)| Entry { name, kind }).collect()
    }
}

fn doubtful(path: &AbsPath, reason: &str) -> SystemError {
    SystemError::Unknown(format!("{path} hangs on a step that is unknown itself: {reason}"))
}
