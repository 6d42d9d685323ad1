//! The kinds of the cluster's API over its stand-in: the four laws, which requests for certificates are approved and which
//! are not, and what is said when a cluster does not come up.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    missing_docs
)]

use okd_agent::diff::Change;
use okd_agent::resource::{Failure, Outcome, Status};
use okd_agent::value::{Map, Value, map};
use okd_play::control::ApiKind;
use okd_play::control::api::{Call, Method};
use okd_play::control::back::Back;
use okd_play::control::overlay::Overlay;
use okd_tests::cluster::{Faults, Keys, Options, StandIn, request};
use std::process::{Command, Output};
use std::time::Duration;

type End = Result<Outcome, Box<Failure>>;

const BOOTSTRAPPER: &str = "system:serviceaccount:openshift-machine-config-operator:node-bootstrapper";

fn value(json: &serde_json::Value) -> Value {
    match json {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(truth) => Value::Bool(*truth),
        serde_json::Value::Number(number) => Value::Int(number.as_i64().unwrap()),
        serde_json::Value::String(text) => Value::from(text.as_str()),
        serde_json::Value::Array(list) => Value::List(list.iter().map(value).collect()),
        serde_json::Value::Object(entries) => Value::Map(
            entries
                .iter()
                .map(|(name, inner)| (name.clone(), value(inner)))
                .collect(),
        ),
    }
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap()
}

/// A kind with its own arguments.
struct Wish {
    name: &'static str,
    args: Map,
}

fn wish(name: &'static str, args: &str) -> Wish {
    let Value::Map(args) = value(&json(args)) else {
        panic!("arguments are a mapping")
    };
    Wish { name, args }
}

impl Wish {
    fn at(&self, server: &StandIn) -> ApiKind {
        let mut args = map([
            ("kubeconfig", server.kubeconfig.as_str().into()),
            ("server", server.api.to_string().into()),
        ]);
        args.extend(self.args.clone());
        let kind = ApiKind::decode(self.name, &args).unwrap().unwrap();
        kind.check().unwrap();
        kind
    }

    fn apply(&self, server: &StandIn) -> End {
        let kind = self.at(server);
        kind.converge(kind.endpoint().client().unwrap().as_ref(), None)
    }

    fn plan(&self, server: &StandIn) -> End {
        let kind = self.at(server);
        kind.converge(&Overlay::new(kind.endpoint().client().unwrap()), None)
    }
}

/// The line of a kubeconfig that nobody may be shown.
fn client_key(server: &StandIn) -> &str {
    let mut lines = server.kubeconfig.lines();
    lines.find(|line| line.contains("client-key-data")).unwrap().trim()
}

/// Fidelity, idempotence, and that a plan touches nothing; from the same start in both worlds.
fn laws(wish: &Wish, start: impl Fn() -> StandIn) -> Outcome {
    let (planned_at, applied_at) = (start(), start());
    let before = planned_at.writes();
    let (kind, real) = (wish.at(&planned_at), wish.at(&applied_at));
    let plan = Overlay::new(kind.endpoint().client().unwrap());
    let client = real.endpoint().client().unwrap();
    let predicted = kind.converge(&plan, None).unwrap();
    let there = stored(&applied_at, &predicted);
    let (applied, back) = real.applied(client.as_ref(), None).unwrap();
    assert_eq!(planned_at.writes(), before, "the plan touched the server");
    let shown = format!("{:?}", wish.args);
    let anonymous = |diff: &[Change]| -> Vec<String> { diff.iter().map(|change| format!("{change:?}")).collect() };
    assert_eq!(
        anonymous(&predicted.diff),
        anonymous(&applied.diff),
        "fidelity of {shown}"
    );
    assert_eq!(predicted.status, applied.status, "fidelity of {shown}");
    let again = kind.converge(&plan, None).unwrap();
    let real_again = real.converge(client.as_ref(), None).unwrap();
    assert_eq!(real_again.diff, Vec::<Change>::new(), "idempotence of {shown}");
    assert_eq!(again.diff, Vec::<Change>::new(), "idempotence in the plan of {shown}");
    assert_eq!(again.fingerprint, real_again.fingerprint, "what is seen after {shown}");
    let key = client_key(&applied_at);
    assert!(!format!("{applied:?}").contains(key), "silence");
    assert_eq!(back.is_some(), applied.status == Status::Changed, "{shown}");
    if let Some(back) = back {
        returns(&applied_at, &back, &there, &applied);
    }
    applied
}

