//! A play's tasks as meant: imports and roles put in their place, keywords inherited, tags decided.

use super::{Loading, staged};
use crate::error::{Diagnostic, Diagnostics};
use crate::playbook::role::{Entry, RoleTasks};
use crate::playbook::{Block, Item, Keywords, Need, Play, Role, RoleUse, Task, Transaction, Vars};
use crate::source::Span;
use crate::source::yaml::{Node, NodeKind};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// One task as meant, for every host of its play.
#[derive(Debug)]
pub struct Step {
    /// Names it stably: play, section and positions, such as `0/tasks/3/1`.
    pub path: String,
    /// As typed.
    pub task: Arc<Task>,
    /// Its keywords with what it inherits.
    pub keywords: Keywords,
    /// What it notifies, with what it inherits.
    pub notify: Vec<Node>,
    /// Role and include parameters, outer ones first.
    pub params: Vec<Arc<Vars>>,
    /// A task that okd-play itself put there (gathering facts, flushing handlers).
    pub implicit: bool,
    /// Whether it runs when notified.
    pub handler: bool,
    /// The transaction that stages what it does; where its keyword stands.
    pub inside: Option<Span>,
    /// The transaction that it brings to its end.
    pub commit: Option<Arc<Transaction>>,
}

impl Step {
    /// The step that a task of its transaction would be.
    #[must_use]
    pub fn calling(&self, call: &Arc<Task>) -> Step {
        Step {
            path: self.path.clone(),
            task: Arc::clone(call),
            keywords: call.keywords.within(&self.keywords),
            notify: Vec::new(),
            params: self.params.clone(),
            implicit: false,
            handler: false,
            inside: None,
            commit: None,
        }
    }

    /// The role that it belongs to.
    #[must_use]
    pub fn role(&self) -> Option<&Arc<Role>> {
        self.task.place.role.as_ref()
    }

    /// Where its relative paths are looked for: `folder` of the role and the role, then the same of its file and its play.
    #[must_use]
    pub fn folders(&self, folder: &str, play: &Path) -> Vec<PathBuf> {
        let role = self.role().map(|role| role.dir.as_path());
        let outer = [self.task.place.dir.as_path(), play];
        let mut folders: Vec<PathBuf> = role
            .into_iter()
            .chain(outer)
            .flat_map(|dir| [dir.join(folder), dir.to_path_buf()])
            .collect();
        folders.dedup();
        folders
    }

    /// Its name as far as it is known without rendering: as written, or the module's.
    #[must_use]
    pub fn label(&self) -> String {
        let name = self.task.name.as_ref().map(|name| name.to_value().to_string());
        let name = name
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| self.task.module.clone());
        match self.role().filter(|_| !self.implicit) {
            Some(role) => format!("{} : {name}", role.name),
            None => name,
        }
    }
}

/// A sequence's element.
#[derive(Debug, Clone)]
pub enum Flow {
    /// A task.
    Step(Arc<Step>),
    /// Tasks with a rescue or always part, or that do not wait for each other.
    Block(Arc<FlowBlock>),
}

/// See [`Flow::Block`].
#[derive(Debug)]
pub struct FlowBlock {
    /// Where it begins.
    pub span: Span,
    /// `block`.
    pub body: Vec<Flow>,
    /// `rescue`.
    pub rescue: Vec<Flow>,
    /// `always`.
    pub always: Vec<Flow>,
    /// Whether the tasks of the body do not wait for each other.
    pub parallel: bool,
    /// What puts in place what the body has staged.
    pub commit: Option<Arc<Step>>,
}

/// Which tasks are wanted.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Tags {
    /// `--tags`; empty means all.
    pub only: Vec<String>,
    /// `--skip-tags`.
    pub skip: Vec<String>,
}

impl Tags {
    /// Whether any are named.
    #[must_use]
    pub fn any(&self) -> bool {
        !(self.only.is_empty() && self.skip.is_empty())
    }

