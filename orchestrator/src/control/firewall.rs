//! The firewall of Proxmox VE at one of its levels: options, and the rules that carry our mark. The rules are compared as one
//! ordered list; those without the mark are other people's, and stay as they are behind ours.

use super::api::{Api, ApiError, Call, Json, Method, number, rows, text};
use super::back::Back;
use super::property::truth;
use super::proxmox_params;
use super::rights::{Need, Store, Zones};
use super::vm;
use okd_agent::diff::{Change, Sign};
use okd_agent::resource::{Resource, ResourceError, View};
use okd_agent::value::{Map, map};
use okd_agent::{choice, params};
use serde::Serialize;
use std::collections::BTreeMap;

choice! {
    /// What a firewall guards.
    pub enum Level {
        /// All nodes.
        Cluster = "cluster",
        /// One node.
        Node = "node",
        /// One virtual machine.
        Guest = "guest",
    }
}
choice! {
    /// Which way a rule looks.
    pub enum Direction {
        /// What comes in.
        In = "in",
        /// What goes out.
        Out = "out",
        /// What is passed on, of `cluster` and `node`.
        Forward = "forward",
    }
}
params! {
    /// A rule.
    pub struct Rule {
        /// Which way it looks.
        r#type: Direction = "in",
        /// `ACCEPT`, `DROP` or `REJECT`.
        action: String = "ACCEPT",
        /// The protocol, such as `tcp`.
        proto: Option<String>,
        /// Ports of the destination: one, several with commas, a range such as `30000:32767`.
        dport: Option<String>,
        /// Ports of the source.
        sport: Option<String>,
        /// Addresses of the source: addresses, networks, aliases, `+set`. More than one rule holds become several rules.
        source: Vec<String>,
        /// Addresses of the destination, likewise.
        dest: Vec<String>,
        /// The interface: a node's own, or `net0`, … of a machine.
        iface: Option<String>,
        /// A macro such as `SSH` in the place of `proto` and `dport`.
        r#macro: Option<String>,
        /// The ICMP type, such as `echo-request`.
        icmp_type: Option<String> ["icmp-type"],
        /// Log what it meets, such as `info`.
        log: Option<String>,
        /// Whether it counts.
        enable: bool = "yes",
        /// A remark.
        comment: Option<String>,
    }
}
proxmox_params! {
    /// The firewall of Proxmox VE at one level: options and rules.
    pub struct ProxmoxFirewall {
        /// What it guards.
        level: Level = "guest",
        /// The node, of level `node`.
        node: Option<String>,
        /// The machine's name, of level `guest`.
        name: Option<String>,
        /// The machine's number, of level `guest`.
        vmid: Option<u64>,
        /// Options by their own names, such as `enable: 1` and `policy_in: DROP`; an empty one goes back to its default, others are
        /// left alone.
        options: indexmap::IndexMap<String, String>,
        /// The rules that carry `mark`, in their order; they stand before all others. Without it, rules are left alone.
        rules: Option<Vec<Rule>>,
        /// How our rules are known: their comment begins with it.
        mark: String = "okd-play",
    }
}

/// What can be seen of a firewall: the options that were asked for, and the rules that are ours.
#[derive(Debug, Clone, Serialize)]
pub struct Wall {
    place: String,
    options: BTreeMap<String, String>,
    rules: Vec<BTreeMap<String, String>>,
    /// Where it is.
    #[serde(skip)]
    base: String,
    /// All options as they were read.
    #[serde(skip)]
    raw: Json,
    #[serde(skip)]
    notes: Vec<String>,
}

impl View for Wall {
    fn changes(&self, want: &Self) -> Vec<Change> {
        let mut all = Vec::new();
        for (name, after) in &want.options {
            let before = self.options.get(name).cloned().unwrap_or_default();
            if before != *after {
                all.push(Change::Field {
                    of: self.place.clone(),
                    name: name.clone(),
                    before,
                    after: after.clone(),
                });
            }
        }
        if self.rules == want.rules {
            return all;
        }
        let begun = all.len();
        let item = |sign, rule: &BTreeMap<String, String>| Change::Item {
            sign,
            text: format!("rule {} of {}", told(rule), self.place),
        };
        all.extend(left(&self.rules, &want.rules).map(|rule| item(Sign::Removed, rule)));
        all.extend(left(&want.rules, &self.rules).map(|rule| item(Sign::Added, rule)));
        if all.len() == begun {
            all.push(Change::Field {
                of: self.place.clone(),
                name: "order of the rules".to_owned(),
                before: listed(&self.rules),
                after: listed(&want.rules),
            });
        }
        all
    }
}

