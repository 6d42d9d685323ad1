//! YAML as a tree that keeps the place of every key and scalar, how each scalar was written, and its tag.

use super::{FileId, SourceMap, Span, compose, offsets};
use crate::error::{Diagnostic, Diagnostics};
use okd_agent::Value;
use okd_agent::value::Map;

/// A YAML node with its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Where it stands. For an alias: where it is used.
    pub span: Span,
    /// Where its anchor defines it, when it came by an alias or a merge key.
    pub defined: Option<Span>,
    /// An application tag such as `!vault` or `!unsafe`, without core-schema tags.
    pub tag: Option<String>,
    /// What it is.
    pub kind: NodeKind,
}

/// What a node holds. Plain scalars are resolved as Ansible's YAML 1.1 does: `yes/no/on/off` are booleans, `0644` is octal.
#[derive(Debug, Clone, PartialEq)]
pub enum NodeKind {
    /// `null`, `~` or nothing.
    Null,
    /// A boolean.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number with a fraction.
    Float(f64),
    /// Text, with the way it was written.
    Str(String, Style),
    /// A sequence.
    Seq(Vec<Node>),
    /// A mapping in the order written; keys are unique (duplicates are an error), merge keys are resolved.
    Map(Vec<(Node, Node)>),
}

/// How a scalar was written; template offsets map back to the file through it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Without quotes.
    Plain,
    /// `'…'`.
    Single,
    /// `"…"`.
    Double,
    /// `|`.
    Literal,
    /// `>`.
    Folded,
}

/// Parses a file that holds one document. An empty file is null.
///
/// # Errors
/// Everything that could be found wrong: syntax, duplicate keys, unknown tags, several documents, a tree beyond the budget
/// (200 000 nodes with aliases expanded, 64 levels, 32 MiB).
pub fn parse(sources: &SourceMap, file: FileId) -> Result<Node, Diagnostics> {
    let documents = parse_all(sources, file)?;
    if let Some(second) = documents.get(1) {
        let one = Diagnostic::new(
            "several-documents",
            "several YAML documents in one file, where one is expected",
        )
        .at(second.span, "the second document begins before this")
        .help("remove the `---` line between them, or put each into a file of its own");
        return Err(one.into());
    }
    let nothing = Span { file, start: 0, end: 0 };
    Ok(documents
        .into_iter()
        .next()
        .unwrap_or_else(|| Node::new(NodeKind::Null, nothing)))
}

/// Parses every document of a file.
///
/// # Errors
/// As [`parse`].
pub fn parse_all(sources: &SourceMap, file: FileId) -> Result<Vec<Node>, Diagnostics> {
    compose::documents(&sources.file(file).text, file)
}

impl Node {
    /// A node with nothing but a kind and a place.
    #[must_use]
    pub fn new(kind: NodeKind, span: Span) -> Self {
        Node {
            span,
            defined: None,
            tag: None,
            kind,
        }
    }

    /// Text that stands for itself at a place, for what is not written in YAML (INI values, `-e k=v`, free-form arguments).
    #[must_use]
    pub fn str(text: impl Into<String>, span: Span) -> Self {
        Node::new(NodeKind::Str(text.into(), Style::Plain), span)
    }

    /// A scalar as it was typed, where a name belongs: `off`, `null` and `012` are names there.
    #[must_use]
    pub fn typed(&self, sources: &SourceMap) -> String {
        let typed = || {
            let span = self.written();
            let file = sources.file(span.file);
            let (start, end) = (span.start as usize, span.end as usize);
            file.text.get(start..end).map(|text| text.trim().to_owned())
        };
        match &self.kind {
            NodeKind::Str(text, _) => text.clone(),
            _ => typed()
                .filter(|text| !text.is_empty())
                .unwrap_or_else(|| self.to_value().to_string()),
        }
    }

    /// This node, with scalars that are no text as they were typed; of a list, its items.
    #[must_use]
    pub fn as_names(&self, sources: &SourceMap) -> Node {
        let kind = match &self.kind {
            NodeKind::Bool(_) | NodeKind::Int(_) | NodeKind::Float(_) => {
                NodeKind::Str(self.typed(sources), Style::Plain)
            }
            NodeKind::Seq(items) => NodeKind::Seq(items.iter().map(|item| item.as_names(sources)).collect()),
            kind => kind.clone(),
        };
        Node { kind, ..self.clone() }
    }

