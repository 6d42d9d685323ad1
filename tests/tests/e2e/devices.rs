//! Bridges and tunnels are taken back, whichever program makes them: the kernel has what it had, the files are those that
//! were, a port does again what its own configuration says, and a guard watched over it. What carries us is left.

use okd_tests::{Flavour, Host, Lab, Play, Run, until};

const MADE: &str = "
    - bridge: {name: br9, ports: [eth1, eth2], addresses: [10.19.0.1/24], mtu: 1450}
    - vxlan: {name: vxlan9, id: 9, local: 10.77.1.21, remotes: [10.77.1.99], bridge: br9, mtu: 1450}
";
const CHANGED: &str = "
    - bridge: {name: br9, ports: [eth1, eth2], addresses: [10.19.0.2/24], mtu: 1400}
    - vxlan: {name: vxlan9, id: 10, local: 10.77.1.21, remotes: [10.77.1.98, 10.77.1.97], bridge: br9, mtu: 1400}
";
const WITHOUT_PORT: &str = "
    - bridge: {name: br9, addresses: [10.19.0.2/24], mtu: 1400}
    - vxlan: {name: vxlan9, id: 10, local: 10.77.1.21, remotes: [10.77.1.97], bridge: br9, mtu: 1400}
";
const MADE_BARE: &str = "
    - bridge: {name: br9, addresses: [10.19.0.2/24], mtu: 1400, stp: true}
    - vxlan: {name: vxlan9, id: 10, local: 10.77.1.21, remotes: [10.77.1.97], bridge: br9, mtu: 1400}
";
const GONE: &str = "
    - vxlan: {name: vxlan9, id: 10, local: 10.77.1.21, state: absent}
    - bridge: {name: br9, state: absent}
";

/// What the kernel has of interfaces.
fn kernel(host: &Host<'_>) -> String {
    host.sh(
        "cd /sys/class/net; for name in *; do
            echo \"$name mtu $(cat $name/mtu) in $(basename \"$(readlink $name/master)\") up $(($(cat $name/flags) & 1))\"; done
        ip -o addr show scope global | while read -r _ name _ address _; do echo $name $address; done
        [ ! -e vxlan9 ] || { bridge fdb show dev vxlan9 | grep ^00:00:00:00:00:00 | sort
            ip -d link show vxlan9 | grep -o 'vxlan id [0-9]* local [^ ]*'; }",
    )
}

