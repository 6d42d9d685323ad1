//! Where a distribution keeps a service's files: the two families that the typed services know.

use super::ResourceError;
use crate::path::AbsPath;
use crate::system::{System, SystemError};
use serde::Serialize;

/// A family of distributions with one file layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Family {
    /// Red Hat Enterprise Linux, its rebuilds, CentOS Stream and Fedora.
    El,
    /// Debian and Ubuntu.
    Debian,
}

impl Family {
    /// One of two values, by family.
    pub fn pick<T>(self, el: T, debian: T) -> T {
        match self {
            Family::El => el,
            Family::Debian => debian,
        }
    }

    /// The family that `/etc/os-release` tells of; see os-release(5).
    ///
    /// # Errors
    /// When there is no such file, or it names neither family.
    pub fn of(world: &dyn System) -> Result<Self, ResourceError> {
        let file = path("/etc/os-release");
        let bytes = world.read(&file, 1 << 16)?.unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let words = words_of(&text, "ID").chain(words_of(&text, "ID_LIKE"));
        for word in words {
            match word {
                "rhel" | "centos" | "fedora" | "rocky" | "almalinux" | "ol" => return Ok(Family::El),
                "debian" | "ubuntu" => return Ok(Family::Debian),
                _ => {}
            }
        }
        Err(ResourceError::message(
            "/etc/os-release names neither an EL nor a Debian family: where this service keeps its files is not known",
        ))
    }
}

fn words_of<'a>(text: &'a str, key: &str) -> impl Iterator<Item = &'a str> {
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    value
        .unwrap_or_default()
        .trim()
        .trim_matches(['"', '\''])
        .split_whitespace()
}

/// A path that is written in this program, or made of checked parts.
///
/// An ill-formed one becomes `/`, which no verb writes to.
#[must_use]
pub(crate) fn path(text: &str) -> AbsPath {
    AbsPath::new(text).unwrap_or_else(|_| root())
}

fn root() -> AbsPath {
    match AbsPath::new("/") {
        Ok(root) => root,
        Err(_) => unreachable!("`/` is an absolute path"),
    }
}

/// Whether SELinux is at work, so that new files need their label.
///
/// # Errors
/// When the machine does not answer.
pub fn has_selinux(world: &dyn System) -> Result<bool, SystemError> {
    Ok(world.stat(&path("/sys/fs/selinux/enforce"))?.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn os_release_is_read_word_by_word() {
        let text = "NAME=\"Rocky\"\nVERSION_ID=\"9.4\"\nID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n";
        assert_eq!(words_of(text, "ID").collect::<Vec<_>>(), ["rocky"]);
        assert_eq!(
            words_of(text, "ID_LIKE").collect::<Vec<_>>(),
            ["rhel", "centos", "fedora"]
        );
        assert_eq!(words_of("ID=debian\n", "ID_LIKE").count(), 0);
        assert_eq!(path("/etc/named.conf").as_str(), "/etc/named.conf");
    }
}
