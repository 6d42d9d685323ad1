//! Lookups: what templates may read from the control node (files, environment, commands), and shapes for loops.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use minijinja::value::{Tuple, Value as Native, ValueKind};
use minijinja::{Error, ErrorKind};
use okd_agent::value::Map;

use super::file::{Rendered, TemplateFile};
use super::filters::dict::{pairs, subelements};
use super::filters::list::zip_lists;
use super::registry::{Call, kind_name, list, wrong};
use super::touch::{current_root, on_disk, touch_failure, touch_pending, touch_unknown};
use super::{RenderError, print, provider, secret};
use crate::error::nearest;

type Answer = Result<Vec<Native>, Error>;

/// A lookup: its terms and options to a list.
type Body = fn(&Lookup) -> Answer;

/// Every lookup by name; `docs/language-filters.md` lists them.
const ALL: &[(&str, Body)] = &[
    ("csvfile", csvfile),
    ("dict", dict),
    ("env", env),
    ("file", file),
    ("fileglob", fileglob),
    ("first_found", first_found),
    ("indexed_items", indexed_items),
    ("ini", ini),
    ("items", items),
    ("lines", lines),
    ("list", as_list),
    ("nested", nested),
    ("pipe", pipe),
    ("secret", provider::provided),
    ("sequence", sequence),
    ("subelements", sub_elements),
    ("template", template),
    ("together", together),
    ("vars", vars),
];

/// The names of all lookups.
#[cfg(test)]
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    ALL.iter().map(|(name, _)| *name)
}

/// Ansible's lookups that are left out, and what to use.
const LEFT_OUT: &[(&str, &str)] = &[
    ("password", "make the password once and keep it in a vaulted variable"),
    ("url", "fetch it with the `uri` or `get_url` module"),
    (
        "random_choice",
        "use the filter `random(seed=…)`: a run that is repeated must give the same result",
    ),
    ("config", "there is no Ansible configuration to read"),
    ("passwordstore", "use `lookup('secret', command='pass show …')`"),
    ("hashi_vault", "use `lookup('secret', command='vault kv get …')`"),
    ("sops", "use `lookup('secret', command='sops decrypt …')`"),
    ("unvault", "vaulted files are read as they are; use `lookup('file', …)`"),
];

/// A lookup's terms and options.
pub(super) struct Lookup {
    name: String,
    pub(super) terms: Vec<Native>,
    pub(super) options: Vec<(String, Native)>,
}

impl Lookup {
    pub(super) fn option(&self, name: &str) -> Option<&Native> {
        self.options.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    pub(super) fn text(&self, name: &str, default: &str) -> String {
        self.option(name).map_or_else(|| default.to_owned(), print::text)
    }

    fn truth(&self, name: &str, default: bool) -> bool {
        self.option(name).map_or(default, Native::is_true)
    }

    /// The terms with lists among them opened by one level, as most lookups take them.
    fn flat(&self) -> Answer {
        let mut out = Vec::new();
        for term in &self.terms {
            match term.kind() {
                ValueKind::Seq | ValueKind::Iterable => out.extend(list(term, &self.name)?),
                _ => out.push(term.clone()),
            }
        }
        Ok(out)
    }
}

/// `lookup(name, …)`: one value, or several joined by commas; with `wantlist=True`, or as `query`, a list.
pub(super) fn lookup(call: &Call, as_list: bool) -> Result<Native, Error> {
    let full = call.text_of("name")?;
    let name = full.strip_prefix("ansible.builtin.").unwrap_or(&full);
    let Some((_, body)) = ALL.iter().find(|(own, _)| *own == name) else {
        return Err(unknown(name));
    };
    let options =
        |wanted: bool| move |(key, _): &&(String, Native)| matches!(key.as_str(), "wantlist" | "errors") == wanted;
    let general: Vec<_> = call.named.iter().filter(options(true)).cloned().collect();
    let get = |name: &str| {
        general
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.clone())
    };
    let lookup = Lookup {
        name: name.to_owned(),
        terms: call.rest.clone(),
        options: call.named.iter().filter(options(false)).cloned().collect(),
    };
    let wants_list = as_list || get("wantlist").is_some_and(|want| want.is_true());
    let forgiving = get("errors").is_some_and(|how| matches!(how.as_str(), Some("ignore" | "warn")));
    let found = match body(&lookup) {
        Ok(found) => found,
        Err(err) if forgiving && err.kind() != ErrorKind::UndefinedError => {
            return Ok(if wants_list {
                Native::from(Vec::<Native>::new())
            } else {
                Native::from(())
            });
        }
        Err(err) => return Err(err),
    };
    Ok(if wants_list { Native::from(found) } else { joined(found) })
}

