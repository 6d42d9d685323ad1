//! A device as the kernel has it now, asked of ip(8) and bridge(8), and brought into one form to be compared and predicted.

use super::{Device, Shape};
use crate::order::sort;
use crate::resource::json;
use crate::resource::{Failure, ResourceError};
use crate::system::{Probe, System};
use crate::value::Value;
use serde::Serialize;
use std::thread::sleep;
use std::time::Duration;

/// What is compared of a device; what a description does not say is left out.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub(in crate::resource) struct Kernel {
    pub(in crate::resource) mtu: Option<u16>,
    pub(in crate::resource) up: bool,
    pub(in crate::resource) bridge: Option<String>,
    pub(in crate::resource) addresses: Option<Vec<String>>,
    pub(in crate::resource) stp: Option<bool>,
    pub(in crate::resource) ports: Vec<String>,
    pub(in crate::resource) tunnel: Option<Tunnel>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub(in crate::resource) struct Tunnel {
    pub(in crate::resource) id: i64,
    pub(in crate::resource) local: String,
    pub(in crate::resource) port: i64,
    pub(in crate::resource) remotes: Vec<String>,
}

/// What a predicted answer begins with.
const CANONICAL: &str = "okd-play ";
pub(super) const ABSENT: &str = "absent\n";

pub(super) fn key(name: &str) -> String {
    format!("device:{name}")
}

fn sorted(texts: &[String]) -> Vec<String> {
    let mut texts = texts.to_vec();
    sort(&mut texts);
    texts.dedup();
    texts
}

impl Kernel {
    /// What a device should be.
    pub(super) fn wanted(device: &Device) -> Self {
        let bridge = matches!(device.shape, Shape::Bridge { .. });
        Kernel {
            mtu: device.mtu,
            up: true,
            bridge: device.bridge.clone(),
            addresses: bridge.then(|| sorted(&device.addresses)),
            stp: match device.shape {
                Shape::Bridge { stp, .. } => Some(stp),
                Shape::Vxlan { .. } => None,
            },
            ports: match &device.shape {
                Shape::Bridge { ports, .. } => sorted(ports),
                Shape::Vxlan { .. } => Vec::new(),
            },
            tunnel: match &device.shape {
                Shape::Bridge { .. } => None,
                Shape::Vxlan {
                    id,
                    local,
                    remotes,
                    port,
                } => Some(Tunnel {
                    id: i64::from(*id),
                    local: local.clone(),
                    port: i64::from(*port),
                    remotes: sorted(remotes),
                }),
            },
        }
    }

    /// Name and value of everything that is compared, in one order for all.
    pub(super) fn fields(&self) -> impl Iterator<Item = (&'static str, String)> {
        let tunnel = self.tunnel.clone().unwrap_or_default();
        let is_tunnel = self.tunnel.is_some();
        let list = |items: &[String]| items.join(", ");
        let all = [
            ("up", true, if self.up { "yes" } else { "no" }.to_owned()),
            ("mtu", true, self.mtu.map(|mtu| mtu.to_string()).unwrap_or_default()),
            ("bridge", true, self.bridge.clone().unwrap_or_default()),
            (
                "addresses",
                !is_tunnel,
                self.addresses.as_deref().map(list).unwrap_or_default(),
            ),
            (
                "stp",
                !is_tunnel,
                self.stp
                    .map(|on| if on { "yes" } else { "no" })
                    .unwrap_or_default()
                    .to_owned(),
            ),
            ("ports", !is_tunnel, list(&self.ports)),
            ("id", is_tunnel, tunnel.id.to_string()),
            ("local", is_tunnel, tunnel.local),
            ("dstport", is_tunnel, tunnel.port.to_string()),
            ("remotes", is_tunnel, list(&tunnel.remotes)),
        ];
        all.into_iter()
            .filter(|(_, shown, _)| *shown)
            .map(|(name, _, value)| (name, value))
    }

    /// How this device is not as wanted.
    pub(super) fn unlike(&self, want: &Kernel) -> String {
        let pairs = self.fields().zip(want.fields()).filter(|(now, want)| now != want);
        let words = pairs.map(|((name, now), (_, want))| format!("{name} is `{now}`, not `{want}`"));
        words.collect::<Vec<_>>().join("; ")
    }

    /// Whether this device can be changed to that one; a tunnel's number and ends are for life.
    pub(in crate::resource) fn can_become(&self, want: &Kernel) -> bool {
        match (&self.tunnel, &want.tunnel) {
            (Some(now), Some(want)) => (now.id, &now.local, now.port) == (want.id, &want.local, want.port),
            (None, None) => true,
            _ => false,
        }
    }

    /// A text that [`look`] reads back.
    pub(super) fn canonical(&self) -> String {
        let bytes = postcard::to_stdvec(&self.parts()).unwrap_or_default();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{CANONICAL}{hex}\n")
    }

