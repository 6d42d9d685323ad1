//! Services and other systemd units: that they run, start at boot, or are masked. Starting and enabling are two things.

use super::systemd::{self, Manager, Unit, control, full_name, needs_reload, nearest, on_disk, outdated, settle, show};
use super::{Resource, ResourceError, View, brought};
use crate::diff::Change;
use crate::ledger::Thing;
use crate::system::{Action, Effect, System};
use crate::value::{Map, Value, map};
use crate::{choice, params};
use serde::Serialize;

choice! {
    /// What a unit should be doing.
    pub enum Activity {
        /// Running.
        Started = "started" | "running",
        /// Not running.
        Stopped = "stopped",
        /// Stopped and started again, in any case.
        Restarted = "restarted",
        /// Told to read its configuration again; started where it does not run.
        Reloaded = "reloaded",
    }
}

choice! {
    /// Whose manager is spoken to.
    pub enum Scope {
        /// The machine's.
        System = "system",
        /// The user's.
        User = "user",
        /// All users'.
        Global = "global",
    }
}

params! {
    /// Makes sure that a systemd unit runs or not, and starts at boot or not.
    pub struct Service {
        /// The unit; `.service` may be left out.
        name: Option<String> ["service", "unit"],
        /// What it should be doing.
        state: Option<Activity>,
        /// Whether it starts at boot.
        enabled: Option<bool>,
        /// Whether it is made impossible to start.
        masked: Option<bool>,
        /// Let systemd read unit files again that have changed.
        daemon_reload: bool ["daemon-reload"] = "no",
        /// Let systemd execute itself again.
        daemon_reexec: bool ["daemon-reexec"] = "no",
        /// Whose manager is spoken to.
        scope: Scope = "system",
        /// Do not wait until it has started or stopped.
        no_block: bool = "no",
        /// Override links that stand in the way when enabling.
        force: bool = "no",
    }
}

/// What a unit does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct State {
    name: String,
    unit: Unit,
    /// Whether the plan expects it only because a package or a file of the plan brings it.
    #[serde(skip)]
    promised: bool,
    /// Whether it runs as its unit's files were before they were written last.
    outdated: bool,
    /// Whether systemd has read what is on disk, as far as that was asked for.
    loaded: bool,
    reexec: bool,
    again: Option<Again>,
}

/// What is done to a running unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
enum Again {
    Restart,
    Reload,
}

impl Again {
    fn word(self) -> &'static str {
        match self {
            Again::Restart => "restart",
            Again::Reload => "reload",
        }
    }
}

impl View for State {
    fn changes(&self, want: &Self) -> Vec<Change> {
        let short = self.name.strip_suffix(".service").unwrap_or(&self.name);
        let field = |name: &str, before: &str, after: &str| Change::Field {
            of: short.to_owned(),
            name: name.to_owned(),
            before: before.to_owned(),
            after: after.to_owned(),
        };
        let mut changes = Vec::new();
        if want.reexec {
            changes.push(Change::Act("systemctl daemon-reexec".to_owned()));
        }
        if want.loaded && !self.loaded {
            changes.push(Change::Act("systemctl daemon-reload".to_owned()));
        }
        if self.unit.masked() != want.unit.masked() {
            changes.push(field("masked", yes(self.unit.masked()), yes(want.unit.masked())));
        }
        if let (Some(before), Some(after)) = (self.unit.enabled(), want.unit.enabled())
            && before != after
        {
            changes.push(field("enabled", yes(before), yes(after)));
        }
        if self.unit.runs() != want.unit.runs() {
            let state = |unit: &Unit| if unit.runs() { "started" } else { "stopped" };
            let before = if self.unit.active == "failed" { "failed" } else { state(&self.unit) };
            changes.push(field("state", before, state(&want.unit)));
        } else if let Some(again) = want.again {
            changes.push(Change::Act(format!("{} {short}", again.word())));
        }
        changes
    }
}

fn yes(truth: bool) -> &'static str {
    if truth { "yes" } else { "no" }
}

impl Service {
    fn manager(&self) -> Manager {
        match self.scope {
            Scope::System => Manager::System,
            Scope::User => Manager::User,
            Scope::Global => Manager::Global,
        }
    }

    /// The unit's full name, and what is seen of it; nothing where it cannot be seen.
    pub(super) fn seen(&self, world: &dyn System) -> Option<(String, Option<Unit>)> {
        let name = full_name(self.name.as_ref()?);
        let unit = show(&name, self.manager(), world).ok();
        Some((name, unit))
    }

