//! What okd-play manages on a machine: which step of which playbook last left it, how, and whether it was there before.

use super::record;
use crate::diff::sha256;
use crate::path::AbsPath;
use serde::{Deserialize, Serialize};
use std::hash::{BuildHasher, Hasher, RandomState};

/// So many steps more may want the same thing in different words.
const OLD_WISHES: usize = 3;

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

/// A thing as a line of the ledger has it: its fields, in the order of [`Entry`]'s. The agent handles no more than these.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row(Vec<String>);

const KIND: usize = 0;
const NAME: usize = 1;
const WISHES: usize = 2;
const LEFT: usize = 3;
const MADE: usize = 4;
const RUN: usize = 5;
const HOST: usize = 6;
const STEP: usize = 7;
const PLACE: usize = 8;
/// The playbooks are from here on.
const PLAYBOOKS: usize = 9;

/// What stands for wishes where no step has one: no hash.
const UNASKED: &str = "-";

/// What stands there where okd-play made the thing.
const BY_US: &str = "made";

impl Row {
    /// Names a thing, without a word on how it stands.
    #[must_use]
    pub fn of(thing: &Thing) -> Row {
        Row(vec![thing.kind.clone(), thing.name.clone()])
    }

    fn at(&self, place: usize) -> &str {
        self.0.get(place).map_or("", String::as_str)
    }

    fn set(&mut self, place: usize, text: String) {
        if let Some(field) = self.0.get_mut(place) {
            *field = text;
        }
    }

    pub(super) fn names(&self, other: &Row) -> bool {
        self.place() == other.place()
    }

    fn place(&self) -> (&str, &str) {
        (self.at(KIND), self.at(NAME))
    }

    /// The path, where it is one.
    pub(super) fn path(&self) -> Option<AbsPath> {
        AbsPath::new(self.at(NAME))
            .ok()
            .filter(|_| self.at(KIND) == Thing::PATH)
    }

    pub(super) fn left(&self) -> &str {
        self.at(LEFT)
    }

    pub(super) fn run(&self) -> u64 {
        self.at(RUN).parse().unwrap_or_default()
    }

    /// Whether a step has asked for this, as far as that is known; hashes of another build cannot be compared.
    pub(super) fn asked(&self, wish: &str) -> bool {
        self.at(WISHES)
            .split(' ')
            .any(|known| known == wish || known.is_empty())
    }

    /// Whether it is in the ledger like this already, with what a step asks for.
    pub(super) fn holds(&self, new: &Row, wish: &str) -> bool {
        self.at(WISHES).contains(wish) && self.at(HOST) == new.at(HOST) && self.lists(new)
    }

    fn lists(&self, new: &Row) -> bool {
        let mut playbooks = new.0.iter().skip(PLAYBOOKS);
        playbooks.all(|name| self.0.iter().skip(PLAYBOOKS).any(|own| own == name))
    }

    /// What a step says of a thing, with what is known of it from before.
    pub(super) fn after(mut self, known: Option<&Row>, wish: &str) -> Row {
        let mut wishes = vec![wish];
        if let Some(known) = known {
            wishes.extend(
                known
                    .at(WISHES)
                    .split(' ')
                    .filter(|old| !old.is_empty() && *old != wish)
                    .take(OLD_WISHES),
            );
            self.set(MADE, known.at(MADE).to_owned());
            if !known.lists(&self) {
                self.0.extend(known.0.iter().skip(PLAYBOOKS).cloned());
            } else {
                self.0.splice(PLAYBOOKS.., known.0.iter().skip(PLAYBOOKS).cloned());
            }
        }
        let wishes = wishes.join(" ");
        self.set(WISHES, wishes);
        self
    }

    pub(super) fn make(&mut self) {
        self.set(MADE, BY_US.to_owned());
    }

    /// It is seen how it was left; what is not there was made by nobody.
    pub(super) fn see(&mut self, left: Option<String>) {
        if left.is_none() {
            self.set(MADE, String::new());
        }
        self.set(LEFT, left.unwrap_or_default());
    }

    /// No step has asked for it as it is now.
    pub(super) fn be_unasked(&mut self) {
        self.set(WISHES, UNASKED.to_owned());
    }

    pub(super) fn is_unasked(&self) -> bool {
        self.at(WISHES) == UNASKED
    }

    pub(super) fn stays(&mut self, run: &Row) {
        self.set(RUN, run.at(RUN).to_owned());
    }
}

