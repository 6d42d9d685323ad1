//! Text for a person.

use super::{Settings, StepResult, StepStatus, lines};
use crate::run::Outcome;
use crate::source::SourceMap;
use okd_agent::diff::{Change, Sign};
use std::fmt::Write as _;
use std::io::Write as _;

/// Writes to standard output; a closed pipe is no error.
pub(crate) fn out(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// Writes to standard error.
pub(crate) fn err(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// A step's result.
#[must_use]
pub(crate) fn result(result: &StepResult, settings: &Settings, sources: &SourceMap) -> String {
    let mut text = String::new();
    let quiet = matches!(result.status, StepStatus::Ok | StepStatus::Skipped);
    if quiet && settings.verbose == 0 && !(result.module == "debug" && result.status == StepStatus::Ok) {
        return text;
    }
    let item = result
        .item
        .as_ref()
        .map(|item| format!("  ({item})"))
        .unwrap_or_default();
    let place = sources.place(result.span);
    let _ = writeln!(
        text,
        "{} {}  {}{item}   {place}",
        result.status.word(),
        result.host,
        result.task
    );
    if !result.msg.is_empty() {
        result
            .msg
            .lines()
            .for_each(|line| text.push_str(&format!("    {line}\n")));
    }
    for change in result.diff.iter().filter(|_| settings.diff && result.show_diff) {
        match change {
            Change::Field {
                of,
                name,
                before,
                after,
            } => {
                let _ = writeln!(text, "    {of} {name}: {before} → {after}");
            }
            Change::Item { sign, text: item } => {
                let _ = writeln!(text, "    {} {item}", if *sign == Sign::Removed { "-" } else { "+" });
            }
            Change::Act(act) => {
                let _ = writeln!(text, "    {act}");
            }
            Change::Text(change) => {
                let _ = writeln!(text, "    {} {:?} {}", change.path, change.kind, change.note);
                lines::unified(change)
                    .lines()
                    .for_each(|line| text.push_str(&format!("      {line}\n")));
            }
        }
    }
    if let Some(failure) = &result.failure {
        if let Some(answer) = &failure.answer {
            let _ = writeln!(text, "    {} ended with {}", failure.argv.join(" "), answer.rc);
            text.push_str(&answer.text());
            text.push_str(&answer.error_text());
        }
        failure
            .journal
            .iter()
            .for_each(|line| text.push_str(&format!("    | {line}\n")));
        if !failure.kept.is_empty() {
            let _ = writeln!(text, "    {}", failure.kept);
        }
    }
    text
}

/// The line after a plan.
#[must_use]
pub(crate) fn plan(outcome: &Outcome) -> String {
    let mut text = String::from("Plan");
    for (host, counts) in &outcome.counts {
        let _ = write!(
            text,
            "  {host} {} to change, {} unknown, {} same",
            counts.changed, counts.unknown, counts.ok
        );
    }
    text.push('\n');
    text
}

/// The recap.
#[must_use]
pub(crate) fn recap(outcome: &Outcome, _: bool, seconds: f64) -> String {
    let mut text = String::new();
    for (host, counts) in &outcome.counts {
        let _ = write!(text, "{host:<12}");
        for (name, count) in counts.each().into_iter().filter(|(_, count)| *count > 0) {
            let _ = write!(text, "  {count} {name}");
        }
        text.push('\n');
    }
    let _ = writeln!(text, "{seconds:.1} s");
    text
}