    /// Stops the unit, which did not run before.
    pub(super) fn stop(&self, world: &(dyn System + 'static)) -> Result<(), ResourceError> {
        let stopped = Service { state: Some(Activity::Stopped), enabled: None, masked: None, ..self.clone() };
        super::converge(&stopped, world, None).map(drop).map_err(ResourceError::Failed)
    }

    fn missing(&self, name: &str, world: &dyn System) -> ResourceError {
        let near = nearest(name, world).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
        ResourceError::message(format!("there is no unit `{name}`{near}"))
    }

    fn systemctl(&self, words: &[&str], state: &State, world: &dyn System) -> Result<(), ResourceError> {
        let mut argv = self.manager().command(words);
        if self.no_block && matches!(words.first(), Some(&("start" | "stop" | "restart" | "reload"))) {
            argv.push("--no-block".to_owned());
        }
        if self.force && words.first() == Some(&"enable") {
            argv.push("--force".to_owned());
        }
        argv.push(state.name.clone());
        control(&state.name, argv, &state.unit, self.manager(), world).map(|_| ())
    }

    fn manage(&self, word: &str, state: &State, world: &dyn System) -> Result<(), ResourceError> {
        let effect = if state.name.is_empty() {
            Effect::none()
        } else {
            Effect::predicts(systemd::key(&state.name), Unit { stale: false, ..state.unit.clone() }.answer())
        };
        let action = Action { argv: self.manager().command(&[word]), ..Action::new(&[], effect) };
        super::acting::run(world, &action).map(|_| ())
    }

    /// Starts, stops, restarts or reloads; `at` is what the unit is at this point.
    fn activate(&self, now: &State, want: &State, at: &mut State, world: &dyn System) -> Result<(), ResourceError> {
        let word = match (now.unit.runs(), want.unit.runs(), want.again) {
            (false, true, _) => "start",
            (true, false, _) => "stop",
            (true, true, Some(again)) => again.word(),
            _ => return Ok(()),
        };
        if word == "reload" {
            at.unit.set_reloaded();
        } else {
            at.unit.set_active(want.unit.runs());
        }
        self.systemctl(&[word], at, world)?;
        if word == "stop" || self.no_block { Ok(()) } else { settle(&at.name, &at.unit, self.manager(), world) }
    }
}

impl Resource for Service {
    const NAMES: &'static [&'static str] = &[
        "service",
        "ansible.builtin.service",
        "systemd",
        "ansible.builtin.systemd",
        "systemd_service",
        "ansible.builtin.systemd_service",
    ];
    const EXAMPLE: &'static str =
        "- name: Name server runs\n  service:\n    name: named\n    state: started\n    enabled: true\n";
    const PREDICTS: &'static str = "everything; what a package of the plan makes of its unit where that is known (EL: systemd.preset(5); Debian: the services that okd-play has kinds for, firewalld and chrony), else unknown until applied";
    type World = dyn System;
    type State = State;

    fn manages(&self) -> Vec<Thing> {
        self.name.iter().map(|name| Thing::new("service", full_name(name))).collect()
    }

    fn check(&self) -> Result<(), Vec<String>> {
        let of_unit = self.state.is_some() || self.enabled.is_some() || self.masked.is_some();
        if self.name.is_none() && of_unit {
            return Err(vec!["`name` says which unit".to_owned()]);
        }
        if !of_unit && !self.daemon_reload && !self.daemon_reexec {
            return Err(vec!["one of `state`, `enabled`, `masked`, `daemon_reload` says what should be".to_owned()]);
        }
        if self.scope == Scope::Global && self.state.is_some() {
            return Err(vec!["`scope: global` knows no running units: `state` goes with system or user".to_owned()]);
        }
        Ok(())
    }

    fn inspect(&self, world: &Self::World) -> Result<State, ResourceError> {
        let blank = State {
            name: String::new(),
            unit: Unit::default(),
            promised: false,
            outdated: false,
            loaded: !self.daemon_reload,
            reexec: false,
            again: None,
        };
        let Some(name) = &self.name else { return Ok(blank) };
        let name = full_name(name);
        let mut unit = show(&name, self.manager(), world)?;
        let outdated = self.manager() == Manager::System && outdated(&name, &unit, world)?;
        let starts = match self.state {
            Some(Activity::Started) => outdated || !unit.runs(),
            Some(Activity::Restarted) => true,
            _ => false,
        };
        let unread = (unit.stale && starts)
            || (self.daemon_reload && needs_reload(&name, &unit, self.manager(), world)?);
        let mut promised = false;
        if !unit.exists() && self.masked != Some(true) {
            unit = if on_disk(&name, world)? {
                Unit::promised()
            } else if world.promised().is_empty() {
                return Err(self.missing(&name, world));
            } else {
                brought::unit(&name, world)?
            };
            promised = true;
        }
        Ok(State { name, unit, promised, outdated, loaded: !unread, ..blank })
    }

