//! The API of a cluster, by its kubeconfig: JSON as it is there, without envelopes, and secrets readable as `stringData`.

use super::api::{Api, ApiError, Call, Json, Method, Seen, Wait};
use super::http::{Cause, Request, Source, Wire, place};
use super::kubeconfig::{Kubeconfig, host_port};
use base64ct::{Base64, Encoding};
use okd_agent::Value;
use okd_agent::secret::Secret;
use std::path::Path;
use std::time::Duration;

/// Makes the parameters of a kind of the cluster's API: its own, and those that say how the API is reached.
macro_rules! cluster_params {
    ($(#[doc = $doc:literal])* pub struct $name:ident { $($own:tt)* }) => {
        okd_agent::params! {
            $(#[doc = $doc])*
            pub struct $name {
                $($own)*
                /// The text of a kubeconfig such as the installer's `auth/kubeconfig`; it is a secret.
                kubeconfig: Option<String>,
                /// The kubeconfig as a file of the control node.
                kubeconfig_path: Option<String>,
                /// Where to connect to, `HOST:PORT`, where the control node cannot resolve the kubeconfig's server. The
                /// certificate has to bear the name in the kubeconfig all the same.
                server: Option<String>,
            }
        }

        impl $crate::control::Remote for $name {
            const INTERFACE: &'static str = "the cluster's API";

            fn endpoint(&self) -> $crate::control::endpoint::Endpoint {
                $crate::control::endpoint::Endpoint::Kubernetes($crate::control::kube::Endpoint {
                    kubeconfig: self.kubeconfig.clone(),
                    kubeconfig_path: self.kubeconfig_path.clone(),
                    server: self.server.clone(),
                })
            }

            fn reached(&self) -> okd_agent::value::Map {
                let given = [
                    ("kubeconfig", &self.kubeconfig),
                    ("kubeconfig_path", &self.kubeconfig_path),
                    ("server", &self.server),
                ];
                let given = given.into_iter().filter_map(|(name, text)| Some((name.to_owned(), text.as_deref()?.into())));
                given.collect()
            }

            fn back(&self, now: &Self::State, result: &okd_agent::value::Map) -> $crate::control::back::Back {
                self.taken_back(now, result)
            }
        }

        impl $name {
            /// What is wrong with how the API is reached.
            fn connection(&self) -> Vec<String> {
                $crate::control::kube::contradictions(&self.kubeconfig, &self.kubeconfig_path, &self.server)
            }
        }
    };
}
pub(super) use cluster_params;

/// What is wrong with how the API is reached.
pub(super) fn contradictions(text: &Option<String>, path: &Option<String>, server: &Option<String>) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.is_some() == path.is_some() {
        wrong.push("it needs either `kubeconfig` or `kubeconfig_path`".to_owned());
    }
    if let Some(server) = server
        && !server.contains('\u{2039}')
        && host_port(server, 6443).is_none()
    {
        wrong.push(format!("`server` is HOST:PORT, not {server}"));
    }
    wrong
}

/// Where a cluster's API is, and who we are there.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// A kubeconfig.
    pub kubeconfig: Option<String>,
    /// Its file.
    pub kubeconfig_path: Option<String>,
    /// Where to connect to instead of the server that it names.
    pub server: Option<String>,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let from = self.kubeconfig_path.as_deref().unwrap_or("‹hidden›");
        write!(f, "Endpoint(kubeconfig {from}, server {:?})", self.server)
    }
}

impl Endpoint {
    /// With the secrets themselves in the place of their placeholders.
    #[must_use]
    pub fn revealed(self, bare: &dyn Fn(String) -> String) -> Endpoint {
        Endpoint {
            kubeconfig: self.kubeconfig.map(bare),
            kubeconfig_path: self.kubeconfig_path.map(bare),
            server: self.server.map(bare),
        }
    }

    /// What no message may show.
    #[must_use]
    pub fn secrets(&self) -> Vec<Secret> {
        self.text().map(|text| Kubeconfig::secrets(&text)).unwrap_or_default()
    }

