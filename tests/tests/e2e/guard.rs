//! The lock-out guard: a change that locks okd-play out is gone again after a while, and the report says so; a good one stays.

use okd_tests::{Flavour, Host, Lab, Play, Run, until};

/// A short guard for what is to be put back, so that a test need not wait a minute. What is to stay has the time that
/// everybody's changes have.
const SHORT: &str = "okd_guard=5";

/// The words of a run with these variables.
fn words<'a>(transport: &'a str, variables: &[&'a str]) -> Vec<&'a str> {
    let given = variables.iter().flat_map(|line| ["-e", line]);
    ["--yes", "--transport", transport].into_iter().chain(given).collect()
}

fn guards(host: &Host<'_>) -> String {
    host.sh("systemctl list-units --all --no-legend --plain 'okd-play-guard*' | cut -d' ' -f1; systemctl list-timers --all --no-legend 'okd-play*'; ls -A /var/lib/okd-play/guard 2>/dev/null || :")
}

fn journal(host: &Host<'_>) -> String {
    host.sh("journalctl -q --no-pager -o cat -t okd-play-guard")
}

/// Nothing of a guard is left on the host but what its journal says.
fn nothing_left(host: &Host<'_>) {
    until("no guard is left", 30, || guards(host).is_empty().then_some(()));
}

/// The step was put back, and everything says so.
fn was_put_back(run: &Run, host: &Host<'_>, task: &str) {
    assert_eq!(run.status("apply", &host.name, task), "failed", "{run}");
    let result = run.result("apply", &host.name, task);
    let state = &result["result"]["okd_guard"];
    assert_eq!(state["state"], "put back", "{run}");
    let at = state["at"].as_str().unwrap();
    run.says(&format!(
        "{} could not be reached any more after this change",
        host.name
    ));
    run.says(&format!("its guard put it back at {at}"));
    let journal = journal(host);
    assert!(journal.contains("the old state is back"), "{journal}");
    let told = &result["failure"]["journal"];
    assert!(told.to_string().contains("the old state is back"), "{told}\n{run}");
}

const NFT: &str = r#"
    - name: Firewall
      firewall:
        backend: nftables
        zones: [{name: all, interfaces: [eth0], ports: ["{{ open }}/tcp"], target: drop}]
    - name: Behind it
      copy: {dest: /srv/behind, content: x}
"#;

fn nftables(transport: &str) {
    let lab = Lab::up();
    let host = lab.host("host", "10.77.1.21", Flavour::Debian);
    let play = Play::tasks(&lab, NFT);
    let good = play.apply(&words(transport, &["open=22"])[1..]);
    assert_eq!(
        good.result("plan", "host", "Firewall")["result"]["okd_guard"]["state"],
        "planned",
        "{good}"
    );
    assert_eq!(
        good.result("apply", "host", "Firewall")["result"]["okd_guard"]["state"],
        "confirmed",
        "{good}"
    );
    nothing_left(&host);
    let rules = host.sh("nft -s list ruleset");
    let file = host.sha256("/etc/nftables/okd-play.nft");
    host.sh("rm /srv/behind");
    let bad = play.run(&words(transport, &[SHORT, "open=2222"])).ended(1);
    was_put_back(&bad, &host, "Firewall");
    assert_eq!(bad.status("apply", "host", "Behind it"), "blocked", "{bad}");
    assert!(!host.has("/srv/behind"));
    assert_eq!(host.sh("nft -s list ruleset"), rules);
    assert_eq!(host.sha256("/etc/nftables/okd-play.nft"), file);
    let again = play.apply(&words(transport, &["open=22"])[1..]);
    assert_eq!(again.count("host", "changed"), 1, "only what was behind it\n{again}");
}

#[test]
fn a_rule_that_locks_out_is_put_back_and_a_good_one_stays_by_the_agent() {
    nftables("agent");
}

#[test]
fn a_rule_that_locks_out_is_put_back_and_a_good_one_stays_by_plain_ssh() {
    nftables("ssh");
}

/// A host with firewalld, which lets SSH in.
fn firewalld(lab: &Lab) -> Host<'_> {
    let host = lab.host("host", "10.77.1.21", Flavour::El);
    host.sh("dnf install -y -q firewalld && systemctl enable -q --now firewalld");
    // It answers before its rules are in the kernel.
    until("its rules are in the kernel", 20, || {
        host.holds("nft list table inet firewalld | grep -q nat_POSTROUTING_POLICIES_post && firewall-cmd --state")
            .then_some(())
    });
    host
}

