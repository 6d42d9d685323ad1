//! A stand-in of an OKD cluster: its API and its Machine Config Server over TLS, for tests and demos. It is no Kubernetes: it
//! holds objects, lives through bootstrap and install as machines join, and decides on requests for certificates as the real
//! server does, which is to say too kindly.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod api;
pub mod keys;
mod life;
mod objects;
mod serve;

pub use keys::{Keys, request};
pub use life::Machine;

use life::Life;
use objects::Objects;
use serde_json::{Value as Json, json};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// What a stand-in is told.
#[derive(Debug, Clone)]
pub struct Options {
    /// `NAME.DOMAIN` of the cluster.
    pub domain: String,
    /// Masters that have to join before the bootstrap is complete.
    pub masters: usize,
    /// Workers that have to join besides before the install is complete.
    pub workers: usize,
    /// How long operators take once all machines are there.
    pub settle: Duration,
    /// While this file is there, they do not settle.
    pub hold: Option<PathBuf>,
    /// Where the API listens.
    pub api: SocketAddr,
    /// Where the Machine Config Server listens.
    pub config: SocketAddr,
    /// The Machine Config Server speaks HTTP without TLS.
    pub plain_config: bool,
    /// The API does not answer before the bootstrap machine has joined.
    pub api_after_bootstrap: bool,
    /// The Machine Config Server refuses workers until the bootstrap is complete, as the one on the bootstrap machine does.
    pub late_workers: bool,
    /// What goes wrong.
    pub faults: Faults,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, Default)]
pub struct Faults {
    /// The bootstrap never completes.
    pub stuck: bool,
    /// An operator is degraded, and the install never completes.
    pub degraded: bool,
    /// Nobody answers at the API's port.
    pub down: bool,
}

impl Default for Options {
    fn default() -> Self {
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        Options {
            domain: "okd.example.org".to_owned(),
            masters: 3,
            workers: 2,
            settle: Duration::from_millis(500),
            hold: None,
            api: loopback,
            config: loopback,
            plain_config: false,
            api_after_bootstrap: false,
            late_workers: false,
            faults: Faults::default(),
        }
    }
}

/// A running stand-in; it ends with the process.
pub struct StandIn {
    /// Where its API listens.
    pub api: SocketAddr,
    /// Where its Machine Config Server listens.
    pub config: SocketAddr,
    /// Its administrator's kubeconfig.
    pub kubeconfig: String,
    world: Arc<Mutex<World>>,
}

impl StandIn {
    /// Starts one with keys of its own.
    #[must_use]
    pub fn start(options: Options) -> StandIn {
        let keys = Keys::make(&options.domain);
        StandIn::start_with(options, keys)
    }

    /// Starts one with these keys.
    #[must_use]
    pub fn start_with(options: Options, keys: Keys) -> StandIn {
        let kubeconfig = keys.kubeconfig(&options.domain);
        let (api, config, plain) = (options.api, options.config, options.plain_config);
        let (tls, config_tls) = (keys.api(), keys.config());
        let world = Arc::new(Mutex::new(World::new(options, keys)));
        let api = serve::start(api, Some(tls), serve::Side::Api, Arc::clone(&world));
        let config = serve::start(
            config,
            (!plain).then_some(config_tls),
            serve::Side::Config,
            Arc::clone(&world),
        );
        StandIn {
            api,
            config,
            kubeconfig,
            world,
        }
    }

    /// Its inside, after what is due has happened.
    ///
    /// # Panics
    /// When a request made it panic.
    pub fn world(&self) -> MutexGuard<'_, World> {
        let mut world = self.world.lock().unwrap();
        world.tick();
        world
    }

    /// A machine joins, as it does when it has booted.
    pub fn join(&self, name: &str, role: &str, addresses: &[&str]) {
        let addresses = addresses.iter().map(|text| (*text).to_owned()).collect();
        self.world().join(Machine::new(name, role, addresses));
    }

    /// What it was asked to change, in order.
    #[must_use]
    pub fn writes(&self) -> Vec<String> {
        self.world().writes.clone()
    }
}

/// Everything that the stand-in knows.
pub struct World {
    pub(crate) options: Options,
    pub(crate) keys: Keys,
    pub(crate) life: Life,
    pub objects: Objects,
    pub(crate) writes: Vec<String>,
}

impl World {
    fn new(options: Options, keys: Keys) -> World {
        World {
            objects: Objects::standard(&options.domain, &keys.ca_pem()),
            life: Life::default(),
            writes: Vec::new(),
            options,
            keys,
        }
    }

    /// Whether the API's port is answered.
    pub(crate) fn answers(&self) -> bool {
        !self.options.faults.down && (!self.options.api_after_bootstrap || self.life.bootstrapped())
    }

    /// Whether the bootstrap is complete.
    #[must_use]
    pub fn bootstrap_complete(&self) -> bool {
        self.objects
            .get("/api/v1/namespaces/kube-system/configmaps/bootstrap")
            .is_some()
    }

    /// Files a request for a certificate as a machine or anybody else would; its name.
    pub fn file(&mut self, spec: Json) -> String {
        let name = format!("csr-{:05x}", 0x0b5f1 + self.life.counter() * 7919);
        let body = json!({ "metadata": { "name": name }, "spec": spec, "status": {} });
        self.objects.put_new(objects::REQUESTS, &name, body);
        name
    }
}

/// A time as the API writes it.
pub(crate) fn stamp(before: Duration) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() - before;
    let (days, rest) = (now.as_secs() / 86_400, now.as_secs() % 86_400);
    // Civil from days, with years that begin in March.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    format!(
        "{:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z",
        year + era * 400 + carry,
        rest / 3600,
        rest / 60 % 60,
        rest % 60
    )
}

/// Writes a file that only its owner reads.
///
/// # Panics
/// When it cannot.
pub fn write_private(path: &Path, text: &str) {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = std::fs::OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(path);
    file.unwrap().write_all(text.as_bytes()).unwrap();
}

/// When something happened.
pub(crate) fn now() -> Instant {
    Instant::now()
}
