//! The drive that tells a cloud image who it is at its first boot (cloud-init's NoCloud): an ISO image labelled `cidata`.

use super::iso9660;
use okd_agent::diff::{self, Change};
use okd_agent::params;
use okd_agent::path::{AbsPath, Mode};
use okd_agent::resource::content::{READ_LIMIT, field, need_parent};
use okd_agent::resource::{Resource, ResourceError, Touches, View, json};
use okd_agent::secret::{Secret, Secrets};
use okd_agent::system::{FileWrite, System};
use okd_agent::value::{Map, Value, map};
use serde::Serialize;

params! {
    /// Makes the drive that tells a cloud image who it is: host name, users, keys, network. Upload it as an ISO image and attach it.
    pub struct NocloudIso {
        /// The image's file.
        dest: AbsPath,
        /// The machine's host name.
        hostname: String,
        /// Another one makes cloud-init begin anew.
        instance_id: Option<String>,
        /// `user-data`: keys of a cloud-config, such as `users` and `ssh_authorized_keys`.
        user_data: Option<Value>,
        /// `network-config`, version 1 or 2.
        network_config: Option<Value>,
        /// A private key's file, with `.pub` beside it: the machine gets them as its host key before it is met for the first time. Never shown.
        host_key: Option<AbsPath>,
        /// Permission bits of the image.
        mode: Mode = "0600",
    }
}

/// What the drive says, with private keys veiled.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct State {
    path: AbsPath,
    /// SHA-256 of the whole image; `None` where there is none.
    sum: Option<String>,
    /// Name and text of each file.
    shown: Vec<(String, String)>,
    mode: u32,
    /// The image to be written.
    #[serde(skip)]
    image: Option<Secret>,
    #[serde(skip)]
    host_key: Option<(Secret, String)>,
}

impl View for State {
    fn changes(&self, want: &Self) -> Vec<Change> {
        let mut changes = Vec::new();
        let text = |state: &State, name: &str| {
            let found = state.shown.iter().find(|(known, _)| known == name);
            found.map(|(_, text)| text.clone().into_bytes())
        };
        for (name, _) in &want.shown {
            let path = format!("{}:{name}", self.path);
            changes.extend(diff::text(
                &path,
                text(self, name).as_deref(),
                text(want, name).as_deref(),
                "",
            ));
        }
        if changes.is_empty() && self.sum != want.sum {
            changes.push(Change::Act(format!("write {} anew", self.path)));
        }
        let mode = |mode: u32| format!("{mode:04o}");
        if self.sum.is_some() {
            changes.extend(field(self.path.as_str(), "mode", &mode(self.mode), &mode(want.mode)));
        }
        changes
    }
}

/// A text without its private keys.
fn veiled(text: &str) -> String {
    let (mut rest, mut out) = (text, String::new());
    while let Some(at) = rest.find("-----BEGIN") {
        out.push_str(&rest[..at]);
        out.push_str("‹hidden›");
        let end = rest[at..].find("-----END").map(|end| at + end + "-----END".len());
        let end = end.and_then(|end| rest[end..].find("-----").map(|last| end + last + "-----".len()));
        rest = end.map_or("", |end| &rest[end..]);
    }
    out + rest
}

/// A mapping as YAML, a key a line; cloud-init reads YAML, and JSON is YAML.
fn lines(head: &str, value: &Value) -> String {
    let Value::Map(entries) = value else {
        return format!("{head}{}\n", json::write(value));
    };
    entries.iter().fold(head.to_owned(), |all, (key, value)| {
        all + &format!("{key}: {}\n", json::write(value))
    })
}

