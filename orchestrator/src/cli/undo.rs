//! `okd-play undo`: what a run changed on its hosts is put in place again, by a plan that is shown first. It is a run
//! itself, of a playbook that is made here, and can be taken back like any other.

use super::args::UndoArgs;
use super::kept::{self, Lineage};
use super::{End, load, run};
use crate::control::API_KINDS;
use crate::control::api::Json;
use crate::control::back::Back;
use crate::error::{Diagnostic, Exit};
use crate::history::{self, How, Past, Session, Step};
use crate::run::Outcome;
use crate::source::SourceMap;
use okd_agent::Value;
use okd_agent::resource::undo::MOVED;
use std::collections::{BTreeMap, BTreeSet};
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
    let here = |host: &str| crate::inventory::LOCALHOST.contains(&host);
    let done = done(&past);
    let all_here = done.iter().all(|deed| here(deed.host()));
    let inventory = load::inventory(sources, &args.site.inventory, args.playbook.parent(), all_here, &vault)?;
    let known = |deed: &Done| here(deed.host()) || inventory.host(deed.host()).is_some();
    let (done, gone): (Vec<Done>, Vec<Done>) = done.into_iter().partition(known);
    for host in gone.iter().map(Done::host).collect::<BTreeSet<_>>() {
        crate::report::warn(&format!(
            "warning: {host} is not in the inventory any more; nothing is taken back there\n"
        ));
    }
    let limit = match &args.site.limit {
        Some(pattern) => Some(inventory.pattern(pattern, None)?),
        None => None,
    };
    let meant = |deed: &Done| {
        limit
            .as_ref()
            .is_none_or(|all| all.iter().any(|host| host.as_str() == deed.host()))
    };
    let mut done: Vec<Done> = done.into_iter().filter(meant).collect();
    if !given.force {
        keep_made(&mut done);
    }
    tell_interfaces(&done, given.force);
    let plays = plays(&done, given.force);
    let text = playbook(&past, given.force, &plays);
    if text.is_empty() {
        super::print(&match done.is_empty() {
            true => format!("Run {} changed nothing on hosts that are known here.\n", past.id()),
            false => format!("Nothing of run {} is taken back.\n", past.id()),
        });
        return Ok(Exit::Ok);
    }
    let file = sources.add(Path::new("undo"), text);
    let limit = args.site.limit.clone();
    let site = load::made(sources, file, limit, &vault, extra, inventory, &mut run::asked)?;
    let lineage = Lineage {
        undoes: Some(past.id().to_owned()),
        left: if given.force { BTreeMap::new() } else { prints(&plays) },
        ..Lineage::default()
    };
    run::begin(sources, &site, &args, &lineage)
}

/// What a run did that may be taken back.
enum Done {
    /// It was on a host, which knows itself what was changed.
    There(Session),
    /// It changed something through an interface.
    Through(Box<Step>, Back),
}

impl Done {
    fn host(&self) -> &str {
        match self {
            Done::There(session) => &session.host,
            Done::Through(step, _) => &step.host,
        }
    }
}

/// What a run did, in order. A host was come to when the first step that changed it ended, if any did.
fn done(past: &Past) -> Vec<Done> {
    let through = |module: &str| API_KINDS.iter().any(|kind| kind.names.contains(&module));
    let (mut all, mut begun): (Vec<Done>, Vec<(usize, Session)>) = (Vec::new(), Vec::new());
    for line in past.lines() {
        match line["event"].as_str() {
            Some("session") => begun.extend(serde_json::from_value(line).ok().map(|session| (all.len(), session))),
            Some("result") => {
                let Ok(step) = serde_json::from_value::<Step>(line) else {
                    continue;
                };
                let changed = step.status == "changed";
                let back = match &step.back {
                    None if through(&step.module) => unknown(&step),
                    back => back.clone(),
                };
                if changed && back.is_none() {
                    let own = begun.extract_if(.., |(_, session)| session.host == step.host);
                    all.extend(own.map(|(_, session)| Done::There(session)));
                }
                all.extend(back.map(|back| Done::Through(Box::new(step), back)));
            }
            _ => {}
        }
    }
    for (at, session) in begun.into_iter().rev() {
        all.insert(at, Done::There(session));
    }
    all
}

