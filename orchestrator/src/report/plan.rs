//! The plan: what would change, where and why; equal changes of several hosts once; what will be restarted by it.

use super::layout::{Page, count, names, piece, width};
use super::theme::Label;
use super::{Settings, StepResult, StepStatus, step};
use crate::run::{Counts, Outcome};
use indexmap::IndexMap;
use okd_agent::diff::Change;
use std::collections::{HashMap, HashSet};

/// A step with everything that it does on some hosts alike.
struct Group<'a> {
    hosts: Vec<String>,
    items: Vec<&'a StepResult>,
}

/// Every step that has something to show, in the order of the playbook.
pub(crate) fn show(page: &mut Page, results: &[StepResult], hosts: &[String], settings: &Settings) {
    let shown: Vec<&StepResult> = results.iter().filter(|result| shows(result, settings)).collect();
    for group in groups(&shown, hosts, settings.verbose) {
        let Some(first) = group.items.first() else { continue };
        page.gap();
        let title = step::title(first, &names(&group.hosts, settings.full), page.theme().arrow());
        page.ended(&title, &[piece(Label::Dim, step::place(first))]);
        let mut said: HashSet<&str> = HashSet::new();
        for result in &group.items {
            status(page, result);
            let fresh = result.notes.iter().map(String::as_str).filter(|note| said.insert(note));
            step::body(page, result, fresh, settings);
        }
    }
}

/// What a plan tells of a step: changes and what is unknown; failures have a block of their own.
fn shows(result: &StepResult, settings: &Settings) -> bool {
    match result.status {
        StepStatus::Changed | StepStatus::Unknown => true,
        StepStatus::Ok => settings.verbose > 0 || step::says(result),
        StepStatus::Skipped => settings.verbose > 0,
        _ => false,
    }
}

/// The item, and the word for a step that is shown though it changes nothing.
fn status(page: &mut Page, result: &StepResult) {
    let word = match result.status {
        StepStatus::Ok if result.module != "debug" => "same",
        StepStatus::Skipped => "skipped",
        _ => "",
    };
    let mut line: Vec<_> = step::item(result).into_iter().collect();
    if !word.is_empty() {
        line.push(piece(Label::Dim, word));
    }
    if !line.is_empty() {
        page.row(2, &line, "");
    }
}

fn groups<'a>(shown: &[&'a StepResult], hosts: &[String], verbose: u8) -> Vec<Group<'a>> {
    let mut by_host: IndexMap<&str, IndexMap<&str, Vec<&'a StepResult>>> =
        hosts.iter().map(|host| (host.as_str(), IndexMap::new())).collect();
    for result in shown {
        let steps = by_host.entry(&result.host).or_default();
        steps.entry(&result.path).or_default().push(result);
    }
    let mut all = Vec::new();
    for path in order(by_host.values().map(|steps| steps.keys().copied())) {
        let first = all.len();
        for (host, steps) in &by_host {
            let Some(items) = steps.get(path) else { continue };
            let like = |group: &&mut Group<'a>| {
                group.items.len() == items.len()
                    && group
                        .items
                        .iter()
                        .zip(items)
                        .all(|(one, other)| step::alike(one, other, verbose))
            };
            match all.iter_mut().skip(first).find(like) {
                Some(group) => group.hosts.push((*host).to_owned()),
                None => all.push(Group {
                    hosts: vec![(*host).to_owned()],
                    items: items.clone(),
                }),
            }
        }
    }
    all
}

/// One order out of that of each host: a step comes right after the one before it on its host.
fn order<'a>(hosts: impl Iterator<Item = impl Iterator<Item = &'a str>>) -> Vec<&'a str> {
    let mut all: Vec<&str> = Vec::new();
    for steps in hosts {
        let known: HashMap<&str, usize> = all.iter().enumerate().map(|(at, path)| (*path, at)).collect();
        let mut behind = 0;
        let mut fresh: Vec<(usize, &str)> = Vec::new();
        for path in steps {
            match known.get(path) {
                Some(at) => behind = at + 1,
                None => fresh.push((behind, path)),
            }
        }
        fresh.sort_by_key(|(at, _)| *at);
        let mut merged = Vec::with_capacity(all.len() + fresh.len());
        let mut fresh = fresh.into_iter().peekable();
        for (at, path) in all.into_iter().enumerate() {
            while let Some((_, new)) = fresh.next_if(|(place, _)| *place <= at) {
                merged.push(new);
            }
            merged.push(path);
        }
        merged.extend(fresh.map(|(_, path)| path));
        all = merged;
    }
    all
}

/// `HOST will restart named (DNS zone), start nginx`: what the changes do to services.
pub(crate) fn consequences(page: &mut Page, results: &[StepResult], hosts: &[String], settings: &Settings) {
    let mut said: IndexMap<String, Vec<String>> = IndexMap::new();
    for host in hosts {
        let mut verbs: IndexMap<&str, Vec<String>> = IndexMap::new();
        for result in results.iter().filter(|result| result.host == *host) {
            acts(result, &mut verbs);
        }
        let text: Vec<String> = verbs
            .iter()
            .map(|(verb, units)| format!("{verb} {}", units.join(", ")))
            .collect();
        if !text.is_empty() {
            said.entry(text.join("; ")).or_default().push(host.clone());
        }
    }
    if !said.is_empty() {
        page.gap();
    }
    for (text, hosts) in said {
        let hosts = names(&hosts, settings.full);
        let line = [
            piece(Label::Host, hosts.as_str()),
            piece(Label::Changed, format!("  will {text}")),
        ];
        match page.theme().width.is_some_and(|columns| width(&line) > columns) {
            true => {
                page.line(&line[..1]);
                page.prose(2, Label::Changed, &format!("will {text}"));
            }
            false => page.line(&line),
        }
    }
}

