//! A kubeconfig: where a cluster's API is, whom to believe there, and who we are. What is read of it goes into the client
//! and nowhere else: no message quotes it.

use super::tls::{Belief, Identity, Trust};
use crate::source::SourceMap;
use crate::source::yaml::parse;
use base64ct::{Base64, Encoding};
use okd_agent::Value;
use okd_agent::secret::Secret;
use std::path::Path;

/// What a client needs of a kubeconfig.
pub(super) struct Kubeconfig {
    /// The server's name or address.
    pub(super) host: String,
    /// Its port.
    pub(super) port: u16,
    /// The name that its certificate has to bear.
    pub(super) name: String,
    /// Whom to believe, and what to show.
    pub(super) trust: Trust,
    /// The user's token, where it has one.
    pub(super) token: Option<Secret>,
}

impl Kubeconfig {
    /// Reads one; files that it names are looked for beside it, where `folder` says where that is.
    ///
    /// # Errors
    /// What it lacks, without quoting it.
    pub(super) fn read(text: &str, folder: Option<&Path>) -> Result<Kubeconfig, String> {
        let sources = SourceMap::default();
        let file = sources.add_hidden(Path::new("kubeconfig"), text.to_owned());
        let whole = parse(&sources, file)
            .map_err(|_| "the kubeconfig is no YAML")?
            .to_value();
        let context = chosen(&whole, "contexts", "context", whole.get("current-context"))?;
        let cluster = chosen(&whole, "clusters", "cluster", context.get("cluster"))?;
        let user = chosen(&whole, "users", "user", context.get("user"))?;
        let server = word(cluster, "server").ok_or("the kubeconfig names no server")?;
        let (host, port) = split(&server)?;
        if cluster
            .get("insecure-skip-tls-verify")
            .is_some_and(|flag| flag.to_bool() == Some(true))
        {
            return Err(
                "the kubeconfig says `insecure-skip-tls-verify`: the server's certificate is always checked".to_owned(),
            );
        }
        let belief = match pem(cluster, "certificate-authority", folder)? {
            Some(text) => Belief::Given(text),
            None => Belief::System,
        };
        let certificate = pem(user, "client-certificate", folder)?;
        let key = pem(user, "client-key", folder)?.map(Secret::new);
        let token = word(user, "token").map(Secret::new);
        let identity = match (certificate, key) {
            (Some(certificate), Some(key)) => Some(Identity { certificate, key }),
            (None, None) if token.is_some() => None,
            _ => {
                return Err(
                    "the kubeconfig's user has neither a client certificate with its key nor a token".to_owned(),
                );
            }
        };
        Ok(Kubeconfig {
            name: word(cluster, "tls-server-name").unwrap_or_else(|| host.clone()),
            host,
            port,
            trust: Trust { belief, identity },
            token,
        })
    }

    /// The lines of a kubeconfig that nobody may see, as they stand in it.
    pub(super) fn secrets(text: &str) -> Vec<Secret> {
        let hidden = ["client-key-data:", "token:", "password:"];
        let lines = text.lines().map(|line| line.trim().trim_start_matches("- "));
        lines
            .filter_map(|line| hidden.iter().find_map(|key| line.strip_prefix(key)))
            .map(|value| Secret::new(value.trim().trim_matches(['"', '\''])))
            .collect()
    }
}

/// The entry of a list of named things that is meant: the one of this name, or the only one.
fn chosen<'v>(whole: &'v Value, list: &str, what: &str, name: Option<&Value>) -> Result<&'v Value, String> {
    let all = whole.get(list).and_then(Value::as_list).unwrap_or_default();
    let named = name.and_then(Value::as_str).filter(|name| !name.is_empty());
    let found = match named {
        Some(name) => all
            .iter()
            .find(|entry| entry.get("name").and_then(Value::as_str) == Some(name)),
        None => all.first(),
    };
    found
        .and_then(|entry| entry.get(what))
        .ok_or_else(|| format!("the kubeconfig has no {what} {}", named.unwrap_or("at all")))
}

