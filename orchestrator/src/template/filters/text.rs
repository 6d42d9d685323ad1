//! Filters on text: case, layout, splitting, regular expressions, shell quoting.

use minijinja::formatting::{FormatStyle, format as format_text};
use minijinja::value::{StringInput, Value as Native};
use minijinja::{Error, State};
use regex::{Captures, Regex, RegexBuilder};

use crate::template::registry::{Call, Entry, carries, reads, wrong};

type Answer = Result<Native, Error>;

/// Every filter of this file.
pub(super) const ALL: &[Entry] = &[
    reads(&["upper"], &["value"], |_, call| {
        Ok(Native::from(call.text()?.to_uppercase()))
    }),
    reads(&["lower"], &["value"], |_, call| {
        Ok(Native::from(call.text()?.to_lowercase()))
    }),
    reads(&["title"], &["value"], |_, call| {
        Ok(Native::from(minijinja::filters::title(call.text()?.into())))
    }),
    reads(&["capitalize"], &["value"], |state, call| {
        let text = Native::from(call.text()?);
        Ok(minijinja::filters::capitalize(StringInput::new(state, &text)?))
    }),
    reads(&["trim"], &["value", "chars"], |_, call| {
        let text = call.text()?;
        Ok(Native::from(match call.get("chars") {
            Some(_) => {
                let chars: Vec<char> = call.text_of("chars")?.chars().collect();
                text.trim_matches(chars.as_slice())
            }
            None => text.trim(),
        }))
    }),
    reads(&["replace"], &["value", "old", "new", "count"], |_, call| {
        let (text, old, new) = (call.text()?, call.text_of("old")?, call.text_of("new")?);
        Ok(Native::from(match usize::try_from(call.int_or("count", -1)?) {
            Ok(count) => text.replacen(&old, &new, count),
            Err(_) => text.replace(&old, &new),
        }))
    }),
    reads(&["split"], &["value", "sep", "maxsplit"], split),
    reads(&["indent"], &["value", "width", "first", "blank"], indent),
    reads(
        &["wordwrap"],
        &["value", "width", "break_long_words", "wrapstring", "break_on_hyphens"],
        wordwrap,
    ),
    reads(&["center"], &["value", "width"], |_, call| {
        let width = usize::try_from(call.int_or("width", 80)?).unwrap_or(0).min(10_000);
        Ok(Native::from(center(&call.text()?, width)))
    }),
    reads(
        &["truncate"],
        &["value", "length", "killwords", "end", "leeway"],
        truncate,
    ),
    reads(&["wordcount"], &["value"], |_, call| {
        Ok(Native::from(call.text()?.split_whitespace().count()))
    }),
    reads(&["format"], &["value", "*"], |_, call| {
        let mut args = call.rest.clone();
        if !call.named.is_empty() {
            args = vec![Native::from_pairs(
                call.named.iter().map(|(key, value)| (key.as_str(), value.clone())),
            )];
        }
        format_text(FormatStyle::Printf, &call.text()?, &args).map(Native::from)
    }),
    reads(&["comment"], COMMENT_PARAMS, comment),
    reads(&["quote"], &["value"], |_, call| {
        Ok(Native::from(shell_quote(&call.text()?)))
    }),
    reads(
        &["regex_replace"],
        &[
            "value",
            "pattern",
            "replacement",
            "ignorecase",
            "multiline",
            "count",
            "mandatory_count",
        ],
        regex_replace,
    ),
    reads(&["regex_search"], &["value", "regex", "*"], regex_search),
    reads(
        &["regex_findall"],
        &["value", "regex", "multiline", "ignorecase"],
        regex_findall,
    ),
    reads(&["regex_escape"], &["value", "re_type"], regex_escape),
    carries(&["escape", "e", "forceescape"], &["value"], |_, call| {
        let text = call
            .text()?
            .replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;");
        Ok(Native::from(text.replace('\'', "&#39;").replace('"', "&#34;")))
    }),
    carries(&["safe"], &["value"], |_, call| Ok(call.subject())),
];

