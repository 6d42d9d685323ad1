//! What a kind needs of Proxmox VE besides its own state: privileges of the token, and room on storages. `okd-play doctor`
//! asks for it before anything is run.

use std::collections::BTreeMap;

/// The zones of networks that are not the nodes' own bridges, by the network's name.
pub type Zones = BTreeMap<String, String>;

/// A privilege on a path of the interface's access control.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Need {
    /// Where, such as `/vms/100`.
    pub path: String,
    /// One of these.
    pub any: Vec<&'static str>,
    /// What for.
    pub why: String,
}

impl Need {
    /// One of several privileges.
    #[must_use]
    pub fn any(path: &str, any: &[&'static str], why: &str) -> Need {
        Need {
            path: path.to_owned(),
            any: any.to_vec(),
            why: why.to_owned(),
        }
    }

    /// One privilege.
    #[must_use]
    pub fn one(path: &str, privilege: &'static str, why: &str) -> Need {
        Need::any(path, &[privilege], why)
    }
}

/// A storage that is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    /// From which node.
    pub node: String,
    /// Its name.
    pub storage: String,
    /// What it has to take, such as `iso`.
    pub content: &'static str,
    /// How many bytes are put there, where that is known.
    pub bytes: Option<u64>,
}
