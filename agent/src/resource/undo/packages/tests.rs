//! Packages of machines made of data, taken back.
#![allow(clippy::unwrap_used)]

use super::needs::dpkg_blocks;
use super::*;
use crate::param::Params;
use crate::path::AbsPath;
use crate::resource::apt::Apt;
use crate::resource::{Outcome, Status, converge};
use crate::system::fake::Fake;
use crate::system::journal::{Deed, Journal, folders};
use crate::system::{FileWrite, Removal};
use crate::value::{Value, map};
use std::sync::Arc;

const RPMS: &str = "bash (none) 5.1 1.el9 x86_64\ntree 0 1.8 1.el9 x86_64\n";
const MORE: &str = "bind 32 9.16 1.el9 x86_64\nbind-libs 32 9.16 1.el9 x86_64\n";
const DEBS: &str = "bash 5.2 ii  \nold 1.0 rc  \ntree 2.1 ii  \n";

fn rpms() -> Fake {
    Fake::new()
        .dir("/var/lib")
        .file("/usr/bin/dnf", "")
        .command(&["rpm", "-qa"], Answer::ok(RPMS))
        .command(&["rpm", "-e"], Answer::default())
        .command(&["dnf", "-y"], Answer::default())
        .fact("packages:offered", Answer::ok(format!("{RPMS}{MORE}")))
        .fact("packages:files", Answer::default())
}

fn debs() -> Fake {
    Fake::new()
        .dir("/var/lib")
        .file("/usr/bin/apt-get", "")
        .command(&["dpkg-query", "-W"], Answer::ok(DEBS))
        .command(&["dpkg"], Answer::default())
        .command(&["apt-get"], Answer::default())
        .fact(
            "packages:offered",
            Answer::ok("tree | 2.1 | http://deb.debian.org bookworm/main amd64 Packages\n"),
        )
}

const RUN: &str = "20260101-000000-test";
const UNDO: &str = "20260101-000001-undo";

/// What a run does.
fn run(host: &Arc<Fake>, deeds: impl FnOnce(&Journal)) {
    let journal = Journal::new(host.clone());
    journal.begin(RUN);
    deeds(&journal);
}

/// A transaction of a package manager that says of one package alone what the list will say, but does more.
fn transaction(world: &dyn System, list: &[&str], after: &str) {
    world.probe(&Probe::new("package:bind", list)).unwrap();
    let effect = Effect::predicts(ALL, Answer::ok(after));
    world
        .act(&Action::new(&["dnf", "-y", "install", "bind"], effect))
        .unwrap();
}

fn install(world: &dyn System, after: &str) {
    transaction(world, &["rpm", "-qa"], after);
}

