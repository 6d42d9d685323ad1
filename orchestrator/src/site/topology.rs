//! The one `cluster:` description: machines, network, names. Every service is configured from it, so it is checked whole
//! before anything is contacted, and each contradiction names both of its sides.

use crate::error::{Diagnostic, Diagnostics};
use crate::source::Span;
use crate::source::decode::Fields;
use crate::source::yaml::{Node, NodeKind};
use okd_agent::Value;
use okd_agent::resource::network::{Network, mac, range};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};

/// The variable that holds the description.
pub const VARIABLE: &str = "cluster";

/// What is known of the cluster before a run. A part is `None` where it is not given, is wrong, or hangs on facts.
#[derive(Debug, Clone, Default)]
pub struct Topology {
    /// The cluster's name, a DNS label.
    pub name: Option<At<String>>,
    /// The domain that the cluster's name stands below.
    pub base_domain: Option<At<String>>,
    /// The network of the machines.
    pub network: Option<At<Network>>,
    /// The address of the services host.
    pub services: Option<At<Ipv4Addr>>,
    /// First and last address for machines without one of their own.
    pub pool: Option<At<(Ipv4Addr, Ipv4Addr)>>,
    /// Networks of the cluster's own: given, or OKD's defaults, with their keys.
    pub inner: Vec<(&'static str, Network, Option<Span>)>,
    /// The machines, in the order written.
    pub machines: Vec<Machine>,
}

/// A machine of the cluster.
#[derive(Debug, Clone)]
pub struct Machine {
    /// What it is for.
    pub role: Role,
    /// Its host name, a DNS label.
    pub name: Option<At<String>>,
    /// Its hardware address, in lower case with colons.
    pub mac: Option<At<String>>,
    /// Its address.
    pub ip: Option<At<Ipv4Addr>>,
}

/// What a machine is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Brings up the control plane, then goes.
    Bootstrap,
    /// The control plane.
    Master,
    /// Everything else.
    Worker,
}

/// A value with its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct At<T> {
    /// What it is.
    pub value: T,
    /// Where it is written.
    pub span: Span,
}

const KEYS: &[&str] = &[
    "name",
    "base_domain",
    "network",
    "services",
    "pool",
    "mtu",
    "forwarders",
    "dnssec_validation",
    "ntp",
    "machines",
    "cluster_network",
    "service_network",
    "join_network",
    "transit_network",
];
const ROLES: [(&str, Role); 3] = [
    ("bootstrap", Role::Bootstrap),
    ("masters", Role::Master),
    ("workers", Role::Worker),
];
const MACHINE_KEYS: &[&str] = &["name", "mac", "ip"];
/// The networks that a cluster uses inside, with OKD's defaults; the last two are OVN-Kubernetes' own.
const INNER: [(&str, &str); 4] = [
    ("cluster_network", "10.128.0.0/14"),
    ("service_network", "172.30.0.0/16"),
    ("join_network", "100.64.0.0/16"),
    ("transit_network", "100.88.0.0/16"),
];
/// Names that lead to the services host.
const SERVICES_NAMES: [&str; 3] = ["services", "api", "api-int"];

/// Whether a variable named `cluster` is this description and not one that happens to bear its name: a mapping with at
/// least three of `machines`, `network`, `services` and `base_domain`, so that one misspelt key does not hide it.
#[must_use]
pub fn is_description(node: &Node) -> bool {
    let telling = ["machines", "network", "services", "base_domain"];
    telling.iter().filter(|key| node.get(key).is_some()).count() >= 3
}

/// Reads a description and says everything that is wrong with it. `known` gives what a node means before anything is
/// contacted, `None` where that hangs on facts.
pub fn check(node: &Node, known: &dyn Fn(&Node) -> Option<Value>) -> (Topology, Diagnostics) {
    let mut reader = Reader {
        known,
        errors: Diagnostics::default(),
    };
    let topology = reader.topology(node);
    let mut errors = reader.errors;
    topology.problems(&mut errors);
    (topology, errors)
}

struct Reader<'k> {
    known: &'k dyn Fn(&Node) -> Option<Value>,
    errors: Diagnostics,
}

