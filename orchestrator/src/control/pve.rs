//! Proxmox VE's REST API with an API token: one request a connection, tasks awaited to their end, and its own words in every
//! error, with what to do about it.

use super::api::{Api, ApiError, Call, Json, Typed, rows, text};
pub use super::http::encoded;
use super::http::{Answer, Cause, Request, Source, Trouble, Wire, place};
use super::keyboard;
use super::tls::{Belief, Trust};
use std::fmt::Write;
use std::time::{Duration, Instant};

/// How long a node that stopped answering is asked again while a task of it is awaited.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where an interface is, whom it lets in, and whom we believe.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// The user with its realm.
    pub user: String,
    /// The token's name.
    pub token_id: String,
    /// The token's secret.
    pub token_secret: String,
    /// The pinned certificate's SHA-256.
    pub fingerprint: Option<String>,
    /// A file of authorities.
    pub ca_path: Option<String>,
    /// Seconds that a task may take.
    pub timeout: u64,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Endpoint({} as {})", self.place(), self.token())
    }
}

impl Endpoint {
    /// Host and port, for people.
    #[must_use]
    pub fn place(&self) -> String {
        place(&self.host, self.port)
    }

    /// With the secrets themselves in the place of their placeholders.
    #[must_use]
    pub fn revealed(self, bare: &dyn Fn(String) -> String) -> Endpoint {
        Endpoint {
            host: bare(self.host),
            user: bare(self.user),
            token_id: bare(self.token_id),
            token_secret: bare(self.token_secret),
            fingerprint: self.fingerprint.map(bare),
            ca_path: self.ca_path.map(bare),
            ..self
        }
    }

    /// The token's full name.
    #[must_use]
    pub fn token(&self) -> String {
        format!("{}!{}", self.user, self.token_id)
    }
}

/// The bytes of a SHA-256 fingerprint in hexadecimal, with or without colons.
#[must_use]
pub fn fingerprint(text: &str) -> Option<[u8; 32]> {
    let digits: String = text.chars().filter(|c| *c != ':').collect();
    if digits.len() != 64 || !digits.is_ascii() {
        return None;
    }
    let mut bytes = [0; 32];
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&digits[2 * index..2 * index + 2], 16).ok()?;
    }
    Some(bytes)
}

/// A fingerprint as the node's own pages print it.
fn printed(bytes: &[u8; 32]) -> String {
    bytes
        .iter()
        .map(|byte| format!("{byte:02X}"))
        .collect::<Vec<_>>()
        .join(":")
}

/// The client; its calls block.
pub struct Client {
    endpoint: Endpoint,
    wire: Wire,
}

impl Client {
    /// A client of an endpoint. Nothing is contacted yet.
    ///
    /// # Errors
    /// When the certificates that it should believe cannot be read.
    pub fn new(endpoint: Endpoint) -> Result<Client, ApiError> {
        let lost = |reason: String| ApiError::Lost(format!("{}: {reason}", endpoint.place()));
        let belief = match (&endpoint.fingerprint, &endpoint.ca_path) {
            (Some(text), _) => Belief::Pinned(
                fingerprint(text).ok_or_else(|| lost("`fingerprint` is not a SHA-256 fingerprint".to_owned()))?,
            ),
            (None, Some(path)) => Belief::File(path.clone()),
            (None, None) => Belief::System,
        };
        let trust = Trust { belief, identity: None };
        let wire = Wire::new(&endpoint.host, endpoint.port, &endpoint.host, &trust).map_err(lost)?;
        Ok(Client { endpoint, wire })
    }

    fn exchange(&self, method: &str, path: &str, source: &Source) -> Result<Answer, Trouble> {
        let token = format!("PVEAPIToken={}={}", self.endpoint.token(), self.endpoint.token_secret);
        let sent = self.wire.exchange(Request {
            method,
            path: format!("/api2/json{path}"),
            authorization: Some(token),
            source,
        });
        sent.map_err(|trouble| match trouble.cause {
            Cause::Distrust => Trouble {
                reason: self.distrust(trouble.reason),
                ..trouble
            },
            _ => trouble,
        })
    }

    /// What a failed handshake means to a person.
    fn distrust(&self, error: String) -> String {
        match (self.wire.seen(), &self.endpoint.fingerprint) {
            (Some(shown), Some(_)) if self.endpoint.fingerprint.as_deref().and_then(fingerprint) != Some(shown) => {
                format!(
                    "the server's certificate is not the pinned one: its SHA-256 fingerprint is {}; compare it on the node \
                     (`pvenode cert info`), and put it into `fingerprint` only if it is the same",
                    printed(&shown)
                )
            }
            (Some(shown), None) => format!(
                "the server's certificate is not trusted ({error}); give the cluster's authority (/etc/pve/pve-root-ca.pem of a \
                 node) as `ca_path`, or `fingerprint: {}` after comparing it on the node (`pvenode cert info`)",
                printed(&shown)
            ),
            _ => error,
        }
    }

