//! JSON: as Python's `json.dumps` writes it, so that files stay the same byte for byte, and reading it.

use std::fmt::Write as _;

use minijinja::value::Value as Native;
use minijinja::{Error, State};
use okd_agent::Value;
use okd_agent::value::Map;

use crate::template::convert::{from_native, to_native};
use crate::template::print;
use crate::template::registry::{Call, Entry, list, reads, wrong};
use crate::template::touch::touch_unknown;

type Answer = Result<Native, Error>;

const PARAMS: &[&str] = &["value", "indent", "sort_keys", "ensure_ascii", "separators"];

/// Every filter of this file.
pub(super) const ALL: &[Entry] = &[
    reads(&["to_json", "tojson"], PARAMS, |_, call| {
        let layout = Layout {
            indent: indent(call, None)?,
            sort_keys: call.truth_or("sort_keys", false),
            ascii: call.truth_or("ensure_ascii", true),
        };
        layout.write(call)
    }),
    reads(&["to_nice_json"], PARAMS, |_, call| {
        let layout = Layout {
            indent: indent(call, Some(4))?,
            sort_keys: call.truth_or("sort_keys", true),
            ascii: call.truth_or("ensure_ascii", true),
        };
        layout.write(call)
    }),
    reads(&["from_json"], &["value"], from_json),
];

fn indent(call: &Call, default: Option<usize>) -> Result<Option<usize>, Error> {
    match call.get("indent") {
        Some(indent) if indent.is_none() => Ok(None),
        Some(_) => Ok(Some(usize::try_from(call.int_or("indent", 4)?).unwrap_or(0).min(64))),
        None => Ok(default),
    }
}

/// The value of an argument; something unknown inside is touched.
pub(super) fn whole_value(native: &Native) -> Result<Value, Error> {
    let value = from_native(native)?.ok_or_else(|| wrong("`omit` has no meaning here"))?;
    match value.unknown() {
        Some(reason) => Err(wrong(touch_unknown(reason).to_string())),
        None => Ok(value),
    }
}

/// How JSON is laid out.
struct Layout {
    indent: Option<usize>,
    sort_keys: bool,
    ascii: bool,
}

impl Layout {
    fn write(&self, call: &Call) -> Answer {
        let (item, colon) = match call.get("separators") {
            Some(pair) => match list(pair, call.name)?.as_slice() {
                [item, colon] => (print::text(item), print::text(colon)),
                _ => return Err(wrong("`separators` are two: between items and after keys")),
            },
            None if self.indent.is_some() => (",".to_owned(), ": ".to_owned()),
            None => (", ".to_owned(), ": ".to_owned()),
        };
        let mut out = String::new();
        self.value(&whole_value(&call.subject())?, 0, (&item, &colon), &mut out);
        Ok(Native::from(out))
    }

    fn value(&self, value: &Value, level: usize, marks: (&str, &str), out: &mut String) {
        match value {
            Value::Null | Value::Unknown(_) => out.push_str("null"),
            Value::Bool(truth) => out.push_str(if *truth { "true" } else { "false" }),
            Value::Int(number) => {
                let _ = write!(out, "{number}");
            }
            Value::Float(number) => out.push_str(&number_text(*number)),
            Value::Str(text) => self.text(text, out),
            Value::List(items) if items.is_empty() => out.push_str("[]"),
            Value::Map(entries) if entries.is_empty() => out.push_str("{}"),
            Value::List(items) => {
                self.block('[', ']', level, items.iter(), marks, out, |item, out| {
                    self.value(item, level + 1, marks, out);
                });
            }
            Value::Map(entries) => {
                let mut entries: Vec<_> = entries.iter().collect();
                if self.sort_keys {
                    entries.sort_by_key(|(key, _)| *key);
                }
                self.block('{', '}', level, entries.into_iter(), marks, out, |(key, item), out| {
                    self.text(key, out);
                    out.push_str(marks.1);
                    self.value(item, level + 1, marks, out);
                });
            }
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn block<T>(
        &self,
        open: char,
        close: char,
        level: usize,
        items: impl Iterator<Item = T>,
        marks: (&str, &str),
        out: &mut String,
        each: impl Fn(T, &mut String),
    ) {
        out.push(open);
        for (index, item) in items.enumerate() {
            if index > 0 {
                out.push_str(marks.0);
            }
            self.line(level + 1, out);
            each(item, out);
        }
        self.line(level, out);
        out.push(close);
    }

    fn line(&self, level: usize, out: &mut String) {
        if let Some(indent) = self.indent {
            out.push('\n');
            out.push_str(&" ".repeat(indent * level));
        }
    }

    fn text(&self, text: &str, out: &mut String) {
        out.push('"');
        for letter in text.chars() {
            match letter {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\u{8}' => out.push_str("\\b"),
                '\u{c}' => out.push_str("\\f"),
                _ if letter < ' ' || letter == '\u{7f}' && self.ascii || self.ascii && !letter.is_ascii() => {
                    for unit in letter.encode_utf16(&mut [0; 2]) {
                        let _ = write!(out, "\\u{unit:04x}");
                    }
                }
                _ => out.push(letter),
            }
        }
        out.push('"');
    }
}

fn number_text(number: f64) -> String {
    match print::float(number).as_str() {
        "nan" => "NaN".to_owned(),
        "inf" => "Infinity".to_owned(),
        "-inf" => "-Infinity".to_owned(),
        text => text.to_owned(),
    }
}

/// A value on one line as Python's `json.dumps` writes it.
pub(crate) fn dumped(value: &Value) -> String {
    let layout = Layout {
        indent: None,
        sort_keys: false,
        ascii: true,
    };
    let mut out = String::new();
    layout.value(value, 0, (", ", ": "), &mut out);
    out
}

/// A value on one line, non-ASCII letters as they are.
#[cfg(test)]
pub(in crate::template) fn compact(value: &Value) -> String {
    let layout = Layout {
        indent: None,
        sort_keys: false,
        ascii: false,
    };
    let mut out = String::new();
    layout.value(value, 0, (", ", ": "), &mut out);
    out
}

fn from_json(_: &mut State<'_, '_>, call: &Call) -> Answer {
    let text = call.text()?;
    let value: serde_json::Value =
        serde_json::from_str(&text).map_err(|err| wrong(format!("`from_json`: the text is not JSON: {err}")))?;
    Ok(to_native(&from_serde(value)))
}

pub(crate) fn from_serde(value: serde_json::Value) -> Value {
    use serde_json::Value as Json;
    match value {
        Json::Null => Value::Null,
        Json::Bool(truth) => Value::Bool(truth),
        Json::Number(number) => match number.as_i64() {
            Some(whole) => Value::Int(whole),
            None => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => Value::Str(text),
        Json::Array(items) => Value::List(items.into_iter().map(from_serde).collect()),
        Json::Object(entries) => Value::Map(
            entries
                .into_iter()
                .map(|(key, item)| (key, from_serde(item)))
                .collect::<Map>(),
        ),
    }
}
