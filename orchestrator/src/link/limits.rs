//! How much is done at once towards SSH servers, in one place, each number with its reason.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The limits of a [`Connector`](super::ssh::Connector).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections being set up at once, over all hosts. Key exchange is work for the control node's processors; more at
    /// once only makes each of them slower.
    pub connects: usize,
    /// Connections being set up at once towards one address and port. `sshd` drops at random from 10 unauthenticated
    /// connections (`MaxStartups 10:30:100`, sshd_config(5)); two are left for others.
    pub connects_per_address: usize,
    /// Connections being set up at once through one jump host, so that its forwarding and its network are shared fairly.
    pub connects_per_jump: usize,
    /// Commands running at once over one connection. `sshd` refuses the eleventh session (`MaxSessions 10`); two are left.
    pub channels: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connects: 32,
            connects_per_address: 8,
            connects_per_jump: 10,
            channels: 8,
        }
    }
}

/// One semaphore for each key, made when first asked for.
#[derive(Debug)]
pub(crate) struct Gates<K> {
    permits: usize,
    gates: Mutex<HashMap<K, Arc<Semaphore>>>,
}

impl<K: Eq + Hash> Gates<K> {
    pub(crate) fn new(permits: usize) -> Self {
        Gates {
            permits,
            gates: Mutex::new(HashMap::new()),
        }
    }

    /// Waits for a place. `None` cannot happen while nobody closes the semaphores, and means no limit.
    pub(crate) async fn enter(&self, key: K) -> Option<OwnedSemaphorePermit> {
        let gate = {
            let mut gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
            gates
                .entry(key)
                .or_insert_with(|| Arc::new(Semaphore::new(self.permits)))
                .clone()
        };
        gate.acquire_owned().await.ok()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_gate_per_key() {
        let gates = Gates::new(1);
        let held = gates.enter("a").await;
        assert!(held.is_some());
        assert!(gates.enter("b").await.is_some(), "another key has its own places");
        let full = tokio::time::timeout(std::time::Duration::from_millis(20), gates.enter("a")).await;
        assert!(full.is_err(), "one place only");
        drop(held);
        assert!(gates.enter("a").await.is_some());
    }
}
