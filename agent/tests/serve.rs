//! The agent as a process: frames in, frames out, nothing left behind.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    clippy::disallowed_methods,
    missing_docs
)]

use okd_agent::resource::{Kind, Status};
use okd_agent::secret::{Secret, Secrets};
use okd_agent::system::{Make, overlay::Recorded};
use okd_agent::value::{Map, Value, map};
use okd_agent::wire::{BUILD, Note, Pass, Reply, Request, Response, Task, receive, send};
use std::io::Write;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

struct Agent {
    child: Child,
    input: ChildStdin,
    output: ChildStdout,
}

impl Agent {
    fn start() -> Agent {
        let mut child = Command::new(env!("CARGO_BIN_EXE_okd-agent"))
            .arg("serve")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut agent = Agent { child, input, output };
        match agent.receive() {
            Response::Hello { build, .. } => assert_eq!(build, BUILD),
            other => panic!("{other:?}"),
        }
        agent
    }

    fn send(&mut self, request: &Request) {
        send(&mut self.input, request).unwrap();
    }

    fn receive(&mut self) -> Response {
        receive(&mut self.output).unwrap().expect("an answer")
    }

    fn reply(&mut self) -> (u64, Reply, Vec<Recorded>) {
        match self.receive() {
            Response::Done { id, reply, recorded } => (id, reply, recorded),
            // Another test's agent is in the middle of a step.
            Response::Waits => self.reply(),
            Response::Hello { .. } => panic!("a second hello"),
        }
    }

    fn end(self) -> i32 {
        let Agent {
            mut child,
            input,
            output,
        } = self;
        drop((input, output));
        child.wait().unwrap().code().unwrap()
    }
}

fn task(id: u64, pass: Pass, after: &[u64], kind: &str, args: &Map) -> Request {
    let kind = Kind::decode(kind, args).unwrap().unwrap();
    Request::Task(Box::new(Task {
        id,
        after: after.to_vec(),
        kind,
        pass,
        expect: None,
        env: Vec::new(),
        verify: true,
        touches: Vec::new(),
        note: Note::default(),
    }))
}

fn folder(path: &Path) -> Map {
    map([("path", path.to_str().unwrap().into()), ("state", "directory".into())])
}