impl NocloudIso {
    fn texts(&self, host_key: Option<&(Secret, String)>) -> Vec<(&'static str, String)> {
        let id = self.instance_id.as_deref().unwrap_or(&self.hostname);
        let meta = map([
            ("instance-id", id.into()),
            ("local-hostname", self.hostname.as_str().into()),
        ]);
        let mut user = match &self.user_data {
            Some(Value::Map(entries)) => entries.clone(),
            _ => Map::new(),
        };
        if let Some((private, public)) = host_key {
            let kind = public.split(' ').next().unwrap_or_default();
            let name = ["ed25519", "ecdsa", "rsa"]
                .into_iter()
                .find(|name| kind.contains(name))
                .unwrap_or("rsa");
            let private = String::from_utf8_lossy(private.reveal()).into_owned();
            let keys = [
                (format!("{name}_private"), private.into()),
                (format!("{name}_public"), public.as_str().into()),
            ];
            user.insert("ssh_deletekeys".to_owned(), true.into());
            user.insert("ssh_keys".to_owned(), Value::Map(keys.into_iter().collect()));
        }
        let mut texts = vec![
            ("meta-data", lines("", &Value::Map(meta))),
            ("user-data", lines("#cloud-config\n", &Value::Map(user))),
        ];
        texts.extend(
            self.network_config
                .as_ref()
                .map(|network| ("network-config", lines("", network))),
        );
        texts
    }
}

