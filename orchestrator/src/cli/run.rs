//! `okd-play run`: plan, show, ask once, apply, report.

use super::args::{ColourArg, LinkArgs, OutputArg, RunArgs};
use super::terminal::Terminal;
use super::{End, load, print};
use crate::error::{Diagnostic, Exit};
use crate::link::hub::Hub;
use crate::link::limits::Limits;
use crate::link::ssh::Connector;
use crate::link::ssh_config::Environment;
use crate::report::{Event, Format, Pass, Report, Settings};
use crate::run::reach::Defaults;
use crate::run::{Cancel, Channels, Options, Outcome, pass};
use crate::site::{Site, Tags};
use crate::source::SourceMap;
use okd_agent::secret::Secret;
use std::io::IsTerminal;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::watch;

pub(super) fn run(sources: &SourceMap, args: &RunArgs) -> End {
    let tags = Tags {
        only: args.tags.clone(),
        skip: args.skip_tags.clone(),
    };
    let mut ask = |prompt: &crate::playbook::Prompt| {
        let default = prompt
            .default
            .as_ref()
            .map(|default| format!(" [{default}]"))
            .unwrap_or_default();
        let answer = Terminal::ask(&format!("{}{default}: ", prompt.prompt), prompt.private);
        answer.filter(|answer| !answer.is_empty())
    };
    let site = load::site(
        sources,
        &args.playbook,
        &args.site,
        tags,
        args.start_at_task.clone(),
        &mut ask,
    )?;
    if let Some(text) = super::lists::asked(&site, args) {
        crate::report::warn(&site.warnings.render(sources, settings(args).colour));
        print(&text);
        return Ok(Exit::Ok);
    }
    let interactive = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    if !args.check && !args.yes && !interactive {
        return Err(Diagnostic::new("no-terminal", "there is no terminal to ask on")
            .help("`--yes` applies without asking, `--check` only plans")
            .into());
    }
    let options = options(&args.link, args.check, !args.no_diff, args.verify)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Diagnostic::new("no-runtime", format!("cannot start threads: {error}")))?;
    let end = runtime.block_on(drive(sources, &site, args, &options));
    runtime.shutdown_timeout(std::time::Duration::from_millis(200));
    end
}

/// What the command line says of connections and of the run.
pub(super) fn options(link: &LinkArgs, check: bool, diff: bool, verify: bool) -> Result<Options, Diagnostic> {
    let become_password = match (&link.become_password_file, link.ask_become_pass) {
        (Some(path), _) => {
            let text = std::fs::read_to_string(path)
                .map_err(|error| Diagnostic::new("unreadable", format!("{}: {error}", path.display())))?;
            Some(known(Secret::new(text.trim_end_matches(['\n', '\r']))))
        }
        (None, true) => {
            let answer = Terminal::ask("BECOME password: ", true);
            let missing = || {
                Diagnostic::new(
                    "no-terminal",
                    "-K asks for a password, and there is no terminal to ask on",
                )
            };
            Some(known(Secret::new(answer.ok_or_else(missing)?)))
        }
        (None, false) => None,
    };
    Ok(Options {
        forks: link.forks.max(1),
        verify,
        check,
        diff,
        defaults: Defaults {
            user: link.user.clone(),
            private_key: link.private_key.clone(),
            connection: link.connection.clone(),
            r#become: link.r#become,
            become_user: link.become_user.clone(),
            become_password,
            ssh_common_args: link.ssh_common_args.clone(),
            ssh_extra_args: link.ssh_extra_args.clone(),
        },
        run: SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_micros() as u64),
    })
}

fn known(secret: Secret) -> Secret {
    crate::report::scrub::know(&secret);
    secret
}

