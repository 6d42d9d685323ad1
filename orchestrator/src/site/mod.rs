//! The site as meant: which steps run on which hosts, with which variables. Nothing has been contacted yet.

pub mod check;
pub mod flow;
pub mod ports;
pub mod scope;
mod staged;
pub mod topology;

pub use flow::{Flow, FlowBlock, Flows, Step, Tags};
pub use scope::{Scoped, Slot, World};

use crate::error::{Diagnostic, Diagnostics, Severity};
use crate::inventory::{HostName, Inventory};
use crate::playbook::load::Loader;
use crate::playbook::{Batch, Item, Place, Play, Playbook, Vars, keywords, task};
use crate::source::files::Files;
use crate::source::yaml::{Node, NodeKind};
use crate::source::{Span, folder_of, plain};
use crate::template::{Engine, Found, RenderError, Scope};
use indexmap::{IndexMap, IndexSet};
use okd_agent::Value;
use okd_agent::value::Map;
use scope::HostVars;
use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a command line asks for.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// `--tags` and `--skip-tags`.
    pub tags: Tags,
    /// `--limit`.
    pub limit: Option<String>,
    /// `-e`, later ones last.
    pub extra: Vars,
    /// Answers of `vars_prompt`, by name.
    pub answers: Vars,
    /// `--start-at-task`.
    pub start_at: Option<String>,
}

/// What reads further files while the site is built or runs.
#[derive(Clone)]
pub struct Loading {
    /// Reads YAML, playbooks and roles.
    pub loader: Loader,
    /// Renders.
    pub engine: Engine,
    /// Which steps are wanted.
    pub tags: Tags,
    /// `-e`.
    pub extra: Arc<Vars>,
}

/// A play with its hosts and steps.
#[derive(Debug, Clone)]
pub struct SitePlay {
    /// Its number in the playbook, from 0.
    pub index: usize,
    /// As typed.
    pub play: Arc<Play>,
    /// The hosts, in their order, in batches of `serial`.
    pub batches: Vec<Vec<HostName>>,
    /// What to do.
    pub flows: Flows,
    /// `vars_files`, read.
    pub files: Vec<Arc<Vars>>,
    /// Answers of `vars_prompt`.
    pub answers: Arc<Vars>,
    /// Whether its hosts are known only when its turn comes, since `add_host`, `group_by` or `meta: refresh_inventory` stands before
    /// it.
    pub late: bool,
}

impl SitePlay {
    /// All hosts of all batches.
    pub fn hosts(&self) -> impl Iterator<Item = &HostName> {
        self.batches.iter().flatten()
    }

    /// Every step, handlers included, in the order written.
    #[must_use]
    pub fn steps(&self) -> Vec<Arc<Step>> {
        let mut steps = Vec::new();
        flow::steps_of(&self.flows.main, &mut steps);
        steps.extend(self.flows.handlers.iter().cloned());
        steps
    }
}

/// Everything that a run needs to know.
pub struct Site {
    /// Reads and renders.
    pub loading: Loading,
    /// Hosts and groups.
    pub inventory: Inventory,
    /// The plays that have hosts or could get some.
    pub plays: Vec<Arc<SitePlay>>,
    /// The playbook's folder.
    pub dir: PathBuf,
    /// `--limit`.
    pub limit: Option<String>,
    /// What is odd without being wrong.
    pub warnings: Diagnostics,
}

