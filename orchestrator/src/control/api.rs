//! An HTTP interface as a kind may see and touch it, and the plain data that its two verbs take and give.

use okd_agent::resource::{Failure, ResourceError};
use okd_agent::system::SystemError;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// JSON, as it comes and goes.
pub type Json = serde_json::Value;

/// An interface that answers JSON.
pub trait Api: Send + Sync {
    /// Reads. The path holds the query, and begins behind `/api2/json` with Proxmox VE; what comes is the whole answer.
    ///
    /// # Errors
    /// When it is refused, when nobody answers, or (in a plan) when it is not known yet.
    fn get(&self, path: &str) -> Result<Json, ApiError>;

    /// Changes something, and waits for the task that it starts. What comes is an envelope's `data`, or the whole answer
    /// where there are no envelopes.
    ///
    /// # Errors
    /// As [`Api::get`], and when the task fails or does not end in its time.
    fn send(&self, call: &Call) -> Result<Json, ApiError>;

    /// Waits until a task that is under way has ended, well or badly. `moves` are the paths whose answers it changes.
    ///
    /// # Errors
    /// When it does not end in its time; in a plan always, as nothing is waited for there: what moves is unknown from then on.
    fn settle(&self, task: &str, moves: &[String]) -> Result<(), ApiError>;

    /// Waits until `ask` says that it has come to pass, and says meanwhile what was seen last. In a plan nothing is
    /// waited for: what the wait predicts is taken for true.
    ///
    /// # Errors
    /// [`ApiError::Late`] when it does not come to pass in its time, and what `ask` meets that time does not heal.
    fn wait(&self, wait: &Wait, ask: &mut dyn FnMut() -> Result<Seen, ApiError>) -> Result<(), ApiError> {
        let began = Instant::now();
        let mut said: Option<(String, Instant)> = None;
        loop {
            let last = match ask() {
                Ok(Seen::Done) => return Ok(()),
                Ok(Seen::NotYet(text)) => text,
                Err(error) if error.passes() => error.to_string(),
                Err(error) => return Err(error),
            };
            let elapsed = began.elapsed();
            if elapsed + wait.pause > wait.deadline {
                return Err(wait.late(last));
            }
            let first = last.lines().next().unwrap_or_default();
            if said
                .as_ref()
                .is_none_or(|(text, at)| text != first || at.elapsed() > REPEAT)
            {
                let text = format!("waits for {}, {} s so far: {first}", wait.what, elapsed.as_secs());
                self.say(&text, wait.deadline);
                said = Some((first.to_owned(), Instant::now()));
            }
            while began.elapsed() < elapsed + wait.pause {
                if self.stopped() {
                    return Err(ApiError::Lost(format!(
                        "the run was stopped while it waited for {}; run again",
                        wait.what
                    )));
                }
                std::thread::sleep(TICK.min(wait.pause));
            }
        }
    }

    /// Tells people what is waited for, and how long at most.
    fn say(&self, _text: &str, _limit: Duration) {}

    /// Whether nothing is to be waited for any more.
    fn stopped(&self) -> bool {
        false
    }

    /// What is sent, in the form in which it is read back: with placeholders for secrets.
    fn as_read(&self, sent: &Json) -> Json {
        sent.clone()
    }

    /// Whether this is a prediction.
    fn predicted(&self) -> bool {
        false
    }
}

/// How often a wait looks whether the run was stopped.
const TICK: Duration = Duration::from_millis(100);

/// How often a wait says the same again.
const REPEAT: Duration = Duration::from_secs(30);

/// How something is awaited.
#[derive(Debug, Clone)]
pub struct Wait {
    /// For what, such as `the bootstrap to be complete`.
    pub what: String,
    /// How long at most.
    pub deadline: Duration,
    /// Between two looks.
    pub pause: Duration,
    /// Where to look when it does not come to pass.
    pub advice: String,
    /// What [`Api::get`] will answer for these paths afterwards.
    pub predicts: Vec<(String, Prediction)>,
}

impl Wait {
    /// It did not come to pass.
    #[must_use]
    pub fn late(&self, last: String) -> ApiError {
        ApiError::Late {
            what: self.what.clone(),
            seconds: self.deadline.as_secs(),
            last,
            advice: self.advice.clone(),
        }
    }
}

/// What a look means to who waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// It has come to pass.
    Done,
    /// Not yet; what there is instead, the short of it in the first line.
    NotYet(String),
}

/// How something is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Makes something, or starts something.
    Post,
    /// Changes something.
    Put,
    /// Changes a part of something (RFC 7386).
    Patch,
    /// Removes something.
    Delete,
}

impl Method {
    /// Its name on the wire.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Patch => "PATCH",
            Method::Delete => "DELETE",
        }
    }
}

/// A request that changes something, with what it will have changed.
#[derive(Debug, Clone)]
pub struct Call {
    /// How.
    pub method: Method,
    /// What, behind `/api2/json`.
    pub path: String,
    /// Parameters.
    pub params: Vec<(String, String)>,
    /// A body of JSON, where parameters do not do.
    pub body: Option<Json>,
    /// A file of the control node that goes with it, and its name there.
    pub upload: Option<(PathBuf, String)>,
    /// What is typed by it: it is sent once for each key, as `key`, with a pause after each.
    pub typed: Option<(Typed, Duration)>,
    /// What [`Api::get`] will answer for these paths afterwards.
    pub predicts: Vec<(String, Prediction)>,
}

