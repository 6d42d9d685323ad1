//! A light reading of template text: where expressions begin and end, and which attribute chains they hold.
//! The engine has its own parser; this one answers what the engine does not tell: is the scalar one single
//! expression, and which part of `a.b.c | default(x)` may be missing.

use std::ops::Range;

/// A piece of a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece {
    /// `{{ … }}`
    Expression,
    /// `{% … %}`
    Statement,
    /// `{# … #}`
    Comment,
}

/// A piece with its whole range and the range between its marks.
#[derive(Debug, Clone)]
pub(super) struct Segment {
    pub(super) piece: Piece,
    pub(super) whole: Range<usize>,
    pub(super) inner: Range<usize>,
}

/// The least that has to be known about a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Name,
    Number,
    Text,
    Mark(u8),
}

/// A token of an expression.
#[derive(Debug, Clone)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) range: Range<usize>,
}

/// `root.link[link]…` as written.
#[derive(Debug, Clone)]
pub(super) struct Chain {
    pub(super) root: Range<usize>,
    /// Each from its `.` or `[` to its end.
    pub(super) links: Vec<Range<usize>>,
    pub(super) end: usize,
    /// Followed by `| default`, `| mandatory`, `is defined` or `is undefined`.
    pub(super) guarded: bool,
}

/// Whether text has anything to render.
#[must_use]
pub fn is_template(text: &str) -> bool {
    text.contains("{{") || text.contains("{%") || text.contains("{#")
}

/// The range between the braces where the text is exactly one `{{ expression }}`.
pub(super) fn single_expression(text: &str) -> Option<Range<usize>> {
    if !text.starts_with("{{") || !text.ends_with("}}") {
        return None;
    }
    let first = segments(text).into_iter().next()?;
    (first.piece == Piece::Expression && first.whole == (0..text.len())).then_some(first.inner)
}

/// All marked pieces, in order; the text of `{% raw %}` blocks is passed over.
pub(super) fn segments(text: &str) -> Vec<Segment> {
    let mut found: Vec<Segment> = Vec::new();
    let mut at = 0;
    while let Some((start, piece)) = next_open(text, at) {
        let inner_start = start + 2;
        let inner_end = match piece {
            Piece::Comment => text[inner_start..]
                .find("#}")
                .map_or(text.len(), |end| inner_start + end),
            Piece::Expression => tokens(text, inner_start, Some(b'}')).1,
            Piece::Statement => tokens(text, inner_start, Some(b'%')).1,
        };
        let end = (inner_end + 2).min(text.len());
        let inner = trim_signs(text, inner_start, inner_end);
        at = end.max(inner_start);
        if piece == Piece::Statement && text[inner.clone()].trim() == "raw" {
            at = skip_raw(text, at);
        }
        found.push(Segment {
            piece,
            whole: start..end,
            inner,
        });
    }
    found
}

fn next_open(text: &str, from: usize) -> Option<(usize, Piece)> {
    let bytes = text.as_bytes();
    (from..bytes.len().saturating_sub(1)).find_map(|at| match (bytes[at], bytes[at + 1]) {
        (b'{', b'{') => Some((at, Piece::Expression)),
        (b'{', b'%') => Some((at, Piece::Statement)),
        (b'{', b'#') => Some((at, Piece::Comment)),
        _ => None,
    })
}

fn trim_signs(text: &str, start: usize, end: usize) -> Range<usize> {
    let bytes = text.as_bytes();
    let sign = |at: usize| matches!(bytes.get(at), Some(b'-' | b'+'));
    let from = if start < end && sign(start) { start + 1 } else { start };
    let to = if end > from && end < text.len() && sign(end - 1) {
        end - 1
    } else {
        end
    };
    from..to
}

fn skip_raw(text: &str, from: usize) -> usize {
    let mut at = from;
    while let Some(open) = text[at..].find("{%").map(|found| at + found) {
        let end = text[open..].find("%}").map_or(text.len(), |found| open + found + 2);
        if text[open + 2..end].trim_matches(['-', '+', '%', '}', ' ', '\t', '\n']) == "endraw" {
            return open;
        }
        at = end;
    }
    text.len()
}

