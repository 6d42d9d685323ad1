//! What happens in the stand-in as time goes by: machines ask for certificates, the bootstrap approves while it runs, nodes
//! become ready, the cluster completes.

use super::objects::{NODES, REQUESTS};
use super::{World, now, request, stamp};
use serde_json::{Value as Json, json};
use std::time::{Duration, Instant};

pub(super) const CLIENT: &str = "kubernetes.io/kube-apiserver-client-kubelet";
pub(super) const SERVING: &str = "kubernetes.io/kubelet-serving";
/// How long the bootstrap lets requests lie; the real one looks every 20 s.
const APPROVES: Duration = Duration::from_millis(300);
const OPERATORS: [&str; 6] = [
    "authentication",
    "console",
    "dns",
    "image-registry",
    "ingress",
    "machine-config",
];

/// A machine that has booted.
#[derive(Debug, Clone)]
pub struct Machine {
    pub name: String,
    pub role: String,
    pub addresses: Vec<String>,
    since: Instant,
    client: Option<String>,
    serving: Option<String>,
}

impl Machine {
    #[must_use]
    pub fn new(name: &str, role: &str, addresses: Vec<String>) -> Machine {
        Machine {
            name: name.to_owned(),
            role: role.to_owned(),
            addresses,
            since: now(),
            client: None,
            serving: None,
        }
    }
}

/// See the module.
#[derive(Default)]
pub(crate) struct Life {
    machines: Vec<Machine>,
    filed: u64,
    bootstrap: Option<Instant>,
    /// Since when all machines are there.
    whole: Option<Instant>,
    installed: bool,
    said: String,
}

impl Life {
    /// A number that was not there before.
    pub(super) fn counter(&mut self) -> u64 {
        self.filed += 1;
        self.filed
    }

    /// Whether the bootstrap machine runs or has run.
    pub(crate) fn bootstrapped(&self) -> bool {
        self.bootstrap.is_some()
    }
}

impl World {
    /// A machine has booted. A second time changes nothing.
    pub fn join(&mut self, machine: Machine) {
        if machine.role == "bootstrap" {
            self.life.bootstrap.get_or_insert_with(now);
            return;
        }
        if self.life.machines.iter().any(|own| own.name == machine.name) {
            return;
        }
        let mut machine = machine;
        let user = "system:serviceaccount:openshift-machine-config-operator:node-bootstrapper";
        let spec = json!({
            "signerName": CLIENT,
            "username": user,
            "groups": ["system:serviceaccounts", "system:serviceaccounts:openshift-machine-config-operator", "system:authenticated"],
            "usages": ["digital signature", "client auth"],
            "request": request(&format!("system:node:{}", machine.name), "system:nodes", &[]),
        });
        machine.client = Some(self.file(spec));
        self.life.machines.push(machine);
    }

    /// Whether a node is there and ready.
    #[must_use]
    pub fn ready(&self, node: &str) -> bool {
        let object = self.objects.get(&format!("{NODES}/{node}"));
        object.is_some_and(|object| object["status"]["conditions"][0]["status"] == "True")
    }

    /// Does what is due.
    pub(crate) fn tick(&mut self) {
        self.bootstrap_approves();
        self.sign();
        self.machines_go_on();
        self.completes();
        self.installs();
    }

    fn bootstrap_approves(&mut self) {
        let runs = self.life.bootstrap.is_some() && !self.bootstrap_complete();
        if !runs {
            return;
        }
        let due = self
            .life
            .machines
            .iter()
            .any(|machine| machine.since.elapsed() > APPROVES);
        for path in self.objects.paths(REQUESTS) {
            let undecided = self
                .objects
                .get(&path)
                .is_some_and(|one| one["status"].get("conditions").is_none());
            if undecided && due {
                let condition = json!([{ "type": "Approved", "status": "True", "reason": "KubectlApprove",
                    "message": "This CSR was approved by kubectl certificate approve." }]);
                self.objects
                    .change(&path, |one| one["status"]["conditions"] = condition);
            }
        }
    }

    /// The signers: an approved request gets its certificate, or a condition that says why not.
    fn sign(&mut self) {
        for path in self.objects.paths(REQUESTS) {
            let Some(one) = self.objects.get(&path) else { continue };
            let conditions = one["status"]["conditions"].as_array().cloned().unwrap_or_default();
            let has = |kind: &str| conditions.iter().any(|one| one["type"] == kind);
            if !has("Approved") || has("Failed") || one["status"].get("certificate").is_some() {
                continue;
            }
            let serving = one["spec"]["signerName"] == SERVING;
            if !serving && one["spec"]["signerName"] != CLIENT {
                continue;
            }
            let signed = self.keys.sign(&one["spec"], serving);
            self.objects.change(&path, |one| match signed {
                Ok(certificate) => one["status"]["certificate"] = certificate.into(),
                Err(message) => {
                    let failed = json!({ "type": "Failed", "status": "True", "reason": "SignerValidationFailure", "message": message });
                    one["status"]["conditions"].as_array_mut().unwrap().push(failed);
                }
            });
        }
    }

    fn issued(&self, request: Option<&String>) -> bool {
        let object = request.and_then(|name| self.objects.get(&format!("{REQUESTS}/{name}")));
        object.is_some_and(|object| object["status"].get("certificate").is_some())
    }

    fn machines_go_on(&mut self) {
        for index in 0..self.life.machines.len() {
            let machine = self.life.machines[index].clone();
            if machine.serving.is_none() && self.issued(machine.client.as_ref()) {
                self.node(&machine, false);
                let user = format!("system:node:{}", machine.name);
                let names: Vec<&str> = std::iter::once(machine.name.as_str())
                    .chain(machine.addresses.iter().map(String::as_str))
                    .collect();
                let spec = json!({
                    "signerName": SERVING,
                    "username": user,
                    "groups": ["system:nodes", "system:authenticated"],
                    "usages": ["digital signature", "server auth"],
                    "request": request(&user, "system:nodes", &names),
                });
                self.life.machines[index].serving = Some(self.file(spec));
            } else if !self.ready(&machine.name) && self.issued(machine.serving.as_ref()) {
                self.node(&machine, true);
            }
        }
    }

