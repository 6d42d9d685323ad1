//! A device is brought back as it once was: first the program that makes it reads its files again, and what the kernel has
//! not got then of what it had is put there by ip(8).

use super::kernel::{self, Kernel};
use super::{Backend, ifupdown2, networkmanager};
use crate::resource::{ResourceError, json};
use crate::system::System;
use crate::value::Value;
use std::fmt::Write;

/// Parameters of a bridge by which it is made anew, ip-link(8).
const PARAMETERS: &[&str] = &[
    "stp_state",
    "priority",
    "forward_delay",
    "hello_time",
    "max_age",
    "ageing_time",
    "vlan_filtering",
];

/// Takes a device away.
pub(in crate::resource) fn down(name: &str, backend: Option<Backend>) -> String {
    let down = match backend {
        Some(Backend::Networkmanager) => networkmanager::down(name),
        Some(Backend::Ifupdown2) => ifupdown2::down(name),
        Some(Backend::Auto | Backend::Networkd) | None => String::new(),
    };
    format!("{down}ip link delete {name} 2>/dev/null || :\n")
}

/// Has the program read its files and do with interfaces what these say.
/// A program that does not run reads them when it is started.
pub(in crate::resource) fn reread(backend: Option<Backend>, interfaces: &str) -> String {
    match backend {
        Some(Backend::Networkmanager) => {
            "nmcli general >/dev/null 2>&1 || exit 0\nnmcli connection reload\n".to_owned()
        }
        Some(Backend::Networkd) => format!(
            "systemctl -q is-active systemd-networkd || exit 0\nnetworkctl reload\nsleep 0.3\n\
             for name in {interfaces}; do networkctl reconfigure $name 2>/dev/null || :; done\n"
        ),
        // What was a port is down, and stays so without a stanza of its own.
        Some(Backend::Auto | Backend::Ifupdown2) => format!(
            "mkdir -p /run/network\n\
             for name in {interfaces}; do\n\
             if ifquery $name >/dev/null 2>&1; then ifup $name || exit; else ip link set dev $name up 2>/dev/null || :; fi; done\n"
        ),
        None => String::new(),
    }
}

/// Has the program bring a device up, and its ports.
pub(in crate::resource) fn up(name: &str, backend: Option<Backend>, interfaces: &str) -> String {
    let mut out = reread(backend, interfaces);
    if backend == Some(Backend::Networkmanager) {
        // By their names, whoever made them: what makes this device, and then what makes ports of it.
        let _ = write!(
            out,
            r#"of() {{ nmcli -g "$1" connection show "$2" 2>/dev/null; }}
for uuid in $(nmcli -g UUID connection show); do
  [ "$(of connection.interface-name "$uuid")" != {name} ] || {{ nmcli -w 20 connection up uuid "$uuid" >/dev/null || exit; own=$uuid; }}
done
for uuid in $(nmcli -g UUID connection show); do
  case "$(of connection.master "$uuid")" in {name} | "${{own:-none}}") nmcli -w 20 connection up uuid "$uuid" >/dev/null || : ;; esac
done
"#
        );
    }
    out
}

/// Makes the kernel's device what it was, step by step; what is so already is left. `text` is what was said of it then.
pub(in crate::resource) fn by_hand(name: &str, was: &Kernel, text: &str, freed: &[String]) -> String {
    let link = text.lines().next().and_then(|line| json::parse(line).ok());
    let info = link.as_ref().and_then(Value::as_list).and_then(|links| {
        let own = links.iter().find(|link| link.get("ifname").is_some());
        own?.get("linkinfo")?.get("info_data").cloned()
    });
    let said = |key: &str| match info.as_ref().and_then(|info| info.get(key)) {
        // A kernel that knows no VLANs in bridges takes no word of them either.
        Some(Value::Int(number)) if *number != 0 || key != "vlan_filtering" => format!(" {key} {number}"),
        _ => String::new(),
    };
    let mut kind = match &was.tunnel {
        Some(tunnel) => format!("vxlan id {} dstport {}", tunnel.id, tunnel.port),
        None => "bridge".to_owned(),
    };
    match &was.tunnel {
        Some(tunnel) if !tunnel.local.is_empty() => kind.push_str(&format!(" local {}", tunnel.local)),
        Some(_) => {}
        None => PARAMETERS.iter().for_each(|key| kind.push_str(&said(key))),
    }
    let learns = info.as_ref().and_then(|info| info.get("learning"));
    if was.tunnel.is_some() && learns == Some(&Value::Bool(false)) {
        kind.push_str(" nolearning");
    }
    let mut out = format!("[ -e /sys/class/net/{name} ] || ip link add {name} type {kind}\n");
    for port in freed {
        let _ = writeln!(
            out,
            "[ \"$(basename \"$(readlink /sys/class/net/{port}/master)\")\" != {name} ] || ip link set dev {port} nomaster"
        );
    }
    if let Some(mtu) = was.mtu {
        let _ = writeln!(out, "ip link set dev {name} mtu {mtu}");
    }
    match &was.bridge {
        Some(bridge) => {
            let _ = writeln!(
                out,
                "[ ! -e /sys/class/net/{bridge} ] || ip link set dev {name} master {bridge}"
            );
        }
        None => {
            let _ = writeln!(out, "ip link set dev {name} nomaster");
        }
    }
    if let Some(on) = was.stp.filter(|_| was.tunnel.is_none()) {
        let _ = writeln!(out, "ip link set dev {name} type bridge stp_state {}", u8::from(on));
    }
    for port in &was.ports {
        let _ = writeln!(
            out,
            "[ ! -e /sys/class/net/{port} ] || ip link set dev {port} master {name}"
        );
    }
    let _ = writeln!(out, "ip link set dev {name} {}", if was.up { "up" } else { "down" });
    if let Some(addresses) = &was.addresses {
        let want = addresses.join(" ");
        let _ = write!(
            out,
            "for own in $(ip -o addr show dev {name} scope global | grep -v ' dynamic ' | sed 's/.* inet6* \\([^ ]*\\).*/\\1/'); do\n\
             case ' {want} ' in *\" $own \"*) ;; *) ip addr del $own dev {name} ;; esac; done\n\
             for own in {want}; do ip addr replace $own dev {name}; done\n"
        );
    }
    if let Some(tunnel) = &was.tunnel {
        out.push_str(&kernel::flood_to(name, &tunnel.remotes));
    }
    format!("set -e\n{out}")
}

/// How a device is not as it was, of whose ports only those count that are among `all`; `None` where it is, and where it
/// cannot be asked.
pub(in crate::resource) fn differs(
    name: &str,
    was: Option<&Kernel>,
    all: &[String],
    key: &str,
    world: &dyn System,
) -> Result<Option<String>, ResourceError> {
    let answer = world.probe(&kernel::question(key, name))?;
    Ok(match (kernel::parse(&answer.text(), None), was) {
        (None, _) | (Some(None), None) => None,
        (Some(Some(_)), None) => Some("it is there again".to_owned()),
        (Some(None), Some(_)) => Some("it is not there".to_owned()),
        (Some(Some(mut now)), Some(was)) => {
            now.ports.retain(|port| all.contains(port));
            (now != *was).then(|| now.unlike(was))
        }
    })
}
