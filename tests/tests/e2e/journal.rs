//! What a run leaves behind to go on or to go back by, and that two runs do not change one host at once.

use okd_tests::{Flavour, Lab, Play, until};

/// A step that holds its host until it is let go.
const HOLDS: &str = "    - name: Holds\n      shell: touch /srv/began; until [ -e /srv/go ]; do sleep 0.1; done\n";
const OTHER: &str = "    - name: Other\n      copy: {dest: /srv/other, content: other, mode: \"0644\"}\n";

fn one_at_a_time(transport: &str) {
    let lab = Lab::up();
    let host = lab.host("host", "10.77.1.21", Flavour::Debian);
    let (first, second) = (Play::tasks(&lab, HOLDS), Play::tasks(&lab, OTHER));
    let words = ["--transport", transport];
    let holds = first.start(&[&["--yes"], &words[..]].concat());
    until("the first run changes the host", 60, || host.has("/srv/began").then_some(()));
    let refused = second.run(&[&["--yes"], &words[..]].concat()).ended(1);
    assert_eq!(refused.status("plan", "host", "Other"), "changed", "{refused}");
    assert_eq!(refused.status("apply", "host", "Other"), "failed", "{refused}");
    refused.says("host is being changed by ");
    refused.says(" UTC on ");
    assert!(!host.has("/srv/other"), "{refused}");
    let planned = second.run(&[&["--check"], &words[..]].concat()).ended(0);
    if transport == "agent" {
        planned.says("host  is being changed by ");
    }
    let waits = second.start(&[&["--yes", "--wait-lock", "60"], &words[..]].concat());
    until("the second run waits", 60, || {
        (waits.so_far().contains("\"pass\":\"plan\"")).then_some(())
    });
    host.sh("touch /srv/go");
    let _ = holds.wait().ended(0);
    let _ = waits.wait().ended(0);
    assert!(host.has("/srv/other"));
}

#[test]
fn the_agent_lets_one_run_change_a_host() {
    one_at_a_time("agent");
}

#[test]
fn plain_ssh_lets_one_run_change_a_host() {
    one_at_a_time("ssh");
}

#[test]
fn the_lock_dies_with_its_holder() {
    let lab = Lab::up();
    let host = lab.host("host", "10.77.1.21", Flavour::Debian);
    let (first, second) = (Play::tasks(&lab, HOLDS), Play::tasks(&lab, OTHER));
    let holds = first.start(&["--yes", "--transport", "agent"]);
    until("the first run changes the host", 60, || host.has("/srv/began").then_some(()));
    host.sh("pkill -KILL -f okd-play/[a]gent-");
    let _ = holds.wait().ended(3);
    second.apply(&["--transport", "agent"]);
    host.sh("touch /srv/go");
}

#[test]
fn sessions_of_one_run_share_the_host() {
    let lab = Lab::up();
    let host = lab.host("host", "10.77.1.21", Flavour::Debian);
    let tasks = "    - copy: {dest: /srv/as-root, content: a, mode: \"0644\"}\n    \
                 - copy: {dest: /tmp/as-nobody, content: b, mode: \"0644\"}\n      become: true\n      become_user: nobody\n    \
                 - copy: {dest: /srv/again, content: c, mode: \"0644\"}\n      delegate_to: alias\n";
    let play = Play::new(&lab, &format!("- hosts: host\n  gather_facts: false\n  tasks:\n{tasks}"));
    play.put(
        "hosts.yaml",
        "all: {hosts: {host: {ansible_host: 10.77.1.21}, alias: {ansible_host: 10.77.1.21}}}\n",
    );
    play.apply(&["--transport", "agent"]);
    assert!(host.has("/srv/again") && host.has("/tmp/as-nobody"));
}
