//! From the command line to a site: where the inventory is, what `-e` says, which plays and steps there are.

use super::args::SiteArgs;
use crate::error::{Diagnostic, Diagnostics};
use crate::graph::build::Graph;
use crate::inventory::{Inventory, InventorySource, LOCALHOST};
use crate::playbook::load::Loader;
use crate::playbook::{Playbook, Vars, keywords};
use crate::run::args as task_args;
use crate::site::{Loading, Site, Tags, Wanted, check};
use crate::source::yaml::{self, Node, NodeKind};
use crate::source::{FileId, SourceMap};
use crate::template::{Engine, Options, SecretStore};
use crate::vault::Vault;
use okd_agent::secret::{Secret, Secrets};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Reads inventory and playbook, and checks everything that can be checked before anything is contacted.
///
/// # Errors
/// Every mistake that was found.
pub fn site(
    sources: &SourceMap,
    playbook: &Path,
    args: &SiteArgs,
    tags: Tags,
    start_at: Option<String>,
    ask: &mut dyn FnMut(&crate::playbook::Prompt) -> Option<String>,
) -> Result<Site, Diagnostics> {
    let from = From {
        vault: super::unlock::vault(&args.vault)?,
        roles: roles(),
    };
    built(sources, from, playbook, args, tags, start_at, ask)
}

/// What a site is read with, besides what the command line names.
pub struct From {
    /// Opens what is encrypted.
    pub vault: Arc<Vault>,
    /// See [`roles`].
    pub roles: Vec<PathBuf>,
}

/// As [`site`], with what was opened and found out before.
///
/// # Errors
/// Every mistake that was found.
pub fn built(
    sources: &SourceMap,
    from: From,
    playbook: &Path,
    args: &SiteArgs,
    tags: Tags,
    start_at: Option<String>,
    ask: &mut dyn FnMut(&crate::playbook::Prompt) -> Option<String>,
) -> Result<Site, Diagnostics> {
    let From { vault, roles } = from;
    let mut extra = extra_vars(sources, &args.extra_vars, &vault)?;
    let mut loading = Loading {
        loader: Loader::new(sources.clone(), roles, Arc::clone(&vault)),
        ..loading(sources, tags, &extra, &vault)
    };
    let from = inventory_of(sources, &args.inventory, playbook.parent());
    let (book, inventory) = rayon::join(
        || loading.loader.playbook(playbook),
        || Inventory::load_with(sources, from.as_deref().unwrap_or_default(), Arc::clone(&vault)),
    );
    let mut errors = Diagnostics::default();
    let (book, inventory) = (errors.absorb(book), errors.absorb(inventory));
    if !book.as_ref().is_some_and(stays_here) {
        errors.absorb(from);
    }
    let (Some(book), Some(inventory), true) = (book, inventory, errors.is_empty()) else {
        return Err(errors);
    };
    let answers = answers(&book, &mut extra, sources, &vault, ask)?;
    // Among them are answers to private questions, which are secrets by now.
    loading.extra = Arc::new(extra.clone());
    let wanted = Wanted {
        tags: loading.tags.clone(),
        limit: args.limit.clone(),
        extra,
        answers,
        start_at,
    };
    let mut site = Site::build(loading, inventory, &book, &wanted)?;
    let mut errors = site.cross_check();
    for step in site.plays.iter().flat_map(|play| play.steps()) {
        task_args::check(&step, &mut errors);
    }
    check::check(&site, &mut errors);
    errors.absorb(Graph::check(&site));
    errors.into_result(site)
}

