//! What a host remembers of earlier runs: handlers that are owed, and what has changed or left the playbook since.

use okd_tests::{Flavour, Host, Lab, Play, Run, until};

/// A unit that tells how often it was started, and with what.
const UNIT: &str =
    "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/sh -c 'cat /etc/toy.conf >> /srv/started'\n";

/// A file, a handler for it, and a step in between.
fn tasks(content: &str, between: &str) -> String {
    format!(
        "    - name: Config\n      copy: {{dest: /etc/toy.conf, content: \"{content}\\n\"}}\n      notify: Restart toy\n    \
         - name: Between\n      {between}\n      changed_when: false\n  \
         handlers:\n    - name: Restart toy\n      service: {{name: toy, state: restarted}}\n"
    )
}

const WAITS: &str = "shell: touch /srv/began; while [ ! -e /srv/go ]; do sleep 0.1; done";

fn toy(lab: &Lab) -> Host<'_> {
    let host = lab.host("host", "10.77.1.21", Flavour::Debian);
    host.put("/etc/systemd/system/toy.service", UNIT.as_bytes());
    host.sh("touch /etc/toy.conf /srv/started; systemctl daemon-reload; systemctl start toy");
    host
}

fn play<'lab>(lab: &'lab Lab, content: &str, between: &str) -> Play<'lab> {
    Play::tasks(lab, &tasks(content, between))
}

/// The handler is owed and runs, the reason is said, and nothing is left to do then.
fn made_good(host: &Host<'_>, play: &Play<'_>, transport: &str) {
    assert_eq!(
        host.read("/srv/started"),
        "",
        "it was not started with the new file yet"
    );
    let plan = play
        .run(&["--check", "--exit-code", "--transport", transport])
        .ended(10);
    assert_eq!(plan.status("plan", "host", "Config"), "ok", "{plan}");
    assert_eq!(plan.status("plan", "host", "Restart toy"), "changed", "{plan}");
    plan.says("UTC: \"Config\" had changed, and this did not run");
    play.apply(&["--transport", transport]);
    assert_eq!(host.read("/srv/started"), "new\n");
    play.converged(&["--transport", transport]);
    assert_eq!(host.read("/srv/started"), "new\n", "it was restarted once more");
}

fn killed(transport: &str) {
    let lab = Lab::up();
    let host = toy(&lab);
    let cut = play(&lab, "new", WAITS);
    let mut run = cut.start(&["--yes", "--transport", transport]);
    until("the step between runs", 60, || host.has("/srv/began").then_some(()));
    run.kill();
    host.sh("pkill -KILL -f 'okd-play/[a]gent-' || true; touch /srv/go");
    made_good(&host, &play(&lab, "new", "ping:"), transport);
}

#[test]
fn the_handler_of_a_run_that_was_killed_runs_in_the_next_by_the_agent() {
    killed("agent");
}

#[test]
fn the_handler_of_a_run_that_was_killed_runs_in_the_next_by_plain_ssh() {
    killed("ssh");
}

#[test]
fn the_handler_of_a_run_that_failed_runs_in_the_next_that_gets_so_far() {
    let lab = Lab::up();
    let host = toy(&lab);
    let broken = play(&lab, "new", "command: /bin/false");
    broken.run(&["--yes"]).ended(1);
    // It fails before the handler again, and owes it still.
    broken.run(&["--yes"]).ended(1);
    made_good(&host, &play(&lab, "new", "ping:"), "agent");
}

/// What drift found on a host, as `WHAT NAME`: the thing's name, else the step's.
fn found(run: &Run) -> Vec<String> {
    let drift = run.events.iter().filter(|event| event["event"] == "drift");
    let named = drift.map(|event| {
        let thing = event["thing"]["name"].as_str();
        format!(
            "{} {}",
            event["what"].as_str().unwrap(),
            thing.unwrap_or(event["task"].as_str().unwrap())
        )
    });
    named.collect()
}

/// What the host remembers, byte for byte.
fn remembered(host: &Host<'_>) -> String {
    host.sh("cd /var/lib/okd-play/ledger && stat -c '%n %a %U %y' . * && cat *")
}

const MANAGED: &str = r#"
    - name: Config
      copy: {dest: /etc/toy.conf, content: "one\ntwo\n", mode: "0644"}
    - name: Line
      lineinfile: {path: /etc/hosts, line: 192.0.2.1 elsewhere}
    - name: User
      user: {name: keeper, shell: /bin/sh}
"#;

fn drifts(transport: &str) {
    let lab = Lab::up();
    let host = lab.host("host", "10.77.1.21", Flavour::Debian);
    let play = Play::tasks(&lab, MANAGED);
    let words = ["--transport", transport];
    play.drift(&words).ended(0);
    assert!(!host.has("/var/lib/okd-play/ledger"), "drift wrote something");
    play.apply(&words);
    let kept = remembered(&host);
    assert!(
        kept.starts_with(". 700 root") && kept.contains("things 600 root"),
        "{kept}"
    );
    play.converged(&words);
    play.run(&["--check", "--transport", transport]).ended(0);
    let same = play.drift(&words).ended(0);
    assert_eq!(found(&same), Vec::<String>::new(), "{same}");
    assert_eq!(
        remembered(&host),
        kept,
        "a converged run, a check and drift write nothing"
    );

    host.sh("echo mine >> /etc/toy.conf; sed -i '/elsewhere/d' /etc/hosts");
    let run = play.drift(&words).ended(10);
    assert_eq!(found(&run), ["changed Config", "changed Line"], "{run}");
    run.says("-mine");
    assert_eq!(
        host.read("/etc/toy.conf"),
        "one\ntwo\nmine\n",
        "drift changed something"
    );
    play.drift(&[&words[..], &["--output", "text"]].concat())
        .ended(10)
        .says("left by okd-play on 2");
    let plan = play.run(&["--check", "--transport", transport]).ended(0);
    plan.says("it was changed since okd-play left it on 2");

    // What the playbook wants otherwise is no drift, until somebody else touches it too.
    play.apply(&words);
    play.put(
        "play.yaml",
        &format!(
            "- hosts: all\n  gather_facts: false\n  tasks:{}",
            MANAGED.replace("two", "three")
        ),
    );
    let run = play.drift(&words).ended(0);
    assert_eq!(found(&run), ["pending Config"], "{run}");
    host.sh("echo mine >> /etc/toy.conf");
    assert_eq!(found(&play.drift(&words).ended(10)), ["changed Config"]);
}

