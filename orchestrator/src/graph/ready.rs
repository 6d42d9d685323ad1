//! What may run now. Nodes settle once; what that means for those behind them follows from the edges alone, so a failure
//! blocks exactly its descendants, a rescue runs exactly when its block failed, and no order depends on timing.
//!
//! A node may also be *sent*: under way on a link that works in order and holds back what stands behind a failure. Its
//! followers in the same lane may then be considered before it has settled; that is what makes a link a pipeline.

use std::collections::{BTreeSet, HashMap};

/// A node of one [`Ready`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub u32);

/// Why one node waits for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edge {
    /// The listed order, or a need: the first has to end well. In one lane, *sent* is enough to be considered.
    Order,
    /// Named in `needs`: the first has to end well.
    Need,
    /// The first has to have ended, well or not.
    After,
    /// The second runs only where the first failed.
    OnFailure,
}

/// A node that does nothing but gather; it settles by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Join {
    /// Ends well when all before it did, through whichever edges.
    All,
    /// The end of a block's part: `start` tells whether it was entered at all. Ends badly when anything in it did.
    Part {
        /// The node that every node of the part waits for.
        start: NodeId,
    },
    /// The end of a block with its rescue and always parts.
    Block {
        /// Where the body ends.
        body: NodeId,
        /// Where the rescue ends.
        rescue: Option<NodeId>,
        /// Where the always part ends.
        always: Option<NodeId>,
    },
    /// Ends well when all before it have ended, well or not.
    Settled,
}

/// How a node ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Well: unchanged, changed, skipped or ignored.
    Done,
    /// Badly.
    Failed,
    /// Not begun, because of this node's failure.
    Blocked(NodeId),
    /// Not done, because it was refused, or because this node was, which it needs. What is merely listed behind it goes
    /// on.
    Refused(NodeId),
    /// Not begun, because its path was not taken (a rescue that was not needed).
    Passed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting,
    PutOff,
    Queued,
    Started,
    Sent,
    Settled(End),
}

#[derive(Debug)]
struct Node {
    join: Option<Join>,
    lane: Option<u32>,
    state: State,
    /// Whether it ends well, whatever failed before it.
    forgiven: bool,
    before: Vec<(NodeId, Edge)>,
    behind: Vec<(NodeId, Edge)>,
}

/// The nodes with their states.
#[derive(Debug, Default)]
pub struct Ready {
    nodes: Vec<Node>,
    queue: BTreeSet<NodeId>,
    wakes: HashMap<NodeId, Vec<NodeId>>,
    unsettled: usize,
}

impl Ready {
    /// Adds a node that the runner will start. Nodes of one lane share a link that works in order.
    pub fn add(&mut self, lane: Option<u32>) -> NodeId {
        self.push(None, lane)
    }

    /// Adds a node that settles by itself.
    pub fn join(&mut self, join: Join) -> NodeId {
        self.push(Some(join), None)
    }

    fn push(&mut self, join: Option<Join>, lane: Option<u32>) -> NodeId {
        let id = NodeId(self.nodes.len() as u32);
        self.nodes.push(Node {
            join,
            lane,
            state: State::Waiting,
            forgiven: false,
            before: Vec::new(),
            behind: Vec::new(),
        });
        self.unsettled += 1;
        id
    }

    /// Makes `to` wait for `from`. The same pair twice keeps both reasons.
    pub fn edge(&mut self, from: NodeId, to: NodeId, edge: Edge) {
        self.node_mut(from).behind.push((to, edge));
        self.node_mut(to).before.push((from, edge));
    }

    /// Lets these nodes take part, once all their edges are there; returns what settled at once.
    pub fn enter(&mut self, ids: impl IntoIterator<Item = NodeId>) -> Vec<(NodeId, End)> {
        let mut settled = Vec::new();
        for id in ids {
            self.look(id, &mut settled);
        }
        settled
    }

    /// How many nodes have not settled.
    #[must_use]
    pub fn unsettled(&self) -> usize {
        self.unsettled
    }

    /// How a node ended, once it has.
    #[must_use]
    pub fn end(&self, id: NodeId) -> Option<End> {
        match self.node(id).state {
            State::Settled(end) => Some(end),
            _ => None,
        }
    }

    /// The nodes that it waits for, with the reasons.
    #[must_use]
    pub fn before(&self, id: NodeId) -> &[(NodeId, Edge)] {
        &self.node(id).before
    }

