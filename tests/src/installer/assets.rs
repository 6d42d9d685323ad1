//! The manifests, as they are written for a cluster without a platform.

use super::config::Config;
use super::tls::Files;
use base64ct::{Base64, Encoding};
use serde_json::{Value, json};

/// Files of `manifests/` and `openshift/` by name, and their text.
pub(super) fn manifests(config: &Config, infra: &str, roots: &Files, newer: bool) -> Vec<(String, String)> {
    let domain = config.domain();
    let kind = |api: &str, kind: &str, name: &str, spec: &str| {
        format!(
            "apiVersion: {api}\nkind: {kind}\nmetadata:\n  creationTimestamp: null\n  name: {name}\nspec:\n{spec}status: {{}}\n"
        )
    };
    let openshift = |what: &str, spec: &str| kind("config.openshift.io/v1", what, "cluster", spec);
    let map = |name: &str, space: &str, data: &str| {
        format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\n  namespace: {space}\ndata:\n{data}")
    };
    let secret = |name: &str, space: &str, data: &str| {
        format!(
            "apiVersion: v1\nkind: Secret\nmetadata:\n  name: {name}\n  namespace: {space}\ndata:\n{data}type: Opaque\n"
        )
    };
    let b64 = |text: &str| Base64::encode_string(text.as_bytes());
    let root = |name: &str| roots[name].as_str().unwrap_or_default();
    let indented = |text: &str| text.lines().map(|line| format!("    {line}\n")).collect::<String>();
    let mut files = vec![
        (
            "manifests/cluster-config.yaml",
            map(
                "cluster-config-v1",
                "kube-system",
                &format!("  install-config: |\n{}", indented(&shown(config))),
            ),
        ),
        (
            "manifests/cluster-dns-02-config.yml",
            openshift(
                "DNS",
                &format!("  baseDomain: {domain}\n  platform:\n    aws: null\n    type: \"\"\n"),
            ),
        ),
        (
            "manifests/cluster-infrastructure-02-config.yml",
            infrastructure(config, infra),
        ),
        (
            "manifests/cluster-ingress-02-config.yml",
            openshift("Ingress", &format!("  domain: apps.{domain}\n")),
        ),
        (
            "manifests/cluster-network-02-config.yml",
            openshift("Network", &network(config, newer)),
        ),
        (
            "manifests/cluster-proxy-01-config.yaml",
            openshift("Proxy", "  trustedCA:\n    name: \"\"\n"),
        ),
        (
            "manifests/cluster-scheduler-02-config.yml",
            openshift("Scheduler", &scheduler(config, newer)),
        ),
        (
            "manifests/cvo-overrides.yaml",
            kind(
                "config.openshift.io/v1",
                "ClusterVersion",
                "version",
                "  channel: stable-4\n  clusterID: \"\"\n",
            ),
        ),
        (
            "manifests/kube-cloud-config.yaml",
            map(
                "kube-cloud-config",
                "openshift-config-managed",
                "  ca-bundle.pem: \"\"\n",
            ),
        ),
        (
            "manifests/kube-system-configmap-root-ca.yaml",
            map(
                "root-ca",
                "kube-system",
                &format!("  ca.crt: |\n{}", indented(root("root-ca.crt"))),
            ),
        ),
        (
            "manifests/machine-config-server-tls-secret.yaml",
            secret(
                "machine-config-server-tls",
                "openshift-machine-config-operator",
                &format!(
                    "  tls.crt: {}\n  tls.key: {}\n",
                    b64(root("machine-config-server.crt")),
                    b64(root("machine-config-server.key"))
                ),
            ),
        ),
        (
            "manifests/openshift-config-secret-pull-secret.yaml",
            secret(
                "pull-secret",
                "openshift-config",
                &format!("  .dockerconfigjson: {}\n", b64(config.pull_secret())),
            ),
        ),
        (
            "openshift/99_feature-gate.yaml",
            openshift("FeatureGate", "  featureSet: \"\"\n"),
        ),
        (
            "openshift/99_kubeadmin-password-secret.yaml",
            secret("kubeadmin", "kube-system", "  kubeadmin: \"\"\n"),
        ),
        (
            "openshift/openshift-install-manifests.yaml",
            map("openshift-install-manifests", "openshift-config", "  invoker: user\n"),
        ),
    ];
    if newer {
        let data = format!("  ca-bundle.crt: |\n{}", indented(root("root-ca.crt")));
        files.push((
            "manifests/machine-config-server-ca-configmap.yaml",
            map("machine-config-server-ca", "openshift-machine-config-operator", &data),
        ));
        let data = format!("  tls.crt: {}\n", b64(root("root-ca.crt")));
        files.push((
            "manifests/machine-config-server-ca-secret.yaml",
            secret("machine-config-server-ca", "openshift-machine-config-operator", &data),
        ));
    }
    let mut files: Vec<(String, String)> = files.into_iter().map(|(name, text)| (name.to_owned(), text)).collect();
    for role in ["master", "worker"] {
        let data = format!("  userData: {}\n", b64(&super::ignition::role(config, role, roots)));
        let name = format!("openshift/99_openshift-cluster-api_{role}-user-data-secret.yaml");
        files.push((
            name,
            secret(&format!("{role}-user-data"), "openshift-machine-api", &data),
        ));
        if !config.ssh_keys().is_empty() {
            let keys = json!(config.ssh_keys());
            let spec = format!(
                "  config:\n    ignition:\n      version: 3.2.0\n    passwd:\n      users:\n      - name: core\n        sshAuthorizedKeys: {keys}\n"
            );
            let text = kind(
                "machineconfiguration.openshift.io/v1",
                "MachineConfig",
                &format!("99-{role}-ssh"),
                &spec,
            );
            files.push((format!("openshift/99_openshift-machineconfig_99-{role}-ssh.yaml"), text));
        }
    }
    files
}