fn acts<'a>(result: &'a StepResult, verbs: &mut IndexMap<&'a str, Vec<String>>) {
    if !result.show_diff || !matches!(result.status, StepStatus::Changed | StepStatus::Unknown) {
        return;
    }
    let mut add = |verb: &'a str, unit: &str, why: String| {
        let units = verbs.entry(verb).or_default();
        let known = units.iter().any(|known| known.split(' ').next() == Some(unit));
        if !known {
            units.push(if why.is_empty() {
                unit.to_owned()
            } else {
                format!("{unit} ({why})")
            });
        }
    };
    for change in &result.diff {
        match change {
            Change::Act(act) => {
                let Some((verb, unit)) = act.split_once(' ').filter(|(_, unit)| !unit.contains(' ')) else {
                    continue;
                };
                if matches!(verb, "restart" | "reload" | "start" | "stop") {
                    add(verb, unit, why(result));
                }
            }
            Change::Field { of, name, after, .. } if name == "state" && after == "started" => {
                add("start", of, String::new());
            }
            Change::Field { of, name, after, .. } if name == "state" && after == "stopped" => {
                add("stop", of, String::new());
            }
            _ => {}
        }
    }
    if result.handler.is_some() && result.status == StepStatus::Unknown && result.diff.is_empty() {
        let units = verbs.entry("perhaps run").or_default();
        let name = format!("\"{}\"", result.task);
        if !units.contains(&name) {
            units.push(name);
        }
    }
}

/// Why a service is told of a change.
fn why(result: &StepResult) -> String {
    match &result.handler {
        Some(by) if by.len() > 2 => format!("{} and {} more", by[0], by.len() - 1),
        Some(by) => by.join(" and "),
        None if result.diff.iter().any(|change| matches!(change, Change::Text(_))) => "configuration".to_owned(),
        None => String::new(),
    }
}

/// `Plan  HOST 14 to change, 1 unknown, 23 same`: hosts with equal counts once.
pub(crate) fn totals(page: &mut Page, outcome: &Outcome, settings: &Settings) {
    let mut equal: IndexMap<String, Vec<String>> = IndexMap::new();
    for (host, counts) in &outcome.counts {
        equal.entry(words(counts)).or_default().push(host.clone());
    }
    let parts: Vec<_> = equal
        .into_iter()
        .map(|(words, hosts)| (names(&hosts, settings.full), words))
        .collect();
    page.gap();
    let mut line = vec![piece(Label::Title, "Plan"), piece(Label::Plain, "      ")];
    for (number, (hosts, words)) in parts.iter().enumerate() {
        line.push(piece(Label::Plain, if number == 0 { "" } else { "     " }));
        line.push(piece(Label::Host, hosts.as_str()));
        line.push(piece(Label::Plain, format!(" {words}")));
    }
    if width(&line) <= page.theme().columns() {
        return page.line(&line);
    }
    page.line(&line[..1]);
    for (hosts, words) in parts {
        let line = [
            piece(Label::Plain, "  "),
            piece(Label::Host, hosts.as_str()),
            piece(Label::Plain, format!(" {words}")),
        ];
        match page.theme().width.is_some_and(|columns| width(&line) > columns) {
            true => {
                page.prose(2, Label::Host, &hosts);
                page.prose(4, Label::Plain, &words);
            }
            false => page.line(&line),
        }
    }
}

fn words(counts: &Counts) -> String {
    let all = [
        (counts.changed, "to change"),
        (counts.unknown, "unknown"),
        (counts.ok, "same"),
        (counts.skipped, "skipped"),
        (counts.failed, "failed"),
        (counts.unreachable, "unreachable"),
        (counts.rescued, "rescued"),
        (counts.ignored, "ignored"),
        (counts.blocked, "blocked"),
        (counts.refused, "refused"),
    ];
    let some: Vec<String> = all
        .iter()
        .filter(|(number, word)| *number > 0 || *word == "to change")
        .map(|(number, word)| format!("{number} {word}"))
        .collect();
    some.join(", ")
}

/// The line that begins a pass.
pub(crate) fn title(hosts: usize, steps: usize, settings: &Settings, doing: &str) -> String {
    let playbook = settings
        .playbook
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    format!(
        "okd-play {}   {playbook}   {}, {}   {doing}",
        env!("CARGO_PKG_VERSION"),
        count(hosts, "host"),
        count(steps, "step")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_stands_behind_the_one_before_it_on_its_host() {
        let hosts = [vec!["a", "b", "d"], vec!["a", "c", "d"], vec!["z", "d", "e"]];
        assert_eq!(
            order(hosts.iter().map(|steps| steps.iter().copied())),
            ["z", "a", "c", "b", "d", "e"]
        );
    }
}
