//! The description completed, as tables for a terminal.

use super::{Boot, Machine, NetworkType, Role, Topology};
use okd_agent::resource::network::Network;
use std::fmt::Write;
use unicode_width::UnicodeWidthStr;

/// What `okd-play topology` prints.
#[must_use]
pub fn table(topology: &Topology) -> String {
    let mut text = format!("{}\n\n", topology.domain().unwrap_or_default());
    for (name, value) in facts(topology) {
        let _ = writeln!(text, "  {name:<10} {value}");
    }
    text.push('\n');
    text.push_str(&machines(topology));
    text.push('\n');
    text.push_str(&nodes(topology));
    text
}

/// What holds for the whole cluster, as names and values.
pub(super) fn facts(topology: &Topology) -> Vec<(&'static str, String)> {
    let network = topology.network.map(|at| shown(at.value)).unwrap_or_default();
    let services = topology.services_ip().map(|at| at.value);
    let gateway = topology.gateway.map(|at| at.value).or(services);
    let ip = |ip: Option<std::net::Ipv4Addr>| ip.map_or_else(|| "?".to_owned(), |ip| ip.to_string());
    let mut machines = format!("{network}   gateway {}", ip(gateway));
    if let Some(pool) = topology.pool {
        let _ = write!(machines, "   visitors {}-{}", pool.value.0, pool.value.1);
    }
    let vips = &topology.vips;
    let role = if topology.compact() { Role::Master } else { Role::Worker };
    let ingress: Vec<&str> = topology.of(role).filter_map(Machine::host_name).collect();
    let names = format!(
        "api {}   api-int {}   *.apps {} → {}",
        ip(topology.vip(vips.api)),
        ip(topology.vip(vips.api_int)),
        ip(topology.vip(vips.ingress)),
        ingress.join(", ")
    );
    let outside = match topology.public_ip() {
        Some(public) => format!("{public}: {}", ports(&outside_ports())),
        None => ports(&outside_ports()),
    };
    let mut facts = vec![
        (
            "release",
            format!("{}   {}", topology.release().text, topology.network_type()),
        ),
        ("machines", machines),
    ];
    facts.extend(netbooted(topology).map(|who| ("netboot", who)));
    facts.extend([
        ("names", names),
        (
            "inside",
            format!("{}: {}", ip(services), ports(&inside_ports(topology))),
        ),
        ("outside", outside),
        ("packets", packets(topology)),
        ("pods", inner(topology)),
    ]);
    facts
}

/// The machines that boot first by the network; the others do by their media.
fn netbooted(topology: &Topology) -> Option<String> {
    let all = topology.machines.iter();
    let own: Vec<&Machine> = all.filter(|machine| topology.boot(machine) == Boot::Pxe).collect();
    match own.len() {
        0 => None,
        count if count == topology.machines.len() => Some("all machines boot from the services host".to_owned()),
        _ => Some(
            own.iter()
                .filter_map(|machine| machine.host_name())
                .collect::<Vec<_>>()
                .join(", "),
        ),
    }
}

/// Where every byte of a packet goes.
fn packets(topology: &Topology) -> String {
    let mut text = format!("{} between nodes", topology.underlay());
    if topology.tunnelled() {
        let _ = write!(text, " - {} VXLAN", topology.tunnel_overhead());
    }
    let kind = topology.network_type();
    let by = match kind {
        NetworkType::OvnKubernetes => "Geneve",
        NetworkType::OpenShiftSdn => "VXLAN of the pods",
    };
    let _ = write!(
        text,
        " → {} machines - {} {by} → {} pods",
        topology.node_mtu(),
        kind.overhead(),
        topology.pods_mtu()
    );
    text
}

fn inner(topology: &Topology) -> String {
    let of = |key| topology.inner(key).map(shown).unwrap_or_default();
    let mut text = format!(
        "{} (/{} a machine)   services {}",
        of("cluster_network"),
        topology.host_prefix(),
        of("service_network")
    );
    if topology.network_type() == NetworkType::OvnKubernetes {
        let _ = write!(
            text,
            "   join {}   transit {}",
            of("join_network"),
            of("transit_network")
        );
    }
    text
}

