//! Bridges and tunnels that a run made, changed or took away.
//!
//! A device and the files that make it at boot are taken back both or neither: half of it would be another device after the
//! next boot.

use super::{Deeds, State, moved_since};
use crate::diff::Change;
use crate::path::AbsPath;
use crate::resource::device::back;
use crate::resource::device::kernel::{self, Kernel};
use crate::resource::device::{Backend, MAIN, kernel_changes, maker, program};
use crate::resource::{Failure, ResourceError, acting};
use crate::system::guard::DEVICE;
use crate::system::journal::{Deed, Record};
use crate::system::{Action, Answer, Effect, FileKind, System};
use serde::Serialize;
use std::thread::sleep;
use std::time::{Duration, Instant};

pub(super) const KIND: &str = "device:";

/// A device that the run changed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct DeviceSpot {
    name: String,
    pub(super) now: Option<Kernel>,
    pub(super) before: Option<Kernel>,
    /// What was said of it before.
    text: String,
    /// What makes it at boot.
    backend: Option<Backend>,
}

/// The devices of a run that are to be taken back, in the order in which the run changed them first; the others are left.
pub(super) fn look(
    deeds: &Deeds<'_>,
    records: &[Record],
    force: bool,
    left: &mut Vec<(String, String)>,
    world: &dyn System,
) -> Result<Vec<DeviceSpot>, ResourceError> {
    let names = deeds.named(KIND);
    let mut spots = Vec::new();
    for name in &names {
        let key = format!("{KIND}{name}");
        let known = deeds.before(&key).map(|(_, answer)| answer.text());
        let parsed = known.as_deref().and_then(|text| kernel::parse(text, None));
        let (Some(text), Some(mut before)) = (known, parsed) else {
            left.push(((*name).to_owned(), "what it was is not kept".to_owned()));
            continue;
        };
        let answer = world.probe(&kernel::question(&key, name))?;
        let Some(mut now) = kernel::parse(&answer.text(), None) else {
            left.push(((*name).to_owned(), "it cannot be asked".to_owned()));
            continue;
        };
        let after = deeds.found(&key).and_then(|answer| kernel::parse(&answer.text(), None));
        let ran = after.as_ref().and_then(Option::as_ref).map(|kernel| &kernel.ports);
        let own = before.as_ref().map(|kernel| kernel.ports.clone()).unwrap_or_default();
        // What has joined from its own side is not of the run.
        if let Some(now) = &mut now {
            now.ports
                .retain(|port| own.contains(port) || ran.is_some_and(|ran| ran.contains(port)));
        }
        if let Some(before) = &mut before {
            let mut ports = Vec::new();
            for port in std::mem::take(&mut before.ports) {
                if comes(deeds, &port) || is_there(&port, world)? {
                    ports.push(port);
                }
            }
            before.ports = ports;
        }
        if now == before {
            continue;
        }
        let moved = after.as_ref().and_then(|after| moved(now.as_ref(), after.as_ref()));
        if let Some(moved) = moved.filter(|_| !force) {
            left.push(((*name).to_owned(), moved_since(Some(moved))));
            continue;
        }
        spots.push(DeviceSpot {
            backend: made_by(name, records, world),
            name: (*name).to_owned(),
            now,
            before,
            text,
        });
    }
    if !spots.is_empty() && !force {
        let carrying = kernel::carrying(world)?;
        spots.retain(|spot| match spot.all().into_iter().find(|name| carrying.contains(name)) {
            Some(carries) => {
                let why = format!(
                    "{carries} carries an SSH connection to this host, perhaps ours, and this would cut it; --force takes it back all the same"
                );
                left.push((spot.name.clone(), why));
                false
            }
            None => true,
        });
    }
    Ok(spots)
}

/// Whether the run changed a device that was there.
fn comes(deeds: &Deeds<'_>, name: &str) -> bool {
    let before = deeds.before(&format!("{KIND}{name}"));
    before.is_some_and(|(_, answer)| matches!(kernel::parse(&answer.text(), None), Some(Some(_))))
}

/// Whether the kernel has an interface; one that cannot be looked for is there.
fn is_there(name: &str, world: &dyn System) -> Result<bool, ResourceError> {
    let Ok(all) = AbsPath::new("/sys/class/net") else {
        return Ok(true);
    };
    Ok(world.stat(&all)?.is_none() || world.stat(&all.join(name))?.is_some())
}