/// What is managed and by which step: as the agent is told.
#[derive(Debug, Clone)]
pub struct Managed {
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

impl Managed {
    /// A line for a thing.
    #[must_use]
    pub fn row(&self, thing: Thing) -> Row {
        Row(vec![
            thing.kind,
            thing.name,
            String::new(),
            String::new(),
            String::new(),
            self.run.to_string(),
            self.host.clone(),
            self.step.clone(),
            self.place.clone(),
            self.playbook.clone(),
        ])
    }
}

/// A thing in the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub thing: Thing,
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

impl From<Row> for Entry {
    fn from(row: Row) -> Entry {
        Entry {
            thing: Thing::new(row.at(KIND), row.at(NAME)),
            created: row.at(MADE) == BY_US,
            run: row.run(),
            host: row.at(HOST).to_owned(),
            step: row.at(STEP).to_owned(),
            place: row.at(PLACE).to_owned(),
            playbooks: row.0.into_iter().skip(PLAYBOOKS).collect(),
        }
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
    /// By kind and name.
    rows: Vec<Row>,
}

impl Things {
    /// None, with a salt of their own.
    pub(super) fn fresh() -> Self {
        let random = || RandomState::new().build_hasher().finish();
        Things {
            salt: format!("{:016x}{:016x}", random(), random()),
            rows: Vec::new(),
        }
    }

    pub(super) fn text(&self, build: &str) -> String {
        let mut text = format!("{HEAD}\n{}\n", record::line(&[build, &self.salt]));
        for row in &self.rows {
            let fields: Vec<&str> = row.0.iter().map(String::as_str).collect();
            text.push_str(&record::line(&fields));
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
        let head = record::fields(lines.next()?);
        let [by, salt] = head.as_slice() else { return None };
        let mut rows: Vec<Row> = lines.map(|line| Row(record::fields(line))).collect();
        if by != build {
            rows.iter_mut().for_each(|row| row.set(WISHES, String::new()));
        }
        Some(Things {
            salt: salt.clone(),
            rows,
        })
    }

    pub(super) fn hash(&self, bytes: &[u8]) -> String {
        let salted = [self.salt.as_bytes(), bytes].concat();
        sha256(&salted).get(..16).unwrap_or_default().to_owned()
    }

    pub(super) fn get(&self, row: &Row) -> Option<&Row> {
        self.rows.iter().find(|other| other.names(row))
    }

    pub(super) fn put(&mut self, row: Row) {
        match self.rows.binary_search_by(|other| other.place().cmp(&row.place())) {
            Ok(at) => self.rows[at] = row,
            Err(at) => self.rows.insert(at, row),
        }
    }

    /// Some playbooks do not want things any more; what none wants is forgotten.
    pub(super) fn release(&mut self, released: &[Row], playbooks: &[String]) {
        self.rows.retain_mut(|row| {
            if released.iter().any(|other| other.names(row)) {
                let mut at = 0;
                row.0.retain(|field| {
                    at += 1;
                    at <= PLAYBOOKS || !playbooks.contains(field)
                });
            }
            row.0.len() > PLAYBOOKS
        });
    }

    /// These alone are managed.
    pub(super) fn be(&mut self, rows: Vec<Row>) {
        self.rows.clear();
        rows.into_iter().for_each(|row| self.put(row));
    }

    pub(super) fn all(&self) -> Vec<Row> {
        self.rows.clone()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_written_is_read_and_what_is_damaged_is_not() {
        let mut things = Things::fresh();
        let managed = |playbook: &str| Managed {
            run: 7,
            host: String::new(),
            step: "A step".to_owned(),
            place: "site.yaml:3".to_owned(),
            playbook: playbook.to_owned(),
        };
        let row = |playbook: &str| managed(playbook).row(Thing::new("line", "/etc/hosts\nx\ty"));
        let (one, other) = (things.hash(b"wish"), things.hash(b"other"));
        let mut first = row("a/site.yaml").after(None, &one);
        first.make();
        let both = row("b/site.yaml").after(Some(&first), &other);
        assert!(both.holds(&row("a/site.yaml"), &one) && both.asked(&other) && !both.asked("third"));
        assert_eq!(
            both.clone().after(Some(&both), &one).at(WISHES),
            format!("{one} {other}")
        );
        things.put(both.clone());
        things.put(managed("c").row(Thing::new("aaa", "")));
        let text = things.text("this");
        let mut read = Things::parse(&text, "this").unwrap();
        assert_eq!((read.all().len(), read.get(&first)), (2, Some(&both)));
        let entry = Entry::from(both.clone());
        assert!(entry.created && entry.run == 7 && entry.step == "A step", "{entry:?}");
        assert_eq!(entry.playbooks, ["b/site.yaml", "a/site.yaml"]);
        assert_eq!(read.hash(b"wish"), one);
        assert_ne!(Things::fresh().hash(b"wish"), one);
        let anothers = Things::parse(&text, "another").unwrap();
        assert!(anothers.get(&first).unwrap().asked("third"));
        for torn in [&text[..text.len() / 2], "", &text.replace("made", "mine")] {
            assert!(Things::parse(torn, "this").is_none());
        }
        read.release(std::slice::from_ref(&first), &["a/site.yaml".to_owned()]);
        assert_eq!(
            Entry::from(read.get(&first).unwrap().clone()).playbooks,
            ["b/site.yaml"]
        );
        read.release(std::slice::from_ref(&first), &["b/site.yaml".to_owned()]);
        assert_eq!(read.all().len(), 1);
    }
}