fn split(_: &mut State<'_, '_>, call: &Call) -> Answer {
    let text = call.text()?;
    let limit = call.int_or("maxsplit", -1)?;
    let most = usize::try_from(limit).map_or(usize::MAX, |limit| limit + 1);
    Ok(match call.get("sep") {
        Some(sep) if !sep.is_none() => {
            let sep = call.text_of("sep")?;
            if sep.is_empty() {
                return Err(wrong("`split`: the separator is empty"));
            }
            text.splitn(most, &sep).map(Native::from).collect()
        }
        _ if limit < 0 => text.split_whitespace().map(Native::from).collect(),
        _ => split_words(&text, most),
    })
}

/// Python's `split(None, n)`: runs of white space separate, the last piece keeps its own.
fn split_words(text: &str, most: usize) -> Native {
    let mut pieces = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
        if pieces.len() + 1 == most {
            pieces.push(rest.trim_end());
            break;
        }
        pieces.push(&rest[..end]);
        rest = rest[end..].trim_start();
    }
    pieces.into_iter().map(Native::from).collect()
}

fn indent(_: &mut State<'_, '_>, call: &Call) -> Answer {
    let pad = match call.get("width") {
        Some(width) if width.as_str().is_some() => call.text_of("width")?,
        _ => " ".repeat(usize::try_from(call.int_or("width", 4)?).unwrap_or(0).min(10_000)),
    };
    let (first, blank) = (call.truth_or("first", false), call.truth_or("blank", false));
    let text = call.text()?;
    let mut out = String::new();
    for (index, line) in text.split('\n').enumerate() {
        if index > 0 {
            out.push('\n');
        }
        let padded = if index == 0 { first } else { blank || !line.is_empty() };
        if padded {
            out.push_str(&pad);
        }
        out.push_str(line);
    }
    Ok(Native::from(out))
}

fn wordwrap(_: &mut State<'_, '_>, call: &Call) -> Answer {
    let width = usize::try_from(call.int_or("width", 79)?).unwrap_or(79).max(1);
    let separator = call.text_or("wrapstring", "\n")?;
    let break_long = call.truth_or("break_long_words", true);
    let mut lines = Vec::new();
    for paragraph in call.text()?.lines() {
        let mut line = String::new();
        for word in paragraph.split_whitespace() {
            let mut word: Vec<char> = word.chars().collect();
            let fits = |line: &str, word: &[char]| line.is_empty() || line.chars().count() + 1 + word.len() <= width;
            if !fits(&line, &word) {
                lines.push(std::mem::take(&mut line));
            }
            while break_long && word.len() > width {
                lines.push(word.drain(..width).collect());
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.extend(word);
        }
        lines.push(line);
    }
    Ok(Native::from(lines.join(&separator)))
}

fn center(text: &str, width: usize) -> String {
    let length = text.chars().count();
    let room = width.saturating_sub(length);
    let left = room / 2 + (room & width & 1);
    format!("{}{text}{}", " ".repeat(left), " ".repeat(room - left))
}

fn truncate(_: &mut State<'_, '_>, call: &Call) -> Answer {
    let text: Vec<char> = call.text()?.chars().collect();
    let length = usize::try_from(call.int_or("length", 255)?).unwrap_or(0);
    let leeway = usize::try_from(call.int_or("leeway", 5)?).unwrap_or(0);
    let end = call.text_or("end", "...")?;
    if text.len() <= length + leeway {
        return Ok(Native::from(text.into_iter().collect::<String>()));
    }
    let kept = length
        .checked_sub(end.chars().count())
        .ok_or_else(|| wrong("`truncate`: the length is below that of `end`"))?;
    let mut head: String = text[..kept].iter().collect();
    if !call.truth_or("killwords", false)
        && let Some(space) = head.rfind(' ')
    {
        head.truncate(space);
    }
    Ok(Native::from(head + &end))
}

const COMMENT_PARAMS: &[&str] = &[
    "value",
    "style",
    "decoration",
    "prefix",
    "prefix_count",
    "postfix",
    "postfix_count",
    "beginning",
    "end",
    "newline",
];

/// As Ansible's: `plain`, `decoration`, `erlang`, `c`, `cblock` and `xml`, each of whose parts can be replaced.
fn comment(_: &mut State<'_, '_>, call: &Call) -> Answer {
    let style = call.text_or("style", "plain")?;
    let (beginning, decoration, prefix, postfix, end) = match style.as_str() {
        "plain" => ("", "# ", None, None, ""),
        "erlang" => ("", "% ", None, None, ""),
        "c" => ("", "// ", None, None, ""),
        "cblock" => ("/*", " * ", None, None, " */"),
        "xml" => ("<!--", " - ", None, None, "-->"),
        other => {
            return Err(wrong(format!(
                "`comment`: style is plain, erlang, c, cblock or xml, not `{other}`"
            )));
        }
    };
    let newline = call.text_or("newline", "\n")?;
    let decoration = call.text_or("decoration", decoration)?;
    let bare = decoration.trim_end().to_owned();
    let prefix = call.text_or("prefix", prefix.unwrap_or(&bare))?;
    let postfix = call.text_or("postfix", postfix.unwrap_or(&bare))?;
    let beginning = call.text_or("beginning", beginning)?;
    let end = call.text_or("end", end)?;
    let count = |name: &str| Ok::<usize, Error>(usize::try_from(call.int_or(name, 1)?).unwrap_or(0).min(1000));
    let mut lines: Vec<String> = Vec::new();
    if !beginning.is_empty() {
        lines.push(beginning);
    }
    lines.extend(std::iter::repeat_n(prefix, count("prefix_count")?));
    for line in call.text()?.split('\n') {
        lines.push(if line.is_empty() {
            bare.clone()
        } else {
            format!("{decoration}{line}")
        });
    }
    lines.extend(std::iter::repeat_n(postfix, count("postfix_count")?));
    if !end.is_empty() {
        lines.push(end);
    }
    Ok(Native::from(lines.join(&newline)))
}

/// Python's `shlex.quote`.
pub(super) fn shell_quote(text: &str) -> String {
    let safe = |letter: char| letter.is_ascii_alphanumeric() || "@%+=:,./-_".contains(letter);
    if !text.is_empty() && text.chars().all(safe) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\"'\"'"))
    }
}

