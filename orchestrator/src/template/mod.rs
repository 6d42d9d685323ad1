//! Jinja2 as Ansible users know it, on minijinja: lazily rendered variables, strict undefined, values that keep
//! their type, and *unknown* as a value that taints what touches it.

mod check;
mod convert;
mod file;
mod filters;
mod functions;
mod lookups;
mod print;
mod problem;
mod registry;
mod scan;
mod scope;
mod secret;
mod tests;
mod touch;

#[cfg(test)]
mod corpus;
#[cfg(test)]
mod corpus_filters;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Value as Native, ValueKind};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, State, UndefinedBehavior};

use crate::error::Diagnostic;
use crate::source::yaml::{Node, NodeKind};
use crate::source::{FileId, SourceMap};
use convert::from_native;
use okd_agent::Value;
use okd_agent::value::Map;
use problem::{Place, Trouble};
use scan::Source;
use scope::Root;

pub use file::{Rendered, TemplateFile};
pub(crate) use filters::json::dumped;
pub use filters::time::moment;
pub use scan::is_template;
pub use scope::{Found, Scope, Search, With};
pub use secret::SecretStore;
pub use touch::{touch_failure, touch_pending, touch_unknown, yielded};

/// What rendering may use and how long it may take.
#[derive(Clone)]
pub struct Options {
    /// Steps of the engine before a template counts as endless.
    pub fuel: u64,
    /// Where the bytes behind secret placeholders are kept.
    pub secrets: Option<Arc<dyn SecretStore>>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            fuel: 5_000_000,
            secrets: None,
        }
    }
}

/// Why nothing was rendered.
#[derive(Debug, Clone, PartialEq)]
pub enum RenderError {
    /// A step that is under way registers what is needed here.
    Pending(u64),
    /// The template or its values are wrong.
    Failed(Diagnostic),
}

impl From<Diagnostic> for RenderError {
    fn from(failure: Diagnostic) -> Self {
        RenderError::Failed(failure)
    }
}

/// The outcome of a condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Truth {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// It depends on a step that has not been applied.
    Unknown(String),
}

/// The template engine; cheap to clone.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    env: Environment<'static>,
    sources: SourceMap,
    options: Options,
    filters: Vec<String>,
    tests: Vec<String>,
    globals: HashSet<String>,
    files: Mutex<HashMap<PathBuf, FileId>>,
}

#[derive(Debug, Clone, Copy)]
enum Names {
    Filter,
    Test,
    Function,
}

impl Names {
    /// The code and the noun of a message.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Names::Filter => ("unknown-filter", "filter"),
            Names::Test => ("unknown-test", "test"),
            Names::Function => ("unknown-function", "function"),
        }
    }
}

/// A rendering's end: a result, or the reason why it is unknown.
enum Settled<T> {
    Known(T),
    Unknown(String),
}

impl Engine {
    /// An engine with all filters, tests, functions and lookups.
    #[must_use]
    pub fn new(sources: SourceMap, options: Options) -> Engine {
        let mut env = Environment::empty();
        env.set_undefined_behavior(UndefinedBehavior::Strict);
        env.set_auto_escape_callback(|_| AutoEscape::None);
        env.set_formatter(print::format);
        env.set_debug(false);
        env.set_fuel(Some(options.fuel));
        env.set_recursion_limit(120);
        env.set_unknown_method_callback(method);
        env.set_syntax(syntax());
        let filters = registry::add_filters(&mut env, &filters::all());
        let tests = registry::add_tests(&mut env, tests::ALL);
        registry::add_functions(&mut env, functions::ALL);
        for (name, value) in functions::globals() {
            env.add_global(name, value);
        }
        let globals = env.globals().map(|(name, _)| name.to_owned()).collect();
        Engine {
            inner: Arc::new(Inner {
                env,
                sources,
                options,
                filters,
                tests,
                globals,
                files: Mutex::default(),
            }),
        }
    }

    /// Renders a tree. Scalars with `{{` or `{%` are rendered, mapping keys too; one that is exactly one expression
    /// keeps its type. A leaf that used something unknown is [`Value::Unknown`]; entries that are `omit` are left out.
    ///
    /// # Errors
    /// A step to wait for, or a diagnostic with its place.
    pub fn render(&self, node: &Node, scope: &Arc<dyn Scope>) -> Result<Value, RenderError> {
        self.render_or_omit(node, scope).map(Option::unwrap_or_default)
    }

    /// As [`Engine::render`]; `None` where the whole tree is the `omit` placeholder.
    ///
    /// # Errors
    /// As [`Engine::render`].
    pub fn render_or_omit(&self, node: &Node, scope: &Arc<dyn Scope>) -> Result<Option<Value>, RenderError> {
        self.render_tree(node, &Root::new(self, scope))
    }

