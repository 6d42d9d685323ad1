//! A zone's file, RFC 1035 5, and its serial, which rises only when the records change.

use super::name;
use super::{Record, RecordType, Soa, Zone, ZoneType};
use crate::order::sort_pairs;
use crate::param::Params;
use crate::resource::network::Network;
use crate::resource::transaction::header;
use crate::value::Map;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::IpAddr;

/// One record as the file has it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    owner: String,
    ttl: Option<u64>,
    kind: &'static str,
    data: String,
}

/// The zone's file and its serial, given the file that is there.
pub(super) fn render(zone: &Zone, origin: &str, old: Option<&str>) -> (String, u32) {
    let first = zone.soa.as_ref().map_or(1, |soa| soa.serial).try_into().unwrap_or(1);
    let Some((old, serial)) = old.and_then(|old| Some((old, serial_of(old)?))) else {
        return (text(zone, origin, first), first);
    };
    let kept = text(zone, origin, serial);
    if meaning(&kept) == meaning(old) {
        return (kept, serial);
    }
    let raised = match serial.wrapping_add(1) {
        0 => 1,
        raised => raised,
    };
    (text(zone, origin, raised), raised)
}

fn text(zone: &Zone, origin: &str, serial: u32) -> String {
    let soa = zone.soa.clone().or_else(|| Soa::decode(&Map::new()).ok());
    let mut out = header(";");
    let _ = writeln!(out, "$ORIGIN {origin}.\n$TTL {}", zone.ttl);
    let mname = soa.as_ref().and_then(|soa| soa.mname.as_ref()).or(zone.ns.first());
    let mname = mname.map_or_else(|| format!("{origin}."), |name| name::target(name, domain(zone, origin)));
    let rname = rname(soa.as_ref().and_then(|soa| soa.rname.as_deref()), domain(zone, origin));
    let _ = writeln!(out, "@ IN SOA {mname} {rname} (");
    if let Some(Soa { refresh, retry, expire, minimum, .. }) = &soa {
        for (value, means) in
            [(u64::from(serial), "serial"), (*refresh, "refresh"), (*retry, "retry"), (*expire, "expire")]
        {
            let _ = writeln!(out, "    {value:<10} ; {means}");
        }
        let _ = writeln!(out, "    {minimum:<10} ; negative answers\n)");
    }
    let lines = lines(zone, origin);
    let width = lines.iter().map(|line| line.owner.len()).max().unwrap_or(0);
    for Line { owner, ttl, kind, data } in &lines {
        let ttl = ttl.map(|ttl| format!("{ttl} ")).unwrap_or_default();
        let _ = writeln!(out, "{owner:<width$} {ttl}IN {kind:<5} {data}");
    }
    out
}

fn domain<'a>(zone: &'a Zone, origin: &'a str) -> &'a str {
    zone.domain.as_deref().map_or(origin, |domain| domain.trim_end_matches('.'))
}

/// A mail address as a name: the first dot that is no part of a person's name stands for `@`.
fn rname(given: Option<&str>, domain: &str) -> String {
    match given.map(|given| (given, given.split_once('@'))) {
        None => format!("hostmaster.{domain}."),
        Some((_, Some((person, place)))) => {
            format!("{}.{}.", person.replace('.', "\\."), place.trim_end_matches('.'))
        }
        Some((given, None)) => name::target(given, domain),
    }
}

