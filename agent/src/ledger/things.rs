//! What okd-play manages on a machine: which step of which playbook last left it, how, and whether it was there before.

use super::record;
use crate::diff::sha256;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher, RandomState};

/// So many steps may want the same thing in different words.
const WISHES: usize = 4;

/// The first line of the file.
const HEAD: &str = "okd-play ledger 1";

/// Something that a step manages on a machine.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Thing {
    /// What kind of thing: `path`, `user`, `unit`, …
    pub kind: String,
    /// Its name among those of its kind.
    pub name: String,
}

impl Thing {
    /// A file, folder or link.
    pub const PATH: &'static str = "path";

    /// A thing by its kind and name.
    #[must_use]
    pub fn new(kind: &str, name: impl Into<String>) -> Self {
        Thing {
            kind: kind.to_owned(),
            name: name.into(),
        }
    }

    /// A thing whose name has several parts, such as a path and what is at it.
    #[must_use]
    pub fn of(kind: &str, parts: &[&str]) -> Self {
        Thing::new(kind, parts.join("\n").trim_end())
    }

    /// The parts of its name.
    pub fn parts(&self) -> impl Iterator<Item = &str> {
        self.name.split('\n')
    }
}

/// What a step manages, and which step it is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Managed {
    /// The things.
    pub things: Vec<Thing>,
    /// The run, by its beginning: microseconds since 1970.
    pub run: u64,
    /// Names the playbook.
    pub playbook: String,
    /// The host of the play, where that is not the one that is changed (`delegate_to`).
    pub host: String,
    /// The step's name.
    pub step: String,
    /// Where it is written.
    pub place: String,
}

/// A thing in the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// What it is.
    pub thing: Thing,
    /// Salted hashes of what steps asked for, the latest last; none where another build wrote them.
    pub wishes: Vec<String>,
    /// A salted hash of what it was left as; empty where that is not known.
    pub left: String,
    /// Whether okd-play made it.
    pub created: bool,
    /// The run that left it, by its beginning: microseconds since 1970.
    pub run: u64,
    /// See [`Managed::host`].
    pub host: String,
    /// The step's name.
    pub step: String,
    /// Where the step was written.
    pub place: String,
    /// The playbooks that want it.
    pub playbooks: Vec<String>,
}

impl Entry {
    /// A step asks for this too.
    pub(super) fn wish(&mut self, wish: String) {
        self.wishes.retain(|known| *known != wish);
        self.wishes.push(wish);
        let much = self.wishes.len().saturating_sub(WISHES);
        self.wishes.drain(..much);
    }

    fn line(&self) -> String {
        let (run, wishes) = (self.run.to_string(), self.wishes.join(" "));
        let mut fields = vec![
            self.thing.kind.as_str(),
            &self.thing.name,
            &wishes,
            &self.left,
            if self.created { "made" } else { "found" },
            &run,
            &self.host,
            &self.step,
            &self.place,
        ];
        fields.extend(self.playbooks.iter().map(String::as_str));
        record::line(&fields)
    }

    fn parse(line: &str) -> Option<Entry> {
        let mut fields = record::fields(line).into_iter();
        let mut next = || fields.next();
        Some(Entry {
            thing: Thing {
                kind: next()?,
                name: next()?,
            },
            wishes: next()?.split_whitespace().map(str::to_owned).collect(),
            left: next()?,
            created: next()? == "made",
            run: next()?.parse().ok()?,
            host: next()?,
            step: next()?,
            place: next()?,
            playbooks: fields.collect(),
        })
    }
}

/// How a thing stands that a step finds other than it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stand {
    /// The run that last left it, by its beginning: microseconds since 1970.
    pub run: u64,
    /// Whether it has changed since; otherwise it is the playbook that has.
    pub moved: bool,
}

/// The file, in memory.
#[derive(Debug, Default)]
pub(super) struct Things {
    /// Makes hashes of short secrets worthless to whoever has no more than them.
    salt: String,
    entries: BTreeMap<Thing, Entry>,
}

