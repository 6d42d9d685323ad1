//! The three laws as one suite for every world that a session can act in: this machine, one made of data, an agent behind
//! a pipe, a shell far away. What acts in a folder is tried here; what needs a whole machine, on the lab's hosts.
//!
//! It returns the sentences in which a kind breaks a law in that world; an empty list is a world that conforms.

use super::{Failure, Kind, Outcome, Status};
use crate::diff::Change;
use crate::path::AbsPath;
use crate::secret::{Secret, Secrets};
use crate::system::{FileKind, FileWrite, Make, Removal, System, SystemError};
use crate::value::{Map, Value, map};
use crate::wire::{Pass, Reply, Request, Response, Task};

/// The secret's bytes.
const POISON: &str = "p0is0n-77e1";

/// The most that is read of a file, in bytes.
const LIMIT: u64 = 1 << 20;

/// Says one thing to a session and takes its answer.
pub type Say<'a> = &'a mut dyn FnMut(Request) -> Option<Response>;

/// Parameters as a playbook has them.
type Pairs<'a> = &'a [(&'a str, &'a str)];

/// A step that is tried.
struct Case {
    kind: &'static str,
    args: Map,
    /// Whether it runs programs, which a world made of data does not have.
    programs: bool,
    /// Whether it has nothing more to do once it is done.
    settles: bool,
    /// The file that a secret of it has to reach.
    secret: Option<&'static str>,
}

