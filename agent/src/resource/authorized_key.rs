//! Public keys with which a user may log in.

use super::content::{self, Attributes, Content, Placing};
use super::file::make_directories;
use super::line::Presence;
use super::{Resource, ResourceError, View};
use crate::diff::{Change, Sign, sha256};
use crate::ledger::Thing;
use crate::params;
use crate::path::{AbsPath, Mode};
use crate::system::{Alter, System};
use crate::value::{Map, map};
use serde::Serialize;

params! {
    /// Makes sure that public keys are in a user's `authorized_keys`, or are not.
    pub struct AuthorizedKey {
        /// The user.
        user: String,
        /// Public keys, one a line.
        key: String,
        /// Whether they should be there.
        state: Presence = "present",
        /// No other keys than these are there.
        exclusive: bool = "no",
        /// Options of the keys, see sshd(8).
        key_options: Option<String>,
        /// The keys' comment.
        comment: Option<String>,
        /// The file, where it is not `.ssh/authorized_keys` in the user's home folder.
        path: Option<AbsPath>,
        /// Make and protect the file's folder.
        manage_dir: bool = "yes",
    }
}

/// A line of `authorized_keys`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Key {
    options: String,
    kind: String,
    blob: String,
    comment: String,
}

impl Key {
    /// Reads a line; `None` for what is not a key.
    fn parse(line: &str) -> Option<Key> {
        let line = line.trim();
        if line.starts_with('#') {
            return None;
        }
        let words = words(line);
        for (index, (at, word)) in words.iter().enumerate() {
            if is_kind(word) {
                let (_, blob) = words.get(index + 1)?;
                let after = words.get(index + 2).map_or(line.len(), |(at, _)| *at);
                return Some(Key {
                    options: line[..*at].trim().to_owned(),
                    kind: (*word).to_owned(),
                    blob: (*blob).to_owned(),
                    comment: line[after..].to_owned(),
                });
            }
        }
        None
    }

    fn line(&self) -> String {
        let parts = [&self.options, &self.kind, &self.blob, &self.comment];
        parts.into_iter().filter(|part| !part.is_empty()).cloned().collect::<Vec<_>>().join(" ")
    }
}

fn is_kind(word: &str) -> bool {
    ["ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-"].iter().any(|prefix| word.starts_with(prefix)) && !word.contains(['=', ','])
}

/// Words with their places; blanks inside double quotes do not count.
fn words(line: &str) -> Vec<(usize, &str)> {
    let (mut found, mut start, mut quoted, mut escaped) = (Vec::new(), None, false, false);
    for (at, c) in line.char_indices() {
        if c.is_whitespace() && !quoted {
            if let Some(from) = start.take() {
                found.push((from, &line[from..at]));
            }
            continue;
        }
        start.get_or_insert(at);
        quoted ^= c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
    }
    if let Some(from) = start {
        found.push((from, &line[from..]));
    }
    found
}

/// The file and the folder that it is in.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct State {
    file: Content,
    folder: AbsPath,
    /// Whether the folder is there.
    made: bool,
    uid: String,
    gid: String,
}

impl View for State {
    fn changes(&self, want: &Self) -> Vec<Change> {
        let mut changes = Vec::new();
        if !self.made && want.made {
            changes.push(Change::Item { sign: Sign::Added, text: format!("{}/", self.folder) });
        }
        changes.extend(self.file.changes(&want.file));
        changes
    }
}

impl AuthorizedKey {
    fn keys(&self) -> Vec<Key> {
        let keys = self.key.lines().filter_map(Key::parse);
        keys.map(|key| Key {
            options: self.key_options.clone().unwrap_or(key.options),
            comment: self.comment.clone().unwrap_or(key.comment),
            ..key
        })
        .collect()
    }

    fn attributes(&self, state: &State) -> Attributes {
        let mode = if self.manage_dir { Some(Mode::Octal(0o600)) } else { None };
        let mode = mode.filter(|_| state.file.bytes.is_none());
        Attributes { mode, ..owners(&state.uid, &state.gid) }
    }

