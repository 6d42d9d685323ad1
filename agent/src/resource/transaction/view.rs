//! The stage of a block's files: the machine as it would be with them, seen by the checker alone.
//!
//! A checker reads more than what it is given: what is included by absolute path, what lies beside. So it runs in a mount
//! namespace of its own, in which the new files stand at their real places; `{stage}` is the root of the same view, for
//! checkers that change their root. Where the host allows no mounts, `{stage}` holds copies of the touched folders.

use super::checker::Check;
use super::set::{Content, Files};
use crate::path::AbsPath;
use crate::resource::ResourceError;
use crate::system::{FileKind, Staged};

/// The folder in a stage that stands for the root.
pub(super) const ROOT: &str = "okd-play-root";

const SCRIPT: &str = include_str!("view.sh");

/// Lays the files of a set out for a checker.
pub(super) fn check<'a>(argv: &'a [String], want: &'a Files) -> Result<Check<'a>, ResourceError> {
    let words = ["/bin/sh", "{stage}/view", "{stage}", "out"].map(str::to_owned);
    let root = format!("{{stage}}/{ROOT}");
    let comes = want.iter().filter(|(_, content)| content.is_some());
    let goes = want.iter().rev().filter(|(_, content)| content.is_none());
    let (mut list, mut stage, mut files) = (String::new(), Vec::new(), Vec::new());
    for (path, content) in comes.chain(goes) {
        list.push_str(&line(stage.len(), path, content.as_ref())?);
        if let Some(content) = content {
            let bytes = content.bytes.clone();
            stage.push(Staged {
                path: format!("new/{}", stage.len()),
                bytes,
            });
            files.push((path, content.bytes.as_slice()));
        }
    }
    stage.push(Staged {
        path: "list".to_owned(),
        bytes: list.into_bytes(),
    });
    stage.push(Staged {
        path: "view".to_owned(),
        bytes: SCRIPT.into(),
    });
    Ok(Check {
        name: argv
            .first()
            .map_or("the checker", |program| program.rsplit('/').next().unwrap_or(program)),
        argv: words
            .into_iter()
            .chain(argv.iter().map(|word| word.replace("{stage}", &root)))
            .collect(),
        shown: argv,
        stage,
        files,
    })
}

fn line(index: usize, path: &AbsPath, content: Option<&Content>) -> Result<String, ResourceError> {
    if path.as_str().contains('\n') {
        return Err(ResourceError::message(format!(
            "a path with a line end cannot be staged: {path:?}"
        )));
    }
    let Some(content) = content else {
        return Ok(format!("- - - - {path}\n"));
    };
    let kind = match content.kind {
        FileKind::Link => 'l',
        FileKind::Directory => 'd',
        _ => 'f',
    };
    Ok(format!(
        "{kind} {index} {:o} {}:{} {path}\n",
        content.mode, content.owner, content.group
    ))
}
