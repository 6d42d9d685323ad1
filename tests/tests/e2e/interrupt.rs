//! Ctrl-C: what runs may finish, nothing new begins.

use okd_tests::{Flavour, Lab, Play, until};

const TASKS: &str = r#"
    - name: Runs
      shell: touch /srv/began; sleep 3; touch /srv/done
    - name: Next
      copy: {dest: /srv/never, content: never}
    - name: Last
      command: touch /srv/never-either
"#;

fn once(transport: &str) {
    let lab = Lab::up();
    let host = lab.host("host", "10.77.1.21", Flavour::Debian);
    let play = Play::tasks(&lab, TASKS);
    let run = play.start(&["--yes", "--transport", transport]);
    until("the step runs", 30, || host.has("/srv/began").then_some(()));
    run.interrupt();
    let run = run.wait().ended(1);
    assert!(host.has("/srv/done"), "a running step was dropped\n{run}");
    assert!(!host.has("/srv/never"), "a new step began\n{run}");
    assert!(!host.has("/srv/never-either"), "a new step began\n{run}");
    assert_eq!(run.status("apply", "host", "Runs"), "changed", "{run}");
    play.apply(&["--transport", transport]);
    assert!(host.has("/srv/never-either"));
}

#[test]
fn ctrl_c_lets_the_agents_step_finish_and_begins_no_other() {
    once("agent");
}

#[test]
fn ctrl_c_lets_plain_sshs_step_finish_and_begins_no_other() {
    once("ssh");
}

#[test]
fn ctrl_c_twice_drops_everything() {
    let lab = Lab::up();
    let host = lab.host("host", "10.77.1.21", Flavour::Debian);
    let tasks = "    - shell: touch /srv/began; while [ ! -e /srv/go ]; do sleep 0.1; done; touch /srv/done\n    \
                 - command: touch /srv/never\n";
    let play = Play::tasks(&lab, tasks);
    let mut run = play.start(&["--yes", "--transport", "agent"]);
    until("the step runs", 30, || host.has("/srv/began").then_some(()));
    // A second signal that comes before the first was taken would be the same one.
    until("the program ends", 30, || {
        run.interrupt();
        (!run.goes_on()).then_some(())
    });
    let run = run.wait();
    assert_ne!(run.code, Some(0), "{run}");
    host.sh("touch /srv/go");
    until("the agent ends", 30, || {
        (!host.holds("pgrep -f okd-play/[a]gent-")).then_some(())
    });
    assert!(host.has("/srv/done"), "what ran was torn");
    assert!(!host.has("/srv/never"), "a new step began");
}

#[test]
fn a_run_that_was_killed_while_it_only_waited_does_not_hold_its_host() {
    let lab = Lab::up();
    let host = lab.host("host", "10.77.1.21", Flavour::Debian);
    let tasks = "    - name: Waits\n      wait_for: {path: /srv/go, timeout: 300}\n    - copy: {dest: /srv/never, content: never}\n";
    let play = Play::tasks(&lab, tasks);
    let run = play.start(&["--yes", "--transport", "agent", "-vvv"]);
    until("the step waits", 30, || {
        run.said().contains("begins \"Waits\" (apply)").then_some(())
    });
    drop(run);
    Play::tasks(&lab, "    - copy: {dest: /srv/after, content: after}\n").apply(&[]);
    assert!(host.has("/srv/after"));
    host.sh("touch /srv/go");
    until("the agent ends", 30, || {
        (!host.holds("pgrep -f okd-play/[a]gent-")).then_some(())
    });
    assert!(!host.has("/srv/never"), "a new step began");
}

#[test]
fn a_run_after_one_that_was_killed_waits_for_the_step_that_goes_on() {
    let lab = Lab::up();
    let host = lab.host("host", "10.77.1.21", Flavour::Debian);
    let tasks = "    - shell: touch /srv/began; while [ ! -e /srv/go ]; do sleep 0.1; done; sleep 1; touch /srv/done\n      \
                 args: {creates: /srv/done}\n    - copy: {dest: /srv/after, content: after}\n";
    let play = Play::tasks(&lab, tasks);
    let run = play.start(&["--yes", "--transport", "agent"]);
    until("the step runs", 30, || host.has("/srv/began").then_some(()));
    drop(run);
    let again = play.start(&["--yes", "--transport", "agent"]);
    until("the next run waits", 30, || {
        again
            .said()
            .contains("a step of another run is still being done there")
            .then_some(())
    });
    assert!(!host.has("/srv/done"));
    host.sh("rm /srv/began; touch /srv/go");
    let again = again.wait().ended(0);
    assert!(!host.has("/srv/began"), "the step was done twice\n{again}");
    assert_eq!(again.count("host", "changed"), 1, "{again}");
    assert_eq!(host.read("/srv/after"), "after");
}

/// A run that is over, of which its host does not know: nothing of its connection comes through any more.
fn not_noticed(first: &str, next: &str) {
    let lab = Lab::up();
    let host = lab.host("host", "10.77.1.21", Flavour::Debian);
    let tasks = "    - name: File\n      copy: {dest: /srv/began, content: began}\n    - wait_for: {path: /srv/go, timeout: 300}\n";
    let play = Play::tasks(&lab, tasks);
    let run = play.start(&["--yes", "--transport", first]);
    until("the host is held", 60, || host.has("/srv/began").then_some(()));
    host.sh(
        "port=$(ss -Htn state established '( sport = :22 )' | awk '{ print $4 }' | sed 's/.*://')
         nft \"add table inet cut; add chain inet cut in { type filter hook input priority 0; };
              add rule inet cut in tcp sport $port drop\"",
    );
    drop(run);
    let lost = play.runs()[0]["id"].as_str().unwrap().to_owned();
    let other = Play::tasks(&lab, "    - copy: {dest: /srv/other, content: other}\n");
    let refused = other.run(&["--yes", "--transport", next]).ended(1);
    refused.says("host is being changed by ");
    let after = "    - name: After\n      copy: {dest: /srv/after, content: after}\n";
    play.put(
        "play.yaml",
        &format!("- hosts: all\n  gather_facts: false\n  tasks:\n{after}"),
    );
    let again = play.run(&["--yes", "--transport", next]).ended(0);
    again.says(&format!("run {lost}, which is over, had this machine still"));
    assert!(host.has("/srv/after"));
    until("what was left of the run ends", 30, || {
        (!host.holds("ss -Htn state established '( sport = :22 )' | grep -q .")).then_some(())
    });
}

#[test]
fn a_host_that_has_not_noticed_that_an_agents_run_is_over_is_had_again() {
    not_noticed("agent", "agent");
}

#[test]
fn a_host_that_has_not_noticed_that_a_run_by_plain_ssh_is_over_is_had_again() {
    not_noticed("ssh", "ssh");
}

#[test]
fn a_host_that_has_not_noticed_is_had_again_by_the_other_transport() {
    not_noticed("agent", "ssh");
    not_noticed("ssh", "agent");
}
