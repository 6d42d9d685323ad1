//! Where an interface is, whatever its kind: the one place that knows which client speaks to it.

use super::api::{Api, ApiError};
use super::{kube, pve};
use okd_agent::secret::Secret;
use std::sync::Arc;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// Proxmox VE's REST interface.
    Proxmox(pve::Endpoint),
    /// A cluster's API.
    Kubernetes(kube::Endpoint),
}

impl Endpoint {
    /// With the secrets themselves in the place of their placeholders.
    #[must_use]
    pub fn revealed(self, bare: &dyn Fn(String) -> String) -> Endpoint {
        match self {
            Endpoint::Proxmox(endpoint) => Endpoint::Proxmox(endpoint.revealed(bare)),
            Endpoint::Kubernetes(endpoint) => Endpoint::Kubernetes(endpoint.revealed(bare)),
        }
    }

    /// What no message may show.
    #[must_use]
    pub fn secrets(&self) -> Vec<Secret> {
        match self {
            Endpoint::Proxmox(endpoint) => vec![Secret::new(endpoint.token_secret.as_str())],
            Endpoint::Kubernetes(endpoint) => endpoint.secrets(),
        }
    }

    /// What it is, for people.
    #[must_use]
    pub fn told(&self) -> String {
        match self {
            Endpoint::Proxmox(endpoint) => format!("{} at {}", endpoint.token(), endpoint.host),
            Endpoint::Kubernetes(endpoint) => format!("the cluster at {}", endpoint.place()),
        }
    }

    /// Whether its steps take turns. With Proxmox VE they do: an apply of the network takes all that is staged with it, and
    /// a free number of a virtual machine is nobody's until it is used. With a cluster they do not: one may wait while another
    /// approves what is waited for.
    #[must_use]
    pub fn takes_turns(&self) -> bool {
        match self {
            Endpoint::Proxmox(_) => true,
            Endpoint::Kubernetes(_) => false,
        }
    }

    /// A client. Nothing is contacted yet.
    ///
    /// # Errors
    /// When the certificates that it should believe cannot be read; [`ApiError::Unknown`] when what says how it is reached
    /// is still to be made.
    pub fn client(&self) -> Result<Arc<dyn Api>, ApiError> {
        match self {
            Endpoint::Proxmox(endpoint) => Ok(Arc::new(pve::Client::new(endpoint.clone())?)),
            Endpoint::Kubernetes(endpoint) => Ok(Arc::new(kube::Client::new(endpoint)?)),
        }
    }
}
