//! The one `cluster:` description: machines, network, names, sites. Everything is configured from it, so it is checked whole
//! before anything is contacted, and each contradiction names both of its sides. What it leaves out is chosen here.

mod complete;
mod machines;
mod networks;
mod overlay;
mod picture;
mod read;
mod scalar;
mod table;

pub use complete::complete;
pub use picture::picture;
pub use scalar::{Boot, NetworkType, Release};
pub use table::table;

use crate::error::{Diagnostic, Diagnostics};
use crate::source::Span;
use crate::source::yaml::Node as Yaml;
use crate::template::{Engine, Found, RenderError, Scope};
use okd_agent::Value;
use okd_agent::resource::network::Network;
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// The variable that holds the description.
pub const VARIABLE: &str = "cluster";
/// The magic variable that gives it completed.
pub const MAGIC: &str = "topology";

/// What is known of the cluster before a run. A part is `None` where it is not given, is wrong, or hangs on facts.
#[derive(Debug, Clone, Default)]
pub struct Topology {
    /// The cluster's name, a DNS label.
    pub name: Option<At<String>>,
    /// The domain that the cluster's name stands below.
    pub base_domain: Option<At<String>>,
    /// The release to install.
    pub release: Option<At<Release>>,
    /// What joins the pods.
    pub network_type: Option<At<NetworkType>>,
    /// The network of the machines, on all sites.
    pub network: Option<At<Network>>,
    /// The machines' way out.
    pub gateway: Option<At<Ipv4Addr>>,
    /// Where the names of the cluster's services lead.
    pub vips: Vips,
    /// First and last address for machines without one of their own.
    pub pool: Option<At<(Ipv4Addr, Ipv4Addr)>>,
    /// Networks of the cluster's own: given, or OKD's defaults.
    pub inner: Vec<Inner>,
    /// The length of each node's share of `cluster_network`.
    pub host_prefix: Option<At<u64>>,
    /// Name servers that the services host asks.
    pub forwarders: Vec<At<IpAddr>>,
    /// Time servers that the machines ask.
    pub ntp: Vec<At<IpAddr>>,
    /// `dnssec-validation` of the name server.
    pub dnssec_validation: Option<At<String>>,
    /// Bytes of a machine's packet.
    pub mtu: Option<At<u16>>,
    /// Bytes of a packet between the Proxmox nodes.
    pub underlay_mtu: Option<At<u16>>,
    /// Bytes of a pod's packet.
    pub pod_mtu: Option<At<u16>>,
    /// The port of the web server that the machines boot from.
    pub web_port: Option<At<u64>>,
    /// The variable that holds the pull secret.
    pub pull_secret: Option<At<String>>,
    /// The variable that holds the public SSH key for the machines.
    pub ssh_key: Option<At<String>>,
    /// What joins the sites.
    pub vxlan: Vxlan,
    /// The sites, in the order written.
    pub sites: Vec<Location>,
    /// Where they are written.
    pub sites_span: Option<Span>,
    /// The services host.
    pub services: Option<Machine>,
    /// Its address to the outside.
    pub public: Option<At<Ipv4Addr>>,
    /// The hardware address of its card to the outside.
    pub outer_mac: Option<At<String>>,
    /// The bridge to the outside.
    pub outer_bridge: Option<At<String>>,
    /// How machines boot first, where they do not say.
    pub boot: Option<At<Boot>>,
    /// The machines, in the order written.
    pub machines: Vec<Machine>,
}

/// A network that the cluster uses inside.
#[derive(Debug, Clone, Copy)]
pub struct Inner {
    /// Its key.
    pub key: &'static str,
    /// Which it is.
    pub network: Network,
    /// Where it is given; `None` for OKD's default.
    pub span: Option<Span>,
}

/// The addresses behind the names of the cluster's services; the services host's where none is given.
#[derive(Debug, Clone, Default)]
pub struct Vips {
    /// `api`.
    pub api: Option<At<Ipv4Addr>>,
    /// `api-int`.
    pub api_int: Option<At<Ipv4Addr>>,
    /// `*.apps`.
    pub ingress: Option<At<Ipv4Addr>>,
}

/// How the bridges of the nodes are joined.
#[derive(Debug, Clone, Default)]
pub struct Vxlan {
    /// Where it is written.
    pub span: Option<Span>,
    /// `vxlan: false`: they are joined by other means.
    pub refused: bool,
    /// The VXLAN network's number.
    pub vni: Option<At<u64>>,
    /// The UDP port.
    pub port: Option<At<u64>>,
    /// Whether IPsec wraps it.
    pub ipsec: Option<At<bool>>,
    /// Whether the underlay carries a VLAN tag.
    pub vlan: Option<At<bool>>,
}

