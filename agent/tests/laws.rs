//! The laws of every kind that can act in a folder, on this machine, on one made of data, and through an agent's pipe.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    missing_docs
)]

use okd_agent::Stop;
use okd_agent::path::AbsPath;
use okd_agent::resource::KINDS;
use okd_agent::resource::conformance::{kinds, laws};
use okd_agent::serve::Session;
use okd_agent::system::System;
use okd_agent::system::fake::Fake;
use okd_agent::system::local::Local;
use okd_agent::wire::{Request, Response, receive, send};
use std::process::{Command, Stdio};
use std::sync::Arc;

fn folder() -> (tempfile::TempDir, AbsPath) {
    let dir = tempfile::tempdir().unwrap();
    let path = AbsPath::new(dir.path().canonicalize().unwrap().to_str().unwrap()).unwrap();
    (dir, path)
}

fn hold(findings: &[String]) {
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}

#[test]
fn hold_on_this_machine() {
    let (dir, path) = folder();
    let mut session = Session::new(Arc::new(Local::new()), Stop::default());
    hold(&laws(
        &mut |request| session.answer(request),
        &Local::new(),
        &path,
        true,
    ));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn hold_on_a_machine_made_of_data() {
    let world = Arc::new(Fake::new().dir("/work"));
    let mut session = Session::new(world.clone(), Stop::default());
    let path = AbsPath::new("/work").unwrap();
    hold(&laws(
        &mut |request| session.answer(request),
        world.as_ref(),
        &path,
        false,
    ));
    assert_eq!(world.list(&path).unwrap(), Vec::new());
}

#[test]
fn hold_through_an_agents_pipe() {
    let (_dir, path) = folder();
    let mut agent = Command::new(env!("CARGO_BIN_EXE_okd-agent"))
        .arg("serve")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut input, mut output) = (agent.stdin.take().unwrap(), agent.stdout.take().unwrap());
    assert!(matches!(receive(&mut output).unwrap(), Some(Response::Hello { .. })));
    let mut say = |request: Request| {
        let asks = matches!(request, Request::Task(_));
        send(&mut input, &request).unwrap();
        let mut answer = || receive(&mut output).unwrap().expect("an answer");
        asks.then(|| match answer() {
            // Another test's agent is in the middle of a step.
            Response::Waits(_) => answer(),
            answer => answer,
        })
    };
    hold(&laws(&mut say, &Local::new(), &path, true));
    drop(input);
    assert!(agent.wait().unwrap().success());
}

/// What needs a whole machine; the lab's hosts have it, see `tests/tests/laws.rs`.
const WHOLE_MACHINE: &[&str] = &[
    "apt",
    "bridge",
    "dhcpd",
    "dnf",
    "firewall",
    "firewalld",
    "group",
    "haproxy",
    "hostname",
    "named",
    "nginx",
    "openshift_install",
    "openssh_keypair",
    "package",
    "probe",
    "seboolean",
    "service",
    "timezone",
    "okd.unit",
    "user",
    "vxlan",
];

#[test]
fn leave_no_kind_out() {
    let tried = kinds(true);
    for info in KINDS {
        let kind = info.names[0];
        assert_ne!(
            tried.contains(&kind),
            WHOLE_MACHINE.contains(&kind),
            "{kind} is tried in a folder or on a machine"
        );
    }
}
