//! Bad input: each is a clear error that says what to do, in the plan where it can be, and nothing is half made.

use super::{Wish, boot1, bridge, image, json, vm, wish};
use okd_agent::resource::Status;
use okd_agent::value::Value;
use okd_tests::pve::{Guest, ROLE, StandIn};

/// The words of a refusal; the plan says the same where it can know, and nothing is written.
fn refused(wish: &Wish, server: &StandIn) -> String {
    let before = server.writes();
    let planned = wish.plan(server).unwrap_err().message.clone();
    let applied = wish.apply(server).unwrap_err().message.clone();
    assert_eq!(planned, applied, "the plan says what the run would");
    assert_eq!(server.writes(), before, "nothing was begun");
    applied
}

fn says(message: &str, words: &[&str]) {
    for word in words {
        assert!(message.contains(word), "{word} is not in: {message}");
    }
}

fn named(name: &str, more: &[(&str, &str)]) -> Guest {
    let own = [("name", name)];
    let config = more.iter().chain(&own);
    Guest {
        config: config
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect(),
        ..Guest::default()
    }
}

#[test]
fn a_wrong_token() {
    let server = StandIn::start();
    let words = boot1()
        .apply_with(&server, &[("api_token_secret", "wrong-secret")])
        .unwrap_err()
        .message
        .clone();
    says(
        &words,
        &[
            "Authentication failed!",
            "okd@pve!play",
            "api_token_secret",
            "API Tokens",
        ],
    );
    assert!(!words.contains("wrong-secret"));
    let words = boot1()
        .apply_with(&server, &[("api_token_id", "nosuch")])
        .unwrap_err()
        .message
        .clone();
    says(&words, &["okd@pve!nosuch"]);
    assert!(server.writes().is_empty());
}

