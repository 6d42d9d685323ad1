//! Filters on lists: order, ends, sums, shapes.

use std::cmp::Ordering;

use minijinja::value::{Tuple, Value as Native, ValueKind};
use minijinja::{Error, ErrorKind, State};

use super::basic::number;
use super::dict::attribute;
use crate::template::print;
use crate::template::registry::{Call, Entry, carries, kind_name, list, reads, wrong};

type Answer = Result<Native, Error>;

/// Every filter of this file.
pub(super) const ALL: &[Entry] = &[
    carries(&["list"], &["value"], |_, call| call.items().map(Native::from)),
    reads(&["length", "count"], &["value"], |_, call| {
        let value = call.subject();
        match value.len() {
            Some(length) => Ok(Native::from(length)),
            None => call.items().map(|items| Native::from(items.len())),
        }
    }),
    carries(&["first"], &["value"], |_, call| {
        Ok(call.items()?.into_iter().next().unwrap_or_default())
    }),
    carries(&["last"], &["value"], |_, call| {
        Ok(call.items()?.into_iter().next_back().unwrap_or_default())
    }),
    carries(&["reverse"], &["value"], |_, call| match call.subject().as_str() {
        Some(text) => Ok(Native::from(text.chars().rev().collect::<String>())),
        None => Ok(call.items()?.into_iter().rev().collect()),
    }),
    carries(&["join"], &["value", "d", "attribute"], join),
    carries(&["sort"], &["value", "reverse", "case_sensitive", "attribute"], sort),
    carries(&["min"], &["value", "case_sensitive", "attribute"], |_, call| {
        extreme(call, Ordering::Less)
    }),
    carries(&["max"], &["value", "case_sensitive", "attribute"], |_, call| {
        extreme(call, Ordering::Greater)
    }),
    carries(&["sum"], &["value", "attribute", "start"], sum),
    carries(&["flatten"], &["value", "levels", "skip_nulls"], |_, call| {
        let levels = match call.get("levels") {
            Some(levels) if !levels.is_none() => usize::try_from(call.int_or("levels", 0)?).unwrap_or(0),
            _ => usize::MAX,
        };
        let mut out = Vec::new();
        flatten(call.items()?, levels, call.truth_or("skip_nulls", true), &mut out)?;
        Ok(Native::from(out))
    }),
    carries(&["batch"], &["value", "linecount", "fill_with"], batch),
    carries(&["slice"], &["value", "slices", "fill_with"], slice),
    carries(&["zip"], &["value", "*"], |_, call| {
        zip_lists(&with_subject(call), None)
    }),
    carries(&["zip_longest"], &["value", "*"], |_, call| {
        let fill = call.named.iter().find(|(name, _)| name == "fillvalue");
        zip_lists(
            &with_subject(call),
            Some(fill.map_or(Native::from(()), |(_, value)| value.clone())),
        )
    }),
    carries(&["product"], &["value", "*"], |_, call| {
        let lists: Vec<Vec<Native>> = with_subject(call)
            .iter()
            .map(|one| list(one, "product"))
            .collect::<Result<_, _>>()?;
        product(&lists).map(tuples)
    }),
    carries(&["permutations"], &["value", "r"], |_, call| {
        let items = call.items()?;
        let size = usize::try_from(call.int_or("r", items.len() as i64)?).unwrap_or(0);
        choose(&items, size, true).map(tuples)
    }),
    carries(&["combinations"], &["value", "r"], |_, call| {
        let size = usize::try_from(call.int_or("r", 2)?).unwrap_or(0);
        choose(&call.items()?, size, false).map(tuples)
    }),
    carries(&["extract"], &["value", "container", "morekeys"], extract),
    carries(&["random"], &["value", "start", "step", "seed"], random),
    carries(&["shuffle"], &["value", "seed"], |_, call| {
        let mut draw = Draw::new(call)?;
        let mut items = call.items()?;
        for index in (1..items.len()).rev() {
            items.swap(index, draw.below(index as u64 + 1) as usize);
        }
        Ok(Native::from(items))
    }),
];

fn with_subject(call: &Call) -> Vec<Native> {
    std::iter::once(call.subject())
        .chain(call.rest.iter().cloned())
        .collect()
}

fn tuples(lists: Vec<Vec<Native>>) -> Native {
    lists
        .into_iter()
        .map(|items| Native::from(Tuple::from(items)))
        .collect()
}

/// Lists side by side, to the shortest, or to the longest where there is a filler.
pub(in crate::template) fn zip_lists(lists: &[Native], fill: Option<Native>) -> Answer {
    let lists: Vec<Vec<Native>> = lists.iter().map(|one| list(one, "zip")).collect::<Result<_, _>>()?;
    let lengths = lists.iter().map(Vec::len);
    let length = if fill.is_some() { lengths.max() } else { lengths.min() }.unwrap_or(0);
    let fill = fill.unwrap_or_default();
    let row = |index: usize| {
        lists
            .iter()
            .map(|one| one.get(index).unwrap_or(&fill).clone())
            .collect()
    };
    Ok(tuples((0..length).map(row).collect()))
}

