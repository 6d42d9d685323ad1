//! The stand-in as a server of a lab: its hook is told what to make real, and what it says ends the task; what it knows
//! stays over a restart.

use super::{boot1, bridge, image, json, vm};
use okd_agent::value::Value;
use okd_tests::pve::{Settings, StandIn};
use okd_tests::until;
use serde_json::Value as Json;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A hook that notes what it is told, is refused when a file says so, and starts a process for a machine.
const HOOK: &str = r#"#!/bin/sh
folder=${0%/*}
cat >> "$folder/calls"
if [ -e "$folder/refuse" ]; then echo trouble >&2; echo "the lab has no such bridge" >&2; exit 3; fi
if [ "$1" = vm-start ]; then sleep 60 > /dev/null 2>&1 & echo "{\"pid\": $!}"; fi
"#;

struct Lab {
    folder: tempfile::TempDir,
    server: StandIn,
}

fn settings(folder: &Path) -> Settings {
    Settings {
        hook: Some(folder.join("hook")),
        keep: true,
        ..Settings::new(&folder.join("state"))
    }
}

impl Lab {
    fn start() -> Lab {
        let folder = tempfile::tempdir().unwrap();
        let hook = folder.path().join("hook");
        std::fs::write(&hook, HOOK).unwrap();
        std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755)).unwrap();
        let server = StandIn::serve(&settings(folder.path())).unwrap();
        Lab { folder, server }
    }

    fn calls(&self) -> Vec<Json> {
        let text = std::fs::read_to_string(self.folder.path().join("calls")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn last(&self) -> Json {
        self.calls().pop().unwrap()
    }
}

#[test]
fn what_is_applied_and_started_is_told_to_the_hook() {
    let lab = Lab::start();
    let first = lab.last();
    assert_eq!(first["event"], "network-apply");
    assert_eq!(first["interfaces"][1]["name"], "vmbr0");
    bridge(json(r#"{"iface": "vmbr1", "mtu": 1450}"#))
        .apply(&lab.server)
        .unwrap();
    let told = lab.last();
    let vmbr1 = told["interfaces"]
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["name"] == "vmbr1");
    let vmbr1 = vmbr1.unwrap();
    assert_eq!((&vmbr1["mtu"], &vmbr1["type"]), (&1450.into(), &"bridge".into()));
    assert_eq!(vmbr1["ports"], serde_json::json!([]));

    let iso = lab.folder.path().join("live-1.iso");
    std::fs::write(&iso, "a disc").unwrap();
    image(serde_json::json!({ "src": iso.display().to_string() }))
        .apply(&lab.server)
        .unwrap();
    let machine = vm(json(
        r#"{"name": "m", "memory": 64, "net": {"net0": "virtio,bridge=vmbr1,mtu=1"}, "scsi": {"scsi0": "local:1"},
            "ide": {"ide2": "local:iso/live-1.iso,media=cdrom"}, "boot": "order=scsi0;ide2;net0", "state": "started"}"#,
    ));
    machine.apply(&lab.server).unwrap();
    let told = lab.last();
    assert_eq!(
        (&told["event"], &told["vmid"], &told["name"]),
        (&"vm-start".into(), &100.into(), &"m".into())
    );
    assert_eq!(told["config"]["memory"], "64");
    assert_eq!(told["nets"][0]["bridge"], "vmbr1");
    assert_eq!(told["boot"], serde_json::json!(["scsi0", "ide2", "net0"]));
    let drives = told["drives"].as_array().unwrap();
    let path = |name: &str| {
        let drive = drives.iter().find(|drive| drive["name"] == name).unwrap();
        PathBuf::from(drive["path"].as_str().unwrap())
    };
    assert!(path("ide2").is_absolute());
    assert_eq!(std::fs::read(path("ide2")).unwrap(), b"a disc");
    assert_eq!(std::fs::metadata(path("scsi0")).unwrap().len(), 1 << 30);

    // The process is the machine: where it ends, the machine has stopped.
    let pid = lab.server.world().guests[&100].pid.unwrap();
    assert!(Command::new("kill").arg(pid.to_string()).status().unwrap().success());
    until("the machine has stopped", 20, || {
        (!lab.server.world().guests[&100].running).then_some(())
    });

    let zone =
        json(r#"{"zone": "okdz", "peers": ["10.213.0.3"], "mtu": 1450, "vnets": {"okdnet": 4242}, "node": "-"}"#);
    super::wish("proxmox_sdn", zone).apply(&lab.server).unwrap();
    let vnets = serde_json::json!([{ "name": "okdnet", "zone": "okdz", "type": "vxlan", "tag": 4242, "mtu": 1450,
        "peers": ["10.213.0.3"], "vxlan_port": 4789 }]);
    assert_eq!(lab.last()["vnets"], vnets);

    let gone = vm(json(r#"{"name": "m", "state": "absent"}"#));
    gone.apply(&lab.server).unwrap();
    assert_eq!(lab.last()["event"], "vm-destroy");
}

#[test]
fn what_the_hook_refuses_ends_the_task() {
    let lab = Lab::start();
    std::fs::write(lab.folder.path().join("refuse"), "").unwrap();
    let failure = bridge(json(r#"{"iface": "vmbr1"}"#)).apply(&lab.server).unwrap_err();
    assert!(
        failure.message.contains("the lab has no such bridge"),
        "{}",
        failure.message
    );
    assert!(failure.journal.iter().any(|line| line == "trouble"), "{failure:?}");
    let mut machine = boot1();
    machine.args.insert("state".to_owned(), "started".into());
    let failure = machine.apply(&lab.server).unwrap_err();
    assert!(
        failure.message.contains("the lab has no such bridge"),
        "{}",
        failure.message
    );
    assert!(!lab.server.world().guests[&100].running);
    std::fs::remove_file(lab.folder.path().join("refuse")).unwrap();
    // Another run goes on from there.
    bridge(json(r#"{"iface": "vmbr1"}"#)).apply(&lab.server).unwrap();
    assert!(lab.server.world().up().contains(&"vmbr1".to_owned()));
}

#[test]
fn what_it_knows_stays_over_a_restart() {
    let lab = Lab::start();
    bridge(json(r#"{"iface": "vmbr1", "mtu": 1450}"#))
        .apply(&lab.server)
        .unwrap();
    boot1().apply(&lab.server).unwrap();
    let again = StandIn::serve(&settings(lab.folder.path())).unwrap();
    assert_eq!(again.fingerprint, lab.server.fingerprint, "the same certificate");
    assert_eq!(lab.last()["event"], "network-apply", "the lab is told what is applied");
    let same = bridge(json(r#"{"iface": "vmbr1", "mtu": 1450}"#))
        .apply(&again)
        .unwrap();
    assert_eq!(same.status, okd_agent::resource::Status::Same);
    assert_eq!(boot1().apply(&again).unwrap().status, okd_agent::resource::Status::Same);
    assert_eq!(
        boot1().apply(&again).unwrap().result.get("vmid"),
        Some(&Value::Int(100))
    );
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The program itself, as a lab starts it.
#[test]
fn the_program_says_how_it_is_reached_once_it_listens() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let child = Command::new(env!("CARGO_BIN_EXE_pve-stand-in"))
        .args(["--listen", &format!("127.0.0.1:{port}"), "--node", "hyper1", "--state"])
        .arg(&state)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let _killed = Killed(child);
    let vars = until("it listens", 20, || {
        std::fs::read_to_string(state.join("vars.yaml")).ok()
    });
    assert!(
        vars.contains(&format!("api_port: {port}\n")) && vars.contains("node: hyper1\n"),
        "{vars}"
    );
    let mode = std::fs::metadata(state.join("vars.yaml")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let secret = std::fs::read_to_string(state.join("token")).unwrap();
    assert!(vars.contains(secret.trim()));
    let help = Command::new(env!("CARGO_BIN_EXE_pve-stand-in"))
        .arg("--help")
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&help.stdout).contains("network-apply"));
    let wrong = Command::new(env!("CARGO_BIN_EXE_pve-stand-in"))
        .args(["--nosuch", "1"])
        .output()
        .unwrap();
    assert_eq!(wrong.status.code(), Some(2));
}
