//! What is wrong with a DHCP server's settings, said before anything is contacted.

use super::{Dhcpd, Reservation, Subnet};
use crate::resource::network::{Network, mac, range};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

pub(super) fn problems(dhcpd: &Dhcpd) -> Vec<String> {
    let mut problems = Vec::new();
    let networks: Vec<(Network, &Subnet)> =
        dhcpd.subnets.iter().filter_map(|subnet| Some((Network::new(&subnet.network).ok()?, subnet))).collect();
    for subnet in &dhcpd.subnets {
        problems.extend(subnet_problems(subnet));
    }
    for (index, (one, subnet)) in networks.iter().enumerate() {
        let others = networks.iter().skip(index + 1).filter(|(other, _)| one.overlaps(*other));
        problems.extend(others.map(|(_, other)| format!("subnets {} and {} overlap", subnet.network, other.network)));
    }
    for host in &dhcpd.hosts {
        problems.extend(host_problems(host, &networks));
    }
    problems.extend(twice("name", dhcpd.hosts.iter().map(|host| (host.name.to_ascii_lowercase(), &host.name))));
    problems.extend(twice("address", dhcpd.hosts.iter().map(|host| (host.ip.clone(), &host.name))));
    let macs = dhcpd.hosts.iter().filter_map(|host| Some((mac(&host.mac).ok()?, &host.name)));
    problems.extend(twice("hardware address", macs));
    for interface in &dhcpd.interfaces {
        let good = |c: char| c.is_ascii_alphanumeric() || "._-@".contains(c);
        if interface.is_empty() || interface.len() > 15 || !interface.chars().all(good) {
            problems.push(format!("`{interface}` is not an interface's name"));
        }
    }
    if dhcpd.subnets.is_empty() {
        problems.push("a DHCP server needs at least one of `subnets`".to_owned());
    }
    if dhcpd.default_lease_time > dhcpd.max_lease_time {
        problems.push("`default_lease_time` is longer than `max_lease_time`".to_owned());
    }
    problems
}

fn twice<'a>(what: &str, entries: impl Iterator<Item = (String, &'a String)>) -> Vec<String> {
    let mut holders: BTreeMap<String, Vec<&String>> = BTreeMap::new();
    for (value, name) in entries {
        holders.entry(value).or_default().push(name);
    }
    let several = holders.into_iter().filter(|(_, names)| names.len() > 1);
    several
        .map(|(value, names)| {
            let names: Vec<&str> = names.into_iter().map(String::as_str).collect();
            format!("{what} {value} is there {} times: {}", names.len(), names.join(", "))
        })
        .collect()
}

fn subnet_problems(subnet: &Subnet) -> Vec<String> {
    let of = |problem: String| format!("subnet {}: {problem}", subnet.network);
    let network = match Network::new(&subnet.network) {
        Ok(network) if network.address.is_ipv4() => network,
        Ok(_) => return vec![of("this kind serves IPv4; this is an IPv6 network".to_owned())],
        Err(problem) => return vec![problem],
    };
    let mut problems = Vec::new();
    let mut ranges: Vec<(Ipv4Addr, Ipv4Addr)> = Vec::new();
    for text in &subnet.ranges {
        match range(text) {
            Ok((first, last)) => {
                if !(network.contains(IpAddr::V4(first)) && network.contains(IpAddr::V4(last))) {
                    problems.push(format!("the range {text} lies outside"));
                }
                if ranges.iter().any(|(a, b)| first <= *b && *a <= last) {
                    problems.push(format!("the range {text} overlaps another one"));
                }
                ranges.push((first, last));
            }
            Err(problem) => problems.push(problem),
        }
    }
    let inside = |router: &IpAddr| network.contains(*router);
    for router in &subnet.routers {
        match router.parse::<IpAddr>() {
            Ok(address) if inside(&address) => {}
            Ok(_) => problems.push(format!("the router {router} lies outside")),
            Err(_) => problems.push(format!("the router `{router}` is not an address")),
        }
    }
    for server in subnet.dns.iter().chain(&subnet.ntp).chain(&subnet.next_server) {
        if server.parse::<Ipv4Addr>().is_err() {
            problems.push(format!("`{server}` is not an IPv4 address"));
        }
    }
    if subnet.mtu.is_some_and(|mtu| mtu < 576) {
        problems.push("`mtu` is below 576, which every IPv4 machine has to take".to_owned());
    }
    let texts = [&subnet.domain_name, &subnet.filename, &subnet.filename_uefi, &subnet.ipxe];
    let texts = texts.into_iter().flatten().chain(&subnet.domain_search).filter(|text| text.contains(['"', '\n']));
    problems.extend(texts.map(|text| format!("`{text}` has a quote or a line break in it")));
    problems.into_iter().map(of).collect()
}

fn host_problems(host: &Reservation, networks: &[(Network, &Subnet)]) -> Vec<String> {
    let mut problems: Vec<String> = mac(&host.mac).err().into_iter().collect();
    let good = |c: char| c.is_ascii_alphanumeric() || "-.".contains(c);
    for name in std::iter::once(&host.name).chain(&host.hostname) {
        if name.is_empty() || !name.chars().all(good) || name.starts_with('-') {
            problems.push(format!("`{name}` is not a machine's name"));
        }
    }
    match host.ip.parse::<Ipv4Addr>() {
        Err(_) => problems.push(format!("`{}` is not an IPv4 address", host.ip)),
        Ok(address) => problems.extend(place_problem(address, networks)),
    }
    problems.into_iter().map(|problem| format!("host {}: {problem}", host.name)).collect()
}

fn place_problem(address: Ipv4Addr, networks: &[(Network, &Subnet)]) -> Option<String> {
    let Some((network, subnet)) = networks.iter().find(|(network, _)| network.contains(IpAddr::V4(address))) else {
        return Some(format!("{address} lies in none of the subnets"));
    };
    if network.prefix < 31 && (IpAddr::V4(address) == network.address || network.v4().is_some_and(|(_, last)| last == address)) {
        return Some(format!("{address} is the network's own or its broadcast address"));
    }
    let ranges = subnet.ranges.iter().filter_map(|text| Some((text, range(text).ok()?)));
    let mut holding = ranges.filter(|(_, (first, last))| *first <= address && address <= *last);
    holding.next().map(|(text, _)| format!("{address} lies in the range {text}, which is for machines without an address of their own"))
}
