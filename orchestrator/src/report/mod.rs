//! Events to what a person or a program reads. The only place, beside the command line's own errors, that writes; all of
//! it passes through [`scrub`].

mod change;
mod drift;
pub mod event;
mod failure;
pub mod html;
pub mod json;
mod junit;
pub mod kept;
mod layout;
mod lines;
mod plan;
mod progress;
mod recap;
mod screen;
pub mod scrub;
mod step;
#[cfg(test)]
pub(crate) mod tests;
mod theme;
mod writer;

pub use event::{Event, Pass, StepResult, StepStatus, Trace};

use crate::drift::Drift;
use crate::error::Exit;
use crate::history::{How, Journal};
use crate::link::reach::Address;
use crate::run::Outcome;
use crate::run::guard::CONFIRMED;
use crate::site::Site;
use crate::source::SourceMap;
use change::Look;
use failure::Reach;
use layout::{Page, piece};
use okd_agent::Value;

use progress::Progress;
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use theme::{Ink, Label, Theme};
use writer::Writer;

/// Writes a warning beside the output.
pub fn warn(text: &str) {
    Writer::process(false).err(text);
}

/// What is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For a person.
    Text,
    /// One JSON object a line.
    Json,
    /// JUnit XML.
    Junit,
}

/// How it is printed.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What is printed.
    pub format: Format,
    /// Whether colours are used.
    pub colour: bool,
    /// Whether a terminal shows progress while the run goes on.
    pub live: bool,
    /// Whether diffs are shown.
    pub diff: bool,
    /// Whether diffs and lists are shown whole.
    pub full: bool,
    /// How many `-v`.
    pub verbose: u8,
    /// Whether nothing will be applied.
    pub check: bool,
    /// Whether programs are not told of single steps.
    pub quiet: bool,
    /// The playbook, for hints.
    pub playbook: PathBuf,
    /// The run that is taken back.
    pub undoes: Option<String>,
    /// What else the command line said of the inventory and of connections, for hints.
    pub again: Vec<String>,
}

/// Takes events, and writes.
pub struct Report {
    settings: Settings,
    theme: Theme,
    writer: Writer,
    began: Instant,
    progress: Progress,
    pass: Pass,
    /// The hosts in the order of the inventory.
    hosts: Vec<String>,
    planned: Vec<StepResult>,
    applied: Vec<StepResult>,
    /// Failures of the apply pass that have not been told: what they block is not known yet.
    untold: Vec<(StepResult, Instant)>,
    /// How long each host was at work in the passes before this one, in seconds.
    seconds: HashMap<String, f64>,
    /// Where in `planned` the results of a step on a host are.
    index: HashMap<(String, String), Vec<usize>>,
    /// Whether lines are fitted to the terminal of this process.
    fitted: bool,
    /// The run that changes things.
    run: Option<Kept>,
    /// Whether the plan is one that was kept; see [`Report::adopt`].
    adopted: bool,
    /// Steps of a kept plan that fail now, or whose hosts do not answer.
    fresh: Vec<StepResult>,
    /// Steps of a kept plan that were told to be refused.
    refused: Vec<StepResult>,
}

/// A run that has an id, and its journal where there is one.
struct Kept {
    id: String,
    journal: Option<Arc<Journal>>,
}

/// What a failure blocks is known after so long.
const SETTLED: Duration = Duration::from_millis(100);

impl Report {
    /// A report of a run over a site; says what is odd about the site.
    #[must_use]
    pub fn new(sources: &SourceMap, settings: Settings, site: &Site) -> Report {
        let theme = Theme {
            ink: if settings.colour { Ink::Colour } else { Ink::None },
            unicode: theme::utf8_locale(),
            width: None,
        };
        let live = settings.live;
        let mut report = Report::with(settings, theme, Writer::process(live));
        report.fitted = true;
        let warnings = site.warnings.render(sources, report.settings.colour);
        report.writer.err(&warnings);
        report
    }

