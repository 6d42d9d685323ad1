//! The service's own checker over the staged set, and its words turned back to the files' real places.

use super::{FileSet, view};
use crate::diff::sha256;
use crate::path::AbsPath;
use crate::resource::{Failure, ResourceError};
use crate::system::{Answer, Probe, Staged, System};

/// What a set has to pass before anything is swapped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checker {
    /// What it is called in messages.
    pub name: &'static str,
    /// Program and arguments; `{stage}` stands for the folder that holds the staged set, each file at its own path
    /// below it.
    pub argv: Vec<String>,
    /// Further files that the checker needs below the stage, empty ones to make a folder.
    pub further: Vec<Staged>,
}

impl Checker {
    /// A checker by program and arguments.
    #[must_use]
    pub fn new(name: &'static str, argv: &[&str]) -> Self {
        let argv = argv.iter().map(|arg| (*arg).to_owned()).collect();
        Checker {
            name,
            argv,
            further: Vec::new(),
        }
    }
}

/// A staged set before its checker.
pub(super) struct Check<'a> {
    /// What the checker is called in messages.
    pub(super) name: &'a str,
    /// What is run.
    pub(super) argv: Vec<String>,
    /// What is shown of that.
    pub(super) shown: &'a [String],
    /// What is laid out.
    pub(super) stage: Vec<Staged>,
    /// The real paths of what is checked, with the texts that the checker sees.
    pub(super) files: Vec<(&'a AbsPath, &'a [u8])>,
}

impl FileSet {
    pub(super) fn check(&self) -> Check<'_> {
        let files: Vec<(&AbsPath, &[u8])> = self
            .files
            .iter()
            .map(|file| (&file.path, file.staged.as_deref().unwrap_or(&file.bytes)))
            .collect();
        let staged = |(path, bytes): &(&AbsPath, &[u8])| Staged {
            path: path.as_str().trim_start_matches('/').to_owned(),
            bytes: bytes.to_vec(),
        };
        let stage = files
            .iter()
            .map(staged)
            .chain(self.checker.further.iter().cloned())
            .collect();
        let (name, argv) = (self.checker.name, &self.checker.argv);
        Check {
            name,
            argv: argv.clone(),
            shown: argv,
            stage,
            files,
        }
    }
}

/// Has a checker pass a staged set; `service` is whose files they are.
///
/// # Errors
/// The checker's own words, with the line that it points at.
pub(super) fn check(set: &Check<'_>, service: &str, running: bool, world: &dyn System) -> Result<(), ResourceError> {
    let probe = Probe {
        key: format!("check:{service}:{}", fingerprint(&set.stage)),
        argv: set.argv.clone(),
        stage: set.stage.clone(),
        ..Probe::default()
    };
    let answer = world.probe(&probe)?;
    if answer.success() {
        return Ok(());
    }
    if answer.rc == Answer::NO_PROGRAM {
        if !world.promised().is_empty() {
            return Ok(());
        }
        let message = format!(
            "{} is not installed, so the new files of {service} cannot be checked",
            set.name
        );
        return Err(ResourceError::command(message, set.shown, &answer));
    }
    Err(ResourceError::Failed(Box::new(refusal(set, answer, service, running))))
}

/// Names a staged set, so that no answer about another one is taken for this one's.
fn fingerprint(stage: &[Staged]) -> String {
    let parts = stage
        .iter()
        .flat_map(|file| [file.path.as_bytes(), b"\0", &file.bytes, b"\0"]);
    sha256(&parts.collect::<Vec<_>>().concat())
}

fn refusal(set: &Check<'_>, answer: Answer, service: &str, running: bool) -> Failure {
    let stdout = unstaged(&answer.text(), set);
    let stderr = unstaged(&answer.error_text(), set);
    let program = set.name;
    let lines = || stdout.lines().chain(stderr.lines()).map(str::trim);
    let message = match lines().find_map(|line| Some((line, quoted(line, set)?))) {
        Some((words, (at, line))) => format!("{program} refuses the new files: {words}\n  {at} | {line}"),
        None => {
            let first = lines().find(|line| !line.is_empty() && !line.contains("loaded serial"));
            format!(
                "{program} refuses the new files: {}",
                first.unwrap_or("it does not say why")
            )
        }
    };
    let kept = if running {
        format!("nothing was swapped: the old configuration is in place and {service} is running on it")
    } else {
        "nothing was swapped: the old configuration is in place".to_owned()
    };
    let answer = Answer {
        stdout: stdout.into_bytes(),
        stderr: stderr.into_bytes(),
        ..answer
    };
    Failure {
        message,
        argv: set.shown.to_vec(),
        answer: Some(answer),
        kept,
        ..Failure::default()
    }
}

/// Turns the stage's paths in a checker's words into the real ones.
fn unstaged(text: &str, set: &Check<'_>) -> String {
    let mut text = text.to_owned();
    for real in set.files.iter().map(|(path, _)| path.as_str()).chain([view::ROOT]) {
        let mut from = 0;
        while let Some(at) = text[from..].find(real).map(|at| at + from) {
            let is_path = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
            let start = text[..at].rfind(|c| !is_path(c)).map_or(0, |before| before + 1);
            let start = if text[start..].starts_with('/') { start } else { at };
            let end = if real == view::ROOT { at + real.len() } else { at };
            text.replace_range(start..end, "");
            from = start + real.len() - (end - at);
        }
    }
    text
}

/// The line that a checker's words point at: `PATH:12`, or `PATH line 12`; the path may be the file's name alone.
fn quoted(words: &str, set: &Check<'_>) -> Option<(usize, String)> {
    set.files.iter().find_map(|(path, text)| {
        let named = || words.split_once(&format!(" {}", path.name()));
        let rest = words.split_once(path.as_str()).or_else(named)?.1;
        let rest = rest.strip_prefix(':').or_else(|| rest.strip_prefix(" line "))?;
        let number: usize = rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()?;
        let line = String::from_utf8_lossy(text)
            .lines()
            .nth(number.checked_sub(1)?)?
            .trim()
            .to_owned();
        Some((number, line))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::resource::layout::path;
    use crate::resource::transaction::{Power, SetFile, Tell};

    #[test]
    fn a_refusal_names_the_real_file_and_quotes_its_line() {
        let set = FileSet {
            service: "named",
            files: vec![SetFile::public(
                path("/etc/named.conf"),
                "options {\n  bogus yes;\n};\n".to_owned(),
            )],
            checker: Checker::new("named-checkconf", &["named-checkconf", "{stage}/etc/named.conf"]),
            tell: Tell::Reload,
            power: Power::Started,
            enabled: true,
            listeners: Vec::new(),
            served: Vec::new(),
        };
        let words = b"/run/okd-play/stage-1a/etc/named.conf:2: unknown option 'bogus'\n".to_vec();
        let answer = Answer {
            rc: 1,
            stdout: words,
            ..Answer::default()
        };
        let failure = refusal(&set.check(), answer, "named", true);
        assert_eq!(
            failure.message,
            "named-checkconf refuses the new files: /etc/named.conf:2: unknown option 'bogus'\n  2 | bogus yes;"
        );
        assert!(failure.kept.ends_with("named is running on it"));
        assert_eq!(
            failure.answer.unwrap().text(),
            "/etc/named.conf:2: unknown option 'bogus'\n"
        );
    }
}
