//! A bridge of a Proxmox VE node. Edits of the network are staged there, and applying takes everything that anyone staged:
//! so other people's staged edits are shown and refused, never applied along.

use super::api::{Api, ApiError, Call, Json, Method, Prediction, flag, rows, text};
use super::back::Back;
use super::proxmox_params;
use super::rights::{Need, Store, Zones};
use super::vm;
use okd_agent::choice;
use okd_agent::diff::{Change, Sign};
use okd_agent::resource::{Resource, ResourceError, View};
use okd_agent::value::{Map, Value, map};
use serde::Serialize;
use std::collections::BTreeMap;

choice! {
    /// Whether it should be there.
    pub enum Presence {
        /// It is there.
        Present = "present",
        /// It is not there.
        Absent = "absent",
    }
}
proxmox_params! {
    /// A bridge of a Proxmox VE node (Linux bridge), staged and applied.
    pub struct ProxmoxBridge {
        /// The node.
        node: String,
        /// The bridge's name, such as `vmbr1`.
        iface: String ["name"],
        /// Whether it should be there.
        state: Presence = "present",
        /// Its MTU, 1280 to 65520, or 0 for the system's own; left alone without it.
        mtu: Option<u64>,
        /// Bring it up when the node starts.
        autostart: bool = "yes",
        /// Ports that belong to it; none makes a bridge of virtual machines only.
        bridge_ports: Option<Vec<String>> ["ports"],
        /// Let it tell VLANs apart.
        bridge_vlan_aware: Option<bool> ["vlan_aware"],
        /// The node's own address on it, with the prefix length.
        cidr: Option<String>,
        /// The node's default gateway.
        gateway: Option<String>,
        /// A remark.
        comments: Option<String> ["comment"],
    }
}

/// What can be seen of a bridge.
#[derive(Debug, Clone, Serialize)]
pub struct Bridge {
    place: String,
    /// Its settings, by the interface's own names; `None` where there is none.
    settings: Option<BTreeMap<&'static str, String>>,
    /// Whether what is staged is also what runs.
    applied: bool,
    /// What a plan or an update has to send along, as it was read.
    #[serde(skip)]
    row: Json,
    #[serde(skip)]
    all: Vec<Json>,
    /// Staged edits that are not of this bridge.
    #[serde(skip)]
    foreign: Option<String>,
}

impl View for Bridge {
    fn changes(&self, want: &Self) -> Vec<Change> {
        let mut all = Vec::new();
        match (&self.settings, &want.settings) {
            (None, Some(_)) => all.push(Change::Item {
                sign: Sign::Added,
                text: format!("bridge {}", self.place),
            }),
            (Some(_), None) => all.push(Change::Item {
                sign: Sign::Removed,
                text: format!("bridge {}", self.place),
            }),
            _ => {}
        }
        if let Some(wanted) = &want.settings {
            let empty = BTreeMap::new();
            let now = self.settings.as_ref().unwrap_or(&empty);
            for (name, after) in wanted {
                let before = now.get(name).cloned().unwrap_or_default();
                if before != *after {
                    all.push(Change::Field {
                        of: self.place.clone(),
                        name: (*name).to_owned(),
                        before,
                        after: after.clone(),
                    });
                }
            }
        }
        if !all.is_empty() || !self.applied {
            all.push(Change::Act("apply the node's network configuration".to_owned()));
        }
        all
    }
}

impl ProxmoxBridge {
    fn list(&self) -> String {
        format!("/nodes/{}/network", self.node)
    }

    fn own(&self) -> String {
        format!("/nodes/{}/network/{}", self.node, self.iface)
    }