    fn with(settings: Settings, theme: Theme, writer: Writer) -> Report {
        Report {
            settings,
            theme,
            writer,
            began: Instant::now(),
            progress: Progress::default(),
            pass: Pass::Plan,
            hosts: Vec::new(),
            planned: Vec::new(),
            applied: Vec::new(),
            untold: Vec::new(),
            seconds: HashMap::new(),
            index: HashMap::new(),
            fitted: false,
            run: None,
            adopted: false,
            fresh: Vec::new(),
            refused: Vec::new(),
        }
    }

    /// The run begins to change things: from now on it has an id, and what happens is written down.
    pub fn begins(&mut self, id: &str, journal: Option<Arc<Journal>>) {
        self.run = Some(Kept {
            id: id.to_owned(),
            journal,
        });
    }

    /// The run is over: the journal gets its last line, and the person the run's id.
    pub fn ended(&mut self, outcome: &Outcome, exit: Exit) {
        let Some(Kept {
            id,
            journal: Some(journal),
        }) = &self.run
        else {
            return;
        };
        let how = match (outcome.cancelled, exit) {
            (true, _) => How::Interrupted,
            (false, Exit::Ok) => How::Done,
            (false, _) => How::Failed,
        };
        let seconds = (self.began.elapsed().as_secs_f64() * 1000.0).round() / 1000.0;
        journal.end(&serde_json::json!({
            "event": "end",
            "how": how.word(),
            "code": exit.code(),
            "hosts": lines::counts(outcome),
            "elapsed_s": seconds,
        }));
        if self.text() {
            let line = format!("Run {id}");
            let mut page = self.page();
            page.line(&[piece(Label::Dim, line)]);
            let text = page.text();
            self.writer.out(&text);
        }
    }

    /// Something happened.
    pub fn event(&mut self, event: Event) {
        self.progress.event(&event, Instant::now());
        match event {
            Event::Begin { pass, hosts } => self.begin(pass, &hosts),
            Event::Link { host, text, notable } if notable || self.settings.verbose > 1 => {
                self.beside(&format!("{host}  {text}\n"));
            }
            Event::Started { host, task, .. } if self.settings.verbose > 2 => {
                self.beside(&format!("{host}  begins \"{task}\" ({})\n", self.pass.word()));
            }
            Event::Waiting { host, task, text, .. } if self.text() && !self.writer.live() => {
                self.writer.err(&format!("{host}  {task}: {text}\n"));
            }
            Event::Again {
                host,
                task,
                attempt,
                attempts,
                wait: Some(wait),
                last,
            } if self.text() && !self.writer.live() => {
                let text = progress::again(attempt, attempts, wait, last);
                self.writer.err(&format!("{host}  {task}: {text}\n"));
            }
            Event::Note { text } => self.writer.err(&format!("{text}\n")),
            Event::Result(result) => self.result(*result),
            Event::End { .. } => self.end(),
            Event::Link { .. }
            | Event::Started { .. }
            | Event::Waiting { .. }
            | Event::Again { .. }
            | Event::More { .. } => {}
        }
    }

    fn text(&self) -> bool {
        self.settings.format == Format::Text
    }

    /// A line beside the output that a program reads, or within the one for a person.
    fn beside(&mut self, text: &str) {
        match self.settings.format {
            Format::Text => self.writer.out(text),
            Format::Json | Format::Junit => self.writer.err(text),
        }
    }

    fn begin(&mut self, pass: Pass, hosts: &[(String, usize)]) {
        self.pass = pass;
        for (host, _) in hosts {
            if !self.hosts.contains(host) {
                self.hosts.push(host.clone());
            }
        }
        let doing = match pass {
            Pass::Plan => "planning",
            Pass::Apply => "applying",
        };
        let steps = hosts.iter().map(|(_, steps)| steps).sum();
        self.progress.title = plan::title(hosts.len(), steps, &self.settings, doing);
        if self.text() && !self.writer.live() {
            let line = format!("{}\n", self.progress.title);
            self.writer.err(&line);
        }
        if pass == Pass::Apply && self.text() {
            self.writer.out("\n");
        }
    }

