//! The program as people run it: a folder with a playbook and an inventory, a command line, what came of it.

use crate::lab::Lab;
use serde_json::Value;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// A playbook in a folder of its own, with an inventory of all hosts that the lab had when it was made.
#[derive(Debug)]
pub struct Play<'lab> {
    lab: &'lab Lab,
    folder: TempDir,
    playbook: PathBuf,
    inventory: PathBuf,
    env: Vec<(String, String)>,
}

/// The program under test: `$OKD_PLAY`, or the debug build.
#[must_use]
pub fn program() -> PathBuf {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let path = match std::env::var_os("OKD_PLAY") {
        Some(path) => root.join(path),
        None => root.join("target/debug/okd-play"),
    };
    assert!(path.exists(), "{} is not there: build okd-play first", path.display());
    path
}

impl<'lab> Play<'lab> {
    /// A playbook from its text.
    #[must_use]
    pub fn new(lab: &'lab Lab, text: &str) -> Self {
        let play = Play::of(lab, "play.yaml".into(), "hosts.yaml".into());
        play.put("play.yaml", text);
        play.put("hosts.yaml", &lab.inventory());
        play
    }

    /// A play with these tasks for all hosts, without facts; the tasks are indented by four blanks.
    #[must_use]
    pub fn tasks(lab: &'lab Lab, tasks: &str) -> Self {
        Play::new(lab, &format!("- hosts: all\n  gather_facts: false\n  tasks:\n{tasks}"))
    }

    /// A playbook of the project with an inventory.
    #[must_use]
    pub fn of(lab: &'lab Lab, playbook: PathBuf, inventory: PathBuf) -> Self {
        let folder = tempfile::Builder::new().prefix("okd-e2e-").tempdir().unwrap();
        let play = Play {
            lab,
            folder,
            playbook,
            inventory,
            env: Vec::new(),
        };
        play.put("known_hosts", &lab.known_hosts());
        play
    }

    /// The same, where the program has a further variable in its environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Writes a file beside the playbook.
    pub fn put(&self, path: &str, text: &str) {
        let path = self.folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// Where its hosts are.
    #[must_use]
    pub fn lab(&self) -> &'lab Lab {
        self.lab
    }

