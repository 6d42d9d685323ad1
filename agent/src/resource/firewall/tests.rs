//! Goldens of both programs, the laws, and every contradiction.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::param::Params;
use crate::resource::laws::laws;
use crate::resource::transaction::tests::Rig;
use crate::resource::{Status, converge};
use crate::system::Answer;
use crate::system::fake::Fake;
use crate::value::map;

fn list(items: &[&str]) -> Value {
    items.to_vec().into()
}

fn router() -> Map {
    let inner = map([
        ("name", "internal".into()),
        ("interfaces", list(&["eth1"])),
        ("services", list(&["ssh", "dns", "dhcp"])),
        ("ports", list(&["6443/tcp", "30000-32767/tcp+udp", "80/tcp"])),
    ]);
    let vteps = map([("sources", list(&["192.0.2.8", "192.0.2.7", "2001:db8::7"])), ("port", "4789/udp".into())]);
    let ipsec = map([("source", "192.0.2.0/24".into()), ("service", "ipsec".into())]);
    let outer = map([
        ("name", "external".into()),
        ("interfaces", list(&["eth0"])),
        ("ports", list(&["22/tcp", "80-90/tcp", "85-95/tcp"])),
        ("rules", Value::List(vec![Value::Map(vteps), Value::Map(ipsec)])),
        ("masquerade_sources", list(&["10.0.0.0/24"])),
        ("target", "drop".into()),
    ]);
    let forward = map([("from", "internal".into()), ("to", "external".into())]);
    map([
        ("zones", Value::List(vec![Value::Map(inner), Value::Map(outer)])),
        ("forward", Value::List(vec![Value::Map(forward)])),
    ])
}

fn with(name: &str, value: Value) -> Firewall {
    let mut args = router();
    args.insert(name.to_owned(), value);
    Firewall::decode(&args).unwrap()
}

const TABLE: &str = r#"# managed by okd-play; changes made here are lost
table inet okd_play
delete table inet okd_play

table inet okd_play {
	chain input {
		type filter hook input priority filter; policy accept;
		ct state established,related accept
		iif "lo" accept
		iifname "eth1" jump input_internal
		iifname "eth0" jump input_external
	}

	chain input_internal {
		ct state invalid drop
		meta l4proto { icmp, icmpv6 } accept
		tcp dport { 22, 53, 80, 6443, 30000-32767 } accept
		udp dport { 53, 67, 30000-32767 } accept
		reject with icmpx admin-prohibited
	}

	chain input_external {
		ct state invalid drop
		icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-advert, packet-too-big } accept
		tcp dport { 22, 80-95 } accept
		ip saddr { 192.0.2.7, 192.0.2.8 } udp dport 4789 accept
		ip6 saddr 2001:db8::7 udp dport 4789 accept
		ip saddr 192.0.2.0/24 tcp dport 4500 accept
		ip saddr 192.0.2.0/24 udp dport { 500, 4500 } accept
		ip saddr 192.0.2.0/24 meta l4proto 50 accept
		ip saddr 192.0.2.0/24 meta l4proto 51 accept
		drop
	}

	chain forward {
		type filter hook forward priority filter; policy accept;
		ct state established,related accept
		iifname "eth1" jump forward_internal
		iifname "eth0" jump forward_external
	}

	chain forward_internal {
		oifname "eth0" accept
		oifname "eth1" accept
		reject with icmpx admin-prohibited
	}

	chain forward_external {
		oifname "eth0" accept
		drop
	}

	chain postrouting {
		type nat hook postrouting priority srcnat; policy accept;
		ip saddr 10.0.0.0/24 oifname "eth0" masquerade
	}
}
"#;

const INTERNAL: &str = r#"<!-- managed by okd-play; changes made here are lost -->
<zone>
  <short>internal</short>
  <interface name="eth1"/>
  <service name="ssh"/>
  <service name="dns"/>
  <service name="dhcp"/>
  <port port="80" protocol="tcp"/>
  <port port="6443" protocol="tcp"/>
  <port port="30000-32767" protocol="tcp"/>
  <port port="30000-32767" protocol="udp"/>
  <forward/>
</zone>
"#;

