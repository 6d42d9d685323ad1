//! The Ignition files of a cluster, made by `openshift-install`. Made anew they are another cluster, and a day later they
//! are worth nothing: so each time in a fresh folder, and never while those that are there will do.

mod bootstrap;
mod config;
mod problems;
#[cfg(test)]
pub(crate) mod tests;

use super::acting::ask;
use super::file::make_directories;
use super::{Failure, Resource, ResourceError, View, json, Touches};
use crate::diff::{self, Change};
use crate::params;
use crate::path::AbsPath;
use crate::system::{Action, Answer, Declared, Effect, FileWrite, Make, Probe, System, SystemError};
use crate::value::{Map, Value, map};
use bootstrap::Bootstrap;
use indexmap::IndexMap;
use serde::Serialize;

params! {
    /// Makes the Ignition files of a cluster by `openshift-install`, in a fresh folder below `directory`; the link `current` there leads
    /// to the newest that is whole. They are made anew only when something that they are made from has changed, one of them is missing, or the
    /// certificates in `bootstrap.ign` come to their end.
    pub struct OpenshiftInstall {
        /// The program.
        installer: String = "openshift-install",
        /// The release that the program has to be of; one of another release is refused.
        version: Option<String>,
        /// The folder that holds them all.
        directory: AbsPath ["dir"],
        /// What `install-config.yaml` says, all but `pullSecret` and `sshKey`.
        install_config: IndexMap<String, Value>,
        /// The pull secret: JSON with `auths`, as text or as a mapping. Never shown.
        pull_secret: Value,
        /// SSH keys of the user `core`, one a line.
        ssh_key: Option<String> ["sshkey"],
        /// Whether pods of users may run on the control plane; unless given, as the installer has it.
        masters_schedulable: Option<bool>,
        /// Further manifests: a file's name to its content, text or a mapping. Names are of `manifests/`, unless they begin with `openshift/`.
        manifests: IndexMap<String, Value>,
        /// Seconds for which the certificates have to be good still.
        margin: u64 = "43200",
        /// Seconds that the installer may take, each time it is run.
        timeout: u64 = "1800",
        /// A file: where it is there, the cluster is installed, and nothing is made anew, whatever has changed.
        installed: Option<AbsPath> ["marker"],
    }
}

/// The most that is read of a file, in bytes.
const LIMIT: u64 = 32 << 20;
/// What a generation was made from, beside what the installer lays down: the pull secret in the first line, then the rest.
const INPUTS: &str = "okd-play.inputs";
const CONFIG: &str = "install-config.yaml";
const SCHEDULER: &str = "manifests/cluster-scheduler-02-config.yml";
const HIDDEN: &str = "‹hidden›";
const FILES: [&str; 6] = [
    "bootstrap.ign",
    "master.ign",
    "worker.ign",
    "metadata.json",
    "auth/kubeconfig",
    "auth/kubeadmin-password",
];

/// What is there, and what it was made from.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct State {
    directory: AbsPath,
    /// The newest that is whole; empty where there is none.
    generation: String,
    inputs: Inputs,
    /// Whether the pull secret is the one that is wanted.
    pull_secret: bool,
    /// Why it has to be made anew though it is made from what is wanted.
    due: Option<String>,
    installed: bool,
    /// What the program says that it is; no part of what counts.
    #[serde(skip)]
    program: Option<String>,
    /// Unless it is only promised.
    #[serde(skip)]
    made: Option<Made>,
}

/// What was made, as far as later steps ask.
#[derive(Debug, Clone, PartialEq)]
struct Made {
    bootstrap: Bootstrap,
    now: i64,
    sums: Map,
}

/// What Ignition files are made from, but for the pull secret.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
struct Inputs {
    /// Files by name.
    texts: Vec<(String, String)>,
    /// Version and edits.
    words: Vec<(String, String)>,
}

