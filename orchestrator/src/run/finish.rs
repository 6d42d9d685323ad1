//! How a step ended: what its conditions make of the reply, what it gives to variables, whom it notifies, what is told.

use super::deed::Deed;
use super::prepare::Context;
use super::record::Record;
use super::{ItemEnd, Live, Runner};
use crate::control::back::Back;
use crate::graph::build::StepNode;
use crate::graph::{End, NodeId};
use crate::report::{Event, Pass, StepResult, StepStatus, Trace};
use crate::site::{Slot, Step};
use crate::source::yaml::Node;
use crate::template::{RenderError, Truth, moment};
use okd_agent::Value;
use okd_agent::diff::Change;
use okd_agent::resource::{Failure, Outcome, Status};
use okd_agent::system::blank::Blank;
use okd_agent::system::guard::KEY;
use okd_agent::value::{Map, map};
use okd_agent::wire::Reply;
use std::sync::Arc;

pub(super) fn skipped(condition: &str) -> ItemEnd {
    let result = map([
        ("changed", false.into()),
        ("skipped", true.into()),
        ("skip_reason", "Conditional result was False".into()),
        ("false_condition", condition.into()),
    ]);
    ItemEnd::new(StepStatus::Skipped, condition, Value::Map(result))
}

pub(super) fn unknown(context: &Context, reason: &str) -> ItemEnd {
    let name = context.node.step.label();
    let mut end = ItemEnd::new(
        StepStatus::Unknown,
        reason,
        Value::Unknown(format!("the result of \"{name}\"")),
    );
    end.quiet = context.node.step.task.changed_when.as_ref().is_some_and(never);
    end
}

/// Whether a condition is `false` whatever happens.
fn never(node: &Node) -> bool {
    node.to_value().to_bool() == Some(false)
}

pub(super) fn failed(failure: Failure, unreachable: bool) -> ItemEnd {
    let mut result = failure.result.clone();
    // A program that ran and failed may have changed something.
    result.insert("changed".to_owned(), result.contains_key("rc").into());
    result.insert(
        if unreachable { "unreachable" } else { "failed" }.to_owned(),
        true.into(),
    );
    if !result.contains_key("msg") {
        result.insert("msg".to_owned(), failure.message.as_str().into());
    }
    let status = if unreachable {
        StepStatus::Unreachable
    } else {
        StepStatus::Failed
    };
    let mut end = ItemEnd::new(status, failure.message.clone(), Value::Map(result));
    end.diff.clone_from(&failure.diff);
    end.failure = Some(Box::new(failure));
    end
}

pub(super) fn local(changed: bool, failed: Option<String>, msg: String, mut result: Map) -> ItemEnd {
    if let Some(message) = failed {
        return self::failed(
            Failure {
                message,
                result,
                ..Failure::default()
            },
            false,
        );
    }
    result.insert("changed".to_owned(), changed.into());
    result.insert("failed".to_owned(), false.into());
    ItemEnd::new(
        if changed { StepStatus::Changed } else { StepStatus::Ok },
        msg,
        Value::Map(result),
    )
}

/// A result with the number of tries, where the step may be tried again.
pub(super) fn tried(mut end: ItemEnd, live: &Live) -> ItemEnd {
    if let (Value::Map(result), true) = (&mut end.result, live.attempts > 1) {
        result.insert("attempts".to_owned(), Value::Int(i64::from(live.attempt)));
    }
    end
}

pub(super) fn gave_up(mut end: ItemEnd, attempts: u32) -> ItemEnd {
    let message = format!("the condition of `until` did not hold in {attempts} tries");
    if let Value::Map(result) = &mut end.result {
        result.insert("failed".to_owned(), true.into());
        result.insert("attempts".to_owned(), Value::Int(i64::from(attempts) - 1));
    }
    let result = end.result.as_map().cloned().unwrap_or_default();
    let earlier = end.failure.take().map(|failure| *failure).unwrap_or_default();
    end.failure = Some(Box::new(Failure {
        message: message.clone(),
        result,
        ..earlier
    }));
    ItemEnd {
        status: StepStatus::Failed,
        msg: message,
        ..end
    }
}

