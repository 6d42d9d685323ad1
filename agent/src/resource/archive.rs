//! Archives unpacked on the machine, by its own `tar` and `unzip`, where what is there differs from what is in them.

use super::content::{self, Attributes, field, names, promised};
use super::file::make_directories;
use super::{Resource, ResourceError, View, Touches};
use crate::diff::{Change, Sign, sha256};
use crate::ledger::Thing;
use crate::param::Bytes;
use crate::params;
use crate::path::{AbsPath, Mode};
use crate::system::{
    Action, Alter, Answer, Declared, Effect, FileKind, FileWrite, Probe, Removal, Staged, System, SystemError,
};
use crate::value::{Map, Value, map};
use serde::Serialize;

/// Files up to this size are compared by their checksum with what a zip archive holds, larger ones by size, in bytes.
const READ_LIMIT: u64 = 16 << 20;

/// So many files are shown; the others are counted.
const SHOWN: usize = 20;

params! {
    /// Unpacks an archive (tar, also compressed by gzip, bzip2, xz or zstd; zip) into a folder. Owners and times that
    /// differ from the archive's are left alone.
    pub struct Unarchive {
        /// The archive: a file beside the playbook; with `remote_src` a path on the machine.
        src: Option<String>,
        /// The archive itself; set from `src`.
        content: Option<Bytes>,
        /// The archive is on the machine.
        remote_src: bool = "no",
        /// The folder; it has to be there.
        dest: AbsPath,
        /// A path: where it is there, nothing is unpacked.
        creates: Option<AbsPath>,
        /// Only these names.
        include: Vec<String>,
        /// All but these names; they may have `*`.
        exclude: Vec<String>,
        /// Further options of `tar` or `unzip`.
        extra_opts: Vec<String>,
        /// Put the names in the archive into `register`, as `files`.
        list_files: bool = "no",
        /// Permission bits of everything that is unpacked; `u=rwX` suits folders too.
        mode: Option<Mode>,
        /// Owner of everything that is unpacked.
        owner: Option<String>,
        /// Group of everything that is unpacked.
        group: Option<String>,
    }
}

/// Something that came out of the archive, with its attributes.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Item {
    path: AbsPath,
    folder: bool,
    mode: u32,
    owner: String,
    group: String,
}

/// What is still to be unpacked, and the attributes that are asked for.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct State {
    todo: Vec<String>,
    items: Vec<Item>,
    #[serde(skip)]
    names: Vec<String>,
    #[serde(skip)]
    shown: String,
}

impl View for State {
    fn changes(&self, want: &Self) -> Vec<Change> {
        let mut changes = Vec::new();
        let gone: Vec<&String> = self.todo.iter().filter(|name| !want.todo.contains(name)).collect();
        let added = |text: String| Change::Item { sign: Sign::Added, text };
        changes.extend(gone.iter().take(SHOWN).map(|name| added(format!("{}/{name}", self.shown))));
        if gone.len() > SHOWN {
            changes.push(added(format!("{} more files in {}", gone.len() - SHOWN, self.shown)));
        }
        for (here, want) in self.items.iter().zip(&want.items) {
            let path = here.path.as_str();
            let bits = |item: &Item| format!("{:04o}", item.mode);
            changes.extend(field(path, "mode", &bits(here), &bits(want)));
            changes.extend(field(path, "owner", &here.owner, &want.owner));
            changes.extend(field(path, "group", &here.group, &want.group));
        }
        changes
    }
}

/// Where the archive is, for a command that only looks, and what its answer is remembered by.
struct Source {
    path: String,
    stage: Vec<Staged>,
    key: String,
    zip: bool,
}

/// What tar is asked for; it needs no folder for that.
const LIST: &str = "--list";

impl Unarchive {
    fn attributes(&self) -> Attributes {
        Attributes::new(self.mode.as_ref(), self.owner.as_ref(), self.group.as_ref())
    }