fn join(_: &mut State<'_, '_>, call: &Call) -> Answer {
    let separator = call.text_or("d", "")?;
    let mut texts = Vec::new();
    for item in call.items()? {
        let item = match call.get("attribute") {
            Some(path) => attribute(&item, path)?,
            None => item,
        };
        if item.is_undefined() {
            return Err(Error::from(ErrorKind::UndefinedError));
        }
        texts.push(print::text(&item));
    }
    Ok(Native::from(texts.join(&separator)))
}

/// What to compare of an item: an attribute, text without its case.
fn key_of(item: &Native, path: Option<&Native>, case_sensitive: bool) -> Answer {
    let key = match path {
        Some(path) => attribute(item, path)?,
        None => item.clone(),
    };
    if key.is_undefined() {
        return Err(Error::from(ErrorKind::UndefinedError));
    }
    Ok(match key.as_str() {
        Some(text) if !case_sensitive => Native::from(text.to_lowercase()),
        _ => key,
    })
}

/// As Python compares; values of different kinds cannot be ordered.
fn order(left: &Native, right: &Native) -> Result<Ordering, Error> {
    let comparable = |value: &Native| match value.kind() {
        ValueKind::Bool => ValueKind::Number,
        ValueKind::Iterable => ValueKind::Seq,
        kind => kind,
    };
    let (one, two) = (comparable(left), comparable(right));
    if one != two {
        return Err(wrong(format!(
            "{} cannot be ordered with {}",
            kind_name(one),
            kind_name(two)
        )));
    }
    Ok(left.cmp(right))
}

fn sort(_: &mut State<'_, '_>, call: &Call) -> Answer {
    let case_sensitive = call.truth_or("case_sensitive", false);
    let paths: Vec<Native> = match call.get("attribute") {
        Some(path) => match path.as_str() {
            Some(text) => text.split(',').map(|part| Native::from(part.trim())).collect(),
            None => vec![path.clone()],
        },
        None => Vec::new(),
    };
    let mut keyed = Vec::new();
    for item in call.items()? {
        let keys: Vec<Native> = if paths.is_empty() {
            vec![key_of(&item, None, case_sensitive)?]
        } else {
            paths
                .iter()
                .map(|path| key_of(&item, Some(path), case_sensitive))
                .collect::<Result<_, _>>()?
        };
        keyed.push((keys, item));
    }
    let mut failure = None;
    let reverse = call.truth_or("reverse", false);
    keyed.sort_by(|(left, _), (right, _)| {
        let found = left
            .iter()
            .zip(right)
            .map(|(one, two)| order(one, two))
            .find(|order| !matches!(order, Ok(Ordering::Equal)));
        let order = found.unwrap_or(Ok(Ordering::Equal)).unwrap_or_else(|err| {
            failure.get_or_insert(err);
            Ordering::Equal
        });
        if reverse { order.reverse() } else { order }
    });
    match failure {
        Some(err) => Err(err),
        None => Ok(keyed.into_iter().map(|(_, item)| item).collect()),
    }
}

fn extreme(call: &Call, wanted: Ordering) -> Answer {
    let case_sensitive = call.truth_or("case_sensitive", false);
    let mut best: Option<(Native, Native)> = None;
    for item in call.items()? {
        let key = key_of(&item, call.get("attribute"), case_sensitive)?;
        let better = match &best {
            Some((held, _)) => order(&key, held)? == wanted,
            None => true,
        };
        if better {
            best = Some((key, item));
        }
    }
    Ok(best.map(|(_, item)| item).unwrap_or_default())
}

/// Numbers are added; lists are put one behind the other where `start` is a list.
fn sum(_: &mut State<'_, '_>, call: &Call) -> Answer {
    let mut items = Vec::new();
    for item in call.items()? {
        items.push(match call.get("attribute") {
            Some(path) if !path.is_none() => attribute(&item, path)?,
            _ => item,
        });
    }
    let start = call.get("start").cloned().unwrap_or_else(|| Native::from(0));
    if matches!(start.kind(), ValueKind::Seq | ValueKind::Iterable) {
        let mut out = list(&start, "sum")?;
        for item in &items {
            out.extend(list(item, "sum")?);
        }
        return Ok(Native::from(out));
    }
    let all: Vec<Native> = std::iter::once(start).chain(items).collect();
    if all.iter().any(Native::is_undefined) {
        return Err(Error::from(ErrorKind::UndefinedError));
    }
    if let Some(whole) = all
        .iter()
        .map(|item| item.as_i64().filter(|_| item.is_integer()))
        .collect::<Option<Vec<_>>>()
    {
        return Ok(Native::from(whole.into_iter().fold(0_i64, i64::saturating_add)));
    }
    let mut total = 0.0;
    for item in &all {
        if item.kind() == ValueKind::String {
            return Err(wrong("`sum` adds numbers, not strings"));
        }
        total += number(Some(item), 0.0)?;
    }
    Ok(Native::from(total))
}

