//! The example's site on this machine: a stand-in of Proxmox VE, a services host that is still to come, and the plan of the whole
//! bring-up, in which every file, machine and port can be read. Stages that need no more than a folder are run in one.

use okd_tests::pve::{StandIn, TOKEN};
use serde_json::Value;
use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

pub(crate) const SERVICES: &str = "services.okd.example.org";
/// What a run needs to know that the example leaves to a vault and to `-e`.
const GIVEN: &str = "services_image_sha256: SUM
coreos_live_url: https://images.invalid/live.iso
coreos_live_sha256: SUM
client_sha256: SUM
installer_sha256: SUM
okd_ssh_key: ssh-ed25519 AAAA somebody
okd_pull_secret: '{\"auths\":{\"fake\":{\"auth\":\"aWQ6cGFzcwo=\"}}}'
";

/// The project's folder.
pub(crate) fn root() -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .canonicalize()
        .unwrap()
}

/// The example's inventory in a folder of its own, with what is said beside it.
pub(crate) struct Site {
    folder: TempDir,
    server: StandIn,
    words: Vec<String>,
}

impl Site {
    pub(crate) fn new() -> Site {
        let site = Site {
            folder: tempfile::tempdir().unwrap(),
            server: StandIn::start(),
            words: Vec::new(),
        };
        let example = root().join("inventory/example");
        for file in ["hosts.yaml", "group_vars/all.yaml"] {
            site.put(
                &format!("example/{file}"),
                std::fs::read_to_string(example.join(file)).unwrap(),
            );
        }
        // Nobody listens on port 1: to a plan the host is not there yet.
        site.put(
            "hosts.yaml",
            format!(
                "all: {{children: {{services: {{hosts: {{{SERVICES}: {{ansible_host: 127.0.0.1, ansible_port: 1, okd_expected: el9}}}}}}}}}}\n"
            ),
        );
        let (user, id, secret) = TOKEN;
        let mut given = GIVEN.replace("SUM", &"5".repeat(64));
        let _ = writeln!(
            given,
            "proxmox: {{api_host: 127.0.0.1, api_port: {}, api_user: {user}, api_token_id: {id}, api_token_secret: {secret}, fingerprint: {}}}",
            site.server.address.port(),
            site.server.fingerprint
        );
        site.put("given.yaml", &given);
        site
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn put(&self, path: &str, bytes: impl AsRef<[u8]>) {
        let path = self.folder().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    /// Says something else in the description; what it replaces has to be there.
    pub(crate) fn describe(self, old: &str, new: &str) -> Site {
        let path = self.folder().join("example/group_vars/all.yaml");
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(old), "inventory/example does not say {old}");
        std::fs::write(path, text.replace(old, new)).unwrap();
        self
    }

    /// Sets a variable on the command line, in YAML.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Site {
        self.words.extend(["-e".to_owned(), format!("{{{name}: {value}}}")]);
        self
    }

    /// Runs a playbook of the project, or of the folder.
    pub(crate) fn run(&self, playbook: &str, words: &[&str]) -> Said {
        let own = self.folder().join(playbook);
        let playbook = if own.exists() {
            own
        } else {
            root().join("playbooks").join(playbook)
        };
        let output = Command::new(okd_tests::play::program())
            .arg("run")
            .arg(playbook)
            .args([
                "-i",
                "example",
                "-i",
                "hosts.yaml",
                "-e",
                "@given.yaml",
                "--output",
                "json",
            ])
            .args(&self.words)
            .args(words)
            .current_dir(self.folder())
            .env("HOME", self.folder())
            .env_remove("SSH_AUTH_SOCK")
            .output()
            .unwrap();
        let out = String::from_utf8(output.stdout).unwrap();
        Said {
            code: output.status.code(),
            events: out.lines().map(|line| serde_json::from_str(line).unwrap()).collect(),
            text: format!("{out}{}", String::from_utf8_lossy(&output.stderr)),
        }
    }

    /// What the whole bring-up would do, from nothing.
    pub(crate) fn plan(&self) -> Said {
        self.run("site.yaml", &["--check"]).ended(0)
    }

    /// A plan that knows the Ignition files' sums and has the live image, and so all of the boot media.
    pub(crate) fn plan_with_media(self) -> Said {
        let path = self.folder().join(".okd-play/okd.example.org/live.iso");
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        okd_tests::live_iso::LiveIso::default().write(&path);
        let sum = sha256(&std::fs::read(&path).unwrap());
        self.with("coreos_live_sha256", &sum)
            .with("ignition_sum", &"5".repeat(128))
            .plan()
    }
}

/// What a run said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    events: Vec<Value>,
    pub(crate) text: String,
}

impl Said {
    pub(crate) fn ended(self, code: i32) -> Said {
        assert_eq!(self.code, Some(code), "{}", self.brief());
        self
    }

