//! Several lines of a text file between two marker lines: there, or not there.

use super::content::{self, Attributes, Content, Placing};
use super::line::Presence;
use super::pattern::Pattern;
use super::{Resource, ResourceError, veil_text, Touches};
use crate::params;
use crate::path::{AbsPath, Mode};
use crate::system::System;
use crate::value::{Map, map};

params! {
    /// Makes sure that a block of lines between two marker lines is in a file, or is not there.
    pub struct BlockInFile {
        /// The file.
        path: AbsPath ["dest", "destfile", "name"],
        /// Whether the block should be there.
        state: Presence = "present",
        /// The lines between the markers; nothing at all removes the block.
        block: String ["content"] = "",
        /// The marker lines; `{mark}` becomes `marker_begin` and `marker_end`.
        marker: String = "# {mark} ANSIBLE MANAGED BLOCK",
        /// What marks the beginning.
        marker_begin: String = "BEGIN",
        /// What marks the end.
        marker_end: String = "END",
        /// A new block goes after the last line that matches this expression, or to the end: `EOF`.
        insertafter: Option<Pattern>,
        /// A new block goes before the last line that matches this expression, or to the beginning: `BOF`.
        insertbefore: Option<Pattern>,
        /// An empty line after the block, unless it ends the file.
        append_newline: bool = "no",
        /// An empty line before the block, unless it begins the file.
        prepend_newline: bool = "no",
        /// Make the file where there is none.
        create: bool = "no",
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

impl BlockInFile {
    fn attributes(&self) -> Attributes {
        Attributes::new(self.mode.as_ref(), self.owner.as_ref(), self.group.as_ref())
    }

    fn marker(&self, mark: &str) -> String {
        format!("{}\n", self.marker.replace("{mark}", mark))
    }

    fn present(&self) -> bool {
        self.state == Presence::Present
    }

    fn lines(&self) -> Vec<String> {
        if !self.present() || self.block.is_empty() {
            return Vec::new();
        }
        let end = if self.block.ends_with('\n') { "" } else { "\n" };
        let whole = format!("{}{}{end}{}", self.marker(&self.marker_begin), self.block, self.marker(&self.marker_end));
        split(&whole)
    }

    /// Takes the old block out; where it was, or where a new one belongs.
    fn cut(&self, lines: &mut Vec<String>) -> Result<usize, ResourceError> {
        let find = |mark: &str| {
            let marker = self.marker(mark);
            lines.iter().rposition(|line| line.trim_end_matches(['\r', '\n']) == marker.trim_end_matches('\n'))
        };
        match (find(&self.marker_begin), find(&self.marker_end)) {
            (Some(begin), Some(end)) => {
                lines.drain(begin.min(end)..=begin.max(end));
                Ok(begin.min(end))
            }
            _ => self.place_for_new(lines),
        }
    }

    fn place_for_new(&self, lines: &[String]) -> Result<usize, ResourceError> {
        let (pattern, after) = match (&self.insertafter, &self.insertbefore) {
            (Some(pattern), _) if pattern.text() != "EOF" => (pattern, true),
            (None, Some(pattern)) if pattern.text() == "BOF" => return Ok(0),
            (None, Some(pattern)) => (pattern, false),
            _ => return Ok(lines.len()),
        };
        let multi_line = pattern.sets_multi_line();
        let regex = pattern.build(multi_line, false).map_err(ResourceError::message)?;
        let found = if multi_line {
            let text = lines.concat();
            let at = regex.find(&text).map(|found| if after { found.end() } else { found.start() });
            at.map(|at| text[..at].matches('\n').count())
        } else {
            lines.iter().rposition(|line| regex.is_match(line.trim_end_matches('\n')))
        };
        Ok(found.map_or(lines.len(), |line| (line + usize::from(after)).min(lines.len())))
    }

    fn edited(&self, text: &str) -> Result<String, ResourceError> {
        let mut lines = split(text);
        let mut at = self.cut(&mut lines)?;
        let mut block = self.lines();
        let surrounded = !block.is_empty();
        if let Some(before) = lines[..at].last_mut().filter(|line| surrounded && !line.ends_with('\n')) {
            before.push('\n');
        }
        if self.prepend_newline && surrounded && at > 0 && lines[at - 1] != "\n" {
            lines.insert(at, "\n".to_owned());
            at += 1;
        }
        if self.append_newline && surrounded && lines.get(at).is_some_and(|line| line != "\n") {
            block.push("\n".to_owned());
        }
        lines.splice(at..at, block);
        Ok(lines.concat())
    }
}

fn split(text: &str) -> Vec<String> {
    text.split_inclusive('\n').map(str::to_owned).collect()
}

impl Resource for BlockInFile {
    const NAMES: &'static [&'static str] = &["blockinfile", "ansible.builtin.blockinfile"];
    const EXAMPLE: &'static str = "- name: Names of the cluster\n  blockinfile:\n    path: /etc/hosts\n    marker: \"# {mark} cluster\"\n    block: |\n      192.0.2.5 api.okd.example.org\n      192.0.2.5 api-int.okd.example.org\n";
    const PREDICTS: &'static str = "everything; a file that a package still to be installed may bring is unknown until applied";
    const TOUCHES: Touches = Touches::Paths(&["path"]);
    type World = dyn System;
    type State = Content;

    fn check(&self) -> Result<(), Vec<String>> {
        let mut problems = content::check_validate(self.validate.as_deref()).err().unwrap_or_default();
        if self.insertafter.is_some() && self.insertbefore.is_some() {
            problems.push("`insertafter` and `insertbefore` exclude each other".to_owned());
        }
        if !self.marker.contains("{mark}") {
            problems.push("`marker` needs `{mark}`, so that the block's beginning and end can be told apart".to_owned());
        }
        if self.marker_begin == self.marker_end {
            problems.push("`marker_begin` and `marker_end` have to differ".to_owned());
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    fn veil(&mut self, as_read: &dyn Fn(&[u8]) -> Vec<u8>) {
        veil_text(&mut self.block, as_read);
    }

    fn inspect(&self, world: &Self::World) -> Result<Content, ResourceError> {
        Content::for_edit(&self.path, self.create || !self.present(), &self.attributes(), world)
    }

    fn desire(&self, now: &Content) -> Result<Content, ResourceError> {
        if now.bytes.is_none() && !self.present() {
            return Ok(now.clone());
        }
        Ok(now.with(self.edited(now.text()?)?.into_bytes(), &self.attributes()))
    }

    fn apply(&self, now: &Content, want: &Content, world: &Self::World) -> Result<Map, ResourceError> {
        now.place(want, &Placing::new(self.backup, self.validate.as_deref())?, world)
    }

    fn result(&self, state: &Content) -> Map {
        let mut result = map([("path", self.path.as_str().into())]);
        result.extend(state.result());
        result
    }
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::resource::content::given;
    use crate::resource::laws::{laws, laws_with_secret, placeholder};
    use crate::system::fake::Fake;
    use crate::param::Params;
    use crate::value::Value;

    fn block(given: &[(&str, &str)]) -> BlockInFile {
        let mut args = map([("path", "/etc/x".into())]);
        args.extend(given.iter().map(|(key, value)| ((*key).to_owned(), Value::Str((*value).to_owned()))));
        BlockInFile::decode(&args).unwrap()
    }

    const B: &str = "# BEGIN ANSIBLE MANAGED BLOCK\nx\n# END ANSIBLE MANAGED BLOCK\n";

    #[test]
    fn blocks_are_put_where_ansible_puts_them() {
        let text = |before: &str, after: &str| format!("{before}{B}{after}");
        for (given, before, after) in [
            (vec![("block", "x")], "a\n".to_owned(), text("a\n", "")),
            (vec![("block", "x\n")], "a".to_owned(), text("a\n", "")),
            (vec![("block", "x")], B.replace('x', "old\nlines") + "z\n", text("", "z\n")),
            (vec![("block", "x")], text("", "").trim_end().to_owned(), text("", "")),
            (vec![("block", "x"), ("insertafter", "^a")], "a\na\nz\n".to_owned(), text("a\na\n", "z\n")),
            (vec![("block", "x"), ("insertafter", "none")], "a\n".to_owned(), text("a\n", "")),
            (vec![("block", "x"), ("insertbefore", "^z")], "a\nz\n".to_owned(), text("a\n", "z\n")),
            (vec![("block", "x"), ("insertbefore", "BOF")], "a\n".to_owned(), text("", "a\n")),
            (vec![("block", "x"), ("insertafter", r"(?m)^a\nb$")], "a\nb\nz\n".to_owned(), text("a\nb\n", "z\n")),
            (vec![("block", "x"), ("prepend_newline", "yes")], "a\n".to_owned(), text("a\n\n", "")),
            (
                vec![("block", "x"), ("append_newline", "yes"), ("insertbefore", "BOF")],
                "a\n".to_owned(),
                text("", "\na\n"),
            ),
            (vec![("state", "absent")], text("a\n", "z\n"), "a\nz\n".to_owned()),
            (vec![("block", "")], text("a\n", "z\n"), "a\nz\n".to_owned()),
            (vec![("state", "absent")], "a\n".to_owned(), "a\n".to_owned()),
        ] {
            let block = block(&given);
            block.check().unwrap();
            let found = block.edited(&before).unwrap();
            assert_eq!(found, after, "{given:?}");
            assert_eq!(block.edited(&found).unwrap(), found, "a second time: {given:?}");
        }
    }

    #[test]
    fn markers_that_cannot_be_told_apart_are_refused() {
        assert!(block(&[("marker", "# block")]).check().is_err());
        assert!(block(&[("marker_end", "BEGIN")]).check().is_err());
        assert!(block(&[("insertafter", "a"), ("insertbefore", "b")]).check().is_err());
    }

    #[test]
    pub(crate) fn blockinfile_keeps_the_laws() {
        let world = || Fake::new().file("/etc/x", "a\nb");
        for pairs in [
            vec![("path", "/etc/x"), ("block", "c\nd")],
            vec![("path", "/etc/x"), ("block", "c"), ("insertbefore", "BOF"), ("append_newline", "yes")],
            vec![("path", "/etc/x"), ("state", "absent")],
            vec![("path", "/etc/n"), ("block", "c"), ("create", "yes"), ("mode", "0600")],
            vec![("path", "/etc/n"), ("state", "absent")],
        ] {
            laws(&given::<BlockInFile>(&pairs), world);
        }
        laws_with_secret(&given::<BlockInFile>(&[("path", "/etc/x"), ("block", &placeholder())]), world);
    }
}
