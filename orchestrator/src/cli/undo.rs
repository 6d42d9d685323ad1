//! `okd-play undo`: what a run changed on its hosts is put in place again, by a plan that is shown first. It is a run
//! itself, of a playbook that is made here, and can be taken back like any other.

use super::args::UndoArgs;
use super::kept::{self, Lineage};
use super::{End, load, run};
use crate::control::API_KINDS;
use crate::error::{Diagnostic, Exit};
use crate::history::{self, How, Past, Session};
use crate::run::Outcome;
use crate::source::SourceMap;
use okd_agent::Value;
use okd_agent::resource::undo::MOVED;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

pub(super) fn undo(sources: &SourceMap, given: &UndoArgs) -> End {
    let past = history::find(&given.run)?;
    if past.how == How::Running {
        let text = format!("run {} goes on; it cannot be taken back yet", past.id());
        return Err(Diagnostic::new("no-run", text).into());
    }
    let mut args = kept::args(&past, &given.past)?;
    args.site.limit.clone_from(&given.limit);
    args.tags.clear();
    args.skip_tags.clear();
    args.start_at_task = None;
    run::may_ask(&args)?;
    let vault = super::unlock::vault(&args.site.vault)?;
    let extra = load::extra_vars(sources, &args.site.extra_vars, &vault)?;
    let local = |session: &Session| crate::inventory::LOCALHOST.contains(&session.host.as_str());
    let here = past.sessions().iter().all(local);
    let inventory = load::inventory(sources, &args.site.inventory, args.playbook.parent(), here, &vault)?;
    let known = |session: &Session| local(session) || inventory.host(&session.host).is_some();
    let (sessions, gone): (Vec<Session>, Vec<Session>) = past.sessions().into_iter().partition(known);
    for host in gone
        .iter()
        .map(|session| session.host.as_str())
        .collect::<BTreeSet<_>>()
    {
        crate::report::warn(&format!(
            "warning: {host} is not in the inventory any more; nothing is taken back there\n"
        ));
    }
    tell_interfaces(&past);
    if sessions.is_empty() {
        super::print(&format!(
            "Run {} changed nothing on hosts that are known here.\n",
            past.id()
        ));
        return Ok(Exit::Ok);
    }
    let file = sources.add(Path::new("undo"), playbook(&past, given.force, &sessions));
    let site = load::made(sources, file, args.site.limit.clone(), &vault, extra, inventory)?;
    let lineage = Lineage {
        undoes: Some(past.id().to_owned()),
        ..Lineage::default()
    };
    run::begin(sources, &site, &args, &lineage)
}

/// A play for each way in which the run was on its hosts, the last one first.
fn playbook(past: &Past, force: bool, sessions: &[Session]) -> String {
    let mut groups: Vec<(&Session, Vec<&str>)> = Vec::new();
    for session in sessions.iter().rev() {
        let alike = |(other, _): &&mut (&Session, Vec<&str>)| {
            (&other.user, &other.login, other.local) == (&session.user, &session.login, session.local)
        };
        match groups.iter_mut().find(alike) {
            Some((_, hosts)) => hosts.push(&session.host),
            None => groups.push((session, vec![&session.host])),
        }
    }
    let word = |text: &str| serde_json::Value::from(text).to_string();
    let mut text = String::new();
    for (session, mut hosts) in groups {
        hosts.reverse();
        let hosts: Vec<String> = hosts.iter().map(|host| word(host)).collect();
        let _ = writeln!(text, "- hosts: [{}]\n  gather_facts: false", hosts.join(", "));
        let _ = writeln!(text, "  become: {}", session.user.is_some());
        if let Some(user) = &session.user {
            let _ = writeln!(text, "  become_user: !unsafe {}", word(user));
        }
        if session.local {
            text.push_str("  connection: local\n");
        }
        if let Some(login) = &session.login {
            let _ = writeln!(text, "  vars: {{ansible_user: !unsafe {}}}", word(login));
        }
        let name = match &session.user {
            Some(user) => format!("undo of {} as {user}", past.id()),
            None => format!("undo of {}", past.id()),
        };
        let (name, run) = (word(&name), word(past.id()));
        let _ = writeln!(
            text,
            "  tasks:\n    - name: !unsafe {name}\n      okd.undo: {{run: {run}, force: {force}, ledger: {}}}",
            past.header.ledger
        );
    }
    text
}

/// What was done through interfaces is not taken back.
fn tell_interfaces(past: &Past) {
    let through = |module: &str| API_KINDS.iter().any(|kind| kind.names.contains(&module));
    let done = past
        .steps()
        .into_iter()
        .filter(|step| step.status == "changed" && through(&step.module));
    let lines: BTreeSet<String> = done
        .map(|step| format!("{}  {} \"{}\"  {}", step.host, step.module, step.task, step.path))
        .collect();
    if !lines.is_empty() {
        let lines: Vec<String> = lines.into_iter().collect();
        crate::report::warn(&format!(
            "Not taken back, since it was done through an interface:\n  {}\n",
            lines.join("\n  ")
        ));
    }
}

/// What the plan of an undo leaves as it is.
pub(super) fn left(planned: &Outcome) -> String {
    let mut lines: Vec<String> = all(planned)
        .map(|(host, what, why)| format!("  {host}  {what}: {why}\n"))
        .collect();
    lines.sort();
    lines.dedup();
    match lines.is_empty() {
        true => String::new(),
        false => format!("Not taken back\n{}", lines.concat()),
    }
}

/// Whether something is left because somebody has changed it since.
pub(super) fn moved(planned: &Outcome) -> bool {
    all(planned).any(|(_, _, why)| why.starts_with(MOVED))
}

fn all(planned: &Outcome) -> impl Iterator<Item = (&str, &str, &str)> {
    planned.records.iter().flat_map(|((_, host), records)| {
        let lists = records.iter().filter_map(|record| record.result.get("left")?.as_list());
        lists.flatten().filter_map(move |entry| {
            let text = |name: &str| entry.get(name).and_then(Value::as_str);
            Some((host.as_str(), text("what")?, text("why")?))
        })
    })
}
