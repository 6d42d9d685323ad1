//! An HTTP interface as a kind may see and touch it, and the plain data that its two verbs take and give.

use okd_agent::resource::{Failure, ResourceError};
use okd_agent::system::SystemError;
use std::path::PathBuf;

/// JSON, as it comes and goes.
pub type Json = serde_json::Value;

/// An interface that answers JSON.
pub trait Api: Send + Sync {
    /// Reads. The path begins behind `/api2/json` and holds the query; what comes is the whole envelope.
    ///
    /// # Errors
    /// When it is refused, when nobody answers, or (in a plan) when it is not known yet.
    fn get(&self, path: &str) -> Result<Json, ApiError>;

    /// Changes something, and waits for the task that it starts. What comes is the envelope's `data`.
    ///
    /// # Errors
    /// As [`Api::get`], and when the task fails or does not end in its time.
    fn send(&self, call: &Call) -> Result<Json, ApiError>;

    /// Waits until a task that is under way has ended, well or badly.
    ///
    /// # Errors
    /// When it does not end in its time; in a plan always, as nothing is waited for there.
    fn settle(&self, task: &str) -> Result<(), ApiError>;

    /// Whether this is a prediction.
    fn predicted(&self) -> bool {
        false
    }
}

/// How something is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Makes something, or starts something.
    Post,
    /// Changes something.
    Put,
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
    /// A file of the control node that goes with it, and its name there.
    pub upload: Option<(PathBuf, String)>,
    /// What [`Api::get`] will answer for these paths afterwards.
    pub predicts: Vec<(String, Prediction)>,
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
            upload: None,
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
    /// In a plan: it depends on what has not been applied.
    #[error("unknown until applied: {0}")]
    Unknown(String),
}

fn said(help: &Option<String>) -> String {
    help.as_ref().map(|help| format!(" ({help})")).unwrap_or_default()
}

impl ApiError {
    /// Whether it says that the thing is not there.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        match self {
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
            ApiError::Refused { .. } => ResourceError::message(message),
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