    fn parts(&self) -> Parts {
        let Tunnel {
            id,
            local,
            port,
            remotes,
        } = self.tunnel.clone().unwrap_or_default();
        let tunnel = self.tunnel.is_some();
        (
            (
                self.mtu,
                self.up,
                self.bridge.clone(),
                self.addresses.clone(),
                self.stp,
                self.ports.clone(),
            ),
            (tunnel, id, local, port, remotes),
        )
    }

    fn from_canonical(hex: &str) -> Option<Kernel> {
        let digits = hex.trim().as_bytes().chunks(2);
        let bytes: Option<Vec<u8>> = digits
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
            .collect();
        let ((mtu, up, bridge, addresses, stp, ports), (tunnel, id, local, port, remotes)): Parts =
            postcard::from_bytes(&bytes?).ok()?;
        let tunnel = tunnel.then_some(Tunnel {
            id,
            local,
            port,
            remotes,
        });
        Some(Kernel {
            mtu,
            up,
            bridge,
            addresses,
            stp,
            ports,
            tunnel,
        })
    }
}

/// A kernel's fields as plain data.
type Parts = (
    (
        Option<u16>,
        bool,
        Option<String>,
        Option<Vec<String>>,
        Option<bool>,
        Vec<String>,
    ),
    (bool, i64, String, i64, Vec<String>),
);

/// The device, its addresses, its forwarding table and its ports, a line each.
const LOOK: &str = r#"
link=$(ip -d -j link show dev "$1" 2>/dev/null) || { echo absent; exit; }
list() { tr -d '\n'; echo; }
printf %s "$link" | list
ip -j addr show dev "$1" | list
bridge -j fdb show dev "$1" | list
ip -j link show master "$1" 2>/dev/null | list
"#;

/// Looks at a device; `None` where it cannot be asked, `Some(None)` where there is no such device.
pub(super) fn look(device: &Device, key: &str, world: &dyn System) -> Result<Option<Option<Kernel>>, ResourceError> {
    Ok(parse(&world.probe(&question(key, &device.name))?.text(), Some(device)))
}

/// How a device is asked for.
pub(in crate::resource) fn question(key: &str, name: &str) -> Probe {
    Probe::new(key, &["/bin/sh", "-c", LOOK, "sh", name])
}

/// What an answer says of a device as far as a description goes, or of all of it. As for [`look`].
pub(in crate::resource) fn parse(text: &str, device: Option<&Device>) -> Option<Option<Kernel>> {
    if text == ABSENT {
        return Some(None);
    }
    if let Some(hex) = text.strip_prefix(CANONICAL) {
        return Kernel::from_canonical(hex).map(Some);
    }
    let lines: Vec<Value> = text.lines().map(|line| json::parse(line).unwrap_or_default()).collect();
    let [link, addresses, fdb, ports] = lines.as_slice() else {
        return None;
    };
    Some(Some(read(device, link, addresses, fdb, ports)))
}

fn items(value: &Value) -> &[Value] {
    value.as_list().unwrap_or_default()
}

fn string(value: Option<&Value>) -> Option<String> {
    value.and_then(Value::as_str).map(str::to_owned)
}

fn number(value: Option<&Value>) -> Option<i64> {
    match value {
        Some(Value::Int(number)) => Some(*number),
        _ => None,
    }
}