/// Of a step through an interface that has kept no way back, why it has none; `None` where it did nothing.
fn unknown(step: &Step) -> Option<Back> {
    let touched = step.failure["kept"] == "" && (step.hidden || !step.diff.is_empty());
    match step.status.as_str() {
        "changed" => Some(Back::not("the build that did it kept no way back")),
        "failed" | "ignored" | "rescued" if touched => Some(Back::not("it failed, and how far it came is not known")),
        _ => None,
    }
}

/// A machine that the run made and that stays keeps its options and its firewall.
fn keep_made(done: &mut [Done]) {
    let made: Vec<Json> = done
        .iter()
        .filter_map(|deed| match deed {
            Done::Through(_, back) if back.args.is_none() => back.forced.clone(),
            _ => None,
        })
        .collect();
    let same = |one: &Json, other: &Json, name: &str| !one[name].is_null() && one[name] == other[name];
    for deed in done {
        if let Done::Through(_, back) = deed
            && let Some(args) = &back.args
            && made
                .iter()
                .any(|made| same(made, args, "api_host") && ["name", "vmid"].iter().any(|name| same(made, args, name)))
        {
            *back = Back::not("its machine stays");
        }
    }
}

/// A piece of the playbook.
enum Play<'a> {
    /// For a way in which the run was on hosts.
    There(&'a Session, Vec<&'a str>),
    /// For a step through an interface.
    Through(&'a Step, &'a Back, &'a Json),
}

/// The last one first. What a host was changed in is taken back as a whole, where the run came to the host first: what was done
/// through an interface before is what the host stands on, and what was done later may need the host.
fn plays(done: &[Done], force: bool) -> Vec<Play<'_>> {
    let mut all: Vec<Play<'_>> = Vec::new();
    let mut met: Vec<&Session> = Vec::new();
    let mut first = vec![false; done.len()];
    for (deed, first) in done.iter().zip(&mut first) {
        if let Done::There(session) = deed
            && !met.contains(&session)
        {
            met.push(session);
            *first = true;
        }
    }
    for (deed, first) in done.iter().zip(first).rev() {
        match deed {
            Done::There(session) if first => {
                let alike = |play: &&mut Play<'_>| matches!(play, Play::There(other, _) if (&other.user, &other.login, other.local) == (&session.user, &session.login, session.local));
                let open = all.iter_mut().rev().take_while(|play| matches!(play, Play::There(..)));
                match open.filter(alike).last() {
                    Some(Play::There(_, hosts)) => hosts.push(&session.host),
                    _ => all.push(Play::There(session, vec![&session.host])),
                }
            }
            Done::There(_) => {}
            Done::Through(step, back) => {
                all.extend(by(back, force).map(|args| Play::Through(step, back, args)));
            }
        }
    }
    all
}

/// The arguments that take a step back.
fn by(back: &Back, force: bool) -> Option<&Json> {
    back.forced.as_ref().filter(|_| force).or(back.args.as_ref())
}

fn word(text: &str) -> String {
    Json::from(text).to_string()
}

