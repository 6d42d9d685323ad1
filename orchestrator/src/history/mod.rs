//! What runs did: who they are, what they left behind, and what became of them.

mod id;

pub use id::{RunId, moment, seconds, who};

/// The present, by C's `strftime` in UTC.
#[must_use]
pub fn now(format: &str) -> String {
    moment(seconds(), format)
}
