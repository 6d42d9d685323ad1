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
                creates: predicts.creates.clone(),
                removes: predicts.removes.clone(),
                brings: predicts.brings.clone(),
                at_least: true,
                ..Declared::default()
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

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::param::Params;
    use crate::resource::command::Command;
    use crate::resource::content::given;
    use crate::resource::laws::laws;
    use crate::resource::shell::Shell;
    use crate::resource::{Resource, Status, converge};
    use crate::system::fake::Fake;
    use crate::system::local::Local;
    use crate::system::overlay::Overlay;
    use std::sync::Arc;

    fn predicted(mut command: Command, predicts: Predicts) -> Command {
        command.predicts = Some(predicts);
        command
    }

    #[test]
    pub(crate) fn commands_that_say_when_to_run_keep_the_laws() {
        let world = || Fake::new().file("/etc/there", "x");
        laws(&given::<Command>(&[("cmd", "make /x"), ("creates", "/etc/th*")]), world);
        laws(
            &given::<Command>(&[("cmd", "make /x"), ("creates", "there"), ("chdir", "/etc")]),
            world,
        );
        laws(&given::<Command>(&[("cmd", "rm /x"), ("removes", "/none")]), world);
        let path = |path: &str| vec![AbsPath::new(path).unwrap()];
        let predicts = |creates, removes| Predicts {
            creates,
            removes,
            brings: Vec::new(),
            nothing: false,
        };
        let makes = given::<Command>(&[("cmd", "make /x"), ("creates", "/x")]);
        laws(&predicted(makes, predicts(path("/x"), Vec::new())), world);
        let goes = given::<Command>(&[("cmd", "rm /etc/there"), ("removes", "/etc/there")]);
        laws(&predicted(goes, predicts(Vec::new(), path("/etc/there"))), world);
    }

    #[test]
    fn an_undeclared_command_is_unknown_in_a_plan() {
        let plan = Overlay::new(Arc::new(Fake::new()));
        let outcome = converge(
            &given::<Command>(&[("cmd", "make all")]),
            &plan as &(dyn System + 'static),
            None,
        );
        assert_eq!(outcome.unwrap().status, Status::Unknown("runs `make all`".to_owned()));
        let nothing = Predicts {
            creates: Vec::new(),
            removes: Vec::new(),
            brings: Vec::new(),
            nothing: true,
        };
        let command = predicted(given(&[("cmd", "make all")]), nothing);
        let outcome = converge(&command, &plan as &(dyn System + 'static), None).unwrap();
        assert_eq!(outcome.status, Status::Changed);
        assert!(outcome.result["stdout"].unknown().is_some());
    }

    #[test]
    fn results_are_those_of_ansible() {
        let world = Local::new();
        let world: &(dyn System + 'static) = &world;
        let run = |pairs: &[(&str, &str)]| converge(&given::<Shell>(pairs), world, None);
        let said = run(&[
            ("cmd", "cat; echo two; echo err >&2; pwd"),
            ("stdin", "one"),
            ("chdir", "/"),
        ])
        .unwrap();
        assert_eq!(said.result["stdout"].as_str(), Some("one\ntwo\n/"));
        assert_eq!(said.result["stdout_lines"], vec!["one", "two", "/"].into());
        assert_eq!(
            (said.result["stderr"].as_str(), &said.result["rc"]),
            (Some("err"), &Value::Int(0))
        );
        let failure = run(&[("cmd", "echo out; exit 3")]).unwrap_err();
        assert_eq!(failure.message, "`echo out; exit 3` ended with exit status 3");
        assert_eq!(
            (failure.result["rc"].clone(), failure.result["stdout"].as_str()),
            (Value::Int(3), Some("out"))
        );
        let skipped = run(&[("cmd", "false"), ("creates", "/")]).unwrap();
        assert_eq!(skipped.status, Status::Same);
        assert_eq!(skipped.result["stdout"].as_str(), Some("skipped, since / exists"));
        let words = given::<Command>(&[("cmd", "printf '%s|' a 'b c' \"d\"")]);
        assert_eq!(
            converge(&words, world, None).unwrap().result["stdout"].as_str(),
            Some("a|b c|d|")
        );
        let missing = converge(&given::<Command>(&[("cmd", "/no/such/program")]), world, None);
        assert!(missing.is_err());
    }

    #[test]
    fn contradictions_are_refused() {
        for pairs in [
            vec![],
            vec![("cmd", "")],
            vec![("cmd", "'open")],
            vec![("cmd", "a"), ("argv", "b")],
            vec![("cmd", "a"), ("creates", "relative")],
        ] {
            let args = pairs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), Value::from(*value)))
                .collect();
            assert!(Command::decode(&args).unwrap().check().is_err(), "{pairs:?}");
        }
        let empty = Predicts {
            creates: Vec::new(),
            removes: Vec::new(),
            brings: Vec::new(),
            nothing: false,
        };
        assert!(predicted(given(&[("cmd", "a")]), empty).check().is_err());
    }
}
