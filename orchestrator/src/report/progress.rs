//! Where every host stands while a pass runs: a line each on a terminal, a line now and then where there is none. What
//! takes longer than a second says what it waits for, and until when.

use super::layout::{Piece, cut, piece, time, width};
use super::theme::{Label, Theme};
use super::{Event, StepResult, StepStatus};
use indexmap::IndexMap;
use std::collections::HashSet;
use std::time::{Duration, Instant};
use unicode_width::UnicodeWidthStr;

/// A pass under way.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// The line above the hosts.
    pub(crate) title: String,
    hosts: IndexMap<String, Host>,
    /// Whether the pass has ended: then nothing is live.
    over: bool,
}

#[derive(Debug, Default)]
struct Host {
    total: usize,
    done: usize,
    /// Steps that have ended, so that a loop's items count once.
    ended: HashSet<String>,
    /// Steps that were begun and have not ended, the oldest first.
    open: Vec<Open>,
    /// How the connection stands while nothing has been answered.
    link: Option<(String, Instant)>,
    answered: bool,
    failed: bool,
    /// How long it was at work.
    took: Duration,
    began: Option<Instant>,
    /// What has been said of what is open, where there is no terminal.
    said: usize,
}

#[derive(Debug)]
struct Open {
    task: String,
    since: Instant,
    limit: Option<Duration>,
    waiting: Option<Waits>,
}

/// What a step waits for.
#[derive(Debug)]
enum Waits {
    /// In words.
    For(String),
    /// For its condition to hold.
    Tries(Tries),
}

#[derive(Debug)]
struct Tries {
    attempt: u32,
    attempts: u32,
    /// When this try begins; `None`: it is under way.
    due: Option<Instant>,
    last: Instant,
}

/// Which try comes, when, and when the last one does.
pub(crate) fn again(attempt: u32, attempts: u32, wait: Duration, last: Duration) -> String {
    let seconds = |time: Duration| whole(time.as_secs_f64().round() as u64);
    match attempt < attempts {
        true => format!(
            "try {attempt} of {attempts} in {}, the last in {}",
            seconds(wait),
            seconds(last)
        ),
        false => format!("try {attempt} of {attempts}, the last, in {}", seconds(wait)),
    }
}

impl Waits {
    fn text(&self, now: Instant) -> String {
        match self {
            Waits::For(text) => text.clone(),
            Waits::Tries(tries) => {
                let until = |at: Instant| at.saturating_duration_since(now);
                match tries.due.filter(|due| *due > now) {
                    Some(due) => again(tries.attempt, tries.attempts, until(due), until(tries.last)),
                    None => format!("try {} of {}", tries.attempt, tries.attempts),
                }
            }
        }
    }
}

/// When a step that goes on is mentioned where there is no terminal, in seconds.
const MENTIONS: [u64; 6] = [1, 10, 30, 60, 120, 300];
/// And from then on, every so many seconds.
const THEN: u64 = 300;

impl Progress {
    /// Something happened.
    pub(crate) fn event(&mut self, event: &Event, now: Instant) {
        match event {
            Event::Begin { hosts, .. } => self.begin(hosts, now),
            Event::More { host, steps } => self.host(host).total += steps,
            Event::Link { host, text, .. } => self.host(host).link = Some((text.clone(), now)),
            Event::Started { host, task, limit } => self.host(host).open.push(Open {
                task: task.clone(),
                since: now,
                limit: *limit,
                waiting: None,
            }),
            Event::Waiting {
                host,
                task,
                text,
                limit,
            } => self.host(host).waits(task, Waits::For(text.clone()), *limit, now),
            Event::Again {
                host,
                task,
                attempt,
                attempts,
                wait,
                last,
            } => {
                let tries = Tries {
                    attempt: *attempt,
                    attempts: *attempts,
                    due: wait.map(|wait| now + wait),
                    last: now + *last,
                };
                self.host(host).waits(task, Waits::Tries(tries), None, now);
            }
            Event::Result(result) => self.host(&result.host).ended(result, now),
            Event::End { .. } => self.over = true,
            Event::Note { .. } => {}
        }
    }

    fn begin(&mut self, hosts: &[(String, usize)], now: Instant) {
        let fresh = |(name, total): &(String, usize)| {
            let host = Host {
                total: *total,
                began: Some(now),
                ..Host::default()
            };
            (name.clone(), host)
        };
        self.hosts = hosts.iter().map(fresh).collect();
        self.over = false;
    }

