//! Reads playbooks: files to plays, `import_playbook` followed. Everything that can be found wrong is found in one go.

use super::keywords::{self, Keywords, boolean, names, text, vars};
use super::{Batch, Need, Place, Play, Playbook, Prompt, Vars, role, task};
use crate::error::{Diagnostic, Diagnostics};
use crate::source::yaml::{Node, NodeKind};
use crate::source::{SourceMap, Span, folder_of};
use crate::vault::Vault;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The keywords of a play, besides those that plays, blocks and tasks share.
pub const PLAY_KEYS: &[&str] = &[
    "name",
    "hosts",
    "vars_files",
    "vars_prompt",
    "gather_facts",
    "gather_subset",
    "gather_timeout",
    "fact_path",
    "pre_tasks",
    "roles",
    "tasks",
    "post_tasks",
    "handlers",
    "serial",
    "max_fail_percentage",
    "strategy",
    "order",
    "force_handlers",
    "needs",
    "import_playbook",
];

/// Reads YAML files for playbooks and roles.
#[derive(Debug, Clone)]
pub struct Loader {
    /// Every file that was read.
    pub sources: SourceMap,
    /// Further folders of roles, after those beside the playbook.
    pub roles_path: Vec<PathBuf>,
    /// Opens what is encrypted.
    pub vault: Arc<Vault>,
}

impl Loader {
    /// A loader that looks for roles where Ansible does: beside the playbook, `$ANSIBLE_ROLES_PATH`, the user's and the
    /// system's folder.
    #[must_use]
    pub fn new(sources: SourceMap, roles_path: Vec<PathBuf>, vault: Arc<Vault>) -> Self {
        Loader {
            sources,
            roles_path,
            vault,
        }
    }

    /// One YAML document of plays or tasks; `!vault` values in it are opened.
    ///
    /// # Errors
    /// When the file cannot be read, is not YAML, or is encrypted as a whole.
    pub fn yaml(&self, path: &Path, asked: Option<Span>) -> Result<Node, Diagnostics> {
        let file = self.sources.read(path, asked)?;
        if crate::vault::is_encrypted(&self.sources.file(file).text) {
            let said = format!("{} is encrypted; plays and tasks stand in plain", path.display());
            return Err(Diagnostic::new("vault", said)
                .at_some(asked, "asked for here")
                .help("what is secret in them goes into variables, and those may be encrypted")
                .into());
        }
        self.vault.parse(&self.sources, file)
    }

    /// One YAML document of variables, which may be encrypted as a whole.
    ///
    /// # Errors
    /// When the file cannot be read or decrypted, or is not YAML.
    pub fn variables(&self, path: &Path, asked: Option<Span>) -> Result<Node, Diagnostics> {
        self.vault.parse(&self.sources, self.sources.read(path, asked)?)
    }

    pub(super) fn role_folders(&self, beside: &Path) -> Vec<PathBuf> {
        let mut folders = vec![beside.join("roles"), beside.to_path_buf()];
        folders.extend(beside.parent().map(|parent| parent.join("roles")));
        folders.extend(self.roles_path.iter().cloned());
        folders
    }

    /// Reads a playbook with everything that it imports.
    ///
    /// # Errors
    /// Every mistake in it.
    pub fn playbook(&self, path: &Path) -> Result<Playbook, Diagnostics> {
        let mut errors = Diagnostics::default();
        let mut plays = Vec::new();
        self.plays(
            path,
            None,
            &Imported::default(),
            &mut Vec::new(),
            &mut plays,
            &mut errors,
        );
        errors.into_result(Playbook {
            path: path.to_path_buf(),
            plays,
        })
    }

    /// Plays of a tree that is in memory.
    ///
    /// # Errors
    /// Every mistake in it.
    pub fn parsed(&self, node: &Node, dir: &Path) -> Result<Vec<Arc<Play>>, Diagnostics> {
        let mut errors = Diagnostics::default();
        let outer = Imported::default();
        let plays = node
            .items()
            .filter_map(|item| self.play(item, dir, &outer, &mut errors))
            .map(Arc::new)
            .collect();
        errors.into_result(plays)
    }

    fn plays(
        &self,
        path: &Path,
        asked: Option<Span>,
        outer: &Imported,
        chain: &mut Vec<PathBuf>,
        plays: &mut Vec<Arc<Play>>,
        errors: &mut Diagnostics,
    ) {
        if let Some(span) = asked.filter(|_| chain.iter().any(|seen| seen == path)) {
            let found = Diagnostic::new("import-cycle", format!("{} imports itself", crate::source::plain(path)));
            errors.push(found.at(span, "it is under way already"));
            return;
        }
        let Some(node) = errors.absorb(self.yaml(path, asked)) else {
            return;
        };
        let dir = folder_of(path);
        let NodeKind::Seq(list) = &node.kind else {
            let found = Diagnostic::new("wrong-type", "a playbook is a list of plays");
            errors.push(
                found
                    .at(node.span, format!("this is {}", node.type_name()))
                    .help("begin with `- hosts: …`"),
            );
            return;
        };
        chain.push(path.to_path_buf());
        for item in list {
            if let Some((_, file)) = item.entry("import_playbook") {
                let Some(inner) = errors.absorb(imported(item, outer)) else {
                    continue;
                };
                let Some(name) = errors.absorb(text(file, "a playbook's path")) else {
                    continue;
                };
                self.plays(&dir.join(name), Some(file.span), &inner, chain, plays, errors);
            } else if let Some(play) = self.play(item, &dir, outer, errors) {
                plays.push(Arc::new(play));
            }
        }
        chain.pop();
    }

