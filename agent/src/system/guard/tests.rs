//! What a step does under guard in a machine of data, and the script itself on this machine, with files of its own.
#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods)]

use super::*;
use crate::resource::Kind;
use crate::serve::Session;
use crate::system::fake::Fake;
use crate::wire::{Pass, Reply, Request, Response, Task};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use std::time::{Duration, Instant};

fn task(kind: &str, args: &[(&str, &str)], pass: Pass, always: bool, required: bool) -> Request {
    let args = args
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).into()))
        .collect();
    let guard = Guard {
        id: "7f".to_owned(),
        seconds: 60,
        required,
        always,
    };
    Request::Task(Box::new(Task {
        id: 1,
        after: Vec::new(),
        kind: Kind::decode(kind, &args).unwrap().unwrap(),
        pass,
        expect: None,
        env: vec![("PATH".to_owned(), "/somewhere".to_owned())],
        verify: false,
        kept: false,
        touches: Vec::new(),
        note: crate::wire::Note::default(),
        within: None,
        guard: Some(guard),
        hidden: false,
    }))
}

fn host() -> Fake {
    let sshd = "LoadState=loaded\nActiveState=active\nSubState=running\nUnitFileState=enabled\nType=notify\n";
    Fake::new()
        .file("/etc/ssh/sshd_config", "Port 22\n")
        .fact("guard", Answer::default())
        .fact("unit:sshd.service", Answer::ok(sshd))
        .fact("sysctl:net.ipv4.ip_forward", Answer::ok("0\n"))
        .fact("sysctl:vm.swappiness", Answer::ok("0\n"))
        .command(&["sysctl"], Answer::default())
        .command(&["/bin/sh"], Answer::default())
        .command(&["systemctl"], Answer::default())
}

fn session(machine: &Arc<Fake>) -> Session {
    let mut session = Session::new(machine.clone(), crate::Stop::default());
    assert!(session.answer(Request::Guard("script".to_owned())).is_none());
    session
}

/// How a step ends, and what it did: its reply, and the log without the guard's folder.
fn ends(session: &mut Session, request: Request) -> Reply {
    match session.answer(request) {
        Some(Response::Done { reply, .. }) => reply,
        other => panic!("{other:?}"),
    }
}

fn state(reply: &Reply) -> Option<(String, Vec<String>)> {
    let (result, notes) = match reply {
        Reply::Outcome(outcome) => (&outcome.result, outcome.notes.clone()),
        Reply::Failed(failure) => (&failure.result, Vec::new()),
        Reply::Held => return None,
    };
    let state = result.get(KEY)?.get("state")?.as_str()?.to_owned();
    Some((state, notes))
}

fn log(machine: &Fake) -> Vec<String> {
    let lines = machine.log().into_iter();
    lines
        .map(|line| line.replace(BEGIN, "BEGIN").replace(&format!("{FOLDER}/7f"), "GUARD"))
        .collect()
}

#[test]
fn what_may_cut_off_is_kept_before_it_is_touched() {
    let machine = Arc::new(host());
    let mut session = session(&machine);
    let config = [("dest", "/etc/ssh/sshd_config"), ("content", "Port 2222\n")];
    let planned = ends(&mut session, task("copy", &config, Pass::Plan, false, false));
    let (word, notes) = state(&planned).unwrap();
    assert_eq!((word.as_str(), notes.len()), ("planned", 1));
    assert_eq!(
        notes[0],
        "guarded: put back after 60 s unless a new connection confirms"
    );
    assert_eq!(log(&machine), Vec::<String>::new());
    let done = ends(&mut session, task("copy", &config, Pass::Apply, false, false));
    assert_eq!(state(&done).unwrap().0, "armed");
    assert_eq!(
        log(&machine),
        [
            "act /bin/sh -c BEGIN sh GUARD arm 60 ssh",
            "act /bin/sh GUARD/guard keep file ssh /etc/ssh/sshd_config",
            "write /etc/ssh/sshd_config 0644 root:root",
        ]
    );
    let acts = machine.acts();
    assert_eq!(acts[0].stdin, b"script");
    assert!(
        acts.iter().all(|act| act.env.is_empty()),
        "the step's environment is not the guard's"
    );
    // The step behind it extends the same guard, and its commands run under it.
    let restart = [("name", "sshd"), ("state", "restarted")];
    let done = ends(&mut session, task("service", &restart, Pass::Apply, false, false));
    assert_eq!(state(&done).unwrap().0, "armed");
    let log = log(&machine);
    assert_eq!(
        log[3..5],
        [
            "act /bin/sh GUARD/guard arm 60 ssh",
            "act /bin/sh GUARD/guard during ssh systemctl restart sshd.service",
        ]
    );
    assert_eq!(machine.acts()[3].env, [("PATH".to_owned(), "/somewhere".to_owned())]);
    drop(session);
    assert_eq!(
        machine.log().last().unwrap(),
        &format!("act /bin/sh {FOLDER}/7f/guard end")
    );
}

