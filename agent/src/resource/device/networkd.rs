//! systemd-networkd's files, systemd.netdev(5) and systemd.network(5).

use super::{Device, File, Shape};
use crate::resource::layout::path;
use crate::resource::transaction::header;
use std::fmt::Write;

const FOLDER: &str = "/etc/systemd/network";
pub(super) const FOLDERS: &[&str] = &[FOLDER];

pub(super) fn prefix(name: &str) -> String {
    format!("50-okd-{name}")
}

pub(super) fn files(device: &Device) -> Vec<File> {
    let file =
        |name: String, text: String| File::new(path(&format!("{FOLDER}/50-okd-{name}")), 0o644, header("#") + &text);
    let name = &device.name;
    let kind = if matches!(device.shape, Shape::Bridge { .. }) {
        "bridge"
    } else {
        "vxlan"
    };
    let mut netdev = format!("[NetDev]\nName={name}\nKind={kind}\n");
    if let Some(mtu) = device.mtu {
        let _ = writeln!(netdev, "MTUBytes={mtu}");
    }
    let mut network = format!("[Match]\nName={name}\n\n");
    if let Some(mtu) = device.mtu {
        let _ = write!(network, "[Link]\nMTUBytes={mtu}\n\n");
    }
    network.push_str("[Network]\nLinkLocalAddressing=no\nConfigureWithoutCarrier=yes\n");
    if let Some(bridge) = &device.bridge {
        let _ = writeln!(network, "Bridge={bridge}");
    }
    for address in &device.addresses {
        let _ = writeln!(network, "Address={address}");
    }
    if let Some(gateway) = &device.gateway {
        let _ = writeln!(network, "Gateway={gateway}");
    }
    let mut files = Vec::new();
    match &device.shape {
        Shape::Bridge { stp, ports } => {
            let _ = write!(netdev, "\n[Bridge]\nSTP={}\n", if *stp { "yes" } else { "no" });
            for port in ports {
                let text = format!("[Match]\nName={port}\n\n[Network]\nBridge={name}\nLinkLocalAddressing=no\n");
                files.push(file(format!("{name}-port-{port}.network"), text));
            }
        }
        Shape::Vxlan {
            id,
            local,
            remotes,
            port,
        } => {
            let _ = write!(
                netdev,
                "\n[VXLAN]\nVNI={id}\nLocal={local}\nDestinationPort={port}\nIndependent=yes\n"
            );
            for remote in remotes {
                let _ = write!(
                    network,
                    "\n[BridgeFDB]\nMACAddress=00:00:00:00:00:00\nDestination={remote}\n"
                );
            }
        }
    }
    files.push(file(format!("{name}.netdev"), netdev));
    files.push(file(format!("{name}.network"), network));
    files
}

pub(super) fn up(device: &Device) -> String {
    let mut all = device.name.clone();
    if let Shape::Bridge { ports, .. } = &device.shape {
        all = std::iter::once(all)
            .chain(ports.iter().cloned())
            .collect::<Vec<_>>()
            .join(" ");
    }
    let name = &device.name;
    format!(
        "networkctl reload\ntries=0\nuntil ip link show dev {name} >/dev/null 2>&1 || [ $tries = 50 ]; do tries=$((tries + 1)); sleep 0.1; done\n\
         networkctl reconfigure {all}\n"
    )
}
