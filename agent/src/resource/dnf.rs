//! Packages on machines that have rpm: dnf, or yum where it stands in its place.

use super::acting::{ask, run};
use super::packages::{self, Candidate, Item, Manager, Presence, State, differing, glob, key};
use super::{Resource, ResourceError};
use crate::ledger::Thing;
use crate::params;
use crate::path::AbsPath;
use crate::system::{Action, Effect, Probe, Staged, System, SystemError};
use crate::value::{Map, Value};
use std::cmp::Ordering;

params! {
    /// Makes sure that packages are installed or not, with dnf; all packages of one task are one transaction.
    pub struct Dnf {
        /// Packages: names, perhaps with a version (`bind-9.16*`), capabilities, paths, files or addresses of RPMs.
        name: Vec<String> ["pkg"],
        /// Whether they should be there, and whether in the newest version.
        state: Presence = "present",
        /// Fetch the repositories' metadata first, when something has to be installed.
        update_cache: bool ["expire-cache"] = "no",
        /// Repositories to use though they are disabled.
        enablerepo: Vec<String>,
        /// Repositories not to use.
        disablerepo: Vec<String>,
        /// Packages that are left alone.
        exclude: Vec<String>,
        /// Install without checking signatures.
        disable_gpg_check: bool = "no",
        /// Let an asked version be older than the installed one.
        allow_downgrade: bool = "no",
        /// Let packages be removed that stand in the way.
        allowerasing: bool = "no",
        /// Take an older candidate where the newest cannot be installed.
        nobest: bool = "no",
        /// Leave out packages that cannot be installed.
        skip_broken: bool = "no",
        /// Install weak dependencies too.
        install_weak_deps: bool = "yes",
        /// With `absent`: remove dependencies that nothing needs any more.
        autoremove: bool = "no",
        /// Check the servers' certificates.
        sslverify: bool = "yes",
        /// The release whose repositories are used.
        releasever: Option<String>,
    }
}

/// One line for each installed package; with the same arguments each time, so that a session asks once.
const LIST: &[&str] = &["rpm", "-qa", "--qf", FORMAT];
pub(super) const FORMAT: &str = "%{NAME} %{EPOCH} %{VERSION} %{RELEASE} %{ARCH}\\n";
pub(super) const QUERY: &str = "%{name} %{epoch} %{version} %{release} %{arch}\\n";