impl Site {
    /// Puts hosts and steps together.
    ///
    /// # Errors
    /// Every mistake in names, roles, imports, patterns and variables.
    pub fn build(
        loading: Loading,
        inventory: Inventory,
        playbook: &Playbook,
        wanted: &Wanted,
    ) -> Result<Site, Diagnostics> {
        let dir = folder_of(&playbook.path);
        let mut errors = Diagnostics::default();
        let mut warnings = Diagnostics::default();
        let limit = match &wanted.limit {
            Some(pattern) => errors.absorb(inventory.pattern(pattern, None)),
            None => None,
        };
        let mut plays = Vec::new();
        for (index, play) in playbook.plays.iter().enumerate() {
            let late = plays.iter().any(grows);
            let hosts = match late {
                true => Vec::new(),
                false => loading.hosts(&inventory, play, &mut errors, &mut warnings),
            };
            let hosts = hosts
                .into_iter()
                .filter(|host| limit.as_ref().is_none_or(|limit| limit.contains(host)))
                .collect();
            let flows = flow::Flattener::new(&loading, &play.dir, &mut errors).play(index, play);
            let files = loading.vars_files(play, &mut errors);
            plays.push(Arc::new(SitePlay {
                index,
                play: Arc::clone(play),
                batches: batches(ordered(hosts, play.order.as_deref()), &play.serial),
                flows,
                files,
                answers: Arc::new(wanted.answers.clone()),
                late,
            }));
        }
        let mut tags = flow::Tagged::default();
        plays.iter().for_each(|play| tags.absorb(play.flows.tags.clone()));
        warnings.extend(loading.tags.unknown(&tags));
        if let Some(name) = &wanted.start_at {
            start_at(&mut plays, name, &mut errors);
        }
        errors.into_result(Site {
            loading,
            inventory,
            plays,
            dir,
            limit: wanted.limit.clone(),
            warnings,
        })
    }
}

impl Site {
    /// Every host of a play is asked for something, so that it is contacted by who works there.
    pub fn contact_all(&mut self) {
        for play in &mut self.plays {
            if let Some(play) = Arc::get_mut(play).filter(|play| !play.play.gather_facts) {
                play.flows.main.insert(0, flow::contact(play.index, &play.play));
            }
        }
    }

    /// Every host's variables as they stand before anything has run. `run` holds what is true of the run itself.
    ///
    /// # Errors
    /// What is wrong in `group_vars` and `host_vars`.
    pub fn world(&self, run: Map) -> Result<Arc<World>, Diagnostics> {
        let hosts = self.hosts(&self.inventory, self.plays.iter().flat_map(|play| play.hosts()))?;
        Ok(World::new(self.loading.clone(), hosts, members(&self.inventory), run))
    }

