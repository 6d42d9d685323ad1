//! A task's arguments: rendered, named as the module names them, decoded, with every mistake at its place.

use super::deed::Deed;
use crate::actions;
use crate::control::API_KINDS;
use crate::error::{Diagnostic, Diagnostics};
use crate::playbook::{Task, short};
use crate::site::Step;
use crate::source::Span;
use crate::source::yaml::{Node, NodeKind};
use crate::vault::Keeper;
use okd_agent::param::{Param, ParamError, Problem, Spec};
use okd_agent::path::AbsPath;
use okd_agent::resource::{KindInfo, Touches};
use okd_agent::secret::{Secret, Secrets};
use okd_agent::value::{Map, Value};

/// The resource that a module is, where it is one.
#[must_use]
pub fn kind_info(module: &str) -> Option<&'static KindInfo> {
    let name = short(module);
    actions::kinds().find(|kind| kind.names.contains(&name) || kind.names.contains(&module))
}

/// The table of a module's parameters; `None` where it takes any.
#[must_use]
pub fn spec_of(module: &str) -> Option<&'static Spec> {
    let action = actions::ACTIONS.iter().find(|action| action.name == short(module));
    match action {
        Some(action) => action.spec,
        None => kind_info(module).map(|kind| kind.spec),
    }
}

/// Free-form text goes where the module takes it; a mapping given as one template is taken apart.
#[must_use]
pub fn named(module: &str, mut args: Map) -> Map {
    match args.shift_remove("_raw_params") {
        Some(Value::Map(whole)) if args.is_empty() => whole,
        Some(raw) => {
            let name = kind_info(module)
                .and_then(|kind| kind.free_form)
                .unwrap_or("_raw_params");
            args.insert(name.to_owned(), raw);
            args
        }
        None => args,
    }
}

/// What a module's steps may change on their machine.
#[must_use]
pub fn touches(module: &str) -> Touches {
    match (short(module), kind_info(module)) {
        ("template", _) => Touches::Paths(&["dest"]),
        ("script", _) => Touches::Anything,
        (_, Some(kind)) if API_KINDS.iter().any(|own| own.names == kind.names) => Touches::Nothing,
        (_, Some(kind)) => kind.touches,
        (_, None) => Touches::Nothing,
    }
}

/// The paths that a step may change, by its arguments as far as they are known; `None` where they do not tell.
#[must_use]
pub fn touched(module: &str, given: &Map) -> Option<Vec<AbsPath>> {
    let names = match touches(module) {
        Touches::Nothing => return Some(Vec::new()),
        Touches::Paths(names) => names,
        Touches::Anything => return None,
    };
    let spec = spec_of(module)?;
    let path = |name: &&'static str| {
        let param = spec.params.iter().find(|param| param.name == *name)?;
        let mut all = std::iter::once(&param.name).chain(param.aliases);
        let text = all.find_map(|name| given.get(*name))?;
        AbsPath::new(text.as_str()?).ok()
    };
    names.iter().map(path).collect()
}

/// Parameters that are secret whatever they hold, by the kind's first name.
const SECRETS: &[(&str, &[&str])] = &[
    ("user", &["password"]),
    ("uri", &["url_password", "password"]),
    ("get_url", &["url_password", "password"]),
    ("unarchive", &["url_password"]),
    ("haproxy", &["stats"]),
];

/// Makes secrets of parameters that are, though they were written in plain.
pub fn guard(task: &Task, given: &mut Map, keeper: &Keeper) {
    let Some(kind) = kind_info(&task.module).map(|kind| kind.names[0]) else {
        return;
    };
    let own = SECRETS
        .iter()
        .filter(|(name, _)| *name == kind)
        .flat_map(|(_, names)| *names);
    for name in own {
        match given.get_mut(*name) {
            Some(Value::Map(inner)) => inner
                .get_mut("password")
                .into_iter()
                .for_each(|value| keep(name, value, keeper)),
            Some(value) => keep(name, value, keeper),
            None => {}
        }
    }
}

/// Words such as `!` and `*` that only lock a password are none.
fn keep(name: &str, value: &mut Value, keeper: &Keeper) {
    if let Value::Str(text) = value
        && text.len() >= 4
        && !Secrets::marked(text)
    {
        *text = keeper.keep(name, Secret::new(text.as_str()));
    }
}

/// Everything that can be found wrong with a step's arguments before anything is rendered.
pub fn check(step: &Step, errors: &mut Diagnostics) {
    let task = &step.task;
    let Some(spec) = spec_of(&task.module) else { return };
    let NodeKind::Map(entries) = &task.args.kind else {
        return;
    };
    let templated = |node: &Node| {
        node.as_str()
            .is_some_and(|text| text.contains("{{") || text.contains("{%"))
    };
    if entries
        .iter()
        .any(|(key, value)| key.as_str() == Some("_raw_params") && templated(value) && entries.len() == 1)
        && kind_info(&task.module).is_none_or(|kind| kind.free_form.is_none())
    {
        return;
    }
    let args: Map = entries
        .iter()
        .map(|(key, value)| (key.to_value().to_string(), constant(value)))
        .collect();
    let args = named(&task.module, args);
    if short(&task.module) == "copy"
        && let (Some((src, _)), Some((content, _))) = (task.args.entry("src"), task.args.entry("content"))
    {
        let text = "`src` and `content` of `copy` exclude each other";
        errors.push(
            Diagnostic::new("contradiction", text)
                .at(content.span, "")
                .at(src.span, ""),
        );
    }
    let mut found = Vec::new();
    if short(&task.module) != "add_host" {
        okd_agent::param::refuse_unknown(&args, spec, &mut found);
    }
    let defaults = !step.keywords.module_defaults.is_empty();
    for param in spec.params {
        let given = std::iter::once(&param.name)
            .chain(param.aliases)
            .find_map(|name| args.get(*name));
        match given {
            None if param.required && !defaults && !orchestrated(&task.module, param) => {
                found.push(ParamError {
                    path: Vec::new(),
                    problem: Problem::Missing(param.name),
                });
            }
            _ => {}
        }
    }
    if found.is_empty() && args.values().all(|value| value.unknown().is_none()) && !defaults {
        match Deed::decode(kind_info(&task.module).map_or("", |kind| kind.names[0]), &args) {
            Some(Err(mistakes)) => found.extend(mistakes),
            Some(Ok(kind)) => {
                if let Err(sentences) = kind.check() {
                    sentences
                        .into_iter()
                        .for_each(|text| errors.push(contradiction(task, &text)));
                }
            }
            None => {}
        }
    } else if found.is_empty() && !defaults {
        found.extend(constants_only(&task.module, &args));
    }
    found.iter().for_each(|mistake| errors.push(diagnostic(task, mistake)));
}

