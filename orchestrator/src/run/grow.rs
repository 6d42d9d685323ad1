//! What the end of a step puts into the run: variables, hosts, the tasks of an include, handlers that are due.

use super::local::Effect;
use super::{Fired, Live, Runner, Timer, finish};
use crate::graph::build::{StepNode, Work};
use crate::graph::{Edge, End, NodeId};
use crate::inventory::HostName;
use crate::report::{Event, Pass};
use crate::site::scope::HostVars;
use crate::site::{Flow, Slot};
use indexmap::IndexMap;
use okd_agent::value::Map;
use std::sync::Arc;
use std::time::{Duration, Instant};

impl Runner<'_, '_> {
    /// What modules of the orchestrator's own do to the run.
    pub(super) fn effects(&mut self, id: NodeId, effects: Vec<(usize, Effect)>) {
        let mut includes = Vec::new();
        let mut pause: f64 = 0.0;
        for (index, effect) in effects {
            match effect {
                Effect::Include {
                    flows,
                    params,
                    handlers,
                    roles,
                } => {
                    if let Some(node) = self.node(id) {
                        self.world.bring(&node.play, &handlers, &roles);
                    }
                    includes.push((flows, params));
                }
                Effect::Flush => return self.flush(id),
                Effect::Pause(seconds) if self.pass == Pass::Apply => pause += seconds,
                other => self.effect(id, index, other),
            }
        }
        if !includes.is_empty() {
            return self.include(id, includes);
        }
        if pause > 0.0 {
            let at = Instant::now() + Duration::from_secs_f64(pause);
            self.timers.insert((at, u64::from(id.0)), Timer::Over(id));
            if let Some(live) = self.live.get(&id) {
                self.say_waits(
                    live,
                    format!("pauses {pause:.0} s"),
                    Duration::try_from_secs_f64(pause).ok(),
                );
            }
            return self.graph.ready.start(id);
        }
        self.finish(id);
    }

    fn effect(&mut self, id: NodeId, index: usize, effect: Effect) {
        let Some(live) = self.live.get(&id) else { return };
        let node = live.context.node.clone();
        let hosts = self.receivers(live, index).into_iter();
        match effect {
            Effect::Facts(facts) => hosts.for_each(|host| {
                let slots = facts
                    .iter()
                    .map(|(name, value)| (name.clone(), Slot::Known(value.clone())));
                host.state_mut().set.extend(slots);
            }),
            Effect::Vars(vars) => hosts.for_each(|host| host.state_mut().included.extend(vars.clone())),
            Effect::ClearFacts => hosts.for_each(|host| host.state_mut().facts.clear()),
            Effect::ClearErrors => self.clear_errors(&node),
            Effect::RefreshInventory => self.refresh(id),
            Effect::AddHost { name, groups, vars } => self.add_host(&name, &groups, vars),
            Effect::Group { name, parents } => {
                self.world.join(node.host.as_str(), &name);
                parents
                    .iter()
                    .for_each(|parent| self.world.join(node.host.as_str(), parent));
            }
            Effect::End { all } => {
                let all_hosts: Vec<String> = match all {
                    true => node.play.hosts().map(|host| host.as_str().to_owned()).collect(),
                    false => vec![node.host.as_str().to_owned()],
                };
                self.ended
                    .extend(all_hosts.into_iter().map(|host| (node.play.index, host)));
            }
            Effect::None | Effect::Include { .. } | Effect::Flush | Effect::Pause(_) => {}
        }
    }

    /// The hosts that get the facts of a step or of an item: its own, or with `delegate_facts` the one that it is
    /// delegated to. Facts of a host that the inventory does not know are nobody's.
    pub(super) fn receivers(&self, live: &Live, index: usize) -> Vec<Arc<HostVars>> {
        let (node, keywords) = (&live.context.node, &live.context.node.step.keywords);
        let locals = live
            .items
            .get(index)
            .map(|item| item.locals.clone())
            .unwrap_or_default();
        let scope = live.context.scoped().with(locals).shared();
        let delegated = live.context.flag(keywords.delegate_facts.as_ref(), &scope);
        let other = match delegated {
            Ok(Some(true)) => live.context.delegate(&scope).ok().flatten(),
            _ => None,
        };
        match other {
            Some(name) => self.world.host(&name).into_iter().collect(),
            None => {
                let names = std::iter::once(&node.host).chain(&node.shared);
                names.filter_map(|host| self.world.host(host.as_str())).collect()
            }
        }
    }

    /// Hosts of the play that have failed take part again in the plays that come; in this one they are out.
    fn clear_errors(&mut self, node: &StepNode) {
        let excluded = self.excluded.clone();
        let hosts = node.play.hosts().filter(|host| !excluded.contains(host.as_str()));
        for host in self.world.raise(node.play.index, hosts) {
            if let Some(end) = self.graph.host_end(node.play.index, host) {
                self.graph.ready.forgive(end);
            }
            self.down.retain(|address, _| address.host != host.as_str());
            self.outcome.cleared.insert(host.as_str().to_owned());
        }
    }

