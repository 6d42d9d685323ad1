//! Packages on Debian and what is made of it: apt-get and dpkg.

use super::acting::{ask, run};
use super::packages::{self, ALL, Candidate, Item, Manager, Presence, State, differing, glob, key};
use super::{Resource, ResourceError};
use crate::ledger::Thing;
use crate::path::AbsPath;
use crate::system::{Action, Answer, Effect, Probe, System, local};
use crate::value::{Map, Value};
use crate::{choice, params};

choice! {
    /// How far everything that is installed is upgraded.
    pub enum Upgrade {
        /// Not at all.
        No = "no",
        /// Only what needs no package to come or go.
        Safe = "safe" | "yes",
        /// Everything; packages may come or go.
        Full = "full" | "dist",
    }
}

params! {
    /// Makes sure that packages are installed or not, with apt; all packages of one task are one transaction.
    pub struct Apt {
        /// Packages: names, perhaps with a version (`bind9=1:9.18*`), a release (`bind9/stable`) or an architecture.
        name: Vec<String> ["package", "pkg"],
        /// Whether they should be there, and whether in the newest version.
        state: Presence = "present",
        /// Fetch the package lists first, when something has to be installed.
        update_cache: bool ["update-cache"] = "no",
        /// Lists that are younger than this, in seconds, are not fetched again. Implies `update_cache`.
        cache_valid_time: u64 = "0",
        /// Install what packages recommend; left out, as apt is configured.
        install_recommends: Option<bool> ["install-recommends"],
        /// The release whose packages are preferred.
        default_release: Option<String> ["default-release"],
        /// Remove dependencies that nothing needs any more.
        autoremove: bool = "no",
        /// Remove configuration files too.
        purge: bool = "no",
        /// Upgrade everything that is installed.
        upgrade: Upgrade = "no",
        /// Only upgrade what is installed already.
        only_upgrade: bool = "no",
        /// Let an asked version be older than the installed one.
        allow_downgrade: bool ["allow-downgrade", "allow_downgrades", "allow-downgrades"] = "no",
        /// Install packages that no key vouches for.
        allow_unauthenticated: bool ["allow-unauthenticated"] = "no",
        /// Let packages change that are held.
        allow_change_held_packages: bool = "no",
        /// Fail rather than remove another package.
        fail_on_autoremove: bool = "no",
        /// Options for dpkg.
        dpkg_options: Vec<String> = "force-confdef,force-confold",
        /// Seconds to wait for another apt or dpkg to end.
        lock_timeout: u64 = "120",
    }
}

/// One line for each package; with the same arguments each time, so that a session asks once.
const LIST: &[&str] = &["dpkg-query", "-W", "-f", "${binary:Package} ${Version} ${db:Status-Abbrev} ${Provides}\\n"];
/// The lists that there are, and the files that say whence they come.
const LISTS: &[&str] =
    &["find", "/var/lib/apt/lists", "/etc/apt/sources.list.d", "-maxdepth", "1", "-type", "f", "!", "-name", "lock"];
/// Asking writes no cache.
pub(super) const READ_ONLY: &[&str] = &["-o", "Dir::Cache::pkgcache=", "-o", "Dir::Cache::srcpkgcache="];

/// Nobody is asked anything.
pub(super) const ENV: &[(&str, &str)] =
    &[("DEBIAN_FRONTEND", "noninteractive"), ("LC_ALL", "C.UTF-8"), ("APT_LISTCHANGES_FRONTEND", "none")];

/// A package as dpkg knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Deb {
    pub(super) name: String,
    pub(super) arch: Option<String>,
    pub(super) version: String,
    pub(super) status: String,
    provides: Vec<String>,
}

impl Deb {
    pub(super) fn parse(line: &str) -> Option<Deb> {
        let mut words = line.split(' ');
        let (name, arch) = arch_of(words.next().filter(|name| !name.is_empty())?);
        let (version, status) = (words.next()?.to_owned(), words.next()?.to_owned());
        let rest = words.collect::<Vec<_>>().join(" ");
        let provides = rest.split(',').filter_map(|one| one.split_whitespace().next()).map(str::to_owned).collect();
        Some(Deb { name, arch, version, status, provides })
    }

