//! Commands that only look, and commands that change something.

use super::Findings;
use crate::path::AbsPath;
use crate::system::{Action, Answer, Effect, Probe, Staged, System, SystemError};
use std::time::{Duration, Instant};

/// Checks commands that only look. `sh`, `cat`, `printf` and `sleep` have to be there.
#[must_use]
pub fn probes(world: &dyn System) -> Vec<String> {
    let mut found = Findings::default();
    for end in [
        answers(&mut found, world),
        stages(&mut found, world),
        times(&mut found, world),
    ] {
        found.went("probes", end);
    }
    found.sentences
}

/// Checks commands that change something, in an empty folder.
#[must_use]
pub fn actions(world: &dyn System, folder: &AbsPath) -> Vec<String> {
    let mut found = Findings::default();
    for end in [
        given(&mut found, world, folder),
        ends(&mut found, world, folder),
        children(&mut found, world, folder),
    ] {
        found.went("actions", end);
    }
    found.sentences
}

fn ask(argv: &[&str]) -> Probe {
    Probe::new("", argv)
}

fn shell(text: &str) -> Probe {
    ask(&["sh", "-c", text])
}

fn run(argv: &[&str]) -> Action {
    Action::new(argv, Effect::none())
}

fn is_timeout(error: &SystemError) -> bool {
    matches!(error, SystemError::Timeout { seconds: 1, .. })
}

fn answers(found: &mut Findings, world: &dyn System) -> Result<(), SystemError> {
    let answer = world.probe(&shell("echo out; echo err >&2; exit 3"))?;
    let expected = Answer {
        rc: 3,
        stdout: b"out\n".to_vec(),
        stderr: b"err\n".to_vec(),
        predicted: false,
    };
    found.equal("both outputs and the status", answer, expected);
    let missing = world.probe(&ask(&["okd-no-such-program", "x"]))?;
    found.equal("a program that is not there", missing.rc, Answer::NO_PROGRAM);
    found.equal("a signal", world.probe(&shell("kill -TERM $$"))?.rc, 143);
    let odd = [
        "a b",
        "",
        "'",
        "\"",
        "$HOME",
        "`x`",
        "\\",
        "*",
        "new\nline",
        "ünï",
        "-n",
        ";",
        "trailing\n",
        "%",
    ];
    let argv: Vec<&str> = ["printf", "%s|"].into_iter().chain(odd).collect();
    found.equal(
        "odd arguments",
        world.probe(&ask(&argv))?.text(),
        format!("{}|", odd.join("|")),
    );
    let every: Vec<u8> = (0..=255).collect();
    let stdin = every.repeat(4096);
    let echoed = world.probe(&Probe {
        stdin: stdin.clone(),
        ..ask(&["cat"])
    })?;
    found.holds(
        "a megabyte of every byte through standard input",
        echoed.stdout == stdin,
    );
    found.equal("no standard input", world.probe(&ask(&["cat"]))?.stdout, Vec::new());
    let unread = Probe {
        stdin,
        ..ask(&["true"])
    };
    found.equal("standard input that nobody reads", world.probe(&unread)?.rc, 0);
    let env = vec![
        ("OKD_A".to_owned(), "a b'\"$x\n".to_owned()),
        ("OKD_B".to_owned(), String::new()),
    ];
    let shown = world.probe(&Probe {
        env,
        ..shell("printf '%s|%s|' \"$OKD_A\" \"${OKD_B-unset}\"")
    })?;
    found.equal("further environment", shown.text(), "a b'\"$x\n||".to_owned());
    let path = world.probe(&shell("printf %s \"$PATH\""))?.text();
    found.holds(
        "administrators' programs are found",
        path.split(':').any(|folder| folder == "/usr/sbin"),
    );
    let both = world.probe(&shell(
        "i=0; while [ $i -lt 3000 ]; do printf %01000d 7; printf %01000d 7 >&2; i=$((i+1)); done",
    ))?;
    found.equal(
        "much of both outputs",
        (both.stdout.len(), both.stderr.len()),
        (3_000_000, 3_000_000),
    );
    Ok(())
}

