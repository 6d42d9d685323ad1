//! Private keys: read once, unlocked once, and used for signing, whether they lie in a file or in ssh-agent.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use russh::client::Handle;
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::signature::Signer as _;
use russh::keys::ssh_encoding::Encode as _;
use russh::keys::ssh_key::{Signature, private::KeypairData};
use russh::keys::{Certificate, HashAlg, PrivateKey, PublicKey, decode_secret_key};
use tokio::net::UnixStream;
use tokio::sync::OnceCell;

/// Something only a person can answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// The passphrase of a key file.
    Passphrase {
        /// The file.
        key: PathBuf,
        /// The last answer was wrong.
        again: bool,
    },
    /// The password of an account.
    Password {
        /// The remote user.
        user: String,
        /// The host.
        host: String,
        /// The last answer was wrong.
        again: bool,
    },
    /// What the server itself asks (RFC 4256).
    Server {
        /// The host.
        host: String,
        /// The server's words.
        text: String,
        /// Whether the answer may be shown while it is typed.
        echo: bool,
    },
}

/// Whoever asks the person at the terminal. Called from a thread that may block; one question at a time.
pub trait Prompt: Send + Sync {
    /// The answer; `None` to give up.
    fn ask(&self, question: &Question) -> Option<String>;
}

/// Asks one question at a time.
pub(crate) struct Asker {
    prompt: Option<Arc<dyn Prompt>>,
    turn: tokio::sync::Mutex<()>,
}

impl Asker {
    pub(crate) fn new(prompt: Option<Arc<dyn Prompt>>) -> Self {
        Asker {
            prompt,
            turn: tokio::sync::Mutex::new(()),
        }
    }

    pub(crate) fn can_ask(&self) -> bool {
        self.prompt.is_some()
    }

    pub(crate) async fn ask(&self, question: Question) -> Option<String> {
        let prompt = self.prompt.clone()?;
        let _turn = self.turn.lock().await;
        tokio::task::spawn_blocking(move || prompt.ask(&question))
            .await
            .ok()
            .flatten()
    }
}

/// Why a key cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// It is not there.
    #[error("there is no key {}", .0.display())]
    Missing(PathBuf),
    /// It cannot be read.
    #[error("cannot read the key {}: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's words.
        reason: String,
    },
    /// Others on this machine can read it, so it is not private.
    #[error("the key {} is open to others (mode {mode:04o}): `chmod 600 {}`", path.display(), path.display())]
    TooOpen {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It is no key, or of a kind that is not supported.
    #[error("the key {} cannot be used: {reason}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// It has a passphrase, and there is nobody to ask.
    #[error("the key {} has a passphrase: add it to ssh-agent (`ssh-add {}`), or run on a terminal", .0.display(), .0.display())]
    Locked(PathBuf),
    /// Three wrong passphrases, or none given.
    #[error("the passphrase of the key {} was not given", .0.display())]
    WrongPassphrase(PathBuf),
    /// The agent would not sign.
    #[error("ssh-agent did not sign: {0}")]
    Agent(String),
    /// The connection ended meanwhile.
    #[error("the connection was closed while signing")]
    Closed,
}

impl From<russh::SendError> for KeyError {
    fn from(_: russh::SendError) -> Self {
        KeyError::Closed
    }
}

/// A key in a file. Its public half is known; its private half is unlocked when it is first needed.
pub(crate) struct KeyFile {
    pub(crate) path: PathBuf,
    pub(crate) public: PublicKey,
    /// `KEY-cert.pub` beside it.
    pub(crate) certificate: Option<Certificate>,
    /// `None` where only the public half lies in the file: the agent has the other.
    secret: Option<String>,
    private: OnceCell<Result<Arc<PrivateKey>, KeyError>>,
}

impl KeyFile {
    /// Whether signing needs no question.
    pub(crate) fn unlocked(&self) -> bool {
        self.private.get().is_some_and(Result::is_ok)
    }

    pub(crate) fn has_secret(&self) -> bool {
        self.secret.is_some()
    }

    async fn private(&self, asker: &Asker) -> Result<Arc<PrivateKey>, KeyError> {
        let unlock = async || {
            let secret = self
                .secret
                .as_ref()
                .ok_or_else(|| KeyError::Missing(self.path.clone()))?;
            ask_passphrase(&self.path, secret, asker).await.map(Arc::new)
        };
        self.private.get_or_init(unlock).await.clone()
    }
}

type Loaded = Arc<OnceCell<Result<Arc<KeyFile>, KeyError>>>;

/// The key files of a run, each read once.
#[derive(Default)]
pub(crate) struct KeyStore {
    files: Mutex<HashMap<PathBuf, Loaded>>,
}

impl KeyStore {
    pub(crate) async fn load(&self, path: &Path, asker: &Asker) -> Result<Arc<KeyFile>, KeyError> {
        let cell = {
            let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
            files.entry(path.to_owned()).or_default().clone()
        };
        cell.get_or_init(|| read_key(path, asker)).await.clone()
    }
}

