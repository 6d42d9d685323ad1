//! The program that makes real what the stand-in only notes: bridges of a lab, and machines that run. What it is told is
//! described in `pve-stand-in`, the program that takes `--hook`.

use super::World;
use super::guest::{Guest, devices};
use super::task::Step;
use serde_json::{Map, Value as Json, json};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// What is applied on the node: interfaces, and what the software-defined network adds to them.
pub(super) fn network(world: &World) -> Json {
    json!({ "event": "network-apply", "node": world.node, "state_dir": world.state, "interfaces": world.net.told(),
        "vnets": world.sdn.told() })
}

/// A machine, as it is now or will be when it has started.
pub(super) fn machine(world: &World, event: &str, vmid: u64, guest: &Guest) -> Json {
    let config: Map<String, Json> = guest
        .config
        .iter()
        .map(|(name, value)| (name.clone(), value.as_str().into()))
        .collect();
    let (nets, drives) = devices(world, guest);
    let boot: Vec<&str> = guest
        .config
        .get("boot")
        .and_then(|boot| boot.strip_prefix("order="))
        .map(|order| order.split(';').collect())
        .unwrap_or_default();
    json!({ "event": event, "node": world.node, "state_dir": world.state, "vmid": vmid, "name": guest.name(vmid),
        "pid": guest.pid, "config": config, "nets": nets, "drives": drives, "boot": boot })
}

/// Calls the program with one object; gives the object that it prints, if any.
///
/// # Errors
/// When it cannot be started, or ends badly: the last line of what it said.
pub(super) fn call(program: &Path, said: &Json, log: &mut Vec<String>) -> Result<Json, String> {
    let event = said["event"].as_str().unwrap_or_default().to_owned();
    let failed = |error: std::io::Error| format!("hook {}: {error}", program.display());
    let mut child = Command::new(program)
        .arg(&event)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    if let Some(mut input) = child.stdin.take() {
        // One that does not read it has its reasons.
        let _ = input.write_all(format!("{said}\n").as_bytes());
    }
    let output = child.wait_with_output().map_err(failed)?;
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    log.extend(words.lines().map(str::to_owned));
    match output.status.success() {
        true => Ok(serde_json::from_slice(&output.stdout).unwrap_or(Json::Null)),
        false => {
            let last = words.lines().map(str::trim).rfind(|line| !line.is_empty());
            Err(last.map_or_else(|| format!("hook {event}: {}", output.status), str::to_owned))
        }
    }
}

/// Whether a process is there and no zombie.
pub(super) fn lives(pid: u64) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().next());
    state.is_some_and(|state| !matches!(state, "Z" | "X"))
}

impl World {
    /// Lets the hook do its part beside the server, and then the rest; without a hook the rest comes at once.
    pub(super) fn hooked(
        &self,
        said: Json,
        then: impl FnOnce(&mut World, &mut Vec<String>, Json) -> Result<(), String> + Send + 'static,
    ) -> Step {
        match self.hook.clone() {
            Some(program) => Step::aside(move |log| call(&program, &said, log), then),
            None => Step::Now(Box::new(then)),
        }
    }
}
