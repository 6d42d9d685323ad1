//! Virtual machines of the stand-in: configuration with learned keys, what waits for a restart, locks, and power.

use super::World;
use super::hook;
use super::request::{Asked, Reply};
use super::rules::{self, Rule, Table};
use super::storage::path_of;
use super::task::{Step, Work};
use serde_json::{Map, Value as Json, json};
use sha1::{Digest, Sha1};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::process::Command;

/// One machine.
#[derive(Debug, Clone, Default)]
pub struct Guest {
    pub config: BTreeMap<String, String>,
    /// What waits for a restart; `None` is a removal.
    pub pending: BTreeMap<String, Option<String>>,
    pub running: bool,
    /// The process of a machine that really runs.
    pub pid: Option<u64>,
    /// The keys that were pressed on its console.
    pub typed: Vec<String>,
}

const OPTIONS: &Table = &[
    ("vmid", Rule::Vmid),
    ("name", Rule::Dns),
    ("memory", Rule::Memory),
    ("balloon", Rule::Int(0, i64::MAX)),
    ("cores", Rule::Int(1, i64::MAX)),
    ("sockets", Rule::Int(1, i64::MAX)),
    ("vcpus", Rule::Int(1, i64::MAX)),
    ("numa", Rule::Bool),
    ("cpu", Rule::Any),
    ("onboot", Rule::Bool),
    (
        "ostype",
        Rule::One(&[
            "other", "wxp", "w2k", "w2k3", "w2k8", "wvista", "win7", "win8", "win10", "win11", "l24", "l26", "solaris",
        ]),
    ),
    ("agent", Rule::Any),
    ("bios", Rule::One(&["seabios", "ovmf"])),
    ("machine", Rule::Any),
    (
        "scsihw",
        Rule::One(&[
            "lsi",
            "lsi53c810",
            "virtio-scsi-pci",
            "virtio-scsi-single",
            "megasas",
            "pvscsi",
        ]),
    ),
    ("boot", Rule::Boot),
    ("net#", Rule::Nic),
    ("scsi#", Rule::Drive),
    ("virtio#", Rule::Drive),
    ("sata#", Rule::Drive),
    ("ide#", Rule::Drive),
    ("efidisk0", Rule::Drive),
    ("tpmstate0", Rule::Drive),
    ("serial#", Rule::Any),
    ("ipconfig#", Rule::Any),
    ("vga", Rule::Any),
    ("rng0", Rule::Any),
    ("smbios1", Rule::Any),
    ("tags", Rule::Any),
    ("description", Rule::Any),
    ("protection", Rule::Bool),
    ("startup", Rule::Any),
    ("tablet", Rule::Bool),
    ("hotplug", Rule::Any),
    ("args", Rule::Any),
    ("hookscript", Rule::Any),
    ("lock", Rule::Any),
    ("start", Rule::Bool),
    ("pool", Rule::Any),
    ("digest", Rule::Any),
    ("delete", Rule::Any),
    ("revert", Rule::Any),
    ("force", Rule::Bool),
    ("background_delay", Rule::Int(1, 30)),
];

/// QEMU's names of keys that are longer than a letter.
const KEYS: &str = "ret esc tab spc backspace delete insert home end pgup pgdn up down left right f1 f2 f3 f4 f5 f6 f7 f8 f9 f10 \
    f11 f12 minus equal bracket_left bracket_right semicolon apostrophe grave_accent backslash comma dot slash asterisk less \
    shift shift_r ctrl ctrl_r alt alt_r altgr meta_l meta_r menu caps_lock num_lock scroll_lock sysrq print pause";
/// Not options but words of the request.
const WORDS: [&str; 9] = [
    "vmid",
    "start",
    "pool",
    "digest",
    "delete",
    "revert",
    "force",
    "background_delay",
    "storage",
];
const NUMBERS: [&str; 9] = [
    "cores",
    "sockets",
    "vcpus",
    "onboot",
    "numa",
    "protection",
    "tablet",
    "balloon",
    "shares",
];
const MODELS: [&str; 5] = ["virtio", "e1000", "e1000e", "rtl8139", "vmxnet3"];

fn is_disk(name: &str) -> bool {
    ["scsi", "virtio", "sata", "ide"].iter().any(|stem| {
        name.strip_prefix(stem)
            .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()))
    }) || name == "efidisk0"
}

fn is_nic(name: &str) -> bool {
    name.strip_prefix("net")
        .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()))
}

/// A property string as pairs; a bare value has an empty key.
fn pairs(text: &str) -> Vec<(String, String)> {
    let parts = text.split(',').filter(|part| !part.is_empty());
    parts
        .map(|part| {
            let (key, value) = part.split_once('=').unwrap_or(("", part));
            (key.to_owned(), value.to_owned())
        })
        .collect()
}

