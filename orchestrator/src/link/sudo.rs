//! Becoming another user by sudo(8): the command in front, the password on standard input when it is asked for.

use okd_agent::secret::Secret;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// What sudo is told to print when it wants the password; nothing else prints this.
const PROMPT: &str = "okd-play-sudo-password:";

/// The command line that runs `command` (for a shell) as `user`. Without a password sudo must not ask.
#[must_use]
pub fn command(user: &str, password: Option<&Secret>, command: &str) -> String {
    let ask = match password {
        Some(_) => format!("-S -p {}", quoted(PROMPT)),
        None => "-n".to_owned(),
    };
    format!("sudo -H {ask} -u {} -- /bin/sh -c {}", quoted(user), quoted(command))
}

/// One word for a POSIX shell.
#[must_use]
pub fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+=:,@%".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// Why the user could not be become.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SudoError {
    /// The password is not the right one.
    #[error("sudo does not take the password for {user} on {host}")]
    WrongPassword {
        /// The user to become.
        user: String,
        /// The host.
        host: String,
    },
    /// A password is needed.
    #[error("sudo on {host} asks for a password: -K asks you for it, `ansible_become_password` gives it")]
    PasswordNeeded {
        /// The host.
        host: String,
    },
    /// Anything else that sudo says.
    #[error("sudo on {host}: {words}")]
    Refused {
        /// The host.
        host: String,
        /// Its words.
        words: String,
    },
}

/// Reads what sudo and the program print on standard error until the stream ends; gives the password the first time it
/// is asked for, and returns with an error the second time. What else was printed is kept in `said`.
///
/// # Errors
/// [`SudoError::WrongPassword`].
pub async fn watch<R, W>(
    errors: &mut R,
    input: &mut W,
    password: Option<&Secret>,
    given: &mut bool,
    said: &mut Vec<u8>,
) -> std::io::Result<Watched>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut chunk = [0; 1024];
    loop {
        let count = errors.read(&mut chunk).await?;
        if count == 0 {
            return Ok(Watched::Ended);
        }
        said.extend_from_slice(&chunk[..count]);
        let Some(at) = said
            .windows(PROMPT.len())
            .position(|window| window == PROMPT.as_bytes())
        else {
            continue;
        };
        said.drain(at..at + PROMPT.len());
        let Some(password) = password.filter(|_| !*given) else {
            return Ok(Watched::Again);
        };
        *given = true;
        let mut line = password.reveal().to_vec();
        line.push(b'\n');
        input.write_all(&line).await?;
        input.flush().await?;
        line.fill(0);
        return Ok(Watched::Given);
    }
}

/// What happened on standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watched {
    /// The password was asked for and given.
    Given,
    /// It is asked for again.
    Again,
    /// The stream ended.
    Ended,
}

/// What a start that failed under sudo means.
#[must_use]
pub fn explain(host: &str, words: &str) -> SudoError {
    let words = words.trim().to_owned();
    if words.contains("a password is required") || words.contains("a terminal is required") {
        return SudoError::PasswordNeeded { host: host.to_owned() };
    }
    let words = if words.contains("sudo: not found") || words.contains("sudo: command not found") {
        "it is not installed there; log in as the user itself, or install sudo".to_owned()
    } else {
        words
    };
    SudoError::Refused {
        host: host.to_owned(),
        words,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_for_a_shell() {
        assert_eq!(quoted("plain/path-1.0"), "plain/path-1.0");
        assert_eq!(quoted("it's"), "'it'\\''s'");
        assert_eq!(quoted(""), "''");
        assert_eq!(quoted("a b;rm"), "'a b;rm'");
    }

    #[test]
    fn a_password_stands_in_no_command() {
        let line = command("root", Some(&Secret::new("hunter2")), "id");
        assert!(line.starts_with("sudo -H -S -p ") && !line.contains("hunter2"));
        assert!(command("root", None, "id").contains(" -n "));
    }
}