/// The object that a step is about, without what the server counts.
fn stored(server: &StandIn, outcome: &Outcome) -> Option<serde_json::Value> {
    let path = outcome.result.get("path")?.as_str()?.to_owned();
    let mut object = server.world().objects.get(&path)?.clone();
    let metadata = object["metadata"].as_object_mut().unwrap();
    metadata.retain(|key, _| !["uid", "resourceVersion", "creationTimestamp"].contains(&key.as_str()));
    Some(object)
}

/// The fourth law: what takes a step back brings what was there before, or it says why there is none.
fn returns(server: &StandIn, back: &Back, before: &Option<serde_json::Value>, applied: &Outcome) {
    let Some(args) = &back.args else {
        let why = [
            "a certificate that was issued is not called back",
            "what a Secret holds is in no journal",
        ];
        return assert!(why.contains(&back.lost.as_str()), "{back:?}");
    };
    assert_eq!((back.stays(false), &back.forced), (Vec::new(), &None));
    let Value::Map(args) = value(args) else { panic!() };
    let kind = ApiKind::decode(&back.module, &args).unwrap().unwrap();
    kind.check().unwrap();
    let client = kind.endpoint().client().unwrap();
    let outcome = kind.converge(client.as_ref(), None).unwrap();
    assert_eq!(outcome.status, Status::Changed);
    assert_eq!(stored(server, applied), *before, "what takes it back: {args:?}");
}

fn options(masters: usize, workers: usize) -> Options {
    Options {
        masters,
        workers,
        ..Options::default()
    }
}

/// A cluster whose bootstrap is complete, with masters that joined unaided.
fn bootstrapped(workers: usize) -> StandIn {
    let server = StandIn::start(options(1, workers));
    server.join("bootstrap", "bootstrap", &["10.0.0.7"]);
    server.join("master-1", "master", &["10.0.0.2"]);
    okd_tests::until("the bootstrap is complete", 30, || {
        server.world().bootstrap_complete().then_some(())
    });
    server
}

/// A finished cluster, from its first moment.
fn installed() -> StandIn {
    let server = StandIn::start(Options {
        settle: Duration::ZERO,
        ..options(0, 0)
    });
    server.world().bootstrap_completes();
    server
}

fn workers() -> Wish {
    wish(
        "okd_csr",
        r#"{"domain": "okd.example.org", "deadline": 60, "nodes": [{"name": "worker-1", "addresses": ["10.0.0.5"]}]}"#,
    )
}

#[test]
fn a_cluster_comes_up_as_its_machines_join() {
    let server = StandIn::start(options(1, 1));
    let wait = |stage: &str| wish("okd_wait", &format!(r#"{{"for": "{stage}", "deadline": 60}}"#));
    let Status::Unknown(reason) = wait("bootstrap-complete").plan(&server).unwrap().status else {
        panic!("it is not complete")
    };
    assert!(
        reason.contains("waits for the bootstrap") && reason.contains("kube-system/bootstrap"),
        "{reason}"
    );
    assert_eq!(wait("api").apply(&server).unwrap().status, Status::Same);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| wait("bootstrap-complete").apply(&server).unwrap());
        server.join("bootstrap", "bootstrap", &["10.0.0.7"]);
        server.join("master-1", "master", &["10.0.0.2"]);
        assert_eq!(waiting.join().unwrap().status, Status::Same);
    });
    server.join("worker-1", "worker", &["10.0.0.5"]);
    let approved = workers().apply(&server).unwrap();
    let rounds: Vec<String> = approved.result["approved"]
        .as_list()
        .unwrap()
        .iter()
        .map(|one| one.get("round").unwrap().to_string())
        .collect();
    assert_eq!(rounds, ["client", "serving"]);
    assert_eq!(workers().apply(&server).unwrap().status, Status::Same);
    let ready = wish(
        "okd_wait",
        r#"{"for": "nodes-ready", "nodes": ["master-1", "worker-1"]}"#,
    );
    assert_eq!(ready.plan(&server).unwrap().status, Status::Same);
    let done = wait("install-complete").apply(&server).unwrap();
    assert_eq!(done.result["version"].to_string(), "4.20.0-stand-in");
    assert_eq!(
        done.result["console"].to_string(),
        "https://console-openshift-console.apps.okd.example.org"
    );
    assert_eq!(wait("install-complete").plan(&server).unwrap().status, Status::Same);
}

