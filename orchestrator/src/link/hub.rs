//! All sessions of a run: one connection a host, one session a host and user, each a task of its own.

use super::agent::{self, Agent, AgentError};
use super::binary;
use super::guard::{self, Question};
use super::reach::{Address, LinkEvent, Links, Reach, Transport, Way};
use super::shell::Shell;
use super::ssh::{ConnectError, Connection, Connector};
use crate::control::desk::{Desk, Errand, Word};
use crate::history::OwnKind;
use crate::media::MediaKind;
use crate::template::SecretStore;
use crate::vault::Keeper;
use okd_agent::Stop;
use okd_agent::ledger::Debt;
use okd_agent::ledger::Entry;
use okd_agent::resource::Failure;
use okd_agent::resource::transaction::block::Commit;
use okd_agent::serve::Session;
use okd_agent::system::System;
use okd_agent::system::blank::Blank;
use okd_agent::system::claim::Claim;
use okd_agent::system::guard::{OTHERS, SCRIPT, others_decided};
use okd_agent::system::local::Local;
use okd_agent::system::overlay::Recorded;
use okd_agent::wire::{BUILD, Begin, Pass, Reply, Request, Response, Task, encode, placeholders};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::OnceCell;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;

/// All sessions of a run.
pub struct Hub {
    shared: Arc<Shared>,
    sessions: HashMap<Address, Open>,
    desk: Desk,
    waits: BTreeMap<Address, u64>,
    run: Option<Run>,
}

/// The run that what is applied is a part of.
#[derive(Clone)]
pub struct Run {
    /// Its id.
    pub id: String,
    /// Whose it is.
    pub by: String,
    /// Since when it changes things, in words.
    pub since: String,
    /// Seconds that it waits for a host that another run has.
    pub wait: u64,
    /// Earlier runs of this control node that are over.
    pub over: Vec<String>,
    /// Is told of each session before anything is applied there.
    pub began: Arc<dyn Fn(&Reach) + Send + Sync>,
}

impl Run {
    /// What a session is told. The control node itself is not taken: many runs may work from there.
    fn on(self, reach: &Reach) -> Begin {
        let Run {
            id,
            by,
            since,
            wait,
            over,
            ..
        } = self;
        Begin {
            claim: Claim {
                run: id,
                by,
                since,
                host: reach.host.clone(),
            },
            alone: (reach.way != Way::Local).then_some(wait),
            over,
        }
    }
}

/// A connection made once, whoever asks first.
type Connecting = Arc<OnceCell<Result<Connection, ConnectError>>>;

struct Shared {
    connector: Arc<Connector>,
    transport: Transport,
    keeper: Arc<Keeper>,
    events: UnboundedSender<LinkEvent>,
    connections: Mutex<HashMap<String, Connecting>>,
    stop: Stop,
    /// Those who an agent works for.
    agents: Mutex<BTreeSet<Address>>,
    predictions: Mutex<HashMap<String, Vec<Said>>>,
    run: OnceLock<String>,
}

/// What a session predicted of its host; without a session, what the run itself says of it.
type Said = (Option<Address>, Recorded);

/// What a session is handed.
enum Job {
    /// What any session can do.
    Say(Request),
    /// What only one of this machine can do.
    Make(Box<Task<MediaKind>>),
    /// What only okd-play itself asks for, by the machine's verbs.
    Own(Box<Task<OwnKind>>),
}

struct Open {
    requests: UnboundedSender<Job>,
    worker: JoinHandle<()>,
    /// How much of what other sessions of the host predicted it has been told.
    told: usize,
    /// Placeholders of the secrets that it has been told.
    secrets: HashSet<String>,
    /// Whether it knows which run it is a part of.
    begun: bool,
    /// Whether it is one of a host that is not there.
    assumed: Arc<AtomicBool>,
    /// Whether it has the script of lock-out guards.
    guards: bool,
    /// Whether it was asked for a step since it was last waited for.
    asked: bool,
}

