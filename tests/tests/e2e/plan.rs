//! A plan touches nothing, and what it says is what comes.

use okd_tests::picture::{Picture, processes};
use okd_tests::{Flavour, Lab, Play, until};

const TASKS: &str = r#"
    - name: Folder
      file: {path: /srv/okd/deep, state: directory, mode: "0750"}
    - name: File in it
      copy: {dest: /srv/okd/deep/file, content: "one\ntwo\n", mode: "0640"}
    - name: Line in what will be there
      lineinfile: {path: /srv/okd/deep/file, line: three}
    - name: Line in what is there
      lineinfile: {path: /etc/hosts, line: 192.0.2.1 elsewhere}
    - name: No line end
      copy: {dest: /srv/okd/short, content: no end, mode: "0644"}
    - name: User
      user: {name: keeper, shell: /bin/sh}
    - name: Command
      command: touch /srv/ran
      notify: Handler
    - name: Setting
      sysctl: {name: net.ipv4.ip_forward, value: "1", sysctl_file: /etc/sysctl.d/90-okd.conf}
  handlers:
    - name: Handler
      command: touch /srv/handled
"#;

fn untouched_and_true(flavour: Flavour, transport: &str) {
    let lab = Lab::up();
    let host = lab.host("host", "10.77.1.21", flavour);
    let play = Play::tasks(&lab, TASKS);
    let before = (Picture::whole(&host), processes(&host));
    let plan = play
        .run(&["--check", "--exit-code", "--transport", transport])
        .ended(10);
    assert_eq!(plan.results("apply").count(), 0, "{plan}");
    assert_eq!(processes(&host), before.1);
    before.0.assert_same(&Picture::whole(&host));

    let predicted = plan.predicted();
    assert_eq!(predicted.len(), 4, "{predicted:?}\n{plan}");
    play.apply(&["--transport", transport]);
    for ((_, path), sum) in predicted {
        assert_eq!(host.sha256(&path), Some(sum), "{path}\n{plan}");
    }
    assert!(host.has("/srv/handled"));
}

#[test]
fn a_plan_by_the_agent_touches_nothing_and_comes_true() {
    untouched_and_true(Flavour::El, "agent");
}

#[test]
fn a_plan_by_plain_ssh_touches_nothing_and_comes_true() {
    untouched_and_true(Flavour::Debian, "ssh");
}

#[test]
fn a_plan_of_what_is_done_has_nothing_pending() {
    let lab = Lab::up();
    lab.host("host", "10.77.1.21", Flavour::Debian);
    let play = Play::tasks(&lab, "    - copy: {dest: /srv/there, content: hello}\n");
    play.run(&["--check", "--exit-code"]).ended(10);
    play.run(&["--check"]).ended(0);
    play.apply(&[]);
    play.run(&["--check", "--exit-code"]).ended(0);
}

/// Plans a file, has somebody else change it before the plan is applied, and sees that it stays as they made it.
fn not_overwritten(before: &str) {
    let lab = Lab::up();
    let host = lab.host("host", "10.77.1.21", Flavour::Debian);
    let gate = lab.host("gate", "10.77.1.22", Flavour::Debian);
    host.sh("echo old > /srv/file");
    // The play of the gate is applied first, and holds the other until the file there is another one.
    let play = Play::new(
        &lab,
        &r#"
- hosts: gate
  gather_facts: false
  tasks:
    - command: sh -c 'touch /srv/began; while [ ! -e /srv/go ]; do sleep 0.05; done'
- hosts: host
  gather_facts: false
  tasks:
BEFORE
    - name: File
      copy: {dest: /srv/file, content: new}
"#
        .replace("BEFORE", before),
    );
    let run = play.start(&["--yes"]);
    until("the plan is made", 30, || gate.has("/srv/began").then_some(()));
    host.sh("echo mine > /srv/file");
    gate.sh("touch /srv/go");
    let run = run.wait().ended(4);
    assert_eq!(host.read("/srv/file"), "mine\n", "{run}");
}

#[test]
fn a_host_that_moved_since_the_plan_is_not_overwritten() {
    not_overwritten("");
}

#[test]
fn behind_a_command_of_unknown_effect_neither() {
    not_overwritten("    - command: touch /srv/unforeseen");
}

#[test]
fn without_a_terminal_nothing_is_applied_unasked() {
    let lab = Lab::up();
    let host = lab.host_with("host", "10.77.1.21", Flavour::Debian, &["--cheap"]);
    let play = Play::tasks(&lab, "    - copy: {dest: /srv/there, content: hello}\n");
    play.run(&[]).ended(2).says("--yes");
    assert!(!host.has("/srv/there"));
}
