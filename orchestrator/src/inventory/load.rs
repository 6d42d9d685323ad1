//! From what `-i` names to an inventory: files, folders of files, lists of hosts.

use super::{ALL, Inventory, ini, vars, yaml};
use crate::error::{Diagnostic, Diagnostics};
use crate::source::files::Files;
use crate::source::folder_of;
use crate::source::{FileId, SourceMap, Span};
use crate::vault::Vault;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What one `-i` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InventorySource {
    /// A file or a folder.
    Path(PathBuf),
    /// Hosts parted by commas; a single one ends in a comma.
    Hosts(String),
}

impl InventorySource {
    /// Reads `-i`'s argument: with a comma in it, a list of hosts.
    #[must_use]
    pub fn parse(argument: &str) -> Self {
        if argument.contains(',') {
            InventorySource::Hosts(argument.to_owned())
        } else {
            InventorySource::Path(PathBuf::from(argument))
        }
    }
}

/// Endings of files in an inventory folder that are no inventories, as Ansible has them.
const SKIPPED: [&str; 13] = [
    ".pyc",
    ".pyo",
    ".swp",
    ".bak",
    "~",
    ".rpm",
    ".md",
    ".txt",
    ".rst",
    ".orig",
    ".cfg",
    ".retry",
    ".gitignore",
];
const FOLDERS: [&str; 3] = ["group_vars", "host_vars", "vars_plugins"];

impl Inventory {
    /// Loads everything that was named, in order; later variables win. Nothing may be encrypted.
    ///
    /// # Errors
    /// All mistakes in all files.
    pub fn load(sources: &SourceMap, from: &[InventorySource]) -> Result<Inventory, Diagnostics> {
        let vault = Vault::new(Vec::new()).map_err(|error| Diagnostic::new("vault", error.to_string()))?;
        Inventory::load_with(sources, from, Arc::new(vault))
    }

    /// As [`Inventory::load`], with a vault that opens what is encrypted, here and in `group_vars` and `host_vars`.
    ///
    /// # Errors
    /// All mistakes in all files.
    pub fn load_with(
        sources: &SourceMap,
        from: &[InventorySource],
        vault: Arc<Vault>,
    ) -> Result<Inventory, Diagnostics> {
        let mut loader = Loader {
            inventory: Inventory::empty(sources, vault),
            mistakes: Diagnostics::default(),
        };
        for source in from {
            match source {
                InventorySource::Hosts(list) => loader.list(list),
                InventorySource::Path(path) => loader.path(path),
            }
        }
        let Loader {
            mut inventory,
            mut mistakes,
        } = loader;
        inventory.from = from.to_vec();
        mistakes.absorb(inventory.finish());
        inventory.warn();
        mistakes.into_result(inventory)
    }

    /// The same sources as they are by now.
    ///
    /// # Errors
    /// All mistakes in all files.
    pub fn again(&self) -> Result<Inventory, Diagnostics> {
        Inventory::load_with(&self.sources, &self.from, Arc::clone(&self.vault))
    }

    fn warn(&mut self) {
        let mut warnings = Vec::new();
        for host in self.hosts.values() {
            if let Some(group) = self.groups.get(host.name.as_str()) {
                let message = format!("`{}` is the name of a host and of a group", host.name);
                let one = Diagnostic::warning("host-and-group", message)
                    .at_some(host.span, "the host")
                    .at_some(group.span, "the group");
                warnings.push(one.note("in a pattern the name means the group"));
            }
        }
        for dir in &self.dirs {
            warnings.extend(self.unused_vars(dir));
        }
        self.warnings.extend(warnings);
    }
}

struct Loader {
    inventory: Inventory,
    mistakes: Diagnostics,
}

impl Loader {
    fn sources(&self) -> SourceMap {
        self.inventory.sources.clone()
    }

    fn list(&mut self, list: &str) {
        let file = self.sources().add(Path::new("-i"), list.to_owned());
        let mut at = 0;
        for piece in list.split(',') {
            let lead = piece.len() - piece.trim_start().len();
            let word = piece.trim();
            let span = Span {
                file,
                start: (at + lead) as u32,
                end: (at + lead + word.len()) as u32,
            };
            if !word.is_empty() {
                let added = self.inventory.add_address(ALL, word, span, file, Vec::new());
                self.mistakes.absorb(added);
            }
            at += piece.len() + 1;
        }
    }

