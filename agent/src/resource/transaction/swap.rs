//! The swap itself: a checked set in place, the service on it, or everything as it was. The old set is kept on the disk
//! while that lasts, so that a run which is cut in the middle can be taken up by the next one.

use super::set::{Files, at, keep, kept, put_all, put_back, rewritten};
use crate::order::sort_pairs;
use crate::path::AbsPath;
use crate::resource::layout::path;
use crate::resource::{Failure, ResourceError};
use crate::system::{Removal, System, SystemError};

/// Stands between the swap and the service's being told, and holds the old set.
pub(super) fn owed_mark(service: &str) -> AbsPath {
    path("/var/lib/okd-play/owed").join(service)
}

/// A set on its way from what is there to what should be.
pub(super) struct Swap<'a> {
    /// Names the mark; equal from run to run.
    pub(super) service: &'a str,
    /// What is there.
    pub(super) now: &'a Files,
    /// What should be, at the same paths.
    pub(super) want: &'a Files,
    /// Whether the service has to be told.
    pub(super) told: bool,
    /// Whether an earlier run was cut before it was.
    pub(super) owed: bool,
}

/// Where a set is swapped.
pub(super) type Machine = dyn System;

/// What reads the files.
pub(super) trait Reader {
    /// Has its checker pass the new set, before anything is touched.
    fn check(&self, world: &dyn System) -> Result<(), ResourceError>;
    /// Brings it onto the files that are in place, and watches that it does what they say.
    fn bring(&self, world: &Machine) -> Result<(), ResourceError>;
    /// Brings it back onto the old files. Says how it stands then.
    fn back(&self, world: &Machine) -> Result<String, ResourceError>;
}

impl Swap<'_> {
    /// Brings the set and its reader to what should be; where that fails, back.
    ///
    /// # Errors
    /// The checker's refusal, or why the reader does not do with the new set, with what is in place now.
    pub(super) fn exchange(&self, reader: &dyn Reader, world: &Machine) -> Result<(), ResourceError> {
        if rewritten(self.now, self.want).next().is_some() {
            reader.check(world)?;
        }
        let mark = owed_mark(self.service);
        let old = self.old(&mark, world)?;
        // A prediction is never cut.
        let marked = self.told && !world.predicted();
        if marked {
            keep(&mark, &old, world)?;
        }
        let placed = put_all(self.now, self.want, world);
        // A reader that has not heard of the new set need not hear of the old one.
        let heard = self.told && (placed.is_ok() || self.owed);
        match placed.and_then(|()| reader.bring(world)) {
            Ok(()) if self.owed || marked => Ok(world.remove(&mark, Removal::File)?),
            Ok(()) => Ok(()),
            Err(ResourceError::System(error)) if matches!(*error, SystemError::Unknown(_) | SystemError::Lost(_)) => {
                Err(error.into())
            }
            Err(error) if old.is_empty() => Err(error),
            Err(error) => Err(self.back(&old, &mark, heard.then_some(reader), error, world)),
        }
    }

    /// The set to go back to: where a run was cut, the one that it found.
    fn old(&self, mark: &AbsPath, world: &dyn System) -> Result<Files, ResourceError> {
        let mut old = if self.owed { kept(mark, world)? } else { Files::new() };
        let differs = |path: &AbsPath| at(self.now, path) != at(self.want, path);
        let fresh = self.now.iter().filter(|(path, _)| differs(path));
        let fresh: Files = fresh
            .filter(|(path, _)| !old.iter().any(|(known, _)| known == path))
            .cloned()
            .collect();
        old.extend(fresh);
        sort_pairs(&mut old);
        Ok(old)
    }

    fn back(
        &self,
        old: &Files,
        mark: &AbsPath,
        reader: Option<&dyn Reader>,
        error: ResourceError,
        world: &Machine,
    ) -> ResourceError {
        let mut failure = error.failure();
        let left = put_back(old, world);
        failure.kept = if left.is_empty() {
            let stands = reader.map_or_else(
                || Ok("the old set was put back".to_owned()),
                |reader| reader.back(world),
            );
            match stands.map(|stands| (world.remove(mark, Removal::File), stands)) {
                Ok((Ok(()), stands)) => stands,
                Ok((Err(trouble), stands)) => format!("{stands}; {mark} could not be removed: {trouble}"),
                Err(trouble) => format!(
                    "THE OLD SET WAS PUT BACK, BUT ITS SERVICE DOES NOT RUN ON IT: {trouble}; the next run tells it again"
                ),
            }
        } else {
            let (left, all) = (left.join(", "), old.len());
            format!(
                "PUTTING THE OLD SET BACK FAILED TOO: of {all} paths these do not hold the old content: {left}; all others do. \
                 {mark} keeps the whole old set, and the next run takes it up"
            )
        };
        ResourceError::Failed(failure)
    }
}

impl ResourceError {
    /// As a failure.
    pub(super) fn failure(self) -> Box<Failure> {
        match self {
            ResourceError::Failed(failure) => failure,
            ResourceError::System(error) => Box::new(Failure::from(*error)),
        }
    }
}
