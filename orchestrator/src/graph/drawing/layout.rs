//! Where everything is drawn. In a lane a step stands below all that it waits for; a lane stands right of all lanes that it
//! waits for, and where that would be too wide, in a further band. Lines keep to gutters beside the steps, between the lanes
//! and above them, each on a track of its own.

use super::sheet::{At, Line, Sheet};
use crate::graph::picture::Kind;
use crate::svg::{Area, Point};
use std::collections::BTreeMap;

pub(super) const MARGIN: f64 = 28.0;
pub(super) const BOX: (f64, f64) = (270.0, 26.0);
/// Room for the title.
const HEAD: f64 = 52.0;
/// How wide a band of lanes may be.
const BAND: f64 = 1640.0;
const ROW: f64 = 40.0;
const COLUMN: f64 = BOX.0 + 18.0;
const LANE_HEAD: f64 = 52.0;
const LANE_FOOT: f64 = 16.0;
const LANE_GAP: f64 = 28.0;
const TRACK: f64 = 8.0;
/// Room on either side of a gutter's tracks.
const SIDE: f64 = 14.0;
/// Steps side by side at most.
const COLUMNS: usize = 3;

/// Where everything is.
#[derive(Debug, Default)]
pub(super) struct Layout {
    pub(super) lanes: Vec<Area>,
    pub(super) steps: Vec<Vec<Area>>,
    /// Lines between steps of one lane.
    pub(super) within: Vec<Path>,
    /// Lines between lanes.
    pub(super) between: Vec<Path>,
    pub(super) width: f64,
    pub(super) height: f64,
    /// Where the channel above each band begins.
    channels: Vec<f64>,
}

/// A line with its points.
#[derive(Debug)]
pub(super) struct Path {
    pub(super) points: Vec<Point>,
    pub(super) kind: Kind,
}

/// Where a lane's steps stand, in rows and columns, and the tracks beside them.
#[derive(Debug, Default)]
struct Grid {
    /// Row and column of each step.
    cells: Vec<(usize, usize)>,
    rows: usize,
    columns: usize,
    left: Tracks,
    right: Tracks,
}

/// Lines that run beside each other: each bundle has a track on which nothing else is where it is.
#[derive(Debug, Default)]
struct Tracks {
    bundles: BTreeMap<Bundle, (f64, f64)>,
    tracks: BTreeMap<Bundle, usize>,
    count: usize,
}

/// Lines that share a track: those with one end and one kind in common.
type Bundle = (At, Kind, bool);

impl Tracks {
    fn add(&mut self, bundle: Bundle, one: f64, other: f64) {
        let span = self.bundles.entry(bundle).or_insert((one, one));
        span.0 = span.0.min(one).min(other);
        span.1 = span.1.max(one).max(other);
    }

    /// Short ones first, so that long ones go around them.
    fn settle(&mut self) {
        let mut all: Vec<(Bundle, (f64, f64))> = self.bundles.iter().map(|(bundle, span)| (*bundle, *span)).collect();
        all.sort_by(|one, other| {
            (one.1.1 - one.1.0)
                .total_cmp(&(other.1.1 - other.1.0))
                .then(one.0.cmp(&other.0))
        });
        let mut taken: Vec<Vec<(f64, f64)>> = Vec::new();
        for (bundle, span) in all {
            let free = |track: &Vec<(f64, f64)>| track.iter().all(|used| span.1 < used.0 || used.1 < span.0);
            let at = taken.iter().position(free).unwrap_or(taken.len());
            if at == taken.len() {
                taken.push(Vec::new());
            }
            taken[at].push(span);
            self.tracks.insert(bundle, at);
        }
        self.count = taken.len();
    }

    fn track(&self, bundle: &Bundle) -> f64 {
        self.tracks.get(bundle).copied().unwrap_or(0) as f64
    }

    /// What is beside the steps of a lane.
    fn width(&self) -> f64 {
        self.room().max(SIDE)
    }

    /// What the tracks take.
    fn room(&self) -> f64 {
        match self.count {
            0 => 0.0,
            count => 2.0 * SIDE + (count - 1) as f64 * TRACK,
        }
    }
}

/// A result goes to many, a handler is notified by many: what they have in common is the end that is one.
fn bundle(line: &Line) -> Bundle {
    match line.kind {
        Kind::Data | Kind::Order | Kind::Failure => (line.from, line.kind, true),
        Kind::Need | Kind::Notify => (line.to, line.kind, false),
    }
}