    /// Plays and tasks to come see the inventory as its files are by now.
    fn refresh(&mut self, id: NodeId) {
        let Err(found) = self.site.refresh(&self.world) else {
            return;
        };
        let Some(live) = self.live.get_mut(&id) else { return };
        let Some(first) = found.0.into_iter().next() else {
            return;
        };
        let failure = live.context.failure(&first);
        if let Some(item) = live.items.first_mut() {
            item.end = Some(finish::failed(failure, false));
        }
    }

    fn add_host(&self, name: &str, groups: &[String], vars: Map) {
        let Ok(host) = HostName::new(name) else { return };
        let layers = self.site.inventory.added_layers(&host, groups, &[&self.site.dir]);
        let host = self
            .world
            .add(HostVars::new(host, layers.unwrap_or_default(), Vec::new()));
        host.state_mut()
            .set
            .extend(vars.into_iter().map(|(name, value)| (name, Slot::Known(value))));
        groups
            .iter()
            .chain([&"all".to_owned()])
            .for_each(|group| self.world.join(name, group));
    }

    pub(super) fn include(&mut self, id: NodeId, includes: Vec<(Vec<Flow>, Map)>) {
        let Some(node) = self.node(id) else { return };
        self.graph.ready.start(id);
        let mut last: Option<NodeId> = None;
        let mut entered = Vec::new();
        let mut count = 0;
        for (index, (flows, params)) in includes.into_iter().enumerate() {
            let mut around = node.includes.clone();
            let locals = self
                .live
                .get(&id)
                .and_then(|live| live.items.get(index))
                .map(|item| item.locals.clone());
            around.push(Arc::new(locals.into_iter().flatten().chain(params).collect()));
            let (new, end) = self.graph.expand(id, &flows, &around, &format!("#{index}"));
            if let (Some(last), Some(start)) = (last, new.first()) {
                self.graph.ready.edge(last, *start, Edge::Order);
            }
            count += new
                .iter()
                .filter(|id| matches!(self.graph.work(**id), Work::Step(_)))
                .count();
            entered.extend(new);
            last = Some(end);
        }
        let Some(end) = last else { return };
        let _ = self.channels.events.send(Event::More {
            host: node.host.as_str().to_owned(),
            steps: count,
        });
        self.expansions.insert(end, id);
        let settled = self.graph.ready.enter(entered);
        self.after(settled);
    }

    /// Handlers that were notified run now, one after the other in the order in which they are listed; what they notify
    /// themselves comes when its turn comes.
    pub(super) fn flush(&mut self, id: NodeId) {
        let Some(node) = self.node(id) else { return };
        let key = (node.play.index, node.host.as_str().to_owned());
        let handlers = self.world.handlers(&node.play);
        let cursor = self.cursors.get(&id).copied().unwrap_or(0);
        self.fire_left_over(&node);
        let notified = self.notified.entry(key.clone()).or_default();
        let waiting = handlers.iter().enumerate();
        let waiting = waiting.filter(|(_, step)| notified.contains_key(&step.path));
        let Some((at, step)) = waiting.min_by_key(|(at, _)| (*at < cursor, *at)) else {
            self.live.remove(&id);
            let settled = self.graph.ready.settle(id, End::Done);
            return self.after(settled);
        };
        self.cursors.insert(id, at + 1);
        let fired: IndexMap<String, Fired> = notified.shift_remove_entry(&step.path).into_iter().collect();
        let steps = [Arc::clone(step)];
        let flows: Vec<Flow> = steps.iter().cloned().map(Flow::Step).collect();
        self.graph.ready.start(id);
        let round = self.graph.ready.len();
        let (new, end) = self.graph.expand(id, &flows, &node.includes, &format!("#{round}"));
        for added in &new {
            let Some(handler) = self.node(*added) else { continue };
            let Some(why) = fired.get(&handler.step.path) else {
                continue;
            };
            if let Some(reason) = why
                .maybe
                .as_ref()
                .filter(|_| why.by.is_empty() && self.pass == Pass::Plan)
            {
                self.maybe.insert(*added, reason.clone());
            }
            self.fired_by.insert(*added, why.by.clone());
            self.notes.insert(*added, why.owed.clone());
        }
        self.begin_paying(id, &node, &steps[0], &new);
        let _ = self.channels.events.send(Event::More {
            host: key.1,
            steps: steps.len(),
        });
        self.expansions.insert(end, id);
        let settled = self.graph.ready.enter(new);
        self.after(settled);
    }

    /// An include or a flush is over.
    pub(super) fn expanded(&mut self, step: NodeId, end: End) {
        let Some(node) = self.node(step) else { return };
        let flush = node.step.implicit
            || self
                .live
                .get(&step)
                .is_some_and(|live| live.context.node.step.task.short_module() == "meta");
        let key = (node.play.index, node.host.as_str().to_owned());
        self.paid(step, end == End::Done);
        if flush && end == End::Done && self.notified.get(&key).is_some_and(|fired| !fired.is_empty()) {
            return self.flush(step);
        }
        self.live.remove(&step);
        let end = match end {
            End::Passed => End::Done,
            other => other,
        };
        let settled = self.graph.ready.settle(step, end);
        self.after(settled);
    }
}
