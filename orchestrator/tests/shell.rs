//! Plain SSH's world conforms like any other; here its shell runs on this machine, without the SSH.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use okd_agent::Stop;
use okd_agent::path::AbsPath;
use okd_agent::resource::conformance::laws;
use okd_agent::serve::Session;
use okd_agent::system::System;
use okd_agent::system::conformance::{actions, files, probes};
use okd_agent::system::local::Local;
use okd_agent::system::overlay::Overlay;
use okd_play::link::shell::{self, Shell};
use std::process::Stdio;
use std::sync::Arc;
use tokio::io::BufReader;
use tokio::process::{Child, Command};

fn conforms(findings: Vec<String>) {
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}

/// A shell of this machine; which one is `/bin/sh` may differ, so bash is tried as well.
async fn start(program: &str) -> (Shell, Child) {
    let command = shell::command().replace("/bin/sh", program);
    let mut child = Command::new(program)
        .args(["-c", &command])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a shell");
    let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let shell = Shell::over(input, BufReader::new(output)).await.expect("it is ready");
    (shell, child)
}

fn on_a_thread(program: &'static str, check: fn(Arc<dyn System>, &AbsPath)) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let (shell, mut child) = runtime.block_on(start(program));
    let dir = tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap();
    let path = AbsPath::new(dir.path().canonicalize().unwrap().to_str().unwrap()).unwrap();
    check(Arc::new(shell), &path);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    let pid = child.id().expect("it runs");
    let status = runtime.block_on(child.wait()).unwrap();
    assert!(status.success(), "the shell ended with {status}");
    for base in ["/run/okd-play", "/tmp"] {
        let own = format!("{base}/okd-play-shell-{pid}");
        assert!(!std::path::Path::new(&own).exists(), "{own} is left behind");
    }
}

fn everything(world: Arc<dyn System>, path: &AbsPath) {
    conforms(files(world.as_ref(), path));
    conforms(probes(world.as_ref()));
    conforms(actions(world.as_ref(), path));
}

#[test]
fn the_far_shell() {
    on_a_thread("/bin/sh", everything);
}

#[test]
fn the_far_shell_where_it_is_bash() {
    on_a_thread("/bin/bash", everything);
}

#[test]
fn the_far_shell_predicted() {
    on_a_thread("/bin/sh", |world, path| {
        let overlay = Overlay::new(world);
        conforms(files(&overlay, path));
        conforms(probes(&overlay));
    });
}

/// Steps go through the shell; what they did is looked at without it.
fn lawful(world: Arc<dyn System>, path: &AbsPath) {
    let mut session = Session::new(world, Stop::default());
    conforms(laws(&mut |request| session.answer(request), &Local::new(), path, true));
}

#[test]
fn the_laws_in_the_far_shell() {
    on_a_thread("/bin/sh", lawful);
}

#[test]
fn the_laws_in_the_far_shell_where_it_is_bash() {
    on_a_thread("/bin/bash", lawful);
}
