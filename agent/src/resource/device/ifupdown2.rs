//! ifupdown2's stanzas, each device in a file of its own below `interfaces.d`; see its `addon` help for each word.
//!
//! A tunnel joins its bridge from its own side: a bridge's stanza keeps ports that it does not name.

use super::{Device, File, Shape, State};
use crate::resource::ResourceError;
use crate::resource::layout::path;
use crate::resource::transaction::header;
use crate::system::{Answer, Probe, Staged, System};
use std::fmt::Write;

pub(in crate::resource) const MAIN: &str = "/etc/network/interfaces";
pub(super) const FOLDER: &str = "/etc/network/interfaces.d";
const SOURCE: &str = "source /etc/network/interfaces.d/*";

pub(super) fn files(device: &Device, world: &dyn System) -> Result<Vec<File>, ResourceError> {
    let main = world.read(&path(MAIN), super::FILE_LIMIT)?;
    Ok(files_with(device, main.as_deref()))
}

pub(super) fn files_with(device: &Device, main: Option<&[u8]>) -> Vec<File> {
    vec![File::new(path(MAIN), 0o644, sourcing(main)), stanza(device)]
}

/// The main file, reading the folder.
fn sourcing(main: Option<&[u8]>) -> String {
    let mut text = match main {
        Some(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        None => "auto lo\niface lo inet loopback\n".to_owned(),
    };
    let reads = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        matches!(
            words.as_slice(),
            ["source", "/etc/network/interfaces.d/*" | "interfaces.d/*"] | ["source-directory", _]
        )
    };
    if !text.lines().any(reads) {
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        let _ = write!(text, "\n{SOURCE}\n");
    }
    text
}

fn stanza(device: &Device) -> File {
    let name = &device.name;
    let mut out = format!("{}auto {name}\niface {name}\n", header("#"));
    let mut say = |line: String| {
        let _ = writeln!(out, "    {line}");
    };
    device
        .addresses
        .iter()
        .for_each(|address| say(format!("address {address}")));
    device
        .gateway
        .iter()
        .for_each(|gateway| say(format!("gateway {gateway}")));
    let kind = match &device.shape {
        Shape::Bridge { stp, ports } => {
            say(format!(
                "bridge-ports {}",
                if ports.is_empty() {
                    "none".to_owned()
                } else {
                    ports.join(" ")
                }
            ));
            say("bridge-ports-condone-regex .*".to_owned());
            say(format!("bridge-stp {}", if *stp { "on" } else { "off" }));
            if !stp {
                say("bridge-fd 0".to_owned());
            }
            "bridge"
        }
        Shape::Vxlan {
            id,
            local,
            remotes,
            port,
        } => {
            say(format!("vxlan-id {id}"));
            say(format!("vxlan-local-tunnelip {local}"));
            remotes
                .iter()
                .for_each(|remote| say(format!("vxlan-remoteip {remote}")));
            say(format!("vxlan-port {port}"));
            "vxlan"
        }
    };
    device.mtu.iter().for_each(|mtu| say(format!("mtu {mtu}")));
    // At boot either may come up first: a bridge that is not there yet is made, and its own stanza takes it as it is.
    if let Some(bridge) = &device.bridge {
        say(format!(
            "pre-up ip link show dev {bridge} >/dev/null 2>&1 || ip link add name {bridge} type bridge"
        ));
        say(format!("post-up ip link set dev {name} master {bridge}"));
    }
    File::new(path(&format!("{FOLDER}/okd-{kind}-{name}")), 0o644, out)
}

/// ifupdown2's own parser over the staged stanza. It tells errors and ends well; its `--syntax-check` takes words such as
/// `bridge-ports none` for wrong that it obeys.
pub(super) fn check(want: &State, world: &dyn System) -> Result<(), ResourceError> {
    let stanzas = want.files.iter().filter(|file| file.path.as_str() != MAIN);
    for file in stanzas {
        let staged = format!("{{stage}}{}", file.path);
        let argv = ["ifquery", "-a", "-i", &staged];
        let mut probe = Probe::new(format!("check:{}", file.path), &argv);
        probe.stage = vec![Staged {
            path: file.path.as_str().trim_start_matches('/').to_owned(),
            bytes: file.bytes.clone(),
        }];
        let answer = world.probe(&probe)?;
        // What listens to the kernel may stumble when it is told to end; that says nothing of the file.
        let of_file = |line: &str| line.starts_with("error:") && !line.contains("recv() error");
        let told = answer.error_text().lines().any(of_file);
        if (told || !answer.success()) && answer.rc != Answer::NO_PROGRAM {
            let words = answer.error_text() + &answer.text();
            let first = words
                .lines()
                .map(str::trim)
                .find(|line| !line.is_empty())
                .unwrap_or("it does not say why");
            return Err(ResourceError::command(
                format!("ifupdown2 refuses {}: {first}", file.path),
                &probe.argv,
                &answer,
            ));
        }
    }
    Ok(())
}

pub(super) fn up(device: &Device) -> String {
    // Its lock lies in a folder that networking.service makes.
    format!("mkdir -p /run/network\nifup {}\n", device.name)
}

pub(super) fn down(name: &str) -> String {
    format!("mkdir -p /run/network\nifdown {name} 2>/dev/null || :\n")
}
