//! NetworkManager's keyfiles, nm-settings-keyfile(5). It knows one peer of a tunnel only, so a dispatcher script,
//! NetworkManager-dispatcher(8), adds them whenever the tunnel comes up.

use super::{Device, File, Shape, kernel};
use crate::resource::layout::path;
use crate::resource::transaction::{MARK, header};
use std::collections::BTreeMap;
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

/// The files by what is there now. NetworkManager writes a whole keyfile anew when one thing in it is changed, such as the zone
/// that a firewall wants, with its number and the time: one that still says the same is left as it is, and a zone stays.
pub(super) fn files_with(device: &Device, now: &[File]) -> Vec<File> {
    let kept = |mut file: File| {
        let old = now
            .iter()
            .find(|old| old.path == file.path && file.path.as_str().ends_with(".nmconnection"));
        let Some(old) = old.map(|old| String::from_utf8_lossy(&old.bytes)) else {
            return file;
        };
        let new = String::from_utf8_lossy(&file.bytes).into_owned();
        if settings(&old) == settings(&new) {
            file.bytes = old.into_owned().into_bytes();
        } else if let Some(zone) = old.lines().find(|line| line.starts_with("zone=")) {
            file.bytes = new
                .replacen("[connection]\n", &format!("[connection]\n{zone}\n"), 1)
                .into_bytes();
        }
        file
    };
    files(device).into_iter().map(kept).collect()
}

/// What a keyfile says of a device, by section and key; without what is another's or NetworkManager's own.
fn settings(keyfile: &str) -> BTreeMap<(&str, &str), &str> {
    let mut section = "";
    let mut settings = BTreeMap::new();
    for line in keyfile.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section = name;
        } else if let Some((key, value)) = line.split_once('=')
            && !line.starts_with('#')
            && (section != "connection" || !["uuid", "timestamp", "zone"].contains(&key))
        {
            settings.insert((section, key), value);
        }
    }
    settings
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
        down(name) + &format!("ip link delete {name} 2>/dev/null || :\n")
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

pub(super) fn down(name: &str) -> String {
    format!("nmcli -w 20 connection down id {name} >/dev/null 2>&1 || :\n")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// As NetworkManager has written it, with the zone of a firewall.
    const WRITTEN: &str = "[connection]\nid=br0\nuuid=684c055a\ntype=bridge\ninterface-name=br0\ntimestamp=1796024474\nzone=internal\n\n\
        [ethernet]\nmtu=1450\n\n[bridge]\nstp=false\n\n[ipv4]\naddress1=10.0.0.1/24\nmethod=manual\n\n[ipv6]\nmethod=disabled\n\n[proxy]\n";

    fn bridge(mtu: u16) -> Device {
        Device {
            name: "br0".to_owned(),
            mtu: Some(mtu),
            addresses: vec!["10.0.0.1/24".to_owned()],
            gateway: None,
            bridge: None,
            shape: Shape::Bridge {
                stp: false,
                ports: Vec::new(),
            },
        }
    }

    #[test]
    fn a_keyfile_that_says_the_same_stays_and_so_does_its_zone() {
        let now = [File::new(path(&keyfile("br0")), 0o600, WRITTEN.to_owned())];
        let text = |mtu| String::from_utf8(files_with(&bridge(mtu), &now)[0].bytes.clone()).unwrap();
        assert_eq!(text(1450), WRITTEN);
        let other = text(1400);
        assert!(
            other.contains("[connection]\nzone=internal\nid=br0\n") && other.contains("mtu=1400"),
            "{other}"
        );
    }
}
