//! A DHCP server: subnets with what their machines are told, and machines with addresses of their own. One description
//! for two programs, ISC dhcpd and Kea.

mod config;
mod kea;
mod problems;

use super::layout::{Family, path};
use super::network::Network;
use super::transaction::{Checker, FileSet, Power, SetFile, State, Tell, Watch, header, is_or_will_be, service};
use crate::path::AbsPath;
use crate::system::System;
use crate::{choice, params};
use indexmap::IndexMap;

choice! {
    /// Which program serves.
    pub enum Backend {
        /// The one that is installed, or that the plan installs; dhcpd where both are.
        Auto = "auto",
        /// ISC dhcpd.
        Dhcpd = "dhcpd",
        /// Kea; EL 10 has no other.
        Kea = "kea",
    }
}

params! {
    /// Runs a DHCP server for these subnets and machines, ISC dhcpd or Kea. It owns `dhcpd.conf` and the file that names the
    /// interfaces, or `kea-dhcp4.conf`; the server's own check passes them before they are swapped, and they are put back
    /// when it does not start on them. Nothing is ever written into a name server.
    pub struct Dhcpd {
        /// Which program serves.
        backend: Backend = "auto",
        /// Interfaces to serve on; unless given, all that have one of the subnets.
        interfaces: Vec<String>,
        /// Whether the server refuses addresses that do not belong to its subnets.
        authoritative: bool = "yes",
        /// Seconds of a lease for which no time was asked.
        default_lease_time: u64 = "3600",
        /// Longest time of a lease, seconds.
        max_lease_time: u64 = "86400",
        /// Options for all, by their names in dhcp-options(5), with values as dhcpd.conf has them.
        options: IndexMap<String, String>,
        /// The subnets.
        subnets: Vec<Subnet>,
        /// Machines that always get the same address.
        hosts: Vec<Reservation> ["reservations"],
        /// Whether `hosts` are told their names together with their subnet's domain.
        qualified: bool = "no",
        /// Further statements at the end of dhcpd.conf, as they are; for Kea, further members of `Dhcp4`.
        extra: Option<String>,
        /// Whether it runs.
        state: Power = "started",
        /// Whether it starts at boot.
        enabled: bool = "yes",
    }
}

params! {
    /// A subnet, and what its machines are told.
    pub struct Subnet {
        /// The network, as `10.0.0.0/24`.
        network: String,
        /// Addresses for machines without one of their own: `10.0.0.15-10.0.0.30`, or `10.0.0.15-30`.
        ranges: Vec<String> ["range", "pool"],
        /// Routers.
        routers: Vec<String> ["router"],
        /// Name servers.
        dns: Vec<String> ["domain_name_servers"],
        /// The machines' domain.
        domain_name: Option<String> ["domain"],
        /// Domains that names without a dot are looked for in.
        domain_search: Vec<String>,
        /// Time servers.
        ntp: Vec<String> ["ntp_servers"],
        /// Largest packet, bytes; an overlay network needs less than 1500.
        mtu: Option<u16> ["interface_mtu"],
        /// The server that machines boot from.
        next_server: Option<String>,
        /// What machines with a BIOS load from it.
        filename: Option<String>,
        /// What machines with UEFI on x86-64 load from it.
        filename_uefi: Option<String>,
        /// What iPXE loads, whatever the machine has: the URL of a script. Network cards of QEMU and Proxmox VE are iPXE by
        /// themselves; others load it by `filename` and `filename_uefi` first.
        ipxe: Option<String>,
        /// Whether machines that are not in `hosts` get no address.
        deny_unknown: bool ["deny_unknown_clients"] = "no",
        /// Further options, by their names in dhcp-options(5), with values as dhcpd.conf has them.
        options: IndexMap<String, String>,
    }
}

params! {
    /// A machine with an address of its own.
    pub struct Reservation {
        /// Its name; it is told that it is called so.
        name: String,
        /// Its interface's hardware address.
        mac: String,
        /// Its address.
        ip: String ["address"],
        /// What it is told that it is called, where that is not `name`.
        hostname: Option<String>,
        /// The server that it boots from.
        next_server: Option<String>,
        /// What it loads from it.
        filename: Option<String>,
        /// Further options, by their names in dhcp-options(5), with values as dhcpd.conf has them.
        options: IndexMap<String, String>,
    }
}

fn config_path() -> AbsPath {
    path("/etc/dhcp/dhcpd.conf")
}

