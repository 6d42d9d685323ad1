//! The software-defined network and the firewall: the three laws, what others staged, rules that are not ours.

use super::{Wish, boot1, changed, json, laws, made, vm, wish};
use okd_agent::diff::Change;
use okd_agent::resource::Status;
use okd_play::control::api::{Call, Method};
use okd_play::control::overlay::Overlay;
use okd_tests::pve::StandIn;

fn sdn(args: serde_json::Value) -> Wish {
    without_node("proxmox_sdn", args)
}

fn firewall(args: serde_json::Value) -> Wish {
    without_node("proxmox_firewall", args)
}

fn without_node(name: &'static str, args: serde_json::Value) -> Wish {
    let mut wish = wish(name, args);
    wish.args.entry("node".to_owned()).or_insert_with(|| "-".into());
    wish
}

fn zone() -> Wish {
    sdn(json(
        r#"{"zone": "okdz", "peers": ["10.213.0.3", "10.213.0.2"], "mtu": 1450, "vnets": {"okdnet": 4242}}"#,
    ))
}

#[test]
fn zones_keep_the_laws() {
    let outcome = changed(laws(&zone(), |_| {}));
    assert!(
        outcome
            .diff
            .contains(&Change::Act("apply the cluster's software-defined network".to_owned()))
    );
    let other = sdn(json(
        r#"{"zone": "okdz", "peers": ["10.213.0.2"], "mtu": 1400, "vnets": {"okdnet": 4243, "okdnet2": 7}}"#,
    ));
    changed(laws(&other, made(&zone())));
    let fewer = r#"{"zone": "okdz", "peers": ["10.213.0.2", "10.213.0.3"], "mtu": 0, "vxlan_port": 4790, "vnets": {"okdnet": 0, "new": 5}}"#;
    changed(laws(&sdn(json(fewer)), made(&zone())));
    changed(laws(&sdn(json(r#"{"zone": "simp", "type": "simple"}"#)), |_| {}));
    let gone = sdn(json(r#"{"zone": "okdz", "state": "absent", "vnets": {"okdnet": 1}}"#));
    changed(laws(&gone, made(&zone())));
    assert_eq!(laws(&gone, |_| {}).unwrap().status, Status::Same);
    assert_eq!(laws(&zone(), made(&zone())).unwrap().status, Status::Same);
    // Vnets that are not named do not go along.
    let unnamed = sdn(json(r#"{"zone": "okdz", "state": "absent"}"#));
    assert!(laws(&unnamed, made(&zone())).is_none());
    let server = StandIn::start();
    zone().apply(&server).unwrap();
    let failure = sdn(json(r#"{"zone": "okdz", "type": "simple"}"#))
        .apply(&server)
        .unwrap_err();
    assert!(
        failure.message.contains("a type cannot be changed"),
        "{}",
        failure.message
    );
}

#[test]
fn a_machine_is_planned_on_a_vnet_that_is_planned_and_started_on_one_that_is_applied() {
    let server = StandIn::start();
    let on = vm(json(
        r#"{"name": "m", "net": {"net0": "virtio,bridge=okdnet,mtu=1"}, "state": "started"}"#,
    ));
    let kind = zone().at(&server, &[]);
    let plan = Overlay::new(kind.endpoint().client().unwrap());
    kind.converge(&plan, None).unwrap();
    on.at(&server, &[]).converge(&plan, None).unwrap();
    let early = on.apply(&server).unwrap_err();
    assert!(
        early.message.contains("bridge 'okdnet' does not exist"),
        "{}",
        early.message
    );
    zone().apply(&server).unwrap();
    on.apply(&server).unwrap();
}

#[test]
fn a_zone_that_was_staged_before_a_kill_is_applied() {
    let server = StandIn::start();
    let client = zone().at(&server, &[]).endpoint().client().unwrap();
    let call = Call::new(Method::Post, "/cluster/sdn/zones")
        .with("zone", "okdz")
        .with("type", "vxlan")
        .with("peers", "10.213.0.2,10.213.0.3")
        .with("mtu", "1450");
    client.send(&call).unwrap();
    assert_eq!(zone().apply(&server).unwrap().status, Status::Changed);
    assert!(server.world().up().contains(&"okdnet".to_owned()));
    assert_eq!(zone().apply(&server).unwrap().status, Status::Same);
}

#[test]
fn edits_of_the_network_that_others_staged_are_named_and_refused() {
    assert!(laws(&zone(), |server| server.world().stage_zone_by_someone("theirs")).is_none());
    let server = StandIn::start();
    server.world().stage_zone_by_someone("theirs");
    server.world().stage_by_someone("vmbr9");
    let failure = zone().apply(&server).unwrap_err();
    assert!(
        failure.message.contains("zone theirs (new)")
            && failure.message.contains("+auto vmbr9")
            && failure.message.contains("run again"),
        "{}",
        failure.message
    );
    assert_eq!(server.writes(), Vec::<String>::new());
}

fn wall() -> Wish {
    firewall(json(
        r#"{"name": "boot1", "options": {"enable": "1", "policy_in": "DROP"}, "rules": [
            {"macro": "SSH", "source": "192.0.2.0/24"},
            {"proto": "tcp", "dport": "80,443,6443", "comment": "balancer"},
            {"proto": "udp", "dport": "53", "enable": false}]}"#,
    ))
}

#[test]
fn firewalls_keep_the_laws() {
    changed(laws(&wall(), made(&boot1())));
    let first = |server: &StandIn| {
        boot1().apply(server).unwrap();
        wall().apply(server).unwrap();
    };
    let turned = firewall(json(
        r#"{"name": "boot1", "rules": [
            {"proto": "udp", "dport": "53", "enable": false},
            {"macro": "SSH", "source": "192.0.2.0/24"},
            {"proto": "tcp", "dport": "80,443,6443", "comment": "balancer"}]}"#,
    ));
    let outcome = changed(laws(&turned, first));
    assert!(
        matches!(outcome.diff.as_slice(), [Change::Field { name, .. }] if name == "order of the rules"),
        "{:?}",
        outcome.diff
    );
    changed(laws(&firewall(json(r#"{"name": "boot1", "rules": []}"#)), first));
    changed(laws(
        &firewall(json(r#"{"name": "boot1", "options": {"policy_in": "ACCEPT"}}"#)),
        first,
    ));
    changed(laws(
        &firewall(json(
            r#"{"level": "cluster", "options": {"enable": "1"}, "rules": [{"macro": "Ping"}]}"#,
        )),
        |_| {},
    ));
    changed(laws(
        &firewall(json(
            r#"{"level": "node", "node": "pve", "rules": [{"proto": "udp", "dport": "4789", "source": "10.213.0.3"}]}"#,
        )),
        |_| {},
    ));
    assert!(laws(&wall(), |_| {}).is_none(), "there is no machine");
}

#[test]
fn rules_of_others_stay() {
    let server = StandIn::start();
    boot1().apply(&server).unwrap();
    let client = wall().at(&server, &[]).endpoint().client().unwrap();
    let path = "/nodes/pve/qemu/100/firewall/rules";
    let theirs = Call::new(Method::Post, path)
        .with("type", "in")
        .with("action", "DROP")
        .with("comment", "by hand");
    client.send(&theirs).unwrap();
    let outcome = wall().apply(&server).unwrap();
    assert!(
        outcome
            .notes
            .iter()
            .any(|note| note.contains("1 rules without the mark")),
        "{:?}",
        outcome.notes
    );
    let comments = || -> Vec<String> {
        let rows = client.get(path).unwrap();
        let rows = rows["data"].as_array().unwrap().clone();
        rows.iter()
            .map(|row| row["comment"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(comments(), ["okd-play", "okd-play: balancer", "okd-play", "by hand"]);
    assert!(
        outcome
            .notes
            .iter()
            .any(|note| note.contains("net0 of boot1 has no `firewall=1`"))
    );
    firewall(json(r#"{"name": "boot1", "rules": []}"#))
        .apply(&server)
        .unwrap();
    assert_eq!(comments(), ["by hand"]);
}

/// Cut off between the new rules and the old ones' end: both are there, and the next run ends it.
#[test]
fn half_changed_rules_are_completed() {
    let server = StandIn::start();
    boot1().apply(&server).unwrap();
    wall().apply(&server).unwrap();
    let client = wall().at(&server, &[]).endpoint().client().unwrap();
    let half = Call::new(Method::Post, "/nodes/pve/qemu/100/firewall/rules")
        .with("type", "in")
        .with("action", "ACCEPT")
        .with("enable", "1")
        .with("comment", "okd-play: half");
    client.send(&half).unwrap();
    assert_eq!(wall().apply(&server).unwrap().status, Status::Changed);
    assert_eq!(wall().apply(&server).unwrap().status, Status::Same);
}