/// What a reply comes to, with `changed_when` and `failed_when`.
pub(super) fn judged(live: &Live, index: usize, reply: Reply, pass: Pass) -> ItemEnd {
    let end = match reply {
        Reply::Outcome(mut outcome) => {
            // No machine may say how something is taken back through an interface.
            let deed = live.items.get(index).and_then(|item| item.deed.as_deref());
            let back = match deed {
                Some(Deed::Api(_)) => Back::take(&mut outcome.result),
                _ => None,
            };
            ItemEnd {
                back: back.map(Box::new),
                ..outcome_end(live, *outcome, pass)
            }
        }
        Reply::Failed(failure) => {
            let unreachable = failure.lost;
            let locals = live
                .items
                .get(index)
                .map(|item| item.locals.clone())
                .unwrap_or_default();
            let scope = live.context.scoped().with(locals).shared();
            let origins = super::origin::of_failure(&live.context, &scope, &failure);
            ItemEnd {
                origins,
                ..failed(*failure, unreachable)
            }
        }
        Reply::Held => return ItemEnd::new(StepStatus::Blocked, "", Value::Null),
    };
    if matches!(end.status, StepStatus::Unknown | StepStatus::Unreachable) {
        return end;
    }
    match conditions(live, index, end.clone()) {
        Ok(end) => end,
        Err(RenderError::Failed(found)) => failed(live.context.failure(&found), false),
        Err(RenderError::Pending(_)) => end,
    }
}

fn outcome_end(live: &Live, outcome: Outcome, pass: Pass) -> ItemEnd {
    let Outcome {
        status,
        diff,
        mut result,
        notes,
        fingerprint,
        stand,
        seen,
    } = outcome;
    let status = match status {
        Status::Same => StepStatus::Ok,
        Status::Changed => StepStatus::Changed,
        Status::Unknown(reason) => {
            let mut end = unknown(&live.context, &reason);
            end.diff = diff;
            end.notes = notes;
            end.seen = seen;
            return end;
        }
    };
    if status == StepStatus::Changed && pass == Pass::Plan {
        let reason = format!("the output of \"{}\"", live.context.node.step.label());
        for name in ["stdout", "stdout_lines", "stderr", "stderr_lines", "rc"] {
            if matches!(
                live.context.node.step.task.short_module(),
                "command" | "shell" | "script" | "raw" | "uri"
            ) {
                result
                    .entry(name.to_owned())
                    .or_insert_with(|| Value::Unknown(reason.clone()));
            }
        }
    }
    if let (true, Some(Value::Map(facts))) = (gathers(&live.context.node.step), result.get_mut("ansible_facts")) {
        *facts = std::mem::take(facts).into_iter().map(prefixed).collect();
    }
    result.insert("changed".to_owned(), (status == StepStatus::Changed).into());
    result.entry("failed".to_owned()).or_insert(false.into());
    let said = result.get("msg").and_then(Value::as_str).unwrap_or_default().to_owned();
    let skipped = result.get("skipped").and_then(Value::to_bool).unwrap_or(false);
    let status = if skipped { StepStatus::Skipped } else { status };
    let mut end = ItemEnd::new(status, said, Value::Map(result));
    end.diff = diff;
    end.notes = notes;
    end.fingerprint = fingerprint;
    end.stand = stand.filter(|_| differs(&end.diff));
    if let Some(stand) = end.stand.filter(|stand| stand.moved) {
        end.notes.push(format!(
            "it was changed since okd-play left it on {}",
            moment(stand.run)
        ));
    }
    end.seen = seen;
    end
}

/// Whether there is more than something to be done.
fn differs(diff: &[Change]) -> bool {
    diff.iter().any(|change| !matches!(change, Change::Act(_)))
}

/// The facts of a host that is not there yet: those that only the machine can tell are unknown.
pub(super) fn absent(end: &mut ItemEnd, host: &str) {
    if let Value::Map(result) = &mut end.result
        && let Some(Value::Map(facts)) = result.get_mut("ansible_facts")
    {
        let sure = |name: &str| Blank::is_sure(name.strip_prefix("ansible_").unwrap_or(name));
        let unsure = facts.iter_mut().filter(|(name, _)| !sure(name));
        unsure.for_each(|(_, value)| *value = Value::Unknown(format!("{host} is not there yet")));
    }
}