    /// Every edge, for pictures and for the search of cycles.
    pub fn edges(&self) -> impl Iterator<Item = (NodeId, NodeId, Edge)> + '_ {
        let indexed = self.nodes.iter().enumerate();
        indexed.flat_map(|(from, node)| {
            node.behind
                .iter()
                .map(move |(to, edge)| (NodeId(from as u32), *to, *edge))
        })
    }

    /// How many nodes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The next node to consider, the one added first of all that may run, and whether everything before it has
    /// settled (`true`) or some of it is only sent (`false`). The caller answers with [`Ready::start`], [`Ready::sent`],
    /// [`Ready::wait`], [`Ready::defer`] or [`Ready::settle`].
    pub fn take(&mut self) -> Option<(NodeId, bool)> {
        let id = self.queue.pop_first()?;
        Some((id, self.firm(id)))
    }

    fn firm(&self, id: NodeId) -> bool {
        self.node(id)
            .before
            .iter()
            .all(|(before, _)| matches!(self.node(*before).state, State::Settled(_)))
    }

    /// The node is under way.
    pub fn start(&mut self, id: NodeId) {
        self.node_mut(id).state = State::Started;
    }

    /// The node is under way on a link that works in order: its followers in the lane may be considered.
    pub fn sent(&mut self, id: NodeId) -> Vec<(NodeId, End)> {
        self.node_mut(id).state = State::Sent;
        let mut settled = Vec::new();
        for behind in self.behind(id) {
            self.look(behind, &mut settled);
        }
        settled
    }

    /// The node cannot be considered before everything before it has settled.
    pub fn defer(&mut self, id: NodeId) {
        self.node_mut(id).state = State::PutOff;
        if self.firm(id) {
            self.queue_up(id);
        }
    }

    /// The node needs something that `other` will give: it is considered again when that has settled.
    pub fn wait(&mut self, id: NodeId, other: NodeId) {
        if matches!(self.node(other).state, State::Settled(_)) {
            self.queue_up(id);
        } else {
            self.node_mut(id).state = State::PutOff;
            self.wakes.entry(other).or_default().push(id);
        }
    }

    /// What has failed before this node no longer counts for those behind it: it ends well, or has.
    pub fn forgive(&mut self, id: NodeId) {
        let node = self.node_mut(id);
        match node.state {
            state if bad(state) => node.state = State::Settled(End::Done),
            State::Settled(_) => {}
            _ => node.forgiven = true,
        }
    }

    fn queue_up(&mut self, id: NodeId) {
        self.node_mut(id).state = State::Queued;
        self.queue.insert(id);
    }

    /// A node has ended. Returns every node that settled by it, itself included, in order. A node that has settled
    /// before stays as it was.
    pub fn settle(&mut self, id: NodeId, end: End) -> Vec<(NodeId, End)> {
        let mut settled = Vec::new();
        self.put(id, end, &mut settled);
        settled
    }

    fn put(&mut self, id: NodeId, end: End, settled: &mut Vec<(NodeId, End)>) {
        let mut work = vec![(id, end)];
        while let Some((id, end)) = work.pop() {
            if matches!(self.node(id).state, State::Settled(_)) {
                continue;
            }
            self.queue.remove(&id);
            let node = self.node_mut(id);
            let end = match node.forgiven && bad(State::Settled(end)) {
                true => End::Done,
                false => end,
            };
            node.state = State::Settled(end);
            self.unsettled -= 1;
            settled.push((id, end));
            for woken in self.wakes.remove(&id).unwrap_or_default() {
                self.wake(woken, &mut work);
            }
            for behind in self.behind(id) {
                self.consider(behind, &mut work);
            }
        }
    }

    /// A node that waited for something another one gave is considered anew.
    fn wake(&mut self, id: NodeId, work: &mut Vec<(NodeId, End)>) {
        if self.node(id).state == State::PutOff {
            self.node_mut(id).state = State::Waiting;
            self.consider(id, work);
        }
    }

    fn behind(&self, id: NodeId) -> Vec<NodeId> {
        self.node(id).behind.iter().map(|(behind, _)| *behind).collect()
    }

    fn look(&mut self, id: NodeId, settled: &mut Vec<(NodeId, End)>) {
        let mut work = Vec::new();
        self.consider(id, &mut work);
        for (id, end) in work {
            self.put(id, end, settled);
        }
    }

    /// Queues a waiting node that may run, or finds how it ends without running.
    fn consider(&mut self, id: NodeId, work: &mut Vec<(NodeId, End)>) {
        let node = self.node(id);
        if !matches!(node.state, State::Waiting | State::PutOff) {
            return;
        }
        let ends: Vec<(NodeId, Edge, State)> = node
            .before
            .iter()
            .map(|(before, edge)| (*before, *edge, self.node(*before).state))
            .collect();
        let firm = ends.iter().all(|(_, _, state)| matches!(state, State::Settled(_)));
        match node.join {
            Some(join) if firm => work.push((id, self.gathered(join, &ends))),
            Some(_) => {}
            None if firm => match outcome(&ends) {
                Some(end) => work.push((id, end)),
                None => self.queue_up(id),
            },
            None if self.node(id).state == State::Waiting && self.soft(id, &ends) => self.queue_up(id),
            None => {}
        }
    }

    /// Whether everything before a node has ended well or is sent in its own lane.
    fn soft(&self, id: NodeId, ends: &[(NodeId, Edge, State)]) -> bool {
        let lane = self.node(id).lane;
        lane.is_some()
            && ends.iter().all(|(before, edge, state)| match (edge, state) {
                (Edge::Order | Edge::Need | Edge::After, State::Settled(End::Done)) => true,
                (Edge::After, State::Settled(_)) | (Edge::Order, State::Settled(End::Refused(_))) => true,
                (Edge::Order, State::Sent) => self.node(*before).lane == lane,
                _ => false,
            })
    }

    fn gathered(&self, join: Join, ends: &[(NodeId, Edge, State)]) -> End {
        let end = |id: NodeId| self.end(id).unwrap_or(End::Done);
        match join {
            Join::Settled => End::Done,
            Join::All => match outcome(ends) {
                // Nothing behind it has what it needs.
                Some(End::Refused(by)) => End::Blocked(by),
                end => end.unwrap_or(End::Done),
            },
            Join::Part { start } => match end(start) {
                End::Blocked(by) => End::Blocked(by),
                End::Passed => End::Passed,
                _ if ends.iter().any(|(_, _, state)| bad(*state)) => End::Failed,
                _ => ends
                    .iter()
                    .find_map(|(_, _, state)| refused(*state))
                    .unwrap_or(End::Done),
            },
            Join::Block { body, rescue, always } => match (end(body), always.map(end)) {
                (End::Blocked(by), _) => End::Blocked(by),
                (End::Passed, _) => End::Passed,
                (_, Some(End::Failed | End::Blocked(_))) => End::Failed,
                (End::Failed, _) if rescue.is_none_or(|rescue| end(rescue) != End::Done) => End::Failed,
                (End::Refused(by), _) | (_, Some(End::Refused(by))) => End::Refused(by),
                _ => End::Done,
            },
        }
    }

    #[allow(clippy::indexing_slicing, reason = "ids are given out by this structure alone")]
    fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0 as usize]
    }

    #[allow(clippy::indexing_slicing, reason = "ids are given out by this structure alone")]
    fn node_mut(&mut self, id: NodeId) -> &mut Node {
        &mut self.nodes[id.0 as usize]
    }
}