    /// What is asked for, by the interface's own names, as [`shown`] shows it.
    fn wanted(&self, now: &BTreeMap<&'static str, String>) -> BTreeMap<&'static str, String> {
        let mut all = now.clone();
        let mut set = |name, value: Option<String>| {
            if let Some(value) = value {
                all.insert(name, value);
            }
        };
        set("autostart", Some(u8::from(self.autostart).to_string()));
        set(
            "mtu",
            self.mtu
                .map(|mtu| if mtu == 0 { String::new() } else { mtu.to_string() }),
        );
        set(
            "bridge_ports",
            self.bridge_ports.as_ref().map(|ports| sorted(&ports.join(" "))),
        );
        set(
            "bridge_vlan_aware",
            self.bridge_vlan_aware.map(|aware| u8::from(aware).to_string()),
        );
        set("cidr", self.cidr.clone());
        set("gateway", self.gateway.clone());
        set("comments", self.comments.as_ref().map(|text| text.trim().to_owned()));
        all
    }

    /// The parameters of a request that makes or updates it. Everything is sent again: what an update leaves out of the
    /// address is lost.
    fn params(&self, want: &BTreeMap<&'static str, String>, update: bool) -> Vec<(String, String)> {
        let mut params = vec![("type".to_owned(), "bridge".to_owned())];
        if !update {
            params.push(("iface".to_owned(), self.iface.clone()));
        }
        let mut delete = Vec::new();
        for (name, value) in want {
            match value.as_str() {
                "" | "0" if update => delete.push(*name),
                "" | "0" => {}
                value => params.push(((*name).to_owned(), value.to_owned())),
            }
        }
        if !delete.is_empty() {
            params.push(("delete".to_owned(), delete.join(",")));
        }
        params
    }

    /// Its settings as they were; a bridge that was not there goes again, and one that was removed comes back where all of its
    /// settings can be said.
    pub(super) fn taken_back(&self, now: &Bridge, _: &Map) -> Back {
        let mut args = serde_json::json!({ "node": self.node, "iface": self.iface });
        let Some(settings) = &now.settings else {
            args["state"] = Presence::Absent.word().into();
            return Back::by(args);
        };
        let absent = self.state == Presence::Absent;
        if let (true, Some(name)) = (absent, strange(&now.row)) {
            return Back::not(format!(
                "the bridge that was removed had `{name}`, which cannot be said here"
            ));
        }
        let want = self.wanted(settings);
        for (name, value) in settings {
            let value = match *name {
                "autostart" => Json::Bool(value == "1"),
                _ if !absent && want.get(name) == Some(value) => continue,
                "bridge_vlan_aware" => Json::Bool(value == "1"),
                "mtu" => value.parse::<u64>().unwrap_or_default().into(),
                "bridge_ports" => value
                    .split(' ')
                    .filter(|port| !port.is_empty())
                    .map(Json::from)
                    .collect(),
                _ => value.as_str().into(),
            };
            args[*name] = value;
        }
        if args.get("gateway").is_some() && args.get("cidr").is_none() {
            args["cidr"] = settings["cidr"].as_str().into();
        }
        Back::by(args)
    }

    /// Who would miss it.
    pub(super) fn held(&self, world: &dyn Api) -> Result<Option<(String, String)>, ApiError> {
        if self.state == Presence::Present {
            return Ok(None);
        }
        let user = vm::on_bridge(world, &[&self.iface])?;
        Ok(user.map(|user| (format!("bridge {} on {}", self.iface, self.node), user)))
    }

    /// The row that the interface will show.
    fn row(&self, now: &Json, want: &BTreeMap<&'static str, String>) -> Json {
        let mut row = now.as_object().cloned().unwrap_or_default();
        row.insert("type".to_owned(), "bridge".into());
        for (name, value) in want {
            match value.as_str() {
                "" => drop(row.remove(*name)),
                value => drop(row.insert((*name).to_owned(), value.into())),
            }
        }
        Json::Object(row)
    }
}

fn sorted(ports: &str) -> String {
    let mut ports: Vec<&str> = ports.split([' ', ',', ';']).filter(|port| !port.is_empty()).collect();
    ports.sort_unstable();
    ports.retain(|port| *port != "none");
    ports.join(" ")
}

/// The settings of a row that can be asked for, in one spelling.
fn shown(row: &Json) -> BTreeMap<&'static str, String> {
    let own = |name: &str| text(row, name).unwrap_or_default().trim().to_owned();
    BTreeMap::from([
        ("autostart", u8::from(flag(row, "autostart")).to_string()),
        ("mtu", own("mtu")),
        ("bridge_ports", sorted(&own("bridge_ports"))),
        (
            "bridge_vlan_aware",
            u8::from(flag(row, "bridge_vlan_aware")).to_string(),
        ),
        ("cidr", own("cidr")),
        ("gateway", own("gateway")),
        ("comments", own("comments")),
    ])
}

