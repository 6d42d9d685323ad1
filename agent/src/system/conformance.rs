//! What every world has to do alike, as one suite: this machine, a predicted one, one made of data, a shell far away.
//!
//! Each part returns the sentences in which a world deviates; an empty list is a world that conforms.

mod commands;
mod files;
mod trees;

pub use commands::{actions, probes};
pub use files::files;

use super::SystemError;
use std::fmt::Debug;

/// Collects deviations.
#[derive(Default)]
struct Findings {
    sentences: Vec<String>,
}

impl Findings {
    fn equal<T: PartialEq + Debug>(&mut self, what: &str, seen: T, expected: T) {
        if seen != expected {
            self.sentences
                .push(format!("{what}: {} instead of {}", short(&seen), short(&expected)));
        }
    }

    fn holds(&mut self, what: &str, truth: bool) {
        if !truth {
            self.sentences.push(what.to_owned());
        }
    }

    fn went(&mut self, what: &str, end: Result<(), SystemError>) {
        if let Err(error) = end {
            self.sentences.push(format!("{what}: {error}"));
        }
    }

    fn refused<T: Debug>(&mut self, what: &str, end: Result<T, SystemError>, as_expected: fn(&SystemError) -> bool) {
        match end {
            Err(error) if as_expected(&error) => {}
            end => self.sentences.push(format!("{what}: {}", short(&end))),
        }
    }
}

fn short(value: &impl Debug) -> String {
    let text = format!("{value:?}");
    match text.char_indices().nth(400) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

/// Any reason of the operating system's.
fn io(error: &SystemError) -> bool {
    matches!(error, SystemError::Io { .. })
}

fn wrong_kind(error: &SystemError) -> bool {
    matches!(error, SystemError::WrongKind { .. })
}
