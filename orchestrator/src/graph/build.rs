//! From the site to the graph: a node a task and host, and the joins that give blocks, plays and batches their meaning.

use super::ready::{Edge, End, Join, NodeId, Ready};
use crate::error::{Diagnostic, Diagnostics};
use crate::inventory::HostName;
use crate::playbook::Need;
use crate::site::{Flow, FlowBlock, Site, SitePlay, Step};
use crate::source::yaml::NodeKind;
use okd_agent::value::Map;
use petgraph::graph::{DiGraph, NodeIndex};
use std::collections::HashMap;
use std::sync::Arc;

/// What a node does.
#[derive(Debug, Clone)]
pub enum Work {
    /// A task on a host.
    Step(StepNode),
    /// Gathers others; its name is for pictures.
    Join(&'static str),
}

/// A task on a host.
#[derive(Debug, Clone)]
pub struct StepNode {
    /// Its play.
    pub play: Arc<SitePlay>,
    /// The task.
    pub step: Arc<Step>,
    /// The host.
    pub host: HostName,
    /// Parameters of dynamic includes around it, outer ones first.
    pub includes: Vec<Arc<Map>>,
    /// Makes its path unique below dynamic includes.
    pub prefix: Arc<str>,
    /// Whether a rescue takes over when it fails.
    pub rescued: bool,
    /// With `run_once`: the hosts that share its result.
    pub shared: Vec<HostName>,
}

impl StepNode {
    /// Names the node stably from run to run: where the task stands, and the host.
    #[must_use]
    pub fn key(&self) -> (String, String) {
        (
            format!("{}{}", self.prefix, self.step.path),
            self.host.as_str().to_owned(),
        )
    }
}

/// The graph of a run.
#[derive(Debug, Default)]
pub struct Graph {
    /// Who waits for whom.
    pub ready: Ready,
    works: Vec<Work>,
    lanes: HashMap<HostName, u32>,
    names: Vec<Named>,
    needs: Vec<Wish>,
    play_ends: Vec<NodeId>,
    tails: HashMap<HostName, NodeId>,
    /// Where each host's part of a play ends.
    host_ends: HashMap<(usize, HostName), NodeId>,
    /// The commits of steps in transactions.
    commits: HashMap<NodeId, NodeId>,
}

#[derive(Debug)]
struct Named {
    play: usize,
    play_name: String,
    label: String,
    host: HostName,
    node: NodeId,
}

#[derive(Debug)]
struct Wish {
    node: NodeId,
    play: usize,
    host: Option<HostName>,
    need: Need,
}

type Befores = Vec<(NodeId, Edge)>;

/// What surrounds the nodes that are being added.
struct Around<'a> {
    play: &'a Arc<SitePlay>,
    includes: &'a [Arc<Map>],
    prefix: Arc<str>,
    linear: bool,
    rescued: bool,
}

/// One host's thread through a list of tasks.
struct Thread {
    host: HostName,
    /// What tasks with `needs` wait for, whatever is listed before them.
    entry: Befores,
    before: Befores,
    ends: Vec<NodeId>,
}

impl Graph {
    /// The graph of a whole site.
    ///
    /// # Errors
    /// Names in `needs` that nothing has, and cycles.
    pub fn site(site: &Site) -> Result<Graph, Diagnostics> {
        let mut graph = Graph::default();
        for play in site.plays.iter().filter(|play| !play.late) {
            graph.later(play);
        }
        let play_ends = graph.play_ends.clone();
        graph.resolve(site, &play_ends)?;
        graph.refuse_cycles(site)?;
        Ok(graph)
    }

    /// Adds a play behind all others; returns the new nodes, to be entered.
    pub fn later(&mut self, play: &Arc<SitePlay>) -> Vec<NodeId> {
        let first = self.ready.len() as u32;
        let mut tails = std::mem::take(&mut self.tails);
        let end = self.play(play, self.play_ends.last().copied(), &mut tails);
        self.tails = tails;
        self.play_ends.push(end);
        (first..self.ready.len() as u32).map(NodeId).collect()
    }