    pub(crate) fn says(self, words: &str) -> Said {
        assert!(self.text.contains(words), "not said: {words}\n{}", self.brief());
        self
    }

    pub(crate) fn steps(&self) -> impl Iterator<Item = &Value> {
        self.events.iter().filter(|event| event["event"] == "result")
    }

    /// How each step ended, for whoever reads why a test failed.
    pub(crate) fn brief(&self) -> String {
        let line = |step: &Value| {
            let words = ["status", "play", "task", "item", "msg"].map(|key| word(&step[key]).to_owned());
            format!("{}\n", words.join(" | "))
        };
        let words = self
            .text
            .lines()
            .filter(|line| !line.starts_with('{'))
            .collect::<Vec<_>>();
        format!("{}{}", self.steps().map(line).collect::<String>(), words.join("\n"))
    }

    /// The steps of a module that would do something or have it as it should be; what is skipped is none.
    pub(crate) fn of(&self, module: &str) -> Vec<&Value> {
        let mine = |step: &&Value| step["module"] == module && step["status"] != "skipped";
        self.steps().filter(mine).collect()
    }

    /// The one step of a name, with an item or without.
    pub(crate) fn step(&self, task: &str) -> &Value {
        let found: Vec<&Value> = self.steps().filter(|step| step["task"] == task).collect();
        let [step] = found[..] else {
            panic!("{} steps `{task}`\n{}", found.len(), self.brief())
        };
        step
    }

    /// Which step of a name comes first, counted from the beginning.
    pub(crate) fn place(&self, play: &str, task: &str) -> usize {
        let mine = |step: &Value| step["play"] == play && step["task"] == task && step["status"] != "skipped";
        self.steps()
            .position(mine)
            .unwrap_or_else(|| panic!("no step `{task}` of `{play}`\n{}", self.brief()))
    }

    /// Every change, with the play that makes it.
    pub(crate) fn changes(&self) -> impl Iterator<Item = (&Value, &Value)> {
        self.steps().flat_map(|step| {
            step["diff"]
                .as_array()
                .into_iter()
                .flatten()
                .map(move |change| (step, change))
        })
    }

    /// The files that come to be, by path.
    pub(crate) fn files(&self) -> Vec<(&str, String)> {
        let new = self.changes().filter(|(_, change)| change["kind"] == "new");
        new.map(|(_, change)| (word(&change["path"]), added(change))).collect()
    }

    /// A file that comes to be.
    pub(crate) fn file(&self, path: &str) -> String {
        let found = self.files().into_iter().find(|(known, _)| *known == path);
        found
            .unwrap_or_else(|| panic!("{path} does not come to be\n{}", self.brief()))
            .1
    }

    /// A property that changes to this.
    pub(crate) fn field(&self, of: &str, name: &str) -> &str {
        let mut all = self
            .changes()
            .filter(|(_, change)| change["of"] == of && change["name"] == name);
        let (_, change) = all
            .next()
            .unwrap_or_else(|| panic!("no {name} of {of}\n{}", self.brief()));
        word(&change["after"])
    }

    /// What a zone of the firewall lets in from then on, as `port 53/tcp` or `service dns`.
    pub(crate) fn opened(&self, zone: &str) -> Vec<String> {
        let file = self.file(&format!("/etc/firewalld/zones/{zone}.xml"));
        let told = |line: &str| {
            let words: Vec<&str> = line.trim().split('"').collect();
            match (words.first().copied()?, words.get(1), words.get(3)) {
                ("<port port=", Some(port), Some(protocol)) => Some(format!("port {port}/{protocol}")),
                ("<port protocol=", Some(protocol), Some(port)) => Some(format!("port {port}/{protocol}")),
                ("<service name=", Some(name), _) => Some(format!("service {name}")),
                ("<interface name=", Some(name), _) => Some(format!("interface {name}")),
                _ => None,
            }
        };
        let mut all: Vec<String> = file.lines().filter_map(told).collect();
        all.sort();
        all
    }
}

/// The lines that a change adds.
fn added(change: &Value) -> String {
    let lines = word(&change["unified"])
        .lines()
        .filter_map(|line| line.strip_prefix('+'));
    lines.map(|line| format!("{line}\n")).collect()
}

pub(crate) fn word(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The values of a directive in a file: what follows the word, without the semicolon.
pub(crate) fn values<'t>(text: &'t str, directive: &str) -> Vec<&'t str> {
    let lines = text.lines().filter_map(|line| line.trim().strip_prefix(directive));
    lines
        .filter(|rest| rest.starts_with([' ', '\t']))
        .map(|rest| rest.trim().trim_end_matches(';'))
        .collect()
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    Sha256::digest(bytes).iter().fold(String::new(), |mut all, byte| {
        let _ = write!(all, "{byte:02x}");
        all
    })
}

/// The stage `install.yaml`, run for real in a folder: programs from a server of this machine, files published for another one.
pub(crate) struct Publication {
    pub(crate) site: Site,
    files: Files,
}

