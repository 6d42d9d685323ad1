//! A machine that is not there yet: what can be said of a host before it has been made, so that a plan can go on past its
//! making. It knows what every freshly installed system of its kind has, and says *unknown* of everything else.

use super::fake::Fake;
use super::{Action, Alter, Answer, Entry, FileWrite, Make, Meta, Probe, Removal, System, SystemError};
use crate::path::AbsPath;
use std::fmt::Write as _;

/// A system that a host can be installed with.
struct Release {
    /// What the inventory calls it.
    name: &'static str,
    /// What a person reads.
    title: &'static str,
    /// Its os-release(5), as far as it is the same on every machine.
    os: &'static str,
    /// Programs that it has.
    programs: &'static [&'static str],
    /// Folders that it has beside those of [`FOLDERS`].
    folders: &'static [&'static str],
    /// Packages that it has.
    packages: &'static [&'static str],
    /// Units that run and start at boot.
    units: &'static [&'static str],
    /// Its files that say which units of packages to come start at boot, systemd.preset(5).
    presets: &'static [(&'static str, &'static str)],
}

const EL_FOLDERS: &[&str] = &["/etc/yum.repos.d", "/etc/sysconfig", "/etc/NetworkManager/conf.d"];
const EL_PACKAGES: &[&str] = &[
    "bash",
    "coreutils",
    "curl",
    "dnf",
    "NetworkManager",
    "openssh-server",
    "rpm",
    "sudo",
    "systemd",
];
const EL_UNITS: &[&str] = &["sshd.service", "NetworkManager.service", "systemd-journald.service"];
/// centos-stream-release's, as far as it is about what servers have.
const EL_PRESETS: &[(&str, &str)] = &[
    (
        "/usr/lib/systemd/system-preset/90-default.preset",
        "enable auditd.service\nenable chronyd.service\nenable crond.service\nenable firewalld.service\n\
         enable irqbalance.service\nenable NetworkManager.service\nenable rsyslog.*\nenable sshd.service\n",
    ),
    (
        "/usr/lib/systemd/system-preset/99-default-disable.preset",
        "disable *\n",
    ),
];
const DEBIAN_FOLDERS: &[&str] = &["/etc/apt/sources.list.d", "/etc/apt/keyrings", "/etc/default"];
const DEBIAN_PACKAGES: &[&str] = &["apt", "bash", "coreutils", "dpkg", "openssh-server", "systemd"];
const DEBIAN_UNITS: &[&str] = &["ssh.service", "systemd-journald.service"];

const RELEASES: &[Release] = &[
    Release {
        name: "el9",
        title: "EL 9",
        os: "NAME=\"CentOS Stream\"\nID=\"centos\"\nID_LIKE=\"rhel fedora\"\nVERSION=\"9\"\nVERSION_ID=\"9\"\n",
        programs: &["dnf", "yum"],
        folders: EL_FOLDERS,
        packages: EL_PACKAGES,
        units: EL_UNITS,
        presets: EL_PRESETS,
    },
    Release {
        name: "el10",
        title: "EL 10",
        os: "NAME=\"CentOS Stream\"\nID=\"centos\"\nID_LIKE=\"rhel fedora\"\nVERSION=\"10\"\nVERSION_ID=\"10\"\n",
        programs: &["dnf", "yum"],
        folders: EL_FOLDERS,
        packages: EL_PACKAGES,
        units: EL_UNITS,
        presets: EL_PRESETS,
    },
    Release {
        name: "debian12",
        title: "Debian 12",
        os: "NAME=\"Debian GNU/Linux\"\nID=debian\nVERSION=\"12 (bookworm)\"\nVERSION_ID=\"12\"\nVERSION_CODENAME=bookworm\n",
        programs: &["apt-get"],
        folders: DEBIAN_FOLDERS,
        packages: DEBIAN_PACKAGES,
        units: DEBIAN_UNITS,
        presets: &[],
    },
    Release {
        name: "debian13",
        title: "Debian 13",
        os: "NAME=\"Debian GNU/Linux\"\nID=debian\nVERSION=\"13 (trixie)\"\nVERSION_ID=\"13\"\nVERSION_CODENAME=trixie\n",
        programs: &["apt-get"],
        folders: DEBIAN_FOLDERS,
        packages: DEBIAN_PACKAGES,
        units: DEBIAN_UNITS,
        presets: &[],
    },
];

