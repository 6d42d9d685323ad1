//! What can be said of a step before anything is rendered or contacted: templates that cannot be read, names that
//! nothing has, values that no host could make fit. A branch that this run would not reach is looked at too.

use super::{Site, SitePlay, Step};
use crate::error::{Diagnostic, Diagnostics};
use crate::playbook::{Keywords, Need, Task};
use crate::source::yaml::{Node, NodeKind};
use crate::template::Engine;
use std::sync::Arc;

/// The words that `meta` takes.
pub const META: &[&str] = &[
    "flush_handlers",
    "end_play",
    "end_host",
    "end_batch",
    "clear_host_errors",
    "clear_facts",
    "noop",
    "refresh_inventory",
];

/// Looks at every step of a site.
pub fn check(site: &Site, errors: &mut Diagnostics) {
    for play in &site.plays {
        for vars in std::iter::once(&play.play.vars).chain(play.files.iter().map(AsRef::as_ref)) {
            vars.values()
                .for_each(|node| errors.extend(site.loading.engine.check(node)));
        }
        let late = play.play.needs.iter().flatten().filter(|_| play.late);
        late.for_each(|need| errors.push(needs_late(need)));
        for step in play.steps() {
            let late = step.task.needs.iter().flatten().filter(|_| play.late);
            late.for_each(|need| errors.push(needs_late(need)));
            steps(&site.loading.engine, &step, errors);
            notifications(&play.flows.handlers, &step, errors);
            template(site, play, &step, errors);
        }
    }
}

fn needs_late(need: &Need) -> Diagnostic {
    let text = "`needs` is not supported behind `add_host`, `group_by` and `meta: refresh_inventory`: the hosts of this play are not known yet";
    Diagnostic::new("unsupported", text).at(need.span, "")
}

/// Looks at one step, also one that an include has brought.
pub fn steps(engine: &Engine, step: &Step, errors: &mut Diagnostics) {
    let task = &step.task;
    let conditions = [&task.until, &task.changed_when, &task.failed_when];
    for node in step.keywords.when.iter().chain(conditions.into_iter().flatten()) {
        errors.extend(engine.check_condition(node));
    }
    match task.short_module() {
        "assert" => {
            let that = task.args.get("that").into_iter();
            that.for_each(|node| errors.extend(engine.check_condition(node)));
        }
        "debug" => {
            let (var, msg) = (task.args.get("var"), task.args.get("msg"));
            var.into_iter()
                .for_each(|node| errors.extend(engine.check_condition(node)));
            msg.into_iter().for_each(|node| errors.extend(engine.check(node)));
        }
        _ => errors.extend(engine.check(&task.args)),
    }
    let given = task
        .name
        .iter()
        .chain(&step.notify)
        .chain(keyword_nodes(&step.keywords));
    given.for_each(|node| errors.extend(engine.check(node)));
    for vars in &step.keywords.vars {
        vars.values().for_each(|node| errors.extend(engine.check(node)));
    }
    if let Some(repeat) = &task.repeat {
        errors.extend(engine.check(&repeat.over));
        let list = repeat.over.as_seq().is_some() || is_template(&repeat.over);
        if repeat.lookup.is_none() && !list {
            let text = format!("`loop` takes a list, not {}", repeat.over.type_name());
            errors.push(
                Diagnostic::new("wrong-type", text)
                    .at(repeat.over.span, "")
                    .help("`loop: [one, two]`"),
            );
        }
    }
    values(step, errors);
    background(task, errors);
    words(step, errors);
    defaults(step, errors);
}

