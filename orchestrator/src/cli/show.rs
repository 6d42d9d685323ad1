//! `okd-play inventory` and `okd-play vars`: what the inventory says, and which line says it.

use super::args::{InventoryArgs, VarsArgs};
use super::{End, load, print};
use crate::error::{Diagnostic, Exit};
use crate::inventory::Inventory;
use crate::report::json;
use crate::source::SourceMap;
use okd_agent::Value;
use okd_agent::value::Map;
use std::fmt::Write;

pub(super) fn inventory(sources: &SourceMap, args: &InventoryArgs) -> End {
    let vault = super::unlock::vault(&args.site.vault)?;
    let inventory = load::inventory(sources, &args.site.inventory, None, false, &vault)?;
    for warning in inventory.warnings() {
        crate::report::warn(&warning.render(sources, false));
    }
    if let Some(host) = &args.host {
        known(&inventory, host)?;
        let vars = merged(&inventory, host)?;
        print(&format!("{:#}\n", json::value(&Value::Map(vars))));
    } else if args.list {
        print(&format!("{:#}\n", listed(&inventory)?));
    } else {
        let mut text = String::new();
        tree(&inventory, "all", 0, &mut text);
        print(&text);
    }
    Ok(Exit::Ok)
}

fn known(inventory: &Inventory, host: &str) -> Result<(), Diagnostic> {
    if inventory.host(host).is_some() {
        return Ok(());
    }
    let names: Vec<String> = inventory.hosts().map(|host| host.name.as_str().to_owned()).collect();
    Err(Diagnostic::new("unknown-host", format!("there is no host `{host}`"))
        .did_you_mean(host, names.iter().map(String::as_str)))
}

/// A host's variables, raw: the highest layer wins.
fn merged(inventory: &Inventory, host: &str) -> Result<Map, crate::error::Diagnostics> {
    let mut vars = Map::new();
    for layer in inventory.layers(host, &[])? {
        vars.extend(layer.vars.iter().map(|(name, node)| (name.clone(), node.to_value())));
    }
    Ok(vars)
}

fn listed(inventory: &Inventory) -> Result<serde_json::Value, crate::error::Diagnostics> {
    let mut all = serde_json::Map::new();
    let mut hostvars = serde_json::Map::new();
    for host in inventory.hosts() {
        let vars = merged(inventory, host.name.as_str())?;
        hostvars.insert(host.name.as_str().to_owned(), json::value(&Value::Map(vars)));
    }
    all.insert("_meta".to_owned(), serde_json::json!({ "hostvars": hostvars }));
    for group in inventory.groups() {
        let hosts: Vec<&str> = group.hosts.iter().map(|host| host.as_str()).collect();
        let children: Vec<&str> = group.children.iter().map(|(name, _)| name.as_str()).collect();
        all.insert(
            group.name.clone(),
            serde_json::json!({ "hosts": hosts, "children": children }),
        );
    }
    Ok(serde_json::Value::Object(all))
}

fn tree(inventory: &Inventory, name: &str, depth: usize, text: &mut String) {
    let pad = "  |".repeat(depth);
    let _ = writeln!(text, "{pad}{}@{name}:", if depth > 0 { "--" } else { "" });
    let Some(group) = inventory.group(name) else { return };
    for (child, _) in &group.children {
        tree(inventory, child, depth + 1, text);
    }
    for host in &group.hosts {
        let _ = writeln!(text, "{}--{host}", "  |".repeat(depth + 1));
    }
}

pub(super) fn vars(sources: &SourceMap, args: &VarsArgs) -> End {
    let vault = super::unlock::vault(&args.site.vault)?;
    let inventory = load::inventory(sources, &args.site.inventory, None, false, &vault)?;
    known(&inventory, &args.host)?;
    let Some(name) = &args.why else {
        let mut text = String::new();
        for (name, value) in merged(&inventory, &args.host)? {
            let _ = writeln!(text, "{name}: {}", json::value(&value));
        }
        print(&text);
        return Ok(Exit::Ok);
    };
    let extra = load::extra_vars(sources, &args.site.extra_vars, &vault)?;
    let mut text = String::new();
    let mut wins = true;
    let mut say = |what: &str, node: &crate::source::yaml::Node| {
        let place = sources.place(node.span);
        let _ = writeln!(
            text,
            "{} {name} = {}\n    {what}   {place}",
            if wins { "→" } else { " " },
            json::value(&node.to_value())
        );
        wins = false;
    };
    if let Some(node) = extra.get(name) {
        say("command line (-e)", node);
    }
    let layers = inventory.layers(&args.host, &[])?;
    for layer in layers.iter().rev() {
        if let Some(node) = layer.vars.get(name) {
            say(&layer.name, node);
        }
    }
    if text.is_empty() {
        let vars = merged(&inventory, &args.host)?;
        let found = Diagnostic::new("undefined-variable", format!("{} has no variable `{name}`", args.host));
        return Err(found.did_you_mean(name, vars.keys().map(String::as_str)).into());
    }
    print(&text);
    Ok(Exit::Ok)
}
