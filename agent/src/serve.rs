//! One session of the agent: requests in, answers out, in order; the end of the input is the end of the session.

mod env;
mod watchful;

use crate::Turn;
use crate::diff::{Change, Sign, TextKind};
use crate::inbox::{Inbox, Stop};
use crate::ledger::{Debt, Ledger, Owing, lock};
use crate::resource::{Failure, Kind, Outcome, Status, verified};
use crate::system::cached::Cached;
use crate::system::guard::{self, Guarded, Post, Risk};
use crate::system::journal::Journal;
use crate::system::overlay::{Overlay, Recorded};
use crate::system::veil::Veil;
use crate::system::witness::Witness;
use crate::system::{Answer, System, SystemError};
use crate::wire::{self, BUILD, Begin, Pass, Reply, Request, Response, Task};
use env::WithEnv;
use serde::Serialize;
use std::collections::HashSet;
use std::io::{self, ErrorKind, Read, Write};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use watchful::Watchful;

/// How long a run whose link was ended may take to let the machine go.
const LETS_GO: Duration = Duration::from_secs(10);

/// Serves one session on a machine: [`Response::Hello`] first, then an answer to each step until `reader` ends. When it
/// ends, the step that runs is finished if it has changed anything, and no other is begun; the sessions that come meanwhile
/// wait for it, by `turn`, and for what [`guard`] may still put back.
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
    let mut session = Session::new(machine.clone(), stop.clone());
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
    if let Some(claim) = machine.claimed() {
        wire::send(writer, &Response::Taken(claim))?;
    }
    let (own, held) = (turn.clone(), machine.clone());
    let inbox = Inbox::fill(reader, stop.clone(), move || own.cut(|| held.unclaim()))?;
    let mut told = Ok(());
    let mut tell = |text: &str| told = wire::send(writer, &Response::Waits(text.to_owned()));
    turn.others_end(|| tell("a step of another run is still being done there"));
    guard::others_decided(machine.as_ref(), &stop, || tell(guard::OTHERS));
    told?;
    session.turn = turn;
    let end = work(&mut session, &inbox, writer);
    session.close();
    end
}