    fn host(&mut self, name: &str) -> &mut Host {
        self.hosts.entry(name.to_owned()).or_default()
    }

    /// How long a host was at work in this pass, in seconds.
    pub(crate) fn took(&self) -> impl Iterator<Item = (&str, f64)> {
        self.hosts
            .iter()
            .map(|(name, host)| (name.as_str(), host.took.as_secs_f64()))
    }

    /// The lines for a terminal with so many rows.
    pub(crate) fn lines(&self, theme: &Theme, rows: usize, now: Instant) -> Vec<String> {
        if self.over {
            return Vec::new();
        }
        let columns = theme.columns().saturating_sub(1);
        let room = rows.saturating_sub(2).max(2);
        let mut lines = vec![theme.paint(Label::Dim, &cut(&self.title, columns, theme.more()))];
        let all: Vec<(&String, &Host)> = self.hosts.iter().collect();
        let shown = match all.len() < room {
            true => all,
            false => {
                lines.push(painted(theme, &self.sum(theme, columns, now)));
                let mut busy: Vec<_> = all.into_iter().filter(|(_, host)| host.busy()).collect();
                busy.sort_by_key(|(_, host)| host.open.first().map(|open| open.since));
                busy.truncate(room.saturating_sub(2));
                busy
            }
        };
        let widest = shown.iter().map(|(name, _)| name.width()).max().unwrap_or(0);
        let names = widest.min(columns / 3);
        let digits = shown
            .iter()
            .map(|(_, host)| host.total.to_string().len())
            .max()
            .unwrap_or(1);
        for (name, host) in shown {
            lines.push(painted(theme, &host.line(name, names, digits, theme, columns, now)));
        }
        lines
    }

    /// All hosts in one line, where there are more of them than rows.
    fn sum(&self, theme: &Theme, columns: usize, now: Instant) -> Vec<Piece> {
        let (mut total, mut done, mut finished, mut failed) = (0, 0, 0, 0);
        for host in self.hosts.values() {
            total += host.total.max(host.done);
            done += host.done;
            finished += usize::from(host.finished());
            failed += usize::from(host.failed);
        }
        let mut line = vec![piece(Label::Plain, "  ")];
        line.extend(bar(theme, columns, done, total));
        let mut text = format!("{done}/{total}  {finished} of {} hosts done", self.hosts.len());
        if failed > 0 {
            text.push_str(&format!(", {failed} failed"));
        }
        let began = self.hosts.values().filter_map(|host| host.began).min();
        if let Some(began) = began {
            text.push_str(&format!("  {}", time(now.duration_since(began).as_secs_f64())));
        }
        line.push(piece(Label::Plain, text));
        line
    }

    /// What is worth a line of its own where there is no terminal: what has been going on for longer than was said.
    pub(crate) fn mentions(&mut self, now: Instant) -> Vec<String> {
        let mut lines = Vec::new();
        for (name, host) in &mut self.hosts {
            let Some((text, since, until)) = host.doing(now) else {
                continue;
            };
            let seconds = now.duration_since(since).as_secs();
            let due =
                MENTIONS.iter().filter(|at| **at <= seconds).count() + (seconds / THEN).saturating_sub(1) as usize;
            if due > host.said {
                let until = until.map_or_else(String::new, |limit| format!(" of at most {}", whole(limit.as_secs())));
                lines.push(format!("{name}  {text}  {}{until}\n", whole(seconds)));
                host.said = due;
            }
        }
        lines
    }
}

impl Host {
    fn waits(&mut self, task: &str, waits: Waits, limit: Option<Duration>, now: Instant) {
        match self.open.iter_mut().find(|open| open.task == task) {
            Some(open) => {
                open.waiting = Some(waits);
                open.limit = limit.or(open.limit);
            }
            None => self.open.push(Open {
                task: task.to_owned(),
                since: now,
                limit,
                waiting: Some(waits),
            }),
        }
        self.answered = true;
        self.said = 0;
    }

    fn ended(&mut self, result: &StepResult, now: Instant) {
        if let Some(at) = self.open.iter().position(|open| open.task == result.task) {
            self.open.remove(at);
            // What stands behind in the pipeline is being worked on from now.
            if let Some(next) = self.open.first_mut() {
                next.since = now;
            }
            self.said = 0;
        }
        self.answered = true;
        self.failed |= matches!(result.status, StepStatus::Failed | StepStatus::Unreachable);
        self.done += usize::from(self.ended.insert(result.path.clone()));
        if !matches!(result.status, StepStatus::Blocked) && !result.repeated {
            self.took = now.duration_since(self.began.unwrap_or(now));
        }
    }

