//! The machine's name, now and at the next boot.

use super::acting::failed;
use super::content::{self, Attributes, Content, Placing};
use super::{Resource, ResourceError, View};
use crate::diff::Change;
use crate::ledger::Thing;
use crate::params;
use crate::path::AbsPath;
use crate::system::{Action, Answer, Effect, Probe, System};
use crate::value::{Map, map};
use serde::Serialize;

params! {
    /// Gives the machine a name.
    pub struct Hostname {
        /// The name, with or without a domain.
        name: String,
    }
}

/// The name that the kernel has, and the file from which it has it at boot.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct State {
    name: String,
    file: Content,
}

impl View for State {
    fn changes(&self, want: &Self) -> Vec<Change> {
        let mut changes = self.file.changes(&want.file);
        changes.extend(content::field("", "hostname", &self.name, &want.name));
        changes
    }
}

/// The probe of the kernel's name for the machine.
#[must_use]
pub fn probe() -> Probe {
    Probe::new("hostname", &["uname", "-n"])
}

impl Resource for Hostname {
    const NAMES: &'static [&'static str] = &["hostname", "ansible.builtin.hostname"];
    const EXAMPLE: &'static str = "- name: Name\n  hostname:\n    name: services.okd.example.org\n";
    const PREDICTS: &'static str = "everything, facts that are gathered later too";
    type World = dyn System;
    type State = State;

    fn manages(&self) -> Vec<Thing> {
        vec![Thing::new("hostname", "")]
    }

    fn check(&self) -> Result<(), Vec<String>> {
        let label = |label: &str| {
            !label.is_empty()
                && label.len() <= 63
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        if self.name.len() > 64 || !self.name.split('.').all(label) {
            return Err(vec![format!(
                "`{}` is not a host name: labels of letters, digits and hyphens, at most 64 characters in all",
                self.name
            )]);
        }
        Ok(())
    }

    fn inspect(&self, world: &Self::World) -> Result<State, ResourceError> {
        let path = AbsPath::new("/etc/hostname").map_err(ResourceError::message)?;
        let name = super::acting::ask(world, &probe())?.text().trim().to_owned();
        Ok(State { name, file: Content::inspect(&path, &Attributes::default(), world)? })
    }

    fn desire(&self, now: &State) -> Result<State, ResourceError> {
        let says = now.file.text()?.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
        let file = if says == Some(self.name.as_str()) {
            now.file.clone()
        } else {
            now.file.with(format!("{}\n", self.name).into_bytes(), &Attributes::default())
        };
        Ok(State { name: self.name.clone(), file })
    }

    fn apply(&self, now: &State, want: &State, world: &Self::World) -> Result<Map, ResourceError> {
        if now.file != want.file {
            now.file.place(&want.file, &Placing::default(), world)?;
        }
        // hostnamectl tells running services too; it needs systemd and its bus.
        let either = "hostnamectl set-hostname \"$1\" 2>/dev/null || hostname \"$1\"";
        let effect = || {
            Effect::predicts(probe().key, Answer::ok(format!("{}\n", want.name)))
                .back(&["/bin/sh", "-c", either, "sh", &now.name])
        };
        let asked = Action::new(&["hostnamectl", "set-hostname", &want.name], effect());
        if !world.act(&asked)?.success() {
            let plain = Action::new(&["hostname", &want.name], effect());
            let answer = world.act(&plain)?;
            if !answer.success() {
                return Err(failed(&plain.argv, &answer));
            }
        }
        Ok(Map::new())
    }

    fn result(&self, state: &State) -> Map {
        let facts = map([
            ("ansible_hostname", state.name.split('.').next().unwrap_or_default().into()),
            ("ansible_nodename", state.name.as_str().into()),
        ]);
        map([("name", self.name.as_str().into()), ("ansible_facts", facts.into())])
    }
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::param::Params;
    use crate::resource::converge;
    use crate::resource::laws::laws;
    use crate::system::fake::Fake;

    fn host(name: &str, file: Option<&str>) -> Fake {
        let fake = Fake::new()
            .fact("hostname", Answer::ok(format!("{name}\n")))
            .command(&["hostnamectl"], Answer::default());
        match file {
            Some(text) => fake.file("/etc/hostname", text),
            None => fake,
        }
    }

    #[test]
    pub(crate) fn a_name_keeps_the_laws() {
        let hostname = Hostname::decode(&map([("name", "ns1.example.org".into())])).unwrap();
        for name in ["localhost", "ns1.example.org"] {
            for file in [None, Some("localhost\n"), Some("# name\nns1.example.org\n")] {
                laws(&hostname, || host(name, file));
            }
        }
        let bare = host("localhost", None).command(&["hostnamectl"], Answer::status(1)).command(&["hostname"], Answer::default());
        converge(&hostname, &bare as &(dyn System + 'static), None).unwrap();
        assert_eq!(bare.log().last().map(String::as_str), Some("act hostname ns1.example.org"));
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for bad in ["", "a_b", "-a", "a..b", &"x".repeat(65)] {
            assert!(Hostname { name: bad.to_owned() }.check().is_err(), "{bad}");
        }
    }
}
