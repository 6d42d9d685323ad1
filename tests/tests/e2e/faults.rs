//! Hosts that are not there, not who they should be, or do not let in: the others go on, and the reason is said.

use okd_tests::{Flavour, Lab, Play};
use std::process::Command;

const TASKS: &str = "    - name: File\n      copy: {dest: /srv/there, content: hello}\n";

#[test]
fn a_host_that_is_down_stops_no_other() {
    let lab = Lab::up();
    let up = lab.host("up", "10.77.1.21", Flavour::Debian);
    let gone = lab.host("gone", "10.77.1.22", Flavour::Debian);
    gone.verb("kill");
    let play = Play::tasks(&lab, TASKS);
    for transport in ["agent", "ssh"] {
        up.sh("rm -f /srv/there");
        let run = play.run(&["--yes", "--transport", transport]).ended(3);
        assert_eq!(up.read("/srv/there"), "hello");
        assert_eq!(run.count("gone", "unreachable"), 1, "{run}");
        assert_eq!(run.count("up", "changed"), 1, "{run}");
        run.says("10.77.1.22");
        run.says("the host may be down");
    }
}

#[test]
fn a_host_that_hangs_is_given_up() {
    let lab = Lab::up();
    let up = lab.host("up", "10.77.1.21", Flavour::Debian);
    let hangs = lab.host("hangs", "10.77.1.22", Flavour::Debian);
    hangs.verb("freeze");
    let run = Play::tasks(&lab, TASKS).run(&["--yes"]).ended(3);
    hangs.verb("thaw");
    assert!(up.has("/srv/there"));
    assert_eq!(run.count("hangs", "unreachable"), 1, "{run}");
    assert!(!hangs.has("/srv/there"));
}

#[test]
fn where_no_ssh_server_listens_it_is_said() {
    let lab = Lab::up();
    let host = lab.host("deaf", "10.77.1.22", Flavour::Debian);
    host.sh("systemctl stop ssh.socket ssh.service");
    let run = Play::tasks(&lab, TASKS).run(&["--yes"]).ended(3);
    run.says("no SSH server listens there");
}

#[test]
fn another_host_key_is_refused_with_the_place_of_the_known_one() {
    let lab = Lab::up();
    let good = lab.host("good", "10.77.1.21", Flavour::Debian);
    let posed = lab.host("posed", "10.77.1.22", Flavour::Debian);
    let play = Play::tasks(&lab, TASKS);
    let key = play.folder().join("other");
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(&key)
        .status();
    assert!(made.unwrap().success());
    let other = std::fs::read_to_string(key.with_extension("pub")).unwrap();
    let known = lab.known_hosts();
    let good_line = known.lines().find(|line| line.contains("10.77.1.21")).unwrap();
    play.put(
        "known_hosts",
        &format!("# the known ones\n{good_line}\n10.77.1.22 {other}"),
    );
    let run = play.run(&["--yes"]).ended(3);
    let place = format!("{}:3", play.folder().join("known_hosts").display());
    run.says("the host key of 10.77.1.22 is not the known one");
    run.says(&place);
    assert!(good.has("/srv/there"));
    assert!(!posed.has("/srv/there"));
}

#[test]
fn a_host_whose_key_nobody_knows_is_refused_and_taken_where_that_is_asked_for() {
    let lab = Lab::up();
    let host = lab.host("new", "10.77.1.21", Flavour::Debian);
    let play = Play::tasks(&lab, TASKS);
    play.put("known_hosts", "");
    play.run(&["--yes"])
        .ended(3)
        .says("the host key of 10.77.1.21 is not known");
    assert!(!host.has("/srv/there"));
    let known = play.folder().join("known_hosts");
    let options = format!(
        "-o UserKnownHostsFile={} -o GlobalKnownHostsFile=/dev/null -o StrictHostKeyChecking=accept-new",
        known.display()
    );
    play.apply(&["--ssh-common-args", &options]);
    assert!(host.has("/srv/there"));
    play.converged(&[]);
}

#[test]
fn a_wrong_sudo_password_is_said_and_stays_hidden() {
    let lab = Lab::up();
    let host = lab.host("host", "10.77.1.21", Flavour::El);
    let play = Play::tasks(&lab, TASKS);
    play.put("wrong", "not-the-word\n");
    for transport in ["agent", "ssh", "auto"] {
        let words = [
            "--yes",
            "--transport",
            transport,
            "-u",
            "ops",
            "-b",
            "--become-password-file",
            "wrong",
        ];
        let run = play.run(&words).ended(1);
        run.says("sudo does not take the password");
        assert!(!run.words().contains("not-the-word"), "{run}");
        let run = play
            .run(&["--yes", "--transport", transport, "-u", "ops", "-b"])
            .ended(1);
        run.says("asks for a password");
    }
    assert!(!host.has("/srv/there"));
}

#[test]
fn an_unknown_user_and_an_unknown_key_are_refused() {
    let lab = Lab::up();
    let host = lab.host("host", "10.77.1.21", Flavour::Debian);
    let play = Play::tasks(&lab, TASKS);
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(play.folder().join("stranger"))
        .status();
    assert!(made.unwrap().success());
    let run = play.run(&["--yes", "-u", "nobody-here"]).ended(3);
    run.says("nobody-here");
    let run = play.run(&["--yes", "--private-key", "stranger"]).ended(3);
    run.says("stranger");
    assert!(!host.has("/srv/there"));
}
