//! Filters, tests and functions as tables: each entry names its parameters, so that positional and keyword arguments
//! bind as in Python, a wrong one is refused by name, and secrets are handled in one place.

use std::borrow::Cow;

use minijinja::value::{Kwargs, Rest, Value as Native, ValueKind, ValueOrKwargs, from_args};
use minijinja::{Environment, Error, ErrorKind, State};

use super::print;
use super::secret;
use crate::error::nearest;

/// What an entry does with text that stands for a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bytes {
    /// It moves values about and never looks inside text: placeholders pass through.
    Carried,
    /// It looks at the text: secrets are revealed to it, and its result is a secret again.
    Read,
}

/// The function behind an entry.
pub(super) type Body = fn(&mut State<'_, '_>, &Call) -> Result<Native, Error>;

/// A filter, test or function.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    /// Its name and other names for it.
    pub(super) names: &'static [&'static str],
    /// Its parameters, the filtered value first; `*` at the end takes whatever follows.
    pub(super) params: &'static [&'static str],
    pub(super) bytes: Bytes,
    pub(super) body: Body,
}

/// An entry whose text arguments are read.
pub(super) const fn reads(names: &'static [&'static str], params: &'static [&'static str], body: Body) -> Entry {
    Entry {
        names,
        params,
        bytes: Bytes::Read,
        body,
    }
}

/// An entry that only carries values about.
pub(super) const fn carries(names: &'static [&'static str], params: &'static [&'static str], body: Body) -> Entry {
    Entry {
        names,
        params,
        bytes: Bytes::Carried,
        body,
    }
}

/// Arguments bound to parameters.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) name: &'static str,
    params: &'static [&'static str],
    bound: Vec<Option<Native>>,
    /// Positional arguments beyond the named parameters.
    pub(super) rest: Vec<Native>,
    /// Keyword arguments beyond the named parameters.
    pub(super) named: Vec<(String, Native)>,
}

/// An error in an entry's own words.
pub(super) fn wrong(text: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, text.into())
}

impl Call {
    fn bind(entry: &Entry, args: &[Native]) -> Result<Call, Error> {
        let (positional, kwargs): (&[Native], Kwargs) = from_args(args)?;
        let open = entry.params.last() == Some(&"*");
        let params = if open {
            &entry.params[..entry.params.len() - 1]
        } else {
            entry.params
        };
        let mut call = Call {
            name: entry.names[0],
            params,
            bound: vec![None; params.len()],
            rest: Vec::new(),
            named: Vec::new(),
        };
        for (index, value) in positional.iter().enumerate() {
            match call.bound.get_mut(index) {
                Some(slot) => *slot = Some(value.clone()),
                None => call.rest.push(value.clone()),
            }
        }
        if !open && !call.rest.is_empty() {
            let most = params.len().saturating_sub(1);
            return Err(wrong(format!("`{}` takes at most {most} argument(s)", call.name)));
        }
        let names: Vec<String> = kwargs.args().map(str::to_owned).collect();
        for name in names {
            let value: Native = kwargs.get(&name)?;
            match params.iter().position(|param| *param == name) {
                Some(index) => call.bound[index] = Some(value),
                None if open => call.named.push((name, value)),
                None => return Err(call.unknown_argument(&name)),
            }
        }
        Ok(call)
    }

    fn unknown_argument(&self, name: &str) -> Error {
        let near = nearest(name, self.params.iter().copied().skip(1));
        let hint = near.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
        wrong(format!("`{}` has no argument `{name}`{hint}", self.name))
    }

    /// The value that is filtered or tested.
    pub(super) fn subject(&self) -> Native {
        self.bound.first().cloned().flatten().unwrap_or_default()
    }

    /// An argument, where it is given.
    pub(super) fn get(&self, name: &str) -> Option<&Native> {
        let index = self.params.iter().position(|param| *param == name)?;
        self.bound[index].as_ref()
    }

    /// An argument that must be given.
    pub(super) fn need(&self, name: &str) -> Result<&Native, Error> {
        self.get(name)
            .ok_or_else(|| wrong(format!("`{}` needs its argument `{name}`", self.name)))
    }

    /// The filtered value as text, numbers included.
    pub(super) fn text(&self) -> Result<String, Error> {
        self.as_text(&self.subject(), "its value")
    }

    fn as_text(&self, value: &Native, what: &str) -> Result<String, Error> {
        match value.kind() {
            ValueKind::Undefined => Err(Error::from(ErrorKind::UndefinedError)),
            _ => Ok(print::text(value)),
        }
        .map_err(|err: Error| {
            if what == "its value" {
                err
            } else {
                wrong(format!("`{}`: {what} is not defined", self.name))
            }
        })
    }

