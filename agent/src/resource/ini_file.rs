//! Options in files with `[sections]`, edited line by line so that comments and order stay.

use super::content::{self, Attributes, Content, Placing};
use super::line::Presence;
use super::{Resource, ResourceError, veil_text, Touches};
use crate::params;
use crate::path::{AbsPath, Mode};
use crate::system::System;
use crate::value::{Map, map};
use std::ops::Range;

params! {
    /// Makes sure that an option is in a section of an INI file with this value, or is not there.
    pub struct IniFile {
        /// The file.
        path: AbsPath ["dest"],
        /// The section; left out for options before the first one.
        section: Option<String>,
        /// The option; left out, the section itself is meant.
        option: Option<String>,
        /// Its value.
        value: Option<String>,
        /// Its values, where the option stands several times.
        values: Vec<String>,
        /// Whether it should be there.
        state: Presence = "present",
        /// The option stands with these values only; `no` adds them to what is there.
        exclusive: bool = "yes",
        /// `key=value` without blanks around the `=`.
        no_extra_spaces: bool = "no",
        /// Leave a line as it is where only blanks around the `=` differ.
        ignore_spaces: bool = "no",
        /// The option may stand without `=` and value.
        allow_no_value: bool = "no",
        /// Use a line in which the option is commented out, and make it count.
        modify_inactive_option: bool = "yes",
        /// Make the file where there is none.
        create: bool = "yes",
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

/// An option as a line of the file has it.
struct Setting<'a> {
    active: bool,
    value: Option<&'a str>,
}

/// Reads a line that sets `option`; `None` for any other line.
fn setting<'a>(line: &'a str, option: &str) -> Option<Setting<'a>> {
    let line = line.trim_end_matches(['\r', '\n']);
    let body = line.strip_prefix(['#', ';']);
    let rest = body.unwrap_or(line).trim_start_matches([' ', '\t']).strip_prefix(option)?;
    let rest = rest.trim_start_matches([' ', '\t']);
    let active = body.is_none();
    match rest.strip_prefix('=') {
        Some(value) => Some(Setting { active, value: Some(value.trim_matches([' ', '\t'])) }),
        None => rest.is_empty().then_some(Setting { active, value: None }),
    }
}

fn header(line: &str) -> Option<&str> {
    line.trim().strip_prefix('[')?.split_once(']').map(|(name, _)| name)
}

fn is_idle(line: &str) -> bool {
    let line = line.trim();
    line.is_empty() || line.starts_with(['#', ';'])
}

impl IniFile {
    fn attributes(&self) -> Attributes {
        Attributes::new(self.mode.as_ref(), self.owner.as_ref(), self.group.as_ref())
    }

    fn wanted(&self) -> Vec<String> {
        self.value.iter().chain(&self.values).cloned().collect()
    }

    fn written(&self, option: &str, value: &str) -> String {
        match (self.allow_no_value && value.is_empty(), self.no_extra_spaces) {
            (true, _) => format!("{option}\n"),
            (false, true) => format!("{option}={value}\n"),
            (false, false) => format!("{option} = {value}\n"),
        }
    }

    /// The lines of the section without its header; `None` where it is not there.
    fn body(&self, lines: &[String]) -> Option<Range<usize>> {
        let start = match &self.section {
            None => 0,
            Some(section) => lines.iter().position(|line| header(line) == Some(section.as_str()))? + 1,
        };
        let length = lines[start..].iter().take_while(|line| header(line).is_none()).count();
        Some(start..start + length)
    }

    fn set(&self, lines: &mut Vec<String>, option: &str) {
        let mut wanted = self.wanted();
        if wanted.is_empty() && self.allow_no_value {
            wanted.push(String::new());
        }
        let body = match self.body(lines) {
            Some(body) => body,
            None => {
                if let Some(last) = lines.last_mut().filter(|line| !line.ends_with('\n')) {
                    last.push('\n');
                }
                lines.extend(self.section.iter().map(|section| format!("[{section}]\n")));
                lines.len()..lines.len()
            }
        };
        if let Some(above) = lines[..body.start].last_mut().filter(|line| !line.ends_with('\n')) {
            above.push('\n');
        }
        let mut section: Vec<String> = lines[body.clone()].to_vec();
        let mut kept = vec![false; section.len()];
        self.keep(&mut section, &mut kept, option, &mut wanted);
        if self.exclusive {
            self.override_rest(&mut section, &mut kept, option, &mut wanted);
        }
        let at = section.iter().rposition(|line| !is_idle(line)).map_or(0, |last| last + 1);
        if let Some(before) = section[..at].last_mut().filter(|line| !line.ends_with('\n')) {
            before.push('\n');
        }
        section.splice(at..at, wanted.iter().map(|value| self.written(option, value)));
        lines.splice(body, section);
    }

