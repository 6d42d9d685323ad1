//! Names of users and groups without the C library's lookups, which load modules of the host: passwd(5), group(5), and
//! `getent` for those that live elsewhere.

use super::process::{self, Run};
use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::sync::{Mutex, PoisonError};

/// Users or groups of this machine, by name and by number.
pub(super) struct Names {
    file: &'static str,
    database: &'static str,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// The file's inode, size and change, in nanoseconds.
    stamp: Option<(u64, u64, i64, i64)>,
    by_name: HashMap<String, u32>,
    by_id: HashMap<u32, String>,
    /// What `getent` said, misses too.
    elsewhere: HashMap<String, Option<(String, u32)>>,
}

impl Names {
    pub(super) fn users() -> Self {
        Names {
            file: "/etc/passwd",
            database: "passwd",
            known: Mutex::default(),
        }
    }

    pub(super) fn groups() -> Self {
        Names {
            file: "/etc/group",
            database: "group",
            known: Mutex::default(),
        }
    }

    /// The number of a name; a number that names nobody is itself.
    pub(super) fn id(&self, name: &str) -> Option<u32> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.refresh(self.file);
        if let Some(id) = known.by_name.get(name) {
            return Some(*id);
        }
        if let Ok(id) = name.parse() {
            return Some(id);
        }
        known.ask(self.database, name).map(|(_, id)| id)
    }

    /// The name of a number; the number as text where it has none.
    pub(super) fn name(&self, id: u32) -> String {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.refresh(self.file);
        if let Some(name) = known.by_id.get(&id) {
            return name.clone();
        }
        let text = id.to_string();
        known.ask(self.database, &text).map_or(text, |(name, _)| name)
    }

    /// Forgets what was asked elsewhere: a command may have changed it.
    pub(super) fn forget(&self) {
        self.known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .elsewhere
            .clear();
    }
}

impl Known {
    fn refresh(&mut self, file: &str) {
        let stamp = std::fs::metadata(file)
            .ok()
            .map(|meta| (meta.ino(), meta.size(), meta.mtime(), meta.mtime_nsec()));
        if stamp == self.stamp && stamp.is_some() {
            return;
        }
        *self = Known {
            stamp,
            ..Known::default()
        };
        let text = std::fs::read(file).unwrap_or_default();
        for (name, id) in String::from_utf8_lossy(&text).lines().filter_map(entry) {
            self.by_id.entry(id).or_insert_with(|| name.clone());
            self.by_name.entry(name).or_insert(id);
        }
    }

    fn ask(&mut self, database: &str, key: &str) -> Option<(String, u32)> {
        if let Some(answer) = self.elsewhere.get(key) {
            return answer.clone();
        }
        let argv = [
            "getent".to_owned(),
            database.to_owned(),
            "--".to_owned(),
            key.to_owned(),
        ];
        let answer = process::run(&Run::new(&argv, 10))
            .ok()
            .filter(crate::system::Answer::success);
        let found = answer.and_then(|answer| answer.text().lines().next().and_then(entry));
        self.elsewhere.insert(key.to_owned(), found.clone());
        found
    }
}

/// Name and number of a line of passwd(5) or group(5): its first and third field.
fn entry(line: &str) -> Option<(String, u32)> {
    let mut fields = line.split(':');
    let name = fields.next().filter(|name| !name.is_empty())?;
    let id = fields.nth(1)?.parse().ok()?;
    Some((name.to_owned(), id))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_and_numbers_of_this_machine() {
        let (users, groups) = (Names::users(), Names::groups());
        assert_eq!(users.id("root"), Some(0));
        assert_eq!(users.name(0), "root");
        assert_eq!(groups.id("root"), Some(0));
        assert_eq!(users.id("no-such-user-here"), None);
        assert_eq!(users.id("54321"), Some(54321));
        assert_eq!(users.name(3_999_999_999), "3999999999");
        assert_eq!(
            entry("named:x:25:25:Named:/var/named:/bin/false"),
            Some(("named".to_owned(), 25))
        );
        assert_eq!(entry("+::::::"), None);
    }
}
