//! What `command` and `shell` share: when they run, what they say of it, and what a plan may assume.

use super::{Failure, ResourceError, View, wildcard};
use crate::diff::Change;
use crate::params;
use crate::path::AbsPath;
use crate::system::{Action, Answer, Declared, Effect, System};
use crate::value::{Map, Value, map};
use serde::Serialize;

params! {
    /// What a command will have changed; a plan goes on as if it had.
    pub struct Predicts {
        /// Paths that will be there.
        creates: Vec<AbsPath>,
        /// Paths that will be gone.
        removes: Vec<AbsPath>,
        /// Packages that will be there with all that they bring.
        brings: Vec<String>,
        /// It changes nothing that a later step looks at.
        nothing: bool = "no",
    }
}

impl Predicts {
    fn is_empty(&self) -> bool {
        self.creates.is_empty() && self.removes.is_empty() && self.brings.is_empty()
    }
}

/// A command as either kind gives it.
pub(super) struct Run<'a> {
    /// For people.
    pub(super) line: String,
    /// For `register`.
    pub(super) cmd: Value,
    pub(super) argv: Vec<String>,
    pub(super) chdir: Option<&'a AbsPath>,
    pub(super) creates: Option<&'a str>,
    pub(super) removes: Option<&'a str>,
    pub(super) stdin: Option<&'a str>,
    pub(super) stdin_add_newline: bool,
    pub(super) strip_empty_ends: bool,
    pub(super) predicts: Option<&'a Predicts>,
}

/// Whether the command has still to run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct State {
    line: String,
    runs: bool,
    skipped: Option<String>,
}

impl State {
    /// The command has run.
    pub(super) fn done(&self) -> Self {
        State {
            runs: false,
            ..self.clone()
        }
    }
}

impl View for State {
    fn changes(&self, want: &Self) -> Vec<Change> {
        let runs = self.runs && !want.runs;
        runs.then(|| Change::Act(format!("run {}", self.line)))
            .into_iter()
            .collect()
    }
}

impl Run<'_> {
    pub(super) fn check(&self) -> Result<(), Vec<String>> {
        let mut problems = Vec::new();
        for (name, path) in [("creates", self.creates), ("removes", self.removes)] {
            if path.is_some_and(|path| !path.starts_with('/')) && self.chdir.is_none() {
                problems.push(format!("`{name}` is an absolute path where there is no `chdir`"));
            }
        }
        match self.predicts {
            Some(predicts) if predicts.nothing != predicts.is_empty() => problems.push(
                "`predicts` says either `nothing: true`, or what the command creates, removes or brings".to_owned(),
            ),
            _ => {}
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    fn found(&self, path: &str, world: &dyn System) -> Result<bool, ResourceError> {
        let full = match (self.chdir, path.starts_with('/')) {
            (Some(folder), false) => folder.join(path),
            _ => AbsPath::new(path).map_err(ResourceError::message)?,
        };
        Ok(wildcard::first(&full, world)?.is_some())
    }

    pub(super) fn inspect(&self, world: &dyn System) -> Result<State, ResourceError> {
        let mut skipped = None;
        if let Some(path) = self.creates {
            skipped = self
                .found(path, world)?
                .then(|| format!("skipped, since {path} exists"));
        }
        if let (Some(path), None) = (self.removes, &skipped) {
            skipped = (!self.found(path, world)?).then(|| format!("skipped, since {path} does not exist"));
        }
        Ok(State {
            line: self.line.clone(),
            runs: skipped.is_none(),
            skipped,
        })
    }

    fn effect(&self) -> Effect {
        match self.predicts {
            None => Effect::Unknown(format!("runs `{}`", self.line)),
            Some(predicts) => Effect::Declared(Declared {
                predicts: Vec::new(),
                creates: predicts.creates.clone(),
                removes: predicts.removes.clone(),
                brings: predicts.brings.clone(),
            }),
        }
    }

    pub(super) fn apply(&self, world: &dyn System) -> Result<Map, ResourceError> {
        let mut stdin = self.stdin.unwrap_or_default().as_bytes().to_vec();
        if self.stdin.is_some() && self.stdin_add_newline && !stdin.ends_with(b"\n") {
            stdin.push(b'\n');
        }
        let answer = world.act(&Action {
            argv: self.argv.clone(),
            stdin,
            env: Vec::new(),
            cwd: self.chdir.cloned(),
            timeout: None,
            effect: self.effect(),
        })?;
        let result = self.outputs(&answer);
        if answer.predicted || answer.success() {
            return Ok(result);
        }
        Err(ResourceError::Failed(Box::new(Failure {
            message: format!("`{}` ended with exit status {}", self.line, answer.rc),
            argv: self.argv.clone(),
            answer: Some(answer),
            result,
            ..Failure::default()
        })))
    }

    fn outputs(&self, answer: &Answer) -> Map {
        if answer.predicted {
            let unknown = || Value::Unknown(format!("what `{}` says", self.line));
            let names = ["rc", "stdout", "stdout_lines", "stderr", "stderr_lines"];
            let mut result: Map = names.iter().map(|name| ((*name).to_owned(), unknown())).collect();
            result.insert("cmd".to_owned(), self.cmd.clone());
            return result;
        }
        let text = |text: String| match self.strip_empty_ends {
            true => text.trim_end_matches(['\r', '\n']).to_owned(),
            false => text,
        };
        self.said(answer.rc, &text(answer.text()), &text(answer.error_text()))
    }

    fn said(&self, rc: i32, stdout: &str, stderr: &str) -> Map {
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        map([
            ("cmd", self.cmd.clone()),
            ("rc", Value::Int(rc.into())),
            ("stdout", stdout.into()),
            ("stdout_lines", lines(stdout).into()),
            ("stderr", stderr.into()),
            ("stderr_lines", lines(stderr).into()),
        ])
    }

    pub(super) fn result(&self, state: &State) -> Map {
        state.skipped.as_ref().map_or_else(Map::new, |skipped| {
            let mut result = self.said(0, skipped, "");
            result.insert("msg".to_owned(), skipped.as_str().into());
            result
        })
    }
}
