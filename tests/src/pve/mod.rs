//! A stand-in of Proxmox VE: its REST API over TLS, for tests, demos and the lab. It behaves as the real one where naive ones
//! do not: staged networks, late task failures, learned keys, pending values, and its error forms.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod firewall;
mod guest;
mod hook;
mod network;
mod request;
mod rights;
mod rules;
mod sdn;
mod serve;
mod storage;
mod task;

pub use guest::Guest;
pub use network::Uplink;
pub use request::{Asked, Reply};
pub use rights::ROLE;
pub use serve::private;

use firewall::{Level, Wall, Walls};
use network::Net;
use rights::Rights;
use sdn::Sdn;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;
use task::{Task, Work};

/// The token that the stand-in knows from the start; it has every right of [`ROLE`].
pub const TOKEN: (&str, &str, &str) = ("okd@pve", "play", "11111111-2222-3333-4444-555555555555");

/// How a stand-in is set up.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Names that its certificate has beside the address that it listens on.
    pub names: Vec<String>,
    /// The folder of its certificate, its storage, and all that it knows; what is there is taken up again.
    pub state: PathBuf,
    /// The program that makes real what is applied and started.
    pub hook: Option<PathBuf>,
    /// The node's name.
    pub node: String,
    /// The secret of [`TOKEN`].
    pub secret: String,
    /// The node's own card and address, where nothing is known yet.
    pub uplink: Uplink,
    /// Bytes that the storage has.
    pub capacity: u64,
    /// Whether what it knows is kept in `state`.
    pub keep: bool,
}

impl Settings {
    /// Those of a test: a free port of loopback, nothing is kept.
    #[must_use]
    pub fn new(state: &Path) -> Settings {
        Settings {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            names: Vec::new(),
            state: state.to_path_buf(),
            hook: None,
            node: "pve".to_owned(),
            secret: TOKEN.2.to_owned(),
            uplink: Uplink::default(),
            capacity: 8 << 30,
            keep: false,
        }
    }
}

/// A running stand-in; it ends with the process.
pub struct StandIn {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its certificate's SHA-256, as the real one prints it.
    pub fingerprint: String,
    world: Arc<Mutex<World>>,
    state: PathBuf,
    _folder: Option<tempfile::TempDir>,
}

impl StandIn {
    /// Starts one with a bridge, a storage `local`, and [`TOKEN`], in a folder that goes with it.
    #[must_use]
    pub fn start() -> StandIn {
        let folder = tempfile::tempdir().unwrap();
        let mut stand_in = StandIn::serve(&Settings::new(folder.path())).unwrap();
        stand_in._folder = Some(folder);
        stand_in
    }

    /// Starts one.
    ///
    /// # Errors
    /// When its folder cannot be used, the address is taken, or the hook does not bring up what is applied.
    pub fn serve(settings: &Settings) -> Result<StandIn, String> {
        let state = std::path::absolute(&settings.state).map_err(|error| error.to_string())?;
        for sub in ["template/iso", "template/cache", "import", "images"] {
            let folder = state.join("local").join(sub);
            std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        }
        let identity = serve::Identity::of(settings, &state)?;
        let mut world = World::new(settings, &state);
        world.fingerprint.clone_from(&identity.fingerprint);
        if let Some(program) = &settings.hook {
            hook::call(program, &hook::network(&world), &mut Vec::new())?;
        }
        let world = Arc::new(Mutex::new(world));
        let fingerprint = identity.fingerprint.clone();
        let address = serve::start(Arc::clone(&world), settings.listen, identity, settings.keep)?;
        Ok(StandIn {
            address,
            fingerprint,
            world,
            state,
            _folder: None,
        })
    }

    /// The file to check its certificate against.
    #[must_use]
    pub fn ca(&self) -> PathBuf {
        self.state.join("ca.pem")
    }

