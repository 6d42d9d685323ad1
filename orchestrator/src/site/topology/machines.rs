//! What may be wrong with machines: names, hardware addresses, numbers and places that two of them cannot share or that
//! nothing has.

use super::{At, Location, Machine, Topology, twice};
use crate::error::{Diagnostic, Diagnostics};
use crate::source::Span;
use std::collections::HashMap;

/// Names that lead to the services host.
const SERVICES_NAMES: [&str; 3] = ["services", "api", "api-int"];
/// Ports of the services host that are taken, with what has them.
const TAKEN: [(u16, &str); 6] = [
    (53, "names"),
    (80, "the balancer"),
    (443, "the balancer"),
    (6443, "the balancer"),
    (9000, "the balancer's statistics"),
    (22623, "the balancer"),
];
/// OKD's own limit, which the installer holds: `metadata.name`.
const CLUSTER_NAME: usize = 54;

impl Topology {
    pub(super) fn names(&self, errors: &mut Diagnostics) {
        let mut seen: HashMap<&str, Span> = HashMap::new();
        for name in self.machines.iter().filter_map(|machine| machine.name.as_ref()) {
            if SERVICES_NAMES.contains(&name.value.as_str()) {
                let text = format!("a machine cannot be named `{}`", name.value);
                let found = Diagnostic::new("duplicate-name", text).at(name.span, "");
                let services = self.services_ip().map(|services| services.span);
                errors.push(found.at_some(services, "the name of this address, the services host's"));
            }
            if let Some(first) = seen.insert(&name.value, name.span) {
                let text = format!("two machines are named `{}`", name.value);
                errors.push(twice(
                    "duplicate-name",
                    text,
                    (name.span, "the second one".to_owned()),
                    (first, "the first one".to_owned()),
                ));
            }
        }
        self.lengths(errors);
    }

