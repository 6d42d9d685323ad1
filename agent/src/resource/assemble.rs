//! A file made of the pieces in a folder.

use super::content::{self, Attributes, Content, Placing, READ_LIMIT};
use super::pattern::Pattern;
use super::{Resource, ResourceError, View, Touches};
use crate::diff::Change;
use crate::params;
use crate::path::{AbsPath, Mode};
use crate::system::{FileKind, System};
use crate::value::{Map, map};
use serde::Serialize;

params! {
    /// Makes a file of the files in a folder of the machine, in the order of their names.
    pub struct Assemble {
        /// The folder.
        src: AbsPath,
        /// The file.
        dest: AbsPath,
        /// The folder is on the machine; nothing else is possible.
        remote_src: bool = "yes",
        /// Stands between two pieces; `\n` is a line end.
        delimiter: Option<String>,
        /// Only pieces whose names match.
        regexp: Option<Pattern>,
        /// Leave out names that begin with a dot.
        ignore_hidden: bool = "no",
        /// Keep the old file beside the new one.
        backup: bool = "no",
        /// A command that checks the new file, `%s`, before it is put in place.
        validate: Option<String>,
        /// Permission bits, as `"0644"` or `u=rw,g=r`.
        mode: Option<Mode>,
        /// Owner's name or number.
        owner: Option<String>,
        /// Group's name or number.
        group: Option<String>,
    }
}

/// The file, and the pieces that it is made of.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct State {
    file: Content,
    #[serde(skip)]
    pieces: Vec<Vec<u8>>,
}

impl View for State {
    fn changes(&self, want: &Self) -> Vec<Change> {
        self.file.changes(&want.file)
    }
}

impl Assemble {
    fn attributes(&self) -> Attributes {
        Attributes::new(self.mode.as_ref(), self.owner.as_ref(), self.group.as_ref())
    }

    fn pieces(&self, world: &dyn System) -> Result<Vec<Vec<u8>>, ResourceError> {
        let folder = content::resolve(&self.src, world)?;
        if world.stat(&folder)?.is_none_or(|meta| meta.kind != FileKind::Directory) {
            return Err(ResourceError::message(format!("there is no folder {} to take pieces from", self.src)));
        }
        let regexp = self.regexp.as_ref().map(|pattern| pattern.build(false, false)).transpose();
        let regexp = regexp.map_err(ResourceError::message)?;
        let mut pieces = Vec::new();
        for entry in world.list(&folder)? {
            let hidden = self.ignore_hidden && entry.name.starts_with('.');
            if hidden || regexp.as_ref().is_some_and(|regexp| !regexp.is_match(&entry.name)) {
                continue;
            }
            let path = content::resolve(&folder.join(&entry.name), world)?;
            if world.stat(&path)?.is_some_and(|meta| meta.kind == FileKind::File) {
                pieces.extend(world.read(&path, READ_LIMIT)?);
            }
        }
        Ok(pieces)
    }

    fn joined(&self, pieces: &[Vec<u8>]) -> Vec<u8> {
        let delimiter = self.delimiter.as_ref().map(|text| text.replace("\\n", "\n").replace("\\t", "\t"));
        let mut out: Vec<u8> = Vec::new();
        for (number, piece) in pieces.iter().enumerate() {
            if number > 0 && !pieces[number - 1].ends_with(b"\n") {
                out.push(b'\n');
            }
            if let Some(delimiter) = delimiter.as_ref().filter(|_| number > 0) {
                out.extend_from_slice(delimiter.as_bytes());
                if !delimiter.ends_with('\n') {
                    out.push(b'\n');
                }
            }
            out.extend_from_slice(piece);
        }
        out
    }
}

impl Resource for Assemble {
    const NAMES: &'static [&'static str] = &["assemble", "ansible.builtin.assemble"];
    const EXAMPLE: &'static str = "- name: One file of many\n  assemble:\n    src: /etc/haproxy/conf.d\n    dest: /etc/haproxy/haproxy.cfg\n    validate: haproxy -c -f %s\n";
    const PREDICTS: &'static str = "everything";
    const TOUCHES: Touches = Touches::Paths(&["dest"]);
    type World = dyn System;
    type State = State;

    fn check(&self) -> Result<(), Vec<String>> {
        let mut problems = content::check_validate(self.validate.as_deref()).err().unwrap_or_default();
        if !self.remote_src {
            problems.push("`assemble` takes pieces on the machine only; a template joins local ones".to_owned());
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    fn inspect(&self, world: &Self::World) -> Result<State, ResourceError> {
        content::need_parent(&self.dest, world)?;
        let file = Content::inspect(&self.dest, &self.attributes(), world)?;
        Ok(State { file, pieces: self.pieces(world)? })
    }

    fn desire(&self, now: &State) -> Result<State, ResourceError> {
        let file = now.file.with(self.joined(&now.pieces), &self.attributes());
        Ok(State { file, pieces: now.pieces.clone() })
    }

    fn apply(&self, now: &State, want: &State, world: &Self::World) -> Result<Map, ResourceError> {
        now.file.place(&want.file, &Placing::new(self.backup, self.validate.as_deref())?, world)
    }

    fn result(&self, state: &State) -> Map {
        let mut result = map([("dest", self.dest.as_str().into()), ("src", self.src.as_str().into())]);
        result.extend(state.file.result());
        result
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::resource::content::given;
    use crate::resource::laws::laws;
    use crate::system::fake::Fake;

    #[test]
    fn pieces_are_joined_by_name() {
        let pieces = [b"b".to_vec(), b"c\n".to_vec(), b"d\n".to_vec()];
        let plain: Assemble = given(&[("src", "/p"), ("dest", "/x")]);
        assert_eq!(plain.joined(&pieces), b"b\nc\nd\n");
        let with: Assemble = given(&[("src", "/p"), ("dest", "/x"), ("delimiter", "## next\\n")]);
        assert_eq!(with.joined(&pieces), b"b\n## next\nc\n## next\nd\n");
    }

    #[test]
    pub(crate) fn assemble_keeps_the_laws() {
        let world = || Fake::new().file("/p/2", "two\n").file("/p/1", "one").file("/p/.h", "h\n").dir("/p/d");
        laws(&given::<Assemble>(&[("src", "/p"), ("dest", "/etc/x"), ("mode", "0600")]), world);
        laws(&given::<Assemble>(&[("src", "/p"), ("dest", "/etc/x"), ("regexp", "^1"), ("ignore_hidden", "yes")]), world);
        laws(&given::<Assemble>(&[("src", "/none"), ("dest", "/etc/x")]), world);
        laws(&given::<Assemble>(&[("src", "/p"), ("dest", "/none/x")]), world);
    }
}
