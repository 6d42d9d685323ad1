//! Everything that happens on the control node: reading playbooks and inventories, planning, connecting, reporting.

pub mod actions;
pub mod cli;
pub mod control;
pub mod drift;
pub mod error;
pub mod graph;
pub mod history;
pub mod inventory;
pub mod link;
pub mod media;
pub mod playbook;
pub mod pull_secret;
pub mod report;
pub mod run;
pub mod saved;
pub mod site;
pub mod source;
pub mod svg;
pub mod template;
pub mod vault;
