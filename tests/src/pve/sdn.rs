//! The software-defined network of the stand-in: zones and vnets, staged for the whole cluster and applied together, with
//! whatever is staged on the nodes.

use super::World;
use super::network;
use super::request::{Asked, Reply};
use super::rules::{self, Rule, Table};
use super::task::Work;
use serde_json::{Map, Value as Json, json};
use sha1::{Digest, Sha1};
use std::collections::BTreeMap;

const KINDS: &[&str] = &["evpn", "faucet", "qinq", "simple", "vlan", "vxlan"];
const ZONE: &Table = &[
    ("zone", Rule::Sdn),
    ("type", Rule::One(KINDS)),
    ("peers", Rule::Any),
    ("fabric", Rule::Any),
    ("mtu", Rule::Int(0, i64::MAX)),
    ("vxlan-port", Rule::Int(1, 65536)),
    ("nodes", Rule::Any),
    ("bridge", Rule::Any),
    ("ipam", Rule::Any),
    ("delete", Rule::Any),
    ("digest", Rule::Any),
    ("lock-token", Rule::Any),
];
const VNET: &Table = &[
    ("vnet", Rule::Sdn),
    ("zone", Rule::Any),
    ("tag", Rule::Int(1, 16_777_215)),
    ("alias", Rule::Any),
    ("vlanaware", Rule::Bool),
    ("type", Rule::One(&["vnet"])),
    ("delete", Rule::Any),
    ("digest", Rule::Any),
    ("lock-token", Rule::Any),
];
const NUMBERS: [&str; 4] = ["mtu", "vxlan-port", "tag", "vlanaware"];

type Section = BTreeMap<String, Map<String, Json>>;

/// What is staged, and what is applied.
#[derive(Default)]
pub(crate) struct Sdn {
    staged: [Section; 2],
    running: [Section; 2],
}

fn text(row: &Map<String, Json>, name: &str) -> String {
    match row.get(name) {
        Some(Json::String(text)) => text.clone(),
        Some(Json::Number(number)) => number.to_string(),
        _ => String::new(),
    }
}

impl Sdn {
    pub(super) fn kept(&self) -> Json {
        json!({ "staged": self.staged, "running": self.running })
    }

    pub(super) fn restored(kept: &Json) -> Option<Sdn> {
        Some(Sdn {
            staged: serde_json::from_value(kept.get("staged")?.clone()).ok()?,
            running: serde_json::from_value(kept.get("running")?.clone()).ok()?,
        })
    }

    /// The applied vnets, as a hook is told them.
    pub(super) fn told(&self) -> Vec<Json> {
        let [zones, vnets] = &self.running;
        let none = Map::new();
        let all = vnets.iter().map(|(name, vnet)| {
            let zone = zones.get(&text(vnet, "zone")).unwrap_or(&none);
            let peers = text(zone, "peers");
            let peers: Vec<&str> = peers.split([',', ';', ' ']).filter(|peer| !peer.is_empty()).collect();
            json!({ "name": name, "zone": text(vnet, "zone"), "type": text(zone, "type"), "tag": vnet.get("tag"),
                "mtu": zone.get("mtu"), "peers": peers,
                "vxlan_port": zone.get("vxlan-port").cloned().unwrap_or_else(|| 4789.into()) })
        });
        all.collect()
    }

    /// The bridges that are there because of it.
    pub(super) fn bridges(&self) -> impl Iterator<Item = &String> {
        self.running[1].keys()
    }

    /// The zone of an applied vnet.
    pub(super) fn zone_of(&self, vnet: &str) -> Option<String> {
        let row = self.running[1].get(vnet).or_else(|| self.staged[1].get(vnet))?;
        Some(text(row, "zone"))
    }

    fn apply(&mut self) {
        self.running.clone_from(&self.staged);
    }

