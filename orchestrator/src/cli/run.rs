//! `okd-play run`: plan, show, ask once, apply, report.

use super::args::{LinkArgs, OutputArg, RunArgs};
use super::kept::{self, Lineage};
use super::terminal::Terminal;
use super::{End, load, print, undo};
use crate::error::{Diagnostic, Exit};
use crate::link::hub::Hub;
use crate::link::limits::Limits;
use crate::link::reach::{LinkEvent, Transport};
use crate::link::ssh::Connector;
use crate::link::ssh_config::Environment;
use crate::report::{Event, Format, Pass, Report, Settings};
use crate::run::kept::{Consent, Keeping, Question};
use crate::run::reach::Defaults;
use crate::run::{Cancel, Channels, Done, Options, Outcome, pass};
use crate::site::{Site, Tags};
use crate::source::{SourceMap, in_project};
use okd_agent::secret::Secret;
use okd_agent::wire::Request;
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub(super) fn run(sources: &SourceMap, args: &RunArgs) -> End {
    with(sources, args, &Lineage::default())
}

/// Runs a playbook that has to do with an earlier run.
pub(super) fn with(sources: &SourceMap, args: &RunArgs, lineage: &Lineage) -> End {
    let tags = Tags {
        only: args.tags.clone(),
        skip: args.skip_tags.clone(),
    };
    let site = load::site(
        sources,
        &args.playbook,
        &args.site,
        tags,
        args.start_at_task.clone(),
        &mut asked,
    )?;
    if let Some(text) = super::lists::asked(&site, args) {
        crate::report::warn(&site.warnings.render(sources, settings(args).colour));
        print(&text);
        return Ok(Exit::Ok);
    }
    may_ask(args)?;
    begin(sources, &site, args, lineage)
}

/// Runs a site with the options of a command line.
pub(super) fn begin(sources: &SourceMap, site: &Site, args: &RunArgs, lineage: &Lineage) -> End {
    let options = Options {
        done: lineage.done.clone(),
        left: lineage.left.clone(),
        playbook: in_project(&args.playbook),
        ..options(&args.link, args.check, !args.no_diff, args.verify)?
    };
    in_runtime(drive(sources, site, args, &options, lineage))
}

/// Drives what waits for hosts to its end.
pub(super) fn in_runtime(drive: impl Future<Output = End>) -> End {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Diagnostic::new("no-runtime", format!("cannot start threads: {error}")))?;
    let end = runtime.block_on(drive);
    runtime.shutdown_timeout(std::time::Duration::from_millis(200));
    end
}

/// Refuses to begin what would have to ask where nobody can answer.
pub(super) fn may_ask(args: &RunArgs) -> Result<(), Diagnostic> {
    if !args.check && !args.yes && !interactive() {
        return Err(Diagnostic::new("no-terminal", "there is no terminal to ask on")
            .help("`--yes` applies without asking, `--check` only plans"));
    }
    Ok(())
}

/// The answer to a question of `vars_prompt`.
pub(super) fn asked(prompt: &crate::playbook::Prompt) -> Option<String> {
    let default = prompt
        .default
        .as_ref()
        .map(|default| format!(" [{default}]"))
        .unwrap_or_default();
    let answer = Terminal::ask(&format!("{}{default}: ", prompt.prompt), prompt.private);
    answer.filter(|answer| !answer.is_empty())
}

/// Whether somebody sits at a terminal.
pub(super) fn interactive() -> bool {
    std::io::stdin().is_terminal() && std::io::stdout().is_terminal()
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
        done: Done::default(),
        left: BTreeMap::new(),
        playbook: String::new(),
        survey: false,
        keeping: Keeping::No,
    })
}

fn known(secret: Secret) -> Secret {
    crate::report::scrub::know(&secret);
    secret
}

/// Where steps go, and where their ends come from.
pub(super) fn hub(site: &Site, transport: Transport) -> (Hub, UnboundedReceiver<LinkEvent>) {
    let (replies, incoming) = unbounded_channel();
    let connector = Connector::new(Limits::default(), Environment::from_process(), Some(Arc::new(Terminal)));
    let keeper = Arc::clone(site.loading.loader.vault.keeper());
    (Hub::new(connector, transport, keeper, replies), incoming)
}

async fn drive(sources: &SourceMap, site: &Site, args: &RunArgs, options: &Options, lineage: &Lineage) -> End {
    let transport = match lineage.undoes {
        Some(_) => Transport::Ssh,
        None => args.link.transport.into(),
    };
    let (mut hub, mut incoming) = hub(site, transport);
    let cancel = cancel();
    let how = Settings {
        undoes: lineage.undoes.clone(),
        ..settings(args)
    };
    let mut report = Report::new(sources, how, site);
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
    report.plan(&planned);
    if lineage.undoes.is_some() {
        report.beside_plan(&undo::left(&planned));
    }
    let proceed = !args.check && !planned.cancelled && planned.pending() && !planned.hopeless();
    let agreed = proceed && (args.yes || agree("Apply?"));
    let end = match agreed {
        true => {
            kept::begin(args, options.run, lineage, sources, site, &mut hub, &mut report);
            let applied = one(
                site,
                Pass::Apply,
                Some(&planned),
                options,
                &mut hub,
                &mut incoming,
                &cancel,
                &mut report,
                Talk::default(),
            )
            .await?;
            let merged = planned.clone().then(applied);
            report.links(&hub.waits());
            report.recap(&merged, true);
            let end = exit(&merged, false);
            report.ended(&merged, end);
            end
        }
        false => {
            report.links(&hub.waits());
            report.recap(&planned, false);
            exit(&planned, args.check && args.exit_code)
        }
    };
    if end == Exit::Ok && !args.check && agreed == proceed {
        hub.say_all(&Request::Keep);
    }
    hub.close().await;
    Ok(match end {
        Exit::Ok if lineage.undoes.is_some() && undo::moved(&planned) => Exit::Stale,
        end => end,
    })
}