/// A port with what listens on it.
pub(super) type Port = (u16, &'static str);

/// What the services host listens on for the machines.
pub(super) fn inside_ports(topology: &Topology) -> Vec<Port> {
    vec![
        (53, "DNS"),
        (67, "DHCP"),
        (80, "HTTP"),
        (443, "HTTPS"),
        (6443, "API"),
        (22623, "machine config"),
        (topology.web_port_or_default(), "files"),
    ]
}

/// What the services host listens on for the outside.
pub(super) fn outside_ports() -> Vec<Port> {
    vec![(80, "HTTP"), (443, "HTTPS"), (6443, "API")]
}

pub(super) fn ports(ports: &[Port]) -> String {
    let each: Vec<String> = ports.iter().map(|(port, what)| format!("{port} {what}")).collect();
    each.join(", ")
}

/// MiB as a person says it.
pub(super) fn memory(mib: u64) -> String {
    match mib % 1024 {
        0 => format!("{} GiB", mib / 1024),
        _ => format!("{mib} MiB"),
    }
}

fn machines(topology: &Topology) -> String {
    let head = [
        "ROLE",
        "NAME",
        "ADDRESS",
        "HARDWARE ADDRESS",
        "CORES",
        "MEMORY",
        "DISK",
        "SITE",
        "NODE",
        "BRIDGE",
        "VMID",
    ];
    let rows = topology.all().map(|machine| {
        let (cores, mib, gib) = machine.size();
        let place = topology.place(machine);
        let text = |text: Option<&str>| text.unwrap_or("?").to_owned();
        vec![
            machine.role.name().to_owned(),
            text(machine.host_name()),
            machine.ip.map_or_else(|| "?".to_owned(), |at| at.value.to_string()),
            text(topology.mac(machine).as_deref()),
            cores.to_string(),
            memory(mib),
            format!("{gib} GiB"),
            place.site,
            place.node,
            place.bridge,
            machine
                .vmid
                .map_or_else(|| "next".to_owned(), |at| at.value.to_string()),
        ]
    });
    columns(&head, rows.collect(), &[4, 5, 6])
}

fn nodes(topology: &Topology) -> String {
    let head = ["SITE", "NODE", "BRIDGE", "VTEP", "MACHINES", "CORES", "MEMORY", "DISK"];
    let rows = topology.stands().into_iter().map(|stand| {
        let own = topology.all().filter(|machine| {
            let place = topology.place(machine);
            place.site == stand.site && place.node == stand.name
        });
        let sizes: Vec<(u64, u64, u64)> = own.map(Machine::size).collect();
        let sum = |part: fn(&(u64, u64, u64)) -> u64| sizes.iter().map(part).sum::<u64>();
        vec![
            stand.site,
            stand.name,
            stand.bridge,
            stand.vtep.map_or_else(|| "-".to_owned(), |vtep| vtep.to_string()),
            sizes.len().to_string(),
            sum(|size| size.0).to_string(),
            memory(sum(|size| size.1)),
            format!("{} GiB", sum(|size| size.2)),
        ]
    });
    columns(&head, rows.collect(), &[4, 5, 6, 7])
}

/// Rows in columns; those with the numbers of `right` end flush.
fn columns(head: &[&str], rows: Vec<Vec<String>>, right: &[usize]) -> String {
    let head: Vec<String> = head.iter().map(|&word| word.to_owned()).collect();
    let all: Vec<Vec<String>> = std::iter::once(head).chain(rows).collect();
    let widths: Vec<usize> = (0..all[0].len())
        .map(|at| {
            all.iter()
                .filter_map(|row| Some(row.get(at)?.width()))
                .max()
                .unwrap_or(0)
        })
        .collect();
    let mut text = String::new();
    for row in all {
        let mut line = String::from(" ");
        for (at, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let pad = " ".repeat(width - cell.width());
            match right.contains(&at) {
                true => line.extend([" ", &pad, cell, " "]),
                false => line.extend([" ", cell, &pad, " "]),
            }
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn shown(network: Network) -> String {
    format!("{}/{}", network.address, network.prefix)
}
