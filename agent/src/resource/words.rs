//! Command lines as text: split into words as a POSIX shell does, without its expansions, and joined again for people.

/// Splits a command line at blanks; `'…'`, `"…"` and `\` quote as in Python's `shlex`.
///
/// # Errors
/// An open quote, or a backslash at the end.
pub fn split(line: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.chars();
    while let Some(char) = chars.next() {
        match char {
            ' ' | '\t' | '\n' | '\r' => words.extend(word.take()),
            '\'' | '"' => quoted(char, &mut chars, word.get_or_insert_default())?,
            '\\' => word
                .get_or_insert_default()
                .push(chars.next().ok_or("a backslash at the end escapes nothing")?),
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    Ok(words)
}

fn quoted(quote: char, chars: &mut std::str::Chars<'_>, word: &mut String) -> Result<(), String> {
    let open = || format!("the quote {quote} is not closed");
    loop {
        match chars.next().ok_or_else(open)? {
            end if end == quote => return Ok(()),
            '\\' if quote == '"' => {
                let escaped = chars.next().ok_or_else(open)?;
                if !matches!(escaped, '"' | '\\') {
                    word.push('\\');
                }
                word.push(escaped);
            }
            other => word.push(other),
        }
    }
}

/// Joins words into a line that splits into the same words.
#[must_use]
pub fn join(words: &[String]) -> String {
    words.iter().map(|word| quote(word)).collect::<Vec<_>>().join(" ")
}

fn quote(word: &str) -> String {
    let plain = |char: char| char.is_alphanumeric() || "-_./=:,+@%‹›".contains(char);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_split_as_in_a_shell() {
        for (line, words) in [
            ("echo hi", vec!["echo", "hi"]),
            ("  a\t b\n c ", vec!["a", "b", "c"]),
            ("echo 'a b' \"c d\"", vec!["echo", "a b", "c d"]),
            (r#"a\ b "q\"q" "n\n""#, vec!["a b", "q\"q", r"n\n"]),
            ("x=''y ''", vec!["x=y", ""]),
            ("echo $HOME | cat", vec!["echo", "$HOME", "|", "cat"]),
            ("", vec![]),
        ] {
            assert_eq!(split(line).unwrap(), words, "{line}");
        }
        for bad in ["'a", "\"a", "a\\", "\"a\\"] {
            assert!(split(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn joined_words_split_again(words in proptest::collection::vec(".*", 0..5)) {
            prop_assert_eq!(split(&join(&words)).unwrap(), words);
        }
    }
}