async fn read_key(path: &Path, asker: &Asker) -> Result<Arc<KeyFile>, KeyError> {
    let certificate = Certificate::read_file(&beside(path, "-cert.pub")).ok();
    let public_file = PublicKey::read_openssh_file(beside(path, ".pub")).ok();
    let key = |public, secret, private: Option<PrivateKey>| KeyFile {
        path: path.to_owned(),
        public,
        certificate: certificate.clone(),
        secret,
        private: OnceCell::new_with(private.map(|private| Ok(Arc::new(private)))),
    };
    let text = match (read_private_file(path), public_file.clone()) {
        (Ok(text), _) => text,
        (Err(KeyError::Missing(_)), Some(public)) => return Ok(Arc::new(key(public, None, None))),
        (Err(error), _) => return Err(error),
    };
    if let Ok(public) = PublicKey::from_openssh(&text) {
        return Ok(Arc::new(key(public, None, None)));
    }
    let public = match decode_secret_key(&text, None) {
        Ok(private) => return Ok(Arc::new(key(private.public_key().clone(), Some(text), Some(private)))),
        Err(error) => match PrivateKey::from_openssh(&text) {
            Ok(encrypted) if encrypted.is_encrypted() => Some(encrypted.public_key().clone()),
            _ if looks_encrypted(&text) => public_file,
            _ => return Err(unusable(path, &error)),
        },
    };
    match public {
        Some(public) => Ok(Arc::new(key(public, Some(text), None))),
        None => {
            let private = ask_passphrase(path, &text, asker).await?;
            Ok(Arc::new(key(private.public_key().clone(), Some(text), Some(private))))
        }
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn read_private_file(path: &Path) -> Result<String, KeyError> {
    let unreadable = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => KeyError::Missing(path.to_owned()),
        _ => KeyError::Unreadable {
            path: path.to_owned(),
            reason: error.to_string(),
        },
    };
    let metadata = std::fs::metadata(path).map_err(unreadable)?;
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    let ours = metadata.uid() == rustix::process::getuid().as_raw();
    match text.contains("PRIVATE KEY") && ours && metadata.mode() & 0o077 != 0 {
        true => Err(KeyError::TooOpen {
            path: path.to_owned(),
            mode: metadata.mode() & 0o7777,
        }),
        false => Ok(text),
    }
}

fn looks_encrypted(pem: &str) -> bool {
    pem.contains("BEGIN ENCRYPTED PRIVATE KEY") || pem.contains("Proc-Type: 4,ENCRYPTED")
}

fn unusable(path: &Path, reason: &impl ToString) -> KeyError {
    KeyError::Unusable {
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}

/// Three tries, as ssh-add(1) gives. Deriving a key from a passphrase takes a good part of a second by intent.
async fn ask_passphrase(path: &Path, secret: &str, asker: &Asker) -> Result<PrivateKey, KeyError> {
    if !asker.can_ask() {
        return Err(KeyError::Locked(path.to_owned()));
    }
    for again in [false, true, true] {
        let Some(passphrase) = asker
            .ask(Question::Passphrase {
                key: path.to_owned(),
                again,
            })
            .await
        else {
            break;
        };
        let text = secret.to_owned();
        let decode = move || decode_secret_key(&text, Some(&passphrase));
        if let Ok(Ok(private)) = tokio::task::spawn_blocking(decode).await {
            return Ok(private);
        }
    }
    Err(KeyError::WrongPassphrase(path.to_owned()))
}

/// Whoever holds the private half of the key on offer. The server is asked first whether it would take the key; only
/// then a passphrase is asked for.
pub(crate) enum Signer<'a> {
    File(&'a KeyFile, &'a Asker),
    Agent(&'a mut AgentClient<UnixStream>),
}

impl russh::Signer for Signer<'_> {
    type Error = KeyError;

    async fn auth_sign(
        &mut self,
        key: &AgentIdentity,
        hash: Option<HashAlg>,
        mut data: Vec<u8>,
    ) -> Result<Vec<u8>, KeyError> {
        match self {
            Signer::Agent(agent) => agent
                .sign_request(key, hash, data)
                .await
                .map_err(|error| KeyError::Agent(error.to_string())),
            Signer::File(file, asker) => {
                let private = file.private(asker).await?;
                let signed = data.clone();
                let sign = move || sign(&private, hash, &signed);
                let signature = tokio::task::spawn_blocking(sign).await.map_err(|_| KeyError::Closed)?;
                signature
                    .and_then(|signature| signature.encode(&mut data).map_err(|error| error.to_string()))
                    .map_err(|error| unusable(&file.path, &error))?;
                Ok(data)
            }
        }
    }
}

/// The signature in its wire form.
fn sign(key: &PrivateKey, hash: Option<HashAlg>, data: &[u8]) -> Result<Vec<u8>, String> {
    let signature: Signature = match key.key_data() {
        KeypairData::Rsa(rsa) => (rsa, hash).try_sign(data),
        _ => key.try_sign(data),
    }
    .map_err(|error| error.to_string())?;
    let mut encoded = Vec::new();
    signature.encode(&mut encoded).map_err(|error| error.to_string())?;
    Ok(encoded)
}

/// Connects to an agent and tells it which session it is asked for, as OpenSSH's agent wants for constrained keys.
pub(crate) async fn open_agent<H: russh::client::Handler>(
    socket: &Path,
    handle: &Handle<H>,
) -> Result<(AgentClient<UnixStream>, Vec<AgentIdentity>), KeyError> {
    let failed = |error: russh::keys::Error| KeyError::Agent(error.to_string());
    let mut agent = AgentClient::connect_uds(socket).await.map_err(failed)?;
    if let Some(binding) = handle.agent_session_binding() {
        // Agents other than OpenSSH's refuse this and work all the same.
        let _ = agent.bind_session(binding, false).await;
    }
    let identities = agent.request_identities().await.map_err(failed)?;
    Ok((agent, identities))
}