impl Layout {
    pub(super) fn of(sheet: &Sheet) -> Layout {
        let grids: Vec<Grid> = (0..sheet.lanes.len()).map(|lane| grid(sheet, lane)).collect();
        let layers = layers(sheet);
        let mut layout = Layout::default();
        let gutters = Gutters::of(sheet, &grids, &layers);
        layout.place(&grids, &layers, &gutters);
        for (lane, grid) in grids.iter().enumerate() {
            let own = sheet
                .lines
                .iter()
                .filter(|line| line.from.0 == lane && line.to.0 == lane);
            let paths = own.map(|line| layout.inner(line, grid)).collect::<Vec<_>>();
            layout.within.extend(paths);
        }
        let between = sheet.lines.iter().filter(|line| line.from.0 != line.to.0);
        layout.between = between
            .map(|line| layout.outer(line, &grids, &layers, &gutters))
            .collect();
        layout
    }

    fn place(&mut self, grids: &[Grid], layers: &[usize], gutters: &Gutters) {
        self.lanes = vec![Area::default(); grids.len()];
        self.steps = vec![Vec::new(); grids.len()];
        let mut top = MARGIN + HEAD;
        for (band, above) in gutters.above.iter().enumerate() {
            self.channels.push(top);
            top += above.room();
            let mut bottom = top;
            for layer in (0..gutters.layers.len()).filter(|layer| gutters.band(*layer) == band) {
                let mut y = top;
                for (lane, grid) in grids.iter().enumerate().filter(|(lane, _)| layers[*lane] == layer) {
                    let area = Area {
                        x: gutters.layers[layer].x,
                        y,
                        width: grid.width(),
                        height: grid.height(),
                    };
                    self.lanes[lane] = area;
                    self.steps[lane] = grid.cells.iter().map(|cell| grid.step(area, *cell)).collect();
                    y = area.bottom() + LANE_GAP;
                    bottom = bottom.max(area.bottom());
                    self.width = self
                        .width
                        .max(area.right() + gutters.layers[layer].right.room() + MARGIN);
                }
            }
            self.height = bottom;
            top = bottom + LANE_GAP;
        }
    }

    fn step(&self, at: At) -> Area {
        self.steps
            .get(at.0)
            .and_then(|steps| steps.get(at.1))
            .copied()
            .unwrap_or_default()
    }

    /// A line between two steps of a lane: straight where they stand below each other, else around the others.
    fn inner(&self, line: &Line, grid: &Grid) -> Path {
        let (from, to) = (self.step(line.from), self.step(line.to));
        let (start, end) = (grid.cells[line.from.1], grid.cells[line.to.1]);
        let ordered = !matches!(line.kind, Kind::Data | Kind::Notify);
        if ordered && end.0 == start.0 + 1 {
            let middle = (from.bottom() + to.y) / 2.0;
            let mut points = vec![(from.middle(), from.bottom())];
            if start.1 != end.1 {
                points.extend([(from.middle(), middle), (to.middle(), middle)]);
            }
            points.push((to.middle(), to.y));
            return Path {
                points,
                kind: line.kind,
            };
        }
        let lane = self.lanes[line.from.0];
        let track = |tracks: &Tracks| SIDE + tracks.track(&bundle(line)) * TRACK;
        let x = match ordered {
            true => lane.x + grid.left.width() - track(&grid.left),
            false => lane.right() - grid.right.width() + track(&grid.right),
        };
        let mut points = leave(from, x, grid.clear(start, !ordered), 5.0);
        points.extend(reach(to, x, grid.clear(end, !ordered), -5.0));
        Path {
            points,
            kind: line.kind,
        }
    }

    /// A line from a lane to another one: by the gutter where they are neighbours, else above the lanes.
    fn outer(&self, line: &Line, grids: &[Grid], layers: &[usize], gutters: &Gutters) -> Path {
        let (from, to) = (self.step(line.from), self.step(line.to));
        let (start, end) = (layers[line.from.0], layers[line.to.0]);
        let own = bundle(line);
        let clear = |at: At, right: bool| grids[at.0].clear(grids[at.0].cells[at.1], right);
        let first = gutters.layers[start].right_x(&own);
        let mut points = leave(from, first, clear(line.from, true), 0.0);
        match gutters.way(start, end) {
            Way::Beside => points.extend(reach(to, first, clear(line.to, true), 0.0)),
            Way::Next => points.extend(reach(to, first, clear(line.to, false), 0.0)),
            Way::Above => {
                let band = gutters.band(end);
                let above = self.channels[band] + gutters.above[band].track(&own) * TRACK;
                let second = gutters.layers[end].left_x(&own);
                points.extend([(first, above), (second, above)]);
                points.extend(reach(to, second, clear(line.to, false), 0.0));
            }
        }
        Path {
            points,
            kind: line.kind,
        }
    }
}

/// From a step to a track beside it: out of its side, or, where another step stands in the way, out of its foot.
fn leave(from: Area, x: f64, clear: bool, shift: f64) -> Vec<Point> {
    let right = x > from.middle();
    let y = from.middle_y() + shift;
    match clear {
        true => vec![(if right { from.right() } else { from.x }, y), (x, y)],
        false => {
            let at = from.middle() + if right { 30.0 } else { -30.0 };
            vec![(at, from.bottom()), (at, from.bottom() + 5.0), (x, from.bottom() + 5.0)]
        }
    }
}

