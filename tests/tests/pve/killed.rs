//! okd-play is killed while Proxmox VE is at work for it, and run again: it ends as an uninterrupted run does, and nothing was
//! begun twice.

use super::{okd_play, web};
use okd_tests::pve::{StandIn, TOKEN};
use okd_tests::until;
use std::path::Path;
use std::process::{Command, Stdio};

/// A task, the request that begins what lasts, and what has to be true in the end.
struct Case {
    task: String,
    request: &'static str,
    done: fn(&StandIn) -> bool,
}

fn cases(place: &str) -> [Case; 5] {
    [
        Case {
            task: "    - proxmox_bridge:\n        iface: vmbr1\n        mtu: 1450\n".to_owned(),
            request: "PUT /nodes/pve/network",
            done: |server| server.world().up().contains(&"vmbr1".to_owned()),
        },
        Case {
            task: "    - proxmox_sdn:\n        zone: okdz\n        peers: [10.213.0.3]\n        vnets: { okdnet: 7 }\n"
                .to_owned(),
            request: "PUT /cluster/sdn",
            done: |server| server.world().up().contains(&"okdnet".to_owned()),
        },
        Case {
            task: format!("    - proxmox_image:\n        node: pve\n        url: {place}/live-1.iso\n"),
            request: "POST /nodes/pve/storage/local/download-url",
            done: |server| server.storage().join("template/iso/live-1.iso").exists(),
        },
        Case {
            task: "    - proxmox_vm:\n        node: pve\n        name: m\n        scsi: { scsi0: \"local:1\" }\n"
                .to_owned(),
            request: "POST /nodes/pve/qemu",
            done: |server| server.world().guests.len() == 1,
        },
        Case {
            task: "    - proxmox_vm:\n        node: pve\n        name: m\n        state: started\n".to_owned(),
            request: "POST /nodes/pve/qemu/100/status/start",
            done: |server| server.world().guests[&100].running,
        },
    ]
}

fn write(server: &StandIn, folder: &Path, task: &str) {
    let (user, id, secret) = TOKEN;
    let mut text = format!(
        "- hosts: localhost\n  gather_facts: false\n  vars:\n    pve: &pve\n      api_host: {}\n      api_port: {}\n      \
         api_user: {user}\n      api_token_id: {id}\n      api_token_secret: {secret}\n      fingerprint: {}\n  \
         module_defaults:\n",
        server.address.ip(),
        server.address.port(),
        server.fingerprint
    );
    for kind in ["sdn", "image", "vm"] {
        text.push_str(&format!("    proxmox_{kind}: *pve\n"));
    }
    text.push_str("    proxmox_bridge:\n      <<: *pve\n      node: pve\n  tasks:\n");
    text.push_str(task);
    std::fs::write(folder.join("play.yaml"), text).unwrap();
}

/// Runs okd-play there, and kills it once something has begun.
fn killed(folder: &Path, words: &[&str], what: &str, begun: impl Fn() -> bool) {
    let mut child = Command::new(okd_tests::play::program())
        .args(words)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    until(what, 30, || begun().then_some(()));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_run_that_is_killed_is_completed_by_the_next_one() {
    let place = web(b"a disc");
    for case in cases(&place) {
        let server = StandIn::start();
        let folder = tempfile::tempdir().unwrap();
        if case.request.ends_with("/start") {
            super::vm(super::json(r#"{"name": "m"}"#)).apply(&server).unwrap();
        }
        write(&server, folder.path(), &case.task);
        server.world().hold = true;
        let words = ["run", "-i", "localhost,", "play.yaml", "--yes"];
        let count = || server.writes().iter().filter(|line| *line == case.request).count();
        killed(folder.path(), &words, case.request, || count() == 1);
        assert!(
            !(case.done)(&server) || case.request.ends_with("/qemu"),
            "{} was not held",
            case.request
        );
        server.world().hold = false;
        let again = okd_play(folder.path(), &words);
        let said = format!(
            "{}{}",
            String::from_utf8_lossy(&again.stdout),
            String::from_utf8_lossy(&again.stderr)
        );
        assert!(again.status.success(), "{}: {said}", case.request);
        assert!((case.done)(&server), "{}: {said}", case.request);
        assert_eq!(count(), 1, "{} was sent again: {said}", case.request);
        let writes = server.writes();
        assert!(okd_play(folder.path(), &words).status.success());
        assert_eq!(server.writes(), writes, "a further run changes nothing");
    }
}

#[test]
fn what_a_task_that_is_under_way_brings_is_unknown_to_later_steps_of_a_plan() {
    let place = web(b"a disc");
    let server = StandIn::start();
    let folder = tempfile::tempdir().unwrap();
    let tasks = format!(
        "    - proxmox_image:\n        node: pve\n        url: {place}/live-1.iso\n    - proxmox_vm:\n        node: pve\n        name: m\n        \
         ide: {{ ide2: \"local:iso/live-1.iso,media=cdrom\" }}\n"
    );
    write(&server, folder.path(), &tasks);
    server.world().hold = true;
    let words = ["run", "-i", "localhost,", "play.yaml"];
    let download = "POST /nodes/pve/storage/local/download-url";
    let count = || server.writes().iter().filter(|line| *line == download).count();
    let run = [&words[..], &["--yes"]].concat();
    killed(folder.path(), &run, "the download is begun", || count() == 1);
    let check = okd_play(folder.path(), &[&words[..], &["--check"]].concat());
    let said = String::from_utf8_lossy(&check.stdout);
    assert!(check.status.success(), "{said}");
    assert_eq!(said.matches("a task of Proxmox VE is under way").count(), 2, "{said}");
    server.world().hold = false;
    let again = okd_play(folder.path(), &run);
    assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stdout));
    assert_eq!((count(), server.world().guests.len()), (1, 1));
}
