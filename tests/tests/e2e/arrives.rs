//! Hosts that are made by the run itself, and hosts that go away and come back.

use okd_tests::{Flavour, Lab, Play, until};

const HOSTS: &str = "all:\n  hosts:\n    late: {ansible_host: 10.77.1.21, okd_expected: el9}\n";

const MADE: &str = r#"
- hosts: localhost
  gather_facts: false
  tasks:
    - name: The host is made
      copy: {dest: "{{ playbook_dir }}/made", content: "now\n"}
- hosts: late
  gather_facts: false
  tasks:
    - name: It answers
      wait_for_connection: {timeout: 60}
    - name: Facts
      setup:
    - name: Package
      package: {name: haproxy}
    - name: Balancer
      haproxy:
        pools:
          - {name: api, bind: ["*:6443"], port: 6443, hosts: {one: 10.0.0.2}}
    - name: By family
      copy: {dest: /srv/family, content: "{{ ansible_facts.os_family }}\n", mode: "0644"}
    - name: By memory
      copy: {dest: /srv/memory, content: "{{ ansible_facts.memtotal_mb > 0 }}\n", mode: "0644"}
    - name: By command
      command: cat /etc/os-release
      changed_when: false
"#;

#[test]
fn a_host_that_is_still_to_be_made_is_planned_and_then_met() {
    let lab = Lab::up();
    let play = Play::new(&lab, MADE);
    play.put("hosts.yaml", HOSTS);
    let plan = play.run(&["--check", "--exit-code"]).ended(10);
    plan.says("planned as a blank EL 9 host");
    let sums = plan.predicted();
    let configuration = ("late".to_owned(), "/etc/haproxy/haproxy.cfg".to_owned());
    assert!(sums.contains_key(&configuration), "{plan}");
    assert_eq!(plan.status("plan", "late", "By family"), "changed", "{plan}");
    assert_eq!(plan.status("plan", "late", "By memory"), "unknown", "{plan}");
    assert_eq!(plan.status("plan", "late", "By command"), "unknown", "{plan}");
    assert_eq!(
        plan.count("late", "failed") + plan.count("late", "unreachable"),
        0,
        "{plan}"
    );
    assert!(
        !play.folder().join("made").exists(),
        "the plan changed something\n{plan}"
    );

    let run = play.start(&["--yes"]);
    until("the run makes the host", 60, || {
        play.folder().join("made").exists().then_some(())
    });
    let host = lab.host("late", "10.77.1.21", Flavour::El);
    play.put("known_hosts", &lab.known_hosts());
    let run = run.wait().ended(0);
    assert_eq!(
        host.sha256(&configuration.1).as_ref(),
        Some(&sums[&configuration]),
        "{run}"
    );
    assert_eq!(host.read("/srv/family"), "RedHat\n");
    assert_eq!(host.read("/srv/memory"), "True\n");
    play.run(&["--check", "--exit-code"]).ended(0);
}

#[test]
fn a_host_that_never_comes_is_given_up_in_its_time() {
    let lab = Lab::up();
    let play = Play::new(&lab, MADE);
    play.put("hosts.yaml", HOSTS);
    play.put("play.yaml", &MADE.replace("timeout: 60", "timeout: 3"));
    let run = play.run(&["--yes"]).ended(3);
    assert_eq!(run.status("apply", "late", "It answers"), "unreachable", "{run}");
    run.says("no answer within 3 s");
    assert_eq!(run.count("late", "changed"), 0, "{run}");
}

#[test]
fn an_unknown_kind_of_host_is_an_error_before_it_is_missed() {
    let lab = Lab::up();
    let play = Play::new(&lab, MADE);
    play.put("hosts.yaml", &HOSTS.replace("el9", "el99"));
    let run = play.run(&["--check"]);
    assert_ne!(run.code, Some(0), "{run}");
    run.says("did you mean `el9`?");
}

fn restarted(transport: &str) {
    let lab = Lab::up();
    let host = lab.host("host", "10.77.1.21", Flavour::Debian);
    let boot = || host.read("/proc/sys/kernel/random/boot_id");
    let play = Play::tasks(
        &lab,
        "    - name: Restart\n      reboot: {reboot_timeout: 90}\n      register: restart\n    \
         - name: After it\n      copy: {dest: /srv/after, content: \"{{ restart.rebooted }}\\n\", mode: \"0644\"}\n",
    );
    let before = boot();
    let plan = play.run(&["--check", "--transport", transport]).ended(0);
    assert_eq!(plan.status("plan", "host", "Restart"), "changed", "{plan}");
    assert_eq!(boot(), before, "the plan restarted the host");
    let run = play.apply(&["--transport", transport]);
    assert_ne!(boot(), before, "{run}");
    assert_eq!(run.status("apply", "host", "Restart"), "changed", "{run}");
    assert_eq!(host.read("/srv/after"), "True\n");
}

#[test]
fn a_host_is_restarted_and_met_again_by_the_agent() {
    restarted("agent");
}

#[test]
fn a_host_is_restarted_and_met_again_by_plain_ssh() {
    restarted("ssh");
}