/// Whether a step gathers facts.
pub(super) fn gathers(step: &Step) -> bool {
    super::args::kind_info(&step.task.module).is_some_and(|kind| kind.names[0] == "setup")
}

/// A fact as `setup` names it in its result.
fn prefixed((name, value): (String, Value)) -> (String, Value) {
    match name.as_str() {
        "gather_subset" | "module_setup" => (name, value),
        _ => (format!("ansible_{name}"), value),
    }
}

/// The scope in which a step's own conditions are judged: its result has the name that `register` gives it.
fn with_result(live: &Live, index: usize, end: &ItemEnd) -> Arc<dyn crate::template::Scope> {
    let mut locals = live
        .items
        .get(index)
        .map(|item| item.locals.clone())
        .unwrap_or_default();
    if let Some(name) = &live.context.node.step.task.register {
        locals.insert(name.clone(), end.result.clone());
    }
    if let Value::Map(result) = &end.result {
        for (name, value) in result {
            locals.entry(name.clone()).or_insert_with(|| value.clone());
        }
    }
    live.context.scoped().with(locals).shared()
}

fn conditions(live: &Live, index: usize, mut end: ItemEnd) -> Result<ItemEnd, RenderError> {
    let task = &live.context.node.step.task;
    let engine = live.context.world.engine();
    if let Some(condition) = &task.changed_when {
        let changed = match engine.condition(condition, &with_result(live, index, &end))? {
            Truth::True => Some(true),
            Truth::False => Some(false),
            Truth::Unknown(reason) => {
                let mut unknown = unknown(&live.context, &reason);
                unknown.diff = end.diff;
                return Ok(unknown);
            }
        };
        if let (Some(changed), StepStatus::Ok | StepStatus::Changed) = (changed, end.status) {
            end.status = if changed { StepStatus::Changed } else { StepStatus::Ok };
        }
        if let (Some(changed), Value::Map(result)) = (changed, &mut end.result) {
            result.insert("changed".to_owned(), changed.into());
        }
    }
    let Some(condition) = &task.failed_when else {
        return Ok(end);
    };
    match engine.condition(condition, &with_result(live, index, &end))? {
        Truth::True if end.status != StepStatus::Failed => {
            let message = format!("`failed_when` holds: {}", condition.to_value());
            let mut result = end.result.as_map().cloned().unwrap_or_default();
            result.insert("failed".to_owned(), true.into());
            result.insert("failed_when_result".to_owned(), true.into());
            end.result = Value::Map(result.clone());
            end.failure = Some(Box::new(Failure {
                message: message.clone(),
                result,
                ..Failure::default()
            }));
            Ok(ItemEnd {
                status: StepStatus::Failed,
                msg: message,
                ..end
            })
        }
        Truth::False if end.status == StepStatus::Failed => {
            let changed =
                task.changed_when.is_none() || end.result.get("changed").and_then(Value::to_bool) == Some(true);
            if let Value::Map(result) = &mut end.result {
                result.insert("failed".to_owned(), false.into());
                result.insert("failed_when_result".to_owned(), false.into());
                result.insert("changed".to_owned(), changed.into());
            }
            end.failure = None;
            end.msg.clear();
            end.status = if changed { StepStatus::Changed } else { StepStatus::Ok };
            Ok(end)
        }
        _ => Ok(end),
    }
}

/// With `until`: whether the step is to be tried again (`true`), has to be given up (`false`), or is content (`None`).
pub(super) fn again(live: &Live, index: usize, end: &ItemEnd, pass: Pass) -> Option<bool> {
    let task = &live.context.node.step.task;
    if task.until.is_none() && task.retries.is_none() {
        return None;
    }
    if matches!(
        end.status,
        StepStatus::Unknown | StepStatus::Unreachable | StepStatus::Blocked | StepStatus::Refused
    ) {
        return None;
    }
    let engine = live.context.world.engine();
    let holds = match &task.until {
        Some(condition) => engine.condition(condition, &with_result(live, index, end)),
        None if end.status == StepStatus::Failed => Ok(Truth::False),
        None => Ok(Truth::True),
    };
    match holds {
        Ok(Truth::True | Truth::Unknown(_)) => None,
        _ if pass == Pass::Plan => Some(false),
        _ => Some(live.attempt < live.attempts),
    }
}

