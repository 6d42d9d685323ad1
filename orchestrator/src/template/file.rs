//! Template files: the header line, includes and imports out of the search folders, errors in the file they are in.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Value as Native;
use minijinja::{Environment, Error, ErrorKind};

use super::problem::{Place, innermost};
use super::scan::Source;
use super::scope::{Root, Scope, With};
use super::{Engine, RenderError, Settled, settle, touch};
use crate::error::Diagnostic;
use crate::source::files::Files as Disk;
use crate::source::{FileId, Span};
use okd_agent::value::Map;

/// A template file to be rendered.
#[derive(Debug, Clone)]
pub struct TemplateFile<'a> {
    /// Its path, for messages; its folder is searched for includes as well.
    pub path: &'a Path,
    /// Its whole text.
    pub text: &'a str,
    /// Folders for `include`, `import` and `extends`, nearest first; nothing outside them is read.
    pub search: &'a [PathBuf],
    /// Variables on top of the scope, such as `ansible_managed` and `template_path`.
    pub extra: Map,
}

/// A rendered file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rendered {
    /// Its text.
    Text(String),
    /// It depends on a step that has not been applied.
    Unknown(String),
}

/// The files that took part in one rendering, by the engine's names for them.
type Files = Arc<Mutex<HashMap<String, (FileId, Source)>>>;

impl Engine {
    /// Renders a template file with Ansible's settings, or those of its `#jinja2:` line.
    ///
    /// # Errors
    /// A step to wait for, or a diagnostic with its place in the file or in the variable at fault.
    pub fn render_file(&self, file: &TemplateFile<'_>, scope: &Arc<dyn Scope>) -> Result<Rendered, RenderError> {
        let id = self.file_id(file.path, file.text);
        let (body, settings) = header(file.text, id)?;
        let start = file.text.len() - body.len();
        let source = Source::new(body, start, false, false);
        let files = Files::default();
        let mut env = self.inner.env.clone();
        env.set_syntax(settings);
        self.add_loader(&mut env, file, &files);
        let name = file.path.display().to_string();
        let root = Root::new(self, &With::values(scope, file.extra.clone()));
        let (result, frame) = touch::record(&root, || {
            env.render_named_str(&name, &source.text, Native::from_dyn_object(Arc::clone(&root)))
        });
        let (id, source) = match &result {
            Err(err) => innermost(err)
                .name()
                .and_then(|name| lock(&files).get(name).cloned())
                .unwrap_or((id, source)),
            Ok(_) => (id, source),
        };
        let trouble = self.trouble(&root, Place::File(id), &source, false);
        Ok(match settle(result, frame, &trouble)? {
            Settled::Known(text) => Rendered::Text(super::with_newlines(body, text)),
            Settled::Unknown(reason) => Rendered::Unknown(reason),
        })
    }

    fn add_loader(&self, env: &mut Environment<'static>, file: &TemplateFile<'_>, files: &Files) {
        let mut folders: Vec<PathBuf> = file.path.parent().map(Path::to_path_buf).into_iter().collect();
        folders.extend(file.search.iter().cloned());
        let engine = self.clone();
        let files = Arc::clone(files);
        env.set_loader(move |name| {
            let disk = engine.inner.sources.disk();
            let Some(path) = find_inside(disk, &folders, name) else {
                return Ok(None);
            };
            let text = disk.read_to_string(&path).map_err(|err| unreadable(&path, &err))?;
            if crate::vault::is_encrypted(&text) {
                let said = format!("{} is encrypted, and cannot be included", path.display());
                return Err(Error::new(ErrorKind::InvalidOperation, said));
            }
            let source = Source::new(&text, 0, false, false);
            let compiled = source.text.clone();
            let id = engine.file_id(&path, &text);
            lock(&files).insert(name.to_owned(), (id, source));
            Ok(Some(compiled))
        });
    }

