//! The swap itself: every file in place, the service told and watched, or everything as it was.

use super::checker::check;
use super::unit::Unit;
use super::watch::{listens, serves};
use super::{Content, FileSet, LIVE, State, Tell, live};
use crate::ledger::owed_mark;
use crate::path::AbsPath;
use crate::resource::file::make_directories;
use crate::resource::layout::has_selinux;
use crate::resource::systemd::Manager;
use crate::resource::{Failure, ResourceError};
use crate::system::{Action, Alter, Answer, Effect, FileWrite, Probe, Removal, System, SystemError};
use crate::value::Map;

/// Brings a service from one state to another; where that fails, back.
///
/// # Errors
/// The checker's refusal, or why the service does not run on the new set, with what is in place now.
pub fn apply(set: &FileSet, now: &State, want: &State, world: &dyn System) -> Result<Map, ResourceError> {
    let rewritten = now.rewritten(want).next().is_some();
    if rewritten {
        check(set, now.unit.active(), world)?;
    }
    let told = rewritten || now.owed;
    if told {
        owe(&now.unit.name, world)?;
    }
    let done = write_all(now, want, world).and_then(|()| bring(set, now, want, told, world));
    match done {
        Ok(()) => {}
        Err(ResourceError::System(error)) if matches!(*error, SystemError::Unknown(_) | SystemError::Lost(_)) => {
            return Err(error.into());
        }
        Err(error) if rewritten => return Err(put_back(set, now, want, error, world)),
        Err(error) => return Err(error),
    }
    if told {
        world.remove(&owed_mark(&now.unit.name), Removal::File)?;
    }
    if now.unit.enabled() != want.unit.enabled() {
        let verb = if want.unit.enabled() { "enable" } else { "disable" };
        want.unit.command(verb, &want.unit, world)?;
    }
    Ok(Map::new())
}

/// Between the swap and the service's being told stands a mark: a run that was cut there is taken up by the next.
fn owe(unit: &str, world: &dyn System) -> Result<(), ResourceError> {
    let mark = owed_mark(unit);
    if let Some(folder) = mark.parent() {
        make_directories(&folder, 0o700, world)?;
    }
    Ok(world.write(&FileWrite::new(mark, Vec::new()))?)
}

fn write_all(now: &State, want: &State, world: &dyn System) -> Result<(), ResourceError> {
    let mut written = Vec::new();
    for (path, wanted) in &want.files {
        match (now.content(path), wanted) {
            (here, Some(wanted)) if here.is_none_or(|here| here.bytes != wanted.bytes) => {
                put(path, wanted, world)?;
                written.push(path.as_str());
            }
            (Some(here), Some(wanted)) if here != wanted => world.alter(path, &attributes(wanted))?,
            (Some(_), None) => world.remove(path, Removal::File)?,
            _ => {}
        }
    }
    Ok(label(&written, world)?)
}

fn attributes(content: &Content) -> Alter {
    let (owner, group) = (Some(content.owner.clone()), Some(content.group.clone()));
    Alter {
        mode: Some(content.mode),
        owner,
        group,
        mtime: None,
    }
}

fn put(path: &AbsPath, content: &Content, world: &dyn System) -> Result<(), ResourceError> {
    // A folder that a package of the plan brings is not there yet.
    if let Some(folder) = path.parent().filter(|_| world.promised().is_empty()) {
        make_directories(&folder, 0o755, world)?;
    }
    Ok(world.write(&FileWrite {
        mode: Some(content.mode),
        owner: Some(content.owner.clone()),
        group: Some(content.group.clone()),
        ..FileWrite::new(path.clone(), content.bytes.clone())
    })?)
}

/// Gives files the label of their place; a file that was renamed into it has its folder's.
fn label(paths: &[&str], world: &dyn System) -> Result<(), SystemError> {
    if paths.is_empty() || !has_selinux(world)? {
        return Ok(());
    }
    let argv: Vec<&str> = std::iter::once("restorecon").chain(paths.iter().copied()).collect();
    world.act(&Action::new(&argv, Effect::none())).map(|_| ())
}

