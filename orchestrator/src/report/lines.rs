//! `--output json`: one object a line, for programs. The schema stands in docs/.

use super::{StepResult, json};
use crate::link::reach::Address;
use crate::run::Outcome;
use crate::source::SourceMap;
use okd_agent::diff::{Change, Sign, TextChange};
use serde_json::{Map, Value, json};

/// A step's result.
#[must_use]
pub(crate) fn result(result: &StepResult, diff: bool, sources: &SourceMap) -> String {
    let mut line = json!({
        "event": "result",
        "pass": result.pass.word(),
        "host": result.host,
        "play": result.play,
        "task": result.task,
        "module": result.module,
        "path": sources.place(result.span),
        "item": result.item,
        "status": result.status.word(),
        "diff": if diff && result.show_diff { result.diff.iter().map(change).collect() } else { Vec::new() },
        "msg": result.msg,
        "result": json::value(&result.result),
        "notes": result.notes,
    });
    if let (Some(failure), Some(object)) = (&result.failure, line.as_object_mut()) {
        object.insert("failure".to_owned(), self::failure(failure));
    }
    format!("{line}\n")
}

fn failure(failure: &okd_agent::resource::Failure) -> Value {
    json!({
        "message": failure.message,
        "argv": failure.argv,
        "rc": failure.answer.as_ref().map(|answer| answer.rc),
        "stdout": failure.answer.as_ref().map(|answer| answer.text()),
        "stderr": failure.answer.as_ref().map(|answer| answer.error_text()),
        "journal": failure.journal,
        "kept": failure.kept,
    })
}

fn change(change: &Change) -> Value {
    match change {
        Change::Field {
            of,
            name,
            before,
            after,
        } => {
            json!({"type": "field", "of": of, "name": name, "before": before, "after": after})
        }
        Change::Item { sign, text } => json!({"type": "item", "sign": mark(*sign), "text": text}),
        Change::Act(text) => json!({"type": "act", "text": text}),
        Change::Text(text) => json!({
            "type": "text",
            "path": text.path,
            "kind": format!("{:?}", text.kind).to_lowercase(),
            "note": text.note,
            "after_sha256": text.after,
            "unified": unified(text),
        }),
    }
}

pub(crate) fn mark(sign: Sign) -> &'static str {
    match sign {
        Sign::Same => " ",
        Sign::Removed => "-",
        Sign::Added => "+",
    }
}

/// The hunks as `diff -u` writes them.
#[must_use]
pub(crate) fn unified(change: &TextChange) -> String {
    let mut text = String::new();
    for hunk in &change.hunks {
        text.push_str(&format!(
            "@@ -{},{} +{},{} @@\n",
            hunk.old_start, hunk.old_lines, hunk.new_start, hunk.new_lines
        ));
        for (sign, line) in &hunk.lines {
            text.push_str(mark(*sign));
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

/// How often an agent was waited for.
#[must_use]
pub(crate) fn link(address: &Address, waits: u64) -> String {
    format!(
        "{}\n",
        json!({"event": "link", "host": address.host, "user": address.user, "waits": waits})
    )
}

/// The last line.
#[must_use]
pub(crate) fn summary(outcome: &Outcome, seconds: f64) -> String {
    let hosts: Map<String, Value> = outcome
        .counts
        .iter()
        .map(|(host, counts)| {
            let each: Map<String, Value> = counts
                .each()
                .iter()
                .map(|(name, count)| ((*name).to_owned(), json!(count)))
                .collect();
            (host.clone(), Value::Object(each))
        })
        .collect();
    format!(
        "{}\n",
        json!({"event": "summary", "hosts": hosts, "elapsed_s": (seconds * 1000.0).round() / 1000.0})
    )
}
