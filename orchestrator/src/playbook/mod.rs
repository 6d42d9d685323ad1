//! A playbook as typed: plays, blocks, tasks, roles, with the place of everything. No meaning is added here but
//! Ansible's spelling of it; `site` makes of it what is meant.

pub mod keywords;
pub mod load;
pub mod role;
pub mod task;
pub mod transaction;

pub use keywords::Keywords;
pub use role::Role;
pub use transaction::Transaction;

use crate::source::Span;
use crate::source::yaml::Node;
use indexmap::IndexMap;
use std::path::PathBuf;
use std::sync::Arc;

/// Variables as written: raw, to be rendered when they are used.
pub type Vars = IndexMap<String, Arc<Node>>;

/// All plays, `import_playbook` followed.
#[derive(Debug, Clone)]
pub struct Playbook {
    /// The file that was named on the command line.
    pub path: PathBuf,
    /// In the order in which they are written.
    pub plays: Vec<Arc<Play>>,
}

/// One play.
#[derive(Debug, Clone)]
pub struct Play {
    /// Where it begins.
    pub span: Span,
    /// The folder of its file: roles, templates, files and vars are looked for beside it.
    pub dir: PathBuf,
    /// Its name, or its `hosts` where it has none.
    pub name: String,
    /// Which hosts; may be a template.
    pub hosts: Node,
    /// `vars`.
    pub vars: Vars,
    /// `vars_files`: each a path or a list of which the first that is there counts.
    pub vars_files: Vec<Node>,
    /// `vars_prompt`.
    pub vars_prompt: Vec<Prompt>,
    /// `gather_facts`; on where it is not said.
    pub gather_facts: bool,
    /// `gather_subset`.
    pub gather_subset: Option<Node>,
    /// `gather_timeout` in seconds.
    pub gather_timeout: Option<Node>,
    /// `fact_path`: where a host keeps facts of its own.
    pub fact_path: Option<Node>,
    /// `pre_tasks`.
    pub pre_tasks: Vec<Item>,
    /// `roles`.
    pub roles: Vec<RoleUse>,
    /// `tasks`.
    pub tasks: Vec<Item>,
    /// `post_tasks`.
    pub post_tasks: Vec<Item>,
    /// `handlers`.
    pub handlers: Vec<Item>,
    /// What its tasks inherit.
    pub keywords: Keywords,
    /// `serial`: sizes of batches.
    pub serial: Vec<Batch>,
    /// `max_fail_percentage`.
    pub max_fail_percentage: Option<f64>,
    /// `strategy: linear`: hosts in lockstep.
    pub linear: bool,
    /// `order` of hosts.
    pub order: Option<String>,
    /// `force_handlers`.
    pub force_handlers: bool,
    /// `needs`; `None` waits for the play written before it.
    pub needs: Option<Vec<Need>>,
}

/// How many hosts at once.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Batch {
    /// So many.
    Count(usize),
    /// So many of a hundred.
    Percent(f64),
}

/// A name in `needs`.
#[derive(Debug, Clone)]
pub struct Need {
    /// `task`, `play` or `play/task`.
    pub name: String,
    /// Where it is written.
    pub span: Span,
}

/// A question that is asked before a play.
#[derive(Debug, Clone)]
pub struct Prompt {
    /// The variable.
    pub name: String,
    /// What is asked.
    pub prompt: String,
    /// Whether the answer is not echoed; Ansible's default is yes.
    pub private: bool,
    /// The answer where nothing is typed.
    pub default: Option<String>,
}

/// A role as a play or a dependency names it.
#[derive(Debug, Clone)]
pub struct RoleUse {
    /// Where it is named.
    pub span: Span,
    /// Its name.
    pub name: String,
    /// Parameters and `vars`.
    pub vars: Vars,
    /// What its tasks inherit.
    pub keywords: Keywords,
}

/// A task or a block.
#[derive(Debug, Clone)]
pub enum Item {
    /// A task.
    Task(Arc<Task>),
    /// A block.
    Block(Arc<Block>),
}

/// Where a task's relative paths start.
#[derive(Debug, Clone)]
pub struct Place {
    /// The folder of the file that it is written in.
    pub dir: PathBuf,
    /// The role that it belongs to.
    pub role: Option<Arc<Role>>,
}

