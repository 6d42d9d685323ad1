//! One HTTP request over TLS on a connection of its own: what the clients of all interfaces stand on.

use super::api::Json;
use super::tls::{self, Seen, Trust};
use http_body_util::BodyExt;
use hyper::body::{Body, Bytes, Frame, SizeHint};
use hyper::header::HeaderValue;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::fmt::Write;
use std::io::Read;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

/// How long one connection may take to be made.
const CONNECT: Duration = Duration::from_secs(10);
/// How long one answer may take; an upload may take longer.
const ANSWER: Duration = Duration::from_secs(60);
/// No answer is longer than this.
const LIMIT: usize = 64 << 20;

/// An answer as it came.
pub(super) struct Answer {
    /// The HTTP status.
    pub(super) status: u16,
    /// The words behind it.
    pub(super) reason: String,
    /// Its body; null where it is empty or no JSON.
    pub(super) body: Json,
}

/// Why there is no answer.
pub(super) struct Trouble {
    /// In words.
    pub(super) reason: String,
    /// How far it came.
    pub(super) cause: Cause,
}

/// How far a request came that has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// Nothing of it can have reached the server.
    Unsent,
    /// It may have arrived.
    Sent,
    /// It cannot be made.
    Malformed,
    /// The server is not the one that is believed, or does not believe us.
    Distrust,
}

impl Trouble {
    /// Whether trying again would end the same way.
    pub(super) fn is_hopeless(&self) -> bool {
        matches!(self.cause, Cause::Malformed | Cause::Distrust)
    }

    fn new(cause: Cause, reason: impl ToString) -> Trouble {
        Trouble {
            reason: reason.to_string(),
            cause,
        }
    }

    fn unsent(reason: impl ToString) -> Trouble {
        Trouble::new(Cause::Unsent, reason)
    }

    fn sent(reason: impl ToString) -> Trouble {
        Trouble::new(Cause::Sent, reason)
    }
}

/// A request.
pub(super) struct Request<'a> {
    /// How.
    pub(super) method: &'a str,
    /// Path and query.
    pub(super) path: String,
    /// The value of `Authorization`, which no log shows.
    pub(super) authorization: Option<String>,
    /// The body.
    pub(super) source: &'a Source,
}

/// A place to send requests to; its calls block.
pub(super) struct Wire {
    host: String,
    port: u16,
    /// The name that the server's certificate has to bear.
    name: String,
    connector: TlsConnector,
    seen: Seen,
    runtime: Runtime,
}

impl Wire {
    /// A wire to host and port. Nothing is contacted yet.
    ///
    /// # Errors
    /// When the certificates that it should believe, or show, cannot be used.
    pub(super) fn new(host: &str, port: u16, name: &str, trust: &Trust) -> Result<Wire, String> {
        let (config, seen) = tls::rules(trust)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Wire {
            host: host.to_owned(),
            port,
            name: name.to_owned(),
            connector: TlsConnector::from(Arc::new(config)),
            seen,
            runtime,
        })
    }

    /// Host and port, for people.
    pub(super) fn place(&self) -> String {
        place(&self.host, self.port)
    }

    /// Sends one request and waits for its answer.
    pub(super) fn exchange(&self, request: Request<'_>) -> Result<Answer, Trouble> {
        self.runtime.block_on(self.exchanged(request))
    }

    /// The SHA-256 of the certificate that was shown last.
    pub(super) fn seen(&self) -> Option<[u8; 32]> {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn exchanged(&self, request: Request<'_>) -> Result<Answer, Trouble> {
        let connect = tokio::time::timeout(CONNECT, TcpStream::connect((self.host.as_str(), self.port))).await;
        let tcp = connect
            .map_err(|_| Trouble::unsent(format!("no connection within {} s", CONNECT.as_secs())))?
            .map_err(Trouble::unsent)?;
        let name = ServerName::try_from(self.name.clone()).map_err(|error| Trouble::new(Cause::Malformed, error))?;
        let tls = tokio::time::timeout(CONNECT, self.connector.connect(name, tcp)).await;
        let tls = tls
            .map_err(|_| Trouble::unsent("no TLS within its time"))?
            .map_err(|error| match error.kind() {
                std::io::ErrorKind::InvalidData | std::io::ErrorKind::Other => Trouble::new(Cause::Distrust, error),
                _ => Trouble::unsent(error),
            })?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(tls))
            .await
            .map_err(Trouble::unsent)?;
        let driver = tokio::spawn(connection);
        let request = self
            .written(&request)
            .map_err(|reason| Trouble::new(Cause::Malformed, reason))?;
        let limit = ANSWER + Duration::from_secs(request.body().length() >> 20);
        let whole = async {
            let response = sender.send_request(request).await?;
            let status = response.status();
            let reason = match response.extensions().get::<hyper::ext::ReasonPhrase>() {
                Some(reason) => String::from_utf8_lossy(reason.as_bytes()).into_owned(),
                None => status.canonical_reason().unwrap_or_default().to_owned(),
            };
            let body = http_body_util::Limited::new(response.into_body(), LIMIT)
                .collect()
                .await;
            Ok::<_, hyper::Error>((status.as_u16(), reason, body))
        };
        let answer = tokio::time::timeout(limit, whole).await;
        driver.abort();
        let (status, reason, body) = answer
            .map_err(|_| Trouble::sent(format!("no answer within {} s", limit.as_secs())))?
            .map_err(Trouble::sent)?;
        let bytes = body.map_err(Trouble::sent)?.to_bytes();
        let body = match bytes.is_empty() {
            true => Json::Null,
            false => serde_json::from_slice(&bytes).unwrap_or(Json::Null),
        };
        Ok(Answer { status, reason, body })
    }

    fn written(&self, request: &Request<'_>) -> Result<hyper::Request<Content>, String> {
        let content = request.source.open()?;
        let mut made = hyper::Request::builder()
            .method(request.method)
            .uri(request.path.as_str())
            .header("Host", place(&self.name, self.port))
            .header("Accept", "application/json")
            .header("Connection", "close");
        if let Some(text) = &request.authorization {
            let mut value = HeaderValue::from_str(text).map_err(|_| "the token cannot stand in a header")?;
            value.set_sensitive(true);
            made = made.header("Authorization", value);
        }
        if let Some(kind) = &content.kind {
            made = made
                .header("Content-Type", kind)
                .header("Content-Length", content.length().to_string());
        }
        made.body(content).map_err(|error| error.to_string())
    }
}

