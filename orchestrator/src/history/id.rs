//! The name of a run: the moment in which it began and a few letters, so that names sort as runs did.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Letters that nobody takes for one another, in the order in which they sort.
const LETTERS: &[u8; 32] = b"123456789abcdefghjkmnpqrstuvwxyz";

/// A run's id, such as `20261130-063100-k3f9`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(String);

impl RunId {
    /// The id of a run that begins now.
    #[must_use]
    pub fn new() -> RunId {
        let mut random = [0; 2];
        if getrandom::fill(&mut random).is_err() {
            random = (std::process::id() as u16).to_le_bytes();
        }
        RunId::at(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(), random)
    }

    /// The first two letters are the 1024ths of a second, the others tell runs of one moment apart.
    fn at(since: Duration, random: [u8; 2]) -> RunId {
        let part = usize::try_from(since.subsec_millis()).unwrap_or_default() * 1024 / 1000;
        let places = [part / 32, part, random[0].into(), random[1].into()];
        let letters = places.map(|place| char::from(LETTERS[place % LETTERS.len()]));
        let moment = moment(i64::try_from(since.as_secs()).unwrap_or_default(), "%Y%m%d-%H%M%S");
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
        let in_order: Vec<RunId> = (0..3000)
            .map(|at| RunId::at(Duration::from_millis(at), [255 - (at % 256) as u8, 0]))
            .collect();
        assert!(in_order.is_sorted());
        assert!(in_order.windows(2).all(|two| two[0] != two[1]));
        for wrong in ["", "20261130-063100", "../../../etc/passwd.", "20261130-063100-k3f/"] {
            assert_eq!(RunId::parse(wrong), None, "{wrong}");
        }
        assert_eq!(moment(0, "%Y-%m-%d %H:%M:%S"), "1970-01-01 00:00:00");
    }
}
