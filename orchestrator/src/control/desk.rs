//! Where steps of the other world are worked on: one thread for each host of the inventory, in order, and what is predicted
//! of an interface is known to all of them.

use super::ApiKind;
use super::api::{Api, ApiError};
use super::overlay::Overlay;
use super::pve::{Client, Endpoint};
use super::veil::Veil;
use crate::link::reach::Address;
use crate::template::SecretStore;
use crate::vault::Keeper;
use okd_agent::Stop;
use okd_agent::resource::{Failure, Outcome, Status, verified};
use okd_agent::wire::{Pass, Reply};
use std::collections::{HashMap, HashSet};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

/// One step.
#[derive(Debug, Clone)]
pub struct Errand {
    /// Names the step in its answer.
    pub id: u64,
    /// Steps of this thread that have to have ended well; otherwise this one is held.
    pub after: Vec<u64>,
    /// What to bring about.
    pub kind: ApiKind,
    /// In which world.
    pub pass: Pass,
    /// The fingerprint of a plan; where the state is another one, nothing is touched.
    pub expect: Option<u64>,
    /// Inspect again after applying, and fail when something still differs.
    pub verify: bool,
}

/// An interface and its prediction. Its steps take turns: an apply of the network takes all that is staged with it, and a
/// free number of a virtual machine is nobody's until it is used.
struct World {
    real: Arc<dyn Api>,
    plan: Arc<Overlay>,
    turn: Mutex<()>,
}

type Worlds = Arc<Mutex<HashMap<Endpoint, Arc<World>>>>;
type Answering = Arc<dyn Fn(u64, Reply) + Send + Sync>;

/// See the module.
pub struct Desk {
    answer: Answering,
    keeper: Arc<Keeper>,
    worlds: Worlds,
    threads: HashMap<Address, Open>,
    stopped: Stop,
}

struct Open {
    errands: Sender<Errand>,
    cut: Stop,
}

impl Desk {
    /// A desk that answers by a call, and puts the keeper's secrets in. Nothing is contacted yet.
    #[must_use]
    pub fn new(keeper: Arc<Keeper>, answer: impl Fn(u64, Reply) + Send + Sync + 'static) -> Desk {
        Desk {
            answer: Arc::new(answer),
            keeper,
            worlds: Worlds::default(),
            threads: HashMap::new(),
            stopped: Stop::default(),
        }
    }

    /// Hands in a step.
    pub fn call(&mut self, address: &Address, errand: Errand) {
        let open = self.threads.entry(address.clone()).or_insert_with(|| {
            let (errands, incoming) = channel();
            let cut = Stop::default();
            let worker = Worker {
                answer: Arc::clone(&self.answer),
                keeper: Arc::clone(&self.keeper),
                worlds: Arc::clone(&self.worlds),
                cut: cut.clone(),
                stopped: self.stopped.clone(),
                failed: HashSet::new(),
            };
            std::thread::spawn(move || worker.run(&incoming));
            Open { errands, cut }
        });
        let _ = open.errands.send(errand);
    }

    /// Lets no further step begin.
    pub fn stop(&mut self) {
        self.stopped.set();
    }

    /// Gives up what is under way for a host. A task that Proxmox VE has begun goes on there.
    pub fn cut(&mut self, address: &Address) {
        if let Some(open) = self.threads.remove(address) {
            open.cut.set();
        }
    }
}

struct Worker {
    answer: Answering,
    keeper: Arc<Keeper>,
    worlds: Worlds,
    cut: Stop,
    stopped: Stop,
    failed: HashSet<u64>,
}

impl Worker {
    fn run(mut self, incoming: &Receiver<Errand>) {
        while let Ok(errand) = incoming.recv() {
            if self.cut.is_set() {
                return;
            }
            let held = self.stopped.is_set() || errand.after.iter().any(|id| self.failed.contains(id));
            let reply = match held {
                true => Reply::Held,
                false => match self.work(&errand) {
                    Ok(outcome) => Reply::Outcome(Box::new(outcome)),
                    Err(failure) => Reply::Failed(failure),
                },
            };
            if !matches!(reply, Reply::Outcome(_)) {
                self.failed.insert(errand.id);
            }
            (self.answer)(errand.id, reply);
        }
    }

    fn work(&self, errand: &Errand) -> Result<Outcome, Box<Failure>> {
        let world = self.world(errand.kind.endpoint())?;
        let _turn = world.turn.lock().unwrap_or_else(PoisonError::into_inner);
        match errand.pass {
            Pass::Plan => errand.kind.converge(world.plan.as_ref(), errand.expect),
            Pass::Apply => {
                let outcome = errand.kind.converge(world.real.as_ref(), errand.expect)?;
                match errand.verify && outcome.status != Status::Same {
                    true => {
                        let fresh = Overlay::new(Arc::clone(&world.real));
                        verified(outcome, errand.kind.converge(&fresh, None)?)
                    }
                    false => Ok(outcome),
                }
            }
        }
    }

    fn world(&self, endpoint: Endpoint) -> Result<Arc<World>, Box<Failure>> {
        let endpoint = bare(endpoint, &self.keeper);
        let mut worlds = self.worlds.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(world) = worlds.get(&endpoint) {
            return Ok(Arc::clone(world));
        }
        let (endpoint, real) = open(endpoint, &self.keeper).map_err(|error| {
            Box::new(Failure {
                message: error.to_string(),
                ..Failure::default()
            })
        })?;
        let world = Arc::new(World {
            plan: Arc::new(Overlay::new(Arc::clone(&real))),
            real,
            turn: Mutex::new(()),
        });
        worlds.insert(endpoint, Arc::clone(&world));
        Ok(world)
    }
}

/// An endpoint with its secrets in the place of their names.
fn bare(endpoint: Endpoint, keeper: &Keeper) -> Endpoint {
    let bare = |text: String| keeper.reveal(&text).unwrap_or(text);
    Endpoint {
        host: bare(endpoint.host),
        user: bare(endpoint.user),
        token_id: bare(endpoint.token_id),
        token_secret: bare(endpoint.token_secret),
        fingerprint: endpoint.fingerprint.map(bare),
        ca_path: endpoint.ca_path.map(bare),
        ..endpoint
    }
}

/// An interface that is given secrets and gives none, and where it is. Nothing is contacted yet.
///
/// # Errors
/// When the certificates that it should believe cannot be read.
pub fn open(endpoint: Endpoint, keeper: &Arc<Keeper>) -> Result<(Endpoint, Arc<dyn Api>), ApiError> {
    let endpoint = bare(endpoint, keeper);
    crate::report::scrub::know(&okd_agent::secret::Secret::new(endpoint.token_secret.as_str()));
    let client = Client::new(endpoint.clone())?;
    Ok((endpoint, Arc::new(Veil::new(Arc::new(client), Arc::clone(keeper)))))
}
