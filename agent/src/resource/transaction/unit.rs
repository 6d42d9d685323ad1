//! A service's unit: what systemd says of it, and what has to be done to it.

use super::Watch;
use crate::choice;
use crate::diff::Change;
use crate::resource::ResourceError;
use crate::resource::brought;
use crate::resource::systemd::{self, Manager, control, outdated, settle, show};
use crate::system::{Answer, Probe, System};
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
    /// By this command, whether or not its unit runs; see [`live`](super::live).
    Run(&'static [&'static str]),
}

impl Tell {
    /// The word that systemctl(1) knows.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Tell::Reload | Tell::Run(_) => "reload",
            Tell::Restart => "restart",
        }
    }
}

/// What can be seen of a service's unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unit {
    /// Its full name.
    pub name: String,
    /// What systemd says of it.
    pub seen: systemd::Unit,
    /// Whether it is not there yet and a package that a plan installs will bring it.
    pub promised: bool,
    /// How it will be told of new files.
    pub tell: Tell,
    /// Whether it runs as its unit's files were before they were written last.
    pub outdated: bool,
}

impl Unit {
    /// Whether it runs.
    #[must_use]
    pub fn active(&self) -> bool {
        self.seen.runs()
    }

    /// Whether it starts at boot; a unit for which that cannot be chosen does as it is made.
    #[must_use]
    pub fn enabled(&self) -> bool {
        self.seen.enabled().unwrap_or(true)
    }

    /// The name without its kind.
    #[must_use]
    pub fn short(&self) -> &str {
        self.name.strip_suffix(".service").unwrap_or(&self.name)
    }

    /// The same unit as it should be.
    pub(super) fn wanted(&self, power: Power, enabled: bool, tell: Tell) -> Self {
        let mut want = Unit {
            tell,
            outdated: false,
            ..self.clone()
        };
        want.set(power == Power::Started, enabled);
        want
    }

    fn set(&mut self, active: bool, enabled: bool) {
        if active != self.active() {
            self.seen.set_active(active);
        }
        if self.seen.enabled().is_some_and(|now| now != enabled) {
            self.seen.file = if enabled { "enabled" } else { "disabled" }.to_owned();
        }
    }

    /// What it is told while it runs, where its files are new to it or it is outdated.
    pub(super) fn word(&self, tell: Tell) -> &'static str {
        match tell {
            Tell::Reload | Tell::Restart if self.outdated => "restart",
            _ => tell.word(),
        }
    }

    /// What is to be done for it to become `want`; `told`: whether its files are new to it.
    pub(super) fn changes(&self, want: &Self, told: bool) -> Vec<Change> {
        let field = |name: &str, before: &str, after: &str| Change::Field {
            of: self.short().to_owned(),
            name: name.to_owned(),
            before: before.to_owned(),
            after: after.to_owned(),
        };
        let mut changes = Vec::new();
        if self.active() != want.active() {
            let state = |unit: &Unit| if unit.active() { "started" } else { "stopped" };
            let before = if self.seen.active == "failed" {
                "failed"
            } else {
                state(self)
            };
            changes.push(field("state", before, state(want)));
        } else if told && (want.active() || matches!(want.tell, Tell::Run(_))) {
            changes.push(Change::Act(format!("{} {}", self.word(want.tell), self.short())));
        }
        if self.enabled() != want.enabled() {
            let word = |unit: &Unit| if unit.enabled() { "yes" } else { "no" };
            changes.push(field("enabled", word(self), word(want)));
        }
        changes
    }

    /// Does something to the unit; afterwards it will be as `after`.
    ///
    /// # Errors
    /// systemctl's failure, with the unit's last journal lines.
    pub(super) fn command(&self, verb: &str, after: &Unit, world: &dyn System) -> Result<Answer, ResourceError> {
        let argv = Manager::System.command(&[verb, &self.name]);
        control(&self.name, argv, &after.seen, Manager::System, world)
    }

    /// Adds its last journal lines to a failure.
    pub(super) fn with_journal(&self, error: ResourceError, world: &dyn System) -> ResourceError {
        let mut failure = error.failure();
        failure.journal = journal(&self.name, world);
        ResourceError::Failed(failure)
    }

    /// Waits until it is up for good.
    ///
    /// # Errors
    /// That it is not, with its last journal lines.
    pub(super) fn settle(&self, world: &dyn System) -> Result<(), ResourceError> {
        settle(&self.name, &self.seen, Manager::System, world)
    }
}

/// A unit's last journal lines.
pub(super) fn journal(unit: &str, world: &dyn System) -> Vec<String> {
    let argv = ["journalctl", "-u", unit, "-n", "20", "--no-pager", "-o", "cat"];
    let answer = world.probe(&Probe::new(format!("journal:{unit}"), &argv));
    answer.map_or_else(
        |_| Vec::new(),
        |answer| answer.text().lines().map(str::to_owned).collect(),
    )
}

/// What systemd says of the unit that a service watches.
pub(super) fn look(watch: &Watch, world: &dyn System) -> Result<Unit, ResourceError> {
    let promised = !world.promised().is_empty();
    let seen = match show(watch.unit, Manager::System, world) {
        Ok(seen) => seen,
        Err(ResourceError::Failed(_)) if promised => systemd::Unit::default(),
        Err(error) => return Err(error),
    };
    let mut unit = Unit {
        name: watch.unit.to_owned(),
        seen,
        promised: false,
        tell: Tell::Reload,
        outdated: false,
    };
    if unit.seen.exists() {
        unit.outdated = outdated(watch.unit, &unit.seen, world)?;
        return Ok(unit);
    }
    if !promised {
        let Watch { unit, package, .. } = watch;
        return Err(ResourceError::message(format!(
            "there is no unit {unit} on this host; install the package that brings it first (`{package}`)"
        )));
    }
    unit.promised = true;
    unit.seen = brought::unit(watch.unit, world)?;
    Ok(unit)
}
