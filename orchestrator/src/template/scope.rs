//! Where names come from, and the object that hands them to the engine: variables are rendered when they are first
//! used, a cycle is an error that names its members.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use minijinja::value::{Enumerator, Object, ObjectRepr, Value as Native};

use super::convert::{Omit, to_native};
use super::touch::{hint, touch_failure, touch_pending, touch_unknown};
use super::{Engine, RenderError, secret};
use crate::error::Diagnostic;
use crate::source::Span;
use crate::source::yaml::Node;
use okd_agent::Value;

/// The variables that one rendering sees.
pub trait Scope: Send + Sync {
    /// What a name stands for.
    fn lookup(&self, name: &str) -> Found;

    /// All names, for "did you mean" and for lookups over names.
    fn names(&self) -> Vec<String>;

    /// Where the `file`, `template` and `fileglob` lookups search.
    fn search(&self) -> Search {
        Search::default()
    }
}

/// Folders that lookups search, nearest first.
#[derive(Debug, Clone, Default)]
pub struct Search {
    /// For files: a role's `files`, the playbook's `files`, the playbook's folder.
    pub files: Vec<PathBuf>,
    /// For templates: a role's `templates`, the playbook's `templates`, the playbook's folder.
    pub templates: Vec<PathBuf>,
}

/// What a name stands for.
#[derive(Debug, Clone)]
pub enum Found {
    /// No such variable.
    Missing,
    /// A final value, which may hold [`Value::Unknown`] anywhere.
    Known(Value),
    /// Text from a file, to be rendered in this same scope.
    Raw(Arc<Node>),
    /// An object of the engine's own, such as [`Engine::object`] makes.
    Native(Native),
    /// Registered by a step that is under way.
    Pending(u64),
}

/// How deep variables may rest on one another.
const DEPTH: usize = 48;

thread_local! {
    static ACTIVE: RefCell<Vec<Active>> = const { RefCell::new(Vec::new()) };
}

/// A variable that is being rendered.
struct Active {
    scope: usize,
    name: String,
    span: Span,
}

/// Takes the variable off the chain again.
struct Leave;

impl Drop for Leave {
    fn drop(&mut self) {
        ACTIVE.with_borrow_mut(Vec::pop);
    }
}

#[derive(Debug, Clone)]
enum Resolved {
    Missing,
    Value(Native),
    Unknown(String),
    Pending(u64),
    Failed(Box<Diagnostic>),
}

/// A scope as the engine's context; each name is resolved once per rendering.
pub(super) struct Root {
    pub(super) engine: Engine,
    pub(super) scope: Arc<dyn Scope>,
    resolved: Mutex<HashMap<String, Resolved>>,
}

impl fmt::Debug for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("variables")
    }
}

impl Root {
    pub(super) fn new(engine: &Engine, scope: &Arc<dyn Scope>) -> Arc<Root> {
        Arc::new(Root {
            engine: engine.clone(),
            scope: Arc::clone(scope),
            resolved: Mutex::default(),
        })
    }

    fn resolve(self: &Arc<Self>, name: &str) -> Resolved {
        if let Some(known) = self.cache().get(name) {
            return known.clone();
        }
        let resolved = match self.scope.lookup(name) {
            Found::Missing if name == "vars" => Resolved::Value(Native::from_dyn_object(Arc::clone(self))),
            Found::Missing => Resolved::Missing,
            Found::Known(Value::Unknown(reason)) => Resolved::Unknown(reason),
            Found::Known(value) => Resolved::Value(secret::seen(&self.engine, to_native(&value))),
            Found::Native(value) => Resolved::Value(value),
            Found::Pending(step) => Resolved::Pending(step),
            Found::Raw(node) => self.render_raw(name, &node),
        };
        self.cache().insert(name.to_owned(), resolved.clone());
        resolved
    }