/// dnf writes into its cache even when it only reads it: it gets a tree of links to the real one.
pub(super) const ASIDE: &str = r#"
stage=$1; shift
mkdir "$stage/cache" || exit
for from in /var/cache/dnf /var/cache/libdnf5; do [ -d $from ] && cp -as $from/. "$stage/cache"; done
rm -f "$stage"/cache/*.json "$stage"/cache/*.pid
exec "$@"
"#;

/// A package as rpm knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rpm {
    pub(super) name: String,
    pub(super) epoch: String,
    pub(super) version: String,
    pub(super) release: String,
    pub(super) arch: String,
}

impl Rpm {
    pub(super) fn parse(line: &str) -> Option<Rpm> {
        let mut words = line.split(' ').map(str::to_owned);
        let (name, epoch) = (words.next().filter(|name| !name.is_empty())?, words.next()?);
        let epoch = if epoch == "(none)" { "0".to_owned() } else { epoch };
        Some(Rpm { name, epoch, version: words.next()?, release: words.next()?, arch: words.next()? })
    }

    pub(super) fn evr(&self) -> String {
        let Rpm { epoch, version, release, .. } = self;
        match (epoch.as_str(), version.as_str()) {
            (_, "") => String::new(),
            ("0" | "", _) => format!("{version}-{release}"),
            _ => format!("{epoch}:{version}-{release}"),
        }
    }

    /// Whether a specification names it, in one of the forms of dnf(8), "NEVRA matching".
    fn is(&self, asked: &str) -> bool {
        let Rpm { name, epoch, version, release, arch } = self;
        let forms = [
            name.clone(),
            format!("{name}.{arch}"),
            format!("{name}-{version}"),
            format!("{name}-{version}-{release}"),
            format!("{name}-{version}-{release}.{arch}"),
            format!("{name}-{epoch}:{version}"),
            format!("{name}-{epoch}:{version}-{release}"),
            format!("{name}-{epoch}:{version}-{release}.{arch}"),
        ];
        forms.iter().any(|form| glob(asked, form))
    }

    /// Its line in [`LIST`], from a version as [`Rpm::evr`] writes it.
    fn line(item: &Item) -> String {
        let evr = item.version.as_deref().unwrap_or_default();
        let (epoch, rest) = evr.split_once(':').unwrap_or(("0", evr));
        let (version, release) = rest.rsplit_once('-').unwrap_or((rest, ""));
        format!("{} {epoch} {version} {release} \n", item.name)
    }
}

fn parse(text: &str) -> Vec<Rpm> {
    text.lines().filter_map(Rpm::parse).collect()
}

fn newest(rpms: &[Rpm]) -> Option<&Rpm> {
    rpms.iter().max_by(|a, b| compare_evr(&a.evr(), &b.evr()).then((a.arch != "i686").cmp(&(b.arch != "i686"))))
}

/// A file or an address of an RPM, not the name of a package.
fn is_file(asked: &str) -> bool {
    asked.ends_with(".rpm") && (asked.starts_with('/') || asked.contains("://"))
}

/// Compares two versions with epoch and release as rpm does.
fn compare_evr(a: &str, b: &str) -> Ordering {
    let split = |evr: &str| {
        let (epoch, rest) = evr.split_once(':').unwrap_or(("0", evr));
        let (version, release) = rest.rsplit_once('-').unwrap_or((rest, ""));
        (epoch.to_owned(), version.to_owned(), release.to_owned())
    };
    let (a, b) = (split(a), split(b));
    compare(&a.0, &b.0).then_with(|| compare(&a.1, &b.1)).then_with(|| compare(&a.2, &b.2))
}

/// rpmvercmp: runs of digits and of letters are compared one after another; `~` sorts before the end, `^` after it.
fn compare(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        let junk = |c: char| !c.is_ascii_alphanumeric() && c != '~' && c != '^';
        (a, b) = (a.trim_start_matches(junk), b.trim_start_matches(junk));
        for (mark, first) in [('~', Ordering::Less), ('^', Ordering::Greater)] {
            match (a.starts_with(mark), b.starts_with(mark)) {
                (true, true) => return compare(&a[1..], &b[1..]),
                (true, false) if mark == '^' && !b.is_empty() => return Ordering::Less,
                (false, true) if mark == '^' && !a.is_empty() => return Ordering::Greater,
                (true, false) => return first,
                (false, true) => return first.reverse(),
                _ => {}
            }
        }
        if a.is_empty() || b.is_empty() {
            return a.len().cmp(&b.len());
        }
        let digits = a.starts_with(|c: char| c.is_ascii_digit());
        let run = |text: &str| {
            text.find(|c: char| if digits { !c.is_ascii_digit() } else { !c.is_ascii_alphabetic() }).unwrap_or(text.len())
        };
        let ((one, rest_a), (two, rest_b)) = (a.split_at(run(a)), b.split_at(run(b)));
        if two.is_empty() {
            return if digits { Ordering::Greater } else { Ordering::Less };
        }
        let (one, two) = if digits { (one.trim_start_matches('0'), two.trim_start_matches('0')) } else { (one, two) };
        let order = if digits { one.len().cmp(&two.len()).then(one.cmp(two)) } else { one.cmp(two) };
        if order != Ordering::Equal {
            return order;
        }
        (a, b) = (rest_a, rest_b);
    }
}

/// dnf, or yum where there is no dnf.
pub(super) fn program(world: &dyn System) -> Result<&'static str, ResourceError> {
    let has = |path: &str| AbsPath::new(path).is_ok_and(|path| matches!(world.stat(&path), Ok(Some(_))));
    ["dnf", "yum"]
        .into_iter()
        .find(|name| has(&format!("/usr/bin/{name}")))
        .ok_or_else(|| ResourceError::message("this host has neither dnf nor yum"))
}

impl Dnf {
    /// What is there of one package.
    fn look(&self, asked: &str, world: &dyn System) -> Result<Item, ResourceError> {
        let item = |rpm: &Rpm, fits: bool| Item {
            asked: asked.to_owned(),
            name: rpm.name.clone(),
            version: Some(rpm.evr()),
            fits,
            candidate: Candidate::Unseen,
        };
        if is_file(asked) {
            return self.look_at_file(asked, world);
        }
        let all = parse(&ask(world, &Probe::new(key(asked), LIST))?.text());
        // A predicted package whose version nobody knows is what was asked for.
        let fits = |rpm: &&Rpm| rpm.is(asked) || rpm.version.is_empty();
        let here: Vec<Rpm> = all.iter().filter(fits).cloned().collect();
        if let Some(rpm) = newest(&here) {
            return Ok(item(rpm, true));
        }
        let argv = ["rpm", "-q", "--whatprovides", "--qf", FORMAT, asked];
        let provides = world.probe(&Probe::new(format!("provides:{asked}"), &argv))?;
        let provider = provides.success().then(|| newest(&parse(&provides.text())).map(|rpm| item(rpm, true))).flatten();
        Ok(provider.unwrap_or_else(|| Item {
            asked: asked.to_owned(),
            name: asked.to_owned(),
            version: None,
            fits: false,
            candidate: Candidate::Unseen,
        }))
    }

    fn look_at_file(&self, asked: &str, world: &dyn System) -> Result<Item, ResourceError> {
        let probe = Probe::new(format!("rpm-file:{asked}"), &["rpm", "-qp", "--nosignature", "--qf", FORMAT, asked]);
        let answer = world.probe(&probe)?;
        let Some(file) = parse(&answer.text()).into_iter().next().filter(|_| answer.success()) else {
            let promised = AbsPath::new(asked).is_ok_and(|path| matches!(world.stat(&path), Ok(Some(_))));
            return Err(if promised && world.predicted() {
                SystemError::Unknown(format!("{asked} is not there yet")).into()
            } else {
                super::acting::failed(&probe.argv, &answer)
            });
        };
        let all = parse(&ask(world, &Probe::new(key(&file.name), LIST))?.text());
        let here = newest(&all.into_iter().filter(|rpm| rpm.name == file.name).collect::<Vec<_>>()).map(Rpm::evr);
        let fits = here.as_ref().is_some_and(|here| compare_evr(here, &file.evr()) != Ordering::Less || here.is_empty());
        let candidate = Candidate::Version(file.evr());
        Ok(Item { asked: asked.to_owned(), name: file.name, version: here, fits, candidate })
    }

    fn repositories(&self) -> Vec<String> {
        let mut options: Vec<String> = Vec::new();
        options.extend(self.disablerepo.iter().map(|name| format!("--disablerepo={name}")));
        options.extend(self.enablerepo.iter().map(|name| format!("--enablerepo={name}")));
        options.extend(self.exclude.iter().map(|name| format!("--exclude={name}")));
        options.extend(self.releasever.iter().map(|release| format!("--releasever={release}")));
        options
    }

    /// What the cached metadata offers; nothing is fetched and nothing is written.
    fn offers(&self, names: &[&str], newer: bool, world: &dyn System) -> Result<Option<Vec<Rpm>>, ResourceError> {
        let which = if newer { "--upgrades" } else { "--available" };
        let mut probe = Probe::new("repositories", &["/bin/sh", "-c", ASIDE, "sh", "{stage}", program(world)?, "-q", "-C"]);
        let query = ["--setopt=logdir={stage}", "--setopt=cachedir={stage}/cache", "repoquery", which, "--latest-limit=1", "--qf", QUERY];
        probe.argv.extend(query.map(str::to_owned));
        probe.argv.extend(self.repositories());
        probe.argv.extend(names.iter().map(|name| (*name).to_owned()));
        probe.stage.push(Staged { path: "dnf.log".to_owned(), bytes: Vec::new() });
        let answer = world.probe(&probe)?;
        Ok(answer.success().then(|| parse(&answer.text())))
    }

    /// Fills in what could be installed: for what is missing, and with `latest` for what is there.
    fn find_candidates(&self, items: &mut [Item], world: &dyn System) -> Result<(), ResourceError> {
        for newer in [false, true] {
            let asked = |item: &Item| {
                item.candidate == Candidate::Unseen && (item.version.is_some() && item.fits) == newer
            };
            let names: Vec<String> = items.iter().filter(|item| asked(item)).map(|item| item.asked.clone()).collect();
            if names.is_empty() || (newer && self.state != Presence::Latest) {
                continue;
            }
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let Some(offers) = self.offers(&names, newer, world)? else { continue };
            let others = offers.iter().any(|offer| !names.iter().any(|name| offer.is(name)));
            for item in items.iter_mut().filter(|item| asked(item)) {
                let fitting: Vec<Rpm> = offers.iter().filter(|offer| offer.is(&item.asked)).cloned().collect();
                match newest(&fitting) {
                    Some(offer) => {
                        item.name.clone_from(&offer.name);
                        item.candidate = Candidate::Version(offer.evr());
                    }
                    None if !newer && !others => item.candidate = Candidate::Nowhere,
                    None => {}
                }
            }
        }
        Ok(())
    }

    /// An installed package in another version than asked for: its version is what changes.
    fn find_others(&self, items: &mut [Item], world: &dyn System) -> Result<(), ResourceError> {
        for item in items.iter_mut().filter(|item| item.version.is_none() && item.asked != item.name) {
            let all = parse(&ask(world, &Probe::new(key(&item.name), LIST))?.text());
            item.version = newest(&all.into_iter().filter(|rpm| rpm.name == item.name).collect::<Vec<_>>()).map(Rpm::evr);
        }
        Ok(())
    }

    /// `name: "*"` with `latest`: everything that could be newer.
    fn everything(&self, world: &dyn System) -> Result<Vec<Item>, ResourceError> {
        let offers = self.offers(&[], true, world)?.ok_or_else(|| {
            SystemError::Unknown("dnf has no cached metadata to say what is new".to_owned())
        })?;
        let mut items = Vec::new();
        for offer in offers {
            let mut item = self.look(&offer.name, world)?;
            item.candidate = Candidate::Version(offer.evr());
            items.push(item);
        }
        Ok(items)
    }

    fn command(&self, verb: &str, world: &dyn System) -> Result<Vec<String>, ResourceError> {
        let mut argv = vec![program(world)?.to_owned(), "-y".to_owned(), verb.to_owned()];
        argv.extend(self.repositories());
        let flags = [
            (self.update_cache, "--refresh"),
            (self.disable_gpg_check, "--nogpgcheck"),
            (self.allowerasing, "--allowerasing"),
            (self.nobest, "--nobest"),
            (self.state == Presence::Latest && !self.nobest, "--best"),
            (self.skip_broken, "--skip-broken"),
            (!self.install_weak_deps, "--setopt=install_weak_deps=False"),
            (!self.sslverify, "--setopt=sslverify=False"),
        ];
        argv.extend(flags.into_iter().filter(|(on, _)| *on && verb == "install").map(|(_, flag)| flag.to_owned()));
        Ok(argv)
    }
}

impl Resource for Dnf {
    const NAMES: &'static [&'static str] = &["dnf", "ansible.builtin.dnf", "yum", "ansible.builtin.yum"];
    const EXAMPLE: &'static str =
        "- name: Name server\n  dnf:\n    name:\n      - bind\n      - bind-utils\n    state: present\n";
    const PREDICTS: &'static str =
        "which packages come and go, with their versions where dnf's cache knows them; not their dependencies";
    type World = dyn System;
    type State = State;

    fn manages(&self) -> Vec<Thing> {
        self.name.iter().map(|name| Thing::new("package", name)).collect()
    }

    fn check(&self) -> Result<(), Vec<String>> {
        let mut problems = Vec::new();
        if self.name.is_empty() && !self.update_cache {
            problems.push("`name` says which packages".to_owned());
        }
        let groups = self.name.iter().filter(|name| name.starts_with('@'));
        problems.extend(groups.map(|name| format!("`{name}` is a package group; only packages are supported")));
        if self.name.iter().any(|name| name == "*") && (self.name.len() > 1 || self.state != Presence::Latest) {
            problems.push("`name: \"*\"` goes with `state: latest` and no other name".to_owned());
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    fn inspect(&self, world: &Self::World) -> Result<State, ResourceError> {
        program(world)?;
        let fresh = !self.update_cache;
        if self.name == ["*"] {
            return Ok(State { manager: Manager::Dnf, items: self.everything(world)?, fresh });
        }
        let mut items = Vec::new();
        for asked in &self.name {
            items.push(self.look(asked, world)?);
        }
        if self.state != Presence::Absent {
            self.find_candidates(&mut items, world)?;
            self.find_others(&mut items, world)?;
        }
        Ok(State { manager: Manager::Dnf, items, fresh })
    }

    fn desire(&self, now: &State) -> Result<State, ResourceError> {
        let want = packages::desire(now, self.state, false)?;
        for (here, wanted) in now.items.iter().zip(&want.items) {
            if let (Some(here), Some(new)) = (&here.version, &wanted.version)
                && !self.allow_downgrade
                && !new.is_empty()
                && compare_evr(here, new) == Ordering::Greater
            {
                let name = &wanted.name;
                return Err(ResourceError::message(format!(
                    "{name} {here} is installed and {new} is older; `allow_downgrade: true` lets it be replaced"
                )));
            }
        }
        Ok(want)
    }

    fn apply(&self, now: &State, want: &State, world: &Self::World) -> Result<Map, ResourceError> {
        let differing = differing(now, want);
        if differing.is_empty() {
            let argv = self.command("makecache", world)?;
            let answer = run(world, &Action { argv, ..Action::new(&[], Effect::none()) })?;
            return Ok(packages::report(&answer));
        }
        let verb = match (self.state, self.autoremove) {
            (Presence::Absent, true) => "autoremove",
            (Presence::Absent, false) => "remove",
            _ => "install",
        };
        let mut argv = self.command(verb, world)?;
        if verb == "remove" {
            argv.push("--noautoremove".to_owned());
        }
        argv.extend(differing.iter().map(|item| item.asked.clone()));
        let effect = packages::effect(&differing, Rpm::line);
        let answer = run(world, &Action { argv, ..Action::new(&[], effect) })?;
        let mut result = packages::report(&answer);
        let sign = if verb == "install" { "Installed" } else { "Removed" };
        let done = differing.iter().map(|item| Value::Str(format!("{sign}: {}", item.name))).collect();
        result.insert("results".to_owned(), Value::List(done));
        Ok(result)
    }

    fn notes(&self, now: &State, want: &State) -> Vec<String> {
        differing(now, want)
            .iter()
            .filter(|item| item.candidate == Candidate::Nowhere && item.version.is_some())
            .map(|item| format!("no repository in dnf's cache has `{}` now; dnf looks again when it is applied", item.asked))
            .collect()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::diff::{Change, Sign};
    use crate::param::Params;
    use crate::resource::converge;
    use crate::resource::laws::laws;
    use crate::system::Answer;
    use crate::system::fake::Fake;

    #[test]
    fn rpm_says_what_is_installed() {
        let text = "bind 32 9.16.23 18.el9_4.6 x86_64\ngpg-pubkey (none) 8483c65d 5ccc5b19 (none)\n\n";
        let rpms = parse(text);
        assert_eq!(rpms.iter().map(Rpm::evr).collect::<Vec<_>>(), ["32:9.16.23-18.el9_4.6", "8483c65d-5ccc5b19"]);
        for asked in ["bind", "bind.x86_64", "bind-9.16*", "bind-9.16.23-18.el9_4.6", "bind-32:9.16.23", "b*"] {
            assert!(rpms[0].is(asked), "{asked}");
        }
        for asked in ["bin", "bind-9.18*", "bind-utils"] {
            assert!(!rpms[0].is(asked), "{asked}");
        }
    }

    #[test]
    fn versions_compare_as_rpm_does() {
        use Ordering::{Equal, Greater, Less};
        for (a, b, order) in [
            ("1.0", "1.0", Equal), ("1.0", "2.0", Less), ("2.0.1", "2.0", Greater), ("1.10", "1.9", Greater),
            ("2.0.1a", "2.0.1", Greater), ("5.5p1", "5.5p10", Less), ("xyz10", "10.1", Less), ("1.0~rc1", "1.0", Less),
            ("1.0^git1", "1.0", Greater), ("1.0^git1", "1.01", Less), ("1.0~rc1", "1.0~rc2", Less), ("1_0", "1.0", Equal),
            ("010", "10", Equal), ("20101122", "20101121", Greater),
        ] {
            assert_eq!(compare(a, b), order, "{a} {b}");
            assert_eq!(compare(b, a), order.reverse(), "{b} {a}");
        }
        assert_eq!(compare_evr("1:1.0-1", "2.0-9"), Greater);
    }

    #[test]
    fn a_predicted_line_is_read_back() {
        let item = Item {
            asked: "bind".to_owned(),
            name: "bind".to_owned(),
            version: Some("32:9.16.23-18.el9".to_owned()),
            fits: true,
            candidate: Candidate::Unseen,
        };
        assert_eq!(parse(&Rpm::line(&item))[0].evr(), "32:9.16.23-18.el9");
        let unseen = Item { version: Some(String::new()), ..item };
        assert_eq!(parse(&Rpm::line(&unseen))[0].evr(), "");
    }

    const HERE: &str = "centos-stream-release 0 9.0 26.el9 noarch\nbind-libs 32 9.16.23 18.el9 x86_64\nnginx 1 1.20.1 14.el9 x86_64\n";

    /// A machine with these packages, and a cache that has bind.
    pub(crate) fn host() -> Fake {
        let offer = "bind 32 9.16.23 18.el9 x86_64\nnginx 1 1.22.0 1.el9 x86_64\n";
        Fake::new()
            .file("/usr/bin/dnf", "")
            .command(&["rpm", "-qa"], Answer::ok(HERE))
            .command(&["rpm", "-q", "--whatprovides"], Answer { rc: 1, stdout: b"no package provides it\n".to_vec(), ..Answer::default() })
            .command(&["dnf", "-y"], Answer::ok("Complete!\n"))
            .fact("repositories", Answer::ok(offer))
            .fact("packages:offered", Answer::ok(format!("{offer}{HERE}nginx 1 1.18.0 1.el9 x86_64\nnosuch 0 1 1 noarch\n/usr/bin/dig 0 1 1 noarch\n")))
            .command(&["rpm", "-e"], Answer::default())
    }

    fn dnf(args: &[(&str, Value)]) -> Dnf {
        Dnf::decode(&args.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()).unwrap()
    }

    #[test]
    pub(crate) fn packages_keep_the_laws() {
        for (name, state) in [("bind", "present"), ("bind-9.16*", "present"), ("nginx", "absent"), ("nginx", "present"), ("nginx", "latest"), ("nginx-1.22*", "present"), ("nosuch", "present"), ("/usr/bin/dig", "present")] {
            laws(&dnf(&[("name", name.into()), ("state", state.into())]), host);
        }
        laws(&dnf(&[("name", vec!["bind", "nginx"].into()), ("update_cache", true.into())]), host);
    }

    #[test]
    fn one_task_is_one_transaction_of_what_is_missing() {
        let host = host().fact("repositories", Answer::ok("bind 32 9.16.23 18.el9 x86_64\n"));
        let dnf = dnf(&[("name", vec!["bind", "nginx", "haproxy"].into()), ("disable_gpg_check", true.into())]);
        let outcome = converge(&dnf, &host as &(dyn System + 'static), None).unwrap();
        assert_eq!(host.log(), ["act dnf -y install --nogpgcheck bind haproxy"]);
        assert_eq!(host.installed(), ["bind", "haproxy"]);
        assert_eq!(outcome.diff[0], Change::Item { sign: Sign::Added, text: "bind 32:9.16.23-18.el9".to_owned() });
        assert_eq!(outcome.notes, ["no repository in dnf's cache has `haproxy` now; dnf looks again when it is applied"]);
    }

    #[test]
    fn a_failure_is_told_in_dnfs_words() {
        let words = Answer { rc: 1, stderr: b"Error: Unable to find a match: haproxy\n".to_vec(), ..Answer::default() };
        let host = host().fail_action(&["dnf", "-y", "install"], words);
        let failure = converge(&dnf(&[("name", "haproxy".into())]), &host as &(dyn System + 'static), None).unwrap_err();
        assert_eq!(failure.message, "dnf: Unable to find a match: haproxy");
    }

    #[test]
    fn an_older_version_is_refused_unless_allowed() {
        let offer = Answer::ok("nginx 1 1.18.0 1.el9 x86_64\n");
        let older = || host().fact("repositories", offer.clone());
        let refused = dnf(&[("name", "nginx-1.18*".into())]);
        let failure = converge(&refused, &older() as &(dyn System + 'static), None).unwrap_err();
        assert!(failure.message.contains("allow_downgrade"), "{}", failure.message);
        laws(&dnf(&[("name", "nginx-1.18*".into()), ("allow_downgrade", true.into())]), older);
    }
}
