//! Filters on single values: defaults, conversions, numbers.

use std::sync::Arc;

use minijinja::value::{Object, ObjectRepr, Value as Native, ValueKind};
use minijinja::{Error, ErrorKind, State};

use crate::template::print;
use crate::template::registry::{Call, Entry, carries, kind_name, reads, wrong};

type Answer = Result<Native, Error>;

/// Every filter of this file.
pub(super) const ALL: &[Entry] = &[
    carries(&["default", "d"], &["value", "default_value", "boolean"], default),
    carries(&["mandatory"], &["value", "msg"], mandatory),
    carries(&["__chain"], &["value"], |_, call| {
        let value = call.subject();
        Ok(if value.is_undefined() {
            Native::from_object(Nothing)
        } else {
            value
        })
    }),
    reads(&["bool"], &["value"], bool),
    reads(&["int"], &["value", "default", "base"], int),
    reads(&["float"], &["value", "default"], float),
    carries(&["string"], &["value"], |_, call| call.text().map(Native::from)),
    carries(&["ternary"], &["value", "true_val", "false_val", "none_val"], ternary),
    carries(&["type_debug"], &["value"], |_, call| {
        Ok(Native::from(type_name(&call.subject())))
    }),
    reads(&["abs"], &["value"], |_, call| minijinja::filters::abs(call.subject())),
    reads(&["round"], &["value", "precision", "method"], round),
    reads(&["human_readable"], &["value", "isbits", "unit"], human_readable),
    reads(
        &["human_to_bytes"],
        &["value", "default_unit", "isbits"],
        human_to_bytes,
    ),
    reads(&["log"], &["value", "base"], |_, call| {
        let base = number(call.get("base"), std::f64::consts::E)?;
        Ok(Native::from(number(Some(&call.subject()), 0.0)?.log(base)))
    }),
    reads(&["pow"], &["value", "exponent"], |_, call| {
        Ok(Native::from(
            number(Some(&call.subject()), 0.0)?.powf(number(call.get("exponent"), 1.0)?),
        ))
    }),
    reads(&["root"], &["value", "base"], |_, call| {
        let base = number(call.get("base"), 2.0)?;
        let value = number(Some(&call.subject()), 0.0)?;
        Ok(Native::from(if base == 2.0 {
            value.sqrt()
        } else {
            value.powf(1.0 / base)
        }))
    }),
];

/// Stands for something undefined inside a guarded chain: each of its attributes is undefined.
#[derive(Debug)]
struct Nothing;

impl Object for Nothing {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn call_method(self: &Arc<Self>, _: &mut State<'_, '_>, _: &str, _: &[Native]) -> Answer {
        Err(Error::from(ErrorKind::UndefinedError))
    }
}

fn default(_: &mut State<'_, '_>, call: &Call) -> Answer {
    let value = call.subject();
    let absent = value.is_undefined() || (call.truth_or("boolean", false) && !value.is_true());
    Ok(if absent {
        call.get("default_value").cloned().unwrap_or_else(|| Native::from(""))
    } else {
        value
    })
}

fn mandatory(_: &mut State<'_, '_>, call: &Call) -> Answer {
    let value = call.subject();
    match call.get("msg") {
        _ if !value.is_undefined() => Ok(value),
        Some(_) => Err(wrong(call.text_of("msg")?)),
        None => Err(Error::from(ErrorKind::UndefinedError)),
    }
}

fn bool(_: &mut State<'_, '_>, call: &Call) -> Answer {
    let value = call.subject();
    Ok(match value.kind() {
        ValueKind::Bool => value,
        ValueKind::String => {
            let text = value.as_str().unwrap_or_default().to_lowercase();
            Native::from(matches!(text.as_str(), "yes" | "on" | "1" | "true" | "t" | "y"))
        }
        _ => Native::from(value == Native::from(1)),
    })
}

fn int(_: &mut State<'_, '_>, call: &Call) -> Answer {
    let value = call.subject();
    let base = call.int_or("base", 10)?;
    let parsed = match value.kind() {
        ValueKind::Bool => Some(i64::from(value.is_true())),
        ValueKind::Number if value.is_integer() => return Ok(value),
        ValueKind::Number => f64::try_from(value)
            .ok()
            .filter(|float| float.is_finite())
            .map(|float| float as i64),
        ValueKind::String => whole(value.as_str().unwrap_or_default(), base),
        _ => None,
    };
    Ok(match parsed {
        Some(number) => Native::from(number),
        None => call.get("default").cloned().unwrap_or_else(|| Native::from(0)),
    })
}

/// Python's `int(text, base)`, and the whole part where the text is a float.
fn whole(text: &str, base: i64) -> Option<i64> {
    let text = text.trim().replace('_', "");
    let (sign, digits) = text.strip_prefix('-').map_or((1, text.as_str()), |digits| (-1, digits));
    let lower = digits.to_lowercase();
    let digits = match base {
        16 => lower.strip_prefix("0x").unwrap_or(&lower),
        8 => lower.strip_prefix("0o").unwrap_or(&lower),
        2 => lower.strip_prefix("0b").unwrap_or(&lower),
        _ => &lower,
    };
    let radix = u32::try_from(base).ok().filter(|base| (2..=36).contains(base))?;
    let exact = i64::from_str_radix(digits, radix).ok();
    let float = || {
        digits
            .parse::<f64>()
            .ok()
            .filter(|float| base == 10 && float.is_finite())
            .map(|float| float as i64)
    };
    Some(sign * exact.or_else(float)?)
}