/// Host and port, for people and for `Host`.
pub(super) fn place(host: &str, port: u16) -> String {
    match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    }
}

/// Percent-encodes what is not unreserved (RFC 3986).
#[must_use]
pub fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            other => {
                let _ = write!(out, "%{other:02X}");
            }
        }
    }
    out
}

/// What a body is made of; opened anew for each attempt.
#[derive(Default)]
pub(super) struct Source {
    kind: Option<String>,
    head: String,
    file: Option<std::path::PathBuf>,
    tail: String,
}

impl Source {
    /// JSON, under a type of its own where a request asks for one.
    pub(super) fn json(json: &Json, kind: &str) -> Source {
        Source {
            kind: Some(kind.to_owned()),
            head: json.to_string(),
            ..Source::default()
        }
    }

    /// Fields as a browser's form sends them.
    pub(super) fn form(text: String) -> Source {
        Source {
            kind: Some("application/x-www-form-urlencoded".to_owned()),
            head: text,
            ..Source::default()
        }
    }

    /// The file stands last: Proxmox VE sees no field behind it.
    pub(super) fn upload(params: &[(String, String)], file: &Path, name: &str) -> Source {
        let boundary = "okd-play-7d1f0c5a9b3e";
        let mut head = String::new();
        for (field, value) in params {
            let _ = write!(
                head,
                "--{boundary}\r\nContent-Disposition: form-data; name=\"{field}\"\r\n\r\n{value}\r\n"
            );
        }
        let _ = write!(
            head,
            "--{boundary}\r\nContent-Disposition: form-data; name=\"filename\"; filename=\"{name}\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n"
        );
        Source {
            kind: Some(format!("multipart/form-data; boundary={boundary}")),
            head,
            file: Some(file.to_path_buf()),
            tail: format!("\r\n--{boundary}--\r\n"),
        }
    }

    fn open(&self) -> Result<Content, String> {
        let mut left = 0;
        let mut file = None;
        if let Some(path) = &self.file {
            let opened = std::fs::File::open(path).map_err(|error| format!("{}: {error}", path.display()))?;
            left = opened.metadata().map_err(|error| error.to_string())?.len();
            file = Some(opened);
        }
        Ok(Content {
            kind: self.kind.clone(),
            head: Some(Bytes::from(self.head.clone())).filter(|head| !head.is_empty()),
            file,
            left,
            tail: Some(Bytes::from(self.tail.clone())).filter(|tail| !tail.is_empty()),
        })
    }
}

/// A body that is read from a file while it is sent.
struct Content {
    kind: Option<String>,
    head: Option<Bytes>,
    file: Option<std::fs::File>,
    left: u64,
    tail: Option<Bytes>,
}

impl Content {
    fn length(&self) -> u64 {
        let length = |part: &Option<Bytes>| part.as_ref().map_or(0, |part| part.len() as u64);
        length(&self.head) + self.left + length(&self.tail)
    }

    fn chunk(&mut self) -> Option<Bytes> {
        if let Some(head) = self.head.take() {
            return Some(head);
        }
        if self.left > 0
            && let Some(file) = &mut self.file
        {
            let mut chunk = vec![0; self.left.min(256 << 10) as usize];
            // A file that shrinks while it is sent ends the body early; the server then refuses the upload.
            let count = file.read(&mut chunk).unwrap_or(0);
            chunk.truncate(count);
            self.left = if count == 0 { 0 } else { self.left - count as u64 };
            return Some(Bytes::from(chunk));
        }
        self.tail.take()
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.chunk().map(|chunk| Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.length() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.length())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_is_encoded() {
        assert_eq!(
            encoded("local:iso/a b.iso,media=cdrom"),
            "local%3Aiso%2Fa%20b.iso%2Cmedia%3Dcdrom"
        );
    }
}
