//! A zone of Proxmox VE's software-defined network with its vnets. Edits are staged for the whole cluster, and applying takes
//! everything that anyone staged, on every node: so other people's staged edits are named and refused, never applied along.

use super::api::{Api, ApiError, Call, Json, Method, number, rows, text};
use super::back::Back;
use super::bridge::{Presence, under_way};
use super::proxmox_params;
use super::rights::{Need, Store, Zones};
use super::vm;
use okd_agent::choice;
use okd_agent::diff::{Change, Sign};
use okd_agent::resource::{Resource, ResourceError, View};
use okd_agent::value::{Map, map};
use serde::Serialize;
use std::collections::BTreeMap;
use std::net::IpAddr;

const ZONES: &str = "/cluster/sdn/zones";
const VNETS: &str = "/cluster/sdn/vnets";

choice! {
    /// How a zone joins its nodes.
    pub enum ZoneType {
        /// VXLAN between peers.
        Vxlan = "vxlan",
        /// Not at all: a bridge on each node.
        Simple = "simple",
    }
}
proxmox_params! {
    /// A zone of Proxmox VE's software-defined network, with its vnets, staged and applied.
    pub struct ProxmoxSdn {
        /// The zone's name: 2 to 8 letters and digits, a letter first.
        zone: String ["name"],
        /// How it joins the nodes.
        r#type: ZoneType = "vxlan",
        /// Addresses of all nodes that it joins, of a `vxlan` zone; the order does not matter.
        peers: Vec<String>,
        /// The MTU of its vnets: 50 below that of the network between the nodes (70 where that is IPv6); 0 for the system's own.
        mtu: Option<u64>,
        /// The UDP port; 0 for the usual one, 4789.
        vxlan_port: Option<u64>,
        /// Nodes that have it; all without it.
        nodes: Option<Vec<String>>,
        /// Its vnets and their tags (VNI, 1 to 16777215), such as `okdnet: 4242`. A vnet is a bridge that machines can be put
        /// on. One with the tag 0 is taken away, others of the zone are left alone.
        vnets: indexmap::IndexMap<String, u64>,
        /// Whether the zone should be there; `absent` takes the named vnets with it.
        state: Presence = "present",
    }
}

/// What can be seen of a zone and its vnets, as staged.
#[derive(Debug, Clone, Serialize)]
pub struct Sdn {
    zone: String,
    /// Its settings, by the interface's own names; `None` where there is none.
    settings: Option<BTreeMap<&'static str, String>>,
    /// Its vnets and their tags.
    vnets: BTreeMap<String, u64>,
    /// Whether what is staged of it is also what runs.
    applied: bool,
    /// What others staged.
    #[serde(skip)]
    foreign: Vec<String>,
    #[serde(skip)]
    zones: Vec<Json>,
    #[serde(skip)]
    all: Vec<Json>,
    #[serde(skip)]
    online: Vec<String>,
}

impl View for Sdn {
    fn changes(&self, want: &Self) -> Vec<Change> {
        let mut all = Vec::new();
        let item = |sign, text: String| Change::Item { sign, text };
        match (&self.settings, &want.settings) {
            (None, Some(_)) => all.push(item(Sign::Added, format!("zone {}", self.zone))),
            (Some(_), None) => all.push(item(Sign::Removed, format!("zone {}", self.zone))),
            _ => {}
        }
        let empty = BTreeMap::new();
        let now = self.settings.as_ref().unwrap_or(&empty);
        for (name, after) in want.settings.iter().flatten() {
            let before = now.get(name).cloned().unwrap_or_default();
            if before != *after {
                all.push(Change::Field {
                    of: format!("zone {}", self.zone),
                    name: (*name).to_owned(),
                    before,
                    after: after.clone(),
                });
            }
        }
        for (name, tag) in &want.vnets {
            match self.vnets.get(name) {
                None => all.push(item(Sign::Added, format!("vnet {name} (tag {tag}) in {}", self.zone))),
                Some(old) if old != tag => all.push(Change::Field {
                    of: format!("vnet {name}"),
                    name: "tag".to_owned(),
                    before: old.to_string(),
                    after: tag.to_string(),
                }),
                Some(_) => {}
            }
        }
        for name in self.vnets.keys().filter(|name| !want.vnets.contains_key(*name)) {
            all.push(item(Sign::Removed, format!("vnet {name} in {}", self.zone)));
        }
        if !all.is_empty() || !self.applied {
            all.push(Change::Act("apply the cluster's software-defined network".to_owned()));
        }
        all
    }
}

