//! Modules that need no machine, and those whose work begins on the control node: a template is rendered here, then it is
//! a file like any other.

use super::args;
use super::deed::Deed;
use super::origin;
use super::prepare::{Context, Stop, rendered};
use crate::actions;
use crate::control::API_KINDS;
use crate::error::{Diagnostic, Diagnostics};
use crate::playbook::role::Entry;
use crate::playbook::{Keywords, Role, RoleUse, Vars, keywords};
use crate::site::flow::{Around, Flattener};
use crate::site::{Flow, Scoped, Step, check, find};
use crate::source::files::Files;
use crate::template::{RenderError, Rendered, Scope, SecretStore, TemplateFile, Truth};
use okd_agent::param::{Bytes, ParamError, Params};
use okd_agent::resource::Kind;
use okd_agent::value::{Map, Value, map};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How a module of the orchestrator's own ended.
#[derive(Default)]
pub struct LocalEnd {
    /// Whether it counts as a change.
    pub changed: bool,
    /// Why it failed.
    pub failed: Option<String>,
    /// What the report says.
    pub msg: String,
    /// What `register` holds.
    pub result: Map,
    /// What it does to the run.
    pub effect: Effect,
}

/// What a module does to the run.
#[derive(Default)]
pub enum Effect {
    /// Nothing.
    #[default]
    None,
    /// Sets variables of the host.
    Facts(Map),
    /// Adds variables of a file.
    Vars(Vars),
    /// Adds a host.
    AddHost {
        /// Its name.
        name: String,
        /// Its groups.
        groups: Vec<String>,
        /// Its variables.
        vars: Map,
    },
    /// Puts the host into a group.
    Group {
        /// The group.
        name: String,
        /// Groups that it is a part of.
        parents: Vec<String>,
    },
    /// Puts tasks in the step's place.
    Include {
        /// The tasks.
        flows: Vec<Flow>,
        /// Parameters for them.
        params: Map,
        /// Handlers that they bring.
        handlers: Vec<Arc<Step>>,
        /// Roles whose variables all later tasks see.
        roles: Vec<Arc<Role>>,
    },
    /// Runs what was notified.
    Flush,
    /// Ends the play for this host, or for all.
    End {
        /// Whether for all hosts.
        all: bool,
    },
    /// Forgets facts.
    ClearFacts,
    /// What failed on hosts of the play counts no more.
    ClearErrors,
    /// Reads the inventory anew.
    RefreshInventory,
    /// Waits so many seconds.
    Pause(f64),
}

impl LocalEnd {
    fn effect(effect: Effect) -> Option<LocalEnd> {
        Some(LocalEnd {
            effect,
            ..LocalEnd::default()
        })
    }

    fn fail(text: String) -> Option<LocalEnd> {
        let result = map([("msg", text.as_str().into())]);
        Some(LocalEnd {
            failed: Some(text),
            result,
            ..LocalEnd::default()
        })
    }
}

/// Modules whose arguments are expressions, rendered by themselves.
#[must_use]
pub(super) fn raw_args(module: &str) -> bool {
    matches!(module, "assert" | "debug")
}

/// Whether a module runs in the orchestrator.
#[must_use]
pub(super) fn is_local(module: &str) -> bool {
    actions::ACTIONS.iter().any(|action| action.name == module)
        && !matches!(
            module,
            "template" | "script" | "fetch" | "reboot" | "wait_for_connection"
        )
}