/// Whom a step notified.
#[derive(Default)]
struct Notified {
    /// As it says it.
    names: Vec<String>,
    /// The handlers' paths.
    fires: Vec<String>,
}

impl Runner<'_, '_> {
    /// A step whose items have all ended.
    pub(super) fn finish(&mut self, id: NodeId) {
        let Some(mut live) = self.live.remove(&id) else { return };
        let node = live.context.node.clone();
        self.shield(&mut live);
        self.remembered(&mut live);
        let worst = worst(&live);
        let ends: Vec<&ItemEnd> = live.items.iter().filter_map(|item| item.end.as_ref()).collect();
        let result = registered(&live, &ends);
        self.give(&live, &ends, &result);
        if node.step.commit.is_some() {
            let failed = !matches!(
                worst,
                StepStatus::Changed | StepStatus::Ok | StepStatus::Unknown | StepStatus::Skipped
            );
            self.release(id, failed.then_some(id));
        }
        let live = self.staged(id, live, worst);
        if let Some(live) = &live {
            self.settled(id, live);
        }
        let end = match worst {
            StepStatus::Failed | StepStatus::Unreachable | StepStatus::Rescued => End::Failed,
            StepStatus::Refused => End::Refused(id),
            _ => End::Done,
        };
        if matches!(worst, StepStatus::Failed | StepStatus::Unreachable) {
            let hosts = std::iter::once(&node.host).chain(&node.shared);
            for host in hosts {
                self.world.fall(host.as_str());
                self.outcome.cleared.remove(host.as_str());
            }
            if let Some(live) = &live {
                self.fatal(id, live);
            }
        }
        let settled = self.graph.ready.settle(id, end);
        self.after(settled);
    }

    /// What the end of a step means to others, and to people.
    pub(super) fn settled(&mut self, id: NodeId, live: &Live) {
        let worst = worst(live);
        let notifies = self.notify(live, worst);
        self.withdraw(live, worst);
        if worst == StepStatus::Refused {
            self.refuse(id, live);
        }
        let told = self.told(id, live, &notifies);
        self.remember(id, live, &told);
        self.count(&live.context.node, worst, live.looped && live.items.is_empty());
        for one in told {
            let _ = self.channels.events.send(Event::Result(Box::new(one)));
        }
    }

    /// `ignore_errors`, `ignore_unreachable` and a rescue around the step change what a failure means.
    fn shield(&self, live: &mut Live) {
        let scope = live.context.scoped().shared();
        let keywords = &live.context.node.step.keywords;
        let unreachable = live
            .context
            .flag(keywords.ignore_unreachable.as_ref(), &scope)
            .ok()
            .flatten()
            .unwrap_or(false);
        for end in live.items.iter_mut().filter_map(|item| item.end.as_mut()) {
            end.status = match end.status {
                StepStatus::Failed if live.ignore => StepStatus::Ignored,
                StepStatus::Unreachable if unreachable => StepStatus::Ignored,
                StepStatus::Failed if live.context.node.rescued => StepStatus::Rescued,
                status => status,
            };
        }
    }

    /// What the step gives to variables.
    fn give(&self, live: &Live, ends: &[&ItemEnd], result: &Value) {
        let node = &live.context.node;
        self.give_facts(live);
        let hosts = std::iter::once(&node.host)
            .chain(&node.shared)
            .filter_map(|host| self.world.host(host.as_str()));
        for host in hosts {
            let mut state = host.state_mut();
            if let Some(name) = &node.step.task.register {
                state.set.insert(name.clone(), Slot::Known(result.clone()));
            }
            if ends.iter().any(|end| end.status == StepStatus::Rescued) {
                let task = map([
                    (
                        "name",
                        node.step.task.name.as_ref().map_or("", |_| live.name.as_str()).into(),
                    ),
                    ("action", node.step.task.module.as_str().into()),
                ]);
                for (name, value) in [
                    ("ansible_failed_task", Value::Map(task)),
                    ("ansible_failed_result", result.clone()),
                ] {
                    state.set.insert(name.to_owned(), Slot::Known(value));
                }
            }
        }
    }

