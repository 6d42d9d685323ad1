//! Handlers that are owed: a step that notifies one has changed something, in this run or in one that was cut, and the
//! handler has not run well since. The debts stand in the ledgers of the machines, each from the moment before its change.

use super::{Fired, Live, Runner, finish};
use crate::graph::NodeId;
use crate::graph::build::{StepNode, Work};
use crate::link::reach::Address;
use crate::report::{Pass, StepStatus, json};
use crate::site::scope::HostVars;
use crate::site::{Flow, Scoped, SitePlay, Step};
use crate::template::moment;
use okd_agent::Value;
use okd_agent::diff::sha256;
use okd_agent::ledger::Debt;
use okd_agent::wire::{self, Note, Request};
use std::sync::Arc;

/// A debt, and the session whose ledger holds it.
#[derive(Debug, Clone)]
pub struct Owed {
    /// What is owed.
    pub debt: Debt,
    /// Where that is written.
    pub address: Address,
}

impl Owed {
    /// The host of the play for which the handler is due.
    #[must_use]
    pub fn host(&self) -> &str {
        self.debt.host.as_deref().unwrap_or(&self.address.host)
    }

    /// Why a handler runs though nothing has notified it now.
    #[must_use]
    pub fn reason(&self) -> String {
        let since = moment(self.debt.run);
        format!(
            "owed since {since}: \"{}\" had changed, and this did not run",
            self.debt.step
        )
    }

    fn is(&self, other: &Owed) -> bool {
        self.address == other.address && self.debt.id() == other.debt.id()
    }
}

/// What names a handler from run to run, whatever playbook it stands in.
struct Identity {
    written: String,
    does: Option<String>,
}

impl Identity {
    fn owes(&self, debt: &Debt) -> bool {
        let alike = match (&self.does, &debt.does) {
            (Some(own), Some(other)) => own == other,
            _ => true,
        };
        self.written == debt.written && alike
    }
}

fn written(handler: &Step) -> String {
    let task = &handler.task;
    hash(&format!(
        "{}\n{}\n{:?}",
        handler.label(),
        task.module,
        task.args.to_value()
    ))
}

/// A hash that is the same in the next run: what stands for a secret is told apart by the secret's name alone.
fn hash(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for (at, part) in text.split("‹secret:").enumerate() {
        match part.split_once('›') {
            Some((name, rest)) if at > 0 => plain.extend([name.split(':').next().unwrap_or_default(), rest]),
            _ => plain.push_str(part),
        }
    }
    sha256(plain.as_bytes()).get(..16).unwrap_or_default().to_owned()
}

impl Runner<'_, '_> {
    /// A session tells what its machine's ledger holds. It may tell it once more, where it was ended and begun again.
    pub(super) fn told_debts(&mut self, address: &Address, debts: Vec<Debt>) {
        for debt in debts.into_iter().filter(|debt| debt.run != self.options.run) {
            let owed = Owed {
                debt,
                address: address.clone(),
            };
            if !self.outcome.owed.iter().any(|known| known.is(&owed)) {
                self.outcome.owed.push(owed.clone());
                self.owed.push(owed);
            }
        }
    }

    fn identity(&self, node: &StepNode, host: Arc<HostVars>, handler: &Arc<Step>) -> Identity {
        let scoped = Scoped {
            world: Arc::clone(&self.world),
            host,
            play: Some(Arc::clone(&node.play)),
            step: Some(Arc::clone(handler)),
            locals: Arc::default(),
            includes: node.includes.clone(),
        };
        let args = self.world.engine().render(&handler.task.args, &scoped.shared()).ok();
        Identity {
            written: written(handler),
            does: args
                .filter(|args| args.unknown().is_none())
                .map(|args| hash(&json::value(&args).to_string())),
        }
    }

