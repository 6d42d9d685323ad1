//! Filters on paths, as Python's `os.path` on POSIX; nothing but `realpath` looks at the file system.

use std::path::Path;

use minijinja::Error;
use minijinja::value::{Tuple, Value as Native, ValueKind};

use crate::template::print;
use crate::template::registry::{Entry, list, reads, wrong};
use crate::template::touch::on_disk;

type Answer = Result<Native, Error>;

/// Every filter of this file.
pub(super) const ALL: &[Entry] = &[
    reads(&["basename"], &["value"], |_, call| {
        Ok(Native::from(split(&call.text()?).1))
    }),
    reads(&["dirname"], &["value"], |_, call| {
        Ok(Native::from(split(&call.text()?).0))
    }),
    reads(&["splitext"], &["value"], |_, call| {
        let path = call.text()?;
        let (root, extension) = split_extension(&path);
        Ok(Native::from(Tuple::from([Native::from(root), Native::from(extension)])))
    }),
    reads(&["path_join"], &["value"], |_, call| {
        let value = call.subject();
        match value.kind() {
            ValueKind::String => Ok(value),
            _ => Ok(Native::from(join(list(&value, "path_join")?.iter().map(print::text)))),
        }
    }),
    reads(&["normpath"], &["value"], |_, call| {
        Ok(Native::from(normal(&call.text()?)))
    }),
    reads(&["realpath"], &["value"], |_, call| {
        let path = call.text()?;
        let real = on_disk(|disk| disk.real(Path::new(&path)));
        let real = real.map(|real| real.display().to_string());
        Ok(Native::from(real.map_or_else(|| absolute(&path), Ok)?))
    }),
    reads(&["relpath"], &["value", "start"], |_, call| {
        let start = absolute(&call.text_or("start", ".")?)?;
        Ok(Native::from(relative(&absolute(&call.text()?)?, &start)))
    }),
    reads(&["expanduser"], &["value"], |_, call| expand_user(&call.text()?)),
    reads(&["expandvars"], &["value"], |_, call| {
        Ok(Native::from(expand_variables(&call.text()?)))
    }),
    reads(&["commonpath"], &["value"], |_, call| {
        let paths: Vec<String> = call.items()?.iter().map(print::text).collect();
        Ok(Native::from(common(&paths)))
    }),
    reads(&["fileglob"], &["value"], |_, call| {
        crate::template::lookups::glob(&call.text()?)
    }),
];

fn split(path: &str) -> (String, String) {
    let at = path.rfind('/').map_or(0, |at| at + 1);
    let (head, tail) = path.split_at(at);
    let bare = head.trim_end_matches('/');
    (if bare.is_empty() { head } else { bare }.to_owned(), tail.to_owned())
}

fn split_extension(path: &str) -> (&str, &str) {
    let name = path.rfind('/').map_or(0, |at| at + 1);
    let lead = path[name..].len() - path[name..].trim_start_matches('.').len();
    match path[name + lead..].rfind('.') {
        Some(dot) => path.split_at(name + lead + dot),
        None => (path, ""),
    }
}

fn join(parts: impl Iterator<Item = String>) -> String {
    parts.fold(String::new(), |mut whole, part| {
        if part.starts_with('/') {
            return part;
        }
        if !whole.is_empty() && !whole.ends_with('/') {
            whole.push('/');
        }
        whole + &part
    })
}

fn normal(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/').filter(|part| !part.is_empty() && *part != ".") {
        match (part, parts.last()) {
            ("..", Some(last)) if *last != ".." => drop(parts.pop()),
            ("..", None) if rooted => {}
            _ => parts.push(part),
        }
    }
    let joined = parts.join("/");
    match (rooted, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

fn absolute(path: &str) -> Result<String, Error> {
    if path.starts_with('/') {
        return Ok(normal(path));
    }
    let here = std::env::current_dir().map_err(|err| wrong(format!("the working directory: {err}")))?;
    Ok(normal(&here.join(path).display().to_string()))
}

fn relative(path: &str, start: &str) -> String {
    let parts = |path: &str| {
        path.split('/')
            .filter(|part| !part.is_empty())
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let (path, start) = (parts(path), parts(start));
    let shared = path.iter().zip(&start).take_while(|(one, two)| one == two).count();
    let up = std::iter::repeat_n("..".to_owned(), start.len() - shared);
    let whole: Vec<String> = up.chain(path[shared..].iter().cloned()).collect();
    if whole.is_empty() {
        ".".to_owned()
    } else {
        whole.join("/")
    }
}

fn expand_user(path: &str) -> Answer {
    let home = std::env::var("HOME").ok().filter(|home| Path::new(home).is_absolute());
    Ok(Native::from(match (path.strip_prefix('~'), home) {
        (Some(rest), Some(home)) if rest.is_empty() || rest.starts_with('/') => {
            format!("{}{rest}", home.trim_end_matches('/'))
        }
        _ => path.to_owned(),
    }))
}

/// `$NAME` and `${NAME}`; what is not set stays as it is.
fn expand_variables(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let (name, length) = match after.strip_prefix('{').and_then(|inner| inner.split_once('}')) {
            Some((name, _)) => (name, name.len() + 2),
            None => {
                let end = after
                    .find(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'))
                    .unwrap_or(after.len());
                (&after[..end], end)
            }
        };
        match std::env::var(name) {
            Ok(value) if !name.is_empty() => out.push_str(&value),
            _ => out.push_str(&rest[at..=at + length]),
        }
        rest = &after[length..];
    }
    out + rest
}

fn common(paths: &[String]) -> String {
    let Some((first, rest)) = paths.split_first() else {
        return String::new();
    };
    let rooted = if first.starts_with('/') { "/" } else { "" };
    let parts: Vec<&str> = first.split('/').filter(|part| !part.is_empty()).collect();
    let shared = rest.iter().fold(parts.len(), |shared, path| {
        let other = path.split('/').filter(|part| !part.is_empty());
        parts
            .iter()
            .zip(other)
            .take(shared)
            .take_while(|(one, two)| *one == two)
            .count()
    });
    format!("{rooted}{}", parts[..shared].join("/"))
}