/// The install-config with its defaults and without the pull secret.
fn shown(config: &Config) -> String {
    let mut value = config.value.clone();
    value["pullSecret"] = "".into();
    value["networking"]["networkType"] = config.network_type().into();
    for key in ["machineNetwork", "clusterNetwork", "serviceNetwork"] {
        value["networking"][key] = config.networks_of(key);
    }
    serde_json::to_string_pretty(&value).unwrap()
}

fn infrastructure(config: &Config, infra: &str) -> String {
    let domain = config.domain();
    let topology = if config.masters() == 1 {
        "SingleReplica"
    } else {
        "HighlyAvailable"
    };
    format!(
        "apiVersion: config.openshift.io/v1\nkind: Infrastructure\nmetadata:\n  creationTimestamp: null\n  name: cluster\nspec:\n  cloudConfig:\n    name: \"\"\n  platformSpec:\n    type: None\nstatus:\n  apiServerInternalURI: https://api-int.{domain}:6443\n  apiServerURL: https://api.{domain}:6443\n  controlPlaneTopology: {topology}\n  etcdDiscoveryDomain: \"\"\n  infrastructureName: {infra}\n  infrastructureTopology: HighlyAvailable\n  platform: None\n  platformStatus:\n    type: None\n"
    )
}

fn network(config: &Config, newer: bool) -> String {
    let list = |value: &Value| {
        value
            .as_array()
            .into_iter()
            .flatten()
            .map(|item| format!("  - {item}\n"))
            .collect::<String>()
    };
    let more = if newer {
        "  networkDiagnostics:\n    mode: \"\"\n"
    } else {
        ""
    };
    format!(
        "  clusterNetwork:\n{}  externalIP:\n    policy: {{}}\n{more}  networkType: {}\n  serviceNetwork:\n{}",
        list(&config.networks_of("clusterNetwork")),
        config.network_type(),
        list(&config.networks_of("serviceNetwork"))
    )
}

fn scheduler(config: &Config, newer: bool) -> String {
    let more = if newer {
        "  profileCustomizations:\n    dynamicResourceAllocation: \"\"\n"
    } else {
        ""
    };
    format!(
        "  mastersSchedulable: {}\n  policy:\n    name: \"\"\n{more}",
        config.workers() == 0
    )
}
