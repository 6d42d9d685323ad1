//! That a service has to be restarted or reloaded is a fact: it was last told of other files than those that are there.

use crate::transaction::install;
use okd_tests::{Flavour, Host, Lab, Play, until};

const UNIT: &str = r#"
    - name: Unit
      okd.unit:
        name: toy
        content: |
          [Service]
          ExecStart=/bin/sleep infinity
          [Install]
          WantedBy=multi-user.target
    - name: Runs
      service: {name: toy, state: started, enabled: true}
"#;

/// As [`UNIT`], and a drop-in that nobody is notified of.
fn nice() -> String {
    format!(
        "{UNIT}    - name: Nice\n      okd.unit: {{name: toy, dropin: nice, content: \"[Service]\\nNice=5\\n\"}}\n    - name: Nicely\n      service: {{name: toy, state: started}}\n"
    )
}

fn niceness(host: &Host<'_>) -> String {
    host.sh(&format!("ps -o ni= -p {}", host.main_pid("toy")))
        .trim()
        .to_owned()
}

fn units(transport: &str) {
    let lab = Lab::up();
    let host = lab.host("host", "10.77.1.21", Flavour::Debian);
    let words = ["--transport", transport];
    let play = Play::tasks(&lab, UNIT);
    play.apply(&words);
    assert!(host.active("toy"));
    play.converged(&words);

    // A drop-in restarts what runs without it, in the same run and without a handler.
    let play = Play::tasks(&lab, &nice());
    let run = play.apply(&words);
    assert_eq!(run.status("plan", "host", "Runs"), "ok", "{run}");
    assert_eq!(run.status("apply", "host", "Nicely"), "changed", "{run}");
    assert_eq!(niceness(&host), "5", "{run}");
    let pid = host.main_pid("toy");
    play.converged(&words);
    assert_eq!(host.main_pid("toy"), pid, "it was restarted once more");

    // Somebody has written what the playbook wants, and has not restarted it; systemd has not read it either.
    let wanted = nice().replace("Nice=5", "Nice=7");
    host.sh("sleep 1; sed -i s/5/7/ /etc/systemd/system/toy.service.d/nice.conf");
    let play = Play::tasks(&lab, &wanted);
    let plan = play
        .run(&["--check", "--exit-code", "--transport", transport])
        .ended(10);
    plan.says("toy.service was started before its unit's files were written last");
    play.apply(&words);
    assert_eq!(niceness(&host), "7");
    play.converged(&words);

    // Who restarts it by hand leaves nothing to do.
    host.sh("sleep 1; touch /etc/systemd/system/toy.service; systemctl daemon-reload; systemctl restart toy");
    let pid = host.main_pid("toy");
    play.converged(&words);
    assert_eq!(host.main_pid("toy"), pid);
}

#[test]
fn a_service_that_runs_as_its_unit_was_before_is_restarted_by_the_agent() {
    units("agent");
}

#[test]
fn a_service_that_runs_as_its_unit_was_before_is_restarted_by_plain_ssh() {
    units("ssh");
}

fn site(word: &str) -> String {
    format!(
        "    - name: Web\n      nginx:\n        sites:\n          - {{name: toy, listen: 8080, root: /srv/{word}}}\n"
    )
}

fn typed(flavour: Flavour) {
    let lab = Lab::up();
    let host = lab.host("host", "10.77.1.21", flavour);
    install(&host, flavour, "nginx");
    host.sh("for word in one two; do mkdir -p /srv/$word; echo $word > /srv/$word/index.html; chmod -R a+rX /srv/$word; done");
    let says = || host.sh("curl -s http://127.0.0.1:8080/").trim().to_owned();
    // Workers that were asked before a reload answer as they did.
    let serves = |word: &str| until("it serves the new files", 20, || (says() == word).then_some(()));
    let (one, two) = (Play::tasks(&lab, &site("one")), Play::tasks(&lab, &site("two")));
    one.apply(&[]);
    one.converged(&[]);
    assert_eq!(says(), "one");

    // Somebody has brought its file to what the playbook wants by now, and has not told the daemon.
    host.sh("sleep 1; sed -i s,/srv/one,/srv/two, $(grep -rl /srv/one /etc/nginx)");
    assert_eq!(says(), "one");
    let plan = two.run(&["--check", "--exit-code"]).ended(10);
    plan.says("nginx was last started or reloaded with other files");
    two.apply(&[]);
    serves("two");
    two.converged(&[]);

    // Written with the same content, it is not new to it.
    host.sh("sleep 1; touch $(grep -rl /srv/two /etc/nginx)");
    two.converged(&[]);

    // Who tells the daemon by hand leaves nothing to do.
    host.sh("sleep 1; sed -i s,/srv/two,/srv/one, $(grep -rl /srv/two /etc/nginx); sleep 1; systemctl reload nginx");
    one.converged(&[]);
    serves("one");
}

#[test]
fn a_typed_service_that_runs_on_other_files_is_told_on_debian() {
    typed(Flavour::Debian);
}

#[test]
fn a_typed_service_that_runs_on_other_files_is_told_on_el() {
    typed(Flavour::El);
}
