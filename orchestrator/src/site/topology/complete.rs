//! The description completed: every machine with all that it needs, every number worked out, for templates and for `--format json`.

use super::{At, HOST_PREFIX, ISO_STORAGE, Machine, OUTER_BRIDGE, Role, STORAGE, Topology};
use okd_agent::Value;
use okd_agent::resource::network::Network;
use okd_agent::value::{Map, map};
use std::collections::BTreeSet;
use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr};

/// The magic variable `topology`.
#[must_use]
pub fn complete(topology: &Topology) -> Value {
    let mut all = Map::new();
    names(topology, &mut all);
    networks(topology, &mut all);
    places(topology, &mut all);
    machines(topology, &mut all);
    services(topology, &mut all);
    Value::Map(all)
}

fn names(topology: &Topology, all: &mut Map) {
    let text = |at: &Option<At<String>>| at.as_ref().map(|at| at.value.clone());
    all.extend(map([
        ("name", shown(text(&topology.name))),
        ("base_domain", shown(text(&topology.base_domain))),
        ("domain", shown(topology.domain())),
        ("release", topology.release().text.into()),
        ("network_type", topology.network_type().to_string().into()),
        ("compact", topology.compact().into()),
        ("masters_schedulable", topology.compact().into()),
        ("nip_io", matches!(topology.echoed(), Some(Ok(_))).into()),
        (
            "pull_secret",
            text(&topology.pull_secret)
                .unwrap_or_else(|| "okd_pull_secret".to_owned())
                .into(),
        ),
        (
            "ssh_key",
            text(&topology.ssh_key)
                .unwrap_or_else(|| "okd_ssh_key".to_owned())
                .into(),
        ),
    ]));
}

fn networks(topology: &Topology, all: &mut Map) {
    let network = topology.network.map(|at| at.value);
    let v4 = network.and_then(Network::v4);
    let services = topology.services_ip().map(|at| at.value);
    let gateway = topology.gateway.map(|at| at.value).or(services);
    let pool = topology.pool.map(|at| format!("{}-{}", at.value.0, at.value.1));
    all.extend(map([
        ("network", shown(network.map(written))),
        (
            "prefix",
            network.map_or(Value::Null, |network| Value::Int(network.prefix.into())),
        ),
        ("netmask", shown(v4.map(|(mask, _)| mask))),
        ("broadcast", shown(v4.map(|(_, last)| last))),
        ("gateway", shown(gateway)),
        ("pool", shown(pool)),
        ("host_prefix", whole(topology.host_prefix())),
        ("underlay_mtu", Value::Int(topology.underlay().into())),
        ("mtu", Value::Int(topology.node_mtu().into())),
        ("pod_mtu", Value::Int(topology.pods_mtu().into())),
        ("forwarders", addresses(&topology.forwarders)),
        ("ntp", addresses(&topology.ntp)),
        (
            "dnssec_validation",
            topology
                .dnssec_validation
                .as_ref()
                .map_or("auto", |at| dnssec(&at.value))
                .into(),
        ),
    ]));
    for inner in &topology.inner {
        all.insert(inner.key.to_owned(), written(inner.network).into());
    }
    let vips = &topology.vips;
    let vip = |given| shown(topology.vip(given));
    let vips = map([
        ("api", vip(vips.api)),
        ("api_int", vip(vips.api_int)),
        ("ingress", vip(vips.ingress)),
    ]);
    all.insert("vips".to_owned(), Value::Map(vips));
    let reverse = reverse_networks(topology).into_iter();
    let reverse = reverse.map(|network| Value::Map(map([("network", network.into())])));
    all.insert("reverse_zones".to_owned(), Value::List(reverse.collect()));
}

