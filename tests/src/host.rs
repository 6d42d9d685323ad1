//! A lab host, as somebody at its console has it: the network is not needed to look at it.

use crate::lab::Lab;
use std::io::Write;
use std::process::Stdio;

/// A host of a lab.
#[derive(Debug, Clone)]
pub struct Host<'lab> {
    lab: &'lab Lab,
    /// Its name in the lab and in inventories.
    pub name: String,
    /// Its address.
    pub address: String,
}

impl<'lab> Host<'lab> {
    /// A host that the lab has, whoever made it.
    #[must_use]
    pub fn of(lab: &'lab Lab, name: &str, address: &str) -> Self {
        Host {
            lab,
            name: name.to_owned(),
            address: address.to_owned(),
        }
    }

    /// Runs a script as root on the console, and gives what it prints; it has to end well.
    pub fn sh(&self, script: &str) -> String {
        self.lab.verb(&["run", &self.name, "sh", "-ec", script])
    }

    /// Whether a script ends well on the console.
    #[must_use]
    pub fn holds(&self, script: &str) -> bool {
        let output = self.lab.output(&["run", &self.name, "sh", "-c", script]);
        output.status.success()
    }

    /// Puts a file there, made from bytes.
    pub fn put(&self, path: &str, bytes: &[u8]) {
        let mut command = self.lab.command();
        command.args(["run", &self.name, "sh", "-ec", "cat > \"$0\"", path]);
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(bytes).unwrap();
        assert!(child.wait().unwrap().success(), "cannot write {path} on {}", self.name);
    }

    /// A file's text.
    #[must_use]
    pub fn read(&self, path: &str) -> String {
        self.lab.verb(&["run", &self.name, "cat", path])
    }

    /// A file's SHA-256; `None` where there is no file.
    #[must_use]
    pub fn sha256(&self, path: &str) -> Option<String> {
        let output = self.lab.output(&["run", &self.name, "sha256sum", path]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        output
            .status
            .success()
            .then(|| text.split(' ').next().unwrap().to_owned())
    }

    /// Whether there is something at a path.
    #[must_use]
    pub fn has(&self, path: &str) -> bool {
        self.lab
            .output(&["run", &self.name, "test", "-e", path])
            .status
            .success()
    }

    /// Whether a unit is active.
    #[must_use]
    pub fn active(&self, unit: &str) -> bool {
        self.holds(&format!("systemctl -q is-active {unit}"))
    }

    /// The number of a unit's main process.
    #[must_use]
    pub fn main_pid(&self, unit: &str) -> String {
        self.sh(&format!("systemctl show -p MainPID --value {unit}"))
    }

    /// What came in over an interface so far, in bytes.
    #[must_use]
    pub fn received(&self, interface: &str) -> u64 {
        let path = format!("/sys/class/net/{interface}/statistics/rx_bytes");
        self.read(&path).trim().parse().unwrap()
    }

    /// What came in over TCP so far, in connections.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        let text = self.read("/proc/net/snmp");
        let mut tcp = text.lines().filter_map(|line| line.strip_prefix("Tcp: "));
        let (names, values) = (tcp.next().unwrap(), tcp.next().unwrap());
        let at = names.split(' ').position(|name| name == "PassiveOpens").unwrap();
        values.split(' ').nth(at).unwrap().parse().unwrap()
    }

    /// Obeys a verb of the lab that takes this host, such as `cut`, `heal`, `freeze`, `thaw`, `kill`, `start`.
    pub fn verb(&self, verb: &str) {
        self.lab.verb(&[verb, &self.name]);
    }

    /// A further interface.
    pub fn nic(&self, interface: &str, site: &str, cidr: &str) {
        self.lab.verb(&["nic", &self.name, interface, site, cidr]);
    }
}