    fn installed(&self) -> bool {
        matches!(self.status.as_bytes(), [_, b'i', ..])
    }

    fn line(item: &Item) -> String {
        let name = Asked::parse(&item.asked).name;
        format!("{name} {} ii \n", item.version.as_deref().unwrap_or_default())
    }
}

fn arch_of(name: &str) -> (String, Option<String>) {
    name.split_once(':').map_or((name.to_owned(), None), |(name, arch)| (name.to_owned(), Some(arch.to_owned())))
}

/// A package as a playbook names it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Asked {
    name: String,
    arch: Option<String>,
    version: Option<String>,
}

impl Asked {
    fn parse(text: &str) -> Asked {
        let (rest, version) = text.split_once('=').map_or((text, None), |(name, version)| (name, Some(version.to_owned())));
        let rest = rest.split_once('/').map_or(rest, |(name, _)| name);
        let (name, arch) = arch_of(rest);
        Asked { name, arch, version }
    }

    fn is(&self, deb: &Deb) -> bool {
        glob(&self.name, &deb.name) && (self.arch.is_none() || deb.arch.is_none() || self.arch == deb.arch)
    }
}

/// What `apt-cache policy` says of each package: its candidate, and the versions that there are.
fn policies(text: &str) -> Vec<(String, Option<String>, Vec<String>)> {
    let mut policies: Vec<(String, Option<String>, Vec<String>)> = Vec::new();
    for line in text.lines() {
        if let Some(name) = line.strip_suffix(':').filter(|name| !name.starts_with(' ')) {
            policies.push((name.to_owned(), None, Vec::new()));
        } else if let Some((_, candidate, versions)) = policies.last_mut() {
            if let Some(version) = line.strip_prefix("  Candidate: ") {
                *candidate = Some(version.to_owned()).filter(|version| version != "(none)");
            } else if line.starts_with("     ") && !line.starts_with("        ") || line.starts_with(" *** ") {
                versions.extend(line.split_whitespace().find(|word| *word != "***").map(str::to_owned));
            }
        }
    }
    policies
}

/// What a simulated transaction would do: `Inst bind9 [1.0] (1.1 Debian:12 [amd64])`, `Remv bind9 [1.0]`.
fn simulated(text: &str) -> Vec<Item> {
    let mut items = Vec::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let (verb, Some(name)) = (words.next(), words.next()) else { continue };
        let here = line.split_once('[').filter(|(before, _)| !before.contains('('));
        let here = here.and_then(|(_, rest)| rest.split_once(']')).map(|(version, _)| version.to_owned());
        let new = line.split_once('(').and_then(|(_, rest)| rest.split_whitespace().next()).map(str::to_owned);
        let candidate = match verb {
            Some("Inst") => Candidate::Version(new.unwrap_or_default()),
            Some("Remv" | "Purg") => Candidate::Nowhere,
            _ => continue,
        };
        items.push(Item { asked: name.to_owned(), name: name.to_owned(), version: here, fits: true, candidate });
    }
    items
}

impl Apt {
    fn look(&self, text: &str, world: &dyn System) -> Result<Item, ResourceError> {
        let asked = Asked::parse(text);
        let answer = ask(world, &Probe::new(key(&asked.name), LIST))?;
        let all: Vec<Deb> = answer.text().lines().filter_map(Deb::parse).collect();
        let here = |deb: &&Deb| deb.installed() || (self.purge && self.state == Presence::Absent && deb.status.starts_with("rc"));
        let named = all.iter().filter(here).find(|deb| asked.is(deb));
        let provider = || all.iter().filter(here).find(|deb| deb.provides.contains(&asked.name));
        let provider = if self.state == Presence::Absent { None } else { provider() };
        let version = named.or(provider).map(|deb| deb.version.clone());
        let fits = match (&version, &asked.version) {
            (None, _) => false,
            (Some(here), Some(wanted)) => here.is_empty() || glob(wanted, here),
            (Some(_), None) => true,
        };
        let name = named.map_or(&asked.name, |deb| &deb.name).clone();
        Ok(Item { asked: text.to_owned(), name, version, fits, candidate: Candidate::Unseen })
    }

