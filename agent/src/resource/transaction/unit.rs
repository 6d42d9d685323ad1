//! A service's unit: what systemd says of it, and what has to be done to it.

use super::Watch;
use crate::choice;
use crate::diff::Change;
use crate::resource::ResourceError;
use crate::system::{Action, Answer, Declared, Effect, Probe, System, SystemError};
use serde::Serialize;

choice! {
    /// Whether a service runs.
    pub enum Power {
        /// It runs.
        Started = "started",
        /// It does not.
        Stopped = "stopped",
    }
}

/// How a running service is told that its files are new.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Tell {
    /// It reads them anew.
    Reload,
    /// It can only be started anew.
    Restart,
}

impl Tell {
    /// The word that systemctl(1) knows.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Tell::Reload => "reload",
            Tell::Restart => "restart",
        }
    }
}

/// What systemd says of a unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unit {
    /// Its full name.
    pub name: String,
    /// Whether it runs.
    pub active: bool,
    /// Whether it starts at boot.
    pub enabled: bool,
    /// Whether it is not there yet and a package that a plan installs will bring it.
    pub promised: bool,
    /// How it will be told of new files.
    pub tell: Tell,
}

impl Unit {
    /// The same unit as it should be.
    #[must_use]
    pub fn wanted(&self, power: Power, enabled: bool, tell: Tell) -> Self {
        Unit {
            active: power == Power::Started,
            enabled,
            tell,
            ..self.clone()
        }
    }

    /// The name without its kind.
    #[must_use]
    pub fn short(&self) -> &str {
        self.name.strip_suffix(".service").unwrap_or(&self.name)
    }

    /// What is to be done for it to become `want`; `told`: whether its files are new to it.
    pub(super) fn changes(&self, want: &Self, told: bool) -> Vec<Change> {
        let of = self.name.clone();
        let word = |active: bool| if active { "active" } else { "inactive" }.to_owned();
        let mut changes = Vec::new();
        if self.active != want.active {
            let (before, after) = (word(self.active), word(want.active));
            changes.push(Change::Field {
                of: of.clone(),
                name: "state".to_owned(),
                before,
                after,
            });
        } else if told && want.active {
            changes.push(Change::Act(format!("{} {}", want.tell.word(), self.short())));
        }
        if self.enabled != want.enabled {
            let word = |enabled: bool| if enabled { "enabled" } else { "disabled" }.to_owned();
            let (before, after) = (word(self.enabled), word(want.enabled));
            changes.push(Change::Field {
                of,
                name: "boot".to_owned(),
                before,
                after,
            });
        }
        changes
    }
}

/// The fact that a unit's state is known by.
pub(super) fn key(unit: &str) -> String {
    format!("unit:{unit}")
}

/// Asks systemd for a unit's state under a fact's name.
fn ask(key: String, unit: &str, world: &dyn System) -> Result<Answer, SystemError> {
    let properties = "LoadState,ActiveState,SubState,UnitFileState";
    world.probe(&Probe::new(
        key,
        &["systemctl", "show", unit, "-p", properties, "--no-pager"],
    ))
}

fn property<'a>(text: &'a str, name: &str) -> &'a str {
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
        .unwrap_or_default()
}

/// What systemd says of the unit that a service watches.
pub(super) fn look(watch: &Watch, world: &dyn System) -> Result<Unit, ResourceError> {
    let answer = ask(key(watch.unit), watch.unit, world)?;
    let text = answer.text();
    let mut unit = Unit {
        name: watch.unit.to_owned(),
        active: matches!(
            property(&text, "ActiveState"),
            "active" | "reloading" | "activating" | "refreshing"
        ),
        enabled: matches!(
            property(&text, "UnitFileState"),
            "enabled" | "enabled-runtime" | "static" | "alias"
        ),
        promised: false,
        tell: Tell::Reload,
    };
    if !answer.success() || matches!(property(&text, "LoadState"), "not-found" | "") {
        if world.promised().is_empty() {
            let message = format!(
                "there is no unit {} on this host; install the package that brings it first (`{}`)",
                watch.unit, watch.package
            );
            let argv = ["systemctl", "show", watch.unit].map(str::to_owned);
            return Err(ResourceError::command(message, &argv, &answer));
        }
        unit.promised = true;
        unit.active = watch.started_by_package;
        unit.enabled = watch.started_by_package;
    } else if matches!(property(&text, "UnitFileState"), "generated" | "") {
        unit.enabled = starts_at_boot(watch.unit, world)?;
    }
    Ok(unit)
}

/// A unit made from a SysV script does not say itself whether it starts at boot.
fn starts_at_boot(unit: &str, world: &dyn System) -> Result<bool, SystemError> {
    let answer = world.probe(&Probe::new(
        format!("enabled:{unit}"),
        &["systemctl", "is-enabled", unit],
    ))?;
    Ok(answer.success())
}

/// Does something to a unit; afterwards it will be as `will`.
///
/// # Errors
/// When systemctl cannot be run; its failure is an [`Answer`].
pub(super) fn command(verb: &str, will: &Unit, world: &dyn System) -> Result<Answer, SystemError> {
    let active = if will.active {
        "ActiveState=active\nSubState=running"
    } else {
        "ActiveState=inactive\nSubState=dead"
    };
    let enabled = if will.enabled { "enabled" } else { "disabled" };
    let state = Answer::ok(format!("LoadState=loaded\n{active}\nUnitFileState={enabled}\n"));
    let boot = if will.enabled {
        Answer::ok("enabled\n")
    } else {
        Answer::status(1)
    };
    let predicts = vec![(key(&will.name), state), (format!("enabled:{}", will.name), boot)];
    let effect = Effect::Declared(Declared {
        predicts,
        ..Declared::default()
    });
    world.act(&Action::new(&["systemctl", verb, &will.name], effect))
}

/// Whether a unit runs, asked anew: a fact of its own for each look, so that no remembered answer is given.
///
/// `None` where systemd does not answer.
pub(super) fn runs(unit: &str, look: u32, world: &dyn System) -> Result<Option<Life>, SystemError> {
    let answer = ask(format!("look:{look}:{unit}"), unit, world)?;
    if !answer.success() {
        return Ok(None);
    }
    let text = answer.text();
    Ok(match property(&text, "ActiveState") {
        "active" => Some(Life::Up),
        "activating" | "reloading" | "refreshing" if property(&text, "SubState") != "auto-restart" => {
            Some(Life::Coming)
        }
        "" => None,
        _ => Some(Life::Down),
    })
}

/// How a unit is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    /// It runs.
    Up,
    /// It is on its way.
    Coming,
    /// It does not run, or keeps falling over.
    Down,
}
