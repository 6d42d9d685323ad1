//! What the machines may ask of each other once the hypervisor guards them: OKD's tables of ports, from the description alone.

use super::okd_play;
use okd_play::control::api::{Api, text};
use okd_tests::pve::{StandIn, TOKEN};
use std::path::Path;
use std::sync::Arc;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// The playbooks' own words for a machine, for all machines of the lab's site.
const PLAY: &str = "
- hosts: localhost
  gather_facts: false
  vars_files: [ROOT/playbooks/vars/site.yaml, ROOT/playbooks/vars/nodes.yaml]
  module_defaults:
    proxmox_bridge: &proxmox
      api_host: '{{ proxmox.api_host }}'
      api_port: '{{ proxmox.api_port }}'
      api_user: '{{ proxmox.api_user }}'
      api_token_id: '{{ proxmox.api_token_id }}'
      api_token_secret: '{{ proxmox.api_token_secret }}'
      fingerprint: '{{ proxmox.fingerprint }}'
    proxmox_vm: *proxmox
    proxmox_firewall: *proxmox
  tasks:
    - proxmox_bridge: {node: pve, iface: vmbr1}
    - import_tasks: ROOT/playbooks/tasks/machine.yaml
      vars: {machines: '{{ topology.machines }}'}
";

const SERVICES: &str = "10.0.0.1";
const MASTERS: [&str; 3] = ["10.0.0.2", "10.0.0.3", "10.0.0.4"];
const WORKERS: [&str; 2] = ["10.0.0.5", "10.0.0.6"];
const BOOTSTRAP: &str = "10.0.0.7";
/// An address that visitors get.
const VISITOR: &str = "10.0.0.20";

/// Who may ask a port: a machine of which kind, at which port, and whether each kind of asker is let in, in the order of [`ASKERS`].
const TABLE: &[(&str, &str, u16, [bool; 5])] = &[
    ("master1", "icmp", 0, [true, true, true, true, false]),
    ("worker1", "icmp", 0, [true, true, true, true, false]),
    ("master1", "tcp", 6443, [true, true, true, true, false]),
    ("master1", "tcp", 22623, [true, true, true, true, false]),
    ("master1", "tcp", 2379, [false, true, false, true, false]),
    ("master1", "tcp", 2380, [false, true, false, true, false]),
    ("bootstrap", "tcp", 2380, [false, true, false, true, false]),
    ("worker1", "tcp", 2379, [false; 5]),
    ("worker1", "tcp", 6443, [false; 5]),
    ("worker1", "tcp", 22623, [false; 5]),
    ("worker1", "tcp", 443, [true, true, true, true, false]),
    ("master1", "tcp", 443, [false; 5]),
    ("master1", "tcp", 1936, [false, true, true, true, false]),
    ("master1", "tcp", 9000, [false, true, true, true, false]),
    ("worker1", "tcp", 9999, [false, true, true, true, false]),
    ("worker1", "tcp", 10000, [false; 5]),
    ("worker1", "tcp", 10249, [false; 5]),
    ("worker1", "tcp", 10250, [false, true, true, true, false]),
    ("worker1", "tcp", 10259, [false, true, true, true, false]),
    ("worker1", "tcp", 30000, [false, true, true, true, false]),
    ("worker1", "udp", 32767, [false, true, true, true, false]),
    ("worker1", "udp", 32768, [false; 5]),
    ("worker1", "udp", 4789, [false, true, true, true, false]),
    ("master1", "udp", 6081, [false, true, true, true, false]),
    ("master1", "udp", 9500, [false, true, true, true, false]),
    ("master1", "tcp", 22, [true, true, false, true, false]),
    ("master1", "udp", 500, [false; 5]),
    ("master1", "esp", 0, [false; 5]),
];
const ASKERS: [&str; 5] = [SERVICES, MASTERS[2], WORKERS[1], BOOTSTRAP, VISITOR];

/// Whether the rules of a machine let something in, as Proxmox VE reads them: the first that fits decides, then the policy.
fn lets_in(client: &Arc<dyn Api>, vmid: u64, asker: &str, proto: &str, port: u16) -> bool {
    let base = format!("/nodes/pve/qemu/{vmid}/firewall");
    let options = client.get(&format!("{base}/options")).unwrap()["data"].clone();
    assert_eq!((&options["enable"], &options["policy_in"]), (&1.into(), &"DROP".into()));
    let rules = client.get(&format!("{base}/rules")).unwrap()["data"]
        .as_array()
        .unwrap()
        .clone();
    let own = |rule: &serde_json::Value, name: &str| text(rule, name).unwrap_or_default();
    let within = |range: &str| {
        let (first, last) = range.split_once(':').unwrap_or((range, range));
        (first.parse().unwrap()..=last.parse().unwrap()).contains(&port)
    };
    let fits = |rule: &&serde_json::Value| {
        let ports = own(rule, "dport");
        own(rule, "type") == "in"
            && own(rule, "enable") == "1"
            && own(rule, "proto") == proto
            && own(rule, "source").split(',').any(|source| source == asker)
            && (ports.is_empty() || ports.split(',').any(within))
    };
    rules
        .iter()
        .find(fits)
        .is_some_and(|rule| own(rule, "action") == "ACCEPT")
}

