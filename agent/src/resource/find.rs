//! Files below folders, chosen by name, age, size, kind and content; changes nothing.

use super::checksum::Algorithm;
use super::pattern::Pattern;
use super::{Resource, ResourceError, View, content, stat, wildcard, Touches};
use crate::diff::Change;
use crate::path::AbsPath;
use crate::system::{FileKind, Meta, System, local};
use crate::value::{Map, Value, map};
use crate::{choice, params};
use regex_lite::Regex;
use serde::Serialize;

/// Larger files are not searched for text, in bytes.
const READ_LIMIT: u64 = 64 << 20;

choice! {
    /// Which kinds are found.
    pub enum Wanted {
        /// Regular files.
        File = "file",
        /// Folders.
        Directory = "directory",
        /// Links.
        Link = "link",
        /// All.
        Any = "any",
    }
}

params! {
    /// Finds files; `register` holds them as `files`.
    pub struct Find {
        /// The folders to look in.
        paths: Vec<String> ["path", "name"],
        /// Names: `*.conf`, or regular expressions with `use_regex`; one has to fit.
        patterns: Vec<String> ["pattern"],
        /// Names that are left out.
        excludes: Vec<String> ["exclude"],
        /// `patterns` and `excludes` are regular expressions that have to match from the name's beginning.
        use_regex: bool = "no",
        /// Only files with a line that matches this expression from its beginning.
        contains: Option<Pattern>,
        /// Search the whole content for `contains`, not line by line.
        read_whole_file: bool = "no",
        /// Which kinds.
        file_type: Wanted = "file",
        /// Look in the folders below too.
        recurse: bool = "no",
        /// How far below, with `recurse`.
        depth: Option<u64>,
        /// Names that begin with a dot too.
        hidden: bool = "no",
        /// Follow links to folders.
        follow: bool = "no",
        /// Not changed for so long: `3600`, `2d`, `1w`; with `-` in front, changed since.
        age: Option<String>,
        /// At least so large: `1024`, `10k`, `2m`, `1g`; with `-` in front, at most.
        size: Option<String>,
        /// Compute checksums.
        get_checksum: bool = "no",
        /// How.
        checksum_algorithm: Algorithm ["checksum", "checksum_algo"] = "sha1",
    }
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct State {
    files: Vec<(AbsPath, Meta, Option<String>)>,
    examined: i64,
    missing: Vec<String>,
}

impl View for State {
    fn changes(&self, _want: &Self) -> Vec<Change> {
        Vec::new()
    }
}

/// The tests that a file has to pass.
struct Sieve<'a> {
    find: &'a Find,
    patterns: Vec<Regex>,
    excludes: Vec<Regex>,
    contains: Option<Regex>,
    age: Option<i64>,
    size: Option<i64>,
    now: i64,
}

/// A number with a unit's letter: `-2d`.
fn amount(text: &str, units: &[(char, i64)]) -> Result<i64, String> {
    let lower = text.trim().to_ascii_lowercase();
    let unit = units.iter().find(|(letter, _)| lower.ends_with(*letter));
    let digits = unit.map_or(lower.as_str(), |(letter, _)| lower.trim_end_matches(*letter));
    let number: i64 = digits.parse().map_err(|_| format!("a number with a unit such as `2{}`, not `{text}`", units[1].0))?;
    Ok(number.saturating_mul(unit.map_or(1, |(_, factor)| *factor)))
}

fn seconds(text: &str) -> Result<i64, String> {
    amount(text, &[('s', 1), ('m', 60), ('h', 3600), ('d', 86_400), ('w', 604_800)])
}

fn bytes(text: &str) -> Result<i64, String> {
    amount(text, &[('b', 1), ('k', 1 << 10), ('m', 1 << 20), ('g', 1 << 30), ('t', 1 << 40)])
}

/// Whether a measure is above the limit, or for a limit with `-` below it.
fn beyond(measure: i64, limit: Option<i64>) -> bool {
    limit.is_none_or(|limit| if limit >= 0 { measure >= limit } else { measure <= -limit })
}

