//! Typing on a machine's console, where nothing else leads into it. It is an act: nobody sees what the screen shows, so it is done
//! each time that its task runs, and what it came to has to be looked for elsewhere.

use super::api::{Api, ApiError, Call, Method, Typed, number, text};
use super::back::Back;
use super::rights::{Need, Store, Zones};
use super::{keyboard, proxmox_params, vm};
use crate::error::nearest;
use okd_agent::diff::Change;
use okd_agent::resource::{Resource, ResourceError, View};
use okd_agent::secret::Secrets;
use okd_agent::value::{Map, Value, map};
use serde::Serialize;
use std::time::Duration;

proxmox_params! {
    /// Types on the console of a virtual machine of Proxmox VE as on a US keyboard, each time that it runs: `keys`, then `text`, then
    /// `then`. The last resort, where a machine can be told what to do neither by a medium nor by the network.
    pub struct ProxmoxSendkey {
        /// The machine's name.
        name: Option<String>,
        /// The machine's number.
        vmid: Option<u64>,
        /// Keys that are pressed first, by QEMU's names, such as `tab`, `e`, `ctrl-x`, `down`.
        keys: Vec<String> ["keys_send"],
        /// Text that is typed then; a line's end is the return key.
        text: Option<String> ["string_send"],
        /// Keys that are pressed at last, such as `ret`.
        then: Vec<String>,
        /// Milliseconds between two keys; a console loses keys that come too fast.
        pause: u64 = "100",
    }
}

/// What can be seen of a console: whether there is anybody behind it.
#[derive(Debug, Clone, Serialize)]
pub struct Console {
    label: String,
    // A machine that the plan makes may get another number.
    #[serde(skip)]
    vmid: u64,
    #[serde(skip)]
    node: String,
    /// What is still to be done, for people.
    #[serde(skip)]
    acts: Vec<String>,
}

impl View for Console {
    fn changes(&self, want: &Self) -> Vec<Change> {
        want.acts.iter().map(|act| Change::Act(act.clone())).collect()
    }
}

impl ProxmoxSendkey {
    /// What is done, in words; a secret stays a placeholder.
    fn acts(&self, label: &str) -> Vec<String> {
        let pressed = |keys: &[String]| {
            (!keys.is_empty()).then(|| format!("press {} on the console of {label}", keys.join(", ")))
        };
        let typed = self
            .text
            .as_ref()
            .map(|text| format!("type {text:?} on the console of {label}"));
        [pressed(&self.keys), typed, pressed(&self.then)]
            .into_iter()
            .flatten()
            .collect()
    }

    /// Nobody would miss it.
    pub(super) fn held(&self, _: &dyn Api) -> Result<Option<(String, String)>, ApiError> {
        Ok(None)
    }

    /// The privileges that it needs.
    fn rights(&self, _: &Zones) -> Vec<Need> {
        let place = self
            .vmid
            .map_or_else(|| "/vms".to_owned(), |vmid| format!("/vms/{vmid}"));
        vec![
            Need::one(&place, "VM.Audit", "to see the machine"),
            Need::one(&place, "VM.Console", "to type on its console"),
        ]
    }

    fn nodes(&self) -> Vec<String> {
        Vec::new()
    }

    fn stores(&self) -> Vec<Store> {
        Vec::new()
    }
}

/// Nobody is there to be typed to; in a plan an earlier step may start the machine in a way that is not known yet.
fn absent(world: &dyn Api, message: String) -> ResourceError {
    match world.predicted() {
        true => ApiError::Unknown(format!("{message}; a step before this one has to see to it")).into(),
        false => ResourceError::message(message),
    }
}

impl ProxmoxSendkey {
    pub(super) fn taken_back(&self, _: &Console, _: &Map) -> Back {
        Back::never("proxmox_sendkey")
    }
}

