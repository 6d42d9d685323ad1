//! What every world has to agree on before it touches a path: where links lead, what stands there, what is never removed.

use super::{FileKind, Meta, SystemError};
use crate::path::AbsPath;

/// As path_resolution(7): more links than this are a circle.
const MOST_LINKS: usize = 40;

/// Folders of the system itself, see hier(7); none is ever removed.
const SYSTEM_FOLDERS: &[&str] = &[
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/home",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/media",
    "/mnt",
    "/opt",
    "/proc",
    "/root",
    "/run",
    "/sbin",
    "/srv",
    "/sys",
    "/tmp",
    "/usr",
    "/usr/bin",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local",
    "/usr/sbin",
    "/usr/share",
    "/var",
    "/var/lib",
    "/var/log",
];

/// The device of [`Meta::id`] for what is only predicted.
pub const PREDICTED_DEVICE: u64 = u64::MAX;

/// Follows the links in a path as path_resolution(7) does; those at its end too with `last`. `target` says where the
/// link at a path points, `None` where there is none.
///
/// # Errors
/// A circle of links, and those of `target`.
pub fn resolve(
    path: &AbsPath,
    last: bool,
    target: &mut dyn FnMut(&AbsPath) -> Result<Option<String>, SystemError>,
) -> Result<AbsPath, SystemError> {
    let mut todo: Vec<String> = names(path.as_str());
    let mut at = root(path);
    let mut followed = 0;
    while let Some(name) = todo.pop() {
        if name == ".." {
            at = at.parent().unwrap_or(at);
            continue;
        }
        let next = at.join(&name);
        let link = if todo.is_empty() && !last { None } else { target(&next)? };
        match link {
            Some(link) => {
                followed += 1;
                if followed > MOST_LINKS {
                    return Err(SystemError::io("follow", path, &"Too many levels of symbolic links"));
                }
                if link.starts_with('/') {
                    at = root(path);
                }
                todo.extend(names(&link));
            }
            None => at = next,
        }
    }
    Ok(at)
}

/// The names of a path, the first one last.
fn names(path: &str) -> Vec<String> {
    path.split('/')
        .rev()
        .filter(|name| !name.is_empty() && *name != ".")
        .map(str::to_owned)
        .collect()
}

fn root(path: &AbsPath) -> AbsPath {
    let mut at = path.clone();
    while let Some(parent) = at.parent() {
        at = parent;
    }
    at
}

/// A path with its links followed, what stands there, and the folder that holds it.
#[derive(Debug, Clone)]
pub struct Spot {
    /// The path that is meant.
    pub path: AbsPath,
    /// What stands there.
    pub here: Option<Meta>,
    /// The folder that holds it.
    pub parent: Option<Meta>,
}

impl Spot {
    /// Looks with `stat` (which does not follow a link at the end).
    ///
    /// # Errors
    /// Those of `stat`, and a circle of links.
    pub fn find(
        path: &AbsPath,
        last: bool,
        stat: &mut dyn FnMut(&AbsPath) -> Result<Option<Meta>, SystemError>,
    ) -> Result<Spot, SystemError> {
        let path = resolve(path, last, &mut |at| Ok(stat(at)?.and_then(|meta| meta.target)))?;
        let here = stat(&path)?;
        let parent = path.parent().map_or(Ok(None), |parent| stat(&parent))?;
        Ok(Spot { path, here, parent })
    }

    /// The file that stands there. Refuses to put one where something else does, but for a link that shall give way.
    ///
    /// # Errors
    /// [`SystemError::WrongKind`].
    pub fn takes_file(&self, replaces_link: bool) -> Result<Option<&Meta>, SystemError> {
        match &self.here {
            Some(meta) if meta.kind == FileKind::File => Ok(Some(meta)),
            Some(meta) if !(replaces_link && meta.kind == FileKind::Link) => {
                Err(SystemError::wrong_kind(&self.path, "a file", meta.kind))
            }
            _ => Ok(None),
        }
    }

    /// Demands the folder that something shall be put in.
    ///
    /// # Errors
    /// When it is missing, or no folder.
    pub fn has_folder(&self, verb: &str) -> Result<&Meta, SystemError> {
        match &self.parent {
            None => Err(SystemError::missing(verb, &self.path)),
            Some(parent) if parent.kind != FileKind::Directory => Err(SystemError::not_folder(verb, &self.path)),
            Some(parent) => Ok(parent),
        }
    }

    /// Refuses to put something new where anything stands; a link replaces all but a folder.
    ///
    /// # Errors
    /// When something stands there.
    pub fn is_free(&self, verb: &str, link: bool) -> Result<(), SystemError> {
        match &self.here {
            Some(meta) if !link || meta.kind == FileKind::Directory => Err(SystemError::exists(verb, &self.path)),
            _ => Ok(()),
        }
    }

    /// Refuses to remove the system itself, and what is mounted.
    ///
    /// # Errors
    /// When it is one of them.
    pub fn may_go(&self) -> Result<(), SystemError> {
        let refuse = |reason: &str| Err(SystemError::io("remove", &self.path, &reason));
        if self.path.as_str() == "/" || SYSTEM_FOLDERS.contains(&self.path.as_str()) {
            return refuse("it is a part of the system itself; okd-play does not remove it");
        }
        match (&self.here, &self.parent) {
            (Some(here), Some(parent))
                if here.kind == FileKind::Directory
                    && here.id.0 != parent.id.0
                    && ![here.id.0, parent.id.0].contains(&PREDICTED_DEVICE) =>
            {
                refuse("something is mounted there; unmount it first")
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn end(path: &str, last: bool) -> Result<String, SystemError> {
        let links = [
            ("/var/run", "../run"),
            ("/a", "b"),
            ("/b", "/a"),
            ("/run/x", "/etc/./x"),
            ("/c", "/gone/y"),
        ];
        let mut target = |at: &AbsPath| {
            Ok(links
                .iter()
                .find(|(from, _)| *from == at.as_str())
                .map(|(_, to)| (*to).to_owned()))
        };
        resolve(&AbsPath::new(path).unwrap(), last, &mut target).map(|path| path.to_string())
    }

    #[test]
    fn links_lead_where_the_kernel_says() {
        assert_eq!(end("/var/run/x", true).unwrap(), "/etc/x");
        assert_eq!(end("/var/run/x", false).unwrap(), "/run/x");
        assert_eq!(end("/var/run", false).unwrap(), "/var/run");
        assert_eq!(end("/c", true).unwrap(), "/gone/y");
        assert_eq!(end("/", true).unwrap(), "/");
        assert!(end("/a", true).unwrap_err().to_string().contains("Too many levels"));
    }
}
