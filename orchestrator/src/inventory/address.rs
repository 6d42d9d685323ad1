//! Host names as an inventory writes them: one name, `name:port`, an IPv6 address, or ranges such as `node[01:10:2]`.

use super::HostName;
use std::net::Ipv6Addr;

/// Enough for any site, and few enough that a slip in a range does not eat the machine.
const MAX_HOSTS: usize = 100_000;
const LETTERS: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

/// What is wrong with a host's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// Empty, or with a character that no host name holds.
    #[error("`{0}` is not a host name")]
    Name(String),
    /// The port is not one.
    #[error("`{0}` is not a port")]
    Port(String),
    /// A `[` without its `]`.
    #[error("the range in `{0}` is not closed")]
    Open(String),
    /// Not `[first:last]` or `[first:last:step]`.
    #[error("`[{0}]` is not a range: it reads `[first:last]` or `[first:last:step]`, of numbers or single letters")]
    Range(String),
    /// `[3:1]`.
    #[error("the range `[{0}]` ends before it begins")]
    Backwards(String),
    /// `[01:9]`.
    #[error("the range `[{0}]` has leading zeros, so both ends need as many digits")]
    Width(String),
    /// More hosts than anyone has.
    #[error("`{0}` names more than {MAX_HOSTS} hosts")]
    TooMany(String),
}

/// The hosts that one entry names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) names: Vec<HostName>,
    pub(super) port: Option<u16>,
}

/// Reads one entry.
pub(super) fn parse(text: &str) -> Result<Address, HostError> {
    let (pattern, port) = split_port(text)?;
    let names = if pattern.parse::<Ipv6Addr>().is_ok() {
        vec![pattern.to_owned()]
    } else {
        expand(pattern)?
    };
    let names = names.iter().map(|name| HostName::new(name)).collect::<Result<_, _>>()?;
    Ok(Address { names, port })
}

fn split_port(text: &str) -> Result<(&str, Option<u16>), HostError> {
    if text.parse::<Ipv6Addr>().is_ok() {
        return Ok((text, None));
    }
    if let Some((address, rest)) = text.strip_prefix('[').and_then(|inner| inner.split_once(']'))
        && address.parse::<Ipv6Addr>().is_ok()
    {
        return match rest.strip_prefix(':') {
            Some(digits) => Ok((address, Some(port(digits)?))),
            None if rest.is_empty() => Ok((address, None)),
            None => Err(HostError::Name(text.to_owned())),
        };
    }
    match text.rsplit_once(':') {
        Some((pattern, digits)) if pattern.matches('[').count() == pattern.matches(']').count() => {
            Ok((pattern, Some(port(digits)?)))
        }
        _ => Ok((text, None)),
    }
}

fn port(digits: &str) -> Result<u16, HostError> {
    digits
        .parse()
        .ok()
        .filter(|port| *port > 0)
        .ok_or_else(|| HostError::Port(digits.to_owned()))
}

/// Every name that a pattern with any number of ranges stands for.
fn expand(pattern: &str) -> Result<Vec<String>, HostError> {
    let Some((head, rest)) = pattern.split_once('[') else {
        return Ok(vec![pattern.to_owned()]);
    };
    let (range, tail) = rest
        .split_once(']')
        .ok_or_else(|| HostError::Open(pattern.to_owned()))?;
    let tails = expand(tail)?;
    let steps = sequence(range)?;
    if steps.len().saturating_mul(tails.len()) > MAX_HOSTS {
        return Err(HostError::TooMany(pattern.to_owned()));
    }
    let joined = steps
        .iter()
        .flat_map(|step| tails.iter().map(move |tail| format!("{head}{step}{tail}")));
    Ok(joined.collect())
}

fn sequence(range: &str) -> Result<Vec<String>, HostError> {
    let bad = || HostError::Range(range.to_owned());
    let parts: Vec<&str> = range.split(':').collect();
    let (first, last, step) = match parts[..] {
        [first, last] => (first, last, 1),
        [first, last, step] => (first, last, step.parse().ok().filter(|step| *step > 0).ok_or_else(bad)?),
        _ => return Err(bad()),
    };
    let letter = |text: &str| {
        Some(text)
            .filter(|text| text.len() == 1)
            .and_then(|text| LETTERS.find(text))
    };
    if let (Some(first), Some(last)) = (letter(first), letter(last)) {
        if first > last {
            return Err(HostError::Backwards(range.to_owned()));
        }
        let letters = LETTERS[first..=last].chars().step_by(step);
        return Ok(letters.map(String::from).collect());
    }
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if last.is_empty() || !digits(first) || !digits(last) {
        return Err(bad());
    }
    let width = if first.starts_with('0') && first.len() > 1 {
        first.len()
    } else {
        0
    };
    if width > 0 && last.len() != width {
        return Err(HostError::Width(range.to_owned()));
    }
    let begin: u64 = if first.is_empty() {
        0
    } else {
        first.parse().map_err(|_| bad())?
    };
    let end: u64 = last.parse().map_err(|_| bad())?;
    if begin > end {
        return Err(HostError::Backwards(range.to_owned()));
    }
    if (end - begin) / step as u64 >= MAX_HOSTS as u64 {
        return Err(HostError::TooMany(format!("[{range}]")));
    }
    Ok((begin..=end)
        .step_by(step)
        .map(|number| format!("{number:0width$}"))
        .collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        parse(text).unwrap().names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn expands_ranges_as_ansible_does() {
        assert_eq!(names("node[1:3]"), ["node1", "node2", "node3"]);
        assert_eq!(names("n[01:05:2].x"), ["n01.x", "n03.x", "n05.x"]);
        assert_eq!(names("db-[a:c]"), ["db-a", "db-b", "db-c"]);
        assert_eq!(names("r[1:2]n[:1]"), ["r1n0", "r1n1", "r2n0", "r2n1"]);
        assert_eq!(names("one"), ["one"]);
    }

    #[test]
    fn takes_ports_and_addresses() {
        assert_eq!(
            (names("h:2222"), parse("h:2222").unwrap().port),
            (vec!["h".into()], Some(2222))
        );
        assert_eq!(
            (names("[fe80::1]:22"), parse("[fe80::1]:22").unwrap().port),
            (vec!["fe80::1".into()], Some(22))
        );
        assert_eq!(names("fe80::1"), ["fe80::1"]);
        assert_eq!(
            (names("n[1:2]:22"), parse("n[1:2]:22").unwrap().port),
            (vec!["n1".into(), "n2".into()], Some(22))
        );
    }

    #[test]
    fn refuses_what_is_no_host() {
        let error = |text: &str| parse(text).unwrap_err();
        assert_eq!(error("node[3:1]"), HostError::Backwards("3:1".into()));
        assert_eq!(error("node[01:9]"), HostError::Width("01:9".into()));
        assert_eq!(error("node[1]"), HostError::Range("1".into()));
        assert_eq!(error("node[1:"), HostError::Open("node[1:".into()));
        assert_eq!(error("node[1:x]"), HostError::Range("1:x".into()));
        assert_eq!(error("node[1:99999999]"), HostError::TooMany("[1:99999999]".into()));
        assert_eq!(error("h:99999"), HostError::Port("99999".into()));
        assert_eq!(error("web:"), HostError::Port(String::new()));
        assert!(matches!(error("../etc"), HostError::Name(_)));
        assert!(matches!(error("-oProxyCommand=x"), HostError::Name(_)));
        assert!(matches!(error(""), HostError::Name(_)));
    }
}
