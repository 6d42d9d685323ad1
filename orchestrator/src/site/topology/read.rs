//! From YAML to a [`Topology`]: each part by name and type; what is wrong is said at its place, what hangs on facts is left out.

use super::scalar::{
    address, any_address, boolean, boot, domain, hardware_address, interface, label, memory, mtu, network,
    network_type, number, pod_mtu, release, variable, word,
};
use super::{At, Hardware, INNER, Inner, Location, Machine, Node as PveNode, Role, Topology, Vips, Vxlan};
use crate::error::{Diagnostic, Diagnostics};
use crate::source::Span;
use crate::source::decode::Fields;
use crate::source::yaml::{Node, NodeKind, Style};
use okd_agent::Value;
use okd_agent::resource::network::range;
use std::borrow::Cow;

const KEYS: &[&str] = &[
    "name",
    "base_domain",
    "release",
    "network_type",
    "network",
    "services",
    "gateway",
    "vips",
    "pool",
    "mtu",
    "underlay_mtu",
    "pod_mtu",
    "forwarders",
    "dnssec_validation",
    "ntp",
    "web_port",
    "pull_secret",
    "ssh_key",
    "boot",
    "defaults",
    "machines",
    "sites",
    "vxlan",
    "cluster_network",
    "host_prefix",
    "service_network",
    "join_network",
    "transit_network",
];
const ROLES: [(&str, Role); 3] = [
    ("bootstrap", Role::Bootstrap),
    ("masters", Role::Master),
    ("workers", Role::Worker),
];
const HARDWARE_KEYS: &[&str] = &["cores", "memory", "disk", "node", "site", "bridge"];
const ROLE_KEYS: &[&str] = &["cores", "memory", "disk", "node", "site", "bridge", "boot"];
const MACHINE_KEYS: &[&str] = &[
    "name", "mac", "ip", "vmid", "cores", "memory", "disk", "node", "site", "bridge", "boot",
];
const SERVICES_KEYS: &[&str] = &[
    "ip",
    "mac",
    "vmid",
    "cores",
    "memory",
    "disk",
    "node",
    "site",
    "bridge",
    "public",
    "outer_mac",
    "outer_bridge",
];
const SITE_KEYS: &[&str] = &["nodes", "bridge", "underlay_mtu", "api_host", "storage", "iso_storage"];
const NODE_KEYS: &[&str] = &["vtep", "bridge"];
const VXLAN_KEYS: &[&str] = &["vni", "port", "ipsec", "vlan"];

/// Hardware of each role where a machine does not say its own.
#[derive(Default)]
struct Defaults {
    services: Hardware,
    roles: [Hardware; 3],
}

/// Reads a description. `known` gives what a node means before anything is contacted, `None` where that hangs on facts.
pub(super) fn read(node: &Node, known: &dyn Fn(&Node) -> Option<Value>) -> (Topology, Diagnostics) {
    let mut reader = Reader {
        known,
        errors: Diagnostics::default(),
    };
    let topology = reader.topology(node);
    (topology, reader.errors)
}

/// A value that a template gave, as a tree that stands where the template does.
pub(super) fn grown(value: &Value, span: Span) -> Node {
    let kind = match value {
        Value::Null | Value::Unknown(_) => NodeKind::Null,
        Value::Bool(truth) => NodeKind::Bool(*truth),
        Value::Int(number) => NodeKind::Int(*number),
        Value::Float(number) => NodeKind::Float(*number),
        Value::Str(text) => NodeKind::Str(text.clone(), Style::Plain),
        Value::List(items) => NodeKind::Seq(items.iter().map(|item| grown(item, span)).collect()),
        Value::Map(entries) => {
            let entry = |(key, value): (&String, &Value)| (Node::str(key.as_str(), span), grown(value, span));
            NodeKind::Map(entries.iter().map(entry).collect())
        }
    };
    Node::new(kind, span)
}

