//! One command as one line for the far shell: every word quoted, no line end in it.

use super::super::sudo::quoted;
use std::fmt::Write;

/// A line of shell that is being put together.
#[derive(Debug, Default)]
pub(super) struct Line(String);

impl Line {
    /// A line that begins with shell of our own.
    pub(super) fn new(code: &str) -> Line {
        Line(code.to_owned())
    }

    /// Further shell of our own.
    #[must_use]
    pub(super) fn code(mut self, code: &str) -> Line {
        self.0.push_str(code);
        self
    }

    /// A word of any bytes but zero.
    #[must_use]
    pub(super) fn word(mut self, word: &str) -> Line {
        let _ = write!(self.0, " {}", one_line(word));
        self
    }

    /// Several words.
    #[must_use]
    pub(super) fn words<'a>(self, words: impl IntoIterator<Item = &'a str>) -> Line {
        words.into_iter().fold(self, Line::word)
    }

    /// The line.
    pub(super) fn text(&self) -> &str {
        &self.0
    }
}

/// A quoted word in which a line end is written as the far end's variable `N`.
pub(super) fn one_line(word: &str) -> String {
    let parts: Vec<String> = word.split('\n').map(quoted).collect();
    if parts.len() == 1 {
        parts.concat()
    } else {
        parts.join("\"$N\"")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;
    use std::process::Command;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_shell_reads_the_words_that_were_meant(words in proptest::collection::vec("[^\0]{0,12}", 1..6)) {
            let line = Line::new("printf '%s\\037'").words(words.iter().map(String::as_str));
            prop_assert!(!line.text().contains('\n'));
            let script = "N='\n'\nIFS= read -r line; eval \"$line\"";
            let mut child = Command::new("/bin/sh").args(["-c", script]).stdin(std::process::Stdio::piped())
                .stdout(std::process::Stdio::piped()).spawn().unwrap();
            std::io::Write::write_all(&mut child.stdin.take().unwrap(), format!("{}\n", line.text()).as_bytes()).unwrap();
            let said = child.wait_with_output().unwrap().stdout;
            let expected: String = words.iter().map(|word| format!("{word}\u{1f}")).collect();
            prop_assert_eq!(said, expected.into_bytes());
        }
    }
}
