//! Command lines run by a shell.

use super::run::{Predicts, Run, State};
use super::{Resource, ResourceError};
use crate::params;
use crate::path::AbsPath;
use crate::system::System;
use crate::value::Map;

params! {
    /// Runs a command line by a shell.
    pub struct Shell {
        /// The command line.
        cmd: String ["_raw_params", "free_form"],
        /// The shell.
        executable: AbsPath = "/bin/sh",
        /// Working folder.
        chdir: Option<AbsPath>,
        /// A path (it may have `*`): where it is there, the command line is not run.
        creates: Option<String>,
        /// A path (it may have `*`): where it is not there, the command line is not run.
        removes: Option<String>,
        /// What the command line reads.
        stdin: Option<String>,
        /// End `stdin` with a line end.
        stdin_add_newline: bool = "yes",
        /// What the command line will have changed, so that the plan can go on past it.
        predicts: Option<Predicts>,
    }
}

impl Shell {
    fn run(&self) -> Run<'_> {
        Run {
            line: self.cmd.clone(),
            cmd: self.cmd.as_str().into(),
            argv: vec![self.executable.to_string(), "-c".to_owned(), self.cmd.clone()],
            chdir: self.chdir.as_ref(),
            creates: self.creates.as_deref(),
            removes: self.removes.as_deref(),
            stdin: self.stdin.as_deref(),
            stdin_add_newline: self.stdin_add_newline,
            strip_empty_ends: true,
            predicts: self.predicts.as_ref(),
        }
    }
}

impl Resource for Shell {
    const NAMES: &'static [&'static str] = &["shell", "ansible.builtin.shell"];
    const FREE_FORM: Option<&'static str> = Some("cmd");
    const EXAMPLE: &'static str = "- name: Count zones\n  shell: grep -c '^zone' /etc/named.conf || true\n  args:\n    predicts:\n      nothing: true\n  register: zones\n";
    const PREDICTS: &'static str = "whether it runs; what it changes only where `predicts` says so, otherwise the step is unknown until applied";
    type World = dyn System;
    type State = State;

    fn check(&self) -> Result<(), Vec<String>> {
        if self.cmd.trim().is_empty() {
            return Err(vec!["`shell` needs a command line".to_owned()]);
        }
        self.run().check()
    }

    fn inspect(&self, world: &Self::World) -> Result<State, ResourceError> {
        self.run().inspect(world)
    }

    fn desire(&self, now: &State) -> Result<State, ResourceError> {
        Ok(now.done())
    }

    fn apply(&self, _now: &State, _want: &State, world: &Self::World) -> Result<Map, ResourceError> {
        self.run().apply(world)
    }

    fn result(&self, state: &State) -> Map {
        self.run().result(state)
    }
}