impl Hub {
    /// A hub whose sessions answer on `events` and are told the keeper's secrets as steps name them. Nothing is
    /// contacted yet.
    #[must_use]
    pub fn new(
        connector: Connector,
        transport: Transport,
        keeper: Arc<Keeper>,
        events: UnboundedSender<LinkEvent>,
    ) -> Self {
        let answers = events.clone();
        let desk = Desk::new(Arc::clone(&keeper), move |id, word| {
            let _ = answers.send(match word {
                Word::Waits { text, limit } => LinkEvent::Waits { id, text, limit },
                Word::Ended(reply) => LinkEvent::Reply { id, reply },
            });
        });
        let shared = Shared {
            connector: Arc::new(connector),
            transport,
            keeper,
            events,
            connections: Mutex::default(),
            stop: Stop::default(),
            agents: Mutex::default(),
            predictions: Mutex::default(),
            run: OnceLock::new(),
        };
        Hub {
            shared: Arc::new(shared),
            sessions: HashMap::new(),
            desk,
            run: None,
            waits: BTreeMap::new(),
        }
    }

    /// What is applied from now on is a part of this run.
    pub fn begins(&mut self, run: Run) {
        let _ = self.shared.run.set(run.id.clone());
        self.run = Some(run);
    }

    /// Ends all sessions in good order: agents end by themselves when their input does.
    pub async fn close(self) {
        let workers: Vec<JoinHandle<()>> = self.sessions.into_values().map(|open| open.worker).collect();
        for worker in workers {
            let _ = tokio::time::timeout(std::time::Duration::from_secs(5), worker).await;
        }
        let connections: Vec<_> = lock(&self.shared.connections).drain().map(|(_, cell)| cell).collect();
        for cell in connections {
            if let Some(Ok(connection)) = cell.get() {
                connection.clone().close().await;
            }
        }
    }

    /// The sessions that go on.
    pub fn sessions(&self) -> impl Iterator<Item = &Address> {
        let open = self.sessions.iter().filter(|(_, open)| !open.requests.is_closed());
        open.map(|(address, _)| address)
    }

    /// Says something to every session; see [`Links::say`].
    pub fn say_all(&mut self, request: &Request) {
        for open in self.sessions.values() {
            let _ = open.requests.send(Job::Say(request.clone()));
        }
    }

    /// What was predicted is forgotten everywhere: a plan starts anew.
    pub fn forget(&mut self) {
        lock(&self.shared.predictions).clear();
        self.say_all(&Request::Forget);
        self.sessions.values_mut().for_each(|open| open.told = 0);
    }

    /// How often each agent was waited for: the round trips that its work took.
    #[must_use]
    pub fn waits(&self) -> BTreeMap<Address, u64> {
        let agents = lock(&self.shared.agents);
        let waits = self.waits.iter().filter(|(address, _)| agents.contains(address));
        waits.map(|(address, waits)| (address.clone(), *waits)).collect()
    }

    /// The session of a step, which knows what the step needs: what others predicted of the host, and its secrets.
    fn begin<K: Serialize>(&mut self, reach: &Arc<Reach>, task: &Task<K>) -> &mut Open {
        let address = reach.address();
        let shared = Arc::clone(&self.shared);
        let plan = task.pass == Pass::Plan;
        let run = self.run.clone().filter(|_| !plan);
        let open = self.open(reach);
        if let Some(run) = run.filter(|_| !std::mem::replace(&mut open.begun, true)) {
            (run.began)(reach);
            let _ = open.requests.send(Job::Say(Request::Begin(run.on(reach))));
        }
        if plan {
            let predictions = lock(&shared.predictions);
            let all = predictions.get(&address.host).map_or(&[][..], Vec::as_slice);
            let news = all
                .get(open.told..)
                .unwrap_or_default()
                .iter()
                .filter(|(from, _)| from.as_ref() != Some(&address));
            let news: Vec<Recorded> = news.map(|(_, change)| change.clone()).collect();
            open.told = all.len();
            if !news.is_empty() {
                open.tell(&shared.keeper, &news);
                let _ = open.requests.send(Job::Say(Request::Assume(news)));
            }
        }
        open.tell(&shared.keeper, task);
        if !plan && task.guard.is_some() && !std::mem::replace(&mut open.guards, true) {
            let _ = open.requests.send(Job::Say(Request::Guard(SCRIPT.to_owned())));
        }
        open
    }

