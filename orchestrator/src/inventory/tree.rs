//! Hosts and groups put together: adding, and what follows from it once all is added (depth, lineage, cycles).

use super::vars::{self, LayerKind, VarLayer, Variables};
use super::{ALL, Group, Host, HostName, Inventory, LOCALHOST, UNGROUPED};
use crate::error::{Diagnostic, Diagnostics};
use crate::source::yaml::{Node, NodeKind};
use crate::source::{FileId, SourceMap, Span};
use crate::vault::Vault;
use indexmap::IndexMap;
use std::collections::{HashSet, VecDeque};
use std::path::Path;
use std::sync::Arc;

/// Not a variable but a group's weight among groups of one depth; it counts in the inventory alone.
const PRIORITY: &str = "ansible_group_priority";

impl Inventory {
    /// An inventory with no host but the implicit localhost.
    #[must_use]
    pub fn empty(sources: &SourceMap, vault: Arc<Vault>) -> Self {
        let mut inventory = Inventory {
            sources: sources.clone(),
            hosts: IndexMap::new(),
            groups: IndexMap::new(),
            implicit: implicit_localhost(sources),
            dirs: Vec::new(),
            files: Vec::new(),
            from: Vec::new(),
            warnings: Vec::new(),
            vault,
            cache: vars::Cache::default(),
        };
        inventory.declare_group(ALL, None);
        inventory.declare_group(UNGROUPED, None);
        inventory.settle();
        inventory
    }

