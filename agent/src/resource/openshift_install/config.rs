//! The texts that the installer is given, the same for the same values, and what is passed on of what it says.

use super::HIDDEN;
use crate::order::sort_pairs;
use crate::resource::{json, veil_text};
use crate::value::{Map, Value};
use indexmap::IndexMap;

/// `install-config.yaml`, with a word in the place of the pull secret.
pub(super) fn install_config(config: &IndexMap<String, Value>, ssh_key: Option<&str>) -> String {
    let mut config: Map = config.clone();
    config.entry("apiVersion".to_owned()).or_insert_with(|| "v1".into());
    if let Some(key) = ssh_key {
        config.insert("sshKey".to_owned(), key.trim().into());
    }
    let mut text = String::new();
    block(&config, 0, &mut text);
    text + "pullSecret: " + HIDDEN + "\n"
}

/// A manifest's text.
pub(super) fn manifest(content: &Value) -> String {
    match content {
        Value::Map(entries) => {
            let mut text = String::new();
            block(entries, 0, &mut text);
            text
        }
        other => {
            let text = other.to_string();
            if text.ends_with('\n') { text } else { text + "\n" }
        }
    }
}

/// A mapping in YAML's block style with sorted keys. What is no mapping is JSON, which is YAML.
fn block(entries: &Map, depth: usize, out: &mut String) {
    let mut entries: Vec<(&String, &Value)> = entries.iter().collect();
    sort_pairs(&mut entries);
    for (key, value) in entries {
        let plain = key.starts_with(|c: char| c.is_ascii_alphabetic()) && key.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c));
        out.push_str(&"  ".repeat(depth));
        out.push_str(&if plain { key.clone() } else { json::write(&Value::Str(key.clone())) });
        out.push(':');
        match value {
            Value::Map(inner) if !inner.is_empty() => {
                out.push('\n');
                block(inner, depth + 1, out);
            }
            Value::List(items) if !items.is_empty() => {
                for item in items {
                    out.push('\n');
                    out.push_str(&"  ".repeat(depth));
                    out.push_str("- ");
                    out.push_str(&json::write(&sorted(item)));
                }
                out.push('\n');
            }
            other => {
                out.push(' ');
                out.push_str(&json::write(other));
                out.push('\n');
            }
        }
    }
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::Map(entries) => {
            let mut entries: Vec<(String, Value)> = entries.iter().map(|(key, value)| (key.clone(), sorted(value))).collect();
            sort_pairs(&mut entries);
            Value::Map(entries.into_iter().collect())
        }
        Value::List(items) => Value::List(items.iter().map(sorted).collect()),
        other => other.clone(),
    }
}

/// See [`crate::resource::Resource::veil`].
pub(super) fn veil(value: &mut Value, as_read: &dyn Fn(&[u8]) -> Vec<u8>) {
    match value {
        Value::Str(text) => veil_text(text, as_read),
        Value::List(items) => items.iter_mut().for_each(|item| veil(item, as_read)),
        Value::Map(entries) => entries.values_mut().for_each(|item| veil(item, as_read)),
        _ => {}
    }
}

/// The scheduler's manifest with its line changed; `None` where there is not exactly one such line.
pub(super) fn schedulable(text: &str, truth: bool) -> Option<String> {
    const KEY: &str = "mastersSchedulable:";
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let mut found = lines.iter_mut().filter(|line| line.trim_start().starts_with(KEY));
    let (line, None) = (found.next()?, found.next()) else { return None };
    let indent = line.len() - line.trim_start().len();
    *line = format!("{}{KEY} {truth}", &line[..indent]);
    Some(lines.join("\n") + "\n")
}

/// The first error that the installer logged, as far as it can be repeated.
pub(super) fn said(stderr: &str) -> String {
    let levels = ["level=fatal msg=", "level=error msg="];
    let message = levels.iter().find_map(|level| {
        let line = stderr.lines().find(|line| line.contains(level))?;
        line.split_once(level).map(|(_, message)| message.trim_matches('"').replace("\\\"", "\""))
    });
    let message = message.unwrap_or_else(|| "it does not say why; its own words are in .openshift_install.log".to_owned());
    let message = match message.split_once("pullSecret") {
        Some((before, _)) => format!("{before}pullSecret: {HIDDEN}"),
        None => message,
    };
    let words = message.split(' ').map(|word| if is_token(word) { HIDDEN } else { word });
    words.collect::<Vec<_>>().join(" ")
}

/// Whether a word may be a key or a password rather than something to read.
fn is_token(word: &str) -> bool {
    let has = |kind: fn(&u8) -> bool| word.as_bytes().iter().any(kind);
    word.len() >= 20 && has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase) && has(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn texts_are_the_same_whatever_the_order() {
        let read = |text: &str| match json::parse(text).unwrap() {
            Value::Map(map) => map,
            _ => Map::new(),
        };
        let one = read(r#"{"metadata": {"name": "okd"}, "compute": [{"replicas": 0, "name": "worker"}], "platform": {"none": {}}, "a b": 1, "proxy": []}"#);
        let text = install_config(&one, Some("ssh-ed25519 AAAA \"ops\"\n"));
        assert_eq!(
            text,
            "\"a b\": 1\napiVersion: \"v1\"\ncompute:\n- {\"name\": \"worker\", \"replicas\": 0}\nmetadata:\n  name: \"okd\"\nplatform:\n  none: {}\nproxy: []\nsshKey: \"ssh-ed25519 AAAA \\\"ops\\\"\"\npullSecret: ‹hidden›\n"
        );
        let mut other = one.clone();
        other.reverse();
        assert_eq!(install_config(&other, Some("ssh-ed25519 AAAA \"ops\"")), text);
        assert_eq!(manifest(&"kind: X".into()), "kind: X\n");
    }

    #[test]
    fn the_edit_says_when_there_is_nothing_to_edit() {
        let text = "spec:\n  mastersSchedulable: true\n  policy:\n    name: \"\"\n";
        assert_eq!(schedulable(text, false).unwrap(), text.replace("true", "false"));
        assert_eq!(schedulable("spec: {}\n", false), None);
        assert_eq!(schedulable(&text.repeat(2), false), None);
    }

    #[test]
    fn what_the_installer_repeats_of_secrets_is_not_passed_on() {
        let echo = r#"level=info msg=x
level=error msg="failed to fetch Master Machines: invalid \"install-config.yaml\" file: pullSecret: Invalid value: \"{\\\"auths\\\":{\\\"quay.io\\\":{\\\"auth\\\":\\\"c2VjcmV0\\\"}}}\": auths required""#;
        assert_eq!(said(echo), "failed to fetch Master Machines: invalid \"install-config.yaml\" file: pullSecret: ‹hidden›");
        assert_eq!(said("level=fatal msg=token c2VjcmV0c2VjcmV0c2VjcmV0 in manifests/x"), "token ‹hidden› in manifests/x");
        assert!(said("panic: c2VjcmV0").starts_with("it does not say why"));
    }
}