fn sorted(list: &str) -> String {
    let mut all: Vec<&str> = list.split([',', ';', ' ']).filter(|item| !item.is_empty()).collect();
    all.sort_unstable();
    all.join(",")
}

/// The settings of a row that can be asked for, in one spelling.
fn shown(row: &Json) -> BTreeMap<&'static str, String> {
    let own = |name: &str| text(row, name).unwrap_or_default();
    BTreeMap::from([
        ("type", own("type")),
        ("peers", sorted(&own("peers"))),
        ("mtu", own("mtu")),
        ("vxlan-port", own("vxlan-port")),
        ("nodes", sorted(&own("nodes"))),
    ])
}

fn fitting(name: &str) -> bool {
    (2..=8).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
}

fn is(row: &Json, key: &str, name: &str) -> bool {
    text(row, key).as_deref() == Some(name)
}

impl ProxmoxSdn {
    fn wanted(&self, now: Option<&BTreeMap<&'static str, String>>) -> BTreeMap<&'static str, String> {
        let mut all = now.cloned().unwrap_or_else(|| shown(&Json::Null));
        all.insert("type", self.r#type.word().to_owned());
        if self.r#type == ZoneType::Vxlan {
            all.insert("peers", sorted(&self.peers.join(",")));
        }
        let mut set = |name, value: Option<String>| {
            if let Some(value) = value {
                all.insert(name, value);
            }
        };
        let number = |value: u64| if value == 0 { String::new() } else { value.to_string() };
        set("mtu", self.mtu.map(number));
        set("vxlan-port", self.vxlan_port.map(number));
        set("nodes", self.nodes.as_ref().map(|nodes| sorted(&nodes.join(","))));
        all
    }

    /// The zone and the named vnets as they were; where they were not there they go again.
    pub(super) fn taken_back(&self, now: &Sdn, _: &Map) -> Back {
        let gone = self.state == Presence::Absent;
        let lists = [
            ("zone", &now.zones, &["type", "peers", "mtu", "vxlan-port", "nodes"][..]),
            ("vnet", &now.all, &["zone", "tag"]),
        ];
        for (word, list, known) in lists.into_iter().filter(|_| gone) {
            let own = list.iter().filter(|row| is(row, "zone", &self.zone));
            let names = own
                .flat_map(|row| row.as_object().into_iter().flatten())
                .map(|(name, _)| name.as_str());
            let mut strange =
                names.filter(|name| ![word, "type", "digest", "pending"].contains(name) && !known.contains(name));
            if let Some(name) = strange.next() {
                return Back::not(format!(
                    "the {word} that was removed had `{name}`, which cannot be said here"
                ));
            }
        }
        let before = |name: &String| (name.clone(), now.vnets.get(name).copied().unwrap_or_default());
        let vnets: BTreeMap<String, u64> = self.vnets.keys().map(before).collect();
        let kind = now
            .settings
            .as_ref()
            .map_or(self.r#type.word(), |own| own["type"].as_str());
        let mut args = serde_json::json!({ "zone": self.zone, "type": kind, "vnets": vnets });
        let Some(settings) = &now.settings else {
            args["state"] = Presence::Absent.word().into();
            return Back::by(args);
        };
        let want = self.wanted(Some(settings));
        for (name, value) in settings {
            let list = || {
                value
                    .split(',')
                    .filter(|item| !item.is_empty())
                    .map(Json::from)
                    .collect()
            };
            let number = || value.parse::<u64>().unwrap_or_default().into();
            let same = !gone && want.get(name) == Some(value);
            let (name, value) = match *name {
                "peers" if !value.is_empty() => ("peers", list()),
                "nodes" if !same => ("nodes", list()),
                "mtu" if !same => ("mtu", number()),
                "vxlan-port" if !same => ("vxlan_port", number()),
                _ => continue,
            };
            args[name] = value;
        }
        Back::by(args)
    }

    /// Who would miss one of its vnets.
    pub(super) fn held(&self, world: &dyn Api) -> Result<Option<(String, String)>, ApiError> {
        let goes = |tag: u64| tag == 0 || self.state == Presence::Absent;
        let vnets = self
            .vnets
            .iter()
            .filter(|(_, tag)| goes(**tag))
            .map(|(name, _)| name.as_str());
        let user = vm::on_bridge(world, &vnets.collect::<Vec<_>>())?;
        Ok(user.map(|user| (format!("zone {}", self.zone), user)))
    }

    /// Staged edits of others: of the zones and vnets, and of the nodes' networks, which are applied along.
    fn foreign(&self, world: &dyn Api, online: &[String]) -> Result<Vec<String>, ApiError> {
        let mut all = Vec::new();
        for (path, word) in [(ZONES, "zone"), (VNETS, "vnet")] {
            for row in rows(&world.get(&format!("{path}?pending=1"))?) {
                let Some(state) = text(&row, "state") else { continue };
                let name = text(&row, word).unwrap_or_default();
                if !self.owns(word, &name) {
                    all.push(format!("{word} {name} ({state})"));
                }
            }
        }
        for node in online {
            if let Some(diff) = text(&world.get(&format!("/nodes/{node}/network"))?, "changes") {
                all.push(format!("the network of {node}:\n{}", diff.trim_end()));
            }
        }
        Ok(all)
    }

    fn owns(&self, word: &str, name: &str) -> bool {
        match word {
            "zone" => name == self.zone,
            _ => self.vnets.contains_key(name),
        }
    }

    /// Whether nothing of ours waits to be applied.
    fn applied(&self, world: &dyn Api) -> Result<bool, ApiError> {
        for (path, word) in [(ZONES, "zone"), (VNETS, "vnet")] {
            let list = rows(&world.get(&format!("{path}?pending=1"))?);
            let waits =
                |row: &Json| row.get("state").is_some() && text(row, word).is_some_and(|name| self.owns(word, &name));
            if list.iter().any(waits) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// A call with what both lists, plain and with what waits, will answer then.
    fn staging(call: Call, path: &str, list: &[Json]) -> Call {
        call.predicting(path, Json::Array(list.to_vec()))
            .predicting(format!("{path}?pending=1"), Json::Array(list.to_vec()))
    }

    fn stage_zone(
        &self,
        now: &Sdn,
        settings: &BTreeMap<&'static str, String>,
        world: &dyn Api,
    ) -> Result<(), ResourceError> {
        let update = now.settings.is_some();
        let (mut call, mut delete) = match update {
            true => (Call::new(Method::Put, format!("{ZONES}/{}", self.zone)), Vec::new()),
            false => (
                Call::new(Method::Post, ZONES).with("zone", self.zone.as_str()),
                Vec::new(),
            ),
        };
        let mut row = serde_json::Map::from_iter([("zone".to_owned(), self.zone.as_str().into())]);
        for (name, value) in settings {
            match value.as_str() {
                "" => delete.push(*name),
                value => {
                    row.insert((*name).to_owned(), value.into());
                    if !(update && *name == "type") {
                        call = call.with(name, value);
                    }
                }
            }
        }
        let old = now.settings.as_ref();
        delete.retain(|name| old.and_then(|old| old.get(name)).is_some_and(|value| !value.is_empty()));
        if !delete.is_empty() {
            call = call.with("delete", delete.join(","));
        }
        let mut list: Vec<Json> = now
            .zones
            .iter()
            .filter(|row| !is(row, "zone", &self.zone))
            .cloned()
            .collect();
        list.push(Json::Object(row));
        world.send(&ProxmoxSdn::staging(call, ZONES, &list))?;
        Ok(())
    }

    fn stage_vnets(&self, now: &Sdn, want: &Sdn, world: &dyn Api) -> Result<(), ResourceError> {
        let mut list = now.all.clone();
        for name in now.vnets.keys().filter(|name| !want.vnets.contains_key(*name)) {
            list.retain(|row| !is(row, "vnet", name));
            let call = Call::new(Method::Delete, format!("{VNETS}/{name}"));
            world.send(&ProxmoxSdn::staging(call, VNETS, &list))?;
        }
        for (name, tag) in &want.vnets {
            if now.vnets.get(name) == Some(tag) {
                continue;
            }
            let call = match now.vnets.contains_key(name) {
                true => Call::new(Method::Put, format!("{VNETS}/{name}")),
                false => Call::new(Method::Post, VNETS).with("vnet", name.as_str()),
            };
            list.retain(|row| !is(row, "vnet", name));
            list.push(serde_json::json!({ "vnet": name, "zone": self.zone, "tag": tag }));
            let call = call.with("zone", self.zone.as_str()).with("tag", tag.to_string());
            world.send(&ProxmoxSdn::staging(call, VNETS, &list))?;
        }
        Ok(())
    }

    /// The privileges that it needs.
    pub(super) fn rights(&self, _: &Zones) -> Vec<Need> {
        let zone = format!("/sdn/zones/{}", self.zone);
        vec![
            Need::one("/sdn/zones", "SDN.Allocate", "to make a zone"),
            Need::one(&zone, "SDN.Allocate", "to edit the zone and its vnets"),
            Need::one("/sdn", "SDN.Allocate", "to apply the software-defined network"),
        ]
    }

    /// The nodes that have it, where they are named.
    pub(super) fn nodes(&self) -> Vec<String> {
        self.nodes.clone().unwrap_or_default()
    }

    /// It uses none.
    pub(super) fn stores(&self) -> Vec<Store> {
        Vec::new()
    }
}

impl Resource for ProxmoxSdn {
    const NAMES: &'static [&'static str] = &["proxmox_sdn"];
    const EXAMPLE: &'static str = "- proxmox_sdn:\n    api_host: pve.example.org\n    api_user: okd@pve\n    api_token_id: play\n    api_token_secret: \"{{ vault_pve_token }}\"\n    ca_path: files/pve-root-ca.pem\n    zone: okdz\n    peers: [10.213.0.2, 10.213.0.3]\n    mtu: 1450\n    vnets: { okdnet: 4242 }\n";
    const PREDICTS: &'static str =
        "the zone's settings, its vnets, and that the cluster's software-defined network is applied";
    type World = dyn Api;
    type State = Sdn;

    fn check(&self) -> Result<(), Vec<String>> {
        let mut wrong = self.connection();
        for name in std::iter::once(&self.zone)
            .chain(self.vnets.keys())
            .filter(|name| !fitting(name))
        {
            wrong.push(format!(
                "`{name}` is no name here: 2 to 8 letters and digits, a letter first"
            ));
        }
        let present = self.state == Presence::Present;
        if present && self.r#type == ZoneType::Vxlan && self.peers.is_empty() {
            wrong.push("a `vxlan` zone needs `peers`".to_owned());
        }
        if self.r#type == ZoneType::Simple && !self.peers.is_empty() {
            wrong.push("a `simple` zone has no `peers`".to_owned());
        }
        for peer in self.peers.iter().filter(|peer| peer.parse::<IpAddr>().is_err()) {
            wrong.push(format!("`{peer}` in `peers` is no address"));
        }
        if self.mtu.is_some_and(|mtu| mtu != 0 && !(1280..=65520).contains(&mtu)) {
            wrong.push("`mtu` is 1280 to 65520, or 0".to_owned());
        }
        for (name, tag) in self.vnets.iter().filter(|(_, tag)| **tag > 16_777_215) {
            wrong.push(format!("the tag {tag} of `{name}` is not 1 to 16777215, or 0"));
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }

    fn inspect(&self, world: &Self::World) -> Result<Sdn, ResourceError> {
        let nodes = rows(&world.get("/nodes")?);
        let online = nodes.iter().filter(|row| is(row, "status", "online"));
        let online: Vec<String> = online.filter_map(|row| text(row, "node")).collect();
        for node in &online {
            apply_settled(world, node)?;
        }
        let (zones, all) = (rows(&world.get(ZONES)?), rows(&world.get(VNETS)?));
        let own = zones.iter().find(|row| is(row, "zone", &self.zone));
        let vnets = all
            .iter()
            .filter(|row| is(row, "zone", &self.zone))
            .filter_map(|row| Some((text(row, "vnet")?, number(row, "tag").unwrap_or_default())));
        let strange = all
            .iter()
            .find(|row| self.vnets.keys().any(|name| is(row, "vnet", name)) && !is(row, "zone", &self.zone));
        if let Some(row) = strange {
            return Err(ResourceError::message(format!(
                "the vnet {} is one of the zone {}, not of {}: take another name",
                text(row, "vnet").unwrap_or_default(),
                text(row, "zone").unwrap_or_default(),
                self.zone
            )));
        }
        Ok(Sdn {
            zone: self.zone.clone(),
            settings: own.map(shown),
            vnets: vnets.collect(),
            applied: self.applied(world)?,
            foreign: self.foreign(world, &online)?,
            zones: zones.clone(),
            all: all.clone(),
            online,
        })
    }

    fn desire(&self, now: &Sdn) -> Result<Sdn, ResourceError> {
        let mut want = now.clone();
        want.applied = true;
        if self.state == Presence::Absent {
            want.settings = None;
            want.vnets.clear();
            let others: Vec<&str> = now
                .vnets
                .keys()
                .filter(|name| !self.vnets.contains_key(*name))
                .map(String::as_str)
                .collect();
            if !others.is_empty() {
                return Err(ResourceError::message(format!(
                    "the zone {} has vnets that are not named here: {}; name them in `vnets` where they shall go with it",
                    self.zone,
                    others.join(", ")
                )));
            }
        } else {
            let kind = now.settings.as_ref().and_then(|own| own.get("type"));
            if let Some(kind) = kind.filter(|kind| *kind != self.r#type.word()) {
                return Err(ResourceError::message(format!(
                    "{} is a zone of type {kind}, and a type cannot be changed: take another name, or remove it first",
                    self.zone
                )));
            }
            want.settings = Some(self.wanted(now.settings.as_ref()));
            for (name, tag) in &self.vnets {
                match tag {
                    0 => drop(want.vnets.remove(name)),
                    tag => drop(want.vnets.insert(name.clone(), *tag)),
                }
            }
        }
        if now.foreign.is_empty() || now.changes(&want).is_empty() {
            return Ok(want);
        }
        Err(ResourceError::message(format!(
            "there are staged edits that are not ours; applying would take them along. Apply or revert them in Proxmox VE \
             (Datacenter > SDN, and NODE > System > Network), then run again:\n{}",
            now.foreign.join("\n")
        )))
    }

    fn apply(&self, now: &Sdn, want: &Sdn, world: &Self::World) -> Result<Map, ResourceError> {
        match &want.settings {
            Some(settings) => {
                if now.settings.as_ref() != Some(settings) {
                    self.stage_zone(now, settings, world)?;
                }
                self.stage_vnets(now, want, world)?;
            }
            None => {
                self.stage_vnets(now, want, world)?;
                if now.settings.is_some() {
                    let left: Vec<Json> = now
                        .zones
                        .iter()
                        .filter(|row| !is(row, "zone", &self.zone))
                        .cloned()
                        .collect();
                    let call = Call::new(Method::Delete, format!("{ZONES}/{}", self.zone));
                    world.send(&ProxmoxSdn::staging(call, ZONES, &left))?;
                }
            }
        }
        let foreign = self.foreign(world, &now.online)?;
        if !foreign.is_empty() {
            return Err(ResourceError::message(format!(
                "someone else staged edits meanwhile; nothing was applied:\n{}",
                foreign.join("\n")
            )));
        }
        let mut call = Call::new(Method::Put, "/cluster/sdn");
        for path in [ZONES, VNETS] {
            let list = Json::Array(rows(&world.get(path)?));
            call = call.predicting(format!("{path}?pending=1"), list);
        }
        world.send(&call)?;
        if !world.predicted() && want.settings.is_some() {
            self.came_up(now, world)?;
        }
        Ok(Map::new())
    }

    fn result(&self, state: &Sdn) -> Map {
        let names: Vec<String> = state.vnets.keys().cloned().collect();
        map([
            ("zone", self.zone.as_str().into()),
            (
                "vnets",
                okd_agent::value::Value::List(names.into_iter().map(Into::into).collect()),
            ),
        ])
    }
}

impl ProxmoxSdn {
    /// No node may say that the zone is in error.
    fn came_up(&self, now: &Sdn, world: &dyn Api) -> Result<(), ResourceError> {
        for node in &now.online {
            let zones = rows(&world.get(&format!("/nodes/{node}/sdn/zones"))?);
            let own = zones.iter().find(|row| is(row, "zone", &self.zone));
            if own.is_some_and(|row| is(row, "status", "error")) {
                return Err(ResourceError::message(format!(
                    "the software-defined network was applied, and the zone {} is in error on {node}; the log of the task \
                     `reloadnetworkall` on the node says why",
                    self.zone
                )));
            }
        }
        Ok(())
    }
}

/// Waits for an apply that is under way: what it ends with is what counts.
fn apply_settled(world: &dyn Api, node: &str) -> Result<(), ApiError> {
    let running = world.get(&format!(
        "/nodes/{node}/tasks?source=active&typefilter=reloadnetworkall"
    ))?;
    for task in rows(&running).iter().filter(|task| under_way(task)) {
        if let Some(upid) = text(task, "upid") {
            world.settle(&upid, &[])?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_compared_without_their_order() {
        assert_eq!(sorted("10.0.0.3; 10.0.0.2"), "10.0.0.2,10.0.0.3");
        assert_eq!(sorted(""), "");
    }

    #[test]
    fn names_are_short() {
        assert!(fitting("okdnet") && fitting("z1"));
        for wrong in ["z", "1zone", "toolongzone", "a-b", ""] {
            assert!(!fitting(wrong), "{wrong}");
        }
    }
}
