//! The layers of variables that the inventory and the playbook's folder give a host, from the weakest to the strongest.

use super::{ALL, Host, HostName, Inventory};
use crate::error::{Diagnostic, Diagnostics, nearest};
use crate::source::files::Files;
use crate::source::yaml::Node;
use crate::source::{FileId, SourceMap};
use crate::vault::Vault;
use indexmap::IndexMap;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Variables as written: unrendered, each with its place.
pub type Variables = IndexMap<String, Arc<Node>>;

/// Where a layer of variables comes from, in the order of precedence among layers of one subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LayerKind {
    /// The inventory, of a group.
    GroupInventory,
    /// `group_vars/` beside the inventory.
    GroupVarsInventory,
    /// `group_vars/` beside the playbook.
    GroupVarsPlaybook,
    /// The inventory, of a host.
    HostInventory,
    /// `host_vars/` beside the inventory.
    HostVarsInventory,
    /// `host_vars/` beside the playbook.
    HostVarsPlaybook,
}

/// Variables of one origin; the later layer of [`Inventory::layers`] wins.
#[derive(Debug, Clone, PartialEq)]
pub struct VarLayer {
    /// The file as shown to people, with the group or host in brackets where a file holds several.
    pub name: String,
    /// What kind of origin.
    pub kind: LayerKind,
    /// The group or host that has them.
    pub subject: String,
    /// The variables.
    pub vars: Variables,
}

type Loaded = Result<Vec<Arc<VarLayer>>, Diagnostics>;

/// The files that were read, by their folder and subject, so that many hosts share one reading.
#[derive(Debug, Default)]
pub(super) struct Cache(Mutex<HashMap<(PathBuf, LayerKind, String), Loaded>>);

const EXTENSIONS: [&str; 3] = ["yml", "yaml", "json"];

impl Inventory {
    /// The layers of a host from the weakest to the strongest: groups in the inventory, `group_vars/all` beside inventory
    /// and playbook, the other `group_vars`, then the same of the host.
    ///
    /// # Errors
    /// What is wrong in the files. A host that is not in the inventory has no layers.
    pub fn layers(&self, host: &str, playbook_dirs: &[&Path]) -> Result<Vec<Arc<VarLayer>>, Diagnostics> {
        match self.host(host) {
            Some(host) => self.layers_of(host, playbook_dirs),
            None => Ok(Vec::new()),
        }
    }

    /// The layers of a host that a run has added to these groups.
    ///
    /// # Errors
    /// What is wrong in the files.
    pub fn added_layers(
        &self,
        name: &HostName,
        groups: &[String],
        playbook_dirs: &[&Path],
    ) -> Result<Vec<Arc<VarLayer>>, Diagnostics> {
        let host = Host {
            name: name.clone(),
            span: None,
            implicit: false,
            groups: groups.to_vec(),
            lineage: std::iter::once(ALL.to_owned()).chain(groups.iter().cloned()).collect(),
            layers: Vec::new(),
        };
        self.layers_of(&host, playbook_dirs)
    }

    fn layers_of(&self, host: &Host, playbook_dirs: &[&Path]) -> Result<Vec<Arc<VarLayer>>, Diagnostics> {
        let inventory: Vec<&Path> = self.dirs.iter().map(PathBuf::as_path).collect();
        let playbook: Vec<&Path> = playbook_dirs.iter().copied().filter(|dir| !self.is_dir(dir)).collect();
        let all = [ALL.to_owned()];
        let others: Vec<String> = host.lineage.iter().filter(|name| *name != ALL).cloned().collect();
        let itself = [host.name.to_string()];
        let mut layers = self.inventory_layers(host);
        for (kind, dirs, subjects) in [
            (LayerKind::GroupVarsInventory, &inventory, all.as_slice()),
            (LayerKind::GroupVarsPlaybook, &playbook, &all),
            (LayerKind::GroupVarsInventory, &inventory, &others),
            (LayerKind::GroupVarsPlaybook, &playbook, &others),
        ] {
            layers.extend(self.in_files(kind, dirs, subjects)?);
        }
        layers.extend(host.layers.iter().cloned());
        layers.extend(self.in_files(LayerKind::HostVarsInventory, &inventory, &itself)?);
        layers.extend(self.in_files(LayerKind::HostVarsPlaybook, &playbook, &itself)?);
        Ok(layers)
    }

