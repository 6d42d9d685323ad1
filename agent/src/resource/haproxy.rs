//! A load balancer: where it listens, and the pools of servers behind. HAProxy 2.0 and later.

mod config;
mod problems;

use super::layout::{Family, path};
use super::network::endpoint;
use super::transaction::{Checker, FileSet, Listener, Power, SetFile, State, Tell, Watch, service};
use crate::path::AbsPath;
use crate::system::System;
use crate::{choice, params};
use indexmap::IndexMap;

choice! {
    /// What HAProxy understands of a connection.
    pub enum Mode {
        /// Bytes alone.
        Tcp = "tcp",
        /// Requests.
        Http = "http",
    }
}

choice! {
    /// How a server's health is found out.
    pub enum CheckType {
        /// It takes a connection.
        Tcp = "tcp",
        /// It answers a request.
        Http = "http",
        /// It answers a request over TLS; its certificate is not looked at, since servers are asked by address.
        Https = "https",
    }
}

params! {
    /// Runs a load balancer with these frontends and pools. It owns `haproxy.cfg`; haproxy -c passes it before it is
    /// swapped, and it is put back when haproxy does not run on it and listen where it says.
    pub struct Haproxy {
        /// Connections at once; unless given, as many as the unit's limit of open files allows.
        maxconn: Option<u64>,
        /// Where it logs to; see `log` in HAProxy's manual. Standard output is the journal.
        log: String = "stdout format raw daemon",
        /// How long it waits for what.
        timeouts: Option<Timeouts>,
        /// Its page of figures.
        stats: Option<Stats>,
        /// Where it listens.
        frontends: Vec<Frontend>,
        /// The servers behind.
        pools: Vec<Pool> ["backends"],
        /// Further lines of the section `global`.
        global: Vec<String>,
        /// Further lines of the section `defaults`.
        defaults: Vec<String>,
        /// Further sections, as they are.
        extra: Option<String>,
        /// Whether it runs.
        state: Power = "started",
        /// Whether it starts at boot.
        enabled: bool = "yes",
    }
}

params! {
    /// How long HAProxy waits, as `10s`, `1m`, `4h`.
    pub struct Timeouts {
        /// For a server to take a connection.
        connect: String = "10s",
        /// For a silent client.
        client: String = "1m",
        /// For a silent server.
        server: String = "1m",
        /// For silence on both sides once both have spoken; long, so that followed logs and remote shells stay up.
        tunnel: String = "4h",
        /// For a whole request.
        http_request: String = "10s",
        /// For a free place at a server.
        queue: String = "1m",
        /// For a server's answer to a health check.
        check: String = "10s",
    }
}

params! {
    /// HAProxy's page of figures. Without a password it is for this machine alone.
    pub struct Stats {
        /// Where it is.
        bind: String = "127.0.0.1:9000",
        /// Its path.
        uri: String = "/",
        /// Who may see it.
        user: Option<String>,
        /// That user's password.
        password: Option<String>,
    }
}

params! {
    /// A place where HAProxy listens.
    pub struct Frontend {
        /// Its name.
        name: String,
        /// Addresses: `6443`, `*:6443`, `10.0.0.1:6443`, with HAProxy's options behind.
        bind: Vec<String>,
        /// What HAProxy understands of its connections.
        mode: Mode = "tcp",
        /// The pool that they go to.
        pool: String ["default_backend", "backend"],
        /// Further lines of the section.
        options: Vec<String>,
    }
}

params! {
    /// Servers that share the work.
    pub struct Pool {
        /// Its name.
        name: String,
        /// Addresses to listen on, where the pool has no frontend of its own.
        bind: Vec<String>,
        /// What HAProxy understands of its connections.
        mode: Mode = "tcp",
        /// Who gets the next one: `roundrobin`, `leastconn`, `source`, …
        balance: String = "roundrobin",
        /// How a server's health is found out.
        check: Option<Check>,
        /// Servers by name and address, all on `port`.
        hosts: IndexMap<String, String>,
        /// Servers by name and address, all on `port`, that work only when all the others are out.
        backups: IndexMap<String, String>,
        /// The port of `hosts` and `backups`.
        port: Option<u16>,
        /// Servers of which there is more to say.
        servers: Vec<Server>,
        /// Further lines of the section.
        options: Vec<String>,
    }
}

