//! The lock-out guard: before a step changes what may cut this machine off, its state is kept and a watch set over it that
//! puts it back, unless the orchestrator comes by a new connection and confirms. Why it is so: docs/adr/0019-lock-out-guard.md.
//!
//! What is kept, the watch and the way back are one shell script in the guard's folder, so that it is the same by every
//! transport and outlives whoever set it up.

use super::{Action, Alter, Answer, Effect, Entry, FileWrite, Make, Meta, Probe, Removal, System, SystemError};
use crate::Stop;
use crate::path::AbsPath;
use crate::value::{Value, map};
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The script; the orchestrator sends it to a session before the first step that may need it.
pub const SCRIPT: &str = include_str!("guard/guard.sh");

/// Where guards have their folders.
pub const FOLDER: &str = "/var/lib/okd-play/guard";

/// The key under which a step's result says how it is guarded.
pub const KEY: &str = "okd_guard";

/// No more often is it said that a step is still at work.
const RENEW: Duration = Duration::from_secs(1);

/// How often it is looked whether others have decided.
const LOOKS: Duration = Duration::from_millis(200);

/// What the script ends with once it has put the machine back.
const GONE: i32 = 75;

/// How a step is to be guarded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guard {
    /// Names the guard's folder: one for a run and host.
    pub id: String,
    /// How long a change stands unconfirmed.
    pub seconds: u32,
    /// A step that cannot be guarded is refused.
    pub required: bool,
    /// Whatever a step changes is guarded.
    pub always: bool,
}

/// What a change may cut, as a kind knows it of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Risk {
    /// Filtering of packets.
    Firewall,
    /// The network, and this device of it, which is taken away again where it was not there.
    Device(String),
}

/// Ways into a machine, each kept and put back as a whole, as bits of a number. `login` is what is read at each login: keys,
/// sudo and PAM; `ssh` what sshd(8) reads when it starts.
const AREAS: [&str; 4] = ["login", "ssh", "firewall", "network"];
const LOGIN: u8 = 1;
const FIREWALL: u8 = 4;
const NETWORK: u8 = 8;
const ALL: u8 = 15;

/// How paths of each area begin.
const PATHS: [&str; 4] = [
    "/etc/sudoers /etc/pam.d/ /etc/hosts.allow /etc/hosts.deny",
    "/etc/ssh/",
    "/etc/firewalld/ /etc/nftables /etc/sysconfig/nftables /etc/iptables /etc/sysconfig/iptables /etc/sysconfig/ip6tables /etc/ufw/",
    "/etc/NetworkManager/ /etc/systemd/network/ /etc/network/ /etc/netplan/ /etc/sysconfig/network",
];

/// Units of each area, without their kind.
const UNITS: [&str; 4] = [
    "",
    "ssh sshd",
    "firewalld nftables iptables ip6tables netfilter-persistent ufw",
    "NetworkManager systemd-networkd networking network",
];

/// How a shell script is called, as its `$0`, that changes the device that its first argument names.
pub const DEVICE: &str = "okd-device";

/// What systemctl(1) does to a unit that can be felt at once.
const VERBS: &str = "start stop restart reload try-restart reload-or-restart try-reload-or-restart kill mask --now";

/// How options of firewall-cmd(1) begin that change what is let through.
const CHANGES: &str = "--add- --remove- --change- --new- --delete- --set- --reload --complete-reload --panic-";

fn names(list: &str) -> impl Iterator<Item = &str> {
    list.split(' ').filter(|name| !name.is_empty())
}

/// The areas one of whose names fits.
fn areas(lists: &[&'static str; 4], fits: &dyn Fn(&'static str) -> bool) -> u8 {
    let own = lists.iter().enumerate().filter(|(_, list)| names(list).any(fits));
    own.map(|(at, _)| 1 << at).sum()
}

/// The words of areas.
fn words(areas: u8) -> impl Iterator<Item = &'static str> {
    AREAS
        .into_iter()
        .enumerate()
        .filter(move |(at, _)| (areas >> at) & 1 == 1)
        .map(|(_, word)| word)
}

fn of_unit(unit: &str) -> u8 {
    let name = unit.split(['.', '@']).next().unwrap_or_default();
    areas(&UNITS, &|known| known == name)
}

/// The areas of a file.
fn of_path(path: &str) -> u8 {
    let dropped = path
        .strip_prefix("/etc/systemd/system/")
        .and_then(|rest| rest.split_once(".d/"));
    let keys = path.ends_with("/.ssh") || path.contains("/.ssh/");
    areas(&PATHS, &|begin| path.starts_with(begin))
        | dropped.map_or(0, |(unit, _)| of_unit(unit))
        | if keys { LOGIN } else { 0 }
}

