//! The description as one table of nftables, in a file of its own that replaces the table in one step.
//!
//! The distribution's own file is left alone: a drop-in has nftables.service load ours after it. Whether the kernel has the
//! table as the file says is found by loading the file into a network namespace that lasts as long as the question.

use super::traffic::{Traffic, family};
use super::{Firewall, Running, Target, Zone, live};
use crate::resource::ResourceError;
use crate::resource::layout::path;
use crate::resource::transaction::{Checker, FileSet, Power, SetFile, State, Tell, Watch, header};
use crate::system::{Probe, Staged, System};
use std::fmt::Write;

const UNIT: &str = "nftables.service";
const FILE: &str = "/etc/nftables/okd-play.nft";
const DROP_IN: &str = "/etc/systemd/system/nftables.service.d/okd-play.conf";
const LOAD: &[&str] = &["/bin/sh", "-c", "systemctl daemon-reload && nft -f /etc/nftables/okd-play.nft"];

pub(super) fn watch() -> Watch {
    Watch {
        unit: UNIT,
        package: "nftables",
        files: vec![path(FILE), path(DROP_IN)],
        folders: Vec::new(),
    }
}

pub(super) fn set(firewall: &Firewall, now: &State) -> FileSet {
    let drop_in = format!("{}[Service]\nExecStart=/usr/sbin/nft -f {FILE}\nExecReload=/usr/sbin/nft -f {FILE}\n", header("#"));
    FileSet {
        service: "nftables",
        files: vec![
            SetFile { mode: 0o600, ..SetFile::public(path(FILE), render(firewall)) },
            SetFile::public(path(DROP_IN), drop_in),
        ],
        checker: Checker::new("nft", &["nft", "-c", "-f", &format!("{{stage}}{FILE}")]),
        tell: Tell::Run(LOAD),
        // Starting or stopping the unit would flush everybody's tables.
        power: if now.unit.active() { Power::Started } else { Power::Stopped },
        enabled: firewall.enabled,
        listeners: Vec::new(),
        served: Vec::new(),
    }
}

pub(super) fn render(firewall: &Firewall) -> String {
    let mut out = header("#");
    out.push_str("table inet okd_play\ndelete table inet okd_play\n\ntable inet okd_play {\n");
    out.push_str("\tchain input {\n\t\ttype filter hook input priority filter; policy accept;\n");
    out.push_str("\t\tct state established,related accept\n\t\tiif \"lo\" accept\n");
    jumps(&mut out, firewall, "input");
    out.push_str("\t}\n");
    for zone in &firewall.zones {
        input(&mut out, zone);
    }
    out.push_str("\n\tchain forward {\n\t\ttype filter hook forward priority filter; policy accept;\n");
    out.push_str("\t\tct state established,related accept\n");
    jumps(&mut out, firewall, "forward");
    out.push_str("\t}\n");
    for zone in &firewall.zones {
        let _ = writeln!(out, "\n\tchain forward_{} {{", zone.name);
        let to = firewall.forward.iter().filter(|forward| forward.from == zone.name);
        let to = to.filter_map(|forward| firewall.zone(&forward.to));
        for zone in to.chain([zone]) {
            let _ = writeln!(out, "\t\toifname {} accept", names(zone));
        }
        end(&mut out, zone);
    }
    let masks = |zone: &&Zone| zone.masquerade || !zone.masquerade_sources.is_empty();
    if firewall.zones.iter().any(|zone| masks(&zone)) {
        out.push_str("\n\tchain postrouting {\n\t\ttype nat hook postrouting priority srcnat; policy accept;\n");
        for zone in firewall.zones.iter().filter(masks) {
            let sources = family(&zone.masquerade_sources, true);
            let whose = if sources.is_empty() { "meta nfproto ipv4".to_owned() } else { format!("ip saddr {}", set_of(&sources)) };
            let _ = writeln!(out, "\t\t{whose} oifname {} masquerade", names(zone));
        }
        out.push_str("\t}\n");
    }
    out.push_str("}\n");
    out
}

fn names(zone: &Zone) -> String {
    set_of(&zone.interfaces.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>())
}