fn printed(first: &str, mut rest: Vec<(String, String)>) -> String {
    rest.sort();
    let rest = rest.into_iter().map(|(key, value)| format!("{key}={value}"));
    std::iter::once(first.to_owned())
        .chain(rest)
        .collect::<Vec<_>>()
        .join(",")
}

fn size_text(bytes: u64) -> String {
    let units = [(1_u64 << 40, "T"), (1 << 30, "G"), (1 << 20, "M"), (1 << 10, "K")];
    let fitting = units
        .into_iter()
        .find(|(unit, _)| bytes >= *unit && bytes.is_multiple_of(*unit));
    fitting.map_or_else(|| bytes.to_string(), |(unit, name)| format!("{}{name}", bytes / unit))
}

fn size_bytes(text: &str) -> Option<u64> {
    let unit = match text.chars().last()? {
        'K' => 1 << 10,
        'M' => 1 << 20,
        'G' => 1 << 30,
        'T' => 1_u64 << 40,
        _ => return text.parse().ok(),
    };
    let number: f64 = text[..text.len() - 1].parse().ok()?;
    Some((number * unit as f64) as u64)
}

impl Guest {
    fn digest(&self) -> String {
        let text: String = self
            .config
            .iter()
            .map(|(name, value)| format!("{name}: {value}\n"))
            .collect();
        Sha1::digest(text.as_bytes())
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    fn shown(&self) -> Json {
        let mut all = self.config.clone();
        for (name, value) in &self.pending {
            match value {
                Some(value) => drop(all.insert(name.clone(), value.clone())),
                None => drop(all.remove(name)),
            }
        }
        let mut row: Map<String, Json> = all
            .into_iter()
            .map(|(name, value)| (name.clone(), typed(&name, &value)))
            .collect();
        row.insert("digest".to_owned(), self.digest().into());
        Json::Object(row)
    }

    /// Itself, as it is kept over a restart of the server.
    pub(super) fn kept(&self) -> Json {
        json!({ "config": self.config, "pending": self.pending, "running": self.running, "pid": self.pid })
    }

    pub(super) fn restored(kept: &Json) -> Option<Guest> {
        let read = |name: &str| kept.get(name).cloned().unwrap_or_default();
        Some(Guest {
            config: serde_json::from_value(read("config")).ok()?,
            pending: serde_json::from_value(read("pending")).ok()?,
            running: read("running") == Json::Bool(true),
            pid: read("pid").as_u64(),
            typed: Vec::new(),
        })
    }

    pub(super) fn name(&self, vmid: u64) -> String {
        self.config.get("name").cloned().unwrap_or_else(|| format!("VM {vmid}"))
    }

    fn status(&self) -> &'static str {
        if self.running { "running" } else { "stopped" }
    }

    /// Its restart: what waited becomes so.
    pub(super) fn settle(&mut self) {
        for (name, value) in std::mem::take(&mut self.pending) {
            match value {
                Some(value) => drop(self.config.insert(name, value)),
                None => drop(self.config.remove(&name)),
            }
        }
    }
}

fn typed(name: &str, value: &str) -> Json {
    match value.parse::<i64>() {
        Ok(number) if NUMBERS.contains(&name) => number.into(),
        _ => value.into(),
    }
}

pub(super) fn next_id(world: &World, asked: &Asked) -> Result<Reply, Reply> {
    rules::check(asked, &[("vmid", Rule::Vmid)], &[])?;
    if let Some(vmid) = asked.get("vmid").and_then(|text| text.parse::<u64>().ok()) {
        return match world.guests.contains_key(&vmid) {
            true => Err(Reply::wrong_one("vmid", &format!("VM {vmid} already exists"))),
            false => Ok(Reply::ok(vmid.to_string().into())),
        };
    }
    let free = (100..).find(|vmid| !world.guests.contains_key(vmid)).unwrap_or(100_u64);
    Ok(Reply::ok(free.to_string().into()))
}

pub(super) fn resources(world: &World, asked: &Asked) -> Result<Reply, Reply> {
    rules::check(asked, &[("type", Rule::One(&["vm", "storage", "node", "sdn"]))], &[])?;
    let mut rows = Vec::new();
    if asked.get("type").is_none_or(|kind| kind == "vm") {
        for (vmid, guest) in &world.guests {
            if !world.rights.has(asked, &format!("/vms/{vmid}"), &["VM.Audit"]) {
                continue;
            }
            let mut row = json!({ "id": format!("qemu/{vmid}"), "vmid": vmid, "node": world.node, "type": "qemu",
                "status": guest.status(), "template": 0 });
            // A new one shows with few fields.
            if let Some(name) = guest.config.get("name").filter(|_| !guest.config.contains_key("lock")) {
                row["name"] = name.as_str().into();
            }
            rows.push(row);
        }
    }
    if asked.get("type").is_none_or(|kind| kind == "node") {
        rows.push(
            json!({ "id": format!("node/{}", world.node), "node": world.node, "type": "node", "status": "online" }),
        );
    }
    Ok(Reply::ok(Json::Array(rows)))
}