    /// Whether the repositories are what apt's lists were made from: no source is still to come, no list to be fetched.
    fn settled(&self, world: &dyn System) -> Result<bool, ResourceError> {
        let answer = world.probe(&Probe::new("apt:lists", LISTS))?;
        let seen = answer.text();
        let sources = AbsPath::new("/etc/apt/sources.list.d").map_err(ResourceError::message)?;
        let listed = world.list(&sources)?;
        let expected = seen.lines().filter(|line| line.starts_with("/etc/apt/sources.list.d/")).count();
        let fetched = seen.lines().any(|line| line.starts_with("/var/lib/apt/lists/"));
        Ok(!answer.predicted && fetched && listed.len() == expected && world.promised().is_empty())
    }

    fn find_candidates(&self, items: &mut [Item], world: &dyn System) -> Result<(), ResourceError> {
        let asked = |item: &Item| self.state == Presence::Latest || item.version.is_none() || !item.fits;
        let names: Vec<String> = items.iter().filter(|i| asked(i)).map(|i| Asked::parse(&i.asked).name).collect();
        if names.is_empty() {
            return Ok(());
        }
        let mut probe = Probe::new("apt:candidates", &["apt-cache"]);
        probe.argv.extend(READ_ONLY.iter().map(|option| (*option).to_owned()));
        probe.argv.extend(self.default_release.iter().flat_map(|to| ["-o".to_owned(), format!("APT::Default-Release={to}")]));
        probe.argv.push("policy".to_owned());
        probe.argv.extend(names);
        probe.env.push(("LC_ALL".to_owned(), "C".to_owned()));
        let answer = world.probe(&probe)?;
        if !answer.success() || answer.predicted {
            return Ok(());
        }
        let policies = policies(&answer.text());
        let certain = !self.refreshes(world)? && self.settled(world)?;
        for item in items.iter_mut().filter(|item| asked(item)) {
            item.candidate = offered(&Asked::parse(&item.asked), &policies, certain);
        }
        Ok(())
    }

    /// Whether the lists are to be fetched: asked for, and older than is allowed.
    fn refreshes(&self, world: &dyn System) -> Result<bool, ResourceError> {
        if !self.update_cache && self.cache_valid_time == 0 {
            return Ok(false);
        }
        if world.probe(&Probe::new("apt:lists", LISTS))?.predicted {
            return Ok(false);
        }
        if self.cache_valid_time == 0 {
            return Ok(true);
        }
        let mut youngest = 0;
        for path in ["/var/lib/apt/periodic/update-success-stamp", "/var/lib/apt/lists"] {
            let path = AbsPath::new(path).map_err(ResourceError::message)?;
            youngest = world.stat(&path)?.map_or(youngest, |meta| meta.mtime.max(youngest));
        }
        let age = local::seconds_now().unwrap_or(i64::MAX).saturating_sub(youngest);
        Ok(u64::try_from(age).unwrap_or(0) > self.cache_valid_time)
    }

    /// What `upgrade` or a lone `autoremove` would do.
    fn simulate(&self, world: &dyn System) -> Result<Vec<Item>, ResourceError> {
        let verb = match self.upgrade {
            Upgrade::Full => "dist-upgrade",
            Upgrade::Safe => "upgrade",
            Upgrade::No => "autoremove",
        };
        let mut probe = Probe::new("apt:simulated", &["apt-get", "-s", "-o", "Debug::NoLocking=1"]);
        probe.argv.extend(READ_ONLY.iter().map(|option| (*option).to_owned()));
        probe.argv.push(verb.to_owned());
        if verb == "upgrade" {
            probe.argv.push("--with-new-pkgs".to_owned());
        }
        probe.env.push(("LC_ALL".to_owned(), "C".to_owned()));
        // What is there now is kept by the journal where somebody has asked for it.
        ask(world, &Probe::new(ALL, LIST))?;
        Ok(simulated(&ask(world, &probe)?.text()))
    }

