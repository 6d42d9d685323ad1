//! What orchestrator and agent say to each other. Both are the same build, or the agent is replaced: there is no
//! compatibility matrix. A frame is a u32 length (big endian), one byte of encoding, and a postcard body,
//! in which a kind is as [`crate::pack`] lays it out.

use crate::ledger::{Debt, Row};
use crate::path::AbsPath;
use crate::resource::transaction::block::Commit;
use crate::resource::{Failure, Kind, Outcome};
use crate::secret::Secrets;
use crate::system::claim::Claim;
use crate::system::guard::Guard;
use crate::system::overlay::Recorded;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io::{self, Read, Write};

/// Names the build: equal on both sides, or the agent is replaced.
pub const BUILD: &str = env!("OKD_PLAY_BUILD");

/// No frame is longer than this, in bytes.
pub const FRAME_LIMIT: usize = 256 << 20;

const COMPRESS_ABOVE: usize = 1024;

/// From the orchestrator to the agent. Several may be under way; the agent works in order.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Request {
    /// A step to plan or to apply.
    Task(Box<Task>),
    /// The end of a block with a transaction.
    Commit(Box<Task<Commit>>),
    /// Secrets that later steps name by placeholder.
    Secrets(Secrets),
    /// The predictions are forgotten: a plan starts anew at what the machine is now.
    Forget,
    /// What another session predicted for this machine; a plan goes on from there.
    Assume(Vec<Recorded>),
    /// The plan is at its end: what it saw of files is looked at again before anything is applied, and a step that looks
    /// at a file that somebody has changed since touches nothing. What is planned from now on is planned on the machine as
    /// it is.
    Recall,
    /// The script of lock-out guards, before the first step that may need one.
    Guard(String),
    /// What is applied from now on is a part of this run.
    Begin(Begin),
    /// No further step is begun; all that wait are [`Reply::Held`].
    Stop,
    /// Debts of the machine's ledger that are paid, by their names.
    Settle(Vec<String>),
    /// What was found as it should be is written into the machine's ledger too.
    Keep,
    /// Everything that the machine's ledger says is managed is told.
    Ledger,
    /// Some playbooks do not want some things any more.
    Release(Vec<Row>, Vec<String>),
}

/// The run that a session's applied steps are a part of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begin {
    /// Whose it is.
    pub claim: Claim,
    /// Whether the run has the machine for itself; how many seconds it waits for another that has it.
    pub alone: Option<u64>,
    /// Runs of the same control node that are over. One of them that still has the machine has lost its link, and the
    /// machine does not know.
    pub over: Vec<String>,
}

/// One step. Its kind is one of those that agents have, unless it is worked on in this process.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Task<K = Kind> {
    /// Names the step in its answer.
    pub id: u64,
    /// Steps of this link that have to have ended well; otherwise this one is [`Reply::Held`].
    pub after: Vec<u64>,
    /// What to bring about.
    pub kind: K,
    /// In which world.
    pub pass: Pass,
    /// The fingerprint of a plan; where the state is another one, nothing is touched.
    pub expect: Option<u64>,
    /// Further environment for the commands of this step.
    pub env: Vec<(String, String)>,
    /// Inspect again after applying, and fail when something still differs.
    pub verify: bool,
    /// What it may change: of that a plan which cannot foresee it knows nothing any more.
    pub touches: Vec<AbsPath>,
    /// What it means to the machine's ledger.
    pub note: Note,
    /// How it is guarded where it may lock the orchestrator out.
    pub guard: Option<Guard>,
    /// The transaction that the step belongs to: what it does is staged, and put in place by the transaction's commit.
    pub within: Option<u64>,
    /// `no_log`: nobody is shown what it changes.
    pub hidden: bool,
    /// The plan is one that is kept: what is seen is told, and a step that is refused because its host has moved holds
    /// back no other.
    pub kept: bool,
}

impl<K> Task<K> {
    /// All but the kind, and the kind.
    #[must_use]
    pub fn apart(self) -> (Task<()>, K) {
        self.with(())
    }

    /// The same step with another kind, and the kind that it had.
    fn with<L>(self, kind: L) -> (Task<L>, K) {
        let Task {
            id,
            after,
            kind: had,
            pass,
            expect,
            env,
            verify,
            touches,
            note,
            guard,
            within,
            hidden,
            kept,
        } = self;
        let task = Task {
            id,
            after,
            kind,
            pass,
            expect,
            env,
            verify,
            touches,
            note,
            guard,
            within,
            hidden,
            kept,
        };
        (task, had)
    }
}

impl Task<()> {
    /// The step with its kind.
    #[must_use]
    pub fn of<K>(self, kind: K) -> Task<K> {
        self.with(kind).0
    }
}

/// What a step means to the machine's ledger.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Note {
    /// Handlers that are owed from the moment at which it changes something.
    pub owes: Vec<Debt>,
    /// Debts that are paid when it has ended well, by their names.
    pub settles: Vec<String>,
    /// What it manages.
    pub managed: Vec<Row>,
}

/// In which world a step acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Pass {
    /// In the predicted one, which keeps what earlier steps will have done.
    Plan,
    /// On the machine.
    Apply,
    /// In a prediction of its own, which starts at what the machine is now and is forgotten at once.
    Look,
}

