//! YAML: written as libyaml's emitter, which Ansible uses, writes it, so that files stay the same byte for byte, and read by our own parser.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::LazyLock;

use minijinja::value::{Value as Native, ValueKind};
use minijinja::{Error, State};
use okd_agent::Value;
use regex::Regex;

use super::json::whole_value;
use super::yaml_scalar::{Analysis, double_quoted_letter, is_break};
use crate::source::SourceMap;
use crate::source::yaml::{Node, parse_all};
use crate::template::convert::to_native;
use crate::template::print;
use crate::template::registry::{Call, Entry, reads, wrong};

type Answer = Result<Native, Error>;

const PARAMS: &[&str] = &[
    "value",
    "indent",
    "width",
    "sort_keys",
    "default_flow_style",
    "explicit_start",
    "explicit_end",
];

/// Every filter of this file.
pub(super) const ALL: &[Entry] = &[
    reads(&["to_yaml"], PARAMS, |_, call| dump(call, 2, None)),
    reads(&["to_nice_yaml"], PARAMS, |_, call| dump(call, 4, Some(false))),
    reads(&["from_yaml"], &["value"], from_yaml),
    reads(&["from_yaml_all"], &["value"], |_, call| {
        Ok(read(call)?
            .iter()
            .map(|node| to_native(&crate::template::plain(node)))
            .collect())
    }),
];

fn read(call: &Call) -> Result<Vec<Node>, Error> {
    let sources = SourceMap::default();
    let file = sources.add(Path::new("text"), call.text()?);
    parse_all(&sources, file).map_err(|problems| {
        let first = problems.0.first();
        let said = first.map_or("", |problem| problem.message.as_str());
        let line = first
            .and_then(|problem| problem.labels.first())
            .map_or(1, |label| sources.file(file).position(label.span.start).line);
        wrong(format!("`{}`: line {line} of the text: {said}", call.name))
    })
}

fn from_yaml(_: &mut State<'_, '_>, call: &Call) -> Answer {
    match call.subject().kind() {
        ValueKind::String => match read(call)?.as_slice() {
            [] => Ok(Native::from(())),
            [node] => Ok(to_native(&crate::template::plain(node))),
            _ => Err(wrong("`from_yaml` takes one document; `from_yaml_all` takes several")),
        },
        _ => Ok(call.subject()),
    }
}

