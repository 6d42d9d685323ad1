//! How values print inside text: as Jinja2 and Ansible do, so that existing templates give the same bytes
//! (docs/adr/0003-template-printing.md).

use std::fmt::Write as _;

use minijinja::value::{Value as Native, ValueKind};
use minijinja::{Error, Output, State};

use super::convert::Omit;

/// The formatter of `{{ … }}`.
pub(super) fn format(out: &mut Output<'_>, _: &mut State<'_, '_>, value: &Native) -> Result<(), Error> {
    super::touch::emitted(value);
    let printed = printed(value);
    out.write_str(&printed).map_err(Error::from)
}

/// What the formatter writes: null and `omit` are empty, everything else is as Python's `str()`.
pub(super) fn printed(value: &Native) -> String {
    match value.kind() {
        ValueKind::None | ValueKind::Undefined => String::new(),
        _ if value.downcast_object_ref::<Omit>().is_some() => String::new(),
        _ => text(value),
    }
}

/// Python's `str()`.
pub(super) fn text(value: &Native) -> String {
    match value.kind() {
        ValueKind::String => value.as_str().unwrap_or_default().to_owned(),
        _ => {
            let mut out = String::new();
            repr(value, &mut out);
            out
        }
    }
}

/// Python's `repr()`; tuples are lists, as in Ansible's results.
pub(super) fn repr(value: &Native, out: &mut String) {
    match value.kind() {
        ValueKind::None => out.push_str("None"),
        ValueKind::Bool => out.push_str(if value.is_true() { "True" } else { "False" }),
        ValueKind::Number if !value.is_integer() => match f64::try_from(value.clone()) {
            Ok(number) => out.push_str(&float(number)),
            Err(_) => out.push_str(&value.to_string()),
        },
        ValueKind::String => quoted(value.as_str().unwrap_or_default(), out),
        ValueKind::Seq | ValueKind::Iterable => sequence(value, out),
        ValueKind::Map => mapping(value, out),
        _ => out.push_str(&value.to_string()),
    }
}

fn sequence(value: &Native, out: &mut String) {
    out.push('[');
    for (index, item) in value.try_iter().into_iter().flatten().enumerate() {
        if index > 0 {
            out.push_str(", ");
        }
        repr(&item, out);
    }
    out.push(']');
}

fn mapping(value: &Native, out: &mut String) {
    out.push('{');
    for (index, key) in value.try_iter().into_iter().flatten().enumerate() {
        if index > 0 {
            out.push_str(", ");
        }
        repr(&key, out);
        out.push_str(": ");
        repr(&value.get_item(&key).unwrap_or_default(), out);
    }
    out.push('}');
}

fn quoted(text: &str, out: &mut String) {
    let quote = if text.contains('\'') && !text.contains('"') {
        '"'
    } else {
        '\''
    };
    out.push(quote);
    for letter in text.chars() {
        match letter {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            _ if letter == quote => {
                out.push('\\');
                out.push(letter);
            }
            _ if letter.is_control() => {
                let _ = write!(out, "\\x{:02x}", u32::from(letter));
            }
            _ => out.push(letter),
        }
    }
    out.push(quote);
}

/// A float as Python's `repr()` writes it: the shortest digits, an exponent below 1e-4 and from 1e16 on.
pub(super) fn float(number: f64) -> String {
    if number.is_nan() {
        return "nan".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let size = number.abs();
    if size != 0.0 && !(1e-4..1e16).contains(&size) {
        let text = format!("{number:e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |rest| ('-', rest));
        return format!("{digits}e{sign}{exponent:0>2}");
    }
    format!("{number:?}")
}