/// The answers to the questions of a playbook; what is given beforehand and is private is made a secret.
fn answers(
    book: &Playbook,
    extra: &mut Vars,
    sources: &SourceMap,
    vault: &Arc<Vault>,
    ask: &mut dyn FnMut(&crate::playbook::Prompt) -> Option<String>,
) -> Result<Vars, Diagnostic> {
    let mut answers = Vars::new();
    for prompt in book.plays.iter().flat_map(|play| &play.vars_prompt) {
        if let Some(given) = extra.get_mut(&prompt.name) {
            if prompt.private {
                *given = Arc::new(private(&prompt.name, given, vault));
            }
            continue;
        }
        if answers.contains_key(&prompt.name) {
            continue;
        }
        let Some(answer) = ask(prompt).or_else(|| prompt.default.clone()) else {
            let text = format!("`{}` is asked for, and there is no terminal to ask on", prompt.name);
            return Err(Diagnostic::new("no-terminal", text).help(format!("give it by `-e {}=…`", prompt.name)));
        };
        let answer = match prompt.private && !answer.is_empty() {
            true => vault.keeper().keep(&prompt.name, Secret::new(answer)),
            false => answer,
        };
        let file = sources.add(Path::new("vars_prompt"), answer.clone());
        let span = crate::source::Span {
            file,
            start: 0,
            end: answer.len() as u32,
        };
        answers.insert(prompt.name.clone(), Arc::new(Node::str(answer, span)));
    }
    Ok(answers)
}

/// A site of a playbook that the program has made itself.
///
/// # Errors
/// Every mistake that was found.
pub fn made(
    sources: &SourceMap,
    playbook: FileId,
    limit: Option<String>,
    vault: &Arc<Vault>,
    mut extra: Vars,
    inventory: Inventory,
    ask: &mut dyn FnMut(&crate::playbook::Prompt) -> Option<String>,
) -> Result<Site, Diagnostics> {
    let mut loading = loading(sources, Tags::default(), &extra, vault);
    let plays = loading
        .loader
        .parsed(&yaml::parse(sources, playbook)?, Path::new("."))?;
    let book = Playbook {
        path: PathBuf::from("."),
        plays,
    };
    let answers = answers(&book, &mut extra, sources, vault, ask)?;
    loading.extra = Arc::new(extra.clone());
    let wanted = Wanted {
        limit,
        extra,
        answers,
        ..Wanted::default()
    };
    Site::build(loading, inventory, &book, &wanted)
}

/// A site of an inventory alone, with no plays.
///
/// # Errors
/// Every mistake that was found.
pub fn bare(sources: &SourceMap, args: &SiteArgs) -> Result<Site, Diagnostics> {
    let vault = super::unlock::vault(&args.vault)?;
    let extra = extra_vars(sources, &args.extra_vars, &vault)?;
    let loading = loading(sources, Tags::default(), &extra, &vault);
    let inventory = inventory(sources, &args.inventory, None, false, &vault)?;
    let book = Playbook {
        path: inventory.dirs().first().cloned().unwrap_or_default().join("-"),
        plays: Vec::new(),
    };
    let wanted = Wanted {
        limit: args.limit.clone(),
        extra,
        ..Wanted::default()
    };
    let mut site = Site::build(loading, inventory, &book, &wanted)?;
    site.cross_check().into_result(site)
}

/// The answer to a private question, given beforehand.
fn private(name: &str, given: &Node, vault: &Vault) -> Node {
    match &given.kind {
        NodeKind::Str(text, style) if !text.is_empty() && !Secrets::marked(text) => {
            let kept = vault.keeper().keep(name, Secret::new(text.as_str()));
            vault.keeper().note_plain(given.span.file);
            Node {
                kind: NodeKind::Str(kept, *style),
                ..given.clone()
            }
        }
        _ => given.clone(),
    }
}

/// Where roles are looked for, besides beside the playbook: `$ANSIBLE_ROLES_PATH`, the user's and the system's folder.
#[must_use]
pub fn roles() -> Vec<PathBuf> {
    let roles = std::env::var_os("ANSIBLE_ROLES_PATH").map(|path| std::env::split_paths(&path).collect::<Vec<_>>());
    let home = std::env::home_dir().map(|home| home.join(".ansible/roles"));
    let mut roles: Vec<PathBuf> = roles.unwrap_or_default();
    roles.extend(home);
    roles.push(PathBuf::from("/etc/ansible/roles"));
    roles
}

/// What reads and renders.
#[must_use]
pub fn loading(sources: &SourceMap, tags: Tags, extra: &Vars, vault: &Arc<Vault>) -> Loading {
    let options = Options {
        secrets: Some(Arc::clone(vault) as Arc<dyn SecretStore>),
        ..Options::default()
    };
    Loading {
        loader: Loader::new(sources.clone(), roles(), Arc::clone(vault)),
        engine: Engine::new(sources.clone(), options),
        tags,
        extra: Arc::new(extra.clone()),
    }
}

