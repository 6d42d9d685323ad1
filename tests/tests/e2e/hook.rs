//! What the stand-in of Proxmox VE notes is made real by its hook: bridges, a host from a cloud image's drive, a guest.

use okd_tests::{Host, Lab, Play};
use serde_json::{Value, json};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

const DRIVE: &str = r#"
- hosts: localhost
  gather_facts: false
  tasks:
    - name: The user's key
      openssh_keypair: {path: "{{ playbook_dir }}/user_key", type: ed25519}
      register: user_key
    - name: The host's key
      openssh_keypair: {path: "{{ playbook_dir }}/host_key", type: ed25519}
    - name: The drive
      nocloud_iso:
        dest: "{{ playbook_dir }}/drive.iso"
        hostname: services.lab.test
        host_key: "{{ playbook_dir }}/host_key"
        user_data:
          users:
            - name: carol
              sudo: ALL=(ALL) NOPASSWD:ALL
              ssh_authorized_keys: ["{{ user_key.public_key }}"]
        network_config:
          version: 2
          ethernets:
            outer:
              match: {macaddress: "bc:24:11:00:00:01"}
              addresses: [10.77.9.21/24]
              routes: [{to: default, via: 10.77.9.1}]
              nameservers: {addresses: [10.77.9.1]}
            inner:
              match: {macaddress: "bc:24:11:00:00:02"}
              addresses: [10.0.0.1/24]
              mtu: 1450
"#;

const MET: &str = r#"
- hosts: all
  gather_facts: false
  become: true
  tasks:
    - name: It answers
      wait_for_connection: {timeout: 60}
    - name: Who and where
      shell: hostname; ip -br -4 addr show eth0; ip -br -4 addr show eth1; cat /sys/class/net/eth1/mtu; ip route show default; cat /etc/resolv.conf; id -un
      changed_when: false
      register: said
    - name: Kept
      copy: {dest: /root/said, content: "{{ said.stdout }}\n"}
"#;

const HOSTS: &str = "all:\n  hosts:\n    services: {ansible_host: 10.77.9.21, okd_expected: el9}\n";

/// Tells the hook of an event in a lab, as the stand-in does.
fn tell(lab: &Lab, folder: &Path, event: &str, more: Value) -> Value {
    let mut said = more;
    said["event"] = event.into();
    said["state_dir"] = folder.to_str().unwrap().into();
    let mut child = Command::new(env!("CARGO_BIN_EXE_pve-hook"))
        .arg(event)
        .env("OKD_LAB_NAME", lab.name())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(said.to_string().as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{event}: {words}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn bridge(name: &str, address: Option<&str>, gateway: Option<&str>, mtu: Option<u64>) -> Value {
    json!({ "name": name, "type": "bridge", "address": address, "gateway": gateway, "mtu": mtu })
}

/// A machine as the stand-in tells it: cards on bridges, drives, an order.
fn machine(vmid: u64, name: &str, nets: &[(&str, &str)], drives: &Value, boot: &[&str]) -> Value {
    let nets: Vec<Value> = nets
        .iter()
        .map(|(mac, bridge)| json!({ "name": "net0", "mac": mac, "bridge": bridge, "mtu": 1 }))
        .collect();
    json!({ "vmid": vmid, "name": name, "nets": nets, "drives": drives, "boot": boot })
}

fn line(lab: &Lab, name: &str) -> Option<String> {
    let all = lab.verb(&["list"]);
    let found = all.lines().find(|line| line.split_whitespace().next() == Some(name));
    found.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
}

#[test]
fn what_the_stand_in_notes_is_made_real() {
    let lab = Lab::up();
    let drive = Play::new(&lab, DRIVE);
    drive.put("hosts.yaml", HOSTS);
    drive.run(&["--yes"]).ended(0);
    let folder = drive.folder();
    let outer = bridge("vmbr0", Some("10.77.9.2/24"), Some("10.77.9.1"), None);
    let inner = bridge("vmbr1", None, None, Some(1450));
    let eth = json!({ "name": "eno1", "type": "eth" });
    tell(
        &lab,
        folder,
        "network-apply",
        json!({ "interfaces": [eth, outer, inner], "vnets": [] }),
    );

    let cards = [("BC:24:11:00:00:01", "vmbr0"), ("BC:24:11:00:00:02", "vmbr1")];
    let image = folder.join("drive.iso");
    let drives = json!([{ "name": "scsi0", "media": "disk", "path": "/nowhere" }, { "name": "ide2", "media": "cdrom", "path": image }]);
    let services = machine(100, "services.lab.test", &cards, &drives, &["scsi0"]);
    let answer = tell(&lab, folder, "vm-start", services.clone());
    assert!(Path::new(&format!("/proc/{}", answer["pid"])).exists(), "{answer}");
    assert_eq!(tell(&lab, folder, "vm-start", services.clone()), answer);
    met(&lab, &drive);

    tell(&lab, folder, "vm-stop", services.clone());
    assert_eq!(
        line(&lab, "services-lab-test").unwrap(),
        "services-lab-test 10.77.9.21 off el"
    );
    tell(&lab, folder, "vm-start", services.clone());
    lab.verb(&["wait", "services-lab-test"]);
    let host = Host::of(&lab, "services-lab-test", "10.77.9.21");
    assert!(host.has("/root/said"), "the disk was not kept");

    let live = Path::new(lab.verb(&["media"]).trim()).join("live.iso");
    let disk = folder.join("disk.raw");
    std::fs::File::create(&disk).unwrap().set_len(64 << 20).unwrap();
    let drives =
        json!([{ "name": "scsi0", "media": "disk", "path": disk }, { "name": "ide2", "media": "cdrom", "path": live }]);
    let node = machine(
        101,
        "bootstrap",
        &[("BC:24:11:00:00:03", "vmbr1")],
        &drives,
        &["scsi0", "ide2", "net0"],
    );
    tell(&lab, folder, "vm-start", node.clone());
    assert_eq!(line(&lab, "bootstrap").unwrap(), "bootstrap - on guest");
    okd_tests::until("the guest boots", 30, || {
        lab.verb(&["console", "bootstrap"])
            .contains("guest: asks for a lease")
            .then_some(())
    });

    for machine in [services, node] {
        tell(&lab, folder, "vm-stop", machine.clone());
        tell(&lab, folder, "vm-destroy", machine);
    }
    assert_eq!(lab.verb(&["list"]), "");
    tell(&lab, folder, "network-apply", json!({ "interfaces": [], "vnets": [] }));
    let links = lab.verb(&["exec", "ip", "-br", "link"]);
    assert!(!links.contains("vmbr"), "{links}");
}

/// Reaches the host by what the drive said alone: the user, the user's key, and the host's key known before.
fn met(lab: &Lab, drive: &Play<'_>) {
    let play = Play::new(lab, MET);
    play.put("hosts.yaml", HOSTS);
    let key = std::fs::read_to_string(drive.folder().join("host_key.pub")).unwrap();
    play.put("known_hosts", &format!("10.77.9.21 {key}"));
    let user_key = drive.folder().join("user_key");
    play.run(&["--yes", "-u", "carol", "--private-key", user_key.to_str().unwrap()])
        .ended(0);
    let said = Host::of(lab, "services-lab-test", "10.77.9.21").read("/root/said");
    for part in [
        "services.lab.test",
        "10.77.9.21/24",
        "10.0.0.1/24",
        "1450",
        "default via 10.77.9.1",
        "nameserver 10.77.9.1",
        "root",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
}
