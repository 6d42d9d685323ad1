//! `transaction` on a block, and `validate` on a task: what has to accept the files, what is told of them, what is asked then.

use super::keywords::{self, text};
use super::task::{TASK_KEYS, task};
use super::{Place, Task, short};
use crate::actions;
use crate::error::{Diagnostic, nearest};
use crate::run::args::kind_info;
use crate::source::Span;
use crate::source::yaml::{Node, NodeKind};
use std::sync::Arc;

/// What brings the files of a block in place, all of them or none.
#[derive(Debug, Clone)]
pub struct Transaction {
    /// Where its keyword stands.
    pub span: Span,
    /// As written.
    pub node: Node,
    /// Commands; `{stage}` is the root of a view of the machine that has the new files.
    pub check: Vec<Node>,
    /// What tells the service.
    pub reload: Vec<Arc<Task>>,
    /// What is asked then.
    pub probe: Vec<Arc<Task>>,
    /// Where its relative paths start.
    pub place: Arc<Place>,
}

const KEYS: [&str; 3] = ["check", "reload", "probe"];
const CHECK: &str = "check: named-checkconf -z -t {stage} /etc/named.conf";
const RELOAD: &str = "reload: {service: named, state: reloaded}";
const PROBE: &str = "probe: {dns: {name: api.okd.example.org, type: A, server: 10.0.0.1, expect: 10.0.0.1}}";
/// Keywords of tasks that what tells and asks may carry.
const CALL_KEYS: [&str; 4] = ["name", "args", "when", "vars"];
/// What a `probe` asks.
pub const SUBJECTS: [&str; 6] = ["dns", "dhcp", "tcp", "tls", "http", "ping"];

fn wrong(span: Span, message: &str, example: &str) -> Diagnostic {
    Diagnostic::new("wrong-type", message)
        .at(span, "")
        .help(format!("such as `{example}`"))
}

/// Reads a transaction.
///
/// # Errors
/// What it does not know, and a check that does not look at the staged files.
pub fn transaction(key: &Node, value: &Node, place: &Arc<Place>) -> Result<Transaction, Diagnostic> {
    let NodeKind::Map(entries) = &value.kind else {
        return Err(wrong(
            value.span,
            "`transaction` is a mapping with `check`, `reload` and `probe`",
            CHECK,
        ));
    };
    let mut transaction = Transaction {
        span: key.span,
        node: value.clone(),
        check: Vec::new(),
        reload: Vec::new(),
        probe: Vec::new(),
        place: Arc::clone(place),
    };
    for (key, value) in entries {
        match text(key, "a keyword")?.as_str() {
            "check" => transaction.check = checks(value)?,
            "reload" => transaction.reload = calls(value, "reload", place)?,
            "probe" => transaction.probe = calls(value, "probe", place)?,
            name => {
                let found = Diagnostic::new("unknown-key", format!("`{name}` is not a keyword of `transaction`"));
                let near = nearest(name, KEYS);
                return Err(found.at(
                    key.span,
                    near.map_or_else(String::new, |near| format!("did you mean `{near}`?")),
                ));
            }
        }
    }
    if entries.is_empty() {
        return Err(wrong(
            value.span,
            "a transaction needs `check`, `reload` or `probe`",
            CHECK,
        ));
    }
    Ok(transaction)
}

/// A transaction that only checks: `validate` on a task.
///
/// # Errors
/// A check that does not look at the staged files.
pub fn validating(key: &Node, value: &Node, place: &Arc<Place>) -> Result<Transaction, Diagnostic> {
    if value.as_str().is_some_and(|text| text.contains("%s")) {
        let found = Diagnostic::new(
            "wrong-value",
            "`%s` is one file of a module that has `validate` among its parameters",
        );
        return Err(found
            .at(value.span, "")
            .help("as a keyword of the task, `validate` checks all files that it writes: `{stage}` is the root of a view that has them"));
    }
    Ok(Transaction {
        span: key.span,
        node: Node::new(
            NodeKind::Map(vec![(Node::str("check", key.span), value.clone())]),
            value.span,
        ),
        check: checks(value)?,
        reload: Vec::new(),
        probe: Vec::new(),
        place: Arc::clone(place),
    })
}

