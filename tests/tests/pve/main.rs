//! The kinds of Proxmox VE over its stand-in: the four laws, errors that say what to do, and a run that was killed.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    missing_docs
)]

mod doctor;
mod hook;
mod killed;
mod networks;
mod proxmoxer;
mod recorded;
mod refused;
mod sendkey;
mod tables;
mod undone;

use okd_agent::diff::Change;
use okd_agent::resource::{Failure, Outcome, Status};
use okd_agent::value::{Map, Value, map};
use okd_play::control::ApiKind;
use okd_play::control::api::{Api, Call, Method};
use okd_play::control::back::Back;
use okd_play::control::overlay::Overlay;
use okd_tests::pve::{Guest, ROLE, StandIn, TOKEN};
use std::io::{Read, Write};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::{Duration, Instant};

type End = Result<Outcome, Box<Failure>>;

/// A kind with its own arguments, as YAML.
struct Wish {
    name: &'static str,
    args: Map,
}

fn value(json: &serde_json::Value) -> Value {
    match json {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(truth) => Value::Bool(*truth),
        serde_json::Value::Number(number) => Value::Int(number.as_i64().unwrap()),
        serde_json::Value::String(text) => Value::from(text.as_str()),
        serde_json::Value::Array(list) => Value::List(list.iter().map(value).collect()),
        serde_json::Value::Object(entries) => Value::Map(
            entries
                .iter()
                .map(|(name, inner)| (name.clone(), value(inner)))
                .collect(),
        ),
    }
}

fn wish(name: &'static str, args: serde_json::Value) -> Wish {
    let Value::Map(args) = value(&args) else {
        panic!("arguments are a mapping")
    };
    Wish { name, args }
}

fn bridge(args: serde_json::Value) -> Wish {
    wish("proxmox_bridge", args)
}

fn vm(args: serde_json::Value) -> Wish {
    wish("proxmox_vm", args)
}

fn image(args: serde_json::Value) -> Wish {
    wish("proxmox_image", args)
}

impl Wish {
    fn at(&self, server: &StandIn, more: &[(&str, &str)]) -> ApiKind {
        let kind = self.unchecked(server, more);
        kind.check().unwrap();
        kind
    }

    fn unchecked(&self, server: &StandIn, more: &[(&str, &str)]) -> ApiKind {
        let (user, id, secret) = TOKEN;
        let mut args = map([
            ("node", "pve".into()),
            ("api_host", server.address.ip().to_string().into()),
            ("api_port", Value::Int(server.address.port().into())),
            ("api_user", user.into()),
            ("api_token_id", id.into()),
            ("api_token_secret", secret.into()),
            ("fingerprint", server.fingerprint.as_str().into()),
        ]);
        args.extend(self.args.clone());
        for (name, value) in more {
            args.insert((*name).to_owned(), (*value).into());
        }
        args.retain(|_, value| value.as_str() != Some("-"));
        ApiKind::decode(self.name, &args).unwrap().unwrap()
    }

    fn apply(&self, server: &StandIn) -> End {
        self.apply_with(server, &[])
    }

    fn apply_with(&self, server: &StandIn, more: &[(&str, &str)]) -> End {
        let kind = self.at(server, more);
        let client = kind.endpoint().client().map_err(|error| {
            Box::new(Failure {
                message: error.to_string(),
                ..Failure::default()
            })
        })?;
        kind.converge(client.as_ref(), None)
    }

    fn plan(&self, server: &StandIn) -> End {
        let kind = self.at(server, &[]);
        let client: Arc<dyn Api> = kind.endpoint().client().unwrap();
        kind.converge(&Overlay::new(client), None)
    }
}

/// What the server answers: its networks, firewalls, machines and the files of its storage.
fn known(server: &StandIn) -> serde_json::Value {
    let mut known = server.world().known();
    // Whether the node's file was ever written, and a firewall in which nothing is set, no answer tells.
    known["net"].as_object_mut().unwrap().remove("written");
    let walls = known["walls"].as_object_mut().unwrap();
    walls.retain(|_, wall| *wall != serde_json::json!({ "options": {}, "rules": [] }));
    for folder in ["template/iso", "images"] {
        let files = std::fs::read_dir(server.storage().join(folder)).unwrap().flatten();
        let mut files: Vec<String> = files.map(|file| format!("{:?}", file.file_name())).collect();
        files.sort();
        known[folder] = files.into();
    }
    known
}

/// Parts of the reasons for which something of a step stays.
const LEFT: &[&str] = &[
    "a disk is never shrunk",
    "is taken out and stays as `unused…`",
    "is gone",
    "the machine is gone with its disks",
    "its disks may hold what nobody else has",
    "the file that was there before is gone",
];

