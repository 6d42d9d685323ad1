//! Drives the graph: considers what may run, hands it to links, takes what comes back. One loop owns all state; nothing
//! else decides. The plan and the apply pass are this same loop in different worlds.

pub mod args;
pub mod deed;
mod digest;
mod finish;
pub mod foresee;
mod grow;
pub mod guard;
pub mod kept;
mod live;
mod local;
pub mod moved;
pub mod origin;
pub mod owed;
mod prepare;
pub mod reach;
pub mod record;
mod resume;
mod send;
pub mod survey;
mod transaction;
mod waiting;

pub use finish::answers;
pub use record::{Counts, Outcome, Record, Records};
pub use resume::Done;

use crate::error::{Diagnostic, Diagnostics};
use crate::graph::build::{Graph, StepNode, Work};
use crate::graph::{End, NodeId};
use crate::link::reach::{Address, LinkEvent, Links};
use crate::report::{Event, Pass};
use crate::site::scope::{HostVars, run_facts};
use crate::site::{Site, SitePlay, Slot, Step, World};
use deed::Deed;
use digest::Digests;
use indexmap::IndexMap;
use kept::{Agreed, Consent, Keeping};
use live::{ItemEnd, Live, LiveItem};
use local::{Effect, LocalEnd};
use okd_agent::Value;
use okd_agent::resource::Failure;
use okd_agent::value::Map;
use okd_agent::wire;
use owed::Owed;
use prepare::{Context, Item, ItemWork, Prepared, Stop};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::sync::watch;

/// How a run is driven.
#[derive(Debug, Clone)]
pub struct Options {
    /// Hosts that are worked on at once (`--forks`).
    pub forks: usize,
    /// Inspect every changed thing again after it was applied, and fail when something still differs.
    pub verify: bool,
    /// Whether this run will apply (`ansible_check_mode` is its opposite).
    pub check: bool,
    /// Whether diffs are shown.
    pub diff: bool,
    /// What the command line says of connections.
    pub defaults: reach::Defaults,
    /// When the run began, in microseconds since 1970: its name in the ledgers of hosts.
    pub run: u64,
    /// What the run that is taken up again has done.
    pub done: Done,
    /// Of an undo: what the run has left that each of these plays takes back through an interface, as a hash of what is seen.
    pub left: BTreeMap<usize, u64>,
    /// Names the playbook in the ledgers of hosts; empty where nothing is written there.
    pub playbook: String,
    /// Whether the plan finds out everything that the playbook wants, whatever it comes to now.
    pub survey: bool,
    /// Whether the plan is kept.
    pub keeping: Keeping,
}

/// What a person asked for by Ctrl-C.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cancel {
    /// Nothing.
    No,
    /// No new steps; what runs may finish.
    Soft,
    /// Drop everything.
    Hard,
}

/// Links and the channel on which they answer.
pub struct Channels<'a> {
    /// Where steps go.
    pub links: &'a mut dyn Links,
    /// Where replies come from.
    pub incoming: &'a mut UnboundedReceiver<LinkEvent>,
    /// Where the report listens.
    pub events: UnboundedSender<Event>,
    /// What the person wants.
    pub cancel: watch::Receiver<Cancel>,
    /// Who is asked about steps that a kept plan did not know.
    pub consent: Consent,
}

/// Drives one pass over the site.
///
/// # Errors
/// Mistakes in `needs`, found when the graph is built.
pub async fn pass(
    site: &Site,
    pass: Pass,
    prior: Option<&Outcome>,
    options: &Options,
    channels: Channels<'_>,
) -> Result<Outcome, Diagnostics> {
    let graph = Graph::site(site)?;
    let world = world(site, options)?;
    let mut excluded = prior.map(Outcome::excluded).unwrap_or_default();
    if let Keeping::Apply(verdicts) = &options.keeping {
        excluded.extend(verdicts.excluded().iter().cloned());
    }
    let runner = Runner {
        world,
        graph,
        pass,
        prior: prior.map(|prior| &prior.records),
        options,
        channels,
        live: HashMap::new(),
        requests: HashMap::new(),
        next_request: if pass == Pass::Plan { 1 } else { 1 << 40 },
        promises: HashMap::new(),
        parked: BTreeSet::new(),
        waiting_for_fork: BTreeSet::new(),
        notified: HashMap::new(),
        maybe: HashMap::new(),
        fired_by: HashMap::new(),
        owed: prior.map(|prior| prior.owed.clone()).unwrap_or_default(),
        pays: HashMap::new(),
        notes: HashMap::new(),
        expansions: HashMap::new(),
        cursors: HashMap::new(),
        rounds: HashMap::new(),
        timers: BTreeMap::new(),
        ended: HashSet::new(),
        aborted: HashMap::new(),
        cut: HashMap::new(),
        site,
        late: site.plays.iter().filter(|play| play.late).cloned().collect(),
        down: HashMap::new(),
        dirty: prior.map(|prior| prior.assumed.clone()).unwrap_or_default(),
        uncertain: HashSet::new(),
        excluded,
        unsure: prior.map(Outcome::unsure).unwrap_or_default(),
        asked: HashMap::new(),
        refused_on: HashMap::new(),
        withheld: HashMap::new(),
        barred: HashMap::new(),
        recalled: HashSet::new(),
        moved: HashSet::new(),
        outcome: Outcome {
            owed: prior.map(|prior| prior.owed.clone()).unwrap_or_default(),
            ..Outcome::default()
        },
        bodies: HashMap::new(),
        guards: guard::Guards::default(),
    };
    Ok(runner.run().await)
}