pub(super) fn settings(args: &RunArgs) -> Settings {
    Settings {
        format: match args.output {
            OutputArg::Text => Format::Text,
            OutputArg::Json => Format::Json,
            OutputArg::Junit => Format::Junit,
        },
        colour: args.color.on(),
        live: std::io::stderr().is_terminal() && args.output == OutputArg::Text,
        diff: !args.no_diff,
        full: args.full || !std::io::stdout().is_terminal(),
        verbose: args.verbose,
        check: args.check,
        quiet: false,
        playbook: args.playbook.clone(),
        undoes: None,
        again: super::again::words(args),
    }
}

/// Whether a person agrees to what was shown.
pub(super) fn agree(question: &str) -> bool {
    let answer = Terminal::ask(&format!("{question} [y/N] "), false).unwrap_or_default();
    matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")
}

/// The first Ctrl-C (or SIGTERM, or SIGHUP) lets running steps finish, the second drops them.
pub(super) fn cancel() -> watch::Receiver<Cancel> {
    let (sender, receiver) = watch::channel(Cancel::No);
    tokio::spawn(async move {
        let [Ok(mut int), Ok(mut term), Ok(mut hup)] =
            [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(signal)
        else {
            return;
        };
        for level in [Cancel::Soft, Cancel::Hard] {
            tokio::select! {
                _ = int.recv() => {}
                _ = term.recv() => {}
                _ = hup.recv() => {}
            }
            let _ = sender.send(level);
        }
        sender.closed().await;
    });
    receiver
}

/// Who is asked about steps that a kept plan did not know.
pub(super) struct Talk {
    consent: Consent,
    questions: Option<UnboundedReceiver<Question>>,
    answers: UnboundedSender<(u64, bool)>,
}

impl Default for Talk {
    fn default() -> Self {
        Talk::silent(Consent::Given)
    }
}

impl Talk {
    /// Nobody.
    pub(super) fn silent(consent: Consent) -> Talk {
        Talk {
            consent,
            questions: None,
            answers: unbounded_channel().0,
        }
    }

    /// The person at the terminal.
    pub(super) fn asking() -> Talk {
        let (ask, questions) = unbounded_channel();
        let (answers, given) = unbounded_channel();
        Talk {
            consent: Consent::Asked { ask, answers: given },
            questions: Some(questions),
            answers,
        }
    }
}

async fn next(questions: &mut Option<UnboundedReceiver<Question>>) -> Option<Question> {
    match questions {
        Some(questions) => questions.recv().await,
        None => std::future::pending().await,
    }
}

/// The answer of the person who is being asked; never where nobody is.
async fn answer(asking: &mut Option<JoinHandle<(u64, bool)>>) -> Option<(u64, bool)> {
    match asking {
        Some(asking) => asking.await.ok(),
        None => std::future::pending().await,
    }
}

#[allow(
    clippy::too_many_arguments,
    reason = "one place that puts the parts of a run together"
)]
pub(super) async fn one(
    site: &Site,
    which: Pass,
    prior: Option<&Outcome>,
    options: &Options,
    hub: &mut Hub,
    incoming: &mut UnboundedReceiver<LinkEvent>,
    cancel: &watch::Receiver<Cancel>,
    report: &mut Report,
    talk: Talk,
) -> Result<Outcome, crate::error::Diagnostics> {
    let (events, mut told) = unbounded_channel::<Event>();
    let channels = Channels {
        links: hub,
        incoming,
        events,
        cancel: cancel.clone(),
        consent: talk.consent,
    };
    let run = pass(site, which, prior, options, channels);
    tokio::pin!(run);
    let mut stop = cancel.clone();
    let mut told_to_stop = *stop.borrow_and_update() != Cancel::No;
    let mut questions = talk.questions;
    let mut asking: Option<JoinHandle<(u64, bool)>> = None;
    let mut tick = tokio::time::interval(std::time::Duration::from_millis(120));
    let outcome = loop {
        tokio::select! {
            biased;
            Some(event) = told.recv(), if asking.is_none() => report.event(event),
            Some(question) = next(&mut questions), if asking.is_none() => {
                report.question(&question.step);
                let id = question.id;
                asking = Some(tokio::task::spawn_blocking(move || (id, agree("It was unknown. Apply it?"))));
            }
            given = answer(&mut asking), if asking.is_some() => {
                asking = None;
                if let Some(given) = given {
                    let _ = talk.answers.send(given);
                }
            }
            outcome = &mut run => break outcome?,
            Ok(()) = stop.changed(), if !told_to_stop => {
                told_to_stop = true;
                report.stopping();
            }
            _ = tick.tick(), if asking.is_none() => report.tick(),
        }
    };
    while let Ok(event) = told.try_recv() {
        report.event(event);
    }
    Ok(outcome)
}

pub(super) fn exit(outcome: &Outcome, pending: bool) -> Exit {
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
