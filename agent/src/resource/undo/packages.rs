//! Packages that a run installed, removed, or brought to another version, with all that came and went beside them.

mod list;
mod needs;

use super::{State, Undo, field, moved_since};
use crate::diff::{Change, Sign};
use crate::resource::acting::{failed, run};
use crate::resource::packages::{ALL, Manager};
use crate::resource::{ResourceError, acting, apt, dnf};
use crate::system::journal::Record;
use crate::system::{Action, Answer, Declared, Effect, Probe, Staged, System};
#[cfg(test)]
pub(crate) use list::lines;
use list::{Held, Package, Trace, Traces, deeds, list};
use needs::blocks;
use serde::Serialize;
use std::collections::BTreeSet;

/// The packages that the run touched, and who manages them.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub(super) struct Packages {
    list: Option<(Manager, Vec<String>)>,
    /// Whether something that the run brought is not there any more.
    gone: bool,
    /// Whether what goes gives way to what comes in one transaction.
    swaps: bool,
    spots: Vec<PackageSpot>,
}

/// A name of which the run installed or removed something.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct PackageSpot {
    name: String,
    now: Held,
    before: Held,
}

/// What becomes of one package.
struct Step {
    from: Option<Package>,
    to: Option<Package>,
}

impl PackageSpot {
    fn steps(&self, manager: Manager, want: &Held) -> Vec<Step> {
        let parse = |line: &String| Package::parse(manager, line);
        let stays: Vec<Package> = self.now.intersection(want).filter_map(parse).collect();
        let mut going: Vec<Package> = self.now.difference(want).filter_map(parse).collect();
        let mut coming: Vec<Package> = want.difference(&self.now).filter_map(parse).collect();
        let mut steps = Vec::new();
        for alike in [true, false] {
            for to in std::mem::take(&mut coming) {
                // Of what is there in several versions, each comes and goes for itself.
                let takes = |from: &&Package| match alike {
                    true => from.arch == to.arch && stays.iter().all(|other| other.arch != to.arch),
                    false => stays.is_empty(),
                };
                let several = going.iter().filter(takes).count() > 1;
                match going.iter().position(|from| takes(&from)).filter(|_| !several) {
                    Some(at) => steps.push(Step {
                        from: Some(going.remove(at)),
                        to: Some(to),
                    }),
                    None => coming.push(to),
                }
            }
        }
        steps.extend(going.into_iter().map(|from| Step {
            from: Some(from),
            to: None,
        }));
        steps.extend(coming.into_iter().map(|to| Step {
            from: None,
            to: Some(to),
        }));
        steps
    }

    fn moved(&self, manager: Manager, left: &Held) -> Option<String> {
        if self.now == *left {
            return None;
        }
        let there: Vec<String> = self
            .now
            .iter()
            .filter_map(|line| Package::parse(manager, line))
            .map(|package| package.shown())
            .collect();
        Some(match there.is_empty() {
            true => "it is not installed".to_owned(),
            false => format!("{} is installed", there.join(", ")),
        })
    }
}

impl Step {
    /// What has to be installed.
    fn comes(&self) -> Option<&Package> {
        let goes = self.from.as_ref().is_some_and(|from| !from.config);
        self.to
            .as_ref()
            .filter(|to| !to.config || (self.from.is_none() && !goes))
    }

    /// What has to be removed, without its configuration.
    fn goes(&self) -> Option<Package> {
        match (&self.from, &self.to) {
            (Some(from), to) if !from.config => Some(from.clone()).filter(|_| to.as_ref().is_none_or(|to| to.config)),
            (None, Some(to)) if to.config => Some(to.whole()),
            _ => None,
        }
    }

    /// What has to be removed with its configuration.
    fn purged(&self) -> Option<&Package> {
        self.from.as_ref().filter(|_| self.to.is_none())
    }

    fn change(&self) -> Option<Change> {
        let item = |sign, package: &Package| {
            Some(Change::Item {
                sign,
                text: package.shown(),
            })
        };
        match (&self.from, &self.to) {
            (Some(from), Some(to)) if from.config == to.config => {
                let with = |package: &Package, other: &Package| match package.version == other.version {
                    true => format!("{} {}", package.version, package.arch),
                    false => package.version.clone(),
                };
                Some(field(&to.name, "version", &with(from, to), &with(to, from)))
            }
            (_, Some(to)) if !to.config || self.from.is_none() => item(Sign::Added, to),
            (Some(from), _) => item(Sign::Removed, from),
            (None, _) => None,
        }
    }
}

