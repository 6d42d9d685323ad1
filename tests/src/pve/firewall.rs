//! The firewall of the stand-in at its three levels: options, and rules by position; new ones come first.

use super::World;
use super::request::{Asked, Reply};
use super::rules::{self, Rule, Table};
use serde_json::{Map, Value as Json, json};
use sha1::{Digest, Sha1};
use std::collections::BTreeMap;

const LOG: &[&str] = &[
    "emerg", "alert", "crit", "err", "warning", "notice", "info", "debug", "nolog",
];
const POLICY: &[&str] = &["ACCEPT", "REJECT", "DROP"];
const OPTIONS: &Table = &[
    ("enable", Rule::Int(0, i64::MAX)),
    ("policy_in", Rule::One(POLICY)),
    ("policy_out", Rule::One(POLICY)),
    ("policy_forward", Rule::One(&["ACCEPT", "DROP"])),
    ("dhcp", Rule::Bool),
    ("ebtables", Rule::Bool),
    ("ipfilter", Rule::Bool),
    ("macfilter", Rule::Bool),
    ("ndp", Rule::Bool),
    ("radv", Rule::Bool),
    ("log_level_in", Rule::One(LOG)),
    ("log_level_out", Rule::One(LOG)),
    ("log_ratelimit", Rule::Any),
    ("delete", Rule::Any),
    ("digest", Rule::Any),
];
const RULE: &Table = &[
    ("type", Rule::One(&["in", "out", "forward", "group"])),
    ("action", Rule::Any),
    ("proto", Rule::Any),
    ("dport", Rule::Ports),
    ("sport", Rule::Ports),
    ("source", Rule::Any),
    ("dest", Rule::Any),
    ("iface", Rule::Iface),
    ("macro", Rule::Any),
    ("icmp-type", Rule::Any),
    ("log", Rule::One(LOG)),
    ("enable", Rule::Int(0, i64::MAX)),
    ("comment", Rule::Any),
    ("pos", Rule::Int(0, i64::MAX)),
    ("moveto", Rule::Int(0, i64::MAX)),
    ("delete", Rule::Any),
    ("digest", Rule::Any),
];
const NUMBERS: [&str; 8] = [
    "enable",
    "dhcp",
    "ebtables",
    "ipfilter",
    "macfilter",
    "ndp",
    "radv",
    "ipversion",
];

/// One level's options and rules.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wall {
    options: Map<String, Json>,
    rules: Vec<Map<String, Json>>,
}

/// All levels, by their place.
pub(crate) type Walls = BTreeMap<String, Wall>;

impl Wall {
    pub(super) fn kept(&self) -> Json {
        json!({ "options": self.options, "rules": self.rules })
    }

    pub(super) fn restored(kept: &Json) -> Option<Wall> {
        Some(Wall {
            options: serde_json::from_value(kept.get("options")?.clone()).ok()?,
            rules: serde_json::from_value(kept.get("rules")?.clone()).ok()?,
        })
    }

    fn digest(&self) -> String {
        let text = match self.options.is_empty() && self.rules.is_empty() {
            true => String::new(),
            false => self.kept().to_string(),
        };
        Sha1::digest(text.as_bytes())
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    fn fresh(&self, asked: &Asked) -> Result<(), Reply> {
        match asked.get("digest") {
            Some(digest) if !digest.is_empty() && digest != self.digest() => Err(Reply::die(
                "detected modified configuration - file changed by other user? Try again.",
            )),
            _ => Ok(()),
        }
    }

    fn row(&self, pos: usize) -> Option<Json> {
        let mut row = self.rules.get(pos)?.clone();
        row.insert("pos".to_owned(), pos.into());
        row.insert("digest".to_owned(), self.digest().into());
        Some(Json::Object(row))
    }
}

fn set(row: &mut Map<String, Json>, asked: &Asked) {
    for name in asked.get("delete").unwrap_or_default().split([',', ';', ' ']) {
        row.remove(name);
    }
    for (name, value) in &asked.params {
        if ["pos", "moveto", "delete", "digest"].contains(&name.as_str()) {
            continue;
        }
        let number = match value.as_str() {
            "yes" | "true" | "on" => Some(1),
            "no" | "false" | "off" => Some(0),
            other => other.parse::<i64>().ok(),
        };
        let value = match number {
            Some(number) if NUMBERS.contains(&name.as_str()) => number.into(),
            _ => value.as_str().into(),
        };
        row.insert(name.clone(), value);
    }
}

/// A level: its name in [`Walls`], and the privileges to read and to change it.
pub(super) struct Level {
    pub(super) name: String,
    pub(super) path: String,
    pub(super) read: &'static str,
    pub(super) write: &'static str,
}

impl Level {
    pub(super) fn cluster() -> Level {
        Level {
            name: "cluster".to_owned(),
            path: "/".to_owned(),
            read: "Sys.Audit",
            write: "Sys.Modify",
        }
    }

    pub(super) fn node(node: &str) -> Level {
        Level {
            name: format!("nodes/{node}"),
            path: format!("/nodes/{node}"),
            ..Level::cluster()
        }
    }

    pub(super) fn guest(vmid: &str) -> Level {
        Level {
            name: format!("qemu/{vmid}"),
            path: format!("/vms/{vmid}"),
            read: "VM.Audit",
            write: "VM.Config.Network",
        }
    }
}

pub(super) fn answer(world: &mut World, asked: &Asked, level: &Level, rest: &[&str]) -> Result<Reply, Reply> {
    let privilege = if asked.method == "GET" { level.read } else { level.write };
    world.rights.need(asked, &level.path, &[privilege])?;
    let mut wall = world.walls.get(&level.name).cloned().unwrap_or_default();
    let position = |pos: &str, wall: &Wall| {
        let pos = pos.parse::<usize>().ok().filter(|pos| *pos < wall.rules.len());
        pos.ok_or_else(|| Reply::wrong_one("pos", "no rule at position"))
    };
    match (asked.method.as_str(), rest) {
        ("GET", ["options"]) => {
            let mut row = wall.options.clone();
            row.insert("digest".to_owned(), wall.digest().into());
            return Ok(Reply::ok(Json::Object(row)));
        }
        ("GET", ["groups" | "aliases" | "ipset"]) => return Ok(Reply::ok(json!([]))),
        ("GET", ["rules"]) => {
            let rows = (0..wall.rules.len()).filter_map(|pos| wall.row(pos));
            return Ok(Reply::ok(rows.collect()));
        }
        ("GET", ["rules", pos]) => {
            let pos = position(pos, &wall)?;
            return Ok(Reply::ok(wall.row(pos).unwrap_or_default()));
        }
        ("PUT", ["options"]) => {
            rules::check(asked, OPTIONS, &[])?;
            wall.fresh(asked)?;
            set(&mut wall.options, asked);
        }
        ("POST", ["rules"]) => {
            rules::check(asked, RULE, &["action", "type"])?;
            wall.fresh(asked)?;
            let mut rule = Map::from_iter([("enable".to_owned(), 0.into())]);
            set(&mut rule, asked);
            wall.rules.insert(0, rule);
        }
        ("PUT", ["rules", pos]) => {
            rules::check(asked, RULE, &[])?;
            wall.fresh(asked)?;
            let pos = position(pos, &wall)?;
            set(&mut wall.rules[pos], asked);
        }
        ("DELETE", ["rules", pos]) => {
            wall.fresh(asked)?;
            let pos = position(pos, &wall)?;
            wall.rules.remove(pos);
        }
        _ => return Err(Reply::unknown(asked)),
    }
    world.walls.insert(level.name.clone(), wall);
    Ok(Reply::ok(Json::Null))
}
