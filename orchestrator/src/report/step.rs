//! A step as a person reads it: whose, what, where; what it changes; what its result holds.

use super::change::{self, Look};
use super::layout::{Page, Piece, piece};
use super::theme::Label;
use super::{Settings, StepResult, StepStatus, json};
use okd_agent::Value;
use okd_agent::value::Map;

/// `file:line` of a step.
pub(crate) fn place(result: &StepResult) -> &str {
    result.place.rsplit_once(':').map_or(&*result.place, |(line, _)| line)
}

/// The step with its item and with the host where it really runs.
pub(crate) fn title(result: &StepResult, hosts: &str, arrow: &str) -> Vec<Piece> {
    let mut pieces = vec![piece(Label::Host, hosts)];
    if let Some(other) = &result.delegated {
        pieces.push(piece(Label::Dim, format!(" {arrow} {other}")));
    }
    pieces.push(piece(Label::Plain, format!("  {}", result.task)));
    pieces
}

/// The label of a loop's item.
pub(crate) fn item(result: &StepResult) -> Option<Piece> {
    result.item.as_ref().map(|item| piece(Label::Dim, format!("({item})")))
}

/// What a step that ended well, or would, has to show; `notes` are those of its own that have not been said yet.
pub(crate) fn body<'a>(
    page: &mut Page,
    result: &StepResult,
    notes: impl Iterator<Item = &'a str>,
    settings: &Settings,
) {
    if result.status == StepStatus::Unknown {
        page.prose(2, Label::Unknown, &format!("? unknown until applied: {}", result.msg));
    } else if says(result) {
        page.verbatim(2, Label::Plain, &result.msg);
    }
    if result.show_diff {
        let look = Look {
            diff: settings.diff,
            full: settings.full,
        };
        change::show(page, &result.diff, &result.module, look);
    } else if result.status == StepStatus::Changed {
        page.prose(2, Label::Dim, "its diff is not shown");
    }
    for note in notes {
        page.prose(2, Label::Dim, note);
    }
    if settings.verbose > 0 {
        self::result(page, result, settings.verbose);
    }
}

/// Whether the step's sentence is its very purpose, or all that there is to say.
pub(crate) fn says(result: &StepResult) -> bool {
    match result.status {
        StepStatus::Ok => result.module == "debug",
        StepStatus::Changed => result.diff.is_empty() && !result.msg.is_empty(),
        StepStatus::Skipped => !result.msg.is_empty(),
        _ => false,
    }
}

/// What `register` holds, as one line of JSON. Facts and the lines of an output once more are left to `-vvv`.
fn result(page: &mut Page, result: &StepResult, verbose: u8) {
    let value = match &result.result {
        Value::Null => return,
        Value::Map(map) if verbose < 3 => {
            let kept = map
                .iter()
                .filter(|(name, _)| *name != "ansible_facts" && !name.ends_with("_lines"));
            Value::Map(kept.map(|(name, value)| (name.clone(), value.clone())).collect::<Map>())
        }
        value => value.clone(),
    };
    let text = format!("=> {}", json::value(&value));
    page.verbatim(2, Label::Dim, &text);
}

/// Whether two hosts have the same to show for a step.
pub(crate) fn alike(one: &StepResult, other: &StepResult, verbose: u8) -> bool {
    let failure = |result: &StepResult| result.failure.as_ref().map(|failure| (**failure).clone());
    one.path == other.path
        && one.task == other.task
        && one.item == other.item
        && one.delegated == other.delegated
        && one.status == other.status
        && one.show_diff == other.show_diff
        && one.diff == other.diff
        && one.msg == other.msg
        && one.notes == other.notes
        && failure(one) == failure(other)
        && (verbose == 0 || one.result == other.result)
}
