//! Tasks and blocks: which key is the module, which are keywords, and what else may stand there.

use super::keywords::{self, Keywords, boolean, names, text};
use super::{Block, Item, Need, Place, Repeat, Task, short, transaction};
use crate::actions;
use crate::error::{Diagnostic, Diagnostics, nearest};
use crate::source::Span;
use crate::source::yaml::{Node, NodeKind};
use std::sync::Arc;

/// The keywords of a task, besides those that plays, blocks and tasks share.
pub const TASK_KEYS: &[&str] = &[
    "name",
    "args",
    "action",
    "local_action",
    "register",
    "loop",
    "loop_control",
    "until",
    "retries",
    "delay",
    "changed_when",
    "failed_when",
    "notify",
    "listen",
    "needs",
    "async",
    "poll",
    "predicts",
    "validate",
];
/// The keywords of a block, besides those that plays, blocks and tasks share.
pub const BLOCK_KEYS: &[&str] = &["name", "block", "rescue", "always", "parallel", "notify", "transaction"];
/// The loops by lookup.
pub const LOOPS: &[&str] = &[
    "with_items",
    "with_list",
    "with_dict",
    "with_fileglob",
    "with_nested",
    "with_together",
    "with_sequence",
    "with_subelements",
    "with_first_found",
    "with_indexed_items",
    "with_flattened",
    "with_lines",
];

/// A list of tasks and blocks.
///
/// # Errors
/// Every mistake in it.
pub fn items(node: &Node, what: &str, place: &Arc<Place>, errors: &mut Diagnostics) -> Vec<Item> {
    match &node.kind {
        NodeKind::Null => Vec::new(),
        NodeKind::Seq(list) => list.iter().filter_map(|entry| item(entry, place, errors)).collect(),
        _ => {
            let message = format!("`{what}` is a list of tasks");
            errors.0.push(
                Diagnostic::new("wrong-type", message)
                    .at(node.span, "")
                    .help("each task begins with `- `"),
            );
            Vec::new()
        }
    }
}

fn item(node: &Node, place: &Arc<Place>, errors: &mut Diagnostics) -> Option<Item> {
    let NodeKind::Map(entries) = &node.kind else {
        let found = Diagnostic::new("wrong-type", "a task is a mapping with a module, such as `ping:`");
        errors.0.push(found.at(node.span, "this is not a mapping"));
        return None;
    };
    let is_block = entries
        .iter()
        .any(|(key, _)| matches!(key_text(key), "block" | "rescue" | "always"));
    let validate = entries.iter().find(|(key, _)| key_text(key) == "validate");
    let result = if is_block {
        block(node.span, entries, place, errors).map(|block| Item::Block(Arc::new(block)))
    } else if let Some((key, value)) = validate {
        validated(node.span, entries, key, value, place)
    } else {
        task(node.span, entries, place).map(|task| Item::Task(Arc::new(task)))
    };
    result.map_err(|found| errors.0.push(found)).ok()
}

fn key_text(node: &Node) -> &str {
    match &node.kind {
        NodeKind::Str(text, _) => text,
        _ => "",
    }
}

/// A task whose files are one set: a block of its own.
fn validated(
    span: Span,
    entries: &[(Node, Node)],
    key: &Node,
    value: &Node,
    place: &Arc<Place>,
) -> Result<Item, Diagnostic> {
    let own: Vec<_> = entries
        .iter()
        .filter(|(other, _)| other.span != key.span)
        .cloned()
        .collect();
    let task = task(span, &own, place)?;
    let name = task
        .name
        .as_ref()
        .map_or(task.module.clone(), |name| name.to_value().to_string());
    Ok(Item::Block(Arc::new(Block {
        name: Some(format!("{name}: validate")),
        transaction: Some(Arc::new(transaction::validating(key, value, place)?)),
        keywords: task.keywords.clone(),
        body: vec![Item::Task(Arc::new(Task {
            keywords: Keywords::default(),
            ..task
        }))],
        ..Block::bare(span)
    })))
}

