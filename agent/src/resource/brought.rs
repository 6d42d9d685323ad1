//! What a package is known to bring, before anybody has seen it on the machine: units with what becomes of them when it is
//! installed, and folders. What is not known is unknown; nothing is made up.

use super::ResourceError;
use super::content::promised;
use super::file::missing_above;
use super::layout::{Family, path};
use super::systemd::Unit;
use super::wildcard::fits;
use crate::path::AbsPath;
use crate::system::{Answer, Probe, System, SystemError};
use std::collections::BTreeMap;

/// What a package of one family brings.
struct Brought {
    /// Names under which it is asked for.
    packages: &'static [&'static str],
    /// Its units; on EL they follow the machine's presets, so that none need be named.
    units: &'static [(&'static str, Start)],
    /// Every folder that it makes in places where a playbook may want to make one.
    folders: &'static [&'static str],
}

/// What becomes of a unit when Debian installs its package.
#[derive(Clone, Copy)]
enum Start {
    /// It runs.
    Runs,
    /// It cannot run with the file that the package ships, where that is not there already.
    Fails(&'static str),
}

/// dpkg -L, and the packages' postinst.
const DEBIAN: &[Brought] = &[
    Brought {
        packages: &["bind9"],
        units: &[("named.service", Start::Runs)],
        folders: &["/etc/bind", "/var/cache/bind", "/var/lib/bind"],
    },
    Brought {
        packages: &["chrony"],
        units: &[("chrony.service", Start::Runs)],
        folders: &[
            "/etc/chrony",
            "/etc/chrony/conf.d",
            "/etc/chrony/sources.d",
            "/var/lib/chrony",
            "/var/log/chrony",
        ],
    },
    Brought {
        packages: &["firewalld"],
        units: &[("firewalld.service", Start::Runs)],
        folders: FIREWALLD,
    },
    Brought {
        packages: &["haproxy"],
        units: &[("haproxy.service", Start::Runs)],
        folders: &[
            "/etc/haproxy",
            "/etc/haproxy/errors",
            "/var/lib/haproxy",
            "/var/lib/haproxy/dev",
        ],
    },
    Brought {
        packages: &["isc-dhcp-server"],
        units: &[("isc-dhcp-server.service", Start::Fails("/etc/dhcp/dhcpd.conf"))],
        folders: &["/etc/dhcp", "/var/lib/dhcp"],
    },
    Brought {
        packages: &["kea-dhcp4-server"],
        units: &[("kea-dhcp4-server.service", Start::Runs)],
        folders: &["/etc/kea"],
    },
    Brought {
        packages: &["nginx", "nginx-core", "nginx-extras", "nginx-full", "nginx-light"],
        units: &[("nginx.service", Start::Runs)],
        folders: &[
            "/etc/nginx",
            "/etc/nginx/conf.d",
            "/etc/nginx/modules-available",
            "/etc/nginx/modules-enabled",
            "/etc/nginx/sites-available",
            "/etc/nginx/sites-enabled",
            "/etc/nginx/snippets",
            "/usr/share/nginx",
            "/usr/share/nginx/html",
            "/var/lib/nginx",
            "/var/log/nginx",
            "/var/www",
            "/var/www/html",
        ],
    },
];

/// The packages' %files.
const EL: &[Brought] = &[
    Brought {
        packages: &["bind"],
        units: &[],
        folders: &[
            "/etc/named",
            "/var/named",
            "/var/named/data",
            "/var/named/dynamic",
            "/var/named/slaves",
        ],
    },
    Brought {
        packages: &["chrony"],
        units: &[],
        folders: &["/var/lib/chrony", "/var/log/chrony"],
    },
    Brought {
        packages: &["dhcp-server"],
        units: &[],
        folders: &["/etc/dhcp", "/var/lib/dhcpd"],
    },
    Brought {
        packages: &["firewalld"],
        units: &[],
        folders: FIREWALLD,
    },
    Brought {
        packages: &["haproxy"],
        units: &[],
        folders: &["/etc/haproxy", "/etc/haproxy/conf.d", "/var/lib/haproxy"],
    },
    Brought {
        packages: &["kea"],
        units: &[],
        folders: &["/etc/kea", "/var/lib/kea", "/var/log/kea"],
    },
    Brought {
        packages: &["nginx"],
        units: &[],
        folders: &[
            "/etc/nginx",
            "/etc/nginx/conf.d",
            "/etc/nginx/default.d",
            "/usr/share/nginx",
            "/usr/share/nginx/html",
            "/usr/share/nginx/modules",
            "/var/lib/nginx",
            "/var/log/nginx",
        ],
    },
];

const FIREWALLD: &[&str] = &[
    "/etc/firewalld",
    "/etc/firewalld/helpers",
    "/etc/firewalld/icmptypes",
    "/etc/firewalld/ipsets",
    "/etc/firewalld/policies",
    "/etc/firewalld/services",
    "/etc/firewalld/zones",
];

fn table(family: Family) -> &'static [Brought] {
    family.pick(EL, DEBIAN)
}

