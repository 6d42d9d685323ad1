//! The guide's 22 errors, each held by a test that bears its number: what the guide does wrong, okd-play does right, or refuses.
//! docs/guide.md lists them; a test of the project's structure holds that both lists are one.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, missing_docs)]

mod site;

use okd_tests::installer::{Serving, file_of};
use serde_json::Value;
use site::{LIVE, Publication, SERVICES, Site, installer, root, values, word};

const MACHINES: [(&str, &str); 6] = [
    ("bootstrap", "10.0.0.7"),
    ("master1", "10.0.0.2"),
    ("master2", "10.0.0.3"),
    ("master3", "10.0.0.4"),
    ("worker1", "10.0.0.5"),
    ("worker2", "10.0.0.6"),
];
const FOUR_PORTS: [&str; 4] = ["443", "6443", "80", "22623"];

#[test]
fn e01_listen_is_nginx_s_word_and_its_port_is_free() {
    let plan = Site::new().plan();
    let files: Vec<_> = plan
        .files()
        .into_iter()
        .filter(|(path, _)| path.starts_with("/etc/nginx/"))
        .collect();
    let listens: Vec<&str> = files.iter().flat_map(|(_, text)| values(text, "listen")).collect();
    assert_eq!(listens, ["8080"], "{files:?}");
    assert!(files.iter().all(|(_, text)| !text.contains("Listen")));
    let taken = values(&plan.file("/etc/haproxy/haproxy.cfg"), "bind").join(" ");
    assert!(taken.contains("*:80") && !taken.contains("8080"), "{taken}");

    let clash = Site::new().describe("  network: ", "  web_port: 80\n  network: ");
    let clash = clash.run("site.yaml", &["--check"]).ended(2);
    clash.says("80").says("the balancer");
    // Whoever edits by pattern is told where nothing fits.
    let site = Site::new();
    site.put(
        "clash.yaml",
        format!(
            "- hosts: {SERVICES}\n  gather_facts: false\n  tasks:\n    - nginx: {{sites: [{{name: x, listen: 80, root: /srv}}]}}\n    \
             - haproxy: {{pools: [{{name: x, bind: ['*:80'], port: 80, hosts: {{a: 10.0.0.5}}}}]}}\n"
        ),
    );
    site.run("clash.yaml", &["--check"])
        .ended(2)
        .says("`nginx` and `haproxy` both listen on port 80");
}

#[test]
fn e02_files_are_put_where_the_web_server_looks() {
    let plan = Site::new().plan_with_media();
    let root = values(&plan.file("/etc/nginx/conf.d/okd.conf"), "root")[0].to_owned();
    let folder = word(&plan.step("Folder of the Ignition files")["diff"][0]["text"]);
    let path = folder.trim_end_matches('/').strip_prefix(&root).unwrap();
    let pointer = plan
        .files()
        .into_iter()
        .find(|(path, _)| path.ends_with("/etc/coreos/dest.ign"))
        .unwrap()
        .1;
    assert!(
        pointer.contains(&format!("http://10.0.0.1:8080{path}/bootstrap.ign")),
        "{pointer}"
    );
    // Done for real, each is where the server's root has it, and is asked for there before anybody boots by it.
    let publication = Publication::new();
    let run = publication.run().ended(0);
    assert_eq!(
        run.steps()
            .filter(|step| step["task"] == "Ignition files are served" && step["pass"] == "apply")
            .count(),
        3
    );
    assert_eq!(
        publication.files("www/okd4"),
        ["bootstrap.ign", "master.ign", "worker.ign"]
    );
}

#[test]
fn e03_the_web_server_can_read_without_apache_s_user() {
    use std::os::unix::fs::MetadataExt;
    let plan = Site::new().plan();
    assert!(!plan.text.contains("apache"));
    assert_eq!(values(&plan.file("/etc/nginx/nginx.conf"), "user"), ["nginx"]);
    // SELinux: below /var/www the policy's own type is httpd_sys_content_t, and restorecon(8) gives it.
    let root = values(&plan.file("/etc/nginx/conf.d/okd.conf"), "root")[0].to_owned();
    assert!(root.starts_with("/var/www/"), "{root}");
    for play in ["Services", "Ignition files"] {
        let labels = plan
            .steps()
            .filter(|step| step["play"] == play && step["task"] == "Label the web server's files");
        assert!(labels.count() > 0, "nothing labels what `{play}` puts there");
    }
    let publication = Publication::new();
    publication.run().ended(0);
    for (path, mode) in [("www/okd4", 0o755), ("www/okd4/bootstrap.ign", 0o644)] {
        let metadata = std::fs::metadata(publication.site.folder().join(path)).unwrap();
        assert_eq!(metadata.mode() & 0o777, mode, "{path}");
    }
}