/// The tokens from `start` on, up to the closing mark outside brackets (`}}` or `%}`), and where they end.
pub(super) fn tokens(text: &str, start: usize, close: Option<u8>) -> (Vec<Token>, usize) {
    let bytes = text.as_bytes();
    let mut found = Vec::new();
    let mut depth = 0_usize;
    let mut at = start;
    while at < bytes.len() {
        let byte = bytes[at];
        if depth == 0 && close == Some(byte) && bytes.get(at + 1) == Some(&b'}') {
            return (found, at);
        }
        let (kind, end) = match byte {
            _ if byte.is_ascii_whitespace() => {
                at += 1;
                continue;
            }
            b'\'' | b'"' => (Kind::Text, end_of_text(bytes, at)),
            b'0'..=b'9' => (
                Kind::Number,
                run(bytes, at, |byte| byte.is_ascii_alphanumeric() || byte == b'_'),
            ),
            _ if byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80 => (
                Kind::Name,
                run(bytes, at, |byte| {
                    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
                }),
            ),
            _ => (Kind::Mark(byte), at + 1),
        };
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        found.push(Token { kind, range: at..end });
        at = end;
    }
    (found, bytes.len())
}

fn run(bytes: &[u8], start: usize, part: impl Fn(u8) -> bool) -> usize {
    (start..bytes.len()).find(|at| !part(bytes[*at])).unwrap_or(bytes.len())
}