    /// Asks until there is an answer: again after trouble that cannot have changed anything.
    fn ask(&self, method: &str, path: &str, content: &Source) -> Result<Json, ApiError> {
        let request = format!("{method} {}", path.split('?').next().unwrap_or(path));
        let lost = |reason: &str| ApiError::Lost(format!("Proxmox VE at {}: {reason}", self.endpoint.place()));
        let reads = method == "GET";
        let mut pause = Duration::from_millis(200);
        for attempt in 1.. {
            let last = attempt == 4;
            match self.exchange(method, path, content) {
                Ok(answer) if (200..300).contains(&answer.status) => return Ok(answer.body),
                Ok(answer) => {
                    let unreached = answer.status == 595 || (answer.status == 596 && reads);
                    if !unreached || last {
                        return Err(self.refusal(request, &answer));
                    }
                }
                Err(trouble) => {
                    if trouble.is_hopeless() || last || !(trouble.cause == Cause::Unsent || reads) {
                        return Err(lost(&trouble.reason));
                    }
                }
            }
            std::thread::sleep(pause);
            pause *= 3;
        }
        Err(lost("no answer"))
    }

    fn refusal(&self, request: String, answer: &Answer) -> ApiError {
        let own = answer.body.get("message").and_then(Json::as_str).unwrap_or_default();
        let first = match own.trim() {
            "" => answer.reason.clone(),
            own => own.to_owned(),
        };
        let errors: Vec<(String, String)> = answer
            .body
            .get("errors")
            .and_then(Json::as_object)
            .into_iter()
            .flatten()
            .map(|(name, said)| (name.clone(), said.as_str().unwrap_or_default().trim().to_owned()))
            .collect();
        let mut message = match first.is_empty() {
            true => format!("HTTP {}", answer.status),
            false => first.clone(),
        };
        for (name, said) in &errors {
            let _ = write!(message, "; {name}: {said}");
        }
        ApiError::Refused {
            request,
            status: answer.status,
            help: self.advice(answer.status, &message),
            message,
            errors,
        }
    }

    /// What a person can do about a refusal.
    fn advice(&self, status: u16, message: &str) -> Option<String> {
        let token = self.endpoint.token();
        if status == 401 {
            return Some(format!(
                "the API token {token} is not let in: compare `api_user`, `api_token_id` and `api_token_secret` with \
                 Datacenter > Permissions > API Tokens; a secret is shown only once, when the token is made"
            ));
        }
        if status == 403 {
            let needs = message
                .split_once('(')
                .and_then(|(_, rest)| rest.strip_suffix(')'))
                .and_then(|inside| inside.split_once(", "));
            return Some(match needs {
                Some((path, privilege)) => format!(
                    "the token {token} lacks {} on {path}: give it a role that has it, \
                     `pveum acl modify {path} --tokens '{token}' --roles ROLE`; with privilege separation its user needs it too",
                    privilege.replace('|', " or ")
                ),
                None => format!(
                    "the token {token} lacks a privilege; `pveum user token permissions {} {}` lists what it has",
                    self.endpoint.user, self.endpoint.token_id
                ),
            });
        }
        advice(message)
    }

    fn outcome(&self, request: &str, upid: &str) -> Result<(), ApiError> {
        let status = self.ended(upid)?;
        let end = text(&status, "exitstatus").unwrap_or_default();
        if end == "OK" || end.starts_with("WARNINGS: ") {
            return Ok(());
        }
        let log = self
            .get(&format!("{}/log?limit=0", task_path(upid)))
            .unwrap_or(Json::Null);
        let log: Vec<String> = rows(&log).iter().filter_map(|row| text(row, "t")).collect();
        Err(ApiError::Task {
            request: request.to_owned(),
            help: advice(&end).or_else(|| log.iter().find_map(|line| advice(line))),
            message: end,
            log: log[log.len().saturating_sub(10)..].to_vec(),
        })
    }

    /// Sends a request for each key. What the keys are is in no error: they may be a secret's.
    fn typed(&self, call: &Call, typed: &Typed, pause: Duration) -> Result<(), ApiError> {
        let keys: Option<Vec<String>> = match typed {
            Typed::Keys(keys) => Some(keys.clone()),
            Typed::Text(text) => text.chars().map(keyboard::key).collect(),
        };
        let keys = keys.ok_or_else(|| ApiError::Refused {
            request: format!("{} {}", call.method.word(), call.path),
            status: 400,
            message: "a character of the text is not on a US keyboard; nothing of it was typed".to_owned(),
            errors: Vec::new(),
            help: None,
        })?;
        for key in keys {
            let form = Source::form(format!("key={}", encoded(&key)));
            self.ask(call.method.word(), &call.path, &form)?;
            std::thread::sleep(pause);
        }
        Ok(())
    }

