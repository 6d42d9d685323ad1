//! Where a host is and how the inventory says to reach it: the plain data that connection variables are turned into
//! before anything is contacted. Options that would be ignored are refused here, by name.

use std::path::PathBuf;
use std::time::Duration;

use crate::error::nearest;

/// How a host is reached; made from inventory variables by the caller.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Target {
    /// The inventory's name of the host, for messages.
    pub name: String,
    /// What is connected to: an address, a DNS name, or a `Host` of the user's OpenSSH configuration (`ansible_host`).
    pub host: String,
    /// `ansible_port`.
    pub port: Option<u16>,
    /// `ansible_user`.
    pub user: Option<String>,
    /// `ansible_ssh_private_key_file`; tried before everything else.
    pub identity_files: Vec<PathBuf>,
    /// `ansible_ssh_common_args` and `ansible_ssh_extra_args`.
    pub options: SshOptions,
}

impl Target {
    /// A target with nothing but its name, which is also what is connected to.
    #[must_use]
    pub fn new(host: impl Into<String>) -> Self {
        let host = host.into();
        Target {
            name: host.clone(),
            host,
            ..Target::default()
        }
    }
}

/// The options of `ssh`(1) that mean something here. What is `None` or empty is left to the user's OpenSSH configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct SshOptions {
    /// `-J`, `ProxyJump`: hops in order; `Some(vec![])` after `none`.
    pub proxy_jump: Option<Vec<Hop>>,
    /// `UserKnownHostsFile`.
    pub user_known_hosts: Vec<PathBuf>,
    /// `GlobalKnownHostsFile`.
    pub global_known_hosts: Vec<PathBuf>,
    /// `StrictHostKeyChecking`.
    pub host_keys: Option<HostKeyPolicy>,
    /// `-i`, `IdentityFile`.
    pub identity_files: Vec<PathBuf>,
    /// `IdentitiesOnly`.
    pub identities_only: Option<bool>,
    /// `ConnectTimeout`, for the TCP connection and the key exchange of every hop.
    pub connect_timeout: Option<Duration>,
    /// `-p`, `Port`.
    pub port: Option<u16>,
    /// `-l`, `User`.
    pub user: Option<String>,
    /// `-F`: the OpenSSH configuration read in place of the user's and the system's.
    pub config_file: Option<PathBuf>,
}

/// What happens to a host key that is in no known_hosts file. There is no third way: a key that contradicts a known one
/// is always refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum HostKeyPolicy {
    /// Refuse.
    #[default]
    Strict,
    /// Take it, and write it down.
    AcceptNew,
}

/// One jump host as written in `ProxyJump`: `[user@]host[:port]` or `ssh://[user@]host[:port]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Hop {
    /// The part before `@`.
    pub user: Option<String>,
    /// A name or an address.
    pub host: String,
    /// The part after the colon.
    pub port: Option<u16>,
}

/// Why `ansible_ssh_common_args` could not be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    /// An option that would have no effect here.
    #[error("`{name}` is not an SSH option that is supported{}; supported are {SUPPORTED}", did_you_mean(.nearest))]
    Unknown {
        /// As written.
        name: String,
        /// The nearest supported name.
        nearest: Option<&'static str>,
    },
    /// An option at the end, without its value.
    #[error("the SSH option `{0}` has no value")]
    NoValue(String),
    /// A value that the option does not take.
    #[error("`{value}` is no value for the SSH option `{name}`: {expected}")]
    BadValue {
        /// The option.
        name: String,
        /// As written.
        value: String,
        /// What would be right.
        expected: &'static str,
    },
    /// `StrictHostKeyChecking=no`.
    #[error(
        "`StrictHostKeyChecking={0}` would let anyone in the network pose as the host; \
         use `StrictHostKeyChecking=accept-new` to take the keys of unknown hosts at first sight"
    )]
    Unchecked(String),
    /// A quote that is never closed.
    #[error("the SSH options `{0}` have an unclosed quote")]
    Quote(String),
}

fn did_you_mean(name: &Option<&'static str>) -> String {
    name.map(|name| format!(", did you mean `{name}`?")).unwrap_or_default()
}

