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

/// A value as JSON text on one line; what is unknown is `null`.
#[must_use]
pub fn write(value: &Value) -> String {
    let mut out = String::new();
    put(value, &mut out);
    out
}

fn put(value: &Value, out: &mut String) {
    match value {
        Value::Null | Value::Unknown(_) => out.push_str("null"),
        Value::Float(number) if !number.is_finite() => out.push_str("null"),
        Value::Bool(_) | Value::Int(_) | Value::Float(_) => out.push_str(&value.to_string()),
        Value::Str(text) => put_text(text, out),
        Value::List(list) => {
            out.push('[');
            for (number, item) in list.iter().enumerate() {
                out.push_str(if number == 0 { "" } else { ", " });
                put(item, out);
            }
            out.push(']');
        }
        Value::Map(map) => {
            out.push('{');
            for (number, (key, item)) in map.iter().enumerate() {
                out.push_str(if number == 0 { "" } else { ", " });
                put_text(key, out);
                out.push_str(": ");
                put(item, out);
            }
            out.push('}');
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
            control if control < ' ' => out.push_str(&format!("\\u{:04x}", control as u32)),
            other => out.push(other),
        }
    }
    out.push('"');
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl Parser<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

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
        }
        for (word, value) in [
            ("null", Value::Null),
            ("true", Value::Bool(true)),
            ("false", Value::Bool(false)),
        ] {
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
            return Ok(Value::List(list));
        }
        loop {
            list.push(self.value(depth + 1)?);
            if self.take("]") {
                return Ok(Value::List(list));
            }
            if !self.take(",") {
                return Err(self.expected("`,` or `]`"));
            }
        }
    }

    fn number(&mut self) -> Result<Value, String> {
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
        Ok(value)
    }

    fn string(&mut self) -> Result<String, String> {
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
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn values_are_read() {
        let value =
            parse(" {\"a\": [1, -2.5, 1e3, null, true], \"b\": {\"c\": \"x\\n\\u00e9\\ud83d\\ude00\"}, \"d\": []} ")
                .unwrap();
        assert_eq!(value.get("a").unwrap().to_string(), "[1, -2.5, 1000.0, null, true]");
        assert_eq!(value.get("b").unwrap().get("c").unwrap().as_str(), Some("x\né😀"));
    }

    #[test]
    fn what_is_not_json_is_refused() {
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
    }

    #[test]
    fn written_values_are_read_again() {
        for text in [
            "null",
            "[]",
            "{}",
            r#"{"a": [1, -2.5, true, null, "x\"\\\n\u0001é"], "b": {"c": {}}}"#,
        ] {
            let value = parse(text).unwrap();
            assert_eq!(parse(&write(&value)).unwrap(), value, "{text}");
        }
        assert_eq!(write(&parse(" { \"a\" : [ 1 , 2 ] } ").unwrap()), r#"{"a": [1, 2]}"#);
    }
}
