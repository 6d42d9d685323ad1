//! Filters that encode and hash: base64, checksums, UUIDs, URLs.

use std::fmt::Write as _;

use base64ct::{Base64, Encoding};
use minijinja::value::{Value as Native, ValueKind};
use minijinja::{Error, State};
use sha1::{Digest, Sha1};
use sha2::{Sha224, Sha256, Sha384, Sha512};

use super::dict::pairs;
use crate::template::print;
use crate::template::registry::{Call, Entry, list, reads, wrong};

type Answer = Result<Native, Error>;

/// Every filter of this file.
pub(super) const ALL: &[Entry] = &[
    reads(&["b64encode"], &["value", "encoding"], |_, call| {
        only_utf8(call)?;
        Ok(Native::from(Base64::encode_string(call.text()?.as_bytes())))
    }),
    reads(&["b64decode"], &["value", "encoding"], |_, call| {
        only_utf8(call)?;
        let text: String = call.text()?.split_whitespace().collect();
        let bytes = Base64::decode_vec(&text).map_err(|_| wrong("`b64decode`: the text is not base64"))?;
        String::from_utf8(bytes)
            .map(Native::from)
            .map_err(|_| wrong("`b64decode`: what is encoded is not UTF-8 text"))
    }),
    reads(&["hash"], &["value", "hashtype"], |_, call| {
        hash(&call.text()?, &call.text_or("hashtype", "sha1")?)
    }),
    reads(&["checksum", "sha1"], &["value"], |_, call| hash(&call.text()?, "sha1")),
    reads(&["md5"], &["value"], |_, call| hash(&call.text()?, "md5")),
    reads(&["to_uuid"], &["value", "namespace"], to_uuid),
    reads(&["urlencode"], &["value"], urlencode),
    reads(&["urldecode"], &["value"], |_, call| {
        url_decoded(&call.text()?)
            .map(Native::from)
            .ok_or_else(|| wrong("`urldecode`: the text is not UTF-8"))
    }),
    reads(&["urlsplit"], &["value", "query"], urlsplit),
];