    fn result(&mut self, mut result: StepResult) {
        if let Some(Kept {
            journal: Some(journal), ..
        }) = &self.run
            && !result.repeated
        {
            journal.write(&lines::kept(&result));
        }
        if self.settings.format == Format::Json && !result.repeated && !self.settings.quiet {
            let line = lines::result(&result, self.settings.diff);
            self.writer.out(&line);
        }
        if self.settings.verbose == 0 {
            result.result = Value::Null;
        }
        match result.pass {
            Pass::Plan if self.adopted && bad(&result) && !self.known(&result) => self.fresh.push(result),
            Pass::Plan if self.adopted => {}
            Pass::Plan => self.remember(result),
            Pass::Apply => {
                if self.text() {
                    self.applied(&result);
                }
                self.applied.push(result);
            }
        }
    }

    fn remember(&mut self, result: StepResult) {
        let key = (result.host.clone(), result.path.clone());
        self.index.entry(key).or_default().push(self.planned.len());
        self.planned.push(result);
    }

    /// A line for what was done, and its diff where the plan has not shown it.
    fn applied(&mut self, result: &StepResult) {
        let verbose = self.settings.verbose;
        let mut page = self.page();
        match result.status {
            StepStatus::Refused if self.refused.iter().any(|told| same_step(told, result)) => return,
            StepStatus::Failed | StepStatus::Unreachable | StepStatus::Refused => {
                return self.untold.push((result.clone(), Instant::now()));
            }
            StepStatus::Ignored | StepStatus::Rescued => {
                failure::softened(&mut page, result);
            }
            StepStatus::Ok | StepStatus::Skipped if verbose == 0 && !step::says(result) => return,
            StepStatus::Ok | StepStatus::Skipped if result.repeated || self.known(result) => return,
            StepStatus::Skipped if verbose == 0 => return,
            StepStatus::Blocked => return,
            status => {
                let (label, mark) = match status {
                    StepStatus::Changed => (Label::Added, self.theme.done()),
                    StepStatus::Skipped => (Label::Dim, "-"),
                    StepStatus::Unknown => (Label::Unknown, "?"),
                    _ => (Label::Dim, "="),
                };
                let mut title = vec![piece(label, format!("{mark} "))];
                title.extend(step::title(result, &result.host, self.theme.arrow()));
                if let Some((label, item)) = step::item(result) {
                    title.push(piece(label, format!("  {item}")));
                }
                if result.seconds >= 1.0 {
                    title.push(piece(Label::Dim, format!("  {}", layout::time(result.seconds))));
                }
                let confirmed = |note: &&String| note.as_str() == CONFIRMED;
                if let Some(note) = result.notes.iter().find(confirmed) {
                    title.push(piece(Label::Dim, format!("  {note}")));
                }
                page.ended(&title, &[piece(Label::Dim, step::place(result))]);
                if !(verbose == 0 && self.known(result)) {
                    let notes = result.notes.iter().filter(|note| !confirmed(note)).map(String::as_str);
                    step::body(&mut page, result, notes, &self.settings);
                }
            }
        }
        let text = page.text();
        self.writer.out(&text);
    }

    /// Whether the plan has told the same of this step.
    fn known(&self, result: &StepResult) -> bool {
        self.plans(result).any(|planned| {
            planned.item == result.item
                && planned.status == result.status
                && planned.diff == result.diff
                && (planned.msg == result.msg || !step::says(result))
        })
    }

    /// What the plan found of a step on its host.
    fn plans(&self, result: &StepResult) -> impl Iterator<Item = &StepResult> {
        let key = (result.host.clone(), result.path.clone());
        let found = self.index.get(&key).map_or(&[][..], Vec::as_slice);
        found.iter().filter_map(|at| self.planned.get(*at))
    }

    fn end(&mut self) {
        self.tell_failures(Duration::ZERO);
        for (host, seconds) in self.progress.took() {
            *self.seconds.entry(host.to_owned()).or_default() += seconds;
        }
        self.writer.clear();
    }

    /// Failures of the apply pass, once it is known what they block.
    fn tell_failures(&mut self, age: Duration) {
        let now = Instant::now();
        let old: Vec<StepResult> = self
            .untold
            .extract_if(.., |(_, since)| now.duration_since(*since) >= age)
            .map(|(result, _)| result)
            .collect();
        if !old.is_empty() {
            let mut page = self.page();
            self.failures(&mut page, &old, &self.applied);
            let text = format!("\n{}", page.text());
            self.writer.out(&text);
        }
    }

