//! `okd-play runs`: what was run from here, by its journals.

use super::args::{RunsArgs, RunsOutput};
use super::{End, print};
use crate::error::Exit;
use crate::history::{self, Past, Step};
use serde_json::json;
use std::fmt::Write;
use unicode_width::UnicodeWidthStr;

pub(super) fn runs(args: &RunsArgs) -> End {
    match (&args.run, args.output) {
        (None, RunsOutput::Text) => print(&table(&history::all())),
        (None, RunsOutput::Json) => history::all()
            .iter()
            .for_each(|past| print(&format!("{}\n", object(past)))),
        (Some(run), RunsOutput::Text) => print(&steps(&history::find(run)?)),
        (Some(run), RunsOutput::Json) => history::find(run)?.lines().for_each(|line| print(&format!("{line}\n"))),
    }
    Ok(Exit::Ok)
}

/// One run as an object.
fn object(past: &Past) -> serde_json::Value {
    let header = &past.header;
    json!({
        "id": header.id,
        "started": history::moment(header.started, "%Y-%m-%dT%H:%M:%SZ"),
        "by": header.by,
        "playbook": header.playbook,
        "words": header.words,
        "hosts": past.hosts,
        "how": past.how.word(),
        "code": past.code,
        "elapsed_s": past.seconds,
        "resumes": header.resumes,
        "undoes": header.undoes,
        "applies": header.applies,
    })
}

/// All runs, a line each, the newest first.
fn table(all: &[Past]) -> String {
    if all.is_empty() {
        return "Nothing was run from here yet.\n".to_owned();
    }
    let mut rows = vec![["RUN", "BEGAN (UTC)", "WHAT", "BY", "HOSTS", "CHANGED", "FAILED", "END"].map(str::to_owned)];
    for past in all {
        let failed = past.count("failed") + past.count("unreachable");
        rows.push([
            past.id().to_owned(),
            history::moment(past.header.started, "%Y-%m-%d %H:%M"),
            what(past),
            past.header.by.clone(),
            past.hosts.len().to_string(),
            past.count("changed").to_string(),
            failed.to_string(),
            past.how.word().to_owned(),
        ]);
    }
    columns(&rows, &[4, 5, 6])
}

/// What a run was about.
fn what(past: &Past) -> String {
    let header = &past.header;
    match (&header.undoes, &header.resumes) {
        (Some(other), _) => format!("undo of {other}"),
        (None, Some(other)) => format!("{}, from {other} on", header.playbook.display()),
        (None, None) => header.playbook.display().to_string(),
    }
}

/// One run with its steps.
fn steps(past: &Past) -> String {
    let header = &past.header;
    let mut text = String::new();
    let mut say = |name: &str, value: &str| {
        let _ = writeln!(text, "{name:<10} {value}");
    };
    say("Run", past.id());
    say("What", &what(past));
    say("Command", &format!("okd-play {}", header.words.join(" ")));
    say("In", &header.cwd.display().to_string());
    say("By", &header.by);
    say("Began", &history::moment(header.started, "%Y-%m-%d %H:%M:%S UTC"));
    let took = past.seconds.map(|seconds| format!(" after {seconds:.1} s"));
    say("End", &format!("{}{}", past.how.word(), took.unwrap_or_default()));
    let mut rows = Vec::new();
    for step in past.steps() {
        let name = match &step.item {
            Some(item) => format!("{}  ({item})", step.task),
            None => step.task.clone(),
        };
        rows.push([step.status.clone(), step.host.clone(), name, step.path.clone()]);
        said(&step, &mut rows);
    }
    if !rows.is_empty() {
        text.push('\n');
        text.push_str(&columns(&rows, &[]));
    }
    text
}

/// What a step said that did not end well.
fn said(step: &Step, rows: &mut Vec<[String; 4]>) {
    if !step.went_well() && step.status != "skipped" {
        let first = step.msg.lines().next().unwrap_or_default();
        rows.push([String::new(), String::new(), format!("  {first}"), String::new()]);
    }
}

/// Rows under each other; those of `right` end at the same column.
fn columns<const N: usize>(rows: &[[String; N]], right: &[usize]) -> String {
    let widths: Vec<usize> = (0..N)
        .map(|column| rows.iter().map(|row| row[column].width()).max().unwrap_or_default())
        .collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let pad = " ".repeat(widths[column] - cell.width());
            let (before, after) = if right.contains(&column) {
                (pad.as_str(), "")
            } else {
                ("", pad.as_str())
            };
            line.push_str(before);
            line.push_str(cell);
            line.push_str(after);
            line.push_str("  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