impl<'a> Sieve<'a> {
    fn new(find: &'a Find) -> Result<Self, String> {
        let anchored = |text: &String| Pattern::new(&format!("^(?:{text})"))?.build(false, false);
        let regexes = |texts: &[String]| -> Result<Vec<Regex>, String> {
            if find.use_regex { texts.iter().map(anchored).collect() } else { Ok(Vec::new()) }
        };
        let contains = find.contains.as_ref().map(|pattern| match find.read_whole_file {
            true => pattern.build(false, false),
            false => anchored(&pattern.text().to_owned()),
        });
        Ok(Sieve {
            find,
            patterns: regexes(&find.patterns)?,
            excludes: regexes(&find.excludes)?,
            contains: contains.transpose()?,
            age: find.age.as_deref().map(seconds).transpose()?,
            size: find.size.as_deref().map(bytes).transpose()?,
            now: local::seconds_now().unwrap_or_default(),
        })
    }

    fn names(&self, name: &str) -> bool {
        let any = |regexes: &[Regex], globs: &[String]| match self.find.use_regex {
            true => regexes.iter().any(|regex| regex.is_match(name)),
            false => globs.iter().any(|glob| wildcard::fits(glob, name)),
        };
        let fits = self.find.patterns.is_empty() || any(&self.patterns, &self.find.patterns);
        fits && !any(&self.excludes, &self.find.excludes)
    }

    fn keeps(&self, path: &AbsPath, meta: &Meta, world: &dyn System) -> Result<bool, ResourceError> {
        let kind = match self.find.file_type {
            Wanted::Any => true,
            Wanted::File => meta.kind == FileKind::File,
            Wanted::Directory => meta.kind == FileKind::Directory,
            Wanted::Link => meta.kind == FileKind::Link,
        };
        let size = i64::try_from(meta.size).unwrap_or(i64::MAX);
        if !kind || !self.names(path.name()) || !beyond(self.now.saturating_sub(meta.mtime), self.age) {
            return Ok(false);
        }
        if meta.kind == FileKind::File && !beyond(size, self.size) {
            return Ok(false);
        }
        let Some(regex) = self.contains.as_ref().filter(|_| meta.kind == FileKind::File) else { return Ok(true) };
        let content = world.read(path, READ_LIMIT)?.unwrap_or_default();
        let text = String::from_utf8_lossy(&content);
        Ok(if self.find.read_whole_file { regex.is_match(&text) } else { text.lines().any(|line| regex.is_match(line)) })
    }

    fn walk(&self, folder: &AbsPath, depth: u64, world: &dyn System, state: &mut State) -> Result<(), ResourceError> {
        if self.find.depth.is_some_and(|limit| depth > limit) {
            return Ok(());
        }
        for entry in world.list(folder)? {
            let path = folder.join(&entry.name);
            state.examined += 1;
            if entry.name.starts_with('.') && !self.find.hidden {
                continue;
            }
            let Some(meta) = world.stat(&path)? else { continue };
            if self.keeps(&path, &meta, world)? {
                let sum = match meta.kind == FileKind::File && self.find.get_checksum {
                    true => stat::checksum(&path, meta.size, self.find.checksum_algorithm, world)?,
                    false => None,
                };
                state.files.push((path.clone(), meta.clone(), sum));
            }
            let below = match meta.kind {
                FileKind::Directory => Some(path),
                FileKind::Link if self.find.follow && depth < 40 => Some(content::resolve(&path, world)?),
                _ => None,
            };
            if let Some(below) = below.filter(|_| self.find.recurse) {
                self.walk(&below, depth + 1, world, state)?;
            }
        }
        Ok(())
    }
}