    /// Lines that have one of the values already are written as they should be.
    fn keep(&self, section: &mut [String], kept: &mut [bool], option: &str, wanted: &mut Vec<String>) {
        for (line, kept) in section.iter_mut().zip(kept.iter_mut()) {
            let Some(found) = setting(line, option).filter(|found| found.active || self.modify_inactive_option) else {
                continue;
            };
            let value = found.value.unwrap_or_default();
            let Some(at) = wanted.iter().position(|wanted| wanted == value) else { continue };
            let leave = self.ignore_spaces && found.active;
            let value = wanted.remove(at);
            if !leave {
                *line = self.written(option, &value);
            }
            *kept = true;
        }
    }

    /// Other lines of the option get the values that are left; what is then too much goes.
    fn override_rest(&self, section: &mut Vec<String>, kept: &mut [bool], option: &str, wanted: &mut Vec<String>) {
        for active in [true, false] {
            for (line, kept) in section.iter_mut().zip(kept.iter_mut()).filter(|(_, kept)| !**kept) {
                let fits = setting(line, option)
                    .is_some_and(|found| found.active == active && (active || self.modify_inactive_option));
                if fits && !wanted.is_empty() {
                    *line = self.written(option, &wanted.remove(0));
                    *kept = true;
                }
            }
        }
        let mut kept = kept.iter();
        section.retain(|line| kept.next() == Some(&true) || setting(line, option).is_none_or(|found| !found.active));
    }

    fn remove(&self, lines: &mut Vec<String>) {
        let Some(option) = &self.option else {
            while let Some(body) = self.body(lines).filter(|body| body.start > 0) {
                lines.drain(body.start - 1..body.end);
            }
            return;
        };
        let Some(body) = self.body(lines) else { return };
        let wanted = self.wanted();
        let goes = |line: &String| {
            setting(line, option).is_some_and(|found| {
                let named = found.value.is_some_and(|value| wanted.iter().any(|wanted| wanted == value));
                found.active && (self.exclusive || named)
            })
        };
        let rest: Vec<String> = lines[body.clone()].iter().filter(|line| !goes(line)).cloned().collect();
        lines.splice(body, rest);
    }

    fn edited(&self, text: &str) -> String {
        let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
        match (self.state, &self.option) {
            (Presence::Absent, _) => self.remove(&mut lines),
            (Presence::Present, Some(option)) => self.set(&mut lines, option),
            (Presence::Present, None) if self.body(&lines).is_none() => {
                if let Some(last) = lines.last_mut().filter(|line| !line.ends_with('\n')) {
                    last.push('\n');
                }
                lines.extend(self.section.iter().map(|section| format!("[{section}]\n")));
            }
            (Presence::Present, None) => {}
        }
        lines.concat()
    }
}

