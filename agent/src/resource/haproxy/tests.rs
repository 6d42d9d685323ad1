//! A golden, the laws, and every contradiction.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::param::Params;
use crate::resource::Resource;
use crate::resource::laws::{laws, laws_with_secret, placeholder};
use crate::resource::transaction::tests::Rig;
use crate::resource::{Status, converge};
use crate::system::fake::Fake;
use crate::system::{Answer, System};
use crate::value::{Map, Value, map};

fn server(name: &str, address: &str, port: i64) -> Value {
    let pairs = [("name", name.into()), ("address", address.into()), ("port", Value::Int(port))];
    Value::Map(map(pairs))
}

fn args() -> Map {
    let check = map([("type", "https".into()), ("path", "/readyz".into())]);
    let api = map([
        ("name", "api".into()),
        ("check", Value::Map(check)),
        ("port", Value::Int(6443)),
        ("hosts", Value::Map(map([("master1", "10.0.0.2".into())]))),
        ("backups", Value::Map(map([("bootstrap", "10.0.0.7".into())]))),
    ]);
    let ingress = map([
        ("name", "http".into()),
        ("bind", Value::Int(80)),
        ("mode", "http".into()),
        ("balance", "source".into()),
        ("servers", Value::List(vec![server("worker1", "10.0.0.5", 80)])),
    ]);
    let frontend = map([("name", "api".into()), ("bind", "*:6443".into()), ("pool", "api".into())]);
    map([
        ("stats", Value::Map(Map::new())),
        ("frontends", Value::List(vec![Value::Map(frontend)])),
        ("pools", Value::List(vec![Value::Map(api), Value::Map(ingress)])),
    ])
}

const GOLDEN: &str = "# managed by okd-play; changes made here are lost
global
    log stdout format raw daemon
    chroot /var/lib/haproxy
    user haproxy
    group haproxy
    stats socket /var/lib/haproxy/stats mode 660 level admin

defaults
    mode tcp
    log global
    option tcplog
    option dontlognull
    option redispatch
    retries 3
    timeout connect 10s
    timeout client 1m
    timeout server 1m
    timeout tunnel 4h
    timeout http-request 10s
    timeout queue 1m
    timeout check 10s

frontend stats
    bind 127.0.0.1:9000
    mode http
    option httplog
    stats enable
    stats uri /

frontend api
    bind *:6443
    default_backend api

backend api
    balance roundrobin
    option httpchk GET /readyz
    http-check expect status 200
    default-server inter 5s fall 3 rise 2
    server master1 10.0.0.2:6443 check check-ssl verify none
    server bootstrap 10.0.0.7:6443 check check-ssl verify none backup

listen http
    bind *:80
    mode http
    option httplog
    balance source
    server worker1 10.0.0.5:80 check
";

#[test]
fn both_families_get_their_layout() {
    let haproxy = Haproxy::decode(&args()).unwrap();
    assert_eq!(haproxy.problems(), Vec::<String>::new());
    let rig = Rig::new(Family::El, true);
    let world: &(dyn System + 'static) = &rig;
    assert_eq!(converge(&haproxy, world, None).unwrap().status, Status::Changed);
    assert_eq!(rig.text("/etc/haproxy/haproxy.cfg").unwrap(), GOLDEN);
    assert_eq!(rig.acts(), ["reload haproxy.service"]);
    let text = config::render(&haproxy, Family::Debian);
    assert!(text.contains("stats socket /run/haproxy/admin.sock mode 660"));
}

#[test]
fn contradictions_are_refused_before_anything_is_contacted() {
    let mut haproxy = Haproxy::decode(&args()).unwrap();
    haproxy.frontends[0].pool = "nowhere".to_owned();
    haproxy.frontends[0].bind.push("10.0.0.1:80".to_owned());
    haproxy.frontends[0].bind.push("here".to_owned());
    haproxy.pools[0].hosts.insert("master2".to_owned(), "10.0.0.300".to_owned());
    haproxy.pools[0].hosts.insert("bootstrap".to_owned(), "10.0.0.7".to_owned());
    haproxy.pools[1].servers.clear();
    haproxy.stats.as_mut().unwrap().bind = "*:9000".to_owned();
    haproxy.global.push("a\nb".to_owned());
    let problems = Resource::check(&haproxy).unwrap_err().join("\n");
    for words in [
        "there is no pool nowhere",
        "both listen on port 80",
        "`here` is not an address to listen on",
        "`10.0.0.300` is neither an address nor a name",
        "server bootstrap is there twice",
        "10.0.0.7:6443 is there twice",
        "pool http: it has no servers",
        "*:9000 can be reached by others",
        "has a line break",
    ] {
        assert!(problems.contains(words), "{words} is missing in:\n{problems}");
    }
}

#[test]
pub(crate) fn the_laws_hold() {
    let show = "LoadState=loaded\nActiveState=active\nSubState=running\nUnitFileState=disabled\nType=notify\n";
    let world = || {
        Fake::new()
            .file("/etc/os-release", "ID=almalinux\n")
            .file("/etc/haproxy/haproxy.cfg", "global\n")
            .file("/etc/haproxy/conf.d/theirs.cfg", "# theirs\n")
            .fact("unit:haproxy.service", Answer::ok(show))
            .checker("haproxy")
            .command(&["systemctl"], Answer::default())
            .command(&["/bin/sh"], Answer::default())
    };
    laws(&Haproxy::decode(&args()).unwrap(), world);
    let mut args = args();
    let stats = map([("user", "ops".into()), ("password", placeholder().into())]);
    args.insert("stats".to_owned(), Value::Map(stats));
    laws_with_secret(&Haproxy::decode(&args).unwrap(), world);
}
