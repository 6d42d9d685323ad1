//! Plain SSH: one shell a host and user, spoken to in framed commands. Nothing is put on the host but what steps say.

mod talk;
mod words;

use super::agent;
use super::reach::Reach;
use super::ssh::Connection;
use super::sudo::{self, quoted};
use okd_agent::path::AbsPath;
use okd_agent::system::claim::Claim;
use okd_agent::system::links::Spot;
use okd_agent::system::local::{OUTPUT_LIMIT, PATH, PROBE_SECONDS, fill_in, stays, stem};
use okd_agent::system::{
    Action, Alter, Answer, Entry, FileKind, FileWrite, Make, Meta, Probe, Removal, Staged, System, SystemError,
};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use talk::{Reply, Talk};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWrite, BufReader};
use tokio::runtime::Handle;
use words::{Line, one_line};

/// What the far shell runs.
const DRIVER: &str = include_str!("shell/driver.sh");
const READY: &str = "okd-play-shell:";

/// What was seen of paths is used again for this long, unless something was changed: a resource looks at a path's
/// folders several times in a row.
const FRESH: Duration = Duration::from_millis(300);

/// What the driver's functions end with.
const NO_FOLDER: i32 = 42;
const ABSENT: i32 = 43;
const KIND: i32 = 44;
const SIZE: i32 = 45;
const TAKEN: i32 = 46;

/// A shell on a host. Its verbs block; they are for threads that may.
pub struct Shell {
    talk: Mutex<Talk>,
    runtime: Handle,
    /// The far shell's own folder.
    folder: String,
    pid: String,
    seen: Mutex<Sights>,
    count: AtomicU64,
}

/// What was seen lately, and since when.
type Sights = (Option<Instant>, HashMap<AbsPath, Option<Meta>>);

/// The command that starts the far shell.
#[must_use]
pub fn command() -> String {
    let driver: Vec<&str> = DRIVER
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .collect();
    let driver = quoted(&driver.join("\n"));
    format!(
        "exec env -i PATH={PATH} HOME=\"${{HOME:-/}}\" USER=\"${{USER:-}}\" LOGNAME=\"${{LOGNAME:-}}\" \
         XDG_RUNTIME_DIR=\"${{XDG_RUNTIME_DIR:-}}\" /bin/sh -c {driver}"
    )
}

impl Shell {
    /// Starts it over a connection.
    ///
    /// # Errors
    /// A sentence for the person.
    pub async fn start(connection: &Connection, reach: &Reach) -> Result<Shell, String> {
        let command = match &reach.become_user {
            Some(user) => sudo::command(user, reach.become_password.as_ref(), &command()),
            None => format!("/bin/sh -c {}", quoted(&command())),
        };
        let process = connection.exec(&command).await.map_err(|error| error.to_string())?;
        let (mut input, mut errors) = (process.stdin, process.stderr);
        let mut output = BufReader::new(process.stdout);
        let mut said = Vec::new();
        let greeting = agent::greeting(&mut output, &mut errors, &mut input, reach, &mut said, &[READY]);
        let Some(line) = greeting.await.map_err(|error| error.to_string())? else {
            return Err(agent::no_start(reach, &said).to_string());
        };
        tokio::spawn(async move {
            let mut chunk = [0; 4096];
            while matches!(errors.read(&mut chunk).await, Ok(count) if count > 0) {}
        });
        Shell::ready(input, output, &line)
    }

    /// Speaks with a shell that runs [`command`] already.
    ///
    /// # Errors
    /// A sentence, when it does not say that it is ready.
    pub async fn over<W, R>(input: W, mut output: R) -> Result<Shell, String>
    where
        W: AsyncWrite + Send + Unpin + 'static,
        R: AsyncBufRead + Send + Unpin + 'static,
    {
        let mut line = String::new();
        output.read_line(&mut line).await.map_err(|error| error.to_string())?;
        Shell::ready(input, output, line.trim_end())
    }