fn only_utf8(call: &Call) -> Result<(), Error> {
    match call.text_or("encoding", "utf-8")?.to_lowercase().as_str() {
        "utf-8" | "utf8" | "ascii" => Ok(()),
        other => Err(wrong(format!("`{}`: the encoding is utf-8, not `{other}`", call.name))),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

fn hash(text: &str, kind: &str) -> Answer {
    let bytes = text.as_bytes();
    Ok(Native::from(match kind {
        "md5" => hex(&md5::compute(bytes).0),
        "sha1" => hex(&Sha1::digest(bytes)),
        "sha224" => hex(&Sha224::digest(bytes)),
        "sha256" => hex(&Sha256::digest(bytes)),
        "sha384" => hex(&Sha384::digest(bytes)),
        "sha512" => hex(&Sha512::digest(bytes)),
        other => {
            return Err(wrong(format!(
                "`hash` knows md5, sha1, sha224, sha256, sha384 and sha512, not `{other}`"
            )));
        }
    }))
}

/// A version 5 UUID (RFC 9562, 5.5) in Ansible's namespace, or another.
fn to_uuid(_: &mut State<'_, '_>, call: &Call) -> Answer {
    let namespace = call.text_or("namespace", "361E6D51-FAEC-444A-9079-341386DA8E2E")?;
    let digits: String = namespace.chars().filter(|letter| *letter != '-').collect();
    let number = u128::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 32);
    let number = number.ok_or_else(|| wrong(format!("`to_uuid`: the namespace `{namespace}` is not a UUID")))?;
    let mut hasher = Sha1::new();
    hasher.update(number.to_be_bytes());
    hasher.update(call.text()?.as_bytes());
    let mut bytes = hasher.finalize();
    bytes[6] = bytes[6] & 0x0f | 0x50;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let text = hex(&bytes[..16]);
    Ok(Native::from(format!(
        "{}-{}-{}-{}-{}",
        &text[..8],
        &text[8..12],
        &text[12..16],
        &text[16..20],
        &text[20..]
    )))
}

fn url_encoded(text: &str, safe: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || "_.-~".contains(char::from(byte)) || safe.contains(char::from(byte)) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

fn url_decoded(text: &str) -> Option<String> {
    let mut out = Vec::new();
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let pair = bytes
            .get(at + 1..at + 3)
            .and_then(|pair| std::str::from_utf8(pair).ok());
        match (bytes[at], pair.and_then(|pair| u8::from_str_radix(pair, 16).ok())) {
            (b'%', Some(decoded)) => {
                out.push(decoded);
                at += 2;
            }
            (b'+', _) => out.push(b' '),
            (byte, _) => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8(out).ok()
}

/// Text keeps its slashes; a mapping or a list of pairs becomes a query.
fn urlencode(_: &mut State<'_, '_>, call: &Call) -> Answer {
    let value = call.subject();
    let entries = match value.kind() {
        ValueKind::Map => pairs(&value, "urlencode")?,
        ValueKind::Seq | ValueKind::Iterable => list(&value, "urlencode")?
            .iter()
            .map(|pair| match list(pair, "urlencode")?.as_slice() {
                [key, value] => Ok((key.clone(), value.clone())),
                _ => Err(wrong("`urlencode` needs text, a mapping or a list of pairs")),
            })
            .collect::<Result<_, _>>()?,
        _ => return Ok(Native::from(url_encoded(&call.text()?, "/"))),
    };
    let part = |value: &Native| url_encoded(&print::text(value), " ").replace(' ', "+");
    let query: Vec<String> = entries
        .iter()
        .map(|(key, value)| format!("{}={}", part(key), part(value)))
        .collect();
    Ok(Native::from(query.join("&")))
}

/// The parts of a URL (RFC 3986), all of them or the one that is asked for.
fn urlsplit(_: &mut State<'_, '_>, call: &Call) -> Answer {
    let url = call.text()?;
    let (rest, fragment) = url.split_once('#').unwrap_or((&url, ""));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let is_scheme = |text: &str| {
        text.starts_with(|letter: char| letter.is_ascii_alphabetic())
            && text
                .chars()
                .all(|letter| letter.is_ascii_alphanumeric() || "+-.".contains(letter))
    };
    let (scheme, rest) = rest
        .split_once(':')
        .filter(|(scheme, _)| is_scheme(scheme))
        .unwrap_or(("", rest));
    let (netloc, path) = match rest.strip_prefix("//") {
        Some(rest) => rest.split_at(rest.find('/').unwrap_or(rest.len())),
        None => ("", rest),
    };
    let (user, host) = netloc
        .rsplit_once('@')
        .map_or((None, netloc), |(user, host)| (Some(user), host));
    let (username, password) = match user.map(|user| user.split_once(':').map_or((user, None), |(u, p)| (u, Some(p)))) {
        Some((username, password)) => (Some(username), password),
        None => (None, None),
    };
    let port_at = host.rfind(':').filter(|at| !host[*at..].contains(']'));
    let port = port_at.and_then(|at| host[at + 1..].parse::<i64>().ok());
    let hostname = host[..port_at.unwrap_or(host.len())]
        .trim_matches(['[', ']'])
        .to_lowercase();
    let text = |value: Option<&str>| value.map_or_else(|| Native::from(()), Native::from);
    let parts = [
        ("fragment", Native::from(fragment)),
        (
            "hostname",
            text(Some(hostname.as_str()).filter(|name| !name.is_empty())),
        ),
        ("netloc", Native::from(netloc)),
        ("password", text(password)),
        ("path", Native::from(path)),
        ("port", port.map_or_else(|| Native::from(()), Native::from)),
        ("query", Native::from(query)),
        ("scheme", Native::from(scheme.to_lowercase())),
        ("username", text(username)),
    ];
    match call.text_or("query", "")?.as_str() {
        "" => Ok(Native::from_pairs(parts)),
        wanted => parts
            .into_iter()
            .find(|(name, _)| *name == wanted)
            .map(|(_, value)| value)
            .ok_or_else(|| wrong(format!("`urlsplit`: a URL has no part `{wanted}`"))),
    }
}
