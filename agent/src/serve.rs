//! One session of the agent: requests in, answers out, in order; the end of the input is the end of the session.

use crate::Turn;
use crate::inbox::{Inbox, Stop};
use crate::ledger::{Debt, Ledger, Owing, lock};
use crate::path::AbsPath;
use crate::resource::{Failure, Kind, Outcome, Status, verified};
use crate::system::cached::Cached;
use crate::system::overlay::Overlay;
use crate::system::veil::Veil;
use crate::system::witness::Witness;
use crate::system::{Action, Alter, Answer, Entry, FileWrite, Make, Meta, Probe, Removal, System, SystemError};
use crate::wire::{self, BUILD, Pass, Reply, Request, Response, Task};
use serde::Serialize;
use std::collections::HashSet;
use std::io::{self, ErrorKind, Read, Write};
use std::sync::{Arc, Mutex};

/// Serves one session on a machine: [`Response::Hello`] first, then an answer to each step until `reader` ends. When it
/// ends, the step that runs is finished and no other is begun; the sessions that come meanwhile wait for it, by `turn`.
///
/// # Errors
/// A frame that cannot be one, and those of `reader` and `writer`.
pub fn serve(
    machine: Arc<dyn System>,
    uid: u32,
    turn: Turn,
    reader: impl Read + Send + 'static,
    writer: &mut impl Write,
) -> io::Result<()> {
    let stop = Stop::default();
    let mut session = Session::new(machine, stop.clone());
    let (debts, complaints) = session.owed();
    wire::send(
        writer,
        &Response::Hello {
            build: BUILD.to_owned(),
            uid,
            debts,
            complaints,
        },
    )?;
    let inbox = Inbox::fill(reader, stop)?;
    let mut told = Ok(());
    turn.others_end(|| told = wire::send(writer, &Response::Waits));
    told?;
    session.turn = turn;
    while let Some(request) = inbox.take()? {
        let Some(response) = session.answer(request) else {
            continue;
        };
        match wire::encode(&response) {
            Ok(frame) => writer.write_all(&frame)?,
            Err(error) if error.kind() == ErrorKind::InvalidData => {
                wire::send(writer, &too_long(&response, &error))?;
            }
            Err(error) => return Err(error),
        }
        writer.flush()?;
    }
    Ok(())
}

fn too_long(response: &Response, error: &io::Error) -> Response {
    let id = if let Response::Done { id, .. } = response {
        *id
    } else {
        0
    };
    let message = format!("the answer cannot be sent: {error}");
    Response::Done {
        id,
        reply: Reply::Failed(Box::new(Failure {
            message,
            ..Failure::default()
        })),
        recorded: Vec::new(),
    }
}