    /// The files of `group_vars` and `host_vars` in a folder that no group or host will ever read.
    #[must_use]
    pub fn unused_vars(&self, dir: &Path) -> Vec<Diagnostic> {
        let groups: Vec<&str> = self.groups.keys().map(String::as_str).collect();
        let hosts = self.hosts.keys().chain(self.implicit.keys());
        let hosts: Vec<&str> = hosts.map(super::HostName::as_str).collect();
        let mut warnings = Vec::new();
        for (folder, noun, names) in [("group_vars", "group", groups), ("host_vars", "host", hosts)] {
            let disk = self.sources.disk();
            for path in entries(disk, &dir.join(folder)) {
                let subject = if disk.is_dir(&path) {
                    path.file_name()
                } else {
                    path.file_stem()
                };
                let full = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
                let subject = subject.and_then(|name| name.to_str()).unwrap_or_default();
                if ignored(full) || names.contains(&subject) || names.contains(&full) {
                    continue;
                }
                let message = format!("{} belongs to no {noun} of the inventory", path.display());
                let one = Diagnostic::warning("unused-vars", message);
                warnings.push(match nearest(subject, names.iter().copied()) {
                    Some(name) => one.help(format!("did you mean `{name}`?")),
                    None => one,
                });
            }
        }
        warnings
    }

    fn is_dir(&self, dir: &Path) -> bool {
        let disk = self.sources.disk();
        let same = |left: &Path, right: &Path| match (disk.real(left), disk.real(right)) {
            (Some(left), Some(right)) => left == right,
            _ => left == right,
        };
        self.dirs.iter().any(|known| same(known, dir))
    }

    fn inventory_layers(&self, host: &Host) -> Vec<Arc<VarLayer>> {
        let groups = host.lineage.iter().filter_map(|name| self.groups.get(name));
        groups.flat_map(|group| group.layers.iter().cloned()).collect()
    }

    fn in_files(&self, kind: LayerKind, dirs: &[&Path], subjects: &[String]) -> Loaded {
        let mut layers = Vec::new();
        for dir in dirs {
            for subject in subjects {
                layers.extend(self.cache.get(self, dir, kind, subject)?);
            }
        }
        Ok(layers)
    }
}

impl Cache {
    fn get(&self, inventory: &Inventory, dir: &Path, kind: LayerKind, subject: &str) -> Loaded {
        let key = (dir.to_path_buf(), kind, subject.to_owned());
        let mut cache = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let loaded = cache.entry(key).or_insert_with(|| load(inventory, dir, kind, subject));
        loaded.clone()
    }
}

fn load(inventory: &Inventory, dir: &Path, kind: LayerKind, subject: &str) -> Loaded {
    let folder = match kind {
        LayerKind::HostVarsInventory | LayerKind::HostVarsPlaybook => "host_vars",
        _ => "group_vars",
    };
    let sources = &inventory.sources;
    let mut layers = Vec::new();
    for path in files(sources.disk(), &dir.join(folder), subject)? {
        let file = sources.read(&path, None)?;
        layers.push(Arc::new(VarLayer {
            name: sources.file(file).path.display().to_string(),
            kind,
            subject: subject.to_owned(),
            vars: variables(sources, file, &inventory.vault)?,
        }));
    }
    Ok(layers)
}

/// Reads a file of variables: one mapping, or nothing; encrypted or not.
///
/// # Errors
/// What is wrong with it as YAML, that it cannot be decrypted, or that it is no mapping of names.
pub fn variables(sources: &SourceMap, file: FileId, vault: &Vault) -> Result<Variables, Diagnostics> {
    let node = vault.parse(sources, file)?;
    if node.as_map().is_none() && !node.is_null() {
        let message = format!("a file of variables is a mapping, not {}", node.type_name());
        return Err(Diagnostic::new("wrong-type", message)
            .at(node.span, "expected `name: value`")
            .into());
    }
    names_only(&node)?;
    Ok(of_mapping(&node))
}

