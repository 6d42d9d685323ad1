//! A plan that is kept and applied later: what is done with each of its steps, and the steps that are refused, with what
//! depends on them and with nothing else.

use super::deed::Deed;
use super::prepare::Context;
use super::record::{Input, Key, Outcome, Record, Records};
use super::{ItemEnd, Live, Runner, finish, moved};
use crate::control::ApiKind;
use crate::graph::build::StepNode;
use crate::graph::{End, NodeId};
use crate::report::{Pass, StepResult, StepStatus};
use crate::site::Slot;
use okd_agent::Value;
use okd_agent::resource::{self, Failure, Kind, Status};
use okd_agent::wire::{self, Reply};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

/// Whether the plan of a pass is kept.
#[derive(Debug, Clone, Default)]
pub enum Keeping {
    /// It is applied at once, or not at all.
    #[default]
    No,
    /// It is kept, or compared with one that was: what each step is and sees is recorded.
    Plan,
    /// One that was kept is applied.
    Apply(Arc<Verdicts>),
}

/// What is done with the steps of a kept plan, now that they have been looked at again.
#[derive(Debug, Default)]
pub struct Verdicts {
    steps: HashMap<Key, Vec<Verdict>>,
    excluded: HashSet<String>,
}

/// What is done with a step, or with one item of its loop.
#[derive(Debug, Clone)]
pub enum Verdict {
    /// It is done, where its input is the one that was planned.
    Go(Option<u64>),
    /// The plan does not know what it does: it is looked at when its turn comes, and asked about.
    Ask,
    /// Nothing of it is touched.
    Refuse {
        /// Why.
        failure: Box<Failure>,
        /// Whether it was to change something, so that its handlers were to run.
        changes: bool,
    },
}

/// Who is asked about steps that the plan did not know.
#[derive(Debug)]
pub enum Consent {
    /// Nobody: all are agreed to.
    Given,
    /// Nobody: none is agreed to.
    Withheld,
    /// Somebody, by these channels.
    Asked {
        /// Where questions go.
        ask: UnboundedSender<Question>,
        /// Where answers come from, by the question's number.
        answers: UnboundedReceiver<(u64, bool)>,
    },
}

/// A step that has become known.
#[derive(Debug)]
pub struct Question {
    /// Names it in its answer.
    pub id: u64,
    /// What it would do.
    pub step: Box<StepResult>,
}

impl Consent {
    /// The next answer; never where nobody is asked.
    pub(super) async fn answer(&mut self) -> (u64, bool) {
        match self {
            Consent::Asked { answers, .. } => match answers.recv().await {
                Some(answer) => answer,
                None => std::future::pending().await,
            },
            _ => std::future::pending().await,
        }
    }
}

/// How far an item has come that has to be agreed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Agreed {
    /// It need not be.
    #[default]
    Planned,
    /// It is looked at, or asked about.
    NotYet,
    /// It is, with the fingerprint of what was seen then.
    Yes(Option<u64>),
}

impl Verdicts {
    /// Compares a plan that was kept with what its steps come to now.
    #[must_use]
    pub fn of(kept: &Outcome, fresh: &Outcome) -> Verdicts {
        let steps = fresh.records.iter().map(|(key, items)| {
            let planned = kept.records.get(key).map_or(&[][..], Vec::as_slice);
            let item = |(index, now): (usize, &Record)| {
                // A loop that was not known as a whole was one step.
                let one = planned.first().filter(|one| planned.len() == 1 && one.sent.is_none());
                verdict(planned.get(index).or(one), now)
            };
            (key.clone(), items.iter().enumerate().map(item).collect())
        });
        Verdicts {
            steps: steps.collect(),
            excluded: kept.excluded(),
        }
    }

    /// Why a step's item is refused, where it is.
    #[must_use]
    pub fn refusal(&self, key: &Key, index: usize) -> Option<&Failure> {
        match self.steps.get(key)?.get(index)? {
            Verdict::Refuse { failure, .. } => Some(failure),
            _ => None,
        }
    }

    /// Whether anything is left to be done, or to be asked about.
    #[must_use]
    pub fn pending(&self, fresh: &Outcome) -> bool {
        let open = |key: &Key, index: usize, now: &Record| {
            let comes = matches!(now.status, StepStatus::Changed | StepStatus::Unknown) && !now.quiet;
            comes && !matches!(self.verdict(key, index), Verdict::Refuse { .. }) && !self.excluded.contains(&key.1)
        };
        let mut all = fresh.records.iter();
        all.any(|(key, items)| items.iter().enumerate().any(|(index, now)| open(key, index, now)))
    }

    /// Hosts whose plan had failed: nothing is done there.
    #[must_use]
    pub fn excluded(&self) -> &HashSet<String> {
        &self.excluded
    }

