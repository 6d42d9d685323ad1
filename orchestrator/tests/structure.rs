//! What holds of the project as a whole: who may depend on whom, how large things may get, and that what its documents
//! say is so. Needs no lab and no network.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

#[path = "structure/documents.rs"]
mod documents;
#[path = "structure/markdown.rs"]
mod markdown;

use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Crates in the agent, itself among them.
const AGENT_CRATES: usize = 30;
/// Lines of a source file.
const FILE_LINES: usize = 1200;
/// Files that may use `unsafe`, each with its reason.
const UNSAFE: &[(&str, &str)] = &[];
const LICENCES: &[&str] = &[
    "MIT",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-1-Clause",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "0BSD",
    "ISC",
    "MPL-2.0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

fn read(path: &str) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn cargo(words: &[&str]) -> String {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(program).args(words).current_dir(root()).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo {}: {error}", words.join(" "));
    String::from_utf8(output.stdout).unwrap()
}

fn metadata(more: &[&str]) -> Vec<Value> {
    let words = ["metadata", "--format-version", "1", "--locked", "--offline"];
    let text = cargo(&[&words, more].concat());
    let mut all: Value = serde_json::from_str(&text).unwrap();
    all["packages"].as_array_mut().map(std::mem::take).unwrap()
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// All files with this ending below the crates.
fn sources(ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for room in ["agent", "orchestrator", "tests"] {
        walk(&root().join(room), ending, &mut found);
    }
    assert!(!found.is_empty());
    found
}

fn walk(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && !path.is_symlink() && name != "target" && !name.starts_with('.') {
            walk(&path, ending, found);
        } else if name.ends_with(ending) {
            found.push(path);
        }
    }
}

fn lines(found: Vec<String>) {
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn crates_depend_as_designed() {
    let own = ["okd-agent", "okd-play", "okd-tests"];
    let mut seen = BTreeSet::new();
    for package in metadata(&["--no-deps"]) {
        let name = word(&package["name"]).to_owned();
        let on: Vec<&str> = package["dependencies"]
            .as_array()
            .unwrap()
            .iter()
            .map(|d| word(&d["name"]))
            .collect();
        let inner: BTreeSet<&str> = on.iter().copied().filter(|on| own.contains(on)).collect();
        let allowed: BTreeSet<&str> = match name.as_str() {
            "okd-agent" => BTreeSet::new(),
            "okd-play" => ["okd-agent"].into(),
            "okd-tests" => ["okd-agent", "okd-play"].into(),
            other => panic!("a crate that the design does not know: {other}"),
        };
        assert!(inner.is_subset(&allowed), "{name} depends on {inner:?}");
        if name == "okd-agent" {
            let barred = ["tokio", "saphyr-parser", "minijinja", "clap", "indicatif", "russh"];
            assert!(!on.iter().any(|on| barred.contains(on)), "the agent depends on {on:?}");
        }
        seen.insert(name);
    }
    assert_eq!(seen.len(), own.len());
}

#[test]
fn agent_stays_small() {
    let tree = cargo(&[
        "tree",
        "-p",
        "okd-agent",
        "-e",
        "normal",
        "--prefix",
        "none",
        "--locked",
        "--offline",
    ]);
    let crates: BTreeSet<&str> = tree
        .lines()
        .filter_map(|line| line.split(" (").next())
        .filter(|l| !l.is_empty())
        .collect();
    assert!(crates.len() > 5, "{tree}");
    assert!(crates.len() <= AGENT_CRATES, "{} crates: {crates:#?}", crates.len());
}

#[test]
fn licences_can_be_passed_on() {
    let packages = metadata(&["--filter-platform", "x86_64-unknown-linux-gnu"]);
    assert!(packages.len() > 50);
    let wrong = packages.iter().filter(|package| !allowed(word(&package["license"])));
    lines(
        wrong
            .map(|package| format!("{}: {}", word(&package["name"]), package["license"]))
            .collect(),
    );
}

/// Whether a licence expression leaves a choice that is allowed. Parentheses only ever stand around alternatives.
fn allowed(expression: &str) -> bool {
    let parts = expression.replace('/', " OR ");
    !parts.is_empty()
        && parts.split(" AND ").all(|part| {
            let part = part.trim_matches(['(', ')', ' ']);
            part.split(" OR ")
                .any(|one| LICENCES.contains(&one.trim_matches(['(', ')', ' '])))
        })
}

#[test]
fn licence_expressions_are_read() {
    assert!(allowed("MIT OR GPL-3.0") && allowed("(MIT OR Apache-2.0) AND Unicode-3.0") && allowed("MIT/Apache-2.0"));
    assert!(!allowed("GPL-3.0") && !allowed("MIT AND GPL-3.0") && !allowed(""));
}

#[test]
fn files_say_why_they_exist() {
    let silent = sources(".rs").into_iter().filter(|path| {
        let text = std::fs::read_to_string(path).unwrap();
        !text.lines().next().unwrap_or_default().starts_with("//! ")
    });
    lines(
        silent
            .map(|path| format!("{} opens with no `//!`", path.display()))
            .collect(),
    );
}

#[test]
fn files_can_be_read_in_one_sitting() {
    let sizes = sources(".rs").into_iter().map(|path| {
        let count = std::fs::read_to_string(&path).unwrap().lines().count();
        (path, count)
    });
    let long = sizes.filter(|(_, count)| *count > FILE_LINES);
    lines(
        long.map(|(path, count)| format!("{}: {count} lines of {FILE_LINES}", path.display()))
            .collect(),
    );
}

#[test]
fn nothing_is_unsafe() {
    let marks =
        ["unsafe", "unsafe_code"].map(|mark| [format!("{mark} {{"), format!("{mark} fn"), format!("allow({mark})")]);
    let marks: Vec<String> = marks.into_iter().flatten().collect();
    let mut found = Vec::new();
    for path in sources(".rs") {
        let text = std::fs::read_to_string(&path).unwrap();
        let excepted = UNSAFE.iter().any(|(file, _)| path.ends_with(file));
        let hits = text
            .lines()
            .filter(|line| !line.contains("!unsafe"))
            .filter(|line| marks.iter().any(|mark| line.contains(mark.as_str())));
        found.extend(
            hits.filter(|_| !excepted)
                .map(|line| format!("{}: {}", path.display(), line.trim())),
        );
    }
    lines(found);
    for manifest in ["agent/Cargo.toml", "orchestrator/Cargo.toml", "tests/Cargo.toml"] {
        assert!(
            read(manifest).contains("[lints]\nworkspace = true"),
            "{manifest} has no lints"
        );
    }
    assert!(read("Cargo.toml").contains("unsafe_code = \"deny\""));
}

#[test]
fn licences_are_there() {
    assert!(read("LICENSE-MIT").contains("The okd-play developers"));
    assert!(read("LICENSE-APACHE").contains("END OF TERMS AND CONDITIONS"));
    assert!(read("Cargo.toml").contains("license = \"MIT OR Apache-2.0\""));
}
