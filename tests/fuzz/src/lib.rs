//! What has to hold for any bytes at all, one function for each reader: it never panics, what it says of its input is
//! inside its input, and what it reads it can write and read again. cargo-fuzz looks for bytes for which it does not hold.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    missing_docs,
    unreachable_pub,
    reason = "a panic is what is looked for"
)]

use okd_agent::Value;
use okd_agent::path::AbsPath;
use okd_agent::resource::{Kind, Status};
use okd_agent::secret::Secret;
use okd_agent::system::fake::Fake;
use okd_agent::system::overlay::Overlay;
use okd_agent::system::{Answer, System};
use okd_agent::value::map;
use okd_agent::wire::{self, Request, Response};
use okd_play::control::property::Property;
use okd_play::error::Diagnostics;
use okd_play::inventory::{Inventory, InventorySource};
use okd_play::link::known_hosts::KnownHosts;
use okd_play::source::yaml::{self as tree, Node, NodeKind, Style};
use okd_play::source::{SourceMap, Span};
use okd_play::template::{Engine, Found, Options, RenderError, Scope};
use okd_play::vault::{Vault, VaultKey};
use std::path::Path;
use std::sync::Arc;

/// Every reader by its name.
pub const ALL: [(&str, fn(&[u8])); 8] = [
    ("yaml", yaml),
    ("ini", ini),
    ("template", template),
    ("frame", frame),
    ("known_hosts", known_hosts),
    ("property", property),
    ("zone", zone),
    ("vault", vault),
];

/// YAML: a tree whose places are inside the file, or mistakes that can be shown.
pub fn yaml(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let sources = SourceMap::default();
    let file = sources.add(Path::new("input.yml"), text.to_owned());
    match tree::parse_all(&sources, file) {
        Ok(documents) => documents.iter().for_each(|node| places(node, text, &sources)),
        Err(mistakes) => shown(&mistakes, &sources),
    }
}

fn places(node: &Node, text: &str, sources: &SourceMap) {
    let (start, end) = (node.span.start as usize, node.span.end as usize);
    assert!(
        start <= end && text.get(start..end).is_some(),
        "{start}..{end} of {}",
        text.len()
    );
    let _ = (node.typed(sources), node.raw(sources), sources.place(node.span));
    for item in node.items() {
        places(item, text, sources);
    }
    for (key, value) in node.entries() {
        places(key, text, sources);
        places(value, text, sources);
    }
    let _ = node.to_value();
}

fn shown(mistakes: &Diagnostics, sources: &SourceMap) {
    assert!(!mistakes.is_empty(), "refused without a reason");
    assert!(!mistakes.render(sources, false).is_empty());
}

/// An INI inventory: hosts and groups, or mistakes that can be shown.
pub fn ini(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    // A big range is no mistake, and takes its time.
    if text
        .split(['[', ':', ']'])
        .any(|part| part.len() > 3 && part.bytes().all(|byte| byte.is_ascii_digit()))
    {
        return;
    }
    let folder = tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap();
    let path = folder.path().join("hosts");
    std::fs::write(&path, text).unwrap();
    let sources = SourceMap::default();
    match Inventory::load(&sources, &[InventorySource::Path(path)]) {
        Ok(inventory) => {
            for host in inventory.hosts() {
                assert!(inventory.host(host.name.as_str()).is_some());
                assert!(
                    inventory
                        .groups_of(host.name.as_str())
                        .iter()
                        .all(|group| inventory.group(group).is_some())
                );
            }
        }
        Err(mistakes) => shown(&mistakes, &sources),
    }
}

struct Vars;

impl Scope for Vars {
    fn lookup(&self, name: &str) -> Found {
        match name {
            "text" => Found::Known("web1.example.org".into()),
            "number" => Found::Known(Value::from(7)),
            "list" => Found::Known(Value::List(vec!["a".into(), "b".into(), 3.into()])),
            "map" => Found::Known(Value::Map(map([("key", "value".into()), ("other", 1.into())]))),
            "unknown" => Found::Known(Value::Unknown("waits for a step".to_owned())),
            _ => Found::Missing,
        }
    }

    fn names(&self) -> Vec<String> {
        ["text", "number", "list", "map", "unknown"].map(str::to_owned).to_vec()
    }
}

