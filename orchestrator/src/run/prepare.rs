//! From a task on a host to what has to be done now: conditions, loops, rendered and decoded arguments. Touches nothing.

use super::args;
use super::deed::Deed;
use super::local::{self, Effect, LocalEnd};
use super::origin;
use crate::error::Diagnostic;
use crate::graph::build::StepNode;
use crate::playbook::{Repeat, Vars};
use crate::report::Pass;
use crate::site::scope::HostVars;
use crate::site::{Scoped, World, check};
use crate::source::yaml::{Node, NodeKind};
use crate::template::{RenderError, Scope, Truth};
use okd_agent::path::AbsPath;
use okd_agent::resource::Failure;
use okd_agent::system::overlay::Recorded;
use okd_agent::value::{Map, Value, map};
use std::sync::Arc;

/// A task on a host, with everything that rendering needs.
#[derive(Clone)]
pub struct Context {
    /// All variables.
    pub world: Arc<World>,
    /// The task on the host.
    pub node: StepNode,
    /// The host.
    pub host: Arc<HostVars>,
    /// Which pass.
    pub pass: Pass,
}

/// Why a task could not be prepared.
#[derive(Debug, Clone)]
pub enum Stop {
    /// A step that is under way gives something that is needed.
    Pending(u64),
    /// Something in the task is wrong.
    Failed(Box<Diagnostic>),
    /// It hangs on a step that has not been applied.
    Unknown(String),
}

impl From<RenderError> for Stop {
    fn from(error: RenderError) -> Self {
        match error {
            RenderError::Pending(step) => Stop::Pending(step),
            RenderError::Failed(found) => Stop::Failed(Box::new(found)),
        }
    }
}

impl From<Diagnostic> for Stop {
    fn from(found: Diagnostic) -> Self {
        Stop::Failed(Box::new(found))
    }
}

/// A task that is ready, or ended already.
pub struct Prepared {
    /// Its rendered name.
    pub name: String,
    /// One entry without a loop, else one an item.
    pub items: Vec<Item>,
    /// Whether it loops.
    pub looped: bool,
}

/// One item of a loop, or the only one.
pub struct Item {
    /// How the item is shown.
    pub label: Option<String>,
    /// Loop variables.
    pub locals: Map,
    /// What to do.
    pub work: ItemWork,
}

/// What an item comes to.
pub enum ItemWork {
    /// Its condition does not hold; says which.
    Skip(String),
    /// Not known until applied; says why, and what nobody knows any more on its machine.
    Unknown(String, Vec<Recorded>),
    /// Wrong: nothing is run.
    Fail(Box<Failure>),
    /// Run here, and ended.
    Local(Box<LocalEnd>),
    /// To be sent to the host, or through an interface: with its environment, and the paths that it may change.
    Send(Box<Deed>, Vec<(String, String)>, Vec<AbsPath>),
}

impl Context {
    /// The variables of the task, without loop variables.
    #[must_use]
    pub fn scoped(&self) -> Scoped {
        Scoped {
            world: Arc::clone(&self.world),
            host: Arc::clone(&self.host),
            play: Some(Arc::clone(&self.node.play)),
            step: Some(Arc::clone(&self.node.step)),
            locals: Arc::default(),
            includes: self.node.includes.clone(),
        }
    }

    /// A rendered keyword; `None` where it is not given.
    ///
    /// # Errors
    /// As rendering.
    pub fn keyword(&self, node: Option<&Node>, scope: &Arc<dyn Scope>) -> Result<Option<Value>, Stop> {
        let Some(node) = node else { return Ok(None) };
        match self.world.engine().render(node, scope)? {
            Value::Unknown(reason) => Err(Stop::Unknown(reason)),
            value => Ok(Some(value)),
        }
    }

    /// A rendered keyword that is true or false.
    ///
    /// # Errors
    /// As rendering; a value that is neither.
    pub fn flag(&self, node: Option<&Node>, scope: &Arc<dyn Scope>) -> Result<Option<bool>, Stop> {
        let Some(value) = self.keyword(node, scope)? else {
            return Ok(None);
        };
        let span = node.map_or(self.node.step.task.span, |node| node.span);
        let wrong = || {
            Diagnostic::new(
                "wrong-type",
                format!("expected true or false, not {}", value.type_name()),
            )
            .at(span, "")
        };
        value.to_bool().map(Some).ok_or_else(|| wrong().into())
    }