    /// Host and port, for people; of the server that the kubeconfig names where no other is given.
    #[must_use]
    pub fn place(&self) -> String {
        let named = || {
            Kubeconfig::read(&self.text().ok()?, None)
                .ok()
                .map(|config| place(&config.host, config.port))
        };
        self.server.clone().or_else(named).unwrap_or_default()
    }

    fn text(&self) -> Result<String, ApiError> {
        match (&self.kubeconfig, &self.kubeconfig_path) {
            (Some(text), _) => Ok(text.clone()),
            (None, Some(path)) => std::fs::read_to_string(path).map_err(|error| match error.kind() {
                std::io::ErrorKind::NotFound => ApiError::Unknown(format!("the kubeconfig {path} is not there yet")),
                _ => ApiError::Lost(format!("{path}: {error}")),
            }),
            (None, None) => Err(ApiError::Lost("no kubeconfig is given".to_owned())),
        }
    }
}

/// The client; its calls block.
pub struct Client {
    wire: Wire,
    token: Option<Secret>,
}

impl Client {
    /// A client of an endpoint. Nothing is contacted yet.
    ///
    /// # Errors
    /// When the kubeconfig is not there ([`ApiError::Unknown`]) or cannot be used.
    pub fn new(endpoint: &Endpoint) -> Result<Client, ApiError> {
        let text = endpoint.text()?;
        let folder = endpoint
            .kubeconfig_path
            .as_deref()
            .and_then(|path| Path::new(path).parent());
        let config = Kubeconfig::read(&text, folder).map_err(ApiError::Lost)?;
        let (host, port) = match &endpoint.server {
            Some(server) => host_port(server, config.port)
                .ok_or_else(|| ApiError::Lost(format!("`server` is HOST:PORT, not {server}")))?,
            None => (config.host, config.port),
        };
        let wire = Wire::new(&host, port, &config.name, &config.trust)
            .map_err(|reason| ApiError::Lost(format!("the kubeconfig: {reason}")))?;
        Ok(Client {
            wire,
            token: config.token,
        })
    }

    fn ask(&self, method: &str, path: &str, source: &Source) -> Result<Json, ApiError> {
        let request = format!("{method} {}", path.split('?').next().unwrap_or(path));
        let mut pause = Duration::from_millis(200);
        loop {
            let last = pause > Duration::from_secs(1);
            let token = self
                .token
                .as_ref()
                .map(|token| String::from_utf8_lossy(token.reveal()).into_owned());
            let sent = self.wire.exchange(Request {
                method,
                path: path.to_owned(),
                authorization: token.map(|token| format!("Bearer {token}")),
                source,
            });
            match sent {
                Ok(answer) if (200..300).contains(&answer.status) => return Ok(answer.body),
                Ok(answer) if !last && answer.status == 429 => {}
                Ok(answer) => return Err(refusal(request, answer.status, &answer.reason, &answer.body)),
                Err(trouble) if trouble.cause == Cause::Distrust => return Err(self.distrust(&trouble.reason)),
                Err(trouble) if last || trouble.is_hopeless() || (trouble.cause == Cause::Sent && method != "GET") => {
                    let place = self.wire.place();
                    return Err(ApiError::Lost(format!(
                        "the cluster's API at {place}: {}",
                        trouble.reason
                    )));
                }
                Err(_) => {}
            }
            std::thread::sleep(pause);
            pause *= 3;
        }
    }

    /// What a failed handshake means to a person.
    fn distrust(&self, error: &str) -> ApiError {
        let place = self.wire.place();
        ApiError::Untrusted(match self.wire.seen() {
            Some(_) => format!(
                "the cluster's API at {place}: TLS: {error}. Either the kubeconfig is one of another installation, or somebody \
                 else answers there; `openssl s_client -connect {place} -showcerts` shows whose certificate it is, and a clock \
                 that is wrong has the same effect"
            ),
            None => format!(
                "the cluster's API at {place}: TLS: {error}; no certificate was shown, so this may not be an API at all"
            ),
        })
    }
}