/// A site: Proxmox nodes at one place.
#[derive(Debug, Clone)]
pub struct Location {
    /// Its name.
    pub name: At<String>,
    /// Its nodes, in the order written.
    pub nodes: Vec<Node>,
    /// The bridge that machines are on.
    pub bridge: Option<At<String>>,
    /// Bytes of a packet between this site's nodes and others.
    pub underlay_mtu: Option<At<u16>>,
    /// Where its API is, for sites that are no one Proxmox cluster.
    pub api_host: Option<At<String>>,
    /// The storage for disks.
    pub storage: Option<At<String>>,
    /// The storage for images.
    pub iso_storage: Option<At<String>>,
}

/// A Proxmox node.
#[derive(Debug, Clone)]
pub struct Node {
    /// Its name.
    pub name: At<String>,
    /// Its end of the VXLAN.
    pub vtep: Option<At<IpAddr>>,
    /// The bridge that machines are on, where it is not its site's.
    pub bridge: Option<At<String>>,
}

/// A machine of the cluster, or the services host.
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
    /// Its number on Proxmox VE.
    pub vmid: Option<At<u64>>,
    /// What it is made of, the role's defaults included.
    pub hardware: Hardware,
    /// Where it is written.
    pub span: Span,
}

/// What a machine is made of and where it stands.
#[derive(Debug, Clone, Default)]
pub struct Hardware {
    /// Cores.
    pub cores: Option<At<u64>>,
    /// MiB of memory.
    pub memory: Option<At<u64>>,
    /// GiB of disk.
    pub disk: Option<At<u64>>,
    /// The Proxmox node.
    pub node: Option<At<String>>,
    /// The site.
    pub site: Option<At<String>>,
    /// The bridge.
    pub bridge: Option<At<String>>,
    /// How it boots first.
    pub boot: Option<At<Boot>>,
}

/// What a machine is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Names, addresses, files and the balancer.
    Services,
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

/// The networks that a cluster uses inside, with OKD's defaults; the last two are OVN-Kubernetes' own.
const INNER: [(&str, &str); 4] = [
    ("cluster_network", "10.128.0.0/14"),
    ("service_network", "172.30.0.0/16"),
    ("join_network", "100.64.0.0/16"),
    ("transit_network", "100.88.0.0/16"),
];
/// The release where none is given.
const RELEASE: &str = "4.22.0-okd-scos.0";
/// Bytes of a packet where nothing else is said: Ethernet's.
const ETHERNET: u16 = 1500;
const WEB_PORT: u16 = 8080;
const HOST_PREFIX: u64 = 23;
const VNI: u64 = 100;
/// The UDP port of VXLAN (RFC 7348).
const VXLAN_PORT: u64 = 4789;
/// Names that Proxmox VE gives when it is installed, and the guide's bridge.
const NODE: &str = "pve";
const SITE: &str = "main";
const BRIDGE: &str = "vmbr1";
const OUTER_BRIDGE: &str = "vmbr0";
const STORAGE: &str = "local-lvm";
const ISO_STORAGE: &str = "local";

/// Whether a variable named `cluster` is this description and not one that happens to bear its name: a mapping with at
/// least three of `machines`, `network`, `services` and `base_domain`, so that one misspelt key does not hide it.
#[must_use]
pub fn is_description(node: &Yaml) -> bool {
    let telling = ["machines", "network", "services", "base_domain"];
    telling.iter().filter(|key| node.get(key).is_some()).count() >= 3
}

/// The description that a variable holds, also by way of a template; `None` where it is none, or hangs on facts.
#[must_use]
pub fn description<'n>(node: &'n Yaml, known: &dyn Fn(&Yaml) -> Option<Value>) -> Option<Cow<'n, Yaml>> {
    let settled = match read::is_template(node) {
        true => Cow::Owned(read::grown(&known(node)?, node.span)),
        false => Cow::Borrowed(node),
    };
    is_description(&settled).then_some(settled)
}

/// Reads a description and says everything that is wrong with it. `known` gives what a node means before anything is
/// contacted, `None` where that hangs on facts.
pub fn check(node: &Yaml, known: &dyn Fn(&Yaml) -> Option<Value>) -> (Topology, Diagnostics) {
    let (topology, mut errors) = read::read(node, known);
    topology.problems(&mut errors);
    (topology, errors)
}

