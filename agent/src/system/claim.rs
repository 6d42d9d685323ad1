//! Who changes a machine: one run at a time, and the next one is told which, whose, and since when.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A run's claim to a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The run's id.
    pub run: String,
    /// Whose it is, such as `alice@bastion`.
    pub by: String,
    /// Since when it changes the machine, in words.
    pub since: String,
    /// The machine, as that run calls it.
    pub host: String,
}

impl Claim {
    /// The claim in a lock's file.
    #[must_use]
    pub fn text(&self) -> String {
        let Claim { run, by, since, host } = self;
        format!("{run}\n{by}\n{since}\n{host}\n")
    }

    /// One of which nothing is known but that it is there.
    #[must_use]
    pub fn unknown() -> Claim {
        Claim {
            run: "unknown".to_owned(),
            by: "somebody".to_owned(),
            since: "a moment ago".to_owned(),
            host: String::new(),
        }
    }

    /// Reads [`Claim::text`]; `None` where it is something else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Claim> {
        let mut lines = text.lines().map(str::to_owned);
        Some(Claim {
            run: lines.next().filter(|run| !run.is_empty())?,
            by: lines.next()?,
            since: lines.next()?,
            host: lines.next()?,
        })
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Claim { run, by, since, .. } = self;
        write!(f, "is being changed by {by} (run {run}) since {since}")
    }
}
