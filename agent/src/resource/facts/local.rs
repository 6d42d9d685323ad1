//! Facts that a machine's owner left in `/etc/ansible/facts.d/NAME.fact`, as JSON or INI.

use crate::path::AbsPath;
use crate::resource::json;
use crate::system::{System, SystemError};
use crate::value::{Map, Value};

/// Reads every `.fact` file of a folder. A file that cannot be used says so in its own value, as in Ansible.
///
/// # Errors
/// The world's.
pub fn local(folder: &AbsPath, world: &dyn System) -> Result<Map, SystemError> {
    let mut facts = Map::new();
    for entry in world.list(folder)? {
        let Some(name) = entry.name.strip_suffix(".fact") else {
            continue;
        };
        let path = folder.join(&entry.name);
        let executable = world.stat(&path)?.is_some_and(|meta| meta.mode & 0o111 != 0);
        let value = if executable {
            Value::from(format!(
                "{path} is a program; okd-play reads facts but does not run them"
            ))
        } else {
            let bytes = world.read(&path, 1 << 20)?.unwrap_or_default();
            read(&String::from_utf8_lossy(&bytes)).unwrap_or_else(|| {
                Value::from(format!(
                    "error loading fact - please check content: {path} is neither JSON nor INI"
                ))
            })
        };
        facts.insert(name.to_owned(), value);
    }
    Ok(facts)
}

fn read(text: &str) -> Option<Value> {
    json::parse(text).ok().or_else(|| ini(text))
}

fn ini(text: &str) -> Option<Value> {
    let mut sections: Map = Map::new();
    for line in text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with(['#', ';']))
    {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            sections.insert(name.to_owned(), Value::Map(Map::new()));
            continue;
        }
        let at = line.find(['=', ':'])?;
        let Some((_, Value::Map(section))) = sections.last_mut() else {
            return None;
        };
        section.insert(line[..at].trim().to_lowercase(), line[at + 1..].trim().into());
    }
    (!sections.is_empty()).then_some(Value::Map(sections))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_or_ini() {
        assert_eq!(
            read("{\"a\": [1, true]}").map(|v| v.to_string()).as_deref(),
            Some("{\"a\": [1, true]}")
        );
        assert_eq!(
            read("[role]\nSite = a\n").map(|v| v.to_string()).as_deref(),
            Some("{\"role\": {\"site\": \"a\"}}")
        );
        assert_eq!(read("nothing of either"), None);
    }
}
