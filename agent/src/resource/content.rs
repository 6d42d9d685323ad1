//! A regular file as the kinds that write one see it: content, mode, owner and group; compared and put in place alike.

use super::{ResourceError, View, words};
use crate::diff::{self, Change};
use crate::path::{AbsPath, Mode};
use crate::system::{Alter, FileKind, FileWrite, Meta, Removal, System, SystemError, local};
use crate::value::{Map, Value, map};
use serde::Serialize;

/// The most that is read of a file, in bytes; a change has to fit into memory and into a frame.
pub const READ_LIMIT: u64 = 256 << 20;

/// What a new file gets where nothing is asked for, as with an umask of 022.
pub const NEW_MODE: u32 = 0o644;

/// Mode and owners as a person asks for them; what is left out stays as it is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Attributes {
    /// Permission bits.
    pub mode: Option<Mode>,
    /// Owner's name or number.
    pub owner: Option<String>,
    /// Group's name or number.
    pub group: Option<String>,
}

impl Attributes {
    /// From a kind's parameters.
    #[must_use]
    pub fn new(mode: Option<&Mode>, owner: Option<&String>, group: Option<&String>) -> Self {
        Attributes {
            mode: mode.cloned(),
            owner: owner.cloned(),
            group: group.cloned(),
        }
    }
}

/// How a file is put in place.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Placing {
    /// Keep the old content beside it.
    pub backup: bool,
    /// A checker's argv with `%s` for the new content.
    pub validate: Option<Vec<String>>,
}

impl Placing {
    /// From a kind's parameters; `validate` is split as a shell would.
    ///
    /// # Errors
    /// An open quote in `validate`.
    pub fn new(backup: bool, validate: Option<&str>) -> Result<Self, ResourceError> {
        let validate = validate.map(words::split).transpose().map_err(ResourceError::message)?;
        Ok(Placing { backup, validate })
    }
}

/// What is wrong with a `validate` parameter.
///
/// # Errors
/// One sentence for each mistake.
pub fn check_validate(validate: Option<&str>) -> Result<(), Vec<String>> {
    match validate.map(|text| (text, words::split(text))) {
        Some((_, Err(error))) => Err(vec![format!("`validate`: {error}")]),
        Some((text, _)) if !text.contains("%s") => Err(vec![
            "`validate` needs `%s` where the new file's path belongs".to_owned(),
        ]),
        _ => Ok(()),
    }
}

/// A regular file, as seen or as wanted.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Content {
    /// Where.
    pub path: AbsPath,
    /// Its bytes; `None` where there is no file.
    pub bytes: Option<Vec<u8>>,
    /// Permission bits.
    pub mode: u32,
    /// Owner's name; empty where it is left to the machine.
    pub owner: String,
    /// Group's name; likewise.
    pub group: String,
    /// Further words for the diff; no part of what was seen.
    #[serde(skip)]
    pub note: String,
}

impl Content {
    /// No file at a path.
    #[must_use]
    pub fn absent(path: AbsPath) -> Self {
        Content {
            path,
            bytes: None,
            mode: NEW_MODE,
            owner: String::new(),
            group: String::new(),
            note: String::new(),
        }
    }

    /// Looks at a file; a link at the path is followed.
    ///
    /// # Errors
    /// When something else than a file is there, or it cannot be read.
    pub fn inspect(path: &AbsPath, asked: &Attributes, world: &dyn System) -> Result<Self, ResourceError> {
        let path = resolve(path, world)?;
        let Some(meta) = world.stat(&path)? else {
            return Ok(Content::absent(path));
        };
        if meta.kind != FileKind::File {
            let expected = "a regular file".to_owned();
            return Err(SystemError::WrongKind {
                path: path.to_string(),
                expected,
                found: meta.kind,
            }
            .into());
        }
        let bytes = world.read(&path, READ_LIMIT)?.unwrap_or_default();
        let (owner, group) = names(&meta, asked);
        Ok(Content {
            path,
            bytes: Some(bytes),
            mode: meta.mode,
            owner,
            group,
            note: String::new(),
        })
    }

