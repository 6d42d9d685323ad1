//! `okd-play resume`: a run that did not come to its end is gone on with, by the same files and the same command line.

use super::args::{ResumeArgs, VaultArgs};
use super::kept::{self, Lineage};
use super::{End, load, run, unlock};
use crate::error::Diagnostic;
use crate::history::{self, How, Past};
use crate::run::Done;
use crate::source::SourceMap;

pub(super) fn resume(sources: &SourceMap, given: &ResumeArgs) -> End {
    let past = match &given.run {
        Some(run) => history::find(run)?,
        None => history::all()
            .into_iter()
            .find(|past| past.header.undoes.is_none())
            .ok_or_else(|| Diagnostic::new("no-run", "nothing was run from here yet"))?,
    };
    unfinished(&past)?;
    let args = kept::args(&past, &given.past)?;
    if !given.changed {
        unchanged(&past)?;
    }
    said_again(&past, &given.past.extra_vars)?;
    let mut chain = vec![past.clone()];
    while let Some(earlier) = chain.last().and_then(|past| past.header.resumes.clone()) {
        chain.push(history::find(&earlier)?);
    }
    chain.reverse();
    let lineage = Lineage {
        resumes: Some(past.id().to_owned()),
        done: Done::by(&chain),
        ..Lineage::default()
    };
    crate::report::warn(&format!("Run {} ({}) is taken up again.\n", past.id(), past.how.word()));
    run::with(sources, &args, &lineage)
}

/// Refuses what there is nothing to go on with.
fn unfinished(past: &Past) -> Result<(), Diagnostic> {
    let id = past.id();
    let (text, help) = match (past.how, &past.header.undoes, &past.header.applies) {
        (How::Running, ..) => (format!("run {id} goes on"), None),
        (How::Done, ..) => (format!("run {id} came to its end"), None),
        (_, Some(other), _) => {
            let help = format!("`okd-play undo {other}` goes on with that: what is back already is left alone");
            (format!("run {id} took run {other} back"), Some(help))
        }
        (.., Some(plan)) => {
            let plan = plan.display();
            let help = format!("`okd-play apply {plan}` goes on with that: what is done is found done");
            (format!("run {id} applied a plan that was kept"), Some(help))
        }
        _ => return Ok(()),
    };
    let help = help.unwrap_or_else(|| "`okd-play runs` lists all runs; an id says which is meant".to_owned());
    Err(Diagnostic::new("no-run", text).help(help))
}

/// Refuses to go on by other files than those by which the run began.
fn unchanged(past: &Past) -> Result<(), Diagnostic> {
    let other = past.header.sources.iter().filter(|(path, sum)| {
        let now = std::fs::read(path).map(|bytes| kept::sum(&bytes));
        now.ok().as_ref() != Some(sum)
    });
    let other: Vec<String> = other.map(|(path, _)| path.display().to_string()).collect();
    if other.is_empty() {
        return Ok(());
    }
    let text = format!("changed since run {} began: {}", past.id(), other.join(", "));
    let help =
        "`--changed` goes on all the same: what a changed step asks for is done, what is asked for as then is known";
    Err(Diagnostic::new("changed-since", text).help(help))
}

/// Asks for the variables whose values no journal keeps.
fn said_again(past: &Past, given: &[String]) -> Result<(), Diagnostic> {
    let vault = unlock::vault(&VaultArgs::default())?;
    let names = load::extra_vars(&SourceMap::default(), given, &vault).unwrap_or_default();
    let missing: Vec<&str> = past
        .header
        .asked
        .iter()
        .map(String::as_str)
        .filter(|name| !names.contains_key(*name))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let text = format!(
        "run {} was given variables on its command line, whose values are kept nowhere",
        past.id()
    );
    let words: Vec<String> = missing.iter().map(|name| format!("-e {name}=…")).collect();
    Err(Diagnostic::new("no-value", text).help(format!("give them again: {}", words.join(" "))))
}
