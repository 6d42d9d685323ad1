//! What systemd says of a unit, how its changes are predicted, and how its failures are told.

use super::acting::{ask, failed};
use super::{Failure, ResourceError};
use crate::order::sort;
use crate::path::AbsPath;
use crate::system::local::seconds_now;
use crate::system::{Action, Answer, Effect, FileKind, Probe, System};
use serde::{Serialize, Serializer};

/// Whose manager is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Manager {
    /// The machine's.
    System,
    /// The user's.
    User,
    /// All users'; knows no running units.
    Global,
}

impl Manager {
    /// A `systemctl` command for this manager.
    #[must_use]
    pub fn command(self, words: &[&str]) -> Vec<String> {
        let flag = match self {
            Manager::System => None,
            Manager::User => Some("--user"),
            Manager::Global => Some("--global"),
        };
        std::iter::once("systemctl")
            .chain(flag)
            .chain(words.iter().copied())
            .map(str::to_owned)
            .collect()
    }
}

/// What can be seen of a unit; see systemctl(1) and the D-Bus properties of org.freedesktop.systemd1(5).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Unit {
    /// `loaded`, `not-found`, `masked`, `bad-setting`, …
    pub load: String,
    /// `active`, `inactive`, `failed`, `activating`, …
    pub active: String,
    /// `running`, `exited`, `dead`, …
    pub sub: String,
    /// `enabled`, `disabled`, `static`, `generated`, `masked`, …; empty where systemd has no unit file.
    pub file: String,
    /// Where the unit file is.
    pub fragment: String,
    /// Whence a generator made it, such as `/etc/init.d/isc-dhcp-server`.
    pub source: String,
    /// `simple`, `forking`, `oneshot`, …
    pub kind: String,
    /// Whether the file on disk is newer than what systemd knows.
    pub stale: bool,
    /// When it was last started, seconds since 1970; 0 where that is not known.
    pub entered: i64,
    /// When it was last started, reloaded or stopped; as `entered`.
    pub moved: i64,
}

/// What a plan can know of a unit and what matters of it: a unit that a file brings has no type yet, and has started in
/// the future.
#[derive(Serialize)]
struct Known {
    exists: bool,
    runs: bool,
    failed: bool,
    enabled: bool,
    masked: bool,
    stale: bool,
}

impl Serialize for Unit {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let known = Known {
            exists: self.exists(),
            runs: self.runs(),
            failed: self.active == "failed",
            enabled: self.enabled() == Some(true),
            masked: self.masked(),
            stale: self.stale,
        };
        known.serialize(to)
    }
}

const PROPERTIES: &str = "LoadState,ActiveState,SubState,UnitFileState,FragmentPath,SourcePath,Type,NeedDaemonReload,\
     ActiveEnterTimestamp,StateChangeTimestamp";

/// When a unit was started that a plan starts.
const NOT_YET: i64 = i64::MAX;

/// A unit's full name: `.service` is what a name without a suffix means.
#[must_use]
pub fn full_name(name: &str) -> String {
    const SUFFIXES: &[&str] = &[
        ".service",
        ".socket",
        ".timer",
        ".target",
        ".mount",
        ".automount",
        ".path",
        ".device",
        ".swap",
        ".slice",
        ".scope",
    ];
    if SUFFIXES.iter().any(|suffix| name.ends_with(suffix)) {
        name.to_owned()
    } else {
        format!("{name}.service")
    }
}

/// The probe key of a unit.
#[must_use]
pub fn key(unit: &str) -> String {
    format!("unit:{unit}")
}

impl Unit {
    /// Reads `systemctl show`.
    #[must_use]
    pub fn parse(text: &str) -> Unit {
        let value = |name: &str| {
            let lines = text.lines().filter_map(|line| line.split_once('='));
            lines
                .filter(|(key, _)| *key == name)
                .map(|(_, value)| value.trim())
                .next_back()
                .unwrap_or_default()
                .to_owned()
        };
        Unit {
            load: value("LoadState"),
            active: value("ActiveState"),
            sub: value("SubState"),
            file: value("UnitFileState"),
            fragment: value("FragmentPath"),
            source: value("SourcePath"),
            kind: value("Type"),
            stale: value("NeedDaemonReload") == "yes",
            entered: seconds(&value("ActiveEnterTimestamp")),
            moved: seconds(&value("StateChangeTimestamp")),
        }
    }

    /// What `systemctl show` would say.
    #[must_use]
    pub fn answer(&self) -> Answer {
        let stale = if self.stale { "yes" } else { "no" };
        let Unit {
            load,
            active,
            sub,
            file,
            fragment,
            source,
            kind,
            entered,
            moved,
            ..
        } = self;
        Answer::ok(format!(
            "LoadState={load}\nActiveState={active}\nSubState={sub}\nUnitFileState={file}\nFragmentPath={fragment}\n\
             SourcePath={source}\nType={kind}\nNeedDaemonReload={stale}\n\
             ActiveEnterTimestamp={entered}\nStateChangeTimestamp={moved}\n"
        ))
    }

