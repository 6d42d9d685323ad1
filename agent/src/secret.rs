//! Secrets travel as placeholders inside ordinary text. Only the last step before a machine puts the bytes in, and the
//! first step after it takes them out again; so no diff, plan, event or message can hold one.

use crate::order::sort_by;
use serde::{Deserialize, Serialize};
use std::fmt;

const OPEN: &str = "‹secret:";
const CLOSE: char = '›';
/// Shorter secrets are words that are found where nobody put them: `root`, `true`, `5432`.
const LONG: usize = 8;

/// A text in which what stands for a secret is told apart by the secret's name alone, so that it is the same in each run.
#[must_use]
pub fn nameless(text: &str) -> String {
    let mut parts = text.split(OPEN);
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once(CLOSE) {
            Some((name, rest)) => plain.extend(["‹", name.split(':').next().unwrap_or_default(), "›", rest]),
            None => plain.push_str(part),
        }
    }
    plain
}

/// A secret's bytes. Neither printed nor compared in messages; overwritten when dropped.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Takes the bytes.
    #[must_use]
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Secret(bytes.into())
    }

    /// The bytes, for the one place that hands them to the machine.
    #[must_use]
    pub fn reveal(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.fill(0);
        std::hint::black_box(&self.0);
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(‹hidden›)")
    }
}

/// All secrets of a session, by placeholder.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secrets {
    entries: Vec<(String, Secret)>,
}

impl Secrets {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The placeholder for a name and an unguessable id (hexadecimal).
    #[must_use]
    pub fn placeholder(name: &str, id: &str) -> String {
        format!("{OPEN}{name}:{id}{CLOSE}")
    }

    /// Whether text holds a placeholder.
    #[must_use]
    pub fn marked(text: &str) -> bool {
        text.contains(OPEN)
    }

    /// Adds a secret under its placeholder; the same placeholder again replaces the bytes.
    pub fn insert(&mut self, placeholder: String, secret: Secret) {
        self.entries.retain(|(known, _)| *known != placeholder);
        let place = self
            .entries
            .partition_point(|(_, known)| known.0.len() >= secret.0.len());
        self.entries.insert(place, (placeholder, secret));
    }

    /// Adds all of another set; see [`Secrets::insert`].
    pub fn merge(&mut self, other: Secrets) {
        for (placeholder, secret) in other.entries {
            self.insert(placeholder, secret);
        }
    }

    /// The placeholders in some bytes, each once.
    #[must_use]
    pub fn named_in(bytes: &[u8]) -> Vec<String> {
        let mut names = Vec::new();
        let mut rest = bytes;
        while let Some(start) = find(rest, OPEN.as_bytes()) {
            rest = &rest[start..];
            let Some(end) = find(rest, CLOSE.to_string().as_bytes()) else {
                break;
            };
            let end = end + CLOSE.len_utf8();
            match std::str::from_utf8(&rest[..end]) {
                Ok(name) if !names.iter().any(|known| known == name) => names.push(name.to_owned()),
                _ => {}
            }
            rest = &rest[OPEN.len()..];
        }
        names
    }

    /// Those with these placeholders.
    #[must_use]
    pub fn of(&self, names: &[String]) -> Secrets {
        let entries = self
            .entries
            .iter()
            .filter(|(placeholder, _)| names.contains(placeholder));
        Secrets {
            entries: entries.cloned().collect(),
        }
    }

    /// Puts the bytes in the place of their placeholders.
    #[must_use]
    pub fn reveal(&self, bytes: &[u8]) -> Vec<u8> {
        let entries = self
            .entries
            .iter()
            .map(|(placeholder, secret)| (placeholder.as_bytes(), secret.reveal()));
        replace_all(bytes, entries.collect())
    }

    /// Puts placeholders in the place of secret bytes. Longer secrets go first.
    #[must_use]
    pub fn mask(&self, bytes: &[u8]) -> Vec<u8> {
        let entries = self.entries.iter().filter(|(_, secret)| !secret.0.is_empty());
        hide(bytes, entries.collect())
    }

