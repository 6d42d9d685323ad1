//! Who acts, and which users and groups there will be: predicted ones first, then those of the machine below.

use super::State;
use crate::path::AbsPath;
use crate::system::{Answer, FileKind, Meta, Probe, System, SystemError};

/// The number of a user or group that will be there, and whose number nobody knows yet.
const NOT_KNOWN: u32 = u32::MAX;

/// A user with a group: who owns what is made.
#[derive(Debug, Clone)]
pub(super) struct Acting {
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) user: String,
    pub(super) group: String,
}

impl Acting {
    pub(super) fn of(meta: &Meta) -> Self {
        Acting {
            uid: meta.uid,
            gid: meta.gid,
            user: meta.owner.clone(),
            group: meta.group.clone(),
        }
    }

    /// Something new that belongs to them.
    pub(super) fn meta(&self, kind: FileKind, mode: u32, size: u64) -> Meta {
        Meta {
            kind,
            size,
            mode,
            uid: self.uid,
            gid: self.gid,
            owner: self.user.clone(),
            group: self.group.clone(),
            mtime: crate::system::local::seconds_now().unwrap_or_default(),
            target: None,
            id: (0, 0),
        }
    }
}

impl State {
    /// The user that acts on the machine below; asked once.
    pub(super) fn acting(&mut self, under: &dyn System) -> Result<Acting, SystemError> {
        if let Some(acting) = &self.acting {
            return Ok(acting.clone());
        }
        let answer = under.probe(&Probe::new("id", &["id"]))?;
        let acting = parse_id(&answer.text()).ok_or_else(|| SystemError::Command {
            argv: vec!["id".to_owned()],
            reason: format!("it does not say who acts: `{}`", answer.text().trim_end()),
        })?;
        self.acting = Some(acting.clone());
        Ok(acting)
    }

    /// Number and name of a user or group, which may be given as a number too.
    pub(super) fn id(&self, under: &dyn System, kind: &str, name: &str) -> Result<(u32, String), SystemError> {
        let database = if kind == "user" { "passwd" } else { "group" };
        let key = format!("{kind}:{name}");
        let predicted = self.predictions.get(&key).cloned();
        let known = predicted.is_some();
        let mut answer = match predicted {
            Some(answer) => answer,
            None => under.probe(&Probe::new(key, &["getent", database, name]))?,
        };
        if answer.rc == Answer::NO_PROGRAM && !known {
            answer = look_up(under, database, name)?;
        }
        let line = answer.text().lines().next().map(str::to_owned).unwrap_or_default();
        let number = name.parse().ok();
        match (answer.success(), entry(&line), number) {
            (true, Some((found, id)), _) => Ok((id, found)),
            (_, _, Some(number)) => Ok((number, name.to_owned())),
            (true, None, None) => Ok((NOT_KNOWN, name.to_owned())),
            _ if self.awaits(under) => Ok((NOT_KNOWN, name.to_owned())),
            _ => Err(SystemError::NoSuchId {
                kind: kind.to_owned(),
                name: name.to_owned(),
            }),
        }
    }
}

/// Where there is no `getent`: passwd(5) or group(5) itself.
fn look_up(under: &dyn System, database: &str, name: &str) -> Result<Answer, SystemError> {
    let Ok(path) = AbsPath::new(&format!("/etc/{database}")) else {
        return Ok(Answer::status(2));
    };
    let text = under.read(&path, 16 << 20)?.unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    let line = text
        .lines()
        .find(|line| entry(line).is_some_and(|(found, id)| found == name || id.to_string() == name));
    Ok(line.map_or_else(|| Answer::status(2), Answer::ok))
}

/// Name and number of a line of passwd(5) or group(5).
fn entry(line: &str) -> Option<(String, u32)> {
    let mut fields = line.split(':');
    let name = fields.next().filter(|name| !name.is_empty())?;
    let id = fields.nth(1)?.parse().ok()?;
    Some((name.to_owned(), id))
}

/// Reads id(1): `uid=0(root) gid=0(root) groups=…`; names may be missing.
fn parse_id(text: &str) -> Option<Acting> {
    let field = |label: &str| {
        let word = text.split_whitespace().find_map(|word| word.strip_prefix(label))?;
        let (number, name) = match word.split_once('(') {
            Some((number, name)) => (number, name.trim_end_matches(')')),
            None => (word, word),
        };
        Some((number.parse().ok()?, name.to_owned()))
    };
    let ((uid, user), (gid, group)) = (field("uid=")?, field("gid=")?);
    Some(Acting { uid, gid, user, group })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn who_acts_is_read_from_id() {
        let acting = parse_id("uid=1000(ann) gid=100(users) groups=100(users),4(adm)\n").unwrap();
        assert_eq!(
            (acting.uid, acting.user.as_str(), acting.gid, acting.group.as_str()),
            (1000, "ann", 100, "users")
        );
        let nameless = parse_id("uid=77 gid=88 groups=88").unwrap();
        assert_eq!((nameless.user.as_str(), nameless.group.as_str()), ("77", "88"));
        assert!(parse_id("sh: id: not found").is_none());
    }
}
