//! A virtual network device: a bridge or a tunnel, in the files of the program that makes it at boot, and in the kernel now.
//! What `bridge` and `vxlan` have in common.

pub(super) mod back;
mod ifupdown2;
pub(super) mod kernel;
mod networkd;
mod networkmanager;

pub(super) use ifupdown2::MAIN;
use kernel::Kernel;

use super::acting::run;
use super::file::make_directories;
use super::layout::path;
use super::systemd::{Manager, show};
use super::{Failure, ResourceError, View};
use crate::choice;
use crate::diff::{Change, text};
use crate::order::{sort, sort_by};
use crate::path::AbsPath;
use crate::system::{Action, Answer, Effect, FileWrite, Probe, Removal, System};
use crate::value::{Map, Value, map};
use serde::Serialize;

choice! {
    /// Which program makes the device at boot.
    pub enum Backend {
        /// The one that runs: NetworkManager, else systemd-networkd, else ifupdown2 where it is installed.
        Auto = "auto",
        /// NetworkManager, by keyfiles.
        Networkmanager = "networkmanager",
        /// systemd-networkd.
        Networkd = "networkd",
        /// ifupdown2, as on Proxmox VE.
        Ifupdown2 = "ifupdown2",
    }
}

choice! {
    /// Whether the device is there.
    pub enum Presence {
        /// It is.
        Present = "present",
        /// It is not.
        Absent = "absent",
    }
}

/// A device as it should be.
#[derive(Debug, Clone)]
pub(crate) struct Device {
    pub(crate) name: String,
    pub(crate) mtu: Option<u16>,
    /// With their networks' lengths.
    pub(crate) addresses: Vec<String>,
    pub(crate) gateway: Option<String>,
    /// The bridge that it is a port of.
    pub(crate) bridge: Option<String>,
    pub(crate) shape: Shape,
}

/// What makes one device unlike another.
#[derive(Debug, Clone)]
pub(crate) enum Shape {
    Bridge {
        stp: bool,
        /// Network cards in it; what joins from its own side is not among them.
        ports: Vec<String>,
    },
    Vxlan {
        id: u32,
        local: String,
        remotes: Vec<String>,
        port: u16,
    },
}

/// A file that makes a device at boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct File {
    path: AbsPath,
    bytes: Vec<u8>,
    mode: u32,
}

impl File {
    fn new(path: AbsPath, mode: u32, text: String) -> Self {
        File {
            path,
            bytes: text.into_bytes(),
            mode,
        }
    }
}

/// What can be seen of a device.
#[derive(Debug, Clone, Serialize)]
pub struct State {
    name: String,
    backend: Backend,
    files: Vec<File>,
    /// `None` where the kernel has no such device.
    kernel: Option<Kernel>,
    /// The device that a tunnel's packets leave by, and its MTU.
    pub(crate) underlay: Option<(String, u16)>,
    /// Interfaces that carry somebody's SSH connection.
    #[serde(skip)]
    pub(crate) carrying: Vec<String>,
}

impl View for State {
    fn changes(&self, want: &Self) -> Vec<Change> {
        let file = |files: &[File], path: &AbsPath| files.iter().find(|file| file.path == *path).cloned();
        let mut paths: Vec<&AbsPath> = self.files.iter().chain(&want.files).map(|file| &file.path).collect();
        sort(&mut paths);
        paths.dedup();
        let mut changes = Vec::new();
        for path in paths {
            let (now, want) = (file(&self.files, path), file(&want.files, path));
            let bytes = |file: &Option<File>| file.as_ref().map(|file| file.bytes.clone());
            let note = want
                .as_ref()
                .map(|file| format!("{:04o} root:root", file.mode))
                .unwrap_or_default();
            changes.extend(text(
                path.as_str(),
                bytes(&now).as_deref(),
                bytes(&want).as_deref(),
                &note,
            ));
            if let (Some(now), Some(want)) = (&now, &want)
                && now.mode != want.mode
            {
                changes.push(field(
                    path.as_str(),
                    "mode",
                    format!("{:04o}", now.mode),
                    format!("{:04o}", want.mode),
                ));
            }
        }
        kernel_changes(&self.name, self.kernel.as_ref(), want.kernel.as_ref(), &mut changes);
        changes
    }
}

