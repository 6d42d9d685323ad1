//! What a host remembers of earlier runs: handlers that are owed, and what has changed or left the playbook since.

use okd_tests::{Flavour, Host, Lab, Play, until};

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
    let run = cut.start(&["--yes", "--transport", transport]);
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
