//! The graph as a drawing for a report: a lane for each play on its hosts, its steps from top to bottom, and a line for each
//! reason to wait. Lanes stand left of those that wait for them. The same playbook gives the same bytes.

mod layout;
mod sheet;

use super::build::Graph;
use super::picture::Kind;
use crate::site::Site;
use crate::svg::{Area, Svg, width};
use layout::{BOX, Layout, MARGIN};
use sheet::{Lane, Sheet, Step};

const KINDS: [Kind; 5] = [Kind::Order, Kind::Need, Kind::Failure, Kind::Data, Kind::Notify];
const COLOURS: [&str; 5] = ["#616e7c", "#0b6e4f", "#b00020", "#2b6cb0", "#b7791f"];
/// One of these for each set of hosts, in the order in which they come.
const HOSTS: usize = 6;

const STYLE: &str = ".title { font-size: 20px; font-weight: 700; }
.sub { font-size: 12px; fill: #616e7c; }
.play { font-size: 14px; font-weight: 700; }
.lane { stroke: #cbd2d9; }
.h0 { fill: #eef4fb; } .h1 { fill: #eef8f1; } .h2 { fill: #fdf6ea; } .h3 { fill: #f6f0fb; } .h4 { fill: #fbeff1; } .h5 { fill: #eef7f8; }
.step { fill: #ffffff; stroke: #9aa5b1; }
.handler { fill: #fffaf0; stroke: #b7791f; }
.label { font-size: 12px; }
.module { font-size: 10px; fill: #7b8794; text-anchor: end; }
.edge { fill: none; stroke-width: 1.4; }
.order { stroke: #616e7c; }
.needs { stroke: #0b6e4f; stroke-width: 1.8; }
.failure { stroke: #b00020; stroke-dasharray: 6 3; }
.data { stroke: #2b6cb0; stroke-dasharray: 2 3; }
.notifies { stroke: #b7791f; stroke-dasharray: 6 3; }
.order { marker-end: url(#order); } .needs { marker-end: url(#needs); } .failure { marker-end: url(#failure); }
.data { marker-end: url(#data); } .notifies { marker-end: url(#notifies); }
";

impl Kind {
    fn class(self) -> &'static str {
        match self {
            Kind::Order => "order",
            Kind::Need => "needs",
            Kind::Failure => "failure",
            Kind::Data => "data",
            Kind::Notify => "notifies",
        }
    }

    /// What the legend says.
    fn meaning(self) -> &'static str {
        match self {
            Kind::Order => "stands before",
            Kind::Need => "is needed by",
            Kind::Failure => "when it fails",
            Kind::Data => "gives its result to",
            Kind::Notify => "notifies when it changes",
        }
    }
}

/// What `okd-play graph --format svg` prints.
#[must_use]
pub fn drawing(graph: &Graph, site: &Site, title: &str) -> String {
    let (svg, width, height) = drawn(graph, site, title);
    svg.finish(title, width, height, STYLE, &markers())
}

/// The drawing for a page, whose style and script know its classes and which step each box is.
#[must_use]
pub fn inline(graph: &Graph, site: &Site, title: &str) -> String {
    let (svg, width, height) = drawn(graph, site, title);
    svg.inline(title, width, height, &markers())
}

fn drawn(graph: &Graph, site: &Site, title: &str) -> (Svg, f64, f64) {
    let sheet = Sheet::of(graph, site);
    let layout = Layout::of(&sheet);
    let mut svg = Svg::default();
    svg.text((MARGIN, MARGIN + 14.0), "title", title);
    svg.text((MARGIN, MARGIN + 34.0), "sub", &count(&sheet));
    let mut hosts: Vec<&[String]> = Vec::new();
    for (lane, area) in sheet.lanes.iter().zip(&layout.lanes) {
        let tint = hosts.iter().position(|known| *known == lane.hosts).unwrap_or_else(|| {
            hosts.push(&lane.hosts);
            hosts.len() - 1
        });
        head(&mut svg, lane, *area, tint % HOSTS);
    }
    for line in layout.between.iter().chain(&layout.within) {
        svg.line(&line.points, 7.0, &format!("edge {}", line.kind.class()));
    }
    for (lane, areas) in sheet.lanes.iter().zip(&layout.steps) {
        for (one, area) in lane.steps.iter().zip(areas) {
            step(&mut svg, one, &lane.hosts, *area);
        }
    }
    let used = KINDS
        .into_iter()
        .filter(|kind| sheet.lines.iter().any(|line| line.kind == *kind));
    let wide = legend(&mut svg, layout.height, used);
    (svg, layout.width.max(wide), layout.height + 60.0)
}

fn count(sheet: &Sheet) -> String {
    let steps: usize = sheet
        .lanes
        .iter()
        .map(|lane| lane.steps.iter().filter(|step| !step.handler).count() * lane.hosts.len())
        .sum();
    let mut hosts: Vec<&String> = sheet.lanes.iter().flat_map(|lane| &lane.hosts).collect();
    hosts.sort();
    hosts.dedup();
    let mut plays: Vec<usize> = sheet.lanes.iter().map(|lane| lane.play).collect();
    plays.dedup();
    let many = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    format!(
        "{}, {}, {}",
        many(plays.len(), "play"),
        many(hosts.len(), "host"),
        many(steps, "step")
    )
}

fn head(svg: &mut Svg, lane: &Lane, area: Area, tint: usize) {
    svg.open(&format!("{}: {}", lane.name, lane.hosts.join(", ")));
    svg.rect(area, 8.0, &format!("lane h{tint}"));
    let room = area.width - 24.0;
    svg.fitted((area.x + 12.0, area.y + 21.0), "play", &lane.name, 15.0, room);
    let hosts = match lane.hosts.as_slice() {
        [one] => one.clone(),
        several => format!("{} hosts: {}", several.len(), several.join(", ")),
    };
    svg.fitted((area.x + 12.0, area.y + 38.0), "sub", &hosts, 12.0, room);
    svg.close();
}

fn step(svg: &mut Svg, step: &Step, hosts: &[String], area: Area) {
    let title = format!("{} · {} · {}", step.label, step.module, step.place);
    svg.open_for(&title, "node", &[("step", &step.path), ("hosts", &hosts.join(" "))]);
    let (class, radius) = if step.handler {
        ("handler", BOX.1 / 2.0)
    } else {
        ("step", 5.0)
    };
    svg.rect(area, radius, class);
    let named = step.label != step.module;
    let module = if named { width(&step.module, 10.0) + 14.0 } else { 0.0 };
    let y = area.y + area.height / 2.0 + 4.0;
    svg.fitted(
        (area.x + 10.0, y),
        "label",
        &step.label,
        12.0,
        area.width - 18.0 - module,
    );
    if named {
        svg.text((area.right() - 8.0, y - 0.5), "module", &step.module);
    }
    svg.close();
}

/// Gives how wide it is.
fn legend(svg: &mut Svg, y: f64, kinds: impl Iterator<Item = Kind>) -> f64 {
    let mut x = MARGIN;
    let y = y + 24.0;
    for kind in kinds {
        svg.line(&[(x, y), (x + 34.0, y)], 0.0, &format!("edge {}", kind.class()));
        svg.text((x + 42.0, y + 4.0), "sub", kind.meaning());
        x += 42.0 + width(kind.meaning(), 12.0) + 26.0;
    }
    x + MARGIN - 26.0
}

/// A head for each kind of line.
fn markers() -> String {
    let head = |(kind, colour): (Kind, &str)| {
        format!(
            "<marker id=\"{}\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"7\" markerHeight=\"7\" markerUnits=\"userSpaceOnUse\" orient=\"auto\"><path d=\"M0 0.8L7.4 4L0 7.2z\" fill=\"{colour}\"/></marker>",
            kind.class()
        )
    };
    KINDS.into_iter().zip(COLOURS).map(head).collect()
}
