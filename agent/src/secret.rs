//! Secrets travel as placeholders inside ordinary text. Only the last step before a machine puts the bytes in, and the
//! first step after it takes them out again; so no diff, plan, event or message can hold one.

use serde::{Deserialize, Serialize};
use std::fmt;

const OPEN: &str = "‹secret:";
const CLOSE: char = '›';

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
        replace_all(
            bytes,
            entries
                .map(|(placeholder, secret)| (secret.reveal(), placeholder.as_bytes()))
                .collect(),
        )
    }
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
}
