//! Roles: a folder of tasks, handlers, defaults, vars and dependencies, read from where Ansible looks for it.

use super::keywords::{Keywords, text, vars};
use super::load::Loader;
use super::{Item, Place, RoleUse, Vars};
use crate::error::{Diagnostic, Diagnostics};
use crate::source::Span;
use crate::source::yaml::{Node, NodeKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a role's tasks know of it.
#[derive(Debug)]
pub struct Role {
    /// Its name as it was asked for.
    pub name: String,
    /// Its folder.
    pub dir: PathBuf,
    /// `defaults/main.yml`.
    pub defaults: Vars,
    /// `vars/main.yml`.
    pub vars: Vars,
}

/// A role with its tasks.
#[derive(Debug)]
pub struct RoleTasks {
    /// What the tasks know.
    pub role: Arc<Role>,
    /// `tasks/main.yml`.
    pub tasks: Vec<Item>,
    /// `handlers/main.yml`.
    pub handlers: Vec<Item>,
    /// `meta/main.yml: dependencies`.
    pub dependencies: Vec<RoleUse>,
    /// `meta/main.yml: allow_duplicates`.
    pub allow_duplicates: bool,
}

/// Which of a role's files are read.
#[derive(Debug, Clone)]
pub struct Entry {
    /// `tasks_from`.
    pub tasks: String,
    /// `handlers_from`.
    pub handlers: String,
    /// `vars_from`.
    pub vars: String,
    /// `defaults_from`.
    pub defaults: String,
}

impl Default for Entry {
    fn default() -> Self {
        let main = || "main".to_owned();
        Entry {
            tasks: main(),
            handlers: main(),
            vars: main(),
            defaults: main(),
        }
    }
}

impl Loader {
    /// Reads a role.
    ///
    /// # Errors
    /// When there is no such role, or a file of it holds mistakes.
    pub fn role(&self, name: &str, asked: Span, beside: &Path, entry: &Entry) -> Result<Arc<RoleTasks>, Diagnostics> {
        let dir = self.role_dir(name, asked, beside)?;
        let mut errors = Diagnostics::default();
        let defaults = self.role_vars(&dir, "defaults", &entry.defaults, asked, &mut errors);
        let variables = self.role_vars(&dir, "vars", &entry.vars, asked, &mut errors);
        let role = Arc::new(Role {
            name: name.to_owned(),
            dir: dir.clone(),
            defaults,
            vars: variables,
        });
        let place = |folder: &str| {
            Arc::new(Place {
                dir: dir.join(folder),
                role: Some(Arc::clone(&role)),
            })
        };
        let tasks = self.role_items(&dir, "tasks", &entry.tasks, &place("tasks"), asked, &mut errors);
        let handlers = self.role_items(
            &dir,
            "handlers",
            &entry.handlers,
            &place("handlers"),
            asked,
            &mut errors,
        );
        let (dependencies, allow_duplicates) = self.role_meta(&dir, asked, &mut errors);
        errors.into_result(Arc::new(RoleTasks {
            role,
            tasks,
            handlers,
            dependencies,
            allow_duplicates,
        }))
    }

    fn role_dir(&self, name: &str, asked: Span, beside: &Path) -> Result<PathBuf, Diagnostic> {
        let candidates = self.role_folders(beside);
        let short = name.rsplit('.').next().unwrap_or(name);
        let found = candidates
            .iter()
            .flat_map(|folder| [folder.join(name), folder.join(short)])
            .find(|dir| self.sources.disk().is_dir(dir));
        found.ok_or_else(|| {
            let names: Vec<String> = candidates.iter().flat_map(|folder| self.folders(folder)).collect();
            let places: indexmap::IndexSet<String> =
                candidates.iter().map(|folder| crate::source::plain(folder)).collect();
            let places: Vec<String> = places.into_iter().collect();
            Diagnostic::new("no-role", format!("there is no role `{name}`"))
                .at(asked, "")
                .note(format!("looked in {}", places.join(", ")))
                .did_you_mean(name, names.iter().map(String::as_str))
        })
    }

    fn role_file(&self, dir: &Path, kind: &str, from: &str) -> Option<PathBuf> {
        let base = dir.join(kind).join(from);
        let with = |extension: &str| PathBuf::from(format!("{}{extension}", base.display()));
        [base.clone(), with(".yml"), with(".yaml")]
            .into_iter()
            .find(|path| self.sources.disk().is_file(path))
    }

    fn folders(&self, folder: &Path) -> Vec<String> {
        let disk = self.sources.disk();
        let names = disk.names(folder).into_iter();
        names.filter(|name| disk.is_dir(&folder.join(name))).collect()
    }

    fn role_yaml(&self, dir: &Path, kind: &str, from: &str, asked: Span, errors: &mut Diagnostics) -> Option<Node> {
        match self.role_file(dir, kind, from) {
            Some(path) if ["vars", "defaults"].contains(&kind) => errors.absorb(self.variables(&path, Some(asked))),
            Some(path) => errors.absorb(self.yaml(&path, Some(asked))),
            None if from == "main" => None,
            None => {
                let names = self.sources.disk().names(&dir.join(kind));
                let names = names.iter().map(|name| name.split('.').next().unwrap_or(name));
                let message = format!("the role has no file {kind}/{from}.yml");
                let found = Diagnostic::new("no-file", message).at(asked, "");
                let found = found.note(format!("in {}", crate::source::plain(dir)));
                errors.push(found.did_you_mean(from, names));
                None
            }
        }
    }

    fn role_vars(&self, dir: &Path, kind: &str, from: &str, asked: Span, errors: &mut Diagnostics) -> Vars {
        let node = self.role_yaml(dir, kind, from, asked, errors);
        node.and_then(|node| errors.absorb(vars(&node))).unwrap_or_default()
    }

    fn role_items(
        &self,
        dir: &Path,
        kind: &str,
        from: &str,
        place: &Arc<Place>,
        asked: Span,
        errors: &mut Diagnostics,
    ) -> Vec<Item> {
        let node = self.role_yaml(dir, kind, from, asked, errors);
        node.map(|node| super::task::items(&node, kind, place, errors))
            .unwrap_or_default()
    }

    fn role_meta(&self, dir: &Path, asked: Span, errors: &mut Diagnostics) -> (Vec<RoleUse>, bool) {
        let Some(meta) = self.role_yaml(dir, "meta", "main", asked, errors) else {
            return (Vec::new(), false);
        };
        let known = [
            "dependencies",
            "allow_duplicates",
            "galaxy_info",
            "collections",
            "argument_specs",
        ];
        if meta.as_map().is_some() {
            for (key, _) in meta.entries() {
                let word = key.to_value().to_string();
                if !known.contains(&word.as_str()) {
                    let text = format!("`{word}` is not a keyword of a role's meta");
                    errors.push(
                        Diagnostic::new("unknown-key", text)
                            .at(key.span, "")
                            .did_you_mean(&word, known),
                    );
                }
            }
        }
        let uses = meta
            .get("dependencies")
            .map(|node| uses(node, errors))
            .unwrap_or_default();
        let duplicates = meta
            .get("allow_duplicates")
            .and_then(|node| node.to_value().to_bool())
            .unwrap_or(false);
        (uses, duplicates)
    }
}

/// `roles:` or `dependencies:`: names, or mappings with `role`, keywords and parameters.
pub fn uses(node: &Node, errors: &mut Diagnostics) -> Vec<RoleUse> {
    node.items().filter_map(|item| errors.absorb(role_use(item))).collect()
}

fn role_use(node: &Node) -> Result<RoleUse, Diagnostic> {
    let mut role = RoleUse {
        span: node.span,
        name: String::new(),
        vars: Vars::new(),
        keywords: Keywords::default(),
    };
    let NodeKind::Map(entries) = &node.kind else {
        role.name = text(node, "a role's name")?;
        return Ok(role);
    };
    for (key, value) in entries {
        match text(key, "a keyword")?.as_str() {
            "role" | "name" => {
                role.name = text(value, "a role's name")?;
                role.span = value.span;
            }
            "vars" => role.vars.extend(vars(value)?),
            "version" | "src" | "scm" => {}
            name if role.keywords.take(key, name, value)? => {}
            name => {
                role.vars.insert(name.to_owned(), Arc::new(value.clone()));
            }
        }
    }
    if role.name.is_empty() {
        return Err(Diagnostic::new("missing-key", "a role needs its name")
            .at(node.span, "")
            .help("`- role: NAME`"));
    }
    Ok(role)
}