/// Runs a module of the orchestrator's own; `None` where it is a resource's.
///
/// # Errors
/// As rendering; mistakes in the arguments.
pub(super) fn run(
    context: &Context,
    module: &str,
    given: &Map,
    scoped: &Scoped,
    scope: &Arc<dyn Scope>,
) -> Result<Option<LocalEnd>, Stop> {
    if !is_local(module) {
        return Ok(None);
    }
    if module != "debug"
        && let Some(reason) = Value::Map(given.clone()).unknown()
    {
        if module == "set_fact" {
            return Ok(LocalEnd::effect(Effect::Facts(facts(given))));
        }
        return Err(Stop::Unknown(reason.to_owned()));
    }
    match module {
        "debug" => debug(context, given, scope),
        "assert" => assert(context, scope),
        "fail" => Ok(LocalEnd::fail(decode::<actions::Fail>(context, given)?.msg)),
        "set_fact" => {
            let facts = facts(given);
            let result = map([("ansible_facts", Value::Map(facts.clone()))]);
            Ok(Some(LocalEnd {
                result,
                effect: Effect::Facts(facts),
                ..LocalEnd::default()
            }))
        }
        "include_vars" => include_vars(context, given, scoped),
        "add_host" => add_host(context, given),
        "group_by" => {
            let args = decode::<actions::GroupBy>(context, given)?;
            let effect = Effect::Group {
                name: args.key.replace([' ', '-'], "_"),
                parents: args.parents,
            };
            Ok(Some(LocalEnd {
                changed: true,
                effect,
                ..LocalEnd::default()
            }))
        }
        "pause" => {
            let args = decode::<actions::Pause>(context, given)?;
            let seconds = args.seconds.unwrap_or(0.0) + args.minutes.unwrap_or(0.0) * 60.0;
            let msg = args.prompt.unwrap_or_default();
            Ok(Some(LocalEnd {
                msg,
                effect: Effect::Pause(seconds),
                ..LocalEnd::default()
            }))
        }
        "meta" => meta(context, given),
        "include_tasks" => include_tasks(context, given, scope),
        "include_role" => include_role(context, given, scope),
        other => Err(Diagnostic::new("unsupported", format!("`{other}` cannot stand here"))
            .at(context.node.step.task.module_span, "")
            .into()),
    }
}

