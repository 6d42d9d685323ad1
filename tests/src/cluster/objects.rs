//! The objects that the stand-in holds, by their paths, and which kinds it serves.

use super::stamp;
use base64ct::{Base64, Encoding};
use serde_json::{Map, Value as Json, json};
use std::collections::BTreeMap;
use std::time::Duration;

pub(super) const REQUESTS: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
pub(super) const NODES: &str = "/api/v1/nodes";

/// Group and version, plural, kind, whether it is in a namespace.
const KINDS: [(&str, &str, &str, bool); 13] = [
    ("v1", "namespaces", "Namespace", false),
    ("v1", "nodes", "Node", false),
    ("v1", "configmaps", "ConfigMap", true),
    ("v1", "secrets", "Secret", true),
    ("v1", "persistentvolumeclaims", "PersistentVolumeClaim", true),
    (
        "certificates.k8s.io/v1",
        "certificatesigningrequests",
        "CertificateSigningRequest",
        false,
    ),
    (
        "rbac.authorization.k8s.io/v1",
        "clusterrolebindings",
        "ClusterRoleBinding",
        false,
    ),
    ("config.openshift.io/v1", "clusterversions", "ClusterVersion", false),
    ("config.openshift.io/v1", "clusteroperators", "ClusterOperator", false),
    ("config.openshift.io/v1", "oauths", "OAuth", false),
    ("config.openshift.io/v1", "schedulers", "Scheduler", false),
    ("imageregistry.operator.openshift.io/v1", "configs", "Config", false),
    ("route.openshift.io/v1", "routes", "Route", true),
];
const NAMESPACES: [&str; 6] = [
    "default",
    "kube-system",
    "openshift-config",
    "openshift-config-managed",
    "openshift-console",
    "openshift-image-registry",
];

/// See the module.
#[derive(Debug, Default)]
pub struct Objects {
    all: BTreeMap<String, Json>,
    version: u64,
}

/// Why something cannot be done: status, reason, message.
pub(super) type Refusal = (u16, &'static str, String);

/// A kind that is served, as a path names it.
pub(super) struct Place {
    pub(super) collection: String,
    pub(super) name: Option<String>,
    pub(super) below: Option<String>,
    api_version: &'static str,
    kind: &'static str,
    namespace: Option<String>,
}

fn root(version: &str) -> String {
    match version.contains('/') {
        true => format!("/apis/{version}"),
        false => format!("/api/{version}"),
    }
}

/// What the server says of its kinds, at `/api/v1` or `/apis/GROUP/VERSION`.
pub(super) fn discovery(path: &str) -> Option<Json> {
    if path == "/apis" {
        let mut groups: Vec<&str> = KINDS
            .iter()
            .map(|kind| kind.0)
            .filter(|version| version.contains('/'))
            .collect();
        groups.dedup();
        let groups: Vec<Json> = groups
            .iter()
            .map(|version| json!({ "name": version.split('/').next(), "versions": [{ "groupVersion": version }] }))
            .collect();
        return Some(json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups }));
    }
    let own: Vec<Json> = KINDS
        .iter()
        .filter(|kind| root(kind.0) == path)
        .map(|(_, plural, kind, namespaced)| json!({ "name": plural, "kind": kind, "namespaced": namespaced, "verbs": ["get", "list"] }))
        .collect();
    let version = path.strip_prefix("/apis/").or(path.strip_prefix("/api/"))?;
    (!own.is_empty()).then(|| json!({ "kind": "APIResourceList", "groupVersion": version, "resources": own }))
}

/// What a path means.
pub(super) fn place(path: &str) -> Option<Place> {
    KINDS.iter().find_map(|(version, plural, kind, namespaced)| {
        let rest = path.strip_prefix(&root(version))?.strip_prefix('/')?;
        let parts: Vec<&str> = rest.split('/').collect();
        let (namespace, parts) = match (namespaced, parts.as_slice()) {
            (true, ["namespaces", namespace, rest @ ..]) => (Some((*namespace).to_owned()), rest),
            (false, ["namespaces", _, _, ..]) => return None,
            (false, rest) => (None, rest),
            _ => return None,
        };
        let [own, more @ ..] = parts else { return None };
        let collection = match &namespace {
            Some(namespace) => format!("{}/namespaces/{namespace}/{plural}", root(version)),
            None => format!("{}/{plural}", root(version)),
        };
        (own == plural && more.len() <= 2).then(|| Place {
            collection,
            name: more.first().map(|text| (*text).to_owned()),
            below: more.get(1).map(|text| (*text).to_owned()),
            api_version: version,
            kind,
            namespace,
        })
    })
}

