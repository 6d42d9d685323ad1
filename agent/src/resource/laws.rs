//! The laws that every resource keeps, as one call for its tests: fidelity, idempotence, silence.
#![allow(clippy::panic, clippy::unwrap_used, clippy::expect_used)]

use super::undo::Undo;
use super::{Failure, Outcome, Resource, Status, converge};
use crate::diff::Change;
use crate::path::AbsPath;
use crate::secret::{Secret, Secrets};
use crate::system::fake::Fake;
use crate::system::journal::Journal;
use crate::system::links;
use crate::system::overlay::Overlay;
use crate::system::veil::Veil;
use crate::system::{FileKind, Probe, System};
use crate::value::Value;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a test of this thread has put to the proof.
#[derive(Debug, PartialEq)]
enum Proof {
    /// Fidelity and idempotence, of a step that changes something.
    Changed,
    /// Of one that has nothing to change.
    Same,
    /// One that cannot be planned.
    Unknown(String),
    /// One that fails, in the plan as when applied.
    Failed(String),
    /// Silence.
    Silent,
}

thread_local! {
    static PROVED: RefCell<Vec<(&'static str, Proof)>> = const { RefCell::new(Vec::new()) };
}

fn proved<R: Resource>(proof: Proof) {
    PROVED.with_borrow_mut(|proofs| proofs.push((R::NAMES[0], proof)));
}

/// The secret's bytes in [`laws_with_secret`].
pub const POISON: &str = "s3cr3t-p0is0n-9f1c";

/// The placeholder for [`POISON`]; put it into the resource's parameters.
#[must_use]
pub fn placeholder() -> String {
    Secrets::placeholder("poison", "00ff00ff")
}

/// Checks fidelity and idempotence of a resource that starts in this world. The world is made anew for each pass.
///
/// A resource that fails has to fail with the same words in the plan; one whose plan is unknown only has to be
/// idempotent when applied, if it changes anything that can be seen.
pub fn laws<R: Resource<World = dyn System>>(resource: &R, world: impl Fn() -> Fake) {
    let world = || world().dir("/var/lib");
    let below = Arc::new(world());
    let plan: Arc<dyn System> = Arc::new(Overlay::new(below.clone()));
    let machine = Arc::new(world());
    let journal = Arc::new(Journal::new(machine.clone()));
    journal.begin(RUN);
    let real: Arc<dyn System> = journal;
    let predicted = converge(resource, plan.as_ref(), None);
    assert_eq!(
        below.log(),
        Vec::<String>::new(),
        "the plan of {resource:?} touched the machine"
    );
    let applied = converge(resource, real.as_ref(), None);
    let asked = machine.asked();
    let (before, after) = (seen_by_undo(&world(), &asked), seen_by_undo(&machine, &asked));
    match (predicted, applied) {
        (
            Ok(Outcome {
                status: Status::Unknown(reason),
                ..
            }),
            _,
        ) => proved::<R>(Proof::Unknown(reason)),
        (Ok(predicted), Ok(applied)) => {
            same_outcome(resource, &predicted, &applied);
            assert_eq!(
                seen(resource, plan.as_ref()),
                seen(resource, real.as_ref()),
                "fidelity: what the plan of {resource:?} predicts is not what applying it gives"
            );
            settled(resource, plan.as_ref(), "in the plan");
            settled(resource, real.as_ref(), "on the machine");
            proved::<R>(if applied.status == Status::Changed {
                Proof::Changed
            } else {
                Proof::Same
            });
        }
        (Err(predicted), Err(applied)) => {
            assert_eq!(
                predicted.message, applied.message,
                "fidelity: {resource:?} fails in the plan in other words than on the machine"
            );
            proved::<R>(Proof::Failed(applied.message));
        }
        (predicted, applied) => {
            panic!("fidelity: {resource:?} gives {predicted:?} in the plan, {applied:?} when applied")
        }
    }
    taken_back(resource, &machine, &[before, after], &asked);
}

/// The fourth law alone, of a resource that makes something new each time.
pub fn can_be_taken_back<R: Resource<World = dyn System>>(resource: &R, world: impl Fn() -> Fake) {
    let world = || world().dir("/var/lib");
    let machine = Arc::new(world());
    let journal = Journal::new(machine.clone());
    journal.begin(RUN);
    converge(resource, &journal as &(dyn System + 'static), None).expect("applies");
    let asked = machine.asked();
    let (before, after) = (seen_by_undo(&world(), &asked), seen_by_undo(&machine, &asked));
    assert_ne!(before, after, "{resource:?} changes nothing");
    taken_back(resource, &machine, &[before, after], &asked);
}

const RUN: &str = "20260101-000000-laws";

/// Kinds that change what no undo brings back, and why. It says so; all others are taken back without a rest.
const STAYS: &[(&str, &str)] = &[
    ("command", "nobody knows what a command did"),
    (
        "openshift_install",
        "a cluster may run by then whose keys are in its folder",
    ),
    ("shell", "nobody knows what a command did"),
    ("uri", "what it changed is elsewhere"),
];

/// The fourth law: what was applied can be taken back, by a plan that says so beforehand, and that can be taken back too.
fn taken_back<R: Resource>(
    resource: &R,
    machine: &Arc<Fake>,
    [before, after]: &[Vec<String>; 2],
    asked: &BTreeMap<String, Probe>,
) {
    let undo = Undo {
        run: RUN.to_owned(),
        force: false,
        ledger: 0,
    };
    let plan: Arc<dyn System> = Arc::new(Overlay::new(machine.clone()));
    let predicted = converge(&undo, plan.as_ref(), None).expect("an undo plans");
    let journal = Journal::new(machine.clone());
    journal.begin("20260101-000001-undo");
    let applied = converge(&undo, &journal as &(dyn System + 'static), None)
        .unwrap_or_else(|failure| panic!("undo: {resource:?} cannot be taken back: {}", failure.message));
    same_outcome(&undo, &predicted, &applied);
    settled(&undo, machine.as_ref() as &(dyn System + 'static), "on the machine");
    let now = &seen_by_undo(machine, asked);
    if STAYS.iter().any(|(kind, _)| *kind == R::NAMES[0]) {
        let left = applied.result.get("left").and_then(Value::as_list).unwrap_or_default();
        assert!(
            now == before || !left.is_empty(),
            "undo: {resource:?} is not taken back, and that is not said"
        );
        return;
    }
    assert_eq!(
        now, before,
        "undo: {resource:?} is not taken back; it left {after:#?}, said {:?}",
        applied.result
    );
    let redo = Undo {
        run: "20260101-000001-undo".to_owned(),
        force: false,
        ledger: 0,
    };
    converge(&redo, machine.as_ref() as &(dyn System + 'static), None).expect("an undo of an undo");
    assert_eq!(
        &seen_by_undo(machine, asked),
        after,
        "undo: of the undo of {resource:?}"
    );
}

/// All that an undo is to bring back: files and folders, and what is known of units and other facts, be they planted or
/// only asked for.
fn seen_by_undo(machine: &Fake, asked: &BTreeMap<String, Probe>) -> Vec<String> {
    fn walk(machine: &Fake, folder: &AbsPath, seen: &mut Vec<String>) {
        for entry in machine.list(folder).unwrap() {
            let path = folder.join(&entry.name);
            if ["/var/lib/okd-play", "/run/okd-play"].contains(&path.as_str()) {
                continue;
            }
            let Some(meta) = machine.stat(&path).unwrap() else {
                continue;
            };
            let bytes = (meta.kind == FileKind::File).then(|| machine.read(&path, u64::MAX).unwrap());
            let shown = bytes
                .flatten()
                .map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
            // A folder of the system is never removed, whoever made it.
            let stays =
                links::Spot::find(&path, false, &mut |at| machine.stat(at)).is_ok_and(|spot| spot.may_go().is_err());
            if !stays {
                seen.push(format!(
                    "{path} {:?} {:04o} {}:{} {:?} {shown:?}",
                    meta.kind, meta.mode, meta.owner, meta.group, meta.target
                ));
            }
            if meta.kind == FileKind::Directory {
                walk(machine, &path, seen);
            }
        }
    }
    let mut seen = Vec::new();
    walk(machine, &AbsPath::new("/").unwrap(), &mut seen);
    // What else a line says of a package follows from its version.
    seen.extend(super::undo::packages::lines(&machine.packages()));
    let follows = [
        "live:",
        "archive:",
        "ssh-key:",
        "checksum:",
        "unit-enabled:",
        "apt:",
        "package",
    ];
    let mut facts = machine.facts();
    for (key, probe) in asked {
        facts.insert(key.clone(), machine.probe(probe).unwrap());
    }
    let facts = facts
        .into_iter()
        .filter(|(key, answer)| !(key.starts_with("groups:") && answer.stdout.is_empty()))
        .filter(|(key, answer)| answer.success() && !follows.iter().any(|kind| key.starts_with(kind)));
    for (key, answer) in facts {
        let text = match key.starts_with("unit:") {
            true => {
                let unit = super::systemd::Unit::parse(&answer.text());
                // A start script's unit says elsewhere whether it is enabled.
                let enabled = unit.enabled().filter(|_| !unit.is_script());
                format!("{} {enabled:?} {}", unit.runs(), unit.masked())
            }
            false => format!("{} {}", answer.rc, answer.text()),
        };
        seen.push(format!("{key} {text}"));
    }
    seen
}

/// [`laws`] and silence, for a resource whose parameters hold [`placeholder`]: the secret's bytes have to reach the
/// machine (a file, or an action's standard input or environment) and show nowhere else.
pub fn laws_with_secret<R: Resource<World = dyn System>>(resource: &R, world: impl Fn() -> Fake) {
    let machine = Arc::new(world());
    let veiled = |machine: Arc<Fake>| {
        let veil = Veil::new(machine);
        let mut secrets = Secrets::default();
        secrets.insert(placeholder(), Secret::new(POISON));
        veil.learn(secrets);
        veil
    };
    let untouched = Arc::new(world());
    let plan = Overlay::new(Arc::new(veiled(untouched.clone())));
    let predicted = converge(resource, &plan as &(dyn System + 'static), None);
    silent(resource, &predicted);
    assert_eq!(
        untouched.log(),
        Vec::<String>::new(),
        "the plan of {resource:?} touched the machine"
    );
    let real = veiled(machine.clone());
    let applied = converge(resource, &real as &(dyn System + 'static), None);
    silent(resource, &applied);
    let (predicted, applied) = (predicted.expect("plans"), applied.expect("applies"));
    if !matches!(predicted.status, Status::Unknown(_)) {
        same_outcome(resource, &predicted, &applied);
        settled(resource, &real, "on the machine");
    }
    let reached = format!(
        "{:?}",
        String::from_utf8_lossy(&postcard::to_stdvec(&machine.data()).unwrap())
    );
    assert!(
        reached.contains(POISON),
        "silence: the secret of {resource:?} did not reach the machine"
    );
    let argv = machine.log().join("\n");
    assert!(
        !argv.contains(POISON),
        "silence: the secret of {resource:?} stands in a command or path: {argv}"
    );
    let again = converge(resource, &real as &(dyn System + 'static), None);
    silent(resource, &again);
    proved::<R>(Proof::Silent);
}

fn silent<R: Resource>(resource: &R, end: &Result<Outcome, Box<Failure>>) {
    let shown = format!("{end:?} {resource:?}");
    assert!(!shown.contains(POISON), "silence: {shown}");
    let bytes = match end {
        Ok(outcome) => postcard::to_stdvec(outcome).unwrap(),
        Err(failure) => postcard::to_stdvec(failure).unwrap(),
    };
    assert!(
        !String::from_utf8_lossy(&bytes).contains(POISON),
        "silence: what goes over the wire"
    );
}

fn same_outcome<R: Resource>(resource: &R, predicted: &Outcome, applied: &Outcome) {
    assert_eq!(
        predicted.diff, applied.diff,
        "fidelity: {resource:?} shows another diff when applied"
    );
    assert_eq!(
        predicted.status, applied.status,
        "fidelity: {resource:?} ends otherwise when applied"
    );
}

fn settled<R: Resource<World = dyn System>>(resource: &R, world: &(dyn System + 'static), place: &str) {
    match converge(resource, world, None) {
        Ok(again) => {
            assert_eq!(
                again.diff,
                Vec::<Change>::new(),
                "idempotence: {resource:?} changes again {place}"
            );
            assert_eq!(again.status, Status::Same, "idempotence: {resource:?} {place}");
        }
        Err(failure) => panic!("idempotence: {resource:?} fails {place}: {}", failure.message),
    }
}

fn seen<R: Resource<World = dyn System>>(resource: &R, world: &(dyn System + 'static)) -> Vec<u8> {
    let state = resource.inspect(world).expect("what was converged can be inspected");
    postcard::to_stdvec(&state).unwrap()
}

/// No kind is without the laws: every one in the registry has tests, and they prove what can be proved of it.
mod every_kind {
    use super::*;
    use crate::resource::command::Command;
    use crate::resource::content::given;
    use crate::resource::fetch::GetUrl;
    use crate::resource::package::Package;
    use crate::resource::ping::Ping;
    use crate::resource::setup::Setup;
    use crate::resource::shell::Shell;
    use crate::resource::uri::Uri;
    use crate::resource::{KINDS, apt, dnf};
    use crate::system::Answer;

    /// The tests of each kind.
    const TESTS: &[(&str, fn())] = &[
        ("apt", apt::tests::packages_keep_the_laws),
        ("unarchive", crate::resource::archive::tests::unarchive_keeps_the_laws),
        ("assemble", crate::resource::assemble::tests::assemble_keeps_the_laws),
        (
            "authorized_key",
            crate::resource::authorized_key::tests::keys_keep_the_laws,
        ),
        ("blockinfile", crate::resource::block::tests::blockinfile_keeps_the_laws),
        (
            "bridge",
            crate::resource::bridge::tests::the_laws_hold_with_every_program,
        ),
        (
            "command",
            crate::resource::run::tests::commands_that_say_when_to_run_keep_the_laws,
        ),
        ("command", what_a_command_reads_is_silent),
        ("copy", crate::resource::copy::tests::copy_keeps_the_laws),
        (
            "dhcpd",
            crate::resource::dhcpd::tests::the_laws_hold_where_the_unit_is_a_script,
        ),
        ("dhcpd", crate::resource::dhcpd::tests::the_laws_hold_with_kea),
        ("dnf", dnf::tests::packages_keep_the_laws),
        ("get_url", crate::resource::fetch::tests::get_url_keeps_the_laws),
        ("get_url", what_a_request_sends_is_silent),
        ("file", crate::resource::file::tests::file_keeps_the_laws),
        ("find", crate::resource::find::tests::find_keeps_the_laws),
        (
            "firewall",
            crate::resource::firewall::tests::the_laws_hold_with_both_programs,
        ),
        (
            "firewalld",
            crate::resource::firewalld::tests::the_firewall_keeps_the_laws,
        ),
        ("group", crate::resource::group::tests::groups_keep_the_laws),
        ("haproxy", crate::resource::haproxy::tests::the_laws_hold),
        ("hostname", crate::resource::hostname::tests::a_name_keeps_the_laws),
        ("ini_file", crate::resource::ini_file::tests::ini_file_keeps_the_laws),
        (
            "known_hosts",
            crate::resource::known_hosts::tests::host_keys_keep_the_laws,
        ),
        ("lineinfile", crate::resource::line::tests::lineinfile_keeps_the_laws),
        ("named", crate::resource::named::tests::the_laws_hold_on_both_families),
        ("nginx", crate::resource::nginx::tests::the_laws_hold),
        (
            "openshift_install",
            crate::resource::openshift_install::tests::ignition_files_keep_the_laws,
        ),
        (
            "openssh_keypair",
            crate::resource::openssh_keypair::tests::a_pair_keeps_the_laws,
        ),
        ("package", either_package_manager_keeps_the_laws),
        ("ping", what_only_looks_keeps_the_laws),
        ("probe", crate::resource::probe::tests::answers_are_compared),
        ("replace", crate::resource::replace::tests::replace_keeps_the_laws),
        ("seboolean", crate::resource::seboolean::tests::booleans_keep_the_laws),
        ("service", crate::resource::service::tests::units_keep_the_laws),
        ("setup", what_only_looks_keeps_the_laws),
        ("shell", a_shell_that_says_when_to_run_keeps_the_laws),
        ("slurp", crate::resource::slurp::tests::slurp_keeps_the_laws),
        ("stat", crate::resource::stat::tests::stat_keeps_the_laws),
        ("sysctl", crate::resource::sysctl::tests::parameters_keep_the_laws),
        ("timezone", crate::resource::timezone::tests::a_zone_keeps_the_laws),
        ("okd.unit", crate::resource::unit::tests::unit_files_keep_the_laws),
        ("uri", what_a_request_sends_is_silent),
        ("uri", requests_keep_the_laws),
        ("user", crate::resource::user::tests::users_keep_the_laws),
        ("user", crate::resource::user::tests::a_password_is_set_and_never_shown),
        ("vxlan", crate::resource::vxlan::tests::the_laws_hold_with_every_program),
        (
            "wait_for",
            crate::resource::wait_for::tests::paths_and_text_are_waited_for,
        ),
    ];

    /// Kinds that never change a machine.
    const ONLY_LOOK: &[&str] = &["find", "ping", "probe", "setup", "slurp", "stat", "wait_for"];

    /// Makes another name each time, on purpose; what is proved of it stands in its own file.
    const NEVER_SETTLES: &str = "tempfile";

    /// What it changes is elsewhere, and unknown until it is asked.
    const ELSEWHERE: &str = "uri";

    /// Kinds that take a secret to the machine.
    const SECRET: &[&str] = &[
        "blockinfile",
        "command",
        "copy",
        "get_url",
        "haproxy",
        "ini_file",
        "lineinfile",
        "openshift_install",
        "replace",
        "shell",
        "okd.unit",
        "uri",
        "user",
    ];

    #[test]
    fn is_put_to_the_proof() {
        for info in KINDS.iter().filter(|info| info.names[0] != NEVER_SETTLES) {
            let kind = info.names[0];
            PROVED.with_borrow_mut(Vec::clear);
            TESTS
                .iter()
                .filter(|(name, _)| *name == kind)
                .for_each(|(_, test)| test());
            let proves = |proof| PROVED.with_borrow(|proofs| proofs.contains(&(kind, proof)));
            assert!(
                proves(Proof::Changed) || proves(Proof::Same),
                "{kind}: {:?}",
                PROVED.take()
            );
            let changes = !ONLY_LOOK.contains(&kind) && kind != ELSEWHERE;
            assert_eq!(proves(Proof::Changed), changes, "whether {kind} changes anything");
            assert_eq!(
                proves(Proof::Silent),
                SECRET.contains(&kind),
                "whether {kind} keeps a secret"
            );
        }
    }

    #[test]
    fn either_package_manager_keeps_the_laws() {
        for state in ["present", "absent", "latest"] {
            laws(
                &given::<Package>(&[("name", "nginx"), ("state", state)]),
                apt::tests::host,
            );
            laws(
                &given::<Package>(&[("name", "nginx"), ("state", state)]),
                dnf::tests::host,
            );
        }
        laws(&given::<Package>(&[("name", "nginx")]), Fake::new);
    }

    #[test]
    fn what_only_looks_keeps_the_laws() {
        laws(&given::<Ping>(&[]), Fake::new);
        laws(&given::<Ping>(&[("data", "crash")]), Fake::new);
        let host = || {
            Fake::new()
                .command(&["/bin/sh"], Answer::ok(""))
                .command(&["uname"], Answer::ok("services\n"))
        };
        laws(&given::<Setup>(&[]), host);
        laws(&given::<Setup>(&[("gather_subset", "!all"), ("filter", "host*")]), host);
    }

    #[test]
    fn a_shell_that_says_when_to_run_keeps_the_laws() {
        use crate::param::Params;
        use crate::value::{Value, map};
        let world = || Fake::new().file("/etc/there", "x");
        laws(
            &given::<Shell>(&[("cmd", "make >/x"), ("creates", "/etc/there")]),
            world,
        );
        laws(&given::<Shell>(&[("cmd", "make >/x")]), world);
        let predicts = |name: &str| Value::Map(map([(name, vec!["/x"].into())]));
        let make = [
            ("cmd", "make >/x".into()),
            ("creates", "/x".into()),
            ("predicts", predicts("creates")),
        ];
        laws(&Shell::decode(&map(make)).unwrap(), world);
        laws_with_secret(&given::<Shell>(&[("cmd", "passwd"), ("stdin", &placeholder())]), world);
    }

    #[test]
    fn what_a_command_reads_is_silent() {
        laws_with_secret(
            &given::<Command>(&[("cmd", "passwd --stdin"), ("stdin", &placeholder())]),
            Fake::new,
        );
    }

    #[test]
    fn requests_keep_the_laws() {
        for method in ["GET", "POST"] {
            laws(
                &given::<Uri>(&[("url", "http://h/"), ("method", method), ("creates", "/etc")]),
                Fake::new,
            );
            laws(&given::<Uri>(&[("url", "http://h/"), ("method", method)]), Fake::new);
        }
    }

    #[test]
    fn what_a_request_sends_is_silent() {
        let host = || {
            let said = "HTTP/1.1 200 OK\r\n\r\n\nokd-play 200 https://h/a";
            Fake::new()
                .dir("/opt")
                .command(&["sh"], Answer::ok(said))
                .command(&["/bin/sh"], Answer::ok(said))
        };
        let (password, sum) = (placeholder(), format!("sha256:{}", "0".repeat(64)));
        let login = [("url_username", "ops"), ("url_password", password.as_str())];
        let get = [
            &[("url", "https://h/a"), ("dest", "/opt/a"), ("checksum", sum.as_str())][..],
            &login,
        ]
        .concat();
        laws_with_secret(&given::<GetUrl>(&get), host);
        laws_with_secret(
            &given::<Uri>(&[&[("url", "https://h/a"), ("method", "PUT")][..], &login].concat()),
            host,
        );
    }
}

/// The laws over generated worlds for the resource that shows how one is written.
mod generated {
    use super::*;
    use crate::param::Params;
    use crate::resource::file::{File, FileState};
    use crate::value::{Value, map};
    use proptest::prelude::*;

    #[derive(Debug, Clone)]
    enum Here {
        Nothing,
        File(u32, &'static str),
        Folder(u32, &'static str),
        Full,
        Link(&'static str),
    }

    fn here() -> impl Strategy<Value = Here> {
        let owner = prop_oneof![Just("root"), Just("named")];
        prop_oneof![
            Just(Here::Nothing),
            (0_u32..0o10000, owner.clone()).prop_map(|(mode, owner)| Here::File(mode, owner)),
            (0_u32..0o10000, owner).prop_map(|(mode, owner)| Here::Folder(mode, owner)),
            Just(Here::Full),
            prop_oneof![Just("/etc/other"), Just("/gone"), Just("../etc/other")].prop_map(Here::Link),
        ]
    }

    fn world(here: &Here) -> Fake {
        let fake = Fake::new()
            .user("named", 25)
            .file("/etc/other", "other\n")
            .dir("/srv/data");
        match here {
            Here::Nothing => fake,
            Here::File(mode, owner) => fake
                .file("/srv/data/x", "x\n")
                .owned("/srv/data/x", *mode, owner, owner),
            Here::Folder(mode, owner) => fake.dir("/srv/data/x").owned("/srv/data/x", *mode, owner, owner),
            Here::Full => fake.file("/srv/data/x/a/b", "b\n").link("/srv/data/x/l", "/etc/other"),
            Here::Link(target) => fake.link("/srv/data/x", target),
        }
    }

    fn wish() -> impl Strategy<Value = File> {
        let words = || prop_oneof![Just(None), Just(Some("named")), Just(Some("0")), Just(Some("nosuch"))];
        let state = prop_oneof![
            Just(FileState::File),
            Just(FileState::Directory),
            Just(FileState::Absent),
            Just(FileState::Link),
            Just(FileState::Hard),
            Just(FileState::Touch),
        ];
        let mode = prop_oneof![
            Just(None),
            Just(Some("0640")),
            Just(Some("u=rwX,g=rX,o=")),
            Just(Some("g+s"))
        ];
        let path = prop_oneof![Just("/srv/data/x"), Just("/srv/data/x/deep/er"), Just("/srv/data/new")];
        (state, mode, words(), words(), path, any::<(bool, bool, bool)>()).prop_map(
            |(state, mode, owner, group, path, (force, follow, recurse))| {
                let mut args = map([("path", path.into()), ("state", state.word().into())]);
                let mut give = |name: &str, value: Value| drop(args.insert(name.to_owned(), value));
                for (name, value) in [("mode", mode), ("owner", owner), ("group", group)] {
                    value.into_iter().for_each(|value| give(name, value.into()));
                }
                give("force", force.into());
                give("follow", follow.into());
                give("modification_time", "preserve".into());
                if matches!(state, FileState::Link | FileState::Hard) {
                    give("src", "/etc/other".into());
                }
                if state == FileState::Directory {
                    give("recurse", recurse.into());
                }
                File::decode(&args).unwrap()
            },
        )
    }

    /// A file made of few lines, so that what is asked for meets what is there: with and without a last line end, with
    /// line ends of Windows, with a block and without.
    fn text() -> impl Strategy<Value = Option<String>> {
        let line = prop_oneof![
            Just("a=1"),
            Just("a = 2"),
            Just("b=1"),
            Just("# a=1"),
            Just("[s]"),
            Just("[t]"),
            Just(""),
            Just("  a=1 "),
            Just("ü"),
        ];
        let block = prop_oneof![
            Just(""),
            Just("# BEGIN ANSIBLE MANAGED BLOCK|a=1|# END ANSIBLE MANAGED BLOCK")
        ];
        let end = prop_oneof![Just("\n"), Just("\n"), Just("\r\n")];
        let lines = prop::collection::vec(line, 0..8);
        let text = (lines, block, 0_usize..8, end, any::<bool>()).prop_map(|(mut lines, block, at, end, last)| {
            let at = at.min(lines.len());
            lines.splice(at..at, block.split('|').filter(|line| !line.is_empty()));
            let text = lines.join(end);
            if last && !lines.is_empty() { text + end } else { text }
        });
        prop_oneof![1 => Just(None), 6 => text.prop_map(Some)]
    }

    fn of(choices: &'static [&'static str]) -> impl Strategy<Value = &'static str> {
        prop::sample::select(choices)
    }

    /// Parameters; an empty text leaves one out.
    type Pairs = Vec<(&'static str, &'static str)>;

    fn edit() -> impl Strategy<Value = (&'static str, Pairs)> {
        prop_oneof![line(), block(), replace(), ini(), copy()]
    }

    fn yes() -> impl Strategy<Value = &'static str> {
        of(&["", "yes"])
    }

    fn state() -> impl Strategy<Value = &'static str> {
        of(&["", "absent"])
    }

    fn place() -> impl Strategy<Value = (&'static str, &'static str)> {
        (
            of(&["insertafter", "insertbefore"]),
            of(&["", "EOF", "BOF", "^b", "^none", "a=1"]),
        )
    }

    /// What is written in the place of a match matches again, or the next run would take the match before it.
    fn line() -> impl Strategy<Value = (&'static str, Pairs)> {
        let finds = prop::sample::select(vec![
            ("a=1", "", ""),
            ("x", "", ""),
            ("a=1", "^a", ""),
            ("a = 2", "^a", ""),
            (r"\1=1", "(a)=", ""),
            ("x", "^none", ""),
            ("a=1", "", "a"),
            ("x", "", "none"),
            ("", "^a", ""),
            ("", "", "a=1"),
        ]);
        (finds, place(), state(), yes(), yes(), yes()).prop_map(|(find, place, state, backrefs, create, firstmatch)| {
            let (line, regexp, search) = find;
            let backrefs = if line.starts_with('\\') { "yes" } else { backrefs };
            let pairs = vec![
                ("line", line),
                ("regexp", regexp),
                ("search_string", search),
                place,
                ("state", state),
            ];
            let more = vec![("backrefs", backrefs), ("create", create), ("firstmatch", firstmatch)];
            ("lineinfile", [pairs, more].concat())
        })
    }

    fn block() -> impl Strategy<Value = (&'static str, Pairs)> {
        let block = of(&["", "x", "x\ny\n", "a=1"]);
        (block, place(), state(), yes(), yes(), yes()).prop_map(|(block, place, state, create, before, after)| {
            let pairs = vec![("block", block), place, ("state", state), ("create", create)];
            (
                "blockinfile",
                [pairs, vec![("prepend_newline", before), ("append_newline", after)]].concat(),
            )
        })
    }

    /// No replacement matches again, unless it is what it replaces.
    fn replace() -> impl Strategy<Value = (&'static str, Pairs)> {
        let replace = prop::sample::select(vec![
            ("a", "z"),
            ("a", ""),
            ("^a.*$", "z"),
            ("^$", "z"),
            (r"\s*=\s*", "="),
            (r"\s*=\s*", " = "),
            ("(.)=(.)", r"\1:\2"),
            ("(.)=(.)", r"\3"),
        ]);
        (replace, of(&["", "b", "none"]), of(&["", "0600"])).prop_map(|((regexp, text), after, mode)| {
            (
                "replace",
                vec![("regexp", regexp), ("replace", text), ("after", after), ("mode", mode)],
            )
        })
    }

    fn ini() -> impl Strategy<Value = (&'static str, Pairs)> {
        let (section, option) = (of(&["", "s", "t", "new"]), of(&["", "a", "b", "n"]));
        (section, option, of(&["", "1", "2", "x y"]), state(), yes(), yes()).prop_map(
            |(section, option, value, state, spaces, bare)| {
                let pairs = vec![
                    ("section", section),
                    ("option", option),
                    ("value", value),
                    ("state", state),
                ];
                (
                    "ini_file",
                    [pairs, vec![("no_extra_spaces", spaces), ("allow_no_value", bare)]].concat(),
                )
            },
        )
    }

    fn copy() -> impl Strategy<Value = (&'static str, Pairs)> {
        let (content, force) = (of(&["a=1\n", "a=1\nb=1", "ü"]), of(&["", "no"]));
        (content, force, of(&["", "0600", "g+w"]), of(&["", "named", "nosuch"])).prop_map(
            |(content, force, mode, owner)| {
                (
                    "copy",
                    vec![("content", content), ("force", force), ("mode", mode), ("owner", owner)],
                )
            },
        )
    }

    /// The laws for a kind by its name; arguments that contradict each other are not tried.
    fn hold(kind: &str, args: &crate::value::Map, world: impl Fn() -> Fake) {
        fn of<R: Resource<World = dyn System>>(args: &crate::value::Map, world: impl Fn() -> Fake) {
            let resource = R::decode(args).unwrap();
            if resource.check().is_ok() {
                laws(&resource, world);
            }
        }
        match kind {
            "lineinfile" => of::<crate::resource::line::LineInFile>(args, world),
            "blockinfile" => of::<crate::resource::block::BlockInFile>(args, world),
            "replace" => of::<crate::resource::replace::Replace>(args, world),
            "ini_file" => of::<crate::resource::ini_file::IniFile>(args, world),
            _ => of::<crate::resource::copy::Copy>(args, world),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2048, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn edits_keep_the_laws(text in text(), (kind, pairs) in edit()) {
            let given = pairs.iter().filter(|(_, value)| !value.is_empty());
            let mut args: crate::value::Map = given.map(|(name, value)| ((*name).to_owned(), Value::from(*value))).collect();
            args.insert(if kind == "copy" { "dest" } else { "path" }.to_owned(), "/srv/x".into());
            hold(kind, &args, || {
                let fake = Fake::new().user("named", 25).dir("/srv");
                match &text {
                    Some(text) => fake.file("/srv/x", text.as_str()).owned("/srv/x", 0o640, "named", "root"),
                    None => fake,
                }
            });
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn file_keeps_the_laws(here in here(), wish in wish()) {
            laws(&wish, || world(&here));
        }
    }
}

/// The laws have teeth: resources that break them are caught.
mod broken {
    #![allow(unreachable_pub, missing_docs)]
    use super::*;
    use crate::param::Params;
    use crate::path::AbsPath;
    use crate::resource::{ResourceError, View};
    use crate::system::{Action, Declared, Effect, FileWrite};
    use crate::value::{Map, map};
    use crate::{choice, params};
    use serde::Serialize;

    choice! {
        pub enum Fault {
            None = "none",
            Restless = "restless",
            Liar = "liar",
            Blab = "blab",
            Argv = "argv",
        }
    }
    params! {
        pub struct Broken {
            path: AbsPath,
            fault: Fault,
            text: String = "text",
        }
    }

    #[derive(Debug, Serialize)]
    pub struct Seen {
        text: Option<String>,
        asked: bool,
    }

    impl View for Seen {
        fn changes(&self, want: &Self) -> Vec<Change> {
            let differs = want.asked || self.text != want.text;
            differs.then(|| Change::Act("write".to_owned())).into_iter().collect()
        }
    }

    impl Resource for Broken {
        const NAMES: &'static [&'static str] = &["broken"];
        const EXAMPLE: &'static str = "";
        const PREDICTS: &'static str = "";
        type World = dyn System;
        type State = Seen;

        fn inspect(&self, world: &Self::World) -> Result<Seen, ResourceError> {
            let text = world
                .read(&self.path, 1000)?
                .map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
            Ok(Seen { text, asked: false })
        }

        fn desire(&self, _: &Seen) -> Result<Seen, ResourceError> {
            Ok(Seen {
                text: Some(self.text.clone()),
                asked: self.fault == Fault::Restless,
            })
        }

        fn apply(&self, _: &Seen, want: &Seen, world: &Self::World) -> Result<Map, ResourceError> {
            let mut text = want.text.clone().unwrap_or_default();
            if self.fault == Fault::Liar && !world.predicted() {
                text.push('!');
            }
            if self.fault == Fault::Argv {
                let declared = Declared {
                    creates: vec![self.path.clone()],
                    ..Declared::default()
                };
                world.act(&Action::new(&["set-text", &text], Effect::Declared(declared)))?;
            }
            world.write(&FileWrite::new(self.path.clone(), text.into_bytes()))?;
            let shown = if self.fault == Fault::Blab { POISON } else { "" };
            Ok(map([("shown", shown.into())]))
        }
    }

    fn broken(fault: Fault, text: &str) -> Broken {
        Broken::decode(&map([
            ("path", "/etc/x".into()),
            ("fault", fault.word().into()),
            ("text", text.into()),
        ]))
        .unwrap()
    }

    #[test]
    fn a_lawful_resource_passes() {
        laws(&broken(Fault::None, "text"), Fake::new);
        laws_with_secret(&broken(Fault::None, &placeholder()), Fake::new);
    }

    #[test]
    #[should_panic(expected = "idempotence")]
    fn one_that_never_settles_is_caught() {
        laws(&broken(Fault::Restless, "text"), Fake::new);
    }

    #[test]
    #[should_panic(expected = "fidelity")]
    fn one_that_does_something_else_is_caught() {
        laws(&broken(Fault::Liar, "text"), Fake::new);
    }

    #[test]
    #[should_panic(expected = "silence")]
    fn one_that_tells_the_secret_is_caught() {
        laws_with_secret(&broken(Fault::Blab, &placeholder()), Fake::new);
    }

    #[test]
    #[should_panic(expected = "did not reach")]
    fn one_that_keeps_the_secret_to_itself_is_caught() {
        laws_with_secret(&broken(Fault::None, "no secret"), Fake::new);
    }

    #[test]
    #[should_panic(expected = "command's arguments")]
    fn a_secret_in_arguments_is_refused() {
        laws_with_secret(&broken(Fault::Argv, &placeholder()), Fake::new);
    }
}