    /// Tags that no task has. Nothing is wrong with them, but somebody meant something by them.
    #[must_use]
    pub fn unknown(&self, there: &Tagged) -> Diagnostics {
        const WORDS: [&str; 5] = ["all", "always", "never", "tagged", "untagged"];
        let mut found = Diagnostics::default();
        if there.more {
            return found;
        }
        for (option, tags) in [("--tags", &self.only), ("--skip-tags", &self.skip)] {
            for tag in tags.iter().filter(|tag| !there.names.contains(*tag)) {
                if WORDS.contains(&tag.as_str()) {
                    continue;
                }
                let all = there.names.iter().map(String::as_str);
                let all: Vec<&str> = all.filter(|tag| !WORDS.contains(tag)).collect();
                let note = match all.is_empty() {
                    true => "no task here has a tag".to_owned(),
                    false => format!("the tags here: {}", all.join(", ")),
                };
                let one = Diagnostic::warning("unknown-tag", format!("no task has the tag `{tag}` of `{option}`"));
                found.push(one.note(note).did_you_mean(tag, all.iter().copied()));
            }
        }
        found
    }

    /// Whether a task with these tags is wanted, by Ansible's rules for `always`, `never`, `tagged`, `untagged`, `all`.
    #[must_use]
    pub fn want(&self, tags: &[String]) -> bool {
        let has = |tag: &str| tags.iter().any(|own| own == tag);
        let named = |list: &[String]| {
            list.iter().any(|tag| match tag.as_str() {
                "all" => true,
                "tagged" => !tags.is_empty() && !has("never"),
                "untagged" => tags.is_empty(),
                tag => has(tag),
            })
        };
        let wanted = if self.only.is_empty() || self.only == ["all"] {
            !has("never")
        } else {
            let explicit = named(
                &self
                    .only
                    .iter()
                    .filter(|tag| *tag != "all" || !has("never"))
                    .cloned()
                    .collect::<Vec<_>>(),
            );
            explicit || has("always")
        };
        let skipped = self.skip.iter().any(|tag| match tag.as_str() {
            "all" => !has("always"),
            "always" => has("always"),
            "tagged" => !tags.is_empty(),
            "untagged" => tags.is_empty(),
            tag => has(tag),
        });
        wanted && !skipped
    }
}

/// What surrounds a list of tasks.
#[derive(Debug, Clone, Default)]
pub struct Around {
    /// Position so far.
    pub path: String,
    /// What is inherited.
    pub keywords: Keywords,
    /// `notify` that is inherited.
    pub notify: Vec<Node>,
    /// Role and include parameters, outer ones first.
    pub params: Vec<Arc<Vars>>,
    /// Files that are being imported, to find cycles.
    pub files: Vec<PathBuf>,
    /// Whether these are handlers.
    pub handler: bool,
    /// The transaction that they are in; where its keyword stands.
    pub inside: Option<Span>,
}

impl Around {
    fn at(&self, part: &str) -> Around {
        Around {
            path: format!("{}/{part}", self.path),
            ..self.clone()
        }
    }
}

/// A play's parts.
#[derive(Debug, Clone, Default)]
pub struct Flows {
    /// Everything in order, with the flushing of handlers in its places.
    pub main: Vec<Flow>,
    /// The handlers, the roles' ones first.
    pub handlers: Vec<Arc<Step>>,
    /// Roles whose defaults and vars the whole play sees.
    pub roles: Vec<Arc<Role>>,
    /// The tags that there are, wanted or not.
    pub tags: Tagged,
}

/// The tags of some tasks, includes looked through.
#[derive(Debug, Clone, Default)]
pub struct Tagged {
    /// The tags.
    pub names: BTreeSet<String>,
    /// Whether there may be others, which only show when a step is reached.
    pub more: bool,
}

impl Tagged {
    fn add(&mut self, tags: &[String]) {
        self.more |= tags.iter().any(|tag| tag.contains("{{"));
        self.names.extend(tags.iter().cloned());
    }

    /// Takes in the tags of others.
    pub fn absorb(&mut self, other: Tagged) {
        self.more |= other.more;
        self.names.extend(other.names);
    }
}

/// Expands tasks; collects every mistake.
pub struct Flattener<'a> {
    /// What reads files and decides on tags.
    pub loading: &'a Loading,
    /// The playbook's folder.
    pub dir: &'a Path,
    /// What was found wrong.
    pub errors: &'a mut Diagnostics,
    /// Handlers that roles bring.
    pub handlers: Vec<Arc<Step>>,
    /// Roles that were used.
    pub roles: Vec<Arc<Role>>,
    seen: HashSet<String>,
    tags: Tagged,
    /// Included roles that are being looked through for tags.
    looked: Vec<String>,
}