    fn open(&mut self, reach: &Arc<Reach>) -> &mut Open {
        let address = reach.address();
        let gone = self.sessions.get(&address).is_some_and(|open| {
            open.requests.is_closed() || open.assumed.load(Ordering::Relaxed) && reach.expected.is_none()
        });
        if gone {
            self.sessions.remove(&address);
        }
        self.sessions.entry(address).or_insert_with(|| {
            let (requests, incoming) = unbounded_channel();
            let assumed = Arc::<AtomicBool>::default();
            let worker = tokio::spawn(serve(
                Arc::clone(&self.shared),
                Arc::clone(reach),
                incoming,
                Arc::clone(&assumed),
            ));
            Open {
                requests,
                worker,
                assumed,
                told: 0,
                secrets: HashSet::new(),
                guards: false,
                begun: false,
                asked: false,
            }
        })
    }
}

impl Open {
    /// Tells a session the secrets that a message for it names, and no others.
    fn tell<T: Serialize>(&mut self, keeper: &Keeper, message: &T) {
        if !keeper.any() {
            return;
        }
        let mut names = placeholders(message);
        names.retain(|name| self.secrets.insert(name.clone()));
        if !names.is_empty() {
            let _ = self.requests.send(Job::Say(Request::Secrets(keeper.secrets(&names))));
        }
    }
}

impl Links for Hub {
    fn send(&mut self, reach: &Arc<Reach>, task: Task) {
        let open = self.begin(reach, &task);
        open.asked = true;
        let _ = open.requests.send(Job::Say(Request::Task(Box::new(task))));
    }

    fn commit(&mut self, reach: &Arc<Reach>, task: Task<Commit>) {
        let open = self.begin(reach, &task);
        open.asked = true;
        let _ = open.requests.send(Job::Say(Request::Commit(Box::new(task))));
    }

    fn make(&mut self, reach: &Arc<Reach>, task: Task<MediaKind>) {
        let open = self.begin(reach, &task);
        let _ = open.requests.send(Job::Make(Box::new(task)));
    }

    fn own(&mut self, reach: &Arc<Reach>, task: Task<OwnKind>) {
        let open = self.begin(reach, &task);
        let _ = open.requests.send(Job::Own(Box::new(task)));
    }

    fn rest(&mut self) {
        for (address, open) in &mut self.sessions {
            if std::mem::take(&mut open.asked) {
                *self.waits.entry(address.clone()).or_default() += 1;
            }
        }
    }

    fn stop(&mut self) {
        self.shared.stop.set();
        self.desk.stop();
        for open in self.sessions.values() {
            let _ = open.requests.send(Job::Say(Request::Stop));
        }
    }

    fn call(&mut self, reach: &Arc<Reach>, errand: Errand) {
        self.desk.call(&reach.address(), errand);
    }

    fn doubt(&mut self, host: &str, doubts: Vec<Recorded>) {
        let changes = doubts.into_iter().map(|doubt| (None, doubt));
        lock(&self.shared.predictions)
            .entry(host.to_owned())
            .or_default()
            .extend(changes);
    }

    fn say(&mut self, address: &Address, request: Request) {
        if let Some(open) = self.sessions.get(address) {
            let _ = open.requests.send(Job::Say(request));
        }
    }

    fn confirm(&mut self, reach: &Arc<Reach>, question: Question) {
        let (shared, reach) = (Arc::clone(&self.shared), Arc::clone(reach));
        tokio::spawn(async move {
            let ticket = question.ticket;
            let (id, limit) = (ticket, question.limit());
            let say = |text| drop(shared.events.send(LinkEvent::Waits { id, text, limit }));
            let verdict = guard::ask(&shared.connector, &reach, &question, say).await;
            let _ = shared.events.send(LinkEvent::Guarded { ticket, verdict });
        });
    }

    fn recall(&mut self, host: &str) {
        lock(&self.shared.predictions).remove(host);
        for (_, open) in self.sessions.iter_mut().filter(|(address, _)| address.host == host) {
            open.told = 0;
            let _ = open.requests.send(Job::Say(Request::Recall));
        }
    }

    fn cut(&mut self, address: &Address) {
        self.desk.cut(address);
        if let Some(open) = self.sessions.remove(address) {
            open.worker.abort();
        }
    }

