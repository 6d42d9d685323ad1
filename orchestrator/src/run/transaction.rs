//! Transactions of blocks: what their steps have staged is told, notified and counted only when the commit has put it in place.

use super::deed::Deed;
use super::prepare::{Context, Item, ItemWork, Prepared, Stop};
use super::{Live, Runner, single};
use crate::error::Diagnostic;
use crate::graph::NodeId;
use crate::graph::build::{StepNode, Work};
use crate::inventory::HostName;
use crate::link::reach::{Address, Reach};
use crate::playbook::{Task, Transaction, transaction};
use crate::report::{Pass, StepStatus};
use crate::site::{Scoped, Slot, Step};
use crate::template::Scope;
use okd_agent::Value;
use okd_agent::resource::transaction::block::{Bracket, Commit};
use okd_agent::resource::{Kind, words};
use std::sync::Arc;

/// What is known of the steps of a transaction on a host.
#[derive(Default)]
pub(super) struct Body {
    /// Names the transaction at the far end, once a step was sent there.
    number: Option<u64>,
    /// How many were sent there.
    asked: u32,
    /// Where its steps act.
    address: Option<Address>,
    /// Why not all of it is known.
    unsure: Option<String>,
    /// Whether a step of it was not skipped.
    ran: bool,
    /// Whether its content or its diffs are not to be seen.
    pub(super) hidden: (bool, bool),
    /// Steps that have ended and are not in place yet.
    held: Vec<(NodeId, Live)>,
    /// Variables that hold results of its steps, with the hosts that have them.
    given: Vec<(String, Vec<HostName>)>,
}

impl Runner<'_, '_> {
    /// Names the transaction that a step belongs to, or ends, at the far end; with the number of its steps so far.
    pub(super) fn within(&mut self, id: NodeId) -> (Option<u64>, u32) {
        let Some(commit) = self.graph.commit_of(id) else {
            return self.bodies.get(&id).map_or((None, 0), |body| (body.number, body.asked));
        };
        let body = self.bodies.entry(commit).or_default();
        if body.number.is_none() {
            body.number = Some(self.next_request);
            self.next_request += 1;
        }
        body.asked += 1;
        (body.number, body.asked)
    }

    /// Whether a step acts elsewhere than those before it in its transaction.
    pub(super) fn strays(&mut self, id: NodeId, reach: &Reach) -> bool {
        let Some(commit) = self.graph.commit_of(id) else { return false };
        let body = self.bodies.entry(commit).or_default();
        *body.address.get_or_insert_with(|| reach.address()) != reach.address()
    }

    /// The end of a transaction with what is known of its steps; it is skipped where they are.
    pub(super) fn closing(&self, id: NodeId, prepared: Result<Prepared, Stop>) -> Result<Prepared, Stop> {
        let open = self.live.iter().filter(|(other, _)| self.graph.commit_of(**other) == Some(id));
        let mut body = Body::default();
        open.for_each(|(_, live)| body.look(live));
        let known = self.bodies.get(&id);
        if !(body.ran || known.is_some_and(|known| known.ran)) {
            return Ok(single(ItemWork::Skip("none of its steps is meant for this host".to_owned())));
        }
        let mut prepared = prepared?;
        for Item { work, .. } in &mut prepared.items {
            if let ItemWork::Send(deed, _) = work
                && let Deed::Commit(commit) = deed.as_mut()
            {
                commit.unsure = known.and_then(|known| known.unsure.clone()).or(body.unsure.take());
            }
        }
        Ok(prepared)
    }

    /// A step that has ended: `None` where it is held until its transaction has.
    pub(super) fn staged(&mut self, id: NodeId, mut live: Live, worst: StepStatus) -> Option<Live> {
        let Some(commit) = self.graph.commit_of(id) else { return Some(live) };
        let scope = live.context.scoped().shared();
        let keywords = &live.context.node.step.keywords;
        let said = |node| live.context.flag(node, &scope).ok().flatten();
        let hidden = (said(keywords.no_log.as_ref()) == Some(true), said(keywords.diff.as_ref()) == Some(false));
        let body = self.bodies.entry(commit).or_default();
        body.hidden = (body.hidden.0 || hidden.0, body.hidden.1 || hidden.1);
        body.look(&live);
        let node = &live.context.node;
        let hosts = std::iter::once(&node.host).chain(&node.shared).cloned().collect();
        body.given.extend(node.step.task.register.clone().map(|name| (name, hosts)));
        if self.pass == Pass::Plan {
            return Some(live);
        }
        if matches!(worst, StepStatus::Failed | StepStatus::Unreachable | StepStatus::Rescued) {
            let label = self.node(commit).map(|node| node.step.label()).unwrap_or_default();
            let kept = format!("nothing of the transaction \"{label}\" was put in place");
            for failure in live.items.iter_mut().filter_map(|item| item.end.as_mut()?.failure.as_mut()) {
                if failure.kept.is_empty() && !failure.lost {
                    failure.kept.clone_from(&kept);
                }
            }
            undone(&mut live, id, &label);
            return Some(live);
        }
        body.held.push((id, live));
        None
    }

