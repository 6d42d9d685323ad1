//! A virtual machine of Proxmox VE, compared key by key: what the server has learned (addresses of cards, names of volumes)
//! is kept, disks grow and never shrink, and what waits for a restart is said.

mod back;
mod found;
mod option;
mod rights;

pub(super) use found::{everyone, meant, on_bridge, with_option};

use super::api::{Api, ApiError, Call, Json, Method, Prediction, number, rows, text};
use super::bridge::under_way;
use super::property::{Property, bytes, size, truth};
use super::proxmox_params;
use okd_agent::choice;
use okd_agent::diff::{Change, Sign};
use okd_agent::resource::{Resource, ResourceError, View};
use okd_agent::value::{Map, Value, map};
use option::{Class, Drive, Source, class, current, numbered, tags, wanted};
use serde::Serialize;
use std::collections::BTreeMap;

const ALL: &str = "/cluster/resources?type=vm";

choice! {
    /// What a virtual machine should be.
    pub enum VmState {
        /// It is there; whether it runs is left alone.
        Present = "present",
        /// It is there and runs.
        Started = "started" | "running",
        /// It is there and does not run.
        Stopped = "stopped",
        /// It is not there, nor are its disks.
        Absent = "absent",
    }
}
proxmox_params! {
    /// A virtual machine of Proxmox VE.
    pub struct ProxmoxVm {
        /// The node that it is made on.
        node: String,
        /// Its name; one that two machines have is an error, unless `vmid` is given.
        name: Option<String>,
        /// Its number; the next free one for a new machine.
        vmid: Option<u64>,
        /// Let the machine of this `vmid` get another `name`; without it, one of another name is refused.
        rename: bool = "no",
        /// What it should be.
        state: VmState = "present",
        /// MiB of memory.
        memory: Option<u64>,
        /// Cores a socket.
        cores: Option<u64>,
        /// Sockets.
        sockets: Option<u64>,
        /// The processor's type, such as `host`.
        cpu: Option<String>,
        /// Let it know of the node's memory regions.
        numa: Option<bool>,
        /// Start it with the node.
        onboot: Option<bool>,
        /// The guest's system, such as `l26`.
        ostype: Option<String>,
        /// The guest agent: `1`, or a property string.
        agent: Option<String>,
        /// `seabios` or `ovmf`.
        bios: Option<String>,
        /// The machine's type, such as `q35`.
        machine: Option<String>,
        /// The SCSI controller, such as `virtio-scsi-single`.
        scsihw: Option<String>,
        /// The order of devices to boot from, such as `order=scsi0;ide2;net0`.
        boot: Option<String>,
        /// Network cards: `net0: virtio,bridge=vmbr1`. The address of a card that is there is kept unless one is given.
        net: indexmap::IndexMap<String, String>,
        /// SCSI drives: `scsi0: local:20,discard=on` is a disk of 20 GiB. Disks grow, and are never shrunk.
        scsi: indexmap::IndexMap<String, String>,
        /// VirtIO drives.
        virtio: indexmap::IndexMap<String, String>,
        /// SATA drives.
        sata: indexmap::IndexMap<String, String>,
        /// IDE drives: `ide2: local:iso/live.iso,media=cdrom`.
        ide: indexmap::IndexMap<String, String>,
        /// Tags. A machine of this `name` that has none of them is someone else's and refused; its `vmid` takes it over.
        tags: Option<Vec<String>>,
        /// A remark.
        description: Option<String>,
        /// Any other options by their own names, such as `serial0: socket`.
        options: indexmap::IndexMap<String, String>,
        /// Options that are taken away. A disk stays as `unused0`, …, unless `force` is given; deleting that removes it.
        delete: Vec<String>,
        /// Power it off where it does not shut down in time, and before it is removed; remove the disks of `delete`.
        force: bool = "no",
        /// How many seconds a shutdown may take.
        shutdown_timeout: u64 = "60",
    }
}