fn set_of(items: &[String]) -> String {
    match items {
        [one] => one.clone(),
        several => format!("{{ {} }}", several.join(", ")),
    }
}

fn jumps(out: &mut String, firewall: &Firewall, hook: &str) {
    for zone in &firewall.zones {
        let _ = writeln!(out, "\t\tiifname {} jump {hook}_{}", names(zone), zone.name);
    }
}

fn input(out: &mut String, zone: &Zone) {
    let _ = writeln!(out, "\n\tchain input_{} {{", zone.name);
    out.push_str("\t\tct state invalid drop\n");
    let icmp = "{ nd-neighbor-solicit, nd-neighbor-advert, nd-router-advert, packet-too-big }";
    match zone.target {
        Target::Drop => std::mem::drop(writeln!(out, "\t\ticmpv6 type {icmp} accept")),
        _ => out.push_str("\t\tmeta l4proto { icmp, icmpv6 } accept\n"),
    }
    allow(out, "", &Traffic::of_zone(zone));
    for rule in &zone.rules {
        for (word, v4) in [("ip", true), ("ip6", false)] {
            let sources = family(&rule.sources, v4);
            if !sources.is_empty() {
                allow(out, &format!("{word} saddr {} ", set_of(&sources)), &Traffic::of_rule(rule));
            }
        }
    }
    end(out, zone);
}

fn allow(out: &mut String, whose: &str, traffic: &Traffic) {
    for protocol in ["tcp", "udp", "sctp"] {
        let ports = traffic.ports.iter().filter(|ports| ports.protocol == protocol);
        let ports: Vec<String> = ports.map(super::traffic::Ports::numbers).collect();
        if !ports.is_empty() {
            let _ = writeln!(out, "\t\t{whose}{protocol} dport {} accept", set_of(&ports));
        }
    }
    for number in &traffic.protocols {
        let _ = writeln!(out, "\t\t{whose}meta l4proto {number} accept");
    }
}

fn end(out: &mut String, zone: &Zone) {
    out.push_str(match zone.target {
        Target::Reject => "\t\treject with icmpx admin-prohibited\n\t}\n",
        Target::Drop => "\t\tdrop\n\t}\n",
        Target::Accept => "\t\taccept\n\t}\n",
    });
}

/// Says whether the kernel has the table as a file says, and which other tables there are.
const LOOK: &str = r#"
nft list tables 2>/dev/null
here=$(nft -s list table inet okd_play 2>/dev/null) || { echo absent; exit; }
there=$(unshare -n sh -c 'nft -f "$1" && nft -s list table inet okd_play' sh "$1" 2>/dev/null) || exit 3
if [ "$here" = "$there" ]; then echo same; else echo differs; fi
"#;

pub(super) fn running(firewall: &Firewall, now: &State, world: &dyn System) -> Result<Running, ResourceError> {
    let file = FILE.trim_start_matches('/').to_owned();
    let staged = format!("{{stage}}{FILE}");
    let mut probe = Probe::new(live(UNIT), &["/bin/sh", "-c", LOOK, "sh", &staged]);
    probe.stage = vec![Staged { path: file, bytes: render(firewall).into_bytes() }];
    let answer = world.probe(&probe)?;
    let text = answer.text();
    let others = text.lines().filter_map(|line| line.strip_prefix("table ")).filter(|table| *table != "inet okd_play");
    let mut beside: Vec<String> =
        others.map(|table| format!("table {table} is somebody else's; what is let in here has to pass there too")).collect();
    let mut loose: Vec<String> = world.list(&path("/sys/class/net"))?.into_iter().map(|entry| entry.name).collect();
    loose.retain(|name| name != "lo" && !firewall.zones.iter().any(|zone| zone.interfaces.contains(name)));
    if !loose.is_empty() {
        beside.push(format!("{} in no zone: nothing is filtered there", is_or_are(&loose)));
    }
    let drifted = !now.unit.promised && text.lines().any(|line| line == "absent" || line == "differs");
    Ok(Running { drifted, beside })
}

fn is_or_are(names: &[String]) -> String {
    format!("{} {}", names.join(", "), if names.len() == 1 { "is" } else { "are" })
}