    /// A row with what waits to be applied.
    fn pending(&self, which: usize, id: &str) -> Json {
        let word = WORDS[which];
        let (then, now) = (self.staged[which].get(id), self.running[which].get(id));
        let mut row = Map::from_iter([(word.to_owned(), id.into()), ("digest".to_owned(), Json::Null)]);
        let kind = then.or(now).and_then(|own| own.get("type")).cloned();
        row.insert("type".to_owned(), kind.unwrap_or_default());
        for (name, value) in now.into_iter().flatten() {
            row.insert(name.clone(), value.clone());
        }
        let changed: Map<String, Json> = then
            .into_iter()
            .flatten()
            .filter(|(name, value)| *name != "type" && now.and_then(|now| now.get(*name)) != Some(*value))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        let gone = now
            .into_iter()
            .flatten()
            .any(|(name, _)| then.is_some_and(|then| !then.contains_key(name)));
        let state = match (now, then) {
            (None, Some(_)) => Some("new"),
            (Some(_), None) => Some("deleted"),
            _ if changed.is_empty() && !gone => None,
            _ => Some("changed"),
        };
        if let Some(state) = state {
            row.insert("state".to_owned(), state.into());
            row.insert("pending".to_owned(), Json::Object(changed));
        }
        Json::Object(row)
    }

    fn shown(&self, which: usize, id: &str) -> Option<Json> {
        let mut row = self.staged[which].get(id)?.clone();
        row.insert(WORDS[which].to_owned(), id.into());
        row.insert("digest".to_owned(), self.digest(which).into());
        Some(Json::Object(row))
    }