const EXTERNAL: &str = r#"<!-- managed by okd-play; changes made here are lost -->
<zone target="DROP">
  <short>external</short>
  <interface name="eth0"/>
  <port port="22" protocol="tcp"/>
  <port port="80-95" protocol="tcp"/>
  <forward/>
  <rule family="ipv4"><source address="192.0.2.7"/><port port="4789" protocol="udp"/><accept/></rule>
  <rule family="ipv4"><source address="192.0.2.8"/><port port="4789" protocol="udp"/><accept/></rule>
  <rule family="ipv6"><source address="2001:db8::7"/><port port="4789" protocol="udp"/><accept/></rule>
  <rule family="ipv4"><source address="192.0.2.0/24"/><port port="4500" protocol="tcp"/><accept/></rule>
  <rule family="ipv4"><source address="192.0.2.0/24"/><port port="500" protocol="udp"/><accept/></rule>
  <rule family="ipv4"><source address="192.0.2.0/24"/><port port="4500" protocol="udp"/><accept/></rule>
  <rule family="ipv4"><source address="192.0.2.0/24"/><protocol value="esp"/><accept/></rule>
  <rule family="ipv4"><source address="192.0.2.0/24"/><protocol value="ah"/><accept/></rule>
  <rule family="ipv4"><source address="10.0.0.0/24"/><masquerade/></rule>
</zone>
"#;

