//! A command on a host: its three streams and its end, each usable by a different task.

use std::io::{Error, ErrorKind, Result};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use russh::client::Msg;
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::connection::Inner;
use super::error::ExecError;

/// Packets held for a reader that is behind; with russh's own buffer some 5 MiB.
const BEHIND: usize = 64;

/// A running command. As with pipes, whoever does not want an output drops it; an output that is kept but not read stops
/// the command, and after some MiB everything else on its connection. The channel closes when `stdout`, `stderr` and
/// `exit` are all dropped.
pub struct Process {
    /// Dropped or shut down: end of file on the host.
    pub stdin: Stdin,
    /// What it writes to its standard output.
    pub stdout: Output,
    /// What it writes to its standard error.
    pub stderr: Output,
    /// How it ends.
    pub exit: Exit,
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExitStatus {
    /// By itself.
    Code(u32),
    /// By a signal, without `SIG`.
    Signal(String),
}

impl ExitStatus {
    /// Whether it is `Code(0)`.
    #[must_use]
    pub fn success(&self) -> bool {
        *self == ExitStatus::Code(0)
    }
}

impl std::fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ExitStatus::Code(code) => write!(f, "exit code {code}"),
            ExitStatus::Signal(name) => write!(f, "killed by SIG{name}"),
        }
    }
}

/// Everything a command said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Captured {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: Vec<u8>,
}

impl Process {
    /// Writes all of `input`, reads everything, and waits for the end.
    pub async fn communicate(self, input: &[u8]) -> std::result::Result<Captured, ExecError> {
        let Process {
            mut stdin,
            mut stdout,
            mut stderr,
            exit,
        } = self;
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let feed = async {
            // A command that does not read its input to the end closes it; its exit status tells the rest.
            let _ = stdin.write_all(input).await;
            drop(stdin);
        };
        let (_, read_out, read_err) = tokio::join!(feed, stdout.read_to_end(&mut out), stderr.read_to_end(&mut err));
        let host = exit.host.clone();
        let status = exit.wait().await?;
        match read_out.and(read_err) {
            Ok(_) => Ok(Captured {
                status,
                stdout: out,
                stderr: err,
            }),
            Err(_) => Err(ExecError::NoStatus { host }),
        }
    }

    /// Takes a channel on which `exec` was asked for, and the place it holds among the connection's channels.
    pub(crate) fn start(
        inner: Arc<Inner>,
        read: ChannelReadHalf,
        write: ChannelWriteHalf<Msg>,
        place: OwnedSemaphorePermit,
    ) -> Process {
        let (stdout_in, stdout) = mpsc::channel(BEHIND);
        let (stderr_in, stderr) = mpsc::channel(BEHIND);
        let (exit_in, exit) = oneshot::channel();
        let (end_of_input, input_ended) = oneshot::channel();
        let (useful, useless) = oneshot::channel();
        let writer = Box::pin(write.make_writer());
        let host = inner.host.clone();
        let pump = Pump {
            inner,
            read,
            write,
            stdout: Some(stdout_in),
            stderr: Some(stderr_in),
            exit: Some(exit_in),
            ended: false,
            eof: false,
            input: Some(useful),
        };
        tokio::spawn(async move {
            pump.run(input_ended).await;
            drop(place);
        });
        Process {
            stdin: Stdin {
                writer,
                end: Some(end_of_input),
                useless: Some(useless),
            },
            stdout: Output::new(stdout),
            stderr: Output::new(stderr),
            exit: Exit { host, status: exit },
        }
    }
}

/// The standard input of a command.
pub struct Stdin {
    writer: Pin<Box<dyn AsyncWrite + Send>>,
    end: Option<oneshot::Sender<()>>,
    /// Ready when the command is gone: the window would never open again. `None` once it was.
    useless: Option<oneshot::Receiver<()>>,
}

impl Stdin {
    fn useless(&mut self, cx: &mut Context<'_>) -> bool {
        let gone = match &mut self.useless {
            Some(useless) => Pin::new(useless).poll(cx).is_ready(),
            None => true,
        };
        if gone {
            self.useless = None;
        }
        gone
    }
}

impl AsyncWrite for Stdin {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<Result<usize>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        if self.end.is_none() || self.useless(cx) {
            return Poll::Ready(Err(ErrorKind::BrokenPipe.into()));
        }
        self.writer.as_mut().poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.writer.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
        self.end = None;
        Poll::Ready(Ok(()))
    }
}

/// One output stream of a command. A lost connection is an error, never an end of file.
pub struct Output {
    packets: mpsc::Receiver<Result<Vec<u8>>>,
    current: Vec<u8>,
    taken: usize,
}

impl Output {
    fn new(packets: mpsc::Receiver<Result<Vec<u8>>>) -> Self {
        Output {
            packets,
            current: Vec::new(),
            taken: 0,
        }
    }
}

