//! Patterns: which hosts a play's `hosts:` or `--limit` means. `a:b`, `a,b`, `a:&b`, `a:!b`, globs, `~regex`, `group[0]`.

use super::{ALL, HostName, Inventory};
use crate::error::{Diagnostic, nearest};
use crate::source::{Span, decode};
use indexmap::IndexSet;
use regex::{Regex, RegexBuilder};

/// One part of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Part<'p> {
    how: How,
    text: &'p str,
    /// Where it begins in the pattern.
    at: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum How {
    Add,
    Keep,
    Drop,
}

/// `[0]`, `[1:3]` behind a name: positions among its hosts, the last one included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Subscript {
    One(i64),
    Range(usize, Option<usize>),
}

impl Inventory {
    /// The hosts that a pattern means, in the inventory's order within each part. Additions come first, then `&`, then `!`,
    /// wherever they stand. A group without hosts and a glob without matches give nothing.
    ///
    /// # Errors
    /// `unknown-host` for a name that is neither host nor group, `bad-pattern` for a regex or an index that cannot be.
    pub fn pattern(&self, pattern: &str, span: Option<Span>) -> Result<Vec<HostName>, Diagnostic> {
        let mut parts = split(pattern, |word| {
            self.hosts.contains_key(word) || word.parse::<std::net::Ipv6Addr>().is_ok()
        });
        if parts.is_empty() {
            return Err(Diagnostic::new("bad-pattern", "an empty pattern means no host").at_some(span, ""));
        }
        if !parts.iter().any(|part| part.how == How::Add) {
            parts.push(Part {
                how: How::Add,
                text: ALL,
                at: 0,
            });
        }
        parts.sort_by_key(|part| part.how);
        let mut hosts: IndexSet<HostName> = IndexSet::new();
        for part in parts {
            let place = span.map(|span| decode::piece(span, pattern, part.at, part.text.len()));
            let found = self.part(part.text, place)?;
            match part.how {
                How::Add => hosts.extend(found),
                How::Keep => hosts.retain(|host| found.contains(host)),
                How::Drop => hosts.retain(|host| !found.contains(host)),
            }
        }
        Ok(hosts.into_iter().collect())
    }

    fn part(&self, text: &str, span: Option<Span>) -> Result<IndexSet<HostName>, Diagnostic> {
        if let Some(host) = self.hosts.get(text).filter(|_| !self.groups.contains_key(text)) {
            return Ok(IndexSet::from([host.name.clone()]));
        }
        if let Some(regex) = text.strip_prefix('~') {
            let regex = compile(&format!("^(?:{regex})"), text, span)?;
            return Ok(self.matching(&regex, true));
        }
        let (name, subscript) = subscript(text);
        let hosts = self.named(name, span)?;
        match subscript {
            None => Ok(hosts),
            Some(subscript) => slice(&hosts, subscript, name, span),
        }
    }

    /// The hosts of a group, a host, or of all that a glob matches.
    fn named(&self, name: &str, span: Option<Span>) -> Result<IndexSet<HostName>, Diagnostic> {
        if self.groups.contains_key(name) {
            return Ok(self.group_hosts(name).into_iter().collect());
        }
        if name.matches('[').count() != name.matches(']').count() {
            let found = Diagnostic::new(
                "bad-pattern",
                format!("`{name}` is not a pattern: a bracket has no partner"),
            );
            return Err(found.at_some(span, ""));
        }
        if name.contains(['*', '?', '[']) {
            let regex = compile(&glob(name), name, span)?;
            return Ok(self.matching(&regex, true));
        }
        match self.host(name) {
            Some(host) => Ok(IndexSet::from([host.name.clone()])),
            None => Err(self.unknown(name, span)),
        }
    }

    fn matching(&self, regex: &Regex, groups_too: bool) -> IndexSet<HostName> {
        let groups = self.groups.keys().filter(|name| groups_too && regex.is_match(name));
        let mut hosts: IndexSet<HostName> = groups.flat_map(|name| self.group_hosts(name)).collect();
        hosts.extend(self.hosts.keys().filter(|name| regex.is_match(name.as_str())).cloned());
        hosts
    }

