//! okd-play on real hosts, end to end. Each test has a lab of its own, so they can run side by side.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, missing_docs)]

mod agent;
mod arrives;
mod cut;
mod faults;
mod firewall;
mod guests;
mod hook;
mod installer;
mod interrupt;
mod laws;
mod ledger;
mod netboot;
mod overlay;
mod plan;
mod refused;
mod release;
mod secrets;
mod selection;
mod services;
mod transports;
mod verify;
mod waits;
