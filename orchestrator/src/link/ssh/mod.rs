//! Connections to hosts over SSH: found as the inventory and the OpenSSH configuration say, with the host's key checked,
//! logged in with keys, through jump hosts where needed. Speaks the protocol itself (russh); see docs/adr/0004-ssh.md.

mod auth;
mod connection;
mod error;
mod host_key;
mod process;
mod session;
mod stream;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OnceCell, Semaphore};

pub use connection::Connection;
pub use error::{AuthError, ConnectError, ExecError, HostKeyError, Lost};
pub use process::{Captured, Exit, ExitStatus, Output, Process, Stdin};

use self::auth::Login;
use self::host_key::{HostKeyCheck, preferred};
use self::session::Opened;
use self::stream::{Piped, Stream, address, dial};
use super::keys::{Asker, KeyStore, Prompt};
use super::known_hosts::KnownHosts;
use super::limits::{Gates, Limits};
use super::settings::{Proxy, Settings};
use super::ssh_config::{Environment, Resolver};
use super::target::{Hop, SshOptions, Target};

/// As long as sshd waits for a login (`LoginGraceTime`, sshd_config(5)).
const LOGIN: Duration = Duration::from_secs(120);
/// More hops than anybody has.
const DEEPEST: usize = 8;

/// Makes connections. One for a run: it shares keys, passphrases, known hosts, jump hosts and limits among all hosts.
pub struct Connector {
    limits: Limits,
    resolver: Resolver,
    keys: KeyStore,
    asker: Asker,
    /// Known hosts by their files and the times of these: a run may add to them.
    known: Mutex<HashMap<Vec<Dated>, Arc<KnownHosts>>>,
    writing: Arc<Mutex<()>>,
    connects: Semaphore,
    addresses: Gates<String>,
    through: Gates<String>,
    jumps: Mutex<HashMap<Target, Jump>>,
}

/// A file, and when it was changed last.
type Dated = (PathBuf, Option<std::time::SystemTime>);

type Jump = Arc<OnceCell<Result<Connection, ConnectError>>>;

impl Connector {
    /// Contacts nothing yet. Without a `prompt`, locked keys that no agent holds and passwords cannot be used.
    #[must_use]
    pub fn new(limits: Limits, environment: Environment, prompt: Option<Arc<dyn Prompt>>) -> Self {
        Connector {
            limits,
            resolver: Resolver::new(environment),
            keys: KeyStore::default(),
            asker: Asker::new(prompt),
            known: Mutex::default(),
            writing: Arc::default(),
            connects: Semaphore::new(limits.connects),
            addresses: Gates::new(limits.connects_per_address),
            through: Gates::new(limits.connects_per_jump),
            jumps: Mutex::default(),
        }
    }

    /// Connects and logs in.
    pub async fn connect(&self, target: &Target) -> Result<Connection, ConnectError> {
        self.connect_saying(target, &|_| {}).await
    }

    /// As [`Connector::connect`], without waiting for others that are being connected to: a host puts itself back
    /// meanwhile.
    pub async fn connect_at_once(&self, target: &Target) -> Result<Connection, ConnectError> {
        self.connect_from(target, 0, false, &|_| {}).await
    }

    /// As [`Connector::connect`]; says to whom it connects, and how long that may take.
    pub async fn connect_saying(
        &self,
        target: &Target,
        say: &(dyn Fn(String) + Sync),
    ) -> Result<Connection, ConnectError> {
        self.connect_from(target, 0, true, say).await
    }

    async fn connect_from(
        &self,
        target: &Target,
        depth: usize,
        waits: bool,
        say: &(dyn Fn(String) + Sync),
    ) -> Result<Connection, ConnectError> {
        let settings = self.resolver.resolve(target).await?;
        let limit = settings.connect_timeout.as_secs();
        say(format!("connecting to {}, at most {limit} s", settings.hostname));
        let via = match &settings.proxy {
            Proxy::Jump(hops) => Some(self.jump(target, hops, depth).await?),
            _ => None,
        };
        let _overall = match waits {
            true => Some(self.connects.acquire().await),
            false => None,
        };
        let _place = match &via {
            Some(via) => self.through.enter(via.host().to_owned()).await,
            None => self.addresses.enter(address(&settings)).await,
        };
        let mut opened = self.open(&settings, via.as_ref()).await?;
        let login = Login::new(&mut opened.handle, &settings, &target.name, &self.keys, &self.asker);
        match tokio::time::timeout(LOGIN, login.run()).await {
            Ok(result) => result?,
            Err(_) => return Err(timed_out(&settings, LOGIN, "login")),
        }
        Ok(Connection::new(target.name.clone(), opened, self.limits.channels, via))
    }

