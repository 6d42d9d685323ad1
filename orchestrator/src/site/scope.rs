//! What a name means to a task on a host: Ansible's order of precedence, from magic variables down to role defaults.

use super::{Loading, SitePlay, Step, topology};
use crate::inventory::{HostName, VarLayer};
use crate::playbook::{Role, Vars};
use crate::source::Span;
use crate::source::yaml::Node;
use crate::template::{Engine, Found, Scope, Search};
use indexmap::IndexMap;
use minijinja::value::{Enumerator, Object, ObjectRepr, Value as Native};
use okd_agent::Value;
use okd_agent::value::{Map, map};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// A variable that steps give: known, or on its way.
#[derive(Debug, Clone)]
pub enum Slot {
    /// It has this value.
    Known(Value),
    /// The step with this number will give it.
    Pending(u64),
}

/// What steps have given to a host so far.
#[derive(Debug, Default)]
pub struct HostState {
    /// `set_fact` and `register`.
    pub set: HashMap<String, Slot>,
    /// Facts, without their `ansible_` prefix.
    pub facts: Map,
    /// A step that is gathering facts.
    pub facts_pending: Option<u64>,
    /// `include_vars`.
    pub included: Vars,
}

/// A host with its variables.
#[derive(Debug)]
pub struct HostVars {
    /// Its name in the inventory.
    pub name: HostName,
    /// The inventory's variables, from low to high.
    pub layers: Vec<Arc<VarLayer>>,
    /// The groups that it is in, as `group_names` lists them.
    pub groups: Vec<String>,
    /// Where the inventory names it first.
    pub span: Option<Span>,
    state: Arc<RwLock<HostState>>,
}

impl HostVars {
    /// A host with nothing but its inventory variables.
    #[must_use]
    pub fn new(name: HostName, layers: Vec<Arc<VarLayer>>, groups: Vec<String>) -> Self {
        HostVars {
            name,
            layers,
            groups,
            span: None,
            state: Arc::default(),
        }
    }

    /// What steps have given.
    pub fn state(&self) -> RwLockReadGuard<'_, HostState> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// What steps have given, to add to it.
    pub fn state_mut(&self) -> RwLockWriteGuard<'_, HostState> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// An inventory variable, raw.
    #[must_use]
    pub fn inventory(&self, name: &str) -> Option<Arc<Node>> {
        self.layers.iter().rev().find_map(|layer| layer.vars.get(name).cloned())
    }
}

/// All variables of one pass over the site.
pub struct World {
    /// Reads and renders.
    pub loading: Loading,
    /// Groups with their hosts, as `groups` shows them.
    pub groups: RwLock<IndexMap<String, Vec<String>>>,
    /// Facts about the run: `playbook_dir`, `ansible_check_mode`, …
    pub run: Map,
    hosts: RwLock<IndexMap<String, Arc<HostVars>>>,
    /// Hosts and members of groups that steps have added.
    added: RwLock<Added>,
    /// Hosts on which a step has failed; with the last play that they are out of, where that has been cleared.
    fallen: RwLock<HashMap<String, Option<usize>>>,
    /// What includes have brought, by the number of the play.
    brought: RwLock<HashMap<usize, Brought>>,
}

/// What steps add to the inventory, and what a new reading of it takes away.
#[derive(Debug, Default)]
struct Added {
    hosts: HashSet<String>,
    /// Hosts with the groups that they joined.
    members: Vec<(String, String)>,
    /// Hosts that the inventory no longer names.
    gone: HashSet<String>,
}

/// What included roles give to their play.
#[derive(Debug, Default)]
struct Brought {
    handlers: Vec<Arc<Step>>,
    roles: Vec<Arc<Role>>,
}

impl World {
    /// A pass over these hosts.
    #[must_use]
    pub fn new(loading: Loading, hosts: Vec<HostVars>, groups: IndexMap<String, Vec<String>>, run: Map) -> Arc<World> {
        let hosts = hosts
            .into_iter()
            .map(|host| (host.name.as_str().to_owned(), Arc::new(host)))
            .collect();
        Arc::new(World {
            loading,
            groups: RwLock::new(groups),
            run,
            hosts: RwLock::new(hosts),
            added: RwLock::default(),
            fallen: RwLock::default(),
            brought: RwLock::default(),
        })
    }

    /// A host.
    #[must_use]
    pub fn host(&self, name: &str) -> Option<Arc<HostVars>> {
        self.hosts
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(name)
            .cloned()
    }