    /// What modules found out about the host, or with `delegate_facts` about another one.
    fn give_facts(&self, live: &Live) {
        let step = &live.context.node.step;
        for (index, item) in live.items.iter().enumerate() {
            let facts = item.end.as_ref().and_then(|end| end.result.get("ansible_facts"));
            let facts = facts
                .and_then(Value::as_map)
                .filter(|_| step.task.short_module() != "set_fact");
            for host in self.receivers(live, index) {
                let mut state = host.state_mut();
                if gathers(step) {
                    state.facts_pending = None;
                }
                let bare = |name: &String| name.strip_prefix("ansible_").unwrap_or(name).to_owned();
                let facts = facts.into_iter().flatten();
                state
                    .facts
                    .extend(facts.map(|(name, value)| (bare(name), value.clone())));
            }
        }
    }

    /// Handlers that the step notifies, by their names.
    fn notify(&mut self, live: &Live, worst: StepStatus) -> Notified {
        let any = |status: StepStatus| {
            live.items
                .iter()
                .filter_map(|item| item.end.as_ref())
                .any(|end| end.status == status && !end.quiet)
        };
        let changed = any(StepStatus::Changed);
        let maybe = any(StepStatus::Unknown);
        if matches!(worst, StepStatus::Failed | StepStatus::Unreachable) {
            return Notified::default();
        }
        if changed || maybe || any(StepStatus::Ok) {
            self.fire_owed(live);
        }
        if !(changed || maybe) {
            return Notified::default();
        }
        let node = &live.context.node;
        let (names, handlers) = self.means(&live.context);
        let key = (node.play.index, node.host.as_str().to_owned());
        let mut fires = Vec::new();
        for handler in handlers {
            fires.push(handler.path.clone());
            let fired = self
                .notified
                .entry(key.clone())
                .or_default()
                .entry(handler.path.clone())
                .or_default();
            if changed {
                fired.by.push(live.name.clone());
            } else {
                fired
                    .maybe
                    .get_or_insert_with(|| format!("runs if \"{}\" changes something", live.name));
            }
        }
        Notified { names, fires }
    }

    fn remember(&mut self, id: NodeId, live: &Live, told: &[StepResult]) {
        let host = live.context.node.host.as_str();
        let (keeps, hidden) = (self.keeps(), self.hides(id, live).0);
        let mut told = told.iter();
        let mut records = Vec::new();
        for item in &live.items {
            let Some(end) = &item.end else { continue };
            let told = told.next().filter(|_| keeps).cloned().map(Box::new);
            let installs = matches!(
                live.context.node.step.task.short_module(),
                "package" | "dnf" | "yum" | "apt"
            );
            match (self.pass, end.status) {
                (Pass::Plan, StepStatus::Unknown) => {
                    self.uncertain.insert(host.to_owned());
                    self.outcome.quiet += u32::from(end.quiet && !live.looped);
                }
                (Pass::Plan, StepStatus::Changed) if installs => {
                    self.uncertain.insert(host.to_owned());
                }
                (Pass::Apply, StepStatus::Changed | StepStatus::Failed | StepStatus::Ignored)
                    if self.unforeseen(live, item.sent) =>
                {
                    self.dirty.insert(host.to_owned());
                }
                _ => {}
            }
            self.outcome.stale |= end.failure.as_ref().is_some_and(|failure| failure.stale);
            records.push(Record {
                status: end.status,
                sent: item.sent,
                fingerprint: end.fingerprint.filter(|_| !self.uncertain.contains(host)),
                sure: !self.uncertain.contains(host),
                result: end.result.clone(),
                quiet: end.quiet,
                print: end.fingerprint.filter(|_| keeps),
                seen: end.seen.clone().filter(|_| keeps && !hidden),
                input: item
                    .deed
                    .as_ref()
                    .filter(|_| keeps && !hidden)
                    .map(|deed| super::kept::input(&live.context.node.step.task.module, deed, &item.args, &item.env)),
                told,
            });
        }
        self.outcome.records.insert(live.context.node.key(), records);
    }

    /// Whether the plan did not know what this step would do.
    fn unforeseen(&self, live: &Live, sent: Option<u64>) -> bool {
        let Some(prior) = self.prior else { return false };
        let known = prior.get(&live.context.node.key()).into_iter().flatten();
        !known
            .into_iter()
            .any(|record| record.sent == sent && record.status == StepStatus::Changed)
    }

