//! Which machine is meant, whose it is, and whether the volumes that it is to use are there.

use super::option::{Class, Drive, Source, class, tags, wanted};
use super::{ALL, ProxmoxVm};
use crate::control::api::{Api, ApiError, Json, number, rows, text};
use okd_agent::resource::ResourceError;
use std::collections::{BTreeMap, BTreeSet};

impl ProxmoxVm {
    /// The row of the machine that is meant.
    pub(super) fn find(&self, world: &dyn Api, all: &[Json]) -> Result<Option<Json>, ResourceError> {
        let own = meant(world, all, self.vmid, self.name.as_deref())?;
        let (Some(vmid), Some(name)) = (self.vmid, &self.name) else {
            return Ok(own);
        };
        match &own {
            Some(row) => {
                let is = name_of(world, row)?.unwrap_or_default();
                if is != *name && !is.is_empty() && !self.rename {
                    return Err(ResourceError::message(format!(
                        "the virtual machine {vmid} is named {is}, not {name}: take another `vmid`, or say `rename: yes` where it \
                         shall get this name"
                    )));
                }
            }
            None => {
                if let Some(other) = meant(world, all, None, Some(name))? {
                    return Err(ResourceError::message(format!(
                        "the name {name} is in use by the virtual machine {} on {}: take another `name`, or that `vmid` where it is \
                         the one that is meant",
                        text(&other, "vmid").unwrap_or_default(),
                        text(&other, "node").unwrap_or_default()
                    )));
                }
            }
        }
        Ok(own)
    }

    /// A machine that was found by its name has to have one of the tags.
    pub(super) fn ours(&self, vmid: u64, node: &str, raw: &BTreeMap<String, String>) -> Result<(), ResourceError> {
        let wanted = tags(&self.tags.as_deref().unwrap_or_default().join(";"));
        let has = tags(raw.get("tags").map_or("", String::as_str));
        let common = wanted.split(';').any(|tag| has.split(';').any(|own| own == tag));
        if self.vmid.is_some() || wanted.is_empty() || common {
            return Ok(());
        }
        Err(ResourceError::message(format!(
            "the name {} is in use by the virtual machine {vmid} on {node}, which has none of the tags {}: it is someone else's. \
             Take another `name`, or say `vmid: {vmid}` to take it over",
            self.label(None),
            wanted.replace(';', ", ")
        )))
    }

    /// Volumes that drives are to be made of, and that are not there.
    pub(super) fn missing(
        &self,
        world: &dyn Api,
        node: &str,
        now: &BTreeMap<String, Option<String>>,
    ) -> Result<Vec<String>, ResourceError> {
        let mut lists: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let mut missing = Vec::new();
        for (name, asked) in self.asked().iter().filter(|(name, _)| class(name) == Class::Drive) {
            let before = now.get(name).cloned().flatten();
            if before.as_ref() == Some(&wanted(name, asked)) {
                continue;
            }
            let drive = Drive::asked(asked, name);
            let volume = match drive.source {
                Source::Import if before.is_none() => drive.props.get("import-from"),
                Source::Volume => drive.props.get("file"),
                _ => None,
            };
            let Some((volume, list)) = volume.and_then(|volume| Some((volume, content_list(node, volume)?))) else {
                continue;
            };
            if !lists.contains_key(&list) {
                let all = rows(&world.get(&list)?);
                let all = all.iter().filter_map(|row| text(row, "volid")).collect();
                lists.insert(list.clone(), all);
            }
            if !lists.get(&list).is_some_and(|all| all.contains(volume)) {
                missing.push(volume.to_owned());
            }
        }
        Ok(missing)
    }
}

/// The list that a file of a storage stands in; `None` for other volumes.
fn content_list(node: &str, volume: &str) -> Option<String> {
    let (store, rest) = volume.split_once(':')?;
    let (content, _) = rest.split_once('/')?;
    ["iso", "import"]
        .contains(&content)
        .then(|| format!("/nodes/{node}/storage/{store}/content?content={content}"))
}