    fn ready<W, R>(input: W, output: R, line: &str) -> Result<Shell, String>
    where
        W: AsyncWrite + Send + Unpin + 'static,
        R: AsyncBufRead + Send + Unpin + 'static,
    {
        let said = line.strip_prefix(READY).unwrap_or(line);
        let Some((folder, pid)) = said.strip_prefix("ready ").and_then(|rest| rest.rsplit_once(' ')) else {
            return Err(format!("the shell there did not start: {said}"));
        };
        Ok(Shell {
            talk: Mutex::new(Talk::new(input, output)),
            runtime: Handle::current(),
            folder: folder.to_owned(),
            pid: pid.to_owned(),
            seen: Mutex::default(),
            count: AtomicU64::default(),
        })
    }

    fn ask(&self, line: &Line, data: &[u8]) -> Result<Reply, SystemError> {
        let mut talk = lock(&self.talk);
        self.runtime.block_on(talk.ask(line, data))
    }

    /// A request that changes something: what was seen is not known any more.
    fn change(&self, line: &Line, data: &[u8]) -> Result<Reply, SystemError> {
        let reply = self.ask(line, data);
        *lock(&self.seen) = Sights::default();
        reply
    }

    /// A change whose failure is the operating system's word.
    fn done(&self, verb: &str, path: &AbsPath, line: &Line) -> Result<(), SystemError> {
        let reply = self.change(line, &[])?;
        if reply.status == 0 {
            Ok(())
        } else {
            Err(failure(verb, path, &reply))
        }
    }

    /// A fresh number for names of this session.
    fn number(&self) -> u64 {
        self.count.fetch_add(1, Ordering::Relaxed)
    }

    /// A fresh name beside a path; see [`stem`].
    fn beside(&self, path: &AbsPath, stem: &str) -> String {
        let folder = path.parent().map(|parent| parent.to_string()).unwrap_or_default();
        format!("{}/{stem}{}-{}", folder.trim_end_matches('/'), self.pid, self.number())
    }

    fn spot(&self, path: &AbsPath, last: bool) -> Result<Spot, SystemError> {
        // One look tells of all folders on the way.
        drop(self.stat(path));
        Spot::find(path, last, &mut |at| self.stat(at))
    }

    fn look(&self, path: &AbsPath) -> Result<Option<Meta>, SystemError> {
        let mut paths = vec![path.clone()];
        while let Some(parent) = paths.last().and_then(AbsPath::parent) {
            paths.push(parent);
        }
        let line = Line::new("look").words(paths.iter().map(AbsPath::as_str));
        let reply = self.ask(&line, &[])?;
        if reply.status != 0 {
            return Err(failure("stat", path, &reply));
        }
        let found = metas(&reply.stdout, paths.len())
            .ok_or_else(|| SystemError::Lost(format!("the shell there cannot say what {path} is")))?;
        let mut seen = lock(&self.seen);
        if seen.0.is_none_or(|since| since.elapsed() > FRESH) {
            *seen = (Some(Instant::now()), HashMap::new());
        }
        let mut own = None;
        for (at, end) in paths.into_iter().zip(found) {
            let meta = match end {
                Seen::There(meta) => Some(*meta),
                Seen::Absent => None,
                Seen::Closed if at == *path => return Err(SystemError::io("stat", path, &"Permission denied")),
                Seen::Closed => continue,
            };
            if at == *path {
                own.clone_from(&meta);
            }
            seen.1.insert(at, meta);
        }
        Ok(own)
    }