fn end_of_text(bytes: &[u8], start: usize) -> usize {
    let quote = bytes[start];
    let mut at = start + 1;
    while at < bytes.len() && bytes[at] != quote {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(bytes.len())
}

/// All token lists of a template, or of a bare expression.
pub(super) fn token_lists(text: &str, bare: bool) -> Vec<Vec<Token>> {
    if bare {
        return vec![tokens(text, 0, None).0];
    }
    segments(text)
        .into_iter()
        .filter(|segment| segment.piece != Piece::Comment)
        .map(|segment| tokens(&text[..segment.inner.end], segment.inner.start, None).0)
        .collect()
}

const KEYWORDS: &[&str] = &[
    "and",
    "or",
    "not",
    "in",
    "is",
    "if",
    "else",
    "elif",
    "true",
    "false",
    "none",
    "True",
    "False",
    "None",
    "for",
    "endfor",
    "endif",
    "set",
    "endset",
    "block",
    "endblock",
    "macro",
    "endmacro",
    "call",
    "endcall",
    "include",
    "import",
    "from",
    "as",
    "with",
    "endwith",
    "without",
    "context",
    "ignore",
    "missing",
    "filter",
    "endfilter",
    "do",
    "extends",
    "recursive",
    "autoescape",
    "endautoescape",
    "raw",
    "endraw",
    "break",
    "continue",
];

/// Every attribute chain of an expression, bare names included.
pub(super) fn chains(text: &str, tokens: &[Token]) -> Vec<Chain> {
    (0..tokens.len())
        .filter(|index| is_root(text, tokens, *index))
        .map(|index| chain_at(text, tokens, index))
        .collect()
}

fn is_root(text: &str, tokens: &[Token], index: usize) -> bool {
    let token = &tokens[index];
    if token.kind != Kind::Name || KEYWORDS.contains(&&text[token.range.clone()]) {
        return false;
    }
    let before = index.checked_sub(1).map(|at| &tokens[at]);
    let after_name = before.is_some_and(|before| match before.kind {
        Kind::Mark(b'.' | b'|') => true,
        Kind::Name => match &text[before.range.clone()] {
            "is" => true,
            "not" => index >= 2 && &text[tokens[index - 2].range.clone()] == "is",
            _ => false,
        },
        _ => false,
    });
    let keyword_argument = mark(tokens, index + 1) == Some(b'=')
        && mark(tokens, index + 2) != Some(b'=')
        && before.is_some_and(|before| matches!(before.kind, Kind::Mark(b'(' | b',')));
    !after_name && !keyword_argument
}

fn mark(tokens: &[Token], index: usize) -> Option<u8> {
    match tokens.get(index)?.kind {
        Kind::Mark(mark) => Some(mark),
        _ => None,
    }
}

fn chain_at(text: &str, tokens: &[Token], root: usize) -> Chain {
    let mut links = Vec::new();
    let mut next = root + 1;
    let mut end = tokens[root].range.end;
    loop {
        match mark(tokens, next) {
            Some(b'.') if matches!(tokens.get(next + 1).map(|t| t.kind), Some(Kind::Name | Kind::Number)) => {
                end = tokens[next + 1].range.end;
                links.push(tokens[next].range.start..end);
                next += 2;
            }
            Some(open @ (b'[' | b'(')) => {
                let Some(close) = closing(tokens, next) else { break };
                end = tokens[close].range.end;
                if open == b'[' {
                    links.push(tokens[next].range.start..end);
                }
                next = close + 1;
            }
            _ => break,
        }
    }
    let guarded = is_guard(text, tokens, after_parentheses(tokens, root, next));
    Chain {
        root: tokens[root].range.clone(),
        links,
        end,
        guarded,
    }
}

/// Steps out of parentheses that hold the chain alone.
fn after_parentheses(tokens: &[Token], mut first: usize, mut next: usize) -> usize {
    while first > 0 && mark(tokens, first - 1) == Some(b'(') && mark(tokens, next) == Some(b')') {
        let is_call = first >= 2
            && (matches!(tokens[first - 2].kind, Kind::Name)
                && tokens[first - 2].range.end == tokens[first - 1].range.start);
        if is_call {
            break;
        }
        first -= 1;
        next += 1;
    }
    next
}

fn is_guard(text: &str, tokens: &[Token], next: usize) -> bool {
    let word = |index: usize| tokens.get(index).map(|token| &text[token.range.clone()]);
    match word(next) {
        Some("|") => matches!(word(next + 1), Some("default" | "d" | "mandatory")),
        Some("is") => {
            let at = if word(next + 1) == Some("not") {
                next + 2
            } else {
                next + 1
            };
            matches!(word(at), Some("defined" | "undefined"))
        }
        _ => false,
    }
}

fn closing(tokens: &[Token], open: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for index in open..tokens.len() {
        match mark(tokens, index) {
            Some(b'(' | b'[' | b'{') => depth += 1,
            Some(b')' | b']' | b'}') => {
                depth -= 1;
                if depth == 0 {
                    return Some(index);
                }
            }
            _ => {}
        }
    }
    None
}

/// Where a backslash has to be added so that those of text constants are kept.
fn backslashes(text: &str, bare: bool) -> Vec<(usize, &'static str)> {
    let ranges: Vec<Range<usize>> = if bare {
        std::iter::once(0..text.len()).collect()
    } else {
        let expressions = segments(text)
            .into_iter()
            .filter(|segment| segment.piece == Piece::Expression);
        expressions.map(|segment| segment.inner).collect()
    };
    let mut edits = Vec::new();
    for range in ranges {
        for token in tokens(&text[..range.end], range.start, None).0 {
            if token.kind == Kind::Text {
                edits.extend(backslashes_of_constant(text, &token.range));
            }
        }
    }
    edits
}

fn backslashes_of_constant(text: &str, range: &Range<usize>) -> Vec<(usize, &'static str)> {
    let bytes = text.as_bytes();
    let mut edits = Vec::new();
    let mut at = range.start + 1;
    while at < range.end {
        if bytes[at] != b'\\' {
            at += 1;
            continue;
        }
        match bytes.get(at + 1) {
            Some(b'\\') => edits.push((at, "\\\\")),
            Some(quote) if *quote == bytes[range.start] => edits.push((at, "\\\\")),
            _ => edits.push((at, "\\")),
        }
        at += 2;
    }
    edits
}

/// Template text as it is compiled, and the way back to the text as written.
#[derive(Debug, Clone)]
pub(super) struct Source {
    /// The text as it stands in the file.
    pub(super) written: String,
    /// What the engine compiles.
    pub(super) text: String,
    /// Where the compiled text begins in the scalar.
    pub(super) base: usize,
    inserts: Vec<(usize, usize)>,
}

impl Source {
    /// Text whose guarded chains may be missing at any link: `a.b.c | default(x)` is compiled as
    /// `((a|__chain).b|__chain).c | default(x)`. With `literal`, backslashes inside the text constants of
    /// `{{ … }}` stand for themselves, as they do in Ansible's YAML files.
    pub(super) fn new(text: &str, base: usize, bare: bool, literal: bool) -> Source {
        let mut edits: Vec<(usize, &str)> = Vec::new();
        if literal && text.contains('\\') {
            edits.extend(backslashes(text, bare));
        }
        if ["default", "defined", "|d(", "| d(", "mandatory"]
            .iter()
            .any(|word| text.contains(word))
        {
            for list in token_lists(text, bare) {
                for chain in chains(text, &list).iter().filter(|chain| chain.guarded) {
                    edits.extend(chain.links.iter().map(|_| (chain.root.start, "(")));
                    edits.extend(chain.links.iter().map(|link| (link.start, "|__chain)")));
                }
            }
        }
        edits.sort_by_key(|(at, _)| *at);
        let mut out = String::with_capacity(text.len() + edits.len() * 10);
        let mut inserts = Vec::new();
        let mut from = 0;
        for (at, insert) in edits {
            out.push_str(&text[from..at]);
            inserts.push((out.len(), insert.len()));
            out.push_str(insert);
            from = at;
        }
        out.push_str(&text[from..]);
        Source {
            written: text.to_owned(),
            text: out,
            base,
            inserts,
        }
    }

    /// The offset in the written text of an offset in the compiled text.
    pub(super) fn offset(&self, compiled: usize) -> usize {
        let shift: usize = self
            .inserts
            .iter()
            .take_while(|(at, _)| *at < compiled)
            .map(|(at, length)| (*length).min(compiled - at))
            .sum();
        (compiled - shift).min(self.written.len())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn one_expression_is_told_from_text_around_it() {
        for text in [
            "{{ a }}",
            "{{- a -}}",
            "{{ {'a': {'b': 1}} }}",
            "{{ '}}' }}",
            "{{ a['}}'] | default({}) }}",
        ] {
            assert!(single_expression(text).is_some(), "{text}");
        }
        for text in [
            "{{ a }} ",
            " {{ a }}",
            "{{ a }}{{ b }}",
            "{{ a }}-{{ b }}",
            "{% if a %}{{ b }}{% endif %}",
            "a",
        ] {
            assert!(single_expression(text).is_none(), "{text}");
        }
        let text = "{{- a + 1 -}}";
        assert_eq!(&text[single_expression(text).unwrap()], " a + 1 ");
    }

    #[test]
    fn guarded_chains_are_opened() {
        let cases = [
            ("a.b.c | default('x')", "((a|__chain).b|__chain).c | default('x')"),
            (
                "a['b'][c.d] is not defined",
                "((a|__chain)['b']|__chain)[c.d] is not defined",
            ),
            ("(a.b) is defined and e.f", "((a|__chain).b) is defined and e.f"),
            ("f(a.b) | default(1)", "f(a.b) | default(1)"),
            ("a.b", "a.b"),
        ];
        for (text, want) in cases {
            assert_eq!(Source::new(text, 0, true, false).text, want);
        }
    }

    #[test]
    fn offsets_lead_back() {
        let text = "x + a.b.c | default(y)";
        let source = Source::new(text, 3, true, false);
        let at = source.text.find("y)").unwrap();
        assert_eq!(source.offset(at), text.find("y)").unwrap());
    }

    #[test]
    fn raw_blocks_are_passed_over() {
        let text = "{% raw %}{{ a }}{% endraw %}{{ b }}";
        let names: Vec<_> = token_lists(text, false)
            .iter()
            .flat_map(|list| chains(text, list))
            .map(|chain| &text[chain.root])
            .collect();
        assert_eq!(names, ["b"]);
    }
}
