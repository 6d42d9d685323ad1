//! An object of the cluster's API, by the keys that are given: what else the server holds of it is left alone.

use super::api::{Api, ApiError, Call, Json, Method, Prediction, Seen, Wait};
use super::back::Back;
use super::kube::{at, cluster_params, get, json, patiently};
use super::pve::encoded;
use okd_agent::choice;
use okd_agent::diff::{Change, Sign};
use okd_agent::resource::{Resource, ResourceError, View};
use okd_agent::secret::Secrets;
use okd_agent::value::{Map, Value, map};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

choice! {
    /// What should become of an object.
    pub enum Standing {
        /// It is there, with these keys.
        Present = "present",
        /// It is not there.
        Absent = "absent",
        /// It is there already, made by someone else, and gets these keys.
        Patched = "patched",
    }
}
cluster_params! {
    /// An object of the cluster's API.
    pub struct OkdObject {
        /// The object: `apiVersion`, `kind`, `metadata` with `name`, and the keys that matter. A key that is null is removed. A
        /// list counts as a whole.
        definition: Value ["resource_definition"],
        /// What should become of it.
        state: Standing = "present",
        /// Seconds until it has to be gone, with `state: absent`.
        deadline: u64 = "120",
    }
}

/// What can be seen of an object: the keys that were asked for, flat, as text.
#[derive(Debug, Clone, Serialize)]
pub struct Object {
    title: String,
    there: bool,
    keys: BTreeMap<String, Held>,
    #[serde(skip)]
    wanted: BTreeMap<String, Held>,
    #[serde(skip)]
    path: String,
    #[serde(skip)]
    collection: String,
    #[serde(skip)]
    whole: Json,
    #[serde(skip)]
    given: Json,
}

/// What a key holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
enum Held {
    Plain(String),
    /// Data of a Secret, which nobody is shown.
    Hidden(#[serde(serialize_with = "okd_agent::seen::hidden")] String),
}

impl Held {
    /// For people; `hidden` stands for what is not shown.
    fn shown(&self, hidden: &str) -> String {
        match self {
            Held::Plain(text) => text.clone(),
            Held::Hidden(_) => hidden.to_owned(),
        }
    }
}

impl View for Object {
    fn changes(&self, want: &Self) -> Vec<Change> {
        let mut all = Vec::new();
        let item = |sign| Change::Item {
            sign,
            text: self.title.clone(),
        };
        match (self.there, want.there) {
            (false, true) => all.push(item(Sign::Added)),
            (true, false) => return vec![item(Sign::Removed)],
            (false, false) => return Vec::new(),
            (true, true) => {}
        }
        let keys = self
            .keys
            .keys()
            .chain(want.keys.keys().filter(|key| !self.keys.contains_key(*key)));
        for key in keys {
            let (before, after) = (self.keys.get(key), want.keys.get(key));
            if before != after {
                let hidden = match before {
                    Some(_) => "‹hidden, another one›",
                    None => "‹hidden›",
                };
                all.push(Change::Field {
                    of: self.title.clone(),
                    name: key.clone(),
                    before: before.map(|held| held.shown("‹hidden›")).unwrap_or_default(),
                    after: after.map(|held| held.shown(hidden)).unwrap_or_default(),
                });
            }
        }
        all
    }
}

impl OkdObject {
    /// Where the object is, by what the server says of its kind: the collection's path.
    fn collection(&self, world: &dyn Api, object: &Json) -> Result<String, ResourceError> {
        let (version, kind) = (at(object, &["apiVersion"]), at(object, &["kind"]));
        let root = match version.contains('/') {
            true => format!("/apis/{version}"),
            false => format!("/api/{version}"),
        };
        let list = match get(world, &root) {
            Err(error) if error.is_missing() && world.predicted() => {
                return Err(ApiError::Unknown(format!("the cluster does not serve {version} yet")).into());
            }
            Err(error) if error.is_missing() => {
                return Err(ResourceError::message(format!("the cluster does not serve {version}")));
            }
            other => other?,
        };
        let resources = list
            .get("resources")
            .and_then(Json::as_array)
            .map_or(&[][..], Vec::as_slice);
        let own = resources
            .iter()
            .find(|one| at(one, &["kind"]) == kind && !at(one, &["name"]).contains('/'));
        let Some(own) = own else {
            let kinds: Vec<&str> = resources
                .iter()
                .filter(|one| !at(one, &["name"]).contains('/'))
                .map(|one| at(one, &["kind"]))
                .collect();
            return Err(ResourceError::message(format!(
                "{version} has no kind {kind}; it has {}",
                kinds.join(", ")
            )));
        };
        let namespaced = own.get("namespaced").and_then(Json::as_bool) == Some(true);
        match (namespaced, at(object, &["metadata", "namespace"])) {
            (true, "") => Err(ResourceError::message(format!("a {kind} needs `metadata.namespace`"))),
            (true, namespace) => Ok(format!(
                "{root}/namespaces/{}/{}",
                encoded(namespace),
                at(own, &["name"])
            )),
            (false, "") => Ok(format!("{root}/{}", at(own, &["name"]))),
            (false, _) => Err(ResourceError::message(format!(
                "a {kind} is in no namespace; leave `metadata.namespace` out"
            ))),
        }
    }