impl View for State {
    fn changes(&self, want: &Self) -> Vec<Change> {
        let (before, after) = (&self.inputs, &want.inputs);
        let mut changes = Vec::new();
        for name in names(&after.texts, &before.texts) {
            let path = self.directory.join(name);
            changes.extend(diff::text(path.as_str(), find(&before.texts, name), find(&after.texts, name), ""));
        }
        let word = |words, name| String::from_utf8_lossy(find(words, name).unwrap_or_default()).into_owned();
        for name in names(&after.words, &before.words) {
            changes.extend(super::content::field(CONFIG, name, &word(&before.words, name), &word(&after.words, name)));
        }
        if !self.generation.is_empty() && self.pull_secret != want.pull_secret {
            changes.extend(super::content::field(CONFIG, "pullSecret", HIDDEN, "‹hidden, another one›"));
        }
        if !changes.is_empty() || self.due != want.due || self.generation.is_empty() != want.generation.is_empty() {
            let because = self.due.iter().map(|due| format!(": {due}")).collect::<String>();
            changes.push(Change::Act(format!("make Ignition files in a fresh folder below {}{because}", self.directory)));
        }
        changes
    }
}

/// The names of both, each once.
fn names<'a>(one: &'a [(String, String)], other: &'a [(String, String)]) -> impl Iterator<Item = &'a str> {
    let more = other.iter().filter(|(name, _)| find(one, name).is_none());
    one.iter().chain(more).map(|(name, _)| name.as_str())
}

fn find<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a [u8]> {
    pairs.iter().find(|(known, _)| known == name).map(|(_, text)| text.as_bytes())
}

fn pairs(value: Option<&Value>) -> Option<Vec<(String, String)>> {
    let entries = value?.as_map()?.iter();
    entries.map(|(name, text)| Some((name.clone(), text.as_str()?.to_owned()))).collect()
}

impl Inputs {
    fn write(&self) -> String {
        let both = [&self.texts, &self.words].map(|pairs| {
            let entries = pairs.iter().map(|(name, text)| (name.clone(), text.as_str().into()));
            Value::Map(entries.collect())
        });
        json::write(&Value::List(both.into()))
    }

    fn read(text: &str) -> Option<Inputs> {
        let value = json::parse(text).ok()?;
        let list = value.as_list()?;
        Some(Inputs {
            texts: pairs(list.first())?,
            words: pairs(list.get(1))?,
        })
    }
}

impl OpenshiftInstall {
    fn link(&self) -> AbsPath {
        self.directory.join("current")
    }

    fn inputs(&self) -> Inputs {
        let mut texts = vec![(CONFIG.to_owned(), config::install_config(&self.install_config, self.ssh_key.as_deref()))];
        texts.extend(self.manifests.iter().map(|(name, content)| {
            let name = if name.contains('/') { name.clone() } else { format!("manifests/{name}") };
            (name, config::manifest(content))
        }));
        let mut words = Vec::new();
        words.extend(self.version.iter().map(|version| ("release".to_owned(), version.clone())));
        words.extend(self.masters_schedulable.map(|truth| ("mastersSchedulable".to_owned(), truth.to_string())));
        Inputs { texts, words }
    }

    fn secret(&self) -> &str {
        self.pull_secret.as_str().unwrap_or_default()
    }

    /// What is known of a generation.
    fn look(&self, folder: &AbsPath, state: &mut State, world: &dyn System) -> Result<(), ResourceError> {
        let kept = world.read(&folder.join(INPUTS), LIMIT)?.unwrap_or_default();
        let kept = String::from_utf8_lossy(&kept);
        let (secret, rest) = kept.split_once('\n').unwrap_or_default();
        state.pull_secret = secret == self.secret();
        state.inputs = Inputs::read(rest).unwrap_or_default();
        for file in FILES {
            if world.stat(&folder.join(file))?.is_none() {
                state.due = Some(format!("{file} is missing"));
                return Ok(());
            }
        }
        let bytes = match world.read(&folder.join("bootstrap.ign"), LIMIT) {
            // The plan has made it.
            Err(SystemError::Unknown(_)) => return Ok(()),
            bytes => bytes?.unwrap_or_default(),
        };
        let Some(bootstrap) = Bootstrap::read(&bytes) else {
            state.due = Some("bootstrap.ign has no certificate whose end can be read".to_owned());
            return Ok(());
        };
        let now = ask(world, &Probe::new("look:clock", &["date", "+%s"]))?.text();
        let now: i64 = now.trim().parse().map_err(|_| ResourceError::message(format!("`date +%s` says {now}")))?;
        if bootstrap.until.seconds - now <= i64::try_from(self.margin).unwrap_or(i64::MAX) {
            state.due = Some(format!("the certificates are good until {}", bootstrap.until.text));
        }
        let sums = sums(folder, &self.link(), world)?;
        state.made = Some(Made { bootstrap, now, sums });
        Ok(())
    }