    fn action(&self, verb: &str, effect: Effect) -> Action {
        let mut argv: Vec<String> = ["apt-get", "-y", "-o"].map(str::to_owned).to_vec();
        argv.push(format!("DPkg::Lock::Timeout={}", self.lock_timeout));
        argv.push(verb.to_owned());
        let env = ENV.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Action { argv, env, ..Action::new(&[], effect) }
    }

    fn options(&self) -> Vec<String> {
        let mut options: Vec<String> = Vec::new();
        for option in &self.dpkg_options {
            options.extend(["-o".to_owned(), format!("Dpkg::Options::=--{}", option.trim_start_matches('-'))]);
        }
        options.extend(self.default_release.iter().flat_map(|release| ["-t".to_owned(), release.clone()]));
        let flags = [
            (self.install_recommends == Some(true), "--install-recommends"),
            (self.install_recommends == Some(false), "--no-install-recommends"),
            (self.only_upgrade, "--only-upgrade"),
            (self.allow_downgrade, "--allow-downgrades"),
            (self.allow_unauthenticated, "--allow-unauthenticated"),
            (self.allow_change_held_packages, "--allow-change-held-packages"),
            (self.fail_on_autoremove, "--no-remove"),
            (self.autoremove, "--auto-remove"),
        ];
        options.extend(flags.into_iter().filter(|(on, _)| *on).map(|(_, flag)| flag.to_owned()));
        options
    }

    fn verb(&self) -> &'static str {
        match (self.upgrade, self.state) {
            (Upgrade::Full, _) if self.name.is_empty() => "dist-upgrade",
            (Upgrade::Safe, _) if self.name.is_empty() => "upgrade",
            _ if self.name.is_empty() => "autoremove",
            (_, Presence::Absent) if self.purge => "purge",
            (_, Presence::Absent) => "remove",
            _ => "install",
        }
    }

    fn whole(&self) -> bool {
        self.name.is_empty() && (self.upgrade != Upgrade::No || self.autoremove)
    }
}

fn offered(asked: &Asked, policies: &[(String, Option<String>, Vec<String>)], certain: bool) -> Candidate {
    let none = if certain { Candidate::Nowhere } else { Candidate::Unseen };
    let Some((_, candidate, versions)) = policies.iter().find(|(name, ..)| arch_of(name).0 == asked.name) else {
        return none;
    };
    match (&asked.version, candidate) {
        (Some(wanted), _) => {
            versions.iter().find(|version| glob(wanted, version)).map_or(none, |version| Candidate::Version(version.clone()))
        }
        (None, Some(version)) => Candidate::Version(version.clone()),
        // A virtual package: apt chooses who provides it, or says that it cannot.
        (None, None) => Candidate::Unseen,
    }
}

