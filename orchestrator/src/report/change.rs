//! What a step changes, by kind: packages in a row, files with their diffs, properties, acts.

use super::layout::{Page, Piece, count, piece};
use super::theme::Label;
use okd_agent::diff::{Change, Sign, TextChange, TextKind};

/// How much of a change is shown.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look {
    /// Whether the lines of files are shown.
    pub(crate) diff: bool,
    /// Whether long diffs are shown whole.
    pub(crate) full: bool,
}

/// Lines of one file's diff that a terminal shows.
const LINES: usize = 20;
/// So few lines more are not worth a hint.
const SPARE: usize = 3;

/// The changes of a step, indented by two.
pub(crate) fn show(page: &mut Page, changes: &[Change], module: &str, look: Look) {
    let mut rest = changes;
    while let Some(first) = rest.first() {
        let taken = match first {
            Change::Item { .. } => items(page, rest, module),
            Change::Field { of, .. } => {
                let (pieces, taken) = fields(page, rest, of);
                page.about(2, of, &pieces);
                taken
            }
            Change::Act(act) => {
                page.prose(2, Label::Changed, act);
                1
            }
            Change::Text(text) => {
                let (pieces, taken) = fields(page, &rest[1..], &text.path);
                self::text(page, text, pieces, look);
                taken + 1
            }
        };
        rest = &rest[taken..];
    }
}

fn items(page: &mut Page, changes: &[Change], module: &str) -> usize {
    let pieces: Vec<Piece> = changes
        .iter()
        .map_while(|change| match change {
            Change::Item { sign, text } => Some(match sign {
                Sign::Added => piece(Label::Added, format!("+ {text}")),
                Sign::Removed => piece(Label::Removed, format!("- {text}")),
                Sign::Same => piece(Label::Plain, text.as_str()),
            }),
            _ => None,
        })
        .collect();
    page.row(2, &pieces, module);
    pieces.len()
}

/// The properties of one thing that stand at the beginning of `changes`, and how many they are.
fn fields(page: &Page, changes: &[Change], thing: &str) -> (Vec<Vec<Piece>>, usize) {
    let arrow = page.theme().arrow();
    let shown = |value: &str| {
        if value.is_empty() {
            "none".to_owned()
        } else {
            value.to_owned()
        }
    };
    let all: Vec<Vec<Piece>> = changes
        .iter()
        .map_while(|change| match change {
            Change::Field {
                of,
                name,
                before,
                after,
            } if of == thing => Some(vec![
                piece(Label::Plain, format!("{name} ")),
                piece(Label::Removed, shown(before)),
                piece(Label::Dim, format!(" {arrow} ")),
                piece(Label::Added, shown(after)),
            ]),
            _ => None,
        })
        .collect();
    let taken = all.len();
    (all, taken)
}

fn text(page: &mut Page, change: &TextChange, fields: Vec<Vec<Piece>>, look: Look) {
    let lines: usize = change.hunks.iter().map(|hunk| hunk.lines.len()).sum();
    let mut words = Vec::new();
    match change.kind {
        TextKind::New if !change.note.contains("replaces") => words.push("new".to_owned()),
        TextKind::Removed => words.push("removed".to_owned()),
        TextKind::Binary => words.push("not text".to_owned()),
        TextKind::New | TextKind::Edited => {}
    }
    if !change.note.is_empty() {
        words.push(change.note.clone());
    }
    if matches!(change.kind, TextKind::New | TextKind::Removed) && !change.hunks.is_empty() {
        words.push(count(lines, "line"));
    }
    let mut words: Vec<Vec<Piece>> = words.into_iter().map(|word| vec![piece(Label::Dim, word)]).collect();
    words.extend(fields);
    page.about(2, &change.path, &words);
    if look.diff {
        hunks(page, change, look);
    }
}

fn hunks(page: &mut Page, change: &TextChange, look: Look) {
    let mut lines: Vec<Piece> = Vec::new();
    for hunk in &change.hunks {
        if change.kind == TextKind::Edited {
            let place = format!(
                "@@ -{},{} +{},{} @@",
                hunk.old_start, hunk.old_lines, hunk.new_start, hunk.new_lines
            );
            lines.push(piece(Label::Hunk, place));
        }
        for (sign, line) in &hunk.lines {
            lines.push(match sign {
                Sign::Same => piece(Label::Plain, format!(" {line}")),
                Sign::Removed => piece(Label::Removed, format!("-{line}")),
                Sign::Added => piece(Label::Added, format!("+{line}")),
            });
        }
        if hunk.no_final_newline.0 || hunk.no_final_newline.1 {
            lines.push(piece(Label::Dim, no_newline(hunk.no_final_newline, change.kind)));
        }
    }
    let shown = match look.full || lines.len() <= LINES + SPARE {
        true => lines.len(),
        false => LINES,
    };
    for (label, line) in &lines[..shown] {
        page.line(&[piece(Label::Plain, "    "), piece(*label, line.as_str())]);
    }
    if shown < lines.len() {
        let more = format!(
            "    {}  {} (--full)",
            page.theme().more(),
            count(lines.len() - shown, "more line")
        );
        page.line(&[piece(Label::Dim, more)]);
    }
}

fn no_newline(sides: (bool, bool), kind: TextKind) -> &'static str {
    match (kind, sides) {
        (TextKind::Edited, (true, false)) => "\\ the old file has no newline at its end",
        (TextKind::Edited, (false, true)) => "\\ the new file has no newline at its end",
        _ => "\\ no newline at the end",
    }
}