fn missing(world: &World, vmid: &str) -> Reply {
    Reply::die(&format!(
        "Configuration file 'nodes/{}/qemu-server/{vmid}.conf' does not exist",
        world.node
    ))
}

/// Whether a machine is there.
pub(super) fn there(world: &World, vmid: &str) -> Result<(), Reply> {
    let own = vmid.parse().ok().filter(|vmid: &u64| world.guests.contains_key(vmid));
    own.map(drop).ok_or_else(|| missing(world, vmid))
}

pub(super) fn answer(world: &mut World, asked: &Asked, rest: &[&str]) -> Result<Reply, Reply> {
    let [vmid, more @ ..] = rest else {
        return match asked.method.as_str() {
            "POST" => create(world, asked),
            "GET" => {
                let rows = world
                    .guests
                    .iter()
                    .map(|(vmid, guest)| json!({ "vmid": vmid, "name": guest.name(*vmid), "status": guest.status() }));
                Ok(Reply::ok(rows.collect()))
            }
            _ => Err(Reply::unknown(asked)),
        };
    };
    let number: u64 = vmid.parse().map_err(|_| missing(world, vmid))?;
    let place = format!("/vms/{vmid}");
    let need = |world: &World, one: &str| world.rights.need(asked, &place, &[one]);
    let there = |world: &World| match world.guests.get(&number) {
        Some(guest) => Ok(guest.clone()),
        None => Err(missing(world, vmid)),
    };
    match (asked.method.as_str(), more) {
        ("GET", ["config"]) => {
            need(world, "VM.Audit")?;
            let mut guest = there(world)?;
            if asked.flag("current") {
                guest.pending.clear();
            }
            Ok(Reply::ok(guest.shown()))
        }
        ("PUT", ["sendkey"]) => {
            need(world, "VM.Console")?;
            rules::check(asked, &[("key", Rule::Any), ("skiplock", Rule::Bool)], &["key"])?;
            if !there(world)?.running {
                return Err(Reply::die(&format!("VM {vmid} not running")));
            }
            let key = asked.get("key").unwrap_or_default();
            let single = |part: &str| {
                let letter = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
                matches!(part.as_bytes(), [byte] if letter(byte)) || KEYS.split_whitespace().any(|name| name == part)
            };
            if !key.split('-').all(single) {
                return Err(Reply::empty(400, "Bad Request"));
            }
            if let Some(guest) = world.guests.get_mut(&number) {
                guest.typed.push(key.to_owned());
            }
            Ok(Reply::ok(Json::Null))
        }
        (_, ["agent", _]) => {
            need(world, "VM.Audit")?;
            let guest = there(world)?;
            Err(Reply::die(&match (guest.config.contains_key("agent"), guest.running) {
                (false, _) => "No QEMU guest agent configured".to_owned(),
                (true, false) => format!("VM {vmid} is not running"),
                (true, true) => "QEMU guest agent is not running".to_owned(),
            }))
        }
        ("GET", ["pending"]) => {
            need(world, "VM.Audit")?;
            Ok(Reply::ok(waiting(&there(world)?)))
        }
        ("GET", ["status", "current"]) => {
            need(world, "VM.Audit")?;
            let guest = there(world)?;
            let mut row = json!({ "vmid": number, "name": guest.name(number), "status": guest.status(),
                "qmpstatus": guest.status(), "ha": { "managed": 0 }, "cpus": 1, "uptime": 0 });
            if let Some(lock) = guest.config.get("lock") {
                row["lock"] = lock.as_str().into();
            }
            if let Some(pid) = guest.pid {
                row["pid"] = pid.into();
            }
            Ok(Reply::ok(row))
        }
        ("PUT", ["config"]) => {
            prepared(world, asked, number)?;
            configure(world, asked, number).map_err(|said| Reply::die(&said))?;
            Ok(Reply::ok(Json::Null))
        }
        ("POST", ["config"]) => {
            prepared(world, asked, number)?;
            let again = asked.clone();
            let work = Work::new(move |world, _| configure(world, &again, number));
            Ok(world.begin(asked, "qmconfig", vmid, work))
        }
        ("PUT", ["resize"]) => {
            need(world, "VM.Config.Disk")?;
            rules::check(
                asked,
                &[("disk", Rule::Any), ("size", Rule::Any), ("digest", Rule::Any)],
                &["disk", "size"],
            )?;
            there(world)?;
            let again = asked.clone();
            let work = Work::new(move |world, _| resize(world, &again, number));
            Ok(world.begin(asked, "resize", vmid, work))
        }
        ("POST", ["status", verb @ ("start" | "stop" | "shutdown" | "reset")]) => {
            need(world, "VM.PowerMgmt")?;
            let table = [
                ("timeout", Rule::Int(0, i64::MAX)),
                ("forceStop", Rule::Bool),
                ("skiplock", Rule::Bool),
            ];
            rules::check(asked, &table, &[])?;
            if *verb == "reset" && world.guests.get(&number).is_some_and(|guest| !guest.running) {
                return Err(Reply::die(&format!("VM {vmid} not running")));
            }
            let kind = format!("qm{verb}");
            let power = Power {
                verb: (*verb).to_owned(),
                vmid: number,
                timeout: asked.get("timeout").and_then(|text| text.parse().ok()),
                force: asked.flag("forceStop"),
            };
            let work = Work::stepped(move |world, _| power.step(world));
            Ok(world.begin(asked, &kind, vmid, work))
        }
        ("DELETE", []) => {
            need(world, "VM.Allocate")?;
            rules::check(
                asked,
                &[("purge", Rule::Bool), ("destroy-unreferenced-disks", Rule::Bool)],
                &[],
            )?;
            let guest = there(world)?;
            if guest.config.get("protection").is_some_and(|on| on == "1") {
                return Err(Reply::die(&format!("can't remove VM {vmid} - protection mode enabled")));
            }
            if guest.running {
                return Err(Reply::die(&format!("VM {vmid} is running - destroy failed")));
            }
            let id = (*vmid).to_owned();
            let work = Work::stepped(move |world, _| {
                unlocked(world, number)?;
                let guest = world.guests.get(&number).cloned().unwrap_or_default();
                let said = hook::machine(world, "vm-destroy", number, &guest);
                Ok(world.hooked(said, move |world, _, _| {
                    world.guests.remove(&number);
                    world.walls.remove(&format!("qemu/{number}"));
                    let _ = std::fs::remove_dir_all(world.dir.join("images").join(id));
                    Ok(())
                }))
            });
            Ok(world.begin(asked, "qmdestroy", vmid, work))
        }
        _ => Err(Reply::unknown(asked)),
    }
}