impl Resource for NocloudIso {
    const NAMES: &'static [&'static str] = &["nocloud_iso", "okd.nocloud_iso"];
    const EXAMPLE: &'static str = "- name: Who the services host is\n  nocloud_iso:\n    dest: /root/okd/services-cidata.iso\n    hostname: services.okd.example.org\n    host_key: /root/okd/services_host_key\n    user_data:\n      users:\n        - name: ops\n          ssh_authorized_keys: [ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA==]\n";
    const PREDICTS: &'static str = "everything, unless the host key is still to be made";
    const TOUCHES: Touches = Touches::Paths(&["dest"]);
    type World = dyn System;
    type State = State;

    fn check(&self) -> Result<(), Vec<String>> {
        let mapping = |value: &Option<Value>| matches!(value, None | Some(Value::Map(_)));
        let mut problems = Vec::new();
        if !mapping(&self.user_data) || !mapping(&self.network_config) {
            problems.push("`user_data` and `network_config` are mappings".to_owned());
        }
        if [&self.user_data, &self.network_config]
            .into_iter()
            .flatten()
            .any(|value| Secrets::marked(&json::write(value)))
        {
            problems.push("secrets of a vault cannot be put into the drive; give a hash of the password".to_owned());
        }
        if let (Some(_), Some(Value::Map(user))) = (&self.host_key, &self.user_data)
            && user.contains_key("ssh_keys")
        {
            problems.push("either `host_key` or `ssh_keys` in `user_data`".to_owned());
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    fn inspect(&self, world: &Self::World) -> Result<State, ResourceError> {
        let read = |path: &AbsPath| -> Result<Vec<u8>, ResourceError> {
            world
                .read(path, 1 << 20)?
                .ok_or_else(|| ResourceError::message(format!("there is no host key {path}")))
        };
        let host_key = match &self.host_key {
            Some(path) => {
                let public = AbsPath::new(&format!("{path}.pub")).map_err(ResourceError::message)?;
                let public = String::from_utf8_lossy(&read(&public)?).trim().to_owned();
                Some((Secret::new(read(path)?), public))
            }
            None => None,
        };
        let mut state = State {
            path: self.dest.clone(),
            sum: None,
            shown: Vec::new(),
            mode: 0,
            image: None,
            host_key,
        };
        if let (Some(meta), Some(bytes)) = (world.stat(&self.dest)?, world.read(&self.dest, READ_LIMIT)?) {
            state.sum = Some(diff::sha256(&bytes));
            state.mode = meta.mode;
            let files = iso9660::files(&bytes).into_iter();
            state.shown = files
                .map(|(name, text)| (name, veiled(&String::from_utf8_lossy(&text))))
                .collect();
        }
        Ok(state)
    }

    fn desire(&self, now: &State) -> Result<State, ResourceError> {
        let texts = self.texts(now.host_key.as_ref());
        let files: Vec<(&str, &[u8])> = texts.iter().map(|(name, text)| (*name, text.as_bytes())).collect();
        let image = iso9660::image("cidata", &files);
        let mut shown: Vec<(String, String)> = texts
            .iter()
            .map(|(name, text)| ((*name).to_owned(), veiled(text)))
            .collect();
        shown.sort();
        Ok(State {
            sum: Some(diff::sha256(&image)),
            shown,
            mode: self.mode.apply(0o600, false),
            image: Some(Secret::new(image)),
            ..now.clone()
        })
    }

    fn apply(&self, _now: &State, want: &State, world: &Self::World) -> Result<Map, ResourceError> {
        need_parent(&self.dest, world)?;
        let bytes = want
            .image
            .as_ref()
            .map(|image| image.reveal().to_vec())
            .unwrap_or_default();
        world.write(&FileWrite {
            mode: Some(want.mode),
            secret: true,
            ..FileWrite::new(self.dest.clone(), bytes)
        })?;
        Ok(Map::new())
    }

    fn result(&self, state: &State) -> Map {
        let mut result = map([("dest", self.dest.as_str().into())]);
        result.extend(state.sum.iter().map(|sum| ("sha256".to_owned(), sum.as_str().into())));
        result
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::laws::laws;
    use super::*;
    use okd_agent::param::Params;
    use okd_agent::resource::converge;
    use okd_agent::system::fake::Fake;

    const PRIVATE: &str = "-----BEGIN OPENSSH PRIVATE KEY-----\nc2VjcmV0\n-----END OPENSSH PRIVATE KEY-----\n";

    fn drive(more: &[(&str, Value)]) -> NocloudIso {
        let mut args = map([
            ("dest", "/etc/cidata.iso".into()),
            ("hostname", "services".into()),
            ("user_data", Value::Map(map([("timezone", "UTC".into())]))),
        ]);
        args.extend(more.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        NocloudIso::decode(&args).unwrap()
    }

    fn world() -> Fake {
        Fake::new()
            .file("/etc/key", PRIVATE)
            .file("/etc/key.pub", "ssh-ed25519 AAAA host\n")
    }

    #[test]
    fn the_drive_keeps_the_laws() {
        for kind in [
            drive(&[]),
            drive(&[("host_key", "/etc/key".into())]),
            drive(&[("host_key", "/etc/none".into())]),
        ] {
            laws(&kind, "/etc/cidata.iso", world());
            laws(&kind, "/etc/cidata.iso", world().file("/etc/cidata.iso", "no image"));
        }
    }

    #[test]
    fn the_host_key_is_on_the_drive_and_nowhere_else() {
        let world = world();
        let kind = drive(&[("host_key", "/etc/key".into())]);
        let outcome = converge(&kind, &world as &(dyn System + 'static), None).unwrap();
        assert!(!format!("{outcome:?}").contains("c2VjcmV0"), "{outcome:?}");
        let path = AbsPath::new("/etc/cidata.iso").unwrap();
        let image = world.read(&path, READ_LIMIT).unwrap().unwrap();
        let files = iso9660::files(&image);
        let user = files.iter().find(|(name, _)| name == "user-data").unwrap();
        let text = String::from_utf8(user.1.clone()).unwrap();
        assert!(text.starts_with("#cloud-config\ntimezone: \"UTC\"\n"), "{text}");
        assert!(
            text.contains("\"ed25519_private\": \"-----BEGIN OPENSSH PRIVATE KEY-----\\nc2VjcmV0"),
            "{text}"
        );
        let again = converge(&kind, &world as &(dyn System + 'static), None).unwrap();
        assert_eq!(again.diff, Vec::new());
        assert!(!format!("{again:?}").contains("c2VjcmV0"));
    }
}
