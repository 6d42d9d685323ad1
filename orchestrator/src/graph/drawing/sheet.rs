//! What is drawn: lanes with their steps, and lines. Hosts that do the same in a play share a lane.

use crate::graph::build::{Graph, Work};
use crate::graph::picture::{Kind, arrows, notifications, visible};
use crate::site::Site;
use std::collections::{BTreeMap, BTreeSet};

/// Steps below each other at most.
const STEPS: usize = 18;

/// Everything that is drawn.
#[derive(Debug, Default)]
pub(super) struct Sheet {
    pub(super) lanes: Vec<Lane>,
    pub(super) lines: BTreeSet<Line>,
}

/// A play on hosts that do the same.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) play: usize,
    pub(super) name: String,
    pub(super) hosts: Vec<String>,
    /// The steps in order, then the handlers.
    pub(super) steps: Vec<Step>,
}

/// A step, or a handler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) label: String,
    pub(super) module: String,
    /// Its file and line.
    pub(super) place: String,
    /// Its stable name.
    pub(super) path: String,
    pub(super) handler: bool,
}

/// A step of a lane.
pub(super) type At = (usize, usize);

/// A reason to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Line {
    pub(super) from: At,
    pub(super) to: At,
    pub(super) kind: Kind,
}

impl Sheet {
    pub(super) fn of(graph: &Graph, site: &Site) -> Sheet {
        let mut sheet = Sheet::default();
        let ids = sheet.fill(graph, site);
        sheet.handlers(graph, site, &ids);
        for arrow in arrows(graph, site) {
            if let (Some(from), Some(to)) = (ids.get(&arrow.from), ids.get(&arrow.to)) {
                sheet.connect(*from, *to, arrow.kind);
            }
        }
        sheet.reduce();
        sheet.split();
        sheet
    }

    /// Waiting that other waiting implies is not drawn.
    fn reduce(&mut self) {
        let ordered = |line: &&Line| !matches!(line.kind, Kind::Data | Kind::Notify);
        let mut next: BTreeMap<At, BTreeSet<At>> = BTreeMap::new();
        for line in self.lines.iter().filter(ordered) {
            next.entry(line.from).or_default().insert(line.to);
        }
        let implied = |line: &Line| {
            let mut open: Vec<At> = next.get(&line.from).into_iter().flatten().copied().collect();
            let mut seen: BTreeSet<At> = BTreeSet::from([line.from]);
            while let Some(at) = open.pop() {
                if at == line.to || !seen.insert(at) {
                    continue;
                }
                let behind = next.get(&at).into_iter().flatten();
                if behind.clone().any(|to| *to == line.to) {
                    return true;
                }
                open.extend(behind);
            }
            false
        };
        let kept = |line: &&Line| line.kind == Kind::Failure || !ordered(line) || !implied(line);
        self.lines = self.lines.iter().filter(kept).copied().collect();
    }

    /// A lane that is long goes on in another one beside it.
    fn split(&mut self) {
        let mut moved: BTreeMap<At, At> = BTreeMap::new();
        let mut lanes = Vec::new();
        for (at, lane) in std::mem::take(&mut self.lanes).into_iter().enumerate() {
            let parts = lane.steps.len().div_ceil(STEPS).max(1);
            let size = lane.steps.len().div_ceil(parts).max(1);
            for (part, steps) in lane.steps.chunks(size).enumerate() {
                moved.extend((0..steps.len()).map(|step| ((at, part * size + step), (lanes.len(), step))));
                lanes.push(Lane {
                    play: lane.play,
                    name: match part {
                        0 => lane.name.clone(),
                        _ => format!("{}, continued", lane.name),
                    },
                    hosts: lane.hosts.clone(),
                    steps: steps.to_vec(),
                });
            }
        }
        self.lanes = lanes;
        let place = |at: At| moved.get(&at).copied();
        let lines = std::mem::take(&mut self.lines).into_iter();
        let lines = lines.filter_map(|line| {
            Some(Line {
                from: place(line.from)?,
                to: place(line.to)?,
                kind: line.kind,
            })
        });
        self.lines = lines.collect();
    }

    fn connect(&mut self, from: At, to: At, kind: Kind) {
        if from != to {
            self.lines.insert(Line { from, to, kind });
        }
    }

    /// The lanes; gives where each step of the graph is drawn.
    fn fill(&mut self, graph: &Graph, site: &Site) -> BTreeMap<u32, At> {
        let mut groups: BTreeMap<(usize, usize, String), Vec<(u32, Step)>> = BTreeMap::new();
        let mut order: BTreeMap<(usize, String), usize> = BTreeMap::new();
        for (id, work) in graph.works().filter(|(id, _)| visible(graph, *id)) {
            let Work::Step(node) = work else { continue };
            let host = node.host.as_str().to_owned();
            let next = order.len();
            let turn = *order.entry((node.play.index, host.clone())).or_insert(next);
            let step = Step {
                label: node.step.label(),
                module: node.step.task.short_module().to_owned(),
                place: site.loading.loader.sources.place(node.step.task.span).to_string(),
                path: node.step.path.clone(),
                handler: false,
            };
            groups
                .entry((node.play.index, turn, host))
                .or_default()
                .push((id.0, step));
        }
        let mut ids = BTreeMap::new();
        for ((play, _, host), members) in groups {
            let (own, steps): (Vec<u32>, Vec<Step>) = members.into_iter().unzip();
            let same = self
                .lanes
                .iter()
                .position(|lane| lane.play == play && lane.steps == steps);
            let lane = same.unwrap_or_else(|| {
                let found = site.plays.iter().find(|one| one.index == play);
                self.lanes.push(Lane {
                    play,
                    name: found.map(|play| play.play.name.clone()).unwrap_or_default(),
                    hosts: Vec::new(),
                    steps,
                });
                self.lanes.len() - 1
            });
            if let Some(lane) = self.lanes.get_mut(lane) {
                lane.hosts.push(host);
            }
            ids.extend(own.into_iter().enumerate().map(|(at, id)| (id, (lane, at))));
        }
        ids
    }

    /// Handlers stand below the steps of each lane of their play, and their lines come from the steps that notify them.
    fn handlers(&mut self, graph: &Graph, site: &Site, ids: &BTreeMap<u32, At>) {
        let mut places: BTreeMap<(usize, String), usize> = BTreeMap::new();
        for (at, lane) in self.lanes.iter_mut().enumerate() {
            let play = site.plays.iter().find(|play| play.index == lane.play);
            for (number, handler) in play.iter().flat_map(|play| play.flows.handlers.iter().enumerate()) {
                places.insert((at, format!("h{}_{number}", lane.play)), lane.steps.len());
                lane.steps.push(Step {
                    label: handler.label(),
                    module: handler.task.short_module().to_owned(),
                    place: site.loading.loader.sources.place(handler.task.span).to_string(),
                    path: handler.path.clone(),
                    handler: true,
                });
            }
        }
        for (from, handler) in notifications(graph, site) {
            let Some(from) = ids.get(&from) else { continue };
            if let Some(at) = places.get(&(from.0, handler)) {
                self.connect(*from, (from.0, *at), Kind::Notify);
            }
        }
    }
}