fn waiting(guest: &Guest) -> Json {
    let mut rows = vec![json!({ "key": "digest", "value": guest.digest() })];
    let names = guest
        .config
        .keys()
        .chain(guest.pending.keys().filter(|name| !guest.config.contains_key(*name)));
    for name in names {
        let mut row = json!({ "key": name });
        if let Some(value) = guest.config.get(name) {
            row["value"] = typed(name, value);
        }
        match guest.pending.get(name) {
            Some(Some(value)) => row["pending"] = typed(name, value),
            Some(None) => row["delete"] = 1.into(),
            None => {}
        }
        rows.push(row);
    }
    Json::Array(rows)
}

fn unlocked(world: &World, vmid: u64) -> Result<(), String> {
    match world.guests.get(&vmid).and_then(|guest| guest.config.get("lock")) {
        Some(lock) => Err(format!("VM is locked ({lock})")),
        None => Ok(()),
    }
}

/// Rights by value, as they are checked before anything is done.
fn rights(world: &World, asked: &Asked, vmid: &str) -> Result<(), Reply> {
    let place = format!("/vms/{vmid}");
    for (name, value) in asked.params.iter().filter(|(name, _)| !WORDS.contains(&name.as_str())) {
        let privilege = match name.as_str() {
            "args" | "hookscript" | "lock" => {
                return Err(Reply::die(&format!("only root can set '{name}' config")));
            }
            "memory" | "balloon" => "VM.Config.Memory",
            "cores" | "sockets" | "cpu" | "numa" | "vcpus" => "VM.Config.CPU",
            "machine" | "scsihw" | "vga" | "smbios1" | "rng0" | "tablet" | "hotplug" => "VM.Config.HWType",
            "boot" => "VM.Config.Disk",
            name if name.starts_with("serial") => "VM.Config.HWType",
            name if is_nic(name) => "VM.Config.Network",
            name if is_disk(name) && value.contains("media=cdrom") => "VM.Config.CDROM",
            name if is_disk(name) => "VM.Config.Disk",
            _ => "VM.Config.Options",
        };
        world.rights.need(asked, &place, &[privilege])?;
        if is_nic(name)
            && let Some((_, bridge)) = pairs(value).into_iter().find(|(key, _)| key == "bridge")
        {
            let zone = world.sdn.zone_of(&bridge).unwrap_or_else(|| "localnetwork".to_owned());
            world
                .rights
                .need(asked, &format!("/sdn/zones/{zone}/{bridge}"), &["SDN.Use"])?;
        }
        if is_disk(name) && value != "none,media=cdrom" {
            let volume = pairs(value)
                .into_iter()
                .find(|(key, _)| key.is_empty() || key == "file");
            let volume = volume.map(|(_, volume)| volume).unwrap_or_default();
            let Some((store, amount)) = volume.split_once(':') else {
                continue;
            };
            if store != "local" {
                return Err(Reply::die(&format!("storage '{store}' does not exist")));
            }
            let any: &[&str] = match amount.parse::<f64>() {
                Ok(_) => &["Datastore.AllocateSpace"],
                Err(_) => &["Datastore.Audit", "Datastore.AllocateSpace"],
            };
            world.rights.need(asked, "/storage/local", any)?;
        }
    }
    Ok(())
}

