//! Mappings to structs by hand: each field taken by name and type, and what is left over is a mistake, never ignored.

use super::Span;
use super::yaml::{Node, NodeKind, Style};
use crate::error::{Diagnostic, Diagnostics, nearest};
use okd_agent::Value;

/// The fields of a mapping, taken one by one.
#[derive(Debug)]
pub struct Fields<'n> {
    node: &'n Node,
    what: String,
    noun: &'static str,
    taken: Vec<bool>,
}

impl<'n> Fields<'n> {
    /// The fields of a mapping; null is one without any. `what` names its owner in messages, as in "a task" or "`file`".
    ///
    /// # Errors
    /// `wrong-type` where it is anything else.
    pub fn new(node: &'n Node, what: impl Into<String>) -> Result<Self, Diagnostic> {
        let what = what.into();
        if node.as_map().is_none() && !node.is_null() {
            let message = format!("{what} is a mapping, not {}", node.type_name());
            return Err(Diagnostic::new("wrong-type", message)
                .at(node.span, "expected `key: value` here")
                .at_some(node.defined, "defined here"));
        }
        Ok(Fields {
            node,
            what,
            noun: "keyword",
            taken: vec![false; node.as_map().map_or(0, <[_]>::len)],
        })
    }

    /// What a key is called in messages: `keyword` unless said, else `parameter`, `variable`, …
    #[must_use]
    pub fn noun(mut self, noun: &'static str) -> Self {
        self.noun = noun;
        self
    }

