//! The description as firewalld's zones and policies, in files of its own form; see firewalld.zone(5) and
//! firewalld.policy(5). The running firewalld is asked over D-Bus, which costs no Python.

use super::traffic::{PROTOCOLS, Traffic, family, ports};
use super::{Firewall, Forward, Rule, Running, Target, Zone, live};
use crate::path::AbsPath;
use crate::resource::acting::{ask, run};
use crate::resource::layout::path;
use crate::resource::systemd::{Manager, show};
use crate::resource::transaction::{Checker, FileSet, LIVE, MARK, Power, SetFile, State, Tell, Watch};
use crate::resource::{ResourceError, json};
use crate::system::{Action, Answer, Effect, Probe, Staged, System};
use crate::value::Value;
use serde::Serialize;
use std::fmt::Write;

pub(super) const UNIT: &str = "firewalld.service";
const ZONES: &str = "/etc/firewalld/zones";
const POLICIES: &str = "/etc/firewalld/policies";

pub(super) fn watch(firewall: &Firewall) -> Watch {
    Watch {
        unit: UNIT,
        package: "firewalld",
        files: files(firewall).into_iter().map(|file| file.path).collect(),
        folders: vec![(path(ZONES), ".xml"), (path(POLICIES), ".xml")],
    }
}

pub(super) fn set(firewall: &Firewall) -> FileSet {
    let argv = ["firewall-offline-cmd", "--system-config={stage}/etc/firewalld", "--check-config"];
    let mut checker = Checker::new("firewall-offline-cmd", &argv);
    let main = Staged { path: "etc/firewalld/firewalld.conf".to_owned(), bytes: b"DefaultZone=public\n".to_vec() };
    checker.further.push(main);
    FileSet {
        service: "firewalld",
        files: files(firewall),
        checker,
        tell: Tell::Run(&["firewall-cmd", "--reload"]),
        power: Power::Started,
        enabled: firewall.enabled,
        listeners: Vec::new(),
        served: Vec::new(),
    }
}

fn files(firewall: &Firewall) -> Vec<SetFile> {
    let file = |folder: &str, name: &str, text: String| {
        SetFile::public(path(folder).join(&format!("{name}.xml")), format!("<!-- {MARK}; changes made here are lost -->\n{text}"))
    };
    let zones = firewall.zones.iter().map(|zone| file(ZONES, &zone.name, zone_xml(zone)));
    let policies = firewall.forward.iter().enumerate();
    let policies = policies.map(|(number, forward)| file(POLICIES, &policy(forward, number), policy_xml(forward)));
    zones.chain(policies).collect()
}

/// firewalld takes no longer names of policies.
const LONGEST_POLICY: usize = 17;

fn policy(forward: &Forward, number: usize) -> String {
    let name = format!("{}-{}", forward.from, forward.to);
    if name.len() <= LONGEST_POLICY { name } else { format!("okd-forward-{}", number + 1) }
}

fn policy_xml(forward: &Forward) -> String {
    format!(
        "<policy target=\"ACCEPT\">\n  <ingress-zone name=\"{}\"/>\n  <egress-zone name=\"{}\"/>\n</policy>\n",
        forward.from, forward.to
    )
}

fn target(zone: &Zone) -> &'static str {
    match zone.target {
        Target::Reject => "default",
        Target::Drop => "DROP",
        Target::Accept => "ACCEPT",
    }
}

/// Ports that have no name in a list of services.
fn unnamed(texts: &[String]) -> Vec<super::traffic::Ports> {
    let all: Vec<_> = texts.iter().filter_map(|text| ports(text).ok()).flatten().collect();
    super::traffic::apart(all)
}

fn protocol_names(traffic: &Traffic) -> impl Iterator<Item = &'static str> {
    PROTOCOLS.iter().filter(|(_, number)| traffic.protocols.contains(number)).map(|(name, _)| *name)
}

/// A rule in firewalld's rich language, firewalld.richlanguage(5), by its parts in XML.
struct Rich {
    source: String,
    /// Element and attributes.
    what: String,
    accepts: bool,
}

fn rich(zone: &Zone) -> Vec<Rich> {
    let mut rules: Vec<Rich> = zone.rules.iter().flat_map(rich_of).collect();
    let masked = family(&zone.masquerade_sources, true);
    rules.extend(masked.into_iter().map(|source| Rich { source, what: "masquerade".to_owned(), accepts: false }));
    rules
}

fn rich_of(rule: &Rule) -> Vec<Rich> {
    let sources = family(&rule.sources, true).into_iter().chain(family(&rule.sources, false));
    let traffic = Traffic::of_rule(rule);
    let mut things: Vec<String> = Vec::new();
    things.extend(
        traffic.ports.iter().map(|ports| format!("port port=\"{}\" protocol=\"{}\"", ports.numbers(), ports.protocol)),
    );
    things.extend(protocol_names(&traffic).map(|name| format!("protocol value=\"{name}\"")));
    let rules = sources.flat_map(|source| {
        things.iter().map(move |what| Rich { source: source.clone(), what: what.clone(), accepts: true }).collect::<Vec<_>>()
    });
    rules.collect()
}

