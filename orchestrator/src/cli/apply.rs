//! `okd-play apply`: a plan that was kept, applied exactly as it was made. Everything is looked at again before anything is
//! touched, so that it is known then what is refused.

use super::args::{ApplyArgs, LinkArgs, RunArgs, SiteArgs, TransportArg};
use super::kept::{self, Lineage};
use super::run::{Talk, agree, cancel, exit, hub, in_runtime, interactive, one, options, settings};
use super::{End, load, unlock};
use crate::error::{Diagnostic, Exit};
use crate::playbook::Prompt;
use crate::report::{Pass, Report, StepResult, StepStatus};
use crate::run::kept::{Consent, Keeping, Verdicts};
use crate::run::{Options, Outcome};
use crate::saved::{Choices, Extra, Plan};
use crate::site::Site;
use crate::source::files::Files;
use crate::source::{SourceMap, in_project};
use okd_agent::wire::Request;
use std::sync::Arc;

pub(super) fn apply(sources: &SourceMap, args: &ApplyArgs) -> End {
    let plan = Plan::read(&args.plan)?;
    if !args.yes && !interactive() {
        return Err(Diagnostic::new("no-terminal", "there is no terminal to ask on")
            .help("`--yes` applies without asking")
            .into());
    }
    let choices = &plan.choices;
    sources.read_from(Files::kept(plan.files.clone(), choices.base.clone()));
    let vault = match args.vault == super::args::VaultArgs::default() {
        true => &choices.vault,
        false => &args.vault,
    };
    let keys = unlock::keys(vault)?;
    if choices.salt.is_none() && keys.is_empty() {
        return Err(
            Diagnostic::new("vault-password", "the plan was made with a vault password")
                .help("give it by `--vault-password-file FILE`, `--vault-id LABEL@FILE` or `--ask-vault-pass`")
                .into(),
        );
    }
    let from = load::From {
        vault: unlock::kept(keys, choices.salt)?,
        roles: choices.roles.clone(),
    };
    let site_args = SiteArgs {
        inventory: choices.inventory.clone(),
        extra_vars: extra(choices, args)?,
        limit: choices.limit.clone(),
        vault: vault.clone(),
    };
    let mut ask = |prompt: &Prompt| match prompt.private {
        true => super::run::asked(prompt),
        false => choices.answers.get(&prompt.name).cloned(),
    };
    let playbook = choices.base.join(&choices.playbook);
    let tags = choices.tags.clone();
    let start_at = choices.start_at.clone();
    let site = load::built(sources, from, &playbook, &site_args, tags, start_at, &mut ask)?;
    let link = link(&choices.link, &args.link);
    let options = Options {
        playbook: in_project(&playbook),
        ..options(&link, false, !args.look.no_diff, args.verify)?
    };
    tell_outdated(&plan);
    in_runtime(drive(sources, &site, args, &plan, &as_run(args, &plan, link), options))
}

async fn drive(
    sources: &SourceMap,
    site: &Site,
    args: &ApplyArgs,
    plan: &Plan,
    as_run: &RunArgs,
    mut options: Options,
) -> End {
    let (mut hub, mut incoming) = hub(site, as_run.link.transport.into());
    let cancel = cancel();
    let mut report = Report::new(sources, settings(as_run), site);
    report.adopt(plan.steps());
    options.keeping = Keeping::Plan;
    let fresh = one(
        site,
        Pass::Plan,
        None,
        &options,
        &mut hub,
        &mut incoming,
        &cancel,
        &mut report,
        Talk::default(),
    )
    .await?;
    let verdicts = Arc::new(Verdicts::of(&plan.outcome, &fresh));
    let refused = refused(&verdicts, &fresh);
    report.plan(&plan.outcome);
    report.refusals(refused.clone());
    let pending = verdicts.pending(&fresh);
    let proceed = !fresh.cancelled && !fresh.hopeless() && (pending || !refused.is_empty());
    let agreed = proceed && (args.yes || !pending || agree("Apply?"));
    let end = match agreed {
        true => {
            options.keeping = Keeping::Apply(verdicts);
            let talk = match (args.yes_unknown, interactive()) {
                (true, _) => Talk::silent(Consent::Given),
                (false, true) => Talk::asking(),
                (false, false) => Talk::silent(Consent::Withheld),
            };
            let (given, lineage) = journalled(args, plan, as_run)?;
            kept::begin(&given, options.run, &lineage, sources, site, &mut hub, &mut report);
            let mut applied = one(
                site,
                Pass::Apply,
                Some(&fresh),
                &options,
                &mut hub,
                &mut incoming,
                &cancel,
                &mut report,
                talk,
            )
            .await?;
            let failed = plan.outcome.excluded().into_iter();
            let counts = failed.filter_map(|host| Some((host.clone(), *plan.outcome.counts.get(&host)?)));
            applied.counts.extend(counts);
            let merged = fresh.then(applied);
            report.links(&hub.waits());
            report.recap(&merged, true);
            let end = exit(&merged, false);
            report.ended(&merged, end);
            if end == Exit::Ok {
                hub.say_all(&Request::Keep);
            }
            end
        }
        false => {
            report.links(&hub.waits());
            report.recap(&fresh, false);
            exit(&fresh, false)
        }
    };
    hub.close().await;
    Ok(end)
}

