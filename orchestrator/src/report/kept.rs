//! What a kept plan says: as text for a person, and as one JSON object for programs.

use super::layout::{Page, count, piece};
use super::theme::{Ink, Label, Theme, utf8_locale};
use super::{Settings, StepResult, StepStatus, json, lines, plan, step};
use crate::run::record::{Input, Record};
use crate::saved::{Extra, Plan, archive};
use crate::source::files::Content;
use crate::template::utc;
use okd_agent::diff::sha256;
use serde_json::{Value, json};

/// As text.
#[must_use]
pub fn text(kept: &Plan, settings: &Settings, width: Option<usize>) -> String {
    let mut page = Page::new(Theme {
        ink: if settings.colour { Ink::Colour } else { Ink::None },
        unicode: utf8_locale(),
        width,
    });
    head(&mut page, kept);
    let steps = kept.steps();
    let hosts: Vec<String> = kept.outcome.counts.keys().cloned().collect();
    plan::show(&mut page, &steps, &hosts, settings);
    failures(&mut page, &steps);
    unknown(&mut page, &steps);
    plan::consequences(&mut page, &steps, &hosts, settings);
    plan::totals(&mut page, &kept.outcome, settings);
    secrets(&mut page, kept);
    page.text()
}

/// When a plan was made.
#[must_use]
pub(crate) fn made(kept: &Plan) -> String {
    let at = i64::try_from(kept.made.at).unwrap_or_default();
    utc(at, "%Y-%m-%d %H:%M:%S UTC")
}

fn head(page: &mut Page, kept: &Plan) {
    let choices = &kept.choices;
    let line = [
        piece(Label::Title, choices.playbook.display().to_string()),
        piece(Label::Plain, format!("   {}", count(kept.outcome.counts.len(), "host"))),
        piece(Label::Plain, format!(", {}", count(kept.outcome.records.len(), "step"))),
    ];
    let right = format!("planned {} by okd-play {}", made(kept), kept.made.version);
    page.ended(&line, &[piece(Label::Dim, right)]);
    for (name, value) in chosen(kept) {
        page.named(2, name, &value, Label::Plain);
    }
}

/// What the command line chose, where it chose something.
pub(crate) fn chosen(kept: &Plan) -> Vec<(&'static str, String)> {
    let choices = &kept.choices;
    let extra = choices.extra.iter().map(|extra| match extra {
        Extra::Text(text) => text.clone(),
        Extra::Withheld(names) => format!("{} (secret)", names.join(", ")),
    });
    let all = [
        ("Inventory", choices.inventory.join(", ")),
        ("Only hosts", choices.limit.clone().unwrap_or_default()),
        ("Only tags", choices.tags.only.join(", ")),
        ("Not tags", choices.tags.skip.join(", ")),
        ("From", choices.start_at.clone().unwrap_or_default()),
        ("Variables", extra.collect::<Vec<_>>().join("  ")),
    ];
    all.into_iter().filter(|(_, value)| !value.is_empty()).collect()
}

/// Steps that failed when the plan was made: nothing is done on their hosts.
fn failures(page: &mut Page, steps: &[StepResult]) {
    let failed = |step: &&StepResult| matches!(step.status, StepStatus::Failed | StepStatus::Unreachable);
    for result in steps.iter().filter(failed) {
        page.gap();
        let mut title = vec![piece(Label::Failed, format!("{} ", page.theme().failed()))];
        title.extend(step::title(result, &result.host, page.theme().arrow()));
        title.push(piece(Label::Failed, format!("  {}", result.status.word())));
        page.ended(&title, &[piece(Label::Dim, step::place(result))]);
        page.verbatim(2, Label::Plain, &result.msg);
    }
}

fn unknown(page: &mut Page, steps: &[StepResult]) {
    let unknown: Vec<&StepResult> = steps.iter().filter(|step| step.status == StepStatus::Unknown).collect();
    if unknown.is_empty() {
        return;
    }
    page.gap();
    page.line(&[
        piece(Label::Title, "Unknown"),
        piece(
            Label::Plain,
            format!(
                "    {}; what changes something is asked about when it becomes known",
                count(unknown.len(), "step")
            ),
        ),
    ]);
    for result in unknown {
        let mut title = vec![piece(Label::Unknown, "  ? ")];
        title.extend(step::title(result, &result.host, page.theme().arrow()));
        title.extend(step::item(result).map(|(label, item)| piece(label, format!("  {item}"))));
        page.ended(&title, &[piece(Label::Dim, step::place(result))]);
        page.prose(6, Label::Dim, &result.msg);
    }
}