fn lines(zone: &Zone, origin: &str) -> Vec<Line> {
    let domain = domain(zone, origin);
    let mut lines: Vec<Line> = Vec::new();
    for server in &zone.ns {
        lines.push(Line { owner: "@".to_owned(), ttl: None, kind: "NS", data: name::target(server, domain) });
    }
    for record in &zone.records {
        let owner = name::owner(&record.name, origin).unwrap_or_else(|| record.name.clone());
        for value in record.all_values() {
            let (kind, data) = (record.r#type.word(), data(record, value, domain));
            lines.push(Line { owner: owner.clone(), ttl: record.ttl, kind, data });
        }
    }
    lines.extend(host_lines(zone, origin, domain));
    lines
}

fn host_lines(zone: &Zone, origin: &str, domain: &str) -> Vec<Line> {
    let network = zone.network.as_deref().and_then(|text| Network::new(text).ok());
    let mut lines: Vec<(Option<IpAddr>, Line)> = Vec::new();
    for (host, address) in &zone.hosts {
        let Ok(address) = address.parse::<IpAddr>() else { continue };
        match network {
            Some(network) if network.contains(address) && !host.starts_with('*') => {
                let whole = name::reverse(address);
                let owner = name::owner(&whole, origin).unwrap_or(whole);
                let data = name::target(host, domain);
                lines.push((Some(address), Line { owner, ttl: None, kind: "PTR", data }));
            }
            Some(_) => {}
            None => {
                let owner = name::owner(host, origin).unwrap_or_else(|| host.clone());
                let kind = if address.is_ipv4() { "A" } else { "AAAA" };
                lines.push((None, Line { owner, ttl: None, kind, data: address.to_string() }));
            }
        }
    }
    sort_pairs(&mut lines);
    lines.into_iter().map(|(_, line)| line).collect()
}

fn data(record: &Record, value: &str, domain: &str) -> String {
    match record.r#type {
        RecordType::A | RecordType::Aaaa => {
            value.parse::<IpAddr>().map_or_else(|_| value.to_owned(), |address| address.to_string())
        }
        RecordType::Cname | RecordType::Ns | RecordType::Ptr => name::target(value, domain),
        RecordType::Mx => format!("{} {}", record.priority, name::target(value, domain)),
        RecordType::Srv => {
            let Record { priority, weight, port, .. } = record;
            format!("{priority} {weight} {} {}", port.unwrap_or(0), name::target(value, domain))
        }
        RecordType::Txt => quoted(value),
        RecordType::Caa => format!("{} {} {}", record.flag, record.tag, quoted(value)),
    }
}

/// Text in quoted strings of at most 255 bytes each, RFC 1035 3.3.14.
fn quoted(text: &str) -> String {
    if text.is_empty() {
        return "\"\"".to_owned();
    }
    let strings = text.as_bytes().chunks(255).map(|chunk| {
        let inner: String = chunk
            .iter()
            .map(|byte| match byte {
                b'"' | b'\\' => format!("\\{}", char::from(*byte)),
                b' '..=b'~' => char::from(*byte).to_string(),
                other => format!("\\{other:03}"),
            })
            .collect();
        format!("\"{inner}\"")
    });
    strings.collect::<Vec<_>>().join(" ")
}

