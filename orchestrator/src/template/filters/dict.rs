//! Filters on mappings: merging them, turning them into lists and back.

use indexmap::IndexMap;
use minijinja::value::{Tuple, Value as Native, ValueKind};
use minijinja::{Error, ErrorKind, State};

use crate::template::registry::{Call, Entry, carries, kind_name, list, wrong};

type Answer = Result<Native, Error>;

/// Every filter of this file.
pub(super) const ALL: &[Entry] = &[
    carries(&["dict"], &["value"], |_, call| {
        let mut map = IndexMap::new();
        if call.subject().kind() == ValueKind::Map {
            return Ok(call.subject());
        }
        for pair in call.items()? {
            let pair = list(&pair, "dict")?;
            let [key, value] = pair.as_slice() else {
                return Err(wrong("`dict` needs pairs"));
            };
            map.insert(key.clone(), value.clone());
        }
        Ok(build(map))
    }),
    carries(&["items"], &["value"], |_, call| {
        Ok(pairs(&call.subject(), "items")?
            .into_iter()
            .map(|(key, value)| Native::from(Tuple::from([key, value])))
            .collect())
    }),
    carries(&["dictsort"], &["value", "case_sensitive", "by", "reverse"], dictsort),
    carries(&["dict2items"], &["value", "key_name", "value_name"], |_, call| {
        let (key_name, value_name) = (call.text_or("key_name", "key")?, call.text_or("value_name", "value")?);
        let entry = |(key, value)| Native::from_pairs([(key_name.as_str(), key), (value_name.as_str(), value)]);
        Ok(pairs(&call.subject(), "dict2items")?.into_iter().map(entry).collect())
    }),
    carries(&["items2dict"], &["value", "key_name", "value_name"], |_, call| {
        let (key_name, value_name) = (call.text_or("key_name", "key")?, call.text_or("value_name", "value")?);
        let mut map = IndexMap::new();
        for item in call.items()? {
            map.insert(
                needed(&item, &key_name, "items2dict")?,
                needed(&item, &value_name, "items2dict")?,
            );
        }
        Ok(build(map))
    }),
    carries(&["combine"], &["value", "*"], combine),
    carries(&["rekey_on_member"], &["value", "key", "duplicates"], rekey),
    carries(
        &["subelements"],
        &["value", "subelements", "skip_missing"],
        |_, call| {
            subelements(
                &call.subject(),
                call.need("subelements")?,
                call.truth_or("skip_missing", false),
            )
        },
    ),
    carries(&["attr"], &["value", "name"], |_, call| {
        attribute(&call.subject(), call.need("name")?)
    }),
];

/// A mapping from its entries.
pub(in crate::template) fn build(map: IndexMap<Native, Native>) -> Native {
    Native::from_pairs(map)
}

/// The entries of what must be a mapping.
pub(in crate::template) fn pairs(value: &Native, name: &str) -> Result<Vec<(Native, Native)>, Error> {
    match value.kind() {
        ValueKind::Undefined => Err(Error::from(ErrorKind::UndefinedError)),
        ValueKind::Map => {
            let mut out = Vec::new();
            for key in value.try_iter()?.checked() {
                let key = key?;
                out.push((key.clone(), checked(value.get_item(&key)?)?));
            }
            Ok(out)
        }
        kind => Err(wrong(format!("`{name}` needs a mapping, not {}", kind_name(kind)))),
    }
}

/// A value out of a lookup; one that holds an error stops here.
pub(in crate::template) fn checked(value: Native) -> Answer {
    match value.kind() {
        ValueKind::Invalid => Err(wrong("the value is not to be had")),
        _ => Ok(value),
    }
}

/// `a.b.0` of a value, or one number as an index; undefined where a part is missing.
pub(in crate::template) fn attribute(value: &Native, path: &Native) -> Answer {
    let Some(text) = path.as_str() else {
        return checked(value.get_item(path)?);
    };
    let mut value = value.clone();
    for part in text.split('.') {
        if value.is_undefined() {
            return Ok(value);
        }
        value = match part.parse::<i64>() {
            Ok(index) if value.kind() != ValueKind::Map => value.get_item(&Native::from(index))?,
            _ => value.get_attr(part)?,
        };
        value = checked(value)?;
    }
    Ok(value)
}

fn needed(item: &Native, key: &str, name: &str) -> Answer {
    let value = attribute(item, &Native::from(key))?;
    if value.is_undefined() {
        return Err(wrong(format!("`{name}`: an item has no `{key}`")));
    }
    Ok(value)
}

fn dictsort(_: &mut State<'_, '_>, call: &Call) -> Answer {
    let by_value = match call.text_or("by", "key")?.as_str() {
        "key" => false,
        "value" => true,
        other => return Err(wrong(format!("`dictsort` sorts by key or value, not by `{other}`"))),
    };
    let case_sensitive = call.truth_or("case_sensitive", false);
    let fold = |(key, value): &(Native, Native)| {
        let chosen = if by_value { value } else { key };
        match chosen.as_str() {
            Some(text) if !case_sensitive => Native::from(text.to_lowercase()),
            _ => chosen.clone(),
        }
    };
    let mut entries = pairs(&call.subject(), "dictsort")?;
    entries.sort_by_cached_key(fold);
    if call.truth_or("reverse", false) {
        entries.reverse();
    }
    Ok(entries
        .into_iter()
        .map(|(key, value)| Native::from(Tuple::from([key, value])))
        .collect())
}