const NAMES: [&str; 9] = [
    "ProxyJump",
    "UserKnownHostsFile",
    "GlobalKnownHostsFile",
    "StrictHostKeyChecking",
    "IdentityFile",
    "IdentitiesOnly",
    "ConnectTimeout",
    "Port",
    "User",
];
const SUPPORTED: &str = "-o ProxyJump, UserKnownHostsFile, GlobalKnownHostsFile, StrictHostKeyChecking, IdentityFile, \
                         IdentitiesOnly, ConnectTimeout, Port and User, and -J, -i, -p, -l and -F";

impl SshOptions {
    /// Reads options written as for the command line of `ssh`(1). The first value of an option wins, as there;
    /// identity files add up.
    pub fn parse(args: &str) -> Result<SshOptions, OptionError> {
        let mut options = SshOptions::default();
        let mut words = split_words(args)?.into_iter();
        while let Some(word) = words.next() {
            let Some((flag, glued)) = short_option(&word) else {
                return Err(unknown(&word));
            };
            let value = match glued {
                "" => words.next().ok_or_else(|| OptionError::NoValue(word.clone()))?,
                glued => glued.to_owned(),
            };
            match flag {
                'o' => options.set_long(&value)?,
                'J' => options.set("ProxyJump", &value)?,
                'i' => options.set("IdentityFile", &value)?,
                'p' => options.set("Port", &value)?,
                'l' => options.set("User", &value)?,
                _ => {
                    options.config_file.get_or_insert(PathBuf::from(value));
                }
            }
        }
        Ok(options)
    }

    /// `self` first, then what `later` adds (`ansible_ssh_common_args` before `ansible_ssh_extra_args`).
    #[must_use]
    pub fn or(mut self, later: SshOptions) -> SshOptions {
        let first = |one: Vec<PathBuf>, two| if one.is_empty() { two } else { one };
        self.identity_files.extend(later.identity_files);
        SshOptions {
            proxy_jump: self.proxy_jump.or(later.proxy_jump),
            user_known_hosts: first(self.user_known_hosts, later.user_known_hosts),
            global_known_hosts: first(self.global_known_hosts, later.global_known_hosts),
            host_keys: self.host_keys.or(later.host_keys),
            identity_files: self.identity_files,
            identities_only: self.identities_only.or(later.identities_only),
            connect_timeout: self.connect_timeout.or(later.connect_timeout),
            port: self.port.or(later.port),
            user: self.user.or(later.user),
            config_file: self.config_file.or(later.config_file),
        }
    }

    /// `Name=value` or `Name value`, as after `-o`.
    fn set_long(&mut self, text: &str) -> Result<(), OptionError> {
        let end = text.find(|c: char| c == '=' || c.is_whitespace()).unwrap_or(text.len());
        let (name, rest) = text.split_at(end);
        let rest = rest.trim_start();
        let value = rest.strip_prefix('=').unwrap_or(rest).trim();
        let Some(known) = NAMES.into_iter().find(|known| known.eq_ignore_ascii_case(name)) else {
            return Err(unknown(name));
        };
        match value {
            "" => Err(OptionError::NoValue(known.to_owned())),
            value => self.set(known, value),
        }
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), OptionError> {
        let bad = |expected| OptionError::BadValue {
            name: name.to_owned(),
            value: value.to_owned(),
            expected,
        };
        match name {
            "ProxyJump" => {
                let hops =
                    Hop::parse_list(value).ok_or_else(|| bad("expected [user@]host[:port], or several by commas"))?;
                self.proxy_jump.get_or_insert(hops);
            }
            "UserKnownHostsFile" => keep_first(&mut self.user_known_hosts, value)?,
            "GlobalKnownHostsFile" => keep_first(&mut self.global_known_hosts, value)?,
            "StrictHostKeyChecking" => {
                let policy = match value.to_ascii_lowercase().as_str() {
                    "yes" | "true" | "ask" => HostKeyPolicy::Strict,
                    "accept-new" => HostKeyPolicy::AcceptNew,
                    "no" | "false" | "off" => return Err(OptionError::Unchecked(value.to_owned())),
                    _ => return Err(bad("expected `yes` or `accept-new`")),
                };
                self.host_keys.get_or_insert(policy);
            }
            "IdentityFile" => self.identity_files.push(PathBuf::from(value)),
            "IdentitiesOnly" => {
                let only = yes_no(value).ok_or_else(|| bad("expected `yes` or `no`"))?;
                self.identities_only.get_or_insert(only);
            }
            "ConnectTimeout" => {
                let seconds = value.parse().ok().filter(|seconds| *seconds > 0);
                let seconds = seconds.ok_or_else(|| bad("expected a number of seconds"))?;
                self.connect_timeout.get_or_insert(Duration::from_secs(seconds));
            }
            "Port" => {
                let port = value
                    .parse()
                    .ok()
                    .filter(|port| *port > 0)
                    .ok_or_else(|| bad("expected 1 to 65535"))?;
                self.port.get_or_insert(port);
            }
            "User" => {
                self.user.get_or_insert(value.to_owned());
            }
            _ => return Err(unknown(name)),
        }
        Ok(())
    }
}