fn status(reply: &Reply) -> Status {
    match reply {
        Reply::Outcome(outcome) => outcome.status.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_plan_adds_up_touches_nothing_and_comes_true() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (dir.path().join("a"), dir.path().join("a/b"));
    let mut agent = Agent::start();
    for (id, pass) in [(1, Pass::Plan), (2, Pass::Plan), (3, Pass::Apply), (4, Pass::Apply)] {
        agent.send(&task(id, pass, &[], "file", &folder(if id % 2 == 1 { &a } else { &b })));
    }
    let (id, reply, recorded) = agent.reply();
    assert_eq!((id, status(&reply)), (1, Status::Changed));
    assert!(matches!(&recorded[0], Recorded::Make(path, Make::Directory { .. }) if path.name() == "a"));
    let (_, planned, _) = agent.reply();
    assert_eq!(status(&planned), Status::Changed);
    agent.reply();
    let (id, applied, recorded) = agent.reply();
    assert_eq!((id, recorded), (4, Vec::new()));
    let (Reply::Outcome(planned), Reply::Outcome(applied)) = (planned, applied) else {
        panic!("not an outcome")
    };
    assert_eq!(planned.diff, applied.diff);
    assert!(b.is_dir());
    agent.send(&Request::Forget);
    agent.send(&task(5, Pass::Plan, &[], "file", &folder(&b)));
    assert_eq!(status(&agent.reply().1), Status::Same);
    assert_eq!(agent.end(), 0);
}

#[test]
fn what_stands_behind_a_failure_is_held() {
    let dir = tempfile::tempdir().unwrap();
    let gone = dir.path().join("gone");
    let missing = map([("path", gone.to_str().unwrap().into()), ("state", Value::from("file"))]);
    let mut agent = Agent::start();
    agent.send(&task(7, Pass::Apply, &[], "file", &missing));
    agent.send(&task(8, Pass::Apply, &[7], "file", &folder(&gone)));
    agent.send(&task(9, Pass::Apply, &[8], "file", &folder(&gone)));
    agent.send(&task(10, Pass::Apply, &[1], "file", &folder(&dir.path().join("other"))));
    assert!(matches!(agent.reply(), (7, Reply::Failed(failure), _) if failure.message.contains("there is no file")));
    assert_eq!((agent.reply().1, agent.reply().1), (Reply::Held, Reply::Held));
    assert_eq!(status(&agent.reply().1), Status::Changed);
    assert!(!gone.exists());
    assert_eq!(agent.end(), 0);
}

#[test]
fn what_another_session_predicted_is_assumed() {
    let dir = tempfile::tempdir().unwrap();
    let a = dir.path().join("a");
    let mut first = Agent::start();
    first.send(&task(1, Pass::Plan, &[], "file", &folder(&a)));
    let (_, _, recorded) = first.reply();
    let mut second = Agent::start();
    second.send(&Request::Assume(recorded));
    second.send(&task(1, Pass::Plan, &[], "file", &folder(&a)));
    let (_, reply, recorded) = second.reply();
    assert_eq!((status(&reply), recorded), (Status::Same, Vec::new()));
    let lost = Recorded::Make(
        okd_agent::path::AbsPath::new("/no/such/x").unwrap(),
        Make::Directory { mode: 0o755 },
    );
    second.send(&Request::Assume(vec![lost]));
    second.send(&task(2, Pass::Plan, &[], "file", &folder(&a)));
    assert!(matches!(second.reply().1, Reply::Failed(failure) if failure.message.contains("predicted elsewhere")));
    assert_eq!((first.end(), second.end()), (0, 0));
    assert!(!a.exists());
}

/// Everything that is said to so many steps, and to the end of the session behind them.
fn rest(mut agent: Agent, steps: usize) -> String {
    let mut bytes = Vec::new();
    let mut keep = |response: &Response| {
        bytes.extend(format!("{response:?}").into_bytes());
        bytes.extend(postcard::to_stdvec(response).unwrap());
    };
    for _ in 0..steps {
        keep(&agent.receive());
    }
    drop(agent.input);
    while let Some(response) = receive::<Response>(&mut agent.output).unwrap() {
        keep(&response);
    }
    assert!(agent.child.wait().unwrap().success());
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn a_secret_reaches_the_file_and_the_command_and_no_answer() {
    const POISON: &str = "p0is0n-4242";
    let dir = tempfile::tempdir().unwrap();
    let (file, other) = (dir.path().join("db"), dir.path().join("other"));
    let place = Secrets::placeholder("db", "0a0b0c0d");
    let mut secrets = Secrets::default();
    secrets.insert(place.clone(), Secret::new(POISON));
    let copy = map([
        ("dest", file.to_str().unwrap().into()),
        ("content", format!("password={place}\n").into()),
        ("mode", "0600".into()),
    ]);
    let script = format!("printf %s \"$PASSWORD\" | tee '{}'", other.display());
    let mut agent = Agent::start();
    agent.send(&Request::Secrets(secrets));
    agent.send(&task(1, Pass::Plan, &[], "copy", &copy));
    agent.send(&task(2, Pass::Apply, &[], "copy", &copy));
    let Request::Task(mut shell) = task(3, Pass::Apply, &[], "shell", &map([("cmd", script.into())])) else {
        panic!()
    };
    shell.env = vec![("PASSWORD".to_owned(), place.clone())];
    agent.send(&Request::Task(shell));
    let leak = map([("cmd", format!("echo {place}").into())]);
    agent.send(&task(4, Pass::Apply, &[], "command", &leak));
    agent.send(&task(5, Pass::Apply, &[], "copy", &copy));
    let said = rest(agent, 5);
    assert!(!said.contains(POISON), "{said}");
    assert!(said.contains("command's arguments") && said.contains(&place), "{said}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), format!("password={POISON}\n"));
    assert_eq!(std::fs::read_to_string(&other).unwrap(), POISON);
    assert!(said.contains("id: 5, reply: Outcome(Outcome { status: Same"), "{said}");
}

#[test]
fn a_step_that_does_not_hold_is_found_out_when_asked() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x");
    let touched = map([("path", path.to_str().unwrap().into()), ("state", "touch".into())]);
    let mut agent = Agent::start();
    agent.send(&task(1, Pass::Apply, &[], "file", &touched));
    assert_eq!(status(&agent.reply().1), Status::Changed);
    agent.send(&task(2, Pass::Apply, &[], "file", &touched));
    assert_eq!(status(&agent.reply().1), Status::Changed);
    let stale = task(3, Pass::Apply, &[], "file", &folder(&dir.path().join("y")));
    let Request::Task(mut stale) = stale else { panic!() };
    stale.expect = Some(1);
    agent.send(&Request::Task(stale));
    assert!(matches!(agent.reply().1, Reply::Failed(failure) if failure.stale));
    assert_eq!(agent.end(), 0);
    assert!(!dir.path().join("y").exists());
}

#[test]
fn strangers_are_told_so() {
    let mut agent = Agent::start();
    agent.input.write_all(b"hello, who is there?\n").unwrap();
    let mut child = agent.child;
    drop(agent.input);
    assert_eq!(child.wait().unwrap().code(), Some(1));
    let version = Command::new(env!("CARGO_BIN_EXE_okd-agent"))
        .arg("--version")
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(version.stdout).unwrap().trim_end(), BUILD);
    assert_eq!(
        Command::new(env!("CARGO_BIN_EXE_okd-agent"))
            .output()
            .unwrap()
            .status
            .code(),
        Some(2)
    );
}
