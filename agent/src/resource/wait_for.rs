//! Waits until a port answers or is silent, a path is there or gone, or a file holds some text; changes nothing.

use super::pattern::Pattern;
use super::{Failure, Resource, ResourceError, View, Touches};
use crate::diff::Change;
use crate::path::AbsPath;
use crate::system::{Answer, Probe, System, SystemError};
use crate::value::{Map, Value, map};
use crate::{choice, params};
use serde::Serialize;
use std::time::{Duration, Instant};

/// The most that is read of a file to search, and of the kernel's tables, in bytes.
const READ_LIMIT: u64 = 64 << 20;

choice! {
    /// What is waited for.
    pub enum Awaited {
        /// The port answers; with `path`, as `present`.
        Started = "started",
        /// The port does not answer.
        Stopped = "stopped",
        /// The path is there.
        Present = "present",
        /// The path is not there; with `port`, as `stopped`.
        Absent = "absent",
        /// The port answers or not, but nobody is connected to it any more.
        Drained = "drained",
    }
}

params! {
    /// Waits for a port, a path, or text in a file.
    pub struct WaitFor {
        /// The host that has the port, by name or address.
        host: String = "127.0.0.1",
        /// The TCP port.
        port: Option<u16>,
        /// The path.
        path: Option<AbsPath>,
        /// Text that the file at `path` has to hold.
        search_regex: Option<Pattern>,
        /// What is waited for.
        state: Awaited = "started",
        /// Seconds to wait at most.
        timeout: u64 = "300",
        /// Seconds before the first look.
        delay: u64 = "0",
        /// Seconds between two looks.
        sleep: u64 = "1",
        /// Seconds until one attempt to connect is given up.
        connect_timeout: u64 = "5",
        /// With `drained`: addresses whose connections do not count.
        exclude_hosts: Vec<String>,
        /// What to say when the time is over.
        msg: Option<String>,
    }
}

/// It has come to pass.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct State {
    #[serde(skip)]
    elapsed: u64,
    #[serde(skip)]
    groups: Vec<String>,
}

impl View for State {
    fn changes(&self, _want: &Self) -> Vec<Change> {
        Vec::new()
    }
}

impl WaitFor {
    fn subject(&self) -> String {
        match (&self.port, &self.path) {
            (Some(port), _) => format!("{}:{port} to be {}", self.host, self.state.word()),
            (None, Some(path)) => match (&self.search_regex, self.gone()) {
                (Some(pattern), false) => format!("{path} to hold `{}`", pattern.text()),
                (Some(pattern), true) => format!("{path} not to hold `{}`", pattern.text()),
                (None, false) => format!("{path} to be there"),
                (None, true) => format!("{path} to be gone"),
            },
            (None, None) => format!("{} s", self.timeout),
        }
    }

    fn gone(&self) -> bool {
        matches!(self.state, Awaited::Absent | Awaited::Stopped)
    }

    /// The groups of the match, or nothing to speak of, where it has come to pass.
    fn look(&self, world: &dyn System) -> Result<Option<Vec<String>>, ResourceError> {
        let met = |met: bool| met.then(Vec::new);
        match (self.port, &self.path) {
            (Some(port), _) if self.state == Awaited::Drained => Ok(met(self.connections(port, world)? == 0)),
            (Some(port), _) => Ok(met(self.answers(port, world)? != self.gone())),
            (None, Some(path)) => self.look_at(path, world),
            (None, None) => Ok(None),
        }
    }

    fn look_at(&self, path: &AbsPath, world: &dyn System) -> Result<Option<Vec<String>>, ResourceError> {
        let Some(pattern) = &self.search_regex else {
            return Ok((world.stat(path)?.is_some() != self.gone()).then(Vec::new));
        };
        let regex = pattern.build(true, false).map_err(ResourceError::message)?;
        let bytes = world.read(path, READ_LIMIT)?.unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let found = regex.captures(&text);
        if self.gone() {
            return Ok(found.is_none().then(Vec::new));
        }
        let group = |part: Option<regex_lite::Match<'_>>| part.map_or_else(String::new, |part| part.as_str().to_owned());
        Ok(found.map(|found| found.iter().skip(1).map(group).collect()))
    }