    /// Looks at a file that is to be edited.
    ///
    /// # Errors
    /// As [`Content::inspect`]; when there is no file and `create` is not set. In a plan, a file that a package still to
    /// be installed may bring is unknown.
    pub fn for_edit(
        path: &AbsPath,
        create: bool,
        asked: &Attributes,
        world: &dyn System,
    ) -> Result<Self, ResourceError> {
        let now = Content::inspect(path, asked, world)?;
        if now.bytes.is_some() {
            return Ok(now);
        }
        if let Some(packages) = promised(world) {
            return Err(SystemError::Unknown(format!("edits {path}, which {packages} may bring")).into());
        }
        if !create {
            return Err(ResourceError::message(format!(
                "there is no file {path} to edit; `create: true` makes one, `copy` gives it all its content"
            )));
        }
        need_parent(&now.path, world)?;
        Ok(now)
    }

    /// This file with other content and what is asked for.
    #[must_use]
    pub fn with(&self, bytes: Vec<u8>, asked: &Attributes) -> Self {
        Content {
            path: self.path.clone(),
            bytes: Some(bytes),
            mode: asked
                .mode
                .as_ref()
                .map_or(self.mode, |mode| mode.apply(self.mode, false)),
            owner: asked.owner.clone().unwrap_or_else(|| self.owner.clone()),
            group: asked.group.clone().unwrap_or_else(|| self.group.clone()),
            note: String::new(),
        }
    }

    /// The content as text lines' source; empty where there is no file.
    ///
    /// # Errors
    /// When it is not UTF-8.
    pub fn text(&self) -> Result<&str, ResourceError> {
        std::str::from_utf8(self.bytes.as_deref().unwrap_or_default())
            .map_err(|_| ResourceError::message(format!("{} is not UTF-8 text; only text can be edited", self.path)))
    }

    /// Brings the file from this state to the wanted one. The result has `backup_file` where one was kept.
    ///
    /// # Errors
    /// When the machine or the checker refuses; the old file is intact then.
    pub fn place(&self, want: &Self, how: &Placing, world: &dyn System) -> Result<Map, ResourceError> {
        let mut result = Map::new();
        let owner = (!want.owner.is_empty() && want.owner != self.owner).then(|| want.owner.clone());
        let group = (!want.group.is_empty() && want.group != self.group).then(|| want.group.clone());
        match &want.bytes {
            None => world.remove(&want.path, Removal::File)?,
            Some(bytes) if self.bytes.as_ref() != Some(bytes) || self.path != want.path => {
                if how.backup && self.bytes.is_some() {
                    result.insert("backup_file".to_owned(), self.back_up(world)?.as_str().into());
                }
                let validate = how.validate.clone();
                world.write(&FileWrite {
                    mode: Some(want.mode),
                    owner,
                    group,
                    validate,
                    replaces_link: self.bytes.is_none(),
                    ..FileWrite::new(want.path.clone(), bytes.clone())
                })?;
            }
            Some(_) => {
                let mode = (want.mode != self.mode).then_some(want.mode);
                let change = Alter {
                    mode,
                    owner,
                    group,
                    mtime: None,
                };
                if change != Alter::default() {
                    world.alter(&want.path, &change)?;
                }
            }
        }
        if let Some(meta) = world.stat(&want.path)? {
            result.extend(described(&meta));
        }
        Ok(result)
    }

    fn back_up(&self, world: &dyn System) -> Result<AbsPath, ResourceError> {
        let stamp = stamp(local::seconds_now().unwrap_or_default());
        let name = format!("{}.{}.{stamp}~", self.path, std::process::id());
        let path = AbsPath::new(&name).map_err(ResourceError::message)?;
        world.write(&FileWrite {
            mode: Some(self.mode),
            owner: Some(self.owner.clone()).filter(|owner| !owner.is_empty()),
            group: Some(self.group.clone()).filter(|group| !group.is_empty()),
            ..FileWrite::new(path.clone(), self.bytes.clone().unwrap_or_default())
        })?;
        Ok(path)
    }

    /// What `register` holds of it.
    #[must_use]
    pub fn result(&self) -> Map {
        let Some(bytes) = &self.bytes else {
            return map([("state", "absent".into())]);
        };
        let mut result = map([
            ("state", "file".into()),
            ("mode", Value::Str(format!("{:04o}", self.mode))),
            ("size", Value::Int(bytes.len() as i64)),
        ]);
        for (name, id) in [("owner", &self.owner), ("group", &self.group)] {
            if !id.is_empty() {
                result.insert(name.to_owned(), id.as_str().into());
            }
        }
        result
    }

    fn words(&self) -> String {
        let owners = match (self.owner.as_str(), self.group.as_str()) {
            ("", "") => String::new(),
            (owner, "") => format!(" {owner}"),
            (owner, group) => format!(" {owner}:{group}"),
        };
        let more = if self.note.is_empty() {
            String::new()
        } else {
            format!(", {}", self.note)
        };
        format!("{:04o}{owners}{more}", self.mode)
    }
}