#[test]
fn approvals_keep_the_laws() {
    let joining = || {
        let server = bootstrapped(1);
        server.join("worker-1", "worker", &["10.0.0.5"]);
        server
    };
    let outcome = laws(&workers(), joining);
    assert_eq!(outcome.status, Status::Changed);
    let joined = || {
        let server = joining();
        workers().apply(&server).unwrap();
        server
    };
    assert_eq!(laws(&workers(), joined).status, Status::Same);
    let mut once = workers();
    once.args.insert("until".to_owned(), "once".into());
    let server = joining();
    assert_eq!(
        once.apply(&server).unwrap().result["approved"].as_list().unwrap().len(),
        1
    );
}

/// Who asks for what, and a part of the reason for which it is not approved.
fn wrong_requests() -> Vec<(serde_json::Value, &'static str)> {
    let bootstrap_groups = [
        "system:serviceaccounts",
        "system:serviceaccounts:openshift-machine-config-operator",
        "system:authenticated",
    ];
    let client = |csr: String| {
        serde_json::json!({ "signerName": "kubernetes.io/kube-apiserver-client-kubelet", "username": BOOTSTRAPPER,
            "groups": bootstrap_groups, "usages": ["digital signature", "key encipherment", "client auth"], "request": csr })
    };
    let serving = |user: &str, csr: String| {
        serde_json::json!({ "signerName": "kubernetes.io/kubelet-serving", "username": user,
            "groups": ["system:nodes", "system:authenticated"], "usages": ["digital signature", "server auth"], "request": csr })
    };
    let with = |mut spec: serde_json::Value, key: &str, value: serde_json::Value| {
        spec[key] = value;
        spec
    };
    let (node, master) = ("system:node:worker-1", "system:node:master-1");
    let own = || request(node, "system:nodes", &["worker-1", "10.0.0.5"]);
    let nodes = "system:nodes";
    let mut forged = okd_base64(&request(node, nodes, &[]));
    let at = forged.len() - 60;
    forged.replace_range(at..at + 1, if &forged[at..=at] == "A" { "B" } else { "A" });
    vec![
        (
            client(request(node, "system:masters", &[])),
            "organization is system:masters",
        ),
        (
            client(request("system:node:stranger", nodes, &[])),
            "no machine of the topology",
        ),
        (client(request("worker-1", nodes, &[])), "not system:node:NAME"),
        (client(request(master, nodes, &[])), "master-1 is there already"),
        (client(request(node, nodes, &["worker-1"])), "further names"),
        (client(encoded(&forged)), "signature"),
        (
            with(client(request(node, nodes, &[])), "username", "system:admin".into()),
            "not the node bootstrapper",
        ),
        (
            with(
                client(request(node, nodes, &[])),
                "groups",
                json(r#"["system:authenticated"]"#),
            ),
            "other groups",
        ),
        (
            with(
                client(request(node, nodes, &[])),
                "usages",
                json(r#"["digital signature", "client auth", "server auth"]"#),
            ),
            "`server auth` too",
        ),
        (
            with(
                client(request(node, nodes, &[])),
                "signerName",
                "kubernetes.io/legacy-unknown".into(),
            ),
            "no kubelet's",
        ),
        (serving(BOOTSTRAPPER, own()), "which is no node"),
        (serving(master, own()), "asked for a certificate of"),
        (serving(node, own()), "there is no node worker-1 yet"),
        (
            serving(master, request(master, nodes, &[])),
            "neither a DNS name nor an address",
        ),
        (
            serving(master, request(master, nodes, &["master-1", "api.okd.example.org"])),
            "api.okd.example.org, which is not master-1's",
        ),
        (
            serving(master, request(master, nodes, &["10.0.0.1"])),
            "10.0.0.1, which is not master-1's",
        ),
        (
            serving(master, request(master, nodes, &["master-1", "a@example.org"])),
            "neither DNS names nor addresses",
        ),
        (
            serving(master, request(master, nodes, &["master-1", "https://example.org/"])),
            "neither DNS names nor addresses",
        ),
    ]
}

fn okd_base64(text: &str) -> String {
    use base64ct::{Base64, Encoding};
    String::from_utf8(Base64::decode_vec(text).unwrap()).unwrap()
}

fn encoded(text: &str) -> String {
    use base64ct::{Base64, Encoding};
    Base64::encode_string(text.as_bytes())
}

#[test]
fn what_does_not_fit_the_topology_is_left_pending_with_its_reason() {
    let server = bootstrapped(1);
    let mut expected: Vec<(String, &str)> = Vec::new();
    for (spec, reason) in wrong_requests() {
        let name = server.world().file(spec);
        expected.push((name, reason));
    }
    let before = server.writes();
    let both = wish(
        "okd_csr",
        r#"{"domain": "okd.example.org", "until": "once", "nodes": [
            {"name": "master-1", "addresses": ["10.0.0.2"]}, {"name": "worker-1", "addresses": ["10.0.0.5"]}]}"#,
    );
    let end = both.apply(&server).unwrap();
    assert_eq!(end.status, Status::Same, "{:?}", end.diff);
    assert_eq!(server.writes(), before, "nothing is approved, nothing denied");
    let refused = end.result["refused"].as_list().unwrap();
    for (name, reason) in expected {
        let own = refused
            .iter()
            .find(|one| one.get("name").unwrap().to_string() == name)
            .unwrap();
        let said = own.get("reason").unwrap().to_string();
        assert!(said.contains(reason), "{said} is not about {reason}");
    }
}

