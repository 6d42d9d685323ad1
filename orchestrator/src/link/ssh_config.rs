//! The user's OpenSSH client configuration, by asking the one program that understands all of it: `ssh -G` prints what
//! ssh_config(5) comes to for a host. What the inventory says explicitly wins over it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::OnceCell;

use super::known_hosts::host_name;
use super::target::{Hop, HostKeyPolicy, SshOptions, Target, split_words, yes_no};

/// What the control node's account brings along.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Environment {
    /// Where `.ssh` is.
    pub home: PathBuf,
    /// The local user's name, which is also the remote one where nothing else is said.
    pub user: String,
    /// The socket of ssh-agent (`SSH_AUTH_SOCK`).
    pub agent: Option<PathBuf>,
    /// The `ssh` program; `None` where there is none.
    pub ssh: Option<PathBuf>,
    /// The system's client configuration.
    pub system_config: PathBuf,
}

impl Environment {
    /// From the process's environment variables.
    #[must_use]
    pub fn from_process() -> Self {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let ssh = variable("PATH").and_then(|path| {
            std::env::split_paths(&path)
                .map(|folder| folder.join("ssh"))
                .find(|program| program.is_file())
        });
        let user = variable("USER")
            .or_else(|| variable("LOGNAME"))
            .and_then(|name| name.into_string().ok());
        Environment {
            home: std::env::home_dir().unwrap_or_else(|| PathBuf::from("/")),
            user: user.or_else(user_of_passwd).unwrap_or_else(|| "root".to_owned()),
            agent: variable("SSH_AUTH_SOCK").map(PathBuf::from),
            ssh,
            system_config: PathBuf::from("/etc/ssh/ssh_config"),
        }
    }
}

fn user_of_passwd() -> Option<String> {
    let uid = rustix::process::getuid().as_raw().to_string();
    let passwd = std::fs::read_to_string("/etc/passwd").ok()?;
    let mut entries = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
    entries
        .find(|fields| fields.get(2) == Some(&uid.as_str()))
        .and_then(|fields| fields.first().map(|name| (*name).to_owned()))
}

/// Which addresses of a name are used (`AddressFamily`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AddressFamily {
    /// All.
    #[default]
    Any,
    /// IPv4 only.
    Inet,
    /// IPv6 only.
    Inet6,
}

/// What stands between the control node and a host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Proxy {
    /// Nothing.
    #[default]
    Direct,
    /// Jump hosts, the first one connected to first.
    Jump(Vec<Hop>),
    /// A command whose standard input and output are the connection, with its tokens expanded.
    Command(String),
}

/// What `ssh -G` printed for one host; values as printed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientConfig {
    hostname: Option<String>,
    user: Option<String>,
    port: Option<u16>,
    identity_files: Vec<String>,
    certificate_files: Vec<String>,
    identities_only: bool,
    identity_agent: Option<String>,
    proxy_jump: Option<String>,
    proxy_command: Option<String>,
    user_known_hosts: Vec<String>,
    global_known_hosts: Vec<String>,
    host_keys: HostKeyPolicy,
    unchecked: bool,
    host_key_alias: Option<String>,
    hash_known_hosts: bool,
    connect_timeout: Option<u64>,
    address_family: AddressFamily,
}

/// Everything needed to reach one host: the inventory over the OpenSSH configuration over the defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The name or address that is connected to.
    pub hostname: String,
    /// The port.
    pub port: u16,
    /// The remote user.
    pub user: String,
    /// Private key files, in the order in which they are tried.
    pub identity_files: Vec<PathBuf>,
    /// Nobody chose the files: they are OpenSSH's default names, and an agent's keys go before them.
    pub default_identities: bool,
    /// `CertificateFile`.
    pub certificate_files: Vec<PathBuf>,
    /// Keys of the agent that are not among the files are not offered.
    pub identities_only: bool,
    /// The agent's socket.
    pub agent: Option<PathBuf>,
    /// The way to the host.
    pub proxy: Proxy,
    /// Files that are read, and whose first is written.
    pub user_known_hosts: Vec<PathBuf>,
    /// Files that are only read.
    pub global_known_hosts: Vec<PathBuf>,
    /// What happens to unknown host keys.
    pub host_keys: HostKeyPolicy,
    /// The OpenSSH configuration says `StrictHostKeyChecking no`, which is not followed.
    pub unchecked: bool,
    /// `HostKeyAlias`.
    pub host_key_alias: Option<String>,
    /// `HashKnownHosts`.
    pub hash_known_hosts: bool,
    /// For the TCP connection and the key exchange.
    pub connect_timeout: Duration,
    /// Which addresses are used.
    pub address_family: AddressFamily,
}

