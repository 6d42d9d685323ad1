//! A machine of a few maps, whose daemon can be made to refuse, to fail and to die.
#![allow(clippy::unwrap_used, unreachable_pub)]

use super::*;
use crate::resource::layout;
use crate::resource::{Failure, Outcome, Resource, Status, converge};
use crate::system::{Action, Alter, Answer, Effect, Entry, FileWrite, Make, Meta, Probe, Removal, SystemError};
use std::collections::BTreeMap;
use std::sync::Mutex;

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub(crate) bytes: Vec<u8>,
    mode: u32,
    owner: String,
    group: String,
    directory: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Rig {
    pub(crate) nodes: Mutex<BTreeMap<String, Node>>,
    /// Active, enabled.
    pub(crate) unit: Mutex<(bool, bool)>,
    pub(crate) acts: Mutex<Vec<String>>,
    /// The checker refuses a set with this text, saying that it is in this line of this file.
    pub(crate) refuses: Option<&'static str>,
    /// A start or reload with this text in a file fails.
    pub(crate) fails: Option<&'static str>,
    /// The daemon dies of this text, though starting it succeeds.
    pub(crate) dies: Option<&'static str>,
    /// The table of ss(8).
    pub(crate) sockets: Mutex<String>,
    pub(crate) installed: bool,
    pub(crate) promised: Vec<String>,
}

impl Rig {
    pub(crate) fn new(family: Family, active: bool) -> Self {
        let rig = Rig {
            installed: true,
            unit: Mutex::new((active, active)),
            ..Rig::default()
        };
        let id = family.pick("ID=\"centos\"\nID_LIKE=\"rhel fedora\"\n", "ID=debian\n");
        rig.file("/etc/os-release", id);
        rig
    }

    pub(crate) fn file(&self, path: &str, text: &str) {
        let node = Node {
            bytes: text.as_bytes().to_vec(),
            mode: 0o644,
            owner: "root".to_owned(),
            group: "root".to_owned(),
            directory: false,
        };
        self.nodes.lock().unwrap().insert(path.to_owned(), node);
    }

    pub(crate) fn text(&self, path: &str) -> Option<String> {
        let nodes = self.nodes.lock().unwrap();
        nodes
            .get(path)
            .map(|node| String::from_utf8(node.bytes.clone()).unwrap())
    }

    pub(crate) fn acts(&self) -> Vec<String> {
        self.acts.lock().unwrap().clone()
    }

    fn holds(&self, text: Option<&str>) -> bool {
        let nodes = self.nodes.lock().unwrap();
        text.is_some_and(|text| {
            nodes
                .values()
                .any(|node| String::from_utf8_lossy(&node.bytes).contains(text))
        })
    }

    fn systemctl(&self, argv: &[String]) -> Answer {
        let (active, enabled) = *self.unit.lock().unwrap();
        match argv[1].as_str() {
            "show" if !self.installed => Answer::ok("LoadState=not-found\nActiveState=inactive\nUnitFileState=\n"),
            "show" => Answer::ok(format!(
                "LoadState=loaded\nActiveState={}\nSubState=x\nUnitFileState={}\n",
                if active && !self.holds(self.dies) {
                    "active"
                } else {
                    "failed"
                },
                if enabled { "enabled" } else { "disabled" },
            )),
            _ => Answer::status(1),
        }
    }

    fn checker(&self, probe: &Probe) -> Answer {
        let Some(text) = self.refuses else {
            return Answer::default();
        };
        for file in &probe.stage {
            let content = String::from_utf8_lossy(&file.bytes).into_owned();
            if let Some(line) = content.lines().position(|line| line.contains(text)) {
                let words = format!("/run/okd-play/stage-7/{}:{}: it is bad\n", file.path, line + 1);
                return Answer {
                    rc: 1,
                    stderr: words.into_bytes(),
                    ..Answer::default()
                };
            }
        }
        Answer::default()
    }
}

impl System for Rig {
    fn stat(&self, path: &AbsPath) -> Result<Option<Meta>, SystemError> {
        Ok(self.nodes.lock().unwrap().get(path.as_str()).map(|node| Meta {
            kind: if node.directory {
                FileKind::Directory
            } else {
                FileKind::File
            },
            size: node.bytes.len() as u64,
            mode: node.mode,
            uid: 0,
            gid: 0,
            owner: node.owner.clone(),
            group: node.group.clone(),
            mtime: 0,
            target: None,
            id: (0, 0),
        }))
    }