/// Tells the service, and watches that it does what its files say.
fn bring(set: &FileSet, now: &State, want: &State, told: bool, world: &dyn System) -> Result<(), ResourceError> {
    let verb = match (now.unit.active(), want.unit.active()) {
        (false, true) => "start",
        (true, false) => "stop",
        (true, true) if told => set.tell.word(),
        (false, false) if told && matches!(set.tell, Tell::Run(_)) => set.tell.word(),
        _ => return Ok(()),
    };
    let mut after = want.unit.clone();
    after.seen.file.clone_from(&now.unit.seen.file);
    let told = |error| retold(error, set.service, verb, &after);
    let answer = match set.tell {
        Tell::Run(argv) if verb == set.tell.word() => {
            return tell(argv, set, &after, world).map_err(|error| with_journal(error, &after, world));
        }
        _ => after.command(verb, &after, world).map_err(told)?,
    };
    if answer.predicted || !want.unit.active() {
        return Ok(());
    }
    after.settle(world).map_err(told)?;
    let fails = |sentence: String| with_journal(ResourceError::message(sentence), &after, world);
    listens(set.service, &set.listeners, world)?.map_err(fails)?;
    serves(&set.served, world)?.map_err(fails)
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

/// Adds the unit's last journal lines to a failure.
fn with_journal(error: ResourceError, unit: &Unit, world: &dyn System) -> ResourceError {
    let mut failure = match error {
        ResourceError::Failed(failure) => failure,
        ResourceError::System(error) => Box::new(Failure::from(*error)),
    };
    let argv = ["journalctl", "-u", &unit.name, "-n", "20", "--no-pager", "-o", "cat"];
    if let Ok(answer) = world.probe(&Probe::new(format!("journal:{}", unit.name), &argv)) {
        failure.journal = answer.text().lines().map(str::to_owned).collect();
    }
    ResourceError::Failed(failure)
}

/// Puts the old set back after a failure, and the service onto it where it ran.
fn put_back(set: &FileSet, now: &State, want: &State, error: ResourceError, world: &dyn System) -> ResourceError {
    let mut failure = match error {
        ResourceError::Failed(failure) => failure,
        ResourceError::System(error) => Box::new(Failure::from(*error)),
    };
    failure.kept = match restore(set, now, want, world) {
        Ok(()) if now.unit.active() => format!("the old set was put back and {} is running on it", set.service),
        Ok(()) => format!(
            "the old set was put back; {} did not run before and does not now",
            set.service
        ),
        Err(trouble) => format!("putting the old set back failed too: {trouble}"),
    };
    ResourceError::Failed(failure)
}

fn paths_any(state: &State) -> bool {
    state.files.iter().any(|(_, content)| content.is_some())
}

fn restore(set: &FileSet, now: &State, want: &State, world: &dyn System) -> Result<(), ResourceError> {
    let old = State {
        files: want
            .files
            .iter()
            .map(|(path, _)| (path.clone(), now.content(path).cloned()))
            .collect(),
        ..now.clone()
    };
    for (path, content) in &old.files {
        match content {
            Some(content) if want.content(path) != Some(content) => put(path, content, world)?,
            None => world.remove(path, Removal::File)?,
            Some(_) => {}
        }
    }
    let paths: Vec<&str> = old
        .files
        .iter()
        .filter(|(_, content)| content.is_some())
        .map(|(path, _)| path.as_str())
        .collect();
    label(&paths, world)?;
    if let Tell::Run(argv) = set.tell {
        if now.unit.active() || paths_any(&old) {
            tell(argv, set, &now.unit, world)?;
        } else if want.unit.active() {
            now.unit.command("stop", &now.unit, world)?;
        }
    } else if now.unit.active() {
        let verb = if set.tell == Tell::Reload {
            "reload-or-restart"
        } else {
            "restart"
        };
        now.unit.command(verb, &now.unit, world)?;
        now.unit.settle(world)?;
    } else {
        now.unit.command("stop", &now.unit, world)?;
    }
    Ok(world.remove(&owed_mark(&now.unit.name), Removal::File)?)
}
