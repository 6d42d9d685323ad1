//! The tests of templates: Jinja2's, and Ansible's for results, text, sets and files of the control node.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use minijinja::Error;
use minijinja::value::{Value as Native, ValueKind};

use super::filters::text::pattern;
use super::filters::version;
use super::registry::{Call, Entry, carries, list, reads, wrong};
use super::touch::on_disk;
use crate::source::files::Files;

type Answer = Result<Native, Error>;

/// Every test.
pub(super) const ALL: &[Entry] = &[
    carries(&["defined"], &["value"], |_, call| yes(!call.subject().is_undefined())),
    carries(&["undefined"], &["value"], |_, call| yes(call.subject().is_undefined())),
    carries(&["none"], &["value"], |_, call| yes(call.subject().is_none())),
    carries(&["truthy"], &["value", "convert_bool"], |_, call| yes(truthy(call))),
    carries(&["falsy"], &["value", "convert_bool"], |_, call| yes(!truthy(call))),
    carries(&["true"], &["value"], |_, call| yes(is_bool(call, true))),
    carries(&["false"], &["value"], |_, call| yes(is_bool(call, false))),
    carries(&["boolean"], &["value"], |_, call| {
        yes(call.subject().kind() == ValueKind::Bool)
    }),
    carries(&["string"], &["value"], |_, call| {
        yes(call.subject().kind() == ValueKind::String)
    }),
    carries(&["number"], &["value"], |_, call| yes(call.subject().is_number())),
    carries(&["integer"], &["value"], |_, call| yes(call.subject().is_integer())),
    carries(&["float"], &["value"], |_, call| yes(is_float(&call.subject()))),
    carries(&["mapping"], &["value"], |_, call| {
        yes(call.subject().kind() == ValueKind::Map)
    }),
    carries(&["iterable"], &["value"], |_, call| yes(is_iterable(&call.subject()))),
    carries(&["sequence"], &["value"], |_, call| yes(is_iterable(&call.subject()))),
    carries(&["callable"], &["value"], |_, call| {
        yes(call.subject().kind() == ValueKind::Plain)
    }),
    carries(&["sameas"], &["value", "other"], |_, call| {
        let (left, right) = (call.subject(), call.need("other")?.clone());
        yes(left.kind() == right.kind() && left == right)
    }),
    carries(&["even"], &["value"], |_, call| {
        yes(whole(call, &call.subject())? % 2 == 0)
    }),
    carries(&["odd"], &["value"], |_, call| {
        yes(whole(call, &call.subject())? % 2 != 0)
    }),
    carries(&["divisibleby"], &["value", "num"], |_, call| {
        let divisor = whole(call, call.need("num")?)?;
        if divisor == 0 {
            return Err(wrong("`divisibleby` needs a number other than 0"));
        }
        yes(whole(call, &call.subject())? % divisor == 0)
    }),
    reads(&["in"], &["value", "seq"], |_, call| {
        yes(contains(call.need("seq")?, &call.subject())?)
    }),
    reads(&["contains"], &["value", "item"], |_, call| {
        yes(contains(&call.subject(), call.need("item")?)?)
    }),
    reads(&["eq", "equalto", "=="], &["value", "other"], |_, call| {
        yes(call.subject() == *call.need("other")?)
    }),
    reads(&["ne", "!="], &["value", "other"], |_, call| {
        yes(call.subject() != *call.need("other")?)
    }),
    reads(&["lt", "lessthan", "<"], &["value", "other"], |_, call| {
        yes(call.subject() < *call.need("other")?)
    }),
    reads(&["le", "<="], &["value", "other"], |_, call| {
        yes(call.subject() <= *call.need("other")?)
    }),
    reads(&["gt", "greaterthan", ">"], &["value", "other"], |_, call| {
        yes(call.subject() > *call.need("other")?)
    }),
    reads(&["ge", ">="], &["value", "other"], |_, call| {
        yes(call.subject() >= *call.need("other")?)
    }),
    reads(&["lower"], &["value"], |_, call| {
        yes(is_case(&call.text()?, char::is_lowercase, char::is_uppercase))
    }),
    reads(&["upper"], &["value"], |_, call| {
        yes(is_case(&call.text()?, char::is_uppercase, char::is_lowercase))
    }),
    reads(
        &["match"],
        &["value", "pattern", "ignorecase", "multiline"],
        |_, call| yes(matches(call, "match")?),
    ),
    reads(
        &["search"],
        &["value", "pattern", "ignorecase", "multiline"],
        |_, call| yes(matches(call, "search")?),
    ),
    reads(
        &["regex"],
        &["value", "pattern", "ignorecase", "multiline", "match_type"],
        |_, call| yes(matches(call, &call.text_or("match_type", "search")?)?),
    ),
    carries(&["any"], &["value"], |_, call| {
        yes(call.items()?.iter().any(Native::is_true))
    }),
    carries(&["all"], &["value"], |_, call| {
        yes(call.items()?.iter().all(Native::is_true))
    }),
    carries(&["subset", "issubset"], &["value", "of"], |_, call| {
        let of = list(call.need("of")?, "subset")?;
        yes(call.items()?.iter().all(|item| of.contains(item)))
    }),
    carries(&["superset", "issuperset"], &["value", "of"], |_, call| {
        let items = call.items()?;
        yes(list(call.need("of")?, "superset")?
            .iter()
            .all(|item| items.contains(item)))
    }),
    reads(&["version", "version_compare"], version::PARAMS, version::compare),
    carries(&["failed", "failure"], &["value"], |_, call| yes(flag(call, "failed")?)),
    carries(&["succeeded", "success", "successful"], &["value"], |_, call| {
        yes(!flag(call, "failed")?)
    }),
    carries(&["changed", "change"], &["value"], |_, call| yes(changed(call)?)),
    carries(&["skipped", "skip"], &["value"], |_, call| yes(flag(call, "skipped")?)),
    carries(&["unreachable"], &["value"], |_, call| yes(flag(call, "unreachable")?)),
    carries(&["reachable"], &["value"], |_, call| yes(!flag(call, "unreachable")?)),
    carries(&["timedout"], &["value"], |_, call| yes(flag(call, "timedout")?)),
    carries(&["finished"], &["value"], |_, call| {
        yes(numeric_flag(call, "finished", true)?)
    }),
    carries(&["started"], &["value"], |_, call| {
        yes(numeric_flag(call, "started", true)?)
    }),
    reads(&["exists"], &["path"], |_, call| yes(seen(call, Files::exists)?)),
    reads(&["file"], &["path"], |_, call| yes(seen(call, Files::is_file)?)),
    reads(&["directory"], &["path"], |_, call| yes(seen(call, Files::is_dir)?)),
    reads(&["link"], &["path"], |_, call| {
        yes(Path::new(&call.text()?).is_symlink())
    }),
    reads(&["link_exists"], &["path"], |_, call| {
        yes(Path::new(&call.text()?).symlink_metadata().is_ok())
    }),
    reads(&["mount"], &["path"], |_, call| yes(is_mount(Path::new(&call.text()?)))),
    reads(&["socket"], &["path"], |_, call| {
        yes(Path::new(&call.text()?)
            .metadata()
            .is_ok_and(|meta| meta.file_type().is_socket()))
    }),
    reads(&["abs"], &["path"], |_, call| {
        yes(Path::new(&call.text()?).is_absolute())
    }),
    reads(&["same_file"], &["path", "other"], |_, call| {
        let identity = |path: &str| std::fs::metadata(path).ok().map(|meta| (meta.dev(), meta.ino()));
        let other = call.text_of("other")?;
        yes(identity(&call.text()?).is_some_and(|one| Some(one) == identity(&other)))
    }),
    reads(&["url"], &["value", "schemes"], |_, call| yes(is_uri(call, &["://"])?)),
    reads(&["uri"], &["value", "schemes"], |_, call| yes(is_uri(call, &[":"])?)),
    reads(&["urn"], &["value"], |_, call| {
        yes(call.text()?.to_lowercase().starts_with("urn:"))
    }),
    reads(&["vault_encrypted"], &["value"], |_, call| {
        yes(call.text()?.starts_with("$ANSIBLE_VAULT;"))
    }),
    carries(&["nan"], &["value"], |_, call| {
        yes(is_float(&call.subject()) && f64::try_from(call.subject()).is_ok_and(f64::is_nan))
    }),
];

