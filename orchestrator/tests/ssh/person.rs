//! A server that only lets in who answers: passwords and questions, which an sshd without accounts cannot be asked for.

use std::sync::Arc;

use russh::keys::{Algorithm, PrivateKey};
use russh::server::{Auth, Config, Handler, Response, run_stream};
use russh::{MethodKind, MethodSet};

#[derive(Clone)]
struct Person(MethodKind);

impl Person {
    /// A refusal after which the same method may be tried again, as sshd does it.
    fn again(&self) -> Auth {
        Auth::Reject {
            proceed_with_methods: Some(MethodSet::from(&[self.0][..])),
            partial_success: false,
        }
    }
}

impl Handler for Person {
    type Error = russh::Error;

    async fn auth_password(&mut self, _: &str, password: &str) -> Result<Auth, russh::Error> {
        Ok(if password == "right" {
            Auth::Accept
        } else {
            self.again()
        })
    }

    async fn auth_keyboard_interactive<'a>(
        &'a mut self,
        _: &str,
        _: &str,
        response: Option<Response<'a>>,
    ) -> Result<Auth, russh::Error> {
        let Some(answers) = response else {
            return Ok(Auth::Partial {
                name: "".into(),
                instructions: "Two factors".into(),
                prompts: vec![("Password: ".into(), false), ("Code: ".into(), true)].into(),
            });
        };
        let answers: Vec<_> = answers
            .map(|answer| String::from_utf8_lossy(&answer).into_owned())
            .collect();
        Ok(if answers == ["right", "42"] {
            Auth::Accept
        } else {
            self.again()
        })
    }
}

/// Serves one method on a loopback port until the runtime ends.
pub async fn serve(method: MethodKind, host_key: &std::path::Path) -> u16 {
    let key = russh::keys::load_secret_key(host_key, None).expect("a host key");
    assert_eq!(PrivateKey::algorithm(&key), Algorithm::Ed25519);
    let config = Arc::new(Config {
        keys: vec![key],
        methods: MethodSet::from(&[method][..]),
        auth_rejection_time: std::time::Duration::from_millis(1),
        ..Config::default()
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let session = run_stream(config.clone(), stream, Person(method)).await;
            tokio::spawn(async move { session.ok()?.await.ok() });
        }
    });
    port
}
