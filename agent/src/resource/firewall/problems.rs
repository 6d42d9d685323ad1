//! What is wrong with a firewall's description, said before anything is contacted.

use super::traffic::{self, PROTOCOLS, SERVICES, VXLAN};
use super::{Firewall, Zone};
use std::collections::BTreeMap;

pub(super) fn problems(firewall: &Firewall) -> Vec<String> {
    let mut problems = Vec::new();
    if firewall.zones.is_empty() {
        problems.push("a firewall needs at least one of `zones`".to_owned());
    }
    let mut names: BTreeMap<&str, u32> = BTreeMap::new();
    let mut holders: BTreeMap<&str, &str> = BTreeMap::new();
    for zone in &firewall.zones {
        *names.entry(&zone.name).or_default() += 1;
        problems.extend(zone_problems(zone).into_iter().map(|problem| format!("zone {}: {problem}", zone.name)));
        for interface in &zone.interfaces {
            if let Some(other) = holders.insert(interface, &zone.name) {
                problems.push(format!("{interface} is in two zones, {other} and {}", zone.name));
            }
        }
    }
    let twice = names.into_iter().filter(|(_, times)| *times > 1);
    problems.extend(twice.map(|(name, _)| format!("zone {name} is there twice")));
    for forward in &firewall.forward {
        for name in [&forward.from, &forward.to] {
            if firewall.zone(name).is_none() {
                problems.push(format!("forward: there is no zone `{name}` among `zones`"));
            }
        }
        if forward.from == forward.to {
            problems.push(format!("forward: what stays in zone {} is forwarded anyway", forward.to));
        }
    }
    problems
}

/// firewalld takes no longer names.
const LONGEST_NAME: usize = 17;

fn zone_problems(zone: &Zone) -> Vec<String> {
    let mut problems = Vec::new();
    let good = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
    if zone.name.is_empty() || zone.name.len() > LONGEST_NAME || !zone.name.chars().all(good) {
        problems.push(format!("a zone's name is up to {LONGEST_NAME} letters, digits, `_` and `-`"));
    }
    if zone.interfaces.is_empty() {
        problems.push("it has no interface, so nothing would come in by it".to_owned());
    }
    problems.extend(zone.interfaces.iter().filter_map(|name| interface(name)));
    problems.extend(traffic_problems(&zone.services, &zone.ports, &zone.protocols));
    let open = zone.ports.iter().filter_map(|text| traffic::ports(text).ok()).flatten();
    if open.into_iter().any(|ports| ports.protocol == "udp" && (ports.first, ports.last) == (VXLAN, VXLAN)) {
        problems.push(format!(
            "{VXLAN}/udp is open to everybody, and VXLAN has no authentication; name the peers: `rules: [{{sources: [...], port: {VXLAN}/udp}}]`"
        ));
    }
    for rule in &zone.rules {
        problems.extend(traffic_problems(&rule.services, &rule.ports, &rule.protocols));
        if rule.services.is_empty() && rule.ports.is_empty() && rule.protocols.is_empty() {
            problems.push("a rule says what is let in: `services`, `ports` or `protocols`".to_owned());
        }
        if rule.sources.is_empty() {
            problems.push("a rule says from where: `sources`".to_owned());
        }
        problems.extend(rule.sources.iter().filter_map(|source| traffic::network(source).err()));
    }
    for source in &zone.masquerade_sources {
        match traffic::network(source) {
            Ok(network) if network.address.is_ipv4() => {}
            Ok(_) => problems.push(format!("`masquerade_sources`: {source} is IPv6, which needs no masquerading")),
            Err(problem) => problems.push(problem),
        }
    }
    problems
}

fn traffic_problems(services: &[String], ports: &[String], protocols: &[String]) -> Vec<String> {
    let mut problems: Vec<String> = ports.iter().filter_map(|text| traffic::ports(text).err()).collect();
    let list = |names: Vec<&str>| names.join(", ");
    for name in services.iter().filter(|name| !SERVICES.iter().any(|(known, ..)| known == name)) {
        let known = list(SERVICES.iter().map(|(known, ..)| *known).collect());
        problems.push(format!("there is no service `{name}`; say its ports, or one of {known}"));
    }
    for name in protocols.iter().filter(|name| !PROTOCOLS.iter().any(|(known, _)| known == name)) {
        let known = list(PROTOCOLS.iter().map(|(known, _)| *known).collect());
        problems.push(format!("`{name}` is not a protocol without ports: {known}"));
    }
    problems
}

/// What is wrong with an interface's name; see IFNAMSIZ in netdevice(7).
fn interface(name: &str) -> Option<String> {
    let good = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let fits = !name.is_empty() && name.len() < 16 && name.chars().all(good);
    (!fits).then(|| format!("`{name}` is not an interface's name"))
}