/// What is at a path of the control node.
fn seen(call: &Call, look: fn(&Files, &Path) -> bool) -> Result<bool, Error> {
    let path = call.text()?;
    Ok(on_disk(|disk| look(disk, Path::new(&path))))
}

fn yes(truth: bool) -> Answer {
    Ok(Native::from(truth))
}

fn truthy(call: &Call) -> bool {
    let value = call.subject();
    match value.as_str() {
        Some(text) if call.truth_or("convert_bool", false) => okd_agent::Value::from(text)
            .to_bool()
            .unwrap_or_else(|| value.is_true()),
        _ => value.is_true(),
    }
}

fn is_bool(call: &Call, wanted: bool) -> bool {
    let value = call.subject();
    value.kind() == ValueKind::Bool && value.is_true() == wanted
}

fn is_float(value: &Native) -> bool {
    value.is_number() && !value.is_integer()
}

fn is_iterable(value: &Native) -> bool {
    matches!(
        value.kind(),
        ValueKind::String | ValueKind::Seq | ValueKind::Iterable | ValueKind::Map
    )
}

fn whole(call: &Call, value: &Native) -> Result<i64, Error> {
    value
        .as_i64()
        .ok_or_else(|| wrong(format!("`{}` needs a whole number", call.name)))
}

fn contains(container: &Native, item: &Native) -> Result<bool, Error> {
    if let Some(text) = container.as_str() {
        return Ok(text.contains(&super::print::text(item)));
    }
    Ok(list(container, "in")?.contains(item))
}

