//! From the events of `saphyr-parser` to [`Node`]s: anchors, merge keys, tags, duplicate keys, budgets.

use super::yaml::{Node, NodeKind, Style};
use super::{FileId, Span, hint, scalar};
use crate::error::{Diagnostic, Diagnostics};
use saphyr_parser::{Event, Parser, ScalarStyle, StrInput, Tag};
use std::collections::HashMap;

const MAX_BYTES: usize = 32 << 20;
const MAX_NODES: usize = 200_000;
const MAX_DEPTH: usize = 64;
/// The application tags that Ansible knows.
const TAGS: [&str; 3] = ["!vault", "!vault-encrypted", "!unsafe"];
const MERGE: &str = "<<";

/// Every document of a text, all mistakes at once as far as the syntax can be read.
pub(super) fn documents(text: &str, file: FileId) -> Result<Vec<Node>, Diagnostics> {
    let start = Span { file, start: 0, end: 0 };
    if text.len() > MAX_BYTES {
        let one = Diagnostic::new("too-large", "the file is larger than 32 MiB");
        return Err(one.at(start, "").into());
    }
    let mut composer = Composer {
        text,
        file,
        offsets: (!text.is_ascii()).then(|| text.char_indices().map(|(at, _)| at as u32).collect()),
        parser: Parser::new_from_str(text),
        anchors: HashMap::new(),
        nodes: 0,
        mistakes: Diagnostics::default(),
    };
    let mut documents = Vec::new();
    loop {
        match composer.document() {
            Ok(Some(node)) => documents.push(node),
            Ok(None) => break,
            Err(fatal) => {
                composer.mistakes.push(*fatal);
                break;
            }
        }
    }
    composer.mistakes.into_result(documents)
}

/// What makes reading on pointless.
type Fatal = Box<Diagnostic>;

struct Composer<'t> {
    text: &'t str,
    file: FileId,
    /// Byte offsets by character; none for ASCII, where both are the same.
    offsets: Option<Vec<u32>>,
    parser: Parser<'t, StrInput<'t>>,
    anchors: HashMap<usize, Anchored>,
    nodes: usize,
    mistakes: Diagnostics,
}

struct Anchored {
    node: Node,
    nodes: usize,
    height: usize,
}

/// A node's properties as the parser gives them.
struct Properties<'t> {
    anchor: usize,
    tag: Option<std::borrow::Cow<'t, Tag>>,
    /// From the first property to the end of the node's first token.
    place: Span,
}

impl<'t> Composer<'t> {
    fn document(&mut self) -> Result<Option<Node>, Fatal> {
        loop {
            match self.next()? {
                (Event::StreamEnd, _) => return Ok(None),
                (Event::Nothing | Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd, _) => {}
                (event, span) => {
                    let node = self.node(event, span, 0)?;
                    self.anchors.clear();
                    return Ok(Some(node));
                }
            }
        }
    }

    fn next(&mut self) -> Result<(Event<'t>, Span), Fatal> {
        match self.parser.next_event() {
            Some(Ok((event, place))) => Ok((event, self.span(place.start.index(), place.end.index()))),
            Some(Err(error)) => {
                let at = self.byte(error.marker().index());
                Err(Box::new(hint::explain(self.text, self.file, at, error.info())))
            }
            None => Ok((Event::StreamEnd, self.span(usize::MAX, usize::MAX))),
        }
    }

    fn byte(&self, character: usize) -> usize {
        let byte = match &self.offsets {
            None => character,
            Some(offsets) => offsets.get(character).map_or(self.text.len(), |at| *at as usize),
        };
        byte.min(self.text.len())
    }

    fn span(&self, start: usize, end: usize) -> Span {
        let start = self.byte(start);
        Span {
            file: self.file,
            start: start as u32,
            end: self.byte(end).max(start) as u32,
        }
    }

    fn node(&mut self, event: Event<'t>, place: Span, depth: usize) -> Result<Node, Fatal> {
        let before = self.nodes;
        self.spend(1, place)?;
        check_depth(depth, place)?;
        let (anchor, node) = match event {
            Event::Alias(id) => return self.alias(id, place, depth),
            Event::Scalar(text, style, anchor, tag) => {
                (anchor, self.scalar(&text, style, Properties { anchor, tag, place }))
            }
            Event::SequenceStart(anchor, tag) => (anchor, self.sequence(Properties { anchor, tag, place }, depth)?),
            Event::MappingStart(anchor, tag) => (anchor, self.mapping(Properties { anchor, tag, place }, depth)?),
            _ => {
                return Err(Box::new(hint::explain(
                    self.text,
                    self.file,
                    place.start as usize,
                    "unexpected event",
                )));
            }
        };
        if anchor > 0 {
            let anchored = Anchored {
                height: height(&node),
                nodes: self.nodes - before,
                node: node.clone(),
            };
            self.anchors.insert(anchor, anchored);
        }
        Ok(node)
    }

