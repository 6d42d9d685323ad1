//! The side of a session that answers to [`russh`]: it judges the server's key and notes how the session ended.

use std::sync::Arc;
use std::time::Duration;

use russh::client::{Config, DisconnectReason, Handle, Handler, connect_stream};
use russh::keys::PublicKeyOrCertificate;
use russh::{Preferred, SshId};
use tokio::sync::watch;

use super::error::{ConnectError, HostKeyError};
use super::host_key::HostKeyCheck;
use super::stream::{Leash, Leashed, Stream, plain};

/// 15 s and three tries: a lost host is noticed within a minute, and a firewall does not forget an idle connection.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
const KEEP_ALIVE_TRIES: usize = 3;

pub(crate) struct Client {
    check: HostKeyCheck,
    ended: watch::Sender<Option<String>>,
}

/// What stops a session from within.
#[derive(Debug)]
pub(crate) enum SessionError {
    HostKey(HostKeyError),
    Ssh(russh::Error),
}

impl From<russh::Error> for SessionError {
    fn from(error: russh::Error) -> Self {
        SessionError::Ssh(error)
    }
}

impl Handler for Client {
    type Error = SessionError;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, SessionError> {
        self.check.check(shown).map(|()| true).map_err(SessionError::HostKey)
    }

    async fn disconnected(&mut self, reason: DisconnectReason<SessionError>) -> Result<(), SessionError> {
        let (words, result) = match reason {
            DisconnectReason::ReceivedDisconnect(info) => (format!("the server ended it: {}", info.message), Ok(())),
            DisconnectReason::Error(SessionError::Ssh(error)) => (end_in_words(&error), Err(error.into())),
            DisconnectReason::Error(error) => ("the server's new key was not taken".to_owned(), Err(error)),
        };
        self.ended.send_replace(Some(words));
        result
    }
}

fn end_in_words(error: &russh::Error) -> String {
    match error {
        russh::Error::KeepaliveTimeout => "the host did not answer for 45 s".to_owned(),
        russh::Error::IO(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => "the host closed it".to_owned(),
        russh::Error::IO(error) => plain(error),
        russh::Error::Disconnect | russh::Error::HUP => "the host closed it".to_owned(),
        other => other.to_string(),
    }
}

/// A session whose server is the right one; nobody is logged in yet.
pub(crate) struct Opened {
    pub(crate) handle: Handle<Client>,
    pub(crate) ended: watch::Receiver<Option<String>>,
    pub(crate) leash: Leash,
}

/// Key exchange over a stream.
pub(crate) async fn open(
    stream: Box<dyn Stream>,
    preferred: Preferred,
    check: HostKeyCheck,
    address: &str,
) -> Result<Opened, ConnectError> {
    let config = Config {
        client_id: SshId::Standard(concat!("SSH-2.0-okd-play_", env!("CARGO_PKG_VERSION")).into()),
        keepalive_interval: Some(KEEP_ALIVE),
        keepalive_max: KEEP_ALIVE_TRIES,
        nodelay: true,
        preferred,
        ..Config::default()
    };
    let (stream, leash) = Leashed::new(stream);
    let (ending, ended) = watch::channel(None);
    match connect_stream(Arc::new(config), stream, Client { check, ended: ending }).await {
        Ok(handle) => Ok(Opened { handle, ended, leash }),
        Err(SessionError::HostKey(error)) => Err(error.into()),
        Err(SessionError::Ssh(error)) => Err(ConnectError::Handshake {
            address: address.to_owned(),
            reason: handshake_in_words(&error),
        }),
    }
}

const CLOSED: &str = "it closed the connection (sshd does so when too many log in at once: MaxStartups)";

fn handshake_in_words(error: &russh::Error) -> String {
    match error {
        russh::Error::Version => "it does not speak SSH".to_owned(),
        russh::Error::Disconnect | russh::Error::HUP => CLOSED.to_owned(),
        russh::Error::IO(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => CLOSED.to_owned(),
        russh::Error::NoCommonAlgo { kind, theirs, .. } => {
            format!(
                "it only has algorithms for {kind:?} that are not supported here: {}",
                theirs.join(", ")
            )
        }
        russh::Error::WrongServerSig => "it does not hold the host key that it shows".to_owned(),
        other => other.to_string(),
    }
}
