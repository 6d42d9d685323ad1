//! A host of Enterprise Linux that is what the drive of a cloud image says (cloud-init's NoCloud): its name, its users and
//! their keys, its host key, its addresses. What has to be done inside is done at its first boot, before it can be reached.

use super::{disk, lab, list, text, write};
use crate::iso;
use serde_json::{Map, Value as Json};
use std::fmt::Write;

const UNIT: &str = "[Unit]\nBefore=sshd.service\nConditionPathExists=!/var/lib/cloud/instance/boot-finished\n\
    [Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/bash -e /var/lib/cloud/first-boot\n";

/// Makes the host, and boots it.
///
/// # Errors
/// When the drive cannot be read, or asks for what such a host has not.
pub(super) fn host(name: &str, event: &Json, image: &[u8]) -> Result<(), String> {
    let read = |file: &str| -> Result<Map<String, Json>, String> {
        let bytes = iso::file(image, file).unwrap_or_default();
        keys(&String::from_utf8_lossy(bytes)).map_err(|said| format!("{file}: {said}"))
    };
    let (meta, user, network) = (read("meta-data")?, read("user-data")?, read("network-config")?);
    let mut script = cards(name, list(&event["nets"]), &network)?;
    let own = |map: &Map<String, Json>, key: &str| map.get(key).and_then(Json::as_str).map(str::to_owned);
    let called = own(&user, "fqdn")
        .or_else(|| own(&user, "hostname"))
        .or_else(|| own(&meta, "local-hostname"));
    let called = called.unwrap_or_else(|| name.to_owned());
    let _ = writeln!(script, "echo {0} > /etc/hostname; hostname {0}", quoted(&called));
    script += &people(&user);
    script += &extras(&user);
    script += "mkdir -p /var/lib/cloud/instance; : > /var/lib/cloud/instance/boot-finished\n";
    let root = disk(name)?;
    for home in ["root", "home/ops", "home/auto"] {
        // The lab's own key is no way in here.
        let _ = std::fs::remove_file(root.join(home).join(".ssh/authorized_keys"));
    }
    host_key(name, &root, &user)?;
    write(&root.join("var/lib/cloud/first-boot"), script.as_bytes(), 0o600)?;
    write(
        &root.join("etc/systemd/system/lab-first-boot.service"),
        UNIT.as_bytes(),
        0o644,
    )?;
    let wanted = root.join("etc/systemd/system/multi-user.target.wants");
    std::fs::create_dir_all(&wanted)
        .and_then(|()| std::os::unix::fs::symlink("../lab-first-boot.service", wanted.join("lab-first-boot.service")))
        .map_err(|error| format!("{}: {error}", wanted.display()))?;
    lab(&["start", name, "--no-wait"]).map(|_| ())
}

/// The keys of a file of the drive. The drives of `nocloud_iso` have a key a line, with its value as JSON, which is YAML.
fn keys(file: &str) -> Result<Map<String, Json>, String> {
    let lines = file
        .lines()
        .filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    lines
        .map(|line| {
            let (key, value) = line.split_once(':').ok_or_else(|| format!("not understood: {line}"))?;
            let value = value.trim();
            let plain = !value.starts_with(['{', '[', '"', '|', '>', '&', '-'])
                && !value.is_empty()
                && !key.starts_with([' ', '-']);
            match serde_json::from_str(value) {
                Ok(value) => Ok((key.trim_matches('"').to_owned(), value)),
                Err(_) if plain => Ok((key.to_owned(), value.into())),
                Err(_) => Err(format!("a value that is not written as JSON: {key}")),
            }
        })
        .collect()
}