    fn spend(&mut self, nodes: usize, place: Span) -> Result<(), Fatal> {
        self.nodes += nodes;
        if self.nodes <= MAX_NODES {
            return Ok(());
        }
        let message = format!("more than {MAX_NODES} YAML nodes, aliases expanded");
        Err(Box::new(
            Diagnostic::new("too-large", message).at(place, "the limit is reached here"),
        ))
    }

    fn alias(&mut self, id: usize, place: Span, depth: usize) -> Result<Node, Fatal> {
        let Some(anchored) = self.anchors.get(&id) else {
            let one = Diagnostic::new("recursive-alias", "an alias stands inside what its own anchor names");
            return Err(Box::new(one.at(place, "")));
        };
        check_depth(depth + anchored.height, place)?;
        let (nodes, mut node) = (anchored.nodes, anchored.node.clone());
        self.spend(nodes, place)?;
        node.defined = Some(node.written());
        node.span = place;
        Ok(node)
    }

    /// Where the node itself begins, behind its tag and anchor.
    fn begin(&self, properties: &Properties<'_>) -> usize {
        let (mut at, end) = (properties.place.start as usize, properties.place.end as usize);
        if properties.anchor == 0 && properties.tag.is_none() {
            return at;
        }
        loop {
            let rest = self.text.get(at..end).unwrap_or_default();
            let skipped = match rest.chars().next() {
                Some('!' | '&') => rest.find(char::is_whitespace).unwrap_or(rest.len()),
                Some('#') => rest.find('\n').unwrap_or(rest.len()),
                Some(c) if c.is_whitespace() => rest.len() - rest.trim_start().len(),
                _ => return at,
            };
            at += skipped;
        }
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, properties: Properties<'t>) -> Node {
        let style = match style {
            ScalarStyle::Plain => Style::Plain,
            ScalarStyle::SingleQuoted => Style::Single,
            ScalarStyle::DoubleQuoted => Style::Double,
            ScalarStyle::Literal => Style::Literal,
            ScalarStyle::Folded => Style::Folded,
        };
        let mut start = self.begin(&properties);
        let mut end = (properties.place.end as usize).max(start);
        if matches!(style, Style::Literal | Style::Folded) {
            let raw = &self.text[start..end];
            let header = raw.starts_with(['|', '>']) && (properties.anchor > 0 || properties.tag.is_some());
            let content = raw
                .find('\n')
                .filter(|_| header)
                .map_or(raw, |line| raw[line..].trim_start());
            start = end - content.len();
            end = start + content.trim_end().len();
        }
        let span = Span {
            file: self.file,
            start: start as u32,
            end: end as u32,
        };
        let kind = match style {
            Style::Plain => scalar::resolve(text),
            _ => NodeKind::Str(text.to_owned(), style),
        };
        let (kind, tag) = self.tagged(kind, text, style, properties.tag.as_deref(), span);
        Node {
            span,
            defined: None,
            tag,
            kind,
        }
    }

