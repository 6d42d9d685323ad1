//! What has moved since a plan was made, in words: which byte of which file, which property from what to what.

use super::record::Input;
use crate::report::scrub;
use okd_agent::Value;
use okd_agent::diff::HIDDEN;
use okd_agent::secret::Secrets;
use okd_agent::seen::Seen;

/// So many differences are told; the others are counted.
const MOST: usize = 3;
/// The longest value that is told, in characters.
const LONGEST: usize = 60;

/// What is different about a step's things.
#[must_use]
pub fn state(planned: Option<&Seen>, now: Option<&Seen>) -> String {
    let mut found = Vec::new();
    if let (Some(planned), Some(now)) = (planned, now) {
        compare(&Place::default(), planned, now, &mut found);
    }
    let more = found.len().saturating_sub(MOST);
    found.truncate(MOST);
    let mut text = match found.is_empty() {
        true => "the host has moved since the plan, in what is not told".to_owned(),
        false => found.join("; "),
    };
    match more {
        0 => {}
        1 => text.push_str("; and one more difference"),
        more => text.push_str(&format!("; and {more} more differences")),
    }
    text
}

/// What is different about a step's input; both where they are known.
#[must_use]
pub fn input(inputs: Option<(&Input, &Input)>) -> String {
    const WORDS: &str = "its input is another one than was planned";
    let Some((planned, now)) = inputs else {
        return WORDS.to_owned();
    };
    let mut found = Vec::new();
    let names: indexmap::IndexSet<&String> = planned.args.keys().chain(now.args.keys()).collect();
    for name in names {
        match (planned.args.get(name), now.args.get(name)) {
            (Some(one), Some(other)) if scrub::clean(&one.to_string()) == scrub::clean(&other.to_string()) => {}
            (one, other) => found.push(format!("`{name}` was {}, is {}", value(one), value(other))),
        }
    }
    if planned.env != now.env {
        found.push("its environment".to_owned());
    }
    if let (Some(one), Some(other)) = (&planned.content, &now.content)
        && one != other
    {
        found.push(format!("its content: {}", bytes(one, other)));
    }
    found.truncate(MOST);
    match found.is_empty() {
        true => WORDS.to_owned(),
        false => format!("{WORDS}: {}", found.join("; ")),
    }
}

fn value(value: Option<&Value>) -> String {
    match value {
        None => "not given".to_owned(),
        Some(value) => quoted(&value.to_string()),
    }
}

fn quoted(text: &str) -> String {
    match text.chars().count() > LONGEST {
        true => format!("{:?}…", text.chars().take(LONGEST).collect::<String>()),
        false => format!("{text:?}"),
    }
}

/// Where in a state something is, in the words of a person.
#[derive(Debug, Clone, Default)]
struct Place {
    /// What it belongs to: a path, a unit, a user.
    of: String,
    /// Which part of it.
    name: String,
}

impl Place {
    fn inside(&self, name: &str) -> Place {
        Place {
            of: self.of.clone(),
            name: name.to_owned(),
        }
    }

    fn of(&self, of: &str) -> Place {
        Place {
            of: of.to_owned(),
            name: String::new(),
        }
    }

    fn subject(&self) -> String {
        match (self.of.is_empty(), is_content(&self.name)) {
            (true, _) if self.name.is_empty() => "it".to_owned(),
            (true, _) => format!("`{}`", self.name),
            (false, true) => self.of.clone(),
            (false, false) => format!("`{}` of {}", self.name, self.of),
        }
    }
}

/// Parts that are the thing itself.
fn is_content(name: &str) -> bool {
    matches!(
        name,
        "" | "bytes" | "content" | "file" | "files" | "state" | "account" | "here"
    )
}

/// What a mapping is about, as its own parts say.
fn of(parts: &[(String, Seen)]) -> Option<&str> {
    let named = |wanted: &str| parts.iter().find(|(name, _)| name == wanted)?.1.as_text();
    ["path", "dest", "unit", "name", "line"]
        .iter()
        .find_map(|name| named(name).filter(|text| !text.is_empty()))
}

fn compare(place: &Place, planned: &Seen, now: &Seen, found: &mut Vec<String>) {
    match (planned, now) {
        (planned, now) if planned == now => {}
        (Seen::Parts(before), Seen::Parts(after)) => {
            let inner = match of(before).or(of(after)) {
                Some(name) => place.of(name),
                None => place.clone(),
            };
            parts(&inner, before, after, found);
        }
        (Seen::List(before), Seen::List(after)) => lists(place, before, after, found),
        (before, Seen::Nothing) if !matches!(before, Seen::Nothing) => {
            found.push(format!("{} is gone since the plan", place.subject()));
        }
        (Seen::Nothing, _) => found.push(format!(
            "{} is there, and was not when the plan was made",
            place.subject()
        )),
        (before, after) => leaf(place, before, after, found),
    }
}

