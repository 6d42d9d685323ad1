//! Links cut and power lost in the middle of a large write: the old file stays whole, and the next run finds its way.

use okd_tests::{Flavour, Host, Lab, Play, until};

/// No more than a window of 2 MB is under way on a link, so that 400 ms for each make the write last.
const LARGE: usize = 16 << 20;
const SLOW: &[&str] = &["--delay", "200"];
const TASKS: &str = "    - name: Large\n      copy: {src: large, dest: /srv/okd/large, mode: \"0644\"}\n";

/// A file that no compression shortens, and a host that has an old one in its place.
fn prepared(lab: &Lab) -> (Host<'_>, Play<'_>) {
    let host = lab.host_with("host", "10.77.1.21", Flavour::Debian, SLOW);
    host.sh("mkdir /srv/okd; echo old > /srv/okd/large; touch /run/old");
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
    let run = play.start(&["--yes", "--transport", transport]);
    until("the plan is made", 120, || {
        run.so_far().contains("\"pass\":\"plan\"").then_some(())
    });
    let before = host.received("eth0");
    until("a part of the file has come", 60, || {
        (host.received("eth0") - before > (LARGE / 8) as u64).then_some(())
    });
    host.verb("cut");
    let came = host.received("eth0") - before;
    assert!(
        came < LARGE as u64,
        "the whole file had come before the cut: {came} bytes"
    );
    let run = run.wait().ended(3);
    assert_eq!(run.status("apply", "host", "Large"), "unreachable", "{run}");
    run.says("did not answer");
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
    until("the plan is made", 120, || {
        run.so_far().contains("\"pass\":\"plan\"").then_some(())
    });
    // The agent writes in no time: it is halted as soon as there is something of the new file, or all of it.
    host.sh(
        "timeout 120 sh -c 'until [ /srv/okd/large -nt /run/old ]; do for f in /srv/okd/.*; do case $f in */.|*/..) ;; *) [ ! -e $f ] || exit 0 ;; esac; done; done'
         pkill -STOP -f 'okd-play/[a]gent-' || true",
    );
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
