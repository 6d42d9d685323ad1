//! Events to what a person or a program reads. The only place, beside the command line's own errors, that writes.

pub mod event;
pub mod json;

pub use event::{Event, Pass, StepResult, StepStatus};