impl Resource for Find {
    const NAMES: &'static [&'static str] = &["find", "ansible.builtin.find"];
    const EXAMPLE: &'static str = "- name: Old logs\n  find:\n    paths: /var/log\n    patterns: \"*.log\"\n    age: 4w\n    recurse: true\n  register: old\n";
    const PREDICTS: &'static str = "everything that is known when the plan is made";
    const TOUCHES: Touches = Touches::Nothing;
    type World = dyn System;
    type State = State;

    fn check(&self) -> Result<(), Vec<String>> {
        let mut problems: Vec<String> = Sieve::new(self).err().into_iter().collect();
        if self.paths.is_empty() {
            problems.push("`find` needs `paths`".to_owned());
        }
        problems.extend(self.paths.iter().filter_map(|path| AbsPath::new(path).err()));
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    fn inspect(&self, world: &Self::World) -> Result<State, ResourceError> {
        let sieve = Sieve::new(self).map_err(ResourceError::message)?;
        let mut state = State { files: Vec::new(), examined: 0, missing: Vec::new() };
        for path in &self.paths {
            let folder = content::resolve(&AbsPath::new(path).map_err(ResourceError::message)?, world)?;
            match world.stat(&folder)?.map(|meta| meta.kind) {
                Some(FileKind::Directory) => sieve.walk(&folder, 1, world, &mut state)?,
                _ => state.missing.push(path.clone()),
            }
        }
        Ok(state)
    }

    fn desire(&self, now: &State) -> Result<State, ResourceError> {
        Ok(now.clone())
    }

    fn apply(&self, _now: &State, _want: &State, _world: &Self::World) -> Result<Map, ResourceError> {
        Ok(Map::new())
    }

    fn result(&self, state: &State) -> Map {
        let files = state.files.iter().map(|(path, meta, sum)| {
            let mut file = stat::found(path, meta);
            file.shift_remove("exists");
            if let Some(sum) = sum {
                file.insert("checksum".to_owned(), sum.as_str().into());
            }
            Value::Map(file)
        });
        let missing = state.missing.iter().map(|path| (path.clone(), Value::from("not a folder")));
        map([
            ("files", Value::List(files.collect())),
            ("matched", Value::Int(state.files.len() as i64)),
            ("examined", Value::Int(state.examined)),
            ("skipped_paths", Value::Map(missing.collect())),
        ])
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

    #[test]
    fn amounts_have_units() {
        assert_eq!(seconds("2d").unwrap(), 172_800);
        assert_eq!(seconds("-1w").unwrap(), -604_800);
        assert_eq!(bytes("10k").unwrap(), 10_240);
        assert_eq!(bytes("512").unwrap(), 512);
        assert!(bytes("ten").is_err());
        assert!(beyond(5, Some(5)) && !beyond(4, Some(5)) && beyond(4, Some(-5)) && !beyond(6, Some(-5)));
    }

    fn world() -> Fake {
        let world = Fake::new().file("/p/a.conf", "key = 1\n").file("/p/b.log", "x".repeat(2048));
        world.file("/p/sub/c.conf", "other\n").file("/p/.hidden.conf", "").link("/p/l.conf", "a.conf").dir("/p/d.conf")
    }

    #[test]
    fn files_are_chosen_by_all_tests() {
        for (pairs, names) in [
            (vec![], vec!["/p/a.conf", "/p/b.log"]),
            (vec![("patterns", "*.conf")], vec!["/p/a.conf"]),
            (vec![("patterns", "*.conf,*.log"), ("excludes", "b*")], vec!["/p/a.conf"]),
            (vec![("patterns", "*.conf"), ("recurse", "yes")], vec!["/p/a.conf", "/p/sub/c.conf"]),
            (vec![("patterns", "*.conf"), ("recurse", "yes"), ("depth", "1")], vec!["/p/a.conf"]),
            (vec![("patterns", "*.conf"), ("hidden", "yes")], vec!["/p/.hidden.conf", "/p/a.conf"]),
            (vec![("patterns", r"^[a-b]\."), ("use_regex", "yes")], vec!["/p/a.conf", "/p/b.log"]),
            (vec![("contains", r"key\s*=")], vec!["/p/a.conf"]),
            (vec![("size", "1k")], vec!["/p/b.log"]),
            (vec![("size", "-1k")], vec!["/p/a.conf"]),
            (vec![("age", "1d")], vec!["/p/a.conf", "/p/b.log"]),
            (vec![("age", "-1d")], vec![]),
            (vec![("file_type", "directory")], vec!["/p/d.conf", "/p/sub"]),
            (vec![("file_type", "link")], vec!["/p/l.conf"]),
        ] {
            let pairs = [&pairs[..], &[("paths", "/p")]].concat();
            let find: Find = given(&pairs);
            let outcome = converge(&find, &world() as &(dyn System + 'static), None).unwrap();
            let files = outcome.result["files"].as_list().unwrap();
            let found: Vec<&str> = files.iter().filter_map(|file| file.get("path")?.as_str()).collect();
            assert_eq!(found, names, "{pairs:?}");
        }
    }

    #[test]
    pub(crate) fn find_keeps_the_laws() {
        laws(&given::<Find>(&[("paths", "/p,/none"), ("get_checksum", "yes")]), world);
    }
}
