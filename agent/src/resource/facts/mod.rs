//! Facts of a machine: one command gathers what is to be read, and pure functions make Ansible's facts of it.

mod hardware;
mod local;
mod network;
mod time;

pub use hardware::hardware;
pub use local::local;
pub use network::network;

use crate::value::{Map, Value, map};

/// Gathers everything at once: a file or a command's output under a heading each. On a slow link this is one round trip, on
/// the machine it is a dozen short processes.
pub const GATHER: &str = r#"
export LC_ALL=C
tail -v -n +1 /etc/os-release /etc/debian_version /etc/centos-release /etc/machine-id /etc/hosts /etc/resolv.conf \
    /etc/selinux/config /sys/fs/selinux/enforce /sys/fs/selinux/policyvers /sys/module/apparmor/parameters/enabled \
    /proc/sys/kernel/osrelease /proc/sys/kernel/version /proc/sys/crypto/fips_enabled /proc/1/comm /proc/uptime /proc/loadavg \
    /proc/meminfo /proc/cpuinfo /proc/mounts /proc/cmdline /sys/class/dmi/id/product_name /sys/class/dmi/id/sys_vendor \
    /sys/class/dmi/id/product_version /sys/class/dmi/id/product_serial /sys/class/dmi/id/product_uuid \
    /sys/class/dmi/id/bios_version /sys/class/dmi/id/bios_date /sys/block/*/size /etc/ssh/ssh_host_*_key.pub 2>/dev/null
part() { printf '\n==> @%s <==\n' "$1"; }
part machine; uname -m
part programs; for name in dnf5 dnf yum apt-get zypper pacman apk; do [ -x /usr/bin/$name ] && echo $name; done
[ -x /sbin/apk ] && echo apk
[ -d /run/systemd/system ] && echo systemd
part user; getent passwd "$(id -u)"
part virtual; systemd-detect-virt 2>/dev/null
part date; date '+%Y %m %d %H %M %S %s %Z %z %A %w %W %N'; date -u '+%Y-%m-%dT%H:%M:%SZ'
part addresses; ip addr show
part route4; ip -4 route get 8.8.8.8 2>/dev/null
part route6; ip -6 route get 2404:6800:400a:800::1012 2>/dev/null
part links; echo /sys/class/net/*/bridge /sys/class/net/*/bonding
part space; df -Pkl 2>/dev/null
part name; case $(uname -n) in *.*) ;; *) grep -qw "$(uname -n)" /etc/hosts || timeout 2 hostname -f 2>/dev/null ;; esac
part env; env -0
:
"#;

/// What [`GATHER`] printed, by heading.
#[derive(Debug, Clone, Default)]
pub struct Gathered(Vec<(String, String)>);

impl Gathered {
    /// Splits the output at its headings.
    #[must_use]
    pub fn parse(text: &str) -> Gathered {
        let mut parts: Vec<(String, String)> = Vec::new();
        for line in text.split_inclusive('\n') {
            let heading = line
                .strip_prefix("==> ")
                .and_then(|rest| rest.trim_end().strip_suffix(" <=="));
            match (heading, parts.last_mut()) {
                (Some(name), _) => parts.push((name.to_owned(), String::new())),
                (None, Some((_, text))) => text.push_str(line),
                (None, None) => {}
            }
        }
        Gathered(parts)
    }

    /// A part's text without surrounding space; empty where there is none.
    #[must_use]
    pub fn get(&self, name: &str) -> &str {
        self.0
            .iter()
            .find(|(known, _)| known == name)
            .map_or("", |(_, text)| text.trim())
    }

    /// The parts whose names begin with `prefix` and end with `suffix`: what is between, and the text.
    pub fn between<'a>(&'a self, prefix: &'a str, suffix: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0
            .iter()
            .filter_map(move |(name, text)| Some((name.strip_prefix(prefix)?.strip_suffix(suffix)?, text.trim())))
    }
}

/// `NAME=value` lines with shell quotes, as in os-release(5).
fn assignment<'a>(text: &'a str, name: &str) -> &'a str {
    let lines = text.lines().filter_map(|line| line.trim().split_once('='));
    lines
        .filter(|(key, _)| *key == name)
        .map(|(_, value)| value.trim().trim_matches(['"', '\'']))
        .next()
        .unwrap_or("")
}

/// Ansible's name for a distribution, and for its family.
fn distribution(id: &str, name: &str) -> (String, &'static str) {
    let known = match id {
        "centos" => ("CentOS", "RedHat"),
        "rhel" => ("RedHat", "RedHat"),
        "rocky" => ("Rocky", "RedHat"),
        "almalinux" => ("AlmaLinux", "RedHat"),
        "ol" => ("OracleLinux", "RedHat"),
        "fedora" => ("Fedora", "RedHat"),
        "amzn" => ("Amazon", "RedHat"),
        "debian" => ("Debian", "Debian"),
        "ubuntu" => ("Ubuntu", "Debian"),
        "raspbian" => ("Raspbian", "Debian"),
        "linuxmint" => ("Linux Mint", "Debian"),
        "sles" => ("SLES", "Suse"),
        "opensuse-leap" => ("openSUSE Leap", "Suse"),
        "opensuse-tumbleweed" => ("openSUSE Tumbleweed", "Suse"),
        "arch" => ("Archlinux", "Archlinux"),
        "alpine" => ("Alpine", "Alpine"),
        _ => return (name.split_whitespace().next().unwrap_or("Linux").to_owned(), ""),
    };
    (known.0.to_owned(), known.1)
}

/// What the operating system is.
fn release(parts: &Gathered) -> Map {
    let os = parts.get("/etc/os-release");
    let (id, like) = (assignment(os, "ID"), assignment(os, "ID_LIKE"));
    let (name, mut family) = distribution(id, assignment(os, "NAME"));
    if family.is_empty() {
        let known = like
            .split_whitespace()
            .map(|id| distribution(id, "").1)
            .find(|family| !family.is_empty());
        family = known.unwrap_or("Linux");
    }
    let mut version = assignment(os, "VERSION_ID").to_owned();
    let minor = parts.get("/etc/debian_version");
    if id == "debian" && minor.starts_with(&format!("{version}.")) {
        minor.clone_into(&mut version);
    }
    let text = assignment(os, "VERSION");
    let bracketed = text
        .split_once('(')
        .and_then(|(_, rest)| rest.split_once(')'))
        .map_or("", |(name, _)| name);
    let mut codename = match assignment(os, "VERSION_CODENAME") {
        "" => bracketed,
        name => name,
    };
    if parts.get("/etc/centos-release").contains("Stream") && id == "centos" {
        codename = "Stream";
    }
    let major = version.split('.').next().unwrap_or_default().to_owned();
    map([
        ("distribution", name.into()),
        ("distribution_version", version.as_str().into()),
        ("distribution_major_version", major.as_str().into()),
        (
            "distribution_release",
            if codename.is_empty() { "NA" } else { codename }.into(),
        ),
        ("distribution_file_path", "/etc/os-release".into()),
        (
            "os_family",
            if family == "Linux" {
                distribution(id, assignment(os, "NAME")).0
            } else {
                family.to_owned()
            }
            .into(),
        ),
        (
            "lsb",
            Value::Map(map([
                ("id", id.into()),
                ("description", assignment(os, "PRETTY_NAME").into()),
                ("release", version.into()),
                ("major_release", major.into()),
                ("codename", codename.into()),
            ])),
        ),
    ])
}

/// The names of the machine; `node` is what `uname -n` says.
fn names(parts: &Gathered, node: &str) -> Map {
    let short = node.split('.').next().unwrap_or_default();
    let hosts = parts
        .get("/etc/hosts")
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default());
    let canonical = hosts
        .filter_map(|line| {
            let mut names = line.split_whitespace().skip(1);
            let first = names.next()?;
            (first == node || names.any(|name| name == node)).then(|| first.to_owned())
        })
        .find(|name| name.contains('.') && !name.starts_with("localhost"));
    let resolved = Some(parts.get("@name").to_owned()).filter(|name| name.contains('.'));
    let full = if node.contains('.') {
        node.to_owned()
    } else {
        canonical.or(resolved).unwrap_or_else(|| node.to_owned())
    };
    let domain = full.split_once('.').map_or("", |(_, domain)| domain).to_owned();
    map([
        ("hostname", short.into()),
        ("nodename", node.into()),
        ("fqdn", full.into()),
        ("domain", domain.into()),
    ])
}

/// Who can be asked about packages and services.
fn managers(parts: &Gathered) -> Map {
    let programs: Vec<&str> = parts.get("@programs").lines().collect();
    let known = [
        ("dnf5", "dnf5"),
        ("dnf", "dnf"),
        ("yum", "yum"),
        ("apt-get", "apt"),
        ("zypper", "zypper"),
        ("pacman", "pacman"),
        ("apk", "apk"),
    ];
    let debian = release(parts).get("os_family") == Some(&Value::from("Debian"));
    let found = known
        .into_iter()
        .filter(|(program, _)| programs.contains(program))
        .map(|(_, name)| name);
    let package = if debian && programs.contains(&"apt-get") {
        "apt"
    } else {
        found.into_iter().next().unwrap_or("unknown")
    };
    let init = parts.get("/proc/1/comm");
    let service = match init {
        _ if programs.contains(&"systemd") => "systemd",
        "" => "service",
        "init" => "sysvinit",
        other => other,
    };
    map([("pkg_mgr", package.into()), ("service_mgr", service.into())])
}

/// Whoever runs this, and with what environment.
fn user(parts: &Gathered) -> Map {
    let mut facts = Map::new();
    let fields: Vec<&str> = parts.get("@user").split(':').collect();
    if let [name, _, uid, gid, gecos, home, shell] = fields.as_slice() {
        let number = |text: &str| Value::Int(text.parse().unwrap_or(-1));
        facts.extend(map([
            ("user_id", (*name).into()),
            ("user_uid", number(uid)),
            ("user_gid", number(gid)),
            ("user_gecos", (*gecos).into()),
            ("user_dir", (*home).into()),
            ("user_shell", (*shell).into()),
            ("real_user_id", number(uid)),
            ("effective_user_id", number(uid)),
            ("real_group_id", number(gid)),
            ("effective_group_id", number(gid)),
        ]));
    }
    let lines = parts.get("@env").split('\0').filter_map(|line| line.split_once('='));
    let own = |name: &str| ["_", "SHLVL", "OLDPWD", "LC_ALL"].contains(&name);
    let env: Map = lines
        .filter(|(name, _)| !own(name))
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect();
    facts.insert("env".to_owned(), Value::Map(env));
    facts
}

fn security(parts: &Gathered) -> Map {
    let config = parts.get("/etc/selinux/config");
    let selinux = match parts.get("/sys/fs/selinux/enforce") {
        "" => map([("status", "disabled".into())]),
        enforce => map([
            ("status", "enabled".into()),
            ("mode", if enforce == "1" { "enforcing" } else { "permissive" }.into()),
            ("config_mode", assignment(config, "SELINUX").into()),
            ("type", assignment(config, "SELINUXTYPE").into()),
            (
                "policyvers",
                parts
                    .get("/sys/fs/selinux/policyvers")
                    .parse()
                    .map_or(Value::Null, Value::Int),
            ),
        ]),
    };
    let apparmor = if parts.get("/sys/module/apparmor/parameters/enabled") == "Y" {
        "enabled"
    } else {
        "disabled"
    };
    let mut facts = map([
        ("selinux", Value::Map(selinux)),
        ("apparmor", Value::Map(map([("status", apparmor.into())]))),
        ("fips", (parts.get("/proc/sys/crypto/fips_enabled") == "1").into()),
    ]);
    for (kind, key) in parts.between("/etc/ssh/ssh_host_", "_key.pub") {
        let mut words = key.split_whitespace();
        if let (Some(name), Some(key)) = (words.next(), words.next()) {
            facts.insert(format!("ssh_host_key_{kind}_public"), key.into());
            facts.insert(format!("ssh_host_key_{kind}_public_keytype"), name.into());
        }
    }
    facts
}

/// What every gathering has: system, names, user, security, time.
#[must_use]
pub fn minimal(parts: &Gathered, node: &str) -> Map {
    let machine = parts.get("@machine");
    let bits = if machine.ends_with("64") || machine == "s390x" {
        "64"
    } else {
        "32"
    };
    let words = |name: &str| {
        parts
            .get(name)
            .split_whitespace()
            .map(|word| (word.to_owned(), word.split_once('=')))
    };
    let cmdline: Map = words("/proc/cmdline")
        .map(|(word, pair)| {
            pair.map_or((word.clone(), Value::Bool(true)), |(name, value)| {
                (name.to_owned(), value.into())
            })
        })
        .collect();
    let mut facts = map([
        ("system", "Linux".into()),
        ("kernel", parts.get("/proc/sys/kernel/osrelease").into()),
        ("kernel_version", parts.get("/proc/sys/kernel/version").into()),
        ("machine", machine.into()),
        ("architecture", machine.into()),
        ("userspace_bits", bits.into()),
        ("userspace_architecture", machine.into()),
        ("machine_id", parts.get("/etc/machine-id").into()),
        ("cmdline", Value::Map(cmdline)),
        ("is_chroot", false.into()),
    ]);
    for more in [
        release(parts),
        names(parts, node),
        managers(parts),
        user(parts),
        security(parts),
    ] {
        facts.extend(more);
    }
    facts.extend(time::date_time(parts.get("@date")));
    facts
}

/// What the machine runs in.
#[must_use]
pub fn virtualization(parts: &Gathered) -> Map {
    let (kind, role) = match parts.get("@virtual") {
        "none" | "" => ("NA", "NA"),
        "oracle" => ("virtualbox", "guest"),
        "microsoft" => ("VirtualPC", "guest"),
        "vmware" => ("VMware", "guest"),
        "qemu" => ("kvm", "guest"),
        "systemd-nspawn" => ("systemd-nspawn", "guest"),
        other => (other, "guest"),
    };
    map([
        ("virtualization_type", kind.into()),
        ("virtualization_role", role.into()),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEBIAN: &str = "==> /etc/os-release <==\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nNAME=\"Debian GNU/Linux\"\nVERSION_ID=\"12\"\nVERSION=\"12 (bookworm)\"\nVERSION_CODENAME=bookworm\nID=debian\n\n==> /etc/debian_version <==\n12.11\n\n==> /etc/hosts <==\n127.0.0.1 localhost\n127.0.1.1 ns1.example.org ns1\n\n==> @programs <==\napt-get\nsystemd\n\n==> @user <==\nroot:x:0:0:root:/root:/bin/bash\n\n==> @env <==\nHOME=/root\0LANG=C\0";
    const STREAM: &str = "==> /etc/os-release <==\nNAME=\"CentOS Stream\"\nVERSION=\"9\"\nID=\"centos\"\nID_LIKE=\"rhel fedora\"\nVERSION_ID=\"9\"\n\n==> /etc/centos-release <==\nCentOS Stream release 9\n\n==> @programs <==\ndnf\nyum\nsystemd\n";

    #[test]
    fn distributions_have_ansibles_names() {
        let rocky = "==> /etc/os-release <==\nNAME=\"Rocky Linux\"\nVERSION=\"9.4 (Blue Onyx)\"\nID=\"rocky\"\nVERSION_ID=\"9.4\"\n";
        let odd = "==> /etc/os-release <==\nNAME=\"Odd Linux\"\nID=odd\nID_LIKE=\"debian\"\nVERSION_ID=\"3\"\n";
        for (text, name, version, major, codename, family) in [
            (DEBIAN, "Debian", "12.11", "12", "bookworm", "Debian"),
            (STREAM, "CentOS", "9", "9", "Stream", "RedHat"),
            (rocky, "Rocky", "9.4", "9", "Blue Onyx", "RedHat"),
            (odd, "Odd", "3", "3", "NA", "Debian"),
        ] {
            let facts = release(&Gathered::parse(text));
            let keys = [
                "distribution",
                "distribution_version",
                "distribution_major_version",
                "distribution_release",
                "os_family",
            ];
            let seen: Vec<_> = keys.iter().map(|key| facts[*key].as_str()).collect();
            assert_eq!(seen, [name, version, major, codename, family].map(Some));
        }
    }

    #[test]
    fn names_managers_and_user() {
        let parts = Gathered::parse(DEBIAN);
        let names = names(&parts, "ns1");
        assert_eq!(
            (names["fqdn"].as_str(), names["domain"].as_str()),
            (Some("ns1.example.org"), Some("example.org"))
        );
        assert_eq!(managers(&parts)["pkg_mgr"].as_str(), Some("apt"));
        assert_eq!(managers(&Gathered::parse(STREAM))["pkg_mgr"].as_str(), Some("dnf"));
        let user = user(&parts);
        assert_eq!(
            (user["user_dir"].as_str(), &user["user_uid"]),
            (Some("/root"), &Value::Int(0))
        );
        assert_eq!(user["env"].get("LANG").and_then(Value::as_str), Some("C"));
    }
}
