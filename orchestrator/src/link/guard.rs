//! The orchestrator's part of the lock-out guard: how steps are to be guarded, and the new connection that tells a host
//! that it can still be reached. What the host does is in [`okd_agent::system::guard`].

use super::agent::{as_user, greeting, no_start};
use super::reach::{Reach, Way};
use super::ssh::{Connection, Connector};
use okd_agent::system::guard::{FOLDER, Guard};
use okd_agent::system::local::PATH;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, BufReader};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// How long a change stands unconfirmed where nothing else is said, in seconds.
const SECONDS: u32 = 60;
/// Nobody waits longer, in seconds.
const MOST: u32 = 3600;
/// What putting back may take at a host, besides what it waits for.
const GRACE: Duration = Duration::from_secs(120);
/// As long as the host waits for a command of the step that is still at work.
const HELD: Duration = Duration::from_secs(180);
/// A further connection is tried so long after one that has not answered, and so soon after one that failed.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(500);
/// Nobody is told of a shorter wait.
const MOMENT: Duration = Duration::from_secs(1);

/// How the steps of a host are guarded: what `okd_guard` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// How long a change stands unconfirmed.
    pub seconds: u32,
    /// A step that cannot be guarded is refused.
    pub required: bool,
    /// Whatever a step changes is guarded, not only what is known to be able to lock okd-play out.
    pub always: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Policy {
            seconds: SECONDS,
            required: false,
            always: false,
        }
    }
}

impl Policy {
    /// Words that [`Policy::parse`] takes besides numbers.
    pub const WORDS: [&'static str; 4] = ["true", "false", "required", "always"];

    /// Reads what a person wrote: a number of seconds, `true`, `false`, `required`, `always`, or several of these in one
    /// text. `None`: nothing is guarded.
    ///
    /// # Errors
    /// The word that means nothing here.
    pub fn parse(text: &str) -> Result<Option<Policy>, String> {
        let mut policy = Policy::default();
        let mut on = true;
        for word in text.split([' ', ',']).filter(|word| !word.is_empty()) {
            match word.to_lowercase().as_str() {
                "true" | "yes" | "on" => {}
                "false" | "no" | "off" => on = false,
                "required" => policy.required = true,
                "always" => policy.always = true,
                number => match number.parse() {
                    Ok(seconds) if (1..=MOST).contains(&seconds) => policy.seconds = seconds,
                    _ => return Err(word.to_owned()),
                },
            }
        }
        Ok(on.then_some(policy))
    }

    /// As it goes to the host.
    #[must_use]
    pub fn guard(self, id: &str) -> Guard {
        Guard {
            id: id.to_owned(),
            seconds: self.seconds,
            required: self.required,
            always: self.always,
        }
    }
}

/// What has become of a guarded change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// A new connection reached the host: the change stays.
    Confirmed,
    /// The host had no guard set up.
    Unguarded,
    /// The host has put the old state back.
    PutBack {
        /// When, by the host's clock.
        at: String,
        /// What the guard wrote.
        log: Vec<String>,
        /// What new connections met before.
        met: String,
    },
    /// No new connection was possible in all that time.
    Unreachable {
        /// What the last one met.
        met: String,
        /// How long it was tried.
        waited: Duration,
    },
}

/// A change that waits to be confirmed.
#[derive(Debug, Clone)]
pub struct Question {
    /// Names the question in its answer.
    pub ticket: u64,
    /// The guard's id.
    pub id: String,
    /// How long the change stands unconfirmed.
    pub seconds: u32,
    /// Whether the step itself has not answered: it may still be at work.
    pub lost: bool,
}

impl Question {
    /// How long an answer is waited for.
    #[must_use]
    pub fn limit(&self) -> Duration {
        let seconds = Duration::from_secs(self.seconds.into());
        seconds + GRACE + if self.lost { HELD } else { Duration::ZERO }
    }
}

/// What a host says of its guard.
#[derive(Debug)]
enum Said {
    Confirmed,
    Unguarded,
    PutBack {
        at: String,
        log: Vec<String>,
    },
    /// Not yet: it is being put back, or the step is at work.
    Later,
}

const MARK: &str = "okd-play-guard:";

