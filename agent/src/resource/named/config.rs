//! named.conf for both families, rendered whole; see named.conf(5).

use super::{Forward, Named, Zone, ZoneType};
use crate::path::AbsPath;
use crate::resource::layout::{self, Family};
use crate::resource::transaction::header;
use std::fmt::Write;
use std::net::IpAddr;

/// Where named.conf is.
pub(super) fn path(family: Family) -> AbsPath {
    layout::path(family.pick("/etc/named.conf", "/etc/bind/named.conf"))
}

/// The file; `stage` goes before the path of everything that the checker must find staged.
pub(super) fn render(named: &Named, family: Family, stage: &str) -> String {
    let mut out = header("//");
    for (name, members) in &named.acls {
        let _ = writeln!(out, "\nacl \"{name}\" {};", list(members));
    }
    out.push_str("\noptions {\n");
    let staged = !stage.is_empty();
    for line in folders(family, if staged { Some(stage) } else { None }).into_iter().chain(options(named)) {
        let _ = writeln!(out, "    {line};");
    }
    out.push_str("};\n");
    for zone in &named.zones {
        let _ = write!(out, "\n{}", statement(named, zone, family, stage));
    }
    if let Some(extra) = &named.extra {
        let _ = write!(out, "\n{}\n", extra.trim_end());
    }
    out
}

fn folders(family: Family, stage: Option<&str>) -> Vec<String> {
    let home = family.pick("/var/named", "/var/cache/bind");
    let home = stage.map_or_else(|| home.to_owned(), |stage| format!("{stage}/cache"));
    let mut lines = vec![format!("directory \"{home}\"")];
    if family == Family::El && stage.is_none() {
        lines.extend(
            [
                "dump-file \"/var/named/data/cache_dump.db\"",
                "statistics-file \"/var/named/data/named_stats.txt\"",
                "managed-keys-directory \"/var/named/dynamic\"",
                "pid-file \"/run/named/named.pid\"",
                "session-keyfile \"/run/named/session.key\"",
            ]
            .map(str::to_owned),
        );
    }
    lines
}

fn options(named: &Named) -> Vec<String> {
    let mut lines = listen(&named.listen_on);
    lines.push(format!("allow-query {}", list(&named.allow_query)));
    let recursion = if named.recursion { "yes" } else { "no" };
    lines.push(format!("recursion {recursion}"));
    if named.recursion {
        lines.push(format!("allow-recursion {}", list(&named.allow_recursion)));
    }
    lines.push(format!("allow-transfer {}", list(&named.allow_transfer)));
    if !named.forwarders.is_empty() {
        lines.push(format!("forwarders {}", list(&named.forwarders)));
    }
    lines.extend(named.forward.map(|forward| format!("forward {}", forward.word())));
    lines.push(format!("dnssec-validation {}", named.dnssec_validation.word()));
    if named.query_log {
        lines.push("querylog yes".to_owned());
    }
    lines.extend(named.options.iter().map(|(name, value)| format!("{name} {}", value.trim_end_matches(';'))));
    lines
}

/// Two statements, one for each family of addresses; an address of one family says that the other is not meant.
fn listen(addresses: &[String]) -> Vec<String> {
    let is_v6 = |text: &&String| text.contains(':');
    let common = |text: &&String| text.parse::<IpAddr>().is_err() && !text.contains(['/', ':', '.']);
    let side = |v6: bool| -> Vec<String> {
        let side: Vec<String> =
            addresses.iter().filter(|text| common(text) || is_v6(text) == v6).map(ToString::to_string).collect();
        if side.is_empty() { vec!["none".to_owned()] } else { side }
    };
    vec![format!("listen-on port 53 {}", list(&side(false))), format!("listen-on-v6 port 53 {}", list(&side(true)))]
}

fn list(members: &[String]) -> String {
    let members: String = members.iter().map(|member| format!(" {member};")).collect();
    format!("{{{members} }}")
}

fn statement(named: &Named, zone: &Zone, family: Family, stage: &str) -> String {
    let origin = zone.origin().unwrap_or_default();
    let mut lines = Vec::new();
    match zone.r#type {
        ZoneType::Primary => {
            let file = zone.file(family).map(|file| file.to_string()).unwrap_or_default();
            lines.push("type master".to_owned());
            lines.push(format!("file \"{stage}{file}\""));
        }
        ZoneType::Secondary => {
            let folder = family.pick("slaves/", "");
            lines.push("type slave".to_owned());
            lines.push(format!("file \"{}{}.zone\"", if stage.is_empty() { folder } else { "" }, origin.replace('/', "-")));
            lines.push(format!("masters {}", list(&zone.primaries)));
        }
        ZoneType::Forward => {
            lines.push("type forward".to_owned());
            lines.push(format!("forward {}", named.forward.unwrap_or(Forward::Only).word()));
            lines.push(format!("forwarders {}", list(&zone.forwarders)));
        }
    }
    let further =
        [("allow-query", &zone.allow_query), ("allow-transfer", &zone.allow_transfer), ("also-notify", &zone.also_notify)];
    let given = further.iter().filter(|(_, members)| !members.is_empty() && zone.r#type != ZoneType::Forward);
    lines.extend(given.map(|(name, members)| format!("{name} {}", list(members))));
    let body: String = lines.iter().map(|line| format!("    {line};\n")).collect();
    format!("zone \"{origin}\" IN {{\n{body}}};\n")
}

/// Says what is wrong with the server's own settings.
pub(super) fn problems(named: &Named) -> Vec<String> {
    let mut problems = Vec::new();
    let words = ["any", "none", "localhost", "localnets"];
    let lists = [&named.allow_query, &named.allow_recursion, &named.allow_transfer, &named.listen_on];
    let zones = named.zones.iter().flat_map(|zone| [&zone.allow_query, &zone.allow_transfer]);
    for member in lists.into_iter().chain(zones).flatten().chain(named.acls.values().flatten()) {
        let bare = member.trim_start_matches('!').trim();
        let address = bare.split('/').next().unwrap_or_default();
        let known = words.contains(&bare) || named.acls.contains_key(bare.trim_matches('"')) || bare.starts_with("key ");
        if !known && address.parse::<IpAddr>().is_err() {
            problems.push(format!("`{member}` is neither an address, a network, nor one of `acls`"));
        }
    }
    let open = |member: &&String| matches!(member.trim(), "any" | "0.0.0.0/0" | "::/0");
    let named_open = |member: &&String| named.acls.get(member.trim()).is_some_and(|acl| acl.iter().any(|m| open(&m)));
    if named.recursion && named.allow_recursion.iter().any(|member| open(&member) || named_open(&member)) {
        problems.push(
            "`allow_recursion: any` makes an open resolver, which others use to attack third parties; name the networks \
             that may ask"
                .to_owned(),
        );
    }
    let servers = named.forwarders.iter().chain(named.zones.iter().flat_map(|zone| zone.primaries.iter().chain(&zone.forwarders)));
    for server in servers {
        let address = server.split_whitespace().next().unwrap_or_default();
        if address.parse::<IpAddr>().is_err() {
            problems.push(format!("`{server}` is not an address: a server to ask is given by its address"));
        }
    }
    for text in named.options.iter().flat_map(|(name, value)| [name, value]) {
        if text.contains('\n') {
            problems.push(format!("option `{text}` has a line break; `extra` takes whole statements"));
        }
    }
    problems
}