    /// Where the playbook lies.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The program, where it reaches the lab's hosts, in the folder, which is its home too.
    fn program(&self) -> Command {
        let mut command = self.lab.command();
        command.arg("exec").arg(program()).current_dir(self.folder.path());
        command.env("HOME", self.folder.path());
        for name in ["SSH_AUTH_SOCK", "OKD_LAB_OWNER_PID", "XDG_STATE_HOME"] {
            command.env_remove(name);
        }
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    fn command(&self, verb: &str, words: &[&str]) -> Command {
        let folder = self.folder.path();
        let mut command = self.program();
        command.arg(verb).arg(&self.playbook);
        command.arg("-i").arg(&self.inventory);
        let given = |name: &str| words.contains(&name);
        if !given("--private-key") {
            command.arg("--private-key").arg(self.lab.key());
        }
        if !given("--ssh-common-args") {
            let known = folder.join("known_hosts");
            let options = format!(
                "-o UserKnownHostsFile={} -o GlobalKnownHostsFile=/dev/null -o IdentitiesOnly=yes -o ConnectTimeout=15",
                known.display()
            );
            command.arg("--ssh-common-args").arg(options);
        }
        if !given("-u") {
            command.args(["-u", "root"]);
        }
        if !given("--output") {
            command.args(["--output", "json"]);
        }
        command.args(words);
        command
    }

    /// Starts `okd-play run` with further words on its command line.
    pub fn start(&self, words: &[&str]) -> Running {
        self.spawn(self.command("run", words))
    }

    /// Runs `okd-play drift` with further words on its command line.
    pub fn drift(&self, words: &[&str]) -> Run {
        self.spawn(self.command("drift", words)).wait()
    }

    /// Plans, and keeps the plan in a file of the folder.
    pub fn plan(&self, file: &str, words: &[&str]) -> Run {
        let command = self.command("plan", &[&["-o", file], words].concat());
        self.spawn(command).wait()
    }

    /// Runs `okd-play` with these words and no others.
    pub fn okd(&self, words: &[&str]) -> Run {
        let mut command = self.program();
        command.args(words);
        self.spawn(command).wait()
    }

    /// What `okd-play runs` says of all runs, the newest first.
    #[must_use]
    pub fn runs(&self) -> Vec<Value> {
        self.okd(&["runs", "--output", "json"]).ended(0).events
    }

    /// Runs `okd-play` with these words at a terminal, where a person gives each answer when its question has come.
    pub fn at_a_terminal(&self, words: &[&str], answers: &[(&str, &str)]) -> Run {
        let mut typed = self.program();
        typed.args(words);
        let all = std::iter::once(typed.get_program()).chain(typed.get_args());
        let quoted = all.map(|word| format!("'{}'", word.to_string_lossy().replace('\'', "'\\''")));
        let line: Vec<String> = quoted.collect();
        let mut command = Command::new("script");
        command.args(["-qefc", &line.join(" "), "/dev/null"]);
        command.current_dir(self.folder.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        for (name, value) in typed.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let mut child = command.spawn().unwrap();
        let (mut to, mut from) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (mut out, mut answered) = (String::new(), 0);
        let mut answers = answers.iter().peekable();
        let mut buffer = [0; 4096];
        loop {
            let count = from.read(&mut buffer).unwrap();
            if count == 0 {
                break;
            }
            out.push_str(&String::from_utf8_lossy(&buffer[..count]));
            while let Some((question, answer)) = answers.peek() {
                let Some(at) = out[answered..].find(question) else {
                    break;
                };
                answered += at + question.len();
                writeln!(to, "{answer}").unwrap();
                answers.next();
            }
        }
        assert_eq!(answers.next(), None, "not everything was asked\n{out}");
        Run {
            code: child.wait().unwrap().code(),
            out,
            err: String::new(),
            events: Vec::new(),
        }
    }

    fn spawn(&self, mut command: Command) -> Running {
        let out = tempfile::NamedTempFile::new_in(self.folder.path()).unwrap();
        let err = tempfile::NamedTempFile::new_in(self.folder.path()).unwrap();
        command.stdout(out.reopen().unwrap());
        command.stderr(err.reopen().unwrap());
        Running {
            child: command.spawn().unwrap(),
            out,
            err,
        }
    }

    /// Runs `okd-play run` with further words on its command line.
    pub fn run(&self, words: &[&str]) -> Run {
        self.start(words).wait()
    }

    /// Applies, and takes no other end than a good one.
    pub fn apply(&self, words: &[&str]) -> Run {
        self.run(&[&["--yes"], words].concat()).ended(0)
    }

    /// Applies again, and takes no change.
    pub fn converged(&self, words: &[&str]) -> Run {
        let run = self.apply(words);
        for host in run.hosts() {
            for word in ["changed", "unknown", "failed", "unreachable", "blocked"] {
                assert_eq!(run.count(&host, word), 0, "{word} on {host}\n{run}");
            }
        }
        run
    }
}

/// A run under way.
#[derive(Debug)]
pub struct Running {
    child: Child,
    out: tempfile::NamedTempFile,
    err: tempfile::NamedTempFile,
}

impl Running {
    /// Ctrl-C.
    pub fn interrupt(&self) {
        self.signal("INT");
    }

    /// A signal by its short name.
    pub fn signal(&self, name: &str) {
        let done = Command::new("kill")
            .args([&format!("-{name}"), &self.child.id().to_string()])
            .status();
        assert!(done.unwrap().success());
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Whether it goes on.
    pub fn goes_on(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// What it has printed so far.
    #[must_use]
    pub fn so_far(&self) -> String {
        std::fs::read_to_string(self.out.path()).unwrap()
    }

    /// What it has said beside that so far.
    #[must_use]
    pub fn said(&self) -> String {
        std::fs::read_to_string(self.err.path()).unwrap()
    }

    /// Its end.
    #[must_use]
    pub fn wait(mut self) -> Run {
        let status = self.child.wait().unwrap();
        let text =
            |file: &tempfile::NamedTempFile| String::from_utf8_lossy(&std::fs::read(file.path()).unwrap()).into_owned();
        let (out, err) = (text(&self.out), text(&self.err));
        let events = out.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        Run {
            code: status.code(),
            out,
            err,
            events,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.goes_on() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// What came of a run.
#[derive(Debug)]
pub struct Run {
    /// The exit code; `None` where a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
    /// The lines of `--output json`.
    pub events: Vec<Value>,
}

impl Run {
    /// Itself, where it ended with this code; any other fails the test.
    pub fn ended(self, code: i32) -> Run {
        assert_eq!(self.code, Some(code), "exit code\n{self}");
        self
    }

    /// The results of one pass, `plan` or `apply`.
    pub fn results(&self, pass: &str) -> impl Iterator<Item = &Value> {
        self.events
            .iter()
            .filter(move |event| event["event"] == "result" && event["pass"] == pass)
    }

    /// How a step ended on a host in a pass.
    #[must_use]
    pub fn status(&self, pass: &str, host: &str, task: &str) -> &str {
        self.result(pass, host, task)["status"].as_str().unwrap()
    }

    /// A step's result on a host in a pass.
    #[must_use]
    pub fn result(&self, pass: &str, host: &str, task: &str) -> &Value {
        self.results(pass)
            .find(|event| event["host"] == host && event["task"] == task)
            .unwrap_or_else(|| panic!("no result of `{task}` on {host} in the {pass}\n{self}"))
    }

    fn summary(&self) -> &Value {
        let last = self.events.iter().find(|event| event["event"] == "summary");
        last.unwrap_or_else(|| panic!("no summary\n{self}"))
    }

    /// The hosts of the summary.
    #[must_use]
    pub fn hosts(&self) -> Vec<String> {
        self.summary()["hosts"].as_object().unwrap().keys().cloned().collect()
    }

    /// How many steps ended like this on a host.
    #[must_use]
    pub fn count(&self, host: &str, word: &str) -> u64 {
        self.summary()["hosts"][host][word].as_u64().unwrap_or(0)
    }

    /// Whether a host is in the summary, and has anything in it.
    #[must_use]
    pub fn touched(&self, host: &str) -> bool {
        self.events
            .iter()
            .any(|event| event["event"] == "result" && event["host"] == host)
    }

    /// Both outputs, with the words of JSON as people would read them.
    #[must_use]
    pub fn words(&self) -> String {
        let events = self.events.iter().flat_map(strings);
        format!("{}\n{}\n{}", self.out, self.err, events.collect::<Vec<_>>().join("\n"))
    }

    /// Fails the test where these words were not printed.
    pub fn says(&self, words: &str) {
        assert!(self.words().contains(words), "not said: {words}\n{self}");
    }

    /// The sum that the plan gave for each file that it would write, by host and path; the last one counts.
    #[must_use]
    pub fn predicted(&self) -> std::collections::BTreeMap<(String, String), String> {
        let mut all = std::collections::BTreeMap::new();
        for event in self.results("plan") {
            for change in event["diff"]
                .as_array()
                .into_iter()
                .flatten()
                .filter(|change| change["type"] == "text")
            {
                let (host, path) = (event["host"].as_str().unwrap(), change["path"].as_str().unwrap());
                all.insert(
                    (host.to_owned(), path.to_owned()),
                    change["after_sha256"].as_str().unwrap().to_owned(),
                );
            }
        }
        all
    }
}

/// All texts in a value.
fn strings(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(list) => list.iter().flat_map(strings).collect(),
        Value::Object(map) => map.values().flat_map(strings).collect(),
        _ => Vec::new(),
    }
}

impl std::fmt::Display for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "exit code {:?}\n--- stdout\n{}\n--- stderr\n{}",
            self.code, self.out, self.err
        )
    }
}