    fn hang_up(&mut self, host: &str) {
        self.sessions.retain(|address, open| {
            let other = address.host != host;
            if !other {
                open.worker.abort();
            }
            other
        });
        lock(&self.shared.connections).remove(host);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn state(&self, host: &str, text: impl Into<String>, notable: bool) {
        let _ = self.events.send(LinkEvent::State {
            host: host.to_owned(),
            text: text.into(),
            notable,
        });
    }

    fn waits_for(&self, host: &str, text: &str) {
        self.state(host, format!("waits: {text}"), true);
    }

    /// What the ledger of a session's machine says as the session begins.
    fn owed(&self, address: &Address, debts: Vec<Debt>, complaints: Vec<String>) {
        complaints
            .into_iter()
            .for_each(|text| self.state(&address.host, text, true));
        if !debts.is_empty() {
            let address = address.clone();
            let _ = self.events.send(LinkEvent::Owed { address, debts });
        }
    }

    /// What a session answers goes to the runner; what it predicted is kept for the host's other sessions.
    fn answer(&self, address: &Address, response: Response) {
        if let Response::Taken(claim) = &response
            && self.run.get().is_none_or(|own| *own != claim.run)
        {
            self.state(&address.host, claim.to_string(), true);
        }
        if let Response::Ledger(rows) = response {
            let entries = rows.into_iter().map(Entry::from).collect();
            let address = address.clone();
            let _ = self.events.send(LinkEvent::Ledger { address, entries });
        } else if let Response::Done {
            id,
            mut reply,
            recorded,
        } = response
        {
            self.keeper.hide(&mut reply);
            if !recorded.is_empty() {
                let changes = recorded.into_iter().map(|change| (Some(address.clone()), change));
                lock(&self.predictions)
                    .entry(address.host.clone())
                    .or_default()
                    .extend(changes);
            }
            let _ = self.events.send(LinkEvent::Reply { id, reply });
        }
    }

    async fn connection(&self, reach: &Reach) -> Result<Connection, ConnectError> {
        let Way::Ssh(target) = &reach.way else {
            return Err(ConnectError::NotSsh {
                host: reach.host.clone(),
            });
        };
        let cell = Arc::clone(lock(&self.connections).entry(reach.host.clone()).or_default());
        let connected = cell
            .get_or_init(|| async {
                let say = |text| self.state(&reach.host, text, false);
                self.connector.connect_saying(target, &say).await
            })
            .await;
        let lost = matches!(connected, Ok(connection) if connection.lost().is_some()) || connected.is_err();
        if lost {
            lock(&self.connections).remove(&reach.host);
        }
        connected.clone()
    }
}

/// Why a session ended.
struct Down {
    reason: String,
    unreachable: bool,
}

/// Whether this process is of a user already; root is known without being looked up.
fn is_already(user: &str) -> bool {
    user == "root" && rustix::process::geteuid().is_root()
}

async fn serve(shared: Arc<Shared>, reach: Arc<Reach>, requests: UnboundedReceiver<Job>, assumed: Arc<AtomicBool>) {
    let address = reach.address();
    let end = match (&reach.way, &reach.become_user) {
        (Way::Local, user) if user.as_deref().is_none_or(is_already) => {
            in_thread(&shared, &address, Arc::new(Local::new()), None, requests).await;
            Ok(())
        }
        (Way::Local, user) => Err(Down {
            reason: format!(
                "becoming {} on the control node is not supported; run okd-play as that user",
                user.as_deref().unwrap_or_default()
            ),
            unreachable: false,
        }),
        (Way::Ssh(_), _) => match (shared.connection(&reach).await, blank(&reach)) {
            (Ok(connection), _) => over_ssh(&shared, &reach, connection, requests).await,
            (Err(error), Some(blank)) if error.is_absence() => {
                assumed.store(true, Ordering::Relaxed);
                let _ = shared.events.send(LinkEvent::Assumed {
                    host: reach.host.clone(),
                    title: blank.title(),
                    reason: error.to_string(),
                });
                in_thread(&shared, &address, Arc::new(blank), None, requests).await;
                Ok(())
            }
            (Err(error), _) => Err(Down {
                reason: error.to_string(),
                unreachable: true,
            }),
        },
        // Such steps are worked on at the desk.
        (Way::Api(_), _) => Ok(()),
    };
    if let Err(Down { reason, unreachable }) = end {
        let _ = shared.events.send(LinkEvent::Down {
            address,
            reason,
            unreachable,
        });
    }
}

/// What a host is taken for while it is not there.
fn blank(reach: &Reach) -> Option<Blank> {
    Blank::new(reach.expected.as_deref()?, &reach.host)
}

async fn over_ssh(
    shared: &Arc<Shared>,
    reach: &Reach,
    connection: Connection,
    requests: UnboundedReceiver<Job>,
) -> Result<(), Down> {
    if shared.transport != Transport::Ssh {
        match start_agent(shared, &connection, reach).await {
            Ok(agent) => return by_agent(shared, &connection, reach, agent, requests).await,
            Err(AgentError::Unfit { reason, .. }) if shared.transport == Transport::Auto => {
                shared.state(
                    &reach.host,
                    format!("plain SSH, because the agent cannot run there: {reason}"),
                    true,
                );
            }
            Err(AgentError::Link(reason)) => return Err(lost(&connection, reason)),
            Err(error) => {
                return Err(Down {
                    reason: error.to_string(),
                    unreachable: false,
                });
            }
        }
    }
    let shell = Shell::start(&connection, reach)
        .await
        .map_err(|reason| match connection.lost() {
            Some(gone) => Down {
                reason: gone.to_string(),
                unreachable: true,
            },
            None => Down {
                reason,
                unreachable: false,
            },
        })?;
    shared.state(&reach.host, "plain SSH", false);
    in_thread(shared, &reach.address(), Arc::new(shell), Some(connection), requests).await;
    Ok(())
}

fn lost(connection: &Connection, reason: String) -> Down {
    Down {
        reason: connection.lost().map_or(reason, |gone| gone.to_string()),
        unreachable: true,
    }
}

async fn start_agent(shared: &Arc<Shared>, connection: &Connection, reach: &Reach) -> Result<Agent, AgentError> {
    let binary = binary::agent().map_err(|reason| AgentError::Unfit {
        host: reach.host.clone(),
        reason,
    })?;
    let agent = agent::start(connection, reach, binary, |text| shared.state(&reach.host, text, false)).await?;
    shared.state(&reach.host, "agent", false);
    Ok(agent)
}

/// The answer to a step that only the control node can do.
fn elsewhere(id: u64) -> Response {
    Response::Done {
        id,
        reply: Reply::Failed(Box::new(Failure {
            message: "this is done on the control node alone".to_owned(),
            ..Failure::default()
        })),
        recorded: Vec::new(),
    }
}

/// The number of the step that a request asks for.
fn step(request: &Request) -> Option<u64> {
    match request {
        Request::Task(task) => Some(task.id),
        Request::Commit(task) => Some(task.id),
        _ => None,
    }
}

/// The answer to a step that was not begun.
fn held(id: u64) -> Response {
    Response::Done {
        id,
        reply: Reply::Held,
        recorded: Vec::new(),
    }
}

/// Requests go in without waiting for answers; answers come back in order.
async fn by_agent(
    shared: &Arc<Shared>,
    connection: &Connection,
    reach: &Reach,
    agent: Agent,
    mut requests: UnboundedReceiver<Job>,
) -> Result<(), Down> {
    let Agent {
        mut input,
        mut output,
        mut errors,
        exit,
    } = agent;
    let address = reach.address();
    lock(&shared.agents).insert(address.clone());
    let frame = |job: Job| match job {
        Job::Say(request) if shared.stop.is_set() && step(&request).is_some() => {
            shared.answer(&address, held(step(&request).unwrap_or_default()));
            Ok(Vec::new())
        }
        Job::Make(task) => {
            shared.answer(&address, elsewhere(task.id));
            Ok(Vec::new())
        }
        Job::Own(task) => {
            shared.answer(&address, elsewhere(task.id));
            Ok(Vec::new())
        }
        Job::Say(request) => encode(&request),
    };
    let writer = async {
        while let Some(request) = requests.recv().await {
            let mut frames = frame(request)?;
            while let Ok(more) = requests.try_recv() {
                frames.extend(frame(more)?);
            }
            input.write_all(&frames).await?;
            input.flush().await?;
        }
        input.shutdown().await
    };
    let reader = async {
        while let Some(response) = agent::receive(&mut output).await? {
            match response {
                Response::Hello { build, .. } if build != BUILD => {
                    return Err(std::io::Error::other(format!(
                        "the agent there is build {build}, not {BUILD}"
                    )));
                }
                Response::Hello { debts, complaints, .. } => shared.owed(&address, debts, complaints),
                taken @ Response::Taken(_) => shared.answer(&address, taken),
                Response::Waits(text) => shared.waits_for(&reach.host, &text),
                ledger @ Response::Ledger(_) => shared.answer(&address, ledger),
                done @ Response::Done { .. } => shared.answer(&address, done),
            }
        }
        Ok(())
    };
    let mut said = Vec::new();
    tokio::pin!(writer);
    let (finished, read) = {
        let both = async {
            let mut done = false;
            tokio::pin!(reader);
            loop {
                tokio::select! {
                    wrote = &mut writer, if !done => match wrote {
                        Ok(()) => done = true,
                        Err(error) => return (done, Err(error)),
                    },
                    read = &mut reader => return (done, read),
                }
            }
        };
        tokio::pin!(both);
        let mut quiet = false;
        loop {
            let mut chunk = [0; 1024];
            tokio::select! {
                end = &mut both => break end,
                more = errors.read(&mut chunk), if !quiet => match more {
                    Ok(0) | Err(_) => quiet = true,
                    Ok(count) => said.extend_from_slice(&chunk[..count]),
                },
            }
        }
    };
    if finished && read.is_ok() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&said).trim().to_owned();
    let reason = match (read, words.is_empty()) {
        (_, false) => format!("the agent ended: {words}"),
        (Err(error), true) => error.to_string(),
        (Ok(()), true) => match exit.wait().await {
            Ok(status) => format!("the agent ended with {status}"),
            Err(error) => error.to_string(),
        },
    };
    Err(lost(connection, reason))
}