fn dump(call: &Call, indent: i64, flow: Option<bool>) -> Answer {
    let indent = usize::try_from(call.int_or("indent", indent)?).unwrap_or(2);
    let width = usize::try_from(call.int_or("width", 80)?).unwrap_or(80);
    let indent = if (2..10).contains(&indent) { indent } else { 2 };
    let mut emitter = Emitter {
        out: String::new(),
        column: 0,
        whitespace: true,
        indention: true,
        indent: None,
        best_indent: indent,
        best_width: if width > indent * 2 { width } else { 80 },
        flow_level: 0,
        flow: match call.get("default_flow_style") {
            Some(flow) if flow.is_none() => None,
            Some(flow) => Some(flow.is_true()),
            None => flow,
        },
        sort_keys: call.truth_or("sort_keys", true),
    };
    if call.truth_or("explicit_start", false) {
        emitter.indicator("---", true, false, false);
    }
    emitter.node(&whole_value(&call.subject())?, Context::Root, false);
    emitter.write_indent();
    if call.truth_or("explicit_end", false) {
        emitter.indicator("...", true, false, false);
        emitter.write_indent();
    }
    Ok(Native::from(emitter.out))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Context {
    Root,
    Sequence,
    Mapping,
}

/// libyaml's emitter for plain trees: no anchors, no tags, Unicode as it is.
struct Emitter {
    out: String,
    column: usize,
    whitespace: bool,
    indention: bool,
    indent: Option<usize>,
    best_indent: usize,
    best_width: usize,
    flow_level: usize,
    /// `None`: collections of scalars alone are written in flow style.
    flow: Option<bool>,
    sort_keys: bool,
}

impl Emitter {
    fn put(&mut self, text: &str) {
        self.out.push_str(text);
        self.column += text.chars().count();
    }

    fn indicator(&mut self, text: &str, need_whitespace: bool, whitespace: bool, indention: bool) {
        if need_whitespace && !self.whitespace {
            self.put(" ");
        }
        self.whitespace = whitespace;
        self.indention = self.indention && indention;
        self.put(text);
    }

    fn line_break(&mut self) {
        self.out.push('\n');
        self.whitespace = true;
        self.indention = true;
        self.column = 0;
    }

    fn write_indent(&mut self) {
        let indent = self.indent.unwrap_or(0);
        if !self.indention || self.column > indent || (self.column == indent && !self.whitespace) {
            self.line_break();
        }
        if self.column < indent {
            self.whitespace = true;
            self.put(&" ".repeat(indent - self.column));
        }
    }

    /// Runs `write` one level deeper.
    fn deeper(&mut self, flow: bool, indentless: bool, write: impl FnOnce(&mut Self)) {
        let before = self.indent;
        self.indent = match before {
            None => Some(if flow { self.best_indent } else { 0 }),
            Some(indent) if indentless => Some(indent),
            Some(indent) => Some(indent + self.best_indent),
        };
        write(self);
        self.indent = before;
    }

    fn wants_flow<'v>(&self, items: impl IntoIterator<Item = &'v Value>) -> bool {
        self.flow_level > 0
            || self.flow.unwrap_or_else(|| {
                items
                    .into_iter()
                    .all(|item| !matches!(item, Value::List(_) | Value::Map(_)))
            })
    }

    fn node(&mut self, value: &Value, context: Context, simple_key: bool) {
        match value {
            Value::List(items) if items.is_empty() || self.wants_flow(items) => self.flow_sequence(items),
            Value::List(items) => self.block_sequence(items, context),
            Value::Map(entries) => {
                let mut entries: Vec<(&String, &Value)> = entries.iter().collect();
                if self.sort_keys {
                    entries.sort_by_key(|(key, _)| *key);
                }
                if entries.is_empty() || self.wants_flow(entries.iter().map(|(_, item)| *item)) {
                    self.flow_mapping(&entries);
                } else {
                    self.block_mapping(&entries);
                }
            }
            Value::Str(text) => self.text(text, simple_key),
            other => {
                let text = plain_text(other);
                self.deeper(true, false, |emitter| emitter.plain(&text, !simple_key));
            }
        }
    }

    fn flow_sequence(&mut self, items: &[Value]) {
        self.indicator("[", true, true, false);
        self.flow_level += 1;
        self.deeper(true, false, |emitter| {
            for (index, item) in items.iter().enumerate() {
                emitter.flow_separator(index);
                emitter.node(item, Context::Sequence, false);
            }
        });
        self.flow_level -= 1;
        self.indicator("]", false, false, false);
    }

    fn flow_separator(&mut self, index: usize) {
        if index > 0 {
            self.indicator(",", false, false, false);
        }
        if self.column > self.best_width {
            self.write_indent();
        }
    }

    fn flow_mapping(&mut self, entries: &[(&String, &Value)]) {
        self.indicator("{", true, true, false);
        self.flow_level += 1;
        self.deeper(true, false, |emitter| {
            for (index, (key, item)) in entries.iter().enumerate() {
                emitter.flow_separator(index);
                emitter.entry(key, item);
            }
        });
        self.flow_level -= 1;
        self.indicator("}", false, false, false);
    }

    fn block_sequence(&mut self, items: &[Value], context: Context) {
        let indentless = context == Context::Mapping && !self.indention;
        self.deeper(false, indentless, |emitter| {
            for item in items {
                emitter.write_indent();
                emitter.indicator("-", true, false, true);
                emitter.node(item, Context::Sequence, false);
            }
        });
    }

    fn block_mapping(&mut self, entries: &[(&String, &Value)]) {
        self.deeper(false, false, |emitter| {
            for (key, item) in entries {
                emitter.write_indent();
                emitter.entry(key, item);
            }
        });
    }

    fn entry(&mut self, key: &str, item: &Value) {
        let simple = key.len() <= 128 && !key.contains(is_break);
        if simple {
            self.text(key, true);
            self.indicator(":", false, false, false);
        } else {
            self.indicator("?", true, false, true);
            self.text(key, false);
            if self.flow_level == 0 || self.column > self.best_width {
                self.write_indent();
            }
            self.indicator(":", true, false, self.flow_level == 0);
        }
        self.node(item, Context::Mapping, false);
    }

    fn text(&mut self, text: &str, simple_key: bool) {
        let analysis = Analysis::of(text);
        let plain_allowed = if self.flow_level > 0 {
            analysis.flow_plain
        } else {
            analysis.block_plain
        };
        let key_fits = !(simple_key && (text.is_empty() || analysis.multiline));
        let split = !simple_key;
        if plain_allowed && key_fits && !looks_like_another_type(text) {
            self.deeper(true, false, |emitter| emitter.plain(text, split));
        } else if analysis.single_quoted && !(simple_key && analysis.multiline) {
            self.deeper(true, false, |emitter| emitter.single_quoted(text, split));
        } else {
            self.deeper(true, false, |emitter| emitter.double_quoted(text, split));
        }
    }

    fn plain(&mut self, text: &str, split: bool) {
        if text.is_empty() {
            return;
        }
        if !self.whitespace {
            self.put(" ");
        }
        self.whitespace = false;
        self.indention = false;
        for run in runs(text, |letter| letter == ' ') {
            if run == " " && self.column > self.best_width && split {
                self.write_indent();
                self.whitespace = false;
                self.indention = false;
            } else {
                self.put(run);
            }
        }
    }

    fn single_quoted(&mut self, text: &str, split: bool) {
        self.indicator("'", true, false, false);
        let mut at = 0;
        for run in runs(text, |letter| letter == ' ') {
            let inner = at > 0 && at + run.len() < text.len();
            at += run.len();
            if run == " " && self.column > self.best_width && split && inner {
                self.write_indent();
            } else if run.contains(is_break) {
                self.single_quoted_lines(run);
            } else {
                self.put(&run.replace('\'', "''"));
            }
        }
        self.indicator("'", false, false, false);
    }

    fn single_quoted_lines(&mut self, text: &str) {
        for run in runs(text, is_break) {
            if !run.contains(is_break) {
                self.put(&run.replace('\'', "''"));
                continue;
            }
            if run.starts_with('\n') {
                self.line_break();
            }
            for letter in run.chars() {
                if letter == '\n' {
                    self.line_break();
                } else {
                    self.out.push(letter);
                    self.column = 0;
                    self.indention = true;
                }
            }
            self.write_indent();
        }
    }

    fn double_quoted(&mut self, text: &str, split: bool) {
        self.indicator("\"", true, false, false);
        let letters: Vec<char> = text.chars().collect();
        let mut after_space = false;
        for (at, letter) in letters.iter().enumerate() {
            let inner = at > 0 && at + 1 < letters.len();
            if *letter == ' ' && split && !after_space && self.column > self.best_width && inner {
                self.write_indent();
                if letters[at + 1] == ' ' {
                    self.put("\\");
                }
            } else {
                self.put(&double_quoted_letter(*letter));
            }
            after_space = *letter == ' ';
        }
        self.indicator("\"", false, false, false);
    }
}