/// `async` with `poll: 0` leaves a task behind while it runs; nothing here outlives its step.
fn background(task: &Task, errors: &mut Diagnostics) {
    let zero = |node: &Node| node.to_value().to_string().parse() == Ok(0.0);
    if let (Some(limit), Some(poll)) = (&task.r#async, &task.poll)
        && zero(poll)
        && !zero(limit)
    {
        errors.push(left_behind(poll));
    }
}

/// What is said where a task would be left behind.
#[must_use]
pub fn left_behind(poll: &Node) -> Diagnostic {
    Diagnostic::new(
        "unsupported",
        "`poll: 0` is not supported: a task does not run on behind the others",
    )
    .at(poll.span, "")
    .note("`async` with another `poll`, or without it, is a time limit in seconds")
    .help("tasks of a block with `parallel: true` run beside each other; a service or a timer runs on its own")
}

fn keyword_nodes(keywords: &Keywords) -> impl Iterator<Item = &Node> {
    let lists = keywords.environment.iter().chain(&keywords.module_defaults);
    let single = [
        &keywords.become_user,
        &keywords.remote_user,
        &keywords.delegate_to,
        &keywords.connection,
        &keywords.port,
    ];
    lists
        .chain(single.into_iter().flatten())
        .chain(flags(keywords).map(|(_, node)| node))
}

fn flags(keywords: &Keywords) -> impl Iterator<Item = (&'static str, &Node)> {
    let flags = [
        ("become", &keywords.r#become),
        ("ignore_errors", &keywords.ignore_errors),
        ("ignore_unreachable", &keywords.ignore_unreachable),
        ("no_log", &keywords.no_log),
        ("check_mode", &keywords.check_mode),
        ("diff", &keywords.diff),
        ("delegate_facts", &keywords.delegate_facts),
        ("run_once", &keywords.run_once),
        ("any_errors_fatal", &keywords.any_errors_fatal),
    ];
    flags
        .into_iter()
        .filter_map(|(name, node)| Some((name, node.as_ref()?)))
}

fn is_template(node: &Node) -> bool {
    node.as_str()
        .is_some_and(|text| text.contains("{{") || text.contains("{%"))
}

/// Keywords whose written value is of the wrong type.
fn values(step: &Step, errors: &mut Diagnostics) {
    let mut wrong = |name: &str, expected: &str, node: &Node| {
        let given = match &node.kind {
            NodeKind::Seq(_) | NodeKind::Map(_) | NodeKind::Null => node.type_name().to_owned(),
            _ => format!("`{}`", node.to_value()),
        };
        let text = format!("`{name}` is {expected}, not {given}");
        errors.push(Diagnostic::new("wrong-type", text).at(node.span, ""));
    };
    for (name, node) in flags(&step.keywords) {
        if !is_template(node) && !node.is_null() && node.to_value().to_bool().is_none() {
            wrong(name, "true or false", node);
        }
    }
    let task = &step.task;
    let numbers = [
        ("retries", &task.retries),
        ("delay", &task.delay),
        ("async", &task.r#async),
        ("poll", &task.poll),
        ("throttle", &step.keywords.throttle),
        ("timeout", &step.keywords.timeout),
        ("port", &step.keywords.port),
    ];
    for (name, node) in numbers {
        let Some(node) = node else { continue };
        let number = node.to_value().to_string().parse::<f64>();
        if !is_template(node) && !number.is_ok_and(|number| number >= 0.0) {
            wrong(name, "a number", node);
        }
    }
    for node in &step.keywords.environment {
        if node.as_map().is_none() && !node.is_null() && !is_template(node) {
            wrong("environment", "a mapping of names to values", node);
        }
    }
}

/// `module_defaults`: modules that there are, with parameters that they have.
fn defaults(step: &Step, errors: &mut Diagnostics) {
    for (key, given) in step.keywords.module_defaults.iter().flat_map(Node::entries) {
        let Some(module) = key.as_str() else { continue };
        if !crate::actions::is_module(module) {
            let found = Diagnostic::new("unknown-module", format!("there is no module `{module}`")).at(key.span, "");
            errors.push(found.did_you_mean(module, crate::actions::module_names().iter().copied()));
            continue;
        }
        let Some(spec) = crate::run::args::spec_of(module) else {
            continue;
        };
        let known = || {
            spec.params
                .iter()
                .flat_map(|param| std::iter::once(&param.name).chain(param.aliases))
        };
        for (key, _) in given.entries() {
            let name = key.to_value().to_string();
            if !known().any(|own| **own == *name) {
                let text = format!("`{name}` is not a parameter of `{module}`");
                let found = Diagnostic::new("unknown-key", text).at(key.span, "");
                errors.push(found.did_you_mean(&name, known().copied()));
            }
        }
    }
}

/// Words that have no meaning where they stand.
fn words(step: &Step, errors: &mut Diagnostics) {
    let task = &step.task;
    if !task.listen.is_empty() && !step.handler {
        let found = Diagnostic::new("unknown-key", "`listen` is a keyword of handlers, not of tasks");
        errors.push(
            found
                .at(task.span, "this is a task")
                .help("`notify` is the keyword of tasks"),
        );
    }
    if let Some(word) = task.meta().filter(|word| !word.contains("{{") && !META.contains(word)) {
        let span = task.args.get("_raw_params").or_else(|| task.args.get("free_form"));
        let found = Diagnostic::new("unknown-word", format!("there is no `meta: {word}`"))
            .at(span.map_or(task.args.span, |node| node.span), "");
        errors.push(found.did_you_mean(word, META.iter().copied()));
    }
}

/// A handler that nobody has would never run: that is a mistake, not a wish.
pub fn notifications(handlers: &[Arc<Step>], step: &Step, errors: &mut Diagnostics) {
    for node in step
        .notify
        .iter()
        .flat_map(|topic| std::iter::once(topic).chain(topic.items()))
    {
        let Some(name) = node.as_str().filter(|_| !is_template(node)) else {
            continue;
        };
        let templates = |handler: &Step| handler.task.name.as_ref().is_some_and(is_template);
        if handlers
            .iter()
            .any(|handler| crate::run::answers(handler, name) || templates(handler))
        {
            continue;
        }
        let known: Vec<String> = handlers
            .iter()
            .flat_map(|handler| std::iter::once(handler.label()).chain(handler.task.listen.iter().cloned()))
            .collect();
        let found = Diagnostic::new("unknown-handler", format!("there is no handler `{name}`")).at(node.span, "");
        errors.push(found.did_you_mean(name, known.iter().map(String::as_str)));
    }
}

/// The template file of a step, where its name is known and it is there.
fn template(site: &Site, play: &SitePlay, step: &Step, errors: &mut Diagnostics) {
    if step.task.short_module() != "template" {
        return;
    }
    let src = step.task.args.get("src").filter(|node| !is_template(node));
    let Some(name) = src.and_then(Node::as_str) else { return };
    let disk = site.loading.loader.sources.disk();
    let folders = step.folders("templates", &play.play.dir);
    let Some(path) = folders
        .iter()
        .map(|folder| folder.join(name))
        .find(|path| disk.is_file(path))
    else {
        return;
    };
    if let Ok(text) = disk.read_to_string(&path) {
        errors.extend(site.loading.engine.check_file(&path, &text));
    }
}