    /// What a step owes from the moment at which it changes something.
    pub(super) fn owes(&self, live: &Live) -> Vec<Debt> {
        let node = &live.context.node;
        if self.far_pass(live) == wire::Pass::Plan || node.step.notify.is_empty() {
            return Vec::new();
        }
        let (_, handlers) = self.means(live);
        let (key, host) = node.key();
        let debts = handlers.iter().map(|handler| {
            let Identity { written, does } = self.identity(node, Arc::clone(&live.context.host), handler);
            Debt {
                handler: handler.label(),
                written,
                does,
                host: None,
                step: live.name.clone(),
                key: key.clone(),
                run: self.options.run,
            }
        });
        let debts: Vec<Debt> = debts.collect();
        match live.delegated.is_some() || live.items.iter().any(|item| item.reach.is_some()) {
            true => debts
                .into_iter()
                .map(|debt| Debt {
                    host: Some(host.clone()),
                    ..debt
                })
                .collect(),
            false => debts,
        }
    }

    /// What a request means to the ledger of the machine that it goes to.
    pub(super) fn note(&mut self, id: NodeId, live: &Live, address: &Address) -> Note {
        if self.far_pass(live) == wire::Pass::Plan {
            return Note::default();
        }
        for debt in &live.owes {
            let owed = Owed {
                debt: debt.clone(),
                address: address.clone(),
            };
            if !self.owed.iter().any(|known| known.is(&owed)) {
                self.owed.push(owed);
            }
        }
        let simple = live.items.len() == 1
            && live.attempts == 1
            && live.waiting.is_none()
            && !live.ignore
            && live.context.node.step.task.failed_when.is_none();
        let pays = self.pays.get(&id).map_or(&[][..], Vec::as_slice);
        let pays = pays.iter().filter(|owed| simple && owed.address == *address);
        Note {
            owes: live.owes.clone(),
            settles: pays.map(|owed| owed.debt.id()).collect(),
        }
    }

    /// A step that notifies handlers was as it should be: those that are owed from an earlier run run now.
    pub(super) fn fire_owed(&mut self, live: &Live) {
        let node = live.context.node.clone();
        if !self.is_owed(node.host.as_str()) {
            return;
        }
        for handler in self.means(live).1 {
            self.fire_if_owed(&node, &handler);
        }
    }

    /// At the end of a play run the handlers that are owed though none of its steps has notified them; where a later play
    /// of the host has the same handler, it may still put right what the handler makes live, and runs it.
    pub(super) fn fire_left_over(&mut self, node: &StepNode) {
        let host = node.host.as_str();
        if !(node.step.implicit && is_last(&node.play, &node.step) && self.is_owed(host)) {
            return;
        }
        let later: Vec<Arc<SitePlay>> = self
            .site
            .plays
            .iter()
            .filter(|play| play.index > node.play.index)
            .cloned()
            .collect();
        let later: Vec<String> = later
            .iter()
            .filter(|play| flushes(play).next().is_some() && play.hosts().any(|other| *other == node.host))
            .flat_map(|play| self.world.handlers(play))
            .map(|handler| written(&handler))
            .collect();
        for handler in self.world.handlers(&node.play) {
            if !later.contains(&written(&handler)) {
                self.fire_if_owed(node, &handler);
            }
        }
    }

    fn is_owed(&self, host: &str) -> bool {
        self.owed
            .iter()
            .any(|owed| owed.host() == host && owed.debt.run != self.options.run)
    }

    fn fire_if_owed(&mut self, node: &StepNode, handler: &Arc<Step>) {
        let due = self
            .due(node, handler)
            .into_iter()
            .filter(|owed| owed.debt.run != self.options.run);
        let due: Vec<Owed> = due.collect();
        if due.is_empty() {
            return;
        }
        let key = (node.play.index, node.host.as_str().to_owned());
        let fired: &mut Fired = self
            .notified
            .entry(key)
            .or_default()
            .entry(handler.path.clone())
            .or_default();
        for owed in due {
            if !fired.owed.contains(&owed.reason()) {
                fired.owed.push(owed.reason());
                fired.by.push(owed.debt.step);
            }
        }
    }

