//! A pair of keys for SSH: of a person, or of a host that is still to be made.

use super::acting::{ask, run};
use super::{Resource, ResourceError, View};
use crate::diff::{Change, Sign};
use crate::ledger::Thing;
use crate::path::AbsPath;
use crate::system::{Action, Declared, Effect, Probe, System};
use crate::value::{Map, Value, map};
use crate::{choice, params};
use serde::Serialize;

choice! {
    /// What kind of key.
    pub enum KeyType {
        /// Ed25519 (RFC 8709).
        Ed25519 = "ed25519",
        /// ECDSA over P-256, P-384 or P-521.
        Ecdsa = "ecdsa",
        /// RSA.
        Rsa = "rsa",
    }
}

params! {
    /// Makes sure that there is a pair of SSH keys, without a passphrase. A pair that is there is kept.
    pub struct OpensshKeypair {
        /// The private key's file; the public one has `.pub` behind it.
        path: AbsPath,
        /// What kind of key.
        r#type: KeyType = "rsa",
        /// Bits, where the type leaves a choice.
        size: Option<i64>,
        /// The public key's comment.
        comment: Option<String>,
    }
}

/// What is there.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct State {
    path: AbsPath,
    /// The public key's line, as the private key gives it; `None` where there is no private key.
    public: Option<String>,
    /// Whether the public key's file says the same.
    beside: bool,
}

impl View for State {
    fn changes(&self, want: &Self) -> Vec<Change> {
        let added = |text: String| Change::Item { sign: Sign::Added, text };
        match (&self.public, &want.public) {
            (None, Some(_)) => vec![added(format!("{} and its public key", self.path))],
            _ if self.beside != want.beside => vec![added(format!("{}.pub", self.path))],
            _ => Vec::new(),
        }
    }
}

impl OpensshKeypair {
    fn public(&self) -> Result<AbsPath, ResourceError> {
        AbsPath::new(&format!("{}.pub", self.path)).map_err(ResourceError::message)
    }

    fn probe(&self) -> Probe {
        Probe::new(format!("ssh-key:{}", self.path), &["ssh-keygen", "-y", "-P", "", "-f", self.path.as_str()])
    }
}

/// Type and key, without the comment.
fn bare(line: &str) -> String {
    line.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
}