    fn source(&self) -> Result<Source, ResourceError> {
        match (&self.content, &self.src) {
            (Some(bytes), _) => {
                let sum = sha256(bytes.as_ref());
                let stage = vec![Staged { path: "archive".to_owned(), bytes: bytes.as_ref().to_vec() }];
                let zip = bytes.as_ref().starts_with(b"PK");
                Ok(Source { path: "{stage}/archive".to_owned(), stage, key: self.key(&sum), zip })
            }
            (None, Some(src)) if self.remote_src => {
                let lower = src.to_ascii_lowercase();
                let zip = [".zip", ".jar", ".war", ".ear"].iter().any(|end| lower.ends_with(end));
                Ok(Source { path: src.clone(), stage: Vec::new(), key: self.key(src), zip })
            }
            _ => Err(ResourceError::message("the archive of `src` was not sent")),
        }
    }

    fn key(&self, archive: &str) -> String {
        let options = [&self.include, &self.exclude, &self.extra_opts].map(|list| list.join(",")).join(";");
        format!("archive:{archive}:{}:{options}", self.dest)
    }

    fn tar(&self, verb: &str, archive: &str) -> Vec<String> {
        let mut argv = ["tar", verb, "--quoting-style=literal", "--file", archive].map(str::to_owned).to_vec();
        if verb != LIST {
            argv.extend(["--directory", self.dest.as_str()].map(str::to_owned));
        }
        argv.extend(self.exclude.iter().map(|name| format!("--exclude={name}")));
        argv.extend(self.extra_opts.iter().cloned());
        if !self.include.is_empty() {
            argv.push("--".to_owned());
            argv.extend(self.include.iter().cloned());
        }
        argv
    }

    fn unzip(&self, flags: &[&str], archive: &str) -> Vec<String> {
        let mut argv = vec!["unzip".to_owned()];
        argv.extend(flags.iter().map(|flag| (*flag).to_owned()));
        argv.extend(self.extra_opts.iter().cloned());
        argv.push(archive.to_owned());
        argv.extend(self.include.iter().cloned());
        if !self.exclude.is_empty() {
            argv.push("-x".to_owned());
            argv.extend(self.exclude.iter().cloned());
        }
        argv
    }

    fn ask(&self, key: String, argv: Vec<String>, source: &Source, world: &dyn System) -> Result<Answer, ResourceError> {
        let env = vec![("LC_ALL".to_owned(), "C.UTF-8".to_owned())];
        let (stage, timeout) = (source.stage.clone(), Some(3600));
        Ok(world.probe(&Probe { key, argv, stdin: Vec::new(), stage, timeout, env })?)
    }

    /// All names in the archive; folders end in `/`.
    fn names(&self, source: &Source, world: &dyn System) -> Result<Vec<String>, ResourceError> {
        let argv = match source.zip {
            true => self.unzip(&["-Z1"], &source.path),
            false => {
                let mut argv = self.tar(LIST, &source.path);
                argv.insert(2, "--show-transformed-names".to_owned());
                argv
            }
        };
        let answer = self.ask(format!("list {}", source.key), argv.clone(), source, world)?;
        if !answer.success() {
            return Err(self.failed(&argv, &answer, world));
        }
        let text = answer.text();
        let names = text.lines().map(|name| name.trim_start_matches("./")).filter(|name| !name.trim_matches('/').is_empty());
        Ok(names.map(str::to_owned).collect())
    }

    fn failed(&self, argv: &[String], answer: &Answer, world: &dyn System) -> ResourceError {
        let program = argv.first().map_or("tar", String::as_str);
        if answer.rc == Answer::NO_PROGRAM {
            return match promised(world) {
                Some(packages) => SystemError::Unknown(format!("unpacks by {program}, which {packages} may bring")).into(),
                None => ResourceError::message(format!("to unpack it, the machine needs {program}")),
            };
        }
        ResourceError::command(format!("{program} cannot read or unpack the archive"), argv, answer)
    }

    fn differing(&self, source: &Source, world: &dyn System) -> Result<Vec<String>, ResourceError> {
        if source.zip {
            return self.differing_from_zip(source, world);
        }
        let argv = self.tar("--diff", &source.path);
        let answer = self.ask(source.key.clone(), argv.clone(), source, world)?;
        // A folder that the plan will have made is not there yet.
        if answer.error_text().contains(&[self.dest.as_str(), ": Cannot open: "].concat()) {
            return self.names(source, world);
        }
        let mut names: Vec<String> = Vec::new();
        for line in answer.text().lines().chain(answer.error_text().lines()) {
            let name = differs(line, self.mode.is_some()).map(|name| name.trim_start_matches("./").to_owned());
            names.extend(name.filter(|name| !name.is_empty() && !names.contains(name)));
        }
        if answer.rc > 1 && names.is_empty() {
            return Err(self.failed(&argv, &answer, world));
        }
        Ok(names)
    }

