//! Where machines stand and what joins their bridges: sites, nodes, the VXLAN between them, and what it leaves of a packet.

use super::{
    At, BRIDGE, ETHERNET, ISO_STORAGE, Location, Machine, NODE, NetworkType, SITE, STORAGE, Topology, VNI, VXLAN_PORT,
    twice,
};
use crate::error::{Diagnostic, Diagnostics};
use crate::source::Span;
use std::collections::HashMap;
use std::net::IpAddr;

/// The first release that has no OpenShiftSDN for new clusters (4.14 deprecates it).
const WITHOUT_SDN: u32 = 15;
/// What a node's packet needs at least: IPv6's (RFC 8200 5).
const LEAST: u16 = 1280;

/// Where a machine stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The site.
    pub site: String,
    /// The Proxmox node.
    pub node: String,
    /// The bridge.
    pub bridge: String,
    /// The storage for disks.
    pub storage: String,
    /// The storage for images.
    pub iso_storage: String,
    /// Where the site's API is, where that is said.
    pub api_host: Option<String>,
}

/// A node with the sites' defaults in place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stand {
    /// Its site.
    pub site: String,
    /// Its name.
    pub name: String,
    /// The machines' bridge on it.
    pub bridge: String,
    /// Its end of the VXLAN.
    pub vtep: Option<IpAddr>,
    /// The other ends.
    pub peers: Vec<IpAddr>,
    /// Bytes of a packet to the other nodes.
    pub underlay_mtu: u16,
    /// Where its site's API is, where that is said.
    pub api_host: Option<String>,
}

impl Topology {
    /// Where no sites are written there is one, with the nodes that machines name.
    pub(super) fn settle(&mut self, span: Span) {
        if self.sites_span.is_some() {
            return;
        }
        let mut site = Location::new(At {
            value: SITE.to_owned(),
            span,
        });
        let named = self.all().filter_map(|machine| machine.hardware.node.clone());
        for node in named.collect::<Vec<_>>() {
            if !site.has(&node.value) {
                site.nodes.push(super::Node::new(node));
            }
        }
        if site.nodes.is_empty() {
            let value = NODE.to_owned();
            site.nodes.push(super::Node::new(At { value, span }));
        }
        self.sites.push(site);
    }

    /// Where a machine stands: as it says, else on the first node of its site, else of the first site.
    #[must_use]
    pub fn place(&self, machine: &Machine) -> Place {
        let own = &machine.hardware;
        let site = match (&own.site, &own.node) {
            (Some(site), _) => self.sites.iter().find(|one| one.name.value == site.value),
            (None, Some(node)) => self.sites.iter().find(|one| one.has(&node.value)),
            (None, None) => self.sites.first(),
        };
        let node = site.and_then(|site| match &own.node {
            Some(node) => site.nodes.iter().find(|one| one.name.value == node.value),
            None => site.nodes.first(),
        });
        let word = |at: Option<&At<String>>, default: &str| at.map_or(default.to_owned(), |at| at.value.clone());
        let bridge = own.bridge.as_ref();
        let bridge = bridge.or_else(|| node?.bridge.as_ref().or(site?.bridge.as_ref()));
        Place {
            site: word(site.map(|site| &site.name), SITE),
            node: word(node.map(|node| &node.name), NODE),
            bridge: word(bridge, BRIDGE),
            storage: word(site.and_then(|site| site.storage.as_ref()), STORAGE),
            iso_storage: word(site.and_then(|site| site.iso_storage.as_ref()), ISO_STORAGE),
            api_host: site.and_then(|site| Some(site.api_host.as_ref()?.value.clone())),
        }
    }

    /// Every node of every site.
    #[must_use]
    pub fn stands(&self) -> Vec<Stand> {
        let vteps: Vec<IpAddr> = self.nodes().filter_map(|(_, node)| Some(node.vtep?.value)).collect();
        let stand = |(site, node): (&Location, &super::Node)| {
            let bridge = node.bridge.as_ref().or(site.bridge.as_ref());
            let vtep = node.vtep.map(|at| at.value);
            let mtu = site.underlay_mtu.or(self.underlay_mtu);
            Stand {
                site: site.name.value.clone(),
                name: node.name.value.clone(),
                bridge: bridge.map_or(BRIDGE.to_owned(), |at| at.value.clone()),
                vtep,
                peers: match vtep {
                    Some(own) => vteps.iter().filter(|one| **one != own).copied().collect(),
                    None => Vec::new(),
                },
                underlay_mtu: mtu.map_or(ETHERNET, |at| at.value),
                api_host: site.api_host.as_ref().map(|at| at.value.clone()),
            }
        };
        self.nodes().map(stand).collect()
    }

