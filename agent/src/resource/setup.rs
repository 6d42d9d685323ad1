//! Facts: what a machine is, as Ansible names it.

use super::acting::ask;
use super::facts::{self, GATHER, Gathered};
use super::packages::glob;
use super::{Resource, ResourceError, View, Touches};
use crate::diff::Change;
use crate::params;
use crate::path::AbsPath;
use crate::system::{Probe, System};
use crate::value::{Map, Value, map};
use serde::Serialize;

params! {
    /// Gathers facts about the machine.
    pub struct Setup {
        /// Which: `all`, `min`, `hardware`, `network`, `virtual`, `local`; with `!` in front: not those.
        gather_subset: Vec<String> = "all",
        /// Seconds for gathering.
        gather_timeout: u64 = "10",
        /// Only facts whose names match one of these patterns.
        filter: Vec<String>,
        /// Where the machine's owner keeps facts of his own.
        fact_path: AbsPath = "/etc/ansible/facts.d",
    }
}

/// The facts. They are seen, never changed, and differ from moment to moment: nothing of them counts as the state.
#[derive(Debug, Clone, Serialize)]
pub struct State {
    #[serde(skip)]
    facts: Map,
}

impl View for State {
    fn changes(&self, _want: &Self) -> Vec<Change> {
        Vec::new()
    }
}

const SUBSETS: &[&str] = &["all", "min", "hardware", "network", "virtual", "local"];

/// Single facts that Ansible also takes as subsets; they are among the minimal ones, which always come.
const MINIMAL: &[&str] = &[
    "apparmor", "caps", "cmdline", "date_time", "distribution", "dns", "env", "fips", "lsb", "pkg_mgr", "platform",
    "python", "selinux", "service_mgr", "ssh_pub_keys", "user", "default_ipv4", "interfaces", "mounts", "devices",
];

impl Setup {
    /// Whether a subset is asked for; the last word about it decides, as exclusions follow inclusions.
    fn wants(&self, subset: &str) -> bool {
        let says = |name: &str| self.gather_subset.iter().any(|asked| asked == name);
        if says(&format!("!{subset}")) {
            return false;
        }
        let of_network = subset == "network" && ["default_ipv4", "interfaces", "dns"].iter().any(|name| says(name));
        let of_hardware = subset == "hardware" && ["mounts", "devices"].iter().any(|name| says(name));
        let positive = self.gather_subset.iter().any(|asked| !asked.starts_with('!'));
        says(subset) || of_network || of_hardware || says("all") || (!positive && !says("!all"))
    }
}

impl Resource for Setup {
    const NAMES: &'static [&'static str] =
        &["setup", "ansible.builtin.setup", "gather_facts", "ansible.builtin.gather_facts"];
    const EXAMPLE: &'static str = "- name: Facts about the network\n  setup:\n    gather_subset: [network]\n";
    const PREDICTS: &'static str = "it changes nothing; a plan gathers facts as a run does";
    const TOUCHES: Touches = Touches::Nothing;
    type World = dyn System;
    type State = State;

    fn check(&self) -> Result<(), Vec<String>> {
        let known = |name: &str| SUBSETS.contains(&name) || MINIMAL.contains(&name);
        let asked = self.gather_subset.iter().map(|name| name.trim_start_matches('!'));
        let unknown: Vec<String> = asked.filter(|name| !known(name)).map(|name| format!("there are no facts `{name}`")).collect();
        if unknown.is_empty() { Ok(()) } else { Err(unknown) }
    }

    fn inspect(&self, world: &Self::World) -> Result<State, ResourceError> {
        let mut probe = Probe::new("facts", &["/bin/sh", "-c", GATHER]);
        probe.timeout = Some(self.gather_timeout.max(1));
        let parts = Gathered::parse(&ask(world, &probe)?.text());
        let node = ask(world, &Probe::new("hostname", &["uname", "-n"]))?.text();
        let mut gathered = if self.gather_subset.iter().any(|name| name == "!min") {
            Map::new()
        } else {
            facts::minimal(&parts, node.trim())
        };
        if self.wants("network") {
            gathered.extend(facts::network(&parts));
        }
        if self.wants("hardware") {
            gathered.extend(facts::hardware(&parts));
        }
        if self.wants("virtual") {
            gathered.extend(facts::virtualization(&parts));
        }
        gathered.insert("local".to_owned(), Value::Map(facts::local(&self.fact_path, world)?));
        let subsets = self.gather_subset.iter().map(|name| Value::from(name.as_str())).collect();
        gathered.extend(map([("gather_subset", Value::List(subsets)), ("module_setup", true.into())]));
        if !self.filter.is_empty() {
            let asked = |name: &str| {
                self.filter.iter().any(|pattern| glob(pattern, name) || glob(pattern, &format!("ansible_{name}")))
            };
            gathered.retain(|name, _| asked(name));
        }
        Ok(State { facts: gathered })
    }

    fn desire(&self, now: &State) -> Result<State, ResourceError> {
        Ok(now.clone())
    }

    fn apply(&self, _now: &State, _want: &State, _world: &Self::World) -> Result<Map, ResourceError> {
        Ok(Map::new())
    }

    fn result(&self, state: &State) -> Map {
        map([("ansible_facts", Value::Map(state.facts.clone()))])
    }
}
