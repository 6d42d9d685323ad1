//! Names, addresses and the names that addresses have, RFC 1034, 1035 and 3596.

use crate::resource::network::Network;
use std::net::IpAddr;

/// Says what is wrong with a name, RFC 1035 2.3.4; `owner` names may begin with `*` and hold `_` and `/`.
pub(super) fn problem(name: &str, host: bool) -> Option<String> {
    let bare = name.trim_end_matches('.');
    if bare == "@" {
        return None;
    }
    if bare.is_empty() || bare.len() > 253 {
        return Some(format!("`{name}` is not a name: it is empty or longer than 253 characters"));
    }
    for (index, label) in bare.split('.').enumerate() {
        if label == "*" && index == 0 {
            continue;
        }
        let good = |c: char| c.is_ascii_alphanumeric() || c == '-' || (!host && matches!(c, '_' | '/'));
        if label.is_empty() || label.len() > 63 {
            return Some(format!("`{name}` is not a name: each part has 1 to 63 characters"));
        }
        if !label.chars().all(good) || label.starts_with('-') || label.ends_with('-') {
            return Some(format!("`{name}` is not a name: `{label}` may hold letters, digits and inner hyphens only"));
        }
    }
    None
}

/// A record's own name, relative to its zone; `@` for the zone itself. `None` when it lies outside.
pub(super) fn owner(name: &str, origin: &str) -> Option<String> {
    let lower = name.to_ascii_lowercase();
    let bare = lower.trim_end_matches('.');
    if bare == "@" || bare == origin {
        return Some("@".to_owned());
    }
    match bare.strip_suffix(origin).and_then(|rest| rest.strip_suffix('.')) {
        Some(rest) => Some(rest.to_owned()),
        None if lower.ends_with('.') => None,
        None => Some(lower),
    }
}

/// A name that a record points to, with its final dot: one without a dot belongs to `domain`.
pub(super) fn target(name: &str, domain: &str) -> String {
    let lower = name.to_ascii_lowercase();
    match lower.strip_suffix('.') {
        Some(_) => lower,
        None if lower == "@" => format!("{domain}."),
        None if lower.contains('.') => format!("{lower}."),
        None => format!("{lower}.{domain}."),
    }
}

/// An address's whole name in the reverse tree, without the final dot.
pub(super) fn reverse(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(v6) => {
            let digits: String = v6.octets().iter().map(|octet| format!("{octet:02x}")).collect();
            let reversed: Vec<String> = digits.chars().rev().map(String::from).collect();
            format!("{}.ip6.arpa", reversed.join("."))
        }
    }
}

/// The reverse zone that covers a network at a whole octet or nibble.
pub(super) fn reverse_zone(network: &str) -> Result<String, String> {
    let Network { address, prefix } = Network::new(network)?;
    let (step, labels) = if address.is_ipv4() { (8, 4) } else { (4, 32) };
    let kept = usize::from(prefix / step);
    if kept == 0 {
        return Err(format!("the network {network} is too large for a reverse zone"));
    }
    let whole = reverse(address);
    Ok(whole.splitn(labels - kept + 1, '.').last().unwrap_or(&whole).to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn reverse_zones_cover_their_network() {
        assert_eq!(reverse_zone("10.0.0.0/24").unwrap(), "0.0.10.in-addr.arpa");
        assert_eq!(reverse_zone("10.0.0.128/25").unwrap(), "0.0.10.in-addr.arpa");
        assert_eq!(reverse_zone("172.16.0.0/12").unwrap(), "172.in-addr.arpa");
        assert_eq!(reverse_zone("192.168.4.0/22").unwrap(), "168.192.in-addr.arpa");
        assert_eq!(reverse_zone("2001:db8::/32").unwrap(), "8.b.d.0.1.0.0.2.ip6.arpa");
        for bad in ["10.0.0.1/24", "10.0.0.0", "10.0.0.0/33", "10.0.0.0/0", "10.0.0.0/4", "x/8"] {
            assert!(reverse_zone(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_are_taken_as_they_are_meant() {
        let origin = "okd.example.org";
        assert_eq!(owner("API", origin).as_deref(), Some("api"));
        assert_eq!(owner("*.apps", origin).as_deref(), Some("*.apps"));
        assert_eq!(owner("api.okd.example.org", origin).as_deref(), Some("api"));
        assert_eq!(owner("okd.example.org.", origin).as_deref(), Some("@"));
        assert_eq!(owner("elsewhere.org.", origin), None);
        assert_eq!(target("services", origin), "services.okd.example.org.");
        assert_eq!(target("www.example.net", origin), "www.example.net.");
    }

    #[test]
    fn bad_names_are_refused() {
        for good in ["api", "*.apps", "_etcd._tcp", "xn--bcher-kva", "a.b.c."] {
            assert_eq!(problem(good, false), None, "{good}");
        }
        for bad in ["", "a..b", "-a", "a b", "a.*", "ä"] {
            assert!(problem(bad, false).is_some(), "{bad}");
        }
        assert!(problem("_etcd", true).is_some());
        assert!(problem(&"a".repeat(64), true).is_some());
    }
}
