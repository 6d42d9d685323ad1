//! What the pushed agent leaves on a host: its file, and nothing that runs.

use okd_tests::{Flavour, Lab, Play, until};

#[test]
fn only_its_file_stays() {
    let lab = Lab::up();
    let host = lab.host("deb", "10.77.1.22", Flavour::Debian);
    let play = Play::tasks(&lab, "    - ping:\n");
    play.apply(&["--transport", "agent"]);
    let files = host.sh("ls -A /var/lib/okd-play");
    assert_eq!(files.lines().count(), 1, "{files}");
    assert!(files.starts_with("agent-"), "{files}");
    until("the agent ends", 10, || {
        (!host.holds("pgrep -f okd-play/[a]gent-")).then_some(())
    });
    let sent = host.received("eth0");
    play.apply(&["--transport", "agent"]);
    assert!(host.received("eth0") - sent < 200_000, "it was sent again");
}

#[test]
fn one_that_was_damaged_is_replaced() {
    let lab = Lab::up();
    let host = lab.host("deb", "10.77.1.22", Flavour::Debian);
    let play = Play::tasks(&lab, "    - ping:\n");
    play.apply(&["--transport", "agent"]);
    let file = host.sh("ls -d /var/lib/okd-play/agent-*").trim().to_owned();
    let sum = host.sha256(&file).unwrap();
    // As after a power cut: the name is there, the bytes are not.
    host.sh(&format!("truncate -s 100000 {file}"));
    play.apply(&["--transport", "agent"]);
    assert_eq!(host.sha256(&file).unwrap(), sum);
}
