//! Ignition files by `openshift-install` (its stand-in) on a services host: made once, made anew when they have to be, kept when the
//! cluster is there, and published without what nobody may have.

use okd_tests::installer::{Serving, file_of};
use okd_tests::live_iso::LiveIso;
use okd_tests::{Flavour, Host, Lab, Play, Run, until};

/// What stands in for the installer.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_openshift-install-stand-in");

/// `okd:p0is0n` in base64.
const POISON: &str = "b2tkOnAwaXMwbg==";

const PLAY: &str = r#"- hosts: all
  gather_facts: false
  vars: {role_files: [bootstrap, master, worker]}
  tasks:
    - name: Ignition
      openshift_install:
        directory: /root/okd
        version: 4.19.0-okd-scos.1
        install_config:
          baseDomain: example.org
          metadata: {name: okd}
          platform: {none: {}}
          compute: [{name: worker, replicas: 0}]
          controlPlane: {name: master, replicas: 3}
          networking:
            networkType: OVNKubernetes
            machineNetwork: [{cidr: 10.0.0.0/24}]
        pull_secret: {auths: {fake: {auth: "%PULL"}}}
        ssh_key: "%KEY"
        masters_schedulable: false
        manifests:
          cluster-network-03-config.yml:
            apiVersion: operator.openshift.io/v1
            kind: Network
            metadata: {name: cluster}
            spec: {defaultNetwork: {type: OVNKubernetes, ovnKubernetesConfig: {mtu: 1350}}}
        margin: "%MARGIN"
        installed: /root/okd/installed
      environment: {OKD_STAND_IN_LIFE: "%LIFE", OKD_STAND_IN_SLOW: "%SLOW"}
      register: install
    - name: Web server
      package: {name: nginx}
    - name: Folder of the node network
      file: {path: /srv/okd4, state: directory, mode: "0755"}
    - name: Publish
      copy:
        src: "{{ install.ignition[item].path }}"
        dest: /srv/okd4/{{ item }}.ign
        remote_src: true
        checksum: "{{ install.ignition[item].sha256 }}"
        mode: "0644"
      loop: "{{ role_files }}"
    - name: Serve
      nginx:
        sites: [{name: okd4, listen: 8080, root: /srv/okd4}]
    - name: Medium
      coreos_iso:
        src: "{{ playbook_dir }}/live.iso"
        dest: "{{ playbook_dir }}/master.iso"
        dest_device: /dev/sda
        ignition_url: http://10.0.0.1:8080/master.ign
        ignition_hash: sha512-{{ install.ignition.master.sha512 }}
"#;

/// What differs between the runs.
#[derive(Clone, Copy)]
struct With<'a> {
    key: &'a str,
    margin: u64,
    life: u64,
    slow: u64,
}

const FIRST: With<'static> = With {
    key: "ssh-ed25519 AAAA first",
    margin: 43_200,
    life: 86_400,
    slow: 0,
};

struct Site<'lab> {
    host: Host<'lab>,
    play: Play<'lab>,
}