fn places(topology: &Topology, all: &mut Map) {
    let stands = topology.stands();
    let (vni, port) = topology.vni_and_port();
    let ips = |ips: &[IpAddr]| Value::List(ips.iter().map(|ip| ip.to_string().into()).collect());
    let nodes: Vec<Value> = stands
        .iter()
        .map(|stand| {
            Value::Map(map([
                ("name", stand.name.clone().into()),
                ("site", stand.site.clone().into()),
                ("bridge", stand.bridge.clone().into()),
                ("vtep", shown(stand.vtep)),
                ("peers", ips(&stand.peers)),
                ("underlay_mtu", Value::Int(stand.underlay_mtu.into())),
                ("api_host", shown(stand.api_host.clone())),
            ]))
        })
        .collect();
    let sites = topology.sites.iter().map(|site| {
        let text = |at: &Option<At<String>>| at.as_ref().map(|at| at.value.clone());
        let own = |node: &Value| node.get("site").and_then(Value::as_str) == Some(&site.name.value);
        Value::Map(map([
            ("name", site.name.value.clone().into()),
            ("api_host", shown(text(&site.api_host))),
            (
                "storage",
                text(&site.storage).unwrap_or_else(|| STORAGE.to_owned()).into(),
            ),
            (
                "iso_storage",
                text(&site.iso_storage).unwrap_or_else(|| ISO_STORAGE.to_owned()).into(),
            ),
            (
                "nodes",
                Value::List(nodes.iter().filter(|node| own(node)).cloned().collect()),
            ),
        ]))
    });
    all.insert("sites".to_owned(), Value::List(sites.collect()));
    all.insert("nodes".to_owned(), Value::List(nodes.clone()));
    let vxlan = match topology.tunnelled() {
        true => Value::Map(map([
            ("vni", whole(vni)),
            ("port", whole(port)),
            ("overhead", Value::Int(topology.tunnel_overhead().into())),
            ("ipsec", topology.vxlan.ipsec.is_some_and(|at| at.value).into()),
            (
                "peers",
                ips(&stands.iter().filter_map(|stand| stand.vtep).collect::<Vec<_>>()),
            ),
        ])),
        false => Value::Null,
    };
    all.insert("vxlan".to_owned(), vxlan);
}

fn machines(topology: &Topology, all: &mut Map) {
    let of = |roles: &[Role]| {
        let machines = topology.machines.iter().filter(|machine| roles.contains(&machine.role));
        let completed = machines.map(|one| {
            let mut own = machine(topology, one);
            own.insert("boot".to_owned(), topology.boot(one).to_string().into());
            Value::Map(own)
        });
        Value::List(completed.collect())
    };
    let ingress = if topology.compact() { Role::Master } else { Role::Worker };
    all.insert(
        "machines".to_owned(),
        of(&[Role::Bootstrap, Role::Master, Role::Worker]),
    );
    all.insert("bootstrap".to_owned(), of(&[Role::Bootstrap]));
    all.insert("masters".to_owned(), of(&[Role::Master]));
    all.insert("workers".to_owned(), of(&[Role::Worker]));
    all.insert("ingress".to_owned(), of(&[ingress]));
    let reservations = topology.machines.iter().map(|machine| {
        Value::Map(map([
            ("name", shown(machine.host_name())),
            ("mac", shown(topology.mac(machine))),
            ("ip", shown(machine.ip.map(|at| at.value))),
        ]))
    });
    all.insert("reservations".to_owned(), Value::List(reservations.collect()));
}

fn machine(topology: &Topology, machine: &Machine) -> Map {
    let (cores, memory, disk) = machine.size();
    let place = topology.place(machine);
    let name = machine.host_name();
    let fqdn = name.and_then(|name| Some(format!("{name}.{}", topology.domain()?)));
    map([
        ("name", shown(name)),
        ("fqdn", shown(fqdn)),
        ("role", machine.role.name().into()),
        ("ip", shown(machine.ip.map(|at| at.value))),
        ("mac", shown(topology.mac(machine))),
        ("cores", whole(cores)),
        ("memory", whole(memory)),
        ("disk", whole(disk)),
        ("site", place.site.into()),
        ("node", place.node.into()),
        ("bridge", place.bridge.into()),
        ("storage", place.storage.into()),
        ("iso_storage", place.iso_storage.into()),
        ("api_host", shown(place.api_host)),
        ("vmid", machine.vmid.map_or(Value::Null, |at| whole(at.value))),
    ])
}