thread_local! {
    /// Whose description this thread is reading: one that uses what is made of it has no end.
    static READING: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// The magic variable, for a host whose `cluster` is a description. It is pending where a part of that is.
pub fn magic(host: &str, node: &Arc<Yaml>, engine: &Engine, scope: &Arc<dyn Scope>) -> Option<Found> {
    if READING.with_borrow(|reading| reading.iter().any(|one| one == host)) {
        return None;
    }
    READING.with_borrow_mut(|reading| reading.push(host.to_owned()));
    let found = found(node, engine, scope);
    READING.with_borrow_mut(Vec::pop);
    found
}

fn found(node: &Arc<Yaml>, engine: &Engine, scope: &Arc<dyn Scope>) -> Option<Found> {
    let trouble: RefCell<Option<Found>> = RefCell::new(None);
    let known = |node: &Yaml| {
        let why = match engine.render(node, scope) {
            Ok(value) => match value.unknown() {
                Some(reason) => Found::Known(Value::Unknown(reason.to_owned())),
                None => return Some(value),
            },
            Err(RenderError::Pending(step)) => Found::Pending(step),
            // Rendered once more by whoever asks, it says what is wrong with it.
            Err(RenderError::Failed(_)) => Found::Raw(Arc::new(node.clone())),
        };
        trouble.borrow_mut().get_or_insert(why);
        None
    };
    let topology = description(node, &known).map(|node| read::read(&node, &known).0);
    match trouble.take() {
        Some(why) => Some(why),
        None => topology.map(|topology| Found::Known(complete(&topology))),
    }
}

impl Topology {
    fn problems(&self, errors: &mut Diagnostics) {
        self.names(errors);
        self.hardware_addresses(errors);
        self.numbers(errors);
        self.places(errors);
        self.addresses(errors);
        self.network_addresses(errors);
        self.pool(errors);
        self.overlaps(errors);
        self.captured(errors);
        self.shares(errors);
        self.public_names(errors);
        self.own_ports(errors);
        self.release_fits(errors);
        self.tunnel(errors);
        self.budget(errors);
    }

    /// The services host and the machines.
    pub fn all(&self) -> impl Iterator<Item = &Machine> {
        self.services.iter().chain(&self.machines)
    }

    /// The machines of a role.
    pub fn of(&self, role: Role) -> impl Iterator<Item = &Machine> {
        self.machines.iter().filter(move |machine| machine.role == role)
    }

    /// The cluster's own domain: its name below the base domain.
    #[must_use]
    pub fn domain(&self) -> Option<String> {
        Some(format!(
            "{}.{}",
            self.name.as_ref()?.value,
            self.base_domain.as_ref()?.value
        ))
    }

    /// Whether it has no workers, so that masters do all.
    #[must_use]
    pub fn compact(&self) -> bool {
        self.of(Role::Worker).next().is_none()
    }

    /// The release: given, or [`RELEASE`].
    #[must_use]
    pub fn release(&self) -> Release {
        let given = self.release.as_ref().map(|at| at.value.clone());
        given.unwrap_or_else(|| Release {
            text: RELEASE.to_owned(),
            minor: 22,
        })
    }

    /// What joins the pods: given, or what the release takes by itself, OVN-Kubernetes from 4.12 on.
    #[must_use]
    pub fn network_type(&self) -> NetworkType {
        let own = match self.release().minor {
            ..12 => NetworkType::OpenShiftSdn,
            12.. => NetworkType::OvnKubernetes,
        };
        self.network_type.map_or(own, |at| at.value)
    }

    /// A network of the cluster's own.
    #[must_use]
    pub fn inner(&self, key: &str) -> Option<Network> {
        self.inner
            .iter()
            .find(|inner| inner.key == key)
            .map(|inner| inner.network)
    }

    /// The services host's address.
    #[must_use]
    pub fn services_ip(&self) -> Option<At<Ipv4Addr>> {
        self.services.as_ref().and_then(|services| services.ip)
    }

    /// The address behind a name of the cluster's services.
    #[must_use]
    pub fn vip(&self, given: Option<At<Ipv4Addr>>) -> Option<Ipv4Addr> {
        given.or(self.services_ip()).map(|at| at.value)
    }

    /// How a machine boots first: given, for its role or for all, or [`Boot::Iso`].
    #[must_use]
    pub fn boot(&self, machine: &Machine) -> Boot {
        machine
            .hardware
            .boot
            .or(self.boot)
            .map_or(Boot::default(), |at| at.value)
    }

    /// A machine's hardware address: given, or chosen.
    #[must_use]
    pub fn mac(&self, machine: &Machine) -> Option<String> {
        match &machine.mac {
            Some(given) => Some(given.value.clone()),
            None => Some(chosen_mac(&self.domain()?, machine.host_name()?)),
        }
    }

    /// The hardware address of the services host's card to the outside.
    #[must_use]
    pub fn outer_mac(&self) -> Option<String> {
        match &self.outer_mac {
            Some(given) => Some(given.value.clone()),
            None => Some(chosen_mac(&self.domain()?, "services outside")),
        }
    }

    /// The port of the web server that the machines boot from.
    #[must_use]
    pub fn web_port_or_default(&self) -> u16 {
        let given = self.web_port.and_then(|at| u16::try_from(at.value).ok());
        given.unwrap_or(WEB_PORT)
    }
}

/// A hardware address that nobody has to choose: from the cluster's domain and the machine's name alone, so that it stays
/// when other machines come and go. Locally administered, of one machine (IEEE 802: the second and the first bit).
fn chosen_mac(domain: &str, name: &str) -> String {
    let hash = Sha256::digest(format!("{name}.{domain}"));
    let rest: Vec<String> = hash.iter().take(5).map(|byte| format!("{byte:02x}")).collect();
    format!("02:{}", rest.join(":"))
}

impl Location {
    fn new(name: At<String>) -> Self {
        Location {
            name,
            nodes: Vec::new(),
            bridge: None,
            underlay_mtu: None,
            api_host: None,
            storage: None,
            iso_storage: None,
        }
    }
}

impl Node {
    fn new(name: At<String>) -> Self {
        Node {
            name,
            vtep: None,
            bridge: None,
        }
    }
}

impl Hardware {
    /// These, and what they leave out.
    fn or(self, defaults: &Hardware) -> Hardware {
        // A machine's own node says its site, and the other way round: the role's is for neither.
        let placed = self.node.is_some() || self.site.is_some();
        let place = |own: Option<At<String>>, default: &Option<At<String>>| match placed {
            true => own,
            false => default.clone(),
        };
        Hardware {
            cores: self.cores.or(defaults.cores),
            memory: self.memory.or(defaults.memory),
            disk: self.disk.or(defaults.disk),
            node: place(self.node, &defaults.node),
            site: place(self.site, &defaults.site),
            bridge: self.bridge.or_else(|| defaults.bridge.clone()),
            boot: self.boot.or(defaults.boot),
        }
    }
}

impl Role {
    /// As the guide calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Role::Services => "services",
            Role::Bootstrap => "bootstrap",
            Role::Master => "master",
            Role::Worker => "worker",
        }
    }

    /// Cores, MiB of memory and GiB of disk where nothing is said: the guide's.
    #[must_use]
    pub fn size(self) -> (u64, u64, u64) {
        match self {
            Role::Services => (4, 4096, 100),
            Role::Bootstrap | Role::Master | Role::Worker => (4, 16384, 120),
        }
    }
}