    /// The value of a bare expression, as in `debug: var=` or `loop_control.label`.
    ///
    /// # Errors
    /// As [`Engine::render`].
    pub fn expression(&self, node: &Node, scope: &Arc<dyn Scope>) -> Result<Value, RenderError> {
        let root = Root::new(self, scope);
        match &node.kind {
            NodeKind::Str(text, _) => {
                let range = scan::single_expression(text).unwrap_or(0..text.len());
                let value = self.evaluate(
                    &text[range.clone()],
                    range.start,
                    true,
                    Place::Scalar(node),
                    &root,
                    from_native,
                )?;
                Ok(match value {
                    Settled::Known(value) => value.unwrap_or_default(),
                    Settled::Unknown(reason) => Value::Unknown(reason),
                })
            }
            _ => self.render_tree(node, &root).map(Option::unwrap_or_default),
        }
    }

    /// Whether a bare expression holds (`when`, `until`, `changed_when`, `that`); of a list, whether all do.
    /// A result that is the text of a boolean counts as that boolean. Secrets are seen with their real bytes.
    ///
    /// # Errors
    /// As [`Engine::render`].
    pub fn condition(&self, node: &Node, scope: &Arc<dyn Scope>) -> Result<Truth, RenderError> {
        let secrets = self.inner.options.secrets.as_ref();
        if !secrets.is_some_and(|store| store.any()) {
            return self.condition_in(node, &Root::new(self, scope));
        }
        match secret::revealed(|| self.condition_in(node, &Root::new(self, scope))) {
            Err(RenderError::Failed(_)) => {
                self.condition_in(node, &Root::new(self, scope))?;
                Err(
                    Diagnostic::new("condition", "this condition fails on a secret, whose words are hidden")
                        .at(node.span, "")
                        .into(),
                )
            }
            judged => judged,
        }
    }

    fn condition_in(&self, node: &Node, root: &Arc<Root>) -> Result<Truth, RenderError> {
        match &node.kind {
            NodeKind::Null => Ok(Truth::True),
            NodeKind::Bool(truth) => Ok(truth_of(*truth)),
            NodeKind::Int(number) => Ok(truth_of(*number != 0)),
            NodeKind::Float(number) => Ok(truth_of(*number != 0.0)),
            NodeKind::Str(text, _) => self.condition_text(text, node, root),
            NodeKind::Seq(list) => {
                for item in list {
                    match self.condition_in(item, root)? {
                        Truth::True => {}
                        other => return Ok(other),
                    }
                }
                Ok(Truth::True)
            }
            NodeKind::Map(_) => Err(
                Diagnostic::new("condition", "a condition is an expression or a list of them")
                    .at(node.span, "this is a mapping")
                    .into(),
            ),
        }
    }

    fn condition_text(&self, text: &str, node: &Node, root: &Arc<Root>) -> Result<Truth, RenderError> {
        if text.trim().is_empty() {
            return Ok(Truth::True);
        }
        let range = match scan::single_expression(text.trim_end()) {
            Some(range) => range,
            None if text.contains("{{") || text.contains("{%") => {
                return Err(
                    Diagnostic::new("template-in-condition", "a condition is an expression already")
                        .at(node.span, "write it without `{{ }}`")
                        .into(),
                );
            }
            None => 0..text.len(),
        };
        let judge = |value: &Native| match value.kind() {
            ValueKind::Undefined => Err(Error::from(ErrorKind::UndefinedError)),
            ValueKind::String => Ok(Value::from(value.as_str().unwrap_or_default())
                .to_bool()
                .unwrap_or_else(|| value.is_true())),
            _ => Ok(value.is_true()),
        };
        Ok(
            match self.evaluate(
                &text[range.clone()],
                range.start,
                false,
                Place::Scalar(node),
                root,
                judge,
            )? {
                Settled::Known(truth) => truth_of(truth),
                Settled::Unknown(reason) => Truth::Unknown(reason),
            },
        )
    }

    /// A scope as an object of the engine's own, for `hostvars` and its like: each name is looked up, and rendered,
    /// when it is used.
    #[must_use]
    pub fn object(&self, scope: &Arc<dyn Scope>) -> Native {
        Native::from_dyn_object(Root::new(self, scope))
    }