    /// Applies a core tag, keeps an application's, notes an unknown one.
    fn tagged(
        &mut self,
        kind: NodeKind,
        text: &str,
        style: Style,
        tag: Option<&Tag>,
        span: Span,
    ) -> (NodeKind, Option<String>) {
        let Some(tag) = tag else {
            return (kind, None);
        };
        let name = format!("{}{}", tag.handle, tag.suffix);
        let core = name.strip_prefix("tag:yaml.org,2002:").map(str::to_owned);
        let scalar = !matches!(kind, NodeKind::Seq(_) | NodeKind::Map(_));
        let applied = match (core.as_deref(), &kind) {
            (Some("str"), _) if scalar => Some(NodeKind::Str(text.to_owned(), style)),
            (Some("int"), _) if scalar => scalar::int(text).map(NodeKind::Int),
            (Some("float"), _) if scalar => scalar::float(text)
                .or_else(|| scalar::int(text).map(|number| number as f64))
                .map(NodeKind::Float),
            (Some("bool"), _) if scalar => Some(scalar::resolve(text)).filter(|kind| matches!(kind, NodeKind::Bool(_))),
            (Some("null"), _) if scalar => {
                Some(NodeKind::Null).filter(|_| matches!(scalar::resolve(text), NodeKind::Null))
            }
            (Some("seq"), NodeKind::Seq(_)) | (Some("map"), NodeKind::Map(_)) => Some(kind.clone()),
            (None, _) if name == "!" && scalar => Some(NodeKind::Str(text.to_owned(), style)),
            (None, _) if name == "!" => Some(kind.clone()),
            (None, _) if TAGS.contains(&name.as_str()) => return (kind, Some(name)),
            _ => None,
        };
        if let Some(kind) = applied {
            return (kind, None);
        }
        let shown = core.map_or(name, |core| format!("!!{core}"));
        let one = Diagnostic::new(
            "unknown-tag",
            format!("the tag `{shown}` does not fit here or is not supported"),
        )
        .at(span, "tagged with it")
        .did_you_mean(&shown, TAGS);
        self.mistakes.push(one);
        (kind, None)
    }

    /// The whole of a collection, from its first byte to the last of what it holds.
    fn extent(&self, start: usize, end_token: Span, last: Option<u32>) -> Span {
        let byte = |at: usize| self.text.as_bytes().get(at).copied().unwrap_or_default();
        // The closing token's own end lies behind the comment that follows it.
        let closed = b"[{".contains(&byte(start)) && b"]}".contains(&byte(end_token.start as usize));
        let end = if closed {
            end_token.start + 1
        } else {
            last.unwrap_or(start as u32)
        };
        Span {
            file: self.file,
            start: start as u32,
            end: end.max(start as u32),
        }
    }

    fn sequence(&mut self, properties: Properties<'t>, depth: usize) -> Result<Node, Fatal> {
        let mut items: Vec<Node> = Vec::new();
        let end = loop {
            match self.next()? {
                (Event::SequenceEnd, place) => break place,
                (event, place) => items.push(self.node(event, place, depth + 1)?),
            }
        };
        let span = self.extent(self.begin(&properties), end, items.last().map(|item| item.span.end));
        let (kind, tag) = self.tagged(NodeKind::Seq(items), "", Style::Plain, properties.tag.as_deref(), span);
        Ok(Node {
            span,
            defined: None,
            tag,
            kind,
        })
    }

    fn mapping(&mut self, properties: Properties<'t>, depth: usize) -> Result<Node, Fatal> {
        let start = self.begin(&properties);
        let mut entries = Entries::default();
        let mut last = None;
        let end = loop {
            let key = match self.next()? {
                (Event::MappingEnd, place) => break place,
                (event, place) => {
                    self.refuse_template(start, &event, place)?;
                    self.node(event, place, depth + 1)?
                }
            };
            let (event, place) = self.next()?;
            let mut value = self.node(event, place, depth + 1)?;
            if value.is_null() && value.span.start == value.span.end {
                value.span = self.after_colon(key.span);
            }
            last = Some(value.span.end);
            self.mistakes.0.extend(entries.insert(key, value));
        };
        let span = self.extent(start, end, last);
        let (kind, tag) = self.tagged(
            NodeKind::Map(entries.finish()),
            "",
            Style::Plain,
            properties.tag.as_deref(),
            span,
        );
        Ok(Node {
            span,
            defined: None,
            tag,
            kind,
        })
    }

    /// `key: {{ var }}` is a mapping with a mapping for a key, to YAML; nobody means that.
    fn refuse_template(&self, start: usize, key: &Event<'_>, place: Span) -> Result<(), Fatal> {
        let doubled = matches!(key, Event::MappingStart(..))
            && place.start as usize == start + 1
            && self.text.get(start..).is_some_and(|rest| rest.starts_with("{{"));
        if doubled {
            Err(Box::new(hint::unquoted_template(self.text, self.file, start)))
        } else {
            Ok(())
        }
    }

    /// Nothing stands behind a key: the place just behind its colon.
    fn after_colon(&self, key: Span) -> Span {
        let rest = self.text.get(key.end as usize..).unwrap_or_default();
        let blank = rest.len() - rest.trim_start_matches([' ', '\t']).len();
        let width = if rest[blank..].starts_with(':') { blank + 1 } else { 0 };
        let at = key.end + width as u32;
        Span {
            file: self.file,
            start: at,
            end: at,
        }
    }
}