/// How the kernel's device becomes another one.
pub(super) fn kernel_changes(name: &str, now: Option<&Kernel>, want: Option<&Kernel>, changes: &mut Vec<Change>) {
    let state = |kernel: Option<&Kernel>| if kernel.is_some() { "present" } else { "absent" }.to_owned();
    if now.is_some() != want.is_some() {
        changes.push(field(name, "state", state(now), state(want)));
    }
    let Some(want) = want else { return };
    for (word, value) in want.fields() {
        let before = now.and_then(|now| now.fields().find(|(own, _)| *own == word));
        let before = before.map(|(_, before)| before);
        if before.as_ref() != Some(&value) {
            changes.push(field(name, word, before.unwrap_or_default(), value));
        }
    }
}

fn field(of: &str, name: &str, before: String, after: String) -> Change {
    Change::Field {
        of: of.to_owned(),
        name: name.to_owned(),
        before,
        after,
    }
}

impl State {
    /// Whether anything about it is not as wanted.
    pub(crate) fn differs(&self, want: &State) -> bool {
        !self.changes(want).is_empty()
    }

    /// Whether the kernel has it as wanted.
    #[cfg(test)]
    pub(crate) fn same_device(&self, want: &State) -> bool {
        self.kernel == want.kernel
    }

    /// Whether the device is in the kernel, and has this port.
    pub(crate) fn has_port(&self, name: &str) -> bool {
        self.kernel
            .as_ref()
            .is_some_and(|kernel| kernel.ports.iter().any(|port| port == name))
    }

    /// What `register` holds.
    pub(crate) fn result(&self) -> Map {
        let mtu = self.kernel.as_ref().and_then(|kernel| kernel.mtu);
        map([
            ("name", self.name.as_str().into()),
            ("backend", self.backend.word().into()),
            ("mtu", mtu.map_or(Value::Null, |mtu| Value::Int(mtu.into()))),
            (
                "files",
                self.files
                    .iter()
                    .map(|file| file.path.to_string())
                    .collect::<Vec<_>>()
                    .into(),
            ),
        ])
    }
}

/// Which program makes devices on this host.
pub(super) fn program(asked: Backend, world: &dyn System) -> Result<Backend, ResourceError> {
    let runs = |unit: &str| show(unit, Manager::System, world).is_ok_and(|unit| unit.runs());
    let ifreload = world.stat(&path("/usr/share/ifupdown2"))?.is_some()
        || world.promised().iter().any(|package| package == "ifupdown2");
    let (manager, networkd) = ("NetworkManager.service", "systemd-networkd.service");
    let missing = match asked {
        Backend::Auto if runs(manager) => return Ok(Backend::Networkmanager),
        Backend::Auto if runs(networkd) => return Ok(Backend::Networkd),
        Backend::Auto if ifreload => return Ok(Backend::Ifupdown2),
        Backend::Networkmanager if runs(manager) => return Ok(asked),
        Backend::Networkd if runs(networkd) => return Ok(asked),
        Backend::Ifupdown2 if ifreload => return Ok(asked),
        Backend::Auto => {
            "neither NetworkManager nor systemd-networkd runs on this host, and ifupdown2 is not installed"
        }
        Backend::Networkmanager => "NetworkManager does not run on this host; start it first",
        Backend::Networkd => "systemd-networkd does not run on this host; start it first",
        Backend::Ifupdown2 => "ifupdown2 is not installed on this host",
    };
    Err(ResourceError::message(missing))
}

