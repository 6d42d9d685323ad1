//! NetworkManager's keyfiles, nm-settings-keyfile(5). It knows one peer of a tunnel only, so a dispatcher script,
//! NetworkManager-dispatcher(8), adds them whenever the tunnel comes up.

use super::{Device, File, Shape, kernel};
use crate::resource::layout::path;
use crate::resource::transaction::{MARK, header};
use std::fmt::Write;

const CONNECTIONS: &str = "/etc/NetworkManager/system-connections";
const DISPATCHER: &str = "/etc/NetworkManager/dispatcher.d";
pub(super) const FOLDERS: &[&str] = &[CONNECTIONS, DISPATCHER];

pub(super) fn prefix(name: &str) -> String {
    format!("okd-{name}")
}

fn keyfile(name: &str) -> String {
    format!("{CONNECTIONS}/okd-{name}.nmconnection")
}

pub(super) fn files(device: &Device) -> Vec<File> {
    let secret = |place: &str, text: String| File::new(path(place), 0o600, text);
    let name = &device.name;
    let mut out = header("#");
    let kind = if matches!(device.shape, Shape::Bridge { .. }) {
        "bridge"
    } else {
        "vxlan"
    };
    let _ = write!(out, "[connection]\nid={name}\ntype={kind}\ninterface-name={name}\n");
    if let Some(bridge) = &device.bridge {
        let _ = write!(out, "master={bridge}\nslave-type=bridge\n");
    }
    if let Some(mtu) = device.mtu {
        let _ = write!(out, "\n[ethernet]\nmtu={mtu}\n");
    }
    let mut files = Vec::new();
    match &device.shape {
        Shape::Bridge { stp, ports } => {
            let _ = write!(out, "\n[bridge]\nstp={stp}\n");
            for port in ports {
                let text = format!(
                    "{}[connection]\nid={name}-port-{port}\ntype=ethernet\ninterface-name={port}\nmaster={name}\nslave-type=bridge\n",
                    header("#")
                );
                files.push(secret(&keyfile(&format!("{name}-port-{port}")), text));
            }
        }
        Shape::Vxlan { id, local, port, .. } => {
            let _ = write!(out, "\n[vxlan]\nid={id}\nlocal={local}\ndestination-port={port}\n");
            let script = format!(
                "#!/bin/sh\n# {MARK}; changes made here are lost\n[ \"$1 $2\" = \"{name} up\" ] || exit 0\n{}",
                kernel::flood(device)
            );
            files.push(File::new(path(&format!("{DISPATCHER}/okd-{name}")), 0o755, script));
        }
    }
    if device.bridge.is_none() {
        for (family, v6) in [("ipv4", false), ("ipv6", true)] {
            addresses(&mut out, family, device, v6);
        }
    }
    files.push(secret(&keyfile(name), out));
    files
}

fn addresses(out: &mut String, family: &str, device: &Device, v6: bool) {
    let mine: Vec<&String> = device
        .addresses
        .iter()
        .filter(|address| address.contains(':') == v6)
        .collect();
    let _ = write!(
        out,
        "\n[{family}]\nmethod={}\n",
        if mine.is_empty() { "disabled" } else { "manual" }
    );
    for (number, address) in mine.iter().enumerate() {
        let _ = writeln!(out, "address{}={address}", number + 1);
    }
    if let Some(gateway) = device
        .gateway
        .as_ref()
        .filter(|gateway| gateway.contains(':') == v6 && !mine.is_empty())
    {
        let _ = writeln!(out, "gateway={gateway}");
    }
}

pub(super) fn up(device: &Device, anew: bool) -> String {
    let name = &device.name;
    let mut out = if anew {
        down(device) + &format!("ip link delete {name} 2>/dev/null || :\n")
    } else {
        String::new()
    };
    let mut all = vec![name.clone()];
    if let Shape::Bridge { ports, .. } = &device.shape {
        all.extend(ports.iter().map(|port| format!("{name}-port-{port}")));
    }
    out.push_str("nmcli connection reload\n");
    for id in all {
        let _ = writeln!(out, "nmcli -w 20 connection up id {id} >/dev/null");
    }
    out
}

pub(super) fn down(device: &Device) -> String {
    format!("nmcli -w 20 connection down id {} >/dev/null 2>&1 || :\n", device.name)
}
