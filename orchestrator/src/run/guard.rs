//! Guarded steps: a change that may lock okd-play out counts only when a new connection has confirmed it. Until then nothing
//! else is begun on the host; what could not be confirmed was put back there, and the step has failed.

use super::deed::Deed;
use super::kept::Agreed;
use super::{ItemEnd, Live, Runner, finish};
use crate::graph::NodeId;
use crate::link::guard::{Question, Verdict};
use crate::link::reach::Reach;
use crate::report::StepStatus;
use okd_agent::Value;
use okd_agent::system::guard::{KEY, mentions};
use okd_agent::value::{Map, map};
use okd_agent::wire;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

/// The guards of a run: one for each host until it has put the host back.
#[derive(Default)]
pub(super) struct Guards {
    ids: HashMap<String, String>,
    /// Changes that wait to be confirmed, by their tickets.
    asked: HashMap<u64, Asked>,
}

struct Asked {
    node: NodeId,
    reach: Arc<Reach>,
}

impl Guards {
    /// The id of a host's guard.
    pub(super) fn id(&mut self, host: &str) -> &str {
        let fresh = || format!("{:016x}", RandomState::new().hash_one(host));
        self.ids.entry(host.to_owned()).or_insert_with(fresh)
    }

    /// The step that a question is about.
    pub(super) fn node(&self, ticket: u64) -> Option<NodeId> {
        self.asked.get(&ticket).map(|asked| asked.node)
    }

    /// Whether anything waits to be confirmed.
    pub(super) fn wait(&self) -> bool {
        !self.asked.is_empty()
    }
}

/// How a result says that its step is guarded.
fn state(result: &Value) -> Option<&str> {
    result.get(KEY)?.get("state")?.as_str()
}

/// What the report says of a guarded step whose change stays.
pub const CONFIRMED: &str = "confirmed by a new connection";

/// What is said of a step of which nothing else may be said.
pub(super) fn kept(guard: Option<&Value>) -> String {
    let at = guard.and_then(|guard| guard.get("at")).and_then(Value::as_str);
    at.map_or_else(String::new, |at| {
        format!("the host could not be reached any more, and its guard put it back at {at}")
    })
}

fn set(end: &mut ItemEnd, entries: Map) {
    let own = end.result.get(KEY).and_then(Value::as_map).cloned().unwrap_or_default();
    let entries: Map = own.into_iter().chain(entries).collect();
    if let Value::Map(result) = &mut end.result {
        result.insert(KEY.to_owned(), Value::Map(entries.clone()));
    }
    if let Some(failure) = &mut end.failure {
        failure.result.insert(KEY.to_owned(), Value::Map(entries));
    }
}

impl Runner<'_, '_> {
    /// Whether an item that is applied may be guarded at its host: its plan said so, or could not know.
    pub(super) fn may_guard(&self, live: &Live, index: usize) -> bool {
        let policy = live.reach_of(index).and_then(|reach| reach.guard);
        let item = live.items.get(index);
        let (Some(policy), Some(Deed::Machine(kind))) = (policy, item.and_then(|item| item.deed.as_deref())) else {
            return false;
        };
        if self.far_pass(live) == wire::Pass::Plan || item.is_some_and(|item| item.agreed == Agreed::NotYet) {
            return false;
        }
        let key = live.context.node.key();
        let planned = self.prior.and_then(|prior| prior.get(&key)?.get(index));
        match planned {
            Some(record) if record.status == StepStatus::Changed && record.sent == item.and_then(|item| item.sent) => {
                state(&record.result) == Some("planned")
            }
            _ => policy.always || !kind.risks().is_empty() || mentions(kind),
        }
    }

    /// Notes that an item has ended with its guard set up.
    pub(super) fn note_guard(live: &mut Live, index: usize, end: &ItemEnd) {
        if state(&end.result) == Some("armed") {
            live.guarded.push((index, false));
        }
    }

    /// Has what the step changed under guard confirmed; `false` where there is nothing to confirm.
    pub(super) fn confirm(&mut self, id: NodeId) -> bool {
        let Some(live) = self.live.get_mut(&id) else {
            return false;
        };
        let mut reaches: Vec<Arc<Reach>> = Vec::new();
        let mut lost = false;
        for (index, no_answer) in std::mem::take(&mut live.guarded) {
            lost |= no_answer;
            if let Some(reach) = live.reach_of(index).cloned()
                && reaches.iter().all(|other| other.host != reach.host)
            {
                reaches.push(reach);
            }
        }
        for reach in &reaches {
            let Some(policy) = reach.guard else { continue };
            let question = Question {
                ticket: self.next_request,
                id: self.guards.id(&reach.host).to_owned(),
                seconds: policy.seconds,
                lost,
            };
            self.next_request += 1;
            let asked = Asked {
                node: id,
                reach: Arc::clone(reach),
            };
            self.guards.asked.insert(question.ticket, asked);
            self.channels.links.confirm(reach, question);
        }
        !reaches.is_empty()
    }