    /// The host that the task is delegated to, itself perhaps.
    ///
    /// # Errors
    /// As rendering.
    pub fn delegate(&self, scope: &Arc<dyn Scope>) -> Result<Option<String>, Stop> {
        let sources = &self.world.loading.loader.sources;
        let node = self
            .node
            .step
            .keywords
            .delegate_to
            .as_ref()
            .map(|node| node.as_names(sources));
        Ok(self.keyword(node.as_ref(), scope)?.map(|name| name.to_string()))
    }

    /// `poll: 0` is refused here where only rendering tells that it is meant.
    fn in_front(&self, scope: &Arc<dyn Scope>) -> Result<(), Stop> {
        let task = &self.node.step.task;
        let zero = |node: Option<&Node>| {
            let value = self.keyword(node, scope)?;
            Ok::<_, Stop>(value.map(|value| value.to_string().parse() == Ok(0.0)))
        };
        match &task.poll {
            Some(poll) if zero(task.r#async.as_ref())? == Some(false) && zero(Some(poll))? == Some(true) => {
                Err(check::left_behind(poll).into())
            }
            _ => Ok(()),
        }
    }

    /// The name of the task as the report shows it.
    #[must_use]
    pub fn name(&self, scope: &Arc<dyn Scope>) -> String {
        let step = &self.node.step;
        let rendered = step
            .task
            .name
            .as_ref()
            .and_then(|name| self.world.engine().render(name, scope).ok());
        match rendered {
            Some(Value::Str(name)) if !name.is_empty() => match step.role().filter(|_| !step.implicit) {
                Some(role) => format!("{} : {name}", role.name),
                None => name,
            },
            _ => step.label(),
        }
    }

    /// Makes the task ready.
    ///
    /// # Errors
    /// When it has to wait, is wrong as a whole, or is unknown as a whole.
    pub fn prepare(&self) -> Result<Prepared, Stop> {
        let scoped = self.scoped();
        let scope = scoped.clone().shared();
        let step = &self.node.step;
        let name = self.name(&scope);
        self.in_front(&scope)?;
        let Some(repeat) = &step.task.repeat else {
            let work = self.item(&scoped)?;
            return Ok(Prepared {
                name,
                items: vec![Item {
                    label: None,
                    locals: Map::new(),
                    work,
                }],
                looped: false,
            });
        };
        let over = match self.over(repeat, &scoped, &scope) {
            Ok(over) => over,
            Err(Stop::Failed(found)) => match self.conditions(&scope) {
                Ok(Some(skip)) => {
                    let skipped = Item {
                        label: None,
                        locals: Map::new(),
                        work: ItemWork::Skip(skip),
                    };
                    return Ok(Prepared {
                        name,
                        items: vec![skipped],
                        looped: false,
                    });
                }
                _ => return Err(Stop::Failed(found)),
            },
            Err(other) => return Err(other),
        };
        let mut items = Vec::new();
        let mut given = Map::new();
        for index in 0..over.len() {
            let locals = loop_locals(repeat, &over, index);
            let inner = scoped.with(given.clone()).with(locals.clone());
            let work = self.item(&inner)?;
            if let ItemWork::Local(end) = &work
                && let Effect::Facts(facts) = &end.effect
            {
                let extra = &self.world.loading.extra;
                given.extend(facts.clone().into_iter().filter(|(name, _)| !extra.contains_key(name)));
            }
            let label = self.label(repeat, &over[index], &inner)?;
            items.push(Item {
                label: Some(label),
                locals,
                work,
            });
        }
        Ok(Prepared {
            name,
            items,
            looped: true,
        })
    }

    fn label(&self, repeat: &Repeat, item: &Value, scoped: &Scoped) -> Result<String, Stop> {
        let shown = |value: &Value| match value {
            Value::Map(entries) => {
                let named = entries
                    .get("name")
                    .or_else(|| entries.get("key"))
                    .or_else(|| entries.get("path"));
                named.map_or_else(|| value.to_string(), Value::to_string)
            }
            other => other.to_string(),
        };
        match &repeat.label {
            Some(label) => Ok(self.world.engine().render(label, &scoped.clone().shared())?.to_string()),
            None => Ok(shown(item)),
        }
    }