fn bad(state: State) -> bool {
    matches!(state, State::Settled(End::Failed | End::Blocked(_)))
}

fn refused(state: State) -> Option<End> {
    match state {
        State::Settled(end @ End::Refused(_)) => Some(end),
        _ => None,
    }
}

/// How a node ends without running; `None` where it may run.
fn outcome(ends: &[(NodeId, Edge, State)]) -> Option<End> {
    let mut passed = false;
    for (before, edge, state) in ends {
        let State::Settled(end) = state else { return None };
        match (edge, end) {
            (Edge::After, _)
            | (Edge::Order | Edge::Need, End::Done)
            | (Edge::OnFailure, End::Failed)
            | (Edge::Order, End::Refused(_)) => {}
            (_, End::Blocked(by)) => return Some(End::Blocked(*by)),
            (Edge::Need, End::Refused(by)) => return Some(End::Refused(*by)),
            (Edge::Order | Edge::Need, End::Failed) => return Some(End::Blocked(*before)),
            (_, End::Passed) | (Edge::OnFailure, End::Done | End::Refused(_)) => passed = true,
        }
    }
    passed.then_some(End::Passed)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use proptest::prelude::*;

    fn run(ready: &mut Ready, failing: &[NodeId]) -> Vec<NodeId> {
        let mut order = Vec::new();
        while let Some((id, firm)) = ready.take() {
            assert!(firm);
            ready.start(id);
            order.push(id);
            ready.settle(id, if failing.contains(&id) { End::Failed } else { End::Done });
        }
        order
    }

    proptest! {
        #[test]
        fn every_node_runs_once_in_order_and_a_failure_blocks_exactly_its_descendants(
            size in 1usize..40,
            pairs in prop::collection::vec((0usize..40, 0usize..40), 0..120),
            failing in prop::collection::btree_set(0usize..40, 0..4),
        ) {
            let mut ready = Ready::default();
            let nodes: Vec<NodeId> = (0..size).map(|_| ready.add(None)).collect();
            let edges: Vec<(usize, usize)> =
                pairs.into_iter().filter(|(a, b)| a < b && *b < size).collect();
            for (from, to) in &edges {
                ready.edge(nodes[*from], nodes[*to], Edge::Order);
            }
            ready.enter(nodes.clone());
            let failing: Vec<NodeId> = failing.into_iter().filter(|at| *at < size).map(|at| nodes[at]).collect();
            let order = run(&mut ready, &failing);
            prop_assert_eq!(ready.unsettled(), 0);
            let mut blocked = vec![false; size];
            for at in 0..size {
                for (from, _) in edges.iter().filter(|(_, to)| *to == at) {
                    blocked[at] |= blocked[*from] || failing.contains(&nodes[*from]);
                }
                let ran = order.iter().filter(|id| **id == nodes[at]).count();
                prop_assert_eq!(ran, usize::from(!blocked[at]));
            }
            for (from, to) in edges {
                let place = |at: usize| order.iter().position(|id| *id == nodes[at]);
                if let (Some(first), Some(second)) = (place(from), place(to)) {
                    prop_assert!(first < second);
                }
            }
        }
    }

    struct Blocks {
        ready: Ready,
        before: NodeId,
        body: [NodeId; 2],
        rescue: NodeId,
        always: NodeId,
        after: NodeId,
    }

    fn block() -> Blocks {
        let mut ready = Ready::default();
        let before = ready.add(None);
        let start = ready.join(Join::All);
        ready.edge(before, start, Edge::Order);
        let body = [ready.add(None), ready.add(None)];
        ready.edge(start, body[0], Edge::Order);
        ready.edge(body[0], body[1], Edge::Order);
        let body_end = ready.join(Join::Part { start });
        body.iter().for_each(|id| ready.edge(*id, body_end, Edge::After));
        let rescue_start = ready.join(Join::All);
        ready.edge(body_end, rescue_start, Edge::OnFailure);
        let rescue = ready.add(None);
        ready.edge(rescue_start, rescue, Edge::Order);
        let rescue_end = ready.join(Join::Part { start: rescue_start });
        ready.edge(rescue, rescue_end, Edge::After);
        let always_start = ready.join(Join::Part { start });
        ready.edge(rescue_end, always_start, Edge::After);
        let always = ready.add(None);
        ready.edge(always_start, always, Edge::After);
        ready.edge(start, always, Edge::Order);
        let always_end = ready.join(Join::Part { start });
        ready.edge(always, always_end, Edge::After);
        let end = ready.join(Join::Block {
            body: body_end,
            rescue: Some(rescue_end),
            always: Some(always_end),
        });
        for id in [body_end, rescue_end, always_end] {
            ready.edge(id, end, Edge::After);
        }
        let after = ready.add(None);
        ready.edge(end, after, Edge::Order);
        ready.enter((0..ready.len() as u32).map(NodeId).collect::<Vec<_>>());
        Blocks {
            ready,
            before,
            body,
            rescue,
            always,
            after,
        }
    }

    #[test]
    fn a_rescue_runs_exactly_when_its_block_failed() {
        let mut well = block();
        let order = run(&mut well.ready, &[]);
        assert_eq!(
            order,
            [well.before, well.body[0], well.body[1], well.always, well.after]
        );
        assert_eq!(well.ready.end(well.rescue), Some(End::Passed));

        let mut saved = block();
        let order = run(&mut saved.ready, &[saved.body[0]]);
        assert_eq!(
            order,
            [saved.before, saved.body[0], saved.rescue, saved.always, saved.after]
        );
        assert_eq!(saved.ready.end(saved.body[1]), Some(End::Blocked(saved.body[0])));

        let mut lost = block();
        let order = run(&mut lost.ready, &[lost.body[1], lost.rescue]);
        assert_eq!(
            order,
            [lost.before, lost.body[0], lost.body[1], lost.rescue, lost.always]
        );
        assert!(matches!(lost.ready.end(lost.after), Some(End::Blocked(_))));

        let mut outside = block();
        assert_eq!(run(&mut outside.ready, &[outside.before]), [outside.before]);
        assert_eq!(outside.ready.end(outside.always), Some(End::Blocked(outside.before)));
        assert_eq!(outside.ready.end(outside.rescue), Some(End::Blocked(outside.before)));
    }

    #[test]
    fn what_was_refused_blocks_only_what_needs_it() {
        let mut ready = Ready::default();
        let [refused, listed, needing, behind] = [(); 4].map(|()| ready.add(Some(1)));
        ready.edge(refused, listed, Edge::Order);
        ready.edge(refused, needing, Edge::Need);
        ready.edge(needing, behind, Edge::Order);
        let play = ready.join(Join::All);
        ready.edge(needing, play, Edge::Need);
        let inner = ready.add(None);
        ready.edge(play, inner, Edge::Order);
        ready.enter((0..ready.len() as u32).map(NodeId).collect::<Vec<_>>());
        ready.settle(refused, End::Refused(refused));
        assert_eq!(run(&mut ready, &[]), [listed, behind]);
        assert_eq!(ready.end(needing), Some(End::Refused(refused)));
        assert_eq!(ready.end(inner), Some(End::Blocked(refused)));

        let mut block = block();
        let first = block.ready.take();
        assert_eq!(first, Some((block.before, true)));
        block.ready.settle(block.before, End::Done);
        let body = block.ready.take();
        assert_eq!(body, Some((block.body[0], true)));
        block.ready.settle(block.body[0], End::Refused(block.body[0]));
        assert_eq!(run(&mut block.ready, &[]), [block.body[1], block.always, block.after]);
        assert_eq!(block.ready.end(block.rescue), Some(End::Passed));
    }

    #[test]
    fn what_is_forgiven_does_not_block_what_comes_later() {
        for early in [true, false] {
            let mut ready = Ready::default();
            let step = ready.add(None);
            let end = ready.join(Join::Part { start: step });
            ready.edge(step, end, Edge::After);
            let (gate, next) = (ready.add(None), ready.add(None));
            ready.edge(end, next, Edge::Order);
            ready.edge(gate, next, Edge::After);
            ready.enter([step, end, gate, next]);
            if early {
                ready.forgive(end);
            }
            ready.settle(step, End::Failed);
            if !early {
                assert_eq!(ready.end(end), Some(End::Failed));
                ready.forgive(end);
            }
            ready.settle(gate, End::Done);
            assert_eq!(ready.take(), Some((next, true)), "{early}");
        }
    }

    #[test]
    fn a_lane_is_a_pipeline_and_putting_off_waits_for_the_settled() {
        let mut ready = Ready::default();
        let nodes: Vec<NodeId> = (0..4).map(|_| ready.add(Some(1))).collect();
        let other = ready.add(Some(2));
        for pair in nodes.windows(2) {
            ready.edge(pair[0], pair[1], Edge::Order);
        }
        ready.edge(nodes[0], other, Edge::Order);
        ready.enter(nodes.iter().copied().chain([other]));
        assert_eq!(ready.take(), Some((nodes[0], true)));
        ready.sent(nodes[0]);
        assert_eq!(ready.take(), Some((nodes[1], false)));
        ready.sent(nodes[1]);
        assert_eq!(ready.take(), Some((nodes[2], false)));
        ready.defer(nodes[2]);
        assert_eq!(ready.take(), None, "another lane waits for the settled");
        ready.settle(nodes[0], End::Done);
        assert_eq!(ready.take(), Some((other, true)));
        assert_eq!(ready.take(), None);
        ready.settle(nodes[1], End::Done);
        assert_eq!(ready.take(), Some((nodes[2], true)));
        ready.wait(nodes[2], other);
        assert_eq!(ready.take(), None);
        ready.settle(other, End::Done);
        assert_eq!(ready.take(), Some((nodes[2], true)));
    }
}
