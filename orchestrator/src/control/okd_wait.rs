//! Waits for a stage in the life of a cluster, by the conditions by which the installer itself waits; and says, when it waits
//! in vain, what was seen last and where to look.

use super::api::{Api, ApiError, Json, Seen, Wait};
use super::back::Back;
use super::kube::{at, cluster_params, condition, get, items, name, says, seconds};
use okd_agent::choice;
use okd_agent::diff::Change;
use okd_agent::resource::{Resource, ResourceError, View};
use okd_agent::system::SystemError;
use okd_agent::value::{Map, Value, map};
use serde::Serialize;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// An operator has settled when it has not been progressing for so long.
const SETTLED: i64 = 30;

choice! {
    /// What is waited for.
    pub enum Stage {
        /// The API answers.
        Api = "api",
        /// The bootstrap machine is not needed any more.
        Bootstrap = "bootstrap-complete",
        /// Nodes are ready.
        Nodes = "nodes-ready",
        /// The cluster is installed.
        Install = "install-complete",
    }
}
cluster_params! {
    /// Waits for a stage in the life of a cluster.
    pub struct OkdWait {
        /// What is waited for.
        r#for: Stage,
        /// The nodes, by their short names, for `nodes-ready`.
        nodes: Vec<String>,
        /// Seconds that all of it may take. Without it, the installer's own: 20 minutes until the API answers; 30 more until
        /// the bootstrap is complete; 40 minutes until the cluster's version is there and 30 more until its operators have
        /// settled. Nodes have 30 minutes.
        deadline: Option<u64>,
    }
}

/// It has come to pass.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Reached {
    #[serde(skip)]
    elapsed: u64,
    #[serde(skip)]
    found: Map,
}

impl View for Reached {
    fn changes(&self, _want: &Self) -> Vec<Change> {
        Vec::new()
    }
}

/// A part of a stage, with a limit of its own.
struct Phase {
    what: &'static str,
    /// Seconds.
    limit: u64,
    /// Seconds between two looks.
    pause: u64,
    look: fn(&OkdWait, &dyn Api) -> Result<Seen, ApiError>,
    advice: &'static str,
}

const API: Phase = Phase {
    what: "the cluster's API to answer",
    limit: 20 * 60,
    pause: 2,
    look: |_, world| {
        let version = get(world, "/version")?;
        get(world, "/readyz")?;
        Ok(match at(&version, &["gitVersion"]) {
            "" => Seen::NotYet("/version says no version".to_owned()),
            _ => Seen::Done,
        })
    },
    advice: "HAProxy's port 6443 and its servers; on the bootstrap machine `journalctl -b -u release-image.service -u \
             bootkube.service` and `crictl ps`",
};

const BOOTSTRAP: Phase = Phase {
    what: "the bootstrap to be complete",
    limit: 30 * 60,
    pause: 2,
    look: OkdWait::bootstrap,
    advice: "on the bootstrap machine `journalctl -b -u bootkube.service`; on the masters `journalctl -b -u kubelet.service`: each \
             has to have fetched /config/master from port 22623 and joined etcd",
};

const NODES: Phase = Phase {
    what: "the nodes to be ready",
    limit: 30 * 60,
    pause: 3,
    look: OkdWait::nodes,
    advice: "requests that wait for approval (`okd_csr`); on the node `journalctl -b -u kubelet.service`",
};

const VERSION: Phase = Phase {
    what: "the cluster's version to be available",
    limit: 40 * 60,
    pause: 5,
    look: OkdWait::version,
    advice: "`oc get clusteroperators`, `oc describe clusterversion version`; workers that are not ready, and HAProxy's ports 80 and \
             443, hold the ingress, authentication and console operators up",
};

const OPERATORS: Phase = Phase {
    what: "the cluster's operators to settle",
    limit: 30 * 60,
    pause: 1,
    look: OkdWait::operators,
    advice: "`oc get clusteroperators` and the logs of the operator that still progresses",
};

