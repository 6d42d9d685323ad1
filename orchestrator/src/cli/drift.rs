//! `okd-play drift`: what has changed on hosts behind okd-play's back, what has left the playbook, and its removal.

use super::args::{DriftArgs, OutputArg};
use super::terminal::Terminal;
use super::{End, load, run};
use crate::drift::{Asked, Drift, Fate, Left, Word, of_entry, prune};
use crate::error::{Diagnostic, Diagnostics, Exit};
use crate::link::hub::Hub;
use crate::link::limits::Limits;
use crate::link::reach::{Address, LinkEvent, Links};
use crate::link::ssh::Connector;
use crate::link::ssh_config::Environment;
use crate::playbook::Playbook;
use crate::report::{Event, Format, Pass, Report, Settings, StepResult, StepStatus};
use crate::run::kept::Consent;
use crate::run::{Cancel, Channels, Options, Outcome, pass};
use crate::site::{Site, Tags, Wanted};
use crate::source::{SourceMap, in_project, yaml};
use okd_agent::Value;
use okd_agent::ledger::{Entry, Row, Thing};
use okd_agent::wire::Request;
use std::collections::HashSet;
use std::io::IsTerminal;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::watch;

/// A host's ledger is told within so long.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) fn drift(sources: &SourceMap, args: &DriftArgs) -> End {
    let interactive = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    if args.prune && !args.check && !args.yes && !interactive {
        return Err(Diagnostic::new("no-terminal", "there is no terminal to ask on")
            .help("`--yes` removes without asking, `--check` only plans")
            .into());
    }
    let mut none = |_: &crate::playbook::Prompt| None;
    let mut site = load::site(sources, &args.playbook, &args.site, Tags::default(), None, &mut none)?;
    site.contact_all();
    let options = Options {
        playbook: in_project(&args.playbook),
        survey: true,
        ..run::options(&args.link, true, !args.no_diff, false)?
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Diagnostic::new("no-runtime", format!("cannot start threads: {error}")))?;
    let end = runtime.block_on(drive(sources, &site, args, &options));
    runtime.shutdown_timeout(Duration::from_millis(200));
    end
}

/// The hosts, and what they say.
struct Hosts {
    hub: Hub,
    incoming: UnboundedReceiver<LinkEvent>,
    cancel: watch::Receiver<Cancel>,
}

impl Hosts {
    /// A plan without a word, but for what `told` makes of its events.
    async fn plan(
        &mut self,
        site: &Site,
        options: &Options,
        mut told: impl FnMut(Event),
    ) -> Result<(Outcome, Vec<StepResult>), Diagnostics> {
        let (events, mut incoming) = unbounded_channel::<Event>();
        let channels = Channels {
            links: &mut self.hub,
            incoming: &mut self.incoming,
            events,
            cancel: self.cancel.clone(),
            consent: Consent::Given,
        };
        let mut results = Vec::new();
        let mut take = |event: Event| {
            if let Event::Result(result) = &event {
                results.push((**result).clone());
            }
            told(event);
        };
        let run = pass(site, Pass::Plan, None, options, channels);
        tokio::pin!(run);
        let outcome = loop {
            tokio::select! {
                biased;
                Some(event) = incoming.recv() => take(event),
                outcome = &mut run => break outcome?,
            }
        };
        while let Ok(event) = incoming.try_recv() {
            take(event);
        }
        Ok((outcome, results))
    }

    /// The ledgers of all sessions that answer.
    async fn ledgers(&mut self) -> Vec<(Address, Vec<Entry>)> {
        let mut open: HashSet<Address> = self.hub.sessions().cloned().collect();
        self.hub.say_all(&Request::Ledger);
        let mut ledgers = Vec::new();
        while !open.is_empty() {
            match tokio::time::timeout(PATIENCE, self.incoming.recv()).await {
                Ok(Some(LinkEvent::Ledger { address, entries })) => {
                    open.remove(&address);
                    ledgers.push((address, entries));
                }
                Ok(Some(LinkEvent::Down { address, .. })) => {
                    open.remove(&address);
                }
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => break,
            }
        }
        ledgers.sort_by(|(one, _), (other, _)| one.cmp(other));
        ledgers
    }
}

