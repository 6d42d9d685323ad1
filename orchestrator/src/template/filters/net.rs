//! The `ipaddr` family of `ansible.utils`, and hardware addresses.

use minijinja::value::{Value as Native, ValueKind};
use minijinja::{Error, State};

use super::ipaddr::{Net, merge, show, spanning};
use crate::error::nearest;
use crate::template::print;
use crate::template::registry::{Call, Entry, list, reads, wrong};

type Answer = Result<Native, Error>;

/// Every filter of this file.
pub(super) const ALL: &[Entry] = &[
    reads(
        &["ipaddr", "ansible.utils.ipaddr"],
        &["value", "query", "version"],
        |_, call| {
            let version = match call.int_or("version", 0)? {
                4 => Some(false),
                6 => Some(true),
                _ => None,
            };
            query_each(&call.subject(), &Query::new(call)?, version)
        },
    ),
    reads(&["ipv4", "ansible.utils.ipv4"], &["value", "query"], |_, call| {
        query_each(&call.subject(), &Query::new(call)?, Some(false))
    }),
    reads(&["ipv6", "ansible.utils.ipv6"], &["value", "query"], |_, call| {
        query_each(&call.subject(), &Query::new(call)?, Some(true))
    }),
    reads(&["ipwrap", "ansible.utils.ipwrap"], &["value", "query"], |_, call| {
        wrap_each(&call.subject())
    }),
    reads(
        &["ipsubnet", "ansible.utils.ipsubnet"],
        &["value", "query", "index"],
        ipsubnet,
    ),
    reads(&["ipmath", "ansible.utils.ipmath"], &["value", "amount"], |_, call| {
        let net = net_of(call)?;
        let moved = step(&net, net.ip, call.int_or("amount", 0)?)?;
        Ok(Native::from(net.show(moved)))
    }),
    reads(&["nthhost", "ansible.utils.nthhost"], &["value", "query"], |_, call| {
        let net = net_of(call)?;
        Ok(net
            .nth(call.int_or("query", 0)?)
            .map_or_else(|| Native::from(false), |ip| Native::from(net.show(ip))))
    }),
    reads(
        &["next_nth_usable", "ansible.utils.next_nth_usable"],
        &["value", "offset"],
        |_, call| usable_step(call, 1),
    ),
    reads(
        &["previous_nth_usable", "ansible.utils.previous_nth_usable"],
        &["value", "offset"],
        |_, call| usable_step(call, -1),
    ),
    reads(
        &["network_in_network", "ansible.utils.network_in_network"],
        &["value", "test"],
        |_, call| Ok(Native::from(net_of(call)?.network().contains(&other(call, "test")?))),
    ),
    reads(
        &["network_in_usable", "ansible.utils.network_in_usable"],
        &["value", "test"],
        |_, call| {
            let (net, inner) = (net_of(call)?, other(call, "test")?);
            let (first, last) = net.usable();
            Ok(Native::from(
                net.v6 == inner.v6 && first <= inner.first() && inner.last() <= last,
            ))
        },
    ),
    reads(
        &["reduce_on_network", "ansible.utils.reduce_on_network"],
        &["value", "network"],
        |_, call| {
            let net = other(call, "network")?;
            let inside = |item: &Native| parse(item).is_some_and(|one| net.contains(&one));
            Ok(call.items()?.into_iter().filter(inside).collect())
        },
    ),
    reads(
        &["cidr_merge", "ansible.utils.cidr_merge"],
        &["value", "action"],
        cidr_merge,
    ),
    reads(
        &["ip4_hex", "ansible.utils.ip4_hex"],
        &["value", "delimiter"],
        |_, call| {
            let net = net_of(call)?;
            let bytes = (net.ip as u32).to_be_bytes().map(|byte| format!("{byte:02x}"));
            Ok(Native::from(bytes.join(&call.text_or("delimiter", "")?)))
        },
    ),
    reads(&["hwaddr", "ansible.utils.hwaddr"], &["value", "query"], hwaddr),
    reads(&["macaddr", "ansible.utils.macaddr"], &["value", "query"], hwaddr),
];

/// An address or network out of text or a whole number.
fn parse(value: &Native) -> Option<Net> {
    if value.is_integer() {
        let number = u128::try_from(value.clone()).ok()?;
        return Net::address(false, number).or_else(|| Net::address(true, number));
    }
    let text = value.as_str()?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        let number = text.parse().ok()?;
        return Net::address(false, number).or_else(|| Net::address(true, number));
    }
    Net::parse(text)
}