/// How a device is not as the run has left it, as far as the run said what it should be.
fn moved(now: Option<&Kernel>, after: Option<&Kernel>) -> Option<&'static str> {
    let (now, after) = match (now, after) {
        (Some(now), Some(after)) => (now, after),
        (None, None) => return None,
        (None, Some(_)) => return Some("it is not there"),
        (Some(_), None) => return Some("it is there again"),
    };
    let parts = [
        (now.up == after.up, "whether it is up"),
        (after.mtu.is_none() || now.mtu == after.mtu, "its MTU"),
        (after.bridge.is_none() || now.bridge == after.bridge, "its bridge"),
        (
            after.addresses.is_none() || now.addresses == after.addresses,
            "its addresses",
        ),
        (after.stp.is_none() || now.stp == after.stp, "whether it speaks STP"),
        (after.ports.iter().all(|port| now.ports.contains(port)), "its ports"),
        (now.tunnel == after.tunnel, "its tunnel"),
    ];
    parts.iter().find(|(same, _)| !same).map(|(_, word)| *word)
}

/// What makes a device at boot: whose files the run touched for it, else what runs on the host.
fn made_by(name: &str, records: &[Record], world: &dyn System) -> Option<Backend> {
    let touched = records.iter().find_map(|record| match &record.deed {
        Deed::Paths(touched) => touched.iter().find_map(|touch| maker(&touch.path, name)),
        _ => None,
    });
    touched.or_else(|| program(Backend::Auto, world).ok())
}

/// Keeps devices and their files together; what stays of one lets all of it stay.
pub(super) fn together(state: &mut State, names: &[&str]) {
    let stays = |state: &State, name: &str| {
        let of_it = |what: &String| what == name || AbsPath::new(what).is_ok_and(|path| maker(&path, name).is_some());
        state.left.iter().any(|(what, _)| of_it(what))
    };
    for name in names.iter().filter(|name| stays(state, name)).collect::<Vec<_>>() {
        if let Some(at) = state.devices.iter().position(|spot| spot.name == **name) {
            state.devices.remove(at);
            state
                .left
                .push(((*name).to_string(), "a file that makes it stays".to_owned()));
        }
        let made: Vec<Option<Backend>> = state.paths.iter().map(|spot| maker(&spot.path, name)).collect();
        let main = made.contains(&Some(Backend::Ifupdown2));
        let stay: Vec<AbsPath> = (state.paths.iter().zip(&made))
            .filter(|(spot, made)| made.is_some() || (main && spot.path.as_str() == MAIN))
            .map(|(spot, _)| spot.path.clone())
            .collect();
        state.paths.retain(|spot| {
            let folder = spot.is_new(FileKind::Directory) && stay.iter().any(|path| path.is_within(&spot.path));
            if stay.contains(&spot.path) || folder {
                state
                    .left
                    .push((spot.path.to_string(), format!("{name} stays, which it makes")));
                return false;
            }
            true
        });
    }
}

impl DeviceSpot {
    /// It and all ports that it has or had.
    fn all(&self) -> Vec<String> {
        let mut all = vec![self.name.clone()];
        for kernel in self.now.iter().chain(&self.before) {
            for port in &kernel.ports {
                if !all.contains(port) {
                    all.push(port.clone());
                }
            }
        }
        all
    }

    /// Ports that it has and had not.
    fn freed(&self) -> Vec<String> {
        let had = |port: &&String| self.before.as_ref().is_some_and(|before| before.ports.contains(port));
        let now = self.now.iter().flat_map(|now| &now.ports);
        now.filter(|port| !had(port)).cloned().collect()
    }

    /// Whether it has to be made anew.
    fn anew(&self) -> bool {
        match (&self.now, &self.before) {
            (Some(now), Some(before)) => !now.can_become(before),
            _ => false,
        }
    }

    /// Says what will become of it.
    fn announce(&self, world: &dyn System) -> Result<(), ResourceError> {
        let text = Answer::ok(self.text.clone());
        self.run(":", Effect::predicts(format!("{KIND}{}", self.name), text), world)
    }

    fn act(&self, script: &str, world: &dyn System) -> Result<(), ResourceError> {
        self.run(script, Effect::none(), world)
    }

    /// Runs a script that changes the device; the guard knows it by its name.
    fn run(&self, script: &str, effect: Effect, world: &dyn System) -> Result<(), ResourceError> {
        let mut action = Action::new(&["/bin/sh", "-c", script, DEVICE, &self.name], effect);
        action.timeout = Some(120);
        acting::run(world, &action).map(drop)
    }