    /// Takes in what an included role gives to its play: handlers, and roles whose variables all later tasks see.
    pub fn bring(&self, play: &SitePlay, handlers: &[Arc<Step>], roles: &[Arc<Role>]) {
        let mut brought = self.brought.write().unwrap_or_else(PoisonError::into_inner);
        let own = brought.entry(play.index).or_default();
        for handler in handlers {
            if !own.handlers.iter().any(|known| known.path == handler.path) {
                own.handlers.push(Arc::clone(handler));
            }
        }
        own.roles.extend(roles.iter().cloned());
    }

    /// The handlers of a play as far as they are known.
    #[must_use]
    pub fn handlers(&self, play: &SitePlay) -> Vec<Arc<Step>> {
        let brought = self.brought.read().unwrap_or_else(PoisonError::into_inner);
        let more = brought.get(&play.index).map(|brought| brought.handlers.as_slice());
        play.flows
            .handlers
            .iter()
            .chain(more.unwrap_or_default())
            .cloned()
            .collect()
    }

    /// The roles whose variables a play sees, the last ones first.
    fn roles(&self, play: &SitePlay) -> Vec<Arc<Role>> {
        let brought = self.brought.read().unwrap_or_else(PoisonError::into_inner);
        let more = brought.get(&play.index).map(|brought| brought.roles.as_slice());
        let all = play.flows.roles.iter().chain(more.unwrap_or_default());
        all.rev().cloned().collect()
    }

    /// A host on which a step has failed takes no further part.
    pub fn fall(&self, host: &str) {
        let mut fallen = self.fallen.write().unwrap_or_else(PoisonError::into_inner);
        fallen.insert(host.to_owned(), None);
    }

    /// Hosts that had fallen take part again behind this play; returns those of the given ones that had.
    pub fn raise<'h>(&self, play: usize, hosts: impl Iterator<Item = &'h HostName>) -> Vec<&'h HostName> {
        let mut fallen = self.fallen.write().unwrap_or_else(PoisonError::into_inner);
        let mut raised = Vec::new();
        for host in hosts {
            if let Some(until @ None) = fallen.get_mut(host.as_str()) {
                *until = Some(play);
                raised.push(host);
            }
        }
        raised
    }

    /// Takes in the inventory as it was read anew. What steps gave to a host stays with it, and so do the hosts and
    /// groups that steps added; hosts that are no longer named only end the play that they are in.
    pub fn refresh(&self, fresh: Vec<HostVars>, groups: IndexMap<String, Vec<String>>) {
        let mut hosts = self.hosts.write().unwrap_or_else(PoisonError::into_inner);
        let mut added = self.added.write().unwrap_or_else(PoisonError::into_inner);
        let mut old = std::mem::take(&mut *hosts);
        for mut host in fresh {
            if let Some(known) = old.shift_remove(host.name.as_str()) {
                host.state = Arc::clone(&known.state);
            }
            hosts.insert(host.name.as_str().to_owned(), Arc::new(host));
        }
        added.gone = old
            .keys()
            .filter(|name| !added.hosts.contains(*name))
            .cloned()
            .collect();
        added
            .gone
            .retain(|name| !crate::inventory::LOCALHOST.contains(&name.as_str()));
        hosts.extend(old);
        drop(hosts);
        *self.groups.write().unwrap_or_else(PoisonError::into_inner) = groups;
        let members = added.members.clone();
        drop(added);
        members.iter().for_each(|(host, group)| self.put(host, group));
    }

    /// Those of some hosts that still take part in a play.
    #[must_use]
    pub fn standing(&self, play: usize, hosts: impl Iterator<Item = String>) -> Vec<String> {
        let fallen = self.fallen.read().unwrap_or_else(PoisonError::into_inner);
        let stands = |host: &String| match fallen.get(host) {
            None => true,
            Some(None) => false,
            Some(Some(until)) => *until < play,
        };
        hosts.filter(stands).collect()
    }

    /// The inventory file that names a host first.
    fn file_of(&self, host: &str) -> Option<String> {
        let span = self.host(host)?.span?;
        let path = std::path::absolute(&self.loading.loader.sources.file(span.file).path).ok()?;
        Some(path.display().to_string())
    }

    /// Every host's name.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let hosts = self.hosts.read().unwrap_or_else(PoisonError::into_inner);
        let added = self.added.read().unwrap_or_else(PoisonError::into_inner);
        let named = hosts.keys().filter(|name| !added.gone.contains(*name));
        named.cloned().collect()
    }

    /// Adds a host, or takes the one that is there.
    pub fn add(&self, host: HostVars) -> Arc<HostVars> {
        let mut hosts = self.hosts.write().unwrap_or_else(PoisonError::into_inner);
        let mut added = self.added.write().unwrap_or_else(PoisonError::into_inner);
        let name = host.name.as_str();
        if added.gone.remove(name) || !hosts.contains_key(name) {
            added.hosts.insert(name.to_owned());
        }
        Arc::clone(
            hosts
                .entry(host.name.as_str().to_owned())
                .or_insert_with(|| Arc::new(host)),
        )
    }

    /// Puts a host into a group.
    pub fn join(&self, host: &str, group: &str) {
        let mut added = self.added.write().unwrap_or_else(PoisonError::into_inner);
        added.members.push((host.to_owned(), group.to_owned()));
        drop(added);
        self.put(host, group);
    }

    fn put(&self, host: &str, group: &str) {
        let mut groups = self.groups.write().unwrap_or_else(PoisonError::into_inner);
        let members = groups.entry(group.to_owned()).or_default();
        if !members.iter().any(|member| member == host) {
            members.push(host.to_owned());
        }
    }

    /// The engine.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.loading.engine
    }
}

