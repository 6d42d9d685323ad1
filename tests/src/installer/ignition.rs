//! The Ignition files, and what others may want to know of them.

use super::config::Config;
use super::tls::Files;
use base64ct::{Base64, Encoding};
use serde_json::{Value, json};
use std::path::Path;

fn data(text: &str) -> String {
    format!(
        "data:text/plain;charset=utf-8;base64,{}",
        Base64::encode_string(text.as_bytes())
    )
}

/// The file of a role: where its machines get the rest, and whom they trust for that.
pub(super) fn role(config: &Config, role: &str, roots: &Files) -> String {
    json!({
        "ignition": {
            "config": { "merge": [{ "source": format!("https://api-int.{}:22623/config/{role}", config.domain()) }] },
            "security": { "tls": { "certificateAuthorities": [{ "source": data(roots["root-ca.crt"].as_str().unwrap()) }] } },
            "version": "3.2.0"
        }
    })
    .to_string()
}

/// What the bootstrap machine is told.
pub(super) fn bootstrap(config: &Config, manifests: &[(String, String)], tls: &Files, kubeconfig: &str) -> String {
    let file = |path: String, mode: u32, text: &str| json!({ "overwrite": true, "path": path, "user": { "name": "root" }, "contents": { "source": data(text) }, "mode": mode });
    let mut files = vec![
        file(
            "/etc/motd".to_owned(),
            0o644,
            "This is the bootstrap node; it will be destroyed when the master is fully up.\n",
        ),
        file("/root/.docker/config.json".to_owned(), 0o600, config.pull_secret()),
        file("/opt/openshift/auth/kubeconfig".to_owned(), 0o600, kubeconfig),
    ];
    files.extend(
        manifests
            .iter()
            .map(|(name, text)| file(format!("/opt/openshift/{name}"), 0o644, text)),
    );
    files.extend(tls.iter().map(|(name, text)| {
        let mode = if name.ends_with(".key") { 0o600 } else { 0o644 };
        file(format!("/opt/openshift/tls/{name}"), mode, text.as_str().unwrap())
    }));
    let unit = |name: &str| json!({ "name": name, "enabled": true, "contents": "[Service]\nExecStart=/bin/true\n" });
    let units = ["bootkube.service", "kubelet.service", "approve-csr.service"].map(unit);
    json!({
        "ignition": { "version": "3.2.0" },
        "passwd": { "users": [{ "name": "core", "sshAuthorizedKeys": config.ssh_keys() }] },
        "storage": { "files": files },
        "systemd": { "units": units }
    })
    .to_string()
}

/// How an administrator logs in.
pub(super) fn kubeconfig(config: &Config, tls: &Files) -> String {
    let data = |name: &str| Base64::encode_string(tls[name].as_str().unwrap().as_bytes());
    let domain = config.domain();
    let name = config.name();
    format!(
        "clusters:\n- cluster:\n    certificate-authority-data: {}\n    server: https://api.{domain}:6443\n  name: {name}\ncontexts:\n- context:\n    cluster: {name}\n    user: admin\n  name: admin\ncurrent-context: admin\npreferences: {{}}\nusers:\n- name: admin\n  user:\n    client-certificate-data: {}\n    client-key-data: {}\n",
        data("kube-apiserver-complete-server-ca-bundle.crt"),
        data("admin-kubeconfig-client.crt"),
        data("admin-kubeconfig-client.key")
    )
}

/// A file that an Ignition text lays down.
#[must_use]
pub fn file_of(ignition: &str, path: &str) -> Option<String> {
    let value: Value = serde_json::from_str(ignition).ok()?;
    let file = value["storage"]["files"]
        .as_array()?
        .iter()
        .find(|file| file["path"] == path)?;
    let (_, text) = file["contents"]["source"].as_str()?.split_once("base64,")?;
    String::from_utf8(Base64::decode_vec(text).ok()?).ok()
}

/// What a server needs that is to be taken for the cluster's own: `auth/kubeconfig` trusts it at `api.NAME.DOMAIN`.
#[derive(Debug, Clone)]
pub struct Serving {
    /// Its certificate (PEM).
    pub certificate: String,
    /// Its key (PEM, PKCS #8).
    pub key: String,
    /// Whoever shows a certificate by this authority (PEM) is an administrator.
    pub client_ca: String,
    /// The pair for `api-int.NAME.DOMAIN`, certificate and key.
    pub internal: (String, String),
    /// The pair of the machine config server, for `api-int.NAME.DOMAIN`; the role files trust it.
    pub machine_config: (String, String),
}

impl Serving {
    /// From a finished folder of the installer.
    #[must_use]
    pub fn of(folder: &Path) -> Serving {
        let ignition = std::fs::read_to_string(folder.join("bootstrap.ign")).unwrap();
        Serving::from_ignition(&ignition)
    }

    /// From the text of `bootstrap.ign`.
    #[must_use]
    pub fn from_ignition(ignition: &str) -> Serving {
        let file = |name: &str| file_of(ignition, &format!("/opt/openshift/tls/{name}")).unwrap();
        let pair = |name: &str| (file(&format!("{name}.crt")), file(&format!("{name}.key")));
        let (certificate, key) = pair("kube-apiserver-lb-server");
        Serving {
            certificate,
            key,
            client_ca: file("admin-kubeconfig-signer.crt"),
            internal: pair("kube-apiserver-internal-lb-server"),
            machine_config: pair("machine-config-server"),
        }
    }
}
