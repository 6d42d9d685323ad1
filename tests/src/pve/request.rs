//! A request as the stand-in sees it, and its answers in the real one's forms.

use serde_json::{Map, Value as Json, json};

/// One request.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    pub method: String,
    /// Behind `/api2/json`, decoded.
    pub path: String,
    pub params: Vec<(String, String)>,
    /// `user@realm!token`.
    pub token: String,
    /// The file's name and bytes, of an upload.
    pub file: Option<(String, Vec<u8>)>,
}

/// One answer.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub reason: String,
    pub body: Option<Json>,
}

impl Asked {
    /// A request that nobody sent.
    #[must_use]
    pub fn internal(params: &[(&str, &str)]) -> Asked {
        Asked {
            params: params
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            token: "root@pam!other".to_owned(),
            ..Asked::default()
        }
    }

    /// A parameter.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.params
            .iter()
            .find(|(own, _)| own == name)
            .map(|(_, value)| value.as_str())
    }

    /// Whether a parameter is true.
    #[must_use]
    pub fn flag(&self, name: &str) -> bool {
        self.get(name)
            .is_some_and(|value| matches!(value, "1" | "on" | "yes" | "true"))
    }

    /// The user without the token.
    #[must_use]
    pub fn user(&self) -> &str {
        self.token.split('!').next().unwrap_or_default()
    }
}

impl Reply {
    #[must_use]
    pub fn ok(data: Json) -> Reply {
        Reply {
            status: 200,
            reason: "OK".to_owned(),
            body: Some(json!({ "data": data })),
        }
    }

    /// What every handler that dies gives, whatever the reason.
    #[must_use]
    pub fn die(message: &str) -> Reply {
        Reply {
            status: 500,
            reason: message.lines().next().unwrap_or_default().to_owned(),
            body: Some(json!({ "data": null, "message": format!("{message}\n") })),
        }
    }

    /// All violations together.
    #[must_use]
    pub fn wrong(errors: Map<String, Json>) -> Reply {
        Reply {
            status: 400,
            reason: "Parameter verification failed.".to_owned(),
            body: Some(json!({ "data": null, "errors": errors, "message": "Parameter verification failed.\n" })),
        }
    }

    /// One violation.
    #[must_use]
    pub fn wrong_one(name: &str, said: &str) -> Reply {
        Reply::wrong(Map::from_iter([(name.to_owned(), said.into())]))
    }

    #[must_use]
    pub fn forbidden(path: &str, privileges: &[&str]) -> Reply {
        let message = format!("Permission check failed ({path}, {})", privileges.join("|"));
        Reply::bare_forbidden(&message)
    }

    #[must_use]
    pub fn bare_forbidden(message: &str) -> Reply {
        Reply {
            status: 403,
            reason: message.to_owned(),
            body: Some(json!({ "data": null, "message": format!("{message}\n") })),
        }
    }

    /// A refusal without a body.
    #[must_use]
    pub fn empty(status: u16, reason: &str) -> Reply {
        Reply {
            status,
            reason: reason.to_owned(),
            body: None,
        }
    }

    #[must_use]
    pub fn unknown(asked: &Asked) -> Reply {
        let message = format!("Method '{} {}' not implemented", asked.method, asked.path);
        Reply {
            status: 501,
            reason: message.clone(),
            body: Some(json!({ "data": null, "message": message })),
        }
    }
}
