//! Everything that a playbook wants on the machines, whatever its conditions say now: what has left a playbook is what
//! none of its steps would manage. Where it cannot be told what a step manages, that is told.

use super::deed::Deed;
use super::local::Effect;
use super::prepare::{Context, ItemWork, Stop};
use super::{Runner, args, reach};
use crate::graph::build::{StepNode, Work};
use crate::report::{Pass, StepStatus};
use crate::site::SitePlay;
use crate::site::flow::steps_of;
use okd_agent::ledger::Thing;
use okd_agent::secret::nameless;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

/// How deep includes are followed that the run did not come to.
const DEPTH: usize = 20;

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct Survey {
    /// By machine.
    pub wanted: HashMap<String, HashSet<Thing>>,
    /// Steps of which it is not known what they manage.
    pub unseen: Vec<Unseen>,
}

/// See [`Survey::unseen`].
#[derive(Debug, Clone)]
pub struct Unseen {
    /// The machine; `None` where that is not known either.
    pub host: Option<String>,
    /// The kind of thing that the step manages; `None` for what may be anything, such as an include.
    pub kind: Option<String>,
    /// Where the step is written.
    pub place: String,
    /// Why it is not known.
    pub why: String,
}

impl Survey {
    /// A step wants these things on a machine; one that runs once for several hosts may run on any of them.
    pub(super) fn wants(&mut self, node: &StepNode, machine: &str, things: &[Thing]) {
        let own = machine == node.host.as_str();
        let others = node.shared.iter().filter(|_| own).map(|host| host.as_str());
        for host in std::iter::once(machine).chain(others) {
            self.wanted
                .entry(host.to_owned())
                .or_default()
                .extend(things.iter().cloned());
        }
    }

    /// Why it cannot be told whether a thing has left the playbook; `None` where it has, if nothing wants it.
    #[must_use]
    pub fn hidden(&self, machine: &str, thing: &Thing) -> Option<&Unseen> {
        self.unseen.iter().find(|unseen| {
            unseen.host.as_deref().is_none_or(|host| host == machine)
                && unseen.kind.as_deref().is_none_or(|kind| kind == thing.kind)
        })
    }

    /// Whether a step wants a thing.
    #[must_use]
    pub fn has(&self, machine: &str, thing: &Thing) -> bool {
        self.wanted.get(machine).is_some_and(|things| things.contains(thing))
    }
}

/// What a deed manages on its machine.
pub(super) fn things(deed: &Deed) -> Vec<Thing> {
    let things = match deed {
        Deed::Machine(kind) => kind.manages(),
        Deed::Api(_) | Deed::Media(_) | Deed::Commit(_) | Deed::Own(_) => Vec::new(),
    };
    let named = things.into_iter().map(|thing| Thing {
        name: nameless(&thing.name),
        ..thing
    });
    named.collect()
}

/// The kind of things that a module manages.
fn kind_of(module: &str) -> String {
    let name = args::kind_info(module).map_or(crate::playbook::short(module), |kind| kind.names[0]);
    match name {
        "copy" | "template" | "file" | "get_url" | "assemble" => Thing::PATH,
        "apt" | "dnf" => "package",
        "blockinfile" => "block",
        "lineinfile" => "line",
        "ini_file" => "ini",
        "okd.unit" => "unit",
        "unarchive" => "archive",
        "known_hosts" => "known host",
        "openssh_keypair" => "keypair",
        "authorized_key" => "authorized key",
        other => other,
    }
    .to_owned()
}

impl Runner<'_, '_> {
    /// Looks at all that the plan did not come to.
    pub(super) fn survey(&mut self) {
        let nodes: Vec<StepNode> = self.graph.works().filter_map(|(_, work)| step(work)).collect();
        let mut plays: BTreeMap<usize, Arc<SitePlay>> = BTreeMap::new();
        for play in self.site.plays.iter().chain(nodes.iter().map(|node| &node.play)) {
            plays.insert(play.index, Arc::clone(play));
        }
        let mut handled = HashSet::new();
        for node in nodes {
            if node.step.handler {
                handled.insert((node.step.path.clone(), node.host.clone()));
            }
            let done = |status: StepStatus| matches!(status, StepStatus::Ok | StepStatus::Changed);
            let records = self.outcome.records.get(&node.key());
            if !records.is_some_and(|items| !items.is_empty() && items.iter().all(|record| done(record.status))) {
                self.look(&node, 0);
            }
        }
        for play in plays.values() {
            for step in self.world.handlers(play) {
                for host in play
                    .hosts()
                    .filter(|host| !handled.contains(&(step.path.clone(), (*host).clone())))
                {
                    let node = StepNode {
                        play: Arc::clone(play),
                        step: Arc::clone(&step),
                        host: host.clone(),
                        includes: Vec::new(),
                        prefix: "".into(),
                        rescued: false,
                        shared: Vec::new(),
                    };
                    self.look(&node, 0);
                }
            }
        }
    }

    fn look(&mut self, node: &StepNode, depth: usize) {
        let Some(host) = self.world.host(node.host.as_str()).filter(|_| !node.step.implicit) else {
            return;
        };
        let context = Context {
            world: Arc::clone(&self.world),
            node: node.clone(),
            host,
            pass: Pass::Plan,
        };
        for item in context.regardless() {
            match item {
                Ok((locals, ItemWork::Send(sent))) => match reach::reach(&context, &self.options.defaults, &locals) {
                    Ok((reach, _)) => self.outcome.survey.wants(node, &reach.host, &things(&sent.deed)),
                    Err(stop) => self.unseen(node, None, &stop),
                },
                Ok((locals, ItemWork::Local(end))) => match end.effect {
                    Effect::Include {
                        flows,
                        params,
                        handlers,
                        ..
                    } if depth < DEPTH => {
                        let mut includes = node.includes.clone();
                        includes.push(Arc::new(locals.into_iter().chain(params).collect()));
                        let mut steps = handlers;
                        steps_of(&flows, &mut steps);
                        for step in steps {
                            let includes = includes.clone();
                            self.look(
                                &StepNode {
                                    step,
                                    includes,
                                    ..node.clone()
                                },
                                depth + 1,
                            );
                        }
                    }
                    _ => {}
                },
                Ok((_, ItemWork::Fail(_) | ItemWork::Unknown(..) | ItemWork::Skip(_))) => {
                    let stop = Stop::Unknown("its arguments are not known".to_owned());
                    self.unseen(node, Some(node.host.as_str()), &stop);
                }
                Err(stop) => self.unseen(node, Some(node.host.as_str()), &stop),
            }
        }
    }

    fn unseen(&mut self, node: &StepNode, host: Option<&str>, stop: &Stop) {
        let task = &node.step.task;
        let include = task.short_module().starts_with("include_");
        let delegated = node.step.keywords.delegate_to.is_some();
        let place = self.world.loading.loader.sources.place(task.span);
        self.outcome.survey.unseen.push(Unseen {
            host: host.filter(|_| !delegated).map(str::to_owned),
            kind: (!include).then(|| kind_of(&task.module)),
            place: place
                .rsplit_once(':')
                .map_or(place.clone(), |(line, _)| line.to_owned()),
            why: match stop {
                Stop::Failed(found) => found.message.clone(),
                Stop::Unknown(why) => why.clone(),
                Stop::Pending(_) => "a step that it waits for has not ended".to_owned(),
            },
        });
    }
}

fn step(work: &Work) -> Option<StepNode> {
    match work {
        Work::Step(node) => Some(node.clone()),
        Work::Join(_) => None,
    }
}