impl OkdWait {
    fn phases(&self) -> &'static [Phase] {
        match self.r#for {
            Stage::Api => &[API],
            Stage::Bootstrap => &[API, BOOTSTRAP],
            Stage::Nodes => &[NODES],
            Stage::Install => &[VERSION, OPERATORS],
        }
    }

    fn bootstrap(&self, world: &dyn Api) -> Result<Seen, ApiError> {
        let path = "/api/v1/namespaces/kube-system/configmaps/bootstrap";
        match get(world, path) {
            Ok(map) => Ok(match at(&map, &["data", "status"]) {
                "complete" => Seen::Done,
                other => Seen::NotYet(format!("the ConfigMap kube-system/bootstrap says `{other}`")),
            }),
            Err(error) if error.is_missing() => Ok(Seen::NotYet(
                "the API answers; the ConfigMap kube-system/bootstrap is not there yet".to_owned(),
            )),
            Err(error) => Err(error),
        }
    }

    fn nodes(&self, world: &dyn Api) -> Result<Seen, ApiError> {
        let list = get(world, "/api/v1/nodes")?;
        let lacking: Vec<String> = self
            .nodes
            .iter()
            .filter_map(|wanted| lacking(items(&list), wanted))
            .collect();
        Ok(match lacking.is_empty() {
            true => Seen::Done,
            false => Seen::NotYet(lacking.join("; ")),
        })
    }

    fn version(&self, world: &dyn Api) -> Result<Seen, ApiError> {
        let version = match get(world, "/apis/config.openshift.io/v1/clusterversions/version") {
            Ok(version) => version,
            Err(error) if error.is_missing() => {
                return Ok(Seen::NotYet("there is no ClusterVersion yet".to_owned()));
            }
            Err(error) => return Err(error),
        };
        let wanted = [("Available", "True"), ("Failing", "False"), ("Progressing", "False")];
        if wanted.iter().all(|(kind, status)| says(&version, kind, status)) {
            return Ok(Seen::Done);
        }
        let mut lines = vec![standing(&version)];
        if let Ok(list) = get(world, OPERATORS_PATH) {
            lines.extend(items(&list).iter().filter_map(unwell));
        }
        Ok(Seen::NotYet(lines.join("\n")))
    }

    fn operators(&self, world: &dyn Api) -> Result<Seen, ApiError> {
        let list = get(world, OPERATORS_PATH)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let moving: Vec<String> = items(&list)
            .iter()
            .filter(|operator| !settled(operator, now))
            .map(|operator| unwell(operator).unwrap_or_else(|| format!("{}: progressed a moment ago", name(operator))))
            .collect();
        Ok(match (items(&list).is_empty(), moving.is_empty()) {
            (true, _) => Seen::NotYet("there are no ClusterOperators yet".to_owned()),
            (false, true) => Seen::Done,
            (false, false) => Seen::NotYet(moving.join("\n")),
        })
    }

    /// Goes through the parts: waits for each, or in a plan only looks.
    fn reach(&self, world: &dyn Api) -> Result<(), ResourceError> {
        let began = Instant::now();
        for phase in self.phases() {
            let limit = match self.deadline {
                Some(seconds) => Duration::from_secs(seconds).saturating_sub(began.elapsed()),
                None => Duration::from_secs(phase.limit),
            };
            let wait = Wait {
                what: phase.what.to_owned(),
                deadline: limit,
                pause: Duration::from_secs(phase.pause),
                advice: phase.advice.to_owned(),
                predicts: Vec::new(),
            };
            if !world.predicted() {
                world.wait(&wait, &mut || (phase.look)(self, world))?;
                continue;
            }
            let last = match (phase.look)(self, world) {
                Ok(Seen::Done) => continue,
                Ok(Seen::NotYet(text)) => text,
                Err(ApiError::Unknown(reason)) => reason,
                Err(error) if error.passes() => error.to_string(),
                Err(error) => return Err(error.into()),
            };
            let last = last.lines().next().unwrap_or_default();
            return Err(SystemError::Unknown(format!("waits for {}; now: {last}", phase.what)).into());
        }
        Ok(())
    }

    /// What the installer looks at once the cluster is there.
    fn finish(&self, world: &dyn Api) -> Result<Map, ResourceError> {
        let mut found = Map::new();
        if let Ok(version) = world.get("/version") {
            found.insert("kubernetes".to_owned(), at(&version, &["gitVersion"]).into());
        }
        if self.r#for != Stage::Install {
            return Ok(found);
        }
        let path = "/api/v1/namespaces/openshift-config-managed/configmaps/default-ingress-cert";
        let bundle = world.get(path).map_err(|error| match error.is_missing() {
            true => ResourceError::message(
                "the cluster is there, and the ConfigMap openshift-config-managed/default-ingress-cert is not: the ingress \
                 operator has not come up (`oc -n openshift-ingress-operator logs deployment/ingress-operator`)",
            ),
            false => error.into(),
        })?;
        found.insert("ingress_ca".to_owned(), at(&bundle, &["data", "ca-bundle.crt"]).into());
        let version = world.get("/apis/config.openshift.io/v1/clusterversions/version")?;
        found.insert(
            "version".to_owned(),
            at(&version, &["status", "desired", "version"]).into(),
        );
        let console = world.get("/apis/route.openshift.io/v1/namespaces/openshift-console/routes/console");
        let mut warnings = Vec::new();
        let host = console.ok().map(|route| at(&route, &["spec", "host"]).to_owned());
        match host.filter(|host| !host.is_empty()) {
            Some(host) => drop(found.insert("console".to_owned(), format!("https://{host}").into())),
            None => warnings.push(Value::from("the console has no route yet")),
        }
        found.insert("warnings".to_owned(), Value::List(warnings));
        Ok(found)
    }
}