/// The row of a machine by its number, else by its name; several of one name are an error.
pub(in crate::control) fn meant(
    world: &dyn Api,
    all: &[Json],
    vmid: Option<u64>,
    name: Option<&str>,
) -> Result<Option<Json>, ResourceError> {
    let guests = all.iter().filter(|row| text(row, "type").as_deref() != Some("storage"));
    if let Some(vmid) = vmid {
        let own = guests.clone().find(|row| number(row, "vmid") == Some(vmid));
        return match own.is_some_and(|row| text(row, "type").as_deref() == Some("lxc")) {
            true => Err(ResourceError::message(format!(
                "{vmid} is a container, not a virtual machine"
            ))),
            false => Ok(own.cloned()),
        };
    }
    let mut found = Vec::new();
    for row in guests.filter(|row| text(row, "type").as_deref() != Some("lxc")) {
        let own = name_of(world, row)?;
        if own.is_some() && own.as_deref() == name {
            found.push(row.clone());
        }
    }
    if found.len() > 1 {
        let list: Vec<String> = found
            .iter()
            .map(|row| {
                let (vmid, node) = (text(row, "vmid"), text(row, "node"));
                format!("{} on {}", vmid.unwrap_or_default(), node.unwrap_or_default())
            })
            .collect();
        return Err(ResourceError::message(format!(
            "{} virtual machines are named {}: {}; say which by `vmid`",
            found.len(),
            name.unwrap_or_default(),
            list.join(", ")
        )));
    }
    Ok(found.pop())
}

/// All machines of the cluster.
pub(in crate::control) fn everyone(world: &dyn Api) -> Result<Vec<Json>, ApiError> {
    Ok(rows(&world.get(ALL)?))
}

/// The first machine with such an option: its name, and the option's.
pub(in crate::control) fn with_option(
    world: &dyn Api,
    is: &dyn Fn(&str, &str) -> bool,
) -> Result<Option<(String, String)>, ApiError> {
    for guest in everyone(world)?
        .iter()
        .filter(|row| text(row, "type").as_deref() == Some("qemu"))
    {
        let (Some(node), Some(vmid)) = (text(guest, "node"), number(guest, "vmid")) else {
            continue;
        };
        let config = match world.get(&format!("/nodes/{node}/qemu/{vmid}/config")) {
            Err(error) if error.is_missing() => continue,
            config => config?,
        };
        let mut options = config.get("data").and_then(Json::as_object).into_iter().flatten();
        let found = options.find(|(name, value)| value.as_str().is_some_and(|value| is(name, value)));
        if let Some((option, _)) = found {
            let name = text(guest, "name").unwrap_or_else(|| vmid.to_string());
            return Ok(Some((name, option.clone())));
        }
    }
    Ok(None)
}

/// The card of a machine that is on one of these bridges, for people.
pub(in crate::control) fn on_bridge(world: &dyn Api, bridges: &[&str]) -> Result<Option<String>, ApiError> {
    let is = |name: &str, value: &str| {
        let bridge = |part: &str| {
            part.strip_prefix("bridge=")
                .is_some_and(|bridge| bridges.contains(&bridge))
        };
        class(name) == Class::Nic && value.split(',').any(bridge)
    };
    let found = with_option(world, &is)?;
    Ok(found.map(|(guest, card)| format!("{card} of the machine {guest} is on it")))
}

/// A machine's name; one that is quite new stands in the list without it.
fn name_of(world: &dyn Api, row: &Json) -> Result<Option<String>, ApiError> {
    if let Some(name) = text(row, "name") {
        return Ok(Some(name));
    }
    let (Some(vmid), Some(node)) = (number(row, "vmid"), text(row, "node")) else {
        return Ok(None);
    };
    match world.get(&format!("/nodes/{node}/qemu/{vmid}/config")) {
        Ok(envelope) => Ok(envelope.get("data").and_then(|data| text(data, "name"))),
        Err(error) if error.is_missing() => Ok(None),
        Err(error) => Err(error),
    }
}
