//! One suite, every world of this crate.
#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, missing_docs)]

use okd_agent::path::AbsPath;
use okd_agent::secret::{Secret, Secrets};
use okd_agent::system::cached::Cached;
use okd_agent::system::conformance::{actions, files, probes};
use okd_agent::system::fake::Fake;
use okd_agent::system::journal::{self, Journal};
use okd_agent::system::local::Local;
use okd_agent::system::overlay::Overlay;
use okd_agent::system::veil::Veil;
use okd_agent::system::{Answer, System};
use std::sync::Arc;

/// An empty folder, in memory where there is such a place, without links in its path.
fn folder() -> (tempfile::TempDir, AbsPath) {
    let dir = tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap();
    let path = AbsPath::new(dir.path().canonicalize().unwrap().to_str().unwrap()).unwrap();
    (dir, path)
}

fn fake() -> Arc<Fake> {
    let root = Fake::new()
        .dir("/usr")
        .dir("/var/lib")
        .dir("/work")
        .group("nogroup", 65533);
    Arc::new(root.refuses("sh", "bad", Answer::status(1)))
}

fn conforms(findings: Vec<String>) {
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}

fn everything(world: &dyn System) {
    let (dir, path) = folder();
    conforms(files(world, &path));
    conforms(probes(world));
    conforms(actions(world, &path));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn this_machine() {
    everything(&Local::new());
}

#[test]
fn this_machine_remembered() {
    everything(&Cached::new(Arc::new(Local::new())));
}

#[test]
fn this_machine_before_its_run_is_named() {
    everything(&Journal::new(Arc::new(Local::new())));
}

#[test]
fn this_machine_kept() {
    let (_dir, runs) = folder();
    let local: Arc<dyn System> = Arc::new(Local::new());
    let journal = Journal::new(local.clone()).in_folder(runs.clone());
    journal.begin("run");
    everything(&journal);
    let records = journal::read_from([runs.join("run")], local.as_ref()).unwrap();
    assert!(records.len() > 100, "{} records", records.len());
}

#[test]
fn this_machine_behind_a_veil() {
    let veil = Veil::new(Arc::new(Cached::new(Arc::new(Local::new()))));
    let mut secrets = Secrets::default();
    secrets.insert(Secrets::placeholder("unused", "0a0b"), Secret::new("never-seen-4711"));
    veil.learn(secrets);
    everything(&veil);
}

#[test]
fn this_machine_predicted() {
    let (dir, path) = folder();
    let overlay = Overlay::new(Arc::new(Local::new()));
    conforms(files(&overlay, &path));
    conforms(probes(&overlay));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    assert!(overlay.mark() > 100);
}

/// What is there already has to be treated like what was put there in the plan.
#[test]
fn this_machine_predicted_over_what_is_there() {
    let (_dir, path) = folder();
    let local: Arc<dyn System> = Arc::new(Local::new());
    let full = path.join("full");
    let script = "mkdir -p \"$1\"/tree/a/b; cd \"$1\"; echo 1 > tree/a/b/c; ln -s tree way; ln tree/a/b/c second; \
                  mkdir shut; chmod 2750 shut; echo 2 > shut/x";
    let argv = ["sh", "-c", script, "sh", full.as_str()];
    let made = okd_agent::system::Action::new(&argv, okd_agent::system::Effect::none());
    assert!(local.act(&made).unwrap().success());
    let before = listing(local.as_ref(), &full);
    let overlay = Overlay::new(local.clone());
    assert_eq!(listing(&overlay, &full), before);
    let plan: &dyn System = &overlay;
    for world in [plan, local.as_ref()] {
        edit(world, &full);
        if world.predicted() {
            assert_eq!(listing(local.as_ref(), &full), before);
            let told = Overlay::new(local.clone());
            told.assume(&overlay.since(0)).unwrap();
            assert_eq!(listing(&told, &full), listing(&overlay, &full));
            assert_eq!(told.mark(), 0);
        }
    }
    assert_eq!(listing(plan, &full), listing(local.as_ref(), &full));
}

fn edit(world: &dyn System, full: &AbsPath) {
    use okd_agent::system::{Alter, FileWrite, Make, Removal};
    world
        .alter(
            &full.join("second"),
            &Alter {
                mode: Some(0o600),
                ..Alter::default()
            },
        )
        .unwrap();
    world
        .write(&FileWrite::new(full.join("way/a/b/c"), b"new\n".to_vec()))
        .unwrap();
    world
        .write(&FileWrite::new(full.join("shut/y"), b"y\n".to_vec()))
        .unwrap();
    world.remove(&full.join("way"), Removal::File).unwrap();
    world
        .make(
            &full.join("way"),
            &Make::Link {
                target: "shut".to_owned(),
            },
        )
        .unwrap();
    world.remove(&full.join("way/x"), Removal::File).unwrap();
    world
        .make(
            &full.join("third"),
            &Make::Hard {
                source: full.join("second"),
            },
        )
        .unwrap();
    world.remove(&full.join("tree/a"), Removal::Tree).unwrap();
    world
        .make(&full.join("tree/a"), &Make::Directory { mode: 0o700 })
        .unwrap();
}

/// Everything below a folder as text: kind, mode, owners, content or target.
fn listing(world: &dyn System, folder: &AbsPath) -> Vec<String> {
    let mut lines = Vec::new();
    for entry in world.list(folder).unwrap() {
        let path = folder.join(&entry.name);
        let meta = world.stat(&path).unwrap().unwrap();
        assert_eq!(meta.kind, entry.kind, "{path}");
        let shown = (
            meta.kind,
            meta.mode,
            meta.uid,
            meta.gid,
            meta.owner,
            meta.group,
            meta.target,
        );
        let text = if meta.kind == okd_agent::system::FileKind::File {
            world.read(&path, 100).unwrap()
        } else {
            None
        };
        lines.push(format!("{path} {shown:?} {text:?}"));
        lines.extend(listing(world, &path));
    }
    lines
}

#[test]
fn a_machine_of_data() {
    conforms(files(fake().as_ref(), &AbsPath::new("/work").unwrap()));
}

#[test]
fn a_machine_of_data_predicted() {
    let machine = fake();
    conforms(files(&Overlay::new(machine.clone()), &AbsPath::new("/work").unwrap()));
    assert_eq!(machine.log(), Vec::<String>::new());
}

#[test]
fn a_machine_of_data_kept() {
    let journal = Journal::new(fake()).in_folder(AbsPath::new("/var/lib/runs").unwrap());
    journal.begin("run");
    conforms(files(&journal, &AbsPath::new("/work").unwrap()));
}

#[test]
fn a_machine_of_data_behind_a_veil() {
    conforms(files(&Veil::new(fake()), &AbsPath::new("/work").unwrap()));
}
