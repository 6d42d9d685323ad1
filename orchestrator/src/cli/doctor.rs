//! `okd-play doctor`: whether the interfaces that a playbook works through give what its tasks need. It changes nothing.

use super::args::{DoctorArgs, LinkArgs};
use super::{End, load, print};
use crate::control::ApiKind;
use crate::control::api::ApiError;
use crate::control::desk;
use crate::control::doctor::{Finding, Grade, Task, examine};
use crate::control::endpoint::Endpoint;
use crate::control::pve;
use crate::error::{Diagnostics, Exit};
use crate::playbook::short;
use crate::run::foresee;
use crate::site::{Site, Tags};
use crate::source::SourceMap;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

/// What the tasks of a playbook come to.
#[derive(Default)]
struct Found {
    interfaces: Vec<(pve::Endpoint, Vec<Task>)>,
    /// Tasks whose arguments are not known before a run: place, and why.
    unseen: BTreeMap<String, String>,
}

pub(super) fn doctor(sources: &SourceMap, args: &DoctorArgs) -> End {
    let tags = Tags {
        only: args.tags.clone(),
        skip: args.skip_tags.clone(),
    };
    let site = load::site(sources, &args.playbook, &args.site, tags, None, &mut |prompt| {
        Some(prompt.name.clone())
    })?;
    let found = found(sources, &site)?;
    if found.interfaces.is_empty() && found.unseen.is_empty() {
        print("No task of this playbook works through an interface such as Proxmox VE.\n");
        return Ok(Exit::Ok);
    }
    let mut end = Exit::Ok;
    let mut text = String::new();
    for (endpoint, tasks) in &found.interfaces {
        let _ = writeln!(
            text,
            "{} as {}, {} tasks",
            endpoint.place(),
            endpoint.token(),
            tasks.len()
        );
        match asked(&site, endpoint, tasks) {
            Ok(findings) => {
                if findings.iter().any(|finding| finding.grade == Grade::Missing) && end == Exit::Ok {
                    end = Exit::Usage;
                }
                findings.iter().for_each(|finding| tell(&mut text, finding));
            }
            Err(error) => {
                end = match error {
                    ApiError::Lost(_) => Exit::Unreachable,
                    _ if end == Exit::Unreachable => end,
                    _ => Exit::Usage,
                };
                let _ = writeln!(text, "  missing  {error}");
            }
        }
    }
    for (place, why) in &found.unseen {
        let _ = writeln!(text, "  not seen {place}: {why}");
    }
    print(&text);
    Ok(end)
}

fn asked(site: &Site, endpoint: &pve::Endpoint, tasks: &[Task]) -> Result<Vec<Finding>, ApiError> {
    let (endpoint, world) = desk::open(Endpoint::Proxmox(endpoint.clone()), site.loading.loader.vault.keeper())?;
    let Endpoint::Proxmox(endpoint) = endpoint else {
        return Ok(Vec::new());
    };
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    examine(world.as_ref(), &endpoint.user, &endpoint.token(), tasks, now)
}

fn tell(text: &mut String, finding: &Finding) {
    let word = match finding.grade {
        Grade::Good => "ok      ",
        Grade::Note => "note    ",
        Grade::Missing => "missing ",
    };
    let _ = writeln!(text, "  {word} {}", finding.text);
    if finding.grade == Grade::Missing && !finding.places.is_empty() {
        let more = match finding.places.len().saturating_sub(3) {
            0 => String::new(),
            more => format!(", and {more} more"),
        };
        let first: Vec<&str> = finding.places.iter().take(3).map(String::as_str).collect();
        let _ = writeln!(text, "           needed at {}{more}", first.join(", "));
    }
    if let Some(help) = &finding.help {
        let _ = writeln!(text, "           $ {help}");
    }
}

/// The tasks that work through an interface, by the interface.
fn found(sources: &SourceMap, site: &Site) -> Result<Found, Diagnostics> {
    let options = super::run::options(&LinkArgs::default(), true, false, false)?;
    let mut found = Found::default();
    for task in foresee::through_interfaces(site, &options)? {
        let place = format!("{} ({})", sources.place(task.span), short(&task.module));
        if let Some(why) = task.unknown {
            let why = why.lines().next().unwrap_or_default().to_owned();
            found.unseen.insert(place.clone(), why);
        }
        task.kinds.into_iter().for_each(|kind| keep(&mut found, kind, &place));
    }
    Ok(found)
}

fn keep(found: &mut Found, kind: ApiKind, place: &str) {
    let Endpoint::Proxmox(endpoint) = kind.endpoint() else {
        return;
    };
    let endpoint = pve::Endpoint {
        timeout: 60,
        ..endpoint
    };
    let task = Task {
        place: place.to_owned(),
        kind,
    };
    match found.interfaces.iter_mut().find(|(own, _)| *own == endpoint) {
        Some((_, tasks)) => tasks.push(task),
        None => found.interfaces.push((endpoint, vec![task])),
    }
}