/// A setting that is no parameter here, and not as a bridge has it unasked.
fn strange(row: &Json) -> Option<String> {
    let own = [
        "type", "iface", "method", "method6", "families", "active", "exists", "priority", "digest", "address",
        "netmask",
    ];
    let usual = [("bridge_stp", "off"), ("bridge_fd", "0"), ("bridge_vids", "2-4094")];
    let known = shown(&Json::Null);
    let mut names = row.as_object().into_iter().flatten().map(|(name, _)| name);
    let strange = names.find(|name| {
        !own.contains(&name.as_str())
            && !known.contains_key(name.as_str())
            && !usual
                .iter()
                .any(|(key, value)| key == name && text(row, name).as_deref() == Some(value))
    });
    strange.cloned()
}

/// The staged changes that are not certainly those of one interface's own stanza.
fn foreign(diff: &str, iface: &str) -> Option<String> {
    let mut stanza: Option<String> = None;
    let mut header = false;
    for line in diff
        .lines()
        .filter(|line| !line.starts_with("---") && !line.starts_with("+++"))
    {
        if line.starts_with("@@") {
            stanza = None;
            header = line.contains("-1,") || line.contains("-0,");
            continue;
        }
        let (sign, body) = line.split_at_checked(1).unwrap_or((" ", ""));
        let words: Vec<&str> = body.split_whitespace().collect();
        match words.as_slice() {
            ["auto" | "iface" | "allow-hotplug", name, ..] => {
                header = false;
                stanza = Some((*name).to_owned());
            }
            ["source" | "source-directory", ..] => stanza = None,
            _ => {}
        }
        let changed = sign != " " && !words.is_empty();
        let own = stanza.as_deref() == Some(iface) || (header && body.starts_with('#'));
        if changed && !own {
            return Some(diff.to_owned());
        }
    }
    None
}