/// What a session works on: [`Kind`], or kinds that only the process knows in which the session is.
pub trait Work: Serialize {
    /// See [`crate::resource::converge`].
    ///
    /// # Errors
    /// As there.
    fn converge(&self, world: &(dyn System + 'static), expect: Option<u64>) -> Result<Outcome, Box<Failure>>;

    /// See [`crate::resource::Resource::veil`].
    fn veil(&mut self, as_read: &dyn Fn(&[u8]) -> Vec<u8>);
}

impl Work for Kind {
    fn converge(&self, world: &(dyn System + 'static), expect: Option<u64>) -> Result<Outcome, Box<Failure>> {
        Kind::converge(self, world, expect)
    }

    fn veil(&mut self, as_read: &dyn Fn(&[u8]) -> Vec<u8>) {
        Kind::veil(self, as_read);
    }
}

/// The worlds of a session: the machine, and its prediction for plans.
pub struct Session {
    witness: Arc<Witness>,
    veil: Arc<Veil>,
    plan: Arc<Overlay>,
    ledger: Arc<Mutex<Ledger>>,
    /// Steps that failed or were held.
    failed: HashSet<u64>,
    stop: Stop,
    turn: Turn,
    /// Why no plan can be made, where what another session predicted does not fit this machine.
    unfit: Option<String>,
}

impl Session {
    /// A session on a machine, which begins no step once `stop` is set.
    #[must_use]
    pub fn new(machine: Arc<dyn System>, stop: Stop) -> Self {
        let ledger = Arc::new(Mutex::new(Ledger::new(machine.clone())));
        let witness = Arc::new(Witness::new(machine));
        let veil = Arc::new(Veil::new(Arc::new(Cached::new(witness.clone()))));
        let plan = Arc::new(Overlay::new(veil.clone()));
        Session {
            witness,
            veil,
            plan,
            ledger,
            failed: HashSet::new(),
            stop,
            turn: Turn::default(),
            unfit: None,
        }
    }

    /// What the machine's ledger says is owed there, and what is wrong with it.
    #[must_use]
    pub fn owed(&self) -> (Vec<Debt>, Vec<String>) {
        let mut ledger = lock(&self.ledger);
        (ledger.debts().to_vec(), ledger.complaints())
    }

    /// Does what a request says; a step gives an answer.
    pub fn answer(&mut self, request: Request) -> Option<Response> {
        match request {
            Request::Secrets(secrets) => self.veil.learn(secrets),
            Request::Recall => {
                self.witness.recall();
                self.plan.forget();
            }
            Request::Forget => {
                self.witness.forget();
                self.plan.forget();
                self.unfit = None;
            }
            Request::Assume(changes) => {
                self.unfit = self.plan.assume(&changes).err().map(|error| error.to_string());
            }
            Request::Stop => self.stop.set(),
            // What cannot be forgotten is paid once more.
            Request::Settle(ids) => drop(lock(&self.ledger).settle(&ids)),
            Request::Task(task) => return Some(self.step(*task)),
        }
        None
    }

    /// Does a step.
    pub fn step<K: Work>(&mut self, task: Task<K>) -> Response {
        let mark = self.plan.mark();
        let task = self.veiled(task);
        let reply = if self.stop.is_set() || task.after.iter().any(|id| self.failed.contains(id)) {
            Reply::Held
        } else {
            self.run(&task)
        };
        if !matches!(reply, Reply::Outcome(_)) {
            self.failed.insert(task.id);
        }
        Response::Done {
            id: task.id,
            reply,
            recorded: self.plan.since(mark),
        }
    }

    /// The texts that a step wants in a file, as they will be read back: they are compared with what is read.
    fn veiled<K: Work>(&self, mut task: Task<K>) -> Task<K> {
        if !self.veil.knows() {
            return task;
        }
        let names = wire::placeholders(&task);
        let secret = !names.is_empty();
        self.veil.expect(names);
        if secret {
            task.kind.veil(&|bytes| self.veil.as_read(bytes));
        }
        task
    }

    fn run<K: Work>(&self, task: &Task<K>) -> Reply {
        let end = match task.pass {
            Pass::Plan => match &self.unfit {
                Some(reason) => Err(failure(format!(
                    "what was predicted elsewhere does not fit this machine: {reason}"
                ))),
                None => self.plan(task),
            },
            Pass::Apply => self.apply(task),
        };
        match end {
            Ok(outcome) => Reply::Outcome(Box::new(outcome)),
            Err(failure) => Reply::Failed(failure),
        }
    }

    fn plan<K: Work>(&self, task: &Task<K>) -> Result<Outcome, Box<Failure>> {
        self.witness.watch(true);
        let end = task.kind.converge(&with_env(self.plan.clone(), &task.env), task.expect);
        self.witness.watch(false);
        let end = match (end, self.plan.unforeseen()) {
            (Err(failure), Some(reason)) if may_pass(&failure) => Ok(Outcome::unknown(format!(
                "{}; an earlier step may change that: it {reason}",
                failure.message
            ))),
            (end, _) => end,
        };
        if let Ok(Outcome {
            status: Status::Unknown(reason),
            ..
        }) = &end
        {
            task.touches.iter().for_each(|path| self.plan.doubt(path, reason));
        }
        end
    }

    fn apply<K: Work>(&self, task: &Task<K>) -> Result<Outcome, Box<Failure>> {
        let world = Watchful {
            under: with_env(self.veil.clone(), &task.env),
            witness: self.witness.clone(),
            turn: self.turn.clone(),
            moved: Mutex::default(),
            owing: Owing::new(self.ledger.clone(), task.note.owes.clone()),
        };
        let outcome = task.kind.converge(&world, task.expect);
        self.turn.give();
        let outcome = world
            .owing
            .ended(outcome)
            .and_then(|outcome| self.verified(task, outcome))?;
        drop(lock(&self.ledger).settle(&task.note.settles));
        Ok(outcome)
    }

    fn verified<K: Work>(&self, task: &Task<K>, outcome: Outcome) -> Result<Outcome, Box<Failure>> {
        if !task.verify || outcome.status == Status::Same {
            return Ok(outcome);
        }
        let again = task
            .kind
            .converge(&with_env(Arc::new(Overlay::new(self.veil.clone())), &task.env), None)?;
        verified(outcome, again)
    }
}

/// Whether what failed in a plan may go well once a command has run of which nobody knows what it does: something is
/// missing or in the way. What a checker refuses it refuses then too.
fn may_pass(failure: &Failure) -> bool {
    !failure.lost
        && failure
            .answer
            .as_ref()
            .is_none_or(|answer| answer.rc == Answer::NO_PROGRAM)
}

fn failure(message: String) -> Box<Failure> {
    Box::new(Failure {
        message,
        ..Failure::default()
    })
}

fn with_env(under: Arc<dyn System>, env: &[(String, String)]) -> WithEnv {
    WithEnv {
        under,
        env: env.to_vec(),
    }
}

/// A machine whose commands get further environment; what a command brings itself goes first.
struct WithEnv {
    under: Arc<dyn System>,
    env: Vec<(String, String)>,
}

impl WithEnv {
    fn env(&self, own: &[(String, String)]) -> Vec<(String, String)> {
        self.env.iter().chain(own).cloned().collect()
    }
}

impl System for WithEnv {
    fn stat(&self, path: &AbsPath) -> Result<Option<Meta>, SystemError> {
        self.under.stat(path)
    }

    fn read(&self, path: &AbsPath, limit: u64) -> Result<Option<Vec<u8>>, SystemError> {
        self.under.read(path, limit)
    }

    fn list(&self, dir: &AbsPath) -> Result<Vec<Entry>, SystemError> {
        self.under.list(dir)
    }

    fn probe(&self, probe: &Probe) -> Result<Answer, SystemError> {
        self.under.probe(&Probe {
            env: self.env(&probe.env),
            ..probe.clone()
        })
    }

    fn write(&self, file: &FileWrite) -> Result<(), SystemError> {
        self.under.write(file)
    }

    fn make(&self, path: &AbsPath, kind: &Make) -> Result<(), SystemError> {
        self.under.make(path, kind)
    }

    fn alter(&self, path: &AbsPath, change: &Alter) -> Result<(), SystemError> {
        self.under.alter(path, change)
    }

    fn remove(&self, path: &AbsPath, how: Removal) -> Result<(), SystemError> {
        self.under.remove(path, how)
    }

    fn act(&self, action: &Action) -> Result<Answer, SystemError> {
        self.under.act(&Action {
            env: self.env(&action.env),
            ..action.clone()
        })
    }

    fn promised(&self) -> Vec<String> {
        self.under.promised()
    }

    fn predicted(&self) -> bool {
        self.under.predicted()
    }
}

/// A machine on which a step that has looked at something that moved since the plan changes nothing, and on which it is a
/// step's turn from its first change on.
struct Watchful {
    under: WithEnv,
    witness: Arc<Witness>,
    turn: Turn,
    moved: Mutex<Option<AbsPath>>,
    owing: Owing,
}

impl Watchful {
    fn sees(&self, path: &AbsPath) {
        if self.witness.has_moved(path) {
            *lock(&self.moved) = Some(path.clone());
        }
    }

    fn change<T>(&self, verb: impl FnOnce(&WithEnv) -> Result<T, SystemError>) -> Result<T, SystemError> {
        if let Some(path) = &*lock(&self.moved) {
            return Err(SystemError::Moved(path.to_string()));
        }
        self.turn.take();
        self.owing.begin();
        self.owing.tried(verb(&self.under))
    }
}

impl System for Watchful {
    fn stat(&self, path: &AbsPath) -> Result<Option<Meta>, SystemError> {
        self.sees(path);
        self.under.stat(path)
    }

    fn read(&self, path: &AbsPath, limit: u64) -> Result<Option<Vec<u8>>, SystemError> {
        self.sees(path);
        self.under.read(path, limit)
    }

    fn list(&self, dir: &AbsPath) -> Result<Vec<Entry>, SystemError> {
        self.sees(dir);
        self.under.list(dir)
    }

    fn probe(&self, probe: &Probe) -> Result<Answer, SystemError> {
        self.under.probe(probe)
    }

    fn write(&self, file: &FileWrite) -> Result<(), SystemError> {
        self.change(|under| under.write(file))
    }

    fn make(&self, path: &AbsPath, kind: &Make) -> Result<(), SystemError> {
        self.change(|under| under.make(path, kind))
    }

    fn alter(&self, path: &AbsPath, change: &Alter) -> Result<(), SystemError> {
        self.change(|under| under.alter(path, change))
    }

    fn remove(&self, path: &AbsPath, how: Removal) -> Result<(), SystemError> {
        self.change(|under| under.remove(path, how))
    }

    fn act(&self, action: &Action) -> Result<Answer, SystemError> {
        self.change(|under| under.act(action))
    }

    fn promised(&self) -> Vec<String> {
        self.under.promised()
    }

    fn predicted(&self) -> bool {
        self.under.predicted()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use crate::resource::Kind;
    use crate::system::FileKind;
    use crate::system::fake::Fake;
    use crate::value::map;
    use crate::wire::Note;

    /// A machine whose folders lose their mode at once, as on a file system that has none.
    struct Forgetful(Fake);

    impl System for Forgetful {
        fn stat(&self, path: &AbsPath) -> Result<Option<Meta>, SystemError> {
            let meta = self.0.stat(path)?;
            Ok(meta.map(|meta| {
                if meta.kind == FileKind::Directory {
                    Meta { mode: 0o777, ..meta }
                } else {
                    meta
                }
            }))
        }
        fn read(&self, path: &AbsPath, limit: u64) -> Result<Option<Vec<u8>>, SystemError> {
            self.0.read(path, limit)
        }
        fn list(&self, dir: &AbsPath) -> Result<Vec<Entry>, SystemError> {
            self.0.list(dir)
        }
        fn probe(&self, probe: &Probe) -> Result<Answer, SystemError> {
            self.0.probe(probe)
        }
        fn write(&self, file: &FileWrite) -> Result<(), SystemError> {
            self.0.write(file)
        }
        fn make(&self, path: &AbsPath, kind: &Make) -> Result<(), SystemError> {
            self.0.make(path, kind)
        }
        fn alter(&self, path: &AbsPath, change: &Alter) -> Result<(), SystemError> {
            self.0.alter(path, change)
        }
        fn remove(&self, path: &AbsPath, how: Removal) -> Result<(), SystemError> {
            self.0.remove(path, how)
        }
        fn act(&self, action: &Action) -> Result<Answer, SystemError> {
            self.0.act(action)
        }
    }

    #[test]
    fn what_does_not_hold_fails_where_it_is_verified() {
        let args = map([
            ("path", "/etc/x".into()),
            ("state", "directory".into()),
            ("mode", "0700".into()),
        ]);
        for verify in [false, true] {
            let mut session = Session::new(Arc::new(Forgetful(Fake::new())), Stop::default());
            let task = Task {
                id: 1,
                after: Vec::new(),
                kind: Kind::decode("file", &args).unwrap().unwrap(),
                pass: Pass::Apply,
                expect: None,
                env: Vec::new(),
                verify,
                touches: Vec::new(),
                note: Note::default(),
            };
            match session.answer(Request::Task(Box::new(task))) {
                Some(Response::Done {
                    reply: Reply::Failed(failure),
                    ..
                }) if verify => {
                    assert!(failure.message.contains("still differs"), "{}", failure.message);
                    assert_eq!(failure.diff.len(), 1);
                }
                Some(Response::Done {
                    reply: Reply::Outcome(outcome),
                    ..
                }) if !verify => {
                    assert_eq!(outcome.status, Status::Changed);
                }
                other => panic!("{other:?}"),
            }
        }
    }

    fn task(id: u64, kind: &str, args: &[(&str, &str)], pass: Pass) -> Request {
        let args = args
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).into()))
            .collect();
        let kind = Kind::decode(kind, &args).unwrap().unwrap();
        Request::Task(Box::new(Task {
            id,
            after: Vec::new(),
            kind,
            pass,
            expect: None,
            env: Vec::new(),
            verify: false,
            touches: Vec::new(),
            note: Note::default(),
        }))
    }

    fn reply(session: &mut Session, request: Request) -> Reply {
        match session.answer(request) {
            Some(Response::Done { reply, .. }) => reply,
            other => panic!("{other:?}"),
        }
    }

    const COMMAND: (&str, &[(&str, &str)]) = ("command", &[("cmd", "make install")]);

    #[test]
    fn a_check_after_the_plan_sees_the_machine_and_not_the_plan() {
        let mut session = Session::new(Arc::new(Fake::new()), Stop::default());
        let args = [("dest", "/etc/new"), ("content", "x")];
        for (id, status) in [(1, Status::Changed), (2, Status::Same), (3, Status::Changed)] {
            let Reply::Outcome(outcome) = reply(&mut session, task(id, "copy", &args, Pass::Plan)) else {
                panic!("a copy is planned");
            };
            assert_eq!(outcome.status, status, "{id}");
            if id == 2 {
                assert!(session.answer(Request::Recall).is_none());
            }
        }
    }

    #[test]
    fn behind_an_unknown_command_what_somebody_else_changed_is_refused() {
        let machine = Arc::new(
            Fake::new()
                .file("/etc/x", "old\n")
                .file("/etc/y", "old\n")
                .command(&["make"], Answer::default()),
        );
        let mut session = Session::new(machine.clone(), Stop::default());
        let copies = ["/etc/x", "/etc/y"].map(|path| [("dest", path), ("content", "new\n")]);
        reply(&mut session, task(1, COMMAND.0, COMMAND.1, Pass::Plan));
        for (id, args) in (2..).zip(&copies) {
            let Reply::Outcome(outcome) = reply(&mut session, task(id, "copy", args, Pass::Plan)) else {
                panic!()
            };
            assert_eq!(outcome.status, Status::Changed);
        }
        machine
            .write(&FileWrite::new(AbsPath::new("/etc/x").unwrap(), b"theirs\n".to_vec()))
            .unwrap();
        assert!(session.answer(Request::Recall).is_none());
        let Reply::Outcome(ran) = reply(&mut session, task(4, COMMAND.0, COMMAND.1, Pass::Apply)) else {
            panic!()
        };
        assert_eq!(ran.status, Status::Changed);
        let Reply::Failed(refused) = reply(&mut session, task(5, "copy", &copies[0], Pass::Apply)) else {
            panic!()
        };
        assert!(
            refused.stale && refused.message.contains("/etc/x was changed"),
            "{}",
            refused.message
        );
        assert_eq!(refused.diff.len(), 1);
        let Reply::Outcome(written) = reply(&mut session, task(6, "copy", &copies[1], Pass::Apply)) else {
            panic!()
        };
        assert_eq!(written.status, Status::Changed);
        assert_eq!(
            machine.read(&AbsPath::new("/etc/x").unwrap(), 100).unwrap().unwrap(),
            b"theirs\n"
        );
    }

    #[test]
    fn what_an_unknown_step_may_touch_is_unknown_to_later_ones() {
        let mut session = Session::new(Arc::new(Fake::new().dir("/srv")), Stop::default());
        let made = crate::system::Declared {
            creates: vec![AbsPath::new("/srv/made").unwrap()],
            ..crate::system::Declared::default()
        };
        let recorded = vec![crate::system::overlay::Recorded::Act(vec!["make".to_owned()], made)];
        assert!(session.answer(Request::Assume(recorded)).is_none());
        let args = [("src", "/srv/made"), ("dest", "/srv/copy"), ("remote_src", "yes")];
        let Request::Task(mut copy) = task(1, "copy", &args, Pass::Plan) else {
            panic!()
        };
        copy.touches = vec![AbsPath::new("/srv/copy").unwrap()];
        let Some(Response::Done {
            reply: Reply::Outcome(outcome),
            recorded,
            ..
        }) = session.answer(Request::Task(copy))
        else {
            panic!()
        };
        assert!(
            matches!(outcome.status, Status::Unknown(_)) && recorded.len() == 1,
            "{recorded:?}"
        );
        let mut status = |path: &str| match reply(&mut session, task(2, "stat", &[("path", path)], Pass::Plan)) {
            Reply::Outcome(outcome) => outcome.status,
            other => panic!("{other:?}"),
        };
        assert_eq!(status("/srv/other"), Status::Same);
        assert!(matches!(status("/srv/copy"), Status::Unknown(_)));
    }

    #[test]
    fn behind_an_unknown_command_what_is_missing_is_unknown() {
        let steps: &[(&str, &[(&str, &str)])] = &[
            (
                "unarchive",
                &[("src", "/srv/x.tar"), ("remote_src", "yes"), ("dest", "/srv")],
            ),
            ("lineinfile", &[("path", "/srv/made"), ("line", "x")]),
            (
                "copy",
                &[("src", "/srv/made"), ("dest", "/srv/copy"), ("remote_src", "yes")],
            ),
        ];
        let machine = Arc::new(Fake::new().dir("/srv"));
        let mut session = Session::new(machine.clone(), Stop::default());
        for (kind, args) in steps {
            assert!(
                matches!(reply(&mut session, task(1, kind, args, Pass::Plan)), Reply::Failed(_)),
                "{kind}"
            );
        }
        let mut session = Session::new(machine, Stop::default());
        reply(&mut session, task(1, COMMAND.0, COMMAND.1, Pass::Plan));
        for (kind, args) in steps {
            let Reply::Outcome(outcome) = reply(&mut session, task(2, kind, args, Pass::Plan)) else {
                panic!("{kind}")
            };
            let Status::Unknown(reason) = outcome.status else {
                panic!("{kind}")
            };
            assert!(reason.contains("make install"), "{reason}");
        }
    }
}