    fn is_local(&self) -> bool {
        ["localhost", "::1", "0.0.0.0", "::"].contains(&self.host.as_str()) || self.host.starts_with("127.")
    }

    /// Whether something listens at the port of this machine, or a connection to another one is taken.
    fn answers(&self, port: u16, world: &dyn System) -> Result<bool, ResourceError> {
        let table = if self.is_local() { sockets(world)? } else { None };
        if let Some(sockets) = table {
            return Ok(sockets.iter().any(|socket| socket.listens_for(port, &self.host)));
        }
        let script = "exec 3<>\"/dev/tcp/$0/$1\"";
        let (seconds, port) = (self.connect_timeout.max(1), port.to_string());
        let mut probe = Probe::new("", &["bash", "-c", script, &self.host, &port]);
        probe.timeout = Some(seconds);
        let mut answer = self.asked(&probe, world)?;
        if answer.rc == Answer::NO_PROGRAM {
            probe = Probe::new("", &["nc", "-z", "-w", &seconds.to_string(), &self.host, &port]);
            probe.timeout = Some(seconds + 1);
            answer = self.asked(&probe, world)?;
        }
        if answer.rc == Answer::NO_PROGRAM {
            return Err(ResourceError::message("to connect to another host, the machine needs `bash` or `nc`"));
        }
        Ok(answer.success())
    }

    fn asked(&self, probe: &Probe, world: &dyn System) -> Result<Answer, ResourceError> {
        match world.probe(probe) {
            Err(SystemError::Timeout { .. }) => Ok(Answer::status(1)),
            other => Ok(other?),
        }
    }

    fn connections(&self, port: u16, world: &dyn System) -> Result<usize, ResourceError> {
        let Some(sockets) = sockets(world)? else {
            return Err(ResourceError::message("`drained` needs /proc/net/tcp, which this machine does not have"));
        };
        let counts = |socket: &&Socket| {
            socket.port == port && socket.is_active() && !self.exclude_hosts.contains(&socket.remote)
        };
        Ok(sockets.iter().filter(counts).count())
    }

    fn over(&self, elapsed: u64) -> ResourceError {
        let said = self.msg.clone();
        ResourceError::Failed(Box::new(Failure {
            message: said.unwrap_or_else(|| format!("waited {} s in vain for {}", self.timeout, self.subject())),
            result: map([("elapsed", Value::Int(elapsed as i64)), ("state", self.state.word().into())]),
            ..Failure::default()
        }))
    }

    fn wait(&self, world: &dyn System) -> Result<State, ResourceError> {
        let start = Instant::now();
        let limit = Duration::from_secs(self.timeout);
        std::thread::sleep(Duration::from_secs(self.delay).min(limit));
        loop {
            let found = self.look(world)?;
            let elapsed = start.elapsed().as_secs();
            if let Some(groups) = found {
                return Ok(State { elapsed, groups });
            }
            let left = limit.saturating_sub(start.elapsed());
            if left.is_zero() && self.port.is_none() && self.path.is_none() {
                return Ok(State { elapsed, groups: Vec::new() });
            }
            if left.is_zero() {
                return Err(self.over(elapsed));
            }
            std::thread::sleep(Duration::from_secs(self.sleep.max(1)).min(left));
        }
    }
}

/// A line of /proc/net/tcp, see proc(5).
#[derive(Debug, PartialEq)]
struct Socket {
    local: String,
    port: u16,
    remote: String,
    state: u8,
}

impl Socket {
    const LISTEN: u8 = 0x0a;

    fn listens_for(&self, port: u16, host: &str) -> bool {
        let any = ["0.0.0.0", "::"].contains(&self.local.as_str());
        let named = match host {
            "localhost" => ["127.0.0.1", "::1"].contains(&self.local.as_str()),
            "0.0.0.0" | "::" => true,
            host => self.local == host,
        };
        self.state == Socket::LISTEN && self.port == port && (any || named)
    }

    /// ESTABLISHED, SYN_SENT, SYN_RECV, FIN_WAIT1, FIN_WAIT2 and TIME_WAIT.
    fn is_active(&self) -> bool {
        (1..=6).contains(&self.state)
    }

    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace().skip(1);
        let (local, port) = words.next()?.split_once(':')?;
        let (remote, _) = words.next()?.split_once(':')?;
        let state = u8::from_str_radix(words.next()?, 16).ok()?;
        let port = u16::from_str_radix(port, 16).ok()?;
        Some(Socket { local: address(local)?, port, remote: address(remote)?, state })
    }
}

