//! Snapshots: events in, text out, with labels in the place of colours.

#![allow(clippy::unwrap_used, clippy::panic)]

use super::theme::{Ink, Theme};
use super::writer::Writer;
use super::*;
use crate::run::Counts;
use okd_agent::diff::{self, Change, Sign};
use okd_agent::resource::Failure;
use okd_agent::system::Answer;
use okd_agent::value::map;
use std::io::Write;
use std::sync::{Arc, Mutex};

/// A result with everything empty that can be.
pub(crate) fn result(host: &str, task: &str, status: StepStatus) -> StepResult {
    StepResult {
        pass: Pass::Plan,
        host: host.to_owned(),
        delegated: None,
        play: "Services".to_owned(),
        task: task.to_owned(),
        module: "copy".to_owned(),
        place: "services.yaml:1:1".to_owned(),
        path: task.to_owned(),
        item: None,
        tags: Vec::new(),
        handler: None,
        status,
        show_diff: true,
        diff: Vec::new(),
        msg: String::new(),
        notes: Vec::new(),
        failure: None,
        origins: Vec::new(),
        stand: None,
        result: Value::Map(map([("changed", (status == StepStatus::Changed).into())])),
        notifies: Vec::new(),
        by: None,
        repeated: false,
        seconds: 0.25,
        trace: event::Trace::default(),
    }
}

/// What a report wrote.
#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Buffer {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

struct Bench {
    report: Report,
    out: Buffer,
    err: Buffer,
}

fn bench(format: Format, ink: Ink, width: Option<usize>) -> Bench {
    let settings = Settings {
        format,
        colour: false,
        live: false,
        diff: true,
        full: width.is_none(),
        verbose: 0,
        check: false,
        undoes: None,
        quiet: false,
        playbook: PathBuf::from("playbooks/services.yaml"),
        again: vec!["-i".to_owned(), "lab/".to_owned()],
    };
    let theme = Theme {
        ink,
        unicode: true,
        width,
    };
    let (out, err) = (Buffer::default(), Buffer::default());
    let writer = Writer::into(Box::new(out.clone()), Box::new(err.clone()));
    Bench {
        report: Report::with(settings, theme, writer),
        out,
        err,
    }
}

impl Bench {
    fn begin(&mut self, pass: Pass, hosts: &[&str]) {
        let hosts = hosts.iter().map(|host| ((*host).to_owned(), 4)).collect();
        self.report.event(Event::Begin { pass, hosts });
    }

    fn result(&mut self, result: StepResult) {
        self.report.event(Event::Result(Box::new(result)));
    }

    fn end(&mut self, pass: Pass) {
        self.report.event(Event::End {
            pass,
            seconds: 1.0,
            cancelled: false,
        });
    }
}

fn outcome(counts: &[(&str, Counts)]) -> Outcome {
    Outcome {
        counts: counts
            .iter()
            .map(|(host, counts)| ((*host).to_owned(), *counts))
            .collect(),
        ..Outcome::default()
    }
}

fn item(text: &str) -> Change {
    Change::Item {
        sign: Sign::Added,
        text: text.to_owned(),
    }
}

fn field(of: &str, name: &str, before: &str, after: &str) -> Change {
    Change::Field {
        of: of.to_owned(),
        name: name.to_owned(),
        before: before.to_owned(),
        after: after.to_owned(),
    }
}

fn chrony() -> Vec<Change> {
    let old = "# clock\npool 2.centos.pool.ntp.org iburst\n";
    let new = "# clock\nserver 10.0.0.1 iburst\n";
    let mut changes: Vec<Change> = diff::text("/etc/chrony.conf", Some(old.as_bytes()), Some(new.as_bytes()), "")
        .into_iter()
        .collect();
    changes.push(field("/etc/chrony.conf", "mode", "0600", "0644"));
    changes
}

fn zone(lines: usize) -> Change {
    let text: String = (1..=lines)
        .map(|number| format!("node{number} IN A 10.0.0.{number}\n"))
        .collect();
    diff::text("/var/named/okd.zone", None, Some(text.as_bytes()), "0640 root:named").unwrap()
}