/// The ledger of a host that has no agent costs several answers of its shell.
const NOTE: Duration = Duration::from_secs(5);

/// A world that is spoken to by blocking calls has a thread of its own.
async fn in_thread(
    shared: &Arc<Shared>,
    address: &Address,
    machine: Arc<dyn System>,
    connection: Option<Connection>,
    mut requests: UnboundedReceiver<Job>,
) {
    let (own, told) = (address.clone(), Arc::clone(shared));
    let worker = tokio::task::spawn_blocking(move || {
        let shared = told;
        let mut session = Session::new(machine.clone(), shared.stop.clone());
        let (debts, complaints) = session.owed();
        shared.owed(&own, debts, complaints);
        if connection.is_some() {
            others_decided(machine.as_ref(), &shared.stop, || shared.waits_for(&own.host, OTHERS));
        }
        while let Some(request) = requests.blocking_recv() {
            let response = match request {
                Job::Say(request) => session.answer(request),
                Job::Make(task) => Some(session.step(*task)),
                Job::Own(task) => Some(session.step(*task)),
            };
            let Some(mut response) = response else {
                continue;
            };
            let gone = match &mut response {
                Response::Done {
                    reply: Reply::Failed(failure),
                    ..
                } if failure.lost => {
                    // What happened to the connection says more than what a channel of it met.
                    if let Some(gone) = connection.as_ref().and_then(Connection::lost) {
                        failure.message = gone.to_string();
                    }
                    Some(failure.message.clone())
                }
                _ => None,
            };
            shared.answer(&own, response);
            if let Some(reason) = gone {
                let _ = shared.events.send(LinkEvent::Down {
                    address: own,
                    reason,
                    unreachable: true,
                });
                return;
            }
            session.note(NOTE);
        }
        session.close();
    });
    if let Err(panic) = worker.await {
        let _ = shared.events.send(LinkEvent::Down {
            address: address.clone(),
            reason: format!("a defect of okd-play's: {panic}"),
            unreachable: true,
        });
    }
}