fn create(world: &mut World, asked: &Asked) -> Result<Reply, Reply> {
    rules::check(asked, OPTIONS, &["vmid"])?;
    let id = asked.get("vmid").unwrap_or_default().to_owned();
    if !world.rights.has(asked, &format!("/vms/{id}"), &["VM.Allocate"]) {
        return Err(Reply::bare_forbidden("Permission check failed"));
    }
    rights(world, asked, &id)?;
    let vmid: u64 = id.parse().unwrap_or_default();
    if world.guests.contains_key(&vmid) {
        return Err(Reply::die(&format!(
            "unable to create VM {id} - VM {id} already exists on node '{}'",
            world.node
        )));
    }
    // The number is taken before the task's name is given; the rest comes with the task.
    let reserved = Guest {
        config: BTreeMap::from([("lock".to_owned(), "create".to_owned())]),
        ..Guest::default()
    };
    world.guests.insert(vmid, reserved);
    let again = asked.clone();
    let work = Work::new(move |world, log| {
        let made = make(world, &again, vmid, log);
        if let Err(said) = made {
            world.guests.remove(&vmid);
            let _ = std::fs::remove_dir_all(world.dir.join("images").join(vmid.to_string()));
            return Err(format!("unable to create VM {vmid} - {said}"));
        }
        if again.flag("start") {
            let power = Power {
                verb: "start".to_owned(),
                vmid,
                timeout: None,
                force: false,
            };
            let work = Work::stepped(move |world, _| power.step(world));
            world.begin(&again, "qmstart", &vmid.to_string(), work);
        }
        Ok(())
    });
    Ok(world.begin(asked, "qmcreate", &id, work))
}

fn make(world: &mut World, asked: &Asked, vmid: u64, log: &mut Vec<String>) -> Result<(), String> {
    let mut config = BTreeMap::new();
    let uuid = uuid(world.next());
    config.insert("smbios1".to_owned(), format!("uuid={uuid}"));
    config.insert("vmgenid".to_owned(), uuid);
    config.insert("meta".to_owned(), "creation-qemu=10.0.2,ctime=1795335073".to_owned());
    for (name, value) in asked.params.iter().filter(|(name, _)| !WORDS.contains(&name.as_str())) {
        let value = stored(world, vmid, name, value, None, log)?;
        config.insert(name.clone(), value);
    }
    if !config.contains_key("boot") {
        // Disks first, then CDs, then cards.
        let rank = |name: &str, value: &str| match (is_nic(name), value.contains("media=cdrom")) {
            (true, _) => 2,
            (false, cd) => u8::from(cd),
        };
        let own = config.iter().filter(|(name, _)| is_disk(name) || is_nic(name));
        let mut devices: Vec<(u8, &str)> = own.map(|(name, value)| (rank(name, value), name.as_str())).collect();
        devices.sort_unstable();
        let devices: Vec<&str> = devices.into_iter().map(|(_, name)| name).collect();
        let order = if devices.is_empty() {
            " ".to_owned()
        } else {
            format!("order={}", devices.join(";"))
        };
        config.insert("boot".to_owned(), order);
    }
    world.guests.insert(
        vmid,
        Guest {
            config,
            ..Guest::default()
        },
    );
    Ok(())
}

fn uuid(number: u64) -> String {
    format!("d1471b38-8312-4861-94dd-{number:012x}")
}

/// A value as it is written: addresses and volumes are learned, keys are put in order.
fn stored(
    world: &mut World,
    vmid: u64,
    name: &str,
    value: &str,
    old: Option<&str>,
    log: &mut Vec<String>,
) -> Result<String, String> {
    if name == "tags" {
        let mut tags: Vec<String> = value
            .split([';', ',', ' '])
            .filter(|tag| !tag.is_empty())
            .map(str::to_lowercase)
            .collect();
        tags.sort();
        tags.dedup();
        return Ok(tags.join(";"));
    }
    if NUMBERS.contains(&name) {
        return Ok(match value {
            "yes" | "true" | "on" => "1".to_owned(),
            "no" | "false" | "off" => "0".to_owned(),
            other => other.to_owned(),
        });
    }
    if is_nic(name) {
        return Ok(nic(world, value));
    }
    if is_disk(name) {
        return drive(world, vmid, name, value, old, log);
    }
    Ok(value.to_owned())
}