/// Three hosts: packages on one, the clock on all of them, one unknown, services that follow.
fn plan(bench: &mut Bench) {
    bench.begin(Pass::Plan, &["services", "edge", "web"]);
    for host in ["web", "services", "edge"] {
        if host == "services" {
            let packages = StepResult {
                module: "dnf".to_owned(),
                diff: vec![item("bind 9.16.23"), item("haproxy 2.4.22"), item("nginx 1.20.1")],
                ..result(host, "packages", StepStatus::Changed)
            };
            bench.result(packages);
        }
        bench.result(result(host, "ping", StepStatus::Ok));
        bench.result(StepResult {
            diff: chrony(),
            ..result(host, "clock", StepStatus::Changed)
        });
    }
    bench.result(StepResult {
        module: "named".to_owned(),
        diff: vec![zone(30), field("named", "state", "stopped", "started")],
        ..result("services", "DNS", StepStatus::Changed)
    });
    bench.result(StepResult {
        msg: "edits /etc/nginx/nginx.conf, which package nginx brings".to_owned(),
        ..result("services", "nginx on 8080", StepStatus::Unknown)
    });
    for host in ["services", "edge", "web"] {
        bench.result(StepResult {
            diff: vec![Change::Act("restart chronyd".to_owned())],
            handler: Some(vec!["clock".to_owned()]),
            ..result(host, "chronyd", StepStatus::Changed)
        });
    }
    bench.end(Pass::Plan);
    let counts = |changed, unknown| Counts {
        changed,
        unknown,
        ok: 1,
        ..Counts::default()
    };
    let planned = outcome(&[
        ("services", counts(4, 1)),
        ("edge", counts(2, 0)),
        ("web", counts(2, 0)),
    ]);
    bench.report.plan(&planned);
}

#[test]
fn a_plan_shows_equal_diffs_once_and_says_what_is_unknown() {
    let mut bench = bench(Format::Text, Ink::Names, Some(90));
    plan(&mut bench);
    let expected = "\
<host>services</>  packages                                                         <dim>services.yaml:1</>
  <added>+ bind 9.16.23</>  <added>+ haproxy 2.4.22</>  <added>+ nginx 1.20.1</>                                     <dim>dnf</>

<host>services, edge, web</>  clock                                                 <dim>services.yaml:1</>
  <path>/etc/chrony.conf</>   mode <removed>0600</><dim> → </><added>0644</>
    <hunk>@@ -1,2 +1,2 @@</>
     # clock
    <removed>-pool 2.centos.pool.ntp.org iburst</>
    <added>+server 10.0.0.1 iburst</>

<host>services</>  DNS                                                              <dim>services.yaml:1</>
  <path>/var/named/okd.zone</>   <dim>new</>   <dim>0640 root:named</>   <dim>30 lines</>
";
    let text = bench.out.text();
    let (start, rest) = text.split_at(text.find("    <added>+node1 ").unwrap());
    assert_eq!(start, expected);
    let expected = "\x20   <added>+node20 IN A 10.0.0.20</>
<dim>    …  10 more lines (--full)</>
  <path>named</>   state <removed>stopped</><dim> → </><added>started</>

<host>services</>  nginx on 8080                                                    <dim>services.yaml:1</>
  <unknown>? unknown until applied: edits /etc/nginx/nginx.conf, which package nginx brings</>

<host>services, edge, web</>  chronyd                                               <dim>services.yaml:1</>
  <changed>restart chronyd</>

<host>services</><changed>  will start named; restart chronyd (clock)</>
<host>edge, web</><changed>  will restart chronyd (clock)</>

<title>Plan</>      <host>services</> 4 to change, 1 unknown, 1 same     <host>edge, web</> 2 to change, 1 same
";
    assert_eq!(&rest[rest.find("    <added>+node20 ").unwrap()..], expected);
    assert!(
        bench
            .err
            .text()
            .contains("services.yaml   3 hosts, 12 steps   planning")
    );
}

#[test]
fn without_colours_and_without_a_terminal_nothing_is_lost() {
    let mut plain = bench(Format::Text, Ink::None, None);
    plan(&mut plain);
    let mut coloured = bench(Format::Text, Ink::Colour, None);
    plan(&mut coloured);
    let plain = plain.out.text();
    assert!(plain.contains("+node30 IN A 10.0.0.30") && !plain.contains('\u{1b}'));
    let coloured = coloured.out.text();
    assert!(coloured.contains("\u{1b}[32m+server 10.0.0.1 iburst\u{1b}[0m"));
    let stripped = anstream::adapter::strip_str(&coloured).to_string();
    assert_eq!(stripped, plain);
}

