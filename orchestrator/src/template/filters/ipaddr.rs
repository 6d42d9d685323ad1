//! Addresses and networks as numbers: parsing, printing and the arithmetic that the `ipaddr` family needs.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

/// An address with its prefix length; the address need not be the network's first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Net {
    pub(super) v6: bool,
    pub(super) ip: u128,
    pub(super) prefix: u8,
    /// Written with a prefix or a mask.
    pub(super) is_network: bool,
}

impl Net {
    /// Reads `a`, `a/24`, `a/255.255.255.0` or `a/0.0.0.255`.
    pub(super) fn parse(text: &str) -> Option<Net> {
        let (address, prefix) = text
            .split_once('/')
            .map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let (v6, ip) = parse_address(address)?;
        let bits = if v6 { 128 } else { 32 };
        let prefix_length = match prefix {
            None => bits,
            Some(digits) => match digits.parse::<u8>() {
                Ok(length) if length <= bits => length,
                _ => prefix_of_mask(v6, digits)?,
            },
        };
        Some(Net {
            v6,
            ip,
            prefix: prefix_length,
            is_network: prefix.is_some(),
        })
    }

    /// One address of a version; `None` where the number is too large for it.
    pub(super) fn address(v6: bool, ip: u128) -> Option<Net> {
        let fits = v6 || ip <= u128::from(u32::MAX);
        fits.then_some(Net {
            v6,
            ip,
            prefix: if v6 { 128 } else { 32 },
            is_network: false,
        })
    }

    pub(super) fn bits(&self) -> u8 {
        if self.v6 { 128 } else { 32 }
    }

    /// The bits below the prefix.
    pub(super) fn host_mask(&self) -> u128 {
        match self.bits() - self.prefix {
            128 => u128::MAX,
            bits => (1_u128 << bits) - 1,
        }
    }

    pub(super) fn mask(&self) -> u128 {
        let all = if self.v6 { u128::MAX } else { u128::from(u32::MAX) };
        all & !self.host_mask()
    }

    pub(super) fn first(&self) -> u128 {
        self.ip & !self.host_mask()
    }

    pub(super) fn last(&self) -> u128 {
        self.ip | self.host_mask()
    }

    /// How many addresses less one, which always fits.
    pub(super) fn span(&self) -> u128 {
        self.host_mask()
    }

    /// How many addresses, as text: a /0 of version 6 has one more than fits.
    pub(super) fn size(&self) -> String {
        self.span().checked_add(1).map_or_else(
            || "340282366920938463463374607431768211456".to_owned(),
            |size| size.to_string(),
        )
    }

    /// The network itself.
    pub(super) fn network(&self) -> Net {
        Net {
            ip: self.first(),
            is_network: true,
            ..*self
        }
    }

    /// The address at an index, counted from the end where it is negative.
    pub(super) fn nth(&self, index: i64) -> Option<u128> {
        let offset = u128::from(index.unsigned_abs());
        if index >= 0 {
            (offset <= self.span()).then(|| self.first() + offset)
        } else {
            (offset <= self.span().saturating_add(1)).then(|| self.last() - (offset - 1))
        }
    }

    /// The same network with another prefix length.
    pub(super) fn with_prefix(&self, prefix: u8) -> Net {
        Net {
            prefix,
            is_network: true,
            ..*self
        }
        .network()
    }

    pub(super) fn contains(&self, other: &Net) -> bool {
        self.v6 == other.v6 && self.first() <= other.first() && other.last() <= self.last()
    }

    /// The first and last address that a host may have: all where there are at most two.
    pub(super) fn usable(&self) -> (u128, u128) {
        if self.span() <= 1 {
            (self.first(), self.last())
        } else {
            (self.first() + 1, self.last() - 1)
        }
    }

    pub(super) fn show(&self, ip: u128) -> String {
        show(self.v6, ip)
    }

    /// The name in the reverse tree, with its final dot.
    pub(super) fn reverse_name(&self) -> String {
        if self.v6 {
            let digits: String = format!("{:032x}", self.ip)
                .chars()
                .rev()
                .flat_map(|digit| [digit, '.'])
                .collect();
            return format!("{digits}ip6.arpa.");
        }
        let [a, b, c, d] = (self.ip as u32).to_be_bytes();
        format!("{d}.{c}.{b}.{a}.in-addr.arpa.")
    }
}

/// With its prefix length where it was written with one.
impl fmt::Display for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.show(self.ip))?;
        if self.is_network {
            write!(f, "/{}", self.prefix)
        } else {
            Ok(())
        }
    }
}

fn parse_address(text: &str) -> Option<(bool, u128)> {
    let text = text.trim();
    if let Ok(address) = text.parse::<Ipv4Addr>() {
        return Some((false, u128::from(u32::from(address))));
    }
    let text = text
        .strip_prefix('[')
        .and_then(|inner| inner.strip_suffix(']'))
        .unwrap_or(text);
    text.parse::<Ipv6Addr>().ok().map(|address| (true, u128::from(address)))
}

/// The prefix length of a netmask, or of a host mask.
fn prefix_of_mask(v6: bool, text: &str) -> Option<u8> {
    let (mask_v6, mask) = parse_address(text)?;
    let (bits, all) = if v6 {
        (128, u128::MAX)
    } else {
        (32, u128::from(u32::MAX))
    };
    if mask_v6 != v6 {
        return None;
    }
    let host = all & !mask;
    if host & host.wrapping_add(1) == 0 {
        return Some(bits - host.count_ones() as u8);
    }
    (mask & mask.wrapping_add(1) == 0).then(|| bits - mask.count_ones() as u8)
}

/// An address of a version as text.
pub(super) fn show(v6: bool, ip: u128) -> String {
    if v6 {
        Ipv6Addr::from(ip).to_string()
    } else {
        Ipv4Addr::from(ip as u32).to_string()
    }
}

/// The fewest networks that cover exactly the same addresses.
pub(super) fn merge(nets: &[Net]) -> Vec<Net> {
    let mut ranges: Vec<(bool, u128, u128)> = nets.iter().map(|net| (net.v6, net.first(), net.last())).collect();
    ranges.sort_unstable();
    let mut joined: Vec<(bool, u128, u128)> = Vec::new();
    for (v6, first, last) in ranges {
        match joined.last_mut() {
            Some((own, _, end)) if *own == v6 && first <= end.saturating_add(1) => *end = (*end).max(last),
            _ => joined.push((v6, first, last)),
        }
    }
    joined
        .into_iter()
        .flat_map(|(v6, first, last)| cover(v6, first, last))
        .collect()
}

/// A range as networks, each as large as its start allows.
fn cover(v6: bool, first: u128, last: u128) -> Vec<Net> {
    let bits: u8 = if v6 { 128 } else { 32 };
    let mut out = Vec::new();
    let mut at = first;
    loop {
        let mut prefix = bits - (at.trailing_zeros().min(u32::from(bits)) as u8);
        let net = |prefix: u8| Net {
            v6,
            ip: at,
            prefix,
            is_network: true,
        };
        while net(prefix).last() > last {
            prefix += 1;
        }
        out.push(net(prefix));
        match net(prefix).last().checked_add(1) {
            Some(next) if next <= last => at = next,
            _ => return out,
        }
    }
}

/// The smallest network that holds all.
pub(super) fn spanning(nets: &[Net]) -> Option<Net> {
    let first = nets.first()?;
    if nets.iter().any(|net| net.v6 != first.v6) {
        return None;
    }
    (0..=first.prefix)
        .rev()
        .map(|prefix| first.with_prefix(prefix))
        .find(|wide| nets.iter().all(|net| wide.contains(net)))
}
