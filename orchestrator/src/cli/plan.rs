//! `okd-play plan` and `okd-play show`: a plan that is kept in a file, and what it says.

use super::args::{LookArgs, PlanArgs, RunArgs, ShowArgs, ShowFormat, SiteArgs};
use super::run::{Talk, cancel, exit, hub, in_runtime, one, options, settings};
use super::{End, load, print, unlock};
use crate::error::{Diagnostic, Exit};
use crate::graph::build::Graph;
use crate::graph::drawing;
use crate::playbook::Prompt;
use crate::report::{Pass, Report, html, kept, scrub};
use crate::run::Options;
use crate::run::kept::Keeping;
use crate::saved::{Choices, Extra, Made, Plan};
use crate::site::{Site, Tags};
use crate::source::files::Files;
use crate::source::{SourceMap, in_project};
use crate::vault::Keeper;
use okd_agent::secret::Secrets;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

pub(super) fn plan(sources: &SourceMap, args: &PlanArgs) -> End {
    sources.read_from(Files::remembered());
    let base = std::env::current_dir()
        .map_err(|error| Diagnostic::new("no-folder", format!("the working directory: {error}")))?;
    let mut choices = choices(args, &base);
    let keys = unlock::keys(&args.site.vault)?;
    choices.salt = keys.is_empty().then(salt).transpose()?;
    let vault = unlock::kept(keys, choices.salt)?;
    let keeper = Arc::clone(vault.keeper());
    let from = load::From {
        vault,
        roles: choices.roles.clone(),
    };
    let site_args = SiteArgs {
        inventory: choices.inventory.clone(),
        ..args.site.clone()
    };
    let mut ask = |prompt: &Prompt| {
        let answer = super::run::asked(prompt).or_else(|| prompt.default.clone());
        match (&answer, prompt.private) {
            (_, true) => choices.private.push(prompt.name.clone()),
            (Some(answer), false) => drop(choices.answers.insert(prompt.name.clone(), answer.clone())),
            (None, false) => {}
        }
        answer
    };
    let playbook = base.join(&args.playbook);
    let tags = choices.tags.clone();
    let site = load::built(
        sources,
        from,
        &playbook,
        &site_args,
        tags,
        args.start_at_task.clone(),
        &mut ask,
    )?;
    choices.extra = extra(sources, &args.site.extra_vars, &keeper, &choices.private);
    let options = Options {
        keeping: Keeping::Plan,
        playbook: in_project(&playbook),
        ..options(&args.link, false, !args.look.no_diff, false)?
    };
    in_runtime(drive(sources, &site, args, &options, choices, &keeper))
}

async fn drive(
    sources: &SourceMap,
    site: &Site,
    args: &PlanArgs,
    options: &Options,
    choices: Choices,
    keeper: &Keeper,
) -> End {
    let began = Instant::now();
    let (mut hub, mut incoming) = hub(site, args.link.transport.into());
    let cancel = cancel();
    let mut report = Report::new(sources, settings(&as_run(args)), site);
    let planned = one(
        site,
        Pass::Plan,
        None,
        options,
        &mut hub,
        &mut incoming,
        &cancel,
        &mut report,
        Talk::default(),
    )
    .await?;
    hub.close().await;
    report.plan(&planned);
    let end = exit(&planned, args.exit_code);
    if planned.cancelled || planned.hopeless() {
        report.recap(&planned, false);
        return Ok(end);
    }
    let title = args.playbook.display().to_string();
    let drawing = drawing::inline(&Graph::site(site)?, site, &title);
    let mut plan = Plan {
        made: Made {
            at: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| since.as_secs()),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            seconds: began.elapsed().as_secs_f64(),
        },
        files: sources.disk().sights(),
        outcome: planned.clone(),
        drawing,
        choices,
    };
    let plain = plain(sources, keeper, &plan.choices.base);
    plan.clean(keeper, &plain)?;
    plan.write(&args.out)?;
    report.recap(&planned, false);
    report.kept(&args.out);
    Ok(end)
}