    fn verdict(&self, key: &Key, index: usize) -> &Verdict {
        let known = self.steps.get(key).and_then(|items| items.get(index));
        known.unwrap_or(&Verdict::Ask)
    }
}

fn verdict(planned: Option<&Record>, now: &Record) -> Verdict {
    if now.sent.is_none() {
        return match now.status {
            StepStatus::Unknown => Verdict::Ask,
            _ => Verdict::Go(None),
        };
    }
    let Some(planned) = planned else { return Verdict::Ask };
    let go = Verdict::Go(now.sent);
    let refuse = |message: String| Verdict::Refuse {
        failure: Box::new(stale(message)),
        changes: matches!(planned.status, StepStatus::Changed | StepStatus::Unknown),
    };
    let same = planned.status == StepStatus::Ok && now.status == StepStatus::Ok;
    if planned.sent.is_some() && planned.sent != now.sent && !same {
        let inputs = planned.input.as_ref().zip(now.input.as_ref());
        return refuse(moved::input(inputs));
    }
    match (planned.status, now.status) {
        (_, StepStatus::Ok) if now.sure => go,
        (_, StepStatus::Skipped) => go,
        (StepStatus::Skipped, StepStatus::Changed) => {
            refuse("the plan skipped it, and its condition holds now".to_owned())
        }
        (StepStatus::Ok, StepStatus::Changed) => refuse(moved::state(planned.seen.as_ref(), now.seen.as_ref())),
        (StepStatus::Changed, StepStatus::Changed) => match planned.print == now.print {
            true => go,
            false => refuse(moved::state(planned.seen.as_ref(), now.seen.as_ref())),
        },
        _ => Verdict::Ask,
    }
}

/// A refusal in these words.
pub(super) fn stale(message: String) -> Failure {
    Failure {
        message,
        kept: resource::KEPT.to_owned(),
        stale: true,
        ..Failure::default()
    }
}

/// Whether a step only asks, so that nobody need agree to it.
fn only_asks(deed: &Deed) -> bool {
    match deed {
        Deed::Machine(kind) => matches!(
            kind,
            Kind::Find(_)
                | Kind::Ping(_)
                | Kind::Probe(_)
                | Kind::Setup(_)
                | Kind::Slurp(_)
                | Kind::Stat(_)
                | Kind::WaitFor(_)
        ),
        Deed::Api(kind) => matches!(kind, ApiKind::OkdWait(_)),
        Deed::Media(_) | Deed::Commit(_) => false,
    }
}

/// An item that was refused: what it would have given is not known.
fn refused(live: &Live, failure: Failure) -> ItemEnd {
    let mut end = ItemEnd::new(
        StepStatus::Refused,
        failure.message.clone(),
        Value::Unknown(lacking(&live.name)),
    );
    end.diff.clone_from(&failure.diff);
    end.failure = Some(Box::new(failure));
    end
}

/// Why the result of a step is not there.
fn lacking(name: &str) -> String {
    format!("the result of \"{name}\", which was not done")
}

/// What a step is, as it may be kept.
pub(super) fn input(module: &str, deed: &Deed, args: &okd_agent::value::Map, env: &[(String, String)]) -> Input {
    let content = match deed {
        Deed::Machine(Kind::Copy(copy)) => copy.content.as_ref(),
        Deed::Machine(Kind::Unarchive(unarchive)) => unarchive.content.as_ref(),
        _ => None,
    };
    let mut args = args.clone();
    if content.is_some() {
        args.shift_remove("content");
    }
    Input {
        module: module.to_owned(),
        args,
        env: env.to_vec(),
        content: content.map(|content| content.0.clone()),
    }
}

impl Runner<'_, '_> {
    /// What is done with the steps of a kept plan, where one is applied.
    pub(super) fn verdicts(&self) -> Option<&Arc<Verdicts>> {
        match &self.options.keeping {
            Keeping::Apply(verdicts) if self.pass == Pass::Apply => Some(verdicts),
            _ => None,
        }
    }

    /// Whether what is seen is told.
    pub(super) fn keeps(&self) -> bool {
        !matches!(self.options.keeping, Keeping::No)
    }

