//! Takes a run back: what its records hold of this machine is put in place again. It is no module of playbooks;
//! `okd-play undo` asks for it, and it is planned, shown and applied like every kind.
//!
//! Each part of a machine is brought back to what it was before the run, where it is still what the run left; what somebody
//! has changed since is left alone and said, and so is what no record can bring back.

mod accounts;
mod devices;
mod facts;
mod firewall;
pub(super) mod packages;
mod paths;
mod units;

use super::{Resource, ResourceError, View};
use crate::diff::Change;
use crate::params;
use crate::system::journal::{Act, Deed, Record, read};
use crate::system::{Answer, Probe, System};
use crate::value::{Map, Value, map};
use accounts::Accounts;
use devices::DeviceSpot;
use facts::FactSpot;
use firewall::RuleSpot;
use packages::Packages;
use paths::Spot;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use units::{Tell, UnitSpot};

/// How the reason begins why something is left alone that is not what the run left.
pub const MOVED: &str = "it was changed since";

/// Why something is left alone that was changed since, and `how`, where that can be said.
fn moved_since(how: Option<&str>) -> String {
    let how = how.map(|how| format!(", {how}")).unwrap_or_default();
    format!("{MOVED}{how}; --force takes it back all the same")
}

params! {
    /// Takes back what a run did on this machine.
    pub struct Undo {
        /// The run's id.
        run: String,
        /// Also what somebody has changed since.
        force: bool = "no",
        /// Its name in the machine's ledger: microseconds since 1970.
        ledger: u64 = "0",
    }
}

/// What the run touched, as it is now and as it should be.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct State {
    paths: Vec<Spot>,
    accounts: Accounts,
    units: Vec<UnitSpot>,
    devices: Vec<DeviceSpot>,
    facts: Vec<FactSpot>,
    rules: Vec<RuleSpot>,
    packages: Packages,
    /// Commands that let something read what changes, in the order of the run.
    tell: Vec<Tell>,
    /// What stays as it is, and why.
    left: Vec<(String, String)>,
}

/// The commands of a run, and what was known before them.
struct Deeds<'a> {
    acts: Vec<&'a Act>,
    last: BTreeMap<&'a str, &'a Answer>,
    first: BTreeMap<&'a str, (&'a Probe, &'a Answer)>,
}

impl<'a> Deeds<'a> {
    fn of(records: &'a [Record]) -> Self {
        let acts: Vec<&Act> = records
            .iter()
            .filter_map(|record| match &record.deed {
                Deed::Act(act) => Some(act),
                _ => None,
            })
            .collect();
        let mut first = BTreeMap::new();
        for fact in acts.iter().flat_map(|act| &act.facts) {
            if let Some((probe, answer)) = &fact.before {
                first.entry(fact.key.as_str()).or_insert((probe, answer));
            }
        }
        let found = records.iter().filter_map(|record| match &record.deed {
            Deed::Found(facts) => Some(facts),
            _ => None,
        });
        let last = found.flatten().map(|(key, answer)| (key.as_str(), answer)).collect();
        Deeds { acts, first, last }
    }

    /// How a fact was asked for, and what it was before it was changed first.
    fn before(&self, key: &str) -> Option<(&'a Probe, &'a Answer)> {
        self.first.get(key).copied()
    }

    /// What the run left of a fact, where that was kept.
    fn found(&self, key: &str) -> Option<&'a Answer> {
        self.last.get(key).copied()
    }

    /// The names of the changed facts of a kind, in the order of the run.
    fn named(&self, kind: &str) -> Vec<&'a str> {
        let mut names: Vec<&str> = Vec::new();
        for fact in self.acts.iter().flat_map(|act| &act.facts) {
            if let Some(name) = fact.key.strip_prefix(kind)
                && !names.contains(&name)
            {
                names.push(name);
            }
        }
        names
    }

    /// Commands of which nobody knows all that they did.
    fn unknown(&self) -> Vec<(String, String)> {
        let mut left: Vec<(String, String)> = Vec::new();
        for act in self.acts.iter().filter(|act| !act.whole) {
            let command = format!("`{}`", act.argv.join(" "));
            if left.iter().all(|(other, _)| *other != command) {
                left.push((command, "what a command did is not known".to_owned()));
            }
        }
        left
    }
}

impl Undo {
    /// The name of the run in the machine's ledger.
    #[must_use]
    pub fn ledger(&self) -> u64 {
        self.ledger
    }
}

impl State {
    /// Whether anything changes that is read by something that runs.
    fn moves(&self, want: &State) -> bool {
        self.paths
            .iter()
            .zip(&want.paths)
            .any(|(now, want)| now.now != want.now)
    }

    /// What is told of the change: units that run and go on running, and first their manager.
    fn tellings(&self, want: &State) -> Vec<&Tell> {
        if !self.moves(want) {
            return Vec::new();
        }
        let stays = |name: &str| {
            self.units
                .iter()
                .zip(&want.units)
                .find(|(unit, _)| unit.name == name)
                .is_none_or(|(now, want)| now.now.runs && want.now.runs)
        };
        self.tell.iter().filter(|tell| tell.unit().is_none_or(stays)).collect()
    }
}

