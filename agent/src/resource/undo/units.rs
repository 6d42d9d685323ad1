//! Units that a run started, stopped, enabled or disabled, and those that read what it changed.

use super::packages::Packages;
use super::{Deeds, field};
use crate::diff::Change;
use crate::resource::ResourceError;
use crate::resource::acting;
use crate::resource::systemd::{Manager, Unit, control, settle, show};
use crate::resource::transaction::{LIVE, live};
use crate::system::journal::Act;
use crate::system::{Action, Answer, Effect, System};
use serde::Serialize;

/// A unit that the run started, stopped, enabled or disabled.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct UnitSpot {
    pub(super) name: String,
    pub(super) now: Posture,
    pub(super) before: Posture,
    /// What systemd said of it before.
    was: Unit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Posture {
    pub(super) runs: bool,
    enabled: Option<bool>,
    masked: bool,
}

impl From<&Unit> for Posture {
    fn from(unit: &Unit) -> Self {
        Posture {
            runs: unit.runs(),
            enabled: unit.enabled(),
            masked: unit.masked(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) enum Tell {
    /// Units are read anew.
    Manager,
    /// A unit is told, by this verb, where it runs.
    Unit(String, String),
    /// What a unit's files say becomes so by this command, where it runs.
    Command(String, Vec<String>),
}

impl Tell {
    pub(super) fn unit(&self) -> Option<&str> {
        match self {
            Tell::Manager => None,
            Tell::Unit(name, _) | Tell::Command(name, _) => Some(name),
        }
    }
}

/// What a command of the run let read its files anew.
fn told(act: &Act) -> Option<Tell> {
    if let Some(unit) = act.facts.iter().find_map(|fact| fact.key.strip_prefix("live:")) {
        return Some(Tell::Command(unit.to_owned(), act.argv.clone()));
    }
    let [program, verb, rest @ ..] = act.argv.as_slice() else {
        return None;
    };
    match (program.as_str(), verb.as_str(), rest) {
        ("systemctl", "daemon-reload", []) => Some(Tell::Manager),
        ("systemctl", "restart" | "reload" | "reload-or-restart" | "try-restart" | "try-reload-or-restart", [unit]) => {
            Some(Tell::Unit(unit.clone(), verb.clone()))
        }
        _ => None,
    }
}

impl UnitSpot {
    fn command(&self, verb: &str, world: &dyn System, after: impl FnOnce(&mut Unit)) -> Result<(), ResourceError> {
        let mut unit = show(&self.name, Manager::System, world)?;
        after(&mut unit);
        control(
            &self.name,
            Manager::System.command(&[verb, &self.name]),
            &unit,
            Manager::System,
            world,
        )
        .map(drop)
    }

    pub(super) fn stops(&self) -> bool {
        self.now.runs && !self.before.runs
    }

    /// Stops and disables it, while its file is still there.
    pub(super) fn down(&self, world: &dyn System) -> Result<(), ResourceError> {
        let (now, then) = (self.now, self.before);
        if self.stops() {
            self.command("stop", world, |unit| unit.set_active(false))?;
        }
        if now.enabled == Some(true) && then.enabled == Some(false) {
            self.command("disable", world, |unit| "disabled".clone_into(&mut unit.file))?;
        }
        if now.masked && !then.masked {
            self.command("unmask", world, |unit| {
                unit.file.clone_from(&self.was.file);
                unit.load.clone_from(&self.was.load);
            })?;
        }
        Ok(())
    }

    /// Enables and starts it, once its files are back.
    pub(super) fn up(&self, world: &dyn System) -> Result<(), ResourceError> {
        let (now, then) = (self.now, self.before);
        if then.enabled == Some(true) && now.enabled == Some(false) {
            self.command("enable", world, |unit| "enabled".clone_into(&mut unit.file))?;
        }
        if then.masked && !now.masked {
            self.command("mask", world, |unit| {
                "masked".clone_into(&mut unit.file);
                "masked".clone_into(&mut unit.load);
            })?;
        }
        if then.runs && !now.runs {
            self.command("start", world, |unit| unit.set_active(true))?;
            let unit = show(&self.name, Manager::System, world)?;
            settle(&self.name, &unit, Manager::System, world)?;
        }
        Ok(())
    }
}

/// The units whose state the run changed.
pub(super) fn look(deeds: &Deeds<'_>, packages: &Packages, world: &dyn System) -> Result<Vec<UnitSpot>, ResourceError> {
    let mut spots = Vec::new();
    for unit in deeds.named("unit:") {
        let Some((_, answer)) = deeds.before(&format!("unit:{unit}")) else {
            continue;
        };
        let mut was = Unit::parse(&answer.text());
        if let Some((_, enabled)) = deeds.before(&format!("unit-enabled:{unit}")) {
            was.file = if enabled.success() { "enabled" } else { "disabled" }.to_owned();
        }
        let before = Posture::from(&was);
        let here = show(unit, Manager::System, world)?;
        let mut now = Posture::from(&here);
        if !here.exists() && before.enabled.is_some() {
            match (packages.some_come(), packages.gone()) {
                (true, _) => now.enabled = Some(false),
                // It came with a package and has gone with it.
                (false, true) => continue,
                (false, false) => {}
            }
        }
        // A unit of which nobody can choose whether it starts at boot is as it is, and one that was not there did not.
        let enabled = match (now.enabled, before.enabled) {
            (Some(_), Some(before)) => Some(before),
            (Some(true), None) if !was.exists() => Some(false),
            (now, _) => now,
        };
        spots.push(UnitSpot {
            name: unit.to_owned(),
            now,
            before: Posture { enabled, ..before },
            was,
        });
    }
    Ok(spots)
}

/// What runs and read files of the run, in its order.
pub(super) fn tellings(deeds: &Deeds<'_>, world: &dyn System) -> Vec<Tell> {
    let mut all: Vec<Tell> = Vec::new();
    for tell in deeds.acts.iter().filter_map(|act| told(act)) {
        if !all.contains(&tell) {
            all.push(tell);
        }
    }
    all.retain(|tell| {
        tell.unit()
            .is_none_or(|unit| show(unit, Manager::System, world).is_ok_and(|unit| unit.runs()))
    });
    all
}

impl UnitSpot {
    pub(super) fn changes(&self, want: &UnitSpot, changes: &mut Vec<Change>) {
        let yes = |truth: bool| if truth { "yes" } else { "no" };
        let runs = |truth: bool| if truth { "started" } else { "stopped" };
        let (now, then) = (self.now, want.now);
        let mut say = |name: &str, before: &str, after: &str| {
            if before != after {
                changes.push(field(&self.name, name, before, after));
            }
        };
        say("masked", yes(now.masked), yes(then.masked));
        if let (Some(now), Some(then)) = (now.enabled, then.enabled) {
            say("enabled", yes(now), yes(then));
        }
        say("state", runs(now.runs), runs(then.runs));
    }
}

/// Reads units anew where that is one of the tellings.
pub(super) fn reread(tellings: &[&Tell], world: &dyn System) -> Result<(), ResourceError> {
    if tellings.contains(&&Tell::Manager) {
        acting::run(world, &Action::new(&["systemctl", "daemon-reload"], Effect::none()))?;
    }
    Ok(())
}

impl Tell {
    /// As a plan says it.
    pub(super) fn change(&self) -> Change {
        Change::Act(match self {
            Tell::Manager => "systemctl daemon-reload".to_owned(),
            Tell::Unit(unit, verb) => format!("{verb} {}", unit.trim_end_matches(".service")),
            Tell::Command(_, argv) => argv.join(" "),
        })
    }

    pub(super) fn tell(&self, world: &dyn System) -> Result<(), ResourceError> {
        match self {
            Tell::Manager => {}
            Tell::Unit(name, verb) => {
                let unit = show(name, Manager::System, world)?;
                let argv = Manager::System.command(&[verb, name]);
                control(name, argv, &unit, Manager::System, world)?;
                settle(name, &unit, Manager::System, world)?;
            }
            Tell::Command(unit, argv) => {
                let told = Effect::predicts(live(unit), Answer::ok(LIVE));
                let action = Action {
                    argv: argv.clone(),
                    ..Action::new(&[], told)
                };
                acting::run(world, &action)?;
            }
        }
        Ok(())
    }
}