fn joined(mut found: Vec<Native>) -> Native {
    match found.len() {
        1 => found.remove(0),
        _ if found.iter().all(|item| item.kind() == ValueKind::String) => {
            Native::from(found.iter().map(print::text).collect::<Vec<_>>().join(","))
        }
        _ => Native::from(found),
    }
}

fn unknown(name: &str) -> Error {
    let last = name.rsplit('.').next();
    if let Some((_, instead)) = LEFT_OUT.iter().find(|(own, _)| Some(*own) == last) {
        return wrong(format!("the lookup `{name}` is not supported: {instead}"));
    }
    let near = nearest(name, ALL.iter().map(|(own, _)| *own));
    let hint = near.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
    wrong(format!("there is no lookup `{name}`{hint}"))
}

fn searched(lookup: &Lookup, templates: bool) -> Vec<PathBuf> {
    if let Some(folder) = lookup.option("in") {
        return vec![PathBuf::from(print::text(folder))];
    }
    let search = current_root().map(|root| root.scope.search()).unwrap_or_default();
    if templates { search.templates } else { search.files }
}

/// A file by its absolute path, or in the folders that are searched.
fn find(lookup: &Lookup, name: &str, templates: bool) -> Result<PathBuf, Error> {
    let folders = searched(lookup, templates);
    let tried: Vec<PathBuf> = if Path::new(name).is_absolute() {
        vec![PathBuf::from(name)]
    } else {
        folders.iter().map(|folder| folder.join(name)).collect()
    };
    let found = on_disk(|disk| tried.iter().find(|path| disk.exists(path)).cloned());
    found.ok_or_else(|| {
        let places: Vec<String> = tried.iter().map(|path| path.display().to_string()).collect();
        wrong(format!("`{name}` is not found; looked for {}", places.join(", ")))
    })
}

fn read(path: &Path) -> Result<String, Error> {
    on_disk(|disk| disk.read_to_string(path)).map_err(|err| wrong(format!("{}: {err}", path.display())))
}

/// As [`read`]; what an encrypted file holds is a secret.
fn read_opened(path: &Path) -> Result<String, Error> {
    opened(path, read(path)?)
}

fn opened(path: &Path, text: String) -> Result<String, Error> {
    match current_root().and_then(|root| root.engine.inner.options.secrets.clone()) {
        Some(store) => store.open(path, text).map_err(wrong),
        None => Ok(text),
    }
}

/// The text of a file that is searched for and holds a secret: as it is now, and kept by no plan.
pub(super) fn secret_file(lookup: &Lookup, name: &str) -> Result<String, Error> {
    let path = find(lookup, name, false)?;
    let text = std::fs::read_to_string(&path).map_err(|err| wrong(format!("{}: {err}", path.display())))?;
    opened(&path, text)
}

/// The folder of the playbook, where commands run.
fn playbook_folder() -> Option<PathBuf> {
    let folder = current_root()?.scope.search().files.pop()?;
    folder.is_dir().then_some(folder)
}

fn file(lookup: &Lookup) -> Answer {
    let read_one = |term: &Native| {
        let text = read_opened(&find(lookup, &print::text(term), false)?)?;
        let mut text = text.as_str();
        if lookup.truth("rstrip", true) {
            text = text.trim_end();
        }
        if lookup.truth("lstrip", false) {
            text = text.trim_start();
        }
        Ok(Native::from(text))
    };
    lookup.flat()?.iter().map(read_one).collect()
}

