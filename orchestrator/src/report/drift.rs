//! What has drifted, as a person or a program reads it.

use super::change::{self, Look};
use super::layout::{Page, Piece, count, piece};
use super::lines;
use super::theme::Label;
use crate::drift::{Drift, Finding, Word, prune};
use crate::template::moment;
use serde_json::{Map, Value, json};

/// For people: a block for each thing that was found, a line for each host.
pub(super) fn show(page: &mut Page, drift: &Drift, look: Look) {
    let shown = |finding: &&Finding| finding.word != Word::Pending;
    for finding in drift.findings.iter().filter(shown) {
        page.gap();
        block(page, finding, look);
    }
    let pending: Vec<&Finding> = drift.findings.iter().filter(|finding| !shown(finding)).collect();
    if !pending.is_empty() {
        page.gap();
        let number = count(pending.len(), "step");
        page.prose(
            0,
            Label::Dim,
            &format!("{number} of the playbook, new or changed since, not applied yet: `okd-play run` shows them."),
        );
    }
    page.gap();
    for (host, same) in &drift.hosts {
        let mut line = vec![piece(Label::Host, host.as_str())];
        for (word, label) in WORDS {
            let number = drift.count(host, word);
            if number > 0 {
                line.push(piece(label, format!("  {number} {}", words(word))));
            }
        }
        line.push(piece(Label::Plain, format!("  {same} as it was left")));
        page.line(&line);
    }
}

const WORDS: [(Word, Label); 7] = [
    (Word::Unreachable, Label::Failed),
    (Word::Failed, Label::Failed),
    (Word::Changed, Label::Changed),
    (Word::Left, Label::Changed),
    (Word::Owed, Label::Changed),
    (Word::Unsure, Label::Unknown),
    (Word::Pending, Label::Dim),
];

fn words(word: Word) -> &'static str {
    match word {
        Word::Left => "left the playbook",
        Word::Pending => "not applied yet",
        other => other.word(),
    }
}

fn block(page: &mut Page, finding: &Finding, look: Look) {
    let label = WORDS
        .iter()
        .find(|(word, _)| *word == finding.word)
        .map(|(_, label)| *label);
    let what = match &finding.thing {
        Some(thing) => prune::shown(thing),
        None => finding.task.clone(),
    };
    let title: [Piece; 3] = [
        piece(Label::Host, finding.host.as_str()),
        piece(Label::Plain, format!("  {what}  ")),
        piece(label.unwrap_or(Label::Plain), words(finding.word)),
    ];
    page.ended(&title, &[piece(Label::Dim, finding.place.as_str())]);
    if let Some(since) = finding.since {
        let by = match &finding.thing {
            Some(_) if !finding.task.is_empty() => format!(" by \"{}\"", finding.task),
            _ => String::new(),
        };
        let said = match finding.word {
            Word::Owed => format!("owed since {}", moment(since)),
            _ => format!("left by okd-play on {}{by}", moment(since)),
        };
        page.prose(2, Label::Dim, &said);
    }
    page.prose(2, Label::Plain, &finding.note);
    change::show(page, &finding.diff, &finding.module, look);
}

/// For programs: one object a line.
pub(super) fn lines(drift: &Drift) -> String {
    let mut text = String::new();
    for finding in &drift.findings {
        let line = json!({
            "event": "drift",
            "host": finding.host,
            "what": finding.word.word(),
            "thing": finding.thing.as_ref().map(|thing| json!({"kind": thing.kind, "name": prune::name(thing)})),
            "task": finding.task,
            "module": finding.module,
            "path": finding.place,
            "since": finding.since.map(|since| since / 1_000_000),
            "diff": finding.diff.iter().map(lines::change).collect::<Vec<_>>(),
            "msg": finding.note,
        });
        text.push_str(&format!("{line}\n"));
    }
    let hosts: Map<String, Value> = drift
        .hosts
        .iter()
        .map(|(host, same)| {
            let mut counts = Map::from_iter([("same".to_owned(), json!(same))]);
            counts.extend(WORDS.map(|(word, _)| (word.word().to_owned(), json!(drift.count(host, word)))));
            (host.clone(), Value::Object(counts))
        })
        .collect();
    text.push_str(&format!(
        "{}\n",
        json!({"event": "drifted", "hosts": hosts, "drift": drift.any()})
    ));
    text
}