    fn over(&self, repeat: &Repeat, scoped: &Scoped, scope: &Arc<dyn Scope>) -> Result<Vec<Value>, Stop> {
        let rendered = match &repeat.over.kind {
            NodeKind::Str(text, _)
                if repeat.lookup.is_some() && !text.contains("{{") && repeat.lookup.as_deref() == Some("items") =>
            {
                Value::List(vec![Value::Str(text.clone())])
            }
            _ => self.world.engine().render(&repeat.over, scope)?,
        };
        if let Value::Unknown(reason) = &rendered {
            return Err(Stop::Unknown(reason.clone()));
        }
        let list = match (repeat.lookup.as_deref(), rendered) {
            (None | Some("list"), Value::List(list)) => list,
            (None, other) => {
                let text = format!("`loop` takes a list, not {}", other.type_name());
                let found = Diagnostic::new("wrong-type", text).at(repeat.over.span, "");
                return Err(match other {
                    Value::Map(_) => found.help("`dict2items` makes a list of a mapping").into(),
                    _ => found.into(),
                });
            }
            (Some("items" | "flattened"), Value::List(list)) => flatten(list),
            (Some("items"), other) => vec![other],
            (Some("indexed_items"), value) => {
                let list = flatten(vec![value]).into_iter().enumerate();
                list.map(|(index, item)| Value::List(vec![Value::Int(index as i64), item]))
                    .collect()
            }
            (Some("dict"), Value::Map(entries)) => entries
                .into_iter()
                .map(|(key, value)| Value::Map(map([("key", key.into()), ("value", value)])))
                .collect(),
            (Some(lookup), value) => return self.looked_up(lookup, value, repeat, scoped),
        };
        Ok(list)
    }

    /// The other `with_…` go through the lookup of their name.
    fn looked_up(&self, lookup: &str, value: Value, repeat: &Repeat, scoped: &Scoped) -> Result<Vec<Value>, Stop> {
        let spread = matches!(lookup, "nested" | "together" | "subelements");
        let (terms, count) = match value {
            Value::List(list) if spread => (list.clone(), list.len()),
            other => (vec![other], 1),
        };
        let calls: Vec<String> = (0..count).map(|index| format!("__over[{index}]")).collect();
        let text = format!("query('{lookup}', {})", calls.join(", "));
        let inner = scoped.with(map([("__over", Value::List(terms))])).shared();
        match self
            .world
            .engine()
            .expression(&Node::str(text, repeat.over.span), &inner)?
        {
            Value::List(list) => Ok(list),
            Value::Unknown(reason) => Err(Stop::Unknown(reason)),
            other => Ok(vec![other]),
        }
    }

    /// The first condition that does not hold.
    ///
    /// # Errors
    /// As rendering.
    pub fn conditions(&self, scope: &Arc<dyn Scope>) -> Result<Option<String>, Stop> {
        for condition in &self.node.step.keywords.when {
            match self.world.engine().condition(condition, scope)? {
                Truth::True => {}
                Truth::False => return Ok(Some(condition.to_value().to_string())),
                Truth::Unknown(reason) => return Err(Stop::Unknown(reason)),
            }
        }
        Ok(None)
    }

    /// One item, or the only one.
    fn item(&self, scoped: &Scoped) -> Result<ItemWork, Stop> {
        let scope = scoped.clone().shared();
        let work = match self.conditions(&scope) {
            Ok(Some(condition)) => return Ok(ItemWork::Skip(condition)),
            Ok(None) => self.work(scoped, &scope),
            Err(other) => Err(other),
        };
        match work {
            Err(Stop::Unknown(reason)) => Ok(self.unknown(reason, &scope)),
            Err(Stop::Failed(found)) => Ok(ItemWork::Fail(Box::new(self.failure(&found)))),
            other => other,
        }
    }

    /// A task that is not known until applied. A later step of the plan finds nothing where this one may put something.
    #[must_use]
    pub fn unknown(&self, reason: String, scope: &Arc<dyn Scope>) -> ItemWork {
        let task = &self.node.step.task;
        let given = match self.world.engine().render(&task.args, scope) {
            Ok(Value::Map(rendered)) => args::named(&task.module, rendered),
            _ => Map::new(),
        };
        let doubts = match args::touched(&task.module, &given) {
            Some(paths) => paths
                .into_iter()
                .map(|path| Recorded::Doubtful(path, reason.clone()))
                .collect(),
            None => vec![Recorded::Unforeseen(format!(
                "hangs on a step that is unknown itself: {reason}"
            ))],
        };
        ItemWork::Unknown(reason, doubts)
    }

    /// A mistake that shows only when the task is reached.
    #[must_use]
    pub fn failure(&self, found: &Diagnostic) -> Failure {
        let message = found.render(&self.world.loading.loader.sources, false);
        Failure {
            result: map([("msg", found.message.as_str().into())]),
            message,
            ..Failure::default()
        }
    }