fn nic(world: &mut World, value: &str) -> String {
    let mut model = String::new();
    let mut address = String::new();
    let mut rest = Vec::new();
    for (key, value) in pairs(value) {
        match key.as_str() {
            "" | "model" => model = value,
            "macaddr" => address = value.to_uppercase(),
            key if MODELS.contains(&key) => {
                model = key.to_owned();
                address = value.to_uppercase();
            }
            _ => rest.push((key, value)),
        }
    }
    if address.is_empty() {
        let number = world.next();
        address = format!(
            "BC:24:11:{:02X}:{:02X}:{:02X}",
            number >> 16 & 255,
            number >> 8 & 255,
            number & 255
        );
    }
    printed(&format!("{model}={address}"), rest)
}

fn drive(
    world: &mut World,
    vmid: u64,
    name: &str,
    value: &str,
    old: Option<&str>,
    log: &mut Vec<String>,
) -> Result<String, String> {
    let mut rest = pairs(value);
    let at = rest.iter().position(|(key, _)| key.is_empty() || key == "file");
    let file = at.map(|at| rest.remove(at).1).unwrap_or_default();
    let import = rest
        .iter()
        .position(|(key, _)| key == "import-from")
        .map(|at| rest.remove(at).1);
    if file == "none" {
        return Ok(printed(&file, rest));
    }
    rest.retain(|(key, _)| key != "size");
    let amount = file.split_once(':').and_then(|(_, amount)| amount.parse::<f64>().ok());
    let Some(gib) = amount else {
        let meta = path_of(world, &file).and_then(|path| std::fs::metadata(path).ok());
        let Some(meta) = meta else {
            return Err(format!("volume '{file}' does not exist"));
        };
        rest.push(("size".to_owned(), size_text(meta.len())));
        return Ok(printed(&file, rest));
    };
    if old.is_some_and(|old| !old.contains("media=cdrom")) {
        log.push(format!("{name} becomes unused"));
    }
    let dir = world.dir.join("images").join(vmid.to_string());
    std::fs::create_dir_all(&dir).map_err(|error| error.to_string())?;
    let index = (0..)
        .find(|index| !dir.join(format!("vm-{vmid}-disk-{index}.raw")).exists())
        .unwrap_or(0);
    let volume = format!("vm-{vmid}-disk-{index}.raw");
    let path = dir.join(&volume);
    let bytes = match import {
        Some(source) => {
            let from = path_of(world, &source).filter(|path| path.exists());
            let from = from.ok_or_else(|| format!("volume '{source}' does not exist"))?;
            imported(&from, &path).map_err(|error| format!("cannot import from '{source}' - copy failed: {error}"))?
        }
        None => (gib * f64::from(1 << 30)) as u64,
    };
    let disk = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .map_err(|error| error.to_string())?;
    disk.set_len(bytes).map_err(|error| error.to_string())?;
    rest.push(("size".to_owned(), size_text(bytes)));
    Ok(printed(&format!("local:{vmid}/{volume}"), rest))
}

/// A raw copy of an image; its size.
fn imported(from: &Path, to: &Path) -> Result<u64, String> {
    let mut magic = [0; 4];
    let read = std::fs::File::open(from).and_then(|mut file| file.read_exact(&mut magic));
    if read.is_ok() && magic == *b"QFI\xfb" {
        let done = Command::new("qemu-img")
            .args(["convert", "-O", "raw"])
            .args([from, to])
            .output()
            .map_err(|error| format!("qemu-img: {error}"))?;
        if !done.status.success() {
            return Err(String::from_utf8_lossy(&done.stderr).trim().to_owned());
        }
    } else {
        std::fs::copy(from, to).map_err(|error| error.to_string())?;
    }
    std::fs::metadata(to)
        .map(|meta| meta.len())
        .map_err(|error| error.to_string())
}

/// Everything that is checked before a change is begun.
fn prepared(world: &World, asked: &Asked, vmid: u64) -> Result<(), Reply> {
    rules::check(asked, OPTIONS, &[])?;
    rights(world, asked, &vmid.to_string())?;
    let Some(guest) = world.guests.get(&vmid) else {
        return Err(missing(world, &vmid.to_string()));
    };
    if asked.params.iter().all(|(name, _)| name == "digest") {
        return Err(Reply::die("no options specified"));
    }
    if asked
        .get("digest")
        .is_some_and(|digest| !digest.is_empty() && digest != guest.digest())
    {
        return Err(Reply::die("checksum mismatch (file change by other user?)"));
    }
    for name in asked
        .get("delete")
        .unwrap_or_default()
        .split([',', ';', ' '])
        .filter(|name| !name.is_empty())
    {
        let known = OPTIONS.iter().any(|(own, _)| {
            own.trim_end_matches('#') == name.trim_end_matches(|c: char| c.is_ascii_digit()) || *own == name
        });
        if !known && !name.starts_with("unused") {
            return Err(Reply::wrong_one("delete", &format!("unknown option '{name}'")));
        }
    }
    unlocked(world, vmid).map_err(|said| Reply::die(&said))
}