impl Resource for ProxmoxSendkey {
    const NAMES: &'static [&'static str] = &["proxmox_sendkey"];
    const EXAMPLE: &'static str = "- name: Arguments for the live system's kernel, at its boot menu\n  proxmox_sendkey:\n    api_host: pve.example.org\n    api_user: okd@pve\n    api_token_id: play\n    api_token_secret: \"{{ vault_pve_token }}\"\n    ca_path: files/pve-root-ca.pem\n    name: master1\n    keys: [tab]\n    text: \" coreos.inst.install_dev=/dev/sda coreos.inst.ignition_url=http://10.0.0.1:8080/okd4/master.ign\"\n    then: [ret]\n  when: menu_is_there | default(false)\n";
    const PREDICTS: &'static str = "what is typed; what comes of it is not known";
    type World = dyn Api;
    type State = Console;

    fn check(&self) -> Result<(), Vec<String>> {
        let mut wrong = self.connection();
        if self.name.is_none() && self.vmid.is_none() {
            wrong.push("it needs `name` or `vmid`".to_owned());
        }
        if self.keys.is_empty() && self.then.is_empty() && self.text.as_ref().is_none_or(String::is_empty) {
            wrong.push("it needs `keys`, `text` or `then`".to_owned());
        }
        for name in self
            .keys
            .iter()
            .chain(&self.then)
            .filter(|name| !keyboard::is_key(name))
        {
            let near = nearest(name, keyboard::names()).map(|near| format!("; did you mean `{near}`?"));
            wrong.push(format!("`{name}` is not a key{}", near.unwrap_or_default()));
        }
        let mut plain = self.text.clone().unwrap_or_default();
        for secret in Secrets::named_in(plain.as_bytes()) {
            plain = plain.replace(&secret, "");
        }
        if let Some(strange) = plain.chars().find(|character| keyboard::key(*character).is_none()) {
            wrong.push(format!("{strange:?} in `text` is not on a US keyboard"));
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }

    fn inspect(&self, world: &Self::World) -> Result<Console, ResourceError> {
        let label = match (&self.name, self.vmid) {
            (Some(name), _) => name.clone(),
            (None, vmid) => format!("VM {}", vmid.unwrap_or_default()),
        };
        let all = vm::everyone(world)?;
        let row = vm::meant(world, &all, self.vmid, self.name.as_deref())?;
        let Some(row) = row else {
            return Err(absent(world, format!("there is no virtual machine {label}")));
        };
        let (vmid, node) = (
            number(&row, "vmid").unwrap_or_default(),
            text(&row, "node").unwrap_or_default(),
        );
        let current = world.get(&format!("/nodes/{node}/qemu/{vmid}/status/current"))?;
        let status = current
            .get("data")
            .and_then(|data| text(data, "status"))
            .unwrap_or_default();
        if status != "running" {
            return Err(absent(
                world,
                format!("{label} does not run: nobody would read what is typed"),
            ));
        }
        Ok(Console {
            label,
            vmid,
            node,
            acts: Vec::new(),
        })
    }

    fn desire(&self, now: &Console) -> Result<Console, ResourceError> {
        Ok(Console {
            acts: self.acts(&now.label),
            ..now.clone()
        })
    }

    fn apply(&self, now: &Console, _: &Console, world: &Self::World) -> Result<Map, ResourceError> {
        let path = format!("/nodes/{}/qemu/{}/sendkey", now.node, now.vmid);
        let typed = [
            Typed::Keys(self.keys.clone()),
            Typed::Text(self.text.clone().unwrap_or_default()),
            Typed::Keys(self.then.clone()),
        ];
        for typed in typed {
            let mut call = Call::new(Method::Put, path.as_str());
            call.typed = Some((typed, Duration::from_millis(self.pause)));
            world.send(&call).map_err(|error| {
                ResourceError::message(format!(
                    "{error}; what was typed until then stays on the console of {}",
                    now.label
                ))
            })?;
        }
        Ok(Map::new())
    }

    fn result(&self, state: &Console) -> Map {
        map([
            ("vmid", Value::Int(i64::try_from(state.vmid).unwrap_or_default())),
            ("node", state.node.as_str().into()),
        ])
    }
}
