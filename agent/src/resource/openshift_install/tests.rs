//! When Ignition files are made, when they are kept, and what is refused before that.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::param::Params;
use crate::resource::laws::{POISON, laws, laws_with_secret, placeholder};
use crate::resource::slurp::base64;
use crate::resource::{Outcome, Status, converge};
use crate::system::fake::Fake;
use crate::system::overlay::Overlay;
use std::sync::Arc;

/// 2026-11-30 00:00:00 UTC.
const NOW: i64 = 1_795_996_800;
const MANIFEST: &str = "spec:\n  mastersSchedulable: true\nstatus: {}\n";

fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut all = vec![tag];
    match content.len() {
        short @ ..0x80 => all.push(short as u8),
        long => all.extend([0x82, (long >> 8) as u8, long as u8]),
    }
    all.extend(content);
    all
}

fn certificate(until: &str) -> String {
    let validity = [der(0x17, b"261129120000Z"), der(0x17, until.as_bytes())].concat();
    let parts = [der(0xa0, &der(2, &[2])), der(2, &[1]), der(0x30, &[]), der(0x30, &[0; 200]), der(0x30, &validity)];
    let whole = der(0x30, &der(0x30, &parts.concat()));
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", base64(&whole))
}

fn bootstrap(until: &str, schedulable: bool) -> Vec<u8> {
    let scheduler = MANIFEST.replace("true", &schedulable.to_string());
    let files = [
        ("/opt/openshift/tls/kubelet-signer.crt", certificate(until)),
        ("/opt/openshift/manifests/cluster-scheduler-02-config.yml", scheduler),
        ("/opt/openshift/manifests/cluster-network-03-config.yml", "kind: \"Network\"\n".to_owned()),
        ("/opt/openshift/openshift/99-extra.yaml", "kind: X\n".to_owned()),
        ("/etc/motd", String::new()),
    ];
    let files = files.map(|(path, text)| {
        format!(
            r#"{{"path": "{path}", "contents": {{"source": "data:text/plain;charset=utf-8;base64,{}"}}}}"#,
            base64(text.as_bytes())
        )
    });
    format!(r#"{{"ignition": {{"version": "3.2.0"}}, "storage": {{"files": [{}]}}}}"#, files.join(", ")).into_bytes()
}

fn clock(world: Fake, now: i64) -> Fake {
    world.fact("look:clock", Answer::ok(format!("{now}\n")))
}

/// A host with an installer whose certificates end at a moment.
fn host(until: &str, schedulable: bool) -> Fake {
    let program = ["openshift-install", "create"];
    let made = bootstrap(until, schedulable);
    let others: Vec<(&str, &[u8])> = FILES[1..].iter().map(|file| (*file, &b"{}"[..])).collect();
    let files = [&[("bootstrap.ign", made.as_slice())][..], &others].concat();
    let world = Fake::new()
        .command(&program, Answer::ok(""))
        .command(&["openshift-install", "version"], Answer::ok("/usr/bin/openshift-install 4.19.0-okd-scos.1\nbuilt from commit x\n"))
        .command(&["sha256sum"], Answer::ok("aa  /b\nbb  /m\ncc  /w\n"))
        .command(&["sha512sum"], Answer::ok("aaaa  /b\nbbbb  /m\ncccc  /w\n"))
        .lays(&[&program[..], &["manifests"]].concat(), &[(SCHEDULER, MANIFEST.as_bytes()), ("openshift/99_feature-gate.yaml", b"kind: FeatureGate\n")])
        .lays(&[&program[..], &["ignition-configs"]].concat(), &files);
    clock(world, NOW)
}

fn good() -> Fake {
    host("261201120000Z", false)
}

fn config(more: &str) -> Map {
    let text = format!(
        r#"{{"baseDomain": "example.org", "metadata": {{"name": "okd"}}, "platform": {{"none": {{}}}},
            "compute": [{{"name": "worker", "replicas": 0}}], "controlPlane": {{"name": "master", "replicas": 3}}{more}}}"#
    );
    json::parse(&text).unwrap().as_map().unwrap().clone()
}

