//! Requests to web services, sent from the machine.

use super::http::{self, Request, Response};
use super::{Failure, Resource, ResourceError, View, json};
use crate::diff::Change;
use crate::path::AbsPath;
use crate::secret::Secrets;
use crate::system::{Action, Effect, Probe, System, SystemError};
use crate::value::{Map, Value, map};
use crate::{choice, params};
use indexmap::IndexMap;
use serde::Serialize;

choice! {
    /// How the body is written.
    pub enum BodyFormat {
        /// As it is.
        Raw = "raw",
        /// As JSON.
        Json = "json",
        /// As a form.
        Form = "form-urlencoded",
    }
}

choice! {
    /// Which redirects are followed.
    pub enum Redirects {
        /// Those of GET and HEAD.
        Safe = "safe",
        /// All.
        All = "all" | "yes",
        /// None.
        None = "none" | "no",
    }
}

params! {
    /// Sends a request from the machine by `curl` and looks at the answer. GET and HEAD change nothing, so a plan sends
    /// them too.
    pub struct Uri {
        /// Where to.
        url: String,
        /// The method.
        method: String = "GET",
        /// The body: text, or with `body_format` a mapping or list.
        body: Option<Value>,
        /// How the body is written.
        body_format: BodyFormat = "raw",
        /// Headers by name.
        headers: IndexMap<String, String>,
        /// Statuses that are success.
        status_code: Vec<i64> = "200",
        /// Put the answer's body into `register`, even where it is large.
        return_content: bool = "no",
        /// Name for basic authentication.
        url_username: Option<String> ["user"],
        /// Password for basic authentication.
        url_password: Option<String> ["password"],
        /// Send name and password at once; they always are.
        force_basic_auth: bool = "yes",
        /// Seconds until it is given up.
        timeout: u64 = "30",
        /// Check the server's certificate.
        validate_certs: bool = "yes",
        /// Which redirects are followed.
        follow_redirects: Redirects = "safe",
        /// Use the proxy that the environment names.
        use_proxy: bool = "yes",
        /// The user agent's name.
        http_agent: String = "okd-play",
        /// Send it through this socket.
        unix_socket: Option<AbsPath>,
        /// Certificates to trust.
        ca_path: Option<AbsPath>,
        /// Own certificate.
        client_cert: Option<AbsPath>,
        /// Own certificate's key.
        client_key: Option<AbsPath>,
        /// A path: where it is there, nothing is sent.
        creates: Option<AbsPath>,
        /// A path: where it is not there, nothing is sent.
        removes: Option<AbsPath>,
    }
}

/// What was answered, or that it has still to be sent.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct State {
    sends: bool,
    skipped: Option<String>,
    words: String,
    #[serde(skip)]
    response: Option<Response>,
}

impl View for State {
    fn changes(&self, want: &Self) -> Vec<Change> {
        let sends = self.sends && !want.sends;
        sends.then(|| Change::Act(format!("send {}", self.words))).into_iter().collect()
    }
}

impl Uri {
    fn method(&self) -> String {
        self.method.to_ascii_uppercase()
    }

    /// Whether the request changes nothing, see RFC 9110 section 9.2.1.
    fn asks(&self) -> bool {
        ["GET", "HEAD", "OPTIONS"].contains(&self.method().as_str())
    }

    fn text(&self) -> Option<String> {
        let body = self.body.as_ref()?;
        match (self.body_format, body) {
            (_, Value::Str(text)) => Some(text.clone()),
            (BodyFormat::Form, Value::Map(fields)) => Some(form(fields)),
            (BodyFormat::Raw, other) if !matches!(other, Value::Map(_) | Value::List(_)) => Some(other.to_string()),
            (_, other) => Some(json::write(other)),
        }
    }

    fn request(&self) -> Request {
        let mut headers: Vec<(String, String)> = self.headers.clone().into_iter().collect();
        let typed = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type"));
        if self.body_format == BodyFormat::Json && self.body.is_some() && !typed {
            headers.push(("Content-Type".to_owned(), "application/json".to_owned()));
        }
        Request {
            url: self.url.clone(),
            method: self.method(),
            headers,
            body: self.text(),
            user: self.url_username.clone(),
            password: self.url_password.clone(),
            timeout: self.timeout,
            insecure: !self.validate_certs,
            redirects: self.follow_redirects == Redirects::All
                || (self.follow_redirects == Redirects::Safe && self.asks()),
            direct: !self.use_proxy,
            agent: Some(self.http_agent.clone()),
            socket: self.unix_socket.clone(),
            ca: self.ca_path.clone(),
            certificate: self.client_cert.clone(),
            key: self.client_key.clone(),
        }
    }

    fn skipped(&self, world: &dyn System) -> Result<Option<String>, ResourceError> {
        if let Some(path) = &self.creates {
            if world.stat(path)?.is_some() {
                return Ok(Some(format!("skipped, since {path} exists")));
            }
        }
        match &self.removes {
            Some(path) if world.stat(path)?.is_none() => Ok(Some(format!("skipped, since {path} does not exist"))),
            _ => Ok(None),
        }
    }