#[test]
fn forty_columns_are_enough() {
    use unicode_width::UnicodeWidthStr;
    let mut bench = bench(Format::Text, Ink::None, Some(40));
    plan(&mut bench);
    let text = bench.out.text();
    let long: Vec<&str> = text.lines().filter(|line| line.width() > 40).collect();
    assert!(long.is_empty(), "{long:#?}");
    assert!(
        text.contains("services, edge, web  clock\n  services.yaml:1\n"),
        "{text}"
    );
    assert!(
        text.contains("Plan\n  services\n    4 to change, 1 unknown, 1 same\n"),
        "{text}"
    );
    assert!(
        text.contains("  ? unknown until applied: edits\n  /etc/nginx/nginx.conf, which package\n"),
        "{text}"
    );
}

#[test]
fn no_diff_names_the_files_and_keeps_their_lines_back() {
    let mut bench = bench(Format::Text, Ink::None, None);
    bench.report.settings.diff = false;
    plan(&mut bench);
    let text = bench.out.text();
    assert!(text.contains("/etc/chrony.conf") && !text.contains("iburst"), "{text}");
}

fn refused(host: &str) -> StepResult {
    let failure = Failure {
        message: "haproxy refused the new configuration".to_owned(),
        argv: ["haproxy", "-c", "-f", "/run/a file"].map(str::to_owned).to_vec(),
        answer: Some(Answer {
            rc: 1,
            stderr: b"[haproxy.cfg:31] : unknown keyword 'blance'\n  31 |     blance roundrobin\n".to_vec(),
            ..Answer::default()
        }),
        journal: vec!["haproxy[7]: exiting".to_owned()],
        kept: "the old one is in place and running".to_owned(),
        ..Failure::default()
    };
    StepResult {
        pass: Pass::Apply,
        tags: vec!["always".to_owned(), "haproxy".to_owned()],
        msg: failure.message.clone(),
        failure: Some(Box::new(failure)),
        module: "haproxy".to_owned(),
        ..result(host, "load balancer", StepStatus::Failed)
    }
}

/// What the plan showed is a line, what it did not know comes with its diff, a failure has its block.
fn apply(bench: &mut Bench) -> Outcome {
    bench.begin(Pass::Apply, &["services", "edge", "web"]);
    for host in ["services", "edge", "web"] {
        bench.result(StepResult {
            pass: Pass::Apply,
            diff: chrony(),
            seconds: 2.4,
            ..result(host, "clock", StepStatus::Changed)
        });
    }
    bench.result(StepResult {
        pass: Pass::Apply,
        repeated: true,
        ..result("services", "ping", StepStatus::Ok)
    });
    bench.result(StepResult {
        pass: Pass::Apply,
        diff: vec![field("/etc/nginx/nginx.conf", "mode", "0600", "0644")],
        ..result("services", "nginx on 8080", StepStatus::Changed)
    });
    bench.result(refused("services"));
    for task in ["pools", "web root"] {
        bench.result(StepResult {
            pass: Pass::Apply,
            by: Some(("load balancer".to_owned(), "services".to_owned())),
            ..result("services", task, StepStatus::Blocked)
        });
    }
    bench.result(StepResult {
        pass: Pass::Apply,
        msg: "no route to the mirror".to_owned(),
        ..result("web", "mirror", StepStatus::Ignored)
    });
    bench.end(Pass::Apply);
    let counts = Counts {
        ok: 1,
        ..Counts::default()
    };
    outcome(&[
        (
            "services",
            Counts {
                changed: 12,
                failed: 1,
                blocked: 2,
                ..counts
            },
        ),
        ("edge", Counts { changed: 1, ..counts }),
        (
            "web",
            Counts {
                changed: 1,
                ignored: 1,
                ..counts
            },
        ),
    ])
}

