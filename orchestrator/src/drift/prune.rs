//! Takes away what has left the playbook: a playbook made of the ledgers' entries, so that it is planned, shown, asked and
//! applied as any other. What was there before okd-play managed it stays, as does what nobody has said how to remove.

use super::{Fate, Left};
use crate::link::reach::Address;
use indexmap::IndexMap;
use okd_agent::ledger::{Entry, Thing};
use serde_json::{Value, json};

/// What is to become of something that has left the playbook, as far as it is known without looking.
#[must_use]
pub fn fate(entry: &Entry, playbooks: &[String]) -> Fate {
    let others: Vec<&str> = entry
        .playbooks
        .iter()
        .filter(|own| !playbooks.contains(own))
        .map(String::as_str)
        .collect();
    if !others.is_empty() {
        Fate::Stays(format!("{} wants it too", others.join(", ")))
    } else if !entry.created {
        Fate::Stays("it was there before okd-play managed it".to_owned())
    } else if removal(&entry.thing).is_none() {
        Fate::Stays("nothing says how to remove it: do that by hand".to_owned())
    } else {
        Fate::Goes
    }
}

/// The module and its arguments that remove a thing; `None` for kinds that do not say how.
#[must_use]
pub fn removal(thing: &Thing) -> Option<(&'static str, Value)> {
    let mut parts = thing.parts();
    let mut next = || parts.next().unwrap_or_default();
    if thing.name.contains("{{") || thing.name.contains("{%") || thing.name.contains("{#") {
        return None;
    }
    Some(match thing.kind.as_str() {
        Thing::PATH => ("file", json!({"path": next(), "state": "absent", "only_empty": true})),
        "unit" => match (next(), next()) {
            (name, "") => ("okd.unit", json!({"name": name, "state": "absent"})),
            (name, dropin) => ("okd.unit", json!({"name": name, "dropin": dropin, "state": "absent"})),
        },
        "block" => (
            "blockinfile",
            json!({"path": next(), "marker": next(), "state": "absent"}),
        ),
        "ini" => (
            "ini_file",
            json!({"path": next(), "section": next(), "option": next(), "state": "absent"}),
        ),
        "user" => ("user", json!({"name": next(), "state": "absent"})),
        "group" => ("group", json!({"name": next(), "state": "absent"})),
        _ => return None,
    })
}

/// A thing's name in one line.
#[must_use]
pub fn name(thing: &Thing) -> String {
    let parts: Vec<&str> = thing.parts().filter(|part| !part.is_empty()).collect();
    parts.join(" ")
}

/// A thing as people name it.
#[must_use]
pub fn shown(thing: &Thing) -> String {
    match thing.kind.as_str() {
        Thing::PATH => name(thing),
        kind => format!("{kind} {}", name(thing)).trim_end().to_owned(),
    }
}

/// In which order things go: units stop before their files go, files before the folders that hold them, users before
/// their groups.
fn rank(thing: &Thing) -> (usize, std::cmp::Reverse<usize>, &str) {
    let kinds = ["unit", "block", "ini", Thing::PATH, "user", "group"];
    let kind = kinds.iter().position(|kind| *kind == thing.kind).unwrap_or(kinds.len());
    let depth = thing.name.matches('/').count();
    (kind, std::cmp::Reverse(depth), &thing.name)
}

/// A playbook, and which thing each of its steps is about: the step's path, and the place in the list of what has left.
#[derive(Debug, Default)]
pub struct Made {
    /// Its text.
    pub text: String,
    /// The steps.
    pub steps: IndexMap<String, usize>,
}

/// A playbook that looks at what has left: what goes is planned, of what stays it is seen whether it is there.
#[must_use]
pub fn look(left: &[Left]) -> Made {
    made(left, |left| match &left.fate {
        Fate::Goes => {
            removal(&left.entry.thing).map(|(module, args)| vec![json!({module: args, "ignore_errors": true})])
        }
        _ if left.entry.thing.kind == Thing::PATH && removal(&left.entry.thing).is_some() => Some(vec![
            json!({"stat": {"path": left.entry.thing.name}, "ignore_errors": true}),
        ]),
        _ => None,
    })
}

/// A playbook that takes away what goes. A unit of our own is stopped before its file goes.
#[must_use]
pub fn playbook(left: &[Left]) -> Made {
    made(left, |left| {
        let thing = &left.entry.thing;
        let (module, args) = removal(thing).filter(|_| left.fate == Fate::Goes)?;
        let name = format!("{} has left the playbook", shown(thing));
        let mut tasks = Vec::new();
        if thing.kind == "unit" && args.get("dropin").is_none() {
            let stop = json!({"name": args["name"], "state": "stopped", "enabled": false});
            tasks.push(json!({"name": format!("{} stops", shown(thing)), "service": stop}));
        }
        tasks.push(json!({"name": name, module: args}));
        Some(tasks)
    })
}

fn made(left: &[Left], tasks: impl Fn(&Left) -> Option<Vec<Value>>) -> Made {
    let mut by_session: IndexMap<&Address, Vec<usize>> = IndexMap::new();
    for (at, one) in left.iter().enumerate() {
        by_session.entry(&one.address).or_default().push(at);
    }
    let mut made = Made::default();
    let mut plays = Vec::new();
    for (address, mut ats) in by_session {
        ats.sort_by_key(|at| left.get(*at).map(|one| rank(&one.entry.thing)));
        let mut all = Vec::new();
        for at in ats {
            let new = left.get(at).and_then(&tasks).unwrap_or_default();
            if !new.is_empty() {
                all.extend(new);
                made.steps
                    .insert(format!("{}/tasks/{}", plays.len(), all.len() - 1), at);
            }
        }
        if all.is_empty() {
            continue;
        }
        let mut play = json!({
            "name": format!("What has left the playbook on {}", address.host),
            "hosts": address.host,
            "gather_facts": false,
            "become": address.user.is_some(),
            "tasks": all,
        });
        if let (Some(user), Some(play)) = (&address.user, play.as_object_mut()) {
            play.insert("become_user".to_owned(), json!(user));
        }
        plays.push(play);
    }
    made.text = Value::Array(plays).to_string();
    made
}
