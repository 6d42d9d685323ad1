//! What may be wrong with networks and addresses: outside of their network, given twice, inside of one that OKD uses itself.

use super::{At, Inner, NetworkType, Topology, twice};
use crate::error::{Diagnostic, Diagnostics};
use crate::source::Span;
use okd_agent::resource::network::Network;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};

/// Networks that no machine can be in (RFC 6890), with what they are for.
const RESERVED: [(&str, &str); 5] = [
    ("0.0.0.0/8", "this network"),
    ("127.0.0.0/8", "the machine itself"),
    ("169.254.0.0/16", "addresses of a link, which OVN-Kubernetes uses too"),
    ("224.0.0.0/4", "multicast"),
    ("240.0.0.0/4", "nothing yet"),
];
/// Domains that turn any address in a name into that address.
const ECHOES: [&str; 2] = [".nip.io", ".sslip.io"];

impl Topology {
    /// Every address of a machine that is given, and whose it is.
    fn holders(&self) -> impl Iterator<Item = (At<Ipv4Addr>, String)> {
        self.all().filter_map(|machine| Some((machine.ip?, machine.shown())))
    }

    /// Addresses that stand for something and are not the services host's own.
    fn fixed(&self) -> Vec<(At<Ipv4Addr>, &'static str)> {
        let vips = &self.vips;
        let all = [
            (vips.api, "the address of `api`"),
            (vips.api_int, "the address of `api-int`"),
            (vips.ingress, "the address of `*.apps`"),
            (self.gateway, "the gateway"),
        ];
        let services = self.services_ip().map(|at| at.value);
        let given = all.into_iter().filter_map(|(at, what)| Some((at?, what)));
        given.filter(|(at, _)| Some(at.value) != services).collect()
    }

    pub(super) fn addresses(&self, errors: &mut Diagnostics) {
        let mut seen: HashMap<Ipv4Addr, (String, Span)> = HashMap::new();
        for (at, who) in self.holders() {
            let Some((other, first)) = seen.insert(at.value, (who.clone(), at.span)) else {
                continue;
            };
            let text = format!("{other} and {who} have the same address {}", at.value);
            errors.push(twice(
                "duplicate-address",
                text,
                (at.span, format!("of {who}")),
                (first, format!("of {other}")),
            ));
        }
        for (at, what) in self.fixed() {
            if let Some((who, span)) = seen.get(&at.value) {
                let text = format!("{what} is the address of {who}");
                errors.push(twice(
                    "duplicate-address",
                    text,
                    (at.span, String::new()),
                    (*span, format!("of {who}")),
                ));
            }
        }
    }

