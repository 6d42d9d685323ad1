//! Asks a service one question, as a machine of the site would, and compares what comes with what should; changes nothing.
//!
//! The host's own programs ask: `dig`, `bash`, `openssl`, `curl`, `ping`, `dhclient`; in another network namespace by `ip netns exec`.

use super::checksum::Algorithm;
use super::{Failure, Resource, ResourceError, View, Touches};
use crate::order::sort;
use crate::diff::Change;
use crate::params;
use crate::system::{Answer, Probe as Question, Staged, System, SystemError};
use crate::value::{Map, Value, map};
use indexmap::IndexMap;
use serde::Serialize;
use std::time::Duration;

/// Seconds that one question may take.
const PATIENCE: u64 = 5;
/// Connects by the shell itself.
const CONNECT: &str = "exec 3<>\"/dev/tcp/$0/$1\"";
/// Shows a server's certificate.
const CERTIFICATE: &str =
    "openssl s_client -connect \"$0\" -servername \"$1\" </dev/null 2>/dev/null | openssl x509 -noout -subject -issuer -checkhost \"$1\"";
/// Asks for an address as the card with this MAC, and gives it back.
const OFFER: &str = r#"d=$0; chmod 700 "$2/told"
[ -z "$1" ] || { d=okdp$$; ip link add "$d" link "$0" address "$1" type macvlan mode bridge && ip link set "$d" up || exit; }
dhclient -1 -q -cf "$2/conf" -sf "$2/told" -lf "$2/leases" -pf "$2/pid" "$d" >&2
dhclient -r -q -cf "$2/conf" -sf "$2/told" -lf "$2/leases" -pf "$2/pid" "$d" >&2
[ -z "$1" ] || ip link del "$d"
cat "$2/offer" 2>/dev/null"#;
const TOLD: &[u8] = b"#!/bin/sh\n[ \"$reason\" != BOUND ] || set | sed -n \"s/^new_//p\" | tr -d \"'\" >\"${0%/*}/offer\"\n";
const CONF: &[u8] = b"timeout 15;\nretry 1;\nrequest subnet-mask, broadcast-address, routers, domain-name, domain-name-servers, \
    domain-search, host-name, interface-mtu, ntp-servers;\n";

params! {
    /// Asks a service one question and fails when another answer comes than the one that is wanted. One of `dns`, `dhcp`, `tcp`,
    /// `tls`, `http`, `ping` and `program` says what is asked.
    pub struct Probe {
        /// A name, or with `type: PTR` an address, to look up.
        dns: Option<String>,
        /// The interface on which to ask for an address.
        dhcp: Option<String>,
        /// `HOST:PORT` to connect to.
        tcp: Option<String>,
        /// `HOST:PORT` whose certificate to look at.
        tls: Option<String>,
        /// The URL of a page. Certificates are not looked at; `tls` does that.
        http: Option<String>,
        /// The host to ping.
        ping: Option<String>,
        /// A program that says something of itself or of the host, such as `oc`. It has to change nothing: a plan runs it too.
        program: Option<String>,
        /// With `program`: its arguments, such as `[version, --client]`.
        args: Vec<String>,
        /// The answer that is wanted: addresses or names (`dns`; an empty list is none), the address (`dhcp`), `open` or `closed`
        /// (`tcp`), parts of subject or issuer (`tls`), the status (`http`), lines or words (`program`). Without it: any, the port open,
        /// status 200.
        want: Option<Vec<String>> ["expect"],
        /// With `dns`: the type of record.
        r#type: String = "A",
        /// With `dns`: the name server; the system's without it.
        server: Option<String>,
        /// With `dns`: ask by TCP.
        over_tcp: bool = "no",
        /// With `tls`: the name that the certificate has to bear; the host without it.
        name: Option<String>,
        /// With `http`: text that the page has to hold.
        body: Option<String>,
        /// With `http`: the page's SHA-256.
        sha256: Option<String>,
        /// With `dhcp`: the MAC to ask with, on an interface of its own for that time; the interface's own without it.
        mac: Option<String>,
        /// With `dhcp`: options of the offer, such as `routers: 10.0.0.1`, by dhclient's names.
        options: IndexMap<String, String>,
        /// With `ping`: bytes of data; with an IPv4 header and ICMP's, 28 more are sent.
        size: Option<u64>,
        /// With `ping`: packets may not be fragmented on the way.
        df: bool = "no",
        /// The network namespace to ask from.
        netns: Option<String>,
        /// How often it is asked again.
        retries: u64 = "2",
        /// Seconds between.
        delay: u64 = "2",
    }
}