/// The file that the unit takes the interfaces from.
fn defaults_path(family: Family) -> AbsPath {
    path(family.pick("/etc/sysconfig/dhcpd", "/etc/default/isc-dhcp-server"))
}

/// Debian's AppArmor profiles let a server read nothing but its own folder, so a staged file is checked outside of them.
const OUTSIDE: &str =
    "if aa-enabled --quiet 2>/dev/null; then exec aa-exec -p unconfined -- \"$@\"; fi; exec \"$@\"";

/// A server's own check of its staged file.
fn outside(name: &'static str, family: Family, argv: &[&str]) -> Checker {
    let outside = [&["/bin/sh", "-c", OUTSIDE, "sh"], argv].concat();
    Checker::new(name, family.pick(argv, &outside))
}

fn unit(family: Family) -> &'static str {
    family.pick("dhcpd.service", "isc-dhcp-server.service")
}

fn package(family: Family) -> &'static str {
    family.pick("dhcp-server", "isc-dhcp-server")
}

impl Dhcpd {
    fn problems(&self) -> Vec<String> {
        problems::problems(self)
    }

    fn watch(&self, family: Family, world: &dyn System) -> Watch {
        if self.is_kea(family, world) {
            return kea::watch(family);
        }
        let both = family.pick("dhcp-server` or `kea", "isc-dhcp-server` or `kea-dhcp4-server");
        Watch {
            unit: unit(family),
            package: if self.backend == Backend::Auto { both } else { package(family) },
            files: vec![config_path(), defaults_path(family)],
            folders: Vec::new(),
        }
    }

    fn is_kea(&self, family: Family, world: &dyn System) -> bool {
        match self.backend {
            Backend::Dhcpd => false,
            Backend::Kea => true,
            Backend::Auto => {
                !is_or_will_be(unit(family), package(family), world)
                    && is_or_will_be(kea::unit(family), kea::package(family), world)
            }
        }
    }

    fn set(&self, now: &State) -> FileSet {
        let family = now.family;
        if now.unit.name == kea::unit(family) {
            return kea::set(self, family);
        }
        let config = config_path();
        let staged = format!("{{stage}}{config}");
        let checker = outside("dhcpd", family, &["dhcpd", "-t", "-q", "-cf", &staged]);
        FileSet {
            service: "dhcpd",
            files: vec![
                SetFile::public(config, config::render(self)),
                SetFile::public(defaults_path(family), self.defaults(family)),
            ],
            checker,
            tell: Tell::Restart,
            power: self.state,
            enabled: self.enabled,
            listeners: Vec::new(),
            served: Vec::new(),
        }
    }

    /// What a machine is told that it is called.
    fn told(&self, host: &Reservation) -> String {
        let name = host.hostname.as_ref().unwrap_or(&host.name);
        let domain = if self.qualified && !name.contains('.') { self.domain_of(host) } else { None };
        domain.map_or_else(|| name.clone(), |domain| format!("{name}.{domain}"))
    }

    fn domain_of(&self, host: &Reservation) -> Option<&str> {
        let address = host.ip.parse().ok()?;
        let holds = |subnet: &&Subnet| Network::new(&subnet.network).is_ok_and(|network| network.contains(address));
        self.subnets.iter().find(holds)?.domain_name.as_deref()
    }

    fn defaults(&self, family: Family) -> String {
        let names = self.interfaces.join(" ");
        // Debian's script starts a server for IPv6 too where both variables are empty; a blank names no interface either.
        let some = if names.is_empty() { " " } else { &names };
        let lines = family.pick(format!("DHCPDARGS=\"{names}\"\n"), format!("INTERFACESv4=\"{some}\"\nINTERFACESv6=\"\"\n"));
        header("#") + &lines
    }
}

service! {
    Dhcpd,
    names: &["dhcpd", "okd.dhcpd"],
    example: "- name: DHCP\n  dhcpd:\n    interfaces: [eth1]\n    subnets:\n      - network: 10.0.0.0/24\n        range: 10.0.0.15-30\n        router: 10.0.0.1\n        dns: [10.0.0.1]\n        domain: okd.example.org\n        mtu: 1450\n        deny_unknown: true\n    hosts:\n      - {name: master1, mac: \"52:54:00:00:10:02\", ip: 10.0.0.2}\n"
}

#[cfg(test)]
pub(crate) mod tests;