/// A pattern in Python's notation. Look-around and references inside a pattern do not exist here and are refused.
pub(in crate::template) fn pattern(text: &str, ignorecase: bool, multiline: bool) -> Result<Regex, Error> {
    let text = text.replace(r"\Z", r"\z");
    RegexBuilder::new(&text)
        .case_insensitive(ignorecase)
        .multi_line(multiline)
        .build()
        .map_err(|err| {
            let said = err.to_string();
            let last = said
                .lines()
                .last()
                .unwrap_or_default()
                .trim_start_matches("error: ")
                .to_owned();
            wrong(format!("the regular expression `{text}` cannot be used: {last}"))
        })
}

fn call_pattern(call: &Call, name: &str) -> Result<Regex, Error> {
    pattern(
        &call.text_of(name)?,
        call.truth_or("ignorecase", false),
        call.truth_or("multiline", false),
    )
}

fn regex_replace(_: &mut State<'_, '_>, call: &Call) -> Answer {
    let text = call.text()?;
    let regex = call_pattern(call, "pattern")?;
    let replacement = call.text_or("replacement", "")?;
    let count = usize::try_from(call.int_or("count", 0)?).unwrap_or(0);
    let mut done = 0_i64;
    let mut failure = None;
    let out = regex.replacen(&text, count, |found: &Captures<'_>| {
        done += 1;
        expand(&replacement, found).unwrap_or_else(|err| {
            failure = Some(err);
            String::new()
        })
    });
    let wanted = call.int_or("mandatory_count", 0)?;
    match failure {
        Some(err) => Err(err),
        None if wanted > 0 && wanted != done => Err(wrong(format!(
            "`regex_replace` was to replace {wanted} times and did {done} times"
        ))),
        None => Ok(Native::from(out.into_owned())),
    }
}