fn block(
    span: Span,
    entries: &[(Node, Node)],
    place: &Arc<Place>,
    errors: &mut Diagnostics,
) -> Result<Block, Diagnostic> {
    let mut block = Block::bare(span);
    let mut has_body = false;
    for (key, value) in entries {
        match text(key, "a keyword")?.as_str() {
            "name" => block.name = Some(text(value, "a name")?),
            "block" => {
                has_body = true;
                block.body = items(value, "block", place, errors);
            }
            "rescue" => block.rescue = items(value, "rescue", place, errors),
            "always" => block.always = items(value, "always", place, errors),
            "parallel" => block.parallel = boolean(value, "parallel")?,
            "notify" => block.notify = list_of(value),
            "transaction" => block.transaction = Some(Arc::new(transaction::transaction(key, value, place)?)),
            name => {
                if !block.keywords.take(key, name, value)? {
                    return Err(unknown(
                        key,
                        name,
                        "a block",
                        BLOCK_KEYS.iter().chain(keywords::NAMES).copied(),
                    ));
                }
            }
        }
    }
    if !has_body {
        return Err(Diagnostic::new("missing-key", "`rescue` and `always` need a `block` beside them").at(span, ""));
    }
    Ok(block)
}

fn unknown<'a>(key: &Node, name: &str, what: &str, known: impl Iterator<Item = &'a str>) -> Diagnostic {
    let found = Diagnostic::new("unknown-key", format!("`{name}` is not a keyword of {what}"));
    match nearest(name, known) {
        Some(near) => found.at(key.span, format!("did you mean `{near}`?")),
        None => found.at(key.span, ""),
    }
}

struct Found<'a> {
    key: &'a Node,
    name: String,
    value: &'a Node,
}

pub(super) fn task(span: Span, entries: &[(Node, Node)], place: &Arc<Place>) -> Result<Task, Diagnostic> {
    let mut task = Task::bare(span, "", Node::new(NodeKind::Map(Vec::new()), span), Arc::clone(place));
    let mut modules: Vec<Found<'_>> = Vec::new();
    let (mut args, mut control, mut predicts) = (None, None, None);
    for (key, value) in entries {
        let name = text(key, "a keyword or a module")?;
        match name.as_str() {
            "args" => args = Some(value),
            "loop_control" => control = Some(value),
            "predicts" => predicts = Some((key, value)),
            "action" | "local_action" => modules.push(action(&mut task, key, &name, value)?),
            _ if keyword(&mut task, key, &name, value)? => {}
            _ => modules.push(Found { key, name, value }),
        }
    }
    let found = one_module(span, modules)?;
    task.module.clone_from(&found.name);
    task.module_span = found.key.span;
    task.args = arguments(&found, args)?;
    if let (Some((key, value)), NodeKind::Map(entries)) = (predicts, &mut task.args.kind) {
        entries.push((key.clone(), value.clone()));
    }
    if let Some(control) = control {
        loop_control(&mut task, control)?;
    }
    Ok(task)
}

fn action<'a>(task: &mut Task, key: &'a Node, name: &str, value: &'a Node) -> Result<Found<'a>, Diagnostic> {
    if name == "local_action" {
        task.keywords.delegate_to = Some(Node::str("localhost", key.span));
    }
    let module = match &value.kind {
        NodeKind::Str(text, _) => text.split_whitespace().next().unwrap_or_default().to_owned(),
        NodeKind::Map(entries) => entries
            .iter()
            .find(|(key, _)| key_text(key) == "module")
            .map(|(_, module)| text(module, "a module's name"))
            .transpose()?
            .unwrap_or_default(),
        _ => String::new(),
    };
    if module.is_empty() {
        return Err(Diagnostic::new("missing-key", format!("`{name}` needs a module")).at(value.span, ""));
    }
    Ok(Found {
        key,
        name: module,
        value,
    })
}