/// Until nobody asks any more, or nobody hears.
fn work(session: &mut Session, inbox: &Inbox, writer: &mut impl Write) -> io::Result<()> {
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
        session.note(Duration::from_secs(u64::from(!inbox.is_empty())));
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

    /// See [`crate::resource::Resource::risks`].
    fn risks(&self) -> Vec<Risk> {
        Vec::new()
    }

    /// The run that it takes back, by its name in the ledger.
    fn undoes(&self) -> Option<u64> {
        None
    }

    /// What it asks for, as bytes that are the same for the same wish of the same build.
    fn wish(&self) -> Vec<u8> {
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

    fn risks(&self) -> Vec<Risk> {
        Kind::risks(self)
    }

    fn wish(&self) -> Vec<u8> {
        postcard::to_stdvec(self).unwrap_or_default()
    }
}

/// The worlds of a session: the machine, and its prediction for plans.
pub struct Session {
    machine: Arc<dyn System>,
    journal: Arc<Journal>,
    witness: Arc<Witness>,
    veil: Arc<Veil>,
    plan: Arc<Overlay>,
    ledger: Arc<Mutex<Ledger>>,
    post: Arc<Post>,
    /// Steps that failed or were held.
    failed: HashSet<u64>,
    stop: Stop,
    turn: Turn,
    /// The transaction whose steps are worked on.
    bracket: Option<Open>,
    /// Why no plan can be made, where what another session predicted does not fit this machine.
    unfit: Option<String>,
    /// The run that what is applied is a part of.
    run: Option<Begin>,
    /// Whether the machine is the run's, or cannot be taken.
    owned: bool,
    /// What the next change has to be told with.
    notes: Vec<String>,
    /// When the ledger was last written, if there was anything to write.
    kept: Instant,
}

/// A transaction that is not committed yet.
struct Open {
    /// Names it.
    id: u64,
    /// What its steps have staged.
    overlay: Arc<Overlay>,
    /// Why not all of that is known.
    unsure: Option<String>,
}

impl Session {
    /// A session on a machine, which begins no step once `stop` is set.
    #[must_use]
    pub fn new(machine: Arc<dyn System>, stop: Stop) -> Self {
        let ledger = Arc::new(Mutex::new(Ledger::new(machine.clone())));
        let journal = Arc::new(Journal::new(machine.clone()));
        let witness = Arc::new(Witness::new(journal.clone()));
        let veil = Arc::new(Veil::new(Arc::new(Cached::new(witness.clone()))));
        let plan = Arc::new(Overlay::new(veil.clone()));
        Session {
            machine,
            journal,
            witness,
            veil,
            plan,
            ledger,
            post: Arc::default(),
            failed: HashSet::new(),
            stop,
            turn: Turn::default(),
            bracket: None,
            unfit: None,
            run: None,
            owned: false,
            notes: Vec::new(),
            kept: Instant::now(),
        }
    }

    /// What the machine's ledger says is owed there, and what is wrong with it.
    #[must_use]
    pub fn owed(&self) -> (Vec<Debt>, Vec<String>) {
        let mut ledger = lock(&self.ledger);
        (ledger.debts().to_vec(), ledger.complaints())
    }

    /// The session is at its end: what was changed is written into the machine's ledger.
    pub fn close(&mut self) {
        drop(lock(&self.ledger).keep(false));
        self.kept = Instant::now();
    }

    /// Between two steps: a session that is killed loses no more of what it has to write than what is younger than this.
    /// What a transaction has only staged waits for its end.
    pub fn note(&mut self, age: Duration) {
        if self.bracket.is_none() && self.kept.elapsed() >= age {
            self.close();
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
            Request::Guard(script) => self.post.learn(script),
            Request::Begin(run) => return self.begin(run),
            Request::Stop => self.stop.set(),
            // What cannot be written is found anew, and what cannot be forgotten is paid once more.
            Request::Settle(ids) => drop(lock(&self.ledger).settle(&ids)),
            Request::Keep => drop(lock(&self.ledger).keep(true)),
            Request::Release(things, playbooks) => drop(lock(&self.ledger).release(&things, &playbooks)),
            Request::Ledger => return Some(Response::Ledger(lock(&self.ledger).rows())),
            Request::Task(task) => return Some(self.step(*task)),
            Request::Commit(mut task) => {
                if let Some(open) = self.bracket.take().filter(|open| Some(open.id) == task.within) {
                    task.kind.unsure = task.kind.unsure.or_else(|| open.unsure.clone());
                    task.kind.bracket.staged = Some(open.overlay.clone());
                    self.bracket = (task.pass == Pass::Look).then_some(open);
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

    /// Where the run waits for another one, that one is told at once.
    fn begin(&mut self, run: Begin) -> Option<Response> {
        self.owned = false;
        self.journal.begin(&run.claim.run);
        let waits = run.alone.is_some_and(|seconds| seconds > 0);
        let end = waits.then(|| self.machine.claim(&run.claim));
        self.run = Some(run);
        match end {
            Some(Err(SystemError::Busy { by })) => Some(Response::Taken(*by)),
            _ => None,
        }
    }

    /// Takes the machine for the run, once; waits where another has it and that was asked for.
    fn own(&mut self) -> Result<(), SystemError> {
        let Some((run, seconds)) = self.run.as_ref().and_then(|run| Some((run, run.alone?))) else {
            return Ok(());
        };
        let mut deadline = Instant::now() + Duration::from_secs(seconds);
        let mut hung_up = false;
        while !self.owned {
            match self.machine.claim(&run.claim) {
                Ok(cannot) => {
                    self.notes.extend(cannot);
                    self.owned = true;
                    self.turn.if_cut(|| self.machine.unclaim());
                }
                Err(SystemError::Busy { by }) if !hung_up && run.over.contains(&by.run) => {
                    hung_up = true;
                    if self.machine.hang_up(&by.run) {
                        deadline = deadline.max(Instant::now() + LETS_GO);
                        let note = "which is over, had this machine still, which had not noticed; its link was ended";
                        self.notes.push(format!("run {}, {note}", by.run));
                    }
                }
                Err(SystemError::Busy { .. }) if Instant::now() < deadline && !self.stop.is_set() => {
                    std::thread::sleep(Duration::from_millis(200));
                }
                // One that was cut off a moment ago lets go when its step has ended.
                Err(SystemError::Busy { .. }) if self.turn.others_end(|| ()) => {
                    deadline = Instant::now() + Duration::from_secs(5);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
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
        let mut reply = if self.stop.is_set() || task.after.iter().any(|id| self.failed.contains(id)) {
            Reply::Held
        } else {
            match task.within {
                Some(id) => self.stage(task, work, id),
                None => self.run(task, work, None),
            }
        };
        if !(matches!(reply, Reply::Outcome(_)) || task.kept && reply.is_stale()) {
            self.failed.insert(task.id);
        }
        if !task.kept {
            reply.forget_seen();
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
            Pass::Apply | Pass::Look => self.veil.clone(),
        };
        let mut open = match self.bracket.take() {
            Some(open) if open.id == id => open,
            _ => Open {
                id,
                overlay: Arc::new(Overlay::new(under)),
                unsure: None,
            },
        };
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
                let message =
                    format!("what it leaves is not known before it is applied, so it cannot be staged: {reason}");
                reply = Reply::Failed(failure(message));
            }
            (None, unknown) => open.unsure = open.unsure.or(unknown),
        }
        if matches!(reply, Reply::Failed(_))
            && let Err(error) = open.overlay.back_to(mark)
        {
            open.unsure.get_or_insert(error.to_string());
        }
        self.bracket = Some(open);
        reply
    }

    fn run(&mut self, task: &Task<()>, work: &dyn Work, staged: Option<&Arc<Overlay>>) -> Reply {
        let end = match task.pass {
            Pass::Plan => match &self.unfit {
                Some(reason) => Err(failure(format!(
                    "what was predicted elsewhere does not fit this machine: {reason}"
                ))),
                None => self.plan(task, work, staged),
            },
            Pass::Apply => {
                self.journal.hide(task.hidden);
                self.own()
                    .map_err(|error| Box::new(error.into()))
                    .and_then(|()| self.apply(task, work, staged))
            }
            Pass::Look => work.converge(&WithEnv::new(fresh(self.machine(staged)), &task.env), None),
        };
        match end {
            Ok(mut outcome) if task.pass == Pass::Apply && outcome.status == Status::Changed => {
                self.notes.extend(self.journal.notes());
                outcome.notes.append(&mut self.notes);
                Reply::Outcome(Box::new(outcome))
            }
            Ok(outcome) => Reply::Outcome(Box::new(outcome)),
            Err(failure) => Reply::Failed(failure),
        }
    }

    /// A world as the step sees it, under guard where that was asked for.
    fn guarded(
        &self,
        task: &Task<()>,
        work: &dyn Work,
        under: Arc<dyn System>,
    ) -> (Arc<dyn System>, Option<Arc<Guarded>>) {
        let Some(guard) = task.guard.clone().filter(|_| task.within.is_none()) else {
            return (under, None);
        };
        let guarded = Arc::new(Guarded::new(under, self.post.clone(), guard, work.risks()));
        (guarded.clone(), Some(guarded))
    }

    fn plan(&self, task: &Task<()>, work: &dyn Work, staged: Option<&Arc<Overlay>>) -> Result<Outcome, Box<Failure>> {
        let world = staged.unwrap_or(&self.plan).clone();
        self.witness.watch(true);
        let (world, guarded) = self.guarded(task, work, world);
        let end = work.converge(&WithEnv::new(world, &task.env), task.expect);
        let end = told(end, guarded.as_deref());
        self.witness.watch(false);
        let end = end.map(|outcome| self.noted(task, work, outcome));
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

    fn apply(&self, task: &Task<()>, work: &dyn Work, staged: Option<&Arc<Overlay>>) -> Result<Outcome, Box<Failure>> {
        let machine = self.machine(staged);
        let (guarded_machine, guarded) = self.guarded(task, work, machine.clone());
        let world = Watchful {
            under: WithEnv::new(guarded_machine, &task.env),
            witness: self.witness.clone(),
            turn: self.turn.clone(),
            moved: Mutex::default(),
            owing: Owing::new(self.ledger.clone(), task.note.owes.clone()),
        };
        let outcome = told(work.converge(&world, task.expect), guarded.as_deref());
        self.turn.give();
        let outcome = world
            .owing
            .ended(outcome)
            .and_then(|outcome| self.verified(task, work, &machine, outcome))
            .map(|outcome| self.noted(task, work, outcome))?;
        drop(lock(&self.ledger).settle(&task.note.settles));
        Ok(outcome)
    }

    /// What a step has found or done goes into the machine's ledger, and what that knows into the outcome.
    fn noted(&self, task: &Task<()>, work: &dyn Work, mut outcome: Outcome) -> Outcome {
        if let Some(run) = work.undoes().filter(|_| task.pass == Pass::Apply) {
            drop(lock(&self.ledger).taken_back(run));
        }
        let managed = &task.note.managed;
        if managed.is_empty() {
            return outcome;
        }
        let wish = self.veil.reveal(&work.wish());
        let mut ledger = lock(&self.ledger);
        match (&outcome.status, task.pass) {
            (Status::Same, _) => ledger.found(managed, &wish),
            (Status::Changed, Pass::Plan | Pass::Look) => outcome.stand = ledger.stand(managed, &wish),
            (Status::Changed, Pass::Apply) => ledger.left(managed, &wish, made(&outcome.diff)),
            (Status::Unknown(_), _) => {}
        }
        outcome
    }

    fn verified(
        &self,
        task: &Task<()>,
        work: &dyn Work,
        machine: &Arc<dyn System>,
        outcome: Outcome,
    ) -> Result<Outcome, Box<Failure>> {
        if !task.verify || outcome.status == Status::Same {
            return Ok(outcome);
        }
        let again = work.converge(&WithEnv::new(fresh(machine.clone()), &task.env), None)?;
        verified(outcome, again)
    }

    /// The machine, with what the transaction has staged.
    fn machine(&self, staged: Option<&Arc<Overlay>>) -> Arc<dyn System> {
        match staged {
            Some(overlay) => overlay.clone(),
            None => self.veil.clone(),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.post.leave(self.veil.as_ref());
    }
}

/// A prediction that starts at what a machine is now.
fn fresh(machine: Arc<dyn System>) -> Arc<Overlay> {
    Arc::new(Overlay::new(machine))
}

/// An end that also says how the step was guarded.
fn told(mut end: Result<Outcome, Box<Failure>>, guarded: Option<&Guarded>) -> Result<Outcome, Box<Failure>> {
    let Some((state, sentence)) = guarded.and_then(Guarded::told) else {
        return end;
    };
    let result = match &mut end {
        Ok(outcome) => {
            outcome.notes.push(sentence);
            &mut outcome.result
        }
        Err(failure) => &mut failure.result,
    };
    result.insert(guard::KEY.to_owned(), state);
    end
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

/// Whether something was made that was not there before in any form.
fn made(diff: &[Change]) -> bool {
    let comes = |change: &Change| match change {
        Change::Text(text) => text.kind == TextKind::New,
        Change::Item { sign, .. } => *sign == Sign::Added,
        Change::Field { .. } | Change::Act(_) => false,
    };
    let goes = |change: &Change| {
        matches!(
            change,
            Change::Item {
                sign: Sign::Removed,
                ..
            }
        )
    };
    diff.iter().any(comes) && !diff.iter().any(goes)
}

fn failure(message: String) -> Box<Failure> {
    Box::new(Failure {
        message,
        ..Failure::default()
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use crate::ledger::{Managed, Thing};
    use crate::path::AbsPath;
    use crate::resource::Kind;
    use crate::system::fake::Fake;
    use crate::system::{Action, Alter, Entry, FileKind, FileWrite, Make, Meta, Probe, Removal};
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
                within: None,
                guard: None,
                hidden: false,
                kept: false,
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
            within: None,
            guard: None,
            hidden: false,
            kept: false,
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
    fn what_a_step_has_made_is_remembered_also_when_nobody_hears_of_it() {
        /// Says no more, and stays.
        struct Hold;
        impl Read for Hold {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                loop {
                    std::thread::park();
                }
            }
        }
        /// Hears the greeting and no more.
        struct Deaf(bool);
        impl Write for Deaf {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                if self.0 {
                    Err(ErrorKind::BrokenPipe.into())
                } else {
                    Ok(bytes.len())
                }
            }
            fn flush(&mut self) -> io::Result<()> {
                self.0 = true;
                Ok(())
            }
        }
        let managed = Managed {
            run: 1,
            playbook: "site.yaml".to_owned(),
            host: String::new(),
            step: "Config".to_owned(),
            place: "site.yaml:3".to_owned(),
        };
        let mut made = task(1, "copy", &[("dest", "/etc/x"), ("content", "x")], Pass::Apply);
        if let Request::Task(task) = &mut made {
            task.note.managed = vec![managed.row(Thing::new(Thing::PATH, "/etc/x"))];
        }
        let machine = Arc::new(Fake::new());
        let frames = io::Cursor::new(wire::encode(&made).unwrap()).chain(Hold);
        let end = serve(machine.clone(), 0, Turn::default(), frames, &mut Deaf(false));
        assert_eq!(end.unwrap_err().kind(), ErrorKind::BrokenPipe);
        let [row] = Ledger::new(machine).rows().try_into().unwrap();
        assert!(crate::ledger::Entry::from(row).created);
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
