//! Filters that apply other filters and tests to each item of a list.

use indexmap::IndexMap;
use minijinja::value::{Kwargs, Tuple, Value as Native};
use minijinja::{Error, ErrorKind, State};

use super::dict::attribute;
use crate::template::registry::{Call, Entry, carries, wrong};

type Answer = Result<Native, Error>;

/// Every filter of this file.
pub(super) const ALL: &[Entry] = &[
    carries(&["map"], &["value", "*"], map),
    carries(&["select"], &["value", "*"], |state, call| {
        choose(state, call, false, true)
    }),
    carries(&["reject"], &["value", "*"], |state, call| {
        choose(state, call, false, false)
    }),
    carries(&["selectattr"], &["value", "*"], |state, call| {
        choose(state, call, true, true)
    }),
    carries(&["rejectattr"], &["value", "*"], |state, call| {
        choose(state, call, true, false)
    }),
    carries(
        &["groupby"],
        &["value", "attribute", "default", "case_sensitive"],
        groupby,
    ),
];

/// The arguments behind the name of a filter or test, with an item in front.
fn arguments(item: Native, positional: &[Native], named: &[(String, Native)]) -> Vec<Native> {
    let mut args = vec![item];
    args.extend_from_slice(positional);
    if !named.is_empty() {
        args.push(Native::from(named.iter().cloned().collect::<Kwargs>()));
    }
    args
}

fn map(state: &mut State<'_, '_>, call: &Call) -> Answer {
    let option = |name: &str| call.named.iter().find(|(key, _)| key == name).map(|(_, value)| value);
    let items = call.items()?;
    if call.rest.is_empty() {
        let path = option("attribute").ok_or_else(|| wrong("`map` needs the name of a filter, or `attribute=`"))?;
        let mut out = Vec::with_capacity(items.len());
        for item in &items {
            let value = attribute(item, path)?;
            out.push(match option("default") {
                Some(default) if value.is_undefined() => default.clone(),
                None if value.is_undefined() => return Err(missing(path)),
                _ => value,
            });
        }
        return Ok(Native::from(out));
    }
    let name = call.rest[0]
        .as_str()
        .ok_or_else(|| wrong("`map` needs the name of a filter as text"))?;
    let mut out = Vec::with_capacity(items.len());
    for item in items {
        let args = arguments(item, &call.rest[1..], &call.named);
        out.push(apply(state, name, &args)?);
    }
    Ok(Native::from(out))
}

fn missing(path: &Native) -> Error {
    wrong(format!(
        "an item has no attribute `{path}`; give `default=` where that may be"
    ))
}

fn apply(state: &mut State<'_, '_>, name: &str, args: &[Native]) -> Answer {
    state.apply_filter(name, args).map_err(|err| match err.kind() {
        ErrorKind::UnknownFilter if err.detail().is_none() => {
            Error::new(ErrorKind::UnknownFilter, format!("filter {name} is unknown"))
        }
        _ => err,
    })
}

fn choose(state: &mut State<'_, '_>, call: &Call, by_attribute: bool, keep: bool) -> Answer {
    let mut args = call.rest.as_slice();
    let path = if by_attribute {
        let (path, rest) = args
            .split_first()
            .ok_or_else(|| wrong(format!("`{}` needs the name of an attribute", call.name)))?;
        args = rest;
        Some(path)
    } else {
        None
    };
    let test = match args.split_first() {
        Some((name, rest)) => {
            args = rest;
            Some(
                name.as_str()
                    .ok_or_else(|| wrong(format!("`{}` needs the name of a test as text", call.name)))?,
            )
        }
        None => None,
    };
    let mut out = Vec::new();
    for item in call.items()? {
        let value = match path {
            Some(path) => attribute(&item, path)?,
            None => item.clone(),
        };
        let holds = match test {
            Some(name) => perform(state, name, &arguments(value, args, &call.named), path)?,
            None if value.is_undefined() => false,
            None => value.is_true(),
        };
        if holds == keep {
            out.push(item);
        }
    }
    Ok(Native::from(out))
}

fn perform(state: &mut State<'_, '_>, name: &str, args: &[Native], path: Option<&Native>) -> Result<bool, Error> {
    state.perform_test(name, args).map_err(|err| match (err.kind(), path) {
        (ErrorKind::UnknownTest, _) => Error::new(ErrorKind::UnknownTest, format!("test {name} is unknown")),
        (ErrorKind::UndefinedError, Some(path)) => wrong(format!(
            "an item has no attribute `{path}`; choose with `selectattr('{path}', 'defined')` first"
        )),
        _ => err,
    })
}

/// Pairs of a value and the items that have it, sorted by the value.
fn groupby(_: &mut State<'_, '_>, call: &Call) -> Answer {
    let path = call.need("attribute")?;
    let mut groups: IndexMap<Native, Vec<Native>> = IndexMap::new();
    for item in call.items()? {
        let value = attribute(&item, path)?;
        let value = match call.get("default") {
            Some(default) if value.is_undefined() => default.clone(),
            None if value.is_undefined() => return Err(missing(path)),
            _ => value,
        };
        groups.entry(value).or_default().push(item);
    }
    groups.sort_keys();
    let pair = |(value, items): (Native, Vec<Native>)| Native::from(Tuple::from([value, Native::from(items)]));
    Ok(groups.into_iter().map(pair).collect())
}