    /// The mistakes in `needs`, where a site has any.
    ///
    /// # Errors
    /// As [`Graph::site`].
    pub fn check(site: &Site) -> Result<(), Diagnostics> {
        let needs = |play: &Arc<SitePlay>| {
            play.play.needs.is_some() || play.steps().iter().any(|step| crate::site::flow::needs(step).is_some())
        };
        match site.plays.iter().any(needs) {
            true => Graph::site(site).map(drop),
            false => Ok(()),
        }
    }

    /// What a node does.
    #[must_use]
    #[allow(clippy::indexing_slicing, reason = "every node is added together with its work")]
    pub fn work(&self, id: NodeId) -> &Work {
        &self.works[id.0 as usize]
    }

    /// Every node with its work.
    pub fn works(&self) -> impl Iterator<Item = (NodeId, &Work)> {
        self.works
            .iter()
            .enumerate()
            .map(|(at, work)| (NodeId(at as u32), work))
    }

    /// Where a host's part of a play ends.
    #[must_use]
    pub fn host_end(&self, play: usize, host: &HostName) -> Option<NodeId> {
        self.host_ends.get(&(play, host.clone())).copied()
    }

    /// What puts in place what a step has staged, where it is one of a transaction.
    #[must_use]
    pub fn commit_of(&self, id: NodeId) -> Option<NodeId> {
        self.commits.get(&id).copied()
    }

    /// How many nodes are tasks.
    #[must_use]
    pub fn steps(&self) -> usize {
        self.works
            .iter()
            .filter(|work| matches!(work, Work::Step(node) if !node.step.implicit))
            .count()
    }

    fn gather(&mut self, join: Join, name: &'static str, before: &[(NodeId, Edge)]) -> NodeId {
        let id = self.ready.join(join);
        self.works.push(Work::Join(name));
        before.iter().for_each(|(from, edge)| self.ready.edge(*from, id, *edge));
        id
    }

    fn play(
        &mut self,
        play: &Arc<SitePlay>,
        previous: Option<NodeId>,
        tails: &mut HashMap<HostName, NodeId>,
    ) -> NodeId {
        let mut gate: Befores = match &play.play.needs {
            Some(_) => Vec::new(),
            None => previous.map(|end| (end, Edge::After)).into_iter().collect(),
        };
        let mut ends = Vec::new();
        for batch in &play.batches {
            let host_ends = self.batch(play, batch, &gate, tails);
            let after: Befores = host_ends.iter().map(|end| (*end, Edge::After)).collect();
            let batch_end = self.gather(Join::Settled, "batch ends", &after);
            gate = vec![(batch_end, Edge::After)];
            ends.push((batch_end, Edge::After));
        }
        if ends.is_empty() {
            ends.extend(gate);
        }
        self.gather(Join::Settled, "play ends", &ends)
    }

    fn batch(
        &mut self,
        play: &Arc<SitePlay>,
        hosts: &[HostName],
        gate: &[(NodeId, Edge)],
        tails: &mut HashMap<HostName, NodeId>,
    ) -> Vec<NodeId> {
        let mut threads = Vec::new();
        for host in hosts {
            let mut before = gate.to_vec();
            if play.play.needs.is_none() {
                before.extend(tails.get(host).map(|tail| (*tail, Edge::Order)));
            }
            let start = self.gather(Join::All, "play starts", &before);
            for need in play.play.needs.iter().flatten() {
                let wish = Wish {
                    node: start,
                    play: play.index,
                    host: Some(host.clone()),
                    need: need.clone(),
                };
                self.needs.push(wish);
            }
            threads.push(Thread::from(host.clone(), vec![(start, Edge::Order)]));
        }
        let around = Around {
            play,
            includes: &[],
            prefix: "".into(),
            linear: play.play.linear,
            rescued: false,
        };
        let starts: Vec<Befores> = threads.iter().map(|thread| thread.before.clone()).collect();
        self.flows(&play.flows.main, &around, &mut threads);
        let mut ends = Vec::new();
        for (thread, start) in threads.iter().zip(starts) {
            let end = self.part(&start, &thread.ends, "host ends");
            tails.insert(thread.host.clone(), end);
            self.host_ends.insert((play.index, thread.host.clone()), end);
            ends.push(end);
        }
        ends
    }