impl<'a> Flattener<'a> {
    /// For one play, or for one include.
    pub fn new(loading: &'a Loading, dir: &'a Path, errors: &'a mut Diagnostics) -> Self {
        Flattener {
            loading,
            dir,
            errors,
            handlers: Vec::new(),
            roles: Vec::new(),
            seen: HashSet::new(),
            tags: Tagged::default(),
            looked: Vec::new(),
        }
    }

    /// A whole play.
    pub fn play(mut self, index: usize, play: &Play) -> Flows {
        let around = Around {
            path: index.to_string(),
            keywords: play.keywords.clone(),
            ..Around::default()
        };
        self.tags.add(&play.keywords.tags);
        let mut main = Vec::new();
        if play.gather_facts {
            let given = [
                ("gather_subset", &play.gather_subset),
                ("gather_timeout", &play.gather_timeout),
                ("fact_path", &play.fact_path),
            ];
            let given = given.into_iter().filter_map(|(name, node)| Some((name, node.clone()?)));
            main.push(implicit(play, &around, "setup", "Gathering Facts", given.collect()));
        }
        let mut sections = vec![self.items(&play.pre_tasks, &around.at("pre_tasks"))];
        let mut middle = Vec::new();
        for (at, role) in play.roles.iter().enumerate() {
            middle.extend(self.role_use(role, &around.at(&format!("roles/{at}")), &mut Vec::new()));
        }
        middle.extend(self.items(&play.tasks, &around.at("tasks")));
        sections.push(middle);
        sections.push(self.items(&play.post_tasks, &around.at("post_tasks")));
        for (at, section) in sections
            .into_iter()
            .enumerate()
            .filter(|(_, section)| !section.is_empty())
        {
            main.extend(section);
            let word = ("_raw_params", Node::str("flush_handlers", play.span));
            main.push(implicit(
                play,
                &around.at(&format!("flush{at}")),
                "meta",
                "flush_handlers",
                vec![word],
            ));
        }
        let handlers = self.items(
            &play.handlers,
            &Around {
                handler: true,
                ..around.at("handlers")
            },
        );
        let mut all = std::mem::take(&mut self.handlers);
        steps_of(&handlers, &mut all);
        Flows {
            main,
            handlers: all,
            roles: self.roles,
            tags: self.tags,
        }
    }

    /// A list of tasks and blocks.
    pub fn items(&mut self, items: &[Item], around: &Around) -> Vec<Flow> {
        let mut flows = Vec::new();
        for (at, item) in items.iter().enumerate() {
            let around = around.at(&at.to_string());
            match item {
                Item::Task(task) => self.task(task, &around, &mut flows),
                Item::Block(block) => self.block(block, &around, &mut flows),
            }
        }
        flows
    }

    fn block(&mut self, block: &Arc<Block>, around: &Around, flows: &mut Vec<Flow>) {
        let mut inner = around.clone();
        inner.keywords = block.keywords.within(&around.keywords);
        self.tags.add(&block.keywords.tags);
        inner.notify.extend(block.notify.iter().cloned());
        let outer = inner.clone();
        if let Some(transaction) = &block.transaction {
            self.may_begin(transaction, around);
            inner.inside = Some(transaction.span);
        } else if let Some(span) = around.inside {
            self.errors.0.extend(staged::keywords(&block.keywords, span));
        }
        let body = self.items(&block.body, &inner);
        let inner = outer;
        let rescue = self.items(&block.rescue, &inner.at("rescue"));
        let always = self.items(&block.always, &inner.at("always"));
        let commit = block.transaction.as_ref().filter(|_| !body.is_empty());
        let commit = commit.map(|transaction| Arc::new(commit_of(block, transaction, &inner)));
        if block.rescue.is_empty() && block.always.is_empty() && !block.parallel && commit.is_none() {
            flows.extend(body);
        } else if !(body.is_empty() && always.is_empty()) {
            let block = FlowBlock {
                span: block.span,
                body,
                rescue,
                always,
                parallel: block.parallel,
                commit,
            };
            flows.push(Flow::Block(Arc::new(block)));
        }
    }

    /// Whether a transaction may stand here.
    fn may_begin(&mut self, transaction: &Transaction, around: &Around) {
        let text = match around.inside {
            Some(_) => {
                "a transaction cannot stand in another one: their files are one set, or two that stand behind each other"
            }
            None if around.handler => "a transaction cannot stand among handlers; what it tells belongs to `reload`",
            None => return,
        };
        let found = Diagnostic::new("unsupported", text).at(transaction.span, "");
        self.errors.push(found.at_some(around.inside, "the outer one"));
    }