/// Variables of the command line alone.
pub struct Fixed(pub Arc<Vars>);

impl Scope for Fixed {
    fn lookup(&self, name: &str) -> Found {
        self.0
            .get(name)
            .map_or(Found::Missing, |node| Found::Raw(Arc::clone(node)))
    }

    fn names(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }
}

/// What a task on a host sees; cheap to make.
#[derive(Clone)]
pub struct Scoped {
    /// All variables.
    pub world: Arc<World>,
    /// The host.
    pub host: Arc<HostVars>,
    /// The play; `None` for `hostvars` of a host outside any play.
    pub play: Option<Arc<SitePlay>>,
    /// The task.
    pub step: Option<Arc<Step>>,
    /// Loop variables and results that only this task sees; they win over everything but magic.
    pub locals: Arc<Map>,
    /// Parameters of dynamic includes around the task, outer ones first.
    pub includes: Vec<Arc<Map>>,
}

impl Scoped {
    /// These variables for the engine.
    #[must_use]
    pub fn shared(self) -> Arc<dyn Scope> {
        Arc::new(self)
    }

    /// The same with further locals.
    #[must_use]
    pub fn with(&self, more: Map) -> Scoped {
        let mut locals = Map::clone(&self.locals);
        locals.extend(more);
        Scoped {
            locals: Arc::new(locals),
            ..self.clone()
        }
    }

    fn roles(&self) -> Vec<Arc<Role>> {
        let play = self.play.as_ref();
        play.map(|play| self.world.roles(play)).unwrap_or_default()
    }

    fn role(&self) -> Option<&Arc<Role>> {
        self.step.as_ref().and_then(|step| step.role())
    }

    fn magic(&self, name: &str) -> Option<Found> {
        let known = |value: Value| Some(Found::Known(value));
        match name {
            "inventory_hostname" => known(self.host.name.as_str().into()),
            "inventory_hostname_short" => known(self.host.name.as_str().split('.').next().unwrap_or_default().into()),
            "group_names" => known(self.group_names()),
            "groups" => known(self.groups()),
            "hostvars" => Some(Found::Native(Native::from_object(Hosts { scope: self.clone() }))),
            "role_name" => self.role().and_then(|role| known(role.name.as_str().into())),
            "role_path" => self
                .role()
                .and_then(|role| known(role.dir.display().to_string().into())),
            "ansible_play_hosts_all" => {
                let hosts = self.play.as_ref()?.hosts().map(|host| host.as_str().to_owned());
                known(hosts.collect::<Vec<_>>().into())
            }
            "ansible_play_hosts" | "play_hosts" => {
                let play = self.play.as_ref()?;
                let hosts = play.hosts().map(|host| host.as_str().to_owned());
                known(self.world.standing(play.index, hosts).into())
            }
            "ansible_play_batch" => {
                let play = self.play.as_ref()?;
                known(self.world.standing(play.index, self.batch()?.into_iter()).into())
            }
            "playbook_dir" => {
                let dir = self.play.as_ref().map(|play| play.play.dir.as_path());
                let dir = dir.and_then(|dir| std::path::absolute(dir).ok());
                match dir {
                    Some(dir) => known(dir.display().to_string().trim_end_matches("/.").into()),
                    None => self.world.run.get(name).and_then(|value| known(value.clone())),
                }
            }
            "inventory_file" => {
                let file = self.world.file_of(self.host.name.as_str())?;
                known(file.into())
            }
            "vars" => Some(Found::Native(self.world.engine().object(&self.clone().shared()))),
            "ansible_play_name" => known(self.play.as_ref()?.play.name.as_str().into()),
            "ansible_facts" => Some(self.facts()),
            topology::MAGIC => match self.lookup(topology::VARIABLE) {
                Found::Raw(node) => topology::magic(
                    self.host.name.as_str(),
                    &node,
                    self.world.engine(),
                    &self.clone().shared(),
                ),
                _ => None,
            },
            _ => self.world.run.get(name).and_then(|value| known(value.clone())),
        }
    }