    /// The first line of `openshift-install version` ends with the release; `None` where there is no such program yet.
    fn program(&self, world: &dyn System) -> Result<Option<String>, ResourceError> {
        let answer = world.probe(&Probe::new(format!("release:{}", self.installer), &[&self.installer, "version"]))?;
        Ok(release(&answer))
    }

    fn fresh(&self, world: &dyn System) -> Result<AbsPath, ResourceError> {
        make_directories(&self.directory, 0o700, world)?;
        let numbers = world.list(&self.directory)?.into_iter().filter_map(|entry| entry.name.parse::<u64>().ok());
        let folder = self.directory.join(&(numbers.max().unwrap_or(0) + 1).to_string());
        world.make(&folder, &Make::Directory { mode: 0o700 })?;
        Ok(folder)
    }

    /// Runs the installer, whose standard input is empty: where it lacks an answer it asks, and would wait for ever.
    fn run(&self, words: &[&str], folder: Option<&AbsPath>, effect: Declared, world: &dyn System) -> Result<Answer, ResourceError> {
        let mut argv = vec![self.installer.as_str()];
        argv.extend(words);
        argv.extend(folder.iter().flat_map(|folder| ["--dir", folder.as_str()]));
        let mut action = Action::new(&argv, Effect::Declared(effect));
        action.timeout = Some(self.timeout);
        let answer = world.act(&action)?;
        match answer.predicted || answer.success() {
            true => Ok(answer),
            false => Err(refused(&action.argv, &answer, &self.directory)),
        }
    }

    fn right_release(&self, world: &dyn System) -> Result<(), ResourceError> {
        let Some(wanted) = &self.version else { return Ok(()) };
        let answer = self.run(&["version"], None, Declared::default(), world)?;
        match release(&answer) {
            found if answer.predicted || found.as_ref() == Some(wanted) => Ok(()),
            found => Err(ResourceError::message(format!(
                "`{}` is of release {}, not {wanted}; nothing was made",
                self.installer,
                found.unwrap_or_default()
            ))),
        }
    }

    fn edit(&self, folder: &AbsPath, inputs: &Inputs, world: &dyn System) -> Result<(), ResourceError> {
        for (name, text) in inputs.texts.iter().filter(|(name, _)| name != CONFIG) {
            put(&folder.join(name), text, world)?;
        }
        let Some(truth) = self.masters_schedulable else { return Ok(()) };
        let path = folder.join(SCHEDULER);
        let text = world.read(&path, LIMIT)?.unwrap_or_default();
        let edited = config::schedulable(&String::from_utf8_lossy(&text), truth);
        let edited = edited.ok_or_else(|| ResourceError::message(format!("{path} has no single line `mastersSchedulable:` to edit")))?;
        put(&path, &edited, world)
    }

    /// What has to be there once the installer has ended well, though it may have ended well without it.
    fn prove(&self, folder: &AbsPath, inputs: &Inputs, world: &dyn System) -> Result<(), ResourceError> {
        for file in FILES {
            let there = world.stat(&folder.join(file))?.is_some_and(|meta| meta.size > 0);
            if !there {
                return Err(ResourceError::message(format!("{} ended well and made no {file} in {folder}", self.installer)));
            }
        }
        let bytes = world.read(&folder.join("bootstrap.ign"), LIMIT)?.unwrap_or_default();
        let lacks = |what: &str| ResourceError::message(format!("{folder}/bootstrap.ign lacks {what}; it is not used"));
        let Some(bootstrap) = Bootstrap::read(&bytes) else {
            return Err(lacks("a certificate whose end can be read"));
        };
        for (name, _) in inputs.texts.iter().filter(|(name, _)| name != CONFIG) {
            bootstrap.manifest(name).ok_or_else(|| lacks(name))?;
        }
        if let Some(truth) = self.masters_schedulable {
            let text = bootstrap.manifest(SCHEDULER).unwrap_or_default();
            let line = format!("mastersSchedulable: {truth}");
            text.contains(&line).then_some(()).ok_or_else(|| lacks(&line))?;
        }
        Ok(())
    }
}

