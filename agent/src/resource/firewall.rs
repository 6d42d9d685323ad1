//! What a host lets in and through: zones by interface, described once for two programs, firewalld and nftables.

mod firewalld;
mod nftables;
mod problems;
mod traffic;

use super::layout::Family;
use super::systemd::{Manager, show};
use super::transaction::{self, FileSet, Watch, is_or_will_be, live};
use super::{Resource, ResourceError, View};
use crate::diff::Change;
use crate::ledger::Thing;
use crate::system::System;
use crate::system::guard::Risk;
use crate::value::{Map, Value};
use crate::{choice, params};
use serde::Serialize;

choice! {
    /// Which program filters.
    pub enum Backend {
        /// firewalld where it is installed or the plan installs it, nftables elsewhere.
        Auto = "auto",
        /// firewalld.
        Firewalld = "firewalld",
        /// A table of its own in nftables, loaded at boot by nftables.service.
        Nftables = "nftables",
    }
}

choice! {
    /// What becomes of what nothing lets in.
    pub enum Target {
        /// It is refused, and the asker is told; ICMP is let in.
        Reject = "reject",
        /// It vanishes.
        Drop = "drop",
        /// It is let in.
        Accept = "accept",
    }
}

params! {
    /// Says what a host lets in by each of its zones, and what it forwards between them, as a router does. It is the whole
    /// of what its zones let in; what others filter beside it is left alone, and shown.
    ///
    /// With firewalld it owns the zones' files and policies of its own, with nftables one table, `inet okd_play`. The files
    /// are checked before they are swapped, loaded at once, and put back when they do not load. A port that holds
    /// VXLAN has to have sources, since VXLAN knows no passwords.
    pub struct Firewall {
        /// Which program filters.
        backend: Backend = "auto",
        /// The zones. Interfaces that are in none of them are left alone.
        zones: Vec<Zone>,
        /// What is forwarded, besides answers.
        forward: Vec<Forward>,
        /// Whether it starts at boot.
        enabled: bool = "yes",
    }
}

params! {
    /// Interfaces, and what is let in by them.
    pub struct Zone {
        /// Its name; those of firewalld.zones(5) are `internal`, `external`, `public` and others.
        name: String,
        /// Its interfaces.
        interfaces: Vec<String> ["interface"],
        /// Services by name, such as `ssh` or `dns`, which is TCP and UDP.
        services: Vec<String> ["service"],
        /// Ports or ranges with their protocol: `6443/tcp`, `9000-9999/udp`, `30000-32767/tcp+udp`.
        ports: Vec<String> ["port"],
        /// Protocols that have no ports, such as `esp`.
        protocols: Vec<String> ["protocol"],
        /// What is let in only from some addresses.
        rules: Vec<Rule>,
        /// Whether IPv4 packets that leave by it get this host's address.
        masquerade: bool = "no",
        /// Networks whose packets alone get it.
        masquerade_sources: Vec<String>,
        /// What becomes of everything else.
        target: Target = "reject",
    }
}

params! {
    /// What is let in only from some addresses.
    pub struct Rule {
        /// Addresses and networks.
        sources: Vec<String> ["source", "from"],
        /// Services by name.
        services: Vec<String> ["service"],
        /// Ports or ranges with their protocol.
        ports: Vec<String> ["port"],
        /// Protocols that have no ports.
        protocols: Vec<String> ["protocol"],
    }
}

params! {
    /// Connections that may be opened through the host.
    pub struct Forward {
        /// The zone that they come from.
        from: String,
        /// The zone that they go to.
        to: String,
    }
}

/// The program that filters on this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
enum Program {
    Firewalld,
    Nftables,
}

/// What can be seen of a host's firewall.
#[derive(Debug, Clone, Serialize)]
pub struct State {
    program: Program,
    service: transaction::State,
    /// Connections of NetworkManager whose interfaces are in zones, with the zone that they ask for.
    connections: Vec<firewalld::Connection>,
    /// What else filters or is open, in sentences. It may move while a plan is read.
    #[serde(skip)]
    beside: Vec<String>,
}

impl View for State {
    fn changes(&self, want: &Self) -> Vec<Change> {
        let mut changes = self.service.changes(&want.service);
        let pairs = self.connections.iter().zip(&want.connections);
        changes.extend(pairs.filter(|(now, want)| now.zone != want.zone).map(|(now, want)| Change::Field {
            of: format!("connection of {}", now.interface),
            name: "zone".to_owned(),
            before: now.zone.clone(),
            after: want.zone.clone(),
        }));
        changes
    }
}