    /// A host has said, or not, what has become of a change.
    pub(super) fn judged_by_guard(&mut self, ticket: u64, verdict: &Verdict) {
        let Some(Asked { node, reach }) = self.guards.asked.remove(&ticket) else {
            return;
        };
        let Some(mut live) = self.live.remove(&node) else {
            return;
        };
        for index in 0..live.items.len() {
            let own = live.reach_of(index).is_some_and(|own| own.host == reach.host);
            if own && live.items[index].begun {
                let item = &mut live.items[index];
                item.end = ended(item.end.take(), &reach.host, verdict);
            }
        }
        if matches!(verdict, Verdict::PutBack { .. } | Verdict::Unreachable { .. }) {
            // Whatever was known of the host is not so any more; who comes next connects anew.
            self.guards.ids.remove(&reach.host);
            self.dirty
                .extend([live.context.node.host.as_str().to_owned(), reach.host.clone()]);
            if self.idle(&reach.host) {
                self.channels.links.hang_up(&reach.host);
            }
            self.down.retain(|address, _| address.host != reach.host);
        }
        self.live.insert(node, live);
        if !self.guards.asked.values().any(|other| other.node == node) {
            self.proceed(node);
        }
    }
}

impl Runner<'_, '_> {
    /// Whether nothing is under way at a host.
    fn idle(&self, host: &str) -> bool {
        self.requests.values().all(|(node, index)| {
            let reach = self.live.get(node).and_then(|live| live.reach_of(*index));
            reach.is_none_or(|reach| reach.host != host)
        })
    }
}

/// What an item comes to by the guard's verdict; `None` where it is to be tried again.
fn ended(end: Option<ItemEnd>, host: &str, verdict: &Verdict) -> Option<ItemEnd> {
    let changed = end.as_ref().is_none_or(|end| {
        matches!(
            end.status,
            StepStatus::Changed | StepStatus::Failed | StepStatus::Unreachable | StepStatus::Unknown
        )
    });
    if !changed {
        return end;
    }
    match verdict {
        Verdict::Unguarded => end,
        Verdict::Confirmed => end.map(|mut end| {
            if state(&end.result) == Some("armed") || end.status == StepStatus::Unreachable {
                set(&mut end, map([("state", "confirmed".into())]));
                match &mut end.failure {
                    Some(failure) if end.status == StepStatus::Unreachable => {
                        "a new connection reaches the host, so what was changed stays; run again to see what is left"
                            .clone_into(&mut failure.kept);
                    }
                    Some(_) => {}
                    None => {
                        end.notes.retain(|note| !note.starts_with("guarded: "));
                        end.notes.push(CONFIRMED.to_owned());
                    }
                }
            }
            end
        }),
        Verdict::PutBack { at, log, met } => {
            let entries = map([("state", "put back".into()), ("at", at.as_str().into())]);
            let was = format!("its guard put it back at {at}");
            Some(failed(end, host, &was, met, log, entries, false))
        }
        Verdict::Unreachable { met, waited } => {
            let entries = map([("state", "unreachable".into())]);
            let was = format!(
                "it has not come back in {} s either, in which its guard should have put it back: look at its console \
                 (`journalctl -t okd-play-guard`)",
                waited.as_secs()
            );
            Some(failed(end, host, &was, met, &[], entries, true))
        }
    }
}