impl View for Content {
    fn changes(&self, want: &Self) -> Vec<Change> {
        let words = if self.bytes.is_none() && want.bytes.is_some() {
            want.words()
        } else {
            want.note.clone()
        };
        let path = want.path.as_str();
        let mut changes: Vec<Change> = diff::text(path, self.bytes.as_deref(), want.bytes.as_deref(), &words)
            .into_iter()
            .collect();
        if self.bytes.is_some() && want.bytes.is_some() {
            let bits = |mode: u32| format!("{mode:04o}");
            changes.extend(field(path, "mode", &bits(self.mode), &bits(want.mode)));
            changes.extend(field(path, "owner", &self.owner, &want.owner));
            changes.extend(field(path, "group", &self.group, &want.group));
        }
        changes
    }
}

/// A property that differs; `None` where it does not.
#[must_use]
pub fn field(of: &str, name: &str, before: &str, after: &str) -> Option<Change> {
    (before != after).then(|| Change::Field {
        of: of.to_owned(),
        name: name.to_owned(),
        before: before.to_owned(),
        after: after.to_owned(),
    })
}

/// Owner and group as a person asked for them: numbers stay numbers where a number was asked for.
#[must_use]
pub fn names(meta: &Meta, asked: &Attributes) -> (String, String) {
    let named = |name: &String, id: u32, asked: Option<&String>| {
        asked.filter(|asked| **asked == id.to_string()).unwrap_or(name).clone()
    };
    (
        named(&meta.owner, meta.uid, asked.owner.as_ref()),
        named(&meta.group, meta.gid, asked.group.as_ref()),
    )
}

/// What `register` holds of anything at a path.
#[must_use]
pub fn described(meta: &Meta) -> Map {
    let state = match meta.kind {
        FileKind::Directory => "directory",
        FileKind::Link => "link",
        FileKind::File | FileKind::Other => "file",
    };
    map([
        ("state", state.into()),
        ("mode", Value::Str(format!("{:04o}", meta.mode))),
        ("owner", meta.owner.as_str().into()),
        ("group", meta.group.as_str().into()),
        ("uid", Value::Int(meta.uid.into())),
        ("gid", Value::Int(meta.gid.into())),
        ("size", Value::Int(i64::try_from(meta.size).unwrap_or(i64::MAX))),
    ])
}

/// Where a path leads when the links at it are followed; a path at which nothing is leads to itself.
///
/// # Errors
/// When the machine does not answer, or links lead around in a circle.
pub fn resolve(path: &AbsPath, world: &dyn System) -> Result<AbsPath, ResourceError> {
    let mut at = path.clone();
    for _ in 0..40 {
        let Some(target) = world.stat(&at)?.and_then(|meta| meta.target) else {
            return Ok(at);
        };
        let parent = at.parent().unwrap_or_else(|| at.clone());
        at = AbsPath::new(&target).unwrap_or_else(|_| parent.join(&target));
    }
    Err(ResourceError::message(format!(
        "{path} is a link that leads around in a circle"
    )))
}

/// In a plan: the packages that are still to be installed, in words; `None` where there are none.
#[must_use]
pub fn promised(world: &dyn System) -> Option<String> {
    let packages = world.promised();
    match packages.as_slice() {
        [] => None,
        [first] => Some(first.clone()),
        [first, second] => Some(format!("{first} or {second}")),
        [first, second, ..] => Some(format!("{first}, {second} or another package")),
    }
}

/// Demands the folder that a new file goes into, unless a package still to be installed may bring it.
///
/// # Errors
/// When there is no such folder, or something else is there.
pub fn need_parent(path: &AbsPath, world: &dyn System) -> Result<(), ResourceError> {
    let Some(parent) = path.parent() else { return Ok(()) };
    match world.stat(&resolve(&parent, world)?)?.map(|meta| meta.kind) {
        Some(FileKind::Directory) => Ok(()),
        Some(_) => Err(ResourceError::message(format!(
            "{parent} is not a folder, so {path} cannot be made"
        ))),
        None if promised(world).is_some() => Ok(()),
        None => Err(ResourceError::message(format!(
            "there is no folder {parent} for {path}; a `file` step with `state: directory` makes it"
        ))),
    }
}