/// All that a firewall is: the rules in the kernel, and what firewalld has of its own.
fn rules(host: &Host<'_>) -> String {
    host.sh("nft -s list ruleset; firewall-cmd --list-all; firewall-cmd --permanent --list-all; cd /etc/firewalld; find . -type f -exec sha256sum {} + | sort")
}

const RULES: &str = r#"    - firewalld: {service: http, state: enabled, permanent: true, immediate: true}
    - firewalld: {port: 8080/tcp, state: disabled, permanent: true, immediate: true}
    - firewalld: {rich_rule: 'rule family="ipv4" source address="10.9.0.0/16" port port="9090" protocol="tcp" accept', state: enabled, permanent: true}
    - firewalld: {rich_rule: 'rule family=ipv4 source address=10.8.0.0/16 accept', state: disabled, permanent: true, immediate: true}
    - firewalld: {masquerade: true, state: enabled, immediate: true}
    - firewalld: {zone: cluster, state: present, permanent: true}
"#;

/// What every zone lets through, now and permanently, without what only interfaces say.
fn zones(host: &Host<'_>) -> String {
    host.sh("firewall-cmd --list-all; firewall-cmd --permanent --list-all; firewall-cmd --permanent --get-zones")
}

#[test]
fn what_firewalld_lets_through_is_taken_back() {
    let lab = Lab::up();
    let host = firewalld(&lab);
    host.sh("firewall-cmd --permanent -q --add-port=8080/tcp; firewall-cmd --permanent -q --add-rich-rule='rule family=ipv4 source address=10.8.0.0/16 accept'; firewall-cmd -q --reload");
    let before = zones(&host);
    let play = Play::tasks(&lab, RULES);
    play.apply(&[]);
    let after = zones(&host);
    assert_ne!(before, after);
    let run = play.runs()[0]["id"].as_str().unwrap().to_owned();
    let name = format!("undo of {run}");
    let undone = play.okd(&["undo", &run, "--yes", "--output", "json"]).ended(0);
    let diff = |pass| undone.result(pass, "host", &name)["diff"].clone();
    assert_eq!(diff("plan"), diff("apply"), "{undone}");
    assert_eq!(
        undone.result("apply", "host", &name)["result"]["okd_guard"]["state"],
        "confirmed",
        "{undone}"
    );
    assert_eq!(zones(&host), before, "{undone}");
    let again = play.okd(&["undo", &run, "--yes", "--output", "json"]).ended(0);
    assert_eq!(again.status("plan", "host", &name), "ok", "{again}");
    let redo = play.runs()[0]["id"].as_str().unwrap().to_owned();
    play.okd(&["undo", &redo, "--yes"]).ended(0);
    assert_eq!(zones(&host), after, "an undo of an undo");
}

fn service_of_firewalld(transport: &str) {
    let lab = Lab::up();
    let host = firewalld(&lab);
    let text = "    - name: Service\n      firewalld: {service: \"{{ name }}\", state: \"{{ state }}\", permanent: true, immediate: true}\n";
    let play = Play::tasks(&lab, text);
    let good = play.run(&words(transport, &["name=dns state=enabled"])).ended(0);
    assert_eq!(
        good.result("apply", "host", "Service")["result"]["okd_guard"]["state"],
        "confirmed",
        "{good}"
    );
    nothing_left(&host);
    let before = rules(&host);
    assert!(before.contains("services: dhcpv6-client dns ssh"), "{before}");
    let bad = play
        .run(&words(transport, &[SHORT, "name=ssh state=disabled"]))
        .ended(1);
    was_put_back(&bad, &host, "Service");
    assert_eq!(rules(&host), before);
}

#[test]
fn a_service_that_firewalld_lets_in_no_more_is_let_in_again_by_the_agent() {
    service_of_firewalld("agent");
}

#[test]
fn a_service_that_firewalld_lets_in_no_more_is_let_in_again_by_plain_ssh() {
    service_of_firewalld("ssh");
}

#[test]
fn zones_that_lock_out_are_put_back_by_firewalld() {
    let lab = Lab::up();
    let host = firewalld(&lab);
    let before = rules(&host);
    let text = "    - name: Firewall\n      firewall:\n        zones: [{name: internal, interfaces: [eth0], ports: [2222/tcp]}]\n";
    let bad = Play::tasks(&lab, text).run(&["--yes", "-e", SHORT]).ended(1);
    was_put_back(&bad, &host, "Firewall");
    assert_eq!(rules(&host), before);
}