    /// Asks for a task's state until it has ended.
    fn ended(&self, upid: &str) -> Result<Json, ApiError> {
        let began = Instant::now();
        let limit = Duration::from_secs(self.endpoint.timeout);
        let path = format!("{}/status", task_path(upid));
        let mut pause = Duration::from_millis(50);
        let mut silent_since: Option<Instant> = None;
        loop {
            match self.get(&path) {
                Ok(envelope) => {
                    let status = envelope.get("data").cloned().unwrap_or(Json::Null);
                    if text(&status, "status").as_deref() == Some("stopped") {
                        return Ok(status);
                    }
                    silent_since = None;
                }
                Err(error @ ApiError::Lost(_)) => {
                    let since = *silent_since.get_or_insert_with(Instant::now);
                    if since.elapsed() > PATIENCE {
                        return Err(error);
                    }
                }
                Err(error) => return Err(error),
            }
            if began.elapsed() > limit {
                let seconds = began.elapsed().as_secs();
                return Err(ApiError::Task {
                    request: format!("the task {upid}"),
                    message: format!("it has not ended after {seconds} s and goes on in Proxmox VE"),
                    log: Vec::new(),
                    help: Some("run again: the task is found and awaited; `timeout` says how long".to_owned()),
                });
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_secs(1));
        }
    }
}

/// What a person can do, by Proxmox VE's own words.
fn advice(message: &str) -> Option<String> {
    let has = |part: &str| message.contains(part);
    let words = if has("is locked (") {
        "something else is working on it; wait until it has ended, and only where nothing does any more: `qm unlock VMID` on the node"
    } else if has("got timeout") && has("lock") {
        "another task holds it; run again when that has ended"
    } else if has("checksum mismatch (file change") {
        "someone else changed it meanwhile; run again"
    } else if has("No space left") || has("out of space") || has("not enough free space") {
        "the storage is full: remove what is not needed, or name another `storage`"
    } else if has("checksum mismatch") {
        "what was downloaded is not what `checksum` says; nothing was kept"
    } else if has("refusing to override existing file") {
        "a file of this name is there; put the version into the name"
    } else if has("only root can set") {
        "no API token may set this, not even one of root@pam; leave it out"
    } else if has("storage '") && has("does not exist") {
        "`pvesm status` on the node lists the storages"
    } else if has("hostname lookup") {
        "there is no such node: `node` takes the node's own name, as `pvesh get /nodes` lists it"
    } else {
        return None;
    };
    Some(words.to_owned())
}

/// The path of a task; its node stands in its name.
fn task_path(upid: &str) -> String {
    let node = upid.split(':').nth(1).unwrap_or_default();
    format!("/nodes/{node}/tasks/{upid}")
}

impl Api for Client {
    fn get(&self, path: &str) -> Result<Json, ApiError> {
        self.ask("GET", path, &Source::default())
    }

    fn send(&self, call: &Call) -> Result<Json, ApiError> {
        let request = format!("{} {}", call.method.word(), call.path);
        if let Some((typed, pause)) = &call.typed {
            return self.typed(call, typed, *pause).map(|()| Json::Null);
        }
        let form: Vec<String> = call
            .params
            .iter()
            .map(|(name, value)| format!("{}={}", encoded(name), encoded(value)))
            .collect();
        let form = form.join("&");
        let (path, source) = match (&call.upload, call.method.word()) {
            (Some((file, name)), _) => (call.path.clone(), Source::upload(&call.params, file, name)),
            (None, "DELETE") if !form.is_empty() => (format!("{}?{form}", call.path), Source::default()),
            (None, "DELETE") => (call.path.clone(), Source::default()),
            (None, _) => (call.path.clone(), Source::form(form)),
        };
        let envelope = self.ask(call.method.word(), &path, &source)?;
        let data = envelope.get("data").cloned().unwrap_or(Json::Null);
        if let Some(upid) = data.as_str().filter(|text| text.starts_with("UPID:")) {
            self.outcome(&request, upid)?;
        }
        Ok(data)
    }

    fn settle(&self, task: &str, _: &[String]) -> Result<(), ApiError> {
        self.ended(task).map(drop)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_read_with_and_without_colons() {
        let plain = "ab".repeat(32);
        let bytes = fingerprint(&plain).unwrap();
        assert_eq!(fingerprint(&printed(&bytes)), Some(bytes));
        assert_eq!(fingerprint("ab:cd"), None);
        assert_eq!(fingerprint(&"zz".repeat(32)), None);
    }
}
