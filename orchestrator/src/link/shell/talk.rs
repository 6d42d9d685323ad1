//! Speaks with the far shell: a request goes out, its framed answer comes back.

use super::words::Line;
use okd_agent::system::SystemError;
use std::io;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// No more than this is taken of an output, in bytes; a frame above it is a defect of the far end.
const MOST: usize = 1 << 30;

/// The far shell's two streams.
pub(super) struct Talk {
    input: Box<dyn AsyncWrite + Send + Unpin>,
    output: Box<dyn AsyncBufRead + Send + Unpin>,
}

/// How a request ended.
#[derive(Debug, Default)]
pub(super) struct Reply {
    /// Exit status.
    pub(super) status: i32,
    /// Standard output.
    pub(super) stdout: Vec<u8>,
    /// Standard error.
    pub(super) stderr: Vec<u8>,
    /// The exit status of a checker that refused.
    pub(super) checker: Option<i32>,
}

impl Reply {
    /// The last words of the last line on standard error: what the operating system said.
    pub(super) fn words(&self) -> String {
        let text = String::from_utf8_lossy(&self.stderr);
        let line = text
            .lines()
            .rev()
            .find(|line| !line.trim().is_empty())
            .unwrap_or("it failed");
        line.rsplit(": ").next().unwrap_or(line).trim().to_owned()
    }
}

impl Talk {
    pub(super) fn new(
        input: impl AsyncWrite + Send + Unpin + 'static,
        output: impl AsyncBufRead + Send + Unpin + 'static,
    ) -> Talk {
        Talk {
            input: Box::new(input),
            output: Box::new(output),
        }
    }

    /// Sends a request with its data, and waits for its end.
    pub(super) async fn ask(&mut self, line: &Line, data: &[u8]) -> Result<Reply, SystemError> {
        self.exchange(line, data)
            .await
            .map_err(|error| SystemError::Lost(error.to_string()))
    }

    async fn exchange(&mut self, line: &Line, data: &[u8]) -> io::Result<Reply> {
        let mut frame = format!("{} {}\n", data.len(), line.text()).into_bytes();
        if data.len() < 32 << 10 {
            frame.extend_from_slice(data);
            self.input.write_all(&frame).await?;
        } else {
            self.input.write_all(&frame).await?;
            self.input.write_all(data).await?;
        }
        self.input.flush().await?;
        frame.fill(0);
        self.reply().await
    }

    async fn reply(&mut self) -> io::Result<Reply> {
        let mut head = String::new();
        if self.output.read_line(&mut head).await? == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the shell there ended"));
        }
        let odd = || io::Error::new(io::ErrorKind::InvalidData, format!("the shell there said {head:?}"));
        let fields: Vec<&str> = head.split_whitespace().collect();
        let ["=", status, stdout, stderr, checker] = fields[..] else {
            return Err(odd());
        };
        let number = |text: &str| {
            text.parse::<usize>()
                .ok()
                .filter(|number| *number <= MOST)
                .ok_or_else(odd)
        };
        let mut reply = Reply {
            status: status.parse().map_err(|_| odd())?,
            stdout: vec![0; number(stdout)?],
            stderr: vec![0; number(stderr)?],
            checker: checker.parse().ok(),
        };
        self.output.read_exact(&mut reply.stdout).await?;
        self.output.read_exact(&mut reply.stderr).await?;
        Ok(reply)
    }
}
