//! `--output json`: one object a line, for programs. The schema stands in docs/.

use super::{StepResult, json, scrub};
use crate::control::back::Back;
use crate::link::reach::Address;
use crate::run::{Counts, Outcome};
use okd_agent::diff::{Change, Sign, TextChange};
use okd_agent::secret::Secrets;
use serde_json::{Map, Value, json};

/// A step's result.
#[must_use]
pub(crate) fn result(result: &StepResult, diff: bool) -> String {
    format!("{}\n", object(result, diff))
}

/// A step's result in the run's journal.
#[must_use]
pub(crate) fn kept(result: &StepResult) -> Value {
    let trace = &result.trace;
    let mut line = object(result, true);
    let text = line["result"].to_string();
    let whole = !trace.hidden && !Secrets::marked(&text) && scrub::clean(&text) == text;
    let more = json!({
        "step": result.path,
        "key": trace.key,
        "at": trace.at,
        "sent": trace.sent.map(|sent| format!("{sent:016x}")),
        "handler": result.handler.is_some(),
        "fires": trace.fires,
        "hidden": trace.hidden,
        "whole": whole,
    });
    if let (Value::Object(line), Value::Object(more)) = (&mut line, more) {
        line.extend(more);
        let back = trace.back.as_deref().map(|back| match trace.hidden {
            true => Back::not("its task says `no_log`"),
            false => back.clone(),
        });
        line.extend(back.map(|back| ("back".to_owned(), json!(back))));
    }
    line
}

fn object(result: &StepResult, diff: bool) -> Value {
    let mut line = json!({
        "event": "result",
        "pass": result.pass.word(),
        "host": result.host,
        "play": result.play,
        "task": result.task,
        "module": result.module,
        "path": result.place,
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
    line
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

pub(crate) fn change(change: &Change) -> Value {
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

/// The last line; `run` names the run, where it changed anything.
#[must_use]
pub(crate) fn summary(outcome: &Outcome, seconds: f64, run: Option<&str>) -> String {
    let (hosts, elapsed) = (counts(outcome), (seconds * 1000.0).round() / 1000.0);
    format!(
        "{}\n",
        json!({"event": "summary", "run": run, "hosts": hosts, "elapsed_s": elapsed})
    )
}

/// How many steps ended in which way, by host.
#[must_use]
pub(crate) fn counts(outcome: &Outcome) -> Map<String, Value> {
    let each = |counts: &Counts| {
        let each = counts.each().into_iter();
        let named: Map<String, Value> = each.map(|(name, count)| (name.to_owned(), json!(count))).collect();
        Value::Object(named)
    };
    let hosts = outcome.counts.iter();
    hosts.map(|(host, counts)| (host.clone(), each(counts))).collect()
}
