//! The engine's errors as diagnostics: the exact place in the file, the name that was meant, what to do.

use std::ops::Range;
use std::sync::Arc;

use minijinja::{Error, ErrorKind};

use super::scan::{self, Chain, Source};
use super::scope::Root;
use super::touch::{self, Frame};
use super::{Engine, Names};
use crate::error::{Diagnostic, nearest};
use crate::source::yaml::Node;
use crate::source::{FileId, SourceMap, Span};

/// What a piece of template text was taken from.
#[derive(Clone, Copy)]
pub(super) enum Place<'a> {
    /// A scalar of a YAML file.
    Scalar(&'a Node),
    /// A whole template file.
    File(FileId),
}

impl Place<'_> {
    /// The place of a byte range of the text.
    pub(super) fn span(&self, sources: &SourceMap, range: Range<usize>) -> Span {
        match self {
            Place::Scalar(node) => node.file_span(sources, range.start, range.end),
            Place::File(file) => Span {
                file: *file,
                start: range.start as u32,
                end: range.end as u32,
            },
        }
    }
}

/// A rendering that failed, with all that is needed to say why.
pub(super) struct Trouble<'a> {
    pub(super) engine: &'a Engine,
    pub(super) root: &'a Arc<Root>,
    pub(super) place: Place<'a>,
    pub(super) source: &'a Source,
    /// Whether the text is an expression without braces.
    pub(super) bare: bool,
}

impl Trouble<'_> {
    /// The diagnostic of an error, or of the failure behind it.
    pub(super) fn explain(&self, err: &Error, frame: Frame) -> Diagnostic {
        let err = innermost(err);
        let range = self.range(err);
        let used = self.span(range.clone());
        if let Some(failure) = frame.failure {
            return if failure.labels.iter().any(|label| label.span == used) {
                failure
            } else {
                failure.at(used, "used here")
            };
        }
        let detail = err.detail().unwrap_or_default().to_owned();
        match err.kind() {
            ErrorKind::UndefinedError => self.undefined(&range, &detail, &frame),
            ErrorKind::SyntaxError => self.syntax(used, &detail),
            ErrorKind::UnknownFilter => self.unknown(&range, &detail, Names::Filter),
            ErrorKind::UnknownTest => self.unknown(&range, &detail, Names::Test),
            ErrorKind::UnknownFunction => self.unknown(&range, &detail, Names::Function),
            ErrorKind::UnknownMethod => unknown_method(&detail).at(used, ""),
            ErrorKind::OutOfFuel => Diagnostic::new("template-limit", "the template does not come to an end")
                .at(used, "still at work here when its limit was reached"),
            ErrorKind::TemplateNotFound => Diagnostic::new("template-not-found", detail).at(used, ""),
            ErrorKind::InvalidOperation if detail.contains("undefined") => self.undefined(&range, &detail, &frame),
            kind => plain_error(if detail.is_empty() { kind.to_string() } else { detail }).at(used, ""),
        }
    }

    /// Where a range of the written text stands.
    fn span(&self, range: Range<usize>) -> Span {
        let base = self.source.base;
        self.place
            .span(&self.engine.inner.sources, base + range.start..base + range.end)
    }

    /// The range in the written text; all of it where the engine does not say.
    fn range(&self, err: &Error) -> Range<usize> {
        let text = &self.source.written;
        match err
            .range()
            .filter(|range| range.start <= range.end && range.end <= self.source.text.len())
        {
            Some(range) => self.source.offset(range.start)..self.source.offset(range.end),
            None => (text.len() - text.trim_start().len()).min(text.trim_end().len())..text.trim_end().len(),
        }
    }

    fn syntax(&self, used: Span, detail: &str) -> Diagnostic {
        Diagnostic::new("template-syntax", said("the template cannot be read", detail)).at(used, "")
    }

    /// An unknown filter, test or function, with the nearest name that exists.
    fn unknown(&self, range: &Range<usize>, detail: &str, names: Names) -> Diagnostic {
        let word = quoted_word(detail);
        let (code, noun) = names.words();
        let place = self.word_in(range, &word).unwrap_or_else(|| range.clone());
        let failure = Diagnostic::new(code, format!("there is no {noun} `{word}`"));
        let known = self.engine.names(names);
        match nearest(&word, known.iter().map(String::as_str)) {
            Some(near) => failure.at(self.span(place), format!("did you mean `{near}`?")),
            None => failure.at(self.span(place), ""),
        }
    }

    fn word_in(&self, range: &Range<usize>, word: &str) -> Option<Range<usize>> {
        let text = &self.source.written;
        scan::tokens(&text[..range.end], range.start, None)
            .0
            .into_iter()
            .rev()
            .map(|token| match token.kind {
                scan::Kind::Text if token.range.len() >= 2 => token.range.start + 1..token.range.end - 1,
                _ => token.range,
            })
            .find(|token| &text[token.clone()] == word)
    }

    /// Finds which name, or which part of a chain, is the one that is not there.
    fn undefined(&self, range: &Range<usize>, detail: &str, frame: &Frame) -> Diagnostic {
        let text = &self.source.written;
        let tokens = scan::tokens(&text[..range.end], range.start, None).0;
        let mut chains = scan::chains(text, &tokens);
        let before = scan::token_lists(&text[..range.end], self.bare)
            .pop()
            .unwrap_or_default();
        chains.extend(
            scan::chains(text, &before)
                .into_iter()
                .rev()
                .filter(|chain| chain.end <= range.end),
        );
        for chain in &chains {
            if let Some(found) = self
                .missing_root(chain, frame)
                .or_else(|| self.missing_link(chain, frame))
            {
                return found;
            }
        }
        let what = if detail.is_empty() {
            "something here is not defined"
        } else {
            detail
        };
        Diagnostic::new("undefined-variable", what).at(self.span(range.clone()), "")
    }

    fn missing_root(&self, chain: &Chain, frame: &Frame) -> Option<Diagnostic> {
        let name = &self.source.written[chain.root.clone()];
        let here = self.span(chain.root.clone());
        if let Some((_, failure)) = frame.hints.iter().find(|(hinted, _)| hinted == name) {
            return Some(failure.clone().at(here, "used here"));
        }
        if self.root.has(name) || !self.is_free(name) {
            return None;
        }
        let failure = Diagnostic::new("undefined-variable", format!("variable `{name}` is not defined"));
        let names = self.root.scope.names();
        Some(match nearest(name, names.iter().map(String::as_str)) {
            Some(near) => failure.at(here, format!("did you mean `{near}`?")),
            None => failure.at(here, ""),
        })
    }

    /// Whether a name comes from outside the template, and is none of the engine's own.
    fn is_free(&self, name: &str) -> bool {
        let names = self.engine.free_names(&self.source.written, self.bare);
        names.is_none_or(|names| names.contains(name)) && !self.engine.inner.globals.contains(name)
    }

    /// The first link of a chain that leads nowhere; of a chain on a template's own variable that is the last one.
    fn missing_link(&self, chain: &Chain, frame: &Frame) -> Option<Diagnostic> {
        let text = &self.source.written;
        let known = self.root.has(&text[chain.root.clone()]);
        let leads_nowhere = |link: &Range<usize>| {
            let value = self.quietly(&text[chain.root.start..link.end]);
            if known {
                value.is_some_and(|value| value.is_undefined())
            } else {
                link.end == chain.end
            }
        };
        let index = chain.links.iter().position(leads_nowhere)?;
        let link = chain.links[index].clone();
        let owner = &text[chain.root.start..index.checked_sub(1).map_or(chain.root.end, |at| chain.links[at].end)];
        let word = text[link.clone()].trim_matches(['.', '[', ']', '\'', '"', ' ']);
        let here = self.span(link.clone());
        if let Some((_, failure)) = frame.hints.iter().find(|(hinted, _)| hinted == word) {
            return Some(failure.clone().at(here, "used here"));
        }
        let whole = &text[chain.root.start..link.end];
        let failure = Diagnostic::new("undefined-attribute", format!("`{whole}` is not defined"));
        let keys = if known { self.keys(owner) } else { Vec::new() };
        Some(match nearest(word, keys.iter().map(String::as_str)) {
            Some(near) => failure.at(here, format!("did you mean `{near}`?")),
            None => failure.at(here, format!("`{owner}` has no `{word}`")),
        })
    }

    /// The keys of a part of the text that is a mapping.
    fn keys(&self, text: &str) -> Vec<String> {
        let owner = self
            .quietly(text)
            .filter(|owner| owner.kind() == minijinja::value::ValueKind::Map);
        let keys = owner.and_then(|owner| owner.try_iter().ok());
        keys.into_iter().flatten().map(|key| super::print::text(&key)).collect()
    }

    /// Evaluates a part of the text for the message's sake; touches are dropped.
    fn quietly(&self, text: &str) -> Option<minijinja::Value> {
        let env = &self.engine.inner.env;
        touch::record(self.root, || {
            let context = minijinja::Value::from_dyn_object(Arc::clone(self.root));
            env.compile_expression(text).ok()?.eval(context).ok()
        })
        .0
    }
}