#[test]
fn what_was_changed_by_hand_is_told_with_its_diff_by_the_agent() {
    drifts("agent");
}

#[test]
fn what_was_changed_by_hand_is_told_with_its_diff_by_plain_ssh() {
    drifts("ssh");
}

#[test]
fn what_an_undo_took_back_is_no_drift_until_somebody_touches_it() {
    let lab = Lab::up();
    let host = lab.host("host", "10.77.1.21", Flavour::Debian);
    let site = |text: &str| format!("- hosts: all\n  gather_facts: false\n  tasks:{text}");
    let play = Play::tasks(&lab, MANAGED);
    play.apply(&[]);
    play.put(
        "play.yaml",
        &site(&MANAGED.replace("two", "three").replace("/bin/sh", "/bin/bash")),
    );
    play.apply(&[]);
    let last = play.runs()[0]["id"].as_str().unwrap().to_owned();
    play.okd(&["undo", &last, "--yes"]).ended(0);
    assert_eq!(host.read("/etc/toy.conf"), "one\ntwo\n");
    let run = play.drift(&[]).ended(0);
    assert_eq!(found(&run), ["pending Config", "pending User"], "{run}");
    host.sh("echo mine >>/etc/toy.conf");
    assert_eq!(found(&play.drift(&[]).ended(10)), ["changed Config", "pending User"]);
    host.sh("sed -i '/mine/d' /etc/toy.conf");
    play.put("play.yaml", &site(MANAGED));
    assert_eq!(found(&play.drift(&[]).ended(0)), Vec::<String>::new());

    let first = play.runs()[2]["id"].as_str().unwrap().to_owned();
    play.okd(&["undo", &first, "--yes"]).ended(0);
    assert!(!host.has("/etc/toy.conf"));
    let run = play.drift(&[]).ended(0);
    assert_eq!(found(&run), ["pending Config", "pending Line", "pending User"], "{run}");
}

const LEAVES: &str = r#"
    - name: Folder
      file: {path: /srv/okd/deep, state: directory}
    - name: File
      copy: {dest: /srv/okd/deep/file, content: "x\n"}
    - name: Full
      file: {path: /srv/full, state: directory}
    - name: There before
      copy: {dest: /etc/there, content: "ours\n"}
    - name: Unit
      okd.unit: {name: ours, content: "[Service]\nExecStart=/bin/sleep 1000\n"}
    - name: It runs
      shell: systemctl start ours
      changed_when: false
    - name: User
      user: {name: keeper}
    - name: Switched off
      copy: {dest: "/srv/{{ kind }}", content: "x\n"}
      when: wanted | default(true)
      vars: {kind: optional}
    - name: Removed by hand
      copy: {dest: /srv/gone, content: "x\n"}
"#;

const STAYS: &str = r#"
    - name: Switched off
      copy: {dest: "/srv/{{ kind }}", content: "x\n"}
      when: wanted | default(true)
      vars: {kind: optional}
"#;

fn leaves(transport: &str) {
    let lab = Lab::up();
    let host = lab.host("host", "10.77.1.21", Flavour::Debian);
    host.sh("echo theirs > /etc/there");
    let play = Play::tasks(&lab, LEAVES);
    let words = ["--transport", transport];
    play.apply(&words);
    host.sh("touch /srv/full/theirs; rm /srv/gone");
    play.put(
        "play.yaml",
        &format!("- hosts: all\n  gather_facts: false\n  tasks:{STAYS}"),
    );
    let words = ["--transport", transport, "-e", "wanted=false"];
    let run = play.drift(&words).ended(10);
    let mut left = found(&run);
    left.sort();
    let all = [
        "/etc/there",
        "/srv/full",
        "/srv/okd/deep",
        "/srv/okd/deep/file",
        "keeper",
        "ours.service",
    ];
    assert_eq!(left, all.map(|name| format!("left {name}")), "{run}");

    let plan = play.drift(&[&words[..], &["--prune", "--check"]].concat()).ended(10);
    plan.says("/srv/okd/deep/file");
    assert!(host.has("/srv/okd/deep/file"), "{plan}");
    let pruned = play.drift(&[&words[..], &["--prune", "--yes"]].concat()).ended(0);
    for path in ["/srv/okd/deep", "/etc/systemd/system/ours.service"] {
        assert!(!host.has(path), "{path}\n{pruned}");
    }
    assert!(!host.active("ours") && !host.holds("id keeper"), "{pruned}");
    for path in ["/srv/full/theirs", "/etc/there", "/srv/optional"] {
        assert!(host.has(path), "{path}\n{pruned}");
    }
    let run = play.drift(&words).ended(0);
    assert_eq!(found(&run), Vec::<String>::new(), "{run}");
}

#[test]
fn what_has_left_the_playbook_is_told_and_pruned_by_the_agent() {
    leaves("agent");
}

#[test]
fn what_has_left_the_playbook_is_told_and_pruned_by_plain_ssh() {
    leaves("ssh");
}