/// The files that make them at boot.
fn files(host: &Host<'_>) -> String {
    host.sh("for folder in /etc/NetworkManager /etc/systemd/network /etc/network; do
            [ ! -e $folder ] || find $folder -printf '%p %y %m %u:%g\\n' | sort
            [ ! -e $folder ] || find $folder -type f -exec sha256sum {} + | sort; done")
}

fn newest(play: &Play<'_>) -> String {
    play.runs()[0]["id"].as_str().unwrap().to_owned()
}

/// Applies tasks; the run's id.
fn ran(play: &Play<'_>, tasks: &str) -> String {
    play.put(
        "play.yaml",
        &format!("- hosts: all\n  gather_facts: false\n  tasks:{tasks}"),
    );
    play.apply(&[]);
    play.converged(&[]);
    newest(play)
}

/// Nothing of a guard is left to go off.
fn unwatched(host: &Host<'_>) {
    until("no guard is left", 30, || {
        host.sh("systemctl list-units --all --no-legend --plain 'okd-play-guard*'; ls -A /var/lib/okd-play/guard 2>/dev/null || :")
            .is_empty()
            .then_some(())
    });
}

/// Takes a run back, as its plan said it, under guard; the id of the run that did so.
fn undone(play: &Play<'_>, host: &Host<'_>, run: &str) -> String {
    let name = format!("undo of {run}");
    let seen = (kernel(host), files(host));
    let planned = play.okd(&["undo", run, "--check", "--output", "json"]).ended(0);
    assert_eq!((kernel(host), files(host)), seen, "a plan changed something\n{planned}");
    let applied = play.okd(&["undo", run, "--yes", "--output", "json"]).ended(0);
    let of = |run: &Run, pass| run.result(pass, &host.name, &name).clone();
    let (plan, apply) = (of(&planned, "plan"), of(&applied, "apply"));
    assert_eq!(plan["diff"], apply["diff"], "{applied}");
    assert_eq!(plan["result"]["okd_guard"]["state"], "planned", "{planned}");
    assert_eq!(apply["result"]["okd_guard"]["state"], "confirmed", "{applied}");
    assert_eq!(apply["result"]["left"].as_array().map(Vec::len), Some(0), "{applied}");
    unwatched(host);
    let undo = newest(play);
    let again = play.okd(&["undo", run, "--yes", "--output", "json"]).ended(0);
    assert_eq!(again.status("plan", &host.name, &name), "ok", "{again}");
    undo
}

fn taken_back(flavour: Flavour, prepare: &str) {
    let lab = Lab::up();
    let host = lab.host("host", "10.77.1.21", flavour);
    lab.site("inner", "-");
    host.nic("eth1", "inner", "-");
    // Not the same site: the bridge would make a ring of the two.
    lab.site("other", "-");
    host.nic("eth2", "other", "-");
    host.sh(prepare);
    until("the port has its address", 30, || {
        kernel(&host).contains("eth1 10.9.0.1/24").then_some(())
    });
    let look = || (kernel(&host), files(&host));
    let before = look();
    let play = Play::tasks(&lab, MADE);
    let first = ran(&play, MADE);
    let made = look();
    assert!(
        made.0.contains("eth1 mtu 1500 in br9 up 1") && !made.0.contains("10.9.0.1"),
        "{}",
        made.0
    );
    let second = ran(&play, CHANGED);
    let changed = look();
    let third = ran(&play, WITHOUT_PORT);
    let fourth = ran(&play, GONE);
    undone(&play, &host, &fourth);
    undone(&play, &host, &third);
    assert_eq!(look(), changed, "after the undo of what took the port out");
    undone(&play, &host, &second);
    assert_eq!(look(), made, "after the undo of the change");
    let undo = undone(&play, &host, &first);
    let port = || kernel(&host).contains("eth1 10.9.0.1/24").then_some(());
    until("the port is what its own configuration says", 30, port);
    assert_eq!(look(), before, "after the undo of the first run");
    undone(&play, &host, &undo);
    assert_eq!(look(), made, "after the undo of the undo");
    // What somebody has changed since is left, with its files.
    host.sh("ip link set br9 mtu 1440");
    let redo = newest(&play);
    let left = play.okd(&["undo", &redo, "--yes"]).ended(4);
    left.says("br9: it was changed since, its MTU; --force takes it back all the same");
    left.says("br9 stays, which it makes");
    let now = look();
    assert!(
        now.0.contains("br9 mtu 1440") && !now.0.contains("vxlan9"),
        "{}{left}",
        now.0
    );
    assert!(now.1.contains("br9") && !now.1.contains("vxlan9"), "{}{left}", now.1);
    play.okd(&["undo", &redo, "--yes", "--force"]).ended(0);
    until("the port is what its own configuration says", 30, port);
    assert_eq!(look(), before, "after an undo by force");
    host.sh("! command -v ifreload >/dev/null || ifreload -a");
    assert_eq!(
        look(),
        before,
        "after what ifupdown2 remembers is compared with its files"
    );
}

/// What nobody's file makes is brought back by ip(8).
#[test]
fn what_was_made_by_hand_comes_back_by_hand() {
    let lab = Lab::up();
    let host = lab.host("host", "10.77.1.21", Flavour::Debian);
    host.sh("systemctl -q enable --now systemd-networkd
        ip link add br9 type bridge forward_delay 400 ageing_time 20000
        ip link set br9 mtu 1420 up; ip addr add 10.19.0.9/24 dev br9; ip addr add 10.19.1.9/24 dev br9
        ip link add vxlan9 type vxlan id 7 local 10.77.1.21 dstport 4790 nolearning
        bridge fdb append 00:00:00:00:00:00 dev vxlan9 dst 10.77.1.90
        ip link set vxlan9 mtu 1420 master br9 up");
    let look = || {
        let more = host.sh("for name in br9 vxlan9; do ip -d link show $name | grep -o 'forward_delay [0-9]*\\|ageing_time [0-9]*\\|dstport [0-9]*\\|nolearning'; done");
        (kernel(&host), files(&host), more)
    };
    let before = look();
    let play = Play::tasks(&lab, GONE);
    let gone = ran(&play, GONE);
    undone(&play, &host, &gone);
    assert_eq!(look(), before);
    let other = ran(&play, MADE_BARE);
    undone(&play, &host, &other);
    assert_eq!(look(), before);
}

/// Without it the host cannot be reached.
const CARRYING: &str = "
    - bridge: {name: br9, ports: [eth0], addresses: [10.77.1.21/24], gateway: 10.77.1.1, force: true}
";

#[test]
fn what_carries_us_is_left() {
    let lab = Lab::up();
    let host = lab.host("host", "10.77.1.21", Flavour::Debian);
    host.sh("systemctl -q enable --now systemd-networkd");
    let before = files(&host);
    let play = Play::tasks(&lab, CARRYING);
    let run = ran(&play, CARRYING);
    let made = (kernel(&host), files(&host));
    assert!(made.0.contains("br9 10.77.1.21/24"), "{}", made.0);
    let name = format!("undo of {run}");
    let left = play.okd(&["undo", &run, "--yes", "--output", "json"]).ended(0);
    assert_eq!(left.status("plan", "host", &name), "ok", "{left}");
    left.says("br9: br9 carries an SSH connection to this host");
    left.says("50-okd-br9.netdev: br9 stays, which it makes");
    assert_eq!((kernel(&host), files(&host)), made);
    // Nothing gives the address to anything else: the guard brings the bridge back.
    let force = |guard| play.okd(&["undo", &run, "--yes", "--force", "--output", "json", "-e", guard]);
    let back = force("okd_guard=5").ended(1);
    assert_eq!(
        back.result("apply", "host", &name)["result"]["okd_guard"]["state"],
        "put back",
        "{back}"
    );
    assert_eq!((kernel(&host), files(&host)), made);
    host.put(
        "/etc/systemd/network/60-eth0.network",
        b"[Match]\nName=eth0\n[Network]\nLinkLocalAddressing=no\nAddress=10.77.1.21/24\nGateway=10.77.1.1\n",
    );
    let gone = force("okd_guard=60").ended(0);
    assert_eq!(
        gone.result("apply", "host", &name)["result"]["okd_guard"]["state"],
        "confirmed",
        "{gone}"
    );
    host.sh("rm /etc/systemd/network/60-eth0.network");
    assert_eq!(files(&host), before);
    let kernel = kernel(&host);
    assert!(
        kernel.contains("eth0 10.77.1.21/24") && !kernel.contains("br9"),
        "{kernel}"
    );
}

#[test]
fn what_networkd_makes_is_taken_back() {
    taken_back(
        Flavour::Debian,
        "printf '[Match]\\nName=eth1\\n[Network]\\nLinkLocalAddressing=no\\nAddress=10.9.0.1/24\\n' >/etc/systemd/network/60-eth1.network
        systemctl -q enable --now systemd-networkd",
    );
}

#[test]
fn what_networkmanager_makes_is_taken_back() {
    taken_back(
        Flavour::El,
        "dnf -q -y install NetworkManager
        mkdir -p /etc/NetworkManager/system-connections /etc/NetworkManager/conf.d
        printf '[main]\\nno-auto-default=*\\n' >/etc/NetworkManager/conf.d/none.conf
        file=/etc/NetworkManager/system-connections/eth1.nmconnection
        printf '[connection]\\nid=eth1\\ntype=ethernet\\ninterface-name=eth1\\n[ipv4]\\nmethod=manual\\naddress1=10.9.0.1/24\\n[ipv6]\\nmethod=disabled\\n' >$file
        chmod 600 $file; systemctl -q enable --now NetworkManager",
    );
}

#[test]
fn what_ifupdown2_makes_is_taken_back() {
    taken_back(
        Flavour::Debian,
        "apt-get -qq -y install ifupdown2
        printf 'auto eth1\\niface eth1\\n    address 10.9.0.1/24\\n' >/etc/network/interfaces.d/eth1
        grep -q interfaces.d /etc/network/interfaces 2>/dev/null || echo 'source /etc/network/interfaces.d/*' >>/etc/network/interfaces
        mkdir -p /run/network; ifup eth1",
    );
}