impl Firewall {
    fn program(&self, world: &dyn System) -> Result<Program, ResourceError> {
        Ok(match self.backend {
            Backend::Firewalld => Program::Firewalld,
            Backend::Nftables => Program::Nftables,
            Backend::Auto if is_or_will_be(firewalld::UNIT, "firewalld", world)? => Program::Firewalld,
            Backend::Auto => Program::Nftables,
        })
    }

    fn watch(&self, program: Program) -> Watch {
        match program {
            Program::Firewalld => firewalld::watch(self),
            Program::Nftables => nftables::watch(),
        }
    }

    fn set(&self, now: &State) -> FileSet {
        match now.program {
            Program::Firewalld => firewalld::set(self),
            Program::Nftables => nftables::set(self, &now.service),
        }
    }

    fn zone(&self, name: &str) -> Option<&Zone> {
        self.zones.iter().find(|zone| zone.name == name)
    }
}

/// What is seen of a running firewall.
#[derive(Debug, Default)]
struct Running {
    /// Whether it does not have all that its files say.
    drifted: bool,
    beside: Vec<String>,
}

impl Resource for Firewall {
    const NAMES: &'static [&'static str] = &["firewall", "okd.firewall"];
    const EXAMPLE: &'static str = "- name: Firewall\n  firewall:\n    zones:\n      - name: internal\n        interfaces: [eth1]\n        services: [ssh, dns, dhcp]\n        ports: [6443/tcp, 22623/tcp, 80/tcp, 443/tcp, 8080/tcp]\n      - name: external\n        interfaces: [eth0]\n        ports: [22/tcp, 6443/tcp, 80/tcp, 443/tcp]\n        rules:\n          - {sources: [192.0.2.7, 192.0.2.8], port: 4789/udp}\n        masquerade: true\n    forward:\n      - {from: internal, to: external}\n";
    const PREDICTS: &'static str =
        "every file byte for byte, the unit's state, and what the checker says where it is installed";
    type World = dyn System;
    type State = State;

    fn manages(&self) -> Vec<Thing> {
        vec![Thing::new("firewall", "")]
    }

    fn check(&self) -> Result<(), Vec<String>> {
        let problems = problems::problems(self);
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    fn inspect(&self, world: &Self::World) -> Result<State, ResourceError> {
        let family = Family::of(world)?;
        let program = self.program(world)?;
        if program == Program::Nftables
            && show(firewalld::UNIT, Manager::System, world).is_ok_and(|firewalld| firewalld.runs())
        {
            return Err(ResourceError::message(
                "firewalld runs on this host and would filter besides nftables: take `backend: firewalld`, or stop and disable it first",
            ));
        }
        let mut service = transaction::inspect(&self.watch(program), family, world)?;
        let running = match program {
            Program::Firewalld if service.unit.active() => firewalld::running(self, &service, world)?,
            Program::Firewalld => Running::default(),
            Program::Nftables => nftables::running(self, &service, world)?,
        };
        service.owed |= running.drifted;
        let connections = match program {
            Program::Firewalld => firewalld::connections(self, world)?,
            Program::Nftables => Vec::new(),
        };
        let files = service.foreign.iter().map(|file| format!("{file} is somebody else's"));
        let beside = running.beside.into_iter().chain(files).collect();
        Ok(State { program, service, connections, beside })
    }

    fn desire(&self, now: &State) -> Result<State, ResourceError> {
        let mut want = now.clone();
        want.service = transaction::desire(&self.set(now), &now.service);
        for connection in &mut want.connections {
            let zone = self.zones.iter().find(|zone| zone.interfaces.contains(&connection.interface));
            connection.zone = zone.map(|zone| zone.name.clone()).unwrap_or_default();
        }
        Ok(want)
    }

    fn apply(&self, now: &State, want: &State, world: &Self::World) -> Result<Map, ResourceError> {
        let added = transaction::apply(&self.set(now), &now.service, &want.service, world)?;
        for (now, want) in now.connections.iter().zip(&want.connections) {
            if now.zone != want.zone {
                want.take_zone(&now.zone, world)?;
            }
        }
        Ok(added)
    }

    fn result(&self, state: &State) -> Map {
        let mut result = transaction::result(&state.service);
        let backend = match state.program {
            Program::Firewalld => Backend::Firewalld,
            Program::Nftables => Backend::Nftables,
        };
        result.insert("backend".to_owned(), backend.word().into());
        result.insert("beside".to_owned(), Value::from(state.beside.clone()));
        result
    }

    fn risks(&self) -> Vec<Risk> {
        vec![Risk::Firewall]
    }

    fn notes(&self, now: &State, _want: &State) -> Vec<String> {
        let mut notes = transaction::notes(&self.set(now), &now.service);
        notes.extend(now.beside.iter().map(|sentence| format!("beside: {sentence}")));
        notes
    }
}

#[cfg(test)]
pub(crate) mod tests;