fn world(site: &Site, options: &Options) -> Result<Arc<World>, Diagnostics> {
    let dir = match site.dir.as_os_str().is_empty() {
        true => Path::new("."),
        false => site.dir.as_path(),
    };
    let playbook_dir = std::path::absolute(dir).unwrap_or_else(|_| dir.to_path_buf());
    let inventory_dir = site.inventory.dirs().first().cloned().unwrap_or_default();
    let inventory_dir = std::path::absolute(&inventory_dir).unwrap_or(inventory_dir);
    let inventory_dir: std::path::PathBuf = inventory_dir.components().collect();
    let mut run = run_facts(
        &playbook_dir.display().to_string(),
        &inventory_dir.display().to_string(),
        options.check,
        options.diff,
    );
    let tags = &site.loading.tags;
    let only = if tags.only.is_empty() {
        vec!["all".to_owned()]
    } else {
        tags.only.clone()
    };
    run.insert("ansible_run_tags".to_owned(), only.into());
    run.insert("ansible_skip_tags".to_owned(), tags.skip.clone().into());
    run.insert("ansible_forks".to_owned(), Value::Int(options.forks as i64));
    site.world(run)
}

/// What a step will give once it has ended.
#[derive(Default)]
struct Promise {
    /// A variable of a host, and what it was before.
    variable: Option<(Arc<HostVars>, String, Option<Slot>)>,
    /// Hosts whose facts it gathers.
    facts: Vec<Arc<HostVars>>,
}

/// A step that was handed in and never begun gives nothing: who asks finds what was there before.
fn take_back(id: NodeId, promise: Promise) {
    let own = u64::from(id.0);
    if let Some((host, name, before)) = promise.variable {
        let mut state = host.state_mut();
        if matches!(state.set.get(&name), Some(Slot::Pending(step)) if *step == own) {
            match before {
                Some(known @ Slot::Known(_)) => drop(state.set.insert(name, known)),
                _ => drop(state.set.remove(&name)),
            }
        }
    }
    for host in promise.facts {
        let mut state = host.state_mut();
        state.facts_pending = state.facts_pending.filter(|step| *step != own);
    }
}

/// Why a handler runs.
#[derive(Debug, Clone, Default)]
struct Fired {
    /// Steps that changed.
    by: Vec<String>,
    /// Why an earlier run owes it.
    owed: Vec<String>,
    /// Only a step whose change is unknown notified it; why.
    maybe: Option<String>,
}

enum Timer {
    /// Send an item again (`until`).
    Again(NodeId),
    /// Begin the next item of a loop.
    Next(NodeId),
    /// A pause is over.
    Over(NodeId),
    /// The step's time is up.
    Expired(NodeId, u64),
}