    fn group_names(&self) -> Value {
        let mut names = self.host.groups.clone();
        let groups = self.world.groups.read().unwrap_or_else(PoisonError::into_inner);
        for (group, members) in groups
            .iter()
            .filter(|(group, _)| *group != "all" && *group != "ungrouped")
        {
            if members.iter().any(|member| member == self.host.name.as_str()) && !names.contains(group) {
                names.push(group.clone());
            }
        }
        names.sort();
        names.into()
    }

    fn groups(&self) -> Value {
        let groups = self.world.groups.read().unwrap_or_else(PoisonError::into_inner);
        Value::Map(
            groups
                .iter()
                .map(|(name, members)| (name.clone(), members.clone().into()))
                .collect(),
        )
    }

    fn batch(&self) -> Option<Vec<String>> {
        let batches = &self.play.as_ref()?.batches;
        let batch = batches.iter().find(|batch| batch.contains(&self.host.name))?;
        Some(batch.iter().map(|host| host.as_str().to_owned()).collect())
    }

    fn facts(&self) -> Found {
        let state = self.host.state();
        match state.facts_pending {
            Some(step) if state.facts.is_empty() => Found::Pending(step),
            _ => Found::Known(Value::Map(state.facts.clone())),
        }
    }

    fn given(&self, name: &str) -> Option<Found> {
        let state = self.host.state();
        match state.set.get(name) {
            Some(Slot::Known(value)) => return Some(Found::Known(value.clone())),
            Some(Slot::Pending(step)) => return Some(Found::Pending(*step)),
            None => {}
        }
        state.included.get(name).map(raw)
    }

    fn task(&self, name: &str) -> Option<Found> {
        let layers = self.step.iter().flat_map(|step| step.keywords.vars.iter().rev());
        layers.filter_map(|vars| vars.get(name)).next().map(raw)
    }

    fn play_level(&self, name: &str) -> Option<Found> {
        let roles = self.roles();
        let roles = self.role().into_iter().chain(&roles);
        if let Some(node) = roles.filter_map(|role| role.vars.get(name)).next() {
            return Some(raw(node));
        }
        let play = self.play.as_ref()?;
        let files = play.files.iter().rev().filter_map(|vars| vars.get(name));
        files
            .chain(play.answers.get(name))
            .chain(play.play.vars.get(name))
            .next()
            .map(raw)
    }

    fn fact(&self, name: &str) -> Option<Found> {
        let bare = name.strip_prefix("ansible_").filter(|bare| !leads_there(bare))?;
        let state = self.host.state();
        match (state.facts.get(bare), state.facts_pending) {
            (Some(value), _) => Some(Found::Known(value.clone())),
            (None, Some(step)) if self.host.inventory(name).is_none() => Some(Found::Pending(step)),
            _ => None,
        }
    }

    fn default(&self, name: &str) -> Option<Found> {
        let roles = self.roles();
        self.role()
            .into_iter()
            .chain(&roles)
            .filter_map(|role| role.defaults.get(name))
            .next()
            .map(raw)
    }
}

/// Whether a variable, without its `ansible_`, says how a host is reached. A host cannot say that of itself, such as by an
/// interface that is called `port`; as in Ansible.
fn leads_there(bare: &str) -> bool {
    let way = ["connection", "host", "port", "user", "password", "private_key_file"];
    let ssh = bare
        .strip_prefix("ssh_")
        .is_some_and(|rest| !rest.starts_with("host_key"));
    way.contains(&bare) || ssh || bare == "become" || bare.starts_with("become_")
}

fn raw(node: &Arc<Node>) -> Found {
    Found::Raw(Arc::clone(node))
}