#[test]
fn what_changes_nothing_or_cuts_nothing_off_costs_nothing() {
    for (kind, args) in [
        (
            "copy",
            &[("dest", "/etc/ssh/sshd_config"), ("content", "Port 22\n")][..],
        ),
        ("copy", &[("dest", "/etc/motd"), ("content", "hello\n")]),
        (
            "sysctl",
            &[("name", "vm.swappiness"), ("value", "1"), ("sysctl_set", "yes")],
        ),
        ("service", &[("name", "sshd"), ("state", "started")]),
    ] {
        for pass in [Pass::Plan, Pass::Apply] {
            let machine = Arc::new(host());
            let mut session = session(&machine);
            let end = ends(&mut session, task(kind, args, pass, false, true));
            assert!(matches!(end, Reply::Outcome(_)), "{end:?}");
            assert_eq!(state(&end), None, "{kind}");
            drop(session);
            let guards = log(&machine).into_iter().filter(|line| line.contains("GUARD"));
            assert_eq!(guards.count(), 0, "{kind}");
        }
    }
}

#[test]
fn a_command_under_guard_is_recorded_as_it_was_asked_for() {
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let guarded = words("/bin/sh /var/lib/okd-play/guard/ID/guard during ssh systemctl restart sshd");
    assert_eq!(unguarded(&guarded), words("systemctl restart sshd"));
    for line in ["systemctl restart sshd", "/bin/sh /srv/guard during ssh true"] {
        assert_eq!(unguarded(&words(line)), words(line));
    }
}

#[test]
fn every_way_in_is_known() {
    let acts = |kind: &str, args: &[(&str, &str)], always: bool| {
        let machine = Arc::new(host());
        let end = ends(&mut session(&machine), task(kind, args, Pass::Apply, always, false));
        (end, log(&machine))
    };
    let (_, forward) = acts(
        "sysctl",
        &[
            ("name", "net.ipv4.ip_forward"),
            ("value", "1"),
            ("sysctl_set", "yes"),
            ("reload", "no"),
        ],
        false,
    );
    let guard = forward.iter().filter(|line| line.contains("GUARD")).collect::<Vec<_>>();
    assert_eq!(
        guard[..3],
        [
            "act /bin/sh -c BEGIN sh GUARD arm 60 network",
            "act /bin/sh GUARD/guard keep sysctl network net.ipv4.ip_forward",
            "act /bin/sh GUARD/guard during network sysctl -w net.ipv4.ip_forward=1",
        ]
    );
    let (_, anything) = acts("command", &[("cmd", "make install")], true);
    assert_eq!(
        anything[0],
        "act /bin/sh -c BEGIN sh GUARD arm 60 login ssh firewall network"
    );
    assert_eq!(
        anything[1],
        "act /bin/sh GUARD/guard during login ssh firewall network make install"
    );
    for (path, area) in [
        ("/root/.ssh/authorized_keys", "login"),
        ("/etc/sudoers.d/ops", "login"),
        ("/etc/nftables.conf", "firewall"),
        ("/etc/systemd/system/nftables.service.d/x.conf", "firewall"),
        ("/etc/NetworkManager/system-connections/a", "network"),
    ] {
        assert_eq!(words(of_path(path)).collect::<Vec<_>>(), [area], "{path}");
    }
    for path in [
        "/etc/sshd",
        "/etc/systemd/system/web.service.d/x.conf",
        "/srv/ssh/x",
        "/etc/ssh",
    ] {
        assert_eq!(of_path(path), 0, "{path}");
    }
    let command = |line: &str| of_command(&line.split(' ').map(str::to_owned).collect::<Vec<_>>());
    assert_eq!(command("systemctl restart NetworkManager.service"), NETWORK);
    assert_eq!(command("/usr/bin/systemctl enable --now firewalld"), FIREWALL);
    assert_eq!(command("/bin/sh -c SCRIPT okd-device br0"), NETWORK);
    for line in [
        "/bin/sh -c SCRIPT sh br0",
        "systemctl enable sshd",
        "systemctl restart nginx",
        "sysctl -p /etc/sysctl.conf",
        "echo ssh restart",
    ] {
        assert_eq!(command(line), 0, "{line}");
    }
    assert!(mentions(&("x", b"/etc/ssh/x")) && mentions(&"sshd") && !mentions(&("x", b"/srv/x")));
}

