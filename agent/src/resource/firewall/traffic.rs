//! What is let in, in ports and protocols: services by name, ports as people write them, sets without overlaps.

use super::{Rule, Zone};
use crate::order::{sort, sort_by};
use crate::resource::network::Network;
use std::net::IpAddr;

/// Services that both programs know: name, ports, protocols without ports. As firewalld's files have them.
pub(super) const SERVICES: &[(&str, &[&str], &[&str])] = &[
    ("ssh", &["22/tcp"], &[]),
    ("dns", &["53/tcp+udp"], &[]),
    ("dhcp", &["67/udp"], &[]),
    ("dhcpv6-client", &["546/udp"], &[]),
    ("ntp", &["123/udp"], &[]),
    ("tftp", &["69/udp"], &[]),
    ("http", &["80/tcp"], &[]),
    ("https", &["443/tcp"], &[]),
    ("kube-apiserver", &["6443/tcp"], &[]),
    ("etcd-client", &["2379/tcp"], &[]),
    ("etcd-server", &["2380/tcp"], &[]),
    ("cockpit", &["9090/tcp"], &[]),
    ("mdns", &["5353/udp"], &[]),
    ("nfs", &["2049/tcp"], &[]),
    ("ipsec", &["500/udp", "4500/tcp+udp"], &["esp", "ah"]),
];

/// Protocols without ports, with their numbers (IANA).
pub(super) const PROTOCOLS: &[(&str, u8)] = &[
    ("icmp", 1),
    ("igmp", 2),
    ("gre", 47),
    ("esp", 50),
    ("ah", 51),
    ("ipv6-icmp", 58),
    ("ospf", 89),
    ("vrrp", 112),
];

/// The port of VXLAN, RFC 7348.
pub(super) const VXLAN: u16 = 4789;

/// A range of ports with its protocol, `tcp`, `udp` or `sctp`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ports {
    pub(super) protocol: &'static str,
    pub(super) first: u16,
    pub(super) last: u16,
}

impl Ports {
    /// `6443`, or `9000-9999`.
    pub(super) fn numbers(&self) -> String {
        if self.first == self.last { self.first.to_string() } else { format!("{}-{}", self.first, self.last) }
    }
}

/// Reads `6443/tcp`, `9000-9999/udp`, `53/tcp+udp`.
pub(super) fn ports(text: &str) -> Result<Vec<Ports>, String> {
    let Some((numbers, protocols)) = text.split_once('/') else {
        return Err(format!("`{text}` needs its protocol: {text}/tcp, {text}/udp or {text}/tcp+udp"));
    };
    let wrong = || format!("`{text}` is not a port such as 6443/tcp or 9000-9999/udp");
    let (first, last) = numbers.split_once('-').unwrap_or((numbers, numbers));
    let (first, last): (u16, u16) = (first.trim().parse().map_err(|_| wrong())?, last.trim().parse().map_err(|_| wrong())?);
    if first == 0 {
        return Err(wrong());
    }
    if last < first {
        return Err(format!("the range of ports `{text}` ends before it begins"));
    }
    let known = |word: &str| ["tcp", "udp", "sctp"].into_iter().find(|known| *known == word).ok_or_else(wrong);
    protocols.split('+').map(|word| Ok(Ports { protocol: known(word.trim())?, first, last })).collect()
}

/// What a zone or a rule lets in, without names.
pub(super) struct Traffic {
    pub(super) ports: Vec<Ports>,
    /// Numbers.
    pub(super) protocols: Vec<u8>,
}

impl Traffic {
    pub(super) fn of_zone(zone: &Zone) -> Self {
        Traffic::new(&zone.services, &zone.ports, &zone.protocols)
    }

    pub(super) fn of_rule(rule: &Rule) -> Self {
        Traffic::new(&rule.services, &rule.ports, &rule.protocols)
    }

    fn new(services: &[String], texts: &[String], protocols: &[String]) -> Self {
        let services: Vec<_> = SERVICES.iter().filter(|(name, ..)| services.iter().any(|service| service == name)).collect();
        let texts = services.iter().flat_map(|(_, ports, _)| ports.iter().copied()).chain(texts.iter().map(String::as_str));
        let names = services.iter().flat_map(|(.., names)| names.iter().copied());
        let names: Vec<&str> = names.chain(protocols.iter().map(String::as_str)).collect();
        let numbers = PROTOCOLS.iter().filter(|(name, _)| names.contains(name));
        Traffic {
            ports: apart(texts.filter_map(|text| ports(text).ok()).flatten().collect()),
            protocols: numbers.map(|(_, number)| *number).collect(),
        }
    }
}

/// The same ports in ranges that share none, sorted.
pub(super) fn apart(mut ranges: Vec<Ports>) -> Vec<Ports> {
    sort(&mut ranges);
    let mut out: Vec<Ports> = Vec::new();
    for range in ranges {
        match out.last_mut() {
            Some(before) if before.protocol == range.protocol && range.first <= before.last => {
                before.last = before.last.max(range.last);
            }
            _ => out.push(range),
        }
    }
    out
}

/// An address as a network of one.
pub(super) fn network(text: &str) -> Result<Network, String> {
    match text.parse::<IpAddr>() {
        Ok(address) => Network::new(&format!("{address}/{}", if address.is_ipv4() { 32 } else { 128 })),
        Err(_) if text.contains('/') => Network::new(text),
        Err(_) => Err(format!("`{text}` is neither an address nor a network")),
    }
}

/// Addresses and networks of one family, sorted, without those that others hold.
pub(super) fn family(texts: &[String], v4: bool) -> Vec<String> {
    let mut all: Vec<(Network, &String)> = texts.iter().filter_map(|text| Some((network(text).ok()?, text))).collect();
    sort_by(&mut all, |(one, _), (other, _)| (one.address, one.prefix).cmp(&(other.address, other.prefix)));
    all.dedup_by_key(|(network, _)| *network);
    let alone = |network: Network| {
        !all.iter().any(|(other, _)| *other != network && other.prefix < network.prefix && other.contains(network.address))
    };
    let mine = all.iter().filter(|(network, _)| network.address.is_ipv4() == v4 && alone(*network));
    mine.map(|(_, text)| (*text).clone()).collect()
}
