//! What can go wrong on the way to a host, in the words that the person at the terminal needs to put it right.

use std::path::PathBuf;
use std::sync::Arc;

use crate::link::known_hosts::{FileError, KnownKey};
use crate::link::ssh_config::ConfigError;

/// Why there is no connection.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ConnectError {
    /// The name does not resolve.
    #[error("the host name `{host}` is not known: {reason}")]
    UnknownHost {
        /// The name.
        host: String,
        /// The resolver's words.
        reason: String,
    },
    /// ECONNREFUSED.
    #[error("{address} refused the connection: no SSH server listens there, or a firewall turns it away")]
    Refused {
        /// `host:port`.
        address: String,
    },
    /// EHOSTUNREACH, ENETUNREACH.
    #[error("there is no way to {address} ({reason}): is the host up, and the network right?")]
    Unreachable {
        /// `host:port`.
        address: String,
        /// The system's words.
        reason: String,
    },
    /// Nothing came back in time.
    #[error(
        "{address} did not answer within {seconds} s ({stage}): the host may be down, or a firewall drops the packets"
    )]
    TimedOut {
        /// `host:port`.
        address: String,
        /// The limit.
        seconds: u64,
        /// What was waited for.
        stage: &'static str,
    },
    /// Any other failure of the network.
    #[error("cannot connect to {address}: {reason}")]
    Network {
        /// `host:port`.
        address: String,
        /// The system's words.
        reason: String,
    },
    /// The TCP connection stands, SSH does not.
    #[error("{address} does not complete the SSH handshake: {reason}")]
    Handshake {
        /// `host:port`.
        address: String,
        /// What happened.
        reason: String,
    },
    /// The server is not, or may not be, who it should be.
    #[error(transparent)]
    HostKey(#[from] HostKeyError),
    /// The server does not let us in.
    #[error(transparent)]
    Auth(Box<AuthError>),
    /// The OpenSSH configuration or a name is unusable.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The way ends at a jump host.
    #[error("at the jump host {hop}: {source}")]
    Jump {
        /// The hop as written.
        hop: String,
        /// What happened there.
        source: Arc<ConnectError>,
    },
    /// Asked for a host that is not reached by SSH.
    #[error("{host} is not reached by SSH")]
    NotSsh {
        /// The host.
        host: String,
    },
    /// A jump host that needs itself, or far too many of them.
    #[error("the jump hosts towards {host} go round in circles")]
    JumpLoop {
        /// The last one.
        host: String,
    },
    /// `ProxyCommand` could not be started.
    #[error("cannot start the ProxyCommand `{command}`: {reason}")]
    ProxyCommand {
        /// With its tokens expanded.
        command: String,
        /// The system's words.
        reason: String,
    },
}

impl ConnectError {
    /// Whether nobody is there, as against somebody who does not let us in.
    #[must_use]
    pub fn is_absence(&self) -> bool {
        match self {
            ConnectError::UnknownHost { .. }
            | ConnectError::Refused { .. }
            | ConnectError::Unreachable { .. }
            | ConnectError::TimedOut { .. }
            | ConnectError::Network { .. } => true,
            ConnectError::Jump { source, .. } => source.is_absence(),
            _ => false,
        }
    }
}

impl From<AuthError> for ConnectError {
    fn from(error: AuthError) -> Self {
        ConnectError::Auth(Box::new(error))
    }
}

