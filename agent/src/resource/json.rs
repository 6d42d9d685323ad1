<<<<<<< HEAD
//! JSON as a value. The agent reads little of it, so it carries no library for it.

use crate::value::{Map, Value};

/// Nesting beyond this is refused.
const DEPTH: usize = 64;

/// Reads one JSON text, see RFC 8259.
///
/// # Errors
/// What was expected, and at which byte.
pub fn parse(text: &str) -> Result<Value, String> {
    let mut parser = Parser { text, at: 0 };
    let value = parser.value(0)?;
    parser.space();
    if parser.at == text.len() {
        Ok(value)
    } else {
        Err(parser.expected("the end"))
    }
}

struct Parser<'a> {
=======
//! JSON text and values, see RFC 8259; for what web services take and answer.

use crate::value::{Map, Value};
use std::fmt::Write;

/// Deeper nesting is refused.
const DEPTH: usize = 128;

/// A value as JSON text.
#[must_use]
pub fn write(value: &Value) -> String {
    let mut out = String::new();
    put(value, &mut out);
    out
}

fn put(value: &Value, out: &mut String) {
    match value {
        Value::Null | Value::Unknown(_) => out.push_str("null"),
        Value::Bool(truth) => out.push_str(if *truth { "true" } else { "false" }),
        Value::Int(number) => drop(write!(out, "{number}")),
        Value::Float(number) if number.is_finite() => drop(write!(out, "{number:?}")),
        Value::Float(_) => out.push_str("null"),
        Value::Str(text) => put_text(text, out),
        Value::List(list) => {
            for (number, item) in list.iter().enumerate() {
                out.push_str(if number == 0 { "[" } else { ", " });
                put(item, out);
            }
            out.push_str(if list.is_empty() { "[]" } else { "]" });
        }
        Value::Map(map) => {
            for (number, (key, item)) in map.iter().enumerate() {
                out.push_str(if number == 0 { "{" } else { ", " });
                put_text(key, out);
                out.push_str(": ");
                put(item, out);
            }
            out.push_str(if map.is_empty() { "{}" } else { "}" });
        }
    }
}

fn put_text(text: &str, out: &mut String) {
    out.push('"');
    for char in text.chars() {
        match char {
            '"' | '\\' => out.extend(['\\', char]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            control if control < ' ' => drop(write!(out, "\\u{:04x}", control as u32)),
            other => out.push(other),
        }
    }
    out.push('"');
}

/// A value from JSON text.
///
/// # Errors
/// Where the text is not JSON, by the byte's number.
pub fn read(text: &str) -> Result<Value, String> {
    let mut reader = Reader { text, at: 0 };
    let value = reader.value(0)?;
    reader.blanks();
    if reader.at == text.len() {
        Ok(value)
    } else {
        Err(reader.wrong())
    }
}

struct Reader<'a> {
>>>>>>> 3e9d313 (resources: uri, get_url and wait_for; the laws hold for all that edit files)
    text: &'a str,
    at: usize,
}

<<<<<<< HEAD
impl Parser<'_> {
=======
impl Reader<'_> {
    fn wrong(&self) -> String {
        format!("not JSON at byte {}", self.at)
    }

>>>>>>> 3e9d313 (resources: uri, get_url and wait_for; the laws hold for all that edit files)
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