    fn hosts<'h>(
        &'h self,
        inventory: &'h Inventory,
        more: impl Iterator<Item = &'h HostName>,
    ) -> Result<Vec<HostVars>, Diagnostics> {
        let named = inventory.hosts().map(|host| &host.name);
        let names: IndexSet<&HostName> = named.chain(more).collect();
        let mut hosts = Vec::new();
        for name in names {
            let layers = inventory.layers(name.as_str(), &[&self.dir])?;
            let groups = inventory.groups_of(name.as_str());
            let mut host = HostVars::new(name.clone(), layers, groups);
            host.span = inventory.host(name.as_str()).and_then(|host| host.span);
            hosts.push(host);
        }
        Ok(hosts)
    }

    /// Reads the inventory anew, for the plays and tasks that are still to come (`meta: refresh_inventory`).
    ///
    /// # Errors
    /// What is wrong in it by now.
    pub fn refresh(&self, world: &World) -> Result<(), Diagnostics> {
        let inventory = self.inventory.again()?;
        world.refresh(self.hosts(&inventory, std::iter::empty())?, members(&inventory));
        Ok(())
    }

    /// A late play with the hosts that there are now; none where its pattern names nothing.
    #[must_use]
    pub fn arrived(&self, play: &SitePlay, world: &World) -> SitePlay {
        let groups = world
            .groups
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .clone();
        let implicit = |name: &&str| self.inventory.host(name).is_some_and(|host| host.implicit);
        let names = world.names();
        let names = names.iter().map(String::as_str).filter(|name| !implicit(name));
        let sources = &self.loading.loader.sources;
        let hosts = Inventory::of_members(sources, names, groups.iter()).map(|inventory| {
            let mut ignored = Diagnostics::default();
            let hosts = self
                .loading
                .hosts(&inventory, &play.play, &mut ignored, &mut Diagnostics::default());
            let limit = self
                .limit
                .as_ref()
                .map(|limit| inventory.pattern(limit, None).unwrap_or_default());
            let wanted = hosts
                .into_iter()
                .filter(|host| limit.as_ref().is_none_or(|limit| limit.contains(host)));
            wanted.collect()
        });
        let hosts: Vec<HostName> = hosts.unwrap_or_default();
        SitePlay {
            batches: batches(ordered(hosts, play.play.order.as_deref()), &play.play.serial),
            ..play.clone()
        }
    }

    /// What contradicts itself in the description of the cluster, and services that want the same port of a host. It
    /// looks at every host of every play; nothing is contacted. Warnings are kept.
    pub fn cross_check(&mut self) -> Diagnostics {
        let mut found = Diagnostics::default();
        let Some(world) = found.absorb(self.world(Map::new())) else {
            return found;
        };
        let scopes = self.scopes(&world);
        for scoped in &scopes {
            let play = scoped.play.iter();
            found.0.extend(play.flat_map(|play| ports::check(play, scoped)));
        }
        for (scoped, (topology, problems)) in described(&scopes) {
            found.0.extend(problems.0);
            found
                .0
                .extend(topology.unnamed(&|name| !matches!(scoped.lookup(name), Found::Missing)));
        }
        let (errors, warnings) = found.0.into_iter().partition(|one| one.severity == Severity::Error);
        self.warnings.0.extend::<Vec<_>>(warnings);
        Diagnostics(errors)
    }

    /// Every description of a cluster that a host of a play has, or, where there are no plays, a host of the inventory.
    ///
    /// # Errors
    /// What is wrong in `group_vars` and `host_vars`.
    pub fn topologies(&self) -> Result<Vec<topology::Topology>, Diagnostics> {
        let scopes = self.scopes(&self.world(Map::new())?);
        Ok(described(&scopes)
            .into_iter()
            .map(|(_, (topology, _))| topology)
            .collect())
    }

    /// What each host of each play sees; without plays, each host of the inventory.
    fn scopes(&self, world: &Arc<World>) -> Vec<Scoped> {
        let scoped = |play: Option<&Arc<SitePlay>>, name: &HostName| {
            Some(Scoped {
                world: Arc::clone(world),
                host: world.host(name.as_str())?,
                play: play.cloned(),
                step: None,
                locals: Arc::default(),
                includes: Vec::new(),
            })
        };
        if self.plays.is_empty() {
            let limit = self.limit.as_ref();
            let limit = limit.map(|limit| self.inventory.pattern(limit, None).unwrap_or_default());
            let hosts = self.inventory.hosts().map(|host| &host.name);
            let wanted = hosts.filter(|host| limit.as_ref().is_none_or(|limit| limit.contains(*host)));
            return wanted.filter_map(|host| scoped(None, host)).collect();
        }
        let each = |play: &Arc<SitePlay>| -> Vec<Scoped> {
            play.hosts().filter_map(|host| scoped(Some(play), host)).collect()
        };
        self.plays.iter().flat_map(each).collect()
    }
}

/// Each description of a cluster once, with one of those who have it.
fn described(scopes: &[Scoped]) -> Vec<(&Scoped, (topology::Topology, Diagnostics))> {
    let mut seen = HashSet::new();
    let mut all = Vec::new();
    for scoped in scopes {
        let Found::Raw(node) = scoped.lookup(topology::VARIABLE) else {
            continue;
        };
        let scope = scoped.clone().shared();
        let known = |node: &Node| scoped.world.engine().render(node, &scope).ok();
        if seen.insert(node.span)
            && let Some(node) = topology::description(&node, &known)
        {
            all.push((scoped, topology::check(&node, &known)));
        }
    }
    all
}

/// The groups with all their hosts.
fn members(inventory: &Inventory) -> IndexMap<String, Vec<String>> {
    let hosts = |group: &str| {
        let hosts = inventory.group_hosts(group);
        hosts.iter().map(|host| host.as_str().to_owned()).collect()
    };
    let groups = inventory.groups();
    groups.map(|group| (group.name.clone(), hosts(&group.name))).collect()
}

/// Whether a play may add hosts or groups.
fn grows(play: &Arc<SitePlay>) -> bool {
    let adds = |step: &Arc<Step>| {
        matches!(step.task.short_module(), "add_host" | "group_by") || step.task.meta() == Some("refresh_inventory")
    };
    play.late || play.steps().iter().any(adds)
}

fn start_at(plays: &mut [Arc<SitePlay>], name: &str, errors: &mut Diagnostics) {
    let all: Vec<String> = plays
        .iter()
        .flat_map(|play| play.steps())
        .map(|step| step.label())
        .collect();
    if !all.iter().any(|label| label == name) {
        let found = Diagnostic::new("no-task", format!("there is no task `{name}` to start at"));
        errors.push(found.did_you_mean(name, all.iter().map(String::as_str)));
        return;
    }
    let mut reached = false;
    for play in plays.iter_mut() {
        if let Some(play) = Arc::get_mut(play) {
            play.flows.main = from_task(std::mem::take(&mut play.flows.main), name, &mut reached);
        }
    }
}