fn lines(lookup: &Lookup) -> Answer {
    let mut out = Vec::new();
    for term in lookup.flat()? {
        out.extend(run(&print::text(&term))?.lines().map(Native::from));
    }
    Ok(out)
}

fn pipe(lookup: &Lookup) -> Answer {
    lookup
        .flat()?
        .iter()
        .map(|term| Ok(Native::from(run(&print::text(term))?.trim_end())))
        .collect()
}

/// What a shell command prints.
fn run(command: &str) -> Result<String, Error> {
    let printed = output("/bin/sh", &["-c", command], command)?;
    Ok(String::from_utf8_lossy(&printed).into_owned())
}

/// Runs a command, which people know as `shown`, on the control node in the playbook's folder, and gives what it prints. What it
/// complains about may be told; what it prints may not.
pub(super) fn output(program: &str, args: &[impl AsRef<OsStr>], shown: &str) -> Result<Vec<u8>, Error> {
    secret::refuse_in_command(shown)?;
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null());
    if let Some(folder) = playbook_folder() {
        command.current_dir(folder);
    }
    let output = command.output().map_err(|err| wrong(format!("{program}: {err}")))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.trim();
    Err(wrong(format!(
        "the command `{shown}` failed ({}): {said}",
        output.status
    )))
}

fn template(lookup: &Lookup) -> Answer {
    let root = current_root().ok_or_else(|| wrong("`template` has no variables here"))?;
    let mut out = Vec::new();
    for term in lookup.flat()? {
        let path = find(lookup, &print::text(&term), true)?;
        let text = read(&path)?;
        if crate::vault::is_encrypted(&text) {
            let said = format!(
                "{} is encrypted; only the module `template` renders such files",
                path.display()
            );
            return Err(wrong(said));
        }
        let search = root.scope.search().templates;
        let extra = match lookup.option("template_vars") {
            Some(vars) => match super::convert::from_native(vars)? {
                Some(okd_agent::Value::Map(map)) => map,
                _ => return Err(wrong("`template_vars` must be a mapping")),
            },
            None => Map::new(),
        };
        let file = TemplateFile {
            path: &path,
            text: &text,
            search: &search,
            extra,
        };
        out.push(match root.engine.render_file(&file, &root.scope) {
            Ok(Rendered::Text(text)) => Native::from(text),
            Ok(Rendered::Unknown(reason)) => return stopped(&touch_unknown(&reason)),
            Err(RenderError::Pending(step)) => return stopped(&touch_pending(step)),
            Err(RenderError::Failed(failure)) => return stopped(&touch_failure(failure)),
        });
    }
    Ok(out)
}

/// The error that a recorded touch holds.
fn stopped(touch: &Native) -> Answer {
    Err(wrong(touch.to_string()))
}

fn env(lookup: &Lookup) -> Answer {
    let value = |term: &Native| match std::env::var(print::text(term)) {
        Ok(value) => Native::from(value),
        Err(_) => lookup.option("default").cloned().unwrap_or_else(|| Native::from("")),
    };
    Ok(lookup.flat()?.iter().map(value).collect())
}

fn vars(lookup: &Lookup) -> Answer {
    let root = current_root().ok_or_else(|| wrong("`vars` has no variables here"))?;
    let mut out = Vec::new();
    for term in lookup.flat()? {
        let name = print::text(&term);
        let found = root.yields(&name).or_else(|| lookup.option("default").cloned());
        match found {
            Some(value) if value.kind() == ValueKind::Invalid => return stopped(&value),
            Some(value) => out.push(value),
            None => return Err(wrong(format!("variable `{name}` is not defined"))),
        }
    }
    Ok(out)
}

fn items(lookup: &Lookup) -> Answer {
    lookup.flat()
}

fn as_list(lookup: &Lookup) -> Answer {
    Ok(lookup.terms.clone())
}

fn indexed_items(lookup: &Lookup) -> Answer {
    let pair = |(index, item): (usize, Native)| Native::from(Tuple::from([Native::from(index), item]));
    Ok(lookup.flat()?.into_iter().enumerate().map(pair).collect())
}