#[test]
fn an_apply_tells_what_was_done_and_everything_of_a_failure() {
    let mut bench = bench(Format::Text, Ink::None, Some(90));
    plan(&mut bench);
    let planned = bench.out.text().len();
    let done = apply(&mut bench);
    let expected = "
✓ services  clock  2.4 s                                                   services.yaml:1
✓ edge  clock  2.4 s                                                       services.yaml:1
✓ web  clock  2.4 s                                                        services.yaml:1
✓ services  nginx on 8080                                                  services.yaml:1
  /etc/nginx/nginx.conf   mode 0600 → 0644
! web  mirror  failed, ignored                                             services.yaml:1
    no route to the mirror

✗ services  load balancer                                                  services.yaml:1
  haproxy refused the new configuration; the old one is in place and running
  Command        haproxy -c -f '/run/a file'   exit code 1
    [haproxy.cfg:31] : unknown keyword 'blance'
      31 |     blance roundrobin
  Journal
    │ haproxy[7]: exiting
  Blocked by it  2 steps on services; edge, web went on.
  Only this      okd-play run playbooks/services.yaml -i lab/ --limit services --tags haproxy
";
    assert_eq!(&bench.out.text()[planned..], expected);
    let told = bench.out.text().len();
    bench.report.seconds = [("services", 5.81), ("edge", 0.9), ("web", 64.0)]
        .map(|(host, seconds)| (host.to_owned(), seconds))
        .into();
    bench.report.recap(&done, true);
    let expected = "
services   12 changed   1 same   0 ignored   1 failed   2 blocked   5.8 s
edge        1 changed   1 same   0 ignored   0 failed   0 blocked   0.9 s
web         1 changed   1 same   1 ignored   0 failed   0 blocked   64 s
";
    assert_eq!(&bench.out.text()[told..], expected);
}

#[test]
fn a_failure_of_many_hosts_is_told_once_and_without_a_tag_the_way_on_is_named() {
    let mut bench = bench(Format::Text, Ink::None, None);
    let hosts: Vec<String> = (0..12).map(|number| format!("n{number}")).collect();
    let names: Vec<&str> = hosts.iter().map(String::as_str).collect();
    bench.begin(Pass::Plan, &names);
    for host in &hosts {
        let failure = Failure {
            message: "no such group".to_owned(),
            ..Failure::default()
        };
        bench.result(StepResult {
            failure: Some(Box::new(failure)),
            ..result(host, "it's here", StepStatus::Failed)
        });
    }
    bench.report.plan(&outcome(&[]));
    let text = bench.out.text();
    assert_eq!(text.matches('✗').count(), 1, "{text}");
    assert!(
        text.contains(r"--limit n0,n1,n2,n3,n4,n5,n6,n7,n8,n9,n10,n11 --start-at-task 'it'\''s here'"),
        "{text}"
    );
}

#[test]
fn verbose_tells_what_is_the_same_and_what_each_step_gave() {
    let mut bench = bench(Format::Text, Ink::None, None);
    bench.report.settings.verbose = 1;
    plan(&mut bench);
    let text = bench.out.text();
    assert!(text.contains("services, edge, web  ping"), "{text}");
    assert!(text.contains("  same\n  => {\"changed\":false}\n"), "{text}");
}

#[test]
fn junit_is_well_formed_and_has_each_step_once() {
    let mut bench = bench(Format::Junit, Ink::None, None);
    plan(&mut bench);
    let done = apply(&mut bench);
    bench.result(StepResult {
        pass: Pass::Apply,
        ..result("edge", "a <b> & \"c\" \u{1b}", StepStatus::Skipped)
    });
    bench.report.recap(&done, true);
    let text = bench.out.text();
    let tags = well_formed(&text);
    assert_eq!(tags.iter().filter(|tag| *tag == "testsuite").count(), 3);
    assert!(
        text.contains("name=\"services\" tests=\"9\" failures=\"1\" errors=\"0\" skipped=\"2\""),
        "{text}"
    );
    assert!(
        text.contains("name=\"a &lt;b&gt; &amp; &quot;c&quot; \u{fffd}\""),
        "{text}"
    );
    assert!(text.contains("unknown keyword 'blance'"), "{text}");
    assert_eq!(tags.iter().filter(|tag| *tag == "testcase").count(), 9 + 4 + 4);
}

