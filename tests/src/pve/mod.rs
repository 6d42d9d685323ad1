//! A stand-in of Proxmox VE: its REST API over TLS, for tests and demos, on loopback only. It behaves as the real one where
//! naive ones do not: staged networks, late task failures, learned keys, pending values, and its error forms.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod guest;
mod network;
mod request;
mod rights;
mod rules;
mod serve;
mod storage;
mod task;

pub use guest::Guest;
pub use request::{Asked, Reply};
pub use rights::ROLE;

use network::Net;
use rights::Rights;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use task::{Task, Work};

/// The token that the stand-in knows from the start; it has every right of [`ROLE`].
pub const TOKEN: (&str, &str, &str) = ("okd@pve", "play", "11111111-2222-3333-4444-555555555555");

/// A running stand-in; it ends with the process.
pub struct StandIn {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its certificate's SHA-256, as the real one prints it.
    pub fingerprint: String,
    world: Arc<Mutex<World>>,
    dir: tempfile::TempDir,
}

impl StandIn {
    /// Starts one with a bridge, a storage `local`, and [`TOKEN`].
    #[must_use]
    pub fn start() -> StandIn {
        let dir = tempfile::tempdir().unwrap();
        for sub in ["template/iso", "template/cache", "import", "images"] {
            std::fs::create_dir_all(dir.path().join(sub)).unwrap();
        }
        let world = Arc::new(Mutex::new(World::new(dir.path())));
        let (address, certificate) = serve::start(Arc::clone(&world));
        std::fs::write(dir.path().join("ca.pem"), &certificate.pem).unwrap();
        world.lock().unwrap().fingerprint.clone_from(&certificate.fingerprint);
        StandIn {
            address,
            fingerprint: certificate.fingerprint,
            world,
            dir,
        }
    }

    /// The file to check its certificate against.
    #[must_use]
    pub fn ca(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// The folder of its storage.
    #[must_use]
    pub fn storage(&self) -> &Path {
        self.dir.path()
    }

    /// Its inside.
    ///
    /// # Panics
    /// When a request made it panic.
    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// Everything that it was asked, in order.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        self.world().requests.clone()
    }

    /// What it was asked to change, in order.
    #[must_use]
    pub fn writes(&self) -> Vec<String> {
        self.world().writes.clone()
    }
}

/// Everything that the stand-in knows.
pub struct World {
    pub(crate) node: String,
    pub(crate) fingerprint: String,
    pub rights: Rights,
    pub(crate) net: Net,
    pub guests: BTreeMap<u64, Guest>,
    pub(crate) tasks: Vec<Task>,
    pub(crate) writes: Vec<String>,
    pub(crate) requests: Vec<String>,
    pub(crate) dir: PathBuf,
    /// Tasks that are begun stay under way while this is set.
    pub hold: bool,
    /// Bytes that the storage has.
    pub capacity: u64,
    pub(crate) began: Instant,
    counter: u64,
}

impl World {
    fn new(dir: &Path) -> World {
        World {
            node: "pve".to_owned(),
            fingerprint: String::new(),
            rights: Rights::standard(),
            net: Net::standard(),
            guests: BTreeMap::new(),
            tasks: Vec::new(),
            writes: Vec::new(),
            requests: Vec::new(),
            dir: dir.to_path_buf(),
            hold: false,
            capacity: 8 << 30,
            began: Instant::now(),
            counter: 100,
        }
    }

    /// A number that was not there before.
    pub(crate) fn next(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    /// Stages an edit as another person would.
    pub fn stage_by_someone(&mut self, iface: &str) {
        let asked = Asked::internal(&[("iface", iface), ("type", "bridge"), ("autostart", "1")]);
        self.net.create(&asked).expect("it can be staged");
    }

    /// The applied bridges.
    #[must_use]
    pub fn up(&self) -> Vec<String> {
        self.net.up()
    }

    /// Begins a task as the real one does: the answer is its name, the work comes later.
    pub(crate) fn begin(&mut self, asked: &Asked, kind: &str, id: &str, work: Work) -> Reply {
        let number = self.next();
        let task = Task::new(self, asked, kind, id, number, work);
        let name = task.upid.clone();
        self.tasks.push(task);
        Reply::ok(Json::String(name))
    }

    /// Does what tasks have to do by now.
    pub(crate) fn tick(&mut self) {
        if self.hold {
            return;
        }
        for index in 0..self.tasks.len() {
            if self.tasks[index].begun.elapsed() < Duration::from_millis(30) {
                continue;
            }
            let Some(work) = self.tasks[index].work.take() else {
                continue;
            };
            let mut log = Vec::new();
            let end = work.run(self, &mut log);
            self.tasks[index].finish(end, log);
        }
    }

    /// Answers one request.
    pub(crate) fn answer(&mut self, asked: &Asked) -> Reply {
        self.tick();
        self.requests.push(format!("{} {}", asked.method, asked.path));
        if asked.method != "GET" {
            self.writes.push(format!("{} {}", asked.method, asked.path));
        }
        let result = self.route(asked);
        result.unwrap_or_else(|refusal| refusal)
    }

    fn route(&mut self, asked: &Asked) -> Result<Reply, Reply> {
        let parts: Vec<&str> = asked.path.split('/').filter(|part| !part.is_empty()).collect();
        if let ["nodes", node, ..] = parts.as_slice()
            && *node != self.node
        {
            return Err(Reply::die(&format!(
                "hostname lookup '{node}' failed - failed to get address info for: {node}: Name or service not known"
            )));
        }
        match (asked.method.as_str(), parts.as_slice()) {
            ("GET", ["version"]) => Ok(Reply::ok(
                json!({ "version": "9.2.11", "release": "9.2", "repoid": "14a22df3" }),
            )),
            ("GET", ["nodes"]) => {
                let mut row = json!({ "node": self.node, "id": format!("node/{}", self.node), "type": "node",
                    "status": "online", "ssl_fingerprint": self.fingerprint });
                if self.rights.has(asked, &format!("/nodes/{}", self.node), &["Sys.Audit"]) {
                    row["maxcpu"] = 2.into();
                    row["maxmem"] = 25_276_510_208_u64.into();
                }
                Ok(Reply::ok(json!([row])))
            }
            ("GET", ["access", "permissions"]) => Ok(Reply::ok(self.rights.listed(asked))),
            ("GET", ["cluster", "nextid"]) => guest::next_id(self, asked),
            ("GET", ["cluster", "resources"]) => guest::resources(self, asked),
            (_, ["nodes", _, "network", ..]) => network::answer(self, asked, &parts[3..]),
            (_, ["nodes", _, "tasks", ..]) => task::answer(self, asked, &parts[3..]),
            (_, ["nodes", _, "storage", ..]) => storage::answer(self, asked, &parts[3..]),
            (_, ["nodes", _, "qemu", ..]) => guest::answer(self, asked, &parts[3..]),
            ("GET", ["nodes", _, "query-url-metadata"]) => storage::metadata(self, asked),
            _ => Err(Reply::unknown(asked)),
        }
    }
}