    /// Runs a command as [`okd_agent::system::local::Local`] does.
    fn run(&self, run: &Run, change: bool) -> Result<Answer, SystemError> {
        let refuse = |reason: String| SystemError::Command {
            argv: run.argv.to_vec(),
            reason,
        };
        if run.argv.is_empty() {
            return Err(refuse("no program is named".to_owned()));
        }
        if run.argv.iter().any(|arg| arg.contains('\0')) {
            return Err(refuse("an argument holds a zero byte".to_owned()));
        }
        let mut line = Line::new("");
        if let Some(cwd) = run.cwd {
            line = line
                .code("[ -d")
                .word(cwd.as_str())
                .code(" ] && cd --")
                .word(cwd.as_str());
            line = line.code(&format!(" || exit {NO_FOLDER}; "));
        }
        for (name, value) in run.env {
            if !is_name(name) || value.contains('\0') {
                return Err(refuse(format!("`{name}` cannot be set by a shell")));
            }
            line = line.code(&format!("export {name}=")).code(&one_line(value)).code("; ");
        }
        let limit = run.timeout.map_or("-".to_owned(), |seconds| seconds.to_string());
        line = line.code("go").word(&limit).words(run.argv.iter().map(String::as_str));
        let begun = Instant::now();
        let reply = if change {
            self.change(&line, run.stdin)?
        } else {
            self.ask(&line, run.stdin)?
        };
        let over = run
            .timeout
            .filter(|seconds| begun.elapsed() >= Duration::from_secs(*seconds));
        match (reply.status, over) {
            (124 | 137, Some(seconds)) => Err(SystemError::Timeout {
                argv: run.argv.to_vec(),
                seconds,
            }),
            (NO_FOLDER, _) if run.cwd.is_some() && reply.stdout.is_empty() && reply.stderr.is_empty() => {
                let cwd = run.cwd.map(ToString::to_string).unwrap_or_default();
                Err(refuse(format!("there is no folder {cwd} to run it in")))
            }
            (126, _) if reply.stderr.starts_with(b"timeout: ") || reply.stderr.starts_with(b"/bin/sh: ") => {
                Err(refuse(reply.words()))
            }
            (rc, _) => Ok(Answer {
                rc,
                stdout: reply.stdout,
                stderr: reply.stderr,
                predicted: false,
            }),
        }
    }

    /// Lays files out in a fresh folder of the session; its path.
    fn stage(&self, files: &[Staged]) -> Result<String, SystemError> {
        let folder = format!("{}/stage{}", self.folder, self.number());
        let own = AbsPath::new(&self.folder).map_err(SystemError::Lost)?;
        let mut line = Line::new("umask 077; mkdir").word(&folder);
        let mut data = Vec::new();
        for file in files {
            stays(file, &own)?;
            let path = format!("{folder}/{}", file.path);
            let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
            let bytes = fill_in(&file.bytes, folder.as_bytes());
            line = line.code(" && mkdir -p --").word(parent);
            line = line.code(&format!(" && head -c {} >", bytes.len())).word(&path);
            data.extend(bytes);
        }
        let reply = self.ask(&line, &data)?;
        if reply.status == 0 {
            Ok(folder)
        } else {
            Err(failure("stage", &own, &reply))
        }
    }
}

/// A command with everything that it is given.
struct Run<'a> {
    argv: &'a [String],
    stdin: &'a [u8],
    env: &'a [(String, String)],
    cwd: Option<&'a AbsPath>,
    timeout: Option<u64>,
}

impl System for Shell {
    fn stat(&self, path: &AbsPath) -> Result<Option<Meta>, SystemError> {
        {
            let seen = lock(&self.seen);
            if let (Some(since), Some(meta)) = (seen.0, seen.1.get(path))
                && since.elapsed() < FRESH
            {
                return Ok(meta.clone());
            }
        }
        self.look(path)
    }

    fn read(&self, path: &AbsPath, limit: u64) -> Result<Option<Vec<u8>>, SystemError> {
        let most = limit.min(1 << 29);
        let line = Line::new("fetch").word(path.as_str()).word(&most.to_string());
        let reply = self.ask(&line, &[])?;
        let said = String::from_utf8_lossy(&reply.stdout);
        match reply.status {
            0 if reply.stdout.len() as u64 > most => Err(SystemError::TooLarge {
                path: path.to_string(),
                size: reply.stdout.len() as u64,
                limit,
            }),
            0 => Ok(Some(reply.stdout)),
            ABSENT => Ok(None),
            KIND => {
                let kind = if said.trim() == "d" {
                    FileKind::Directory
                } else {
                    FileKind::Other
                };
                Err(SystemError::wrong_kind(path, "a file", kind))
            }
            SIZE => {
                let size = said.trim().parse().unwrap_or(u64::MAX);
                Err(SystemError::TooLarge {
                    path: path.to_string(),
                    size,
                    limit,
                })
            }
            _ => Err(failure("read", path, &reply)),
        }
    }