    fn part(&mut self, start: &[(NodeId, Edge)], ends: &[NodeId], name: &'static str) -> NodeId {
        let entry = start.first().map_or(NodeId(0), |(id, _)| *id);
        let mut before: Befores = vec![(entry, Edge::After)];
        before.extend(ends.iter().map(|end| (*end, Edge::After)));
        self.gather(Join::Part { start: entry }, name, &before)
    }

    /// Puts tasks in the place of a step that has become known (`include_tasks`, the flushing of handlers). Returns the
    /// new nodes, to be entered, and the one whose end is the step's end.
    pub fn expand(&mut self, at: NodeId, flows: &[Flow], includes: &[Arc<Map>], tag: &str) -> (Vec<NodeId>, NodeId) {
        let Work::Step(node) = self.work(at).clone() else {
            return (Vec::new(), at);
        };
        let first = self.ready.len() as u32;
        let start = self.gather(Join::All, "include starts", &[]);
        let prefix: Arc<str> = format!("{}{}{tag}:", node.prefix, node.step.path).into();
        let around = Around {
            play: &node.play,
            includes,
            prefix,
            linear: false,
            rescued: node.rescued,
        };
        let mut threads = vec![Thread::from(node.host.clone(), vec![(start, Edge::Order)])];
        self.flows(flows, &around, &mut threads);
        let ends: Vec<NodeId> = threads.iter().flat_map(|thread| thread.ends.iter().copied()).collect();
        let end = self.part(&[(start, Edge::Order)], &ends, "include ends");
        if let Some(commit) = self.commit_of(at) {
            self.commits
                .extend((first..self.ready.len() as u32).map(|id| (NodeId(id), commit)));
        }
        ((first..self.ready.len() as u32).map(NodeId).collect(), end)
    }

    fn flows(&mut self, flows: &[Flow], around: &Around<'_>, threads: &mut [Thread]) {
        for flow in flows {
            let meets = matches!(flow, Flow::Step(step) if meets(step));
            if meets {
                self.lockstep(threads);
            }
            match flow {
                Flow::Step(step) if once(step) && threads.len() > 1 => self.once(step, around, threads),
                Flow::Step(step) => threads.iter_mut().for_each(|thread| self.step(step, around, thread)),
                Flow::Block(block) => match &block.commit {
                    Some(commit) if block.rescue.is_empty() && block.always.is_empty() && !block.parallel => {
                        let marks: Vec<usize> = threads.iter().map(|thread| thread.ends.len()).collect();
                        let first = self.ready.len();
                        self.flows(&block.body, around, threads);
                        self.commit(commit, around, threads, &marks, first);
                    }
                    _ => self.block(block, around, threads),
                },
            }
            if around.linear || meets {
                self.lockstep(threads);
            }
        }
    }

    /// What ends a transaction waits for all of its steps: those whose ends stand behind the marks, and that are nodes from
    /// `first` on.
    fn commit(
        &mut self,
        commit: &Arc<Step>,
        around: &Around<'_>,
        threads: &mut [Thread],
        marks: &[usize],
        first: usize,
    ) {
        for (thread, mark) in threads.iter_mut().zip(marks) {
            let open = thread
                .ends
                .iter()
                .skip(*mark)
                .filter(|end| !thread.before.iter().any(|(id, _)| id == *end));
            let open: Befores = open.map(|end| (*end, Edge::Order)).collect();
            thread.before.extend(open);
        }
        let last = self.ready.len();
        if once(commit) && threads.len() > 1 {
            self.once(commit, around, threads);
        } else {
            threads.iter_mut().for_each(|thread| self.step(commit, around, thread));
        }
        for end in (last..self.ready.len()).map(|id| NodeId(id as u32)) {
            let Work::Step(StepNode { host, .. }) = self.work(end).clone() else {
                continue;
            };
            let own = (first..last)
                .map(|id| NodeId(id as u32))
                .filter(|id| match self.work(*id) {
                    Work::Step(node) => node.host == host,
                    Work::Join(_) => false,
                });
            let own: Vec<NodeId> = own.collect();
            self.commits.extend(own.into_iter().map(|id| (id, end)));
        }
    }

