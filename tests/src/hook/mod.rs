//! What becomes of the events of the stand-in of Proxmox VE in a lab: sites, hosts and guests. The program is `pve-hook`.

mod cloud;

use crate::iso;
use serde_json::{Value as Json, json};
use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Obeys one event, and gives the answer for the stand-in.
///
/// # Errors
/// What the lab or an event's machine lacks, in words for the task's log.
pub fn obey(event: &Json) -> Result<Json, String> {
    match text(&event["event"]) {
        "network-apply" => network(event).map(|()| json!({})),
        "vm-start" => start(event),
        "vm-stop" => stop(event, "kill"),
        "vm-shutdown" => stop(event, "poweroff"),
        "vm-reset" => stop(event, "kill").and_then(|_| start(event)),
        "vm-destroy" => stop(event, "destroy"),
        other => Err(format!("no event {other:?}")),
    }
}

fn text(value: &Json) -> &str {
    value.as_str().unwrap_or_default()
}

fn list(value: &Json) -> &[Json] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// Obeys a verb of the lab, and gives what it prints.
fn lab(words: &[&str]) -> Result<String, String> {
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/lab/lab");
    let output = Command::new(program)
        .args(words)
        .output()
        .map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let last = said
        .lines()
        .last()
        .map_or_else(|| output.status.to_string(), str::to_owned);
    Err(format!("lab {}: {last}", words.first().unwrap_or(&"")))
}

/// Bridges become sites; those of an earlier event that are not there any more are removed.
fn network(event: &Json) -> Result<(), String> {
    let own = list(&event["interfaces"])
        .iter()
        .filter(|iface| text(&iface["type"]) == "bridge");
    let bridges: Vec<&Json> = own.chain(list(&event["vnets"])).collect();
    for bridge in &bridges {
        let mtu = bridge["mtu"]
            .as_u64()
            .map_or_else(|| "1500".to_owned(), |mtu| mtu.to_string());
        let addresses = addresses(bridge);
        let mut words = vec!["bridge", text(&bridge["name"]), &mtu];
        words.extend(addresses.iter().map(String::as_str));
        lab(&words)?;
    }
    let now: BTreeSet<&str> = bridges.iter().map(|bridge| text(&bridge["name"])).collect();
    let note = Path::new(text(&event["state_dir"])).join("lab-bridges");
    let before = std::fs::read_to_string(&note).unwrap_or_default();
    for gone in before.lines().filter(|name| !now.contains(name)) {
        lab(&["unbridge", gone])?;
    }
    let lines: String = now.iter().map(|name| format!("{name}\n")).collect();
    write(&note, lines.as_bytes(), 0o644)
}

/// The addresses that a bridge has in the lab: the node's own and that of its gateway, which nothing else in the lab is.
fn addresses(bridge: &Json) -> Vec<String> {
    let own = text(&bridge["address"]);
    let length = own.split_once('/').map_or("", |(_, length)| length);
    let gateway = bridge["gateway"].as_str().map(|gateway| format!("{gateway}/{length}"));
    [own.to_owned()]
        .into_iter()
        .chain(gateway)
        .filter(|address| !address.is_empty())
        .collect()
}

/// The machine's name in the lab, which it keeps as long as it is there.
fn name(event: &Json) -> Result<String, String> {
    let note = Path::new(text(&event["state_dir"])).join(format!("lab-machine-{}", event["vmid"]));
    if let Ok(name) = std::fs::read_to_string(&note) {
        return Ok(name);
    }
    let plain = |letter: char| {
        if letter.is_ascii_alphanumeric() {
            letter.to_ascii_lowercase()
        } else {
            '-'
        }
    };
    let mut name: String = text(&event["name"]).chars().map(plain).collect();
    if name.trim_matches('-').is_empty() || there(&name)? {
        name = format!("vm-{}", event["vmid"]);
    }
    write(&note, name.as_bytes(), 0o644)?;
    Ok(name)
}

fn there(name: &str) -> Result<bool, String> {
    Ok(lab(&["list"])?
        .lines()
        .any(|line| line.split_whitespace().next() == Some(name)))
}