/// A unit that is not there yet, as it will be once the plan's packages are installed.
///
/// # Errors
/// [`SystemError::Unknown`] where that is the package's choice and not known; the world's.
pub fn unit(name: &str, world: &dyn System) -> Result<Unit, ResourceError> {
    let unknown = |why: &str| {
        let packages = promised(world).unwrap_or_default();
        ResourceError::from(SystemError::Unknown(format!("{name} comes with {packages}, {why}")))
    };
    let family = match Family::of(world) {
        Ok(family) => family,
        Err(ResourceError::System(error)) => return Err(error.into()),
        Err(ResourceError::Failed(_)) => return Err(unknown("which says whether it runs and starts at boot")),
    };
    let mut unit = Unit::promised();
    if family == Family::El {
        if preset(name, world)? {
            "enabled".clone_into(&mut unit.file);
        }
        return Ok(unit);
    }
    let known = table(family).iter().flat_map(|brought| brought.units);
    let Some((_, start)) = known.into_iter().find(|(known, _)| *known == name) else {
        return Err(unknown("which says whether it runs and starts at boot"));
    };
    "enabled".clone_into(&mut unit.file);
    match (may_start(name, world)?, start) {
        (None, _) => return Err(unknown("and policy-rc.d does not say whether it may be started")),
        (Some(false), _) => {}
        (Some(true), Start::Runs) => unit.set_active(true),
        (Some(true), Start::Fails(config)) if world.stat(&path(config))?.is_some() => {
            return Err(unknown(&format!("and whether it starts depends on {config}")));
        }
        (Some(true), Start::Fails(_)) => {
            for state in [&mut unit.active, &mut unit.sub] {
                "failed".clone_into(state);
            }
        }
    }
    Ok(unit)
}

/// Whether Debian starts a unit when it installs its package; invoke-rc.d's policy, as deb-systemd-invoke(1p) asks it.
fn may_start(unit: &str, world: &dyn System) -> Result<Option<bool>, ResourceError> {
    let answer = world.probe(&Probe::new(
        format!("policy-rc.d:{unit}"),
        &["/usr/sbin/policy-rc.d", unit, "start"],
    ))?;
    Ok(match answer.rc {
        0 | 104 | Answer::NO_PROGRAM => Some(true),
        101 => Some(false),
        _ => None,
    })
}

/// Where presets are, the strongest first; see systemd.preset(5).
const PRESETS: &[&str] = &[
    "/etc/systemd/system-preset",
    "/run/systemd/system-preset",
    "/usr/local/lib/systemd/system-preset",
    "/usr/lib/systemd/system-preset",
];

/// Whether the machine's presets enable a new unit; see systemd.preset(5).
fn preset(unit: &str, world: &dyn System) -> Result<bool, ResourceError> {
    let mut files = BTreeMap::new();
    for folder in PRESETS {
        let folder = path(folder);
        for entry in world
            .list(&folder)?
            .into_iter()
            .filter(|entry| entry.name.ends_with(".preset"))
        {
            let file = folder.join(&entry.name);
            files.entry(entry.name).or_insert(file);
        }
    }
    for file in files.values() {
        let bytes = world.read(file, 1 << 20)?.unwrap_or_default();
        for line in String::from_utf8_lossy(&bytes).lines() {
            let mut words = line.split_whitespace();
            if let (Some(verb @ ("enable" | "disable" | "ignore")), Some(pattern)) = (words.next(), words.next())
                && fits(pattern, unit)
            {
                return Ok(verb == "enable");
            }
        }
    }
    Ok(true)
}

