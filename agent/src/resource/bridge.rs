//! A bridge: a switch inside the host, for machines, tunnels and network cards.

use super::device::{self, Backend, Device, Presence, Shape, State};
use super::{Resource, ResourceError};
use crate::ledger::Thing;
use crate::params;
use crate::system::System;
use crate::system::guard::Risk;
use crate::value::Map;
use std::net::IpAddr;

params! {
    /// Makes a bridge, now and at boot, by NetworkManager, systemd-networkd or ifupdown2. Machines and tunnels that join it
    /// from their own side are left in it.
    pub struct Bridge {
        /// Its name, up to 15 letters.
        name: String,
        /// Network cards that become its ports, and lose their own addresses.
        ports: Vec<String> ["interfaces"],
        /// The host's own addresses on it, with their networks' lengths: `10.0.0.1/24`.
        addresses: Vec<String> ["address"],
        /// Where the default route leads.
        gateway: Option<String>,
        /// Largest packet, bytes; left out, that of its ports.
        mtu: Option<u16>,
        /// Whether it speaks the spanning tree protocol.
        stp: bool = "no",
        /// Which program makes it.
        backend: Backend = "auto",
        /// Whether it is there.
        state: Presence = "present",
        /// Whether an interface that carries an SSH connection to the host may be touched.
        force: bool = "no",
    }
}

impl Bridge {
    fn device(&self) -> Device {
        Device {
            name: self.name.clone(),
            mtu: self.mtu,
            addresses: self.addresses.clone(),
            gateway: self.gateway.clone(),
            bridge: None,
            shape: Shape::Bridge { stp: self.stp, ports: self.ports.clone() },
        }
    }
}

/// Whether this is an address with its network's length.
fn is_interface_address(text: &str) -> bool {
    text.split_once('/').is_some_and(|(address, prefix)| {
        let most = match address.parse::<IpAddr>() {
            Ok(IpAddr::V4(_)) => 32,
            Ok(IpAddr::V6(_)) => 128,
            Err(_) => 0,
        };
        prefix.parse().is_ok_and(|prefix: u8| (1..=most).contains(&prefix))
    })
}