const FOLDERS: &[&str] = &[
    "/etc/ssh",
    "/etc/sudoers.d",
    "/etc/sysctl.d",
    "/etc/systemd/system",
    "/home",
    "/mnt",
    "/opt",
    "/root",
    "/run/systemd/system",
    "/srv",
    "/tmp",
    "/usr/lib/systemd/system",
    "/usr/local/bin",
    "/usr/local/sbin",
    "/usr/share",
    "/var/lib",
    "/var/log",
    "/var/tmp",
];

/// Programs that every system has, whose answers only the machine knows.
const BASE: &[&str] = &[
    "/bin/sh",
    "awk",
    "bash",
    "cat",
    "curl",
    "date",
    "df",
    "env",
    "find",
    "getent",
    "grep",
    "hostname",
    "id",
    "ip",
    "journalctl",
    "ls",
    "python3",
    "readlink",
    "sed",
    "sh",
    "sha256sum",
    "sha512sum",
    "ss",
    "stat",
    "systemctl",
    "tail",
    "tar",
    "test",
    "uname",
];

/// Facts that are the same on every freshly installed machine of a kind.
const SURE: &[&str] = &[
    "distribution",
    "distribution_major_version",
    "gather_subset",
    "kernel_name",
    "module_setup",
    "os_family",
    "pkg_mgr",
    "service_mgr",
    "system",
    "hostname",
];

/// See the module.
pub struct Blank {
    host: String,
    release: &'static Release,
    tree: Fake,
}

impl Blank {
    /// The kinds that there are, as an inventory names them.
    pub fn kinds() -> impl Iterator<Item = &'static str> {
        RELEASES.iter().map(|release| release.name)
    }

    /// A machine of a kind, with its host name; `None` where the kind is not known.
    #[must_use]
    pub fn new(kind: &str, host: &str) -> Option<Blank> {
        let release = RELEASES.iter().find(|release| release.name == kind)?;
        let folders = FOLDERS.iter().chain(release.folders);
        let mut tree = folders.fold(Fake::new(), |tree, folder| tree.dir(folder));
        let programs = release.programs.iter().chain(&["systemctl", "rpm", "dpkg"]);
        tree = programs.fold(tree, |tree, program| tree.file(&format!("/usr/bin/{program}"), ""));
        let files = [("/etc/os-release", release.os)];
        tree = files
            .iter()
            .chain(release.presets)
            .fold(tree, |tree, (path, text)| tree.file(path, *text));
        Some(Blank {
            host: host.to_owned(),
            release,
            tree,
        })
    }

    /// What a person reads: `EL 9`.
    #[must_use]
    pub fn title(&self) -> &'static str {
        self.release.title
    }

    /// Whether a fact can be known of a machine that is not there; of all others a plan says *unknown*.
    #[must_use]
    pub fn is_sure(fact: &str) -> bool {
        SURE.contains(&fact)
    }

    fn facts(&self) -> String {
        let mut text = format!("==> /etc/os-release <==\n{}", self.release.os);
        for (part, content) in [("machine", "x86_64\n"), ("user", "root:x:0:0:root:/root:/bin/bash\n")] {
            let _ = write!(text, "\n==> @{part} <==\n{content}");
        }
        let _ = write!(
            text,
            "\n==> @programs <==\n{}\nsystemd\n",
            self.release.programs.join("\n")
        );
        text
    }

    fn unit(&self, name: &str) -> Answer {
        Answer::ok(match self.release.units.contains(&name) {
            true => format!(
                "LoadState=loaded\nActiveState=active\nSubState=running\nUnitFileState=enabled\n\
                 FragmentPath=/usr/lib/systemd/system/{name}\nType=simple\nNeedDaemonReload=no\n"
            ),
            false => "LoadState=not-found\nActiveState=inactive\nSubState=dead\n".to_owned(),
        })
    }

    /// The line of the package that is asked for, where it is there, in a version that nobody knows.
    fn package(&self, probe: &Probe, rest: &str) -> Answer {
        let asked = probe.key.strip_prefix("package:").unwrap_or_default();
        Answer::ok(match self.release.packages.contains(&asked) {
            true => format!("{asked}{rest}"),
            false => String::new(),
        })
    }

    fn unknown(&self) -> SystemError {
        SystemError::Unknown(format!("{} is not there yet", self.host))
    }
}

impl System for Blank {
    fn stat(&self, path: &AbsPath) -> Result<Option<Meta>, SystemError> {
        self.tree.stat(path)
    }