/// Whose a folder is that is not there yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Folder {
    /// This package of the plan brings it.
    Brought(String),
    /// It is this package's own place, and what it makes there is not known.
    Perhaps(String),
    /// No package of the plan has to do with it.
    Nobodys,
}

/// Where packages have folders that are called as they are.
const PLACES: &[&str] = &[
    "/etc",
    "/usr/lib",
    "/usr/share",
    "/var/cache",
    "/var/lib",
    "/var/log",
    "/var/spool",
];

/// Whose a folder will be that is not there yet, by the packages that a plan has promised.
///
/// # Errors
/// The world's.
pub fn folder(folder: &AbsPath, world: &dyn System) -> Result<Folder, ResourceError> {
    let packages = world.promised();
    if packages.is_empty() {
        return Ok(Folder::Nobodys);
    }
    let known = match Family::of(world) {
        Ok(family) => table(family),
        Err(ResourceError::System(error)) => return Err(error.into()),
        Err(ResourceError::Failed(_)) => &[],
    };
    for package in packages {
        match known
            .iter()
            .find(|brought| brought.packages.contains(&package.as_str()))
        {
            Some(brought) if brought.folders.contains(&folder.as_str()) => return Ok(Folder::Brought(package)),
            None if PLACES.iter().any(|place| folder.is_within(&path(place).join(&package))) => {
                return Ok(Folder::Perhaps(package));
            }
            _ => {}
        }
    }
    Ok(Folder::Nobodys)
}

/// Where each program keeps what it has in a folder that is called as its package is.
const STATES: &[&str] = &["/var/cache", "/var/lib", "/var/log", "/var/spool", "/var/www"];
/// Where packages put nothing (FHS 3.0).
const NEVER: &[&str] = &["/home", "/root", "/srv", "/usr/local"];