fn parts(place: &Place, before: &[(String, Seen)], after: &[(String, Seen)], found: &mut Vec<String>) {
    let other =
        |all: &[(String, Seen)], name: &str| all.iter().find(|(own, _)| own == name).map(|(_, part)| part.clone());
    let lost = before.iter().map(|(name, _)| name);
    let names: indexmap::IndexSet<&String> = lost.chain(after.iter().map(|(name, _)| name)).collect();
    // What has come or gone says the same once more in each of its properties.
    let content = |all| other(all, "bytes").or_else(|| other(all, "content"));
    if let (Some(one), Some(two)) = (content(before), content(after))
        && (one == Seen::Nothing) != (two == Seen::Nothing)
    {
        return compare(&place.inside("bytes"), &one, &two, found);
    }
    for name in names {
        let inner = place.inside(name);
        let (one, two) = (other(before, name), other(after, name));
        compare(
            &inner,
            &one.unwrap_or(Seen::Nothing),
            &two.unwrap_or(Seen::Nothing),
            found,
        );
    }
}

/// Lists of the same length are compared one by one, pairs of a name and its thing by their names; of others it is told
/// what has come and what has gone.
fn lists(place: &Place, before: &[Seen], after: &[Seen], found: &mut Vec<String>) {
    if let ([Seen::Text(name), one], [Seen::Text(same), two]) = (before, after)
        && name == same
    {
        return compare(&place.of(name), one, two, found);
    }
    let texts = before.iter().chain(after).all(|item| matches!(item, Seen::Text(_)));
    if before.len() == after.len() && !texts {
        let pairs = before.iter().zip(after);
        return pairs.for_each(|(one, two)| compare(place, one, two, found));
    }
    for (here, there, word) in [(after, before, "has come to"), (before, after, "has gone from")] {
        for item in here.iter().filter(|item| !there.contains(item)) {
            let what = item.as_text().map_or_else(|| "something".to_owned(), quoted);
            found.push(format!("{what} {word} {} since the plan", place.subject()));
        }
    }
}

fn leaf(place: &Place, before: &Seen, after: &Seen, found: &mut Vec<String>) {
    if matches!(before, Seen::Digest(_)) || matches!(after, Seen::Digest(_)) {
        return found.push(format!(
            "{} has moved since the plan; its content is not told",
            place.subject()
        ));
    }
    let raw = |seen: &Seen| match seen {
        Seen::Text(text) => Some(text.clone().into_bytes()),
        Seen::Bytes(bytes) => Some(bytes.clone()),
        // Bytes that are none.
        Seen::List(items) if items.is_empty() => Some(Vec::new()),
        _ => None,
    };
    match (raw(before), raw(after)) {
        (Some(one), Some(two)) if is_content(&place.name) || one.contains(&b'\n') || two.contains(&b'\n') => {
            let subject = place.subject();
            found.push(format!("{subject} has moved since the plan: {}", bytes(&one, &two)));
        }
        _ => found.push(format!(
            "{} was {}, is {}",
            place.subject(),
            shown(place, before),
            shown(place, after)
        )),
    }
}

fn shown(place: &Place, seen: &Seen) -> String {
    match seen {
        Seen::Number(bits) if place.name.ends_with("mode") => format!("{bits:04o}"),
        Seen::Number(number) => number.to_string(),
        Seen::Flag(truth) => if *truth { "yes" } else { "no" }.to_owned(),
        other => other.as_text().map_or_else(|| "something else".to_owned(), quoted),
    }
}

