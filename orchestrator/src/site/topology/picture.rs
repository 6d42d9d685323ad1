//! The description completed, as a picture for a report: sites with their nodes, the machines on their bridges, what joins
//! the nodes, the way outside, and the figures that hold for all.

use super::overlay::Stand;
use super::table::{facts, inside_ports, memory, outside_ports, ports};
use super::{Machine, OUTER_BRIDGE, Role, Topology};
use crate::svg::{Area, Svg, width};

const CARD: (f64, f64) = (204.0, 92.0);
const SERVICES_HEIGHT: f64 = 124.0;
const GAP: f64 = 16.0;
const BAR: f64 = 24.0;
const HEAD: f64 = 34.0;
const MARGIN: f64 = 28.0;
/// Room right of the sites for the line that joins them.
const TRUNK: f64 = 44.0;
const FACT: f64 = 22.0;

const STYLE: &str = ".title { font-size: 22px; font-weight: 700; }
.sub { font-size: 13px; fill: #52606d; }
.site { fill: #f5f7fa; stroke: #cbd2d9; }
.node { fill: #ffffff; stroke: #9aa5b1; }
.site-name { font-size: 15px; font-weight: 700; }
.node-name { font-size: 13px; font-weight: 700; }
.small { font-size: 11px; fill: #52606d; }
.end { text-anchor: end; }
.middle { text-anchor: middle; }
.inner { fill: #2b6cb0; }
.outer { fill: #975a16; }
.tunnel { fill: #6b46c1; }
.bar { font-size: 12px; font-weight: 600; fill: #ffffff; }
.wire { fill: none; stroke: #2b6cb0; stroke-width: 2; }
.out { fill: none; stroke: #975a16; stroke-width: 2; }
.joint { fill: none; stroke: #6b46c1; stroke-width: 2.5; stroke-dasharray: 7 4; }
.card { fill: #ffffff; stroke: #cbd2d9; }
.services { fill: #0b6e4f; } .bootstrap { fill: #b7791f; } .master { fill: #2b6cb0; } .worker { fill: #52606d; }
.name { font-size: 14px; font-weight: 700; }
.role { font-size: 11px; fill: #7b8794; text-anchor: end; }
.line { font-size: 12px; }
.fact { font-size: 12px; font-weight: 700; }
";

/// A node with what stands on it, and how much room that takes.
struct Board<'t> {
    stand: Stand,
    services: Option<&'t Machine>,
    machines: Vec<&'t Machine>,
    columns: usize,
}

impl Board<'_> {
    fn width(&self) -> f64 {
        self.columns as f64 * (CARD.0 + GAP) + GAP
    }

    fn rows(&self) -> usize {
        self.machines.len().div_ceil(self.columns)
    }

    fn height(&self) -> f64 {
        let services = if self.services.is_some() {
            BAR + SERVICES_HEIGHT + 2.0 * GAP
        } else {
            0.0
        };
        HEAD + services + BAR + self.rows() as f64 * (CARD.1 + GAP) + GAP
    }
}

/// A site with its nodes, the services host's first.
struct Plot<'t> {
    name: &'t str,
    boards: Vec<Board<'t>>,
}

impl Plot<'_> {
    fn width(&self) -> f64 {
        GAP + self.boards.iter().map(|board| board.width() + GAP).sum::<f64>()
    }

    fn inner_height(&self) -> f64 {
        self.boards.iter().map(Board::height).fold(0.0, f64::max)
    }
}

/// What `okd-play topology --format svg` prints.
#[must_use]
pub fn picture(topology: &Topology) -> String {
    let plots = plots(topology);
    let tunnelled = topology.tunnelled();
    // The first one, the release, stands under the title.
    let facts: Vec<(&str, String)> = facts(topology)
        .into_iter()
        .skip(1)
        .map(|(name, value)| (name, value.replace("   ", " · ")))
        .collect();
    let figures = facts
        .iter()
        .map(|(_, value)| 96.0 + width(value, 12.0))
        .fold(0.0, f64::max);
    let widest = plots.iter().map(Plot::width).fold(figures, f64::max).max(640.0);
    let trunk = if tunnelled && plots.len() > 1 { TRUNK } else { 0.0 };
    let whole = widest + trunk + 2.0 * MARGIN;
    let mut svg = Svg::default();
    let domain = topology.domain().unwrap_or_default();
    svg.text((MARGIN, MARGIN + 18.0), "title", &domain);
    let kind = format!("OKD {} · {}", topology.release().text, topology.network_type());
    svg.text((MARGIN, MARGIN + 40.0), "sub", &kind);
    let outside = Area {
        x: MARGIN,
        y: MARGIN + 58.0,
        width: widest,
        height: BAR + 4.0,
    };
    outside_bar(&mut svg, outside, topology);
    let mut y = outside.bottom() + 28.0;
    let mut ends = Vec::new();
    for plot in &plots {
        let under = if tunnelled { BAR + 2.0 * GAP + 8.0 } else { GAP };
        let area = Area {
            x: MARGIN,
            y,
            width: widest,
            height: HEAD + plot.inner_height() + under,
        };
        site(&mut svg, area, plot, topology, outside.bottom());
        if tunnelled {
            ends.push(area.bottom() - GAP - BAR / 2.0);
        }
        y = area.bottom() + 24.0;
    }
    if let ([first, .., last], true) = (ends.as_slice(), trunk > 0.0) {
        let x = MARGIN + widest + TRUNK / 2.0;
        let right = MARGIN + widest - GAP;
        svg.line(
            &[(right, *first), (x, *first), (x, *last), (right, *last)],
            10.0,
            "joint",
        );
        for end in &ends[1..ends.len() - 1] {
            svg.line(&[(right, *end), (x, *end)], 0.0, "joint");
        }
    }
    for (name, value) in &facts {
        svg.text((MARGIN, y + 14.0), "fact", name);
        svg.text((MARGIN + 96.0, y + 14.0), "line", value);
        y += FACT;
    }
    svg.finish(&format!("The cluster {domain}"), whole, y + MARGIN, STYLE, "")
}

fn plots(topology: &Topology) -> Vec<Plot<'_>> {
    let home = topology.services.as_ref().map(|services| topology.place(services));
    let at_home = |stand: &Stand| {
        home.as_ref()
            .is_some_and(|home| home.site == stand.site && home.node == stand.name)
    };
    let stands = topology.stands();
    let mut plots: Vec<Plot<'_>> = topology
        .sites
        .iter()
        .map(|site| {
            let own = stands.iter().filter(|stand| stand.site == site.name.value);
            let mut boards: Vec<Board<'_>> = own
                .map(|stand| {
                    let machines: Vec<&Machine> = topology
                        .machines
                        .iter()
                        .filter(|machine| {
                            let place = topology.place(machine);
                            place.site == stand.site && place.node == stand.name
                        })
                        .collect();
                    let services = topology.services.as_ref().filter(|_| at_home(stand));
                    let least = if services.is_some() { 2 } else { 1 };
                    let columns = match machines.len() {
                        few @ 0..=3 => few.max(least),
                        4 if stands.len() > 1 => 2,
                        5..=6 if stands.len() > 1 => 3,
                        4 => 4,
                        _ => 5,
                    };
                    // Rows that are about equally long look better than a full one and a rest.
                    let rows = machines.len().div_ceil(columns).max(1);
                    let columns = machines.len().div_ceil(rows).max(least);
                    Board {
                        stand: stand.clone(),
                        services,
                        machines,
                        columns,
                    }
                })
                .collect();
            boards.sort_by_key(|board| board.services.is_none());
            Plot {
                name: &site.name.value,
                boards,
            }
        })
        .collect();
    plots.sort_by_key(|plot| plot.boards.iter().all(|board| board.services.is_none()));
    plots
}

fn outside_bar(svg: &mut Svg, area: Area, topology: &Topology) {
    svg.rect(area, 6.0, "outer");
    let text = match topology.public_ip() {
        Some(public) => format!("outside · {public} · {}", ports(&outside_ports())),
        None => format!("outside · {}", ports(&outside_ports())),
    };
    svg.fitted((area.x + 12.0, area.y + 18.0), "bar", &text, 12.0, area.width - 24.0);
}

fn site(svg: &mut Svg, area: Area, plot: &Plot<'_>, topology: &Topology, outside: f64) {
    svg.rect(area, 10.0, "site");
    svg.text(
        (area.x + GAP, area.y + 23.0),
        "site-name",
        &format!("site {}", plot.name),
    );
    let mut x = area.x + GAP;
    let top = area.y + HEAD;
    for board in &plot.boards {
        let own = Area {
            x,
            y: top,
            width: board.width(),
            height: plot.inner_height(),
        };
        node(svg, own, board, topology, outside);
        if let Some(vtep) = board.stand.vtep {
            let foot = own.bottom();
            let bar = area.bottom() - GAP - BAR;
            svg.line(&[(own.x + 30.0, foot), (own.x + 30.0, bar)], 0.0, "joint");
            svg.text((own.x + 40.0, foot + 17.0), "small", &format!("VTEP {vtep}"));
        }
        x = own.right() + GAP;
    }
    if !topology.tunnelled() {
        return;
    }
    let bar = Area {
        x: area.x + GAP,
        y: area.bottom() - GAP - BAR,
        width: area.width - 2.0 * GAP,
        height: BAR,
    };
    svg.rect(bar, 4.0, "tunnel");
    let (vni, port) = topology.vni_and_port();
    let underlay = plot
        .boards
        .first()
        .map_or(topology.underlay(), |board| board.stand.underlay_mtu);
    let text = format!(
        "VXLAN {vni} · UDP {port} · {} bytes on {underlay} between nodes",
        topology.tunnel_overhead()
    );
    svg.fitted((bar.x + 12.0, bar.y + 16.0), "bar", &text, 12.0, bar.width - 24.0);
}

fn node(svg: &mut Svg, area: Area, board: &Board<'_>, topology: &Topology, outside: f64) {
    svg.rect(area, 8.0, "node");
    svg.text((area.x + GAP, area.y + 22.0), "node-name", &board.stand.name);
    let sizes: Vec<_> = board
        .services
        .iter()
        .chain(&board.machines)
        .map(|machine| machine.size())
        .collect();
    let sum = format!(
        "{} cores · {} · {} GiB",
        sizes.iter().map(|size| size.0).sum::<u64>(),
        memory(sizes.iter().map(|size| size.1).sum()),
        sizes.iter().map(|size| size.2).sum::<u64>()
    );
    let head = (area.x + GAP + width(&board.stand.name, 13.0) + 14.0, area.y + 22.0);
    svg.text(head, "small", &sum);
    let mut y = area.y + HEAD;
    let inside = Area {
        x: area.x + GAP,
        y,
        width: area.width - 2.0 * GAP,
        height: BAR,
    };
    if let Some(services) = board.services {
        let x = inside.right() - 24.0;
        svg.line(&[(x, outside), (x, inside.y)], 0.0, "out");
        svg.rect(inside, 4.0, "outer");
        let bridge = topology
            .outer_bridge
            .as_ref()
            .map_or(OUTER_BRIDGE, |at| at.value.as_str());
        svg.text((inside.x + 12.0, inside.y + 16.0), "bar", bridge);
        let card = Area {
            y: inside.bottom() + GAP,
            height: SERVICES_HEIGHT,
            ..inside
        };
        svg.line(&[(card.middle(), inside.bottom()), (card.middle(), card.y)], 0.0, "out");
        svg.line(
            &[(card.middle(), card.bottom()), (card.middle(), card.bottom() + GAP)],
            0.0,
            "wire",
        );
        services_card(svg, card, services, topology);
        y = card.bottom() + GAP;
    }
    let bar = Area { y, ..inside };
    svg.rect(bar, 4.0, "inner");
    let network = topology
        .network
        .map(|at| format!("{}/{}", at.value.address, at.value.prefix));
    let text = format!(
        "{} · {} · MTU {}",
        board.stand.bridge,
        network.unwrap_or_default(),
        topology.node_mtu()
    );
    svg.fitted((bar.x + 12.0, bar.y + 16.0), "bar", &text, 12.0, bar.width - 24.0);
    machines(svg, bar, board, topology);
}

/// The machines in rows, each hanging on the bridge.
fn machines(svg: &mut Svg, bar: Area, board: &Board<'_>, topology: &Topology) {
    for (at, machine) in board.machines.iter().enumerate() {
        let (row, column) = (at / board.columns, at % board.columns);
        let card = Area {
            x: bar.x + column as f64 * (CARD.0 + GAP),
            y: bar.bottom() + GAP + row as f64 * (CARD.1 + GAP),
            width: CARD.0,
            height: CARD.1,
        };
        let above = card.y - GAP / 2.0;
        match row {
            0 => svg.line(&[(card.middle(), bar.bottom()), (card.middle(), card.y)], 0.0, "wire"),
            _ => {
                let spine = bar.x - GAP / 2.0;
                let points = [
                    (bar.x, bar.middle_y()),
                    (spine, bar.middle_y()),
                    (spine, above),
                    (card.middle(), above),
                    (card.middle(), card.y),
                ];
                svg.line(&points, 4.0, "wire");
            }
        }
        machine_card(svg, card, machine, topology);
    }
}

fn machine_card(svg: &mut Svg, card: Area, machine: &Machine, topology: &Topology) {
    frame(svg, card, machine, topology);
    let left = card.x + 16.0;
    let mut y = card.y + 40.0;
    for line in lines(machine, topology) {
        svg.fitted((left, y), line.0, &line.1, 12.0, card.width - 28.0);
        y += 18.0;
    }
    svg.close();
}

fn services_card(svg: &mut Svg, card: Area, machine: &Machine, topology: &Topology) {
    frame(svg, card, machine, topology);
    let left = card.x + 16.0;
    let mut y = card.y + 40.0;
    let mut all = lines(machine, topology);
    if let (Some(first), Some(public)) = (all.first_mut(), topology.public_ip()) {
        first.1 = format!("{} · outside {public}", first.1);
    }
    for (what, list) in [("inside", inside_ports(topology)), ("outside", outside_ports())] {
        let whole = format!("{what}: {}", ports(&list));
        let numbers: Vec<String> = list.iter().map(|(port, _)| port.to_string()).collect();
        let text = match width(&whole, 12.0) <= card.width - 28.0 {
            true => whole,
            false => format!("{what}: {}", numbers.join(", ")),
        };
        all.push(("line", text));
    }
    for line in all {
        svg.fitted((left, y), line.0, &line.1, 12.0, card.width - 28.0);
        y += 18.0;
    }
    svg.close();
}

fn frame(svg: &mut Svg, card: Area, machine: &Machine, topology: &Topology) {
    let name = machine.host_name().unwrap_or("?");
    svg.open(&format!("{name}.{}", topology.domain().unwrap_or_default()));
    svg.rect(card, 6.0, "card");
    svg.rect(Area { width: 6.0, ..card }, 3.0, machine.role.name());
    let role = match machine.vmid {
        Some(vmid) => format!("{} · {}", machine.role.name(), vmid.value),
        None => machine.role.name().to_owned(),
    };
    let role = if machine.role == Role::Services {
        "router, DNS, DHCP, balancer, files".to_owned()
    } else {
        role
    };
    let room = card.width - 40.0 - width(&role, 11.0);
    svg.fitted((card.x + 16.0, card.y + 21.0), "name", name, 14.0, room);
    svg.text((card.right() - 10.0, card.y + 20.0), "role", &role);
}

fn lines(machine: &Machine, topology: &Topology) -> Vec<(&'static str, String)> {
    let (cores, mib, gib) = machine.size();
    let ip = machine.ip.map_or_else(|| "?".to_owned(), |at| at.value.to_string());
    vec![
        ("line mono", ip),
        ("line mono", topology.mac(machine).unwrap_or_default()),
        ("line", format!("{cores} cores · {} · {gib} GiB", memory(mib))),
    ]
}