fn undone(host: &Arc<Fake>, run: &str, force: bool) -> Outcome {
    let journal = Journal::new(host.clone());
    journal.begin(UNDO);
    let undo = Undo {
        run: run.to_owned(),
        force,
        ledger: 0,
    };
    converge(&undo, &journal as &(dyn System + 'static), None).unwrap()
}

fn left(outcome: &Outcome) -> Vec<String> {
    let left = outcome.result.get("left").and_then(Value::as_list).unwrap();
    let part = |one: &Value, name: &str| one.as_map().unwrap()[name].to_string();
    left.iter()
        .map(|one| format!("{}: {}", part(one, "what"), part(one, "why")))
        .collect()
}

fn shown(outcome: &Outcome) -> Vec<String> {
    let line = |change: &Change| match change {
        Change::Item { sign, text } => format!("{}{text}", if *sign == Sign::Added { "+" } else { "-" }),
        Change::Field { of, before, after, .. } => format!("{of} {before} > {after}"),
        Change::Text(text) => text.path.clone(),
        Change::Act(text) => text.clone(),
    };
    outcome.diff.iter().map(line).collect()
}

fn acts(host: &Fake) -> Vec<String> {
    host.acts().iter().map(|action| action.argv.join(" ")).collect()
}

fn same(host: &Fake, list: &str) {
    let list: Vec<String> = list.lines().map(str::to_owned).collect();
    assert_eq!(lines(&host.packages()), lines(&list));
}

#[test]
fn what_came_beside_goes_and_what_went_comes_back() {
    let host = Arc::new(rpms());
    let after = RPMS
        .replace("tree 0 1.8 1.el9 x86_64\n", MORE)
        .replace("bash (none) 5.1", "bash (none) 5.2");
    run(&host, |world| install(world, &after));
    let outcome = undone(&host, RUN, false);
    assert_eq!(
        shown(&outcome),
        [
            "bash 5.2-1.el9 > 5.1-1.el9",
            "-bind 32:9.16-1.el9",
            "-bind-libs 32:9.16-1.el9",
            "+tree 1.8-1.el9"
        ]
    );
    assert_eq!(left(&outcome), Vec::<String>::new());
    assert_eq!(
        acts(&host)[1..],
        [
            "dnf -y --setopt=install_weak_deps=False install bash-5.1-1.el9.x86_64 tree-1.8-1.el9.x86_64",
            "rpm -e bind-9.16-1.el9.x86_64 bind-libs-9.16-1.el9.x86_64"
        ]
    );
    same(&host, RPMS);
    assert_eq!(undone(&host, RUN, false).status, Status::Same);
}

#[test]
fn only_the_runs_own_part_of_a_list_is_taken_back() {
    let host = Arc::new(rpms());
    let theirs = "wget 0 1 1 x86_64\n";
    run(&host, |world| {
        install(world, &format!("{RPMS}{MORE}"));
        install(host.as_ref(), &format!("{RPMS}{MORE}{theirs}"));
        install(
            world,
            &format!("{RPMS}{MORE}{theirs}").replace("tree 0 1.8", "tree 0 1.9"),
        );
    });
    undone(&host, RUN, false);
    same(&host, &format!("{RPMS}{theirs}"));
}

#[test]
fn what_somebody_has_changed_since_is_left_alone() {
    let host = Arc::new(rpms());
    run(&host, |world| install(world, &format!("{RPMS}{MORE}")));
    let theirs = format!("{RPMS}{MORE}").replace("bind 32 9.16", "bind 32 9.18");
    install(host.as_ref(), &theirs);
    let outcome = undone(&host, RUN, false);
    assert_eq!(
        left(&outcome),
        ["package bind: it was changed since, bind 32:9.18-1.el9 is installed; --force takes it back all the same"]
    );
    same(&host, &theirs.replace("bind-libs 32 9.16 1.el9 x86_64\n", ""));
    undone(&host, RUN, true);
    same(&host, RPMS);
}

#[test]
fn what_others_need_stays_and_what_it_needs() {
    let needs = |text: &str| Answer {
        rc: 1,
        stderr: format!("rpm: a warning\nerror: Failed dependencies:\n\t{text}\n").into_bytes(),
        ..Answer::default()
    };
    let (bind, libs) = ("bind-9.16-1.el9.x86_64", "bind-libs-9.16-1.el9.x86_64");
    let list = format!("{RPMS}{MORE}wget 0 1 1 x86_64\n");
    let (whole, rest) = (
        needs("bind >= 9 is needed by (installed) ipa-32:1-1.x86_64"),
        needs("libdns.so is needed by (installed) bind-32:9.16-1.el9.x86_64"),
    );
    let host = Arc::new(
        rpms()
            .command(&["rpm", "-e", "--test", bind], whole)
            .command(&["rpm", "-e", "--test", libs], rest)
            .fact("provides:bind", Answer::ok(MORE.lines().next().unwrap()))
            .fact("provides:libdns.so", Answer::ok(MORE.lines().last().unwrap())),
    );
    run(&host, |world| install(world, &list));
    let outcome = undone(&host, RUN, false);
    assert_eq!(
        left(&outcome),
        [
            "package bind: bind >= 9 is needed by (installed) ipa-32:1-1.x86_64",
            "package bind-libs: libdns.so is needed by (installed) bind-32:9.16-1.el9.x86_64"
        ]
    );
    same(&host, &format!("{RPMS}{MORE}"));
    assert_eq!(undone(&host, RUN, false).status, Status::Same);
}

#[test]
fn a_refusal_that_nobody_understands_keeps_everything() {
    for words in [
        "error: the database is locked",
        "error: Failed dependencies:\n\t(a if b) is needed by (installed) x-1-1.noarch",
    ] {
        let refused = Answer {
            rc: 1,
            stderr: format!("{words}\n").into_bytes(),
            ..Answer::default()
        };
        let host = Arc::new(
            rpms()
                .command(&["rpm", "-e", "--test"], refused)
                .command(&["rpm", "-q", "--whatprovides"], Answer::status(1)),
        );
        run(&host, |world| install(world, &format!("{RPMS}{MORE}")));
        let outcome = undone(&host, RUN, false);
        assert_eq!(outcome.status, Status::Same);
        let said = words.rsplit(['\t', ':']).next().unwrap().trim();
        assert!(
            left(&outcome).iter().all(|line| line.ends_with(said)),
            "{:?}",
            left(&outcome)
        );
        same(&host, &format!("{RPMS}{MORE}"));
    }
}

#[test]
fn what_no_repository_has_any_more_is_said() {
    let host = Arc::new(rpms().fact("packages:offered", Answer::ok(MORE)));
    let after = RPMS.replace("tree 0 1.8 1.el9 x86_64\n", MORE);
    run(&host, |world| install(world, &after));
    let outcome = undone(&host, RUN, false);
    assert_eq!(
        left(&outcome),
        ["package tree: no repository of this host has tree 1.8-1.el9 any more"]
    );
    same(&host, "bash (none) 5.1 1.el9 x86_64\n");
}

#[test]
fn a_run_that_was_killed_in_a_transaction_is_taken_back() {
    let host = Arc::new(rpms());
    run(&host, |world| install(world, &format!("{RPMS}{MORE}")));
    let kept = folders("").into_iter().map(|folder| folder.join(RUN));
    let kept = kept.flat_map(|folder| {
        let entries = host.list(&folder).unwrap();
        entries.into_iter().map(move |entry| folder.join(&entry.name))
    });
    let kept: Vec<AbsPath> = kept.collect();
    assert_eq!(kept.len(), 2, "one record before it, and one after it");
    host.remove(kept.last().unwrap(), Removal::File).unwrap();
    assert_eq!(left(&undone(&host, RUN, false)), Vec::<String>::new());
    same(&host, RPMS);
}

#[test]
fn a_whole_upgrade_is_taken_back() {
    let simulated = "Inst tree [2.1] (2.2 Debian:12 [amd64])\nInst new (1.0 Debian:12 [amd64])\nRemv bash [5.2]\n";
    let back = [&["apt-get", "-s", "-o", "Debug::NoLocking=1"], apt::READ_ONLY, &["-y"]].concat();
    let offered = "tree | 2.1 | x Packages\nbash | 5.2 | x Packages\nbash | 5.2 | x Sources\n";
    let host = Arc::new(
        debs()
            .command(&["apt-get", "-s"], Answer::ok(simulated))
            .command(
                &back,
                Answer::ok("Inst tree [2.2] (2.1 x [amd64])\nInst bash (5.2 x [amd64])\n"),
            )
            .fact("packages:offered", Answer::ok(offered)),
    );
    let apt = Apt::decode(&map([("upgrade", "full".into())])).unwrap();
    run(&host, |world| {
        drop(converge(&apt, world as &(dyn System + 'static), None).unwrap())
    });
    same(&host, "old 1.0 rc  \ntree 2.2 ii  \nnew 1.0 ii  \n");
    let outcome = undone(&host, RUN, false);
    assert_eq!(shown(&outcome), ["+bash 5.2", "-new 1.0", "tree 2.2 > 2.1"]);
    assert!(
        acts(&host)[1].ends_with("--allow-downgrades --no-remove --no-install-recommends install bash=5.2 tree=2.1")
    );
    assert_eq!(acts(&host)[2..], ["dpkg --remove new", "dpkg --purge new"]);
    same(&host, DEBS);
}

#[test]
fn what_apt_cannot_install_stays_away_in_its_words() {
    let refused = Answer {
        rc: 100,
        stderr: b"E: Packages need to be removed but remove is disabled.\n".to_vec(),
        ..Answer::default()
    };
    let host = Arc::new(debs().command(&["apt-get", "-s"], refused));
    run(&host, |world| {
        transaction(
            world,
            &["dpkg-query", "-W"],
            "bash 5.2 ii  \nold 1.0 rc  \nother 1 ii  \n",
        )
    });
    let outcome = undone(&host, RUN, false);
    assert_eq!(
        left(&outcome),
        ["package tree: apt-get: Packages need to be removed but remove is disabled."]
    );
    same(&host, "bash 5.2 ii  \nold 1.0 rc  \n");
}

#[test]
fn what_stands_in_the_way_of_what_comes_gives_way_at_once() {
    let refused = Answer {
        rc: 100,
        stderr: b"E: Packages need to be removed but remove is disabled.\n".to_vec(),
        ..Answer::default()
    };
    let tree = Package::parse(Manager::Apt, "tree 2.1 ii  ").unwrap();
    let alone = installs(Manager::Apt, &[tree], &[]);
    let asked = [
        words(&["apt-get", "-s", "-o", "Debug::NoLocking=1"]),
        words(apt::READ_ONLY),
        alone,
    ]
    .concat();
    let asked: Vec<&str> = asked.iter().map(String::as_str).collect();
    for (removed, swaps) in [("Remv other [1]\n", true), ("Remv other [1]\nRemv bash [5.2]\n", false)] {
        let host = debs().command(&["apt-get", "-s"], Answer::ok(removed));
        let host = Arc::new(host.command(&asked, refused.clone()));
        let after = "bash 5.2 ii  \nold 1.0 rc  \nother 1 ii  \n";
        run(&host, |world| transaction(world, &["dpkg-query", "-W"], after));
        let outcome = undone(&host, RUN, false);
        assert_eq!(left(&outcome).len(), usize::from(!swaps), "{:?}", left(&outcome));
        assert_eq!(acts(&host)[1].ends_with("install tree=2.1 other-"), swaps);
        assert_eq!(acts(&host).last().unwrap(), "dpkg --purge other");
        same(&host, if swaps { DEBS } else { "bash 5.2 ii  \nold 1.0 rc  \n" });
    }
}

#[test]
fn a_command_keeps_one_list_for_all_its_packages() {
    let host = Arc::new(rpms());
    run(&host, |world| {
        let keys = ["package:bind", "package:bind-libs", "package:wget"];
        for key in keys {
            world.probe(&Probe::new(key, &["rpm", "-qa"])).unwrap();
        }
        let predicts = keys.map(|key| (key.to_owned(), Answer::default())).to_vec();
        let declared = Declared {
            predicts,
            ..Declared::default()
        };
        world
            .act(&Action::new(&["dnf", "-y"], Effect::Declared(declared)))
            .unwrap();
    });
    let records = crate::system::journal::read(RUN, host.as_ref()).unwrap();
    let acts: Vec<&crate::system::journal::Act> = records
        .iter()
        .filter_map(|record| match &record.deed {
            Deed::Act(act) => Some(act),
            _ => None,
        })
        .collect();
    let kept = acts[0].facts.iter().filter(|fact| fact.before.is_some()).count();
    assert_eq!((acts.len(), acts[0].facts.len(), kept, acts[0].whole), (1, 3, 1, true));
}

#[test]
fn configuration_alone_comes_back_and_goes() {
    let offered = Answer::ok("old | 1.0 | x Packages\n");
    let host = Arc::new(debs().fact("packages:offered", offered));
    run(&host, |world| {
        transaction(
            world,
            &["dpkg-query", "-W"],
            "bash 5.2 ii  \ntree 2.1 ii  \nnew 1 rc  \n",
        )
    });
    let outcome = undone(&host, RUN, false);
    assert_eq!(
        shown(&outcome),
        ["-new 1 (its configuration)", "+old 1.0 (its configuration)"]
    );
    assert!(acts(&host)[1].ends_with("install old=1.0"));
    assert_eq!(acts(&host)[2..], ["dpkg --remove old", "dpkg --purge new"]);
    same(&host, DEBS);
    let back = Arc::new(debs());
    run(&back, |world| {
        transaction(world, &["dpkg-query", "-W"], &DEBS.replace("old 1.0 rc", "old 1.1 ii"))
    });
    undone(&back, RUN, false);
    assert_eq!(
        acts(&back)[1..],
        ["dpkg --remove old"],
        "what was left of it before stays"
    );
}

/// A package with a file that a run edits.
fn packaged(host: Fake) -> (Arc<Fake>, FileWrite) {
    let host = host.package("bind", &[("/etc/named.conf", "packaged\n")], &[]);
    let path = AbsPath::new("/etc/named.conf").unwrap();
    (Arc::new(host), FileWrite::new(path, b"edited\n".to_vec()))
}

fn install_bind(world: &dyn System) {
    world.probe(&Probe::new("package:bind", &["rpm", "-qa"])).unwrap();
    let declared = Declared {
        predicts: vec![("package:bind".to_owned(), Answer::ok("bind 32 9.16 1.el9 x86_64\n"))],
        brings: vec!["bind".to_owned()],
        ..Declared::default()
    };
    world
        .act(&Action::new(
            &["dnf", "-y", "install", "bind"],
            Effect::Declared(declared),
        ))
        .unwrap();
}

#[test]
fn a_file_of_a_package_goes_with_it_and_comes_back_as_it_was_edited() {
    let (host, edit) = packaged(rpms());
    run(&host, |world| {
        install_bind(world);
        world.write(&edit).unwrap();
    });
    let outcome = undone(&host, RUN, false);
    assert_eq!(shown(&outcome), ["/etc/named.conf", "-bind 32:9.16-1.el9"]);
    let log = host.log();
    let at = |line: &str| log.iter().rposition(|other| other.starts_with(line)).unwrap();
    assert!(at("write /etc/named.conf") < at("act rpm -e"), "{log:?}");
    assert_eq!(host.text("/etc/named.conf"), None);
    assert_eq!(undone(&host, RUN, false).status, Status::Same);
    let redone = undone(&host, UNDO, false);
    assert_eq!(
        (left(&redone), host.text("/etc/named.conf")),
        (Vec::new(), Some("edited\n".to_owned()))
    );
}

#[test]
fn a_file_that_was_there_before_its_package_is_there_after_it() {
    let (host, edit) = packaged(rpms().file("/etc/named.conf", "theirs\n"));
    run(&host, |world| {
        world.write(&edit).unwrap();
        install_bind(world);
    });
    undone(&host, RUN, false);
    assert_eq!(host.text("/etc/named.conf").as_deref(), Some("theirs\n"));
    same(&host, RPMS);
}

#[test]
fn configuration_that_somebody_edited_since_is_not_purged() {
    let verified = Answer::ok("??5?????? c /etc/new/ours\n??5?????? c /etc/new/theirs\nmissing c /etc/new/gone\n");
    let host = Arc::new(
        debs()
            .command(&["dpkg", "--verify", "new"], verified)
            .file("/etc/new/ours", "packaged\n"),
    );
    run(&host, |world| {
        transaction(world, &["dpkg-query", "-W"], &format!("{DEBS}new 1 ii  \n"));
        let ours = AbsPath::new("/etc/new/ours").unwrap();
        world.write(&FileWrite::new(ours, b"edited\n".to_vec())).unwrap();
    });
    let outcome = undone(&host, RUN, false);
    assert_eq!(
        left(&outcome),
        ["configuration of package new: it was changed since, /etc/new/theirs; --force takes it back all the same"]
    );
    assert!(!acts(&host).iter().any(|act| act.starts_with("dpkg --purge")));
    same(&host, &format!("{DEBS}new 1 rc  \n"));
    undone(&host, RUN, true);
    same(&host, DEBS);
}

#[test]
fn the_kernel_that_runs_stays() {
    let kernels = "kernel-core 0 5.14 1.el9 x86_64\nkernel-core 0 5.14 2.el9 x86_64\nkernel-core 0 5.14 3.el9 x86_64\n";
    for (release, stays) in [("5.14-3.el9.x86_64", true), ("5.14-1.el9.x86_64", false)] {
        let here = kernels.split_inclusive('\n').take(2).collect::<String>();
        let host = Arc::new(
            rpms()
                .command(&["rpm", "-qa"], Answer::ok(here.clone()))
                .command(&["uname", "-r"], Answer::ok(release)),
        );
        run(&host, |world| install(world, kernels));
        assert_eq!(left(&undone(&host, RUN, false)).len(), usize::from(stays));
        same(&host, if stays { kernels } else { &here });
    }
}

#[test]
fn dpkg_says_what_needs_what() {
    let text = "dpkg: dependency problems prevent removal of zlib1g:amd64:\n zstd depends on zlib1g (>= 1:1.1.4).\n \
                wget pre-depends on zlib1g (>= 1:1.1.4); however:\n  Package zlib1g:amd64 is to be removed.\n\n\
                dpkg: error processing package zlib1g:amd64 (--remove):\n dependency problems - not removing\n\
                dpkg: error processing package bash (--remove):\n this is an essential package; it should not be removed\n\
                Errors were encountered while processing:\n zlib1g:amd64\n bash\n";
    let said = |changing: &[&str]| {
        let (read, blocks) = dpkg_blocks(text, &changing.iter().copied().collect());
        assert!(read);
        blocks
            .into_iter()
            .map(|block| format!("{}: {}", block.target, block.words))
            .collect::<Vec<_>>()
    };
    let essential = "bash: this is an essential package; it should not be removed";
    let zstd = "zlib1g:amd64: zstd depends on zlib1g (>= 1:1.1.4)";
    let wget = "zlib1g:amd64: wget pre-depends on zlib1g (>= 1:1.1.4)";
    assert_eq!(said(&[]), [zstd, wget, essential]);
    assert_eq!(said(&["wget"]), [zstd, essential]);
    assert!(
        !dpkg_blocks(
            "dpkg: error: dpkg frontend lock was locked by another process\n",
            &BTreeSet::new()
        )
        .0
    );
}