impl Undo {
    /// The packages that the run touched.
    pub(super) fn packages(
        &self,
        records: &[Record],
        state: &mut State,
        world: &dyn System,
    ) -> Result<(), ResourceError> {
        let deeds = deeds(records);
        let Some((probe, ..)) = deeds.last() else { return Ok(()) };
        let manager = if probe.argv.first().is_some_and(|program| program == "rpm") {
            Manager::Dnf
        } else {
            Manager::Apt
        };
        let probe = Probe {
            key: ALL.to_owned(),
            ..(*probe).clone()
        };
        let text = acting::ask(world, &probe)?.text();
        let now = list(manager, text.lines());
        let mut traces = Traces::default();
        for (_, before, listed) in deeds {
            let before = before.text();
            let before = list(manager, before.lines());
            match listed {
                Some(listed) => traces.add_listed(manager, &before, listed),
                // A run that was killed in it has all that became otherwise.
                None => {
                    for name in before.keys().chain(now.keys()) {
                        traces.add(&before, name, now.get(name).cloned().unwrap_or_default());
                    }
                }
            }
        }
        let mut packages = Packages {
            list: Some((manager, probe.argv)),
            gone: false,
            swaps: false,
            spots: Vec::new(),
        };
        for (name, Trace { before, left }) in traces.0 {
            let now = now.get(&name).cloned().unwrap_or_default();
            packages.gone |= !left.is_subset(&now);
            let spot = PackageSpot { name, now, before };
            // In which version a package left its configuration is of no matter.
            let config = |held: &Held| !held.is_empty() && held.iter().all(|line| line.ends_with(" rc "));
            if spot.now == spot.before || (config(&spot.now) && config(&spot.before)) {
                continue;
            }
            match spot.moved(manager, &left).filter(|_| !self.force) {
                Some(moved) => state
                    .left
                    .push((format!("package {}", spot.name), moved_since(Some(&moved)))),
                None => packages.spots.push(spot),
            }
        }
        packages.without_repository(manager, &mut state.left, world)?;
        packages.without_running(manager, &mut state.left, world)?;
        packages.without_needed(manager, &mut state.left, world)?;
        if manager == Manager::Apt {
            packages.without_refused(&mut state.left, world)?;
        }
        state.packages = packages;
        Ok(())
    }
}

impl Packages {
    fn steps(&self, manager: Manager) -> Vec<Step> {
        self.spots
            .iter()
            .flat_map(|spot| spot.steps(manager, &spot.before))
            .collect()
    }

    /// Whether any are to be installed.
    pub(super) fn some_come(&self) -> bool {
        let steps = self.list.iter().flat_map(|(manager, _)| self.steps(*manager));
        steps.into_iter().any(|step| step.comes().is_some())
    }

    /// Whether any are to be removed.
    pub(super) fn some_go(&self) -> bool {
        let steps = self.list.iter().flat_map(|(manager, _)| self.steps(*manager));
        steps.into_iter().any(|step| step.to.is_none_or(|to| to.config))
    }

    /// The files that go with packages.
    pub(super) fn files(&self, world: &dyn System) -> Result<BTreeSet<String>, ResourceError> {
        let Some((manager, _)) = self.list.as_ref().filter(|_| self.some_go()) else {
            return Ok(BTreeSet::new());
        };
        let mut argv = match manager {
            Manager::Apt => words(&["dpkg", "-L"]),
            Manager::Dnf => words(&["rpm", "-ql"]),
        };
        argv.extend(
            self.steps(*manager)
                .iter()
                .filter_map(Step::goes)
                .map(|package| package.exact),
        );
        let answer = world.probe(&asked("packages:files", argv))?;
        Ok(answer.text().lines().map(str::to_owned).collect())
    }

    /// Leaves a name as it is, and says why.
    fn leave(&mut self, name: &str, why: String, left: &mut Vec<(String, String)>) {
        self.spots.retain(|spot| spot.name != name);
        left.push((format!("package {name}"), why));
    }

