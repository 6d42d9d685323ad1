//! The lock-out guard: before a step changes what may cut this machine off, its state is kept and a watch set over it that
//! puts it back, unless the orchestrator comes by a new connection and confirms. Why it is so: docs/adr/0019-lock-out-guard.md.
//!
//! What is kept, the watch and the way back are one shell script in the guard's folder, so that it is the same by every
//! transport and outlives whoever set it up.

use super::{Action, Alter, Answer, Effect, Entry, FileWrite, Make, Meta, Probe, Removal, System, SystemError};
use crate::path::AbsPath;
use crate::value::{Map, Value, map};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The script; the orchestrator sends it to a session before the first step that may need it.
pub const SCRIPT: &str = include_str!("guard/guard.sh");

/// Where guards have their folders.
pub const FOLDER: &str = "/var/lib/okd-play/guard";

/// The key under which a step's result says how it is guarded.
pub const KEY: &str = "okd_guard";

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

/// A way into a machine: what is kept and put back together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Area {
    /// Keys, sudo and PAM: what is read at each login.
    Login,
    /// sshd(8): what is read when it starts.
    Ssh,
    Firewall,
    Network,
}

impl Area {
    fn word(self) -> &'static str {
        match self {
            Area::Login => "login",
            Area::Ssh => "ssh",
            Area::Firewall => "firewall",
            Area::Network => "network",
        }
    }

    /// That of a file.
    fn of_path(path: &str) -> Option<Area> {
        let unit = path.strip_prefix("/etc/systemd/system/").and_then(|rest| rest.split_once(".d/"));
        let known = PATHS.iter().find(|(begin, _)| path.starts_with(begin));
        known.map(|(_, area)| *area).or_else(|| Area::of_unit(unit?.0)).or_else(|| {
            let keys = path.ends_with("/.ssh") || path.contains("/.ssh/");
            keys.then_some(Area::Login)
        })
    }

    fn of_unit(unit: &str) -> Option<Area> {
        let name = unit.strip_suffix(".service").or_else(|| unit.strip_suffix(".socket")).unwrap_or(unit);
        UNITS.iter().find(|(known, _)| *known == name).map(|(_, area)| *area)
    }

    /// That of a command which declares itself by its words.
    fn of_command(argv: &[String]) -> Option<Area> {
        let (program, words) = argv.split_first()?;
        match program.rsplit('/').next()? {
            "systemctl" if words.iter().any(|word| VERBS.contains(&word.as_str())) => {
                words.iter().find_map(|word| Area::of_unit(word))
            }
            "sysctl" if parameters(words).next().is_some() => Some(Area::Network),
            _ => None,
        }
    }
}

/// Parameters of the network that a command sets.
fn parameters(words: &[String]) -> impl Iterator<Item = &str> {
    let names = words.iter().filter_map(|word| word.split_once('='));
    names.map(|(name, _)| name.trim()).filter(|name| name.starts_with("net."))
}

const PATHS: &[(&str, Area)] = &[
    ("/etc/ssh/", Area::Ssh),
    ("/etc/sudoers", Area::Login),
    ("/etc/pam.d/", Area::Login),
    ("/etc/hosts.allow", Area::Login),
    ("/etc/hosts.deny", Area::Login),
    ("/etc/firewalld/", Area::Firewall),
    ("/etc/nftables", Area::Firewall),
    ("/etc/sysconfig/nftables", Area::Firewall),
    ("/etc/iptables", Area::Firewall),
    ("/etc/sysconfig/iptables", Area::Firewall),
    ("/etc/ufw/", Area::Firewall),
    ("/etc/NetworkManager/", Area::Network),
    ("/etc/systemd/network/", Area::Network),
    ("/etc/network/", Area::Network),
    ("/etc/netplan/", Area::Network),
    ("/etc/sysconfig/network", Area::Network),
];

const UNITS: &[(&str, Area)] = &[
    ("ssh", Area::Ssh),
    ("sshd", Area::Ssh),
    ("firewalld", Area::Firewall),
    ("nftables", Area::Firewall),
    ("iptables", Area::Firewall),
    ("ip6tables", Area::Firewall),
    ("netfilter-persistent", Area::Firewall),
    ("ufw", Area::Firewall),
    ("NetworkManager", Area::Network),
    ("systemd-networkd", Area::Network),
    ("networking", Area::Network),
    ("network", Area::Network),
];