fn from_task(flows: Vec<Flow>, name: &str, reached: &mut bool) -> Vec<Flow> {
    let mut kept = Vec::new();
    for flow in flows {
        match flow {
            Flow::Step(step) => {
                *reached |= step.label() == name;
                if *reached || step.implicit {
                    kept.push(Flow::Step(step));
                }
            }
            // A set is staged as a whole.
            Flow::Block(block) if block.commit.is_some() => {
                let mut inside = Vec::new();
                flow::steps_of(&[Flow::Block(Arc::clone(&block))], &mut inside);
                *reached |= inside.iter().any(|step| step.label() == name);
                if *reached {
                    kept.push(Flow::Block(block));
                }
            }
            Flow::Block(block) => {
                let body = from_task(block.body.clone(), name, reached);
                let rescue = from_task(block.rescue.clone(), name, reached);
                let always = from_task(block.always.clone(), name, reached);
                if !(body.is_empty() && always.is_empty()) {
                    let (span, parallel) = (block.span, block.parallel);
                    kept.push(Flow::Block(Arc::new(FlowBlock {
                        span,
                        body,
                        rescue,
                        always,
                        parallel,
                        commit: None,
                    })));
                }
            }
        }
    }
    kept
}

fn ordered(mut hosts: Vec<HostName>, order: Option<&str>) -> Vec<HostName> {
    match order {
        Some("sorted") => hosts.sort(),
        Some("reverse_sorted") => {
            hosts.sort();
            hosts.reverse();
        }
        Some("reverse_inventory") => hosts.reverse(),
        _ => {}
    }
    hosts
}

fn batches(hosts: Vec<HostName>, serial: &[Batch]) -> Vec<Vec<HostName>> {
    let total = hosts.len();
    let mut batches = Vec::new();
    let mut rest = hosts;
    for index in 0.. {
        if rest.is_empty() {
            break;
        }
        let size = match serial.get(index).or(serial.last()) {
            None => rest.len(),
            Some(Batch::Count(count)) => *count,
            Some(Batch::Percent(percent)) => ((total as f64 * percent / 100.0).floor() as usize).max(1),
        };
        let behind = rest.split_off(size.min(rest.len()));
        batches.push(std::mem::replace(&mut rest, behind));
    }
    batches
}

impl Loading {
    fn scope(&self) -> Arc<dyn Scope> {
        Arc::new(scope::Fixed(Arc::clone(&self.extra)))
    }

    /// The variables that a step's templates and conditions mention.
    #[must_use]
    pub fn mentions(&self, step: &Step) -> BTreeSet<String> {
        let conditions = step
            .keywords
            .when
            .iter()
            .chain(&step.task.until)
            .chain(&step.task.changed_when);
        let conditions = conditions.chain(&step.task.failed_when);
        let bare = conditions.map(|node| Node::str(format!("{{{{ {} }}}}", node.to_value()), node.span));
        let mut names: BTreeSet<String> = bare.flat_map(|node| self.engine.mentions(&node)).collect();
        names.extend(self.engine.mentions(&step.task.args));
        names.extend(
            step.task
                .repeat
                .iter()
                .flat_map(|repeat| self.engine.mentions(&repeat.over)),
        );
        names
    }

    /// Text that has to be known before anything runs: `-e` variables are all it can use.
    ///
    /// # Errors
    /// When it is no text, or uses something else.
    pub fn static_text(&self, node: &Node) -> Result<String, Diagnostic> {
        match self.engine.render(node, &self.scope()) {
            Ok(Value::Str(text)) => Ok(text),
            Ok(other) => {
                keywords::text(node, "text").map_err(|found| found.note(format!("it is {}", other.type_name())))
            }
            Err(RenderError::Failed(found)) => Err(found),
            Err(RenderError::Pending(_)) => {
                Err(Diagnostic::new("not-static", "this is not known yet").at(node.span, ""))
            }
        }
    }