    fn list(&self, dir: &AbsPath) -> Result<Vec<Entry>, SystemError> {
        let reply = self.ask(&Line::new("entries").word(dir.as_str()), &[])?;
        if reply.status != 0 {
            return Err(failure("list", dir, &reply));
        }
        let names = reply
            .stdout
            .split(|byte| *byte == 0)
            .filter_map(|entry| entry.split_first());
        let mut entries: Vec<Entry> = names
            .map(|(kind, name)| Entry {
                name: String::from_utf8_lossy(name).into_owned(),
                kind: match kind {
                    b'l' => FileKind::Link,
                    b'd' => FileKind::Directory,
                    b'f' => FileKind::File,
                    _ => FileKind::Other,
                },
            })
            .collect();
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    fn probe(&self, probe: &Probe) -> Result<Answer, SystemError> {
        let folder = if probe.stage.is_empty() {
            None
        } else {
            Some(self.stage(&probe.stage)?)
        };
        let argv: Vec<String> = match &folder {
            Some(folder) => probe.argv.iter().map(|arg| arg.replace("{stage}", folder)).collect(),
            None => probe.argv.clone(),
        };
        let timeout = Some(probe.timeout.unwrap_or(PROBE_SECONDS));
        let run = Run {
            argv: &argv,
            stdin: &probe.stdin,
            env: &probe.env,
            cwd: None,
            timeout,
        };
        let answer = self.run(&run, false);
        if let Some(folder) = folder {
            self.ask(&Line::new("rm -rf --").word(&folder), &[])?;
        }
        let answer = answer?;
        if answer.stdout.len() > OUTPUT_LIMIT {
            let reason = format!("it said more than {} MiB", OUTPUT_LIMIT >> 20);
            return Err(SystemError::Command { argv, reason });
        }
        Ok(answer)
    }

    fn write(&self, file: &FileWrite) -> Result<(), SystemError> {
        let spot = self.spot(&file.path, !file.replaces_link)?;
        let here = spot.takes_file(file.replaces_link)?;
        spot.has_folder("write")?;
        let path = &spot.path;
        let stem = stem(path.name().as_bytes());
        let fresh = self.beside(path, &stem);
        let mode = file.mode.or(here.map(|meta| meta.mode)).unwrap_or(0o644);
        let owners = owners(file.owner.as_deref(), file.group.as_deref());
        let kept = here
            .map(|meta| format!("{}:{}", meta.uid, meta.gid))
            .unwrap_or_default();
        let mode = format!("{mode:04o}");
        let mut line = Line::new("fill").words([&fresh, path.as_str(), stem.as_str(), &mode, &owners, &kept]);
        if let Some(argv) = &file.validate {
            let argv: Vec<String> = argv.iter().map(|arg| arg.replace("%s", &fresh)).collect();
            line = line.code("; (go 60").words(argv.iter().map(String::as_str));
            line = line.code(" </dev/null) || { echo $? >\"$D/checker\"; exit 41; }");
        }
        line = line.code("; swap").word(&fresh).word(path.as_str());
        let reply = self.change(&line, &file.bytes)?;
        match (reply.status, reply.checker, &file.validate) {
            (0, _, _) => Ok(()),
            (_, Some(rc), Some(argv)) => Err(SystemError::Refused {
                path: path.to_string(),
                argv: argv.iter().map(|arg| arg.replace("%s", &fresh)).collect(),
                answer: Answer {
                    rc,
                    stdout: reply.stdout,
                    stderr: reply.stderr,
                    predicted: false,
                },
            }),
            _ => Err(failure("write", path, &reply)),
        }
    }

    fn make(&self, path: &AbsPath, kind: &Make) -> Result<(), SystemError> {
        let spot = self.spot(path, false)?;
        let path = &spot.path;
        spot.has_folder("make")?;
        spot.is_free("make", matches!(kind, Make::Link { .. }))?;
        let line = match kind {
            Make::Directory { mode } => Line::new("mkdir -m 700 --")
                .word(path.as_str())
                .code(" && label")
                .word(path.as_str())
                .code(&format!(" && chmod -- {mode:04o}"))
                .word(path.as_str()),
            Make::Link { target } => {
                let fresh = self.beside(path, &stem(path.name().as_bytes()));
                Line::new("ln -sfT --")
                    .words([target.as_str(), &fresh])
                    .code(" && { mv -fT --")
                    .words([fresh.as_str(), path.as_str()])
                    .code(" || { rm -f --")
                    .word(&fresh)
                    .code("; exit 41; }; }")
            }
            Make::Hard { source } => {
                let meta = self.stat(source)?.ok_or_else(|| SystemError::missing("make", source))?;
                if meta.kind == FileKind::Directory {
                    return Err(SystemError::wrong_kind(source, "a file", meta.kind));
                }
                Line::new("ln -PT --").words([source.as_str(), path.as_str()])
            }
        };
        self.done("make", path, &line)
    }

    fn alter(&self, path: &AbsPath, change: &Alter) -> Result<(), SystemError> {
        let meta = self.stat(path)?.ok_or_else(|| SystemError::missing("alter", path))?;
        let owners = owners(change.owner.as_deref(), change.group.as_deref());
        let mut line = Line::new(":");
        if !owners.is_empty() {
            line = line.code(" && chown -h --").word(&owners).word(path.as_str());
        }
        // chown(2) drops the set-id bits; they are given back unless others are asked for.
        let lost = !owners.is_empty() && meta.mode & 0o6000 != 0;
        let mode = change
            .mode
            .or(lost.then_some(meta.mode))
            .filter(|_| meta.kind != FileKind::Link);
        if let Some(mode) = mode {
            line = line.code(" && chmod --").word(&chmod(mode, &meta)).word(path.as_str());
        }
        if let Some(mtime) = change.mtime {
            line = line
                .code(&format!(" && touch -h -m -d @{mtime} --"))
                .word(path.as_str());
        }
        self.done("alter", path, &line)
    }

    fn remove(&self, path: &AbsPath, how: Removal) -> Result<(), SystemError> {
        let spot = self.spot(path, false)?;
        let Some(meta) = &spot.here else { return Ok(()) };
        spot.may_go()?;
        let line = match (meta.kind, how) {
            (FileKind::Directory, Removal::File) => {
                return Err(SystemError::wrong_kind(&spot.path, "a file or link", meta.kind));
            }
            (FileKind::Directory, Removal::Tree) => Line::new("rm -rf --one-file-system --"),
            _ => Line::new("rm -f --"),
        };
        self.done("remove", &spot.path, &line.word(spot.path.as_str()))
    }

    fn act(&self, action: &Action) -> Result<Answer, SystemError> {
        let run = Run {
            argv: &action.argv,
            stdin: &action.stdin,
            env: &action.env,
            cwd: action.cwd.as_ref(),
            timeout: action.timeout,
        };
        let mut answer = self.run(&run, true)?;
        answer.stdout.truncate(OUTPUT_LIMIT);
        answer.stderr.truncate(OUTPUT_LIMIT);
        Ok(answer)
    }

    fn claim(&self, claim: &Claim) -> Result<Option<String>, SystemError> {
        let Claim { run, by, since, host } = claim;
        let line = Line::new("hold").words([run, by, since, host].map(String::as_str));
        let reply = self.ask(&line, &[])?;
        match reply.status {
            0 => Ok(None),
            TAKEN => {
                let held = Claim::parse(&String::from_utf8_lossy(&reply.stdout));
                let mut by = Box::new(held.unwrap_or_else(Claim::unknown));
                by.host.clone_from(host);
                Err(SystemError::Busy { by })
            }
            _ => Ok(Some(format!("no lock can be had: {}", reply.words()))),
        }
    }

    fn hang_up(&self, run: &str) -> bool {
        let line = Line::new("hang_up").words([run]);
        self.ask(&line, &[]).is_ok_and(|reply| reply.status == 0)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether a shell can have a variable of this name.
fn is_name(name: &str) -> bool {
    !name.starts_with(|first: char| first.is_ascii_digit())
        && !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// chown(1)'s word for an owner and a group.
fn owners(owner: Option<&str>, group: Option<&str>) -> String {
    match (owner, group) {
        (owner, Some(group)) => format!("{}:{group}", owner.unwrap_or_default()),
        (owner, None) => owner.unwrap_or_default().to_owned(),
    }
}

/// chmod(1) keeps a folder's set-id bits for a mode of four digits; five say that all are meant.
fn chmod(mode: u32, meta: &Meta) -> String {
    if meta.kind == FileKind::Directory {
        format!("{mode:05o}")
    } else {
        format!("{mode:04o}")
    }
}

fn failure(verb: &str, path: &AbsPath, reply: &Reply) -> SystemError {
    let text = String::from_utf8_lossy(&reply.stderr);
    for kind in ["user", "group"] {
        let mark = format!("invalid {kind}: ");
        if let Some(name) = text
            .lines()
            .find_map(|line| line.split_once(&mark).map(|(_, name)| name))
        {
            let name = name.trim_matches(['\'', '‘', '’', '"']).trim_start_matches(':');
            let name = match (kind, name.split_once(':')) {
                ("user", Some((name, _))) | ("group", Some((_, name))) => name,
                _ => name,
            };
            return SystemError::NoSuchId {
                kind: kind.to_owned(),
                name: name.to_owned(),
            };
        }
    }
    SystemError::io(verb, path, &reply.words())
}

enum Seen {
    There(Box<Meta>),
    Absent,
    Closed,
}

/// What the driver's `look` says of so many paths.
fn metas(said: &[u8], count: usize) -> Option<Vec<Seen>> {
    let mut lines = said.splitn(2, |byte| *byte == b'\n');
    let marks = lines.next()?;
    let mut rest = lines.next()?;
    let mut found: Vec<Seen> = Vec::with_capacity(count);
    for mark in marks {
        found.push(match mark {
            b'+' => {
                let end = rest.iter().position(|byte| *byte == b'\n')?;
                let meta = meta(std::str::from_utf8(rest.get(..end)?).ok()?)?;
                rest = rest.get(end + 1..)?;
                Seen::There(Box::new(meta))
            }
            b'!' => Seen::Closed,
            _ => Seen::Absent,
        });
    }
    let mut targets = rest.split(|byte| *byte == 0);
    for seen in &mut found {
        if let Seen::There(meta) = seen
            && meta.kind == FileKind::Link
        {
            meta.target = Some(String::from_utf8_lossy(targets.next()?).into_owned());
        }
    }
    (found.len() == count).then_some(found)
}

fn meta(line: &str) -> Option<Meta> {
    let mut parts = line.splitn(3, '/');
    let fields: Vec<&str> = parts.next()?.split(' ').collect();
    let (owner, group) = (parts.next()?, parts.next()?);
    let [bits, size, uid, gid, mtime, device, inode] = fields[..] else {
        return None;
    };
    let bits = u32::from_str_radix(bits, 16).ok()?;
    let kind = match bits & 0o170_000 {
        0o100_000 => FileKind::File,
        0o040_000 => FileKind::Directory,
        0o120_000 => FileKind::Link,
        _ => FileKind::Other,
    };
    let named = |name: &str, number: &str| {
        if name == "UNKNOWN" {
            number.to_owned()
        } else {
            name.to_owned()
        }
    };
    Some(Meta {
        kind,
        size: size.parse().ok()?,
        mode: bits & 0o7777,
        uid: uid.parse().ok()?,
        gid: gid.parse().ok()?,
        owner: named(owner, uid),
        group: named(group, gid),
        mtime: mtime.parse().ok()?,
        target: None,
        id: (device.parse().ok()?, inode.parse().ok()?),
    })
}