    /// The mapping itself.
    #[must_use]
    pub fn node(&self) -> &'n Node {
        self.node
    }

    /// The name given to it.
    #[must_use]
    pub fn what(&self) -> &str {
        &self.what
    }

    /// Whether the key is there, taken or not.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.node.get(key).is_some()
    }

    /// Takes a key's value as it is.
    pub fn take(&mut self, key: &str) -> Option<&'n Node> {
        self.take_entry(key).map(|(_, value)| value)
    }

    /// Takes a key with its value.
    pub fn take_entry(&mut self, key: &str) -> Option<&'n (Node, Node)> {
        let entries = self.node.as_map()?;
        let at = entries.iter().position(|(one, _)| one.as_str() == Some(key))?;
        self.taken[at] = true;
        entries.get(at)
    }

    /// Takes a value that has to be there.
    ///
    /// # Errors
    /// `missing-key`.
    pub fn require(&mut self, key: &str) -> Result<&'n Node, Diagnostic> {
        let (what, noun, span) = (self.what.clone(), self.noun, self.node.span);
        self.take(key).ok_or_else(|| {
            Diagnostic::new("missing-key", format!("{what} needs the {noun} `{key}`"))
                .at(span, format!("no `{key}` in here"))
        })
    }

    /// Takes text; numbers and booleans become what they print. Null counts as absent, here and in what follows.
    ///
    /// # Errors
    /// `wrong-type` for a list or a mapping.
    pub fn string(&mut self, key: &str) -> Result<Option<String>, Diagnostic> {
        self.typed(key, "a string", |node| match &node.kind {
            NodeKind::Seq(_) | NodeKind::Map(_) => None,
            _ => Some(node.to_value().to_string()),
        })
    }

    /// Takes a boolean, also one written as text (`"yes"`).
    ///
    /// # Errors
    /// `wrong-type` for anything else.
    pub fn bool(&mut self, key: &str) -> Result<Option<bool>, Diagnostic> {
        self.typed(key, "a boolean", |node| node.to_value().to_bool())
    }

    /// Takes a whole number, also one written as text.
    ///
    /// # Errors
    /// `wrong-type` for anything else.
    pub fn int(&mut self, key: &str) -> Result<Option<i64>, Diagnostic> {
        self.typed(key, "a whole number", |node| match node.to_value() {
            Value::Int(number) => Some(number),
            Value::Str(text) => text.trim().parse().ok(),
            _ => None,
        })
    }

    /// Takes one of some words.
    ///
    /// # Errors
    /// `bad-value` with the nearest word, `wrong-type` for what is no text.
    pub fn choice(&mut self, key: &str, words: &[&'static str]) -> Result<Option<&'static str>, Diagnostic> {
        let Some(node) = self.take(key).filter(|node| !node.is_null()) else {
            return Ok(None);
        };
        let text = node.to_value().to_string();
        if let Some(word) = words.iter().find(|word| **word == text) {
            return Ok(Some(word));
        }
        let message = format!("`{text}` is not a value of `{key}` of {}", self.what);
        Err(Diagnostic::new("bad-value", message)
            .at(node.span, suggestion(&text, words.iter().copied()))
            .help(format!("it takes {}", listed(words))))
    }

    /// Takes a list of texts: a list, or one text. Every item keeps its place.
    ///
    /// # Errors
    /// `wrong-type` for anything else, or an item that is no text.
    pub fn strings(&mut self, key: &str) -> Result<Option<Vec<Node>>, Diagnostic> {
        self.list(key, |node| vec![node.clone()])
    }

    /// As [`Fields::strings`], where each text may hold several parted by commas.
    ///
    /// # Errors
    /// As [`Fields::strings`].
    pub fn comma_strings(&mut self, key: &str) -> Result<Option<Vec<Node>>, Diagnostic> {
        self.list(key, |node| split_commas(node).unwrap_or_else(|| vec![node.clone()]))
    }

    /// What nobody took.
    ///
    /// # Errors
    /// `unknown-key` for each, with the nearest of the `known` names.
    pub fn finish(self, known: &[&str]) -> Result<(), Diagnostics> {
        let mut mistakes = Diagnostics::default();
        for ((key, _), taken) in self.node.entries().zip(&self.taken) {
            if !taken {
                mistakes.push(self.unknown(key, known));
            }
        }
        mistakes.into_result(())
    }

    /// The keys that nobody took yet, with their values: the rest of a mapping whose other keys are free (variables, modules).
    pub fn rest(&self) -> impl Iterator<Item = &'n (Node, Node)> {
        let taken = &self.taken;
        self.node
            .entries()
            .zip(taken)
            .filter(|(_, taken)| !**taken)
            .map(|(entry, _)| entry)
    }

    fn unknown(&self, key: &Node, known: &[&str]) -> Diagnostic {
        let shown = key.to_value();
        let article = if self.noun.starts_with(['a', 'e', 'i', 'o', 'u']) {
            "an"
        } else {
            "a"
        };
        let message = format!("`{shown}` is not {article} {} of {}", self.noun, self.what);
        let label = suggestion(&shown.to_string(), known.iter().copied());
        Diagnostic::new("unknown-key", message)
            .at(key.span, label)
            .at_some(key.defined, "defined here")
    }

    fn typed<T>(
        &mut self,
        key: &str,
        expected: &str,
        read: impl FnOnce(&Node) -> Option<T>,
    ) -> Result<Option<T>, Diagnostic> {
        let Some(node) = self.take(key).filter(|node| !node.is_null()) else {
            return Ok(None);
        };
        read(node).map(Some).ok_or_else(|| self.wrong(key, expected, node))
    }

    fn wrong(&self, key: &str, expected: &str, node: &Node) -> Diagnostic {
        let found = match node.as_str() {
            Some(text) if !text.contains('\n') && text.len() < 60 => format!("the string `{text}`"),
            _ => node.type_name().to_owned(),
        };
        Diagnostic::new(
            "wrong-type",
            format!("`{key}` of {} is {expected}, not {found}", self.what),
        )
        .at(node.span, format!("expected {expected}"))
        .at_some(node.defined, "defined here")
    }

    fn list(&mut self, key: &str, split: impl Fn(&Node) -> Vec<Node>) -> Result<Option<Vec<Node>>, Diagnostic> {
        let Some(node) = self.take(key).filter(|node| !node.is_null()) else {
            return Ok(None);
        };
        let items = node.as_seq().unwrap_or(std::slice::from_ref(node));
        if let Some(odd) = items
            .iter()
            .find(|item| item.as_seq().is_some() || item.as_map().is_some())
        {
            return Err(self.wrong(key, "a list of strings", odd));
        }
        Ok(Some(items.iter().flat_map(split).collect()))
    }
}

/// The parts of a text parted by commas, each with its place; none for what is no text.
#[must_use]
pub fn split_commas(node: &Node) -> Option<Vec<Node>> {
    let NodeKind::Str(text, _) = &node.kind else {
        return None;
    };
    let mut parts = Vec::new();
    let mut at = 0;
    for part in text.split(',') {
        let lead = part.len() - part.trim_start().len();
        let word = part.trim();
        if !word.is_empty() {
            let mut one = node.clone();
            one.kind = NodeKind::Str(word.to_owned(), Style::Plain);
            one.span = piece(node.span, text, at + lead, word.len());
            parts.push(one);
        }
        at += part.len() + 1;
    }
    Some(parts)
}

