//! Kernel parameters, in a file for the next boot and in the running kernel.

use super::acting::run;
use super::content::{self, Attributes, Content, Placing};
use super::line::Presence;
use super::{Resource, ResourceError, View};
use crate::diff::Change;
use crate::ledger::Thing;
use crate::params;
use crate::path::AbsPath;
use crate::system::{Action, Answer, Effect, Probe, System};
use crate::value::Map;
use serde::Serialize;

params! {
    /// Makes sure that a kernel parameter has this value.
    pub struct Sysctl {
        /// The parameter, such as `net.ipv4.ip_forward`.
        name: String ["key"],
        /// Its value.
        value: Option<String> ["val"],
        /// Whether it should be in the file.
        state: Presence = "present",
        /// The file.
        sysctl_file: AbsPath = "/etc/sysctl.conf",
        /// Load the file when it has changed.
        reload: bool = "yes",
        /// Look at the running kernel too, and set the value there where it is another one.
        sysctl_set: bool = "no",
        /// Go on where the kernel does not know a parameter.
        ignoreerrors: bool = "no",
    }
}

/// The file, and what the kernel has.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct State {
    file: Content,
    /// The kernel's value, where it counts.
    live: Option<String>,
}

impl View for State {
    fn changes(&self, want: &Self) -> Vec<Change> {
        let mut changes = self.file.changes(&want.file);
        if let (Some(before), Some(after)) = (&self.live, &want.live) {
            changes.extend(content::field("kernel", "value", before, after));
        }
        changes
    }
}

/// The probe of a parameter's value in the running kernel.
#[must_use]
pub fn probe(name: &str) -> Probe {
    Probe::new(format!("sysctl:{name}"), &["sysctl", "-n", name])
}

/// `true` and `yes` are 1 for the kernel; blanks inside a value do not count.
fn normal(value: &str) -> String {
    match value.trim().to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "y" | "t" => "1".to_owned(),
        "false" | "no" | "off" | "n" | "f" => "0".to_owned(),
        _ => value.split_whitespace().collect::<Vec<_>>().join(" "),
    }
}

/// Name and value of a line of sysctl.d(5); `None` for comments. The two ways to write a name are one.
fn setting(line: &str) -> Option<(String, String)> {
    let line = line.trim();
    if line.is_empty() || line.starts_with(['#', ';']) {
        return None;
    }
    let (name, value) = line.split_once('=')?;
    Some((spelt(name.trim().trim_start_matches('-')), normal(value)))
}

fn spelt(name: &str) -> String {
    if name.find(['.', '/']).is_some_and(|at| name[at..].starts_with('/')) {
        let swap = |c| match c {
            '/' => '.',
            '.' => '/',
            c => c,
        };
        return name.chars().map(swap).collect();
    }
    name.to_owned()
}

impl Sysctl {
    fn wanted(&self) -> String {
        normal(self.value.as_deref().unwrap_or_default())
    }

    fn edited(&self, text: &str) -> String {
        let name = spelt(&self.name);
        let line = format!("{}={}\n", self.name, self.wanted());
        let (mut out, mut written) = (String::new(), false);
        for old in text.split_inclusive('\n') {
            match setting(old).filter(|(found, _)| *found == name) {
                None => {
                    out.push_str(old);
                    if !old.ends_with('\n') {
                        out.push('\n');
                    }
                }
                Some((_, value)) if self.state == Presence::Present && !written => {
                    out.push_str(if value == self.wanted() { old.trim_end_matches('\n') } else { line.trim_end() });
                    out.push('\n');
                    written = true;
                }
                Some(_) => {}
            }
        }
        if self.state == Presence::Present && !written {
            out.push_str(&line);
        }
        if out.trim_end_matches('\n') == text.trim_end_matches('\n') { text.to_owned() } else { out }
    }

    /// What `sysctl` does with these words, which a value that the kernel had takes back.
    fn command(&self, words: &[&str], before: Option<&str>) -> Action {
        let mut argv = vec!["sysctl"];
        if self.ignoreerrors {
            argv.push("-e");
        }
        argv.extend(words);
        let answer = Answer::ok(format!("{}\n", self.wanted()));
        let effect = match self.state {
            Presence::Present => Effect::predicts(probe(&self.name).key, answer),
            Presence::Absent => Effect::none(),
        };
        let effect = match before {
            Some(live) => effect.back(&["sysctl", "-w", &format!("{}={live}", self.name)]),
            None => effect,
        };
        Action::new(&argv, effect)
    }
}