    /// The folder of its storage.
    #[must_use]
    pub fn storage(&self) -> PathBuf {
        self.state.join("local")
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
    pub(crate) sdn: Sdn,
    pub(crate) walls: Walls,
    pub guests: BTreeMap<u64, Guest>,
    pub(crate) tasks: Vec<Task>,
    pub(crate) writes: Vec<String>,
    pub(crate) requests: Vec<String>,
    /// Where the files of the storage are.
    pub(crate) dir: PathBuf,
    state: PathBuf,
    keep: bool,
    hook: Option<PathBuf>,
    /// Tasks that are begun stay under way while this is set.
    pub hold: bool,
    /// Bytes that the storage has.
    pub capacity: u64,
    /// What the storage takes.
    pub contents: String,
    /// Seconds that its clock is ahead.
    pub skew: u64,
    pub(crate) began: Instant,
    counter: u64,
}

impl World {
    fn new(settings: &Settings, state: &Path) -> World {
        let mut world = World {
            node: settings.node.clone(),
            fingerprint: String::new(),
            rights: Rights::standard(&settings.secret),
            net: Net::standard(&settings.uplink),
            sdn: Sdn::default(),
            walls: Walls::new(),
            guests: BTreeMap::new(),
            tasks: Vec::new(),
            writes: Vec::new(),
            requests: Vec::new(),
            dir: state.join("local"),
            state: state.to_path_buf(),
            keep: settings.keep,
            hook: settings.hook.clone(),
            hold: false,
            capacity: settings.capacity,
            contents: "iso,images,vztmpl,import,backup,snippets,rootdir".to_owned(),
            skew: 0,
            began: Instant::now(),
            counter: 100,
        };
        let kept = std::fs::read(world.book()).ok();
        if let Some(kept) = kept.and_then(|bytes| serde_json::from_slice(&bytes).ok()) {
            world.restore(&kept);
        }
        world
    }

    /// The file of all that is known.
    fn book(&self) -> PathBuf {
        self.state.join("state.json")
    }

    /// Takes up what was known before; what was being made then is gone.
    fn restore(&mut self, kept: &Json) {
        if let Some(net) = Net::restored(&kept["net"]) {
            self.net = net;
        }
        self.sdn = Sdn::restored(&kept["sdn"]).unwrap_or_default();
        for (name, wall) in kept["walls"].as_object().into_iter().flatten() {
            self.walls.extend(Wall::restored(wall).map(|wall| (name.clone(), wall)));
        }
        for (vmid, guest) in kept["guests"].as_object().into_iter().flatten() {
            if let (Ok(vmid), Some(guest)) = (vmid.parse(), Guest::restored(guest))
                && guest.config.get("lock").is_none_or(|lock| lock != "create")
            {
                self.guests.insert(vmid, guest);
            }
        }
        let tasks = kept["tasks"].as_array().into_iter().flatten();
        self.tasks = tasks.filter_map(Task::restored).collect();
        self.counter = kept["counter"].as_u64().unwrap_or(100);
    }

    /// The task, as `KIND:ID`, that somebody wants to stay under way: what the file `hold` in its folder says.
    pub(crate) fn held(&self) -> String {
        let said = self.keep.then(|| std::fs::read_to_string(self.state.join("hold")));
        said.and_then(Result::ok).unwrap_or_default().trim().to_owned()
    }

    /// Its networks, firewalls and machines, as its answers are made of them.
    #[must_use]
    pub fn known(&self) -> Json {
        let guests: serde_json::Map<String, Json> = self
            .guests
            .iter()
            .map(|(vmid, guest)| (vmid.to_string(), guest.kept()))
            .collect();
        let walls: serde_json::Map<String, Json> = self
            .walls
            .iter()
            .map(|(name, wall)| (name.clone(), wall.kept()))
            .collect();
        json!({ "net": self.net.kept(), "sdn": self.sdn.kept(), "walls": walls, "guests": guests })
    }

