//! What is drawn and listed of a cluster and of a graph: tables and data as their goldens say; pictures by their shapes, that
//! nothing is missing, overlaps or lies outside, and that lines begin and end at what they join.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod cases;

use cases::{Case, okd_play};
use std::path::Path;

#[test]
fn topologies_read_as_their_goldens() {
    let cases = Case::all("topology");
    assert!(cases.len() >= 4, "{} cases", cases.len());
    let mut wrong = Vec::new();
    for mut case in cases {
        let dir = tempfile::tempdir().unwrap();
        case.unpack(dir.path(), &["says"]);
        let mut said = String::new();
        for command in case.commands() {
            let output = okd_play(dir.path(), &command);
            said.push_str(&String::from_utf8([output.stdout, output.stderr].concat()).unwrap());
            said.push_str(&format!("exit {}\n", output.status.code().unwrap()));
        }
        wrong.extend(case.expect("says", &said).err());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Left, upper, right and lower edge.
type Edges = (f64, f64, f64, f64);

/// A picture, taken apart.
struct Shapes {
    text: String,
    size: (f64, f64),
}

impl Shapes {
    fn of(dir: &Path, command: &[&str]) -> Shapes {
        let command: Vec<String> = command.iter().map(|word| (*word).to_owned()).collect();
        let output = okd_play(dir, &command);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "{said}");
        let text = String::from_utf8(output.stdout).unwrap();
        let again = okd_play(dir, &command);
        assert_eq!(text.as_bytes(), again.stdout, "the same input gives the same bytes");
        let size = (number(&text, "width"), number(&text, "height"));
        Shapes { text, size }
    }

    /// The rectangles of a class.
    fn rects(&self, class: &str) -> Vec<Edges> {
        let own = format!("class=\"{class}\"");
        let lines = self
            .text
            .lines()
            .filter(|line| line.starts_with("<rect") && line.contains(&own));
        lines
            .map(|line| {
                let (x, y) = (number(line, "x"), number(line, "y"));
                (x, y, x + number(line, "width"), y + number(line, "height"))
            })
            .collect()
    }

    /// First and last points of the lines.
    fn ends(&self) -> Vec<((f64, f64), (f64, f64))> {
        let paths = self.text.lines().filter(|line| line.starts_with("<path d=\"M"));
        paths
            .map(|line| {
                let path = line.split('"').nth(1).unwrap();
                let numbers: Vec<f64> = path
                    .split(|c: char| !(c.is_ascii_digit() || c == '.' || c == '-'))
                    .filter_map(|word| word.parse().ok())
                    .collect();
                let last = numbers.len() - 2;
                ((numbers[0], numbers[1]), (numbers[last], numbers[last + 1]))
            })
            .collect()
    }

    fn holds(&self, words: &[&str]) {
        for word in words {
            assert!(self.text.contains(word), "{word} is not in the picture");
        }
    }

    /// Nothing outside, and no two of them in each other's way.
    fn apart(&self, rects: &[Edges]) {
        for (at, one) in rects.iter().enumerate() {
            assert!(
                one.0 >= 0.0 && one.1 >= 0.0 && one.2 <= self.size.0 && one.3 <= self.size.1,
                "{one:?} is outside"
            );
            for other in &rects[at + 1..] {
                let apart = one.2 <= other.0 || other.2 <= one.0 || one.3 <= other.1 || other.3 <= one.1;
                assert!(apart, "{one:?} and {other:?} overlap");
            }
        }
    }
}

fn number(text: &str, name: &str) -> f64 {
    let begin = format!(" {name}=\"");
    let rest = &text[text.find(&begin).unwrap() + begin.len()..];
    rest[..rest.find('"').unwrap()].parse().unwrap()
}

/// Whether a point lies on the edge of a rectangle.
fn touches(point: (f64, f64), rect: &Edges) -> bool {
    let inside =
        rect.0 - 0.2 <= point.0 && point.0 <= rect.2 + 0.2 && rect.1 - 0.2 <= point.1 && point.1 <= rect.3 + 0.2;
    let near = |one: f64, other: f64| (one - other).abs() < 0.2;
    let edge = near(point.0, rect.0) || near(point.0, rect.2) || near(point.1, rect.1) || near(point.1, rect.3);
    inside && edge
}

#[test]
fn a_cluster_is_drawn_with_every_machine_on_its_node() {
    let dir = tempfile::tempdir().unwrap();
    let sites = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/topology/sites.txt");
    Case::read(&sites).unpack(dir.path(), &["says"]);
    let shapes = Shapes::of(dir.path(), &["topology", "-i", "inventory", "--format", "svg"]);
    shapes.holds(&[
        "site paris",
        "site lyon",
        "pve1",
        "pve2",
        "pve3",
        "VXLAN 77",
        "vmbr7 · 10.0.0.0/23 · MTU 1546",
    ]);
    shapes.holds(&[
        "master1",
        "10.0.0.2",
        "52:54:00:aa:00:05",
        "worker · 501",
        "203.0.113.10",
        "VTEP 198.51.100.11",
    ]);
    let (cards, nodes) = (shapes.rects("card"), shapes.rects("node"));
    assert_eq!((cards.len(), nodes.len()), (3, 3));
    shapes.apart(&cards);
    shapes.apart(&nodes);
    for card in &cards {
        let holds = |node: &&Edges| node.0 < card.0 && card.2 < node.2 && node.1 < card.1 && card.3 < node.3;
        assert!(nodes.iter().any(|node| holds(&node)), "{card:?} is on no node");
    }
}

const SITE: &str = r#"
- name: Hypervisor
  hosts: localhost
  gather_facts: false
  tasks:
    - {name: Preflight <&> look, debug: {msg: x}, register: pre}
    - {name: Bridge, debug: {msg: x}}
    - {name: A name that is so long that it cannot stand in any box of a picture without being cut, debug: {msg: "{{ pre.msg }}"}}
    - {name: Machines, debug: {msg: x}, needs: [Bridge]}
- name: Services
  hosts: services
  gather_facts: false
  needs: [Bridge]
  tasks:
    - {name: Packages, debug: {msg: x}, changed_when: true, notify: Reboot}
    - parallel: true
      block:
        - {name: named, debug: {msg: x}}
        - {name: dhcpd, debug: {msg: x}, notify: Reboot}
        - {name: nginx, debug: {msg: x}}
        - {name: haproxy, debug: {msg: x}}
    - block: [{name: Risky, debug: {msg: x}}]
      rescue: [{name: Put back, debug: {msg: x}}]
  handlers:
    - {name: Reboot, debug: {msg: x}}
- name: Long
  hosts: services
  gather_facts: false
  tasks:
    - import_tasks: many.yml
- name: Nodes
  hosts: nodes
  gather_facts: false
  needs: [Machines, Services]
  tasks:
    - {name: Start, debug: {msg: x}}
    - {name: Kubelet, debug: {msg: x}}
- {name: Verify, hosts: localhost, gather_facts: false, tasks: [{name: Look, debug: {msg: x}}]}
- {name: Report, hosts: services, gather_facts: false, tasks: [{name: Write, debug: {msg: x}}]}
"#;

#[test]
fn a_graph_is_drawn_with_every_step_and_lines_between_them() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    write("site.yml", SITE);
    let many: Vec<String> = (1..=40)
        .map(|at| format!("- {{name: Step {at}, debug: {{msg: x}}}}\n"))
        .collect();
    write("many.yml", &many.concat());
    write("inventory", "services ansible_connection=local\n[nodes]\nn[1:5]\n");
    let shapes = Shapes::of(dir.path(), &["graph", "site.yml", "-i", "inventory", "--format", "svg"]);
    shapes.holds(&[
        "Preflight &lt;&amp;&gt; look",
        "Long, continued",
        "5 hosts: n1, n2",
        "6 plays, 7 hosts, 63 steps",
    ]);
    shapes.holds(&[
        "is needed by",
        "when it fails",
        "gives its result to",
        "notifies when it changes",
    ]);
    let (steps, lanes) = (
        shapes.rects("step"),
        (0..6).flat_map(|tint| shapes.rects(&format!("lane h{tint}"))),
    );
    assert_eq!(steps.len(), 4 + 7 + 40 + 2 + 1 + 1);
    let boxes = [steps, shapes.rects("handler")].concat();
    shapes.apart(&boxes);
    shapes.apart(&lanes.collect::<Vec<_>>());
    let legend = 5;
    let ends = shapes.ends();
    assert!(ends.len() > boxes.len() / 2, "{} lines", ends.len());
    for (from, to) in &ends[..ends.len() - legend] {
        let joined = |point| boxes.iter().any(|one| touches(point, one));
        assert!(
            joined(*from) && joined(*to),
            "a line from {from:?} to {to:?} joins nothing"
        );
    }
}
