//! Answers of the stand-in's two ports.

use super::life::{CLIENT, Machine};
use super::objects::{Refusal, discovery, place};
use super::{Keys, World};
use base64ct::{Base64, Encoding};
use serde_json::{Value as Json, json};

/// A request.
#[derive(Debug, Clone, Default)]
pub(super) struct Asked {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) body: Json,
    /// Whether a client's certificate was shown.
    pub(super) known: bool,
}

fn status((code, reason, message): Refusal) -> (u16, Json) {
    let body = json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code });
    (code, body)
}

impl World {
    /// Answers a request to the API.
    pub(super) fn api(&mut self, asked: &Asked) -> (u16, Json) {
        self.tick();
        if asked.method != "GET" {
            self.writes.push(format!("{} {}", asked.method, asked.path));
        }
        match asked.path.as_str() {
            "/version" => {
                return (
                    200,
                    json!({ "major": "1", "minor": "33", "gitVersion": "v1.33.13-stand-in" }),
                );
            }
            "/readyz" | "/healthz" | "/livez" => return (200, json!("ok")),
            _ if !asked.known => {
                let verb = asked.method.to_lowercase();
                let message = format!(
                    "forbidden: User \"system:anonymous\" cannot {verb} path \"{}\"",
                    asked.path
                );
                return status((403, "Forbidden", message));
            }
            _ => {}
        }
        if let Some(found) = discovery(&asked.path) {
            return (200, found);
        }
        let answer = self.object(asked);
        self.tick();
        match answer {
            Ok(object) if asked.method == "POST" => (201, object),
            Ok(object) => (200, object),
            Err(refusal) => status(refusal),
        }
    }

    fn object(&mut self, asked: &Asked) -> Result<Json, Refusal> {
        let unknown = || {
            (
                404,
                "NotFound",
                "the server could not find the requested resource".to_owned(),
            )
        };
        let place = place(&asked.path).ok_or_else(unknown)?;
        match (asked.method.as_str(), place.name.as_deref()) {
            ("GET", None) => Ok(self.objects.list(&place)),
            ("GET", Some(name)) => self.objects.read(&place, name),
            ("POST", None) => {
                admitted(&asked.body)?;
                self.objects.create(&place, asked.body.clone())
            }
            ("PATCH", Some(name)) => self.objects.patch(&place, name, &asked.body),
            ("PUT", Some(name)) => self.objects.replace(&place, name, &asked.body),
            ("DELETE", Some(name)) => self.objects.delete(&place, name),
            _ => Err((
                405,
                "MethodNotAllowed",
                "the server does not allow this method on the requested resource".to_owned(),
            )),
        }
    }

    /// Answers a request to the Machine Config Server.
    pub(super) fn config(&mut self, asked: &Asked) -> (u16, Json) {
        self.tick();
        match (asked.method.as_str(), asked.path.as_str()) {
            ("GET", "/healthz") => (200, json!("ok")),
            ("GET", "/config/worker") if self.options.late_workers && !self.bootstrap_complete() => (500, Json::Null),
            ("GET", path) => match path.strip_prefix("/config/") {
                Some(role @ ("bootstrap" | "master" | "worker")) => (200, ignition(role, &self.keys)),
                _ => (404, Json::Null),
            },
            ("POST", "/stand-in/join") => self.joins(&asked.body),
            _ => (405, Json::Null),
        }
    }

    fn joins(&mut self, body: &Json) -> (u16, Json) {
        let text = |key: &str| body[key].as_str().unwrap_or_default();
        let (name, role) = (text("name"), text("role"));
        if name.is_empty() || !["bootstrap", "master", "worker"].contains(&role) {
            return (
                400,
                json!({ "error": "it takes name, addresses, and role: bootstrap, master or worker" }),
            );
        }
        let addresses = body["addresses"].as_array().into_iter().flatten();
        let addresses = addresses.filter_map(Json::as_str).map(str::to_owned).collect();
        self.join(Machine::new(name, role, addresses));
        (200, json!({ "stand-in": true, "name": name, "role": role }))
    }
}

/// What the server refuses when a request for a certificate is made.
fn admitted(body: &Json) -> Result<(), Refusal> {
    let signer = body["spec"]["signerName"].as_str().unwrap_or_default();
    if body["kind"] != "CertificateSigningRequest"
        || signer != "kubernetes.io/kube-apiserver-client"
        || signer == CLIENT
    {
        return Ok(());
    }
    let pem = Base64::decode_vec(body["spec"]["request"].as_str().unwrap_or_default()).unwrap_or_default();
    let parsed = rcgen::CertificateSigningRequestParams::from_pem(&String::from_utf8_lossy(&pem));
    match parsed.is_ok_and(|csr| format!("{:?}", csr.params.distinguished_name).contains("\"system:masters\"")) {
        true => Err((
            403,
            "Forbidden",
            "certificatesigningrequests.certificates.k8s.io is forbidden: use of kubernetes.io/kube-apiserver-client signer with \
             system:masters group is not allowed"
                .to_owned(),
        )),
        false => Ok(()),
    }
}

/// A role's configuration, in the form of the real server's.
fn ignition(role: &str, keys: &Keys) -> Json {
    let file = |path: &str, text: &str| {
        json!({ "path": path, "mode": 420, "overwrite": true, "user": { "name": "root" },
            "contents": { "source": format!("data:text/plain;charset=utf-8;base64,{}", Base64::encode_string(text.as_bytes())) } })
    };
    json!({
        "ignition": { "version": "3.2.0" },
        "passwd": { "users": [{ "name": "core" }] },
        "storage": { "files": [
            file("/etc/kubernetes/ca.crt", &keys.ca_pem()),
            file("/etc/okd-stand-in/role", &format!("{role}\n")),
        ] },
        "systemd": { "units": [{ "name": "kubelet.service", "enabled": true,
            "contents": "[Unit]\nDescription=stand-in of the kubelet\n[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n" }] },
    })
}
