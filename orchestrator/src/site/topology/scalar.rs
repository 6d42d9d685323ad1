//! The scalars of a description, each read with what was expected instead.

use okd_agent::resource::network::{Network, mac};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

/// What OKD's pods are joined by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetworkType {
    /// Geneve, UDP 6081.
    OvnKubernetes,
    /// VXLAN, UDP 4789; not in releases from 4.15 on.
    OpenShiftSdn,
}

impl NetworkType {
    /// Bytes of a node's packet that it takes (okd.md 4.8: Red Hat's pages on `ovnKubernetesConfig.mtu`).
    #[must_use]
    pub fn overhead(self) -> u16 {
        match self {
            NetworkType::OvnKubernetes => 100,
            NetworkType::OpenShiftSdn => 50,
        }
    }
}

impl fmt::Display for NetworkType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NetworkType::OvnKubernetes => "OVNKubernetes",
            NetworkType::OpenShiftSdn => "OpenShiftSDN",
        })
    }
}

/// A release of OKD, such as `4.22.0-okd-scos.0`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// As written.
    pub text: String,
    /// The 22 of 4.22.
    pub minor: u32,
}

pub(super) fn release(text: &str) -> Result<Release, String> {
    let mut parts = text.splitn(3, '.');
    let minor = match (parts.next(), parts.next(), parts.next()) {
        (Some("4"), Some(minor), Some(rest)) if rest.starts_with(|c: char| c.is_ascii_digit()) => minor.parse().ok(),
        _ => None,
    };
    let text = text.to_owned();
    match minor {
        Some(minor) => Ok(Release { text, minor }),
        None => Err(format!("`{text}` is not a release such as 4.22.0-okd-scos.0")),
    }
}

pub(super) fn network_type(text: &str) -> Result<NetworkType, String> {
    match text {
        "OVNKubernetes" => Ok(NetworkType::OvnKubernetes),
        "OpenShiftSDN" => Ok(NetworkType::OpenShiftSdn),
        _ => Err(format!("`{text}` is neither `OVNKubernetes` nor `OpenShiftSDN`")),
    }
}

/// How a machine's first boot comes about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Boot {
    /// By a medium of its role in its drive.
    #[default]
    Iso,
    /// By the network, from the services host.
    Pxe,
}

impl fmt::Display for Boot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Boot::Iso => "iso",
            Boot::Pxe => "pxe",
        })
    }
}

pub(super) fn boot(text: &str) -> Result<Boot, String> {
    match text {
        "iso" => Ok(Boot::Iso),
        "pxe" => Ok(Boot::Pxe),
        _ => Err(format!("`{text}` is neither `iso` nor `pxe`")),
    }
}

pub(super) fn address(text: &str) -> Result<Ipv4Addr, String> {
    text.parse()
        .map_err(|_| format!("`{text}` is not an address such as 10.0.0.2"))
}

pub(super) fn any_address(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| format!("`{text}` is not an address"))
}

pub(super) fn network(text: &str) -> Result<Network, String> {
    let network = Network::new(text)?;
    match network.address {
        IpAddr::V4(_) if network.prefix <= 29 => Ok(network),
        IpAddr::V4(_) => Err(format!(
            "`{text}` is too small: 8 addresses at least, a length of 29 or less"
        )),
        IpAddr::V6(_) => Err(format!("`{text}` is of IPv6; machines are addressed by IPv4 here")),
    }
}

pub(super) fn hardware_address(text: &str) -> Result<String, String> {
    let address = mac(text)?;
    let first = u8::from_str_radix(&address[..2], 16).unwrap_or_default();
    if address == "00:00:00:00:00:00" {
        return Err(format!("`{text}` is nobody's"));
    }
    if first & 1 == 1 {
        return Err(format!(
            "`{text}` is an address of a group: the second digit of a machine's is even"
        ));
    }
    Ok(address)
}

