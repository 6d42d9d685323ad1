//! What tasks need of an interface, compared with what is there: privileges of the token, nodes, clocks, storages. It only
//! reads, and says for each thing that is missing which task needs it and how it is given.

use super::api::{Api, ApiError, Json, flag, number, rows, text};
use super::pve::encoded;
use super::rights::{Need, Zones};
use super::{ApiKind, property};
use std::collections::{BTreeMap, BTreeSet};

/// Seconds that the clocks may be apart: certificates and Ignition files have their hours.
const APART: u64 = 30;

/// A task, and where it stands.
#[derive(Debug, Clone)]
pub struct Task {
    /// File and line.
    pub place: String,
    /// What it brings about.
    pub kind: ApiKind,
}

/// How grave a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grade {
    /// As it should be.
    Good,
    /// Worth to know.
    Note,
    /// A task will fail by it.
    Missing,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How grave it is.
    pub grade: Grade,
    /// A sentence.
    pub text: String,
    /// The tasks that need it, by their places.
    pub places: Vec<String>,
    /// The command that gives it.
    pub help: Option<String>,
}

impl Finding {
    fn new(grade: Grade, text: impl Into<String>) -> Finding {
        Finding {
            grade,
            text: text.into(),
            places: Vec::new(),
            help: None,
        }
    }

    fn at(mut self, places: impl IntoIterator<Item = String>) -> Finding {
        let all: BTreeSet<String> = places.into_iter().collect();
        self.places = all.into_iter().collect();
        self
    }

    fn help(mut self, text: impl Into<String>) -> Finding {
        self.help = Some(text.into());
        self
    }
}

/// Looks at everything that the tasks of one interface need. `now` is this machine's clock in seconds since 1970.
///
/// # Errors
/// When nobody answers, or the token is not let in.
pub fn examine(world: &dyn Api, user: &str, token: &str, tasks: &[Task], now: u64) -> Result<Vec<Finding>, ApiError> {
    let version = world.get("/version")?;
    let version = version.get("data").and_then(|data| text(data, "version"));
    let mut all = vec![Finding::new(
        Grade::Good,
        format!("Proxmox VE {} lets {token} in", version.unwrap_or_default()),
    )];
    all.extend(privileges(world, user, token, tasks)?);
    all.extend(nodes(world, tasks, now)?);
    all.extend(storages(world, tasks));
    Ok(all)
}

/// Networks that are made by tasks, and their zones.
fn zones(tasks: &[Task]) -> Zones {
    let mut all = Zones::new();
    for task in tasks {
        if let ApiKind::ProxmoxSdn(sdn) = &task.kind {
            all.extend(sdn.vnets.keys().map(|vnet| (vnet.clone(), sdn.zone.clone())));
        }
    }
    all
}

/// What a privilege is needed for, and by which tasks.
#[derive(Default)]
struct Wanted {
    reasons: BTreeSet<String>,
    places: BTreeSet<String>,
}