/// Makes the host with its cards and their addresses; gives what is left to be done inside.
fn cards(name: &str, cards: &[Json], network: &Map<String, Json>) -> Result<String, String> {
    let (mut script, mut servers, mut search) = (String::new(), Vec::new(), Vec::new());
    for (number, card) in cards.iter().enumerate() {
        let settings = of_card(network, text(&card["mac"]), number);
        let addresses: Vec<&str> = list(&settings["addresses"]).iter().map(text).collect();
        let (interface, address) = (format!("eth{number}"), addresses.first().copied().unwrap_or("-"));
        let gateway = gateway(&settings);
        if settings["dhcp4"] == true {
            return Err(format!(
                "{name}: {interface}: a host of the lab has no DHCP client; give it addresses"
            ));
        }
        if number == 0 {
            lab(&[
                "host",
                name,
                text(&card["bridge"]),
                address,
                "el",
                "--mac",
                text(&card["mac"]),
                "--gateway",
                gateway.unwrap_or("-"),
                "--off",
            ])?;
        } else {
            lab(&[
                "nic",
                name,
                &interface,
                text(&card["bridge"]),
                address,
                text(&card["mac"]),
            ])?;
            let route = gateway.map(|gateway| format!("ip route replace default via {gateway}\n"));
            script += &route.unwrap_or_default();
        }
        for more in addresses.iter().skip(1) {
            let _ = writeln!(script, "ip addr replace {more} dev {interface}");
        }
        let mtu = settings["mtu"]
            .as_u64()
            .or_else(|| card["mtu"].as_u64())
            .filter(|mtu| *mtu > 1);
        script += &mtu
            .map(|mtu| format!("ip link set {interface} mtu {mtu}\n"))
            .unwrap_or_default();
        servers.extend(
            list(&settings["nameservers"]["addresses"])
                .iter()
                .map(text)
                .map(str::to_owned),
        );
        search.extend(
            list(&settings["nameservers"]["search"])
                .iter()
                .map(text)
                .map(str::to_owned),
        );
    }
    if !servers.is_empty() {
        let mut lines: String = servers.iter().map(|server| format!("nameserver {server}\n")).collect();
        if !search.is_empty() {
            let _ = writeln!(lines, "search {}", search.join(" "));
        }
        let _ = writeln!(script, "printf %s {} > /etc/resolv.conf", quoted(&lines));
    }
    Ok(script)
}

/// What version 2 of the format says of a card, by its MAC or else by its number; version 1 is brought into that form.
fn of_card(network: &Map<String, Json>, mac: &str, number: usize) -> Json {
    if network.get("version").and_then(Json::as_u64) == Some(1) {
        return of_card_1(network, mac, number);
    }
    let all = network.get("ethernets").and_then(Json::as_object);
    let cards: Vec<&Json> = all.into_iter().flat_map(Map::values).collect();
    let same = |card: &&&Json| text(&card["match"]["macaddress"]).eq_ignore_ascii_case(mac);
    let nameless = cards.iter().all(|card| card["match"]["macaddress"].is_null());
    let found = cards
        .iter()
        .find(same)
        .or_else(|| cards.get(number).filter(|_| nameless));
    found.map_or(Json::Null, |card| (**card).clone())
}

fn of_card_1(network: &Map<String, Json>, mac: &str, number: usize) -> Json {
    let all: Vec<&Json> = network
        .get("config")
        .map_or(&[][..], list)
        .iter()
        .filter(|item| text(&item["type"]) == "physical")
        .collect();
    let same = |card: &&&Json| text(&card["mac_address"]).eq_ignore_ascii_case(mac);
    let Some(card) = all.iter().find(same).or_else(|| all.get(number)) else {
        return Json::Null;
    };
    let subnets = list(&card["subnets"]);
    let first = subnets.first().unwrap_or(&Json::Null);
    let addresses: Vec<&Json> = subnets
        .iter()
        .map(|subnet| &subnet["address"])
        .filter(|address| address.is_string())
        .collect();
    serde_json::json!({ "addresses": addresses, "gateway4": first["gateway"], "mtu": card["mtu"],
        "dhcp4": text(&first["type"]).starts_with("dhcp"), "nameservers": { "addresses": first["dns_nameservers"] } })
}

fn gateway(settings: &Json) -> Option<&str> {
    let default = |route: &&Json| matches!(text(&route["to"]), "default" | "0.0.0.0/0");
    let route = list(&settings["routes"]).iter().find(default);
    settings["gateway4"]
        .as_str()
        .or_else(|| route.and_then(|route| route["via"].as_str()))
}

/// Users with their keys and their right to become root, as a script.
fn people(user: &Map<String, Json>) -> String {
    let default = serde_json::json!({ "name": "cloud-user", "ssh_authorized_keys": user.get("ssh_authorized_keys"), "sudo": "ALL=(ALL) NOPASSWD:ALL" });
    let named = user.get("users").map_or(&[][..], list);
    let all = named.iter().filter(|one| one["name"].is_string());
    let wants_default = named.is_empty() || named.iter().any(|one| one == "default");
    let mut script = String::new();
    for one in all.chain(wants_default.then_some(&default)) {
        let name = quoted(text(&one["name"]));
        let lines = |value: &Json| match value {
            Json::String(line) => format!("{line}\n"),
            many => list(many)
                .iter()
                .fold(String::new(), |all, line| all + text(line) + "\n"),
        };
        let shell = quoted(one["shell"].as_str().unwrap_or("/bin/bash"));
        let _ = writeln!(script, "id {name} >/dev/null 2>&1 || useradd -m -s {shell} {name}");
        let groups: Vec<&str> = match &one["groups"] {
            Json::String(groups) => groups.split([',', ' ']).filter(|group| !group.is_empty()).collect(),
            many => list(many).iter().map(text).collect(),
        };
        for group in groups {
            let _ = writeln!(
                script,
                "getent group {0} >/dev/null || groupadd {0}; usermod -a -G {0} {name}",
                quoted(group)
            );
        }
        let keys = lines(&one["ssh_authorized_keys"]);
        let _ = writeln!(
            script,
            "home=$(getent passwd {name} | cut -d: -f6); install -d -m 700 -o {name} -g {name} \"$home/.ssh\""
        );
        let _ = writeln!(
            script,
            "printf %s {} > \"$home/.ssh/authorized_keys\"; chmod 600 \"$home/.ssh/authorized_keys\"; chown {name}: \"$home/.ssh/authorized_keys\"",
            quoted(&keys)
        );
        let rules = lines(&one["sudo"])
            .lines()
            .filter(|rule| !rule.is_empty())
            .fold(String::new(), |all, rule| all + text(&one["name"]) + " " + rule + "\n");
        if !rules.is_empty() {
            let _ = writeln!(
                script,
                "printf %s {} > /etc/sudoers.d/90-cloud-{name}; chmod 440 /etc/sudoers.d/90-cloud-{name}",
                quoted(&rules)
            );
        }
    }
    script
}