    /// Applies the verdict on an item that has something to do.
    pub(super) fn sentence(&mut self, id: NodeId, live: &mut Live, index: usize) {
        let Some(verdicts) = self.verdicts().map(Arc::clone) else {
            return;
        };
        let transaction = self.transaction(id);
        let item = &live.items[index];
        let Some(deed) = item.deed.as_ref().filter(|_| item.end.is_none()) else {
            return;
        };
        match verdicts.verdict(&live.context.node.key(), index) {
            Verdict::Refuse { failure, .. } => {
                live.items[index].end = Some(refused(live, Failure::clone(failure)));
            }
            Verdict::Go(sent) if *sent != item.sent => {
                let prior = self.record(live, index).and_then(|record| record.input.as_ref());
                let module = &live.context.node.step.task.module;
                let now = input(module, deed, &item.args, &item.env);
                let failure = stale(moved::input(prior.map(|prior| (prior, &now))));
                live.items[index].end = Some(refused(live, failure));
            }
            verdict => {
                let body = transaction.and_then(|commit| self.bodies.get(&commit));
                let asks =
                    matches!(verdict, Verdict::Ask) || (transaction == Some(id) && body.is_some_and(|body| body.asks));
                let quiet = finish::unknown(&live.context, "").quiet;
                if !asks || quiet || only_asks(deed) || self.far_pass(live) == wire::Pass::Plan {
                    return;
                }
                match transaction.filter(|commit| *commit != id) {
                    // It only stages; all of the transaction is asked about at its end.
                    Some(commit) => self.bodies.entry(commit).or_default().asks = true,
                    None => live.items[index].agreed = Agreed::NotYet,
                }
            }
        }
    }

    /// What the plan before this pass found of an item.
    fn record(&self, live: &Live, index: usize) -> Option<&Record> {
        self.prior?.get(&live.context.node.key())?.get(index)
    }

    /// The answer to an item that was looked at: where it would change something it is asked about, and `None` is given.
    pub(super) fn looked(&mut self, id: NodeId, live: &mut Live, index: usize, reply: Reply) -> Option<Reply> {
        if live.items[index].agreed != Agreed::NotYet {
            return Some(reply);
        }
        let (diff, msg, print) = match &reply {
            Reply::Outcome(outcome) => match &outcome.status {
                Status::Same => return Some(reply),
                Status::Changed => (outcome.diff.clone(), String::new(), outcome.fingerprint),
                Status::Unknown(reason) => (outcome.diff.clone(), reason.clone(), None),
            },
            _ => return Some(reply),
        };
        self.ask(id, live, index, print, |step| {
            step.diff = diff;
            step.msg = msg;
        })
    }

    /// Asks whether an item may be done; the reply that ends it, where nobody can be asked.
    fn ask(
        &mut self,
        id: NodeId,
        live: &mut Live,
        index: usize,
        print: Option<u64>,
        tell: impl FnOnce(&mut StepResult),
    ) -> Option<Reply> {
        match &self.channels.consent {
            Consent::Given => self.agree(id, live, index, print),
            Consent::Withheld => {
                return Some(declined(
                    "and nobody could be asked; `--yes-unknown` agrees to all such steps",
                ));
            }
            Consent::Asked { ask, .. } => {
                let mut step = self.question(id, live, index);
                tell(&mut step);
                step.diff.splice(..0, self.staged_diff(id));
                step.status = match step.diff.is_empty() {
                    true => StepStatus::Unknown,
                    false => StepStatus::Changed,
                };
                let number = self.next_request;
                self.next_request += 1;
                self.asked.insert(number, (id, index, print));
                let _ = ask.send(Question {
                    id: number,
                    step: Box::new(step),
                });
            }
        }
        None
    }

    /// Somebody has answered.
    pub(super) fn answered(&mut self, number: u64, yes: bool) {
        let Some((id, index, print)) = self.asked.remove(&number) else {
            return;
        };
        if !yes {
            return self.reply(id, index, declined("and it was not agreed to"));
        }
        let Some(mut live) = self.live.remove(&id) else { return };
        self.agree(id, &mut live, index, print);
        self.live.insert(id, live);
    }

    fn agree(&mut self, id: NodeId, live: &mut Live, index: usize, print: Option<u64>) {
        live.items[index].agreed = Agreed::Yes(print);
        self.request(id, live, index, Vec::new());
    }

    /// The end of an item that was refused at the far end, or not agreed to; `None` for any other reply.
    pub(super) fn refusal(&self, live: &Live, index: usize, reply: &Reply) -> Option<ItemEnd> {
        let Reply::Failed(failure) = reply else { return None };
        if self.verdicts().is_none() || !failure.stale {
            return None;
        }
        let mut failure = Failure::clone(failure);
        if let (Some(now), Some(record)) = (failure.seen.take(), self.record(live, index)) {
            failure.message = moved::state(record.seen.as_ref(), Some(&now));
        }
        let before = self.refused_on.get(live.context.node.host.as_str());
        if let Some(before) = before.and_then(|id| self.node(*id)) {
            failure.message += &format!(" (\"{}\" before it was refused)", before.step.label());
        }
        Some(refused(live, failure))
    }