fn facts(given: &Map) -> Map {
    given
        .iter()
        .filter(|(name, _)| *name != "cacheable")
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

fn decode<T: Params>(context: &Context, given: &Map) -> Result<T, Stop> {
    T::decode(given).map_err(|mistakes| mistaken(context, &mistakes, &context.scoped().shared()))
}

/// The first mistake in the arguments, at its place, with the variable that brought it.
fn mistaken(context: &Context, mistakes: &[ParamError], scope: &Arc<dyn Scope>) -> Stop {
    let task = &context.node.step.task;
    let first = mistakes.first().map(|mistake| {
        let found = args::diagnostic(task, mistake);
        origin::told(context, scope, &mistake.path, found)
    });
    first
        .unwrap_or_else(|| Diagnostic::new("wrong-value", "wrong arguments").at(task.span, ""))
        .into()
}

fn debug(context: &Context, given: &Map, scope: &Arc<dyn Scope>) -> Result<Option<LocalEnd>, Stop> {
    let engine = context.world.engine();
    let task = &context.node.step.task;
    let shown = |value: &Value| match value {
        Value::Str(text) => text.clone(),
        Value::Unknown(reason) => format!("(unknown until applied: {reason})"),
        other => json(other),
    };
    let mut end = LocalEnd::default();
    if let Some(node) = task.args.get("var") {
        let name = node.to_value().to_string();
        let value = engine.expression(node, scope)?;
        end.msg = format!("{name} = {}", shown(&value));
        end.result.insert(name, value);
    } else if let Some(node) = task.args.get("msg") {
        let value = engine.render(node, scope)?;
        end.msg = shown(&value);
        end.result.insert("msg".to_owned(), value);
    } else {
        decode::<actions::Debug>(context, given)?;
        end.msg = "Hello world!".to_owned();
        end.result.insert("msg".to_owned(), "Hello world!".into());
    }
    Ok(Some(end))
}

/// A value as JSON text on several lines.
fn json(value: &Value) -> String {
    serde_json::to_string_pretty(&crate::report::json::value(value)).unwrap_or_default()
}

fn assert(context: &Context, scope: &Arc<dyn Scope>) -> Result<Option<LocalEnd>, Stop> {
    let engine = context.world.engine();
    let task = &context.node.step.task;
    let that = task.args.get("that");
    for condition in that.map(keywords::conditions).unwrap_or_default() {
        match engine.condition(&condition, scope)? {
            Truth::True => {}
            Truth::Unknown(reason) => return Err(Stop::Unknown(reason)),
            Truth::False => {
                let assertion = condition.to_value().to_string();
                let said = task.args.get("fail_msg").or_else(|| task.args.get("msg"));
                let msg = match said {
                    Some(node) => engine.render(node, scope)?.to_string(),
                    None => format!("Assertion failed: {assertion}"),
                };
                let place = context.world.loading.loader.sources.place(condition.span);
                let result = map([
                    ("assertion", assertion.as_str().into()),
                    ("evaluated_to", false.into()),
                    ("msg", msg.as_str().into()),
                ]);
                let failed = Some(if said.is_some() {
                    format!("{msg}\n  {assertion}   {place}")
                } else {
                    format!("{msg}   {place}")
                });
                return Ok(Some(LocalEnd {
                    failed,
                    result,
                    ..LocalEnd::default()
                }));
            }
        }
    }
    let msg = match task.args.get("success_msg") {
        Some(node) => engine.render(node, scope)?.to_string(),
        None => String::new(),
    };
    let said = if msg.is_empty() { "All assertions passed" } else { &msg };
    let result = map([("msg", said.into())]);
    Ok(Some(LocalEnd {
        msg,
        result,
        ..LocalEnd::default()
    }))
}

fn include_vars(context: &Context, given: &Map, scoped: &Scoped) -> Result<Option<LocalEnd>, Stop> {
    let args = decode::<actions::IncludeVars>(context, given)?;
    let task = &context.node.step.task;
    let loader = &context.world.loading.loader;
    let disk = loader.sources.disk();
    let mut folders = vec![task.place.dir.join("vars"), task.place.dir.clone()];
    folders.splice(0..0, task.place.role.iter().map(|role| role.dir.join("vars")));
    folders.extend(
        scoped
            .play
            .iter()
            .flat_map(|play| [play.play.dir.join("vars"), play.play.dir.clone()]),
    );
    let mut paths = Vec::new();
    match (&args.file, &args.dir) {
        (Some(file), _) => paths.push(find(disk, file, &folders, task.args.span)?),
        (None, Some(dir)) => paths.extend(files_below(disk, &find(disk, dir, &folders, task.args.span)?, &args)),
        (None, None) => {
            return Err(
                Diagnostic::new("missing-argument", "`include_vars` needs `file` or `dir`")
                    .at(task.module_span, "")
                    .into(),
            );
        }
    }
    let mut vars = Vars::new();
    for path in paths {
        let read = loader
            .variables(&path, Some(task.args.span))
            .and_then(|node| match &args.name {
                Some(name) => Ok(Vars::from_iter([(name.clone(), Arc::new(node))])),
                None => keywords::vars(&node).map_err(Diagnostics::from),
            });
        vars.extend(read.map_err(|found| stop(found, task.span))?);
    }
    Ok(LocalEnd::effect(Effect::Vars(vars)))
}

fn files_below(disk: &Files, dir: &Path, args: &actions::IncludeVars) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in disk.names(dir).into_iter().map(|name| dir.join(name)) {
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        let extension = path
            .extension()
            .map(|extension| extension.to_string_lossy().into_owned())
            .unwrap_or_default();
        let matches = args
            .files_matching
            .as_ref()
            .is_none_or(|pattern| regex::Regex::new(pattern).is_ok_and(|regex| regex.is_match(&name)));
        if disk.is_dir(&path) && args.depth != 1 {
            found.extend(files_below(disk, &path, args));
        } else if disk.is_file(&path) && matches && args.extensions.contains(&extension) {
            found.push(path);
        }
    }
    found
}

fn stop(found: Diagnostics, span: crate::source::Span) -> Stop {
    let first = found.0.into_iter().next();
    first
        .unwrap_or_else(|| Diagnostic::new("failed", "this could not be read").at(span, ""))
        .into()
}

fn add_host(context: &Context, given: &Map) -> Result<Option<LocalEnd>, Stop> {
    let own = |name: &&String| {
        actions::AddHost::SPEC
            .params
            .iter()
            .any(|p| p.name == **name || p.aliases.contains(&name.as_str()))
    };
    let (own_args, vars): (Map, Map) = given.clone().into_iter().partition(|(name, _)| own(&name));
    let args = decode::<actions::AddHost>(context, &own_args)?;
    let effect = Effect::AddHost {
        name: args.name,
        groups: args.groups,
        vars,
    };
    Ok(Some(LocalEnd {
        changed: true,
        effect,
        ..LocalEnd::default()
    }))
}

