//! A name server: what it answers, to whom, and the zones it holds. BIND 9.16 and later.

mod config;
mod name;
mod zone;

use super::layout::Family;
use super::transaction::{Checker, FileSet, Listener, Power, Served, SetFile, State, Tell, Watch, service};
use crate::path::AbsPath;
use crate::system::{Staged, System};
use crate::{choice, params};
use indexmap::IndexMap;
use std::collections::BTreeSet;

choice! {
    /// Whether answers are checked against their signatures.
    pub enum Validation {
        /// With the root's built-in key.
        Auto = "auto",
        /// With keys that `options` or `extra` give.
        Yes = "yes",
        /// Not at all.
        No = "no",
    }
}

choice! {
    /// What becomes of a question when no forwarder answers it.
    pub enum Forward {
        /// The server looks for the answer itself.
        First = "first",
        /// The question fails.
        Only = "only",
    }
}

choice! {
    /// Where a zone's records come from.
    pub enum ZoneType {
        /// From this task.
        Primary = "primary" | "master",
        /// From another server.
        Secondary = "secondary" | "slave",
        /// Questions for it are handed on.
        Forward = "forward",
    }
}

choice! {
    /// A record's type.
    pub enum RecordType {
        /// An IPv4 address.
        A = "A" | "a",
        /// An IPv6 address.
        Aaaa = "AAAA" | "aaaa",
        /// Another name for the same thing.
        Cname = "CNAME" | "cname",
        /// Where mail goes.
        Mx = "MX" | "mx",
        /// Text.
        Txt = "TXT" | "txt",
        /// Where a service is.
        Srv = "SRV" | "srv",
        /// A name server.
        Ns = "NS" | "ns",
        /// An address's name.
        Ptr = "PTR" | "ptr",
        /// Who may issue certificates.
        Caa = "CAA" | "caa",
    }
}

params! {
    /// Runs a name server with these zones. It owns `named.conf` whole and a file for each primary zone. The set is
    /// checked by named-checkconf with all its zones before it is swapped, and put back when named does not serve it.
    pub struct Named {
        /// Addresses to listen on, IPv4 and IPv6; `any` for all of them.
        listen_on: Vec<String> = "any",
        /// Who may ask: addresses, networks, names of `acls`, `any`, `localhost`, `localnets`.
        allow_query: Vec<String> = "localhost, localnets",
        /// Whether the server finds answers of other zones for its clients.
        recursion: bool = "yes",
        /// Who may ask for that; `any` is refused, since an open resolver is a weapon.
        allow_recursion: Vec<String> = "localhost",
        /// Who may copy whole zones.
        allow_transfer: Vec<String> = "none",
        /// Servers that are asked for other zones.
        forwarders: Vec<String>,
        /// What becomes of a question when no forwarder answers it.
        forward: Option<Forward>,
        /// Whether answers are checked against their signatures.
        dnssec_validation: Validation = "auto",
        /// Named lists of addresses and networks.
        acls: IndexMap<String, Vec<String>>,
        /// Further options, as named.conf(5) has them, such as `max-cache-size: 64m`.
        options: IndexMap<String, String>,
        /// Further statements at the end of named.conf, as they are.
        extra: Option<String>,
        /// Whether every question is logged.
        query_log: bool = "no",
        /// The zones.
        zones: Vec<Zone>,
        /// Whether it runs.
        state: Power = "started",
        /// Whether it starts at boot.
        enabled: bool = "yes",
    }
}

params! {
    /// One zone. A name without a dot is a name of the zone; a name with one is a whole name, save for a record's own
    /// name, which is whole only when it ends with the zone's name or with a dot.
    pub struct Zone {
        /// The zone's name; left out where `network` gives it.
        name: Option<String>,
        /// A network (`10.0.0.0/24`) whose addresses get names: the zone is the reverse zone that covers it, at a whole
        /// octet (IPv4) or nibble (IPv6).
        network: Option<String>,
        /// Where its records come from.
        r#type: ZoneType = "primary",
        /// Names and their addresses. In an ordinary zone each makes an address record; in a reverse zone a PTR record
        /// for each address of the network, so that one mapping serves both.
        hosts: IndexMap<String, String>,
        /// The domain that `hosts` without a dot belong to in a reverse zone.
        domain: Option<String>,
        /// Further records.
        records: Vec<Record>,
        /// Its name servers; the first one is the primary.
        ns: Vec<String>,
        /// Seconds that answers may be kept.
        ttl: u64 = "3600",
        /// Further properties of the zone.
        soa: Option<Soa>,
        /// Servers that a secondary zone is copied from.
        primaries: Vec<String> ["masters"],
        /// Servers that questions for a forward zone are handed to.
        forwarders: Vec<String>,
        /// Who may ask for this zone, where it differs from the server's.
        allow_query: Vec<String>,
        /// Who may copy it, where it differs from the server's.
        allow_transfer: Vec<String>,
        /// Servers that are told of changes besides the zone's own.
        also_notify: Vec<String>,
    }
}

params! {
    /// A zone's start of authority, RFC 1035 3.3.13. Times are seconds.
    pub struct Soa {
        /// The primary server; the zone's first name server unless given.
        mname: Option<String>,
        /// The keeper's mail address, with `@` or as a name; `hostmaster` at the zone unless given.
        rname: Option<String>,
        /// How often secondaries look.
        refresh: u64 = "3600",
        /// How soon they look again.
        retry: u64 = "900",
        /// When they give up.
        expire: u64 = "1209600",
        /// How long the absence of a name may be remembered; short, so that a name asked for too early is soon found.
        minimum: u64 = "60",
        /// The serial of a zone that is not there yet; afterwards it rises by itself whenever records change.
        serial: u64 = "1",
    }
}