    /// What a refused step means for others: its handlers do not run, nobody has its result, and what the plan could not
    /// see to its end on its hosts is not done.
    pub(super) fn refuse(&mut self, id: NodeId, live: &Live) {
        let node = &live.context.node;
        self.withheld.insert(lacking(&live.name), id);
        let reached = (0..live.items.len()).filter_map(|index| live.reach_of(index));
        let hosts: Vec<String> = reached.map(|reach| reach.host.clone()).collect();
        for host in hosts.into_iter().chain([node.host.as_str().to_owned()]) {
            self.refused_on.entry(host).or_insert(id);
        }
        let Some(verdicts) = self.verdicts() else { return };
        let changes = |index| match verdicts.verdict(&node.key(), index) {
            Verdict::Refuse { changes, .. } => *changes,
            _ => true,
        };
        let refused = live
            .items
            .iter()
            .enumerate()
            .filter(|(_, item)| item.end.as_ref().is_some_and(|end| end.status == StepStatus::Refused));
        if refused.map(|(index, _)| index).any(changes) {
            self.bar_handlers(&live.context, id);
        }
    }

    /// The handlers of a step that was not done do not run.
    fn bar_handlers(&mut self, context: &Context, by: NodeId) {
        let node = &context.node;
        let host = (node.play.index, node.host.as_str().to_owned());
        for handler in self.means(context).1 {
            // It is told when its turn comes.
            let waiting = self.notified.entry(host.clone()).or_default();
            waiting.entry(handler.path.clone()).or_default();
            self.barred.entry((host.clone(), handler.path.clone())).or_insert(by);
        }
    }

    /// The refused step because of which this one cannot be done, where there is one.
    pub(super) fn barred_by(&self, id: NodeId, node: &StepNode) -> Option<NodeId> {
        self.verdicts()?;
        let body = self.transaction(id).and_then(|commit| self.bodies.get(&commit));
        if let Some(by) = body.and_then(|body| body.refused) {
            return Some(by);
        }
        let host = node.host.as_str().to_owned();
        let handler = ((node.play.index, host.clone()), node.step.path.clone());
        if node.step.handler
            && let Some(by) = self.barred.get(&handler)
        {
            return Some(*by);
        }
        let by = self.refused_on.get(&host)?;
        self.unguarded(node).then_some(*by)
    }

    /// Whether the plan has seen no state of a step's things that it would have to find again.
    pub(super) fn unguarded(&self, node: &StepNode) -> bool {
        if self.verdicts().is_none() || super::local::is_local(node.step.task.short_module()) {
            return false;
        }
        let Some(records) = self.prior.and_then(|prior| prior.get(&node.key())) else {
            return true;
        };
        let open = |record: &Record| match record.status {
            StepStatus::Ok | StepStatus::Changed => record.sent.is_some() && record.fingerprint.is_none(),
            StepStatus::Skipped => false,
            _ => true,
        };
        records.iter().any(open)
    }

    /// The refused step whose result this one lacks.
    pub(super) fn lacks(&self, live: &Live) -> Option<NodeId> {
        self.verdicts()?;
        let ends = live.items.iter().filter_map(|item| item.end.as_ref());
        let unknown = ends.filter(|end| end.status == StepStatus::Unknown);
        let by = |end: &ItemEnd| self.withheld.get(&end.msg).copied();
        unknown.filter_map(by).next()
    }

    /// A step that was not done because of a refused one gives nothing either.
    pub(super) fn withhold(&mut self, node: &StepNode, by: NodeId) {
        let reason = lacking(&node.step.label());
        self.withheld.insert(reason.clone(), by);
        let planned = self.prior.and_then(|prior| prior.get(&node.key()));
        let comes = |record: &Record| matches!(record.status, StepStatus::Changed | StepStatus::Unknown);
        if planned.is_some_and(|records| records.iter().any(comes))
            && let Some(context) = self.context(node)
        {
            self.bar_handlers(&context, by);
        }
        let Some(name) = &node.step.task.register else { return };
        let hosts = std::iter::once(&node.host).chain(&node.shared);
        for host in hosts.filter_map(|host| self.world.host(host.as_str())) {
            let unknown = Slot::Known(Value::Unknown(reason.clone()));
            host.state_mut().set.insert(name.clone(), unknown);
        }
    }

    /// Settles a step that cannot be done because of a refused one.
    pub(super) fn bar(&mut self, id: NodeId, by: NodeId) {
        let settled = self.graph.ready.settle(id, End::Refused(by));
        self.after(settled);
    }
}

fn declined(why: &str) -> Reply {
    Reply::Failed(Box::new(stale(format!("it was unknown when the plan was made, {why}"))))
}

/// The steps of a plan that a person should know of.
#[must_use]
pub fn told(records: &Records) -> Vec<StepResult> {
    let all = records.values().flatten();
    all.filter_map(|record| record.told.as_deref().cloned()).collect()
}
