//! Lets nodes into a cluster: approves the requests for certificates of the machines that are expected, both rounds, and no
//! others. What does not fit is left pending and told; nothing is ever denied.

use super::api::{Api, ApiError, Call, Json, Method, Prediction, Seen, Wait};
use super::back::Back;
use super::judge::{Machine, Round, Rules, approved, pending};
use super::kube::{at, cluster_params, condition, get, items, name, patiently};
use super::okd_wait::{lacking, node_of};
use okd_agent::diff::{Change, Sign};
use okd_agent::resource::{Resource, ResourceError, View};
use okd_agent::value::{Map, Value, map};
use okd_agent::{choice, params};
use serde::Serialize;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

const REQUESTS: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
const NODES: &str = "/api/v1/nodes";
/// How often an approval that somebody was faster with is tried again.
const TRIES: usize = 5;

choice! {
    /// When it is done.
    pub enum Until {
        /// All nodes are ready and have both certificates.
        Ready = "nodes-ready",
        /// What is pending now was looked at.
        Once = "once",
    }
}
params! {
    /// A machine that is expected to join.
    pub struct Joiner {
        /// Its short name.
        name: String,
        /// Its addresses, all that it may ask for.
        addresses: Vec<String>,
    }
}
cluster_params! {
    /// Approves the requests for certificates of the machines that are expected to join a cluster.
    pub struct OkdCsr {
        /// The machines; no other's requests are approved.
        nodes: Vec<Joiner>,
        /// What stands behind the machines' names, `CLUSTER.DOMAIN`.
        domain: String,
        /// Requests that were made before this are refused (RFC 3339, UTC): when the machines were started.
        since: Option<String>,
        /// When it is done.
        until: Until = "nodes-ready",
        /// Seconds that it may take.
        deadline: u64 = "3600",
    }
}

/// A request that may be approved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Approval {
    request: String,
    node: String,
    round: &'static str,
    #[serde(skip)]
    object: Json,
}

/// What can be seen of the nodes that are to join.
#[derive(Debug, Clone, Serialize)]
pub struct Joining {
    approve: Vec<Approval>,
    nodes: BTreeMap<String, &'static str>,
    /// What each node that is not ready lacks.
    #[serde(skip)]
    lacking: Vec<String>,
    #[serde(skip)]
    refused: Vec<(String, String)>,
    #[serde(skip)]
    lists: (Json, Json),
}

impl View for Joining {
    fn changes(&self, want: &Self) -> Vec<Change> {
        let approvals = self.approve.iter().filter(|one| !want.approve.contains(one));
        let mut all: Vec<Change> = approvals
            .map(|one| Change::Item {
                sign: Sign::Added,
                text: format!("approve {}: the {} certificate of {}", one.request, one.round, one.node),
            })
            .collect();
        for (node, before) in &self.nodes {
            let after = want.nodes.get(node).unwrap_or(before);
            if before != after {
                all.push(Change::Field {
                    of: node.clone(),
                    name: "state".to_owned(),
                    before: (*before).to_owned(),
                    after: (*after).to_owned(),
                });
            }
        }
        all
    }
}

impl Joining {
    fn done(&self) -> bool {
        self.approve.is_empty() && self.nodes.values().all(|state| *state == "Ready")
    }

    /// For people, the short of it first.
    fn standing(&self) -> String {
        let mut text = match self.lacking.is_empty() {
            true => "requests are approved".to_owned(),
            false => self.lacking.join("; "),
        };
        for (request, reason) in &self.refused {
            text.push_str(&format!("\nnot approved: {request}: {reason}"));
        }
        text
    }
}

impl OkdCsr {
    fn machines(&self) -> Result<Vec<Machine>, String> {
        let machine = |joiner: &Joiner| {
            let addresses: Result<Vec<IpAddr>, String> = joiner
                .addresses
                .iter()
                .map(|text| {
                    text.parse()
                        .map_err(|_| format!("`{text}` of {} is no address", joiner.name))
                })
                .collect();
            Ok(Machine {
                name: joiner.name.clone(),
                addresses: addresses?,
            })
        };
        self.nodes.iter().map(machine).collect()
    }