/// What `register` holds of the files for the three roles.
fn sums(folder: &AbsPath, shown: &AbsPath, world: &dyn System) -> Result<Map, ResourceError> {
    let paths = ["bootstrap", "master", "worker"].map(|role| (role, folder.join(&format!("{role}.ign"))));
    let mut files = paths.clone().map(|(role, _)| (role, map([("path", shown.join(&format!("{role}.ign")).as_str().into())])));
    for algorithm in ["sha256", "sha512"] {
        let program = format!("{algorithm}sum");
        let argv: Vec<&str> = [program.as_str(), "--"].into_iter().chain(paths.iter().map(|(_, path)| path.as_str())).collect();
        let said = ask(world, &Probe::new(format!("{program}:{folder}"), &argv))?.text();
        for ((_, file), line) in files.iter_mut().zip(said.lines()) {
            file.insert(algorithm.to_owned(), line.split(' ').next().unwrap_or_default().into());
        }
    }
    Ok(files.into_iter().map(|(role, file)| (role.to_owned(), Value::Map(file))).collect())
}

fn release(answer: &Answer) -> Option<String> {
    let text = answer.text();
    let last = text.lines().next()?.split(' ').next_back()?;
    answer.success().then(|| last.to_owned())
}

/// What the installer said, without what is secret: it repeats a pull secret that it does not like, and more.
fn refused(argv: &[String], answer: &Answer, kept: &AbsPath) -> ResourceError {
    let program = argv.first().map_or("openshift-install", String::as_str);
    let message = match answer.rc {
        Answer::NO_PROGRAM => format!("`{program}` is not installed"),
        rc => format!("{program} {} ended with status {rc}: {}", argv[1..3.min(argv.len())].join(" "), config::said(&answer.error_text())),
    };
    ResourceError::Failed(Box::new(Failure {
        message,
        argv: argv.to_vec(),
        answer: Some(Answer::status(answer.rc)),
        kept: format!("what {kept}/current leads to is as it was"),
        ..Failure::default()
    }))
}

fn put(path: &AbsPath, text: &str, world: &dyn System) -> Result<(), ResourceError> {
    let mut file = FileWrite::new(path.clone(), text.as_bytes().to_vec());
    file.mode = Some(0o600);
    Ok(world.write(&file)?)
}

