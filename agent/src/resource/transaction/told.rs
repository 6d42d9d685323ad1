//! What a running service was last told of, so that it can be said whether it runs on the files that are there. Where
//! okd-play told it, it wrote down which those were; where somebody else did, systemd says when.

use super::set::Files;
use super::unit::Unit;
use crate::diff::sha256;
use crate::path::AbsPath;
use crate::resource::ResourceError;
use crate::resource::file::make_directories;
use crate::resource::layout::path;
use crate::resource::systemd::written_since;
use crate::secret::nameless;
use crate::system::{FileWrite, System};

/// Holds a hash of the files that a service was last told of.
fn record(unit: &Unit) -> AbsPath {
    path("/var/lib/okd-play/told").join(&unit.name)
}

/// A hash of what files hold, the same in each run.
fn digest(files: &Files) -> String {
    let mut all = String::new();
    for (path, content) in files {
        if let Some(content) = content {
            all.push_str(&format!(
                "{path}\n{}\n",
                sha256(nameless(&String::from_utf8_lossy(&content.bytes)).as_bytes())
            ));
        }
    }
    sha256(all.as_bytes())
}

/// Whether a service runs on other files than those that are there.
pub(super) fn behind(unit: &Unit, files: &Files, world: &dyn System) -> Result<bool, ResourceError> {
    if unit.seen.active != "active" || unit.seen.moved == 0 {
        return Ok(false);
    }
    let record = record(unit);
    let told = world.read(&record, 1 << 10)?;
    let differs = told.as_deref() != Some(digest(files).as_bytes());
    let last = world.stat(&record)?.is_some_and(|meta| meta.mtime >= unit.seen.moved);
    Ok(differs && (last || written_since(unit.seen.moved, files.iter().map(|(path, _)| path), world)?))
}

/// Writes down what a service was told of.
pub(super) fn write(unit: &Unit, files: &Files, world: &dyn System) -> Result<(), ResourceError> {
    let record = record(unit);
    if let Some(folder) = record.parent() {
        make_directories(&folder, 0o755, world)?;
    }
    Ok(world.write(&FileWrite {
        mode: Some(0o600),
        ..FileWrite::new(record, digest(files).into_bytes())
    })?)
}