fn dict(lookup: &Lookup) -> Answer {
    let mut out = Vec::new();
    for term in lookup.flat()? {
        for (key, value) in pairs(&term, "dict")? {
            out.push(Native::from_pairs([("key", key), ("value", value)]));
        }
    }
    Ok(out)
}

fn nested(lookup: &Lookup) -> Answer {
    let mut rows: Vec<Vec<Native>> = vec![Vec::new()];
    for term in &lookup.terms {
        let items = list(term, "nested")?;
        if rows.len().saturating_mul(items.len()) > 200_000 {
            return Err(wrong("`nested` would have more than 200000 items"));
        }
        rows = rows
            .into_iter()
            .flat_map(|row| {
                items
                    .iter()
                    .map(move |item| row.iter().cloned().chain([item.clone()]).collect())
            })
            .collect();
    }
    Ok(rows.into_iter().map(Native::from).collect())
}

fn together(lookup: &Lookup) -> Answer {
    list(&zip_lists(&lookup.terms, Some(Native::from(())))?, "together")
}

fn sub_elements(lookup: &Lookup) -> Answer {
    let (Some(value), Some(path)) = (lookup.terms.first(), lookup.terms.get(1)) else {
        return Err(wrong("`subelements` needs a list and the name of the inner list"));
    };
    let skip = lookup
        .terms
        .get(2)
        .map(|options| options.get_attr("skip_missing"))
        .transpose()?;
    let found = subelements(value, path, skip.is_some_and(|skip| skip.is_true()))?;
    list(&found, "subelements")
}

/// `start=1 end=5 stride=2 format=host%02d count=3`, or `1-5/2:host%02d`.
fn sequence(lookup: &Lookup) -> Answer {
    let mut options: Vec<(String, String)> = lookup
        .options
        .iter()
        .map(|(key, value)| (key.clone(), print::text(value)))
        .collect();
    for term in lookup.flat()? {
        let text = print::text(&term);
        if text.contains('=') {
            let words = text.split_whitespace().filter_map(|word| word.split_once('='));
            options.extend(words.map(|(key, value)| (key.to_owned(), value.to_owned())));
        } else {
            options.extend(short_sequence(&text));
        }
    }
    let number = |name: &str| -> Result<Option<i64>, Error> {
        let Some((_, text)) = options.iter().find(|(key, _)| key == name) else {
            return Ok(None);
        };
        let digits = text
            .strip_prefix("0x")
            .map_or_else(|| text.parse().ok(), |hex| i64::from_str_radix(hex, 16).ok());
        digits
            .map(Some)
            .ok_or_else(|| wrong(format!("`sequence`: {name} must be a whole number, not `{text}`")))
    };
    let start = number("start")?.unwrap_or(1);
    let stride = number("stride")?.unwrap_or(1);
    let end = match (number("end")?, number("count")?) {
        (Some(end), _) => end,
        (None, Some(0)) => return Ok(Vec::new()),
        (None, Some(count)) => start + stride * (count - 1),
        (None, None) => return Err(wrong("`sequence` needs `end` or `count`")),
    };
    let format = options
        .iter()
        .find(|(key, _)| key == "format")
        .map_or("%d", |(_, format)| format);
    if stride == 0 || (end - start) / stride > 100_000 {
        return Err(wrong("`sequence` does not come to an end soon enough"));
    }
    let mut out = Vec::new();
    let mut at = start;
    while if stride > 0 { at <= end } else { at >= end } {
        out.push(Native::from(minijinja::formatting::format(
            minijinja::formatting::FormatStyle::Printf,
            format,
            &[Native::from(at)],
        )?));
        at += stride;
    }
    Ok(out)
}

fn short_sequence(text: &str) -> Vec<(String, String)> {
    let (range, format) = text
        .split_once(':')
        .map_or((text, None), |(range, format)| (range, Some(format)));
    let (range, stride) = range
        .split_once('/')
        .map_or((range, None), |(range, stride)| (range, Some(stride)));
    let (start, end) = range
        .split_once('-')
        .map_or((None, range), |(start, end)| (Some(start), end));
    [
        ("start", start),
        ("end", Some(end)),
        ("stride", stride),
        ("format", format),
    ]
    .into_iter()
    .filter_map(|(key, value)| Some((key.to_owned(), value?.to_owned())))
    .collect()
}