impl Resource for OpenshiftInstall {
    const NAMES: &'static [&'static str] = &["openshift_install", "okd.openshift_install"];
    const EXAMPLE: &'static str = "- name: Ignition files of the cluster\n  openshift_install:\n    installer: /usr/local/bin/openshift-install\n    directory: /root/okd\n    install_config:\n      baseDomain: example.org\n      metadata: {name: okd}\n      compute: [{name: worker, replicas: 0}]\n      controlPlane: {name: master, replicas: 3}\n      networking:\n        networkType: OVNKubernetes\n        machineNetwork: [{cidr: 10.0.0.0/24}]\n        clusterNetwork: [{cidr: 10.128.0.0/14, hostPrefix: 23}]\n        serviceNetwork: [172.30.0.0/16]\n      platform: {none: {}}\n    pull_secret: \"{{ vault_pull_secret }}\"\n    masters_schedulable: false\n    installed: /root/okd/installed\n  register: install\n";
    const PREDICTS: &'static str = "what the files are made from; what they hold is unknown until applied";
    const TOUCHES: Touches = Touches::Paths(&["directory"]);
    type World = dyn System;
    type State = State;

    fn check(&self) -> Result<(), Vec<String>> {
        let problems = problems::of(self);
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    fn veil(&mut self, as_read: &dyn Fn(&[u8]) -> Vec<u8>) {
        self.ssh_key.iter_mut().for_each(|key| super::veil_text(key, as_read));
        self.install_config.values_mut().chain(self.manifests.values_mut()).for_each(|value| config::veil(value, as_read));
    }

    fn inspect(&self, world: &Self::World) -> Result<State, ResourceError> {
        let mut state = State {
            directory: self.directory.clone(),
            generation: String::new(),
            inputs: Inputs::default(),
            pull_secret: false,
            due: None,
            installed: false,
            program: None,
            made: None,
        };
        if let Some(marker) = &self.installed {
            state.installed = world.stat(marker)?.is_some();
        }
        if let Some(target) = world.stat(&self.link())?.and_then(|meta| meta.target) {
            let folder = self.directory.join(&target);
            state.generation = target;
            self.look(&folder, &mut state, world)?;
        }
        if !state.changes(&self.desire(&state)?).is_empty() {
            state.program = self.program(world)?;
        }
        Ok(state)
    }

    fn desire(&self, now: &State) -> Result<State, ResourceError> {
        if now.installed {
            return Ok(now.clone());
        }
        let generation = if now.generation.is_empty() { "1".to_owned() } else { now.generation.clone() };
        Ok(State {
            generation,
            inputs: self.inputs(),
            pull_secret: true,
            due: None,
            ..now.clone()
        })
    }

    fn apply(&self, _now: &State, want: &State, world: &Self::World) -> Result<Map, ResourceError> {
        self.right_release(world)?;
        let folder = self.fresh(world)?;
        let config = folder.join(CONFIG);
        let text = String::from_utf8_lossy(find(&want.inputs.texts, CONFIG).unwrap_or_default()).into_owned();
        put(&config, &text.replacen(HIDDEN, self.secret(), 1), world)?;
        let consumed = Declared { removes: vec![config], ..Declared::default() };
        let planned = self.run(&["create", "manifests"], Some(&folder), consumed, world)?.predicted;
        if !planned {
            self.edit(&folder, &want.inputs, world)?;
        }
        let files = FILES.map(|file| folder.join(file)).into();
        let made = Declared { creates: files, ..Declared::default() };
        self.run(&["create", "ignition-configs"], Some(&folder), made, world)?;
        if !planned {
            self.prove(&folder, &want.inputs, world)?;
        }
        put(&folder.join(INPUTS), &format!("{}\n{}\n", self.secret(), want.inputs.write()), world)?;
        world.make(&self.link(), &Make::Link { target: folder.name().to_owned() })?;
        match planned {
            true => Ok(self.result(&State { made: None, ..want.clone() })),
            false => Ok(self.result(&self.inspect(world)?)),
        }
    }

    fn result(&self, state: &State) -> Map {
        let directory = ("directory", self.link().as_str().into());
        let unknown = |what: &str| Value::Unknown(format!("{what} of the Ignition files that `{}` makes", self.installer));
        let Some(made) = &state.made else {
            let roles = ["bootstrap", "master", "worker"].map(|role| {
                let path = self.link().join(&format!("{role}.ign"));
                let file = [("path", path.as_str().into()), ("sha256", unknown("the sums")), ("sha512", unknown("the sums"))];
                (role, Value::Map(map(file)))
            });
            let times = [("expires", unknown("the end")), ("age", unknown("the age")), ("ignition", Value::Map(map(roles)))];
            return map([directory]).into_iter().chain(map(times)).collect();
        };
        map([
            directory,
            ("expires", Value::Int(made.bootstrap.until.seconds)),
            ("age", Value::Int(made.now - made.bootstrap.from.seconds)),
            ("ignition", Value::Map(made.sums.clone())),
        ])
    }

    fn notes(&self, now: &State, _want: &State) -> Vec<String> {
        match (&now.program, &self.version) {
            (None, _) => vec![format!("`{}` is not there yet; a step before this one has to bring it", self.installer)],
            (Some(found), Some(wanted)) if found != wanted => {
                vec![format!("`{}` is of release {found} now, and has to be {wanted} by then", self.installer)]
            }
            _ => Vec::new(),
        }
    }
}