fn plain_error(detail: String) -> Diagnostic {
    let formats = detail.contains("% operator") && detail.contains("string");
    let failure = Diagnostic::new("template-error", detail);
    if formats {
        failure.help("text is filled in with the filter `format`: `'%s' | format(x)`")
    } else {
        failure
    }
}

fn unknown_method(detail: &str) -> Diagnostic {
    let failure = Diagnostic::new("unknown-method", said("no such method here", detail));
    let changes = ["append", "extend", "insert", "pop", "remove", "update", "setdefault"];
    if changes
        .iter()
        .any(|name| detail.ends_with(&format!("method named {name}")))
    {
        let instead = "`{% set ns = namespace(l=[]) %}` before a loop, `{% set ns.l = ns.l + [x] %}` in it";
        failure.note("values do not change in place").help(instead)
    } else {
        failure
    }
}

fn said(what: &str, detail: &str) -> String {
    if detail.is_empty() {
        what.to_owned()
    } else {
        format!("{what}: {detail}")
    }
}

/// The name in the engine's `filter NAME is unknown`.
fn quoted_word(detail: &str) -> String {
    let words: Vec<&str> = detail.split_whitespace().collect();
    let word = match words.as_slice() {
        ["filter" | "test", word, ..] => word,
        [word, ..] => word,
        [] => "",
    };
    word.trim_matches(['`', '\'', '"']).to_owned()
}

/// The error at the bottom, where the engine wraps those of includes and blocks.
pub(super) fn innermost(err: &Error) -> &Error {
    let mut deepest = err;
    while let Some(inner) = std::error::Error::source(deepest).and_then(|inner| inner.downcast_ref::<Error>()) {
        if inner.range().is_none() && deepest.range().is_some() {
            break;
        }
        deepest = inner;
    }
    deepest
}