    /// The stream and the key exchange, within the connect timeout.
    async fn open(&self, settings: &Settings, via: Option<&Connection>) -> Result<Opened, ConnectError> {
        let known = self.known_hosts(settings)?;
        let check = HostKeyCheck::new(settings, known.clone(), self.writing.clone());
        let deadline = tokio::time::Instant::now() + settings.connect_timeout;
        let stream = tokio::time::timeout_at(deadline, stream_to(settings, via)).await;
        let stream = stream.map_err(|_| timed_out(settings, settings.connect_timeout, "TCP connection"))??;
        let address = address(settings);
        let opening = session::open(stream, preferred(settings, &known), check, &address);
        let opened = tokio::time::timeout_at(deadline, opening).await;
        opened.map_err(|_| timed_out(settings, settings.connect_timeout, "SSH key exchange"))?
    }

    fn known_hosts(&self, settings: &Settings) -> Result<Arc<KnownHosts>, HostKeyError> {
        let files: Vec<PathBuf> = settings
            .user_known_hosts
            .iter()
            .chain(&settings.global_known_hosts)
            .cloned()
            .collect();
        let changed = |file: &PathBuf| std::fs::metadata(file).and_then(|meta| meta.modified()).ok();
        let dated: Vec<Dated> = files.iter().map(|file| (file.clone(), changed(file))).collect();
        let mut cache = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = cache.get(&dated) {
            return Ok(known.clone());
        }
        let known = Arc::new(KnownHosts::load(&files)?);
        cache.insert(dated, known.clone());
        Ok(known)
    }

    /// The connection to the last of some hops, made once for all targets behind it.
    async fn jump(&self, target: &Target, hops: &[Hop], depth: usize) -> Result<Connection, ConnectError> {
        let Some((last, before)) = hops.split_last().filter(|_| depth < DEEPEST) else {
            return Err(ConnectError::JumpLoop {
                host: target.host.clone(),
            });
        };
        let hop = hop_target(target, last, before);
        let cell = {
            let mut jumps = self.jumps.lock().unwrap_or_else(PoisonError::into_inner);
            let cell = jumps.entry(hop.clone()).or_default();
            let usable =
                |made: &Result<Connection, ConnectError>| made.as_ref().is_ok_and(|made| made.lost().is_none());
            if cell.get().is_some_and(|made| !usable(made)) {
                *cell = Jump::default();
            }
            cell.clone()
        };
        let connect = || Box::pin(self.connect_from(&hop, depth + 1, true, &|_| {}));
        let made = cell.get_or_init(connect).await.clone();
        made.map_err(|error| ConnectError::Jump {
            hop: last.to_string(),
            source: Arc::new(error),
        })
    }
}

/// A jump host as a target: what the inventory says about keys and host keys holds for it too; the way to it are the hops
/// before it, or what the OpenSSH configuration says.
fn hop_target(target: &Target, hop: &Hop, before: &[Hop]) -> Target {
    Target {
        name: hop.host.clone(),
        host: hop.host.clone(),
        port: hop.port,
        user: hop.user.clone(),
        identity_files: target.identity_files.clone(),
        options: SshOptions {
            proxy_jump: (!before.is_empty()).then(|| before.to_vec()),
            port: None,
            user: None,
            ..target.options.clone()
        },
    }
}

async fn stream_to(settings: &Settings, via: Option<&Connection>) -> Result<Box<dyn Stream>, ConnectError> {
    match (via, &settings.proxy) {
        (Some(via), _) => {
            let failed = |reason| ConnectError::Network {
                address: address(settings),
                reason,
            };
            Ok(Box::new(
                via.tunnel(&settings.hostname, settings.port).await.map_err(failed)?,
            ))
        }
        (None, Proxy::Command(command)) => Ok(Box::new(Piped::start(command)?)),
        (None, _) => Ok(Box::new(dial(settings).await?)),
    }
}

fn timed_out(settings: &Settings, limit: Duration, stage: &'static str) -> ConnectError {
    ConnectError::TimedOut {
        address: address(settings),
        seconds: limit.as_secs(),
        stage,
    }
}