/// Refuses keys that no variable's name can be.
pub(super) fn names_only(node: &Node) -> Result<(), Diagnostics> {
    let mut mistakes = Diagnostics::default();
    for (key, _) in node.entries().filter(|(key, _)| key.as_str().is_none()) {
        let message = format!("a variable's name is text, not {}", key.type_name());
        mistakes.push(Diagnostic::new("bad-variable-name", message).at(key.span, "quote it, or name it otherwise"));
    }
    mistakes.into_result(())
}

/// A mapping's entries as variables.
pub(super) fn of_mapping(node: &Node) -> Variables {
    let named = node
        .entries()
        .filter_map(|(key, value)| Some((key.as_str()?.to_owned(), Arc::new(value.clone()))));
    named.collect()
}

/// The files of one subject: `NAME` (a file, or a folder with all in it), else `NAME.yml`, `NAME.yaml`, `NAME.json`.
fn files(disk: &Files, folder: &Path, subject: &str) -> Result<Vec<PathBuf>, Diagnostic> {
    let with_extension = EXTENSIONS
        .iter()
        .map(|extension| folder.join(format!("{subject}.{extension}")));
    let candidates = std::iter::once(folder.join(subject)).chain(with_extension);
    let found: Vec<PathBuf> = candidates.filter(|path| disk.exists(path)).collect();
    if let [first, second, ..] = &found[..] {
        let message = format!(
            "{} and {} both hold the variables of `{subject}`",
            first.display(),
            second.display()
        );
        return Err(Diagnostic::new("ambiguous-vars", message)
            .note("Ansible reads only the first of the two")
            .help(format!(
                "keep one of them, or move both into the folder {}",
                folder.join(subject).display()
            )));
    }
    let mut files = Vec::new();
    for path in found {
        gather(disk, path, &mut files);
    }
    Ok(files)
}

fn gather(disk: &Files, path: PathBuf, files: &mut Vec<PathBuf>) {
    if !disk.is_dir(&path) {
        files.push(path);
        return;
    }
    for entry in entries(disk, &path) {
        let name = entry.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let extension = entry.extension().and_then(|extension| extension.to_str());
        let readable = disk.is_dir(&entry) || extension.is_none_or(|found| EXTENSIONS.contains(&found));
        if !ignored(name) && readable {
            gather(disk, entry, files);
        }
    }
}

fn ignored(name: &str) -> bool {
    name.starts_with('.') || [".bak", ".orig", ".md", "~"].iter().any(|end| name.ends_with(end))
}