    fn hosts(
        &self,
        inventory: &Inventory,
        play: &Play,
        errors: &mut Diagnostics,
        warnings: &mut Diagnostics,
    ) -> Vec<HostName> {
        let patterns: Vec<&Node> = match &play.hosts.kind {
            NodeKind::Seq(list) => list.iter().collect(),
            _ => vec![&play.hosts],
        };
        let texts: Vec<String> = patterns
            .into_iter()
            .filter_map(|node| errors.absorb(self.static_text(node)))
            .collect();
        let Some(hosts) = errors.absorb(inventory.pattern(&texts.join(":"), Some(play.hosts.span))) else {
            return Vec::new();
        };
        if hosts.is_empty() {
            let found = Diagnostic::warning("no-hosts", format!("play \"{}\" has no hosts", play.name));
            warnings.push(found.at(play.hosts.span, "no host of the inventory matches this"));
        }
        hosts
    }

    fn vars_files(&self, play: &Play, errors: &mut Diagnostics) -> Vec<Arc<Vars>> {
        play.vars_files
            .iter()
            .filter_map(|node| self.vars_file(node, play, errors))
            .map(Arc::new)
            .collect()
    }

    fn vars_file(&self, node: &Node, play: &Play, errors: &mut Diagnostics) -> Option<Vars> {
        let candidates: Vec<&Node> = match &node.kind {
            NodeKind::Seq(list) => list.iter().collect(),
            _ => vec![node],
        };
        let mut paths = Vec::new();
        for node in candidates {
            paths.push(play.dir.join(errors.absorb(self.static_text(node))?));
        }
        let disk = self.loader.sources.disk();
        let found = paths.iter().find(|path| disk.is_file(path)).or_else(|| paths.first())?;
        let tree = errors.absorb(self.loader.variables(found, Some(node.span)))?;
        errors.absorb(keywords::vars(&tree))
    }

    /// The file that a task names: beside the file that names it, in the role, beside the playbook.
    ///
    /// # Errors
    /// When there is none.
    pub fn task_file(&self, name: &str, span: Span, place: &Place, playbook_dir: &Path) -> Result<PathBuf, Diagnostic> {
        let mut folders = vec![place.dir.clone()];
        folders.extend(
            place
                .role
                .iter()
                .flat_map(|role| [role.dir.join("tasks"), role.dir.clone()]),
        );
        folders.push(playbook_dir.join("tasks"));
        folders.push(playbook_dir.to_path_buf());
        find(self.loader.sources.disk(), name, &folders, span)
    }

    /// The tasks of a file.
    pub fn items(&self, path: &Path, span: Span, place: &Place, errors: &mut Diagnostics) -> Vec<Item> {
        let Some(node) = errors.absorb(self.loader.yaml(path, Some(span))) else {
            return Vec::new();
        };
        let dir = folder_of(path);
        let place = Arc::new(Place {
            dir,
            role: place.role.clone(),
        });
        task::items(&node, "a file of tasks", &place, errors)
    }
}

/// The first of some folders that holds a file.
///
/// # Errors
/// When none does; the message says where was looked.
pub fn find(disk: &Files, name: &str, folders: &[PathBuf], span: Span) -> Result<PathBuf, Diagnostic> {
    let found = folders
        .iter()
        .map(|folder| folder.join(name))
        .find(|path| disk.exists(path));
    found.ok_or_else(|| {
        let shown: IndexSet<String> = folders.iter().map(|folder| plain(folder)).collect();
        let shown: Vec<String> = shown.into_iter().collect();
        let (inside, _) = name.rsplit_once('/').unwrap_or_default();
        let names: Vec<String> = folders.iter().flat_map(|folder| below(disk, folder, inside)).collect();
        Diagnostic::new("no-file", format!("there is no file `{name}`"))
            .at(span, "")
            .note(format!("looked in {}", shown.join(", ")))
            .did_you_mean(name, names.iter().map(String::as_str))
    })
}

/// What lies in a folder's folder, named from the outer one.
fn below(disk: &Files, folder: &Path, inside: &str) -> Vec<String> {
    let names = disk.names(&folder.join(inside)).into_iter();
    match inside {
        "" => names.collect(),
        inside => names.map(|name| format!("{inside}/{name}")).collect(),
    }
}