    /// Writes down all that is known.
    fn save(&self) {
        if !self.keep {
            return;
        }
        let mut kept = self.known();
        kept["tasks"] = self.tasks.iter().map(Task::kept).collect();
        kept["counter"] = self.counter.into();
        let fresh = self.state.join("state.json.new");
        let written = std::fs::write(&fresh, kept.to_string());
        written.and_then(|()| std::fs::rename(&fresh, self.book())).unwrap();
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

    /// Stages a zone as another person would.
    pub fn stage_zone_by_someone(&mut self, zone: &str) {
        self.sdn.stage_by_someone(zone);
    }

    /// The applied bridges.
    #[must_use]
    pub fn up(&self) -> Vec<String> {
        let mut all = self.net.up();
        all.extend(self.sdn.bridges().cloned());
        all
    }

    /// Begins a task as the real one does: the answer is its name, the work comes later.
    pub(crate) fn begin(&mut self, asked: &Asked, kind: &str, id: &str, work: Work) -> Reply {
        let number = self.next();
        let task = Task::new(self, asked, kind, id, number, work);
        let name = task.upid.clone();
        self.tasks.push(task);
        Reply::ok(Json::String(name))
    }

    /// Does what tasks have to do by now, and sees which machines have ended by themselves.
    pub(crate) fn tick(&mut self) {
        if self.hold {
            return;
        }
        let mut moved = task::tick(self);
        for guest in self.guests.values_mut().filter(|guest| guest.running) {
            if guest.pid.is_some_and(|pid| !hook::lives(pid)) {
                guest.settle();
                guest.running = false;
                guest.pid = None;
                moved = true;
            }
        }
        if moved {
            self.save();
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
        if asked.method != "GET" {
            self.save();
        }
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
            ("GET", ["access", "ticket"]) => Ok(Reply::ok(Json::Null)),
            ("POST", ["access", "ticket"]) => {
                let number = self.next();
                self.rights.ticket(asked, number)
            }
            ("GET", ["access", "domains"]) => Ok(Reply::ok(json!([{ "realm": "pve", "type": "pve" }]))),
            ("GET", ["access", "permissions"]) => Ok(Reply::ok(self.rights.listed(asked))),
            ("GET", ["cluster", "nextid"]) => guest::next_id(self, asked),
            ("GET", ["cluster", "resources"]) => guest::resources(self, asked),
            ("GET", ["nodes", _, "time"]) => {
                let path = format!("/nodes/{}", self.node);
                self.rights.need(asked, &path, &["Sys.Audit"])?;
                let now = task::now() + self.skew;
                Ok(Reply::ok(json!({ "timezone": "UTC", "time": now, "localtime": now })))
            }
            (_, ["cluster", "sdn", ..]) => sdn::answer(self, asked, &parts[2..]),
            ("GET", ["nodes", _, "sdn", "zones"]) => Ok(sdn::of_node(self, asked)),
            (_, ["cluster", "firewall", ..]) => firewall::answer(self, asked, &Level::cluster(), &parts[2..]),
            (_, ["nodes", node, "firewall", ..]) => firewall::answer(self, asked, &Level::node(node), &parts[3..]),
            (_, ["nodes", _, "qemu", vmid, "firewall", ..]) => {
                guest::there(self, vmid)?;
                firewall::answer(self, asked, &Level::guest(vmid), &parts[5..])
            }
            (_, ["nodes", _, "network", ..]) => network::answer(self, asked, &parts[3..]),
            (_, ["nodes", _, "tasks", ..]) => task::answer(self, asked, &parts[3..]),
            (_, ["nodes", _, "storage", ..]) => storage::answer(self, asked, &parts[3..]),
            (_, ["nodes", _, "qemu", ..]) => guest::answer(self, asked, &parts[3..]),
            ("GET", ["nodes", _, "query-url-metadata"]) => storage::metadata(self, asked),
            _ => Err(Reply::unknown(asked)),
        }
    }
}
