//! What runs did: who they are, what they left behind, and what became of them.

mod id;
mod journal;
mod own;
mod past;

pub use id::{RunId, moment, seconds, who};
pub use journal::Journal;
pub use own::{OWN_KINDS, OwnKind};
pub use past::{Header, How, Past, Session, Step, all, find, over};

use std::path::{Path, PathBuf};

/// The present, by C's `strftime` in UTC.
#[must_use]
pub fn now(format: &str) -> String {
    moment(seconds(), format)
}

/// Where journals are: `$XDG_STATE_HOME/okd-play/runs`, by default `~/.local/state/okd-play/runs`.
#[must_use]
pub fn folder() -> Option<PathBuf> {
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from);
    let state = state.filter(|path| path.is_absolute());
    let state = state.or_else(|| std::env::home_dir().map(|home| home.join(".local/state")));
    Some(state?.join("okd-play/runs"))
}

/// The journals in a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let named = |path: &PathBuf| {
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        path.extension().is_some_and(|ending| ending == "jsonl") && stem.and_then(RunId::parse).is_some()
    };
    entries.map(|entry| entry.path()).filter(named).collect()
}