    /// The answer, where its status is one of those that are success.
    fn judged(&self, response: Response, world: &dyn System) -> Result<Response, ResourceError> {
        if self.status_code.contains(&response.status) {
            return Ok(response);
        }
        let wanted = self.status_code.iter().map(i64::to_string).collect::<Vec<_>>().join(" or ");
        let message = format!("{} answered with status {}, not {wanted}", self.url, response.status);
        if world.predicted() {
            return Err(SystemError::Unknown(format!("asks {}; now it answers {}", self.url, response.status)).into());
        }
        let result = self.said(&response, true);
        Err(ResourceError::Failed(Box::new(Failure { message, result, ..Failure::default() })))
    }

    fn said(&self, response: &Response, failed: bool) -> Map {
        let text = String::from_utf8_lossy(&response.body);
        let mut result: Map = response
            .headers
            .iter()
            .map(|(name, value)| (name.replace('-', "_"), Value::from(value.as_str())))
            .collect();
        let is_json = response.headers.iter().any(|(name, value)| name == "content-type" && value.contains("json"));
        if let Some(value) = is_json.then(|| json::parse(&text).ok()).flatten() {
            result.insert("json".to_owned(), value);
        }
        if self.return_content || failed {
            result.insert("content".to_owned(), text.as_ref().into());
        }
        result.extend(map([
            ("status", Value::Int(response.status)),
            ("url", response.url.as_str().into()),
            ("redirected", (response.url.trim_end_matches('/') != self.url.trim_end_matches('/')).into()),
            ("msg", format!("status {} ({} bytes)", response.status, response.body.len()).into()),
        ]));
        result
    }

    fn ask(&self, world: &dyn System) -> Result<Response, ResourceError> {
        let request = self.request();
        let (stdin, env) = request.whole()?;
        let argv = request.argv("uri");
        let answer = world.probe(&Probe {
            key: String::new(),
            argv,
            stdin,
            stage: Vec::new(),
            timeout: Some(self.timeout + 10),
            env,
        })?;
        self.judged(request.response(&answer, world)?, world)
    }

    fn send(&self, world: &dyn System) -> Result<Map, ResourceError> {
        let request = self.request();
        let (stdin, env) = request.whole()?;
        let effect = Effect::Unknown(format!("sends {} to {}", request.method, self.url));
        let (argv, timeout) = (request.argv("uri"), Some(self.timeout + 10));
        let answer = world.act(&Action { argv, stdin, env, cwd: None, timeout, effect })?;
        let response = self.judged(request.response(&answer, world)?, world)?;
        Ok(self.said(&response, false))
    }
}

fn form(fields: &Map) -> String {
    let mut pairs = Vec::new();
    for (name, value) in fields {
        let name = http::form_encoded(name);
        let values = value.as_list().unwrap_or(std::slice::from_ref(value));
        pairs.extend(values.iter().map(|value| format!("{name}={}", http::form_encoded(&value.to_string()))));
    }
    pairs.join("&")
}

impl Resource for Uri {
    const NAMES: &'static [&'static str] = &["uri", "ansible.builtin.uri"];
    const EXAMPLE: &'static str = "- name: The API answers\n  uri:\n    url: https://api.okd.example.org:6443/readyz\n    validate_certs: false\n  register: ready\n  until: ready.status == 200\n  retries: 60\n  delay: 10\n";
    const PREDICTS: &'static str = "GET and HEAD are sent by a plan too; what another method will do is unknown until applied";
    type World = dyn System;
    type State = State;

    fn check(&self) -> Result<(), Vec<String>> {
        let mut problems: Vec<String> = http::check_url(&self.url).err().into_iter().collect();
        if self.method.is_empty() || !self.method.bytes().all(|byte| byte.is_ascii_alphabetic()) {
            problems.push(format!("a method such as GET, not `{}`", self.method));
        }
        if self.body_format == BodyFormat::Form && matches!(self.body, Some(Value::List(_))) {
            problems.push("the body of a form is a mapping".to_owned());
        }
        let secret = |value: &Value| Secrets::marked(&value.to_string());
        if self.body_format == BodyFormat::Form && self.body.as_ref().is_some_and(secret) {
            problems.push("a form's body cannot hold a secret, which would have to be encoded; use `body_format: json`".to_owned());
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    fn inspect(&self, world: &Self::World) -> Result<State, ResourceError> {
        let skipped = self.skipped(world)?;
        let sends = skipped.is_none() && !self.asks();
        let response = if skipped.is_none() && self.asks() { Some(self.ask(world)?) } else { None };
        Ok(State { sends, skipped, words: format!("{} {}", self.method(), self.url), response })
    }

    fn desire(&self, now: &State) -> Result<State, ResourceError> {
        Ok(State { sends: false, ..now.clone() })
    }

    fn apply(&self, _now: &State, _want: &State, world: &Self::World) -> Result<Map, ResourceError> {
        self.send(world)
    }

    fn result(&self, state: &State) -> Map {
        match (&state.response, &state.skipped) {
            (Some(response), _) => self.said(response, false),
            (None, Some(skipped)) => map([("msg", skipped.as_str().into())]),
            (None, None) => Map::new(),
        }
    }
}
