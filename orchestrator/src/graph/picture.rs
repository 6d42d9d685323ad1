//! The graph as text that others draw: Graphviz's dot and Mermaid. Joins are left out: an edge through them is an edge.

use super::build::{Graph, Work};
use super::ready::{Edge, NodeId};
use crate::site::Site;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// An arrow between two steps.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Arrow {
    pub(super) from: u32,
    pub(super) to: u32,
    pub(super) kind: Kind,
}

/// Why a step waits for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Order,
    Need,
    Failure,
    Data,
    Notify,
}

impl Kind {
    fn dot(self) -> &'static str {
        match self {
            Kind::Order => "",
            Kind::Need => " [label=\"needs\", color=\"#0b6e4f\"]",
            Kind::Failure => " [label=\"on failure\", color=\"#b00020\", style=dashed]",
            Kind::Data => " [color=\"#2a5db0\", style=dotted]",
            Kind::Notify => " [label=\"notifies\", color=\"#8a6d00\", style=dashed]",
        }
    }

    fn mermaid(self) -> &'static str {
        match self {
            Kind::Order => "-->",
            Kind::Need => "-- needs -->",
            Kind::Failure => "-. on failure .->",
            Kind::Data => "-. data .->",
            Kind::Notify => "-. notifies .->",
        }
    }
}

/// Graphviz: `okd-play graph site.yaml | dot -Tsvg`.
#[must_use]
pub fn dot(graph: &Graph, site: &Site) -> String {
    let mut text = String::from(
        "digraph site {\n  rankdir=LR;\n  node [shape=box, style=rounded, fontname=\"sans-serif\", fontsize=10];\n  edge [fontname=\"sans-serif\", fontsize=8];\n",
    );
    for (cluster, nodes) in clusters(graph) {
        let _ = writeln!(
            text,
            "  subgraph \"cluster_{}\" {{\n    label={};",
            cluster.0,
            quoted(&cluster.1)
        );
        for (id, label) in nodes {
            let _ = writeln!(text, "    n{id} [label={}];", quoted(&label));
        }
        text.push_str("  }\n");
    }
    for (id, label) in handlers(site) {
        let _ = writeln!(text, "  {id} [label={}, shape=hexagon];", quoted(&label));
    }
    for arrow in arrows(graph, site) {
        let _ = writeln!(text, "  n{} -> n{}{};", arrow.from, arrow.to, arrow.kind.dot());
    }
    for (from, to) in notifications(graph, site) {
        let _ = writeln!(text, "  n{from} -> {to}{};", Kind::Notify.dot());
    }
    text.push_str("}\n");
    text
}

/// Mermaid: for Markdown that renders it.
#[must_use]
pub fn mermaid(graph: &Graph, site: &Site) -> String {
    let mut text = String::from("flowchart LR\n");
    for (cluster, nodes) in clusters(graph) {
        let _ = writeln!(text, "  subgraph c{}[{}]", cluster.0, quoted(&cluster.1));
        for (id, label) in nodes {
            let _ = writeln!(text, "    n{id}[{}]", quoted(&label));
        }
        text.push_str("  end\n");
    }
    for (id, label) in handlers(site) {
        let _ = writeln!(text, "  {id}{{{{{}}}}}", quoted(&label));
    }
    for arrow in arrows(graph, site) {
        let _ = writeln!(text, "  n{} {} n{}", arrow.from, arrow.kind.mermaid(), arrow.to);
    }
    for (from, to) in notifications(graph, site) {
        let _ = writeln!(text, "  n{from} {} {to}", Kind::Notify.mermaid());
    }
    text
}

fn quoted(text: &str) -> String {
    format!(
        "\"{}\"",
        text.replace('\\', "\\\\").replace('"', "'").replace('\n', " ")
    )
}

pub(super) fn visible(graph: &Graph, id: NodeId) -> bool {
    matches!(graph.work(id), Work::Step(node) if !(node.step.implicit && node.step.task.module == "meta"))
}

/// The steps of each play on each host.
fn clusters(graph: &Graph) -> BTreeMap<(String, String), Vec<(u32, String)>> {
    let mut clusters: BTreeMap<(String, String), Vec<(u32, String)>> = BTreeMap::new();
    for (id, work) in graph.works().filter(|(id, _)| visible(graph, *id)) {
        let Work::Step(node) = work else { continue };
        let key = format!(
            "{:03}_{}",
            node.play.index,
            node.host
                .as_str()
                .replace(|letter: char| !letter.is_alphanumeric(), "_")
        );
        let title = format!("{} · {}", node.play.play.name, node.host.as_str());
        clusters
            .entry((key, title))
            .or_default()
            .push((id.0, node.step.label()));
    }
    clusters
}