fn start(event: &Json) -> Result<Json, String> {
    let name = name(event)?;
    let drives = list(&event["drives"])
        .iter()
        .filter(|drive| text(&drive["media"]) == "cdrom");
    let label = |path: &&str| iso::label(&head(path)).eq_ignore_ascii_case("cidata");
    let identity = drives.filter_map(|drive| drive["path"].as_str()).find(label);
    let whole = |path: &str| std::fs::read(path).map_err(|error| format!("{path}: {error}"));
    match identity {
        // It may be told again what it knows.
        _ if lab(&["pid", &name]).is_ok() => {}
        _ if there(&name)? && !is_guest(&name)? => lab(&["start", &name, "--no-wait"]).map(|_| ())?,
        Some(path) => cloud::host(&name, event, &whole(path)?)?,
        None => guest(&name, event)?,
    }
    let pid: u64 = lab(&["pid", &name])?
        .parse()
        .map_err(|_| format!("{name} has no process"))?;
    Ok(json!({ "pid": pid }))
}

/// What a volume begins with: enough for its label.
fn head(path: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(1 << 16).read_to_end(&mut bytes));
    read.map_or_else(|_| Vec::new(), |_| bytes)
}

fn is_guest(name: &str) -> Result<bool, String> {
    let all = lab(&["list"])?;
    Ok(all
        .lines()
        .any(|line| line.split_whitespace().next() == Some(name) && line.ends_with(" guest")))
}

/// A machine that boots CoreOS's way. A lab's guest has one card, one disk and one drive: the first of each that it boots from.
fn guest(name: &str, event: &Json) -> Result<(), String> {
    let order: Vec<&str> = list(&event["boot"]).iter().map(text).collect();
    let place = |drive: &&Json| {
        order
            .iter()
            .position(|name| *name == text(&drive["name"]))
            .unwrap_or(usize::MAX)
    };
    let drives = |media: &str| {
        list(&event["drives"])
            .iter()
            .filter(move |drive| text(&drive["media"]) == media && drive["path"].is_string())
            .min_by_key(place)
    };
    let (disk, cdrom) = (drives("disk"), drives("cdrom"));
    let card = list(&event["nets"])
        .first()
        .ok_or_else(|| format!("{name} has no network card"))?;
    let boot = boot_order(event, &order);
    let mut words = vec![
        "guest",
        name,
        text(&card["bridge"]),
        "--mac",
        text(&card["mac"]),
        "--boot",
        &boot,
    ];
    if let Some(disk) = disk {
        let bus = if text(&disk["name"]).starts_with("virtio") {
            "virtio"
        } else {
            "scsi"
        };
        words.extend(["--disk", text(&disk["path"]), "--bus", bus]);
    }
    words.extend(cdrom.into_iter().flat_map(|drive| ["--cdrom", text(&drive["path"])]));
    let cluster = std::env::var("OKD_LAB_STAND_IN").unwrap_or_default();
    words.extend(["--stand-in", cluster.as_str()]);
    lab(&words).map(|_| ())
}

/// A boot order in the lab's words; Proxmox VE's own default where there is none.
fn boot_order(event: &Json, order: &[&str]) -> String {
    let kind = |device: &&str| {
        let drive = list(&event["drives"])
            .iter()
            .find(|drive| text(&drive["name"]) == *device);
        match drive.map(|drive| text(&drive["media"])) {
            Some("disk") => Some("disk"),
            Some(_) => Some("cdrom"),
            None => device.starts_with("net").then_some("net"),
        }
    };
    let mut kinds: Vec<&str> = Vec::new();
    for kind in order.iter().filter_map(kind) {
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    if kinds.is_empty() {
        "disk,cdrom,net".to_owned()
    } else {
        kinds.join(",")
    }
}

/// Ends what a machine has in the lab, or the machine itself. One that was never started is not there.
fn stop(event: &Json, verb: &str) -> Result<Json, String> {
    let name = name(event)?;
    if there(&name)? {
        let running = lab(&["pid", &name]).is_ok();
        if verb == "destroy" || running {
            lab(&[verb, &name])?;
        }
    }
    if verb == "destroy" {
        let note = Path::new(text(&event["state_dir"])).join(format!("lab-machine-{}", event["vmid"]));
        let _ = std::fs::remove_file(note);
    }
    Ok(json!({}))
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), String> {
    use std::os::unix::fs::PermissionsExt;
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    std::fs::write(path, bytes).map_err(failed)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).map_err(failed)
}

/// Where what a host has of its own lies on this machine.
fn disk(name: &str) -> Result<PathBuf, String> {
    lab(&["disk", name]).map(PathBuf::from)
}
