//! Logging in: keys first, in the order of OpenSSH, then what only a person can answer.

use std::path::Path;

use russh::MethodKind;
use russh::MethodSet;
use russh::client::{AuthResult, Handle, KeyboardInteractiveAuthResponse as Reply};
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::{Certificate, HashAlg, PublicKey};
use tokio::net::UnixStream;

use super::error::AuthError;
use super::session::Client;
use crate::link::keys::{Asker, KeyError, KeyFile, KeyStore, Question, Signer, open_agent};
use crate::link::known_hosts::fingerprint;
use crate::link::settings::Settings;

/// One login; made, run once, dropped.
pub(crate) struct Login<'a> {
    pub(crate) handle: &'a mut Handle<Client>,
    pub(crate) settings: &'a Settings,
    pub(crate) host: &'a str,
    pub(crate) keys: &'a KeyStore,
    pub(crate) asker: &'a Asker,
    state: State,
}

#[derive(Default)]
struct State {
    tried: Vec<String>,
    notes: Vec<String>,
    offered: Option<MethodSet>,
    shown: Vec<PublicKey>,
    agent: Option<(AgentClient<UnixStream>, Vec<AgentIdentity>)>,
    agent_asked: bool,
}

/// What an attempt led to.
#[derive(PartialEq)]
enum Step {
    In,
    Next,
}

/// How often a wrong password may be typed, as in OpenSSH (`NumberOfPasswordPrompts`).
const PASSWORD_TRIES: usize = 3;

impl<'a> Login<'a> {
    pub(crate) fn new(
        handle: &'a mut Handle<Client>,
        settings: &'a Settings,
        host: &'a str,
        keys: &'a KeyStore,
        asker: &'a Asker,
    ) -> Self {
        Login {
            handle,
            settings,
            host,
            keys,
            asker,
            state: State::default(),
        }
    }

    /// Tries everything there is. The methods that the server offers are learnt from its first refusal, not asked for.
    pub(crate) async fn run(mut self) -> Result<(), AuthError> {
        match self.try_all().await {
            Ok(Step::In) => Ok(()),
            Ok(Step::Next) => Err(self.failure(false)),
            Err(_) => Err(self.failure(true)),
        }
    }

    async fn try_all(&mut self) -> Result<Step, Closed> {
        if self.settings.default_identities && self.try_agent().await? == Step::In {
            return Ok(Step::In);
        }
        for path in &self.settings.identity_files {
            if self.try_file(path).await? == Step::In {
                return Ok(Step::In);
            }
        }
        if !self.settings.default_identities && !self.settings.identities_only && self.try_agent().await? == Step::In {
            return Ok(Step::In);
        }
        if self.state.offered.is_none() {
            let result = self.handle.authenticate_none(&self.settings.user).await;
            if self.settle(result.map_err(|_| Closed)?, None)? == Step::In {
                return Ok(Step::In);
            }
        }
        self.try_person().await
    }

    fn failure(&self, closed: bool) -> AuthError {
        let offered = self.state.offered.iter().flat_map(|methods| methods.iter());
        AuthError {
            user: self.settings.user.clone(),
            host: self.host.to_owned(),
            tried: self.state.tried.clone(),
            offered: offered.map(|method| <&str>::from(method).to_owned()).collect(),
            notes: self.state.notes.clone(),
            closed,
        }
    }

    fn offers(&self, method: MethodKind) -> bool {
        self.state
            .offered
            .as_ref()
            .is_none_or(|offered| offered.contains(&method))
    }

    /// Notes the server's answer to an attempt.
    fn settle(&mut self, result: AuthResult, what: Option<String>) -> Result<Step, Closed> {
        match result {
            AuthResult::Success => Ok(Step::In),
            AuthResult::Failure {
                remaining_methods,
                partial_success,
            } => {
                let closed = remaining_methods.is_empty() || self.handle.is_closed();
                match (what, partial_success) {
                    (Some(what), true) => self.state.notes.push(format!("{what} was accepted, but is not enough")),
                    (Some(what), false) => self.state.tried.push(what),
                    (None, _) => {}
                }
                if closed {
                    return Err(Closed);
                }
                self.state.offered = Some(remaining_methods);
                Ok(Step::Next)
            }
        }
    }