impl Resource for Bridge {
    const NAMES: &'static [&'static str] = &["bridge", "okd.bridge"];
    const EXAMPLE: &'static str =
        "- name: The machines' switch\n  bridge:\n    name: br0\n    addresses: [10.0.0.1/24]\n    mtu: 1450\n";
    const PREDICTS: &'static str = "every file byte for byte, and the bridge with its ports and addresses";
    type World = dyn System;
    type State = State;

    fn manages(&self) -> Vec<Thing> {
        vec![Thing::new("bridge", &self.name)]
    }

    fn check(&self) -> Result<(), Vec<String>> {
        let names = std::iter::once(&self.name).chain(&self.ports);
        let mut problems: Vec<String> = names.filter_map(|name| device::bad_name(name)).collect();
        let bad = self.addresses.iter().filter(|text| !is_interface_address(text));
        problems.extend(bad.map(|text| format!("`{text}` is not an address with its network's length, such as 10.0.0.1/24")));
        if let Some(gateway) = &self.gateway
            && gateway.parse::<IpAddr>().is_err()
        {
            problems.push(format!("the gateway `{gateway}` is not an address"));
        }
        if self.gateway.is_some() && self.addresses.is_empty() {
            problems.push("a `gateway` cannot be reached without `addresses`".to_owned());
        }
        if self.ports.contains(&self.name) {
            problems.push("a bridge is not a port of itself".to_owned());
        }
        if self.mtu.is_some_and(|mtu| mtu < 576) {
            problems.push("`mtu` is below 576, which every IPv4 machine has to take".to_owned());
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    fn inspect(&self, world: &Self::World) -> Result<State, ResourceError> {
        device::inspect(&self.device(), self.backend, world)
    }

    fn desire(&self, now: &State) -> Result<State, ResourceError> {
        let want = device::desire(&self.device(), self.state, now);
        let joins = self.ports.iter().find(|port| !now.has_port(port) && now.carrying.contains(port));
        let itself = Some(&self.name).filter(|name| now.carrying.contains(name) && now.differs(&want));
        match joins.filter(|_| self.state == Presence::Present).or(itself) {
            Some(name) if !self.force => Err(device::cut_off(name)),
            _ => Ok(want),
        }
    }

    fn apply(&self, now: &State, want: &State, world: &Self::World) -> Result<Map, ResourceError> {
        device::apply(&self.device(), now, want, world)
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
    use crate::resource::converge;
    use crate::resource::device::tests::{PROGRAMS, host};
    use crate::resource::laws::laws;
    use crate::system::Answer;
    use crate::system::fake::Fake;

    const ARGS: &[(&str, &str)] =
        &[("name", "br0"), ("ports", "eth1"), ("addresses", "10.0.0.1/24"), ("gateway", "10.0.0.254"), ("mtu", "1450")];

    #[test]
    pub(crate) fn the_laws_hold_with_every_program() {
        for program in PROGRAMS {
            let seen = |text: &str| host(program).fact("device:br0", Answer::ok(text));
            laws(&given::<Bridge>(ARGS), || seen("absent\n"));
            laws(&given::<Bridge>(&[("name", "br0")]), || seen("absent\n"));
            // Other addresses and another MTU, and a port more.
            let other = [("name", "br0"), ("addresses", "10.0.0.2/24, 10.0.1.2/24"), ("mtu", "1400")];
            laws(&given::<Bridge>(&other), || seen(SEEN));
            laws(&given::<Bridge>(&[&other[..], &[("ports", "eth1")]].concat()), || seen(SEEN));
            laws(&given::<Bridge>(ARGS), || made(program, &other));
            laws(&given::<Bridge>(&[("name", "br0")]), || made(program, ARGS));
            let gone = [("name", "br0"), ("state", "absent")];
            laws(&given::<Bridge>(&gone), || seen(SEEN));
            laws(&given::<Bridge>(&gone), || made(program, ARGS));
        }
    }

    /// A host that has such a bridge, with its files.
    fn made(program: &str, args: &[(&str, &str)]) -> Fake {
        let host = host(program).fact("device:br0", Answer::ok("absent\n"));
        converge(&given::<Bridge>(args), &host as &(dyn System + 'static), None).unwrap();
        host.unlogged()
    }

    /// What ip(8) says of a bridge with a tunnel in it.
    const SEEN: &str = r#"[{"ifname":"br0","flags":["BROADCAST","UP"],"mtu":1450,"linkinfo":{"info_kind":"bridge","info_data":{"stp_state":0}}}]
[{"ifname":"br0","addr_info":[{"local":"10.0.0.1","prefixlen":24,"scope":"global"},{"local":"fe80::1","prefixlen":64,"scope":"link"}]}]
[]
[{"ifname":"vxlan100"}]
"#;

    #[test]
    fn each_program_gets_its_files() {
        for (program, path, lines) in [
            ("networkmanager", "/etc/NetworkManager/system-connections/okd-br0.nmconnection",
             "[connection]\nid=br0\ntype=bridge\ninterface-name=br0\n\n[ethernet]\nmtu=1450\n\n[bridge]\nstp=false\n\n[ipv4]\nmethod=manual\naddress1=10.0.0.1/24\ngateway=10.0.0.254\n\n[ipv6]\nmethod=disabled\n"),
            ("networkmanager", "/etc/NetworkManager/system-connections/okd-br0-port-eth1.nmconnection",
             "[connection]\nid=br0-port-eth1\ntype=ethernet\ninterface-name=eth1\nmaster=br0\nslave-type=bridge\n"),
            ("networkd", "/etc/systemd/network/50-okd-br0.netdev", "[NetDev]\nName=br0\nKind=bridge\nMTUBytes=1450\n\n[Bridge]\nSTP=no\n"),
            ("networkd", "/etc/systemd/network/50-okd-br0.network",
             "[Match]\nName=br0\n\n[Link]\nMTUBytes=1450\n\n[Network]\nLinkLocalAddressing=no\nConfigureWithoutCarrier=yes\nAddress=10.0.0.1/24\nGateway=10.0.0.254\n"),
            ("networkd", "/etc/systemd/network/50-okd-br0-port-eth1.network", "[Match]\nName=eth1\n\n[Network]\nBridge=br0\nLinkLocalAddressing=no\n"),
            ("ifupdown2", "/etc/network/interfaces.d/okd-bridge-br0",
             "auto br0\niface br0\n    address 10.0.0.1/24\n    gateway 10.0.0.254\n    bridge-ports eth1\n    bridge-ports-condone-regex .*\n    bridge-stp off\n    bridge-fd 0\n    mtu 1450\n"),
            ("ifupdown2", "/etc/network/interfaces", "auto lo\niface lo inet loopback\n\nsource /etc/network/interfaces.d/*\n"),
        ] {
            let world = host(program);
            converge(&given::<Bridge>(ARGS), &world as &(dyn System + 'static), None).unwrap();
            let text = world.text(path).unwrap_or_default();
            assert!(text.ends_with(lines), "{path}:\n{text}");
        }
    }

    #[test]
    fn our_own_connection_is_not_cut() {
        let ssh = || host("networkd").fact("look:0:ssh", Answer::ok("eth1\n"));
        let failure = converge(&given::<Bridge>(ARGS), &ssh() as &(dyn System + 'static), None).unwrap_err();
        assert!(failure.message.starts_with("eth1 carries an SSH connection"), "{}", failure.message);
        let forced = given::<Bridge>(&[ARGS, &[("force", "yes")]].concat());
        assert!(converge(&forced, &ssh() as &(dyn System + 'static), None).is_ok());
        let elsewhere = given::<Bridge>(&[("name", "br0"), ("ports", "eth2")]);
        assert!(converge(&elsewhere, &ssh() as &(dyn System + 'static), None).is_ok());
    }

    #[test]
    fn contradictions_are_refused() {
        for (args, words) in [
            (&[("name", "a-name-that-is-too-long")][..], "is not an interface's name"),
            (&[("name", "br0"), ("addresses", "10.0.0.1")], "is not an address with its network's length"),
            (&[("name", "br0"), ("gateway", "10.0.0.254")], "cannot be reached without"),
            (&[("name", "br0"), ("ports", "br0")], "not a port of itself"),
            (&[("name", "br0"), ("mtu", "100")], "below 576"),
        ] {
            let args = args.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
            let problems = Bridge::decode(&args).unwrap().check().unwrap_err().join("\n");
            assert!(problems.contains(words), "{problems}");
        }
    }
}