    fn differing_from_zip(&self, source: &Source, world: &dyn System) -> Result<Vec<String>, ResourceError> {
        let known = world.probe(&Probe::new(source.key.clone(), &["true"]))?;
        if known.predicted {
            return Ok(Vec::new());
        }
        let argv = self.unzip(&["-v"], &source.path);
        let answer = self.ask(format!("table {}", source.key), argv.clone(), source, world)?;
        if !answer.success() {
            return Err(self.failed(&argv, &answer, world));
        }
        let mut names = Vec::new();
        for (name, size, crc) in answer.text().lines().filter_map(zipped) {
            let path = self.dest.join(name);
            let same = match world.stat(&path)? {
                Some(meta) if name.ends_with('/') => meta.kind == FileKind::Directory,
                Some(meta) if meta.kind == FileKind::Link => true,
                Some(meta) if meta.kind == FileKind::File && meta.size == size => {
                    size > READ_LIMIT || world.read(&path, READ_LIMIT)?.is_some_and(|bytes| crc32(&bytes) == crc)
                }
                _ => false,
            };
            if !same {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    fn item(&self, name: &str, world: &dyn System) -> Result<Option<Item>, ResourceError> {
        let path = self.dest.join(name);
        let Some(meta) = world.stat(&path)?.filter(|meta| meta.kind != FileKind::Link) else { return Ok(None) };
        let (owner, group) = names(&meta, &self.attributes());
        Ok(Some(Item { path, folder: meta.kind == FileKind::Directory, mode: meta.mode, owner, group }))
    }

    fn wish(&self, item: &Item) -> Item {
        Item {
            mode: self.mode.as_ref().map_or(item.mode, |mode| mode.apply(item.mode, item.folder)),
            owner: self.owner.clone().unwrap_or_else(|| item.owner.clone()),
            group: self.group.clone().unwrap_or_else(|| item.group.clone()),
            ..item.clone()
        }
    }

    fn asks_attributes(&self) -> bool {
        self.attributes() != Attributes::default()
    }

    fn effect(&self, now: &State, source: &Source) -> Effect {
        let is_folder = |name: &String| now.names.contains(&format!("{name}/")) || name.ends_with('/');
        let files = now.todo.iter().filter(|name| !is_folder(name));
        Effect::Declared(Declared {
            creates: files.map(|name| self.dest.join(name)).collect(),
            predicts: vec![(source.key.clone(), Answer { predicted: true, ..Answer::default() })],
            ..Declared::default()
        })
    }

    fn unpack(&self, now: &State, source: &Source, archive: &str, world: &dyn System) -> Result<(), ResourceError> {
        let folders = now.names.iter().filter(|name| name.ends_with('/'));
        for folder in folders.filter(|name| now.todo.iter().any(|todo| todo.trim_end_matches('/') == name.trim_end_matches('/'))) {
            make_directories(&self.dest.join(folder), 0o755, world)?;
        }
        let argv = match source.zip {
            true => {
                let mut argv = self.unzip(&["-o", "-q"], archive);
                argv.extend(["-d".to_owned(), self.dest.to_string()]);
                argv
            }
            false => {
                let mut argv = self.tar("--extract", archive);
                argv.insert(2, "--same-permissions".to_owned());
                argv
            }
        };
        let words: Vec<&str> = argv.iter().map(String::as_str).collect();
        let answer = world.act(&Action::new(&words, self.effect(now, source)))?;
        if answer.success() { Ok(()) } else { Err(self.failed(&argv, &answer, world)) }
    }

    /// The archive goes to the machine under a name of its own, and is removed whatever happens.
    fn send_and_unpack(&self, bytes: &Bytes, now: &State, source: &Source, world: &dyn System) -> Result<(), ResourceError> {
        let sum = sha256(bytes.as_ref());
        let path = AbsPath::new(&format!("/var/tmp/okd-play-{}", &sum[..32])).map_err(ResourceError::message)?;
        world.write(&FileWrite { mode: Some(0o600), ..FileWrite::new(path.clone(), bytes.as_ref().to_vec()) })?;
        let unpacked = self.unpack(now, source, path.as_str(), world);
        world.remove(&path, Removal::File)?;
        unpacked
    }
}

/// The name that a line of `tar --diff` tells to differ; `None` for what is no matter.
fn differs(line: &str, any_mode: bool) -> Option<&str> {
    let marks = ["Contents differ", "Size differs", "File type differs", "Symlink differs", "Device number differs"];
    if let Some(rest) = line.strip_prefix("tar: ") {
        let missing = rest.ends_with(": No such file or directory") || rest.ends_with(": Not a directory");
        let (name, _) = rest.split_once(": Warning: Cannot ").or_else(|| rest.split_once(": Cannot "))?;
        return missing.then_some(name);
    }
    let (name, what) = line.rsplit_once(": ")?;
    let counts = marks.contains(&what) || what.starts_with("Not linked to ") || (what == "Mode differs" && !any_mode);
    counts.then_some(name)
}

/// Name, size and CRC-32 of a line of `unzip -v`.
fn zipped(line: &str) -> Option<(&str, u64, u32)> {
    let mut rest = line;
    let mut words = [""; 7];
    for word in &mut words {
        rest = rest.trim_start();
        let (first, tail) = rest.split_once(' ')?;
        (*word, rest) = (first, tail);
    }
    let crc = Some(words[6]).filter(|crc| crc.len() == 8)?;
    let name = rest.strip_prefix(' ')?;
    words[3].ends_with('%').then_some(())?;
    Some((name, words[0].parse().ok()?, u32::from_str_radix(crc, 16).ok()?))
}

/// The checksum of zip and gzip, see RFC 1952 section 8.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
    let table: Vec<u32> = (0..256).map(|byte| (0..8).fold(byte, |crc, _| step(crc))).collect();
    !bytes.iter().fold(!0, |crc, byte| table[((crc ^ u32::from(*byte)) & 255) as usize] ^ crc >> 8)
}

impl Resource for Unarchive {
    const NAMES: &'static [&'static str] = &["unarchive", "ansible.builtin.unarchive"];
    const EXAMPLE: &'static str = "- name: Installer\n  unarchive:\n    src: /var/cache/okd/openshift-install-linux.tar.gz\n    remote_src: true\n    dest: /usr/local/bin\n    include: [openshift-install]\n";
    const PREDICTS: &'static str = "which files it unpacks; what they hold is unknown until applied";
    const TOUCHES: Touches = Touches::Paths(&["dest"]);
    type World = dyn System;
    type State = State;

    fn manages(&self) -> Vec<Thing> {
        vec![Thing::new("archive", self.dest.as_str())]
    }

    fn check(&self) -> Result<(), Vec<String>> {
        let mut problems = Vec::new();
        match &self.src {
            None if self.content.is_none() => problems.push("`unarchive` needs `src`".to_owned()),
            Some(src) if src.contains("://") => {
                problems.push("`unarchive` takes no URL; `get_url` downloads the archive with its checksum first".to_owned());
            }
            Some(src) if self.remote_src && !src.starts_with('/') => {
                problems.push("with `remote_src`, `src` is an absolute path on the machine".to_owned());
            }
            _ => {}
        }
        if self.include.iter().any(|name| name.starts_with('-')) {
            problems.push("`include` has names in the archive, not options".to_owned());
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    fn inspect(&self, world: &Self::World) -> Result<State, ResourceError> {
        let shown = self.dest.as_str().trim_end_matches('/').to_owned();
        let mut state = State { todo: Vec::new(), items: Vec::new(), names: Vec::new(), shown };
        if self.creates.as_ref().map(|path| world.stat(path)).transpose()?.flatten().is_some() {
            return Ok(state);
        }
        let source = self.source()?;
        if source.stage.is_empty() {
            let path = AbsPath::new(&source.path).map_err(ResourceError::message)?;
            if world.stat(&path)?.is_none() {
                return Err(ResourceError::message(format!("there is no archive {path} on the machine")));
            }
            world.read(&path, 0).map(drop).or_else(|error| match error {
                SystemError::Unknown(_) => Err(error),
                _ => Ok(()),
            })?;
        }
        let kind = world.stat(&content::resolve(&self.dest, world)?)?.map(|meta| meta.kind);
        match kind {
            Some(FileKind::Directory) => state.todo = self.differing(&source, world)?,
            Some(_) => return Err(ResourceError::message(format!("{} is not a folder", self.dest))),
            None if promised(world).is_some() => state.todo = self.names(&source, world)?,
            None => return Err(ResourceError::message(format!("there is no folder {} to unpack into", self.dest))),
        }
        if !state.todo.is_empty() || self.list_files || self.asks_attributes() {
            state.names = self.names(&source, world)?;
        }
        if self.asks_attributes() {
            for name in &state.names {
                state.items.extend(self.item(name, world)?);
            }
        }
        Ok(state)
    }

    fn desire(&self, now: &State) -> Result<State, ResourceError> {
        let items = now.items.iter().map(|item| self.wish(item)).collect();
        Ok(State { todo: Vec::new(), items, ..now.clone() })
    }

    fn apply(&self, now: &State, _want: &State, world: &Self::World) -> Result<Map, ResourceError> {
        let source = self.source()?;
        match &self.content {
            _ if now.todo.is_empty() => {}
            Some(bytes) => self.send_and_unpack(bytes, now, &source, world)?,
            None => self.unpack(now, &source, &source.path, world)?,
        }
        for name in now.names.iter().filter(|_| self.asks_attributes()) {
            let Some(here) = self.item(name, world)? else { continue };
            let want = self.wish(&here);
            let change = Alter {
                mode: (here.mode != want.mode).then_some(want.mode),
                owner: (here.owner != want.owner).then(|| want.owner.clone()),
                group: (here.group != want.group).then(|| want.group.clone()),
                mtime: None,
            };
            if change != Alter::default() {
                world.alter(&want.path, &change)?;
            }
        }
        Ok(Map::new())
    }

    fn result(&self, state: &State) -> Map {
        let mut result = map([("dest", self.dest.as_str().into())]);
        result.extend(self.src.as_ref().map(|src| ("src".to_owned(), Value::from(src.as_str()))));
        if self.list_files {
            result.insert("files".to_owned(), state.names.clone().into());
        }
        result
    }
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used, clippy::disallowed_methods)]
    use super::*;
    use crate::resource::content::given;
    use crate::resource::laws::laws;
    use crate::resource::{Outcome, Status, converge};
    use crate::system::fake::Fake;
    use crate::system::Make;
    use crate::system::local::Local;
    use crate::system::overlay::Overlay;
    use std::process::Command;
    use std::sync::Arc;

    #[test]
    fn what_the_programs_say_is_read() {
        for (line, name) in [
            ("a/d/g: Contents differ", Some("a/d/g")),
            ("a/d/g: Mod time differs", None),
            ("a: Uid differs", None),
            ("a: b: Mode differs", Some("a: b")),
            ("tar: a/f: Warning: Cannot stat: No such file or directory", Some("a/f")),
            ("tar: a/d/l: Warning: Cannot readlink: No such file or directory", Some("a/d/l")),
            ("tar: a/d/g: Cannot stat: Not a directory", Some("a/d/g")),
            ("tar: Exiting with failure status due to previous errors", None),
        ] {
            assert_eq!(differs(line, false), name, "{line}");
        }
        assert_eq!(differs("a: Mode differs", true), None);
        let line = "       2  Stored        2   0% 2026-11-22 12:00 46ea081f  a/f  x";
        assert_eq!(zipped(line), Some(("a/f  x", 2, 0x46ea_081f)));
        assert_eq!(zipped("--------  ------  ------- ---- ---------- ----- --------  ----"), None);
        assert_eq!(crc32(b"x\n"), 0x46ea_081f);
    }

    fn run(folder: &str, argv: &[&str]) {
        let status = Command::new(argv[0]).args(&argv[1..]).current_dir(folder).status().unwrap();
        assert!(status.success(), "{argv:?}");
    }

    fn apply(resource: &Unarchive) -> Outcome {
        converge(resource, &Local::new() as &(dyn System + 'static), None).unwrap()
    }

    fn has(program: &str) -> bool {
        Command::new("sh").args(["-c", &format!("command -v {program}")]).output().is_ok_and(|out| out.status.success())
    }

    #[test]
    fn archives_are_unpacked_where_they_differ() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().to_str().unwrap();
        run(at, &["sh", "-c", "mkdir -p a/d out zout && echo x >'a/f x' && echo y >a/d/g && ln -s g a/d/l && tar czf a.tgz a"]);
        let (tgz, out) = (format!("{at}/a.tgz"), format!("{at}/out"));
        let mut unpack: Unarchive = given(&[("src", &tgz), ("remote_src", "yes"), ("dest", &out), ("mode", "u=rwX,g=,o=")]);
        let first = apply(&unpack);
        assert_eq!(first.status, Status::Changed);
        // Into a folder that a plan will have made.
        let new = AbsPath::new(&format!("{at}/new")).unwrap();
        let plan = Overlay::new(Arc::new(Local::new()));
        plan.make(&new, &Make::Directory { mode: 0o755 }).unwrap();
        let later: Unarchive = given(&[("src", &tgz), ("remote_src", "yes"), ("dest", new.as_str())]);
        let planned = converge(&later, &plan as &(dyn System + 'static), None).unwrap();
        assert_eq!((planned.status, planned.diff.len()), (Status::Changed, first.diff.len()), "{:?}", planned.diff);
        assert_eq!(std::fs::read_to_string(format!("{out}/a/d/l")).unwrap(), "y\n");
        assert_eq!(apply(&unpack).status, Status::Same);
        std::fs::write(format!("{out}/a/f x"), "changed\n").unwrap();
        assert_eq!(format!("{:?}", apply(&unpack).diff).matches("Item").count(), 1);
        assert_eq!(std::fs::read_to_string(format!("{out}/a/f x")).unwrap(), "x\n");
        unpack.content = Some(Bytes(std::fs::read(&tgz).unwrap()));
        assert_eq!(apply(&unpack).status, Status::Same);
        std::fs::remove_dir_all(format!("{out}/a")).unwrap();
        unpack.include = vec!["a/d/g".to_owned()];
        assert_eq!(apply(&unpack).status, Status::Changed);
        assert!(std::fs::exists(format!("{out}/a/d/g")).unwrap() && !std::fs::exists(format!("{out}/a/f x")).unwrap());
        if has("zip") && has("unzip") {
            run(at, &["zip", "-qr", "a.zip", "a"]);
            let (zip, out) = (format!("{at}/a.zip"), format!("{at}/zout"));
            let unpack: Unarchive = given(&[("src", &zip), ("remote_src", "yes"), ("dest", &out), ("list_files", "yes")]);
            assert_eq!(apply(&unpack).result["files"].as_list().unwrap().len(), 5);
            assert_eq!(apply(&unpack).status, Status::Same);
            std::fs::write(format!("{out}/a/f x"), "z\n").unwrap();
            assert_eq!(apply(&unpack).status, Status::Changed);
            assert_eq!(std::fs::read_to_string(format!("{out}/a/f x")).unwrap(), "x\n");
        }
    }

    #[test]
    pub(crate) fn unarchive_keeps_the_laws() {
        let missing = "tar: d: Warning: Cannot stat: No such file or directory\ntar: d/f: Warning: Cannot stat: No such file or directory\n";
        let differing = Answer { rc: 1, stderr: missing.into(), ..Answer::default() };
        let world = || {
            let world = Fake::new().user("named", 25).file("/a.tgz", "x").dir("/opt").dir("/var/tmp").file("/done", "");
            world.command(&["tar", "--diff"], differing.clone()).command(
                &["tar", "--show-transformed-names"],
                Answer::ok("d/\nd/f\n"),
            ).command(&["tar", "--list"], Answer::ok("d/\nd/f\n")).command(&["tar", "--same-permissions"], Answer::ok("")).command(&["tar", "--extract"], Answer::ok(""))
        };
        for pairs in [
            vec![("src", "/a.tgz"), ("remote_src", "yes"), ("dest", "/opt")],
            vec![("content", "bytes"), ("dest", "/opt"), ("owner", "named"), ("mode", "0700")],
            vec![("content", "bytes"), ("dest", "/opt"), ("creates", "/done")],
            vec![("content", "bytes"), ("dest", "/none")],
            vec![("src", "/none.tgz"), ("remote_src", "yes"), ("dest", "/opt")],
        ] {
            laws(&given::<Unarchive>(&pairs), world);
        }
    }
}
