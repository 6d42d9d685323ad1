//! The bytes underneath SSH: a TCP connection to the first address that answers, a jump host's tunnel, or the pipes of a
//! ProxyCommand. A stream whose peer no longer takes what is written fails instead of waiting for ever.

use std::io::{Error, ErrorKind, Result};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::process::Stdio;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, Sleep};

use super::error::ConnectError;
use crate::link::settings::{AddressFamily, Settings};

/// What [`russh`] needs of a connection.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Keep-alives cannot be sent while a write is stuck, so the write itself has the same patience.
const STALL: Duration = Duration::from_secs(45);
/// How long one address is waited for before the next one is tried beside it (RFC 8305, section 5).
const STAGGER: Duration = Duration::from_millis(250);

/// A stream that gives up a stuck write, and ends when its [`Leash`] is dropped.
pub(crate) struct Leashed<S> {
    stream: S,
    stuck: Option<Pin<Box<Sleep>>>,
    leash: oneshot::Receiver<()>,
}

/// Holds a stream open.
pub(crate) struct Leash(#[allow(dead_code)] oneshot::Sender<()>);

impl<S> Leashed<S> {
    pub(crate) fn new(stream: S) -> (Leashed<S>, Leash) {
        let (hold, leash) = oneshot::channel();
        (
            Leashed {
                stream,
                stuck: None,
                leash,
            },
            Leash(hold),
        )
    }

    fn watch<T>(&mut self, cx: &mut Context<'_>, poll: Poll<Result<T>>) -> Poll<Result<T>> {
        if poll.is_ready() {
            self.stuck = None;
            return poll;
        }
        let stuck = self.stuck.get_or_insert_with(|| Box::pin(tokio::time::sleep(STALL)));
        match stuck.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(Error::new(ErrorKind::TimedOut, "nothing could be sent for 45 s"))),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Leashed<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        if Pin::new(&mut self.leash).poll(cx).is_ready() {
            return Poll::Ready(Err(ErrorKind::ConnectionAborted.into()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Leashed<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.watch(cx, poll)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let poll = Pin::new(&mut self.stream).poll_flush(cx);
        self.watch(cx, poll)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// `host:port`, with brackets where they are needed.
pub(crate) fn address(settings: &Settings) -> String {
    match settings.hostname.contains(':') {
        true => format!("[{}]:{}", settings.hostname, settings.port),
        false => format!("{}:{}", settings.hostname, settings.port),
    }
}

/// Connects to the first address of a host that answers; all of them within one time limit set by the caller.
pub(crate) async fn dial(settings: &Settings) -> std::result::Result<TcpStream, ConnectError> {
    let addresses = lookup(settings).await?;
    let mut attempts = JoinSet::new();
    let mut waiting = addresses.into_iter();
    let mut failure = None;
    loop {
        match waiting.next() {
            Some(next) => drop(attempts.spawn(TcpStream::connect(next))),
            None if attempts.is_empty() => break,
            None => {}
        }
        let last = waiting.len() == 0;
        let patience = Instant::now() + if last { Duration::from_secs(3600) } else { STAGGER };
        match tokio::time::timeout_at(patience, attempts.join_next()).await {
            Ok(Some(Ok(Ok(stream)))) => {
                stream
                    .set_nodelay(true)
                    .map_err(|error| network_error(settings, &error))?;
                return Ok(stream);
            }
            Ok(Some(Ok(Err(error)))) => failure = Some(error),
            _ => {}
        }
    }
    let failure = failure.unwrap_or_else(|| Error::other("the name has no address of the wanted family"));
    Err(network_error(settings, &failure))
}

async fn lookup(settings: &Settings) -> std::result::Result<Vec<SocketAddr>, ConnectError> {
    if let Ok(literal) = settings.hostname.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(literal, settings.port)]);
    }
    let unknown = |error: Error| ConnectError::UnknownHost {
        host: settings.hostname.clone(),
        reason: error.to_string(),
    };
    let found = tokio::net::lookup_host((settings.hostname.as_str(), settings.port))
        .await
        .map_err(unknown)?;
    Ok(found
        .filter(|address| match settings.address_family {
            AddressFamily::Any => true,
            AddressFamily::Inet => address.is_ipv4(),
            AddressFamily::Inet6 => address.is_ipv6(),
        })
        .collect())
}

fn network_error(settings: &Settings, error: &Error) -> ConnectError {
    let address = address(settings);
    match error.kind() {
        ErrorKind::ConnectionRefused => ConnectError::Refused { address },
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => ConnectError::Unreachable {
            address,
            reason: plain(error),
        },
        _ => ConnectError::Network {
            address,
            reason: plain(error),
        },
    }
}

/// A system error without its number.
pub(crate) fn plain(error: &Error) -> String {
    let text = error.to_string();
    text.split_once(" (os error")
        .map_or(text.clone(), |(words, _)| words.to_owned())
}

/// The pipes of a ProxyCommand, as one stream. The command is killed when the stream is dropped.
pub(crate) struct Piped {
    pipes: tokio::io::Join<tokio::process::ChildStdout, tokio::process::ChildStdin>,
    _child: tokio::process::Child,
}

impl Piped {
    pub(crate) fn start(command: &str) -> std::result::Result<Piped, ConnectError> {
        let failed = |reason: String| ConnectError::ProxyCommand {
            command: command.to_owned(),
            reason,
        };
        let mut child = tokio::process::Command::new("/bin/sh")
            .arg("-c")
            .arg(format!("exec {command}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| failed(plain(&error)))?;
        match (child.stdout.take(), child.stdin.take()) {
            (Some(stdout), Some(stdin)) => Ok(Piped {
                pipes: tokio::io::join(stdout, stdin),
                _child: child,
            }),
            _ => Err(failed("it has no pipes".to_owned())),
        }
    }
}

impl AsyncRead for Piped {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.pipes).poll_read(cx, buf)
    }
}

impl AsyncWrite for Piped {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<Result<usize>> {
        Pin::new(&mut self.pipes).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.pipes).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.pipes).poll_shutdown(cx)
    }
}