impl Resource for IniFile {
    const NAMES: &'static [&'static str] = &["ini_file", "community.general.ini_file"];
    const EXAMPLE: &'static str = "- name: Fewer kernels\n  ini_file:\n    path: /etc/dnf/dnf.conf\n    section: main\n    option: installonly_limit\n    value: \"2\"\n    no_extra_spaces: true\n";
    const PREDICTS: &'static str = "everything; a file that a package still to be installed may bring is unknown until applied";
    const TOUCHES: Touches = Touches::Paths(&["path"]);
    type World = dyn System;
    type State = Content;

    fn check(&self) -> Result<(), Vec<String>> {
        let mut problems = content::check_validate(self.validate.as_deref()).err().unwrap_or_default();
        let present = self.state == Presence::Present;
        if self.value.is_some() && !self.values.is_empty() {
            problems.push("`value` and `values` exclude each other".to_owned());
        }
        if present && self.option.is_some() && self.wanted().is_empty() && !self.allow_no_value {
            problems.push("an option needs `value` or `values`; `allow_no_value: true` lets it stand alone".to_owned());
        }
        if self.section.is_none() && self.option.is_none() {
            problems.push("`ini_file` needs `section` or `option`".to_owned());
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    fn veil(&mut self, as_read: &dyn Fn(&[u8]) -> Vec<u8>) {
        let values = self.value.iter_mut().chain(&mut self.values);
        values.for_each(|value| veil_text(value, as_read));
    }

    fn inspect(&self, world: &Self::World) -> Result<Content, ResourceError> {
        Content::for_edit(&self.path, self.create || self.state == Presence::Absent, &self.attributes(), world)
    }

    fn desire(&self, now: &Content) -> Result<Content, ResourceError> {
        if now.bytes.is_none() && self.state == Presence::Absent {
            return Ok(now.clone());
        }
        Ok(now.with(self.edited(now.text()?).into_bytes(), &self.attributes()))
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
    fn options_are_set_and_removed_in_their_section() {
        for (given, before, after) in [
            ("section=a;option=k;value=2", "[a]\nk = 1\n\n[b]\nk = 1\n", "[a]\nk = 2\n\n[b]\nk = 1\n"),
            ("section=a;option=n;value=2", "[a]\nk=1\n# end\n\n[b]\n", "[a]\nk=1\nn = 2\n# end\n\n[b]\n"),
            ("section=c;option=n;value=2", "[a]\nk=1", "[a]\nk=1\n[c]\nn = 2\n"),
            ("section=a;option=k;value=1;no_extra_spaces=yes", "[a]\nk = 1\n", "[a]\nk=1\n"),
            ("section=a;option=k;value=1;ignore_spaces=yes", "[a]\nk=1\n", "[a]\nk=1\n"),
            ("section=a;option=k;value=2", "[a]\n#k = 1\n", "[a]\nk = 2\n"),
            ("section=a;option=k;value=2;modify_inactive_option=no", "[a]\n#k = 1\n", "[a]\nk = 2\n#k = 1\n"),
            ("section=a;option=k;value=2", "[a]\n#k = 0\nk = 1\nk = 3\n", "[a]\n#k = 0\nk = 2\n"),
            ("section=a;option=k;values=x,y", "[a]\nk = y\n", "[a]\nk = y\nk = x\n"),
            ("section=a;option=k;value=y;exclusive=no", "[a]\nk = x\n", "[a]\nk = x\nk = y\n"),
            ("section=a;option=k;allow_no_value=yes", "[a]\n", "[a]\nk\n"),
            ("option=k;value=1", "x = 2\n[a]\nk = 3\n", "x = 2\nk = 1\n[a]\nk = 3\n"),
            ("section=a;option=k;value=1", "", "[a]\nk = 1\n"),
            ("section=a;option=k;state=absent", "[a]\nk = 1\nl = 2\nk = 3\n", "[a]\nl = 2\n"),
            ("section=a;option=k;state=absent;value=3;exclusive=no", "[a]\nk = 1\nk = 3\n", "[a]\nk = 1\n"),
            ("section=a;state=absent", "[a]\nk = 1\n[b]\nk = 1\n", "[b]\nk = 1\n"),
            ("section=a;option=key;value=1", "[a]\nkeys = 2\n", "[a]\nkeys = 2\nkey = 1\n"),
        ] {
            let pairs = given.split(';').map(|pair| pair.split_once('=').unwrap());
            let mut args = map([("path", "/etc/x".into())]);
            args.extend(pairs.map(|(key, value)| (key.to_owned(), Value::Str(value.to_owned()))));
            let ini = IniFile::decode(&args).unwrap();
            ini.check().unwrap();
            let found = ini.edited(before);
            assert_eq!(found, after, "{given}");
            assert_eq!(ini.edited(&found), found, "a second time: {given}");
        }
    }

    #[test]
    pub(crate) fn ini_file_keeps_the_laws() {
        let world = || Fake::new().file("/etc/x", "[a]\nk=1\n");
        for pairs in [
            vec![("path", "/etc/x"), ("section", "a"), ("option", "k"), ("value", "2")],
            vec![("path", "/etc/x"), ("section", "a"), ("option", "k"), ("state", "absent")],
            vec![("path", "/etc/n"), ("section", "a"), ("option", "k"), ("value", "2"), ("mode", "0600")],
            vec![("path", "/etc/n"), ("section", "a"), ("option", "k"), ("value", "2"), ("create", "no")],
            vec![("path", "/etc/x"), ("section", "b")],
        ] {
            laws(&given::<IniFile>(&pairs), world);
        }
        let secret = placeholder();
        let pairs = [("path", "/etc/x"), ("section", "a"), ("option", "k"), ("value", secret.as_str())];
        laws_with_secret(&given::<IniFile>(&pairs), world);
    }
}
