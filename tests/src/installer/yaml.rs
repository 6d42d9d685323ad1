//! YAML as JSON, as far as an install-config and manifests need it: no anchors, no tags.

use saphyr_parser::{Event, Parser, ScalarStyle, StrInput};
use serde_json::{Map, Value};

/// The first document of a text.
pub(super) fn read(text: &str) -> Result<Value, String> {
    let mut parser = Parser::new_from_str(text);
    loop {
        match next(&mut parser)? {
            Event::StreamEnd => return Ok(Value::Null),
            Event::Nothing | Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd => {}
            event => return node(&mut parser, event),
        }
    }
}

fn next<'t>(parser: &mut Parser<'t, StrInput<'t>>) -> Result<Event<'t>, String> {
    match parser.next_event() {
        Some(Ok((event, _))) => Ok(event),
        Some(Err(error)) => Err(format!(
            "error converting YAML to JSON: yaml: line {}: {}",
            error.marker().line(),
            error.info()
        )),
        None => Ok(Event::StreamEnd),
    }
}

fn node<'t>(parser: &mut Parser<'t, StrInput<'t>>, event: Event<'t>) -> Result<Value, String> {
    match event {
        Event::Scalar(text, ScalarStyle::Plain, ..) => Ok(plain(&text)),
        Event::Scalar(text, ..) => Ok(Value::String(text.into_owned())),
        Event::SequenceStart(..) => {
            let mut items = Vec::new();
            loop {
                match next(parser)? {
                    Event::SequenceEnd => return Ok(Value::Array(items)),
                    event => items.push(node(parser, event)?),
                }
            }
        }
        Event::MappingStart(..) => {
            let mut entries = Map::new();
            loop {
                match next(parser)? {
                    Event::MappingEnd => return Ok(Value::Object(entries)),
                    Event::Scalar(key, ..) => {
                        let event = next(parser)?;
                        entries.insert(key.into_owned(), node(parser, event)?);
                    }
                    _ => return Err("error converting YAML to JSON: a key is no scalar".to_owned()),
                }
            }
        }
        other => Err(format!("error converting YAML to JSON: {other:?}")),
    }
}

fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" => Value::Null,
        "true" | "True" => Value::Bool(true),
        "false" | "False" => Value::Bool(false),
        other => match (other.parse::<i64>(), other.parse::<f64>()) {
            (Ok(number), _) => number.into(),
            (_, Ok(number)) if other.contains('.') => number.into(),
            _ => Value::String(other.to_owned()),
        },
    }
}
