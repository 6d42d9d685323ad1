//! A lab of the test's own: hosts that boot in a second, gone when the test is over, however it ends.

use crate::host::Host;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What a host is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavour {
    /// Debian, with apt.
    Debian,
    /// Enterprise Linux, with dnf.
    El,
    /// Something small that asks others.
    Client,
}

impl Flavour {
    fn word(self) -> &'static str {
        match self {
            Flavour::Debian => "debian",
            Flavour::El => "el",
            Flavour::Client => "client",
        }
    }
}

/// A lab. Set `OKD_LAB_KEEP` to look at it by hand after a test.
#[derive(Debug)]
pub struct Lab {
    name: String,
    hosts: Mutex<Vec<(String, String)>>,
}

static COUNT: AtomicUsize = AtomicUsize::new(1);

impl Lab {
    /// A lab with one site, `a`, whose gateway is 10.77.1.1.
    #[must_use]
    pub fn up() -> Lab {
        let name = format!("e2e-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let lab = Lab {
            name,
            hosts: Mutex::default(),
        };
        lab.verb(&["up"]);
        lab.site("a", "10.77.1.1/24");
        lab
    }

    /// Its name, for what takes it from `OKD_LAB_NAME`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A further site; the gateway `-` makes one that nothing leads out of.
    pub fn site(&self, name: &str, gateway: &str) {
        self.verb(&["site", name, gateway]);
    }

    /// Boots a host on site `a`.
    pub fn host(&self, name: &str, address: &str, flavour: Flavour) -> Host<'_> {
        self.host_with(name, address, flavour, &[])
    }

    /// Boots a host on site `a`, with options of `lab host`.
    pub fn host_with(&self, name: &str, address: &str, flavour: Flavour, options: &[&str]) -> Host<'_> {
        let cidr = format!("{address}/24");
        self.verb(&[&["host", name, "a", &cidr, flavour.word()], options].concat());
        self.hosts.lock().unwrap().push((name.to_owned(), address.to_owned()));
        Host::of(self, name, address)
    }

    /// An inventory of all hosts so far, in YAML.
    #[must_use]
    pub fn inventory(&self) -> String {
        let hosts = self.hosts.lock().unwrap();
        let lines = hosts
            .iter()
            .map(|(name, address)| format!("    {name}: {{ansible_host: {address}}}\n"));
        format!("all:\n  hosts:\n{}", lines.collect::<String>())
    }

    /// The private key that all hosts know.
    #[must_use]
    pub fn key(&self) -> PathBuf {
        self.verb(&["key"]).trim().into()
    }

    /// All hosts' keys, as lines for a known_hosts file.
    #[must_use]
    pub fn known_hosts(&self) -> String {
        self.verb(&["known_hosts"])
    }

    /// How many TCP connections were begun, by whatever ran where all hosts can be reached.
    #[must_use]
    pub fn connects(&self) -> u64 {
        let text = self.verb(&["exec", "cat", "/proc/net/snmp"]);
        let mut tcp = text.lines().filter_map(|line| line.strip_prefix("Tcp: "));
        let (names, values) = (tcp.next().unwrap(), tcp.next().unwrap());
        let at = names.split(' ').position(|name| name == "ActiveOpens").unwrap();
        values.split(' ').nth(at).unwrap().parse().unwrap()
    }

    /// Obeys a verb of `tests/lab/lab`, and gives what it prints.
    pub fn verb(&self, words: &[&str]) -> String {
        let output = self.output(words);
        assert!(
            output.status.success(),
            "lab {}: {}\n{}{}",
            words.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    pub(crate) fn output(&self, words: &[&str]) -> Output {
        self.command().args(words).output().unwrap()
    }

    /// The lab's program, for this lab.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/lab/lab"));
        command
            .args(["--name", &self.name])
            .env("OKD_LAB_OWNER_PID", std::process::id().to_string())
            .stdin(std::process::Stdio::null());
        command
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if std::env::var_os("OKD_LAB_KEEP").is_some() {
            return;
        }
        let output = self.output(&["down"]);
        if !output.status.success() && !std::thread::panicking() {
            panic!("lab down: {}", String::from_utf8_lossy(&output.stderr));
        }
    }
}
