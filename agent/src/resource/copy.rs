//! Whole files put in place: content that the orchestrator sends, or files and folders that are on the machine already.

use super::checksum::Algorithm;
use super::content::{self, Attributes, Content, Placing, READ_LIMIT, promised};
use super::file::make_directories;
use super::{Resource, ResourceError, View, Touches};
use crate::diff::{Change, Sign};
use crate::ledger::Thing;
use crate::param::{Bytes, Destination, FileMode};
use crate::params;
use crate::path::{AbsPath, Mode};
use crate::system::{Alter, FileKind, System};
use crate::value::{Map, map};
use serde::Serialize;

params! {
    /// Puts a file in place, whole: with content given here, from a file beside the playbook, or from the machine itself.
    pub struct Copy {
        /// Where; with a `/` at its end, or where a folder is, the file goes into that folder.
        dest: Destination,
        /// The content itself.
        content: Option<Bytes>,
        /// A file beside the playbook; with `remote_src` a file or folder on the machine.
        src: Option<String>,
        /// Whether `src` is on the machine.
        remote_src: bool = "no",
        /// The file's name where `dest` is a folder; set from `src`.
        original_basename: Option<String> ["_original_basename"],
        /// Permission bits, as `"0644"` or `u=rw,g=r`; `preserve` takes those of `src`.
        mode: Option<FileMode>,
        /// Owner's name or number.
        owner: Option<String>,
        /// Group's name or number.
        group: Option<String>,
        /// Permission bits of folders that have to be made.
        directory_mode: Option<Mode>,
        /// Replace a file that is there; `no` leaves it as it is.
        force: bool ["thirsty"] = "yes",
        /// Keep the old file beside the new one.
        backup: bool = "no",
        /// A command that checks the new file, `%s`, before it is put in place.
        validate: Option<String>,
        /// Where a link is at `dest`, write what it points to; `no` replaces the link.
        follow: bool = "no",
        /// SHA-1 that the content has to have; SHA-256 or SHA-512 where it is as long as those.
        checksum: Option<String>,
    }
}

/// One file that should be there.
#[derive(Debug, Clone, PartialEq)]
struct Source {
    path: AbsPath,
    bytes: Vec<u8>,
    mode: u32,
}

/// The files at the destination, and the folders that they need.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct State {
    dest: AbsPath,
    folders: Vec<(AbsPath, bool)>,
    files: Vec<Content>,
    #[serde(skip)]
    sources: Vec<Source>,
}

impl View for State {
    fn changes(&self, want: &Self) -> Vec<Change> {
        let made = want.folders.iter().filter(|folder| !self.folders.contains(folder));
        let item = |(path, _): &(AbsPath, bool)| Change::Item { sign: Sign::Added, text: format!("{path}/") };
        let mut changes: Vec<Change> = made.map(item).collect();
        changes.extend(self.files.iter().zip(&want.files).flat_map(|(now, want)| now.changes(want)));
        changes
    }
}

impl Copy {
    fn attributes(&self) -> Attributes {
        let mode = self.mode.as_ref().and_then(FileMode::bits);
        Attributes::new(mode, self.owner.as_ref(), self.group.as_ref())
    }

    fn remote(&self) -> Option<&str> {
        self.src.as_deref().filter(|_| self.remote_src)
    }

    /// The file's path where the destination may be a folder.
    fn target(&self, name: Option<&str>, world: &dyn System) -> Result<(AbsPath, Option<AbsPath>), ResourceError> {
        let dest = self.dest.path();
        let kind = world.stat(&content::resolve(dest, world)?)?.map(|meta| meta.kind);
        match (kind, name) {
            (Some(FileKind::Directory), Some(name)) => Ok((dest.join(name), None)),
            (None, Some(name)) if self.dest.is_folder() => Ok((dest.join(name), Some(dest.clone()))),
            (Some(FileKind::Directory), None) => {
                Err(ResourceError::message(format!("{dest} is a folder, and the file has no name of its own")))
            }
            (_, None) if self.dest.is_folder() => {
                Err(ResourceError::message(format!("`dest: {dest}/` is a folder, and the file has no name of its own")))
            }
            _ => Ok((dest.clone(), None)),
        }
    }

