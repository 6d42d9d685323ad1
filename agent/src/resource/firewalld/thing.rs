//! What a zone of firewalld can have, as firewall-cmd(1) lists and changes it.

use serde::Serialize;
use std::fmt;

/// One thing of a zone, or the zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(in crate::resource) enum Thing {
    Service(String),
    Port(String),
    Protocol(String),
    RichRule(String),
    Source(String),
    Interface(String),
    IcmpBlock(String),
    Masquerade,
    IcmpBlockInversion,
    Forward,
    Zone,
}

impl fmt::Display for Thing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.value() {
            "" => f.write_str(self.name()),
            value => write!(f, "{} {value}", self.name().replace("rich-rule", "rich rule")),
        }
    }
}

impl Thing {
    /// Reads what it is displayed as.
    pub(in crate::resource) fn parse(text: &str) -> Option<Thing> {
        let flags = [Thing::Masquerade, Thing::IcmpBlockInversion, Thing::Forward, Thing::Zone];
        if let Some(flag) = flags.into_iter().find(|flag| flag.name() == text) {
            return Some(flag);
        }
        type Made = fn(String) -> Thing;
        let of: [(&str, Made); 7] = [
            ("service ", Thing::Service),
            ("port ", Thing::Port),
            ("protocol ", Thing::Protocol),
            ("rich rule ", Thing::RichRule),
            ("source ", Thing::Source),
            ("interface ", Thing::Interface),
            ("icmp-block ", Thing::IcmpBlock),
        ];
        of.into_iter().find_map(|(name, thing)| Some(thing(text.strip_prefix(name)?.to_owned())))
    }

    fn value(&self) -> &str {
        match self {
            Thing::Service(value)
            | Thing::Port(value)
            | Thing::Protocol(value)
            | Thing::RichRule(value)
            | Thing::Source(value)
            | Thing::Interface(value)
            | Thing::IcmpBlock(value) => value,
            Thing::Masquerade | Thing::IcmpBlockInversion | Thing::Forward | Thing::Zone => "",
        }
    }

    /// As in firewall-cmd's options.
    fn name(&self) -> &'static str {
        match self {
            Thing::Service(_) => "service",
            Thing::Port(_) => "port",
            Thing::Protocol(_) => "protocol",
            Thing::RichRule(_) => "rich-rule",
            Thing::Source(_) => "source",
            Thing::Interface(_) => "interface",
            Thing::IcmpBlock(_) => "icmp-block",
            Thing::Masquerade => "masquerade",
            Thing::IcmpBlockInversion => "icmp-block-inversion",
            Thing::Forward => "forward",
            Thing::Zone => "zone",
        }
    }

    /// The heading under which `--list-all` lists it.
    fn heading(&self) -> String {
        match self {
            Thing::RichRule(_) => "rich rules".to_owned(),
            Thing::Masquerade | Thing::IcmpBlockInversion | Thing::Forward => self.name().to_owned(),
            other => format!("{}s", other.name()),
        }
    }

    /// Whether the zone has it as firewalld's package brings the zone (firewalld.zones(5)).
    pub(super) fn is_brought(&self, zone: &str) -> bool {
        let services: &[&str] = match zone {
            "public" | "work" => &["ssh", "dhcpv6-client"],
            "external" | "dmz" => &["ssh"],
            "home" | "internal" => &["ssh", "mdns", "samba-client", "dhcpv6-client"],
            "block" | "drop" | "trusted" => &[],
            _ => return false,
        };
        match self {
            Thing::Service(name) => services.contains(&name.as_str()),
            Thing::Masquerade => zone == "external",
            Thing::Forward => !matches!(zone, "block" | "drop"),
            Thing::Zone => true,
            _ => false,
        }
    }

    /// Whether `--list-all`, or for a zone `--get-zones`, has it.
    pub(in crate::resource) fn is_in(&self, listed: &str, zone: &str) -> bool {
        if *self == Thing::Zone {
            return listed.split_whitespace().any(|known| known == zone);
        }
        let heading = format!("{}:", self.heading());
        let mut here = false;
        for line in listed.lines() {
            let inner = line.starts_with('\t') || line.starts_with("    ");
            let rest = line.trim().strip_prefix(&heading).filter(|_| !inner);
            here = rest.is_some() || (here && inner);
            let found = match self {
                _ if !here => false,
                Thing::RichRule(rule) => plain(line) == plain(rule),
                _ if self.value().is_empty() => rest.is_some_and(|rest| rest.trim() == "yes"),
                Thing::Port(port) => rest.unwrap_or(line).split_whitespace().any(|word| holds(word, port)),
                _ => rest.unwrap_or(line).split_whitespace().any(|word| word == self.value()),
            };
            if found {
                return true;
            }
        }
        false
    }

    /// What `--list-all` will say of it.
    pub(super) fn listed(&self, zone: &str) -> String {
        match self {
            Thing::Zone => format!("{zone}\n"),
            Thing::RichRule(rule) => format!("  rich rules: \n\t{rule}\n"),
            _ if self.value().is_empty() => format!("  {}: yes\n", self.heading()),
            _ => format!("  {}: {}\n", self.heading(), self.value()),
        }
    }

    /// The option that adds or removes it.
    pub(in crate::resource) fn option(&self, on: bool, zone: &str) -> String {
        let verb = match (self, on) {
            (Thing::Zone, true) => return format!("--new-zone={zone}"),
            (Thing::Zone, false) => return format!("--delete-zone={zone}"),
            (Thing::Interface(_), true) => "change",
            (_, true) => "add",
            (_, false) => "remove",
        };
        match self.value() {
            "" => format!("--{verb}-{}", self.name()),
            value => format!("--{verb}-{}={value}", self.name()),
        }
    }

    /// The option that asks for it, where a list may have it in other words.
    pub(super) fn query(&self) -> Option<String> {
        matches!(self, Thing::RichRule(_)).then(|| format!("--query-{}={}", self.name(), self.value()))
    }
}

/// A rich rule without quotes and further blanks.
fn plain(rule: &str) -> String {
    rule.replace('"', "").split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether a port or range with its protocol lies within a listed one, such as `9000-9999/tcp`.
fn holds(listed: &str, port: &str) -> bool {
    let range = |text: &str| -> Option<(u16, u16, String)> {
        let (numbers, protocol) = text.split_once('/')?;
        let (first, last) = numbers.split_once('-').unwrap_or((numbers, numbers));
        Some((first.parse().ok()?, last.parse().ok()?, protocol.to_owned()))
    };
    match (range(listed), range(port)) {
        (Some(listed), Some(port)) => listed.0 <= port.0 && port.1 <= listed.1 && listed.2 == port.2,
        _ => listed == port,
    }
}