impl Resource for Sysctl {
    const NAMES: &'static [&'static str] = &["sysctl", "ansible.posix.sysctl"];
    const EXAMPLE: &'static str = "- name: Router\n  sysctl:\n    name: net.ipv4.ip_forward\n    value: \"1\"\n    sysctl_file: /etc/sysctl.d/90-router.conf\n    sysctl_set: true\n";
    const PREDICTS: &'static str = "everything";
    type World = dyn System;
    type State = State;

    fn manages(&self) -> Vec<Thing> {
        vec![Thing::new("sysctl", &self.name)]
    }

    fn check(&self) -> Result<(), Vec<String>> {
        let mut problems = Vec::new();
        if self.state == Presence::Present && self.value.as_ref().is_none_or(|value| value.trim().is_empty()) {
            problems.push("`value` says which value the parameter should have".to_owned());
        }
        if self.name.contains(['=', '\n', ' ']) || self.name.is_empty() {
            problems.push(format!("`{}` is not a parameter's name", self.name));
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    fn inspect(&self, world: &Self::World) -> Result<State, ResourceError> {
        let file = Content::inspect(&self.sysctl_file, &Attributes::default(), world)?;
        if file.bytes.is_none() && self.state == Presence::Present {
            content::need_parent(&file.path, world)?;
        }
        let mut live = None;
        if self.sysctl_set && self.state == Presence::Present {
            let answer = world.probe(&probe(&self.name))?;
            if !answer.success() && !self.ignoreerrors && world.promised().is_empty() {
                return Err(super::acting::failed(&probe(&self.name).argv, &answer));
            }
            live = answer.success().then(|| normal(&answer.text()));
        }
        Ok(State { file, live })
    }

    fn desire(&self, now: &State) -> Result<State, ResourceError> {
        let text = now.file.text()?;
        let edited = self.edited(text);
        let file = if edited == text { now.file.clone() } else { now.file.with(edited.into_bytes(), &Attributes::default()) };
        Ok(State { file, live: now.live.as_ref().map(|_| self.wanted()) })
    }

    fn apply(&self, now: &State, want: &State, world: &Self::World) -> Result<Map, ResourceError> {
        let mut result = Map::new();
        if now.live != want.live {
            run(world, &self.command(&["-w", &format!("{}={}", self.name, self.wanted())], now.live.as_deref()))?;
        }
        if now.file != want.file {
            result = now.file.place(&want.file, &Placing::default(), world)?;
            if self.reload {
                let live = world.probe(&probe(&self.name))?;
                let live = live.success().then(|| live.text().trim().to_owned());
                let before = now.live.clone().or(live);
                run(world, &self.command(&["-p", self.sysctl_file.as_str()], before.as_deref()))?;
            }
        }
        Ok(result)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::param::Params;
    use crate::resource::converge;
    use crate::resource::laws::laws;
    use crate::system::fake::Fake;
    use crate::value::Value;

    const FILE: &str = "# kept\nnet.ipv4.ip_forward = 0\nnet/ipv6/conf/all/forwarding=1\nvm.swappiness=10";

    fn host() -> Fake {
        Fake::new()
            .file("/etc/sysctl.conf", FILE)
            .dir("/etc/sysctl.d")
            .fact("sysctl:net.ipv4.ip_forward", Answer::ok("0\n"))
            .fact("sysctl:net.ipv4.ip_local_port_range", Answer::ok("32768\t60999\n"))
            .command(&["sysctl"], Answer::default())
    }

    fn sysctl(args: &[(&str, &str)]) -> Sysctl {
        Sysctl::decode(&args.iter().map(|(name, value)| ((*name).to_owned(), Value::from(*value))).collect()).unwrap()
    }

    #[test]
    pub(crate) fn parameters_keep_the_laws() {
        for (name, value) in [("net.ipv4.ip_forward", "1"), ("net.ipv4.ip_forward", "0"), ("net.ipv4.ip_local_port_range", "32768 60999")] {
            laws(&sysctl(&[("name", name), ("value", value)]), host);
            laws(&sysctl(&[("name", name), ("value", value), ("sysctl_set", "yes"), ("sysctl_file", "/etc/sysctl.d/90.conf")]), host);
        }
        laws(&sysctl(&[("name", "vm.swappiness"), ("state", "absent")]), host);
    }

    #[test]
    fn one_line_changes_and_the_rest_stays() {
        let edited = |args| sysctl(args).edited(FILE);
        assert_eq!(edited(&[("name", "net.ipv4.ip_forward"), ("value", "yes")]), format!("{}\n", FILE.replace("ip_forward = 0", "ip_forward=1")));
        assert_eq!(edited(&[("name", "net.ipv6.conf.all.forwarding"), ("value", "1")]), FILE);
        assert_eq!(edited(&[("name", "kernel.panic"), ("value", "5")]), format!("{FILE}\nkernel.panic=5\n"));
        assert_eq!(edited(&[("name", "vm.swappiness"), ("state", "absent")]), FILE.replace("vm.swappiness=10", ""));
    }

    #[test]
    fn the_file_is_loaded_when_it_has_changed() {
        let host = host();
        let forward = sysctl(&[("name", "net.ipv4.ip_forward"), ("value", "1"), ("sysctl_set", "yes")]);
        converge(&forward, &host as &(dyn System + 'static), None).unwrap();
        let acts: Vec<String> = host.log().into_iter().filter(|line| line.starts_with("act")).collect();
        assert_eq!(acts, ["act sysctl -w net.ipv4.ip_forward=1", "act sysctl -p /etc/sysctl.conf"]);
    }
}
