//! What a machine needs of the token and of storages.

use super::option::{Class, Drive, Source, class, numbered};
use super::{ProxmoxVm, VmState};
use crate::control::property::Property;
use crate::control::rights::{Need, Store, Zones};

/// The privilege that an option needs.
fn privilege(name: &str, value: &str) -> &'static str {
    match name {
        "memory" | "balloon" | "shares" => "VM.Config.Memory",
        "cores" | "sockets" | "cpu" | "cpulimit" | "cpuunits" | "numa" | "vcpus" => "VM.Config.CPU",
        "machine" | "scsihw" | "vga" | "smbios1" | "rng0" | "watchdog" | "tablet" | "kvm" | "hotplug" => {
            "VM.Config.HWType"
        }
        "boot" => "VM.Config.Disk",
        "nameserver" | "searchdomain" | "sshkeys" => "VM.Config.Cloudinit",
        name if name.starts_with("ci") || numbered(name, "ipconfig") => "VM.Config.Cloudinit",
        name if numbered(name, "serial") => "VM.Config.HWType",
        name => match class(name) {
            Class::Nic => "VM.Config.Network",
            Class::Drive if value.contains("media=cdrom") => "VM.Config.CDROM",
            Class::Drive => "VM.Config.Disk",
            _ => "VM.Config.Options",
        },
    }
}

impl ProxmoxVm {
    /// The privileges that it needs.
    pub(in crate::control) fn rights(&self, zones: &Zones) -> Vec<Need> {
        let place = self
            .vmid
            .map_or_else(|| "/vms".to_owned(), |vmid| format!("/vms/{vmid}"));
        let mut all = vec![
            Need::one(&place, "VM.Audit", "to see the machine"),
            Need::one(&place, "VM.Allocate", "to make or remove it"),
        ];
        if self.state != VmState::Present {
            all.push(Need::one(&place, "VM.PowerMgmt", "to start and stop it"));
        }
        if self.state == VmState::Absent {
            return all;
        }
        for (name, value) in self.asked() {
            all.push(Need::one(&place, privilege(&name, &value), &format!("to set {name}")));
            if class(&name) == Class::Nic
                && let Some(bridge) = Property::nic(&value).get("bridge")
            {
                let zone = zones.get(bridge).map_or("localnetwork", String::as_str);
                let path = format!("/sdn/zones/{zone}/{bridge}");
                all.push(Need::one(&path, "SDN.Use", &format!("to put {name} on {bridge}")));
            }
            if class(&name) == Class::Drive {
                let drive = Drive::asked(&value, &name);
                let path = format!("/storage/{}", drive.store);
                let file = drive.props.get("file").is_some_and(|file| file.contains(':'));
                match drive.source {
                    Source::Volume if file => {
                        let seen = ["Datastore.Audit", "Datastore.AllocateSpace"];
                        all.push(Need::any(&path, &seen, &format!("to put a volume into {name}")));
                    }
                    Source::Volume => {}
                    _ => all.push(Need::one(&path, "Datastore.AllocateSpace", &format!("to make {name}"))),
                }
            }
        }
        all
    }

    /// The node that it is made on.
    pub(in crate::control) fn nodes(&self) -> Vec<String> {
        vec![self.node.clone()]
    }

    /// The storages of its disks.
    pub(in crate::control) fn stores(&self) -> Vec<Store> {
        if self.state == VmState::Absent {
            return Vec::new();
        }
        let asked = self.asked();
        let drives = asked.iter().filter(|(name, _)| class(name) == Class::Drive);
        let drives = drives.map(|(name, value)| Drive::asked(value, name));
        drives
            .filter(|drive| drive.source != Source::Volume)
            .map(|drive| Store {
                node: self.node.clone(),
                storage: drive.store.clone(),
                content: "images",
                bytes: drive.size,
            })
            .collect()
    }
}
