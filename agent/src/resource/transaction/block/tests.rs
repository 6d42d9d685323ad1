//! A block's steps and its commit in a session, on a machine that can be made to fail at each point.
#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;
use crate::inbox::Stop;
use crate::resource::layout::Family;
use crate::resource::transaction::set::keep;
use crate::resource::transaction::tests::Rig;
use crate::secret::{Secret, Secrets};
use crate::serve::Session;
use crate::system::Answer;
use crate::system::fake::Fake;
use crate::wire::{Pass, Reply, Request, Response, Task};

const CONF: &str = "/etc/toy.conf";
const PART: &str = "/etc/toy/one.part";

/// A session, and the block that is worked on in it.
struct Run {
    session: Session,
    count: u64,
    first: u64,
}

impl Run {
    fn new(rig: &Arc<Rig>) -> Self {
        let session = Session::new(rig.clone(), Stop::default());
        Run { session, count: 0, first: 0 }
    }

    fn task<K>(&mut self, kind: K, pass: Pass) -> Task<K> {
        self.count += 1;
        Task {
            id: self.count,
            after: (self.first..self.count).collect(),
            kind,
            pass,
            expect: None,
            env: Vec::new(),
            verify: true,
            within: Some(self.first),
        }
    }

    fn say(&mut self, request: Request) -> Reply {
        match self.session.answer(request) {
            Some(Response::Done { reply, .. }) => reply,
            other => panic!("{other:?}"),
        }
    }

    fn step(&mut self, kind: Kind, pass: Pass) -> Reply {
        let task = self.task(kind, pass);
        self.say(Request::Task(Box::new(task)))
    }

    fn commit(&mut self, mut commit: Commit, pass: Pass) -> Reply {
        commit.steps = u32::try_from(self.count - self.first).unwrap();
        let task = self.task(commit, pass);
        self.say(Request::Commit(Box::new(task)))
    }

    /// A whole block.
    fn block(&mut self, steps: &[Kind], pass: Pass) -> Reply {
        self.count += 1;
        self.first = self.count;
        for kind in steps {
            let reply = self.step(kind.clone(), pass);
            assert!(matches!(reply, Reply::Outcome(_)), "{reply:?}");
        }
        self.commit(commit(), pass)
    }
}

fn kind(name: &str, args: &[(&str, &str)]) -> Kind {
    let args = args.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
    Kind::decode(name, &args).unwrap().unwrap()
}

fn copy(path: &str, text: &str) -> Kind {
    kind("copy", &[("dest", path), ("content", text)])
}

fn two(text: &str) -> [Kind; 2] {
    [copy(CONF, text), copy(PART, text)]
}

fn commit() -> Commit {
    Commit {
        name: "Toy".to_owned(),
        check: vec![["toy-check", "-t", "{stage}"].map(str::to_owned).to_vec()],
        reload: vec![kind("service", &[("name", "toy"), ("state", "reloaded")])],
        probe: vec![kind("probe", &[("tcp", "127.0.0.1:80"), ("retries", "0")])],
        unsure: None,
        steps: 0,
        bracket: Bracket::default(),
    }
}

fn host() -> Rig {
    let rig = Rig::new(Family::El, true);
    rig.file(CONF, "old\n");
    rig.make(&AbsPath::new("/etc/toy").unwrap(), &Make::Directory { mode: 0o755 }).unwrap();
    rig.file("/etc/toy/other.part", "other\n");
    rig.file("/usr/bin/x", "");
    rig.file("/var/lib/x", "");
    rig
}

fn mark() -> AbsPath {
    owed_mark(&commit().service())
}

fn outcome(reply: Reply) -> Outcome {
    match reply {
        Reply::Outcome(outcome) => *outcome,
        other => panic!("{other:?}"),
    }
}

fn failure(reply: Reply) -> Failure {
    match reply {
        Reply::Failed(failure) => *failure,
        other => panic!("{other:?}"),
    }
}

fn untouched(rig: &Rig) {
    assert_eq!(rig.text(CONF).unwrap(), "old\n");
    assert_eq!(rig.text(PART), None);
    assert_eq!(rig.text(mark().as_str()), None);
}