impl Settings {
    /// The name under which the host's key is looked up.
    #[must_use]
    pub fn known_as(&self) -> String {
        let alias = self.host_key_alias.as_ref().map(|alias| alias.to_ascii_lowercase());
        alias.unwrap_or_else(|| host_name(&self.hostname, self.port))
    }

    /// The name that a host certificate must hold.
    #[must_use]
    pub fn principal(&self) -> String {
        self.host_key_alias
            .as_ref()
            .unwrap_or(&self.hostname)
            .to_ascii_lowercase()
    }
}

/// `ssh -G` did not like the configuration, or a value in it is not usable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A name that a program could take for an option, or that no host has.
    #[error("`{0}` is not a host name, user or address that can be connected to")]
    BadName(String),
    /// The program's own words.
    #[error("the OpenSSH client configuration for {host} cannot be used: {words}")]
    Refused {
        /// Which host it was asked for.
        host: String,
        /// What `ssh -G` said.
        words: String,
    },
}

/// As long as OpenSSH's own wait would be endless: ten seconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const DEFAULT_IDENTITIES: [&str; 6] = [
    "~/.ssh/id_ed25519",
    "~/.ssh/id_ecdsa",
    "~/.ssh/id_rsa",
    "~/.ssh/id_ecdsa_sk",
    "~/.ssh/id_ed25519_sk",
    "~/.ssh/id_xmss",
];

type Key = (String, Option<u16>, Option<String>, Option<PathBuf>);
type Answer = Arc<OnceCell<Result<Arc<ClientConfig>, ConfigError>>>;

/// Asks `ssh -G`, once for each distinct host.
#[derive(Debug)]
pub struct Resolver {
    environment: Environment,
    answers: Mutex<HashMap<Key, Answer>>,
    without_config: OnceLock<Option<Arc<ClientConfig>>>,
}

impl Resolver {
    /// Nothing is read yet.
    #[must_use]
    pub fn new(environment: Environment) -> Self {
        Resolver {
            environment,
            answers: Mutex::default(),
            without_config: OnceLock::new(),
        }
    }

    /// How `target` is reached.
    pub async fn resolve(&self, target: &Target) -> Result<Settings, ConfigError> {
        let port = target.port.or(target.options.port);
        let user = target.user.clone().or_else(|| target.options.user.clone());
        for name in std::iter::once(&target.host).chain(&user) {
            check_name(name)?;
        }
        let key = (
            target.host.clone(),
            port,
            user.clone(),
            target.options.config_file.clone(),
        );
        let answer = {
            let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
            answers.entry(key.clone()).or_default().clone()
        };
        let config = answer.get_or_init(|| self.ask(&key)).await.clone()?;
        let settings = merge(target, port, user, &config, &self.environment);
        check_name(&settings.hostname)?;
        check_name(&settings.user)?;
        Ok(settings)
    }

    async fn ask(&self, key: &Key) -> Result<Arc<ClientConfig>, ConfigError> {
        let (host, port, user, file) = key;
        let nothing = self
            .without_config
            .get_or_init(|| plain_config(&self.environment).map(Arc::new));
        let program = match (&self.environment.ssh, file, nothing) {
            (_, None, Some(config)) => return Ok(config.clone()),
            (None, ..) => return Ok(Arc::new(ClientConfig::default())),
            (Some(program), ..) => program,
        };
        let refused = |words: String| ConfigError::Refused {
            host: host.clone(),
            words,
        };
        let mut command = tokio::process::Command::new(program);
        command.stdin(Stdio::null()).kill_on_drop(true).arg("-G");
        if let Some(file) = file {
            command.arg("-F").arg(file);
        }
        if let Some(port) = port {
            command.arg("-p").arg(port.to_string());
        }
        if let Some(user) = user {
            command.arg("-l").arg(user);
        }
        let output = command
            .arg("--")
            .arg(host)
            .output()
            .await
            .map_err(|error| refused(error.to_string()))?;
        match output.status.success() {
            true => Ok(Arc::new(ClientConfig::parse(&String::from_utf8_lossy(&output.stdout)))),
            false => Err(refused(
                String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; "),
            )),
        }
    }
}

fn check_name(name: &str) -> Result<(), ConfigError> {
    let strange = |c: char| c.is_whitespace() || c.is_control() || "'\"`$\\;&<>|(){}".contains(c);
    match name.is_empty() || name.starts_with('-') || name.contains(strange) {
        true => Err(ConfigError::BadName(name.to_owned())),
        false => Ok(()),
    }
}

