//! `--output junit`: one test suite a host, one test case a step, for CI that shows such files.

use super::{StepResult, StepStatus, lines, step};
use okd_agent::diff::Change;
use std::fmt::Write;

/// The whole document. A step that was planned and applied is one case: how it ended.
pub(crate) fn document(
    hosts: &[String],
    planned: &[StepResult],
    applied: &[StepResult],
    seconds: f64,
    diff: bool,
) -> String {
    let mut suites = String::new();
    let (mut tests, mut failures, mut errors, mut skips) = (0, 0, 0, 0);
    for host in hosts {
        let cases = cases(host, planned, applied);
        let count = |wanted: fn(StepStatus) -> bool| cases.iter().filter(|result| wanted(result.status)).count();
        let failed = count(|status| matches!(status, StepStatus::Failed | StepStatus::Refused));
        let lost = count(|status| status == StepStatus::Unreachable);
        let skipped = count(|status| matches!(status, StepStatus::Skipped | StepStatus::Blocked));
        let time: f64 = cases.iter().map(|result| result.seconds).sum();
        let _ = writeln!(
            suites,
            "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{failed}\" errors=\"{lost}\" skipped=\"{skipped}\" time=\"{time:.3}\">",
            escaped(host),
            cases.len(),
        );
        cases.iter().for_each(|result| case(&mut suites, result, diff));
        suites.push_str("  </testsuite>\n");
        tests += cases.len();
        failures += failed;
        errors += lost;
        skips += skipped;
    }
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"okd-play\" tests=\"{tests}\" failures=\"{failures}\" \
         errors=\"{errors}\" skipped=\"{skips}\" time=\"{seconds:.3}\">\n{suites}</testsuites>\n"
    )
}

/// A host's steps, each once.
fn cases<'a>(host: &str, planned: &'a [StepResult], applied: &'a [StepResult]) -> Vec<&'a StepResult> {
    let own = |results: &'a [StepResult]| results.iter().filter(|result| result.host == host);
    let last: Vec<&StepResult> = own(applied).filter(|result| !result.repeated).collect();
    let key = |result: &'a StepResult| (result.path.as_str(), result.item.as_deref(), result.status);
    let replaced: std::collections::HashSet<_> = last.iter().map(|result| (&result.path, &result.item)).collect();
    let mut cases: Vec<&StepResult> = own(planned)
        .filter(|result| !replaced.contains(&(&result.path, &result.item)))
        .collect();
    cases.extend(last);
    cases.dedup_by_key(|result| key(result));
    cases
}

fn case(out: &mut String, result: &StepResult, diff: bool) {
    let name = match &result.item {
        Some(item) => format!("{} ({item})", result.task),
        None => result.task.clone(),
    };
    let place = step::place(result);
    let (file, line) = place.rsplit_once(':').unwrap_or((place, "0"));
    let _ = write!(
        out,
        "    <testcase classname=\"{}\" name=\"{}\" file=\"{}\" line=\"{line}\" time=\"{:.3}\"",
        escaped(&result.play),
        escaped(&name),
        escaped(file),
        result.seconds
    );
    let message = escaped(result.msg.lines().next().unwrap_or_default());
    let inner = match result.status {
        StepStatus::Failed => tagged("failure", "failed", &message, &words(result)),
        StepStatus::Refused => tagged("failure", "refused", &message, &words(result)),
        StepStatus::Unreachable => tagged("error", "unreachable", &message, &words(result)),
        StepStatus::Skipped => format!("      <skipped message=\"{message}\"/>\n"),
        StepStatus::Blocked => format!("      <skipped message=\"blocked: {message}\"/>\n"),
        status => output(result, status, diff),
    };
    if inner.is_empty() {
        out.push_str("/>\n");
    } else {
        let _ = write!(out, ">\n{inner}    </testcase>\n");
    }
}

fn tagged(tag: &str, kind: &str, message: &str, text: &str) -> String {
    format!(
        "      <{tag} type=\"{kind}\" message=\"{message}\">{}</{tag}>\n",
        escaped(text)
    )
}

/// Everything that is known of a failure.
fn words(result: &StepResult) -> String {
    let mut text = result.msg.clone();
    if let Some(failure) = &result.failure {
        let answer = failure.answer.as_ref();
        let parts = [
            failure.kept.clone(),
            failure.argv.join(" "),
            answer
                .map(|answer| format!("exit code {}", answer.rc))
                .unwrap_or_default(),
            answer
                .map(|answer| answer.text().trim_end().to_owned())
                .unwrap_or_default(),
            answer
                .map(|answer| answer.error_text().trim_end().to_owned())
                .unwrap_or_default(),
            failure.journal.join("\n"),
        ];
        for part in parts.iter().filter(|part| !part.is_empty()) {
            text.push('\n');
            text.push_str(part);
        }
    }
    text
}

fn output(result: &StepResult, status: StepStatus, diff: bool) -> String {
    let mut text = match status {
        StepStatus::Ok => return String::new(),
        StepStatus::Changed => "changed".to_owned(),
        StepStatus::Unknown => format!("unknown until applied: {}", result.msg),
        other => format!("{}: {}", other.word(), result.msg),
    };
    for change in result.diff.iter().filter(|_| diff && result.show_diff) {
        text.push('\n');
        match change {
            Change::Field {
                of,
                name,
                before,
                after,
            } => {
                let _ = write!(text, "{of} {name}: {before} → {after}");
            }
            Change::Item { sign, text: item } => {
                let _ = write!(text, "{} {item}", lines::mark(*sign));
            }
            Change::Act(act) => text.push_str(act),
            Change::Text(change) => {
                let _ = write!(text, "{}\n{}", change.path, lines::unified(change).trim_end());
            }
        }
    }
    format!("      <system-out>{}</system-out>\n", escaped(&text))
}

/// Text inside XML. What XML 1.0 cannot hold at all becomes U+FFFD.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(c),
            '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            c if (c as u32) < 0x20 => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}
