//! `okd-play doctor` as people run it: what is missing, for which task, and the command that gives it.

use super::okd_play;
use okd_tests::pve::{ROLE, StandIn, TOKEN};
use std::path::Path;
use std::process::Output;

const TASKS: &str = "    - proxmox_bridge:
        iface: vmbr1
    - proxmox_image:
        url: http://127.0.0.1:1/live-1.iso
    - proxmox_vm:
        name: \"{{ item }}\"
        memory: 1024
        net:
          net0: virtio,bridge=vmbr1
        scsi:
          scsi0: local:1
        state: started
      loop: [master0, master1]
    - proxmox_firewall:
        name: master0
        rules: [{ macro: SSH }]
      when: false
";

fn playbook(server: &StandIn, folder: &Path, id: &str, secret: &str, tasks: &str) {
    let mut text = format!(
        "- hosts: localhost\n  gather_facts: false\n  vars:\n    pve: &pve\n      api_host: {}\n      api_port: {}\n      \
         api_user: {}\n      api_token_id: {id}\n      api_token_secret: {secret}\n      ca_path: {}\n      node: pve\n  \
         module_defaults:\n",
        server.address.ip(),
        server.address.port(),
        TOKEN.0,
        server.ca().display()
    );
    for kind in ["bridge", "image", "vm", "firewall"] {
        text.push_str(&format!("    proxmox_{kind}: *pve\n"));
    }
    text.push_str("  tasks:\n");
    text.push_str(tasks);
    std::fs::write(folder.join("play.yaml"), text).unwrap();
}

fn doctor(folder: &Path) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = okd_play(folder, &["doctor", "-i", "localhost,", "play.yaml"]);
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&stdout),
        String::from_utf8_lossy(&stderr)
    );
    (status.code(), text)
}

#[test]
fn a_token_with_everything_is_found_well() {
    let server = StandIn::start();
    let folder = tempfile::tempdir().unwrap();
    playbook(&server, folder.path(), TOKEN.1, TOKEN.2, TASKS);
    let (code, text) = doctor(folder.path());
    assert_eq!(code, Some(0), "{text}");
    for words in [
        "the node pve is online",
        "takes `iso`",
        "takes `images`",
        "4 tasks",
        "Proxmox VE 9.2.11",
    ] {
        assert!(text.contains(words), "{words} is not in: {text}");
    }
    assert!(!text.contains(TOKEN.2) && !text.contains("missing"), "{text}");
    assert!(server.writes().is_empty());
}

#[test]
fn what_is_missing_is_said_with_its_task_and_the_command() {
    let server = StandIn::start();
    let few: Vec<&str> = ROLE
        .iter()
        .copied()
        .filter(|one| !["VM.Config.Memory", "Sys.AccessNetwork"].contains(one))
        .collect();
    server.world().rights.token("few", "some-secret-0", true, &few);
    server.world().skew = 500;
    let folder = tempfile::tempdir().unwrap();
    playbook(&server, folder.path(), "few", "some-secret-0", TASKS);
    let (code, text) = doctor(folder.path());
    assert_eq!(code, Some(2), "{text}");
    for words in [
        "VM.Config.Memory on /vms, to set memory",
        "play.yaml:20",
        "Sys.AccessNetwork on /nodes/pve",
        "--privs VM.Config.Memory && pveum acl modify /vms --users 'okd@pve' --tokens 'okd@pve!few'",
    ] {
        assert!(text.contains(words), "{words} is not in: {text}");
    }
    // A second may have begun between the two clocks.
    assert!(
        ["500", "501"]
            .iter()
            .any(|seconds| text.contains(&format!("{seconds} s apart"))),
        "{text}"
    );
    assert!(!text.contains("some-secret-0"), "{text}");
    playbook(&server, folder.path(), "few", "no", TASKS);
    let (code, text) = doctor(folder.path());
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("Authentication failed!"), "{text}");
}

#[test]
fn typing_on_a_console_needs_a_privilege_of_its_own() {
    let server = StandIn::start();
    let few: Vec<&str> = ROLE.iter().copied().filter(|one| *one != "VM.Console").collect();
    server.world().rights.token("few", "some-secret-0", true, &few);
    let folder = tempfile::tempdir().unwrap();
    let task = "    - proxmox_sendkey:
        api_host: \"{{ pve.api_host }}\"
        api_port: \"{{ pve.api_port }}\"
        api_user: \"{{ pve.api_user }}\"
        api_token_id: \"{{ pve.api_token_id }}\"
        api_token_secret: \"{{ pve.api_token_secret }}\"
        ca_path: \"{{ pve.ca_path }}\"
        vmid: 100
        then: [ret]
";
    playbook(&server, folder.path(), "few", "some-secret-0", task);
    let (code, text) = doctor(folder.path());
    assert_eq!(code, Some(2), "{text}");
    assert!(
        text.contains("VM.Console on /vms/100, to type on its console"),
        "{text}"
    );
    playbook(&server, folder.path(), TOKEN.1, TOKEN.2, task);
    let (code, text) = doctor(folder.path());
    assert_eq!(code, Some(0), "{text}");
}

#[test]
fn a_playbook_without_interfaces_has_nothing_to_ask() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("play.yaml"),
        "- hosts: localhost\n  tasks: [{ ping: }]\n",
    )
    .unwrap();
    let (code, text) = doctor(folder.path());
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("No task"), "{text}");
}
