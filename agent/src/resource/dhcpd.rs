//! A DHCP server: subnets with what their machines are told, and machines with addresses of their own. ISC dhcpd.

mod config;
mod problems;

use super::layout::{Family, path};
use super::transaction::{Checker, FileSet, Power, SetFile, State, Tell, Watch, header, service};
use crate::params;
use crate::path::AbsPath;
use indexmap::IndexMap;

params! {
    /// Runs a DHCP server for these subnets and machines. It owns `dhcpd.conf` and the file that names the interfaces;
    /// dhcpd -t passes them before they are swapped, and they are put back when dhcpd does not start on them.
    pub struct Dhcpd {
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
        /// Further statements at the end of dhcpd.conf, as they are.
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

/// Debian's AppArmor profile lets dhcpd read nothing but /etc/dhcp, so a staged file is checked outside of it.
const OUTSIDE: &str =
    "if aa-enabled --quiet 2>/dev/null; then exec aa-exec -p unconfined -- \"$@\"; fi; exec \"$@\"";

impl Dhcpd {
    fn problems(&self) -> Vec<String> {
        problems::problems(self)
    }

    fn watch(&self, family: Family) -> Watch {
        Watch {
            unit: family.pick("dhcpd.service", "isc-dhcp-server.service"),
            package: family.pick("dhcp-server", "isc-dhcp-server"),
            files: vec![config_path(), defaults_path(family)],
            folders: Vec::new(),
        }
    }

    fn set(&self, now: &State) -> FileSet {
        let family = now.family;
        let config = config_path();
        let staged = format!("{{stage}}{config}");
        let argv = ["dhcpd", "-t", "-q", "-cf", &staged];
        let outside = [&["/bin/sh", "-c", OUTSIDE, "sh"], argv.as_slice()].concat();
        let checker = Checker::new("dhcpd", family.pick(&argv, &outside));
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
