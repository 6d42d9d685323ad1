//! A typed service as what reads a set: its unit is told, watched, and asked what it should serve.

use super::checker::check;
use super::set::{Content, Files};
use super::swap::{Machine, Reader, Swap};
use super::unit::Unit;
use super::watch::{listens, serves};
use super::{FileSet, LIVE, State, Tell, live};
use crate::resource::ResourceError;
use crate::resource::content::resolve;
use crate::resource::systemd::Manager;
use crate::system::{Action, Answer, Effect, System};
use crate::value::Map;

/// Brings a service from one state to another; where that fails, back.
///
/// # Errors
/// The checker's refusal, or why the service does not run on the new set, with what is in place now.
pub fn apply(set: &FileSet, now: &State, want: &State, world: &Machine) -> Result<Map, ResourceError> {
    let (mut here, mut wanted) = (Files::new(), Files::new());
    for (path, content) in &want.files {
        let real = resolve(path, world)?;
        here.push((real.clone(), Content::look(&real, world)?));
        wanted.push((real, content.clone()));
    }
    let told = now.tells(want);
    let swap = Swap {
        service: &now.unit.name,
        now: &here,
        want: &wanted,
        told,
        owed: now.owed,
    };
    swap.exchange(&Service { set, now, want, told }, world)?;
    if want.unit.active() {
        super::told::write(&want.unit, &want.files, world)?;
    }
    if now.unit.enabled() != want.unit.enabled() {
        let verb = if want.unit.enabled() { "enable" } else { "disable" };
        want.unit.command(verb, &want.unit, world)?;
    }
    Ok(Map::new())
}

struct Service<'a> {
    set: &'a FileSet,
    now: &'a State,
    want: &'a State,
    told: bool,
}

impl Reader for Service<'_> {
    fn check(&self, world: &dyn System) -> Result<(), ResourceError> {
        check(&self.set.check(), self.set.service, self.now.unit.active(), world)
    }

    fn bring(&self, world: &Machine) -> Result<(), ResourceError> {
        let Service { set, now, want, told } = self;
        let verb = match (now.unit.active(), want.unit.active()) {
            (false, true) => "start",
            (true, false) => "stop",
            (true, true) if *told => now.unit.word(set.tell),
            (false, false) if *told && matches!(set.tell, Tell::Run(_)) => set.tell.word(),
            _ => return Ok(()),
        };
        let mut after = want.unit.clone();
        match verb {
            "reload" => after.seen.set_reloaded(),
            _ => after.seen.set_active(want.unit.active()),
        }
        after.seen.file.clone_from(&now.unit.seen.file);
        let told = |error| retold(error, set.service, verb, &after);
        let answer = match set.tell {
            Tell::Run(argv) if verb == set.tell.word() => {
                return tell(argv, set, &after, world).map_err(|error| after.with_journal(error, world));
            }
            _ => after.command(verb, &after, world).map_err(told)?,
        };
        if answer.predicted || !want.unit.active() {
            return Ok(());
        }
        after.settle(world).map_err(told)?;
        let fails = |sentence: String| after.with_journal(ResourceError::message(sentence), world);
        listens(set.service, &set.listeners, world)?.map_err(fails)?;
        serves(&set.served, world)?.map_err(fails)
    }

    fn back(&self, world: &Machine) -> Result<String, ResourceError> {
        let Service { set, now, want, .. } = self;
        let unit = &now.unit;
        if let Tell::Run(argv) = set.tell {
            if unit.active() || now.files.iter().any(|(_, content)| content.is_some()) {
                tell(argv, set, unit, world)?;
            } else if want.unit.active() {
                unit.command("stop", unit, world)?;
            }
        } else if unit.active() {
            let verb = if set.tell == Tell::Reload {
                "reload-or-restart"
            } else {
                "restart"
            };
            unit.command(verb, unit, world)?;
            unit.settle(world)?;
        } else {
            unit.command("stop", unit, world)?;
        }
        Ok(if unit.active() {
            format!("the old set was put back and {} is running on it", set.service)
        } else {
            format!(
                "the old set was put back; {} did not run before and does not now",
                set.service
            )
        })
    }
}

/// Runs the command that makes the service's files what it does.
fn tell(argv: &[&str], set: &FileSet, unit: &Unit, world: &dyn System) -> Result<(), ResourceError> {
    let action = Action::new(argv, Effect::predicts(live(&unit.name), Answer::ok(LIVE)));
    let answer = world.act(&action)?;
    if answer.success() {
        return Ok(());
    }
    let words = answer.error_text() + &answer.text();
    let first = words.lines().map(str::trim).find(|line| !line.is_empty());
    let message = format!(
        "{} refuses its new files: {}",
        set.service,
        first.unwrap_or("it does not say why")
    );
    Err(ResourceError::command(message, &action.argv, &answer))
}

/// Says of a failure what was tried, in the words of who asked for it.
fn retold(error: ResourceError, service: &str, verb: &str, unit: &Unit) -> ResourceError {
    let ResourceError::Failed(mut failure) = error else {
        return error;
    };
    let answer = failure.answer.clone().unwrap_or_default();
    let (error, output) = (answer.error_text(), answer.text());
    let words = error
        .lines()
        .chain(output.lines())
        .map(str::trim)
        .find(|line| !line.is_empty());
    failure.message = format!(
        "{service} does not {verb}: {}",
        words.unwrap_or("systemctl does not say why")
    );
    failure.argv = Manager::System.command(&[verb, &unit.name]);
    ResourceError::Failed(failure)
}