    /// No host goes on before all have come as far.
    fn lockstep(&mut self, threads: &mut [Thread]) {
        if threads.len() < 2 {
            return;
        }
        let ends = threads.iter().filter_map(|thread| thread.ends.last());
        let after: Befores = ends.map(|end| (*end, Edge::After)).collect();
        let barrier = self.gather(Join::Settled, "in lockstep", &after);
        threads
            .iter_mut()
            .for_each(|thread| thread.before.push((barrier, Edge::After)));
    }

    fn node(&mut self, step: &Arc<Step>, around: &Around<'_>, host: &HostName, before: &[(NodeId, Edge)]) -> NodeId {
        let next = self.lanes.len() as u32;
        let lane = *self.lanes.entry(host.clone()).or_insert(next);
        let id = self.ready.add(Some(lane));
        self.works.push(Work::Step(StepNode {
            play: Arc::clone(around.play),
            step: Arc::clone(step),
            host: host.clone(),
            includes: around.includes.to_vec(),
            prefix: Arc::clone(&around.prefix),
            rescued: around.rescued,
            shared: Vec::new(),
        }));
        before.iter().for_each(|(from, edge)| self.ready.edge(*from, id, *edge));
        self.names.push(Named {
            play: around.play.index,
            play_name: around.play.play.name.clone(),
            label: step.label(),
            host: host.clone(),
            node: id,
        });
        id
    }

    fn step(&mut self, step: &Arc<Step>, around: &Around<'_>, thread: &mut Thread) {
        let flush = step.implicit && step.task.module == "meta";
        let before: Befores = match crate::site::flow::needs(step) {
            Some(_) => thread.entry.clone(),
            None if flush && around.play.play.force_handlers => {
                let after = thread.before.iter().map(|(id, _)| (*id, Edge::After));
                thread.entry.iter().copied().chain(after).collect()
            }
            None => thread.before.clone(),
        };
        let id = self.node(step, around, &thread.host, &before);
        for need in crate::site::flow::needs(step).into_iter().flatten() {
            let host = Some(thread.host.clone());
            self.needs.push(Wish {
                node: id,
                play: around.play.index,
                host,
                need: need.clone(),
            });
        }
        thread.before = vec![(id, Edge::Order)];
        if flush {
            thread.before.extend(thread.ends.iter().map(|end| (*end, Edge::Order)));
            let open = thread.ends.clone();
            open.iter().for_each(|end| {
                self.ready.edge(
                    *end,
                    id,
                    if around.play.play.force_handlers {
                        Edge::After
                    } else {
                        Edge::Order
                    },
                )
            });
        }
        thread.ends.push(id);
    }

    /// One node for all hosts; the others go on when it has ended well.
    fn once(&mut self, step: &Arc<Step>, around: &Around<'_>, threads: &mut [Thread]) {
        let others: Vec<HostName> = threads.iter().skip(1).map(|thread| thread.host.clone()).collect();
        let Some(first) = threads.first_mut() else { return };
        self.step(step, around, first);
        let Some(id) = first.ends.last().copied() else { return };
        if let Some(Work::Step(node)) = self.works.get_mut(id.0 as usize) {
            node.shared = others;
        }
        for thread in threads.iter_mut().skip(1) {
            let mut before = thread.before.clone();
            before.push((id, Edge::Order));
            let end = self.gather(Join::All, "once for all", &before);
            thread.before = vec![(end, Edge::Order)];
            thread.ends.push(end);
        }
    }

