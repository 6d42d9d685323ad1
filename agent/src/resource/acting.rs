//! How resources run commands: a bad exit becomes a failure in the program's own words.

use super::ResourceError;
use crate::system::{Action, Answer, Probe, System};

/// Runs an action; its bad exit is a failure that quotes what the program said.
///
/// # Errors
/// The world's, or the command's failure.
pub fn run(world: &dyn System, action: &Action) -> Result<Answer, ResourceError> {
    let answer = world.act(action)?;
    if answer.success() {
        Ok(answer)
    } else {
        Err(failed(&action.argv, &answer))
    }
}

/// Asks; a bad exit is a failure that quotes what the program said.
///
/// # Errors
/// The world's, or the command's failure.
pub fn ask(world: &dyn System, probe: &Probe) -> Result<Answer, ResourceError> {
    let answer = world.probe(probe)?;
    if answer.success() {
        Ok(answer)
    } else {
        Err(failed(&probe.argv, &answer))
    }
}

/// The failure of a command that ended badly.
#[must_use]
pub fn failed(argv: &[String], answer: &Answer) -> ResourceError {
    let program = argv
        .first()
        .map_or("the command", |program| program.rsplit('/').next().unwrap_or(program));
    if answer.rc == Answer::NO_PROGRAM && said(answer).is_empty() {
        return ResourceError::command(format!("`{program}` is not installed"), argv, answer);
    }
    let words = said(answer);
    let message = if words.is_empty() {
        format!("{program} ended with status {}", answer.rc)
    } else {
        format!("{program}: {words}")
    };
    ResourceError::command(message, argv, answer)
}

/// The line in which a program says what went wrong: the first that names an error, else the last one.
fn said(answer: &Answer) -> String {
    let (error, output) = (answer.error_text(), answer.text());
    let lines = || {
        error
            .lines()
            .chain(output.lines())
            .map(str::trim)
            .filter(|line| !line.is_empty())
    };
    let named = lines().find_map(|line| {
        ["Error: ", "E: ", "error: "]
            .iter()
            .find_map(|mark| line.strip_prefix(mark))
    });
    let last = || {
        error
            .lines()
            .rev()
            .chain(output.lines().rev())
            .map(str::trim)
            .find(|line| !line.is_empty())
    };
    named.or_else(last).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_speaks_in_the_programs_words() {
        let answer = Answer {
            rc: 1,
            stdout: b"Last metadata expiration check: 0:01:00 ago.\nNo match for argument: nosuch\n".to_vec(),
            stderr: b"Error: Unable to find a match: nosuch\n".to_vec(),
            predicted: false,
        };
        let error = failed(&["/usr/bin/dnf".to_owned()], &answer);
        assert_eq!(error.to_string(), "dnf: Unable to find a match: nosuch");
        assert_eq!(
            failed(&["dnf".to_owned()], &Answer::status(127)).to_string(),
            "`dnf` is not installed"
        );
        assert_eq!(
            failed(&["dnf".to_owned()], &Answer::status(3)).to_string(),
            "dnf ended with status 3"
        );
    }
}
