//! The only place where effects are named: nine verbs on one machine, and the plain data that they take and give.
//!
//! Resources see a machine through [`System`] alone. What stands behind it may be this machine ([`local`]), a predicted
//! one ([`overlay`]), one made of a file ([`fake`]), or a shell at the far end of an SSH channel (in the orchestrator).

pub mod blank;
pub mod cached;
pub mod claim;
#[doc(hidden)]
pub mod conformance;
pub mod fake;
pub mod guard;
pub mod journal;
pub mod links;
pub mod local;
pub mod overlay;
pub mod veil;
pub mod witness;

use crate::path::AbsPath;
use claim::Claim;
use serde::{Deserialize, Serialize};

/// One machine, as a resource may see and touch it. Every verb is complete in itself: after an error nothing is torn.
pub trait System: Send + Sync {
    /// What is at a path, without following a link; `None` where nothing is.
    ///
    /// # Errors
    /// When the machine does not answer, or (in a plan) when what is there is not known yet.
    fn stat(&self, path: &AbsPath) -> Result<Option<Meta>, SystemError>;

    /// A regular file's bytes (links are followed); `None` where nothing is.
    ///
    /// # Errors
    /// As [`System::stat`]; [`SystemError::TooLarge`] above `limit` bytes; [`SystemError::WrongKind`] for a folder.
    fn read(&self, path: &AbsPath, limit: u64) -> Result<Option<Vec<u8>>, SystemError>;

    /// A folder's entries, sorted by name; empty where there is no such folder.
    ///
    /// # Errors
    /// As [`System::stat`].
    fn list(&self, dir: &AbsPath) -> Result<Vec<Entry>, SystemError>;

    /// Asks by a command that promises to change nothing. A program that is not there answers with [`Answer::NO_PROGRAM`].
    ///
    /// # Errors
    /// When the command cannot be run or does not end in time; its failure is an [`Answer`], not an error.
    fn probe(&self, probe: &Probe) -> Result<Answer, SystemError>;

    /// Puts a whole file in place: temporary file beside it, fsync, validate, rename.
    ///
    /// # Errors
    /// [`SystemError::Refused`] when `validate` fails; the old file is intact after any error.
    fn write(&self, file: &FileWrite) -> Result<(), SystemError>;

    /// Makes a folder or a link.
    ///
    /// # Errors
    /// When the machine refuses.
    fn make(&self, path: &AbsPath, kind: &Make) -> Result<(), SystemError>;

    /// Changes mode, owner, group or times. Links are not followed.
    ///
    /// # Errors
    /// When the machine refuses, or the owner or group does not exist.
    fn alter(&self, path: &AbsPath, change: &Alter) -> Result<(), SystemError>;

    /// Removes what is at a path; nothing there is success.
    ///
    /// # Errors
    /// When the machine refuses.
    fn remove(&self, path: &AbsPath, how: Removal) -> Result<(), SystemError>;

    /// Runs a command that changes something, and says what it will have changed.
    ///
    /// # Errors
    /// When the command cannot be run or does not end in time; its failure is an [`Answer`]. In a plan, an action whose
    /// effect is not declared gives [`SystemError::Unknown`].
    fn act(&self, action: &Action) -> Result<Answer, SystemError>;

    /// Packages that a plan has promised on this machine: what they bring will be there though nobody has seen it.
    /// Empty on a real machine.
    fn promised(&self) -> Vec<String> {
        Vec::new()
    }

    /// Hears of a probe that a world above answered from memory, because it had asked the same under another key.
    fn remembered(&self, _probe: &Probe) {}

    /// Whether this is a prediction, not the machine itself. Only messages may depend on it.
    fn predicted(&self) -> bool {
        false
    }

    /// Takes the machine for a run, as long as this world lasts; all sessions of a run share it. What it returns says why
    /// there is no lock on this machine. Only the machine itself can do so, no world above it.
    ///
    /// # Errors
    /// [`SystemError::Busy`] while another run has it.
    fn claim(&self, _claim: &Claim) -> Result<Option<String>, SystemError> {
        Ok(None)
    }