    fn count(&mut self, node: &StepNode, status: StepStatus, empty: bool) {
        if node.step.implicit && node.step.task.module == "meta" {
            return;
        }
        let status = if empty { StepStatus::Skipped } else { status };
        self.outcome
            .counts
            .entry(node.host.as_str().to_owned())
            .or_default()
            .add(status);
    }

    /// What is told of the step: once, or once an item.
    fn told(&self, id: NodeId, live: &Live, notifies: &Notified) -> Vec<StepResult> {
        let node = &live.context.node;
        if node.step.implicit && node.step.task.module == "meta" {
            return Vec::new();
        }
        let (hidden, shy) = self.hides(id, live);
        let sources = &self.world.loading.loader.sources;
        let mut all = Vec::new();
        for (at, item) in live.items.iter().enumerate() {
            let Some(end) = &item.end else { continue };
            let mut told = self.result(id, node, &live.name);
            told.trace = Trace {
                at,
                sent: item.lasting,
                fires: notifies.fires.clone(),
                hidden,
                back: end.back.clone(),
                ..told.trace
            };
            told.item = item.label.clone().filter(|_| !hidden);
            told.delegated.clone_from(&live.delegated);
            told.status = end.status;
            told.show_diff = !(shy || hidden);
            told.msg.clone_from(&end.msg);
            told.notes.clone_from(&end.notes);
            told.notes.extend(self.notes.get(&id).into_iter().flatten().cloned());
            told.result = end.result.clone();
            told.diff.clone_from(&end.diff);
            told.failure.clone_from(&end.failure);
            let places = end.origins.iter();
            let places = places.map(|origin| (origin.name.clone(), sources.place(origin.span)));
            told.origins = places.collect();
            told.stand = end.stand;
            told.notifies.clone_from(&notifies.names);
            told.by = end
                .by
                .and_then(|by| self.node(by))
                .map(|node| (node.step.path.clone(), node.host.as_str().to_owned()));
            told.repeated = end.repeated;
            told.seconds = live.started.elapsed().as_secs_f64();
            all.push(if hidden { censored(told) } else { told });
        }
        if live.items.is_empty() {
            let mut told = self.result(id, node, &live.name);
            told.status = StepStatus::Skipped;
            "the loop has no items".clone_into(&mut told.msg);
            all.push(told);
        }
        all
    }

    /// Whether nothing of a step may be told (`no_log`), or no diff; of a transaction, where that is so of one of its steps.
    pub(super) fn hides(&self, id: NodeId, live: &Live) -> (bool, bool) {
        let scope = live.context.scoped().shared();
        let said = |node| live.context.flag(node, &scope).ok().flatten();
        let keywords = &live.context.node.step.keywords;
        let own = (
            said(keywords.no_log.as_ref()) == Some(true),
            said(keywords.diff.as_ref()) == Some(false),
        );
        let body = self.bodies.get(&id).map_or((false, false), |body| body.hidden);
        (own.0 || body.0, own.1 || body.1)
    }

    /// An item that somebody is asked about.
    pub(super) fn question(&self, id: NodeId, live: &Live, index: usize) -> StepResult {
        let mut told = self.result(id, &live.context.node, &live.name);
        told.item = live.items.get(index).and_then(|item| item.label.clone());
        told.delegated.clone_from(&live.delegated);
        let (hidden, shy) = self.hides(id, live);
        told.show_diff = !(hidden || shy);
        told
    }

    fn result(&self, id: NodeId, node: &StepNode, name: &str) -> StepResult {
        let module =
            super::args::kind_info(&node.step.task.module).map_or(node.step.task.short_module(), |kind| kind.names[0]);
        StepResult {
            pass: self.pass,
            host: node.host.as_str().to_owned(),
            delegated: None,
            play: node.play.play.name.clone(),
            task: name.to_owned(),
            module: module.to_owned(),
            place: self.world.loading.loader.sources.place(node.step.task.span),
            path: node.step.path.clone(),
            item: None,
            tags: node.step.keywords.tags.clone(),
            handler: node
                .step
                .handler
                .then(|| self.fired_by.get(&id).cloned().unwrap_or_default()),
            status: StepStatus::Ok,
            show_diff: true,
            diff: Vec::new(),
            msg: String::new(),
            notes: Vec::new(),
            failure: None,
            origins: Vec::new(),
            stand: None,
            result: Value::Null,
            notifies: Vec::new(),
            by: None,
            repeated: false,
            seconds: 0.0,
            trace: Trace {
                key: node.key().0,
                ..Trace::default()
            },
        }
    }