impl<'lab> Site<'lab> {
    fn new(lab: &'lab Lab) -> Site<'lab> {
        let host = lab.host("services", "10.77.1.21", Flavour::El);
        let site = Site {
            play: Play::new(lab, PLAY),
            host,
        };
        site.with(FIRST);
        LiveIso::default().write(&site.play.folder().join("live.iso"));
        site
    }

    fn with(&self, with: With<'_>) {
        let text = PLAY
            .replace("%PULL", POISON)
            .replace("%KEY", with.key)
            .replace("%MARGIN", &with.margin.to_string());
        let text = text
            .replace("%LIFE", &with.life.to_string())
            .replace("%SLOW", &with.slow.to_string());
        self.play.put("play.yaml", &text);
    }

    fn install(&self) {
        self.host
            .put("/usr/local/bin/openshift-install", &std::fs::read(PROGRAM).unwrap());
        self.host.sh("chmod 755 /usr/local/bin/openshift-install");
    }

    /// Applies once with these, once more without a change, and gives the first run and the number of the generation.
    fn settled(&self, with: With<'_>) -> (Run, String) {
        self.with(with);
        let run = self.play.apply(&[]);
        silent(&run);
        silent(&self.play.converged(&[]));
        (run, self.current())
    }

    fn current(&self) -> String {
        self.host.sh("readlink /root/okd/current").trim().to_owned()
    }

    fn asked(&self, path: &str) -> String {
        self.host.sh(&format!(
            "curl -s -o /dev/null -w '%{{http_code}}' http://127.0.0.1:8080/{path}"
        ))
    }
}

/// Nothing of the pull secret is in what a run says, or of the administrator's password.
fn silent(run: &Run) {
    let words = run.words();
    for word in [POISON, "b2tkOnAw", "p0is0n", "client-key-data"] {
        assert!(!words.contains(word), "{word}: {run}");
    }
}

#[test]
fn ignition_files_are_made_once_and_published_without_their_secrets() {
    let lab = Lab::up();
    let site = Site::new(&lab);
    let plan = site.play.run(&["--check", "--exit-code"]).ended(10);
    silent(&plan);
    assert_eq!(plan.status("plan", "services", "Ignition"), "changed", "{plan}");
    for task in ["Publish", "Medium"] {
        assert_eq!(plan.status("plan", "services", task), "unknown", "{plan}");
    }
    let shown = site.play.run(&["--check", "--output", "text"]).ended(0);
    silent(&shown);
    shown.says("`openshift-install` is not there yet");
    for words in ["pullSecret: ‹hidden›", "mastersSchedulable", "mtu: 1350"] {
        plan.says(words);
        shown.says(words);
    }
    assert!(!site.host.has("/root/okd"), "the plan touched the host");
    site.install();
    let (run, generation) = site.settled(FIRST);
    assert_eq!(
        (generation.as_str(), run.status("apply", "services", "Ignition")),
        ("1", "changed"),
        "{run}"
    );
    made(&site);
    published(&site);
    pinned(&site);
    site.play.converged(&["--transport", "ssh"]);
    site.host.sh("test \"$(ls -d /root/okd/[0-9]*)\" = /root/okd/1");
}

/// The edits are in what the bootstrap machine gets, and so is the pull secret.
fn made(site: &Site<'_>) {
    let ignition = site.host.read("/root/okd/current/bootstrap.ign");
    let file = |path: &str| file_of(&ignition, path).unwrap_or_else(|| panic!("no {path}"));
    assert!(file("/opt/openshift/manifests/cluster-scheduler-02-config.yml").contains("mastersSchedulable: false"));
    assert!(file("/opt/openshift/manifests/cluster-network-03-config.yml").contains("mtu: 1350"));
    assert!(file("/root/.docker/config.json").contains(POISON));
    let serving = Serving::from_ignition(&ignition);
    assert!(serving.certificate.starts_with("-----BEGIN CERTIFICATE-----") && serving.key.contains("PRIVATE KEY"));
    let modes = site
        .host
        .sh("stat -c %a /root/okd /root/okd/1 /root/okd/1/okd-play.inputs");
    assert_eq!(modes.split_whitespace().collect::<Vec<_>>(), ["700", "700", "600"]);
    assert!(!site.host.has("/root/okd/1/install-config.yaml"), "it is consumed");
}

/// The medium, made on the control node, points to the file that was published and to no other.
fn pinned(site: &Site<'_>) {
    let image = std::fs::read(site.play.folder().join("master.iso")).unwrap();
    let area = &image[LiveIso::default().bytes().1.ignition..];
    let start = area.iter().position(|byte| *byte == b'{').unwrap();
    let end = area[start..].iter().position(|byte| *byte == 0).unwrap();
    let config = std::str::from_utf8(&area[start..start + end]).unwrap();
    let pointer = file_of(config, "/etc/coreos/dest.ign").unwrap();
    let sum = site.host.sh("sha512sum < /srv/okd4/master.ign");
    let sum = sum.split(' ').next().unwrap();
    assert!(
        pointer.contains("http://10.0.0.1:8080/master.ign") && pointer.contains(&format!("sha512-{sum}")),
        "{pointer}"
    );
}

fn published(site: &Site<'_>) {
    let files = site.host.sh("find /srv/okd4 -type f -printf '%m %p\\n' | sort");
    let expected = ["bootstrap", "master", "worker"]
        .map(|role| format!("644 /srv/okd4/{role}.ign\n"))
        .concat();
    assert_eq!(files, expected);
    for role in ["bootstrap", "master", "worker"] {
        let served = site
            .host
            .sh(&format!("curl -sf http://127.0.0.1:8080/{role}.ign | sha256sum"));
        let own = site.host.sha256(&format!("/root/okd/current/{role}.ign")).unwrap();
        assert_eq!(served.split(' ').next(), Some(own.as_str()), "{role}");
    }
    for path in [
        "auth/kubeconfig",
        "auth/kubeadmin-password",
        "auth/",
        "metadata.json",
        ".openshift_install_state.json",
        "okd-play.inputs",
    ] {
        assert_eq!(site.asked(path), "404", "{path}");
    }
}

#[test]
fn they_are_made_anew_when_they_have_to_be_and_never_once_the_cluster_is_there() {
    let lab = Lab::up();
    let site = Site::new(&lab);
    site.install();
    assert_eq!(site.settled(FIRST).1, "1");
    let second = With {
        key: "ssh-ed25519 AAAA second",
        ..FIRST
    };
    let (run, generation) = site.settled(second);
    assert_eq!(generation, "2", "{run}");
    run.says("first");
    assert!(site.host.has("/root/okd/1/bootstrap.ign"), "what there was is kept");
    site.with(With {
        margin: 90_000,
        ..second
    });
    silent(&site.play.apply(&[]));
    assert_eq!(site.current(), "3");
    let short = With {
        key: "ssh-ed25519 AAAA short",
        life: 30,
        margin: 0,
        ..FIRST
    };
    assert_eq!(site.settled(short).1, "4");
    until("the certificates' end", 60, || {
        let pem = file_of(
            &site.host.read("/root/okd/current/bootstrap.ign"),
            "/opt/openshift/tls/kubelet-signer.crt",
        )?;
        site.host.put("/run/signer.crt", pem.as_bytes());
        (!site.host.holds("openssl x509 -noout -checkend 0 -in /run/signer.crt")).then_some(())
    });
    let (run, generation) = site.settled(With { life: 86_400, ..short });
    assert_eq!(generation, "5");
    run.says("the certificates are good until");
    site.host.sh("rm /root/okd/current/worker.ign");
    let plan = site.play.run(&["--check", "--exit-code"]).ended(10);
    plan.says("worker.ign is missing");
    site.host
        .sh("cp -p /srv/okd4/worker.ign /root/okd/current/worker.ign; touch /root/okd/installed");
    site.with(With {
        key: "ssh-ed25519 AAAA third",
        margin: 90_000,
        ..FIRST
    });
    site.play.converged(&[]);
    assert_eq!(site.current(), "5");
}

#[test]
fn what_goes_wrong_leaves_what_there_was() {
    let lab = Lab::up();
    let site = Site::new(&lab);
    site.install();
    assert_eq!(site.settled(FIRST).1, "1");
    site.with(With {
        key: "garbage",
        ..FIRST
    });
    let refused = site.play.run(&["--yes"]).ended(1);
    silent(&refused);
    refused.says("ended with status 3");
    refused.says("ssh: no key found");
    assert_eq!(site.current(), "1");
    let slow = With {
        key: "ssh-ed25519 AAAA slow",
        slow: 300,
        ..FIRST
    };
    site.with(slow);
    let running = site.play.start(&["--yes"]);
    let process = until("the installer", 60, || {
        let found = site
            .host
            .sh("grep -l '[i]gnition-configs' /proc/[0-9]*/cmdline 2>/dev/null || true");
        found.split('/').nth(2).map(str::to_owned)
    });
    site.host.sh(&format!("kill -9 {process}"));
    let cut = running.wait().ended(1);
    silent(&cut);
    cut.says("ended with status 137");
    assert_eq!(site.current(), "1");
    let (_, generation) = site.settled(With { slow: 0, ..slow });
    assert_eq!(generation, "4", "each try has a folder of its own");
    site.host
        .sh("printf '#!/bin/sh\\necho openshift-install 4.20.0-okd-scos.2\\n' > /usr/local/bin/openshift-install");
    site.with(With {
        key: "ssh-ed25519 AAAA last",
        ..FIRST
    });
    let other = site.play.run(&["--yes"]).ended(1);
    other.says("is of release 4.20.0-okd-scos.2, not 4.19.0-okd-scos.1; nothing was made");
    assert_eq!(site.current(), "4");
}