/// The names of all elements, in order. Fails where tags do not nest or a character has no place in XML.
fn well_formed(text: &str) -> Vec<String> {
    let body = text
        .strip_prefix("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n")
        .unwrap();
    let (mut all, mut open): (Vec<String>, Vec<String>) = Default::default();
    let mut rest = body;
    while let Some(at) = rest.find('<') {
        let inside = &rest[..at];
        assert!(!inside.contains('>'), "{inside}");
        for reference in inside.split('&').skip(1) {
            assert!(
                ["amp;", "lt;", "gt;", "quot;"]
                    .iter()
                    .any(|name| reference.starts_with(name)),
                "{reference}"
            );
        }
        let end = at + rest[at..].find('>').unwrap();
        let tag = &rest[at + 1..end];
        match tag.strip_prefix('/') {
            Some(name) => assert_eq!(open.pop().as_deref(), Some(name)),
            None => {
                let name = tag.split([' ', '/']).next().unwrap().to_owned();
                assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
                all.push(name.clone());
                if !tag.ends_with('/') {
                    open.push(name);
                }
            }
        }
        rest = &rest[end + 1..];
    }
    assert!(open.is_empty() && rest.trim().is_empty(), "{open:?} {rest}");
    assert!(!text.chars().any(|c| c.is_control() && c != '\n' && c != '\t'));
    all
}

#[test]
fn json_has_what_the_language_says_and_a_summary_last() {
    let mut bench = bench(Format::Json, Ink::None, None);
    plan(&mut bench);
    let done = apply(&mut bench);
    bench.report.recap(&done, true);
    let lines: Vec<serde_json::Value> = bench
        .out
        .text()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let (last, results) = lines.split_last().unwrap();
    for line in results {
        let keys: Vec<&String> = line.as_object().unwrap().keys().collect();
        let expected = [
            "event", "pass", "host", "play", "task", "module", "path", "item", "status", "diff", "msg", "result",
        ];
        assert_eq!(keys[..12], expected, "{line}");
        assert_eq!(line["event"], "result");
        assert_eq!(line["path"], "services.yaml:1:1");
    }
    let pings = results
        .iter()
        .filter(|line| line["task"] == "ping" && line["host"] == "services");
    assert_eq!(
        pings.map(|line| line["pass"].as_str().unwrap()).collect::<Vec<_>>(),
        ["plan"]
    );
    assert_eq!(last["event"], "summary");
    assert_eq!(last["hosts"]["services"]["changed"], 12);
    assert_eq!(last["hosts"]["services"].as_object().unwrap().len(), 10);
    assert!(last["elapsed_s"].is_number());
    assert!(bench.err.text().is_empty());
}

#[test]
fn a_secret_that_slipped_into_events_is_in_no_output() {
    let poison = "sup3r-p0ison/w0rd&more";
    scrub::know(&okd_agent::secret::Secret::new(poison));
    for format in [Format::Text, Format::Json, Format::Junit] {
        let mut bench = bench(format, Ink::None, None);
        bench.report.settings.verbose = 3;
        bench.begin(Pass::Plan, &["services"]);
        let mut leaky = refused("services");
        leaky.pass = Pass::Plan;
        leaky.msg = format!("said {poison}");
        leaky.result = Value::Map(map([("stdout", poison.into())]));
        leaky.diff = vec![item(poison)];
        if let Some(failure) = &mut leaky.failure {
            failure.message = format!("said {poison}");
            failure.journal.push(format!("login with {poison}"));
        }
        bench.result(leaky);
        bench.result(StepResult {
            diff: vec![diff::text("/etc/x", None, Some(format!("key={poison}\n").as_bytes()), "").unwrap()],
            item: Some(poison.to_owned()),
            ..result("services", "file", StepStatus::Changed)
        });
        bench.report.event(Event::Note {
            text: poison.to_owned(),
        });
        let text = poison.to_owned();
        bench.report.event(Event::Waiting {
            host: "services".to_owned(),
            task: "x".to_owned(),
            text,
            limit: None,
        });
        bench.end(Pass::Plan);
        let counts = Counts {
            changed: 1,
            failed: 1,
            ..Counts::default()
        };
        bench.report.plan(&outcome(&[("services", counts)]));
        bench.report.recap(&outcome(&[("services", counts)]), false);
        let (out, err) = (bench.out.text(), bench.err.text());
        assert!(out.contains(scrub::HIDDEN), "{out}");
        assert!(
            !out.contains("p0ison") && !err.contains("p0ison"),
            "{format:?} {out} {err}"
        );
    }
}
