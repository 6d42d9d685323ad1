//! Python literals, because an INI inventory's values are read by Python's `ast.literal_eval` where they are literals
//! (`5`, `True`, `['a', 'b']`, `"quoted"`), and are text where they are not (`yes`, `0644`, `10.0.0.1`).

use crate::source::Span;
use crate::source::yaml::{Node, NodeKind, Style};

const MAX_DEPTH: usize = 32;

/// The value of an INI assignment; text where it is no Python literal.
pub(super) fn node(text: &str, span: Span) -> Node {
    let mut reader = Reader { rest: text, span };
    let read = reader.value(0);
    let end = reader.rest.trim_start();
    match read {
        Some(node) if end.is_empty() || end.starts_with('#') => node,
        _ => Node::str(text, span),
    }
}

struct Reader<'t> {
    rest: &'t str,
    span: Span,
}

impl Reader<'_> {
    fn value(&mut self, depth: usize) -> Option<Node> {
        self.rest = self.rest.trim_start();
        let kind = match self.rest.chars().next()? {
            _ if depth > MAX_DEPTH => return None,
            '[' => NodeKind::Seq(self.items(']', depth)?),
            '(' => NodeKind::Seq(self.items(')', depth)?),
            '{' => NodeKind::Map(self.entries(depth)?),
            '\'' | '"' => self.string()?,
            _ => self.word()?,
        };
        Some(Node::new(kind, self.span))
    }

    fn take(&mut self, expected: char) -> bool {
        self.rest = self.rest.trim_start();
        match self.rest.strip_prefix(expected) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn items(&mut self, close: char, depth: usize) -> Option<Vec<Node>> {
        self.rest = &self.rest[1..];
        let mut items = Vec::new();
        loop {
            if self.take(close) {
                return Some(items);
            }
            items.push(self.value(depth + 1)?);
            if !self.take(',') {
                // `(1)` is a number in brackets, not a tuple.
                let tuple_of_one = close == ')' && items.len() == 1;
                return (self.take(close) && !tuple_of_one).then_some(items);
            }
        }
    }

    fn entries(&mut self, depth: usize) -> Option<Vec<(Node, Node)>> {
        self.rest = &self.rest[1..];
        let mut entries: Vec<(Node, Node)> = Vec::new();
        loop {
            if self.take('}') {
                return Some(entries);
            }
            let key = self.value(depth + 1)?;
            if !self.take(':') {
                return None;
            }
            let value = self.value(depth + 1)?;
            entries.retain(|(known, _)| known.kind != key.kind);
            entries.push((key, value));
            if !self.take(',') {
                return self.take('}').then_some(entries);
            }
        }
    }

    fn string(&mut self) -> Option<NodeKind> {
        let quote = self.rest.chars().next()?;
        let mut text = String::new();
        let mut chars = self.rest.char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            match c {
                _ if c == quote => {
                    self.rest = &self.rest[at + 1..];
                    let style = if quote == '"' { Style::Double } else { Style::Single };
                    return Some(NodeKind::Str(text, style));
                }
                '\\' => match chars.next()?.1 {
                    'n' => text.push('\n'),
                    't' => text.push('\t'),
                    same @ ('\\' | '\'' | '"') => text.push(same),
                    other => text.extend(['\\', other]),
                },
                _ => text.push(c),
            }
        }
        None
    }

    fn word(&mut self) -> Option<NodeKind> {
        let end = self
            .rest
            .find(|c: char| !(c.is_alphanumeric() || "+-._".contains(c)))
            .unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        match word {
            "True" => Some(NodeKind::Bool(true)),
            "False" => Some(NodeKind::Bool(false)),
            "None" => Some(NodeKind::Null),
            _ => number(word),
        }
    }
}

/// Python's numbers: no leading zeros, `_` only between digits, `0x`, `0o`, `0b`, an exponent without a sign.
fn number(word: &str) -> Option<NodeKind> {
    let unsigned = word.strip_prefix(['+', '-']).unwrap_or(word);
    if unsigned.starts_with('_') || unsigned.ends_with('_') || unsigned.contains("__") {
        return None;
    }
    let sign = if word.starts_with('-') { "-" } else { "" };
    let digits = unsigned.replace('_', "");
    for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] {
        if let Some(body) = digits.strip_prefix(prefix) {
            return i64::from_str_radix(&format!("{sign}{body}"), radix)
                .ok()
                .map(NodeKind::Int);
        }
    }
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    if digits.bytes().all(|byte| byte.is_ascii_digit()) {
        let zeros = digits.len() > 1 && digits.starts_with('0') && digits.bytes().any(|byte| byte != b'0');
        return (!zeros).then(|| format!("{sign}{digits}").parse().ok().map(NodeKind::Int))?;
    }
    format!("{sign}{digits}").parse().ok().map(NodeKind::Float)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::source::FileId;
    use okd_agent::Value;

    fn value(text: &str) -> Value {
        let span = Span {
            file: FileId(0),
            start: 0,
            end: 0,
        };
        node(text, span).to_value()
    }

    #[test]
    fn reads_what_python_reads_and_leaves_the_rest_as_text() {
        for (text, expected) in [
            ("5", Value::Int(5)),
            ("-5", Value::Int(-5)),
            ("0o644", Value::Int(0o644)),
            ("0x1F", Value::Int(31)),
            ("1_000", Value::Int(1000)),
            ("00", Value::Int(0)),
            ("1.5", Value::Float(1.5)),
            ("1e3", Value::Float(1000.0)),
            ("True", Value::Bool(true)),
            ("None", Value::Null),
            ("'0644'", Value::from("0644")),
            ("\"a b\"", Value::from("a b")),
            ("8 # why", Value::Int(8)),
        ] {
            assert_eq!(value(text), expected, "{text}");
        }
        for text in [
            "yes",
            "true",
            "0644",
            "10.0.0.1",
            "a b",
            "",
            "1__0",
            "_1",
            "{{ x }}",
            "'a' b",
            "5 6",
            "[1",
            "nan",
            "inf",
            "-",
            "1.2.3",
            "(",
            "text # all of it",
        ] {
            assert_eq!(value(text), Value::from(text), "{text}");
        }
        assert_eq!(
            value("['a', 1, (2, 3), {'k': None,},]").to_string(),
            r#"["a", 1, [2, 3], {"k": null}]"#
        );
        assert_eq!(value(&"[".repeat(1000)), Value::from("[".repeat(1000)));
    }
}
