//! Hands steps in: what of them the plan knows already, what they wait for at the far end, and in which world they are done.

use super::deed::Deed;
use super::kept::Agreed;
use super::local::Effect;
use super::{ItemEnd, Live, Promise, Runner, Timer, args, finish, reach, waiting};
use crate::control::desk::Errand;
use crate::graph::NodeId;
use crate::link::reach::{LinkEvent, Reach};
use crate::media::MEDIA_KINDS;
use crate::report::{Event, Pass, StepStatus};
use crate::site::Slot;
use okd_agent::wire::{self, Note, Task};
use std::sync::Arc;
use std::time::Instant;

impl Runner<'_, '_> {
    /// What the far end has to have done well before this step; `None` where the link cannot see to that.
    pub(super) fn barriers(&self, id: NodeId, firm: bool, reach: Option<&Reach>) -> Option<Vec<u64>> {
        if firm {
            return Some(Vec::new());
        }
        let mut all = Vec::new();
        for (before, _) in self.graph.ready.before(id) {
            let Some(live) = self.live.get(before) else { continue };
            let other = live.reach.as_ref().map(|reach| reach.address());
            if let (Some(own), Some(other)) = (reach.map(Reach::address), other)
                && own != other
            {
                return None;
            }
            all.extend(&live.barrier);
        }
        Some(all)
    }

    pub(super) fn start(
        &mut self,
        id: NodeId,
        firm: bool,
        mut live: Live,
        before: Vec<u64>,
        effects: Vec<(usize, Effect)>,
    ) {
        let host = live.context.node.host.as_str().to_owned();
        let mut ids = Vec::new();
        live.owes = self.owes(&live);
        for index in 0..live.items.len() {
            let doubts = std::mem::take(&mut live.items[index].doubts);
            if self.pass == Pass::Plan
                && !doubts.is_empty()
                && let Some(machine) = self.machine(&live, index)
            {
                self.channels.links.doubt(&machine, doubts);
            }
            self.sentence(id, &mut live, index);
            if live.items[index].end.is_some()
                || self.known_from_plan(id, &mut live, index)
                || self.known_from_journal(&mut live, index)
                || (live.in_turn() && !ids.is_empty())
            {
                continue;
            }
            if let Some(delay) = live.waiting.as_ref().and_then(waiting::Waiting::first) {
                live.items[index].begun = true;
                self.timers
                    .insert((Instant::now() + delay, u64::from(id.0)), Timer::Again(id));
                continue;
            }
            live.open += 1;
            ids.push(self.request(id, &mut live, index, before.clone()));
        }
        if !ids.is_empty() {
            let task = live.name.clone();
            let limit = live.limit();
            let _ = self.channels.events.send(Event::Started { host, task, limit });
        }
        let task = &live.context.node.step.task;
        let pipelined = live.attempts == 1
            && live.waiting.is_none()
            && !live.in_turn()
            && task.failed_when.is_none()
            && effects.is_empty()
            && live
                .items
                .iter()
                .all(|item| item.reach.is_none() && item.agreed == Agreed::Planned)
            && !(0..live.items.len()).any(|index| live.items[index].end.is_none() && self.may_guard(&live, index));
        if !live.ignore {
            live.barrier.extend(&ids);
        }
        self.promise(id, &live);
        let open = live.items.iter().filter(|item| item.end.is_none()).count();
        self.live.insert(id, live);
        match (open, firm) {
            (0, true) => self.effects(id, effects),
            (0, false) => {
                self.parked.insert(id);
                let settled = self.graph.ready.sent(id);
                self.after(settled);
            }
            _ if pipelined => {
                let settled = self.graph.ready.sent(id);
                self.after(settled);
            }
            _ => self.graph.ready.start(id),
        }
    }