#[test]
fn the_stand_in_issues_what_the_real_server_issues() {
    let server = bootstrapped(1);
    let kind = workers().at(&server);
    let client = kind.endpoint().client().unwrap();
    let path = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
    let general = serde_json::json!({ "apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest",
        "metadata": { "name": "general" }, "spec": { "signerName": "kubernetes.io/kube-apiserver-client", "usages": ["client auth"],
        "request": request("me", "system:masters", &[]) } });
    let error = client
        .send(&Call::new(Method::Post, path).bearing(general))
        .unwrap_err();
    assert!(
        error.to_string().contains("system:masters group is not allowed"),
        "{error}"
    );
    let decided: Vec<(String, &str)> = wrong_requests()
        .into_iter()
        .map(|(spec, reason)| (server.world().file(spec), reason))
        .collect();
    for (name, reason) in decided {
        let mut object = client.get(&format!("{path}/{name}")).unwrap();
        object["status"]["conditions"] =
            json(r#"[{"type": "Approved", "status": "True", "reason": "test", "message": ""}]"#);
        client
            .send(&Call::new(Method::Put, format!("{path}/{name}/approval")).bearing(object.clone()))
            .unwrap();
        let after = client.get(&format!("{path}/{name}")).unwrap();
        let failed = after["status"]["conditions"]
            .as_array()
            .unwrap()
            .iter()
            .any(|one| one["type"] == "Failed");
        let checked = [
            "organization is",
            "not system:node:NAME",
            "further names",
            "neither",
            "signature",
            "`server auth` too",
        ];
        let fails = checked.iter().any(|part| reason.contains(part));
        assert_eq!(failed, fails, "{reason}: {after}");
        let issues = !fails && reason != "no kubelet's";
        assert_eq!(after["status"].get("certificate").is_some(), issues, "{reason}");
        let conflict = client.send(&Call::new(Method::Put, format!("{path}/{name}/approval")).bearing(object));
        assert!(conflict.unwrap_err().is_conflict());
    }
}

#[test]
fn a_second_request_of_a_node_that_was_let_in_is_refused() {
    let server = bootstrapped(1);
    server.join("worker-1", "worker", &["10.0.0.5"]);
    workers().apply(&server).unwrap();
    let spec = wrong_requests().swap_remove(4).0;
    let mut spec = spec;
    spec["request"] = request("system:node:worker-1", "system:nodes", &[]).into();
    server.world().file(spec);
    let end = workers().apply(&server).unwrap();
    assert_eq!(end.status, Status::Same);
    assert!(
        format!("{:?}", end.result["refused"]).contains("is there already"),
        "{:?}",
        end.result
    );
}

#[test]
fn a_node_that_does_not_come_is_named_with_what_was_refused() {
    let server = bootstrapped(1);
    server.world().file(wrong_requests().swap_remove(1).0);
    let mut wish = workers();
    wish.args.insert("deadline".to_owned(), Value::Int(1));
    let failure = wish.apply(&server).unwrap_err();
    for part in [
        "waited 1 s in vain",
        "worker-1 is not there",
        "no machine of the topology is called stranger",
        "where to look",
    ] {
        assert!(failure.message.contains(part), "{part} is not in {}", failure.message);
    }
}

fn object(definition: &str, more: &str) -> Wish {
    wish("okd_object", &format!(r#"{{"definition": {definition}{more}}}"#))
}

const SECRET: &str = r#"{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "htpasswd", "namespace": "openshift-config"},
    "type": "Opaque", "stringData": {"htpasswd": "admin:$2y$05$p0is0n"}}"#;
const OAUTH: &str = r#"{"apiVersion": "config.openshift.io/v1", "kind": "OAuth", "metadata": {"name": "cluster"},
    "spec": {"identityProviders": [{"name": "htpasswd", "mappingMethod": "claim", "type": "HTPasswd",
        "htpasswd": {"fileData": {"name": "htpasswd"}}}]}}"#;
const REGISTRY: &str = r#"{"apiVersion": "imageregistry.operator.openshift.io/v1", "kind": "Config", "metadata": {"name": "cluster"},
    "spec": {"managementState": "Managed", "storage": {"emptyDir": {}}, "replicas": null}}"#;