fn check_depth(depth: usize, place: Span) -> Result<(), Fatal> {
    if depth <= MAX_DEPTH {
        return Ok(());
    }
    let message = format!("more than {MAX_DEPTH} levels of nesting");
    Err(Box::new(
        Diagnostic::new("too-deep", message).at(place, "too deep here"),
    ))
}

fn height(node: &Node) -> usize {
    let below = node
        .items()
        .chain(node.entries().map(|(_, value)| value))
        .map(|child| height(child) + 1);
    below.max().unwrap_or(0)
}

/// The entries of a mapping while it is read: keys once, merges apart.
#[derive(Default)]
struct Entries {
    explicit: Vec<(Node, Node)>,
    index: HashMap<String, usize>,
    merged: Vec<(Node, Node)>,
    merge_key: Option<Span>,
}

impl Entries {
    fn insert(&mut self, key: Node, value: Node) -> Option<Diagnostic> {
        if matches!(&key.kind, NodeKind::Str(text, Style::Plain) if text == MERGE) {
            return match self.merge_key.replace(key.span) {
                Some(first) => Some(
                    duplicate(MERGE, key.span, first)
                        .help("merge several at once: `<<: [*one, *two]`, the earlier wins"),
                ),
                None => self.merge(value),
            };
        }
        let identity = match identity(&key) {
            Ok(identity) => identity,
            Err(mistake) => return Some(mistake),
        };
        let shown = identity
            .split_once(' ')
            .map_or_else(String::new, |(_, shown)| shown.to_owned());
        match self.index.get(&identity) {
            Some(first) => Some(duplicate(&shown, key.span, self.explicit[*first].0.span)),
            None => {
                self.index.insert(identity, self.explicit.len());
                self.explicit.push((key, value));
                None
            }
        }
    }

    fn merge(&mut self, value: Node) -> Option<Diagnostic> {
        let place = value.span;
        let by_alias = value.defined.is_some();
        match value.kind {
            NodeKind::Map(entries) => {
                for (mut key, mut value) in entries {
                    if by_alias {
                        for node in [&mut key, &mut value] {
                            node.defined = Some(node.written());
                            node.span = place;
                        }
                    }
                    self.merged.push((key, value));
                }
                None
            }
            NodeKind::Seq(items) if items.iter().all(|item| item.as_map().is_some()) => {
                items.into_iter().find_map(|item| self.merge(item))
            }
            kind => {
                let node = Node::new(kind, place);
                let message = format!("`<<` merges mappings, and this is {}", node.type_name());
                Some(Diagnostic::new("bad-merge", message).at(place, "expected a mapping or a list of mappings"))
            }
        }
    }

    /// The merged entries first, as PyYAML orders them; an explicit one takes the place of its namesake.
    fn finish(self) -> Vec<(Node, Node)> {
        if self.merged.is_empty() {
            return self.explicit;
        }
        let mut at: HashMap<String, usize> = HashMap::new();
        let mut entries: Vec<(Node, Node)> = Vec::new();
        let merged = self.merged.into_iter().map(|entry| (false, entry));
        for (explicit, entry) in merged.chain(self.explicit.into_iter().map(|entry| (true, entry))) {
            let Ok(identity) = identity(&entry.0) else { continue };
            match at.get(&identity) {
                Some(first) if explicit => entries[*first] = entry,
                Some(_) => {}
                None => {
                    at.insert(identity, entries.len());
                    entries.push(entry);
                }
            }
        }
        entries
    }
}

/// What makes two keys the same: kind and value. The part behind the first space is how it is shown.
fn identity(key: &Node) -> Result<String, Diagnostic> {
    match &key.kind {
        NodeKind::Str(text, _) => Ok(format!("s {text}")),
        NodeKind::Null => Ok("n null".to_owned()),
        NodeKind::Bool(truth) => Ok(format!("b {truth}")),
        NodeKind::Int(number) => Ok(format!("i {number}")),
        NodeKind::Float(number) => Ok(format!("f {number:?}")),
        NodeKind::Seq(_) | NodeKind::Map(_) => Err(Diagnostic::new(
            "bad-key",
            format!("a mapping's key is a word or a number, not {}", key.type_name()),
        )
        .at(key.span, "this is used as a key")
        .help("quote it if it is meant as text")),
    }
}

fn duplicate(key: &str, again: Span, first: Span) -> Diagnostic {
    Diagnostic::new("duplicate-key", format!("the key `{key}` stands twice in one mapping"))
        .at(again, "here again")
        .at(first, "first here")
}
