//! Interfaces, addresses, default routes and name servers as facts.

use super::Gathered;
use crate::value::{Map, Value, map};
use std::net::Ipv4Addr;

#[derive(Debug, Default)]
struct Interface {
    name: String,
    mtu: i64,
    active: bool,
    promiscuous: bool,
    kind: String,
    mac: String,
    /// Address, prefix length, broadcast address.
    ipv4: Vec<(String, u32, String)>,
    /// Address, prefix length, scope.
    ipv6: Vec<(String, String, String)>,
}

/// Reads `ip addr show`.
fn interfaces(text: &str) -> Vec<Interface> {
    let mut found: Vec<Interface> = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let after = |key: &str| {
            words
                .iter()
                .position(|word| *word == key)
                .and_then(|at| words.get(at + 1))
                .copied()
        };
        if line.starts_with(|c: char| c.is_ascii_digit()) {
            let name = words.get(1).map_or("", |name| name.trim_end_matches(':'));
            found.push(Interface {
                name: name.split('@').next().unwrap_or(name).to_owned(),
                mtu: after("mtu").and_then(|mtu| mtu.parse().ok()).unwrap_or_default(),
                active: after("state").is_some_and(|state| state != "DOWN"),
                promiscuous: words.get(2).is_some_and(|flags| flags.contains("PROMISC")),
                ..Interface::default()
            });
            continue;
        }
        let Some(interface) = found.last_mut() else { continue };
        match words.as_slice() {
            [kind, mac, ..] if kind.starts_with("link/") => {
                (interface.kind, interface.mac) = (kind.trim_start_matches("link/").to_owned(), (*mac).to_owned());
            }
            ["inet", address, ..] => {
                let (address, prefix) = address.split_once('/').unwrap_or((address, "32"));
                let broadcast = after("brd").unwrap_or_default().to_owned();
                interface
                    .ipv4
                    .push((address.to_owned(), prefix.parse().unwrap_or(32), broadcast));
            }
            ["inet6", address, ..] => {
                let (address, prefix) = address.split_once('/').unwrap_or((address, "128"));
                let scope = after("scope").unwrap_or_default().to_owned();
                interface.ipv6.push((address.to_owned(), prefix.to_owned(), scope));
            }
            _ => {}
        }
    }
    found
}

fn ipv4((address, prefix, broadcast): &(String, u32, String)) -> Map {
    let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
    let network = address
        .parse::<Ipv4Addr>()
        .map_or(String::new(), |ip| Ipv4Addr::from(u32::from(ip) & mask).to_string());
    map([
        ("address", address.as_str().into()),
        ("broadcast", broadcast.as_str().into()),
        ("netmask", Ipv4Addr::from(mask).to_string().into()),
        ("network", network.into()),
        ("prefix", prefix.to_string().into()),
    ])
}

fn facts_of(interface: &Interface, links: &str) -> Map {
    let special = |what: &str| {
        links
            .split_whitespace()
            .any(|path| path == format!("/sys/class/net/{}/{what}", interface.name))
    };
    let kind = match interface.kind.as_str() {
        _ if special("bridge") => "bridge",
        _ if special("bonding") => "bonding",
        other => other,
    };
    let mut facts = map([
        ("device", interface.name.as_str().into()),
        ("active", interface.active.into()),
        ("promisc", interface.promiscuous.into()),
        ("mtu", interface.mtu.into()),
        ("type", kind.into()),
    ]);
    if kind != "loopback" && !interface.mac.is_empty() {
        facts.insert("macaddress".to_owned(), interface.mac.as_str().into());
    }
    let mut addresses = interface.ipv4.iter().map(ipv4).map(Value::Map);
    if let Some(first) = addresses.next() {
        facts.insert("ipv4".to_owned(), first);
    }
    let others: Vec<Value> = addresses.collect();
    if !others.is_empty() {
        facts.insert("ipv4_secondaries".to_owned(), Value::List(others));
    }
    let ipv6 = interface.ipv6.iter().map(|(address, prefix, scope)| {
        let facts = [("address", address), ("prefix", prefix), ("scope", scope)];
        Value::Map(map(facts.map(|(name, value)| (name, value.as_str().into()))))
    });
    if !interface.ipv6.is_empty() {
        facts.insert("ipv6".to_owned(), Value::List(ipv6.collect()));
    }
    facts
}

