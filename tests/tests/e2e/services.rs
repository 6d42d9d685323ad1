//! The services host of an OKD cluster, from nothing.

use okd_tests::picture::{Picture, processes, units};
use okd_tests::{Flavour, Host, Lab, Play, Run};
use serde_json::Value;
use std::path::Path;

/// What differs between two hosts whoever sets them up: what tells a host from others, random seeds, and what holds
/// times, such as caches, package databases and backups.
pub(crate) const OF_ONE_HOST: &[&str] = &[
    "/etc/machine-id",
    "/etc/ssh/ssh_host_*",
    "/root/.ssh",
    "/home/*/.ssh",
    "/var/cache",
    "/var/lib/apt",
    "/var/lib/dpkg",
    "/var/lib/dnf",
    "/var/lib/rpm",
    "/usr/lib/sysimage/rpm",
    "/root/.rpmdb",
    "/var/lib/dhcp/*",
    "/var/lib/dhcpd/*",
    "/var/lib/private",
    "/var/tmp",
];

/// Random keys and running state that the services make for themselves.
pub(crate) const OF_THE_SERVICES: &[&str] = &[
    "/etc/rndc.key",
    "/etc/bind/rndc.key",
    "/var/named/data/*",
    "/var/named/dynamic/*",
    "/var/lib/haproxy/*",
    "/usr/lib64/gconv/gconv-modules.cache",
];

/// A services host on its lab, by the names that `inventory/lab` has.
pub(crate) fn host(lab: &Lab, flavour: Flavour) -> Host<'_> {
    let (name, address) = match flavour {
        Flavour::El => ("services-el", "10.77.1.21"),
        _ => ("services-deb", "10.77.1.22"),
    };
    let host = lab.host(name, address, flavour);
    lab.site("inner", "-");
    host.nic("eth1", "inner", "10.0.0.1/24");
    host
}

pub(crate) fn play(lab: &Lab) -> Play<'_> {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .canonicalize()
        .unwrap();
    Play::of(lab, root.join("playbooks/services.yaml"), root.join("inventory/lab"))
}

struct Converged {
    files: Picture,
    units: (Vec<String>, Vec<String>),
}

/// Plans, applies and applies again; proves on the way that the plan touched nothing and came true.
fn converge(flavour: Flavour, transport: &str) -> Converged {
    let lab = Lab::up();
    let host = host(&lab, flavour);
    let play = play(&lab);
    let words = ["--transport", transport, "--limit", &host.name];
    let before = (Picture::whole(&host), processes(&host));
    let plan = play.run(&[&["--check", "--exit-code"], &words[..]].concat()).ended(10);
    before.0.assert_same(&Picture::whole(&host));
    assert_eq!(processes(&host), before.1);
    let run = play.apply(&words);
    came_true(&host, &plan, &run);
    play.converged(&words);
    play.run(&[&["--check", "--exit-code"], &words[..]].concat()).ended(0);
    Converged {
        files: Picture::lasting(&host, &[OF_ONE_HOST, OF_THE_SERVICES].concat()),
        units: units(&host),
    }
}

/// Every file that the plan showed is there, byte for byte; and the plan showed those that matter.
fn came_true(host: &Host<'_>, plan: &Run, run: &Run) {
    let predicted = plan.predicted();
    for part in [
        "named",
        "dhcpd.conf",
        "haproxy.cfg",
        "nginx.conf",
        "0.0.10",
        "resolv.conf",
        "marker.txt",
        "internal.xml",
        "internal-external.xml",
    ] {
        let shown = predicted.keys().any(|(_, path)| path.contains(part));
        assert!(
            shown,
            "the plan shows no {part}: {:?}",
            predicted.keys().collect::<Vec<_>>()
        );
    }
    for ((_, path), sum) in predicted {
        assert_eq!(host.sha256(&path), Some(sum), "{path} is not what the plan said\n{run}");
    }
    let wrong: Vec<String> = plan.results("plan").filter_map(|step| differs(step, run)).collect();
    assert!(wrong.is_empty(), "{}\n{run}", wrong.join("\n"));
}

/// In what a step that was applied is not as the plan had it. What the plan did not know may be anything; what it found
/// to be as desired may have been left out.
fn differs(planned: &Value, run: &Run) -> Option<String> {
    let same = |event: &&Value| {
        ["host", "play", "task", "item"]
            .iter()
            .all(|key| event[key] == planned[key])
    };
    let applied = run.results("apply").find(same);
    let named = |what: &str| Some(format!("{} {}: {what}", planned["task"], planned["item"]));
    let Some(applied) = applied else {
        let left_out = matches!(planned["status"].as_str(), Some("ok" | "skipped" | "unknown"));
        return if left_out { None } else { named("it was not applied") };
    };
    if planned["status"] == "unknown" {
        return None;
    }
    if planned["status"] != applied["status"] {
        return named(&format!(
            "{} in the plan, {} when applied",
            planned["status"], applied["status"]
        ));
    }
    let changes = |event: &Value| event["diff"].as_array().cloned().unwrap_or_default();
    let (before, after) = (changes(planned), changes(applied));
    let alike = before.len() == after.len() && before.iter().zip(&after).all(|(one, other)| is_as_planned(one, other));
    if alike {
        None
    } else {
        named(&format!("{before:#?} in the plan, {after:#?} when applied"))
    }
}

/// Whether a change came as it was planned. Nobody had seen a file or folder that a package brings, but what is in its place
/// afterwards.
fn is_as_planned(planned: &Value, applied: &Value) -> bool {
    let brought = planned["note"]
        .as_str()
        .is_some_and(|note| note.contains("replaces what the package brings") || note.contains("will have brought"));
    if brought {
        return ["type", "path", "after_sha256"]
            .iter()
            .all(|key| planned[key] == applied[key]);
    }
    planned == applied
}

fn either_way(flavour: Flavour) {
    let (agent, ssh) = std::thread::scope(|scope| {
        let agent = scope.spawn(|| converge(flavour, "agent"));
        let ssh = scope.spawn(|| converge(flavour, "ssh"));
        (agent.join().unwrap(), ssh.join().unwrap())
    });
    agent.files.assert_same(&ssh.files);
    assert_eq!(agent.units, ssh.units);
}

#[test]
fn an_el_host_is_converged_as_planned_and_the_same_by_either_way() {
    either_way(Flavour::El);
}

#[test]
fn a_debian_host_is_converged_as_planned_and_the_same_by_either_way() {
    either_way(Flavour::Debian);
}