fn privileges(world: &dyn Api, user: &str, token: &str, tasks: &[Task]) -> Result<Vec<Finding>, ApiError> {
    let zones = zones(tasks);
    let mut needs: BTreeMap<(String, Vec<&'static str>), Wanted> = BTreeMap::new();
    for task in tasks {
        for Need { path, any, why } in task.kind.needs(&zones) {
            let wanted = needs.entry((path, any)).or_default();
            wanted.reasons.insert(why);
            wanted.places.insert(task.place.clone());
        }
    }
    let mut had: BTreeMap<String, BTreeMap<String, bool>> = BTreeMap::new();
    let (mut missing, mut given) = (Vec::new(), 0);
    for ((path, any), wanted) in needs {
        if !had.contains_key(&path) {
            had.insert(path.clone(), permissions(world, &path)?);
        }
        // Machines that get their number later stand below `/vms`: there a privilege has to be passed on.
        let below = path == "/vms";
        let has = |one: &&str| {
            let own = had.get(&path).and_then(|own| own.get(*one));
            own.is_some_and(|passed| *passed || !below)
        };
        match any.iter().any(has) {
            true => given += 1,
            false => missing.push((path, any, wanted)),
        }
    }
    let mut all = Vec::new();
    if given > 0 {
        all.push(Finding::new(
            Grade::Good,
            format!("{given} privileges that are needed are there"),
        ));
    }
    for (path, any, Wanted { reasons, places }) in missing {
        let reasons: Vec<String> = reasons.into_iter().collect();
        let first = any.first().copied().unwrap_or_default();
        let role = role(&path, first);
        let command = format!(
            "pveum role add {role} --privs {first} && pveum acl modify {path} --users '{user}' --tokens '{token}' --roles {role}"
        );
        all.push(
            Finding::new(
                Grade::Missing,
                format!("{} on {path}, {}", any.join(" or "), reasons.join(", ")),
            )
            .at(places)
            .help(command),
        );
    }
    Ok(all)
}

/// A role's name for one privilege on one path.
fn role(path: &str, privilege: &str) -> String {
    let words = path.split('/').chain(std::iter::once(privilege));
    let letters = words.flat_map(|word| word.split(|c: char| !c.is_ascii_alphanumeric()));
    let mut name = "OkdPlay".to_owned();
    for word in letters.filter(|word| !word.is_empty()) {
        name.push('-');
        name.push_str(word);
    }
    name
}

/// The privileges on a path, and whether they are passed on to what is below.
fn permissions(world: &dyn Api, path: &str) -> Result<BTreeMap<String, bool>, ApiError> {
    let envelope = world.get(&format!("/access/permissions?path={}", encoded(path)))?;
    let own = envelope
        .get("data")
        .and_then(|data| data.get(path))
        .and_then(Json::as_object);
    let own = own.into_iter().flatten();
    Ok(own
        .map(|(name, passed)| (name.clone(), passed.as_u64() != Some(0)))
        .collect())
}

fn nodes(world: &dyn Api, tasks: &[Task], now: u64) -> Result<Vec<Finding>, ApiError> {
    let mut needed: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for task in tasks {
        for node in task.kind.nodes() {
            needed.entry(node).or_default().insert(task.place.clone());
        }
    }
    let there = rows(&world.get("/nodes")?);
    let mut all = Vec::new();
    for (node, places) in needed {
        let row = there.iter().find(|row| text(row, "node").as_deref() == Some(&node));
        let status = row.and_then(|row| text(row, "status"));
        match status.as_deref() {
            Some("online") => {
                all.push(Finding::new(Grade::Good, format!("the node {node} is online")));
                all.push(clock(world, &node, now).at(places));
            }
            Some(other) => {
                all.push(Finding::new(Grade::Missing, format!("the node {node} is {other}, not online")).at(places))
            }
            None => {
                let names: Vec<String> = there.iter().filter_map(|row| text(row, "node")).collect();
                all.push(
                    Finding::new(
                        Grade::Missing,
                        format!("there is no node {node}; there are {}", names.join(", ")),
                    )
                    .at(places),
                );
            }
        }
    }
    Ok(all)
}

fn clock(world: &dyn Api, node: &str, now: u64) -> Finding {
    let time = world.get(&format!("/nodes/{node}/time"));
    let time = time.ok().and_then(|answer| number(answer.get("data")?, "time"));
    match time.map(|time| time.abs_diff(now)) {
        None => Finding::new(
            Grade::Note,
            format!("the clock of {node} cannot be read (Sys.Audit on /nodes/{node})"),
        ),
        Some(apart) if apart > APART => Finding::new(
            Grade::Missing,
            format!("the clock of {node} and that of this machine are {apart} s apart"),
        )
        .help("chronyc tracking   # on both: one of them is not synchronised"),
        Some(apart) => Finding::new(
            Grade::Good,
            format!("the clock of {node} is {apart} s from that of this machine"),
        ),
    }
}

/// What is put on a storage: bytes, and the tasks.
#[derive(Default)]
struct Load {
    bytes: u64,
    places: BTreeSet<String>,
}

fn storages(world: &dyn Api, tasks: &[Task]) -> Vec<Finding> {
    let mut needed: BTreeMap<(String, String, &'static str), Load> = BTreeMap::new();
    for task in tasks {
        for store in task.kind.stores() {
            let load = needed.entry((store.node, store.storage, store.content)).or_default();
            load.bytes += store.bytes.unwrap_or_default();
            load.places.insert(task.place.clone());
        }
    }
    let mut lists: BTreeMap<String, Result<Vec<Json>, ApiError>> = BTreeMap::new();
    let mut all = Vec::new();
    for ((node, storage, content), load) in needed {
        let list = lists
            .entry(node.clone())
            .or_insert_with(|| world.get(&format!("/nodes/{node}/storage")).map(|list| rows(&list)));
        let found = match list {
            Ok(list) => {
                let row = list
                    .iter()
                    .find(|row| text(row, "storage").as_deref() == Some(&storage));
                storage_found(row, &node, &storage, content, &load)
            }
            Err(error) => Finding::new(
                Grade::Missing,
                format!("the storages of {node} cannot be listed: {error}"),
            ),
        };
        all.push(found.at(load.places));
    }
    all
}

fn storage_found(row: Option<&Json>, node: &str, storage: &str, content: &str, load: &Load) -> Finding {
    let Some(row) = row else {
        return Finding::new(
            Grade::Missing,
            format!("there is no storage {storage} on {node}, or the token does not see it"),
        )
        .help("pvesm status   # on the node, lists them");
    };
    let contents = text(row, "content").unwrap_or_default();
    let name = format!("the storage {storage} of {node}");
    if !contents.split(',').any(|own| own == content) {
        return Finding::new(Grade::Missing, format!("{name} takes no `{content}`"))
            .help(format!("pvesm set {storage} --content {contents},{content}"));
    }
    if row.get("active").is_some() && !flag(row, "active") {
        return Finding::new(Grade::Missing, format!("{name} is not active"));
    }
    let avail = number(row, "avail").unwrap_or_default();
    let (free, needs) = (mib(avail), mib(load.bytes));
    match (load.bytes > avail, content) {
        (false, _) => Finding::new(Grade::Good, format!("{name} takes `{content}` and has {free} free")),
        // A disk takes its room while it is written, and one that is there has it already.
        (true, "images") => Finding::new(
            Grade::Note,
            format!("{name} has {free} free, and the disks of the tasks have {needs} when they are full"),
        ),
        (true, _) => Finding::new(
            Grade::Missing,
            format!("{name} has {free} free, and {needs} are to be put there"),
        ),
    }
}

fn mib(bytes: u64) -> String {
    property::size(bytes >> 20 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_named_by_what_it_gives() {
        assert_eq!(
            role("/storage/local", "Datastore.AllocateSpace"),
            "OkdPlay-storage-local-Datastore-AllocateSpace"
        );
        assert_eq!(role("/", "Sys.Audit"), "OkdPlay-Sys-Audit");
    }

    #[test]
    fn a_storage_has_to_take_the_content_and_to_have_room() {
        let row = serde_json::json!({ "storage": "local", "content": "iso,backup", "active": 1, "avail": 5 << 20 });
        let grade = |content, bytes| {
            let load = Load {
                bytes,
                ..Load::default()
            };
            storage_found(Some(&row), "pve", "local", content, &load).grade
        };
        assert_eq!(grade("iso", 1), Grade::Good);
        assert_eq!(grade("iso", 9 << 20), Grade::Missing);
        assert_eq!(grade("import", 1), Grade::Missing);
        assert_eq!(
            storage_found(None, "pve", "fast", "iso", &Load::default()).grade,
            Grade::Missing
        );
    }
}