fn word(entry: &Value, key: &str) -> Option<String> {
    entry.get(key).and_then(Value::as_str).map(str::to_owned)
}

/// What stands under `KEY-data` in base64, or in the file that `KEY` names.
fn pem(entry: &Value, key: &str, folder: Option<&Path>) -> Result<Option<String>, String> {
    if let Some(data) = word(entry, &format!("{key}-data")) {
        let bytes =
            Base64::decode_vec(data.trim()).map_err(|_| format!("`{key}-data` of the kubeconfig is no base64"))?;
        return String::from_utf8(bytes)
            .map(Some)
            .map_err(|_| format!("`{key}-data` of the kubeconfig is no PEM"));
    }
    let Some(path) = word(entry, key) else { return Ok(None) };
    let folder = folder.ok_or_else(|| format!("the kubeconfig's `{key}` is a file; it has to hold `{key}-data`"))?;
    std::fs::read_to_string(folder.join(&path))
        .map(Some)
        .map_err(|error| format!("`{key}` of the kubeconfig: {path}: {error}"))
}

/// Host and port of `https://host:port`.
fn split(url: &str) -> Result<(String, u16), String> {
    let rest = url
        .strip_prefix("https://")
        .ok_or_else(|| format!("the kubeconfig's server is {url}, not https://…"))?;
    host_port(rest.trim_end_matches('/'), 443)
        .ok_or_else(|| format!("the kubeconfig's server is {url}, not https://HOST:PORT"))
}

/// Host and port of `host:port`, `host`, `[address]:port`.
pub(super) fn host_port(text: &str, default: u16) -> Option<(String, u16)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            (host, rest.strip_prefix(':'))
        }
        None => match text.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') => (host, Some(port)),
            _ => (text, None),
        },
    };
    if host.is_empty() || host.contains('/') {
        return None;
    }
    let port = match port {
        Some(port) => port.parse().ok()?,
        None => default,
    };
    Some((host.to_owned(), port))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const PLAIN: &str = "apiVersion: v1\nclusters:\n- cluster:\n    server: https://api.okd.example.org:6443\n  name: okd\ncontexts:\n- context: {cluster: okd, user: admin}\n  name: admin\ncurrent-context: admin\nusers:\n- name: admin\n  user:\n    token: p0is0n-9f1c\n";

    #[test]
    fn the_current_context_says_where_and_who() {
        let read = Kubeconfig::read(PLAIN, None).unwrap();
        assert_eq!((read.host.as_str(), read.port), ("api.okd.example.org", 6443));
        assert_eq!(read.token.unwrap().reveal(), b"p0is0n-9f1c");
        assert_eq!(Kubeconfig::secrets(PLAIN)[0].reveal(), b"p0is0n-9f1c");
    }

    #[test]
    fn what_it_lacks_is_said_without_quoting_it() {
        let wrong = |from: &str, to: &str| Kubeconfig::read(&PLAIN.replace(from, to), None).err().unwrap();
        assert!(wrong("current-context: admin", "current-context: p0is0n").contains("no context p0is0n"));
        assert!(wrong("    token: p0is0n-9f1c", "    username: x").contains("neither a client certificate"));
        assert!(wrong("https://api", "http://api").contains("not https"));
        let insecure = wrong("    server:", "    insecure-skip-tls-verify: true\n    server:");
        assert!(insecure.contains("always checked"), "{insecure}");
        assert_eq!(
            Kubeconfig::read("a: [", None).err().unwrap(),
            "the kubeconfig is no YAML"
        );
    }

    #[test]
    fn hosts_and_ports() {
        assert_eq!(host_port("[::1]:6443", 1), Some(("::1".to_owned(), 6443)));
        assert_eq!(host_port("api", 443), Some(("api".to_owned(), 443)));
        assert_eq!(host_port("fe80::1", 443), Some(("fe80::1".to_owned(), 443)));
        assert_eq!(host_port(":6443", 443), None);
        assert_eq!(host_port("a/b:1", 443), None);
    }
}