#[test]
fn one_description_makes_a_table_or_zones_and_a_policy() {
    let nftables = with("backend", "nftables".into());
    assert_eq!(nftables.check(), Ok(()));
    assert_eq!(super::nftables::render(&nftables), TABLE);
    let rig = Rig::new(Family::El, false);
    let world: &(dyn System + 'static) = &rig;
    let firewalld = with("backend", "firewalld".into());
    rig.file("/etc/firewalld/policies/old.xml", "<!-- managed by okd-play; changes made here are lost -->\n<policy/>\n");
    rig.file("/etc/firewalld/zones/theirs.xml", "<zone/>\n");
    let outcome = converge(&firewalld, world, None).unwrap();
    assert_eq!(outcome.status, Status::Changed);
    assert_eq!(outcome.result["backend"], "firewalld".into());
    assert_eq!(outcome.notes, ["beside: /etc/firewalld/zones/theirs.xml is somebody else's"]);
    assert_eq!(rig.text("/etc/firewalld/zones/internal.xml").unwrap(), INTERNAL);
    assert_eq!(rig.text("/etc/firewalld/zones/external.xml").unwrap(), EXTERNAL);
    let policy = rig.text("/etc/firewalld/policies/internal-external.xml").unwrap();
    assert!(policy.ends_with("<policy target=\"ACCEPT\">\n  <ingress-zone name=\"internal\"/>\n  <egress-zone name=\"external\"/>\n</policy>\n"));
    assert_eq!(rig.text("/etc/firewalld/policies/old.xml"), None);
    assert_eq!(rig.acts(), ["start firewalld.service", "enable firewalld.service"]);
    assert_eq!(converge(&firewalld, world, None).unwrap().status, Status::Same);
}

#[test]
fn nftables_is_loaded_and_enabled_and_never_started_since_that_flushes_other_tables() {
    let world = host("firewalld.service", false);
    let nftables = with("backend", "auto".into());
    let outcome = converge(&nftables, &world as &(dyn System + 'static), None).unwrap();
    assert_eq!(outcome.result["backend"], "nftables".into());
    let acts: Vec<String> = world.acts().iter().map(|action| action.argv.join(" ")).collect();
    assert_eq!(acts, ["/bin/sh -c systemctl daemon-reload && nft -f /etc/nftables/okd-play.nft", "systemctl enable nftables.service"]);
    let drop_in = world.text("/etc/systemd/system/nftables.service.d/okd-play.conf").unwrap();
    assert!(drop_in.ends_with("[Service]\nExecStart=/usr/sbin/nft -f /etc/nftables/okd-play.nft\nExecReload=/usr/sbin/nft -f /etc/nftables/okd-play.nft\n"));
}

#[test]
fn a_table_that_does_not_load_leaves_nothing_behind() {
    let world = host("firewalld.service", false).fail_action(&["/bin/sh"], Answer { rc: 1, stderr: b"Error: no\n".to_vec(), ..Answer::default() });
    let failure = converge(&with("backend", "nftables".into()), &world as &(dyn System + 'static), None).unwrap_err();
    assert_eq!(failure.message, "nftables refuses its new files: Error: no");
    assert!(failure.kept.starts_with("the old set was put back"), "{}", failure.kept);
    assert_eq!(world.text("/etc/nftables/okd-play.nft"), None);
}

#[test]
fn two_programs_at_once_are_refused() {
    let world = host("firewalld.service", true);
    let failure = converge(&with("backend", "nftables".into()), &world as &(dyn System + 'static), None).unwrap_err();
    assert!(failure.message.contains("would filter besides nftables"), "{}", failure.message);
}

/// What busctl says of a firewalld that runs: one zone of ours with a port too many, and one of somebody else's.
const BUS: &str = r#"{"type":"a{sa{sas}}","data":[{"internal":{"interfaces":["eth1"]},"public":{"interfaces":["eth2"]}}]}
{"type":"a{sv}","data":[{"target":{"type":"s","data":"default"},"services":{"type":"as","data":["ssh"]},"ports":{"type":"a(ss)","data":[["6443","tcp"],["9999","tcp"]]},"interfaces":{"type":"as","data":["eth1"]}}]}
"#;

#[test]
fn what_is_open_beside_is_told_and_what_is_missing_is_loaded_again() {
    let zone = |ports: &[&str]| {
        let zone = map([
            ("name", "internal".into()),
            ("interfaces", list(&["eth1"])),
            ("services", list(&["ssh"])),
            ("ports", list(ports)),
        ]);
        Firewall::decode(&map([("zones", Value::List(vec![Value::Map(zone)]))])).unwrap()
    };
    let seen = |ports: &[&str]| {
        let world = host("", false).fact("unit:firewalld.service", unit("active")).command(&["/bin/sh"], Answer::ok(BUS));
        let state = zone(ports).inspect(&world).unwrap();
        (state.service.owed, state.beside)
    };
    let (owed, beside) = seen(&["6443/tcp"]);
    assert!(!owed);
    let public = "zone public (eth2) lets in service ssh, port 6443/tcp, port 9999/tcp";
    assert_eq!(beside, ["port 9999/tcp in zone internal until firewalld is reloaded", public]);
    assert!(seen(&["6443/tcp", "80/tcp"]).0);
}

fn unit(active: &str) -> Answer {
    Answer::ok(format!("LoadState=loaded\nActiveState={active}\nSubState=running\nUnitFileState=disabled\nType=oneshot\n"))
}

/// A Debian host with nftables, and a firewalld that is installed or not.
fn host(firewalld: &str, runs: bool) -> Fake {
    let there = |yes: bool| if yes { unit("active") } else { Answer::ok("LoadState=not-found\nActiveState=inactive\n") };
    Fake::new()
        .file("/etc/os-release", "ID=debian\n")
        .fact("unit:nftables.service", unit("inactive"))
        .fact("unit:firewalld.service", there(firewalld == "firewalld.service" && runs))
        .checker("nft")
        .checker("firewall-offline-cmd")
        .command(&["systemctl"], Answer::default())
        .command(&["/bin/sh"], Answer::default())
}

#[test]
pub(crate) fn the_laws_hold_with_both_programs() {
    laws(&with("backend", "nftables".into()), || host("", false));
    laws(&with("backend", "nftables".into()), || host("", false).fact("live:nftables.service", Answer::ok("absent\n")));
    laws(&with("backend", "auto".into()), || host("", false).fact("unit:firewalld.service", unit("inactive")));
    laws(&with("backend", "auto".into()), || host("firewalld.service", true));
    laws(&with("backend", "auto".into()), || {
        host("firewalld.service", true)
            .file("/usr/bin/nmcli", "")
            .fact("unit:NetworkManager.service", unit("active"))
            .fact("networkmanager:active", Answer::ok("eth0:1-2:/etc/NetworkManager/system-connections/a\neth1:3-4:/run/x\n"))
            .fact("networkmanager:zone:1-2", Answer::ok("\n"))
    });
}

#[test]
fn contradictions_are_refused_before_anything_is_contacted() {
    let mut firewall = with("backend", "auto".into());
    firewall.zones[0].interfaces.push("eth0".to_owned());
    firewall.zones[0].ports = ["6443", "70000/tcp", "9-8/udp", "4789/udp"].map(str::to_owned).to_vec();
    firewall.zones[0].services.push("dsn".to_owned());
    firewall.zones[1].protocols.push("carp".to_owned());
    firewall.zones[1].rules[0].sources = vec!["192.0.2.7/24".to_owned(), "vtep".to_owned()];
    firewall.zones[1].rules[1].services.clear();
    firewall.zones[1].masquerade_sources.push("2001:db8::/32".to_owned());
    firewall.forward[0].to = "outside".to_owned();
    let problems = firewall.check().unwrap_err().join("\n");
    for words in [
        "zone internal: `6443` needs its protocol: 6443/tcp, 6443/udp or 6443/tcp+udp",
        "zone internal: `70000/tcp` is not a port",
        "zone internal: the range of ports `9-8/udp` ends before it begins",
        "zone internal: 4789/udp is open to everybody, and VXLAN has no authentication",
        "zone internal: there is no service `dsn`",
        "zone external: `carp` is not a protocol without ports",
        "zone external: `192.0.2.7/24` has bits beyond its length; the network is 192.0.2.0/24",
        "zone external: `vtep` is neither an address nor a network",
        "zone external: a rule says what is let in",
        "needs no masquerading",
        "eth0 is in two zones, internal and external",
        "there is no zone `outside` among `zones`",
    ] {
        assert!(problems.contains(words), "{words} is missing in:\n{problems}");
    }
}