impl Scope for Scoped {
    fn lookup(&self, name: &str) -> Found {
        let params = || {
            self.step
                .iter()
                .flat_map(|step| step.params.iter().rev())
                .filter_map(|vars| vars.get(name))
                .next()
        };
        let included = || {
            self.includes
                .iter()
                .rev()
                .find_map(|vars| vars.get(name))
                .cloned()
                .map(Found::Known)
        };
        self.magic(name)
            .or_else(|| self.locals.get(name).cloned().map(Found::Known))
            .or_else(|| self.world.loading.extra.get(name).map(raw))
            .or_else(included)
            .or_else(|| params().map(raw))
            .or_else(|| self.given(name))
            .or_else(|| self.task(name))
            .or_else(|| self.play_level(name))
            .or_else(|| self.fact(name))
            .or_else(|| self.host.inventory(name).map(Found::Raw))
            .or_else(|| self.default(name))
            .or_else(|| (name == "ansible_host").then(|| Found::Known(self.host.name.as_str().into())))
            .unwrap_or(Found::Missing)
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = MAGIC.iter().map(|name| (*name).to_owned()).collect();
        names.extend(self.locals.keys().cloned());
        names.extend(self.world.loading.extra.keys().cloned());
        names.extend(self.includes.iter().flat_map(|vars| vars.keys().cloned()));
        let own = self
            .step
            .iter()
            .flat_map(|step| step.params.iter().chain(&step.keywords.vars));
        names.extend(own.flat_map(|vars| vars.keys().cloned()));
        let state = self.host.state();
        names.extend(state.set.keys().cloned());
        names.extend(state.included.keys().cloned());
        names.extend(state.facts.keys().map(|name| format!("ansible_{name}")));
        names.extend(self.host.layers.iter().flat_map(|layer| layer.vars.keys().cloned()));
        if let Some(play) = &self.play {
            names.extend(play.play.vars.keys().chain(play.answers.keys()).cloned());
            names.extend(play.files.iter().flat_map(|vars| vars.keys().cloned()));
            let roles = self.roles();
            let roles = roles.iter().chain(self.role());
            names.extend(roles.flat_map(|role| role.vars.keys().chain(role.defaults.keys()).cloned()));
        }
        names.sort();
        names.dedup();
        names
    }

    fn search(&self) -> Search {
        let play = self.play.as_ref().map(|play| play.play.dir.clone()).unwrap_or_default();
        let below = |folder: &str| match &self.step {
            Some(step) => step.folders(folder, &play),
            None => vec![play.join(folder), play.clone()],
        };
        Search {
            files: below("files"),
            templates: below("templates"),
        }
    }
}

const MAGIC: &[&str] = &[
    "inventory_hostname",
    "inventory_hostname_short",
    "group_names",
    "groups",
    "hostvars",
    "role_name",
    "role_path",
    "ansible_play_hosts",
    "ansible_play_batch",
    "ansible_play_name",
    "ansible_facts",
    "playbook_dir",
    "inventory_dir",
    "ansible_check_mode",
    "ansible_diff_mode",
    "ansible_version",
    "ansible_run_tags",
    "ansible_skip_tags",
    "ansible_forks",
    "inventory_file",
    topology::MAGIC,
    "vars",
];

/// `hostvars`: every host's variables, each looked up and rendered when it is used.
#[derive(Clone)]
struct Hosts {
    scope: Scoped,
}

impl std::fmt::Debug for Hosts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("hostvars")
    }
}

impl Object for Hosts {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Map
    }

    fn get_value(self: &Arc<Self>, key: &Native) -> Option<Native> {
        let host = self.scope.world.host(key.as_str()?)?;
        let scope = Scoped {
            world: Arc::clone(&self.scope.world),
            host,
            play: self.scope.play.clone(),
            step: None,
            locals: Arc::default(),
            includes: Vec::new(),
        };
        Some(self.scope.world.engine().object(&scope.shared()))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.scope.world.names().into_iter().map(Native::from).collect())
    }
}

/// What is true of the run for every host.
#[must_use]
pub fn run_facts(playbook_dir: &str, inventory_dir: &str, check: bool, diff: bool) -> Map {
    let version = map([
        ("full", env!("CARGO_PKG_VERSION").into()),
        ("string", env!("CARGO_PKG_VERSION").into()),
        ("major", Value::Int(2)),
        ("minor", Value::Int(19)),
    ]);
    map([
        ("playbook_dir", playbook_dir.into()),
        ("inventory_dir", inventory_dir.into()),
        ("ansible_check_mode", check.into()),
        ("ansible_diff_mode", diff.into()),
        ("ansible_version", version.into()),
    ])
}
