//! `okd-play undo` of what a run did through the interface: what is brought back, what stays and why, and that no journal
//! holds the token's secret.

use super::{boot1, known, vm, wish};
use okd_tests::pve::{StandIn, TOKEN};
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Stdio};

/// The variable that answers for the token of the stand-in.
const ANSWER: &str = "token_okd_pve_play_at_127_0_0_1";

/// A folder with a playbook and the state of its runs.
struct Site {
    server: StandIn,
    folder: tempfile::TempDir,
}

impl Site {
    /// Of these tasks for each of these hosts.
    fn new(hosts: &str, tasks: &str) -> Site {
        let (server, folder) = (StandIn::start(), tempfile::tempdir().unwrap());
        let (user, id, secret) = TOKEN;
        let play = format!(
            "- hosts: {hosts}\n  gather_facts: false\n  vars:\n    pve: &pve\n      api_host: {}\n      api_port: {}\n      api_user: {user}\n      api_token_id: {id}\n      api_token_secret: {secret}\n      ca_path: {}\n  module_defaults:\n    proxmox_bridge: *pve\n    proxmox_firewall: *pve\n    proxmox_image: *pve\n    proxmox_sendkey: *pve\n    proxmox_vm: *pve\n  tasks:\n{tasks}",
            server.address.ip(),
            server.address.port(),
            server.ca().display()
        );
        std::fs::write(folder.path().join("play.yaml"), play).unwrap();
        std::fs::write(folder.path().join("answer.yaml"), format!("{ANSWER}: {secret}\n")).unwrap();
        std::fs::write(folder.path().join("disc.iso"), "a disc").unwrap();
        Site { server, folder }
    }

    fn okd(&self, words: &[&str], code: i32) -> String {
        let output = Command::new(okd_tests::play::program())
            .args(words)
            .current_dir(self.folder.path())
            .env("XDG_STATE_HOME", self.folder.path().join("state"))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{words:?}: {text}");
        assert!(!text.contains(TOKEN.2), "{text}");
        text
    }

    fn run(&self, hosts: &str) -> String {
        self.okd(&["run", "-i", hosts, "play.yaml", "--yes"], 0);
        self.last()
    }

    /// Takes a run back, with the answer from a file.
    fn undo(&self, run: &str, more: &[&str]) -> String {
        let mut words = vec!["undo", run, "-e", "@answer.yaml"];
        words.extend(more);
        self.okd(&words, 0)
    }