params! {
    /// One record, or several of one name and type.
    pub struct Record {
        /// Whose; `@` is the zone itself, `*` any name that has no record.
        name: String = "@",
        /// Of which type.
        r#type: RecordType = "A",
        /// Its value: an address, a name, a text.
        value: Option<String>,
        /// Several values.
        values: Vec<String>,
        /// Seconds that it may be kept, where they differ from the zone's.
        ttl: Option<u64>,
        /// MX and SRV: lower ones are tried first.
        priority: u16 = "10",
        /// SRV: share among equal priorities.
        weight: u16 = "0",
        /// SRV: the service's port.
        port: Option<u16>,
        /// CAA: 128 makes it critical.
        flag: u16 = "0",
        /// CAA: `issue`, `issuewild` or `iodef`.
        tag: String = "issue",
    }
}

impl Record {
    fn all_values(&self) -> impl Iterator<Item = &String> {
        self.value.iter().chain(&self.values)
    }
}

impl Zone {
    /// The zone's name without a final dot, in lower case.
    fn origin(&self) -> Result<String, String> {
        match (&self.name, &self.network) {
            (Some(name), None) => Ok(name.trim_end_matches('.').to_ascii_lowercase()),
            (None, Some(network)) => name::reverse_zone(network),
            _ => Err("a zone has either a `name` or a `network`".to_owned()),
        }
    }

    fn file(&self, family: Family) -> Option<AbsPath> {
        let origin = self.origin().ok()?.replace('/', "-");
        let folder = family.pick("/var/named", "/etc/bind");
        (self.r#type == ZoneType::Primary).then(|| super::transaction::below(folder, &format!("{origin}.zone")))
    }
}

impl Named {
    fn problems(&self) -> Vec<String> {
        let mut problems = config::problems(self);
        let mut seen = BTreeSet::new();
        for zone in &self.zones {
            match zone.origin() {
                Ok(origin) if !seen.insert(origin.clone()) => problems.push(format!("zone {origin} is there twice")),
                Ok(origin) => problems.extend(zone::problems(zone, &origin)),
                Err(problem) => problems.push(problem),
            }
        }
        problems
    }

    fn watch(&self, family: Family, _world: &dyn System) -> Watch {
        let mut files = vec![config::path(family)];
        files.extend(self.zones.iter().filter_map(|zone| zone.file(family)));
        Watch {
            unit: "named.service",
            package: family.pick("bind", "bind9"),
            files,
            folders: vec![(super::layout::path(family.pick("/var/named", "/etc/bind")), ".zone")],
        }
    }

    fn set(&self, now: &State) -> FileSet {
        let family = now.family;
        let group = family.pick("named", "bind");
        let mode = family.pick(0o640, 0o644);
        let file = |path: AbsPath, content: String| SetFile { mode, group, ..SetFile::public(path, content) };
        let main = config::path(family);
        let staged = config::render(self, family, "{stage}").into_bytes();
        let mut files =
            vec![SetFile { staged: Some(staged), ..file(main.clone(), config::render(self, family, "")) }];
        let mut served = Vec::new();
        for zone in &self.zones {
            let (Ok(origin), Some(path)) = (zone.origin(), zone.file(family)) else { continue };
            let old = now.content(&path).map(|content| String::from_utf8_lossy(&content.bytes).into_owned());
            let (text, serial) = zone::render(zone, &origin, old.as_deref());
            files.push(file(path, text));
            served.push(serves(&origin, serial));
        }
        let mut checker = Checker::new("named-checkconf", &["named-checkconf", "-z", &format!("{{stage}}{main}")]);
        checker.further.push(Staged { path: "cache/.keep".to_owned(), bytes: Vec::new() });
        FileSet {
            service: "named",
            files,
            checker,
            tell: Tell::Reload,
            power: self.state,
            enabled: self.enabled,
            listeners: self.listeners(),
            served,
        }
    }

    fn listeners(&self) -> Vec<Listener> {
        let addresses = self.listen_on.iter().filter(|address| address.parse::<std::net::IpAddr>().is_ok());
        addresses.map(|address| Listener { address: Some(address.clone()), port: 53 }).collect()
    }
}

/// named loads a zone after it has said that it reloads; what it serves is what rndc(8) says.
fn serves(origin: &str, serial: u32) -> Served {
    Served {
        argv: ["rndc", "zonestatus", origin].map(str::to_owned).to_vec(),
        expect: format!("serial: {serial}\n"),
        unasked: &["connect failed", "connection refused", "neither ", "key file", "unknown command"],
        complaint: format!("named does not serve zone {origin} with serial {serial}"),
    }
}

service! {
    Named,
    names: &["named", "okd.named"],
    example: "- name: DNS\n  named:\n    listen_on: [127.0.0.1, 10.0.0.1]\n    allow_query: [localhost, 10.0.0.0/24]\n    allow_recursion: [localhost, 10.0.0.0/24]\n    forwarders: [9.9.9.9]\n    zones:\n      - name: okd.example.org\n        ns: [services]\n        hosts: {services: 10.0.0.1, api: 10.0.0.1, api-int: 10.0.0.1, \"*.apps\": 10.0.0.1}\n      - network: 10.0.0.0/24\n        domain: okd.example.org\n        ns: [services.okd.example.org]\n        hosts: {services: 10.0.0.1, api: 10.0.0.1, api-int: 10.0.0.1}\n"
}

#[cfg(test)]
pub(crate) mod tests;
