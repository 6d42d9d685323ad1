//! What a plain scalar means: the rules of PyYAML (YAML 1.1), which are those of Ansible.
//!
//! Deliberate differences: sexagesimal numbers (`12:30:45`) and dates stay text, since nobody means a number or a
//! date by them in a playbook; `0o644` is octal, as YAML 1.2 has it.

use super::yaml::{NodeKind, Style};

/// Resolves a plain scalar.
pub(super) fn resolve(text: &str) -> NodeKind {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return NodeKind::Null,
        "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "true" | "True" | "TRUE" => return NodeKind::Bool(true),
        "no" | "No" | "NO" | "off" | "Off" | "OFF" | "false" | "False" | "FALSE" => return NodeKind::Bool(false),
        _ => {}
    }
    if !text.starts_with(|first: char| first.is_ascii_digit() || "+-.".contains(first)) {
        return NodeKind::Str(text.to_owned(), Style::Plain);
    }
    int(text)
        .map(NodeKind::Int)
        .or_else(|| float(text).map(NodeKind::Float))
        .unwrap_or_else(|| NodeKind::Str(text.to_owned(), Style::Plain))
}

/// A whole number: decimal, `0b`, `0x`, `0o` or a leading zero for octal; `_` between digits.
pub(super) fn int(text: &str) -> Option<i64> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (radix, body) = if let Some(body) = digits.strip_prefix("0b") {
        (2, body)
    } else if let Some(body) = digits.strip_prefix("0x") {
        (16, body)
    } else if let Some(body) = digits.strip_prefix("0o") {
        (8, body)
    } else if digits.len() > 1 && digits.starts_with('0') {
        (8, &digits[1..])
    } else {
        (10, digits)
    };
    if radix == 10 && !body.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    let body = body.replace('_', "");
    if body.is_empty() || !body.chars().all(|digit| digit.is_digit(radix)) {
        return None;
    }
    let sign = if negative { "-" } else { "" };
    i64::from_str_radix(&format!("{sign}{body}"), radix).ok()
}

/// A number with a point; an exponent needs its sign, as in PyYAML.
pub(super) fn float(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    match unsigned {
        ".inf" | ".Inf" | ".INF" if text.starts_with('-') => return Some(f64::NEG_INFINITY),
        ".inf" | ".Inf" | ".INF" => return Some(f64::INFINITY),
        ".nan" | ".NaN" | ".NAN" if text == unsigned => return Some(f64::NAN),
        _ => {}
    }
    let (whole, rest) = unsigned.split_once('.')?;
    let (fraction, exponent) = match rest.split_once(['e', 'E']) {
        Some((fraction, exponent)) => (fraction, Some(exponent)),
        None => (rest, None),
    };
    let digits = |part: &str| part.chars().all(|c| c.is_ascii_digit() || c == '_');
    let led = |part: &str| part.starts_with(|c: char| c.is_ascii_digit());
    let well_formed = if whole.is_empty() {
        text == unsigned && led(fraction) && digits(fraction)
    } else {
        led(whole) && digits(whole) && digits(fraction)
    };
    let exponent_ok = exponent.is_none_or(|exponent| {
        exponent
            .strip_prefix(['+', '-'])
            .is_some_and(|power| !power.is_empty() && power.bytes().all(|b| b.is_ascii_digit()))
    });
    (well_formed && exponent_ok).then(|| text.replace('_', "").parse().ok())?
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn resolves_as_pyyaml_does() {
        let text = |text: &str| NodeKind::Str(text.into(), Style::Plain);
        let table = [
            ("", NodeKind::Null),
            ("~", NodeKind::Null),
            ("NULL", NodeKind::Null),
            ("nULL", text("nULL")),
            ("yes", NodeKind::Bool(true)),
            ("Off", NodeKind::Bool(false)),
            ("y", text("y")),
            ("tRue", text("tRue")),
            ("0644", NodeKind::Int(0o644)),
            ("0o644", NodeKind::Int(0o644)),
            ("0x1f", NodeKind::Int(31)),
            ("0b101", NodeKind::Int(5)),
            ("1_000", NodeKind::Int(1000)),
            ("_1", text("_1")),
            ("-0", NodeKind::Int(0)),
            ("+12", NodeKind::Int(12)),
            ("08", text("08")),
            ("0_7", NodeKind::Int(7)),
            (".5", NodeKind::Float(0.5)),
            ("-.5", text("-.5")),
            ("1.", NodeKind::Float(1.0)),
            ("1.5e+3", NodeKind::Float(1500.0)),
            ("1.5e3", text("1.5e3")),
            ("1e3", text("1e3")),
            ("-.inf", NodeKind::Float(f64::NEG_INFINITY)),
            ("12:30:45", text("12:30:45")),
            ("52:54:00:12:34:56", text("52:54:00:12:34:56")),
            ("2024-01-01", text("2024-01-01")),
            ("10.0.0.1", text("10.0.0.1")),
            ("9223372036854775808", text("9223372036854775808")),
            ("-9223372036854775808", NodeKind::Int(i64::MIN)),
            ("-", text("-")),
            (".", text(".")),
            ("0x", text("0x")),
        ];
        for (plain, kind) in table {
            assert_eq!(resolve(plain), kind, "{plain:?}");
        }
        assert!(matches!(resolve(".nan"), NodeKind::Float(n) if n.is_nan()));
    }
}