    fn desire(&self, now: &State) -> Result<State, ResourceError> {
        let mut want = now.clone();
        want.reexec = self.daemon_reexec;
        want.loaded = true;
        let unit = &mut want.unit;
        match self.masked {
            Some(true) if !now.unit.masked() => "masked".clone_into(&mut unit.file),
            Some(false) if now.unit.masked() => {
                "disabled".clone_into(&mut unit.file);
                "loaded".clone_into(&mut unit.load);
            }
            _ => {}
        }
        if let (Some(enabled), Some(before)) = (self.enabled, unit.enabled())
            && enabled != before
        {
            if unit.masked() {
                return Err(ResourceError::message(format!("{} is masked; `masked: false` frees it", now.name)));
            }
            if enabled { "enabled" } else { "disabled" }.clone_into(&mut unit.file);
        }
        match self.state {
            None => {}
            Some(Activity::Stopped) if !now.unit.runs() => {}
            Some(activity) => {
                if activity != Activity::Stopped && unit.masked() {
                    return Err(ResourceError::message(format!("{} is masked and cannot be started", now.name)));
                }
                if now.unit.runs() != (activity != Activity::Stopped) {
                    unit.set_active(activity != Activity::Stopped);
                }
                want.again = match activity {
                    Activity::Restarted => Some(Again::Restart),
                    Activity::Reloaded => Some(Again::Reload),
                    Activity::Started if now.outdated => Some(Again::Restart),
                    Activity::Started | Activity::Stopped => None,
                };
            }
        }
        Ok(want)
    }

    fn apply(&self, now: &State, want: &State, world: &Self::World) -> Result<Map, ResourceError> {
        let mut at = now.clone();
        if want.reexec {
            self.manage("daemon-reexec", &at, world)?;
        }
        if want.loaded && !now.loaded {
            self.manage("daemon-reload", &at, world)?;
        }
        if now.unit.masked() != want.unit.masked() {
            at.unit.load.clone_from(&want.unit.load);
            at.unit.file = if want.unit.masked() { "masked" } else { "disabled" }.to_owned();
            self.systemctl(&[if want.unit.masked() { "mask" } else { "unmask" }], &at, world)?;
        }
        if at.unit.enabled() != want.unit.enabled() && !want.unit.masked() {
            at.unit.file.clone_from(&want.unit.file);
            let word = if want.unit.enabled() == Some(true) { "enable" } else { "disable" };
            self.systemctl(&[word], &at, world)?;
        }
        self.activate(now, want, &mut at, world)?;
        Ok(Map::new())
    }

    fn result(&self, state: &State) -> Map {
        if state.name.is_empty() {
            return Map::new();
        }
        let unit = &state.unit;
        let status = map([
            ("Id", state.name.as_str().into()),
            ("LoadState", unit.load.as_str().into()),
            ("ActiveState", unit.active.as_str().into()),
            ("SubState", unit.sub.as_str().into()),
            ("UnitFileState", unit.file.as_str().into()),
            ("FragmentPath", unit.fragment.as_str().into()),
        ]);
        let mut result = map([("name", self.name.clone().unwrap_or_default().into()), ("status", Value::Map(status))]);
        if self.state.is_some() {
            result.insert("state".to_owned(), if unit.runs() { "started" } else { "stopped" }.into());
        }
        if let Some(enabled) = unit.enabled().filter(|_| self.enabled.is_some()) {
            result.insert("enabled".to_owned(), enabled.into());
        }
        result
    }

    fn notes(&self, now: &State, want: &State) -> Vec<String> {
        let mut notes = Vec::new();
        if now.promised {
            notes.push(format!("{} is expected from what an earlier step brings", now.name));
        }
        if now.outdated && want.again.is_some() {
            notes.push(format!("{} was started before its unit's files were written last", now.name));
        }
        notes
    }
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::param::Params;
    use crate::resource::converge;
    use crate::resource::laws::laws;
    use crate::system::Answer;
    use crate::system::fake::Fake;

    fn show(load: &str, active: &str, sub: &str, file: &str) -> Answer {
        Answer::ok(format!(
            "LoadState={load}\nActiveState={active}\nSubState={sub}\nUnitFileState={file}\nFragmentPath=/usr/lib/systemd/system/x.service\nSourcePath=\nType=notify\nNeedDaemonReload=no\n"
        ))
    }

    /// Stopped, running, failed, masked, absent.
    fn host() -> Fake {
        let script = "LoadState=loaded\nActiveState=inactive\nSubState=dead\nUnitFileState=generated\nSourcePath=/etc/init.d/isc-dhcp-server\nType=forking\n";
        Fake::new()
            .fact("unit:named.service", show("loaded", "inactive", "dead", "disabled"))
            .fact("unit:nginx.service", show("loaded", "active", "running", "enabled"))
            .fact("unit:broken.service", show("loaded", "failed", "failed", "enabled"))
            .fact("unit:masked.service", show("masked", "inactive", "dead", "masked"))
            .fact("unit:static.service", show("loaded", "inactive", "dead", "static"))
            .fact("unit:nmaed.service", show("not-found", "inactive", "dead", ""))
            .fact("unit:isc-dhcp-server.service", Answer::ok(script))
            .fact("unit-enabled:isc-dhcp-server.service", Answer::status(1))
            .fact("unit-files", Answer::ok("nginx.service enabled enabled\nnamed.service disabled disabled\n"))
            .fact("journal:named.service", Answer::ok("2026-11-22T12:00:00+0000 ns1 named[7]: loading configuration: failure\n"))
            .command(&["systemctl"], Answer::default())
            .command(&["/bin/sh"], Answer::default())
    }

