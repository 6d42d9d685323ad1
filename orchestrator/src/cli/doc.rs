//! `okd-play doc`: generated from the tables that the decoders are made of, so it cannot be out of date.

use super::{End, print};
use crate::actions::{self, ACTIONS};
use crate::error::{Diagnostic, Exit};
use crate::run::args::kind_info;
use okd_agent::param::{Param, ParamKind, Spec};
use okd_agent::resource::KINDS;
use std::fmt::Write;

pub(super) fn doc(module: Option<&str>) -> End {
    let Some(name) = module else {
        print(&all());
        return Ok(Exit::Ok);
    };
    match one(name) {
        Some(text) => {
            print(&text);
            Ok(Exit::Ok)
        }
        None => Err(
            Diagnostic::new("unknown-module", format!("there is no module `{name}`"))
                .did_you_mean(name, actions::module_names().iter().copied())
                .into(),
        ),
    }
}

fn sentence(doc: &[&str]) -> String {
    doc.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
}

fn all() -> String {
    let kinds = KINDS.iter().map(|kind| (kind.names[0], sentence(kind.spec.doc)));
    let own = ACTIONS.iter().map(|action| {
        (
            action.name,
            action.spec.map_or(action.doc.to_owned(), |spec| sentence(spec.doc)),
        )
    });
    let mut rows: Vec<(&str, String)> = kinds.chain(own).collect();
    rows.sort();
    rows.iter()
        .map(|(name, text)| format!("{name:<20}  {text}\n"))
        .collect()
}

/// A module's page.
#[must_use]
pub(crate) fn one(name: &str) -> Option<String> {
    let mut text = String::new();
    let short = crate::playbook::short(name);
    if let Some(action) = ACTIONS.iter().find(|action| action.name == short) {
        let _ = writeln!(text, "{}\n", action.name);
        match action.spec {
            Some(spec) => page(&mut text, spec),
            None => {
                let _ = writeln!(text, "  {}", action.doc);
            }
        }
        example(&mut text, action.example);
        return Some(text);
    }
    let kind = kind_info(name)?;
    let _ = writeln!(text, "{}   ({})\n", kind.names[0], kind.names.join(", "));
    page(&mut text, kind.spec);
    let _ = writeln!(text, "\nA plan knows\n  {}", kind.predicts);
    example(&mut text, kind.example);
    Some(text)
}

fn example(text: &mut String, example: &str) {
    text.push_str("\nExample\n");
    example.lines().for_each(|line| text.push_str(&format!("  {line}\n")));
}

fn page(text: &mut String, spec: &Spec) {
    let _ = writeln!(text, "  {}\n\nParameters", sentence(spec.doc));
    params(text, spec, 2);
}

fn params(text: &mut String, spec: &Spec, indent: usize) {
    for param in spec.params {
        let pad = " ".repeat(indent);
        let _ = writeln!(text, "{pad}{}   {}", param.name, facts(param));
        let _ = writeln!(text, "{pad}    {}", sentence(param.doc));
        if let Some(inner) = nested(&param.kind) {
            params(text, inner, indent + 4);
        }
    }
}

fn nested(kind: &ParamKind) -> Option<&'static Spec> {
    match kind {
        ParamKind::Dict(spec) => Some(spec),
        ParamKind::List(inner) | ParamKind::MapOf(inner) => nested(inner),
        _ => None,
    }
}

fn facts(param: &Param) -> String {
    let mut facts = vec![kind(&param.kind)];
    if param.required {
        facts.push("required".to_owned());
    }
    if let Some(default) = param.default {
        facts.push(format!("default {default}"));
    }
    if !param.aliases.is_empty() {
        facts.push(format!("also {}", param.aliases.join(", ")));
    }
    format!("({})", facts.join("; "))
}

fn kind(kind: &ParamKind) -> String {
    match kind {
        ParamKind::Str => "text".to_owned(),
        ParamKind::Bool => "true or false".to_owned(),
        ParamKind::Int => "whole number".to_owned(),
        ParamKind::Float => "number".to_owned(),
        ParamKind::Path => "absolute path".to_owned(),
        ParamKind::Mode => "permission bits".to_owned(),
        ParamKind::OneOf(words) => format!("one of {}", words.join(", ")),
        ParamKind::List(inner) => format!("list of {}", self::kind(inner)),
        ParamKind::Dict(_) => "mapping".to_owned(),
        ParamKind::MapOf(inner) => format!("mapping to {}", self::kind(inner)),
        ParamKind::Any => "anything".to_owned(),
    }
}