/// Edges between steps; what goes through joins is followed.
pub(super) fn arrows(graph: &Graph, site: &Site) -> BTreeSet<Arrow> {
    let mut behind: BTreeMap<NodeId, Vec<(NodeId, Edge)>> = BTreeMap::new();
    for (from, to, edge) in graph.ready.edges() {
        behind.entry(from).or_default().push((to, edge));
    }
    let mut arrows = BTreeSet::new();
    for (id, _) in graph.works().filter(|(id, _)| visible(graph, *id)) {
        let mut seen = BTreeSet::new();
        let mut open: Vec<(NodeId, Kind)> = vec![(id, Kind::Order)];
        while let Some((at, kind)) = open.pop() {
            for (to, edge) in behind.get(&at).into_iter().flatten() {
                let kind = match edge {
                    Edge::Need => Kind::Need,
                    Edge::OnFailure => Kind::Failure,
                    Edge::Order | Edge::After => kind,
                };
                if visible(graph, *to) {
                    arrows.insert(Arrow {
                        from: id.0,
                        to: to.0,
                        kind,
                    });
                } else if seen.insert((*to, kind)) {
                    open.push((*to, kind));
                }
            }
        }
    }
    reduced(arrows).into_iter().chain(data(graph, site)).collect()
}

/// Order that other order implies is not drawn.
fn reduced(arrows: BTreeSet<Arrow>) -> BTreeSet<Arrow> {
    let mut next: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
    for arrow in &arrows {
        next.entry(arrow.from).or_default().insert(arrow.to);
    }
    let implied = |arrow: &Arrow| {
        let others = next
            .get(&arrow.from)
            .into_iter()
            .flatten()
            .filter(|to| **to != arrow.to);
        let mut open: Vec<u32> = others.copied().collect();
        let mut seen = BTreeSet::new();
        while let Some(at) = open.pop() {
            if at == arrow.to {
                return true;
            }
            if at < arrow.to && seen.insert(at) {
                open.extend(next.get(&at).into_iter().flatten());
            }
        }
        false
    };
    arrows
        .iter()
        .filter(|arrow| arrow.kind != Kind::Order || !implied(arrow))
        .cloned()
        .collect()
}

/// A step that uses what another registered.
fn data(graph: &Graph, site: &Site) -> Vec<Arrow> {
    let mut given: BTreeMap<(String, String), u32> = BTreeMap::new();
    let mut arrows = Vec::new();
    for (id, work) in graph.works() {
        let Work::Step(node) = work else { continue };
        let host = node.host.as_str().to_owned();
        let mut used: BTreeSet<String> = site.loading.mentions(&node.step);
        used.retain(|name| !name.is_empty());
        for name in used {
            let root = name.split('.').next().unwrap_or_default().to_owned();
            if let Some(from) = given.get(&(host.clone(), root)) {
                arrows.push(Arrow {
                    from: *from,
                    to: id.0,
                    kind: Kind::Data,
                });
            }
        }
        if let Some(name) = &node.step.task.register {
            given.insert((host, name.clone()), id.0);
        }
    }
    arrows
}

fn handlers(site: &Site) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for play in &site.plays {
        for (at, handler) in play.flows.handlers.iter().enumerate() {
            all.push((format!("h{}_{at}", play.index), handler.label()));
        }
    }
    all
}

pub(super) fn notifications(graph: &Graph, site: &Site) -> Vec<(u32, String)> {
    let mut all = Vec::new();
    for (id, work) in graph.works() {
        let Work::Step(node) = work else { continue };
        let Some(play) = site.plays.get(node.play.index) else {
            continue;
        };
        for topic in node
            .step
            .notify
            .iter()
            .flat_map(|topic| std::iter::once(topic).chain(topic.items()))
        {
            let Some(name) = topic.as_str() else { continue };
            for (at, _) in play
                .flows
                .handlers
                .iter()
                .enumerate()
                .filter(|(_, handler)| crate::run::answers(handler, name))
            {
                all.push((id.0, format!("h{}_{at}", play.index)));
            }
        }
    }
    all
}