impl Resource for ProxmoxBridge {
    const NAMES: &'static [&'static str] = &["proxmox_bridge"];
    const EXAMPLE: &'static str = "- proxmox_bridge:\n    api_host: pve.example.org\n    api_user: okd@pve\n    api_token_id: play\n    api_token_secret: \"{{ vault_pve_token }}\"\n    ca_path: files/pve-root-ca.pem\n    node: pve\n    iface: vmbr1\n    mtu: 1450\n";
    const PREDICTS: &'static str = "the bridge's settings, and that the node's network is applied";
    type World = dyn Api;
    type State = Bridge;

    fn check(&self) -> Result<(), Vec<String>> {
        let mut wrong = self.connection();
        if self.mtu.is_some_and(|mtu| mtu != 0 && !(1280..=65520).contains(&mtu)) {
            wrong.push("`mtu` is 1280 to 65520, or 0".to_owned());
        }
        if self.gateway.is_some() && self.cidr.is_none() {
            wrong.push("`gateway` needs `cidr`".to_owned());
        }
        let mut letters = self.iface.chars();
        let fits = letters.next().is_some_and(|c| c.is_ascii_alphabetic())
            && letters.all(|c| c.is_ascii_alphanumeric() || c == '_')
            && (2..=20).contains(&self.iface.len());
        if !fits {
            wrong.push(format!(
                "`{}` is no name of a bridge: a letter, then letters and digits",
                self.iface
            ));
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }

    fn inspect(&self, world: &Self::World) -> Result<Bridge, ResourceError> {
        reload_settled(world, &self.node)?;
        let own = match world.get(&self.own()) {
            Ok(envelope) => envelope.get("data").cloned(),
            Err(error) if error.is_missing() => None,
            Err(error) => return Err(error.into()),
        };
        let list = world.get(&self.list())?;
        let all = rows(&list);
        let listed = all
            .iter()
            .find(|row| text(row, "iface").as_deref() == Some(&self.iface));
        if own.is_some() && listed.is_none() {
            return Err(ResourceError::message(format!(
                "{} is there, and the token does not see it in the list: it needs SDN.Audit on /sdn/zones/localnetwork/{}",
                self.iface, self.iface
            )));
        }
        if let Some(kind) = own
            .as_ref()
            .and_then(|row| text(row, "type"))
            .filter(|kind| kind != "bridge")
        {
            return Err(ResourceError::message(format!(
                "{} is there and is no bridge but `{kind}`",
                self.iface
            )));
        }
        let staged = text(&list, "changes");
        let foreign = staged.as_ref().and_then(|diff| foreign(diff, &self.iface));
        let up = listed.is_none_or(|row| flag(row, "active") || !flag(row, "autostart"));
        Ok(Bridge {
            place: format!("{} on {}", self.iface, self.node),
            settings: own.as_ref().map(shown),
            applied: up && (staged.is_none() || foreign.is_some()),
            row: own.unwrap_or(Json::Null),
            all,
            foreign,
        })
    }

    fn desire(&self, now: &Bridge) -> Result<Bridge, ResourceError> {
        let mut want = now.clone();
        want.applied = true;
        want.settings = match self.state {
            Presence::Absent => None,
            Presence::Present => {
                let blank = shown(&Json::Null);
                Some(self.wanted(now.settings.as_ref().unwrap_or(&blank)))
            }
        };
        let Some(staged) = &now.foreign else { return Ok(want) };
        if now.settings == want.settings && now.applied {
            return Ok(want);
        }
        Err(ResourceError::message(format!(
            "the network of {} has staged edits that are not ours; applying would take them along. Apply or revert them in \
             Proxmox VE ({} > System > Network), then run again:\n{staged}",
            self.node, self.node
        )))
    }

    fn apply(&self, now: &Bridge, want: &Bridge, world: &Self::World) -> Result<Map, ResourceError> {
        let others = |with: Option<(&Json, bool)>| {
            let mut rows: Vec<Json> = now
                .all
                .iter()
                .filter(|row| text(row, "iface").as_deref() != Some(&self.iface))
                .cloned()
                .collect();
            if let Some((row, active)) = with {
                let mut row = row.as_object().cloned().unwrap_or_default();
                row.insert("iface".to_owned(), self.iface.as_str().into());
                if active {
                    row.insert("active".to_owned(), 1.into());
                }
                rows.push(Json::Object(row));
            }
            Json::Array(rows)
        };
        let staging = match (&now.settings, &want.settings) {
            (_, Some(settings)) if now.settings != want.settings => {
                let row = self.row(&now.row, settings);
                let update = now.settings.is_some();
                let mut call = match update {
                    true => Call::new(Method::Put, self.own()),
                    false => Call::new(Method::Post, self.list()),
                };
                call.params = self.params(settings, update);
                let active = now.applied && update;
                Some(
                    call.predicting(self.own(), row.clone())
                        .predicting(self.list(), others(Some((&row, active)))),
                )
            }
            (Some(_), None) => {
                let mut call = Call::new(Method::Delete, self.own()).predicting(self.list(), others(None));
                let gone = ApiError::Refused {
                    request: format!("GET {}", self.own()),
                    status: 400,
                    message: "interface does not exist".to_owned(),
                    errors: Vec::new(),
                    help: None,
                };
                call.predicts.push((self.own(), Prediction::Refused(gone)));
                Some(call)
            }
            _ => None,
        };
        if let Some(call) = staging {
            world.send(&call)?;
        }
        let staged = text(&world.get(&self.list())?, "changes");
        if let Some(diff) = staged
            .as_deref()
            .and_then(|diff| foreign(diff, &self.iface))
            .filter(|_| now.settings.is_none())
        {
            return Err(ResourceError::message(format!(
                "someone else staged edits of the network of {} meanwhile; nothing was applied:\n{diff}",
                self.node
            )));
        }
        let row = want.settings.as_ref().map(|settings| self.row(&now.row, settings));
        let call =
            Call::new(Method::Put, self.list()).predicting(self.list(), others(row.as_ref().map(|row| (row, true))));
        world.send(&call)?;
        let list = world.get(&self.list())?;
        let up = rows(&list)
            .iter()
            .any(|row| text(row, "iface").as_deref() == Some(&self.iface) && flag(row, "active"));
        if want.settings.is_some() && self.autostart && !up {
            return Err(ResourceError::message(format!(
                "the network of {} was applied, and {} is not up; the log of the task `srvreload` on the node says why",
                self.node, self.iface
            )));
        }
        Ok(map([("staged", staged.map_or(Value::Null, Value::Str))]))
    }

    fn result(&self, _: &Bridge) -> Map {
        map([
            ("iface", self.iface.as_str().into()),
            ("node", self.node.as_str().into()),
        ])
    }
}