/// The plan's own part of the command line; paths are made absolute, since it may be applied elsewhere.
fn choices(args: &PlanArgs, base: &Path) -> Choices {
    let absolute = |path: &PathBuf| base.join(path);
    let inventory = load::named(&args.site.inventory).into_iter();
    let mut vault = args.site.vault.clone();
    let usual = std::env::var_os("ANSIBLE_VAULT_PASSWORD_FILE").filter(|path| !path.is_empty());
    if vault.vault_password_file.is_empty() {
        vault.vault_password_file.extend(usual.map(PathBuf::from));
    }
    vault.vault_password_file = vault.vault_password_file.iter().map(absolute).collect();
    vault.vault_id = vault.vault_id.iter().map(|given| labelled(given, base)).collect();
    let mut link = args.link.clone();
    link.private_key = link.private_key.as_ref().map(absolute);
    link.become_password_file = link.become_password_file.as_ref().map(absolute);
    Choices {
        playbook: args.playbook.clone(),
        base: base.to_path_buf(),
        inventory: inventory
            .map(|named| match named.contains(',') {
                true => named,
                false => base.join(named).display().to_string(),
            })
            .collect(),
        limit: args.site.limit.clone(),
        tags: Tags {
            only: args.tags.clone(),
            skip: args.skip_tags.clone(),
        },
        start_at: args.start_at_task.clone(),
        roles: load::roles().iter().map(absolute).collect(),
        vault,
        link,
        ..Choices::default()
    }
}

/// `[LABEL@]FILE` with an absolute path; questions stay questions.
fn labelled(given: &str, base: &Path) -> String {
    let (label, file) = given
        .split_once('@')
        .map_or((None, given), |(label, file)| (Some(label), file));
    let file = match file {
        "prompt" | "prompt_ask_vault_pass" => file.to_owned(),
        file => base.join(file).display().to_string(),
    };
    label.map_or(file.clone(), |label| format!("{label}@{file}"))
}

fn salt() -> Result<[u8; 32], Diagnostic> {
    let mut salt = [0; 32];
    getrandom::fill(&mut salt)
        .map_err(|_| Diagnostic::new("kept-plan", "the system gives no random bytes"))
        .map(|()| salt)
}

/// What `-e` gave; what is secret is not kept.
fn extra(sources: &SourceMap, given: &[String], keeper: &Keeper, private: &[String]) -> Vec<Extra> {
    let plain = keeper.plain();
    let secret = |text: &String| {
        let known = |file: &crate::source::FileId| sources.file(*file).text == *text;
        plain.iter().any(known) || crate::report::scrub::clean(text) != text.as_str() || Secrets::marked(text)
    };
    let names = |text: &String| {
        let words = crate::playbook::task::words(text);
        let named = words
            .iter()
            .filter_map(|word| word.split_once('=').map(|(name, _)| name.to_owned()));
        let mut names: Vec<String> = named.collect();
        if names.is_empty() {
            names.extend(private.iter().filter(|name| text.contains(name.as_str())).cloned());
        }
        names
    };
    let kept = given.iter().map(|text| match text.starts_with('@') {
        true => Extra::Text(absolute_file(text)),
        false if secret(text) => Extra::Withheld(names(text)),
        false => Extra::Text(text.clone()),
    });
    kept.collect()
}

fn absolute_file(given: &str) -> String {
    let path = given.trim_start_matches('@');
    let absolute = std::path::absolute(path).unwrap_or_else(|_| PathBuf::from(path));
    format!("@{}", absolute.display())
}

/// Files in which passwords stand in plain.
fn plain(sources: &SourceMap, keeper: &Keeper, base: &Path) -> HashSet<PathBuf> {
    let files = keeper.plain().into_iter();
    files.map(|file| base.join(&sources.file(file).path)).collect()
}

/// The same as a `run` that only plans, for what is told on the way.
fn as_run(args: &PlanArgs) -> RunArgs {
    RunArgs {
        site: args.site.clone(),
        link: args.link.clone(),
        check: true,
        ..args.look.of_run(&args.playbook)
    }
}

pub(super) fn show(args: &ShowArgs) -> End {
    let plan = Plan::read(&args.plan)?;
    let text = match args.format {
        ShowFormat::Text => {
            let look = LookArgs {
                full: args.full || args.out.is_some(),
                verbose: args.verbose,
                color: args.color,
                ..LookArgs::default()
            };
            let settings = settings(&look.of_run(&plan.choices.playbook));
            let width = args.out.is_none().then(crate::report::columns).flatten();
            kept::text(&plan, &settings, width)
        }
        ShowFormat::Json => format!("{:#}\n", kept::object(&plan)),
        ShowFormat::Html => html::page(&plan),
    };
    match &args.out {
        None => print(&text),
        Some(path) => std::fs::write(path, scrub::clean(&text).as_bytes())
            .map_err(|error| Diagnostic::new("unwritable", format!("{}: {error}", path.display())))?,
    }
    Ok(Exit::Ok)
}