    /// The machine that a step would act on, though it is not known what it does.
    fn machine(&self, live: &Live, index: usize) -> Option<String> {
        let (context, locals) = (&live.context, &live.items[index].locals);
        let module = &context.node.step.task.module;
        if args::kind_info(module).is_some_and(|kind| MEDIA_KINDS.iter().any(|own| own.names == kind.names)) {
            return Some(reach::here(context, &self.options.defaults, locals).host.clone());
        }
        let scope = context.scoped().with(locals.clone()).shared();
        let delegate = context.delegate(&scope).ok()?;
        Some(delegate.unwrap_or_else(|| context.host.name.as_str().to_owned()))
    }

    /// What this step will give to variables: until it has ended, whoever asks for it has to wait.
    pub(super) fn promise(&mut self, id: NodeId, live: &Live) {
        let task = &live.context.node.step.task;
        let mut promise = Promise::default();
        if let Some(name) = &task.register {
            let host = Arc::clone(&live.context.host);
            let before = host
                .state_mut()
                .set
                .insert(name.clone(), Slot::Pending(u64::from(id.0)));
            promise.variable = Some((host, name.clone(), before));
        }
        if finish::gathers(&live.context.node.step) {
            promise.facts = (0..live.items.len())
                .flat_map(|index| self.receivers(live, index))
                .collect();
            let facts = promise.facts.iter();
            facts.for_each(|host| host.state_mut().facts_pending = Some(u64::from(id.0)));
        }
        self.promises.insert(id, promise);
    }

    /// A step that the plan found unchanged, on a host where nothing unforeseen has run, need not be asked again; a
    /// result that others read is taken anew once the host has changed. What the plan only expected, such as what a
    /// package brings, is always asked.
    pub(super) fn known_from_plan(&self, id: NodeId, live: &mut Live, index: usize) -> bool {
        let host = live.context.node.host.as_str();
        let Some(prior) = self.prior.filter(|_| !self.dirty.contains(host)) else {
            return false;
        };
        let Some(record) = prior.get(&live.context.node.key()).and_then(|items| items.get(index)) else {
            return false;
        };
        // What a transaction does depends on what its steps stage now.
        if live.waiting.is_some() || (self.commits(id) && self.bodies.get(&id).is_some_and(|body| body.sent())) {
            return false;
        }
        let registers = live.context.node.step.task.register.is_some();
        let only_checks = self.own_check_mode(live) == Some(true);
        let moved = self.outcome.counts.get(host).is_some_and(|counts| counts.changed > 0);
        let item = &mut live.items[index];
        let planned = only_checks && record.status == StepStatus::Changed;
        if !record.sure
            || !(planned || record.status == StepStatus::Ok)
            || record.sent.is_none()
            || record.sent != item.sent
        {
            return false;
        }
        if record.result.unknown().is_some() || (registers && moved) {
            return false;
        }
        let status = record.status;
        item.end = Some(ItemEnd {
            repeated: true,
            ..ItemEnd::new(status, "", record.result.clone())
        });
        true
    }

