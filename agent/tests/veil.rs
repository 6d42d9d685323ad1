//! Secrets reach the machine and nothing else.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use okd_agent::path::AbsPath;
use okd_agent::secret::{Secret, Secrets};
use okd_agent::system::fake::Fake;
use okd_agent::system::overlay::Overlay;
use okd_agent::system::veil::Veil;
use okd_agent::system::{Action, Answer, Effect, FileWrite, Make, Probe, Staged, System, SystemError};
use std::sync::Arc;

const POISON: &str = "p0is0n-77";

fn at(path: &str) -> AbsPath {
    AbsPath::new(path).unwrap()
}

fn place() -> String {
    Secrets::placeholder("db", "0a0b0c")
}

fn veil(machine: Fake) -> (Arc<Fake>, Arc<Veil>) {
    let machine = Arc::new(machine);
    let veil = Veil::new(machine.clone());
    let mut secrets = Secrets::default();
    secrets.insert(place(), Secret::new(POISON));
    veil.learn(secrets);
    (machine, Arc::new(veil))
}

#[test]
fn bytes_go_in_and_placeholders_come_out() {
    let (machine, veil) = veil(Fake::new().command(
        &["psql"],
        Answer {
            stderr: POISON.into(),
            ..Answer::ok(POISON)
        },
    ));
    let text = format!("password={}\n", place());
    veil.write(&FileWrite::new(at("/etc/db"), text.clone().into_bytes()))
        .unwrap();
    assert_eq!(machine.text("/etc/db").unwrap(), format!("password={POISON}\n"));
    assert_eq!(veil.read(&at("/etc/db"), 100).unwrap().unwrap(), text.into_bytes());
    let action = Action {
        stdin: place().into_bytes(),
        env: vec![("PGPASSWORD".to_owned(), place())],
        ..Action::new(&["psql", "-c", "select 1"], Effect::none())
    };
    let answer = veil.act(&action).unwrap();
    assert_eq!((answer.text(), answer.error_text()), (place(), place()));
    let seen = &machine.acts()[0];
    assert_eq!(
        (seen.stdin.as_slice(), seen.env[0].1.as_str()),
        (POISON.as_bytes(), POISON)
    );
}

#[test]
fn a_secret_may_not_stand_where_everyone_reads() {
    let (machine, veil) = veil(Fake::new());
    let secret = |end: Result<(), SystemError>| match end {
        Err(SystemError::Secret(words)) => words,
        other => panic!("{other:?}"),
    };
    let argv = ["mysql", &format!("-p{}", place())];
    let words = secret(veil.act(&Action::new(&argv, Effect::none())).map(drop));
    assert!(words.contains("`stdin` or `environment`"), "{words}");
    secret(veil.probe(&Probe::new("", &argv)).map(drop));
    secret(veil.write(&FileWrite::new(at("/etc").join(&place()), Vec::new())));
    secret(veil.make(&at("/etc/l"), &Make::Link { target: place() }));
    secret(veil.write(&FileWrite {
        owner: Some(place()),
        ..FileWrite::new(at("/etc/x"), Vec::new())
    }));
    assert!(machine.log().is_empty());
}

#[test]
fn errors_and_refusals_are_masked() {
    let refusal = Answer {
        rc: 1,
        stdout: format!("near {POISON}").into_bytes(),
        ..Answer::default()
    };
    let machine = Fake::new()
        .refuses("check", POISON, refusal)
        .fail("write", "/etc/f", &format!("no {POISON} here"));
    let (_, veil) = veil(machine);
    let write = FileWrite {
        validate: Some(vec!["check".to_owned(), "%s".to_owned()]),
        ..FileWrite::new(at("/etc/x"), place().into_bytes())
    };
    match veil.write(&write) {
        Err(SystemError::Refused { answer, .. }) => assert_eq!(answer.text(), format!("near {}", place())),
        other => panic!("{other:?}"),
    }
    let failed = veil
        .write(&FileWrite::new(at("/etc/f"), Vec::new()))
        .unwrap_err()
        .to_string();
    assert!(failed.contains(&place()) && !failed.contains(POISON), "{failed}");
    let staged = Staged {
        path: "x".to_owned(),
        bytes: place().into_bytes(),
    };
    let probe = Probe {
        stage: vec![staged],
        ..Probe::new("", &["check", "{stage}/x"])
    };
    assert_eq!(veil.probe(&probe).unwrap().text(), format!("near {}", place()));
}

#[test]
fn a_plan_holds_placeholders_alone() {
    let (machine, veil) = veil(Fake::new());
    let plan = Overlay::new(veil);
    plan.write(&FileWrite::new(at("/etc/x"), place().into_bytes())).unwrap();
    assert_eq!(plan.read(&at("/etc/x"), 100).unwrap().unwrap(), place().into_bytes());
    assert!(!format!("{:?}", plan.since(0)).contains(POISON));
    assert!(machine.log().is_empty());
}