const SSHD: &str = r#"
- hosts: all
  gather_facts: false
  tasks:
    - name: Configuration
      copy: {dest: /etc/ssh/sshd_config.d/lab.conf, content: "{{ line }}\n"}
      notify: Restart
    - name: Behind it
      copy: {dest: /srv/behind, content: x}
  handlers:
    - name: Restart
      service: {name: ssh, state: restarted}
"#;

fn sshd(transport: &str) {
    let lab = Lab::up();
    let host = lab.host("host", "10.77.1.21", Flavour::Debian);
    let play = Play::new(&lab, SSHD);
    let first = host.read("/etc/ssh/sshd_config.d/lab.conf");
    let good = play.run(&words(transport, &["line='MaxAuthTries 7'"])).ended(0);
    for task in ["Configuration", "Restart"] {
        assert_eq!(
            good.result("apply", "host", task)["result"]["okd_guard"]["state"],
            "confirmed",
            "{good}"
        );
    }
    nothing_left(&host);
    // The file alone does no harm; what is put back when the service is started anew is the file too.
    for (line, words_of_it) in [
        ("line='Port 2222'", "could not be reached any more"),
        ("line='Prot 22'", "Bad configuration option"),
    ] {
        let bad = play.run(&words(transport, &[SHORT, line])).ended(1);
        assert_eq!(bad.status("apply", "host", "Configuration"), "changed", "{bad}");
        was_put_back(&bad, &host, "Restart");
        bad.says(words_of_it);
        assert_eq!(host.read("/etc/ssh/sshd_config.d/lab.conf"), "MaxAuthTries 7\n");
        assert!(host.active("ssh"));
    }
    // What was restarted under guard is restarted under guard when that is taken back.
    let since = || host.sh("systemctl show ssh -P ActiveEnterTimestampMonotonic");
    let standing = guards(&host);
    let (before, run) = (since(), play.runs().last().unwrap()["id"].as_str().unwrap().to_owned());
    let undone = play.okd(&["undo", &run, "--yes", "--output", "json"]).ended(0);
    let name = format!("undo of {run}");
    let result = undone.result("apply", "host", &name);
    assert_eq!(result["result"]["okd_guard"]["state"], "confirmed", "{undone}");
    undone.says("restart ssh");
    assert_eq!(host.read("/etc/ssh/sshd_config.d/lab.conf"), first, "{undone}");
    assert_ne!(since(), before, "{undone}");
    until("the undo's guard is gone", 30, || {
        (guards(&host) == standing).then_some(())
    });
}

#[test]
fn an_sshd_that_is_not_there_any_more_is_put_back_by_the_agent() {
    sshd("agent");
}

#[test]
fn an_sshd_that_is_not_there_any_more_is_put_back_by_plain_ssh() {
    sshd("ssh");
}

/// okd-play dies between a change and its confirmation: what nobody has confirmed is put back.
fn killed(transport: &str) {
    let lab = Lab::up();
    let host = lab.host("host", "10.77.1.21", Flavour::Debian);
    let play = Play::tasks(&lab, NFT);
    // The second connection is not let in, so that the confirmation does not come in between.
    let mut run = play.start(&words(transport, &[SHORT, "open=2222"]));
    until("the rule is there", 60, || {
        assert!(run.goes_on(), "{}\n{}", run.so_far(), run.said());
        host.holds("nft list table inet okd_play").then_some(())
    });
    run.kill();
    until("the rule is gone", 60, || {
        (!host.holds("nft list table inet okd_play")).then_some(())
    });
    assert!(!host.has("/etc/nftables/okd-play.nft"));
    until("the guard has ended", 30, || {
        journal(&host).contains("the old state is back").then_some(())
    });
    let again = play.run(&words(transport, &["open=22"])).ended(0);
    assert_eq!(
        again.result("apply", "host", "Firewall")["result"]["okd_guard"]["state"],
        "confirmed",
        "{again}"
    );
}