const OPERATORS_PATH: &str = "/apis/config.openshift.io/v1/clusteroperators";

/// The node of a machine: by its short name, or by its full one.
pub(super) fn node_of<'j>(nodes: &'j [Json], wanted: &str) -> Option<&'j Json> {
    let short = |node: &&Json| {
        let own = name(node);
        own == wanted || own.strip_prefix(wanted).is_some_and(|rest| rest.starts_with('.'))
    };
    nodes.iter().find(short)
}

/// What a node lacks to be ready.
pub(super) fn lacking(nodes: &[Json], wanted: &str) -> Option<String> {
    let Some(node) = node_of(nodes, wanted) else {
        return Some(format!("{wanted} is not there"));
    };
    if says(node, "Ready", "True") {
        return None;
    }
    let why = condition(node, "Ready")
        .map(|one| at(one, &["message"]))
        .unwrap_or_default();
    Some(match why {
        "" => format!("{wanted} is not ready"),
        why => format!("{wanted} is not ready: {why}"),
    })
}

/// How the cluster's version stands, in one line.
fn standing(version: &Json) -> String {
    let said = |kind: &str| {
        condition(version, kind).map_or_else(
            || format!("{kind} is not said"),
            |one| format!("{kind}={}", at(one, &["status"])),
        )
    };
    let message = ["Failing", "Progressing"]
        .iter()
        .filter_map(|kind| condition(version, kind).filter(|one| at(one, &["status"]) == "True"))
        .map(|one| at(one, &["message"]))
        .find(|text| !text.is_empty());
    format!(
        "ClusterVersion: {} ({}, {}, {})",
        message.unwrap_or("nothing is said"),
        said("Available"),
        said("Failing"),
        said("Progressing")
    )
}

/// What is wrong with an operator.
fn unwell(operator: &Json) -> Option<String> {
    let wrong: Vec<String> = [("Available", "True"), ("Degraded", "False"), ("Progressing", "False")]
        .iter()
        .filter(|(kind, good)| !says(operator, kind, good))
        .map(|(kind, _)| match condition(operator, kind) {
            Some(one) => format!("{kind}={} ({})", at(one, &["status"]), at(one, &["message"])),
            None => format!("{kind} is not said"),
        })
        .collect();
    (!wrong.is_empty()).then(|| format!("{}: {}", name(operator), wrong.join(", ")))
}