    /// Adds to the end of a file of okd-play's own, which is made where it is not there, for the acting user alone. `last`:
    /// it is on the disk when this returns. `false` where this world has no such verb. Only the machine itself has it.
    ///
    /// # Errors
    /// When the machine refuses; the file is as it was then.
    fn append(&self, _path: &AbsPath, _bytes: &[u8], _last: bool) -> Result<bool, SystemError> {
        Ok(false)
    }

    /// Lets the machine go again.
    fn unclaim(&self) {}

    /// Ends the link of a run that is over and still has the machine: its session sees the end of its input then, as when
    /// a link is lost that both ends know of. Whether there was one. Only the machine itself can do so.
    fn hang_up(&self, _run: &str) -> bool {
        false
    }

    /// The run that has the machine, as far as that can be seen at once.
    fn claimed(&self) -> Option<Claim> {
        None
    }
}

/// What kind of thing stands at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A folder.
    Directory,
    /// A symbolic link.
    Link,
    /// A device, socket or pipe.
    Other,
}

/// What `stat` says; see stat(2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// What it is.
    pub kind: FileKind,
    /// Bytes.
    pub size: u64,
    /// The twelve permission bits.
    pub mode: u32,
    /// Owner's number.
    pub uid: u32,
    /// Group's number.
    pub gid: u32,
    /// Owner's name; its number as text where it has none.
    pub owner: String,
    /// Group's name; its number as text where it has none.
    pub group: String,
    /// Last change of the content, seconds since 1970.
    pub mtime: i64,
    /// Where a link points.
    pub target: Option<String>,
    /// Device and inode: equal for two names of one file.
    pub id: (u64, u64),
}

/// One entry of a folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its name in the folder.
    pub name: String,
    /// What it is.
    pub kind: FileKind,
}

/// A command that changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Probe {
    /// Names the fact that is asked for, such as `unit:named`; an action's predictions use the same name. Empty, or
    /// beginning with `look:`, for what is watched until it changes by itself (a port, a page): such an answer is never
    /// remembered.
    pub key: String,
    /// Program and arguments; never through a shell.
    pub argv: Vec<String>,
    /// Given to the program's standard input.
    pub stdin: Vec<u8>,
    /// Files laid out in a fresh folder of okd-play's own before the program runs, removed after it. `{stage}` in
    /// `argv` and in the files' bytes becomes that folder.
    pub stage: Vec<Staged>,
    /// Seconds until it is killed; `None`: 60.
    pub timeout: Option<u64>,
    /// Further environment.
    pub env: Vec<(String, String)>,
}

impl Probe {
    /// A probe by program and arguments.
    #[must_use]
    pub fn new(key: impl Into<String>, argv: &[&str]) -> Self {
        Probe {
            key: key.into(),
            argv: argv.iter().map(|arg| (*arg).to_owned()).collect(),
            ..Probe::default()
        }
    }

    /// Whether this asks for something that changes by itself; see [`Probe::key`].
    #[must_use]
    pub fn watches(&self) -> bool {
        self.key.is_empty() || self.key.starts_with("look:")
    }
}

/// A file of a probe's stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Staged {
    /// Path relative to the stage, without `..`.
    pub path: String,
    /// Its bytes; `{stage}` in them becomes the stage's folder.
    pub bytes: Vec<u8>,
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Answer {
    /// Exit status; 128 + signal where a signal ended it.
    pub rc: i32,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
    /// Whether this is a plan's prediction: then the outputs are empty and not known.
    pub predicted: bool,
}

impl Answer {
    /// The exit status of a program that is not installed, as a shell gives it.
    pub const NO_PROGRAM: i32 = 127;

    /// A successful answer with this output.
    #[must_use]
    pub fn ok(stdout: impl Into<Vec<u8>>) -> Self {
        Answer {
            stdout: stdout.into(),
            ..Answer::default()
        }
    }

    /// An answer with an exit status alone.
    #[must_use]
    pub fn status(rc: i32) -> Self {
        Answer {
            rc,
            ..Answer::default()
        }
    }

    /// Whether the exit status was 0.
    #[must_use]
    pub fn success(&self) -> bool {
        self.rc == 0
    }