#[test]
fn e04_nothing_that_opens_the_cluster_is_published() {
    let publication = Publication::new();
    let run = publication.run().ended(0);
    assert_eq!(
        publication.files("www"),
        ["okd4/bootstrap.ign", "okd4/master.ign", "okd4/worker.ign"]
    );
    let kept = publication.files("state/install/1");
    for file in ["auth/kubeconfig", "auth/kubeadmin-password"] {
        assert!(kept.contains(&file.to_owned()), "{kept:?}");
        let asked = run
            .steps()
            .any(|step| step["task"] == "What opens the cluster is not" && step["item"] == file);
        assert!(asked, "{file} is not asked for");
    }
    // Somebody put it there by hand: it is found, and the run fails.
    publication.site.put("www/okd4/auth/kubeconfig", "secret");
    publication.run().ended(1).says("What opens the cluster is not");
    let password = publication.read("state/install/1/auth/kubeadmin-password");
    assert!(!run.text.contains(&password) && run.text.contains("kubeadmin-password"));
}

#[test]
fn e05_a_restart_is_of_the_machine_or_names_its_unit() {
    let plan = Site::new().plan();
    let place = |task| plan.place("Services host arrives", task);
    assert!(place("All packages are of today") < place("It runs on the newest kernel"));
    assert_eq!(plan.step("It runs on the newest kernel")["module"], "reboot");
    for module in ["systemd", "service"] {
        let site = Site::new();
        let play =
            format!("- hosts: localhost\n  gather_facts: false\n  tasks:\n    - {module}: {{state: restarted}}\n");
        site.put("restart.yaml", play);
        site.run("restart.yaml", &["--check"])
            .ended(2)
            .says("`name` says which unit");
    }
}

#[test]
fn e06_what_serves_is_installed_started_and_enabled() {
    let plan = Site::new().plan();
    let packages: Vec<&str> = plan.step("Packages")["diff"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| word(&item["text"]))
        .collect();
    for (package, unit) in [
        ("bind", "named"),
        ("dhcp-server", "dhcpd"),
        ("haproxy", "haproxy"),
        ("nginx", "nginx"),
    ] {
        assert!(packages.contains(&package), "{package} is not installed: {packages:?}");
        assert_eq!(
            (plan.field(unit, "state"), plan.field(unit, "enabled")),
            ("started", "yes"),
            "{unit}"
        );
    }
    assert!(packages.contains(&"firewalld"));
    assert_eq!(plan.field("firewalld", "state"), "started");
}

#[test]
fn e07_dhcp_gives_name_server_domain_name_and_mtu() {
    let plan = Site::new().describe("  network: ", "  mtu: 1450\n  network: ").plan();
    let file = plan.file("/etc/dhcp/dhcpd.conf");
    let wanted = [
        ("domain-name-servers", "10.0.0.1"),
        ("domain-name", "\"okd.example.org\""),
        ("domain-search", "\"okd.example.org\""),
        ("interface-mtu", "1450"),
        ("routers", "10.0.0.1"),
    ];
    for (name, value) in wanted {
        assert_eq!(values(&file, &format!("option {name}")), [value], "{file}");
    }
    let names: Vec<String> = MACHINES
        .iter()
        .map(|(name, _)| format!("\"{name}.okd.example.org\""))
        .collect();
    assert_eq!(values(&file, "option host-name"), names);
}