    async fn try_file(&mut self, path: &Path) -> Result<Step, Closed> {
        if !self.offers(MethodKind::PublicKey) {
            return Ok(Step::Next);
        }
        let file = match self.keys.load(path, self.asker).await {
            Ok(file) => file,
            Err(KeyError::Missing(_)) if self.settings.default_identities => return Ok(Step::Next),
            Err(error) => {
                self.state.notes.push(error.to_string());
                return Ok(Step::Next);
            }
        };
        if self.state.shown.contains(&file.public) {
            return Ok(Step::Next);
        }
        let by_agent = !file.unlocked() && self.agent_holds(&file.public).await;
        if !by_agent && !file.has_secret() {
            self.state.notes.push(format!(
                "{} is only the public half of a key, and no agent holds the other",
                path.display()
            ));
            return Ok(Step::Next);
        }
        for certificate in self.certificates(&file) {
            if self
                .offer(&file.public, Some(certificate), Some(&file), by_agent)
                .await?
                == Step::In
            {
                return Ok(Step::In);
            }
        }
        let step = self.offer(&file.public, None, Some(&file), by_agent).await?;
        self.state.shown.push(file.public.clone());
        Ok(step)
    }

    /// `KEY-cert.pub`, and those of `CertificateFile` that are for this key.
    fn certificates(&self, file: &KeyFile) -> Vec<Certificate> {
        let configured = self
            .settings
            .certificate_files
            .iter()
            .filter_map(|path| Certificate::read_file(path).ok());
        let fits = |certificate: &Certificate| certificate.public_key() == file.public.key_data();
        file.certificate
            .clone()
            .into_iter()
            .chain(configured)
            .filter(fits)
            .collect()
    }

    async fn try_agent(&mut self) -> Result<Step, Closed> {
        self.open_agent().await;
        let identities = self
            .state
            .agent
            .as_ref()
            .map(|(_, identities)| identities.clone())
            .unwrap_or_default();
        for identity in identities {
            let (public, certificate) = match identity {
                AgentIdentity::PublicKey { key, .. } => (key, None),
                AgentIdentity::Certificate { certificate, .. } => {
                    (PublicKey::new(certificate.public_key().clone(), ""), Some(certificate))
                }
            };
            if !self.offers(MethodKind::PublicKey) || certificate.is_none() && self.already_shown(&public) {
                continue;
            }
            let plain = certificate.is_none();
            if self.offer(&public, certificate, None, true).await? == Step::In {
                return Ok(Step::In);
            }
            if plain {
                self.state.shown.push(public);
            }
        }
        Ok(Step::Next)
    }

    fn already_shown(&self, key: &PublicKey) -> bool {
        self.state.shown.iter().any(|shown| shown.key_data() == key.key_data())
    }

    /// Connects to the agent when it is first needed: a key that lies open in a file needs none.
    async fn open_agent(&mut self) {
        let Some(socket) = self.settings.agent.as_deref().filter(|_| !self.state.agent_asked) else {
            return;
        };
        self.state.agent_asked = true;
        match open_agent(socket, self.handle).await {
            Ok(agent) => self.state.agent = Some(agent),
            Err(error) => self.state.notes.push(format!("{}: {error}", socket.display())),
        }
    }

    async fn agent_holds(&mut self, key: &PublicKey) -> bool {
        self.open_agent().await;
        let mut identities = self.state.agent.iter().flat_map(|(_, identities)| identities);
        identities.any(|identity| matches!(identity, AgentIdentity::PublicKey { key: held, .. } if held.key_data() == key.key_data()))
    }

    /// Shows the server a key, and signs when it would take it.
    async fn offer(
        &mut self,
        public: &PublicKey,
        certificate: Option<Certificate>,
        file: Option<&KeyFile>,
        by_agent: bool,
    ) -> Result<Step, Closed> {
        let hash = self.rsa_hash(public).await?;
        let what = describe(public, certificate.is_some(), file, by_agent);
        let mut signer = match (file, by_agent, &mut self.state.agent) {
            (_, true, Some((agent, _))) => Signer::Agent(agent),
            (Some(file), false, _) => Signer::File(file, self.asker),
            _ => return Ok(Step::Next),
        };
        let user = &self.settings.user;
        let result = match certificate {
            Some(certificate) => {
                self.handle
                    .authenticate_certificate_with(user, certificate, hash, &mut signer)
                    .await
            }
            None => {
                self.handle
                    .authenticate_publickey_with(user, public.clone(), hash, &mut signer)
                    .await
            }
        };
        match result {
            Ok(result) => self.settle(result, Some(what)),
            Err(KeyError::Closed) => Err(Closed),
            Err(error) => {
                self.state.notes.push(error.to_string());
                Ok(Step::Next)
            }
        }
    }