    /// As [`Secrets::mask`], without those that are so short that they may be there by chance.
    #[must_use]
    pub fn mask_long(&self, bytes: &[u8]) -> Vec<u8> {
        hide(
            bytes,
            self.entries
                .iter()
                .filter(|(_, secret)| secret.0.len() >= LONG)
                .collect(),
        )
    }

    /// As [`Secrets::mask`], where only these placeholders are expected: they go before others with the same bytes. Of the
    /// others those do not count that may be there by chance, or that would swallow a line's end: a resource that works by
    /// lines has to see them all.
    #[must_use]
    pub fn mask_expecting(&self, bytes: &[u8], names: &[String]) -> Vec<u8> {
        let expected = |entry: &&(String, Secret)| names.contains(&entry.0);
        let counts = |entry: &&(String, Secret)| {
            let bytes = &entry.1.0;
            !bytes.is_empty() && (expected(entry) || bytes.len() >= LONG && !bytes.contains(&b'\n'))
        };
        let mut entries: Vec<&(String, Secret)> = self.entries.iter().filter(counts).collect();
        let rank = |entry: &&(String, Secret)| (std::cmp::Reverse(entry.1.0.len()), !expected(entry));
        sort_by(&mut entries, |one, other| rank(one).cmp(&rank(other)));
        hide(bytes, entries)
    }
}

fn hide(bytes: &[u8], entries: Vec<&(String, Secret)>) -> Vec<u8> {
    let pairs = entries
        .into_iter()
        .map(|(placeholder, secret)| (secret.reveal(), placeholder.as_bytes()));
    replace_all(bytes, pairs.collect())
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn replace_all(bytes: &[u8], pairs: Vec<(&[u8], &[u8])>) -> Vec<u8> {
    if pairs.is_empty() {
        return bytes.to_vec();
    }
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        match pairs.iter().find(|(from, _)| bytes[at..].starts_with(from)) {
            Some((from, to)) => {
                out.extend_from_slice(to);
                at += from.len();
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn reveal_and_mask_are_inverse_and_nothing_prints() {
        let mut secrets = Secrets::default();
        let place = Secrets::placeholder("db", "00ff");
        secrets.insert(place.clone(), Secret::new("hunter2"));
        secrets.insert(Secrets::placeholder("long", "01ff"), Secret::new("hunter2-long"));
        let shown = format!("password={place}\n");
        let real = secrets.reveal(shown.as_bytes());
        assert_eq!(real, b"password=hunter2\n");
        assert_eq!(secrets.mask(&real), shown.as_bytes());
        assert!(String::from_utf8_lossy(&secrets.mask(b"x hunter2-long y")).contains("long:01ff"));
        assert!(!format!("{secrets:?}").contains("hunter2"));
        assert!(Secrets::marked(&shown) && !Secrets::marked("plain"));
    }

    #[test]
    fn only_what_is_expected_or_long_is_taken_for_a_secret() {
        let mut secrets = Secrets::default();
        let [user, first, second] = ["user", "first", "second"].map(|name| Secrets::placeholder(name, "0a"));
        secrets.insert(user.clone(), Secret::new("root"));
        secrets.insert(first.clone(), Secret::new("long-enough"));
        secrets.insert(second.clone(), Secret::new("long-enough"));
        let mask = |names: &[String]| String::from_utf8(secrets.mask_expecting(b"root:long-enough", names)).unwrap();
        assert_eq!(mask(&[]), format!("root:{first}"));
        let whole = Secrets::placeholder("whole", "0a");
        let mut lines = Secrets::default();
        lines.insert(first.clone(), Secret::new("long-enough"));
        lines.insert(whole.clone(), Secret::new("long-enough\n"));
        let text = b"key=long-enough\nz\n";
        assert_eq!(lines.mask_expecting(text, &[]), format!("key={first}\nz\n").as_bytes());
        assert_eq!(lines.mask_long(text), format!("key={whole}z\n").as_bytes());
        assert_eq!(mask(&[second.clone(), user.clone()]), format!("{user}:{second}"));
        let text = format!("a {user}{second} {user} \u{2039}secret:open");
        assert_eq!(Secrets::named_in(text.as_bytes()), [user, second.clone()]);
        assert_eq!(
            secrets.of(std::slice::from_ref(&second)).reveal(second.as_bytes()),
            b"long-enough"
        );
    }
}