/// Several tasks with what to do when one of them fails.
#[derive(Debug, Clone)]
pub struct Block {
    /// Where it begins.
    pub span: Span,
    /// Its name.
    pub name: Option<String>,
    /// `block`.
    pub body: Vec<Item>,
    /// `rescue`.
    pub rescue: Vec<Item>,
    /// `always`.
    pub always: Vec<Item>,
    /// `parallel`: its tasks do not wait for each other.
    pub parallel: bool,
    /// `transaction`: its files are one set.
    pub transaction: Option<Arc<Transaction>>,
    /// What its tasks inherit.
    pub keywords: Keywords,
    /// `notify`, inherited by its tasks.
    pub notify: Vec<Node>,
}

impl Block {
    /// A block without anything.
    #[must_use]
    pub fn bare(span: Span) -> Block {
        Block {
            span,
            name: None,
            body: Vec::new(),
            rescue: Vec::new(),
            always: Vec::new(),
            parallel: false,
            transaction: None,
            keywords: Keywords::default(),
            notify: Vec::new(),
        }
    }
}

/// One task as typed.
#[derive(Debug, Clone)]
pub struct Task {
    /// Where it begins.
    pub span: Span,
    /// Its name; may be a template.
    pub name: Option<Node>,
    /// The module as written.
    pub module: String,
    /// Where the module's name stands.
    pub module_span: Span,
    /// Its arguments: a mapping, or free-form text under the key `_raw_params`.
    pub args: Node,
    /// Where its relative paths start.
    pub place: Arc<Place>,
    /// What it may share with blocks and plays.
    pub keywords: Keywords,
    /// `register`.
    pub register: Option<String>,
    /// `loop` or `with_…`.
    pub repeat: Option<Repeat>,
    /// `until`.
    pub until: Option<Node>,
    /// `retries`; 3 where `until` is given without it.
    pub retries: Option<Node>,
    /// `delay` in seconds; 5 where it is not said.
    pub delay: Option<Node>,
    /// `changed_when`.
    pub changed_when: Option<Node>,
    /// `failed_when`.
    pub failed_when: Option<Node>,
    /// `notify`.
    pub notify: Vec<Node>,
    /// `listen`, on handlers.
    pub listen: Vec<String>,
    /// `needs`; `None` waits for the task written before it.
    pub needs: Option<Vec<Need>>,
    /// `async` in seconds.
    pub r#async: Option<Node>,
    /// `poll` in seconds; 0 would leave the task behind while it runs.
    pub poll: Option<Node>,
}

/// A loop.
#[derive(Debug, Clone)]
pub struct Repeat {
    /// `loop`, or the lookup of `with_…` (`items`, `dict`, …).
    pub lookup: Option<String>,
    /// Over what.
    pub over: Node,
    /// `loop_control: loop_var`; `item`.
    pub var: String,
    /// `loop_control: index_var`.
    pub index_var: Option<String>,
    /// `loop_control: label`.
    pub label: Option<Node>,
    /// `loop_control: pause` in seconds.
    pub pause: Option<Node>,
    /// `loop_control: extended`.
    pub extended: bool,
    /// `loop_control: extended_allitems`: whether `ansible_loop` holds the whole list too.
    pub all_items: bool,
}

impl Task {
    /// A task with nothing but a module and its arguments.
    #[must_use]
    pub fn bare(span: Span, module: &str, args: Node, place: Arc<Place>) -> Task {
        Task {
            span,
            name: None,
            module: module.to_owned(),
            module_span: span,
            args,
            place,
            keywords: Keywords::default(),
            register: None,
            repeat: None,
            until: None,
            retries: None,
            delay: None,
            changed_when: None,
            failed_when: None,
            notify: Vec::new(),
            listen: Vec::new(),
            needs: None,
            r#async: None,
            poll: None,
        }
    }

    /// The word of `meta`, where the task is one and its word is no template.
    #[must_use]
    pub fn meta(&self) -> Option<&str> {
        let word = self.args.get("_raw_params").or_else(|| self.args.get("free_form"));
        word.and_then(Node::as_str).filter(|_| self.short_module() == "meta")
    }

    /// The module's short name: `ansible.builtin.copy` and `ansible.legacy.copy` are `copy`.
    #[must_use]
    pub fn short_module(&self) -> &str {
        short(&self.module)
    }
}

/// A module's name without Ansible's own collection.
#[must_use]
pub fn short(module: &str) -> &str {
    module
        .strip_prefix("ansible.builtin.")
        .or_else(|| module.strip_prefix("ansible.legacy."))
        .unwrap_or(module)
}