    /// A unit that a package or a file of the plan will bring: stopped, and enabled by nobody.
    #[must_use]
    pub fn promised() -> Unit {
        let text = |text: &str| text.to_owned();
        Unit {
            load: text("loaded"),
            active: text("inactive"),
            sub: text("dead"),
            file: text("disabled"),
            ..Unit::default()
        }
    }

    /// Whether systemd knows it.
    #[must_use]
    pub fn exists(&self) -> bool {
        !matches!(self.load.as_str(), "not-found" | "")
    }

    /// Whether it runs, or is about to.
    #[must_use]
    pub fn runs(&self) -> bool {
        matches!(
            self.active.as_str(),
            "active" | "activating" | "reloading" | "refreshing"
        ) && self.sub != "auto-restart"
    }

    /// Whether it starts at boot; `None` where that cannot be chosen (`static`, `transient`, …).
    #[must_use]
    pub fn enabled(&self) -> Option<bool> {
        match self.file.as_str() {
            "enabled" | "enabled-runtime" | "linked" | "linked-runtime" => Some(self.file.starts_with("enabled")),
            "static" | "transient" | "alias" | "generated" => None,
            _ => Some(false),
        }
    }

    /// Whether it cannot be started at all.
    #[must_use]
    pub fn masked(&self) -> bool {
        self.file.starts_with("masked") || self.load == "masked"
    }

    /// Whether it is a start script of System V's kind, which only a helper of systemd can enable.
    #[must_use]
    pub fn is_script(&self) -> bool {
        self.source.starts_with("/etc/init.d/") || self.source.starts_with("/etc/rc.d/init.d/")
    }

    /// Is told to read its configuration anew.
    pub fn set_reloaded(&mut self) {
        self.moved = NOT_YET;
    }

    /// Becomes started, from the beginning, or stopped.
    pub fn set_active(&mut self, active: bool) {
        let (state, sub) = if active {
            ("active", "running")
        } else {
            ("inactive", "dead")
        };
        (self.active, self.sub) = (state.to_owned(), sub.to_owned());
        (self.entered, self.moved) = (NOT_YET, NOT_YET);
    }
}

/// A moment as systemd.time(7) writes it in UTC (`Mon 2026-11-30 10:13:02 UTC`), or as a number; 0 where it is neither.
fn seconds(text: &str) -> i64 {
    let number = |text: Option<&str>| text.and_then(|text| text.parse::<i64>().ok()).unwrap_or_default();
    let mut words = text.split([' ', '-', ':']);
    if words.clone().count() < 7 {
        return number(Some(text));
    }
    words.next();
    let [year, month, day, hour, minute, second] = std::array::from_fn(|_| number(words.next()));
    // Days from a first of March: leap days are the last of their years then.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 719_469;
    days * 86_400 + hour * 3600 + minute * 60 + second
}

/// Looks at a unit.
///
/// # Errors
/// Where systemd does not answer.
pub fn show(unit: &str, manager: Manager, world: &dyn System) -> Result<Unit, ResourceError> {
    let mut probe = Probe::new(key(unit), &[]);
    probe.argv = manager.command(&["show", unit, "-p", PROPERTIES]);
    probe.env = vec![("TZ".to_owned(), "UTC".to_owned())];
    let mut seen = Unit::parse(&ask(world, &probe)?.text());
    if seen.is_script() && matches!(seen.file.as_str(), "" | "generated" | "bad") {
        let mut probe = Probe::new(format!("unit-enabled:{unit}"), &[]);
        probe.argv = manager.command(&["is-enabled", unit]);
        let answer = world.probe(&probe)?;
        seen.file = if answer.success() { "enabled" } else { "disabled" }.to_owned();
    }
    Ok(seen)
}

/// Where unit files are, the strongest first; see systemd.unit(5).
const FOLDERS: &[&str] = &[
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];

