//! The known_hosts files, by the rules of sshd(8) "SSH_KNOWN_HOSTS FILE FORMAT": plain and hashed names, patterns,
//! negation, `[host]:port`, `@revoked` and `@cert-authority`. A file that is not there is empty; any other trouble is said.

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use russh::keys::ssh_key::known_hosts::{Entry, HostPatterns, Marker};
use russh::keys::{Algorithm, HashAlg, PublicKey};

use super::sha1::hmac_sha1;

/// The entries of several files, in order.
#[derive(Debug, Clone, Default)]
pub struct KnownHosts {
    lines: Vec<Line>,
}

/// One entry and where it stands.
#[derive(Debug, Clone)]
pub struct Line {
    /// The file.
    pub file: PathBuf,
    /// Counted from 1.
    pub number: usize,
    entry: Entry,
}

/// A known key in a message: where it stands and what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownKey {
    /// The file.
    pub file: PathBuf,
    /// Counted from 1.
    pub line: usize,
    /// Such as `ssh-ed25519`.
    pub algorithm: String,
    /// `SHA256:…`.
    pub fingerprint: String,
}

impl std::fmt::Display for KnownKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}:{}: {} {}",
            self.file.display(),
            self.line,
            self.algorithm,
            self.fingerprint
        )
    }
}

/// What the files say about a key of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is there.
    Known,
    /// The host is in no file.
    Unknown,
    /// The host has other keys, these.
    Changed(Vec<KnownKey>),
    /// The key is marked `@revoked` for this host.
    Revoked(KnownKey),
}

/// A known_hosts file that exists and cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot {verb} {}: {reason}", path.display())]
pub struct FileError {
    verb: &'static str,
    path: PathBuf,
    reason: String,
}

impl FileError {
    fn new(verb: &'static str, path: &Path, reason: &impl ToString) -> Self {
        FileError {
            verb,
            path: path.to_owned(),
            reason: reason.to_string(),
        }
    }
}

impl KnownHosts {
    /// Reads files; lines that are no entry, or hold a kind of key that is not understood, are passed over as OpenSSH does.
    pub fn load<'a>(paths: impl IntoIterator<Item = &'a PathBuf>) -> Result<KnownHosts, FileError> {
        let mut known = KnownHosts::default();
        for path in paths {
            match std::fs::read(path) {
                Ok(bytes) => known.add(path, &String::from_utf8_lossy(&bytes)),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(FileError::new("read", path, &error)),
            }
        }
        Ok(known)
    }

    /// Adds the entries of a text that stands in `path`.
    pub fn add(&mut self, path: &Path, text: &str) {
        for (index, line) in text.lines().enumerate() {
            let fields: Vec<&str> = line.split_whitespace().collect();
            if fields.first().is_none_or(|first| first.starts_with('#')) {
                continue;
            }
            if let Ok(entry) = fields.join(" ").parse::<Entry>() {
                self.lines.push(Line {
                    file: path.to_owned(),
                    number: index + 1,
                    entry,
                });
            }
        }
    }

    /// What the files say about a host's plain key. `name` is [`host_name`]'s.
    #[must_use]
    pub fn check(&self, name: &str, key: &PublicKey) -> Verdict {
        if let Some(revoked) = self.revoked(name, key) {
            return Verdict::Revoked(revoked);
        }
        let known: Vec<&Line> = self.of(name, None).collect();
        if known.iter().any(|line| same_key(line.entry.public_key(), key)) {
            return Verdict::Known;
        }
        match known.is_empty() {
            true => self.check_without_port(name, key),
            false => Verdict::Changed(known.into_iter().map(KnownKey::from).collect()),
        }
    }

    /// A host on another port that is only known without a port: right if its key is the same (OpenSSH's rule).
    fn check_without_port(&self, name: &str, key: &PublicKey) -> Verdict {
        let plain = name
            .strip_prefix('[')
            .and_then(|rest| rest.split_once("]:"))
            .map(|(host, _)| host);
        let known = plain.is_some_and(|plain| {
            self.revoked(plain, key).is_none()
                && self.of(plain, None).any(|line| same_key(line.entry.public_key(), key))
        });
        if known { Verdict::Known } else { Verdict::Unknown }
    }

    /// The line that revokes a key for a host.
    #[must_use]
    pub fn revoked(&self, name: &str, key: &PublicKey) -> Option<KnownKey> {
        self.of(name, Some(Marker::Revoked))
            .find(|line| same_key(line.entry.public_key(), key))
            .map(KnownKey::from)
    }

    /// The `@cert-authority` line that trusts this authority for a host.
    #[must_use]
    pub fn authority(&self, name: &str, key: &PublicKey) -> Option<KnownKey> {
        self.of(name, Some(Marker::CertAuthority))
            .find(|line| same_key(line.entry.public_key(), key))
            .map(KnownKey::from)
    }

    /// Whether any authority is trusted for a host, so that certificates are worth asking for.
    #[must_use]
    pub fn has_authority(&self, name: &str) -> bool {
        self.of(name, Some(Marker::CertAuthority)).next().is_some()
    }

    /// The kinds of keys known for a host, to be asked for first: a host shows one key only, and it should be a known one.
    #[must_use]
    pub fn algorithms(&self, name: &str) -> Vec<Algorithm> {
        let mut found = Vec::new();
        for line in self.of(name, None) {
            let algorithm = line.entry.public_key().algorithm();
            if !found.contains(&algorithm) {
                found.push(algorithm);
            }
        }
        found
    }

    fn of(&self, name: &str, marker: Option<Marker>) -> impl Iterator<Item = &Line> {
        let name = name.to_ascii_lowercase();
        self.lines
            .iter()
            .filter(move |line| line.entry.marker() == marker.as_ref())
            .filter(move |line| matches(line.entry.host_patterns(), &name))
    }
}