    /// An argument as text.
    pub(super) fn text_of(&self, name: &str) -> Result<String, Error> {
        let value = self.need(name)?;
        self.as_text(value, name)
    }

    /// An argument as text, or a default.
    pub(super) fn text_or(&self, name: &str, default: &str) -> Result<String, Error> {
        match self.get(name) {
            Some(value) if !value.is_none() => self.as_text(value, name),
            _ => Ok(default.to_owned()),
        }
    }

    /// An argument as a truth, or a default.
    pub(super) fn truth_or(&self, name: &str, default: bool) -> bool {
        self.get(name).map_or(default, Native::is_true)
    }

    /// An argument as a whole number, or a default.
    pub(super) fn int_or(&self, name: &str, default: i64) -> Result<i64, Error> {
        match self.get(name) {
            Some(value) if !value.is_none() => value
                .as_i64()
                .or_else(|| value.as_str()?.trim().parse().ok())
                .ok_or_else(|| wrong(format!("`{}`: `{name}` must be a whole number", self.name))),
            _ => Ok(default),
        }
    }

    /// The filtered value's items: a list's, a mapping's keys, a text's characters.
    pub(super) fn items(&self) -> Result<Vec<Native>, Error> {
        list(&self.subject(), self.name)
    }
}

/// Items of a value that must be iterable.
pub(super) fn list(value: &Native, name: &str) -> Result<Vec<Native>, Error> {
    match value.kind() {
        ValueKind::Undefined => Err(Error::from(ErrorKind::UndefinedError)),
        ValueKind::String => Ok(value.as_str().unwrap_or_default().chars().map(Native::from).collect()),
        ValueKind::Seq | ValueKind::Iterable | ValueKind::Map => value.try_iter()?.checked().collect(),
        kind => Err(wrong(format!("`{name}` needs a list, not {}", kind_name(kind)))),
    }
}

/// A kind in the words of messages.
pub(super) fn kind_name(kind: ValueKind) -> &'static str {
    match kind {
        ValueKind::Undefined => "something undefined",
        ValueKind::None => "null",
        ValueKind::Bool => "a boolean",
        ValueKind::Number => "a number",
        ValueKind::String | ValueKind::Bytes => "a string",
        ValueKind::Seq | ValueKind::Iterable => "a list",
        ValueKind::Map => "a mapping",
        _ => "an object",
    }
}

/// Entries that accept something undefined.
const LENIENT: &[&str] = &[
    "default",
    "mandatory",
    "__chain",
    "defined",
    "undefined",
    "ternary",
    "type_debug",
];

fn invoke(entry: &Entry, state: &mut State<'_, '_>, args: Vec<Native>) -> Result<Native, Error> {
    if args.iter().any(Native::is_undefined) && !LENIENT.contains(&entry.names[0]) {
        return Err(Error::from(ErrorKind::UndefinedError));
    }
    if entry.bytes == Bytes::Carried {
        let call = Call::bind(entry, &args)?;
        return (entry.body)(state, &call);
    }
    secret::through(entry.names[0], args, |args| {
        let call = Call::bind(entry, args)?;
        (entry.body)(state, &call)
    })
}

/// Adds filters to an environment, under their short and their full names.
pub(super) fn add_filters(env: &mut Environment<'static>, entries: &[Entry]) -> Vec<String> {
    each_name(entries, |name, entry| {
        env.add_filter(name, move |state: &mut State<'_, '_>, args: Rest<ValueOrKwargs>| {
            invoke(&entry, state, args.into_values())
        });
    })
}

/// Adds tests to an environment.
pub(super) fn add_tests(env: &mut Environment<'static>, entries: &[Entry]) -> Vec<String> {
    each_name(entries, |name, entry| {
        env.add_test(name, move |state: &mut State<'_, '_>, args: Rest<ValueOrKwargs>| {
            invoke(&entry, state, args.into_values())
        });
    })
}

/// Adds functions to an environment.
pub(super) fn add_functions(env: &mut Environment<'static>, entries: &[Entry]) -> Vec<String> {
    each_name(entries, |name, entry| {
        env.add_function(name, move |state: &mut State<'_, '_>, args: Rest<ValueOrKwargs>| {
            invoke(&entry, state, args.into_values())
        });
    })
}

fn each_name(entries: &[Entry], mut add: impl FnMut(Cow<'static, str>, Entry)) -> Vec<String> {
    let mut names = Vec::new();
    for entry in entries {
        for name in entry.names {
            add((*name).into(), *entry);
            if name.contains('.') || name.starts_with("__") {
                continue;
            }
            names.push((*name).to_owned());
            if name.starts_with(|letter: char| letter.is_ascii_alphabetic()) {
                add(format!("ansible.builtin.{name}").into(), *entry);
            }
        }
    }
    names
}