#[test]
fn e08_the_machines_reach_the_outside() {
    let plan = Site::new().plan();
    assert_eq!(plan.file("/etc/sysctl.d/90-okd-router.conf"), "net.ipv4.ip_forward=1\n");
    let policy = plan.file("/etc/firewalld/policies/internal-external.xml");
    for part in [
        "target=\"ACCEPT\"",
        "<ingress-zone name=\"internal\"/>",
        "<egress-zone name=\"external\"/>",
    ] {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(plan.opened("internal").contains(&"interface eth1".to_owned()));
    assert!(plan.opened("external").contains(&"interface eth0".to_owned()));
    assert!(plan.file("/etc/firewalld/zones/external.xml").contains("<masquerade/>"));
    assert_eq!(
        values(&plan.file("/etc/dhcp/dhcpd.conf"), "option routers"),
        ["10.0.0.1"]
    );
}

#[test]
fn e09_the_firewall_runs_with_the_ports_open() {
    let plan = Site::new().plan();
    let runs = plan.step("Firewall");
    assert_eq!(
        (&runs["result"]["state"], &runs["result"]["enabled"]),
        (&"started".into(), &true.into()),
        "{runs}"
    );
    let inner = plan.opened("internal");
    for what in ["service dns", "service dhcp", "port 8080/tcp"] {
        assert!(inner.contains(&what.to_owned()), "{what}: {inner:?}");
    }
    for port in FOUR_PORTS {
        assert!(inner.contains(&format!("port {port}/tcp")), "{port}: {inner:?}");
    }
    // All that listens to machines is open to them.
    let balancer = plan.file("/etc/haproxy/haproxy.cfg");
    for bind in values(&balancer, "bind")
        .into_iter()
        .filter(|bind| !bind.starts_with("127."))
    {
        let port = bind.rsplit(':').next().unwrap();
        assert!(inner.contains(&format!("port {port}/tcp")), "{bind} is closed");
    }
}

#[test]
fn e10_every_address_is_drawn_from_the_description() {
    let plan = Site::new().describe("10.0.0.", "172.20.5.").plan_with_media();
    for old in ["10.0.0.", "192.168.1.", ".210"] {
        let hit = plan.changes().find(|(_, change)| change.to_string().contains(old));
        assert!(hit.is_none(), "{old} stands in {hit:?}");
    }
    let named = plan.file("/etc/named.conf");
    for clause in [
        "allow-query { localhost; 172.20.5.0/24; }",
        "allow-recursion { localhost; 172.20.5.0/24; }",
    ] {
        assert!(named.contains(clause), "{named}");
    }
    assert!(
        plan.file("/var/named/okd.example.org.zone")
            .contains("master1   IN A     172.20.5.2\n")
    );
    assert!(
        plan.file("/etc/haproxy/haproxy.cfg")
            .contains("server master1 172.20.5.2:6443")
    );
    assert!(
        plan.file("/etc/dhcp/dhcpd.conf")
            .contains("subnet 172.20.5.0 netmask 255.255.255.0")
    );
    let media = plan.files().into_iter().filter(|(path, _)| path.ends_with("dest.ign"));
    assert!(
        media
            .map(|(_, text)| text)
            .all(|text| text.contains("http://172.20.5.1:8080/okd4/"))
    );
}

#[test]
fn e11_the_reverse_zone_follows_and_serials_rise() {
    let plan = Site::new().describe("10.0.0.", "172.20.5.").plan();
    let reverse = plan.file("/var/named/5.20.172.in-addr.arpa.zone");
    for line in [
        "1 IN PTR   api.okd.example.org.",
        "2 IN PTR   master1.okd.example.org.",
        "7 IN PTR   bootstrap.okd.example.org.",
    ] {
        assert!(reverse.contains(line), "{reverse}");
    }
    // Over one host, three times: with another name the serial rises, with the same it stays.
    let site = Site::new();
    let named = |hosts: &str| format!("    - named: {{zones: [{{name: a.test, ns: [x], hosts: {hosts}}}]}}\n");
    let play = format!("- hosts: {SERVICES}\n  gather_facts: false\n  tasks:\n    - package: {{name: bind}}\n");
    let (one, two) = (named("{x: 10.0.0.1}"), named("{x: 10.0.0.1, y: 10.0.0.2}"));
    site.put("named.yaml", format!("{play}{one}{two}{two}"));
    let plan = site.run("named.yaml", &["--check"]).ended(0);
    let steps = plan.of("named");
    let zone = |step: &Value| {
        let changes = step["diff"].as_array().unwrap().iter();
        let mut mine = changes.filter(|change| word(&change["path"]).ends_with("/a.test.zone"));
        mine.next()
            .map(|change| word(&change["unified"]).to_owned())
            .unwrap_or_default()
    };
    assert!(
        zone(steps[0]).contains("+    1          ; serial\n"),
        "{}",
        plan.brief()
    );
    assert!(
        zone(steps[1]).contains("-    1          ; serial\n+    2          ; serial\n"),
        "{}",
        plan.brief()
    );
    assert_eq!(steps[2]["status"], "ok", "{}", plan.brief());
}

#[test]
fn e12_release_and_live_image_are_a_pair() {
    let other = Publication::new();
    let other = other.on(|site| site.with("coreos_live_sha256", &"2".repeat(64)));
    let refused = other.run().ended(1);
    refused
        .says("`images.coreos` is not the live image of 4.19.0-okd-scos.1")
        .says(LIVE);
    assert!(other.files("www").is_empty(), "something was published");
    // The installer itself is of the release that is described, or nothing is made by it.
    let newer = Publication::new();
    let newer = newer.on(|site| site.describe("4.19.0-okd-scos.1", "4.20.0-okd-scos.2"));
    newer.run().ended(1).says("wanted 4.20.0-okd-scos.2, came");
    assert!(newer.files("www").is_empty(), "something was published");
}

#[test]
fn e13_damaged_quotes_and_links_are_refused() {
    let quotes = Publication::new();
    let quotes = quotes.on(|site| site.with("okd_pull_secret", "'{“auths”:{“fake”:{“auth”: “bar”}}}'"));
    let refused = quotes.run().says("its quotes are typographic ones");
    assert_ne!(refused.code, Some(0));
    assert!(!refused.text.contains("“bar”"), "the pull secret is repeated");
    assert!(quotes.files("www").is_empty());
    let link = Site::new().with("coreos_live_url", "'>https://images.invalid/live.iso'");
    let refused = link.run("site.yaml", &["--check"]).says("not `>https://`");
    assert_ne!(refused.code, Some(0));
    // Whatever came instead of what was meant is not used.
    let damaged = Publication::new();
    damaged.damage();
    damaged.run().ended(1).says("sha256");
    assert!(
        damaged.files("state/tools").is_empty(),
        "{:?}",
        damaged.files("state/tools")
    );
}

#[test]
fn e14_machines_and_dhcp_have_one_set_of_hardware_addresses() {
    assert!(
        !std::fs::read_to_string(root().join("inventory/example/group_vars/all.yaml"))
            .unwrap()
            .contains("mac:")
    );
    let plan = Site::new().plan();
    let dhcp = plan.file("/etc/dhcp/dhcpd.conf");
    let mut seen = std::collections::BTreeSet::new();
    for (name, address) in MACHINES {
        let card = plan.field(name, "net0");
        let mac = card
            .split("macaddr=")
            .nth(1)
            .unwrap()
            .split(',')
            .next()
            .unwrap()
            .to_lowercase();
        let host = format!("host {name} {{\n    hardware ethernet {mac};\n    fixed-address {address};\n");
        assert!(dhcp.contains(&host), "{card}\n{dhcp}");
        assert!(seen.insert(mac), "{card} is another machine's too");
    }
}

#[test]
fn e15_the_bring_up_goes_on_to_the_end() {
    let plan = Site::new().with("htpasswd", "'somebody:x'").plan();
    let order = [
        ("Bootstrap machine answers", "It gives machines their configurations"),
        ("Masters", "Machine runs"),
        ("Bootstrap", "The control plane stands by itself"),
        ("Bootstrap machine leaves the pools", "Balancer"),
        ("Workers", "The API answers without the bootstrap machine"),
        ("Workers", "The bootstrap machine is removed"),
        ("Workers", "Machine runs"),
        ("Cluster", "Nodes are let in"),
        ("Cluster", "The cluster is installed"),
        ("Cluster", "Storage of the image registry"),
        ("Cluster", "Users' passwords"),
        ("Cluster", "Identity provider"),
        (
            "Nothing of the installation is left open",
            "Ignition file of the {{ item }} is gone",
        ),
        ("Media leave the machines", "Drive is empty"),
    ];
    let places: Vec<usize> = order.iter().map(|(play, task)| plan.place(play, task)).collect();
    assert!(places.is_sorted(), "{places:?}");
    for (module, task) in [
        ("okd_wait", "The control plane stands by itself"),
        ("okd_csr", "Nodes are let in"),
        ("okd_wait", "The cluster is installed"),
        ("okd_object", "Identity provider"),
    ] {
        let task = plan
            .steps()
            .find(|step| step["task"] == task && step["host"] == "localhost")
            .unwrap();
        assert_eq!(task["module"], module);
    }
    let edit = plan.changes().find(|(step, change)| {
        step["play"] == "Bootstrap machine leaves the pools" && change["path"] == "/etc/haproxy/haproxy.cfg"
    });
    let lines = word(&edit.unwrap().1["unified"])
        .lines()
        .filter(|line| line.starts_with(['-', '+']));
    let lines: Vec<&str> = lines.collect();
    assert!(
        lines.len() == 2
            && lines
                .iter()
                .all(|line| line.starts_with("-    server bootstrap 10.0.0.7:")),
        "{lines:?}"
    );
    let removed = plan
        .changes()
        .filter(|(step, _)| step["task"] == "The bootstrap machine is removed");
    let removed: Vec<&str> = removed.map(|(_, change)| word(&change["text"])).collect();
    assert_eq!(removed, ["virtual machine bootstrap with its disks"]);
}

#[test]
fn e16_the_balancer_asks_the_api_whether_it_is_ready() {
    let file = Site::new().plan().file("/etc/haproxy/haproxy.cfg");
    let pool = file.split("\nlisten ").find(|pool| pool.starts_with("api\n")).unwrap();
    for line in [
        "option httpchk GET /readyz",
        "http-check expect status 200",
        "default-server inter 5s fall 3 rise 2",
    ] {
        assert!(pool.contains(line), "{pool}");
    }
    let servers = values(pool, "server");
    assert_eq!(servers.len(), 4, "{pool}");
    assert!(
        servers
            .iter()
            .all(|server| server.contains(":6443 check check-ssl verify none")),
        "{pool}"
    );
    assert!(pool.contains("balance roundrobin"), "the API takes no affinity: {pool}");
}

#[test]
fn e17_ports_are_those_that_are_needed_and_no_others() {
    let plan = Site::new()
        .describe("  forwarders:", "  ntp: [10.0.0.1]\n  forwarders:")
        .plan();
    // `dns` is 53 by UDP and TCP, `ntp` is 123 by UDP, `dhcp` is 67.
    // The inventory's `ansible_port` is 1: okd-play itself comes that way.
    let inner = [
        "interface eth1",
        "port 1/tcp",
        "port 22623/tcp",
        "port 443/tcp",
        "port 6443/tcp",
        "port 80/tcp",
        "port 8080/tcp",
    ];
    assert_eq!(
        plan.opened("internal"),
        [
            &inner[..],
            &["service dhcp", "service dns", "service ntp", "service ssh"]
        ]
        .concat()
    );
    let outer = [
        "interface eth0",
        "port 1/tcp",
        "port 443/tcp",
        "port 6443/tcp",
        "port 80/tcp",
        "service ssh",
    ];
    assert_eq!(plan.opened("external"), outer);
    let time = plan.step("Machines may ask for the time");
    assert!(
        !["skipped", "failed", "blocked"].contains(&word(&time["status"])),
        "{time}"
    );
    let without = Site::new().plan();
    assert!(
        !without.opened("internal").contains(&"service ntp".to_owned()),
        "nobody serves time"
    );
    assert!(
        plan.file("/etc/haproxy/haproxy.cfg").contains("bind 10.0.0.1:22623\n"),
        "22623 is for the machines alone"
    );
    // Between machines (1936, etcd, IPsec) nothing stands in the way, so there is no table to forget a port in.
    assert!(
        MACHINES
            .iter()
            .all(|(name, _)| !plan.field(name, "net0").contains("firewall=1"))
    );
    assert!(plan.of("proxmox_firewall").is_empty());
}

#[test]
fn e18_vxlan_takes_50_bytes_and_every_mtu_follows() {
    let two = "{nodes: {pve: 192.0.2.11, pve2: 192.0.2.12}, bridge: vmbr1}";
    let sites = |site: Site| site.describe("{nodes: [pve], bridge: vmbr1}", two);
    let mtus = |more: &str| {
        let shown = sites(Site::new()).describe("  network: ", &format!("{more}  network: "));
        let plan = shown.run("services.yaml", &["--check"]).ended(0);
        let network = shown.run("install.yaml", &["--check"]).ended(0);
        let manifest = network.file("/var/lib/okd/install/manifests/cluster-network-03-config.yml");
        let node = values(&plan.file("/etc/dhcp/dhcpd.conf"), "option interface-mtu")[0].to_owned();
        (node, values(&manifest, "mtu:")[0].to_owned())
    };
    assert_eq!(mtus(""), ("1450".to_owned(), "1350".to_owned()));
    assert_eq!(mtus("  vxlan: {ipsec: true}\n"), ("1390".to_owned(), "1290".to_owned()));
    let guide = sites(Site::new()).describe("  network: ", "  mtu: 1484\n  network: ");
    guide
        .run("services.yaml", &["--check"])
        .ended(2)
        .says("VXLAN takes 50 of them, which leaves 1450");
    let pods = sites(Site::new()).describe("  network: ", "  pod_mtu: 1400\n  network: ");
    pods.run("services.yaml", &["--check"])
        .ended(2)
        .says("takes 100 of them, which leaves 1350");
}

#[test]
fn e19_three_roles_have_three_ignition_files() {
    let plan = Site::new().plan_with_media();
    for (name, _) in MACHINES {
        let role = name.trim_end_matches(char::is_numeric);
        let drive = plan.field(name, "ide2");
        let medium = drive
            .strip_prefix("local:iso/")
            .and_then(|rest| rest.split(',').next())
            .unwrap();
        assert!(
            medium.starts_with(&format!("okd.example.org-{role}-")),
            "{name} boots by {drive}"
        );
        let (_, pointer) = plan
            .files()
            .into_iter()
            .find(|(path, _)| path.ends_with(&format!("/{medium}:/etc/coreos/dest.ign")))
            .unwrap_or_else(|| panic!("nobody makes {medium}"));
        assert!(
            pointer.contains(&format!("http://10.0.0.1:8080/okd4/{role}.ign\"")),
            "{pointer}"
        );
        assert!(
            pointer.contains(&format!("\"sha512-{}\"", "5".repeat(128))),
            "{pointer}"
        );
    }
}

#[test]
fn e20_ignition_files_are_made_in_a_fresh_folder_each_time() {
    let authority = |publication: &Publication, number: &str| {
        let file = publication.read(&format!("state/install/{number}/bootstrap.ign"));
        Serving::from_ignition(&file).client_ca
    };
    let publication = Publication::new();
    publication.run().ended(0);
    publication.run().ended(0);
    assert!(
        publication.files("state/install/2").is_empty(),
        "made anew though nothing changed"
    );
    let first = authority(&publication, "1");
    let publication = publication.on(|site| site.with("okd_ssh_key", "ssh-ed25519 AAAA else"));
    publication.run().ended(0);
    let hidden = publication
        .files("state/install/2")
        .into_iter()
        .any(|name| name.starts_with(".openshift_install"));
    assert!(hidden, "the trap is not there");
    assert_ne!(authority(&publication, "2"), first, "an old state was taken up");
    assert_eq!(
        publication.read("www/okd4/bootstrap.ign"),
        publication.read("state/install/2/bootstrap.ign")
    );
}

#[test]
fn e21_networks_that_overlap_are_refused() {
    let site = |inner: &str| Site::new().describe("  network: ", &format!("  {inner}\n  network: "));
    let refused = site("service_network: 10.0.0.0/16")
        .run("site.yaml", &["--check"])
        .ended(2);
    refused.says("`network` (10.0.0.0/24) and `service_network` (10.0.0.0/16) overlap");
    let refused = site("cluster_network: 10.0.0.0/8")
        .run("site.yaml", &["--check"])
        .ended(2);
    refused.says("overlap");
    let plan = Site::new().plan();
    let config = plan.file("/var/lib/okd/install/install-config.yaml");
    for part in [
        "machineNetwork:\n  - {\"cidr\": \"10.0.0.0/24\"}",
        "serviceNetwork:\n  - \"172.30.0.0/16\"",
    ] {
        assert!(config.contains(part), "{config}");
    }
}

#[test]
fn e22_a_manifest_that_cannot_be_edited_is_no_silence() {
    let scheduler = "/opt/openshift/manifests/cluster-scheduler-02-config.yml";
    let publication = Publication::new();
    publication.run().ended(0);
    let made = file_of(&publication.read("www/okd4/bootstrap.ign"), scheduler).unwrap();
    assert!(made.contains("mastersSchedulable: false"), "{made}");
    // An installer whose file has the ending that the guide's text has.
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("installer");
    std::fs::write(&inner, installer()).unwrap();
    let script = format!(
        "#!/bin/sh\n{0} \"$@\" || exit\nfor word; do folder=$word; done\ncd \"$folder/manifests\" 2>/dev/null || exit 0\n\
         mv cluster-scheduler-02-config.yml cluster-scheduler-02-config.yaml 2>/dev/null; exit 0\n",
        inner.display()
    );
    std::process::Command::new("chmod")
        .arg("755")
        .arg(&inner)
        .status()
        .unwrap();
    let other = Publication::of(script.as_bytes());
    other
        .run()
        .ended(1)
        .says("cluster-scheduler-02-config.yml has no single line `mastersSchedulable:` to edit");
    assert!(other.files("www").is_empty(), "something was published");
}
