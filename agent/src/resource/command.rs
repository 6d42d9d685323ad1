//! Programs run by `command`, without a shell.

use super::run::{Predicts, Run, State};
use super::{Resource, ResourceError, words};
use crate::params;
use crate::path::AbsPath;
use crate::system::System;
use crate::value::Map;

params! {
    /// Runs a program, without a shell: no pipes, no variables, no wildcards.
    pub struct Command {
        /// Program and arguments in one line, split as a shell does.
        cmd: Option<String> ["_raw_params", "free_form"],
        /// Program and arguments as a list.
        argv: Vec<String>,
        /// Working folder.
        chdir: Option<AbsPath>,
        /// A path (it may have `*`): where it is there, the program is not run.
        creates: Option<String>,
        /// A path (it may have `*`): where it is not there, the program is not run.
        removes: Option<String>,
        /// What the program reads.
        stdin: Option<String>,
        /// End `stdin` with a line end.
        stdin_add_newline: bool = "yes",
        /// Take the line ends off the end of the outputs.
        strip_empty_ends: bool = "yes",
        /// What the program will have changed, so that the plan can go on past it.
        predicts: Option<Predicts>,
    }
}

impl Command {
    fn run(&self) -> Result<Run<'_>, ResourceError> {
        let argv = match &self.cmd {
            Some(line) => words::split(line).map_err(ResourceError::message)?,
            None => self.argv.clone(),
        };
        Ok(Run {
            line: self.cmd.clone().unwrap_or_else(|| words::join(&argv)),
            cmd: argv.clone().into(),
            argv,
            chdir: self.chdir.as_ref(),
            creates: self.creates.as_deref(),
            removes: self.removes.as_deref(),
            stdin: self.stdin.as_deref(),
            stdin_add_newline: self.stdin_add_newline,
            strip_empty_ends: self.strip_empty_ends,
            predicts: self.predicts.as_ref(),
        })
    }
}

impl Resource for Command {
    const NAMES: &'static [&'static str] = &["command", "ansible.builtin.command"];
    const FREE_FORM: Option<&'static str> = Some("cmd");
    const EXAMPLE: &'static str = "- name: Trust anchor\n  command: unbound-anchor -a /var/lib/unbound/root.key\n  args:\n    creates: /var/lib/unbound/root.key\n";
    const PREDICTS: &'static str = "whether it runs; what it changes only where `predicts` says so, otherwise the step is unknown until applied";
    type World = dyn System;
    type State = State;

    fn check(&self) -> Result<(), Vec<String>> {
        match (&self.cmd, self.argv.as_slice()) {
            (None, []) => Err(vec!["`command` needs a program: free text, `cmd` or `argv`".to_owned()]),
            (Some(_), [_, ..]) => Err(vec!["`cmd` and `argv` exclude each other".to_owned()]),
            (Some(line), []) => match words::split(line) {
                Ok(words) if words.is_empty() => Err(vec!["`command` needs a program".to_owned()]),
                Ok(_) => self.run().map_err(|error| vec![error.to_string()])?.check(),
                Err(problem) => Err(vec![format!("the command line `{line}`: {problem}")]),
            },
            (None, _) => self.run().map_err(|error| vec![error.to_string()])?.check(),
        }
    }

    fn inspect(&self, world: &Self::World) -> Result<State, ResourceError> {
        self.run()?.inspect(world)
    }

    fn desire(&self, now: &State) -> Result<State, ResourceError> {
        Ok(now.done())
    }

    fn apply(&self, _now: &State, _want: &State, world: &Self::World) -> Result<Map, ResourceError> {
        self.run()?.apply(world)
    }

    fn result(&self, state: &State) -> Map {
        self.run().map(|run| run.result(state)).unwrap_or_default()
    }
}