impl ProxmoxBridge {
    /// The privileges that it needs.
    pub(super) fn rights(&self, _: &Zones) -> Vec<Need> {
        let (node, zone) = (
            format!("/nodes/{}", self.node),
            format!("/sdn/zones/localnetwork/{}", self.iface),
        );
        vec![
            Need::one(&node, "Sys.Audit", "to read the node's network"),
            Need::one(&node, "Sys.Modify", "to stage and apply the node's network"),
            Need::any(&zone, &["SDN.Audit", "SDN.Use"], "to see the bridge"),
        ]
    }

    /// The node that it is about.
    pub(super) fn nodes(&self) -> Vec<String> {
        vec![self.node.clone()]
    }

    /// It uses none.
    pub(super) fn stores(&self) -> Vec<Store> {
        Vec::new()
    }
}

/// Waits for an apply that is under way: what it ends with is what counts.
fn reload_settled(world: &dyn Api, node: &str) -> Result<(), ApiError> {
    let running = world.get(&format!("/nodes/{node}/tasks?source=active&typefilter=srvreload"))?;
    for task in rows(&running).iter().filter(|task| under_way(task)) {
        if let Some(upid) = text(task, "upid") {
            world.settle(&upid, &[])?;
        }
    }
    Ok(())
}

/// Whether a row of the task list is of a task that has not ended.
pub(super) fn under_way(task: &Json) -> bool {
    task.get("endtime").is_none() && text(task, "status").is_none_or(|status| status == "RUNNING")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW: &str = "--- a\n+++ b\n@@ -1,3 +1,14 @@\n+# network interface settings; autogenerated\n+\n auto lo\n iface lo inet loopback\n \n@@ -11,4 +22,13 @@\n \tbridge-stp off\n \tbridge-fd 0\n \n+auto vmbr1\n+iface vmbr1 inet manual\n+\tbridge-ports none\n+\n source /etc/network/interfaces.d/*\n";

    #[test]
    fn our_own_staged_bridge_is_told_from_others_edits() {
        assert_eq!(foreign(NEW, "vmbr1"), None);
        assert!(foreign(NEW, "vmbr2").is_some());
        let both = NEW.replace("+\n source", "+\n+iface vmbr9 inet manual\n source");
        assert!(foreign(&both, "vmbr1").is_some());
        let inside = "--- a\n+++ b\n@@ -9,4 +9,4 @@\n \tbridge-ports none\n-\tmtu 1450\n+\tmtu 1400\n";
        assert!(foreign(inside, "vmbr1").is_some(), "nobody knows whose line it is");
    }
}
