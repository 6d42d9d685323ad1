//! What firewalld lets through, in the running firewall and in its permanent configuration.

mod rule;
mod thing;

use super::systemd::{self, show};
use super::{Resource, ResourceError, View};
use crate::diff::{Change, Sign};
use crate::ledger;
use crate::path::AbsPath;
use crate::system::guard::Risk;
use crate::system::{Answer, System};
use crate::value::{Map, map};
use crate::{choice, params};
use serde::Serialize;
pub(super) use rule::{Rule, Which};
pub(super) use thing::Thing;

choice! {
    /// Whether it is let through, or a zone is there.
    pub enum Wanted {
        /// Let through.
        Enabled = "enabled",
        /// Not let through.
        Disabled = "disabled",
        /// The zone is there.
        Present = "present",
        /// The zone is not there.
        Absent = "absent",
    }
}

params! {
    /// Makes sure that firewalld lets something through or not. One thing a task.
    pub struct Firewalld {
        /// `enabled` or `disabled`; for a zone itself `present` or `absent`.
        state: Wanted,
        /// A service that firewalld knows, such as `dns`.
        service: Option<String>,
        /// A port or range with its protocol, such as `6443/tcp`.
        port: Option<String>,
        /// A protocol, such as `ospf`.
        protocol: Option<String>,
        /// A rule in firewalld's rich language.
        rich_rule: Option<String>,
        /// A source address or network that belongs to the zone.
        source: Option<String>,
        /// An interface that belongs to the zone.
        interface: Option<String>,
        /// Masquerading of what leaves through the zone.
        masquerade: Option<bool>,
        /// A kind of ICMP message to block.
        icmp_block: Option<String>,
        /// Turns the meaning of `icmp_block` around.
        icmp_block_inversion: Option<bool>,
        /// Forwarding between the zone's own interfaces.
        forward: Option<bool>,
        /// The zone; left out, the default one.
        zone: Option<String>,
        /// In the permanent configuration, for the next start of firewalld.
        permanent: bool = "no",
        /// In the running firewall; left out: where `permanent` is not set.
        immediate: Option<bool>,
        /// Where firewalld does not run, change its permanent configuration alone.
        offline: bool = "no",
        /// Seconds after which the running firewall forgets it.
        timeout: u64 = "0",
    }
}

/// Whether it is let through, in each of the two configurations that count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct State {
    zone: String,
    what: String,
    runtime: Option<bool>,
    permanent: Option<bool>,
    /// Whether the permanent configuration has to be changed without firewalld.
    offline: bool,
    /// Whether firewalld itself is still to be installed.
    promised: bool,
}

impl View for State {
    fn changes(&self, want: &Self) -> Vec<Change> {
        let runtime = want.runtime.filter(|_| self.runtime != want.runtime);
        let permanent = want.permanent.filter(|_| self.permanent != want.permanent);
        let item = |on: bool, which: &str| Change::Item {
            sign: if on { Sign::Added } else { Sign::Removed },
            text: format!("{} in zone {} ({which})", self.what, self.zone),
        };
        match (runtime, permanent) {
            (Some(on), Some(_)) => vec![item(on, "now and permanently")],
            (Some(on), None) => vec![item(on, "now")],
            (None, Some(on)) => vec![item(on, "permanently")],
            (None, None) => Vec::new(),
        }
    }
}

impl Firewalld {
    fn things(&self) -> Vec<Thing> {
        let text = |name: fn(String) -> Thing, value: &Option<String>| value.clone().map(name);
        let flag = |thing: Thing, value: Option<bool>| value.map(|_| thing);
        let things = [
            text(Thing::Service, &self.service),
            text(Thing::Port, &self.port),
            text(Thing::Protocol, &self.protocol),
            text(Thing::RichRule, &self.rich_rule),
            text(Thing::Source, &self.source),
            text(Thing::Interface, &self.interface),
            text(Thing::IcmpBlock, &self.icmp_block),
            flag(Thing::Masquerade, self.masquerade),
            flag(Thing::IcmpBlockInversion, self.icmp_block_inversion),
            flag(Thing::Forward, self.forward),
        ];
        things.into_iter().flatten().collect()
    }

    fn thing(&self) -> Thing {
        self.things().into_iter().next().unwrap_or(Thing::Zone)
    }