/// A keyword of tasks; `Ok(false)` where it is none, so that it has to be the module.
fn keyword(task: &mut Task, key: &Node, name: &str, value: &Node) -> Result<bool, Diagnostic> {
    match name {
        "name" => task.name = Some(value.clone()),
        "register" => task.register = Some(keywords::variable_name(value)?),
        _ if (name == "loop" || LOOPS.contains(&name)) && task.repeat.is_some() => {
            let first = task.repeat.as_ref().map(|repeat| repeat.over.span);
            let found = Diagnostic::new("two-loops", "a task has one loop").at(key.span, "a second one");
            return Err(found
                .at_some(first, "the first one")
                .help("`with_nested` goes through two lists"));
        }
        "loop" => task.repeat = Some(repeat(None, value)),
        "until" => task.until = Some(value.clone()),
        "retries" => task.retries = Some(value.clone()),
        "delay" => task.delay = Some(value.clone()),
        "changed_when" => task.changed_when = Some(value.clone()),
        "failed_when" => task.failed_when = Some(value.clone()),
        "notify" => task.notify = list_of(value),
        "listen" => task.listen = names(value, "topics")?,
        "needs" => task.needs = Some(needs(value)?),
        "transaction" => {
            let found = Diagnostic::new("missing-key", "`transaction` needs a `block` beside it").at(key.span, "");
            return Err(found.help("the tasks of the block write the files; `validate` checks those of one task"));
        }
        "async" => task.r#async = Some(value.clone()),
        "poll" => task.poll = Some(value.clone()),
        _ if LOOPS.contains(&name) => task.repeat = Some(repeat(name.strip_prefix("with_"), value)),
        _ if name.starts_with("with_") => return Err(unknown(key, name, "a task", LOOPS.iter().copied())),
        _ => return task.keywords.take(key, name, value),
    }
    Ok(true)
}

fn one_module<'a>(span: Span, mut modules: Vec<Found<'a>>) -> Result<Found<'a>, Diagnostic> {
    let known = |found: &Found<'_>| actions::is_module(short(&found.name));
    if let Some(at) = modules.iter().position(known) {
        let module = modules.swap_remove(at);
        return match modules.first() {
            None => Ok(module),
            Some(other) if known(other) => Err(Diagnostic::new(
                "two-modules",
                format!("a task has one module, here are `{}` and `{}`", module.name, other.name),
            )
            .at(other.key.span, "this would be a second one")
            .at(module.key.span, "")),
            Some(other) => Err(unknown(
                other.key,
                &other.name,
                "a task",
                TASK_KEYS.iter().chain(keywords::NAMES).copied(),
            )),
        };
    }
    let Some(first) = modules.into_iter().next() else {
        return Err(Diagnostic::new("no-module", "this task has no module")
            .at(span, "")
            .help("`okd-play doc` lists the modules"));
    };
    let all = actions::module_names();
    let keys = TASK_KEYS.iter().chain(keywords::NAMES).copied();
    let near = nearest(short(&first.name), all.iter().copied().chain(keys));
    let found = Diagnostic::new(
        "unknown-module",
        format!("there is no module or keyword `{}`", first.name),
    );
    Err(match near {
        Some(near) => found.at(first.key.span, format!("did you mean `{near}`?")),
        None => found.at(first.key.span, "").help("`okd-play doc` lists the modules"),
    })
}

/// The arguments as one mapping: written as a mapping, as `k=v` words, or as free-form text.
fn arguments(found: &Found<'_>, args: Option<&Node>) -> Result<Node, Diagnostic> {
    let mut entries = match &found.value.kind {
        NodeKind::Null => Vec::new(),
        NodeKind::Map(entries) => entries
            .iter()
            .filter(|(key, _)| !(key_text(key) == "module" && key_text(found.key).contains("action")))
            .cloned()
            .collect(),
        NodeKind::Str(text, _) => {
            let text = match key_text(found.key) {
                "action" | "local_action" => text.split_once(char::is_whitespace).map_or("", |(_, rest)| rest.trim()),
                _ => text.as_str(),
            };
            free_form(short(&found.name), text, found.value)
        }
        _ => vec![(Node::str("_raw_params", found.value.span), found.value.clone())],
    };
    match args.map(|args| &args.kind) {
        Some(NodeKind::Map(more)) => entries.extend(more.iter().cloned()),
        Some(_) => {
            return Err(
                Diagnostic::new("wrong-type", "`args` is a mapping").at(args.map_or(found.value.span, |a| a.span), "")
            );
        }
        None => {}
    }
    Ok(Node {
        span: found.value.span,
        defined: None,
        tag: None,
        kind: NodeKind::Map(entries),
    })
}