/// A refusal in the API's own words.
fn refusal(request: String, status: u16, reason: &str, body: &Json) -> ApiError {
    let own = body.get("message").and_then(Json::as_str).unwrap_or_default();
    let help = match status {
        401 => Some(
            "the API does not know who we are: is the kubeconfig of this installation, and has its certificate not expired?",
        ),
        403 => Some("the kubeconfig's user may not do this; the installer's `auth/kubeconfig` may"),
        _ => None,
    };
    ApiError::Refused {
        request,
        status,
        message: match own.is_empty() {
            true => format!("HTTP {status} {reason}").trim_end().to_owned(),
            false => own.to_owned(),
        },
        errors: Vec::new(),
        help: help.map(str::to_owned),
    }
}

impl Api for Client {
    fn get(&self, path: &str) -> Result<Json, ApiError> {
        self.ask("GET", path, &Source::default()).map(readable)
    }

    fn send(&self, call: &Call) -> Result<Json, ApiError> {
        let kind = match call.method {
            Method::Patch => "application/merge-patch+json",
            _ => "application/json",
        };
        let source = match &call.body {
            Some(body) => Source::json(body, kind),
            None => Source::default(),
        };
        self.ask(call.method.word(), &call.path, &source).map(readable)
    }

    fn settle(&self, _: &str, _: &[String]) -> Result<(), ApiError> {
        Ok(())
    }

    fn as_read(&self, sent: &Json) -> Json {
        readable(sent.clone())
    }
}

/// A Secret with its `data` as `stringData`, where that is text: so it can be compared, and secrets be found in it.
fn readable(mut json: Json) -> Json {
    if json.get("kind").and_then(Json::as_str) != Some("Secret") {
        return json;
    }
    let Some(object) = json.as_object_mut() else {
        return json;
    };
    let Some(Json::Object(data)) = object.remove("data") else {
        return json;
    };
    let mut texts = serde_json::Map::new();
    let mut rest = serde_json::Map::new();
    for (name, value) in data {
        let text = value
            .as_str()
            .and_then(|text| Base64::decode_vec(text).ok())
            .and_then(|bytes| String::from_utf8(bytes).ok());
        match text {
            Some(text) => texts.insert(name, Json::String(text)),
            None => rest.insert(name, value),
        };
    }
    if let Some(Json::Object(own)) = object.remove("stringData") {
        texts.extend(own);
    }
    if !rest.is_empty() {
        object.insert("data".to_owned(), Json::Object(rest));
    }
    object.insert("stringData".to_owned(), Json::Object(texts));
    json
}

/// Reads, where a plan says *unknown* of an API that does not answer yet.
///
/// # Errors
/// As [`Api::get`].
pub(super) fn get(world: &dyn Api, path: &str) -> Result<Json, ApiError> {
    match world.get(path) {
        Err(ApiError::Lost(reason)) if world.predicted() => Err(ApiError::Unknown(reason)),
        other => other,
    }
}

/// Looks at what is there before something is changed: an API whose balancer has just lost a server may need a moment.
///
/// # Errors
/// Those of the look; [`ApiError::Late`] where the API does not answer for two minutes. A plan does not wait.
pub(super) fn patiently<T>(world: &dyn Api, look: impl Fn() -> Result<T, ApiError>) -> Result<T, ApiError> {
    if world.predicted() {
        return look();
    }
    let wait = Wait {
        what: "the cluster's API to answer".to_owned(),
        deadline: Duration::from_secs(120),
        pause: Duration::from_secs(2),
        advice: "HAProxy's port 6443 and its servers".to_owned(),
        predicts: Vec::new(),
    };
    let mut found = None;
    world.wait(&wait, &mut || {
        found = Some(look()?);
        Ok(Seen::Done)
    })?;
    found.ok_or_else(|| wait.late("nothing".to_owned()))
}

