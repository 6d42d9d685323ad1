//! An install-config as the installer takes it: what it refuses, with its words, and what it passes over.

use super::{Ended, Log, yaml};
use serde_json::{Value, json};
use std::net::Ipv4Addr;

const FIELDS: [&str; 24] = [
    "additionalTrustBundle",
    "additionalTrustBundlePolicy",
    "apiVersion",
    "arbiter",
    "baseDomain",
    "bootstrapInPlace",
    "capabilities",
    "compute",
    "controlPlane",
    "cpuPartitioningMode",
    "credentialsMode",
    "featureGates",
    "featureSet",
    "fips",
    "imageContentSources",
    "imageDigestSources",
    "metadata",
    "networking",
    "operatorPublishingStrategy",
    "platform",
    "proxy",
    "publish",
    "pullSecret",
    "sshKey",
];

/// An install-config with its defaults.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Config {
    /// As it was given.
    pub(super) value: Value,
}

impl Config {
    /// Reads and checks a text.
    pub(super) fn read(text: &str, newer: bool, log: &mut Log) -> Result<Config, Ended> {
        let value = yaml::read(text)
            .map_err(|error| Ended::config(format!("failed to unmarshal install-config.yaml: {error}")))?;
        let Some(entries) = value.as_object() else {
            return Err(Ended::config(
                "failed to upconvert install config: apiVersion: Required value: must specify api version",
            ));
        };
        if value["apiVersion"] != "v1" {
            let said = "failed to upconvert install config: apiVersion: Required value: must be v1";
            return Err(Ended::config(said));
        }
        if let Some(field) = entries.keys().find(|key| !FIELDS.contains(&key.as_str())) {
            log.say("warning", &format!("failed to parse first occurrence of unknown field: error unmarshaling JSON: while decoding JSON: json: unknown field {field:?}"));
        }
        for (field, fits) in [
            ("compute", entries.get("compute").is_none_or(Value::is_array)),
            ("metadata", value["metadata"].is_object()),
        ] {
            if !fits {
                let said = format!(
                    "failed to unmarshal install-config.yaml: json: cannot unmarshal into Go struct field InstallConfig.{field}"
                );
                return Err(Ended::config(said));
            }
        }
        let config = Config { value };
        let mut wrong = Vec::new();
        config.names(&mut wrong);
        config.machines(newer, &mut wrong);
        config.networks(newer, &mut wrong);
        config.secrets(newer, &mut wrong);
        match wrong.as_slice() {
            [] => Ok(config),
            [one] => Err(Ended::config(format!("invalid \"install-config.yaml\" file: {one}"))),
            many => Err(Ended::config(format!(
                "invalid \"install-config.yaml\" file: [{}]",
                many.join(", ")
            ))),
        }
    }

    pub(super) fn name(&self) -> &str {
        self.value["metadata"]["name"].as_str().unwrap_or_default()
    }

    /// The cluster's name with its domain.
    pub(super) fn domain(&self) -> String {
        format!(
            "{}.{}",
            self.name(),
            self.value["baseDomain"].as_str().unwrap_or_default()
        )
    }

    pub(super) fn pull_secret(&self) -> &str {
        self.value["pullSecret"].as_str().unwrap_or_default()
    }

    pub(super) fn ssh_keys(&self) -> Vec<&str> {
        let text = self.value["sshKey"].as_str().unwrap_or_default();
        text.lines().map(str::trim).filter(|line| !line.is_empty()).collect()
    }

    pub(super) fn masters(&self) -> i64 {
        self.value["controlPlane"]["replicas"].as_i64().unwrap_or(3)
    }

    /// Left out, or an empty list, means three.
    pub(super) fn workers(&self) -> i64 {
        let pools = self.value["compute"].as_array().filter(|pools| !pools.is_empty());
        pools.map_or(3, |pools| {
            pools.iter().map(|pool| pool["replicas"].as_i64().unwrap_or(3)).sum()
        })
    }

    pub(super) fn network_type(&self) -> &str {
        self.value["networking"]["networkType"]
            .as_str()
            .unwrap_or("OVNKubernetes")
    }

    /// Networks of a sort, with the installer's own where none is given.
    pub(super) fn networks_of(&self, key: &str) -> Value {
        let default = match key {
            "machineNetwork" => json!([{ "cidr": "10.0.0.0/16" }]),
            "clusterNetwork" => json!([{ "cidr": "10.128.0.0/14", "hostPrefix": 23 }]),
            _ => json!(["172.30.0.0/16"]),
        };
        self.value["networking"].get(key).cloned().unwrap_or(default)
    }

    fn names(&self, wrong: &mut Vec<String>) {
        let rfc = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.'";
        let fits = |name: &str| {
            let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            !name.is_empty()
                && name
                    .split('.')
                    .all(|label| !label.is_empty() && label.chars().all(good))
        };
        let domain = self.value["baseDomain"].as_str().unwrap_or_default();
        if !fits(domain) {
            wrong.push(format!("baseDomain: Invalid value: {domain:?}: {rfc}"));
        }
        if self.name().is_empty() {
            wrong.push("metadata.name: Required value: cluster name required".to_owned());
        } else if !fits(self.name()) {
            wrong.push(format!("metadata.name: Invalid value: {:?}: {rfc}", self.name()));
        } else if self.name().len() > 54 {
            wrong.push(format!(
                "metadata.name: Invalid value: {:?}: cluster name is too long",
                self.name()
            ));
        }
    }

