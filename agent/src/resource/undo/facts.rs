//! Facts that one command changes and another takes back, as the command itself declared.

use super::Deeds;
use crate::resource::{ResourceError, acting};
use crate::system::{Action, Answer, Declared, Effect, System};
use serde::Serialize;

/// A command that takes something back, and the command that did it.
type Back = (Vec<String>, Vec<String>);

/// A fact that one command changes and another takes back.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct FactSpot {
    pub(super) key: String,
    /// The commands that take it back, the last change first, each with the one that it takes back.
    back: Vec<Back>,
    pub(super) now: String,
    pub(super) before: String,
    status: i32,
}

/// Runs the commands that take facts back, each once for all facts that it takes back.
pub(super) fn back(facts: &[FactSpot], world: &dyn System) -> Result<(), ResourceError> {
    let other: Vec<&FactSpot> = facts.iter().filter(|fact| fact.now != fact.before).collect();
    let mut done: Vec<&Vec<String>> = Vec::new();
    for (argv, forth) in other.iter().flat_map(|fact| &fact.back) {
        if done.contains(&argv) {
            continue;
        }
        done.push(argv);
        let answer = |fact: &FactSpot| Answer {
            rc: fact.status,
            ..Answer::ok(fact.before.clone())
        };
        let own = other.iter().filter(|fact| fact.back.iter().any(|(own, _)| own == argv));
        let declared = Declared {
            predicts: own.map(|fact| (fact.key.clone(), answer(fact))).collect(),
            back: Some(forth.clone()),
            ..Declared::default()
        };
        let action = Action {
            argv: argv.clone(),
            ..Action::new(&[], Effect::Declared(declared))
        };
        acting::run(world, &action)?;
    }
    Ok(())
}

/// The facts of a run whose commands said how they are taken back.
pub(super) fn look(deeds: &Deeds<'_>, world: &dyn System) -> Result<Vec<FactSpot>, ResourceError> {
    let mut backs: Vec<(&str, Vec<Back>)> = Vec::new();
    for act in &deeds.acts {
        let Some(back) = &act.back else { continue };
        for fact in act.facts.iter().filter(|fact| !fact.key.starts_with("unit:")) {
            match backs.iter_mut().find(|(key, _)| *key == fact.key) {
                Some((_, all)) if all.iter().any(|(other, _)| other == back) => {}
                Some((_, all)) => all.insert(0, (back.clone(), act.argv.clone())),
                None => backs.push((&fact.key, vec![(back.clone(), act.argv.clone())])),
            }
        }
    }
    let mut spots = Vec::new();
    for (key, back) in backs.into_iter().rev() {
        let Some((probe, answer)) = deeds.before(key) else {
            continue;
        };
        spots.push(FactSpot {
            key: key.to_owned(),
            back,
            now: world.probe(probe)?.text(),
            before: answer.text(),
            status: answer.rc,
        });
    }
    Ok(spots)
}
