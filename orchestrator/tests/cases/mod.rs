//! Cases as one text file each: what is typed, the files that it meets, what comes of it.
//!
//! ```text
//! # What the case is about.
//! $ run play.yml --syntax-check
//! -- play.yml --
//! - hosts: all
//! -- says --
//! ```
//!
//! Sections named `says`, `log` and so on hold what is expected; `OKD_PLAY_BLESS=1` writes them anew.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A case.
pub(crate) struct Case {
    pub(crate) path: PathBuf,
    /// The lines before the first file.
    pub(crate) head: String,
    /// Names and texts, in the order written.
    pub(crate) sections: Vec<(String, String)>,
}

impl Case {
    pub(crate) fn read(path: &Path) -> Case {
        let text = std::fs::read_to_string(path).unwrap();
        let (mut head, mut sections): (String, Vec<(String, String)>) = (String::new(), Vec::new());
        for line in text.split_inclusive('\n') {
            let name = line
                .trim_end()
                .strip_prefix("-- ")
                .and_then(|rest| rest.strip_suffix(" --"));
            match (name, sections.last_mut()) {
                (Some(name), _) => sections.push((name.to_owned(), String::new())),
                (None, Some((_, body))) => body.push_str(line),
                (None, None) => head.push_str(line),
            }
        }
        Case {
            path: path.to_owned(),
            head,
            sections,
        }
    }

    /// The cases of a folder below `testdata`, sorted.
    pub(crate) fn all(folder: &str) -> Vec<Case> {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(folder);
        let mut paths: Vec<PathBuf> = std::fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
            .collect();
        paths.sort();
        paths.iter().map(|path| Case::read(path)).collect()
    }

    /// The words of the lines that begin with `$`.
    pub(crate) fn commands(&self) -> Vec<Vec<String>> {
        let lines = self.head.lines().filter_map(|line| line.strip_prefix("$ "));
        lines.map(words).collect()
    }

    pub(crate) fn section(&self, name: &str) -> Option<&str> {
        let found = self.sections.iter().find(|(own, _)| own == name);
        found.map(|(_, text)| text.as_str())
    }

    /// Writes the files into a folder; `expected` are those that are not files.
    pub(crate) fn unpack(&self, dir: &Path, expected: &[&str]) {
        for (name, text) in self
            .sections
            .iter()
            .filter(|(name, _)| !expected.contains(&name.as_str()))
        {
            let path = dir.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
    }

    /// Compares a section with what came of it; `Err` says how they differ.
    pub(crate) fn expect(&mut self, name: &str, actual: &str) -> Result<(), String> {
        let found = self.sections.iter_mut().find(|(own, _)| own == name);
        let mut actual = actual.to_owned();
        if !actual.is_empty() && !actual.ends_with('\n') {
            actual.push('\n');
        }
        match found {
            Some((_, text)) if *text == actual => return Ok(()),
            Some((_, text)) if bless() => *text = actual,
            None if bless() => self.sections.push((name.to_owned(), actual)),
            found => {
                let expected = found.map_or("", |(_, text)| text.as_str());
                return Err(format!(
                    "{}: `{name}` differs (OKD_PLAY_BLESS=1 writes it anew)\nexpected:\n{expected}\nfound:\n{actual}",
                    self.path.display()
                ));
            }
        }
        let sections: String = self
            .sections
            .iter()
            .map(|(name, text)| format!("-- {name} --\n{text}"))
            .collect();
        std::fs::write(&self.path, format!("{}{sections}", self.head)).unwrap();
        Ok(())
    }
}

fn bless() -> bool {
    std::env::var_os("OKD_PLAY_BLESS").is_some()
}

/// Words as a shell would part them, with single quotes alone.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (index, part) in line.split('\'').enumerate() {
        if index % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}

/// Runs okd-play in a folder, away from the settings of whoever runs the tests.
pub(crate) fn okd_play(dir: &Path, args: &[String]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_okd-play"));
    command
        .args(args)
        .current_dir(dir)
        .env_remove("OKD_PLAY_INVENTORY")
        .env_remove("XDG_STATE_HOME")
        .env("HOME", dir)
        .env("NO_COLOR", "1");
    command
        .env_remove("ANSIBLE_ROLES_PATH")
        .stdin(std::process::Stdio::null());
    command.output().unwrap()
}
