//! What a run let through firewalld or not.

use super::Deeds;
use crate::diff::{Change, Sign};
use crate::resource::ResourceError;
use crate::resource::firewalld::{Rule, Thing, Which};
use crate::resource::systemd::{Manager, show};
use crate::system::{Answer, System};
use serde::Serialize;

pub(super) const UNIT: &str = "firewalld.service";

/// A thing of a zone, whether it is there and whether it was.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct RuleSpot {
    rule: Rule,
    pub(super) now: bool,
    pub(super) before: bool,
    answer: Answer,
}

/// What the run changed, the last change first. `awaited`: packages come back, and firewalld perhaps with them.
pub(super) fn look(
    deeds: &Deeds<'_>,
    awaited: bool,
    left: &mut Vec<(String, String)>,
    world: &dyn System,
) -> Result<Vec<RuleSpot>, ResourceError> {
    let names = deeds.named("firewalld:");
    let mut spots = Vec::new();
    if names.is_empty() {
        return Ok(spots);
    }
    let runs = show(UNIT, Manager::System, world)?.runs();
    for name in names.into_iter().rev() {
        let Some((rule, (_, answer))) = rule(name, runs).zip(deeds.before(&format!("firewalld:{name}"))) else {
            continue;
        };
        let removes = rule.thing.option(false, &rule.zone);
        let first = deeds
            .acts
            .iter()
            .find(|act| act.facts.iter().any(|fact| fact.key == rule.key()));
        let removed = first.is_some_and(|act| act.argv.contains(&removes));
        let before = removed || answer.success() && rule.thing.is_in(&answer.text(), &rule.zone);
        let to_come = || (awaited && before).then_some(false);
        let Some(now) = rule.look(world)?.or_else(to_come).filter(|now| *now != before) else {
            continue;
        };
        if matches!(rule.thing, Thing::Interface(_)) && !before {
            let why = "it goes to the default zone; the one that it was in before is not known";
            left.push((format!("{} in zone {}", rule.thing, rule.zone), why.to_owned()));
        }
        spots.push(RuleSpot {
            rule,
            now,
            before,
            answer: answer.clone(),
        });
    }
    Ok(spots)
}

/// Reads `runtime:public:port 80/tcp`; `None` for the running firewall where none runs.
fn rule(name: &str, runs: bool) -> Option<Rule> {
    let (word, rest) = name.split_once(':')?;
    let (zone, thing) = rest.split_once(':')?;
    let which = match runs {
        true => [Which::Runtime, Which::Permanent]
            .into_iter()
            .find(|which| which.word() == word)?,
        false if word == Which::Runtime.word() => return None,
        false => Which::Offline,
    };
    Some(Rule {
        which,
        zone: zone.to_owned(),
        thing: Thing::parse(thing)?,
    })
}

impl RuleSpot {
    pub(super) fn change(&self, want: &RuleSpot) -> Option<Change> {
        let Rule { which, zone, thing } = &self.rule;
        (self.now != want.now).then(|| Change::Item {
            sign: if want.now { Sign::Added } else { Sign::Removed },
            text: format!("{thing} in zone {zone} ({})", which.word()),
        })
    }

    pub(super) fn back(&self, world: &dyn System) -> Result<(), ResourceError> {
        let seen = Answer {
            predicted: true,
            ..self.answer.clone()
        };
        self.rule.change(self.before, None, seen, world)
    }
}
