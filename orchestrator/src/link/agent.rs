//! The pushed agent: started by one command where it is there already, else sent, checked and started. Nothing stays
//! behind but its file: when the channel closes, it ends.

use super::binary::Binary;
use super::reach::Reach;
use super::ssh::{Connection, Exit, Output, Stdin};
use super::sudo::{self, SudoError, Watched};
use okd_agent::wire::{self, Response};
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};

/// Printed before the first frame, so that what a login shell prints does no harm.
const READY: &str = "okd-play-agent:ready";
const MISSING: &str = "okd-play-agent:missing";
const FOLDERS: &str = r#"/var/lib/okd-play /run/okd-play "${HOME:-/nonexistent}/.cache/okd-play""#;

/// A started agent.
pub(super) struct Agent {
    /// To the agent.
    pub(super) input: Stdin,
    /// From the agent.
    pub(super) output: BufReader<Output>,
    /// What it says besides.
    pub(super) errors: Output,
    /// Its end.
    pub(super) exit: Exit,
}

/// Why the agent could not be started.
#[derive(Debug, thiserror::Error)]
pub(super) enum AgentError {
    /// The host cannot run it; plain SSH may do.
    #[error("the agent cannot run on {host}: {reason}")]
    Unfit {
        /// The host.
        host: String,
        /// Why.
        reason: String,
    },
    /// The user could not be become.
    #[error(transparent)]
    Sudo(#[from] SudoError),
    /// The connection.
    #[error("{0}")]
    Link(String),
}

impl From<io::Error> for AgentError {
    fn from(error: io::Error) -> Self {
        AgentError::Link(error.to_string())
    }
}

/// Starts the file that is there, where it is whole: a power cut may have left less.
fn start_script(sha: &str, length: usize) -> String {
    format!(
        "for d in {FOLDERS}; do a=$d/agent-{sha}; if [ -x \"$a\" ] && [ \"$(wc -c <\"$a\")\" -eq {length} ]; then echo {READY}; exec \"$a\" serve; fi; done; \
         echo {MISSING} \"$(uname -sm)\""
    )
}

/// Puts the file where programs may be run, checks its sum and that it runs, and only then gives it its name.
fn send_script(sha: &str) -> String {
    format!(
        "umask 022; for d in {FOLDERS}; do mkdir -p \"$d\" 2>/dev/null || continue; t=$d/.try.$$; \
         if printf '#!/bin/sh\\nexit 0\\n' >\"$t\" && chmod 700 \"$t\" && \"$t\"; then rm -f \"$t\"; \
         a=$d/.agent.$$; trap 'rm -f \"$a\"' EXIT; cat >\"$a\" && chmod 755 \"$a\" || exit 1; \
         s=$(sha256sum <\"$a\" 2>/dev/null); case $s in {sha}*|'') ;; *) echo 'the file arrived damaged'; exit 1;; esac; \
         \"$a\" --version >/dev/null || exit 1; sync \"$a\" 2>/dev/null; mv -f \"$a\" \"$d/agent-{sha}\"; exit 0; fi; rm -f \"$t\"; done 2>&1; \
         echo 'no folder takes a program: tried /var/lib/okd-play, /run/okd-play and ~/.cache/okd-play'; exit 1"
    )
}

pub(super) fn as_user(reach: &Reach, script: &str) -> String {
    match &reach.become_user {
        Some(user) => sudo::command(user, reach.become_password.as_ref(), script),
        None => format!("/bin/sh -c {}", sudo::quoted(script)),
    }
}

enum Begun {
    Ready(Agent),
    Missing(String),
}

/// Starts the agent, sending it first where it is not there. `first` is written at once, to save a round trip.
pub(super) async fn start(
    connection: &Connection,
    reach: &Reach,
    binary: &Binary,
    state: impl Fn(String),
) -> Result<Agent, AgentError> {
    let machine = match begin(connection, reach, binary).await? {
        Begun::Ready(agent) => return Ok(agent),
        Begun::Missing(machine) => machine,
    };
    if machine != "Linux x86_64" {
        let reason = format!("it is built for Linux on x86_64, and the host is {machine}");
        return Err(AgentError::Unfit {
            host: reach.host.clone(),
            reason,
        });
    }
    state(format!("sending the agent, {:.1} MB", binary.bytes.len() as f64 / 1e6));
    send(connection, reach, binary).await?;
    match begin(connection, reach, binary).await? {
        Begun::Ready(agent) => Ok(agent),
        Begun::Missing(_) => {
            let reason = "it was sent and is not there".to_owned();
            Err(AgentError::Unfit {
                host: reach.host.clone(),
                reason,
            })
        }
    }
}

async fn begin(connection: &Connection, reach: &Reach, binary: &Binary) -> Result<Begun, AgentError> {
    let command = as_user(reach, &start_script(&binary.sha256, binary.bytes.len()));
    let process = connection
        .exec(&command)
        .await
        .map_err(|error| AgentError::Link(error.to_string()))?;
    let (mut input, mut errors) = (process.stdin, process.stderr);
    let mut output = BufReader::new(process.stdout);
    let mut said = Vec::new();
    let line = greeting(
        &mut output,
        &mut errors,
        &mut input,
        reach,
        &mut said,
        &[READY, MISSING],
    )
    .await?;
    if line.as_deref() == Some(READY) {
        return Ok(Begun::Ready(Agent {
            input,
            output,
            errors,
            exit: process.exit,
        }));
    }
    match line.as_deref().and_then(|line| line.strip_prefix(MISSING)) {
        Some(machine) => Ok(Begun::Missing(machine.trim().to_owned())),
        None => Err(no_start(reach, &said)),
    }
}

pub(super) fn no_start(reach: &Reach, said: &[u8]) -> AgentError {
    let words = String::from_utf8_lossy(said).trim().to_owned();
    match reach.become_user {
        Some(_) => sudo::explain(&reach.host, &words).into(),
        None => AgentError::Link(match words.is_empty() {
            true => "the login shell ended without a word".to_owned(),
            false => words,
        }),
    }
}

/// The line that says how a start went, the first that begins with one of `marks`; gives sudo its password on the way.
pub(super) async fn greeting(
    output: &mut BufReader<Output>,
    errors: &mut Output,
    input: &mut Stdin,
    reach: &Reach,
    said: &mut Vec<u8>,
    marks: &[&str],
) -> Result<Option<String>, AgentError> {
    let mut line = Vec::new();
    let mut given = false;
    let mut quiet = false;
    loop {
        let seen = tokio::select! {
            byte = output.read_u8() => Seen::Byte(byte),
            watched = sudo::watch(errors, input, reach.become_password.as_ref(), &mut given, said), if !quiet => Seen::Error(watched?),
        };
        match seen {
            Seen::Byte(Ok(b'\n')) => {
                let text = String::from_utf8_lossy(&line).trim().to_owned();
                if marks.iter().any(|mark| text.starts_with(mark)) {
                    return Ok(Some(text));
                }
                line.clear();
            }
            Seen::Byte(Ok(byte)) => line.push(byte),
            Seen::Byte(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                if !quiet {
                    let mut rest = Vec::new();
                    let _ = errors.read_to_end(&mut rest).await;
                    said.extend(rest);
                }
                return Ok(None);
            }
            Seen::Byte(Err(error)) => return Err(error.into()),
            Seen::Error(Watched::Given) => {}
            Seen::Error(Watched::Ended) => quiet = true,
            Seen::Error(Watched::Again) => {
                let user = reach.become_user.clone().unwrap_or_default();
                return Err(SudoError::WrongPassword {
                    user,
                    host: reach.host.clone(),
                }
                .into());
            }
        }
    }
}

enum Seen {
    Byte(io::Result<u8>),
    Error(Watched),
}

async fn send(connection: &Connection, reach: &Reach, binary: &Binary) -> Result<(), AgentError> {
    let ready = format!("echo {READY}; {}", send_script(&binary.sha256));
    let command = as_user(reach, &ready);
    let process = connection
        .exec(&command)
        .await
        .map_err(|error| AgentError::Link(error.to_string()))?;
    let (mut input, mut errors) = (process.stdin, process.stderr);
    let mut output = BufReader::new(process.stdout);
    let mut said = Vec::new();
    if greeting(&mut output, &mut errors, &mut input, reach, &mut said, &[READY])
        .await?
        .is_none()
    {
        return Err(no_start(reach, &said));
    }
    let fed = async {
        let result = input.write_all(&binary.bytes).await;
        let _ = input.shutdown().await;
        result
    };
    let mut words = Vec::new();
    let (_, read) = tokio::join!(fed, output.read_to_end(&mut words));
    read?;
    let status = process
        .exit
        .wait()
        .await
        .map_err(|error| AgentError::Link(error.to_string()))?;
    if status.success() {
        return Ok(());
    }
    let reason = String::from_utf8_lossy(&words).trim().to_owned();
    let reason = if reason.is_empty() {
        format!("the upload ended with {status}")
    } else {
        reason
    };
    Err(AgentError::Unfit {
        host: reach.host.clone(),
        reason,
    })
}

/// Reads one frame; `None` at the end of the stream.
pub(super) async fn receive<R: AsyncRead + Unpin>(reader: &mut R) -> io::Result<Option<Response>> {
    let mut first = [0; 5];
    match reader.read_exact(&mut first).await {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let (length, flag) = wire::header(first)?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body).await?;
    wire::decode(flag, &body).map(Some)
}