    fn finished(&self) -> bool {
        self.done >= self.total
    }

    fn busy(&self) -> bool {
        !self.finished() && !self.open.is_empty()
    }

    /// What goes on, since when, and until when at most.
    fn doing(&self, now: Instant) -> Option<(String, Instant, Option<Duration>)> {
        if self.finished() {
            return None;
        }
        let open = self.open.first()?;
        if let (Some((link, since)), false) = (&self.link, self.answered) {
            return Some((link.clone(), *since, None));
        }
        let text = match &open.waiting {
            Some(waiting) => format!("{}: {}", open.task, waiting.text(now)),
            None => open.task.clone(),
        };
        Some((text, open.since, open.limit))
    }

    fn line(&self, name: &str, names: usize, digits: usize, theme: &Theme, columns: usize, now: Instant) -> Vec<Piece> {
        let name = cut(name, names, theme.more());
        let mut line = vec![piece(
            Label::Host,
            format!("  {name}{}  ", " ".repeat(names.saturating_sub(name.width()))),
        )];
        let total = self.total.max(self.done);
        line.extend(bar(theme, columns, self.done, total));
        line.push(piece(
            Label::Plain,
            format!("{:>digits$}/{total:<digits$}  ", self.done),
        ));
        let mut end = String::new();
        let text = match self.doing(now) {
            Some((text, since, limit)) => {
                let passed = now.duration_since(since);
                if passed >= Duration::from_secs(1) {
                    end = format!("  {}", whole(passed.as_secs()));
                    if let Some(limit) = limit {
                        end.push_str(&format!(" of {}", whole(limit.as_secs())));
                    }
                }
                text
            }
            None if self.finished() => time(self.took.as_secs_f64()),
            None => String::new(),
        };
        let room = columns.saturating_sub(width(&line) + end.width());
        if self.failed {
            line.push(piece(Label::Failed, format!("{} ", theme.failed())));
        }
        let room = room.saturating_sub(if self.failed { 2 } else { 0 });
        line.push(piece(Label::Plain, cut(&text, room, theme.more())));
        line.push(piece(Label::Dim, end));
        line
    }
}

/// Whole seconds, or minutes of them.
fn whole(seconds: u64) -> String {
    match (seconds / 60, seconds % 60) {
        (0 | 1, _) => format!("{seconds} s"),
        (minutes, 0) => format!("{minutes} min"),
        (minutes, seconds) => format!("{minutes} min {seconds} s"),
    }
}

/// A bar, where there is room for one.
fn bar(theme: &Theme, columns: usize, done: usize, total: usize) -> Vec<Piece> {
    let cells = match columns {
        columns if columns >= 90 => 30,
        columns if columns >= 64 => 16,
        _ => return Vec::new(),
    };
    let halves = match total {
        0 => 0,
        total => done.min(total) * cells * 2 / total,
    };
    let (full, half) = (halves / 2, halves % 2);
    let mut filled = theme.sign("━", "#").repeat(full);
    if half == 1 {
        filled.push_str(theme.sign("╸", "-"));
    }
    let rest = theme.sign("─", "-").repeat(cells - full - half);
    vec![
        piece(Label::Added, filled),
        piece(Label::Dim, rest),
        piece(Label::Plain, "  "),
    ]
}