    pub(super) fn network_addresses(&self, errors: &mut Diagnostics) {
        let Some(network) = &self.network else { return };
        let reserved = RESERVED
            .iter()
            .filter_map(|(text, what)| Some((text, Network::new(text).ok()?, what)));
        for (text, _, what) in reserved.filter(|(_, reserved, _)| reserved.overlaps(network.value)) {
            let text = format!("no machine can have an address of {text}: it is for {what}");
            errors.push(Diagnostic::new("reserved-network", text).at(network.span, ""));
        }
        let gateway = self.gateway.map(|at| (at, "the gateway".to_owned()));
        for (at, who) in self.holders().chain(gateway) {
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

    pub(super) fn pool(&self, errors: &mut Diagnostics) {
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
        let fixed = self.fixed().into_iter().map(|(at, what)| (at, what.to_owned()));
        let holders = self
            .holders()
            .map(|(at, who)| (at, format!("the address of {who}")))
            .chain(fixed);
        let held: Vec<_> = holders
            .filter(|(at, _)| first <= at.value && at.value <= last)
            .collect();
        if held.is_empty() {
            return;
        }
        let text = format!("the pool {first}-{last} holds addresses that are given already");
        let mut found = Diagnostic::new("pool-overlap", text).at(pool.span, "visitors would get them");
        for (at, what) in held {
            found = found.at(at.span, what);
        }
        errors.push(found);
    }

    /// The networks that this cluster uses inside: OVN-Kubernetes' own only where it is chosen.
    fn used(&self) -> impl Iterator<Item = &Inner> {
        let ovn = self.network_type() == NetworkType::OvnKubernetes;
        let own = |inner: &Inner| matches!(inner.key, "join_network" | "transit_network");
        self.inner
            .iter()
            .filter(move |inner| ovn || inner.span.is_some() || !own(inner))
    }

    pub(super) fn overlaps(&self, errors: &mut Diagnostics) {
        let own = self.network.map(|at| ("network", at.value, Some(at.span)));
        let inner = self.used().map(|inner| (inner.key, inner.network, inner.span));
        let all: Vec<_> = own.into_iter().chain(inner).collect();
        for (index, (key, network, span)) in all.iter().enumerate() {
            for (other_key, other, other_span) in all
                .iter()
                .skip(index + 1)
                .filter(|(_, other, _)| network.overlaps(*other))
            {
                let text = format!(
                    "{} and {} overlap",
                    shown(key, *network, *span),
                    shown(other_key, *other, *other_span)
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

    /// Addresses outside of the machines' network that the cluster would look for in networks of its own.
    pub(super) fn captured(&self, errors: &mut Diagnostics) {
        let fixed = self.fixed().into_iter().filter(|(_, what)| *what != "the gateway");
        let fixed = fixed.map(|(at, what)| (at.span, IpAddr::from(at.value), what.to_owned()));
        let public = self.public.iter();
        let public = public.map(|at| {
            (
                at.span,
                IpAddr::from(at.value),
                "the services host's outer address".to_owned(),
            )
        });
        let ntp = self
            .ntp
            .iter()
            .map(|at| (at.span, at.value, "a time server".to_owned()));
        let nodes = self.sites.iter().flat_map(|site| &site.nodes);
        let vteps = nodes.filter_map(|node| {
            let at = node.vtep?;
            Some((at.span, at.value, format!("the VTEP of `{}`", node.name.value)))
        });
        for (span, address, what) in fixed.chain(public).chain(ntp).chain(vteps) {
            let Some(inner) = self.used().find(|inner| inner.network.contains(address)) else {
                continue;
            };
            let text = format!(
                "{what}, {address}, cannot be reached from inside the cluster: it lies in {}",
                shown(inner.key, inner.network, inner.span)
            );
            let found = Diagnostic::new("network-overlap", text).at(span, "");
            let found = found.at_some(inner.span, "");
            errors.push(match inner.span {
                None => found.help(format!("`{}: …` in `cluster` chooses another one", inner.key)),
                Some(_) => found,
            });
        }
    }

    /// Each node's share of the pods' network.
    pub(super) fn shares(&self, errors: &mut Diagnostics) {
        let Some(whole) = self.inner.iter().find(|inner| inner.key == "cluster_network") else {
            return;
        };
        let length = self.host_prefix();
        let shown = shown(whole.key, whole.network, whole.span);
        let spans = |found: Diagnostic| match (self.host_prefix, whole.span) {
            (Some(at), span) => found.at(at.span, "").at_some(span, "the pods' network"),
            (None, Some(span)) => found.at(span, ""),
            (None, None) => found,
        };
        let prefix = u64::from(whole.network.prefix);
        if length < prefix {
            let text = format!("a share of length {length} is larger than {shown}");
            return errors.push(spans(Diagnostic::new("host-prefix", text)));
        }
        let shares = 1_u64.checked_shl((length - prefix) as u32).unwrap_or(u64::MAX);
        let machines = self.machines.len() as u64;
        if shares < machines {
            let text = format!("{shown} has {shares} shares of length {length}, for {machines} machines");
            errors.push(spans(Diagnostic::new("host-prefix", text)));
        }
    }

    /// The address that the base domain names by itself, where it does (nip.io). `Err` where it should and does not.
    pub(super) fn echoed(&self) -> Option<Result<Ipv4Addr, String>> {
        let base = &self.base_domain.as_ref()?.value;
        let rest = ECHOES.iter().find_map(|echo| base.strip_suffix(echo))?;
        let labels: Vec<&str> = rest.split('.').collect();
        let dotted = labels
            .len()
            .checked_sub(4)
            .and_then(|at| labels.get(at..))
            .map(|last| last.join("."));
        let dashed = labels.last().map(|last| {
            let parts: Vec<&str> = last.split('-').collect();
            parts[parts.len().saturating_sub(4)..].join(".")
        });
        let found = dotted.into_iter().chain(dashed).find_map(|text| text.parse().ok());
        Some(found.ok_or_else(|| format!("`{base}` holds no address, so its names lead nowhere")))
    }

    /// The services host's address to the outside, where it is known.
    #[must_use]
    pub fn public_ip(&self) -> Option<Ipv4Addr> {
        let given = self.public.map(|at| at.value);
        given.or_else(|| self.echoed().and_then(Result::ok))
    }

    /// What the outside is told by nip.io has to be what is there.
    pub(super) fn public_names(&self, errors: &mut Diagnostics) {
        let (Some(echoed), Some(base)) = (self.echoed(), &self.base_domain) else {
            return;
        };
        let address = match echoed {
            Ok(address) => address,
            Err(text) => {
                let found = Diagnostic::new("nip-io", text).at(base.span, "");
                return errors.push(found.help("write it as in `203.0.113.10.nip.io`"));
            }
        };
        if let Some(public) = self.public.filter(|public| public.value != address) {
            let text = format!(
                "names below `{}` lead to {address}, and the services host is {} outside",
                base.value, public.value
            );
            errors.push(
                Diagnostic::new("nip-io", text)
                    .at(base.span, "")
                    .at(public.span, "its address"),
            );
        }
        if let Some(network) = self.network.filter(|network| network.value.contains(address.into())) {
            let text = format!("names below `{}` lead to {address} inside of the cluster", base.value);
            let found = Diagnostic::warning("nip-io", text).at(base.span, "");
            errors.push(
                found
                    .at(network.span, "the machines' network")
                    .note("nobody outside can reach it"),
            );
        }
    }
}

fn shown(key: &str, network: Network, span: Option<Span>) -> String {
    let default = if span.is_none() { ", OKD's default" } else { "" };
    format!("`{key}` ({}/{}{default})", network.address, network.prefix)
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