    fn digest(&self, which: usize) -> String {
        let text = json!(self.staged[which]).to_string();
        Sha1::digest(text.as_bytes())
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    /// Stages an edit as another person would.
    pub(super) fn stage_by_someone(&mut self, zone: &str) {
        let row = Map::from_iter([("type".to_owned(), "simple".into())]);
        self.staged[0].insert(zone.to_owned(), row);
    }
}

const WORDS: [&str; 2] = ["zone", "vnet"];

fn set(row: &mut Map<String, Json>, asked: &Asked, word: &str) {
    for name in asked.get("delete").unwrap_or_default().split([',', ';', ' ']) {
        row.remove(name);
    }
    for (name, value) in &asked.params {
        if [word, "delete", "digest", "lock-token"].contains(&name.as_str()) {
            continue;
        }
        let value = match value.parse::<i64>() {
            Ok(number) if NUMBERS.contains(&name.as_str()) => number.into(),
            _ => value.as_str().into(),
        };
        row.insert(name.clone(), value);
    }
}

/// What is wrong inside: it comes as a death with the words of a refusal.
fn inner(what: &str, errors: &[(&str, &str)]) -> Reply {
    let lines: Vec<String> = errors.iter().map(|(name, said)| format!("{name}: {said}")).collect();
    Reply::die(&format!(
        "{what} failed: 400 Parameter verification failed.\n{}",
        lines.join("\n")
    ))
}

fn sound(which: usize, verb: &str, row: &Map<String, Json>, zones: &Section) -> Result<(), Reply> {
    let what = format!("{verb} sdn {} object", WORDS[which]);
    if which == 0 {
        let one = row.contains_key("peers") != row.contains_key("fabric");
        let said = "must have exactly one of peers / fabric defined";
        return match text(row, "type") == "vxlan" && !one {
            true => Err(inner(&what, &[("fabric", said), ("peers", said)])),
            false => Ok(()),
        };
    }
    let zone = text(row, "zone");
    let Some(zone) = zones.get(&zone) else {
        return Err(Reply::die(&format!("{what} failed: zone {zone} does not exist")));
    };
    match text(zone, "type") == "vxlan" && !row.contains_key("tag") {
        true => Err(inner(&what, &[("tag", "missing vxlan tag")])),
        false => Ok(()),
    }
}

pub(super) fn answer(world: &mut World, asked: &Asked, rest: &[&str]) -> Result<Reply, Reply> {
    let allocate = |world: &World, path: &str| world.rights.need(asked, path, &["SDN.Allocate"]);
    match (asked.method.as_str(), rest) {
        ("GET", []) => {
            world.rights.need(asked, "/sdn", &["SDN.Audit"])?;
            let ids = ["vnets", "zones", "controllers", "ipams", "dns", "fabrics"];
            Ok(Reply::ok(ids.iter().map(|id| json!({ "id": id })).collect()))
        }
        ("PUT", []) => {
            allocate(world, "/sdn")?;
            let work = Work::stepped(|world, _| {
                world.sdn.apply();
                Ok(network::reload(world))
            });
            Ok(world.begin(asked, "reloadnetworkall", "", work))
        }
        (_, ["zones", more @ ..]) => section(world, asked, 0, more),
        (_, ["vnets", more @ ..]) => section(world, asked, 1, more),
        _ => Err(Reply::unknown(asked)),
    }
}

fn section(world: &mut World, asked: &Asked, which: usize, rest: &[&str]) -> Result<Reply, Reply> {
    let (word, table) = (WORDS[which], [ZONE, VNET][which]);
    let place = |world: &World, id: &str| match which {
        0 => format!("/sdn/zones/{id}"),
        _ => {
            let own = world.sdn.staged[1].get(id).map(|row| text(row, "zone"));
            format!("/sdn/zones/{}", own.unwrap_or_default())
        }
    };
    let missing = |id: &str| Reply::die(&format!("sdn '{id}' does not exist"));
    match (asked.method.as_str(), rest) {
        ("GET", []) => {
            rules::check(
                asked,
                &[
                    ("pending", Rule::Bool),
                    ("running", Rule::Bool),
                    ("type", Rule::One(KINDS)),
                ],
                &[],
            )?;
            let mut ids: Vec<String> = world.sdn.staged[which].keys().cloned().collect();
            if asked.flag("pending") {
                let gone = world.sdn.running[which].keys();
                ids.extend(gone.filter(|id| !world.sdn.staged[which].contains_key(*id)).cloned());
            }
            ids.retain(|id| {
                world
                    .rights
                    .has(asked, &place(world, id), &["SDN.Audit", "SDN.Allocate"])
            });
            let row = |id: &String| match asked.flag("pending") {
                true => Some(world.sdn.pending(which, id)),
                false => world.sdn.shown(which, id),
            };
            Ok(Reply::ok(ids.iter().filter_map(row).collect()))
        }
        ("GET", [id]) => {
            world.rights.need(asked, &place(world, id), &["SDN.Allocate"])?;
            world.sdn.shown(which, id).map(Reply::ok).ok_or_else(|| missing(id))
        }
        ("POST", []) => {
            let zone = asked.get("zone").unwrap_or_default();
            let path = if which == 0 {
                "/sdn/zones".to_owned()
            } else {
                format!("/sdn/zones/{zone}")
            };
            world.rights.need(asked, &path, &["SDN.Allocate"])?;
            let needed: &[&str] = if which == 0 {
                &["zone", "type"]
            } else {
                &["vnet", "zone"]
            };
            rules::check(asked, table, needed)?;
            let id = asked.get(word).unwrap_or_default().to_owned();
            if world.sdn.staged[which].contains_key(&id) {
                return Err(Reply::die(&format!(
                    "create sdn {word} object failed: sdn {word} object ID '{id}' already defined"
                )));
            }
            let mut row = Map::new();
            set(&mut row, asked, word);
            if which == 1 {
                row.insert("type".to_owned(), "vnet".into());
            }
            sound(which, "create", &row, &world.sdn.staged[0])?;
            world.sdn.staged[which].insert(id, row);
            Ok(Reply::ok(Json::Null))
        }
        ("PUT", [id]) => {
            world.rights.need(asked, &place(world, id), &["SDN.Allocate"])?;
            rules::check(asked, table, &[])?;
            let mut row = world.sdn.staged[which].get(*id).cloned().ok_or_else(|| missing(id))?;
            set(&mut row, asked, word);
            sound(which, "update", &row, &world.sdn.staged[0])?;
            world.sdn.staged[which].insert((*id).to_owned(), row);
            Ok(Reply::ok(Json::Null))
        }
        ("DELETE", [id]) => {
            world.rights.need(asked, &place(world, id), &["SDN.Allocate"])?;
            let user = world.sdn.staged[1].iter().find(|(_, row)| text(row, "zone") == *id);
            if let (0, Some((vnet, _))) = (which, user) {
                return Err(Reply::die(&format!(
                    "delete sdn zone object failed: zone {id} is used by vnet {vnet}"
                )));
            }
            world.sdn.staged[which].remove(*id).ok_or_else(|| missing(id))?;
            Ok(Reply::ok(Json::Null))
        }
        _ => Err(Reply::unknown(asked)),
    }
}

/// The zones of a node, and whether they are up.
pub(super) fn of_node(world: &World, asked: &Asked) -> Reply {
    let zones = world.sdn.running[0].keys();
    let seen = zones.filter(|id| {
        world
            .rights
            .has(asked, &format!("/sdn/zones/{id}"), &["SDN.Audit", "SDN.Allocate"])
    });
    Reply::ok(seen.map(|id| json!({ "zone": id, "status": "available" })).collect())
}
