//! Questions to the person at the terminal. They go to the terminal itself, so that a redirected output stays clean.

use crate::link::keys::{Prompt, Question};
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};

/// The terminal of this process, where it has one.
pub(super) struct Terminal;

fn open() -> Option<File> {
    OpenOptions::new().read(true).write(true).open("/dev/tty").ok()
}

impl Terminal {
    /// Asks for a line. `hidden` answers are not echoed. `None` without a terminal, or at its end.
    pub(super) fn ask(question: &str, hidden: bool) -> Option<String> {
        let mut terminal = open()?;
        write!(terminal, "{question}").ok()?;
        terminal.flush().ok()?;
        let echo = hidden.then(|| Echo::off(&terminal)).flatten();
        let mut line = String::new();
        let count = BufReader::new(&terminal).read_line(&mut line).ok()?;
        if echo.is_some() {
            let _ = writeln!(terminal);
        }
        drop(echo);
        (count > 0).then(|| line.trim_end_matches(['\n', '\r']).to_owned())
    }
}

/// Switches the terminal's echo off; on again when dropped.
struct Echo {
    terminal: File,
    before: rustix::termios::Termios,
}

impl Echo {
    fn off(terminal: &File) -> Option<Echo> {
        use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
        let before = tcgetattr(terminal).ok()?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(terminal, OptionalActions::Flush, &silent).ok()?;
        Some(Echo {
            terminal: terminal.try_clone().ok()?,
            before,
        })
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        let _ = rustix::termios::tcsetattr(&self.terminal, rustix::termios::OptionalActions::Flush, &self.before);
    }
}

impl Prompt for Terminal {
    fn ask(&self, question: &Question) -> Option<String> {
        let again = |again: bool| if again { "that was not it; " } else { "" };
        let (text, hidden) = match question {
            Question::Passphrase { key, again: twice } => {
                (format!("{}passphrase of {}: ", again(*twice), key.display()), true)
            }
            Question::Password {
                user,
                host,
                again: twice,
            } => (format!("{}password of {user} on {host}: ", again(*twice)), true),
            Question::Server { host, text, echo } => (format!("{host}: {text} "), !echo),
        };
        Terminal::ask(&text, hidden)
    }
}
