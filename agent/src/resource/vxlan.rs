//! A VXLAN tunnel (RFC 7348): an Ethernet between hosts that only know each other's addresses.

use super::device::{self, Backend, Device, Presence, Shape, State};
use super::{Resource, ResourceError};
use crate::ledger::Thing;
use crate::params;
use crate::system::System;
use crate::system::guard::Risk;
use crate::value::Map;
use std::net::IpAddr;

params! {
    /// Makes a VXLAN tunnel to one or several peers, now and at boot, by NetworkManager, systemd-networkd or ifupdown2. What
    /// has no known place is sent to every peer. Its MTU has to leave room for what the tunnel adds: 50 bytes over IPv4, 70
    /// over IPv6, 4 more for each VLAN tag. It neither encrypts nor asks who sends: let in UDP from the peers only (see
    /// `firewall`).
    pub struct Vxlan {
        /// Its name, up to 15 letters.
        name: String,
        /// The network's number, 1 to 16777215.
        id: u64 ["vni"],
        /// This host's address that packets leave from.
        local: String,
        /// The peers' addresses.
        remotes: Vec<String> ["remote", "peers"],
        /// The UDP port.
        dstport: u16 = "4789",
        /// The bridge that it is a port of; it has to be there.
        bridge: Option<String>,
        /// Largest packet inside, bytes; left out, what the network below leaves.
        mtu: Option<u16>,
        /// VLAN tags that packets inside, or below, carry.
        vlan_tags: u16 = "0",
        /// Which program makes it.
        backend: Backend = "auto",
        /// Whether it is there.
        state: Presence = "present",
        /// Whether it may be touched though it carries an SSH connection to the host.
        force: bool = "no",
    }
}

/// What the tunnel adds to a packet, with the words of the sum.
fn overhead(v6: bool, tags: u16) -> (u16, String) {
    let (ip, word) = if v6 { (40, "IPv6") } else { (20, "IPv4") };
    let mut words = format!("{ip} {word} - 8 UDP - 8 VXLAN - 14 Ethernet");
    if tags > 0 {
        words.push_str(&format!(" - {} VLAN", 4 * tags));
    }
    (ip + 8 + 8 + 14 + 4 * tags, words)
}

impl Vxlan {
    fn device(&self, mtu: Option<u16>) -> Device {
        Device {
            name: self.name.clone(),
            mtu,
            addresses: Vec::new(),
            gateway: None,
            bridge: self.bridge.clone(),
            shape: Shape::Vxlan {
                id: u32::try_from(self.id).unwrap_or_default(),
                local: self.local.clone(),
                remotes: self.remotes.clone(),
                port: self.dstport,
            },
        }
    }

    /// The MTU inside, by the underlay's.
    fn inner(&self, underlay: Option<&(String, u16)>) -> Result<u16, ResourceError> {
        let (cost, words) = overhead(self.local.contains(':'), self.vlan_tags);
        match (self.mtu, underlay) {
            (Some(mtu), Some((name, below))) if mtu.saturating_add(cost) > *below => Err(ResourceError::message(format!(
                "an MTU of {mtu} does not fit through {name}: {below} - {words} = {}, and tunnels must not fragment (RFC 7348 4.3)",
                below.saturating_sub(cost)
            ))),
            (Some(mtu), _) => Ok(mtu),
            (None, Some((_, below))) if below.saturating_sub(cost) >= LEAST => Ok(below - cost),
            (None, Some((name, below))) => Err(ResourceError::message(format!(
                "nothing fits through {name}: {below} - {words} is below {LEAST}"
            ))),
            (None, None) => Err(ResourceError::message(format!(
                "no route leads to {}, so the MTU cannot be reckoned; say `mtu`",
                self.remotes.first().map_or("the peers", String::as_str)
            ))),
        }
    }
}

/// What every IPv4 machine has to take, RFC 791.
const LEAST: u16 = 576;

