//! A golden, both layouts, and every contradiction.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::param::Params;
use crate::resource::Resource;
use crate::resource::laws::laws;
use crate::resource::{Status, converge};
use crate::resource::transaction::tests::Rig;
use crate::system::fake::Fake;
use crate::system::{Answer, System};
use crate::value::{Map, Value, map};

fn host(name: &str, mac: &str, ip: &str) -> Value {
    Value::Map(map([("name", name.into()), ("mac", mac.into()), ("ip", ip.into())]))
}

fn args() -> Map {
    let subnet = map([
        ("network", "10.0.0.0/24".into()),
        ("range", "10.0.0.15-30".into()),
        ("router", "10.0.0.1".into()),
        ("dns", "10.0.0.1".into()),
        ("domain", "okd.example.org".into()),
        ("domain_search", "okd.example.org".into()),
        ("ntp", "10.0.0.1".into()),
        ("mtu", Value::Int(1450)),
        ("next_server", "10.0.0.1".into()),
        ("filename", "pxelinux.0".into()),
        ("filename_uefi", "shimx64.efi".into()),
        ("ipxe", "http://10.0.0.1:8080/boot/boot.ipxe".into()),
        ("deny_unknown", true.into()),
    ]);
    let hosts = vec![host("master1", "52-54-00-00-10-0A", "10.0.0.2"), host("worker1", "52:54:00:00:10:05", "10.0.0.5")];
    map([
        ("interfaces", "eth1".into()),
        ("subnets", Value::List(vec![Value::Map(subnet)])),
        ("hosts", Value::List(hosts)),
    ])
}

const GOLDEN: &str = "# managed by okd-play; changes made here are lost
authoritative;
ddns-update-style none;
default-lease-time 3600;
max-lease-time 86400;
option architecture-type code 93 = unsigned integer 16;

subnet 10.0.0.0 netmask 255.255.255.0 {
    option routers 10.0.0.1;
    option broadcast-address 10.0.0.255;
    option domain-name-servers 10.0.0.1;
    option domain-name \"okd.example.org\";
    option domain-search \"okd.example.org\";
    option ntp-servers 10.0.0.1;
    option interface-mtu 1450;
    next-server 10.0.0.1;
    if exists user-class and option user-class = \"iPXE\" {
        filename \"http://10.0.0.1:8080/boot/boot.ipxe\";
    } elsif option architecture-type = 00:07 {
        filename \"shimx64.efi\";
    } else {
        filename \"pxelinux.0\";
    }
    pool {
        range 10.0.0.15 10.0.0.30;
        deny unknown-clients;
    }
}

host master1 {
    hardware ethernet 52:54:00:00:10:0a;
    fixed-address 10.0.0.2;
    option host-name \"master1\";
}

host worker1 {
    hardware ethernet 52:54:00:00:10:05;
    fixed-address 10.0.0.5;
    option host-name \"worker1\";
}
";