    fn block(&mut self, block: &FlowBlock, around: &Around<'_>, threads: &mut [Thread]) {
        let starts: Vec<NodeId> = threads
            .iter()
            .map(|thread| self.gather(Join::All, "block starts", &thread.before))
            .collect();
        let mut body = inner(threads, starts.iter().map(|start| vec![(*start, Edge::Order)]));
        let inner_around = Around {
            rescued: around.rescued || !block.rescue.is_empty(),
            prefix: Arc::clone(&around.prefix),
            ..*around
        };
        let first = self.ready.len();
        if block.parallel {
            for flow in &block.body {
                body.iter_mut()
                    .for_each(|thread| thread.before.clone_from(&thread.entry));
                self.flows(std::slice::from_ref(flow), &inner_around, &mut body);
            }
        } else {
            self.flows(&block.body, &inner_around, &mut body);
        }
        if let Some(commit) = &block.commit {
            let marks = vec![0; body.len()];
            self.commit(commit, &inner_around, &mut body, &marks, first);
        }
        let bodies = self.part_ends(&starts, &body, "block ends");
        let rescues = (!block.rescue.is_empty()).then(|| self.rescue(block, &bodies, around, threads));
        let always = (!block.always.is_empty())
            .then(|| self.always(block, &starts, &bodies, rescues.as_deref(), around, threads));
        for (at, thread) in threads.iter_mut().enumerate() {
            let pick = |list: Option<&Vec<NodeId>>| list.and_then(|list| list.get(at)).copied();
            let (Some(body), rescue, always) = (pick(Some(&bodies)), pick(rescues.as_ref()), pick(always.as_ref()))
            else {
                continue;
            };
            let before: Befores = [Some(body), rescue, always]
                .into_iter()
                .flatten()
                .map(|id| (id, Edge::After))
                .collect();
            let end = self.gather(Join::Block { body, rescue, always }, "block is over", &before);
            thread.before = vec![(end, Edge::Order)];
            thread.ends.push(end);
        }
    }

    fn part_ends(&mut self, starts: &[NodeId], threads: &[Thread], name: &'static str) -> Vec<NodeId> {
        let pairs = starts.iter().zip(threads);
        pairs
            .map(|(start, thread)| self.part(&[(*start, Edge::Order)], &thread.ends, name))
            .collect()
    }

    fn rescue(&mut self, block: &FlowBlock, bodies: &[NodeId], around: &Around<'_>, threads: &[Thread]) -> Vec<NodeId> {
        let starts: Vec<NodeId> = bodies
            .iter()
            .map(|body| self.gather(Join::All, "rescue starts", &[(*body, Edge::OnFailure)]))
            .collect();
        let mut rescue = inner(threads, starts.iter().map(|start| vec![(*start, Edge::Order)]));
        self.flows(&block.rescue, around, &mut rescue);
        self.part_ends(&starts, &rescue, "rescue ends")
    }

    fn always(
        &mut self,
        block: &FlowBlock,
        starts: &[NodeId],
        bodies: &[NodeId],
        rescues: Option<&[NodeId]>,
        around: &Around<'_>,
        threads: &[Thread],
    ) -> Vec<NodeId> {
        let mut entries = Vec::new();
        for (at, (start, body)) in starts.iter().zip(bodies).enumerate() {
            let mut before = vec![(*start, Edge::Order), (*body, Edge::After)];
            before.extend(
                rescues
                    .and_then(|rescues| rescues.get(at))
                    .map(|rescue| (*rescue, Edge::After)),
            );
            entries.push(self.gather(Join::All, "always starts", &before));
        }
        let mut always = inner(threads, entries.iter().map(|entry| vec![(*entry, Edge::Order)]));
        self.flows(&block.always, around, &mut always);
        self.part_ends(&entries, &always, "always ends")
    }