/// What can be changed under a running machine.
fn hot(name: &str, old: Option<&str>, new: &str) -> bool {
    match name {
        "name" | "description" | "onboot" | "tags" | "startup" | "protection" => true,
        name if name.starts_with("scsi") || name.starts_with("virtio") => is_disk(name),
        name if is_nic(name) => {
            let mtu = |text: &str| pairs(text).into_iter().find(|(key, _)| key == "mtu");
            old.is_none_or(|old| mtu(old) == mtu(new))
        }
        name if is_disk(name) => old.is_some_and(|old| old.contains("media=cdrom")),
        _ => false,
    }
}

fn configure(world: &mut World, asked: &Asked, vmid: u64) -> Result<(), String> {
    unlocked(world, vmid)?;
    let mut guest = world.guests.get(&vmid).cloned().ok_or("it is gone")?;
    let mut log = Vec::new();
    for name in asked.get("revert").unwrap_or_default().split([',', ';', ' ']) {
        guest.pending.remove(name);
    }
    for name in asked
        .get("delete")
        .unwrap_or_default()
        .split([',', ';', ' '])
        .filter(|name| !name.is_empty())
    {
        let Some(old) = guest.config.get(name).cloned() else {
            continue;
        };
        if guest.running && !hot(name, Some(&old), "") {
            guest.pending.insert(name.to_owned(), None);
            continue;
        }
        guest.config.remove(name);
        if is_disk(name) || is_nic(name) {
            reorder(&mut guest, |devices| devices.retain(|device| device != name));
        }
        let volume = old.split(',').next().unwrap_or_default().to_owned();
        let freed = name.starts_with("unused") || (is_disk(name) && asked.flag("force"));
        if freed
            && !old.contains("media=cdrom")
            && let Some(path) = path_of(world, &volume)
        {
            let _ = std::fs::remove_file(path);
        }
        if is_disk(name) && !old.contains("media=cdrom") && !freed {
            let index = (0..)
                .find(|index| !guest.config.contains_key(&format!("unused{index}")))
                .unwrap_or(0);
            guest.config.insert(format!("unused{index}"), volume);
        }
    }
    for (name, value) in asked.params.iter().filter(|(name, _)| !WORDS.contains(&name.as_str())) {
        let old = guest.config.get(name).cloned();
        let value = stored(world, vmid, name, value, old.as_deref(), &mut log)?;
        if guest.running && !hot(name, old.as_deref(), &value) {
            match old.as_ref() == Some(&value) {
                true => drop(guest.pending.remove(name)),
                false => drop(guest.pending.insert(name.clone(), Some(value))),
            }
            continue;
        }
        if old.is_none() && value.contains("media=cdrom") && asked.get("boot").is_none() {
            reorder(&mut guest, |devices| devices.push(name.clone()));
        }
        guest.config.insert(name.clone(), value);
    }
    if let Some(order) = asked.get("boot").and_then(|boot| boot.strip_prefix("order=")) {
        let stranger = order.split(';').find(|device| !guest.config.contains_key(*device));
        if let Some(device) = stranger {
            return Err(format!("invalid bootorder: device '{device}' does not exist'"));
        }
    }
    // A volume that is in a drive again is not unused any more (`write_vm_config` of qemu-server).
    let file = |drive: &str| drive.split(',').next().unwrap_or_default().to_owned();
    let drives = guest.config.iter().filter(|(name, _)| is_disk(name));
    let used: Vec<String> = drives.map(|(_, drive)| file(drive)).collect();
    guest
        .config
        .retain(|name, volume| !name.starts_with("unused") || !used.contains(volume));
    world.guests.insert(vmid, guest);
    Ok(())
}

fn reorder(guest: &mut Guest, change: impl FnOnce(&mut Vec<String>)) {
    if let Some(order) = guest.config.get("boot").and_then(|boot| boot.strip_prefix("order=")) {
        let mut devices: Vec<String> = order.split(';').map(str::to_owned).collect();
        change(&mut devices);
        guest
            .config
            .insert("boot".to_owned(), format!("order={}", devices.join(";")));
    }
}

