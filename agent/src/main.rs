//! The pushed agent: serves one session on standard input and output, then is gone.
#![allow(clippy::disallowed_methods)]

use okd_agent::Turn;
use okd_agent::serve::serve;
use okd_agent::system::local::Local;
use okd_agent::wire::BUILD;
use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let end = match words.as_slice() {
        ["serve"] => session(),
        ["--version"] => writeln!(io::stdout(), "{BUILD}"),
        _ => {
            let _ = writeln!(io::stderr(), "usage: okd-agent serve | okd-agent --version");
            return ExitCode::from(2);
        }
    };
    match end {
        Ok(()) => ExitCode::SUCCESS,
        // The other side is gone; there is nobody left to tell.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "okd-agent: {error}");
            ExitCode::FAILURE
        }
    }
}

fn session() -> io::Result<()> {
    let uid = rustix::process::geteuid().as_raw();
    serve(
        Arc::new(Local::new()),
        uid,
        turn(uid),
        BufReader::new(io::stdin()),
        &mut io::stdout().lock(),
    )
}

/// Root's agents take turns, by the folder that they lie in; what others can change is done in a moment.
fn turn(uid: u32) -> Turn {
    let program = std::env::current_exe().ok().filter(|_| uid == 0);
    let folder = program.as_deref().and_then(Path::parent).map(File::open);
    folder.and_then(Result::ok).map(Turn::by).unwrap_or_default()
}