/// The run that comes after one that was killed does not take for done what is about to be put back.
fn taken_up(transport: &str) {
    let lab = Lab::up();
    let host = lab.host("host", "10.77.1.21", Flavour::Debian);
    let file = "/etc/ssh/sshd_config.d/x.conf";
    let slow = format!(
        "    - name: Slow\n      command: sh -c 'echo UseDNS no >{file}; touch /srv/begun; sleep 3'\n      vars: {{okd_guard: always 5}}\n"
    );
    let first = Play::tasks(&lab, &slow);
    let mut run = first.start(&words(transport, &[]));
    until("the file is there", 60, || {
        assert!(run.goes_on(), "{}", run.so_far());
        host.has("/srv/begun").then_some(())
    });
    run.kill();
    let play = Play::tasks(
        &lab,
        &format!("    - name: File\n      copy: {{dest: {file}, content: \"UseDNS no\\n\"}}\n"),
    );
    let again = play.run(&words(transport, &[])).ended(0);
    again.says("waits: what another run has changed there is put back unless that run confirms it");
    assert!(journal(&host).contains("the old state is back"), "{again}");
    assert_eq!(again.status("apply", "host", "File"), "changed", "{again}");
    assert!(host.has(file));
}

#[test]
fn the_next_run_waits_for_what_a_killed_run_has_not_confirmed_by_the_agent() {
    taken_up("agent");
}

#[test]
fn the_next_run_waits_for_what_a_killed_run_has_not_confirmed_by_plain_ssh() {
    taken_up("ssh");
}

#[test]
fn what_a_killed_run_has_not_confirmed_is_put_back_by_the_agent() {
    killed("agent");
}

#[test]
fn what_a_killed_run_has_not_confirmed_is_put_back_by_plain_ssh() {
    killed("ssh");
}

#[test]
fn ctrl_c_confirms_first() {
    let lab = Lab::up();
    let host = lab.host("host", "10.77.1.21", Flavour::Debian);
    let slow = "    - name: Slow\n      command: sh -c 'touch /run/begun; sleep 2; nft add table inet mine'\n      vars: {okd_guard: always 30}\n";
    let play = Play::tasks(&lab, slow);
    let run = play.start(&["--yes"]);
    until("the step runs", 60, || host.has("/run/begun").then_some(()));
    run.interrupt();
    let run = run.wait().ended(1);
    assert_eq!(
        run.result("apply", "host", "Slow")["result"]["okd_guard"]["state"],
        "confirmed",
        "{run}"
    );
    nothing_left(&host);
    assert!(host.holds("nft list table inet mine"));
}

fn cut_off_by(transport: &str, command: &str, restored: &str) {
    let lab = Lab::up();
    let host = lab.host("host", "10.77.1.21", Flavour::Debian);
    let before = host.sh(restored);
    let text = format!("    - name: Cut\n      shell: {command}\n      vars: {{okd_guard: always 5}}\n");
    let bad = Play::tasks(&lab, &text)
        .run(&["--yes", "--transport", transport])
        .ended(1);
    was_put_back(&bad, &host, "Cut");
    assert_eq!(host.sh(restored), before);
}

#[test]
fn a_network_that_a_command_took_away_is_there_again() {
    cut_off_by(
        "agent",
        "ip address flush dev eth0",
        "ip -o addr show scope global | sed 's/ valid_lft.*//'; ip route",
    );
}

#[test]
fn a_route_that_a_command_took_away_is_there_again() {
    cut_off_by("ssh", "ip route add blackhole 10.77.1.1/32", "ip route");
}

#[test]
fn packets_that_a_command_drops_pass_again() {
    let drop = "nft 'add table inet cut; add chain inet cut every { type filter hook input priority 0; policy drop; }'";
    cut_off_by("agent", drop, "nft -s list ruleset");
}

fn bridge(flavour: Flavour, prepare: &str) {
    let lab = Lab::up();
    let host = lab.host("host", "10.77.1.21", flavour);
    host.sh(prepare);
    let look =
        "ip -o addr show scope global | sed 's/ valid_lft.*//'; ip route; ls /sys/class/net /etc/systemd/network";
    let before = host.sh(look);
    let text = "    - name: Bridge\n      bridge: {name: br0, ports: [eth0], force: true}\n";
    let bad = Play::tasks(&lab, text).run(&["--yes", "-e", SHORT]).ended(1);
    was_put_back(&bad, &host, "Bridge");
    assert_eq!(host.sh(look), before);
}

#[test]
fn a_bridge_that_takes_the_address_away_is_taken_away_by_networkd() {
    bridge(Flavour::Debian, "systemctl start systemd-networkd");
}