    fn read(&self, path: &AbsPath, limit: u64) -> Result<Option<Vec<u8>>, SystemError> {
        self.tree.read(path, limit)
    }

    fn list(&self, dir: &AbsPath) -> Result<Vec<Entry>, SystemError> {
        self.tree.list(dir)
    }

    fn probe(&self, probe: &Probe) -> Result<Answer, SystemError> {
        let words: Vec<&str> = probe.argv.iter().map(String::as_str).collect();
        if probe.key == "facts" {
            return Ok(Answer::ok(self.facts()));
        }
        Ok(match words.as_slice() {
            ["uname", "-n"] => Answer::ok(format!("{}\n", self.host)),
            ["systemctl", "show", unit, ..] => self.unit(unit),
            ["systemctl", "is-enabled", ..] => Answer::status(1),
            ["systemctl", "list-unit-files", ..] => Answer::ok(self.release.units.join("\n")),
            ["rpm", "-qa", ..] => self.package(probe, " 0   \n"),
            ["dpkg-query", "-W", ..] => self.package(probe, "  ii  \n"),
            ["rpm", "-q", "--whatprovides", ..] => Answer::status(1),
            ["apt-cache" | "find", ..] if probe.key.starts_with("apt:") => Answer::status(1),
            [..] if probe.key == "repositories" => Answer::status(1),
            ["sysctl", "-n", "net.ipv4.ip_forward"] => Answer::ok("0\n".to_owned()),
            ["id"] | ["getent", "passwd" | "group", _] => self.tree.probe(probe)?,
            [program, ..] if BASE.contains(program) => return Err(self.unknown()),
            _ => Answer::status(Answer::NO_PROGRAM),
        })
    }

    fn write(&self, _file: &FileWrite) -> Result<(), SystemError> {
        Err(self.unknown())
    }

    fn make(&self, _path: &AbsPath, _kind: &Make) -> Result<(), SystemError> {
        Err(self.unknown())
    }

    fn alter(&self, _path: &AbsPath, _change: &Alter) -> Result<(), SystemError> {
        Err(self.unknown())
    }

    fn remove(&self, _path: &AbsPath, _how: Removal) -> Result<(), SystemError> {
        Err(self.unknown())
    }

    fn act(&self, _action: &Action) -> Result<Answer, SystemError> {
        Err(self.unknown())
    }

    fn predicted(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::resource::Kind;
    use crate::system::Effect;
    use crate::value::{Value, map};

    fn converge(kind: &str, args: crate::value::Map, world: Blank) -> crate::resource::Outcome {
        Kind::decode(kind, &args)
            .unwrap()
            .unwrap()
            .converge(&world, None)
            .unwrap()
    }

    #[test]
    fn every_kind_tells_its_family_and_has_a_package_manager() {
        for (kind, family, manager) in [
            ("el9", "RedHat", "dnf"),
            ("el10", "RedHat", "dnf"),
            ("debian12", "Debian", "apt"),
            ("debian13", "Debian", "apt"),
        ] {
            let world = Blank::new(kind, "services").unwrap();
            let outcome = converge("setup", map([]), world);
            let facts = outcome.result["ansible_facts"].as_map().unwrap();
            assert_eq!(facts["os_family"], Value::from(family), "{kind}");
            assert_eq!(facts["pkg_mgr"], Value::from(manager), "{kind}");
            assert_eq!(facts["service_mgr"], Value::from("systemd"), "{kind}");
            assert_eq!(facts["hostname"], Value::from("services"), "{kind}");
        }
        assert_eq!(Blank::kinds().count(), RELEASES.len());
        assert!(Blank::new("el7", "services").is_none());
    }

    #[test]
    fn what_only_the_machine_knows_is_unknown_and_nothing_can_be_done() {
        let world = Blank::new("el9", "services").unwrap();
        let unknown = |error: SystemError| matches!(error, SystemError::Unknown(reason) if reason.contains("services"));
        assert!(unknown(world.probe(&Probe::new("", &["ip", "addr"])).unwrap_err()));
        assert!(unknown(
            world
                .act(&Action::new(&["true"], Effect::Unknown(String::new())))
                .unwrap_err()
        ));
        let checker = world.probe(&Probe::new("", &["named-checkconf"])).unwrap();
        assert_eq!(checker, Answer::status(Answer::NO_PROGRAM));
    }
}