    fn look(&self, world: &dyn Api) -> Result<Joining, ApiError> {
        let (nodes, requests) = (get(world, NODES)?, get(world, REQUESTS)?);
        let machines = self.machines().map_err(ApiError::Lost)?;
        let rules = Rules {
            machines: &machines,
            domain: self.domain.trim_matches('.'),
            since: self.since.as_deref(),
            nodes: items(&nodes),
            requests: items(&requests),
        };
        let mut joining = Joining {
            approve: Vec::new(),
            nodes: BTreeMap::new(),
            lacking: Vec::new(),
            refused: Vec::new(),
            lists: (Json::Null, Json::Null),
        };
        for request in items(&requests) {
            match pending(request).then(|| rules.judge(request)) {
                Some(Ok((node, round))) => joining.approve.push(Approval {
                    request: name(request).to_owned(),
                    node,
                    round: Round::word(round),
                    object: request.clone(),
                }),
                Some(Err(reason)) => joining.refused.push((name(request).to_owned(), reason)),
                None => joining.refused.extend(failed(request)),
            }
        }
        for machine in &machines {
            let lacks = lacking(items(&nodes), &machine.name);
            let state = match (&lacks, node_of(items(&nodes), &machine.name)) {
                (Some(_), None) => "not there",
                (Some(_), Some(_)) => "not ready",
                (None, _) if !rules.served(machine) => "without a serving certificate",
                (None, _) => "Ready",
            };
            joining.lacking.extend(lacks);
            if state == "without a serving certificate" {
                joining.lacking.push(format!("{} is {state}", machine.name));
            }
            joining.nodes.insert(machine.name.clone(), state);
        }
        joining.lists = (nodes, requests);
        Ok(joining)
    }