    /// The keys as they were; an object that was not there goes again, and one that was removed comes back.
    pub(super) fn taken_back(&self, now: &Object, _: &Map) -> Back {
        if at(&now.given, &["kind"]) == "Secret" {
            return Back::not("what a Secret holds is in no journal");
        }
        let keys = match (now.there, self.state) {
            // What was asked for goes along, so that it is seen when somebody has changed it since.
            (false, _) if !Secrets::marked(&now.given.to_string()) => now.given.clone(),
            (false, _) => serde_json::json!({}),
            (true, Standing::Absent) => bare(now.whole.clone()),
            (true, _) => before(&now.given, &now.whole),
        };
        let mut definition = serde_json::json!({ "metadata": {} });
        for key in ["apiVersion", "kind"] {
            definition[key] = now.given[key].clone();
        }
        for key in ["name", "namespace"] {
            if let Some(value) = now.given["metadata"].get(key) {
                definition["metadata"][key] = value.clone();
            }
        }
        let state = match (now.there, self.state) {
            (false, _) => Standing::Absent,
            (true, Standing::Absent) => Standing::Present,
            (true, _) => Standing::Patched,
        };
        Back::by(serde_json::json!({
            "state": state.word(),
            "definition": merged(keys, &definition),
            "deadline": self.deadline,
        }))
    }