/// How `combine` joins two lists.
#[derive(Clone, Copy)]
enum ListMerge {
    Replace,
    Keep,
    Append,
    Prepend,
    AppendRp,
    PrependRp,
}

fn combine(_: &mut State<'_, '_>, call: &Call) -> Answer {
    let mut recursive = false;
    let mut lists = ListMerge::Replace;
    for (name, value) in &call.named {
        match (name.as_str(), value.as_str()) {
            ("recursive", _) => recursive = value.is_true(),
            ("list_merge", Some("replace")) => lists = ListMerge::Replace,
            ("list_merge", Some("keep")) => lists = ListMerge::Keep,
            ("list_merge", Some("append")) => lists = ListMerge::Append,
            ("list_merge", Some("prepend")) => lists = ListMerge::Prepend,
            ("list_merge", Some("append_rp")) => lists = ListMerge::AppendRp,
            ("list_merge", Some("prepend_rp")) => lists = ListMerge::PrependRp,
            ("list_merge", _) => {
                return Err(wrong(
                    "`list_merge` is replace, keep, append, prepend, append_rp or prepend_rp",
                ));
            }
            _ => {
                return Err(wrong(format!(
                    "`combine` has no argument `{name}`; it takes recursive and list_merge"
                )));
            }
        }
    }
    let mut terms = Vec::new();
    for term in std::iter::once(call.subject()).chain(call.rest.iter().cloned()) {
        match term.kind() {
            ValueKind::Seq | ValueKind::Iterable => terms.extend(list(&term, "combine")?),
            ValueKind::None => {}
            _ => terms.push(term),
        }
    }
    let mut out = IndexMap::new();
    for term in terms {
        merge(&mut out, pairs(&term, "combine")?, recursive, lists)?;
    }
    Ok(build(out))
}

fn merge(
    into: &mut IndexMap<Native, Native>,
    from: Vec<(Native, Native)>,
    recursive: bool,
    lists: ListMerge,
) -> Result<(), Error> {
    for (key, new) in from {
        let merged = match into.get(&key) {
            Some(old) if recursive && old.kind() == ValueKind::Map && new.kind() == ValueKind::Map => {
                let mut inner: IndexMap<Native, Native> = pairs(old, "combine")?.into_iter().collect();
                merge(&mut inner, pairs(&new, "combine")?, recursive, lists)?;
                build(inner)
            }
            Some(old) if old.kind() == ValueKind::Seq && new.kind() == ValueKind::Seq => {
                merge_lists(list(old, "combine")?, list(&new, "combine")?, lists)
            }
            _ => new,
        };
        into.insert(key, merged);
    }
    Ok(())
}

fn merge_lists(old: Vec<Native>, new: Vec<Native>, how: ListMerge) -> Native {
    let without = |list: Vec<Native>, other: &[Native]| {
        list.into_iter()
            .filter(|item| !other.contains(item))
            .collect::<Vec<_>>()
    };
    Native::from(match how {
        ListMerge::Replace => new,
        ListMerge::Keep => old,
        ListMerge::Append => [old, new].concat(),
        ListMerge::Prepend => [new, old].concat(),
        ListMerge::AppendRp => [without(old, &new), new].concat(),
        ListMerge::PrependRp => [new.clone(), without(old, &new)].concat(),
    })
}

fn rekey(_: &mut State<'_, '_>, call: &Call) -> Answer {
    let key_name = call.text_of("key")?;
    let overwrite = match call.text_or("duplicates", "error")?.as_str() {
        "error" => false,
        "overwrite" => true,
        other => return Err(wrong(format!("`duplicates` is error or overwrite, not `{other}`"))),
    };
    let subject = call.subject();
    let items = match subject.kind() {
        ValueKind::Map => pairs(&subject, "rekey_on_member")?
            .into_iter()
            .map(|(_, value)| value)
            .collect(),
        _ => call.items()?,
    };
    let mut map = IndexMap::new();
    for item in items {
        let key = needed(&item, &key_name, "rekey_on_member")?;
        if map.contains_key(&key) && !overwrite {
            return Err(wrong(format!("`rekey_on_member`: the key `{key}` is not unique")));
        }
        map.insert(key, item);
    }
    Ok(build(map))
}

/// Each item with each element of its inner list.
pub(in crate::template) fn subelements(value: &Native, path: &Native, skip_missing: bool) -> Answer {
    let items = match value.kind() {
        ValueKind::Map => pairs(value, "subelements")?.into_iter().map(|(_, item)| item).collect(),
        _ => list(value, "subelements")?,
    };
    let mut out = Vec::new();
    for item in items {
        let inner = match path.kind() {
            ValueKind::Seq => list(path, "subelements")?
                .iter()
                .try_fold(item.clone(), |value, part| {
                    if value.is_undefined() {
                        Ok(value)
                    } else {
                        attribute(&value, part)
                    }
                })?,
            _ => attribute(&item, path)?,
        };
        if inner.is_undefined() {
            if skip_missing {
                continue;
            }
            return Err(wrong(format!("`subelements`: an item has no `{path}`")));
        }
        for element in list(&inner, "subelements")? {
            out.push(Native::from(Tuple::from([item.clone(), element])));
        }
    }
    Ok(Native::from(out))
}
