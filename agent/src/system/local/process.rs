//! Runs commands of this machine: no shell, a known environment, both outputs read at once, no child left at a timeout.

use crate::path::AbsPath;
use crate::system::{Answer, SystemError};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// No more than this is kept of an output, in bytes.
pub const OUTPUT_LIMIT: usize = 16 << 20;

/// How long the outputs may stay open after the command itself has ended: something it started holds them.
const GRACE: Duration = Duration::from_millis(500);

/// Where programs are looked for.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A command with everything that it is given.
pub(super) struct Run<'a> {
    pub(super) argv: &'a [String],
    pub(super) stdin: &'a [u8],
    pub(super) env: &'a [(String, String)],
    pub(super) cwd: Option<&'a AbsPath>,
    /// Seconds.
    pub(super) timeout: Option<u64>,
}

impl<'a> Run<'a> {
    pub(super) fn new(argv: &'a [String], timeout: u64) -> Self {
        Run {
            argv,
            stdin: &[],
            env: &[],
            cwd: None,
            timeout: Some(timeout),
        }
    }
}

type Output = Arc<Mutex<Vec<u8>>>;

/// Runs a command to its end. A program that is not there is [`Answer::NO_PROGRAM`].
pub(super) fn run(run: &Run) -> Result<Answer, SystemError> {
    let refuse = |reason: String| SystemError::Command {
        argv: run.argv.to_vec(),
        reason,
    };
    let program = run
        .argv
        .first()
        .ok_or_else(|| refuse("no program is named".to_owned()))?;
    if let Some(cwd) = run.cwd.filter(|cwd| !std::path::Path::new(cwd.as_str()).is_dir()) {
        return Err(refuse(format!("there is no folder {cwd} to run it in")));
    }
    let mut child = match command(program, run).spawn() {
        Ok(child) => child,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let stderr = format!("{program}: command not found\n").into_bytes();
            return Ok(Answer {
                stderr,
                ..Answer::status(Answer::NO_PROGRAM)
            });
        }
        Err(error) => return Err(refuse(super::words(&error))),
    };
    let (ended, ends) = channel();
    let threads = start(&mut child, run.stdin, &ended);
    drop(ended);
    let (stdout, stderr) = match threads {
        Ok(outputs) => outputs,
        Err(error) => {
            kill(&mut child);
            return Err(refuse(super::words(&error)));
        }
    };
    let status = match wait(&mut child, &ends, run.timeout) {
        Ok(Some(status)) => status,
        Ok(None) => {
            kill(&mut child);
            return Err(SystemError::Timeout {
                argv: run.argv.to_vec(),
                seconds: run.timeout.unwrap_or_default(),
            });
        }
        Err(error) => return Err(refuse(super::words(&error))),
    };
    let rc = status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
    Ok(Answer {
        rc,
        stdout: take(&stdout),
        stderr: take(&stderr),
        predicted: false,
    })
}

fn command(program: &str, run: &Run) -> Command {
    let mut command = Command::new(program);
    command
        .args(&run.argv[1..])
        .env_clear()
        .env("PATH", PATH)
        .env("LC_ALL", "C.UTF-8");
    for name in ["HOME", "USER", "LOGNAME"] {
        command.envs(std::env::var_os(name).map(|value| (name, value)));
    }
    command.envs(run.env.iter().map(|(name, value)| (name, value)));
    if let Some(cwd) = run.cwd {
        command.current_dir(cwd.as_str());
    }
    let stdin = if run.stdin.is_empty() {
        Stdio::null()
    } else {
        Stdio::piped()
    };
    command
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    command
}

/// Starts the threads that feed and drain a child. Each drain says on `ended` when its output was closed.
fn start(child: &mut Child, stdin: &[u8], ended: &Sender<()>) -> std::io::Result<(Output, Output)> {
    if let Some(mut pipe) = child.stdin.take() {
        let bytes = stdin.to_vec();
        thread(move || drop(pipe.write_all(&bytes)))?;
    }
    let stdout = child.stdout.take().map(|pipe| drain(pipe, ended.clone())).transpose()?;
    let stderr = child.stderr.take().map(|pipe| drain(pipe, ended.clone())).transpose()?;
    Ok((stdout.unwrap_or_default(), stderr.unwrap_or_default()))
}

fn thread(work: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    std::thread::Builder::new().stack_size(256 << 10).spawn(work).map(drop)
}

fn drain(mut pipe: impl Read + Send + 'static, ended: Sender<()>) -> std::io::Result<Output> {
    let output = Output::default();
    let kept = Arc::clone(&output);
    thread(move || {
        let mut chunk = vec![0; 32 << 10];
        loop {
            match pipe.read(&mut chunk) {
                Ok(0) => break,
                Ok(count) => {
                    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                    let room = (OUTPUT_LIMIT + 1).saturating_sub(kept.len());
                    kept.extend_from_slice(&chunk[..count.min(room)]);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        let _ = ended.send(());
    })?;
    Ok(output)
}

fn take(output: &Output) -> Vec<u8> {
    std::mem::take(&mut *output.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Waits for the end of a child and of its outputs; `None` at the timeout.
fn wait(child: &mut Child, ends: &Receiver<()>, timeout: Option<u64>) -> std::io::Result<Option<ExitStatus>> {
    let deadline = timeout.and_then(|seconds| Instant::now().checked_add(Duration::from_secs(seconds)));
    let mut open = 2;
    let mut pause = Duration::from_millis(1);
    let mut over: Option<(ExitStatus, Instant)> = None;
    loop {
        match ends.recv_timeout(pause) {
            Ok(()) => (open, pause) = (open - 1, Duration::from_millis(1)),
            Err(RecvTimeoutError::Disconnected) => {
                open = 0;
                std::thread::sleep(pause);
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
        if over.is_none() {
            over = child.try_wait()?.map(|status| (status, Instant::now()));
        }
        match over {
            Some((status, since)) if open == 0 || since.elapsed() > GRACE => return Ok(Some(status)),
            Some(_) => {}
            None if deadline.is_some_and(|deadline| Instant::now() >= deadline) => return Ok(None),
            None => pause = (pause * 2).min(Duration::from_millis(50)),
        }
    }
}

/// Kills a child with everything in its process group.
fn kill(child: &mut Child) {
    let group = rustix::process::Pid::from_child(child);
    if rustix::process::kill_process_group(group, rustix::process::Signal::KILL).is_err() {
        drop(child.kill());
    }
    drop(child.wait());
}