/// The areas of a command that says by its words what it does.
fn of_command(argv: &[String]) -> u8 {
    let program = argv
        .first()
        .map_or("", |program| program.rsplit('/').next().unwrap_or(program));
    match program {
        "systemctl" if argv.iter().any(|word| names(VERBS).any(|verb| verb == word)) => {
            argv.iter().fold(0, |all, word| all | of_unit(word))
        }
        "firewall-cmd" | "firewall-offline-cmd"
            if argv
                .iter()
                .any(|word| names(CHANGES).any(|verb| word.starts_with(verb))) =>
        {
            FIREWALL
        }
        "sysctl" if parameters(argv).next().is_some() => NETWORK,
        _ if device(argv).is_some() => NETWORK,
        _ => 0,
    }
}

/// The device that a script changes; see [`DEVICE`].
fn device(argv: &[String]) -> Option<&String> {
    argv.get(4).filter(|_| argv.get(3).is_some_and(|name| name == DEVICE))
}

/// Parameters of the network that a command sets.
fn parameters(argv: &[String]) -> impl Iterator<Item = &str> {
    let names = argv.iter().filter_map(|word| word.split_once('='));
    names.map(|(name, _)| name).filter(|name| name.starts_with("net."))
}

/// Whether a message names anything that is guarded; it may also say so without meaning it.
#[must_use]
pub fn mentions<T: Serialize>(message: &T) -> bool {
    let bytes = postcard::to_stdvec(message).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let known = PATHS.into_iter().chain(UNITS).flat_map(names);
    text.len() > 1 << 20 || known.chain(["/.ssh", "net."]).any(|word| text.contains(word))
}

/// A session's part in the guards of its machine.
#[derive(Default)]
pub struct Post {
    script: Mutex<String>,
    /// The folder of the guard that this session has begun.
    begun: Mutex<Option<AbsPath>>,
}

impl Post {
    /// Takes [`SCRIPT`].
    pub fn learn(&self, script: String) {
        *lock(&self.script) = script;
    }

    /// The session is over: what is confirmed need not be kept any longer.
    pub fn leave(&self, machine: &dyn System) {
        if let Some(folder) = lock(&self.begun).take() {
            drop(machine.act(&script(&folder, "end")));
        }
    }
}

/// What a session waits for that [`others_decided`] keeps.
pub const OTHERS: &str = "what another run has changed there is put back unless that run confirms it";

/// Waits until no change of another run may still be put back: whoever found it as it should be would be wrong soon after.
/// `waits` is called where that takes time, and `stop` ends it. Only root sees guards.
pub fn others_decided(machine: &dyn System, stop: &Stop, waits: impl FnOnce()) {
    let mut waits = Some(waits);
    while !stop.is_set() && watched(machine) {
        if let Some(waits) = waits.take() {
            waits();
        }
        std::thread::sleep(LOOKS);
    }
}