#[test]
fn a_bridge_that_takes_the_address_away_is_taken_away_by_networkmanager() {
    bridge(
        Flavour::El,
        "dnf install -y -q NetworkManager && systemctl start NetworkManager",
    );
}

#[test]
fn a_new_connection_takes_the_same_way() {
    let lab = Lab::up();
    lab.host("jump", "10.77.1.20", Flavour::Client);
    let host = lab.host("host", "10.77.1.21", Flavour::Debian);
    // Only the jump host is let in.
    let rule = r#"
    - name: Firewall
      firewall:
        backend: nftables
        zones: [{name: all, interfaces: [eth0], rules: [{sources: ["{{ from }}"], port: 22/tcp}], target: drop}]
"#;
    let play = Play::tasks(&lab, rule);
    play.put("hosts.yaml", "all:\n  hosts:\n    host: {ansible_host: 10.77.1.21}\n");
    let run = |words: &[&str]| play.run(&[&["--yes"], words].concat());
    let jump = ["-e", "{\"ansible_ssh_extra_args\": \"-o ProxyJump=root@10.77.1.20\"}"];
    let good = run(&[&["-e", "from=10.77.1.20"][..], &jump].concat()).ended(0);
    assert_eq!(
        good.result("apply", "host", "Firewall")["result"]["okd_guard"]["state"],
        "confirmed",
        "{good}"
    );
    let bad = run(&[&["-e", SHORT, "-e", "from=10.77.1.1"][..], &jump].concat()).ended(1);
    was_put_back(&bad, &host, "Firewall");
    assert!(host.sh("nft list ruleset").contains("10.77.1.20"));
}

#[test]
fn a_converged_run_costs_nothing_more() {
    let lab = Lab::up();
    let host = lab.host("host", "10.77.1.21", Flavour::Debian);
    let play = Play::tasks(&lab, NFT);
    let count = |words: &[&str]| {
        let before = lab.connects();
        let run = play.apply(&[&["-e", "open=22", "--transport", "agent"], words].concat());
        let waits = run.events.iter().find(|event| event["event"] == "link").unwrap()["waits"]
            .as_u64()
            .unwrap();
        (lab.connects() - before, waits)
    };
    let (first, _) = count(&[]);
    assert_eq!(first, 2, "the run's connection, and the one that confirms");
    let log = journal(&host);
    assert_eq!(count(&[]), count(&["-e", "okd_guard=false"]));
    assert_eq!(count(&[]).0, 1);
    assert_eq!(journal(&host), log);
    assert_eq!(guards(&host), "");
}

#[test]
fn without_a_guard_nobody_puts_anything_back() {
    let lab = Lab::up();
    let host = lab.host("host", "10.77.1.21", Flavour::Debian);
    let run = Play::tasks(&lab, NFT)
        .run(&["--yes", "-e", "okd_guard=false", "-e", "open=2222"])
        .ended(0);
    assert!(
        run.result("apply", "host", "Firewall")["result"]["okd_guard"].is_null(),
        "{run}"
    );
    assert!(host.sh("nft list ruleset").contains("2222"));
    assert_eq!(guards(&host), "");
}

#[test]
fn a_person_reads_of_it_before_and_after() {
    let lab = Lab::up();
    let host = lab.host("host", "10.77.1.21", Flavour::Debian);
    let unknown = "    - name: Unknown\n      command: \"true\"\n      vars: {okd_guard: always 11}\n";
    let firewall = NFT.replace("- name: Firewall", "- vars: {okd_guard: 9}\n      name: Firewall");
    let play = Play::tasks(&lab, &format!("{firewall}{unknown}"));
    let words = |more: &'static str| ["--yes", "--output", "text", "-e", more];
    let good = play.run(&words("open=22")).ended(0);
    for line in [
        "  guarded: put back after 9 s unless",
        "  guarded: put back after 11 s unless",
    ] {
        good.says(line);
    }
    assert_eq!(good.out.matches("  confirmed by a new connection").count(), 2, "{good}");
    let bad = play.run(&words("open=2222")).ended(1);
    bad.says("host could not be reached any more after this change");
    bad.says("the old state is back");
    bad.says("waits for a new connection to confirm the change");
    nothing_but_a_report(&host);
}

/// Of a guard that has put a host back only its folder is left, for those who want to see.
fn nothing_but_a_report(host: &Host<'_>) {
    until("the guard has ended", 30, || {
        (guards(host).lines().count() == 1).then_some(())
    });
}