    fn task(&mut self, task: &Arc<Task>, around: &Around, flows: &mut Vec<Flow>) {
        if let Some(span) = around.inside {
            self.errors.0.extend(staged::task(task, span));
        }
        let keywords = task.keywords.within(&around.keywords);
        self.tags.add(&task.keywords.tags);
        if task.short_module().starts_with("include_") && self.loading.tags.any() {
            self.look_through(task, around);
        }
        match task.short_module() {
            "import_tasks" => self.import_tasks(
                task,
                &Around {
                    keywords,
                    ..around.clone()
                },
                flows,
            ),
            "import_role" => self.import_role(
                task,
                &Around {
                    keywords,
                    ..around.clone()
                },
                flows,
            ),
            _ if around.handler || self.loading.tags.want(&keywords.tags) => {
                let mut notify = around.notify.clone();
                notify.extend(task.notify.iter().cloned());
                flows.push(Flow::Step(Arc::new(Step {
                    path: around.path.clone(),
                    task: Arc::clone(task),
                    keywords,
                    notify,
                    params: around.params.clone(),
                    implicit: false,
                    handler: around.handler,
                    inside: around.inside,
                    commit: None,
                })));
            }
            _ => {}
        }
    }

    /// The tags of what an include will bring, as far as they can be known.
    fn look_through(&mut self, task: &Arc<Task>, around: &Around) {
        let names = match task.short_module() {
            "include_tasks" => ["file", "_raw_params"],
            "include_role" => ["name", "role"],
            _ => return,
        };
        if task.args.get("apply").is_some() {
            self.tags.more = true;
        }
        let name = names.iter().find_map(|name| task.args.get(name));
        let name = name.and_then(|node| self.loading.static_text(node).ok());
        let mut errors = Diagnostics::default();
        let mut inner = Flattener::new(self.loading, self.dir, &mut errors);
        inner.looked.clone_from(&self.looked);
        match name {
            Some(name) if task.short_module() == "include_role" => {
                if self.looked.contains(&name) {
                    return;
                }
                inner.looked.push(name.clone());
                let entry = Entry {
                    tasks: text_arg(task, "tasks_from"),
                    ..Entry::default()
                };
                let role = RoleUse {
                    span: task.args.span,
                    name,
                    vars: Vars::new(),
                    keywords: Keywords::default(),
                };
                inner.included_role(&role, &entry, around);
            }
            Some(name) => {
                let path = self.loading.task_file(&name, task.args.span, &task.place, self.dir);
                match path {
                    Ok(path) if around.files.contains(&path) => return,
                    Ok(path) => {
                        let items = self.loading.items(&path, task.args.span, &task.place, inner.errors);
                        let mut around = around.clone();
                        around.files.push(path);
                        inner.items(&items, &around);
                    }
                    Err(_) => inner.tags.more = true,
                }
            }
            None => inner.tags.more = true,
        }
        let found = std::mem::take(&mut inner.tags);
        self.tags.more |= errors.has_errors();
        self.tags.absorb(found);
    }

    fn static_arg(&mut self, task: &Task, names: &[&str]) -> Option<(String, Span)> {
        let found = names.iter().find_map(|name| task.args.get(name));
        let Some(node) = found else {
            let message = format!("`{}` needs `{}`", task.module, names.first().unwrap_or(&"a name"));
            self.errors
                .push(Diagnostic::new("missing-argument", message).at(task.module_span, ""));
            return None;
        };
        match self.loading.static_text(node) {
            Ok(text) => Some((text, node.span)),
            Err(found) => {
                let hint = format!(
                    "`{}` takes names that are known from the start",
                    task.module.replace("import", "include")
                );
                self.errors
                    .push(found.note(hint.replace("takes names that are known from the start", "can wait for them")));
                None
            }
        }
    }

    fn import_tasks(&mut self, task: &Arc<Task>, around: &Around, flows: &mut Vec<Flow>) {
        if let Some(repeat) = &task.repeat {
            let found = Diagnostic::new("loop-on-import", "`import_tasks` cannot loop").at(repeat.over.span, "");
            self.errors.push(found.help("`include_tasks` can"));
            return;
        }
        let Some((name, span)) = self.static_arg(task, &["file", "_raw_params"]) else {
            return;
        };
        let Some(path) = self
            .errors
            .absorb(self.loading.task_file(&name, span, &task.place, self.dir))
        else {
            return;
        };
        if around.files.contains(&path) {
            let found = Diagnostic::new(
                "import-cycle",
                format!("{} imports itself", crate::source::plain(&path)),
            );
            self.errors.push(found.at(span, "it is under way already"));
            return;
        }
        let items = self.loading.items(&path, span, &task.place, self.errors);
        let mut inner = around.clone();
        inner.files.push(path);
        inner.params.extend(task.keywords.vars.iter().cloned());
        flows.extend(self.items(&items, &inner));
    }