impl Machine {
    fn new(role: Role, span: Span) -> Self {
        Machine {
            role,
            name: None,
            mac: None,
            ip: None,
            vmid: None,
            hardware: Hardware::default(),
            span,
        }
    }

    /// Its host name; the services host's is fixed.
    #[must_use]
    pub fn host_name(&self) -> Option<&str> {
        match (&self.name, self.role) {
            (Some(name), _) => Some(&name.value),
            (None, Role::Services) => Some("services"),
            (None, _) => None,
        }
    }

    /// Cores, MiB of memory and GiB of disk.
    #[must_use]
    pub fn size(&self) -> (u64, u64, u64) {
        let (cores, memory, disk) = self.role.size();
        let or = |given: Option<At<u64>>, default| given.map_or(default, |at| at.value);
        let own = &self.hardware;
        (or(own.cores, cores), or(own.memory, memory), or(own.disk, disk))
    }

    /// How messages call it.
    fn shown(&self) -> String {
        match (&self.name, self.role) {
            (Some(name), _) => format!("`{}`", name.value),
            (None, Role::Services) => "the services host".to_owned(),
            (None, _) => "a machine".to_owned(),
        }
    }
}

/// Two things that may not be the same, with both of their places.
fn twice(code: &'static str, text: String, second: (Span, String), first: (Span, String)) -> Diagnostic {
    Diagnostic::new(code, text).at(second.0, second.1).at(first.0, first.1)
}

#[cfg(test)]
mod tests {
    use super::chosen_mac;

    #[test]
    fn chosen_addresses_hang_on_names_alone() {
        let own = chosen_mac("okd.example.org", "master1");
        assert_eq!(own, "02:65:2c:97:68:f1");
        assert_ne!(own, chosen_mac("okd.example.net", "master1"));
    }
}