/// Whether this is text that has to be rendered before it is anything.
pub(super) fn is_template(node: &Node) -> bool {
    node.as_str()
        .is_some_and(|text| text.contains("{{") || text.contains("{%"))
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
            release: self.optional(&mut fields, "release", release),
            network_type: self.optional(&mut fields, "network_type", network_type),
            network: self.required(&mut fields, "network", network),
            gateway: self.optional(&mut fields, "gateway", address),
            pool: self.optional(&mut fields, "pool", range),
            mtu: self.optional(&mut fields, "mtu", mtu),
            underlay_mtu: self.optional(&mut fields, "underlay_mtu", mtu),
            pod_mtu: self.optional(&mut fields, "pod_mtu", pod_mtu),
            host_prefix: self.optional(&mut fields, "host_prefix", number("a length", 1, 30)),
            web_port: self.optional(&mut fields, "web_port", number("a port", 1, 65535)),
            pull_secret: self.optional(&mut fields, "pull_secret", variable),
            ssh_key: self.optional(&mut fields, "ssh_key", variable),
            dnssec_validation: self.optional(&mut fields, "dnssec_validation", word),
            boot: self.optional(&mut fields, "boot", boot),
            ..Topology::default()
        };
        for (key, default) in INNER {
            let given = self.optional(&mut fields, key, network);
            let found = match (given, fields.has(key)) {
                (Some(given), _) => Some((given.value, Some(given.span))),
                (None, true) => None,
                (None, false) => network(default).ok().map(|network| (network, None)),
            };
            topology
                .inner
                .extend(found.map(|(network, span)| Inner { key, network, span }));
        }
        topology.forwarders = self.addresses(&mut fields, "forwarders");
        topology.ntp = self.addresses(&mut fields, "ntp");
        topology.vips = self.vips(&mut fields);
        let defaults = self.defaults(&mut fields);
        self.services(&mut fields, &defaults, &mut topology);
        topology.vxlan = self.vxlan(&mut fields);
        self.sites(&mut fields, &mut topology);
        match fields.require("machines") {
            Ok(machines) => self.roles(machines, &defaults, &mut topology.machines),
            Err(missing) => self.errors.push(missing),
        }
        self.errors.absorb(fields.finish(KEYS));
        topology.settle(node.span);
        topology
    }

    fn addresses(&mut self, fields: &mut Fields<'_>, key: &str) -> Vec<At<std::net::IpAddr>> {
        let Some(node) = fields.take(key).and_then(|node| self.settled(node)) else {
            return Vec::new();
        };
        let items = match &node.kind {
            NodeKind::Seq(items) => items.as_slice(),
            _ => std::slice::from_ref(&*node),
        };
        let what = format!("`{key}` of `cluster`");
        items
            .iter()
            .filter_map(|item| self.value(item, &what, any_address))
            .collect()
    }

    fn vips(&mut self, fields: &mut Fields<'_>) -> Vips {
        let node = fields.take("vips").and_then(|node| self.settled(node));
        let Some(mut own) = node.as_ref().and_then(|node| self.fields(node, "`vips`")) else {
            return Vips::default();
        };
        let vips = Vips {
            api: self.optional(&mut own, "api", address),
            api_int: self.optional(&mut own, "api_int", address),
            ingress: self.optional(&mut own, "ingress", address),
        };
        self.errors.absorb(own.finish(&["api", "api_int", "ingress"]));
        vips
    }

    fn defaults(&mut self, fields: &mut Fields<'_>) -> Defaults {
        let mut defaults = Defaults::default();
        let node = fields.take("defaults").and_then(|node| self.settled(node));
        let Some(own) = node.as_ref().and_then(|node| self.fields(node, "`defaults`")) else {
            return defaults;
        };
        for (key, value) in own.node().entries() {
            let name = key.as_str().unwrap_or_default();
            let role = ROLES.iter().position(|(role, _)| *role == name);
            let Some(hardware) = (match (name, role) {
                ("services", _) => Some(&mut defaults.services),
                (_, Some(at)) => defaults.roles.get_mut(at),
                _ => None,
            }) else {
                let text = format!("`{}` is not a role", key.to_value());
                let found = Diagnostic::new("unknown-key", text).at(key.span, "");
                let known = ROLES.iter().map(|(role, _)| *role).chain(["services"]);
                self.errors.push(found.did_you_mean(name, known));
                continue;
            };
            let what = format!("`{name}` of `defaults`");
            let Some(node) = self.settled(value) else { continue };
            let Some(mut fields) = self.fields(&node, &what) else {
                continue;
            };
            *hardware = self.hardware(&mut fields);
            let mut known = HARDWARE_KEYS;
            if role.is_some() {
                hardware.boot = self.optional(&mut fields, "boot", boot);
                known = ROLE_KEYS;
            }
            self.errors.absorb(fields.finish(known));
        }
        defaults
    }

    fn hardware(&mut self, fields: &mut Fields<'_>) -> Hardware {
        Hardware {
            cores: self.optional(fields, "cores", number("a number of cores", 1, 512)),
            memory: self.optional(fields, "memory", memory),
            disk: self.optional(fields, "disk", number("a size in GiB", 1, 1 << 16)),
            node: self.optional(fields, "node", label),
            site: self.optional(fields, "site", label),
            bridge: self.optional(fields, "bridge", interface),
            boot: None,
        }
    }

    /// The services host: its address alone, or a mapping with more.
    fn services(&mut self, fields: &mut Fields<'_>, defaults: &Defaults, topology: &mut Topology) {
        let node = match fields.require("services") {
            Ok(node) => node,
            Err(missing) => return self.errors.push(missing),
        };
        let Some(node) = self.settled(node) else { return };
        let mut machine = Machine::new(Role::Services, node.span);
        machine.hardware = defaults.services.clone();
        if node.as_map().is_none() {
            machine.ip = self.value(&node, "`services` of `cluster`", address);
            topology.services = Some(machine);
            return;
        }
        let Some(mut own) = self.fields(&node, "`services`") else {
            return;
        };
        machine.ip = self.required(&mut own, "ip", address);
        machine.mac = self.optional(&mut own, "mac", hardware_address);
        machine.vmid = self.optional(&mut own, "vmid", number("a number", 100, 999_999_999));
        machine.hardware = self.hardware(&mut own).or(&defaults.services);
        topology.public = self.optional(&mut own, "public", address);
        topology.outer_mac = self.optional(&mut own, "outer_mac", hardware_address);
        topology.outer_bridge = self.optional(&mut own, "outer_bridge", interface);
        self.errors.absorb(own.finish(SERVICES_KEYS));
        topology.services = Some(machine);
    }

    fn vxlan(&mut self, fields: &mut Fields<'_>) -> Vxlan {
        let mut vxlan = Vxlan::default();
        let Some(node) = fields.take("vxlan").and_then(|node| self.settled(node)) else {
            return vxlan;
        };
        vxlan.span = Some(node.span);
        if let NodeKind::Bool(wanted) = node.kind {
            vxlan.refused = !wanted;
            return vxlan;
        }
        let Some(mut own) = self.fields(&node, "`vxlan`") else {
            return vxlan;
        };
        vxlan.vni = self.optional(&mut own, "vni", number("a VXLAN network's number", 1, (1 << 24) - 1));
        vxlan.port = self.optional(&mut own, "port", number("a port", 1, 65535));
        vxlan.ipsec = self.optional(&mut own, "ipsec", boolean);
        vxlan.vlan = self.optional(&mut own, "vlan", boolean);
        self.errors.absorb(own.finish(VXLAN_KEYS));
        vxlan
    }

    fn sites(&mut self, fields: &mut Fields<'_>, topology: &mut Topology) {
        let node = fields.take("sites").and_then(|node| self.settled(node));
        let Some(own) = node.as_ref().and_then(|node| self.fields(node, "`sites`")) else {
            return;
        };
        topology.sites_span = Some(own.node().span);
        for (key, value) in own.node().entries() {
            let Some(name) = self.value(key, "a site's name", label) else {
                continue;
            };
            let Some(node) = self.settled(value) else { continue };
            let what = format!("the site `{}`", name.value);
            let Some(mut fields) = self.fields(&node, &what) else {
                continue;
            };
            let mut site = Location::new(name);
            site.bridge = self.optional(&mut fields, "bridge", interface);
            site.underlay_mtu = self.optional(&mut fields, "underlay_mtu", mtu);
            site.api_host = self.optional(&mut fields, "api_host", word);
            site.storage = self.optional(&mut fields, "storage", word);
            site.iso_storage = self.optional(&mut fields, "iso_storage", word);
            match fields.require("nodes") {
                Ok(nodes) => site.nodes = self.nodes(nodes, &what),
                Err(missing) => self
                    .errors
                    .push(missing.help("`nodes: {pve: {}}` names the Proxmox nodes of the site")),
            }
            self.errors.absorb(fields.finish(SITE_KEYS));
            topology.sites.push(site);
        }
    }

    /// `[pve1, pve2]`, `{pve1: 192.0.2.11}` or `{pve1: {vtep: 192.0.2.11}}`.
    fn nodes(&mut self, node: &Node, site: &str) -> Vec<PveNode> {
        let Some(node) = self.settled(node) else {
            return Vec::new();
        };
        let mut nodes = Vec::new();
        for item in node.items() {
            let name = self.value(item, "a node's name", label);
            nodes.extend(name.map(PveNode::new));
        }
        for (key, value) in node.entries() {
            let Some(name) = self.value(key, "a node's name", label) else {
                continue;
            };
            let what = format!("the node `{}`", name.value);
            let mut one = PveNode::new(name);
            let Some(value) = self.settled(value) else { continue };
            if value.as_map().is_some() || value.is_null() {
                let Some(mut fields) = self.fields(&value, &what) else {
                    continue;
                };
                one.vtep = self.optional(&mut fields, "vtep", any_address);
                one.bridge = self.optional(&mut fields, "bridge", interface);
                self.errors.absorb(fields.finish(NODE_KEYS));
            } else {
                one.vtep = self.value(&value, &format!("the VTEP of {what}"), any_address);
            }
            nodes.push(one);
        }
        if nodes.is_empty() && node.items().len() + node.entries().len() == 0 {
            let found = Diagnostic::new("missing-key", format!("{site} has no node")).at(node.span, "");
            self.errors
                .push(found.help("`nodes: {pve: {}}` names its Proxmox nodes"));
        }
        nodes
    }

    fn roles(&mut self, node: &Node, defaults: &Defaults, machines: &mut Vec<Machine>) {
        let Some(node) = self.settled(node).filter(|node| (self.known)(node).is_some()) else {
            return;
        };
        let Some(mut fields) = self.fields(&node, "`machines` of `cluster`") else {
            return;
        };
        for ((key, role), hardware) in ROLES.into_iter().zip(&defaults.roles) {
            let Some((name, list)) = fields.take_entry(key) else {
                continue;
            };
            let Some(list) = self.settled(list) else { continue };
            let before = machines.len();
            match &list.kind {
                NodeKind::Seq(items) => {
                    machines.extend(items.iter().filter_map(|item| self.machine(item, role, hardware)))
                }
                NodeKind::Null => {}
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

    fn machine(&mut self, node: &Node, role: Role, defaults: &Hardware) -> Option<Machine> {
        (self.known)(node)?;
        let node = self.settled(node)?;
        let mut fields = self.fields(&node, "a machine")?;
        let own = Hardware {
            boot: self.optional(&mut fields, "boot", boot),
            ..self.hardware(&mut fields)
        };
        let machine = Machine {
            name: self.required(&mut fields, "name", label),
            mac: self.optional(&mut fields, "mac", hardware_address),
            ip: self.required(&mut fields, "ip", address),
            vmid: self.optional(&mut fields, "vmid", number("a number", 100, 999_999_999)),
            hardware: own.or(defaults),
            ..Machine::new(role, node.span)
        };
        self.errors.absorb(fields.finish(MACHINE_KEYS));
        Some(machine)
    }

    /// The node as it is meant: what a template gives stands in the template's place. `None` where it hangs on facts.
    fn settled<'n>(&self, node: &'n Node) -> Option<Cow<'n, Node>> {
        if !is_template(node) {
            return Some(Cow::Borrowed(node));
        }
        match (self.known)(node)? {
            Value::Unknown(_) => None,
            value => Some(Cow::Owned(grown(&value, node.span))),
        }
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
