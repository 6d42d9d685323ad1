//! The INI form: `[group]`, `[group:vars]`, `[group:children]`, and host lines with `key=value` behind the name.

use super::yaml::check_group_name;
use super::{ALL, Inventory, UNGROUPED, literal};
use crate::error::{Diagnostic, Diagnostics, nearest};
use crate::source::yaml::Node;
use crate::source::{FileId, Span};
use std::collections::HashMap;

/// Reads a file into the inventory.
pub(super) fn read(inventory: &mut Inventory, file: FileId) -> Result<(), Diagnostics> {
    let text = inventory.sources.file(file);
    let mut reader = Reader {
        inventory,
        file,
        section: Section::Hosts(UNGROUPED.to_owned()),
        mentioned: Vec::new(),
        seen: HashMap::new(),
        mistakes: Diagnostics::default(),
    };
    let mut start = 0;
    for line in text.text.split_inclusive('\n') {
        let result = reader.line(line, start);
        reader.mistakes.absorb(result);
        start += line.len();
    }
    reader.undefined();
    reader.mistakes.into_result(())
}

enum Section {
    Hosts(String),
    Vars(String),
    Children(String),
    /// Its header is wrong; its lines would only repeat that.
    Broken,
}

struct Reader<'i> {
    inventory: &'i mut Inventory,
    file: FileId,
    section: Section,
    /// Groups named by `:vars`, `:children` or as a child, which must be defined somewhere.
    mentioned: Vec<(String, Span, &'static str)>,
    /// Variables of `[group:vars]` sections, to find those said twice.
    seen: HashMap<(String, String), Span>,
    mistakes: Diagnostics,
}

/// A piece of a line with its place; the text is unquoted.
struct Word {
    text: String,
    start: usize,
    end: usize,
}