    fn read(&self, path: &AbsPath, _limit: u64) -> Result<Option<Vec<u8>>, SystemError> {
        Ok(self
            .nodes
            .lock()
            .unwrap()
            .get(path.as_str())
            .map(|node| node.bytes.clone()))
    }

    fn list(&self, dir: &AbsPath) -> Result<Vec<Entry>, SystemError> {
        let nodes = self.nodes.lock().unwrap();
        let inside = nodes.keys().filter_map(|path| {
            let name = path.strip_prefix(dir.as_str())?.strip_prefix('/')?;
            (!name.contains('/')).then(|| Entry {
                name: name.to_owned(),
                kind: FileKind::File,
            })
        });
        Ok(inside.collect())
    }

    fn probe(&self, probe: &Probe) -> Result<Answer, SystemError> {
        Ok(match probe.argv[0].as_str() {
            "systemctl" => self.systemctl(&probe.argv),
            "ss" => Answer::ok(self.sockets.lock().unwrap().clone()),
            "journalctl" => Answer::ok("first words\nlast words\n"),
            _ if probe.stage.is_empty() || !self.installed => Answer::status(Answer::NO_PROGRAM),
            _ => self.checker(probe),
        })
    }

    fn write(&self, file: &FileWrite) -> Result<(), SystemError> {
        let node = Node {
            bytes: file.bytes.clone(),
            mode: file.mode.unwrap_or(0o644),
            owner: file.owner.clone().unwrap_or_else(|| "root".to_owned()),
            group: file.group.clone().unwrap_or_else(|| "root".to_owned()),
            directory: false,
        };
        self.nodes.lock().unwrap().insert(file.path.to_string(), node);
        Ok(())
    }

    fn make(&self, path: &AbsPath, _kind: &Make) -> Result<(), SystemError> {
        self.file(path.as_str(), "");
        self.nodes.lock().unwrap().get_mut(path.as_str()).unwrap().directory = true;
        Ok(())
    }

    fn alter(&self, path: &AbsPath, change: &Alter) -> Result<(), SystemError> {
        let mut nodes = self.nodes.lock().unwrap();
        let node = nodes.get_mut(path.as_str()).unwrap();
        node.mode = change.mode.unwrap_or(node.mode);
        node.owner = change.owner.clone().unwrap_or_else(|| node.owner.clone());
        node.group = change.group.clone().unwrap_or_else(|| node.group.clone());
        Ok(())
    }

    fn remove(&self, path: &AbsPath, _how: Removal) -> Result<(), SystemError> {
        self.nodes.lock().unwrap().remove(path.as_str());
        Ok(())
    }

    fn act(&self, action: &Action) -> Result<Answer, SystemError> {
        assert!(matches!(action.effect, Effect::Declared(_)), "{action:?}");
        if action.argv[0] == "/bin/sh" {
            return Ok(Answer {
                rc: i32::from(self.holds(self.dies)),
                stdout: b"failed (exit-code)\n".to_vec(),
                ..Answer::default()
            });
        }
        let verb = action.argv[1].clone();
        self.acts.lock().unwrap().push(action.argv[1..].join(" "));
        if matches!(verb.as_str(), "start" | "reload" | "restart" | "reload-or-restart") {
            let fails = self.holds(self.fails);
            let mut unit = self.unit.lock().unwrap();
            if fails {
                unit.0 = unit.0 && verb == "reload";
                return Ok(Answer {
                    rc: 1,
                    stderr: b"Job failed.\n".to_vec(),
                    ..Answer::default()
                });
            }
            unit.0 = true;
        }
        let mut unit = self.unit.lock().unwrap();
        match verb.as_str() {
            "stop" => unit.0 = false,
            "enable" => unit.1 = true,
            "disable" => unit.1 = false,
            _ => {}
        }
        Ok(Answer::default())
    }

    fn promised(&self) -> Vec<String> {
        self.promised.clone()
    }
}

