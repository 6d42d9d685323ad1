//! Packages, with whichever manager the machine has.

use super::apt::{Apt, Upgrade};
use super::dnf::Dnf;
use super::packages::{Manager, Presence, State};
use super::{Resource, ResourceError};
use crate::ledger::Thing;
use crate::param::Params;
use crate::path::AbsPath;
use crate::system::System;
use crate::value::{Map, Value, map};
use crate::{choice, params};

choice! {
    /// Which package manager is used.
    pub enum Use {
        /// The one that the machine has.
        Auto = "auto",
        /// apt.
        Apt = "apt" | "ansible.builtin.apt",
        /// dnf, or yum where there is no dnf.
        Dnf = "dnf" | "yum" | "dnf4" | "dnf5" | "ansible.builtin.dnf" | "ansible.builtin.yum",
    }
}

params! {
    /// Makes sure that packages are installed or not, with the machine's own package manager.
    pub struct Package {
        /// Packages, by the names that the machine's distribution gives them.
        name: Vec<String>,
        /// Whether they should be there, and whether in the newest version.
        state: Presence = "present",
        /// Which package manager.
        r#use: Use = "auto",
        /// Fetch the package lists first, when something has to be installed.
        update_cache: bool = "no",
    }
}

/// Which family of package managers a machine has.
///
/// # Errors
/// When it has none that is supported.
pub fn manager(world: &dyn System) -> Result<Manager, ResourceError> {
    let programs =
        [("/usr/bin/dnf", Manager::Dnf), ("/usr/bin/apt-get", Manager::Apt), ("/usr/bin/yum", Manager::Dnf)];
    for (path, manager) in programs {
        if world.stat(&AbsPath::new(path).map_err(ResourceError::message)?)?.is_some() {
            return Ok(manager);
        }
    }
    Err(ResourceError::message("this host has neither dnf nor apt-get; other package managers are not supported"))
}

impl Package {
    fn args(&self) -> Map {
        let names = self.name.iter().map(|name| Value::from(name.as_str())).collect();
        map([
            ("name", Value::List(names)),
            ("state", self.state.word().into()),
            ("update_cache", self.update_cache.into()),
        ])
    }

    fn apt(&self) -> Result<Apt, ResourceError> {
        let apt = Apt::decode(&self.args()).map_err(|_| ResourceError::message("apt does not take these arguments"))?;
        debug_assert_eq!(apt.upgrade, Upgrade::No);
        Ok(apt)
    }

    fn dnf(&self) -> Result<Dnf, ResourceError> {
        Dnf::decode(&self.args()).map_err(|_| ResourceError::message("dnf does not take these arguments"))
    }
}

impl Resource for Package {
    const NAMES: &'static [&'static str] = &["package", "ansible.builtin.package"];
    const EXAMPLE: &'static str = "- name: Load balancer\n  package:\n    name: haproxy\n    state: present\n";
    const PREDICTS: &'static str =
        "which packages come and go, with their versions where the package lists know them; not their dependencies";
    type World = dyn System;
    type State = State;

    fn manages(&self) -> Vec<Thing> {
        self.name.iter().map(|name| Thing::new("package", name)).collect()
    }

    fn check(&self) -> Result<(), Vec<String>> {
        if self.name.is_empty() && !self.update_cache {
            return Err(vec!["`name` says which packages".to_owned()]);
        }
        Ok(())
    }

    fn inspect(&self, world: &Self::World) -> Result<State, ResourceError> {
        let manager = match self.r#use {
            Use::Auto => manager(world)?,
            Use::Apt => Manager::Apt,
            Use::Dnf => Manager::Dnf,
        };
        let refused = |problems: Vec<String>| ResourceError::message(problems.join("; "));
        match manager {
            Manager::Apt => {
                let apt = self.apt()?;
                apt.check().map_err(refused)?;
                apt.inspect(world)
            }
            Manager::Dnf => {
                let dnf = self.dnf()?;
                dnf.check().map_err(refused)?;
                dnf.inspect(world)
            }
        }
    }

    fn desire(&self, now: &State) -> Result<State, ResourceError> {
        match now.manager {
            Manager::Apt => self.apt()?.desire(now),
            Manager::Dnf => self.dnf()?.desire(now),
        }
    }

    fn apply(&self, now: &State, want: &State, world: &Self::World) -> Result<Map, ResourceError> {
        match now.manager {
            Manager::Apt => self.apt()?.apply(now, want, world),
            Manager::Dnf => self.dnf()?.apply(now, want, world),
        }
    }

    fn notes(&self, now: &State, want: &State) -> Vec<String> {
        match (now.manager, self.dnf()) {
            (Manager::Dnf, Ok(dnf)) => dnf.notes(now, want),
            _ => Vec::new(),
        }
    }
}