fn net_of(call: &Call) -> Result<Net, Error> {
    let value = call.subject();
    parse(&value).ok_or_else(|| {
        wrong(format!(
            "`{}` needs an address or a network, not `{}`",
            call.name,
            print::text(&value)
        ))
    })
}

fn other(call: &Call, name: &str) -> Result<Net, Error> {
    let value = call.need(name)?;
    parse(value).ok_or_else(|| {
        wrong(format!(
            "`{}`: `{}` is neither an address nor a network",
            call.name,
            print::text(value)
        ))
    })
}

fn step(net: &Net, from: u128, by: i64) -> Result<u128, Error> {
    let amount = u128::from(by.unsigned_abs());
    let moved = if by >= 0 {
        from.checked_add(amount)
    } else {
        from.checked_sub(amount)
    };
    moved
        .filter(|ip| net.v6 || *ip <= u128::from(u32::MAX))
        .ok_or_else(|| wrong(format!("{} moved by {by} is no address", net.show(from))))
}

/// What is asked of an address.
enum Query {
    Named(String),
    Index(i64),
    Within(Net),
}

const QUERIES: &[&str] = &[
    "",
    "address",
    "address/prefix",
    "bool",
    "broadcast",
    "cidr",
    "first_usable",
    "gateway",
    "gw",
    "host",
    "host/prefix",
    "hostmask",
    "hostnet",
    "int",
    "ip",
    "ip/prefix",
    "ip_netmask",
    "ipv4",
    "ipv6",
    "last_usable",
    "link-local",
    "lo",
    "loopback",
    "multicast",
    "net",
    "netmask",
    "network",
    "network/prefix",
    "network_id",
    "network_netmask",
    "network_wildcard",
    "next_usable",
    "peer",
    "prefix",
    "previous_usable",
    "private",
    "public",
    "range_usable",
    "revdns",
    "router",
    "size",
    "size_usable",
    "subnet",
    "type",
    "unicast",
    "v4",
    "v6",
    "version",
    "wildcard",
    "wrap",
];

impl Query {
    fn new(call: &Call) -> Result<Query, Error> {
        let text = call.text_or("query", "")?;
        if QUERIES.contains(&text.as_str()) {
            return Ok(Query::Named(text));
        }
        if let Ok(index) = text.parse() {
            return Ok(Query::Index(index));
        }
        if let Some(net) = Net::parse(&text) {
            return Ok(Query::Within(net.network()));
        }
        let near = nearest(&text, QUERIES.iter().copied().filter(|name| !name.is_empty()));
        let hint = near.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
        Err(wrong(format!("`{}` has no query `{text}`{hint}", call.name)))
    }
}

/// Of a list the answers that are not false; of what is no address, false.
fn query_each(value: &Native, query: &Query, version: Option<bool>) -> Answer {
    if matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable) {
        let mut out = Vec::new();
        for item in list(value, "ipaddr")? {
            let answer = match query_one(&item, query, version) {
                Ok(answer) => answer,
                Err(_) => continue,
            };
            if answer.is_true() {
                out.push(answer);
            }
        }
        return Ok(Native::from(out));
    }
    query_one(value, query, version)
}

fn query_one(value: &Native, query: &Query, version: Option<bool>) -> Answer {
    let no = Native::from(false);
    let Some(net) = parse(value).filter(|net| version.is_none_or(|v6| net.v6 == v6)) else {
        return Ok(no);
    };
    Ok(match query {
        Query::Index(_) if net.span() == 0 => Native::from(net.to_string()),
        Query::Index(index) => match net.nth(*index) {
            Some(ip) => Native::from(format!("{}/{}", net.show(ip), net.prefix)),
            None => no,
        },
        Query::Within(wide) if wide.contains(&net) => value.clone(),
        Query::Within(_) => Native::from(()),
        Query::Named(name) => match plain_query(&net, name).or_else(|| host_query(&net, name)) {
            Some(answer) => answer,
            None => kind_query(&net, name, value)?.unwrap_or_else(|| Native::from(())),
        },
    })
}