impl Reader<'_> {
    fn topology(&mut self, node: &Node) -> Topology {
        let Some(mut fields) = self.fields(node, "`cluster`") else {
            return Topology::default();
        };
        let mut topology = Topology {
            name: self.required(&mut fields, "name", label),
            base_domain: self.required(&mut fields, "base_domain", domain),
            network: self.required(&mut fields, "network", network),
            services: self.required(&mut fields, "services", address),
            pool: self.optional(&mut fields, "pool", range),
            ..Topology::default()
        };
        for (key, default) in INNER {
            let given = self.optional(&mut fields, key, network);
            let found = match (given, fields.has(key)) {
                (Some(given), _) => Some((given.value, Some(given.span))),
                (None, true) => None,
                (None, false) => network(default).ok().map(|network| (network, None)),
            };
            topology.inner.extend(found.map(|(network, span)| (key, network, span)));
        }
        self.optional(&mut fields, "mtu", mtu);
        for key in ["forwarders", "ntp"] {
            let items = fields.take(key).map(|node| match &node.kind {
                NodeKind::Seq(items) => items.as_slice(),
                _ => std::slice::from_ref(node),
            });
            for item in items.into_iter().flatten() {
                self.value(item, &format!("`{key}` of `cluster`"), |text| {
                    text.parse::<IpAddr>()
                        .map_err(|_| format!("`{text}` is not an address"))
                });
            }
        }
        fields.take("dnssec_validation");
        match fields.require("machines") {
            Ok(machines) => self.roles(machines, &mut topology.machines),
            Err(missing) => self.errors.push(missing),
        }
        self.errors.absorb(fields.finish(KEYS));
        topology
    }

    fn roles(&mut self, node: &Node, machines: &mut Vec<Machine>) {
        if (self.known)(node).is_none() {
            return;
        }
        let Some(mut fields) = self.fields(node, "`machines` of `cluster`") else {
            return;
        };
        for (key, role) in ROLES {
            let Some((name, list)) = fields.take_entry(key) else {
                continue;
            };
            let before = machines.len();
            match &list.kind {
                NodeKind::Seq(items) => machines.extend(items.iter().filter_map(|item| self.machine(item, role))),
                NodeKind::Null => {}
                NodeKind::Str(text, _) if text.contains("{{") => continue,
                _ => {
                    let text = format!("`{key}` is a list of machines, not {}", list.type_name());
                    let found = Diagnostic::new("wrong-type", text).at(list.span, "");
                    self.errors.push(found.help("each begins with `- name: …`"));
                    continue;
                }
            }
            self.errors.0.extend(count(role, name, machines.len() - before));
        }
        if !fields.has("masters") {
            let found = Diagnostic::new("missing-key", "`machines` of `cluster` needs `masters`");
            self.errors.push(found.at(node.span, "no `masters` in here"));
        }
        self.errors.absorb(fields.finish(&ROLES.map(|(key, _)| key)));
    }

    fn machine(&mut self, node: &Node, role: Role) -> Option<Machine> {
        (self.known)(node)?;
        let mut fields = self.fields(node, "a machine")?;
        let machine = Machine {
            role,
            name: self.required(&mut fields, "name", label),
            mac: self.required(&mut fields, "mac", hardware_address),
            ip: self.required(&mut fields, "ip", address),
        };
        self.errors.absorb(fields.finish(MACHINE_KEYS));
        Some(machine)
    }

    fn fields<'n>(&mut self, node: &'n Node, what: &str) -> Option<Fields<'n>> {
        let fields = self.errors.absorb(Fields::new(node, what))?;
        Some(fields.noun("key"))
    }

    fn required<T>(
        &mut self,
        fields: &mut Fields<'_>,
        key: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Option<At<T>> {
        match fields.require(key) {
            Ok(node) => {
                let what = format!("`{key}` of {}", fields.what());
                self.value(node, &what, read)
            }
            Err(missing) => {
                self.errors.push(missing);
                None
            }
        }
    }

    fn optional<T>(
        &mut self,
        fields: &mut Fields<'_>,
        key: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Option<At<T>> {
        let what = format!("`{key}` of {}", fields.what());
        let node = fields.take(key)?;
        self.value(node, &what, read)
    }

    /// A scalar read; a mistake in it stands at its place.
    fn value<T>(&mut self, node: &Node, what: &str, read: impl Fn(&str) -> Result<T, String>) -> Option<At<T>> {
        let text = match (self.known)(node)? {
            Value::List(_) | Value::Map(_) | Value::Null => {
                let found = Diagnostic::new("wrong-type", format!("{what} is text, not {}", node.type_name()));
                self.errors.push(found.at(node.span, ""));
                return None;
            }
            Value::Unknown(_) => return None,
            value => value.to_string(),
        };
        match read(&text) {
            Ok(value) => Some(At { value, span: node.span }),
            Err(why) => {
                let found = Diagnostic::new("wrong-value", format!("{what}: {why}"));
                self.errors.push(found.at(node.span, ""));
                None
            }
        }
    }
}

/// How many machines of a role there may be.
fn count(role: Role, key: &Node, count: usize) -> Option<Diagnostic> {
    let (message, help) = match role {
        Role::Master if !matches!(count, 1 | 3 | 5) => (
            format!("a cluster has 1, 3 or 5 masters, not {count}"),
            "etcd decides by majority: an even number of members survives no more failures than one less",
        ),
        Role::Bootstrap if count > 1 => (
            format!("a cluster has one bootstrap machine, not {count}"),
            "it serves only until the control plane stands",
        ),
        _ => return None,
    };
    Some(Diagnostic::new("machine-count", message).at(key.span, "").note(help))
}

impl Topology {
    fn problems(&self, errors: &mut Diagnostics) {
        self.names(errors);
        self.hardware_addresses(errors);
        self.addresses(errors);
        self.network_addresses(errors);
        self.pool(errors);
        self.overlaps(errors);
    }

    fn names(&self, errors: &mut Diagnostics) {
        let mut seen: HashMap<&str, Span> = HashMap::new();
        for name in self.machines.iter().filter_map(|machine| machine.name.as_ref()) {
            if SERVICES_NAMES.contains(&name.value.as_str()) {
                let text = format!("a machine cannot be named `{}`", name.value);
                let found = Diagnostic::new("duplicate-name", text).at(name.span, "");
                let services = self.services.map(|services| services.span);
                errors.push(found.at_some(services, "the name of this address, the services host's"));
            }
            if let Some(first) = seen.insert(&name.value, name.span) {
                let text = format!("two machines are named `{}`", name.value);
                errors.push(
                    Diagnostic::new("duplicate-name", text)
                        .at(name.span, "the second one")
                        .at(first, "the first one"),
                );
            }
        }
        if let (Some(name), Some(base)) = (&self.name, &self.base_domain) {
            let longest = self.machines.iter().filter_map(|machine| machine.name.as_ref());
            let longest = longest
                .map(|name| name.value.len())
                .max()
                .unwrap_or(0)
                .max("api-int".len());
            let whole = longest + name.value.len() + base.value.len() + 2;
            if whole > 253 {
                let text = format!(
                    "names below `{}.{}` have up to {whole} letters; DNS allows 253",
                    name.value, base.value
                );
                errors.push(Diagnostic::new("wrong-value", text).at(base.span, "").at(name.span, ""));
            }
            if base.value == "local" || base.value.ends_with(".local") {
                let text = format!(
                    "`{}` is looked for by multicast, not asked of a name server",
                    base.value
                );
                let found = Diagnostic::warning("local-domain", text).at(base.span, "");
                errors.push(found.note("`.local` belongs to mDNS (RFC 6762)"));
            }
        }
    }

    /// Every address that is given, and whose it is.
    fn holders(&self) -> impl Iterator<Item = (At<Ipv4Addr>, String)> {
        let services = self.services.map(|at| (at, "the services host".to_owned()));
        let machines = self.machines.iter();
        services
            .into_iter()
            .chain(machines.filter_map(|machine| Some((machine.ip?, machine.shown()))))
    }

    fn hardware_addresses(&self, errors: &mut Diagnostics) {
        let mut seen: HashMap<&str, (String, Span)> = HashMap::new();
        for machine in &self.machines {
            let Some(mac) = &machine.mac else { continue };
            let who = machine.shown();
            if let Some((other, first)) = seen.insert(&mac.value, (who.clone(), mac.span)) {
                let text = format!("{other} and {who} have the same hardware address {}", mac.value);
                errors.push(
                    Diagnostic::new("duplicate-mac", text)
                        .at(mac.span, format!("of {who}"))
                        .at(first, format!("of {other}")),
                );
            }
        }
    }

    fn addresses(&self, errors: &mut Diagnostics) {
        let mut seen: HashMap<Ipv4Addr, (String, Span)> = HashMap::new();
        for (at, who) in self.holders() {
            let Some((other, first)) = seen.insert(at.value, (who.clone(), at.span)) else {
                continue;
            };
            let text = format!("{other} and {who} have the same address {}", at.value);
            errors.push(
                Diagnostic::new("duplicate-address", text)
                    .at(at.span, format!("of {who}"))
                    .at(first, format!("of {other}")),
            );
        }
    }

    fn network_addresses(&self, errors: &mut Diagnostics) {
        let Some(network) = &self.network else { return };
        for (at, who) in self.holders() {
            if let Some(why) = unusable(network.value, at.value) {
                let text = format!("{} cannot be the address of {who}: {why}", at.value);
                errors.push(
                    Diagnostic::new("unusable-address", text)
                        .at(at.span, "")
                        .at(network.span, "the network"),
                );
            }
        }
    }

    fn pool(&self, errors: &mut Diagnostics) {
        let Some(pool) = &self.pool else { return };
        let (first, last) = pool.value;
        if let Some(network) = &self.network {
            let why = [first, last]
                .into_iter()
                .find_map(|address| Some((address, unusable(network.value, address)?)));
            if let Some((address, why)) = why {
                let text = format!("the pool cannot hold {address}: {why}");
                errors.push(
                    Diagnostic::new("pool-outside", text)
                        .at(pool.span, "")
                        .at(network.span, "the network"),
                );
            }
        }
        let held: Vec<_> = self
            .holders()
            .filter(|(at, _)| first <= at.value && at.value <= last)
            .collect();
        if held.is_empty() {
            return;
        }
        let text = format!("the pool {first}-{last} holds addresses that are given already");
        let mut found = Diagnostic::new("pool-overlap", text).at(pool.span, "visitors would get them");
        for (at, who) in held {
            found = found.at(at.span, format!("the address of {who}"));
        }
        errors.push(found);
    }

    fn overlaps(&self, errors: &mut Diagnostics) {
        let own = self.network.map(|at| ("network", at.value, Some(at.span)));
        let all: Vec<_> = own.into_iter().chain(self.inner.iter().copied()).collect();
        for (index, (key, network, span)) in all.iter().enumerate() {
            for (other_key, other, other_span) in all
                .iter()
                .skip(index + 1)
                .filter(|(_, other, _)| network.overlaps(*other))
            {
                let shown = |key: &str, network: &Network, span: &Option<Span>| {
                    let default = if span.is_none() { ", OKD's default" } else { "" };
                    format!("`{key}` ({}/{}{default})", network.address, network.prefix)
                };
                let text = format!(
                    "{} and {} overlap",
                    shown(key, network, span),
                    shown(other_key, other, other_span)
                );
                let found = Diagnostic::new("network-overlap", text);
                let found = found.at_some(*other_span, "").at_some(*span, "");
                errors.push(match other_span {
                    None => found.help(format!("`{other_key}: …` in `cluster` chooses another one")),
                    Some(_) => found,
                });
            }
        }
    }
}

impl Machine {
    /// How messages call it.
    fn shown(&self) -> String {
        match &self.name {
            Some(name) => format!("`{}`", name.value),
            None => "a machine".to_owned(),
        }
    }
}

/// Why no machine can have this address in this network.
fn unusable(network: Network, address: Ipv4Addr) -> Option<String> {
    let shown = format!("{}/{}", network.address, network.prefix);
    if !network.contains(address.into()) {
        return Some(format!("it lies outside of {shown}"));
    }
    let (_, last) = network.v4()?;
    if IpAddr::from(address) == network.address {
        return Some(format!("it is the address of the network {shown} itself"));
    }
    (address == last).then(|| format!("it is the broadcast address of {shown}"))
}

fn address(text: &str) -> Result<Ipv4Addr, String> {
    text.parse()
        .map_err(|_| format!("`{text}` is not an address such as 10.0.0.2"))
}

fn network(text: &str) -> Result<Network, String> {
    let network = Network::new(text)?;
    match network.address {
        IpAddr::V4(_) if network.prefix <= 29 => Ok(network),
        IpAddr::V4(_) => Err(format!(
            "`{text}` is too small: 8 addresses at least, a length of 29 or less"
        )),
        IpAddr::V6(_) => Err(format!("`{text}` is of IPv6; machines are addressed by IPv4 here")),
    }
}

fn hardware_address(text: &str) -> Result<String, String> {
    let address = mac(text)?;
    let first = u8::from_str_radix(&address[..2], 16).unwrap_or_default();
    if address == "00:00:00:00:00:00" {
        return Err(format!("`{text}` is nobody's"));
    }
    if first & 1 == 1 {
        return Err(format!(
            "`{text}` is an address of a group: the second digit of a machine's is even"
        ));
    }
    Ok(address)
}

/// A DNS label as host names have them: RFC 1123, in lower case, because that is how nodes are named.
fn label(text: &str) -> Result<String, String> {
    let lower = text.to_ascii_lowercase();
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if text.is_empty() || text.len() > 63 {
        return Err(format!("`{text}` has {} letters; a DNS label has 1 to 63", text.len()));
    }
    if text != lower && lower.chars().all(allowed) {
        return Err(format!("`{text}` has capitals; write `{lower}`"));
    }
    if let Some(odd) = text.chars().find(|c| !allowed(*c)) {
        return Err(format!("`{text}` holds `{odd}`; a DNS label has a-z, 0-9 and `-` only"));
    }
    if text.starts_with('-') || text.ends_with('-') {
        return Err(format!("`{text}` begins or ends with `-`; a DNS label does not"));
    }
    Ok(text.to_owned())
}

fn domain(text: &str) -> Result<String, String> {
    text.trim_end_matches('.')
        .split('.')
        .try_for_each(|part| label(part).map(drop))?;
    Ok(text.trim_end_matches('.').to_owned())
}

fn mtu(text: &str) -> Result<u16, String> {
    let number: Option<u16> = text.parse().ok();
    number
        .filter(|number| (1280..=9216).contains(number))
        .ok_or_else(|| format!("`{text}` is not a packet's size from 1280 to 9216 bytes"))
}