fn meta(context: &Context, given: &Map) -> Result<Option<LocalEnd>, Stop> {
    let word = decode::<actions::Meta>(context, given)?.free_form;
    let effect = match word.as_str() {
        "flush_handlers" => Effect::Flush,
        "end_play" | "end_batch" => Effect::End { all: true },
        "end_host" => Effect::End { all: false },
        "clear_facts" => Effect::ClearFacts,
        "clear_host_errors" => Effect::ClearErrors,
        "refresh_inventory" => Effect::RefreshInventory,
        "noop" => Effect::None,
        other => {
            let text = format!("there is no `meta: {other}`");
            return Err(Diagnostic::new("unknown-word", text)
                .at(context.node.step.task.args.span, "")
                .did_you_mean(other, check::META.iter().copied())
                .into());
        }
    };
    Ok(LocalEnd::effect(effect))
}

fn around(context: &Context, apply: Option<&Value>) -> Around {
    let step = &context.node.step;
    let own = &step.task.keywords;
    let mut inherited = Keywords {
        when: Vec::new(),
        ..step.keywords.clone()
    };
    inherited.tags.retain(|tag| !own.tags.contains(tag));
    if let Some(tags) = apply.and_then(|apply| apply.get("tags")) {
        let more = match tags {
            Value::List(list) => list.iter().map(Value::to_string).collect(),
            other => other
                .to_string()
                .split(',')
                .map(|tag| tag.trim().to_owned())
                .collect::<Vec<_>>(),
        };
        inherited.tags.extend(more);
    }
    Around {
        keywords: inherited,
        notify: step.notify.clone(),
        params: step.params.clone(),
        path: step.path.clone(),
        inside: step.inside,
        ..Around::default()
    }
}

fn include_tasks(context: &Context, given: &Map, scope: &Arc<dyn Scope>) -> Result<Option<LocalEnd>, Stop> {
    let args = decode::<actions::Tasks>(context, given)?;
    let step = &context.node.step;
    let loading = &context.world.loading;
    let dir = &context.node.play.play.dir;
    let path = loading.task_file(&args.file, step.task.args.span, &step.task.place, dir)?;
    let mut errors = Diagnostics::default();
    let items = loading.items(&path, step.task.args.span, &step.task.place, &mut errors);
    let mut flattener = Flattener::new(loading, dir, &mut errors);
    let flows = flattener.items(&items, &around(context, args.apply.as_ref()));
    let handlers = std::mem::take(&mut flattener.handlers);
    checked(flows, handlers, Vec::new(), errors, context, scope)
}

fn include_role(context: &Context, given: &Map, scope: &Arc<dyn Scope>) -> Result<Option<LocalEnd>, Stop> {
    let args = decode::<actions::RoleTasks>(context, given)?;
    let step = &context.node.step;
    let main = |name: &Option<String>| {
        name.as_deref()
            .unwrap_or("main")
            .trim_end_matches(".yml")
            .trim_end_matches(".yaml")
            .to_owned()
    };
    let entry = Entry {
        tasks: main(&args.tasks_from),
        handlers: main(&args.handlers_from),
        vars: main(&args.vars_from),
        defaults: main(&args.defaults_from),
    };
    let mut errors = Diagnostics::default();
    let dir = context.node.play.play.dir.clone();
    let role = RoleUse {
        span: step.task.args.span,
        name: args.name,
        vars: Vars::new(),
        keywords: Keywords::default(),
    };
    let mut flattener = Flattener::new(&context.world.loading, &dir, &mut errors);
    let flows = flattener.included_role(&role, &entry, &around(context, args.apply.as_ref()));
    let handlers = std::mem::take(&mut flattener.handlers);
    let roles = std::mem::take(&mut flattener.roles);
    let roles = if args.public { roles } else { Vec::new() };
    checked(flows, handlers, roles, errors, context, scope)
}