/// Files and commands, as a script.
fn extras(user: &Map<String, Json>) -> String {
    let mut script = String::new();
    for file in user.get("write_files").map_or(&[][..], list) {
        let path = quoted(text(&file["path"]));
        let mode = quoted(file["permissions"].as_str().unwrap_or("0644"));
        let _ = writeln!(
            script,
            "mkdir -p \"$(dirname {path})\"; printf %s {} > {path}; chmod {mode} {path}",
            quoted(text(&file["content"]))
        );
    }
    for command in user.get("runcmd").map_or(&[][..], list) {
        let line = match command {
            Json::String(line) => line.clone(),
            words => list(words)
                .iter()
                .map(|word| quoted(text(word)))
                .collect::<Vec<_>>()
                .join(" "),
        };
        let _ = writeln!(script, "{line}");
    }
    script
}

/// The key that the host shows to who connects: the drive's, or the one that the lab made for it.
fn host_key(name: &str, root: &std::path::Path, user: &Map<String, Json>) -> Result<(), String> {
    let Some(keys) = user.get("ssh_keys") else {
        return Ok(());
    };
    let folder = root.join("etc/ssh");
    for kind in ["ed25519", "ecdsa", "rsa"] {
        let file = folder.join(format!("ssh_host_{kind}_key"));
        let (private, public) = (
            text(&keys[format!("{kind}_private")]),
            text(&keys[format!("{kind}_public")]),
        );
        if private.is_empty() {
            let _ = std::fs::remove_file(&file);
            let _ = std::fs::remove_file(file.with_extension("pub"));
            continue;
        }
        write(&file, private.as_bytes(), 0o600)?;
        write(&file.with_extension("pub"), format!("{public}\n").as_bytes(), 0o644)?;
        let address = lab(&["addr", name])?;
        let known: Vec<&str> = public.split_whitespace().take(2).collect();
        write(
            &root.with_file_name("known_hosts"),
            format!("{name},{address} {}\n", known.join(" ")).as_bytes(),
            0o644,
        )?;
    }
    Ok(())
}

fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::{gateway, keys, of_card, quoted};
    use serde_json::json;

    #[test]
    fn a_drives_files_are_read_as_they_are_written() {
        let read = keys("#cloud-config\nusers: [{\"name\": \"ops\"}]\nhostname: services\n").unwrap();
        assert_eq!(
            (read["users"][0]["name"].clone(), read["hostname"].clone()),
            (json!("ops"), json!("services"))
        );
        assert!(keys("users:\n  - name: ops\n").is_err());
    }

    #[test]
    fn a_card_is_found_by_its_mac_in_both_versions() {
        let second = json!({ "version": 2, "ethernets": {
            "a": { "match": { "macaddress": "bc:24:11:00:00:02" }, "addresses": ["10.0.0.1/24"] },
            "b": { "match": { "macaddress": "bc:24:11:00:00:01" }, "routes": [{ "to": "default", "via": "10.77.1.1" }] } } });
        let found = of_card(second.as_object().unwrap(), "BC:24:11:00:00:01", 0);
        assert_eq!(gateway(&found), Some("10.77.1.1"));
        let first = json!({ "version": 1, "config": [{ "type": "physical", "name": "eth0", "mac_address": "BC:24:11:00:00:01",
            "subnets": [{ "type": "static", "address": "10.77.1.5/24", "gateway": "10.77.1.1" }] }] });
        let found = of_card(first.as_object().unwrap(), "bc:24:11:00:00:01", 0);
        assert_eq!(
            (gateway(&found), found["addresses"].clone()),
            (Some("10.77.1.1"), json!(["10.77.1.5/24"]))
        );
    }

    #[test]
    fn words_for_a_shell_stay_one_word() {
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }
}