crate::params! {
    /// A daemon with a main file and parts.
    pub struct Toy {
        /// The main file's line.
        main: String,
        /// The parts' names.
        parts: Vec<String>,
        /// Where it listens.
        port: Option<u16>,
    }
}

impl Toy {
    fn new(main: &str, parts: &[&str]) -> Self {
        Toy {
            main: main.to_owned(),
            parts: parts.iter().map(|part| (*part).to_owned()).collect(),
            port: None,
        }
    }

    fn problems(&self) -> Vec<String> {
        Vec::new()
    }

    fn paths(&self) -> impl Iterator<Item = AbsPath> {
        self.parts.iter().map(|part| below("/etc/toy", &format!("{part}.part")))
    }

    fn watch(&self, _family: Family, _world: &dyn System) -> Watch {
        Watch {
            unit: "toy.service",
            package: "toy",
            files: std::iter::once(layout::path("/etc/toy.conf"))
                .chain(self.paths())
                .collect(),
            folders: vec![(layout::path("/etc/toy"), ".part")],
        }
    }

    fn set(&self, _now: &State) -> FileSet {
        let text = |line: &str| format!("{}{line}\n", header("#"));
        let mut files = vec![SetFile::public(layout::path("/etc/toy.conf"), text(&self.main))];
        files.extend(self.paths().map(|path| SetFile::public(path, text("part"))));
        FileSet {
            service: "toy",
            files,
            checker: Checker::new("toy-check", &["toy-check", "{stage}/etc/toy.conf"]),
            tell: Tell::Reload,
            power: Power::Started,
            enabled: true,
            listeners: self
                .port
                .map(|port| Listener { address: None, port })
                .into_iter()
                .collect(),
            served: Vec::new(),
        }
    }
}

service!(Toy, names: &["toy"], example: "- toy: {main: x}\n");