fn checked(
    flows: Vec<Flow>,
    handlers: Vec<Arc<Step>>,
    roles: Vec<Arc<Role>>,
    mut errors: Diagnostics,
    context: &Context,
    scope: &Arc<dyn Scope>,
) -> Result<Option<LocalEnd>, Stop> {
    let mut all = context.world.handlers(&context.node.play);
    all.extend(handlers.iter().cloned());
    let mut steps = handlers.clone();
    crate::site::flow::steps_of(&flows, &mut steps);
    for step in &steps {
        args::check(step, &mut errors);
        check::steps(context.world.engine(), step, &mut errors);
        check::notifications(&all, step, &mut errors);
    }
    if errors.has_errors() {
        return Err(stop(errors, context.node.step.task.span));
    }
    let mut params = Map::new();
    for vars in &context.node.step.task.keywords.vars {
        params.extend(rendered(context, vars, scope)?);
    }
    Ok(LocalEnd::effect(Effect::Include {
        flows,
        params,
        handlers,
        roles,
    }))
}

/// The resource that a task asks for.
///
/// # Errors
/// As rendering; files that are not there; mistakes in the arguments.
pub(super) fn resource(context: &Context, given: &Map, scoped: &Scoped, scope: &Arc<dyn Scope>) -> Result<Deed, Stop> {
    let task = &context.node.step.task;
    match task.short_module() {
        "template" => template(context, given, scoped, scope),
        "copy" => copy(context, given.clone(), scoped, scope),
        "unarchive" => unarchive(context, given.clone(), scoped, scope),
        "script" => script(context, given, scoped, scope),
        "openshift_install" => openshift_install(context, given.clone(), scope),
        name if API_KINDS.iter().any(|kind| kind.names.contains(&name)) => {
            kind(context, name, &beside(context, given.clone(), scoped), scope)
        }
        name => kind(context, name, given, scope),
    }
}

/// Files of the control node that are named for an interface: those of the role or the playbook where there are such, as for
/// `copy`.
fn beside(context: &Context, mut given: Map, scoped: &Scoped) -> Map {
    let disk = context.disk();
    for name in ["src", "ca_path"] {
        let Some(Value::Str(text)) = given.get_mut(name) else {
            continue;
        };
        let folders = scoped.search().files;
        let found = folders
            .iter()
            .map(|folder| folder.join(&*text))
            .find(|path| disk.is_file(path));
        if let Some(path) = found {
            *text = path.display().to_string();
        }
    }
    given
}

fn kind(context: &Context, name: &str, given: &Map, scope: &Arc<dyn Scope>) -> Result<Deed, Stop> {
    let task = &context.node.step.task;
    let name = args::kind_info(name).map_or(name, |info| info.names[0]);
    match super::waiting::deed(name, given).or_else(|| Deed::decode(name, given)) {
        Some(Ok(kind)) => Ok(kind),
        Some(Err(mistakes)) => Err(mistaken(context, &mistakes, scope)),
        None => {
            let text = format!("`{}` is not supported on hosts", task.module);
            Err(Diagnostic::new("unsupported", text).at(task.module_span, "").into())
        }
    }
}

fn text_of<'a>(given: &'a Map, name: &str) -> Option<&'a str> {
    given.get(name).and_then(Value::as_str)
}