    fn import_role(&mut self, task: &Arc<Task>, around: &Around, flows: &mut Vec<Flow>) {
        let Some((name, span)) = self.static_arg(task, &["name", "role"]) else {
            return;
        };
        let entry = Entry {
            tasks: text_arg(task, "tasks_from"),
            handlers: text_arg(task, "handlers_from"),
            vars: text_arg(task, "vars_from"),
            defaults: text_arg(task, "defaults_from"),
        };
        let vars = task
            .keywords
            .vars
            .iter()
            .flat_map(|vars| vars.iter().map(|(k, v)| (k.clone(), Arc::clone(v))))
            .collect();
        let role = RoleUse {
            span,
            name,
            vars,
            keywords: Keywords::default(),
        };
        flows.extend(self.role(&role, &entry, around, &mut Vec::new(), true));
    }

    fn role_use(&mut self, role: &RoleUse, around: &Around, chain: &mut Vec<String>) -> Vec<Flow> {
        let mut around = around.clone();
        self.tags.add(&role.keywords.tags);
        around.keywords = role.keywords.within(&around.keywords);
        self.role(role, &Entry::default(), &around, chain, false)
    }

    fn role(
        &mut self,
        role: &RoleUse,
        entry: &Entry,
        around: &Around,
        chain: &mut Vec<String>,
        again: bool,
    ) -> Vec<Flow> {
        if chain.contains(&role.name) {
            chain.push(role.name.clone());
            let found = Diagnostic::new(
                "role-cycle",
                format!("roles depend on each other: {}", chain.join(" → ")),
            );
            self.errors.push(found.at(role.span, ""));
            return Vec::new();
        }
        let loaded = self.loading.loader.role(&role.name, role.span, self.dir, entry);
        let Some(loaded) = self.errors.absorb(loaded) else {
            return Vec::new();
        };
        let mut parameters: Vec<String> = role
            .vars
            .iter()
            .map(|(name, value)| format!("{name}={}", value.to_value()))
            .collect();
        parameters.sort_unstable();
        let when: Vec<String> = role
            .keywords
            .when
            .iter()
            .map(|node| node.to_value().to_string())
            .collect();
        let once = format!("{} {parameters:?} {:?} {when:?}", role.name, role.keywords.tags);
        if !again && !loaded.allow_duplicates && !self.seen.insert(once) {
            return Vec::new();
        }
        chain.push(role.name.clone());
        let flows = self.loaded(&loaded, role, around, chain, again);
        chain.pop();
        flows
    }

    /// A role that a running play includes.
    pub fn included_role(&mut self, role: &RoleUse, entry: &Entry, around: &Around) -> Vec<Flow> {
        self.role(role, entry, around, &mut Vec::new(), true)
    }

    fn loaded(
        &mut self,
        loaded: &RoleTasks,
        role: &RoleUse,
        around: &Around,
        chain: &mut Vec<String>,
        imported: bool,
    ) -> Vec<Flow> {
        let mut around = around.clone();
        let outer = around.params.clone();
        if !role.vars.is_empty() {
            around.params.push(Arc::new(role.vars.clone()));
        }
        let mut flows = Vec::new();
        for (at, dependency) in loaded.dependencies.iter().enumerate() {
            flows.extend(self.role_use(dependency, &around.at(&format!("needs{at}")), chain));
        }
        self.roles.push(Arc::clone(&loaded.role));
        let mut inner = Around {
            handler: true,
            ..around.at(&format!("{}/handlers", role.name))
        };
        if imported {
            inner.params = outer;
        }
        let handlers = self.items(&loaded.handlers, &inner);
        steps_of(&handlers, &mut self.handlers);
        flows.extend(self.items(&loaded.tasks, &around.at(&role.name)));
        flows
    }
}