    /// The hosts and groups as a run has them: `members` of each group, whole. They have no variables.
    ///
    /// # Errors
    /// A name that no host can have.
    pub fn of_members<'m>(
        sources: &SourceMap,
        hosts: impl Iterator<Item = &'m str>,
        members: impl Iterator<Item = (&'m String, &'m Vec<String>)>,
    ) -> Result<Inventory, Diagnostics> {
        let mut inventory = Inventory::load(sources, &[])?;
        let named = |name: &str| HostName::new(name).map_err(|error| Diagnostic::new("bad-host", error.to_string()));
        for host in hosts {
            inventory.declare_host(&named(host)?, None);
        }
        for (group, hosts) in members.filter(|(group, _)| !["all", "ungrouped"].contains(&group.as_str())) {
            inventory.declare_group(group, None);
            for host in hosts {
                inventory.put(group, &named(host)?);
            }
        }
        inventory.finish()?;
        Ok(inventory)
    }

    /// Adds a host while a run goes on, as `add_host` does: a known host gets the groups and variables on top.
    ///
    /// # Errors
    /// A group that would hold itself.
    pub fn add_host(
        &mut self,
        name: HostName,
        groups: &[String],
        file: FileId,
        vars: Vec<(Node, Node)>,
    ) -> Result<(), Diagnostics> {
        self.declare_host(&name, None);
        for group in groups {
            self.declare_group(group, None);
            self.put(group, &name);
        }
        self.set_host_vars(&name, file, vars);
        self.finish()
    }

    pub(super) fn declare_host(&mut self, name: &HostName, span: Option<Span>) {
        self.hosts.entry(name.clone()).or_insert_with(|| Host {
            name: name.clone(),
            span,
            implicit: false,
            groups: Vec::new(),
            lineage: Vec::new(),
            layers: Vec::new(),
        });
    }

    pub(super) fn declare_group(&mut self, name: &str, span: Option<Span>) {
        let group = self.groups.entry(name.to_owned()).or_insert_with(|| Group {
            name: name.to_owned(),
            span,
            hosts: Vec::new(),
            children: Vec::new(),
            depth: 0,
            priority: 1,
            layers: Vec::new(),
        });
        group.span = group.span.or(span);
    }

    /// Puts a declared host into a declared group.
    pub(super) fn put(&mut self, group: &str, host: &HostName) {
        if let (Some(group), Some(known)) = (self.groups.get_mut(group), self.hosts.get_mut(host))
            && !known.groups.contains(&group.name)
        {
            known.groups.push(group.name.clone());
            group.hosts.push(host.clone());
        }
    }

    /// Puts a declared group below another.
    pub(super) fn put_group(&mut self, parent: &str, child: &str, span: Option<Span>) {
        if let Some(group) = self.groups.get_mut(parent)
            && !group.children.iter().any(|(name, _)| name == child)
        {
            group.children.push((child.to_owned(), span));
        }
    }

    pub(super) fn set_host_vars(&mut self, name: &HostName, file: FileId, vars: Vec<(Node, Node)>) {
        let label = format!("{} ({name})", self.shown(file));
        if let Some(host) = self.hosts.get_mut(name) {
            add_vars(&mut host.layers, LayerKind::HostInventory, name.as_str(), label, vars);
        }
    }

    pub(super) fn set_group_vars(
        &mut self,
        name: &str,
        file: FileId,
        vars: Vec<(Node, Node)>,
    ) -> Result<(), Diagnostic> {
        let label = format!("{} ({name})", self.shown(file));
        let is_priority = |(key, _): &(Node, Node)| key.as_str() == Some(PRIORITY);
        let (priority, vars): (Vec<_>, Vec<_>) = vars.into_iter().partition(is_priority);
        if let Some(group) = self.groups.get_mut(name) {
            for (_, value) in &priority {
                group.priority = whole_number(value)?;
            }
            add_vars(&mut group.layers, LayerKind::GroupInventory, name, label, vars);
        }
        Ok(())
    }

    fn shown(&self, file: FileId) -> String {
        self.sources.file(file).path.display().to_string()
    }

    /// A group and those below it, level by level, each once.
    pub(super) fn below(&self, name: &str) -> Vec<&Group> {
        let mut seen: HashSet<&str> = HashSet::new();
        let mut queue: VecDeque<&str> = VecDeque::from([name]);
        let mut groups = Vec::new();
        while let Some(name) = queue.pop_front() {
            if !seen.insert(name) {
                continue;
            }
            if let Some(group) = self.groups.get(name) {
                groups.push(group);
                queue.extend(group.children.iter().map(|(child, _)| child.as_str()));
            }
        }
        groups
    }

    /// Works out what follows from all that was added.
    pub(super) fn finish(&mut self) -> Result<(), Diagnostics> {
        if let Some(cycle) = self.cycle() {
            return Err(cycle.into());
        }
        self.settle();
        Ok(())
    }

    /// Puts every group that no other holds below `all`. Done after each file, since it decides the order of hosts.
    pub(super) fn adopt(&mut self) {
        let held: HashSet<&str> = self
            .groups
            .values()
            .flat_map(|group| group.children.iter().map(|(child, _)| child.as_str()))
            .collect();
        let orphans = self
            .groups
            .keys()
            .filter(|name| *name != ALL && !held.contains(name.as_str()));
        for orphan in orphans.cloned().collect::<Vec<_>>() {
            self.put_group(ALL, &orphan, None);
        }
    }

    fn settle(&mut self) {
        self.adopt();
        self.fill_ungrouped();
        self.set_depths();
        let lineages: Vec<Vec<String>> = self.hosts.values().map(|host| self.lineage(host)).collect();
        for (host, lineage) in self.hosts.values_mut().zip(lineages) {
            host.lineage = lineage;
        }
    }

    fn fill_ungrouped(&mut self) {
        for host in self.hosts.values_mut() {
            let grouped = host.groups.iter().any(|name| name != ALL && name != UNGROUPED);
            host.groups.retain(|name| name != UNGROUPED);
            if !grouped {
                host.groups.push(UNGROUPED.to_owned());
            }
        }
        let alone = self
            .hosts
            .values()
            .filter(|host| host.groups.iter().any(|name| name == UNGROUPED));
        let alone: Vec<HostName> = alone.map(|host| host.name.clone()).collect();
        if let Some(ungrouped) = self.groups.get_mut(UNGROUPED) {
            ungrouped.hosts = alone;
        }
    }

    /// The longest way from `all`; there is no cycle by now, so as many rounds as there are groups are enough.
    fn set_depths(&mut self) {
        for group in self.groups.values_mut() {
            group.depth = 0;
        }
        let mut changed = true;
        while changed {
            changed = false;
            let edges: Vec<(String, usize)> = self
                .groups
                .values()
                .flat_map(|group| group.children.iter().map(|(child, _)| (child.clone(), group.depth + 1)))
                .collect();
            for (child, depth) in edges {
                if let Some(group) = self.groups.get_mut(&child).filter(|group| group.depth < depth) {
                    group.depth = depth;
                    changed = true;
                }
            }
        }
    }

    fn lineage(&self, host: &Host) -> Vec<String> {
        let mut names: HashSet<&str> = HashSet::from([ALL]);
        let mut new: Vec<&str> = host.groups.iter().map(String::as_str).collect();
        while let Some(name) = new.pop() {
            if names.insert(name) {
                let parents = self
                    .groups
                    .values()
                    .filter(|group| group.children.iter().any(|(child, _)| child == name));
                new.extend(parents.map(|group| group.name.as_str()));
            }
        }
        let mut groups: Vec<&Group> = names.iter().filter_map(|name| self.groups.get(*name)).collect();
        groups.sort_by_key(|group| (group.depth, group.priority, group.name.as_str()));
        groups.into_iter().map(|group| group.name.clone()).collect()
    }

    /// The first way from a group back to itself.
    fn cycle(&self) -> Option<Diagnostic> {
        let mut done: HashSet<&str> = HashSet::new();
        self.groups.keys().find_map(|name| {
            let mut path: Vec<(&str, Option<Span>)> = Vec::new();
            self.walk(name, None, &mut path, &mut done)
        })
    }

    fn walk<'a>(
        &'a self,
        name: &'a str,
        span: Option<Span>,
        path: &mut Vec<(&'a str, Option<Span>)>,
        done: &mut HashSet<&'a str>,
    ) -> Option<Diagnostic> {
        if let Some(start) = path.iter().position(|(known, _)| *known == name) {
            let names: Vec<&str> = path[start..].iter().map(|(known, _)| *known).chain([name]).collect();
            let mut one = Diagnostic::new(
                "group-cycle",
                format!("groups contain each other: {}", names.join(" → ")),
            );
            for (child, place) in path[start + 1..].iter().copied().chain([(name, span)]) {
                one = one.at_some(place, format!("`{child}` is put below"));
            }
            return Some(one);
        }
        if done.contains(name) {
            return None;
        }
        path.push((name, span));
        let children = self
            .groups
            .get(name)
            .map(|group| group.children.as_slice())
            .unwrap_or_default();
        let found = children
            .iter()
            .find_map(|(child, span)| self.walk(child, *span, path, done));
        path.pop();
        done.insert(name);
        found
    }
}