#[test]
fn where_no_guard_can_be_it_is_said_or_refused() {
    let config = [("dest", "/etc/ssh/sshd_config"), ("content", "Port 2222\n")];
    let bare = || {
        let cannot = Answer {
            rc: 1,
            ..Answer::ok("systemd does not run there\n")
        };
        Arc::new(host().fact("guard", cannot))
    };
    for pass in [Pass::Plan, Pass::Apply] {
        let machine = bare();
        let end = ends(&mut session(&machine), task("copy", &config, pass, false, false));
        let (word, notes) = state(&end).unwrap();
        assert_eq!(word, "off");
        assert!(
            notes[0].starts_with("not guarded: systemd does not run there; nobody"),
            "{notes:?}"
        );
    }
    let machine = bare();
    let end = ends(&mut session(&machine), task("copy", &config, Pass::Plan, false, true));
    assert!(state(&end).unwrap().1[0].ends_with("it will be refused"));
    let Reply::Failed(failure) = ends(&mut session(&machine), task("copy", &config, Pass::Apply, false, true)) else {
        panic!("a step that cannot be guarded is applied");
    };
    assert!(
        failure
            .message
            .contains("cannot be guarded: systemd does not run there"),
        "{}",
        failure.message
    );
    assert_eq!(log(&machine), Vec::<String>::new());
    // A guard that does not come up, and one that has put the host back, let nothing be touched.
    for (answer, words) in [
        (
            Answer {
                rc: 4,
                ..Answer::ok("Failed to start transient service unit\n")
            },
            "Failed to start transient",
        ),
        (Answer::status(GONE), "has put this host back"),
    ] {
        let machine = Arc::new(host().fail_action(&["/bin/sh"], answer));
        let Reply::Failed(failure) = ends(&mut session(&machine), task("copy", &config, Pass::Apply, false, false))
        else {
            panic!("a step is applied without its guard");
        };
        assert!(failure.message.contains(words), "{}", failure.message);
        assert_eq!(machine.text("/etc/ssh/sshd_config").as_deref(), Some("Port 22\n"));
    }
}

#[test]
fn a_plan_on_a_host_to_come_says_that_it_will_be_guarded() {
    let blank = Arc::new(crate::system::blank::Blank::new("el9", "web").unwrap());
    let mut session = Session::new(blank, crate::Stop::default());
    let config = [("dest", "/etc/ssh/sshd_config"), ("content", "x\n")];
    let end = ends(&mut session, task("copy", &config, Pass::Plan, false, false));
    assert_eq!(state(&end).unwrap().0, "planned", "{end:?}");
}

/// A guard in a folder of its own on this machine, with a systemd that is none.
struct Real {
    folder: tempfile::TempDir,
    children: Mutex<Vec<Child>>,
}

const RUN: &str =
    "#!/bin/sh\nwhile [ \"$1\" != /bin/sh ]; do shift; done\nsetsid \"$@\" >>\"${0%/*}/journal\" 2>&1 &\n";