impl Rich {
    fn family(&self) -> &'static str {
        if self.source.contains(':') { "ipv6" } else { "ipv4" }
    }

    fn xml(&self) -> String {
        let end = if self.accepts { "<accept/>" } else { "" };
        let Rich { source, what, .. } = self;
        format!("  <rule family=\"{}\"><source address=\"{source}\"/><{what}/>{end}</rule>\n", self.family())
    }

    /// As firewalld lists it.
    fn listed(&self) -> String {
        let end = if self.accepts { " accept" } else { "" };
        format!("rule family=\"{}\" source address=\"{}\" {}{end}", self.family(), self.source, self.what)
    }
}

fn zone_xml(zone: &Zone) -> String {
    let mut out = match zone.target {
        Target::Reject => "<zone>\n".to_owned(),
        _ => format!("<zone target=\"{}\">\n", target(zone)),
    };
    let _ = writeln!(out, "  <short>{}</short>", zone.name);
    for name in &zone.interfaces {
        let _ = writeln!(out, "  <interface name=\"{name}\"/>");
    }
    for name in &zone.services {
        let _ = writeln!(out, "  <service name=\"{name}\"/>");
    }
    for ports in unnamed(&zone.ports) {
        let _ = writeln!(out, "  <port port=\"{}\" protocol=\"{}\"/>", ports.numbers(), ports.protocol);
    }
    for name in &zone.protocols {
        let _ = writeln!(out, "  <protocol value=\"{name}\"/>");
    }
    if zone.masquerade {
        out.push_str("  <masquerade/>\n");
    }
    out.push_str("  <forward/>\n");
    for rule in rich(zone) {
        out.push_str(&rule.xml());
    }
    out + "</zone>\n"
}

/// Asks the running firewalld: which zones are active, and what each of these has; an answer in JSON a line.
const LOOK: &str = r#"
call() { busctl --json=short call $name /org/fedoraproject/FirewallD1 $name.zone "$@" 2>/dev/null || echo '{}'; }
name=org.fedoraproject.FirewallD1
call getActiveZones
for zone; do call getZoneSettings2 s "$zone"; done
"#;

fn look(key: String, zones: &[String], world: &dyn System) -> Result<Option<Vec<Value>>, ResourceError> {
    let mut probe = Probe::new(key, &["/bin/sh", "-c", LOOK, "sh"]);
    probe.argv.extend_from_slice(zones);
    let answer = world.probe(&probe)?;
    if !answer.success() || answer.text().trim() == LIVE {
        return Ok(None);
    }
    let values = answer.text().lines().map(json::parse).collect::<Result<Vec<Value>, String>>();
    // A firewalld that does not run answers nothing.
    Ok(values.ok().filter(|values| values.len() == zones.len() + 1 && values.first().is_some_and(|value| first(value).is_some())))
}

/// What a variant of busctl's JSON holds.
fn plain(value: &Value) -> &Value {
    value.get("data").unwrap_or(value)
}

/// The answer's one value.
fn first(value: &Value) -> Option<&Value> {
    value.get("data")?.as_list()?.first()
}

fn words(value: Option<&Value>) -> Vec<String> {
    let list = value.map(plain).and_then(Value::as_list).unwrap_or_default();
    let word = |item: &Value| match item {
        Value::List(parts) => parts.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("/"),
        other => other.as_str().unwrap_or_default().to_owned(),
    };
    list.iter().map(word).collect()
}

fn is_true(value: Option<&Value>) -> bool {
    value.map(plain) == Some(&Value::Bool(true))
}

/// What a zone lets in, in words, by firewalld's settings of it.
const OPENINGS: &[(&str, &str)] = &[
    ("services", "service"),
    ("ports", "port"),
    ("protocols", "protocol"),
    ("rules_str", "rule"),
    ("forward_ports", "forwarded port"),
    ("source_ports", "source port"),
    ("sources", "source"),
];

fn wanted(zone: &Zone) -> Vec<(&'static str, Vec<String>)> {
    vec![
        ("interfaces", zone.interfaces.clone()),
        ("services", zone.services.clone()),
        ("ports", unnamed(&zone.ports).iter().map(|ports| format!("{}/{}", ports.numbers(), ports.protocol)).collect()),
        ("protocols", zone.protocols.clone()),
        ("rules_str", rich(zone).iter().map(Rich::listed).collect()),
    ]
}

