//! Where steps of the other world are worked on: one thread for each host of the inventory, in order, and what is predicted
//! of an interface is known to all of them.

use super::ApiKind;
use super::api::{Api, ApiError, Call, Json};
use super::back::Back;
use super::endpoint::Endpoint;
use super::overlay::Overlay;
use super::veil::Veil;
use crate::link::reach::Address;
use crate::template::SecretStore;
use crate::vault::Keeper;
use okd_agent::diff::Change;
use okd_agent::resource::undo::MOVED;
use okd_agent::resource::{Failure, Outcome, Status, verified};
use okd_agent::value::map;
use okd_agent::wire::{Pass, Reply};
use okd_agent::{Stop, Value};
use std::collections::{HashMap, HashSet};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

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
    /// See [`okd_agent::wire::Task::kept`].
    pub kept: bool,
    /// Of a step that takes another back: a hash of what that one has left. What is something else is left alone.
    pub left: Option<u64>,
}

/// An interface and its prediction.
struct World {
    real: Arc<dyn Api>,
    plan: Arc<Overlay>,
    /// Where steps take turns.
    turn: Option<Mutex<()>>,
}

type Worlds = Arc<Mutex<HashMap<Endpoint, Arc<World>>>>;
type Answering = Arc<dyn Fn(u64, Word) + Send + Sync>;

/// What is said of a step.
#[derive(Debug)]
pub enum Word {
    /// It waits for something.
    Waits {
        /// For what, and how it stands.
        text: String,
        /// How long at most.
        limit: Duration,
    },
    /// It has ended.
    Ended(Reply),
}

/// An interface as one step sees it: what it waits for is told, and it stops waiting when the run does.
struct Watched {
    under: Arc<dyn Api>,
    answer: Answering,
    id: u64,
    stops: [Stop; 2],
}

impl Api for Watched {
    fn get(&self, path: &str) -> Result<Json, ApiError> {
        self.under.get(path)
    }

    fn send(&self, call: &Call) -> Result<Json, ApiError> {
        self.under.send(call)
    }

    fn settle(&self, task: &str, moves: &[String]) -> Result<(), ApiError> {
        self.under.settle(task, moves)
    }

    fn say(&self, text: &str, limit: Duration) {
        let text = text.to_owned();
        (self.answer)(self.id, Word::Waits { text, limit });
    }

    fn stopped(&self) -> bool {
        self.stops.iter().any(Stop::is_set)
    }

    fn as_read(&self, sent: &Json) -> Json {
        self.under.as_read(sent)
    }
}

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
    pub fn new(keeper: Arc<Keeper>, answer: impl Fn(u64, Word) + Send + Sync + 'static) -> Desk {
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
            let mut reply = match held {
                true => Reply::Held,
                false => match self.work(&errand) {
                    Ok(outcome) => Reply::Outcome(Box::new(outcome)),
                    Err(failure) => Reply::Failed(failure),
                },
            };
            if !(matches!(reply, Reply::Outcome(_)) || errand.kept && reply.is_stale()) {
                self.failed.insert(errand.id);
            }
            if !errand.kept {
                reply.forget_seen();
            }
            (self.answer)(errand.id, Word::Ended(reply));
        }
    }

    fn work(&self, errand: &Errand) -> Result<Outcome, Box<Failure>> {
        let world = match self.world(errand.kind.endpoint()) {
            Ok(world) => world,
            Err(ApiError::Unknown(reason)) if errand.pass == Pass::Plan => {
                return Ok(Outcome::unknown(reason));
            }
            Err(ApiError::Unknown(message)) => return Err(refused(message)),
            Err(error) => return Err(refused(error.to_string())),
        };
        let turn = world.turn.as_ref();
        let _turn = turn.map(|turn| turn.lock().unwrap_or_else(PoisonError::into_inner));
        if let Some(left) = errand.left
            && let Some(stays) = stays(&errand.kind, left, errand.pass, &world)
        {
            return Ok(stays);
        }
        match errand.pass {
            Pass::Plan => errand.kind.converge(world.plan.as_ref(), errand.expect),
            Pass::Look => errand.kind.converge(&Overlay::new(Arc::clone(&world.real)), None),
            Pass::Apply => {
                let real = Watched {
                    under: Arc::clone(&world.real),
                    answer: Arc::clone(&self.answer),
                    id: errand.id,
                    stops: [self.cut.clone(), self.stopped.clone()],
                };
                let (outcome, back) = errand.kind.applied(&real, errand.expect)?;
                let mut outcome = match errand.verify && outcome.status != Status::Same {
                    true => {
                        let fresh = Overlay::new(Arc::clone(&world.real));
                        verified(outcome, errand.kind.converge(&fresh, None)?)?
                    }
                    false => outcome,
                };
                if let Some(mut back) = back {
                    back.print = print(&back, &world.real);
                    let place = bare(errand.kind.endpoint(), &self.keeper).told();
                    back.sealed(&place).put(&mut outcome.result);
                }
                Ok(outcome)
            }
        }
    }

    fn world(&self, endpoint: Endpoint) -> Result<Arc<World>, ApiError> {
        let endpoint = bare(endpoint, &self.keeper);
        let mut worlds = self.worlds.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(world) = worlds.get(&endpoint) {
            return Ok(Arc::clone(world));
        }
        let (endpoint, real) = open(endpoint, &self.keeper)?;
        let world = Arc::new(World {
            plan: Arc::new(Overlay::new(Arc::clone(&real))),
            real,
            turn: endpoint.takes_turns().then(Mutex::default),
        });
        worlds.insert(endpoint, Arc::clone(&world));
        Ok(world)
    }
}