/// The steps that will be refused, as they are told.
fn refused(verdicts: &Verdicts, fresh: &Outcome) -> Vec<StepResult> {
    let mut all = Vec::new();
    for (key, records) in &fresh.records {
        for (index, record) in records.iter().enumerate() {
            let (Some(failure), Some(told)) = (verdicts.refusal(key, index), &record.told) else {
                continue;
            };
            all.push(StepResult {
                status: StepStatus::Refused,
                failure: Some(Box::new(failure.clone())),
                diff: Vec::new(),
                ..StepResult::clone(told)
            });
        }
    }
    all
}

/// What `-e` has to say: what the plan holds, and the secrets that it does not.
fn extra(choices: &Choices, args: &ApplyArgs) -> Result<Vec<String>, Diagnostic> {
    let mut all = Vec::new();
    let mut wanted: Vec<&String> = choices.private.iter().collect();
    for extra in &choices.extra {
        match extra {
            Extra::Text(text) => all.push(text.clone()),
            Extra::Withheld(names) => {
                let given = |name: &&String| args.extra_vars.iter().any(|text| text.contains(name.as_str()));
                if names.is_empty() && args.extra_vars.is_empty() || !names.iter().all(|name| given(&name)) {
                    let text = format!(
                        "the plan does not hold the variables `{}`: they are secret",
                        names.join("`, `")
                    );
                    return Err(
                        Diagnostic::new("withheld", text).help("give them again by `-e NAME=VALUE` or `-e @FILE`")
                    );
                }
                wanted.extend(names);
            }
        }
    }
    for text in &args.extra_vars {
        if !wanted
            .iter()
            .any(|name| text.contains(name.as_str()) || text.starts_with('@'))
        {
            let found = Diagnostic::new("not-in-plan", format!("`-e {text}` is no part of the plan"));
            return Err(
                found.help("a plan is applied as it was made: only the secrets that it does not hold are given again")
            );
        }
        all.push(text.clone());
    }
    Ok(all)
}

/// How hosts are reached: as the plan says, but for what is said now.
fn link(planned: &LinkArgs, now: &LinkArgs) -> LinkArgs {
    let asks = now.ask_become_pass || now.become_password_file.is_some();
    LinkArgs {
        transport: match now.transport {
            TransportArg::Auto => planned.transport,
            other => other,
        },
        user: now.user.clone().or_else(|| planned.user.clone()),
        private_key: now.private_key.clone().or_else(|| planned.private_key.clone()),
        connection: now.connection.clone().or_else(|| planned.connection.clone()),
        r#become: now.r#become || planned.r#become,
        become_user: now.become_user.clone().or_else(|| planned.become_user.clone()),
        ask_become_pass: now.ask_become_pass || !asks && planned.ask_become_pass,
        become_password_file: match asks {
            true => now.become_password_file.clone(),
            false => planned.become_password_file.clone(),
        },
        ssh_common_args: now.ssh_common_args.clone().or_else(|| planned.ssh_common_args.clone()),
        ssh_extra_args: now.ssh_extra_args.clone().or_else(|| planned.ssh_extra_args.clone()),
        forks: now.forks,
    }
}

/// The plan goes by what it holds, though the files have gone on.
fn tell_outdated(plan: &Plan) {
    const SHOWN: usize = 3;
    let outdated = plan.outdated();
    if outdated.is_empty() {
        return;
    }
    let base = &plan.choices.base;
    let named: Vec<String> = outdated
        .iter()
        .take(SHOWN)
        .map(|(path, gone)| {
            let path = path.strip_prefix(base).unwrap_or(path).display();
            format!("{path} {}", if *gone { "is gone" } else { "was changed" })
        })
        .collect();
    let more = match outdated.len() - named.len() {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    crate::report::warn(&format!(
        "the plan is applied as it was made, though since then {}{more}\n",
        named.join(", ")
    ));
}

/// What the run's journal keeps: the command line by which the plan was made, meant where that was given.
fn journalled(args: &ApplyArgs, plan: &Plan, as_run: &RunArgs) -> Result<(RunArgs, Lineage), Diagnostic> {
    let choices = &plan.choices;
    let mut given = as_run.clone();
    given.site.extra_vars = extra(choices, args)?;
    given.site.limit.clone_from(&choices.limit);
    let lineage = Lineage {
        applies: Some(args.plan.clone()),
        base: Some(choices.base.clone()),
        ..Lineage::default()
    };
    Ok((given, lineage))
}

/// The same as a `run`, for what is told on the way.
fn as_run(args: &ApplyArgs, plan: &Plan, link: LinkArgs) -> RunArgs {
    let choices = &plan.choices;
    RunArgs {
        site: SiteArgs {
            inventory: choices.inventory.clone(),
            vault: args.vault.clone(),
            ..SiteArgs::default()
        },
        link,
        yes: args.yes,
        wait_lock: args.wait_lock,
        ..args.look.of_run(&choices.playbook)
    }
}