/// Whether a unit's file, or its template's, is on disk though systemd does not know the unit.
///
/// # Errors
/// As [`System::stat`].
pub fn on_disk(unit: &str, world: &dyn System) -> Result<bool, ResourceError> {
    let template = unit
        .split_once('@')
        .and_then(|(name, rest)| rest.rsplit_once('.').map(|(_, suffix)| format!("{name}@.{suffix}")));
    for folder in FOLDERS {
        for name in std::iter::once(unit).chain(template.as_deref()) {
            let path = AbsPath::new(&format!("{folder}/{name}")).map_err(ResourceError::message)?;
            if world.stat(&path)?.is_some() {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Whether something at one of these paths was written after a moment. What is written in the future says nothing.
///
/// # Errors
/// As [`System::stat`].
pub fn written_since<'a>(
    moment: i64,
    paths: impl IntoIterator<Item = &'a AbsPath>,
    world: &dyn System,
) -> Result<bool, ResourceError> {
    let now = seconds_now().unwrap_or(i64::MAX);
    for path in paths {
        let meta = world.stat(path)?.filter(|meta| meta.kind == FileKind::File);
        if meta.is_some_and(|meta| meta.mtime > moment && meta.mtime <= now) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a service runs that was started before its unit file or a drop-in for it was written, among those that are the
/// administrator's.
///
/// # Errors
/// The world's.
pub fn outdated(unit: &str, seen: &Unit, world: &dyn System) -> Result<bool, ResourceError> {
    if seen.active != "active" || seen.entered == 0 || !unit.ends_with(".service") {
        return Ok(false);
    }
    let mut paths = Vec::new();
    for folder in &FOLDERS[..2] {
        if seen.fragment.starts_with(folder) {
            paths.extend(AbsPath::new(&seen.fragment));
        }
        let folder = AbsPath::new(&format!("{folder}/{unit}.d")).map_err(ResourceError::message)?;
        let entries = world.list(&folder)?;
        let dropins = entries.iter().filter(|entry| entry.name.ends_with(".conf"));
        paths.extend(dropins.map(|entry| folder.join(&entry.name)));
    }
    written_since(seen.entered, &paths, world)
}

/// Whether a unit's files are not what systemd has loaded, or in a plan will not be.
///
/// # Errors
/// The world's.
pub fn needs_reload(unit: &str, seen: &Unit, manager: Manager, world: &dyn System) -> Result<bool, ResourceError> {
    if seen.stale || !seen.exists() {
        return Ok(true);
    }
    if !world.predicted() {
        return Ok(false);
    }
    let mut probe = Probe::new(format!("unit-files:{unit}"), &[]);
    probe.argv = manager.command(&["cat", unit]);
    let loaded = world.probe(&probe)?;
    let mut text = String::new();
    let mut paths: Vec<AbsPath> = AbsPath::new(&seen.fragment).into_iter().collect();
    for folder in FOLDERS {
        let folder = AbsPath::new(&format!("{folder}/{unit}.d")).map_err(ResourceError::message)?;
        let entries = world.list(&folder)?;
        paths.extend(
            entries
                .iter()
                .filter(|entry| entry.name.ends_with(".conf"))
                .map(|entry| folder.join(&entry.name)),
        );
    }
    for path in paths.iter().filter(|path| !path.as_str().starts_with("/lib/")) {
        let bytes = world.read(path, 1 << 20)?.unwrap_or_default();
        text.push_str(&format!("# {path}\n{}\n", String::from_utf8_lossy(&bytes)));
    }
    Ok(loaded.success() && !loaded.predicted && lines(&loaded.text()) != lines(&text))
}

/// Lines that mean something, sorted: `systemctl cat` and the disk may give the files in another order.
fn lines(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text
        .lines()
        .map(str::trim_end)
        .filter(|line| !line.is_empty() && !line.starts_with("# /lib/"))
        .collect();
    sort(&mut lines);
    lines
}

/// The unit whose name is nearest to one that does not exist.
#[must_use]
pub fn nearest(unit: &str, world: &dyn System) -> Option<String> {
    let argv = ["systemctl", "list-unit-files", "--no-legend", "--no-pager", "--plain"];
    let listed = world.probe(&Probe::new("unit-files", &argv)).ok()?.text();
    let names = listed.lines().filter_map(|line| line.split_whitespace().next());
    let near = names.map(|name| (distance(unit, name), name)).min()?;
    (near.0 <= unit.len() / 3).then(|| near.1.to_owned())
}

/// Levenshtein's distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.chars().enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, right) in b.iter().enumerate() {
            let replaced = corner + usize::from(left != *right);
            corner = row[j + 1];
            row[j + 1] = replaced.min(corner + 1).min(row[j] + 1);
        }
    }
    row.last().copied().unwrap_or_default()
}

/// Runs `systemctl` on a unit; its failure comes with the unit's last journal lines.
///
/// # Errors
/// The world's, or the command's failure.
pub fn control(
    unit: &str,
    argv: Vec<String>,
    after: &Unit,
    manager: Manager,
    world: &dyn System,
) -> Result<Answer, ResourceError> {
    let action = Action {
        argv,
        ..Action::new(&[], Effect::predicts(key(unit), after.answer()))
    };
    let answer = world.act(&action)?;
    if answer.success() {
        return Ok(answer);
    }
    Err(told(unit, failed(&action.argv, &answer), manager, world))
}

/// Waits until a unit is up for good, or fails with its journal.
///
/// # Errors
/// Where it does not come up.
pub fn settle(unit: &str, after: &Unit, manager: Manager, world: &dyn System) -> Result<(), ResourceError> {
    let flag = manager.command(&[]).get(1).cloned().unwrap_or_default();
    let mut action = Action::new(
        &["/bin/sh", "-c", SETTLE, "sh", unit, &flag],
        Effect::predicts(key(unit), after.answer()),
    );
    action.timeout = Some(150);
    let answer = world.act(&action)?;
    if answer.success() {
        return Ok(());
    }
    let state = answer.text().trim().to_owned();
    let error = ResourceError::command(format!("{unit} was started but is {state}"), &action.argv, &answer);
    Err(told(unit, error, manager, world))
}

/// Waits at most 120 s for a unit that is on its way. A daemon of the simple kind counts as started before it has read its
/// configuration, so it has to be up for half a second.
const SETTLE: &str = r#"
state() { systemctl $2 show "$1" -p ActiveState -p SubState -p Type -p Result -p ConditionResult; }
tries=0 calm=0
while :; do
    now=$(state "$1" "$2")
    active=$(printf '%s\n' "$now" | sed -n 's/^ActiveState=//p')
    case "$active:$now" in
        *SubState=auto-restart*) echo "failing and started again and again"; exit 1 ;;
        active:*Type=simple*|active:*Type=exec*|active:*Type=idle*) calm=$((calm + 1)); [ $calm -lt 6 ] || exit 0 ;;
        active:*) exit 0 ;;
        inactive:*ConditionResult=no*) echo "inactive: a condition of the unit is not met"; exit 1 ;;
        inactive:*Type=oneshot*) exit 0 ;;
        activating:*|reloading:*|refreshing:*|deactivating:*) ;;
        *) echo "$active ($(printf '%s\n' "$now" | sed -n 's/^Result=//p'))"; exit 1 ;;
    esac
    tries=$((tries + 1))
    [ $tries -lt 1200 ] || { echo "still $active after 120 s"; exit 1; }
    sleep 0.1
