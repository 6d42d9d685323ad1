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