impl Real {
    fn new() -> Real {
        let folder = tempfile::tempdir().unwrap();
        let real = Real {
            folder,
            children: Mutex::default(),
        };
        for (name, text) in [
            ("systemd-run", RUN),
            ("systemctl", "#!/bin/sh\nexit 0\n"),
            ("systemd-cat", "#!/bin/sh\ncat >>\"${0%/*}/journal\"\n"),
        ] {
            let path = real.path(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        std::fs::create_dir_all(real.path("guards/7f")).unwrap();
        std::fs::create_dir(real.path("etc")).unwrap();
        std::fs::write(real.path("guards/7f/guard"), SCRIPT).unwrap();
        real
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("/bin/sh");
        let path = format!("{}:{}", self.folder.path().display(), crate::system::local::PATH);
        command.arg(self.path("guards/7f/guard")).args(words).env("PATH", path);
        command
    }

    fn say(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    fn does(&self, words: &[&str]) {
        let output = self.say(words);
        assert!(output.status.success(), "{words:?}: {output:?}");
    }

    /// Something that goes on.
    fn begin(&self, words: &[&str]) {
        self.children.lock().unwrap().push(self.command(words).spawn().unwrap());
    }

    fn has(&self, name: &str) -> bool {
        self.path("guards/7f").join(name).exists()
    }

    /// Its time is over.
    fn expire(&self, generation: u32) {
        std::fs::write(self.path(&format!("guards/7f/armed.{generation}")), "0\n").unwrap();
    }

    fn confirm(&self) -> String {
        String::from_utf8(self.say(&["confirm"]).stdout).unwrap()
    }

    fn until(&self, what: &str, holds: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !holds() {
            let journal = std::fs::read_to_string(self.path("journal")).unwrap_or_default();
            assert!(Instant::now() < deadline, "not within 20 s: {what}\n{journal}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        for child in self.children.lock().unwrap().iter_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
        // The watch ends when its folder is gone.
        let _ = std::fs::remove_dir_all(self.path("guards"));
    }
}

/// Everything below a folder: kind, mode, content or target.
fn picture(folder: &Path) -> Vec<String> {
    let mut all = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            let meta = std::fs::symlink_metadata(&path).unwrap();
            let content = if meta.is_dir() {
                folders.push(path.clone());
                String::new()
            } else if meta.is_symlink() {
                std::fs::read_link(&path).unwrap().display().to_string()
            } else {
                format!("{:?} {}", std::fs::read(&path).unwrap(), meta.mtime())
            };
            let mode = if meta.is_symlink() { 0 } else { meta.mode() };
            all.push(format!("{} {mode:o} {content}", path.display()));
        }
    }
    all.sort();
    all
}

#[test]
fn files_are_put_back_byte_for_byte() {
    let real = Real::new();
    let etc = real.path("etc");
    let at = |name: &str| etc.join(name).display().to_string();
    std::fs::write(etc.join("a b"), b"old \xff\n").unwrap();
    std::fs::set_permissions(etc.join("a b"), std::fs::Permissions::from_mode(0o640)).unwrap();
    std::fs::write(etc.join("gone"), "old").unwrap();
    symlink("gone", etc.join("link")).unwrap();
    symlink("a b", etc.join("through")).unwrap();
    std::fs::create_dir_all(etc.join("tree/empty")).unwrap();
    std::fs::write(etc.join("tree/x"), "x").unwrap();
    let before = picture(&etc);
    real.does(&["arm", "60", "login"]);
    for words in [
        ["keep", "file", "login", &at("through")],
        ["keep", "this", "login", &at("gone")],
        ["keep", "this", "login", &at("link")],
        ["keep", "this", "login", &at("new")],
        ["keep", "this", "login", &at("new/inside")],
        ["keep", "this", "login", &at("tree")],
        ["keep", "tree", "login", &at("tree")],
    ] {
        real.does(&words);
    }
    std::fs::write(etc.join("a b"), "new").unwrap();
    std::fs::set_permissions(etc.join("a b"), std::fs::Permissions::from_mode(0o604)).unwrap();
    std::fs::remove_file(etc.join("gone")).unwrap();
    std::fs::remove_file(etc.join("link")).unwrap();
    std::fs::write(etc.join("link"), "no link").unwrap();
    std::fs::create_dir(etc.join("new")).unwrap();
    std::fs::write(etc.join("new/inside"), "new").unwrap();
    std::fs::write(etc.join("tree/y"), "y").unwrap();
    std::fs::remove_file(etc.join("tree/x")).unwrap();
    // Kept once: what is there now is not what was there before.
    real.does(&["keep", "file", "login", &at("a b")]);
    real.does(&["keep", "this", "login", &at("new")]);
    real.expire(1);
    real.until("it is put back", || real.has("put-back"));
    assert_eq!(picture(&etc), before);
    let said = real.confirm();
    assert!(
        said.starts_with("okd-play-guard:put-back ") && said.contains("the old state is back"),
        "{said}"
    );
    let late = real.say(&["keep", "file", "login", &at("a b")]);
    assert_eq!(late.status.code(), Some(GONE));
    assert_eq!(real.say(&["arm", "1", "login"]).status.code(), Some(GONE));
    real.does(&["end"]);
    assert!(real.has("log"), "what it has to say stays");
}

#[test]
fn a_confirmed_change_stays() {
    let real = Real::new();
    let file = real.path("etc/a");
    std::fs::write(&file, "old").unwrap();
    let path = file.display().to_string();
    for turn in 1..=2 {
        real.does(&["arm", "60", "login"]);
        real.does(&["keep", "file", "login", &path]);
        std::fs::write(&file, format!("new {turn}")).unwrap();
        assert_eq!(real.confirm(), "okd-play-guard:confirmed\n");
        assert_eq!(real.confirm(), "okd-play-guard:confirmed\n");
        assert!(!real.has("login"), "what is confirmed is kept no longer");
    }
    // The second guard puts back what the first had confirmed.
    real.does(&["arm", "60", "login"]);
    real.does(&["keep", "file", "login", &path]);
    std::fs::write(&file, "bad").unwrap();
    real.expire(3);
    real.until("it is put back", || real.has("put-back"));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "new 2");
    let journal = std::fs::read_to_string(real.path("journal")).unwrap();
    assert_eq!(journal.matches("confirmed by a new connection").count(), 2, "{journal}");
}

/// A machine with guards of other runs, and how often a session told that it waits.
fn others(files: &[&str], watches: bool) -> (Arc<Fake>, Arc<Mutex<u32>>, std::thread::JoinHandle<()>) {
    let answer = if watches { Answer::default() } else { Answer::status(3) };
    let mut machine = Fake::new().command(&["systemctl", "-q", "is-active"], answer);
    for file in files {
        machine = machine.file(&format!("{FOLDER}/{file}"), "");
    }
    let (machine, told) = (Arc::new(machine), Arc::new(Mutex::new(0)));
    let (world, tell) = (machine.clone(), told.clone());
    let wait = move || others_decided(world.as_ref(), &Stop::default(), || *tell.lock().unwrap() += 1);
    (machine, told, std::thread::spawn(wait))
}

#[test]
fn a_session_begins_when_the_guards_of_other_runs_have_decided() {
    let decided: [&[&str]; 3] = [&[], &["7f/areas.1", "7f/confirmed.1"], &["7f/areas.1", "7f/put-back"]];
    for files in decided {
        let (_, told, wait) = others(files, true);
        wait.join().unwrap();
        assert_eq!(*told.lock().unwrap(), 0, "{files:?}");
    }
    // Its watch is gone: the machine was restarted.
    let (_, told, wait) = others(&["7f/areas.1", "7f/armed.1"], false);
    wait.join().unwrap();
    assert_eq!(*told.lock().unwrap(), 0);
    for end in ["confirmed.2", "put-back"] {
        let (machine, told, wait) = others(&["7f/areas.1", "7f/confirmed.1", "7f/areas.2", "7f/busy.2"], true);
        let deadline = Instant::now() + Duration::from_secs(10);
        while *told.lock().unwrap() == 0 {
            assert!(Instant::now() < deadline, "it did not wait");
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(!wait.is_finished());
        let path = AbsPath::new(&format!("{FOLDER}/7f/{end}")).unwrap();
        machine.make(&path, &Make::Directory { mode: 0o700 }).unwrap();
        wait.join().unwrap();
        assert_eq!(*told.lock().unwrap(), 1);
    }
}

#[test]
fn a_session_that_is_stopped_waits_for_no_guard() {
    let machine = Fake::new()
        .file(&format!("{FOLDER}/7f/areas.1"), "")
        .command(&["systemctl"], Answer::default());
    let stop = Stop::default();
    others_decided(&machine, &stop.clone(), || stop.set());
    assert!(stop.is_set(), "it did not even begin to wait");
}

#[test]
fn an_end_without_doubt_leaves_nothing() {
    let real = Real::new();
    assert_eq!(real.confirm(), "okd-play-guard:none\n");
    real.does(&["arm", "60", "login"]);
    real.does(&["end"]);
    assert!(real.has("armed.1"), "what nobody has confirmed is watched on");
    assert_eq!(real.confirm(), "okd-play-guard:confirmed\n");
    real.does(&["end"]);
    assert!(!real.path("guards/7f").exists());
}

#[test]
fn while_a_command_runs_nothing_is_put_back_and_then_time_begins_anew() {
    let real = Real::new();
    real.does(&["arm", "3", "login"]);
    let go = real.path("go").display().to_string();
    let wait = format!("until [ -e {go} ]; do sleep 0.05; done");
    real.begin(&["during", "login", "sh", "-c", &wait]);
    real.until("the command runs", || real.has("held"));
    let armed = |real: &Real| {
        std::fs::read_to_string(real.path("guards/7f/armed.1"))
            .ok()?
            .trim()
            .parse::<u64>()
            .ok()
    };
    let first = armed(&real).unwrap();
    let uptime = || {
        let text = std::fs::read_to_string("/proc/uptime").unwrap();
        text.split('.').next().unwrap().parse::<u64>().unwrap()
    };
    real.until("its time is over", || uptime() > first + 1);
    assert!(real.has("armed.1"), "put back in the middle of a step");
    assert_eq!(real.confirm(), "okd-play-guard:busy\n");
    std::fs::write(&go, "").unwrap();
    real.until("its time begins anew", || {
        armed(&real).is_some_and(|now| now > first) || real.has("put-back")
    });
    real.until("it is put back", || real.has("put-back"));
}

#[test]
fn a_command_that_dies_does_not_hold_it() {
    let real = Real::new();
    real.does(&["arm", "60", "login"]);
    let stays = format!("while [ -e {} ]; do sleep 0.05; done", real.path("guards").display());
    real.begin(&["during", "login", "sh", "-c", &stays]);
    real.until("the command runs", || real.has("held"));
    let pid = std::fs::read_to_string(real.path("guards/7f/held")).unwrap();
    let pid = pid.split(' ').next().unwrap().to_owned();
    assert!(Command::new("kill").args(["-9", &pid]).status().unwrap().success());
    for child in real.children.lock().unwrap().iter_mut() {
        child.wait().unwrap();
    }
    real.expire(1);
    real.until("it is put back", || real.has("put-back"));
}

#[test]
fn a_command_under_guard_is_the_same_command() {
    let real = Real::new();
    real.does(&["arm", "60", "login"]);
    let during = |words: &[&str]| real.say(&[&["during", "login"], words].concat());
    let said = during(&["sh", "-c", "echo \"$A\"; echo err >&2; exit 3"]);
    assert_eq!(
        (said.status.code(), said.stdout.as_slice(), said.stderr.as_slice()),
        (Some(3), &b"\n"[..], &b"err\n"[..])
    );
    let missing = during(&["no-such-program"]);
    assert_eq!(
        (missing.status.code(), missing.stderr.as_slice()),
        (Some(127), &b"no-such-program: command not found\n"[..])
    );
    // Not the script's own function.
    assert_eq!(during(&["sh", "-c", "exit 0"]).status.code(), Some(0));
    assert_ne!(during(&["units", "x"]).status.code(), Some(0));
}
