//! Groups of users.

use super::acting::run;
use super::line::Presence;
use super::{Resource, ResourceError, View};
use crate::diff::{Change, Sign};
use crate::ledger::Thing;
use crate::system::{Action, Answer, Effect, Probe, System};
use crate::value::{Map, Value, map};
use crate::params;
use serde::Serialize;

params! {
    /// Makes sure that a group exists or not.
    pub struct Group {
        /// The group's name.
        name: String,
        /// Whether it should exist.
        state: Presence = "present",
        /// Its number.
        gid: Option<u64>,
        /// Make it with a number of the system's range.
        system: bool = "no",
        /// Let the number be another group's too.
        non_unique: bool = "no",
        /// Remove it though it is a user's primary group.
        force: bool = "no",
    }
}

/// What there is of the group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct State {
    name: String,
    /// Its number; `Some(None)`: in a plan, of a group whose number nobody has chosen yet.
    gid: Option<Option<u64>>,
}

impl View for State {
    fn changes(&self, want: &Self) -> Vec<Change> {
        let item = |sign| Change::Item { sign, text: format!("group {}", self.name) };
        match (&self.gid, &want.gid) {
            (None, Some(_)) => vec![item(Sign::Added)],
            (Some(_), None) => vec![item(Sign::Removed)],
            (Some(before), Some(after)) if before != after => {
                let shown = |gid: &Option<u64>| gid.map_or("?".to_owned(), |gid| gid.to_string());
                vec![Change::Field {
                    of: format!("group {}", self.name),
                    name: "gid".to_owned(),
                    before: shown(before),
                    after: shown(after),
                }]
            }
            _ => Vec::new(),
        }
    }
}

/// The probe of a group by name or number: its line of group(5), status 2 where there is none.
#[must_use]
pub fn probe(name: &str) -> Probe {
    Probe::new(format!("group:{name}"), &["getent", "group", name])
}

/// A group's number by its name; the outer `None` where there is none, the inner where it is not chosen yet.
///
/// # Errors
/// The world's, or getent's failure.
pub fn find(name: &str, world: &dyn System) -> Result<Option<Option<u64>>, ResourceError> {
    let probe = probe(name);
    let answer = world.probe(&probe)?;
    match answer.rc {
        0 => Ok(answer.text().lines().next().map(|line| line.split(':').nth(2).and_then(|gid| gid.parse().ok()))),
        2 => Ok(None),
        _ => Err(super::acting::failed(&probe.argv, &answer)),
    }
}

impl Group {
    fn line(&self, gid: Option<u64>) -> Answer {
        Answer::ok(format!("{}:x:{}:\n", self.name, gid.map(|gid| gid.to_string()).unwrap_or_default()))
    }

    fn command(&self, program: &str, options: &[String], effect: Effect) -> Action {
        let mut argv = vec![program.to_owned()];
        argv.extend(options.iter().cloned());
        argv.push(self.name.clone());
        Action { argv, ..Action::new(&[], effect) }
    }
}

impl Resource for Group {
    const NAMES: &'static [&'static str] = &["group", "ansible.builtin.group"];
    const EXAMPLE: &'static str = "- name: Operators\n  group:\n    name: operators\n    gid: 4000\n";
    const PREDICTS: &'static str = "everything but the number of a new group for which none is given";
    type World = dyn System;
    type State = State;

    fn manages(&self) -> Vec<Thing> {
        vec![Thing::new("group", &self.name)]
    }

    fn inspect(&self, world: &Self::World) -> Result<State, ResourceError> {
        Ok(State { name: self.name.clone(), gid: find(&self.name, world)? })
    }

    fn desire(&self, now: &State) -> Result<State, ResourceError> {
        let gid = match self.state {
            Presence::Absent => None,
            Presence::Present => Some(self.gid.or(now.gid.flatten())),
        };
        Ok(State { gid, ..now.clone() })
    }

    fn apply(&self, now: &State, want: &State, world: &Self::World) -> Result<Map, ResourceError> {
        let key = probe(&self.name).key;
        let Some(gid) = want.gid else {
            let force = if self.force { vec!["-f".to_owned()] } else { Vec::new() };
            run(world, &self.command("groupdel", &force, Effect::predicts(key, Answer::status(2))))?;
            return Ok(Map::new());
        };
        let mut options: Vec<String> = Vec::new();
        if let Some(gid) = gid.filter(|_| now.gid != want.gid) {
            options.extend(["-g".to_owned(), gid.to_string()]);
        }
        if self.non_unique && gid.is_some() {
            options.push("-o".to_owned());
        }
        if self.system && now.gid.is_none() {
            options.push("-r".to_owned());
        }
        let program = if now.gid.is_none() { "groupadd" } else { "groupmod" };
        let effect = Effect::predicts(key, self.line(gid));
        run(world, &self.command(program, &options, effect))?;
        Ok(Map::new())
    }

    fn result(&self, state: &State) -> Map {
        let mut result = map([("name", self.name.as_str().into()), ("state", self.state.word().into())]);
        if let Some(gid) = state.gid.flatten().and_then(|gid| i64::try_from(gid).ok()) {
            result.insert("gid".to_owned(), Value::Int(gid));
        }
        result
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

    fn host() -> Fake {
        ["groupadd", "groupmod", "groupdel", "gpasswd"].iter().fold(
            Fake::new()
                .fact("group:wheel", Answer::ok("wheel:x:10:auto\n"))
                .fact("group:new", Answer::status(2)),
            |fake, program| fake.command(&[program], Answer::default()),
        )
    }

    #[test]
    pub(crate) fn groups_keep_the_laws() {
        for name in ["wheel", "new"] {
            for state in ["present", "absent"] {
                laws(&Group::decode(&map([("name", name.into()), ("state", state.into())])).unwrap(), host);
            }
            laws(&Group::decode(&map([("name", name.into()), ("gid", 4000.into())])).unwrap(), host);
        }
    }

    #[test]
    fn a_group_is_made_with_its_number() {
        let host = host();
        let group = Group::decode(&map([("name", "new".into()), ("gid", 4000.into()), ("system", true.into())])).unwrap();
        converge(&group, &host as &(dyn System + 'static), None).unwrap();
        assert_eq!(host.log(), ["act groupadd -g 4000 -r new"]);
    }
}