    fn path(&mut self, path: &Path) {
        if self.sources().disk().is_dir(path) {
            self.remember(path.to_path_buf());
            let before = self.inventory.files.len();
            self.folder(path);
            if self.inventory.files.len() == before {
                self.mistakes.push(no_inventory(self.sources().disk(), path));
            }
        } else {
            self.remember(folder_of(path));
            self.file(path);
        }
    }

    fn remember(&mut self, dir: PathBuf) {
        if !self.inventory.dirs.contains(&dir) {
            self.inventory.dirs.push(dir);
        }
    }

    fn folder(&mut self, folder: &Path) {
        let sources = self.sources();
        let disk = sources.disk();
        let entries = vars::entries(disk, folder).into_iter().filter(|path| wanted(path));
        let (folders, files): (Vec<PathBuf>, Vec<PathBuf>) = entries.partition(|path| disk.is_dir(path));
        if files.is_empty() {
            // Folders alone are several inventories beside each other, and mixing them is nobody's wish.
            return;
        }
        let mut all: Vec<(PathBuf, bool)> = folders.into_iter().map(|path| (path, true)).collect();
        all.extend(files.into_iter().map(|path| (path, false)));
        all.sort();
        for (path, is_folder) in all {
            if is_folder {
                self.folder(&path)
            } else {
                self.file(&path)
            }
        }
    }

    fn file(&mut self, path: &Path) {
        let sources = self.sources();
        if is_script(sources.disk(), path) {
            let message = format!(
                "{} is a program, and inventory programs are not supported",
                path.display()
            );
            let one = Diagnostic::new("inventory-program", message);
            self.mistakes.push(
                one.help(
                    "write its hosts to a YAML file and give that, or clear its executable bit if it is no program",
                ),
            );
            return;
        }
        let Some(file) = self.mistakes.absorb(sources.read(path, None)) else {
            return;
        };
        self.inventory.files.push(path.to_path_buf());
        let read = if is_yaml(path, &sources, file) {
            yaml::read(&mut self.inventory, file)
        } else {
            ini::read(&mut self.inventory, file)
        };
        self.mistakes.absorb(read);
        self.inventory.adopt();
    }
}

fn no_inventory(disk: &Files, folder: &Path) -> Diagnostic {
    let message = format!("no inventory file in {}", folder.display());
    let inner: Vec<String> = vars::entries(disk, folder)
        .into_iter()
        .filter(|path| disk.is_dir(path) && wanted(path))
        .map(|path| path.display().to_string())
        .collect();
    let one = Diagnostic::new("no-inventory", message);
    if inner.is_empty() {
        one.help("an inventory is a YAML or INI file; `-i host1,host2,` names hosts without one")
    } else {
        one.help(format!(
            "it holds the folders {}: choose one with `-i`",
            inner.join(", ")
        ))
    }
}

fn wanted(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let skipped = name.starts_with('.') || SKIPPED.iter().any(|end| name.ends_with(end));
    !skipped && !FOLDERS.contains(&name)
}

fn is_script(disk: &Files, path: &Path) -> bool {
    let executable = disk.mode(path).is_some_and(|mode| mode & 0o111 != 0);
    executable
        && disk
            .read(path)
            .is_ok_and(|bytes| bytes.starts_with(b"#!") || bytes.starts_with(b"\x7fELF"))
}

/// By its ending; without one, by its first line that says something: `---`, `{` or `key:` is YAML.
fn is_yaml(path: &Path, sources: &SourceMap, file: FileId) -> bool {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("yml" | "yaml" | "json") => return true,
        Some("ini") => return false,
        _ => {}
    }
    let text = &sources.file(file).text;
    let first = text
        .lines()
        .map(str::trim_end)
        .find(|line| !line.is_empty() && !line.starts_with(['#', ';']));
    first.is_some_and(|line| {
        let line = line.split(" #").next().unwrap_or(line).trim_end();
        line.starts_with("---") || line.starts_with('{') || (!line.starts_with('[') && line.ends_with(':'))
    })
}
