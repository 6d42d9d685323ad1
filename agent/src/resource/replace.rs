//! Every match of a regular expression in a text file replaced.

use super::content::{self, Attributes, Content, Placing};
use super::pattern::{Pattern, expand};
use super::{Resource, ResourceError, veil_text, Touches};
use crate::params;
use crate::path::{AbsPath, Mode};
use crate::system::System;
use crate::value::{Map, map};
use std::ops::Range;

params! {
    /// Replaces every match of a regular expression in a file.
    pub struct Replace {
        /// The file.
        path: AbsPath ["dest", "destfile", "name"],
        /// What is replaced; `^` and `$` stand for a line's ends.
        regexp: Pattern,
        /// What comes instead; `\1` and `\g<name>` are filled from the match.
        replace: String = "",
        /// Only behind the first match of this expression; `.` stands for line ends too.
        after: Option<Pattern>,
        /// Only before the first match of this expression.
        before: Option<Pattern>,
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

impl Replace {
    fn attributes(&self) -> Attributes {
        Attributes::new(self.mode.as_ref(), self.owner.as_ref(), self.group.as_ref())
    }

    /// The part of the text between `after` and `before`; `None` where they do not match.
    fn section(&self, text: &str) -> Result<Option<Range<usize>>, ResourceError> {
        let between = match (&self.after, &self.before) {
            (None, None) => return Ok(Some(0..text.len())),
            (Some(_), Some(_)) => "(?P<subsection>.*?)",
            _ => "(?P<subsection>.*)",
        };
        let whole = Pattern::around(self.after.as_ref(), between, self.before.as_ref())
            .and_then(|pattern| pattern.build(false, true))
            .map_err(ResourceError::message)?;
        Ok(whole.captures(text).and_then(|found| found.name("subsection")).map(|section| section.range()))
    }

    fn edited(&self, text: &str) -> Result<String, ResourceError> {
        let Some(section) = self.section(text)? else { return Ok(text.to_owned()) };
        let regex = self.regexp.build(true, false).map_err(ResourceError::message)?;
        let mut out = text[..section.start].to_owned();
        let mut at = section.start;
        for captures in regex.captures_iter(&text[section.clone()]) {
            let Some(found) = captures.get(0) else { continue };
            out.push_str(&text[at..section.start + found.start()]);
            out.push_str(&expand(&captures, &self.replace).map_err(ResourceError::message)?);
            at = section.start + found.end();
        }
        out.push_str(&text[at..]);
        Ok(out)
    }
}

impl Resource for Replace {
    const NAMES: &'static [&'static str] = &["replace", "ansible.builtin.replace"];
    const EXAMPLE: &'static str = "- name: Old name out\n  replace:\n    path: /etc/hosts\n    regexp: '(\\s)old\\.example\\.org(\\s|$)'\n    replace: '\\1new.example.org\\2'\n";
    const PREDICTS: &'static str = "everything; a file that a package still to be installed may bring is unknown until applied";
    const TOUCHES: Touches = Touches::Paths(&["path"]);
    type World = dyn System;
    type State = Content;

    fn check(&self) -> Result<(), Vec<String>> {
        let mut problems = content::check_validate(self.validate.as_deref()).err().unwrap_or_default();
        problems.extend(Pattern::around(self.after.as_ref(), "(?P<subsection>.*?)", self.before.as_ref()).err());
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    fn veil(&mut self, as_read: &dyn Fn(&[u8]) -> Vec<u8>) {
        veil_text(&mut self.replace, as_read);
    }

    fn inspect(&self, world: &Self::World) -> Result<Content, ResourceError> {
        Content::for_edit(&self.path, false, &self.attributes(), world)
    }

    fn desire(&self, now: &Content) -> Result<Content, ResourceError> {
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

    #[test]
    fn matches_are_replaced_in_their_section() {
        for (regexp, replace, after, before, text, expected) in [
            ("a", "b", "", "", "aXa\na\n", "bXb\nb\n"),
            (r"^(\w+)=.*$", r"\1=?", "", "", "x=1\ny=2\n", "x=?\ny=?\n"),
            ("x", "y", r"\[two\]", "", "x\n[two]\nx\n", "x\n[two]\ny\n"),
            ("x", "y", "", r"\[two\]", "x\n[two]\nx\n", "y\n[two]\nx\n"),
            ("x", "y", "<a>", "</a>", "x<a>x\nx</a>x", "x<a>y\ny</a>x"),
            ("x", "y", "none", "", "x\n", "x\n"),
            (r"^#.*\n", "", "", "", "#a\nb\n#c\n", "b\n"),
            (r"\bé", "e", "", "", "é\n", "é\n"),
        ] {
            let mut args = map([("path", "/x".into()), ("regexp", regexp.into()), ("replace", replace.into())]);
            for (name, value) in [("after", after), ("before", before)] {
                if !value.is_empty() {
                    args.insert(name.to_owned(), Value::from(value));
                }
            }
            let replace = Replace::decode(&args).unwrap();
            replace.check().unwrap();
            assert_eq!(replace.edited(text).unwrap(), expected, "{regexp}");
        }
    }

    #[test]
    pub(crate) fn replace_keeps_the_laws() {
        let world = || Fake::new().file("/etc/x", "a=old\n");
        laws(&given::<Replace>(&[("path", "/etc/x"), ("regexp", "old"), ("replace", "new"), ("mode", "0600")]), world);
        laws(&given::<Replace>(&[("path", "/etc/n"), ("regexp", "old"), ("replace", "new")]), world);
        laws(&given::<Replace>(&[("path", "/etc/x"), ("regexp", "old"), ("replace", r"\1")]), world);
        let pairs = [("path", "/etc/x"), ("regexp", "^a=.*"), ("replace", &*format!("a={}", placeholder()))];
        laws_with_secret(&given::<Replace>(&pairs), world);
    }
}
