//! Filters that treat lists as sets; the order of the first list is kept, so that results are the same in every run.

use minijinja::Error;
use minijinja::value::Value as Native;

use super::dict::attribute;
use crate::template::registry::{Call, Entry, carries, list};

type Answer = Result<Native, Error>;

/// Every filter of this file.
pub(super) const ALL: &[Entry] = &[
    carries(&["unique"], &["value", "case_sensitive", "attribute"], |_, call| {
        unique(call)
    }),
    carries(&["union"], &["value", "other"], |_, call| {
        let (left, right) = both(call)?;
        Ok(distinct(left.into_iter().chain(right)))
    }),
    carries(&["intersect"], &["value", "other"], |_, call| {
        let (left, right) = both(call)?;
        Ok(distinct(left.into_iter().filter(|item| right.contains(item))))
    }),
    carries(&["difference"], &["value", "other"], |_, call| {
        let (left, right) = both(call)?;
        Ok(distinct(left.into_iter().filter(|item| !right.contains(item))))
    }),
    carries(&["symmetric_difference"], &["value", "other"], |_, call| {
        let (left, right) = both(call)?;
        let only_left = left.iter().filter(|item| !right.contains(item));
        let only_right = right.iter().filter(|item| !left.contains(item));
        Ok(distinct(only_left.chain(only_right).cloned()))
    }),
];

fn both(call: &Call) -> Result<(Vec<Native>, Vec<Native>), Error> {
    Ok((call.items()?, list(call.need("other")?, call.name)?))
}

fn distinct(items: impl Iterator<Item = Native>) -> Native {
    let mut seen: Vec<Native> = Vec::new();
    for item in items {
        if !seen.contains(&item) {
            seen.push(item);
        }
    }
    Native::from(seen)
}

/// As Jinja2's: case does not count unless it is asked for.
fn unique(call: &Call) -> Answer {
    let case_sensitive = call.truth_or("case_sensitive", false);
    let mut seen = Vec::new();
    let mut out = Vec::new();
    for item in call.items()? {
        let key = match call.get("attribute") {
            Some(path) if !path.is_none() => attribute(&item, path)?,
            _ => item.clone(),
        };
        let key = match key.as_str() {
            Some(text) if !case_sensitive => Native::from(text.to_lowercase()),
            _ => key,
        };
        if !seen.contains(&key) {
            seen.push(key);
            out.push(item);
        }
    }
    Ok(Native::from(out))
}