#[test]
fn a_block_is_planned_put_in_place_told_and_then_done() {
    let rig = Arc::new(host());
    let mut run = Run::new(&rig);
    let planned = outcome(run.block(&two("new\n"), Pass::Plan));
    untouched(&rig);
    assert_eq!(planned.status, Status::Changed);
    assert_eq!(planned.diff, [Change::Act("reload toy".to_owned())]);
    assert_eq!(
        planned.notes,
        [
            "checked before anything is swapped: toy-check -t {stage}",
            "asked afterwards: TCP 127.0.0.1:80",
            "the old set is put back when any of that fails"
        ]
    );
    let later = kind("lineinfile", &[("path", PART), ("line", "new")]);
    let later = outcome(run.task(later, Pass::Plan).alone_outside(&mut run));
    assert_eq!(later.status, Status::Same, "what a block leaves is seen by what stands behind it");

    let applied = outcome(run.block(&two("new\n"), Pass::Apply));
    assert_eq!(applied.diff, planned.diff);
    assert_eq!(applied.result["files"], Value::from(vec![CONF.to_owned(), PART.to_owned()]));
    assert_eq!([rig.text(CONF), rig.text(PART)], [Some("new\n".to_owned()), Some("new\n".to_owned())]);
    assert_eq!(rig.acts(), ["reload toy.service"]);
    assert_eq!(rig.text(mark().as_str()), None);

    let again = outcome(Run::new(&rig).block(&two("new\n"), Pass::Apply));
    assert_eq!(again.status, Status::Same);
    assert_eq!(rig.acts(), ["reload toy.service"]);
}

#[test]
fn what_the_checker_refuses_is_refused_in_the_plan_and_nothing_is_swapped() {
    let rig = Arc::new(Rig { refuses: Some("bad"), ..host() });
    for pass in [Pass::Plan, Pass::Apply] {
        let mut run = Run::new(&rig);
        let failure = failure(run.block(&two("fine\nbad line\n"), pass));
        assert_eq!(
            failure.message,
            "toy-check refuses the new files: /etc/toy.conf:2: it is bad\n  2 | bad line"
        );
        assert_eq!(failure.answer.unwrap().error_text(), "/etc/toy.conf:2: it is bad\n");
        assert_eq!(failure.argv, ["toy-check", "-t", "{stage}"]);
        assert_eq!(
            failure.kept,
            "nothing was swapped: the old configuration is in place and toy is running on it"
        );
        assert_eq!(failure.diff.len(), 2);
        untouched(&rig);
        assert!(rig.acts().is_empty());
        let plan = outcome(run.task(copy(CONF, "old\n"), Pass::Plan).alone_outside(&mut run));
        assert_eq!(plan.status, Status::Same, "a refused set is not predicted either");
    }
}

#[test]
fn a_swap_that_fails_in_the_middle_is_taken_back_and_nobody_is_told() {
    let rig = Arc::new(host());
    *rig.stuck.lock().unwrap() = Some("two\n");
    let failure = failure(Run::new(&rig).block(&[copy(CONF, "one\n"), copy(PART, "two\n")], Pass::Apply));
    assert_eq!(failure.message, "write /etc/toy/one.part: No space left on device");
    assert_eq!(failure.kept, "the old set was put back");
    assert_eq!(failure.diff.len(), 2);
    untouched(&rig);
    assert!(rig.acts().is_empty());
}

#[test]
fn a_reload_that_fails_brings_the_old_set_back() {
    let rig = Arc::new(Rig { fails: Some("new"), ..host() });
    let failure = failure(Run::new(&rig).block(&two("new\n"), Pass::Apply));
    assert_eq!(failure.message, "reload: systemctl: Job failed.");
    assert_eq!(failure.kept, "the old set was put back and toy is running on it");
    assert_eq!(failure.journal, ["first words", "last words"]);
    untouched(&rig);
    assert_eq!(rig.acts(), ["reload toy.service", "reload toy.service"]);
}

#[test]
fn a_probe_that_fails_brings_the_old_set_back() {
    let rig = Arc::new(host());
    *rig.closed.lock().unwrap() = true;
    let failure = failure(Run::new(&rig).block(&two("new\n"), Pass::Apply));
    assert_eq!(failure.message, "probe: asked TCP 127.0.0.1:80: wanted open, came closed");
    assert_eq!(failure.kept, "the old set was put back and toy is running on it");
    assert_eq!(failure.journal, ["first words", "last words"]);
    assert_eq!(failure.diff.len(), 2);
    untouched(&rig);
    assert_eq!(rig.acts(), ["reload toy.service", "reload toy.service"]);
}

