//! `okd-play exec`: one command on some hosts, by the same links as a run.

use super::args::ExecArgs;
use super::{End, load, print};
use crate::error::{Diagnostic, Exit};
use crate::link::hub::Hub;
use crate::link::limits::Limits;
use crate::link::reach::LinkEvent;
use crate::link::ssh::Connector;
use crate::link::ssh_config::Environment;
use crate::report::{Event, Pass, StepStatus};
use crate::run::kept::Consent;
use crate::run::{Cancel, Channels, pass};
use crate::site::Site;
use crate::source::SourceMap;
use okd_agent::Value;
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::mpsc::unbounded_channel;
use tokio::sync::watch;

pub(super) fn exec(sources: &SourceMap, args: &ExecArgs) -> End {
    let site = site(sources, args)?;
    if site.plays.iter().all(|play| play.hosts().next().is_none()) {
        return Err(Diagnostic::new("no-hosts", format!("no host matches `{}`", args.pattern)).into());
    }
    let options = super::run::options(&args.link, false, false, false)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Diagnostic::new("no-runtime", format!("cannot start threads: {error}")))?;
    runtime.block_on(async {
        let (replies, mut incoming) = unbounded_channel::<LinkEvent>();
        let prompt = Arc::new(super::terminal::Terminal);
        let connector = Connector::new(Limits::default(), Environment::from_process(), Some(prompt));
        let keeper = Arc::clone(site.loading.loader.vault.keeper());
        let mut hub = Hub::new(connector, args.link.transport.into(), keeper, replies);
        let (events, mut told) = unbounded_channel();
        let (_keep, cancel) = watch::channel(Cancel::No);
        let channels = Channels {
            links: &mut hub,
            incoming: &mut incoming,
            events,
            cancel,
            consent: Consent::Given,
        };
        let outcome = pass(&site, Pass::Apply, None, &options, channels).await?;
        while let Ok(event) = told.try_recv() {
            if let Event::Result(result) = event {
                print(&shown(&result));
            }
        }
        hub.close().await;
        Ok(match (outcome.unreachable(), outcome.failed()) {
            (true, _) => Exit::Unreachable,
            (false, true) => Exit::Failed,
            (false, false) => Exit::Ok,
        })
    })
}

/// A playbook of one task, made of the command line.
fn site(sources: &SourceMap, args: &ExecArgs) -> Result<Site, crate::error::Diagnostics> {
    let vault = super::unlock::vault(&args.site.vault)?;
    let extra = load::extra_vars(sources, &args.site.extra_vars, &vault)?;
    let here = crate::inventory::LOCALHOST.contains(&args.pattern.as_str());
    let inventory = load::inventory(sources, &args.site.inventory, None, here, &vault)?;
    let words = serde_json::to_string(&args.command).unwrap_or_default();
    let hosts = serde_json::to_string(&args.pattern).unwrap_or_default();
    let text = format!(
        "- hosts: {hosts}\n  gather_facts: false\n  tasks:\n    - name: command\n      command:\n        argv: !unsafe {words}\n"
    );
    let file = sources.add(Path::new("command line"), text);
    load::made(
        sources,
        file,
        args.site.limit.clone(),
        &vault,
        extra,
        inventory,
        &mut |_| None,
    )
}

fn shown(result: &crate::report::StepResult) -> String {
    let mut text = String::new();
    let rc = result.result.get("rc").map(Value::to_string);
    let end = match (result.status, rc) {
        (StepStatus::Unreachable, _) => "unreachable".to_owned(),
        (_, Some(rc)) => format!("rc {rc}"),
        (status, None) => status.word().to_owned(),
    };
    let _ = writeln!(text, "{}  {end}", result.host);
    for name in ["stdout", "stderr"] {
        if let Some(Value::Str(said)) = result.result.get(name) {
            said.lines().for_each(|line| text.push_str(&format!("  {line}\n")));
        }
    }
    if result.result.get("rc").is_none() {
        result
            .msg
            .lines()
            .for_each(|line| text.push_str(&format!("  {line}\n")));
    }
    text
}
