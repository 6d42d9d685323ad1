//! The functions of templates: `range`, `dict`, `namespace`, `now`, lookups and the `omit` placeholder; and Python's
//! methods of values.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use minijinja::value::{Object, ObjectRepr, Value as Native};
use minijinja::{Error, ErrorKind, State};

use super::convert::Omit;
use super::filters::time::DateTime;
use super::lookups;
use super::registry::{Call, Entry, carries, list, wrong};

/// The functions with parameters of their own.
pub(super) const ALL: &[Entry] = &[
    carries(&["lookup", "ansible.builtin.lookup"], &["name", "*"], |_, call| {
        lookups::lookup(call, false)
    }),
    carries(&["query", "q", "ansible.builtin.query"], &["name", "*"], |_, call| {
        lookups::lookup(call, true)
    }),
    carries(&["now"], &["utc", "fmt"], now),
    carries(&["cycler"], &["*"], |_, call| {
        Ok(Native::from_object(Cycler::new(call.rest.clone())?))
    }),
    carries(&["joiner"], &["sep"], |_, call| {
        Ok(Native::from_object(Joiner {
            separator: call.text_or("sep", ", ")?,
            used: AtomicUsize::new(0),
        }))
    }),
    carries(&["zip"], &["*"], |_, call| {
        super::filters::list::zip_lists(&call.rest, None)
    }),
];

/// The engine's own functions and the values that are always there.
pub(super) fn globals() -> Vec<(&'static str, Native)> {
    vec![
        ("range", Native::from_function(minijinja::functions::range)),
        ("dict", Native::from_function(minijinja::functions::dict)),
        ("namespace", Native::from_function(minijinja::functions::namespace)),
        ("omit", Native::from_object(Omit)),
    ]
}

fn now(_: &mut State<'_, '_>, call: &Call) -> Result<Native, Error> {
    let now = DateTime::now();
    match call.get("fmt") {
        Some(_) => now.format(&call.text_of("fmt")?).map(Native::from),
        None => Ok(Native::from_object(now)),
    }
}

/// `cycler('odd', 'even')`: its `next()` goes round.
#[derive(Debug)]
struct Cycler {
    items: Vec<Native>,
    at: AtomicUsize,
}

impl Cycler {
    fn new(items: Vec<Native>) -> Result<Cycler, Error> {
        if items.is_empty() {
            return Err(wrong("`cycler` needs at least one item"));
        }
        Ok(Cycler {
            items,
            at: AtomicUsize::new(0),
        })
    }

    fn item(&self, at: usize) -> Native {
        self.items[at % self.items.len()].clone()
    }
}

impl Object for Cycler {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Native> {
        (key == "current").then(|| self.item(self.at.load(Ordering::Relaxed)))
    }

    fn call_method(self: &Arc<Self>, _: &mut State<'_, '_>, method: &str, _: &[Native]) -> Result<Native, Error> {
        match method {
            "next" => Ok(self.item(self.at.fetch_add(1, Ordering::Relaxed))),
            "reset" => {
                self.at.store(0, Ordering::Relaxed);
                Ok(Native::from(()))
            }
            _ => Err(Error::from(ErrorKind::UnknownMethod)),
        }
    }
}

/// `joiner(', ')`: nothing the first time it is called, the separator afterwards.
#[derive(Debug)]
struct Joiner {
    separator: String,
    used: AtomicUsize,
}

impl Object for Joiner {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn call(self: &Arc<Self>, _: &mut State<'_, '_>, _: &[Native]) -> Result<Native, Error> {
        let first = self.used.fetch_add(1, Ordering::Relaxed) == 0;
        Ok(Native::from(if first { "" } else { self.separator.as_str() }))
    }
}

/// Python's methods; what is not here is the engine's compatibility layer's.
pub(super) fn method(state: &mut State<'_, '_>, value: &Native, name: &str, args: &[Native]) -> Result<Native, Error> {
    match (value.as_str(), name) {
        (Some(text), "removeprefix") => Ok(Native::from(text.strip_prefix(first_text(args)?).unwrap_or(text))),
        (Some(text), "removesuffix") => Ok(Native::from(text.strip_suffix(first_text(args)?).unwrap_or(text))),
        (Some(text), "zfill") => {
            let width = args.first().and_then(Native::as_usize).unwrap_or(0);
            let (sign, digits) = text.strip_prefix('-').map_or(("", text), |digits| ("-", digits));
            let zeros = width.min(10_000).saturating_sub(text.chars().count());
            Ok(Native::from(format!("{sign}{}{digits}", "0".repeat(zeros))))
        }
        (Some(text), "ljust" | "rjust") => {
            let width = args.first().and_then(Native::as_usize).unwrap_or(0).min(10_000);
            Ok(Native::from(if name == "ljust" {
                format!("{text:<width$}")
            } else {
                format!("{text:>width$}")
            }))
        }
        (Some(text), "index") => match text.find(first_text(args)?) {
            Some(at) => Ok(Native::from(text[..at].chars().count())),
            None => Err(wrong("substring not found")),
        },
        (None, "index") => {
            let wanted = args.first().cloned().unwrap_or_default();
            let found = list(value, "index")?.iter().position(|item| *item == wanted);
            found
                .map(Native::from)
                .ok_or_else(|| wrong("the list has no such item"))
        }
        _ => minijinja_contrib::pycompat::unknown_method_callback(state, value, name, args),
    }
}

fn first_text(args: &[Native]) -> Result<&str, Error> {
    args.first()
        .and_then(Native::as_str)
        .ok_or_else(|| wrong("the method needs a text argument"))
}
