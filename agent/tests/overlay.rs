//! What a plan may assume: predictions, promises, and what is not known until applied.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use okd_agent::path::AbsPath;
use okd_agent::system::fake::Fake;
use okd_agent::system::overlay::{Overlay, Recorded};
use okd_agent::system::{
    Action, Alter, Answer, Declared, Effect, FileKind, FileWrite, Make, Probe, Removal, System, SystemError,
};
use std::sync::Arc;

fn at(path: &str) -> AbsPath {
    AbsPath::new(path).unwrap()
}

fn plan(machine: Fake) -> (Arc<Fake>, Overlay) {
    let machine = Arc::new(machine);
    (machine.clone(), Overlay::new(machine))
}

fn declared(argv: &[&str], declared: Declared) -> Action {
    Action::new(argv, Effect::Declared(declared))
}

fn install(package: &str) -> Action {
    declared(
        &["dnf", "install", package],
        Declared {
            brings: vec![package.to_owned()],
            ..Declared::default()
        },
    )
}

fn owned(path: &str, owner: &str) -> FileWrite {
    FileWrite {
        owner: Some(owner.to_owned()),
        ..FileWrite::new(at(path), b"x".to_vec())
    }
}

#[test]
fn what_an_action_predicts_is_what_a_probe_answers() {
    let (machine, plan) = plan(Fake::new().fact("unit:named", Answer::ok("inactive\n")));
    let unit = Probe::new("unit:named", &["systemctl", "show", "named"]);
    assert_eq!(plan.probe(&unit).unwrap().text(), "inactive\n");
    let effect = Effect::predicts("unit:named", Answer::ok("active\n"));
    let answer = plan
        .act(&Action::new(&["systemctl", "start", "named"], effect))
        .unwrap();
    assert!(answer.predicted && answer.success());
    assert_eq!(plan.probe(&unit).unwrap(), Answer::ok("active\n"));
    assert_eq!(
        plan.probe(&Probe::new("", &["systemctl", "show", "named"])).unwrap().rc,
        Answer::NO_PROGRAM
    );
    plan.forget();
    assert_eq!(plan.probe(&unit).unwrap().text(), "inactive\n");
    assert!(machine.log().is_empty());
}

#[test]
fn what_a_step_that_is_not_known_may_make_or_take_is_not_known() {
    let machine = || {
        Fake::new()
            .dir("/srv/s/d")
            .file("/srv/s/d/old", "old\n")
            .file("/srv/s/file", "x\n")
    };
    let (_, plan) = plan(machine());
    plan.doubt(&at("/srv/s/new"), "why");
    plan.doubt(&at("/srv/s/file"), "why");
    plan.doubt(&at("/srv/s/d"), "why");
    let other = Overlay::new(Arc::new(machine()));
    other.assume(&plan.since(0)).unwrap();
    for plan in [&plan, &other] {
        let unknown = |end: Result<String, SystemError>| match end {
            Err(SystemError::Unknown(reason)) => assert!(reason.ends_with("is unknown itself: why"), "{reason}"),
            other => panic!("{other:?}"),
        };
        for path in [
            "/srv/s/new",
            "/srv/s/new/below",
            "/srv/s/file",
            "/srv/s/d/old",
            "/srv/s/d/young",
        ] {
            unknown(plan.stat(&at(path)).map(|meta| format!("{path}: {meta:?}")));
            unknown(plan.read(&at(path), 100).map(|bytes| format!("{path}: {bytes:?}")));
            unknown(
                plan.write(&FileWrite::new(at(path), b"y".to_vec()))
                    .map(|()| path.to_owned()),
            );
        }
        for folder in ["/srv/s", "/srv/s/d"] {
            assert_eq!(plan.stat(&at(folder)).unwrap().unwrap().kind, FileKind::Directory);
            unknown(plan.list(&at(folder)).map(|entries| format!("{entries:?}")));
        }
        assert_eq!(plan.stat(&at("/srv/s/none")).unwrap(), None);
        plan.write(&FileWrite::new(at("/srv/s/sure"), b"y".to_vec())).unwrap();
        assert_eq!(plan.read(&at("/srv/s/sure"), 100).unwrap().unwrap(), b"y");
        // What goes with its folder is gone, whatever it was.
        plan.remove(&at("/srv/s"), Removal::Tree).unwrap();
        assert_eq!(plan.stat(&at("/srv/s/new")).unwrap(), None);
    }
}

#[test]
fn what_a_command_makes_is_there_but_not_known() {
    let (_, plan) = plan(Fake::new().file("/etc/old", "old\n"));
    let made = Declared {
        creates: vec![at("/etc/key"), at("/etc/old")],
        removes: vec![at("/var")],
        ..Declared::default()
    };
    plan.act(&declared(&["rndc-confgen", "-a"], made)).unwrap();
    assert_eq!(plan.stat(&at("/etc/key")).unwrap().unwrap().kind, FileKind::File);
    for path in ["/etc/key", "/etc/old", "/etc/key/below"] {
        match plan.read(&at(path), 100) {
            Err(SystemError::Unknown(reason)) => assert!(reason.contains("rndc-confgen -a"), "{reason}"),
            other => panic!("{path}: {other:?}"),
        }
    }
    assert_eq!(plan.stat(&at("/var")).unwrap(), None);
    plan.write(&FileWrite::new(at("/etc/key"), b"known\n".to_vec()))
        .unwrap();
    assert_eq!(plan.read(&at("/etc/key"), 100).unwrap(), Some(b"known\n".to_vec()));
    let anything = Action::new(&["make", "install"], Effect::Unknown("runs `make install`".to_owned()));
    assert_eq!(
        plan.act(&anything),
        Err(SystemError::Unknown("runs `make install`".to_owned()))
    );
}

