//! Secrets in templates: they travel as placeholders inside ordinary text. What looks at the text is given the real
//! bytes, and what comes out is a secret again.

use std::cell::Cell;
use std::path::Path;

use minijinja::value::{Value as Native, ValueKind};
use minijinja::{Error, ErrorKind};

use super::Engine;
use super::touch::current_root;
use okd_agent::Value;

/// What every placeholder begins with: U+2039 and the word.
pub(super) const OPEN: &str = "\u{2039}secret:";

/// Filters that only give text another type: their numbers are as secret as the text.
const NUMBERS: [&str; 2] = ["int", "float"];

/// Keeps the real bytes behind placeholders `‹secret:NAME:ID›`.
pub trait SecretStore: Send + Sync {
    /// The text with all its placeholders replaced; `None` where it has none, or none that is known.
    fn reveal(&self, text: &str) -> Option<String>;

    /// Keeps a value that was made from a secret and gives its placeholder.
    fn derive(&self, name: &str, value: String) -> String;

    /// The placeholder of what a place outside gives, which is asked when it is first named; `None` where it gives nothing.
    fn provided(&self, name: &str, _place: &str, ask: &mut dyn FnMut() -> Option<String>) -> Option<String> {
        let text = ask().filter(|text| !text.is_empty())?;
        Some(self.derive(name, text))
    }

    /// Whether anything is kept.
    fn any(&self) -> bool {
        true
    }

    /// Whether text holds the real bytes of a secret.
    fn holds(&self, _text: &str) -> bool {
        false
    }

    /// The text behind a placeholder that is rendered before it is used.
    fn template(&self, _placeholder: &str) -> Option<String> {
        None
    }

    /// A file's text; the placeholder for it where it is encrypted.
    ///
    /// # Errors
    /// Why it cannot be decrypted.
    fn open(&self, _path: &Path, text: String) -> Result<String, String> {
        Ok(text)
    }
}

thread_local! {
    static REVEALING: Cell<bool> = const { Cell::new(false) };
}

/// Whether variables are seen with their real bytes.
fn revealing() -> bool {
    REVEALING.get()
}

/// Evaluates with the real bytes in all variables; only what cannot tell them may come out.
pub(super) fn revealed<T>(work: impl FnOnce() -> T) -> T {
    struct Before(bool);
    impl Drop for Before {
        fn drop(&mut self) {
            REVEALING.set(self.0);
        }
    }
    let _before = Before(REVEALING.replace(true));
    work()
}

/// A variable as this evaluation sees it.
pub(super) fn seen(engine: &Engine, value: Native) -> Native {
    match &engine.inner.options.secrets {
        Some(store) if revealing() && placeholder(&value).is_some() => {
            map_text(&value, &|text| store.reveal(text).unwrap_or_else(|| text.to_owned()))
        }
        _ => value,
    }
}

/// Refuses a command's text that holds a secret: everyone on the machine can read it.
pub(super) fn refuse_in_command(command: &str) -> Result<(), Error> {
    let store = current_root().and_then(|root| root.engine.inner.options.secrets.clone());
    if command.contains(OPEN) || store.is_some_and(|store| store.holds(command)) {
        let said = "a secret may not stand in a command that a lookup runs";
        return Err(Error::new(ErrorKind::InvalidOperation, said));
    }
    Ok(())
}

/// A value whose text is all made from a secret.
pub(super) fn hidden(store: &dyn SecretStore, name: &str, value: Value) -> Value {
    match value {
        Value::Str(text) if text.is_empty() => Value::Str(text),
        Value::Str(text) => {
            let text = store.reveal(&text).unwrap_or(text);
            Value::Str(store.derive(name, text))
        }
        Value::Int(_) | Value::Float(_) => Value::Str(store.derive(name, value.to_string())),
        Value::List(list) => list
            .into_iter()
            .map(|item| hidden(store, name, item))
            .collect::<Vec<_>>()
            .into(),
        Value::Map(map) => Value::Map(
            map.into_iter()
                .map(|(key, item)| (key, hidden(store, name, item)))
                .collect(),
        ),
        other => other,
    }
}

/// The name in a placeholder.
pub(super) fn name_of(text: &str) -> &str {
    let start = text.find(OPEN).map_or(0, |at| at + OPEN.len());
    text[start..].split([':', '\u{203a}']).next().unwrap_or_default()
}

/// Calls `work` with placeholders revealed, and hides the text in its result where there was any.
pub(super) fn through(
    name: &str,
    mut args: Vec<Native>,
    work: impl FnOnce(&[Native]) -> Result<Native, Error>,
) -> Result<Native, Error> {
    let Some(secret) = args.iter().find_map(placeholder) else {
        return work(&args);
    };
    let store = current_root().and_then(|root| root.engine.inner.options.secrets.clone());
    let Some(store) = store else {
        return Err(Error::new(
            ErrorKind::InvalidOperation,
            format!("`{name}` cannot read a secret here"),
        ));
    };
    for arg in &mut args {
        *arg = map_text(arg, &|text| store.reveal(text).unwrap_or_else(|| text.to_owned()));
    }
    let hide = |text: &str| {
        if text.is_empty() {
            String::new()
        } else {
            store.derive(&secret, text.to_owned())
        }
    };
    match work(&args) {
        Ok(value) if NUMBERS.contains(&name) && value.kind() == ValueKind::Number => {
            Ok(Native::from(hide(&super::print::text(&value))))
        }
        Ok(value) => Ok(map_text(&value, &hide)),
        Err(err) if err.kind() == ErrorKind::UndefinedError => Err(err),
        Err(_) => {
            let said = format!("`{name}` failed on the secret `{secret}` (its words are hidden)");
            Err(Error::new(ErrorKind::InvalidOperation, said))
        }
    }
}

/// The name of the first secret inside a value.
fn placeholder(value: &Native) -> Option<String> {
    match value.kind() {
        ValueKind::String => {
            let text = value.as_str()?;
            text.contains(OPEN).then(|| name_of(text).to_owned())
        }
        ValueKind::Seq | ValueKind::Map if may_walk(value) => value.try_iter().ok()?.find_map(|item| {
            let inner = if value.kind() == ValueKind::Map {
                value.get_item(&item).ok()?
            } else {
                item
            };
            placeholder(&inner)
        }),
        _ => None,
    }
}

/// Objects that are rendered or recorded when they are read are left alone.
fn may_walk(value: &Native) -> bool {
    value.downcast_object_ref::<super::convert::Tainted>().is_none()
        && value.downcast_object_ref::<super::scope::Root>().is_none()
}

fn map_text(value: &Native, change: &dyn Fn(&str) -> String) -> Native {
    match value.kind() {
        ValueKind::String => Native::from(change(value.as_str().unwrap_or_default())),
        ValueKind::Seq if may_walk(value) => value
            .try_iter()
            .into_iter()
            .flatten()
            .map(|item| map_text(&item, change))
            .collect(),
        ValueKind::Map if may_walk(value) && !value.is_kwargs() => {
            Native::from_pairs(value.try_iter().into_iter().flatten().map(|key| {
                let inner = value.get_item(&key).unwrap_or_default();
                (key, map_text(&inner, change))
            }))
        }
        ValueKind::Map if value.is_kwargs() => {
            let pairs = value.try_iter().into_iter().flatten().filter_map(|key| {
                let inner = value.get_item(&key).ok()?;
                Some((key.as_str()?.to_owned(), map_text(&inner, change)))
            });
            Native::from(pairs.collect::<minijinja::value::Kwargs>())
        }
        _ => value.clone(),
    }
}
