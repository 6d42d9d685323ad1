//! A real sshd on loopback for one test: its own keys, configuration and port, gone with the value.

use std::net::{TcpListener, TcpStream};
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
        let port = free_port();
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nPidFile none\nAuthorizedKeysFile DIR/authorized_keys\nStrictModes no\n\
             UsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\nMaxStartups 100\n\
             UseDNS no\nLogLevel VERBOSE\nHostKey DIR/host_ed25519\nHostKey DIR/host_ecdsa\nHostKey DIR/host_rsa\n{extra}\n"
        );
        let config = config.replace("DIR", &dir.path().to_string_lossy());
        std::fs::write(at("sshd_config"), config).expect("a configuration");
        // sshd as root wants its privilege separation folder, which the system's unit otherwise makes.
        let _ = std::fs::create_dir_all("/run/sshd");
        let mut sshd = Sshd {
            port,
            child: spawn(dir.path()),
            dir,
        };
        sshd.wait_until_ready();
        sshd
    }

    /// The same server again, so that it reads its files anew.
    pub fn restart(mut self) -> Sshd {
        self.kill();
        self.child = spawn(self.dir.path());
        self.wait_until_ready();
        self
    }

    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    fn wait_until_ready(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let ended = self.child.try_wait().expect("a child");
            assert!(
                ended.is_none() && Instant::now() < deadline,
                "sshd did not start: {}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
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

fn spawn(dir: &Path) -> Child {
    let log = std::fs::File::create(dir.join("log")).expect("a log");
    let mut command = Command::new(SSHD);
    command
        .args(["-D", "-e", "-f"])
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