    /// The debts that a handler pays on a host.
    fn due(&self, node: &StepNode, handler: &Arc<Step>) -> Vec<Owed> {
        let host = node.host.as_str();
        let mut here = self.owed.iter().filter(|owed| owed.host() == host).peekable();
        let (Some(_), Some(vars)) = (here.peek(), self.world.host(host)) else {
            return Vec::new();
        };
        let identity = self.identity(node, vars, handler);
        here.filter(|owed| identity.owes(&owed.debt)).cloned().collect()
    }

    /// A handler is about to run, as these nodes.
    pub(super) fn begin_paying(&mut self, flush: NodeId, node: &StepNode, handler: &Arc<Step>, new: &[NodeId]) {
        let due = self.due(node, handler);
        if due.is_empty() {
            return;
        }
        for id in new {
            if matches!(self.graph.work(*id), Work::Step(step) if step.step.path == handler.path) {
                self.pays.insert(*id, due.clone());
            }
        }
        self.pays.insert(flush, due);
    }

    /// The handler that a flush has run last has ended: when it ended well its debts are paid.
    pub(super) fn paid(&mut self, flush: NodeId, well: bool) {
        let paid = self.pays.remove(&flush).unwrap_or_default();
        if well {
            self.settle(&paid);
        }
    }

    /// A step has ended without a change that counts, or failed where that was declared not to matter: what it owes is
    /// nothing, unless an earlier run owed it already.
    pub(super) fn withdraw(&mut self, live: &Live, worst: StepStatus) {
        let ends = live.items.iter().filter_map(|item| item.end.as_ref());
        let changed = ends
            .into_iter()
            .any(|end| end.status == StepStatus::Changed && !end.quiet);
        if live.owes.is_empty() || changed || matches!(worst, StepStatus::Failed | StepStatus::Unreachable) {
            return;
        }
        let own = |owed: &&Owed| {
            let of_step = live.owes.contains(&owed.debt);
            of_step && !self.outcome.owed.iter().any(|known| known.is(owed))
        };
        let own: Vec<Owed> = self.owed.iter().filter(own).cloned().collect();
        self.settle(&own);
    }

    fn settle(&mut self, debts: &[Owed]) {
        self.owed.retain(|owed| !debts.iter().any(|other| other.is(owed)));
        if self.pass == Pass::Plan {
            return;
        }
        for owed in debts {
            self.channels
                .links
                .say(&owed.address, Request::Settle(vec![owed.debt.id()]));
        }
    }

    /// The names by which a step notifies, and the handlers that they mean.
    pub(super) fn means(&self, live: &Live) -> (Vec<String>, Vec<Arc<Step>>) {
        let node = &live.context.node;
        let scope = live.context.scoped().shared();
        let mut names = Vec::new();
        for topic in &node.step.notify {
            match live.context.world.engine().render(topic, &scope) {
                Ok(Value::List(list)) => names.extend(list.iter().map(Value::to_string)),
                Ok(value) => names.push(value.to_string()),
                Err(_) => names.push(topic.to_value().to_string()),
            }
        }
        let handlers = self.world.handlers(&node.play);
        let meant = names.iter().flat_map(|name| finish::meant(live, &handlers, name));
        let meant = meant.cloned().collect();
        (names, meant)
    }
}

/// The steps of a play that okd-play itself put there to flush handlers.
fn flushes(play: &SitePlay) -> impl DoubleEndedIterator<Item = &Arc<Step>> {
    play.flows.main.iter().filter_map(|flow| match flow {
        Flow::Step(step) if step.implicit && step.task.module == "meta" => Some(step),
        _ => None,
    })
}

fn is_last(play: &SitePlay, step: &Step) -> bool {
    flushes(play).next_back().is_some_and(|last| last.path == step.path)
}
