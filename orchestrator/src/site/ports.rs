//! Who listens where on a host, as far as the playbook says it: two services on one port are a mistake that otherwise
//! shows only when the second one does not start.

use super::{Scoped, SitePlay, Step};
use crate::error::Diagnostic;
use crate::source::Span;
use crate::source::yaml::Node;
use crate::template::{Engine, Found, Scope};
use okd_agent::Value;
use okd_agent::resource::network::{clash, endpoint};
use std::sync::Arc;

/// A service on a port.
struct Listener {
    service: &'static str,
    /// The task that configures it.
    task: Span,
    /// Address, `None` for all, and port.
    endpoint: (Option<String>, u16),
    span: Span,
    /// The variable that alone gives the port, with the place of its value.
    variable: Option<(String, Span)>,
}

/// The ports that two tasks of a play want on one host. Tasks with a condition are left out, since both of them may
/// never run, and so is what hangs on facts.
#[must_use]
pub fn check(play: &SitePlay, scoped: &Scoped) -> Vec<Diagnostic> {
    let mut listeners: Vec<Listener> = Vec::new();
    let mut found = Vec::new();
    for step in play.steps() {
        if !step.keywords.when.is_empty() || step.task.repeat.is_some() {
            continue;
        }
        for new in listeners_of(&step, scoped) {
            let in_the_way = |old: &&Listener| {
                let shares = old.service == new.service
                    && (new.service == "nginx" || old.task != new.task || old.span == new.span);
                !shares && clash(&old.endpoint, &new.endpoint)
            };
            match listeners.iter().find(in_the_way) {
                Some(old) => found.push(conflict(old, &new)),
                None => listeners.push(new),
            }
        }
    }
    found
}

fn conflict(old: &Listener, new: &Listener) -> Diagnostic {
    let text = if old.service == new.service {
        format!("`{}` would listen on port {} twice", new.service, new.endpoint.1)
    } else {
        format!(
            "`{}` and `{}` both listen on port {}",
            old.service, new.service, new.endpoint.1
        )
    };
    let mut found = Diagnostic::new("port-in-use", text)
        .at(new.span, format!("`{}` listens here", new.service))
        .at(old.span, format!("`{}` listens here", old.service));
    for (name, span) in new.variable.iter().chain(&old.variable) {
        found = found.at(*span, format!("`{name}` is set here"));
    }
    found
}

fn listeners_of(step: &Arc<Step>, scoped: &Scoped) -> Vec<Listener> {
    let task = &step.task;
    let lists = |key: &str, inner: &str| -> Vec<Node> {
        let outer = task.args.get(key).into_iter().flat_map(Node::items);
        outer.filter_map(|item| item.get(inner).cloned()).collect()
    };
    let (service, nodes): (&'static str, Vec<Node>) = match task.short_module() {
        "nginx" | "okd.nginx" => ("nginx", lists("sites", "listen")),
        "haproxy" | "okd.haproxy" => {
            let stats = task.args.get("stats").and_then(|stats| stats.get("bind"));
            let pools = [
                lists("frontends", "bind"),
                lists("pools", "bind"),
                lists("backends", "bind"),
            ];
            (
                "haproxy",
                stats.cloned().into_iter().chain(pools.into_iter().flatten()).collect(),
            )
        }
        "named" | "okd.named" => return name_server(step, scoped),
        _ => return Vec::new(),
    };
    let scoped = Scoped {
        step: Some(Arc::clone(step)),
        ..scoped.clone()
    };
    let engine = scoped.world.loading.engine.clone();
    let listener = |node: &Node, text: &str| {
        Some(Listener {
            service,
            task: task.span,
            endpoint: endpoint(text)?,
            span: node.span,
            variable: variable(node, &scoped, &engine),
        })
    };
    let mut listeners = Vec::new();
    for node in nodes.iter().flat_map(|node| match node.as_seq() {
        Some(items) => items,
        None => std::slice::from_ref(node),
    }) {
        match engine.render(node, &scoped.clone().shared()) {
            Ok(Value::List(texts)) => {
                listeners.extend(texts.iter().filter_map(|text| listener(node, &text.to_string())))
            }
            Ok(text) => listeners.extend(listener(node, &text.to_string())),
            Err(_) => {}
        }
    }
    listeners
}

/// Name servers listen on port 53 alone.
fn name_server(step: &Step, scoped: &Scoped) -> Vec<Listener> {
    let task = &step.task;
    let own = |address: Option<String>, span| Listener {
        service: "named",
        task: task.span,
        endpoint: (address, 53),
        span,
        variable: None,
    };
    let Some(node) = task.args.get("listen_on") else {
        return vec![own(None, task.module_span)];
    };
    let engine = &scoped.world.loading.engine;
    match engine.render(node, &scoped.clone().shared()) {
        Ok(Value::List(addresses)) => addresses
            .iter()
            .map(|address| own(Some(address.to_string()).filter(|address| address != "any"), node.span))
            .collect(),
        Ok(Value::Str(address)) => vec![own(Some(address).filter(|address| address != "any"), node.span)],
        _ => Vec::new(),
    }
}

/// The variable of a node that is one variable's value and nothing else.
fn variable(node: &Node, scoped: &Scoped, engine: &Engine) -> Option<(String, Span)> {
    let names = engine.mentions(node);
    let [name] = names.iter().collect::<Vec<_>>()[..] else {
        return None;
    };
    match scoped.lookup(name) {
        Found::Raw(value) => Some((name.clone(), value.span)),
        _ => None,
    }
}
