//! What this machine alone shows: leftovers, links of the kernel's, attributes, stages.
#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, missing_docs)]

use okd_agent::path::AbsPath;
use okd_agent::system::local::Local;
use okd_agent::system::{Action, Effect, FileWrite, Probe, Removal, Staged, System, SystemError};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, Instant};

fn at(path: &Path) -> AbsPath {
    AbsPath::new(path.to_str().unwrap()).unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn leftovers_of_a_killed_write_go_with_the_next_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("named.conf");
    let local = Local::new();
    local.write(&FileWrite::new(at(&path), b"old\n".to_vec())).unwrap();
    let stem = {
        let seen = dir.path().join("seen");
        let script = format!("ls -A '{}' > '{}'", dir.path().display(), seen.display());
        let argv = ["sh", "-c", &script, "%s"].map(str::to_owned).to_vec();
        local
            .write(&FileWrite {
                validate: Some(argv),
                ..FileWrite::new(at(&path), b"old\n".to_vec())
            })
            .unwrap();
        let seen = std::fs::read_to_string(seen).unwrap();
        let name = seen
            .lines()
            .find(|name| name.starts_with(".okd-play-"))
            .unwrap()
            .to_owned();
        name.split('-').take(3).collect::<Vec<_>>().join("-")
    };
    std::fs::remove_file(dir.path().join("seen")).unwrap();
    std::fs::write(dir.path().join(format!("{stem}-999999999-0")), b"half a fi").unwrap();
    std::fs::write(dir.path().join(format!("{stem}-1-0")), b"somebody is at it").unwrap();
    std::fs::write(dir.path().join(".okd-play-00000000-999999999-0"), b"of another file").unwrap();
    local.write(&FileWrite::new(at(&path), b"new\n".to_vec())).unwrap();
    let expected = [".okd-play-00000000-999999999-0", &format!("{stem}-1-0"), "named.conf"];
    assert_eq!(names(dir.path()), expected);
}

#[test]
fn a_new_file_is_closed_while_it_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x");
    let argv = ["sh", "-c", "test \"$(stat -c %a \"$1\")\" = 640", "sh", "%s"]
        .map(str::to_owned)
        .to_vec();
    let file = FileWrite {
        mode: Some(0o640),
        validate: Some(argv),
        ..FileWrite::new(at(&path), b"x".to_vec())
    };
    Local::new().write(&file).unwrap();
    assert_eq!(names(dir.path()), ["x"]);
}

#[test]
fn attributes_of_the_old_file_stay() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x");
    std::fs::write(&path, b"old").unwrap();
    let set = rustix::fs::setxattr(&path, "user.note", b"mine", rustix::fs::XattrFlags::empty());
    Local::new().write(&FileWrite::new(at(&path), b"new".to_vec())).unwrap();
    let mut value = [0; 16];
    match set {
        Ok(()) => assert_eq!(rustix::fs::getxattr(&path, "user.note", &mut value[..]).unwrap(), 4),
        Err(error) => assert_eq!(error, rustix::io::Errno::OPNOTSUPP),
    }
    assert_eq!(std::fs::read(&path).unwrap(), b"new");
}

#[test]
fn a_write_that_cannot_be_finished_leaves_the_old_file() {
    let local = Local::new();
    let full = AbsPath::new("/dev/full").unwrap();
    assert!(matches!(
        local.write(&FileWrite::new(full, b"x".to_vec())),
        Err(SystemError::WrongKind { .. })
    ));
    let proc = AbsPath::new("/proc/okd-play-x").unwrap();
    assert!(matches!(
        local.write(&FileWrite::new(proc, b"x".to_vec())),
        Err(SystemError::Io { .. })
    ));
    assert_eq!(
        local
            .read(&AbsPath::new("/proc/self/comm").unwrap(), 100)
            .unwrap()
            .map(|b| b.is_empty()),
        Some(false)
    );
}

#[test]
fn mounts_and_links_in_a_tree_are_not_entered() {
    let local = Local::new();
    let mounted = AbsPath::new("/proc/sys").unwrap();
    assert!(matches!(
        local.remove(&AbsPath::new("/proc").unwrap(), Removal::Tree),
        Err(SystemError::Io { .. })
    ));
    let dir = tempfile::tempdir().unwrap();
    symlink("/proc", dir.path().join("link")).unwrap();
    local.remove(&at(&dir.path().join("link")), Removal::Tree).unwrap();
    assert!(local.stat(&mounted).unwrap().is_some());
    let shm = local.stat(&AbsPath::new("/dev/shm").unwrap()).unwrap();
    let dev = local.stat(&AbsPath::new("/dev").unwrap()).unwrap();
    if let (Some(shm), Some(dev)) = (shm, dev)
        && shm.id.0 != dev.id.0
    {
        let refused = local
            .remove(&AbsPath::new("/dev/shm").unwrap(), Removal::Tree)
            .unwrap_err();
        assert!(refused.to_string().contains("mounted"), "{refused}");
    }
}

#[test]
fn stages_are_laid_out_side_by_side_and_go() {
    let probe = |text: &str| Probe {
        stage: vec![Staged {
            path: "f".to_owned(),
            bytes: text.as_bytes().to_vec(),
        }],
        ..Probe::new(
            "",
            &[
                "sh",
                "-c",
                "cat \"$1/f\"; stat -c ' %a' \"$1/f\"; echo \"$1\"",
                "sh",
                "{stage}",
            ],
        )
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|number| scope.spawn(move || Local::new().probe(&probe(&number.to_string())).unwrap().text()))
            .collect();
        for (number, thread) in threads.into_iter().enumerate() {
            let text = thread.join().unwrap();
            assert!(text.starts_with(&format!("{number} 600\n")), "{text}");
            assert!(!Path::new(text.lines().last().unwrap()).exists());
        }
    });
}

#[test]
fn a_command_that_talks_without_end_is_cut_off() {
    let begun = Instant::now();
    let local = Local::new();
    let argv = ["sh", "-c", "yes | head -c 20000000"];
    let too_much = local.probe(&Probe::new("", &argv)).unwrap_err().to_string();
    assert!(too_much.contains("more than 16 MiB"), "{too_much}");
    assert_eq!(
        local.act(&Action::new(&argv, Effect::none())).unwrap().stdout.len(),
        16 << 20
    );
    assert!(begun.elapsed() < Duration::from_secs(60));
}

#[test]
fn the_environment_is_okd_plays_own() {
    let shown = Local::new().probe(&Probe::new("", &["env"])).unwrap().text();
    let names: Vec<&str> = shown
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, _)| name)
        .collect();
    assert!(names.contains(&"PATH") && names.contains(&"LC_ALL"), "{names:?}");
    assert!(!names.iter().any(|name| name.starts_with("CARGO")), "{names:?}");
    let mode = std::fs::metadata("/tmp").unwrap().permissions().mode() & 0o7777;
    assert_eq!(
        Local::new().stat(&AbsPath::new("/tmp").unwrap()).unwrap().unwrap().mode,
        mode
    );
}