/// Files that match, of one folder, sorted by name; nothing found is no error.
fn fileglob(lookup: &Lookup) -> Answer {
    let mut out = Vec::new();
    for term in lookup.flat()? {
        let pattern = print::text(&term);
        let (folder, name) = pattern.rsplit_once('/').unwrap_or(("", &pattern));
        let bases = if pattern.starts_with('/') {
            vec![PathBuf::from("/")]
        } else {
            searched(lookup, false)
        };
        for base in bases {
            let found = matching(&base.join(folder.trim_start_matches('/')), name)?;
            if !found.is_empty() {
                out.extend(found);
                break;
            }
        }
    }
    Ok(out)
}

/// The filter `fileglob`: a pattern with its folder, no search.
pub(super) fn glob(pattern: &str) -> Result<Native, Error> {
    let (folder, name) = pattern.rsplit_once('/').unwrap_or((".", pattern));
    let folder = if folder.is_empty() { "/" } else { folder };
    matching(Path::new(folder), name).map(Native::from)
}

fn matching(folder: &Path, name: &str) -> Answer {
    let pattern = glob_pattern(name)?;
    let hidden = name.starts_with('.');
    Ok(on_disk(|disk| {
        let names = disk.names(folder).into_iter();
        let fitting = names.filter(|file| pattern.is_match(file) && (hidden || !file.starts_with('.')));
        let paths = fitting.map(|file| folder.join(file)).filter(|path| disk.is_file(path));
        paths.map(|path| Native::from(path.display().to_string())).collect()
    }))
}

/// `*`, `?` and `[…]` of one file name.
fn glob_pattern(name: &str) -> Result<regex::Regex, Error> {
    let mut out = String::from(r"\A");
    let mut rest = name.chars();
    while let Some(letter) = rest.next() {
        match letter {
            '*' => out.push_str(".*"),
            '?' => out.push('.'),
            '[' => {
                let inner: String = rest.by_ref().take_while(|letter| *letter != ']').collect();
                let inner = inner
                    .strip_prefix('!')
                    .map_or_else(|| inner.clone(), |inner| format!("^{inner}"));
                out.push_str(&format!("[{inner}]"));
            }
            _ => out.push_str(&regex::escape(&letter.to_string())),
        }
    }
    out.push_str(r"\z");
    regex::Regex::new(&out).map_err(|_| wrong(format!("`{name}` is not a pattern of file names")))
}

/// The first of some names that exists; `{files: […], paths: […], skip: true}` as in Ansible.
fn first_found(lookup: &Lookup) -> Answer {
    let mut tried = Vec::new();
    let mut skip = lookup.truth("skip", false);
    let mut groups: Vec<(Vec<String>, Vec<String>)> = Vec::new();
    let texts = |value: &Native| -> Result<Vec<String>, Error> {
        Ok(match value.kind() {
            ValueKind::Undefined | ValueKind::None => Vec::new(),
            ValueKind::String => value
                .as_str()
                .unwrap_or_default()
                .split([',', ';'])
                .map(|part| part.trim().to_owned())
                .collect(),
            _ => list(value, "first_found")?.iter().map(print::text).collect(),
        })
    };
    let option = |name: &str| lookup.option(name).cloned().unwrap_or_default();
    let paths = texts(&option("paths"))?;
    groups.push((texts(&option("files"))?, paths.clone()));
    for term in lookup.flat()? {
        match term.kind() {
            ValueKind::Map => {
                skip |= term.get_attr("skip")?.is_true();
                groups.push((texts(&term.get_attr("files")?)?, texts(&term.get_attr("paths")?)?));
            }
            ValueKind::String => groups.push((vec![print::text(&term)], paths.clone())),
            kind => return Err(wrong(format!("`first_found` takes names, not {}", kind_name(kind)))),
        }
    }
    let folders = searched(lookup, false);
    let templates = searched(lookup, true);
    for (files, paths) in groups {
        let below: Vec<String> = if paths.is_empty() { vec![String::new()] } else { paths };
        for path in below {
            for file in &files {
                let name = Path::new(&path).join(file);
                for folder in folders.iter().chain(&templates) {
                    let whole = folder.join(&name);
                    if on_disk(|disk| disk.is_file(&whole)) {
                        return Ok(vec![Native::from(whole.display().to_string())]);
                    }
                    tried.push(whole.display().to_string());
                }
                if name.is_absolute() && on_disk(|disk| disk.is_file(&name)) {
                    return Ok(vec![Native::from(name.display().to_string())]);
                }
            }
        }
    }
    if skip {
        return Ok(Vec::new());
    }
    Err(wrong(format!("`first_found` found none of {}", tried.join(", "))))
}