    /// A step that was not begun, because another had failed.
    pub(super) fn blocked(&mut self, node: &StepNode, by: NodeId) {
        if node.step.implicit && node.step.task.module == "meta" {
            return;
        }
        if self.excluded.contains(node.host.as_str()) {
            return;
        }
        let culprit = self.node(by);
        let cause = culprit
            .as_ref()
            .map(|cause| (cause.step.label(), cause.host.as_str().to_owned()));
        let mut told = self.result(by, node, &node.step.label());
        told.handler = node.step.handler.then(Vec::new);
        told.status = StepStatus::Blocked;
        told.by = culprit.map(|cause| (cause.step.path.clone(), cause.host.as_str().to_owned()));
        let what = match self.graph.ready.end(by) {
            Some(End::Refused(_)) => "was refused",
            _ => "failed",
        };
        told.msg = match cause {
            Some((label, host)) if host == node.host.as_str() => format!("\"{label}\" {what}"),
            Some((label, host)) => format!("\"{label}\" {what} on {host}"),
            None => "something before it failed".to_owned(),
        };
        self.count(node, StepStatus::Blocked, false);
        let record = Record {
            told: self.keeps().then(|| Box::new(told.clone())),
            ..Record::new(StepStatus::Blocked)
        };
        self.outcome.records.insert(node.key(), vec![record]);
        let _ = self.channels.events.send(Event::Result(Box::new(told)));
    }

    /// `any_errors_fatal` and `max_fail_percentage` end the play for everybody.
    fn fatal(&mut self, id: NodeId, live: &Live) {
        let node = &live.context.node;
        let scope = live.context.scoped().shared();
        let flag = live
            .context
            .flag(node.step.keywords.any_errors_fatal.as_ref(), &scope)
            .ok()
            .flatten()
            .unwrap_or(false);
        let batch = node.play.batches.iter().find(|batch| batch.contains(&node.host));
        let names = batch.into_iter().flatten().map(|host| host.as_str().to_owned());
        let standing = self.world.standing(node.play.index, names).len();
        let size = batch.map_or(0, Vec::len);
        let share = node
            .play
            .play
            .max_fail_percentage
            .is_some_and(|limit| (size - standing) as f64 * 100.0 / size.max(1) as f64 > limit);
        if !(flag || share || standing == 0) {
            return;
        }
        if !(flag || share) {
            let later = node.play.batches.iter().skip_while(|batch| !batch.contains(&node.host));
            let later = later.skip(1).flatten().map(|host| host.as_str().to_owned());
            self.cut.extend(later.map(|host| ((node.play.index, host), id)));
        }
        // As in Ansible nothing that is written behind it is begun, but for plays that say themselves what they need.
        let behind = self.site.plays.iter();
        let behind = behind.filter(|play| play.index > node.play.index && play.play.needs.is_none());
        let own = (flag || share).then_some(node.play.index);
        let ended: Vec<usize> = own.into_iter().chain(behind.map(|play| play.index)).collect();
        for play in ended {
            self.aborted.entry(play).or_insert(id);
        }
    }
}

/// Whether a handler has this name or listens to it.
#[must_use]
pub fn answers(handler: &Step, name: &str) -> bool {
    let own = handler.task.name.as_ref().map(|name| name.to_value().to_string());
    own.as_deref() == Some(name) || handler.label() == name || handler.task.listen.iter().any(|topic| topic == name)
}