fn template(context: &Context, given: &Map, scoped: &Scoped, scope: &Arc<dyn Scope>) -> Result<Deed, Stop> {
    let args = decode::<actions::Template>(context, given)?;
    let task = &context.node.step.task;
    let search = scoped.search().templates;
    let span = task.args.get("src").map_or(task.args.span, |node| node.span);
    let path = find(context.disk(), &args.src, &search, span)?;
    let text = context
        .disk()
        .read_to_string(&path)
        .map_err(|error| Diagnostic::new("unreadable", format!("{}: {error}", path.display())).at(span, ""))?;
    let keeper = context.world.loading.loader.vault.keeper();
    let sealed = opened(context, &path, text.as_bytes())?;
    let text = sealed.as_deref().and_then(|place| keeper.reveal(place)).unwrap_or(text);
    let extra = map([
        ("ansible_managed", "Managed by okd-play".into()),
        ("template_path", path.display().to_string().into()),
        ("template_fullpath", path.display().to_string().into()),
        ("template_destpath", args.dest.as_str().into()),
    ]);
    let file = TemplateFile {
        path: &path,
        text: &text,
        search: &search,
        extra,
    };
    let rendered = match context.world.engine().render_file(&file, scope) {
        Err(RenderError::Failed(found)) if sealed.is_some() => {
            let said = format!("{} cannot be rendered; its words are hidden", path.display());
            return Err(Diagnostic::new(found.code, said).at(span, "").into());
        }
        rendered => rendered?,
    };
    let mut content = match rendered {
        Rendered::Text(text) if sealed.is_some() => {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
            keeper.derive(&name.unwrap_or_default(), keeper.reveal(&text).unwrap_or(text))
        }
        Rendered::Text(text) => text,
        Rendered::Unknown(reason) => return Err(Stop::Unknown(reason)),
    };
    if let Some(newline) = args.newline_sequence.as_deref() {
        content = content.replace('\n', &newline.replace("\\r", "\r").replace("\\n", "\n"));
    }
    let mut own: Map = given.clone();
    for name in [
        "src",
        "newline_sequence",
        "trim_blocks",
        "lstrip_blocks",
        "variable_start_string",
        "variable_end_string",
    ] {
        own.shift_remove(name);
    }
    let base = path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    own.insert("original_basename".to_owned(), base.into());
    with_content(context, "copy", own, content.into_bytes(), scope)
}

fn with_content(
    context: &Context,
    module: &str,
    mut given: Map,
    bytes: Vec<u8>,
    scope: &Arc<dyn Scope>,
) -> Result<Deed, Stop> {
    given.insert("content".to_owned(), Value::Str(String::new()));
    let mut kind = kind(context, module, &given, scope)?;
    if let Deed::Machine(Kind::Copy(copy)) = &mut kind {
        copy.content = Some(Bytes(bytes));
    }
    Ok(kind)
}

/// The placeholder for what a file holds, where it is encrypted.
fn opened(context: &Context, path: &Path, bytes: &[u8]) -> Result<Option<String>, Stop> {
    let task = &context.node.step.task;
    let opened = context.world.loading.loader.vault.file(path, bytes);
    opened.map_err(|found| found.at(task.args.span, "").into())
}

fn local_file(context: &Context, src: &str, scoped: &Scoped) -> Result<(PathBuf, Vec<u8>), Stop> {
    let task = &context.node.step.task;
    let span = task
        .args
        .get("src")
        .or_else(|| task.args.get("cmd"))
        .map_or(task.args.span, |node| node.span);
    let path = if Path::new(src).is_absolute() {
        find(context.disk(), src, &[PathBuf::from("/")], span)?
    } else {
        find(context.disk(), src, &scoped.search().files, span)?
    };
    if context.disk().is_dir(&path) {
        return Err(
            Diagnostic::new("unsupported", format!("{} is a folder", path.display()))
                .at(span, "a folder cannot be copied in one step yet")
                .help("loop over its files: `loop: \"{{ query('fileglob', 'folder/*') }}\"`")
                .into(),
        );
    }
    let bytes = context
        .disk()
        .read(&path)
        .map_err(|error| Diagnostic::new("unreadable", format!("{}: {error}", path.display())).at(span, ""))?;
    Ok((path, bytes))
}

fn copy(context: &Context, mut given: Map, scoped: &Scoped, scope: &Arc<dyn Scope>) -> Result<Deed, Stop> {
    let remote = given.get("remote_src").and_then(Value::to_bool).unwrap_or(false);
    if let Some(tree @ (Value::Map(_) | Value::List(_))) = given.get("content") {
        let text = crate::template::dumped(tree);
        given.insert("content".to_owned(), text.into());
    }
    let Some(src) = text_of(&given, "src")
        .filter(|_| !remote && !given.contains_key("content"))
        .map(str::to_owned)
    else {
        return kind(context, "copy", &given, scope);
    };
    let (path, bytes) = local_file(context, &src, scoped)?;
    given.shift_remove("src");
    if text_of(&given, "mode") == Some("preserve") {
        let mode = context.disk().mode(&path).unwrap_or(0o644);
        given.insert("mode".to_owned(), Value::Str(format!("{mode:04o}")));
    }
    let base = path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    given.insert("original_basename".to_owned(), base.into());
    let wanted = given.get("decrypt").and_then(Value::to_bool).unwrap_or(true);
    let sealed = if wanted { opened(context, &path, &bytes)? } else { None };
    with_content(context, "copy", given, sealed.map_or(bytes, String::into_bytes), scope)
}

