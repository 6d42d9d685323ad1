//! Regular expressions as playbooks write them (Python's), run by an engine without lookaround and back references.

use crate::pack::{Pack, Reader};
use crate::param::{FromParam, ParamError, ParamKind};
use crate::value::Value;
use regex_lite::{Captures, Regex, RegexBuilder};

/// A regular expression that compiles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(String);

impl Pattern {
    /// Takes Python's syntax.
    ///
    /// # Errors
    /// What is wrong with it, or which of Python's features is not supported.
    pub fn new(text: &str) -> Result<Self, String> {
        let pattern = Pattern(text.to_owned());
        pattern.build(false, false)?;
        Ok(pattern)
    }

    /// As written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }

    /// Whether it sets the multi-line flag itself, as in `(?m)^x`.
    #[must_use]
    pub fn sets_multi_line(&self) -> bool {
        let flags = self.0.strip_prefix("(?").and_then(|rest| rest.split_once(')'));
        flags.is_some_and(|(flags, _)| flags.bytes().all(|flag| b"aiLmsux".contains(&flag)) && flags.contains('m'))
    }

    /// The engine's form, with `^` and `$` at lines, and `.` for line ends too.
    ///
    /// # Errors
    /// As [`Pattern::new`].
    pub fn build(&self, multi_line: bool, dot_all: bool) -> Result<Regex, String> {
        RegexBuilder::new(&translated(&self.0)?)
            .multi_line(multi_line)
            .dot_matches_new_line(dot_all)
            .build()
            .map_err(|error| format!("a regular expression, not `{}`: {error}", self.0))
    }

    /// Two expressions with another one between them.
    ///
    /// # Errors
    /// As [`Pattern::new`].
    pub fn around(before: Option<&Self>, between: &str, after: Option<&Self>) -> Result<Self, String> {
        let text = |side: Option<&Self>| side.map_or("", |pattern| &pattern.0).to_owned();
        Pattern::new(&format!("{}{between}{}", text(before), text(after)))
    }
}

impl Pack for Pattern {
    fn pack(&self, to: &mut Vec<u8>) {
        self.0.pack(to);
    }
    fn unpack(from: &mut Reader<'_>) -> Self {
        Pattern(Pack::unpack(from))
    }
}

impl FromParam for Pattern {
    const KIND: ParamKind = ParamKind::Str;
    fn from_param(value: &Value) -> Result<Self, Vec<ParamError>> {
        Pattern::new(&String::from_param(value)?).map_err(ParamError::invalid)
    }
}

/// Rewrites what Python and the engine spell differently.
fn translated(pattern: &str) -> Result<String, String> {
    let mut out = String::with_capacity(pattern.len() + 8);
    let mut in_class = false;
    let mut at = 0;
    while let Some(char) = pattern[at..].chars().next() {
        let rest = &pattern[at..];
        let mut taken = char.len_utf8();
        match char {
            '\\' => {
                let escaped = rest[1..]
                    .chars()
                    .next()
                    .ok_or("a regular expression that does not end in a backslash")?;
                taken += escaped.len_utf8();
                out.push_str(&escape(escaped, in_class, pattern)?);
            }
            '[' if in_class => out.push_str(r"\["),
            '[' => {
                in_class = true;
                taken = class_start(rest);
                out.push_str(&rest[..taken].replace(']', r"\]"));
            }
            ']' if in_class => {
                in_class = false;
                out.push(']');
            }
            '&' | '~' if in_class => out.extend(['\\', char]),
            '{' if !in_class && !is_repetition(rest) => out.push_str(r"\{"),
            '{' if rest.starts_with("{,") && !in_class => {
                taken = 2;
                out.push_str("{0,");
            }
            '(' if !in_class => {
                refuse_lookaround(rest, pattern)?;
                out.push('(');
            }
            other => out.push(other),
        }
        at += taken;
    }
    Ok(out)
}

fn escape(escaped: char, in_class: bool, pattern: &str) -> Result<String, String> {
    match escaped {
        'Z' if !in_class => Ok(r"\z".to_owned()),
        '<' | '>' => Ok(escaped.to_string()),
        '1'..='9' if !in_class => Err(format!(
            "a regular expression without back references such as \\{escaped}, not `{pattern}`"
        )),
        other if other.is_ascii() => Ok(format!("\\{other}")),
        other => Ok(other.to_string()),
    }
}

/// The bytes of a class's beginning: `[`, `^`, and a `]` that stands for itself.
fn class_start(rest: &str) -> usize {
    let after_caret = if rest[1..].starts_with('^') { 2 } else { 1 };
    after_caret + usize::from(rest[after_caret..].starts_with(']'))
}