    pub(super) fn request(&mut self, id: NodeId, live: &mut Live, index: usize, after: Vec<u64>) -> u64 {
        let number = self.next_request;
        self.next_request += 1;
        if let Some(item) = live.items.get_mut(index) {
            item.begun = true;
        }
        if let Some(at) = live.timeout.and_then(|limit| Instant::now().checked_add(limit)) {
            self.timers.insert((at, number), Timer::Expired(id, number));
        }
        let key = live.context.node.key();
        let prior = self
            .prior
            .and_then(|prior| prior.get(&key))
            .and_then(|items| items.get(index));
        let host = live.context.node.host.as_str();
        let expect = prior
            .filter(|record| record.status == StepStatus::Changed && record.sent == live.items[index].sent)
            .filter(|_| !self.dirty.contains(host) && live.waiting.is_none())
            .and_then(|record| record.fingerprint);
        let item = &live.items[index];
        let (Some(deed), Some(reach)) = (item.deed.as_deref().cloned(), live.reach_of(index)) else {
            return number;
        };
        let note = match deed {
            Deed::Api(_) | Deed::Commit(_) | Deed::Own(_) => Note::default(),
            Deed::Machine(_) | Deed::Media(_) => self.note(id, live, &deed, &reach.address()),
        };
        let (pass, expect) = match item.agreed {
            Agreed::Planned => (self.far_pass(live), expect),
            Agreed::NotYet => (wire::Pass::Look, None),
            Agreed::Yes(seen) => (wire::Pass::Apply, seen),
        };
        let (verify, kept) = (self.options.verify, self.keeps());
        let reach = Arc::clone(reach);
        let (env, touches) = (item.env.clone(), item.touches.clone());
        let within = self.within(id);
        let hidden = self.hides(id, live).0;
        let guard = reach.guard.map(|policy| match pass {
            wire::Pass::Plan | wire::Pass::Look => policy.guard(""),
            wire::Pass::Apply => policy.guard(self.guards.id(&reach.host)),
        });
        let machine = reach.address().host;
        // A check in a run is made on the machine as it is, not on what the plan foresaw.
        let anew = self.unsure.contains(host) || (self.pass == Pass::Apply && pass == wire::Pass::Plan);
        if anew && self.recalled.insert(machine.clone()) {
            self.channels.links.recall(&machine);
        }
        match self.down.get(&reach.address()) {
            Some((reason, unreachable)) => {
                let down = LinkEvent::Down {
                    address: reach.address(),
                    reason: reason.clone(),
                    unreachable: *unreachable,
                };
                self.requests.insert(number, (id, index));
                self.requeue(down);
            }
            None => {
                self.requests.insert(number, (id, index));
                let task = Task {
                    id: number,
                    after,
                    kind: (),
                    pass,
                    expect,
                    env,
                    verify,
                    touches,
                    note,
                    guard,
                    within,
                    hidden,
                    kept,
                };
                let links = &mut self.channels.links;
                match deed {
                    Deed::Machine(kind) => links.send(&reach, task.of(kind)),
                    Deed::Media(kind) => links.make(
                        &reach,
                        Task {
                            guard: None,
                            ..task.of(kind)
                        },
                    ),
                    Deed::Commit(commit) => links.commit(
                        &reach,
                        Task {
                            expect: expect.filter(|_| kept),
                            ..task.of(*commit)
                        },
                    ),
                    Deed::Own(kind) => links.own(&reach, task.of(kind)),
                    Deed::Api(kind) => links.call(
                        &reach,
                        Errand {
                            id: number,
                            after: task.after,
                            kind,
                            pass,
                            expect,
                            verify,
                            kept,
                            left: self.options.left.get(&live.context.node.play.index).copied(),
                        },
                    ),
                }
            }
        }
        number
    }

    /// A session that is down stays down: its steps are answered in the next turn of the loop.
    pub(super) fn requeue(&mut self, event: LinkEvent) {
        let LinkEvent::Down { address, .. } = event else { return };
        let at = Instant::now();
        for (number, (node, index)) in &self.requests {
            let own = self
                .live
                .get(node)
                .and_then(|live| live.reach_of(*index))
                .map(|reach| reach.address());
            if own.as_ref() == Some(&address) || own.is_none() {
                self.timers.insert((at, *number), Timer::Expired(*node, *number));
            }
        }
    }

    /// `check_mode` of a task wins over the pass.
    pub(super) fn far_pass(&self, live: &Live) -> wire::Pass {
        match self.own_check_mode(live) {
            Some(true) => wire::Pass::Plan,
            Some(false) => wire::Pass::Apply,
            None if self.pass == Pass::Plan => wire::Pass::Plan,
            None => wire::Pass::Apply,
        }
    }

    pub(super) fn own_check_mode(&self, live: &Live) -> Option<bool> {
        let scope = live.context.scoped().shared();
        let own = live.context.node.step.keywords.check_mode.as_ref();
        live.context.flag(own, &scope).ok().flatten()
    }
}