struct Runner<'a, 'c> {
    world: Arc<World>,
    graph: Graph,
    pass: Pass,
    prior: Option<&'a Records>,
    options: &'a Options,
    channels: Channels<'c>,
    live: HashMap<NodeId, Live>,
    requests: HashMap<u64, (NodeId, usize)>,
    next_request: u64,
    /// What steps that are under way will give.
    promises: HashMap<NodeId, Promise>,
    /// Steps that ended without being sent while something before them is still open.
    parked: BTreeSet<NodeId>,
    waiting_for_fork: BTreeSet<NodeId>,
    notified: HashMap<(usize, String), IndexMap<String, Fired>>,
    /// Handlers that only may run, with the reason.
    maybe: HashMap<NodeId, String>,
    fired_by: HashMap<NodeId, Vec<String>>,
    /// Handlers that are owed on hosts.
    owed: Vec<Owed>,
    /// The debts that a handler pays, or the handler that a flush runs.
    pays: HashMap<NodeId, Vec<Owed>>,
    /// Why a handler runs though nothing has notified it in this run.
    notes: HashMap<NodeId, Vec<String>>,
    expansions: HashMap<NodeId, NodeId>,
    /// Where in the list of handlers a flush stands.
    cursors: HashMap<NodeId, usize>,
    /// How often a flush has come to a handler.
    rounds: HashMap<(NodeId, String), usize>,
    timers: BTreeMap<(Instant, u64), Timer>,
    ended: HashSet<(usize, String)>,
    aborted: HashMap<usize, NodeId>,
    /// Hosts whose turn in a play does not come, since all hosts of an earlier batch have failed.
    cut: HashMap<(usize, String), NodeId>,
    site: &'a Site,
    /// Plays whose hosts are known only when their turn comes.
    late: VecDeque<Arc<SitePlay>>,
    down: HashMap<Address, (String, bool)>,
    /// Hosts of which the plan says nothing sure any more: something with an unknown effect has run there, or they were
    /// not there yet.
    dirty: HashSet<String>,
    /// Hosts on which the plan could not see everything that later steps will meet.
    uncertain: HashSet<String>,
    /// Hosts whose plan failed: nothing is done there.
    excluded: HashSet<String>,
    /// Hosts whose plan could not see everything that its later steps meet now.
    unsure: HashSet<String>,
    /// Machines that were looked at again since the plan, before anything was applied there for an unsure host.
    recalled: HashSet<String>,
    /// Hosts that a step has changed anew which an earlier run had done.
    moved: HashSet<String>,
    /// Transactions by their commits.
    bodies: HashMap<NodeId, transaction::Body>,
    guards: guard::Guards,
    /// Items that somebody is asked about, with what was seen of them, by the question's number.
    asked: HashMap<u64, (NodeId, usize, Option<u64>)>,
    /// Hosts on which a step of a kept plan was refused, with the first one.
    refused_on: HashMap<String, NodeId>,
    /// Refused steps, by the reason why nobody has their results.
    withheld: HashMap<String, NodeId>,
    /// Handlers of a play on a host that were to run after a refused step.
    barred: HashMap<((usize, String), String), NodeId>,
    outcome: Outcome,
}

impl Runner<'_, '_> {
    async fn run(mut self) -> Outcome {
        let began = Instant::now();
        self.begin();
        let all: Vec<NodeId> = (0..self.graph.ready.len() as u32).map(NodeId).collect();
        let settled = self.graph.ready.enter(all);
        self.after(settled);
        loop {
            self.consider_all();
            if self.graph.ready.unsettled() == 0 && !self.cancelled() && self.next_play() {
                continue;
            }
            if self.graph.ready.unsettled() == 0
                || (self.cancelled() && self.requests.is_empty() && !self.guards.wait())
            {
                break;
            }
            if !self.wait().await {
                break;
            }
        }
        self.release_all();
        self.outcome.cancelled = self.cancelled();
        if self.options.survey {
            self.survey();
        }
        let end = Event::End {
            pass: self.pass,
            seconds: began.elapsed().as_secs_f64(),
            cancelled: self.cancelled(),
        };
        let _ = self.channels.events.send(end);
        self.outcome
    }

    fn begin(&mut self) {
        let mut hosts: IndexMap<String, usize> = IndexMap::new();
        for (_, work) in self.graph.works() {
            if let Work::Step(node) = work {
                *hosts.entry(node.host.as_str().to_owned()).or_default() +=
                    usize::from(!(node.step.implicit && node.step.task.module == "meta"));
            }
        }
        let names = self.world.names();
        hosts.sort_by_key(|name, _| names.iter().position(|other| other == name));
        self.excluded.iter().for_each(|host| self.world.fall(host));
        self.outcome.counts = hosts.keys().map(|host| (host.clone(), Counts::default())).collect();
        let taking_part = hosts.into_iter().filter(|(host, _)| !self.excluded.contains(host));
        let _ = self.channels.events.send(Event::Begin {
            pass: self.pass,
            hosts: taking_part.collect(),
        });
    }

    /// Begins the next play whose hosts are known only now; `false` where there is none.
    fn next_play(&mut self) -> bool {
        let Some(play) = self.late.pop_front() else {
            return false;
        };
        let play = Arc::new(self.site.arrived(&play, &self.world));
        let new = self.graph.later(&play);
        let mut steps: IndexMap<String, usize> = IndexMap::new();
        for id in &new {
            if let Some(node) = self.node(*id).filter(|node| !node.step.implicit) {
                *steps.entry(node.host.as_str().to_owned()).or_default() += 1;
            }
        }
        for (host, steps) in steps {
            let _ = self.channels.events.send(Event::More { host, steps });
        }
        let settled = self.graph.ready.enter(new);
        self.after(settled);
        true
    }