async fn drive(sources: &SourceMap, site: &Site, args: &DriftArgs, options: &Options) -> End {
    let (replies, incoming) = unbounded_channel();
    let connector = Connector::new(Limits::default(), Environment::from_process(), Some(Arc::new(Terminal)));
    let keeper = Arc::clone(site.loading.loader.vault.keeper());
    let mut hosts = Hosts {
        hub: Hub::new(connector, args.link.transport.into(), keeper, replies),
        incoming,
        cancel: run::cancel(),
    };
    let mut report = Report::new(sources, settings(args, true), site);
    let (outcome, results) = hosts.plan(site, options, |event| report.event(event)).await?;
    let ledgers = hosts.ledgers().await;
    let playbooks = playbooks(sources, site, options);
    let walked: HashSet<String> = outcome.counts.keys().cloned().collect();
    let asked = Asked {
        playbooks: &playbooks,
        hosts: &walked,
        results: &results,
        outcome: &outcome,
        ledgers: &ledgers,
        place: &|result| {
            let place = result.path.clone();
            place
                .rsplit_once(':')
                .map_or(place.clone(), |(line, _)| line.to_owned())
        },
    };
    let mut left = asked.left();
    looked_at(&mut hosts, sources, site, &mut left, options).await?;
    let mut drift = Drift {
        findings: asked.findings(),
        ..Drift::default()
    };
    for one in left.iter().filter(|one| one.fate != Fate::Gone) {
        let note = match &one.fate {
            Fate::Stays(why) => format!("{why}; `--prune` leaves it as it is"),
            _ => "`--prune` removes it".to_owned(),
        };
        drift
            .findings
            .push(of_entry(Word::Left, &one.address, &one.entry, note));
    }
    drift.hosts = asked.same(&drift);
    report.drift(&drift);
    let end = match args.prune && !outcome.cancelled {
        true => pruned(&mut hosts, sources, site, args, left, &playbooks, options).await?,
        false => None,
    };
    hosts.hub.close().await;
    Ok(end.unwrap_or(if outcome.unreachable() {
        Exit::Unreachable
    } else if outcome.failed() || outcome.cancelled {
        Exit::Failed
    } else if drift.any() {
        Exit::Pending
    } else {
        Exit::Ok
    }))
}

/// The names of the playbook and of all that it imports.
fn playbooks(sources: &SourceMap, site: &Site, options: &Options) -> Vec<String> {
    let plays = site
        .plays
        .iter()
        .map(|play| in_project(&sources.file(play.play.span.file).path));
    let mut names: Vec<String> = std::iter::once(options.playbook.clone()).chain(plays).collect();
    names.dedup();
    names
}

/// What has left is looked at: what is not there any more is gone.
async fn looked_at(
    hosts: &mut Hosts,
    sources: &SourceMap,
    site: &Site,
    left: &mut [Left],
    options: &Options,
) -> Result<(), Diagnostics> {
    let made = prune::look(left);
    if made.steps.is_empty() {
        return Ok(());
    }
    hosts.hub.forget();
    let look = made_site(sources, site, &made.text)?;
    let quiet = Options {
        playbook: String::new(),
        survey: false,
        ..options.clone()
    };
    let (_, results) = hosts.plan(&look, &quiet, |_| {}).await?;
    for result in results {
        let Some(one) = made.steps.get(&result.path).and_then(|at| left.get_mut(*at)) else {
            continue;
        };
        let told = |name: &str| result.result.get(name).map(Value::to_string);
        let exists = result.result.get("stat").and_then(|stat| stat.get("exists"));
        let there = exists.and_then(Value::to_bool) != Some(false);
        match (&one.fate, result.status) {
            (Fate::Goes, StepStatus::Changed | StepStatus::Unknown) => {}
            (Fate::Goes, StepStatus::Ok)
                if one.entry.thing.kind == Thing::PATH && told("state").as_deref() != Some("absent") =>
            {
                one.fate = Fate::Stays("there is something in it".to_owned());
            }
            (Fate::Goes, StepStatus::Ok) => one.fate = Fate::Gone,
            (Fate::Goes, _) => one.fate = Fate::Stays(format!("it cannot be looked at: {}", result.msg)),
            (_, _) if !there => one.fate = Fate::Gone,
            _ => {}
        }
    }
    Ok(())
}

/// A site of a playbook that was made, on the hosts of another one.
fn made_site(sources: &SourceMap, site: &Site, text: &str) -> Result<Site, Diagnostics> {
    let file = sources.add(Path::new("what has left the playbook"), text.to_owned());
    let plays = site.loading.loader.parsed(&yaml::parse(sources, file)?, &site.dir)?;
    let book = Playbook {
        path: site.dir.join("-"),
        plays,
    };
    let wanted = Wanted {
        extra: (*site.loading.extra).clone(),
        ..Wanted::default()
    };
    Site::build(site.loading.clone(), site.inventory.again()?, &book, &wanted)
}