    fn machines(&self, newer: bool, wrong: &mut Vec<String>) {
        match self.masters() {
            ..=0 => wrong.push("controlPlane.replicas: Invalid value: 0: number of control plane replicas must be positive".to_owned()),
            2 if newer => wrong.push("controlPlane.fencing.credentials: Forbidden: there should be exactly two fencing credentials to support the two node cluster, instead 0 credentials were found".to_owned()),
            _ => {}
        }
        for (at, pool) in self.value["compute"].as_array().into_iter().flatten().enumerate() {
            let name = pool["name"].as_str().unwrap_or_default();
            if !["worker", "edge"].contains(&name) {
                wrong.push(format!(
                    "compute[{at}].name: Unsupported value: {name:?}: supported values: \"worker\", \"edge\""
                ));
            }
        }
        match self.value["platform"].as_object() {
            Some(platform) if platform.contains_key("none") && platform.len() == 1 => {}
            _ => wrong.push(
                "platform: Invalid value: \"\": must specify one of the platforms (this stand-in knows none alone)"
                    .to_owned(),
            ),
        }
        if self.value["publish"] == "Internal" {
            wrong.push(
                "publish: Invalid value: \"Internal\": Internal publish strategy is not supported on \"none\" platform"
                    .to_owned(),
            );
        }
    }

    fn networks(&self, newer: bool, wrong: &mut Vec<String>) {
        if newer && self.network_type() == "OpenShiftSDN" {
            wrong.push("networking.networkType: Invalid value: \"OpenShiftSDN\": networkType OpenShiftSDN is not supported, please use OVNKubernetes".to_owned());
        }
        let mut all: Vec<(String, String, (u32, u32))> = Vec::new();
        for key in ["machineNetwork", "clusterNetwork", "serviceNetwork"] {
            for (at, item) in self.networks_of(key).as_array().into_iter().flatten().enumerate() {
                let text = item.as_str().or(item["cidr"].as_str()).unwrap_or_default().to_owned();
                let field = format!("networking.{key}[{at}]");
                let Some(range) = range(&text) else {
                    wrong.push(format!("{field}: Invalid value: {text:?}: must be in CIDR notation"));
                    continue;
                };
                let prefix = text
                    .split('/')
                    .next_back()
                    .and_then(|prefix| prefix.parse().ok())
                    .unwrap_or(0);
                if item["hostPrefix"].as_i64().is_some_and(|host| host < prefix) {
                    wrong.push(format!("{field}.hostPrefix: Invalid value: {}: cluster network host subnetwork prefix must not be larger size than CIDR {text}", item["hostPrefix"]));
                }
                for (other, there, (first, last)) in &all {
                    if range.0 <= *last && *first <= range.1 {
                        wrong.push(format!(
                            "{field}: Invalid value: {text:?}: {key} must not overlap with {other} {there}"
                        ));
                    }
                }
                all.push((field, text, range));
            }
        }
    }

    fn secrets(&self, newer: bool, wrong: &mut Vec<String>) {
        let secret = self.pull_secret();
        let refused = match serde_json::from_str::<Value>(secret) {
            Err(error) => Some(error.to_string()),
            Ok(value) => match value["auths"].as_object() {
                Some(auths) if auths.is_empty() => Some("auths required".to_owned()),
                None => Some("auths required".to_owned()),
                Some(auths) => auths
                    .iter()
                    .find(|(_, entry)| !entry["auth"].is_string() && !entry["credsStore"].is_string())
                    .map(|(name, _)| format!("{{\"auths\":{{\"{name}\":{{}}}}}} requires either auth or credsStore")),
            },
        };
        if let Some(why) = refused {
            wrong.push(format!("pullSecret: Invalid value: {secret:?}: {why}"));
        }
        for key in self.ssh_keys() {
            let mut words = key.split_whitespace();
            let kind = words.next().unwrap_or_default();
            if !["ssh-", "ecdsa-", "sk-"].iter().any(|start| kind.starts_with(start)) || words.next().is_none() {
                wrong.push(format!("sshKey: Invalid value: {key:?}: ssh: no key found"));
            }
        }
        if newer && self.value["fips"] == true {
            wrong.push("fips: Invalid value: true: use the FIPS-capable installer binary for RHEL 9".to_owned());
        }
    }
}

/// The first and the last address of a network.
fn range(text: &str) -> Option<(u32, u32)> {
    let (address, prefix) = text.split_once('/')?;
    let (address, prefix) = (
        u32::from(address.parse::<Ipv4Addr>().ok()?),
        prefix.parse::<u32>().ok().filter(|prefix| *prefix <= 32)?,
    );
    let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
    Some((address & mask, address | !mask))
}