/// Queries that always have an answer.
fn plain_query(net: &Net, name: &str) -> Option<Native> {
    let pair = |one: String, two: String| Native::from(format!("{one} {two}"));
    let (first, mask, host_mask) = (net.show(net.first()), net.show(net.mask()), net.show(net.host_mask()));
    Some(match name {
        "" => Native::from(net.to_string()),
        "bool" => Native::from(true),
        "cidr" => Native::from(format!("{}/{}", net.show(net.ip), net.prefix)),
        "subnet" | "network/prefix" => Native::from(net.network().to_string()),
        "netmask" => Native::from(mask),
        "hostmask" | "wildcard" => Native::from(host_mask),
        "prefix" => Native::from(net.prefix),
        "size" => number(&net.size()),
        "size_usable" => match net.span() {
            0 => Native::from(0),
            1 => Native::from(2),
            span => number(&(span - 1).to_string()),
        },
        "revdns" => Native::from(net.reverse_name()),
        "version" => Native::from(if net.v6 { 6 } else { 4 }),
        "int" if net.is_network => Native::from(format!("{}/{}", net.ip, net.prefix)),
        "int" => number(&net.ip.to_string()),
        "network_netmask" => pair(first, mask),
        "network_wildcard" => pair(first, host_mask),
        "network" | "network_id" => Native::from(first),
        "broadcast" if net.span() > 1 => Native::from(net.show(net.last())),
        _ => return None,
    })
}

fn number(digits: &str) -> Native {
    digits.parse::<i64>().map_or_else(
        |_| {
            digits
                .parse::<u128>()
                .map_or_else(|_| Native::from(digits), Native::from)
        },
        Native::from,
    )
}

/// Queries about the host part; a network's own address has none.
fn host_query(net: &Net, name: &str) -> Option<Native> {
    let is_host = net.ip != net.first();
    let small = net.span() <= 1;
    let with_prefix = || Native::from(format!("{}/{}", net.show(net.ip), net.prefix));
    Some(match name {
        "address" | "ip" if net.v6 || is_host || small => Native::from(net.show(net.ip)),
        "host" if is_host || small => with_prefix(),
        "address/prefix" | "host/prefix" | "gateway" | "gw" | "router" | "hostnet" => {
            let (first, last) = net.usable();
            if (first..=last).contains(&net.ip) {
                with_prefix()
            } else {
                Native::from(false)
            }
        }
        "ip/prefix" if net.span() == 1 || (net.span() > 0 && is_host) => with_prefix(),
        "ip_netmask" if net.span() == 1 || (net.span() > 0 && is_host) => {
            Native::from(format!("{} {}", net.show(net.ip), net.show(net.mask())))
        }
        "net" if net.span() > 0 && !is_host => with_prefix(),
        "type" => Native::from(if net.span() == 0 || is_host {
            "address"
        } else {
            "network"
        }),
        _ => return None,
    })
}

/// Queries about usable ranges and kinds of addresses; `None` where the answer is no.
fn kind_query(net: &Net, name: &str, value: &Native) -> Result<Option<Native>, Error> {
    let (first, last) = net.usable();
    let text = |ip: u128| Some(Native::from(net.show(ip)));
    let within = |ip: Option<u128>| ip.filter(|ip| (first..=last).contains(ip)).and_then(text);
    let kept = |holds: bool| holds.then(|| value.clone());
    Ok(match name {
        "first_usable" | "last_usable" | "next_usable" | "previous_usable" | "range_usable" if !net.is_network => {
            return Err(wrong(format!(
                "`{net}` is not a network: `{name}` needs a prefix length"
            )));
        }
        "first_usable" if net.span() > 0 => text(first),
        "last_usable" if net.span() > 0 => text(last),
        "range_usable" if net.span() > 0 => Some(Native::from(format!("{}-{}", net.show(first), net.show(last)))),
        "next_usable" => within(net.ip.checked_add(1)),
        "previous_usable" => within(Some(step(net, net.ip, -1)?)),
        "peer" => match net.span() {
            1 => text(net.ip ^ 1),
            3 if (first..=last).contains(&net.ip) => text(net.first() + net.last() - net.ip),
            _ => {
                return Err(wrong(format!(
                    "`{net}` has no peer: that takes a network of 2 or 4 addresses"
                )));
            }
        },
        "ipv4" | "v4" if net.v6 => Some(mapped(net).map_or_else(|| Native::from(false), Native::from)),
        "ipv6" | "v6" if !net.v6 => Some(Native::from(format!(
            "::ffff:{}/{}",
            net.show(net.ip),
            u32::from(net.prefix) + 96
        ))),
        "ipv4" | "v4" | "ipv6" | "v6" => kept(true),
        "wrap" => Some(wrapped(net, value)),
        "private" => kept(is_private(net)),
        "public" => kept(!is_private(net) && !is_multicast(net)),
        "unicast" => kept(!is_multicast(net)),
        "multicast" => kept(is_multicast(net)),
        "lo" | "loopback" => kept(in_any(net, &["127.0.0.0/8", "::1/128"])),
        "link-local" => kept(in_any(net, &["169.254.0.0/16", "fe80::/10"])),
        _ => None,
    })
}