/// Tries new connections until one tells how the guarded change stands. Where that takes longer than a moment, it is said
/// what is waited for.
pub(super) async fn ask(
    connector: &Arc<Connector>,
    reach: &Reach,
    question: &Question,
    say: impl Fn(String),
) -> Verdict {
    let began = Instant::now();
    let deadline = began + question.limit();
    let mut met = String::new();
    let mut tries = JoinSet::new();
    let mut next = began;
    let mut silent = true;
    loop {
        tokio::select! {
            Some(end) = tries.join_next(), if !tries.is_empty() => {
                next = Instant::now() + PAUSE;
                match end {
                    Ok(Ok(Said::Confirmed)) => return Verdict::Confirmed,
                    Ok(Ok(Said::Unguarded)) => return Verdict::Unguarded,
                    Ok(Ok(Said::PutBack { at, log })) => return Verdict::PutBack { at, log, met },
                    Ok(Ok(Said::Later)) | Err(_) => {}
                    Ok(Err(reason)) => met = reason,
                }
            }
            () = sleep_until(next), if next < deadline => {
                next = Instant::now() + PATIENCE;
                tries.spawn(once(Arc::clone(connector), reach.clone(), question.id.clone()));
            }
            () = sleep_until(began + MOMENT), if silent => {
                silent = false;
                say("waits for a new connection to confirm the change, or for the host to put it back".to_owned());
            }
            () = sleep_until(deadline) => return Verdict::Unreachable { met, waited: began.elapsed() },
        }
    }
}

/// One new connection and what the host says on it.
async fn once(connector: Arc<Connector>, reach: Reach, id: String) -> Result<Said, String> {
    let Way::Ssh(target) = &reach.way else {
        return Ok(Said::Unguarded);
    };
    let connection = connector
        .connect_at_once(target)
        .await
        .map_err(|error| error.to_string())?;
    let said = confirm(&connection, &reach, &id).await;
    connection.close().await;
    said
}

async fn confirm(connection: &Connection, reach: &Reach, id: &str) -> Result<Said, String> {
    let script = format!(
        "PATH={PATH}; d={FOLDER}/{id}; [ -e \"$d/guard\" ] || {{ echo {MARK}none; exit; }}; exec /bin/sh \"$d/guard\" confirm"
    );
    let process = connection
        .exec(&as_user(reach, &script))
        .await
        .map_err(|error| error.to_string())?;
    let (mut input, mut errors) = (process.stdin, process.stderr);
    let mut output = BufReader::new(process.stdout);
    let mut said = Vec::new();
    let greeted = greeting(&mut output, &mut errors, &mut input, reach, &mut said, &[MARK]);
    let line = greeted.await.map_err(|error| error.to_string())?;
    let line = line.ok_or_else(|| no_start(reach, &said).to_string())?;
    let mut rest = String::new();
    let _ = output.read_to_string(&mut rest).await;
    Ok(read(line.trim_start_matches(MARK), &rest))
}

fn read(state: &str, log: &str) -> Said {
    match state.split_once(' ').unwrap_or((state, "")) {
        ("confirmed", _) => Said::Confirmed,
        ("none", _) => Said::Unguarded,
        ("put-back", at) => Said::PutBack {
            at: at.to_owned(),
            log: log.lines().map(str::to_owned).collect(),
        },
        _ => Said::Later,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_person_writes() {
        let plain = Policy::default();
        assert_eq!(Policy::parse("True"), Ok(Some(plain)));
        assert_eq!(Policy::parse("false"), Ok(None));
        assert_eq!(Policy::parse("5"), Ok(Some(Policy { seconds: 5, ..plain })));
        let both = Policy {
            seconds: 90,
            required: true,
            always: true,
        };
        assert_eq!(Policy::parse("always, required 90"), Ok(Some(both)));
        for wrong in ["0", "3601", "-1", "alwyas"] {
            assert_eq!(Policy::parse(wrong), Err(wrong.to_owned()));
        }
    }

    #[test]
    fn what_a_host_says() {
        let log = "14:03:07 a\n14:03:12 b\n";
        assert!(matches!(read("confirmed", ""), Said::Confirmed));
        assert!(matches!(read("none", ""), Said::Unguarded));
        assert!(matches!(read("busy", ""), Said::Later));
        match read("put-back 14:03:12", log) {
            Said::PutBack { at, log } => assert_eq!((at.as_str(), log.len()), ("14:03:12", 2)),
            other => assert!(matches!(other, Said::Confirmed), "{other:?}"),
        }
    }
}
