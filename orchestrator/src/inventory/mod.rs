//! The hosts, their groups and their variables, as Ansible's inventories say them; every variable with its place.

mod address;
mod ini;
mod literal;
mod load;
mod pattern;
mod tree;
mod vars;
mod yaml;

pub use address::HostError;
pub use load::InventorySource;
pub use vars::{LayerKind, VarLayer, Variables, variables};

use crate::error::Diagnostic;
use crate::source::{SourceMap, Span};
use crate::vault::Vault;
use indexmap::IndexMap;
use std::borrow::Borrow;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// The group of all hosts.
pub const ALL: &str = "all";
/// The group of the hosts that no other group holds.
pub const UNGROUPED: &str = "ungrouped";
/// The names that mean the control node where the inventory does not define them.
pub const LOCALHOST: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// A host's name in the inventory: no whitespace, no path, nothing that a command line could take for an option.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostName(Arc<str>);

impl HostName {
    /// Checks a name.
    ///
    /// # Errors
    /// [`HostError::Name`] where it is none.
    pub fn new(name: &str) -> Result<Self, HostError> {
        let allowed = |c: char| c.is_alphanumeric() || "-_.:%".contains(c);
        let begins_well = name.starts_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':');
        if begins_well && name.len() <= 255 && name.chars().all(allowed) {
            Ok(HostName(name.into()))
        } else {
            Err(HostError::Name(name.to_owned()))
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part before the first dot, `inventory_hostname_short`; an address is its own.
    #[must_use]
    pub fn short(&self) -> &str {
        if self.0.parse::<std::net::IpAddr>().is_ok() {
            return &self.0;
        }
        self.0.split('.').next().unwrap_or(&self.0)
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl AsRef<str> for HostName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for HostName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// A host.
#[derive(Debug, Clone)]
pub struct Host {
    /// Its name.
    pub name: HostName,
    /// Where the inventory names it first.
    pub span: Option<Span>,
    /// Whether it is the control node that no inventory defines.
    pub implicit: bool,
    /// The groups that name it themselves, in the order written.
    groups: Vec<String>,
    /// Every group that holds it, `all` first, then by depth, priority and name: the order of their variables.
    lineage: Vec<String>,
    layers: Vec<Arc<VarLayer>>,
}

/// A group.
#[derive(Debug, Clone)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Where the inventory names it first.
    pub span: Option<Span>,
    /// The hosts that it names itself, in the order written.
    pub hosts: Vec<HostName>,
    /// The groups that it names as its children, each with the place; those of `all` that nothing else holds have none.
    pub children: Vec<(String, Option<Span>)>,
    /// How far below `all`, on the longest way.
    pub depth: usize,
    /// `ansible_group_priority`; 1 unless set.
    pub priority: i64,
    layers: Vec<Arc<VarLayer>>,
}

/// An inventory.
#[derive(Debug)]
pub struct Inventory {
    sources: SourceMap,
    hosts: IndexMap<HostName, Host>,
    groups: IndexMap<String, Group>,
    implicit: IndexMap<HostName, Host>,
    /// The folders beside which `group_vars` and `host_vars` are looked for.
    dirs: Vec<PathBuf>,
    files: Vec<PathBuf>,
    /// What was named to be read.
    from: Vec<InventorySource>,
    warnings: Vec<Diagnostic>,
    vault: Arc<Vault>,
    cache: vars::Cache,
}

impl Inventory {
    /// Every host, in the order in which the inventory names them. The implicit localhost is not among them.
    pub fn hosts(&self) -> impl Iterator<Item = &Host> {
        self.hosts.values()
    }

    /// A host by name; `localhost`, `127.0.0.1` and `::1` exist even where nothing defines them.
    #[must_use]
    pub fn host(&self, name: &str) -> Option<&Host> {
        self.hosts.get(name).or_else(|| self.implicit.get(name))
    }

    /// Every group, `all` and `ungrouped` first, the others in the order in which the inventory names them.
    pub fn groups(&self) -> impl Iterator<Item = &Group> {
        self.groups.values()
    }

    /// A group by name.
    #[must_use]
    pub fn group(&self, name: &str) -> Option<&Group> {
        self.groups.get(name)
    }

    /// The hosts of a group and of all groups below it, level by level as Ansible orders them, each once; empty where there
    /// is no such group.
    #[must_use]
    pub fn group_hosts(&self, name: &str) -> Vec<HostName> {
        let mut hosts: indexmap::IndexSet<HostName> = indexmap::IndexSet::new();
        for group in self.below(name) {
            hosts.extend(group.hosts.iter().cloned());
        }
        hosts.into_iter().collect()
    }

    /// The groups of a host as `group_names` has them: sorted by name, without `all`.
    #[must_use]
    pub fn groups_of(&self, host: &str) -> Vec<String> {
        let lineage = self.host(host).map(|host| host.lineage.as_slice()).unwrap_or_default();
        let mut names: Vec<String> = lineage.iter().filter(|name| *name != ALL).cloned().collect();
        names.sort();
        names
    }

    /// What is odd but no error: a name that is host and group, a `group_vars` file of no group, ….
    #[must_use]
    pub fn warnings(&self) -> &[Diagnostic] {
        &self.warnings
    }

    /// The folders of the inventory: a folder given with `-i`, or the folder of a file. The first is `inventory_dir`.
    #[must_use]
    pub fn dirs(&self) -> &[PathBuf] {
        &self.dirs
    }

    /// The inventory files that were read, in order.
    #[must_use]
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// The file that names a host first, `inventory_file`.
    #[must_use]
    pub fn file_of(&self, host: &str) -> Option<PathBuf> {
        let span = self.host(host)?.span?;
        Some(self.sources.file(span.file).path.clone())
    }
}

impl Host {
    /// The groups that name it themselves.
    #[must_use]
    pub fn direct_groups(&self) -> &[String] {
        &self.groups
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::error::Diagnostics;
    use crate::source::golden;
    use std::path::Path;

    /// A folder of files, and the inventory of one path in it.
    pub(super) struct Site {
        pub(super) dir: tempfile::TempDir,
        pub(super) sources: SourceMap,
    }

    impl Site {
        pub(super) fn new(files: &[(&str, &str)]) -> Self {
            let dir = tempfile::tempdir().unwrap();
            for (path, text) in files {
                let path = dir.path().join(path);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, text).unwrap();
            }
            Site {
                dir,
                sources: SourceMap::default(),
            }
        }

        pub(super) fn try_load(&self, path: &str) -> Result<Inventory, Diagnostics> {
            Inventory::load(&self.sources, &[InventorySource::Path(self.dir.path().join(path))])
        }

        pub(super) fn load(&self, path: &str) -> Inventory {
            self.try_load(path)
                .unwrap_or_else(|mistakes| panic!("{}", self.shown(&mistakes)))
        }

        /// Rendered without the temporary folder's name.
        pub(super) fn shown(&self, mistakes: &Diagnostics) -> String {
            let folder = format!("{}/", self.dir.path().display());
            mistakes.render(&self.sources, false).replace(&folder, "")
        }
    }

    pub(super) fn names(hosts: &[HostName]) -> Vec<&str> {
        hosts.iter().map(HostName::as_str).collect()
    }

    #[test]
    fn mistakes_read_as_their_goldens() {
        let cases: Vec<PathBuf> = ["yml", "ini"]
            .iter()
            .flat_map(|extension| golden::cases("src/inventory/golden", extension))
            .collect();
        assert!(cases.len() >= 20, "{} cases", cases.len());
        for case in cases {
            let name = case.file_name().unwrap().to_str().unwrap();
            let site = Site::new(&[(name, &std::fs::read_to_string(&case).unwrap())]);
            let mistakes = site.try_load(name).expect_err(name);
            golden::check(&case.with_extension("txt"), &site.shown(&mistakes));
        }
    }

    #[test]
    fn names_are_safe_in_paths_and_command_lines() {
        for name in ["web1", "a.b-c_d", "fe80::1", "::1", "ünï"] {
            assert!(HostName::new(name).is_ok(), "{name}");
        }
        for name in [
            "", "a b", "../x", "-oX", ".hidden", "a/b", "a;b", "$x", "a\nb", "{{ x }}",
        ] {
            assert!(HostName::new(name).is_err(), "{name}");
        }
        assert_eq!(HostName::new("a.b.c").unwrap().short(), "a");
        assert_eq!(HostName::new("10.0.0.1").unwrap().short(), "10.0.0.1");
    }

    #[test]
    fn yaml_and_ini_say_the_same() {
        let yaml = "all:
  hosts:
    lone: {ansible_host: 10.0.0.9}
  children:
    web:
      hosts:
        web[1:2]: {port: 80}
        db1:
      vars: {tier: front, n: 5, flag: 'yes'}
    site:
      children: {web: , db: }
    db:
      hosts: db1:2222
";
        let ini = "lone ansible_host=10.0.0.9 # by hand

[site:children]
web
db ; both

[web]
web[1:2] port=80
db1

[web:vars]
tier = front
n=5
flag='yes'

[db]
db1:2222
";
        let site = Site::new(&[("h.yml", yaml), ("h.ini", ini), ("hosts", ini), ("inventory", yaml)]);
        for file in ["h.yml", "h.ini", "hosts", "inventory"] {
            let inventory = site.load(file);
            let hosts: Vec<&str> = inventory.hosts().map(|host| host.name.as_str()).collect();
            assert_eq!(hosts, ["lone", "web1", "web2", "db1"], "{file}");
            assert_eq!(inventory.groups_of("db1"), ["db", "site", "web"], "{file}");
            assert_eq!(inventory.groups_of("lone"), ["ungrouped"], "{file}");
            assert_eq!(names(&inventory.group_hosts("site")), ["web1", "web2", "db1"], "{file}");
            assert_eq!(
                (
                    inventory.group("site").unwrap().depth,
                    inventory.group("web").unwrap().depth
                ),
                (1, 2)
            );
            let value = |host: &str, name: &str| {
                let layers = inventory.layers(host, &[]).unwrap();
                let found = layers.iter().rev().find_map(|layer| layer.vars.get(name).cloned());
                found.map(|node| (node.to_value().to_string(), node.raw(&site.sources)))
            };
            assert_eq!(value("web1", "port"), Some(("80".into(), "80".into())), "{file}");
            assert_eq!(value("db1", "tier"), Some(("front".into(), "front".into())), "{file}");
            assert_eq!(value("db1", "flag").unwrap().0, "yes", "{file}");
            assert_eq!(value("db1", "ansible_port").unwrap().0, "2222", "{file}");
            assert_eq!(value("lone", "ansible_host").unwrap().1, "10.0.0.9", "{file}");
            assert_eq!(value("lone", "tier"), None, "{file}");
        }
    }

    #[test]
    fn localhost_is_there_without_being_named() {
        let sources = SourceMap::default();
        let inventory = Inventory::load(&sources, &[InventorySource::parse("a,b[1:2],")]).unwrap();
        assert_eq!(names(&inventory.group_hosts(ALL)), ["a", "b1", "b2"]);
        let layers = inventory.layers("localhost", &[]).unwrap();
        assert_eq!(layers[0].vars["ansible_connection"].as_str(), Some("local"));
        assert!(inventory.host("localhost").unwrap().implicit);
        assert_eq!(names(&inventory.pattern("localhost", None).unwrap()), ["localhost"]);
        assert!(inventory.host("nobody").is_none());
        let named = Inventory::load(&sources, &[InventorySource::parse("localhost,")]).unwrap();
        assert!(!named.host("localhost").unwrap().implicit);
    }

    #[test]
    fn folders_are_read_in_order_and_their_other_files_left() {
        let site = Site::new(&[
            ("inv/20.ini", "[web]\nw1 x=20\n"),
            ("inv/10.yml", "web: {hosts: {w1: {x: 10, y: 10}, w0: }}\n"),
            ("inv/10.yml~", "not: [valid"),
            ("inv/README.md", "# read me"),
            ("inv/group_vars/web.yml", "g: 1\n"),
            ("several/lab/hosts.yml", "all:\n"),
            ("several/example/hosts.yml", "all:\n"),
        ]);
        let inventory = site.load("inv");
        assert_eq!(names(&inventory.group_hosts("web")), ["w1", "w0"]);
        let layers = inventory.layers("w1", &[]).unwrap();
        let xs: Vec<String> = layers
            .iter()
            .filter_map(|layer| layer.vars.get("x"))
            .map(|x| x.raw(&site.sources))
            .collect();
        assert_eq!(xs, ["10", "20"]);
        assert!(layers.iter().any(|layer| layer.vars.contains_key("g")));
        let mistakes = site.try_load("several").unwrap_err();
        let help = "it holds the folders several/example, several/lab: choose one with `-i`";
        assert!(site.shown(&mistakes).contains(help), "{}", site.shown(&mistakes));
    }

    #[test]
    fn programs_and_missing_files_are_refused_by_name() {
        use std::os::unix::fs::PermissionsExt;
        let site = Site::new(&[("hosts", "#!/bin/sh\necho {}\n")]);
        let path = site.dir.path().join("hosts");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let mistakes = site.try_load("hosts").unwrap_err();
        assert!(
            site.shown(&mistakes)
                .starts_with("error[inventory-program]: hosts is a program"),
            "{mistakes}"
        );
        assert!(
            site.shown(&site.try_load("none").unwrap_err())
                .contains("cannot read none: there is no such file")
        );
    }

    #[test]
    fn a_name_of_host_and_group_is_warned_of() {
        let site = Site::new(&[("h.ini", "[web]\nweb\n")]);
        let inventory = site.load("h.ini");
        assert_eq!(inventory.warnings()[0].code, "host-and-group");
        assert_eq!(inventory.warnings()[0].labels.len(), 2);
    }

    #[test]
    fn hosts_added_while_running_are_in_their_groups() {
        let site = Site::new(&[("h.ini", "[web]\nw1\n[web:vars]\nx=1\n")]);
        let mut inventory = site.load("h.ini");
        let file = site.sources.add(Path::new("task"), "z: 1\n".into());
        let vars = crate::source::yaml::parse(&site.sources, file)
            .unwrap()
            .entries()
            .cloned()
            .collect();
        let name = HostName::new("w2").unwrap();
        inventory
            .add_host(name, &["web".into(), "new".into()], file, vars)
            .unwrap();
        assert_eq!(names(&inventory.group_hosts("web")), ["w1", "w2"]);
        assert_eq!(inventory.groups_of("w2"), ["new", "web"]);
        let layers = inventory.layers("w2", &[]).unwrap();
        assert!(layers.iter().any(|layer| layer.vars.contains_key("x")));
        assert!(layers.iter().any(|layer| layer.vars.contains_key("z")));
    }
}
