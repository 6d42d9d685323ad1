//! What is wrong with an install-config, said before anything runs. The installer finds some of it after minutes, and passes
//! over the rest without a word.

use super::{CONFIG, OpenshiftInstall, SCHEDULER};
use crate::resource::network::Network;
use crate::value::Value;

/// Keys of `install-config.yaml`; the installer ignores others.
const KEYS: &[&str] = &[
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
    "kind",
    "metadata",
    "networking",
    "operatorPublishingStrategy",
    "platform",
    "proxy",
    "publish",
];

/// What OVN-Kubernetes keeps for itself.
const RESERVED: [&str; 3] = ["100.64.0.0/16", "100.88.0.0/16", "169.254.0.0/16"];

/// One sentence for each mistake.
pub(super) fn of(task: &OpenshiftInstall) -> Vec<String> {
    let mut found = Vec::new();
    keys(task, &mut found);
    names(task, &mut found);
    machines(task, &mut found);
    networks(task, &mut found);
    for (name, content) in &task.manifests {
        let file = name.strip_prefix("openshift/").or(name.strip_prefix("manifests/")).unwrap_or(name);
        let taken = [".yaml", ".yml", ".json"].iter().any(|ending| file.ends_with(ending));
        if file.contains('/') || !taken {
            found.push(format!("`manifests`: `{name}` is not the name of a file that ends in .yaml, .yml or .json; the installer leaves others lying"));
        }
        if SCHEDULER.ends_with(file) {
            found.push(format!("`manifests`: {file} is the installer's; `masters_schedulable` edits it"));
        }
        if !matches!(content, Value::Map(_) | Value::Str(_) | Value::Unknown(_)) {
            found.push(format!("`manifests`: `{name}` is a mapping or text"));
        }
    }
    found
}

fn text<'a>(task: &'a OpenshiftInstall, path: &[&str]) -> Option<&'a str> {
    let mut value = task.install_config.get(*path.first()?)?;
    for key in &path[1..] {
        value = value.get(key)?;
    }
    value.as_str()
}

fn keys(task: &OpenshiftInstall, found: &mut Vec<String>) {
    for (name, instead) in [("pullSecret", "pull_secret"), ("sshKey", "ssh_key")] {
        if task.install_config.contains_key(name) {
            found.push(format!("`install_config` has no `{name}`: give `{instead}`"));
        }
    }
    for key in task.install_config.keys().filter(|key| !["pullSecret", "sshKey"].contains(&key.as_str())) {
        if !KEYS.contains(&key.as_str()) {
            found.push(format!("`install_config`: {CONFIG} has no `{key}`; the installer would ignore it without a word"));
        }
    }
    let none = task.install_config.get("platform").and_then(|platform| platform.as_map());
    if none.is_none_or(|platform| platform.len() != 1 || !platform.contains_key("none")) {
        found.push("`install_config`: `platform` is `{none: {}}`; others are not supported".to_owned());
    }
}

/// RFC 1123, 2.1.
fn is_label(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !text.is_empty() && text.len() <= 63 && text.chars().all(fits) && !text.starts_with('-') && !text.ends_with('-')
}

fn names(task: &OpenshiftInstall, found: &mut Vec<String>) {
    match text(task, &["metadata", "name"]) {
        Some(name) if name.split('.').all(is_label) && name.len() <= 54 => {}
        _ => found.push("`install_config`: `metadata: {name: …}` is a name of lower-case letters, digits and `-`, at most 54".to_owned()),
    }
    if !text(task, &["baseDomain"]).is_some_and(|domain| domain.split('.').all(is_label)) {
        found.push("`install_config`: `baseDomain` is a domain in lower case, such as example.org".to_owned());
    }
}

/// A pool's number of machines.
fn replicas(pool: &Value) -> Result<Option<i64>, String> {
    match pool.get("replicas") {
        None => Ok(None),
        Some(Value::Int(number)) if *number >= 0 => Ok(Some(*number)),
        Some(other) => Err(format!("`replicas` is a number from 0 on, not {other}")),
    }
}