fn cases(folder: &AbsPath) -> Vec<Case> {
    let poison = Secrets::placeholder("poison", "0f0f");
    let texts: &[(&'static str, Pairs<'_>)] = &[
        (
            "assemble",
            &[("src", "{}/parts"), ("dest", "{}/whole"), ("mode", "0640")],
        ),
        (
            "assemble",
            &[("src", "{}/parts"), ("dest", "{}/a.conf"), ("delimiter", "# --")],
        ),
        (
            "blockinfile",
            &[("path", "{}/a.conf"), ("block", "x=1\ny=2"), ("insertafter", "^a=")],
        ),
        (
            "blockinfile",
            &[
                ("path", "{}/new"),
                ("block", "x=1"),
                ("create", "yes"),
                ("marker", "; {mark} ours"),
            ],
        ),
        ("blockinfile", &[("path", "{}/block"), ("state", "absent")]),
        (
            "copy",
            &[("dest", "{}/new"), ("content", "é\nb"), ("mode", "u=rw,g=r,o=")],
        ),
        ("copy", &[("dest", "{}/a.conf"), ("content", "a=1\n")]),
        ("copy", &[("dest", "{}/a.conf"), ("content", "never"), ("force", "no")]),
        ("copy", &[("dest", "{}/link"), ("content", "through\n")]),
        (
            "copy",
            &[("dest", "{}/link"), ("content", "instead\n"), ("follow", "no")],
        ),
        (
            "copy",
            &[
                ("src", "{}/a.conf"),
                ("dest", "{}/copied"),
                ("remote_src", "yes"),
                ("mode", "preserve"),
            ],
        ),
        (
            "file",
            &[("path", "{}/deep/er"), ("state", "directory"), ("mode", "0750")],
        ),
        ("file", &[("path", "{}/a.conf"), ("mode", "g-r,o=")]),
        (
            "file",
            &[
                ("path", "{}/parts"),
                ("state", "directory"),
                ("recurse", "yes"),
                ("mode", "u=rwX,g=rX,o="),
            ],
        ),
        ("file", &[("path", "{}/parts"), ("state", "absent")]),
        ("file", &[("path", "{}/sym"), ("src", "a.conf"), ("state", "link")]),
        ("file", &[("path", "{}/link"), ("src", "{}/block"), ("state", "link")]),
        ("file", &[("path", "{}/hard"), ("src", "{}/a.conf"), ("state", "hard")]),
        (
            "file",
            &[
                ("path", "{}/new"),
                ("state", "touch"),
                ("modification_time", "preserve"),
                ("access_time", "preserve"),
            ],
        ),
        ("file", &[("path", "{}/none"), ("state", "file")]),
        (
            "find",
            &[
                ("paths", "{}"),
                ("recurse", "yes"),
                ("patterns", "*.conf"),
                ("get_checksum", "yes"),
            ],
        ),
        (
            "known_hosts",
            &[("path", "{}/known"), ("name", "one"), ("key", "ssh-ed25519 AAAA")],
        ),
        (
            "ini_file",
            &[
                ("path", "{}/x.ini"),
                ("section", "main"),
                ("option", "a"),
                ("value", "2"),
            ],
        ),
        (
            "ini_file",
            &[
                ("path", "{}/x.ini"),
                ("section", "new"),
                ("option", "b"),
                ("value", "1"),
                ("no_extra_spaces", "yes"),
            ],
        ),
        (
            "ini_file",
            &[
                ("path", "{}/x.ini"),
                ("section", "main"),
                ("option", "a"),
                ("state", "absent"),
            ],
        ),
        (
            "ini_file",
            &[("path", "{}/x.ini"), ("section", "main"), ("state", "absent")],
        ),
        (
            "lineinfile",
            &[("path", "{}/a.conf"), ("line", "b=3"), ("regexp", "^b=")],
        ),
        (
            "lineinfile",
            &[("path", "{}/a.conf"), ("line", "z=9"), ("insertbefore", "BOF")],
        ),
        (
            "lineinfile",
            &[("path", "{}/a.conf"), ("regexp", "^a="), ("state", "absent")],
        ),
        (
            "lineinfile",
            &[
                ("path", "{}/a.conf"),
                ("line", "b=\\1"),
                ("regexp", "^b=(.)"),
                ("backrefs", "yes"),
            ],
        ),
        ("lineinfile", &[("path", "{}/none"), ("line", "x")]),
        ("ping", &[]),
        (
            "replace",
            &[("path", "{}/a.conf"), ("regexp", "^(.)=(.)"), ("replace", r"\1 = \2")],
        ),
        (
            "replace",
            &[
                ("path", "{}/a.conf"),
                ("regexp", "1"),
                ("replace", "2"),
                ("after", "b="),
                ("mode", "0600"),
            ],
        ),
        ("slurp", &[("src", "{}/a.conf")]),
        ("stat", &[("path", "{}/link")]),
        ("stat", &[("path", "{}/none")]),
        (
            "wait_for",
            &[("path", "{}/a.conf"), ("search_regex", "b=(.)"), ("timeout", "0")],
        ),
        (
            "wait_for",
            &[("path", "{}/none"), ("timeout", "0"), ("state", "absent")],
        ),
    ];
    let run: &[(&'static str, Pairs<'_>)] = &[
        (
            "authorized_key",
            &[
                ("user", "root"),
                ("path", "{}/keys"),
                ("manage_dir", "no"),
                ("key", KEY),
            ],
        ),
        (
            "authorized_key",
            &[
                ("user", "root"),
                ("path", "{}/known"),
                ("manage_dir", "no"),
                ("key", KEY),
                ("state", "absent"),
            ],
        ),
        ("command", &[("cmd", "touch {}/made"), ("creates", "{}/made")]),
        ("command", &[("cmd", "rm {}/none"), ("removes", "{}/none")]),
        (
            "copy",
            &[
                ("dest", "{}/a.conf"),
                ("content", "ok\n"),
                ("validate", "grep -q ok %s"),
            ],
        ),
        (
            "copy",
            &[
                ("dest", "{}/a.conf"),
                ("content", "bad\n"),
                ("validate", "grep -q ok %s"),
            ],
        ),
        (
            "get_url",
            &[("url", "http://127.0.0.1:1/x"), ("dest", "{}/a.conf"), ("force", "no")],
        ),
        ("setup", &[("gather_subset", "min")]),
        (
            "shell",
            &[("cmd", "echo x >made; echo y"), ("chdir", "{}"), ("creates", "made")],
        ),
        ("shell", &[("cmd", "exit 3"), ("chdir", "{}")]),
        (
            "sysctl",
            &[
                ("name", "kernel.ostype"),
                ("value", "Linux"),
                ("sysctl_file", "{}/90.conf"),
                ("reload", "no"),
            ],
        ),
        ("tempfile", &[("path", "{}"), ("state", "directory")]),
        (
            "unarchive",
            &[("src", "{}/parts.tar"), ("remote_src", "yes"), ("dest", "{}/out")],
        ),
        ("uri", &[("url", "http://127.0.0.1:1/"), ("creates", "{}/a.conf")]),
    ];
    let secrets: &[(&'static str, &'static str, Pairs<'_>)] = &[
        ("copy", "new", &[("content", "p={!}\n"), ("mode", "0600")]),
        ("copy", "a.conf", &[("content", "a=1\nb={!}\n# c\n")]),
        ("lineinfile", "a.conf", &[("line", "b={!}"), ("regexp", "^b=")]),
        ("blockinfile", "a.conf", &[("block", "p={!}")]),
        ("replace", "a.conf", &[("regexp", "^b=.*$"), ("replace", "b={!}")]),
        (
            "ini_file",
            "x.ini",
            &[("section", "main"), ("option", "a"), ("value", "{!}")],
        ),
    ];
    let case = |kind, pairs: Pairs<'_>, programs| {
        let text = |text: &str| text.replace("{}", folder.as_str()).replace("{!}", &poison);
        let args = pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), Value::from(text(value))))
            .collect();
        Case {
            kind,
            args,
            programs,
            settles: kind != "tempfile",
            secret: None,
        }
    };
    let mut cases: Vec<Case> = texts.iter().map(|(kind, pairs)| case(*kind, pairs, false)).collect();
    cases.extend(run.iter().map(|(kind, pairs)| case(*kind, pairs, true)));
    for (kind, file, pairs) in secrets {
        let mut secret = case(*kind, pairs, false);
        let name = if *kind == "copy" { "dest" } else { "path" };
        secret
            .args
            .insert(name.to_owned(), folder.join(file).to_string().into());
        secret.secret = Some(file);
        cases.push(secret);
    }
    let mut told = case(
        "shell",
        &[
            ("cmd", "cat >told"),
            ("chdir", "{}"),
            ("creates", "told"),
            ("stdin", "{!}"),
        ],
        true,
    );
    let predicts = map([("creates", vec![folder.join("told").to_string()].into())]);
    told.args.insert("predicts".to_owned(), Value::Map(predicts));
    cases.push(told);
    cases
}

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIC3qBXLHCuUZOsIcLX5nCyUtTxSbPmLaxdLuyvwN5sLn ops";

