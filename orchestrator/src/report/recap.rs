//! How it ended, by host: a line with counts and its time.

use super::layout::{Page, Piece, piece, time};
use super::theme::Label;
use crate::run::{Counts, Outcome};
use std::collections::HashMap;
use unicode_width::UnicodeWidthStr;

/// One word for each count, in the order of the line; the first two are always said.
fn columns(counts: &Counts) -> [(&'static str, u32, Label); 10] {
    [
        ("changed", counts.changed, Label::Changed),
        ("same", counts.ok, Label::Plain),
        ("unknown", counts.unknown, Label::Unknown),
        ("skipped", counts.skipped, Label::Dim),
        ("rescued", counts.rescued, Label::Unknown),
        ("ignored", counts.ignored, Label::Unknown),
        ("failed", counts.failed, Label::Failed),
        ("unreachable", counts.unreachable, Label::Failed),
        ("blocked", counts.blocked, Label::Failed),
        ("refused", counts.refused, Label::Failed),
    ]
}

/// The recap; `seconds` has how long each host was at work.
pub(crate) fn show(page: &mut Page, outcome: &Outcome, seconds: &HashMap<String, f64>) {
    let name_width = outcome.counts.keys().map(|host| host.width()).max().unwrap_or(0);
    let rows: Vec<_> = outcome
        .counts
        .iter()
        .map(|(host, counts)| (host, columns(counts)))
        .collect();
    let widths: Vec<usize> = (0..10)
        .map(|column| {
            let numbers = rows.iter().map(|(_, cells)| cells[column].1);
            let most = numbers.max().unwrap_or(0);
            if most == 0 && column > 1 {
                0
            } else {
                most.to_string().len()
            }
        })
        .collect();
    page.gap();
    for (host, cells) in rows {
        let mut line: Vec<Piece> = vec![piece(Label::Host, format!("{host:<name_width$}"))];
        for ((word, number, label), width) in cells.iter().zip(&widths).filter(|(_, width)| **width > 0) {
            let label = if *number == 0 { Label::Dim } else { *label };
            line.push(piece(label, format!("{number:>width$} {word}")));
        }
        line.push(piece(Label::Dim, time(seconds.get(host).copied().unwrap_or(0.0))));
        match page.theme().width.is_some_and(|columns| wide(&line) > columns) {
            true => {
                page.line(&line[..1]);
                page.row(2, &line[1..], "");
            }
            false => {
                let spaced: Vec<Piece> = line
                    .into_iter()
                    .enumerate()
                    .flat_map(|(at, cell)| [piece(Label::Plain, if at == 0 { "" } else { "   " }), cell])
                    .collect();
                page.line(&spaced);
            }
        }
    }
}

fn wide(line: &[Piece]) -> usize {
    super::layout::width(line) + 3 * line.len().saturating_sub(1)
}