    fn cache(&self) -> std::sync::MutexGuard<'_, HashMap<String, Resolved>> {
        self.resolved.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn render_raw(self: &Arc<Self>, name: &str, node: &Node) -> Resolved {
        let scope = Arc::as_ptr(&self.scope).cast::<()>() as usize;
        if let Some(failure) = refuse(scope, name, node.span) {
            return Resolved::Failed(Box::new(failure));
        }
        ACTIVE.with_borrow_mut(|active| {
            active.push(Active {
                scope,
                name: name.to_owned(),
                span: node.span,
            });
        });
        let _leave = Leave;
        match self.engine.render_tree(node, self) {
            Ok(None) => Resolved::Value(Native::from_object(Omit)),
            Ok(Some(Value::Unknown(reason))) => Resolved::Unknown(reason),
            Ok(Some(value)) => Resolved::Value(secret::seen(&self.engine, to_native(&value))),
            Err(RenderError::Pending(step)) => Resolved::Pending(step),
            Err(RenderError::Failed(failure)) => Resolved::Failed(Box::new(failure)),
        }
    }

    /// What a name yields to the engine, with its touch recorded.
    pub(super) fn yields(self: &Arc<Self>, name: &str) -> Option<Native> {
        match self.resolve(name) {
            Resolved::Missing => None,
            Resolved::Value(value) => Some(value),
            Resolved::Unknown(reason) => Some(touch_unknown(&reason)),
            Resolved::Pending(step) => Some(touch_pending(step)),
            Resolved::Failed(failure) if failure.code.starts_with("undefined-") => {
                hint(name, &failure);
                None
            }
            Resolved::Failed(failure) => Some(touch_failure(*failure)),
        }
    }

    /// Whether the scope has the name, without rendering it.
    pub(super) fn has(&self, name: &str) -> bool {
        !matches!(self.scope.lookup(name), Found::Missing)
    }
}

/// The error for a variable that rests on itself, or on too many others.
fn refuse(scope: usize, name: &str, span: Span) -> Option<Diagnostic> {
    ACTIVE.with_borrow(|active| {
        let start = active.iter().position(|one| one.scope == scope && one.name == name);
        let Some(start) = start else {
            return (active.len() >= DEPTH).then(|| {
                Diagnostic::new(
                    "variable-depth",
                    format!("variables rest on one another more than {DEPTH} deep"),
                )
                .at(span, format!("reached at `{name}`"))
            });
        };
        let mut names: Vec<&str> = active[start..].iter().map(|one| one.name.as_str()).collect();
        names.push(name);
        let mut failure = Diagnostic::new(
            "variable-cycle",
            format!("variable `{name}` is defined through itself: {}", names.join(" → ")),
        );
        for one in &active[start..] {
            failure = failure.at(one.span, format!("`{}` is defined here", one.name));
        }
        Some(failure)
    })
}

impl Object for Root {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Map
    }

    fn get_value(self: &Arc<Self>, key: &Native) -> Option<Native> {
        self.yields(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Native> {
        self.yields(key)
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.scope.names().into_iter().map(Native::from).collect())
    }
}

/// A scope with some more variables on top: loop items, `ansible_managed`, a task's own.
pub struct With {
    /// What lies below.
    pub under: Arc<dyn Scope>,
    /// What comes first.
    pub extra: HashMap<String, Found>,
}

impl With {
    /// Final values over a scope.
    #[must_use]
    pub fn values(under: &Arc<dyn Scope>, extra: okd_agent::value::Map) -> Arc<dyn Scope> {
        Arc::new(With {
            under: Arc::clone(under),
            extra: extra
                .into_iter()
                .map(|(name, value)| (name, Found::Known(value)))
                .collect(),
        })
    }
}

impl Scope for With {
    fn lookup(&self, name: &str) -> Found {
        self.extra.get(name).cloned().unwrap_or_else(|| self.under.lookup(name))
    }

    fn names(&self) -> Vec<String> {
        let mut names = self.under.names();
        names.extend(self.extra.keys().cloned());
        names
    }

    fn search(&self) -> Search {
        self.under.search()
    }
}
