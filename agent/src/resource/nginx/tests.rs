//! Goldens, the laws, and every contradiction.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::param::Params;
use crate::resource::Resource;
use crate::resource::laws::laws;
use crate::resource::transaction::tests::Rig;
use crate::resource::{Status, converge};
use crate::system::fake::Fake;
use crate::system::{Answer, System};
use crate::value::{Map, Value, map};

fn args() -> Map {
    let location = map([("path", "/auth".into()), ("return", "404".into())]);
    let site = map([
        ("name", "okd".into()),
        ("listen", Value::Int(8080)),
        ("root", "/var/www/okd".into()),
        ("allow", Value::List(vec!["10.0.0.0/24".into(), "127.0.0.1".into()])),
        ("locations", Value::List(vec![Value::Map(location)])),
    ]);
    map([("sites", Value::List(vec![Value::Map(site)]))])
}

const SITE: &str = "# managed by okd-play; changes made here are lost
server {
    listen 8080;
    server_name _;
    root /var/www/okd;
    allow 10.0.0.0/24;
    allow 127.0.0.1;
    deny all;

    location /auth {
        return 404;
    }
}
";

const MAIN: &str = "# managed by okd-play; changes made here are lost
user www-data;
worker_processes auto;
error_log /var/log/nginx/error.log;
pid /run/nginx.pid;
include /etc/nginx/modules-enabled/*.conf;

events {
    worker_connections 1024;
}

http {
    include /etc/nginx/mime.types;
    default_type application/octet-stream;
    sendfile on;
    tcp_nopush on;
    keepalive_timeout 65;
    types_hash_max_size 4096;
    server_tokens off;
    access_log /var/log/nginx/access.log;
    include /etc/nginx/conf.d/*.conf;
}
";

#[test]
fn both_families_get_their_layout() {
    let nginx = Nginx::decode(&args()).unwrap();
    assert_eq!(nginx.problems(), Vec::<String>::new());
    let rig = Rig::new(Family::Debian, true);
    let world: &(dyn System + 'static) = &rig;
    assert_eq!(converge(&nginx, world, None).unwrap().status, Status::Changed);
    assert_eq!(rig.text("/etc/nginx/nginx.conf").unwrap(), MAIN);
    assert_eq!(rig.text("/etc/nginx/conf.d/okd.conf").unwrap(), SITE);
    let el = config::render(&nginx, Family::El, None);
    assert!(el.contains("user nginx;\n") && el.contains("include /usr/share/nginx/modules/*.conf;\n"));
    let none = Nginx { sites: Vec::new(), ..nginx };
    assert_eq!(converge(&none, world, None).unwrap().status, Status::Changed);
    assert_eq!(rig.text("/etc/nginx/conf.d/okd.conf"), None);
}

#[test]
fn the_checker_sees_the_staged_sites_and_those_of_others() {
    let nginx = Nginx::decode(&args()).unwrap();
    let staged = config::render(&nginx, Family::El, Some(&[path("/etc/nginx/conf.d/theirs.conf")]));
    for line in ["pid {stage}/nginx.pid;", "include {stage}/etc/nginx/conf.d/*.conf;", "include /etc/nginx/conf.d/theirs.conf;"] {
        assert!(staged.contains(line), "{line}\n{staged}");
    }
}

#[test]
fn contradictions_are_refused_before_anything_is_contacted() {
    let mut nginx = Nginx::decode(&args()).unwrap();
    nginx.sites[0].allow.push("nodes".to_owned());
    nginx.sites[0].listen.push("Listen 80".to_owned());
    nginx.sites[0].locations[0].r#return = Some("404; }".to_owned());
    let again = nginx.sites[0].locations[0].clone();
    nginx.sites[0].locations.push(again);
    let mut twin = nginx.sites[0].clone();
    twin.name = "../x".to_owned();
    nginx.sites.push(twin);
    let problems = Resource::check(&nginx).unwrap_err().join("\n");
    for words in [
        "`nodes` is neither an address nor a network",
        "`Listen 80` is not an address to listen on",
        "`404; }` holds more than a value",
        "location /auth is there twice",
        "site ../x: its name is a file's",
        "another site serves any name on port 8080",
    ] {
        assert!(problems.contains(words), "{words} is missing in:\n{problems}");
    }
}

#[test]
pub(crate) fn the_laws_hold() {
    let show = "LoadState=loaded\nActiveState=inactive\nSubState=dead\nUnitFileState=disabled\nType=forking\n";
    laws(&Nginx::decode(&args()).unwrap(), || {
        Fake::new()
            .file("/etc/os-release", "ID=rocky\n")
            .file("/etc/nginx/nginx.conf", "user nginx;\n")
            .file("/etc/nginx/conf.d/theirs.conf", "# theirs\n")
            .fact("unit:nginx.service", Answer::ok(show))
            .checker("nginx")
            .command(&["systemctl"], Answer::default())
            .command(&["/bin/sh"], Answer::default())
    });
}