pub(super) fn running(firewall: &Firewall, now: &State, world: &dyn System) -> Result<Running, ResourceError> {
    let names: Vec<String> = firewall.zones.iter().map(|zone| zone.name.clone()).collect();
    let mut running = Running::default();
    let Some(values) = look(live(&now.unit.name), &names, world)? else { return Ok(running) };
    for (zone, value) in firewall.zones.iter().zip(values.iter().skip(1)) {
        let Some(settings) = first(value) else {
            running.drifted = true;
            continue;
        };
        let has = |name: &str| words(settings.get(name));
        let lacks = wanted(zone).into_iter().any(|(name, all)| !all.iter().all(|one| has(name).contains(one)));
        let told = settings.get("target").map(plain).and_then(Value::as_str);
        let masks = zone.masquerade && !is_true(settings.get("masquerade"));
        running.drifted |= lacks || masks || told.is_some_and(|told| told != target(zone));
        let ours = wanted(zone);
        for (name, word) in OPENINGS {
            let mine = ours.iter().find(|(known, _)| known == name).map(|(_, all)| all.as_slice()).unwrap_or_default();
            let more = has(name).into_iter().filter(|one| !mine.contains(one));
            running.beside.extend(more.map(|one| format!("{word} {one} in zone {} until firewalld is reloaded", zone.name)));
        }
    }
    running.beside.extend(others(&names, values.first(), world)?);
    Ok(running)
}

/// What active zones let in that are not described here.
fn others(names: &[String], active: Option<&Value>, world: &dyn System) -> Result<Vec<String>, ResourceError> {
    let active = active.and_then(first).and_then(Value::as_map);
    let active = active.map(|active| active.iter().filter(|(name, _)| !names.contains(name)).collect::<Vec<_>>());
    let active = active.unwrap_or_default();
    let zones: Vec<String> = active.iter().map(|(name, _)| (*name).clone()).collect();
    if zones.is_empty() {
        return Ok(Vec::new());
    }
    let Some(values) = look("look:0:firewalld".to_owned(), &zones, world)? else { return Ok(Vec::new()) };
    let sentence = |((name, held), value): (&(&String, &Value), &Value)| {
        let interfaces = words(held.get("interfaces")).join(", ");
        let settings = first(value)?;
        let open = OPENINGS.iter().flat_map(|(name, word)| {
            words(settings.get(name)).into_iter().map(move |one| format!("{word} {one}"))
        });
        let open: Vec<String> = open.collect();
        let open = if open.is_empty() { "nothing".to_owned() } else { open.join(", ") };
        Some(format!("zone {name} ({interfaces}) lets in {open}"))
    };
    Ok(active.iter().zip(values.iter().skip(1)).filter_map(sentence).collect())
}

/// A connection of NetworkManager, which puts its interface into the zone that it asks for, whatever firewalld's files say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Connection {
    /// The interface.
    pub(super) interface: String,
    /// The connection's number.
    pub(super) uuid: String,
    /// The zone; empty for firewalld's default one.
    pub(super) zone: String,
}

/// The connections of interfaces that are in zones. One that NetworkManager found there and only watches is left alone.
pub(super) fn connections(firewall: &Firewall, world: &dyn System) -> Result<Vec<Connection>, ResourceError> {
    let program = AbsPath::new("/usr/bin/nmcli").map_err(ResourceError::message)?;
    if world.stat(&program)?.is_none() || !show("NetworkManager.service", Manager::System, world)?.runs() {
        return Ok(Vec::new());
    }
    let argv = ["nmcli", "-t", "-f", "DEVICE,UUID,FILENAME", "connection", "show", "--active"];
    let table = ask(world, &Probe::new("networkmanager:active", &argv))?.text();
    let mut connections = Vec::new();
    for line in table.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(interface), Some(uuid), Some(file)) = (parts.next(), parts.next(), parts.next()) else { continue };
        let held = firewall.zones.iter().any(|zone| zone.interfaces.iter().any(|name| name == interface));
        if !held || file.starts_with("/run/") {
            continue;
        }
        let argv = ["nmcli", "-g", "connection.zone", "connection", "show", "uuid", uuid];
        let zone = ask(world, &Probe::new(zone_key(uuid), &argv))?.text().trim().to_owned();
        connections.push(Connection { interface: interface.to_owned(), uuid: uuid.to_owned(), zone });
    }
    Ok(connections)
}

fn zone_key(uuid: &str) -> String {
    format!("networkmanager:zone:{uuid}")
}

impl Connection {
    /// Has NetworkManager ask for this zone, now and at boot.
    pub(super) fn take_zone(&self, before: &str, world: &dyn System) -> Result<(), ResourceError> {
        let argv = |zone| ["nmcli", "connection", "modify", "uuid", &self.uuid, "connection.zone", zone];
        let effect = Effect::predicts(zone_key(&self.uuid), Answer::ok(format!("{}\n", self.zone)));
        let (argv, effect) = (argv(&self.zone), effect.back(&argv(before)));
        run(world, &Action::new(&argv, effect)).map(|_| ())
    }
}