    fn cancelled(&self) -> bool {
        *self.channels.cancel.borrow() != Cancel::No
    }

    /// Waits for the next thing to happen; `false` ends the pass.
    async fn wait(&mut self) -> bool {
        let next = self.timers.first_key_value().map(|((at, _), _)| *at);
        if next.is_none() && self.requests.is_empty() && self.live.is_empty() && self.waiting_for_fork.is_empty() {
            let _ = self.channels.events.send(Event::Note { text: self.stuck() });
            return false;
        }
        let timer = async {
            match next {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        self.channels.links.rest();
        tokio::select! {
            event = self.channels.incoming.recv() => match event {
                Some(event) => {
                    self.incoming(event);
                    while let Ok(event) = self.channels.incoming.try_recv() {
                        self.incoming(event);
                    }
                }
                None => return false,
            },
            () = timer => self.fire(),
            (number, yes) = self.channels.consent.answer() => self.answered(number, yes),
            _ = self.channels.cancel.changed() => {
                if *self.channels.cancel.borrow() == Cancel::Hard {
                    return false;
                }
                self.channels.links.stop();
                self.timers.clear();
            }
        }
        true
    }

    fn stuck(&self) -> String {
        format!(
            "{} steps can never run; this is a defect in okd-play, please report it",
            self.graph.ready.unsettled()
        )
    }

    fn consider_all(&mut self) {
        while !self.cancelled() {
            let Some((id, firm)) = self.graph.ready.take() else {
                break;
            };
            self.consider(id, firm);
        }
    }

    fn node(&self, id: NodeId) -> Option<StepNode> {
        match self.graph.work(id) {
            Work::Step(node) => Some(node.clone()),
            Work::Join(_) => None,
        }
    }

    /// Looks at a step that may run.
    fn consider(&mut self, id: NodeId, firm: bool) {
        let Some(node) = self.node(id) else { return };
        let host_key = (node.play.index, node.host.as_str().to_owned());
        if let Some(culprit) = self.aborted.get(&node.play.index) {
            let settled = self.graph.ready.settle(id, End::Blocked(*culprit));
            return self.after(settled);
        }
        if let Some(culprit) = self.cut.get(&host_key) {
            let settled = self.graph.ready.settle(id, End::Blocked(*culprit));
            return self.after(settled);
        }
        if self.excluded.contains(node.host.as_str()) {
            let settled = self.graph.ready.settle(id, End::Failed);
            return self.after(settled);
        }
        if self.ended.contains(&host_key) {
            let settled = self.graph.ready.settle(id, End::Done);
            return self.after(settled);
        }
        let defers = alone(&node.step) || self.unguarded(&node) || self.may_be_done(&node);
        if !firm && (defers || (self.verdicts().is_some() && self.commits(id))) {
            return self.graph.ready.defer(id);
        }
        if let Some(by) = self.barred_by(id, &node) {
            return self.bar(id, by);
        }
        if self.throttled(id, &node) || self.forked(id, &node) {
            return;
        }
        let Some(context) = self.context(&node) else {
            return;
        };
        let prepared = match self.maybe.get(&id) {
            Some(reason) => Err(Stop::Unknown(reason.clone())),
            None => context.prepare(),
        };
        let prepared = match context.node.step.commit.is_some() {
            true => self.closing(id, prepared),
            false => prepared,
        };
        match prepared {
            Err(Stop::Pending(other)) => self.graph.ready.wait(id, NodeId(other as u32)),
            Err(Stop::Failed(found)) => {
                let failure = Box::new(context.failure(&found));
                self.launch(id, firm, context, single(ItemWork::Fail(failure)));
            }
            Err(Stop::Unknown(reason)) => {
                let work = context.unknown(reason, &context.scoped().shared());
                self.launch(id, firm, context, single(work));
            }
            Ok(prepared) => self.launch(id, firm, context, prepared),
        }
    }

    fn context(&self, node: &StepNode) -> Option<Context> {
        Some(Context {
            world: Arc::clone(&self.world),
            node: node.clone(),
            host: self.world.host(node.host.as_str())?,
            pass: self.pass,
        })
    }

    fn throttled(&mut self, id: NodeId, node: &StepNode) -> bool {
        let Some(limit) = node
            .step
            .keywords
            .throttle
            .as_ref()
            .and_then(|limit| limit.to_value().to_string().parse::<usize>().ok())
        else {
            return false;
        };
        let busy: Vec<NodeId> = self
            .live
            .iter()
            .filter(|(_, live)| live.context.node.step.path == node.step.path)
            .map(|(id, _)| *id)
            .collect();
        match busy.first() {
            Some(other) if limit > 0 && busy.len() >= limit => {
                self.graph.ready.wait(id, *other);
                true
            }
            _ => false,
        }
    }

    /// Whether the step has to wait because enough hosts are being worked on.
    fn forked(&mut self, id: NodeId, node: &StepNode) -> bool {
        let busy: HashSet<&str> = self.live.values().map(|live| live.context.node.host.as_str()).collect();
        if busy.len() < self.options.forks || busy.contains(node.host.as_str()) {
            return false;
        }
        self.waiting_for_fork.insert(id);
        true
    }

    /// Starts what has been prepared.
    fn launch(&mut self, id: NodeId, firm: bool, context: Context, prepared: Prepared) {
        let scope = context.scoped().shared();
        let keywords = context.node.step.keywords.clone();
        let ignore = context
            .flag(keywords.ignore_errors.as_ref(), &scope)
            .ok()
            .flatten()
            .unwrap_or(false);
        let number = |node: Option<&crate::source::yaml::Node>| {
            let value = context.keyword(node, &scope).ok().flatten();
            value.and_then(|value| value.to_string().parse::<f64>().ok())
        };
        let task = Arc::clone(&context.node.step.task);
        let sends = prepared
            .items
            .iter()
            .any(|item| matches!(item.work, ItemWork::Send(..)));
        let reached = reach::of(&context, &self.options.defaults, &prepared.items);
        let (reach, delegated) = match reached {
            Ok((reach, delegated)) => (Some(reach), delegated),
            Err(_) if !sends => (None, None),
            Err(Stop::Pending(other)) => return self.graph.ready.wait(id, NodeId(other as u32)),
            Err(Stop::Unknown(reason)) => {
                return self.launch(id, firm, context, single(ItemWork::Unknown(reason, Vec::new())));
            }
            Err(Stop::Failed(found)) => {
                let failure = Box::new(context.failure(&found));
                return self.launch(id, firm, context, single(ItemWork::Fail(failure)));
            }
        };
        if reach.as_ref().is_some_and(|reach| self.strays(id, reach)) {
            let text = "this acts on another host or as another user than its transaction";
            let found = Diagnostic::new("not-in-transaction", text).at(task.span, "");
            let failure = Box::new(context.failure(&found));
            return self.launch(id, firm, context, single(ItemWork::Fail(failure)));
        }
        let Some(before) = self.barriers(id, firm, reach.as_deref()) else {
            return self.graph.ready.defer(id);
        };
        let attempts = match task.until.is_some() || task.retries.is_some() {
            true => number(task.retries.as_ref()).unwrap_or(3.0) as u32 + 1,
            false => 1,
        };
        let waiting = match waiting::Waiting::of(&context, self.pass) {
            Ok(waiting) => waiting.filter(|_| sends),
            Err(Stop::Pending(other)) => return self.graph.ready.wait(id, NodeId(other as u32)),
            Err(_) => None,
        };
        let limits = [keywords.timeout.as_ref(), task.r#async.as_ref()].map(number);
        let timeout = limits
            .into_iter()
            .flatten()
            .filter(|seconds| *seconds > 0.0)
            .reduce(f64::min);
        let pause = number(task.repeat.as_ref().and_then(|repeat| repeat.pause.as_ref()));
        let pause = pause.filter(|_| self.pass == Pass::Apply).unwrap_or(0.0).max(0.0);
        let name = if prepared.name.is_empty() {
            context.name(&scope)
        } else {
            prepared.name.clone()
        };
        let mut live = Live {
            name,
            looped: prepared.looped,
            open: 0,
            reach,
            delegated,
            barrier: before.clone(),
            attempt: 1,
            attempts,
            delay: Duration::from_secs_f64(number(task.delay.as_ref()).unwrap_or(5.0).max(0.0)),
            started: Instant::now(),
            ignore,
            waiting,
            timeout: timeout.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
            pause: Duration::try_from_secs_f64(pause).unwrap_or_default(),
            owes: Vec::new(),
            guarded: Vec::new(),
            items: Vec::new(),
            context,
        };
        let mut effects = Vec::new();
        for (index, item) in prepared.items.into_iter().enumerate() {
            if index > 0 && matches!(item.work, ItemWork::Local(_)) {
                effects.push((index, Effect::Pause(pause)));
            }
            let mut item = self.item(index, item, &live.context, &mut effects);
            if live.looped && matches!(item.deed.as_deref(), Some(Deed::Machine(_))) && keywords.delegate_to.is_some() {
                match reach::reach(&live.context, &self.options.defaults, &item.locals) {
                    Ok((reach, _)) => item.reach = Some(reach),
                    Err(Stop::Pending(other)) => return self.graph.ready.wait(id, NodeId(other as u32)),
                    Err(Stop::Unknown(reason)) => item.end = Some(finish::unknown(&live.context, &reason)),
                    Err(Stop::Failed(found)) => {
                        item.end = Some(finish::failed(live.context.failure(&found), false));
                    }
                }
            }
            live.items.push(item);
        }
        if let Some(by) = self.lacks(&live) {
            return self.bar(id, by);
        }
        self.start(id, firm, live, before, effects);
    }

    fn item(&self, index: usize, item: Item, context: &Context, effects: &mut Vec<(usize, Effect)>) -> LiveItem {
        let mut live = LiveItem {
            label: item.label,
            locals: item.locals,
            deed: None,
            env: Vec::new(),
            touches: Vec::new(),
            doubts: Vec::new(),
            back: None,
            args: Map::new(),
            sent: None,
            lasting: None,
            agreed: Agreed::default(),
            begun: false,
            end: None,
            reach: None,
        };
        match item.work {
            ItemWork::Send(sent) => {
                let digests = Digests::of(&sent.deed, &sent.env);
                live.sent = Some(digests.exact);
                live.lasting = Some(digests.lasting);
                live.deed = Some(sent.deed);
                live.env = sent.env;
                live.touches = sent.touches;
                live.args = sent.args;
            }
            ItemWork::Skip(condition) => live.end = Some(finish::skipped(&condition)),
            ItemWork::Unknown(reason, doubts) => {
                live.end = Some(finish::unknown(context, &reason));
                live.doubts = doubts;
            }
            ItemWork::Fail(failure) => live.end = Some(finish::failed(*failure, false)),
            ItemWork::Local(end) => {
                let LocalEnd {
                    changed,
                    failed,
                    msg,
                    result,
                    effect,
                } = *end;
                live.end = Some(finish::local(changed, failed, msg, result));
                effects.push((index, effect));
            }
        }
        live
    }

    fn fire(&mut self) {
        let now = Instant::now();
        while let Some(entry) = self.timers.first_entry().filter(|entry| entry.key().0 <= now) {
            match entry.remove() {
                Timer::Again(id) => self.again(id),
                Timer::Next(id) => self.next_item(id),
                Timer::Over(id) => self.finish(id),
                Timer::Expired(id, number) => self.expired(id, number),
            }
        }
    }

    fn again(&mut self, id: NodeId) {
        let Some(mut live) = self.live.remove(&id) else { return };
        for index in 0..live.items.len() {
            if live.items[index].begun && live.items[index].end.is_none() {
                live.open += 1;
                self.request(id, &mut live, index, Vec::new());
            }
        }
        self.trying(&live, None);
        self.live.insert(id, live);
    }

    fn next_item(&mut self, id: NodeId) {
        let Some(mut live) = self.live.remove(&id) else { return };
        if let Some(index) = live.next() {
            live.attempt = 1;
            live.open += 1;
            self.request(id, &mut live, index, Vec::new());
        }
        self.live.insert(id, live);
    }

    /// The step's time is up, or its session is known to be down.
    fn expired(&mut self, id: NodeId, number: u64) {
        if !self.requests.contains_key(&number) {
            return;
        }
        let index = self.requests.get(&number).map_or(0, |(_, index)| *index);
        let Some(reach) = self.live.get(&id).and_then(|live| live.reach_of(index).cloned()) else {
            return;
        };
        let address = reach.address();
        let (reason, unreachable) = match self.down.get(&address) {
            Some(down) => down.clone(),
            None => {
                self.channels.links.cut(&address);
                let limit = self.live.get(&id).and_then(|live| live.timeout);
                let limit = limit.map_or_else(String::new, |limit| format!(" of {} s", limit.as_secs_f64()));
                let reason =
                    format!("the step did not end in its time{limit}; it was given up and the connection closed");
                return self.lost(self.asked_of(&address), &reason, false);
            }
        };
        self.incoming(LinkEvent::Down {
            address,
            reason,
            unreachable,
        });
    }

    /// The requests that a session has not answered, in order.
    fn asked_of(&self, address: &Address) -> Vec<u64> {
        let of_it = |(node, index): &(NodeId, usize)| {
            let own = self.live.get(node).and_then(|live| live.reach_of(*index));
            own.is_some_and(|reach| reach.address() == *address)
        };
        let asked = self.requests.iter().filter(|(_, request)| of_it(request));
        let mut asked: Vec<u64> = asked.map(|(number, _)| *number).collect();
        asked.sort_unstable();
        asked
    }

    fn incoming(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::State { host, text, notable } => {
                let _ = self.channels.events.send(Event::Link { host, text, notable });
            }
            LinkEvent::Assumed { host, title, reason } => {
                if self.outcome.assumed.insert(host.clone()) {
                    let text = format!("not there yet ({reason}); planned as a blank {title} host");
                    let _ = self.channels.events.send(Event::Link {
                        host,
                        text,
                        notable: true,
                    });
                }
            }
            LinkEvent::Owed { address, debts } => self.told_debts(&address, debts),
            LinkEvent::Guarded { ticket, verdict } => self.judged_by_guard(ticket, &verdict),
            LinkEvent::Ledger { .. } => {}
            LinkEvent::Waits { id, text, limit } => self.waits(id, text, limit),
            LinkEvent::Reply { id, reply } => {
                if let Some((node, index)) = self.requests.remove(&id) {
                    self.reply(node, index, reply);
                }
            }
            LinkEvent::Down {
                address,
                reason,
                unreachable,
            } => {
                self.down.insert(address.clone(), (reason.clone(), unreachable));
                self.lost(self.asked_of(&address), &reason, unreachable);
            }
        }
    }

    /// Everything that was asked for on a session that is down: the first step fails, what stands behind it was not begun.
    fn lost(&mut self, numbers: Vec<u64>, reason: &str, unreachable: bool) {
        for number in numbers {
            let Some((node, index)) = self.requests.remove(&number) else {
                continue;
            };
            let before: Vec<NodeId> = self
                .graph
                .ready
                .before(node)
                .iter()
                .map(|(before, _)| *before)
                .collect();
            let blocked = before
                .iter()
                .any(|before| self.graph.ready.end(*before).is_some_and(crate::graph::build::is_bad));
            if blocked {
                self.reply(node, index, wire::Reply::Held);
            } else {
                let may = self.live.get(&node).is_some_and(|live| self.may_guard(live, index));
                self.live
                    .get_mut(&node)
                    .filter(|_| may)
                    .into_iter()
                    .for_each(|live| live.guarded.push((index, true)));
                let failure = Failure {
                    message: reason.to_owned(),
                    lost: unreachable,
                    ..Failure::default()
                };
                self.reply(node, index, wire::Reply::Failed(Box::new(failure)));
            }
        }
    }

    fn reply(&mut self, id: NodeId, index: usize, reply: wire::Reply) {
        let Some(mut live) = self.live.remove(&id) else { return };
        if reply == wire::Reply::Held && self.cancelled() && live.items.iter().all(|item| item.end.is_none()) {
            self.requests.retain(|_, (node, _)| *node != id);
            return;
        }
        if reply == wire::Reply::Held && !self.cancelled() {
            return self.held(id);
        }
        let Some(reply) = self.waited(id, &mut live, index, reply) else {
            live.open -= 1;
            self.live.insert(id, live);
            return;
        };
        let Some(reply) = self.looked(id, &mut live, index, reply) else {
            self.live.insert(id, live);
            return;
        };
        let mut end = match self.refusal(&live, index, &reply) {
            Some(end) => end,
            None => finish::judged(&live, index, reply, self.pass),
        };
        if let Some(reach) = live
            .reach_of(index)
            .filter(|reach| self.outcome.assumed.contains(&reach.host))
        {
            finish::absent(&mut end, &reach.host);
        }
        Self::note_guard(&mut live, index, &end);
        live.open -= 1;
        end.back = live.items[index].back.take().or(end.back);
        let again = finish::again(&live, index, &end, self.pass);
        match again {
            Some(true) => live.items[index].back = end.back,
            Some(false) if self.pass == Pass::Plan => {
                live.items[index].end = Some(finish::unknown(
                    &live.context,
                    "it is tried again until its condition holds",
                ));
            }
            Some(false) => live.items[index].end = Some(finish::gave_up(end, live.attempt)),
            None => live.items[index].end = Some(finish::tried(end, &live)),
        }
        let open = live.open;
        self.live.insert(id, live);
        if open == 0 && !self.confirm(id) {
            self.proceed(id);
        }
    }

    /// All that was asked for of a step has ended, and nothing waits to be confirmed.
    fn proceed(&mut self, id: NodeId) {
        let Some(mut live) = self.live.remove(&id) else { return };
        match live.open {
            0 if live.trying() => {
                live.attempt += 1;
                self.wait_again(id, &live);
            }
            0 if live.next().is_some() => {
                let at = Instant::now() + live.pause;
                self.timers.insert((at, u64::from(id.0)), Timer::Next(id));
            }
            _ => {}
        }
        let done = live.open == 0 && live.items.iter().all(|item| item.end.is_some());
        self.live.insert(id, live);
        if done {
            self.finish(id);
        }
    }

    fn wait_again(&mut self, id: NodeId, live: &Live) {
        let at = Instant::now() + live.delay;
        self.timers.insert((at, u64::from(id.0)), Timer::Again(id));
        self.trying(live, Some(live.delay));
    }

    /// Which try it is, or will be after a while, and when the last one is due.
    fn trying(&self, live: &Live, wait: Option<Duration>) {
        let more = live.attempts.saturating_sub(live.attempt);
        let _ = self.channels.events.send(Event::Again {
            host: live.context.node.host.as_str().to_owned(),
            task: live.name.clone(),
            attempt: live.attempt,
            attempts: live.attempts,
            wait,
            last: wait.unwrap_or_default() + live.delay * more,
        });
    }

    /// The far end did not begin it, because something before it had failed.
    fn held(&mut self, id: NodeId) {
        self.requests.retain(|_, (node, _)| *node != id);
        let culprit = self.culprit(id).unwrap_or(id);
        let settled = self.graph.ready.settle(id, End::Blocked(culprit));
        self.after(settled);
    }

    fn culprit(&self, id: NodeId) -> Option<NodeId> {
        self.graph
            .ready
            .before(id)
            .iter()
            .find_map(|(before, _)| match self.graph.ready.end(*before) {
                Some(End::Failed) => Some(*before),
                Some(End::Blocked(by)) => Some(by),
                _ => None,
            })
    }

    /// What settling brings with it: blocked steps are told, parked ones end, includes end.
    fn after(&mut self, settled: Vec<(NodeId, End)>) {
        for (id, end) in settled {
            if let (Some(promise), End::Blocked(_)) = (self.promises.remove(&id), end) {
                take_back(id, promise);
            }
            if self.commits(id) {
                let culprit = match end {
                    End::Blocked(by) | End::Refused(by) => by,
                    _ => id,
                };
                self.release(id, Some(culprit));
            }
            if let (End::Blocked(by), Some(node)) = (end, self.node(id)) {
                self.live.remove(&id);
                self.parked.remove(&id);
                self.blocked(&node, by);
            }
            if let (End::Refused(by), Some(node)) = (end, self.node(id).filter(|_| end != End::Refused(id))) {
                self.live.remove(&id);
                if let Some(commit) = self.graph.commit_of(id) {
                    self.bodies.entry(commit).or_default().refused.get_or_insert(by);
                }
                self.withhold(&node, by);
                self.blocked(&node, by);
            }
            if let Some(step) = self.expansions.remove(&id) {
                self.expanded(step, end);
            }
        }
        let ripe: Vec<NodeId> = self
            .parked
            .iter()
            .copied()
            .filter(|id| {
                self.graph
                    .ready
                    .before(*id)
                    .iter()
                    .all(|(before, _)| self.graph.ready.end(*before).is_some())
            })
            .collect();
        for id in ripe.into_iter().filter(|id| self.parked.remove(id)).collect::<Vec<_>>() {
            match self.culprit(id) {
                Some(by) => {
                    let settled = self.graph.ready.settle(id, End::Blocked(by));
                    self.after(settled);
                }
                None => self.finish(id),
            }
        }
        let free: Vec<NodeId> = std::mem::take(&mut self.waiting_for_fork).into_iter().collect();
        free.into_iter().for_each(|id| self.graph.ready.defer(id));
    }
}

/// Whether everything before a step has to have ended when it begins: what is done here, what is done elsewhere, and what
/// has a time limit, whose time begins with it.
fn alone(step: &Step) -> bool {
    let (task, keywords) = (&step.task, &step.keywords);
    local::is_local(task.short_module())
        || task.keywords.delegate_to.is_some()
        || keywords.timeout.is_some()
        || task.r#async.is_some()
}

fn single(work: ItemWork) -> Prepared {
    Prepared {
        name: String::new(),
        items: vec![Item {
            label: None,
            locals: Map::new(),
            work,
        }],
        looped: false,
    }
}