/// The inventories that are named: `-i`, else `$OKD_PLAY_INVENTORY`.
#[must_use]
pub fn named(given: &[String]) -> Vec<String> {
    let usual = || std::env::var("OKD_PLAY_INVENTORY").ok();
    match given {
        [] => usual().filter(|path| !path.is_empty()).into_iter().collect(),
        given => given.to_vec(),
    }
}

/// The inventory: `-i`, else `$OKD_PLAY_INVENTORY`, else `inventory/` beside the playbook or its parent; none is needed
/// where all that is meant is `here`, on the control node.
///
/// # Errors
/// Where there is none, or it holds mistakes.
pub fn inventory(
    sources: &SourceMap,
    given: &[String],
    beside: Option<&Path>,
    here: bool,
    vault: &Arc<Vault>,
) -> Result<Inventory, Diagnostics> {
    let from = inventory_of(sources, given, beside).or_else(|none| if here { Ok(Vec::new()) } else { Err(none) })?;
    Inventory::load_with(sources, &from, Arc::clone(vault))
}

/// Whether a playbook acts on the control node alone, which needs no inventory.
fn stays_here(book: &Playbook) -> bool {
    let mut hosts = book.plays.iter().map(|play| play.hosts.as_str());
    hosts.all(|hosts| hosts.is_some_and(|hosts| LOCALHOST.contains(&hosts)))
}

/// Where the inventory is read from.
fn inventory_of(
    sources: &SourceMap,
    given: &[String],
    beside: Option<&Path>,
) -> Result<Vec<InventorySource>, Diagnostic> {
    let named = named(given);
    if !named.is_empty() {
        return Ok(named.iter().map(|name| InventorySource::parse(name)).collect());
    }
    let beside = beside
        .filter(|path| !path.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let parent = std::path::absolute(beside)
        .ok()
        .and_then(|path| path.parent().map(Path::to_path_buf));
    let candidates = [
        Some(beside.join("inventory")),
        parent.map(|parent| parent.join("inventory")),
    ];
    let found = candidates.iter().flatten().find(|path| sources.disk().exists(path));
    match found {
        Some(path) => Ok(vec![InventorySource::parse(&path.display().to_string())]),
        None => {
            let places: Vec<String> = candidates
                .iter()
                .flatten()
                .map(|path| path.display().to_string())
                .collect();
            Err(Diagnostic::new("no-inventory", "there is no inventory")
                .note(format!("looked for {}", places.join(" and ")))
                .help("name one by `-i PATH`, or hosts by `-i host1,host2,`"))
        }
    }
}

/// `-e`: `k=v` words, YAML, or a file.
///
/// # Errors
/// What cannot be read.
pub fn extra_vars(sources: &SourceMap, given: &[String], vault: &Vault) -> Result<Vars, Diagnostics> {
    let mut all = Vars::new();
    for text in given {
        let vars = match text.strip_prefix('@') {
            Some(path) => {
                let file = sources.read(Path::new(path), None)?;
                keywords::vars(&vault.parse(sources, file)?)?
            }
            None if text.trim_start().starts_with('{') => {
                let file = sources.add(Path::new("-e"), text.clone());
                keywords::vars(&vault.parse(sources, file)?)?
            }
            None => words(sources, text, vault)?,
        };
        all.extend(vars);
    }
    Ok(all)
}

fn words(sources: &SourceMap, text: &str, vault: &Vault) -> Result<Vars, Diagnostics> {
    let file = sources.add(Path::new("-e"), text.to_owned());
    let span = crate::source::Span {
        file,
        start: 0,
        end: text.len() as u32,
    };
    let mut all = Vars::new();
    for word in crate::playbook::task::words(text) {
        let Some((name, value)) = word.split_once('=') else {
            let found = Diagnostic::new("bad-extra-vars", format!("`{word}` is not a variable")).at(span, "");
            return Err(found
                .help("`-e name=value`, `-e '{name: value}'` or `-e @file.yml`")
                .into());
        };
        keywords::variable_name(&Node::str(name, span))?;
        all.insert(
            name.to_owned(),
            Arc::new(vault.variable(name, Node::str(crate::playbook::task::unquoted(value), span))),
        );
    }
    Ok(all)
}
