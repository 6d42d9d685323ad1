//! What parameters may hold: every violation is reported, one for each parameter, in the real one's words.

use super::request::{Asked, Reply};
use serde_json::Map;
use std::net::Ipv4Addr;

/// What a parameter may hold.
#[derive(Debug, Clone, Copy)]
pub(super) enum Rule {
    Any,
    Int(i64, i64),
    Bool,
    One(&'static [&'static str]),
    Dns,
    Vmid,
    Cidr,
    Iface,
    Nic,
    Drive,
    Memory,
    Http,
    Boot,
    Sdn,
    Ports,
}

/// A table of parameters; a name that ends in `#` stands for numbered ones.
pub(super) type Table = [(&'static str, Rule)];

/// Checks all parameters.
pub(super) fn check(asked: &Asked, table: &Table, required: &[&str]) -> Result<(), Reply> {
    let mut errors = Map::new();
    for name in required.iter().filter(|name| asked.get(name).is_none()) {
        errors.insert((*name).to_owned(), "property is missing and it is not optional".into());
    }
    for (name, value) in &asked.params {
        let found = match table.iter().find(|(own, _)| fits(own, name)) {
            Some((_, rule)) => rule.violation(name, value),
            None => {
                Some("property is not defined in schema and the schema does not allow additional properties".to_owned())
            }
        };
        if let Some(said) = found {
            errors.insert(name.clone(), said.into());
        }
    }
    match errors.is_empty() {
        true => Ok(()),
        false => Err(Reply::wrong(errors)),
    }
}

fn fits(own: &str, name: &str) -> bool {
    match own.strip_suffix('#') {
        Some(stem) => name
            .strip_prefix(stem)
            .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit())),
        None => own == name,
    }
}

fn integer(value: &str, low: i64, high: i64) -> Option<String> {
    match value.parse::<i64>() {
        Err(_) => Some(format!("type check ('integer') failed - got '{value}'")),
        Ok(number) if number < low => Some(format!("value must have a minimum value of {low}")),
        Ok(number) if number > high => Some(format!("value must have a maximum value of {high}")),
        Ok(_) => None,
    }
}

impl Rule {
    fn violation(self, name: &str, value: &str) -> Option<String> {
        let invalid = |said: &str| Some(format!("invalid format - {said}\n"));
        let parts = || value.split(',').map(|part| part.split_once('=').unwrap_or(("", part)));
        match self {
            Rule::Any => None,
            Rule::Int(low, high) => integer(value, low, high),
            Rule::Bool => {
                let known = ["0", "1", "on", "off", "yes", "no", "true", "false"].contains(&value);
                (!known).then(|| format!("type check ('boolean') failed - got '{value}'"))
            }
            Rule::One(words) => (!words.contains(&value)).then(|| {
                format!(
                    "value '{value}' does not have a value in the enumeration '{}'",
                    words.join(", ")
                )
            }),
            Rule::Dns => {
                let label = |label: &str| {
                    !label.is_empty()
                        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
                        && !label.starts_with('-')
                        && !label.ends_with('-')
                };
                match value.split('.').all(label) {
                    true => None,
                    false => invalid("value does not look like a valid DNS name"),
                }
            }
            Rule::Vmid => match value.parse::<u64>() {
                Err(_) => Some(format!("type check ('integer') failed - got '{value}'")),
                Ok(100..=999_999_999) => None,
                Ok(_) => invalid("value does not look like a valid VM ID"),
            },
            Rule::Cidr => {
                let fits = value.split_once('/').is_some_and(|(address, bits)| {
                    address.parse::<Ipv4Addr>().is_ok() && bits.parse::<u8>().is_ok_and(|bits| (1..=32).contains(&bits))
                });
                match fits {
                    true => None,
                    false => invalid("value does not look like a valid IPv4 CIDR network"),
                }
            }
            Rule::Iface => {
                let mut letters = value.chars();
                let fits = letters.next().is_some_and(|c| c.is_ascii_alphabetic())
                    && letters.all(|c| c.is_ascii_alphanumeric() || "_.:".contains(c))
                    && (2..=20).contains(&value.len());
                match fits {
                    true => None,
                    false => invalid(&format!("invalid network interface name '{value}'")),
                }
            }
            Rule::Nic => {
                let bare = parts().filter(|(key, _)| key.is_empty()).count();
                if bare > 1 {
                    return invalid("duplicate key in comma-separated list property: model");
                }
                let mtu = parts().find(|(key, _)| *key == "mtu")?;
                let said = integer(mtu.1, 1, 65520)?;
                Some(format!("invalid format - format error\n{name}.mtu: {said}\n"))
            }
            Rule::Drive => {
                let file = parts()
                    .find(|(key, _)| key.is_empty() || *key == "file")
                    .map_or("", |(_, file)| file);
                match file == "none" || file == "cdrom" || file.contains(':') {
                    true => None,
                    false => Some(format!(
                        "invalid format - format error\n{name}.file: invalid format - unable to parse volume ID '{file}'\n\n"
                    )),
                }
            }
            Rule::Memory => {
                let (_, amount) = parts().next()?;
                let said = integer(amount, 16, i64::MAX)?;
                Some(format!("invalid format - format error\nmemory.current: {said}\n"))
            }
            Rule::Boot => {
                let known = |device: &&str| {
                    let stem = device.trim_end_matches(|c: char| c.is_ascii_digit());
                    stem.len() < device.len()
                        && ["ide", "sata", "scsi", "virtio", "net", "hostpci", "usb"].contains(&stem)
                };
                let order = value.strip_prefix("order=")?;
                let strange = order.split(';').find(|device| !known(device))?;
                Some(format!(
                    "invalid format - format error\n{name}.order: invalid format - invalid boot device '{strange}'\n\n"
                ))
            }
            Rule::Sdn => match value.len() {
                9.. => Some("value may only be 8 characters long".to_owned()),
                0 | 1 => Some("value must be at least 2 characters long".to_owned()),
                _ => {
                    let fits = value.bytes().all(|byte| byte.is_ascii_alphanumeric())
                        && value.starts_with(|c: char| c.is_ascii_alphabetic());
                    (!fits).then(|| "value does not match the regex pattern".to_owned())
                }
            },
            Rule::Ports => {
                let wrong = |port: &&str| port.parse::<u64>().is_ok_and(|port| port > 65535);
                let port = value.split([',', ':']).find(wrong)?;
                invalid(&format!("invalid port '{port}'"))
            }
            Rule::Http => match value.starts_with("http://") || value.starts_with("https://") {
                true => None,
                false => Some("value does not match the regex pattern".to_owned()),
            },
        }
    }
}