/// A list's items.
pub(super) fn items(list: &Json) -> &[Json] {
    list.get("items").and_then(Json::as_array).map_or(&[], Vec::as_slice)
}

/// A text inside, by its keys.
pub(super) fn at<'j>(json: &'j Json, keys: &[&str]) -> &'j str {
    let found = keys.iter().try_fold(json, |json, key| json.get(key));
    found.and_then(Json::as_str).unwrap_or_default()
}

/// The name of an object.
pub(super) fn name(object: &Json) -> &str {
    at(object, &["metadata", "name"])
}

/// A condition of an object's status.
pub(super) fn condition<'j>(object: &'j Json, kind: &str) -> Option<&'j Json> {
    let all = object.get("status")?.get("conditions")?.as_array()?;
    all.iter()
        .find(|one| one.get("type").and_then(Json::as_str) == Some(kind))
}

/// Whether a condition is there and says this (`True`, `False`).
pub(super) fn says(object: &Json, kind: &str, status: &str) -> bool {
    condition(object, kind).is_some_and(|one| at(one, &["status"]) == status)
}

/// A value as JSON; what is unknown is null.
pub(super) fn json(value: &Value) -> Json {
    match value {
        Value::Null | Value::Unknown(_) => Json::Null,
        Value::Bool(truth) => Json::Bool(*truth),
        Value::Int(number) => (*number).into(),
        Value::Float(number) => (*number).into(),
        Value::Str(text) => Json::String(text.clone()),
        Value::List(list) => list.iter().map(json).collect(),
        Value::Map(entries) => Json::Object(
            entries
                .iter()
                .map(|(name, value)| (name.clone(), json(value)))
                .collect(),
        ),
    }
}

/// Seconds since 1970 of a time as the API writes it, `2026-11-22T10:00:00Z`.
pub(super) fn seconds(time: &str) -> Option<i64> {
    let (date, clock) = time.strip_suffix('Z')?.split_once('T')?;
    let numbers = |text: &str, between: char| -> Option<Vec<i64>> {
        text.split(between)
            .map(|part| part.split('.').next()?.parse().ok())
            .collect()
    };
    let (date, clock) = (numbers(date, '-')?, numbers(clock, ':')?);
    let ([year, month, day], [hour, minute, second]) = (date.as_slice(), clock.as_slice()) else {
        return None;
    };
    // Days from civil, with years that begin in March.
    let year = if *month <= 2 { year - 1 } else { *year };
    let era = year.div_euclid(400);
    let of_era = year - era * 400;
    let of_year = (153 * (month + if *month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    Some(days * 86_400 + hour * 3600 + minute * 60 + second)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn times_are_counted_from_1970() {
        assert_eq!(seconds("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(seconds("2024-02-29T12:00:01Z"), Some(1_709_208_001));
        assert_eq!(seconds("2026-11-22T10:00:00.123456Z"), Some(1_795_341_600));
        assert_eq!(seconds("yesterday"), None);
    }

    #[test]
    fn a_secret_is_read_as_text() {
        let sent = json!({"kind": "Secret", "data": {"a": "YWI=", "b": "/w=="}, "stringData": {"c": "x"}});
        let read = json!({"kind": "Secret", "data": {"b": "/w=="}, "stringData": {"a": "ab", "c": "x"}});
        assert_eq!(readable(sent), read);
        let other = json!({"kind": "ConfigMap", "data": {"a": "YWI="}});
        assert_eq!(readable(other.clone()), other);
    }

    #[test]
    fn how_the_api_is_reached_is_said_once() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            contradictions(&some("x"), &None, &some("10.0.0.1:6443")),
            Vec::<String>::new()
        );
        assert_eq!(contradictions(&None, &None, &some("a/b")).len(), 2);
        assert_eq!(contradictions(&some("x"), &some("y"), &None).len(), 1);
    }
}
