//! From an offset in a scalar's text back to the bytes of the file it was written in, through quotes, escapes, folding
//! and indentation: so that a mistake inside a template is shown where it was typed.

use super::yaml::Style;
use std::ops::Range;

/// Where bytes `start..end` of `text` stand in `raw`, the scalar as written. None where the two do not match.
pub(super) fn locate(text: &str, raw: &str, style: Style, start: usize, end: usize) -> Option<Range<usize>> {
    let (from, to) = (start.min(text.len()), end.min(text.len()));
    let offsets = align(text, raw, style)?;
    let begin = offsets[from];
    let finish = if to > from { offsets[to].max(begin) } else { begin };
    // The end of the last character, not the start of what follows it: folding may put whole lines between the two.
    let finish = match text.get(from..to).and_then(|part| part.chars().next_back()) {
        Some(last) if !last.is_whitespace() => {
            let last_at = offsets[to - last.len_utf8()];
            let width = raw
                .get(last_at..)
                .and_then(|rest| unit(rest, style))
                .map_or(0, |(_, width)| width);
            (last_at + width).min(finish.max(last_at))
        }
        _ => finish,
    };
    (raw.is_char_boundary(begin) && raw.is_char_boundary(finish)).then_some(begin..finish.max(begin))
}

/// For every byte of `text`, and its end, the offset in `raw`.
fn align(text: &str, raw: &str, style: Style) -> Option<Vec<usize>> {
    let mut walk = Walk {
        raw,
        style,
        at: usize::from(matches!(style, Style::Single | Style::Double)),
        offsets: Vec::with_capacity(text.len() + 1),
    };
    let block = matches!(style, Style::Literal | Style::Folded);
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let blank = rest.len() - rest.trim_start_matches([' ', '\t', '\n']).len();
        let written = walk.blank();
        let taken = if block && blank > 0 {
            walk.fold(blank, written)
        } else if block && written > 0 {
            walk.at += written;
            continue;
        } else if let Some(breaks) = walk.breaks(written) {
            let folded = breaks.max(2) - 1;
            if blank < folded {
                return None;
            }
            walk.fold(folded, written)
        } else {
            walk.step(c)?
        };
        rest = rest.get(taken..)?;
    }
    walk.offsets.push(walk.at.min(raw.len()));
    Some(walk.offsets)
}

struct Walk<'r> {
    raw: &'r str,
    style: Style,
    at: usize,
    offsets: Vec<usize>,
}

impl Walk<'_> {
    fn rest(&self) -> &str {
        self.raw.get(self.at..).unwrap_or_default()
    }

    /// How many blank bytes come next in the source.
    fn blank(&self) -> usize {
        self.rest().len() - self.rest().trim_start_matches([' ', '\t', '\n', '\r']).len()
    }

    /// The line breaks in the next `blank` bytes, where there are any.
    fn breaks(&self, blank: usize) -> Option<usize> {
        let breaks = self.rest()[..blank].matches('\n').count();
        (breaks > 0).then_some(breaks)
    }

    /// `count` blank bytes of text are `written` blank bytes of source; their ends match. Returns `count`.
    fn fold(&mut self, count: usize, written: usize) -> usize {
        let end = self.at + written;
        self.offsets
            .extend((0..count).map(|index| (end + index).saturating_sub(count).max(self.at)));
        self.at = end;
        count
    }

    /// One character of text is one unit of source. Returns its bytes in the text.
    fn step(&mut self, c: char) -> Option<usize> {
        while let Some((None, width)) = unit(self.rest(), self.style) {
            self.at += width;
        }
        let (meant, width) = unit(self.rest(), self.style)?;
        if meant != Some(c) {
            return None;
        }
        self.offsets.extend(std::iter::repeat_n(self.at, c.len_utf8()));
        self.at += width;
        Some(c.len_utf8())
    }
}

/// The next unit of source: the character it means (none for an escaped line break) and its bytes.
fn unit(rest: &str, style: Style) -> Option<(Option<char>, usize)> {
    let mut chars = rest.chars();
    let first = chars.next()?;
    let plain = Some((Some(first), first.len_utf8()));
    match (style, first) {
        (Style::Single, '\'') => chars.next().filter(|next| *next == '\'').map(|_| (Some('\''), 2)),
        (Style::Double, '"') => None,
        (Style::Double, '\\') => escape(rest, chars.next()?),
        _ => plain,
    }
}

/// An escape of a double-quoted scalar (YAML 1.2, 5.7).
fn escape(rest: &str, code: char) -> Option<(Option<char>, usize)> {
    let hex = |digits: usize| {
        let number = u32::from_str_radix(rest.get(2..2 + digits)?, 16).ok()?;
        Some((Some(char::from_u32(number)?), 2 + digits))
    };
    let meant = match code {
        'x' => return hex(2),
        'u' => return hex(4),
        'U' => return hex(8),
        '\n' | '\r' => {
            let skipped = rest[1..].trim_start_matches([' ', '\t', '\n', '\r']);
            return Some((None, rest.len() - skipped.len()));
        }
        '0' => '\0',
        'a' => '\u{7}',
        'b' => '\u{8}',
        't' | '\t' => '\t',
        'n' => '\n',
        'v' => '\u{b}',
        'f' => '\u{c}',
        'r' => '\r',
        'e' => '\u{1b}',
        'N' => '\u{85}',
        '_' => '\u{a0}',
        'L' => '\u{2028}',
        'P' => '\u{2029}',
        ' ' | '"' | '/' | '\\' => code,
        _ => return None,
    };
    Some((Some(meant), 1 + code.len_utf8()))
}
