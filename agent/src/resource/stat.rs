//! What is at a path, for later steps to decide by; changes nothing.

use super::checksum::Algorithm;
use super::brought::may_bring;
use super::content::{promised, resolve};
use super::{Resource, ResourceError, View, Touches};
use crate::diff::Change;
use crate::params;
use crate::path::AbsPath;
use crate::system::{FileKind, Meta, Probe, System};
use crate::value::{Map, Value, map};
use serde::Serialize;

/// Up to this size, in bytes, a checksum is computed from what is read; above it a program on the machine does it.
const READ_LIMIT: u64 = 16 << 20;

params! {
    /// Looks at a path; `register` holds what was found as `stat`.
    pub struct Stat {
        /// The path.
        path: AbsPath ["dest", "name"],
        /// Look at what a link points to.
        follow: bool = "no",
        /// Compute the checksum of a regular file.
        get_checksum: bool = "yes",
        /// How the checksum is computed.
        checksum_algorithm: Algorithm ["checksum", "checksum_algo"] = "sha1",
    }
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct State {
    meta: Option<Meta>,
    source: Option<AbsPath>,
    checksum: Option<String>,
    unknown: Option<String>,
}

impl View for State {
    fn changes(&self, _want: &Self) -> Vec<Change> {
        Vec::new()
    }
}

/// A file's checksum, by what is read or by a program of the machine.
///
/// # Errors
/// When the file cannot be read.
pub(super) fn checksum(
    path: &AbsPath,
    size: u64,
    algorithm: Algorithm,
    world: &dyn System,
) -> Result<Option<String>, ResourceError> {
    if size <= READ_LIMIT {
        return Ok(world.read(path, READ_LIMIT)?.map(|bytes| algorithm.of(&bytes)));
    }
    let program = algorithm.program();
    let key = format!("checksum:{}:{path}", algorithm.word());
    let mut probe = Probe::new(key, &[&program, "--", path.as_str()]);
    probe.timeout = Some(1800);
    let answer = world.probe(&probe)?;
    if !answer.success() {
        return Err(ResourceError::command(format!("no checksum of {path}"), &probe.argv, &answer));
    }
    Ok(answer.text().split_whitespace().next().map(|word| word.trim_start_matches('\\').to_owned()))
}

/// What `stat` holds of a path that is there.
pub(super) fn found(path: &AbsPath, meta: &Meta) -> Map {
    let is = |kind: FileKind| Value::Bool(meta.kind == kind);
    let number = |number: u64| Value::Int(i64::try_from(number).unwrap_or(i64::MAX));
    let mut stat = map([
        ("exists", true.into()),
        ("path", path.as_str().into()),
        ("mode", Value::Str(format!("{:04o}", meta.mode))),
        ("isdir", is(FileKind::Directory)),
        ("isreg", is(FileKind::File)),
        ("islnk", is(FileKind::Link)),
        ("uid", Value::Int(meta.uid.into())),
        ("gid", Value::Int(meta.gid.into())),
        ("pw_name", meta.owner.as_str().into()),
        ("gr_name", meta.group.as_str().into()),
        ("size", number(meta.size)),
        ("mtime", Value::Int(meta.mtime)),
        ("dev", number(meta.id.0)),
        ("inode", number(meta.id.1)),
    ]);
    let bits = [
        ("rusr", 0o400), ("wusr", 0o200), ("xusr", 0o100), ("rgrp", 0o040), ("wgrp", 0o020), ("xgrp", 0o010),
        ("roth", 0o004), ("woth", 0o002), ("xoth", 0o001), ("isuid", 0o4000), ("isgid", 0o2000),
    ];
    stat.extend(bits.map(|(name, bit)| (name.to_owned(), Value::Bool(meta.mode & bit != 0))));
    if let Some(target) = &meta.target {
        stat.insert("lnk_target".to_owned(), target.as_str().into());
    }
    stat
}

impl Resource for Stat {
    const NAMES: &'static [&'static str] = &["stat", "ansible.builtin.stat"];
    const EXAMPLE: &'static str = "- name: Look for the kubeconfig\n  stat:\n    path: /root/cluster/auth/kubeconfig\n  register: kubeconfig\n";
    const PREDICTS: &'static str = "everything; what a package still to be installed may bring is unknown until applied";
    const TOUCHES: Touches = Touches::Nothing;
    type World = dyn System;
    type State = State;

    fn inspect(&self, world: &Self::World) -> Result<State, ResourceError> {
        let mut meta = world.stat(&self.path)?;
        let is_link = meta.as_ref().is_some_and(|meta| meta.kind == FileKind::Link);
        let source = if is_link { Some(resolve(&self.path, world)?) } else { None };
        let real = source.as_ref().unwrap_or(&self.path);
        if is_link && self.follow {
            meta = world.stat(real)?;
        }
        let checksum = match &meta {
            Some(meta) if meta.kind == FileKind::File && self.get_checksum => {
                checksum(real, meta.size, self.checksum_algorithm, world)?
            }
            _ => None,
        };
        let unknown = match meta {
            None if may_bring(&self.path, world)? => {
                promised(world).map(|packages| format!("whether {packages} brings {}", self.path))
            }
            _ => None,
        };
        Ok(State { meta, source, checksum, unknown })
    }

    fn desire(&self, now: &State) -> Result<State, ResourceError> {
        Ok(now.clone())
    }

    fn apply(&self, _now: &State, _want: &State, _world: &Self::World) -> Result<Map, ResourceError> {
        Ok(Map::new())
    }

    fn result(&self, state: &State) -> Map {
        let stat = match (&state.meta, &state.unknown) {
            (None, Some(reason)) => Value::Unknown(reason.clone()),
            (None, None) => map([("exists", false.into())]).into(),
            (Some(meta), _) => {
                let mut stat = found(&self.path, meta);
                if let (Some(source), true) = (&state.source, meta.target.is_some()) {
                    stat.insert("lnk_source".to_owned(), source.as_str().into());
                }
                if let Some(checksum) = &state.checksum {
                    stat.insert("checksum".to_owned(), checksum.as_str().into());
                }
                stat.into()
            }
        };
        map([("stat", stat)])
    }
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::resource::content::given;
    use crate::resource::laws::laws;
    use crate::resource::{Status, converge};
    use crate::system::fake::Fake;
    use crate::system::overlay::Overlay;
    use crate::system::{Action, Declared, Effect};
    use std::sync::Arc;

    fn world() -> Fake {
        Fake::new().file("/etc/x", "abc").owned("/etc/x", 0o4750, "root", "nobody").link("/etc/l", "x")
    }

    fn found(pairs: &[(&str, &str)], world: &(dyn System + 'static)) -> Value {
        let outcome = converge(&given::<Stat>(pairs), world, None).unwrap();
        assert_eq!(outcome.status, Status::Same);
        outcome.result["stat"].clone()
    }

    #[test]
    fn stat_says_what_ansible_says() {
        let stat = found(&[("path", "/etc/x")], &world());
        for (name, value) in [
            ("exists", Value::from(true)),
            ("mode", "4750".into()),
            ("gr_name", "nobody".into()),
            ("isreg", true.into()),
            ("isuid", true.into()),
            ("wgrp", false.into()),
            ("checksum", "a9993e364706816aba3e25717850c26c9cd0d89d".into()),
        ] {
            assert_eq!(stat.get(name), Some(&value), "{name}");
        }
        let link = found(&[("path", "/etc/l")], &world());
        assert_eq!(link.get("lnk_source"), Some(&"/etc/x".into()));
        assert_eq!(link.get("checksum"), None);
        let followed = found(&[("path", "/etc/l"), ("follow", "yes"), ("checksum_algorithm", "sha256")], &world());
        assert_eq!(followed.get("islnk"), Some(&false.into()));
        assert_eq!(followed.get("checksum").and_then(Value::as_str).map(str::len), Some(64));
        assert_eq!(found(&[("path", "/none")], &world()).get("exists"), Some(&false.into()));
    }

    #[test]
    fn what_a_package_may_bring_is_unknown() {
        let plan = Overlay::new(Arc::new(world()));
        let brings = Declared { brings: vec!["bind".to_owned()], ..Declared::default() };
        plan.act(&Action::new(&["dnf", "install", "bind"], Effect::Declared(brings))).unwrap();
        assert!(found(&[("path", "/etc/named.conf")], &plan).unknown().unwrap().contains("bind"));
        assert!(found(&[("path", "/etc/x")], &plan).unknown().is_none());
    }

    #[test]
    pub(crate) fn stat_keeps_the_laws() {
        for path in ["/etc/x", "/etc/l", "/none"] {
            laws(&given::<Stat>(&[("path", path)]), world);
        }
    }
}