    fn play(&self, node: &Node, dir: &Path, outer: &Imported, errors: &mut Diagnostics) -> Option<Play> {
        let NodeKind::Map(entries) = &node.kind else {
            let found = Diagnostic::new("wrong-type", "a play is a mapping with `hosts` and `tasks`");
            errors.push(found.at(node.span, format!("this is {}", node.type_name())));
            return None;
        };
        let Some(hosts) = node.get("hosts") else {
            let found = Diagnostic::new("missing-key", "a play needs `hosts`").at(node.span, "");
            errors.push(
                match entries
                    .iter()
                    .any(|(key, _)| crate::actions::is_module(key.as_str().unwrap_or_default()))
                {
                    true => found.help("this looks like a task: tasks stand below a play's `tasks:`"),
                    false => found.help("`hosts: all` means every host of the inventory"),
                },
            );
            return None;
        };
        let mut play = Play::empty(node.span, dir, &hosts.as_names(&self.sources));
        play.keywords.clone_from(&outer.keywords);
        let place = Arc::new(Place {
            dir: dir.to_path_buf(),
            role: None,
        });
        for (key, value) in entries {
            if let Err(found) = play.take(key, value, &place, errors) {
                errors.push(found);
            }
        }
        if let Some(needs) = play.needs.as_mut().filter(|needs| needs.is_empty()) {
            needs.clone_from(&outer.needs);
        }
        play.keywords = play.keywords.within(&outer.keywords);
        play.vars
            .extend(outer.vars.iter().map(|(name, value)| (name.clone(), Arc::clone(value))));
        Some(play)
    }
}

/// What `import_playbook` gives to the plays that it brings.
#[derive(Debug, Clone, Default)]
struct Imported {
    vars: Vars,
    keywords: Keywords,
    /// What plays that wait for nothing wait for here.
    needs: Vec<Need>,
}

fn imported(node: &Node, outer: &Imported) -> Result<Imported, Diagnostic> {
    let mut inner = Imported {
        vars: outer.vars.clone(),
        keywords: Keywords::default(),
        needs: outer.needs.clone(),
    };
    for (key, value) in node.entries() {
        match text(key, "a keyword")?.as_str() {
            "import_playbook" | "ansible.builtin.import_playbook" | "name" => {}
            "vars" => inner.vars.extend(vars(value)?),
            "needs" => inner.needs = task::needs(value)?,
            name @ ("tags" | "when") => {
                inner.keywords.take(key, name, value)?;
            }
            name => {
                return Err(
                    Diagnostic::new("unknown-key", format!("`{name}` is not a keyword of `import_playbook`"))
                        .at(key.span, "")
                        .did_you_mean(name, ["name", "vars", "needs", "tags", "when"]),
                );
            }
        }
    }
    inner.keywords = inner.keywords.within(&outer.keywords);
    Ok(inner)
}

impl Play {
    fn empty(span: Span, dir: &Path, hosts: &Node) -> Play {
        Play {
            span,
            dir: dir.to_path_buf(),
            name: hosts
                .as_str()
                .map_or_else(|| hosts.to_value().to_string(), str::to_owned),
            hosts: hosts.clone(),
            vars: Vars::new(),
            vars_files: Vec::new(),
            vars_prompt: Vec::new(),
            gather_facts: true,
            gather_subset: None,
            gather_timeout: None,
            fact_path: None,
            pre_tasks: Vec::new(),
            roles: Vec::new(),
            tasks: Vec::new(),
            post_tasks: Vec::new(),
            handlers: Vec::new(),
            keywords: Keywords::default(),
            serial: Vec::new(),
            max_fail_percentage: None,
            linear: false,
            order: None,
            force_handlers: false,
            needs: None,
        }
    }