/// See [`crate::run::Options::left`].
fn prints(plays: &[Play<'_>]) -> BTreeMap<usize, u64> {
    let print = |(at, play): (usize, &Play<'_>)| match play {
        Play::Through(_, back, _) => Some((at, back.left_print()?)),
        Play::There(..) => None,
    };
    plays.iter().enumerate().filter_map(print).collect()
}

fn playbook(past: &Past, force: bool, plays: &[Play<'_>]) -> String {
    let mut text = String::new();
    for play in plays {
        match play {
            Play::There(session, hosts) => {
                let hosts: Vec<&str> = hosts.iter().rev().copied().collect();
                there(&mut text, past, force, session, &hosts);
            }
            Play::Through(step, back, args) => through(&mut text, step, back, args),
        }
    }
    text
}

fn there(text: &mut String, past: &Past, force: bool, session: &Session, hosts: &[&str]) {
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

/// What was secret is asked for, each answer once.
fn through(text: &mut String, step: &Step, back: &Back, args: &Json) {
    let _ = writeln!(text, "- hosts: [{}]\n  gather_facts: false", word(&step.host));
    if !back.asks.is_empty() {
        text.push_str("  vars_prompt:\n");
    }
    for ask in back.asks.values() {
        let (name, prompt) = (word(&ask.name), word(&ask.prompt));
        let _ = writeln!(
            text,
            "    - {{name: {name}, prompt: {prompt}, private: {}}}",
            ask.private
        );
    }
    let name = match &step.item {
        Some(item) => format!("undo of \"{}\" ({item})", step.task),
        None => format!("undo of \"{}\"", step.task),
    };
    let _ = writeln!(
        text,
        "  tasks:\n    - name: !unsafe {}\n      {}:",
        word(&name),
        back.module
    );
    for (name, value) in args.as_object().into_iter().flatten() {
        let _ = writeln!(text, "        {}: !unsafe {value}", word(name));
    }
    for (argument, ask) in &back.asks {
        let _ = writeln!(
            text,
            "        {}: {}",
            word(argument),
            word(&format!("{{{{ {} }}}}", ask.name))
        );
    }
}

/// What was done through interfaces and is not taken back.
fn tell_interfaces(done: &[Done], force: bool) {
    let through = done.iter().filter_map(|deed| match deed {
        Done::Through(step, back) => Some((step, back.stays(force))),
        Done::There(_) => None,
    });
    let lines = through.filter(|(_, stays)| !stays.is_empty()).map(|(step, stays)| {
        let item = step.item.as_ref().map(|item| format!(" ({item})")).unwrap_or_default();
        let Step {
            host,
            module,
            task,
            path,
            ..
        } = step.as_ref();
        format!("  {host}  {module} \"{task}\"{item}  {path}: {}\n", stays.join(", "))
    });
    let lines: BTreeSet<String> = lines.collect();
    if !lines.is_empty() {
        let lines: Vec<String> = lines.into_iter().collect();
        crate::report::warn(&format!(
            "Not taken back, since it was done through an interface\n{}",
            lines.concat()
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::history::Header;
    use crate::source::yaml;
    use serde_json::json;

    fn through(task: &str, back: Back) -> Done {
        let step = Step {
            host: "localhost".to_owned(),
            task: task.to_owned(),
            ..Step::default()
        };
        Done::Through(Box::new(step), back)
    }

    fn by(task: &str) -> Done {
        let asks = json!({"api_token_secret": {"name": "token", "prompt": "Secret?", "private": true}});
        let back = json!({"module": "proxmox_vm", "args": {"name": "{{ x }}"}, "asks": asks});
        through(task, serde_json::from_value(back).unwrap())
    }

    fn there(host: &str) -> Done {
        Done::There(Session {
            host: host.to_owned(),
            ..Session::default()
        })
    }

    /// The names of the tasks, with the hosts of those on hosts.
    fn order(done: &[Done]) -> Vec<String> {
        let name = |play: &Play<'_>| match play {
            Play::There(_, hosts) => hosts.iter().rev().copied().collect::<Vec<_>>().join(" "),
            Play::Through(step, ..) => step.task.clone(),
        };
        plays(done, false).iter().map(name).collect()
    }

    #[test]
    fn the_last_is_taken_back_first_and_what_a_host_stands_on_last() {
        let run = [
            by("machine"),
            there("a"),
            there("b"),
            by("object"),
            there("a"),
            by("login"),
        ];
        assert_eq!(order(&run), ["login", "object", "a b", "machine"]);
        let run = [there("a"), by("card"), there("b")];
        assert_eq!(order(&run), ["b", "card", "a"]);
        let left = [through("keys", Back::never("proxmox_sendkey")), there("a")];
        assert_eq!(order(&left), ["a"]);
    }

    #[test]
    fn what_is_literal_stays_so_and_a_secret_is_asked_for() {
        let past = Past {
            path: "x".into(),
            header: Header::default(),
            how: How::Done,
            code: None,
            seconds: None,
            hosts: BTreeMap::new(),
        };
        let done = [by("a \"machine\"")];
        let text = playbook(&past, false, &plays(&done, false));
        let sources = SourceMap::default();
        let file = sources.add(Path::new("undo"), text.clone());
        let play = yaml::parse(&sources, file).unwrap().to_value();
        let play = &play.as_list().unwrap()[0];
        let prompt = &play.get("vars_prompt").unwrap().as_list().unwrap()[0];
        assert_eq!(prompt.get("name").unwrap().to_string(), "token");
        let task = &play.get("tasks").unwrap().as_list().unwrap()[0];
        assert_eq!(task.get("name").unwrap().to_string(), "undo of \"a \"machine\"\"");
        let args = task.get("proxmox_vm").unwrap();
        assert_eq!(args.get("api_token_secret").unwrap().to_string(), "{{ token }}");
        assert!(text.contains("\"name\": !unsafe \"{{ x }}\""), "{text}");
    }
}