fn settled(operator: &Json, now: i64) -> bool {
    condition(operator, "Progressing").is_some_and(|one| {
        let since = seconds(at(one, &["lastTransitionTime"])).unwrap_or_default();
        at(one, &["status"]) == "False" && now - since > SETTLED
    })
}

impl OkdWait {
    pub(super) fn taken_back(&self, _: &Reached, _: &Map) -> Back {
        Back::never("okd_wait")
    }
}

impl Resource for OkdWait {
    const NAMES: &'static [&'static str] = &["okd_wait"];
    const EXAMPLE: &'static str = "- name: Until the bootstrap machine can go\n  okd_wait:\n    kubeconfig: \"{{ kubeconfig.content | b64decode }}\"\n    server: 192.0.2.1:6443\n    for: bootstrap-complete\n";
    const PREDICTS: &'static str =
        "nothing is waited for in a plan: what has not come to pass is unknown until applied";
    type World = dyn Api;
    type State = Reached;

    fn check(&self) -> Result<(), Vec<String>> {
        let mut wrong = self.connection();
        if (self.r#for == Stage::Nodes) == self.nodes.is_empty() {
            wrong.push("`nodes` goes with `for: nodes-ready`, which needs it".to_owned());
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }

    fn inspect(&self, world: &Self::World) -> Result<Reached, ResourceError> {
        let began = Instant::now();
        self.reach(world)?;
        Ok(Reached {
            found: self.finish(world)?,
            elapsed: began.elapsed().as_secs(),
        })
    }

    fn desire(&self, now: &Reached) -> Result<Reached, ResourceError> {
        Ok(now.clone())
    }

    fn apply(&self, _: &Reached, _: &Reached, _: &Self::World) -> Result<Map, ResourceError> {
        Ok(Map::new())
    }

    fn result(&self, state: &Reached) -> Map {
        let elapsed = i64::try_from(state.elapsed).unwrap_or(i64::MAX);
        let mut result = map([("for", self.r#for.word().into()), ("elapsed", Value::Int(elapsed))]);
        result.extend(state.found.clone());
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn operator(progressing: &str, since: &str) -> Json {
        json!({"metadata": {"name": "ingress"}, "status": {"conditions": [
            {"type": "Available", "status": "True"},
            {"type": "Degraded", "status": "False"},
            {"type": "Progressing", "status": progressing, "lastTransitionTime": since, "message": "rolls out"},
        ]}})
    }

    #[test]
    fn an_operator_has_settled_after_half_a_minute() {
        let at = seconds("2026-11-22T10:00:00Z").unwrap_or_default();
        assert!(settled(&operator("False", "2026-11-22T09:59:29Z"), at));
        assert!(!settled(&operator("False", "2026-11-22T09:59:30Z"), at));
        assert!(!settled(&operator("True", "2026-11-22T09:00:00Z"), at));
        assert!(!settled(&json!({}), at));
        let said = unwell(&operator("True", "2026-11-22T09:00:00Z"));
        assert_eq!(said.as_deref(), Some("ingress: Progressing=True (rolls out)"));
    }

    #[test]
    fn nodes_are_found_by_short_and_full_names() {
        let nodes = [
            json!({"metadata": {"name": "worker-1.okd.example.org"}}),
            json!({"metadata": {"name": "worker-10"}}),
        ];
        assert_eq!(lacking(&nodes, "worker-1").as_deref(), Some("worker-1 is not ready"));
        assert_eq!(lacking(&nodes, "worker-10").as_deref(), Some("worker-10 is not ready"));
        assert_eq!(lacking(&nodes, "worker").as_deref(), Some("worker is not there"));
    }
}
