//! The same description for Kea: kea-dhcp4.conf, rendered whole; see the "DHCPv4 Server" chapter of Kea's manual.

use super::{Dhcpd, Reservation, Subnet, outside};
use crate::resource::json;
use crate::resource::layout::{Family, path};
use crate::resource::network::{Network, mac, range};
use crate::resource::transaction::{FileSet, SetFile, Tell, Watch, header};
use crate::value::{Map, Value, map};
use indexmap::IndexMap;
use std::net::IpAddr;

const CONFIG: &str = "/etc/kea/kea-dhcp4.conf";

pub(super) fn unit(family: Family) -> &'static str {
    family.pick("kea-dhcp4.service", "kea-dhcp4-server.service")
}

pub(super) fn package(family: Family) -> &'static str {
    family.pick("kea", "kea-dhcp4-server")
}

pub(super) fn watch(family: Family) -> Watch {
    Watch {
        unit: unit(family),
        package: package(family),
        files: vec![path(CONFIG)],
        folders: Vec::new(),
    }
}

pub(super) fn set(dhcpd: &Dhcpd, family: Family) -> FileSet {
    let staged = format!("{{stage}}{CONFIG}");
    // Without a lock file of its own: the check shares none with the server that runs.
    let argv = ["env", "KEA_LOCKFILE_DIR=none", "kea-dhcp4", "-t", &staged];
    FileSet {
        service: "kea-dhcp4",
        files: vec![SetFile::public(path(CONFIG), render(dhcpd))],
        checker: outside("kea-dhcp4", family, &argv),
        tell: Tell::Restart,
        power: dhcpd.state,
        enabled: dhcpd.enabled,
        listeners: Vec::new(),
        served: Vec::new(),
    }
}

pub(super) fn render(dhcpd: &Dhcpd) -> String {
    let any = vec!["*".to_owned()];
    let interfaces = if dhcpd.interfaces.is_empty() { any } else { dhcpd.interfaces.clone() };
    let seconds = |seconds: u64| Value::Int(i64::try_from(seconds).unwrap_or(i64::MAX));
    let lasting = [
        ("type", "memfile".into()),
        ("persist", true.into()),
        ("name", "/var/lib/kea/kea-leases4.csv".into()),
        ("lfc-interval", Value::Int(3600)),
    ];
    let output = object([("output", "stdout".into())]);
    let logger = [
        ("name", "kea-dhcp4".into()),
        ("severity", "INFO".into()),
        ("output_options", Value::List(vec![output])),
    ];
    let members = [
        ("interfaces-config", object([("interfaces", interfaces.into())])),
        ("lease-database", object(lasting)),
        ("authoritative", dhcpd.authoritative.into()),
        ("valid-lifetime", seconds(dhcpd.default_lease_time)),
        ("max-valid-lifetime", seconds(dhcpd.max_lease_time)),
        ("ddns-send-updates", false.into()),
        ("option-data", Value::List(further(&dhcpd.options))),
        ("client-classes", Value::List(dhcpd.subnets.iter().flat_map(classes).collect())),
        ("subnet4", Value::List(dhcpd.subnets.iter().filter_map(|net| subnet(net, dhcpd)).collect())),
        ("loggers", Value::List(vec![object(logger)])),
    ];
    let members = members.into_iter().filter(|(_, value)| value.as_list().is_none_or(|list| !list.is_empty()));
    let mut lines: Vec<String> =
        members.map(|(name, value)| format!("        {name:?}: {}", pretty(&value, 8))).collect();
    lines.extend(dhcpd.extra.iter().map(|extra| format!("        {}", extra.trim().trim_matches(','))));
    format!("{}{{\n    \"Dhcp4\": {{\n{}\n    }}\n}}\n", header("//"), lines.join(",\n"))
}

fn object<const N: usize>(members: [(&str, Value); N]) -> Value {
    Value::Map(map(members))
}

/// Widest text that stays on its line, characters.
const WIDE: usize = 100;

/// JSON that a person can read, and whose lines a diff can tell apart.
fn pretty(value: &Value, indent: usize) -> String {
    let line = json::write(value);
    let nested = match value {
        Value::List(items) => items.iter().any(|item| item.as_map().is_some()),
        Value::Map(members) => line.len() > WIDE && !members.is_empty(),
        _ => false,
    };
    if !nested {
        return line;
    }
    let deeper = " ".repeat(indent + 4);
    let (open, close, parts): (_, _, Vec<String>) = match value {
        Value::Map(members) => {
            let member = |(name, value): (&String, &Value)| format!("{deeper}{name:?}: {}", pretty(value, indent + 4));
            ('{', '}', members.iter().map(member).collect())
        }
        Value::List(items) => {
            ('[', ']', items.iter().map(|item| format!("{deeper}{}", pretty(item, indent + 4))).collect())
        }
        _ => return line,
    };
    format!("{open}\n{}\n{}{close}", parts.join(",\n"), " ".repeat(indent))
}