impl Publication {
    /// With this as the installer.
    pub(crate) fn of(installer: &[u8]) -> Publication {
        let site = Site::new().describe("4.22.0-okd-scos.0", "4.19.0-okd-scos.1");
        let files = Arc::new(Mutex::new(vec![("/installer.tar.gz".to_owned(), archive(installer))]));
        let downloads = serve(Folder::Memory(Arc::clone(&files)));
        let web = site.folder().join("www");
        std::fs::create_dir(&web).unwrap();
        let port = serve(Folder::Disk(web.clone()));
        site.put(
            "hosts.yaml",
            format!("all: {{children: {{services: {{hosts: {{{SERVICES}: {{ansible_connection: local}}}}}}}}}}\n"),
        );
        let sum = sha256(&files.lock().unwrap()[0].1);
        let tools = format!(
            "[{{program: openshift-install, url: 'http://127.0.0.1:{downloads}/installer.tar.gz', checksum: 'sha256:{sum}'}}]"
        );
        let state = site.folder().join("state").display().to_string();
        let site = site
            .with("release_tools", &tools)
            .with("state_dir", &state)
            .with("web_root", web.to_str().unwrap())
            .with("web_port", &port.to_string())
            .with("coreos_live_sha256", LIVE);
        Publication { site, files }
    }

    /// With the stand-in as the installer, of a release whose live image has the sum [`LIVE`].
    pub(crate) fn new() -> Publication {
        Publication::of(&installer())
    }

    /// With something else said of the site.
    pub(crate) fn on(self, say: impl FnOnce(Site) -> Site) -> Publication {
        Publication {
            site: say(self.site),
            files: self.files,
        }
    }

    pub(crate) fn run(&self) -> Said {
        self.site.run("install.yaml", &["--yes"])
    }

    /// Has another archive downloaded than the one whose sum is known.
    pub(crate) fn damage(&self) {
        self.files.lock().unwrap()[0].1.push(0);
    }

    /// The files below a folder, by their names from there.
    pub(crate) fn files(&self, folder: &str) -> Vec<String> {
        let folder = self.site.folder().join(folder);
        let output = Command::new("find")
            .args([
                folder.as_os_str(),
                "-type".as_ref(),
                "f".as_ref(),
                "-printf".as_ref(),
                "%P\\n".as_ref(),
            ])
            .output()
            .unwrap();
        let mut all: Vec<String> = String::from_utf8(output.stdout)
            .unwrap()
            .lines()
            .map(str::to_owned)
            .collect();
        all.sort();
        all
    }

    pub(crate) fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.site.folder().join(path)).unwrap()
    }
}

/// The sum of the live image that belongs to the stand-in's release.
pub(crate) const LIVE: &str = "1111111111111111111111111111111111111111111111111111111111111111";

/// The stand-in of the installer, with the live image of its release.
pub(crate) fn installer() -> Vec<u8> {
    let mut program = std::fs::read(env!("CARGO_BIN_EXE_openshift-install-stand-in")).unwrap();
    program.extend(format!("\nlive: https://images.invalid/live.iso {LIVE}\n").bytes());
    program
}

fn archive(installer: &[u8]) -> Vec<u8> {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("openshift-install");
    std::fs::write(&program, installer).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut tar = Command::new("tar");
    let output = tar
        .arg("-C")
        .arg(folder.path())
        .args(["-czf", "-", "openshift-install"])
        .output()
        .unwrap();
    assert!(output.status.success());
    output.stdout
}

/// Paths with their bytes, as they are now.
type Files = Arc<Mutex<Vec<(String, Vec<u8>)>>>;

/// What a server gives.
enum Folder {
    Memory(Files),
    Disk(PathBuf),
}

impl Folder {
    fn get(&self, path: &str) -> Option<Vec<u8>> {
        match self {
            Folder::Memory(files) => {
                let files = files.lock().unwrap();
                files
                    .iter()
                    .find(|(name, _)| name == path)
                    .map(|(_, bytes)| bytes.clone())
            }
            Folder::Disk(folder) => std::fs::read(folder.join(path.trim_start_matches('/'))).ok(),
        }
    }
}

/// Serves on a port of loopback, until the test ends.
fn serve(folder: Folder) -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut head = [0; 4096];
            let count = stream.read(&mut head).unwrap_or(0);
            let head = String::from_utf8_lossy(&head[..count]).into_owned();
            let path = head.split(' ').nth(1).unwrap_or_default();
            let (status, body) = match folder.get(path) {
                Some(body) => ("200 OK", body),
                None => ("404 Not Found", Vec::new()),
            };
            let _ = write!(stream, "HTTP/1.0 {status}\r\nContent-Length: {}\r\n\r\n", body.len());
            let _ = stream.write_all(&body);
        }
    });
    port
}
