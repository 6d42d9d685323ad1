//! Everything needed to reach one host, from three sources: the inventory wins over the OpenSSH configuration, which wins
//! over OpenSSH's defaults.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::known_hosts::host_name;
use super::ssh_config::{ClientConfig, Environment};
use super::target::{Hop, HostKeyPolicy, SshOptions, Target};

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

/// The inventory over the configuration over the defaults.
pub(crate) fn merge(
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

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    fn environment() -> Environment {
        Environment {
            home: "/home/me".into(),
            user: "me".into(),
            agent: Some("/agent".into()),
            ssh: None,
            system_config: "/none".into(),
        }
    }

    fn merged(args: &str, printed: &str) -> Settings {
        let mut target = Target::new("web1");
        target.options = SshOptions::parse(args).unwrap();
        let (port, user) = (target.options.port, target.options.user.clone());
        merge(&target, port, user, &ClientConfig::parse(printed), &environment())
    }

    fn paths(paths: &[&str]) -> Vec<PathBuf> {
        paths.iter().map(PathBuf::from).collect()
    }

    #[test]
    fn the_defaults() {
        let settings = merged("", "");
        assert_eq!(
            (settings.hostname.as_str(), settings.port, settings.user.as_str()),
            ("web1", 22, "me")
        );
        assert_eq!(settings.identity_files[0], PathBuf::from("/home/me/.ssh/id_ed25519"));
        assert!(settings.default_identities && !settings.identities_only);
        assert_eq!(
            settings.user_known_hosts,
            paths(&["/home/me/.ssh/known_hosts", "/home/me/.ssh/known_hosts2"])
        );
        assert_eq!(
            settings.global_known_hosts,
            paths(&["/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"])
        );
        assert_eq!((settings.agent, settings.proxy), (Some("/agent".into()), Proxy::Direct));
        assert_eq!(
            (settings.host_keys, settings.connect_timeout),
            (HostKeyPolicy::Strict, Duration::from_secs(10))
        );
        let printed = merged("", "identityfile ~/.ssh/id_rsa\nidentityfile ~/.ssh/id_dsa\nuser me\n");
        assert!(
            printed.default_identities,
            "what `ssh -G` prints where nothing is configured"
        );
    }

    #[test]
    fn the_configuration_over_the_defaults() {
        let settings = merged(
            "",
            "hostname 10.0.0.7\nuser admin\nport 2022\nidentityfile ~/k/%r@%h\nidentityagent none\nhostkeyalias Web\n\
             connecttimeout 3\nstricthostkeychecking no\nproxyjump bastion\nuserknownhostsfile ~/kh %d/kh2\n",
        );
        assert_eq!(
            (settings.hostname.as_str(), settings.port, settings.user.as_str()),
            ("10.0.0.7", 2022, "admin")
        );
        assert_eq!(settings.identity_files, paths(&["/home/me/k/admin@10.0.0.7"]));
        assert_eq!(
            (settings.agent.clone(), settings.default_identities, settings.unchecked),
            (None, false, true)
        );
        assert_eq!(
            (settings.known_as(), settings.principal()),
            ("web".to_owned(), "web".to_owned())
        );
        assert_eq!(settings.user_known_hosts, paths(&["/home/me/kh", "/home/me/kh2"]));
        assert_eq!(
            settings.proxy,
            Proxy::Jump(vec![Hop {
                user: None,
                host: "bastion".into(),
                port: None
            }])
        );
        let command = merged("", "hostname h\nproxycommand nc -x 100%% %h %p # %n %r %Z\n").proxy;
        assert_eq!(command, Proxy::Command("nc -x 100% h 22 # web1 me %Z".into()));
    }

    #[test]
    fn the_inventory_over_the_configuration() {
        let printed = "hostname 10.0.0.7\nuser admin\nport 2022\nidentityfile /other\nstricthostkeychecking no\nproxyjump bastion\n\
                       userknownhostsfile /other\nconnecttimeout 3\nidentitiesonly no\n";
        let settings = merged(
            "-l root -p 23 -i ~/mine -o StrictHostKeyChecking=accept-new -J none -o UserKnownHostsFile=/kh \
             -o ConnectTimeout=5 -o IdentitiesOnly=yes",
            printed,
        );
        assert_eq!(
            (settings.port, settings.user.as_str(), settings.proxy.clone()),
            (23, "root", Proxy::Direct)
        );
        assert_eq!(settings.identity_files, paths(&["/home/me/mine"]));
        assert_eq!(
            (settings.host_keys, settings.unchecked),
            (HostKeyPolicy::AcceptNew, false)
        );
        assert_eq!(settings.user_known_hosts, paths(&["/kh"]));
        assert_eq!(
            (settings.connect_timeout, settings.identities_only),
            (Duration::from_secs(5), true)
        );
        assert_eq!(settings.known_as(), "[10.0.0.7]:23");
    }
}
