//! Events to what a person or a program reads. The only place, beside the command line's own errors, that writes.

pub mod event;
pub mod json;
mod lines;
mod text;

pub use event::{Event, Pass, StepResult, StepStatus};

use crate::run::Outcome;
use crate::site::Site;
use crate::source::SourceMap;
use std::path::PathBuf;
use std::time::Instant;

/// Writes a warning beside the output.
pub fn warn(text: &str) {
    text::err(text);
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
    /// The playbook, for hints.
    pub playbook: PathBuf,
}

/// Takes events, and writes.
pub struct Report {
    sources: SourceMap,
    settings: Settings,
    began: Instant,
    results: Vec<StepResult>,
}

impl Report {
    /// A report of a run over a site; says what is odd about the site.
    #[must_use]
    pub fn new(sources: SourceMap, settings: Settings, site: &Site) -> Report {
        let warnings = site.warnings.render(&sources, settings.colour);
        if !warnings.is_empty() {
            text::err(&warnings);
        }
        Report {
            sources,
            settings,
            began: Instant::now(),
            results: Vec::new(),
        }
    }

    /// Something happened.
    pub fn event(&mut self, event: Event) {
        match (&event, self.settings.format) {
            (Event::Result(result), Format::Json) => text::out(&lines::result(result, &self.sources)),
            (Event::Result(result), _) => self.told(result),
            (
                Event::Link {
                    host,
                    text,
                    notable: true,
                },
                Format::Text,
            ) => text::out(&format!("{host}  {text}\n")),
            (Event::Note { text }, _) => text::err(&format!("{text}\n")),
            _ => {}
        }
        if let Event::Result(result) = event {
            self.results.push(*result);
        }
    }

    fn told(&self, result: &StepResult) {
        if self.settings.format == Format::Text && !result.repeated {
            text::out(&text::result(result, &self.settings, &self.sources));
        }
    }

    /// Time has passed: what is live may be drawn anew.
    pub fn tick(&mut self) {}

    /// The plan is complete.
    pub fn plan(&mut self, planned: &Outcome) {
        if self.settings.format == Format::Text {
            text::out(&text::plan(planned));
        }
    }

    /// The run is over.
    pub fn recap(&mut self, outcome: &Outcome, applied: bool) {
        let seconds = self.began.elapsed().as_secs_f64();
        match self.settings.format {
            Format::Json => text::out(&lines::summary(outcome, seconds)),
            _ => text::out(&text::recap(outcome, applied, seconds)),
        }
    }
}