<<<<<<< HEAD
    fn expected(&self, what: &str) -> String {
        format!("expected {what} at byte {}", self.at)
    }

    fn space(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches([' ', '\t', '\n', '\r']).len();
    }

    fn take(&mut self, token: &str) -> bool {
        self.space();
        let here = self.rest().starts_with(token);
        if here {
            self.at += token.len();
        }
        here
    }

    fn value(&mut self, depth: usize) -> Result<Value, String> {
        if depth > DEPTH {
            return Err(self.expected("fewer levels"));
=======
    fn blanks(&mut self) {
        self.at = self.text.len() - self.rest().trim_start_matches([' ', '\t', '\n', '\r']).len();
    }

    fn takes(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        self.at += if found { token.len() } else { 0 };
        found
    }

    fn needs(&mut self, token: &str) -> Result<(), String> {
        self.blanks();
        if self.takes(token) { Ok(()) } else { Err(self.wrong()) }
    }

    fn value(&mut self, depth: usize) -> Result<Value, String> {
        self.blanks();
        if depth > DEPTH {
            return Err(format!("JSON nested deeper than {DEPTH}"));
>>>>>>> 3e9d313 (resources: uri, get_url and wait_for; the laws hold for all that edit files)
        }
        for (word, value) in [
            ("null", Value::Null),
            ("true", Value::Bool(true)),
            ("false", Value::Bool(false)),
        ] {
<<<<<<< HEAD
            if self.take(word) {
                return Ok(value);
            }
        }
        match self.rest().as_bytes().first() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => self.string().map(Value::Str),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => Err(self.expected("a value")),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Value, String> {
        let mut map = Map::new();
        self.at += 1;
        if self.take("}") {
            return Ok(Value::Map(map));
        }
        loop {
            self.space();
            let key = self.string()?;
            if !self.take(":") {
                return Err(self.expected("`:`"));
            }
            map.insert(key, self.value(depth + 1)?);
            if self.take("}") {
                return Ok(Value::Map(map));
            }
            if !self.take(",") {
                return Err(self.expected("`,` or `}`"));
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<Value, String> {
        let mut list = Vec::new();
        self.at += 1;
        if self.take("]") {
=======
            if self.takes(word) {
                return Ok(value);
            }
        }
        match self.rest().bytes().next() {
            Some(b'"') => self.string().map(Value::Str),
            Some(b'[') => self.list(depth),
            Some(b'{') => self.map(depth),
            _ => self.number(),
        }
    }

    fn list(&mut self, depth: usize) -> Result<Value, String> {
        self.needs("[")?;
        let mut list = Vec::new();
        self.blanks();
        if self.takes("]") {
>>>>>>> 3e9d313 (resources: uri, get_url and wait_for; the laws hold for all that edit files)
            return Ok(Value::List(list));
        }
        loop {
            list.push(self.value(depth + 1)?);
<<<<<<< HEAD
            if self.take("]") {
                return Ok(Value::List(list));
            }
            if !self.take(",") {
                return Err(self.expected("`,` or `]`"));
=======
            self.blanks();
            if !self.takes(",") {
                return self.needs("]").map(|()| Value::List(list));
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Value, String> {
        self.needs("{")?;
        let mut map = Map::new();
        self.blanks();
        if self.takes("}") {
            return Ok(Value::Map(map));
        }
        loop {
            self.blanks();
            let key = self.string()?;
            self.needs(":")?;
            map.insert(key, self.value(depth + 1)?);
            self.blanks();
            if !self.takes(",") {
                return self.needs("}").map(|()| Value::Map(map));
>>>>>>> 3e9d313 (resources: uri, get_url and wait_for; the laws hold for all that edit files)
            }
        }
    }

    fn number(&mut self) -> Result<Value, String> {
<<<<<<< HEAD
        let rest = self.rest();
        let end = rest
            .find(|c: char| !matches!(c, '0'..='9' | '+' | '-' | '.' | 'e' | 'E'))
            .unwrap_or(rest.len());
        let digits = &rest[..end];
        let value = match digits.parse::<i64>() {
            Ok(number) => Value::Int(number),
            Err(_) => Value::Float(digits.parse().map_err(|_| self.expected("a number"))?),
        };
        self.at += end;
=======
        let length = self
            .rest()
            .bytes()
            .take_while(|byte| b"+-.eE0123456789".contains(byte))
            .count();
        let digits = &self.rest()[..length];
        let bare = digits.trim_start_matches('-');
        let leading =
            bare.len() > 1 && bare.starts_with('0') && !bare.starts_with("0.") && !bare.starts_with(['e', 'E']);
        if leading || !bare.starts_with(|char: char| char.is_ascii_digit()) {
            return Err(self.wrong());
        }
        let whole = digits.parse().map(Value::Int);
        let value = whole
            .or_else(|_| digits.parse().map(Value::Float))
            .map_err(|_| self.wrong())?;
        self.at += length;
>>>>>>> 3e9d313 (resources: uri, get_url and wait_for; the laws hold for all that edit files)
        Ok(value)
    }

    fn string(&mut self) -> Result<String, String> {
<<<<<<< HEAD
        if !self.rest().starts_with('"') {
            return Err(self.expected("a string"));
        }
        self.at += 1;
        let mut out = String::new();
        while let Some(c) = self.rest().chars().next() {
            self.at += c.len_utf8();
            match c {
                '"' => return Ok(out),
                '\\' => out.push(self.escape()?),
                c if c < ' ' => return Err(self.expected("an escaped control character")),
                c => out.push(c),
            }
        }
        Err(self.expected("`\"`"))
    }

    fn escape(&mut self) -> Result<char, String> {
        let Some(c) = self.rest().chars().next() else {
            return Err(self.expected("an escape"));
        };
        self.at += c.len_utf8();
        match c {
            'n' => Ok('\n'),
            't' => Ok('\t'),
            'r' => Ok('\r'),
            'b' => Ok('\u{8}'),
            'f' => Ok('\u{c}'),
            '"' | '\\' | '/' => Ok(c),
            'u' => self.unicode(),
            _ => Err(self.expected("an escape")),
        }
    }

    fn unicode(&mut self) -> Result<char, String> {
        let first = self.hex()?;
        if !(0xd800..0xdc00).contains(&first) {
            return char::from_u32(first).ok_or_else(|| self.expected("a character"));
        }
        if !self.rest().starts_with("\\u") {
            return Err(self.expected("the second half of a character"));
        }
        self.at += 2;
        let second = self.hex()?.checked_sub(0xdc00).filter(|low| *low < 0x400);
        let code = second.map(|low| 0x10000 + ((first - 0xd800) << 10) + low);
        code.and_then(char::from_u32)
            .ok_or_else(|| self.expected("a character"))
    }

    fn hex(&mut self) -> Result<u32, String> {
        let digits = self
            .rest()
            .get(..4)
            .ok_or_else(|| self.expected("four hexadecimal digits"))?;
        let code = u32::from_str_radix(digits, 16).map_err(|_| self.expected("four hexadecimal digits"))?;
        self.at += 4;
        Ok(code)
=======
        if !self.takes("\"") {
            return Err(self.wrong());
        }
        let mut out = String::new();
        loop {
            let char = self.rest().chars().next().ok_or_else(|| self.wrong())?;
            match char {
                '"' => {
                    self.at += 1;
                    return Ok(out);
                }
                '\\' => out.push(self.escaped()?),
                control if control < ' ' => return Err(self.wrong()),
                other => {
                    self.at += other.len_utf8();
                    out.push(other);
                }
            }
        }
    }

    fn escaped(&mut self) -> Result<char, String> {
        let escape = self.rest().bytes().nth(1).ok_or_else(|| self.wrong())?;
        let plain = match escape {
            b'n' => '\n',
            b't' => '\t',
            b'r' => '\r',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'"' | b'\\' | b'/' => escape as char,
            b'u' => return self.unit().and_then(|unit| self.scalar(unit)),
            _ => return Err(self.wrong()),
        };
        self.at += 2;
        Ok(plain)
    }

    /// Four hexadecimal digits behind `\u`.
    fn unit(&mut self) -> Result<u32, String> {
        let digits = self
            .rest()
            .strip_prefix("\\u")
            .and_then(|rest| rest.get(..4))
            .ok_or_else(|| self.wrong())?;
        let unit = u32::from_str_radix(digits, 16).map_err(|_| self.wrong())?;
        self.at += 6;
        Ok(unit)
    }

    /// A character from its first UTF-16 unit; the second is read where there is one.
    fn scalar(&mut self, unit: u32) -> Result<char, String> {
        let high = (0xd800..0xdc00).contains(&unit);
        if high && self.rest().starts_with("\\u") {
            let low = self.unit()?;
            let code = 0x10000 + ((unit - 0xd800) << 10) + low.wrapping_sub(0xdc00);
            return char::from_u32(code).ok_or_else(|| self.wrong());
        }
        Ok(char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER))
>>>>>>> 3e9d313 (resources: uri, get_url and wait_for; the laws hold for all that edit files)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
<<<<<<< HEAD
    fn values_are_read() {
        let value =
            parse(" {\"a\": [1, -2.5, 1e3, null, true], \"b\": {\"c\": \"x\\n\\u00e9\\ud83d\\ude00\"}, \"d\": []} ")
                .unwrap();
        assert_eq!(value.get("a").unwrap().to_string(), "[1, -2.5, 1000.0, null, true]");
        assert_eq!(value.get("b").unwrap().get("c").unwrap().as_str(), Some("x\né😀"));
=======
    fn json_survives_the_trip() {
        for text in [
            "null",
            "[]",
            "{}",
            r#"{"a": [1, -2.5, true, null, "x\"\\\n\u0001é"], "b": {"c": {}}}"#,
            "1e+30",
        ] {
            let value = read(text).unwrap();
            assert_eq!(read(&write(&value)).unwrap(), value, "{text}");
        }
        assert_eq!(read(r#""\ud83d\ude00 \/\u00e9""#).unwrap(), Value::from("😀 /é"));
        assert_eq!(write(&read(" { \"a\" : [ 1 , 2 ] } ").unwrap()), r#"{"a": [1, 2]}"#);
>>>>>>> 3e9d313 (resources: uri, get_url and wait_for; the laws hold for all that edit files)
    }

    #[test]
    fn what_is_not_json_is_refused() {
<<<<<<< HEAD
        for bad in [
            "",
            "{",
            "[1,]",
            "{\"a\" 1}",
            "\"x",
            "01x",
            "nul",
            "\"\\q\"",
            "\"\\ud83d\"",
            "{} {}",
            &"[".repeat(100),
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
=======
        for text in [
            "",
            "{",
            "[1,]",
            "{a: 1}",
            "01",
            "\"a",
            "\"\\x\"",
            "nul",
            "1 2",
            "\"\\u12\"",
            "-",
            "+1",
            "\"\n\"",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
        assert!(read(&"[".repeat(1000)).unwrap_err().contains("deeper"));
>>>>>>> 3e9d313 (resources: uri, get_url and wait_for; the laws hold for all that edit files)
    }
}