fn painted(theme: &Theme, pieces: &[Piece]) -> String {
    let line: String = pieces
        .iter()
        .map(|(label, text)| theme.paint(*label, &super::layout::visible(text)))
        .collect();
    line.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::tests::result;
    use super::super::theme::Ink;
    use super::*;
    use crate::report::Pass;

    fn started(host: &str, task: &str, limit: Option<u64>) -> Event {
        Event::Started {
            host: host.to_owned(),
            task: task.to_owned(),
            limit: limit.map(Duration::from_secs),
        }
    }

    fn theme(width: usize, unicode: bool) -> Theme {
        Theme {
            ink: Ink::None,
            unicode,
            width: Some(width),
        }
    }

    fn two_hosts(now: Instant) -> Progress {
        let mut progress = Progress {
            title: "okd-play   services.yaml   2 hosts, 8 steps   planning".to_owned(),
            ..Progress::default()
        };
        let hosts = vec![("services".to_owned(), 4), ("edge".to_owned(), 4)];
        progress.event(
            &Event::Begin {
                pass: Pass::Plan,
                hosts,
            },
            now,
        );
        progress.event(&started("services", "packages", None), now);
        progress.event(&started("services", "named: zone okd.example.org", Some(300)), now);
        progress
    }

    #[test]
    fn a_host_has_a_line_with_what_it_does_and_until_when() {
        let now = Instant::now();
        let mut progress = two_hosts(now);
        let done = result("services", "packages", StepStatus::Changed);
        progress.event(&Event::Result(Box::new(done)), now);
        for path in ["a", "b", "c", "d"] {
            let mut done = result("edge", path, StepStatus::Ok);
            path.clone_into(&mut done.path);
            progress.event(&Event::Result(Box::new(done)), now + Duration::from_millis(400));
        }
        let later = now + Duration::from_secs(12);
        assert_eq!(
            progress.lines(&theme(100, true), 24, later),
            [
                "okd-play   services.yaml   2 hosts, 8 steps   planning",
                "  services  ━━━━━━━╸──────────────────────  1/4  named: zone okd.example.org  12 s of 5 min",
                "  edge      ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━  4/4  0.4 s",
            ]
        );
        assert_eq!(
            progress.lines(&theme(40, false), 24, later)[1..],
            ["  services  1/4  name...  12 s of 5 min", "  edge      4/4  0.4 s",]
        );
    }

    #[test]
    fn a_connection_is_what_is_waited_for_until_something_is_answered() {
        let now = Instant::now();
        let mut progress = two_hosts(now);
        let text = "connecting to 10.0.0.1, at most 10 s".to_owned();
        let link = Event::Link {
            host: "services".to_owned(),
            text,
            notable: false,
        };
        progress.event(&link, now);
        let second = now + Duration::from_secs(1);
        assert_eq!(progress.mentions(now), [""; 0]);
        assert_eq!(
            progress.mentions(second),
            ["services  connecting to 10.0.0.1, at most 10 s  1 s\n"]
        );
        assert_eq!(progress.mentions(second), [""; 0]);
        progress.event(
            &Event::Result(Box::new(result("services", "packages", StepStatus::Ok))),
            second,
        );
    }

    #[test]
    fn tries_are_counted_and_say_until_when() {
        let now = Instant::now();
        let mut progress = two_hosts(now);
        let done = result("services", "packages", StepStatus::Ok);
        progress.event(&Event::Result(Box::new(done)), now);
        let again = |attempt: u32, wait: Option<u64>, last: u64| Event::Again {
            host: "services".to_owned(),
            task: "named: zone okd.example.org".to_owned(),
            attempt,
            attempts: 5,
            wait: wait.map(Duration::from_secs),
            last: Duration::from_secs(last),
        };
        let line = |progress: &Progress, at: Instant| progress.lines(&theme(140, true), 24, at)[1].clone();
        progress.event(&again(2, Some(3), 12), now);
        for (after, text) in [
            (0, "zone okd.example.org: try 2 of 5 in 3 s, the last in 12 s"),
            (
                2,
                "zone okd.example.org: try 2 of 5 in 1 s, the last in 10 s  2 s of 5 min",
            ),
        ] {
            let line = line(&progress, now + Duration::from_secs(after));
            assert!(line.ends_with(text), "{line}");
        }
        progress.event(&again(2, None, 9), now + Duration::from_secs(3));
        let under_way = line(&progress, now + Duration::from_secs(4));
        assert!(under_way.ends_with("org: try 2 of 5  4 s of 5 min"), "{under_way}");
        progress.event(&again(5, Some(30), 30), now);
        let last = line(&progress, now);
        assert!(last.ends_with("org: try 5 of 5, the last, in 30 s"), "{last}");
    }

    #[test]
    fn more_hosts_than_rows_are_summed_up() {
        let now = Instant::now();
        let mut progress = Progress::default();
        let hosts = (0..100).map(|number| (format!("n{number}"), 3)).collect();
        progress.event(
            &Event::Begin {
                pass: Pass::Apply,
                hosts,
            },
            now,
        );
        for number in 0..50 {
            progress.event(&started(&format!("n{number}"), "packages", None), now);
        }
        let lines = progress.lines(&theme(80, true), 12, now + Duration::from_secs(3));
        assert_eq!(lines.len(), 10);
        assert_eq!(lines[1], "  ────────────────  0/300  0 of 100 hosts done  3.0 s");
        assert_eq!(lines[2], "  n0  ────────────────  0/3  packages  3 s");
        assert!(lines.iter().all(|line| line.width() < 80));
    }
}