    /// Turns the names in `needs` into edges.
    fn resolve(&mut self, site: &Site, play_ends: &[NodeId]) -> Result<(), Diagnostics> {
        let mut errors = Diagnostics::default();
        for wish in std::mem::take(&mut self.needs) {
            let name = wish.need.name.as_str();
            let fits = |named: &&Named| named.label == name || format!("{}/{}", named.play_name, named.label) == name;
            let mut found: Vec<&Named> = self.names.iter().filter(fits).collect();
            if found.iter().any(|named| named.play == wish.play) {
                found.retain(|named| named.play == wish.play);
            }
            if found.iter().any(|named| Some(&named.host) == wish.host.as_ref()) {
                found.retain(|named| Some(&named.host) == wish.host.as_ref());
            }
            let mut nodes: Vec<NodeId> = found.iter().map(|named| named.node).collect();
            if nodes.is_empty() {
                let plays = site.plays.iter().zip(play_ends);
                for (play, end) in plays.filter(|(play, _)| play.play.name == name) {
                    nodes.push(*end);
                    // A play's end is reached either way; what needs the play needs it to end well on each host.
                    let hosts = play.batches.iter().flatten();
                    nodes.extend(hosts.filter_map(|host| self.host_ends.get(&(play.index, host.clone()))));
                }
            }
            if nodes.is_empty() {
                errors.push(unknown_need(&self.names, site, &wish.need));
            }
            // Of a step in a transaction nothing is there before all of it is, but for the others in it.
            let own = self.commit_of(wish.node);
            for node in nodes {
                let from = self
                    .commit_of(node)
                    .filter(|commit| Some(*commit) != own && *commit != wish.node);
                self.ready.edge(from.unwrap_or(node), wish.node, Edge::Need);
            }
        }
        errors.into_result(())
    }

    /// Refuses nodes that wait for themselves.
    fn refuse_cycles(&self, site: &Site) -> Result<(), Diagnostics> {
        let mut graph = DiGraph::<(), ()>::with_capacity(self.works.len(), self.works.len() * 2);
        self.works.iter().for_each(|_| {
            graph.add_node(());
        });
        for (from, to, _) in self.ready.edges() {
            graph.add_edge(NodeIndex::new(from.0 as usize), NodeIndex::new(to.0 as usize), ());
        }
        let cycle = petgraph::algo::tarjan_scc(&graph)
            .into_iter()
            .find(|component| component.len() > 1);
        let Some(cycle) = cycle else { return Ok(()) };
        let mut found = Diagnostic::new("cycle", "these tasks wait for each other");
        let mut labels = Vec::new();
        for index in cycle.iter().rev() {
            let Work::Step(node) = self.work(NodeId(index.index() as u32)) else {
                continue;
            };
            labels.push(format!("\"{}\" on {}", node.step.label(), node.host.as_str()));
            for need in crate::site::flow::needs(&node.step).into_iter().flatten() {
                found = found.at(need.span, format!("\"{}\" waits for this", node.step.label()));
            }
        }
        if found.labels.is_empty() {
            for need in site.plays.iter().flat_map(|play| play.play.needs.iter().flatten()) {
                found = found.at(need.span, "this play waits for this");
            }
        }
        found.labels.dedup();
        Err(found.note(labels.join(" → ")).into())
    }
}

fn unknown_need(names: &[Named], site: &Site, need: &Need) -> Diagnostic {
    let plays = site.plays.iter().map(|play| play.play.name.as_str());
    let known = names.iter().map(|named| named.label.as_str()).chain(plays);
    Diagnostic::new(
        "unknown-need",
        format!("there is no task or play `{}` to wait for", need.name),
    )
    .at(need.span, "")
    .did_you_mean(&need.name, known)
}

fn inner(threads: &[Thread], befores: impl Iterator<Item = Befores>) -> Vec<Thread> {
    threads
        .iter()
        .zip(befores)
        .map(|(thread, before)| Thread::from(thread.host.clone(), before))
        .collect()
}

impl Thread {
    fn from(host: HostName, before: Befores) -> Thread {
        Thread {
            host,
            entry: before.clone(),
            before,
            ends: Vec::new(),
        }
    }
}

/// Whether a step is about all hosts of its play, so that they come to it together and go on from it together.
fn meets(step: &Step) -> bool {
    matches!(step.task.meta(), Some("clear_host_errors" | "refresh_inventory"))
}

fn once(step: &Step) -> bool {
    match step.keywords.run_once.as_ref().map(|node| &node.kind) {
        Some(NodeKind::Bool(truth)) => *truth,
        Some(NodeKind::Str(text, _)) => okd_agent::Value::Str(text.clone()).to_bool().unwrap_or(false),
        _ => false,
    }
}

/// How the end of a node reads for those behind it.
#[must_use]
pub fn is_bad(end: End) -> bool {
    matches!(end, End::Failed | End::Blocked(_))
}