fn read(device: Option<&Device>, link: &Value, addresses: &Value, fdb: &Value, ports: &Value) -> Kernel {
    let link = items(link)
        .iter()
        .find(|link| link.get("ifname").is_some())
        .cloned()
        .unwrap_or_default();
    let info = link.get("linkinfo");
    let kind = string(info.and_then(|info| info.get("info_kind"))).unwrap_or_default();
    let data = info.and_then(|info| info.get("info_data")).cloned().unwrap_or_default();
    let mut remotes: Vec<String> = items(fdb)
        .iter()
        .filter(|entry| entry.get("mac").and_then(Value::as_str) == Some("00:00:00:00:00:00"))
        .filter_map(|entry| string(entry.get("dst")))
        .collect();
    remotes.extend(string(data.get("remote")).or_else(|| string(data.get("remote6"))));
    let tunnel = (kind == "vxlan").then(|| Tunnel {
        id: number(data.get("id")).unwrap_or_default(),
        local: string(data.get("local"))
            .or_else(|| string(data.get("local6")))
            .unwrap_or_default(),
        port: number(data.get("port")).unwrap_or_default(),
        remotes: sorted(&remotes),
    });
    let is_bridge = device.is_none_or(|device| matches!(device.shape, Shape::Bridge { .. }));
    let held = |address: &Value| {
        let local = string(address.get("local"))?;
        let global = address.get("scope").and_then(Value::as_str) == Some("global");
        // One that was leased is another one when the device comes again.
        let leased = device.is_none() && address.get("dynamic").is_some();
        (global && !leased).then(|| format!("{local}/{}", number(address.get("prefixlen")).unwrap_or_default()))
    };
    let all = items(addresses)
        .iter()
        .flat_map(|device| device.get("addr_info").map(items).unwrap_or_default());
    let all: Vec<String> = all.filter_map(held).collect();
    let inside: Vec<String> = items(ports)
        .iter()
        .filter_map(|port| string(port.get("ifname")))
        .collect();
    let asked = |port: &String| match device.map(|device| &device.shape) {
        None => true,
        Some(Shape::Bridge { ports, .. }) => ports.contains(port),
        Some(Shape::Vxlan { .. }) => false,
    };
    let inside: Vec<String> = inside.into_iter().filter(asked).collect();
    let flags = link.get("flags").map(items).unwrap_or_default();
    Kernel {
        mtu: number(link.get("mtu"))
            .and_then(|mtu| u16::try_from(mtu).ok())
            .filter(|_| device.is_none_or(|device| device.mtu.is_some())),
        up: flags.iter().any(|flag| flag.as_str() == Some("UP")),
        bridge: string(link.get("master")).filter(|_| device.is_none_or(|device| device.bridge.is_some())),
        addresses: is_bridge.then(|| sorted(&all)),
        stp: is_bridge.then(|| number(data.get("stp_state")).unwrap_or_default() != 0),
        ports: sorted(&inside),
        tunnel,
    }
}

const PAUSE: Duration = Duration::from_millis(if cfg!(test) { 1 } else { 100 });
/// Looks before a device is given up: 15 s.
const PATIENCE: u32 = if cfg!(test) { 3 } else { 150 };

/// Waits until a device is as wanted.
pub(super) fn settle(device: &Device, want: &Kernel, world: &dyn System) -> Result<(), ResourceError> {
    if world.predicted() {
        return Ok(());
    }
    let mut last = None;
    for attempt in 0..PATIENCE {
        match look(device, &format!("look:{attempt}:{}", device.name), world)? {
            Some(Some(now)) if now == *want => return Ok(()),
            // It cannot be asked.
            None => return Ok(()),
            Some(now) => last = now,
        }
        sleep(PAUSE);
    }
    let differs = match last {
        None => "it is not there".to_owned(),
        Some(now) => now.unlike(want),
    };
    let message = format!(
        "{} was brought up, and is not what was asked for: {differs}",
        device.name
    );
    Err(ResourceError::Failed(Box::new(Failure {
        message,
        ..Failure::default()
    })))
}

/// Interfaces that carry SSH connections.
const CARRYING: &str = r#"
ss -Htnp state established 2>/dev/null | sed -n '/"sshd/s/^ *[0-9]* *[0-9]* *\([^ ]*\):[0-9]* .*/\1/p' | sed 's/^\[//; s/\]$//; s/^::ffff://; s/%.*//' |
sort -u | while read -r address; do ip -o addr show to "$address" | sed -n 's/^[0-9]*: *\([^ @]*\).*/\1/p'; done | sort -u
"#;

pub(in crate::resource) fn carrying(world: &dyn System) -> Result<Vec<String>, ResourceError> {
    let answer = world.probe(&Probe::new("look:0:ssh", &["/bin/sh", "-c", CARRYING]))?;
    Ok(answer
        .text()
        .lines()
        .map(str::to_owned)
        .filter(|line| super::bad_name(line).is_none())
        .collect())
}

/// Makes a tunnel flood to its peers and to no others; no program but this does so for several.
pub(super) fn flood(device: &Device) -> String {
    match &device.shape {
        Shape::Vxlan { remotes, .. } => flood_to(&device.name, remotes),
        Shape::Bridge { .. } => String::new(),
    }
}

/// As [`flood`], by name.
pub(super) fn flood_to(name: &str, remotes: &[String]) -> String {
    let want = sorted(remotes).join(" ");
    format!(
        r#"tries=0
until ip link show dev {name} >/dev/null 2>&1; do tries=$((tries + 1)); [ $tries -lt 100 ] || {{ echo "{name} did not appear" >&2; exit 1; }}; sleep 0.1; done
want=" {want} "
have=" $(bridge fdb show dev {name} | sed -n 's/^00:00:00:00:00:00 dst \([^ ]*\) .*/\1/p' | tr '\n' ' ')"
for peer in $have; do case "$want" in *" $peer "*) ;; *) bridge fdb del 00:00:00:00:00:00 dev {name} dst "$peer" ;; esac; done
for peer in $want; do case "$have" in *" $peer "*) ;; *) bridge fdb append 00:00:00:00:00:00 dev {name} dst "$peer" ;; esac; done
"#
    )
}
