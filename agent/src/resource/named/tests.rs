//! Goldens for both families, and serials that rise only when records change.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::param::Params;
use crate::resource::transaction::tests::Rig;
use crate::resource::{Resource, Status, converge};
use crate::resource::laws::laws;
use crate::system::fake::Fake;
use crate::system::{Answer, System};
use crate::value::{Map, Value, map};

fn list(items: &[&str]) -> Value {
    Value::List(items.iter().map(|item| Value::from(*item)).collect())
}

fn hosts() -> Value {
    let pairs = [("services", "10.0.0.1"), ("api", "10.0.0.1"), ("*.apps", "10.0.0.1"), ("master1", "10.0.0.2")];
    Value::Map(pairs.iter().map(|(name, address)| ((*name).to_owned(), Value::from(*address))).collect())
}

fn args() -> Map {
    let forward = map([("name", "okd.example.org".into()), ("ns", "services".into()), ("hosts", hosts())]);
    let reverse = map([
        ("network", "10.0.0.0/24".into()),
        ("domain", "okd.example.org".into()),
        ("ns", "services".into()),
        ("hosts", hosts()),
    ]);
    map([
        ("listen_on", list(&["127.0.0.1", "10.0.0.1"])),
        ("allow_recursion", list(&["localhost", "10.0.0.0/24"])),
        ("forwarders", list(&["9.9.9.9"])),
        ("zones", Value::List(vec![Value::Map(forward), Value::Map(reverse)])),
    ])
}

fn decode(args: &Map) -> Named {
    let named = Named::decode(args).unwrap();
    assert_eq!(named.problems(), Vec::<String>::new());
    named
}

fn run(named: &Named, rig: &Rig) -> Status {
    let world: &(dyn System + 'static) = rig;
    converge(named, world, None).unwrap().status
}

const FORWARD: &str = "; managed by okd-play; changes made here are lost
$ORIGIN okd.example.org.
$TTL 3600
@ IN SOA services.okd.example.org. hostmaster.okd.example.org. (
    1          ; serial
    3600       ; refresh
    900        ; retry
    1209600    ; expire
    60         ; negative answers
)
@        IN NS    services.okd.example.org.
services IN A     10.0.0.1
api      IN A     10.0.0.1
*.apps   IN A     10.0.0.1
master1  IN A     10.0.0.2
";

const REVERSE_RECORDS: &str = "
@ IN NS    services.okd.example.org.
1 IN PTR   services.okd.example.org.
1 IN PTR   api.okd.example.org.
2 IN PTR   master1.okd.example.org.
";

const DEBIAN: &str = "// managed by okd-play; changes made here are lost

options {
    directory \"/var/cache/bind\";
    listen-on port 53 { 127.0.0.1; 10.0.0.1; };
    listen-on-v6 port 53 { none; };
    allow-query { localhost; localnets; };
    recursion yes;
    allow-recursion { localhost; 10.0.0.0/24; };
    allow-transfer { none; };
    forwarders { 9.9.9.9; };
    dnssec-validation auto;
};

zone \"okd.example.org\" IN {
    type master;
    file \"/etc/bind/okd.example.org.zone\";
};

zone \"0.0.10.in-addr.arpa\" IN {
    type master;
    file \"/etc/bind/0.0.10.in-addr.arpa.zone\";
};
";

#[test]
fn both_families_get_their_layout() {
    let named = decode(&args());
    let debian = Rig::new(Family::Debian, true);
    assert_eq!(run(&named, &debian), Status::Changed);
    assert_eq!(debian.text("/etc/bind/named.conf").unwrap(), DEBIAN);
    assert_eq!(debian.text("/etc/bind/okd.example.org.zone").unwrap(), FORWARD);
    assert!(debian.text("/etc/bind/0.0.10.in-addr.arpa.zone").unwrap().ends_with(REVERSE_RECORDS));
    let el = Rig::new(Family::El, false);
    assert_eq!(run(&named, &el), Status::Changed);
    assert_eq!(el.text("/var/named/okd.example.org.zone").unwrap(), FORWARD);
    let conf = el.text("/etc/named.conf").unwrap();
    assert!(conf.contains("    directory \"/var/named\";\n") && conf.contains("pid-file \"/run/named/named.pid\";"));
    assert_eq!(el.acts(), ["start named.service", "enable named.service"]);
    assert_eq!(run(&named, &el), Status::Same);
}

#[test]
fn a_serial_rises_only_with_its_own_zones_records() {
    let rig = Rig::new(Family::El, true);
    let named = decode(&args());
    run(&named, &rig);
    let mut more = named.clone();
    more.zones[0].hosts.insert("worker1".to_owned(), "10.0.0.5".to_owned());
    assert_eq!(run(&more, &rig), Status::Changed);
    assert!(rig.text("/var/named/okd.example.org.zone").unwrap().contains("    2          ; serial\n"));
    assert!(rig.text("/var/named/0.0.10.in-addr.arpa.zone").unwrap().contains("    1          ; serial\n"));
    assert_eq!(run(&more, &rig), Status::Same);
    more.forwarders.clear();
    run(&more, &rig);
    assert!(rig.text("/var/named/okd.example.org.zone").unwrap().contains("    2          ; serial\n"));
    more.zones.pop();
    run(&more, &rig);
    assert_eq!(rig.text("/var/named/0.0.10.in-addr.arpa.zone"), None);
}

