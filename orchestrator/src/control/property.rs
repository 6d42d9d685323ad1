//! Property strings of Proxmox VE, such as `virtio,bridge=vmbr1`: parsed before they are compared, because the server writes
//! them in an order of its own and adds what it has learned.

use std::collections::BTreeMap;
use std::fmt;

/// Models that may stand for `model=…,macaddr=…`.
const MODELS: [&str; 12] = [
    "virtio",
    "e1000",
    "e1000-82540em",
    "e1000-82544gc",
    "e1000-82545em",
    "e1000e",
    "i82551",
    "i82557b",
    "i82559er",
    "ne2k_pci",
    "rtl8139",
    "vmxnet3",
];

/// A property string, by name; the one that may stand without its name first when printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Property {
    default: &'static str,
    items: BTreeMap<String, String>,
}

impl Property {
    /// Reads one; `default` names what a bare value is.
    #[must_use]
    pub fn parse(text: &str, default: &'static str) -> Property {
        let mut items = BTreeMap::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            match part.split_once('=') {
                Some((name, value)) => items.insert(name.trim().to_owned(), truth(value.trim())),
                None => items.insert(default.to_owned(), truth(part)),
            };
        }
        Property { default, items }
    }

    /// Reads a network card, where the model's name may stand for both model and address.
    #[must_use]
    pub fn nic(text: &str) -> Property {
        let mut nic = Property::parse(text, "model");
        if let Some(model) = MODELS.into_iter().find(|model| nic.items.contains_key(*model)) {
            let address = nic.items.remove(model).unwrap_or_default();
            nic.items.insert("model".to_owned(), model.to_owned());
            nic.items.insert("macaddr".to_owned(), address);
        }
        if let Some(address) = nic.items.get_mut("macaddr") {
            *address = address.to_uppercase();
        }
        nic
    }

    /// A value.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.items.get(name).map(String::as_str)
    }

    /// Sets a value.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.items.insert(name.to_owned(), value.into());
    }

    /// Takes a value out.
    pub fn remove(&mut self, name: &str) -> Option<String> {
        self.items.remove(name)
    }
}

impl fmt::Display for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rest = self.items.iter().filter(|(name, _)| *name != self.default);
        let rest = rest.map(|(name, value)| format!("{name}={value}"));
        // A bare value may neither be nothing nor look like a named one.
        let first = self
            .items
            .get(self.default)
            .map(|value| match value.is_empty() || value.contains('=') {
                true => format!("{}={value}", self.default),
                false => value.clone(),
            });
        f.write_str(&first.into_iter().chain(rest).collect::<Vec<_>>().join(","))
    }
}

/// `on`, `yes`, `true` are 1, as the server writes them.
#[must_use]
pub fn truth(text: &str) -> String {
    match text.to_ascii_lowercase().as_str() {
        "yes" | "true" => "1".to_owned(),
        "no" | "false" => "0".to_owned(),
        _ => text.to_owned(),
    }
}

/// A size such as `20G` or `1.5T` in bytes; without a unit, bytes.
#[must_use]
pub fn bytes(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match text[digits.len()..].to_ascii_uppercase().as_str() {
        "" => 1,
        "K" => 1 << 10,
        "M" => 1 << 20,
        "G" => 1 << 30,
        "T" => 1_u64 << 40,
        _ => return None,
    };
    let number: f64 = digits.parse().ok()?;
    Some((number * unit as f64).round() as u64)
}

/// Bytes as the server prints them: in the largest unit that divides them.
#[must_use]
pub fn size(bytes: u64) -> String {
    let units = [(1_u64 << 40, "T"), (1 << 30, "G"), (1 << 20, "M"), (1 << 10, "K")];
    let fitting = units
        .into_iter()
        .find(|(unit, _)| bytes >= *unit && bytes.is_multiple_of(*unit));
    match fitting {
        Some((unit, name)) => format!("{}{name}", bytes / unit),
        None => bytes.to_string(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_writes_is_what_a_person_wrote() {
        let read = Property::nic("virtio=BC:24:11:AA:BB:01,bridge=vmbr1,firewall=0,mtu=1450");
        let typed = Property::nic("model=virtio, mtu=1450,bridge=vmbr1,firewall=no,macaddr=bc:24:11:aa:bb:01");
        assert_eq!(read, typed);
        assert_eq!(
            read.to_string(),
            "virtio,bridge=vmbr1,firewall=0,macaddr=BC:24:11:AA:BB:01,mtu=1450"
        );
        assert_eq!(
            Property::parse("2048", "current"),
            Property::parse("current=2048", "current")
        );
    }

    #[test]
    fn sizes_go_both_ways() {
        for (text, count) in [
            ("20G", 20 << 30),
            ("1.5T", 3 << 39),
            ("528K", 528 << 10),
            ("1000", 1000),
        ] {
            assert_eq!(bytes(text), Some(count), "{text}");
        }
        assert_eq!(size(20 << 30), "20G");
        assert_eq!(size(1536 << 20), "1536M");
        assert_eq!(bytes("20X"), None);
    }
}