    fn node(&mut self, machine: &Machine, ready: bool) {
        let condition = match ready {
            true => json!({ "type": "Ready", "status": "True", "reason": "KubeletReady",
                "message": "kubelet is posting ready status", "lastTransitionTime": stamp(Duration::ZERO) }),
            false => json!({ "type": "Ready", "status": "False", "reason": "KubeletNotReady",
                "message": "container runtime network not ready: NetworkReady=false", "lastTransitionTime": stamp(Duration::ZERO) }),
        };
        let addresses: Vec<Json> = machine
            .addresses
            .iter()
            .map(|text| json!({ "type": "InternalIP", "address": text }))
            .collect();
        let label = match machine.role.as_str() {
            "master" => "node-role.kubernetes.io/control-plane",
            _ => "node-role.kubernetes.io/worker",
        };
        let body = json!({
            "metadata": { "name": machine.name, "labels": { label: "" } },
            "spec": {},
            "status": { "conditions": [condition], "addresses": addresses },
        });
        match self.objects.get(&format!("{NODES}/{}", machine.name)).is_some() {
            true => self.objects.change(&format!("{NODES}/{}", machine.name), |one| {
                one["status"] = body["status"].clone()
            }),
            false => self.objects.put_new(NODES, &machine.name, body),
        }
    }

    fn count_ready(&self, role: &str) -> usize {
        let own = self.life.machines.iter().filter(|machine| machine.role == role);
        own.filter(|machine| self.ready(&machine.name)).count()
    }

    fn completes(&mut self) {
        let done = self.life.bootstrap.is_some() && self.count_ready("master") >= self.options.masters;
        if done && !self.options.faults.stuck {
            self.bootstrap_completes();
        }
    }

    /// The bootstrap is complete, whoever has joined.
    pub fn bootstrap_completes(&mut self) {
        if !self.bootstrap_complete() {
            let collection = "/api/v1/namespaces/kube-system/configmaps";
            self.objects.put_new(
                collection,
                "bootstrap",
                json!({ "metadata": { "name": "bootstrap", "namespace": "kube-system" }, "data": { "status": "complete" } }),
            );
        }
    }

    fn installs(&mut self) {
        let workers = self.count_ready("worker");
        let whole = self.bootstrap_complete() && workers >= self.options.workers;
        match whole {
            true => drop(self.life.whole.get_or_insert_with(now)),
            false => self.life.whole = None,
        }
        let settled = self
            .life
            .whole
            .is_some_and(|since| since.elapsed() >= self.options.settle)
            && (self.life.installed || self.options.hold.as_ref().is_none_or(|file| !file.exists()));
        let said = format!("{settled}/{workers}/{}", self.bootstrap_complete());
        if said == self.life.said {
            return;
        }
        self.life.said = said;
        let degraded = self.options.faults.degraded;
        for operator in OPERATORS {
            let ill = degraded && operator == "authentication";
            self.operator(operator, settled, ill, workers);
        }
        self.version(settled && !degraded, degraded && settled, workers);
        if settled && !self.life.installed {
            self.life.installed = true;
            self.objects.installed(&self.options.domain, &self.keys.ca_pem());
        }
    }

    fn operator(&mut self, operator: &str, settled: bool, ill: bool, workers: usize) {
        // Time runs faster here: who waits until an operator has been still for half a minute need not.
        let since = stamp(Duration::from_secs(60));
        let one = |kind: &str, truth: bool, message: &str| {
            let status = if truth { "True" } else { "False" };
            json!({ "type": kind, "status": status, "reason": "AsExpected", "message": message, "lastTransitionTime": since })
        };
        let rolls = format!("waits for workers: {workers} of {} are ready", self.options.workers);
        let body = json!({
            "metadata": { "name": operator },
            "spec": {},
            "status": { "conditions": [
                one("Available", settled && !ill, ""),
                one("Degraded", ill, if ill { "OAuthServerRouteEndpointAccessibleControllerDegraded: no route to host" } else { "" }),
                one("Progressing", !settled, if settled { "" } else { &rolls }),
            ] },
        });
        self.objects
            .set("/apis/config.openshift.io/v1/clusteroperators", operator, body);
    }

    fn version(&mut self, available: bool, failing: bool, workers: usize) {
        let one = |kind: &str, truth: bool, message: &str| {
            let status = if truth { "True" } else { "False" };
            json!({ "type": kind, "status": status, "message": message, "lastTransitionTime": stamp(Duration::ZERO) })
        };
        let working = format!("Working towards 4.20.0-stand-in: {} of 900 done", 700 + workers * 50);
        let conditions = json!([
            one(
                "Available",
                available,
                if available { "Done applying 4.20.0-stand-in" } else { "" }
            ),
            one(
                "Failing",
                failing,
                if failing {
                    "Cluster operator authentication is degraded"
                } else {
                    ""
                }
            ),
            one(
                "Progressing",
                !available,
                if available {
                    "Cluster version is 4.20.0-stand-in"
                } else {
                    &working
                }
            ),
        ]);
        let body = json!({
            "metadata": { "name": "version" },
            "spec": { "channel": "" },
            "status": { "desired": { "version": "4.20.0-stand-in" }, "conditions": conditions },
        });
        self.objects
            .set("/apis/config.openshift.io/v1/clusterversions", "version", body);
    }
}
