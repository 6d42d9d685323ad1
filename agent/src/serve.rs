//! One session of the agent: requests in, answers out, in order; the end of the input is the end of the session.

use crate::inbox::{Inbox, Stop};
use crate::path::AbsPath;
use crate::resource::{Failure, Kind, Outcome, Status, verified};
use crate::system::cached::Cached;
use crate::system::overlay::{Overlay, Recorded};
use crate::system::veil::Veil;
use crate::system::witness::Witness;
use crate::system::{Action, Alter, Answer, Entry, FileWrite, Make, Meta, Probe, Removal, System, SystemError};
use crate::wire::{self, BUILD, Pass, Reply, Request, Response, Task};
use serde::Serialize;
use std::collections::HashSet;
use std::io::{self, ErrorKind, Read, Write};
use std::sync::{Arc, Mutex, PoisonError};

/// Serves one session on a machine: [`Response::Hello`] first, then an answer to each step until `reader` ends. When it
/// ends, the step that runs is finished and no other is begun.
///
/// # Errors
/// A frame that cannot be one, and those of `reader` and `writer`.
pub fn serve(
    machine: Arc<dyn System>,
    uid: u32,
    reader: impl Read + Send + 'static,
    writer: &mut impl Write,
) -> io::Result<()> {
    wire::send(
        writer,
        &Response::Hello {
            build: BUILD.to_owned(),
            uid,
        },
    )?;
    let stop = Stop::default();
    let inbox = Inbox::fill(reader, stop.clone())?;
    let mut session = Session::new(machine, stop);
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
pub trait Work {
    /// See [`crate::resource::converge`].
    ///
    /// # Errors
    /// As there.
    fn converge(&self, world: &(dyn System + 'static), expect: Option<u64>) -> Result<Outcome, Box<Failure>>;

    /// See [`crate::resource::Resource::veil`].
    fn veil(&mut self, as_read: &dyn Fn(&[u8]) -> Vec<u8>);

    /// Changes that it will make and that stand nowhere else in it.
    fn holds(&self) -> Vec<Recorded> {
        Vec::new()
    }
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
    /// Steps that failed or were held.
    failed: HashSet<u64>,
    stop: Stop,
    /// The transaction whose steps are worked on.
    bracket: Option<Open>,
    /// Why no plan can be made, where what another session predicted does not fit this machine.
    unfit: Option<String>,
}

/// A transaction that is not committed yet.
struct Open {
    /// Names it.
    id: u64,
    /// How many steps it has had.
    steps: u32,
    /// What they have staged.
    overlay: Arc<Overlay>,
    /// Why not all of that is known.
    unsure: Option<String>,
}

impl Session {
    /// A session on a machine, which begins no step once `stop` is set.
    #[must_use]
    pub fn new(machine: Arc<dyn System>, stop: Stop) -> Self {
        let witness = Arc::new(Witness::new(machine));
        let veil = Arc::new(Veil::new(Arc::new(Cached::new(witness.clone()))));
        let plan = Arc::new(Overlay::new(veil.clone()));
        Session {
            witness,
            veil,
            plan,
            failed: HashSet::new(),
            stop,
            bracket: None,
            unfit: None,
        }
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
            Request::Task(task) => return Some(self.step(*task)),
            Request::Commit(mut task) => {
                let open = self.bracket.take().filter(|open| Some(open.id) == task.within);
                if open.as_ref().map_or(0, |open| open.steps) != task.kind.steps {
                    let lost = "what some of its steps had staged was lost with the connection";
                    task.kind.unsure.get_or_insert(lost.to_owned());
                }
                if let Some(open) = open {
                    task.kind.unsure = task.kind.unsure.or(open.unsure);
                    task.kind.bracket.staged = Some(open.overlay);
                }
                if task.pass == Pass::Plan {
                    task.kind.bracket.beside = self.plan.since(0);
                }
                task.within = None;
                return Some(self.step(*task));
            }
        }
        None
    }

    /// Does a step.
    pub fn step<K: Work + Serialize>(&mut self, task: Task<K>) -> Response {
        let names = if self.veil.knows() {
            wire::placeholders(&task)
        } else {
            Vec::new()
        };
        let (task, mut work) = task.apart();
        self.work(&task, &mut work, names)
    }

    /// Does a step that names these placeholders.
    fn work(&mut self, task: &Task<()>, work: &mut dyn Work, names: Vec<String>) -> Response {
        let mark = self.plan.mark();
        self.veil(work, names);
        let reply = if self.stop.is_set() || task.after.iter().any(|id| self.failed.contains(id)) {
            Reply::Held
        } else {
            match task.within {
                Some(id) => self.stage(task, work, id),
                None => self.run(task, work, None),
            }
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
    fn veil(&self, work: &mut dyn Work, mut names: Vec<String>) {
        if !self.veil.knows() {
            return;
        }
        let secret = !names.is_empty();
        names.extend(wire::placeholders(&work.holds()));
        self.veil.expect(names);
        if secret {
            work.veil(&|bytes| self.veil.as_read(bytes));
        }
    }

    /// Does a step of a transaction: it acts on what the steps before it have staged, and leaves the machine alone.
    fn stage(&mut self, task: &Task<()>, work: &dyn Work, id: u64) -> Reply {
        let under: Arc<dyn System> = match task.pass {
            Pass::Plan => self.plan.clone(),
            Pass::Apply => self.veil.clone(),
        };
        let mut open = match self.bracket.take() {
            Some(open) if open.id == id => open,
            _ => Open {
                id,
                steps: 0,
                overlay: Arc::new(Overlay::new(under)),
                unsure: None,
            },
        };
        open.steps += 1;
        let mark = open.overlay.mark();
        let mut reply = self.run(task, work, Some(&open.overlay));
        let unknown = match &reply {
            Reply::Outcome(outcome) => match &outcome.status {
                Status::Unknown(reason) => Some(reason.clone()),
                _ => None,
            },
            _ => None,
        };
        let acts = open.overlay.since(mark).into_iter().find_map(|change| match change {
            Recorded::Act(argv, _) => Some(format!("it runs `{}`", argv.join(" "))),
            Recorded::Unforeseen(reason) => Some(format!("it {reason}")),
            _ => None,
        });
        match (acts, unknown) {
            (Some(acts), _) => {
                let message = format!("{acts}, which cannot be staged: a transaction holds files alone");
                reply = Reply::Failed(failure(message));
            }
            (None, Some(reason)) if task.pass == Pass::Apply => {
                let message = format!("what it leaves is not known before it is applied, so it cannot be staged: {reason}");
                reply = Reply::Failed(failure(message));
            }
            (None, unknown) => open.unsure = open.unsure.or(unknown),
        }
        if matches!(reply, Reply::Failed(_)) && let Err(error) = open.overlay.back_to(mark) {
            open.unsure.get_or_insert(error.to_string());
        }
        self.bracket = Some(open);
        reply
    }

    fn run(&self, task: &Task<()>, work: &dyn Work, staged: Option<&Arc<Overlay>>) -> Reply {
        let end = match task.pass {
            Pass::Plan => match &self.unfit {
                Some(reason) => Err(failure(format!(
                    "what was predicted elsewhere does not fit this machine: {reason}"
                ))),
                None => self.plan(task, work, staged),
            },
            Pass::Apply => self.apply(task, work, staged),
        };
        match end {
            Ok(outcome) => Reply::Outcome(Box::new(outcome)),
            Err(failure) => Reply::Failed(failure),
        }
    }

    fn plan(
        &self,
        task: &Task<()>,
        work: &dyn Work,
        staged: Option<&Arc<Overlay>>,
    ) -> Result<Outcome, Box<Failure>> {
        let world = staged.unwrap_or(&self.plan).clone();
        self.witness.watch(true);
        let end = work.converge(&with_env(world, &task.env), task.expect);
        self.witness.watch(false);
        match (end, self.plan.unforeseen()) {
            (Err(failure), Some(reason)) if may_pass(&failure) => Ok(Outcome::unknown(format!(
                "{}; an earlier step may change that: it {reason}",
                failure.message
            ))),
            (end, _) => end,
        }
    }

    fn apply(
        &self,
        task: &Task<()>,
        work: &dyn Work,
        staged: Option<&Arc<Overlay>>,
    ) -> Result<Outcome, Box<Failure>> {
        let machine: Arc<dyn System> = match staged {
            Some(overlay) => overlay.clone(),
            None => self.veil.clone(),
        };
        let world = Watchful {
            under: with_env(machine.clone(), &task.env),
            witness: self.witness.clone(),
            moved: Mutex::default(),
        };
        let outcome = work.converge(&world, task.expect)?;
        if !task.verify || outcome.status == Status::Same {
            return Ok(outcome);
        }
        let again = work
            .converge(&with_env(Arc::new(Overlay::new(machine)), &task.env), None)?;
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

/// A machine on which a step that has looked at something that moved since the plan changes nothing.
struct Watchful {
    under: WithEnv,
    witness: Arc<Witness>,
    moved: Mutex<Option<AbsPath>>,
}

impl Watchful {
    fn sees(&self, path: &AbsPath) {
        if self.witness.has_moved(path) {
            *self.moved.lock().unwrap_or_else(PoisonError::into_inner) = Some(path.clone());
        }
    }

    fn may(&self) -> Result<&WithEnv, SystemError> {
        match &*self.moved.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(path) => Err(SystemError::Moved(path.to_string())),
            None => Ok(&self.under),
        }
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
        self.may()?.write(file)
    }

    fn make(&self, path: &AbsPath, kind: &Make) -> Result<(), SystemError> {
        self.may()?.make(path, kind)
    }

    fn alter(&self, path: &AbsPath, change: &Alter) -> Result<(), SystemError> {
        self.may()?.alter(path, change)
    }

    fn remove(&self, path: &AbsPath, how: Removal) -> Result<(), SystemError> {
        self.may()?.remove(path, how)
    }

    fn act(&self, action: &Action) -> Result<Answer, SystemError> {
        self.may()?.act(action)
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
                within: None,
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
            within: None,
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
