//! What the package kinds share: what is installed, what could be, and how the difference is shown. What a package
//! manager says and takes is in the files of the managers.

use super::{ResourceError, View};
use crate::choice;
use crate::diff::{Change, Sign};
use crate::system::{Answer, Declared, Effect};
use crate::value::{Map, Value, map};
use serde::Serialize;

choice! {
    /// Whether packages should be there.
    pub enum Presence {
        /// Installed, in whatever version.
        Present = "present" | "installed",
        /// Installed, in the newest version that a repository has.
        Latest = "latest",
        /// Not installed.
        Absent = "absent" | "removed",
    }
}

/// Which family of package managers a machine has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Manager {
    /// apt-get and dpkg.
    Apt,
    /// dnf, or yum in its place, and rpm.
    Dnf,
}

/// What the repositories have for a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Candidate {
    /// This version would be installed.
    Version(String),
    /// The repositories are known and none has it.
    Nowhere,
    /// It cannot be said yet.
    Unseen,
}

/// One package that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Item {
    /// As written in the playbook, perhaps with a version.
    pub asked: String,
    /// The package's name.
    pub name: String,
    /// What is installed; empty where the plan knows only that something will be.
    pub version: Option<String>,
    /// Whether that is what was asked for.
    pub fits: bool,
    /// What could be installed.
    pub candidate: Candidate,
}

/// What is there of the packages that were asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct State {
    /// Who manages packages here.
    pub manager: Manager,
    /// The packages.
    pub items: Vec<Item>,
    /// Whether the package lists are as fresh as asked for.
    pub fresh: bool,
}

impl View for State {
    fn changes(&self, want: &Self) -> Vec<Change> {
        let mut changes = Vec::new();
        if self.fresh != want.fresh {
            changes.push(Change::Act("fetch the package lists".to_owned()));
        }
        for (here, wanted) in self.items.iter().zip(&want.items) {
            changes.extend(change(here, wanted));
        }
        changes
    }
}

fn change(here: &Item, want: &Item) -> Option<Change> {
    let text = |version: &str| format!("{} {version}", want.name).trim_end().to_owned();
    match (&here.version, &want.version) {
        (None, Some(version)) => Some(Change::Item {
            sign: Sign::Added,
            text: text(version),
        }),
        (Some(version), None) => Some(Change::Item {
            sign: Sign::Removed,
            text: text(version),
        }),
        (Some(before), Some(after)) if before != after || here.fits != want.fits => Some(Change::Field {
            of: want.name.clone(),
            name: "version".to_owned(),
            before: before.clone(),
            after: after.clone(),
        }),
        _ => None,
    }
}

/// What should be there. `strict`: a package that no repository has is an error here already.
///
/// # Errors
/// A package that no repository has.
pub fn desire(now: &State, presence: Presence, strict: bool) -> Result<State, ResourceError> {
    let mut want = now.clone();
    for item in &mut want.items {
        let keep = item.version.is_some() && item.fits;
        let newer = matches!((&item.version, &item.candidate), (Some(here), Candidate::Version(new)) if here != new);
        match presence {
            Presence::Absent => item.version = None,
            Presence::Present if keep => {}
            Presence::Latest if keep && !newer => {}
            _ => {
                item.version = Some(match &item.candidate {
                    Candidate::Version(version) => version.clone(),
                    Candidate::Nowhere if strict => return Err(nowhere(item)),
                    _ => String::new(),
                });
                item.fits = true;
            }
        }
    }
    let changes = want.items != now.items;
    // With packages to be merely present, lists are fetched only when one of them is missing.
    want.fresh = now.fresh || changes || now.items.is_empty() || presence == Presence::Latest;
    if presence == Presence::Absent {
        want.fresh = now.fresh;
    }
    Ok(want)
}

fn nowhere(item: &Item) -> ResourceError {
    ResourceError::message(format!("no repository of this host has a package `{}`", item.asked))
}

/// The items that differ.
#[must_use]
pub fn differing<'a>(now: &'a State, want: &'a State) -> Vec<&'a Item> {
    let pairs = now.items.iter().zip(&want.items);
    pairs
        .filter(|(here, wanted)| change(here, wanted).is_some())
        .map(|(_, wanted)| wanted)
        .collect()
}