impl Resource for Apt {
    const NAMES: &'static [&'static str] = &["apt", "ansible.builtin.apt"];
    const EXAMPLE: &'static str =
        "- name: Name server\n  apt:\n    name: [bind9, bind9-utils]\n    update_cache: true\n    cache_valid_time: 3600\n";
    const PREDICTS: &'static str =
        "which packages come and go, with their versions where apt's lists know them; not their dependencies";
    type World = dyn System;
    type State = State;

    fn manages(&self) -> Vec<Thing> {
        self.name.iter().map(|name| Thing::new("package", name)).collect()
    }

    fn check(&self) -> Result<(), Vec<String>> {
        let lists = self.update_cache || self.cache_valid_time > 0;
        if self.name.is_empty() && !lists && !self.whole() {
            return Err(vec!["`name` says which packages".to_owned()]);
        }
        if !self.name.is_empty() && self.upgrade != Upgrade::No {
            return Err(vec!["`upgrade` concerns everything that is installed and goes without `name`".to_owned()]);
        }
        let patterns = self.name.iter().filter(|name| Asked::parse(name).name.contains(['*', '?']));
        let problems: Vec<String> = patterns.map(|name| format!("`{name}` is a pattern, not a package")).collect();
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    fn inspect(&self, world: &Self::World) -> Result<State, ResourceError> {
        let mut items = Vec::new();
        for asked in &self.name {
            items.push(self.look(asked, world)?);
        }
        if self.whole() {
            items = self.simulate(world)?;
        } else if self.state != Presence::Absent {
            self.find_candidates(&mut items, world)?;
        }
        Ok(State { manager: Manager::Apt, items, fresh: !self.refreshes(world)? })
    }

    fn desire(&self, now: &State) -> Result<State, ResourceError> {
        if self.whole() {
            let mut want = now.clone();
            want.fresh = true;
            for item in &mut want.items {
                item.version = match &item.candidate {
                    Candidate::Version(version) => Some(version.clone()),
                    _ => None,
                };
            }
            return Ok(want);
        }
        packages::desire(now, self.state, true)
    }

    fn apply(&self, now: &State, want: &State, world: &Self::World) -> Result<Map, ResourceError> {
        let mut answer = Answer::default();
        if now.fresh != want.fresh {
            let lists = Answer { predicted: true, ..Answer::default() };
            let effect = Effect::predicts("apt:lists", lists);
            answer = run(world, &self.action("update", effect))?;
        }
        let differing = differing(now, want);
        if !differing.is_empty() || self.whole() {
            let verb = self.verb();
            let mut action = self.action(verb, packages::effect(&differing, Deb::line));
            action.argv.extend(self.options());
            if !self.whole() {
                action.argv.extend(differing.iter().map(|item| item.asked.clone()));
            }
            answer = run(world, &action)?;
        }
        let mut result = packages::report(&answer);
        result.insert("cache_updated".to_owned(), Value::Bool(now.fresh != want.fresh));
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

    #[test]
    fn dpkg_says_what_is_installed() {
        let mta = Deb::parse("exim4-daemon-light 4.96-15+deb12u6 ii  default-mta, mail-transport-agent").unwrap();
        assert!(mta.installed() && mta.provides == ["default-mta", "mail-transport-agent"]);
        let lib = Deb::parse("libc6:amd64 2.36-9+deb12u10 ii  libc6-2.36 (= 2.36)").unwrap();
        assert_eq!((lib.name.as_str(), lib.arch.as_deref()), ("libc6", Some("amd64")));
        assert!(Asked::parse("libc6").is(&lib) && !Asked::parse("libc6:i386").is(&lib));
        assert!(!Deb::parse("nginx 1.22.1-9 rc  httpd").unwrap().installed());
        assert!(Deb::parse("nginx 1.22.1-9 hi  httpd").unwrap().installed());
    }

    #[test]
    fn policy_says_what_could_be() {
        let text = "bind9:\n  Installed: (none)\n  Candidate: 1:9.18.33-1~deb12u2\n  Version table:\n     1:9.18.33-1~deb12u2 500\n        500 http://deb.debian.org/debian bookworm/main amd64 Packages\n *** 1:9.18.28-1 100\n        100 /var/lib/dpkg/status\nmail-transport-agent:\n  Installed: (none)\n  Candidate: (none)\n  Version table:\n";
        let policies = policies(text);
        assert_eq!(policies[0].2, ["1:9.18.33-1~deb12u2", "1:9.18.28-1"]);
        let cases = [
            ("bind9", Candidate::Version("1:9.18.33-1~deb12u2".to_owned())),
            ("bind9=1:9.18.28*", Candidate::Version("1:9.18.28-1".to_owned())),
            ("bind9=1:9.16*", Candidate::Nowhere),
            ("mail-transport-agent", Candidate::Unseen),
            ("nosuch", Candidate::Nowhere),
        ];
        for (asked, candidate) in cases {
            assert_eq!(offered(&Asked::parse(asked), &policies, true), candidate, "{asked}");
        }
        assert_eq!(offered(&Asked::parse("nosuch"), &policies, false), Candidate::Unseen);
    }

    #[test]
    fn a_simulation_says_what_would_come_and_go() {
        let text = "NOTE: This is only a simulation!\nInst tzdata [2024a-0] (2025b-0+deb12u1 Debian:12.11/stable [all])\nInst new (1.0 Debian:12 [amd64])\nConf tzdata (2025b-0+deb12u1 Debian:12.11/stable [all])\nRemv old [0.9]\n";
        let items = simulated(text);
        let seen: Vec<_> = items.iter().map(|item| (item.name.as_str(), item.version.as_deref())).collect();
        assert_eq!(seen, [("tzdata", Some("2024a-0")), ("new", None), ("old", Some("0.9"))]);
        assert_eq!(items[0].candidate, Candidate::Version("2025b-0+deb12u1".to_owned()));
        assert_eq!(items[2].candidate, Candidate::Nowhere);
    }

    const HERE: &str = "libc6:amd64 2.36-9 ii  \nnginx 1.22.1-9 ii  httpd, httpd-cgi\nold 1.0 rc  \n";
    const POLICY: &str = "bind9:\n  Installed: (none)\n  Candidate: 1:9.18.33-1\n  Version table:\n     1:9.18.33-1 500\nnginx:\n  Installed: 1.22.1-9\n  Candidate: 1.22.1-10\n  Version table:\n     1.22.1-10 500\n *** 1.22.1-9 100\n";

    const MADISON: &str = "bind9 | 1:9.18.33-1 | http://deb.debian.org/debian bookworm/main amd64 Packages\nnginx | 1.22.1-10 | http://deb.debian.org/debian bookworm/main amd64 Packages\nnginx | 1.22.1-9 | http://security.debian.org bookworm/updates amd64 Packages\n old | 1.0 | http://deb.debian.org/debian bookworm/main amd64 Packages\n";

    pub(crate) fn host() -> Fake {
        Fake::new()
            .file("/usr/bin/apt-get", "")
            .dir("/etc/apt/sources.list.d")
            .dir("/var/lib/apt/lists")
            .command(&["dpkg-query"], Answer::ok(HERE))
            .command(&["find"], Answer::ok("/var/lib/apt/lists/deb.debian.org_dists_bookworm_InRelease\n"))
            .command(&["apt-cache"], Answer::ok(POLICY))
            .command(&[&["apt-cache"], READ_ONLY, &["madison"]].concat(), Answer::ok(MADISON))
            .command(&["apt-get"], Answer::ok("done\n"))
            .command(&["dpkg"], Answer::default())
    }

    fn apt(args: &[(&str, Value)]) -> Apt {
        Apt::decode(&args.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()).unwrap()
    }

    #[test]
    pub(crate) fn packages_keep_the_laws() {
        for (name, state) in [("bind9", "present"), ("bind9=1:9.18*", "present"), ("nginx", "absent"), ("httpd", "present"), ("nginx", "latest"), ("libc6", "present"), ("nosuch", "present"), ("old", "absent")] {
            laws(&apt(&[("name", name.into()), ("state", state.into())]), host);
        }
        laws(&apt(&[("name", "old".into()), ("state", "absent".into()), ("purge", true.into())]), host);
        laws(&apt(&[("name", "bind9".into()), ("update_cache", true.into())]), host);
        laws(&apt(&[("cache_valid_time", 3600.into())]), host);
    }

    #[test]
    fn a_blank_host_gets_its_lists_and_everything_in_one_transaction() {
        let blank = host().command(&["find"], Answer::ok("")).command(&["apt-cache"], Answer::ok(""));
        let apt = apt(&[("name", vec!["bind9", "nginx", "haproxy"].into()), ("update_cache", true.into()), ("install_recommends", false.into())]);
        let outcome = converge(&apt, &blank as &(dyn System + 'static), None).unwrap();
        assert_eq!(outcome.diff.len(), 3);
        let log = blank.log();
        assert_eq!(log[0], "act apt-get -y -o DPkg::Lock::Timeout=120 update");
        assert!(log[1].ends_with("force-confold --no-install-recommends bind9 haproxy"), "{}", log[1]);
        let env = &blank.acts()[1].env;
        assert!(env.contains(&("DEBIAN_FRONTEND".to_owned(), "noninteractive".to_owned())));
    }

    #[test]
    fn a_typing_mistake_is_told_before_anything_is_done() {
        let host = host();
        let failure = converge(&apt(&[("name", "bind99".into())]), &host as &(dyn System + 'static), None).unwrap_err();
        assert_eq!(failure.message, "no repository of this host has a package `bind99`");
        assert_eq!(host.log(), Vec::<String>::new());
    }
}