/// The handlers that a notification means: of those with that name one, and all that listen to it. As in Ansible, the
/// section read last wins, and in it the handler that is listed first.
pub(super) fn meant<'h>(context: &Context, handlers: &'h [Arc<Step>], topic: &str) -> Vec<&'h Arc<Step>> {
    let section = |handler: &Step| {
        let (outer, _) = handler.path.rsplit_once("/handlers/").unwrap_or((&handler.path, ""));
        outer.to_owned()
    };
    let named = |handler: &&Arc<Step>| {
        let scoped = context.scoped();
        let own = crate::site::Scoped {
            step: Some(Arc::clone(handler)),
            ..scoped
        };
        let name = handler.task.name.as_ref();
        let name = name.and_then(|name| context.world.engine().render(name, &own.shared()).ok());
        let name = name.map(|name| name.to_string()).unwrap_or_default();
        let full = handler.role().map(|role| format!("{} : {name}", role.name));
        name == topic || full.as_deref() == Some(topic)
    };
    let all: Vec<&Arc<Step>> = handlers.iter().filter(named).collect();
    let last = all.last().map(|handler| section(handler));
    let one = all.into_iter().find(|handler| Some(section(handler)) == last);
    let listening = handlers
        .iter()
        .filter(|handler| handler.task.listen.iter().any(|own| own == topic));
    let listening = listening.filter(|handler| one.is_none_or(|one| one.path != handler.path));
    one.into_iter().chain(listening).collect()
}

fn worst(live: &Live) -> StepStatus {
    let order = [
        StepStatus::Unreachable,
        StepStatus::Failed,
        StepStatus::Rescued,
        StepStatus::Refused,
        StepStatus::Ignored,
        StepStatus::Changed,
        StepStatus::Unknown,
        StepStatus::Blocked,
        StepStatus::Ok,
        StepStatus::Skipped,
    ];
    let has = |status: &StepStatus| {
        live.items
            .iter()
            .any(|item| item.end.as_ref().is_some_and(|end| end.status == *status))
    };
    order.into_iter().find(has).unwrap_or(StepStatus::Skipped)
}

fn registered(live: &Live, ends: &[&ItemEnd]) -> Value {
    if !live.looped {
        return ends.first().map(|end| end.result.clone()).unwrap_or_default();
    }
    let results: Vec<Value> = live
        .items
        .iter()
        .zip(ends)
        .map(|(item, end)| match &end.result {
            Value::Map(result) => Value::Map(
                result
                    .iter()
                    .chain(&item.locals)
                    .map(|(k, v)| (k.clone(), v.clone()))
                    .collect(),
            ),
            other => other.clone(),
        })
        .collect();
    let any = |status: StepStatus| ends.iter().any(|end| end.status == status);
    let said = ends
        .iter()
        .any(|end| end.result.get("changed").and_then(Value::to_bool) == Some(true));
    let changed = match (said, any(StepStatus::Unknown)) {
        (true, _) => Value::Bool(true),
        (false, true) => Value::Unknown(format!("the result of \"{}\"", live.name)),
        (false, false) => Value::Bool(false),
    };
    let mut result = map([
        ("results", Value::List(results)),
        ("changed", changed),
        ("msg", "All items completed".into()),
    ]);
    if ends.is_empty() {
        result.insert("skipped_reason".to_owned(), "No items in the list".into());
    }
    if ends.iter().all(|end| end.status == StepStatus::Skipped) {
        result.insert("skipped".to_owned(), true.into());
    }
    result.insert("failed".to_owned(), ends.iter().any(|end| end.failure.is_some()).into());
    Value::Map(result)
}

/// `no_log`: only how it ended is told.
fn censored(mut told: StepResult) -> StepResult {
    const HIDDEN: &str = "hidden, because of `no_log: true`";
    let changed = told.status == StepStatus::Changed;
    told.diff.clear();
    told.notes.clear();
    told.origins.clear();
    if !told.msg.is_empty() {
        HIDDEN.clone_into(&mut told.msg);
    }
    let guard = told.result.get(KEY).cloned();
    told.failure = told.failure.map(|failure| {
        Box::new(Failure {
            message: HIDDEN.to_owned(),
            kept: super::guard::kept(guard.as_ref()),
            stale: failure.stale,
            lost: failure.lost,
            ..Failure::default()
        })
    });
    let mut result = map([("censored", HIDDEN.into()), ("changed", changed.into())]);
    result.extend(guard.map(|guard| (KEY.to_owned(), guard)));
    told.result = Value::Map(result);
    told
}