const NETWORKS: &str = r#", "networking": {"machineNetwork": [{"cidr": "192.168.7.0/24"}]}"#;

fn task(config: Map, more: &[(&str, Value)]) -> OpenshiftInstall {
    let mut args = map([
        ("directory", "/root/okd".into()),
        ("install_config", Value::Map(config)),
        ("pull_secret", r#""{\"auths\":{}}""#.into()),
        ("masters_schedulable", false.into()),
    ]);
    args.extend(more.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    OpenshiftInstall::decode(&args).unwrap()
}

fn plain(more: &[(&str, Value)]) -> OpenshiftInstall {
    let task = task(config(NETWORKS), more);
    assert_eq!(task.check(), Ok(()));
    task
}

fn network() -> (&'static str, Value) {
    let manifest = map([("kind", "Network".into())]);
    let extra = [("cluster-network-03-config.yml", Value::Map(manifest)), ("openshift/99-extra.yaml", "kind: X".into())];
    ("manifests", Value::Map(map(extra)))
}

fn run(task: &OpenshiftInstall, world: &(dyn System + 'static)) -> Outcome {
    converge(task, world, None).unwrap()
}

fn refusal(task: &OpenshiftInstall, world: &(dyn System + 'static)) -> String {
    format!("{:?}", converge(task, world, None).unwrap_err())
}

#[test]
pub(crate) fn ignition_files_keep_the_laws() {
    for more in [vec![], vec![network()], vec![("version", "4.19.0-okd-scos.1".into())]] {
        laws(&plain(&more), good);
    }
    laws(&plain(&[("installed", "/etc/installed".into())]), || good().file("/etc/installed", ""));
    laws_with_secret(&plain(&[("pull_secret", placeholder().into())]), good);
}

#[test]
fn they_are_made_once() {
    let world = good();
    let task = plain(&[network()]);
    let outcome = run(&task, &world);
    assert_eq!(outcome.status, Status::Changed);
    let shown = format!("{:?}", outcome.diff);
    assert!(shown.contains("pullSecret: ‹hidden›") && shown.contains("kind: \\\"Network\\\""), "{shown}");
    assert_eq!(outcome.result["directory"], "/root/okd/current".into());
    assert_eq!(outcome.result["expires"], Value::Int(NOW + 36 * 3600));
    assert_eq!(outcome.result["age"], Value::Int(12 * 3600));
    let master = outcome.result["ignition"].get("master").unwrap();
    assert_eq!(master.get("path"), Some(&"/root/okd/current/master.ign".into()));
    assert_eq!(master.get("sha512"), Some(&"bbbb".into()));
    assert!(world.text("/root/okd/1/manifests/cluster-scheduler-02-config.yml").unwrap().contains("mastersSchedulable: false"));
    assert_eq!(world.text("/root/okd/1/openshift/99-extra.yaml").unwrap(), "kind: X\n");
    let kept = world.text("/root/okd/1/okd-play.inputs").unwrap();
    assert!(kept.starts_with("\"{\\\"auths\\\":{}}\"\n"), "{kept}");
    assert_eq!(run(&task, &world).status, Status::Same);
    assert_eq!(world.acts().iter().filter(|act| act.argv[1] == "create").count(), 2);
    assert!(world.acts().iter().all(|act| act.stdin.is_empty()));
}

#[test]
fn another_input_makes_another_cluster() {
    let world = good();
    run(&plain(&[]), &world);
    let changed = [
        ("ssh_key", "ssh-ed25519 AAAA".into()),
        ("pull_secret", r#""{\"auths\":{\"x\":{}}}""#.into()),
        ("version", "4.19.0-okd-scos.1".into()),
        ("install_config", Value::Map(config(&format!("{NETWORKS}, \"fips\": true")))),
        network(),
    ];
    for (number, change) in changed.iter().enumerate() {
        let task = plain(std::slice::from_ref(change));
        let outcome = run(&task, &world);
        assert!(outcome.diff.len() >= 2, "{}: {:?}", change.0, outcome.diff);
        let made = number + 2;
        assert!(world.text(&format!("/root/okd/{made}/bootstrap.ign")).is_some(), "{}", change.0);
        assert_eq!(run(&task, &world).status, Status::Same);
    }
    let kept = plain(&[("installed", "/etc/installed".into())]);
    assert_eq!(run(&kept, &world).status, Status::Changed);
    let world = Fake::from_data(world.data()).file("/etc/installed", "");
    assert_eq!(run(&plain(&[("installed", "/etc/installed".into()), network()]), &world).status, Status::Same);
}

#[test]
fn what_is_worth_nothing_any_more_is_made_anew() {
    let world = good();
    run(&plain(&[]), &world);
    let later = |hours: i64| clock(Fake::from_data(world.data()), NOW + hours * 3600);
    assert_eq!(run(&plain(&[]), &later(23)).status, Status::Same);
    let expired = run(&plain(&[("margin", Value::Int(1))]), &later(36));
    assert_eq!(
        expired.diff,
        [Change::Act("make Ignition files in a fresh folder below /root/okd: the certificates are good until 2026-12-01 12:00:00 UTC".to_owned())]
    );
    assert_eq!(run(&plain(&[("margin", Value::Int(3600))]), &later(34)).status, Status::Same);
    for file in FILES {
        let world = Fake::from_data(world.data());
        world.remove(&AbsPath::new("/root/okd/1").unwrap().join(file), crate::system::Removal::File).unwrap();
        let outcome = run(&plain(&[]), &world);
        assert!(format!("{:?}", outcome.diff).contains(&format!("{file} is missing")), "{:?}", outcome.diff);
    }
}

#[test]
fn a_run_that_is_cut_off_leaves_what_there_was() {
    let world = good();
    run(&plain(&[]), &world);
    let world = Fake::from_data(world.data()).fail_action(&["openshift-install", "create", "ignition-configs"], Answer::status(137));
    assert!(refusal(&plain(&[network()]), &world).contains("status 137"));
    assert_eq!(world.stat(&AbsPath::new("/root/okd/current").unwrap()).unwrap().unwrap().target.as_deref(), Some("1"));
    assert_eq!(run(&plain(&[]), &world).status, Status::Same);
}

#[test]
fn what_the_installer_did_not_do_is_an_error() {
    let lost = host("261201120000Z", true);
    assert!(refusal(&plain(&[]), &lost).contains("lacks mastersSchedulable: false"));
    let manifest = ("manifests", Value::Map(map([("99-lost.yaml", "kind: X".into())])));
    assert!(refusal(&plain(&[manifest]), &good()).contains("lacks manifests/99-lost.yaml"));
    let no_edit = good().lays(&["openshift-install", "create", "manifests"], &[(SCHEDULER, b"spec: {}\n")]);
    assert!(refusal(&plain(&[]), &no_edit).contains("no single line `mastersSchedulable:`"));
    let none = good().lays(&["openshift-install", "create", "ignition-configs"], &[("worker.ign", b"")]);
    assert!(refusal(&plain(&[]), &none).contains("made no worker.ign"));
    let other = refusal(&plain(&[("version", "4.20.0".into())]), &good());
    assert!(other.contains("is of release 4.19.0-okd-scos.1, not 4.20.0; nothing was made"), "{other}");
    for world in [lost, no_edit] {
        assert_eq!(world.stat(&AbsPath::new("/root/okd/current").unwrap()).unwrap(), None);
    }
}

#[test]
fn its_words_are_not_passed_on() {
    let echo = format!("level=error msg=\"invalid file: pullSecret: Invalid value: \\\"{POISON}\\\": no\"\n");
    let answer = Answer { rc: 3, stderr: echo.into_bytes(), stdout: POISON.into(), ..Answer::default() };
    let world = good().fail_action(&["openshift-install", "create", "manifests"], answer);
    let told = refusal(&plain(&[]), &world);
    assert!(told.contains("ended with status 3: invalid file: pullSecret: ‹hidden›") && !told.contains(POISON), "{told}");
}

#[test]
fn a_plan_goes_on_without_the_program() {
    let bare = || clock(Fake::new().fail_action(&["openshift-install"], Answer::status(Answer::NO_PROGRAM)), NOW);
    let plan = Overlay::new(Arc::new(bare()));
    let outcome = run(&plain(&[("version", "4.19.0".into())]), &plan);
    assert_eq!(outcome.status, Status::Changed);
    assert!(outcome.notes[0].contains("is not there yet"), "{:?}", outcome.notes);
    assert!(outcome.result["expires"].unknown().is_some());
    assert_eq!(outcome.result["ignition"].get("worker").unwrap().get("path"), Some(&"/root/okd/current/worker.ign".into()));
    let read = plan.read(&AbsPath::new("/root/okd/current/worker.ign").unwrap(), LIMIT);
    assert!(matches!(read, Err(SystemError::Unknown(_))), "{read:?}");
    assert_eq!(run(&plain(&[("version", "4.19.0".into())]), &plan).status, Status::Same);
    assert!(refusal(&plain(&[]), &bare()).contains("`openshift-install` is not installed"));
}

#[test]
fn mistakes_are_told_before_anything_runs() {
    let network = |text: &str| config(&format!(r#", "networking": {{{text}}}"#));
    let without = |key: &str| {
        let mut config = config(NETWORKS);
        config.shift_remove(key);
        config
    };
    let pool = |text: &str| config(&format!("{NETWORKS}, {text}"));
    for (config, word) in [
        (network(r#""machineNetwork": [{"cidr": "10.0.0.0/24"}], "serviceNetwork": ["10.0.0.0/16"]"#), "machineNetwork 10.0.0.0/24 overlaps serviceNetwork 10.0.0.0/16"),
        (network(r#""clusterNetwork": [{"cidr": "172.30.0.0/16", "hostPrefix": 23}]"#), "clusterNetwork 172.30.0.0/16 overlaps serviceNetwork 172.30.0.0/16, which is the installer's own"),
        (network(r#""machineNetwork": [{"cidr": "100.64.9.0/24"}]"#), "overlaps 100.64.0.0/16, which OVN-Kubernetes keeps for itself"),
        (network(r#""clusterNetwork": [{"cidr": "10.128.0.0/14", "hostPrefix": 14}]"#), "leaves no network for a second machine"),
        (network(r#""machineNetwork": [{"cidr": "10.0.0.1/24"}]"#), "bits beyond its length"),
        (network(r#""networkType": "OpenShiftSDN""#), "OpenShiftSDN is not offered from 4.15 on"),
        (without("platform"), "`platform` is `{none: {}}`"),
        (without("baseDomain"), "`baseDomain` is a domain"),
        (without("metadata"), "`metadata: {name: …}`"),
        (pool(r#""sshkeys": "x""#), "install-config.yaml has no `sshkeys`"),
        (pool(r#""pullSecret": "x""#), "give `pull_secret`"),
        (pool(r#""controlPlane": {"name": "master", "replicas": 2}"#), "1, 3 or 5 machines, not 2"),
        (pool(r#""controlPlane": {"replicas": 3}"#), "is `master`"),
        (pool(r#""controlPlane": []"#), "is a mapping"),
        (pool(r#""compute": {"name": "worker"}"#), "is a list of pools"),
        (pool(r#""compute": [{"name": "infra", "replicas": -1}]"#), "is called `worker`"),
    ] {
        let told = task(config, &[]).check().unwrap_err().join("\n");
        assert!(told.contains(word), "{word}: {told}");
    }
    let sdn = network(r#""networkType": "OpenShiftSDN""#);
    assert_eq!(task(sdn.clone(), &[("version", "4.14.0-0.okd-2023".into())]).check(), Ok(()));
    assert!(task(sdn, &[("version", "4.15.0".into())]).check().is_err());
    for name in ["x.txt", "a/b.yaml", "cluster-scheduler-02-config.yml"] {
        let manifests = ("manifests", Value::Map(map([(name, "kind: X".into())])));
        assert!(task(config(NETWORKS), &[manifests]).check().is_err(), "{name}");
    }
}