    /// The file in the source map; the same text is added once.
    pub(super) fn file_id(&self, path: &Path, text: &str) -> FileId {
        let mut known = self.inner.files.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(id) = known.get(path)
            && self.inner.sources.file(*id).text == text
        {
            return *id;
        }
        let id = self.inner.sources.add(path, text.to_owned());
        known.insert(path.to_owned(), id);
        id
    }
}

fn lock(files: &Files) -> std::sync::MutexGuard<'_, HashMap<String, (FileId, Source)>> {
    files.lock().unwrap_or_else(PoisonError::into_inner)
}

fn unreadable(path: &Path, err: &std::io::Error) -> Error {
    Error::new(ErrorKind::InvalidOperation, format!("{}: {err}", path.display()))
}

/// The first folder's file of that name which truly lies inside the folder.
pub(super) fn find_inside(disk: &Disk, folders: &[PathBuf], name: &str) -> Option<PathBuf> {
    folders.iter().find_map(|folder| {
        let inside = disk.real(folder)?;
        let path = disk.real(&inside.join(name))?;
        (path.starts_with(&inside) && disk.is_file(&path)).then(|| folder.join(name))
    })
}

const HEADER: &str = "#jinja2:";

/// The text after the `#jinja2:` line, and the settings with what that line says.
fn header(text: &str, file: FileId) -> Result<(&str, SyntaxConfig), Diagnostic> {
    let Some(rest) = text.strip_prefix(HEADER) else {
        return Ok((text, super::syntax()));
    };
    let (line, body) = rest.split_once('\n').unwrap_or((rest, ""));
    let span = Span {
        file,
        start: 0,
        end: (HEADER.len() + line.len()) as u32,
    };
    let refuse = |text: String| Diagnostic::new("jinja2-header", text).at(span, "");
    let mut marks = Marks::default();
    let mut builder = super::syntax().to_builder();
    for setting in line.split(',').filter(|setting| !setting.trim().is_empty()) {
        let (key, value) = setting
            .split_once(':')
            .ok_or_else(|| refuse(format!("`{}` is not of the form `key: value`", setting.trim())))?;
        let value = value.trim().trim_matches(['\'', '"']);
        let truth = || match value {
            "True" | "true" => Ok(true),
            "False" | "false" => Ok(false),
            _ => Err(refuse(format!("`{}` is True or False, not `{value}`", key.trim()))),
        };
        match key.trim() {
            "trim_blocks" => drop(builder.trim_blocks(truth()?)),
            "lstrip_blocks" => drop(builder.lstrip_blocks(truth()?)),
            "line_statement_prefix" => drop(builder.line_statement_prefix(value.to_owned())),
            "line_comment_prefix" => drop(builder.line_comment_prefix(value.to_owned())),
            other => marks.set(other, value).map_err(refuse)?,
        }
    }
    builder
        .block_delimiters(marks.block.0, marks.block.1)
        .variable_delimiters(marks.variable.0, marks.variable.1)
        .comment_delimiters(marks.comment.0, marks.comment.1);
    let settings = builder.build().map_err(|err| refuse(err.to_string()))?;
    Ok((body, settings))
}

/// The delimiters of a template.
struct Marks {
    block: (String, String),
    variable: (String, String),
    comment: (String, String),
}

impl Default for Marks {
    fn default() -> Self {
        let pair = |open: &str, close: &str| (open.to_owned(), close.to_owned());
        Marks {
            block: pair("{%", "%}"),
            variable: pair("{{", "}}"),
            comment: pair("{#", "#}"),
        }
    }
}

impl Marks {
    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        let slot = match key {
            "block_start_string" => &mut self.block.0,
            "block_end_string" => &mut self.block.1,
            "variable_start_string" => &mut self.variable.0,
            "variable_end_string" => &mut self.variable.1,
            "comment_start_string" => &mut self.comment.0,
            "comment_end_string" => &mut self.comment.1,
            _ => return Err(format!("`{key}` is not a setting of `#jinja2:` that is supported")),
        };
        value.clone_into(slot);
        Ok(())
    }
}