/// The first byte that differs: `byte 340 (line 12, column 5) was "x", is "y"`, all counted from 1.
#[must_use]
fn bytes(before: &[u8], after: &[u8]) -> String {
    let (Ok(old), Ok(new)) = (std::str::from_utf8(before), std::str::from_utf8(after)) else {
        let at = before.iter().zip(after).take_while(|(one, two)| one == two).count();
        let byte = |bytes: &[u8]| {
            bytes
                .get(at)
                .map_or("the end".to_owned(), |byte| format!("0x{byte:02x}"))
        };
        return format!("byte {} was {}, is {}", at + 1, byte(before), byte(after));
    };
    let shared = old.chars().zip(new.chars()).take_while(|(one, two)| one == two);
    let at: usize = shared.map(|(letter, _)| letter.len_utf8()).sum();
    let start = old[..at].rfind('\n').map_or(0, |end| end + 1);
    let line = old[..start].matches('\n').count() + 1;
    let column = old[start..at].chars().count() + 1;
    let secret = |text: &str| {
        let end = text[at..].find('\n').map_or(text.len(), |end| at + end);
        let line = &text[start..end];
        line.contains(HIDDEN) || Secrets::marked(line)
    };
    if secret(old) || secret(new) {
        return format!("line {line}, where a secret stands");
    }
    // Placeholders are not as long as what they stand for.
    let hidden = Secrets::marked(&old[..start]) || old[..start].contains(HIDDEN);
    let place = match hidden {
        true => format!("line {line}, column {column}"),
        false => format!("byte {} (line {line}, column {column})", at + 1),
    };
    let letter = |text: &str| match text[at..].chars().next() {
        None => "the end".to_owned(),
        Some('\n') => "the line's end".to_owned(),
        Some(letter) => format!("\"{}\"", letter.escape_debug()),
    };
    format!("{place} was {}, is {}", letter(old), letter(new))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use okd_agent::value::map;
    use serde::Serialize;

    #[derive(Serialize)]
    struct Content {
        path: &'static str,
        bytes: Option<Vec<u8>>,
        mode: u32,
        owner: &'static str,
    }

    fn file(text: Option<&str>, mode: u32) -> Option<Seen> {
        let content = Content {
            path: "/etc/named.conf",
            bytes: text.map(|text| text.as_bytes().to_vec()),
            mode,
            owner: "root",
        };
        Seen::of(&("dest", vec![content]))
    }

    fn moved(before: Option<Seen>, after: Option<Seen>) -> String {
        state(before.as_ref(), after.as_ref())
    }

    #[test]
    fn the_byte_that_moved_is_named() {
        let old = file(Some("options {\n  port 53;\n};\n"), 0o640);
        assert_eq!(
            moved(old.clone(), file(Some("options {\n  port 54;\n};\n"), 0o640)),
            "/etc/named.conf has moved since the plan: byte 19 (line 2, column 9) was \"3\", is \"4\""
        );
        assert_eq!(
            moved(old.clone(), file(Some("options {\n  port 53;\n};\nmore"), 0o600)),
            "/etc/named.conf has moved since the plan: byte 25 (line 4, column 1) was the end, is \"m\"; \
             `mode` of /etc/named.conf was 0640, is 0600"
        );
        assert_eq!(
            moved(old.clone(), file(None, 0o644)),
            "/etc/named.conf is gone since the plan"
        );
        assert_eq!(
            moved(file(None, 0o644), old.clone()),
            "/etc/named.conf is there, and was not when the plan was made"
        );
        assert_eq!(
            moved(file(Some("a"), 0o640), file(Some(""), 0o640)),
            "/etc/named.conf has moved since the plan: byte 1 (line 1, column 1) was \"a\", is the end"
        );
    }

    #[test]
    fn where_a_secret_stands_nothing_of_it_is_told() {
        let place = Secrets::placeholder("db", "0a");
        let text = |end: &str| file(Some(&format!("a\npassword={place}\n{end}\n")), 0o600);
        assert!(moved(text("x"), text("y")).ends_with("line 3, column 1 was \"x\", is \"y\""));
        let plain = file(Some("a\npassword=old\nx\n"), 0o600);
        assert_eq!(
            moved(text("x"), plain),
            "/etc/named.conf has moved since the plan: line 2, where a secret stands"
        );
    }

    #[derive(Serialize)]
    struct Unit {
        unit: &'static str,
        active: bool,
        packages: Vec<&'static str>,
        version: Option<&'static str>,
    }

    #[test]
    fn properties_go_from_what_to_what() {
        let unit = |active, packages, version| {
            Seen::of(&Unit {
                unit: "named",
                active,
                packages,
                version,
            })
        };
        let text = moved(
            unit(true, vec!["a"], Some("9.16")),
            unit(false, vec!["a", "b"], Some("9.18")),
        );
        assert_eq!(
            text,
            "`active` of named was yes, is no; \"b\" has come to `packages` of named since the plan; \
             `version` of named was \"9.16\", is \"9.18\""
        );
    }

    #[test]
    fn another_input_is_told_by_its_arguments() {
        let input = |mode: &str, content: &str| Input {
            module: "copy".to_owned(),
            args: map([("dest", "/x".into()), ("mode", mode.into())]),
            env: Vec::new(),
            content: Some(content.into()),
        };
        let text = super::input(Some((&input("0644", "one\n"), &input("0600", "two\n"))));
        assert_eq!(
            text,
            "its input is another one than was planned: `mode` was \"0644\", is \"0600\"; \
             its content: byte 1 (line 1, column 1) was \"o\", is \"t\""
        );
    }
}