    fn work(&self, scoped: &Scoped, scope: &Arc<dyn Scope>) -> Result<ItemWork, Stop> {
        let task = &self.node.step.task;
        let mut given = self.defaults(scope)?;
        let module = task.short_module();
        let rendered = match local::raw_args(module) {
            true => task.args.to_value(),
            false => self.world.engine().render(&task.args, scope)?,
        };
        if let Value::Map(rendered) = rendered {
            given.extend(args::named(&task.module, rendered));
        }
        if let Some(end) = local::run(self, module, &given, scoped, scope)? {
            return Ok(ItemWork::Local(Box::new(end)));
        }
        if let Some(reason) = Value::Map(given.clone()).unknown() {
            return Err(Stop::Unknown(reason.to_owned()));
        }
        args::guard(task, &mut given, self.world.loading.loader.vault.keeper());
        let kind = local::resource(self, &given, scoped, scope)?;
        if let Err(sentences) = kind.check() {
            let text = format!("`{}`: {}", task.module, sentences.join("; "));
            let found = Diagnostic::new("contradiction", text).at(task.module_span, "");
            return Err(origin::told_by_words(self, scope, found).into());
        }
        let touched = args::touched(&task.module, &given).unwrap_or_default();
        Ok(ItemWork::Send(Box::new(kind), self.environment(scope)?, touched))
    }

    /// `module_defaults` for this module.
    fn defaults(&self, scope: &Arc<dyn Scope>) -> Result<Map, Stop> {
        let task = &self.node.step.task;
        let mut all = Map::new();
        for defaults in &self.node.step.keywords.module_defaults {
            let own = defaults.entries().find(|(key, _)| {
                let name = key.as_str().unwrap_or_default();
                name == task.module || crate::playbook::short(name) == task.short_module()
            });
            if let Some((_, node)) = own
                && let Value::Map(entries) = self.world.engine().render(node, scope)?
            {
                all.extend(entries);
            }
        }
        Ok(all)
    }

    fn environment(&self, scope: &Arc<dyn Scope>) -> Result<Vec<(String, String)>, Stop> {
        let mut all = Map::new();
        for node in &self.node.step.keywords.environment {
            match self.world.engine().render(node, scope)? {
                Value::Map(entries) => all.extend(entries),
                Value::Unknown(reason) => return Err(Stop::Unknown(reason)),
                Value::Null => {}
                other => {
                    let text = format!("`environment` is a mapping, not {}", other.type_name());
                    return Err(Diagnostic::new("wrong-type", text).at(node.span, "").into());
                }
            }
        }
        match Value::Map(all.clone()).unknown() {
            Some(reason) => Err(Stop::Unknown(reason.to_owned())),
            None => Ok(all.into_iter().map(|(name, value)| (name, value.to_string())).collect()),
        }
    }
}

fn flatten(list: Vec<Value>) -> Vec<Value> {
    list.into_iter()
        .flat_map(|item| match item {
            Value::List(inner) => inner,
            other => vec![other],
        })
        .collect()
}

fn loop_locals(repeat: &Repeat, over: &[Value], index: usize) -> Map {
    let item = over.get(index).cloned().unwrap_or_default();
    let mut locals = map([("ansible_loop_var", repeat.var.as_str().into())]);
    locals.insert(repeat.var.clone(), item);
    if let Some(name) = &repeat.index_var {
        locals.insert(name.clone(), Value::Int(index as i64));
        locals.insert("ansible_index_var".to_owned(), name.as_str().into());
    }
    if repeat.extended {
        let (at, length) = (index as i64, over.len() as i64);
        let mut extended = map([
            ("index", Value::Int(at + 1)),
            ("index0", Value::Int(at)),
            ("revindex", Value::Int(length - at)),
            ("revindex0", Value::Int(length - at - 1)),
            ("first", (at == 0).into()),
            ("last", (at + 1 == length).into()),
            ("length", Value::Int(length)),
        ]);
        if repeat.all_items {
            extended.insert("allitems".to_owned(), Value::List(over.to_vec()));
        }
        if let Some(next) = over.get(index + 1) {
            extended.insert("nextitem".to_owned(), next.clone());
        }
        if let Some(previous) = index.checked_sub(1).and_then(|index| over.get(index)) {
            extended.insert("previtem".to_owned(), previous.clone());
        }
        locals.insert("ansible_loop".to_owned(), Value::Map(extended));
    }
    locals
}

/// Variables as known values, for parameters of includes.
///
/// # Errors
/// As rendering.
pub(super) fn rendered(context: &Context, vars: &Vars, scope: &Arc<dyn Scope>) -> Result<Map, Stop> {
    let mut known = Map::new();
    for (name, node) in vars {
        known.insert(name.clone(), context.world.engine().render(node, scope)?);
    }
    Ok(known)
}