impl AsyncRead for Output {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        while self.taken == self.current.len() {
            match ready!(self.packets.poll_recv(cx)) {
                Some(Ok(packet)) => {
                    self.current = packet;
                    self.taken = 0;
                }
                Some(Err(error)) => return Poll::Ready(Err(error)),
                None => return Poll::Ready(Ok(())),
            }
        }
        let rest = self.current.get(self.taken..).unwrap_or_default();
        let some = rest.get(..rest.len().min(buf.remaining())).unwrap_or_default();
        buf.put_slice(some);
        let taken = some.len();
        self.taken += taken;
        Poll::Ready(Ok(()))
    }
}

/// The end of a command.
pub struct Exit {
    host: String,
    status: oneshot::Receiver<std::result::Result<ExitStatus, ExecError>>,
}

impl Exit {
    /// Waits until the server says how the command ended. Its outputs may still hold something to read.
    pub async fn wait(self) -> std::result::Result<ExitStatus, ExecError> {
        match self.status.await {
            Ok(status) => status,
            Err(_) => Err(ExecError::NoStatus { host: self.host }),
        }
    }
}

/// Moves what the server sends to those who read it.
struct Pump {
    inner: Arc<Inner>,
    read: ChannelReadHalf,
    write: ChannelWriteHalf<Msg>,
    stdout: Option<mpsc::Sender<Result<Vec<u8>>>>,
    stderr: Option<mpsc::Sender<Result<Vec<u8>>>>,
    exit: Option<oneshot::Sender<std::result::Result<ExitStatus, ExecError>>>,
    /// The server said how it ended.
    ended: bool,
    /// The server said that no more output comes; with the above, it closes the channel by itself.
    eof: bool,
    /// Dropped when the command takes no more input.
    input: Option<oneshot::Sender<()>>,
}

/// `SSH_EXTENDED_DATA_STDERR` (RFC 4254, section 5.2).
const STDERR: u32 = 1;

impl Pump {
    async fn run(mut self, mut input_ended: oneshot::Receiver<()>) {
        let mut input_open = true;
        loop {
            tokio::select! {
                message = self.read.wait() => match message {
                    Some(ChannelMsg::Close) => return,
                    Some(ChannelMsg::Eof) => {
                        self.stdout = None;
                        self.stderr = None;
                        self.eof = true;
                    }
                    Some(message) => self.take(message).await,
                    None => return self.lost().await,
                },
                _ = &mut input_ended, if input_open => {
                    input_open = false;
                    let _ = self.write.eof().await;
                }
                () = unwanted(&mut self.stdout, &mut self.stderr, &mut self.exit), if !(self.eof && self.ended) => {
                    let _ = self.write.close().await;
                    return;
                }
            }
        }
    }

    async fn take(&mut self, message: ChannelMsg) {
        match message {
            ChannelMsg::Data { data } => pass(&mut self.stdout, data.into()).await,
            ChannelMsg::ExtendedData { data, ext: STDERR } => pass(&mut self.stderr, data.into()).await,
            ChannelMsg::ExitStatus { exit_status } => self.ended(Ok(ExitStatus::Code(exit_status))),
            ChannelMsg::ExitSignal { signal_name, .. } => {
                let name = match signal_name {
                    russh::Sig::Custom(name) => name,
                    known => format!("{known:?}"),
                };
                self.ended(Ok(ExitStatus::Signal(name)));
            }
            ChannelMsg::Failure => {
                let reason = "the server refused to run it".to_owned();
                self.ended(Err(ExecError::Refused {
                    host: self.inner.host.clone(),
                    reason,
                }));
                let _ = self.write.close().await;
            }
            _ => {}
        }
    }

    fn ended(&mut self, status: std::result::Result<ExitStatus, ExecError>) {
        self.ended = true;
        self.input = None;
        if let Some(exit) = self.exit.take() {
            let _ = exit.send(status);
        }
    }

    async fn lost(mut self) {
        let lost = self.inner.closed().await;
        for output in [&mut self.stdout, &mut self.stderr] {
            if let Some(output) = output.take() {
                let _ = output
                    .send(Err(Error::new(ErrorKind::ConnectionReset, lost.clone())))
                    .await;
            }
        }
        self.ended(Err(lost.into()));
    }
}

async fn pass(output: &mut Option<mpsc::Sender<Result<Vec<u8>>>>, data: Vec<u8>) {
    if let Some(sender) = output
        && sender.send(Ok(data)).await.is_err()
    {
        *output = None;
    }
}

/// Waits until the outputs and the exit status are all delivered or dropped.
async fn unwanted<T, E>(
    stdout: &mut Option<mpsc::Sender<T>>,
    stderr: &mut Option<mpsc::Sender<T>>,
    exit: &mut Option<oneshot::Sender<E>>,
) {
    if let Some(exit) = exit {
        exit.closed().await;
    }
    for output in [stdout, stderr].into_iter().flatten() {
        output.closed().await;
    }
}