    fn given(&self, bytes: &Bytes, world: &dyn System) -> Result<State, ResourceError> {
        let (path, folder) = self.target(self.original_basename.as_deref(), world)?;
        let source = Source { path: path.clone(), bytes: bytes.as_ref().to_vec(), mode: content::NEW_MODE };
        let folders = folder.into_iter().map(|folder| (folder, false)).collect();
        Ok(State { dest: path, folders, files: Vec::new(), sources: vec![source] })
    }

    fn machines_own(&self, src: &str, world: &dyn System) -> Result<State, ResourceError> {
        let path = AbsPath::new(src).map_err(|expected| ResourceError::message(format!("`src`: {expected}")))?;
        let real = content::resolve(&path, world)?;
        let Some(meta) = world.stat(&real)? else {
            return Err(ResourceError::message(format!("there is no {path} on the machine to copy")));
        };
        let mut state =
            State { dest: self.dest.path().clone(), folders: Vec::new(), files: Vec::new(), sources: Vec::new() };
        if meta.kind == FileKind::Directory {
            let into = if src.ends_with('/') { state.dest.clone() } else { state.dest.join(path.name()) };
            self.tree(&real, &into, world, &mut state)?;
        } else {
            let (dest, folder) = self.target(Some(path.name()), world)?;
            state.folders.extend(folder.map(|folder| (folder, false)));
            let bytes = world.read(&real, READ_LIMIT)?.unwrap_or_default();
            state.sources.push(Source { path: dest.clone(), bytes, mode: meta.mode });
            state.dest = dest;
        }
        Ok(state)
    }

    fn tree(&self, from: &AbsPath, into: &AbsPath, world: &dyn System, state: &mut State) -> Result<(), ResourceError> {
        state.folders.push((into.clone(), world.stat(&content::resolve(into, world)?)?.is_some()));
        for entry in world.list(from)? {
            let (below, dest) = (from.join(&entry.name), into.join(&entry.name));
            let real = content::resolve(&below, world)?;
            match world.stat(&real)? {
                Some(meta) if meta.kind == FileKind::Directory => self.tree(&real, &dest, world, state)?,
                Some(meta) if meta.kind == FileKind::File => {
                    let bytes = world.read(&real, READ_LIMIT)?.unwrap_or_default();
                    state.sources.push(Source { path: dest, bytes, mode: meta.mode });
                }
                _ => return Err(ResourceError::message(format!("{below} is neither a file nor a folder"))),
            }
        }
        Ok(())
    }

    fn look(&self, source: &Source, world: &dyn System) -> Result<Content, ResourceError> {
        let asked = self.attributes();
        let now = Content::inspect(&source.path, &asked, world)?;
        let through_link = now.path != source.path;
        if through_link && !self.follow && now.bytes.as_ref() != Some(&source.bytes) {
            return Ok(Content { note: format!("replaces a link to {}", now.path), ..Content::absent(source.path.clone()) });
        }
        Ok(now)
    }

    fn wanted(&self, now: &Content, source: &Source) -> Content {
        let mut want = now.with(source.bytes.clone(), &self.attributes());
        if matches!(self.mode, Some(FileMode::Preserve)) {
            want.mode = source.mode;
        }
        want.note.clone_from(&now.note);
        want
    }

    fn check_sum(&self, state: &State) -> Result<(), ResourceError> {
        let (Some(wanted), [source]) = (&self.checksum, state.sources.as_slice()) else { return Ok(()) };
        let (algorithm, name) = match wanted.len() {
            64 => (Algorithm::Sha256, "SHA-256"),
            128 => (Algorithm::Sha512, "SHA-512"),
            _ => (Algorithm::Sha1, "SHA-1"),
        };
        let found = algorithm.of(&source.bytes);
        if found.eq_ignore_ascii_case(wanted) {
            return Ok(());
        }
        Err(ResourceError::message(format!("the content's {name} is {found}, not {wanted}; nothing was written")))
    }

