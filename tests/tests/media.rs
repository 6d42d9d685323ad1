//! Boot media made on the control node, compared byte by byte, and with the words of `coreos-installer` where it is installed.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, missing_docs)]

use okd_agent::diff::Change;
use okd_agent::param::Params;
use okd_agent::resource::undo::Undo;
use okd_agent::resource::{Outcome, Resource, Status, converge};
use okd_agent::system::System;
use okd_agent::system::journal::Journal;
use okd_agent::system::local::Local;
use okd_agent::system::overlay::Overlay;
use okd_agent::value::{Map, Value, map};
use okd_play::history::RunId;
use okd_play::media::coreos::CoreosIso;
use okd_tests::live_iso::{Areas, LiveIso};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use tempfile::TempDir;

const URL: &str = "http://10.0.0.1:8080/okd4/master.ign";

fn hash() -> String {
    format!("sha512-{}", "0123456789abcdef".repeat(8))
}

struct Bench {
    folder: TempDir,
    areas: Areas,
}

impl Bench {
    fn new(iso: &LiveIso) -> Bench {
        let folder = tempfile::tempdir().unwrap();
        let areas = iso.write(&folder.path().join("live.iso"));
        Bench { folder, areas }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn kind(&self, more: &[(&str, Value)]) -> CoreosIso {
        let path = |name: &str| Value::from(self.path(name).to_str().unwrap());
        let mut args = map([("src", path("live.iso")), ("dest", path("made.iso"))]);
        args.extend(more.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        let kind = CoreosIso::decode(&args).unwrap();
        assert_eq!(kind.check(), Ok(()));
        kind
    }

    fn installs(&self) -> CoreosIso {
        self.kind(&[
            ("dest_device", "/dev/sda".into()),
            ("ignition_url", URL.into()),
            ("ignition_hash", hash().into()),
            ("live_kargs_append", "console=ttyS0,115200n8 okd.role=master".into()),
        ])
    }

    /// What is not in the areas, and what is.
    fn parts(&self, name: &str) -> (Vec<u8>, Vec<String>, Vec<u8>) {
        let mut bytes = std::fs::read(self.path(name)).unwrap();
        let iso = LiveIso::default();
        let ignition = bytes[self.areas.ignition..self.areas.ignition + iso.ignition_room].to_vec();
        let text = |at: &usize| String::from_utf8(bytes[*at..*at + iso.kargs_room].to_vec()).unwrap();
        let kargs = self.areas.kargs.iter().map(text).collect();
        for at in &self.areas.kargs {
            bytes[*at..*at + iso.kargs_room].fill(0);
        }
        bytes[self.areas.ignition..self.areas.ignition + iso.ignition_room].fill(0);
        (bytes, kargs, ignition)
    }
}

fn run(kind: &CoreosIso, world: &(dyn System + 'static)) -> Outcome {
    converge(kind, world, None).unwrap()
}

fn applied(kind: &CoreosIso) -> Outcome {
    run(kind, &Local::new() as &(dyn System + 'static))
}

fn refusal(kind: &CoreosIso) -> String {
    let world: &(dyn System + 'static) = &Local::new();
    converge(kind, world, None).unwrap_err().message
}

/// What is planned is what is done, and then nothing is left to do, in the plan and on the disk.
fn keeps_the_laws(kind: &CoreosIso) {
    let plan = Overlay::new(Arc::new(Local::new()));
    let planned = run(kind, &plan);
    let applied = applied(kind);
    assert_eq!((&planned.status, &planned.diff), (&applied.status, &applied.diff));
    assert_eq!(planned.result, applied.result);
    for world in [&plan as &(dyn System + 'static), &Local::new()] {
        let again = run(kind, world);
        assert_eq!((again.status, again.diff), (Status::Same, Vec::new()));
    }
}

#[test]
fn only_the_areas_of_the_image_differ() {
    let bench = Bench::new(&LiveIso::default());
    keeps_the_laws(&bench.installs());
    let (rest, kargs, ignition) = bench.parts("made.iso");
    let (before, ..) = bench.parts("live.iso");
    assert!(rest == before, "something else differs");
    let wanted = format!("{} console=ttyS0,115200n8 okd.role=master\n", LiveIso::default().kargs);
    for text in &kargs {
        assert_eq!(text.trim_end_matches('#'), wanted);
        assert_eq!(text.len(), LiveIso::default().kargs_room);
    }
    assert!(ignition.starts_with(b"070701"));
    let text = String::from_utf8_lossy(&ignition);
    let config: serde_json::Value =
        serde_json::from_str(text[text.find('{').unwrap()..].split('\0').next().unwrap()).unwrap();
    assert_eq!(config["storage"]["files"][0]["path"], "/etc/coreos/dest.ign");
    let mode = std::fs::metadata(bench.path("made.iso")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o644);
    let left = std::fs::read_dir(bench.folder.path()).unwrap().count();
    assert_eq!(left, 2, "something was left behind");
}

#[test]
fn an_image_is_taken_back() {
    let bench = Bench::new(&LiveIso::default());
    let machine: Arc<dyn System> = Arc::new(Local::new());
    for before in [None, Some("another image")] {
        if let Some(text) = before {
            std::fs::write(bench.path("made.iso"), text).unwrap();
        }
        // The oldest runs of a machine go, and other tests run on this one.
        let run = RunId::new().to_string();
        let journal = Journal::new(machine.clone());
        journal.begin(&run);
        assert_eq!(self::run(&bench.installs(), &journal).status, Status::Changed);
        let undo = Undo::decode(&map([("run", run.as_str().into())])).unwrap();
        let undone = converge(&undo, machine.as_ref(), None).unwrap();
        assert_eq!(undone.status, Status::Changed, "{undone:?}");
        let now = std::fs::read_to_string(bench.path("made.iso")).ok();
        assert_eq!(now.as_deref(), before, "{undone:?}");
        assert!(!bench.path(".made.iso.okd-play").exists());
        let home = std::env::var("HOME").unwrap_or_default();
        for folder in okd_agent::system::journal::folders(&home) {
            let _ = std::fs::remove_dir_all(folder.join(&run).as_str());
        }
    }
}

#[test]
fn the_plan_shows_arguments_and_configuration() {
    let bench = Bench::new(&LiveIso::default());
    let plan = Overlay::new(Arc::new(Local::new()));
    let shown = format!("{:?}", run(&bench.installs(), &plan).diff);
    for word in [
        "okd.role=master",
        "/etc/coreos/dest.ign",
        "dest-device: \\\"/dev/sda\\\"",
        URL,
        &hash(),
    ] {
        assert!(shown.contains(word), "{word}: {shown}");
    }
    assert!(!bench.path("made.iso").exists());
}

#[test]
fn a_change_of_either_area_is_written_and_a_good_image_is_kept() {
    let bench = Bench::new(&LiveIso::default());
    applied(&bench.installs());
    let before = std::fs::metadata(bench.path("made.iso")).unwrap().modified().unwrap();
    assert_eq!(applied(&bench.installs()).status, Status::Same);
    assert_eq!(
        std::fs::metadata(bench.path("made.iso")).unwrap().modified().unwrap(),
        before
    );
    let plain = bench.kind(&[("live_kargs_append", Value::List(vec!["quiet".into()]))]);
    let outcome = applied(&plain);
    assert!(
        matches!(&outcome.diff[0], Change::Field { name, .. } if name == "kernel arguments"),
        "{:?}",
        outcome.diff
    );
    assert!(
        bench.parts("made.iso").2.iter().all(|byte| *byte == 0),
        "an empty configuration is none"
    );
    keeps_the_laws(&bench.installs());
    keeps_the_laws(&bench.kind(&[
        ("mode", "0600".into()),
        ("live_ignition", r#"{"ignition": {"version": "3.3.0"}}"#.into()),
    ]));
    let gone = bench.kind(&[("state", "absent".into())]);
    keeps_the_laws(&gone);
    assert!(!bench.path("made.iso").exists());
    keeps_the_laws(&gone);
}

#[test]
fn another_release_and_what_others_wrote_are_replaced() {
    let bench = Bench::new(&LiveIso::default());
    applied(&bench.installs());
    let newer = LiveIso {
        volume: "scos-10.0.20250801".to_owned(),
        ..LiveIso::default()
    };
    newer.write(&bench.path("live.iso"));
    let outcome = applied(&bench.installs());
    assert!(
        outcome
            .diff
            .iter()
            .any(|change| matches!(change, Change::Act(text) if text.contains("anew"))),
        "{:?}",
        outcome.diff
    );
    let mut bytes = std::fs::read(bench.path("made.iso")).unwrap();
    bytes[bench.areas.ignition..bench.areas.ignition + 6].copy_from_slice(b"\xfd7zXZ\0");
    std::fs::write(bench.path("made.iso"), bytes).unwrap();
    keeps_the_laws(&bench.installs());
    std::fs::write(bench.path("made.iso"), "no image").unwrap();
    keeps_the_laws(&bench.installs());
    assert!(bench.parts("made.iso").2.starts_with(b"070701"));
}

#[test]
fn what_cannot_be_done_is_refused_and_leaves_nothing() {
    let small = LiveIso {
        kargs_room: 100,
        ignition_room: 4096,
        ..LiveIso::default()
    };
    let bench = Bench::new(&small);
    let long = bench.kind(&[("live_kargs_append", "x".repeat(200).into())]);
    assert!(refusal(&long).contains("there is room for 100"), "{}", refusal(&long));
    let large = format!(r#"{{"ignition": {{"version": "3.3.0"}}, "x": "{}"}}"#, "y".repeat(5000));
    let large = bench.kind(&[("dest_device", "/dev/sda".into()), ("dest_ignition", large.into())]);
    assert!(refusal(&large).contains("there is room for 4096; point to it by `ignition_url`"));
    let old = Bench::new(&LiveIso {
        installer_config: false,
        ..LiveIso::default()
    });
    assert!(refusal(&old.installs()).contains("does not read the installer's configuration"));
    assert_eq!(
        applied(&old.kind(&[("live_kargs_append", "coreos.inst.install_dev=/dev/sda".into())])).status,
        Status::Changed
    );
    std::fs::write(bench.path("live.iso"), vec![0; 100_000]).unwrap();
    assert!(refusal(&bench.installs()).contains("it is no CoreOS live ISO"));
    let (whole, _) = LiveIso::default().bytes();
    std::fs::write(bench.path("live.iso"), &whole[..whole.len() - 4096]).unwrap();
    assert!(refusal(&bench.installs()).contains("it is incomplete"));
    std::fs::remove_file(bench.path("live.iso")).unwrap();
    assert!(refusal(&bench.installs()).contains("there is no such live ISO"));
    assert_eq!(std::fs::read_dir(bench.folder.path()).unwrap().count(), 0);
}

#[test]
fn contradictions_are_refused() {
    let base = || map([("src", "/a.iso".into()), ("dest", "/b.iso".into())]);
    let with = |pairs: &[(&str, &str)]| -> Map {
        let more = pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), Value::from(*value)));
        base().into_iter().chain(more).collect()
    };
    let hash = hash();
    for (args, word) in [
        (
            with(&[("ignition_url", URL), ("dest_device", "/dev/sda")]),
            "needs `ignition_hash`",
        ),
        (
            with(&[("ignition_url", URL), ("ignition_hash", &hash)]),
            "needs `dest_device`",
        ),
        (
            with(&[
                ("ignition_url", URL),
                ("ignition_hash", "sha512-0"),
                ("dest_device", "/dev/sda"),
            ]),
            "128 hexadecimal digits",
        ),
        (with(&[("ignition_hash", &hash)]), "needs `ignition_url`"),
        (with(&[("live_ignition", "{}")]), "is an Ignition configuration"),
        (with(&[("dest", "/a.iso")]), "another file"),
        (map([("dest", "/b.iso".into())]), "it needs `src`"),
    ] {
        let told = CoreosIso::decode(&args).unwrap().check().unwrap_err().join("\n");
        assert!(told.contains(word), "{word}: {told}");
    }
}

/// The live ISO comes by a step before: the plan says what it cannot know, the run does it, and the next one has nothing to do.
#[test]
fn a_playbook_makes_one_of_an_image_that_an_earlier_step_brings() {
    let bench = Bench::new(&LiveIso::default());
    let (from, live, made) = (
        bench.path("live.iso"),
        bench.path("fetched.iso"),
        bench.path("made.iso"),
    );
    let playbook = format!(
        "- hosts: localhost\n  connection: local\n  gather_facts: false\n  tasks:\n    - name: Fetch\n      command:\n        argv: [cp, {from}, {live}]\n        creates: {live}\n        predicts: {{creates: [{live}]}}\n    - name: Make\n      coreos_iso:\n        src: {live}\n        dest: {made}\n        dest_device: /dev/sda\n        ignition_url: {URL}\n        ignition_hash: {}\n",
        hash(),
        from = from.display(),
        live = live.display(),
        made = made.display()
    );
    std::fs::write(bench.path("play.yaml"), playbook).unwrap();
    let run = |words: &[&str]| {
        let mut command = Command::new(okd_tests::play::program());
        command
            .arg("run")
            .arg(bench.path("play.yaml"))
            .args(["-i", "localhost,", "--output", "json"])
            .args(words);
        let output = command
            .env("HOME", bench.folder.path())
            .current_dir(bench.folder.path())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.code(), text)
    };
    let (code, told) = run(&["--check", "--exit-code"]);
    assert_eq!(code, Some(10), "{told}");
    assert!(
        told.contains("\"unknown\"") && told.contains("fetched.iso is made by"),
        "{told}"
    );
    assert!(!live.exists() && !made.exists());
    let (code, told) = run(&["--yes"]);
    assert_eq!((code, made.exists()), (Some(0), true), "{told}");
    let (code, told) = run(&["--check", "--exit-code"]);
    assert_eq!(code, Some(0), "{told}");
}

/// The published program reads what was written as what was meant.
#[test]
fn coreos_installer_agrees_where_it_is_installed() {
    let bench = Bench::new(&LiveIso::default());
    applied(&bench.installs());
    let ask = |words: &[&str], path: &Path| {
        let output = Command::new("coreos-installer")
            .args(["iso"])
            .args(words)
            .arg(path)
            .output()
            .ok()?;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Some(String::from_utf8(output.stdout).unwrap())
    };
    let Some(kargs) = ask(&["kargs", "show"], &bench.path("made.iso")) else {
        return;
    };
    assert_eq!(
        kargs.trim(),
        format!("{} console=ttyS0,115200n8 okd.role=master", LiveIso::default().kargs)
    );
    let config = ask(&["ignition", "show"], &bench.path("made.iso")).unwrap();
    let config: serde_json::Value = serde_json::from_str(&config).unwrap();
    assert_eq!(
        config["storage"]["files"][1]["path"],
        "/etc/coreos/installer.d/0000-okd-play.yaml"
    );
}