    fn lengths(&self, errors: &mut Diagnostics) {
        let (Some(name), Some(base)) = (&self.name, &self.base_domain) else {
            return;
        };
        if name.value.len() > CLUSTER_NAME {
            let text = format!(
                "the cluster's name has {} letters; openshift-install takes {CLUSTER_NAME}",
                name.value.len()
            );
            errors.push(Diagnostic::new("wrong-value", text).at(name.span, ""));
        }
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

    pub(super) fn hardware_addresses(&self, errors: &mut Diagnostics) {
        let mut seen: HashMap<String, (String, Span, bool)> = HashMap::new();
        let outer = self.services.as_ref().and_then(|services| {
            let span = self.outer_mac.as_ref().map_or(services.span, |at| at.span);
            let who = "the services host's outer card".to_owned();
            Some((self.outer_mac()?, who, span, self.outer_mac.is_some()))
        });
        let all = self.all().filter_map(|machine| {
            let span = machine.mac.as_ref().map_or(machine.span, |at| at.span);
            Some((self.mac(machine)?, machine.shown(), span, machine.mac.is_some()))
        });
        for (mac, who, span, given) in all.chain(outer) {
            let Some((other, first, first_given)) = seen.insert(mac.clone(), (who.clone(), span, given)) else {
                continue;
            };
            // Two machines of one name are told of by their names.
            if !given && !first_given && who == other {
                continue;
            }
            let text = format!("{other} and {who} have the same hardware address {mac}");
            let of = |who: &str, given| match given {
                true => format!("of {who}"),
                false => format!("chosen for {who}; `mac: …` gives it another one"),
            };
            errors.push(twice(
                "duplicate-mac",
                text,
                (span, of(&who, given)),
                (first, of(&other, first_given)),
            ));
        }
    }

    /// Numbers on Proxmox VE: each site may be a Proxmox cluster of its own, with numbers of its own.
    pub(super) fn numbers(&self, errors: &mut Diagnostics) {
        let mut seen: HashMap<(String, u64), (String, Span)> = HashMap::new();
        for machine in self.all() {
            let Some(vmid) = machine.vmid else { continue };
            let who = machine.shown();
            let key = (self.place(machine).site, vmid.value);
            if let Some((other, first)) = seen.insert(key, (who.clone(), vmid.span)) {
                let text = format!("{other} and {who} have the same number {} on Proxmox VE", vmid.value);
                errors.push(twice(
                    "duplicate-vmid",
                    text,
                    (vmid.span, format!("of {who}")),
                    (first, format!("of {other}")),
                ));
            }
        }
    }

    /// Sites and nodes that machines name, against those that there are.
    pub(super) fn places(&self, errors: &mut Diagnostics) {
        self.unique_nodes(errors);
        let mut seen: Vec<Span> = Vec::new();
        for machine in self.all() {
            let own = &machine.hardware;
            let spans = [&own.site, &own.node].map(|at| at.as_ref().map(|at| at.span));
            if let Some(span) = spans[1].or(spans[0])
                && !seen.contains(&span)
            {
                seen.push(span);
                errors.0.extend(self.misplaced(machine));
            }
        }
    }

    fn misplaced(&self, machine: &Machine) -> Option<Diagnostic> {
        let own = &machine.hardware;
        let Some(site) = &own.site else {
            let node = own.node.as_ref()?;
            let holders: Vec<&Location> = self.sites.iter().filter(|site| site.has(&node.value)).collect();
            return match holders.as_slice() {
                [] => {
                    let text = format!("{} stands on `{}`, which no site has", machine.shown(), node.value);
                    let known = self.sites.iter().flat_map(|site| &site.nodes);
                    let found = Diagnostic::new("unknown-node", text).at(node.span, "");
                    let found = found.at_some(self.sites_span, "the sites with their nodes");
                    Some(found.did_you_mean(&node.value, known.map(|node| node.name.value.as_str())))
                }
                [_] => None,
                [one, other, ..] => {
                    let text = format!("which `{}`: two sites have one", node.value);
                    let found = Diagnostic::new("unknown-node", text).at(node.span, "");
                    let found = found.at(one.name.span, "this one").at(other.name.span, "and this one");
                    Some(found.help("say `site: …` beside `node`"))
                }
            };
        };
        let Some(found) = self.sites.iter().find(|one| one.name.value == site.value) else {
            let text = format!("{} stands at `{}`, which is no site", machine.shown(), site.value);
            let names = self.sites.iter().map(|site| site.name.value.as_str());
            let found = Diagnostic::new("unknown-site", text).at(site.span, "");
            return Some(match self.sites_span {
                Some(span) => found.at(span, "the sites").did_you_mean(&site.value, names),
                None => found.help("`sites: …` in `cluster` names them"),
            });
        };
        let node = own.node.as_ref().filter(|node| !found.has(&node.value))?;
        let text = format!("the site `{}` has no node `{}`", site.value, node.value);
        let names = found.nodes.iter().map(|node| node.name.value.as_str());
        let wrong = Diagnostic::new("unknown-node", text).at(node.span, "");
        let wrong = wrong.at(found.name.span, "the site");
        Some(wrong.did_you_mean(&node.value, names))
    }

    fn unique_nodes(&self, errors: &mut Diagnostics) {
        for site in &self.sites {
            let mut seen: HashMap<&str, Span> = HashMap::new();
            for At { value, span } in site.nodes.iter().map(|node| &node.name) {
                if let Some(first) = seen.insert(value, *span) {
                    let text = format!("the site `{}` has two nodes `{value}`", site.name.value);
                    errors.push(twice(
                        "duplicate-name",
                        text,
                        (*span, String::new()),
                        (first, String::new()),
                    ));
                }
            }
        }
    }

    /// Variables that are named and are not there.
    pub fn unnamed(&self, defined: &dyn Fn(&str) -> bool) -> Vec<Diagnostic> {
        let named = [("pull_secret", &self.pull_secret), ("ssh_key", &self.ssh_key)];
        let given = named.into_iter().filter_map(|(key, at)| Some((key, at.as_ref()?)));
        let missing = given.filter(|(_, at)| !defined(&at.value));
        missing
            .map(|(key, at)| {
                let text = format!(
                    "there is no variable `{}` to hold the {}",
                    at.value,
                    key.replace('_', " ")
                );
                Diagnostic::new("undefined-variable", text).at(at.span, "")
            })
            .collect()
    }

    /// The web server's port, against what else the services host listens on.
    pub(super) fn own_ports(&self, errors: &mut Diagnostics) {
        let Some(port) = self.web_port else { return };
        if let Some((number, who)) = TAKEN.iter().find(|(taken, _)| u64::from(*taken) == port.value) {
            let text = format!("the web server cannot have port {number}: {who} listens there");
            let found = Diagnostic::new("port-in-use", text).at(port.span, "");
            errors.push(found.help("leave `web_port` out for 8080"));
        }
    }
}

impl Location {
    pub(super) fn has(&self, node: &str) -> bool {
        self.nodes.iter().any(|one| one.name.value == node)
    }
}
