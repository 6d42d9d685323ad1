//! The stand-in for `openshift-install`, against what the real ones were seen to do.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, missing_docs)]

use okd_tests::installer::{Serving, file_of};
use okd_tests::until;
use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_openshift-install-stand-in");
const AUTH: &str = "aWQ6cDBpczBu";
const IGNITION: [&str; 6] = [
    "bootstrap.ign",
    "master.ign",
    "worker.ign",
    "metadata.json",
    "auth/kubeconfig",
    "auth/kubeadmin-password",
];

fn config(more: &str) -> String {
    format!(
        "apiVersion: v1\nbaseDomain: example.org\nmetadata:\n  name: okd\nplatform:\n  none: {{}}\ncompute:\n- name: worker\n  replicas: 0\npullSecret: '{{\"auths\":{{\"fake\":{{\"auth\":\"{AUTH}\"}}}}}}'\n{more}"
    )
}

struct Folder {
    folder: TempDir,
    env: Vec<(&'static str, String)>,
}

impl Folder {
    fn new(config: &str) -> Folder {
        let folder = Folder {
            folder: tempfile::tempdir().unwrap(),
            env: Vec::new(),
        };
        folder.put("install-config.yaml", config);
        folder
    }

    fn with(mut self, name: &'static str, value: &str) -> Folder {
        self.env.push((name, value.to_owned()));
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn put(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    fn has(&self, name: &str) -> bool {
        self.path(name).exists()
    }

    fn command(&self, what: &str) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(["create", what, "--dir"]).arg(self.folder.path());
        command
            .envs(self.env.iter().map(|(name, value)| (*name, value)))
            .stdin(Stdio::null());
        command
    }

    /// Exit code and what was said.
    fn run(&self, what: &str) -> (i32, String) {
        let Output { status, stderr, .. } = self.command(what).output().unwrap();
        (status.code().unwrap(), String::from_utf8(stderr).unwrap())
    }

    fn good(&self, what: &str) -> String {
        let (code, said) = self.run(what);
        assert_eq!(code, 0, "{said}");
        assert!(said.contains("stand-in"), "{said}");
        said
    }

    fn signer(&self) -> String {
        file_of(&self.read("bootstrap.ign"), "/opt/openshift/tls/kubelet-signer.crt").unwrap()
    }
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[test]
fn manifests_and_ignition_files_come_and_go() {
    let folder = Folder::new(&config("sshKey: ssh-ed25519 AAAA ops\n"));
    let said = folder.good("manifests");
    assert!(said.contains("Making control-plane schedulable"), "{said}");
    assert!(!folder.has("install-config.yaml"), "it is consumed");
    assert_eq!(names(&folder.path("manifests")).len(), 14);
    assert_eq!(names(&folder.path("openshift")).len(), 7);
    assert!(folder.has("000_capi-namespace.yaml"));
    assert!(
        folder
            .read("manifests/cluster-scheduler-02-config.yml")
            .contains("  mastersSchedulable: true\n")
    );
    let mode = |name: &str| std::fs::metadata(folder.path(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(
        (mode("manifests"), mode("manifests/cvo-overrides.yaml")),
        (0o750, 0o640)
    );
    assert_eq!(mode(".openshift_install.log"), 0o644);
    folder.good("ignition-configs");
    for file in IGNITION {
        assert!(folder.has(file), "{file}");
    }
    assert!(!folder.has("manifests") && !folder.has("openshift"));
    let password = folder.read("auth/kubeadmin-password");
    assert_eq!((password.len(), password.matches('-').count()), (23, 3));
    assert!(
        folder
            .read("auth/kubeconfig")
            .contains("server: https://api.okd.example.org:6443")
    );
    let serving = Serving::of(folder.folder.path());
    assert!(serving.client_ca.starts_with("-----BEGIN CERTIFICATE-----"));
    assert_eq!(
        folder.read("master.ign").replace("master", "worker"),
        folder.read("worker.ign")
    );
    let plain = Folder::new(&config("")).with("OKD_STAND_IN_LIKE", "4.16");
    plain.good("manifests");
    assert_eq!(
        (
            names(&plain.path("manifests")).len(),
            names(&plain.path("openshift")).len()
        ),
        (12, 5)
    );
}

#[test]
fn the_server_of_the_kubeconfig_can_be_stood_in_for() {
    let folder = Folder::new(&config(""));
    folder.good("ignition-configs");
    let ignition = folder.read("bootstrap.ign");
    let file = |name: &str| file_of(&ignition, &format!("/opt/openshift/tls/{name}")).unwrap();
    for (name, authority) in [
        ("kube-apiserver-lb-server.crt", "kube-apiserver-lb-signer.crt"),
        ("admin-kubeconfig-client.crt", "admin-kubeconfig-signer.crt"),
        ("machine-config-server.crt", "root-ca.crt"),
    ] {
        folder.put("ca.pem", &file(authority));
        folder.put("one.pem", &file(name));
        let mut command = Command::new("openssl");
        command
            .arg("verify")
            .arg("-CAfile")
            .arg(folder.path("ca.pem"))
            .arg(folder.path("one.pem"));
        let output = command.output().unwrap();
        assert!(
            output.status.success(),
            "{name}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

#[test]
fn what_is_wrong_ends_with_the_codes_and_words_of_the_real_one() {
    for (text, code, words) in [
        (String::new(), 3, "apiVersion: Required value"),
        ("a: [".to_owned(), 3, "failed to unmarshal"),
        (config("sshkeys: x\n"), 0, "unknown field"),
        (config("sshKey: garbage\n"), 3, "ssh: no key found"),
        (config("").replace("example.org", "Example_org"), 3, "RFC 1123"),
        (
            config("controlPlane: {name: master, replicas: 0}\n"),
            3,
            "must be positive",
        ),
        (config("controlPlane: {name: master, replicas: 2}\n"), 3, "fencing"),
        (
            config("networking: {networkType: OpenShiftSDN}\n"),
            3,
            "please use OVNKubernetes",
        ),
        (
            config("networking: {machineNetwork: [{cidr: 10.0.0.0/24}], serviceNetwork: [10.0.0.0/16]}\n"),
            3,
            "must not overlap",
        ),
        (config("").replace("worker", "infra"), 3, "Unsupported value"),
        (config("").replace("\"auths\"", "\"auth\""), 3, AUTH),
        (config("").replace(AUTH, "no base64"), 0, "stand-in"),
    ] {
        let folder = Folder::new(&text);
        let (found, said) = folder.run("manifests");
        assert!(found == code && said.contains(words), "{code} {words}: {found} {said}");
        assert_eq!(folder.has("install-config.yaml"), code != 0, "{words}");
    }
    let older = Folder::new(&config("networking: {networkType: OpenShiftSDN}\n")).with("OKD_STAND_IN_LIKE", "4.16");
    older.good("manifests");
    let cluster = Folder::new(&config(""));
    assert_eq!(cluster.run("cluster").0, 1);
    assert!(!cluster.has("install-config.yaml"));
    let help = cluster.command("foo").output().unwrap();
    assert!(help.status.success() && String::from_utf8_lossy(&help.stdout).contains("Usage"));
}

#[test]
fn without_a_configuration_it_asks_and_waits() {
    let folder = Folder::new("");
    std::fs::remove_file(folder.path("install-config.yaml")).unwrap();
    let (code, said) = folder.run("ignition-configs");
    assert_eq!(code, 1);
    assert!(said.contains("EOF"), "{said}");
    let mut waits = folder
        .command("ignition-configs")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let input = waits.stdin.take().unwrap();
    let mut asked = [0; 1];
    std::io::Read::read_exact(waits.stdout.as_mut().unwrap(), &mut asked).unwrap();
    assert!(waits.try_wait().unwrap().is_none(), "it waits for an answer");
    drop(input);
    assert_eq!(waits.wait().unwrap().code(), Some(1));
}

#[test]
fn the_state_decides_what_is_made_anew() {
    let folder = Folder::new(&config(""));
    folder.good("manifests");
    let scheduler = folder.read("manifests/cluster-scheduler-02-config.yml");
    folder.put(
        "manifests/cluster-scheduler-02-config.yml",
        &scheduler.replace("true", "false"),
    );
    folder.put("manifests/extra.yaml", "kind: X\n");
    folder.put("manifests/notes.txt", "x\n");
    folder.good("manifests");
    assert!(
        folder
            .read("manifests/cluster-scheduler-02-config.yml")
            .contains("mastersSchedulable: false")
    );
    folder.good("ignition-configs");
    let first = folder.read("bootstrap.ign");
    let manifest = |text: &str, name: &str| file_of(text, &format!("/opt/openshift/manifests/{name}"));
    assert!(
        manifest(&first, "cluster-scheduler-02-config.yml")
            .unwrap()
            .contains("false")
    );
    assert_eq!(
        (manifest(&first, "extra.yaml").as_deref(), manifest(&first, "notes.txt")),
        (Some("kind: X\n"), None)
    );
    assert!(folder.has("manifests/notes.txt"), "what it does not read stays");
    folder.good("ignition-configs");
    assert_eq!(folder.read("bootstrap.ign"), first);
    std::fs::remove_file(folder.path("bootstrap.ign")).unwrap();
    folder.good("ignition-configs");
    assert_eq!(folder.read("bootstrap.ign"), first, "the certificates are not renewed");
    let master = folder.read("master.ign");
    folder.good("manifests");
    assert!(!folder.has("master.ign") && !folder.has("worker.ign") && folder.has("bootstrap.ign"));
    folder.put("manifests/broken.yaml", "a: [\n");
    let (code, said) = folder.run("ignition-configs");
    assert!(code == 1 && said.contains("could not unmarshal"), "{said}");
    assert_eq!(folder.read("master.ign"), master);
    std::fs::remove_file(folder.path("manifests/broken.yaml")).unwrap();
    folder.good("ignition-configs");
    let before = folder.read("metadata.json");
    folder.put("install-config.yaml", &config("fips: false\n"));
    assert!(folder.good("ignition-configs").contains("Discarding"));
    assert_ne!(folder.read("metadata.json"), before, "another cluster");
    folder.put(".openshift_install_state.json", "{");
    assert_eq!(folder.run("ignition-configs").0, 1);
}

#[test]
fn two_generations_take_expired_certificates_differently() {
    for (like, code) in [("4.16", 0), ("4.19", 1)] {
        let folder = Folder::new(&config(""))
            .with("OKD_STAND_IN_LIKE", like)
            .with("OKD_STAND_IN_LIFE", "1");
        folder.good("ignition-configs");
        let first = folder.signer();
        let said = until("the certificates' end", 30, || {
            let (found, said) = folder.run("ignition-configs");
            said.contains("expired").then_some((found, said))
        });
        assert_eq!(said.0, code, "{}", said.1);
        std::fs::remove_file(folder.path("bootstrap.ign")).unwrap();
        folder.good("ignition-configs");
        assert_eq!(folder.signer(), first, "the old ones come again without a word");
    }
}

#[test]
fn it_can_be_stopped_half_way() {
    let folder = Folder::new(&config("")).with("OKD_STAND_IN_SLOW", "300");
    let mut child = folder
        .command("ignition-configs")
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    until("its log", 30, || folder.has(".openshift_install.log").then_some(()));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(IGNITION.iter().all(|file| !folder.has(file)));
    assert!(folder.has("install-config.yaml"));
}

/// A pull secret that was given in plain text is as secret as any: refused without a word of it, and made use of without one.
#[test]
fn a_pull_secret_is_never_repeated() {
    let folder = Folder::new("");
    let play = |auth: &str| {
        let text = format!(
            "- hosts: localhost\n  connection: local\n  gather_facts: false\n  tasks:\n    - openshift_install:\n        directory: {}\n        installer: {PROGRAM}\n        install_config: {{baseDomain: example.org, metadata: {{name: okd}}, platform: {{none: {{}}}}}}\n        pull_secret: '{{\"auths\": {{\"fake\": {{\"auth\": \"{auth}\"}}}}}}'\n",
            folder.path("okd").display()
        );
        folder.put("play.yaml", &text);
        let mut command = Command::new(okd_tests::play::program());
        command
            .arg("run")
            .arg(folder.path("play.yaml"))
            .args(["-i", "localhost,", "--yes", "-vvv"]);
        let output = command.env("HOME", folder.folder.path()).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(said).unwrap())
    };
    for (auth, code, words) in [
        ("p0is0nbar", 1, "not `id:pass` in base64"),
        (AUTH, 0, "pullSecret: ‹hidden›"),
    ] {
        let (found, said) = play(auth);
        assert!(found == Some(code) && said.contains(words), "{said}");
        assert!(!said.contains("p0is0n") && !said.contains(AUTH), "{said}");
    }
    let ignition = folder.read("okd/current/bootstrap.ign");
    assert!(file_of(&ignition, "/root/.docker/config.json").unwrap().contains(AUTH));
}