impl Reader<'_> {
    fn span(&self, start: usize, end: usize) -> Span {
        Span {
            file: self.file,
            start: start as u32,
            end: end as u32,
        }
    }

    fn line(&mut self, line: &str, start: usize) -> Result<(), Diagnostics> {
        let start = start + (line.len() - line.trim_start().len());
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            return Ok(());
        }
        if line.starts_with('[') && self.is_header(line) {
            self.section = Section::Broken;
            self.section = self.header(line, start)?;
            return Ok(());
        }
        match &self.section {
            Section::Hosts(group) => self.host(&group.clone(), line, start),
            Section::Vars(group) => self.variable(&group.clone(), line, start),
            Section::Children(group) => self.child(&group.clone(), line, start),
            Section::Broken => Ok(()),
        }
    }

    /// `[fe80::1]:22` is a host, `[web]` a header.
    fn is_header(&self, line: &str) -> bool {
        let inner = line.trim_start_matches('[').split(']').next().unwrap_or_default();
        inner.parse::<std::net::Ipv6Addr>().is_err()
    }

    fn header(&mut self, line: &str, start: usize) -> Result<Section, Diagnostics> {
        let whole = self.span(start, start + line.len());
        let (inner, after) = line[1..]
            .split_once(']')
            .ok_or_else(|| Diagnostic::new("bad-section", "the section's `]` is missing").at(whole, "not closed"))?;
        if !after.trim().is_empty() && !after.trim_start().starts_with(['#', ';']) {
            let one = Diagnostic::new("bad-section", "text follows the section's `]`");
            return Err(one.at(whole, "").into());
        }
        let (name, kind) = inner.split_once(':').unwrap_or((inner, ""));
        let place = self.span(start + 1, start + 1 + name.len());
        check_group_name(name, place)?;
        match kind {
            "" if inner == name => {
                self.inventory.declare_group(name, Some(place));
                Ok(Section::Hosts(name.to_owned()))
            }
            "vars" => {
                self.mentioned.push((name.to_owned(), place, "vars"));
                Ok(Section::Vars(name.to_owned()))
            }
            "children" => {
                self.inventory.declare_group(name, Some(place));
                Ok(Section::Children(name.to_owned()))
            }
            other => {
                let kinds = self.span(start + 2 + name.len(), start + 1 + inner.len());
                let label = nearest(other, ["vars", "children"]).map(|near| format!("did you mean `{near}`?"));
                let one = Diagnostic::new("bad-section", format!("`{other}` is not a kind of section"));
                let one = one.at(kinds, label.unwrap_or_default());
                Err(one
                    .help("sections are `[group]`, `[group:vars]` and `[group:children]`")
                    .into())
            }
        }
    }

    fn host(&mut self, group: &str, line: &str, start: usize) -> Result<(), Diagnostics> {
        let words = self.words(line, start)?;
        let Some((name, rest)) = words.split_first() else {
            return Ok(());
        };
        let place = self.span(name.start, name.end);
        if name.text.ends_with(':') && !name.text.contains('[') {
            let one = Diagnostic::new(
                "bad-host",
                format!("`{}` ends in a colon, and this file is read as INI", name.text),
            );
            return Err(one.at(place, "").help("name a YAML inventory `….yml`").into());
        }
        if name.text.contains('=') && !name.text.starts_with('[') {
            let one = Diagnostic::new("bad-host", "a variable stands where a host's name is expected");
            return Err(one
                .at(place, "")
                .help("variables of a group stand under `[group:vars]`")
                .into());
        }
        let mut vars: Vec<(Node, Node)> = Vec::new();
        for word in rest {
            let (key, value) = self.assignment(word)?;
            if let Some((first, _)) = vars.iter().find(|(known, _)| known.as_str() == key.as_str()) {
                return Err(twice(&key, first.span).into());
            }
            vars.push((key, value));
        }
        self.inventory.add_address(group, &name.text, place, self.file, vars)?;
        Ok(())
    }

    fn assignment(&self, word: &Word) -> Result<(Node, Node), Diagnostic> {
        let place = self.span(word.start, word.end);
        let Some((key, value)) = word.text.split_once('=').filter(|(key, _)| !key.is_empty()) else {
            let one = Diagnostic::new(
                "bad-variable",
                format!("expected `key=value` behind the host, got `{}`", word.text),
            );
            return Err(one.at(place, "").help("quote a value that holds blanks: key=\"a b\""));
        };
        let key_place = self.span(word.start, word.start + key.len());
        let file = self.inventory.sources.file(self.file);
        // Without quotes inside, the value is the end of the word; with quotes around it, what stands between them.
        let behind = word.start + key.len() + 1;
        let raw = file.text.get(behind..word.end).unwrap_or_default();
        let value_place = if raw == value {
            self.span(behind, word.end)
        } else if raw.len() == value.len() + 2 && raw.get(1..raw.len() - 1) == Some(value) {
            self.span(behind + 1, word.end - 1)
        } else {
            place
        };
        let value = self.inventory.vault.variable(key, literal::node(value, value_place));
        Ok((Node::str(key, key_place), value))
    }

    fn variable(&mut self, group: &str, line: &str, start: usize) -> Result<(), Diagnostics> {
        let whole = self.span(start, start + line.len());
        let Some((key, value)) = line.split_once('=').filter(|(key, _)| !key.trim().is_empty()) else {
            let one = Diagnostic::new("bad-variable", format!("expected `key=value` under `[{group}:vars]`"));
            return Err(one.at(whole, "").into());
        };
        let behind = start + key.len() + 1 + (value.len() - value.trim_start().len());
        let (key, value) = (key.trim(), value.trim());
        let key = Node::str(key, self.span(start, start + key.len()));
        let value = literal::node(value, self.span(behind, behind + value.len()));
        let name = key.as_str().unwrap_or_default();
        let value = self.inventory.vault.variable(name, value);
        let said = (group.to_owned(), name.to_owned());
        if let Some(first) = self.seen.insert(said, key.span) {
            return Err(twice(&key, first).into());
        }
        self.inventory.declare_group(group, None);
        self.inventory.set_group_vars(group, self.file, vec![(key, value)])?;
        Ok(())
    }

    fn child(&mut self, group: &str, line: &str, start: usize) -> Result<(), Diagnostics> {
        let name = line.split(['#', ';']).next().unwrap_or(line).trim_end();
        let place = self.span(start, start + name.len());
        check_group_name(name, place)?;
        if name == ALL {
            let one = Diagnostic::new(
                "group-cycle",
                format!("groups contain each other: {ALL} → {group} → {ALL}"),
            );
            return Err(one.at(place, "`all` holds every group").into());
        }
        self.mentioned.push((name.to_owned(), place, "child"));
        self.inventory.put_group(group, name, Some(place));
        Ok(())
    }

    /// Groups that are only mentioned: a slip of the pen, most likely.
    fn undefined(&mut self) {
        for (name, place, how) in std::mem::take(&mut self.mentioned) {
            let defined = self.inventory.group(&name).is_some_and(|group| group.span.is_some());
            if defined || name == ALL || name == UNGROUPED {
                continue;
            }
            let known = self.inventory.groups().filter(|group| group.span.is_some());
            let names: Vec<&str> = known.map(|group| group.name.as_str()).collect();
            let label = nearest(&name, names).map(|near| format!("did you mean `{near}`?"));
            let message = match how {
                "vars" => format!("the group `{name}` has variables but is not defined"),
                _ => format!("the child `{name}` is not a defined group"),
            };
            let one = Diagnostic::new("unknown-group", message).at(place, label.unwrap_or_default());
            self.mistakes
                .push(one.help(format!("define it by a section `[{name}]`, which may be empty")));
        }
    }

    /// Splits a line as a shell would: quotes keep blanks, a backslash keeps the next character, `#` begins a comment.
    fn words(&self, line: &str, start: usize) -> Result<Vec<Word>, Diagnostic> {
        let mut words: Vec<Word> = Vec::new();
        let mut quote: Option<(char, usize)> = None;
        let mut open = false;
        let mut chars = line.char_indices();
        while let Some((at, c)) = chars.next() {
            if quote.is_none() && c.is_whitespace() {
                open = false;
                continue;
            }
            if quote.is_none() && c == '#' && !open {
                break;
            }
            if !open {
                open = true;
                words.push(Word {
                    text: String::new(),
                    start: start + at,
                    end: start + at,
                });
            }
            if quote.is_none() && c == '#' {
                return Err(
                    Diagnostic::new("bad-variable", "a `#` inside a word, where Ansible begins a comment")
                        .at(self.span(start + at, start + at + 1), "")
                        .help("quote the value if the `#` belongs to it, else put a blank before it"),
                );
            }
            let Some(word) = words.last_mut() else { break };
            word.end = start + at + c.len_utf8();
            match (quote, c) {
                (Some((mark, _)), _) if c == mark => quote = None,
                (None, '"' | '\'') => quote = Some((c, at)),
                (None, '\\') | (Some(('"', _)), '\\') => {
                    let Some((at, next)) = chars.next() else { break };
                    if quote.is_some() && !"\"\\".contains(next) {
                        word.text.push('\\');
                    }
                    word.text.push(next);
                    word.end = start + at + next.len_utf8();
                }
                _ => word.text.push(c),
            }
        }
        match quote {
            Some((_, at)) => Err(Diagnostic::new("bad-variable", "this quote is never closed")
                .at(self.span(start + at, start + at + 1), "opened here")),
            None => Ok(words),
        }
    }
}

fn twice(key: &Node, first: Span) -> Diagnostic {
    let name = key.as_str().unwrap_or_default();
    Diagnostic::new("duplicate-key", format!("the variable `{name}` is set twice"))
        .at(key.span, "here again")
        .at(first, "first here")
}