/// Mistakes in the constant arguments of a task that has others too.
fn constants_only(module: &str, args: &Map) -> Vec<ParamError> {
    let Some(kind) = kind_info(module) else {
        return Vec::new();
    };
    let Some(Err(mistakes)) = Deed::decode(kind.names[0], args) else {
        return Vec::new();
    };
    let constant = |mistake: &ParamError| {
        let mut at = mistake.path.first().and_then(|key| args.get(key));
        for key in mistake.path.iter().skip(1) {
            at = match at {
                Some(Value::List(list)) => key.parse::<usize>().ok().and_then(|index| list.get(index)),
                Some(other) => other.get(key),
                None => None,
            };
        }
        at.is_some_and(|value| value.unknown().is_none())
    };
    mistakes.into_iter().filter(constant).collect()
}

/// Parameters that the orchestrator fills in.
fn orchestrated(module: &str, param: &Param) -> bool {
    matches!(
        (short(module), param.name),
        ("copy" | "unarchive" | "template", "content")
    )
}

fn constant(node: &Node) -> Value {
    match &node.kind {
        NodeKind::Str(text, _) if text.contains("{{") || text.contains("{%") => Value::Unknown("a template".to_owned()),
        NodeKind::Seq(list) => Value::List(list.iter().map(constant).collect()),
        NodeKind::Map(entries) => Value::Map(
            entries
                .iter()
                .map(|(key, value)| (key.to_value().to_string(), constant(value)))
                .collect(),
        ),
        _ => node.to_value(),
    }
}

fn contradiction(task: &Task, text: &str) -> Diagnostic {
    Diagnostic::new("contradiction", format!("`{}`: {text}", task.module)).at(task.module_span, "")
}

/// A decoding mistake at its place in the playbook.
#[must_use]
pub fn diagnostic(task: &Task, mistake: &ParamError) -> Diagnostic {
    let module = &task.module;
    let (key_span, value_span) = place(task, &mistake.path);
    let owner = match mistake.path.len() {
        0 | 1 => format!("`{module}`"),
        _ => format!("`{}` of `{module}`", mistake.path[..mistake.path.len() - 1].join(".")),
    };
    let last = mistake.path.last().map_or("", String::as_str);
    match &mistake.problem {
        Problem::Unknown(known) if last == "_raw_params" => {
            Diagnostic::new("no-free-form", format!("{owner} takes no free-form text"))
                .at(value_span, "")
                .note(format!("its parameters: {}", known.join(", ")))
        }
        Problem::Unknown(known) => {
            let found =
                Diagnostic::new("unknown-key", format!("`{last}` is not a parameter of {owner}")).at(key_span, "");
            found
                .did_you_mean(last, known.iter().copied())
                .note(format!("its parameters: {}", known.join(", ")))
        }
        Problem::Missing(name) => {
            let whole = match mistake.path.as_slice() {
                [] => format!("`{module}`"),
                path => format!("`{}` of `{module}`", path.join(".")),
            };
            let span = if mistake.path.is_empty() {
                task.module_span
            } else {
                value_span
            };
            Diagnostic::new("missing-argument", format!("{whole} needs `{name}`")).at(span, "")
        }
        Problem::Twice(name) => Diagnostic::new(
            "given-twice",
            format!("`{last}` is another name of `{name}`, which is given too"),
        )
        .at(key_span, ""),
        Problem::Invalid(expected, words) => {
            let found =
                Diagnostic::new("wrong-value", format!("`{last}` of {owner} takes {expected}")).at(value_span, "");
            let given = node_at(task, &mistake.path).and_then(|(_, node)| node.as_str().map(str::to_owned));
            found.did_you_mean(given.as_deref().unwrap_or(""), words.iter().copied())
        }
    }
}

fn place(task: &Task, path: &[String]) -> (Span, Span) {
    match node_at(task, path) {
        Some((key, value)) => (key, value.span),
        None => (task.module_span, task.module_span),
    }
}

/// The deepest node on a path of keys and indices, and its key's place.
fn node_at<'a>(task: &'a Task, path: &[String]) -> Option<(Span, &'a Node)> {
    let mut at = (task.module_span, &task.args);
    for (depth, key) in path.iter().enumerate() {
        let next = match &at.1.kind {
            NodeKind::Map(_) => {
                let raw = if depth == 0 {
                    at.1.entry(key).or_else(|| at.1.entry("_raw_params"))
                } else {
                    at.1.entry(key)
                };
                raw.map(|(key, value)| (key.span, value))
            }
            NodeKind::Seq(list) => key
                .parse::<usize>()
                .ok()
                .and_then(|index| list.get(index))
                .map(|node| (node.span, node)),
            _ => None,
        };
        match next {
            Some(next) => at = next,
            None => break,
        }
    }
    Some(at)
}