#[test]
fn a_hand_written_zone_keeps_its_serial_where_it_says_the_same() {
    let rig = Rig::new(Family::El, true);
    let hand = FORWARD.replace("    1          ; serial", "2024010101 ;by hand").replace("; managed by okd-play", "; mine");
    rig.file("/var/named/okd.example.org.zone", &hand);
    run(&decode(&args()), &rig);
    assert!(rig.text("/var/named/okd.example.org.zone").unwrap().contains("    2024010101 ; serial\n"));
    rig.file("/var/named/okd.example.org.zone", &hand.replace("10.0.0.2", "10.0.0.9").replace("2024010101", "4294967295"));
    run(&decode(&args()), &rig);
    assert!(rig.text("/var/named/okd.example.org.zone").unwrap().contains("    1          ; serial\n"));
}

#[test]
fn every_type_of_record_has_its_form() {
    let record = |pairs: Vec<(&str, Value)>| {
        Value::Map(pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
    };
    let mut args = args();
    let records = vec![
        record(vec![("type", "MX".into()), ("value", "mail".into()), ("priority", Value::Int(5))]),
        record(vec![("type", "TXT".into()), ("value", "v=spf1, -all; \"x\"".into())]),
        record(vec![
            ("name", "_etcd-server-ssl._tcp".into()),
            ("type", "SRV".into()),
            ("port", Value::Int(2380)),
            ("value", "master1".into()),
        ]),
        record(vec![("name", "www".into()), ("type", "CNAME".into()), ("value", "www.example.net".into())]),
        record(vec![("name", "six".into()), ("type", "AAAA".into()), ("value", "2001:DB8::0:1".into())]),
        record(vec![("type", "CAA".into()), ("value", "ca.example.net".into()), ("ttl", Value::Int(60))]),
        record(vec![("name", "mail".into()), ("values", list(&["10.0.0.8", "10.0.0.9"]))]),
    ];
    let Some(Value::List(zones)) = args.get_mut("zones") else { unreachable!() };
    let Value::Map(zone) = &mut zones[0] else { unreachable!() };
    zone.insert("records".to_owned(), Value::List(records));
    let named = decode(&args);
    let (text, _) = zone::render(&named.zones[0], "okd.example.org", None);
    for line in [
        "IN MX    5 mail.okd.example.org.",
        "IN TXT   \"v=spf1, -all; \\\"x\\\"\"",
        "IN SRV   10 0 2380 master1.okd.example.org.",
        "IN CNAME www.example.net.",
        "IN AAAA  2001:db8::1",
        "60 IN CAA   0 issue \"ca.example.net\"",
        "IN A     10.0.0.9",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
}

#[test]
fn contradictions_are_refused_before_anything_is_contacted() {
    let mut named = decode(&args());
    named.allow_recursion = vec!["any".to_owned()];
    named.allow_query = vec!["trusted".to_owned()];
    named.forwarders = vec!["dns.example.net".to_owned()];
    named.zones[0].hosts.insert("bad_name".to_owned(), "10.0.0.300".to_owned());
    named.zones[0].ns.clear();
    let again = named.zones[1].clone();
    named.zones.push(again);
    let record = |name: &str, kind: RecordType, value: &str| Record {
        name: name.to_owned(),
        r#type: kind,
        value: Some(value.to_owned()),
        ..Record::decode(&Map::new()).unwrap()
    };
    named.zones[1].records = vec![
        record("api", RecordType::Cname, "services"),
        record("api", RecordType::Txt, "beside"),
        record("x", RecordType::A, "10.0.0"),
        record("y.elsewhere.org.", RecordType::Txt, "out"),
    ];
    let problems = Resource::check(&named).unwrap_err().join("\n");
    for words in [
        "open resolver",
        "`trusted` is neither",
        "`dns.example.net` is not an address",
        "`bad_name` is not a name",
        "`10.0.0.300` is not an address",
        "needs a name server",
        "zone 0.0.10.in-addr.arpa is there twice",
        "api has a CNAME",
        "`10.0.0` is not",
        "lies outside",
    ] {
        assert!(problems.contains(words), "{words} is missing in:\n{problems}");
    }
}

#[test]
pub(crate) fn the_laws_hold_on_both_families() {
    let unit = |active: &str, file: &str| {
        Answer::ok(format!("LoadState=loaded\nActiveState={active}\nSubState=running\nUnitFileState={file}\nType=forking\n"))
    };
    laws(&decode(&args()), || {
        let conf = "options { directory \"/var/cache/bind\"; };\n";
        Fake::new()
            .user("bind", 101)
            .file("/etc/os-release", "ID=debian\n")
            .file("/etc/bind/named.conf", conf)
            .file("/etc/bind/gone.example.org.zone", format!("; {}\n", crate::resource::transaction::MARK))
            .fact("unit:named.service", unit("active", "enabled"))
            .checker("named-checkconf")
            .command(&["systemctl"], Answer::default())
            .command(&["/bin/sh"], Answer::default())
    });
    laws(&decode(&args()), || {
        Fake::new()
            .user("named", 25)
            .file("/etc/os-release", "ID=\"rocky\"\n")
            .dir("/var/named")
            .fact("unit:named.service", unit("inactive", "disabled"))
            .checker("named-checkconf")
            .command(&["systemctl"], Answer::default())
            .command(&["/bin/sh"], Answer::default())
    });
}