/// Text cut where a property of its letters changes.
fn runs(text: &str, property: impl Fn(char) -> bool) -> Vec<&str> {
    let mut out = Vec::new();
    let mut start = 0;
    let mut last = None;
    for (at, letter) in text.char_indices() {
        let own = property(letter);
        if last.is_some_and(|last| last != own) {
            out.push(&text[start..at]);
            start = at;
        }
        last = Some(own);
    }
    if start < text.len() {
        out.push(&text[start..]);
    }
    out
}

fn plain_text(value: &Value) -> String {
    match value {
        Value::Bool(truth) => truth.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Float(number) => match print::float(*number).as_str() {
            "nan" => ".nan".to_owned(),
            "inf" => ".inf".to_owned(),
            "-inf" => "-.inf".to_owned(),
            text if text.contains('e') && !text.contains('.') => text.replacen('e', ".0e", 1),
            text => text.to_owned(),
        },
        _ => "null".to_owned(),
    }
}

/// What YAML 1.1, as PyYAML resolves it, would not read back as text.
static OTHER_TYPES: LazyLock<Result<Regex, regex::Error>> = LazyLock::new(|| {
    let mut pattern = String::from(r"\A(?:");
    for (index, one) in [
        "|~|null|Null|NULL|<<|=|[!&*]",
        "yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF",
        r"[-+]?(?:[0-9][0-9_]*)\.[0-9_]*(?:[eE][-+][0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?",
        r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        r"[-+]?0b[0-1_]+|[-+]?0[0-7_]+|[-+]?(?:0|[1-9][0-9_]*)|[-+]?0x[0-9a-fA-F_]+",
        r"[-+]?[1-9][0-9_]*(?::[0-5]?[0-9])+",
        r"[0-9]{4}-[0-9]{2}-[0-9]{2}",
        r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt]|[ \t]+)[0-9]{1,2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]*)?(?:[ \t]*(?:Z|[-+][0-9]{1,2}(?::[0-9]{2})?))?",
    ]
    .iter()
    .enumerate()
    {
        let _ = write!(pattern, "{}{one}", if index > 0 { "|" } else { "" });
    }
    Regex::new(&(pattern + r")\z"))
});

fn looks_like_another_type(text: &str) -> bool {
    OTHER_TYPES.as_ref().is_ok_and(|pattern| pattern.is_match(text))
}