fn is_repetition(rest: &str) -> bool {
    rest[1..].split_once('}').is_some_and(|(inside, _)| {
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        inside != ","
            && !inside.is_empty()
            && inside
                .split_once(',')
                .map_or(digits(inside), |(a, b)| digits(a) && digits(b))
    })
}

fn refuse_lookaround(rest: &str, pattern: &str) -> Result<(), String> {
    let ahead = ["(?=", "(?!", "(?<=", "(?<!", "(?(", "(?P="]
        .iter()
        .find(|open| rest.starts_with(**open));
    ahead.map_or(Ok(()), |open| {
        Err(format!(
            "a regular expression without `{open}…)`, which is not supported, not `{pattern}`"
        ))
    })
}

/// Fills `\1`, `\g<name>` and `\n` of a replacement, as Python's `match.expand`.
///
/// # Errors
/// A group that the expression does not have.
pub fn expand(captures: &Captures<'_>, template: &str) -> Result<String, String> {
    let mut out = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('\\') {
        out.push_str(before);
        let next = after.chars().next();
        let digits = after.bytes().take(2).take_while(u8::is_ascii_digit).count();
        rest = match next {
            Some('0'..='9') => {
                out.push_str(group(captures, &after[..digits])?);
                &after[digits..]
            }
            Some('g') if after.starts_with("g<") => {
                let (name, tail) = after[2..]
                    .split_once('>')
                    .ok_or("`\\g<` without `>` in the replacement")?;
                out.push_str(group(captures, name)?);
                tail
            }
            Some(char) => {
                match char {
                    'n' => out.push('\n'),
                    't' => out.push('\t'),
                    'r' => out.push('\r'),
                    '\\' => out.push('\\'),
                    other => out.extend(['\\', other]),
                }
                &after[char.len_utf8()..]
            }
            None => {
                out.push('\\');
                ""
            }
        };
    }
    out.push_str(rest);
    Ok(out)
}

fn group<'a>(captures: &Captures<'a>, name: &str) -> Result<&'a str, String> {
    let missing = || format!("the regular expression has no group `{name}`");
    match name.parse::<usize>() {
        Ok(number) if number < captures.len() => Ok(captures.get(number).map_or("", |found| found.as_str())),
        Ok(_) => Err(missing()),
        Err(_) => captures.name(name).map(|found| found.as_str()).ok_or_else(missing),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_python_accepts_is_accepted() {
        for (pattern, text, found) in [
            (r"^SELINUX=", "SELINUX=enforcing", true),
            (r"^#?\s*PermitRootLogin\b", "#PermitRootLogin no", true),
            (r"\<b\>", "a <b> c", true),
            (r"end\Z", "the end", true),
            (r"foo{bar}", "foo{bar}", true),
            (r"a{2}b{,3}c{1,}", "aabc", true),
            (r"[[]x[]]", "[x]", true),
            (r"[^]a]", "]a", false),
            (r"[&~-]", "-", true),
            (r"(?i)HELLO", "hello", true),
            (r"(?P<key>\w+)\s*=", "a = 1", true),
            (r"\é", "é", true),
        ] {
            let regex = Pattern::new(pattern).unwrap().build(false, false).unwrap();
            assert_eq!(regex.is_match(text), found, "{pattern} on {text}");
        }
    }

    #[test]
    fn what_the_engine_lacks_is_refused_with_its_name() {
        for (pattern, word) in [
            ("a(?=b)", "(?="),
            ("(?!x)", "(?!"),
            ("(?<=x)y", "(?<="),
            (r"(a)\1", "back references"),
            ("(", "regular expression"),
            ("a\\", "backslash"),
        ] {
            assert!(Pattern::new(pattern).unwrap_err().contains(word), "{pattern}");
        }
    }

    #[test]
    fn replacements_are_filled_as_in_python() {
        let regex = Pattern::new(r"(?P<key>\w+)=(\d+)?")
            .unwrap()
            .build(false, false)
            .unwrap();
        let captures = regex.captures("port=80").unwrap();
        assert_eq!(
            expand(&captures, r"\g<key> is \2\n\\ $1 \.").unwrap(),
            "port is 80\n\\ $1 \\."
        );
        assert!(expand(&captures, r"\3").is_err());
        assert!(expand(&captures, r"\g<none>").is_err());
        assert_eq!(expand(&regex.captures("x=").unwrap(), r"[\2]").unwrap(), "[]");
    }

    #[test]
    fn flags_at_the_start_are_seen() {
        assert!(Pattern::new("(?ms)^x").unwrap().sets_multi_line());
        assert!(!Pattern::new("(?:m)x").unwrap().sets_multi_line());
    }
}
