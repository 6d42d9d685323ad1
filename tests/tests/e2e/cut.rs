//! Links cut and power lost in the middle of a large write: the old file stays whole, and the next run finds its way.

use okd_tests::{Flavour, Host, Lab, Play, until};

const LARGE: usize = 64 << 20;
const TASKS: &str = "    - name: Large\n      copy: {src: large, dest: /srv/okd/large, mode: \"0644\"}\n";

/// A file that no compression shortens, and a host that has an old one in its place.
fn prepared(lab: &Lab) -> (Host<'_>, Play<'_>) {
    let host = lab.host("host", "10.77.1.21", Flavour::Debian);
    host.sh("mkdir /srv/okd; echo old > /srv/okd/large");
    let play = Play::tasks(lab, TASKS);
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let bytes: Vec<u8> = (0..LARGE / 8)
        .flat_map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        })
        .collect();
    std::fs::write(play.folder().join("large"), bytes).unwrap();
    (host, play)
}

/// Nothing but what should be there lies in the folder.
fn alone(host: &Host<'_>) {
    assert_eq!(host.sh("ls -A /srv/okd"), "large\n");
}

fn healed(host: &Host<'_>, play: &Play<'_>, transport: &str) {
    play.apply(&["--transport", transport]);
    assert_eq!(host.sh("stat -c %s /srv/okd/large"), format!("{LARGE}\n"));
    alone(host);
    play.converged(&["--transport", transport]);
}

fn link_cut(transport: &str) {
    let lab = Lab::up();
    let (host, play) = prepared(&lab);
    // The agent itself is sent before, so that what is counted is the file.
    Play::tasks(&lab, "    - ping:\n").apply(&["--transport", transport]);
    let before = host.received("eth0");
    let run = play.start(&["--yes", "--transport", transport]);
    until("a part of the file has come", 60, || {
        (host.received("eth0") - before > (LARGE / 8) as u64).then_some(())
    });
    host.verb("cut");
    assert!(
        host.received("eth0") - before < LARGE as u64,
        "the whole file had come before the cut"
    );
    let run = run.wait().ended(3);
    run.says("10.77.1.21");
    assert_eq!(host.read("/srv/okd/large"), "old\n");
    host.verb("heal");
    healed(&host, &play, transport);
}

#[test]
fn a_link_cut_in_a_write_by_the_agent_leaves_the_old_file() {
    link_cut("agent");
}

#[test]
fn a_link_cut_in_a_write_by_plain_ssh_leaves_the_old_file() {
    link_cut("ssh");
}

fn power_cut(transport: &str) {
    let lab = Lab::up();
    let (host, play) = prepared(&lab);
    let run = play.start(&["--yes", "--transport", transport]);
    until("a new file is being written", 60, || {
        host.holds("[ -n \"$(find /srv/okd -name '.*' -size +1M)\" ]")
            .then_some(())
    });
    host.verb("kill");
    drop(run);
    host.verb("start");
    let whole = host.sh("stat -c %s /srv/okd/large");
    assert!(
        ["4\n".to_owned(), format!("{LARGE}\n")].contains(&whole),
        "a torn file of {whole}"
    );
    healed(&host, &play, transport);
}

#[test]
fn power_lost_in_a_write_by_the_agent_tears_no_file() {
    power_cut("agent");
}

#[test]
fn power_lost_in_a_write_by_plain_ssh_tears_no_file() {
    power_cut("ssh");
}
