//! The services host is asked what a cluster will ask it, from itself and from outside; the table says what is wrong.

use okd_tests::{Flavour, Lab, Play};
use std::path::Path;

const PROBERS: &str = "all:
  children:
    probers:
      hosts:
        visitor: {ansible_host: 10.77.1.31, side: outside}
        beside: {ansible_host: 10.0.0.40, side: inside, mac: '52:54:00:00:10:05'}
";

fn of<'lab>(lab: &'lab Lab, playbook: &str) -> Play<'lab> {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .canonicalize()
        .unwrap();
    Play::of(lab, root.join(playbook), root.join("inventory/lab"))
}

#[test]
fn a_services_host_answers_and_what_does_not_is_named() {
    let lab = Lab::up();
    let services = lab.host("services-el", "10.77.1.21", Flavour::El);
    lab.host("visitor", "10.77.1.31", Flavour::Client);
    lab.site("inner", "-");
    services.nic("eth1", "inner", "10.0.0.1/24");
    lab.verb(&["bridge", "inner", "-", "10.0.0.254/24"]);
    let beside = ["host", "beside", "inner", "10.0.0.40/24", "client"];
    lab.verb(&beside);
    of(&lab, "playbooks/services.yaml").apply(&["--limit", "services-el"]);
    let verify = of(&lab, "playbooks/verify.yaml");
    verify.put("probers.yaml", PROBERS);
    let words = [
        "-i",
        "probers.yaml",
        "--yes",
        "--limit",
        "services-el,visitor,beside,localhost",
    ];
    let good = verify.run(&words).ended(0);
    for part in [
        "DNS anything.at.all.apps.okd.example.org A of 10.0.0.1",
        "HTTP http://10.0.0.1:8080/auth/kubeconfig",
        "TCP 10.77.1.21:22623",
        "ping 10.0.0.1 with 1422 bytes unfragmented",
        "DHCP eth0 as 52:54:00:00:10:05",
    ] {
        assert!(good.out.contains(part), "{part} was not asked\n{good}");
    }
    assert!(!good.out.contains("FAILED"), "{good}");
    services.sh("systemctl stop haproxy && firewall-cmd -q --zone=external --add-port=8080/tcp");
    let bad = verify.run(&words).ended(1);
    for part in ["closed; wanted open", "open; wanted closed"] {
        assert!(bad.out.contains(part), "{part} is not told\n{bad}");
    }
}