/// The program that a file makes a device with this name by; `None` for one that makes another, or none.
pub(super) fn maker(file: &AbsPath, name: &str) -> Option<Backend> {
    let folder = file.parent()?;
    let (backend, prefix) = match folder.as_str() {
        ifupdown2::FOLDER => {
            let rest = file.name().strip_prefix("okd-")?;
            let (kind, own) = rest.split_once('-')?;
            return (["bridge", "vxlan"].contains(&kind) && own == name).then_some(Backend::Ifupdown2);
        }
        folder if networkmanager::FOLDERS.contains(&folder) => (Backend::Networkmanager, networkmanager::prefix(name)),
        folder if networkd::FOLDERS.contains(&folder) => (Backend::Networkd, networkd::prefix(name)),
        _ => return None,
    };
    let rest = file.name().strip_prefix(&prefix)?;
    let own = ["", ".nmconnection", ".netdev", ".network"].contains(&rest) || rest.starts_with("-port-");
    own.then_some(backend)
}

/// The files of a device.
fn files(device: &Device, backend: Backend, world: &dyn System) -> Result<Vec<File>, ResourceError> {
    Ok(match backend {
        Backend::Networkmanager => networkmanager::files(device),
        Backend::Networkd => networkd::files(device),
        Backend::Auto | Backend::Ifupdown2 => ifupdown2::files(device, world)?,
    })
}

/// Above this no configuration file is read.
const FILE_LIMIT: u64 = 1 << 20;

/// Looks at a device, in its program's files and in the kernel.
pub(crate) fn inspect(device: &Device, asked: Backend, world: &dyn System) -> Result<State, ResourceError> {
    let backend = program(asked, world)?;
    let mut paths: Vec<AbsPath> = files(device, backend, world)?
        .into_iter()
        .map(|file| file.path)
        .collect();
    let folders = match backend {
        Backend::Networkmanager => networkmanager::FOLDERS,
        Backend::Networkd => networkd::FOLDERS,
        Backend::Auto | Backend::Ifupdown2 => &[],
    };
    for folder in folders {
        let folder = path(folder);
        let entries = world.list(&folder)?.into_iter().map(|entry| folder.join(&entry.name));
        paths.extend(entries.filter(|path| maker(path, &device.name).is_some()));
    }
    sort(&mut paths);
    paths.dedup();
    let mut seen = Vec::new();
    for path in paths {
        if let (Some(meta), Some(bytes)) = (world.stat(&path)?, world.read(&path, FILE_LIMIT)?) {
            seen.push(File {
                path,
                bytes,
                mode: meta.mode,
            });
        }
    }
    Ok(State {
        name: device.name.clone(),
        backend,
        files: seen,
        kernel: kernel::look(device, &kernel::key(&device.name), world)?.flatten(),
        underlay: None,
        carrying: kernel::carrying(world)?,
    })
}

/// What a device should be like.
pub(crate) fn desire(device: &Device, presence: Presence, now: &State) -> State {
    let present = presence == Presence::Present;
    let mut files = if present { wanted_files(device, now) } else { Vec::new() };
    if !present {
        // The line that reads our folder stays: others may have come to need it.
        files.extend(
            now.files
                .iter()
                .filter(|file| file.path.as_str() == ifupdown2::MAIN)
                .cloned(),
        );
    }
    sort_by(&mut files, |one, other| one.path.cmp(&other.path));
    let kernel = present.then(|| Kernel::wanted(device));
    State {
        files,
        kernel,
        ..now.clone()
    }
}

/// The files of a device as they should be, by what is there now.
fn wanted_files(device: &Device, now: &State) -> Vec<File> {
    match now.backend {
        Backend::Networkmanager => networkmanager::files_with(device, &now.files),
        Backend::Networkd => networkd::files(device),
        Backend::Auto | Backend::Ifupdown2 => {
            let main = now.files.iter().find(|file| file.path.as_str() == ifupdown2::MAIN);
            ifupdown2::files_with(device, main.map(|file| file.bytes.as_slice()))
        }
    }
}