#[test]
fn a_service_that_did_not_run_before_is_stopped_again() {
    let rig = Arc::new(host());
    *rig.unit.lock().unwrap() = (false, false);
    *rig.closed.lock().unwrap() = true;
    let failure = failure(Run::new(&rig).block(&two("new\n"), Pass::Apply));
    assert_eq!(failure.kept, "the old set was put back; toy did not run before and does not now");
    untouched(&rig);
    assert_eq!(rig.acts(), ["start toy.service", "stop toy.service"]);
}

#[test]
fn where_putting_back_fails_too_it_is_said_what_is_where_and_the_next_run_has_the_old_set() {
    let rig = Arc::new(Rig { fails: Some("new"), ..host() });
    *rig.stuck.lock().unwrap() = Some("old\n");
    let failed = failure(Run::new(&rig).block(&two("new\n"), Pass::Apply));
    assert_eq!(failed.message, "reload: systemctl: Job failed.");
    let expected = format!(
        "PUTTING THE OLD SET BACK FAILED TOO: of 2 paths these do not hold the old content: /etc/toy.conf (write \
         /etc/toy.conf: No space left on device); all others do. {} keeps the whole old set, and the next run takes it up",
        mark()
    );
    assert_eq!(failed.kept, expected);
    assert_eq!([rig.text(CONF), rig.text(PART)], [Some("new\n".to_owned()), None]);
    let held = kept_text(&rig);
    assert!(held.contains("f 644 root root /etc/toy.conf\nold\n"), "{held}");

    // The next run fails as well: what it puts back is what the first one found.
    *rig.stuck.lock().unwrap() = None;
    let failed = failure(Run::new(&rig).block(&two("new\n"), Pass::Apply));
    assert_eq!(failed.kept, "the old set was put back and toy is running on it");
    untouched(&rig);
}

fn kept_text(rig: &Rig) -> String {
    rig.text(mark().as_str()).unwrap()
}

#[test]
fn a_service_that_does_not_run_on_the_old_set_either_is_told_again_by_the_next_run() {
    let rig = Arc::new(Rig { fails: Some("\n"), ..host() });
    let failed = failure(Run::new(&rig).block(&two("new\n"), Pass::Apply));
    assert_eq!(
        failed.kept,
        "THE OLD SET WAS PUT BACK, BUT ITS SERVICE DOES NOT RUN ON IT: reload: systemctl: Job failed.; \
         the next run tells it again"
    );
    assert_eq!([rig.text(CONF), rig.text(PART)], [Some("old\n".to_owned()), None]);
    assert!(rig.text(mark().as_str()).is_some());
}

#[test]
fn a_run_that_was_cut_is_taken_up_by_the_next_one() {
    let cut = |fails| {
        let rig = Arc::new(Rig { fails, ..host() });
        let old: Files = vec![
            (AbsPath::new(CONF).unwrap(), Some(Content::file(b"old\n".to_vec(), 0o644, "root", "root"))),
            (AbsPath::new(PART).unwrap(), None),
        ];
        keep(&mark(), &old, rig.as_ref()).unwrap();
        rig.file(CONF, "new\n");
        rig
    };
    // In the middle of the swap.
    let rig = cut(None);
    let planned = outcome(Run::new(&rig).block(&two("new\n"), Pass::Plan));
    assert!(planned.notes[0].contains("an earlier run was cut"), "{:?}", planned.notes);
    let done = outcome(Run::new(&rig).block(&two("new\n"), Pass::Apply));
    assert_eq!(done.diff, [Change::Act("reload toy".to_owned())]);
    assert_eq!([rig.text(CONF), rig.text(PART)], [Some("new\n".to_owned()), Some("new\n".to_owned())]);
    assert_eq!((rig.text(mark().as_str()), rig.acts()), (None, vec!["reload toy.service".to_owned()]));
    // Behind it, before the service was told: no step has anything to do.
    let rig = cut(None);
    rig.file(PART, "new\n");
    let done = outcome(Run::new(&rig).block(&two("new\n"), Pass::Apply));
    assert_eq!(done.status, Status::Changed);
    assert_eq!((rig.text(mark().as_str()), rig.acts()), (None, vec!["reload toy.service".to_owned()]));
    // The next run fails: what the first one found comes back, and not what it left.
    let rig = cut(Some("new"));
    let failed = failure(Run::new(&rig).block(&two("new\n"), Pass::Apply));
    assert_eq!(failed.kept, "the old set was put back and toy is running on it");
    untouched(&rig);
}