    fn service(args: &[(&str, Value)]) -> Service {
        Service::decode(&args.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()).unwrap()
    }

    #[test]
    pub(crate) fn units_keep_the_laws() {
        for name in ["named", "nginx.service", "broken", "static", "isc-dhcp-server", "nmaed"] {
            for state in ["started", "stopped"] {
                laws(&service(&[("name", name.into()), ("state", state.into())]), host);
                laws(&service(&[("name", name.into()), ("state", state.into()), ("enabled", true.into())]), host);
            }
            laws(&service(&[("name", name.into()), ("enabled", false.into()), ("masked", true.into())]), host);
        }
        laws(&service(&[("name", "masked".into()), ("masked", false.into()), ("state", "started".into())]), host);
        laws(&service(&[("name", "masked".into()), ("state", "started".into())]), host);
    }

    fn acts(args: &[(&str, Value)]) -> Vec<String> {
        let host = host();
        converge(&service(args), &host as &(dyn System + 'static), None).unwrap();
        let log = host.log().into_iter().filter(|line| line.starts_with("act systemctl"));
        log.map(|line| line.trim_start_matches("act systemctl ").to_owned()).collect()
    }

    #[test]
    fn enabling_and_starting_are_two_commands() {
        let both = |name: &str| acts(&[("name", name.into()), ("state", "started".into()), ("enabled", true.into())]);
        assert_eq!(both("named"), ["enable named.service", "start named.service"]);
        assert_eq!(both("isc-dhcp-server"), ["enable isc-dhcp-server.service", "start isc-dhcp-server.service"]);
        assert_eq!(both("nginx"), Vec::<String>::new());
        assert_eq!(both("broken"), ["start broken.service"]);
        assert_eq!(acts(&[("name", "nginx".into()), ("state", "restarted".into())]), ["restart nginx.service"]);
        assert_eq!(acts(&[("name", "nginx".into()), ("state", "reloaded".into())]), ["reload nginx.service"]);
        assert_eq!(acts(&[("name", "named".into()), ("state", "reloaded".into())]), ["start named.service"]);
        assert_eq!(acts(&[("daemon_reload", true.into())]), ["daemon-reload"]);
    }

    #[test]
    fn a_service_that_does_not_come_up_shows_its_journal() {
        let failing = Answer { rc: 1, stdout: b"failed (exit-code)\n".to_vec(), ..Answer::default() };
        let host = host().fail_action(&["/bin/sh", "-c"], failing);
        let start = service(&[("name", "named".into()), ("state", "started".into())]);
        let failure = converge(&start, &host as &(dyn System + 'static), None).unwrap_err();
        assert_eq!(failure.message, "named.service was started but is failed (exit-code)");
        assert!(failure.journal[0].contains("loading configuration: failure"));
    }

    #[test]
    fn a_unit_that_nobody_brings_is_named_with_its_neighbour() {
        let start = service(&[("name", "nmaed".into()), ("state", "started".into())]);
        let failure = converge(&start, &host() as &(dyn System + 'static), None).unwrap_err();
        assert_eq!(failure.message, "there is no unit `nmaed.service`; did you mean `named.service`?");
    }

    #[test]
    fn a_unit_that_a_package_of_the_plan_brings_is_expected() {
        use crate::system::overlay::Overlay;
        use crate::system::{Declared, Effect};
        let el = host().file("/etc/os-release", "ID=centos\n").file("/usr/lib/systemd/system-preset/90.preset", "disable *\n");
        let plan = Overlay::new(std::sync::Arc::new(el));
        let brings = Effect::Declared(Declared { brings: vec!["bind".to_owned()], ..Declared::default() });
        plan.act(&Action::new(&["dnf", "install", "bind"], brings)).unwrap();
        let start = service(&[("name", "nmaed".into()), ("state", "started".into()), ("enabled", true.into())]);
        let outcome = converge(&start, &plan as &(dyn System + 'static), None).unwrap();
        assert_eq!(outcome.diff.len(), 2);
        assert!(outcome.notes[0].contains("earlier step"));
        let again = converge(&start, &plan as &(dyn System + 'static), None).unwrap();
        assert_eq!(again.diff, []);
    }
}