/// An endpoint with its secrets in the place of their names.
fn bare(endpoint: Endpoint, keeper: &Keeper) -> Endpoint {
    endpoint.revealed(&|text| keeper.reveal(&text).unwrap_or(text))
}

/// An interface that is given secrets and gives none, and where it is. Nothing is contacted yet.
///
/// # Errors
/// As [`Endpoint::client`].
pub fn open(endpoint: Endpoint, keeper: &Arc<Keeper>) -> Result<(Endpoint, Arc<dyn Api>), ApiError> {
    let endpoint = bare(endpoint, keeper);
    for secret in endpoint.secrets() {
        crate::report::scrub::know(&secret);
    }
    let client = endpoint.client()?;
    Ok((endpoint, Arc::new(Veil::new(client, Arc::clone(keeper)))))
}

/// See [`Back::print`].
fn print(back: &Back, real: &Arc<dyn Api>) -> Option<String> {
    let seen = back.kind()?.converge(&Overlay::new(Arc::clone(real)), None).ok()?;
    Some(format!("{:016x}", seen.fingerprint?))
}

/// What is said of a thing that would be taken back, where somebody has changed it since or would miss it.
fn stays(kind: &ApiKind, left: u64, pass: Pass, world: &World) -> Option<Outcome> {
    let under: Arc<dyn Api> = match pass {
        Pass::Plan => Arc::clone(&world.plan) as Arc<dyn Api>,
        Pass::Look | Pass::Apply => Arc::clone(&world.real),
    };
    if let Ok(Some((what, why))) = kind.held(under.as_ref()) {
        return Some(leaving(&what, &why));
    }
    let seen = kind.converge(&Overlay::new(under), None).ok()?;
    let moved = seen.fingerprint.is_some_and(|print| print != left);
    let what = seen.diff.iter().filter_map(|change| match change {
        Change::Item { text, .. } => Some(text.clone()),
        Change::Field { of, name, .. } => Some(format!("{name} of {of}")),
        Change::Text(_) | Change::Act(_) => None,
    });
    let what = what.collect::<Vec<_>>().join(", ");
    let why = format!("{MOVED}; --force takes it back all the same");
    (moved && seen.status == Status::Changed).then(|| leaving(&what, &why))
}

/// Nothing is done, and that is said.
fn leaving(what: &str, why: &str) -> Outcome {
    let left = Value::Map(map([("what", what.into()), ("why", why.into())]));
    Outcome {
        status: Status::Same,
        result: map([("left", Value::List(vec![left]))]),
        ..Outcome::unknown(String::new())
    }
}

/// A step whose interface cannot be used at all.
fn refused(message: String) -> Box<Failure> {
    Box::new(Failure {
        message,
        ..Failure::default()
    })
}