type Row = BTreeMap<String, String>;

/// What of one list is not in the other; what is there twice counts twice.
fn left<'a>(of: &'a [Row], without: &[Row]) -> impl Iterator<Item = &'a Row> {
    let mut without = without.to_vec();
    of.iter()
        .filter(move |rule| match without.iter().position(|own| own == *rule) {
            Some(at) => {
                without.remove(at);
                false
            }
            None => true,
        })
}

fn listed(rules: &[Row]) -> String {
    rules.iter().map(told).collect::<Vec<_>>().join(" | ")
}

/// A rule in a line.
fn told(rule: &Row) -> String {
    let own = |name: &str| rule.get(name).map(String::as_str).unwrap_or_default();
    let mut words = vec![own("type").to_owned(), own("action").to_owned()];
    for (name, value) in rule {
        if !["type", "action", "enable", "comment"].contains(&name.as_str()) {
            words.push(format!("{name}={value}"));
        }
    }
    if own("enable") != "1" {
        words.push("(off)".to_owned());
    }
    words.push(format!("# {}", own("comment")));
    words.join(" ")
}

const KEYS: [&str; 13] = [
    "type",
    "action",
    "proto",
    "dport",
    "sport",
    "source",
    "dest",
    "iface",
    "macro",
    "icmp-type",
    "log",
    "enable",
    "comment",
];

/// A row of the list, as far as rules are compared.
fn shown(row: &Json) -> Row {
    let mut rule: Row = KEYS
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), text(row, name)?.trim().to_owned())))
        .filter(|(_, value)| !value.is_empty())
        .collect();
    rule.entry("enable".to_owned()).or_insert_with(|| "0".to_owned());
    rule
}

/// A row as the rule that makes it.
fn as_given(row: &Row, mark: &str) -> Json {
    let given = row.iter().filter_map(|(name, value)| {
        let value = match name.as_str() {
            "source" | "dest" => value.split(',').map(Json::from).collect(),
            "enable" => Json::Bool(value == "1"),
            "comment" => {
                let own = value.strip_prefix(mark)?.trim_start_matches(':').trim();
                Some(own).filter(|own| !own.is_empty())?.into()
            }
            _ => value.as_str().into(),
        };
        Some((name.clone(), value))
    });
    Json::Object(given.collect())
}

/// As many addresses, with commas, as one rule of Proxmox VE holds.
const LONGEST: usize = 512;

/// Addresses in as few lists as hold them; one of none where there are none.
fn lists(addresses: &[String]) -> Vec<String> {
    let mut lists = vec![String::new()];
    for address in addresses {
        match lists.last_mut() {
            Some(list) if list.is_empty() => list.push_str(address),
            Some(list) if list.len() + 1 + address.len() <= LONGEST => {
                list.push(',');
                list.push_str(address);
            }
            _ => lists.push(address.clone()),
        }
    }
    lists
}

impl Rule {
    /// The rule, or the rules that hold all of its addresses.
    fn rows(&self, mark: &str) -> Vec<Row> {
        let (sources, dests) = (lists(&self.source), lists(&self.dest));
        let pairs = sources
            .iter()
            .flat_map(|source| dests.iter().map(move |dest| (source, dest)));
        pairs.map(|(source, dest)| self.row(mark, source, dest)).collect()
    }

