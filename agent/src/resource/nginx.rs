//! A web server: sites, where they listen, what they serve and to whom.

mod config;
mod problems;

use super::layout::{Family, path};
use super::network::endpoint;
use super::transaction::{Checker, FileSet, Listener, Power, SetFile, State, Tell, Watch, below, service};
use crate::params;
use crate::path::AbsPath;
use crate::system::System;

params! {
    /// Runs a web server with these sites. It owns `nginx.conf` whole, so that no default server of the distribution
    /// stands in the way, and a file for each site in `conf.d`; files there that others made stay and are included.
    /// nginx -t passes the set before it is swapped, and it is put back when nginx does not run on it and listen where
    /// it says.
    pub struct Nginx {
        /// The sites.
        sites: Vec<Site>,
        /// Connections of one worker process at once.
        worker_connections: u64 = "1024",
        /// Further files for the section `http`, such as `/etc/nginx/sites-enabled/*`.
        include: Vec<String>,
        /// Further statements of the section `http`, as they are.
        http: Option<String>,
        /// Further statements outside of it, as they are.
        extra: Option<String>,
        /// Whether it runs.
        state: Power = "started",
        /// Whether it starts at boot.
        enabled: bool = "yes",
    }
}

params! {
    /// One site.
    pub struct Site {
        /// Its name, also its file's in `conf.d`.
        name: String,
        /// Where it listens: `8080`, `10.0.0.1:8080`, `[::]:8080`, with nginx's options behind.
        listen: Vec<String>,
        /// Its names; unless given, any.
        server_name: Vec<String>,
        /// The folder that it serves.
        root: Option<AbsPath>,
        /// What is served for a folder.
        index: Vec<String>,
        /// Whether a folder without an index is listed.
        autoindex: bool = "no",
        /// Who may see it: addresses and networks; with any, all others may not.
        allow: Vec<String>,
        /// Who may not.
        deny: Vec<String>,
        /// Parts with rules of their own.
        locations: Vec<Location>,
        /// Further statements, as they are.
        extra: Option<String>,
    }
}

params! {
    /// A part of a site.
    pub struct Location {
        /// Its path, with nginx's modifiers (`= /x`, `~ \.ign$`).
        path: String,
        /// A status, and a text or address with it: `404`, `301 https://example.org/`.
        r#return: Option<String>,
        /// The folder that it serves; the path is appended.
        root: Option<AbsPath>,
        /// The folder that it serves in the place of the path.
        alias: Option<AbsPath>,
        /// Files that are tried in turn, as `$uri $uri/ =404`.
        try_files: Option<String>,
        /// The server that requests are handed to.
        proxy_pass: Option<String>,
        /// Whether a folder without an index is listed.
        autoindex: Option<bool>,
        /// Who may see it; with any, all others may not.
        allow: Vec<String>,
        /// Who may not.
        deny: Vec<String>,
        /// Further statements, as they are.
        extra: Option<String>,
    }
}

const SITES: &str = "/etc/nginx/conf.d";

fn config_path() -> AbsPath {
    path("/etc/nginx/nginx.conf")
}

impl Site {
    fn file(&self) -> AbsPath {
        below(SITES, &format!("{}.conf", self.name))
    }
}

impl Nginx {
    fn problems(&self) -> Vec<String> {
        problems::problems(self)
    }

    fn watch(&self, _family: Family, _world: &dyn System) -> Watch {
        Watch {
            unit: "nginx.service",
            package: "nginx",
            files: std::iter::once(config_path()).chain(self.sites.iter().map(Site::file)).collect(),
            folders: vec![(path(SITES), ".conf")],
        }
    }

    fn set(&self, now: &State) -> FileSet {
        let main = config_path();
        let staged = config::render(self, now.family, Some(&now.foreign)).into_bytes();
        let checker = Checker::new("nginx", &["nginx", "-t", "-q", "-c", &format!("{{stage}}{main}")]);
        let mut files =
            vec![SetFile { staged: Some(staged), ..SetFile::public(main, config::render(self, now.family, None)) }];
        files.extend(self.sites.iter().map(|site| SetFile::public(site.file(), config::site(site))));
        let listens = self.sites.iter().flat_map(|site| &site.listen);
        FileSet {
            service: "nginx",
            files,
            checker,
            tell: Tell::Reload,
            power: self.state,
            enabled: self.enabled,
            listeners: listens.filter_map(|text| endpoint(text)).map(Listener::from).collect(),
            served: Vec::new(),
        }
    }
}

service! {
    Nginx,
    names: &["nginx", "okd.nginx"],
    example: "- name: Files for the nodes\n  nginx:\n    sites:\n      - name: okd\n        listen: 8080\n        root: /var/www/okd\n        allow: [10.0.0.0/24]\n        locations:\n          - {path: /auth, return: \"404\"}\n"
}

#[cfg(test)]
pub(crate) mod tests;