fn failed(
    end: Option<ItemEnd>,
    host: &str,
    was: &str,
    met: &str,
    log: &[String],
    guard: Map,
    unreachable: bool,
) -> ItemEnd {
    let mut failure = end
        .as_ref()
        .and_then(|end| end.failure.as_deref().cloned())
        .unwrap_or_default();
    let lost = failure.lost;
    let reason = if met.is_empty() {
        String::new()
    } else {
        format!(" ({met})")
    };
    let sentence = format!("{host} could not be reached any more after this change{reason}, and {was}");
    if failure.message.is_empty() || lost {
        failure.message = sentence;
    } else {
        failure.kept = sentence;
    }
    if let Some(end) = &end {
        failure.result = end.result.as_map().cloned().unwrap_or_default();
        if failure.diff.is_empty() {
            failure.diff.clone_from(&end.diff);
        }
    }
    failure.result.shift_remove("unreachable");
    failure.result.shift_remove("msg");
    failure.journal.extend_from_slice(log);
    failure.lost = unreachable;
    let mut end = finish::failed(failure, unreachable);
    set(&mut end, guard);
    end
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use okd_agent::diff::Change;

    fn end(status: StepStatus, guard: &str) -> ItemEnd {
        let guard = map([("state", guard.into()), ("seconds", Value::Int(60))]);
        let result = map([("changed", true.into()), (KEY, Value::Map(guard))]);
        let mut end = ItemEnd::new(status, "", Value::Map(result));
        end.diff = vec![Change::Act("reload".to_owned())];
        end.notes = vec!["guarded: put back after 60 s".to_owned(), "beside: x".to_owned()];
        end
    }

    #[test]
    fn a_confirmed_change_stays_what_it_is() {
        let own = end(StepStatus::Changed, "armed");
        let confirmed = ended(Some(own), "web", &Verdict::Confirmed).unwrap();
        assert_eq!(confirmed.status, StepStatus::Changed);
        assert_eq!(confirmed.notes, ["beside: x", CONFIRMED]);
        assert_eq!(state(&confirmed.result), Some("confirmed"));
        let guard = confirmed.result.get(KEY).unwrap();
        assert_eq!(guard.get("seconds"), Some(&Value::Int(60)));
        let same = ended(
            Some(ItemEnd::new(StepStatus::Ok, "", Value::Null)),
            "web",
            &Verdict::Confirmed,
        )
        .unwrap();
        assert_eq!((same.status, same.notes.len()), (StepStatus::Ok, 0));
    }

    #[test]
    fn what_was_put_back_has_failed_with_its_diff_and_the_guards_words() {
        let verdict = Verdict::PutBack {
            at: "14:03:12".to_owned(),
            log: vec!["14:03:12 put back /etc/x".to_owned()],
            met: "no answer".to_owned(),
        };
        let failed = ended(Some(end(StepStatus::Changed, "armed")), "web", &verdict).unwrap();
        let failure = failed.failure.as_deref().unwrap();
        assert_eq!(failed.status, StepStatus::Failed);
        assert_eq!(
            failure.message,
            "web could not be reached any more after this change (no answer), and its guard put it back at 14:03:12"
        );
        assert_eq!((failure.diff.len(), failure.journal.len()), (1, 1));
        assert_eq!(state(&failed.result), Some("put back"));
        assert_eq!(failed.result.get("failed"), Some(&Value::Bool(true)));
        // A step that failed by itself says first why.
        let mut own = end(StepStatus::Failed, "armed");
        own.failure = Some(Box::new(okd_agent::resource::Failure {
            message: "sshd does not start".to_owned(),
            ..Default::default()
        }));
        let failed = ended(Some(own), "web", &verdict).unwrap();
        let failure = failed.failure.as_deref().unwrap();
        assert_eq!(failure.message, "sshd does not start");
        assert!(failure.kept.starts_with("web could not be reached"), "{}", failure.kept);
        // One that is tried again is not tried again.
        assert_eq!(ended(None, "web", &verdict).unwrap().status, StepStatus::Failed);
    }

    #[test]
    fn a_host_that_does_not_come_back_is_unreachable() {
        let verdict = Verdict::Unreachable {
            met: "no answer".to_owned(),
            waited: std::time::Duration::from_secs(180),
        };
        let lost = okd_agent::resource::Failure {
            message: "the connection was lost".to_owned(),
            lost: true,
            ..Default::default()
        };
        let gone = ended(Some(finish::failed(lost.clone(), true)), "web", &verdict).unwrap();
        assert_eq!(gone.status, StepStatus::Unreachable);
        let message = &gone.failure.as_deref().unwrap().message;
        assert!(message.contains("it has not come back in 180 s either"), "{message}");
        // The answer is lost, and yet the host is there.
        let kept = ended(Some(finish::failed(lost.clone(), true)), "web", &Verdict::Confirmed).unwrap();
        assert_eq!(kept.status, StepStatus::Unreachable);
        assert!(
            kept.failure
                .as_deref()
                .unwrap()
                .kept
                .starts_with("a new connection reaches the host")
        );
        let plain = ended(Some(finish::failed(lost, true)), "web", &Verdict::Unguarded).unwrap();
        assert_eq!(plain.failure.as_deref().unwrap().message, "the connection was lost");
    }
}