fn run(toy: &Toy, rig: &Rig) -> Result<Outcome, Box<Failure>> {
    let world: &(dyn System + 'static) = machine(rig);
    converge(toy, world, None)
}

fn machine(rig: &Rig) -> &(dyn System + 'static) {
    rig
}

#[test]
fn a_set_is_written_the_service_started_then_enabled_and_nothing_is_left_to_do() {
    let rig = Rig::new(Family::El, false);
    rig.file("/etc/toy/gone.part", &format!("{}old\n", header("#")));
    rig.file("/etc/toy/theirs.part", "theirs\n");
    let toy = Toy::new("one", &["a"]);
    assert_eq!(run(&toy, &rig).unwrap().status, Status::Changed);
    assert_eq!(rig.acts(), ["start toy.service", "enable toy.service"]);
    assert!(rig.text("/etc/toy.conf").unwrap().ends_with("one\n"));
    assert_eq!(rig.text("/etc/toy/gone.part"), None);
    assert_eq!(rig.text("/etc/toy/theirs.part").unwrap(), "theirs\n");
    assert_eq!(rig.text("/var/lib/okd-play/ledger/owed-toy.service"), None);
    assert_eq!(run(&toy, &rig).unwrap().status, Status::Same);
    let diff = run(&Toy::new("two", &["a"]), &rig).unwrap().diff;
    assert_eq!(diff.len(), 2);
    assert_eq!(diff[1], Change::Act("reload toy".to_owned()));
    assert_eq!(rig.acts()[2..], ["reload toy.service"]);
}

#[test]
fn a_refused_set_is_not_swapped() {
    let rig = Rig {
        refuses: Some("bogus"),
        ..Rig::new(Family::El, true)
    };
    rig.file("/etc/toy.conf", "good\n");
    let failure = run(&Toy::new("bogus 7", &[]), &rig).unwrap_err();
    assert_eq!(
        failure.message,
        "toy-check refuses the new files: /etc/toy.conf:2: it is bad\n  2 | bogus 7"
    );
    assert!(failure.kept.contains("toy is running on it"), "{}", failure.kept);
    assert!(!failure.diff.is_empty());
    assert_eq!(rig.text("/etc/toy.conf").unwrap(), "good\n");
    assert!(rig.acts().is_empty());
}

#[test]
fn a_failing_reload_puts_the_old_set_back() {
    let rig = Rig {
        fails: Some("bad"),
        ..Rig::new(Family::El, true)
    };
    rig.file("/etc/toy.conf", "good\n");
    let failure = run(&Toy::new("bad", &["new"]), &rig).unwrap_err();
    assert_eq!(failure.message, "toy does not reload: Job failed.");
    assert_eq!(failure.kept, "the old set was put back and toy is running on it");
    assert_eq!(failure.journal, ["first words", "last words"]);
    assert_eq!(rig.text("/etc/toy.conf").unwrap(), "good\n");
    assert_eq!(rig.text("/etc/toy/new.part"), None);
    assert_eq!(rig.text("/var/lib/okd-play/ledger/owed-toy.service"), None);
    assert_eq!(rig.acts(), ["reload toy.service", "reload-or-restart toy.service"]);
}

#[test]
fn a_daemon_that_dies_of_its_files_is_put_back() {
    let rig = Rig {
        dies: Some("poison"),
        ..Rig::new(Family::Debian, true)
    };
    rig.file("/etc/toy.conf", "good\n");
    let failure = run(&Toy::new("poison", &[]), &rig).unwrap_err();
    assert_eq!(failure.message, "toy does not reload: failed (exit-code)");
    assert_eq!(failure.kept, "the old set was put back and toy is running on it");
    let fresh = Rig {
        fails: Some("bad"),
        ..Rig::new(Family::Debian, false)
    };
    let failure = run(&Toy::new("bad", &[]), &fresh).unwrap_err();
    assert_eq!(
        failure.kept,
        "the old set was put back; toy did not run before and does not now"
    );
    assert_eq!(fresh.text("/etc/toy.conf"), None);
    assert_eq!(*fresh.unit.lock().unwrap(), (false, false));
}

#[test]
fn a_reload_that_dropped_the_new_port_is_seen() {
    let rig = Rig::new(Family::El, true);
    *rig.sockets.lock().unwrap() = "LISTEN 0 5 0.0.0.0:80 0.0.0.0:* users:((\"nginx\",pid=1,fd=3))\n".to_owned();
    let toy = Toy {
        port: Some(80),
        ..Toy::new("one", &[])
    };
    let failure = run(&toy, &rig).unwrap_err();
    assert_eq!(failure.message, "toy does not listen on port 80: nginx has it");
    assert_eq!(rig.text("/etc/toy.conf"), None);
}

#[test]
fn a_run_that_was_cut_before_the_reload_is_taken_up() {
    let rig = Rig::new(Family::El, true);
    let toy = Toy::new("one", &[]);
    run(&toy, &rig).unwrap();
    rig.file("/var/lib/okd-play/ledger/owed-toy.service", "");
    let diff = run(&toy, &rig).unwrap().diff;
    assert_eq!(diff, [Change::Act("reload toy".to_owned())]);
    assert_eq!(run(&toy, &rig).unwrap().status, Status::Same);
}

#[test]
fn what_is_not_installed_is_an_error_unless_it_is_promised() {
    let rig = Rig {
        installed: false,
        ..Rig::new(Family::El, false)
    };
    let failure = run(&Toy::new("one", &[]), &rig).unwrap_err();
    assert!(
        failure
            .message
            .contains("install the package that brings it first (`toy`)"),
        "{}",
        failure.message
    );
    let rig = Rig {
        promised: vec!["toy".to_owned()],
        ..rig
    };
    let now = Toy::new("one", &[]).inspect(machine(&rig)).unwrap();
    assert!(now.unit.promised && !now.unit.active());
    let note = &notes(&Toy::new("one", &[]).set(&now), &now)[0];
    assert!(note.starts_with("toy-check is not there yet"), "{note}");
}

#[test]
fn attributes_alone_need_no_reload() {
    let rig = Rig::new(Family::El, true);
    let toy = Toy::new("one", &[]);
    run(&toy, &rig).unwrap();
    rig.nodes.lock().unwrap().get_mut("/etc/toy.conf").unwrap().mode = 0o600;
    rig.acts.lock().unwrap().clear();
    let diff = run(&toy, &rig).unwrap().diff;
    assert!(
        matches!(&diff[..], [Change::Field { name, .. }] if name == "mode"),
        "{diff:?}"
    );
    assert!(rig.acts().is_empty());
}
