//! TLS and HTTP of the stand-in.

use super::request::{Asked, Reply};
use super::rights::Entry;
use super::{Settings, World};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, CONNECTION, CONTENT_TYPE, COOKIE, SERVER};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use sha2::{Digest, Sha256};
use std::convert::Infallible;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// What the stand-in shows of itself.
pub(super) struct Identity {
    pub(super) fingerprint: String,
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

impl Identity {
    /// The one that its folder holds, or a new one.
    pub(super) fn of(settings: &Settings, state: &Path) -> Result<Identity, String> {
        let (ca, key) = (state.join("ca.pem"), state.join("key.pem"));
        if !ca.exists() || !key.exists() {
            let mut names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
            names.push(settings.listen.ip().to_string());
            names.push(settings.node.clone());
            names.extend(settings.names.iter().cloned());
            names.sort();
            names.dedup();
            let made = rcgen::generate_simple_self_signed(names).map_err(|error| error.to_string())?;
            private(&key, &made.signing_key.serialize_pem())?;
            std::fs::write(&ca, made.cert.pem()).map_err(|error| format!("{}: {error}", ca.display()))?;
        }
        let certificate = CertificateDer::from_pem_file(&ca).map_err(|error| format!("{}: {error}", ca.display()))?;
        let key = PrivateKeyDer::from_pem_file(&key).map_err(|error| format!("{}: {error}", key.display()))?;
        let shown = Sha256::digest(&certificate);
        let fingerprint = shown
            .iter()
            .map(|byte| format!("{byte:02X}"))
            .collect::<Vec<_>>()
            .join(":");
        Ok(Identity {
            fingerprint,
            certificate,
            key,
        })
    }
}

/// Writes a file that is its owner's alone.
///
/// # Errors
/// When it cannot be written.
pub fn private(path: &Path, text: &str) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    let fresh = path.with_extension("new");
    let _ = std::fs::remove_file(&fresh);
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&fresh)
        .map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    std::fs::rename(&fresh, path).map_err(failed)
}

/// Listens, in a thread of its own; one that `lives` alone does its tasks without being asked.
pub(super) fn start(
    world: Arc<Mutex<World>>,
    listen: SocketAddr,
    identity: Identity,
    lives: bool,
) -> Result<SocketAddr, String> {
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_no_client_auth()
        .with_single_cert(vec![identity.certificate], identity.key)
        .map_err(|error| error.to_string())?;
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let failed = |error: std::io::Error| format!("{listen}: {error}");
    let listener = std::net::TcpListener::bind(listen).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failed)?;
    std::thread::spawn(move || {
        runtime.block_on(async move {
            if lives {
                tokio::spawn(ticking(Arc::clone(&world)));
            }
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, world) = (acceptor.clone(), Arc::clone(&world));
                tokio::spawn(async move {
                    // A client that does not believe the certificate goes away here.
                    let Ok(stream) = acceptor.accept(stream).await else {
                        return;
                    };
                    let service = service_fn(move |request| handle(Arc::clone(&world), request));
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
    });
    Ok(address)
}

async fn ticking(world: Arc<Mutex<World>>) {
    loop {
        tokio::time::sleep(Duration::from_millis(50)).await;
        world.lock().unwrap().tick();
    }
}

async fn handle(
    world: Arc<Mutex<World>>,
    request: hyper::Request<Incoming>,
) -> Result<hyper::Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let header = |name| head.headers.get(name).and_then(|value| value.to_str().ok());
    let entry = Entry {
        method: head.method.as_str(),
        path: head.uri.path().strip_prefix("/api2/json").unwrap_or_default(),
        authorization: header(AUTHORIZATION),
        cookie: header(COOKIE),
        csrf: head
            .headers
            .get("CSRFPreventionToken")
            .and_then(|value| value.to_str().ok()),
    };
    let token = world.lock().unwrap().rights.enter(&entry);
    let reply = match token {
        Err(refusal) => {
            // A request without a right to enter waits; one with a ticket and a wrong CSRF token does not.
            if refusal.status == 401 && entry.cookie.is_none() {
                tokio::time::sleep(Duration::from_secs(3)).await;
            }
            refusal
        }
        Ok(token) => match read(&head, header(CONTENT_TYPE).unwrap_or_default(), &body, token) {
            Ok(asked) => world.lock().unwrap().answer(&asked),
            Err(refusal) => refusal,
        },
    };
    Ok(written(&reply))
}

fn written(reply: &Reply) -> hyper::Response<Full<Bytes>> {
    let text = reply.body.as_ref().map(ToString::to_string).unwrap_or_default();
    let mut response = hyper::Response::builder()
        .status(reply.status)
        .header(SERVER, "pve-api-daemon/3.0")
        .header(CONTENT_TYPE, "application/json;charset=UTF-8");
    if reply.status != 200 {
        response = response.header(CONNECTION, "close");
    }
    let mut response = response.body(Full::new(Bytes::from(text))).unwrap();
    if let Ok(reason) = hyper::ext::ReasonPhrase::try_from(reply.reason.clone().into_bytes()) {
        response.extensions_mut().insert(reason);
    }
    response
}

fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let code = text
            .get(at + 1..at + 3)
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (bytes[at], code) {
            (b'%', Some(code)) => {
                out.push(code);
                at += 2;
            }
            (b'+', _) => out.push(b' '),
            (other, _) => out.push(other),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn form(text: &str) -> Vec<(String, String)> {
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(name), decoded(value))
        })
        .collect()
}