/// What is typed on a keyboard.
#[derive(Debug, Clone)]
pub enum Typed {
    /// Keys by their names.
    Keys(Vec<String>),
    /// Text.
    Text(String),
}

/// What a path will answer.
#[derive(Debug, Clone)]
pub enum Prediction {
    /// This envelope.
    Answer(Json),
    /// A refusal.
    Refused(ApiError),
    /// It cannot be foreseen; why.
    Unknown(String),
}

impl Call {
    /// A request without parameters and predictions.
    #[must_use]
    pub fn new(method: Method, path: impl Into<String>) -> Call {
        Call {
            method,
            path: path.into(),
            params: Vec::new(),
            body: None,
            upload: None,
            typed: None,
            predicts: Vec::new(),
        }
    }

    /// With a parameter.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Call {
        self.params.push((name.to_owned(), value.into()));
        self
    }

    /// With a prediction of what a path's `data` will be.
    #[must_use]
    pub fn predicting(mut self, path: impl Into<String>, data: Json) -> Call {
        let answer = serde_json::json!({ "data": data });
        self.predicts.push((path.into(), Prediction::Answer(answer)));
        self
    }

    /// With a body of JSON.
    #[must_use]
    pub fn bearing(mut self, body: Json) -> Call {
        self.body = Some(body);
        self
    }
}

/// Why an interface did not do what was asked.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ApiError {
    /// It said no.
    #[error("{request}: {message}{}", said(.help))]
    Refused {
        /// What was asked.
        request: String,
        /// The HTTP status.
        status: u16,
        /// Its own words.
        message: String,
        /// Its words on single parameters.
        errors: Vec<(String, String)>,
        /// What to do.
        help: Option<String>,
    },
    /// A task that was started failed.
    #[error("{request}: {message}{}", said(.help))]
    Task {
        /// What was asked.
        request: String,
        /// How the task ended, in its own words.
        message: String,
        /// The last lines of its log.
        log: Vec<String>,
        /// What to do.
        help: Option<String>,
    },
    /// Nobody answers, or nobody that is trusted.
    #[error("{0}")]
    Lost(String),
    /// Who answers is not trusted, or does not trust us: waiting does not heal it.
    #[error("{0}")]
    Untrusted(String),
    /// It did not come to pass in its time.
    #[error("waited {seconds} s in vain for {what}; at last: {last}{}", pointed(.advice))]
    Late {
        /// For what.
        what: String,
        /// How long.
        seconds: u64,
        /// What was seen last.
        last: String,
        /// Where to look.
        advice: String,
    },
    /// In a plan: it depends on what has not been applied.
    #[error("unknown until applied: {0}")]
    Unknown(String),
}

fn said(help: &Option<String>) -> String {
    help.as_ref().map(|help| format!(" ({help})")).unwrap_or_default()
}

fn pointed(advice: &str) -> String {
    match advice.is_empty() {
        true => String::new(),
        false => format!("\nwhere to look: {advice}"),
    }
}

impl ApiError {
    /// Whether it may be over in a moment: nobody answers yet, or the server is not ready yet.
    #[must_use]
    pub fn passes(&self) -> bool {
        match self {
            ApiError::Lost(_) => true,
            ApiError::Refused { status, .. } => matches!(status, 401 | 403 | 404 | 409 | 429) || *status >= 500,
            _ => false,
        }
    }

    /// Whether someone else changed the thing meanwhile.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        matches!(self, ApiError::Refused { status: 409, .. })
    }

    /// Whether it says that the thing is not there.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        match self {
            ApiError::Refused { status: 404, .. } => true,
            ApiError::Refused { message, errors, .. } => {
                let missing = |text: &str| text.contains("does not exist");
                missing(message) || errors.iter().any(|(_, text)| missing(text))
            }
            _ => false,
        }
    }

    /// Whether it says that the name or number is taken.
    #[must_use]
    pub fn is_taken(&self) -> bool {
        matches!(self, ApiError::Refused { message, .. } if message.contains("already exists"))
    }
}

impl From<ApiError> for ResourceError {
    fn from(error: ApiError) -> Self {
        let message = error.to_string();
        match error {
            ApiError::Unknown(reason) => SystemError::Unknown(reason).into(),
            ApiError::Lost(_) => ResourceError::Failed(Box::new(Failure {
                message,
                lost: true,
                ..Failure::default()
            })),
            ApiError::Task { log, .. } => ResourceError::Failed(Box::new(Failure {
                message,
                journal: log,
                ..Failure::default()
            })),
            ApiError::Refused { .. } | ApiError::Untrusted(_) | ApiError::Late { .. } => {
                ResourceError::message(message)
            }
        }
    }
}

/// An envelope's `data` as a list of rows.
#[must_use]
pub fn rows(envelope: &Json) -> Vec<Json> {
    envelope
        .get("data")
        .and_then(Json::as_array)
        .cloned()
        .unwrap_or_default()
}

/// A field as text: Proxmox VE gives numbers now as numbers, now as strings.
#[must_use]
pub fn text(row: &Json, name: &str) -> Option<String> {
    match row.get(name)? {
        Json::String(text) => Some(text.clone()),
        Json::Number(number) => Some(number.to_string()),
        Json::Bool(truth) => Some(u8::from(*truth).to_string()),
        _ => None,
    }
}

/// A field as a whole number.
#[must_use]
pub fn number(row: &Json, name: &str) -> Option<u64> {
    text(row, name)?.trim().parse().ok()
}

/// A field that is 1 where it is true.
#[must_use]
pub fn flag(row: &Json, name: &str) -> bool {
    text(row, name).as_deref() == Some("1")
}
