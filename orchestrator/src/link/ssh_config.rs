//! The user's OpenSSH client configuration, by asking the one program that understands all of it: `ssh -G` prints what
//! ssh_config(5) comes to for a host. What the inventory says explicitly wins over it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tokio::sync::OnceCell;

use super::settings::{AddressFamily, Settings, merge};
use super::target::{HostKeyPolicy, Target, split_words, yes_no};

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

/// What `ssh -G` printed for one host; values as printed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientConfig {
    pub(super) hostname: Option<String>,
    pub(super) user: Option<String>,
    pub(super) port: Option<u16>,
    pub(super) identity_files: Vec<String>,
    pub(super) certificate_files: Vec<String>,
    pub(super) identities_only: bool,
    pub(super) identity_agent: Option<String>,
    pub(super) proxy_jump: Option<String>,
    pub(super) proxy_command: Option<String>,
    pub(super) user_known_hosts: Vec<String>,
    pub(super) global_known_hosts: Vec<String>,
    pub(super) host_keys: HostKeyPolicy,
    pub(super) unchecked: bool,
    pub(super) host_key_alias: Option<String>,
    pub(super) hash_known_hosts: bool,
    pub(super) connect_timeout: Option<u64>,
    pub(super) address_family: AddressFamily,
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

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    /// What OpenSSH 9.2 prints, the keywords that mean nothing here left out.
    const PRINTED: &str = "\
host web1
user admin
hostname 10.0.0.7
port 2022
addressfamily inet
canonicalizehostname false
hashknownhosts yes
identitiesonly yes
stricthostkeychecking accept-new
identityagent /run/user/1000/agent
proxycommand none
hostkeyalias web
connecttimeout 7
identityfile ~/.ssh/work key
identityfile /keys/%h
certificatefile ~/.ssh/work-cert.pub
globalknownhostsfile /etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2
userknownhostsfile /home/me/known \"/home/me/with blank\"
proxyjump ops@bastion:2222,inner
sendenv LANG
ipqos lowdelay throughput
";

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn reads_what_ssh_prints() {
        let expected = ClientConfig {
            hostname: Some("10.0.0.7".into()),
            user: Some("admin".into()),
            port: Some(2022),
            identity_files: words(&["~/.ssh/work key", "/keys/%h"]),
            certificate_files: words(&["~/.ssh/work-cert.pub"]),
            identities_only: true,
            identity_agent: Some("/run/user/1000/agent".into()),
            proxy_jump: Some("ops@bastion:2222,inner".into()),
            proxy_command: None,
            user_known_hosts: words(&["/home/me/known", "/home/me/with blank"]),
            global_known_hosts: words(&["/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"]),
            host_keys: HostKeyPolicy::AcceptNew,
            unchecked: false,
            host_key_alias: Some("web".into()),
            hash_known_hosts: true,
            connect_timeout: Some(7),
            address_family: AddressFamily::Inet,
        };
        assert_eq!(ClientConfig::parse(PRINTED), expected);
        assert_eq!(
            ClientConfig::parse("connecttimeout none\naddressfamily any\nstricthostkeychecking ask\n"),
            ClientConfig::default()
        );
        assert!(ClientConfig::parse("stricthostkeychecking false\n").unchecked);
    }

    /// An account in a folder of its own; `files` are written below it.
    fn account(files: &[(&str, &str)]) -> (tempfile::TempDir, Environment) {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text.replace("DIR", &dir.path().to_string_lossy())).unwrap();
        }
        let environment = Environment {
            home: dir.path().to_owned(),
            user: "me".to_owned(),
            agent: None,
            ssh: Some(dir.path().join("ssh")),
            system_config: dir.path().join("etc/ssh_config"),
        };
        (dir, environment)
    }

    #[test]
    fn knows_when_there_is_nothing_to_ask() {
        let debian = "# comment\nInclude DIR/etc/ssh_config.d/*.conf\n\nHost *\n    SendEnv LANG LC_*\n    HashKnownHosts yes\n    GSSAPIAuthentication yes\n";
        let hash = ClientConfig {
            hash_known_hosts: true,
            ..ClientConfig::default()
        };
        for (files, expected) in [
            (&[][..], Some(ClientConfig::default())),
            (
                &[("etc/ssh_config", debian), (".ssh/config", "\n # nothing\n")],
                Some(hash.clone()),
            ),
            (
                &[
                    ("etc/ssh_config", debian),
                    ("etc/ssh_config.d/a.conf", "SendEnv X\n"),
                    ("etc/ssh_config.d/b", "Port 1"),
                ],
                Some(hash),
            ),
            (
                &[("etc/ssh_config", debian), ("etc/ssh_config.d/a.conf", "Port 23\n")],
                None,
            ),
            (
                &[
                    ("etc/ssh_config", debian),
                    ("etc/ssh_config.d/a.conf", "Include DIR/x/*.conf\n"),
                ],
                None,
            ),
            (&[("etc/ssh_config", "Host web*\nSendEnv X\n")], None),
            (&[("etc/ssh_config", "Match all\n")], None),
            (&[(".ssh/config", "User x\n")], None),
        ] {
            let (_dir, environment) = account(files);
            assert_eq!(plain_config(&environment), expected, "{files:?}");
        }
    }

    #[tokio::test]
    async fn asks_once_for_each_host() {
        let program = "#!/bin/sh\necho \"$@\" >> DIR/calls\necho user from-config\necho hostname 10.1.1.1\n";
        let (dir, environment) = account(&[(".ssh/config", "User from-config\n"), ("ssh", program)]);
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(dir.path().join("ssh"), mode).unwrap();
        let resolver = Resolver::new(environment.clone());
        let mut with_user = Target::new("web1");
        (with_user.user, with_user.port) = (Some("root".to_owned()), Some(2222));
        for target in [&Target::new("web1"), &Target::new("web1"), &with_user] {
            let settings = resolver.resolve(target).await.unwrap();
            assert_eq!(settings.user, target.user.as_deref().unwrap_or("from-config"));
            assert_eq!(
                (settings.hostname.as_str(), settings.port),
                ("10.1.1.1", target.port.unwrap_or(22))
            );
        }
        let calls = std::fs::read_to_string(dir.path().join("calls")).unwrap();
        assert_eq!(calls, "-G -- web1\n-G -p 2222 -l root -- web1\n");
        let without = Resolver::new(Environment {
            ssh: None,
            ..environment
        });
        assert_eq!(without.resolve(&Target::new("web1")).await.unwrap().user, "me");
    }

    #[tokio::test]
    async fn names_that_are_none_are_refused() {
        let (_dir, environment) = account(&[]);
        let resolver = Resolver::new(environment);
        for host in ["", "-oProxyCommand=x", "a b", "a;b", "$(x)"] {
            assert_eq!(
                resolver.resolve(&Target::new(host)).await,
                Err(ConfigError::BadName(host.to_owned()))
            );
        }
        let mut target = Target::new("web1");
        target.user = Some("`x`".to_owned());
        assert!(resolver.resolve(&target).await.is_err());
    }
}
