//! A failure: what was asked, what the machine answered in its own words, what stayed as it was, what is blocked by it,
//! and the command to try only this again.

use super::change::{self, Look};
use super::layout::{Page, count, names, piece};
use super::theme::Label;
use super::{Settings, StepResult, StepStatus, step};
use indexmap::IndexMap;
use okd_agent::diff::Change;
use okd_agent::resource::Failure;

/// Lines of a command's output that a terminal shows.
const LINES: usize = 40;

/// What a failure did to other steps.
#[derive(Debug, Default)]
pub(crate) struct Reach<'a> {
    /// Steps that were not begun because of it, by host.
    pub(crate) blocked: IndexMap<&'a str, usize>,
    /// Hosts on which nothing went wrong.
    pub(crate) others: Vec<String>,
}

/// The block of a failure. `known` tells that its diff has been shown.
pub(crate) fn show(
    page: &mut Page,
    result: &StepResult,
    hosts: &[String],
    reach: &Reach<'_>,
    known: bool,
    settings: &Settings,
) {
    let theme = page.theme();
    let mut title = vec![piece(Label::Failed, format!("{} ", theme.failed()))];
    title.extend(step::title(result, &names(hosts, settings.full), theme.arrow()));
    if let Some((label, item)) = step::item(result) {
        title.push(piece(label, format!("  {item}")));
    }
    if matches!(result.status, StepStatus::Unreachable | StepStatus::Refused) {
        title.push(piece(Label::Failed, format!("  {}", result.status.word())));
    }
    page.gap();
    page.ended(&title, &[piece(Label::Dim, step::place(result))]);
    let none = Failure::default();
    let failure = result.failure.as_deref().unwrap_or(&none);
    sentence(page, result, failure);
    words(page, failure, settings);
    for (name, place) in &result.origins {
        let text = format!("{name}   {place}");
        page.named(2, "It comes from", &text, Label::Plain);
    }
    let states: Vec<Change> = failure
        .diff
        .iter()
        .filter(|change| !matches!(change, Change::Act(_)))
        .cloned()
        .collect();
    if result.show_diff && !known {
        let look = Look {
            diff: settings.diff,
            full: settings.full,
        };
        change::show(page, &states, &result.module, look);
    }
    if !reach.blocked.is_empty() {
        page.named(2, "Blocked by it", &blocked(reach, settings.full), Label::Plain);
    }
    if result.status != StepStatus::Refused {
        page.command(2, hint(result), &again(result, hosts, settings));
    }
}

fn sentence(page: &mut Page, result: &StepResult, failure: &Failure) {
    let message = if failure.message.is_empty() {
        &result.msg
    } else {
        &failure.message
    };
    let one_line = !message.contains('\n');
    let text = match failure.kept.is_empty() {
        true => message.clone(),
        false if one_line => format!("{message}; {}", failure.kept),
        false => format!("{message}\n{}", failure.kept),
    };
    match one_line {
        true => page.prose(2, Label::Failed, &text),
        false => page.verbatim(2, Label::Plain, &text),
    }
}

/// The command, what it printed, and the service's journal.
fn words(page: &mut Page, failure: &Failure, settings: &Settings) {
    if !failure.argv.is_empty() {
        let mut asked: String = failure
            .argv
            .iter()
            .map(|word| quoted(word))
            .collect::<Vec<_>>()
            .join(" ");
        if let Some(answer) = &failure.answer {
            asked.push_str(&match answer.rc {
                rc if rc > 128 => format!("   ended by signal {}", rc - 128),
                rc => format!("   exit code {rc}"),
            });
        }
        page.named(2, "Command", &asked, Label::Plain);
    }
    if let Some(answer) = &failure.answer {
        for text in [answer.text(), answer.error_text()] {
            last_lines(page, &text, "    ", settings.full);
        }
    }
    if !failure.journal.is_empty() {
        page.line(&[piece(Label::Dim, "  Journal")]);
        let bar = format!("    {} ", page.theme().sign("│", "|"));
        last_lines(page, &failure.journal.join("\n"), &bar, settings.full);
    }
}

/// A command says last what is wrong.
fn last_lines(page: &mut Page, text: &str, lead: &str, full: bool) {
    let lines: Vec<&str> = text.lines().collect();
    let hidden = if full { 0 } else { lines.len().saturating_sub(LINES) };
    if hidden > 0 {
        let more = format!("    {}  {} before (--full)", page.theme().more(), count(hidden, "line"));
        page.line(&[piece(Label::Dim, more)]);
    }
    for line in &lines[hidden..] {
        page.line(&[piece(Label::Dim, lead), piece(Label::Plain, *line)]);
    }
}

fn blocked(reach: &Reach<'_>, full: bool) -> String {
    const MANY: usize = 4;
    let steps = |(host, number): (&&str, &usize)| format!("{} on {host}", count(*number, "step"));
    let mut text = match reach.blocked.len() {
        hosts if hosts > MANY && !full => {
            format!(
                "{} on {}",
                count(reach.blocked.values().sum(), "step"),
                count(hosts, "host")
            )
        }
        _ => reach.blocked.iter().map(steps).collect::<Vec<_>>().join(", "),
    };
    match reach.others.len() {
        0 => text.push('.'),
        others if others > MANY && !full => text.push_str(&format!("; {others} other hosts went on.")),
        _ => text.push_str(&format!("; {} went on.", reach.others.join(", "))),
    }
    text
}

fn tag(result: &StepResult) -> Option<&String> {
    result
        .tags
        .iter()
        .find(|tag| !matches!(tag.as_str(), "always" | "never"))
}

fn hint(result: &StepResult) -> &'static str {
    match tag(result) {
        Some(_) => "Only this",
        None => "From here",
    }
}

/// The command that tries this again, on these hosts only.
fn again(result: &StepResult, hosts: &[String], settings: &Settings) -> String {
    let mut words = vec!["okd-play".to_owned(), "run".to_owned()];
    words.push(quoted(&settings.playbook.display().to_string()));
    words.extend(settings.again.iter().map(|word| quoted(word)));
    words.extend(["--limit".to_owned(), quoted(&hosts.join(","))]);
    match tag(result) {
        Some(tag) => words.extend(["--tags".to_owned(), quoted(tag)]),
        None => words.extend(["--start-at-task".to_owned(), quoted(&result.task)]),
    }
    words.join(" ")
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "_-./:=,@%+".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

/// A failure that was declared not to matter, or that a rescue took over: a line and its sentence.
pub(crate) fn softened(page: &mut Page, result: &StepResult) {
    let word = match result.status {
        StepStatus::Rescued => "failed, rescued",
        _ => "failed, ignored",
    };
    let mut title = vec![piece(Label::Unknown, "! ")];
    title.extend(step::title(result, &result.host, page.theme().arrow()));
    if let Some((label, item)) = step::item(result) {
        title.push(piece(label, format!("  {item}")));
    }
    title.push(piece(Label::Unknown, format!("  {word}")));
    page.ended(&title, &[piece(Label::Dim, step::place(result))]);
    page.prose(4, Label::Plain, result.msg.lines().next().unwrap_or_default());
}
