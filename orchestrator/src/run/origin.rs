//! Where a value in a task's arguments comes from: the variable that the task names, followed through other variables to
//! the line that holds the value.

use super::prepare::Context;
use crate::error::Diagnostic;
use crate::source::Span;
use crate::source::yaml::{Node, NodeKind};
use crate::template::{Found, Scope};
use okd_agent::resource::Failure;
use std::sync::Arc;

/// A variable, or a part of one, with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Such as `pools.api.balance`.
    pub name: String,
    /// Where its value is written.
    pub span: Span,
}

/// How far variables that stand for others are followed.
const DEPTH: usize = 8;
/// Shorter values stand everywhere.
const SHORTEST: usize = 3;
/// More places are no help.
const MOST: usize = 3;

struct Search<'a> {
    context: &'a Context,
    scope: &'a Arc<dyn Scope>,
}

/// A mistake in the arguments, with the variables that gave the value at `path`.
#[must_use]
pub fn told(context: &Context, scope: &Arc<dyn Scope>, path: &[String], found: Diagnostic) -> Diagnostic {
    let search = Search { context, scope };
    search.of_argument(path).into_iter().take(MOST).fold(found, labelled)
}

/// A mistake that quotes values, with the variables that hold them.
#[must_use]
pub fn told_by_words(context: &Context, scope: &Arc<dyn Scope>, found: Diagnostic) -> Diagnostic {
    let quoted = quoted(&found.message);
    let search = Search { context, scope };
    search.of_words(&quoted, "").into_iter().fold(found, labelled)
}

fn labelled(found: Diagnostic, origin: Origin) -> Diagnostic {
    found.at(origin.span, format!("it comes from `{}`", origin.name))
}

/// The variables whose values stand in what a checker complains of.
#[must_use]
pub fn of_failure(context: &Context, scope: &Arc<dyn Scope>, failure: &Failure) -> Vec<Origin> {
    let module = context.node.step.task.short_module();
    let Some(answer) = failure
        .answer
        .as_ref()
        .filter(|_| !matches!(module, "command" | "shell" | "script" | "raw"))
    else {
        return Vec::new();
    };
    let words = format!("{}\n{}\n{}", failure.message, answer.text(), answer.error_text());
    let line = failure
        .message
        .lines()
        .skip(1)
        .filter_map(|line| line.split_once(" | "));
    let line = line.map(|(_, line)| line).next().unwrap_or_default();
    Search { context, scope }.of_words(&quoted(&words), line)
}

/// What stands in quotes.
fn quoted(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for mark in ['\'', '"', '`'] {
        for line in text.lines() {
            let inside = line.split(mark).skip(1).step_by(2);
            found.extend(inside.map(str::to_owned));
        }
    }
    found
}