/// A zone file's words: comments gone, parentheses and spacing without meaning, line ends kept outside of them.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let (mut quote, mut escape, mut comment, mut depth) = (false, false, false, 0_usize);
    for c in text.chars() {
        if comment && c != '\n' {
            continue;
        }
        comment = false;
        if escape || quote || c == '\\' || c == '"' {
            word.push(c);
            quote ^= c == '"' && !escape;
            escape = c == '\\' && !escape;
            continue;
        }
        if matches!(c, ';' | '(' | ')') || c.is_whitespace() {
            if !word.is_empty() {
                words.push(std::mem::take(&mut word));
            }
            match c {
                ';' => comment = true,
                '(' => depth += 1,
                ')' => depth = depth.saturating_sub(1),
                '\n' if depth == 0 && words.last().is_some_and(|last| last != "\n") => words.push("\n".to_owned()),
                _ => {}
            }
        } else {
            word.push(c);
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

fn serial_at(words: &[String]) -> Option<usize> {
    words.iter().position(|word| word.eq_ignore_ascii_case("SOA")).map(|at| at + 3)
}

/// The serial in a zone file.
fn serial_of(text: &str) -> Option<u32> {
    let words = words(text);
    words.get(serial_at(&words)?)?.parse().ok()
}

/// What a zone file says, its serial aside.
fn meaning(text: &str) -> Vec<String> {
    let mut words = words(text);
    if let Some(serial) = serial_at(&words).and_then(|at| words.get_mut(at)) {
        serial.clear();
    }
    words
}

/// Says what is wrong with a zone before anything is contacted.
pub(super) fn problems(zone: &Zone, origin: &str) -> Vec<String> {
    let of = |problem: String| format!("zone {origin}: {problem}");
    let mut problems: Vec<String> = name::problem(origin, false).into_iter().collect();
    match zone.r#type {
        ZoneType::Secondary if zone.primaries.is_empty() => problems.push("a secondary zone needs `primaries`".to_owned()),
        ZoneType::Forward if zone.forwarders.is_empty() => problems.push("a forward zone needs `forwarders`".to_owned()),
        ZoneType::Primary if zone.ns.is_empty() => problems.push("a primary zone needs a name server in `ns`".to_owned()),
        _ => {}
    }
    if zone.r#type != ZoneType::Primary && !(zone.records.is_empty() && zone.hosts.is_empty()) {
        problems.push(format!("a {} zone has no records of its own", zone.r#type.word()));
    }
    for (host, address) in &zone.hosts {
        problems.extend(name::problem(host, true));
        if address.parse::<IpAddr>().is_err() {
            problems.push(format!("{host}: `{address}` is not an address"));
        }
        if zone.network.is_none() && name::owner(host, origin).is_none() {
            problems.push(format!("{host} lies outside the zone"));
        }
    }
    if zone.network.is_some() && zone.domain.is_none() {
        let bare = zone.hosts.keys().chain(&zone.ns).filter(|host| !host.contains('.'));
        problems.extend(bare.map(|host| format!("`{host}` has no domain; give the zone's `domain`")));
    }
    problems.extend(zone.records.iter().flat_map(|record| record_problems(record, origin)));
    problems.extend(set_problems(&lines(zone, origin)));
    problems.into_iter().map(of).collect()
}

fn record_problems(record: &Record, origin: &str) -> Vec<String> {
    let what = format!("{} {}", record.name, record.r#type.word());
    let hosts = matches!(record.r#type, RecordType::A | RecordType::Aaaa | RecordType::Mx);
    let mut problems: Vec<String> = name::problem(&record.name, hosts).into_iter().collect();
    if name::owner(&record.name, origin).is_none() {
        problems.push(format!("{what}: the name lies outside the zone"));
    }
    if record.all_values().next().is_none() {
        problems.push(format!("{what}: a record needs a `value`"));
    }
    if record.r#type == RecordType::Srv && record.port.is_none() {
        problems.push(format!("{what}: a service needs a `port`"));
    }
    for value in record.all_values() {
        let fits = match record.r#type {
            RecordType::A => value.parse::<std::net::Ipv4Addr>().is_ok(),
            RecordType::Aaaa => value.parse::<std::net::Ipv6Addr>().is_ok(),
            RecordType::Txt | RecordType::Caa => true,
            _ => name::problem(value, false).is_none() && !value.starts_with('*'),
        };
        if !fits {
            problems.push(format!("{what}: `{value}` is not {}", if hosts { "an address or name" } else { "a name" }));
        }
    }
    problems
}

/// A record that is there twice, and a CNAME beside other records, RFC 1034 3.6.2.
fn set_problems(lines: &[Line]) -> Vec<String> {
    let mut problems = Vec::new();
    let mut seen = BTreeSet::new();
    let mut kinds: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for Line { owner, kind, data, .. } in lines {
        if !seen.insert((owner, kind, data)) {
            problems.push(format!("{owner} {kind} {data} is there twice"));
        }
        kinds.entry(owner).or_default().push(kind);
    }
    for (owner, kinds) in kinds {
        if kinds.contains(&"CNAME") && (kinds.len() > 1 || owner == "@") {
            problems.push(format!("{owner} has a CNAME, which allows no other record beside it"));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_zone_carry_its_meaning_alone() {
        let hand = "$TTL 1h\n@\tIN SOA ns. h. (\n 2024010107 ; serial\n 1 2 3 4 )\n\n; words\nx A 1.2.3.4\ny TXT \"a ; b\"\n";
        assert_eq!(serial_of(hand), Some(2_024_010_107));
        let same = "$TTL 1h\n@ IN SOA ns. h. 9 1 2 3 4\nx  A  1.2.3.4 ; note\ny TXT \"a ; b\"\n";
        assert_eq!(meaning(hand), meaning(same));
        assert_ne!(meaning(hand), meaning(&same.replace("1.2.3.4", "1.2.3.5")));
        assert_eq!(serial_of("not a zone"), None);
    }

    #[test]
    fn text_is_quoted_and_split() {
        assert_eq!(quoted("v=spf1 -all"), "\"v=spf1 -all\"");
        assert_eq!(quoted("a\"b\\c\u{e9}"), "\"a\\\"b\\\\c\\195\\169\"");
        let long = quoted(&"k".repeat(300));
        assert_eq!(long.len(), 300 + 5);
        assert!(long.contains("\" \""));
    }

    #[test]
    fn mail_addresses_become_names() {
        assert_eq!(rname(Some("jean.dupont@example.org"), "x"), "jean\\.dupont.example.org.");
        assert_eq!(rname(Some("admin.example.org"), "x"), "admin.example.org.");
        assert_eq!(rname(None, "example.org"), "hostmaster.example.org.");
    }
}