impl From<&Line> for KnownKey {
    fn from(line: &Line) -> Self {
        KnownKey {
            file: line.file.clone(),
            line: line.number,
            algorithm: line.entry.public_key().algorithm().to_string(),
            fingerprint: fingerprint(line.entry.public_key()),
        }
    }
}

/// `SHA256:…`, as `ssh-keygen -l` shows it.
#[must_use]
pub fn fingerprint(key: &PublicKey) -> String {
    key.fingerprint(HashAlg::Sha256).to_string()
}

/// The name under which a host stands in known_hosts: `host`, or `[host]:port` for another port than 22.
#[must_use]
pub fn host_name(host: &str, port: u16) -> String {
    let host = host.to_ascii_lowercase();
    if port == 22 { host } else { format!("[{host}]:{port}") }
}

/// Appends a key in one write, so that a reader or another writer never sees half a line.
pub fn append(path: &Path, name: &str, key: &PublicKey, hash: bool) -> Result<(), FileError> {
    let failed = |error: &dyn std::fmt::Display| FileError::new("write", path, &error.to_string());
    if let Some(folder) = path.parent() {
        let mut builder = std::fs::DirBuilder::new();
        builder
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|error| failed(&error))?;
    }
    let names = match hash {
        true => hashed(name).map_err(|error| failed(&error))?.to_string(),
        false => name.to_owned(),
    };
    let key = PublicKey::new(key.key_data().clone(), "")
        .to_openssh()
        .map_err(|error| failed(&error))?;
    let mut file = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
        .map_err(|error| failed(&error))?;
    let mut before = Vec::new();
    file.read_to_end(&mut before).map_err(|error| failed(&error))?;
    let newline = if before.last().is_none_or(|last| *last == b'\n') {
        ""
    } else {
        "\n"
    };
    file.write_all(format!("{newline}{names} {key}\n").as_bytes())
        .map_err(|error| failed(&error))
}

fn hashed(name: &str) -> std::io::Result<HostPatterns> {
    let mut salt = vec![0; 20];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut salt)?;
    let hash = hmac_sha1(&salt, name.as_bytes());
    Ok(HostPatterns::HashedName { salt, hash })
}