/// `2026-02-28@13:05:09` in UTC, as backups are named.
fn stamp(seconds: i64) -> String {
    let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Days to a date: H. Hinnant, "chrono-Compatible Low-Level Date Algorithms", civil_from_days.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02}@{:02}:{:02}:{:02}",
        rest / 3600,
        rest / 60 % 60,
        rest % 60
    )
}

/// A resource from parameters as a playbook has them, for tests.
#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(super) fn given<R: super::Resource>(pairs: &[(&str, &str)]) -> R {
    let args = pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), Value::from(*value)))
        .collect();
    let resource = R::decode(&args).unwrap();
    assert_eq!(resource.check(), Ok(()), "{pairs:?}");
    resource
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::resource::converge;
    use crate::resource::laws::laws;
    use crate::resource::line::LineInFile;
    use crate::system::fake::Fake;

    #[test]
    fn backups_are_named_by_date() {
        assert_eq!(stamp(0), "1970-01-01@00:00:00");
        assert_eq!(stamp(951_782_400), "2000-02-29@00:00:00");
        assert_eq!(stamp(1_772_283_909), "2026-02-28@13:05:09");
    }

    #[test]
    fn a_checker_needs_a_place_for_the_file() {
        assert!(check_validate(Some("visudo -cf %s")).is_ok());
        assert!(check_validate(Some("visudo -cf")).unwrap_err()[0].contains("%s"));
        assert!(check_validate(Some("sh -c 'x %s")).is_err());
        assert!(check_validate(None).is_ok());
    }

    #[test]
    fn attributes_differ_in_fields_and_content_in_text() {
        let path = AbsPath::new("/etc/x").unwrap();
        let now = Content {
            bytes: Some(b"a\n".to_vec()),
            owner: "root".to_owned(),
            group: "root".to_owned(),
            ..Content::absent(path)
        };
        let asked = Attributes {
            mode: Some(Mode::Octal(0o600)),
            owner: None,
            group: Some("named".to_owned()),
        };
        let want = now.with(b"a\n".to_vec(), &asked);
        let shown: Vec<String> = now
            .changes(&want)
            .into_iter()
            .map(|change| match change {
                Change::Field {
                    name, before, after, ..
                } => format!("{name} {before} {after}"),
                other => format!("{other:?}"),
            })
            .collect();
        assert_eq!(shown, ["mode 0644 0600", "group root named"]);
        assert!(
            now.changes(&now.with(b"a\n".to_vec(), &Attributes::default()))
                .is_empty()
        );
        assert_eq!(want.words(), "0600 root:named");
    }

    #[test]
    fn a_backup_keeps_content_and_attributes() {
        let world = Fake::new()
            .user("named", 25)
            .file("/etc/x", "a\n")
            .owned("/etc/x", 0o640, "root", "named");
        let line: LineInFile = given(&[("path", "/etc/x"), ("line", "b"), ("backup", "yes")]);
        let outcome = converge(&line, &world as &(dyn System + 'static), None).unwrap();
        let backup = outcome.result["backup_file"].as_str().unwrap();
        assert!(backup.starts_with("/etc/x.") && backup.ends_with('~'), "{backup}");
        assert_eq!(world.text(backup).as_deref(), Some("a\n"));
        let meta = world.stat(&AbsPath::new(backup).unwrap()).unwrap().unwrap();
        assert_eq!((meta.mode, meta.group.as_str()), (0o640, "named"));
        assert_eq!(world.text("/etc/x").as_deref(), Some("a\nb\n"));
        assert_eq!(outcome.result["mode"].as_str(), Some("0640"));
    }

    #[test]
    fn a_file_that_cannot_be_edited_says_why() {
        let fails = |pairs: &[(&str, &str)], world: Fake| {
            let line: LineInFile = given(pairs);
            laws(&line, || Fake::from_data(world.data()));
            converge(&line, &world as &(dyn System + 'static), None)
                .unwrap_err()
                .message
        };
        let here = [("path", "/etc/none"), ("line", "b")];
        assert!(fails(&here, Fake::new()).contains("`create: true`"));
        let deep = [("path", "/none/x"), ("line", "b"), ("create", "yes")];
        assert!(fails(&deep, Fake::new()).contains("no folder /none"));
        assert!(fails(&here, Fake::new().dir("/etc/none")).contains("/etc/none is Directory"));
        assert!(fails(&here, Fake::new().file("/etc/none", [0xff, 0xfe])).contains("UTF-8"));
        assert!(fails(&here, Fake::new().link("/etc/none", "none")).contains("circle"));
    }
}