/// A number that stays a subnet's own when others come and go, since leases are kept by it.
fn id(network: Network) -> Option<i64> {
    match network.address {
        IpAddr::V4(address) => Some(i64::from(u32::from(address)).max(1)),
        IpAddr::V6(_) => None,
    }
}

/// Machines that load another file than the rest, with what tells them and that file, the first that fits first: iPXE (option
/// 77), and UEFI on x86-64 (option 93, RFC 4578).
fn special(subnet: &Subnet) -> impl Iterator<Item = (String, &'static str, &String)> {
    let all = [
        ("ipxe", "substring(option[77].hex, 0, 4) == 'iPXE'", &subnet.ipxe),
        ("uefi", "option[93].hex == 0x0007", &subnet.filename_uefi),
    ];
    all.into_iter().filter_map(|(name, test, file)| Some((format!("{name}-{}", subnet.network), test, file.as_ref()?)))
}

/// The classes of those machines.
fn classes(subnet: &Subnet) -> impl Iterator<Item = Value> {
    special(subnet).map(|(name, test, file)| {
        object([
            ("name", name.into()),
            ("test", test.into()),
            ("only-if-required", true.into()),
            ("boot-file-name", file.as_str().into()),
        ])
    })
}

fn subnet(subnet: &Subnet, dhcpd: &Dhcpd) -> Option<Value> {
    let network = Network::new(&subnet.network).ok()?;
    let (_, last) = network.v4()?;
    let mut out = map([("id", Value::Int(id(network)?)), ("subnet", subnet.network.as_str().into())]);
    let mut options = Vec::new();
    let mut option = |name: &str, values: &[String]| {
        if !values.is_empty() {
            options.push(object([("name", name.into()), ("data", values.join(", ").into())]));
        }
    };
    option("routers", &subnet.routers);
    option("broadcast-address", &[last.to_string()]);
    option("domain-name-servers", &subnet.dns);
    option("domain-name", subnet.domain_name.as_slice());
    option("domain-search", &subnet.domain_search);
    option("ntp-servers", &subnet.ntp);
    option("interface-mtu", &subnet.mtu.iter().map(ToString::to_string).collect::<Vec<_>>());
    options.extend(further(&subnet.options));
    put(&mut out, "option-data", options);
    boots(&mut out, subnet.next_server.as_ref(), subnet.filename.as_ref());
    let required = special(subnet).map(|(name, ..)| name.into()).collect();
    put(&mut out, "require-client-classes", required);
    let ranges = subnet.ranges.iter().filter_map(|text| range(text).ok());
    let pools = ranges.map(|(first, last)| {
        let mut pool = map([("pool", format!("{first} - {last}").into())]);
        if subnet.deny_unknown {
            pool.insert("client-class".to_owned(), "KNOWN".into());
        }
        Value::Map(pool)
    });
    put(&mut out, "pools", pools.collect());
    let here = dhcpd.hosts.iter().filter(|host| host.ip.parse().is_ok_and(|address| network.contains(address)));
    put(&mut out, "reservations", here.map(|host| reservation(host, dhcpd)).collect());
    Some(Value::Map(out))
}

fn put(out: &mut Map, name: &str, list: Vec<Value>) {
    if !list.is_empty() {
        out.insert(name.to_owned(), Value::List(list));
    }
}

fn boots(out: &mut Map, server: Option<&String>, file: Option<&String>) {
    for (name, value) in [("next-server", server), ("boot-file-name", file)] {
        out.extend(value.map(|value| (name.to_owned(), value.as_str().into())));
    }
}

fn reservation(host: &Reservation, dhcpd: &Dhcpd) -> Value {
    let mut out = map([
        ("hw-address", mac(&host.mac).unwrap_or_default().into()),
        ("ip-address", host.ip.as_str().into()),
        ("hostname", dhcpd.told(host).into()),
    ]);
    put(&mut out, "option-data", further(&host.options));
    boots(&mut out, host.next_server.as_ref(), host.filename.as_ref());
    Value::Map(out)
}

/// Options in dhcpd.conf's words, in Kea's: no quotes, and a comma only between values.
fn further(options: &IndexMap<String, String>) -> Vec<Value> {
    let option = |(name, value): (&String, &String)| {
        let name = if name == "bootfile-name" { "boot-file-name" } else { name };
        let mut quoted = false;
        let mut data = String::new();
        for c in value.chars() {
            match c {
                '"' => quoted = !quoted,
                ',' if quoted => data.push_str("\\,"),
                c => data.push(c),
            }
        }
        object([("name", name.into()), ("data", data.into())])
    };
    options.iter().map(option).collect()
}