    /// A block for each failure; hosts on which the same failed in the same way share one.
    fn failures(&self, page: &mut Page, failed: &[StepResult], all: &[StepResult]) {
        let mut told: Vec<(&StepResult, Vec<String>)> = Vec::new();
        for result in failed {
            match told.iter_mut().find(|(one, _)| step::alike(one, result, 0)) {
                Some((_, hosts)) => hosts.push(result.host.clone()),
                None => told.push((result, vec![result.host.clone()])),
            }
        }
        for (result, hosts) in told {
            let working: Vec<String> = self.progress.took().map(|(host, _)| host.to_owned()).collect();
            let reach = reach(result, &hosts, all, &working);
            let shown = result.failure.as_ref().is_some_and(|failure| {
                result.pass == Pass::Apply && self.plans(result).any(|planned| planned.diff == failure.diff)
            });
            failure::show(page, result, &hosts, &reach, shown, &self.settings);
        }
    }

    /// Time has passed: what is live may be drawn anew.
    pub fn tick(&mut self) {
        if !self.text() {
            return;
        }
        self.tell_failures(SETTLED);
        let now = Instant::now();
        if self.writer.live() {
            let theme = self.screen_theme();
            let lines = self
                .progress
                .lines(&theme, terminal_size(&std::io::stderr()).map_or(24, |size| size.1), now);
            self.writer.show(&lines);
        } else {
            let lines = self.progress.mentions(now).concat();
            self.writer.err(&lines);
        }
    }

    /// The plan is complete.
    pub fn plan(&mut self, planned: &Outcome) {
        if !self.text() {
            return;
        }
        let mut page = self.page();
        plan::show(&mut page, &self.planned, &self.hosts, &self.settings);
        let failed: Vec<StepResult> = self.planned.iter().filter(|result| bad(result)).cloned().collect();
        let softened = |result: &&StepResult| matches!(result.status, StepStatus::Ignored | StepStatus::Rescued);
        for result in self.planned.iter().filter(softened) {
            failure::softened(&mut page, result);
        }
        self.failures(&mut page, &failed, &self.planned);
        plan::consequences(&mut page, &self.planned, &self.hosts, &self.settings);
        if planned.pending() {
            plan::totals(&mut page, planned, &self.settings);
        }
        let text = page.text();
        self.writer.out(&text);
    }

    /// Something that belongs to the plan and is no step of it.
    pub fn beside_plan(&mut self, text: &str) {
        self.beside(text);
    }

    /// What has drifted.
    pub fn drift(&mut self, found: &Drift) {
        let text = match self.settings.format {
            Format::Text => {
                let mut page = self.page();
                let look = Look {
                    diff: self.settings.diff,
                    full: self.settings.full,
                };
                drift::show(&mut page, found, look);
                page.text()
            }
            Format::Json | Format::Junit => drift::lines(found),
        };
        self.writer.out(&text);
    }

    /// A plan that was kept is to be applied: what it says of its steps is what is shown, and not what they come to now.
    pub fn adopt(&mut self, steps: Vec<StepResult>) {
        self.adopted = true;
        for step in steps {
            self.remember(step);
        }
    }

    /// Steps that will be refused, and those that fail already, before anything is applied.
    pub fn refusals(&mut self, refused: Vec<StepResult>) {
        let fresh = std::mem::take(&mut self.fresh);
        let told: Vec<StepResult> = refused.iter().chain(&fresh).cloned().collect();
        if !self.text() || told.is_empty() {
            return;
        }
        let mut page = self.page();
        page.gap();
        self.failures(&mut page, &told, &[]);
        let text = page.text();
        self.writer.out(&text);
        self.refused = refused;
    }

    /// A step of a kept plan has become known; somebody is about to be asked whether it is to be done.
    pub fn question(&mut self, step: &StepResult) {
        self.writer.clear();
        let mut page = self.page();
        plan::show(&mut page, std::slice::from_ref(step), &[], &self.settings);
        let text = format!("\n{}", page.text());
        self.writer.out(&text);
    }

