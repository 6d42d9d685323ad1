//! Values to the engine's and back. Trees without unknown parts become ordinary values; the others become objects
//! that record when an unknown part is yielded, so that reading the known parts stays possible.

use std::sync::Arc;

use minijinja::value::{Enumerator, Object, ObjectRepr, Value as Native, ValueKind};
use minijinja::{Error, ErrorKind};

use super::touch::touch_unknown;
use okd_agent::Value;
use okd_agent::value::Map;

/// The engine's form of a value. At the top, an unknown value is recorded as used.
pub(super) fn to_native(value: &Value) -> Native {
    match value {
        Value::Unknown(reason) => touch_unknown(reason),
        Value::Null => Native::from(()),
        Value::Bool(truth) => Native::from(*truth),
        Value::Int(number) => Native::from(*number),
        Value::Float(number) => Native::from(*number),
        Value::Str(text) => Native::from(text.as_str()),
        Value::List(_) | Value::Map(_) if value.unknown().is_some() => Native::from_object(Tainted(value.clone())),
        Value::List(list) => list.iter().map(to_native).collect(),
        Value::Map(map) => Native::from_pairs(map.iter().map(|(key, item)| (key.as_str(), to_native(item)))),
    }
}

/// The value behind the engine's form; `None` is the `omit` placeholder.
pub(super) fn from_native(native: &Native) -> Result<Option<Value>, Error> {
    if native.downcast_object_ref::<Omit>().is_some() {
        return Ok(None);
    }
    if let Some(tainted) = native.downcast_object_ref::<Tainted>() {
        return Ok(Some(tainted.0.clone()));
    }
    let value = match native.kind() {
        ValueKind::None => Value::Null,
        ValueKind::Bool => Value::Bool(native.is_true()),
        ValueKind::Number => number(native),
        ValueKind::String => Value::Str(native.as_str().unwrap_or_default().to_owned()),
        ValueKind::Bytes => Value::Str(String::from_utf8_lossy(native.as_bytes().unwrap_or_default()).into_owned()),
        ValueKind::Seq | ValueKind::Iterable => Value::List(items(native)?),
        ValueKind::Map => Value::Map(entries(native)?),
        ValueKind::Undefined => return Err(Error::from(ErrorKind::UndefinedError)),
        ValueKind::Plain if native.downcast_object_ref::<super::filters::time::DateTime>().is_some() => {
            Value::Str(native.to_string())
        }
        kind => {
            return Err(Error::new(
                ErrorKind::InvalidOperation,
                format!("the result is {kind}, which is no value"),
            ));
        }
    };
    Ok(Some(value))
}

/// Whole numbers beyond 64 bits are kept as their digits.
fn number(native: &Native) -> Value {
    match native.as_i64() {
        Some(whole) if native.is_integer() => Value::Int(whole),
        None if native.is_integer() => Value::Str(native.to_string()),
        _ => Value::Float(f64::try_from(native.clone()).unwrap_or(f64::NAN)),
    }
}

fn items(native: &Native) -> Result<Vec<Value>, Error> {
    let mut list = Vec::new();
    for item in native.try_iter()?.checked() {
        list.extend(from_native(&item?)?);
    }
    Ok(list)
}

fn entries(native: &Native) -> Result<Map, Error> {
    let mut map = Map::new();
    for key in native.try_iter()?.checked() {
        let key = key?;
        if let Some(value) = from_native(&native.get_item(&key)?)? {
            map.insert(super::print::text(&key), value);
        }
    }
    Ok(map)
}

/// A list or mapping with something unknown inside.
#[derive(Debug)]
pub(super) struct Tainted(pub(super) Value);

impl Object for Tainted {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        match self.0 {
            Value::List(_) => ObjectRepr::Seq,
            _ => ObjectRepr::Map,
        }
    }

    fn get_value(self: &Arc<Self>, key: &Native) -> Option<Native> {
        match &self.0 {
            Value::List(list) => list.get(key.as_usize()?).map(to_native),
            Value::Map(map) => map.get(key.as_str()?).map(to_native),
            _ => None,
        }
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Native> {
        self.0.get(key).map(to_native)
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        match &self.0 {
            Value::List(list) => Enumerator::Seq(list.len()),
            Value::Map(map) => Enumerator::Values(map.keys().map(|key| Native::from(key.as_str())).collect()),
            _ => Enumerator::Empty,
        }
    }
}

/// The `omit` placeholder: an entry whose value it is, is left out.
#[derive(Debug)]
pub(super) struct Omit;

impl Object for Omit {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }
}