impl Resource for OpensshKeypair {
    const NAMES: &'static [&'static str] = &["openssh_keypair", "community.crypto.openssh_keypair"];
    const EXAMPLE: &'static str = "- name: The services host's key, before there is the host\n  openssh_keypair:\n    path: /root/okd/services_host_key\n    type: ed25519\n  register: host_key\n";
    const PREDICTS: &'static str = "that a pair will be made; the public key is unknown until applied";
    type World = dyn System;
    type State = State;

    fn manages(&self) -> Vec<Thing> {
        vec![Thing::new("keypair", self.path.as_str())]
    }

    fn check(&self) -> Result<(), Vec<String>> {
        let fits = match (self.r#type, self.size) {
            (_, None) | (KeyType::Ecdsa, Some(256 | 384 | 521)) => true,
            (KeyType::Rsa, Some(bits)) => (2048..=16384).contains(&bits),
            _ => false,
        };
        match fits {
            true => Ok(()),
            false => Err(vec![format!("a key of type {} has no such `size`", self.r#type.word())]),
        }
    }

    fn inspect(&self, world: &Self::World) -> Result<State, ResourceError> {
        let path = self.path.clone();
        if world.stat(&path)?.is_none() {
            return Ok(State { path, public: None, beside: false });
        }
        let answer = ask(world, &self.probe())?;
        let public = bare(&answer.text());
        // A key that the plan has made, which nobody has seen.
        if public.is_empty() {
            return Ok(State { path, public: Some(public), beside: true });
        }
        let kind = public.split(' ').next().unwrap_or_default();
        if !kind.contains(self.r#type.word()) {
            return Err(ResourceError::message(format!(
                "{path} holds a key of type {kind}, not {}; it is left alone: move it away, or ask for its type",
                self.r#type.word()
            )));
        }
        let text = world.read(&self.public()?, 1 << 16)?.unwrap_or_default();
        let beside = bare(&String::from_utf8_lossy(&text)) == public;
        Ok(State { path, public: Some(public), beside })
    }

    fn desire(&self, now: &State) -> Result<State, ResourceError> {
        let public = now.public.clone().or_else(|| Some(String::new()));
        Ok(State { public, beside: true, ..now.clone() })
    }

    fn apply(&self, now: &State, _want: &State, world: &Self::World) -> Result<Map, ResourceError> {
        let public = self.public()?;
        if now.public.is_some() {
            let mut line = now.public.clone().unwrap_or_default();
            line.extend(self.comment.iter().flat_map(|comment| [" ", comment]));
            super::content::Content::inspect(&public, &super::content::Attributes::default(), world)?;
            world.write(&crate::system::FileWrite {
                mode: Some(0o644),
                ..crate::system::FileWrite::new(public, format!("{line}\n").into_bytes())
            })?;
            return Ok(Map::new());
        }
        super::content::need_parent(&self.path, world)?;
        let size = self.size.map(|bits| bits.to_string());
        let mut argv = vec!["ssh-keygen", "-q", "-N", "", "-t", self.r#type.word()];
        argv.extend(size.iter().flat_map(|bits| ["-b", bits.as_str()]));
        argv.extend(["-C", self.comment.as_deref().unwrap_or_default(), "-f", self.path.as_str()]);
        let mut effect = Declared { creates: vec![self.path.clone(), public.clone()], ..Declared::default() };
        let probe = self.probe();
        effect.predicts.push((probe.key.clone(), crate::system::Answer::ok(String::new())));
        let answer = run(world, &Action::new(&argv, Effect::Declared(effect)))?;
        let key = match answer.predicted {
            true => Value::Unknown(format!("the public key {public}")),
            false => {
                let text = world.read(&public, 1 << 16)?.unwrap_or_default();
                String::from_utf8_lossy(&text).trim().into()
            }
        };
        Ok(map([("public_key", key)]))
    }

    fn result(&self, state: &State) -> Map {
        let mut result = map([
            ("filename", self.path.as_str().into()),
            ("type", self.r#type.word().into()),
        ]);
        if let Some(public) = state.public.as_ref().filter(|public| !public.is_empty()) {
            result.insert("public_key".to_owned(), public.as_str().into());
        }
        result
    }
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used, clippy::disallowed_methods)]
    use super::*;
    use crate::resource::content::given;
    use crate::resource::converge;
    use crate::resource::laws::laws;
    use crate::system::Answer;
    use crate::system::fake::Fake;
    use crate::system::local::Local;
    use crate::system::overlay::Overlay;
    use std::sync::Arc;

    #[test]
    pub(crate) fn a_pair_keeps_the_laws() {
        let pair: OpensshKeypair = given(&[("path", "/etc/key"), ("type", "ed25519")]);
        let made = || Fake::new().command(&["ssh-keygen", "-q"], Answer::default());
        laws(&pair, made);
        let there = || made().file("/etc/key", "private").command(&["ssh-keygen", "-y"], Answer::ok("ssh-ed25519 AAAA\n".to_owned()));
        laws(&pair, there);
        laws(&pair, || there().file("/etc/key.pub", "ssh-ed25519 AAAA ops\n"));
        let other: OpensshKeypair = given(&[("path", "/etc/key"), ("type", "rsa")]);
        laws(&other, there);
    }

    #[test]
    fn a_pair_is_made_once_and_its_public_key_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().join("key");
        let pair: OpensshKeypair = given(&[("path", at.to_str().unwrap()), ("type", "ed25519"), ("comment", "host")]);
        let plan = Overlay::new(Arc::new(Local::new()));
        let planned = converge(&pair, &plan as &(dyn System + 'static), None).unwrap();
        assert!(planned.result["public_key"].unknown().is_some());
        assert_eq!(converge(&pair, &plan as &(dyn System + 'static), None).unwrap().diff, Vec::new());
        let world = Local::new();
        let made = converge(&pair, &world as &(dyn System + 'static), None).unwrap();
        let key = made.result["public_key"].as_str().unwrap().to_owned();
        assert!(key.starts_with("ssh-ed25519 AAAA") && key.ends_with(" host"), "{key}");
        let again = converge(&pair, &world as &(dyn System + 'static), None).unwrap();
        assert_eq!(again.diff, Vec::new());
        assert!(key.starts_with(again.result["public_key"].as_str().unwrap()));
        std::fs::remove_file(at.with_extension("pub")).unwrap();
        assert_eq!(converge(&pair, &world as &(dyn System + 'static), None).unwrap().diff.len(), 1);
        assert_eq!(std::fs::read_to_string(at.with_extension("pub")).unwrap().trim(), key);
    }
}