    fn remove(&self, now: &Object, world: &dyn Api) -> Result<Map, ResourceError> {
        let gone = ApiError::Refused {
            request: format!("GET {}", now.path),
            status: 404,
            message: "not found".to_owned(),
            errors: Vec::new(),
            help: None,
        };
        let mut call = Call::new(Method::Delete, now.path.clone());
        call.predicts.push((now.path.clone(), Prediction::Refused(gone)));
        world.send(&call)?;
        let wait = Wait {
            what: format!("{} to be gone", now.title),
            deadline: Duration::from_secs(self.deadline),
            pause: Duration::from_secs(1),
            advice: "its `metadata.finalizers` say who has to let it go".to_owned(),
            predicts: Vec::new(),
        };
        world.wait(&wait, &mut || match world.get(&now.path) {
            Err(error) if error.is_missing() => Ok(Seen::Done),
            Err(error) => Err(error),
            Ok(_) => Ok(Seen::NotYet("it is being deleted".to_owned())),
        })?;
        Ok(Map::new())
    }
}

/// What was given, flat, with what is there in its place: `now` where `there` is true, else as given.
fn flat(path: &str, given: &Json, there: Option<&Json>, into: &mut BTreeMap<String, String>) {
    let below = |key: &str| match path.is_empty() {
        true => key.to_owned(),
        false => format!("{path}.{key}"),
    };
    match (given, there) {
        (Json::Object(entries), None) if entries.is_empty() => drop(into.insert(path.to_owned(), "{}".to_owned())),
        (Json::Object(entries), None) => {
            for (key, value) in entries.iter().filter(|(_, value)| !value.is_null()) {
                flat(&below(key), value, None, into);
            }
        }
        (Json::Object(entries), Some(Json::Object(now))) if entries.is_empty() && !path.is_empty() => {
            // An empty mapping asks for nothing but that it is there.
            let _ = now;
            into.insert(path.to_owned(), "{}".to_owned());
        }
        (Json::Object(entries), Some(Json::Object(now))) => {
            for (key, value) in entries {
                if let Some(own) = now.get(key).filter(|own| !own.is_null()) {
                    flat(&below(key), value, Some(own), into);
                }
            }
        }
        (Json::Array(list), Some(Json::Array(now)))
            if list.len() == now.len() && covers(given, &Json::Array(now.clone())) =>
        {
            into.insert(path.to_owned(), given.to_string());
        }
        (_, None) => drop(into.insert(path.to_owned(), text(given))),
        (_, Some(now)) => drop(into.insert(path.to_owned(), text(now))),
    }
}

fn text(value: &Json) -> String {
    match value {
        Json::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Whether everything that is given is there; what else is there does not count.
fn covers(given: &Json, there: &Json) -> bool {
    match (given, there) {
        (Json::Object(given), Json::Object(there)) => given
            .iter()
            .all(|(key, value)| there.get(key).map_or(value.is_null(), |own| covers(value, own))),
        (Json::Array(given), Json::Array(there)) => {
            given.len() == there.len() && given.iter().zip(there).all(|(given, there)| covers(given, there))
        }
        (given, there) => given == there,
    }
}

/// The merge patch that brings what is there back once `given` was merged into it.
fn before(given: &Json, there: &Json) -> Json {
    match (given, there) {
        (Json::Object(given), Json::Object(there)) => {
            let keys = given.iter().filter_map(|(key, value)| match there.get(key) {
                Some(own) => Some((key.clone(), before(value, own))),
                None if value.is_null() => None,
                None => Some((key.clone(), Json::Null)),
            });
            Json::Object(keys.collect())
        }
        (_, there) => there.clone(),
    }
}

/// An object as it can be made again: without what the server writes into it.
fn bare(mut whole: Json) -> Json {
    let server = [
        "uid",
        "resourceVersion",
        "generation",
        "managedFields",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "selfLink",
    ];
    if let Some(object) = whole.as_object_mut() {
        object.remove("status");
    }
    if let Some(metadata) = whole.get_mut("metadata").and_then(Json::as_object_mut) {
        metadata.retain(|key, _| !server.contains(&key.as_str()));
    }
    whole
}

/// A merge patch (RFC 7386).
fn merged(there: Json, patch: &Json) -> Json {
    let Json::Object(patch) = patch else {
        return patch.clone();
    };
    let mut all = match there {
        Json::Object(all) => all,
        _ => serde_json::Map::new(),
    };
    for (key, value) in patch {
        match value {
            Json::Null => drop(all.remove(key)),
            value => {
                let own = all.remove(key).unwrap_or(Json::Null);
                all.insert(key.clone(), merged(own, value));
            }
        }
    }
    Json::Object(all)
}

impl Resource for OkdObject {
    const NAMES: &'static [&'static str] = &["okd_object"];
    const EXAMPLE: &'static str = "- name: The image registry keeps its images in an empty directory\n  okd_object:\n    kubeconfig: \"{{ kubeconfig.content | b64decode }}\"\n    state: patched\n    definition:\n      apiVersion: imageregistry.operator.openshift.io/v1\n      kind: Config\n      metadata: {name: cluster}\n      spec: {managementState: Managed, storage: {emptyDir: {}}}\n";
    const PREDICTS: &'static str =
        "the object's keys that are given; with `state: patched` nothing while it is not there";
    type World = dyn Api;
    type State = Object;

    fn check(&self) -> Result<(), Vec<String>> {
        let mut wrong = self.connection();
        let whole = json(&self.definition);
        for keys in [&["apiVersion"][..], &["kind"], &["metadata", "name"]] {
            if at(&whole, keys).is_empty() {
                wrong.push(format!("`definition` needs `{}`", keys.join(".")));
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }

    fn inspect(&self, world: &Self::World) -> Result<Object, ResourceError> {
        let given = json(&self.definition);
        patiently(world, || get(world, "/version"))?;
        let collection = self.collection(world, &given)?;
        let path = format!("{collection}/{}", encoded(at(&given, &["metadata", "name"])));
        let whole = patiently(world, || match get(world, &path) {
            Ok(whole) => Ok(Some(whole)),
            Err(error) if error.is_missing() => Ok(None),
            Err(error) => Err(error),
        })?;
        if whole.is_none() && self.state == Standing::Patched && world.predicted() {
            let title = format!("{} {}", at(&given, &["kind"]), at(&given, &["metadata", "name"]));
            return Err(ApiError::Unknown(format!("{title} is not there yet, and another makes it")).into());
        }
        let read = world.as_read(&given);
        let (mut keys, mut wanted) = (BTreeMap::new(), BTreeMap::new());
        flat("", &read, None, &mut wanted);
        if let Some(whole) = &whole {
            flat("", &read, Some(whole), &mut keys);
        }
        for named in ["apiVersion", "kind", "metadata.name", "metadata.namespace"] {
            keys.remove(named);
            wanted.remove(named);
        }
        let secret = at(&given, &["kind"]) == "Secret";
        let held = |values: BTreeMap<String, String>| -> BTreeMap<String, Held> {
            let hidden = |key: &str| secret && (key.starts_with("stringData") || key.starts_with("data"));
            let hold = |(key, value): (String, String)| match hidden(&key) {
                true => (key, Held::Hidden(value)),
                false => (key, Held::Plain(value)),
            };
            values.into_iter().map(hold).collect()
        };
        let place = match at(&given, &["metadata", "namespace"]) {
            "" => String::new(),
            namespace => format!("{namespace}/"),
        };
        Ok(Object {
            title: format!("{} {place}{}", at(&given, &["kind"]), at(&given, &["metadata", "name"])),
            there: whole.is_some(),
            keys: held(keys),
            wanted: held(wanted),
            path,
            collection,
            whole: whole.unwrap_or(Json::Null),
            given: read,
        })
    }

    fn desire(&self, now: &Object) -> Result<Object, ResourceError> {
        if self.state == Standing::Patched && !now.there {
            return Err(ResourceError::message(format!(
                "{} is not there, and `state: patched` does not make it",
                now.title
            )));
        }
        let mut want = now.clone();
        want.there = self.state != Standing::Absent;
        want.keys = match want.there {
            true => now.wanted.clone(),
            false => BTreeMap::new(),
        };
        Ok(want)
    }

    fn apply(&self, now: &Object, want: &Object, world: &Self::World) -> Result<Map, ResourceError> {
        if !want.there {
            return self.remove(now, world);
        }
        let given = json(&self.definition);
        let mut call = match now.there {
            true => Call::new(Method::Patch, now.path.clone()).bearing(given),
            false => Call::new(Method::Post, now.collection.clone()).bearing(merged(Json::Null, &given)),
        };
        let after = merged(now.whole.clone(), &now.given);
        call.predicts.push((now.path.clone(), Prediction::Answer(after)));
        world.send(&call)?;
        Ok(Map::new())
    }

    fn result(&self, state: &Object) -> Map {
        map([
            ("object", state.title.as_str().into()),
            ("path", state.path.as_str().into()),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn differs(given: &Json, there: &Json) -> bool {
        let (mut now, mut want) = (BTreeMap::new(), BTreeMap::new());
        flat("", given, None, &mut want);
        flat("", given, Some(there), &mut now);
        now != want
    }

    #[test]
    fn only_what_is_given_counts() {
        let there = json!({"spec": {"a": 1, "b": {"c": "x"}, "l": [{"n": 1, "more": 2}], "e": {"own": 1}}});
        assert!(!differs(&json!({"spec": {"b": {"c": "x"}}}), &there));
        assert!(!differs(
            &json!({"spec": {"l": [{"n": 1}], "e": {}, "gone": null}}),
            &there
        ));
        assert!(differs(&json!({"spec": {"l": [{"n": 1}, {"n": 2}]}}), &there));
        assert!(differs(&json!({"spec": {"l": [{"n": 3}]}}), &there));
        assert!(differs(&json!({"spec": {"a": null}}), &there));
        assert!(differs(&json!({"spec": {"new": {}}}), &there));
    }

    #[test]
    fn what_was_merged_is_taken_back() {
        let there = json!({"metadata": {"name": "x"}, "a": {"b": 1, "c": 2}, "l": [1], "o": {"k": 1}, "s": "t", "n": {"e": {}}});
        for given in [
            json!({"a": {"b": null, "d": {"e": 3}}, "l": [9], "o": "text", "s": {"k": 1}, "gone": null}),
            json!({"a": "text", "new": {"k": {}}, "n": {"e": {"f": 1}}}),
            json!({"o": null, "n": {"e": {}}}),
        ] {
            let back = before(&given, &there);
            assert_eq!(merged(merged(there.clone(), &given), &back), there, "{given} by {back}");
        }
    }

    #[test]
    fn a_merge_patch_follows_rfc_7386() {
        let there = json!({"a": {"b": 1, "c": 2}, "l": [1, 2]});
        let patch = json!({"a": {"b": null, "d": 3}, "l": [9]});
        assert_eq!(merged(there, &patch), json!({"a": {"c": 2, "d": 3}, "l": [9]}));
    }
}