/// An address as the kernel prints it: 32-bit words in the byte order of the machine, taken for little-endian.
fn address(hex: &str) -> Option<String> {
    let mut bytes = Vec::new();
    for word in hex.as_bytes().chunks(8) {
        let word = u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok()?;
        bytes.extend(word.to_le_bytes());
    }
    if let Ok(four) = <[u8; 4]>::try_from(bytes.as_slice()) {
        return Some(std::net::Ipv4Addr::from(four).to_string());
    }
    let address = std::net::Ipv6Addr::from(<[u8; 16]>::try_from(bytes.as_slice()).ok()?);
    Some(address.to_ipv4_mapped().map_or_else(|| address.to_string(), |four| four.to_string()))
}

/// The machine's TCP sockets; `None` where it has no such table.
fn sockets(world: &dyn System) -> Result<Option<Vec<Socket>>, ResourceError> {
    let mut sockets = None;
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let path = AbsPath::new(table).map_err(ResourceError::message)?;
        if let Some(bytes) = world.read(&path, READ_LIMIT)? {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            sockets.get_or_insert_with(Vec::new).extend(text.lines().skip(1).filter_map(Socket::parse));
        }
    }
    Ok(sockets)
}

impl Resource for WaitFor {
    const NAMES: &'static [&'static str] = &["wait_for", "ansible.builtin.wait_for"];
    const EXAMPLE: &'static str = "- name: Until the API listens\n  wait_for:\n    host: 192.0.2.5\n    port: 6443\n    timeout: 1800\n";
    const PREDICTS: &'static str = "nothing is waited for in a plan: what has not come to pass is unknown until applied";
    const TOUCHES: Touches = Touches::Nothing;
    type World = dyn System;
    type State = State;

    fn check(&self) -> Result<(), Vec<String>> {
        let mut problems = Vec::new();
        let mut refuse = |wrong: bool, problem: &str| wrong.then(|| problems.push(problem.to_owned()));
        refuse(self.port.is_some() && self.path.is_some(), "`port` and `path` exclude each other");
        refuse(self.search_regex.is_some() && self.path.is_none(), "`search_regex` needs `path`");
        refuse(self.state == Awaited::Drained && self.port.is_none(), "`state: drained` needs `port`");
        refuse(self.state == Awaited::Stopped && self.path.is_some(), "`state: stopped` needs `port`; a path is `absent`");
        refuse(!self.exclude_hosts.is_empty() && self.state != Awaited::Drained, "`exclude_hosts` goes with `state: drained`");
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    fn inspect(&self, world: &Self::World) -> Result<State, ResourceError> {
        if !world.predicted() {
            return self.wait(world);
        }
        let found = self.look(world)?.map(|groups| State { elapsed: 0, groups });
        Ok(found.ok_or_else(|| SystemError::Unknown(format!("waits for {}", self.subject())))?)
    }

    fn desire(&self, now: &State) -> Result<State, ResourceError> {
        Ok(now.clone())
    }

    fn apply(&self, _now: &State, _want: &State, _world: &Self::World) -> Result<Map, ResourceError> {
        Ok(Map::new())
    }

    fn result(&self, state: &State) -> Map {
        let mut result = map([
            ("elapsed", Value::Int(state.elapsed as i64)),
            ("state", self.state.word().into()),
            ("match_groups", state.groups.clone().into()),
        ]);
        if let Some(port) = self.port {
            result.insert("port".to_owned(), Value::Int(port.into()));
        }
        if let Some(path) = &self.path {
            result.insert("path".to_owned(), path.as_str().into());
        }
        result
    }
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::param::Params;
    use crate::resource::content::given;
    use crate::resource::laws::laws;
    use crate::resource::{Status, converge};
    use crate::system::fake::Fake;
    use crate::system::local::Local;
    use crate::system::overlay::Overlay;
    use std::net::TcpListener;
    use std::sync::Arc;

    fn status(pairs: &[(&str, &str)], world: &(dyn System + 'static)) -> Result<Status, String> {
        converge(&given::<WaitFor>(pairs), world, None).map(|end| end.status).map_err(|failure| failure.message)
    }

    #[test]
    fn the_kernels_table_is_read() {
        let line = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1";
        let socket = Socket::parse(line).unwrap();
        assert_eq!((socket.local.as_str(), socket.port, socket.state), ("127.0.0.1", 8080, Socket::LISTEN));
        assert!(socket.listens_for(8080, "localhost") && !socket.listens_for(8080, "127.0.0.2"));
        assert_eq!(address("00000000000000000000000001000000").as_deref(), Some("::1"));
        assert_eq!(address("0000000000000000FFFF00000100007F").as_deref(), Some("127.0.0.1"));
        assert!(Socket::parse("  sl  local_address rem_address   st").is_none());
    }

    #[test]
    fn ports_are_waited_for() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port().to_string();
        let local = Local::new();
        assert_eq!(status(&[("port", &port), ("timeout", "5")], &local), Ok(Status::Same));
        assert_eq!(status(&[("port", &port), ("state", "drained"), ("timeout", "5")], &local), Ok(Status::Same));
        let vain = status(&[("port", &port), ("state", "stopped"), ("timeout", "0")], &local).unwrap_err();
        assert!(vain.contains("in vain for 127.0.0.1:") && vain.ends_with("to be stopped"), "{vain}");
        let plan = Overlay::new(Arc::new(Local::new()));
        let stopped = status(&[("port", &port), ("state", "stopped")], &plan).unwrap();
        assert!(matches!(stopped, Status::Unknown(reason) if reason.starts_with("waits for 127.0.0.1:")));
        drop(listener);
        assert_eq!(status(&[("port", &port), ("state", "stopped"), ("timeout", "5")], &local), Ok(Status::Same));
    }

    #[test]
    fn another_hosts_port_is_tried() {
        let world = |rc| Fake::new().command(&["bash"], Answer::status(rc)).command(&["nc"], Answer::status(0));
        let pairs = [("host", "192.0.2.5"), ("port", "6443"), ("timeout", "0")];
        assert_eq!(status(&pairs, &world(0)), Ok(Status::Same));
        assert!(status(&pairs, &world(1)).is_err());
        assert_eq!(status(&pairs, &world(Answer::NO_PROGRAM)), Ok(Status::Same));
    }

    #[test]
    pub(crate) fn paths_and_text_are_waited_for() {
        let world = || Fake::new().file("/log", "starting\nready on 8080\n");
        for (pairs, good) in [
            (vec![("path", "/log")], true),
            (vec![("path", "/none")], false),
            (vec![("path", "/none"), ("state", "absent")], true),
            (vec![("path", "/log"), ("state", "absent")], false),
            (vec![("path", "/log"), ("search_regex", r"^ready on (\d+)$")], true),
            (vec![("path", "/log"), ("search_regex", "^failed")], false),
            (vec![("path", "/none"), ("search_regex", "x")], false),
        ] {
            let pairs = [&pairs[..], &[("timeout", "0")]].concat();
            assert_eq!(status(&pairs, &world()).is_ok(), good, "{pairs:?}");
            laws(&given::<WaitFor>(&pairs), world);
        }
        let found: WaitFor = given(&[("path", "/log"), ("search_regex", r"on (\d+)")]);
        let outcome = converge(&found, &world() as &(dyn System + 'static), None).unwrap();
        assert_eq!(outcome.result["match_groups"], vec!["8080"].into());
        let bare: WaitFor = given(&[("timeout", "0")]);
        assert_eq!(converge(&bare, &world() as &(dyn System + 'static), None).unwrap().status, Status::Same);
    }

    #[test]
    fn contradictions_are_refused() {
        for pairs in [
            vec![("port", "1"), ("path", "/x")],
            vec![("search_regex", "x")],
            vec![("state", "drained")],
            vec![("path", "/x"), ("state", "stopped")],
        ] {
            let args = pairs.iter().map(|(name, value)| ((*name).to_owned(), Value::from(*value))).collect();
            assert!(WaitFor::decode(&args).unwrap().check().is_err(), "{pairs:?}");
        }
    }
}
