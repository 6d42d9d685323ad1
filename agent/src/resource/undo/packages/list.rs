//! Lists of packages as dpkg and rpm give them, and what the commands of a run have done to them.

use crate::resource::apt::Deb;
use crate::resource::dnf::Rpm;
use crate::resource::packages::Manager;
use crate::system::journal::{Deed, Listed, PACKAGES, Record};
use crate::system::{Answer, Probe};
use std::collections::{BTreeMap, BTreeSet};

/// The lines of one name: a package may be there for several architectures, a kernel in several versions.
pub(super) type Held = BTreeSet<String>;

/// Names, and the lines of each.
pub(super) type List = BTreeMap<String, Held>;

/// One line of a list of packages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Package {
    /// As dpkg and rpm name it alone.
    pub(super) name: String,
    pub(super) arch: String,
    pub(super) version: String,
    /// Whether only its configuration is there.
    pub(super) config: bool,
    /// As programs take exactly it, without its epoch.
    pub(super) exact: String,
    /// The line without what follows from its version.
    pub(super) line: String,
}

impl Package {
    pub(super) fn parse(manager: Manager, line: &str) -> Option<Package> {
        match manager {
            Manager::Apt => {
                let deb = Deb::parse(line)?;
                let config = match deb.status.as_bytes().get(1)? {
                    b'n' => return None,
                    state => *state == b'c',
                };
                let arch = deb.arch.unwrap_or_default();
                let full = if arch.is_empty() {
                    deb.name.clone()
                } else {
                    format!("{}:{arch}", deb.name)
                };
                let status = if config { "rc" } else { "ii" };
                let line = format!("{full} {} {status} ", deb.version);
                Some(Package {
                    name: deb.name,
                    arch,
                    version: deb.version,
                    config,
                    exact: full,
                    line,
                })
            }
            Manager::Dnf => {
                let rpm = Rpm::parse(line)?;
                let version = rpm.evr();
                let Rpm {
                    name,
                    epoch,
                    version: number,
                    release,
                    arch,
                } = rpm;
                let line = format!("{name} {epoch} {number} {release} {arch}");
                let exact = match number.is_empty() {
                    true => name.clone(),
                    false => format!("{name}-{number}-{release}{}", dotted(&arch)),
                };
                Some(Package {
                    name,
                    arch,
                    version,
                    config: false,
                    exact,
                    line,
                })
            }
        }
    }

    /// As what installs packages takes it in this version.
    pub(super) fn wanted(&self, manager: Manager) -> String {
        match manager {
            _ if self.version.is_empty() => self.exact.clone(),
            Manager::Apt => format!("{}={}", self.exact, self.version),
            Manager::Dnf => format!("{}-{}{}", self.name, self.version, dotted(&self.arch)),
        }
    }

    /// The same with its programs.
    pub(super) fn whole(&self) -> Package {
        let line = self.line.strip_suffix(" rc ").map(|line| format!("{line} ii "));
        Package {
            config: false,
            line: line.unwrap_or_else(|| self.line.clone()),
            ..self.clone()
        }
    }

    /// What dpkg leaves of it when it removes it.
    pub(super) fn configuration(&self) -> Package {
        Package {
            config: true,
            line: format!("{} {} rc ", self.exact, self.version),
            ..self.clone()
        }
    }

    pub(super) fn shown(&self) -> String {
        let config = if self.config { " (its configuration)" } else { "" };
        format!("{} {}{config}", self.name, self.version).trim_end().to_owned()
    }
}

/// As rpm writes the architecture after a version; a key that was imported has none.
fn dotted(arch: &str) -> String {
    match arch {
        "" | "(none)" => String::new(),
        _ => format!(".{arch}"),
    }
}

/// A list of packages without what follows from their versions, sorted.
#[cfg(test)]
pub(crate) fn lines(list: &[String]) -> Vec<String> {
    let mut lines: Vec<String> = list
        .iter()
        .filter_map(|line| {
            let debs = ["ii", "hi", "rc"]
                .iter()
                .any(|status| line.split(' ').nth(2) == Some(status));
            Package::parse(if debs { Manager::Apt } else { Manager::Dnf }, line).map(|package| package.line)
        })
        .collect();
    lines.sort();
    lines
}

pub(super) fn list<'a>(manager: Manager, lines: impl Iterator<Item = &'a str>) -> List {
    let mut list = List::new();
    for package in lines.filter_map(|line| Package::parse(manager, line)) {
        list.entry(package.name).or_default().insert(package.line);
    }
    list
}

/// What a run has done to the lines of a name.
pub(super) struct Trace {
    pub(super) before: Held,
    pub(super) left: Held,
}

/// What commands have done to a list, put together.
#[derive(Default)]
pub(super) struct Traces(pub(super) BTreeMap<String, Trace>);

impl Traces {
    pub(super) fn add(&mut self, before: &List, name: &str, after: Held) {
        let before = before.get(name).cloned().unwrap_or_default();
        if before != after {
            let trace = self.0.entry(name.to_owned());
            trace
                .or_insert(Trace {
                    before,
                    left: Held::new(),
                })
                .left = after;
        }
    }

    pub(super) fn add_listed(&mut self, manager: Manager, before: &List, listed: &Listed) {
        let came = list(manager, listed.came.iter().map(String::as_str));
        let went = list(manager, listed.went.iter().map(String::as_str));
        let names: BTreeSet<&String> = came.keys().chain(went.keys()).collect();
        for name in names {
            let mut after = before.get(name).cloned().unwrap_or_default();
            after.retain(|line| went.get(name).is_none_or(|went| !went.contains(line)));
            after.extend(came.get(name).cloned().unwrap_or_default());
            self.add(before, name, after);
        }
    }
}

/// The lists that commands of the run found, each with what it changed in it, where that is known.
pub(super) fn deeds(records: &[Record]) -> Vec<(&Probe, &Answer, Option<&Listed>)> {
    let mut deeds: Vec<(&Probe, &Answer, Option<&Listed>)> = Vec::new();
    for record in records {
        match &record.deed {
            Deed::Act(act) if act.whole => {
                let facts = act.facts.iter().filter(|fact| fact.key.starts_with(PACKAGES));
                deeds.extend(
                    facts
                        .filter_map(|fact| fact.before.as_ref())
                        .map(|(probe, list)| (probe, list, None)),
                );
            }
            Deed::Packages(listed) => {
                if let Some((.., after)) = deeds.iter_mut().find(|(.., after)| after.is_none()) {
                    *after = Some(listed);
                }
            }
            _ => {}
        }
    }
    deeds
}