/// A cell of a CSV file: the row whose first column is the term, `col=1` of it.
fn csvfile(lookup: &Lookup) -> Answer {
    let delimiter = match lookup.text("delimiter", "TAB").as_str() {
        "TAB" | "\\t" => '\t',
        other => other.chars().next().unwrap_or('\t'),
    };
    let number = |name: &str, default: &str| -> Result<usize, Error> {
        let text = lookup.text(name, default);
        text.parse()
            .map_err(|_| wrong(format!("`csvfile`: {name} must be a number, not `{text}`")))
    };
    let (column, key_column) = (number("col", "1")?, number("keycol", "0")?);
    let path = find(lookup, &lookup.text("file", "ansible.csv"), false)?;
    let text = read(&path)?;
    let rows: Vec<Vec<String>> = text.lines().map(|line| csv_cells(line, delimiter)).collect();
    let mut out = Vec::new();
    for term in lookup.flat()? {
        let wanted = print::text(&term);
        let row = rows.iter().find(|row| row.get(key_column) == Some(&wanted));
        match (row.and_then(|row| row.get(column)), lookup.option("default")) {
            (Some(cell), _) => out.push(Native::from(cell.as_str())),
            (None, Some(default)) => out.push(default.clone()),
            (None, None) => {
                return Err(wrong(format!(
                    "{} has no row `{wanted}` with column {column}",
                    path.display()
                )));
            }
        }
    }
    Ok(out)
}

/// Cells of one line; quotes hold delimiters, two quotes are one (RFC 4180).
fn csv_cells(line: &str, delimiter: char) -> Vec<String> {
    let mut cells = vec![String::new()];
    let mut quoted = false;
    let mut letters = line.chars().peekable();
    while let Some(letter) = letters.next() {
        let at = cells.len() - 1;
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => {
                letters.next();
                cells[at].push('"');
            }
            '"' => quoted = !quoted,
            _ if letter == delimiter && !quoted => cells.push(String::new()),
            _ => cells[at].push(letter),
        }
    }
    cells
}

/// A key of an ini file's section, or of a properties file.
fn ini(lookup: &Lookup) -> Answer {
    let path = find(lookup, &lookup.text("file", "ansible.ini"), false)?;
    let section = lookup.text("section", "global");
    let properties = lookup.text("type", "ini") == "properties";
    let text = read(&path)?;
    let mut here = properties;
    let mut entries: Vec<(String, String)> = Vec::new();
    for line in text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with(['#', ';']))
    {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            here = name == section;
        } else if let Some((key, value)) = line.split_once(['=', ':'])
            && here
        {
            entries.push((key.trim().to_lowercase(), value.trim().to_owned()));
        }
    }
    let mut out = Vec::new();
    for term in lookup.flat()? {
        let key = print::text(&term).to_lowercase();
        match (
            entries.iter().rev().find(|(own, _)| *own == key),
            lookup.option("default"),
        ) {
            (Some((_, value)), _) => out.push(Native::from(value.as_str())),
            (None, Some(default)) => out.push(default.clone()),
            (None, None) => out.push(Native::from("")),
        }
    }
    Ok(out)
}
