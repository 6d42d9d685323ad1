//! What is wrong with a web server's settings, said before anything is contacted.

use super::{Location, Nginx, Site};
use crate::resource::network::{endpoint, is_address_or_network};
use std::collections::BTreeSet;

pub(super) fn problems(nginx: &Nginx) -> Vec<String> {
    let mut problems = Vec::new();
    let (mut names, mut places) = (BTreeSet::new(), BTreeSet::new());
    for site in &nginx.sites {
        if !names.insert(&site.name) {
            problems.push(format!("site {} is there twice", site.name));
        }
        let any = vec![String::new()];
        let servers = if site.server_name.is_empty() { &any } else { &site.server_name };
        for (place, server) in site.listen.iter().filter_map(|text| endpoint(text)).flat_map(|place| servers.iter().map(move |s| (place.clone(), s.clone()))) {
            let port = place.1;
            if !places.insert((place, server.clone())) {
                let name = if server.is_empty() { "any name" } else { &server };
                problems.push(format!("site {}: another site serves {name} on port {port}", site.name));
            }
        }
        problems.extend(site_problems(site).into_iter().map(|problem| format!("site {}: {problem}", site.name)));
    }
    problems
}

fn site_problems(site: &Site) -> Vec<String> {
    let mut problems = Vec::new();
    let good = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if site.name.is_empty() || site.name.starts_with('.') || !site.name.chars().all(good) {
        problems.push("its name is a file's: letters, digits and -_. only".to_owned());
    }
    if site.listen.is_empty() {
        problems.push("it listens nowhere; give `listen`".to_owned());
    }
    for listen in site.listen.iter().filter(|text| endpoint(text).is_none() && !text.starts_with("unix:")) {
        problems.push(format!("`{listen}` is not an address to listen on, such as 8080 or 10.0.0.1:8080"));
    }
    if site.root.is_none() && site.locations.is_empty() && site.extra.is_none() {
        problems.push("it serves nothing; give `root` or `locations`".to_owned());
    }
    problems.extend(access_problems(&site.allow, &site.deny));
    for text in site.server_name.iter().chain(&site.index).chain(&site.listen) {
        problems.extend(statement_problem(text));
    }
    let mut paths = BTreeSet::new();
    for part in &site.locations {
        if !paths.insert(&part.path) {
            problems.push(format!("location {} is there twice", part.path));
        }
        problems.extend(location_problems(part).into_iter().map(|problem| format!("location {}: {problem}", part.path)));
    }
    problems
}

fn location_problems(part: &Location) -> Vec<String> {
    let mut problems = access_problems(&part.allow, &part.deny);
    if !part.path.contains('/') && !part.path.starts_with(['~', '@']) {
        problems.push("it is not a path".to_owned());
    }
    if part.root.is_some() && part.alias.is_some() {
        problems.push("`root` and `alias` exclude each other".to_owned());
    }
    let texts = [&part.r#return, &part.try_files, &part.proxy_pass];
    problems.extend(texts.into_iter().flatten().filter_map(|text| statement_problem(text)));
    if part.proxy_pass.as_ref().is_some_and(|to| !to.contains("://")) {
        problems.push("`proxy_pass` is an address such as http://127.0.0.1:3000".to_owned());
    }
    problems
}

fn access_problems(allow: &[String], deny: &[String]) -> Vec<String> {
    let bad = allow.iter().chain(deny).filter(|who| *who != "all" && !is_address_or_network(who));
    bad.map(|who| format!("`{who}` is neither an address nor a network")).collect()
}

fn statement_problem(text: &str) -> Option<String> {
    text.contains([';', '{', '}', '\n']).then(|| format!("`{text}` holds more than a value; `extra` takes whole statements"))
}