fn flatten(items: Vec<Native>, levels: usize, skip_nulls: bool, out: &mut Vec<Native>) -> Result<(), Error> {
    for item in items {
        match item.kind() {
            ValueKind::None if skip_nulls => {}
            ValueKind::Seq | ValueKind::Iterable if levels > 0 => {
                flatten(list(&item, "flatten")?, levels - 1, skip_nulls, out)?
            }
            _ => out.push(item),
        }
    }
    Ok(())
}

fn batch(_: &mut State<'_, '_>, call: &Call) -> Answer {
    let size = usize::try_from(call.int_or("linecount", 0)?).unwrap_or(0);
    if size == 0 {
        return Err(wrong("`batch` needs a line count above 0"));
    }
    let fill = call.get("fill_with");
    let items = call.items()?;
    let rows = items.chunks(size).map(|row| {
        let mut row = row.to_vec();
        if let Some(fill) = fill {
            row.resize(size, fill.clone());
        }
        Native::from(row)
    });
    Ok(rows.collect::<Vec<_>>().into())
}

fn slice(_: &mut State<'_, '_>, call: &Call) -> Answer {
    let items = call.items()?;
    let count = usize::try_from(call.int_or("slices", 0)?).unwrap_or(0);
    if count == 0 || count > 100_000 {
        return Err(wrong("`slice` needs a number of slices above 0"));
    }
    let (size, over) = (items.len() / count, items.len() % count);
    let mut rest = items.into_iter();
    let slices = (0..count).map(|index| {
        let mut row: Vec<Native> = rest.by_ref().take(size + usize::from(index < over)).collect();
        match call.get("fill_with") {
            Some(fill) if index >= over && over > 0 => row.push(fill.clone()),
            _ => {}
        }
        Native::from(row)
    });
    Ok(slices.collect::<Vec<_>>().into())
}

/// Results of products and permutations that no configuration needs, and that would fill the memory.
const MOST: usize = 200_000;

fn too_many() -> Error {
    wrong(format!("the result would have more than {MOST} items"))
}

fn product(lists: &[Vec<Native>]) -> Result<Vec<Vec<Native>>, Error> {
    let mut rows: Vec<Vec<Native>> = vec![Vec::new()];
    for one in lists {
        if rows.len().saturating_mul(one.len()) > MOST {
            return Err(too_many());
        }
        rows = rows
            .into_iter()
            .flat_map(|row| {
                one.iter()
                    .map(move |item| row.iter().cloned().chain([item.clone()]).collect())
            })
            .collect();
    }
    Ok(rows)
}

fn choose(items: &[Native], size: usize, ordered: bool) -> Result<Vec<Vec<Native>>, Error> {
    let mut rows: Vec<Vec<usize>> = vec![Vec::new()];
    for _ in 0..size {
        let mut next = Vec::new();
        for row in &rows {
            for index in 0..items.len() {
                let fits = if ordered {
                    !row.contains(&index)
                } else {
                    row.last().is_none_or(|last| *last < index)
                };
                if fits {
                    next.push(row.iter().copied().chain([index]).collect());
                }
                if next.len() > MOST {
                    return Err(too_many());
                }
            }
        }
        rows = next;
    }
    Ok(rows
        .into_iter()
        .map(|row| row.into_iter().map(|index| items[index].clone()).collect())
        .collect())
}

fn extract(_: &mut State<'_, '_>, call: &Call) -> Answer {
    let mut keys = vec![call.subject()];
    match call.get("morekeys") {
        Some(more) if matches!(more.kind(), ValueKind::Seq | ValueKind::Iterable) => {
            keys.extend(list(more, "extract")?)
        }
        Some(more) if !more.is_none() => keys.push(more.clone()),
        _ => {}
    }
    let mut value = call.need("container")?.clone();
    for key in &keys {
        value = value.get_item(key)?;
    }
    Ok(value)
}

/// Numbers out of a seed: the same seed gives the same choice in every run (SplitMix64).
struct Draw(u64);

impl Draw {
    fn new(call: &Call) -> Result<Draw, Error> {
        let Some(seed) = call.get("seed").filter(|seed| !seed.is_none()) else {
            return Err(wrong(format!(
                "`{}` needs a seed, such as `seed=inventory_hostname`: a run that is repeated must give the same result",
                call.name
            )));
        };
        let hash = print::text(seed).bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Ok(Draw(hash))
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound.max(1)
    }
}

/// Of a list one item, of a number one below it.
fn random(_: &mut State<'_, '_>, call: &Call) -> Answer {
    let mut draw = Draw::new(call)?;
    let value = call.subject();
    if let Some(end) = value.as_i64() {
        let (start, step) = (call.int_or("start", 0)?, call.int_or("step", 1)?);
        if step <= 0 || end <= start {
            return Err(wrong("`random` has nothing to choose from"));
        }
        let count = (end - start + step - 1) / step;
        return Ok(Native::from(start + step * draw.below(count as u64) as i64));
    }
    let items = call.items()?;
    if items.is_empty() {
        return Err(wrong("`random` has nothing to choose from"));
    }
    Ok(items[draw.below(items.len() as u64) as usize].clone())
}