/// A template: a value, or a mistake that can be shown; and the names that it mentions are found without rendering it.
pub fn template(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    // Lookups read files and run programs of this machine.
    if ["lookup", "query", "q(", "include", "import", "extends", "now", "range"]
        .iter()
        .any(|word| text.contains(word))
    {
        return;
    }
    let sources = SourceMap::default();
    let file = sources.add(Path::new("input.yml"), text.to_owned());
    let span = Span {
        file,
        start: 0,
        end: text.len() as u32,
    };
    let node = Node::new(NodeKind::Str(text.to_owned(), Style::Plain), span);
    let engine = Engine::new(
        sources.clone(),
        Options {
            fuel: 20_000,
            ..Options::default()
        },
    );
    let scope: Arc<dyn Scope> = Arc::new(Vars);
    let _ = (engine.mentions(&node), engine.mentions_in_condition(&node));
    for end in [
        engine.render(&node, &scope).map(drop),
        engine.condition(&node, &scope).map(drop),
    ] {
        if let Err(RenderError::Failed(mistake)) = end {
            shown(&mistake.into(), &sources);
        }
    }
}

/// Frames from the other side: refused, or written again as they were read.
pub fn frame(bytes: &[u8]) {
    let mut reader = bytes;
    while let Ok(Some(request)) = wire::receive::<Request>(&mut reader) {
        let frame = wire::encode(&request).unwrap();
        let again: Request = wire::receive(&mut frame.as_slice()).unwrap().unwrap();
        assert_eq!(format!("{request:?}"), format!("{again:?}"));
    }
    let mut reader = bytes;
    while let Ok(Some(response)) = wire::receive::<Response>(&mut reader) {
        let frame = wire::encode(&response).unwrap();
        let again: Response = wire::receive(&mut frame.as_slice()).unwrap().unwrap();
        assert_eq!(format!("{response:?}"), format!("{again:?}"));
    }
}

/// known_hosts: whatever stands there, a host is known, unknown, changed or revoked.
pub fn known_hosts(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut hosts = KnownHosts::default();
    hosts.add(Path::new("known_hosts"), text);
    for name in ["web1", "web1.example.org", "[10.0.0.1]:2222", "::1"] {
        let _ = (hosts.has_authority(name), hosts.algorithms(name));
    }
}

/// Property strings of Proxmox VE: what is read can be written, and reads the same.
pub fn property(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for default in ["file", "volume", "enabled"] {
        let once = Property::parse(text, default);
        assert_eq!(once, Property::parse(&once.to_string(), default), "{once}");
    }
    let nic = Property::nic(text);
    let _ = nic.to_string();
    if let Some(bytes) = okd_play::control::property::bytes(text) {
        assert_eq!(
            okd_play::control::property::bytes(&okd_play::control::property::size(bytes)),
            Some(bytes)
        );
    }
}

/// A zone file that somebody left where ours goes: it is replaced, its serial never falls, and then nothing is left to do.
pub fn zone(bytes: &[u8]) {
    const PATH: &str = "/var/named/okd.example.org.zone";
    let machine = Fake::new()
        .file("/etc/os-release", "ID=\"centos\"\nID_LIKE=\"rhel fedora\"\n")
        .dir("/var/named")
        .user("named", 25)
        .file(PATH, bytes)
        .fact(
            "unit:named.service",
            Answer::ok("LoadState=loaded\nActiveState=active\nSubState=running\nUnitFileState=enabled\n"),
        )
        .command(&["systemctl"], Answer::default());
    let hosts = map([("services", "10.0.0.1".into()), ("*.apps", "10.0.0.1".into())]);
    let zone = map([
        ("name", "okd.example.org".into()),
        ("ns", "services".into()),
        ("hosts", Value::Map(hosts)),
    ]);
    let args = map([
        ("listen_on", Value::List(vec!["127.0.0.1".into()])),
        ("zones", Value::List(vec![Value::Map(zone)])),
    ]);
    let named = Kind::decode("named", &args).unwrap().unwrap();
    let world: Arc<dyn System> = Arc::new(Overlay::new(Arc::new(machine)));
    match named.converge(&*world, None) {
        Ok(outcome) => {
            assert_eq!(outcome.status, Status::Changed, "{:?}", outcome.notes);
            assert!(world.read(&AbsPath::new(PATH).unwrap(), u64::MAX).unwrap().is_some());
            let again = named.converge(&*world, None).unwrap();
            assert_eq!(again.status, Status::Same, "{:?}", again.diff);
        }
        Err(failure) => assert!(!failure.message.is_empty()),
    }
}

/// An encrypted file of Ansible Vault's: opened with a wrong password, it is refused.
pub fn vault(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let key = VaultKey::new("default", Secret::new("wrong"));
    assert!(Vault::new(vec![key]).unwrap().decrypt(text).is_err());
}