    fn nodes(&self) -> impl Iterator<Item = (&Location, &super::Node)> {
        self.sites
            .iter()
            .flat_map(|site| site.nodes.iter().map(move |node| (site, node)))
    }

    /// Whether VXLAN joins the nodes' bridges.
    #[must_use]
    pub fn tunnelled(&self) -> bool {
        !self.vxlan.refused && (self.vxlan.span.is_some() || self.nodes().any(|(_, node)| node.vtep.is_some()))
    }

    /// The VXLAN network's number and its UDP port.
    #[must_use]
    pub fn vni_and_port(&self) -> (u64, u64) {
        let or = |given: Option<At<u64>>, default| given.map_or(default, |at| at.value);
        (or(self.vxlan.vni, VNI), or(self.vxlan.port, VXLAN_PORT))
    }

    /// Bytes of a packet that VXLAN takes: 8 of its own, 8 of UDP, 14 of the inner frame, 20 of IPv4 or 40 of IPv6; 4 more
    /// for a VLAN tag; 60 or 80 more for IPsec (okd.md 4.8, RFC 7348 5).
    #[must_use]
    pub fn tunnel_overhead(&self) -> u16 {
        if !self.tunnelled() {
            return 0;
        }
        let six = self
            .nodes()
            .any(|(_, node)| node.vtep.is_some_and(|at| at.value.is_ipv6()));
        let given = |at: Option<At<bool>>| at.is_some_and(|at| at.value);
        let (bare, ipsec) = if six { (70, 80) } else { (50, 60) };
        let ipsec = if given(self.vxlan.ipsec) { ipsec } else { 0 };
        bare + ipsec + if given(self.vxlan.vlan) { 4 } else { 0 }
    }

    /// The smallest underlay, with its place where it is given.
    fn smallest_underlay(&self) -> (u16, Option<Span>) {
        let given = self.sites.iter().map(|site| site.underlay_mtu.or(self.underlay_mtu));
        let each = given.map(|at| at.map_or((ETHERNET, None), |at| (at.value, Some(at.span))));
        each.min_by_key(|(bytes, _)| *bytes).unwrap_or((ETHERNET, None))
    }

    /// Bytes of a packet between the nodes.
    #[must_use]
    pub fn underlay(&self) -> u16 {
        self.smallest_underlay().0
    }

    /// Bytes of a machine's packet: given, or what the underlay leaves.
    #[must_use]
    pub fn node_mtu(&self) -> u16 {
        let left = self.underlay().saturating_sub(self.tunnel_overhead());
        self.mtu.map_or(left, |at| at.value)
    }

    /// Bytes of a pod's packet: given, or what the machines' network leaves.
    #[must_use]
    pub fn pods_mtu(&self) -> u16 {
        let left = self.node_mtu().saturating_sub(self.network_type().overhead());
        self.pod_mtu.map_or(left, |at| at.value)
    }

    /// OpenShiftSDN in a release that has it no more.
    pub(super) fn release_fits(&self, errors: &mut Diagnostics) {
        let Some(kind) = self.network_type.filter(|at| at.value == NetworkType::OpenShiftSdn) else {
            return;
        };
        let release = self.release();
        if release.minor < WITHOUT_SDN {
            return;
        }
        let text = format!(
            "OKD {} has no OpenShiftSDN: 4.14 is the last release with it",
            release.text
        );
        let found = Diagnostic::new("release-network-type", text).at(kind.span, "");
        errors.push(match &self.release {
            Some(at) => found.at(at.span, "the release"),
            None => found.help("leave `network_type` out, or say which `release` is meant"),
        });
    }