/// A DNS label as host names have them: RFC 1123, in lower case, because that is how nodes are named.
pub(super) fn label(text: &str) -> Result<String, String> {
    let lower = text.to_ascii_lowercase();
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if text.is_empty() || text.len() > 63 {
        return Err(format!("`{text}` has {} letters; a DNS label has 1 to 63", text.len()));
    }
    if text != lower && lower.chars().all(allowed) {
        return Err(format!("`{text}` has capitals; write `{lower}`"));
    }
    if let Some(odd) = text.chars().find(|c| !allowed(*c)) {
        return Err(format!("`{text}` holds `{odd}`; a DNS label has a-z, 0-9 and `-` only"));
    }
    if text.starts_with('-') || text.ends_with('-') {
        return Err(format!("`{text}` begins or ends with `-`; a DNS label does not"));
    }
    Ok(text.to_owned())
}

pub(super) fn domain(text: &str) -> Result<String, String> {
    text.trim_end_matches('.')
        .split('.')
        .try_for_each(|part| label(part).map(drop))?;
    Ok(text.trim_end_matches('.').to_owned())
}

/// A word of letters, digits, `-`, `_` and `.`: a bridge, a storage, a variable.
pub(super) fn word(text: &str) -> Result<String, String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    match text.chars().find(|c| !allowed(*c)) {
        Some(odd) => Err(format!(
            "`{text}` holds `{odd}`; letters, digits, `-`, `_` and `.` only"
        )),
        None if text.is_empty() => Err("it is empty".to_owned()),
        None => Ok(text.to_owned()),
    }
}

/// A network interface's name: at most 15 letters (`IFNAMSIZ` of Linux).
pub(super) fn interface(text: &str) -> Result<String, String> {
    match word(text)? {
        name if name.len() > 15 => Err(format!("`{name}` has {} letters; an interface has 1 to 15", name.len())),
        name => Ok(name),
    }
}

/// The name of a variable, not its value: a template or a whole secret is refused.
pub(super) fn variable(text: &str) -> Result<String, String> {
    let first = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    match first && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        true => Ok(text.to_owned()),
        false => Err("this is the name of the variable that holds it, not the thing itself".to_owned()),
    }
}

pub(super) fn boolean(text: &str) -> Result<bool, String> {
    okd_agent::Value::from(text)
        .to_bool()
        .ok_or_else(|| format!("`{text}` is neither `true` nor `false`"))
}

pub(super) fn mtu(text: &str) -> Result<u16, String> {
    let number: Option<u16> = text.parse().ok();
    number
        .filter(|number| (1280..=9216).contains(number))
        .ok_or_else(|| format!("`{text}` is not a packet's size from 1280 to 9216 bytes"))
}

/// The pods' own packets may be smaller than what a node needs for IPv6.
pub(super) fn pod_mtu(text: &str) -> Result<u16, String> {
    let number: Option<u16> = text.parse().ok();
    number
        .filter(|number| (576..=9216).contains(number))
        .ok_or_else(|| format!("`{text}` is not a packet's size from 576 to 9216 bytes"))
}

/// A whole number of something, from the first to the last.
pub(super) fn number(what: &'static str, first: u64, last: u64) -> impl Fn(&str) -> Result<u64, String> {
    move |text| {
        let number: Option<u64> = text.parse().ok();
        number
            .filter(|number| (first..=last).contains(number))
            .ok_or_else(|| format!("`{text}` is not {what} from {first} to {last}"))
    }
}

/// MiB. A number this small was meant in GiB.
pub(super) fn memory(text: &str) -> Result<u64, String> {
    let found = number("a size in MiB", 64, 16 << 20)(text);
    found.map_err(|said| match text.parse::<u64>() {
        Ok(small) if (1..64).contains(&small) => format!("{said}; {small} GiB are {}", small << 10),
        _ => said,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn releases_are_known_by_their_minor_number() {
        assert_eq!(release("4.5.0-0.okd-2020-07-29-070316").unwrap().minor, 5);
        assert_eq!(release("4.22.0-okd-scos.0").unwrap().minor, 22);
        for odd in ["4.2", "4", "latest", "5.1.0", "4.x.0", "4.20."] {
            assert!(release(odd).is_err(), "{odd}");
        }
    }

    #[test]
    fn memory_in_gib_is_told_in_mib() {
        assert_eq!(memory("16384"), Ok(16384));
        assert!(memory("16").unwrap_err().ends_with("16 GiB are 16384"));
    }
}