fn merge(there: &mut Json, patch: &Json) {
    let Json::Object(patch) = patch else {
        there.clone_from(patch);
        return;
    };
    if !there.is_object() {
        *there = Json::Object(Map::new());
    }
    let own = there.as_object_mut().unwrap();
    for (key, value) in patch {
        match value {
            Json::Null => drop(own.remove(key)),
            value => merge(own.entry(key.clone()).or_insert(Json::Null), value),
        }
    }
}

/// What the server does to a Secret that comes in.
fn stored(mut object: Json) -> Json {
    if object["kind"] != "Secret" {
        return object;
    }
    let Some(Json::Object(texts)) = object.as_object_mut().unwrap().remove("stringData") else {
        return object;
    };
    for (key, text) in texts {
        object["data"][key] = Base64::encode_string(text.as_str().unwrap_or_default().as_bytes()).into();
    }
    object
}

impl Objects {
    /// What a cluster has from its first moment.
    pub(super) fn standard(domain: &str, ca: &str) -> Objects {
        let mut objects = Objects::default();
        for namespace in NAMESPACES {
            objects.put_new(
                "/api/v1/namespaces",
                namespace,
                json!({ "metadata": { "name": namespace } }),
            );
        }
        objects.put_new(
            "/apis/config.openshift.io/v1/oauths",
            "cluster",
            json!({ "metadata": { "name": "cluster" }, "spec": {} }),
        );
        let _ = (domain, ca);
        objects
    }

    /// What the operators have made when the install is complete.
    pub(super) fn installed(&mut self, domain: &str, ca: &str) {
        self.put_new(
            "/api/v1/namespaces/openshift-config-managed/configmaps",
            "default-ingress-cert",
            json!({ "metadata": { "name": "default-ingress-cert", "namespace": "openshift-config-managed" }, "data": { "ca-bundle.crt": ca } }),
        );
        self.put_new(
            "/apis/imageregistry.operator.openshift.io/v1/configs",
            "cluster",
            json!({ "metadata": { "name": "cluster" }, "spec": { "managementState": "Removed", "replicas": 1, "logLevel": "Normal" } }),
        );
        self.put_new(
            "/apis/route.openshift.io/v1/namespaces/openshift-console/routes",
            "console",
            json!({ "metadata": { "name": "console", "namespace": "openshift-console" },
                "spec": { "host": format!("console-openshift-console.apps.{domain}") } }),
        );
    }