#[test]
fn a_step_that_fails_leaves_the_machine_alone() {
    let rig = Arc::new(host());
    let mut run = Run::new(&rig);
    run.count = 1;
    run.first = 1;
    outcome(run.step(copy(CONF, "new\n"), Pass::Apply));
    failure(run.step(kind("lineinfile", &[("path", "/etc/none"), ("line", "x")]), Pass::Apply));
    assert_eq!(run.commit(commit(), Pass::Apply), Reply::Held);
    untouched(&rig);
    assert!(rig.acts().is_empty());
}

#[test]
fn what_does_more_than_write_files_fails_before_anything_is_changed() {
    let rig = Arc::new(host());
    for pass in [Pass::Plan, Pass::Apply] {
        let mut run = Run::new(&rig);
        run.first = 1;
        run.count = 1;
        let step = kind("service", &[("name", "toy"), ("state", "restarted")]);
        let failed = failure(run.step(step, pass));
        assert_eq!(
            failed.message,
            "it runs `systemctl restart toy.service`, which cannot be staged: a transaction holds files alone"
        );
        let failed = failure(run.task(kind("command", &[("cmd", "make install")]), pass).alone(&mut run));
        assert!(failed.message.starts_with("it runs `make install`, which cannot be staged"), "{}", failed.message);
        // Where those failures do not matter, what the others have staged is put in place.
        outcome(run.task(copy(CONF, "new\n"), pass).alone(&mut run));
        let mut task = run.task(Commit { steps: 3, ..commit() }, pass);
        task.after.clear();
        let done = outcome(run.say(Request::Commit(Box::new(task))));
        assert_eq!(done.result["files"], Value::from(vec![CONF.to_owned()]));
        assert!(pass == Pass::Apply || rig.text(CONF).unwrap() == "old\n");
    }
    assert_eq!(rig.text(CONF).unwrap(), "new\n");
    assert_eq!(rig.acts(), ["reload toy.service"]);
}

impl Task {
    /// Done, whatever failed before it.
    fn alone(mut self, run: &mut Run) -> Reply {
        self.after.clear();
        run.say(Request::Task(Box::new(self)))
    }
}

#[test]
fn folders_links_attributes_and_removals_are_part_of_a_set_and_come_back() {
    let machine = |rc| {
        let fake = Fake::new()
            .file(CONF, "old\n")
            .file("/etc/toy/deep/one", "1\n")
            .file("/etc/toy/two", "2\n")
            .owned("/etc/toy/two", 0o640, "root", "root")
            .link("/etc/turns", "toy.conf")
            .command(&["timeout"], Answer::status(rc));
        Arc::new(fake)
    };
    let steps = [
        kind("file", &[("path", "/etc/toy"), ("state", "absent")]),
        kind("file", &[("path", "/etc/new/deep"), ("state", "directory"), ("mode", "0700")]),
        copy("/etc/new/deep/file", "text\n"),
        kind("file", &[("path", "/etc/link"), ("state", "link"), ("src", "/etc/new")]),
        copy("/etc/turns", "into a file\n"),
        kind("file", &[("path", CONF), ("mode", "0600")]),
    ];
    let paths = [
        "/etc/link",
        "/etc/new",
        "/etc/new/deep",
        "/etc/new/deep/file",
        "/etc/toy",
        CONF,
        "/etc/toy/deep",
        "/etc/toy/deep/one",
        "/etc/toy/two",
        "/etc/turns",
    ];
    let seen = |fake: &Fake| paths.map(|path| Content::look(&AbsPath::new(path).unwrap(), fake).unwrap());
    let silent = || Commit { check: Vec::new(), reload: Vec::new(), ..commit() };
    let through = |fake: &Arc<Fake>, pass| {
        let mut run = Run { session: Session::new(fake.clone(), Stop::default()), count: 1, first: 1 };
        let all: Vec<Reply> = steps.iter().map(|step| run.step(step.clone(), pass)).collect();
        assert!(all.iter().all(|reply| matches!(reply, Reply::Outcome(_))), "{all:?}");
        run.commit(silent(), pass)
    };

    let closed = machine(1);
    let old = seen(&closed);
    let failed = failure(through(&closed, Pass::Apply));
    assert_eq!(failed.kept, "the old set was put back");
    assert_eq!(seen(&closed), old);

    let open = machine(0);
    outcome(through(&open, Pass::Plan));
    assert_eq!(seen(&open), old, "a plan touches nothing");
    let done = outcome(through(&open, Pass::Apply));
    let mut sorted = paths.map(|path| AbsPath::new(path).unwrap());
    sorted.sort_unstable();
    assert_eq!(done.result["files"], Value::from(sorted.map(|path| path.to_string()).to_vec()));
    let now = seen(&open);
    let kinds = now.each_ref().map(|content| content.as_ref().map(|content| content.kind));
    use FileKind::{Directory, File, Link};
    let expected = [Some(Link), Some(Directory), Some(Directory), Some(File), None, Some(File), None, None, None, Some(File)];
    assert_eq!(kinds, expected);
    assert_eq!([now[2].as_ref().unwrap().mode, now[5].as_ref().unwrap().mode], [0o700, 0o600]);
    assert_eq!(outcome(through(&open, Pass::Apply)).status, Status::Same);
}