/// The step that puts in place what a block has staged, whatever the block's own condition says by then.
fn commit_of(block: &Block, transaction: &Arc<Transaction>, around: &Around) -> Step {
    let span = transaction.span;
    let mut task = Task::bare(
        span,
        "transaction",
        transaction.node.clone(),
        Arc::clone(&transaction.place),
    );
    task.name = block.name.as_ref().map(|name| Node::str(name.clone(), span));
    Step {
        path: format!("{}/commit", around.path),
        task: Arc::new(task),
        keywords: Keywords {
            when: Vec::new(),
            ..around.keywords.clone()
        },
        notify: Vec::new(),
        params: around.params.clone(),
        implicit: false,
        handler: false,
        inside: None,
        commit: Some(Arc::clone(transaction)),
    }
}

/// A step that asks a host of a play for nothing, as who works there.
#[must_use]
pub fn contact(index: usize, play: &Play) -> Flow {
    let around = Around {
        path: index.to_string(),
        keywords: play.keywords.clone(),
        ..Around::default()
    };
    implicit(play, &around, "ping", "Contact", Vec::new())
}

fn implicit(play: &Play, around: &Around, module: &str, name: &str, given: Vec<(&str, Node)>) -> Flow {
    let span = play.span;
    let args = given
        .into_iter()
        .map(|(name, node)| (Node::str(name, span), node))
        .collect();
    let place = crate::playbook::Place {
        dir: play.dir.clone(),
        role: None,
    };
    let mut task = Task::bare(span, module, Node::new(NodeKind::Map(args), span), Arc::new(place));
    task.name = Some(Node::str(name, span));
    let mut keywords = Keywords {
        vars: Vec::new(),
        when: Vec::new(),
        ..around.keywords.clone()
    };
    keywords.tags.push("always".to_owned());
    Flow::Step(Arc::new(Step {
        path: format!("{}/{module}", around.path),
        task: Arc::new(task),
        keywords,
        notify: Vec::new(),
        params: Vec::new(),
        implicit: true,
        handler: false,
        inside: None,
        commit: None,
    }))
}

fn text_arg(task: &Task, name: &str) -> String {
    let given = task.args.get(name).and_then(|node| node.as_str().map(str::to_owned));
    let given = given.map(|name| name.trim_end_matches(".yml").trim_end_matches(".yaml").to_owned());
    given.unwrap_or_else(|| "main".to_owned())
}

/// Every step of some flows, in the order written.
pub fn steps_of(flows: &[Flow], steps: &mut Vec<Arc<Step>>) {
    for flow in flows {
        match flow {
            Flow::Step(step) => steps.push(Arc::clone(step)),
            Flow::Block(block) => {
                steps_of(&block.body, steps);
                steps.extend(block.commit.iter().cloned());
                steps_of(&block.rescue, steps);
                steps_of(&block.always, steps);
            }
        }
    }
}

/// The needs of a step.
#[must_use]
pub fn needs(step: &Step) -> Option<&[Need]> {
    step.task.needs.as_deref()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(only: &[&str], skip: &[&str]) -> Tags {
        let own = |list: &[&str]| list.iter().map(|tag| (*tag).to_owned()).collect();
        Tags {
            only: own(only),
            skip: own(skip),
        }
    }

    fn want(only: &[&str], skip: &[&str], own: &[&str]) -> bool {
        tags(only, skip).want(&own.iter().map(|tag| (*tag).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn tags_select_as_ansible_does() {
        assert!(want(&[], &[], &[]) && want(&[], &[], &["dns"]));
        assert!(!want(&[], &[], &["never", "debug"]));
        assert!(want(&["debug"], &[], &["never", "debug"]));
        assert!(want(&["dns"], &[], &["dns", "web"]) && !want(&["dns"], &[], &["web"]) && !want(&["dns"], &[], &[]));
        assert!(want(&["dns"], &[], &["always"]) && !want(&["dns"], &["always"], &["always"]));
        assert!(!want(&[], &["dns"], &["dns"]) && want(&[], &["dns"], &["web"]));
        assert!(want(&["tagged"], &[], &["dns"]) && !want(&["tagged"], &[], &[]));
        assert!(!want(&["tagged"], &[], &["never", "dns"]));
        assert!(want(&["untagged"], &[], &[]) && !want(&["untagged"], &[], &["dns"]));
        assert!(want(&["all"], &[], &["dns"]) && !want(&["all"], &[], &["never"]));
        assert!(!want(&[], &["tagged"], &["dns"]) && !want(&[], &["untagged"], &[]));
    }
}