    /// RSA keys sign with SHA-2, which of them the server says right after the key exchange (RFC 8308).
    async fn rsa_hash(&mut self, key: &PublicKey) -> Result<Option<HashAlg>, Closed> {
        match key.algorithm().is_rsa() {
            true => {
                let told = self.handle.best_supported_rsa_hash().await.map_err(|_| Closed)?;
                Ok(told.unwrap_or(Some(HashAlg::Sha512)))
            }
            false => Ok(None),
        }
    }

    async fn try_person(&mut self) -> Result<Step, Closed> {
        if !self.asker.can_ask() {
            return Ok(Step::Next);
        }
        if self.offers(MethodKind::KeyboardInteractive) && self.try_keyboard().await? == Step::In {
            return Ok(Step::In);
        }
        for attempt in 0..PASSWORD_TRIES {
            if !self.offers(MethodKind::Password) {
                break;
            }
            let (user, host) = (self.settings.user.clone(), self.host.to_owned());
            let Some(password) = self
                .asker
                .ask(Question::Password {
                    user,
                    host,
                    again: attempt > 0,
                })
                .await
            else {
                break;
            };
            let result = self
                .handle
                .authenticate_password(&self.settings.user, password)
                .await
                .map_err(|_| Closed)?;
            if self.settle(result, (attempt == 0).then(|| "the password".to_owned()))? == Step::In {
                return Ok(Step::In);
            }
        }
        Ok(Step::Next)
    }

    async fn try_keyboard(&mut self) -> Result<Step, Closed> {
        for attempt in 0..PASSWORD_TRIES {
            let start = self
                .handle
                .authenticate_keyboard_interactive_start(&self.settings.user, None);
            let mut reply = start.await.map_err(|_| Closed)?;
            while let Reply::InfoRequest {
                name,
                instructions,
                prompts,
            } = reply
            {
                let mut answers = Vec::new();
                for prompt in prompts {
                    let text = [name.as_str(), &instructions, &prompt.prompt];
                    let text = text
                        .into_iter()
                        .filter(|part| !part.is_empty())
                        .collect::<Vec<_>>()
                        .join("\n");
                    let question = Question::Server {
                        host: self.host.to_owned(),
                        text,
                        echo: prompt.echo,
                    };
                    match self.asker.ask(question).await {
                        Some(answer) => answers.push(answer),
                        None => return Ok(Step::Next),
                    }
                }
                reply = self
                    .handle
                    .authenticate_keyboard_interactive_respond(answers)
                    .await
                    .map_err(|_| Closed)?;
            }
            let result = match reply {
                Reply::Failure {
                    remaining_methods,
                    partial_success,
                } => AuthResult::Failure {
                    remaining_methods,
                    partial_success,
                },
                _ => AuthResult::Success,
            };
            let what = (attempt == 0).then(|| "the answers to its questions".to_owned());
            if self.settle(result, what)? == Step::In {
                return Ok(Step::In);
            }
            if !self.offers(MethodKind::KeyboardInteractive) {
                break;
            }
        }
        Ok(Step::Next)
    }
}

/// The session ended while logging in.
struct Closed;

fn describe(key: &PublicKey, certified: bool, file: Option<&KeyFile>, by_agent: bool) -> String {
    let kind = if certified { "certificate" } else { "key" };
    let place = match (file, by_agent) {
        (Some(file), false) => file.path.display().to_string(),
        (Some(file), true) => format!("{} of the agent", file.path.display()),
        (None, _) => format!("`{}` of the agent", key.comment()),
    };
    format!("the {kind} {place} ({} {})", key.algorithm(), fingerprint(key))
}