#[test]
fn a_token_without_a_right() {
    let server = StandIn::start();
    let cases: [(&str, Wish, &str); 5] = [
        ("VM.Config.CPU", boot1(), "lacks VM.Config.CPU on /vms/100"),
        (
            "Sys.Modify",
            bridge(json(r#"{"iface": "vmbr1"}"#)),
            "lacks Sys.Modify on /nodes/pve",
        ),
        ("VM.Allocate", boot1(), "lacks a privilege"),
        (
            "Datastore.AllocateSpace",
            boot1(),
            "lacks Datastore.AllocateSpace on /storage/local",
        ),
        (
            "SDN.Allocate",
            wish(
                "proxmox_sdn",
                json(r#"{"zone": "okdz", "type": "simple", "node": "-"}"#),
            ),
            "lacks SDN.Allocate on /sdn/zones",
        ),
    ];
    for (index, (privilege, wish, words)) in cases.into_iter().enumerate() {
        let few: Vec<&str> = ROLE.iter().copied().filter(|one| *one != privilege).collect();
        let id = format!("few{index}");
        server.world().rights.token(&id, "s", true, &few);
        let message = wish
            .apply_with(&server, &[("api_token_id", &id), ("api_token_secret", "s")])
            .unwrap_err()
            .message
            .clone();
        says(&message, &[words, "pveum"]);
    }
    assert!(server.world().guests.is_empty());
    assert_eq!(server.world().up(), ["eno1", "vmbr0"]);
}

#[test]
fn a_wrong_fingerprint() {
    let server = StandIn::start();
    let other = "00".repeat(32);
    let words = boot1()
        .apply_with(&server, &[("fingerprint", &other)])
        .unwrap_err()
        .message
        .clone();
    says(
        &words,
        &[&server.fingerprint, "pvenode cert info", "only if it is the same"],
    );
    assert!(server.requests().is_empty(), "the token was not shown to a stranger");
}

#[test]
fn a_missing_iso() {
    let server = StandIn::start();
    let disc = vm(json(
        r#"{"name": "m", "ide": {"ide2": "local:iso/missing.iso,media=cdrom"}}"#,
    ));
    says(
        &refused(&disc, &server),
        &["volume 'local:iso/missing.iso' does not exist", "proxmox_image"],
    );
    let import = vm(json(
        r#"{"name": "m", "scsi": {"scsi0": "local:0,import-from=local:import/none.qcow2"}}"#,
    ));
    says(&refused(&import, &server), &["local:import/none.qcow2"]);
    boot1().apply(&server).unwrap();
    let mut other = boot1();
    let drives = super::value(&json(r#"{"ide2": "local:iso/missing.iso,media=cdrom"}"#));
    other.args.insert("ide".to_owned(), drives);
    says(&refused(&other, &server), &["local:iso/missing.iso"]);
    let upload = image(json(r#"{"src": "/nonexistent/live.iso"}"#))
        .apply(&server)
        .unwrap_err()
        .message
        .clone();
    says(&upload, &["/nonexistent/live.iso is not there", "before this one"]);
}

#[test]
fn a_full_storage() {
    let server = StandIn::start();
    server.world().capacity = 4;
    let file = tempfile::Builder::new().suffix(".iso").tempfile().unwrap();
    std::fs::write(file.path(), vec![1; 4096]).unwrap();
    let upload = image(serde_json::json!({ "src": file.path().display().to_string(), "filename": "x.iso" }));
    says(
        &refused(&upload, &server),
        &["4 bytes left", "x.iso needs 4096", "another `storage`"],
    );
    let place = super::web(b"an image that is too big");
    let download = image(serde_json::json!({ "url": format!("{place}/y.iso") }));
    let words = download.apply(&server).unwrap_err().message.clone();
    says(&words, &["the storage is full"]);
    let left = std::fs::read_dir(server.storage().join("template/iso"))
        .unwrap()
        .count();
    assert_eq!(left, 0, "nothing half made");
}

#[test]
fn a_storage_that_does_not_take_it() {
    let server = StandIn::start();
    let file = tempfile::Builder::new().suffix(".iso").tempfile().unwrap();
    let src = file.path().display().to_string();
    server.world().contents = "images,rootdir".to_owned();
    let upload = image(serde_json::json!({ "src": src }));
    says(
        &refused(&upload, &server),
        &["takes no `iso`", "pvesm set local --content images,rootdir,iso"],
    );
}

#[test]
fn a_name_in_use() {
    let server = StandIn::start();
    server
        .world()
        .guests
        .insert(105, named("boot1", &[("tags", "theirs"), ("memory", "512")]));
    says(
        &refused(&boot1(), &server),
        &[
            "boot1 is in use by the virtual machine 105 on pve",
            "none of the tags bootstrap, okd",
            "vmid: 105",
        ],
    );
    let mut numbered = boot1();
    numbered.args.insert("vmid".to_owned(), Value::Int(120));
    says(
        &refused(&numbered, &server),
        &["the name boot1 is in use by the virtual machine 105"],
    );
    server.world().guests.insert(120, named("web", &[]));
    says(
        &refused(&numbered, &server),
        &["120 is named web, not boot1", "rename: yes"],
    );
    // A removal of someone else's machine is none.
    let mut gone = boot1();
    gone.args.insert("state".to_owned(), "absent".into());
    says(&refused(&gone, &server), &["someone else's"]);
    // Whoever means it says its number.
    let mut taken = boot1();
    taken.args.insert("vmid".to_owned(), Value::Int(105));
    assert_eq!(taken.apply(&server).unwrap().status, Status::Changed);
    assert_eq!(boot1().apply(&server).unwrap().status, Status::Same, "it is ours now");
    assert_eq!(server.world().guests.len(), 2);
}

#[test]
fn someone_elses_staged_edits() {
    let server = StandIn::start();
    server.world().stage_by_someone("vmbr9");
    let words = refused(&bridge(json(r#"{"iface": "vmbr1"}"#)), &server);
    says(&words, &["+auto vmbr9", "not ours", "System > Network", "run again"]);
}

#[test]
fn a_machine_that_a_backup_has_locked() {
    let server = StandIn::start();
    boot1().apply(&server).unwrap();
    let lock = ("lock".to_owned(), "backup".to_owned());
    server.world().guests.get_mut(&100).unwrap().config.extend([lock]);
    for (key, value) in [("state", "started"), ("description", "other")] {
        let mut wish = boot1();
        wish.args.insert(key.to_owned(), value.into());
        says(
            &refused(&wish, &server),
            &["locked (backup)", "wait until that has ended", "qm unlock 100"],
        );
    }
    let gone = vm(json(r#"{"name": "boot1", "state": "absent"}"#));
    says(&refused(&gone, &server), &["locked (backup)"]);
    assert!(server.world().guests.contains_key(&100));
}