/// Python's replacement text: `\1`, `\g<1>`, `\g<name>`, `\n`, `\\`.
fn expand(replacement: &str, found: &Captures<'_>) -> Result<String, Error> {
    let mut out = String::new();
    let mut rest = replacement;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(named) = rest.strip_prefix("g<") {
            let (name, after) = named
                .split_once('>')
                .ok_or_else(|| wrong(r"`\g<` is not closed in the replacement"))?;
            out.push_str(group(found, name)?);
            rest = after;
            continue;
        }
        let digits = rest.bytes().take(2).take_while(u8::is_ascii_digit).count();
        if digits > 0 {
            out.push_str(group(found, &rest[..digits])?);
            rest = &rest[digits..];
            continue;
        }
        let Some(letter) = rest.chars().next() else {
            return Err(wrong("the replacement ends in a lone backslash"));
        };
        match letter {
            'n' => out.push('\n'),
            't' => out.push('\t'),
            'r' => out.push('\r'),
            '\\' => out.push('\\'),
            other => {
                out.push('\\');
                out.push(other);
            }
        }
        rest = &rest[letter.len_utf8()..];
    }
    out.push_str(rest);
    Ok(out)
}

/// A group by number or name; one that took no part is empty.
fn group<'t>(found: &Captures<'t>, name: &str) -> Result<&'t str, Error> {
    let capture = match name.parse::<usize>() {
        Ok(index) if index < found.len() => found.get(index),
        Ok(_) => return Err(wrong(format!("the regular expression has no group {name}"))),
        Err(_) => found.name(name),
    };
    Ok(capture.map_or("", |capture| capture.as_str()))
}

/// Null where nothing is found; a list of groups where groups are asked for as `'\\1'` or `'\\g<name>'`.
fn regex_search(_: &mut State<'_, '_>, call: &Call) -> Answer {
    let option = |name: &str| call.named.iter().any(|(key, value)| key == name && value.is_true());
    if let Some((name, _)) = call
        .named
        .iter()
        .find(|(key, _)| key != "ignorecase" && key != "multiline")
    {
        return Err(wrong(format!("`regex_search` has no argument `{name}`")));
    }
    let text = call.text()?;
    let regex = pattern(&call.text_of("regex")?, option("ignorecase"), option("multiline"))?;
    let Some(found) = regex.captures(&text) else {
        return Ok(Native::from(()));
    };
    if call.rest.is_empty() {
        return Ok(Native::from(&found[0]));
    }
    let mut groups = Vec::new();
    for wanted in &call.rest {
        let wanted = crate::template::print::text(wanted);
        let name = wanted
            .strip_prefix(r"\g<")
            .and_then(|name| name.strip_suffix('>'))
            .or_else(|| wanted.strip_prefix('\\'))
            .ok_or_else(|| {
                wrong(format!(
                    r"`regex_search` takes groups as '\\1' or '\\g<name>', not `{wanted}`"
                ))
            })?;
        groups.push(Native::from(group(&found, name)?));
    }
    Ok(Native::from(groups))
}

/// All matches; of a pattern with one group that group, with several groups a list of them.
fn regex_findall(_: &mut State<'_, '_>, call: &Call) -> Answer {
    let text = call.text()?;
    let regex = call_pattern(call, "regex")?;
    Ok(regex
        .captures_iter(&text)
        .map(|found| {
            let part = |index: usize| Native::from(found.get(index).map_or("", |part| part.as_str()));
            match found.len() {
                1 => part(0),
                2 => part(1),
                count => (1..count).map(part).collect(),
            }
        })
        .collect())
}

fn regex_escape(_: &mut State<'_, '_>, call: &Call) -> Answer {
    let special = match call.text_or("re_type", "python")?.as_str() {
        "python" => "()[]{}?*+-|^$\\.&~# \t\n\r\u{b}\u{c}",
        "posix_basic" => "[].^$*\\",
        other => {
            return Err(wrong(format!(
                "`regex_escape`: re_type is python or posix_basic, not `{other}`"
            )));
        }
    };
    let mut out = String::new();
    for letter in call.text()?.chars() {
        if special.contains(letter) {
            out.push('\\');
        }
        out.push(letter);
    }
    Ok(Native::from(out))
}
