//! The laws of every kind on whole machines: what a check predicts is what a run does, and a second run has nothing to
//! do, on both families and by both ways.

use okd_agent::resource::KINDS;
use okd_tests::{Flavour, Lab, Play};
use serde_json::Value;

/// What is the same on every host.
const ANYWHERE: &str = r#"
    - ping:
    - setup: {gather_subset: [network]}
    - group: {name: keepers, gid: 4242, system: true}
    - user: {name: keeper, uid: 4242, group: keepers, groups: [keepers], shell: /bin/sh, comment: Keeper, password: "$6$salt$hash"}
    - authorized_key: {user: keeper, key: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIC3qBXLHCuUZOsIcLX5nCyUtTxSbPmLaxdLuyvwN5sLn ops", comment: operator}
    - hostname: {name: laws.example.org}
    - known_hosts: {path: /etc/ssh/ssh_known_hosts, name: laws, key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIC3qBXLHCuUZOsIcLX5nCyUtTxSbPmLaxdLuyvwN5sLn}
    - openssh_keypair: {path: /root/laws_key, type: ed25519, comment: laws}
    - known_hosts: {name: other.example.org, key: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIC3qBXLHCuUZOsIcLX5nCyUtTxSbPmLaxdLuyvwN5sLn"}
    - timezone: {name: Europe/Berlin}
    - sysctl: {name: net.ipv4.ip_forward, value: "1", sysctl_set: true, sysctl_file: /etc/sysctl.d/90-laws.conf}
    - file: {path: /srv/laws/deep, state: directory, mode: "0750", owner: keeper, group: keepers}
    - copy: {dest: /srv/laws/a.conf, content: "a=1\nb=2\n", owner: keeper, mode: "u=rw,g=r,o="}
    - template: {src: list.j2, dest: /srv/laws/list}
    - file: {path: /srv/web, state: directory, mode: "0755"}
    - copy: {dest: /srv/web/page, content: "page\n", mode: "0644"}
    - copy: {dest: /srv/laws/edited, content: "b=2\nline 1\n", force: false}
    - lineinfile: {path: /srv/laws/edited, regexp: ^b=, line: b=3}
    - blockinfile: {path: /srv/laws/edited, block: c=4}
    - replace: {path: /srv/laws/edited, regexp: '^line (\d)', replace: 'row \1'}
    - ini_file: {path: /srv/laws/x.ini, section: main, option: a, value: "1", mode: "0644"}
    - copy: {dest: /srv/laws/deep/1, content: "one\n"}
    - assemble: {src: /srv/laws/deep, dest: /srv/laws/whole}
    - find: {paths: /srv/laws, recurse: true}
    - slurp: {src: /srv/laws/a.conf}
    - stat: {path: /srv/laws/a.conf}
    - command:
        cmd: tar -C /srv/laws -cf /srv/laws/deep.tar deep
        creates: /srv/laws/deep.tar
        predicts: {creates: [/srv/laws/deep.tar]}
    - shell: {cmd: "date >/srv/laws/once", creates: /srv/laws/once, predicts: {creates: [/srv/laws/once]}}
    - unarchive: {src: /srv/laws/deep.tar, remote_src: true, dest: /srv}
    - openshift_install:
        directory: /srv/laws/install
        pull_secret: {auths: {fake: {auth: aWQ6cGFzcw==}}}
        masters_schedulable: false
        install_config:
          baseDomain: example.org
          metadata: {name: laws}
          platform: {none: {}}
          compute: [{name: worker, replicas: 0}]
    - okd.unit:
        name: laws
        content: |
          [Service]
          ExecStart=/bin/sleep infinity
          [Install]
          WantedBy=multi-user.target
    - service: {name: laws, state: started, enabled: true}
    - okd.unit: {name: laws, dropin: nice, content: "[Service]\nNice=5\n"}
    - service: {name: laws, masked: false, state: started}
    - package: {name: [haproxy, nginx, firewalld], state: present}
    - nginx:
        sites:
          - {name: laws, listen: 8080, root: /srv/web}
    - wait_for: {port: 8080}
    - probe: {tcp: "127.0.0.1:8080"}
    - probe: {ping: 127.0.0.1, size: 1000, df: true}
    - get_url: {url: "http://127.0.0.1:8080/page", dest: /srv/laws/fetched, mode: "0644"}
    - uri: {url: "http://127.0.0.1:8080/page"}
    - haproxy:
        pools:
          - {name: laws, bind: ["*:6443"], port: 8080, hosts: {here: 127.0.0.1}}
    - named:
        listen_on: [127.0.0.1]
        zones:
          - {name: laws.example.org, ns: [services], hosts: {services: 10.9.0.1}}
    - dhcpd:
        interfaces: [eth1]
        subnets:
          - {network: 10.9.0.0/24, range: 10.9.0.15-30, router: 10.9.0.1}
    - service: {name: firewalld, state: started}
    - firewalld: {port: 8080/tcp, permanent: true, immediate: true, state: enabled}
    - firewalld: {service: http, permanent: true, state: enabled, offline: true}
    - firewall:
        zones:
          - {name: public, interfaces: [eth0], services: [ssh, http], ports: [8080/tcp]}
          - {name: internal, interfaces: [eth1], services: [dns, dhcp]}
        forward: [{from: internal, to: public}]
    - bridge: {name: br9, addresses: [10.19.0.1/24], mtu: 1450}
    - vxlan: {name: vxlan9, id: 9, local: 10.77.1.21, remotes: [10.77.1.99], bridge: br9}
    - seboolean: {name: httpd_can_network_connect, state: true, persistent: true}
"#;

const EL: &str = "    - dnf: {name: [bind, bind-utils, dhcp-server], state: present}\n";
const DEBIAN: &str = "    - apt: {name: [bind9, bind9-dnsutils, isc-dhcp-server], state: present}\n";

/// Makes another name each time, on purpose.
const NEVER_SETTLES: &str = "tempfile";

fn tasks(packages: &str) -> String {
    let (before, after) = ANYWHERE.split_once("    - nginx:").unwrap();
    format!("{before}{packages}    - nginx:{after}")
}

/// How a step ends and what it changes. A file that a package brings on the way is a new one to the plan and an edited one
/// to the run, and a service that it brings may have failed rather than stopped; what comes of them is the same.
fn outline(step: &Value) -> (&Value, Vec<Value>) {
    let changes = step["diff"].as_array().unwrap().iter();
    let content = changes.map(|change| match change["type"].as_str() {
        Some("text") => Value::from(vec![change["path"].clone(), change["after_sha256"].clone()]),
        Some("field") => Value::from(vec![
            change["of"].clone(),
            change["name"].clone(),
            change["after"].clone(),
        ]),
        _ => change.clone(),
    });
    (&step["status"], content.collect())
}

fn hold(flavour: Flavour, packages: &str) {
    for transport in ["agent", "ssh"] {
        let lab = Lab::up();
        let host = lab.host("laws", "10.77.1.21", flavour);
        lab.site("inner", "-");
        host.nic("eth1", "inner", "10.9.0.1/24");
        host.put(
            "/usr/local/bin/openshift-install",
            &std::fs::read(super::installer::PROGRAM).unwrap(),
        );
        host.sh("chmod 755 /usr/local/bin/openshift-install; systemctl start systemd-networkd");
        host.sh("mkdir -p /usr/share/zoneinfo/Europe; touch /usr/share/zoneinfo/Europe/Berlin");
        let play = Play::tasks(&lab, &tasks(packages));
        play.put("list.j2", "{% for n in range(3) %}\nline {{ n }}\n{% endfor %}\n");
        let check = play.run(&["--check", "--transport", transport]).ended(0);
        assert!(!host.has("/srv/laws"), "the check touched the host");
        let run = play.apply(&["--transport", transport]);
        for planned in check.results("plan").filter(|step| step["status"] != "unknown") {
            match run.results("apply").find(|step| step["path"] == planned["path"]) {
                Some(applied) => assert_eq!(
                    outline(planned),
                    outline(applied),
                    "by {transport}: {planned}\n{applied}"
                ),
                None => assert_eq!(
                    outline(planned).1,
                    Vec::<Value>::new(),
                    "by {transport}: {planned}\n{run}"
                ),
            }
        }
        play.converged(&["--transport", transport]);
    }
}

#[test]
fn the_laws_hold_on_el() {
    hold(Flavour::El, EL);
}

#[test]
fn the_laws_hold_on_debian() {
    hold(Flavour::Debian, DEBIAN);
}

#[test]
fn no_kind_is_left_out() {
    let tasks = [tasks(EL), tasks(DEBIAN)].concat();
    for info in KINDS.iter().filter(|info| info.names[0] != NEVER_SETTLES) {
        let task = format!("    - {}:", info.names[0]);
        assert!(tasks.contains(&task), "{} is tried on no machine", info.names[0]);
    }
}
