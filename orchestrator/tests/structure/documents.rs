//! What the documents say, against the program: commands are run, tables compared, links followed.

use super::markdown::{anchors, code, fences, links, prose, rows, section};
use super::{lines, read, root, walk};
use clap::CommandFactory;
use okd_play::cli::args::Cli;
use okd_play::error::Exit;
use okd_play::playbook::{keywords, load, task};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

const PROGRAM: &str = env!("CARGO_BIN_EXE_okd-play");

fn documents() -> Vec<PathBuf> {
    let mut found = vec![root().join("README.md"), root().join("CHANGELOG.md")];
    walk(&root().join("docs"), ".md", &mut found);
    found
}

/// The words in code of the first cell of each row.
fn first_cells(text: &str) -> BTreeSet<String> {
    rows(text).iter().flat_map(|row| code(&row[0])).collect()
}

fn set(words: &[&str]) -> BTreeSet<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// A command of a `console` block with the exit code that it must have.
fn commands(block: &str) -> Vec<(String, i32)> {
    let typed = block.lines().filter_map(|line| line.strip_prefix("$ "));
    typed
        .map(|line| {
            let (command, says) = line.split_once(" # exit ").unwrap_or((line, "0"));
            let code: String = says.chars().take_while(char::is_ascii_digit).collect();
            (command.trim().to_owned(), code.parse().unwrap())
        })
        .collect()
}

#[test]
fn quick_start_does_what_it_says() {
    let readme = read("README.md");
    let folder = tempfile::tempdir().unwrap();
    let mut ran = 0;
    let bin = Path::new(PROGRAM).parent().unwrap().display().to_string();
    let path = format!("{bin}:{}", std::env::var("PATH").unwrap_or_default());
    for fence in fences(section(&readme, "## Quick start")) {
        if let Some(file) = fence.info.strip_prefix("yaml ") {
            std::fs::write(folder.path().join(file), &fence.text).unwrap();
        }
        for (command, code) in commands(&fence.text).into_iter().filter(|_| fence.info == "console") {
            let output = Command::new("timeout")
                .args(["60", "sh", "-c", &command])
                .current_dir(folder.path())
                .env("PATH", &path)
                .env_remove("OKD_PLAY_INVENTORY")
                .stdin(std::process::Stdio::null())
                .output()
                .unwrap();
            let said = format!(
                "{}{}",
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            );
            assert_eq!(output.status.code(), Some(code), "$ {command}\n{said}");
            ran += 1;
        }
    }
    assert!(ran >= 4, "{ran} commands");
    let greeting = std::fs::read_to_string(folder.path().join("hello/greeting.txt")).unwrap();
    assert_eq!(greeting, "Hello from localhost\n");
}

#[test]
fn links_lead_somewhere() {
    let mut dead = Vec::new();
    for document in documents() {
        let text = std::fs::read_to_string(&document).unwrap();
        for link in links(&text).into_iter().filter(|link| !link.contains("://")) {
            let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = match file {
                "" => document.clone(),
                file => document.parent().unwrap().join(file),
            };
            let found = target.exists()
                && (anchor.is_empty()
                    || anchors(&std::fs::read_to_string(&target).unwrap())
                        .iter()
                        .any(|name| name == anchor));
            if !found {
                dead.push(format!("{}: {link}", document.display()));
            }
        }
    }
    lines(dead);
}

#[test]
fn make_targets_exist() {
    let makefile = read("Makefile");
    let targets: BTreeSet<&str> = makefile
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, _)| name)
        .collect();
    let mut missing = Vec::new();
    for document in documents() {
        let text = std::fs::read_to_string(&document).unwrap();
        let spans = code(&prose(&text))
            .into_iter()
            .chain(fences(&text).into_iter().map(|fence| fence.text));
        for span in spans {
            for line in span.lines().filter_map(|line| line.strip_prefix("make ")) {
                let target = line.split_whitespace().next().unwrap_or_default();
                if !targets.contains(target) {
                    missing.push(format!("{}: make {target}", document.display()));
                }
            }
        }
    }
    lines(missing);
    let told = first_cells(section(&read("README.md"), "## See it"));
    assert!(told.len() >= 6, "{told:?}");
}

#[test]
fn exit_codes_are_those_of_the_program() {
    let running = read("docs/running.md");
    let told: Vec<u8> = rows(section(&running, "## Exit codes"))
        .iter()
        .map(|row| row[0].parse().unwrap())
        .collect();
    let real: Vec<u8> = Exit::ALL.into_iter().map(Exit::code).collect();
    assert_eq!(told, real);
}

#[test]
fn commands_are_those_of_the_program() {
    let readme = read("README.md");
    let told: Vec<(String, String)> = rows(section(&readme, "## The commands"))
        .into_iter()
        .map(|row| (row[0].trim_matches('`').to_owned(), row[1].clone()))
        .collect();
    let program = Cli::command();
    let real: Vec<(String, String)> = program
        .get_subcommands()
        .map(|command| {
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            (format!("okd-play {}", command.get_name()), about)
        })
        .collect();
    assert_eq!(told, real);
    let first = fences(&read("docs/running.md")).remove(0).text;
    for command in program.get_subcommands() {
        let line = format!("okd-play {}", command.get_name());
        assert!(first.contains(&line), "docs/running.md does not begin with `{line}`");
    }
}