    /// The names that a tree's templates mention, with their attributes where they are plain: `reg.rc`.
    #[must_use]
    pub fn mentions(&self, node: &Node) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        each_text(node, &mut |text| {
            if scan::is_template(text) {
                names.extend(template_names(text, true).into_iter().flatten());
            }
        });
        self.without_globals(names)
    }

    /// The names that a bare expression, or a list of them, mentions.
    #[must_use]
    pub fn mentions_in_condition(&self, node: &Node) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        each_text(node, &mut |text| {
            let range = scan::single_expression(text).unwrap_or(0..text.len());
            names.extend(expression_names(&text[range], true).into_iter().flatten());
        });
        self.without_globals(names)
    }

    /// The names that a template file's text mentions; includes are not followed.
    #[must_use]
    pub fn mentions_in_text(&self, text: &str) -> BTreeSet<String> {
        self.without_globals(template_names(text, true).into_iter().flatten().collect())
    }

    fn without_globals(&self, mut names: BTreeSet<String>) -> BTreeSet<String> {
        names.retain(|name| !self.inner.globals.contains(name.split('.').next().unwrap_or(name)));
        names
    }

    fn names(&self, names: Names) -> Vec<String> {
        match names {
            Names::Filter => self.inner.filters.clone(),
            Names::Test => self.inner.tests.clone(),
            Names::Function => self.inner.globals.iter().cloned().collect(),
        }
    }

    /// The names that a piece of template text takes from outside; `None` where it cannot be parsed.
    fn free_names(&self, text: &str, bare: bool) -> Option<HashSet<String>> {
        if bare {
            expression_names(text, false)
        } else {
            template_names(text, false)
        }
    }

    fn render_tree(&self, node: &Node, root: &Arc<Root>) -> Result<Option<Value>, RenderError> {
        if is_literal(node) {
            return Ok(Some(plain(node)));
        }
        match &node.kind {
            NodeKind::Str(text, _) if scan::is_template(text) => self.render_scalar(text, node, root),
            NodeKind::Str(text, _) if text.starts_with(secret::OPEN) => self.render_secret(text, node, root),
            NodeKind::Seq(list) => {
                let mut out = Vec::with_capacity(list.len());
                for item in list {
                    out.extend(self.render_tree(item, root)?);
                }
                Ok(Some(Value::List(out)))
            }
            NodeKind::Map(entries) => self.render_map(entries, root).map(Some),
            _ => Ok(Some(plain(node))),
        }
    }

    fn render_map(&self, entries: &[(Node, Node)], root: &Arc<Root>) -> Result<Value, RenderError> {
        let mut map = Map::new();
        for (key, item) in entries {
            let key = match self.render_tree(key, root)? {
                Some(Value::Unknown(reason)) => return Ok(Value::Unknown(reason)),
                Some(key) => key_text(&key),
                None => continue,
            };
            if let Some(value) = self.render_tree(item, root)? {
                map.insert(key, value);
            }
        }
        Ok(Value::Map(map))
    }

    /// A secret; where it is a template, what comes of that is one secret again.
    fn render_secret(&self, text: &str, node: &Node, root: &Arc<Root>) -> Result<Option<Value>, RenderError> {
        let store = self.inner.options.secrets.as_ref();
        let Some((store, template)) = store.and_then(|store| Some((store, store.template(text)?))) else {
            return Ok(Some(plain(node)));
        };
        match self.render_scalar(&template, node, root) {
            Ok(value) => Ok(value.map(|value| secret::hidden(store.as_ref(), secret::name_of(text), value))),
            Err(RenderError::Failed(_)) => {
                let said = "a template in an encrypted file fails; its words are hidden";
                Err(Diagnostic::new("template", said).at(node.span, "").into())
            }
            Err(pending) => Err(pending),
        }
    }

    fn render_scalar(&self, text: &str, node: &Node, root: &Arc<Root>) -> Result<Option<Value>, RenderError> {
        let place = Place::Scalar(node);
        if let Some(range) = scan::single_expression(text) {
            return Ok(
                match self.evaluate(&text[range.clone()], range.start, true, place, root, from_native)? {
                    Settled::Known(value) => value,
                    Settled::Unknown(reason) => Some(Value::Unknown(reason)),
                },
            );
        }
        let source = Source::new(text, 0, false, true);
        let (result, frame) = touch::record(root, || {
            let context = Native::from_dyn_object(Arc::clone(root));
            let out = self.inner.env.render_named_str("<template>", &source.text, context)?;
            let out = with_newlines(text, out);
            match touch::only_emitted() {
                Some(value) if print::printed(&value) == out => from_native(&value),
                _ => Ok(Some(Value::Str(out))),
            }
        });
        let trouble = self.trouble(root, place, &source, false);
        Ok(match settle(result, frame, &trouble)? {
            Settled::Known(value) => value,
            Settled::Unknown(reason) => Some(Value::Unknown(reason)),
        })
    }

    /// Evaluates an expression that begins at `base` of its scalar, and takes its value over.
    fn evaluate<T>(
        &self,
        text: &str,
        base: usize,
        literal: bool,
        place: Place<'_>,
        root: &Arc<Root>,
        take: impl FnOnce(&Native) -> Result<T, Error>,
    ) -> Result<Settled<T>, RenderError> {
        let source = Source::new(text, base, true, literal);
        let (result, frame) = touch::record(root, || {
            let expression = self.inner.env.compile_expression_owned(source.text.clone())?;
            take(&expression.eval(Native::from_dyn_object(Arc::clone(root)))?)
        });
        settle(result, frame, &self.trouble(root, place, &source, true))
    }

    fn trouble<'a>(&'a self, root: &'a Arc<Root>, place: Place<'a>, source: &'a Source, bare: bool) -> Trouble<'a> {
        Trouble {
            engine: self,
            root,
            place,
            source,
            bare,
        }
    }
}

