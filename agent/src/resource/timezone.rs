//! The machine's time zone.

use super::content::{self, Attributes, Content, Placing};
use super::{Resource, ResourceError, View};
use crate::diff::Change;
use crate::ledger::Thing;
use crate::params;
use crate::path::AbsPath;
use crate::system::{Make, System};
use crate::value::{Map, map};
use serde::Serialize;

params! {
    /// Sets the time zone.
    pub struct Timezone {
        /// The zone's name, such as `Europe/Berlin`.
        name: String,
    }
}

/// What `/etc/localtime` names, and Debian's `/etc/timezone`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct State {
    zone: String,
    /// Whether `/etc/localtime` is a file, which is no name.
    copied: bool,
    file: Content,
}

impl View for State {
    fn changes(&self, want: &Self) -> Vec<Change> {
        let mut changes: Vec<Change> = content::field("", "time zone", &self.zone, &want.zone).into_iter().collect();
        changes.extend(self.file.changes(&want.file));
        changes
    }
}

const ZONES: &str = "/usr/share/zoneinfo";
const LOCAL: &str = "/etc/localtime";

fn path(text: &str) -> Result<AbsPath, ResourceError> {
    AbsPath::new(text).map_err(ResourceError::message)
}

impl Resource for Timezone {
    const NAMES: &'static [&'static str] = &["timezone", "community.general.timezone"];
    const EXAMPLE: &'static str = "- name: Time zone\n  timezone:\n    name: Europe/Berlin\n";
    const PREDICTS: &'static str = "everything";
    type World = dyn System;
    type State = State;

    fn manages(&self) -> Vec<Thing> {
        vec![Thing::new("timezone", "")]
    }

    fn check(&self) -> Result<(), Vec<String>> {
        let fine = |c: char| c.is_ascii_alphanumeric() || "_-+/".contains(c);
        if self.name.is_empty() || self.name.starts_with('/') || !self.name.chars().all(fine) {
            return Err(vec![format!("`{}` is not a time zone such as Europe/Berlin", self.name)]);
        }
        Ok(())
    }

    fn inspect(&self, world: &Self::World) -> Result<State, ResourceError> {
        if world.stat(&path(&format!("{ZONES}/{}", self.name))?)?.is_none() && world.promised().is_empty() {
            return Err(ResourceError::message(format!("this host knows no time zone `{}` (in {ZONES})", self.name)));
        }
        let meta = world.stat(&path(LOCAL)?)?;
        let copied = meta.as_ref().is_some_and(|meta| meta.target.is_none());
        let target = meta.and_then(|meta| meta.target);
        let named = target.as_deref().and_then(|target| target.split_once("zoneinfo/")).map(|(_, zone)| zone);
        let unnamed = if copied { "of a copied file" } else { "UTC" };
        let file = Content::inspect(&path("/etc/timezone")?, &Attributes::default(), world)?;
        Ok(State { zone: named.unwrap_or(unnamed).to_owned(), copied, file })
    }

    fn desire(&self, now: &State) -> Result<State, ResourceError> {
        let file = if now.file.bytes.is_none() || now.file.text()?.trim() == self.name {
            now.file.clone()
        } else {
            now.file.with(format!("{}\n", self.name).into_bytes(), &Attributes::default())
        };
        Ok(State { zone: self.name.clone(), copied: now.copied && now.zone == self.name, file })
    }

    fn apply(&self, now: &State, want: &State, world: &Self::World) -> Result<Map, ResourceError> {
        if now.zone != want.zone {
            let target = format!("..{ZONES}/{}", want.zone);
            world.make(&path(LOCAL)?, &Make::Link { target })?;
        }
        if now.file != want.file {
            now.file.place(&want.file, &Placing::default(), world)?;
        }
        Ok(Map::new())
    }

    fn result(&self, state: &State) -> Map {
        map([("name", state.zone.as_str().into())])
    }
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::param::Params;
    use crate::resource::laws::laws;
    use crate::system::fake::Fake;

    fn host() -> Fake {
        Fake::new().file("/usr/share/zoneinfo/Europe/Berlin", "TZif").file("/usr/share/zoneinfo/Etc/UTC", "TZif")
    }

    #[test]
    pub(crate) fn a_zone_keeps_the_laws() {
        for zone in ["Europe/Berlin", "Etc/UTC", "Mars/Olympus"] {
            let timezone = Timezone::decode(&map([("name", zone.into())])).unwrap();
            laws(&timezone, host);
            laws(&timezone, || host().file("/etc/localtime", "TZif").file("/etc/timezone", "Etc/UTC\n"));
            laws(&timezone, || host().link("/etc/localtime", "/usr/share/zoneinfo/Europe/Berlin"));
        }
    }
}