fn services(topology: &Topology, all: &mut Map) {
    let mut own = topology
        .services
        .as_ref()
        .map(|one| machine(topology, one))
        .unwrap_or_default();
    let outer = topology
        .outer_bridge
        .as_ref()
        .map_or(OUTER_BRIDGE, |at| at.value.as_str());
    own.extend(map([
        ("public", shown(topology.public_ip())),
        ("outer_mac", shown(topology.outer_mac())),
        ("outer_bridge", outer.into()),
    ]));
    all.insert("services".to_owned(), Value::Map(own));
    let ports = [
        ("dns", 53),
        ("dhcp", 67),
        ("http", 80),
        ("https", 443),
        ("api", 6443),
        ("machine_config", 22623),
        ("web", i64::from(topology.web_port_or_default())),
    ];
    let ports = ports.map(|(name, port)| (name, Value::Int(port)));
    all.insert("ports".to_owned(), Value::Map(map(ports)));
    let names = records(topology).into_iter();
    let names = names.map(|(name, ip)| (name, ip.to_string().into()));
    all.insert("names".to_owned(), Value::Map(names.collect()));
    let ingress = topology.vip(topology.vips.ingress);
    all.insert("wildcards".to_owned(), Value::Map(map([("*.apps", shown(ingress))])));
}

/// The names below the cluster's domain that have an address to be looked up by.
fn records(topology: &Topology) -> Vec<(String, Ipv4Addr)> {
    let vips = &topology.vips;
    let fixed = [
        ("services", topology.services_ip().map(|at| at.value)),
        ("api", topology.vip(vips.api)),
        ("api-int", topology.vip(vips.api_int)),
    ];
    let fixed = fixed.into_iter().filter_map(|(name, ip)| Some((name.to_owned(), ip?)));
    let machines = topology.machines.iter();
    let machines = machines.filter_map(|machine| Some((machine.host_name()?.to_owned(), machine.ip?.value)));
    fixed.chain(machines).collect()
}

/// The networks of 256 addresses that hold a name: a reverse zone is cut at a whole octet (RFC 1035 3.5), and one that is
/// larger than it must be would answer for addresses of others.
fn reverse_networks(topology: &Topology) -> Vec<String> {
    let Some(network) = topology.network else {
        return Vec::new();
    };
    let inside = records(topology).into_iter().map(|(_, ip)| ip);
    let starts: BTreeSet<[u8; 3]> = inside
        .filter(|ip| network.value.contains((*ip).into()))
        .map(|ip| {
            let [a, b, c, _] = ip.octets();
            [a, b, c]
        })
        .collect();
    starts
        .into_iter()
        .map(|[a, b, c]| format!("{a}.{b}.{c}.0/24"))
        .collect()
}

/// BIND's words: YAML reads `no` and `yes` as booleans.
fn dnssec(word: &str) -> &str {
    match word {
        "true" => "yes",
        "false" => "no",
        word => word,
    }
}

impl Topology {
    /// The length of each node's share of the pods' network.
    #[must_use]
    pub fn host_prefix(&self) -> u64 {
        self.host_prefix.map_or(HOST_PREFIX, |at| at.value)
    }
}

fn written(network: Network) -> String {
    format!("{}/{}", network.address, network.prefix)
}

fn addresses(list: &[At<IpAddr>]) -> Value {
    Value::List(list.iter().map(|at| at.value.to_string().into()).collect())
}

fn whole(number: u64) -> Value {
    Value::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

fn shown(thing: Option<impl Display>) -> Value {
    thing.map_or(Value::Null, |thing| thing.to_string().into())
}
