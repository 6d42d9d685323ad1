//! Comparing versions: loosely, as Python's old LooseVersion did; strictly; by semantic versioning (semver.org).

use std::cmp::Ordering;

use minijinja::value::Value as Native;
use minijinja::{Error, State};

use crate::template::registry::{Call, Entry, reads, wrong};

/// The parameters of the filter and of the test.
pub(in crate::template) const PARAMS: &[&str] = &["value", "version", "operator", "strict", "version_type"];

/// Every filter of this file.
pub(super) const ALL: &[Entry] = &[reads(&["version", "version_compare"], PARAMS, compare)];

/// `value` against `version` by `operator`.
pub(in crate::template) fn compare(_: &mut State<'_, '_>, call: &Call) -> Result<Native, Error> {
    let (left, right) = (call.text()?, call.text_of("version")?);
    let strict = call.truth_or("strict", false);
    let kind = call.text_or("version_type", if strict { "strict" } else { "loose" })?;
    if left.is_empty() {
        return Err(wrong("`version`: the version to compare is empty"));
    }
    let order = match kind.as_str() {
        "loose" => loose(&left, &right),
        "strict" | "semver" | "semantic" => semantic(&left)?.cmp(&semantic(&right)?),
        "pep440" => loose(left.trim_start_matches('v'), right.trim_start_matches('v')),
        other => {
            return Err(wrong(format!(
                "`version_type` is loose, strict or semver, not `{other}`"
            )));
        }
    };
    let operator = call.text_or("operator", "eq")?;
    Ok(Native::from(match operator.as_str() {
        "==" | "=" | "eq" => order.is_eq(),
        "!=" | "<>" | "ne" => order.is_ne(),
        "<" | "lt" => order.is_lt(),
        "<=" | "le" => order.is_le(),
        ">" | "gt" => order.is_gt(),
        ">=" | "ge" => order.is_ge(),
        other => return Err(wrong(format!("`version` knows ==, !=, <, <=, > and >=, not `{other}`"))),
    }))
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Text(String),
    Number(u64),
}

fn loose(left: &str, right: &str) -> Ordering {
    parts(left).cmp(&parts(right))
}

/// Runs of digits and runs of letters; dots and other marks only separate.
fn parts(text: &str) -> Vec<Part> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let digits = first.is_ascii_digit();
        let letters = first.is_alphabetic();
        let end = rest
            .find(|letter: char| letter.is_ascii_digit() != digits || letter.is_alphabetic() != letters)
            .unwrap_or(rest.len());
        if digits {
            out.push(Part::Number(rest[..end].parse().unwrap_or(u64::MAX)));
        } else if letters {
            out.push(Part::Text(rest[..end].to_owned()));
        }
        rest = &rest[end..];
    }
    out
}

/// Numbers, then: a release stands above its pre-releases.
fn semantic(text: &str) -> Result<(Vec<u64>, bool, Vec<PrePart>), Error> {
    let refuse = || wrong(format!("`{text}` is not a version of the form MAJOR.MINOR.PATCH"));
    let core = text.split('+').next().unwrap_or(text);
    let (numbers, pre) = core
        .split_once('-')
        .map_or((core, None), |(numbers, pre)| (numbers, Some(pre)));
    let numbers: Vec<u64> = numbers
        .split('.')
        .map(|part| part.parse().map_err(|_| refuse()))
        .collect::<Result<_, _>>()?;
    if numbers.is_empty() || numbers.len() > 3 {
        return Err(refuse());
    }
    let pre_parts = pre
        .map(|pre| pre.split('.').map(PrePart::new).collect())
        .unwrap_or_default();
    Ok((numbers, pre.is_none(), pre_parts))
}

/// A part of a pre-release: numbers stand below words (semver.org, 11.4).
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum PrePart {
    Number(u64),
    Word(String),
}

impl PrePart {
    fn new(text: &str) -> PrePart {
        text.parse()
            .map_or_else(|_| PrePart::Word(text.to_owned()), PrePart::Number)
    }
}