/// The address of version 4 inside `::ffff:0:0/96` or `::/96`.
fn mapped(net: &Net) -> Option<String> {
    let inside = in_any(net, &["::ffff:0:0/96", "::/96"]);
    inside.then(|| format!("{}/{}", show(false, net.ip & u128::from(u32::MAX)), net.prefix - 96))
}

fn in_any(net: &Net, wide: &[&str]) -> bool {
    wide.iter()
        .filter_map(|one| Net::parse(one))
        .any(|one| one.contains(net))
}

/// What the IANA special-purpose registries do not let be routed globally, judged by both ends of a network.
fn is_private(net: &Net) -> bool {
    let ends = [net.first(), net.last()].map(|ip| Net::address(net.v6, ip));
    ends.iter().all(|end| end.is_some_and(|end| in_any(&end, PRIVATE)))
}

const PRIVATE: &[&str] = &[
    "0.0.0.0/8",
    "10.0.0.0/8",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "240.0.0.0/4",
    "::/127",
    "::ffff:0:0/96",
    "64:ff9b:1::/48",
    "100::/64",
    "2001::/23",
    "2001:db8::/32",
    "3fff::/20",
    "fc00::/7",
    "fe80::/10",
];

fn is_multicast(net: &Net) -> bool {
    in_any(net, &["224.0.0.0/4", "ff00::/8"])
}

fn wrapped(net: &Net, value: &Native) -> Native {
    match (net.v6, net.is_network) {
        (false, _) => value.clone(),
        (true, false) => Native::from(format!("[{}]", net.show(net.ip))),
        (true, true) => Native::from(format!("[{}]/{}", net.show(net.ip), net.prefix)),
    }
}

/// Square brackets around addresses of version 6; whatever else there is stays.
fn wrap_each(value: &Native) -> Answer {
    if matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable) {
        return Ok(list(value, "ipwrap")?
            .iter()
            .map(wrap_each)
            .collect::<Result<Vec<_>, _>>()?
            .into());
    }
    Ok(parse(value).map_or_else(|| value.clone(), |net| wrapped(&net, value)))
}

/// The subnets of a network by prefix length, one of them by index, or a network's rank inside another.
fn ipsubnet(_: &mut State<'_, '_>, call: &Call) -> Answer {
    let Some(net) = parse(&call.subject()) else {
        return Ok(Native::from(false));
    };
    let query = call.text_or("query", "")?;
    if query.is_empty() {
        return Ok(Native::from(net.network().to_string()));
    }
    let Ok(prefix) = query.parse::<u8>() else {
        return rank(&net, &query);
    };
    if prefix > net.bits() {
        return Err(wrong(format!("`ipsubnet`: /{prefix} is longer than an address")));
    }
    let index = match call.get("index") {
        Some(index) if !index.is_none() && index.as_str() != Some("") => Some(call.int_or("index", 0)?),
        _ => None,
    };
    if net.span() == 0 {
        return Ok(around(&net, prefix, index));
    }
    if prefix < net.prefix {
        return Ok(Native::from(false));
    }
    let last = 1_u128
        .checked_shl(u32::from(prefix - net.prefix))
        .map_or(u128::MAX, |count| count - 1);
    let Some(index) = index else {
        return Ok(number(&last.saturating_add(1).to_string()));
    };
    let size = net.with_prefix(prefix).span();
    let offset = u128::from(index.unsigned_abs());
    let nth = if index >= 0 {
        Some(offset)
    } else {
        last.checked_sub(offset - 1)
    };
    Ok(match nth.filter(|nth| *nth <= last) {
        Some(nth) => {
            let start = net.first() + nth.wrapping_mul(size.wrapping_add(1));
            Native::from(
                Net {
                    ip: start,
                    ..net.with_prefix(prefix)
                }
                .to_string(),
            )
        }
        None => Native::from(false),
    })
}