/// The fourth law: what takes a step back brings what was there before, but for what it says that it leaves.
fn returns(server: &StandIn, back: &Back, before: &serde_json::Value, shown: &str) {
    for stays in back.stays(false) {
        assert!(LEFT.iter().any(|part| stays.contains(part)), "{stays}");
    }
    let Some(args) = back.forced.as_ref().or(back.args.as_ref()) else {
        return assert!(
            !back.lost.is_empty(),
            "nothing takes {shown} back, and nobody knows why"
        );
    };
    let Value::Map(args) = value(args) else { panic!() };
    let kind = ApiKind::decode(&back.module, &args).unwrap().unwrap();
    kind.check().unwrap();
    let client = kind.endpoint().client().unwrap();
    let plan = Overlay::new(kind.endpoint().client().unwrap());
    let predicted = kind.converge(&plan, None).unwrap();
    let outcome = kind
        .converge(client.as_ref(), None)
        .unwrap_or_else(|failure| panic!("what takes {shown} back: {failure:?}"));
    assert_eq!(predicted.diff, outcome.diff, "fidelity of what takes {shown} back");
    if back.lost.is_empty() {
        let after = known(server);
        assert_eq!(outcome.status, Status::Changed, "{shown}");
        assert!(*before == after, "what takes {shown} back: {before:#}\nis {after:#}");
    }
    assert_eq!(
        kind.converge(client.as_ref(), None).unwrap().status,
        Status::Same,
        "{shown}"
    );
}

/// Fidelity, idempotence, and that a plan touches nothing; from the same start in both worlds.
fn laws(wish: &Wish, prepare: impl Fn(&StandIn)) -> Option<Outcome> {
    let (planned_at, applied_at) = (StandIn::start(), StandIn::start());
    prepare(&planned_at);
    prepare(&applied_at);
    let before = planned_at.writes();
    let (kind, real) = (wish.at(&planned_at, &[]), wish.at(&applied_at, &[]));
    let under: Arc<dyn Api> = kind.endpoint().client().unwrap();
    let plan = Overlay::new(under);
    let client = real.endpoint().client().unwrap();
    let there = known(&applied_at);
    let (predicted, applied) = (kind.converge(&plan, None), real.applied(client.as_ref(), None));
    let (applied, back) = match applied {
        Ok((outcome, back)) => (Ok(outcome), back),
        Err(failure) => (Err(failure), None),
    };
    assert_eq!(planned_at.writes(), before, "the plan touched the server");
    let shown = format!("{:?}", wish.args);
    match (predicted, applied) {
        (Ok(predicted), Ok(applied)) => {
            assert_eq!(predicted.diff, applied.diff, "fidelity of {shown}");
            assert_eq!(predicted.status, applied.status, "fidelity of {shown}");
            assert!(!format!("{applied:?}").contains(TOKEN.2), "silence");
            let (again, real_again) = (
                kind.converge(&plan, None).unwrap(),
                real.converge(client.as_ref(), None).unwrap(),
            );
            assert_eq!(real_again.diff, Vec::<Change>::new(), "idempotence of {shown}");
            assert_eq!(again.diff, Vec::<Change>::new(), "idempotence in the plan of {shown}");
            assert_eq!(again.fingerprint, real_again.fingerprint, "what is seen after {shown}");
            assert_eq!(back.is_some(), applied.status == Status::Changed, "{shown}");
            if let Some(back) = back {
                returns(&applied_at, &back, &there, &shown);
            }
            Some(applied)
        }
        (Err(predicted), Err(applied)) => {
            assert_eq!(predicted.message, applied.message, "fidelity of {shown}");
            None
        }
        (predicted, applied) => panic!("fidelity of {shown}: {predicted:?} in the plan, {applied:?} when applied"),
    }
}

fn changed(outcome: Option<Outcome>) -> Outcome {
    let outcome = outcome.expect("it ends well");
    assert_eq!(outcome.status, Status::Changed);
    outcome
}

fn json(args: &str) -> serde_json::Value {
    serde_json::from_str(args).unwrap()
}

fn boot1() -> Wish {
    vm(json(
        r#"{"name": "boot1", "memory": 2048, "cores": 2, "scsihw": "virtio-scsi-single", "ostype": "l26", "agent": "enabled=1",
            "net": {"net0": "virtio,bridge=vmbr0,firewall=0"}, "scsi": {"scsi0": "local:4,discard=on,iothread=1"},
            "ide": {"ide2": "none,media=cdrom"}, "boot": "order=scsi0;ide2;net0", "tags": ["okd", "Bootstrap"],
            "options": {"serial0": "socket"}, "description": "the first"}"#,
    ))
}

fn made(wish: &Wish) -> impl Fn(&StandIn) {
    move |server: &StandIn| {
        wish.apply(server).unwrap();
    }
}