    /// What no repository has any more cannot come back.
    fn without_repository(
        &mut self,
        manager: Manager,
        left: &mut Vec<(String, String)>,
        world: &dyn System,
    ) -> Result<(), ResourceError> {
        let wanted: Vec<Package> = self.steps(manager).iter().filter_map(Step::comes).cloned().collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let answer = world.probe(&offers(manager, &wanted, world)?)?;
        for package in wanted.iter().filter(|_| answer.success()) {
            if !offered(manager, package, &answer.text()) {
                let why = format!("no repository of this host has {} any more", package.shown());
                self.leave(&package.name, why, left);
            }
        }
        Ok(())
    }

    /// What apt would not install stays away. Where it stands in the way of what goes, one gives way to the other at once.
    fn without_refused(&mut self, left: &mut Vec<(String, String)>, world: &dyn System) -> Result<(), ResourceError> {
        let steps = self.steps(Manager::Apt);
        let wanted: Vec<Package> = steps.iter().filter_map(Step::comes).cloned().collect();
        let goes = steps.iter().filter(|step| step.from.is_some());
        let goes: Vec<Package> = goes.filter_map(Step::goes).collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let mut refused = None;
        for swapped in [&[][..], &goes] {
            let mut argv = words(&["apt-get", "-s", "-o", "Debug::NoLocking=1"]);
            argv.extend(words(apt::READ_ONLY));
            argv.extend(installs(Manager::Apt, &wanted, swapped));
            let probe = asked("packages:simulated", argv);
            let answer = world.probe(&probe)?;
            let text = answer.text();
            let mut removed = text
                .lines()
                .filter_map(|line| line.strip_prefix("Remv ")?.split(' ').next());
            let known = |name: &str| {
                swapped
                    .iter()
                    .any(|package| package.exact == name || package.name == name)
            };
            if answer.success() && removed.all(known) {
                self.swaps = !swapped.is_empty();
                return Ok(());
            }
            refused.get_or_insert_with(|| failed(&probe.argv, &answer).to_string());
        }
        for package in &wanted {
            self.leave(&package.name, refused.clone().unwrap_or_default(), left);
        }
        self.without_needed(Manager::Apt, left, world)
    }

    /// The kernel that runs stays, with its modules.
    fn without_running(
        &mut self,
        manager: Manager,
        left: &mut Vec<(String, String)>,
        world: &dyn System,
    ) -> Result<(), ResourceError> {
        let goes: Vec<Package> = self.steps(manager).iter().filter_map(Step::goes).collect();
        let kernels: Vec<&Package> = goes
            .iter()
            .filter(|package| package.name.starts_with("kernel"))
            .collect();
        if manager == Manager::Apt || kernels.is_empty() {
            return Ok(());
        }
        let answer = world.probe(&Probe::new("packages:kernel", &["uname", "-r"]))?;
        for kernel in kernels {
            if kernel.exact.strip_prefix(&kernel.name) == Some(&format!("-{}", answer.text().trim())) {
                self.leave(&kernel.name, "it is of the kernel that runs".to_owned(), left);
            }
        }
        Ok(())
    }

    /// What others need stays, and what it needs.
    fn without_needed(
        &mut self,
        manager: Manager,
        left: &mut Vec<(String, String)>,
        world: &dyn System,
    ) -> Result<(), ResourceError> {
        loop {
            let steps = self.steps(manager);
            let goes: Vec<Package> = steps
                .iter()
                .filter(|step| step.from.is_some())
                .filter_map(Step::goes)
                .collect();
            if goes.is_empty() {
                return Ok(());
            }
            // What is another one before it goes needs nothing of it then.
            let changing: BTreeSet<&str> = steps
                .iter()
                .filter_map(|step| Some(step.from.as_ref()?.exact.as_str()))
                .collect();
            let blocks = blocks(manager, &goes, &changing, world)?;
            if blocks.is_empty() {
                return Ok(());
            }
            for package in &goes {
                let of_it: Vec<&str> = blocks
                    .iter()
                    .filter(|block| block.target == package.exact)
                    .map(|block| block.words.as_str())
                    .collect();
                match of_it.as_slice() {
                    [] => {}
                    [words] => self.leave(&package.name, (*words).to_owned(), left),
                    [words, more @ ..] => self.leave(&package.name, format!("{words}, and {} more", more.len()), left),
                }
            }
        }
    }

    /// Whether something that the run brought is not there any more.
    pub(super) fn gone(&self) -> bool {
        self.gone
    }