async fn drive(sources: &SourceMap, site: &Site, args: &RunArgs, options: &Options) -> End {
    let (replies, mut incoming) = unbounded_channel();
    let connector = Connector::new(Limits::default(), Environment::from_process(), Some(Arc::new(Terminal)));
    let keeper = Arc::clone(site.loading.loader.vault.keeper());
    let mut hub = Hub::new(connector, args.link.transport.into(), keeper, replies);
    let cancel = cancel();
    let mut report = Report::new(sources.clone(), settings(args), site);
    let planned = one(
        site,
        Pass::Plan,
        None,
        options,
        &mut hub,
        &mut incoming,
        &cancel,
        &mut report,
    )
    .await?;
    report.plan(&planned);
    let proceed = !args.check && !planned.cancelled && planned.pending() && !planned.hopeless();
    let agreed = proceed && (args.yes || agree());
    let end = match agreed {
        true => {
            let applied = one(
                site,
                Pass::Apply,
                Some(&planned),
                options,
                &mut hub,
                &mut incoming,
                &cancel,
                &mut report,
            )
            .await?;
            let merged = planned.then(applied);
            report.links(&hub.waits());
            report.recap(&merged, true);
            exit(&merged, false)
        }
        false => {
            report.links(&hub.waits());
            report.recap(&planned, false);
            exit(&planned, args.check && args.exit_code)
        }
    };
    hub.close().await;
    Ok(end)
}

fn settings(args: &RunArgs) -> Settings {
    let colour = match args.color {
        ColourArg::Always => true,
        ColourArg::Never => false,
        ColourArg::Auto => anstream::AutoStream::choice(&std::io::stdout()) != anstream::ColorChoice::Never,
    };
    Settings {
        format: match args.output {
            OutputArg::Text => Format::Text,
            OutputArg::Json => Format::Json,
            OutputArg::Junit => Format::Junit,
        },
        colour,
        live: std::io::stderr().is_terminal() && args.output == OutputArg::Text,
        diff: !args.no_diff,
        full: args.full || !std::io::stdout().is_terminal(),
        verbose: args.verbose,
        check: args.check,
        playbook: args.playbook.clone(),
        again: super::again::words(args),
    }
}

fn agree() -> bool {
    let answer = Terminal::ask("Apply? [y/N] ", false).unwrap_or_default();
    matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")
}

/// The first Ctrl-C lets running steps finish, the second drops them.
fn cancel() -> watch::Receiver<Cancel> {
    let (sender, receiver) = watch::channel(Cancel::No);
    tokio::spawn(async move {
        for level in [Cancel::Soft, Cancel::Hard] {
            if tokio::signal::ctrl_c().await.is_err() {
                return;
            }
            let _ = sender.send(level);
        }
        sender.closed().await;
    });
    receiver
}

#[allow(
    clippy::too_many_arguments,
    reason = "one place that puts the parts of a run together"
)]
async fn one(
    site: &Site,
    which: Pass,
    prior: Option<&Outcome>,
    options: &Options,
    hub: &mut Hub,
    incoming: &mut UnboundedReceiver<crate::link::reach::LinkEvent>,
    cancel: &watch::Receiver<Cancel>,
    report: &mut Report,
) -> Result<Outcome, crate::error::Diagnostics> {
    let (events, mut told) = unbounded_channel::<Event>();
    let channels = Channels {
        links: hub,
        incoming,
        events,
        cancel: cancel.clone(),
    };
    let run = pass(site, which, prior, options, channels);
    tokio::pin!(run);
    let mut stop = cancel.clone();
    let mut told_to_stop = *stop.borrow_and_update() != Cancel::No;
    let mut tick = tokio::time::interval(std::time::Duration::from_millis(120));
    let outcome = loop {
        tokio::select! {
            biased;
            Some(event) = told.recv() => report.event(event),
            outcome = &mut run => break outcome?,
            Ok(()) = stop.changed(), if !told_to_stop => {
                told_to_stop = true;
                report.stopping();
            }
            _ = tick.tick() => report.tick(),
        }
    };
    while let Ok(event) = told.try_recv() {
        report.event(event);
    }
    Ok(outcome)
}

fn exit(outcome: &Outcome, pending: bool) -> Exit {
    if outcome.stale {
        Exit::Stale
    } else if outcome.unreachable() {
        Exit::Unreachable
    } else if outcome.failed() || outcome.cancelled {
        Exit::Failed
    } else if pending && outcome.pending() {
        Exit::Pending
    } else {
        Exit::Ok
    }
}