/// From the agent to the orchestrator.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Response {
    /// The first frame.
    Hello {
        /// [`BUILD`] of the agent.
        build: String,
        /// The user that it runs as.
        uid: u32,
        /// What the machine's ledger says is owed.
        debts: Vec<Debt>,
        /// What is wrong with that ledger, in sentences.
        complaints: Vec<String>,
    },
    /// Another session has the machine, of this run or of another one.
    Taken(Claim),
    /// Another run has not ended on this machine; this one begins when that has. Says what is waited for.
    Waits(String),
    /// What is managed; the answer to [`Request::Ledger`].
    Ledger(Vec<Row>),
    /// A step's end.
    Done {
        /// Which.
        id: u64,
        /// How.
        reply: Reply,
        /// What this step changed in the predicted world; empty when it was applied.
        recorded: Vec<Recorded>,
    },
}

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Reply {
    /// Well.
    Outcome(Box<Outcome>),
    /// Badly.
    Failed(Box<Failure>),
    /// Not begun, because a step before it had failed or the session was stopped.
    Held,
}

impl Reply {
    /// Whether nothing was touched because the host has moved since the plan.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        matches!(self, Reply::Failed(failure) if failure.stale)
    }

    /// Leaves out what was seen.
    pub fn forget_seen(&mut self) {
        match self {
            Reply::Outcome(outcome) => outcome.seen = None,
            Reply::Failed(failure) => failure.seen = None,
            Reply::Held => {}
        }
    }
}

/// The placeholders of secrets that a message names, each once.
#[must_use]
pub fn placeholders<T: Serialize>(message: &T) -> Vec<String> {
    plain(message).map_or_else(|_| Vec::new(), |body| Secrets::named_in(&body))
}

/// A message's bytes as they are, without a frame around them.
///
/// # Errors
/// [`io::ErrorKind::InvalidData`] for what has no such bytes.
pub fn plain<T: Serialize>(message: &T) -> io::Result<Vec<u8>> {
    postcard::to_stdvec(message).map_err(invalid)
}

/// Encodes a message as one frame.
///
/// # Errors
/// [`io::ErrorKind::InvalidData`] above [`FRAME_LIMIT`].
pub fn encode<T: Serialize>(message: &T) -> io::Result<Vec<u8>> {
    let body = plain(message)?;
    let (flag, body) = if body.len() > COMPRESS_ABOVE {
        (1, lz4_flex::compress_prepend_size(&body))
    } else {
        (0, body)
    };
    if body.len() > FRAME_LIMIT {
        return Err(invalid(format!(
            "a message of {} bytes; at most {FRAME_LIMIT} are sent",
            body.len()
        )));
    }
    let mut frame = Vec::with_capacity(body.len() + 5);
    frame.extend_from_slice(&(body.len() as u32).to_be_bytes());
    frame.push(flag);
    frame.extend_from_slice(&body);
    Ok(frame)
}

/// A frame's body length and encoding from its first five bytes.
///
/// # Errors
/// [`io::ErrorKind::InvalidData`] for what cannot be a frame.
pub fn header(bytes: [u8; 5]) -> io::Result<(usize, u8)> {
    let [a, b, c, d, flag] = bytes;
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    if length > FRAME_LIMIT || flag > 1 {
        return Err(invalid(
            "not a frame: the other side does not speak this protocol".to_owned(),
        ));
    }
    Ok((length, flag))
}

/// Decodes a frame's body.
///
/// # Errors
/// [`io::ErrorKind::InvalidData`] for a body of another build.
pub fn decode<T: DeserializeOwned>(flag: u8, body: &[u8]) -> io::Result<T> {
    if flag == 0 {
        return postcard::from_bytes(body).map_err(invalid);
    }
    let size = body
        .first_chunk::<4>()
        .map_or(0, |first| u32::from_le_bytes(*first) as usize);
    if size > FRAME_LIMIT {
        return Err(invalid(format!(
            "a message of {size} bytes; at most {FRAME_LIMIT} are taken"
        )));
    }
    let plain = lz4_flex::decompress_size_prepended(body).map_err(invalid)?;
    postcard::from_bytes(&plain).map_err(invalid)
}

/// Writes one frame.
///
/// # Errors
/// As [`encode`], and the writer's.
pub fn send<T: Serialize>(writer: &mut impl Write, message: &T) -> io::Result<()> {
    writer.write_all(&encode(message)?)?;
    writer.flush()
}

/// Reads one frame; `None` at the end of the stream.
///
/// # Errors
/// As [`decode`], and the reader's; an end inside a frame is [`io::ErrorKind::UnexpectedEof`].
pub fn receive<T: DeserializeOwned>(reader: &mut impl Read) -> io::Result<Option<T>> {
    Ok(receive_sized(reader)?.map(|(message, _)| message))
}

/// As [`receive`], with the length of the frame's body in bytes.
pub(crate) fn receive_sized<T: DeserializeOwned>(reader: &mut impl Read) -> io::Result<Option<(T, usize)>> {
    let mut first = [0; 5];
    let mut filled = 0;
    while filled < first.len() {
        match reader.read(&mut first[filled..])? {
            0 if filled == 0 => return Ok(None),
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => filled += count,
        }
    }
    let (length, flag) = header(first)?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    decode(flag, &body).map(|message| Some((message, length)))
}

fn invalid(error: impl ToString) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error.to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn frames_survive_the_trip_and_strangers_are_refused() {
        let long = "x".repeat(5000);
        let frame = encode(&long).unwrap();
        assert!(frame.len() < 200);
        let mut reader = frame.as_slice();
        assert_eq!(receive::<String>(&mut reader).unwrap(), Some(long));
        assert_eq!(receive::<String>(&mut reader).unwrap(), None);
        assert!(receive::<String>(&mut &frame[..20]).is_err());
        assert!(receive::<String>(&mut &b"Last login: today\n"[..]).is_err());
    }
}
