//! Secrets in templates: they travel as placeholders inside ordinary text. What looks at the text is given the real
//! bytes, and what comes out is a secret again.

use minijinja::value::{Value as Native, ValueKind};
use minijinja::{Error, ErrorKind};

use super::touch::current_root;

/// What every placeholder begins with: U+2039 and the word.
pub(super) const OPEN: &str = "\u{2039}secret:";

/// Keeps the real bytes behind placeholders `‹secret:NAME:ID›`.
pub trait SecretStore: Send + Sync {
    /// The text with all its placeholders replaced; `None` where it has none, or none that is known.
    fn reveal(&self, text: &str) -> Option<String>;

    /// Keeps a value that was made from a secret and gives its placeholder.
    fn derive(&self, name: &str, value: String) -> String;
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
            let start = text.find(OPEN)? + OPEN.len();
            Some(text[start..].split([':', '\u{203a}']).next()?.to_owned())
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