fn unarchive(context: &Context, mut given: Map, scoped: &Scoped, scope: &Arc<dyn Scope>) -> Result<Deed, Stop> {
    let remote = given.get("remote_src").and_then(Value::to_bool).unwrap_or(false);
    let src = text_of(&given, "src")
        .filter(|src| !remote && !src.contains("://"))
        .map(str::to_owned);
    let Some(src) = src else {
        return kind(context, "unarchive", &given, scope);
    };
    let (path, bytes) = local_file(context, &src, scoped)?;
    if crate::vault::is_encrypted(&String::from_utf8_lossy(&bytes)) {
        let said = format!("{} is encrypted, and archives are taken as they are", path.display());
        return Err(Diagnostic::new("unsupported", said)
            .at(context.node.step.task.args.span, "")
            .into());
    }
    given.shift_remove("src");
    with_content(context, "unarchive", given, bytes, scope)
}

/// The pull secret as the installer's configuration takes it: a JSON text in quotes, checked, and a secret whatever it was
/// given as.
fn openshift_install(context: &Context, mut given: Map, scope: &Arc<dyn Scope>) -> Result<Deed, Stop> {
    if let Some(value) = given.get("pull_secret") {
        let keeper = context.world.loading.loader.vault.keeper();
        let text = match value {
            Value::Str(text) => text.clone(),
            other => serde_json::Value::to_string(&crate::report::json::value(other)),
        };
        let text = keeper.reveal(&text).unwrap_or(text);
        // Its own place would show it.
        let span = context.node.step.task.module_span;
        let quoted = crate::pull_secret::quoted(&text).map_err(|problem| {
            Diagnostic::new("wrong-value", format!("the pull secret {problem}"))
                .at(span, "")
                .help(
                    "it is JSON such as {\"auths\": {\"quay.io\": {\"auth\": …}}}, where `auth` is `id:pass` in base64",
                )
        })?;
        given.insert("pull_secret".to_owned(), keeper.derive("pull_secret", quoted).into());
    }
    kind(context, "openshift_install", &given, scope)
}

/// A script goes to its interpreter's standard input: nothing has to be put on the host and removed again.
fn script(context: &Context, given: &Map, scoped: &Scoped, scope: &Arc<dyn Scope>) -> Result<Deed, Stop> {
    let args = decode::<actions::Script>(context, given)?;
    let words: Vec<&str> = args.cmd.split_whitespace().collect();
    let Some((file, rest)) = words.split_first() else {
        let task = &context.node.step.task;
        return Err(Diagnostic::new("missing-argument", "`script` needs a script")
            .at(task.module_span, "")
            .into());
    };
    let (path, bytes) = local_file(context, file, scoped)?;
    let sealed = opened(context, &path, &bytes)?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let plain = sealed
        .as_deref()
        .and_then(|place| context.world.loading.loader.vault.keeper().reveal(place));
    let shebang = plain
        .as_ref()
        .unwrap_or(&text)
        .lines()
        .next()
        .and_then(|line| line.strip_prefix("#!"))
        .map(str::to_owned);
    let interpreter = args.executable.or(shebang).unwrap_or_else(|| "/bin/sh".to_owned());
    let shell = interpreter.rsplit('/').next().is_some_and(|name| name.ends_with("sh"));
    let mut argv: Vec<Value> = interpreter.split_whitespace().map(Value::from).collect();
    argv.push(if shell { "-s" } else { "-" }.into());
    argv.extend(rest.iter().map(|word| Value::from(*word)));
    let mut own = map([("argv", Value::List(argv)), ("stdin", sealed.unwrap_or(text).into())]);
    let more = [
        ("chdir", args.chdir),
        ("creates", args.creates),
        ("removes", args.removes),
    ];
    own.extend(
        more.into_iter()
            .filter_map(|(name, value)| value.map(|value| (name.to_owned(), value.into()))),
    );
    kind(context, "command", &own, scope)
}