/// Which kinds are tried in a folder.
#[must_use]
pub fn kinds(programs: bool) -> Vec<&'static str> {
    let all = AbsPath::new("/").map(|root| cases(&root)).unwrap_or_default();
    all.into_iter()
        .filter(|case| programs || !case.programs)
        .map(|case| case.kind)
        .collect()
}

/// Tries every case in an empty folder of a world: `say` speaks to the session, `world` looks at what it does. The folder
/// is empty again afterwards.
#[must_use]
pub fn laws(say: Say<'_>, world: &dyn System, folder: &AbsPath, programs: bool) -> Vec<String> {
    let mut secrets = Secrets::default();
    secrets.insert(Secrets::placeholder("poison", "0f0f"), Secret::new(POISON));
    say(Request::Secrets(secrets));
    let mut trial = Trial {
        say,
        world,
        folder,
        findings: Vec::new(),
        steps: 0,
        about: String::new(),
    };
    for case in cases(folder).iter().filter(|case| programs || !case.programs) {
        trial.about = format!("{} {:?}", case.kind, case.args);
        if let Err(error) = trial
            .prepare()
            .and_then(|()| trial.one(case))
            .and_then(|()| trial.clear())
        {
            trial.finds(&format!("the folder: {error}"));
        }
    }
    trial.findings
}