fn run(folder: &Path, server: &StandIn, playbook: &str, inventory: &str, more: &[&str]) -> String {
    let (user, id, secret) = TOKEN;
    let proxmox = serde_json::json!({ "proxmox": { "api_host": server.address.ip(), "api_port": server.address.port(), "api_user": user,
        "api_token_id": id, "api_token_secret": secret, "fingerprint": server.fingerprint } });
    let proxmox = proxmox.to_string();
    let words = ["run", playbook, "-i", inventory, "--yes", "-e", &proxmox];
    let output = okd_play(folder, &[&words, more].concat());
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success(), "{said}");
    said
}

fn client(server: &StandIn) -> Arc<dyn Api> {
    super::bridge(super::json(r#"{"iface": "vmbr1"}"#))
        .at(server, &[])
        .endpoint()
        .client()
        .unwrap()
}

#[test]
fn machines_may_ask_each_other_what_the_tables_say_and_etcd_is_for_masters() {
    let server = StandIn::start();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("play.yaml"), PLAY.replace("ROOT", ROOT)).unwrap();
    let inventory = format!("{ROOT}/inventory/site");
    let run = |more: &[&str]| run(folder.path(), &server, "play.yaml", &inventory, more);
    let said = run(&[]);
    assert!(
        said.contains("the cluster's firewall is off, so the rules do not count yet"),
        "{said}"
    );
    assert!(run(&[]).contains("0 changed"));
    let client = client(&server);
    let machines = client.get("/cluster/resources?type=vm").unwrap()["data"]
        .as_array()
        .unwrap()
        .clone();
    let vmid = |name: &str| {
        machines.iter().find(|row| row["name"] == name).unwrap()["vmid"]
            .as_u64()
            .unwrap()
    };
    for (machine, proto, port, askers) in TABLE {
        for (asker, wanted) in ASKERS.iter().zip(askers) {
            let open = lets_in(&client, vmid(machine), asker, proto, *port);
            assert_eq!(open, *wanted, "{asker} asks {machine} for {proto}/{port}");
        }
    }
    for asker in MASTERS {
        assert!(
            lets_in(&client, vmid("master2"), asker, "tcp", 2379),
            "{asker} needs etcd"
        );
    }
    let card = client
        .get(&format!("/nodes/pve/qemu/{}/config", vmid("worker2")))
        .unwrap();
    assert!(text(&card["data"], "net0").unwrap().contains("firewall=1"), "{card}");
    run(&["-e", "node_ipsec=true"]);
    for (proto, port) in [("udp", 500), ("udp", 4500), ("esp", 0)] {
        assert!(
            lets_in(&client, vmid("worker1"), MASTERS[0], proto, port),
            "{proto}/{port}"
        );
        assert!(
            !lets_in(&client, vmid("worker1"), VISITOR, proto, port),
            "{proto}/{port}"
        );
    }
}

#[test]
fn without_the_word_for_it_nothing_is_guarded() {
    let server = StandIn::start();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("play.yaml"), PLAY.replace("ROOT", ROOT)).unwrap();
    run(
        folder.path(),
        &server,
        "play.yaml",
        &format!("{ROOT}/inventory/site"),
        &["-e", "node_firewall=false"],
    );
    let writes = server.writes();
    assert!(!writes.iter().any(|write| write.contains("firewall")), "{writes:?}");
}

const OVER_SITES: &str = "
all:
  vars:
    node_firewall: true
    cluster:
      name: okd
      base_domain: example.org
      network: 10.0.0.0/24
      services: 10.0.0.1
      machines: {masters: [{name: master1, ip: 10.0.0.2}]}
      sites: {here: {nodes: {pve: 10.213.0.2}, bridge: okdnet}}
  children:
    services: {hosts: {services: {}}}
    vteps:
      hosts:
        far: {vtep: 10.213.0.9}
        farther: {vtep: 10.213.0.10}
";

#[test]
fn a_node_takes_vxlan_from_the_other_ends_alone() {
    let server = StandIn::start();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("hosts.yaml"), OVER_SITES).unwrap();
    let playbook = format!("{ROOT}/playbooks/hypervisor.yaml");
    let words = ["--tags", "network", "--limit", "localhost"];
    run(folder.path(), &server, &playbook, "hosts.yaml", &words);
    assert!(run(folder.path(), &server, &playbook, "hosts.yaml", &words).contains("0 changed"));
    let client = client(&server);
    let zone = client.get("/cluster/sdn/zones/okd").unwrap();
    assert_eq!(
        text(&zone["data"], "peers").unwrap(),
        "10.213.0.10,10.213.0.2,10.213.0.9"
    );
    let rules = client.get("/nodes/pve/firewall/rules").unwrap()["data"]
        .as_array()
        .unwrap()
        .clone();
    let told: Vec<String> = rules
        .iter()
        .map(|rule| {
            ["action", "proto", "dport", "source"]
                .map(|name| text(rule, name).unwrap_or_default())
                .join(" ")
        })
        .collect();
    assert_eq!(told, ["ACCEPT udp 4789 10.213.0.9,10.213.0.10", "DROP udp 4789 "]);
}