fn machines(task: &OpenshiftInstall, found: &mut Vec<String>) {
    match task.install_config.get("controlPlane") {
        None => {}
        Some(pool @ Value::Map(_)) => match replicas(pool) {
            Ok(None | Some(1 | 3 | 5)) if pool.get("name").and_then(Value::as_str) == Some("master") => {}
            Ok(None | Some(1 | 3 | 5)) => found.push("`install_config`: the name of `controlPlane` is `master`".to_owned()),
            Ok(Some(number)) => found.push(format!("`install_config`: a control plane has 1, 3 or 5 machines, not {number}")),
            Err(problem) => found.push(format!("`install_config`: `controlPlane`: {problem}")),
        },
        Some(_) => found.push("`install_config`: `controlPlane` is a mapping with `name` and `replicas`".to_owned()),
    }
    match task.install_config.get("compute") {
        None => {}
        Some(Value::List(pools)) => {
            for pool in pools {
                if !matches!(pool.get("name").and_then(Value::as_str), Some("worker" | "edge")) {
                    found.push("`install_config`: a pool of `compute` is called `worker`".to_owned());
                }
                if let Err(problem) = replicas(pool) {
                    found.push(format!("`install_config`: `compute`: {problem}"));
                }
            }
        }
        Some(_) => found.push("`install_config`: `compute` is a list of pools".to_owned()),
    }
}

/// The networks that the installer will work with, its own defaults among them.
fn given(task: &OpenshiftInstall, key: &str, default: &str) -> Vec<(String, Value)> {
    let list = task.install_config.get("networking").and_then(|networking| networking.get(key)).and_then(Value::as_list);
    let named = |item: &Value| (format!("{key} {}", item.get("cidr").unwrap_or(item)), item.clone());
    match list {
        Some(list) => list.iter().map(named).collect(),
        None => vec![(format!("{key} {default}, which is the installer's own"), default.into())],
    }
}

fn networks(task: &OpenshiftInstall, found: &mut Vec<String>) {
    let sdn = text(task, &["networking", "networkType"]) == Some("OpenShiftSDN");
    if sdn && !task.version.as_deref().is_some_and(has_sdn) {
        found.push("`install_config`: OpenShiftSDN is not offered from 4.15 on; use OVNKubernetes, or say in `version` which older release this is".to_owned());
    }
    let lists = [("machineNetwork", "10.0.0.0/16"), ("clusterNetwork", "10.128.0.0/14"), ("serviceNetwork", "172.30.0.0/16")];
    let mut all: Vec<(String, Network)> = Vec::new();
    for (name, item) in lists.iter().flat_map(|(key, default)| given(task, key, default)) {
        let cidr = item.get("cidr").unwrap_or(&item);
        match Network::new(cidr.as_str().unwrap_or_default()) {
            Ok(network) => all.push((name, network)),
            Err(problem) => found.push(format!("`install_config`: {name}: {problem}")),
        }
        if let (Some(Value::Int(host)), Some((name, network))) = (item.get("hostPrefix"), all.last())
            && *host <= i64::from(network.prefix)
        {
            found.push(format!("`install_config`: {name}: `hostPrefix` {host} leaves no network for a second machine"));
        }
    }
    let reserved = RESERVED.iter().filter(|_| !sdn).filter_map(|text| Some((format!("{text}, which OVN-Kubernetes keeps for itself"), Network::new(text).ok()?)));
    all.extend(reserved);
    for (at, (name, network)) in all.iter().enumerate() {
        for (other, second) in all[at + 1..].iter().filter(|(_, second)| network.overlaps(*second)) {
            let _ = second;
            found.push(format!("`install_config`: {name} overlaps {other}"));
        }
    }
}

/// Whether a release comes before 4.15.
fn has_sdn(version: &str) -> bool {
    let mut numbers = version.split('.').map(|number| number.parse::<u64>().ok());
    matches!((numbers.next().flatten(), numbers.next().flatten()), (Some(4), Some(minor)) if minor < 15)
}