    fn row(&self, mark: &str, source: &str, dest: &str) -> Row {
        let mut row = Row::new();
        let mut set = |name: &str, value: Option<String>| {
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                row.insert(name.to_owned(), value);
            }
        };
        set("type", Some(self.r#type.word().to_owned()));
        set("action", Some(self.action.clone()));
        set("proto", self.proto.clone());
        set("dport", self.dport.clone());
        set("sport", self.sport.clone());
        set("source", Some(source.to_owned()));
        set("dest", Some(dest.to_owned()));
        set("iface", self.iface.clone());
        set("macro", self.r#macro.clone());
        set("icmp-type", self.icmp_type.clone());
        set("log", self.log.clone());
        set("enable", Some(u8::from(self.enable).to_string()));
        let comment = match self.comment.as_deref().map(str::trim) {
            Some(text) if !text.is_empty() => format!("{mark}: {text}"),
            _ => mark.to_owned(),
        };
        set("comment", Some(comment));
        row
    }
}

impl ProxmoxFirewall {
    fn own(&self, row: &Json) -> bool {
        let comment = text(row, "comment").unwrap_or_default();
        let rest = comment.trim().strip_prefix(self.mark.as_str());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
    }

    /// The options that are asked for, and the rules that shall be ours.
    fn wanted(&self, now: &Wall) -> (BTreeMap<String, String>, Vec<Row>) {
        let options = self
            .options
            .iter()
            .map(|(name, value)| (name.clone(), truth(value.trim())));
        let rules = match &self.rules {
            Some(rules) => rules.iter().flat_map(|rule| rule.rows(&self.mark)).collect(),
            None => now.rules.clone(),
        };
        (options.collect(), rules)
    }

    /// The options and our rules as they were.
    pub(super) fn taken_back(&self, now: &Wall, _: &Map) -> Back {
        let (options, rules) = self.wanted(now);
        let options = now
            .options
            .iter()
            .filter(|(name, before)| options.get(*name) != Some(*before));
        let options: BTreeMap<&String, &String> = options.collect();
        let mut args = serde_json::json!({ "level": self.level.word(), "mark": self.mark, "options": options });
        for (name, value) in [
            ("node", self.node.as_ref().map(|node| node.as_str().into())),
            ("name", self.name.as_ref().map(|name| name.as_str().into())),
            ("vmid", self.vmid.map(Json::from)),
            (
                "rules",
                (rules != now.rules).then(|| now.rules.iter().map(|rule| as_given(rule, &self.mark)).collect()),
            ),
        ] {
            if let Some(value) = value {
                args[name] = value;
            }
        }
        Back::by(args)
    }

    /// Its path, what it is called, and what a person should know of it.
    fn place(&self, world: &dyn Api) -> Result<(String, String, Vec<String>), ResourceError> {
        match self.level {
            Level::Cluster => Ok((
                "/cluster/firewall".to_owned(),
                "the cluster's firewall".to_owned(),
                Vec::new(),
            )),
            Level::Node => {
                let node = self.node.as_deref().unwrap_or_default();
                Ok((
                    format!("/nodes/{node}/firewall"),
                    format!("the firewall of {node}"),
                    switched_off(world).into_iter().collect(),
                ))
            }
            Level::Guest => {
                let label = match (&self.name, self.vmid) {
                    (Some(name), _) => name.clone(),
                    (None, vmid) => vmid.unwrap_or_default().to_string(),
                };
                let row = vm::meant(world, &vm::everyone(world)?, self.vmid, self.name.as_deref())?;
                let place = row.and_then(|row| Some((number(&row, "vmid")?, text(&row, "node")?)));
                let Some((vmid, node)) = place else {
                    return Err(ResourceError::message(format!(
                        "there is no virtual machine {label}: `proxmox_vm` makes it, in a step before this one"
                    )));
                };
                let base = format!("/nodes/{node}/qemu/{vmid}");
                let mut notes = open_cards(&world.get(&format!("{base}/config"))?, &label);
                notes.extend(switched_off(world));
                Ok((format!("{base}/firewall"), format!("the firewall of {label}"), notes))
            }
        }
    }

    /// The list with our rules first, as it will be read.
    fn put_rules(&self, now: &Wall, want: &Wall, world: &dyn Api) -> Result<(), ResourceError> {
        let path = format!("{}/rules", now.base);
        // New rules come to the top, so the last one goes first. The old ones stay until all new ones are there.
        for rule in want.rules.iter().rev() {
            let list = rows(&world.get(&path)?);
            let mut call = Call::new(Method::Post, path.as_str());
            call.params = rule.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
            call = fresh(call, &list);
            let new = serde_json::json!(rule);
            world.send(&call.predicting(path.as_str(), positioned(std::iter::once(new).chain(list))))?;
        }
        loop {
            let list = rows(&world.get(&path)?);
            let ours: Vec<usize> = (0..list.len())
                .filter(|at| list.get(*at).is_some_and(|row| self.own(row)))
                .collect();
            let Some(at) = ours.last().filter(|_| ours.len() > want.rules.len()) else {
                return Ok(());
            };
            let pos = list.get(*at).and_then(|row| number(row, "pos")).unwrap_or(*at as u64);
            let call = fresh(Call::new(Method::Delete, format!("{path}/{pos}")), &list);
            let rest = list.iter().enumerate().filter(|(index, _)| index != at);
            world.send(&call.predicting(path.as_str(), positioned(rest.map(|(_, row)| row.clone()))))?;
        }
    }

    /// Nobody would miss it.
    pub(super) fn held(&self, _: &dyn Api) -> Result<Option<(String, String)>, ApiError> {
        Ok(None)
    }

    /// The privileges that it needs.
    pub(super) fn rights(&self, _: &Zones) -> Vec<Need> {
        let (path, read, write) = match self.level {
            Level::Cluster => ("/".to_owned(), "Sys.Audit", "Sys.Modify"),
            Level::Node => (
                format!("/nodes/{}", self.node.as_deref().unwrap_or_default()),
                "Sys.Audit",
                "Sys.Modify",
            ),
            Level::Guest => {
                let place = self
                    .vmid
                    .map_or_else(|| "/vms".to_owned(), |vmid| format!("/vms/{vmid}"));
                (place, "VM.Audit", "VM.Config.Network")
            }
        };
        vec![
            Need::one(&path, read, "to read the firewall"),
            Need::one(&path, write, "to edit the firewall"),
        ]
    }

    /// The node that it is about, where one is named.
    pub(super) fn nodes(&self) -> Vec<String> {
        self.node.iter().cloned().collect()
    }

    /// It uses none.
    pub(super) fn stores(&self) -> Vec<Store> {
        Vec::new()
    }
}

/// Refused where someone else edited the list meanwhile.
fn fresh(call: Call, list: &[Json]) -> Call {
    match list.first().and_then(|row| text(row, "digest")) {
        Some(digest) => call.with("digest", digest),
        None => call,
    }
}

/// Rows with their positions, and without what an edit makes another.
fn positioned(list: impl Iterator<Item = Json>) -> Json {
    let rows = list.enumerate().map(|(pos, row)| {
        let mut row = row.as_object().cloned().unwrap_or_default();
        row.remove("digest");
        row.insert("pos".to_owned(), pos.into());
        Json::Object(row)
    });
    Json::Array(rows.collect())
}

/// The cluster's switch, without which no rule of a node or machine counts; who may not look at it learns nothing.
fn switched_off(world: &dyn Api) -> Option<String> {
    let options = world.get("/cluster/firewall/options").ok()?;
    let on = options
        .get("data")
        .and_then(|options| text(options, "enable"))
        .is_some_and(|enable| enable != "0");
    (!on).then(|| {
        "the cluster's firewall is off, so the rules do not count yet: `enable: 1` of level `cluster` turns it on"
            .to_owned()
    })
}

/// Cards that the firewall does not count for.
fn open_cards(config: &Json, label: &str) -> Vec<String> {
    let config = config.get("data").and_then(Json::as_object);
    let cards = config.into_iter().flatten().filter(|(name, card)| {
        let number = name.strip_prefix("net").is_some_and(|rest| rest.parse::<u8>().is_ok());
        number
            && card
                .as_str()
                .is_some_and(|card| !card.split(',').any(|part| part == "firewall=1"))
    });
    cards
        .map(|(name, _)| format!("{name} of {label} has no `firewall=1`: the rules do not count for it"))
        .collect()
}

impl Resource for ProxmoxFirewall {
    const NAMES: &'static [&'static str] = &["proxmox_firewall"];
    const EXAMPLE: &'static str = "- proxmox_firewall:\n    api_host: pve.example.org\n    api_user: okd@pve\n    api_token_id: play\n    api_token_secret: \"{{ vault_pve_token }}\"\n    ca_path: files/pve-root-ca.pem\n    level: guest\n    name: services\n    options: { enable: 1, policy_in: DROP }\n    rules:\n      - { macro: SSH, source: 192.0.2.0/24 }\n      - { proto: tcp, dport: \"80,443,6443\" }\n";
    const PREDICTS: &'static str = "the options that are asked for, and our rules in their order";
    type World = dyn Api;
    type State = Wall;

    fn check(&self) -> Result<(), Vec<String>> {
        let mut wrong = self.connection();
        match self.level {
            Level::Cluster if self.name.is_some() || self.vmid.is_some() => {
                wrong.push("`name` and `vmid` are of level `guest`".to_owned());
            }
            Level::Node if self.node.is_none() => wrong.push("level `node` needs `node`".to_owned()),
            Level::Guest if self.name.is_none() && self.vmid.is_none() => {
                wrong.push("level `guest` needs `name` or `vmid`".to_owned());
            }
            _ => {}
        }
        if self.mark.trim().is_empty() || self.mark.contains([':', '\n']) {
            wrong.push("`mark` is a word without colons".to_owned());
        }
        for (index, rule) in self.rules.iter().flatten().enumerate() {
            let at = index + 1;
            if !["ACCEPT", "DROP", "REJECT"].contains(&rule.action.as_str()) {
                wrong.push(format!(
                    "`action` of rule {at} is ACCEPT, DROP or REJECT, not {}",
                    rule.action
                ));
            }
            if (rule.dport.is_some() || rule.sport.is_some()) && rule.proto.is_none() {
                wrong.push(format!("rule {at} has ports and no `proto`"));
            }
            if rule.r#macro.is_some() && rule.proto.is_some() {
                wrong.push(format!("`macro` and `proto` of rule {at} exclude each other"));
            }
            if rule.r#type == Direction::Forward && self.level == Level::Guest {
                wrong.push(format!("rule {at}: nothing is passed on by a machine's firewall"));
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }

    fn inspect(&self, world: &Self::World) -> Result<Wall, ResourceError> {
        let (base, place, mut notes) = self.place(world)?;
        let raw = world.get(&format!("{base}/options"))?;
        let raw = raw.get("data").cloned().unwrap_or(Json::Null);
        let options = self.options.keys();
        let options = options.map(|name| (name.clone(), text(&raw, name).unwrap_or_default()));
        let list = match &self.rules {
            Some(_) => rows(&world.get(&format!("{base}/rules"))?),
            None => Vec::new(),
        };
        let others = list.iter().filter(|row| !self.own(row)).count();
        if others > 0 {
            notes.push(format!(
                "{place} has {others} rules without the mark `{}`; they stay",
                self.mark
            ));
        }
        Ok(Wall {
            place,
            options: options.collect(),
            rules: list.iter().filter(|row| self.own(row)).map(shown).collect(),
            base,
            raw,
            notes,
        })
    }

    fn desire(&self, now: &Wall) -> Result<Wall, ResourceError> {
        let (options, rules) = self.wanted(now);
        Ok(Wall {
            options,
            rules,
            ..now.clone()
        })
    }

    fn apply(&self, now: &Wall, want: &Wall, world: &Self::World) -> Result<Map, ResourceError> {
        // Rules come first: a policy that drops everything would cut off what they let in.
        if now.rules != want.rules {
            self.put_rules(now, want, world)?;
        }
        if now.options != want.options {
            let path = format!("{}/options", now.base);
            let mut call = Call::new(Method::Put, path.as_str());
            let mut after = now.raw.as_object().cloned().unwrap_or_default();
            after.remove("digest");
            let mut delete = Vec::new();
            for (name, value) in &want.options {
                let same = now.options.get(name) == Some(value);
                match value.as_str() {
                    "" if same => {}
                    "" => {
                        delete.push(name.as_str());
                        after.remove(name);
                    }
                    value => {
                        call = if same { call } else { call.with(name, value) };
                        after.insert(name.clone(), value.into());
                    }
                }
            }
            if !delete.is_empty() {
                call = call.with("delete", delete.join(","));
            }
            world.send(&call.predicting(path.as_str(), Json::Object(after)))?;
        }
        Ok(Map::new())
    }

    fn result(&self, state: &Wall) -> Map {
        map([
            ("level", self.level.word().into()),
            ("place", state.place.as_str().into()),
        ])
    }

    fn notes(&self, now: &Wall, want: &Wall) -> Vec<String> {
        match now.changes(want).is_empty() {
            true => Vec::new(),
            false => now.notes.clone(),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use okd_agent::param::Params;

    fn rule(port: &str) -> Row {
        shown(
            &serde_json::json!({ "type": "in", "action": "ACCEPT", "proto": "tcp", "dport": port, "enable": 1,
            "comment": "okd-play", "pos": 0, "digest": "x" }),
        )
    }

    #[test]
    fn what_is_there_twice_counts_twice() {
        let (one, two) = (rule("1"), rule("2"));
        let now = [one.clone(), one.clone(), two.clone()];
        let want = [two, one.clone()];
        assert_eq!(left(&now, &want).collect::<Vec<_>>(), [&one]);
        assert_eq!(left(&want, &now).count(), 0);
    }

    #[test]
    fn addresses_that_are_too_many_for_one_rule_become_several() {
        let addresses = |count: usize| {
            (0..count)
                .map(|number| format!("10.0.{}.{}", number / 200, number % 200))
                .collect::<Vec<_>>()
        };
        let rows = |sources| {
            let args = map([("source", addresses(sources).into()), ("dest", addresses(2).into())]);
            Rule::decode(&args).unwrap().rows("okd-play")
        };
        assert_eq!(rows(0).len(), 1);
        assert_eq!(rows(0)[0].get("source"), None);
        assert_eq!(rows(2).len(), 1);
        let many = rows(200);
        assert!(
            many.iter()
                .all(|row| row["source"].len() <= LONGEST && row["dest"] == "10.0.0.0,10.0.0.1")
        );
        let all = many
            .iter()
            .flat_map(|row| row["source"].split(',').map(str::to_owned))
            .collect::<Vec<_>>();
        assert_eq!(all, addresses(200));
    }

    #[test]
    fn a_rule_is_told_in_a_line() {
        assert_eq!(told(&rule("6443")), "in ACCEPT dport=6443 proto=tcp # okd-play");
    }
}