/// What was asked, and what came.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct State {
    #[serde(skip)]
    came: String,
}

impl View for State {
    fn changes(&self, _want: &Self) -> Vec<Change> {
        Vec::new()
    }
}

impl Probe {
    fn subjects(&self) -> [&Option<String>; 7] {
        [&self.dns, &self.dhcp, &self.tcp, &self.tls, &self.http, &self.ping, &self.program]
    }

    /// For people, with where it is asked from.
    pub(super) fn asked(&self) -> String {
        let words = ["DNS", "DHCP", "TCP", "TLS", "HTTP", "ping", "program"];
        let named = words.iter().zip(self.subjects()).find_map(|(word, subject)| Some((word, subject.as_ref()?)));
        let mut text = named.map_or_else(String::new, |(word, subject)| format!("{word} {subject}"));
        let mut add = |word: &str, more: Option<String>| {
            if let Some(more) = more {
                text.push_str(word);
                text.push_str(&more);
            }
        };
        add(" ", (!self.args.is_empty()).then(|| self.args.join(" ")));
        add(" ", self.dns.as_ref().map(|_| self.r#type.clone()));
        add(" of ", self.server.clone());
        add("", self.over_tcp.then(|| " by TCP".to_owned()));
        add(" as ", self.mac.clone());
        add(" with ", self.size.map(|size| format!("{size} bytes")));
        add("", self.df.then(|| " unfragmented".to_owned()));
        add(" from namespace ", self.netns.clone());
        text
    }

    fn wanted(&self) -> String {
        let list = self.want.clone().unwrap_or_default();
        let mut text = list.join(", ");
        if text.is_empty() {
            let plain = match (&self.want, &self.tcp, &self.http) {
                (Some(_), ..) => "no answer",
                (_, Some(_), _) => "open",
                (.., Some(_)) => "200",
                _ => "an answer",
            };
            text.push_str(plain);
        }
        for (name, value) in &self.options {
            text.push_str(&format!(", {name} {value}"));
        }
        for (word, more) in [("name", &self.name), ("text", &self.body), ("SHA-256", &self.sha256)] {
            if let Some(more) = more {
                text.push_str(&format!(", {word} {more}"));
            }
        }
        text
    }

    /// Asks once; `None` where the program did not end in its time.
    fn ask(&self, world: &dyn System, argv: &[&str], stage: Vec<Staged>) -> Result<Answer, ResourceError> {
        let mut all = Vec::new();
        if let Some(netns) = &self.netns {
            all.extend(["ip", "netns", "exec", netns]);
        }
        all.extend(argv);
        let mut question = Question::new("", &all);
        question.timeout = Some(if stage.is_empty() { 2 * PATIENCE } else { 60 });
        question.stage = stage;
        match world.probe(&question) {
            Err(SystemError::Timeout { .. }) => Ok(Answer::status(1)),
            Ok(answer) if answer.rc == Answer::NO_PROGRAM => {
                let program = all.first().copied().unwrap_or_default();
                Err(ResourceError::message(format!("to ask this, the machine needs `{program}`")))
            }
            other => Ok(other?),
        }
    }

    /// What comes, and whether it is what is wanted.
    fn look(&self, world: &dyn System) -> Result<(bool, String), ResourceError> {
        let text = |answer: &Answer| String::from_utf8_lossy(&answer.stdout).trim().to_owned();
        let patience = PATIENCE.to_string();
        match self.subjects() {
            [Some(name), ..] => {
                let server = self.server.as_ref().map(|server| format!("@{server}"));
                let mut argv = vec!["dig", "+short", "+time=3", "+tries=1"];
                argv.extend(self.over_tcp.then_some("+tcp"));
                argv.extend(server.as_deref());
                match self.r#type == "PTR" && name.parse::<std::net::IpAddr>().is_ok() {
                    true => argv.extend(["-x", name.as_str()]),
                    false => argv.extend([name.as_str(), self.r#type.as_str()]),
                }
                let answer = self.ask(world, &argv, Vec::new())?;
                if !answer.success() {
                    return Ok((false, "the name server does not answer".to_owned()));
                }
                let came = sorted(text(&answer).lines());
                let met = match &self.want {
                    Some(want) => sorted(want.iter().map(String::as_str)) == came,
                    None => !came.is_empty(),
                };
                Ok((met, if came.is_empty() { "no answer".to_owned() } else { came.join(", ") }))
            }
            [_, Some(interface), ..] => self.offer(world, interface),
            [_, _, Some(place), ..] => {
                let (host, port) = place.rsplit_once(':').unwrap_or((place, ""));
                let host = host.trim_matches(['[', ']']);
                let answer = self.ask(world, &["timeout", &patience, "bash", "-c", CONNECT, host, port], Vec::new())?;
                let came = if answer.success() { "open" } else { "closed" };
                Ok((self.want.as_ref().map_or("open", |want| want.first().map_or("", String::as_str)) == came, came.to_owned()))
            }
            [_, _, _, Some(place), ..] => {
                let host = place.rsplit_once(':').map_or(place.as_str(), |(host, _)| host);
                let name = self.name.as_deref().unwrap_or(host);
                let came = text(&self.ask(world, &["timeout", &patience, "sh", "-c", CERTIFICATE, place, name], Vec::new())?);
                let fits = self.want.iter().flatten().all(|part| came.contains(part.as_str()));
                let met = fits && came.contains("does match certificate");
                Ok((met, if came.is_empty() { "no certificate".to_owned() } else { came.replace('\n', "; ") }))
            }
            [.., Some(url), _, _] => {
                let argv = ["curl", "-sk", "-m", &patience, "-w", "\n%{http_code}", url];
                let answer = self.ask(world, &argv, Vec::new())?;
                let at = answer.stdout.iter().rposition(|byte| *byte == b'\n').unwrap_or_default();
                let (page, status) = answer.stdout.split_at(at);
                let status = String::from_utf8_lossy(status).trim().to_owned();
                let wanted = self.want.as_ref().and_then(|want| want.first()).map_or("200", String::as_str);
                let sum = Algorithm::Sha256.of(page);
                let met = wanted == status
                    && self.body.as_ref().is_none_or(|part| String::from_utf8_lossy(page).contains(part.as_str()))
                    && self.sha256.as_ref().is_none_or(|wanted| *wanted == sum);
                let came = match status.as_str() {
                    "" | "000" => "nobody answers".to_owned(),
                    _ => format!("{status}, {} bytes of SHA-256 {sum}", page.len()),
                };
                Ok((met, came))
            }
            [.., Some(program)] => {
                let argv: Vec<&str> = std::iter::once(program).chain(&self.args).map(String::as_str).collect();
                let answer = self.ask(world, &argv, Vec::new())?;
                if !answer.success() {
                    return Ok((false, format!("status {}", answer.rc)));
                }
                let said = text(&answer);
                let has = |part: &String| said.lines().any(|line| line.trim() == part) || said.split_whitespace().any(|word| word == part);
                let first = said.lines().next().unwrap_or_default();
                Ok((self.want.iter().flatten().all(has), first.to_owned()))
            }
            [.., Some(host), _] => {
                let size = self.size.unwrap_or(56).to_string();
                let mut argv = vec!["ping", "-n", "-c", "1", "-W", "3", "-s", &size];
                if self.df {
                    argv.extend(["-M", "do"]);
                }
                argv.push(host);
                let answer = self.ask(world, &argv, Vec::new())?;
                let told = text(&answer);
                // What a router says on the way comes as an answer from somebody else.
                let router = told.lines().find(|line| line.starts_with("From ")).unwrap_or_default();
                let said = String::from_utf8_lossy(&answer.stderr).trim().to_owned();
                Ok(match (answer.success(), said.as_str(), router) {
                    (true, ..) => (true, "an answer".to_owned()),
                    (false, "", "") => (false, "no answer".to_owned()),
                    (false, "", router) => (false, router.to_owned()),
                    (false, said, _) => (false, said.to_owned()),
                })
            }
            _ => Ok((false, String::new())),
        }
    }

    fn offer(&self, world: &dyn System, interface: &str) -> Result<(bool, String), ResourceError> {
        let staged = |path: &str, bytes: &[u8]| Staged { path: path.to_owned(), bytes: bytes.to_vec() };
        let stage = vec![staged("told", TOLD), staged("conf", CONF)];
        let mac = self.mac.as_deref().unwrap_or_default();
        let answer = self.ask(world, &["sh", "-c", OFFER, interface, mac, "{stage}"], stage)?;
        let text = String::from_utf8_lossy(&answer.stdout).into_owned();
        let found = |name: &str| {
            let key = name.replace('-', "_");
            text.lines().filter_map(|line| line.split_once('=')).find(|(own, _)| *own == key).map(|(_, value)| value)
        };
        let address = found("ip_address");
        let fits = match self.want.as_ref().and_then(|want| want.first()) {
            Some(wanted) => address == Some(wanted),
            None => address.is_some() != self.want.is_some(),
        };
        let met = fits && self.options.iter().all(|(name, value)| found(name) == Some(value));
        let mut came = address.unwrap_or("no offer").to_owned();
        for name in self.options.keys() {
            came.push_str(&format!(", {name} {}", found(name).unwrap_or("missing")));
        }
        Ok((met, came))
    }

    fn told(&self, came: &str, met: bool) -> Map {
        map([
            ("asked", self.asked().into()),
            ("wanted", self.wanted().into()),
            ("came", came.into()),
            ("met", Value::Bool(met)),
        ])
    }
}

fn sorted<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut all: Vec<String> = lines.map(|line| line.trim().trim_end_matches('.').to_owned()).filter(|line| !line.is_empty()).collect();
    sort(&mut all);
    all
}

impl Resource for Probe {
    const NAMES: &'static [&'static str] = &["probe"];
    const EXAMPLE: &'static str = "- name: The API's name leads to the load balancer\n  probe:\n    dns: api.okd.example.org\n    server: 10.0.0.1\n    want: 10.0.0.1\n";
    const PREDICTS: &'static str = "what is as wanted already; what is not yet is unknown until applied, and DHCP is not asked in a plan";
    const TOUCHES: Touches = Touches::Nothing;
    type World = dyn System;
    type State = State;

    fn check(&self) -> Result<(), Vec<String>> {
        match self.subjects().iter().filter(|subject| subject.is_some()).count() {
            1 => Ok(()),
            _ => Err(vec!["it asks exactly one of `dns`, `dhcp`, `tcp`, `tls`, `http`, `ping`, `program`".to_owned()]),
        }
    }

    fn inspect(&self, world: &Self::World) -> Result<State, ResourceError> {
        if world.predicted() {
            let came = match self.dhcp {
                None => self.look(world).ok().filter(|(met, _)| *met).map(|(_, came)| came),
                Some(_) => None,
            };
            let came = came.ok_or_else(|| SystemError::Unknown(format!("asks {}", self.asked())))?;
            return Ok(State { came });
        }
        let mut left = self.retries;
        loop {
            let (met, came) = self.look(world)?;
            if met {
                return Ok(State { came });
            }
            if left == 0 {
                return Err(ResourceError::Failed(Box::new(Failure {
                    message: format!("asked {}: wanted {}, came {came}", self.asked(), self.wanted()),
                    result: self.told(&came, false),
                    ..Failure::default()
                })));
            }
            left -= 1;
            std::thread::sleep(Duration::from_secs(self.delay));
        }
    }

    fn desire(&self, now: &State) -> Result<State, ResourceError> {
        Ok(now.clone())
    }

    fn apply(&self, _now: &State, _want: &State, _world: &Self::World) -> Result<Map, ResourceError> {
        Ok(Map::new())
    }

    fn result(&self, state: &State) -> Map {
        self.told(&state.came, true)
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
    use crate::system::overlay::Overlay;
    use std::sync::Arc;

    fn says(program: &'static str, rc: i32, stdout: &str) -> Fake {
        let answer = Answer { stdout: stdout.into(), ..Answer::status(rc) };
        Fake::new().command(&[program], answer)
    }

    fn asked(pairs: &[(&str, &str)], world: &Fake) -> Result<Map, String> {
        let pairs = [pairs, &[("retries", "0")]].concat();
        let end = converge(&given::<Probe>(&pairs), world as &(dyn System + 'static), None);
        end.map(|end| end.result).map_err(|failure| failure.message)
    }

    #[test]
    pub(crate) fn answers_are_compared() {
        let dns = |want: &'static str| vec![("dns", "api.okd.example.org"), ("server", "10.0.0.1"), ("want", want)];
        let tls = |want: &'static str| vec![("tls", "10.0.0.1:6443"), ("name", "api"), ("want", want)];
        let sum = Algorithm::Sha256.of(b"ok\n");
        let shown = "subject=CN = api\nissuer=CN = lb\nHostname api does match certificate\n";
        for (pairs, program, rc, stdout, good) in [
            (dns("10.0.0.1"), "dig", 0, "10.0.0.1\n", true),
            (dns("10.0.0.1,10.0.0.2"), "dig", 0, "10.0.0.2\n10.0.0.1\n", true),
            (dns("10.0.0.1"), "dig", 0, "", false),
            (dns(""), "dig", 0, "", true),
            (dns(""), "dig", 9, "", false),
            (vec![("tcp", "10.0.0.1:6443")], "timeout", 0, "", true),
            (vec![("tcp", "10.0.0.1:6443"), ("want", "closed")], "timeout", 0, "", false),
            (vec![("tcp", "10.0.0.1:6443"), ("want", "closed")], "timeout", 1, "", true),
            (tls("CN = lb"), "timeout", 0, shown, true),
            (tls("CN = other"), "timeout", 0, shown, false),
            (vec![("http", "http://x/"), ("sha256", &sum)], "curl", 0, "ok\n\n200", true),
            (vec![("http", "http://x/"), ("body", "ok")], "curl", 0, "no\n200", false),
            (vec![("http", "http://x/auth/"), ("want", "404")], "curl", 0, "gone\n404", true),
            (vec![("http", "http://x/")], "curl", 7, "\n000", false),
            (vec![("ping", "10.0.0.2"), ("size", "1422"), ("df", "yes")], "ping", 0, "", true),
            (vec![("ping", "10.0.0.2")], "ping", 1, "", false),
            (vec![("dhcp", "eth1"), ("want", "10.0.0.2")], "sh", 0, "ip_address=10.0.0.2\n", true),
            (vec![("dhcp", "eth1")], "sh", 0, "", false),
            (vec![("ping", "10.0.0.2"), ("netns", "inner")], "ip", 0, "", true),
            (vec![("program", "oc"), ("args", "version")], "oc", 0, "", true),
            (vec![("program", "oc"), ("want", "4.22.1")], "oc", 0, "Client Version: 4.22.1\n", true),
            (vec![("program", "oc"), ("want", "Client Version: 4.22.1")], "oc", 0, "Client Version: 4.22.1\nx\n", true),
            (vec![("program", "oc"), ("want", "4.22.1")], "oc", 0, "Client Version: 4.22.10\n", false),
            (vec![("program", "oc"), ("want", "4.22.1")], "oc", 1, "Client Version: 4.22.1\n", false),
        ] {
            let world = || says(program, rc, stdout);
            let end = asked(&pairs, &world());
            assert_eq!(end.is_ok(), good, "{pairs:?}: {end:?}");
            laws(&given::<Probe>(&[&pairs[..], &[("retries", "0")]].concat()), world);
        }
    }

    #[test]
    fn a_failure_says_what_was_asked_and_what_came() {
        let pairs = [("dns", "10.0.0.1"), ("type", "PTR"), ("server", "10.0.0.9"), ("want", "api.okd"), ("netns", "inner")];
        let said = asked(&pairs, &says("ip", 0, "other.\n")).unwrap_err();
        assert_eq!(said, "asked DNS 10.0.0.1 PTR of 10.0.0.9 from namespace inner: wanted api.okd, came other");
        let offer = "ip_address=10.0.0.2\nrouters=10.0.0.9\n";
        let mut probe: Probe = given(&[("dhcp", "eth1"), ("mac", "52:54:00:00:10:02"), ("retries", "0")]);
        probe.options.insert("routers".to_owned(), "10.0.0.1".to_owned());
        let failure = converge(&probe, &says("sh", 0, offer) as &(dyn System + 'static), None).unwrap_err();
        assert_eq!(
            failure.message,
            "asked DHCP eth1 as 52:54:00:00:10:02: wanted an answer, routers 10.0.0.1, came 10.0.0.2, routers 10.0.0.9"
        );
    }

    #[test]
    fn whoever_drops_a_packet_is_quoted() {
        let router = "PING 10.0.0.2\nFrom 10.0.0.1 icmp_seq=1 Frag needed and DF set (mtu = 1400)\n";
        let ping = [("ping", "10.0.0.2"), ("size", "1422"), ("df", "yes")];
        let said = asked(&ping, &says("ping", 1, router)).unwrap_err();
        assert!(said.ends_with("came From 10.0.0.1 icmp_seq=1 Frag needed and DF set (mtu = 1400)"), "{said}");
        let own = Answer { stderr: "ping: local error: message too long, mtu=1450\n".into(), ..Answer::status(1) };
        let said = asked(&ping, &Fake::new().command(&["ping"], own)).unwrap_err();
        assert!(said.ends_with("came ping: local error: message too long, mtu=1450"), "{said}");
    }

    #[test]
    fn a_program_is_named_with_its_words_and_has_to_be_there() {
        let pairs = [("program", "/opt/oc"), ("args", "version,--client"), ("want", "4.22.1")];
        let said = asked(&pairs, &says("/opt/oc", 0, "Client Version: 4.22.10\nKustomize Version: v5\n")).unwrap_err();
        assert_eq!(said, "asked program /opt/oc version --client: wanted 4.22.1, came Client Version: 4.22.10");
        let said = asked(&pairs, &Fake::new()).unwrap_err();
        assert!(said.contains("the machine needs `/opt/oc`"), "{said}");
        let plan = Overlay::new(Arc::new(Fake::new()));
        let end = converge(&given::<Probe>(&pairs), &plan as &(dyn System + 'static), None).unwrap();
        assert!(matches!(end.status, Status::Unknown(reason) if reason.contains("asks program /opt/oc")));
    }

    #[test]
    fn a_plan_does_not_fail() {
        let plan = Overlay::new(Arc::new(says("dig", 9, "")));
        let probe: Probe = given(&[("dns", "api.okd.example.org")]);
        let end = converge(&probe, &plan as &(dyn System + 'static), None).unwrap();
        assert!(matches!(end.status, Status::Unknown(reason) if reason == "asks DNS api.okd.example.org A"));
    }

    #[test]
    fn one_thing_is_asked() {
        for pairs in [vec![], vec![("dns", "x"), ("ping", "y")]] {
            let args = pairs.iter().map(|(name, value): &(&str, &str)| ((*name).to_owned(), Value::from(*value))).collect();
            assert!(Probe::decode(&args).unwrap().check().is_err(), "{pairs:?}");
        }
    }
}
