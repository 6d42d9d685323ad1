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
        let is_there = |path: &AbsPath| world.stat(path).map(|meta| meta.is_some());
        match (&self.creates, &self.removes) {
            (Some(path), _) if is_there(path)? => Ok(Some(format!("skipped, since {path} exists"))),
            (_, Some(path)) if !is_there(path)? => Ok(Some(format!("skipped, since {path} does not exist"))),
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::param::Params;
    use crate::resource::content::given;
    use crate::resource::http::{reply, server};
    use crate::resource::{Outcome, Status, converge};
    use crate::secret::Secret;
    use crate::system::local::Local;
    use crate::system::overlay::Overlay;
    use crate::system::veil::Veil;
    use std::sync::Arc;

    fn web() -> String {
        server(|request| {
            let line = request.lines().next().unwrap_or_default();
            match line.split(' ').nth(1).unwrap_or_default() {
                "/json" => reply(200, "Content-Type: application/json\r\nX-Two-Words: b\r\n", "{\"a\": [1]}"),
                "/gone" => reply(404, "", "no"),
                "/moved" => reply(302, "Location: /json\r\n", ""),
                _ => reply(201, "", request),
            }
        })
    }

    fn run(uri: &Uri, world: &(dyn System + 'static)) -> Result<Outcome, Box<Failure>> {
        converge(uri, world, None)
    }

    #[test]
    fn questions_are_asked_in_a_plan_too() {
        let web = web();
        let plan = Overlay::new(Arc::new(Local::new()));
        for world in [&Local::new() as &(dyn System + 'static), &plan] {
            let asked = run(&given(&[("url", &format!("{web}/moved"))]), world).unwrap();
            assert_eq!(asked.status, Status::Same);
            let json = asked.result["json"].get("a").and_then(Value::as_list).unwrap();
            assert_eq!((json, asked.result["x_two_words"].as_str()), (&[Value::Int(1)][..], Some("b")));
            assert_eq!((asked.result["status"].clone(), asked.result["redirected"].clone()), (200.into(), true.into()));
            let head = run(&given(&[("url", &format!("{web}/json")), ("method", "head")]), world).unwrap();
            assert_eq!(head.result["content_type"].as_str(), Some("application/json"));
        }
        let gone: Uri = given(&[("url", &format!("{web}/gone"))]);
        assert!(matches!(run(&gone, &plan).unwrap().status, Status::Unknown(_)));
        let failure = run(&gone, &Local::new()).unwrap_err();
        assert!(failure.message.ends_with("answered with status 404, not 200"), "{}", failure.message);
        assert_eq!(failure.result["content"].as_str(), Some("no"));
        let dead: Uri = given(&[("url", "http://127.0.0.1:1/"), ("timeout", "5")]);
        assert!(run(&dead, &Local::new()).unwrap_err().message.contains("connect"));
        assert!(matches!(run(&dead, &plan).unwrap().status, Status::Unknown(_)));
        let accepted: Uri = given(&[("url", &format!("{web}/gone")), ("status_code", "200, 404")]);
        assert_eq!(run(&accepted, &Local::new()).unwrap().result["status"], Value::Int(404));
    }

    #[test]
    fn what_is_sent_arrives_whole_and_secrets_only_there() {
        let web = web();
        let poison = "p\"a\\s$s `x` é'\n";
        let (header, body) = (Secrets::placeholder("h", "01"), Secrets::placeholder("b", "02"));
        let mut secrets = Secrets::default();
        secrets.insert(header.clone(), Secret::new("to\"ken\\"));
        secrets.insert(body.clone(), Secret::new(poison));
        let veil = Veil::new(Arc::new(Local::new()));
        veil.learn(secrets);
        let mut uri: Uri = given(&[("url", &format!("{web}/send")), ("method", "POST"), ("status_code", "201")]);
        uri.headers.insert("X-Token".to_owned(), header.clone());
        uri.body = Some(Value::from(format!("@{body}end\n")));
        uri.return_content = true;
        let sent = run(&uri, &veil).unwrap();
        assert_eq!(sent.status, Status::Changed);
        let content = sent.result["content"].as_str().unwrap();
        assert!(content.starts_with("POST /send HTTP/1.1\r\n"), "{content}");
        assert!(content.contains(&format!("\r\nX-Token: {header}\r\n")), "{content}");
        assert!(content.ends_with(&format!("\r\n\r\n@{body}end\n")), "{content}");
        assert!(matches!(run(&uri, &Overlay::new(Arc::new(veil))).unwrap().status, Status::Unknown(_)));
        let mut json: Uri = given(&[("url", &web), ("method", "PUT"), ("status_code", "201"), ("body_format", "json")]);
        json.body = Some(map([("a", "x\"y\\".into())]).into());
        json.return_content = true;
        let content = run(&json, &Local::new()).unwrap().result["content"].as_str().unwrap().to_owned();
        assert!(content.ends_with("{\"a\": \"x\\\"y\\\\\"}") && content.contains("application/json"), "{content}");
        json.body_format = BodyFormat::Form;
        json.body = Some(map([("a", vec!["1 2", "&"].into())]).into());
        let content = run(&json, &Local::new()).unwrap().result["content"].as_str().unwrap().to_owned();
        assert!(content.ends_with("\r\n\r\na=1+2&a=%26"), "{content}");
    }

    #[test]
    fn requests_are_skipped_and_refused() {
        let skipped: Uri = given(&[("url", "http://127.0.0.1:1/"), ("method", "POST"), ("creates", "/etc")]);
        assert_eq!(run(&skipped, &Local::new()).unwrap().status, Status::Same);
        for pairs in [vec![("url", "x")], vec![("url", "http://u:p@h/")], vec![("url", "http://h/"), ("method", "G ET")]] {
            let args = pairs.iter().map(|(name, value)| ((*name).to_owned(), Value::from(*value))).collect();
            assert!(Uri::decode(&args).unwrap().check().is_err(), "{pairs:?}");
        }
    }
}