/// Whether a guard may still put something back. One whose watch is gone, by a restart of the machine or by somebody who
/// stopped it, does not.
fn watched(machine: &dyn System) -> bool {
    let list = |path: AbsPath| machine.list(&path).unwrap_or_default();
    let Ok(all) = AbsPath::new(FOLDER) else { return false };
    let mut argv: Vec<String> = ["systemctl", "-q", "is-active"].map(str::to_owned).into();
    for id in list(all.clone()).into_iter().map(|entry| entry.name) {
        let files = list(all.join(&id));
        let has = |name: &str| files.iter().any(|file| file.name == name);
        let armed = files.iter().filter_map(|file| file.name.strip_prefix("areas."));
        let open = armed.filter(|n| !has("put-back") && !has(&format!("confirmed.{n}")));
        argv.extend(open.map(|n| format!("okd-play-guard-{id}-{n}.service")));
    }
    let active = Probe {
        argv,
        ..Probe::default()
    };
    active.argv.len() > 3 && machine.probe(&active).is_ok_and(|answer| answer.success())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A command to the script in a guard's folder.
fn script(folder: &AbsPath, verb: &str) -> Action {
    let mut action = Action::new(&["/bin/sh", folder.join("guard").as_str(), verb], Effect::none());
    action.timeout = Some(120);
    action
}

/// The command that a guarded one was before it was put under guard; any other as it is.
pub(super) fn unguarded(argv: &[String]) -> &[String] {
    match argv {
        [shell, script, verb, _, asked @ ..] if shell == "/bin/sh" && script.starts_with(FOLDER) && verb == DURING => {
            asked
        }
        _ => argv,
    }
}

/// What the script is told to run a command under guard.
const DURING: &str = "during";

/// Puts the script where it belongs, and becomes it.
const BEGIN: &str = r#"(umask 022; mkdir -p "${1%/*}") && umask 077 && mkdir -p "$1" && cat >"$1/.guard" && [ -s "$1/.guard" ] && mv -f "$1/.guard" "$1/guard" || exit 4
d=$1; shift; exec /bin/sh "$d/guard" "$@""#;

/// Whether a machine can have a guard; says why not.
const CHECK: &str = r#"[ -d /run/systemd/system ] && command -v systemd-run >/dev/null || { echo 'systemd does not run there'; exit 1; }
[ "$(id -u)" = 0 ] || { echo 'only root can set a guard up'; exit 1; }"#;

/// A machine, as a step sees it that is guarded where it changes what may cut the machine off. In a plan nothing is set up;
/// what would be is only told.
pub struct Guarded {
    under: Arc<dyn System>,
    post: Arc<Post>,
    guard: Guard,
    risks: Vec<Risk>,
    armed: Mutex<Armed>,
}

#[derive(Default)]
struct Armed {
    areas: u8,
    /// Why there is no guard though there should be one.
    off: Option<String>,
    /// When its time began anew last.
    renewed: Option<Instant>,
}

impl Guarded {
    /// A machine under guard, for one step.
    #[must_use]
    pub fn new(under: Arc<dyn System>, post: Arc<Post>, guard: Guard, risks: Vec<Risk>) -> Self {
        Guarded {
            under,
            post,
            guard,
            risks,
            armed: Mutex::default(),
        }
    }

    /// How the step was or would be guarded, as its result says it, and in a sentence; `None` where there was no need.
    #[must_use]
    pub fn told(&self) -> Option<(Value, String)> {
        let armed = lock(&self.armed);
        let predicted = self.under.predicted();
        let off = match &armed.off {
            None if armed.areas == 0 => return None,
            None if predicted => self.cannot().ok().flatten(),
            off => off.clone(),
        };
        let seconds = self.guard.seconds;
        let (state, name, value, sentence) = match off {
            Some(reason) => {
                let end = match self.guard.required {
                    true => "it will be refused",
                    false => "nobody puts it back if it locks okd-play out",
                };
                let sentence = format!("not guarded: {reason}; {end}");
                ("off", "reason", reason.into(), sentence)
            }
            None => {
                let state = if predicted { "planned" } else { "armed" };
                let sentence = format!("guarded: put back after {seconds} s unless a new connection confirms");
                (state, "seconds", Value::Int(seconds.into()), sentence)
            }
        };
        Some((Value::Map(map([("state", state.into()), (name, value)])), sentence))
    }

    fn cannot(&self) -> Result<Option<String>, SystemError> {
        let answer = self.under.probe(&Probe::new("guard", &["/bin/sh", "-c", CHECK]))?;
        Ok((!answer.success()).then(|| answer.text().trim().to_owned()))
    }

    fn folder(&self) -> Result<AbsPath, SystemError> {
        AbsPath::new(&format!("{FOLDER}/{}", self.guard.id)).map_err(SystemError::Guard)
    }

    /// Sets the guard up for what is about to be changed, where that needs one; whether one stands.
    fn arm(&self, own: u8) -> Result<bool, SystemError> {
        let wanted = self.risks.iter().fold(own, |all, risk| {
            all | match risk {
                Risk::Firewall => FIREWALL,
                Risk::Device(_) => NETWORK,
            }
        });
        let wanted = if self.guard.always { ALL } else { wanted };
        let mut armed = lock(&self.armed);
        let new = wanted & !armed.areas;
        if new != 0 && armed.off.is_none() && !self.under.predicted() {
            armed.off = self.cannot()?;
            match &armed.off {
                Some(reason) if self.guard.required => {
                    return Err(SystemError::Guard(format!(
                        "this step cannot be guarded: {reason}; nothing was touched"
                    )));
                }
                Some(_) => {}
                None => self.begin(new)?,
            }
        }
        armed.areas |= new;
        let stands = armed.areas != 0 && armed.off.is_none() && !self.under.predicted();
        armed.renewed = stands.then(Instant::now);
        Ok(stands)
    }

    fn begin(&self, areas: u8) -> Result<(), SystemError> {
        let folder = self.folder()?;
        let mut action = script(&folder, "arm");
        action.argv.push(self.guard.seconds.to_string());
        action.argv.extend(words(areas).map(str::to_owned));
        {
            let mut begun = lock(&self.post.begun);
            if begun.as_ref() != Some(&folder) {
                action
                    .argv
                    .splice(1..2, ["-c", BEGIN, "sh", folder.as_str()].map(str::to_owned));
                action.stdin = lock(&self.post.script).clone().into_bytes();
            }
            self.obey(&action)?;
            *begun = Some(folder);
        }
        for risk in &self.risks {
            if let Risk::Device(name) = risk {
                self.keep("device", NETWORK, name)?;
            }
        }
        Ok(())
    }

    fn obey(&self, action: &Action) -> Result<(), SystemError> {
        let answer = self.under.act(action)?;
        match answer.rc {
            0 => Ok(()),
            GONE => Err(put_back()),
            _ => {
                let said = answer.text() + &answer.error_text();
                let said = said.trim();
                Err(SystemError::Guard(format!(
                    "the lock-out guard cannot be set up: {said}; nothing was touched, `okd_guard: false` goes on without"
                )))
            }
        }
    }

    fn keep(&self, how: &str, area: u8, what: &str) -> Result<(), SystemError> {
        let mut action = script(&self.folder()?, "keep");
        let area = words(area).next().unwrap_or_default();
        action.argv.extend([how, area, what].map(str::to_owned));
        self.obey(&action)
    }

    /// A step that looks and waits is still at work.
    fn renew(&self) -> Result<(), SystemError> {
        let mut armed = lock(&self.armed);
        if armed.renewed.is_some_and(|since| since.elapsed() > RENEW) {
            self.obey(&script(&self.folder()?, "renewed"))?;
            armed.renewed = Some(Instant::now());
        }
        Ok(())
    }

    /// Keeps what is at a path before it is changed.
    fn before(&self, path: &AbsPath, how: &str) -> Result<(), SystemError> {
        let own = of_path(path.as_str());
        if self.arm(own)? {
            let area = if own == 0 { lock(&self.armed).areas } else { own };
            self.keep(how, area, path.as_str())?;
        }
        Ok(())
    }
}

fn put_back() -> SystemError {
    SystemError::Guard("the guard has put this host back, since nobody had confirmed; nothing more is done".to_owned())
}

impl System for Guarded {
    fn stat(&self, path: &AbsPath) -> Result<Option<Meta>, SystemError> {
        self.under.stat(path)
    }

    fn read(&self, path: &AbsPath, limit: u64) -> Result<Option<Vec<u8>>, SystemError> {
        self.under.read(path, limit)
    }

    fn list(&self, dir: &AbsPath) -> Result<Vec<Entry>, SystemError> {
        self.under.list(dir)
    }

    fn probe(&self, probe: &Probe) -> Result<Answer, SystemError> {
        self.renew()?;
        self.under.probe(probe)
    }

    fn write(&self, file: &FileWrite) -> Result<(), SystemError> {
        self.before(&file.path, "file")?;
        self.under.write(file)
    }

    fn make(&self, path: &AbsPath, kind: &Make) -> Result<(), SystemError> {
        self.before(path, "this")?;
        // Where the guard lies, it may just have made it.
        if FOLDER.starts_with(path.as_str()) && self.under.stat(path)?.is_some() {
            return Ok(());
        }
        self.under.make(path, kind)
    }

    fn alter(&self, path: &AbsPath, change: &Alter) -> Result<(), SystemError> {
        self.before(path, "this")?;
        self.under.alter(path, change)
    }

    fn remove(&self, path: &AbsPath, how: Removal) -> Result<(), SystemError> {
        self.before(path, if how == Removal::Tree { "tree" } else { "this" })?;
        self.under.remove(path, how)
    }

    fn act(&self, action: &Action) -> Result<Answer, SystemError> {
        let own = of_command(&action.argv);
        if !self.arm(own)? {
            return self.under.act(action);
        }
        if own & NETWORK != 0 {
            for name in parameters(&action.argv) {
                self.keep("sysctl", NETWORK, name)?;
            }
            if let Some(name) = device(&action.argv) {
                self.keep("device", NETWORK, name)?;
            }
        }
        let mut argv = script(&self.folder()?, DURING).argv;
        argv.push(words(lock(&self.armed).areas).collect::<Vec<_>>().join(" "));
        argv.extend_from_slice(&action.argv);
        let answer = self
            .under
            .act(&Action { argv, ..action.clone() })
            .map_err(|error| as_asked(error, action))?;
        let gone = answer.rc == GONE && answer.error_text().contains("okd-play-guard: ");
        if gone { Err(put_back()) } else { Ok(answer) }
    }

    fn promised(&self) -> Vec<String> {
        self.under.promised()
    }

    fn predicted(&self) -> bool {
        self.under.predicted()
    }
}

/// An error in the words of the command that was asked for.
fn as_asked(error: SystemError, action: &Action) -> SystemError {
    let argv = action.argv.clone();
    match error {
        SystemError::Timeout { seconds, .. } => SystemError::Timeout { argv, seconds },
        SystemError::Command { reason, .. } => SystemError::Command { argv, reason },
        error => error,
    }
}

#[cfg(test)]
mod tests;