/// What can be seen of a machine: of its options, those that were asked for.
#[derive(Debug, Clone, Serialize)]
pub struct Vm {
    label: String,
    vmid: Option<u64>,
    /// The options, in one spelling.
    config: BTreeMap<String, Option<String>>,
    running: bool,
    /// The node that it is on.
    #[serde(skip)]
    node: String,
    /// All options as they were read.
    #[serde(skip)]
    raw: BTreeMap<String, String>,
    #[serde(skip)]
    everyone: Vec<Json>,
    /// Volumes that are to be used and are not there.
    #[serde(skip)]
    missing: Vec<String>,
    /// What waits for a restart: option, now, then.
    #[serde(skip)]
    pending: Vec<(String, String, String)>,
}

impl View for Vm {
    fn changes(&self, want: &Self) -> Vec<Change> {
        let item = |sign, label: &str| Change::Item {
            sign,
            text: format!("virtual machine {label}"),
        };
        let mut all = Vec::new();
        match (self.vmid, want.vmid) {
            (Some(_), None) => return vec![item(Sign::Removed, &format!("{} with its disks", self.label))],
            (None, None) => return all,
            (None, Some(_)) => all.push(item(Sign::Added, &want.label)),
            (Some(_), Some(_)) => {}
        }
        for (name, after) in &want.config {
            let before = self.config.get(name).cloned().flatten();
            if before != *after {
                all.push(Change::Field {
                    of: self.label.clone(),
                    name: name.clone(),
                    before: before.unwrap_or_default(),
                    after: after.clone().unwrap_or_default(),
                });
            }
        }
        if self.running != want.running {
            let verb = if want.running { "start" } else { "shut down" };
            all.push(Change::Act(format!("{verb} {}", self.label)));
        }
        all
    }
}
impl ProxmoxVm {
    /// Everything that is asked for, by the server's names.
    fn asked(&self) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        let mut set = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                all.insert(name.to_owned(), value);
            }
        };
        let number = |value: Option<u64>| value.map(|value| value.to_string());
        set("name", self.name.clone());
        set("memory", number(self.memory));
        set("cores", number(self.cores));
        set("sockets", number(self.sockets));
        set("cpu", self.cpu.clone());
        set("numa", self.numa.map(|on| u8::from(on).to_string()));
        set("onboot", self.onboot.map(|on| u8::from(on).to_string()));
        set("ostype", self.ostype.clone());
        set("agent", self.agent.clone());
        set("bios", self.bios.clone());
        set("machine", self.machine.clone());
        set("scsihw", self.scsihw.clone());
        set("boot", self.boot.clone());
        set("tags", self.tags.as_ref().map(|all| tags(&all.join(";"))));
        set("description", self.description.clone());
        for group in [
            &self.net,
            &self.scsi,
            &self.virtio,
            &self.sata,
            &self.ide,
            &self.options,
        ] {
            all.extend(group.iter().map(|(name, value)| (name.clone(), value.clone())));
        }
        all
    }

    fn label(&self, vmid: Option<u64>) -> String {
        match (&self.name, vmid) {
            (Some(name), _) => name.clone(),
            (None, Some(vmid)) => format!("VM {vmid}"),
            (None, None) => format!("VM {}", self.vmid.unwrap_or_default()),
        }
    }

    /// Waits for tasks that are under way for this machine. One that is being made may not have its name yet: then any
    /// making on the node is waited for before a second machine is made. Says whether it waited.
    fn settled(&self, world: &dyn Api, node: &str, vmid: Option<u64>) -> Result<bool, ResourceError> {
        let filter = match vmid.or(self.vmid) {
            Some(vmid) => format!("vmid={vmid}"),
            None => "typefilter=qmcreate".to_owned(),
        };
        let running = world.get(&format!("/nodes/{node}/tasks?source=active&{filter}"))?;
        let mut waited = false;
        for task in rows(&running).iter().filter(|task| under_way(task)) {
            let kind = text(task, "type").unwrap_or_default();
            if let Some(upid) = text(task, "upid").filter(|_| kind.starts_with("qm") || kind == "resize") {
                world.settle(&upid, &[])?;
                waited = true;
            }
        }
        Ok(waited)
    }

    fn free(&self, world: &dyn Api, all: &[Json]) -> Result<u64, ResourceError> {
        if let Some(vmid) = self.vmid {
            return Ok(vmid);
        }
        let next = world.get("/cluster/nextid")?;
        let mut free = number(&next, "data").unwrap_or(100);
        while all.iter().any(|row| number(row, "vmid") == Some(free)) {
            free += 1;
        }
        Ok(free)
    }

    /// The machine as it will be read.
    fn row(&self, vmid: u64, node: &str, running: bool) -> Json {
        let status = if running { "running" } else { "stopped" };
        serde_json::json!({ "vmid": vmid, "node": node, "type": "qemu", "name": self.label(Some(vmid)), "status": status,
            "id": format!("qemu/{vmid}") })
    }

    fn create(&self, now: &Vm, world: &dyn Api) -> Result<u64, ResourceError> {
        let asked = self.asked();
        let mut vmid = self.free(world, &now.everyone)?;
        let mut config: BTreeMap<String, String> = BTreeMap::new();
        for (name, value) in &asked {
            let value = match class(name) {
                Class::Drive => Drive::asked(value, name).predicted(vmid, name),
                _ => wanted(name, value),
            };
            config.insert(name.clone(), value);
        }
        for attempt in 1.. {
            let mut call = Call::new(Method::Post, format!("/nodes/{}/qemu", self.node)).with("vmid", vmid.to_string());
            for (name, value) in &asked {
                let value = match class(name) {
                    Class::Drive => Drive::asked(value, name).creation(),
                    Class::Word => truth(value),
                    _ => value.clone(),
                };
                call.params.push((name.clone(), value));
            }
            let mut everyone = now.everyone.clone();
            everyone.push(self.row(vmid, &self.node, false));
            let base = format!("/nodes/{}/qemu/{vmid}", self.node);
            let call = call
                .predicting(ALL, Json::Array(everyone))
                .predicting(format!("{base}/config"), serde_json::json!(config))
                .predicting(
                    format!("{base}/status/current"),
                    serde_json::json!({ "status": "stopped" }),
                )
                .predicting(format!("{base}/firewall/options"), serde_json::json!({}))
                .predicting(format!("{base}/firewall/rules"), Json::Array(Vec::new()))
                .predicting(
                    format!("/nodes/{}/tasks?source=active&vmid={vmid}", self.node),
                    Json::Array(Vec::new()),
                );
            match world.send(&call) {
                Ok(_) => break,
                // Someone else took the number between asking and making.
                Err(error) if error.is_taken() && self.vmid.is_none() && attempt < 5 => {
                    vmid = self.free(world, &rows(&world.get(ALL)?))?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        for (name, value) in &asked {
            if class(name) == Class::Drive {
                let drive = Drive::asked(value, name);
                if let (Source::Import, Some(bytes)) = (&drive.source, drive.size) {
                    self.resize(world, &self.node, vmid, name, bytes)?;
                }
            }
        }
        Ok(vmid)
    }

    fn resize(&self, world: &dyn Api, node: &str, vmid: u64, name: &str, bytes: u64) -> Result<(), ResourceError> {
        let call = Call::new(Method::Put, format!("/nodes/{node}/qemu/{vmid}/resize"))
            .with("disk", name)
            .with("size", size(bytes));
        world.send(&call)?;
        Ok(())
    }

    /// Sends what differs, in one request, so that nobody's edit between is lost; then grows disks.
    fn change(&self, now: &Vm, want: &Vm, vmid: u64, world: &dyn Api) -> Result<(), ResourceError> {
        let base = format!("/nodes/{}/qemu/{vmid}", now.node);
        let asked = self.asked();
        let (mut after, mut params, mut delete, mut grow) = (now.raw.clone(), Vec::new(), Vec::new(), Vec::new());
        for (name, value) in &want.config {
            let before = now.config.get(name).cloned().flatten();
            if before == *value {
                continue;
            }
            let Some(asked) = asked.get(name).filter(|_| value.is_some()) else {
                delete.push(name.clone());
                after.remove(name);
                continue;
            };
            let raw = now.raw.get(name);
            let sent = match (class(name), raw) {
                (Class::Nic, Some(raw)) => {
                    let mut nic = Property::nic(asked);
                    if nic.get("macaddr").unwrap_or_default().is_empty() {
                        let own = Property::nic(raw).get("macaddr").unwrap_or_default().to_owned();
                        nic.set("macaddr", own);
                    }
                    if nic.get("macaddr").is_some_and(str::is_empty) {
                        nic.remove("macaddr");
                    }
                    nic.to_string()
                }
                (Class::Drive, Some(raw)) => {
                    let drive = Drive::asked(asked, name);
                    let old = Property::parse(raw, "file");
                    let mut props = drive.props.clone();
                    props.remove("import-from");
                    if drive.source != Source::Volume {
                        props.set("file", old.get("file").unwrap_or_default());
                        if let Some(size) = old.get("size") {
                            props.set("size", size);
                        }
                        let had = old.get("size").and_then(bytes);
                        if let Some(bytes) = drive.size.filter(|bytes| had.is_none_or(|had| had < *bytes)) {
                            grow.push((name.clone(), bytes));
                        }
                    }
                    props.to_string()
                }
                (Class::Drive, None) => Drive::asked(asked, name).creation(),
                (Class::Word, _) => truth(asked),
                _ => asked.clone(),
            };
            let unchanged = raw.is_some_and(|raw| Property::parse(raw, "file") == Property::parse(&sent, "file"));
            if !(class(name) == Class::Drive && unchanged) {
                params.push((name.clone(), sent.clone()));
            }
            let predicted = match class(name) {
                Class::Drive => {
                    let drive = Drive::asked(asked, name);
                    let mut props = Property::parse(&drive.predicted(vmid, name), "file");
                    if let (Some(raw), true) = (raw, drive.source != Source::Volume) {
                        let old = Property::parse(raw, "file");
                        props.set("file", old.get("file").unwrap_or_default());
                    }
                    props.to_string()
                }
                _ => sent,
            };
            after.insert(name.clone(), predicted);
        }
        // A drive or card that comes or goes edits the boot order; what was asked for goes along.
        let devices = params.iter().map(|(name, _)| name).chain(&delete);
        let devices = devices
            .filter(|name| matches!(class(name), Class::Drive | Class::Nic))
            .count()
            > 0;
        if let Some(boot) = asked
            .get("boot")
            .filter(|_| devices && !params.iter().any(|(name, _)| name == "boot"))
        {
            params.push(("boot".to_owned(), boot.clone()));
        }
        let mut everyone = now.everyone.clone();
        for row in &mut everyone {
            if number(row, "vmid") == Some(vmid)
                && let (Some(name), Some(row)) = (after.get("name"), row.as_object_mut())
            {
                row.insert("name".to_owned(), name.as_str().into());
            }
        }
        if !params.is_empty() || !delete.is_empty() {
            if let Some(digest) = now.raw.get("digest") {
                params.push(("digest".to_owned(), digest.clone()));
            }
            if !delete.is_empty() {
                params.push(("delete".to_owned(), delete.join(",")));
                if self.force {
                    params.push(("force".to_owned(), "1".to_owned()));
                }
            }
            // POST is a task: adding a disk takes longer than a request may.
            let mut call = Call::new(Method::Post, format!("{base}/config"))
                .predicting(format!("{base}/config"), serde_json::json!(after))
                .predicting(ALL, Json::Array(everyone));
            call.params = params;
            world.send(&call)?;
        }
        for (name, bytes) in grow {
            let call = Call::new(Method::Put, format!("{base}/resize"))
                .with("disk", name.as_str())
                .with("size", size(bytes))
                .predicting(format!("{base}/config"), serde_json::json!(after));
            world.send(&call)?;
        }
        Ok(())
    }

    fn power(&self, on: bool, node: &str, vmid: u64, world: &dyn Api) -> Result<(), ResourceError> {
        let path = format!(
            "/nodes/{node}/qemu/{vmid}/status/{}",
            if on { "start" } else { "shutdown" }
        );
        let status = if on { "running" } else { "stopped" };
        let mut call = Call::new(Method::Post, path);
        if !on {
            call = call.with("timeout", self.shutdown_timeout.to_string());
            if self.force {
                call = call.with("forceStop", "1");
            }
        }
        let current = format!("/nodes/{node}/qemu/{vmid}/status/current");
        let call = call
            .predicting(current, serde_json::json!({ "status": status }))
            .predicting(format!("/nodes/{node}/qemu/{vmid}/pending"), Json::Array(Vec::new()));
        world.send(&call).map_err(|error| match error {
            ApiError::Task {
                request,
                message,
                log,
                help: None,
            } if !on && message.contains("got timeout") => ApiError::Task {
                request,
                message,
                log,
                help: Some("its system did not shut down in time; `force: yes` powers it off".to_owned()),
            },
            other => other,
        })?;
        Ok(())
    }

    fn remove(&self, now: &Vm, vmid: u64, world: &dyn Api) -> Result<(), ResourceError> {
        let base = format!("/nodes/{}/qemu/{vmid}", now.node);
        if now.running {
            let stopped = serde_json::json!({ "status": "stopped" });
            world.send(
                &Call::new(Method::Post, format!("{base}/status/stop"))
                    .predicting(format!("{base}/status/current"), stopped),
            )?;
        }
        let others: Vec<Json> = now
            .everyone
            .iter()
            .filter(|row| number(row, "vmid") != Some(vmid))
            .cloned()
            .collect();
        let missing = || {
            Prediction::Refused(ApiError::Refused {
                request: format!("GET {base}/config"),
                status: 500,
                message: format!(
                    "Configuration file 'nodes/{}/qemu-server/{vmid}.conf' does not exist",
                    now.node
                ),
                errors: Vec::new(),
                help: None,
            })
        };
        let mut call = Call::new(Method::Delete, base.clone())
            .with("purge", "1")
            .predicting(ALL, Json::Array(others));
        call.predicts.push((format!("{base}/config"), missing()));
        call.predicts.push((format!("{base}/status/current"), missing()));
        world.send(&call)?;
        Ok(())
    }

    /// What a person may want to know of its cards and of what waits.
    fn learned(&self, vmid: u64, node: &str, world: &dyn Api) -> Result<Map, ResourceError> {
        let envelope = world.get(&format!("/nodes/{node}/qemu/{vmid}/config"))?;
        let raw = config_of(&envelope);
        let unseen = "the address is given when the machine is made";
        let number = if world.predicted() && self.vmid.is_none() {
            Value::Unknown("the number is given when the machine is made".to_owned())
        } else {
            Value::Int(vmid.cast_signed())
        };
        Ok(map([("vmid", number), ("macs", macs(&raw, unseen))]))
    }
}

fn macs(raw: &BTreeMap<String, String>, unseen: &str) -> Value {
    let cards = raw.iter().filter(|(name, _)| numbered(name, "net"));
    let cards = cards.map(|(name, card)| {
        let address = match Property::nic(card).get("macaddr") {
            Some(address) if !address.is_empty() => Value::from(address),
            _ => Value::Unknown(unseen.to_owned()),
        };
        (name.clone(), address)
    });
    Value::Map(cards.collect())
}

fn config_of(envelope: &Json) -> BTreeMap<String, String> {
    let data = envelope.get("data").unwrap_or(&Json::Null);
    let names = data.as_object().into_iter().flatten().map(|(name, _)| name);
    names
        .filter_map(|name| Some((name.clone(), text(data, name)?)))
        .collect()
}

impl Resource for ProxmoxVm {
    const NAMES: &'static [&'static str] = &["proxmox_vm"];
    const EXAMPLE: &'static str = "- proxmox_vm:\n    api_host: pve.example.org\n    api_user: okd@pve\n    api_token_id: play\n    api_token_secret: \"{{ vault_pve_token }}\"\n    ca_path: files/pve-root-ca.pem\n    node: pve\n    name: master0\n    cores: 4\n    memory: 16384\n    cpu: host\n    scsihw: virtio-scsi-single\n    net: { net0: \"virtio,bridge=vmbr1,mtu=1\" }\n    scsi: { scsi0: \"local:120,discard=on,iothread=1\" }\n    ide: { ide2: \"local:iso/master.iso,media=cdrom\" }\n    boot: order=scsi0;ide2\n    state: started\n";
    const PREDICTS: &'static str = "every option that is asked for, and whether it runs; addresses of new cards and the number of a new machine are known when it is made";
    type World = dyn Api;
    type State = Vm;

    fn check(&self) -> Result<(), Vec<String>> {
        let mut wrong = self.connection();
        if self.name.is_none() && self.vmid.is_none() {
            wrong.push("it needs `name` or `vmid`".to_owned());
        }
        for (stem, group) in [
            ("net", &self.net),
            ("scsi", &self.scsi),
            ("virtio", &self.virtio),
            ("sata", &self.sata),
            ("ide", &self.ide),
        ] {
            for name in group.keys().filter(|name| !numbered(name, stem)) {
                wrong.push(format!("`{name}` in `{stem}` should be `{stem}0`, `{stem}1`, …"));
            }
        }
        for name in self.delete.iter().filter(|name| self.asked().contains_key(*name)) {
            wrong.push(format!("`{name}` is both set and in `delete`"));
        }
        for (name, value) in self.asked().iter().filter(|(name, _)| class(name) == Class::Nic) {
            if Property::nic(value).get("model").is_none_or(str::is_empty) {
                wrong.push(format!("`{name}` needs a model, such as `virtio,bridge=vmbr1`"));
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }

    fn inspect(&self, world: &Self::World) -> Result<Vm, ResourceError> {
        let mut everyone = rows(&world.get(ALL)?);
        let mut row = self.find(world, &everyone)?;
        if row.is_none() && self.settled(world, &self.node, None)? {
            everyone = rows(&world.get(ALL)?);
            row = self.find(world, &everyone)?;
        }
        let asked = self.asked();
        let Some(row) = row else {
            let config: BTreeMap<String, Option<String>> = asked.keys().map(|name| (name.clone(), None)).collect();
            return Ok(Vm {
                label: self.label(None),
                vmid: None,
                missing: match self.state {
                    VmState::Absent => Vec::new(),
                    _ => self.missing(world, &self.node, &config)?,
                },
                config,
                running: false,
                node: self.node.clone(),
                raw: BTreeMap::new(),
                everyone,
                pending: Vec::new(),
            });
        };
        let vmid = number(&row, "vmid").unwrap_or_default();
        let node = text(&row, "node").unwrap_or_else(|| self.node.clone());
        self.settled(world, &node, Some(vmid))?;
        let base = format!("/nodes/{node}/qemu/{vmid}");
        let raw = config_of(&world.get(&format!("{base}/config"))?);
        self.ours(vmid, &node, &raw)?;
        let status = world.get(&format!("{base}/status/current"))?;
        let running = status.get("data").and_then(|data| text(data, "status")).as_deref() == Some("running");
        let mut config: BTreeMap<String, Option<String>> = BTreeMap::new();
        for (name, asked) in &asked {
            config.insert(name.clone(), raw.get(name).map(|raw| current(name, raw, asked)));
        }
        for name in &self.delete {
            config.insert(name.clone(), raw.get(name).cloned());
        }
        let pending = match running {
            true => pending(&world.get(&format!("{base}/pending"))?),
            false => Vec::new(),
        };
        Ok(Vm {
            label: self.label(Some(vmid)),
            vmid: Some(vmid),
            missing: match self.state {
                VmState::Absent => Vec::new(),
                _ => self.missing(world, &node, &config)?,
            },
            config,
            running,
            node,
            raw,
            everyone,
            pending,
        })
    }

    fn desire(&self, now: &Vm) -> Result<Vm, ResourceError> {
        let mut want = now.clone();
        if self.state == VmState::Absent {
            want.vmid = None;
            if now.running && !self.force {
                return Err(ResourceError::message(format!(
                    "{} runs and is not removed: stop it first, or say `force: yes`",
                    now.label
                )));
            }
        } else {
            want.vmid = now.vmid.or(self.vmid).or(Some(0));
            for (name, asked) in self.asked() {
                if let Some(raw) = now.raw.get(&name).filter(|_| class(&name) == Class::Drive) {
                    self.fits(now, &name, raw, &asked)?;
                }
                want.config.insert(name.clone(), Some(wanted(&name, &asked)));
            }
            for name in &self.delete {
                want.config.insert(name.clone(), None);
            }
            want.running = match self.state {
                VmState::Started => true,
                VmState::Stopped => false,
                _ => now.running,
            };
        }
        if !now.missing.is_empty() {
            return Err(ResourceError::message(format!(
                "volume '{}' does not exist on {}: a step before this one has to bring it (`proxmox_image`); \
                 `pvesm list STORAGE` on the node lists what is there",
                now.missing.join("', '"),
                now.node
            )));
        }
        if let Some(lock) = now.raw.get("lock").filter(|_| !now.changes(&want).is_empty()) {
            return Err(ResourceError::message(format!(
                "{} ({}) is locked ({lock}): something else is working on it; wait until that has ended, and only where nothing \
                 does any more: `qm unlock {}` on {}",
                now.label,
                now.vmid.unwrap_or_default(),
                now.vmid.unwrap_or_default(),
                now.node
            )));
        }
        Ok(want)
    }

    fn apply(&self, now: &Vm, want: &Vm, world: &Self::World) -> Result<Map, ResourceError> {
        let vmid = match (now.vmid, want.vmid) {
            (Some(vmid), None) => {
                self.remove(now, vmid, world)?;
                return Ok(Map::new());
            }
            (None, None) => return Ok(Map::new()),
            (None, Some(_)) => self.create(now, world)?,
            (Some(vmid), Some(_)) => {
                self.change(now, want, vmid, world)?;
                vmid
            }
        };
        if now.running != want.running {
            self.power(want.running, &now.node, vmid, world)?;
        }
        self.learned(vmid, &now.node, world)
    }

    fn result(&self, state: &Vm) -> Map {
        let mut result = map([
            ("node", state.node.as_str().into()),
            ("status", if state.running { "running" } else { "stopped" }.into()),
        ]);
        if let Some(vmid) = state.vmid.filter(|vmid| *vmid > 0) {
            result.insert("vmid".to_owned(), Value::Int(vmid.cast_signed()));
        }
        result.insert(
            "macs".to_owned(),
            macs(&state.raw, "the address is given when the machine is made"),
        );
        let waits = state
            .pending
            .iter()
            .map(|(name, now, then)| (name.clone(), format!("{now} → {then}").into()));
        result.insert("pending".to_owned(), Value::Map(waits.collect()));
        result
    }

    fn notes(&self, now: &Vm, want: &Vm) -> Vec<String> {
        let mut notes = Vec::new();
        if now.running && want.running && now.config != want.config {
            notes.push(format!(
                "{} runs: what cannot be changed under it waits for its next stop and start",
                now.label
            ));
        }
        for name in self
            .delete
            .iter()
            .filter(|name| now.raw.contains_key(*name) && !self.force)
        {
            if class(name) == Class::Drive && !now.raw.get(name).is_some_and(|raw| raw.contains("media=cdrom")) {
                notes.push(format!(
                    "the disk {name} of {} is taken out and stays as `unused…`; `force: yes` removes it",
                    now.label
                ));
            }
        }
        for (name, before, after) in &now.pending {
            notes.push(format!(
                "{name} of {} already waits for a restart: {before} → {after}",
                now.label
            ));
        }
        notes
    }
}

impl ProxmoxVm {
    /// Whether a drive that is there can become what is asked for.
    fn fits(&self, now: &Vm, name: &str, raw: &str, asked: &str) -> Result<(), ResourceError> {
        let drive = Drive::asked(asked, name);
        if drive.source == Source::Volume {
            return Ok(());
        }
        let old = Property::parse(raw, "file");
        let file = old.get("file").unwrap_or_default();
        let store = file.split_once(':').map_or(file, |(store, _)| store);
        if old.get("media") == Some("cdrom") {
            return Err(ResourceError::message(format!(
                "{name} of {} is a CD drive, not a disk",
                now.label
            )));
        }
        if store != drive.store {
            return Err(ResourceError::message(format!(
                "{name} of {} is on {store}, not on {}; a disk is not moved here: `qm disk move {} {name} {}` does it",
                now.label,
                drive.store,
                now.vmid.unwrap_or_default(),
                drive.store
            )));
        }
        if let (Some(asked), Some(had)) = (drive.size, old.get("size").and_then(bytes))
            && asked < had
        {
            return Err(ResourceError::message(format!(
                "{name} of {} has {}, and {} is asked for: a disk is never shrunk",
                now.label,
                size(had),
                size(asked)
            )));
        }
        Ok(())
    }
}

/// What waits for a restart.
fn pending(envelope: &Json) -> Vec<(String, String, String)> {
    let mut all: Vec<(String, String, String)> = rows(envelope)
        .iter()
        .filter_map(|row| {
            let then = match row.get("delete") {
                Some(_) => "removed".to_owned(),
                None => text(row, "pending")?,
            };
            Some((text(row, "key")?, text(row, "value").unwrap_or_default(), then))
        })
        .collect();
    all.sort();
    all
}
