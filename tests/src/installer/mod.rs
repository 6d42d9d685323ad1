//! A stand-in for `openshift-install` with `platform: none`: the files, modes, messages, exit codes and reruns of the real one, of
//! which two generations were watched. It names itself in all that it prints. Its keys are elliptic where the real ones are RSA.
//!
//! The environment sets it: `OKD_STAND_IN_LIKE` (`4.16` or `4.19`: how it takes expired certificates, and other differences),
//! `OKD_STAND_IN_RELEASE` (what `version` says), `OKD_STAND_IN_LIFE` (seconds that a day's certificates live) and `OKD_STAND_IN_SLOW`
//! (seconds before the first Ignition file). As the release is written into the real one's program, the live image of the release
//! is written behind the stand-in's: a last line `live: LOCATION SHA256`.

mod assets;
mod config;
mod ignition;
mod store;
mod tls;
mod yaml;

pub use ignition::{Serving, file_of};

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How it is set.
struct Settings {
    /// Behaves as 4.19 and later, else as 4.16.
    newer: bool,
    release: String,
    life: Duration,
    slow: Duration,
}

impl Settings {
    fn from_environment() -> Settings {
        let word = |name: &str| std::env::var(name).ok();
        let seconds =
            |name: &str, default| Duration::from_secs(word(name).and_then(|text| text.parse().ok()).unwrap_or(default));
        Settings {
            newer: word("OKD_STAND_IN_LIKE").as_deref() != Some("4.16"),
            release: word("OKD_STAND_IN_RELEASE").unwrap_or_else(|| "4.19.0-okd-scos.1".to_owned()),
            life: seconds("OKD_STAND_IN_LIFE", 86_400),
            slow: seconds("OKD_STAND_IN_SLOW", 0),
        }
    }
}

/// A bad end.
struct Ended {
    code: u8,
    message: String,
}

impl Ended {
    fn general(message: impl Into<String>) -> Ended {
        Ended {
            code: 1,
            message: message.into(),
        }
    }

    /// The install-config is refused.
    fn config(message: impl AsRef<str>) -> Ended {
        let message = format!(
            "failed to fetch Master Machines: failed to load asset \"Install Config\": failed to create install config: {}",
            message.as_ref()
        );
        Ended { code: 3, message }
    }
}

impl From<std::io::Error> for Ended {
    fn from(error: std::io::Error) -> Ended {
        Ended::general(error.to_string())
    }
}

/// Standard error, and the log in the folder.
struct Log {
    file: Option<File>,
    /// Levels above this are not shown; the file gets all.
    shown: usize,
}

const LEVELS: [&str; 5] = ["fatal", "error", "warning", "info", "debug"];

impl Log {
    fn say(&mut self, level: &str, message: &str) {
        let quoted = match message.contains([' ', '"', '=']) {
            true => format!("{message:?}"),
            false => message.to_owned(),
        };
        if LEVELS
            .iter()
            .position(|known| *known == level)
            .is_some_and(|at| at <= self.shown)
        {
            let _ = writeln!(std::io::stderr(), "level={level} msg={quoted}");
        }
        if let Some(file) = &mut self.file {
            let _ = writeln!(file, "time=\"stand-in\" level={level} msg={quoted}");
        }
    }
}

const HELP: &str =
    "Creates OpenShift clusters (a stand-in of okd-play's tests)\n\nUsage:\n  openshift-install [command]\n";

/// What the command line asks for.
struct Asked {
    words: Vec<String>,
    folder: PathBuf,
    level: String,
}

fn asked(words: impl Iterator<Item = String>) -> Asked {
    let mut asked = Asked {
        words: Vec::new(),
        folder: ".".into(),
        level: "info".to_owned(),
    };
    let mut words = words.peekable();
    while let Some(word) = words.next() {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (word, None),
        };
        match name.as_str() {
            "--dir" => asked.folder = value.or_else(|| words.next()).unwrap_or_default().into(),
            "--log-level" => asked.level = value.or_else(|| words.next()).unwrap_or_default(),
            _ => asked.words.push(name),
        }
    }
    asked
}

