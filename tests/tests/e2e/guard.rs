//! The lock-out guard: a change that locks okd-play out is gone again after a while, and the report says so; a good one stays.

use okd_tests::{Flavour, Host, Lab, Play, Run, until};

/// A short guard, so that a test need not wait a minute.
const SHORT: &str = "okd_guard=5";

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
    run.says(&format!("{} could not be reached any more after this change", host.name));
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
    let words = |open: &'static str| ["--transport", transport, "-e", SHORT, "-e", open];
    let good = play.apply(&words("open=22"));
    assert_eq!(good.result("plan", "host", "Firewall")["result"]["okd_guard"]["state"], "planned", "{good}");
    assert_eq!(good.result("apply", "host", "Firewall")["result"]["okd_guard"]["state"], "confirmed", "{good}");
    nothing_left(&host);
    let rules = host.sh("nft -s list ruleset");
    let file = host.sha256("/etc/nftables/okd-play.nft");
    host.sh("rm /srv/behind");
    let bad = play.run(&[&["--yes"][..], &words("open=2222")].concat()).ended(1);
    was_put_back(&bad, &host, "Firewall");
    assert_eq!(bad.status("apply", "host", "Behind it"), "blocked", "{bad}");
    assert!(!host.has("/srv/behind"));
    assert_eq!(host.sh("nft -s list ruleset"), rules);
    assert_eq!(host.sha256("/etc/nftables/okd-play.nft"), file);
    let again = play.apply(&words("open=22"));
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
