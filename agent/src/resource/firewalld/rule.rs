//! One thing of a zone in one of firewalld's two configurations: how it is asked for and changed.

use super::Thing;
use crate::resource::ResourceError;
use crate::resource::acting::{failed, run};
use crate::system::{Action, Answer, Effect, Probe, System};
use serde::Serialize;

/// Which configuration is asked about or changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(in crate::resource) enum Which {
    Runtime,
    Permanent,
    /// The permanent one, while firewalld does not run.
    Offline,
}

impl Which {
    fn command(self) -> Vec<String> {
        let words: &[&str] = match self {
            Which::Runtime => &["firewall-cmd"],
            Which::Permanent => &["firewall-cmd", "--permanent"],
            Which::Offline => &["firewall-offline-cmd"],
        };
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    pub(in crate::resource) fn word(self) -> &'static str {
        if self == Which::Runtime { "runtime" } else { "permanent" }
    }
}

/// firewall-cmd(1): the daemon does not run; not allowed to ask it.
const NOT_RUNNING: i32 = 252;

/// A thing that a zone has or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(in crate::resource) struct Rule {
    pub(in crate::resource) which: Which,
    pub(in crate::resource) zone: String,
    pub(in crate::resource) thing: Thing,
}

impl Rule {
    /// The key of its probe.
    pub(in crate::resource) fn key(&self) -> String {
        format!("firewalld:{}:{}:{}", self.which.word(), self.zone, self.thing)
    }

    fn ask(&self, words: &[String], world: &dyn System) -> Result<Answer, ResourceError> {
        let mut probe = Probe::new(self.key(), &[]);
        probe.argv = self.which.command();
        probe.argv.extend_from_slice(words);
        Ok(world.probe(&probe)?)
    }

    /// Whether it is there; `None` where firewalld cannot be asked.
    pub(in crate::resource) fn look(&self, world: &dyn System) -> Result<Option<bool>, ResourceError> {
        let zone = &self.zone;
        let words = match self.thing {
            Thing::Zone => vec!["--get-zones".to_owned()],
            _ => vec![format!("--zone={zone}"), "--list-all".to_owned()],
        };
        let answer = self.ask(&words, world)?;
        match answer.rc {
            0 if self.thing.is_in(&answer.text(), zone) => Ok(Some(true)),
            0 => match self.thing.query() {
                // What is listed may be written otherwise, or be part of a range.
                Some(query) if !answer.predicted && !answer.stdout.is_empty() => {
                    let mut probe = Probe::new(format!("{}?", self.key()), &[]);
                    probe.argv = self.which.command();
                    probe.argv.extend([format!("--zone={zone}"), query]);
                    Ok(Some(world.probe(&probe)?.success()))
                }
                _ => Ok(Some(false)),
            },
            NOT_RUNNING | Answer::NO_PROGRAM => Ok(None),
            _ if self.zone_is_predicted(world)? => Ok(Some(false)),
            _ => Err(failed(&[self.which.command().remove(0)], &answer)),
        }
    }

    /// Whether an earlier step of the plan makes the zone.
    fn zone_is_predicted(&self, world: &dyn System) -> Result<bool, ResourceError> {
        let key = format!("firewalld:permanent:{}:{}", self.zone, Thing::Zone);
        let answer = world.probe(&Probe::new(key, &["firewall-cmd", "--permanent", "--get-zones"]))?;
        Ok(answer.text().split_whitespace().any(|known| known == self.zone))
    }

    /// Lets it be there or not; `seen` is what its probe will answer then.
    pub(in crate::resource) fn change(
        &self,
        on: bool,
        timeout: Option<String>,
        seen: Answer,
        world: &dyn System,
    ) -> Result<(), ResourceError> {
        let mut argv = self.which.command();
        if self.thing != Thing::Zone {
            argv.push(format!("--zone={}", self.zone));
        }
        argv.push(self.thing.option(on, &self.zone));
        argv.extend(timeout);
        let effect = Effect::predicts(self.key(), seen);
        run(world, &Action { argv, ..Action::new(&[], effect) })?;
        Ok(())
    }
}
