//! A run that is taken up again. What changes the host to a state is looked at as ever: what is done costs a check. A
//! command has no state that says whether it is done; that the earlier run has done it is known from its journal, and it
//! is not run a second time. What either of them gave to variables is what it gave then.

use super::{ItemEnd, Live, Runner};
use crate::graph::build::StepNode;
use crate::history::{Past, Step as Written};
use crate::report::StepStatus;
use crate::site::Step;
use crate::template::from_json;
use okd_agent::Value;
use okd_agent::value::Map;
use std::collections::HashMap;

/// What earlier runs have changed.
#[derive(Debug, Clone, Default)]
pub struct Done(HashMap<(String, String, usize), Feat>);

/// A step that an earlier run has done, or one item of its loop.
#[derive(Debug, Clone)]
struct Feat {
    /// The run.
    run: String,
    /// The digest of what was asked for.
    sent: u64,
    /// What it gave to variables, where the journal holds all of that.
    result: Option<Map>,
}

impl Done {
    /// By the journals of a run and of those that it took up in its turn, the first one first.
    #[must_use]
    pub fn by(runs: &[Past]) -> Done {
        let mut done = HashMap::new();
        for run in runs {
            for step in run.steps() {
                let sent = step.sent.as_deref().and_then(|sent| u64::from_str_radix(sent, 16).ok());
                let (Some(sent), "changed") = (sent, step.status.as_str()) else {
                    continue;
                };
                let feat = Feat {
                    run: run.id().to_owned(),
                    sent,
                    result: result(&step),
                };
                done.insert((step.key, step.host, step.at), feat);
            }
        }
        Done(done)
    }

    fn get(&self, node: &StepNode, index: usize) -> Option<&Feat> {
        if self.0.is_empty() {
            return None;
        }
        let (key, host) = node.key();
        self.0.get(&(key, host, index))
    }
}

fn result(step: &Written) -> Option<Map> {
    match from_json(step.result.clone()) {
        Value::Map(result) if step.whole => Some(result),
        _ => None,
    }
}

/// Whether a step does something each time it is asked to, and no state says that it is done. A handler that is notified
/// anew has to run anew.
fn acts(step: &Step) -> bool {
    let task = &step.task;
    let guarded = ["creates", "removes"].iter().any(|name| task.args.get(name).is_some());
    let module = task.short_module();
    !step.handler && !guarded && matches!(module, "command" | "shell" | "script" | "raw" | "uri")
}

impl Runner<'_, '_> {
    /// Whether a step may be known from a journal, so that what stands before it has to have ended first: where that has
    /// changed the host anew, the step is done anew.
    pub(super) fn may_be_done(&self, node: &StepNode) -> bool {
        acts(&node.step) && self.options.done.get(node, 0).is_some()
    }

    /// A command that an earlier run has done, on a host that is as that run left it.
    pub(super) fn known_from_journal(&self, live: &mut Live, index: usize) -> bool {
        let node = &live.context.node;
        let Some(feat) = self.options.done.get(node, index).filter(|_| acts(&node.step)) else {
            return false;
        };
        let registers = node.step.task.register.is_some();
        let item = &mut live.items[index];
        if item.lasting != Some(feat.sent)
            || self.moved.contains(node.host.as_str())
            || (registers && feat.result.is_none())
        {
            return false;
        }
        let result = Value::Map(feat.result.clone().unwrap_or_default());
        let words = format!("run {} has done it; it is not run again", feat.run);
        item.end = Some(ItemEnd::new(StepStatus::Ok, words, result));
        true
    }

    /// A step that has ended gives what it gave when it was done. Where it changes the host anew, commands behind it are
    /// run anew too.
    pub(super) fn remembered(&mut self, live: &mut Live) {
        let node = &live.context.node;
        for (index, item) in live.items.iter_mut().enumerate() {
            let feat = self.options.done.get(node, index);
            let (Some(feat), Some(end)) = (feat.filter(|feat| item.lasting == Some(feat.sent)), &mut item.end) else {
                continue;
            };
            match (end.status, &mut end.result) {
                (StepStatus::Ok, Value::Map(result)) => {
                    result.extend(feat.result.clone().unwrap_or_default());
                    result.insert("changed".to_owned(), true.into());
                }
                (StepStatus::Changed, _) if !acts(&node.step) => {
                    self.moved.insert(node.host.as_str().to_owned());
                }
                _ => {}
            }
        }
    }
}
