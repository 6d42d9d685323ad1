//! What the end-to-end tests stand on: a lab of real hosts for each test, the program as people run it, and pictures of
//! a host that can be compared. The tests themselves are in `tests/e2e`.
//!
//! Whatever goes wrong in here ends the test, with the words of the program that failed.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a lab that does not obey is a failed test"
)]

pub mod browser;
pub mod cluster;
pub mod guest;
pub mod hook;
pub mod host;
pub mod installer;
pub mod iso;
pub mod lab;
pub mod live_iso;
pub mod picture;
pub mod play;
pub mod pve;
mod until;

pub use browser::Browser;
pub use guest::Guest;
pub use host::Host;
pub use lab::{Flavour, Lab};
pub use picture::Picture;
pub use play::{Play, Run, Running};
pub use until::until;