    /// A transaction has ended: what its steps did is told now, as done, or as taken back by a step.
    pub(super) fn release(&mut self, commit: NodeId, by: Option<NodeId>) {
        let Some(body) = self.bodies.get_mut(&commit) else { return };
        let (held, given) = (std::mem::take(&mut body.held), std::mem::take(&mut body.given));
        if by.is_some() {
            self.taken_back(given);
        }
        let label = self.node(commit).map(|node| node.step.label()).unwrap_or_default();
        for (id, mut live) in held {
            if let Some(by) = by {
                undone(&mut live, by, &label);
            }
            self.settled(id, &live);
        }
    }

    /// Every transaction that was not brought to its end.
    pub(super) fn release_all(&mut self) {
        let open: Vec<NodeId> = self.bodies.keys().copied().collect();
        open.into_iter().for_each(|commit| self.release(commit, Some(commit)));
    }

    /// What steps gave to `register` has not come to pass.
    fn taken_back(&self, given: Vec<(String, Vec<HostName>)>) {
        for (name, hosts) in given {
            for host in hosts.iter().filter_map(|host| self.world.host(host.as_str())) {
                if let Some(Slot::Known(Value::Map(result))) = host.state_mut().set.get_mut(&name) {
                    result.insert("changed".to_owned(), false.into());
                }
            }
        }
    }

    /// Whether a node is the end of a transaction.
    pub(super) fn commits(&self, id: NodeId) -> bool {
        matches!(self.graph.work(id), Work::Step(node) if node.step.commit.is_some())
    }
}

impl Body {
    /// Whether a step of it was asked for.
    pub(super) fn sent(&self) -> bool {
        self.number.is_some()
    }

    fn look(&mut self, live: &Live) {
        for item in &live.items {
            match &item.end {
                Some(end) if end.status == StepStatus::Skipped => {}
                Some(end) if end.status == StepStatus::Unknown => {
                    self.ran = true;
                    let reason = format!("\"{}\": {}", live.name, end.msg);
                    self.unsure.get_or_insert(reason);
                }
                _ => self.ran = true,
            }
        }
    }
}

/// What a step had staged is not in place.
fn undone(live: &mut Live, by: NodeId, transaction: &str) {
    for end in live.items.iter_mut().filter_map(|item| item.end.as_mut()) {
        if end.status == StepStatus::Changed {
            end.status = StepStatus::Blocked;
            end.by = Some(by);
            end.msg = format!("the transaction \"{transaction}\" did not come to its end, so nothing of this is in place");
            end.diff.clear();
            end.notes.clear();
            if let Value::Map(result) = &mut end.result {
                result.insert("changed".to_owned(), false.into());
            }
        }
    }
}

/// The end of a transaction, rendered.
///
/// # Errors
/// As rendering; a check that does not look at the staged files.
pub(super) fn work(
    context: &Context,
    commit: &Transaction,
    scoped: &Scoped,
    scope: &Arc<dyn Scope>,
) -> Result<ItemWork, Stop> {
    let mut check = Vec::new();
    for node in &commit.check {
        let line = context.keyword(Some(node), scope)?.unwrap_or_default().to_string();
        if !line.contains("{stage}") {
            return Err(transaction::not_staged(node.span).into());
        }
        let words = words::split(&line);
        check.push(words.map_err(|problem| Diagnostic::new("wrong-value", format!("`check`: {problem}")).at(node.span, ""))?);
    }
    let deed = Commit {
        name: context.name(scope),
        check,
        reload: kinds(context, &commit.reload, scoped)?,
        probe: kinds(context, &commit.probe, scoped)?,
        unsure: None,
        steps: 0,
        bracket: Bracket::default(),
    };
    Ok(ItemWork::Send(Box::new(Deed::Commit(Box::new(deed))), context.environment(scope)?))
}

fn kinds(context: &Context, calls: &[Arc<Task>], scoped: &Scoped) -> Result<Vec<Kind>, Stop> {
    let mut kinds = Vec::new();
    for call in calls {
        let step = Arc::new(Step::calling(&context.node.step, call));
        let node = StepNode {
            step: Arc::clone(&step),
            ..context.node.clone()
        };
        let context = Context { node, ..context.clone() };
        let scoped = Scoped {
            step: Some(step),
            ..scoped.clone()
        };
        match context.item(&scoped)? {
            ItemWork::Send(deed, _) => match *deed {
                Deed::Machine(kind) => kinds.push(kind),
                _ => return Err(Diagnostic::new("unsupported", "this does not act on the host").at(call.module_span, "").into()),
            },
            ItemWork::Skip(_) | ItemWork::Local(_) => {}
            ItemWork::Unknown(reason) => return Err(Stop::Unknown(reason)),
            ItemWork::Fail(failure) => {
                let found = Diagnostic::new("failed", failure.result.get("msg").map_or(failure.message.clone(), Value::to_string));
                return Err(found.at(call.span, "").into());
            }
        }
    }
    Ok(kinds)
}