fn is_case(text: &str, wanted: fn(char) -> bool, other: fn(char) -> bool) -> bool {
    text.chars().any(wanted) && !text.chars().any(other)
}

/// `match` begins at the start, `search` anywhere, `fullmatch` takes all.
fn matches(call: &Call, how: &str) -> Result<bool, Error> {
    let text = call.text()?;
    let body = call.text_of("pattern")?;
    let body = match how {
        "match" => format!(r"\A(?:{body})"),
        "fullmatch" => format!(r"\A(?:{body})\z"),
        "search" => body,
        other => {
            return Err(wrong(format!(
                "`match_type` is match, fullmatch or search, not `{other}`"
            )));
        }
    };
    let ignorecase = call.truth_or("ignorecase", false);
    Ok(pattern(&body, ignorecase, call.truth_or("multiline", false))?.is_match(&text))
}

/// A flag of a result; what is missing is not set.
fn flag(call: &Call, name: &str) -> Result<bool, Error> {
    Ok(result(call)?.get_attr(name)?.is_true())
}

fn numeric_flag(call: &Call, name: &str, missing: bool) -> Result<bool, Error> {
    let value = result(call)?.get_attr(name)?;
    Ok(if value.is_undefined() { missing } else { value.is_true() })
}

fn changed(call: &Call) -> Result<bool, Error> {
    let result = result(call)?;
    let own = result.get_attr("changed")?;
    if !own.is_undefined() {
        return Ok(own.is_true());
    }
    let parts = result.get_attr("results")?;
    if parts.is_undefined() {
        return Ok(false);
    }
    for part in list(&parts, "changed")? {
        if part.get_attr("changed")?.is_true() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn result(call: &Call) -> Result<Native, Error> {
    let value = call.subject();
    match value.kind() {
        ValueKind::Map => Ok(value),
        kind => Err(wrong(format!(
            "`{}` needs the registered result of a task, not {}",
            call.name,
            super::registry::kind_name(kind)
        ))),
    }
}

fn is_mount(path: &Path) -> bool {
    let device = |path: &Path| path.metadata().ok().map(|meta| (meta.dev(), meta.ino()));
    match (device(path), device(&path.join(".."))) {
        (Some(own), Some(above)) => own.0 != above.0 || own.1 == above.1,
        _ => false,
    }
}

fn is_uri(call: &Call, marks: &[&str]) -> Result<bool, Error> {
    let text = call.text()?;
    let Some((scheme, rest)) = marks.iter().find_map(|mark| text.split_once(mark)) else {
        return Ok(false);
    };
    let named = match call.get("schemes") {
        Some(schemes) => list(schemes, "url")?.iter().any(|one| one.as_str() == Some(scheme)),
        None => true,
    };
    let legal = scheme.starts_with(|letter: char| letter.is_ascii_alphabetic())
        && scheme
            .chars()
            .all(|letter| letter.is_ascii_alphanumeric() || "+-.".contains(letter));
    Ok(named && legal && !rest.is_empty())
}