    fn make_folders(&self, now: &State, world: &dyn System) -> Result<(), ResourceError> {
        for (folder, _) in now.folders.iter().filter(|(_, there)| !there) {
            let mode = self.directory_mode.as_ref().map_or(0o755, |mode| mode.apply(0o755, true));
            make_directories(folder, mode, world)?;
            let change = Alter { owner: self.owner.clone(), group: self.group.clone(), ..Alter::default() };
            if change != Alter::default() {
                world.alter(folder, &change)?;
            }
        }
        Ok(())
    }
}

impl Resource for Copy {
    const NAMES: &'static [&'static str] = &["copy", "ansible.builtin.copy"];
    const EXAMPLE: &'static str = "- name: Resolver\n  copy:\n    dest: /etc/resolv.conf\n    content: |\n      nameserver 192.0.2.53\n    owner: root\n    mode: \"0644\"\n";
    const PREDICTS: &'static str = "everything: the content, as a diff, with mode, owner and group";
    const TOUCHES: Touches = Touches::Paths(&["dest"]);
    type World = dyn System;
    type State = State;

    fn manages(&self) -> Vec<Thing> {
        let name = self.original_basename.as_deref().or(self.remote().map(|src| src.rsplit('/').next().unwrap_or_default()));
        let dest = self.dest.path();
        let path = name.filter(|_| self.dest.is_folder()).map_or_else(|| dest.clone(), |name| dest.join(name));
        vec![Thing::new(Thing::PATH, path.as_str())]
    }

    fn check(&self) -> Result<(), Vec<String>> {
        let mut problems = content::check_validate(self.validate.as_deref()).err().unwrap_or_default();
        match (&self.content, &self.src) {
            (None, None) => problems.push("`copy` needs `content` or `src`".to_owned()),
            (Some(_), Some(_)) if self.remote_src => {
                problems.push("`content` and `src` with `remote_src` exclude each other".to_owned());
            }
            (None, Some(src)) if self.remote_src && !src.starts_with('/') => {
                problems.push("with `remote_src`, `src` is an absolute path on the machine".to_owned());
            }
            _ => {}
        }
        if matches!(self.mode, Some(FileMode::Preserve)) && !self.remote_src {
            problems.push("`mode: preserve` needs `src`".to_owned());
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    fn veil(&mut self, as_read: &dyn Fn(&[u8]) -> Vec<u8>) {
        if let Some(content) = &mut self.content {
            content.0 = as_read(&content.0);
        }
    }

    fn inspect(&self, world: &Self::World) -> Result<State, ResourceError> {
        let mut state = match (self.remote(), &self.content) {
            (Some(src), _) => self.machines_own(src, world)?,
            (None, Some(bytes)) => self.given(bytes, world)?,
            (None, None) => return Err(ResourceError::message("the content of `src` was not sent")),
        };
        self.check_sum(&state)?;
        for source in &state.sources {
            if state.folders.is_empty() {
                content::need_parent(&source.path, world)?;
            }
            state.files.push(self.look(source, world)?);
        }
        if let [file] = state.files.as_mut_slice() {
            let parent = file.path.parent();
            let missing = parent.map(|parent| world.stat(&parent)).transpose()?.flatten().is_none();
            if let Some(packages) = promised(world).filter(|_| missing && state.folders.is_empty()) {
                file.note = format!("in a folder that {packages} will have brought");
            }
        }
        Ok(state)
    }

    fn desire(&self, now: &State) -> Result<State, ResourceError> {
        let mut want = now.clone();
        want.folders.iter_mut().for_each(|(_, there)| *there = true);
        want.files = now.files.iter().zip(&now.sources).map(|(file, source)| self.wanted(file, source)).collect();
        if !self.force {
            for (file, now) in want.files.iter_mut().zip(&now.files).filter(|(_, now)| now.bytes.is_some()) {
                file.clone_from(now);
            }
        }
        Ok(want)
    }

    fn apply(&self, now: &State, want: &State, world: &Self::World) -> Result<Map, ResourceError> {
        self.make_folders(now, world)?;
        let placing = Placing::new(self.backup, self.validate.as_deref())?;
        let mut result = Map::new();
        for (file, wanted) in now.files.iter().zip(&want.files).filter(|(now, want)| !now.changes(want).is_empty()) {
            result = file.place(wanted, &placing, world)?;
        }
        if want.files.len() == 1 { Ok(result) } else { Ok(Map::new()) }
    }

    fn result(&self, state: &State) -> Map {
        let mut result = map([("dest", state.dest.as_str().into())]);
        if let Some(src) = &self.src {
            result.insert("src".to_owned(), src.as_str().into());
        }
        if let [file] = state.files.as_slice() {
            result.extend(file.result());
            if let Some(bytes) = &file.bytes {
                result.insert("checksum".to_owned(), Algorithm::Sha1.of(bytes).into());
            }
        }
        result
    }
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::param::Params;
    use crate::resource::content::given;
    use crate::resource::laws::{laws, laws_with_secret, placeholder};
    use crate::resource::{Outcome, Status, converge};
    use crate::system::fake::Fake;
    use crate::system::overlay::Overlay;
    use crate::system::{Action, Answer, Declared, Effect};
    use std::sync::Arc;

    fn world() -> Fake {
        Fake::new()
            .user("named", 25)
            .file("/etc/x", "old\n")
            .owned("/etc/x", 0o600, "root", "named")
            .dir("/etc/d")
            .link("/etc/l", "x")
            .file("/srv/tree/a", "a\n")
            .owned("/srv/tree/a", 0o755, "root", "root")
            .file("/srv/tree/sub/b", "b\n")
            .checker("check")
            .refuses("strict", "new", Answer::status(1))
    }

    fn apply(pairs: &[(&str, &str)], world: &Fake) -> Result<Outcome, String> {
        let world: &(dyn System + 'static) = world;
        converge(&given::<Copy>(pairs), world, None).map_err(|failure| failure.message)
    }

    #[test]
    pub(crate) fn copy_keeps_the_laws() {
        for pairs in [
            vec![("dest", "/etc/new"), ("content", "new\n")],
            vec![("dest", "/etc/new"), ("content", "new\n"), ("mode", "0640"), ("owner", "root"), ("group", "named")],
            vec![("dest", "/etc/new"), ("content", "")],
            vec![("dest", "/etc/x"), ("content", "new\n")],
            vec![("dest", "/etc/x"), ("content", "old\n"), ("mode", "u=rw,g=r")],
            vec![("dest", "/etc/x"), ("content", "new\n"), ("force", "no"), ("mode", "0777")],
            vec![("dest", "/etc/x"), ("content", "new\n"), ("group", "25")],
            vec![("dest", "/etc/x"), ("content", "new\n"), ("owner", "nosuch")],
            vec![("dest", "/etc/x"), ("content", "new\n"), ("validate", "check %s")],
            vec![("dest", "/etc/x"), ("content", "new\n"), ("validate", "strict %s")],
            vec![("dest", "/etc/d"), ("content", "new\n"), ("original_basename", "n")],
            vec![("dest", "/etc/d"), ("content", "new\n")],
            vec![("dest", "/etc/fresh/deep/"), ("content", "new\n"), ("original_basename", "n"), ("directory_mode", "0700")],
            vec![("dest", "/none/n"), ("content", "new\n")],
            vec![("dest", "/etc/x/n"), ("content", "new\n")],
            vec![("dest", "/etc/l"), ("content", "new\n")],
            vec![("dest", "/etc/l"), ("content", "old\n"), ("mode", "0644")],
            vec![("dest", "/etc/l"), ("content", "new\n"), ("follow", "yes")],
            vec![("dest", "/etc/n"), ("src", "/etc/l"), ("remote_src", "yes"), ("mode", "preserve")],
            vec![("dest", "/etc/d"), ("src", "/etc/x"), ("remote_src", "yes")],
            vec![("dest", "/etc/d"), ("src", "/srv/tree"), ("remote_src", "yes"), ("mode", "preserve")],
            vec![("dest", "/etc/t"), ("src", "/srv/tree/"), ("remote_src", "yes"), ("owner", "named")],
            vec![("dest", "/etc/t"), ("src", "/none"), ("remote_src", "yes")],
            vec![("dest", "/etc/n"), ("content", "abc"), ("checksum", "a9993e364706816aba3e25717850c26c9cd0d89d")],
            vec![("dest", "/etc/n"), ("content", "abd"), ("checksum", "a9993e364706816aba3e25717850c26c9cd0d89d")],
        ] {
            laws(&given::<Copy>(&pairs), world);
        }
        let secret = format!("password={}\n", placeholder());
        laws_with_secret(&given::<Copy>(&[("dest", "/etc/x"), ("content", &secret), ("mode", "0600")]), world);
    }

    #[test]
    fn files_go_where_they_belong() {
        let world = world();
        apply(&[("dest", "/etc/fresh/"), ("content", "n\n"), ("original_basename", "n")], &world).unwrap();
        assert_eq!(world.text("/etc/fresh/n").as_deref(), Some("n\n"));
        apply(&[("dest", "/etc/l"), ("content", "new\n")], &world).unwrap();
        assert_eq!((world.text("/etc/l").as_deref(), world.text("/etc/x").as_deref()), (Some("new\n"), Some("old\n")));
        apply(&[("dest", "/etc/d"), ("src", "/srv/tree"), ("remote_src", "yes"), ("mode", "preserve")], &world).unwrap();
        assert_eq!(world.text("/etc/d/tree/sub/b").as_deref(), Some("b\n"));
        let path = AbsPath::new("/etc/d/tree/a").unwrap();
        assert_eq!(world.stat(&path).unwrap().unwrap().mode, 0o755);
        let outcome = apply(&[("dest", "/etc/x"), ("content", "abc")], &world).unwrap();
        assert_eq!(outcome.result["checksum"].as_str(), Some("a9993e364706816aba3e25717850c26c9cd0d89d"));
        assert_eq!((outcome.result["mode"].as_str(), outcome.result["group"].as_str()), (Some("0600"), Some("named")));
    }

    #[test]
    fn a_refused_file_leaves_a_link_as_it_was() {
        let world = world();
        let pairs = [("dest", "/etc/l"), ("content", "new\n"), ("validate", "strict %s")];
        assert!(apply(&pairs, &world).unwrap_err().contains("refused"));
        let path = AbsPath::new("/etc/l").unwrap();
        assert_eq!(world.stat(&path).unwrap().unwrap().target.as_deref(), Some("x"));
    }

    #[test]
    fn a_promised_package_may_bring_the_folder() {
        let plan = Overlay::new(Arc::new(world()));
        let brings = Declared { brings: vec!["bind".to_owned()], ..Declared::default() };
        plan.act(&Action::new(&["dnf", "install", "bind"], Effect::Declared(brings))).unwrap();
        let copy: Copy = given(&[("dest", "/var/named/z"), ("content", "z\n"), ("group", "named")]);
        let outcome = converge(&copy, &plan as &(dyn System + 'static), None).unwrap();
        assert_eq!(outcome.status, Status::Changed);
        assert!(format!("{:?}", outcome.diff).contains("in a folder that bind will have brought"), "{:?}", outcome.diff);
    }

    #[test]
    fn contradictions_are_refused() {
        for pairs in [
            vec![("dest", "/x")],
            vec![("dest", "/x"), ("src", "a"), ("remote_src", "yes")],
            vec![("dest", "/x"), ("content", "a"), ("mode", "preserve")],
            vec![("dest", "/x"), ("content", "a"), ("validate", "true")],
        ] {
            let args = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
            assert!(Copy::decode(&args).unwrap().check().is_err(), "{pairs:?}");
        }
    }
}
