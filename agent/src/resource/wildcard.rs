//! File names with `*`, `?` and `[…]`, as in glob(7); a leading dot is nothing special.

use super::ResourceError;
use crate::path::AbsPath;
use crate::system::System;

/// Whether a name fits a pattern.
#[must_use]
pub fn fits(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    fits_from(&pattern, &name)
}

fn fits_from(pattern: &[char], name: &[char]) -> bool {
    match (pattern.first(), name.first()) {
        (None, first) => first.is_none(),
        (Some('*'), _) => {
            let rest = pattern[1..]
                .iter()
                .position(|char| *char != '*')
                .map_or(pattern.len(), |stars| stars + 1);
            (0..=name.len()).any(|taken| fits_from(&pattern[rest..], &name[taken..]))
        }
        (Some('?'), Some(_)) => fits_from(&pattern[1..], &name[1..]),
        (Some('['), Some(first)) => match class(&pattern[1..], *first) {
            Some((fits, length)) => fits && fits_from(&pattern[1 + length..], &name[1..]),
            None => *first == '[' && fits_from(&pattern[1..], &name[1..]),
        },
        (Some(wanted), Some(first)) => wanted == first && fits_from(&pattern[1..], &name[1..]),
        (Some(_), None) => false,
    }
}

/// Whether a character is in a class, and how long the class is with its `]`; `None` where it is not closed.
fn class(pattern: &[char], char: char) -> Option<(bool, usize)> {
    let negated = matches!(pattern.first(), Some('!' | '^'));
    let start = usize::from(negated);
    let end = pattern.iter().skip(start + 1).position(|char| *char == ']')? + start + 1;
    let mut inside = &pattern[start..end];
    let mut found = false;
    while let Some(first) = inside.first() {
        if let [low, '-', high, ..] = inside {
            found |= (*low..=*high).contains(&char);
            inside = &inside[3..];
        } else {
            found |= *first == char;
            inside = &inside[1..];
        }
    }
    Some((found != negated, end + 1))
}

/// The first thing that a path with patterns names, by name; `None` where there is none.
///
/// # Errors
/// When the machine does not answer.
pub fn first(pattern: &AbsPath, world: &dyn System) -> Result<Option<AbsPath>, ResourceError> {
    if !pattern.as_str().contains(['*', '?', '[']) {
        return Ok(world.stat(pattern)?.map(|_| pattern.clone()));
    }
    let parts: Vec<&str> = pattern.as_str().split('/').filter(|part| !part.is_empty()).collect();
    let root = AbsPath::new("/").map_err(ResourceError::message)?;
    below(&root, &parts, world)
}

fn below(folder: &AbsPath, parts: &[&str], world: &dyn System) -> Result<Option<AbsPath>, ResourceError> {
    let Some((part, rest)) = parts.split_first() else {
        return Ok(world.stat(folder)?.map(|_| folder.clone()));
    };
    if !part.contains(['*', '?', '[']) {
        return below(&folder.join(part), rest, world);
    }
    for entry in world.list(folder)? {
        let hidden = entry.name.starts_with('.') && !part.starts_with('.');
        if hidden || !fits(part, &entry.name) {
            continue;
        }
        if let Some(found) = below(&folder.join(&entry.name), rest, world)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_as_in_a_shell() {
        for (pattern, name, expected) in [
            ("*", "", true),
            ("*.conf", "named.conf", true),
            ("*.conf", "named.conf.bak", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[]x]", "]", true),
            ("[x", "[x", true),
            ("**a**", "xxaxx", true),
            ("a*b*c", "aXbYbZc", true),
        ] {
            assert_eq!(fits(pattern, name), expected, "{pattern} {name}");
        }
    }
}
