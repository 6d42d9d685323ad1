//! What goes wrong before anything runs, as a person reads it: a code, a sentence, places with carets, a hint.
//! Also the exit codes, because a mistake's kind decides how the command ends.

use crate::source::{SourceFile, SourceMap, Span};
use annotate_snippets::{AnnotationKind, Element, Group, Level, Origin, Renderer, Snippet};
use std::collections::HashSet;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// How much a diagnostic weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Severity {
    /// Nothing is run.
    #[default]
    Error,
    /// Said, and gone on.
    Warning,
}

/// How the command ends; the number is the process's exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Exit {
    /// Nothing to do, or done.
    Ok = 0,
    /// At least one step failed.
    Failed = 1,
    /// The command line, a playbook or an inventory is wrong; no host was touched.
    Usage = 2,
    /// At least one host could not be reached.
    Unreachable = 3,
    /// A host moved since its plan was made.
    Stale = 4,
    /// `--check --exit-code` found changes pending.
    Pending = 10,
}

impl Exit {
    /// Every way to end, by number.
    pub const ALL: [Exit; 6] = [
        Exit::Ok,
        Exit::Failed,
        Exit::Usage,
        Exit::Unreachable,
        Exit::Stale,
        Exit::Pending,
    ];

    /// The process's exit code.
    #[must_use]
    pub fn code(self) -> u8 {
        self as u8
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// One mistake, with its places. Rendered by [`Diagnostic::render`] in the shape of rustc's messages.
#[derive(Debug, Clone, PartialEq)]
pub struct Diagnostic {
    /// Whether it stops the run.
    pub severity: Severity,
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
    /// An error with no place yet.
    #[must_use]
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Diagnostic {
            severity: Severity::Error,
            code,
            message: message.into(),
            labels: Vec::new(),
            notes: Vec::new(),
            help: Vec::new(),
        }
    }

    /// A warning with no place yet.
    #[must_use]
    pub fn warning(code: &'static str, message: impl Into<String>) -> Self {
        Diagnostic {
            severity: Severity::Warning,
            ..Diagnostic::new(code, message)
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

    /// Adds a place where there is one.
    #[must_use]
    pub fn at_some(self, span: Option<Span>, text: impl Into<String>) -> Self {
        match span {
            Some(span) => self.at(span, text),
            None => self,
        }
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

    /// Adds `help: did you mean …` where one of `names` is near to `word`.
    #[must_use]
    pub fn did_you_mean<'a>(self, word: &str, names: impl IntoIterator<Item = &'a str>) -> Self {
        match nearest(word, names) {
            Some(name) => self.help(format!("did you mean `{name}`?")),
            None => self,
        }
    }

    /// The message as rustc would print it, with the source lines quoted. With `colour`, ANSI styles mark it.
    #[must_use]
    pub fn render(&self, sources: &SourceMap, colour: bool) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let excerpts = self.excerpts(sources);
        let title = level.primary_title(self.message.as_str()).id(self.code);
        let notes = self.notes.iter().map(|note| Level::NOTE.message(note.as_str()));
        let help = self.help.iter().map(|help| Level::HELP.message(help.as_str()));
        let group: Group<'_> = title
            .elements(excerpts.iter().map(Excerpt::element))
            .elements(notes)
            .elements(help);
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        let mut text = renderer.render(&[group]);
        text.push('\n');
        text
    }

    /// The labels gathered by file, in the order in which the files are first named.
    fn excerpts(&self, sources: &SourceMap) -> Vec<Excerpt<'_>> {
        let mut excerpts: Vec<Excerpt<'_>> = Vec::new();
        for (index, label) in self.labels.iter().enumerate() {
            let known = excerpts
                .iter()
                .position(|one| one.labels[0].1.span.file == label.span.file);
            let at = known.unwrap_or_else(|| {
                let file = sources.file(label.span.file);
                excerpts.push(Excerpt {
                    path: file.path.display().to_string(),
                    file,
                    labels: Vec::new(),
                });
                excerpts.len() - 1
            });
            excerpts[at].labels.push((index == 0, label));
        }
        excerpts
    }

    fn sort_key(&self) -> (Option<Span>, &str) {
        (self.labels.first().map(|label| label.span), &self.message)
    }

    fn identity(&self) -> (Option<Span>, &str, &str) {
        (self.labels.first().map(|label| label.span), self.code, &self.message)
    }
}

/// The labels of one diagnostic that lie in one file.
struct Excerpt<'d> {
    path: String,
    file: Arc<SourceFile>,
    /// Whether it is the primary place, and the label. Never empty once built.
    labels: Vec<(bool, &'d Label)>,
}

impl Excerpt<'_> {
    /// The lines with their carets; of a hidden file, the place alone.
    fn element(&self) -> Element<'_> {
        if self.file.hidden {
            let first = self.labels.first().map_or(0, |(_, label)| label.span.start);
            let place = self.file.position(first);
            return Origin::path(self.path.as_str())
                .line(place.line as usize)
                .char_column(place.column as usize)
                .into();
        }
        let annotations = self.labels.iter().map(|(primary, label)| {
            let kind = if *primary {
                AnnotationKind::Primary
            } else {
                AnnotationKind::Context
            };
            let text = (!label.text.is_empty()).then_some(label.text.as_str());
            kind.span(first_line(&self.file.text, label.span)).label(text)
        });
        let snippet = Snippet::source(self.file.text.as_str()).path(self.path.as_str());
        snippet.annotations(annotations).into()
    }
}