impl Search<'_> {
    fn of_argument(&self, path: &[String]) -> Vec<Origin> {
        let task = &self.context.node.step.task;
        let mut node = &task.args;
        let mut rest = path;
        while let [first, more @ ..] = rest {
            let Some(next) = step(node, first).or_else(|| node.get("_raw_params")) else {
                break;
            };
            (node, rest) = (next, more);
        }
        let names = self.context.world.engine().mentions(node);
        let whole = names.len() == 1;
        let deeper = |name: String| match whole {
            true => rest.iter().fold(name, |name, part| format!("{name}.{part}")),
            false => name,
        };
        let found = names.into_iter().filter_map(|name| self.follow(&deeper(name), 0));
        found.map(|(name, node)| origin(&name, &node)).collect()
    }

    /// The parts of variables whose text is one of the quoted words, else those that stand on the line.
    fn of_words(&self, quoted: &[String], line: &str) -> Vec<Origin> {
        let mut leaves = Vec::new();
        for name in self.names() {
            if let Some((name, node)) = self.follow(&name, 0) {
                self.leaves(&name, &node, 0, &mut leaves);
            }
        }
        leaves.retain(|(_, text)| text.trim().len() >= SHORTEST);
        let mut said: Vec<&(Origin, String)> = leaves.iter().filter(|(_, text)| quoted.contains(text)).collect();
        if said.is_empty() {
            said = leaves.iter().filter(|(_, text)| word_of(line, text)).collect();
            let longest = said.iter().map(|(_, text)| text.len()).max();
            said.retain(|(_, text)| Some(text.len()) == longest);
        }
        let mut origins: Vec<Origin> = said.into_iter().map(|(origin, _)| origin.clone()).collect();
        origins.dedup();
        origins.truncate(MOST);
        origins
    }

    /// The variables that the task's arguments name, or its template file.
    fn names(&self) -> Vec<String> {
        let (engine, task) = (self.context.world.engine(), &self.context.node.step.task);
        let mut names = engine.mentions(&task.args);
        if task.short_module() == "template"
            && let Some(node) = task.args.get("src")
            && let Ok(src) = engine.render(node, self.scope)
            && let Ok(path) = crate::site::find(
                self.context.disk(),
                &src.to_string(),
                &self.scope.search().templates,
                node.span,
            )
            && let Ok(text) = self.context.disk().read_to_string(&path)
        {
            names.extend(engine.mentions_in_text(&text));
        }
        names.into_iter().collect()
    }

    /// What a name stands for: the node that holds the value, under the name of the variable that it is in.
    fn follow(&self, name: &str, depth: usize) -> Option<(String, Node)> {
        let mut parts = name.split('.');
        let root = parts.next().filter(|_| depth < DEPTH)?;
        let (mut known, mut node) = match self.scope.lookup(root) {
            Found::Raw(node) => (root.to_owned(), Node::clone(&node)),
            Found::Known(value) => self.item(root, &value, depth)?,
            _ => return None,
        };
        loop {
            if let Some(other) = self.stands_for(&node) {
                let rest: Vec<&str> = parts.collect();
                let deeper = rest.iter().fold(other, |name, part| format!("{name}.{part}"));
                return self.follow(&deeper, depth + 1);
            }
            let Some(part) = parts.next() else {
                return Some((known, node));
            };
            node = step(&node, part)?.clone();
            known = format!("{known}.{part}");
        }
    }

    /// The variable that a template is, with or without filters.
    fn stands_for(&self, node: &Node) -> Option<String> {
        let text = node.as_str()?.trim();
        if !(text.starts_with("{{") && text.ends_with("}}")) {
            return None;
        }
        let names = self.context.world.engine().mentions(node);
        names.into_iter().next().filter(|name| !name.is_empty())
    }

    /// The element of the loop's list that is being worked on.
    fn item(&self, name: &str, value: &okd_agent::Value, depth: usize) -> Option<(String, Node)> {
        let repeat = self
            .context
            .node
            .step
            .task
            .repeat
            .as_ref()
            .filter(|repeat| repeat.var == name)?;
        let (list, node) = match self.stands_for(&repeat.over) {
            Some(list) => self.follow(&list, depth + 1)?,
            None => (name.to_owned(), repeat.over.clone()),
        };
        let at = node.items().position(|item| item.to_value() == *value)?;
        let item = node.items().nth(at)?.clone();
        Some((format!("{list}.{at}"), item))
    }

    /// Every scalar below a node, with its text.
    fn leaves(&self, name: &str, node: &Node, depth: usize, into: &mut Vec<(Origin, String)>) {
        if depth > 2 * DEPTH {
            return;
        }
        match &node.kind {
            NodeKind::Map(entries) => entries.iter().for_each(|(key, value)| {
                let key_text = key.to_value().to_string();
                into.push((origin(&format!("{name}.{key_text}"), key), key_text.clone()));
                self.leaves(&format!("{name}.{key_text}"), value, depth + 1, into);
            }),
            NodeKind::Seq(items) => items.iter().enumerate().for_each(|(at, item)| {
                self.leaves(&format!("{name}.{at}"), item, depth + 1, into);
            }),
            _ => match self.stands_for(node).and_then(|other| self.follow(&other, 1)) {
                Some((other, found)) if found.span != node.span => self.leaves(&other, &found, depth + 1, into),
                _ => into.push((origin(name, node), node.to_value().to_string())),
            },
        }
    }
}

fn step<'n>(node: &'n Node, part: &str) -> Option<&'n Node> {
    match &node.kind {
        NodeKind::Seq(items) => items.get(part.parse::<usize>().ok()?),
        _ => node.get(part),
    }
}

fn origin(name: &str, node: &Node) -> Origin {
    Origin {
        name: name.to_owned(),
        span: node.written(),
    }
}

/// Whether a text stands on a line as a word of its own.
fn word_of(line: &str, text: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(text).any(|(at, _)| {
        let (before, after) = (line[..at].chars().next_back(), line[at + text.len()..].chars().next());
        !before.is_some_and(part) && !after.is_some_and(part)
    })
}
