//! The name of a run: the moment in which it began and a few letters, so that names sort as runs did.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

/// Letters that nobody takes for one another.
const LETTERS: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz123456789";

/// A run's id, such as `20261130-063100-k3f9`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(String);

impl RunId {
    /// The id of a run that begins now.
    #[must_use]
    pub fn new() -> RunId {
        let mut random = [0; 4];
        if getrandom::fill(&mut random).is_err() {
            random = std::process::id().to_le_bytes();
        }
        let letters = random.map(|byte| char::from(LETTERS[usize::from(byte) % LETTERS.len()]));
        let moment = moment(seconds(), "%Y%m%d-%H%M%S");
        RunId(format!("{moment}-{}", letters.iter().collect::<String>()))
    }

    /// An id as text; `None` for what is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<RunId> {
        let shape = |at: usize, byte: u8| match at {
            8 | 15 => byte == b'-',
            0..15 => byte.is_ascii_digit(),
            _ => byte.is_ascii_alphanumeric(),
        };
        let fits = text.len() == 20 && text.bytes().enumerate().all(|(at, byte)| shape(at, byte));
        fits.then(|| RunId(text.to_owned()))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for RunId {
    fn default() -> Self {
        RunId::new()
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Seconds since 1970.
#[must_use]
pub fn seconds() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or_default()
}

/// A moment in UTC, by C's `strftime`.
#[must_use]
pub fn moment(seconds: i64, format: &str) -> String {
    crate::template::utc(seconds, format)
}

/// Who runs this program and where: `alice@bastion`. Behind sudo it is the one who called it.
#[must_use]
pub fn who() -> String {
    let named = |name: &str| std::env::var(name).ok().filter(|user| !user.is_empty());
    let own = || named("USER").or_else(|| named("LOGNAME"));
    let uid = rustix::process::getuid();
    let behind = uid.is_root().then(|| named("SUDO_USER")).flatten();
    let user = behind.or_else(own).unwrap_or_else(|| uid.as_raw().to_string());
    let node = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("{user}@{node}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn ids_are_read_back_and_sort_by_time() {
        let id = RunId::new();
        assert_eq!(RunId::parse(id.as_str()).unwrap(), id);
        assert!(RunId::parse("20261130-063100-k3f9") > RunId::parse("20261130-063059-zzzz"));
        for wrong in ["", "20261130-063100", "../../../etc/passwd.", "20261130-063100-k3f/"] {
            assert_eq!(RunId::parse(wrong), None, "{wrong}");
        }
        assert_eq!(moment(0, "%Y-%m-%d %H:%M:%S"), "1970-01-01 00:00:00");
    }
}