    /// The plan is kept.
    pub fn kept(&mut self, path: &std::path::Path) {
        let size = path.metadata().map_or(0, |meta| meta.len());
        let text = format!("Kept       {} ({} kB)\n", path.display(), size.div_ceil(1000));
        self.beside(&text);
    }

    /// Ctrl-C was pressed: what runs may finish.
    pub fn stopping(&mut self) {
        self.writer
            .err("stopping: no new steps; what runs may finish. Ctrl-C again drops it.\n");
    }

    /// How often each agent was waited for, for programs that measure.
    pub fn links(&mut self, waits: &BTreeMap<Address, u64>) {
        if self.settings.format == Format::Json {
            let lines: String = waits
                .iter()
                .map(|(address, waits)| lines::link(address, *waits))
                .collect();
            self.writer.out(&lines);
        }
    }

    /// The run is over.
    pub fn recap(&mut self, outcome: &Outcome, applied: bool) {
        let seconds = self.began.elapsed().as_secs_f64();
        match self.settings.format {
            Format::Json => {
                let line = lines::summary(outcome, seconds, self.run.as_ref().map(|run| run.id.as_str()));
                self.writer.out(&line);
            }
            Format::Junit => {
                let text = junit::document(&self.hosts, &self.planned, &self.applied, seconds, self.settings.diff);
                self.writer.out(&text);
            }
            Format::Text => self.recap_text(outcome, applied, seconds),
        }
    }

    fn recap_text(&mut self, outcome: &Outcome, applied: bool, seconds: f64) {
        let mut page = self.page();
        if applied || !outcome.pending() {
            recap::show(&mut page, outcome, &self.seconds);
        }
        let word = match (applied, outcome.cancelled, outcome.pending()) {
            (_, true, _) => Some("Stopped before its end."),
            (false, _, true) => Some("Nothing was changed."),
            _ => None,
        };
        if let Some(word) = word {
            let line = format!("{word}   {}", layout::time(seconds));
            page.line(&[piece(Label::Dim, line)]);
        }
        let gap = if applied || !outcome.pending() { "\n" } else { "" };
        let text = format!("{gap}{}", page.text());
        self.writer.out(&text);
    }

    fn page(&self) -> Page {
        let width = match self.theme.width {
            Some(width) => Some(width),
            None if self.fitted => columns(),
            None => None,
        };
        Page::new(Theme { width, ..self.theme })
    }

    fn screen_theme(&self) -> Theme {
        Theme {
            width: terminal_size(&std::io::stderr()).map(|size| size.0),
            ..self.theme
        }
    }
}

fn same_step(one: &StepResult, other: &StepResult) -> bool {
    one.host == other.host && one.path == other.path && one.item == other.item
}

fn bad(result: &StepResult) -> bool {
    matches!(result.status, StepStatus::Failed | StepStatus::Unreachable)
}

/// What a failure blocks, and which hosts it leaves alone.
fn reach<'a>(failed: &StepResult, hosts: &[String], all: &'a [StepResult], known: &[String]) -> Reach<'a> {
    let mut reach = Reach::default();
    for result in all.iter().filter(|result| result.status == StepStatus::Blocked) {
        let by_it = result
            .by
            .as_ref()
            .is_some_and(|(path, host)| *path == failed.path && hosts.contains(host));
        if by_it {
            *reach.blocked.entry(result.host.as_str()).or_default() += 1;
        }
    }
    let well = |host: &&String| {
        !all.iter().any(|result| {
            result.host == **host && (bad(result) || matches!(result.status, StepStatus::Blocked | StepStatus::Refused))
        })
    };
    reach.others = known.iter().filter(well).cloned().collect();
    reach
}

/// How wide the terminal is that standard output goes to; `None` where it is none.
#[must_use]
pub fn columns() -> Option<usize> {
    terminal_size(&std::io::stdout()).map(|size| size.0)
}

/// Columns and rows, where this is a terminal.
fn terminal_size(of: &impl std::os::fd::AsFd) -> Option<(usize, usize)> {
    let size = rustix::termios::tcgetwinsize(of).ok()?;
    let or = |number: u16, usual: usize| if number == 0 { usual } else { usize::from(number) };
    Some((or(size.ws_col, 80), or(size.ws_row, 24)))
}
