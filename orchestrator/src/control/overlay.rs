//! A predicted interface: answers come from what earlier calls said they would bring, else from the interface itself, which
//! is only read.

use super::api::{Api, ApiError, Call, Json, Prediction, Seen, Wait};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// See the module.
pub struct Overlay {
    under: Arc<dyn Api>,
    answers: Mutex<HashMap<String, Prediction>>,
}

impl Overlay {
    /// A prediction that begins at what is there.
    #[must_use]
    pub fn new(under: Arc<dyn Api>) -> Overlay {
        Overlay {
            under,
            answers: Mutex::default(),
        }
    }
}

impl Api for Overlay {
    fn get(&self, path: &str) -> Result<Json, ApiError> {
        let known = {
            let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
            answers.get(path).cloned()
        };
        match known {
            Some(Prediction::Answer(answer)) => Ok(answer),
            Some(Prediction::Refused(error)) => Err(error),
            Some(Prediction::Unknown(reason)) => Err(ApiError::Unknown(reason)),
            None => self.under.get(path),
        }
    }

    fn send(&self, call: &Call) -> Result<Json, ApiError> {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.extend(call.predicts.iter().cloned());
        Ok(Json::Null)
    }

    fn settle(&self, task: &str, moves: &[String]) -> Result<(), ApiError> {
        let reason = format!("a task of Proxmox VE is under way ({task})");
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.extend(
            moves
                .iter()
                .map(|path| (path.clone(), Prediction::Unknown(reason.clone()))),
        );
        Err(ApiError::Unknown(reason))
    }

    fn wait(&self, wait: &Wait, _: &mut dyn FnMut() -> Result<Seen, ApiError>) -> Result<(), ApiError> {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.extend(wait.predicts.iter().cloned());
        Ok(())
    }

    fn as_read(&self, sent: &Json) -> Json {
        self.under.as_read(sent)
    }

    fn predicted(&self) -> bool {
        true
    }
}
