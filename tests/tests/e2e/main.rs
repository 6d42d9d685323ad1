//! okd-play on real hosts, end to end. Each test has a lab of its own, so they can run side by side.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, missing_docs)]

mod agent;
mod arrives;
mod cut;
mod devices;
mod faults;
mod firewall;
mod guard;
mod guests;
mod hook;
mod installer;
mod interrupt;
mod journal;
mod laws;
mod ledger;
mod netboot;
mod overlay;
mod plan;
mod refused;
mod release;
mod saved;
mod secrets;
mod selection;
mod services;
mod stale;
mod transaction;
mod transports;
mod verify;
mod waits;