    /// The newest run; no journal holds the secret.
    fn last(&self) -> String {
        let mut all: Vec<_> = std::fs::read_dir(self.folder.path().join("state/okd-play/runs"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        all.sort();
        for path in &all {
            assert!(
                !std::fs::read_to_string(path).unwrap().contains(TOKEN.2),
                "{}",
                path.display()
            );
        }
        stem(all.last().unwrap())
    }
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap().to_string_lossy().into_owned()
}

/// Without a machine.
fn but(mut known: Value, vmid: &str) -> Value {
    known["guests"].as_object_mut().unwrap().remove(vmid);
    known["images"]
        .as_array_mut()
        .unwrap()
        .retain(|name| *name != json!(format!("{vmid:?}")));
    known
}

const TASKS: &str = r#"    - name: The bridge
      proxmox_bridge: {node: pve, iface: vmbr1, mtu: 1450}
    - name: The firewall
      proxmox_firewall:
        name: boot1
        options: {enable: 1, policy_in: DROP}
        rules: [{macro: SSH, source: 192.0.2.0/24}, {proto: tcp, dport: "6443", comment: api}]
    - name: The disc
      proxmox_image: {node: pve, src: disc.iso, filename: disc-1.iso}
    - name: The machine
      proxmox_vm:
        node: pve
        name: boot1
        memory: 4096
        onboot: true
        description: "{{ '{{' }} of the run"
        net: {net0: "virtio,bridge=vmbr1,firewall=1"}
        ide: {ide2: "local:iso/disc-1.iso,media=cdrom"}
        state: started
    - name: Another machine
      proxmox_vm: {node: pve, name: "{{ item }}", memory: 64, scsi: {scsi0: "local:1"}, state: started}
      loop: [other]
    - name: Keys
      proxmox_sendkey: {name: other, keys: [ret]}
"#;

#[test]
fn what_a_run_did_is_taken_back() {
    let site = Site::new("localhost", TASKS);
    boot1().apply(&site.server).unwrap();
    let before = known(&site.server);
    let run = site.run("localhost,");
    let after = known(&site.server);
    assert_ne!(before, after);

    let text = site.okd(&["undo", &run, "--yes"], 2);
    assert!(
        text.contains(&format!("`{ANSWER}` is asked for, and there is no terminal to ask on")),
        "{text}"
    );
    let writes = site.server.writes();
    let text = site.undo(&run, &["--check"]);
    assert_eq!(site.server.writes(), writes, "a plan changed something: {text}");
    for said in [
        "\"Another machine\" (other)",
        "its disks may hold what nobody else has; `--force` destroys it",
        "keys that were pressed are not taken back",
        "undo of \"The firewall\"",
        "4096",
    ] {
        assert!(text.contains(said), "{said} in {text}");
    }
    let text = site.undo(&run, &["--yes"]);
    assert_eq!(but(known(&site.server), "101"), before, "{text}");
    let undo = site.last();
    assert_ne!(undo, run);
    let writes = site.server.writes();
    site.undo(&run, &["--yes"]);
    assert_eq!(
        (site.server.writes(), site.last()),
        (writes, undo.clone()),
        "a second undo"
    );

    // The file of the disc is gone, so the drive that held it is not to be filled again.
    let text = site.okd(&["undo", &undo, "--check", "-e", "@answer.yaml"], 1);
    assert!(text.contains("the file that was there before is gone"), "{text}");
    std::fs::write(site.server.storage().join("template/iso/disc-1.iso"), "a disc").unwrap();
    let text = site.undo(&undo, &["--yes"]);
    assert_eq!(known(&site.server), after, "an undo of an undo: {text}");
    site.undo(&run, &["--yes", "--force"]);
    assert_eq!(known(&site.server), before);
}

#[test]
fn what_somebody_has_changed_since_is_left() {
    let site = Site::new(
        "localhost",
        r#"    - proxmox_firewall: {name: boot1, options: {policy_in: DROP}}
    - proxmox_vm: {node: pve, name: boot1, memory: 4096}
    - proxmox_vm: {node: pve, name: boot1, memory: 8192, cores: 4}
"#,
    );
    boot1().apply(&site.server).unwrap();
    let before = known(&site.server);
    let run = site.run("localhost,");
    let hand = |policy: &str| {
        let args = json!({"name": "boot1", "node": "-", "options": {"policy_in": policy}});
        wish("proxmox_firewall", args).apply(&site.server).unwrap();
        known(&site.server)
    };
    let theirs = hand("REJECT");
    let text = site.okd(&["undo", &run, "--yes", "-e", "@answer.yaml"], 4);
    let said = "policy_in of the firewall of boot1: it was changed since; --force takes it back all the same";
    assert!(text.contains(said), "{text}");
    let left = known(&site.server);
    assert_eq!(
        (&left["walls"], &left["guests"]),
        (&theirs["walls"], &before["guests"]),
        "{text}"
    );
    let text = site.undo(&run, &["--yes", "--force"]);
    assert_eq!(known(&site.server), before, "{text}");
}

#[test]
fn hosts_and_the_interface_are_taken_back_in_one_undo() {
    let site = Site::new(
        "localhost",
        r#"    - name: First
      proxmox_bridge: {node: pve, iface: vmbr1}
    - name: File
      copy: {content: "x\n", dest: "{{ playbook_dir }}/made"}
    - name: Last
      proxmox_bridge: {node: pve, iface: vmbr2}
"#,
    );
    let before = known(&site.server);
    let run = site.run("localhost,");
    let made = site.folder.path().join("made");
    assert!(made.exists());
    let text = site.undo(&run, &["--yes", "--output", "json"]);
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let applied = lines.filter(|line| line["event"] == "result" && line["pass"] == "apply");
    let tasks: Vec<String> = applied.map(|line| line["task"].as_str().unwrap().to_owned()).collect();
    let expected = [
        "undo of \"Last\"".to_owned(),
        format!("undo of {run}"),
        "undo of \"First\"".to_owned(),
    ];
    assert_eq!(tasks, expected, "{text}");
    assert_eq!((known(&site.server), made.exists()), (before, false));
}

#[test]
fn what_a_machine_that_stays_stands_on_stays() {
    let site = Site::new(
        "localhost",
        r#"    - proxmox_bridge: {node: pve, iface: vmbr1}
    - proxmox_image: {node: pve, src: disc.iso, filename: disc-1.iso}
    - proxmox_image: {node: pve, src: disc.iso, filename: other-1.iso}
    - proxmox_vm: {node: pve, name: m, net: {net0: "virtio,bridge=vmbr1"}, ide: {ide2: "local:iso/disc-1.iso,media=cdrom"}}
    - name: Wall
      proxmox_firewall: {name: m, options: {enable: 1}}
    - name: Power
      proxmox_vm: {node: pve, name: m, state: started}
"#,
    );
    let before = known(&site.server);
    let run = site.run("localhost,");
    let mut after = known(&site.server);
    let text = site.undo(&run, &["--yes"]);
    for said in [
        "bridge vmbr1 on pve: net0 of the machine m is on it",
        "local:iso/disc-1.iso: it is in ide2 of the machine m",
        "\"Wall\"",
        "\"Power\"",
        "its machine stays",
    ] {
        assert!(text.contains(said), "{said} in {text}");
    }
    after["template/iso"].as_array_mut().unwrap().pop();
    assert_eq!(known(&site.server), after, "{text}");
    let text = site.undo(&run, &["--yes", "--force"]);
    assert_eq!(known(&site.server)["net"], before["net"], "{text}");
    assert_eq!(known(&site.server)["guests"], before["guests"], "{text}");
}

#[test]
fn a_step_that_failed_half_way_is_told() {
    let site = Site::new(
        "localhost",
        "    - name: Torn\n      proxmox_vm: {node: pve, name: torn, net: {net0: \"virtio,bridge=none9\"}, state: started}\n",
    );
    site.okd(&["run", "-i", "localhost,", "play.yaml", "--yes"], 1);
    assert_eq!(site.server.world().guests.len(), 1);
    let text = site.okd(&["undo", &site.last(), "--yes"], 0);
    assert!(
        text.contains("\"Torn\"") && text.contains("it failed, and how far it came is not known"),
        "{text}"
    );
}

#[test]
fn a_limit_asks_for_nothing_that_it_leaves_out() {
    let site = Site::new(
        "all",
        "    - proxmox_bridge: {node: pve, iface: \"vmbr{{ inventory_hostname }}\"}\n",
    );
    let run = site.run("h7,h8,");
    let bridges = || site.server.world().up();
    assert!(bridges().contains(&"vmbrh7".to_owned()) && bridges().contains(&"vmbrh8".to_owned()));
    site.undo(&run, &["--yes", "--limit", "h8"]);
    assert!(bridges().contains(&"vmbrh7".to_owned()) && !bridges().contains(&"vmbrh8".to_owned()));
}

#[test]
fn a_step_that_shows_nothing_has_no_way_back() {
    let site = Site::new(
        "localhost",
        "    - name: Quiet\n      proxmox_vm: {node: pve, name: boot1, description: changed}\n      no_log: true\n",
    );
    boot1().apply(&site.server).unwrap();
    let run = site.run("localhost,");
    let text = site.okd(&["undo", &run, "--yes"], 0);
    assert!(
        text.contains("its task says `no_log`") && text.contains("Nothing of run"),
        "{text}"
    );
    let left = vm(json!({"name": "boot1", "description": "changed"})).apply(&site.server);
    assert_eq!(left.unwrap().status, okd_agent::resource::Status::Same);
}
