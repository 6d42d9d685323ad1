//! The command line: arguments to one library call each, errors to messages and exit codes.

mod again;
mod apply;
pub mod args;
mod doc;
mod doctor;
mod drift;
mod exec;
mod graph;
mod kept;
mod lists;
pub mod load;
mod plan;
mod resume;
mod run;
mod runs;
mod show;
mod terminal;
mod topology;
mod undo;
mod unlock;
mod vault;

use crate::error::{Diagnostics, Exit};
use crate::report::scrub;
use crate::source::SourceMap;
use args::{Cli, Command};
use clap::Parser;
use std::io::{IsTerminal, Write};

/// Runs the command line of this process; gives its exit code.
#[must_use]
pub fn main() -> u8 {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let code = if error.use_stderr() { Exit::Usage.code() } else { 0 };
            let _ = error.print();
            return code;
        }
    };
    let sources = SourceMap::default();
    let end = match cli.command {
        Command::Run(args) => run::run(&sources, &args),
        Command::Drift(args) => drift::drift(&sources, &args),
        Command::Plan(args) => plan::plan(&sources, &args),
        Command::Apply(args) => apply::apply(&sources, &args),
        Command::Show(args) => plan::show(&args),
        Command::Graph(args) => graph::graph(&sources, &args),
        Command::Topology(args) => topology::topology(&sources, &args),
        Command::Doctor(args) => doctor::doctor(&sources, &args),
        Command::Inventory(args) => show::inventory(&sources, &args),
        Command::Vars(args) => show::vars(&sources, &args),
        Command::Exec(args) => exec::exec(&sources, &args),
        Command::Runs(args) => runs::runs(&args),
        Command::Resume(args) => resume::resume(&sources, &args),
        Command::Undo(args) => undo::undo(&sources, &args),
        Command::Vault(args) => vault::vault(&args.action),
        Command::Doc(args) => doc::doc(&args),
        Command::Completion { shell } => {
            let mut command = <Cli as clap::CommandFactory>::command();
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut command, "okd-play", &mut script);
            print(&String::from_utf8_lossy(&script));
            Ok(Exit::Ok)
        }
    };
    match end {
        Ok(code) => code.code(),
        Err(errors) => {
            let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            let text = errors.render(&sources, colour);
            let _ = std::io::stderr().write_all(scrub::clean(&text).as_bytes());
            Exit::Usage.code()
        }
    }
}

/// How a command ends.
type End = Result<Exit, Diagnostics>;

/// Prints text that was asked for; a closed pipe is no error.
fn print(text: &str) {
    let _ = std::io::stdout().write_all(scrub::clean(text).as_bytes());
}
