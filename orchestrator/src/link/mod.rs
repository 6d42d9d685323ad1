//! How a node reaches a machine.

mod agent;
pub mod binary;
pub mod guard;
pub mod hub;
pub mod keys;
pub mod known_hosts;
pub mod limits;
pub mod reach;
pub mod settings;
mod sha1;
pub mod shell;
pub mod ssh;
pub mod ssh_config;
pub mod sudo;
pub mod target;
