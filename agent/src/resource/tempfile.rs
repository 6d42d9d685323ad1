//! A file or folder with a name that nothing else has.

use super::{Resource, ResourceError, View};
use crate::diff::Change;
use crate::path::AbsPath;
use crate::system::{Action, Declared, Effect, System};
use crate::value::{Map, Value, map};
use crate::{choice, params};
use serde::Serialize;

choice! {
    /// What is made.
    pub enum TempKind {
        /// A file.
        File = "file",
        /// A folder.
        Directory = "directory",
    }
}

params! {
    /// Makes a file or folder that only its owner may use, and tells its name: `register` holds `path`.
    pub struct Tempfile {
        /// What is made.
        state: TempKind = "file",
        /// The folder to make it in.
        path: AbsPath = "/tmp",
        /// The beginning of its name.
        prefix: String = "ansible.",
        /// The end of its name.
        suffix: String = "",
    }
}

/// Whether it has been made.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct State {
    made: bool,
    words: String,
}

impl View for State {
    fn changes(&self, want: &Self) -> Vec<Change> {
        if self.made == want.made { Vec::new() } else { vec![Change::Act(self.words.clone())] }
    }
}

impl Resource for Tempfile {
    const NAMES: &'static [&'static str] = &["tempfile", "ansible.builtin.tempfile"];
    const EXAMPLE: &'static str = "- name: Room to build in\n  tempfile:\n    state: directory\n  register: build\n";
    const PREDICTS: &'static str = "that it will be made; its name is unknown until applied";
    type World = dyn System;
    type State = State;

    fn check(&self) -> Result<(), Vec<String>> {
        if self.prefix.contains('/') || self.suffix.contains('/') {
            return Err(vec!["`prefix` and `suffix` are parts of a name, without `/`".to_owned()]);
        }
        Ok(())
    }

    fn inspect(&self, _world: &Self::World) -> Result<State, ResourceError> {
        let kind = if self.state == TempKind::File { "file" } else { "folder" };
        Ok(State { made: false, words: format!("make a temporary {kind} in {}", self.path) })
    }

    fn desire(&self, now: &State) -> Result<State, ResourceError> {
        Ok(State { made: true, ..now.clone() })
    }

    fn apply(&self, _now: &State, _want: &State, world: &Self::World) -> Result<Map, ResourceError> {
        let template = format!("{}/{}XXXXXXXXXX{}", self.path, self.prefix, self.suffix);
        let mut argv = vec!["mktemp"];
        if self.state == TempKind::Directory {
            argv.push("-d");
        }
        argv.extend(["--", &template]);
        let effect = Declared { prints: true, ..Declared::default() };
        let action = Action::new(&argv, Effect::Declared(effect));
        let answer = world.act(&action)?;
        if answer.predicted {
            return Ok(map([("path", Value::Unknown("the temporary path".to_owned()))]));
        }
        if !answer.success() {
            return Err(ResourceError::command("no temporary file was made", &action.argv, &answer));
        }
        Ok(map([("path", answer.text().trim_end_matches('\n').into())]))
    }

    fn result(&self, _state: &State) -> Map {
        map([("state", self.state.word().into())])
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::disallowed_methods)]
    use super::*;
    use crate::resource::content::given;
    use crate::resource::converge;
    use crate::resource::laws::can_be_taken_back;
    use crate::system::Answer;
    use crate::system::fake::Fake;
    use crate::system::local::Local;
    use crate::system::overlay::Overlay;
    use std::sync::Arc;

    #[test]
    fn what_was_made_can_be_taken_back() {
        let host = || Fake::new().dir("/tmp").command(&["mktemp"], Answer::ok("/tmp/ansible.0123456789\n"));
        can_be_taken_back(&given::<Tempfile>(&[]), host);
    }

    #[test]
    fn a_name_of_its_own_is_told_when_applied() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().to_str().unwrap();
        let make: Tempfile = given(&[("state", "directory"), ("path", at), ("suffix", ".d")]);
        let plan = Overlay::new(Arc::new(Local::new()));
        let planned = converge(&make, &plan as &(dyn System + 'static), None).unwrap();
        assert!(planned.result["path"].unknown().is_some());
        let made = converge(&make, &Local::new() as &(dyn System + 'static), None).unwrap();
        let path = made.result["path"].as_str().unwrap();
        assert!(path.starts_with(&format!("{at}/ansible.")) && path.ends_with(".d"), "{path}");
        assert!(std::fs::metadata(path).unwrap().is_dir());
        assert_eq!(std::fs::read_dir(at).unwrap().count(), 1);
    }
}
