//! The machines' network over three hosts that only know each other's addresses, each set up by another program: NetworkManager,
//! systemd-networkd, ifupdown2. Whole packets pass, larger ones do not, strangers' tunnels are shut out, and it is there after a boot.

use okd_tests::{Flavour, Host, Lab, Play, until};
use std::path::{Path, PathBuf};

const HOSTS: &str = "
all:
  vars:
    cluster:
      name: okd
      base_domain: example.org
      network: 10.0.0.0/24
      services: 10.0.0.1
      machines: {masters: [{name: master1, ip: 10.0.0.2}]}
      vxlan: {vni: 100}
    ends: [10.0.0.1, 10.0.0.12, 10.0.0.13]
  children:
    services: {hosts: {el: {}}}
    vteps:
      hosts:
        el: {ansible_host: 10.77.1.21, vtep: 10.77.1.21, inner_address: 10.0.0.1, inner_interface: br-okd}
        networkd: {ansible_host: 10.77.1.22, vtep: 10.77.1.22, inner_address: 10.0.0.12}
        ifupdown: {ansible_host: 10.77.1.23, vtep: 10.77.1.23, inner_address: 10.0.0.13, inner_interface: vmbr9}
";

/// From each end to each other one, and from a machine behind the first to one behind the last: 1422 bytes of data are 1450
/// with the headers of ICMP and IPv4, and 1500 with what the tunnel adds.
const ASK: &str = "
- hosts: vteps
  gather_facts: false
  vars: {others: '{{ ends | difference([inner_address]) }}'}
  tasks:
    - name: Whole packets
      probe: {ping: '{{ item }}', size: 1422, df: true}
      loop: '{{ others }}'
    - name: Larger packets
      probe: {ping: '{{ item }}', size: 1423, df: true, retries: 0}
      loop: '{{ others }}'
      register: larger
      changed_when: false
      failed_when: larger is not failed or 'essage too long' not in larger.msg
    - name: Whole packets between machines
      probe: {ping: 10.0.0.103, size: 1422, df: true, netns: machine}
      when: inner_address == '10.0.0.1'
";

fn root(path: &str) -> PathBuf {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    root.join(path).canonicalize().unwrap()
}

fn play<'lab>(lab: &'lab Lab, playbook: PathBuf, hosts: &str) -> Play<'lab> {
    let play = Play::of(lab, playbook, "hosts.yaml".into());
    play.put("hosts.yaml", hosts);
    play
}

fn asked(lab: &Lab) {
    let play = play(lab, "ask.yaml".into(), HOSTS);
    play.put("ask.yaml", ASK);
    play.converged(&[]);
}

/// A machine on a host's bridge, as a namespace; its packets are as long as DHCP would tell it. Its end in the bridge is called
/// `port`, which makes a fact `ansible_port` that is none of a host's SSH.
fn machine(host: &Host<'_>, bridge: &str, address: &str) {
    host.sh(&format!(
        "ip netns add machine
        ip link add port type veth peer name eth0 netns machine
        ip link set port mtu 1450 master {bridge} up
        ip -n machine addr add {address}/24 dev eth0; ip -n machine link set eth0 mtu 1450 up"
    ));
}

/// Whether somebody who is none of the ends comes in by a tunnel of his own.
fn comes_in(stranger: &Host<'_>, vtep: &str, address: &str) -> bool {
    stranger.sh(&format!(
        "ip link del vxlan0 2>/dev/null || :
        ip link add vxlan0 type vxlan id 100 local 10.77.1.66 remote {vtep} dstport 4789 dev eth0
        ip addr add 10.0.0.66/24 dev vxlan0; ip link set vxlan0 mtu 1450 up"
    ));
    stranger.holds(&format!("ping -nq -c 2 -i 0.2 -W 2 {address}"))
}

#[test]
fn three_programs_make_one_network_of_which_strangers_are_no_part() {
    let lab = Lab::up();
    let el = lab.host("el", "10.77.1.21", Flavour::El);
    let networkd = lab.host("networkd", "10.77.1.22", Flavour::Debian);
    let ifupdown = lab.host("ifupdown", "10.77.1.23", Flavour::Debian);
    let stranger = lab.host("stranger", "10.77.1.66", Flavour::Client);
    el.sh("dnf -q -y install NetworkManager firewalld && systemctl -q enable --now NetworkManager");
    networkd.sh("systemctl -q enable --now systemd-networkd");
    ifupdown.sh("apt-get -qq -y install ifupdown2");

    let overlay = play(&lab, root("playbooks/overlay.yaml"), HOSTS);
    // What the tunnel adds has to fit below it.
    networkd.sh("ip link set eth0 mtu 1499");
    let narrow = overlay.run(&["--yes", "--limit", "networkd"]).ended(1);
    narrow.says("an MTU of 1450 does not fit through eth0: 1499 - 20 IPv4 - 8 UDP - 8 VXLAN - 14 Ethernet = 1449");
    networkd.sh("ip link set eth0 mtu 1500");

    overlay.apply(&[]);
    overlay.converged(&[]);
    machine(&el, "br-okd", "10.0.0.101");
    machine(&ifupdown, "vmbr9", "10.0.0.103");
    asked(&lab);
    for (vtep, address) in [
        ("10.77.1.21", "10.0.0.1"),
        ("10.77.1.22", "10.0.0.12"),
        ("10.77.1.23", "10.0.0.13"),
    ] {
        assert!(
            comes_in(&stranger, vtep, address),
            "nothing guards {vtep}, and it cannot be reached"
        );
    }

    // VXLAN asks nobody who he is: the firewall has to.
    let guarded = ["-e", "outer_interface=eth0"];
    overlay.apply(&guarded);
    overlay.converged(&guarded);
    let services = play(&lab, root("playbooks/services.yaml"), HOSTS);
    let firewall = [&guarded[..], &["--tags", "firewall"]].concat();
    services.apply(&firewall);
    services.converged(&firewall);
    asked(&lab);
    for (vtep, address) in [
        ("10.77.1.21", "10.0.0.1"),
        ("10.77.1.22", "10.0.0.12"),
        ("10.77.1.23", "10.0.0.13"),
    ] {
        assert!(!comes_in(&stranger, vtep, address), "a stranger comes in at {vtep}");
    }

    // A lab host's devices outlive its boot; what makes them anew is what lies on its disk.
    for (host, bridge) in [(&el, "br-okd"), (&networkd, "br-okd"), (&ifupdown, "vmbr9")] {
        // Nothing may make them again before the power is gone: they would be there at the boot, and nobody's.
        host.sh(&format!(
            "systemctl -q stop NetworkManager systemd-networkd 2>/dev/null || :; ip link del vxlan100; ip link del {bridge}"
        ));
        host.verb("kill");
        host.verb("start");
    }
    for (host, bridge) in [(&el, "br-okd"), (&networkd, "br-okd"), (&ifupdown, "vmbr9")] {
        // A program may make a bridge well before it gives it its address.
        until("the bridge has its address", 60, || {
            host.holds(&format!("ip -4 addr show {bridge} | grep -q 'inet 10.0.0'"))
                .then_some(())
        });
    }
    machine(&el, "br-okd", "10.0.0.101");
    machine(&ifupdown, "vmbr9", "10.0.0.103");
    asked(&lab);
    overlay.converged(&guarded);
}