/// A step to wait for wins over everything, then something unknown, then what went wrong.
fn settle<T>(result: Result<T, Error>, frame: touch::Frame, trouble: &Trouble<'_>) -> Result<Settled<T>, RenderError> {
    if let Some(step) = frame.pending {
        return Err(RenderError::Pending(step));
    }
    if let Some(reason) = frame.unknown {
        return Ok(Settled::Unknown(reason));
    }
    match result {
        Ok(value) => Ok(Settled::Known(value)),
        Err(err) => Err(RenderError::Failed(trouble.explain(&err, frame))),
    }
}

fn truth_of(truth: bool) -> Truth {
    if truth { Truth::True } else { Truth::False }
}

/// Ansible's settings: the newline after a block is taken away.
fn syntax() -> SyntaxConfig {
    SyntaxConfig::builder().trim_blocks(true).build().unwrap_or_default()
}

/// The result with as many newlines at its end as the template has: Jinja2 takes them away, Ansible puts them back.
fn with_newlines(template: &str, mut out: String) -> String {
    let count = |text: &str| text.len() - text.trim_end_matches('\n').len();
    let missing = count(template).saturating_sub(count(&out));
    out.extend(std::iter::repeat_n('\n', missing));
    out
}

/// Python's methods of text, lists and mappings.
fn method(state: &mut State<'_, '_>, value: &Native, name: &str, args: &[Native]) -> Result<Native, Error> {
    secret::through(
        name,
        std::iter::once(value.clone()).chain(args.iter().cloned()).collect(),
        |args| functions::method(state, &args[0], name, &args[1..]),
    )
}

/// Text that is never rendered.
fn is_literal(node: &Node) -> bool {
    matches!(
        node.tag.as_deref().map(|tag| tag.trim_start_matches('!')),
        Some("unsafe" | "vault")
    )
}

/// A tree as it is written, nothing rendered.
fn plain(node: &Node) -> Value {
    match &node.kind {
        NodeKind::Null => Value::Null,
        NodeKind::Bool(truth) => Value::Bool(*truth),
        NodeKind::Int(number) => Value::Int(*number),
        NodeKind::Float(number) => Value::Float(*number),
        NodeKind::Str(text, _) => Value::Str(text.clone()),
        NodeKind::Seq(list) => Value::List(list.iter().map(plain).collect()),
        NodeKind::Map(entries) => Value::Map(
            entries
                .iter()
                .map(|(key, item)| (key_text(&plain(key)), plain(item)))
                .collect(),
        ),
    }
}

fn key_text(key: &Value) -> String {
    match key {
        Value::Str(text) => text.clone(),
        other => print::text(&convert::to_native(other)),
    }
}

fn each_text(node: &Node, see: &mut impl FnMut(&str)) {
    match &node.kind {
        NodeKind::Str(text, _) if !is_literal(node) => see(text),
        NodeKind::Seq(list) => list.iter().for_each(|item| each_text(item, see)),
        NodeKind::Map(entries) => entries.iter().for_each(|(key, item)| {
            each_text(key, see);
            each_text(item, see);
        }),
        _ => {}
    }
}

fn template_names(text: &str, nested: bool) -> Option<HashSet<String>> {
    let mut env = Environment::empty();
    env.set_syntax(syntax());
    Some(env.template_from_str(text).ok()?.undeclared_variables(nested))
}

fn expression_names(text: &str, nested: bool) -> Option<HashSet<String>> {
    let env = Environment::empty();
    Some(env.compile_expression(text).ok()?.undeclared_variables(nested))
}