/// The place of a part of a text that was written at `span` on one line without escapes; else the whole.
#[must_use]
pub fn piece(span: Span, text: &str, at: usize, len: usize) -> Span {
    let quote = match ((span.end - span.start) as usize).checked_sub(text.len()) {
        Some(0) => 0,
        Some(2) => 1,
        _ => return span,
    };
    if text.contains('\n') || at + len > text.len() {
        return span;
    }
    let start = span.start + quote + at as u32;
    Span {
        file: span.file,
        start,
        end: start + len as u32,
    }
}

fn suggestion<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(word, known).map_or_else(String::new, |name| format!("did you mean `{name}`?"))
}

fn listed(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => String::new(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::source::{SourceMap, yaml};
    use std::path::Path;

    fn node(text: &str) -> (SourceMap, Node) {
        let sources = SourceMap::default();
        let file = sources.add(Path::new("t.yml"), text.to_owned());
        let node = yaml::parse(&sources, file).unwrap();
        (sources, node)
    }

    #[test]
    fn takes_by_type() {
        let (sources, node) = node("s: 5\nb: 'yes'\ni: '7'\nn:\nl: x\nc: 'ä, b ,,c'\nw: linear\nr: [1]\n");
        let mut fields = Fields::new(&node, "a play").unwrap();
        assert_eq!(fields.string("s").unwrap().as_deref(), Some("5"));
        assert_eq!(fields.bool("b").unwrap(), Some(true));
        assert_eq!(fields.int("i").unwrap(), Some(7));
        assert_eq!(fields.string("n").unwrap(), None);
        assert_eq!(fields.strings("l").unwrap().unwrap().len(), 1);
        let parts = fields.comma_strings("c").unwrap().unwrap();
        let raw: Vec<String> = parts.iter().map(|part| part.raw(&sources)).collect();
        assert_eq!(raw, ["ä", "b", "c"]);
        assert_eq!(fields.choice("w", &["linear", "free"]).unwrap(), Some("linear"));
        assert_eq!(fields.string("absent").unwrap(), None);
        assert_eq!(fields.rest().count(), 1);
        assert!(fields.require("r").is_ok());
        assert!(fields.finish(&[]).is_ok());
    }

    #[test]
    fn mistakes_are_told_with_place_and_nearest_name() {
        let (sources, node) = node("hots: all\nbecome: [1]\nserial: one\nstrategy: lineer\n1: x\n");
        let mut fields = Fields::new(&node, "a play").unwrap();
        let mut mistakes = Diagnostics::default();
        mistakes.absorb(fields.bool("become"));
        mistakes.absorb(fields.int("serial"));
        mistakes.absorb(fields.choice("strategy", &["linear", "free"]));
        mistakes.absorb(fields.require("hosts").map(|_| ()));
        mistakes.absorb(fields.finish(&["hosts", "become"]));
        mistakes.absorb(Fields::new(node.get("hots").unwrap(), "a task").map(|_| ()));
        let expected = "error[unknown-key]: `hots` is not a keyword of a play
 --> t.yml:1:1
  |
1 | hots: all
  | ^^^^ did you mean `hosts`?

error[missing-key]: a play needs the keyword `hosts`
 --> t.yml:1:1
  |
1 | hots: all
  | ^^^^^^^^^ no `hosts` in here

error[wrong-type]: a task is a mapping, not a string
 --> t.yml:1:7
  |
1 | hots: all
  |       ^^^ expected `key: value` here

error[wrong-type]: `become` of a play is a boolean, not a list
 --> t.yml:2:9
  |
2 | become: [1]
  |         ^^^ expected a boolean

error[wrong-type]: `serial` of a play is a whole number, not the string `one`
 --> t.yml:3:9
  |
3 | serial: one
  |         ^^^ expected a whole number

error[bad-value]: `lineer` is not a value of `strategy` of a play
 --> t.yml:4:11
  |
4 | strategy: lineer
  |           ^^^^^^ did you mean `linear`?
  |
  = help: it takes `linear` or `free`

error[unknown-key]: `1` is not a keyword of a play
 --> t.yml:5:1
  |
5 | 1: x
  | ^
";
        assert_eq!(mistakes.render(&sources, false), expected);
    }
}