/// Of one address: the network of that length around it, or one of those from that length on.
fn around(net: &Net, prefix: u8, index: Option<i64>) -> Native {
    let Some(index) = index else {
        return Native::from(net.with_prefix(prefix).to_string());
    };
    let lengths: Vec<u8> = (prefix..net.bits()).collect();
    let at = if index >= 0 {
        Some(index as usize)
    } else {
        lengths.len().checked_sub(index.unsigned_abs() as usize)
    };
    match at.and_then(|at| lengths.get(at)) {
        Some(length) => Native::from(net.with_prefix(*length).to_string()),
        None => Native::from(false),
    }
}

fn rank(net: &Net, within: &str) -> Answer {
    let wide = Net::parse(within)
        .ok_or_else(|| wrong(format!("`ipsubnet` takes a prefix length or a network, not `{within}`")))?;
    if !wide.network().contains(net) {
        return Err(wrong(format!("`{net}` is not in the subnet `{within}`")));
    }
    let rank = (net.first() - wide.first()) / net.span().saturating_add(1) + 1;
    Ok(Native::from(rank.to_string()))
}

fn usable_step(call: &Call, direction: i64) -> Answer {
    let net = net_of(call)?;
    let (first, last) = net.usable();
    let moved = step(&net, net.ip, direction * call.int_or("offset", 1)?)?;
    Ok(if (first..=last).contains(&moved) {
        Native::from(net.show(moved))
    } else {
        Native::from(false)
    })
}

fn cidr_merge(_: &mut State<'_, '_>, call: &Call) -> Answer {
    let mut nets = Vec::new();
    for item in call.items()? {
        nets.push(parse(&item).ok_or_else(|| wrong(format!("`cidr_merge`: `{}` is no network", print::text(&item))))?);
    }
    match call.text_or("action", "merge")?.as_str() {
        "merge" => Ok(merge(&nets).iter().map(|net| Native::from(net.to_string())).collect()),
        "span" => Ok(spanning(&nets).map_or_else(|| Native::from(()), |net| Native::from(net.to_string()))),
        other => Err(wrong(format!("`cidr_merge`: action is merge or span, not `{other}`"))),
    }
}

/// A hardware address of 48 bits in one of its notations.
fn hwaddr(_: &mut State<'_, '_>, call: &Call) -> Answer {
    let value = call.subject();
    let text = print::text(&value);
    let query = call.text_or("query", "")?;
    let Some(bytes) = mac(&text) else {
        return match query.as_str() {
            "" | "bool" => Ok(Native::from(())),
            _ => Err(wrong(format!("`{}`: `{text}` is not a hardware address", call.name))),
        };
    };
    let pairs = |separator: &str| bytes.map(|byte| format!("{byte:02x}")).join(separator);
    let groups = |size: usize, separator: &str| {
        let digits = pairs("");
        let parts: Vec<&str> = (0..digits.len())
            .step_by(size)
            .map(|at| &digits[at..at + size])
            .collect();
        parts.join(separator)
    };
    Ok(Native::from(match query.as_str() {
        "" => return Ok(value),
        "bool" => return Ok(Native::from(true)),
        "int" => {
            return Ok(number(
                &bytes
                    .iter()
                    .fold(0_u64, |all, byte| all << 8 | u64::from(*byte))
                    .to_string(),
            ));
        }
        "bare" => pairs("").to_uppercase(),
        "cisco" => groups(4, "."),
        "eui48" | "win" => pairs("-").to_uppercase(),
        "linux" | "unix" => pairs(":"),
        "pgsql" | "postgresql" | "psql" => groups(6, ":"),
        other => return Err(wrong(format!("`{}` has no query `{other}`", call.name))),
    }))
}

fn mac(text: &str) -> Option<[u8; 6]> {
    let parts: Vec<&str> = text.split([':', '-', '.']).collect();
    let digits: String = match parts.len() {
        6 => parts.iter().map(|part| format!("{part:0>2}")).collect(),
        1..=3 => parts
            .iter()
            .map(|part| format!("{part:0>width$}", width = 12 / parts.len()))
            .collect(),
        _ => return None,
    };
    let number = u64::from_str_radix(&digits, 16)
        .ok()
        .filter(|_| digits.len() == 12 && parts.iter().all(|part| !part.is_empty()))?;
    let [_, _, bytes @ ..] = number.to_be_bytes();
    Some(bytes)
}