impl ClientConfig {
    /// Reads the output of `ssh -G`: a lower-case keyword and its value on each line.
    #[must_use]
    pub fn parse(text: &str) -> ClientConfig {
        let mut config = ClientConfig::default();
        for (keyword, value) in text.lines().filter_map(|line| line.split_once(' ')) {
            let some = || Some(value.to_owned()).filter(|value| value != "none");
            let files = || split_words(value).unwrap_or_default();
            match keyword {
                "hostname" => config.hostname = some(),
                "user" => config.user = some(),
                "port" => config.port = value.parse().ok(),
                "identityfile" => config.identity_files.extend(some()),
                "certificatefile" => config.certificate_files.extend(some()),
                "identitiesonly" => config.identities_only = yes_no(value) == Some(true),
                "identityagent" => config.identity_agent = Some(value.to_owned()),
                "proxyjump" => config.proxy_jump = some(),
                "proxycommand" => config.proxy_command = some(),
                "userknownhostsfile" => config.user_known_hosts = files(),
                "globalknownhostsfile" => config.global_known_hosts = files(),
                "stricthostkeychecking" => match value {
                    "accept-new" => config.host_keys = HostKeyPolicy::AcceptNew,
                    "false" | "no" | "off" => config.unchecked = true,
                    _ => {}
                },
                "hostkeyalias" => config.host_key_alias = some(),
                "hashknownhosts" => config.hash_known_hosts = yes_no(value) == Some(true),
                "connecttimeout" => config.connect_timeout = value.parse().ok().filter(|seconds| *seconds > 0),
                "addressfamily" => {
                    config.address_family = match value {
                        "inet" => AddressFamily::Inet,
                        "inet6" => AddressFamily::Inet6,
                        _ => AddressFamily::Any,
                    }
                }
                _ => {}
            }
        }
        config
    }
}

/// The inventory over the configuration over the defaults.
fn merge(
    target: &Target,
    port: Option<u16>,
    user: Option<String>,
    config: &ClientConfig,
    env: &Environment,
) -> Settings {
    let options = &target.options;
    let mut settings = Settings {
        hostname: config.hostname.clone().unwrap_or_else(|| target.host.clone()),
        port: port.or(config.port).unwrap_or(22),
        user: user.or_else(|| config.user.clone()).unwrap_or_else(|| env.user.clone()),
        identity_files: Vec::new(),
        default_identities: false,
        certificate_files: Vec::new(),
        identities_only: options.identities_only.unwrap_or(config.identities_only),
        agent: None,
        proxy: Proxy::Direct,
        user_known_hosts: Vec::new(),
        global_known_hosts: Vec::new(),
        host_keys: options.host_keys.unwrap_or(config.host_keys),
        unchecked: config.unchecked && options.host_keys.is_none(),
        host_key_alias: config.host_key_alias.clone(),
        hash_known_hosts: config.hash_known_hosts,
        connect_timeout: options
            .connect_timeout
            .or(config.connect_timeout.map(Duration::from_secs))
            .unwrap_or(CONNECT_TIMEOUT),
        address_family: config.address_family,
    };
    let expand = Expander {
        target,
        settings: &settings.clone(),
        env,
    };
    settings.proxy = proxy(options, config, &expand);
    settings.agent = agent(config.identity_agent.as_deref(), &expand);
    settings.certificate_files = expand.paths(&config.certificate_files);
    settings.user_known_hosts = expand.files(&options.user_known_hosts, &config.user_known_hosts, || {
        ["known_hosts", "known_hosts2"]
            .map(|file| env.home.join(".ssh").join(file))
            .to_vec()
    });
    settings.global_known_hosts = expand.files(&options.global_known_hosts, &config.global_known_hosts, || {
        ["ssh_known_hosts", "ssh_known_hosts2"]
            .map(|file| Path::new("/etc/ssh").join(file))
            .to_vec()
    });
    let chosen: Vec<PathBuf> = target
        .identity_files
        .iter()
        .chain(&options.identity_files)
        .cloned()
        .collect();
    settings.default_identities = chosen.is_empty()
        && config
            .identity_files
            .iter()
            .all(|file| file == "~/.ssh/id_dsa" || DEFAULT_IDENTITIES.contains(&file.as_str()));
    let configured = match settings.default_identities {
        true => DEFAULT_IDENTITIES.map(str::to_owned).to_vec(),
        false => config.identity_files.clone(),
    };
    settings.identity_files = expand.files(&chosen, &configured, Vec::new);
    settings
}

fn proxy(options: &SshOptions, config: &ClientConfig, expand: &Expander<'_>) -> Proxy {
    let from_config = || config.proxy_jump.as_deref().and_then(Hop::parse_list);
    match (options.proxy_jump.clone().or_else(from_config), &config.proxy_command) {
        (Some(hops), _) if !hops.is_empty() => Proxy::Jump(hops),
        (Some(_), _) | (None, None) => Proxy::Direct,
        (None, Some(command)) => Proxy::Command(expand.tokens(command)),
    }
}

