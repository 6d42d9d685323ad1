//! The lookup `secret`: a value from where secrets are kept, which is a file, the environment, or what the program of a
//! password store prints (`age`, `sops`, `pass`, `vault`). Each place is asked once in a run.

use minijinja::Error;
use minijinja::value::{Value as Native, ValueKind};

use super::lookups::{Lookup, output, secret_file};
use super::print;
use super::registry::{list, wrong};
use super::touch::current_root;
use crate::error::nearest;

const PLACES: [&str; 3] = ["file", "env", "command"];

/// `lookup('secret', file=…)`, `lookup('secret', env=…)` or `lookup('secret', command=…)`; `label=` is what people see.
pub(super) fn provided(lookup: &Lookup) -> Result<Vec<Native>, Error> {
    let known = || PLACES.iter().chain(&["label"]).copied();
    if let Some((key, _)) = lookup.options.iter().find(|(key, _)| known().all(|name| name != key)) {
        let near = nearest(key, known());
        let hint = near.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
        return Err(wrong(format!("`secret` has no option `{key}`{hint}")));
    }
    let places: Vec<_> = PLACES
        .iter()
        .filter_map(|place| Some((*place, lookup.option(place)?)))
        .collect();
    let ([(place, value)], []) = (places.as_slice(), lookup.terms.as_slice()) else {
        let said = "`secret` says where it is kept by one of `file='…'`, `env='…'` and `command='…'`";
        return Err(wrong(said));
    };
    let words = match (*place, value.kind()) {
        ("command", ValueKind::Seq | ValueKind::Iterable) => list(value, "secret")?.iter().map(print::text).collect(),
        (_, ValueKind::String) => vec![print::text(value)],
        _ => return Err(wrong(format!("`secret`: `{place}` is a text"))),
    };
    let whole = words.join(" ");
    let name = match *place {
        _ if lookup.option("label").is_some() => lookup.text("label", ""),
        "command" => whole.split_whitespace().next().unwrap_or_default().to_owned(),
        "file" => whole.rsplit('/').next().unwrap_or_default().to_owned(),
        _ => whole.clone(),
    };
    let store = current_root().and_then(|root| root.engine.inner.options.secrets.clone());
    let store = store.ok_or_else(|| wrong("nothing here can keep a secret"))?;
    let shell = value.kind() == ValueKind::String;
    let ask = || -> Result<String, Error> {
        match *place {
            "file" => match (whole.strip_prefix("~/"), std::env::home_dir()) {
                (Some(rest), Some(home)) => secret_file(lookup, &home.join(rest).to_string_lossy()),
                _ => secret_file(lookup, &whole),
            },
            "env" => std::env::var(&whole).map_err(|_| wrong(format!("the environment has no `{whole}`"))),
            _ if shell => text(output("/bin/sh", &["-c", &whole], &whole)?, &whole),
            _ => match words.as_slice() {
                [program, args @ ..] => text(output(program, args, &whole)?, &whole),
                [] => Err(wrong("`secret`: `command` is empty")),
            },
        }
    };
    let mut failed = None;
    let kept = store.provided(&name, &format!("{place} {}", words.join("\0")), &mut || {
        let text = ask().map_err(|error| failed = Some(error)).ok()?;
        Some(text.trim_end_matches(['\r', '\n']).to_owned())
    });
    match (failed, kept) {
        (Some(error), _) => Err(error),
        (None, Some(placeholder)) => Ok(vec![Native::from(placeholder)]),
        (None, None) => Err(wrong(format!("`secret`: the {place} `{whole}` gives nothing"))),
    }
}

/// What a command printed, which is never told.
fn text(printed: Vec<u8>, shown: &str) -> Result<String, Error> {
    String::from_utf8(printed).map_err(|_| wrong(format!("the command `{shown}` prints what is not UTF-8")))
}