    /// What somebody has changed since of a package's configuration stays, as dpkg leaves it when it removes a package.
    /// rpm leaves it in any case.
    pub(super) fn keep_configuration(
        &mut self,
        back: &BTreeSet<&str>,
        left: &mut Vec<(String, String)>,
        world: &dyn System,
    ) -> Result<(), ResourceError> {
        let Some((Manager::Apt, _)) = self.list else {
            return Ok(());
        };
        for spot in &mut self.spots {
            let steps = spot.steps(Manager::Apt, &spot.before);
            for package in steps.iter().filter_map(Step::purged).filter(|package| !package.config) {
                let argv = words(&["dpkg", "--verify", &package.exact]);
                let answer = world
                    .probe(&asked(&format!("packages:changed:{}", package.exact), argv))?
                    .text();
                // `??5?????? c /etc/nginx/nginx.conf`
                let changed = answer
                    .lines()
                    .filter(|line| !line.starts_with("missing"))
                    .filter_map(|line| line.split_once(" c "));
                let theirs: Vec<&str> = changed
                    .map(|(_, path)| path.trim())
                    .filter(|path| !back.contains(path))
                    .collect();
                if let Some(path) = theirs.first() {
                    spot.before.insert(package.configuration().line);
                    left.push((
                        format!("configuration of package {}", package.name),
                        moved_since(Some(path)),
                    ));
                }
            }
        }
        Ok(())
    }

    /// Everything is as it was.
    pub(super) fn settle(&mut self) {
        for spot in &mut self.spots {
            spot.now.clone_from(&spot.before);
        }
    }

    pub(super) fn changes(&self, want: &Packages, changes: &mut Vec<Change>) {
        let Some((manager, _)) = self.list else { return };
        for (spot, wanted) in self.spots.iter().zip(&want.spots) {
            changes.extend(spot.steps(manager, &wanted.now).iter().filter_map(Step::change));
        }
    }

    /// Runs a command, after which the list has these lines in the place of those.
    fn act(
        &self,
        argv: Vec<String>,
        went: &[Package],
        came: &[Package],
        world: &dyn System,
    ) -> Result<(), ResourceError> {
        let Some((manager, probe)) = &self.list else {
            return Ok(());
        };
        let probe = Probe {
            key: ALL.to_owned(),
            argv: probe.clone(),
            ..Probe::default()
        };
        let list = acting::ask(world, &probe)?.text();
        let goes = |line: &&str| {
            let package = Package::parse(*manager, line);
            package.is_some_and(|package| {
                went.iter().chain(came).any(|other| match manager {
                    Manager::Apt => other.exact == package.exact,
                    Manager::Dnf => other.line == package.line,
                })
            })
        };
        let stays = list.lines().filter(|line| !goes(line));
        let after: String = stays
            .chain(came.iter().map(|package| package.line.as_str()))
            .map(|line| format!("{line}\n"))
            .collect();
        let declared = Declared {
            predicts: vec![(ALL.to_owned(), Answer::ok(after))],
            brings: came
                .iter()
                .filter(|package| !package.config)
                .map(|package| package.name.clone())
                .collect(),
            ..Declared::default()
        };
        let env = apt::ENV
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        run(
            world,
            &Action {
                argv,
                env,
                ..Action::new(&[], Effect::Declared(declared))
            },
        )
        .map(drop)
    }

    /// Brings back what went, and the versions that there were.
    pub(super) fn come(&self, world: &dyn System) -> Result<(), ResourceError> {
        let Some((manager, _)) = self.list else { return Ok(()) };
        let steps = self.steps(manager);
        let mut came: Vec<Package> = steps.iter().filter_map(Step::comes).map(Package::whole).collect();
        if came.is_empty() {
            return Ok(());
        }
        let goes = steps.iter().filter(|step| self.swaps && step.from.is_some());
        let goes: Vec<Package> = goes.filter_map(Step::goes).collect();
        let mut argv = match manager {
            Manager::Apt => words(&["apt-get", "-o", "DPkg::Lock::Timeout=120"]),
            Manager::Dnf => vec![dnf::program(world)?.to_owned()],
        };
        argv.extend(installs(manager, &came, &goes));
        let went = steps.iter().filter(|step| step.comes().is_some());
        let went: Vec<Package> = went.filter_map(|step| step.from.clone()).collect();
        came.extend(goes.iter().map(Package::configuration));
        self.act(argv, &went, &came, world)
    }