    /// Whether it should be there; `masquerade: false` with `enabled` means that it should not.
    fn on(&self) -> bool {
        let flag = self.masquerade.or(self.icmp_block_inversion).or(self.forward).unwrap_or(true);
        matches!(self.state, Wanted::Enabled | Wanted::Present) == flag
    }

    fn immediate(&self) -> bool {
        self.thing() != Thing::Zone && self.immediate.unwrap_or(!self.permanent)
    }

    fn zone(&self, world: &dyn System) -> Result<String, ResourceError> {
        if let Some(zone) = &self.zone {
            return Ok(zone.clone());
        }
        let path = AbsPath::new("/etc/firewalld/firewalld.conf").map_err(ResourceError::message)?;
        let text = world.read(&path, 1 << 20)?.unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let zone = text.lines().filter_map(|line| line.trim().strip_prefix("DefaultZone=")).next_back();
        Ok(zone.map(str::trim).filter(|zone| !zone.is_empty()).unwrap_or("public").to_owned())
    }

    fn rule(&self, which: Which, zone: &str) -> Rule {
        Rule { which, zone: zone.to_owned(), thing: self.thing() }
    }

    fn change(&self, which: Which, zone: &str, world: &dyn System) -> Result<(), ResourceError> {
        let rule = self.rule(which, zone);
        let text = if self.on() { rule.thing.listed(zone) } else { String::new() };
        let seen = Answer { predicted: text.is_empty(), ..Answer::ok(text) };
        let timeout = (which == Which::Runtime && self.timeout > 0 && self.on()).then(|| format!("--timeout={}", self.timeout));
        rule.change(self.on(), timeout, seen, world)
    }
}

