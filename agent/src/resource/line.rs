//! One line of a text file: there or not there.

use super::content::{self, Attributes, Content, Placing};
use super::pattern::{Pattern, expand};
use super::{Resource, ResourceError, veil_text, Touches};
use crate::path::{AbsPath, Mode};
use crate::system::System;
use crate::value::{Map, map};
use crate::{choice, params};
use regex_lite::Regex;

choice! {
    /// Whether a part of a file should be there.
    pub enum Presence {
        /// It should be there.
        Present = "present",
        /// It should not.
        Absent = "absent",
    }
}

params! {
    /// Makes sure that a line is in a file, is changed into another one, or is not there.
    pub struct LineInFile {
        /// The file.
        path: AbsPath ["dest", "destfile", "name"],
        /// Whether the line should be there.
        state: Presence = "present",
        /// The line; with `backrefs`, `\1` and `\g<name>` in it are filled from what `regexp` matched.
        line: Option<String> ["value"],
        /// Which line is replaced (the last that matches), or, with `state: absent`, which lines go.
        regexp: Option<Pattern> ["regex"],
        /// As `regexp`, but plain text somewhere in the line.
        search_string: Option<String>,
        /// Fill `line` from `regexp`'s groups; where nothing matches, the file stays as it is.
        backrefs: bool = "no",
        /// Where nothing is replaced: after the last line that matches this expression, or `EOF`.
        insertafter: Option<Pattern>,
        /// Where nothing is replaced: before the last line that matches this expression, or `BOF`.
        insertbefore: Option<Pattern>,
        /// Take the first match, not the last, for `regexp`, `search_string`, `insertafter` and `insertbefore`.
        firstmatch: bool = "no",
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

/// What was found for each search.
struct Found {
    /// The line that is replaced, with the text that replaces it.
    replaced: Option<(usize, String)>,
    /// Whether the line is there as it should be.
    exact: Option<usize>,
    /// Where a new line goes by `insertafter` or `insertbefore`.
    inserted: Option<usize>,
}

fn bare(line: &str) -> &str {
    line.strip_suffix('\n').unwrap_or(line)
}

fn without_end(line: &str) -> &str {
    line.trim_end_matches(['\r', '\n'])
}

fn end_last(lines: &mut [String]) {
    if let Some(last) = lines.last_mut().filter(|last| !last.ends_with(['\n', '\r'])) {
        last.push('\n');
    }
}

impl LineInFile {
    fn attributes(&self) -> Attributes {
        Attributes::new(self.mode.as_ref(), self.owner.as_ref(), self.group.as_ref())
    }

    fn line(&self) -> &str {
        self.line.as_deref().unwrap_or_default()
    }

    fn regexp(&self) -> Result<Option<Regex>, ResourceError> {
        self.regexp.as_ref().map(|pattern| pattern.build(false, false)).transpose().map_err(ResourceError::message)
    }

    /// The last match, or the first one with `firstmatch`.
    fn search(&self, lines: &[String], matches: impl Fn(&str) -> bool) -> Option<usize> {
        let mut numbers = (0..lines.len()).filter(|number| matches(bare(&lines[*number])));
        if self.firstmatch { numbers.next() } else { numbers.next_back() }
    }

    fn anchor(&self) -> Result<Option<(Regex, bool)>, ResourceError> {
        let named = |pattern: &&Pattern, word: &str| pattern.text() != word && pattern.text() != "BOF";
        let anchor = match (&self.insertafter, &self.insertbefore) {
            (Some(after), _) => Some(after).filter(|pattern| named(pattern, "EOF")).map(|pattern| (pattern, true)),
            (None, before) => before.as_ref().filter(|pattern| named(pattern, "BOF")).map(|pattern| (pattern, false)),
        };
        let build = |(pattern, after): (&Pattern, bool)| pattern.build(false, false).map(|regex| (regex, after));
        anchor.map(build).transpose().map_err(ResourceError::message)
    }

    fn find(&self, lines: &[String]) -> Result<Found, ResourceError> {
        let regexp = self.regexp()?;
        let number = match (&regexp, &self.search_string) {
            (Some(regex), _) => self.search(lines, |line| regex.is_match(line)),
            (None, Some(text)) => self.search(lines, |line| line.contains(text.as_str())),
            (None, None) => None,
        };
        if let Some(number) = number {
            let captures = regexp.as_ref().filter(|_| self.backrefs).and_then(|regex| regex.captures(bare(&lines[number])));
            let text = captures.map_or_else(|| Ok(self.line().to_owned()), |captures| expand(&captures, self.line()));
            let replaced = Some((number, text.map_err(ResourceError::message)?));
            return Ok(Found { replaced, exact: None, inserted: None });
        }
        let exact = lines.iter().rposition(|line| without_end(line) == self.line());
        let inserted = match self.anchor()? {
            Some((regex, after)) => {
                let other = |line: &str| without_end(line) != self.line() && regex.is_match(line);
                self.search(lines, other).map(|number| number + usize::from(after))
            }
            None => None,
        };
        Ok(Found { replaced: None, exact, inserted })
    }

    fn present(&self, mut lines: Vec<String>) -> Result<Vec<String>, ResourceError> {
        let found = self.find(&lines)?;
        let at = |word: &str| [&self.insertafter, &self.insertbefore].into_iter().flatten().any(|p| p.text() == word);
        let whole = |text: &str| if text.ends_with('\n') { text.to_owned() } else { format!("{text}\n") };
        match found {
            Found { replaced: Some((number, text)), .. } => lines[number] = whole(&text),
            Found { exact: Some(number), .. } => lines[number] = whole(self.line()),
            _ if self.backrefs => {}
            _ if at("BOF") => lines.insert(0, whole(self.line())),
            Found { inserted: None, .. } => {
                end_last(&mut lines);
                lines.push(whole(self.line()));
            }
            Found { inserted: Some(number), .. } => {
                let before = lines.len().min(number);
                end_last(&mut lines[..before]);
                lines.insert(number, whole(self.line()));
            }
        }
        Ok(lines)
    }

    fn absent(&self, mut lines: Vec<String>) -> Result<Vec<String>, ResourceError> {
        let regexp = self.regexp()?;
        lines.retain(|line| match (&regexp, &self.search_string) {
            (Some(regex), _) => !regex.is_match(bare(line)),
            (None, Some(text)) => !line.contains(text.as_str()),
            (None, None) => without_end(line) != self.line(),
        });
        Ok(lines)
    }
}

impl Resource for LineInFile {
    const NAMES: &'static [&'static str] = &["lineinfile", "ansible.builtin.lineinfile"];
    const EXAMPLE: &'static str = "- name: No root logins by password\n  lineinfile:\n    path: /etc/ssh/sshd_config\n    regexp: '^#?PermitRootLogin'\n    line: PermitRootLogin prohibit-password\n    validate: sshd -t -f %s\n";
    const PREDICTS: &'static str = "everything; a file that a package still to be installed may bring is unknown until applied";
    const TOUCHES: Touches = Touches::Paths(&["path"]);
    type World = dyn System;
    type State = Content;

    fn check(&self) -> Result<(), Vec<String>> {
        let mut problems = content::check_validate(self.validate.as_deref()).err().unwrap_or_default();
        let mut refuse = |wrong: bool, problem: &str| wrong.then(|| problems.push(problem.to_owned()));
        let searched = self.regexp.is_some() || self.search_string.is_some();
        refuse(self.regexp.is_some() && self.search_string.is_some(), "`regexp` and `search_string` exclude each other");
        refuse(self.insertafter.is_some() && self.insertbefore.is_some(), "`insertafter` and `insertbefore` exclude each other");
        refuse(self.backrefs && self.regexp.is_none(), "`backrefs` needs `regexp`");
        refuse(self.state == Presence::Present && self.line.is_none(), "`state: present` needs `line`");
        refuse(self.state == Presence::Absent && self.line.is_none() && !searched, "`state: absent` needs `line`, `regexp` or `search_string`");
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    fn veil(&mut self, as_read: &dyn Fn(&[u8]) -> Vec<u8>) {
        self.line.iter_mut().for_each(|line| veil_text(line, as_read));
    }

    fn inspect(&self, world: &Self::World) -> Result<Content, ResourceError> {
        let create = self.create || self.state == Presence::Absent;
        Content::for_edit(&self.path, create, &self.attributes(), world)
    }

    fn desire(&self, now: &Content) -> Result<Content, ResourceError> {
        if now.bytes.is_none() && self.state == Presence::Absent {
            return Ok(now.clone());
        }
        let lines: Vec<String> = now.text()?.split_inclusive('\n').map(str::to_owned).collect();
        let lines = if self.state == Presence::Present { self.present(lines)? } else { self.absent(lines)? };
        Ok(now.with(lines.concat().into_bytes(), &self.attributes()))
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

    fn args(text: &str) -> Map {
        let pairs = text.split(" ; ").map(|pair| pair.split_once(": ").unwrap());
        let mut args = map([("path", "/etc/x".into())]);
        args.extend(pairs.map(|(key, value)| (key.to_owned(), Value::Str(value.to_owned()))));
        args
    }

    fn edited(given: &str, before: &str) -> String {
        let line = LineInFile::decode(&args(given)).unwrap();
        line.check().unwrap();
        let path = AbsPath::new("/etc/x").unwrap();
        let now = Content { bytes: Some(before.as_bytes().to_vec()), ..Content::absent(path) };
        let want = line.desire(&now).unwrap();
        let again = line.desire(&want).unwrap();
        assert_eq!(again.text().unwrap(), want.text().unwrap(), "a second time: {given}");
        want.text().unwrap().to_owned()
    }

    #[test]
    fn lines_are_put_where_ansible_puts_them() {
        for (given, before, after) in [
            ("line: b", "a\n", "a\nb\n"),
            ("line: b", "a", "a\nb\n"),
            ("line: b", "", "b\n"),
            ("line: b", "b\na\n", "b\na\n"),
            ("line: b", "a\nb", "a\nb\n"),
            ("line: b=2 ; regexp: ^b=", "b=0\na\nb=1\n", "b=0\na\nb=2\n"),
            ("line: b=2 ; regexp: ^b= ; firstmatch: yes", "b=0\na\nb=1\n", "b=2\na\nb=1\n"),
            ("line: b=2 ; regexp: ^b=.*$", "a\nb=1\n", "a\nb=2\n"),
            ("line: b=2 ; regexp: ^c=", "a\nb=2\nz\n", "a\nb=2\nz\n"),
            ("line: x ; search_string: (a)", "1 (a) 2\n", "x\n"),
            ("line: n ; insertafter: ^a", "a1\na2\nz\n", "a1\na2\nn\nz\n"),
            ("line: n ; insertafter: ^a ; firstmatch: yes", "a1\na2\nz\n", "a1\nn\na2\nz\n"),
            ("line: n ; insertafter: ^z", "a\nz", "a\nz\nn\n"),
            ("line: n ; insertafter: ^none", "a\n", "a\nn\n"),
            ("line: n ; insertafter: EOF", "a\n", "a\nn\n"),
            ("line: n ; insertbefore: ^a", "a1\na2\n", "a1\nn\na2\n"),
            ("line: n ; insertbefore: BOF", "a\n", "n\na\n"),
            ("line: n ; insertbefore: ^none", "a\n", "a\nn\n"),
            (r"line: k=\1! ; regexp: ^k=(\w+)!?$ ; backrefs: yes", "k=v\n", "k=v!\n"),
            (r"line: k=\1 ; regexp: ^q=(.*) ; backrefs: yes", "k=v\n", "k=v\n"),
            ("state: absent ; line: b", "a\nb\nbb\nb\n", "a\nbb\n"),
            ("state: absent ; regexp: ^b", "a\nb\nbb", "a\n"),
            ("state: absent ; search_string: b", "ab\na\n", "a\n"),
        ] {
            assert_eq!(edited(given, before), after, "{given} on {before:?}");
        }
    }

    #[test]
    fn contradictions_are_refused() {
        for (given, word) in [
            ("state: present", "`line`"),
            ("state: absent", "`line`"),
            ("line: a ; backrefs: yes", "`regexp`"),
            ("line: a ; regexp: b ; search_string: c", "exclude"),
            ("line: a ; insertafter: b ; insertbefore: c", "exclude"),
            ("line: a ; validate: visudo", "%s"),
        ] {
            let problems = LineInFile::decode(&args(given)).unwrap().check().unwrap_err();
            assert!(problems[0].contains(word), "{given}: {problems:?}");
        }
        assert!(LineInFile::decode(&args("line: a ; regexp: a(?=b)")).is_err());
    }

    #[test]
    pub(crate) fn lineinfile_keeps_the_laws() {
        let world = || {
            let world = Fake::new().user("named", 25).file("/etc/x", "a=1\nb=2").owned("/etc/x", 0o640, "root", "named");
            world.link("/etc/l", "x").refuses("strict", "bad", crate::system::Answer::status(1))
        };
        for pairs in [
            vec![("path", "/etc/x"), ("line", "c=3")],
            vec![("path", "/etc/l"), ("line", "c=3"), ("mode", "0600"), ("owner", "named")],
            vec![("path", "/etc/x"), ("line", "a=2"), ("regexp", "^a=")],
            vec![("path", "/etc/x"), ("regexp", "="), ("state", "absent")],
            vec![("path", "/etc/n"), ("line", "c"), ("create", "yes"), ("mode", "0600")],
            vec![("path", "/etc/n"), ("line", "c"), ("state", "absent")],
            vec![("path", "/etc/n"), ("line", "c")],
            vec![("path", "/etc/x"), ("line", "bad"), ("validate", "strict %s")],
            vec![("path", "/etc/x"), ("line", r"\2"), ("regexp", "^(a)="), ("backrefs", "yes")],
        ] {
            laws(&given::<LineInFile>(&pairs), world);
        }
        let line = format!("a={}", placeholder());
        laws_with_secret(&given::<LineInFile>(&[("path", "/etc/x"), ("line", &line), ("regexp", "^a=")]), world);
    }
}