#[test]
fn what_is_not_known_is_planned_as_such_and_never_applied() {
    let rig = Arc::new(host());
    for pass in [Pass::Plan, Pass::Apply] {
        let mut run = Run::new(&rig);
        run.first = 1;
        run.count = 1;
        outcome(run.step(copy(CONF, "new\n"), pass));
        let unsure = Commit { unsure: Some("\"Part\" waits".to_owned()), ..commit() };
        let reply = run.commit(unsure, pass);
        untouched(&rig);
        if pass == Pass::Plan {
            assert_eq!(outcome(reply).status, Status::Unknown("\"Part\" waits".to_owned()));
            run.first = 0;
            let later = outcome(run.task(copy(CONF, "new\n"), pass).alone_outside(&mut run));
            assert_eq!(later.status, Status::Same, "what is known of it is predicted");
        } else {
            let failed = failure(reply);
            assert_eq!(failed.message, "not all of its files are known: \"Part\" waits");
            assert_eq!(failed.kept, NOTHING);
        }
    }
}

impl Task {
    /// Done outside of any transaction.
    fn alone_outside(mut self, run: &mut Run) -> Reply {
        self.within = None;
        self.alone(run)
    }
}

#[test]
fn what_was_lost_with_a_connection_is_not_taken_for_done() {
    let rig = Arc::new(host());
    let mut run = Run::new(&rig);
    run.first = 1;
    run.count = 1;
    outcome(run.step(copy(CONF, "new\n"), Pass::Apply));
    run.session = Session::new(rig.clone(), Stop::default());
    outcome(run.step(copy(PART, "new\n"), Pass::Apply));
    let failed = failure(run.commit(commit(), Pass::Apply));
    assert_eq!(
        failed.message,
        "not all of its files are known: what some of its steps had staged was lost with the connection"
    );
    assert_eq!(failed.kept, NOTHING);
    untouched(&rig);
}

#[test]
fn a_secret_reaches_its_file_and_the_checker_and_nothing_else() {
    const POISON: &str = "correct horse battery staple";
    let rig = Arc::new(Rig { refuses: Some(POISON), ..host() });
    let placeholder = Secrets::placeholder("key", "00ff00ff");
    let mut secrets = Secrets::default();
    secrets.insert(placeholder.clone(), Secret::new(POISON));
    let step = [copy(CONF, &format!("key {placeholder}\n"))];
    let mut run = Run::new(&rig);
    run.session.answer(Request::Secrets(secrets.clone()));
    let failed = failure(run.block(&step, Pass::Apply));
    assert!(failed.message.contains("refuses the new files: /etc/toy.conf:1"), "the checker saw it: {}", failed.message);
    assert!(!format!("{failed:?}").contains(POISON));

    let rig = Arc::new(host());
    *rig.closed.lock().unwrap() = true;
    let mut run = Run::new(&rig);
    run.session.answer(Request::Secrets(secrets.clone()));
    assert!(!format!("{:?}", failure(run.block(&step, Pass::Apply))).contains(POISON));
    untouched(&rig);
    *rig.closed.lock().unwrap() = false;
    let mut run = Run::new(&rig);
    run.session.answer(Request::Secrets(secrets));
    outcome(run.block(&step, Pass::Apply));
    assert_eq!(rig.text(CONF).unwrap(), format!("key {POISON}\n"));
    assert_eq!(outcome(run.block(&step, Pass::Apply)).status, Status::Same);
}