#[test]
fn what_is_missing_is_an_error_until_a_package_is_promised() {
    let (machine, plan) = plan(Fake::new());
    let deep = FileWrite::new(at("/var/named/zones/db"), b"x".to_vec());
    let checked = FileWrite {
        validate: Some(vec!["named-checkconf".to_owned(), "%s".to_owned()]),
        ..FileWrite::new(at("/etc/named.conf"), b"x".to_vec())
    };
    assert!(matches!(plan.write(&deep), Err(SystemError::Io { .. })));
    assert!(matches!(
        plan.write(&owned("/etc/x", "named")),
        Err(SystemError::NoSuchId { .. })
    ));
    assert!(matches!(plan.write(&checked), Err(SystemError::Refused { .. })));
    plan.act(&install("bind")).unwrap();
    plan.act(&install("bind")).unwrap();
    assert_eq!(plan.promised(), ["bind"]);
    plan.write(&deep).unwrap();
    plan.write(&owned("/etc/x", "named")).unwrap();
    plan.write(&checked).unwrap();
    assert_eq!(plan.stat(&at("/etc/x")).unwrap().unwrap().owner, "named");
    assert_eq!(plan.read(&at("/var/named/zones/db"), 100).unwrap(), Some(b"x".to_vec()));
    assert_eq!(plan.list(&at("/var/named/zones")).unwrap().len(), 1);
    let above = Overlay::new(Arc::new(plan));
    assert_eq!(above.promised(), ["bind"]);
    assert!(machine.log().is_empty());
}

#[test]
fn a_checker_that_is_there_runs_in_the_plan() {
    let refusal = Answer {
        rc: 1,
        stderr: b"line 1: unknown option\n".to_vec(),
        ..Answer::default()
    };
    let (machine, plan) = plan(Fake::new().refuses("named-checkconf", "bad", refusal.clone()));
    let write = |text: &str| FileWrite {
        validate: Some(vec!["named-checkconf".to_owned(), "%s".to_owned()]),
        ..FileWrite::new(at("/etc/named.conf"), text.as_bytes().to_vec())
    };
    plan.write(&write("good")).unwrap();
    match plan.write(&write("bad")) {
        Err(SystemError::Refused { answer, .. }) => assert_eq!(answer, refusal),
        other => panic!("{other:?}"),
    }
    assert_eq!(plan.read(&at("/etc/named.conf"), 100).unwrap(), Some(b"good".to_vec()));
    assert!(machine.log().is_empty());
}

#[test]
fn users_that_a_step_will_make_own_files_before_they_exist() {
    let (_, plan) = plan(Fake::new().user("gone", 30));
    let line = Answer::ok("web:x:990:990::/srv:/sbin/nologin\n");
    plan.act(&Action::new(&["useradd", "web"], Effect::predicts("user:web", line)))
        .unwrap();
    plan.act(&Action::new(
        &["userdel", "gone"],
        Effect::predicts("user:gone", Answer::status(2)),
    ))
    .unwrap();
    plan.write(&owned("/etc/x", "web")).unwrap();
    let meta = plan.stat(&at("/etc/x")).unwrap().unwrap();
    assert_eq!((meta.uid, meta.owner.as_str(), meta.gid), (990, "web", 0));
    assert!(matches!(
        plan.write(&owned("/etc/y", "gone")),
        Err(SystemError::NoSuchId { .. })
    ));
    assert!(matches!(
        plan.write(&owned("/etc/y", "never")),
        Err(SystemError::NoSuchId { .. })
    ));
}

#[test]
fn another_session_is_told_everything_and_nothing_twice() {
    let (machine, first) = plan(Fake::new().acting("nobody", "nobody"));
    first.make(&at("/etc/d"), &Make::Directory { mode: 0o700 }).unwrap();
    let mark = first.mark();
    first.write(&FileWrite::new(at("/etc/d/x"), b"x".to_vec())).unwrap();
    first
        .alter(
            &at("/etc/d/x"),
            &Alter {
                mode: Some(0o600),
                ..Alter::default()
            },
        )
        .unwrap();
    first.act(&install("bind")).unwrap();
    assert_eq!(first.since(mark).len(), 3);
    assert!(matches!(
        &first.since(0)[..2],
        [Recorded::Make(..), Recorded::Alter(..)]
    ));
    let root = Overlay::new(Arc::new(Fake::new()));
    root.assume(&first.since(0)).unwrap();
    for path in ["/etc/d", "/etc/d/x"] {
        let (mine, yours) = (
            first.stat(&at(path)).unwrap().unwrap(),
            root.stat(&at(path)).unwrap().unwrap(),
        );
        assert_eq!(
            (mine.mode, mine.uid, mine.owner),
            (yours.mode, yours.uid, yours.owner),
            "{path}"
        );
    }
    assert_eq!(root.promised(), ["bind"]);
    assert!(root.since(0).is_empty() && machine.log().is_empty());
    let sent = first.since(0);
    let bytes = okd_agent::wire::encode(&sent).unwrap();
    assert_eq!(
        okd_agent::wire::receive::<Vec<Recorded>>(&mut bytes.as_slice()).unwrap(),
        Some(sent)
    );
}