#[test]
fn options_are_those_of_the_program() {
    let program = Cli::command();
    let mut real: BTreeSet<String> = set(&["--help", "--version"]);
    for command in program.get_subcommands() {
        let names = command.get_arguments().filter_map(clap::Arg::get_long);
        real.extend(names.map(|name| format!("--{name}")));
    }
    let mut wrong = Vec::new();
    for document in ["README.md", "docs/running.md", "docs/language.md"] {
        let text = read(document);
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
        let options = words.filter(|word| {
            word.strip_prefix("--")
                .is_some_and(|name| name.starts_with(|c: char| c.is_ascii_lowercase()))
        });
        wrong.extend(
            options
                .filter(|word| !real.contains(*word))
                .map(|word| format!("{document}: {word}")),
        );
    }
    lines(wrong);
}

#[test]
fn keywords_are_those_of_the_language() {
    let language = read("docs/language.md");
    let told = |heading: &str| first_cells(section(&language, heading));
    assert_eq!(told("## Play"), set(load::PLAY_KEYS));
    assert_eq!(told("## Shared keywords"), set(keywords::NAMES));
    assert_eq!(told("## Task"), set(task::TASK_KEYS));
    assert_eq!(told("## Block"), set(task::BLOCK_KEYS));
    let loops = code(&prose(section(&language, "## Task")));
    let loops: BTreeSet<String> = loops.into_iter().filter(|word| word.starts_with("with_")).collect();
    assert_eq!(loops, set(task::LOOPS));
}

#[test]
fn modules_are_those_of_the_program() {
    let output = Command::new(PROGRAM).args(["doc", "--all"]).output().unwrap();
    assert!(output.status.success());
    let printed = String::from_utf8(output.stdout).unwrap();
    let file = root().join("docs/modules.md");
    if std::env::var_os("OKD_PLAY_BLESS").is_some() {
        std::fs::write(&file, &printed).unwrap();
    }
    let kept = std::fs::read_to_string(&file).unwrap();
    assert!(
        kept == printed,
        "docs/modules.md is not what `okd-play doc --all` prints: run this test with OKD_PLAY_BLESS=1"
    );
    for name in okd_play::actions::module_names() {
        assert!(kept.contains(name), "{name} is missing");
    }
}

#[test]
fn decisions_are_listed() {
    let index = read("docs/adr/README.md");
    let mut found = Vec::new();
    walk(&root().join("docs/adr"), ".md", &mut found);
    let missing = found
        .iter()
        .map(|path| path.file_name().unwrap().to_string_lossy().into_owned());
    let missing = missing.filter(|name| name != "README.md" && !index.contains(name.as_str()));
    lines(
        missing
            .map(|name| format!("docs/adr/README.md does not list {name}"))
            .collect(),
    );
}

#[test]
fn dependencies_have_a_reason() {
    let table = first_cells(&read("docs/adr/0005-dependencies.md"));
    let manifest = read("Cargo.toml");
    let named = manifest
        .split("[workspace.dependencies]")
        .nth(1)
        .unwrap()
        .split("\n[")
        .next()
        .unwrap();
    let named = named
        .lines()
        .filter_map(|line| line.split_once(" = "))
        .map(|(name, _)| name);
    let named: Vec<&str> = named
        .filter(|name| !name.starts_with("okd-") && !name.starts_with('#'))
        .collect();
    assert!(named.len() > 20);
    let silent = named.iter().filter(|name| !table.contains(**name));
    lines(silent.map(|name| format!("no reason for `{name}`")).collect());
}

#[test]
fn what_is_missing_is_said_exactly_while_it_is() {
    let vault = Cli::command().get_subcommands().any(|command| {
        command
            .get_arguments()
            .filter_map(clap::Arg::get_long)
            .any(|name| name.contains("vault"))
    });
    let said = read("README.md").contains("no password can be given to `okd-play`");
    assert_ne!(said, vault, "README.md and the vault options disagree");
}

#[test]
fn the_guide_s_errors_are_those_that_are_tested() {
    let source = read("tests/tests/guide/main.rs");
    let tested: Vec<String> = source
        .split("#[test]\nfn ")
        .skip(1)
        .filter_map(|rest| rest.split_once('(').map(|(name, _)| name.to_owned()))
        .collect();
    let guide = read("docs/guide.md");
    let rows = rows(section(&guide, "## The guide's errors"));
    let told: Vec<String> = rows.iter().flat_map(|row| code(&row[3])).collect();
    assert_eq!(told, tested);
    let numbers: Vec<String> = (1..=22).map(|number| number.to_string()).collect();
    assert_eq!(rows.iter().map(|row| row[0].clone()).collect::<Vec<_>>(), numbers);
    for (number, name) in numbers.iter().zip(&told) {
        assert!(
            name.starts_with(&format!("e{number:0>2}_")),
            "{name} is not of error {number}"
        );
    }
}