fn float(_: &mut State<'_, '_>, call: &Call) -> Answer {
    let value = call.subject();
    let parsed = match value.kind() {
        ValueKind::String => value.as_str().and_then(|text| text.trim().parse::<f64>().ok()),
        ValueKind::Bool => Some(f64::from(u8::from(value.is_true()))),
        _ => f64::try_from(value).ok(),
    };
    Ok(match parsed {
        Some(number) => Native::from(number),
        None => call.get("default").cloned().unwrap_or_else(|| Native::from(0.0)),
    })
}

fn ternary(_: &mut State<'_, '_>, call: &Call) -> Answer {
    let value = call.subject();
    if value.is_undefined() {
        return Err(Error::from(ErrorKind::UndefinedError));
    }
    let chosen = match call.get("none_val") {
        Some(chosen) if value.is_none() => chosen,
        _ if value.is_true() => call.need("true_val")?,
        _ => call.need("false_val")?,
    };
    Ok(chosen.clone())
}

fn type_name(value: &Native) -> &'static str {
    match value.kind() {
        ValueKind::Undefined => "AnsibleUndefined",
        ValueKind::None => "NoneType",
        ValueKind::Bool => "bool",
        ValueKind::Number if value.is_integer() => "int",
        ValueKind::Number => "float",
        ValueKind::String => "str",
        ValueKind::Bytes => "bytes",
        ValueKind::Map => "dict",
        _ if value.is_tuple() => "tuple",
        ValueKind::Seq => "list",
        ValueKind::Iterable => "generator",
        _ => "object",
    }
}

/// A number from a number or its text.
pub(super) fn number(value: Option<&Native>, default: f64) -> Result<f64, Error> {
    let Some(value) = value else { return Ok(default) };
    match value.as_str() {
        Some(text) => text.trim().parse().ok(),
        None => f64::try_from(value.clone()).ok(),
    }
    .ok_or_else(|| wrong(format!("a number is needed, not {}", kind_name(value.kind()))))
}

/// As Jinja2's: the result is always a float; `common` rounds halves to even, as Python does.
fn round(_: &mut State<'_, '_>, call: &Call) -> Answer {
    let value = number(Some(&call.subject()), 0.0)?;
    let places = i32::try_from(call.int_or("precision", 0)?).unwrap_or(0);
    let scale = 10_f64.powi(places);
    let rounded = match call.text_or("method", "common")?.as_str() {
        "ceil" => (value * scale).ceil() / scale,
        "floor" => (value * scale).floor() / scale,
        "common" if places > 0 => format!("{value:.*}", places as usize).parse().unwrap_or(value),
        "common" => (value * scale).round_ties_even() / scale,
        other => {
            return Err(wrong(format!(
                "`round`: method is common, ceil or floor, not `{other}`"
            )));
        }
    };
    Ok(Native::from(rounded))
}

const UNITS: &[(char, u32)] = &[
    ('Y', 80),
    ('Z', 70),
    ('E', 60),
    ('P', 50),
    ('T', 40),
    ('G', 30),
    ('M', 20),
    ('K', 10),
    ('B', 0),
];

/// `1048576` as `1.00 MB`; units are powers of 1024, as Ansible's.
fn human_readable(_: &mut State<'_, '_>, call: &Call) -> Answer {
    let size = number(Some(&call.subject()), 0.0)?;
    let bits = call.truth_or("isbits", false);
    let wanted = call
        .text_or("unit", "")?
        .chars()
        .next()
        .map(|letter| letter.to_ascii_uppercase());
    let fits = |(letter, power): &&(char, u32)| match wanted {
        Some(unit) => unit == *letter,
        None => size >= 2_f64.powi(*power as i32),
    };
    let (letter, power) = UNITS.iter().find(fits).unwrap_or(&('B', 0));
    let base = if bits { "bits" } else { "Bytes" };
    let suffix = match (letter, bits) {
        ('B', _) => base.to_owned(),
        (letter, true) => format!("{letter}b"),
        (letter, false) => format!("{letter}B"),
    };
    Ok(Native::from(format!(
        "{:.2} {suffix}",
        size / 2_f64.powi(*power as i32)
    )))
}

fn human_to_bytes(_: &mut State<'_, '_>, call: &Call) -> Answer {
    let text = print::text(&call.subject());
    let text = text.trim();
    let split = text
        .find(|letter: char| !(letter.is_ascii_digit() || letter == '.'))
        .unwrap_or(text.len());
    let refuse = || wrong(format!("`human_to_bytes` cannot read `{text}`"));
    let size: f64 = text[..split].parse().map_err(|_| refuse())?;
    let unit = text[split..].trim();
    let unit = if unit.is_empty() {
        call.text_or("default_unit", "B")?
    } else {
        unit.to_owned()
    };
    let letter = unit.chars().next().unwrap_or('B').to_ascii_uppercase();
    let known = |tail: &str| matches!(tail, "" | "B" | "b" | "iB" | "yte" | "ytes" | "its" | "it");
    let (_, power) = UNITS.iter().find(|(own, _)| *own == letter).ok_or_else(refuse)?;
    if !known(&unit[1..]) {
        return Err(refuse());
    }
    Ok(Native::from((size * 2_f64.powi(*power as i32)).round_ties_even() as i64))
}