    /// An object, as it is stored.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<&Json> {
        self.all.get(path)
    }

    pub(super) fn paths(&self, collection: &str) -> Vec<String> {
        let below = format!("{collection}/");
        let own = self
            .all
            .keys()
            .filter(|path| path.strip_prefix(&below).is_some_and(|rest| !rest.contains('/')));
        own.cloned().collect()
    }

    pub(super) fn list(&self, place: &Place) -> Json {
        let items: Vec<&Json> = self
            .paths(&place.collection)
            .iter()
            .map(|path| &self.all[path])
            .collect();
        json!({ "apiVersion": place.api_version, "kind": format!("{}List", place.kind),
            "metadata": { "resourceVersion": self.version.to_string() }, "items": items })
    }

    pub(super) fn put_new(&mut self, collection: &str, name: &str, body: Json) {
        self.version += 1;
        let mut body = stored(body);
        let path = format!("{collection}/{name}");
        if let Some(place) = place(&path) {
            body["apiVersion"] = place.api_version.into();
            body["kind"] = place.kind.into();
        }
        let body = stored(body);
        self.all.insert(path.clone(), body);
        let (version, made) = (self.version, stamp(Duration::ZERO));
        let meta = &mut self.all.get_mut(&path).unwrap()["metadata"];
        meta["uid"] = format!("00000000-0000-4000-8000-{version:012}").into();
        meta["creationTimestamp"] = made.into();
        meta["resourceVersion"] = version.to_string().into();
    }

    pub(super) fn set(&mut self, collection: &str, name: &str, body: Json) {
        match self.all.contains_key(&format!("{collection}/{name}")) {
            true => self.change(&format!("{collection}/{name}"), |one| {
                one["status"] = body["status"].clone()
            }),
            false => self.put_new(collection, name, body),
        }
    }

    pub(super) fn change(&mut self, path: &str, change: impl FnOnce(&mut Json)) {
        self.version += 1;
        let version = self.version.to_string();
        if let Some(object) = self.all.get_mut(path) {
            change(object);
            object["metadata"]["resourceVersion"] = version.into();
        }
    }

    fn missing(place: &Place, name: &str) -> Refusal {
        let group = place
            .api_version
            .split_once('/')
            .map_or(String::new(), |(group, _)| format!(".{group}"));
        let plural = place.collection.rsplit('/').next().unwrap_or_default();
        (404, "NotFound", format!("{plural}{group} \"{name}\" not found"))
    }

    pub(super) fn create(&mut self, place: &Place, body: Json) -> Result<Json, Refusal> {
        let name = body["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        if name.is_empty() {
            return Err((
                422,
                "Invalid",
                "metadata.name: Required value: name or generateName is required".to_owned(),
            ));
        }
        if let Some(namespace) = &place.namespace
            && !self.all.contains_key(&format!("/api/v1/namespaces/{namespace}"))
        {
            return Err((404, "NotFound", format!("namespaces \"{namespace}\" not found")));
        }
        let path = format!("{}/{name}", place.collection);
        if self.all.contains_key(&path) {
            let plural = place.collection.rsplit('/').next().unwrap_or_default();
            return Err((409, "AlreadyExists", format!("{plural} \"{name}\" already exists")));
        }
        self.put_new(&place.collection, &name, body);
        Ok(self.all[&path].clone())
    }

    pub(super) fn read(&self, place: &Place, name: &str) -> Result<Json, Refusal> {
        let found = self.all.get(&format!("{}/{name}", place.collection));
        found.cloned().ok_or_else(|| Objects::missing(place, name))
    }

    pub(super) fn patch(&mut self, place: &Place, name: &str, patch: &Json) -> Result<Json, Refusal> {
        self.read(place, name)?;
        let path = format!("{}/{name}", place.collection);
        self.change(&path, |one| {
            merge(one, patch);
            *one = stored(one.take());
        });
        self.read(place, name)
    }

    /// Replaces the part of an object that a sub-resource is, or all of it.
    pub(super) fn replace(&mut self, place: &Place, name: &str, body: &Json) -> Result<Json, Refusal> {
        let own = self.read(place, name)?;
        let sent = &body["metadata"]["resourceVersion"];
        if !sent.is_null() && *sent != own["metadata"]["resourceVersion"] {
            let plural = place.collection.rsplit('/').next().unwrap_or_default();
            return Err((
                409,
                "Conflict",
                format!(
                    "Operation cannot be fulfilled on {plural} \"{name}\": the object has been modified; please apply your changes to \
                     the latest version and try again"
                ),
            ));
        }
        let path = format!("{}/{name}", place.collection);
        match place.below.as_deref() {
            Some("approval") => {
                let conditions = body["status"]["conditions"].clone();
                self.change(&path, |one| one["status"]["conditions"] = conditions);
            }
            Some(_) => {
                return Err((
                    404,
                    "NotFound",
                    "the server could not find the requested resource".to_owned(),
                ));
            }
            None => self.change(&path, |one| *one = stored(body.clone())),
        }
        self.read(place, name)
    }

    pub(super) fn delete(&mut self, place: &Place, name: &str) -> Result<Json, Refusal> {
        self.read(place, name)?;
        self.version += 1;
        self.all.remove(&format!("{}/{name}", place.collection));
        Ok(json!({ "kind": "Status", "apiVersion": "v1", "status": "Success" }))
    }
}
