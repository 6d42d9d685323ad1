//! Unit files of systemd, and drop-ins for units that a package brings; systemd reads them again when they change.

use super::acting::run;
use super::content::{self, Attributes, Content, Placing};
use super::line::Presence;
use super::systemd::{Manager, Unit as Seen, full_name, key, show};
use super::{Resource, ResourceError, View};
use crate::diff::Change;
use crate::ledger::Thing;
use crate::params;
use crate::path::{AbsPath, Mode};
use crate::system::local::nanos_now;
use crate::system::{Action, Effect, System};
use crate::value::{Map, map};
use serde::Serialize;
use std::thread::sleep;
use std::time::Duration;

params! {
    /// Makes sure that a unit file, or a drop-in for one, has this content, and that systemd has read it.
    pub struct Unit {
        /// The unit; `.service` may be left out.
        name: String ["unit"],
        /// The file's content.
        content: Option<String>,
        /// The name of a drop-in; left out, the unit file itself is meant.
        dropin: Option<String>,
        /// Whether it should be there.
        state: Presence = "present",
        /// Permission bits.
        mode: Mode = "0644",
    }
}

/// The file, and what systemd knows of the unit.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct State {
    file: Content,
    unit: Seen,
    /// Whether systemd has read the file as it is.
    loaded: bool,
}

impl View for State {
    fn changes(&self, want: &Self) -> Vec<Change> {
        let mut changes = self.file.changes(&want.file);
        if !changes.is_empty() || self.loaded != want.loaded {
            changes.push(Change::Act("systemctl daemon-reload".to_owned()));
        }
        changes
    }
}

impl Unit {
    fn path(&self) -> Result<AbsPath, ResourceError> {
        let name = full_name(&self.name);
        let path = match &self.dropin {
            Some(dropin) => format!("/etc/systemd/system/{name}.d/{}.conf", dropin.trim_end_matches(".conf")),
            None => format!("/etc/systemd/system/{name}"),
        };
        AbsPath::new(&path).map_err(ResourceError::message)
    }

    fn attributes(&self) -> Attributes {
        Attributes { mode: Some(self.mode.clone()), owner: None, group: None }
    }

    /// What systemd will know of the unit once it has read the file.
    fn after(&self, now: &Seen, want: &Content) -> Seen {
        let here = self.dropin.is_some() || want.bytes.is_some();
        match (now.exists(), here) {
            (false, true) => Seen { fragment: want.path.to_string(), ..Seen::promised() },
            // What runs was started before this is written.
            (_, true) => Seen { stale: false, entered: now.entered.min(1), ..now.clone() },
            (_, false) => Seen { load: "not-found".to_owned(), active: "inactive".to_owned(), ..Seen::default() },
        }
    }
}

