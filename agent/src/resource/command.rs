//! Programs run by `command`, without a shell.

use super::run::{Predicts, Run, State};
use super::{Resource, ResourceError, words};
use crate::params;
use crate::path::AbsPath;
use crate::system::System;
use crate::value::Map;

params! {
    /// Runs a program, without a shell: no pipes, no wildcards.
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
        /// Whether `$NAME` and `${NAME}` in the arguments become what the environment says; a name that it lacks stays.
        expand_argument_vars: bool = "yes",
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
            argv: if self.expand_argument_vars { expanded(argv) } else { argv },
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

/// Arguments with variables, handed to a shell that puts in their values and then becomes the program.
fn expanded(argv: Vec<String>) -> Vec<String> {
    if !argv.iter().any(|word| variables(word).next().is_some()) {
        return argv;
    }
    let words: Vec<String> = argv.iter().map(|word| quoted(word)).collect();
    ["/bin/sh".to_owned(), "-c".to_owned(), format!("exec {}", words.join(" "))].into()
}

/// Where variables stand in a word, with their names.
fn variables(word: &str) -> impl Iterator<Item = (std::ops::Range<usize>, &str)> {
    let letter = |c: char| c.is_ascii_alphanumeric() || c == '_';
    word.match_indices('$').filter_map(move |(at, _)| {
        let rest = &word[at + 1..];
        let (name, length) = match rest.strip_prefix('{') {
            Some(inner) => (inner.split_once('}')?.0, inner.find('}')? + 3),
            None => {
                let end = rest.find(|c: char| !letter(c)).unwrap_or(rest.len());
                (&rest[..end], end + 1)
            }
        };
        let valid = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && name.chars().all(letter);
        valid.then_some((at..at + length, name))
    })
}

/// A word for a shell: literal but for its variables, and they too where they are not set.
fn quoted(word: &str) -> String {
    let (mut out, mut from) = (String::new(), 0);
    for (range, name) in variables(word) {
        out.push_str(&words::join(&[word[from..range.start].to_owned()]));
        out.push_str(&format!("\"${{{name}-\\{}}}\"", &word[range.clone()].replace('}', "\\}")));
        from = range.end;
    }
    if from < word.len() || out.is_empty() {
        out.push_str(&words::join(&[word[from..].to_owned()]));
    }
    out
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
