//! Host keys in a known_hosts file: what a client compares a host's key with (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT").

use super::content::{Attributes, Content, Placing};
use super::line::Presence;
use super::{Resource, ResourceError, View, Touches};
use crate::diff::Change;
use crate::params;
use crate::path::{AbsPath, Mode};
use crate::system::System;
use crate::value::{Map, map};
use serde::Serialize;

params! {
    /// Makes sure that a host's key is in a known_hosts file, or that no key of the host is.
    pub struct KnownHosts {
        /// The host's name or address, as it is connected to; `[name]:port` for another port than 22.
        name: String ["host"],
        /// The key: `ssh-ed25519 AAAA…`, or a whole line that begins with the host's name. One key of each type is kept.
        key: Option<String>,
        /// The file; it is made, for its owner alone, where it is not there.
        path: AbsPath = "/etc/ssh/ssh_known_hosts",
        /// Whether the key should be there.
        state: Presence = "present",
    }
}

/// The file.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct State(Content);

impl View for State {
    fn changes(&self, want: &Self) -> Vec<Change> {
        self.0.changes(&want.0)
    }
}

/// Names, type and key of a line; `None` for comments, and for lines that begin with a marker such as `@revoked`.
fn parts(line: &str) -> Option<(&str, &str, &str)> {
    let mut words = line.split_whitespace();
    let names = words.next().filter(|names| !names.starts_with(['#', '@', '|']))?;
    Some((names, words.next()?, words.next()?))
}

impl KnownHosts {
    /// Type and key as they are asked for.
    fn asked(&self) -> Option<(&str, &str)> {
        let words: Vec<&str> = self.key.as_deref()?.split_whitespace().collect();
        let at = words.iter().position(|word| is_kind(word))?;
        Some((words.get(at)?, words.get(at + 1)?))
    }

    fn edited(&self, text: &str) -> String {
        let wanted = self.asked().filter(|_| self.state == Presence::Present);
        let (mut lines, mut there) = (Vec::new(), false);
        for line in text.lines() {
            let Some((names, kind, key)) = parts(line).filter(|(names, ..)| names.split(',').any(|name| name == self.name))
            else {
                lines.push(line.to_owned());
                continue;
            };
            match wanted {
                Some((asked, blob)) if kind == asked && key == blob && !there => {
                    there = true;
                    lines.push(line.to_owned());
                }
                Some((asked, _)) if kind != asked => lines.push(line.to_owned()),
                _ => {
                    let others: Vec<&str> = names.split(',').filter(|name| *name != self.name).collect();
                    if !others.is_empty() {
                        lines.push(format!("{} {kind} {key}", others.join(",")));
                    }
                }
            }
        }
        if let Some((kind, blob)) = wanted.filter(|_| !there) {
            lines.push(format!("{} {kind} {blob}", self.name));
        }
        lines.iter().map(|line| format!("{line}\n")).collect()
    }
}

fn is_kind(word: &str) -> bool {
    ["ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-"].iter().any(|prefix| word.starts_with(prefix))
}

impl Resource for KnownHosts {
    const NAMES: &'static [&'static str] = &["known_hosts", "ansible.builtin.known_hosts"];
    const EXAMPLE: &'static str = "- name: The services host is known before it is met\n  known_hosts:\n    path: /root/.ssh/known_hosts\n    name: services.okd.example.org\n    key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA==\n";
    const PREDICTS: &'static str = "everything";
    const TOUCHES: Touches = Touches::Paths(&["path"]);
    type World = dyn System;
    type State = State;

    fn check(&self) -> Result<(), Vec<String>> {
        let mut problems = Vec::new();
        if self.name.is_empty() || self.name.contains([' ', ',', '*', '?', '!']) {
            problems.push(format!("`{}` is not the name of one host", self.name));
        }
        match (&self.key, self.state) {
            (None, Presence::Present) => problems.push("`key` is needed where the key should be there".to_owned()),
            (Some(_), Presence::Present) if self.asked().is_none() => {
                problems.push("`key` is a type and a key, such as `ssh-ed25519 AAAA…`".to_owned());
            }
            _ => {}
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    fn inspect(&self, world: &Self::World) -> Result<State, ResourceError> {
        Ok(State(Content::inspect(&self.path, &Attributes::default(), world)?))
    }

    fn desire(&self, now: &State) -> Result<State, ResourceError> {
        let (text, new) = (self.edited(now.0.text()?), now.0.bytes.is_none());
        if now.0.text()? == text && !(new && self.state == Presence::Present) {
            return Ok(now.clone());
        }
        let mode = new.then_some(Mode::Octal(0o600));
        Ok(State(now.0.with(text.into_bytes(), &Attributes { mode, ..Attributes::default() })))
    }

    fn apply(&self, now: &State, want: &State, world: &Self::World) -> Result<Map, ResourceError> {
        now.0.place(&want.0, &Placing::default(), world)
    }

    fn result(&self, _state: &State) -> Map {
        map([("name", self.name.as_str().into()), ("path", self.path.as_str().into())])
    }
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::resource::content::given;
    use crate::resource::converge;
    use crate::resource::laws::laws;
    use crate::system::fake::Fake;

    fn known(args: &[(&str, &str)]) -> KnownHosts {
        given(&[&[("name", "one"), ("path", "/etc/known")], args].concat())
    }

    fn after(kind: &KnownHosts, text: &str) -> String {
        let world = Fake::new().file("/etc/known", text);
        converge(kind, &world as &(dyn System + 'static), None).unwrap();
        world.text("/etc/known").unwrap()
    }

    #[test]
    pub(crate) fn host_keys_keep_the_laws() {
        for kind in [known(&[("key", "ssh-ed25519 AAAA")]), known(&[("key", "one ssh-rsa BBBB")]), known(&[("state", "absent")])] {
            for text in [None, Some(""), Some("one ssh-ed25519 CCCC\n"), Some("# a\none,two ssh-ed25519 AAAA x\n@revoked * ssh-rsa B\n")] {
                laws(&kind, || text.map_or_else(Fake::new, |text| Fake::new().file("/etc/known", text)));
            }
        }
    }

    #[test]
    fn a_new_key_replaces_the_host_s_of_its_type_and_no_other() {
        let kind = known(&[("key", "ssh-ed25519 NEW")]);
        assert_eq!(
            after(&kind, "one,two ssh-ed25519 OLD\none ssh-rsa R\n|1|x|y ssh-rsa R\n"),
            "two ssh-ed25519 OLD\none ssh-rsa R\n|1|x|y ssh-rsa R\none ssh-ed25519 NEW\n"
        );
        assert_eq!(after(&known(&[("state", "absent")]), "one ssh-rsa R\ntwo ssh-rsa S\n"), "two ssh-rsa S\n");
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let kind = |key: Option<&str>| KnownHosts { key: key.map(str::to_owned), ..known(&[("state", "absent")]) };
        for key in [None, Some("hello"), Some("ssh-ed25519")] {
            let kind = KnownHosts { state: Presence::Present, ..kind(key) };
            assert!(kind.check().is_err(), "{key:?}");
        }
    }
}