fn same_key(one: &PublicKey, other: &PublicKey) -> bool {
    one.key_data() == other.key_data()
}

fn matches(patterns: &HostPatterns, name: &str) -> bool {
    match patterns {
        HostPatterns::HashedName { salt, hash } => hmac_sha1(salt, name.as_bytes()) == *hash,
        HostPatterns::Patterns(patterns) => {
            let mut found = false;
            for pattern in patterns {
                let pattern = pattern.to_ascii_lowercase();
                match pattern.strip_prefix('!') {
                    Some(not) if wildcard(not.as_bytes(), name.as_bytes()) => return false,
                    Some(_) => {}
                    None => found |= wildcard(pattern.as_bytes(), name.as_bytes()),
                }
            }
            found
        }
    }
}

/// `*` is any number of characters, `?` is one (ssh_config(5), PATTERNS).
pub(crate) fn wildcard(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if *c == b'?' || *c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    p = at + 1;
                    t = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    const ED: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB9dG4kjRhQTtWTVzd2t27+t0DEHBPW7iOD23TUiYLio";
    const ED2: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIM5O2ebxErKktBhjBDgqoHd4ZtYUImXT70VSthMHyxXz";
    const EC: &str = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBPwjdfFJApY1S5PoxtoqSNdLe2NJ3IL0V7es9jbc84pNKt4xJXywXz0grlGlvJ2J9xBtaFVMDtSD6BolPxArGrU=";

    fn key(text: &str) -> PublicKey {
        PublicKey::from_openssh(text).unwrap()
    }

    fn known(text: &str) -> KnownHosts {
        let mut known = KnownHosts::default();
        let text = text.replace("{ed}", ED).replace("{ed2}", ED2).replace("{ec}", EC);
        known.add(Path::new("/k"), &text);
        known
    }

    fn verdict(text: &str, name: &str) -> String {
        match known(text).check(name, &key(ED)) {
            Verdict::Changed(keys) => keys
                .iter()
                .map(|key| format!("changed :{} {}", key.line, key.algorithm))
                .collect::<Vec<_>>()
                .join(", "),
            Verdict::Revoked(key) => format!("revoked :{}", key.line),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn the_rules_of_the_manual() {
        for (text, name, expected) in [
            ("web1 {ed}", "web1", "Known"),
            ("web1 {ed} a comment with = and #", "web1", "Known"),
            ("WEB1 {ed}", "web1", "Known"),
            ("\tweb1 \t {ed}", "web1", "Known"),
            ("web1,10.0.0.1 {ed}", "10.0.0.1", "Known"),
            ("web1 {ed}", "web2", "Unknown"),
            ("", "web1", "Unknown"),
            ("# web1 {ed}", "web1", "Unknown"),
            ("web1 ssh-ed25519 rubbish", "web1", "Unknown"),
            ("web1", "web1", "Unknown"),
            ("web1 {ed2}", "web1", "changed :1 ssh-ed25519"),
            (
                "\n# c\nweb1 {ed2}\nweb1 {ec}",
                "web1",
                "changed :3 ssh-ed25519, :4 ecdsa-sha2-nistp256",
            ),
            ("web1 {ed2}\nweb1 {ed}", "web1", "Known"),
            ("web1 {ec}", "web1", "changed :1 ecdsa-sha2-nistp256"),
            ("*.example.org {ed}", "a.b.example.org", "Known"),
            ("*.example.org {ed}", "example.org", "Unknown"),
            ("10.0.?.1 {ed}", "10.0.7.1", "Known"),
            ("10.0.?.1 {ed}", "10.0.77.1", "Unknown"),
            ("*,!web1 {ed}", "web1", "Unknown"),
            ("!web1,* {ed}", "web1", "Unknown"),
            ("*,!web1 {ed}", "web2", "Known"),
            ("!web1 {ed}", "web2", "Unknown"),
            ("[web1]:2222 {ed}", "[web1]:2222", "Known"),
            ("[web1]:2222 {ed}", "web1", "Unknown"),
            ("web1 {ed}", "[web1]:2222", "Known"),
            ("web1 {ed2}", "[web1]:2222", "Unknown"),
            ("[web1]:2222 {ed2}\nweb1 {ed}", "[web1]:2222", "changed :1 ssh-ed25519"),
            ("web1 {ed}\n@revoked * {ed}", "web1", "revoked :2"),
            ("web1 {ed}\n@revoked web2 {ed}", "web1", "Known"),
            ("@revoked * {ed2}\nweb1 {ed}", "web1", "Known"),
            ("web1 {ed}\n@revoked web1 {ed}", "[web1]:2222", "Unknown"),
            ("@cert-authority * {ed}", "web1", "Unknown"),
            ("@nonsense * {ed}", "web1", "Unknown"),
        ] {
            let expected = expected.replace(", :", ", changed :");
            assert_eq!(verdict(text, name), expected, "{text:?} for {name}");
        }
    }

    #[test]
    fn hashed_names() {
        // Made by `ssh-keygen -H`.
        let web1 = "|1|UeeWRpzRegfnCGNfNcMjdDq+47Q=|Hc3HAh8mCLDgUWhrk/Ii2Gnst6w=";
        let port = "|1|ns7n0XT+QxcfuuI2Mqxb4OF60lc=|cQAWL+BZ0VUXMeKg4MCFh1GqZxU=";
        for (names, key, name, expected) in [
            (web1, "{ed}", "web1", "Known"),
            (web1, "{ed}", "Web1", "Known"),
            (web1, "{ed2}", "web1", "changed :1 ssh-ed25519"),
            (web1, "{ed}", "web2", "Unknown"),
            (port, "{ed}", "[web1]:2222", "Known"),
            (port, "{ed}", "web1", "Unknown"),
            ("|1|UeeWRpzRegfnCGNfNcMjdDq+47Q=|broken", "{ed}", "web1", "Unknown"),
        ] {
            assert_eq!(verdict(&format!("{names} {key}"), name), expected, "{names} for {name}");
        }
        let ours = hashed("web1").unwrap().to_string();
        assert!(ours.starts_with("|1|") && ours != web1);
        assert_eq!(verdict(&format!("{ours} {{ed}}"), "web1"), "Known");
    }

    #[test]
    fn authorities_and_kinds() {
        let known = known("@cert-authority *.example.org,!bad.example.org {ed}\nweb1 {ec}\nweb1 {ed2}\nweb1 {ed}");
        assert!(
            known
                .authority("a.example.org", &key(ED))
                .is_some_and(|at| at.line == 1)
        );
        assert!(known.authority("bad.example.org", &key(ED)).is_none());
        assert!(known.authority("a.example.org", &key(ED2)).is_none());
        assert!(known.has_authority("a.example.org") && !known.has_authority("web1"));
        let kinds: Vec<String> = known.algorithms("web1").iter().map(ToString::to_string).collect();
        assert_eq!(kinds, ["ecdsa-sha2-nistp256", "ssh-ed25519"]);
    }

    #[test]
    fn appending() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/.ssh/known_hosts");
        append(&path, "[web1]:22022", &key(ED), false).unwrap();
        append(&path, "web2", &key(ED2), true).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(
            text.starts_with(&format!("[web1]:22022 {ED}\n|1|")) && text.ends_with(&format!(" {ED2}\n")),
            "{text}"
        );
        std::fs::write(&path, "web0 without an end").unwrap();
        append(&path, "web1", &key(ED), false).unwrap();
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            format!("web0 without an end\nweb1 {ED}\n")
        );
        let known = KnownHosts::load([&path, &dir.path().join("missing")]).unwrap();
        assert_eq!(known.check("web1", &key(ED)), Verdict::Known);
        let error = KnownHosts::load([&dir.path().to_owned()]).unwrap_err().to_string();
        assert!(error.starts_with("cannot read /"), "{error}");
    }

    #[test]
    fn names() {
        assert_eq!(host_name("Web1.Example", 22), "web1.example");
        assert_eq!(host_name("fe80::1", 2222), "[fe80::1]:2222");
    }
}
