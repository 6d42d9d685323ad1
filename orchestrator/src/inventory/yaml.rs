//! The YAML form: groups by name, each with `hosts`, `vars` and `children`.

use super::{ALL, HostName, Inventory, address, vars};
use crate::error::{Diagnostic, Diagnostics};
use crate::source::decode::Fields;
use crate::source::yaml::{Node, NodeKind};
use crate::source::{FileId, Span};
use std::sync::Arc;

const GROUP_KEYS: [&str; 3] = ["hosts", "vars", "children"];

/// Reads a file into the inventory.
pub(super) fn read(inventory: &mut Inventory, file: FileId) -> Result<(), Diagnostics> {
    let sources = inventory.sources.clone();
    let vault = Arc::clone(&inventory.vault);
    let root = vault.parse(&sources, file)?;
    if let Some((key, _)) = root.entry("plugin") {
        let one = Diagnostic::new("inventory-plugin", "inventory plugins are not supported");
        return Err(one.at(key.span, "names a plugin").into());
    }
    let mut reader = Reader {
        inventory,
        file,
        mistakes: Diagnostics::default(),
    };
    reader.groups(&root, None, "an inventory");
    reader.mistakes.into_result(())
}

struct Reader<'i> {
    inventory: &'i mut Inventory,
    file: FileId,
    mistakes: Diagnostics,
}

impl Reader<'_> {
    /// Groups by name; below `parent` where there is one.
    fn groups(&mut self, node: &Node, parent: Option<&str>, what: &str) {
        let Some(entries) = self.names(node, what) else { return };
        for (key, value) in entries {
            let Some(name) = self.group_name(&key) else { continue };
            self.inventory.declare_group(&name, Some(key.span));
            if let Some(parent) = parent {
                if name == ALL {
                    let one = Diagnostic::new(
                        "group-cycle",
                        format!("groups contain each other: {ALL} → {parent} → {ALL}"),
                    );
                    self.mistakes.push(one.at(key.span, "`all` holds every group"));
                    continue;
                }
                self.inventory.put_group(parent, &name, Some(key.span));
            }
            self.group(&name, &value);
        }
    }

    fn group(&mut self, name: &str, node: &Node) {
        let what = format!("the group `{name}`");
        let Some(mut fields) = self.mistakes.absorb(Fields::new(node, what)) else {
            return;
        };
        if let Some(hosts) = fields.take("hosts") {
            self.hosts(name, hosts);
        }
        if let Some(vars) = fields.take("vars")
            && let Some(vars) = self.vars(vars, &format!("`vars` of the group `{name}`"))
        {
            let set = self.inventory.set_group_vars(name, self.file, vars);
            self.mistakes.absorb(set);
        }
        if let Some(children) = fields.take("children") {
            self.groups(children, Some(name), &format!("`children` of the group `{name}`"));
        }
        let stranger = fields
            .rest()
            .find(|(_, value)| GROUP_KEYS.iter().any(|key| value.get(key).is_some()));
        let looks_like_group = stranger.map(|(key, _)| key.typed(&self.inventory.sources));
        if let Err(unknown) = fields.noun("key").finish(&GROUP_KEYS) {
            let told = unknown.into_iter().map(|one| match &looks_like_group {
                Some(group) if one.message.starts_with(&format!("`{group}`")) => {
                    one.help(format!("if `{group}` is a group, put it under `children:`"))
                }
                _ => one,
            });
            self.mistakes.extend(told);
        }
    }

    fn hosts(&mut self, group: &str, node: &Node) {
        let Some(entries) = self.names(node, &format!("`hosts` of the group `{group}`")) else {
            return;
        };
        for (key, value) in entries {
            let name = key.typed(&self.inventory.sources);
            let Some(vars) = self.vars(&value, &format!("the host `{name}`")) else {
                continue;
            };
            let added = self.inventory.add_address(group, &name, key.span, self.file, vars);
            self.mistakes.absorb(added);
        }
    }

    /// A mapping of names, a single name, or nothing.
    fn names(&mut self, node: &Node, what: &str) -> Option<Vec<(Node, Node)>> {
        match &node.kind {
            NodeKind::Null => Some(Vec::new()),
            NodeKind::Map(entries) => Some(entries.clone()),
            NodeKind::Str(..) | NodeKind::Bool(_) | NodeKind::Int(_) | NodeKind::Float(_) if what.starts_with('`') => {
                Some(vec![(node.clone(), Node::new(NodeKind::Null, node.span))])
            }
            _ => {
                let message = format!("{what} is a mapping, not {}", node.type_name());
                let one = Diagnostic::new("wrong-type", message).at(node.span, "expected `name:` lines");
                self.mistakes
                    .push(one.help("write `name:` with a colon, one a line, without `- `"));
                None
            }
        }
    }

    fn vars(&mut self, node: &Node, what: &str) -> Option<Vec<(Node, Node)>> {
        let fields = self.mistakes.absorb(Fields::new(node, what))?;
        self.mistakes.absorb(vars::names_only(fields.node()))?;
        Some(node.entries().cloned().collect())
    }

    fn group_name(&mut self, key: &Node) -> Option<String> {
        let name = key.typed(&self.inventory.sources);
        let named = self.mistakes.absorb(check_group_name(&name, key.span));
        named.map(|()| name)
    }
}

/// A group's name is one word that a pattern can hold.
pub(super) fn check_group_name(name: &str, span: Span) -> Result<(), Diagnostic> {
    let fine = |c: char| c.is_alphanumeric() || "_-.".contains(c);
    if !name.is_empty() && name.chars().all(fine) && !name.starts_with(['-', '.']) {
        return Ok(());
    }
    let one = Diagnostic::new("bad-group-name", format!("`{name}` is not a group's name"));
    Err(one.at(span, "letters, digits, `_`, `-` and `.`"))
}

impl Inventory {
    /// Adds the hosts that one entry names to a group, each with the same variables.
    pub(super) fn add_address(
        &mut self,
        group: &str,
        text: &str,
        span: Span,
        file: FileId,
        vars: Vec<(Node, Node)>,
    ) -> Result<Vec<HostName>, Diagnostic> {
        let found = address::parse(text)
            .map_err(|error| Diagnostic::new("bad-host", error.to_string()).at(span, "named here"))?;
        let port = found.port.map(|port| {
            let value = Node::new(NodeKind::Int(i64::from(port)), span);
            (Node::str("ansible_port", span), value)
        });
        let vars: Vec<(Node, Node)> = port.into_iter().chain(vars).collect();
        for name in &found.names {
            self.declare_host(name, Some(span));
            self.put(group, name);
            self.set_host_vars(name, file, vars.clone());
        }
        Ok(found.names)
    }
}