impl Resource for Unit {
    const NAMES: &'static [&'static str] = &["okd.unit"];
    const EXAMPLE: &'static str = "- name: The name server restarts when it fails\n  okd.unit:\n    name: named\n    dropin: restart\n    content: |\n      [Service]\n      Restart=on-failure\n";
    const PREDICTS: &'static str = "everything";
    type World = dyn System;
    type State = State;

    fn manages(&self) -> Vec<Thing> {
        vec![Thing::of("unit", &[&full_name(&self.name), self.dropin.as_deref().unwrap_or_default()])]
    }

    fn check(&self) -> Result<(), Vec<String>> {
        let mut problems = Vec::new();
        if self.state == Presence::Present && self.content.is_none() {
            problems.push("`content` says what the file holds".to_owned());
        }
        let names = std::iter::once(&self.name).chain(&self.dropin);
        problems.extend(
            names.filter(|name| name.is_empty() || name.contains(['/', ' '])).map(|name| format!("`{name}` is not a unit's name")),
        );
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    fn inspect(&self, world: &Self::World) -> Result<State, ResourceError> {
        let file = Content::inspect(&self.path()?, &self.attributes(), world)?;
        let unit = show(&full_name(&self.name), Manager::System, world)?;
        let expected = !unit.exists() && self.dropin.is_some() && !world.promised().is_empty();
        if self.dropin.is_none() && !unit.exists() && file.bytes.is_none() && self.state == Presence::Present {
            content::need_parent(&file.path, world)?;
        }
        let loaded = !unit.stale && (unit.exists() || file.bytes.is_none() || expected);
        Ok(State { file, unit, loaded })
    }

    fn desire(&self, now: &State) -> Result<State, ResourceError> {
        let file = match &self.content {
            Some(content) if self.state == Presence::Present => {
                let mut text = content.clone();
                if !text.ends_with('\n') {
                    text.push('\n');
                }
                now.file.with(text.into_bytes(), &self.attributes())
            }
            _ => Content::absent(now.file.path.clone()),
        };
        let unit = self.after(&now.unit, &file);
        let same = file.bytes == now.file.bytes;
        Ok(State { loaded: now.loaded || !same || file.bytes.is_some(), file, unit })
    }

    fn apply(&self, now: &State, want: &State, world: &Self::World) -> Result<Map, ResourceError> {
        let mut result = Map::new();
        if now.file != want.file {
            if let Some(folder) = want.file.path.parent().filter(|_| want.file.bytes.is_some()) {
                super::file::make_directories(&folder, 0o755, world)?;
            }
            later_than(&now.unit, world);
            result = now.file.place(&want.file, &Placing::default(), world)?;
        }
        let effect = Effect::predicts(key(&full_name(&self.name)), want.unit.answer());
        run(world, &Action::new(&["systemctl", "daemon-reload"], effect))?;
        Ok(result)
    }

    fn result(&self, state: &State) -> Map {
        map([("path", state.file.path.as_str().into()), ("name", full_name(&self.name).into())])
    }
}

/// No tick of the kernel's is longer, in nanoseconds.
const TICK: u64 = 20_000_000;

/// Lets the second pass in which a unit was started: systemd and files tell times in seconds, and what is written now has
/// to be newer than what runs. The time of a file may lag behind the clock by one of the kernel's ticks.
fn later_than(unit: &Seen, world: &dyn System) {
    let is_now = || nanos_now().saturating_sub(TICK) / 1_000_000_000 == unit.entered.cast_unsigned();
    while unit.runs() && !world.predicted() && is_now() {
        sleep(Duration::from_millis(20));
    }
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::param::Params;
    use crate::resource::converge;
    use crate::resource::laws::{laws, laws_with_secret, placeholder};
    use crate::system::Answer;
    use crate::system::fake::Fake;
    use crate::value::Value;

    fn host() -> Fake {
        Fake::new()
            .dir("/etc/systemd/system")
            .fact("unit:new.service", Answer::ok("LoadState=not-found\nActiveState=inactive\n"))
            .fact("unit:named.service", Answer::ok("LoadState=loaded\nActiveState=active\nSubState=running\nUnitFileState=enabled\n"))
            .command(&["systemctl"], Answer::default())
    }

    fn unit(args: &[(&str, &str)]) -> Unit {
        Unit::decode(&args.iter().map(|(name, value)| ((*name).to_owned(), Value::from(*value))).collect()).unwrap()
    }

    #[test]
    pub(crate) fn unit_files_keep_the_laws() {
        for name in ["new", "named"] {
            laws(&unit(&[("name", name), ("content", "[Service]\nExecStart=/bin/true")]), host);
            laws(&unit(&[("name", name), ("content", "[Service]\nRestart=always\n"), ("dropin", "restart")]), host);
            laws(&unit(&[("name", name), ("state", "absent")]), host);
            let secret = format!("[Service]\nEnvironment=TOKEN={}\n", placeholder());
            laws_with_secret(&unit(&[("name", name), ("content", &secret)]), host);
        }
    }

    #[test]
    fn a_written_unit_can_be_started_in_the_same_plan() {
        use crate::resource::service::Service;
        use crate::system::overlay::Overlay;
        let plan = Overlay::new(std::sync::Arc::new(host()));
        let file = unit(&[("name", "new"), ("content", "[Service]\nExecStart=/bin/true\n")]);
        converge(&file, &plan as &(dyn System + 'static), None).unwrap();
        let start = Service::decode(&map([("name", "new".into()), ("state", "started".into())])).unwrap();
        assert_eq!(converge(&start, &plan as &(dyn System + 'static), None).unwrap().diff.len(), 1);
    }
}