fn stages(found: &mut Findings, world: &dyn System) -> Result<(), SystemError> {
    let staged = |path: &str, bytes: &[u8]| Staged {
        path: path.to_owned(),
        bytes: bytes.to_vec(),
    };
    let files = vec![staged("a/b c", b"here: {stage}/x\0\n"), staged("x", b"")];
    let probe = Probe {
        stage: files,
        ..ask(&["sh", "-c", "echo \"$1\"; cat \"$1/a/b c\"", "sh", "{stage}"])
    };
    let answer = world.probe(&probe)?.text();
    let folder = answer.lines().next().unwrap_or_default().to_owned();
    found.equal("a stage", answer.clone(), format!("{folder}\nhere: {folder}/x\0\n"));
    match AbsPath::new(&folder) {
        Ok(path) => found.equal("a stage after the probe", world.stat(&path)?, None),
        Err(error) => found.sentences.push(format!("the stage's folder: {error}")),
    }
    let closed = Probe {
        stage: vec![staged("x", b"")],
        ..ask(&["sh", "-c", "ls -ld \"$1\"", "sh", "{stage}"])
    };
    found.holds(
        "a stage is closed to others",
        world.probe(&closed)?.text().starts_with("drwx------"),
    );
    for outside in ["../x", "/tmp/x", ""] {
        let probe = Probe {
            stage: vec![staged(outside, b"")],
            ..ask(&["true"])
        };
        found.refused(&format!("a staged file at {outside:?}"), world.probe(&probe), |_| true);
    }
    Ok(())
}

fn times(found: &mut Findings, world: &dyn System) -> Result<(), SystemError> {
    let begun = Instant::now();
    let slow = Probe {
        timeout: Some(1),
        ..ask(&["sleep", "30"])
    };
    found.refused("a probe that does not end", world.probe(&slow), is_timeout);
    found.holds("a timeout is kept", begun.elapsed() < Duration::from_secs(10));
    found.equal("the next probe", world.probe(&ask(&["true"]))?.rc, 0);
    Ok(())
}

fn given(found: &mut Findings, world: &dyn System, folder: &AbsPath) -> Result<(), SystemError> {
    let action = Action {
        stdin: b"from stdin\0".to_vec(),
        env: vec![("OKD_A".to_owned(), "it's".to_owned())],
        cwd: Some(folder.clone()),
        ..run(&["sh", "-c", "cat > 'a file'; pwd; printf %s \"$OKD_A\"; exit 4"])
    };
    let answer = world.act(&action)?;
    found.equal(
        "an action's answer",
        (answer.rc, answer.text()),
        (4, format!("{folder}\nit's")),
    );
    let made = world.read(&folder.join("a file"), 100)?;
    found.equal("what an action made", made, Some(b"from stdin\0".to_vec()));
    world.remove(&folder.join("a file"), crate::system::Removal::File)
}

fn ends(found: &mut Findings, world: &dyn System, folder: &AbsPath) -> Result<(), SystemError> {
    found.equal(
        "a program that is not there",
        world.act(&run(&["okd-no-such-program"]))?.rc,
        Answer::NO_PROGRAM,
    );
    found.equal(
        "an action ended by a signal",
        world.act(&run(&["sh", "-c", "kill -KILL $$"]))?.rc,
        137,
    );
    let nowhere = Action {
        cwd: Some(folder.join("gone")),
        ..run(&["true"])
    };
    let command = |error: &SystemError| matches!(error, SystemError::Command { .. });
    found.refused("a working folder that is not there", world.act(&nowhere), command);
    let declared = world.act(&run(&["true"]))?;
    found.equal(
        "what is done is not a prediction",
        declared.predicted,
        world.predicted(),
    );
    Ok(())
}

fn children(found: &mut Findings, world: &dyn System, folder: &AbsPath) -> Result<(), SystemError> {
    let pid = folder.join("pid");
    let text = format!("sleep 300 & echo $! > '{pid}'; wait");
    let slow = Action {
        timeout: Some(1),
        ..run(&["sh", "-c", &text])
    };
    found.refused("an action that does not end", world.act(&slow), is_timeout);
    let child = String::from_utf8_lossy(&world.read(&pid, 100)?.unwrap_or_default())
        .trim()
        .to_owned();
    let deadline = Instant::now() + Duration::from_secs(10);
    let alive = || {
        Ok::<bool, SystemError>(
            world
                .probe(&ask(&["sh", "-c", "kill -0 \"$1\"", "sh", &child]))?
                .success(),
        )
    };
    while alive()? && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    found.holds(
        "a timeout kills what the command started",
        !child.is_empty() && !alive()?,
    );
    let begun = Instant::now();
    let text = format!("sleep 60 & echo $! > '{pid}'; echo started");
    let answer = world.act(&run(&["sh", "-c", &text]))?;
    found.equal(
        "an action that leaves a child behind",
        answer.text(),
        "started\n".to_owned(),
    );
    found.holds(
        "a child that holds the output is not waited for",
        begun.elapsed() < Duration::from_secs(20),
    );
    let child = String::from_utf8_lossy(&world.read(&pid, 100)?.unwrap_or_default())
        .trim()
        .to_owned();
    found.equal("the child that was left", world.act(&run(&["kill", &child]))?.rc, 0);
    world.remove(&pid, crate::system::Removal::File)
}