    /// The text, where this is text.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match &self.kind {
            NodeKind::Str(text, _) => Some(text),
            _ => None,
        }
    }

    /// The items, where this is a sequence.
    #[must_use]
    pub fn as_seq(&self) -> Option<&[Node]> {
        match &self.kind {
            NodeKind::Seq(items) => Some(items),
            _ => None,
        }
    }

    /// The entries, where this is a mapping.
    #[must_use]
    pub fn as_map(&self) -> Option<&[(Node, Node)]> {
        match &self.kind {
            NodeKind::Map(entries) => Some(entries),
            _ => None,
        }
    }

    /// Whether this is null.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self.kind, NodeKind::Null)
    }

    /// The items of a sequence; nothing for any other kind.
    pub fn items(&self) -> std::slice::Iter<'_, Node> {
        self.as_seq().unwrap_or_default().iter()
    }

    /// The entries of a mapping; nothing for any other kind.
    pub fn entries(&self) -> std::slice::Iter<'_, (Node, Node)> {
        self.as_map().unwrap_or_default().iter()
    }

    /// A mapping's value by its text key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|(_, value)| value)
    }

    /// A mapping's key and value by its text key.
    #[must_use]
    pub fn entry(&self, key: &str) -> Option<&(Node, Node)> {
        self.entries().find(|(one, _)| one.as_str() == Some(key))
    }

    /// Where it is written: the definition of what came by an alias or a merge key, else its own place.
    #[must_use]
    pub fn written(&self) -> Span {
        self.defined.unwrap_or(self.span)
    }

    /// The source as written, quotes included (of a block scalar: its lines without the header).
    #[must_use]
    pub fn raw(&self, sources: &SourceMap) -> String {
        let span = self.written();
        let file = sources.file(span.file);
        file.text
            .get(span.start as usize..span.end as usize)
            .unwrap_or_default()
            .to_owned()
    }

    /// What to call it in a message.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self.kind {
            NodeKind::Null => "null",
            NodeKind::Bool(_) => "a boolean",
            NodeKind::Int(_) | NodeKind::Float(_) => "a number",
            NodeKind::Str(..) => "a string",
            NodeKind::Seq(_) => "a list",
            NodeKind::Map(_) => "a mapping",
        }
    }

    /// The value, templates unrendered and tags dropped. Keys that are not text become it, as they would print.
    #[must_use]
    pub fn to_value(&self) -> Value {
        match &self.kind {
            NodeKind::Null => Value::Null,
            NodeKind::Bool(truth) => Value::Bool(*truth),
            NodeKind::Int(number) => Value::Int(*number),
            NodeKind::Float(number) => Value::Float(*number),
            NodeKind::Str(text, _) => Value::Str(text.clone()),
            NodeKind::Seq(items) => Value::List(items.iter().map(Node::to_value).collect()),
            NodeKind::Map(entries) => Value::Map(
                entries
                    .iter()
                    .map(|(key, value)| (key.to_value().to_string(), value.to_value()))
                    .collect::<Map>(),
            ),
        }
    }

    /// The place in the file of bytes `start..end` of this scalar's text. Where text and source cannot be matched (it was
    /// not written in this file as a scalar), the scalar's whole place.
    #[must_use]
    pub fn file_span(&self, sources: &SourceMap, start: usize, end: usize) -> Span {
        let whole = self.written();
        let NodeKind::Str(text, style) = &self.kind else {
            return whole;
        };
        let file = sources.file(whole.file);
        let raw = file.text.get(whole.start as usize..whole.end as usize);
        match raw.and_then(|raw| offsets::locate(text, raw, *style, start, end)) {
            Some(place) => Span {
                file: whole.file,
                start: whole.start + place.start as u32,
                end: whole.start + place.end as u32,
            },
            None => whole,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::path::Path;

    fn load(text: &str) -> (SourceMap, FileId) {
        let sources = SourceMap::default();
        let file = sources.add(Path::new("test.yml"), text.to_owned());
        (sources, file)
    }

    fn tree(text: &str) -> (SourceMap, Node) {
        let (sources, file) = load(text);
        let node = parse(&sources, file).unwrap_or_else(|mistakes| panic!("{}", mistakes.render(&sources, false)));
        (sources, node)
    }

    fn slice(sources: &SourceMap, span: Span) -> String {
        sources.file(span.file).text[span.start as usize..span.end as usize].to_owned()
    }

    #[test]
    fn spans_are_bytes_with_text_beyond_ascii() {
        let (sources, node) = tree("# größe\nü: \"é…\"\nlist: [ä, {ö: 'ß'}] # ✓\nend: |\n  zwölf\n  ✓\n\n");
        assert_eq!(slice(&sources, node.entry("ü").unwrap().0.span), "ü");
        assert_eq!(node.get("ü").unwrap().raw(&sources), "\"é…\"");
        let list = node.get("list").unwrap();
        assert_eq!(list.raw(&sources), "[ä, {ö: 'ß'}]");
        assert_eq!(list.as_seq().unwrap()[1].raw(&sources), "{ö: 'ß'}");
        assert_eq!(node.get("end").unwrap().raw(&sources), "zwölf\n  ✓");
        assert_eq!(node.get("end").unwrap().as_str(), Some("zwölf\n✓\n"));
        assert!(node.raw(&sources).starts_with("ü: ") && node.raw(&sources).ends_with("zwölf\n  ✓"));
    }

    #[test]
    fn aliases_keep_both_places() {
        let (sources, node) = tree("a: &x {k: v}\nb: *x\n");
        let b = node.get("b").unwrap();
        assert_eq!(slice(&sources, b.span), "*x");
        assert_eq!(slice(&sources, b.defined.unwrap()), "{k: v}");
        assert_eq!(b.get("k").unwrap().as_str(), Some("v"));
        assert_eq!(b.raw(&sources), "{k: v}");
    }

    #[test]
    fn merge_keys_yield_to_explicit_and_earlier_ones() {
        let (sources, node) =
            tree("one: &one {a: 1, b: 1}\ntwo: &two {b: 2, c: 2}\nm:\n  c: 3\n  <<: [*one, *two]\nq: {'<<': x}\n");
        let m = node.get("m").unwrap();
        assert_eq!(m.to_value().to_string(), r#"{"a": 1, "b": 1, "c": 3}"#);
        let (key, value) = m.entry("a").unwrap();
        assert_eq!(
            (slice(&sources, key.span), slice(&sources, value.span)),
            ("*one".into(), "*one".into())
        );
        assert_eq!(slice(&sources, value.defined.unwrap()), "1");
        assert_eq!(m.get("c").unwrap().defined, None);
        assert_eq!(node.get("q").unwrap().get("<<").unwrap().as_str(), Some("x"));
    }

    #[test]
    fn tags_are_kept_or_applied() {
        let (sources, node) = tree(
            "v: !vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  6162\nu: !unsafe '{{ no }}'\ns: !!str 0644\ni: !!int \"7\"\nn: !!str\nm: !!map {a: 1}\ne: ! 12\n",
        );
        let v = node.get("v").unwrap();
        assert_eq!(v.tag.as_deref(), Some("!vault"));
        assert_eq!(v.as_str(), Some("$ANSIBLE_VAULT;1.1;AES256\n6162\n"));
        assert_eq!(v.raw(&sources), "$ANSIBLE_VAULT;1.1;AES256\n  6162");
        let u = node.get("u").unwrap();
        assert_eq!(
            (u.tag.as_deref(), u.raw(&sources).as_str()),
            (Some("!unsafe"), "'{{ no }}'")
        );
        assert_eq!(node.get("s").unwrap().as_str(), Some("0644"));
        assert_eq!(node.get("i").unwrap().kind, NodeKind::Int(7));
        assert_eq!(node.get("n").unwrap().as_str(), Some(""));
        assert_eq!(node.get("e").unwrap().as_str(), Some("12"));
        assert_eq!(node.get("m").unwrap().tag, None);
    }

    #[test]
    fn nothing_is_null_with_a_place() {
        let (_, node) = tree("");
        assert!(node.is_null());
        let (_, node) = tree("---\n# only this\n");
        assert!(node.is_null());
        let (sources, node) = tree("a:\nb:  # none\nc: ~\n");
        let place = |key: &str| sources.place(node.get(key).unwrap().span);
        assert_eq!(
            (place("a"), place("b"), place("c")),
            ("test.yml:1:3".into(), "test.yml:2:3".into(), "test.yml:3:4".into())
        );
    }

    #[test]
    fn text_offsets_lead_back_to_the_file() {
        let source = "p: ä {{ one }}\nm: a\n  b {{ one }}\ns: 'it''s {{ one }}'\nd: \"ü\\t\\u00fc\\\n  {{ one }}\"\nl: |\n\n  é\n    {{ one }}\nf: >-\n  a\n  b\n\n  {{ one }}\n";
        let (sources, node) = tree(source);
        for (key, value) in node.entries() {
            let text = value.as_str().unwrap();
            let start = text.find("one").unwrap();
            let span = value.file_span(&sources, start, start + 3);
            assert_eq!(slice(&sources, span), "one", "{}", key.as_str().unwrap());
            let at = sources.file(span.file).text[..span.start as usize]
                .matches("one")
                .count();
            let index = node.entries().position(|(other, _)| other == key).unwrap();
            assert_eq!(at, index);
        }
        let foreign = Node::str("other text", node.get("p").unwrap().span);
        assert_eq!(foreign.file_span(&sources, 2, 3), foreign.span);
    }

    #[test]
    fn several_documents_are_one_too_many() {
        let (sources, file) = load("a: 1\n---\nb: 2\n");
        assert_eq!(parse_all(&sources, file).unwrap().len(), 2);
        assert_eq!(parse(&sources, file).unwrap_err().0[0].code, "several-documents");
    }

    #[test]
    fn budgets_hold() {
        let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..9 {
            let before = format!("*a{}", level - 1);
            bomb += &format!("a{level}: &a{level} [{}]\n", vec![before; 10].join(", "));
        }
        let (sources, file) = load(&bomb);
        assert_eq!(parse(&sources, file).unwrap_err().0[0].code, "too-large");
        let (sources, file) = load(&"[".repeat(100_000));
        assert_eq!(parse(&sources, file).unwrap_err().0[0].code, "too-deep");
        let chain: String = (1..100).map(|n| format!("- &a{n} [*a{}]\n", n - 1)).collect();
        let (sources, file) = load(&format!("- &a0 x\n{chain}"));
        assert_eq!(parse(&sources, file).unwrap_err().0[0].code, "too-deep");
    }

    fn inside(sources: &SourceMap, span: Span) -> bool {
        let text = &sources.file(span.file).text;
        span.start <= span.end && text.get(span.start as usize..span.end as usize).is_some()
    }

    fn all_inside(sources: &SourceMap, node: &Node) -> bool {
        inside(sources, node.span)
            && node.defined.is_none_or(|span| inside(sources, span))
            && node.items().all(|item| all_inside(sources, item))
            && node
                .entries()
                .all(|(key, value)| all_inside(sources, key) && all_inside(sources, value))
    }

    proptest! {
        #[test]
        fn any_text_parses_or_is_refused_with_places_in_the_file(
            text in r#"([ \n\t:\-'"|>\[\]{},&*!#%?@`~<=a-c0-2é✓\\\r\u{feff}]|: |- |  |\{\{|\}\}|\n  |&a |\*a|<<: |!vault |!!str |---\n|\|2-\n){0,60}"#
        ) {
            let (sources, file) = load(&text);
            match parse(&sources, file) {
                Ok(node) => {
                    prop_assert!(all_inside(&sources, &node));
                    prop_assert!(!node.to_value().to_string().is_empty() || node.as_str() == Some(""));
                }
                Err(mistakes) => {
                    prop_assert!(!mistakes.is_empty());
                    for label in mistakes.0.iter().flat_map(|one| &one.labels) {
                        prop_assert!(inside(&sources, label.span), "{:?} of {:?}", label, text);
                    }
                    prop_assert!(mistakes.render(&sources, false).starts_with("error["));
                }
            }
        }

        #[test]
        fn text_offsets_always_lie_in_the_scalar(
            text in "[a-c{}é \\n'\"\\\\]{1,30}", quote in 0..4usize, start in 0..30usize, len in 0..10usize
        ) {
            let source = match quote {
                0 => format!("- '{}'\n", text.replace('\'', "''").replace('\n', "\n\n  ")),
                1 => format!("- \"{}\"\n", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")),
                2 => format!("- |\n  {}\n", text.replace('\n', "\n  ")),
                _ => format!("- >\n  {}\n", text.replace('\n', "\n  ")),
            };
            let (sources, file) = load(&source);
            if let Ok(node) = parse(&sources, file) && let Some(scalar) = node.items().next() {
                let span = scalar.file_span(&sources, start, start + len);
                prop_assert!(inside(&sources, span));
                prop_assert!(scalar.span.start <= span.start && span.end <= scalar.span.end);
            }
        }
    }
}
