//! Networks and addresses as the services' parameters give them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A network by its first address and its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    /// The first address.
    pub address: IpAddr,
    /// Bits that all its addresses share.
    pub prefix: u8,
}

impl Network {
    /// Reads `10.0.0.0/24`.
    ///
    /// # Errors
    /// Says what was expected; an address with bits beyond the length is refused.
    pub fn new(text: &str) -> Result<Self, String> {
        let expected = || format!("`{text}` is not a network such as 10.0.0.0/24");
        let (address, prefix) = text.split_once('/').ok_or_else(expected)?;
        let address: IpAddr = address.parse().map_err(|_| expected())?;
        let prefix: u8 = prefix.parse().map_err(|_| expected())?;
        if prefix == 0 || prefix > bits(address) {
            return Err(expected());
        }
        let first = masked(address, prefix);
        if first != address {
            return Err(format!(
                "`{text}` has bits beyond its length; the network is {first}/{prefix}"
            ));
        }
        Ok(Network { address, prefix })
    }

    /// Whether an address lies in it.
    #[must_use]
    pub fn contains(self, address: IpAddr) -> bool {
        bits(address) == bits(self.address) && masked(address, self.prefix) == self.address
    }

    /// Whether two networks share addresses.
    #[must_use]
    pub fn overlaps(self, other: Network) -> bool {
        self.contains(other.address) || other.contains(self.address)
    }

    /// The mask and the last address of an IPv4 network.
    #[must_use]
    pub fn v4(self) -> Option<(Ipv4Addr, Ipv4Addr)> {
        let IpAddr::V4(first) = self.address else { return None };
        let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0);
        Some((Ipv4Addr::from(mask), Ipv4Addr::from(u32::from(first) | !mask)))
    }
}

fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from(u32::from(v4) & mask))
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from(u128::from(v6) & mask))
        }
    }
}

/// Whether text is an address or a network, whatever bits it has beyond its length.
#[must_use]
pub fn is_address_or_network(text: &str) -> bool {
    let (address, prefix) = text
        .split_once('/')
        .map_or((text, None), |(address, prefix)| (address, Some(prefix)));
    let fits =
        |address: IpAddr| prefix.is_none_or(|prefix| prefix.parse().is_ok_and(|prefix: u8| prefix <= bits(address)));
    address.parse().is_ok_and(fits)
}

/// An address to listen on as haproxy and nginx write it: `8080`, `*:80`, `10.0.0.1:80`, `[::1]:80`; further words are
/// options. `None` for what is no TCP port, such as a socket's path.
#[must_use]
pub fn endpoint(text: &str) -> Option<(Option<String>, u16)> {
    let first = text.split_whitespace().next()?;
    let (address, port) = first.rsplit_once(':').unwrap_or(("", first));
    let address = address.trim_matches(['[', ']']);
    let port = port.parse().ok()?;
    match address {
        "" | "*" | "0.0.0.0" | "::" => Some((None, port)),
        other => other
            .parse::<IpAddr>()
            .ok()
            .map(|address| (Some(address.to_string()), port)),
    }
}

/// Whether two addresses to listen on are in each other's way.
#[must_use]
pub fn clash(one: &(Option<String>, u16), other: &(Option<String>, u16)) -> bool {
    one.1 == other.1 && (one.0.is_none() || other.0.is_none() || one.0 == other.0)
}

/// A hardware address in lower case with colons.
///
/// # Errors
/// Says what was expected.
pub fn mac(text: &str) -> Result<String, String> {
    let parts: Vec<&str> = text.split([':', '-']).collect();
    let good = |part: &&str| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    if parts.len() == 6 && parts.iter().all(good) {
        Ok(parts.join(":").to_ascii_lowercase())
    } else {
        Err(format!("`{text}` is not a hardware address such as 52:54:00:00:10:02"))
    }
}

/// First and last address of `10.0.0.15-10.0.0.30` or `10.0.0.15-30`.
///
/// # Errors
/// Says what was expected.
pub fn range(text: &str) -> Result<(Ipv4Addr, Ipv4Addr), String> {
    let expected = || format!("`{text}` is not a range such as 10.0.0.15-10.0.0.30");
    let words: Vec<&str> = text
        .split(|c: char| c == '-' || c.is_whitespace())
        .filter(|word| !word.is_empty())
        .collect();
    let [first, rest @ ..] = words.as_slice() else {
        return Err(expected());
    };
    let from: Ipv4Addr = first.parse().map_err(|_| expected())?;
    let to = match rest {
        [] => from,
        [last] if last.contains('.') => last.parse().map_err(|_| expected())?,
        [last] => {
            let [a, b, c, _] = from.octets();
            Ipv4Addr::new(a, b, c, last.parse().map_err(|_| expected())?)
        }
        _ => return Err(expected()),
    };
    if from <= to {
        Ok((from, to))
    } else {
        Err(format!("the range `{text}` ends before it begins"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn networks_hold_their_addresses() {
        let network = Network::new("10.0.0.0/25").unwrap();
        assert!(network.contains("10.0.0.127".parse().unwrap()) && !network.contains("10.0.0.128".parse().unwrap()));
        assert_eq!(
            network.v4().unwrap(),
            ("255.255.255.128".parse().unwrap(), "10.0.0.127".parse().unwrap())
        );
        assert!(network.overlaps(Network::new("10.0.0.0/8").unwrap()));
        assert!(!network.overlaps(Network::new("2001:db8::/32").unwrap()));
        assert_eq!(
            Network::new("10.0.0.1/24").unwrap_err(),
            "`10.0.0.1/24` has bits beyond its length; the network is 10.0.0.0/24"
        );
        assert!(is_address_or_network("10.0.0.1/24") && !is_address_or_network("10.0.0.1/33"));
    }

    #[test]
    fn endpoints_are_read_and_compared() {
        assert_eq!(endpoint("8080"), Some((None, 8080)));
        assert_eq!(endpoint("*:80 ssl"), Some((None, 80)));
        assert_eq!(endpoint("[::1]:80"), Some((Some("::1".to_owned()), 80)));
        assert_eq!(endpoint("unix:/run/x"), None);
        assert!(clash(&endpoint("80").unwrap(), &endpoint("10.0.0.1:80").unwrap()));
        assert!(!clash(
            &endpoint("10.0.0.2:80").unwrap(),
            &endpoint("10.0.0.1:80").unwrap()
        ));
    }
}
