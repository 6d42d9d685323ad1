//! What tasks come to as far as it is known without a run: nothing is contacted, and what a step gives is not there yet.

use super::deed::Deed;
use super::prepare::{Context, ItemWork, Stop};
use super::{Options, args, world};
use crate::control::{API_KINDS, ApiKind};
use crate::error::Diagnostics;
use crate::graph::build::{Graph, Work};
use crate::report::Pass;
use crate::site::Site;
use crate::source::Span;
use std::sync::Arc;

/// A task on a host that works through an interface.
#[derive(Debug)]
pub struct Foreseen {
    /// Where it stands.
    pub span: Span,
    /// Its module, as it was typed.
    pub module: String,
    /// What it comes to, for each item of its loop.
    pub kinds: Vec<ApiKind>,
    /// Why some of it is not known.
    pub unknown: Option<String>,
}

/// All tasks of a site that work through an interface.
///
/// # Errors
/// The mistakes that a graph finds.
pub fn through_interfaces(site: &Site, options: &Options) -> Result<Vec<Foreseen>, Diagnostics> {
    let graph = Graph::site(site)?;
    let world = world(site, options)?;
    let mut all = Vec::new();
    for (_, work) in graph.works() {
        let Work::Step(node) = work else { continue };
        let task = &node.step.task;
        let info = args::kind_info(&task.module);
        if !info.is_some_and(|kind| API_KINDS.iter().any(|own| own.names == kind.names)) {
            continue;
        }
        let Some(host) = world.host(node.host.as_str()) else {
            continue;
        };
        let mut found = Foreseen {
            span: task.span,
            module: task.module.clone(),
            kinds: Vec::new(),
            unknown: None,
        };
        found.look(&Context {
            world: Arc::clone(&world),
            node: node.clone(),
            host,
            pass: Pass::Plan,
        });
        all.push(found);
    }
    Ok(all)
}

impl Foreseen {
    fn look(&mut self, context: &Context) {
        let prepared = match context.prepare() {
            Ok(prepared) => prepared,
            Err(Stop::Failed(problem)) => return self.unknown = Some(problem.message),
            Err(Stop::Unknown(why)) => return self.unknown = Some(why),
            Err(Stop::Pending(_)) => {
                return self.unknown = Some("it takes what a step before it gives".to_owned());
            }
        };
        for item in prepared.items {
            match item.work {
                ItemWork::Send(deed, ..) => {
                    if let Deed::Api(kind) = *deed {
                        self.kinds.push(kind);
                    }
                }
                ItemWork::Unknown(why, _) => self.unknown = Some(why),
                ItemWork::Fail(failure) => self.unknown = Some(failure.message),
                ItemWork::Skip(_) | ItemWork::Local(_) => {}
            }
        }
    }
}