    /// The file's lines as they should be.
    fn edited(&self, text: &str) -> String {
        let mut wanted = self.keys();
        let mut lines: Vec<String> = Vec::new();
        for line in text.lines() {
            let key = Key::parse(line);
            let asked = key.as_ref().and_then(|key| wanted.iter().position(|new| new.blob == key.blob));
            match (self.state, key, asked) {
                (Presence::Present, _, Some(index)) => lines.push(wanted.remove(index).line()),
                (Presence::Absent, _, Some(_)) => {}
                (Presence::Present, Some(key), None) if self.exclusive || self.keys().iter().any(|k| k.blob == key.blob) => {}
                _ => lines.push(line.to_owned()),
            }
        }
        if self.state == Presence::Present {
            lines.extend(wanted.iter().map(Key::line));
        }
        lines.iter().map(|line| format!("{line}\n")).collect()
    }
}

/// Owners by number, so that they need no name yet.
fn owners(uid: &str, gid: &str) -> Attributes {
    let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Attributes { mode: None, owner: given(uid), group: given(gid) }
}

impl Resource for AuthorizedKey {
    const NAMES: &'static [&'static str] = &["authorized_key", "ansible.posix.authorized_key"];
    const EXAMPLE: &'static str = "- name: Operator's key\n  authorized_key:\n    user: ops\n    key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA== ops@example.org\n";
    const PREDICTS: &'static str = "everything";
    type World = dyn System;
    type State = State;

    fn manages(&self) -> Vec<Thing> {
        let name = self.key.split_whitespace().last().unwrap_or_default();
        vec![Thing::of("authorized key", &[&self.user, name, &sha256(self.key.as_bytes())[..8]])]
    }

    fn check(&self) -> Result<(), Vec<String>> {
        let bad = self.key.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let problems: Vec<String> = bad
            .filter(|line| Key::parse(line).is_none())
            .map(|line| {
                let shown: String = line.chars().take(40).collect();
                format!("`{shown}` is not a public key as ssh-keygen writes it")
            })
            .collect();
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    fn inspect(&self, world: &Self::World) -> Result<State, ResourceError> {
        let probe = super::user::probe(&self.user);
        let answer = world.probe(&probe)?;
        if answer.rc == 2 {
            return Err(ResourceError::message(format!("there is no user `{}`", self.user)));
        }
        let line = super::acting::ask(world, &probe)?.text();
        let fields: Vec<&str> = line.trim_end().split(':').collect();
        let [_, _, uid, gid, _, home, _] = fields.as_slice() else {
            return Err(ResourceError::command("getent says what is not a line of passwd(5)", &probe.argv, &answer));
        };
        let path = match &self.path {
            Some(path) => path.clone(),
            None => AbsPath::new(&format!("{home}/.ssh/authorized_keys")).map_err(ResourceError::message)?,
        };
        // A user of the plan has no numbers yet, only names.
        let uid = if uid.is_empty() { self.user.as_str() } else { *uid };
        let gid = if gid.is_empty() { self.user.as_str() } else { *gid };
        let file = Content::inspect(&path, &owners(uid, gid), world)?;
        let folder = file.path.parent().unwrap_or_else(|| file.path.clone());
        let made = world.stat(&content::resolve(&folder, world)?)?.is_some();
        if !made && !self.manage_dir {
            content::need_parent(&file.path, world)?;
        }
        Ok(State { file, folder, made, uid: uid.to_owned(), gid: gid.to_owned() })
    }

    fn desire(&self, now: &State) -> Result<State, ResourceError> {
        let text = now.file.text()?;
        let edited = self.edited(text);
        if edited == text || (self.state == Presence::Absent && now.file.bytes.is_none()) {
            return Ok(now.clone());
        }
        let file = now.file.with(edited.into_bytes(), &self.attributes(now));
        Ok(State { file, made: true, ..now.clone() })
    }

    fn apply(&self, now: &State, want: &State, world: &Self::World) -> Result<Map, ResourceError> {
        if !now.made {
            make_directories(&now.folder, 0o700, world)?;
            let Attributes { owner, group, .. } = owners(&now.uid, &now.gid);
            world.alter(&now.folder, &Alter { owner, group, ..Alter::default() })?;
        }
        now.file.place(&want.file, &Placing::default(), world)
    }

    fn result(&self, state: &State) -> Map {
        map([("user", self.user.as_str().into()), ("keyfile", state.file.path.as_str().into())])
    }
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::param::Params;
    use crate::resource::converge;
    use crate::resource::laws::laws;
    use crate::system::Answer;
    use crate::system::fake::Fake;
    use crate::value::Value;

    const OPS: &str = "ssh-ed25519 AAAAops ops@example.org";
    const OLD: &str = "# by hand\nfrom=\"10.0.0.1,10.0.0.2\",command=\"echo \\\"a b\\\"\" ssh-rsa AAAAold old key\nssh-ed25519 AAAAops ops@elsewhere\n";

    fn host() -> Fake {
        Fake::new()
            .user("ops", 1000)
            .user("new", 1001)
            .file("/home/ops/.ssh/authorized_keys", OLD)
            .owned("/home/ops/.ssh/authorized_keys", 0o600, "ops", "ops")
            .dir("/home/new")
            .fact("user:ops", Answer::ok("ops:x:1000:1000::/home/ops:/bin/bash\n"))
            .fact("user:new", Answer::ok("new:x:1001:1001::/home/new:/bin/bash\n"))
            .fact("user:nosuch", Answer::status(2))
    }

    fn key(args: &[(&str, &str)]) -> AuthorizedKey {
        AuthorizedKey::decode(&args.iter().map(|(name, value)| ((*name).to_owned(), Value::from(*value))).collect()).unwrap()
    }

    #[test]
    pub(crate) fn keys_keep_the_laws() {
        for user in ["ops", "new"] {
            laws(&key(&[("user", user), ("key", OPS)]), host);
            laws(&key(&[("user", user), ("key", OPS), ("state", "absent")]), host);
            laws(&key(&[("user", user), ("key", OPS), ("exclusive", "yes"), ("key_options", "no-pty")]), host);
        }
        laws(&key(&[("user", "nosuch"), ("key", OPS)]), host);
    }

    fn keys_after(args: &[(&str, &str)]) -> String {
        let host = host();
        converge(&key(args), &host as &(dyn System + 'static), None).unwrap();
        host.text(&format!("/home/{}/.ssh/authorized_keys", args[0].1)).unwrap()
    }

    #[test]
    fn a_key_is_replaced_added_or_removed_and_the_rest_stays() {
        let first_two: String = OLD.split_inclusive('\n').take(2).collect();
        assert_eq!(keys_after(&[("user", "ops"), ("key", OPS)]), format!("{first_two}{OPS}\n"));
        assert_eq!(keys_after(&[("user", "ops"), ("key", OPS), ("state", "absent")]), first_two);
        assert_eq!(keys_after(&[("user", "ops"), ("key", OPS), ("exclusive", "yes")]), format!("# by hand\n{OPS}\n"));
        let optioned = keys_after(&[("user", "new"), ("key", OPS), ("key_options", "no-pty"), ("comment", "c")]);
        assert_eq!(optioned, "no-pty ssh-ed25519 AAAAops c\n");
    }

    #[test]
    fn a_line_is_taken_apart() {
        let line = OLD.lines().nth(1).unwrap();
        let parsed = Key::parse(line).unwrap();
        assert_eq!((parsed.kind.as_str(), parsed.blob.as_str(), parsed.comment.as_str()), ("ssh-rsa", "AAAAold", "old key"));
        assert_eq!(parsed.line(), line);
        assert!(key(&[("user", "ops"), ("key", "https://example.org/ops.keys")]).check().is_err());
    }
}
