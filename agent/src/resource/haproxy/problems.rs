//! What is wrong with a load balancer's settings, said before anything is contacted.

use super::{Haproxy, Pool, Server};
use crate::resource::network::{clash, endpoint};
use std::collections::BTreeSet;
use std::net::IpAddr;

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.:".contains(c))
}

pub(super) fn problems(haproxy: &Haproxy) -> Vec<String> {
    let mut problems = Vec::new();
    let mut sections = BTreeSet::from([("frontend", "stats")]);
    let frontends = haproxy.frontends.iter().map(|frontend| ("frontend", frontend.name.as_str()));
    for (kind, name) in frontends.chain(haproxy.pools.iter().map(|pool| ("pool", pool.name.as_str()))) {
        if !sections.insert((kind, name)) {
            problems.push(format!("{kind} {name} is there twice"));
        }
        if !is_name(name) {
            problems.push(format!("`{name}` is not a name: letters, digits and -_.: only"));
        }
    }
    for frontend in &haproxy.frontends {
        if frontend.bind.is_empty() {
            problems.push(format!("frontend {}: it listens nowhere; give `bind`", frontend.name));
        }
        if !haproxy.pools.iter().any(|pool| pool.name == frontend.pool) {
            problems.push(format!("frontend {}: there is no pool {}", frontend.name, frontend.pool));
        }
    }
    problems.extend(haproxy.pools.iter().flat_map(pool_problems));
    problems.extend(bind_problems(haproxy));
    problems.extend(stats_problems(haproxy));
    let options = haproxy.frontends.iter().map(|frontend| &frontend.options);
    let options = options.chain(haproxy.pools.iter().map(|pool| &pool.options)).flatten();
    for line in options.chain(&haproxy.global).chain(&haproxy.defaults).chain([&haproxy.log]) {
        if line.contains('\n') {
            problems.push(format!("`{}` has a line break in it; give one line an entry", line.trim_end()));
        }
    }
    problems
}

fn pool_problems(pool: &Pool) -> Vec<String> {
    let mut problems = Vec::new();
    let servers: Vec<Server> = pool.all().collect();
    if servers.is_empty() {
        problems.push("it has no servers".to_owned());
    }
    let (mut names, mut places) = (BTreeSet::new(), BTreeSet::new());
    for server in &servers {
        if !is_name(&server.name) {
            problems.push(format!("`{}` is not a server's name", server.name));
        }
        if !names.insert(&server.name) {
            problems.push(format!("server {} is there twice", server.name));
        }
        if !places.insert((&server.address, server.port)) {
            problems.push(format!("{}:{} is there twice", server.address, server.port));
        }
        let host = |c: char| c.is_ascii_alphanumeric() || "-.".contains(c);
        let digits = server.address.chars().all(|c| c.is_ascii_digit() || c == '.');
        let good = server.address.parse::<IpAddr>().is_ok() || (!digits && server.address.chars().all(host));
        if !good || server.address.is_empty() {
            problems.push(format!("`{}` is neither an address nor a name", server.address));
        }
        if server.port == 0 {
            problems.push(format!("server {} has no port", server.name));
        }
    }
    problems.into_iter().map(|problem| format!("pool {}: {problem}", pool.name)).collect()
}

fn bind_problems(haproxy: &Haproxy) -> Vec<String> {
    let mut problems = Vec::new();
    let mut taken: Vec<(&str, (Option<String>, u16))> = Vec::new();
    for (name, bind) in haproxy.binds() {
        let Some(place) = endpoint(bind) else {
            if !bind.contains(['/', '@']) {
                problems.push(format!("{name}: `{bind}` is not an address to listen on, such as *:6443"));
            }
            continue;
        };
        if let Some((other, _)) = taken.iter().find(|(_, other)| clash(other, &place)) {
            problems.push(format!("{name} and {other} both listen on port {}", place.1));
        }
        taken.push((name, place));
    }
    problems
}

fn stats_problems(haproxy: &Haproxy) -> Option<String> {
    let stats = haproxy.stats.as_ref()?;
    let (address, _) = endpoint(&stats.bind)?;
    let local = address.is_some_and(|address| address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback()));
    match (&stats.user, &stats.password) {
        (Some(_), Some(_)) => None,
        (None, None) if local => None,
        (None, None) => Some(format!("stats: {} can be reached by others; give `user` and `password`", stats.bind)),
        _ => Some("stats: `user` and `password` go together".to_owned()),
    }
}