/// What has to be given again.
fn secrets(page: &mut Page, kept: &Plan) {
    let again = withheld(kept);
    if !again.is_empty() {
        page.named(0, "Not in it", &again.join("\n"), Label::Dim);
    }
}

/// What the plan does not hold, since it is secret.
pub(crate) fn withheld(kept: &Plan) -> Vec<String> {
    let mut all = Vec::new();
    let file = |path: &std::path::Path| {
        format!(
            "{}, in which a secret stands in plain: it is read again",
            path.display()
        )
    };
    for (path, sight) in &kept.files {
        if sight.content == Some(Content::Withheld) {
            all.push(file(path.strip_prefix(&kept.choices.base).unwrap_or(path)));
        }
    }
    for extra in &kept.choices.extra {
        if let Extra::Withheld(names) = extra {
            all.push(format!("`-e` of {}: it has to be given again", names.join(", ")));
        }
    }
    let private = kept.choices.private.iter();
    all.extend(private.map(|name| format!("the answer for {name}: it is asked again")));
    all
}

/// As one JSON object.
#[must_use]
pub fn object(kept: &Plan) -> Value {
    let choices = &kept.choices;
    let records = kept.outcome.records.values().flatten();
    let steps: Vec<Value> = records
        .filter_map(|record| Some(one(record, record.told.as_deref()?)))
        .collect();
    let sources = kept.files.iter().filter_map(|(path, sight)| {
        let sum = match sight.content.as_ref()? {
            Content::Bytes(bytes) => Some(sha256(bytes)),
            Content::Withheld => None,
        };
        Some(json!({"path": path, "sha256": sum}))
    });
    let extra = choices.extra.iter().map(|extra| match extra {
        Extra::Text(text) => json!(text),
        Extra::Withheld(names) => json!({"withheld": names}),
    });
    json!({
        "plan": {
            "made": utc(i64::try_from(kept.made.at).unwrap_or_default(), "%Y-%m-%dT%H:%M:%SZ"),
            "version": kept.made.version,
            "build": archive::build(),
            "elapsed_s": (kept.made.seconds * 1000.0).round() / 1000.0,
            "playbook": choices.playbook,
            "inventory": choices.inventory,
            "limit": choices.limit,
            "tags": choices.tags.only,
            "skip_tags": choices.tags.skip,
            "start_at_task": choices.start_at,
            "extra_vars": extra.collect::<Vec<_>>(),
            "asked": choices.private,
        },
        "hosts": lines::counts(&kept.outcome),
        "steps": steps,
        "sources": sources.collect::<Vec<_>>(),
    })
}

fn one(record: &Record, told: &StepResult) -> Value {
    let diff = told.diff.iter().filter(|_| told.show_diff).map(lines::change);
    json!({
        "host": told.host,
        "delegated": told.delegated,
        "play": told.play,
        "task": told.task,
        "module": told.module,
        "path": told.place,
        "item": told.item,
        "handler": told.handler,
        "status": told.status.word(),
        "sure": record.sure,
        "fingerprint": record.print.map(|print| format!("{print:016x}")),
        "input": record.input.as_ref().map(input),
        "diff": diff.collect::<Vec<_>>(),
        "msg": told.msg,
        "notes": told.notes,
        "notifies": told.notifies,
    })
}

fn input(input: &Input) -> Value {
    let content = input.content.as_ref().map(|bytes| {
        json!({
            "sha256": sha256(bytes),
            "bytes": bytes.len(),
            "text": std::str::from_utf8(bytes).ok(),
        })
    });
    let environment = input.env.iter().map(|(name, value)| (name.clone(), json!(value)));
    json!({
        "args": json::value(&okd_agent::Value::Map(input.args.clone())),
        "environment": environment.collect::<serde_json::Map<_, _>>(),
        "content": content,
    })
}