/// The interface that `ip route get` chose, with what a default route is known by.
fn default(route: &str, interfaces: &[Interface], six: bool) -> Map {
    let words: Vec<&str> = route.lines().next().unwrap_or_default().split_whitespace().collect();
    let after = |key: &str| {
        words
            .iter()
            .position(|word| *word == key)
            .and_then(|at| words.get(at + 1))
            .copied()
    };
    let (Some(device), Some(source)) = (after("dev"), after("src")) else {
        return Map::new();
    };
    let Some(interface) = interfaces.iter().find(|interface| interface.name == device) else {
        return Map::new();
    };
    let mut facts = if six {
        let address = interface.ipv6.iter().find(|(address, ..)| address == source);
        let (prefix, scope) = address.map_or(("", ""), |(_, prefix, scope)| (prefix, scope));
        map([
            ("address", source.into()),
            ("prefix", prefix.into()),
            ("scope", scope.into()),
        ])
    } else {
        let mut facts = interface
            .ipv4
            .iter()
            .find(|(address, ..)| address == source)
            .map(ipv4)
            .unwrap_or_default();
        facts.insert("alias".to_owned(), device.into());
        facts
    };
    facts.extend(map([
        ("gateway", after("via").unwrap_or_default().into()),
        ("interface", device.into()),
        ("macaddress", interface.mac.as_str().into()),
        ("mtu", interface.mtu.into()),
        ("type", interface.kind.as_str().into()),
    ]));
    facts
}

fn dns(resolv: &str) -> Map {
    let of = |key: &str| -> Vec<&str> {
        let lines = resolv.lines().map(str::split_whitespace);
        lines
            .filter_map(|mut words| (words.next() == Some(key)).then_some(words))
            .flatten()
            .collect()
    };
    let mut dns = Map::new();
    for (key, name) in [
        ("nameserver", "nameservers"),
        ("search", "search"),
        ("options", "options"),
    ] {
        let values = of(key);
        if !values.is_empty() {
            dns.insert(name.to_owned(), Value::from(values));
        }
    }
    if let Some(domain) = of("domain").first() {
        dns.insert("domain".to_owned(), (*domain).into());
    }
    dns
}

/// Interfaces, all addresses, default routes, name servers.
#[must_use]
pub fn network(parts: &Gathered) -> Map {
    let found = interfaces(parts.get("@addresses"));
    let real = || found.iter().filter(|interface| interface.kind != "loopback");
    let all4: Vec<&str> = real()
        .flat_map(|i| &i.ipv4)
        .map(|(address, ..)| address.as_str())
        .collect();
    let all6: Vec<&str> = real()
        .flat_map(|i| &i.ipv6)
        .map(|(address, ..)| address.as_str())
        .collect();
    let mut facts = map([
        (
            "interfaces",
            Value::from(
                found
                    .iter()
                    .map(|interface| interface.name.as_str())
                    .collect::<Vec<_>>(),
            ),
        ),
        ("default_ipv4", Value::Map(default(parts.get("@route4"), &found, false))),
        ("default_ipv6", Value::Map(default(parts.get("@route6"), &found, true))),
        ("all_ipv4_addresses", Value::from(all4)),
        ("all_ipv6_addresses", Value::from(all6)),
        ("dns", Value::Map(dns(parts.get("/etc/resolv.conf")))),
    ]);
    for interface in &found {
        facts.insert(
            interface.name.replace('-', "_"),
            Value::Map(facts_of(interface, parts.get("@links"))),
        );
    }
    facts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_routes() {
        let parts = Gathered::parse(
            "==> /etc/resolv.conf <==\n# made by hand\nnameserver 10.0.0.1\nnameserver 10.0.0.2\nsearch example.org\n\n==> @addresses <==\n1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN group default qlen 1000\n    link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00\n    inet 127.0.0.1/8 scope host lo\n       valid_lft forever preferred_lft forever\n2: br-ex@if7: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1400 qdisc pfifo_fast state UP group default qlen 1000\n    link/ether 02:fc:00:00:00:01 brd ff:ff:ff:ff:ff:ff\n    inet 192.0.2.130/25 brd 192.0.2.255 scope global br-ex\n    inet 192.0.2.131/25 scope global secondary br-ex\n    inet6 fe80::fc:ff:fe00:1/64 scope link \n\n==> @route4 <==\n8.8.8.8 via 192.0.2.129 dev br-ex src 192.0.2.130 uid 0 \n    cache \n\n==> @links <==\n/sys/class/net/br-ex/bridge /sys/class/net/*/bonding\n",
        );
        let facts = network(&parts);
        let text = |value: Option<&Value>| value.map(ToString::to_string).unwrap_or_default();
        let route = &facts["default_ipv4"];
        assert_eq!(text(route.get("gateway")), "192.0.2.129");
        assert_eq!(text(route.get("network")), "192.0.2.128");
        assert_eq!(text(route.get("netmask")), "255.255.255.128");
        assert_eq!(text(route.get("interface")), "br-ex");
        let bridge = &facts["br_ex"];
        assert_eq!(text(bridge.get("type")), "bridge");
        assert_eq!(
            bridge.get("ipv4_secondaries").and_then(Value::as_list).map(<[_]>::len),
            Some(1)
        );
        assert_eq!(
            text(facts.get("all_ipv4_addresses")),
            "[\"192.0.2.130\", \"192.0.2.131\"]"
        );
        assert_eq!(text(facts["dns"].get("nameservers")), "[\"10.0.0.1\", \"10.0.0.2\"]");
        assert_eq!(facts["default_ipv6"], Value::Map(Map::new()));
        assert_eq!(text(facts["lo"].get("type")), "loopback");
    }
}