impl Resource for Vxlan {
    const NAMES: &'static [&'static str] = &["vxlan", "okd.vxlan"];
    const EXAMPLE: &'static str = "- name: The machines' network reaches the other sites\n  vxlan:\n    name: vxlan100\n    id: 100\n    local: 192.0.2.1\n    remotes: [192.0.2.2, 192.0.2.3]\n    bridge: br0\n    mtu: 1450\n";
    const PREDICTS: &'static str = "every file byte for byte, and the tunnel with its peers";
    type World = dyn System;
    type State = State;

    fn manages(&self) -> Vec<Thing> {
        vec![Thing::new("vxlan", &self.name)]
    }

    fn check(&self) -> Result<(), Vec<String>> {
        let mut problems: Vec<String> =
            std::iter::once(&self.name).chain(&self.bridge).filter_map(|name| device::bad_name(name)).collect();
        if !(1..1 << 24).contains(&self.id) {
            problems.push(format!("`id` is a number from 1 to 16777215, not {}", self.id));
        }
        let addresses = std::iter::once(&self.local).chain(&self.remotes);
        let mut v6 = Vec::new();
        for text in addresses {
            match text.parse::<IpAddr>() {
                Ok(address) => v6.push(address.is_ipv6()),
                Err(_) => problems.push(format!("`{text}` is not an address")),
            }
        }
        if v6.iter().any(|one| *one != v6[0]) {
            problems.push("`local` and `remotes` have to be all IPv4 or all IPv6".to_owned());
        }
        if self.remotes.contains(&self.local) {
            problems.push(format!("{} is both this host's address and a peer's", self.local));
        }
        if self.remotes.is_empty() && self.state == Presence::Present {
            problems.push("a tunnel needs a peer: `remotes`".to_owned());
        }
        if self.mtu.is_some_and(|mtu| mtu < LEAST) {
            problems.push(format!("`mtu` is below {LEAST}, which every IPv4 machine has to take"));
        }
        if self.vlan_tags > 2 {
            problems.push("`vlan_tags` is 0, 1 or 2".to_owned());
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    fn inspect(&self, world: &Self::World) -> Result<State, ResourceError> {
        let (underlay, local) = match self.remotes.first() {
            Some(remote) => device::underlay(remote, &self.local, world)?,
            None => (None, true),
        };
        if self.state == Presence::Present && underlay.is_some() && !local && !world.predicted() {
            return Err(ResourceError::message(format!("`local`: {} is no address of this host", self.local)));
        }
        let mtu = self.mtu.or_else(|| self.inner(underlay.as_ref()).ok());
        let mut state = device::inspect(&self.device(mtu), self.backend, world)?;
        state.underlay = underlay;
        Ok(state)
    }

    fn desire(&self, now: &State) -> Result<State, ResourceError> {
        let mtu = match self.state {
            Presence::Present => Some(self.inner(now.underlay.as_ref())?),
            Presence::Absent => None,
        };
        let want = device::desire(&self.device(mtu), self.state, now);
        if now.carrying.contains(&self.name) && now.differs(&want) && !self.force {
            return Err(device::cut_off(&self.name));
        }
        Ok(want)
    }

    fn apply(&self, now: &State, want: &State, world: &Self::World) -> Result<Map, ResourceError> {
        let mtu = self.inner(now.underlay.as_ref()).ok();
        device::apply(&self.device(mtu), now, want, world)
    }

    fn result(&self, state: &State) -> Map {
        state.result()
    }

    fn risks(&self) -> Vec<Risk> {
        vec![Risk::Device(self.name.clone())]
    }
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::param::Params;
    use crate::resource::content::given;
    use crate::resource::device::tests::{PROGRAMS, host};
    use crate::resource::laws::laws;
    use crate::resource::{Status, converge};
    use crate::system::Answer;
    use crate::system::fake::Fake;

    const ARGS: &[(&str, &str)] = &[
        ("name", "vxlan100"), ("id", "100"), ("local", "10.77.1.21"), ("remotes", "10.77.2.22, 10.77.2.23"), ("bridge", "br0"),
    ];

    /// A host behind an underlay.
    fn below(program: &str, name: &str, mtu: u16) -> Fake {
        let route = Answer::ok(format!("{name} {mtu}\n2: {name} inet 10.77.1.21/24\n"));
        host(program).fact("underlay:10.77.2.22:10.77.1.21", route.clone()).fact("underlay:2001:db8::2:2001:db8::1", route)
    }

    #[test]
    pub(crate) fn the_laws_hold_with_every_program() {
        for program in PROGRAMS {
            let seen = |text: &str| below(program, "eth0", 1500).fact("device:vxlan100", Answer::ok(text));
            laws(&given::<Vxlan>(ARGS), || seen("absent\n"));
            laws(&given::<Vxlan>(ARGS), || seen(SEEN));
            for other in [("mtu", "1400"), ("id", "101"), ("remotes", "10.77.2.22"), ("bridge", "br1"), ("state", "absent")] {
                let of = |args: &[(&'static str, &'static str)]| {
                    let args: std::collections::BTreeMap<_, _> = args.iter().copied().collect();
                    given::<Vxlan>(&args.into_iter().collect::<Vec<_>>())
                };
                let made = || {
                    let host = seen("absent\n");
                    converge(&of(ARGS), &host as &(dyn System + 'static), None).unwrap();
                    host.unlogged()
                };
                laws(&of(&[ARGS, &[other]].concat()), made);
                laws(&of(&[ARGS, &[other]].concat()), || seen(SEEN));
            }
        }
    }

    /// What ip(8) says of a tunnel with another number.
    const SEEN: &str = r#"[{"ifname":"vxlan100","master":"br0","flags":["BROADCAST","UP"],"mtu":1450,"linkinfo":{"info_kind":"vxlan","info_data":{"id":99,"local":"10.77.1.21","port":4789}}}]
[{"ifname":"vxlan100","addr_info":[]}]
[{"mac":"00:00:00:00:00:00","dst":"10.77.2.23","flags":["self"],"state":"permanent"},{"mac":"00:00:00:00:00:00","dst":"10.77.2.22"}]
[]
"#;

    #[test]
    fn what_the_kernel_says_is_read() {
        let world = below("networkd", "eth0", 1500).fact("device:vxlan100", Answer::ok(SEEN.replace(":99,", ":100,")));
        let vxlan = given::<Vxlan>(ARGS);
        let now = vxlan.inspect(&world).unwrap();
        let want = vxlan.desire(&now).unwrap();
        assert!(now.same_device(&want), "{now:?}\n{want:?}");
    }

    #[test]
    fn each_program_gets_its_files() {
        for (program, path, lines) in [
            ("networkmanager", "/etc/NetworkManager/system-connections/okd-vxlan100.nmconnection",
             "[connection]\nid=vxlan100\ntype=vxlan\ninterface-name=vxlan100\nmaster=br0\nslave-type=bridge\n\n[ethernet]\nmtu=1450\n\n[vxlan]\nid=100\nlocal=10.77.1.21\ndestination-port=4789\n"),
            ("networkd", "/etc/systemd/network/50-okd-vxlan100.netdev",
             "[NetDev]\nName=vxlan100\nKind=vxlan\nMTUBytes=1450\n\n[VXLAN]\nVNI=100\nLocal=10.77.1.21\nDestinationPort=4789\nIndependent=yes\n"),
            ("networkd", "/etc/systemd/network/50-okd-vxlan100.network",
             "Bridge=br0\n\n[BridgeFDB]\nMACAddress=00:00:00:00:00:00\nDestination=10.77.2.22\n\n[BridgeFDB]\nMACAddress=00:00:00:00:00:00\nDestination=10.77.2.23\n"),
            ("ifupdown2", "/etc/network/interfaces.d/okd-vxlan-vxlan100",
             "auto vxlan100\niface vxlan100\n    vxlan-id 100\n    vxlan-local-tunnelip 10.77.1.21\n    vxlan-remoteip 10.77.2.22\n    vxlan-remoteip 10.77.2.23\n    vxlan-port 4789\n    mtu 1450\n    pre-up ip link show dev br0 >/dev/null 2>&1 || ip link add name br0 type bridge\n    post-up ip link set dev vxlan100 master br0\n"),
        ] {
            let world = below(program, "eth0", 1500);
            let outcome = converge(&given::<Vxlan>(ARGS), &world as &(dyn System + 'static), None).unwrap();
            assert_eq!((outcome.status, &outcome.result["mtu"]), (Status::Changed, &1450_i64.into()));
            let text = world.text(path).unwrap_or_default();
            assert!(text.ends_with(lines), "{path}:\n{text}");
        }
        let world = below("networkmanager", "eth0", 1500);
        converge(&given::<Vxlan>(ARGS), &world as &(dyn System + 'static), None).unwrap();
        let script = world.text("/etc/NetworkManager/dispatcher.d/okd-vxlan100").unwrap();
        assert!(script.starts_with("#!/bin/sh\n# managed by okd-play") && script.contains("want=\" 10.77.2.22 10.77.2.23 \""), "{script}");
    }

    #[test]
    fn the_mtu_has_to_fit() {
        let try_ = |more: &[(&str, &str)], below_mtu: u16| {
            let vxlan = given::<Vxlan>(&[ARGS, more].concat());
            let world = below("networkd", "eth0", below_mtu);
            let outcome = converge(&vxlan, &world as &(dyn System + 'static), None);
            outcome.map(|outcome| outcome.result["mtu"].to_string()).map_err(|failure| failure.message)
        };
        assert_eq!(try_(&[("mtu", "1450")], 1500), Ok("1450".to_owned()));
        assert_eq!(try_(&[("vlan_tags", "1")], 1500), Ok("1446".to_owned()));
        assert_eq!(
            try_(&[("mtu", "1451")], 1500),
            Err("an MTU of 1451 does not fit through eth0: 1500 - 20 IPv4 - 8 UDP - 8 VXLAN - 14 Ethernet = 1450, and tunnels must not fragment (RFC 7348 4.3)".to_owned())
        );
        assert!(try_(&[], 600).unwrap_err().starts_with("nothing fits through eth0"));
        assert_eq!(overhead(true, 0).0, 70);
        assert_eq!(overhead(true, 2).0, 78);
        let unknown = converge(&given::<Vxlan>(ARGS), &host("networkd") as &(dyn System + 'static), None).unwrap_err();
        assert!(unknown.message.starts_with("no route leads to 10.77.2.22"), "{}", unknown.message);
    }

    #[test]
    fn contradictions_are_refused() {
        let vxlan = |more: &[(&str, &str)]| {
            let mut args: std::collections::BTreeMap<&str, &str> = ARGS.iter().copied().collect();
            args.extend(more.iter().copied());
            Vxlan::decode(&args.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect()).unwrap()
        };
        for (more, words) in [
            (&[("id", "16777216")][..], "from 1 to 16777215"),
            (&[("remotes", "10.77.1.21")], "both this host's address and a peer's"),
            (&[("remotes", "2001:db8::2")], "all IPv4 or all IPv6"),
            (&[("remotes", "")], "needs a peer"),
            (&[("remotes", "other")], "`other` is not an address"),
            (&[("mtu", "500")], "below 576"),
        ] {
            let problems = vxlan(more).check().unwrap_err().join("\n");
            assert!(problems.contains(words), "{problems}");
        }
    }
}