#[test]
fn both_families_get_their_layout() {
    let dhcpd = Dhcpd::decode(&args()).unwrap();
    assert_eq!(dhcpd.problems(), Vec::<String>::new());
    for (family, unit, defaults, line) in [
        (Family::El, "dhcpd", "/etc/sysconfig/dhcpd", "DHCPDARGS=\"eth1\"\n"),
        (Family::Debian, "isc-dhcp-server", "/etc/default/isc-dhcp-server", "INTERFACESv4=\"eth1\"\nINTERFACESv6=\"\"\n"),
    ] {
        let rig = Rig::new(family, false);
        let world: &(dyn System + 'static) = &rig;
        assert_eq!(converge(&dhcpd, world, None).unwrap().status, Status::Changed);
        assert_eq!(rig.text("/etc/dhcp/dhcpd.conf").unwrap(), GOLDEN);
        assert!(rig.text(defaults).unwrap().ends_with(line));
        assert_eq!(rig.acts(), [format!("start {unit}.service"), format!("enable {unit}.service")]);
        assert_eq!(converge(&dhcpd, world, None).unwrap().status, Status::Same);
    }
}

const KEA: &str = r#"// managed by okd-play; changes made here are lost
{
    "Dhcp4": {
        "interfaces-config": {"interfaces": ["eth1"]},
        "lease-database": {"type": "memfile", "persist": true, "name": "/var/lib/kea/kea-leases4.csv", "lfc-interval": 3600},
        "authoritative": true,
        "valid-lifetime": 3600,
        "max-valid-lifetime": 86400,
        "ddns-send-updates": false,
        "client-classes": [
            {
                "name": "ipxe-10.0.0.0/24",
                "test": "substring(option[77].hex, 0, 4) == 'iPXE'",
                "only-if-required": true,
                "boot-file-name": "http://10.0.0.1:8080/boot/boot.ipxe"
            },
            {
                "name": "uefi-10.0.0.0/24",
                "test": "option[93].hex == 0x0007",
                "only-if-required": true,
                "boot-file-name": "shimx64.efi"
            }
        ],
        "subnet4": [
            {
                "id": 167772160,
                "subnet": "10.0.0.0/24",
                "option-data": [
                    {"name": "routers", "data": "10.0.0.1"},
                    {"name": "broadcast-address", "data": "10.0.0.255"},
                    {"name": "domain-name-servers", "data": "10.0.0.1"},
                    {"name": "domain-name", "data": "okd.example.org"},
                    {"name": "domain-search", "data": "okd.example.org"},
                    {"name": "ntp-servers", "data": "10.0.0.1"},
                    {"name": "interface-mtu", "data": "1450"}
                ],
                "next-server": "10.0.0.1",
                "boot-file-name": "pxelinux.0",
                "require-client-classes": ["ipxe-10.0.0.0/24", "uefi-10.0.0.0/24"],
                "pools": [
                    {"pool": "10.0.0.15 - 10.0.0.30", "client-class": "KNOWN"}
                ],
                "reservations": [
                    {"hw-address": "52:54:00:00:10:0a", "ip-address": "10.0.0.2", "hostname": "master1"},
                    {"hw-address": "52:54:00:00:10:05", "ip-address": "10.0.0.5", "hostname": "worker1"}
                ]
            }
        ],
        "loggers": [
            {"name": "kea-dhcp4", "severity": "INFO", "output_options": [{"output": "stdout"}]}
        ]
    }
}
"#;

#[test]
fn each_boot_file_can_stand_alone() {
    let mut dhcpd = Dhcpd::decode(&args()).unwrap();
    let mut shows = |filename: Option<&str>, uefi: Option<&str>, ipxe: Option<&str>| {
        let subnet = &mut dhcpd.subnets[0];
        [&mut subnet.filename, &mut subnet.filename_uefi, &mut subnet.ipxe]
            .into_iter()
            .zip([filename, uefi, ipxe])
            .for_each(|(field, value)| *field = value.map(str::to_owned));
        let text = config::render(&dhcpd);
        let tail = text.split_once("next-server 10.0.0.1;\n").unwrap().1;
        let own = tail.split_once("    pool {").unwrap().0;
        (own.split_whitespace().collect::<Vec<_>>().join(" "), text.contains("code 93"))
    };
    assert_eq!(shows(None, None, None), (String::new(), false));
    assert_eq!(shows(Some("a"), None, None), ("filename \"a\";".to_owned(), false));
    assert_eq!(
        shows(None, None, Some("http://s/b")),
        ("if exists user-class and option user-class = \"iPXE\" { filename \"http://s/b\"; }".to_owned(), false)
    );
    assert_eq!(
        shows(Some("a"), None, Some("http://s/b")).0,
        "if exists user-class and option user-class = \"iPXE\" { filename \"http://s/b\"; } else { filename \"a\"; }"
    );
    assert_eq!(
        shows(None, Some("u"), None),
        ("if option architecture-type = 00:07 { filename \"u\"; }".to_owned(), true)
    );
}

#[test]
fn kea_gets_the_same_in_its_own_words() {
    let mut dhcpd = Dhcpd::decode(&args()).unwrap();
    assert_eq!(kea::render(&dhcpd), KEA);
    dhcpd.options.insert("bootfile-name".to_owned(), "\"a,b\"".to_owned());
    assert!(kea::render(&dhcpd).contains(r#"{"name": "boot-file-name", "data": "a\\,b"}"#), "{}", kea::render(&dhcpd));
}

#[test]
fn the_program_is_the_one_that_is_there() {
    let dhcpd = Dhcpd::decode(&args()).unwrap();
    let lacks = Answer::ok("LoadState=not-found\nActiveState=inactive\n");
    let world = kea_host().fact("unit:dhcpd.service", lacks.clone());
    assert_eq!(dhcpd.watch(Family::El, &world).unit, "kea-dhcp4.service");
    assert_eq!(dhcpd.watch(Family::El, &kea_host()).unit, "kea-dhcp4.service");
    let neither = Fake::new().fact("unit:dhcpd.service", lacks.clone()).fact("unit:kea-dhcp4.service", lacks);
    assert_eq!(dhcpd.watch(Family::El, &neither).package, "dhcp-server` or `kea");
    let asked = Dhcpd { backend: Backend::Dhcpd, ..dhcpd };
    assert_eq!(asked.watch(Family::Debian, &kea_host()).unit, "isc-dhcp-server.service");
}

fn kea_host() -> Fake {
    Fake::new()
        .file("/etc/os-release", "ID=\"centos\"\nVERSION_ID=\"10\"\n")
        .dir("/etc/kea")
        .fact("unit:dhcpd.service", Answer::ok("LoadState=not-found\nActiveState=inactive\n"))
        .fact("unit:kea-dhcp4.service", Answer::ok("LoadState=loaded\nActiveState=inactive\nSubState=dead\nUnitFileState=disabled\nType=simple\n"))
        .checker("env")
        .command(&["systemctl"], Answer::default())
        .command(&["/bin/sh"], Answer::default())
}

#[test]
pub(crate) fn the_laws_hold_with_kea() {
    laws(&Dhcpd::decode(&args()).unwrap(), kea_host);
}

#[test]
fn names_are_told_whole_where_that_is_asked_for() {
    let dhcpd = Dhcpd { qualified: true, ..Dhcpd::decode(&args()).unwrap() };
    assert!(config::render(&dhcpd).contains("option host-name \"worker1.okd.example.org\";"));
}

#[test]
fn contradictions_are_refused_before_anything_is_contacted() {
    let mut dhcpd = Dhcpd::decode(&args()).unwrap();
    let more = [
        host("MASTER1", "52:54:00:00:10:0a", "10.0.0.2"),
        host("pool", "52:54:00:00:10:20", "10.0.0.20"),
        host("far", "52:54:00:00:10", "10.1.0.2"),
        host("last", "52:54:00:00:10:21", "10.0.0.255"),
    ];
    dhcpd.hosts.extend(more.iter().map(|value| Reservation::decode(value.as_map().unwrap()).unwrap()));
    let mut second = dhcpd.subnets[0].clone();
    second.network = "10.0.0.128/25".to_owned();
    second.routers = vec!["10.0.0.1".to_owned()];
    second.ranges = vec!["10.0.0.200-150".to_owned(), "10.0.0.5-10.0.0.9".to_owned()];
    second.mtu = Some(100);
    dhcpd.subnets.push(second);
    let problems = Resource::check(&dhcpd).unwrap_err().join("\n");
    for words in [
        "name master1 is there 2 times: master1, MASTER1",
        "address 10.0.0.2 is there 2 times",
        "hardware address 52:54:00:00:10:0a is there 2 times",
        "host pool: 10.0.0.20 lies in the range 10.0.0.15-30",
        "host far: `52:54:00:00:10` is not a hardware address",
        "host far: 10.1.0.2 lies in none of the subnets",
        "host last: 10.0.0.255 is the network's own or its broadcast address",
        "subnets 10.0.0.0/24 and 10.0.0.128/25 overlap",
        "the router 10.0.0.1 lies outside",
        "`10.0.0.200-150` ends before it begins",
        "the range 10.0.0.5-10.0.0.9 lies outside",
        "`mtu` is below 576",
    ] {
        assert!(problems.contains(words), "{words} is missing in:\n{problems}");
    }
}

#[test]
pub(crate) fn the_laws_hold_where_the_unit_is_a_script() {
    let show = "LoadState=loaded\nActiveState=failed\nSubState=failed\nUnitFileState=generated\n\
        SourcePath=/etc/init.d/isc-dhcp-server\nType=forking\n";
    laws(&Dhcpd::decode(&args()).unwrap(), || {
        Fake::new()
            .file("/etc/os-release", "ID=ubuntu\nID_LIKE=debian\n")
            .dir("/etc/default")
            .file("/etc/dhcp/dhcpd.conf", "# shipped\n")
            .fact("unit:isc-dhcp-server.service", Answer::ok(show))
            .fact("unit-enabled:isc-dhcp-server.service", Answer::ok("enabled\n"))
            .checker("dhcpd")
            .command(&["systemctl"], Answer::default())
            .command(&["/bin/sh"], Answer::default())
    });
}