fn checks(value: &Node) -> Result<Vec<Node>, Diagnostic> {
    let all = match &value.kind {
        NodeKind::Seq(list) => list.clone(),
        _ => vec![value.clone()],
    };
    for command in &all {
        let line = command
            .as_str()
            .ok_or_else(|| wrong(command.span, "`check` is a command, or a list of commands", CHECK))?;
        if !line.contains("{stage}") && !line.contains("{{") {
            return Err(not_staged(command.span));
        }
        okd_agent::resource::words::split(line)
            .map_err(|problem| Diagnostic::new("wrong-value", format!("`check`: {problem}")).at(command.span, ""))?;
    }
    Ok(all)
}

/// A check that would look at the files that are there.
#[must_use]
pub fn not_staged(span: Span) -> Diagnostic {
    Diagnostic::new(
        "not-staged",
        "this checks the files that are there, not the new ones: `{stage}` is missing",
    )
    .at(span, "")
    .note("`{stage}` is the root of a view of the machine that has the new files")
    .help(format!("such as `{CHECK}`"))
}

fn calls(value: &Node, what: &str, place: &Arc<Place>) -> Result<Vec<Arc<Task>>, Diagnostic> {
    let all: Vec<&Node> = match &value.kind {
        NodeKind::Seq(list) => list.iter().collect(),
        _ => vec![value],
    };
    all.into_iter()
        .map(|node| call(node, what, place).map(Arc::new))
        .collect()
}

/// One task of those that tell and ask. Besides the form of a task, the module may have one word beside which its other
/// parameters stand, and a probe's parameters need no module.
fn call(node: &Node, what: &str, place: &Arc<Place>) -> Result<Task, Diagnostic> {
    let NodeKind::Map(entries) = &node.kind else {
        return Err(wrong(
            node.span,
            &format!("`{what}` is a task, or a list of tasks"),
            if what == "probe" { PROBE } else { RELOAD },
        ));
    };
    let name = |key: &Node| key.as_str().unwrap_or_default().to_owned();
    let subject = entries.iter().find(|(key, _)| SUBJECTS.contains(&name(key).as_str()));
    if let (Some((key, _)), "probe") = (subject, what) {
        let mut asked = Task::bare(node.span, "probe", node.clone(), Arc::clone(place));
        asked.module_span = key.span;
        return Ok(asked);
    }
    let known = |key: &str| TASK_KEYS.contains(&key) || keywords::NAMES.contains(&key);
    if let Some((key, _)) = entries
        .iter()
        .find(|(key, _)| known(&name(key)) && !CALL_KEYS.contains(&name(key).as_str()))
    {
        let found = Diagnostic::new("unsupported", format!("`{}` has no meaning in `{what}`", name(key)));
        return Err(found
            .at(key.span, "")
            .help("it acts on the block's host as the block's user"));
    }
    let module = entries.iter().find(|(key, _)| actions::is_module(short(&name(key))));
    let mut call = match module {
        Some((key, word)) if !matches!(word.kind, NodeKind::Map(_) | NodeKind::Null) => {
            let (own, more): (Vec<_>, Vec<_>) = entries.iter().cloned().partition(|(other, _)| known(&name(other)));
            let first = match kind_info(&name(key)).and_then(|kind| kind.free_form) {
                Some(_) => "_raw_params",
                None => "name",
            };
            let words = more.into_iter().map(|(other, value)| match other.span == key.span {
                true => (Node::str(first, value.span), value),
                false => (other, value),
            });
            let args = Node::new(NodeKind::Map(words.collect()), node.span);
            let whole: Vec<_> = own.into_iter().chain([(key.clone(), args)]).collect();
            task(node.span, &whole, place)?
        }
        _ => task(node.span, entries, place)?,
    };
    if kind_info(&call.module).is_none_or(|kind| !okd_agent::resource::KINDS.iter().any(|own| own.names == kind.names))
    {
        let found = Diagnostic::new("unsupported", format!("`{}` cannot stand in `{what}`", call.module));
        return Err(found
            .at(call.module_span, "")
            .help("a module that acts on the host can, such as `service` or `command`"));
    }
    if let (true, NodeKind::Map(args)) = (matches!(call.short_module(), "command" | "shell"), &mut call.args.kind)
        && !args.iter().any(|(key, _)| name(key) == "predicts")
    {
        let nothing = (
            Node::str("nothing", node.span),
            Node::new(NodeKind::Bool(true), node.span),
        );
        args.push((
            Node::str("predicts", node.span),
            Node::new(NodeKind::Map(vec![nothing]), node.span),
        ));
    }
    Ok(call)
}