/// The part of a span that lies on its first line, on character boundaries: a caret line is worth more than a bracket.
fn first_line(text: &str, span: Span) -> Range<usize> {
    let start = floor_boundary(text, span.start as usize);
    let end = floor_boundary(text, (span.end as usize).max(start));
    let line = text[start..end].lines().next().unwrap_or_default();
    start..start + line.trim_end().len()
}

fn floor_boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// Several mistakes at once: everything that could be found is said in one go.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Diagnostics(pub Vec<Diagnostic>);

impl Diagnostics {
    /// Adds one.
    pub fn push(&mut self, one: Diagnostic) {
        self.0.push(one);
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether one of them stops the run.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.0.iter().any(|one| one.severity == Severity::Error)
    }

    /// Keeps the value of a result, or the mistakes.
    pub fn absorb<T, E: Into<Diagnostics>>(&mut self, result: Result<T, E>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(mistakes) => {
                self.0.extend(mistakes.into().0);
                None
            }
        }
    }

    /// The value where nothing was found.
    ///
    /// # Errors
    /// Itself, where something was.
    pub fn into_result<T>(self, value: T) -> Result<T, Diagnostics> {
        if self.is_empty() { Ok(value) } else { Err(self) }
    }

    /// All of them, sorted by place, each once, an empty line between two.
    #[must_use]
    pub fn render(&self, sources: &SourceMap, colour: bool) -> String {
        let mut seen = HashSet::new();
        let mut sorted: Vec<&Diagnostic> = self.0.iter().filter(|one| seen.insert(one.identity())).collect();
        sorted.sort_by(|left, right| left.sort_key().cmp(&right.sort_key()));
        let rendered: Vec<String> = sorted.iter().map(|one| one.render(sources, colour)).collect();
        rendered.join("\n")
    }
}

impl From<Diagnostic> for Diagnostics {
    fn from(one: Diagnostic) -> Self {
        Diagnostics(vec![one])
    }
}

impl Extend<Diagnostic> for Diagnostics {
    fn extend<I: IntoIterator<Item = Diagnostic>>(&mut self, more: I) {
        self.0.extend(more);
    }
}

impl IntoIterator for Diagnostics {
    type Item = Diagnostic;
    type IntoIter = std::vec::IntoIter<Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// The message alone, for logs; people read [`Diagnostic::render`].
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Diagnostic {}

/// The messages alone, one a line; people read [`Diagnostics::render`].
impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, one) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            one.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}

/// The nearest of some names, for "did you mean".
#[must_use]
pub fn nearest<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (word.chars().count() / 3).max(1) + 1;
    names
        .into_iter()
        .map(|name| (distance(word, name), name))
        .filter(|(distance, name)| *distance <= limit && *distance < name.chars().count())
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

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use std::path::Path;

    fn span(sources: &SourceMap, file: crate::source::FileId, word: &str) -> Span {
        let start = sources.file(file).text.find(word).unwrap() as u32;
        Span {
            file,
            start,
            end: start + word.len() as u32,
        }
    }

    #[test]
    fn renders_the_shape_of_the_design() {
        let sources = SourceMap::default();
        let file = sources.add(
            Path::new("bastion.yml"),
            "- file:\n    path: /é/x\n    moed: \"0644\"\n".into(),
        );
        let one = Diagnostic::new("unknown-key", "`moed` is not a parameter of `file`")
            .at(span(&sources, file, "moed"), "did you mean `mode`?")
            .note("in task \"DNS\" (bastion.yml:1)");
        let expected = "error[unknown-key]: `moed` is not a parameter of `file`
 --> bastion.yml:3:5
  |
3 |     moed: \"0644\"
  |     ^^^^ did you mean `mode`?
  |
  = note: in task \"DNS\" (bastion.yml:1)
";
        assert_eq!(one.render(&sources, false), expected);
        assert!(one.render(&sources, true).contains("\u{1b}["));
    }

    #[test]
    fn renders_several_files_and_the_second_place() {
        let sources = SourceMap::default();
        let used = sources.add(Path::new("a.yml"), "x: *ü\n".into());
        let defined = sources.add(Path::new("b.yml"), "one: 1\ny: &ü\n  a\n".into());
        let one = Diagnostic::warning("odd", "odd alias")
            .at(span(&sources, used, "*ü"), "used here")
            .at(span(&sources, defined, "&ü\n  a"), "defined here")
            .help("quote it");
        let expected = "warning[odd]: odd alias
 --> a.yml:1:4
  |
1 | x: *ü
  |    ^^ used here
  |
 ::: b.yml:2:4
  |
2 | y: &ü
  |    -- defined here
  |
  = help: quote it
";
        assert_eq!(one.render(&sources, false), expected);
    }

    #[test]
    fn sorts_by_place_and_says_each_once() {
        let sources = SourceMap::default();
        let file = sources.add(Path::new("a.yml"), "one\ntwo\n".into());
        let late = Diagnostic::new("late", "late").at(span(&sources, file, "two"), "");
        let early = Diagnostic::new("early", "early").at(span(&sources, file, "one"), "");
        let all = Diagnostics(vec![late.clone(), early, late]);
        let text = all.render(&sources, false);
        assert_eq!(text.matches("error[late]").count(), 1);
        assert!(text.find("early").unwrap() < text.find("late").unwrap());
    }

    #[test]
    fn nearest_takes_slips_and_leaves_strangers() {
        assert_eq!(nearest("moed", ["owner", "mode", "group"]), Some("mode"));
        assert_eq!(nearest("whne", ["when", "name"]), Some("when"));
        assert_eq!(nearest("zzz", ["when", "name"]), None);
        assert_eq!(nearest("x", ["y"]), None);
    }
}