    /// Every byte is spent once: by the VXLAN between the nodes, by the pods' network, by the pods.
    pub(super) fn budget(&self, errors: &mut Diagnostics) {
        let (underlay, span) = self.smallest_underlay();
        let cost = self.tunnel_overhead();
        let left = underlay.saturating_sub(cost);
        let of_tunnel = match cost {
            0 => String::new(),
            _ => format!(" VXLAN takes {cost} of them, which leaves {left}"),
        };
        if let Some(mtu) = self.mtu.filter(|mtu| (cost > 0 || span.is_some()) && mtu.value > left) {
            let text = format!(
                "packets of {} bytes do not fit between the nodes, which pass {underlay}:{of_tunnel}",
                mtu.value
            );
            let text = text.trim_end_matches(':').to_owned();
            let found = Diagnostic::new("mtu-budget", text).at(mtu.span, "");
            let found = found.at_some(span, "what the nodes pass");
            let vtep = self.nodes().find_map(|(_, node)| Some(node.vtep?.span));
            let found = found.at_some(self.vxlan.span.or(vtep).filter(|_| cost > 0), "the VXLAN");
            let found = found.help("leave `mtu` out, and it is worked out");
            errors.push(match span {
                Some(_) => found,
                None => found.help("or say by `underlay_mtu` what the nodes pass"),
            });
        } else if self.mtu.is_none() && left < LEAST {
            let text = format!("{left} bytes are left for the machines' packets; they need {LEAST}:{of_tunnel}");
            errors.push(Diagnostic::new("mtu-budget", text.trim_end_matches(':')).at_some(span, ""));
        }
        let nodes = self.node_mtu();
        let kind = self.network_type();
        let left = nodes.saturating_sub(kind.overhead());
        if let Some(pods) = self.pod_mtu.filter(|pods| pods.value > left) {
            let text = format!(
                "pods' packets of {} bytes do not fit into the machines' {nodes}: {kind} takes {} of them, which leaves {left}",
                pods.value,
                kind.overhead()
            );
            let found = Diagnostic::new("mtu-budget", text).at(pods.span, "");
            let found = found.at_some(self.mtu.map(|at| at.span).or(span), "what the machines have");
            let found = found.at_some(self.network_type.map(|at| at.span), "the pods' network");
            errors.push(found.help("leave `pod_mtu` out, and it is worked out"));
        }
    }

    /// What joins the bridges of several nodes.
    pub(super) fn tunnel(&self, errors: &mut Diagnostics) {
        let nodes: Vec<_> = self.nodes().map(|(_, node)| node).collect();
        let with = nodes.iter().find_map(|node| Some((node, node.vtep?)));
        if let (true, Some((node, vtep))) = (self.vxlan.refused, with) {
            let text = format!("`{}` has an end of a VXLAN, and `vxlan` is false", node.name.value);
            let found = Diagnostic::new("no-vxlan", text).at(vtep.span, "");
            return errors.push(found.at_some(self.vxlan.span, "said here"));
        }
        if self.vxlan.refused || nodes.len() < 2 {
            return;
        }
        if !self.tunnelled() {
            let [first, second, ..] = nodes.as_slice() else { return };
            let text = format!(
                "machines on `{}` and `{}` cannot reach each other: nothing joins the nodes' bridges",
                first.name.value, second.name.value
            );
            let found = Diagnostic::new("no-vxlan", text)
                .at(second.name.span, "")
                .at(first.name.span, "");
            let found = found.help("give each node in `sites` its `vtep: ADDRESS`, and VXLAN joins them");
            return errors.push(found.help("or say `vxlan: false` where a cable or a switch does"));
        }
        for node in nodes.iter().filter(|node| node.vtep.is_none()) {
            let text = format!(
                "`{}` has no end of the VXLAN, so its machines reach nobody",
                node.name.value
            );
            let found = Diagnostic::new("missing-vtep", text).at(node.name.span, "");
            let found = found.at_some(with.map(|(_, at)| at.span), "as another node has it");
            errors.push(found.help("`vtep: ADDRESS` is its address in the network between the nodes"));
        }
        self.vteps(errors);
    }

    fn vteps(&self, errors: &mut Diagnostics) {
        let mut seen: HashMap<IpAddr, (&str, Span)> = HashMap::new();
        let mut before: Option<At<IpAddr>> = None;
        for (_, node) in self.nodes() {
            let Some(vtep) = node.vtep else { continue };
            let name = node.name.value.as_str();
            if let Some((other, first)) = seen.insert(vtep.value, (name, vtep.span)) {
                let text = format!("`{other}` and `{name}` have the same end of the VXLAN, {}", vtep.value);
                let places = ((vtep.span, format!("of `{name}`")), (first, format!("of `{other}`")));
                errors.push(twice("duplicate-address", text, places.0, places.1));
            }
            if let Some(network) = self.network.filter(|network| network.value.contains(vtep.value)) {
                let text = format!(
                    "the VTEP of `{name}`, {}, lies in the network that the VXLAN carries",
                    vtep.value
                );
                let found = Diagnostic::new("vtep-inside", text).at(vtep.span, "");
                let found = found.at(network.span, "the machines' network");
                errors.push(found.help("a VTEP is the node's address in the network between the nodes"));
            }
            if let Some(other) = before.filter(|other| other.value.is_ipv6() != vtep.value.is_ipv6()) {
                let text = format!("{} and {} cannot speak to each other", other.value, vtep.value);
                let found = Diagnostic::new("vtep-family", text).at(vtep.span, "");
                errors.push(found.at(other.span, "the other family"));
            }
            before.get_or_insert(vtep);
        }
    }
}