struct Trial<'a> {
    say: Say<'a>,
    world: &'a dyn System,
    folder: &'a AbsPath,
    findings: Vec<String>,
    steps: u64,
    about: String,
}

type End = Result<Outcome, Box<Failure>>;

impl Trial<'_> {
    fn finds(&mut self, what: &str) {
        self.findings.push(format!("{}: {what}", self.about));
    }

    fn prepare(&self) -> Result<(), SystemError> {
        let folder = Make::Directory { mode: 0o755 };
        for name in ["parts", "out"] {
            self.world.make(&self.folder.join(name), &folder)?;
        }
        let known = format!("# mine\n{KEY}\n");
        for (name, text) in [
            ("a.conf", "a=1\nb=2\n# c\n"),
            (
                "block",
                "top\n# BEGIN ANSIBLE MANAGED BLOCK\nx\n# END ANSIBLE MANAGED BLOCK\nend\n",
            ),
            ("x.ini", "[main]\na = 1\n; a = 0\n\n[other]\na = 1\n"),
            ("parts/1", "one\n"),
            ("parts/2", "two\n"),
            ("known", &known),
        ] {
            self.world
                .write(&FileWrite::new(self.folder.join(name), text.as_bytes().to_vec()))?;
        }
        self.world.write(&FileWrite::new(
            self.folder.join("parts.tar"),
            tar("packed", b"packed\n"),
        ))?;
        self.world.make(
            &self.folder.join("link"),
            &Make::Link {
                target: "a.conf".to_owned(),
            },
        )
    }

    fn clear(&self) -> Result<(), SystemError> {
        for entry in self.world.list(self.folder)? {
            self.world.remove(&self.folder.join(&entry.name), Removal::Tree)?;
        }
        Ok(())
    }

    fn one(&mut self, case: &Case) -> Result<(), SystemError> {
        (self.say)(Request::Forget);
        let before = self.tree(self.folder)?;
        let (planned, foreseen) = (self.step(case, Pass::Plan), self.step(case, Pass::Plan));
        if self.tree(self.folder)? != before {
            self.finds("the plan touched the folder");
        }
        let applied = self.step(case, Pass::Apply);
        (self.say)(Request::Forget);
        let again = self.step(case, Pass::Plan);
        self.silence(&[&planned, &foreseen, &applied, &again]);
        match (planned, applied) {
            (
                Ok(Outcome {
                    status: Status::Unknown(_),
                    ..
                }),
                _,
            ) => {}
            (Ok(planned), Ok(applied)) => {
                self.fidelity(&planned, &applied);
                if case.settles {
                    self.settled(foreseen, again);
                }
            }
            (Err(planned), Err(applied)) if planned.message == applied.message => {
                if self.tree(self.folder)? != before {
                    self.finds("it failed and left something behind");
                }
            }
            (planned, applied) => self.finds(&format!("fidelity: {planned:?} in the plan, {applied:?} when applied")),
        }
        if let Some(file) = case.secret {
            let bytes = self.world.read(&self.folder.join(file), LIMIT)?.unwrap_or_default();
            if !String::from_utf8_lossy(&bytes).contains(POISON) {
                self.finds("silence: the secret did not reach its file");
            }
        }
        Ok(())
    }

    fn fidelity(&mut self, planned: &Outcome, applied: &Outcome) {
        if (&planned.status, &planned.diff) != (&applied.status, &applied.diff) {
            self.finds(&format!("fidelity: {planned:?} in the plan, {applied:?} when applied"));
        }
    }

    /// After a step, the predicted world and the real one look alike, and neither has anything to change.
    fn settled(&mut self, foreseen: End, again: End) {
        match (foreseen, again) {
            (Ok(foreseen), Ok(again)) => {
                let acts = |outcome: &Outcome| outcome.diff.iter().all(|change| matches!(change, Change::Act(_)));
                if foreseen.status != Status::Same || again.status != Status::Same {
                    self.finds(&format!(
                        "idempotence: {foreseen:?} in the plan, {again:?} on the machine"
                    ));
                }
                let (promised, seen) = (foreseen.fingerprint, again.fingerprint);
                if acts(&again) && promised.is_some() && seen.is_some() && promised != seen {
                    self.finds("fidelity: what is seen afterwards is not what was predicted");
                }
            }
            (foreseen, again) => self.finds(&format!("idempotence: {foreseen:?}, {again:?}")),
        }
    }

    fn silence(&mut self, ends: &[&End]) {
        for end in ends {
            let bytes = match end {
                Ok(outcome) => postcard::to_stdvec(outcome),
                Err(failure) => postcard::to_stdvec(failure),
            };
            let sent = String::from_utf8_lossy(&bytes.unwrap_or_default()).contains(POISON);
            if sent || format!("{end:?}").contains(POISON) {
                self.finds("silence: the secret is in what it tells");
            }
        }
    }

    fn step(&mut self, case: &Case, pass: Pass) -> End {
        let refused = |message: String| {
            Err(Box::new(Failure {
                message,
                ..Failure::default()
            }))
        };
        let kind = match Kind::decode(case.kind, &case.args) {
            Some(Ok(kind)) => kind,
            other => return refused(format!("does not decode: {other:?}")),
        };
        if let Err(problems) = kind.check() {
            return refused(problems.join("; "));
        }
        self.steps += 1;
        let task = Task {
            id: self.steps,
            after: Vec::new(),
            kind,
            pass,
            expect: None,
            env: Vec::new(),
            verify: false,
            touches: Vec::new(),
            note: crate::wire::Note::default(),
        };
        match (self.say)(Request::Task(Box::new(task))) {
            Some(Response::Done {
                reply: Reply::Outcome(outcome),
                ..
            }) => Ok(*outcome),
            Some(Response::Done {
                reply: Reply::Failed(failure),
                ..
            }) => Err(failure),
            other => refused(format!("no answer to the step: {other:?}")),
        }
    }

    /// Everything below a folder: paths, kinds, modes, owners, targets, bytes.
    fn tree(&self, folder: &AbsPath) -> Result<Vec<(String, String, Vec<u8>)>, SystemError> {
        let mut seen = Vec::new();
        for entry in self.world.list(folder)? {
            let path = folder.join(&entry.name);
            let Some(meta) = self.world.stat(&path)? else { continue };
            let bytes = match meta.kind {
                FileKind::File => self.world.read(&path, LIMIT)?.unwrap_or_default(),
                _ => Vec::new(),
            };
            let about = format!(
                "{:?} {:o} {} {} {:?}",
                meta.kind, meta.mode, meta.uid, meta.gid, meta.target
            );
            seen.push((path.to_string(), about, bytes));
            if meta.kind == FileKind::Directory {
                seen.extend(self.tree(&path)?);
            }
        }
        Ok(seen)
    }
}

/// An archive with one file, as POSIX ustar has it.
fn tar(name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut head = vec![0_u8; 512];
    let mut put = |at: usize, text: &[u8]| head[at..at + text.len()].copy_from_slice(text);
    put(0, name.as_bytes());
    put(100, b"0000644\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{:011o}\0", bytes.len()).as_bytes());
    put(136, b"14400000000\0");
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    let sum: u32 = head.iter().map(|byte| u32::from(*byte)).sum();
    head[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    head.extend(bytes);
    head.resize(1024, 0);
    head.resize(1024 + 1024, 0);
    head
}
