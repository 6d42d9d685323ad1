//! A real sshd on loopback for one test: its own keys, configuration and port, gone with the value.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use okd_play::link::limits::Limits;
use okd_play::link::ssh::Connector;
use okd_play::link::ssh_config::Environment;
use okd_play::link::target::{SshOptions, Target};

const SSHD: &str = "/usr/sbin/sshd";
const HINT: &str = "these tests need OpenSSH's server and client: `apt-get install openssh-server openssh-client`";

const KINDS: [&str; 3] = ["ed25519", "ecdsa", "rsa"];
/// Making an RSA key takes a second, so all servers show the same ones.
static HOST_KEYS: LazyLock<tempfile::TempDir> = LazyLock::new(|| {
    let dir = tempfile::tempdir().expect("a temporary folder");
    for kind in KINDS {
        let bits = if kind == "rsa" { "2048" } else { "256" };
        keygen(
            &["-t", kind, "-b", bits, "-f"],
            &dir.path().join(format!("host_{kind}")),
        );
    }
    dir
});

pub struct Sshd {
    pub port: u16,
    pub dir: tempfile::TempDir,
    child: Child,
}

impl Sshd {
    pub fn start() -> Sshd {
        Sshd::with("")
    }

    /// `extra` goes to the end of sshd_config; `DIR` in it is the folder of this server.
    pub fn with(extra: &str) -> Sshd {
        assert!(Path::new(SSHD).exists(), "{SSHD} is missing; {HINT}");
        let dir = tempfile::tempdir().expect("a temporary folder");
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir_all(at("home/.ssh")).expect("a home");
        for kind in KINDS {
            for end in ["", ".pub"] {
                let file = format!("host_{kind}{end}");
                std::fs::copy(HOST_KEYS.path().join(&file), at(&file)).expect("a host key");
            }
        }
        keygen(&["-t", "ed25519", "-f"], &at("id_ed25519"));
        std::fs::copy(at("id_ed25519.pub"), at("authorized_keys")).expect("authorized keys");
        let config = format!(
            "ListenAddress 127.0.0.1\nPidFile none\nAuthorizedKeysFile DIR/authorized_keys\nStrictModes no\n\
             UsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\nMaxStartups 100\n\
             UseDNS no\nLogLevel VERBOSE\nHostKey DIR/host_ed25519\nHostKey DIR/host_ecdsa\nHostKey DIR/host_rsa\n{extra}\n"
        );
        let config = config.replace("DIR", &dir.path().to_string_lossy());
        std::fs::write(at("sshd_config"), config).expect("a configuration");
        // sshd as root wants its privilege separation folder, which the system's unit otherwise makes.
        let _ = std::fs::create_dir_all("/run/sshd");
        // Whoever else asks for a port may get the one that was free a moment ago; then another one will do.
        for _ in 0..20 {
            let port = free_port();
            if let Some(child) = listening(dir.path(), port) {
                return Sshd { port, dir, child };
            }
        }
        panic!("sshd finds no free port");
    }

    /// The same server again, so that it reads its files anew.
    pub fn restart(mut self) -> Sshd {
        self.kill();
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            if let Some(child) = listening(self.dir.path(), self.port) {
                self.child = child;
                return self;
            }
            assert!(Instant::now() < deadline, "port {} stays in use", self.port);
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    pub fn log(&self) -> String {
        self.read("log")
    }

    /// Lets a public key in.
    pub fn authorize(&self, public: &Path) {
        let key = std::fs::read_to_string(public).expect("a public key");
        let all = self.read("authorized_keys") + &key;
        std::fs::write(self.path("authorized_keys"), all).expect("authorized keys");
    }

    /// The name of this server in known_hosts.
    pub fn name(&self) -> String {
        format!("[127.0.0.1]:{}", self.port)
    }

    /// Writes a known_hosts file of this server's folder; `NAME` is the server's name, `{ed25519}` and so on its keys.
    pub fn known_hosts(&self, file: &str, text: &str) -> PathBuf {
        let mut text = text.replace("NAME", &self.name());
        for kind in KINDS {
            let public = self.read(&format!("host_{kind}.pub"));
            let key: Vec<&str> = public.split_whitespace().take(2).collect();
            text = text.replace(&format!("{{{kind}}}"), &key.join(" "));
        }
        std::fs::write(self.path(file), text).expect("known hosts");
        self.path(file)
    }

    /// A target with the server's key known and the right private key.
    pub fn target(&self) -> Target {
        let known = self.known_hosts("known_hosts", "NAME {ed25519}\n");
        let mut target = self.target_with(&format!("-o UserKnownHostsFile={}", known.display()));
        target.identity_files.push(self.path("id_ed25519"));
        target
    }

    pub fn target_with(&self, args: &str) -> Target {
        Target {
            name: "web1".to_owned(),
            host: "127.0.0.1".to_owned(),
            port: Some(self.port),
            user: None,
            identity_files: Vec::new(),
            options: SshOptions::parse(args).expect("options"),
        }
    }

    /// An account whose home is in this server's folder.
    pub fn environment(&self) -> Environment {
        Environment {
            home: self.path("home"),
            agent: None,
            system_config: self.path("no-such-config"),
            ..Environment::from_process()
        }
    }

    pub fn connector(&self) -> Connector {
        Connector::new(Limits::default(), self.environment(), None)
    }

    pub fn connector_with(&self, prompt: Arc<dyn okd_play::link::keys::Prompt>) -> Connector {
        Connector::new(Limits::default(), self.environment(), Some(prompt))
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A server that says itself that it listens: a connection alone could have reached somebody else on that port. `None`
/// where the port is in use.
fn listening(dir: &Path, port: u16) -> Option<Child> {
    let mut child = spawn(dir, port);
    let said = || std::fs::read_to_string(dir.join("log")).unwrap_or_default();
    let deadline = Instant::now() + Duration::from_secs(30);
    while !said().contains(&format!("Server listening on 127.0.0.1 port {port}.")) {
        if child.try_wait().expect("a child").is_some() {
            let log = said();
            assert!(log.contains("Address already in use"), "sshd did not start: {log}");
            return None;
        }
        assert!(Instant::now() < deadline, "sshd does not listen: {}", said());
        std::thread::sleep(Duration::from_millis(5));
    }
    Some(child)
}

fn spawn(dir: &Path, port: u16) -> Child {
    let log = std::fs::File::create(dir.join("log")).expect("a log");
    let mut command = Command::new(SSHD);
    command
        .args(["-D", "-e", "-p", &port.to_string(), "-f"])
        .arg(dir.join("sshd_config"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log);
    command.spawn().expect(HINT)
}

/// `ssh-keygen -q -N '' ARGS FILE`, over a file that may be there.
pub fn keygen(args: &[&str], file: &Path) {
    let _ = std::fs::remove_file(file);
    let mut command = Command::new("ssh-keygen");
    command.arg("-q");
    if !args.contains(&"-N") {
        command.args(["-N", ""]);
    }
    let status = command.args(args).arg(file).stdin(Stdio::null()).status().expect(HINT);
    assert!(status.success(), "ssh-keygen {args:?}");
}

pub fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    listener.local_addr().expect("an address").port()
}

/// Signs a public key; the certificate lies beside it.
pub fn certify(authority: &Path, flags: &[&str], public: &Path) {
    let mut command = Command::new("ssh-keygen");
    command
        .args(["-q", "-I", "test", "-s"])
        .arg(authority)
        .args(flags)
        .arg(public);
    assert!(command.status().expect(HINT).success(), "ssh-keygen -s {flags:?}");
}