/// Brings a device there, now and at boot; where that fails, its old files go back.
pub(crate) fn apply(device: &Device, now: &State, want: &State, world: &dyn System) -> Result<Map, ResourceError> {
    if want.kernel.is_none() {
        take_down(device, now, world)?;
        put(now, want, world)?;
        reload(device, now.backend, world)?;
        return Ok(Map::new());
    }
    let done = check(now, want, world)
        .and_then(|()| put(now, want, world))
        .and_then(|()| bring_up(device, now, want, world));
    let Err(error) = done else { return Ok(Map::new()) };
    let ResourceError::Failed(mut failure) = error else {
        return Err(error);
    };
    let back = put(want, now, world).and_then(|()| match now.kernel {
        Some(_) if !now.files.is_empty() => act(device, script(device, now, false), None, world),
        Some(_) => Ok(()),
        None => take_down(device, now, world).and_then(|()| reload(device, now.backend, world)),
    });
    failure.kept = match back {
        Ok(()) => "the old files were put back, and the device is as it was".to_owned(),
        Err(trouble) => format!("putting the old files back failed too: {trouble}"),
    };
    Err(ResourceError::Failed(failure))
}

fn put(from: &State, to: &State, world: &dyn System) -> Result<(), ResourceError> {
    for file in &to.files {
        if from.files.contains(file) {
            continue;
        }
        if let Some(folder) = file.path.parent() {
            make_directories(&folder, 0o755, world)?;
        }
        let (owner, group) = (Some("root".to_owned()), Some("root".to_owned()));
        world.write(&FileWrite {
            mode: Some(file.mode),
            owner,
            group,
            ..FileWrite::new(file.path.clone(), file.bytes.clone())
        })?;
    }
    for file in from
        .files
        .iter()
        .filter(|file| !to.files.iter().any(|other| other.path == file.path))
    {
        world.remove(&file.path, Removal::File)?;
    }
    Ok(())
}

fn check(now: &State, want: &State, world: &dyn System) -> Result<(), ResourceError> {
    if now.backend == Backend::Ifupdown2 {
        ifupdown2::check(want, world)
    } else {
        Ok(())
    }
}

fn script(device: &Device, now: &State, anew: bool) -> String {
    let again = if anew {
        format!("ip link delete {} 2>/dev/null || :\n", device.name)
    } else {
        String::new()
    };
    let up = match now.backend {
        Backend::Networkmanager => networkmanager::up(device, anew),
        Backend::Networkd => again + &networkd::up(device),
        Backend::Auto | Backend::Ifupdown2 => again + &ifupdown2::up(device),
    };
    format!("set -e\n{up}{}", kernel::flood(device))
}

/// Runs a script of ours, after which the device will be as told.
fn act(device: &Device, script: String, after: Option<String>, world: &dyn System) -> Result<(), ResourceError> {
    let effect = match after {
        Some(after) => Effect::predicts(kernel::key(&device.name), Answer::ok(after)),
        None => Effect::none(),
    };
    let mut action = Action::new(&["/bin/sh", "-c", &script], effect);
    action.timeout = Some(60);
    run(world, &action).map(|_| ()).map_err(|error| match error {
        ResourceError::Failed(mut failure) => {
            failure.message = failure
                .message
                .replacen("sh: ", &format!("{} does not come up: ", device.name), 1);
            ResourceError::Failed(failure)
        }
        other => other,
    })
}

fn bring_up(device: &Device, now: &State, want: &State, world: &dyn System) -> Result<(), ResourceError> {
    let Some(wanted) = &want.kernel else { return Ok(()) };
    let anew = now.kernel.as_ref().is_some_and(|kernel| !kernel.can_become(wanted));
    act(device, script(device, now, anew), Some(wanted.canonical()), world)?;
    kernel::settle(device, wanted, world)
}