/// From a track to a step: into its side, or, where another step stands in the way, into its head.
fn reach(to: Area, x: f64, clear: bool, shift: f64) -> Vec<Point> {
    let right = x > to.middle();
    let y = to.middle_y() + shift;
    match clear {
        true => vec![(x, y), (if right { to.right() } else { to.x }, y)],
        false => {
            let at = to.middle() + if right { 30.0 } else { -30.0 };
            vec![(x, to.y - 5.0), (at, to.y - 5.0), (at, to.y)]
        }
    }
}

impl Grid {
    fn step(&self, lane: Area, cell: (usize, usize)) -> Area {
        Area {
            x: lane.x + self.left.width() + cell.1 as f64 * COLUMN,
            y: lane.y + LANE_HEAD + cell.0 as f64 * ROW,
            width: BOX.0,
            height: BOX.1,
        }
    }

    /// Whether no other step stands between one and its lane's edge.
    fn clear(&self, cell: (usize, usize), right: bool) -> bool {
        let in_the_way =
            |other: &(usize, usize)| other.0 == cell.0 && if right { other.1 > cell.1 } else { other.1 < cell.1 };
        !self.cells.iter().any(in_the_way)
    }

    fn width(&self) -> f64 {
        self.left.width() + self.columns as f64 * COLUMN - (COLUMN - BOX.0) + self.right.width()
    }

    fn height(&self) -> f64 {
        LANE_HEAD + self.rows as f64 * ROW - (ROW - BOX.1) + LANE_FOOT
    }
}

/// How many things each waits for in a row; what comes by a circle is left out.
fn depths(count: usize, edges: &[(usize, usize)]) -> Vec<usize> {
    let mut depth = vec![0; count];
    for _ in 0..count {
        let mut moved = false;
        for (from, to) in edges {
            if depth[*to] < depth[*from] + 1 && depth[*from] + 1 < count {
                depth[*to] = depth[*from] + 1;
                moved = true;
            }
        }
        if !moved {
            break;
        }
    }
    depth
}

fn grid(sheet: &Sheet, lane: usize) -> Grid {
    let steps = &sheet.lanes[lane].steps;
    let own = || {
        sheet
            .lines
            .iter()
            .filter(|line| line.from.0 == lane && line.to.0 == lane)
    };
    let ordered = own().filter(|line| !matches!(line.kind, Kind::Data | Kind::Notify));
    let edges: Vec<(usize, usize)> = ordered.map(|line| (line.from.1, line.to.1)).collect();
    let plain = steps.iter().filter(|step| !step.handler).count();
    let depth = depths(plain, &edges);
    let mut grid = Grid {
        cells: vec![(0, 0); steps.len()],
        ..Grid::default()
    };
    for level in 0..plain {
        let mut members: Vec<usize> = (0..plain).filter(|step| depth[*step] == level).collect();
        if members.is_empty() {
            break;
        }
        // Below the step that it waits for, where there is room.
        let column = |step: usize| {
            edges
                .iter()
                .filter(|(_, to)| *to == step)
                .map(|(from, _)| grid.cells[*from].1)
                .min()
        };
        let mut keyed: Vec<(usize, usize)> = members.iter().map(|step| (column(*step).unwrap_or(0), *step)).collect();
        keyed.sort_unstable();
        members = keyed.into_iter().map(|(_, step)| step).collect();
        for (at, step) in members.iter().enumerate() {
            grid.cells[*step] = (grid.rows + at / COLUMNS, at % COLUMNS);
        }
        grid.columns = grid.columns.max(members.len().min(COLUMNS));
        grid.rows += members.len().div_ceil(COLUMNS);
    }
    for cell in grid.cells.iter_mut().skip(plain) {
        *cell = (grid.rows, 0);
        grid.rows += 1;
    }
    grid.columns = grid.columns.max(1);
    for line in own() {
        let (from, to) = (grid.cells[line.from.1].0 as f64, grid.cells[line.to.1].0 as f64);
        let ordered = !matches!(line.kind, Kind::Data | Kind::Notify);
        match ordered {
            true if to == from + 1.0 => {}
            true => grid.left.add(bundle(line), from + 0.1, to - 0.1),
            false => grid.right.add(bundle(line), from + 0.1, to - 0.1),
        }
    }
    grid.left.settle();
    grid.right.settle();
    grid
}

