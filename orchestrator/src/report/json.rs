//! Values as JSON. What is not known yet is said as an object that no module gives: `{"unknown": REASON}`.

use okd_agent::Value;
use serde_json::{Map, Number, Value as Json, json};

/// A value as JSON.
#[must_use]
pub fn value(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(truth) => Json::Bool(*truth),
        Value::Int(number) => Json::Number((*number).into()),
        Value::Float(number) => Number::from_f64(*number).map_or(Json::Null, Json::Number),
        Value::Str(text) => Json::String(text.clone()),
        Value::List(list) => Json::Array(list.iter().map(self::value).collect()),
        Value::Map(map) => Json::Object(
            map.iter()
                .map(|(key, item)| (key.clone(), self::value(item)))
                .collect::<Map<_, _>>(),
        ),
        Value::Unknown(reason) => json!({ "unknown": reason }),
    }
}
