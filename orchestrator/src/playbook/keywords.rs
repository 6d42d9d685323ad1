//! Keywords that plays, roles, blocks and tasks share, and how the inner ones inherit from the outer ones.

use super::Vars;
use crate::error::Diagnostic;
use crate::source::yaml::{Node, NodeKind};
use std::sync::Arc;

/// What a play, role, block or task may say for everything in it. `None` and empty inherit.
#[derive(Debug, Clone, Default)]
pub struct Keywords {
    /// `when`: all of them have to hold.
    pub when: Vec<Node>,
    /// `tags`.
    pub tags: Vec<String>,
    /// `vars`, inner ones last.
    pub vars: Vec<Arc<Vars>>,
    /// `environment`, inner ones last.
    pub environment: Vec<Node>,
    /// `become`.
    pub r#become: Option<Node>,
    /// `become_user`.
    pub become_user: Option<Node>,
    /// `become_method`.
    pub become_method: Option<Node>,
    /// `remote_user`.
    pub remote_user: Option<Node>,
    /// `connection`.
    pub connection: Option<Node>,
    /// `port`.
    pub port: Option<Node>,
    /// `ignore_errors`.
    pub ignore_errors: Option<Node>,
    /// `ignore_unreachable`.
    pub ignore_unreachable: Option<Node>,
    /// `no_log`.
    pub no_log: Option<Node>,
    /// `check_mode`.
    pub check_mode: Option<Node>,
    /// `diff`.
    pub diff: Option<Node>,
    /// `delegate_to`.
    pub delegate_to: Option<Node>,
    /// `delegate_facts`.
    pub delegate_facts: Option<Node>,
    /// `run_once`.
    pub run_once: Option<Node>,
    /// `any_errors_fatal`.
    pub any_errors_fatal: Option<Node>,
    /// `throttle`.
    pub throttle: Option<Node>,
    /// `timeout` in seconds.
    pub timeout: Option<Node>,
    /// `module_defaults`, inner ones last.
    pub module_defaults: Vec<Node>,
}

/// The names that [`Keywords::take`] knows.
pub const NAMES: &[&str] = &[
    "when",
    "tags",
    "vars",
    "environment",
    "become",
    "become_user",
    "become_method",
    "become_flags",
    "become_exe",
    "remote_user",
    "connection",
    "port",
    "ignore_errors",
    "ignore_unreachable",
    "no_log",
    "check_mode",
    "diff",
    "delegate_to",
    "delegate_facts",
    "run_once",
    "any_errors_fatal",
    "throttle",
    "timeout",
    "module_defaults",
];

impl Keywords {
    /// Takes a keyword; `Ok(false)` where it is none of these.
    ///
    /// # Errors
    /// When the value does not fit.
    pub fn take(&mut self, key: &Node, name: &str, value: &Node) -> Result<bool, Diagnostic> {
        let slot = match name {
            "when" => {
                self.when = conditions(value);
                return Ok(true);
            }
            "tags" => {
                self.tags = names(value, "tags")?;
                return Ok(true);
            }
            "vars" => {
                self.vars = vec![Arc::new(vars(value)?)];
                return Ok(true);
            }
            "environment" => {
                self.environment = match &value.kind {
                    NodeKind::Seq(list) => list.clone(),
                    _ => vec![value.clone()],
                };
                return Ok(true);
            }
            "module_defaults" => {
                self.module_defaults = vec![value.clone()];
                return Ok(true);
            }
            "become_flags" | "become_exe" => {
                return Err(
                    Diagnostic::new("unsupported", format!("`{name}` is not supported; become uses sudo"))
                        .at(key.span, "")
                        .help("the user's rights belong in sudoers"),
                );
            }
            "become" => &mut self.r#become,
            "become_user" => &mut self.become_user,
            "become_method" => &mut self.become_method,
            "remote_user" => &mut self.remote_user,
            "connection" => &mut self.connection,
            "port" => &mut self.port,
            "ignore_errors" => &mut self.ignore_errors,
            "ignore_unreachable" => &mut self.ignore_unreachable,
            "no_log" => &mut self.no_log,
            "check_mode" => &mut self.check_mode,
            "diff" => &mut self.diff,
            "delegate_to" => &mut self.delegate_to,
            "delegate_facts" => &mut self.delegate_facts,
            "run_once" => &mut self.run_once,
            "any_errors_fatal" => &mut self.any_errors_fatal,
            "throttle" => &mut self.throttle,
            "timeout" => &mut self.timeout,
            _ => return Ok(false),
        };
        *slot = Some(value.clone());
        Ok(true)
    }