/// In a plan: whether a package that is still to be installed may bring what is not there.
///
/// # Errors
/// The world's.
pub fn may_bring(missing: &AbsPath, world: &dyn System) -> Result<bool, ResourceError> {
    if world.promised().is_empty() || NEVER.iter().any(|place| missing.is_within(&path(place))) {
        return Ok(false);
    }
    let state = STATES.iter().find_map(|place| {
        let name = missing.as_str().strip_prefix(place)?.strip_prefix('/')?;
        let (name, _) = name.split_once('/')?;
        Some(path(place).join(name))
    });
    match state.or(missing_above(missing, world)?.into_iter().next()) {
        Some(outermost) => Ok(folder(&outermost, world)? != Folder::Nobodys),
        None => Ok(true),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::system::fake::Fake;
    use crate::system::overlay::Overlay;
    use crate::system::{Action, Declared, Effect};
    use std::sync::Arc;

    fn plan(host: Fake, packages: &[&str]) -> Overlay {
        let plan = Overlay::new(Arc::new(host));
        let brings = packages.iter().map(|package| (*package).to_owned()).collect();
        let effect = Effect::Declared(Declared {
            brings,
            ..Declared::default()
        });
        plan.act(&Action::new(&["install"], effect)).unwrap();
        plan
    }

    fn debian() -> Fake {
        Fake::new().file("/etc/os-release", "ID=debian\n")
    }

    fn el() -> Fake {
        Fake::new().file("/etc/os-release", "ID=\"centos\"\n").file(
            "/usr/lib/systemd/system-preset/90-default.preset",
            "# x\nenable firewalld.*\ndisable *\n",
        )
    }

    /// Whether it runs, and whether it starts at boot; or why that is not known.
    fn seen(name: &str, world: &dyn System) -> Result<(String, bool), String> {
        let unit = unit(name, world).map_err(|error| error.to_string())?;
        Ok((unit.active.clone(), unit.enabled() == Some(true)))
    }

    #[test]
    fn debian_starts_what_it_installs() {
        let plan_of = |host: Fake| plan(host, &["bind9", "isc-dhcp-server", "postgresql"]);
        let blank = plan_of(debian());
        assert_eq!(seen("named.service", &blank), Ok(("active".to_owned(), true)));
        assert_eq!(seen("isc-dhcp-server.service", &blank), Ok(("failed".to_owned(), true)));
        let unknown = seen("postgresql.service", &blank).unwrap_err();
        assert!(unknown.contains("which says whether it runs"), "{unknown}");
        let configured = plan_of(debian().file("/etc/dhcp/dhcpd.conf", ""));
        assert!(
            seen("isc-dhcp-server.service", &configured)
                .unwrap_err()
                .contains("/etc/dhcp/dhcpd.conf")
        );
    }

    #[test]
    fn what_lies_elsewhere_is_brought_by_nobody() {
        let plan = plan(debian(), &["nginx", "postgresql"]);
        let may = |text: &str| may_bring(&path(text), &plan).unwrap();
        for text in [
            "/etc/nginx/conf.d/x.conf",
            "/etc/postgresql/x",
            "/var/lib/postgresql/x/y",
            "/etc/x",
        ] {
            assert!(may(text), "{text}");
        }
        for text in ["/var/lib/okd/done", "/etc/own/x", "/root/x", "/usr/local/bin/x", "/srv"] {
            assert!(!may(text), "{text}");
        }
        plan.make(&path("/var/lib/okd"), &crate::system::Make::Directory { mode: 0o755 })
            .unwrap();
        assert!(!may("/var/lib/okd/done"));
        assert!(!may_bring(&path("/etc/x"), &Overlay::new(Arc::new(debian()))).unwrap());
    }

    #[test]
    fn a_policy_may_forbid_that() {
        for (rc, active) in [(101, "inactive"), (104, "active")] {
            let answer = Answer {
                rc,
                ..Answer::default()
            };
            let plan = plan(debian().fact("policy-rc.d:named.service", answer), &["bind9"]);
            assert_eq!(seen("named.service", &plan), Ok((active.to_owned(), true)));
        }
        let plan = plan(
            debian().fact("policy-rc.d:named.service", Answer::status(102)),
            &["bind9"],
        );
        assert!(
            seen("named.service", &plan)
                .unwrap_err()
                .contains("policy-rc.d does not say")
        );
    }

    #[test]
    fn el_starts_nothing_and_enables_by_its_presets() {
        let packages = ["bind", "firewalld", "postgresql-server"];
        let stopped = |enabled| Ok(("inactive".to_owned(), enabled));
        let shipped = plan(el(), &packages);
        assert_eq!(seen("named.service", &shipped), stopped(false));
        assert_eq!(seen("firewalld.service", &shipped), stopped(true));
        assert_eq!(seen("postgresql.service", &shipped), stopped(false));
        let own = el().file("/etc/systemd/system-preset/10-own.preset", "enable named.service\n");
        assert_eq!(seen("named.service", &plan(own, &packages)), stopped(true));
        let overridden = el().file("/etc/systemd/system-preset/90-default.preset", "disable *\n");
        assert_eq!(seen("firewalld.service", &plan(overridden, &packages)), stopped(false));
    }

    #[test]
    fn a_system_of_neither_family_says_that_it_is_not_known() {
        let plan = plan(Fake::new().file("/etc/os-release", "ID=alpine\n"), &["bind"]);
        assert!(
            seen("named.service", &plan)
                .unwrap_err()
                .contains("named.service comes with bind")
        );
    }

    #[test]
    fn folders_of_packages() {
        let debian = plan(debian(), &["firewalld", "prometheus"]);
        let at = |text: &str| folder(&path(text), &debian).unwrap();
        assert_eq!(at("/etc/firewalld/policies"), Folder::Brought("firewalld".to_owned()));
        assert_eq!(at("/etc/firewalld/own"), Folder::Nobodys);
        assert_eq!(at("/etc/prometheus/rules"), Folder::Perhaps("prometheus".to_owned()));
        assert_eq!(at("/etc/nginx"), Folder::Nobodys);
        assert_eq!(folder(&path("/etc/firewalld"), &Fake::new()).unwrap(), Folder::Nobodys);
    }
}
