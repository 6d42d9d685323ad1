//! What can be said about templates before anything is rendered: syntax, and filters, tests and lookups by name.
//! It finds mistakes in branches that a run would not reach.

use super::problem::Place;
use super::scan::{self, Kind, Source, Token};
use super::{Engine, Names};
use crate::error::{Diagnostic, nearest};
use crate::source::yaml::{Node, NodeKind};
use minijinja::Environment;
use std::path::Path;

impl Engine {
    /// The mistakes in the templates of a tree that show without its variables.
    #[must_use]
    pub fn check(&self, node: &Node) -> Vec<Diagnostic> {
        let mut found = Vec::new();
        self.check_tree(node, false, &mut found);
        found
    }

    /// The mistakes in a bare expression, or a list of them.
    #[must_use]
    pub fn check_condition(&self, node: &Node) -> Vec<Diagnostic> {
        let mut found = Vec::new();
        self.check_tree(node, true, &mut found);
        found
    }

    fn check_tree(&self, node: &Node, bare: bool, found: &mut Vec<Diagnostic>) {
        match &node.kind {
            NodeKind::Str(text, _) if !super::is_literal(node) && (bare || scan::is_template(text)) => {
                let bare = bare && !scan::is_template(text);
                if !text.trim().is_empty() {
                    self.check_text(text, bare, Place::Scalar(node), found);
                }
            }
            NodeKind::Seq(list) => list.iter().for_each(|item| self.check_tree(item, bare, found)),
            NodeKind::Map(entries) => entries.iter().for_each(|(key, item)| {
                self.check_tree(key, false, found);
                self.check_tree(item, bare, found);
            }),
            _ => {}
        }
    }

    /// The mistakes in a template file that show without its variables; one with a `#jinja2:` line is left to its
    /// rendering.
    #[must_use]
    pub fn check_file(&self, path: &Path, text: &str) -> Vec<Diagnostic> {
        let mut found = Vec::new();
        if !text.starts_with("#jinja2:") {
            self.check_text(text, false, Place::File(self.file_id(path, text)), &mut found);
        }
        found
    }

    fn check_text(&self, text: &str, bare: bool, place: Place<'_>, found: &mut Vec<Diagnostic>) {
        let mut env = Environment::empty();
        env.set_syntax(super::syntax());
        let source = Source::new(text, 0, bare, matches!(place, Place::Scalar(_)));
        let parsed = if bare {
            env.compile_expression(&source.text).map(drop)
        } else {
            env.template_from_str(&source.text).map(drop)
        };
        if let Err(err) = parsed {
            let range = err.range().filter(|range| range.end <= source.text.len());
            let range = range.map_or(0..text.len(), |range| {
                source.offset(range.start)..source.offset(range.end)
            });
            let said = format!(
                "the template cannot be read: {}",
                err.detail().unwrap_or("syntax error")
            );
            let hint = if text.get(range.clone()) == Some("=") {
                "`==` compares"
            } else {
                ""
            };
            found.push(Diagnostic::new("template-syntax", said).at(place.span(&self.inner.sources, range), hint));
            return;
        }
        for tokens in scan::token_lists(text, bare) {
            for index in 0..tokens.len() {
                found.extend(self.check_name(text, &tokens, index, place));
            }
        }
    }

    /// A name behind `|`, `is` or `is not` that does not exist.
    fn check_name(&self, text: &str, tokens: &[Token], index: usize, place: Place<'_>) -> Option<Diagnostic> {
        let word = |at: usize| tokens.get(at).map(|token| &text[token.range.clone()]);
        let (names, start) = match word(index)? {
            "|" => (Names::Filter, index + 1),
            "is" if tokens[index].kind == Kind::Name && word(index + 1) == Some("not") => (Names::Test, index + 2),
            "is" if tokens[index].kind == Kind::Name && word(index.wrapping_sub(1)) != Some(".") => {
                (Names::Test, index + 1)
            }
            _ => return None,
        };
        let first = tokens.get(start).filter(|token| token.kind == Kind::Name)?;
        let mut last = first;
        let mut at = start + 1;
        while word(at) == Some(".") && tokens.get(at + 1).is_some_and(|token| token.kind == Kind::Name) {
            last = &tokens[at + 1];
            at += 2;
        }
        let range = first.range.start..last.range.end;
        let name: String = text[range.clone()].split_whitespace().collect();
        let known = self.names(names);
        let short = ["ansible.builtin.", "ansible.utils."]
            .iter()
            .find_map(|prefix| name.strip_prefix(prefix));
        if known.iter().any(|one| *one == short.unwrap_or(&name)) {
            return None;
        }
        let (code, noun) = names.words();
        let failure = Diagnostic::new(code, format!("there is no {noun} `{name}`"));
        let near = nearest(&name, known.iter().map(String::as_str));
        let label = near.map_or(String::new(), |near| format!("did you mean `{near}`?"));
        Some(failure.at(place.span(&self.inner.sources, range), label))
    }
}