impl View for State {
    fn changes(&self, want: &Self) -> Vec<Change> {
        let mut changes = Vec::new();
        for (spot, wanted) in self.paths.iter().zip(&want.paths) {
            paths::changes(spot, &wanted.now, &mut changes);
        }
        self.accounts.changes(&want.accounts, &mut changes);
        for (unit, wanted) in self.units.iter().zip(&want.units) {
            unit.changes(wanted, &mut changes);
        }
        for (device, wanted) in self.devices.iter().zip(&want.devices) {
            device.changes(wanted, &mut changes);
        }
        for (fact, wanted) in self.facts.iter().zip(&want.facts) {
            if fact.now != wanted.now {
                changes.push(field(&fact.key, "", fact.now.trim(), wanted.now.trim()));
            }
        }
        changes.extend(
            self.rules
                .iter()
                .zip(&want.rules)
                .filter_map(|(rule, want)| rule.change(want)),
        );
        self.packages.changes(&want.packages, &mut changes);
        changes.extend(self.tellings(want).into_iter().map(Tell::change));
        changes
    }
}

fn field(of: &str, name: &str, before: &str, after: &str) -> Change {
    Change::Field {
        of: of.to_owned(),
        name: name.to_owned(),
        before: before.to_owned(),
        after: after.to_owned(),
    }
}

impl Resource for Undo {
    const NAMES: &'static [&'static str] = &["okd.undo"];
    const EXAMPLE: &'static str = "";
    const PREDICTS: &'static str = "everything that it takes back";
    type World = dyn System;
    type State = State;

    fn inspect(&self, world: &Self::World) -> Result<State, ResourceError> {
        let records = read(&self.run, world)?;
        let mut left = Vec::new();
        if records.is_empty() {
            left.push((
                "everything".to_owned(),
                "there are no records of that run on this host".to_owned(),
            ));
        }
        for record in &records {
            if let Deed::Gap(why) = &record.deed {
                left.push((
                    "a part of the run".to_owned(),
                    format!("it could not be recorded: {why}"),
                ));
            }
        }
        let deeds = Deeds::of(&records);
        left.extend(deeds.unknown());
        let accounts = accounts::look(&deeds, self.force, &mut left, world)?;
        let mut state = State {
            paths: Vec::new(),
            accounts,
            units: Vec::new(),
            devices: devices::look(&deeds, &records, self.force, &mut left, world)?,
            facts: facts::look(&deeds, world)?,
            rules: Vec::new(),
            packages: Packages::default(),
            tell: units::tellings(&deeds, world),
            left,
        };
        self.packages(&records, &mut state, world)?;
        state.rules = firewall::look(&deeds, state.packages.some_come(), &mut state.left, world)?;
        state.units = units::look(&deeds, &state.packages, world)?;
        self.paths(&records, &mut state, world)?;
        devices::together(&mut state, &deeds.named(devices::KIND));
        if !self.force {
            let back: BTreeSet<&str> = state.paths.iter().map(|spot| spot.path.as_str()).collect();
            state.packages.keep_configuration(&back, &mut state.left, world)?;
        }
        Ok(state)
    }

    fn desire(&self, now: &State) -> Result<State, ResourceError> {
        let mut want = now.clone();
        for spot in &mut want.paths {
            spot.now = spot.before.clone();
        }
        want.accounts.restored();
        for unit in &mut want.units {
            unit.now = unit.before;
        }
        for rule in &mut want.rules {
            rule.now = rule.before;
        }
        for device in &mut want.devices {
            device.now.clone_from(&device.before);
        }
        for fact in &mut want.facts {
            fact.now.clone_from(&fact.before);
        }
        want.packages.settle();
        Ok(want)
    }

    fn apply(&self, now: &State, want: &State, world: &Self::World) -> Result<Map, ResourceError> {
        devices::announce(&now.devices, world)?;
        // A firewall that is to stop says and hears nothing after that.
        let stops = now.units.iter().any(|unit| unit.name == firewall::UNIT && unit.stops());
        let (early, late) = now.rules.split_at(if stops { now.rules.len() } else { 0 });
        for rule in early {
            rule.back(world)?;
        }
        for unit in &now.units {
            unit.down(world)?;
        }
        now.accounts.up(world)?;
        now.packages.come(world)?;
        paths::clear(&now.paths, world)?;
        paths::put(&now.paths, world)?;
        facts::back(&now.facts, world)?;
        for rule in late {
            rule.back(world)?;
        }
        if now.packages.some_go() {
            now.packages.go(world)?;
            paths::after_packages(&now.paths, world)?;
        }
        now.accounts.down(world)?;
        let tellings = now.tellings(want);
        units::reread(&tellings, world)?;
        let (makers, others): (Vec<&UnitSpot>, Vec<&UnitSpot>) =
            now.units.iter().partition(|unit| devices::makes(&unit.name));
        makers.into_iter().try_for_each(|unit| unit.up(world))?;
        devices::up(&now.devices, world)?;
        others.into_iter().try_for_each(|unit| unit.up(world))?;
        for tell in tellings {
            tell.tell(world)?;
        }
        Ok(Map::new())
    }

    fn result(&self, state: &State) -> Map {
        let left = state
            .left
            .iter()
            .map(|(what, why)| Value::Map(map([("what", what.as_str().into()), ("why", why.as_str().into())])));
        map([("left", Value::List(left.collect()))])
    }
}
