//! What the live system is told: an Ignition configuration that configures the installer, and the archive in which the kernel finds
//! it. The same bytes for the same parameters.

use base64ct::{Base64, Encoding};
use okd_agent::value::Value;
use serde_json::{Value as Json, json};

/// Where the live system finds its configuration.
const CONFIG: &str = "config.ign";
/// Where the installer finds that of the system that it installs.
const DEST: &str = "/etc/coreos/dest.ign";
const INSTALLER: &str = "/etc/coreos/installer.d/0000-okd-play.yaml";

/// A configuration that was given as a mapping or as text.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::Str(text) => text.trim().to_owned(),
        other => crate::report::json::value(other).to_string(),
    }
}

/// A configuration that says where the real one is, and what it has to be.
pub(super) fn pointer(url: &str, hash: Option<&str>) -> String {
    let source = match hash {
        Some(hash) => json!({ "source": url, "verification": { "hash": hash } }),
        None => json!({ "source": url }),
    };
    json!({ "ignition": { "version": "3.2.0", "config": { "replace": source } } }).to_string()
}

fn data(text: &str) -> Json {
    json!({ "source": format!("data:;base64,{}", Base64::encode_string(text.as_bytes())) })
}

/// The live system's configuration; empty where there is nothing to say. An empty one would not be the same: with one that it
/// has, the live system lets nobody in at its console.
pub(super) fn config(device: Option<&str>, dest: Option<&str>, live: Option<&str>) -> String {
    let Some(device) = device else {
        return live.unwrap_or_default().to_owned();
    };
    let file = |path: &str, text: &str| json!({ "path": path, "contents": data(text), "mode": 0o600 });
    let mut installer = format!("dest-device: {}\n", json!(device));
    let mut files = Vec::new();
    if let Some(dest) = dest {
        installer += &format!("ignition-file: {DEST}\n");
        files.push(file(DEST, dest));
    }
    files.push(file(INSTALLER, &installer));
    let mut config = json!({ "ignition": { "version": "3.2.0" }, "storage": { "files": files } });
    if let Some(live) = live {
        config["ignition"]["config"] = json!({ "merge": [data(live)] });
    }
    config.to_string()
}

/// What a configuration says, for people: itself without the files in it, and each of those.
pub(super) fn shown(config: &str) -> Vec<(String, String)> {
    let Ok(mut value) = serde_json::from_str::<Json>(config) else {
        return Vec::new();
    };
    let open = |contents: &Json| {
        let (_, text) = contents["source"]
            .as_str()?
            .strip_prefix("data:")?
            .split_once("base64,")?;
        let text = String::from_utf8(Base64::decode_vec(text).ok()?).ok()?;
        Some(serde_json::from_str::<Json>(&text).map_or(text, |json| pretty(&json)))
    };
    let mut texts = Vec::new();
    for file in value
        .pointer_mut("/storage/files")
        .and_then(Json::as_array_mut)
        .into_iter()
        .flatten()
    {
        let Some(text) = open(&file["contents"]) else { continue };
        texts.push((file["path"].as_str().unwrap_or_default().to_owned(), text));
        file["contents"] = "shown by itself".into();
    }
    for (number, merged) in value
        .pointer_mut("/ignition/config/merge")
        .and_then(Json::as_array_mut)
        .into_iter()
        .flatten()
        .enumerate()
    {
        let Some(text) = open(merged) else { continue };
        texts.push((format!("merged-{}.ign", number + 1), text));
        *merged = "shown by itself".into();
    }
    texts.insert(0, (CONFIG.to_owned(), pretty(&value)));
    texts
}

fn pretty(value: &Json) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default() + "\n"
}

/// An entry of a cpio archive in the form `newc` (initramfs buffer format, Documentation/driver-api/early-userspace).
fn entry(name: &str, mode: u32, bytes: &[u8], out: &mut Vec<u8>) {
    let fields = [
        0,
        mode,
        0,
        0,
        1,
        0,
        bytes.len() as u32,
        0,
        0,
        0,
        0,
        name.len() as u32 + 1,
        0,
    ];
    out.extend(b"070701");
    fields
        .iter()
        .for_each(|field| out.extend(format!("{field:08x}").into_bytes()));
    out.extend(name.as_bytes());
    out.push(0);
    out.resize(out.len().next_multiple_of(4), 0);
    out.extend(bytes);
    out.resize(out.len().next_multiple_of(4), 0);
}

/// The archive with a configuration, not compressed, as the kernel takes it too; nothing for an empty one.
pub(super) fn packed(config: &str) -> Vec<u8> {
    let mut out = Vec::new();
    if !config.is_empty() {
        entry(CONFIG, 0o100_600, config.as_bytes(), &mut out);
        entry("TRAILER!!!", 0, &[], &mut out);
    }
    out
}

/// The configuration in an archive as [`packed`] makes it.
pub(super) fn unpacked(bytes: &[u8]) -> Option<String> {
    let field = |number: usize| {
        let at = 6 + number * 8;
        u32::from_str_radix(std::str::from_utf8(bytes.get(at..at + 8)?).ok()?, 16).ok()
    };
    let size = field(6).filter(|_| bytes.starts_with(b"070701"))? as usize;
    let start = (110 + field(11)? as usize).next_multiple_of(4);
    let config = String::from_utf8(bytes.get(start..start.checked_add(size)?)?.to_vec()).ok()?;
    let same = packed(&config);
    let (head, rest) = bytes.split_at_checked(same.len())?;
    (head == same && rest.iter().all(|byte| *byte == 0)).then_some(config)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_packed_configuration_comes_out_again() {
        for config in ["{}", "{\"ignition\":{\"version\":\"3.2.0\"}}", "é"] {
            let mut bytes = packed(config);
            assert_eq!(bytes.len() % 4, 0);
            bytes.resize(1000, 0);
            assert_eq!(unpacked(&bytes).unwrap(), config);
            bytes[999] = 1;
            assert_eq!(unpacked(&bytes), None);
        }
        assert!(packed("").is_empty());
        for strange in [&b"\xfd7zXZ\0"[..], b"", b"070701ffffffff"] {
            assert_eq!(unpacked(strange), None);
        }
    }

    #[test]
    fn the_installer_is_told_the_disk_and_the_pinned_pointer() {
        let dest = pointer("http://10.0.0.1:8080/master.ign", Some("sha512-00"));
        let config = config(
            Some("/dev/sda"),
            Some(&dest),
            Some("{\"ignition\":{\"version\":\"3.3.0\"}}"),
        );
        let shown = shown(&config);
        let names: Vec<&str> = shown.iter().map(|(name, _)| name.as_str()).collect();
        assert!(!shown[0].1.contains("null"), "{}", shown[0].1);
        assert_eq!(names, [CONFIG, DEST, INSTALLER, "merged-1.ign"]);
        assert!(shown[1].1.contains("\"hash\": \"sha512-00\""), "{}", shown[1].1);
        assert_eq!(
            shown[2].1,
            "dest-device: \"/dev/sda\"\nignition-file: /etc/coreos/dest.ign\n"
        );
        assert_eq!(super::config(None, None, Some("x")), "x");
        assert_eq!(super::config(None, None, None), "");
    }
}