    /// Takes it away, which was not there, and lets its ports be what they are without it. That is one command, so that it is
    /// done to its end where the machine is reached by one of them.
    fn go(&self, world: &dyn System) -> Result<(), ResourceError> {
        let freed = self.freed().join(" ");
        let script = back::down(&self.name, self.backend) + &back::reread(self.backend, &freed);
        self.act(&script, world)
    }

    /// Has its program bring it up, which was there.
    fn come(&self, world: &dyn System) -> Result<(), ResourceError> {
        let again = match self.anew() {
            true => back::down(&self.name, self.backend),
            false => String::new(),
        };
        // A port that stays one gets nothing of its own by ifupdown2.
        let interfaces = match self.backend {
            Some(Backend::Ifupdown2) => [vec![self.name.clone()], self.freed()].concat(),
            _ => self.all(),
        };
        let up = back::up(&self.name, self.backend, &interfaces.join(" "));
        self.act(&format!("{again}{up}"), world)
    }

    /// What its program has not done of it.
    fn by_hand(&self, world: &dyn System) -> Result<(), ResourceError> {
        let script = match &self.before {
            Some(was) => back::by_hand(&self.name, was, &self.text, &self.freed()),
            None => back::down(&self.name, None),
        };
        self.act(&script, world)
    }

    pub(super) fn changes(&self, want: &DeviceSpot, changes: &mut Vec<Change>) {
        kernel_changes(&self.name, self.now.as_ref(), want.now.as_ref(), changes);
    }
}

/// Whether a unit is a program that makes devices.
pub(super) fn makes(unit: &str) -> bool {
    [
        "NetworkManager.service",
        "systemd-networkd.service",
        "networking.service",
    ]
    .contains(&unit)
}

/// Has all devices kept as they are now, and the guard set up, before anything changes.
pub(super) fn announce(spots: &[DeviceSpot], world: &dyn System) -> Result<(), ResourceError> {
    spots.iter().try_for_each(|spot| spot.announce(world))
}

/// Has programs read the files that are back, and brings all to what it was.
pub(super) fn up(spots: &[DeviceSpot], world: &dyn System) -> Result<(), ResourceError> {
    let gone = |spot: &&DeviceSpot| spot.before.is_none();
    for spot in spots.iter().rev().filter(gone) {
        spot.go(world)?;
    }
    // Tunnels join bridges.
    let tunnel = |spot: &&DeviceSpot| spot.before.as_ref().is_some_and(|before| before.tunnel.is_some());
    let (tunnels, others): (Vec<_>, Vec<_>) = spots.iter().partition(tunnel);
    let all: Vec<&DeviceSpot> = others.into_iter().chain(tunnels).collect();
    for spot in all.iter().filter(|spot| !gone(spot)) {
        spot.come(world)?;
    }
    if world.predicted() {
        return Ok(());
    }
    settle(&all, world)
}

/// So long a program is left to do its work alone.
const SOON: Duration = Duration::from_secs(3);
/// So long all may take to be what it was.
const DEADLINE: Duration = Duration::from_secs(30);
/// So often all is seen to be what it was before that is believed: one device may move another one, and programs go on by
/// themselves.
const CALM: u32 = 4;

fn settle(all: &[&DeviceSpot], world: &dyn System) -> Result<(), ResourceError> {
    let (begun, mut since, mut calm) = (Instant::now(), Instant::now(), 0);
    for attempt in 0.. {
        let mut differing = Vec::new();
        for spot in all {
            let key = format!("look:{attempt}:{}", spot.name);
            if let Some(how) = back::differs(&spot.name, spot.before.as_ref(), &spot.all(), &key, world)? {
                differing.push((spot, how));
            }
        }
        calm = if differing.is_empty() { calm + 1 } else { 0 };
        if calm == CALM || all.is_empty() {
            break;
        }
        if let Some((spot, how)) = differing.first().filter(|_| begun.elapsed() > DEADLINE) {
            return Err(ResourceError::Failed(Box::new(Failure {
                message: format!("{} was brought back, and is not what it was: {how}", spot.name),
                ..Failure::default()
            })));
        }
        if !differing.is_empty() && since.elapsed() > SOON {
            since = Instant::now();
            differing.iter().try_for_each(|(spot, _)| spot.by_hand(world))?;
        }
        sleep(PAUSE);
    }
    Ok(())
}