impl Hop {
    /// The value of `ProxyJump`: hops by commas, the first one connected to first; `none` is no hop.
    #[must_use]
    pub fn parse_list(text: &str) -> Option<Vec<Hop>> {
        match text.eq_ignore_ascii_case("none") {
            true => Some(Vec::new()),
            false => text.split(',').map(|one| Hop::parse(one.trim())).collect(),
        }
    }

    fn parse(text: &str) -> Option<Hop> {
        let text = text.strip_prefix("ssh://").unwrap_or(text).trim_end_matches('/');
        let (user, rest) = match text.rsplit_once('@') {
            Some(("", _)) => return None,
            Some((user, rest)) => (Some(user.to_owned()), rest),
            None => (None, text),
        };
        let (host, port) = match rest.strip_prefix('[') {
            Some(bracketed) => {
                let (host, after) = bracketed.split_once(']')?;
                (host, after.strip_prefix(':').or(after.is_empty().then_some("")))
            }
            None if rest.matches(':').count() > 1 => (rest, Some("")),
            None => rest
                .split_once(':')
                .map_or((rest, Some("")), |(host, port)| (host, Some(port))),
        };
        let port = match port? {
            "" => None,
            port => Some(port.parse().ok().filter(|port| *port > 0)?),
        };
        (!host.is_empty()).then(|| Hop {
            user,
            host: host.to_owned(),
            port,
        })
    }
}

impl std::fmt::Display for Hop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        match (self.port, self.host.contains(':')) {
            (Some(port), true) => write!(f, "[{}]:{port}", self.host),
            (Some(port), false) => write!(f, "{}:{port}", self.host),
            (None, _) => f.write_str(&self.host),
        }
    }
}

/// `yes`, `no` and their other spellings in `ssh_config`(5).
pub(crate) fn yes_no(value: &str) -> Option<bool> {
    match value.to_ascii_lowercase().as_str() {
        "yes" | "true" => Some(true),
        "no" | "false" => Some(false),
        _ => None,
    }
}

fn unknown(name: &str) -> OptionError {
    OptionError::Unknown {
        name: name.to_owned(),
        nearest: nearest(name, NAMES).and_then(|near| NAMES.into_iter().find(|n| *n == near)),
    }
}

fn keep_first(files: &mut Vec<PathBuf>, value: &str) -> Result<(), OptionError> {
    if files.is_empty() {
        *files = split_words(value)?.into_iter().map(PathBuf::from).collect();
    }
    Ok(())
}

/// `-oX`, `-o` and so on as the letter and what is glued to it.
fn short_option(word: &str) -> Option<(char, &str)> {
    let rest = word.strip_prefix('-')?;
    let flag = rest.chars().next().filter(|flag| "oJiplF".contains(*flag))?;
    Some((flag, rest.get(1..)?))
}