/// `k=v` words become parameters where the module has them; the rest is free-form text.
fn free_form(module: &str, text: &str, node: &Node) -> Vec<(Node, Node)> {
    let raw_only = matches!(module, "command" | "shell" | "raw" | "script");
    let known = [
        "chdir",
        "creates",
        "removes",
        "executable",
        "warn",
        "stdin",
        "stdin_add_newline",
        "strip_empty_ends",
    ];
    let (mut entries, mut rest) = (Vec::new(), Vec::new());
    for word in words(text) {
        match word.split_once('=') {
            Some((key, value))
                if (!raw_only || known.contains(&key))
                    && !key.is_empty()
                    && key.chars().all(|letter| letter.is_alphanumeric() || letter == '_') =>
            {
                entries.push((Node::str(key, node.span), Node::str(unquoted(value), node.span)));
            }
            _ => rest.push(word),
        }
    }
    if raw_only && entries.is_empty() {
        let whole = node.as_str() == Some(text);
        let raw = if whole {
            node.clone()
        } else {
            Node::str(text, node.span)
        };
        return vec![(Node::str("_raw_params", node.span), raw)];
    }
    if !rest.is_empty() {
        entries.push((
            Node::str("_raw_params", node.span),
            Node::str(rest.join(" "), node.span),
        ));
    }
    entries
}

/// Words split at blanks outside quotes and `{{ }}`.
pub fn words(text: &str) -> Vec<String> {
    let (mut words, mut word, mut quote, mut depth) = (Vec::new(), String::new(), None, 0usize);
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match (letter, quote) {
            ('{', _) if letters.peek() == Some(&'{') => depth += 1,
            ('}', _) if letters.peek() == Some(&'}') => depth = depth.saturating_sub(1),
            ('"' | '\'', None) if depth == 0 => quote = Some(letter),
            (_, Some(open)) if letter == open && depth == 0 => quote = None,
            _ => {}
        }
        if letter.is_whitespace() && quote.is_none() && depth == 0 {
            if !word.is_empty() {
                words.push(std::mem::take(&mut word));
            }
        } else {
            word.push(letter);
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

pub(crate) fn unquoted(value: &str) -> &str {
    let inner = |quote: char| value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    inner('"').or_else(|| inner('\'')).unwrap_or(value)
}

fn list_of(value: &Node) -> Vec<Node> {
    match &value.kind {
        NodeKind::Seq(list) => list.clone(),
        NodeKind::Null => Vec::new(),
        _ => vec![value.clone()],
    }
}

/// `needs`: names of tasks and plays.
///
/// # Errors
/// When an entry is not text.
pub fn needs(value: &Node) -> Result<Vec<Need>, Diagnostic> {
    list_of(value)
        .iter()
        .map(|node| {
            Ok(Need {
                name: text(node, "a task's or a play's name")?,
                span: node.span,
            })
        })
        .collect()
}

fn repeat(lookup: Option<&str>, over: &Node) -> Repeat {
    Repeat {
        lookup: lookup.map(str::to_owned),
        over: over.clone(),
        var: "item".to_owned(),
        index_var: None,
        label: None,
        pause: None,
        extended: false,
        all_items: true,
    }
}

fn loop_control(task: &mut Task, control: &Node) -> Result<(), Diagnostic> {
    let NodeKind::Map(entries) = &control.kind else {
        return Err(Diagnostic::new("wrong-type", "`loop_control` is a mapping").at(control.span, ""));
    };
    let Some(repeat) = &mut task.repeat else {
        return Err(Diagnostic::new("missing-key", "`loop_control` needs a `loop`").at(control.span, ""));
    };
    for (key, value) in entries {
        match text(key, "a keyword")?.as_str() {
            "loop_var" => repeat.var = keywords::variable_name(value)?,
            "index_var" => repeat.index_var = Some(keywords::variable_name(value)?),
            "label" => repeat.label = Some(value.clone()),
            "pause" => repeat.pause = Some(value.clone()),
            "extended" => repeat.extended = boolean(value, "extended")?,
            "extended_allitems" => repeat.all_items = boolean(value, "extended_allitems")?,
            name => {
                let known = [
                    "loop_var",
                    "index_var",
                    "label",
                    "pause",
                    "extended",
                    "extended_allitems",
                ];
                return Err(unknown(key, name, "`loop_control`", known.into_iter()));
            }
        }
    }
    Ok(())
}