/// Runs it with a command line (without its own name) and gives the exit code.
#[must_use]
pub fn run(words: impl Iterator<Item = String>) -> u8 {
    let (asked, settings) = (asked(words), Settings::from_environment());
    let Some(shown) = LEVELS.iter().position(|known| *known == asked.level) else {
        let _ = writeln!(
            std::io::stderr(),
            "level=fatal msg=\"invalid log-level: not a valid logrus Level: {:?}\"",
            asked.level
        );
        return 1;
    };
    let mut log = Log { file: None, shown };
    let words: Vec<&str> = asked.words.iter().map(String::as_str).collect();
    let end = match words.as_slice() {
        ["version"] => {
            let name = std::env::args().next().unwrap_or_default();
            let _ = writeln!(
                std::io::stdout(),
                "{name} {}\nbuilt from a stand-in of okd-play's tests\nrelease architecture amd64",
                settings.release
            );
            return 0;
        }
        ["coreos", "print-stream-json"] => match stream() {
            Ok(json) => {
                let _ = writeln!(std::io::stdout(), "{json:#}");
                return 0;
            }
            Err(error) => Err(error.into()),
        },
        ["create", what @ ("manifests" | "ignition-configs" | "cluster")] => {
            create(what, &asked.folder, &settings, &mut log)
        }
        _ => {
            let _ = write!(std::io::stdout(), "{HELP}");
            return 0;
        }
    };
    match end {
        Ok(()) => 0,
        Err(ended) => {
            log.say(if ended.code == 3 { "error" } else { "fatal" }, &ended.message);
            ended.code
        }
    }
}

/// The images that nodes of the release boot from, as far as anybody asks for them.
fn stream() -> std::io::Result<serde_json::Value> {
    let program = std::fs::read(std::env::current_exe()?)?;
    let last = program.trim_ascii_end().rsplit(|byte| *byte == b'\n').next();
    let last = String::from_utf8_lossy(last.unwrap_or_default()).into_owned();
    let words: Vec<&str> = last.split(' ').collect();
    let (location, sum) = match words.as_slice() {
        ["live:", location, sum] => (*location, (*sum).to_owned()),
        _ => ("https://images.invalid/live.iso", "0".repeat(64)),
    };
    let iso = serde_json::json!({ "disk": { "location": location, "sha256": sum } });
    Ok(
        serde_json::json!({ "stream": "stand-in", "architectures": { "x86_64": { "artifacts": {
        "metal": { "release": "stand-in", "formats": { "iso": iso } } } } } }),
    )
}

fn create(what: &str, folder: &Path, settings: &Settings, log: &mut Log) -> Result<(), Ended> {
    use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
    std::fs::DirBuilder::new().recursive(true).mode(0o750).create(folder)?;
    let opened = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o644)
        .open(folder.join(".openshift_install.log"));
    log.file = Some(opened.map_err(|error| Ended::general(format!("failed to open log file: {error}")))?);
    log.say(
        "warning",
        "this is a stand-in of okd-play's tests, not openshift-install",
    );
    let mut store = store::Store::open(folder, settings)?;
    store.load(log)?;
    match what {
        "manifests" => store.manifests(log),
        "ignition-configs" => store.ignition_configs(log),
        _ => {
            store.consume(log)?;
            Err(Ended::general(
                "failed to fetch Cluster: platform none is a UPI platform, for which no cluster can be created",
            ))
        }
    }
}

/// Asks, as the real one does where nothing tells it: nothing is an answer to a menu without `none`.
fn ask() -> Ended {
    let _ = write!(
        std::io::stdout(),
        "? Platform  [Use arrows to move, type to filter]\n> aws\n  azure\n  vsphere\n"
    );
    let _ = std::io::stdout().flush();
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    Ended::general(
        "failed to fetch Master Machines: failed to load asset \"Install Config\": failed to fetch dependency of \"Install Config\": failed to generate asset \"Platform\": EOF",
    )
}
