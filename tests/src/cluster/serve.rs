//! TLS and HTTP of the stand-in's two ports.

use super::World;
use super::api::Asked;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value as Json;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Api,
    Config,
}

/// Listens, in a thread of its own.
pub(super) fn start(at: SocketAddr, tls: Option<TlsAcceptor>, side: Side, world: Arc<Mutex<World>>) -> SocketAddr {
    let listener = std::net::TcpListener::bind(at).unwrap_or_else(|error| panic!("{at}: {error}"));
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                if side == Side::Api && !world.lock().unwrap().answers() {
                    continue;
                }
                let (tls, world) = (tls.clone(), Arc::clone(&world));
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, side, false, world).await,
                        Some(tls) => {
                            // A client that does not believe the certificate goes away here.
                            let Ok(stream) = tls.accept(stream).await else { return };
                            let known = stream.get_ref().1.peer_certificates().is_some();
                            serve(stream, side, known, world).await;
                        }
                    }
                });
            }
        });
    });
    address
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, side: Side, known: bool, world: Arc<Mutex<World>>) {
    let service = service_fn(move |request| handle(Arc::clone(&world), side, known, request));
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn handle(
    world: Arc<Mutex<World>>,
    side: Side,
    known: bool,
    request: hyper::Request<Incoming>,
) -> Result<hyper::Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let asked = Asked {
        method: head.method.to_string(),
        path: head.uri.path().to_owned(),
        body: serde_json::from_slice(&body).unwrap_or(Json::Null),
        known,
    };
    let (status, body) = match side {
        Side::Api => world.lock().unwrap().api(&asked),
        Side::Config => world.lock().unwrap().config(&asked),
    };
    let text = match &body {
        Json::Null => String::new(),
        Json::String(text) => text.clone(),
        other => other.to_string(),
    };
    let kind = if body.is_string() {
        "text/plain"
    } else {
        "application/json"
    };
    let response = hyper::Response::builder().status(status).header(CONTENT_TYPE, kind);
    Ok(response.body(Full::new(Bytes::from(text))).unwrap())
}