fn read(head: &hyper::http::request::Parts, kind: &str, body: &[u8], token: String) -> Result<Asked, Reply> {
    let path = decoded(&head.uri.path().replace('+', "%2B"));
    let mut asked = Asked {
        method: head.method.as_str().to_owned(),
        path: path.strip_prefix("/api2/json").unwrap_or("/nosuch").to_owned(),
        params: form(head.uri.query().unwrap_or_default()),
        token,
        file: None,
    };
    if !["GET", "POST", "PUT", "DELETE"].contains(&asked.method.as_str()) {
        return Err(Reply::empty(501, &format!("method '{}' not available", asked.method)));
    }
    asked.params.retain(|(name, _)| name != "_dc");
    if body.is_empty() {
        return Ok(asked);
    }
    if matches!(asked.method.as_str(), "GET" | "DELETE") {
        return Err(Reply::empty(501, "Unexpected content for method"));
    }
    let more = if kind.starts_with("application/x-www-form-urlencoded") {
        form(&String::from_utf8_lossy(body))
    } else if kind.starts_with("application/json") {
        let Ok(serde_json::Value::Object(fields)) = serde_json::from_slice(body) else {
            return Err(Reply::die("malformed JSON string"));
        };
        let text = |value: serde_json::Value| match value {
            serde_json::Value::String(text) => text,
            other => other.to_string(),
        };
        fields.into_iter().map(|(name, value)| (name, text(value))).collect()
    } else if let Some(boundary) = kind.strip_prefix("multipart/form-data; boundary=") {
        parts(body, boundary.trim_matches('"'), &mut asked)
    } else {
        return Err(Reply::empty(506, "Unsupported content type"));
    };
    for (name, value) in more {
        if asked.get(&name).is_none() {
            asked.params.push((name, value));
        }
    }
    Ok(asked)
}

/// The fields before the file; what stands behind it is not seen.
fn parts(body: &[u8], boundary: &str, asked: &mut Asked) -> Vec<(String, String)> {
    // Discs are large: only what begins alike is compared.
    let find = |from: usize, what: &[u8]| {
        let mut at = from;
        loop {
            at += body.get(at..)?.iter().position(|byte| Some(byte) == what.first())?;
            if body[at..].starts_with(what) {
                return Some(at);
            }
            at += 1;
        }
    };
    let mark = format!("--{boundary}");
    let (mut fields, mut at) = (Vec::new(), 0);
    while let Some(start) = find(at, mark.as_bytes()) {
        let Some(end) = find(start, b"\r\n\r\n") else { break };
        let head = String::from_utf8_lossy(&body[start + mark.len()..end]).into_owned();
        let value = |key: &str| {
            let rest = head.split_once(&format!("{key}=\""))?.1;
            rest.split('"').next().map(str::to_owned)
        };
        let Some(next) = find(end, format!("\r\n{mark}").as_bytes()) else {
            break;
        };
        let content = &body[end + 4..next];
        let name = value(" name").unwrap_or_default();
        if name == "filename" {
            asked.file = Some((value("filename").unwrap_or_default(), content.to_vec()));
            break;
        }
        fields.push((name, String::from_utf8_lossy(content).into_owned()));
        at = next + 2;
    }
    fields
}