    /// Standard output as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard error as text.
    #[must_use]
    pub fn error_text(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }
}

/// A whole file to be put in place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileWrite {
    /// Where.
    pub path: AbsPath,
    /// The content.
    pub bytes: Vec<u8>,
    /// Permission bits; `None` keeps the old file's, 0644 for a new one.
    pub mode: Option<u32>,
    /// Owner; `None` keeps the old file's, the acting user for a new one.
    pub owner: Option<String>,
    /// Group, likewise.
    pub group: Option<String>,
    /// A checker's argv; `%s` in it becomes the temporary file. It has to succeed before the rename.
    pub validate: Option<Vec<String>>,
    /// Whether the content is a secret in itself, or holds one.
    pub secret: bool,
    /// Whether a link that stands there gives way to the file; otherwise it is followed.
    pub replaces_link: bool,
}

impl FileWrite {
    /// A file whose mode and owners are left as they are.
    #[must_use]
    pub fn new(path: AbsPath, bytes: Vec<u8>) -> Self {
        FileWrite {
            path,
            bytes,
            mode: None,
            owner: None,
            group: None,
            validate: None,
            secret: false,
            replaces_link: false,
        }
    }
}

/// What to make at a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Make {
    /// A folder; its parent has to be there.
    Directory {
        /// Permission bits.
        mode: u32,
    },
    /// A symbolic link; replaces what is there, unless that is a folder.
    Link {
        /// Where it points, as written.
        target: String,
    },
    /// A further name of a file.
    Hard {
        /// The file.
        source: AbsPath,
    },
}

/// A change of what is not content.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Alter {
    /// Permission bits.
    pub mode: Option<u32>,
    /// Owner's name or number.
    pub owner: Option<String>,
    /// Group's name or number.
    pub group: Option<String>,
    /// Last change of the content, seconds since 1970.
    pub mtime: Option<i64>,
}

/// How far a removal may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Removal {
    /// A file or link.
    File,
    /// A folder with all that is in it, or a file or link.
    Tree,
}

/// A command that changes something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    /// Program and arguments; never through a shell unless the program is one.
    pub argv: Vec<String>,
    /// Given to the program's standard input.
    pub stdin: Vec<u8>,
    /// Further environment.
    pub env: Vec<(String, String)>,
    /// Working folder.
    pub cwd: Option<AbsPath>,
    /// Seconds until it is killed; `None`: no limit but the task's own.
    pub timeout: Option<u64>,
    /// What it will have done.
    pub effect: Effect,
}

impl Action {
    /// An action by program and arguments with its declared effect.
    #[must_use]
    pub fn new(argv: &[&str], effect: Effect) -> Self {
        let argv = argv.iter().map(|arg| (*arg).to_owned()).collect();
        Action {
            argv,
            stdin: Vec::new(),
            env: Vec::new(),
            cwd: None,
            timeout: None,
            effect,
        }
    }
}

/// What an action will have done, so that a plan can go on past it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    /// Exactly this.
    Declared(Declared),
    /// Anything; the reason is what a plan says ("runs `make install`").
    Unknown(String),
}

/// A declared effect.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Declared {
    /// Facts by their probe's key, and what that probe will answer.
    pub predicts: Vec<(String, Answer)>,
    /// Paths that will be there, with contents nobody has seen.
    pub creates: Vec<AbsPath>,
    /// Folders that will be there, with what nobody has seen in them.
    pub folders: Vec<AbsPath>,
    /// Whether it prints the path of what it made.
    pub prints: bool,
    /// Paths that will be gone.
    pub removes: Vec<AbsPath>,
    /// Packages that will be there with all that they bring.
    pub brings: Vec<String>,
    /// Whether it may do more than is said here: a command that a person wrote.
    pub at_least: bool,
    /// The command that takes it back, once the facts that it predicts are others than they were.
    pub back: Option<Vec<String>>,
}

impl Effect {
    /// Nothing that a later step could see (a reload, a refresh of a cache).
    #[must_use]
    pub fn none() -> Self {
        Effect::Declared(Declared::default())
    }