fn whole_number(value: &Node) -> Result<i64, Diagnostic> {
    let number = match &value.kind {
        NodeKind::Int(number) => Some(*number),
        NodeKind::Str(text, _) => text.trim().parse().ok(),
        _ => None,
    };
    number.ok_or_else(|| {
        Diagnostic::new("bad-value", format!("`{PRIORITY}` is a whole number")).at(value.span, "not a whole number")
    })
}

/// Variables of one file and subject belong to one layer; a later one of the same name wins.
fn add_vars(layers: &mut Vec<Arc<VarLayer>>, kind: LayerKind, subject: &str, label: String, vars: Vec<(Node, Node)>) {
    if vars.is_empty() {
        return;
    }
    let vars = vars
        .into_iter()
        .filter_map(|(key, value)| Some((key.as_str()?.to_owned(), Arc::new(value))));
    match layers.iter_mut().find(|layer| layer.name == label) {
        Some(layer) => Arc::make_mut(layer).vars.extend(vars),
        None => layers.push(Arc::new(VarLayer {
            name: label,
            kind,
            subject: subject.to_owned(),
            vars: vars.collect::<Variables>(),
        })),
    }
}

fn implicit_localhost(sources: &SourceMap) -> IndexMap<HostName, Host> {
    let text = "ansible_connection: local\n".to_owned();
    let file = sources.add(Path::new("<implicit localhost>"), text);
    let vars = crate::source::yaml::parse(sources, file)
        .map(|node| vars::of_mapping(&node))
        .unwrap_or_default();
    let names = LOCALHOST.iter().filter_map(|name| HostName::new(name).ok());
    let hosts = names.map(|name| {
        let layer = VarLayer {
            name: "implicit localhost".to_owned(),
            kind: LayerKind::HostInventory,
            subject: name.to_string(),
            vars: vars.clone(),
        };
        let host = Host {
            name: name.clone(),
            span: None,
            implicit: true,
            groups: Vec::new(),
            lineage: vec![ALL.to_owned()],
            layers: vec![Arc::new(layer)],
        };
        (name, host)
    });
    hosts.collect()
}