impl Things {
    /// None, with a salt of their own.
    pub(super) fn fresh() -> Self {
        let random = || RandomState::new().build_hasher().finish();
        Things {
            salt: format!("{:016x}{:016x}", random(), random()),
            entries: BTreeMap::new(),
        }
    }

    pub(super) fn text(&self, build: &str) -> String {
        let mut text = format!("{HEAD}\n{}\n", record::line(&[build, &self.salt]));
        for entry in self.entries.values() {
            text.push_str(&entry.line());
            text.push('\n');
        }
        let sum = sha256(text.as_bytes());
        text.push_str(&sum);
        text.push('\n');
        text
    }

    /// Reads the file; `None` where it is damaged. What another build hashed cannot be compared.
    pub(super) fn parse(text: &str, build: &str) -> Option<Self> {
        let at = text.trim_end_matches('\n').rfind('\n')? + 1;
        let (body, sum) = text.split_at_checked(at)?;
        let mut lines = body.lines();
        if sha256(body.as_bytes()) != sum.trim_end() || lines.next()? != HEAD {
            return None;
        }
        let [by, salt]: [String; 2] = record::fields(lines.next()?).try_into().ok()?;
        let mut things = Things {
            salt,
            entries: BTreeMap::new(),
        };
        for line in lines {
            let mut entry = Entry::parse(line)?;
            if by != build {
                entry.wishes.clear();
            }
            things.put(entry);
        }
        Some(things)
    }

    pub(super) fn hash(&self, bytes: &[u8]) -> String {
        let salted = [self.salt.as_bytes(), bytes].concat();
        sha256(&salted).get(..16).unwrap_or_default().to_owned()
    }

    pub(super) fn get(&self, thing: &Thing) -> Option<&Entry> {
        self.entries.get(thing)
    }

    pub(super) fn put(&mut self, entry: Entry) {
        self.entries.insert(entry.thing.clone(), entry);
    }

    /// Some playbooks do not want a thing any more; what none wants is forgotten.
    pub(super) fn release(&mut self, thing: &Thing, playbooks: &[String]) {
        if let Some(entry) = self.entries.get_mut(thing) {
            entry.playbooks.retain(|own| !playbooks.contains(own));
            if entry.playbooks.is_empty() {
                self.entries.remove(thing);
            }
        }
    }

    pub(super) fn all(&self) -> Vec<Entry> {
        self.entries.values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_written_is_read_and_what_is_damaged_is_not() {
        let mut things = Things::fresh();
        let entry = Entry {
            thing: Thing::new("line", "/etc/hosts\nx\ty"),
            wishes: vec![things.hash(b"wish"), things.hash(b"other")],
            left: String::new(),
            created: true,
            run: 7,
            host: String::new(),
            step: "A step".to_owned(),
            place: "site.yaml:3".to_owned(),
            playbooks: vec!["a/site.yaml".to_owned(), "b/site.yaml".to_owned()],
        };
        things.put(entry.clone());
        let text = things.text("this");
        let mut read = Things::parse(&text, "this").unwrap();
        assert_eq!(read.all(), std::slice::from_ref(&entry));
        assert_eq!(read.hash(b"wish"), entry.wishes[0]);
        assert_ne!(Things::fresh().hash(b"wish"), entry.wishes[0]);
        let other = Things::parse(&text, "another").unwrap();
        assert!(other.all()[0].wishes.is_empty());
        for torn in [&text[..text.len() / 2], "", &text.replace("made", "found")] {
            assert!(Things::parse(torn, "this").is_none());
        }
        read.release(&entry.thing, &["a/site.yaml".to_owned()]);
        assert_eq!(read.all()[0].playbooks, ["b/site.yaml"]);
        read.release(&entry.thing, &["b/site.yaml".to_owned()]);
        assert!(read.all().is_empty());
    }
}