impl Resource for Firewalld {
    const NAMES: &'static [&'static str] = &["firewalld", "ansible.posix.firewalld"];
    const EXAMPLE: &'static str = "- name: The API is reachable\n  firewalld:\n    port: 6443/tcp\n    permanent: true\n    immediate: true\n    state: enabled\n";
    const PREDICTS: &'static str = "everything; a firewalld that a package of the plan brings is taken to have its zones as firewalld.zones(5) has them";
    type World = dyn System;
    type State = State;

    fn manages(&self) -> Vec<ledger::Thing> {
        let all = [&self.zone, &self.service, &self.port, &self.protocol, &self.rich_rule, &self.source, &self.interface];
        let mut parts: Vec<&str> = all.into_iter().chain([&self.icmp_block]).map(|part| part.as_deref().unwrap_or_default()).collect();
        let flags = [("masquerade", self.masquerade), ("icmp_block_inversion", self.icmp_block_inversion), ("forward", self.forward)];
        parts.extend(flags.into_iter().filter(|(_, flag)| flag.is_some()).map(|(name, _)| name));
        parts.retain(|part| !part.is_empty());
        vec![ledger::Thing::of("firewalld", &parts)]
    }

    fn check(&self) -> Result<(), Vec<String>> {
        let mut problems = Vec::new();
        let things = self.things();
        let of_zone = matches!(self.state, Wanted::Present | Wanted::Absent);
        if things.len() > 1 {
            let names: Vec<String> = things.iter().map(|thing| format!("`{thing}`")).collect();
            problems.push(format!("one thing a task: {} are several", names.join(" and ")));
        }
        if things.is_empty() && !of_zone {
            problems.push("`service`, `port`, `rich_rule` or another parameter says what is let through".to_owned());
        }
        if of_zone && !things.is_empty() {
            problems.push("`present` and `absent` are for a zone itself; what it lets through is `enabled` or `disabled`".to_owned());
        }
        if of_zone && (self.zone.is_none() || !self.permanent) {
            problems.push("a zone is made or removed by `zone` and `permanent: true`".to_owned());
        }
        if self.port.as_ref().is_some_and(|port| !port.contains('/')) {
            problems.push("`port` needs its protocol, such as `6443/tcp`".to_owned());
        }
        if self.timeout > 0 && self.permanent {
            problems.push("`timeout` goes with the running firewall only, not with `permanent`".to_owned());
        }
        if !self.permanent && self.immediate == Some(false) {
            problems.push("neither `permanent` nor `immediate`: nothing would change".to_owned());
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    fn inspect(&self, world: &Self::World) -> Result<State, ResourceError> {
        let zone = self.zone(world)?;
        let program = AbsPath::new("/usr/bin/firewall-cmd").map_err(ResourceError::message)?;
        let installed = world.stat(&program)?.is_some();
        let promised = !installed && !world.promised().is_empty();
        if !installed && !promised {
            return Err(ResourceError::message("firewalld is not installed on this host"));
        }
        let running = promised || show("firewalld.service", systemd::Manager::System, world)?.runs();
        if !running && !self.offline {
            return Err(ResourceError::message(
                "firewalld does not run; `offline: true` changes its permanent configuration alone",
            ));
        }
        let mut state =
            State { zone, what: self.thing().to_string(), runtime: None, permanent: None, offline: !running, promised };
        let zone = &state.zone;
        let brought = promised && self.thing().is_brought(zone);
        if self.permanent || !running {
            let seen = if running { self.rule(Which::Permanent, zone).look(world)? } else { None };
            let seen = if seen.is_none() && installed { self.rule(Which::Offline, zone).look(world)? } else { seen };
            state.permanent = Some(seen.unwrap_or(brought));
        }
        if self.immediate() && running {
            let seen = self.rule(Which::Runtime, zone).look(world)?;
            // A firewall that will have been started has then what its permanent configuration has now.
            let seen = if seen.is_none() && installed { self.rule(Which::Offline, zone).look(world)? } else { seen };
            state.runtime = Some(seen.unwrap_or(brought));
        }
        Ok(state)
    }

    fn desire(&self, now: &State) -> Result<State, ResourceError> {
        Ok(State {
            runtime: now.runtime.map(|_| self.on()),
            permanent: now.permanent.map(|_| self.on()),
            ..now.clone()
        })
    }

    fn apply(&self, now: &State, want: &State, world: &Self::World) -> Result<Map, ResourceError> {
        if now.permanent != want.permanent {
            self.change(if now.offline { Which::Offline } else { Which::Permanent }, &now.zone, world)?;
        }
        if now.runtime != want.runtime {
            self.change(Which::Runtime, &now.zone, world)?;
        }
        Ok(Map::new())
    }

    fn result(&self, state: &State) -> Map {
        map([("zone", state.zone.as_str().into()), ("msg", format!("{} {}", self.thing(), self.state.word()).into())])
    }

    fn risks(&self) -> Vec<Risk> {
        vec![Risk::Firewall]
    }

    fn notes(&self, now: &State, _want: &State) -> Vec<String> {
        if now.promised {
            vec!["firewalld is still to be installed; its zones are taken to be as firewalld.zones(5) has them".to_owned()]
        } else {
            Vec::new()
        }
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
    use crate::value::Value;

    const LISTED: &str = "public (active)\n  target: default\n  icmp-block-inversion: no\n  interfaces: eth0\n  sources: \n  services: cockpit dhcpv6-client ssh\n  ports: 8000-8010/tcp\n  protocols: \n  forward: yes\n  masquerade: no\n  forward-ports: \n  source-ports: \n  icmp-blocks: \n  rich rules: \n\trule family=\"ipv4\" source address=\"10.0.0.0/8\" accept\n";

    fn host(active: &str) -> Fake {
        Fake::new()
            .file("/usr/bin/firewall-cmd", "")
            .fact("unit:firewalld.service", Answer::ok(format!("LoadState=loaded\nActiveState={active}\nSubState=running\n")))
            .command(&["firewall-cmd"], Answer::ok(LISTED))
            .command(&["firewall-offline-cmd"], Answer::ok(LISTED))
            .command(&["firewall-cmd", "--zone=public", "--query-port=6443/tcp"], Answer::status(1))
            .command(&["firewall-cmd", "--permanent", "--zone=public", "--query-port=6443/tcp"], Answer::status(1))
            .command(&["firewall-cmd", "--permanent", "--get-zones"], Answer::ok("block dmz public\n"))
    }

    fn firewalld(args: &[(&str, &str)]) -> Firewalld {
        Firewalld::decode(&args.iter().map(|(name, value)| ((*name).to_owned(), Value::from(*value))).collect()).unwrap()
    }

    #[test]
    pub(crate) fn the_firewall_keeps_the_laws() {
        for thing in [
            ("service", "ssh"), ("service", "dns"), ("port", "6443/tcp"), ("masquerade", "yes"), ("masquerade", "no"),
            ("interface", "eth0"), ("source", "10.1.0.0/16"), ("forward", "yes"),
            ("rich_rule", "rule family=ipv4 source address=10.0.0.0/8 accept"),
        ] {
            for state in ["enabled", "disabled"] {
                for permanent in ["yes", "no"] {
                    laws(&firewalld(&[thing, ("state", state), ("permanent", permanent), ("immediate", "yes")]), || host("active"));
                }
                laws(&firewalld(&[thing, ("state", state), ("permanent", "yes"), ("offline", "yes")]), || host("inactive"));
                laws(&firewalld(&[thing, ("state", state)]), || host("inactive"));
            }
        }
        for state in ["present", "absent"] {
            for zone in ["dmz", "cluster"] {
                laws(&firewalld(&[("zone", zone), ("state", state), ("permanent", "yes")]), || host("active"));
            }
        }
    }

    fn acts(args: &[(&str, &str)], active: &str) -> Vec<String> {
        let host = host(active);
        converge(&firewalld(args), &host as &(dyn System + 'static), None).unwrap();
        host.log().iter().map(|line| line.trim_start_matches("act ").to_owned()).collect()
    }

    #[test]
    fn only_what_is_missing_is_changed() {
        let both = [("permanent", "yes"), ("immediate", "yes"), ("state", "enabled")];
        let with = |thing: (&'static str, &'static str)| [&[thing], &both[..]].concat();
        assert_eq!(acts(&with(("service", "ssh")), "active"), Vec::<String>::new());
        assert_eq!(acts(&with(("port", "8005/tcp")), "active"), Vec::<String>::new());
        assert_eq!(
            acts(&with(("port", "6443/tcp")), "active"),
            ["firewall-cmd --permanent --zone=public --add-port=6443/tcp", "firewall-cmd --zone=public --add-port=6443/tcp"]
        );
        let offline = [("service", "dns"), ("permanent", "yes"), ("offline", "yes"), ("state", "enabled")];
        assert_eq!(acts(&offline, "inactive"), ["firewall-offline-cmd --zone=public --add-service=dns"]);
        let removed = [("rich_rule", "rule family=ipv4 source address=10.0.0.0/8 accept"), ("state", "disabled")];
        assert_eq!(
            acts(&removed, "active"),
            ["firewall-cmd --zone=public --remove-rich-rule=rule family=ipv4 source address=10.0.0.0/8 accept"]
        );
    }

    #[test]
    fn a_firewall_that_the_plan_installs_is_predicted() {
        use crate::system::{Action, Declared, Effect};
        use crate::system::overlay::Overlay;
        let plan = Overlay::new(std::sync::Arc::new(Fake::new()));
        let brings = Effect::Declared(Declared { brings: vec!["firewalld".to_owned()], ..Declared::default() });
        plan.act(&Action::new(&["dnf", "install", "firewalld"], brings)).unwrap();
        let dns = firewalld(&[("service", "dns"), ("state", "enabled"), ("permanent", "yes"), ("immediate", "yes")]);
        let outcome = converge(&dns, &plan as &(dyn System + 'static), None).unwrap();
        let text = "service dns in zone public (now and permanently)".to_owned();
        assert_eq!(outcome.diff, [Change::Item { sign: Sign::Added, text }]);
        assert_eq!(converge(&dns, &plan as &(dyn System + 'static), None).unwrap().diff, []);
        let failure = converge(&dns, &Fake::new() as &(dyn System + 'static), None).unwrap_err();
        assert_eq!(failure.message, "firewalld is not installed on this host");
    }

    #[test]
    fn contradictions_are_refused() {
        for (args, word) in [
            (&[("state", "enabled")][..], "says what"),
            (&[("state", "enabled"), ("service", "a"), ("port", "1/tcp")], "several"),
            (&[("state", "present"), ("service", "a")], "zone itself"),
            (&[("state", "enabled"), ("port", "80")], "protocol"),
        ] {
            assert!(firewalld(args).check().unwrap_err().join(" ").contains(word), "{word}");
        }
    }
}
