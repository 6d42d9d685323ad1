//! Lines on a page: what stands at the right end, where a line is broken, what a terminal must not be given.

use super::theme::{Label, Theme};
use unicode_width::UnicodeWidthStr;

/// A piece of a line with its label.
pub(crate) type Piece = (Label, String);

/// A piece of a line.
pub(crate) fn piece(label: Label, text: impl Into<String>) -> Piece {
    (label, text.into())
}

/// Text that grows line by line.
pub(crate) struct Page {
    theme: Theme,
    text: String,
}

impl Page {
    pub(crate) fn new(theme: Theme) -> Page {
        Page {
            theme,
            text: String::new(),
        }
    }

    pub(crate) fn theme(&self) -> Theme {
        self.theme
    }

    pub(crate) fn text(self) -> String {
        self.text
    }

    /// An empty line between what belongs together; none at the beginning.
    pub(crate) fn gap(&mut self) {
        if !self.text.is_empty() && !self.text.ends_with("\n\n") {
            self.text.push('\n');
        }
    }

    /// One line.
    pub(crate) fn line(&mut self, pieces: &[Piece]) {
        let line = self.painted(pieces);
        self.text.push_str(&line);
        self.text.push('\n');
    }

    /// One line with something at its right end, or below it where that does not fit.
    pub(crate) fn ended(&mut self, left: &[Piece], right: &[Piece]) {
        let (taken, wanted) = (width(left), width(right));
        let columns = self.theme.columns();
        let painted = self.painted(left);
        self.text.push_str(&painted);
        if wanted > 0 {
            let room = columns.saturating_sub(taken + wanted);
            match (room >= 2, self.theme.width) {
                (true, _) => self.text.push_str(&" ".repeat(room)),
                (false, Some(_)) => self.text.push_str("\n  "),
                (false, None) => self.text.push_str("  "),
            }
            let painted = self.painted(right);
            self.text.push_str(&painted);
        }
        self.text.push('\n');
    }

    /// Pieces in a row, two spaces between them, on as many lines as they need; something at the first one's right end
    /// where there is room.
    pub(crate) fn row(&mut self, indent: usize, pieces: &[Piece], right: &str) {
        let columns = self.theme.width.unwrap_or(usize::MAX);
        let mut lines: Vec<Vec<Piece>> = vec![Vec::new()];
        let mut at = indent;
        for (label, text) in pieces {
            let wide = text.width();
            let fresh = lines.last().is_none_or(Vec::is_empty);
            if !fresh && at + 2 + wide > columns {
                lines.push(Vec::new());
                at = indent;
            } else if !fresh {
                at += 2;
            }
            at += wide;
            if let Some(line) = lines.last_mut() {
                let space = if line.is_empty() { indent } else { 2 };
                line.push(piece(Label::Plain, " ".repeat(space)));
                line.push(piece(*label, text.clone()));
            }
        }
        for (number, line) in lines.iter().enumerate() {
            let fits = width(line) + right.width() + 2 <= self.theme.columns();
            match number == 0 && fits {
                true => self.ended(line, &[piece(Label::Dim, right)]),
                false => self.line(line),
            }
        }
    }

    /// A thing and what is said of it, three spaces between; on further lines where it does not fit.
    pub(crate) fn about(&mut self, indent: usize, thing: &str, said: &[Vec<Piece>]) {
        let mut line = vec![piece(Label::Plain, " ".repeat(indent))];
        if !thing.is_empty() {
            line.push(piece(Label::Path, thing));
        }
        for part in said {
            let fresh = line.len() == 1;
            if !fresh
                && self
                    .theme
                    .width
                    .is_some_and(|columns| width(&line) + 3 + width(part) > columns)
            {
                self.line(&line);
                line = vec![piece(Label::Plain, " ".repeat(indent + 2))];
            } else if !fresh {
                line.push(piece(Label::Plain, "   "));
            }
            line.extend(part.iter().cloned());
        }
        self.line(&line);
    }

    /// Sentences, broken at spaces where a terminal is too narrow for them.
    pub(crate) fn prose(&mut self, indent: usize, label: Label, text: &str) {
        for line in text.lines() {
            for part in wrapped(line, self.theme.width.map(|width| width.saturating_sub(indent).max(20))) {
                self.line(&[piece(Label::Plain, " ".repeat(indent)), piece(label, part)]);
            }
        }
    }

    /// Somebody else's words, as they are.
    pub(crate) fn verbatim(&mut self, indent: usize, label: Label, text: &str) {
        for line in text.lines() {
            self.line(&[piece(Label::Plain, " ".repeat(indent)), piece(label, line)]);
        }
    }

    /// A word that names what follows, and sentences beside it.
    pub(crate) fn named(&mut self, indent: usize, name: &str, text: &str, label: Label) {
        let beside = indent + 15;
        let narrow = self.theme.width.is_some_and(|width| width < 60);
        let start = [
            piece(Label::Plain, " ".repeat(indent)),
            piece(Label::Dim, format!("{name:<13}")),
        ];
        if narrow {
            self.line(&[start[0].clone(), piece(Label::Dim, name)]);
            return self.prose(indent + 2, label, text);
        }
        let room = self.theme.width.map(|width| width.saturating_sub(beside).max(20));
        let parts = text.lines().flat_map(|line| wrapped(line, room));
        for (number, part) in parts.enumerate() {
            match number {
                0 => self.line(&[
                    start[0].clone(),
                    start[1].clone(),
                    piece(Label::Plain, "  "),
                    piece(label, part),
                ]),
                _ => self.line(&[piece(Label::Plain, " ".repeat(beside)), piece(label, part)]),
            }
        }
    }