/// Why a server's key was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostKeyError {
    /// The host is known by another key.
    #[error(
        "the host key of {host} is not the known one: either the host was set up anew, or somebody poses as it\n  \
         it showed {algorithm} {fingerprint}\n{}\n  \
         if the new key is right (compare it at the host: `ssh-keygen -lf /etc/ssh/ssh_host_*_key.pub`), remove the old one \
         with `ssh-keygen -R '{host}'{}`", known_lines(.known), file_flag(.known)
    )]
    Changed {
        /// The name in known_hosts.
        host: String,
        /// Of the key that was shown.
        algorithm: String,
        /// Of the key that was shown.
        fingerprint: String,
        /// The keys on file, with file and line.
        known: Vec<KnownKey>,
    },
    /// The host is in no known_hosts file.
    #[error(
        "the host key of {host} is not known: {algorithm} {fingerprint}\n  {}\n  \
         check the fingerprint at the host (`ssh-keygen -lf /etc/ssh/ssh_host_*_key.pub`), then add it with `{}`, or take \
         keys at first sight with `ansible_ssh_common_args: -o StrictHostKeyChecking=accept-new`{}",
        not_in(.files), keyscan(.host, .files), unchecked_note(*.unchecked)
    )]
    Unknown {
        /// The name in known_hosts.
        host: String,
        /// Of the key that was shown.
        algorithm: String,
        /// Of the key that was shown.
        fingerprint: String,
        /// The files that were read.
        files: Vec<PathBuf>,
        /// The OpenSSH configuration switches the check off, which is not followed.
        unchecked: bool,
    },
    /// The key is marked `@revoked`.
    #[error("the host key of {host} is revoked: {key}")]
    Revoked {
        /// The name in known_hosts.
        host: String,
        /// The line that revokes it.
        key: KnownKey,
    },
    /// A certificate of a trusted authority that is not good for this host.
    #[error("the host certificate of {host} (authority at {authority}) is not valid: {reason}")]
    Certificate {
        /// The name in known_hosts.
        host: String,
        /// The `@cert-authority` line.
        authority: Box<KnownKey>,
        /// Why.
        reason: String,
    },
    /// A known_hosts file that cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
}

fn known_lines(known: &[KnownKey]) -> String {
    known
        .iter()
        .map(|key| format!("  known is {key}"))
        .collect::<Vec<_>>()
        .join("\n")
}

fn file_flag(known: &[KnownKey]) -> String {
    known
        .first()
        .map(|key| format!(" -f {}", key.file.display()))
        .unwrap_or_default()
}

fn not_in(files: &[PathBuf]) -> String {
    let names: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    format!("it is not in {}", names.join(", "))
}

fn keyscan(host: &str, files: &[PathBuf]) -> String {
    let (host, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once("]:")) {
        Some((host, port)) => (host, format!("-p {port} ")),
        None => (host, String::new()),
    };
    let file = files
        .first()
        .map(|file| file.display().to_string())
        .unwrap_or_else(|| "~/.ssh/known_hosts".to_owned());
    format!("ssh-keyscan {port}{host} >> {file}")
}

fn unchecked_note(unchecked: bool) -> &'static str {
    match unchecked {
        true => {
            "\n  (the OpenSSH configuration says `StrictHostKeyChecking no`, which is not followed: it would let anyone pose as the host)"
        }
        false => "",
    }
}

/// Why the server did not let us in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthError {
    /// The remote user.
    pub user: String,
    /// The host.
    pub host: String,
    /// Keys and methods that the server refused.
    pub tried: Vec<String>,
    /// The methods that the server offers.
    pub offered: Vec<String>,
    /// What could not be tried, and why.
    pub notes: Vec<String>,
    /// The server closed the connection in the midst of it.
    pub closed: bool,
}

impl std::error::Error for AuthError {}

impl std::fmt::Display for AuthError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} does not let `{}` in: ", self.host, self.user)?;
        match self.tried.is_empty() {
            true => f.write_str("there was no key to try")?,
            false => write!(f, "refused were {}", self.tried.join(", "))?,
        }
        match (self.closed, self.offered.is_empty()) {
            (true, _) => f.write_str("; then it closed the connection (too many tries, or too slow)")?,
            (false, true) => {}
            (false, false) => write!(f, "; it offers {}", self.offered.join(", "))?,
        }
        self.notes.iter().try_for_each(|note| write!(f, "\n  {note}"))
    }
}

/// A connection that ended, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the connection to {host} was lost: {reason}")]
pub struct Lost {
    /// The inventory's name of the host.
    pub host: String,
    /// In plain words.
    pub reason: String,
}

/// Why a command did not run to its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExecError {
    /// The connection is gone.
    #[error(transparent)]
    Lost(#[from] Lost),
    /// The server would not start it.
    #[error("{host} does not start a command: {reason}")]
    Refused {
        /// The inventory's name of the host.
        host: String,
        /// The server's words.
        reason: String,
    },
    /// The server closed the channel without an exit status.
    #[error("{host} closed the channel without an exit status")]
    NoStatus {
        /// The inventory's name of the host.
        host: String,
    },
}