/// What systemctl(1) does to a unit that can be felt at once.
const VERBS: &[&str] = &[
    "start",
    "stop",
    "restart",
    "reload",
    "try-restart",
    "reload-or-restart",
    "try-reload-or-restart",
    "kill",
    "mask",
    "--now",
];

/// Whether a text names anything that is guarded; it may also say so without meaning it.
#[must_use]
pub fn mentions(text: &str) -> bool {
    let paths = PATHS.iter().map(|(path, _)| *path).chain(["/.ssh", "net."]);
    let units = UNITS.iter().map(|(unit, _)| *unit);
    paths.chain(units).any(|word| text.contains(word))
}

/// A session's part in the guards of its machine.
#[derive(Default)]
pub struct Post {
    script: Mutex<Option<String>>,
    /// The folder of the guard that this session has begun.
    begun: Mutex<Option<AbsPath>>,
}

impl Post {
    /// Takes [`SCRIPT`].
    pub fn learn(&self, script: String) {
        *lock(&self.script) = Some(script);
    }

    /// The session is over: what is confirmed need not be kept any longer.
    pub fn leave(&self, machine: &dyn System) {
        if let Some(folder) = lock(&self.begun).take() {
            drop(machine.act(&script(&folder, &["end"])));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A command to the script in a guard's folder.
fn script(folder: &AbsPath, words: &[&str]) -> Action {
    let guard = folder.join("guard").to_string();
    let mut action = Action::new(&["/bin/sh", &guard], Effect::none());
    action.argv.extend(words.iter().map(|word| (*word).to_owned()));
    action.timeout = Some(120);
    action
}

/// Puts the script where it belongs, and becomes it.
const BEGIN: &str = r#"(umask 022; mkdir -p "${1%/*}") && umask 077 && mkdir -p "$1" && cat >"$1/.guard" && mv -f "$1/.guard" "$1/guard" || exit 4
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
    areas: BTreeSet<Area>,
    /// Why there is no guard though there should be one.
    off: Option<String>,
}

impl Guarded {
    /// A machine under guard, for one step.
    #[must_use]
    pub fn new(under: Arc<dyn System>, post: Arc<Post>, guard: Guard, risks: Vec<Risk>) -> Self {
        Guarded { under, post, guard, risks, armed: Mutex::default() }
    }

    /// How the step was or would be guarded, as its result says it, and in a sentence; `None` where there was no need.
    #[must_use]
    pub fn told(&self) -> Option<(Map, String)> {
        let armed = lock(&self.armed);
        let seconds = self.guard.seconds;
        let predicted = self.under.predicted();
        let off = match &armed.off {
            None if armed.areas.is_empty() => return None,
            None if predicted => self.cannot().ok().flatten(),
            off => off.clone(),
        };
        Some(match off {
            Some(reason) => {
                let sentence = if self.guard.required {
                    format!("cannot be guarded, and will be refused: {reason}")
                } else {
                    format!("not guarded: {reason}; nobody puts it back if it locks okd-play out")
                };
                (map([("state", "off".into()), ("reason", reason.into())]), sentence)
            }
            None => {
                let state = if predicted { "planned" } else { "armed" };
                let sentence = format!("guarded: put back after {seconds} s unless a new connection confirms");
                (map([("state", state.into()), ("seconds", Value::Int(seconds.into()))]), sentence)
            }
        })
    }

    fn cannot(&self) -> Result<Option<String>, SystemError> {
        let answer = self.under.probe(&Probe::new("guard", &["/bin/sh", "-c", CHECK]))?;
        Ok((!answer.success()).then(|| answer.text().trim().to_owned()))
    }

    fn folder(&self) -> Result<AbsPath, SystemError> {
        AbsPath::new(&format!("{FOLDER}/{}", self.guard.id)).map_err(SystemError::Guard)
    }

    /// Sets the guard up for what is about to be changed, where that needs one; `None` where nothing does.
    fn arm(&self, area: Option<Area>) -> Result<Option<Area>, SystemError> {
        let wanted = self.areas(area);
        let mut armed = lock(&self.armed);
        if armed.off.is_some() {
            return Ok(None);
        }
        let new: Vec<Area> = wanted.difference(&armed.areas).copied().collect();
        if !new.is_empty() && !self.under.predicted() {
            let script = lock(&self.post.script).clone();
            let cannot = self.cannot()?.or_else(|| script.is_none().then(|| "it was not sent there".to_owned()));
            match (cannot, script) {
                (None, Some(script)) => self.begin(script, &new)?,
                (Some(reason), _) if self.guard.required => {
                    return Err(SystemError::Guard(format!("this step cannot be guarded: {reason}; nothing was touched")));
                }
                (reason, _) => {
                    armed.off = reason;
                    return Ok(None);
                }
            }
        }
        armed.areas.extend(new);
        if self.under.predicted() { Ok(None) } else { Ok(armed.areas.first().copied()) }
    }

    fn areas(&self, area: Option<Area>) -> BTreeSet<Area> {
        let mut areas: BTreeSet<Area> = area.into_iter().collect();
        areas.extend(self.risks.iter().map(|risk| match risk {
            Risk::Firewall => Area::Firewall,
            Risk::Device(_) => Area::Network,
        }));
        if self.guard.always {
            areas.extend([Area::Login, Area::Ssh, Area::Firewall, Area::Network]);
        }
        areas
    }

    fn begin(&self, text: String, areas: &[Area]) -> Result<(), SystemError> {
        let folder = self.folder()?;
        let seconds = self.guard.seconds.to_string();
        let mut words = vec!["arm", seconds.as_str()];
        words.extend(areas.iter().map(|area| area.word()));
        let mut begun = lock(&self.post.begun);
        let action = if begun.as_ref() == Some(&folder) {
            script(&folder, &words)
        } else {
            let mut action = Action::new(&["/bin/sh", "-c", BEGIN, "sh", folder.as_str()], Effect::none());
            action.argv.extend(words.iter().map(|word| (*word).to_owned()));
            action.timeout = Some(120);
            action.stdin = text.into_bytes();
            action
        };
        self.obey(&action, "its guard cannot be set up")?;
        *begun = Some(folder);
        drop(begun);
        for risk in &self.risks {
            if let Risk::Device(name) = risk {
                self.keep("device", Area::Network, name)?;
            }
        }
        Ok(())
    }

    fn obey(&self, action: &Action, what: &str) -> Result<(), SystemError> {
        let answer = self.under.act(action)?;
        match answer.rc {
            0 => Ok(()),
            GONE => Err(put_back()),
            _ => {
                let words = answer.text() + &answer.error_text();
                let words = words.trim().lines().last().unwrap_or_default();
                Err(SystemError::Guard(format!("{what}: {words}; nothing was touched, `okd_guard: false` goes on without")))
            }
        }
    }

    fn keep(&self, how: &str, area: Area, what: &str) -> Result<(), SystemError> {
        let action = script(&self.folder()?, &["keep", how, area.word(), what]);
        self.obey(&action, &format!("what {what} is now cannot be kept"))
    }

    /// Keeps what is at a path before it is changed.
    fn before(&self, path: &AbsPath, how: &str) -> Result<(), SystemError> {
        let own = Area::of_path(path.as_str());
        match self.arm(own)? {
            Some(area) => self.keep(how, own.unwrap_or(area), path.as_str()),
            None => Ok(()),
        }
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
        if self.arm(Area::of_command(&action.argv))?.is_none() {
            return self.under.act(action);
        }
        for name in parameters(&action.argv) {
            self.keep("sysctl", Area::Network, name)?;
        }
        let areas: Vec<&str> = lock(&self.armed).areas.iter().map(|area| area.word()).collect();
        let mut words = script(&self.folder()?, &["during", &areas.join(" ")]).argv;
        words.extend_from_slice(&action.argv);
        let answer = self.under.act(&Action { argv: words, ..action.clone() }).map_err(|error| as_asked(error, action))?;
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