fn resize(world: &mut World, asked: &Asked, vmid: u64) -> Result<(), String> {
    unlocked(world, vmid)?;
    let (disk, size) = (
        asked.get("disk").unwrap_or_default(),
        asked.get("size").unwrap_or_default(),
    );
    let guest = world.guests.get(&vmid).ok_or("it is gone")?;
    let raw = guest
        .config
        .get(disk)
        .cloned()
        .ok_or_else(|| format!("disk '{disk}' does not exist"))?;
    let mut rest = pairs(&raw);
    let file = rest.remove(0).1;
    let had = rest
        .iter()
        .find(|(key, _)| key == "size")
        .and_then(|(_, size)| size_bytes(size))
        .unwrap_or(0);
    let asked_for = match size.strip_prefix('+') {
        Some(more) => had + size_bytes(more).unwrap_or(0),
        None => size_bytes(size).unwrap_or(0),
    };
    if asked_for < had {
        return Err("shrinking disks is not supported".to_owned());
    }
    if let Some(path) = path_of(world, &file) {
        let disk = std::fs::OpenOptions::new()
            .append(true)
            .open(path)
            .map_err(|error| error.to_string())?;
        disk.set_len(asked_for).map_err(|error| error.to_string())?;
    }
    rest.retain(|(key, _)| key != "size");
    rest.push(("size".to_owned(), size_text(asked_for)));
    let value = printed(&file, rest);
    if let Some(guest) = world.guests.get_mut(&vmid) {
        guest.config.insert(disk.to_owned(), value);
    }
    Ok(())
}

/// A machine that is started, stopped, shut down or reset.
struct Power {
    verb: String,
    vmid: u64,
    timeout: Option<u64>,
    force: bool,
}

impl Power {
    fn step(self, world: &mut World) -> Result<Step, String> {
        let Power { verb, vmid, .. } = &self;
        let Some(mut guest) = world.guests.get(vmid).cloned() else {
            return Err(format!(
                "Configuration file 'nodes/{}/qemu-server/{vmid}.conf' does not exist",
                world.node
            ));
        };
        unlocked(world, *vmid)?;
        match verb.as_str() {
            "start" if guest.running => return Err(format!("VM {vmid} already running")),
            "start" => {
                guest.settle();
                bridged(world, &guest)?;
            }
            "reset" if !guest.running => return Err(format!("VM {vmid} not running")),
            "reset" => {}
            _ if !guest.running => return Ok(Step::Done),
            _ => {}
        }
        let mut said = hook::machine(world, &format!("vm-{verb}"), *vmid, &guest);
        said["timeout"] = self.timeout.into();
        said["force"] = self.force.into();
        Ok(world.hooked(said, move |world, _, told| {
            if let Some(guest) = world.guests.get_mut(&self.vmid)
                && self.verb != "reset"
            {
                guest.settle();
                guest.running = self.verb == "start";
                guest.pid = told["pid"].as_u64().filter(|_| guest.running);
            }
            Ok(())
        }))
    }
}

/// All bridges of a machine have to be up.
fn bridged(world: &World, guest: &Guest) -> Result<(), String> {
    let up = world.up();
    for (_, card) in guest.config.iter().filter(|(name, _)| is_nic(name)) {
        let bridge = pairs(card).into_iter().find(|(key, _)| key == "bridge");
        if let Some((_, bridge)) = bridge.filter(|(_, bridge)| !up.contains(bridge)) {
            return Err(format!("bridge '{bridge}' does not exist"));
        }
    }
    Ok(())
}

/// Cards and drives of a machine, taken apart for a hook.
pub(super) fn devices(world: &World, guest: &Guest) -> (Vec<Json>, Vec<Json>) {
    let (mut nets, mut drives) = (Vec::new(), Vec::new());
    for (name, value) in &guest.config {
        let all = pairs(value);
        let own = |key: &str| {
            all.iter()
                .find(|(own, _)| own == key)
                .map_or(Json::Null, |(_, value)| value.as_str().into())
        };
        if is_nic(name) {
            let (model, mac) = all.first().cloned().unwrap_or_default();
            let amount = |key: &str| own(key).as_str().and_then(|text| text.parse::<u64>().ok());
            nets.push(
                json!({ "name": name, "model": model, "mac": mac, "bridge": own("bridge"), "mtu": amount("mtu"),
                "tag": amount("tag"), "firewall": own("firewall") == "1", "link_down": own("link_down") == "1" }),
            );
        } else if is_disk(name) {
            let volume = all.first().map(|(_, volume)| volume.clone()).unwrap_or_default();
            let path = path_of(world, &volume);
            let media = if own("media") == "cdrom" { "cdrom" } else { "disk" };
            let bytes = own("size").as_str().and_then(size_bytes);
            drives.push(
                json!({ "name": name, "media": media, "volume": volume, "path": path, "format": "raw",
                "size": bytes }),
            );
        }
    }
    (nets, drives)
}
