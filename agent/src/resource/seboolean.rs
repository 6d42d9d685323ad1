//! SELinux booleans. Where SELinux is off there is nothing to set, and that is said.

use super::acting::{ask, run};
use super::{Resource, ResourceError, View, content};
use crate::diff::Change;
use crate::ledger::Thing;
use crate::params;
use crate::path::AbsPath;
use crate::system::{Action, Answer, Declared, Effect, Probe, System};
use crate::value::{Map, map};
use serde::Serialize;

params! {
    /// Switches an SELinux boolean on or off.
    pub struct Seboolean {
        /// The boolean's name, such as `haproxy_connect_any`.
        name: String,
        /// On or off.
        state: bool,
        /// For the next boot too.
        persistent: bool = "no",
    }
}

/// What the boolean is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct State {
    name: String,
    /// What it is now; `None` where SELinux is off.
    live: Option<bool>,
    /// What was chosen for every boot; `None` where nothing was, or it does not count.
    stored: Option<bool>,
}

impl View for State {
    fn changes(&self, want: &Self) -> Vec<Change> {
        let word = |on: Option<bool>| match on {
            Some(true) => "on",
            Some(false) => "off",
            None => "",
        };
        let live = content::field(&self.name, "value", word(self.live), word(want.live));
        let stored = content::field(&self.name, "value at boot", word(self.stored), word(want.stored));
        live.or(stored).into_iter().collect()
    }
}

impl Seboolean {
    fn probe(&self) -> Probe {
        Probe::new(format!("seboolean:{}", self.name), &["getsebool", &self.name])
    }

    /// Whoever chose for every boot left a line in the policy store.
    fn stored(&self) -> Probe {
        let argv = ["grep", "-rhs", &format!("^{}=", self.name), "/var/lib/selinux", "--include=booleans.local"];
        Probe::new(format!("seboolean-stored:{}", self.name), &argv)
    }
}

impl Resource for Seboolean {
    const NAMES: &'static [&'static str] = &["seboolean", "ansible.posix.seboolean"];
    const EXAMPLE: &'static str =
        "- name: The load balancer may connect\n  seboolean:\n    name: haproxy_connect_any\n    state: true\n    persistent: true\n";
    const PREDICTS: &'static str = "everything";
    type World = dyn System;
    type State = State;

    fn manages(&self) -> Vec<Thing> {
        vec![Thing::new("seboolean", &self.name)]
    }

    fn check(&self) -> Result<(), Vec<String>> {
        let fine = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if self.name.is_empty() || !self.name.chars().all(fine) {
            return Err(vec![format!("`{}` is not a boolean's name", self.name)]);
        }
        Ok(())
    }

    fn inspect(&self, world: &Self::World) -> Result<State, ResourceError> {
        let enforce = AbsPath::new("/sys/fs/selinux/enforce").map_err(ResourceError::message)?;
        let mut state = State { name: self.name.clone(), live: None, stored: None };
        if world.stat(&enforce)?.is_none() {
            return Ok(state);
        }
        let answer = ask(world, &self.probe())?;
        state.live = Some(answer.text().trim_end().ends_with("on"));
        if self.persistent {
            let line = world.probe(&self.stored())?.text();
            state.stored = line.lines().last().map(|line| line.trim_end().ends_with("=1"));
        }
        Ok(state)
    }

    fn desire(&self, now: &State) -> Result<State, ResourceError> {
        Ok(State {
            live: now.live.map(|_| self.state),
            stored: now.stored.map(|_| self.state),
            ..now.clone()
        })
    }

    fn apply(&self, now: &State, _want: &State, world: &Self::World) -> Result<Map, ResourceError> {
        let (word, digit) = if self.state { ("on", 1) } else { ("off", 0) };
        let mut predicts = vec![(self.probe().key, Answer::ok(format!("{} --> {word}\n", self.name)))];
        let mut argv = vec!["setsebool"];
        if self.persistent {
            argv.push("-P");
            predicts.push((self.stored().key, Answer::ok(format!("{}={digit}\n", self.name))));
        }
        argv.extend([self.name.as_str(), word]);
        let word = |on: Option<bool>| if on == Some(true) { "on" } else { "off" };
        let effect = Effect::Declared(Declared { predicts, ..Declared::default() });
        // What runs may be another value than what is stored.
        let both = "setsebool -P \"$1\" \"$2\" && setsebool \"$1\" \"$3\"";
        let effect = match now.stored {
            Some(_) => effect.back(&["/bin/sh", "-c", both, "sh", &self.name, word(now.stored), word(now.live)]),
            None => effect.back(&["setsebool", &self.name, word(now.live)]),
        };
        run(world, &Action::new(&argv, effect))?;
        Ok(Map::new())
    }

    fn result(&self, state: &State) -> Map {
        let mut result = map([("name", self.name.as_str().into()), ("state", self.state.into())]);
        if state.live.is_none() {
            result.insert("skipped".to_owned(), true.into());
            result.insert("msg".to_owned(), "SELinux is off on this host".into());
        }
        result
    }
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::param::Params;
    use crate::resource::laws::laws;
    use crate::resource::{Status, converge};
    use crate::system::fake::Fake;

    fn host(live: &str, stored: &str) -> Fake {
        Fake::new()
            .file("/sys/fs/selinux/enforce", "1")
            .fact("seboolean:haproxy_connect_any", Answer::ok(format!("haproxy_connect_any --> {live}\n")))
            .fact("seboolean-stored:haproxy_connect_any", Answer::ok(stored))
            .command(&["setsebool"], Answer::default())
    }

    fn boolean(persistent: bool) -> Seboolean {
        let args = [("name", "haproxy_connect_any".into()), ("state", true.into()), ("persistent", persistent.into())];
        Seboolean::decode(&map(args)).unwrap()
    }

    #[test]
    pub(crate) fn booleans_keep_the_laws() {
        for live in ["on", "off"] {
            for stored in ["", "haproxy_connect_any=0\n", "haproxy_connect_any=1\n"] {
                laws(&boolean(true), || host(live, stored));
                laws(&boolean(false), || host(live, stored));
            }
        }
    }

    #[test]
    fn selinux_that_is_off_is_a_clear_skip() {
        let outcome = converge(&boolean(true), &Fake::new() as &(dyn System + 'static), None).unwrap();
        assert_eq!(outcome.status, Status::Same);
        assert_eq!(outcome.result["skipped"], true.into());
        assert!(outcome.result["msg"].to_string().contains("SELinux is off"));
    }
}