    fn take(
        &mut self,
        key: &Node,
        value: &Node,
        place: &Arc<Place>,
        errors: &mut Diagnostics,
    ) -> Result<(), Diagnostic> {
        match text(key, "a keyword")?.as_str() {
            "name" => self.name = text(value, "a name")?,
            "hosts" => {}
            "vars" => self.vars = vars(value)?,
            "vars_files" => {
                self.vars_files = match &value.kind {
                    NodeKind::Seq(list) => list.clone(),
                    NodeKind::Null => Vec::new(),
                    _ => vec![value.clone()],
                }
            }
            "vars_prompt" => self.vars_prompt = prompts(value)?,
            "gather_facts" => self.gather_facts = boolean(value, "gather_facts")?,
            "gather_subset" => self.gather_subset = Some(value.clone()),
            "gather_timeout" => self.gather_timeout = Some(value.clone()),
            "fact_path" => self.fact_path = Some(value.clone()),
            "pre_tasks" => self.pre_tasks = task::items(value, "pre_tasks", place, errors),
            "roles" => self.roles = role::uses(value, errors),
            "tasks" => self.tasks = task::items(value, "tasks", place, errors),
            "post_tasks" => self.post_tasks = task::items(value, "post_tasks", place, errors),
            "handlers" => self.handlers = task::items(value, "handlers", place, errors),
            "serial" => self.serial = batches(value)?,
            "max_fail_percentage" => self.max_fail_percentage = Some(percentage(value)?),
            "strategy" => self.linear = strategy(value)?,
            "order" => self.order = Some(order(value)?),
            "force_handlers" => self.force_handlers = boolean(value, "force_handlers")?,
            "needs" => self.needs = Some(task::needs(value)?),
            name if self.keywords.take(key, name, value)? => {
                if name == "vars" {
                    self.keywords.vars.clear();
                }
            }
            name => {
                let known = PLAY_KEYS.iter().chain(keywords::NAMES).copied();
                return Err(
                    Diagnostic::new("unknown-key", format!("`{name}` is not a keyword of a play"))
                        .at(key.span, "")
                        .did_you_mean(name, known),
                );
            }
        }
        Ok(())
    }
}

fn prompts(node: &Node) -> Result<Vec<Prompt>, Diagnostic> {
    node.items()
        .map(|item| {
            let name = item
                .get("name")
                .ok_or_else(|| Diagnostic::new("missing-key", "a prompt needs `name`").at(item.span, ""))?;
            let name = keywords::variable_name(name)?;
            let known = ["name", "prompt", "private", "default"];
            for (key, _) in item.entries() {
                let word = text(key, "a keyword")?;
                if !known.contains(&word.as_str()) {
                    let found = Diagnostic::new("unknown-key", format!("`{word}` is not a keyword of `vars_prompt`"));
                    return Err(found.at(key.span, "").did_you_mean(&word, known));
                }
            }
            let prompt = item.get("prompt").map(|node| text(node, "a question")).transpose()?;
            Ok(Prompt {
                prompt: prompt.unwrap_or_else(|| name.clone()),
                private: item
                    .get("private")
                    .map(|node| boolean(node, "private"))
                    .transpose()?
                    .unwrap_or(true),
                default: item.get("default").map(|node| text(node, "a default")).transpose()?,
                name,
            })
        })
        .collect()
}

fn batches(node: &Node) -> Result<Vec<Batch>, Diagnostic> {
    let list: Vec<&Node> = match &node.kind {
        NodeKind::Seq(list) => list.iter().collect(),
        _ => vec![node],
    };
    list.into_iter()
        .map(|node| {
            let word = text(node, "a number of hosts or a percentage")?;
            let batch = match word.strip_suffix('%') {
                Some(percent) => percent.trim().parse().ok().map(Batch::Percent),
                None => word.trim().parse().ok().filter(|count| *count > 0).map(Batch::Count),
            };
            batch.ok_or_else(|| {
                Diagnostic::new("wrong-type", "`serial` is a number of hosts from 1 on, or a percentage")
                    .at(node.span, "")
                    .help("`serial: 1` runs one host after the other")
            })
        })
        .collect()
}

fn percentage(node: &Node) -> Result<f64, Diagnostic> {
    let number = node.to_value().to_string().parse().ok();
    number.filter(|number| (0.0..=100.0).contains(number)).ok_or_else(|| {
        Diagnostic::new("wrong-type", "`max_fail_percentage` is a number from 0 to 100").at(node.span, "")
    })
}

fn strategy(node: &Node) -> Result<bool, Diagnostic> {
    match keywords::text(node, "a strategy")?.as_str() {
        "linear" | "ansible.builtin.linear" => Ok(true),
        "free" | "ansible.builtin.free" | "host_pinned" | "ansible.builtin.host_pinned" => Ok(false),
        other => Err(
            Diagnostic::new("unknown-word", format!("there is no strategy `{other}`"))
                .at(node.span, "")
                .did_you_mean(other, ["linear", "free", "host_pinned"]),
        ),
    }
}

fn order(node: &Node) -> Result<String, Diagnostic> {
    let known = ["inventory", "sorted", "reverse_sorted", "reverse_inventory"];
    let word = names(node, "an order")?.join(",");
    if known.contains(&word.as_str()) {
        return Ok(word);
    }
    let found = Diagnostic::new("unknown-word", format!("there is no order `{word}`")).at(node.span, "");
    Err(found.did_you_mean(&word, known))
}
