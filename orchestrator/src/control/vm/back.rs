//! What takes back what a step did to a machine. Disks hold what nobody else may have: none is removed but by `--force`, and none
//! that was removed comes back.

use super::option::{Class, Drive, Source, class};
use super::{ProxmoxVm, Vm, VmState};
use crate::control::api::{Api, ApiError, Json, number, text};
use crate::control::back::Back;
use crate::control::property::{Property, bytes};
use okd_agent::resource::Resource;
use okd_agent::value::{Map, Value};
use serde_json::json;
use std::collections::BTreeMap;

/// Proxmox VE shows it as asterisks.
const UNSEEN: &str = "cipassword";

impl ProxmoxVm {
    /// Its options as they were, and whether it ran.
    pub(in crate::control) fn taken_back(&self, now: &Vm, result: &Map) -> Back {
        let Some(vmid) = now.vmid else {
            return self.unmade(result);
        };
        let Ok(want) = self.desire(now) else {
            return Back::not("what was there before cannot be told");
        };
        if want.vmid.is_none() {
            return Back::not("the machine is gone with its disks");
        }
        let differs =
            |name: &&String| now.config.get(*name).cloned().flatten() != want.config.get(*name).cloned().flatten();
        let changed: Vec<&String> = want.config.keys().filter(differs).collect();
        let (mut options, mut delete) = (BTreeMap::new(), Vec::new());
        let (mut lost, mut left, mut gone) = (Vec::new(), Vec::new(), Vec::new());
        for name in changed.iter().copied().filter(|name| *name != "name") {
            let after = want.config.get(name).cloned().flatten();
            match now.raw.get(name) {
                _ if name == UNSEEN => lost.push("the password of its users was not to be seen".to_owned()),
                Some(raw) if after.is_none() && self.loses(name, raw) => {
                    lost.push(format!("the disk {name} is gone"));
                    gone.push(name.as_str());
                }
                Some(raw) => {
                    lost.extend(self.grown(name, raw));
                    options.insert(name.clone(), raw.clone());
                }
                None => {
                    if self.holds(name) {
                        left.push(format!(
                            "the disk {name} is taken out and stays as `unused…`; `--force` removes it"
                        ));
                    }
                    delete.push(name.clone());
                }
            }
        }
        // The server edits the boot order when devices come or go.
        let device = |name: &String| matches!(class(name), Class::Drive | Class::Nic);
        if changed.iter().any(|name| device(name)) {
            options.extend(
                now.raw
                    .get_key_value("boot")
                    .map(|(name, boot)| (name.clone(), boot.clone())),
            );
        }
        let names = |boot: &String| boot.split(['=', ';']).any(|device| gone.contains(&device));
        if options.get("boot").is_some_and(names) {
            options.remove("boot");
        }
        let mut args = json!({ "node": now.node, "vmid": vmid, "options": options, "delete": delete,
            "shutdown_timeout": self.shutdown_timeout });
        let name = now.raw.get("name").cloned().or_else(|| listed(now, vmid));
        if let Some(name) = name {
            args["name"] = name.into();
            args["rename"] = changed.iter().any(|name| *name == "name").into();
        }
        if now.running != want.running {
            let state = if now.running {
                VmState::Started
            } else {
                VmState::Stopped
            };
            args["state"] = state.word().into();
        }
        let mut forced = args.clone();
        forced["force"] = true.into();
        Back::by(args).forced(forced, left.join(", ")).losing(lost.join(", "))
    }

    /// Nobody would miss it.
    pub(in crate::control) fn held(&self, _: &dyn Api) -> Result<Option<(String, String)>, ApiError> {
        Ok(None)
    }

    /// A machine that was made: by its number and its name, so that no other is meant.
    fn unmade(&self, result: &Map) -> Back {
        let mut args = json!({ "node": self.node, "state": VmState::Absent.word(), "force": true });
        if let Some(name) = &self.name {
            args["name"] = name.as_str().into();
        }
        if let Some(Value::Int(vmid)) = result.get("vmid") {
            args["vmid"] = (*vmid).into();
        }
        let left = "the run made this machine, and its disks may hold what nobody else has; `--force` destroys it";
        Back::default().forced(args, left)
    }

    /// Whether the volume of a drive that is taken away is not there any more.
    fn loses(&self, name: &str, raw: &str) -> bool {
        let unused = name.starts_with("unused");
        let removed = unused || class(name) == Class::Drive && self.force;
        raw.contains("cloudinit") || removed && !raw.contains("media=cdrom")
    }

    /// Whether a drive is made with a volume of its own.
    fn holds(&self, name: &str) -> bool {
        let asked = self.asked();
        let drive = asked.get(name).filter(|_| class(name) == Class::Drive);
        drive.is_some_and(|drive| Drive::asked(drive, name).source != Source::Volume)
    }

    /// What is said of a disk that has grown.
    fn grown(&self, name: &str, raw: &str) -> Option<String> {
        let asked = self.asked();
        let drive = asked.get(name).filter(|_| class(name) == Class::Drive)?;
        let (drive, had) = (Drive::asked(drive, name), Property::parse(raw, "file"));
        let grows = drive.source != Source::Volume && drive.size? > had.get("size").and_then(bytes)?;
        grows.then(|| format!("the disk {name} has grown, and a disk is never shrunk"))
    }
}

/// A machine's name in the list of all.
fn listed(now: &Vm, vmid: u64) -> Option<String> {
    let own: Option<&Json> = now.everyone.iter().find(|row| number(row, "vmid") == Some(vmid));
    text(own?, "name")
}