    /// A word that names what follows, and a command that stays on one line, so that it can be copied.
    pub(crate) fn command(&mut self, indent: usize, name: &str, text: &str) {
        self.line(&[
            piece(Label::Plain, " ".repeat(indent)),
            piece(Label::Dim, format!("{name:<13}")),
            piece(Label::Plain, format!("  {text}")),
        ]);
    }

    fn painted(&self, pieces: &[Piece]) -> String {
        let line: String = pieces
            .iter()
            .map(|(label, text)| self.theme.paint(*label, &visible(text)))
            .collect();
        match line.ends_with(' ') && pieces.last().is_some_and(|(label, _)| *label == Label::Plain) {
            true => line.trim_end().to_owned(),
            false => line,
        }
    }
}

/// Columns that pieces take.
pub(crate) fn width(pieces: &[Piece]) -> usize {
    pieces.iter().map(|(_, text)| text.width()).sum()
}

/// Text that does nothing to a terminal: control characters are shown, not sent.
pub(crate) fn visible(text: &str) -> String {
    if !text.chars().any(|c| c.is_control() && c != '\t') {
        return text.to_owned();
    }
    text.chars()
        .filter(|c| *c != '\r')
        .map(|c| match c.is_control() && c != '\t' {
            true => c.escape_default().to_string(),
            false => c.to_string(),
        })
        .collect()
}

/// The text cut to so many columns.
pub(crate) fn cut(text: &str, columns: usize, more: &str) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let room = columns.saturating_sub(more.width());
    let mut taken = 0;
    let kept: String = text
        .chars()
        .take_while(|c| {
            taken += unicode_width::UnicodeWidthChar::width(*c).unwrap_or(0);
            taken <= room
        })
        .collect();
    if columns < more.width() { kept } else { kept + more }
}

fn wrapped(line: &str, room: Option<usize>) -> Vec<String> {
    let Some(room) = room.filter(|room| line.width() > *room) else {
        return vec![line.to_owned()];
    };
    let lead: String = line.chars().take_while(|c| *c == ' ').collect();
    let mut lines = vec![lead.clone()];
    for word in line.split_whitespace() {
        if let Some(last) = lines.last_mut() {
            if last.len() == lead.len() {
                last.push_str(word);
            } else if last.width() + 1 + word.width() <= room {
                last.push(' ');
                last.push_str(word);
            } else {
                lines.push(format!("{lead}{word}"));
            }
        }
    }
    lines
}

/// Names in a row; many of them are counted unless everything is to be shown.
pub(crate) fn names(all: &[String], full: bool) -> String {
    const MANY: usize = 8;
    if full || all.len() <= MANY {
        return all.join(", ");
    }
    let shown = MANY - 2;
    format!("{} and {} more hosts", all[..shown].join(", "), all.len() - shown)
}

/// `1 task`, `2 tasks`.
pub(crate) fn count(number: usize, one: &str) -> String {
    match number {
        1 => format!("1 {one}"),
        number => format!("{number} {one}s"),
    }
}

/// A time for a person: `0.4 s`, `12 s`, `3 min 20 s`.
pub(crate) fn time(seconds: f64) -> String {
    match seconds {
        seconds if seconds < 9.95 => format!("{seconds:.1} s"),
        seconds if seconds < 119.5 => format!("{seconds:.0} s"),
        seconds => {
            let whole = seconds.round() as u64;
            format!("{} min {} s", whole / 60, whole % 60)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::theme::Ink;
    use super::*;

    fn page(width: Option<usize>) -> Page {
        Page::new(Theme {
            ink: Ink::None,
            unicode: true,
            width,
        })
    }

    #[test]
    fn what_stands_at_the_right_end_goes_below_where_it_does_not_fit() {
        let line = |width| {
            let mut page = page(width);
            page.ended(
                &[piece(Label::Host, "web"), piece(Label::Plain, "  DNS")],
                &[piece(Label::Dim, "a.yml:3")],
            );
            page.text()
        };
        assert_eq!(line(Some(20)), "web  DNS     a.yml:3\n");
        assert_eq!(line(Some(12)), "web  DNS\n  a.yml:3\n");
        assert_eq!(line(None).trim_end().len(), 100);
    }

    #[test]
    fn rows_and_sentences_are_broken_only_on_a_terminal() {
        let pieces = ["+ bind 9.16", "+ nginx 1.20", "+ haproxy 2.4"].map(|text| piece(Label::Added, text));
        let mut narrow = page(Some(30));
        narrow.row(2, &pieces, "dnf");
        narrow.prose(2, Label::Plain, "a sentence that is longer than thirty columns");
        assert_eq!(
            narrow.text(),
            "  + bind 9.16  + nginx 1.20\n  + haproxy 2.4\n  a sentence that is longer\n  than thirty columns\n"
        );
        let mut wide = page(None);
        wide.row(2, &pieces, "");
        assert_eq!(wide.text(), "  + bind 9.16  + nginx 1.20  + haproxy 2.4\n");
    }

    #[test]
    fn a_terminal_is_given_no_control_characters() {
        assert_eq!(visible("a\u{1b}[31mred\r"), "a\\u{1b}[31mred");
        assert_eq!(cut("zone okd.example.org", 8, "…"), "zone ok…");
        assert_eq!(cut("日本語テキスト", 7, "…"), "日本語…");
        assert_eq!(
            names(&(0..12).map(|n| n.to_string()).collect::<Vec<_>>(), false),
            "0, 1, 2, 3, 4, 5 and 6 more hosts"
        );
        assert_eq!([time(0.44), time(61.2), time(200.0)], ["0.4 s", "61 s", "3 min 20 s"]);
    }
}