    fn unknown(&self, name: &str, span: Option<Span>) -> Diagnostic {
        let groups = self.groups.keys().map(String::as_str);
        let names = groups
            .chain(self.hosts.keys().map(HostName::as_str))
            .chain(["localhost"]);
        let near = nearest(name, names).map(|near| format!("did you mean `{near}`?"));
        let one = Diagnostic::new(
            "unknown-host",
            format!("`{name}` is neither a host nor a group of the inventory"),
        );
        match (span, near) {
            (Some(span), near) => one.at(span, near.unwrap_or_default()),
            (None, Some(near)) => one.help(near),
            (None, None) => one,
        }
    }
}

/// Cuts a pattern at its commas and colons; brackets and addresses keep theirs.
fn split(pattern: &str, is_name: impl Fn(&str) -> bool) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut at = 0;
    for list in pattern.split(',') {
        let bare = list.trim().trim_start_matches(['!', '&']);
        if is_name(bare) || bare.starts_with('~') {
            parts.extend(part(list, at));
        } else {
            let mut depth = 0_usize;
            let mut begin = 0;
            for (index, c) in list.char_indices() {
                match c {
                    '[' => depth += 1,
                    ']' => depth = depth.saturating_sub(1),
                    ':' if depth == 0 => {
                        parts.extend(part(&list[begin..index], at + begin));
                        begin = index + 1;
                    }
                    _ => {}
                }
            }
            parts.extend(part(&list[begin..], at + begin));
        }
        at += list.len() + 1;
    }
    parts
}

fn part(text: &str, at: usize) -> Option<Part<'_>> {
    let lead = text.len() - text.trim_start().len();
    let (how, skip) = match text.trim_start().chars().next()? {
        '&' => (How::Keep, 1),
        '!' => (How::Drop, 1),
        _ => (How::Add, 0),
    };
    let name = text.trim().get(skip..).filter(|name| !name.is_empty())?;
    Some(Part {
        how,
        text: name,
        at: at + lead + skip,
    })
}

/// Parts `name[0]`, `name[-1]`, `name[1:3]`, `name[1-3]`, `name[1:]`.
fn subscript(text: &str) -> (&str, Option<Subscript>) {
    let parsed = text
        .strip_suffix(']')
        .and_then(|body| body.rsplit_once('['))
        .and_then(|(name, inner)| {
            let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            if digits(inner.strip_prefix('-').unwrap_or(inner)) {
                return Some((name, Subscript::One(inner.parse().ok()?)));
            }
            let (first, last) = inner.split_once([':', '-'])?;
            let last = if last.is_empty() {
                None
            } else {
                Some(last.parse().ok()?)
            };
            digits(first).then_some((name, Subscript::Range(first.parse().ok()?, last)))
        });
    match parsed {
        Some((name, subscript)) if !name.is_empty() => (name, Some(subscript)),
        _ => (text, None),
    }
}

fn slice(
    hosts: &IndexSet<HostName>,
    subscript: Subscript,
    name: &str,
    span: Option<Span>,
) -> Result<IndexSet<HostName>, Diagnostic> {
    let count = hosts.len();
    match subscript {
        Subscript::Range(first, last) => {
            let end = last.map_or(count, |last| last.saturating_add(1)).min(count);
            Ok(hosts.iter().take(end).skip(first).cloned().collect())
        }
        Subscript::One(index) => {
            let at = if index < 0 { index + count as i64 } else { index };
            let host = usize::try_from(at).ok().and_then(|at| hosts.get_index(at));
            host.map(|host| IndexSet::from([host.clone()])).ok_or_else(|| {
                let message = format!("`{name}` has {count} hosts, and none at index {index}");
                Diagnostic::new("bad-pattern", message).at_some(span, "")
            })
        }
    }
}

/// A shell's glob as a regular expression: `*`, `?`, `[abc]`, `[!abc]`.
fn glob(pattern: &str) -> String {
    let mut regex = String::from("^(?:");
    let mut rest = pattern;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match (c, rest.find(']')) {
            ('*', _) => regex.push_str(".*"),
            ('?', _) => regex.push('.'),
            ('[', Some(close)) if close > 0 => {
                let (class, after) = rest.split_at(close);
                let (negated, members) = class
                    .strip_prefix('!')
                    .map_or((false, class), |members| (true, members));
                let escaped = members
                    .replace('\\', r"\\")
                    .replace('[', r"\[")
                    .replace('^', r"\^")
                    .replace('&', r"\&");
                regex.push_str(if negated { "[^" } else { "[" });
                regex.push_str(&escaped);
                regex.push(']');
                rest = &after[1..];
            }
            _ => regex.push_str(&regex::escape(c.encode_utf8(&mut [0; 4]))),
        }
    }
    regex.push_str(")$");
    regex
}