    /// Approves one; whether it was, and not changed by someone else meanwhile.
    fn approve(&self, world: &dyn Api, approval: &Approval, after: Option<Json>) -> Result<bool, ApiError> {
        let mut object = approval.object.clone();
        decide(&mut object, approval);
        let mut call = Call::new(Method::Put, format!("{REQUESTS}/{}/approval", approval.request)).bearing(object);
        if let Some(list) = after {
            call.predicts.push((REQUESTS.to_owned(), Prediction::Answer(list)));
        }
        match world.send(&call) {
            Ok(_) => Ok(true),
            Err(error) if error.is_conflict() || error.is_missing() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The lists as they will be when all nodes are ready.
    fn predicted(&self, now: &Joining) -> Vec<(String, Prediction)> {
        let mut nodes: Vec<Json> = items(&now.lists.0).to_vec();
        for joiner in &self.nodes {
            let ready = serde_json::json!([{ "type": "Ready", "status": "True" }]);
            let place = nodes
                .iter()
                .position(|node| node_of(std::slice::from_ref(node), &joiner.name).is_some());
            match place.and_then(|place| nodes.get_mut(place)) {
                Some(node) => node["status"]["conditions"] = ready,
                None => nodes.push(serde_json::json!({
                    "metadata": { "name": joiner.name }, "status": { "conditions": ready },
                })),
            }
        }
        let undecided =
            |request: &&Json| !approved(request) && !now.approve.iter().any(|one| one.request == name(request));
        let requests: Vec<&Json> = items(&now.lists.1).iter().filter(undecided).collect();
        let answer = |list: Json| Prediction::Answer(serde_json::json!({ "items": list }));
        vec![
            (NODES.to_owned(), answer(Json::Array(nodes))),
            (REQUESTS.to_owned(), answer(serde_json::json!(requests))),
        ]
    }
}

/// What became of a request that was approved and then failed.
fn failed(request: &Json) -> Option<(String, String)> {
    let failed = condition(request, "Failed")?;
    let reason = format!("it was approved and then failed: {}", at(failed, &["message"]));
    Some((name(request).to_owned(), reason))
}

fn decide(object: &mut Json, approval: &Approval) {
    let condition = serde_json::json!({
        "type": "Approved",
        "status": "True",
        "reason": "OkdPlayApproved",
        "message": format!("the {} certificate of {}, a machine of the topology", approval.round, approval.node),
    });
    object["status"]["conditions"] = serde_json::json!([condition]);
}

impl OkdCsr {
    pub(super) fn taken_back(&self, _: &Joining, _: &Map) -> Back {
        Back::never("okd_csr")
    }
}

impl Resource for OkdCsr {
    const NAMES: &'static [&'static str] = &["okd_csr"];
    const EXAMPLE: &'static str = "- name: Let the workers in\n  okd_csr:\n    kubeconfig: \"{{ kubeconfig.content | b64decode }}\"\n    domain: okd.example.org\n    nodes:\n      - {name: worker-1, addresses: [10.0.0.5]}\n      - {name: worker-2, addresses: [10.0.0.6]}\n";
    const PREDICTS: &'static str = "the requests that are pending and would be approved, and the nodes that would become ready; what will \
        be requested later is not known";
    type World = dyn Api;
    type State = Joining;

    fn check(&self) -> Result<(), Vec<String>> {
        let mut wrong = self.connection();
        if self.nodes.is_empty() {
            wrong.push("`nodes` names no machine".to_owned());
        }
        wrong.extend(self.machines().err());
        if let Some(joiner) = self.nodes.iter().find(|joiner| joiner.addresses.is_empty()) {
            wrong.push(format!("{} has no `addresses`", joiner.name));
        }
        if self
            .since
            .as_deref()
            .is_some_and(|text| super::kube::seconds(text).is_none())
        {
            wrong.push("`since` is a time such as 2026-11-22T10:00:00Z".to_owned());
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }

    fn inspect(&self, world: &Self::World) -> Result<Joining, ResourceError> {
        Ok(patiently(world, || self.look(world))?)
    }

    fn desire(&self, now: &Joining) -> Result<Joining, ResourceError> {
        let mut want = now.clone();
        want.approve.clear();
        if self.until == Until::Ready {
            want.nodes.values_mut().for_each(|state| *state = "Ready");
        }
        Ok(want)
    }

    fn apply(&self, now: &Joining, _: &Joining, world: &Self::World) -> Result<Map, ResourceError> {
        let mut done = Vec::new();
        let mut last = now.clone();
        if self.until == Until::Once {
            for _ in 0..TRIES {
                let mut requests = last.lists.1.clone();
                for approval in &last.approve {
                    if let Some(list) = requests.get_mut("items").and_then(Json::as_array_mut) {
                        let own = list.iter_mut().filter(|one| name(one) == approval.request);
                        own.for_each(|one| decide(one, approval));
                    }
                    if self.approve(world, approval, Some(requests.clone()))? {
                        done.push(approval.clone());
                    }
                }
                last = self.look(world)?;
                // What was asked for meanwhile is the next step's.
                last.approve
                    .retain(|one| now.approve.iter().any(|own| own.request == one.request));
                if last.approve.is_empty() {
                    break;
                }
            }
            return Ok(told(&done, &last.refused));
        }
        let wait = Wait {
            what: "the nodes to join".to_owned(),
            deadline: Duration::from_secs(self.deadline),
            pause: Duration::from_secs(2),
            advice: "on a machine that is not there `journalctl -b -u kubelet.service`: it has to have fetched its configuration from \
                     port 22623; `oc get csr` lists the requests"
                .to_owned(),
            predicts: self.predicted(now),
        };
        world.wait(&wait, &mut || {
            last = self.look(world)?;
            for approval in &last.approve {
                if self.approve(world, approval, None)? {
                    done.push(approval.clone());
                }
            }
            Ok(match last.done() {
                true => Seen::Done,
                false => Seen::NotYet(last.standing()),
            })
        })?;
        Ok(told(&done, &last.refused))
    }

    fn result(&self, state: &Joining) -> Map {
        told(&[], &state.refused)
    }

    fn notes(&self, now: &Joining, _: &Joining) -> Vec<String> {
        let refused = now.refused.iter();
        refused
            .map(|(request, reason)| format!("{request} is not approved: {reason}"))
            .collect()
    }
}

/// What `register` holds.
fn told(approved: &[Approval], refused: &[(String, String)]) -> Map {
    let approved = approved.iter().map(|one| {
        Value::Map(map([
            ("name", one.request.as_str().into()),
            ("node", one.node.as_str().into()),
            ("round", one.round.into()),
        ]))
    });
    let refused = refused.iter().map(|(request, reason)| {
        Value::Map(map([
            ("name", request.as_str().into()),
            ("reason", reason.as_str().into()),
        ]))
    });
    map([
        ("approved", Value::List(approved.collect())),
        ("refused", Value::List(refused.collect())),
    ])
}
