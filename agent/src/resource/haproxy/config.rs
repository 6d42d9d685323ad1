//! haproxy.cfg, rendered whole; see HAProxy's configuration manual.

use super::{Check, CheckType, Frontend, Haproxy, Pool, Server, Stats, Timeouts};
use crate::param::Params;
use crate::resource::layout::Family;
use crate::resource::transaction::header;
use crate::value::Map;

pub(super) fn render(haproxy: &Haproxy, family: Family) -> String {
    let mut sections = vec![global(haproxy, family), defaults(haproxy)];
    sections.extend(haproxy.stats.as_ref().map(stats));
    sections.extend(haproxy.frontends.iter().map(frontend));
    sections.extend(haproxy.pools.iter().map(pool));
    sections.extend(haproxy.extra.iter().map(|extra| format!("{}\n", extra.trim_end())));
    header("#") + &sections.join("\n")
}

/// A section with its lines.
fn section(title: &str, lines: &[String]) -> String {
    let body: String = lines.iter().map(|line| format!("    {line}\n")).collect();
    format!("{title}\n{body}")
}

fn global(haproxy: &Haproxy, family: Family) -> String {
    let socket = family.pick("/var/lib/haproxy/stats", "/run/haproxy/admin.sock");
    let mut lines = vec![
        format!("log {}", haproxy.log),
        "chroot /var/lib/haproxy".to_owned(),
        "user haproxy".to_owned(),
        "group haproxy".to_owned(),
        format!("stats socket {socket} mode 660 level admin"),
    ];
    lines.extend(haproxy.maxconn.map(|most| format!("maxconn {most}")));
    lines.extend(haproxy.global.iter().cloned());
    section("global", &lines)
}

fn defaults(haproxy: &Haproxy) -> String {
    let mut lines = ["mode tcp", "log global", "option tcplog", "option dontlognull", "option redispatch", "retries 3"]
        .map(str::to_owned)
        .to_vec();
    if let Some(timeouts) = haproxy.timeouts.clone().or_else(|| Timeouts::decode(&Map::new()).ok()) {
        let Timeouts { connect, client, server, tunnel, http_request, queue, check } = timeouts;
        let pairs = [
            ("connect", connect),
            ("client", client),
            ("server", server),
            ("tunnel", tunnel),
            ("http-request", http_request),
            ("queue", queue),
            ("check", check),
        ];
        lines.extend(pairs.into_iter().map(|(name, value)| format!("timeout {name} {value}")));
    }
    lines.extend(haproxy.defaults.iter().cloned());
    section("defaults", &lines)
}

fn stats(stats: &Stats) -> String {
    let mut lines = vec![
        bind(&stats.bind),
        "mode http".to_owned(),
        "option httplog".to_owned(),
        "stats enable".to_owned(),
        format!("stats uri {}", stats.uri),
    ];
    if let (Some(user), Some(password)) = (&stats.user, &stats.password) {
        lines.push(format!("stats auth {user}:{password}"));
    }
    section("frontend stats", &lines)
}

/// An address to listen on; a port alone is that port on every address.
fn bind(text: &str) -> String {
    let port_alone = text.split_whitespace().next().is_some_and(|first| first.parse::<u16>().is_ok());
    format!("bind {}{text}", if port_alone { "*:" } else { "" })
}

fn mode(mode: super::Mode, lines: &mut Vec<String>) {
    if mode == super::Mode::Http {
        lines.extend(["mode http".to_owned(), "option httplog".to_owned()]);
    }
}

fn frontend(frontend: &Frontend) -> String {
    let mut lines: Vec<String> = frontend.bind.iter().map(|text| bind(text)).collect();
    mode(frontend.mode, &mut lines);
    lines.extend(frontend.options.iter().cloned());
    lines.push(format!("default_backend {}", frontend.pool));
    section(&format!("frontend {}", frontend.name), &lines)
}

fn pool(pool: &Pool) -> String {
    let mut lines: Vec<String> = pool.bind.iter().map(|text| bind(text)).collect();
    if pool.bind.is_empty() {
        if pool.mode == super::Mode::Http {
            lines.push("mode http".to_owned());
        }
    } else {
        mode(pool.mode, &mut lines);
    }
    lines.push(format!("balance {}", pool.balance));
    if let Some(check) = &pool.check {
        lines.extend(check_lines(check));
    }
    lines.extend(pool.options.iter().cloned());
    let https = pool.check.as_ref().is_some_and(|check| check.r#type == CheckType::Https);
    lines.extend(pool.all().map(|server| server_line(&server, https)));
    let kind = if pool.bind.is_empty() { "backend" } else { "listen" };
    section(&format!("{kind} {}", pool.name), &lines)
}

fn check_lines(check: &Check) -> Vec<String> {
    let Check { path, expect, interval, fall, rise, .. } = check;
    let mut lines = Vec::new();
    if check.r#type != CheckType::Tcp {
        lines.push(format!("option httpchk GET {path}"));
        lines.push(format!("http-check expect status {expect}"));
    }
    lines.push(format!("default-server inter {interval} fall {fall} rise {rise}"));
    lines
}

fn server_line(server: &Server, https: bool) -> String {
    let address = if server.address.contains(':') { format!("[{}]", server.address) } else { server.address.clone() };
    let mut line = format!("server {} {address}:{}", server.name, server.port);
    if server.check {
        line.push_str(if https { " check check-ssl verify none" } else { " check" });
    }
    if server.backup {
        line.push_str(" backup");
    }
    let weight = server.weight.map(|weight| format!("weight {weight}"));
    for words in weight.iter().chain(&server.options) {
        line.push(' ');
        line.push_str(words);
    }
    line
}