params! {
    /// How a server's health is found out.
    pub struct Check {
        /// By what.
        r#type: CheckType = "tcp",
        /// The path that is asked for.
        path: String = "/",
        /// The status that is expected.
        expect: u16 = "200",
        /// How often.
        interval: String = "5s",
        /// So many bad answers in a row take a server out.
        fall: u16 = "3",
        /// So many good ones bring it back.
        rise: u16 = "2",
    }
}

params! {
    /// A server.
    pub struct Server {
        /// Its name.
        name: String,
        /// Its address; a name is looked up once, when HAProxy starts.
        address: String ["ip"],
        /// Its port.
        port: u16,
        /// Whether its health is watched.
        check: bool = "yes",
        /// Whether it works only when all the others are out.
        backup: bool = "no",
        /// Its share.
        weight: Option<u16>,
        /// Further words.
        options: Option<String>,
    }
}

impl Pool {
    /// All its servers.
    fn all(&self) -> impl Iterator<Item = Server> {
        let port = self.port.unwrap_or(0);
        let server = move |(name, address): (&String, &String), backup: bool| Server {
            name: name.clone(),
            address: address.clone(),
            port,
            check: true,
            backup,
            weight: None,
            options: None,
        };
        let hosts = self.hosts.iter().map(move |host| server(host, false));
        let backups = self.backups.iter().map(move |host| server(host, true));
        hosts.chain(backups).chain(self.servers.iter().cloned())
    }
}

fn config_path() -> AbsPath {
    path("/etc/haproxy/haproxy.cfg")
}

impl Haproxy {
    fn problems(&self) -> Vec<String> {
        problems::problems(self)
    }

    fn watch(&self, family: Family, _world: &dyn System) -> Watch {
        Watch {
            unit: "haproxy.service",
            package: "haproxy",
            files: vec![config_path()],
            folders: family.pick(vec![(path("/etc/haproxy/conf.d"), ".cfg")], Vec::new()),
        }
    }

    fn set(&self, now: &State) -> FileSet {
        let config = config_path();
        let mut checker = Checker::new("haproxy", &["haproxy", "-c", "-f", &format!("{{stage}}{config}")]);
        for further in &now.foreign {
            checker.argv.extend(["-f".to_owned(), further.to_string()]);
        }
        FileSet {
            service: "haproxy",
            files: vec![SetFile::public(config, config::render(self, now.family))],
            checker,
            tell: Tell::Reload,
            power: self.state,
            enabled: self.enabled,
            listeners: self.binds().filter_map(|(_, bind)| endpoint(bind)).map(Listener::from).collect(),
            served: Vec::new(),
        }
    }

    /// Every address with the name of the section that listens there.
    fn binds(&self) -> impl Iterator<Item = (&str, &String)> {
        let frontends = self.frontends.iter().map(|frontend| (frontend.name.as_str(), &frontend.bind));
        let pools = self.pools.iter().map(|pool| (pool.name.as_str(), &pool.bind));
        let all = frontends.chain(pools).flat_map(|(name, binds)| binds.iter().map(move |bind| (name, bind)));
        all.chain(self.stats.iter().map(|stats| ("stats", &stats.bind)))
    }
}

service! {
    Haproxy,
    names: &["haproxy", "okd.haproxy"],
    example: "- name: Load balancer\n  haproxy:\n    stats: {bind: \"127.0.0.1:9000\"}\n    pools:\n      - name: api\n        bind: [\"*:6443\"]\n        check: {type: https, path: /readyz, interval: 5s, fall: 3, rise: 2}\n        port: 6443\n        hosts: {master1: 10.0.0.2, master2: 10.0.0.3, master3: 10.0.0.4}\n        backups: {bootstrap: 10.0.0.7}\n"
}

#[cfg(test)]
pub(crate) mod tests;