done
"#;

/// A failure together with the unit's last journal lines.
fn told(unit: &str, error: ResourceError, manager: Manager, world: &dyn System) -> ResourceError {
    let which = if manager == Manager::User { "--user-unit" } else { "-u" };
    let argv = [
        "journalctl",
        which,
        unit,
        "-n",
        "20",
        "--no-pager",
        "-q",
        "-o",
        "short-iso",
    ];
    let journal = world.probe(&Probe::new(format!("journal:{unit}"), &argv));
    match (error, journal) {
        (ResourceError::Failed(failure), Ok(journal)) => ResourceError::Failed(Box::new(Failure {
            journal: journal.text().lines().map(str::to_owned).collect(),
            ..*failure
        })),
        (error, _) => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn show_is_read_and_predicted() {
        let text = "LoadState=loaded\nActiveState=active\nSubState=running\nUnitFileState=disabled\nFragmentPath=/usr/lib/systemd/system/named.service\nSourcePath=\nType=forking\nNeedDaemonReload=no\n";
        let unit = Unit::parse(text);
        assert!(unit.exists() && unit.runs() && !unit.masked() && !unit.is_script());
        assert_eq!(unit.enabled(), Some(false));
        assert_eq!(Unit::parse(&unit.answer().text()), unit);
        let started = Unit::parse("ActiveEnterTimestamp=Tue 2000-02-29 23:59:59 UTC\nStateChangeTimestamp=\n");
        assert_eq!((started.entered, started.moved), (951_868_799, 0));
        assert_eq!(seconds("Mon 2026-11-30 10:13:02 UTC"), 1_796_033_582);
        assert_eq!(seconds("Thu 1970-01-01 00:00:00 UTC"), 0);
        let script = "LoadState=loaded\nActiveState=inactive\nSubState=dead\nUnitFileState=generated\nFragmentPath=/run/systemd/generator.late/isc-dhcp-server.service\nSourcePath=/etc/init.d/isc-dhcp-server\nType=forking\n";
        assert!(Unit::parse(script).is_script());
        assert!(!Unit::parse("LoadState=not-found\nActiveState=inactive\n").exists());
        assert!(!Unit::parse("ActiveState=activating\nSubState=auto-restart\n").runs());
        assert_eq!(Unit::parse("UnitFileState=static\n").enabled(), None);
    }

    #[test]
    fn names() {
        for (name, full) in [
            ("named", "named.service"),
            ("a@b", "a@b.service"),
            ("x.timer", "x.timer"),
            ("my.app", "my.app.service"),
        ] {
            assert_eq!(full_name(name), full);
        }
        assert_eq!(distance("nmaed.service", "named.service"), 2);
    }
}
