//! How a node reaches a machine.

pub mod keys;
pub mod known_hosts;
pub mod limits;
pub mod reach;
pub mod settings;
mod sha1;
pub mod ssh;
pub mod ssh_config;
pub mod target;
