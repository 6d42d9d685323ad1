//! A logged-in session with a host, shared by everything that happens there.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use russh::client::{Handle, Msg};
use russh::{ChannelOpenFailure, ChannelStream, Disconnect};
use tokio::sync::{Semaphore, watch};

use super::error::{ExecError, Lost};
use super::process::Process;
use super::session::{Client, Opened};
use super::stream::Leash;

/// A logged-in session. Clones share it; it ends when the last clone and the last process are dropped, or on [`close`].
///
/// [`close`]: Connection::close
#[derive(Clone)]
pub struct Connection {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) host: String,
    handle: Handle<Client>,
    channels: Arc<Semaphore>,
    ended: watch::Receiver<Option<String>>,
    /// We end it ourselves.
    closing: AtomicBool,
    _leash: Leash,
    /// The jump host's connection, which must outlive this one.
    _via: Option<Connection>,
}

/// How long a polite end may take.
const GOODBYE: Duration = Duration::from_secs(1);

impl Connection {
    pub(crate) fn new(host: String, opened: Opened, channels: usize, via: Option<Connection>) -> Self {
        let Opened { handle, ended, leash } = opened;
        let channels = Arc::new(Semaphore::new(channels));
        Connection {
            inner: Arc::new(Inner {
                host,
                handle,
                channels,
                ended,
                closing: AtomicBool::new(false),
                _leash: leash,
                _via: via,
            }),
        }
    }

    /// The inventory's name of the host.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.inner.host
    }

    /// Starts a command: the account's shell gets it as one string. Waits while the connection has all the channels it
    /// may have. Returns as soon as a channel is open; that the server then refuses to run the command shows in
    /// [`Exit::wait`](super::Exit::wait).
    pub async fn exec(&self, command: &str) -> Result<Process, ExecError> {
        let inner = &self.inner;
        let Ok(place) = inner.channels.clone().acquire_owned().await else {
            return Err(inner.closed().await.into());
        };
        let channel = match inner.handle.channel_open_session().await {
            Ok(channel) => channel,
            Err(russh::Error::ChannelOpenFailure(failure)) => return Err(self.refused(failure)),
            Err(_) => return Err(inner.closed().await.into()),
        };
        let (read, write) = channel.split();
        if write.exec(true, command).await.is_err() {
            return Err(inner.closed().await.into());
        }
        Ok(Process::start(inner.clone(), read, write, place))
    }

    fn refused(&self, failure: ChannelOpenFailure) -> ExecError {
        let reason = match failure {
            ChannelOpenFailure::ConnectFailed => "no session could be opened (MaxSessions?)".to_owned(),
            other => other.description().to_owned(),
        };
        ExecError::Refused {
            host: self.inner.host.clone(),
            reason,
        }
    }

    /// A connection from this host to another one.
    pub(crate) async fn tunnel(&self, host: &str, port: u16) -> Result<ChannelStream<Msg>, String> {
        match self
            .inner
            .handle
            .channel_open_direct_tcpip(host, u32::from(port), "127.0.0.1", 0)
            .await
        {
            Ok(channel) => Ok(channel.into_stream()),
            Err(russh::Error::ChannelOpenFailure(ChannelOpenFailure::ConnectFailed)) => {
                Err(format!("{} cannot reach it", self.inner.host))
            }
            Err(russh::Error::ChannelOpenFailure(ChannelOpenFailure::AdministrativelyProhibited)) => Err(format!(
                "{} does not allow forwarding (AllowTcpForwarding)",
                self.inner.host
            )),
            Err(error) => Err(self.lost().map_or(error.to_string(), |lost| lost.to_string())),
        }
    }

    /// Waits until the connection is gone, and says why.
    pub async fn closed(&self) -> Lost {
        self.inner.closed().await
    }

    /// Why the connection is gone; `None` while it stands.
    #[must_use]
    pub fn lost(&self) -> Option<Lost> {
        let words = self.inner.ended.borrow().clone();
        let words = words.or_else(|| self.inner.handle.is_closed().then(String::new));
        words.map(|words| self.inner.lost(words))
    }

    /// Ends the session for everyone who shares it.
    pub async fn close(self) {
        self.inner.closing.store(true, Ordering::Relaxed);
        let _ = self.inner.handle.disconnect(Disconnect::ByApplication, "", "").await;
        let _ = tokio::time::timeout(GOODBYE, self.inner.closed()).await;
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("host", &self.inner.host)
            .field("lost", &self.lost())
            .finish_non_exhaustive()
    }
}

impl Inner {
    pub(crate) async fn closed(&self) -> Lost {
        let mut ended = self.ended.clone();
        let words = ended
            .wait_for(Option::is_some)
            .await
            .ok()
            .and_then(|words| words.clone());
        self.lost(words.unwrap_or_default())
    }

    fn lost(&self, words: String) -> Lost {
        let reason = match self.closing.load(Ordering::Relaxed) || words.is_empty() {
            true => "it was closed".to_owned(),
            false => words,
        };
        Lost {
            host: self.host.clone(),
            reason,
        }
    }
}
