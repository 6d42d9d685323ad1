//! What changes, as data: fields, items and hunks of text. Rendered elsewhere.

use crate::secret::Secrets;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use similar::ChangeTag;
use similar::algorithms::{Capture, Compact, Replace, myers};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// One change of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// A property that gets another value, such as `mode` 0600 → 0644. `of` says of what (a path, a unit); may be empty.
    Field {
        /// Of what.
        of: String,
        /// Which property.
        name: String,
        /// What it is now.
        before: String,
        /// What it will be.
        after: String,
    },
    /// Something that comes or goes, such as a package: `+ bind 9.16.23`.
    Item {
        /// Whether it comes or goes.
        sign: Sign,
        /// What.
        text: String,
    },
    /// What will happen without a state of its own, such as `restart named`.
    Act(String),
    /// A file's content.
    Text(TextChange),
}

/// Whether a line or an item comes, goes or stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sign {
    /// It stays.
    Same,
    /// It goes.
    Removed,
    /// It comes.
    Added,
}

/// A change of a file's content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TextChange {
    /// Which file.
    pub path: String,
    /// What becomes of it.
    pub kind: TextKind,
    /// Further words, such as "replaces the file that bind brings" or "0640 root:named".
    pub note: String,
    /// Unified hunks with three lines of context; empty where a side is not text.
    pub hunks: Vec<Hunk>,
    /// SHA-256 of the content after, hexadecimal; secrets count as their placeholders.
    pub after: String,
}

/// What becomes of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TextKind {
    /// It was not there.
    New,
    /// Its content changes.
    Edited,
    /// It goes.
    Removed,
    /// A side is not text: only sizes are shown, in the note.
    Binary,
}

/// Lines that change, with their surroundings; numbers from 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hunk {
    /// First line on the old side.
    pub old_start: usize,
    /// Lines on the old side.
    pub old_lines: usize,
    /// First line on the new side.
    pub new_start: usize,
    /// Lines on the new side.
    pub new_lines: usize,
    /// The lines, without their line ends.
    pub lines: Vec<(Sign, String)>,
    /// Whether the last line of the old or the new side lacks its line end.
    pub no_final_newline: (bool, bool),
}

/// Above this, differing files are shown by size alone.
const TEXT_LIMIT: usize = 1 << 20;

/// The change of a file's content; `None` where both sides are equal.
#[must_use]
pub fn text(path: &str, before: Option<&[u8]>, after: Option<&[u8]>, note: &str) -> Option<Change> {
    if before == after {
        return None;
    }
    let kind = match (before, after) {
        (None, _) => TextKind::New,
        (_, None) => TextKind::Removed,
        _ => TextKind::Edited,
    };
    let (old, new) = (before.unwrap_or_default(), after.unwrap_or_default());
    let mut change = TextChange {
        path: path.to_owned(),
        kind,
        note: note.to_owned(),
        hunks: Vec::new(),
        after: after.map_or_else(String::new, sha256),
    };
    match (std::str::from_utf8(old), std::str::from_utf8(new)) {
        (Ok(old), Ok(new)) if old.len().max(new.len()) <= TEXT_LIMIT && !old.contains('\0') && !new.contains('\0') => {
            change.hunks = hunks(old, new);
        }
        _ => {
            change.kind = TextKind::Binary;
            let sizes = format!("{} → {} bytes", old.len(), new.len());
            change.note = if note.is_empty() {
                sizes
            } else {
                format!("{sizes}, {note}")
            };
        }
    }
    Some(Change::Text(change))
}