fn take_down(device: &Device, now: &State, world: &dyn System) -> Result<(), ResourceError> {
    let down = match now.backend {
        Backend::Networkmanager => networkmanager::down(&device.name),
        Backend::Networkd => String::new(),
        Backend::Auto | Backend::Ifupdown2 => ifupdown2::down(&device.name),
    };
    act(
        device,
        format!("{down}ip link delete {} 2>/dev/null || :\n", device.name),
        Some(kernel::ABSENT.to_owned()),
        world,
    )
}

fn reload(device: &Device, backend: Backend, world: &dyn System) -> Result<(), ResourceError> {
    let script = match backend {
        Backend::Networkmanager => "nmcli connection reload\n",
        Backend::Networkd => "networkctl reload\n",
        Backend::Auto | Backend::Ifupdown2 => return Ok(()),
    };
    act(device, script.to_owned(), None, world)
}

/// What is wrong with an interface's name; see IFNAMSIZ in netdevice(7).
pub(crate) fn bad_name(name: &str) -> Option<String> {
    let good = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let fits = !name.is_empty() && name.len() < 16 && name.chars().all(good) && !name.starts_with('.');
    (!fits)
        .then(|| format!("`{name}` is not an interface's name, which has up to 15 letters, digits, `.`, `_` and `-`"))
}

/// Refuses to touch an interface that carries an SSH connection.
pub(crate) fn cut_off(interface: &str) -> ResourceError {
    ResourceError::Failed(Box::new(Failure {
        message: format!(
            "{interface} carries an SSH connection to this host, perhaps ours, and this would cut it; `force: true` does it all the same"
        ),
        kept: "nothing was touched".to_owned(),
        ..Failure::default()
    }))
}

/// Asks which device packets to an address leave by, and its MTU; and whether an address is this host's.
pub(crate) fn underlay(
    remote: &str,
    local: &str,
    world: &dyn System,
) -> Result<(Option<(String, u16)>, bool), ResourceError> {
    const ASK: &str = r#"
dev=$(ip -o route get "$1" 2>/dev/null | sed -n 's/.* dev \([^ ]*\).*/\1/p')
echo "$dev $(cat "/sys/class/net/$dev/mtu" 2>/dev/null)"
ip -o addr show to "$2" 2>/dev/null
"#;
    let answer = world.probe(&Probe::new(
        format!("underlay:{remote}:{local}"),
        &["/bin/sh", "-c", ASK, "sh", remote, local],
    ))?;
    let text = answer.text();
    let first = text.lines().next().and_then(|line| line.split_once(' '));
    let underlay = first.and_then(|(name, mtu)| Some((name.to_owned(), mtu.trim().parse().ok()?)));
    Ok((underlay, text.lines().count() > 1))
}

#[cfg(test)]
pub(crate) mod tests {
    //! Hosts for the tests of both kinds.

    use super::Backend;
    use crate::system::Answer;
    use crate::system::fake::Fake;

    pub(crate) const PROGRAMS: &[&str] = &["networkmanager", "networkd", "ifupdown2"];

    /// A host on which one of the programs runs.
    pub(crate) fn host(program: &str) -> Fake {
        let unit = |runs: bool| {
            let state = if runs { "active" } else { "inactive" };
            Answer::ok(format!("LoadState=loaded\nActiveState={state}\nSubState=x\n"))
        };
        let host = Fake::new()
            .fact(
                "unit:NetworkManager.service",
                unit(program == Backend::Networkmanager.word()),
            )
            .fact(
                "unit:systemd-networkd.service",
                unit(program == Backend::Networkd.word()),
            )
            .command(&["/bin/sh"], Answer::default())
            .checker("ifquery");
        if program == Backend::Ifupdown2.word() {
            host.dir("/usr/share/ifupdown2")
        } else {
            host
        }
    }
}
