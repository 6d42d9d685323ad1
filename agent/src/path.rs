//! Names that are checked once, in their constructors, so that no resource can hold a bad one.

use crate::pack::{Pack, Reader};
use serde::{Deserialize, Serialize};
use std::fmt;

/// An absolute path without `.`, `..`, doubled or trailing slashes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AbsPath(String);

impl AbsPath {
    /// Checks and normalises a path.
    ///
    /// # Errors
    /// Says what is wrong: not absolute, empty, a NUL byte, or a climb above the root.
    pub fn new(path: &str) -> Result<Self, String> {
        if !path.starts_with('/') {
            return Err(format!("an absolute path, such as /etc/hosts, not `{path}`"));
        }
        if path.contains('\0') {
            return Err("a path without NUL bytes".to_owned());
        }
        let mut parts: Vec<&str> = Vec::new();
        for part in path.split('/') {
            match part {
                "" | "." => {}
                ".." => {
                    if parts.pop().is_none() {
                        return Err(format!("a path that stays below /, not `{path}`"));
                    }
                }
                name => parts.push(name),
            }
        }
        Ok(AbsPath(format!("/{}", parts.join("/"))))
    }

    /// The path as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The folder that holds it; `None` for `/`.
    #[must_use]
    pub fn parent(&self) -> Option<AbsPath> {
        match self.0.rsplit_once('/') {
            Some(("", "")) | None => None,
            Some(("", _)) => Some(AbsPath("/".to_owned())),
            Some((parent, _)) => Some(AbsPath(parent.to_owned())),
        }
    }

    /// The last name; empty for `/`.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.rsplit_once('/').map_or("", |(_, name)| name)
    }

    /// A path below this one; `relative` may hold several names.
    #[must_use]
    pub fn join(&self, relative: &str) -> AbsPath {
        let joined = format!("{}/{relative}", self.0);
        AbsPath::new(&joined).unwrap_or_else(|_| self.clone())
    }

    /// Whether this path lies below `folder` or is it.
    #[must_use]
    pub fn is_within(&self, folder: &AbsPath) -> bool {
        self == folder || folder.0 == "/" || self.0.strip_prefix(&folder.0).is_some_and(|rest| rest.starts_with('/'))
    }
}

impl fmt::Display for AbsPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Pack for AbsPath {
    fn pack(&self, to: &mut Vec<u8>) {
        self.0.pack(to);
    }
    fn unpack(from: &mut Reader<'_>) -> Self {
        AbsPath(Pack::unpack(from))
    }
}

/// Permission bits as a person gives them: octal (`0644`) or symbolic (`u=rw,g=r`), see chmod(1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// Twelve bits.
    Octal(u32),
    /// Clauses relative to what is there.
    Symbolic(String),
}

impl Mode {
    /// Reads octal digits or symbolic clauses.
    ///
    /// # Errors
    /// Says what was expected.
    pub fn new(text: &str) -> Result<Self, String> {
        let expected = || format!("permission bits such as \"0644\" or u=rw,g=r,o=r, not `{text}`");
        let digits = text.strip_prefix("0o").unwrap_or(text);
        if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
            let bits = u32::from_str_radix(digits, 8).map_err(|_| expected())?;
            return if bits <= 0o7777 {
                Ok(Mode::Octal(bits))
            } else {
                Err(expected())
            };
        }
        apply_symbolic(text, 0, false).ok_or_else(expected)?;
        Ok(Mode::Symbolic(text.to_owned()))
    }

    /// The bits that result from applying this to `current`.
    #[must_use]
    pub fn apply(&self, current: u32, directory: bool) -> u32 {
        match self {
            Mode::Octal(bits) => *bits,
            Mode::Symbolic(text) => apply_symbolic(text, current, directory).unwrap_or(current),
        }
    }
}

impl Pack for Mode {
    fn pack(&self, to: &mut Vec<u8>) {
        let octal = matches!(self, Mode::Octal(_));
        octal.pack(to);
        match self {
            Mode::Octal(bits) => bits.pack(to),
            Mode::Symbolic(text) => text.pack(to),
        }
    }
    fn unpack(from: &mut Reader<'_>) -> Self {
        if bool::unpack(from) {
            Mode::Octal(Pack::unpack(from))
        } else {
            Mode::Symbolic(Pack::unpack(from))
        }
    }
}

fn apply_symbolic(text: &str, current: u32, directory: bool) -> Option<u32> {
    let mut mode = current;
    for clause in text.split(',') {
        let at = clause.find(['+', '-', '='])?;
        let (who, rest) = clause.split_at(at);
        let operator = rest.chars().next()?;
        let permissions = &rest[1..];
        let who = if who.is_empty() { "a" } else { who };
        let mut mask = 0;
        let mut bits = 0;
        for class in who.chars() {
            let (shift, special) = match class {
                'u' => (vec![6], 0o4000),
                'g' => (vec![3], 0o2000),
                'o' => (vec![0], 0o1000),
                'a' => (vec![6, 3, 0], 0o7000),
                _ => return None,
            };
            for shift in &shift {
                mask |= 0o7 << shift;
                for permission in permissions.chars() {
                    bits |= match permission {
                        'r' => 4 << shift,
                        'w' => 2 << shift,
                        'x' => 1 << shift,
                        'X' if directory || current & 0o111 != 0 => 1 << shift,
                        'X' => 0,
                        's' => special & 0o6000,
                        't' => 0o1000,
                        'u' => ((current >> 6) & 7) << shift,
                        'g' => ((current >> 3) & 7) << shift,
                        'o' => (current & 7) << shift,
                        _ => return None,
                    };
                }
            }
        }
        mode = match operator {
            '+' => mode | bits,
            '-' => mode & !bits,
            _ => (mode & !mask) | bits,
        };
    }
    Some(mode)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn paths_are_normalised_or_refused() {
        assert_eq!(AbsPath::new("/etc//named/./x/../").unwrap().as_str(), "/etc/named");
        assert_eq!(AbsPath::new("/").unwrap().parent(), None);
        assert_eq!(AbsPath::new("/etc").unwrap().parent().unwrap().as_str(), "/");
        assert!(AbsPath::new("etc").is_err());
        assert!(AbsPath::new("/..").is_err());
        assert!(
            AbsPath::new("/etc/x")
                .unwrap()
                .is_within(&AbsPath::new("/etc").unwrap())
        );
        assert!(!AbsPath::new("/etcx").unwrap().is_within(&AbsPath::new("/etc").unwrap()));
    }

    #[test]
    fn modes_are_octal_or_symbolic() {
        assert_eq!(Mode::new("0644").unwrap().apply(0, false), 0o644);
        assert_eq!(Mode::new("u=rwX,g=rX,o=").unwrap().apply(0o777, true), 0o750);
        assert_eq!(Mode::new("+x").unwrap().apply(0o644, false), 0o755);
        assert_eq!(Mode::new("g-w").unwrap().apply(0o664, false), 0o644);
        assert_eq!(Mode::new("g+s").unwrap().apply(0o755, true), 0o2755);
        for bad in ["", "0999", "99999", "u~r", "rw-r--r--", "z=r"] {
            assert!(Mode::new(bad).is_err(), "{bad}");
        }
    }
}
