//! The graph of steps: who waits for whom, and what may run now. Pure: no clock, no network, no thread.

pub mod build;
pub mod drawing;
pub mod picture;
pub mod ready;

pub use ready::{Edge, End, Join, NodeId, Ready};
