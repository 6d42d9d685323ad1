//! dhcpd.conf, rendered whole; see dhcpd.conf(5) and dhcp-options(5).

use super::{Dhcpd, Reservation, Subnet};
use crate::resource::network::{Network, mac, range};
use crate::resource::transaction::header;
use std::fmt::Write;

pub(super) fn render(dhcpd: &Dhcpd) -> String {
    let mut out = header("#");
    if dhcpd.authoritative {
        out.push_str("authoritative;\n");
    }
    out.push_str("ddns-update-style none;\n");
    let _ = writeln!(out, "default-lease-time {};", dhcpd.default_lease_time);
    let _ = writeln!(out, "max-lease-time {};", dhcpd.max_lease_time);
    if dhcpd.subnets.iter().any(|subnet| subnet.filename_uefi.is_some()) {
        out.push_str("option architecture-type code 93 = unsigned integer 16;\n");
    }
    for (name, value) in &dhcpd.options {
        let _ = writeln!(out, "option {name} {value};");
    }
    for subnet in &dhcpd.subnets {
        out.push_str(&subnet_block(subnet));
    }
    for host in &dhcpd.hosts {
        out.push_str(&host_block(host, &dhcpd.told(host)));
    }
    if let Some(extra) = &dhcpd.extra {
        let _ = write!(out, "\n{}\n", extra.trim_end());
    }
    out
}

fn subnet_block(subnet: &Subnet) -> String {
    let Some((network, (mask, last))) = Network::new(&subnet.network).ok().and_then(|net| Some((net, net.v4()?))) else {
        return String::new();
    };
    let quoted = |text: &String| format!("\"{text}\"");
    let mut lines = Vec::new();
    let mut option = |name: &str, values: Vec<String>| {
        if !values.is_empty() {
            lines.push(format!("option {name} {};", values.join(", ")));
        }
    };
    option("routers", subnet.routers.clone());
    option("broadcast-address", vec![last.to_string()]);
    option("domain-name-servers", subnet.dns.clone());
    option("domain-name", subnet.domain_name.iter().map(quoted).collect());
    option("domain-search", subnet.domain_search.iter().map(quoted).collect());
    option("ntp-servers", subnet.ntp.clone());
    option("interface-mtu", subnet.mtu.iter().map(ToString::to_string).collect());
    for (name, value) in &subnet.options {
        option(name, vec![value.clone()]);
    }
    lines.extend(subnet.next_server.iter().map(|server| format!("next-server {server};")));
    lines.extend(boot_file(subnet));
    let ranges = subnet.ranges.iter().filter_map(|text| range(text).ok());
    let ranges: String = ranges.map(|(first, last)| format!("        range {first} {last};\n")).collect();
    if !ranges.is_empty() {
        let deny = if subnet.deny_unknown { "        deny unknown-clients;\n" } else { "" };
        lines.push(format!("pool {{\n{ranges}{deny}    }}"));
    }
    let body: String = lines.iter().map(|line| format!("    {line}\n")).collect();
    format!("\nsubnet {} netmask {mask} {{\n{body}}}\n", network.address)
}

/// What is loaded: by iPXE, which says what it is (option 77), by UEFI on x86-64 (option 93, RFC 4578), by anything else.
fn boot_file(subnet: &Subnet) -> Option<String> {
    let special = [
        ("exists user-class and option user-class = \"iPXE\"", &subnet.ipxe),
        ("option architecture-type = 00:07", &subnet.filename_uefi),
    ];
    let special = special.into_iter().filter_map(|(test, file)| Some((test, file.as_ref()?)));
    let mut out = special.fold(String::new(), |mut out, (test, file)| {
        let word = if out.is_empty() { "if" } else { " elsif" };
        let _ = write!(out, "{word} {test} {{\n        filename \"{file}\";\n    }}");
        out
    });
    match &subnet.filename {
        Some(file) if out.is_empty() => out = format!("filename \"{file}\";"),
        Some(file) => _ = write!(out, " else {{\n        filename \"{file}\";\n    }}"),
        None => {}
    }
    (!out.is_empty()).then_some(out)
}

fn host_block(host: &Reservation, name: &str) -> String {
    let mut lines = vec![
        format!("hardware ethernet {};", mac(&host.mac).unwrap_or_default()),
        format!("fixed-address {};", host.ip),
        format!("option host-name \"{name}\";"),
    ];
    lines.extend(host.options.iter().map(|(name, value)| format!("option {name} {value};")));
    lines.extend(host.next_server.iter().map(|server| format!("next-server {server};")));
    lines.extend(host.filename.iter().map(|file| format!("filename \"{file}\";")));
    let body: String = lines.iter().map(|line| format!("    {line}\n")).collect();
    format!("\nhost {} {{\n{body}}}\n", host.name)
}