fn agent(identity_agent: Option<&str>, expand: &Expander<'_>) -> Option<PathBuf> {
    match identity_agent {
        None | Some("SSH_AUTH_SOCK") => expand.env.agent.clone(),
        Some("none") => None,
        Some(variable) if variable.starts_with('$') => {
            let name = variable.trim_matches(|c| "${}".contains(c));
            std::env::var_os(name).map(PathBuf::from)
        }
        Some(path) => Some(expand.path(path)),
    }
}

/// Replaces `~` and the tokens of ssh_config(5).
struct Expander<'a> {
    target: &'a Target,
    settings: &'a Settings,
    env: &'a Environment,
}

impl Expander<'_> {
    fn tokens(&self, text: &str) -> String {
        let mut out = String::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            let token = if c == '%' { chars.next() } else { None };
            match token {
                None => out.push(c),
                Some('%') => out.push('%'),
                Some('h') => out.push_str(&self.settings.hostname),
                Some('n') => out.push_str(&self.target.host),
                Some('p') => out.push_str(&self.settings.port.to_string()),
                Some('r') => out.push_str(&self.settings.user),
                Some('u') => out.push_str(&self.env.user),
                Some('d') => out.push_str(&self.env.home.to_string_lossy()),
                Some('k') => out.push_str(
                    self.settings
                        .host_key_alias
                        .as_deref()
                        .unwrap_or(&self.settings.hostname),
                ),
                Some(other) => out.extend(['%', other]),
            }
        }
        out
    }

    fn path(&self, text: &str) -> PathBuf {
        let text = self.tokens(text);
        match text.strip_prefix("~/") {
            Some(rest) => self.env.home.join(rest),
            None => PathBuf::from(text),
        }
    }

    fn paths(&self, texts: &[String]) -> Vec<PathBuf> {
        texts.iter().map(|text| self.path(text)).collect()
    }

    /// The inventory's files, else the configuration's, else the default ones.
    fn files(&self, chosen: &[PathBuf], configured: &[String], default: impl Fn() -> Vec<PathBuf>) -> Vec<PathBuf> {
        match (chosen.is_empty(), configured.is_empty()) {
            (false, _) => chosen.iter().map(|path| self.path(&path.to_string_lossy())).collect(),
            (true, false) => self.paths(configured),
            (true, true) => default(),
        }
    }
}

/// What `ssh -G` would say for every host, where that is plain to see: the user has no configuration, and the system's
/// holds only settings that change nothing here. Saves a process for each host.
fn plain_config(env: &Environment) -> Option<ClientConfig> {
    let mut config = ClientConfig::default();
    if !read_lines(&env.home.join(".ssh/config"))?.is_empty() {
        return None;
    }
    scan_plain(&env.system_config, &mut config, 0)?;
    Some(config)
}

fn scan_plain(path: &Path, config: &mut ClientConfig, depth: usize) -> Option<()> {
    for line in read_lines(path)? {
        let (keyword, value) = line
            .split_once(|c: char| c.is_whitespace() || c == '=')
            .unwrap_or((&line, ""));
        let value = value.trim_matches(|c: char| c.is_whitespace() || c == '=');
        match keyword.to_ascii_lowercase().as_str() {
            "sendenv" => {}
            "host" if value == "*" => {}
            "hashknownhosts" => config.hash_known_hosts |= yes_no(value)?,
            gssapi if gssapi.starts_with("gssapi") => {}
            "include" if depth == 0 => {
                let folder = value
                    .strip_suffix("/*.conf")
                    .filter(|folder| !folder.contains(['*', '?', '~', ' ']))?;
                for file in conf_files(Path::new(folder))? {
                    scan_plain(&file, config, depth + 1)?;
                }
            }
            _ => return None,
        }
    }
    Some(())
}

/// The lines of a file that say something; none where the file is missing, `None` where it cannot be read.
fn read_lines(path: &Path) -> Option<Vec<String>> {
    match std::fs::read_to_string(path) {
        Ok(text) => {
            let lines = text
                .lines()
                .map(str::trim)
                .filter(|line| !line.is_empty() && !line.starts_with('#'));
            Some(lines.map(str::to_owned).collect())
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Some(Vec::new()),
        Err(_) => None,
    }
}

fn conf_files(folder: &Path) -> Option<Vec<PathBuf>> {
    match std::fs::read_dir(folder) {
        Ok(entries) => {
            let files = entries
                .map(|entry| entry.ok().map(|entry| entry.path()))
                .collect::<Option<Vec<_>>>()?;
            Some(
                files
                    .into_iter()
                    .filter(|file| file.extension().is_some_and(|end| end == "conf"))
                    .collect(),
            )
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Some(Vec::new()),
        Err(_) => None,
    }
}