    /// Takes away what came.
    pub(super) fn go(&self, world: &dyn System) -> Result<(), ResourceError> {
        let Some((manager, _)) = self.list else { return Ok(()) };
        let steps = self.steps(manager);
        let exact =
            |packages: &[Package]| -> Vec<String> { packages.iter().map(|package| package.exact.clone()).collect() };
        let goes: Vec<Package> = steps.iter().filter_map(Step::goes).collect();
        let (remove, purge): (&[&str], &[&str]) = match manager {
            Manager::Apt => (&["dpkg", "--remove"], &["dpkg", "--purge"]),
            Manager::Dnf => (&["rpm", "-e"], &[]),
        };
        if !goes.is_empty() {
            let apt = manager == Manager::Apt;
            let rest: Vec<Package> = goes.iter().filter(|_| apt).map(Package::configuration).collect();
            self.act([words(remove), exact(&goes)].concat(), &goes, &rest, world)?;
        }
        let purged: Vec<Package> = steps.iter().filter_map(Step::purged).cloned().collect();
        if manager == Manager::Apt && !purged.is_empty() {
            self.act([words(purge), exact(&purged)].concat(), &purged, &[], world)?;
        }
        Ok(())
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// A question whose answer is read.
fn asked(key: &str, argv: Vec<String>) -> Probe {
    Probe {
        argv,
        env: vec![("LC_ALL".to_owned(), "C".to_owned())],
        ..Probe::new(key, &[])
    }
}

/// The words that install exactly these, after the program; apt in the place of those.
fn installs(manager: Manager, packages: &[Package], swapped: &[Package]) -> Vec<String> {
    let keeps = if swapped.is_empty() {
        "--no-remove"
    } else {
        "--no-auto-remove"
    };
    let flags: &[&str] = match manager {
        Manager::Apt => &[
            "-y",
            "-o",
            "Dpkg::Options::=--force-confdef",
            "-o",
            "Dpkg::Options::=--force-confold",
            "--allow-downgrades",
            keeps,
            "--no-install-recommends",
            "install",
        ],
        Manager::Dnf => &["-y", "--setopt=install_weak_deps=False", "install"],
    };
    [
        words(flags),
        packages.iter().map(|package| package.wanted(manager)).collect(),
        swapped.iter().map(|package| format!("{}-", package.exact)).collect(),
    ]
    .concat()
}

/// Asks which versions the repositories have.
fn offers(manager: Manager, packages: &[Package], world: &dyn System) -> Result<Probe, ResourceError> {
    let key = "packages:offered";
    match manager {
        Manager::Apt => {
            let mut argv = [words(&["apt-cache"]), words(apt::READ_ONLY), words(&["madison"])].concat();
            argv.extend(packages.iter().map(|package| package.exact.clone()));
            Ok(asked(key, argv))
        }
        Manager::Dnf => {
            let mut argv = words(&[
                "/bin/sh",
                "-c",
                dnf::ASIDE,
                "sh",
                "{stage}",
                dnf::program(world)?,
                "-q",
                "-C",
            ]);
            argv.extend(words(&[
                "--setopt=logdir={stage}",
                "--setopt=cachedir={stage}/cache",
                "repoquery",
                "--available",
                "--qf",
                dnf::QUERY,
            ]));
            argv.extend(packages.iter().map(|package| package.wanted(manager)));
            let stage = vec![Staged {
                path: "dnf.log".to_owned(),
                bytes: Vec::new(),
            }];
            Ok(Probe {
                stage,
                ..asked(key, argv)
            })
        }
    }
}

/// Whether an answer to [`offers`] has this package.
fn offered(manager: Manager, package: &Package, text: &str) -> bool {
    text.lines().any(|line| match manager {
        // `  bind9 | 1:9.18.33-1 | http://deb.debian.org/debian bookworm/main amd64 Packages`
        Manager::Apt => {
            let mut parts = line.split('|').map(str::trim);
            let (name, version, source) = (parts.next(), parts.next(), parts.next());
            [Some(package.name.as_str()), Some(&package.exact)].contains(&name)
                && (package.version.is_empty() || version == Some(&package.version))
                && source.is_some_and(|source| source.ends_with(" Packages"))
        }
        Manager::Dnf => Package::parse(manager, line).is_some_and(|other| match package.version.is_empty() {
            true => other.name == package.name,
            false => {
                other.line == package.line
                    || (package.arch.is_empty() && (&other.name, &other.version) == (&package.name, &package.version))
            }
        }),
    })
}

#[cfg(test)]
mod tests;