/// The probe key of the list of all packages.
pub const ALL: &str = "packages";

/// The probe key of a package.
#[must_use]
pub fn key(name: &str) -> String {
    format!("package:{name}")
}

/// What a transaction will have done; `line` says what the manager's list of installed packages will say of one.
pub fn effect(items: &[&Item], line: impl Fn(&Item) -> String) -> Effect {
    let mut declared = Declared::default();
    for item in items {
        let answer = Answer::ok(if item.version.is_some() {
            line(item)
        } else {
            String::new()
        });
        declared.predicts.push((key(&item.asked), answer.clone()));
        if item.asked != item.name {
            declared.predicts.push((key(&item.name), answer));
        }
        if item.version.is_some() {
            declared.brings.push(item.name.clone());
        }
    }
    Effect::Declared(declared)
}

/// What `register` holds of a transaction.
#[must_use]
pub fn report(answer: &Answer) -> Map {
    map([
        ("rc", Value::Int(i64::from(answer.rc))),
        ("stdout", Value::Str(answer.text())),
        ("stderr", Value::Str(answer.error_text())),
    ])
}

/// Whether a name matches a shell pattern of `*` and `?`.
#[must_use]
pub fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if *c == '?' || *c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    p = at + 1;
                    t = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn item(version: Option<&str>, fits: bool, candidate: Candidate) -> Item {
        let (asked, name) = ("bind-9*".to_owned(), "bind".to_owned());
        Item {
            asked,
            name,
            version: version.map(str::to_owned),
            fits,
            candidate,
        }
    }

    fn changes(presence: Presence, item: Item, fresh: bool) -> Vec<Change> {
        let now = State {
            manager: Manager::Dnf,
            items: vec![item],
            fresh,
        };
        now.changes(&desire(&now, presence, true).unwrap())
    }

    #[test]
    fn only_what_is_missing_or_old_changes() {
        let new = || Candidate::Version("9.16".to_owned());
        let added = Change::Item {
            sign: Sign::Added,
            text: "bind 9.16".to_owned(),
        };
        let lists = Change::Act("fetch the package lists".to_owned());
        assert_eq!(
            changes(Presence::Present, item(None, false, new()), true),
            std::slice::from_ref(&added)
        );
        assert_eq!(
            changes(Presence::Present, item(None, false, new()), false),
            [lists.clone(), added]
        );
        assert_eq!(changes(Presence::Present, item(Some("9.15"), true, new()), false), []);
        let upgraded = changes(Presence::Latest, item(Some("9.15"), true, new()), true);
        assert!(matches!(&upgraded[..], [Change::Field { before, after, .. }] if before == "9.15" && after == "9.16"));
        assert_eq!(changes(Presence::Latest, item(Some("9.16"), true, new()), true), []);
        assert_eq!(changes(Presence::Absent, item(None, false, new()), true), []);
        let removed = Change::Item {
            sign: Sign::Removed,
            text: "bind 9.15".to_owned(),
        };
        assert_eq!(
            changes(Presence::Absent, item(Some("9.15"), true, new()), true),
            [removed]
        );
    }

    #[test]
    fn a_package_that_nobody_has_is_said_early_where_that_is_certain() {
        let now = State {
            manager: Manager::Apt,
            items: vec![item(None, false, Candidate::Nowhere)],
            fresh: true,
        };
        assert!(
            desire(&now, Presence::Present, true)
                .unwrap_err()
                .to_string()
                .contains("bind-9*")
        );
        assert_eq!(
            desire(&now, Presence::Present, false).unwrap().items[0]
                .version
                .as_deref(),
            Some("")
        );
    }

    #[test]
    fn patterns() {
        for (pattern, text, fits) in [
            ("bind-9*", "bind-9.16", true),
            ("*", "", true),
            ("a?c", "abc", true),
            ("a*c*e", "abcde", true),
            ("a", "ab", false),
            ("*b", "abc", false),
        ] {
            assert_eq!(glob(pattern, text), fits, "{pattern} {text}");
        }
    }
}