const PAUSE: Duration = Duration::from_millis(if cfg!(test) { 1 } else { 300 });

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use crate::resource::bridge::Bridge;
    use crate::resource::content::given;
    use crate::resource::device::tests::host;
    use crate::resource::undo::Undo;
    use crate::resource::{Outcome, converge};
    use crate::system::fake::Fake;
    use crate::system::journal::Journal;
    use crate::system::{Answer, System};
    use std::sync::Arc;

    /// A host on which a run has made a bridge.
    fn made(program: &str) -> Arc<Fake> {
        let host = host(program)
            .dir("/var/lib")
            .file("/etc/network/interfaces", "auto lo\n")
            .fact("device:br0", Answer::ok("absent\n"));
        let host = Arc::new(host);
        let journal = Journal::new(host.clone());
        journal.begin("run");
        let bridge = given::<Bridge>(&[("name", "br0"), ("ports", "eth1")]);
        converge(&bridge, &journal as &(dyn System + 'static), None).unwrap();
        host
    }

    fn undone(host: Fake, force: bool) -> (Fake, Outcome) {
        let run = "run".to_owned();
        let outcome = converge(&Undo { run, force, ledger: 0 }, &host as &(dyn System + 'static), None).unwrap();
        (host, outcome)
    }

    fn left(outcome: &Outcome) -> String {
        format!("{:?}", outcome.result.get("left"))
    }

    #[test]
    fn what_carries_us_is_left_with_all_that_makes_it() {
        for (program, files) in [
            ("networkd", &["/etc/systemd/network/50-okd-br0.netdev"][..]),
            (
                "ifupdown2",
                &["/etc/network/interfaces", "/etc/network/interfaces.d/okd-bridge-br0"],
            ),
            (
                "networkmanager",
                &["/etc/NetworkManager/system-connections/okd-br0-port-eth1.nmconnection"],
            ),
        ] {
            let with_ssh = |device: &str| Fake::from_data(made(program).data()).fact("look:0:ssh", Answer::ok(device));
            for device in ["br0\n", "eth1\n"] {
                let (host, outcome) = undone(with_ssh(device), false);
                assert!(outcome.diff.is_empty(), "{:?}", outcome.diff);
                for file in files {
                    assert!(left(&outcome).contains(&format!("{file:?}")), "{}", left(&outcome));
                    assert!(host.text(file).unwrap().contains("okd-play") || file.ends_with("interfaces"));
                }
                assert!(
                    left(&outcome).contains("carries an SSH connection"),
                    "{}",
                    left(&outcome)
                );
            }
            let (host, outcome) = undone(with_ssh("br0\n"), true);
            assert_eq!(left(&outcome), "Some(List([]))");
            assert!(
                files
                    .iter()
                    .all(|file| host.text(file).is_none_or(|text| text == "auto lo\n"))
            );
        }
    }

    #[test]
    fn what_somebody_has_changed_or_whose_file_is_changed_is_left() {
        let device = Fake::from_data(made("networkd").data()).fact("device:br0", Answer::ok("absent\n"));
        let (host, outcome) = undone(device, false);
        assert!(
            host.text("/etc/systemd/network/50-okd-br0.netdev").is_none(),
            "it is as it was before"
        );
        assert_eq!(left(&outcome), "Some(List([]))");
        let down = r#"[{"ifname":"br0","flags":[],"mtu":1500,"linkinfo":{"info_kind":"bridge","info_data":{}}}]"#;
        let device =
            Fake::from_data(made("networkd").data()).fact("device:br0", Answer::ok(format!("{down}\n[]\n[]\n[]\n")));
        let (_, outcome) = undone(device, false);
        assert!(
            left(&outcome).contains("it was changed since, whether it is up"),
            "{}",
            left(&outcome)
        );
        assert!(outcome.diff.is_empty(), "{:?}", outcome.diff);
        let file = Fake::from_data(made("networkd").data()).file("/etc/systemd/network/50-okd-br0.network", "theirs\n");
        let (host, outcome) = undone(file, false);
        assert!(
            left(&outcome).contains("a file that makes it stays"),
            "{}",
            left(&outcome)
        );
        assert!(outcome.diff.is_empty() && host.text("/etc/systemd/network/50-okd-br0.netdev").is_some());
    }
}