/// The layer of each lane, from left to right.
fn layers(sheet: &Sheet) -> Vec<usize> {
    let pairs: Vec<(usize, usize)> = sheet.lines.iter().map(|line| (line.from.0, line.to.0)).collect();
    let forward = |(from, to): &(usize, usize)| from != to && (from < to || !pairs.contains(&(*to, *from)));
    let edges: Vec<(usize, usize)> = pairs.iter().filter(|pair| forward(pair)).copied().collect();
    depths(sheet.lanes.len(), &edges)
}

/// How a line gets from one layer to another.
enum Way {
    /// They are the same.
    Beside,
    /// The other is right of it.
    Next,
    /// By the channel above the other's band.
    Above,
}

/// A layer with the tracks on both sides.
#[derive(Debug, Default)]
struct Layer {
    band: usize,
    /// The lanes' left edge.
    x: f64,
    width: f64,
    left: Tracks,
    right: Tracks,
}

impl Layer {
    fn right_x(&self, bundle: &Bundle) -> f64 {
        self.x + self.width + SIDE + self.right.track(bundle) * TRACK
    }

    fn left_x(&self, bundle: &Bundle) -> f64 {
        self.x - SIDE - self.left.track(bundle) * TRACK
    }
}

/// The layers, in bands below each other where one would be too wide, and the room for lines between them.
#[derive(Debug, Default)]
struct Gutters {
    layers: Vec<Layer>,
    /// Above each band.
    above: Vec<Tracks>,
}

impl Gutters {
    fn of(sheet: &Sheet, grids: &[Grid], of: &[usize]) -> Gutters {
        let count = of.iter().max().map_or(0, |last| last + 1);
        let mut gutters = Gutters::default();
        let mut total = 0.0;
        for layer in 0..count {
            let own = grids.iter().zip(of).filter(|(_, one)| **one == layer);
            let width = own.map(|(grid, _)| grid.width()).fold(0.0, f64::max);
            let before = gutters.layers.last().map_or(0, |before| before.band);
            total += width + LANE_GAP;
            let band = if total > BAND && layer > 0 { before + 1 } else { before };
            if band > before {
                total = width + LANE_GAP;
            }
            gutters.layers.push(Layer {
                band,
                width,
                ..Layer::default()
            });
        }
        let bands = gutters.layers.last().map_or(0, |last| last.band + 1);
        gutters.above = (0..bands).map(|_| Tracks::default()).collect();
        gutters.fill(sheet, grids, of);
        gutters.spread();
        gutters
    }

    /// A track for each line between lanes.
    fn fill(&mut self, sheet: &Sheet, grids: &[Grid], of: &[usize]) {
        let tops = tops(grids, of);
        let height = |at: At| tops[at.0] + LANE_HEAD + grids[at.0].cells[at.1].0 as f64 * ROW;
        for line in sheet.lines.iter().filter(|line| line.from.0 != line.to.0) {
            let (start, end) = (of[line.from.0], of[line.to.0]);
            let own = bundle(line);
            match self.way(start, end) {
                Way::Beside | Way::Next => self.layers[start].right.add(own, height(line.from), height(line.to)),
                Way::Above => {
                    let (here, there) = (self.band(start), self.band(end));
                    let far = if there > here { f64::MAX } else { -1.0 };
                    self.layers[start].right.add(own, far, height(line.from));
                    self.layers[end].left.add(own, -1.0, height(line.to));
                    let from = if here == there { start as f64 + 0.6 } else { f64::MAX };
                    self.above[there].add(own, from, end as f64 + 0.4);
                }
            }
        }
        self.above.iter_mut().for_each(Tracks::settle);
        for layer in &mut self.layers {
            layer.left.settle();
            layer.right.settle();
        }
    }

    /// The layers of a band beside each other.
    fn spread(&mut self) {
        let mut x = 0.0;
        let mut before: Option<usize> = None;
        for layer in &mut self.layers {
            if before != Some(layer.band) {
                x = MARGIN;
            }
            x += layer.left.room();
            layer.x = x;
            x += layer.width + layer.right.room().max(LANE_GAP);
            before = Some(layer.band);
        }
    }

    fn band(&self, layer: usize) -> usize {
        self.layers.get(layer).map_or(0, |layer| layer.band)
    }

    fn way(&self, start: usize, end: usize) -> Way {
        match end {
            _ if end == start => Way::Beside,
            _ if end == start + 1 && self.band(start) == self.band(end) => Way::Next,
            _ => Way::Above,
        }
    }
}

/// How far each lane's upper edge is below the first one's of its layer.
fn tops(grids: &[Grid], layers: &[usize]) -> Vec<f64> {
    let mut next: BTreeMap<usize, f64> = BTreeMap::new();
    let mut tops = Vec::new();
    for (grid, layer) in grids.iter().zip(layers) {
        let top = next.entry(*layer).or_insert(0.0);
        tops.push(*top);
        *top += grid.height() + LANE_GAP;
    }
    tops
}
