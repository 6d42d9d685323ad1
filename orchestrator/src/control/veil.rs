//! Secrets on the way to an interface and back: their bytes go in as the last step before the client, and come out first.

use super::api::{Api, ApiError, Call, Json, Typed};
use crate::template::SecretStore;
use crate::vault::Keeper;
use std::sync::Arc;

/// See the module.
pub struct Veil {
    under: Arc<dyn Api>,
    keeper: Arc<Keeper>,
}

impl Veil {
    /// An interface that is given secrets and gives none.
    #[must_use]
    pub fn new(under: Arc<dyn Api>, keeper: Arc<Keeper>) -> Veil {
        Veil { under, keeper }
    }

    fn bare(&self, text: &str) -> String {
        self.keeper.reveal(text).unwrap_or_else(|| text.to_owned())
    }

    fn masked(&self, text: &str) -> String {
        String::from_utf8_lossy(&self.keeper.mask(text.as_bytes())).into_owned()
    }

    fn veiled(&self, json: Json) -> Json {
        each(json, &|text| self.masked(text))
    }

    fn unveiled(&self, json: Json) -> Json {
        each(json, &|text| self.bare(text))
    }

    fn told(&self, error: ApiError) -> ApiError {
        match error {
            ApiError::Refused {
                request,
                status,
                message,
                errors,
                help,
            } => ApiError::Refused {
                request: self.masked(&request),
                status,
                message: self.masked(&message),
                errors: errors
                    .into_iter()
                    .map(|(name, said)| (name, self.masked(&said)))
                    .collect(),
                help,
            },
            ApiError::Task {
                request,
                message,
                log,
                help,
            } => ApiError::Task {
                request: self.masked(&request),
                message: self.masked(&message),
                log: log.iter().map(|line| self.masked(line)).collect(),
                help,
            },
            ApiError::Late {
                what,
                seconds,
                last,
                advice,
            } => ApiError::Late {
                what,
                seconds,
                last: self.masked(&last),
                advice,
            },
            other => other,
        }
    }
}

/// The tree with every text in it replaced.
fn each(json: Json, change: &dyn Fn(&str) -> String) -> Json {
    match json {
        Json::String(text) => Json::String(change(&text)),
        Json::Array(list) => list.into_iter().map(|item| each(item, change)).collect(),
        Json::Object(entries) => {
            let entries = entries.into_iter().map(|(name, value)| (name, each(value, change)));
            Json::Object(entries.collect())
        }
        other => other,
    }
}

impl Api for Veil {
    fn get(&self, path: &str) -> Result<Json, ApiError> {
        let answer = self.under.get(&self.bare(path)).map_err(|error| self.told(error))?;
        Ok(self.veiled(answer))
    }

    fn send(&self, call: &Call) -> Result<Json, ApiError> {
        let params = call.params.iter();
        let bare = Call {
            path: self.bare(&call.path),
            params: params.map(|(name, value)| (name.clone(), self.bare(value))).collect(),
            body: call.body.clone().map(|body| self.unveiled(body)),
            typed: call.typed.clone().map(|(typed, pause)| match typed {
                Typed::Text(text) => (Typed::Text(self.bare(&text)), pause),
                keys => (keys, pause),
            }),
            ..call.clone()
        };
        let answer = self.under.send(&bare).map_err(|error| self.told(error))?;
        Ok(self.veiled(answer))
    }

    fn settle(&self, task: &str, moves: &[String]) -> Result<(), ApiError> {
        self.under.settle(task, moves)
    }

    fn as_read(&self, sent: &Json) -> Json {
        self.veiled(self.under.as_read(&self.unveiled(sent.clone())))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::api::Method;
    use super::*;
    use okd_agent::secret::Secret;
    use std::sync::Mutex;

    /// Keeps what it is sent, and answers it.
    #[derive(Default)]
    struct Echo(Mutex<String>);

    impl Api for Echo {
        fn get(&self, _: &str) -> Result<Json, ApiError> {
            Ok(serde_json::json!({ "data": [{ "description": self.0.lock().unwrap().clone() }] }))
        }

        fn send(&self, call: &Call) -> Result<Json, ApiError> {
            self.0.lock().unwrap().clone_from(&call.params[0].1);
            Err(ApiError::Task {
                request: String::new(),
                message: call.params[0].1.clone(),
                log: vec![call.params[0].1.clone()],
                help: None,
            })
        }

        fn settle(&self, _: &str, _: &[String]) -> Result<(), ApiError> {
            Ok(())
        }
    }

    #[test]
    fn a_secret_reaches_the_interface_and_nothing_else() {
        let keeper = Arc::new(Keeper::random().unwrap());
        let placeholder = keeper.keep("note", Secret::new("s3cr3t-p0is0n-9f1c"));
        let echo = Arc::new(Echo::default());
        let veil = Veil::new(echo.clone(), keeper);
        let call = Call::new(Method::Post, "/x").with("description", format!("is {placeholder}"));
        let error = veil.send(&call).unwrap_err();
        assert_eq!(*echo.0.lock().unwrap(), "is s3cr3t-p0is0n-9f1c");
        let seen = veil.get("/x").unwrap().to_string();
        assert!(seen.contains(&placeholder) && !seen.contains("p0is0n"), "{seen}");
        assert!(!format!("{error:?}").contains("p0is0n"), "{error:?}");
    }

    /// Refuses to type, and keeps what it should have typed.
    #[derive(Default)]
    struct Keyboard(Mutex<String>);

    impl Api for Keyboard {
        fn get(&self, _: &str) -> Result<Json, ApiError> {
            Ok(Json::Null)
        }

        fn send(&self, call: &Call) -> Result<Json, ApiError> {
            if let Some((Typed::Text(text), _)) = &call.typed {
                self.0.lock().unwrap().clone_from(text);
            }
            Ok(Json::Null)
        }

        fn settle(&self, _: &str, _: &[String]) -> Result<(), ApiError> {
            Ok(())
        }
    }

    #[test]
    fn a_secret_is_typed_as_it_is() {
        let keeper = Arc::new(Keeper::random().unwrap());
        let placeholder = keeper.keep("word", Secret::new("s3cr3t-p0is0n-9f1c"));
        let keyboard = Arc::new(Keyboard::default());
        let mut call = Call::new(Method::Put, "/x/sendkey");
        call.typed = Some((Typed::Text(format!("login {placeholder}")), std::time::Duration::ZERO));
        Veil::new(keyboard.clone(), keeper).send(&call).unwrap();
        assert_eq!(*keyboard.0.lock().unwrap(), "login s3cr3t-p0is0n-9f1c");
    }
}
