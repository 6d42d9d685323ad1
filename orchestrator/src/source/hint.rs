//! What a YAML syntax error most likely is, in words that lead to its repair.

use super::{FileId, Span};
use crate::error::Diagnostic;
use regex::Regex;
use std::sync::LazyLock;

/// A pattern that this file's tests compile.
fn pattern(text: &str) -> Option<Regex> {
    Regex::new(text).ok()
}

static TEMPLATE: LazyLock<Option<Regex>> = LazyLock::new(|| pattern(r#"^[^"'#]*?(?:^\s*|[:\-]\s+)(\{\{)"#));
static TRAILED: LazyLock<Option<Regex>> =
    LazyLock::new(|| pattern(r#"(?:^|[:\-]\s+)("(?:[^"\\]|\\.)*"|'(?:[^']|'')*')\s*([^\s:,#\]}].*)"#));
static ANCHOR: LazyLock<Option<Regex>> = LazyLock::new(|| pattern(r"&([^\s,\[\]{}]+)"));

/// A syntax error at a byte of a file, told with its likely cause.
pub(super) fn explain(text: &str, file: FileId, at: usize, info: &str) -> Diagnostic {
    let site = Site::new(text, file, at);
    if info.contains("recursion limit") {
        return Diagnostic::new("too-deep", "brackets nested too deeply").at(site.here(), "too deep here");
    }
    site.tab(info)
        .or_else(|| site.template())
        .or_else(|| site.bracket(info))
        .or_else(|| site.alias(info))
        .or_else(|| site.reserved(info))
        .or_else(|| site.quotes(info))
        .or_else(|| site.colon(info))
        .or_else(|| site.structure(info))
        .unwrap_or_else(|| {
            let words = info.rsplit(", ").next().unwrap_or(info);
            Diagnostic::new("yaml-syntax", format!("this is not YAML: {words}")).at(site.here(), "")
        })
}

/// `key: {{ var }}`: the template needs quotes.
pub(super) fn unquoted_template(text: &str, file: FileId, at: usize) -> Diagnostic {
    let rest = text[at..].lines().next().unwrap_or_default();
    let whole = rest.split(" #").next().unwrap_or(rest).trim_end();
    let end = rest.find("}}").map_or(whole.len(), |close| close + 2);
    let span = Span {
        file,
        start: at as u32,
        end: (at + end) as u32,
    };
    let quote = if whole.contains('"') { '\'' } else { '"' };
    Diagnostic::new("unquoted-template", "a value that begins with `{{` must be quoted")
        .at(span, "to YAML this begins a mapping")
        .help(format!("quote the whole value: {quote}{whole}{quote}"))
}

/// Where the parser stopped.
struct Site<'t> {
    text: &'t str,
    file: FileId,
    at: usize,
    /// Where its line begins.
    line_start: usize,
    line: &'t str,
}

impl<'t> Site<'t> {
    fn new(text: &'t str, file: FileId, at: usize) -> Self {
        // At the end of the file there is nothing to point at: take the end of the last line that says something.
        let at = if at >= text.len() { text.trim_end().len() } else { at };
        let line_start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
        let line = text[line_start..].lines().next().unwrap_or_default();
        Site {
            text,
            file,
            at,
            line_start,
            line,
        }
    }

    fn span(&self, start: usize, end: usize) -> Span {
        Span {
            file: self.file,
            start: start as u32,
            end: end.max(start) as u32,
        }
    }

    /// The character where the parser stopped.
    fn here(&self) -> Span {
        let width = self.text[self.at..]
            .chars()
            .next()
            .filter(|c| *c != '\n' && *c != '\r')
            .map_or(0, char::len_utf8);
        self.span(self.at, self.at + width)
    }

    /// The word where the parser stopped.
    fn word(&self) -> Span {
        let rest = &self.text[self.at..];
        let width = rest.find(|c: char| c.is_whitespace()).unwrap_or(rest.len());
        self.span(self.at, self.at + width)
    }

    fn rest_of_line(&self) -> Span {
        let start = self.line_start + (self.line.len() - self.line.trim_start().len());
        self.span(start, self.line_start + self.line.trim_end().len())
    }

    fn tab(&self, info: &str) -> Option<Diagnostic> {
        let indent = &self.line[..self.line.len() - self.line.trim_start().len()];
        let found = indent.find('\t').map(|tab| self.line_start + tab);
        if found.is_none() && !info.contains("tab") {
            return None;
        }
        let start = found.unwrap_or(self.at);
        let tabs = self.text[start..].bytes().take_while(|byte| *byte == b'\t').count();
        Some(
            Diagnostic::new("tab-indent", "a tab indents this line, and YAML takes only spaces")
                .at(self.span(start, start + tabs), "a tab")
                .help("put two spaces for each level instead"),
        )
    }

    fn template(&self) -> Option<Diagnostic> {
        let before = &self.text[..self.line_start];
        let above = before
            .trim_end_matches('\n')
            .rfind('\n')
            .map_or(0, |newline| newline + 1);
        let lines = [
            (self.line_start, self.line),
            (above, before[above..].lines().next().unwrap_or_default()),
        ];
        let pattern = TEMPLATE.as_ref()?;
        lines.iter().find_map(|(start, line)| {
            let open = pattern.captures(line)?.get(1)?;
            Some(unquoted_template(self.text, self.file, start + open.start()))
        })
    }

    /// The last line above this one that says something.
    fn above(&self) -> Option<Site<'t>> {
        let (last, _) = self.text[..self.line_start].trim_end().char_indices().next_back()?;
        Some(Site::new(self.text, self.file, last))
    }

    /// A bracket that the line above opens and does not close.
    fn bracket(&self, info: &str) -> Option<Diagnostic> {
        let signs = [
            "mapping values are not allowed",
            "illegal placement of ':'",
            "expected ','",
        ];
        if !signs.iter().any(|sign| info.contains(sign)) {
            return None;
        }
        let above = self.above()?;
        let count = |c: char| above.line.matches(c).count();
        let (open, close) = [('[', ']'), ('{', '}')]
            .into_iter()
            .find(|(open, close)| count(*open) > count(*close))?;
        let at = above.line_start + above.line.rfind(open)?;
        Some(
            Diagnostic::new("yaml-syntax", format!("the `{open}` is not closed by a `{close}`"))
                .at(self.span(at, at + 1), "opened here")
                .at(
                    self.rest_of_line(),
                    "a comma or the closing bracket is missing before this",
                ),
        )
    }

    fn alias(&self, info: &str) -> Option<Diagnostic> {
        let quote = "a value that begins with `*` is an alias, one with `&` an anchor: quote it if it is meant as text";
        if info.contains("unknown anchor") {
            let word = self.word();
            let name = self.text[word.start as usize..word.end as usize].trim_matches(['*', ',', ']', '}']);
            let anchors = ANCHOR
                .as_ref()?
                .captures_iter(self.text)
                .filter_map(|found| found.get(1));
            let one = Diagnostic::new("unknown-anchor", format!("there is no anchor `&{name}` above this"))
                .at(word, "used here")
                .did_you_mean(name, anchors.map(|anchor| anchor.as_str()));
            return Some(one.help(quote));
        }
        info.contains("anchor or alias").then(|| {
            Diagnostic::new("yaml-syntax", "an alias or anchor without a name")
                .at(self.here(), "")
                .help(quote)
        })
    }

    fn reserved(&self, info: &str) -> Option<Diagnostic> {
        let first = self.text[self.at..].chars().next().filter(|c| "%@`".contains(*c))?;
        (info.contains("unexpected character") || info.contains("directive")).then(|| {
            Diagnostic::new("yaml-syntax", format!("a plain value cannot begin with `{first}`"))
                .at(self.here(), "")
                .help("quote the value")
        })
    }

    fn quotes(&self, info: &str) -> Option<Diagnostic> {
        let unclosed = [
            "unexpected end of stream",
            "document indicator",
            "indentation in quoted",
        ];
        if unclosed.iter().any(|part| info.contains(part)) {
            return Some(Diagnostic::new("yaml-syntax", "this quote is never closed").at(self.here(), "opened here"));
        }
        if info.contains("escape") {
            return Some(
                Diagnostic::new("yaml-syntax", "an unknown escape in a double-quoted value")
                    .at(self.here(), "")
                    .help("write the backslash twice, or use single quotes, where it stands for itself"),
            );
        }
        let found = TRAILED.as_ref()?.captures(self.line)?;
        let (quoted, more) = (found.get(1)?, found.get(2)?);
        let more = self.span(self.line_start + more.start(), self.line_start + more.end());
        let quoted = self.span(self.line_start + quoted.start(), self.line_start + quoted.end());
        Some(
            Diagnostic::new("yaml-syntax", "text follows the closing quote")
                .at(more, "not part of the value")
                .at(quoted, "the value ends here")
                .help("quote the whole value, with the other kind of quotes around it"),
        )
    }

    fn colon(&self, info: &str) -> Option<Diagnostic> {
        if info.contains("mapping values are not allowed") || info.contains("illegal placement of ':'") {
            let before = &self.text[self.line_start..self.at];
            let value = before.find(": ").map(|colon| self.line_start + colon + 2);
            return Some(match value {
                Some(value) => Diagnostic::new("yaml-syntax", "a plain value cannot hold `: `")
                    .at(self.here(), "this colon")
                    .at(
                        self.span(value, self.line_start + self.line.trim_end().len()),
                        "in this value",
                    )
                    .help("quote the value"),
                None => Diagnostic::new(
                    "yaml-syntax",
                    "this key continues the value above it, by its indentation",
                )
                .at(
                    self.rest_of_line(),
                    "indented deeper than the key above, which already has a value",
                )
                .help("line it up with the key above, or take that key's value away"),
            });
        }
        let missing = info.contains("simple key") || info.contains("':' must be followed");
        let paired = |line: &str| line.contains(": ") || line.trim_end().ends_with(':');
        let above = self.above().filter(|above| paired(self.line) && !paired(above.line));
        missing.then(|| {
            Diagnostic::new("yaml-syntax", "this line has no `: ` between a key and a value")
                .at(above.as_ref().unwrap_or(self).rest_of_line(), "")
                .help("a mapping's line reads `key: value`, with a space behind the colon")
        })
    }

    fn structure(&self, info: &str) -> Option<Diagnostic> {
        let (message, label, help) = if info.contains("flow mapping, did not") {
            (
                "a comma or the closing `}` is missing before this",
                "",
                "a mapping reads `{key: value, key: value}`",
            )
        } else if info.contains("flow sequence, expected") {
            (
                "a comma or the closing `]` is missing before this",
                "",
                "a list reads `[one, two]`",
            )
        } else if info.contains("misplaced bracket") {
            (
                "a closing bracket without its opening one",
                "",
                "quote the value if the bracket is part of it",
            )
        } else if info.contains("expected '-' indicator") {
            (
                "a list's next item is expected here",
                "does not begin with `- `",
                "line it up with what it belongs to; keys of an item stand under the item's first key",
            )
        } else if info.contains("block sequence entries are not allowed") {
            (
                "a list cannot begin here",
                "",
                "put the list's first `- ` on a line of its own below the key",
            )
        } else if info.contains("flow construct") || info.contains("node content") {
            (
                "a value is missing or a bracket is not closed before this",
                "",
                "close it, or quote the value",
            )
        } else if info.contains("did not find expected key")
            || info.contains("document start")
            || info.contains("indentation")
        {
            (
                "this line's indentation fits none of the lines above it",
                "",
                "keys of one mapping stand in one column; items of one list too",
            )
        } else {
            return None;
        };
        Some(
            Diagnostic::new("yaml-syntax", message)
                .at(self.rest_of_line(), label)
                .help(help),
        )
    }
}
