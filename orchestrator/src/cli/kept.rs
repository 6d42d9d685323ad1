//! What a run's journal keeps of its command line, so that the run can be taken up again: the options, and never the value
//! of a variable that was given there, since it may be a secret.

use super::args::{PastArgs, RunArgs};
use super::{again, load};
use crate::error::Diagnostic;
use crate::history::{self, Header, Journal, Past, RunId};
use crate::link::hub::{self, Hub};
use crate::link::reach::Way;
use crate::report::Report;
use crate::run::Done;
use crate::site::Site;
use crate::source::SourceMap;
use okd_agent::wire::BUILD;
use serde_json::json;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// What a run has to do with an earlier one.
#[derive(Debug, Clone, Default)]
pub(super) struct Lineage {
    /// The run that it takes up again.
    pub(super) resumes: Option<String>,
    /// The run that it takes back.
    pub(super) undoes: Option<String>,
    /// The plan that it applies.
    pub(super) applies: Option<PathBuf>,
    /// Where its files are, where that is not the folder of the process.
    pub(super) base: Option<PathBuf>,
    /// What the run that it takes up again has done.
    pub(super) done: Done,
    /// See [`crate::run::Options::left`].
    pub(super) left: BTreeMap<usize, u64>,
}

/// The run begins to change things: it gets its id and its journal, and hosts are told of it. `ledger` is its name in
/// their ledgers.
pub(super) fn begin(
    args: &RunArgs,
    ledger: u64,
    lineage: &Lineage,
    sources: &SourceMap,
    site: &Site,
    hub: &mut Hub,
    report: &mut Report,
) {
    let id = RunId::new();
    let header = Header {
        ledger,
        ..header(&id, args, lineage, sources, site)
    };
    let line = serde_json::to_value(&header).unwrap_or_default();
    let journal = Journal::begin(&id, &line).map(Arc::new);
    report.begins(id.as_str(), journal.clone());
    hub.begins(hub::Run {
        id: id.to_string(),
        by: header.by,
        since: history::moment(header.started, "%H:%M:%S UTC on %Y-%m-%d"),
        wait: args.wait_lock,
        over: history::over(),
        began: Arc::new(move |reach| {
            let login = match &reach.way {
                Way::Ssh(target) => target.user.clone(),
                Way::Local | Way::Api(_) => None,
            };
            let line = json!({
                "event": "session",
                "host": reach.host,
                "user": reach.become_user,
                "login": login,
                "local": reach.way == Way::Local,
            });
            if let Some(journal) = &journal {
                journal.write(&line);
            }
        }),
    });
}

fn header(id: &RunId, args: &RunArgs, lineage: &Lineage, sources: &SourceMap, site: &Site) -> Header {
    let mut kept = args.clone();
    let (files, values): (Vec<String>, Vec<String>) = args
        .site
        .extra_vars
        .iter()
        .cloned()
        .partition(|given| given.starts_with('@'));
    kept.site.extra_vars = files;
    if kept.site.inventory.is_empty() {
        let named = std::env::var("OKD_PLAY_INVENTORY").ok();
        kept.site.inventory.extend(named.filter(|path| !path.is_empty()));
    }
    let vault = &site.loading.loader.vault;
    let asked = load::extra_vars(&SourceMap::default(), &values, vault).map(|vars| vars.into_keys().collect());
    Header {
        event: "run".to_owned(),
        id: id.to_string(),
        started: history::seconds(),
        ledger: 0,
        by: history::who(),
        words: words(args, lineage),
        cwd: match &lineage.base {
            Some(base) => base.clone(),
            None => std::env::current_dir().unwrap_or_default(),
        },
        playbook: args.playbook.clone(),
        inventory: kept.site.inventory.clone(),
        build: BUILD.to_owned(),
        args: serde_json::to_value(&kept).unwrap_or_default(),
        asked: asked.unwrap_or_default(),
        sources: sums(sources),
        resumes: lineage.resumes.clone(),
        undoes: lineage.undoes.clone(),
        applies: lineage.applies.clone(),
    }
}

/// The command line as far as it is kept.
fn words(args: &RunArgs, lineage: &Lineage) -> Vec<String> {
    let mut words = match lineage {
        Lineage { undoes: Some(run), .. } => vec!["undo".to_owned(), run.clone()],
        Lineage {
            applies: Some(plan), ..
        } => vec!["apply".to_owned(), plan.display().to_string()],
        _ => vec!["run".to_owned(), args.playbook.display().to_string()],
    };
    words.extend(again::words(args));
    for (flag, value) in [
        ("--limit", args.site.limit.clone()),
        ("--tags", Some(args.tags.join(","))),
        ("--skip-tags", Some(args.skip_tags.join(","))),
        ("--start-at-task", args.start_at_task.clone()),
    ] {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            words.extend([flag.to_owned(), value]);
        }
    }
    words
}

/// The command line of a past run with what is said anew; the process goes to the folder where it was given.
///
/// # Errors
/// `no-run` where the journal or the folder is not what it was.
pub(super) fn args(past: &Past, anew: &PastArgs) -> Result<RunArgs, Diagnostic> {
    let header = &past.header;
    let given: Vec<String> = anew.extra_vars.iter().map(|given| absolute(given)).collect();
    std::env::set_current_dir(&header.cwd).map_err(|error| {
        Diagnostic::new("no-run", format!("{}: {error}", header.cwd.display()))
            .note(format!("run {} was begun in that folder", past.id()))
    })?;
    let mut args: RunArgs = serde_json::from_value(header.args.clone()).map_err(|error| {
        Diagnostic::new(
            "no-run",
            format!("the options of run {} cannot be read: {error}", past.id()),
        )
    })?;
    args.site.extra_vars.extend(given);
    args.check = anew.check;
    args.exit_code = false;
    args.yes = anew.yes;
    args.no_diff = anew.no_diff;
    args.full = anew.full;
    args.output = anew.output;
    args.verbose = anew.verbose;
    args.color = anew.color;
    args.wait_lock = anew.wait_lock;
    Ok(args)
}

/// `@FILE` is meant where it is typed.
fn absolute(given: &str) -> String {
    match given.strip_prefix('@').map(std::path::absolute) {
        Some(Ok(path)) => format!("@{}", path.display()),
        _ => given.to_owned(),
    }
}

/// The files that were read, with their SHA-256.
fn sums(sources: &SourceMap) -> BTreeMap<PathBuf, String> {
    let sum = |path: PathBuf| {
        let bytes = std::fs::read(&path).ok()?;
        Some((path, sum(&bytes)))
    };
    sources.paths().into_iter().filter_map(sum).collect()
}

pub(super) fn sum(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