/// SHA-256, hexadecimal.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    use std::fmt::Write;
    Sha256::digest(bytes)
        .iter()
        .fold(String::with_capacity(64), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

fn hunks(old: &str, new: &str) -> Vec<Hunk> {
    let old: Vec<&str> = old.split_inclusive('\n').collect();
    let new: Vec<&str> = new.split_inclusive('\n').collect();
    operations(&old, &new)
        .into_grouped_ops(3)
        .iter()
        .filter_map(|group| {
            let (first, last) = (group.first()?, group.last()?);
            let (old_range, new_range) = (
                first.old_range().start..last.old_range().end,
                first.new_range().start..last.new_range().end,
            );
            let changes: Vec<_> = group.iter().flat_map(|op| op.iter_changes(&old, &new)).collect();
            let missing = |tag: ChangeTag| {
                changes
                    .iter()
                    .any(|c| !c.value().ends_with('\n') && (c.tag() == tag || c.tag() == ChangeTag::Equal))
            };
            Some(Hunk {
                old_start: old_range.start + usize::from(!old_range.is_empty()),
                old_lines: old_range.len(),
                new_start: new_range.start + usize::from(!new_range.is_empty()),
                new_lines: new_range.len(),
                no_final_newline: (missing(ChangeTag::Delete), missing(ChangeTag::Insert)),
                lines: hide_old_secrets(
                    changes
                        .iter()
                        .map(|c| (sign(c.tag()), c.value().trim_end_matches('\n').to_owned()))
                        .collect(),
                ),
            })
        })
        .collect()
}

/// The old text as a diff to the new one tells it: without the lines that may hold an old secret.
pub(crate) fn old_side(old: &str, new: &str) -> String {
    let lines = |text| str::split_inclusive(text, '\n').collect::<Vec<&str>>();
    let (old, new) = (lines(old), lines(new));
    let operations = operations(&old, &new).into_ops();
    let changes = operations.iter().flat_map(|op| op.iter_changes(&old, &new));
    let told = hide_old_secrets(changes.map(|c| (sign(c.tag()), c.value().to_owned())).collect());
    let old = told.into_iter().filter(|(sign, _)| *sign != Sign::Added);
    old.map(|(_, line)| if line == HIDDEN { line + "\n" } else { line })
        .collect()
}

/// Numbers stand for the lines, so that the algorithm is compiled once, for numbers.
fn operations(old: &[&str], new: &[&str]) -> Capture {
    let mut numbers = HashMap::new();
    let mut number = |line| {
        let next = numbers.len();
        *numbers.entry(line).or_insert(next)
    };
    let old: Vec<usize> = old.iter().map(&mut number).collect();
    let new: Vec<usize> = new.iter().map(&mut number).collect();
    let (old, new) = (old.as_slice(), new.as_slice());
    let mut hook = Compact::new(Replace::new(Capture::new()), old, new);
    let deadline = Instant::now().checked_add(Duration::from_millis(500));
    match myers::diff_deadline(&mut hook, old, 0..old.len(), new, 0..new.len(), deadline) {
        Ok(()) => hook.into_inner().into_inner(),
        Err(never) => match never {},
    }
}

fn sign(tag: ChangeTag) -> Sign {
    match tag {
        ChangeTag::Equal => Sign::Same,
        ChangeTag::Delete => Sign::Removed,
        ChangeTag::Insert => Sign::Added,
    }
}

/// What stands in the place of a line that is not shown.
pub const HIDDEN: &str = "‹hidden›";

/// A line that goes where a line with a secret comes may hold the old secret, which nobody knows: it is not shown.
fn hide_old_secrets(mut lines: Vec<(Sign, String)>) -> Vec<(Sign, String)> {
    let mut start = 0;
    while start < lines.len() {
        let mut end = start;
        while end < lines.len() && lines[end].0 != Sign::Same {
            end += 1;
        }
        let run = &mut lines[start..end];
        if run
            .iter()
            .any(|(sign, line)| *sign == Sign::Added && Secrets::marked(line))
        {
            run.iter_mut()
                .filter(|(sign, _)| *sign == Sign::Removed)
                .for_each(|(_, line)| HIDDEN.clone_into(line));
        }
        start = end.max(start) + 1;
    }
    lines
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    fn change(before: Option<&str>, after: Option<&str>) -> TextChange {
        match text("/x", before.map(str::as_bytes), after.map(str::as_bytes), "").unwrap() {
            Change::Text(change) => change,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn hunks_are_unified() {
        let edited = change(Some("a\nb\nc\n"), Some("a\nB\nc"));
        let lines: Vec<String> = edited.hunks[0]
            .lines
            .iter()
            .map(|(s, l)| format!("{s:?} {l}"))
            .collect();
        assert_eq!(lines, ["Same a", "Removed b", "Removed c", "Added B", "Added c"]);
        assert_eq!(edited.hunks[0].no_final_newline, (false, true));
        assert_eq!(change(None, Some("x\n")).kind, TextKind::New);
        assert_eq!(change(Some("x\n"), None).kind, TextKind::Removed);
        assert!(text("/x", Some(b"a"), Some(b"a"), "").is_none());
    }

    #[test]
    fn an_old_line_that_faces_a_secret_is_hidden() {
        let place = Secrets::placeholder("db", "0a");
        let edited = change(
            Some("user=x\npassword=old\n"),
            Some(&format!("user=x\npassword={place}\n")),
        );
        assert!(edited.hunks[0].lines.contains(&(Sign::Removed, "‹hidden›".to_owned())));
    }

    #[test]
    fn bytes_are_shown_by_size() {
        let Change::Text(binary) = text("/x", Some(&[0xff, 0]), Some(&[0xff]), "").unwrap() else {
            panic!()
        };
        assert_eq!((binary.kind, binary.note.as_str()), (TextKind::Binary, "2 → 1 bytes"));
    }
}