/// Words as a shell would split them: blanks, single and double quotes, backslashes.
pub(crate) fn split_words(text: &str) -> Result<Vec<String>, OptionError> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None | Some('"'), '\\') => {
                let next = chars.next().ok_or_else(|| OptionError::Quote(text.to_owned()))?;
                word.get_or_insert_default().push(next);
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err(OptionError::Quote(text.to_owned()));
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    fn hop(user: Option<&str>, host: &str, port: Option<u16>) -> Hop {
        Hop {
            user: user.map(str::to_owned),
            host: host.to_owned(),
            port,
        }
    }

    #[test]
    fn reads_what_people_write() {
        let options = SshOptions::parse(
            "-o ProxyJump=ops@bastion:2222,inner -oUserKnownHostsFile='/k/one /k/two' -o \"StrictHostKeyChecking accept-new\" \
             -i /keys/a -i/keys/b -o identitiesonly=yes -o ConnectTimeout=3 -p 2022 -l admin -F /etc/cfg",
        );
        let expected = SshOptions {
            proxy_jump: Some(vec![hop(Some("ops"), "bastion", Some(2222)), hop(None, "inner", None)]),
            user_known_hosts: vec!["/k/one".into(), "/k/two".into()],
            global_known_hosts: vec![],
            host_keys: Some(HostKeyPolicy::AcceptNew),
            identity_files: vec!["/keys/a".into(), "/keys/b".into()],
            identities_only: Some(true),
            connect_timeout: Some(Duration::from_secs(3)),
            port: Some(2022),
            user: Some("admin".into()),
            config_file: Some("/etc/cfg".into()),
        };
        assert_eq!(options, Ok(expected));
    }

    #[test]
    fn the_first_value_wins() {
        let options = SshOptions::parse("-p 1 -p 2 -J a -J none").unwrap();
        assert_eq!(
            (options.port, options.proxy_jump),
            (Some(1), Some(vec![hop(None, "a", None)]))
        );
        let both = SshOptions::parse("-p 1 -i x")
            .unwrap()
            .or(SshOptions::parse("-p 2 -l u -i y").unwrap());
        assert_eq!((both.port, both.user.as_deref()), (Some(1), Some("u")));
        assert_eq!(both.identity_files, [PathBuf::from("x"), PathBuf::from("y")]);
    }

    #[test]
    fn refuses_by_name() {
        for (args, message) in [
            (
                "-o ProxyJmp=x",
                "`ProxyJmp` is not an SSH option that is supported, did you mean `ProxyJump`?; supported are -o ProxyJump,",
            ),
            ("-o ControlMaster=auto", "`ControlMaster` is not an SSH option"),
            ("-C", "`-C` is not an SSH option"),
            ("host", "`host` is not an SSH option"),
            ("-o", "the SSH option `-o` has no value"),
            ("-o Port", "the SSH option `Port` has no value"),
            (
                "-p 99999",
                "`99999` is no value for the SSH option `Port`: expected 1 to 65535",
            ),
            (
                "-o StrictHostKeyChecking=no",
                "`StrictHostKeyChecking=no` would let anyone",
            ),
            (
                "-o StrictHostKeyChecking=maybe",
                "`maybe` is no value for the SSH option `StrictHostKeyChecking`",
            ),
            ("-i 'x", "the SSH options `-i 'x` have an unclosed quote"),
            ("-J a:b:c@", "`a:b:c@` is no value for the SSH option `ProxyJump`"),
        ] {
            let error = SshOptions::parse(args).unwrap_err().to_string();
            assert!(error.starts_with(message), "{args}: {error}");
        }
        assert!(
            SshOptions::parse("-o StrictHostKeyChecking=no")
                .unwrap_err()
                .to_string()
                .contains("accept-new")
        );
    }

    #[test]
    fn hops() {
        for (text, expected) in [
            ("none", Some(vec![])),
            ("ssh://u@h:22/", Some(vec![hop(Some("u"), "h", Some(22))])),
            ("[fe80::1]:2022", Some(vec![hop(None, "fe80::1", Some(2022))])),
            ("2001:db8::1", Some(vec![hop(None, "2001:db8::1", None)])),
            ("[::1]x", None),
            ("h:0", None),
            ("a,,b", None),
        ] {
            assert_eq!(Hop::parse_list(text), expected, "{text}");
        }
        assert_eq!(hop(Some("u"), "::1", Some(22)).to_string(), "u@[::1]:22");
    }
}