    /// These keywords, with what they do not say taken from the outer ones.
    #[must_use]
    pub fn within(&self, outer: &Keywords) -> Keywords {
        let inner = |own: &Option<Node>, outer: &Option<Node>| own.clone().or_else(|| outer.clone());
        let joined = |outer: &[Node], own: &[Node]| outer.iter().chain(own).cloned().collect();
        let mut tags = outer.tags.clone();
        tags.extend(self.tags.iter().filter(|tag| !outer.tags.contains(tag)).cloned());
        Keywords {
            when: joined(&outer.when, &self.when),
            tags,
            vars: outer.vars.iter().chain(&self.vars).cloned().collect(),
            environment: joined(&outer.environment, &self.environment),
            module_defaults: joined(&outer.module_defaults, &self.module_defaults),
            r#become: inner(&self.r#become, &outer.r#become),
            become_user: inner(&self.become_user, &outer.become_user),
            become_method: inner(&self.become_method, &outer.become_method),
            remote_user: inner(&self.remote_user, &outer.remote_user),
            connection: inner(&self.connection, &outer.connection),
            port: inner(&self.port, &outer.port),
            ignore_errors: inner(&self.ignore_errors, &outer.ignore_errors),
            ignore_unreachable: inner(&self.ignore_unreachable, &outer.ignore_unreachable),
            no_log: inner(&self.no_log, &outer.no_log),
            check_mode: inner(&self.check_mode, &outer.check_mode),
            diff: inner(&self.diff, &outer.diff),
            delegate_to: inner(&self.delegate_to, &outer.delegate_to),
            delegate_facts: inner(&self.delegate_facts, &outer.delegate_facts),
            run_once: inner(&self.run_once, &outer.run_once),
            any_errors_fatal: inner(&self.any_errors_fatal, &outer.any_errors_fatal),
            throttle: inner(&self.throttle, &outer.throttle),
            timeout: inner(&self.timeout, &outer.timeout),
        }
    }
}

/// `when` and its kin: one expression or a list of them.
#[must_use]
pub fn conditions(value: &Node) -> Vec<Node> {
    match &value.kind {
        NodeKind::Seq(list) => list.clone(),
        _ => vec![value.clone()],
    }
}

/// A mapping of variables, raw.
///
/// # Errors
/// When it is no mapping, or a key cannot be a variable's name.
pub fn vars(value: &Node) -> Result<Vars, Diagnostic> {
    match &value.kind {
        NodeKind::Null => Ok(Vars::new()),
        NodeKind::Seq(list) => {
            let mut all = Vars::new();
            for item in list {
                all.extend(vars(item)?);
            }
            Ok(all)
        }
        NodeKind::Map(entries) => entries
            .iter()
            .map(|(key, value)| variable_name(key).map(|name| (name, Arc::new(value.clone()))))
            .collect(),
        _ => Err(Diagnostic::new("wrong-type", "variables are a mapping of names to values").at(value.span, "")),
    }
}

/// A variable's name: letters, digits and underscores, not starting with a digit.
///
/// # Errors
/// When it is none.
pub fn variable_name(key: &Node) -> Result<String, Diagnostic> {
    let name = text(key, "a variable's name")?;
    let valid = !name.starts_with(|first: char| first.is_ascii_digit())
        && !name.is_empty()
        && name.chars().all(|letter| letter.is_alphanumeric() || letter == '_');
    if valid {
        return Ok(name);
    }
    Err(
        Diagnostic::new("bad-name", format!("`{name}` cannot be a variable's name"))
            .at(key.span, "letters, digits and underscores only")
            .help(format!("`{}` would be one", possible_name(&name))),
    )
}

/// The nearest name that a variable can have.
fn possible_name(text: &str) -> String {
    let name = text.replace(|letter: char| !letter.is_alphanumeric(), "_");
    match name.starts_with(|first: char| first.is_ascii_digit()) {
        true => format!("_{name}"),
        false => name,
    }
}

/// A scalar as text.
///
/// # Errors
/// When it is a list, a mapping or nothing.
pub fn text(node: &Node, what: &str) -> Result<String, Diagnostic> {
    match &node.kind {
        NodeKind::Str(text, _) => Ok(text.clone()),
        NodeKind::Int(number) => Ok(number.to_string()),
        NodeKind::Float(number) => Ok(number.to_string()),
        NodeKind::Bool(truth) => Ok(truth.to_string()),
        _ => Err(Diagnostic::new("wrong-type", format!("expected {what}")).at(node.span, "this is not text")),
    }
}

/// A list of names: a list, or text split at commas.
///
/// # Errors
/// When an entry is not text.
pub fn names(node: &Node, what: &str) -> Result<Vec<String>, Diagnostic> {
    match &node.kind {
        NodeKind::Null => Ok(Vec::new()),
        NodeKind::Seq(list) => {
            let nested: Result<Vec<Vec<String>>, Diagnostic> = list.iter().map(|item| names(item, what)).collect();
            Ok(nested?.into_iter().flatten().collect())
        }
        _ => Ok(text(node, what)?
            .split(',')
            .map(|name| name.trim().to_owned())
            .filter(|n| !n.is_empty())
            .collect()),
    }
}

/// A boolean that is no template.
///
/// # Errors
/// When it is something else.
pub fn boolean(node: &Node, what: &str) -> Result<bool, Diagnostic> {
    let truth = match &node.kind {
        NodeKind::Bool(truth) => Some(*truth),
        NodeKind::Str(text, _) => okd_agent::Value::Str(text.clone()).to_bool(),
        _ => None,
    };
    truth.ok_or_else(|| Diagnostic::new("wrong-type", format!("`{what}` is true or false")).at(node.span, ""))
}