#[test]
fn objects_keep_the_laws() {
    let made = |definition: &'static str| {
        move || {
            let server = installed();
            object(definition, "").apply(&server).unwrap();
            server
        }
    };
    let outcome = laws(&object(SECRET, ""), installed);
    assert_eq!(outcome.status, Status::Changed);
    assert!(!format!("{outcome:?}").contains("p0is0n"), "{outcome:?}");
    assert_eq!(laws(&object(SECRET, ""), made(SECRET)).status, Status::Same);
    let as_data = SECRET
        .replace("stringData", "data")
        .replace("admin:$2y$05$p0is0n", &encoded("admin:$2y$05$p0is0n"));
    assert_eq!(laws(&object(&as_data, ""), made(SECRET)).status, Status::Same);
    let other = laws(&object(&SECRET.replace("p0is0n", "0ther"), ""), made(SECRET));
    assert_eq!(other.status, Status::Changed);
    assert!(
        !format!("{other:?}").contains("p0is0n") && !format!("{other:?}").contains("0ther"),
        "{other:?}"
    );
    assert_eq!(laws(&object(OAUTH, ""), installed).status, Status::Changed);
    assert_eq!(
        laws(&object(REGISTRY, r#", "state": "patched""#), installed).status,
        Status::Changed
    );
    assert_eq!(
        laws(&object(SECRET, r#", "state": "absent""#), made(SECRET)).status,
        Status::Changed
    );
    assert_eq!(
        laws(&object(SECRET, r#", "state": "absent""#), installed).status,
        Status::Same
    );
}

#[test]
fn what_was_not_given_of_an_object_is_kept() {
    let server = installed();
    object(REGISTRY, "").apply(&server).unwrap();
    let stored = server
        .world()
        .objects
        .get("/apis/imageregistry.operator.openshift.io/v1/configs/cluster")
        .cloned()
        .unwrap();
    assert_eq!(
        stored["spec"],
        json(r#"{"managementState": "Managed", "logLevel": "Normal", "storage": {"emptyDir": {}}}"#)
    );
}

#[test]
fn an_object_that_cannot_be_is_refused_with_what_can() {
    let server = installed();
    let refused = |definition: &str, more: &str| object(definition, more).apply(&server).unwrap_err().message;
    let kind = refused(&OAUTH.replace("OAuth", "Oauth"), "");
    assert!(kind.contains("no kind Oauth") && kind.contains("OAuth"), "{kind}");
    let group = refused(&OAUTH.replace("config.openshift.io/v1", "config.example.org/v1"), "");
    assert!(group.contains("does not serve config.example.org/v1"), "{group}");
    let place = refused(&SECRET.replace(r#", "namespace": "openshift-config""#, ""), "");
    assert!(place.contains("metadata.namespace"), "{place}");
    let missing = refused(SECRET, r#", "state": "patched""#);
    assert!(missing.contains("does not make it"), "{missing}");
    // A plan is made before operators have made what they make.
    let planned = object(SECRET, r#", "state": "patched""#).plan(&server).unwrap().status;
    assert!(
        matches!(&planned, Status::Unknown(reason) if reason.contains("another makes it")),
        "{planned:?}"
    );
    let namespace = refused(&SECRET.replace("openshift-config", "nowhere"), "");
    assert!(namespace.contains("namespaces \"nowhere\" not found"), "{namespace}");
}

#[test]
fn a_server_of_another_cluster_is_named_at_once() {
    let server = StandIn::start(options(1, 0));
    let foreign = Keys::make("okd.example.org").kubeconfig("okd.example.org");
    for stage in ["api", "install-complete"] {
        let mut wish = wish("okd_wait", &format!(r#"{{"for": "{stage}"}}"#));
        wish.args.insert("kubeconfig".to_owned(), foreign.as_str().into());
        let failure = wish.apply(&server).unwrap_err();
        assert!(
            failure.message.contains("TLS") && failure.message.contains("another installation"),
            "{}",
            failure.message
        );
    }
    let named = server
        .kubeconfig
        .replace("https://api.okd.example.org", "https://api.other.example.org");
    let mut wish = wish("okd_wait", r#"{"for": "api"}"#);
    wish.args.insert("kubeconfig".to_owned(), named.into());
    assert!(wish.apply(&server).unwrap_err().message.contains("TLS"));
}

#[test]
fn what_was_seen_last_is_told_when_it_waited_in_vain() {
    let faulty = |faults: Faults, stage: &str, seconds: u64| {
        let server = StandIn::start(Options {
            faults,
            ..options(1, 0)
        });
        server.join("bootstrap", "bootstrap", &["10.0.0.7"]);
        server.join("master-1", "master", &["10.0.0.2"]);
        let wish = wish("okd_wait", &format!(r#"{{"for": "{stage}", "deadline": {seconds}}}"#));
        wish.apply(&server).unwrap_err().message
    };
    let stuck = Faults {
        stuck: true,
        ..Faults::default()
    };
    let said = faulty(stuck, "bootstrap-complete", 3);
    assert!(
        said.contains("is not there yet") && said.contains("bootkube.service"),
        "{said}"
    );
    let degraded = Faults {
        degraded: true,
        ..Faults::default()
    };
    let said = faulty(degraded, "install-complete", 11);
    assert!(
        said.contains("Cluster operator authentication is degraded")
            && said.contains("authentication: Available=False")
            && said.contains("no route to host"),
        "{said}"
    );
    let down = Faults {
        down: true,
        ..Faults::default()
    };
    let said = faulty(down, "api", 3);
    assert!(
        said.contains("the cluster's API at 127.0.0.1") && said.contains("HAProxy's port 6443"),
        "{said}"
    );
}

#[test]
fn a_plan_says_unknown_of_an_api_that_does_not_answer_yet() {
    let server = StandIn::start(Options {
        api_after_bootstrap: true,
        ..options(1, 1)
    });
    for wish in [
        workers(),
        object(OAUTH, ""),
        wish("okd_wait", r#"{"for": "nodes-ready", "nodes": ["worker-1"]}"#),
    ] {
        let end = wish.plan(&server).unwrap();
        assert!(matches!(end.status, Status::Unknown(_)), "{:?}", end.status);
    }
    let kubeconfig = object(OAUTH, r#", "kubeconfig_path": "/nonexistent/kubeconfig""#);
    let mut args = kubeconfig.args;
    args.insert("server".to_owned(), server.api.to_string().into());
    let kind = ApiKind::decode("okd_object", &args).unwrap().unwrap();
    assert!(
        kind.endpoint()
            .client()
            .err()
            .unwrap()
            .to_string()
            .contains("is not there yet")
    );
}

#[test]
fn a_machine_gets_its_configuration_and_joins_by_http() {
    let server = StandIn::start(Options {
        plain_config: true,
        late_workers: true,
        ..options(1, 1)
    });
    let curl = |args: &[&str]| -> Output { Command::new("curl").args(["-s"]).args(args).output().unwrap() };
    let at = |path: &str| format!("http://{}{path}", server.config);
    let master = curl(&[&at("/config/master")]);
    let config: serde_json::Value = serde_json::from_slice(&master.stdout).unwrap();
    assert_eq!(config["ignition"]["version"], "3.2.0");
    let code = |path: &str| {
        let output = curl(&["-o", "/dev/null", "-w", "%{http_code}", &at(path)]);
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(
        (code("/config/worker"), code("/config/stranger")),
        ("500".to_owned(), "404".to_owned())
    );
    for body in [
        r#"{"name": "bootstrap", "role": "bootstrap"}"#,
        r#"{"name": "master-1", "role": "master", "addresses": ["10.0.0.2"]}"#,
    ] {
        let joined = curl(&["-d", body, &at("/stand-in/join")]);
        assert!(String::from_utf8_lossy(&joined.stdout).contains("\"stand-in\":true"));
    }
    okd_tests::until("the bootstrap is complete", 30, || {
        server.world().bootstrap_complete().then_some(())
    });
    assert_eq!(code("/config/worker"), "200");
}

/// Runs a play against the stand-in; a person reads what it says.
fn run(server: &StandIn, tasks: &str, more: &[&str]) -> Output {
    let dir = tempfile::tempdir().unwrap();
    run_in(server, dir.path(), tasks, more)
}

/// The same in a folder that stays, where the run leaves its journal too.
fn run_in(server: &StandIn, dir: &std::path::Path, tasks: &str, more: &[&str]) -> Output {
    std::fs::write(dir.join("kubeconfig"), &server.kubeconfig).unwrap();
    let play = format!(
        "- hosts: localhost\n  gather_facts: false\n  vars:\n    api: {}\n  tasks:\n    - slurp:\n        src: {}/kubeconfig\n      register: \
         kubeconfig\n      no_log: true\n{tasks}",
        server.api,
        dir.display()
    );
    std::fs::write(dir.join("play.yaml"), play).unwrap();
    Command::new(okd_tests::play::program())
        .args(["run", "play.yaml", "-i", "localhost,"])
        .args(more)
        .env("XDG_STATE_HOME", dir.join("state"))
        .current_dir(dir)
        .output()
        .unwrap()
}

const STEPS: &str = r#"
    - name: Until the API answers
      okd_wait:
        kubeconfig: "{{ kubeconfig.content | b64decode }}"
        server: "{{ api }}"
        for: api
    - name: Let the workers in
      okd_csr:
        kubeconfig: "{{ kubeconfig.content | b64decode }}"
        server: "{{ api }}"
        domain: okd.example.org
        nodes: [{name: worker-1, addresses: [10.0.0.5]}]
    - name: Until it is installed
      okd_wait:
        kubeconfig: "{{ kubeconfig.content | b64decode }}"
        server: "{{ api }}"
        for: install-complete
        deadline: 60
"#;

#[test]
fn a_run_lets_workers_in_and_a_second_one_changes_nothing() {
    let server = bootstrapped(1);
    server.join("worker-1", "worker", &["10.0.0.5"]);
    let check = run(&server, STEPS, &["--check"]);
    let text = String::from_utf8_lossy(&check.stdout).into_owned();
    assert!(
        check.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&check.stderr)
    );
    assert!(
        text.contains("the client certificate of worker-1") && text.contains("waits for the cluster's version"),
        "{text}"
    );
    let first = run(&server, STEPS, &["--yes"]);
    let text = String::from_utf8_lossy(&first.stdout).into_owned() + &String::from_utf8_lossy(&first.stderr);
    assert!(first.status.success(), "{text}");
    let key = client_key(&server);
    assert!(!text.contains(&key[30..80]), "silence");
    let before = server.writes();
    let second = run(&server, STEPS, &["--yes"]);
    assert!(second.status.success());
    assert_eq!(server.writes(), before, "{}", String::from_utf8_lossy(&second.stdout));
}

/// An authority such as the installer makes: RSA, its key in PKCS#1.
#[test]
fn the_stand_in_serves_under_an_authority_that_it_is_given() {
    let dir = tempfile::tempdir().unwrap();
    let script = "openssl req -x509 -newkey rsa:2048 -nodes -keyout key -out ca -days 2 -subj /CN=root-ca 2>/dev/null
        openssl rsa -in key -out rsa -traditional 2>/dev/null || openssl rsa -in key -out rsa 2>/dev/null";
    let made = Command::new("sh").args(["-c", script]).current_dir(dir.path()).status();
    assert!(made.unwrap().success());
    let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
    assert!(read("rsa").starts_with("-----BEGIN RSA PRIVATE KEY-----"));
    let keys = Keys::under("okd.example.org", &read("ca"), &read("rsa"));
    let server = StandIn::start_with(options(1, 1), keys);
    server.join("bootstrap", "bootstrap", &["10.0.0.7"]);
    server.join("master-1", "master", &["10.0.0.2"]);
    let wait = wish("okd_wait", r#"{"for": "bootstrap-complete", "deadline": 30}"#);
    assert_eq!(wait.apply(&server).unwrap().status, Status::Same);
}

const OBJECTS: &str = r#"    - name: Registry
      okd_object:
        kubeconfig: "{{ kubeconfig.content | b64decode }}"
        server: "{{ api }}"
        state: patched
        definition:
          apiVersion: imageregistry.operator.openshift.io/v1
          kind: Config
          metadata: {name: cluster}
          spec: {managementState: Managed, storage: {emptyDir: {}}, replicas: null}
    - name: Login
      okd_object:
        kubeconfig: "{{ kubeconfig.content | b64decode }}"
        server: "{{ api }}"
        definition:
          apiVersion: config.openshift.io/v1
          kind: OAuth
          metadata: {name: cluster}
          spec: {tokenConfig: {accessTokenMaxAgeSeconds: 60}}
    - name: Password
      okd_object:
        kubeconfig: "{{ kubeconfig.content | b64decode }}"
        server: "{{ api }}"
        definition:
          apiVersion: v1
          kind: Secret
          metadata: {name: htpasswd, namespace: openshift-config}
          stringData: {htpasswd: "admin:$2y$05$p0is0n"}
    - name: Console
      okd_object:
        kubeconfig: "{{ kubeconfig.content | b64decode }}"
        server: "{{ api }}"
        state: absent
        definition:
          apiVersion: route.openshift.io/v1
          kind: Route
          metadata: {name: console, namespace: openshift-console}
"#;

#[test]
fn what_a_run_did_to_objects_is_taken_back() {
    let server = installed();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("kubeconfig");
    std::fs::write(&file, &server.kubeconfig).unwrap();
    let okd = |words: &[&str], code: i32| {
        let output = Command::new(okd_tests::play::program())
            .args(words)
            .env("XDG_STATE_HOME", dir.path().join("state"))
            .current_dir(dir.path())
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{text}");
        text
    };
    let paths = [
        "/apis/imageregistry.operator.openshift.io/v1/configs/cluster",
        "/apis/config.openshift.io/v1/oauths/cluster",
        "/apis/route.openshift.io/v1/namespaces/openshift-console/routes/console",
    ];
    let known = || -> Vec<Option<serde_json::Value>> {
        let kept = |path: &&str| {
            let path = Value::from(*path);
            let result = map([("path", path)]);
            stored(
                &server,
                &Outcome {
                    result,
                    ..Outcome::unknown(String::new())
                },
            )
        };
        paths.iter().map(kept).collect()
    };
    let before = known();
    run_in(&server, dir.path(), OBJECTS, &["--yes"]);
    let after = known();
    assert!(before != after && after[2].is_none());
    let runs = || -> Vec<std::path::PathBuf> {
        let all = std::fs::read_dir(dir.path().join("state/okd-play/runs")).unwrap();
        let mut all: Vec<_> = all.map(|entry| entry.unwrap().path()).collect();
        all.sort();
        all
    };
    let id = |path: &std::path::Path| path.file_stem().unwrap().to_string_lossy().into_owned();
    let run = id(&runs()[0]);
    let name = format!("kubeconfig_127_0_0_1_{}", server.api.port());
    let said = okd(&["undo", &run, "--yes"], 2);
    assert!(said.contains(&format!("`{name}` is asked for")), "{said}");
    let answer = format!("{name}={}", file.display());
    let writes = server.writes();
    let said = okd(&["undo", &run, "--check", "-e", &answer], 0);
    assert_eq!(server.writes(), writes, "a plan changed something");
    assert!(
        said.contains("\"Password\"") && said.contains("what a Secret holds is in no journal"),
        "{said}"
    );
    let said = okd(&["undo", &run, "--yes", "-e", &answer], 0);
    assert_eq!(known(), before, "{said}");
    let writes = server.writes();
    okd(&["undo", &run, "--yes", "-e", &answer], 0);
    assert_eq!(server.writes(), writes, "a second undo");
    // What was asked for as a file is one from now on.
    let undo = id(&runs()[1]);
    let said = okd(&["undo", &undo, "--yes"], 0);
    assert_eq!(known(), after, "{said}");
    for path in runs() {
        let journal = std::fs::read_to_string(path).unwrap();
        let key = client_key(&server);
        assert!(!journal.contains("p0is0n") && !journal.contains(&key[30..80]));
    }
}