/// Plans, shows, asks and removes, and lets go of what stays; how that ended, or `None` where there was nothing to be done.
async fn pruned(
    hosts: &mut Hosts,
    sources: &SourceMap,
    site: &Site,
    args: &DriftArgs,
    left: Vec<Left>,
    playbooks: &[String],
    options: &Options,
) -> Result<Option<Exit>, Diagnostics> {
    let made = prune::playbook(&left);
    let removed = match made.steps.is_empty() {
        true => None,
        false => Some(removed(hosts, sources, site, args, &made, options).await?),
    };
    match &removed {
        Some(Removed::Not(end)) => return Ok(*end),
        None if args.check || left.is_empty() => return Ok(None),
        _ => {}
    }
    for (at, one) in left.into_iter().enumerate() {
        let step = made.steps.iter().find(|(_, of)| **of == at).map(|(path, _)| path);
        let done = match (&removed, step) {
            (Some(Removed::Done(outcome)), Some(path)) => went_well(outcome, path, &one.address.host),
            _ => true,
        };
        if done {
            let release = Request::Release(vec![Row::of(&one.entry.thing)], playbooks.to_vec());
            hosts.hub.say(&one.address, release);
        }
    }
    Ok(Some(match removed {
        Some(Removed::Done(outcome)) => run::exit(&outcome, false),
        _ => Exit::Ok,
    }))
}

/// How a removal ended.
enum Removed {
    /// It was applied.
    Done(Box<Outcome>),
    /// It was not, since it was not asked for or refused, or could not be planned.
    Not(Option<Exit>),
}

async fn removed(
    hosts: &mut Hosts,
    sources: &SourceMap,
    site: &Site,
    args: &DriftArgs,
    made: &prune::Made,
    options: &Options,
) -> Result<Removed, Diagnostics> {
    hosts.hub.forget();
    let site = made_site(sources, site, &made.text)?;
    let options = Options {
        playbook: String::new(),
        survey: false,
        check: args.check,
        ..options.clone()
    };
    let mut report = Report::new(sources, settings(args, false), &site);
    let (planned, _) = hosts.plan(&site, &options, |event| report.event(event)).await?;
    report.plan(&planned);
    let fails = planned.failed() || planned.unreachable();
    if args.check
        || planned.cancelled
        || planned.hopeless()
        || (planned.pending() && !(args.yes || run::agree("Apply?")))
    {
        report.recap(&planned, false);
        return Ok(Removed::Not(fails.then(|| run::exit(&planned, false))));
    }
    if !planned.pending() {
        report.recap(&planned, false);
        return Ok(Removed::Done(Box::new(planned)));
    }
    let (events, mut told) = unbounded_channel::<Event>();
    let channels = Channels {
        links: &mut hosts.hub,
        incoming: &mut hosts.incoming,
        events,
        cancel: hosts.cancel.clone(),
        consent: Consent::Given,
    };
    let applied = pass(&site, Pass::Apply, Some(&planned), &options, channels).await?;
    while let Ok(event) = told.try_recv() {
        report.event(event);
    }
    let outcome = planned.then(applied);
    report.recap(&outcome, true);
    Ok(Removed::Done(Box::new(outcome)))
}

fn went_well(outcome: &Outcome, path: &str, host: &str) -> bool {
    let records = outcome.records.get(&(path.to_owned(), host.to_owned()));
    let good = |status: StepStatus| matches!(status, StepStatus::Ok | StepStatus::Changed);
    records.is_some_and(|items| !items.is_empty() && items.iter().all(|record| good(record.status)))
}

fn settings(args: &DriftArgs, quiet: bool) -> Settings {
    Settings {
        format: match args.output {
            OutputArg::Json => Format::Json,
            _ => Format::Text,
        },
        colour: args.color.on(),
        live: std::io::stderr().is_terminal() && args.output == OutputArg::Text,
        diff: !args.no_diff,
        full: args.full || !std::io::stdout().is_terminal(),
        verbose: 0,
        check: args.check || !args.prune,
        quiet,
        undoes: None,
        playbook: args.playbook.clone(),
        again: Vec::new(),
    }
}
