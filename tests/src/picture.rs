//! A picture of a host: every file with its kind, mode, owner and content, every process, every unit. Two pictures are
//! compared with the differences said path by path.

use crate::host::Host;
use crate::until::until;
use std::collections::BTreeMap;

/// What a picture leaves out: what is no file at all, and what the machine itself writes while
/// nobody acts or whenever somebody logs in
/// or asks rpm.
const ITS_OWN: &[&str] = &[
    "/proc",
    "/sys",
    "/dev",
    "/run/systemd",
    "/run/user",
    "/run/udev",
    "/run/utmp",
    "/run/motd.dynamic",
    "*/rpmdb.sqlite-shm",
    "/run/log",
    "/var/log",
    "/var/lib/systemd",
];

/// okd-play's own: the agent's file, and the folder that checkers look at.
const OURS: &[&str] = &["/var/lib/okd-play", "/run/okd-play"];

/// A host's files by path, with what is told of each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture(BTreeMap<String, String>);

impl Picture {
    /// Everything on the host, with the time of each file's last change.
    #[must_use]
    pub fn whole(host: &Host<'_>) -> Picture {
        Picture::of(host, &[ITS_OWN, OURS].concat(), " %T@")
    }

    /// What a person would compare on two hosts that were set up in the same way: everything but times, and but what is
    /// left out by `except`.
    #[must_use]
    pub fn lasting(host: &Host<'_>, except: &[&str]) -> Picture {
        Picture::of(host, &[ITS_OWN, OURS, &["/run", "/tmp"], except].concat(), "")
    }

    /// Some folders, those that there are, but for times and for what is left out by `except`.
    #[must_use]
    pub fn below(host: &Host<'_>, folders: &[&str], except: &[&str]) -> Picture {
        Picture::seen(host, &format!("$(ls -d {} 2>/dev/null)", folders.join(" ")), except, "")
    }

    fn of(host: &Host<'_>, except: &[&str], times: &str) -> Picture {
        let picture = Picture::seen(host, "/", except, times);
        let count = picture.0.len();
        assert!(count > 1000, "{}: a picture of {count} entries", host.name);
        picture
    }

    fn seen(host: &Host<'_>, folders: &str, except: &[&str], times: &str) -> Picture {
        let prune: Vec<String> = except.iter().map(|path| format!("-path '{path}'")).collect();
        let prune = prune.join(" -o ");
        let script = format!(
            "find {folders} \\( {prune} \\) -prune -o -type f -printf '%p\\t%y %#m %u:%g{times}\\n' -o -printf '%p\\t%y %#m %u:%g %l\\n'
             echo
             find {folders} \\( {prune} \\) -prune -o -type f -print0 | xargs -0 -P 2 -n 500 sha256sum"
        );
        let text = host.sh(&script);
        let (entries, sums) = text.split_once("\n\n").unwrap();
        let mut all: BTreeMap<String, String> = entries
            .lines()
            .map(|line| line.split_once('\t').unwrap())
            .map(|(path, facts)| (path.to_owned(), facts.to_owned()))
            .collect();
        for line in sums.lines() {
            let (sum, path) = line.split_once("  ").unwrap();
            if let Some(facts) = all.get_mut(path) {
                facts.push(' ');
                facts.push_str(sum);
            }
        }
        assert!(!all.is_empty(), "{}: a picture of nothing", host.name);
        Picture(all)
    }

    /// What differs, a line each: `- path facts` here, `+ path facts` there.
    #[must_use]
    pub fn differences(&self, other: &Picture) -> Vec<String> {
        let mut lines = Vec::new();
        for (path, facts) in &self.0 {
            if other.0.get(path) != Some(facts) {
                lines.push(format!("- {path} {facts}"));
            }
        }
        for (path, facts) in &other.0 {
            if self.0.get(path) != Some(facts) {
                lines.push(format!("+ {path} {facts}"));
            }
        }
        lines
    }

    /// Fails the test where anything differs.
    pub fn assert_same(&self, other: &Picture) {
        let lines = self.differences(other);
        assert!(lines.is_empty(), "{} differences:\n{}", lines.len(), lines.join("\n"));
    }
}

/// Who runs what on a host, sorted. A login's own processes end some seconds after it, and so do the jobs that tidy up
/// behind it: this waits until none is left.
#[must_use]
pub fn processes(host: &Host<'_>) -> Vec<String> {
    until("no login is left", 30, || {
        let text =
            host.sh("systemctl list-jobs --no-legend --no-pager | sed 's/^/job: /'; ps -eo user:20,args --no-headers");
        let mut lines: Vec<String> = text
            .lines()
            .map(str::trim_end)
            .filter(|line| !line.contains("ps -eo user:20"))
            .map(str::to_owned)
            .collect();
        let passing = |line: &String| {
            line.starts_with("job: ")
                || line.contains("sshd-session")
                || line.contains("sshd: ") && (line.contains('@') || !line.contains("] 0 of "))
                || line.contains("systemd --user")
                || line.contains("systemd-user-runtime-dir")
        };
        lines.sort();
        (!lines.iter().any(passing)).then_some(lines)
    })
}

/// All units with whether they start at boot, and those that are active.
#[must_use]
pub fn units(host: &Host<'_>) -> (Vec<String>, Vec<String>) {
    let lines = |script: &str| host.sh(script).lines().map(|line| line.trim().to_owned()).collect();
    (
        lines("systemctl list-unit-files --no-legend --no-pager | awk '{ print $1, $2 }'"),
        lines(
            "systemctl list-units --type=service --state=active --no-legend --no-pager --plain | awk '{ print $1 }' | grep -v '^user'",
        ),
    )
}