    /// One fact.
    #[must_use]
    pub fn predicts(key: impl Into<String>, answer: Answer) -> Self {
        Effect::Declared(Declared {
            predicts: vec![(key.into(), answer)],
            ..Declared::default()
        })
    }
}

impl Effect {
    /// The same, with the command that takes it back.
    #[must_use]
    pub fn back(mut self, argv: &[&str]) -> Self {
        if let Effect::Declared(declared) = &mut self {
            declared.back = Some(argv.iter().map(|word| (*word).to_owned()).collect());
        }
        self
    }
}

/// What keeps a verb from being done. Nothing is torn by any of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum SystemError {
    /// The operating system refused.
    #[error("{verb} {path}: {reason}")]
    Io {
        /// What was tried, such as `write`.
        verb: String,
        /// On what.
        path: String,
        /// The operating system's words.
        reason: String,
    },
    /// Something else stands at the path.
    #[error("{path} is {found:?}, not {expected}")]
    WrongKind {
        /// Where.
        path: String,
        /// What was expected there.
        expected: String,
        /// What is there.
        found: FileKind,
    },
    /// A file above the limit of the reader.
    #[error("{path} has {size} bytes; at most {limit} are read")]
    TooLarge {
        /// Which.
        path: String,
        /// Its size.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// A user or group that does not exist.
    #[error("there is no {kind} `{name}`")]
    NoSuchId {
        /// `user` or `group`.
        kind: String,
        /// Its name.
        name: String,
    },
    /// A checker refused staged content; nothing was swapped.
    #[error("{} refused the new content of {path}", argv.first().map_or("the checker", String::as_str))]
    Refused {
        /// The file.
        path: String,
        /// The checker's command.
        argv: Vec<String>,
        /// How it ended.
        answer: Answer,
    },
    /// A command could not be run at all.
    #[error("cannot run {}: {reason}", argv.join(" "))]
    Command {
        /// Program and arguments.
        argv: Vec<String>,
        /// Why.
        reason: String,
    },
    /// A command did not end in time and was killed.
    #[error("{} did not end within {seconds} s", argv.join(" "))]
    Timeout {
        /// Program and arguments.
        argv: Vec<String>,
        /// The limit.
        seconds: u64,
    },
    /// The machine does not answer any more.
    #[error("the connection was lost: {0}")]
    Lost(String),
    /// In a plan: it depends on a step that has not been applied.
    #[error("unknown until applied: {0}")]
    Unknown(String),
    /// The machine has moved since the plan: nothing was touched.
    #[error("the host has moved since the plan: {0} was changed by somebody else; nothing was touched")]
    Moved(String),
    /// The lock-out guard cannot be set up, or has put the machine back.
    #[error("{0}")]
    Guard(String),
    /// Another run changes the machine.
    #[error("{} {by}; nothing was touched", .by.host)]
    Busy {
        /// Which, by the name that the machine has in the run that is refused.
        by: Box<Claim>,
    },
    /// A secret would have become visible, for example in a command's arguments.
    #[error("{0}")]
    Secret(String),
}

impl SystemError {
    /// The operating system's refusal of a verb on a path.
    #[must_use]
    pub fn io(verb: &str, path: &AbsPath, reason: &impl std::fmt::Display) -> Self {
        SystemError::Io {
            verb: verb.to_owned(),
            path: path.to_string(),
            reason: reason.to_string(),
        }
    }

    /// Nothing is where something has to be.
    #[must_use]
    pub fn missing(verb: &str, path: &AbsPath) -> Self {
        SystemError::io(verb, path, &"No such file or directory")
    }

    /// Something is where nothing may be.
    #[must_use]
    pub fn exists(verb: &str, path: &AbsPath) -> Self {
        SystemError::io(verb, path, &"File exists")
    }

    /// A path goes through something that is not a folder.
    #[must_use]
    pub fn not_folder(verb: &str, path: &AbsPath) -> Self {
        SystemError::io(verb, path, &"Not a directory")
    }

    /// Something of another kind stands at a path.
    #[must_use]
    pub fn wrong_kind(path: &AbsPath, expected: &str, found: FileKind) -> Self {
        SystemError::WrongKind {
            path: path.to_string(),
            expected: expected.to_owned(),
            found,
        }
    }
}