/// A folder's entries, sorted; none where there is no such folder.
pub(super) fn entries(disk: &Files, folder: &Path) -> Vec<PathBuf> {
    disk.names(folder).into_iter().map(|name| folder.join(name)).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::super::tests::Site;

    #[test]
    fn layers_come_in_the_order_of_precedence() {
        let site = Site::new(&[
            (
                "inv/hosts.yml",
                "all:\n  vars: {x: 1}\n  hosts: {h: {x: 6}}\n  children:\n    b: {hosts: {h: }, vars: {x: 2}}\n    a: {children: {b: , c: {hosts: {h: }}}, vars: {x: 2}}\n    z: {hosts: {h: }, vars: {ansible_group_priority: 9}}\n    y: {hosts: {h: }}\n",
            ),
            ("inv/group_vars/all/20.yml", "x: 3\n"),
            ("inv/group_vars/all/10", "x: 3\n"),
            ("inv/group_vars/all/README.md", "no"),
            ("inv/group_vars/all/more/x.json", "{\"x\": 3}"),
            ("inv/group_vars/b.yml", "x: 5\n"),
            ("inv/group_vars/a.yaml", "x: 5\n"),
            ("inv/group_vars/y.yml", "x: 5\n"),
            ("inv/group_vars/z.yml", "x: 5\n"),
            ("inv/host_vars/h.yml", "x: 7\n"),
            ("play/group_vars/all.yml", "x: 4\n"),
            ("play/group_vars/a.yml", "x: 6\n"),
            ("play/host_vars/h/main.yml", "x: 8\n"),
        ]);
        let inventory = site.load("inv");
        let play = site.dir.path().join("play");
        let layers = inventory.layers("h", &[&play, &site.dir.path().join("inv")]).unwrap();
        let root = format!("{}/", site.dir.path().display());
        let names: Vec<String> = layers.iter().map(|layer| layer.name.replace(&root, "")).collect();
        let expected = [
            "inv/hosts.yml (all)",
            "inv/hosts.yml (a)",
            "inv/hosts.yml (b)",
            "inv/group_vars/all/10",
            "inv/group_vars/all/20.yml",
            "inv/group_vars/all/more/x.json",
            "play/group_vars/all.yml",
            "inv/group_vars/a.yaml",
            "inv/group_vars/y.yml",
            "inv/group_vars/z.yml",
            "inv/group_vars/b.yml",
            "play/group_vars/a.yml",
            "inv/hosts.yml (h)",
            "inv/host_vars/h.yml",
            "play/host_vars/h/main.yml",
        ];
        assert_eq!(names, expected);
        assert!(
            layers
                .windows(2)
                .all(|pair| pair[0].kind <= pair[1].kind || pair[0].kind == super::LayerKind::GroupVarsPlaybook)
        );
    }

    #[test]
    fn a_file_of_no_group_is_warned_of_and_two_of_one_refused() {
        let site = Site::new(&[
            ("inv/hosts.yml", "all: {children: {services: {hosts: {h: }}}}\n"),
            ("inv/group_vars/servcies.yml", "x: 1\n"),
            ("inv/host_vars/h.yml", "x: 1\n"),
            ("inv/host_vars/h.yaml", "x: 1\n"),
        ]);
        let inventory = site.load("inv");
        let warning = &inventory.warnings()[0];
        assert!(
            warning
                .message
                .ends_with("servcies.yml belongs to no group of the inventory")
        );
        assert_eq!(warning.help, ["did you mean `services`?"]);
        assert_eq!(inventory.layers("h", &[]).unwrap_err().0[0].code, "ambiguous-vars");
    }

    #[test]
    fn encrypted_variables_are_secrets_or_refused() {
        use crate::template::SecretStore;
        use crate::vault::{DEFAULT_LABEL, Vault, VaultKey};
        let key = VaultKey::new(DEFAULT_LABEL, okd_agent::secret::Secret::new("p"));
        let vault = std::sync::Arc::new(Vault::new(vec![key]).unwrap());
        let sealed = vault.encrypt(b"password: hunter2\n", None).unwrap();
        let site = Site::new(&[
            ("inv/hosts.yml", "all: {hosts: {h: }}\n"),
            ("inv/group_vars/all/vault.yml", &sealed),
        ]);
        let from = [super::super::InventorySource::Path(site.dir.path().join("inv"))];
        let open = super::super::Inventory::load_with(&site.sources, &from, vault.clone()).unwrap();
        let layers = open.layers("h", &[]).unwrap();
        let shown = layers[0].vars["password"].as_str().unwrap().to_owned();
        assert!(!shown.contains("hunter2"));
        assert_eq!(vault.keeper().reveal(&shown).unwrap(), "hunter2");
        assert_eq!(site.load("inv").layers("h", &[]).unwrap_err().0[0].code, "vault");
    }

    #[test]
    fn files_of_variables_hold_mappings_of_names() {
        let site = Site::new(&[
            ("inv/hosts.yml", "all: {hosts: {h: , i: , j: }}\n"),
            ("inv/host_vars/h.yml", "- x\n"),
            ("inv/host_vars/i.yml", "1: x\n"),
            ("inv/host_vars/j.yml", "# nothing\n"),
        ]);
        let inventory = site.load("inv");
        assert_eq!(inventory.layers("h", &[]).unwrap_err().0[0].code, "wrong-type");
        assert_eq!(inventory.layers("i", &[]).unwrap_err().0[0].code, "bad-variable-name");
        assert_eq!(inventory.layers("j", &[]).unwrap().len(), 1);
    }
}