fn compile(regex: &str, shown: &str, span: Option<Span>) -> Result<Regex, Diagnostic> {
    RegexBuilder::new(regex).size_limit(1 << 20).build().map_err(|error| {
        let text = error.to_string();
        let reason = text
            .lines()
            .last()
            .unwrap_or_default()
            .trim_start_matches("error: ")
            .to_owned();
        Diagnostic::new("bad-pattern", format!("`{shown}` is not a pattern: {reason}")).at_some(span, "")
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::super::InventorySource;
    use super::*;
    use crate::source::SourceMap;
    use std::path::Path;

    fn inventory() -> (SourceMap, Inventory) {
        let sources = SourceMap::default();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hosts.ini");
        let text = "lone\n[web]\nweb[1:3].a\nweb4.b\n[db]\ndb1\nweb4.b\n[site_a:children]\nweb\ndb\n[empty]\n";
        std::fs::write(&path, text).unwrap();
        let inventory = Inventory::load(&sources, &[InventorySource::Path(path)]).unwrap();
        (sources, inventory)
    }

    #[test]
    fn patterns_mean_what_they_mean_in_ansible() {
        let (_, inventory) = inventory();
        for (pattern, expected) in [
            ("all", "lone web1.a web2.a web3.a web4.b db1"),
            ("*", "lone web1.a web2.a web3.a web4.b db1"),
            ("web", "web1.a web2.a web3.a web4.b"),
            ("db:web1.a", "db1 web4.b web1.a"),
            ("db,lone", "db1 web4.b lone"),
            ("web:&db", "web4.b"),
            ("&db:web", "web4.b"),
            ("web:!db", "web1.a web2.a web3.a"),
            ("!site_a", "lone"),
            ("all:!web:!db", "lone"),
            ("web[0]", "web1.a"),
            ("web[-1]", "web4.b"),
            ("web[1:2]", "web2.a web3.a"),
            ("web[1-2]", "web2.a web3.a"),
            ("web[2:]", "web3.a web4.b"),
            ("web[9:]", ""),
            ("*.a", "web1.a web2.a web3.a"),
            ("web?.[!a]", "web4.b"),
            ("*.a[1]", "web2.a"),
            ("~web[12]\\.", "web1.a web2.a"),
            ("~^(lone|db1)$", "lone db1"),
            ("s*", "web1.a web2.a web3.a web4.b db1"),
            ("nothing*", ""),
            ("empty", ""),
            ("ungrouped", "lone"),
            ("localhost", "localhost"),
            (" lone , db1 ", "lone db1"),
            ("web:db:!*.a", "web4.b db1"),
        ] {
            let hosts = inventory.pattern(pattern, None).unwrap();
            let shown: Vec<&str> = hosts.iter().map(HostName::as_str).collect();
            assert_eq!(shown.join(" "), expected, "{pattern}");
        }
    }

    #[test]
    fn mistakes_point_at_their_part() {
        let (sources, inventory) = inventory();
        let file = sources.add(Path::new("p.yml"), "hosts: 'web:!sit_a'\n".into());
        let span = Span {
            file,
            start: 7,
            end: 19,
        };
        let error = inventory.pattern("web:!sit_a", Some(span)).unwrap_err();
        let expected = "error[unknown-host]: `sit_a` is neither a host nor a group of the inventory
 --> p.yml:1:14
  |
1 | hosts: 'web:!sit_a'
  |              ^^^^^ did you mean `site_a`?
";
        assert_eq!(error.render(&sources, false), expected);
        let code = |pattern: &str| inventory.pattern(pattern, None).unwrap_err().code;
        assert_eq!(code("web[7]"), "bad-pattern");
        assert_eq!(code("~web("), "bad-pattern");
        assert_eq!(code(""), "bad-pattern");
        assert_eq!(code("all:!dbb"), "unknown-host");
    }
}