#[test]
fn bridges_keep_the_laws() {
    let plain = bridge(json(r#"{"iface": "vmbr1", "mtu": 1450}"#));
    let outcome = changed(laws(&plain, |_| {}));
    assert!(
        outcome
            .diff
            .contains(&Change::Act("apply the node's network configuration".to_owned()))
    );
    let full = bridge(json(
        r#"{"iface": "vmbr1", "mtu": 1400, "cidr": "10.9.0.1/24", "comments": "okd", "bridge_vlan_aware": true}"#,
    ));
    changed(laws(&full, |_| {}));
    changed(laws(&full, made(&plain)));
    changed(laws(
        &bridge(json(r#"{"iface": "vmbr1", "mtu": 1450, "bridge_vlan_aware": false}"#)),
        made(&full),
    ));
    changed(laws(
        &bridge(json(r#"{"iface": "vmbr1", "state": "absent"}"#)),
        made(&full),
    ));
    changed(laws(&bridge(json(r#"{"iface": "vmbr1", "mtu": 0}"#)), made(&full)));
    changed(laws(
        &bridge(json(
            r#"{"iface": "vmbr0", "mtu": 1400, "gateway": "10.213.0.9", "cidr": "10.213.0.2/24", "autostart": false, "ports": []}"#,
        )),
        |_| {},
    ));
    let same = laws(&bridge(json(r#"{"iface": "vmbr1", "state": "absent"}"#)), |_| {}).unwrap();
    assert_eq!(same.status, Status::Same);
}

#[test]
fn an_address_is_not_lost_when_only_the_mtu_changes() {
    let server = StandIn::start();
    bridge(json(r#"{"iface": "vmbr1", "mtu": 1450, "cidr": "10.9.0.1/24"}"#))
        .apply(&server)
        .unwrap();
    bridge(json(r#"{"iface": "vmbr1", "mtu": 1400}"#))
        .apply(&server)
        .unwrap();
    let kind = bridge(json(r#"{"iface": "vmbr1"}"#)).at(&server, &[]);
    let seen = kind
        .endpoint()
        .client()
        .unwrap()
        .get("/nodes/pve/network/vmbr1")
        .unwrap();
    assert_eq!(
        (&seen["data"]["method"], &seen["data"]["cidr"]),
        (&"static".into(), &"10.9.0.1/24".into())
    );
}

#[test]
fn edits_that_others_staged_are_shown_and_refused() {
    let plain = bridge(json(r#"{"iface": "vmbr1", "mtu": 1450}"#));
    assert!(laws(&plain, |server| server.world().stage_by_someone("vmbr9")).is_none());
    let server = StandIn::start();
    server.world().stage_by_someone("vmbr9");
    let failure = plain.apply(&server).unwrap_err();
    assert!(
        failure.message.contains("+auto vmbr9") && failure.message.contains("run again"),
        "{}",
        failure.message
    );
    assert_eq!(server.writes(), Vec::<String>::new());
    // A bridge that is as it should be does not mind.
    let there = bridge(json(r#"{"iface": "vmbr0"}"#)).apply(&server).unwrap();
    assert_eq!(there.status, Status::Same);
}

#[test]
fn a_bridge_that_was_staged_before_a_kill_is_applied() {
    let server = StandIn::start();
    let wish = bridge(json(r#"{"iface": "vmbr1"}"#));
    let client = wish.at(&server, &[]).endpoint().client().unwrap();
    let call = Call::new(Method::Post, "/nodes/pve/network")
        .with("iface", "vmbr1")
        .with("type", "bridge")
        .with("autostart", "1");
    client.send(&call).unwrap();
    assert_eq!(wish.apply(&server).unwrap().status, Status::Changed);
    assert!(server.world().up().contains(&"vmbr1".to_owned()));
    assert_eq!(wish.apply(&server).unwrap().status, Status::Same);
}

#[test]
fn virtual_machines_keep_the_laws() {
    let outcome = changed(laws(&boot1(), |_| {}));
    assert_eq!(outcome.result.get("vmid"), Some(&Value::Int(100)));
    let address = outcome.result.get("macs").and_then(|macs| macs.get("net0")).cloned();
    assert!(address.unwrap().as_str().unwrap().starts_with("BC:24:11:"));
    let with = |more: &str| {
        let mut wish = boot1();
        let Value::Map(more) = value(&json(more)) else { panic!() };
        wish.args.extend(more);
        wish
    };
    let started = with(r#"{"state": "started"}"#);
    changed(laws(&started, |_| {}));
    let boot = boot1();
    changed(laws(&started, made(&boot)));
    changed(laws(&with(r#"{"state": "stopped"}"#), made(&started)));
    changed(laws(
        &with(r#"{"memory": 4096, "cores": 4, "description": "other"}"#),
        made(&boot),
    ));
    changed(laws(
        &with(r#"{"scsi": {"scsi0": "local:6,discard=on,iothread=1", "scsi1": "local:1"}}"#),
        made(&boot),
    ));
    changed(laws(&with(r#"{"scsi": {"scsi0": "local:4,ssd=1"}}"#), made(&boot)));
    changed(laws(
        &with(r#"{"net": {"net0": "virtio,bridge=vmbr0,mtu=1400", "net1": "e1000,bridge=vmbr0"}}"#),
        made(&boot),
    ));
    changed(laws(&with(r#"{"memory": 8192, "state": "started"}"#), made(&started)));
    changed(laws(
        &vm(json(
            r#"{"name": "boot1", "delete": ["serial0", "ide2"], "boot": "order=scsi0"}"#,
        )),
        made(&boot),
    ));
    changed(laws(&vm(json(r#"{"name": "boot1", "state": "absent"}"#)), made(&boot)));
    changed(laws(
        &vm(json(r#"{"name": "boot1", "state": "absent", "force": true}"#)),
        made(&started),
    ));
    changed(laws(
        &vm(json(r#"{"vmid": 100, "name": "renamed", "rename": true}"#)),
        made(&boot),
    ));
    changed(laws(
        &with(r#"{"numa": true, "cpu": "host", "onboot": true}"#),
        made(&boot),
    ));
    // A disk is taken out, and its volume stays until it is removed too.
    let more = with(r#"{"scsi": {"scsi0": "local:4,discard=on,iothread=1", "scsi1": "local:1"}}"#);
    let unlinked = vm(json(r#"{"name": "boot1", "delete": ["scsi1"]}"#));
    changed(laws(&unlinked, made(&more)));
    changed(laws(
        &vm(json(r#"{"name": "boot1", "delete": ["unused0"]}"#)),
        |server| {
            more.apply(server).unwrap();
            unlinked.apply(server).unwrap();
        },
    ));
    changed(laws(
        &vm(json(r#"{"name": "boot1", "delete": ["scsi1"], "force": true}"#)),
        made(&more),
    ));
    changed(laws(
        &vm(json(
            r#"{"name": "boot1", "delete": ["scsi0"], "force": true, "boot": "order=ide2", "tags": ["okd", "x"]}"#,
        )),
        made(&boot),
    ));
    changed(laws(
        &with(
            r#"{"ide": {"ide2": "none,media=cdrom", "ide0": "none,media=cdrom"}, "agent": "1", "onboot": true, "state": "started"}"#,
        ),
        made(&boot),
    ));
    let refused = [
        vm(json(r#"{"name": "boot1", "state": "absent"}"#)).apply_after(&started),
        with(r#"{"scsi": {"scsi0": "local:2"}}"#).apply_after(&boot),
        with(r#"{"scsi": {"scsi0": "fast:4"}}"#).apply_after(&boot),
    ];
    let words: Vec<String> = refused.into_iter().map(|end| end.unwrap_err().message).collect();
    assert!(
        words[0].contains("force: yes") && words[1].contains("never shrunk") && words[2].contains("qm disk move"),
        "{words:?}"
    );
}

impl Wish {
    fn apply_after(&self, first: &Wish) -> End {
        let server = StandIn::start();
        first.apply(&server).unwrap();
        let before = server.writes();
        let end = self.apply(&server);
        assert_eq!(server.writes(), before, "a refusal touches nothing");
        end
    }
}

#[test]
fn what_was_learned_is_kept() {
    let server = StandIn::start();
    boot1().apply(&server).unwrap();
    let before = server.world().guests[&100].config.clone();
    let mut wish = boot1();
    wish.args.insert(
        "net".to_owned(),
        Value::Map(map([("net0", "virtio,bridge=vmbr0,link_down=1".into())])),
    );
    wish.args.insert(
        "scsi".to_owned(),
        Value::Map(map([("scsi0", "local:5,discard=on,iothread=1".into())])),
    );
    wish.apply(&server).unwrap();
    let after = server.world().guests[&100].config.clone();
    let first = |text: &str| text.split(',').next().unwrap().to_owned();
    assert_eq!(first(&before["net0"]), first(&after["net0"]), "the address of the card");
    assert_eq!(
        first(&before["scsi0"]),
        first(&after["scsi0"]),
        "the volume of the disk"
    );
    assert!(after["scsi0"].contains("size=5G") && after["net0"].contains("link_down=1"));
}

#[test]
fn what_waits_for_a_restart_is_said() {
    let server = StandIn::start();
    let mut wish = boot1();
    wish.args.insert("state".to_owned(), "started".into());
    wish.apply(&server).unwrap();
    wish.args.insert("memory".to_owned(), Value::Int(4096));
    let outcome = wish.apply(&server).unwrap();
    assert!(
        outcome.notes.iter().any(|note| note.contains("next stop and start")),
        "{:?}",
        outcome.notes
    );
    let again = wish.apply(&server).unwrap();
    assert_eq!(again.status, Status::Same);
    assert_eq!(again.result["pending"].get("memory"), Some(&"2048 → 4096".into()));
}

#[test]
fn names_are_one_machines() {
    let server = StandIn::start();
    for vmid in [100, 105] {
        let guest = Guest {
            config: [("name".to_owned(), "boot1".to_owned())].into(),
            ..Guest::default()
        };
        server.world().guests.insert(vmid, guest);
    }
    let failure = boot1().apply(&server).unwrap_err();
    assert!(
        failure.message.contains("100 on pve, 105 on pve") && failure.message.contains("vmid"),
        "{}",
        failure.message
    );
}

#[test]
fn a_locked_machine_is_left_alone() {
    let server = StandIn::start();
    boot1().apply(&server).unwrap();
    server
        .world()
        .guests
        .get_mut(&100)
        .unwrap()
        .config
        .insert("lock".to_owned(), "backup".to_owned());
    assert_eq!(
        boot1().apply(&server).unwrap().status,
        Status::Same,
        "nothing is to be done"
    );
    let mut wish = boot1();
    wish.args.insert("cores".to_owned(), Value::Int(8));
    let failure = wish.apply(&server).unwrap_err();
    assert!(
        failure.message.contains("locked (backup)") && failure.message.contains("qm unlock 100"),
        "{}",
        failure.message
    );
}

#[test]
fn who_is_not_let_in_is_told_what_to_do() {
    let server = StandIn::start();
    let wish = boot1();
    let message = |more: &[(&str, &str)]| wish.apply_with(&server, more).unwrap_err().message.clone();
    let wrong = message(&[("api_token_secret", "no")]);
    assert!(
        wrong.contains("Authentication failed!") && wrong.contains("API Tokens") && !wrong.contains("=no"),
        "{wrong}"
    );
    let few: Vec<&str> = ROLE.iter().copied().filter(|one| *one != "VM.Config.Memory").collect();
    server.world().rights.token("few", "s", true, &few);
    let few = message(&[("api_token_id", "few"), ("api_token_secret", "s")]);
    assert!(
        few.contains("lacks VM.Config.Memory on /vms/100") && few.contains("pveum acl modify"),
        "{few}"
    );
    let other = message(&[("fingerprint", &"00".repeat(32))]);
    assert!(
        other.contains(&server.fingerprint) && other.contains("pvenode cert info"),
        "{other}"
    );
    let system = message(&[("fingerprint", "-")]);
    assert!(system.contains("not trusted") && system.contains("ca_path"), "{system}");
    assert_eq!(
        server.writes(),
        ["POST /nodes/pve/qemu"],
        "only the one without the privilege got so far"
    );
    assert!(server.world().guests.is_empty());
    let ca = server.ca().display().to_string();
    wish.apply_with(&server, &[("fingerprint", "-"), ("ca_path", &ca)])
        .unwrap();
    let gone = message(&[("api_port", "1")]);
    assert!(gone.contains("127.0.0.1:1") && gone.contains("refused"), "{gone}");
}

#[test]
fn the_server_s_own_words_come_with_advice() {
    let server = StandIn::start();
    let message = |wish: Wish| wish.apply(&server).unwrap_err().message.clone();
    let node = message(vm(json(r#"{"name": "x", "node": "nosuch"}"#)));
    assert!(
        node.contains("hostname lookup 'nosuch'") && node.contains("pvesh get /nodes"),
        "{node}"
    );
    let store = message(vm(json(r#"{"name": "x", "scsi": {"scsi0": "nostore:4"}}"#)));
    assert!(
        store.contains("storage 'nostore' does not exist") && store.contains("pvesm status"),
        "{store}"
    );
    let iso = message(vm(json(
        r#"{"name": "x", "ide": {"ide2": "local:iso/missing.iso,media=cdrom"}}"#,
    )));
    assert!(iso.contains("volume 'local:iso/missing.iso' does not exist"), "{iso}");
    assert!(server.world().guests.is_empty(), "nothing half made");
    let start = message(vm(json(
        r#"{"name": "x", "net": {"net0": "virtio,bridge=nobr"}, "state": "started"}"#,
    )));
    assert!(start.contains("bridge 'nobr' does not exist"), "{start}");
    let args = message(vm(json(r#"{"name": "y", "options": {"args": "-S"}}"#)));
    assert!(
        args.contains("only root can set 'args'") && args.contains("no API token"),
        "{args}"
    );
    let wrong = message(vm(json(r#"{"name": "y", "memory": 4, "options": {"nosuch": "1"}}"#)));
    assert!(
        wrong.contains("memory: ") && wrong.contains("minimum value of 16") && wrong.contains("nosuch: "),
        "{wrong}"
    );
}

/// A file server of loopback.
fn web(bytes: &'static [u8]) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let place = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream = stream;
            let mut head = [0; 1024];
            let count = stream.read(&mut head).unwrap_or(0);
            let found = !String::from_utf8_lossy(&head[..count]).contains("none");
            let (status, body): (&str, &[u8]) = if found {
                ("200 OK", bytes)
            } else {
                ("404 File not found", b"")
            };
            let _ = write!(stream, "HTTP/1.0 {status}\r\nContent-Length: {}\r\n\r\n", body.len());
            let _ = stream.write_all(body);
        }
    });
    format!("http://{place}")
}

#[test]
fn images_keep_the_laws() {
    let place = web(b"an image");
    // sha256 of "an image"
    let sum = sha256(b"an image");
    let file = tempfile::Builder::new().suffix(".iso").tempfile().unwrap();
    std::fs::write(file.path(), vec![7; 700_000]).unwrap();
    let src = file.path().display().to_string();
    let upload = image(serde_json::json!({ "src": src, "filename": "live-1.iso" }));
    changed(laws(&upload, |_| {}));
    let server = StandIn::start();
    upload.apply(&server).unwrap();
    let kept = std::fs::read(server.storage().join("template/iso/live-1.iso")).unwrap();
    assert_eq!(kept, vec![7; 700_000]);
    let smaller = image(serde_json::json!({ "src": src, "filename": "live-1.iso" }));
    changed(laws(&smaller, |server| {
        std::fs::write(server.storage().join("template/iso/live-1.iso"), "old").unwrap()
    }));
    let download =
        image(serde_json::json!({ "url": format!("{place}/fcos-1.iso"), "checksum": format!("sha256:{sum}") }));
    changed(laws(&download, |_| {}));
    changed(laws(
        &image(serde_json::json!({ "filename": "fcos-1.iso", "state": "absent" })),
        made(&download),
    ));
    let bad = image(
        serde_json::json!({ "url": format!("{place}/fcos-1.iso"), "checksum": format!("sha256:{}", "0".repeat(64)) }),
    );
    let failure = bad.apply(&StandIn::start()).unwrap_err();
    assert!(
        failure.message.contains("checksum mismatch") && failure.message.contains("nothing was kept"),
        "{}",
        failure.message
    );
    let none = image(serde_json::json!({ "url": format!("{place}/none.iso") }));
    let failure = none.apply(&StandIn::start()).unwrap_err();
    assert!(failure.journal.iter().any(|line| line.contains("404")), "{failure:?}");
    // A full storage: before anything is sent where the size is known, in the task's log else.
    let full = StandIn::start();
    full.world().capacity = 4;
    let failure = upload.apply(&full).unwrap_err();
    assert!(
        failure.message.contains("4 bytes left") && full.writes().is_empty(),
        "{}",
        failure.message
    );
    let failure = download.apply(&full).unwrap_err();
    assert!(failure.message.contains("the storage is full"), "{}", failure.message);
    // A disk is made of what was downloaded, and grown to its size.
    let import = image(serde_json::json!({ "url": format!("{place}/disk.raw"), "content": "import" }));
    let disk = vm(json(
        r#"{"name": "x", "scsi": {"scsi0": "local:0,import-from=local:import/disk.raw,size=1G"}}"#,
    ));
    changed(laws(&disk, made(&import)));
}

#[test]
fn an_image_in_a_drive_is_not_removed() {
    let server = StandIn::start();
    let file = tempfile::Builder::new().suffix(".iso").tempfile().unwrap();
    let src = file.path().display().to_string();
    image(serde_json::json!({ "src": src, "filename": "live-1.iso" }))
        .apply(&server)
        .unwrap();
    let gone = image(serde_json::json!({ "filename": "live-1.iso", "state": "absent" }));
    let drive =
        |volume: &str| vm(serde_json::json!({ "name": "boot1", "ide": { "ide2": format!("{volume},media=cdrom") } }));
    drive("local:iso/live-1.iso").apply(&server).unwrap();
    for end in [gone.plan(&server), gone.apply(&server)] {
        let told = end.unwrap_err().message;
        assert!(
            told.contains("local:iso/live-1.iso is in the drive ide2 of boot1: take it out first"),
            "{told}"
        );
    }
    assert!(server.storage().join("template/iso/live-1.iso").exists());
    // A plan that takes it out goes on to remove it.
    let plan = Overlay::new(gone.at(&server, &[]).endpoint().client().unwrap());
    drive("none").at(&server, &[]).converge(&plan, None).unwrap();
    assert_eq!(
        gone.at(&server, &[]).converge(&plan, None).unwrap().status,
        Status::Changed
    );
    drive("none").apply(&server).unwrap();
    assert_eq!(gone.apply(&server).unwrap().status, Status::Changed);
    assert!(!server.storage().join("template/iso/live-1.iso").exists());
}

fn sha256(bytes: &[u8]) -> String {
    let mut child = Command::new("sha256sum")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(bytes).unwrap();
    let out = child.wait_with_output().unwrap().stdout;
    String::from_utf8_lossy(&out[..64]).into_owned()
}

/// From a bare site: an earlier step makes the file, the next one uploads it, and a machine boots from it.
#[test]
fn an_upload_that_an_earlier_step_makes_is_promised_with_the_machine_that_uses_it() {
    let server = StandIn::start();
    let folder = tempfile::tempdir().unwrap();
    let src = folder.path().join("master-1.iso");
    let upload = image(serde_json::json!({ "src": src.display().to_string() }));
    let disc = vm(json(
        r#"{"name": "m", "ide": {"ide2": "local:iso/master-1.iso,media=cdrom"}, "state": "started"}"#,
    ));
    let kind = upload.at(&server, &[]);
    let plan = Overlay::new(kind.endpoint().client().unwrap());
    let planned = kind.converge(&plan, None).unwrap();
    assert_eq!(planned.status, Status::Changed);
    assert!(
        planned
            .notes
            .iter()
            .any(|note| note.contains("an earlier step has to make it")),
        "{:?}",
        planned.notes
    );
    let machine = disc.at(&server, &[]).converge(&plan, None).unwrap();
    assert_eq!(machine.status, Status::Changed);
    assert_eq!(server.writes(), Vec::<String>::new());
    let missing = upload.apply(&server).unwrap_err();
    assert!(
        missing.message.contains("master-1.iso is not there"),
        "{}",
        missing.message
    );
    std::fs::write(&src, vec![1; 4096]).unwrap();
    let applied = kind
        .converge(kind.endpoint().client().unwrap().as_ref(), planned.fingerprint)
        .unwrap();
    assert_eq!(applied.status, Status::Changed, "what was planned is what is applied");
    let real = disc.at(&server, &[]);
    let started = real
        .converge(real.endpoint().client().unwrap().as_ref(), machine.fingerprint)
        .unwrap();
    assert_eq!(started.status, Status::Changed);
    assert!(server.world().guests[&100].config["ide2"].starts_with("local:iso/master-1.iso"));
    assert_eq!(upload.apply(&server).unwrap().status, Status::Same);
    // The disc is taken out, and put in again.
    let empty = vm(json(r#"{"name": "m", "ide": {"ide2": "none,media=cdrom"}}"#));
    assert_eq!(empty.apply(&server).unwrap().status, Status::Changed);
    assert_eq!(empty.apply(&server).unwrap().status, Status::Same);
    assert_eq!(disc.apply(&server).unwrap().status, Status::Changed);
    // Where the volume is there already, nobody knows yet whether it will be replaced.
    std::fs::remove_file(&src).unwrap();
    assert!(matches!(upload.plan(&server).unwrap().status, Status::Unknown(_)));
}

/// The first run is cut off between its POST and the task's end: it is as if it had been killed there.
#[test]
fn a_killed_run_is_taken_up_and_makes_no_second_machine() {
    let server = StandIn::start();
    server.world().hold = true;
    let failure = boot1().apply_with(&server, &[("timeout", "0")]).unwrap_err();
    assert!(failure.message.contains("run again"), "{}", failure.message);
    let plan = boot1().plan(&server).unwrap();
    assert!(matches!(plan.status, Status::Unknown(_)), "{plan:?}");
    let outcome = std::thread::scope(|scope| {
        let asked = server.requests().len();
        let second = scope.spawn(|| boot1().apply(&server));
        let deadline = Instant::now() + Duration::from_secs(20);
        let waits = || {
            server.requests()[asked..]
                .iter()
                .any(|line| line.contains("/tasks/UPID") && line.ends_with("status"))
        };
        while !waits() {
            assert!(Instant::now() < deadline, "the second run does not wait for the task");
            std::thread::sleep(Duration::from_millis(10));
        }
        server.world().hold = false;
        second.join().unwrap()
    });
    assert_eq!(
        outcome.unwrap().status,
        Status::Same,
        "the first run's machine is the one that was meant"
    );
    let made = server
        .writes()
        .into_iter()
        .filter(|line| line == "POST /nodes/pve/qemu")
        .count();
    assert_eq!((made, server.world().guests.len()), (1, 1));
}

#[test]
fn two_machines_of_one_plan_have_two_numbers() {
    let server = StandIn::start();
    let kind = boot1().at(&server, &[]);
    let under: Arc<dyn Api> = kind.endpoint().client().unwrap();
    let plan = Overlay::new(under);
    kind.converge(&plan, None).unwrap();
    let mut other = boot1();
    other.args.insert("name".to_owned(), "boot2".into());
    other.at(&server, &[]).converge(&plan, None).unwrap();
    let all = plan.get("/cluster/resources?type=vm").unwrap();
    let numbers: Vec<i64> = all["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["vmid"].as_i64().unwrap())
        .collect();
    assert_eq!(numbers, [100, 101]);
}

fn okd_play(folder: &std::path::Path, words: &[&str]) -> Output {
    Command::new(okd_tests::play::program())
        .args(words)
        .current_dir(folder)
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap()
}

/// A kept plan holds steps of an interface as it does those of a machine, and no token.
#[test]
fn a_kept_plan_refuses_what_moved_at_the_interface_alone() {
    let server = StandIn::start();
    let folder = tempfile::tempdir().unwrap();
    let (user, id, secret) = TOKEN;
    let play = format!(
        "- hosts: localhost\n  gather_facts: false\n  vars:\n    pve: &pve\n      api_host: {}\n      api_port: {}\n      api_user: {user}\n      api_token_id: {id}\n      api_token_secret: {secret}\n      ca_path: {}\n      node: pve\n  module_defaults:\n    proxmox_bridge: *pve\n  tasks:\n    - proxmox_bridge: {{iface: vmbr1, mtu: \"{{{{ mtu }}}}\"}}\n    - proxmox_bridge: {{iface: vmbr2, mtu: \"{{{{ mtu }}}}\"}}\n",
        server.address.ip(),
        server.address.port(),
        server.ca().display()
    );
    std::fs::write(folder.path().join("play.yaml"), play).unwrap();
    let okd = |words: &[&str], code: i32| {
        let output = okd_play(folder.path(), words);
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{text}");
        assert!(!text.contains(secret), "{text}");
        text
    };
    let plan = |mtu: &str| {
        okd(
            &["plan", "-i", "localhost,", "play.yaml", "-o", "site.plan", "-e", mtu],
            0,
        );
        let bytes = std::fs::read(folder.path().join("site.plan")).unwrap();
        let sections = okd_play::saved::archive::sections(&bytes).unwrap();
        for part in sections.iter().chain([&bytes]) {
            assert!(!String::from_utf8_lossy(part).contains(secret));
        }
        for format in ["text", "json", "html"] {
            assert!(okd(&["show", "site.plan", "--format", format], 0).contains("vmbr2"));
        }
    };
    plan("mtu=1450");
    assert_eq!(server.writes(), Vec::<String>::new());
    okd(&["apply", "site.plan", "--yes"], 0);
    let client = bridge(json(r#"{"iface": "vmbr1"}"#))
        .at(&server, &[])
        .endpoint()
        .client()
        .unwrap();
    let mtus = || {
        let seen = |name: &str| client.get(&format!("/nodes/pve/network/{name}")).unwrap();
        ["vmbr1", "vmbr2"].map(|name| seen(name)["data"]["mtu"].to_string().replace('"', ""))
    };
    assert_eq!(mtus(), ["1450", "1450"]);
    plan("mtu=1400");
    bridge(json(r#"{"iface": "vmbr1", "mtu": 1300}"#))
        .apply(&server)
        .unwrap();
    let text = okd(&["apply", "site.plan", "--yes"], 4);
    assert!(
        text.contains("refused") && text.contains("1450") && text.contains("1300"),
        "{text}"
    );
    assert_eq!(mtus(), ["1300", "1400"], "{text}");
}

/// The program itself: a plan, a run, and a run that changes nothing.
#[test]
fn a_playbook_makes_a_bridge_and_a_machine_on_it() {
    let server = StandIn::start();
    let folder = tempfile::tempdir().unwrap();
    let (user, id, secret) = TOKEN;
    let play = format!(
        "- hosts: localhost\n  gather_facts: false\n  vars:\n    pve: &pve\n      api_host: {}\n      api_port: {}\n      api_user: {user}\n      api_token_id: {id}\n      api_token_secret: {secret}\n      ca_path: {}\n      node: pve\n  module_defaults:\n    proxmox_bridge: *pve\n    proxmox_vm: *pve\n  tasks:\n    - proxmox_bridge:\n        iface: vmbr1\n        mtu: 1450\n    - proxmox_vm:\n        name: \"{{{{ item }}}}\"\n        memory: 1024\n        net:\n          net0: virtio,bridge=vmbr1,mtu=1\n        scsi:\n          scsi0: local:1\n        state: started\n      loop: [master0, master1]\n      register: made\n    - assert:\n        that: made.results[0].macs.net0 is match('BC:24:11')\n",
        server.address.ip(),
        server.address.port(),
        server.ca().display()
    );
    std::fs::write(folder.path().join("play.yaml"), play).unwrap();
    let text = |output: &Output| {
        format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        )
    };
    let check = okd_play(
        folder.path(),
        &["run", "-i", "localhost,", "play.yaml", "--check", "--exit-code"],
    );
    assert_eq!(server.writes(), Vec::<String>::new(), "{}", text(&check));
    assert!(
        text(&check).contains("virtual machine master1") && text(&check).contains("vmbr1 on pve"),
        "{}",
        text(&check)
    );
    let run = okd_play(folder.path(), &["run", "-i", "localhost,", "play.yaml", "--yes"]);
    assert!(run.status.success(), "{}", text(&run));
    assert!(!text(&run).contains(secret));
    assert_eq!(server.world().guests.values().filter(|guest| guest.running).count(), 2);
    let writes = server.writes();
    let again = okd_play(folder.path(), &["run", "-i", "localhost,", "play.yaml", "--yes"]);
    assert!(again.status.success(), "{}", text(&again));
    assert_eq!(
        server.writes(),
        writes,
        "the second run changes nothing: {}",
        text(&again)
    );
}

/// The program itself, from a bare site: the file is made, uploaded and booted from in one run.
#[test]
fn a_playbook_makes_a_disc_uploads_it_and_boots_from_it() {
    let server = StandIn::start();
    let folder = tempfile::tempdir().unwrap();
    let disc = folder.path().join("site-1.iso");
    let (user, id, secret) = TOKEN;
    let play = format!(
        "- hosts: localhost\n  gather_facts: false\n  vars:\n    pve: &pve\n      api_host: {}\n      api_port: {}\n      api_user: {user}\n      api_token_id: {id}\n      api_token_secret: {secret}\n      ca_path: stand-in.pem\n      node: pve\n  module_defaults:\n    proxmox_image: *pve\n    proxmox_vm: *pve\n  tasks:\n    - copy:\n        content: a disc\n        dest: {disc}\n    - proxmox_image:\n        src: {disc}\n    - proxmox_vm:\n        name: m\n        memory: 64\n        ide:\n          ide2: local:iso/site-1.iso,media=cdrom\n        boot: order=ide2\n        state: started\n",
        server.address.ip(),
        server.address.port(),
        disc = disc.display()
    );
    // Beside the playbook, as files of `copy` are.
    std::fs::create_dir(folder.path().join("files")).unwrap();
    std::fs::copy(server.ca(), folder.path().join("files/stand-in.pem")).unwrap();
    std::fs::write(folder.path().join("play.yaml"), play).unwrap();
    let text = |output: &Output| {
        format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        )
    };
    let check = okd_play(folder.path(), &["run", "-i", "localhost,", "play.yaml", "--check"]);
    assert!(check.status.success(), "{}", text(&check));
    assert!(
        text(&check).contains("its size is known when its source is made"),
        "{}",
        text(&check)
    );
    assert_eq!(server.writes(), Vec::<String>::new());
    assert!(!disc.exists());
    let run = okd_play(
        folder.path(),
        &["run", "-i", "localhost,", "play.yaml", "--yes", "--verify"],
    );
    assert!(run.status.success(), "{}", text(&run));
    let kept = std::fs::read(server.storage().join("template/iso/site-1.iso")).unwrap();
    assert_eq!(kept, b"a disc");
    assert!(server.world().guests[&100].running);
    let writes = server.writes();
    let again = okd_play(folder.path(), &["run", "-i", "localhost,", "play.yaml", "--yes"]);
    assert!(again.status.success(), "{}", text(&again));
    assert_eq!(
        server.writes(),
        writes,
        "the second run changes nothing: {}",
        text(&again)
    );
}
