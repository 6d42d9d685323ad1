//! What may stand in a transaction: steps that act through files alone, on the block's host as the block's user.

use crate::error::Diagnostic;
use crate::playbook::{Keywords, Task};
use crate::run::args::kind_info;
use crate::source::Span;

/// Modules that write files and do nothing besides, or only look.
const FILES: &[&str] = &[
    "copy",
    "template",
    "file",
    "lineinfile",
    "blockinfile",
    "replace",
    "ini_file",
    "assemble",
    "authorized_key",
    "known_hosts",
    "stat",
    "find",
    "slurp",
    "setup",
    "ping",
];
/// Modules that need no machine.
const NO_MACHINE: &[&str] = &[
    "debug",
    "assert",
    "fail",
    "set_fact",
    "include_vars",
    "include_tasks",
    "include_role",
    "import_tasks",
    "import_role",
    "add_host",
    "group_by",
    "pause",
];

/// What keeps a task out of the transaction whose keyword stands at `transaction`.
pub(super) fn task(task: &Task, transaction: Span) -> Option<Diagnostic> {
    let name = kind_info(&task.module).map_or(task.short_module(), |kind| kind.names[0]);
    if NO_MACHINE.contains(&name) || task.meta() == Some("noop") {
        return None;
    }
    if FILES.contains(&name) {
        return keywords(&task.keywords, transaction);
    }
    let (why, help) = match name {
        "get_url" | "unarchive" => (
            "fetches and unpacks by programs",
            "let it fill a folder of its own before the block; `copy` with `remote_src: true` takes it into the set",
        ),
        "meta" => ("changes the course of the run", "put it before or after the block"),
        _ => (
            "acts beyond files",
            "put it before or after the block; what tells the service of the files belongs to `reload`",
        ),
    };
    let found = Diagnostic::new(
        "not-in-transaction",
        format!("`{}` {why}, so it cannot be staged", task.module),
    );
    Some(
        found
            .at(task.module_span, "")
            .at(transaction, "in this transaction")
            .help(help),
    )
}

/// Keywords that would have a part of a transaction done elsewhere, by somebody else, or at another time.
pub(super) fn keywords(keywords: &Keywords, transaction: Span) -> Option<Diagnostic> {
    let own = [
        ("delegate_to", &keywords.delegate_to),
        ("become", &keywords.r#become),
        ("become_user", &keywords.become_user),
        ("connection", &keywords.connection),
        ("remote_user", &keywords.remote_user),
        ("port", &keywords.port),
        ("check_mode", &keywords.check_mode),
        ("run_once", &keywords.run_once),
    ];
    let (name, node) = own.into_iter().find_map(|(name, node)| Some((name, node.as_ref()?)))?;
    let text = format!("`{name}` cannot differ inside a transaction: its files are checked and swapped together");
    let found = Diagnostic::new("not-in-transaction", text).at(node.span, "");
    Some(
        found
            .at(transaction, "this transaction")
            .help(format!("give `{name}` to the block")),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_them_are_modules() {
        for name in FILES.iter().chain(NO_MACHINE) {
            assert!(crate::actions::is_module(name), "{name}");
        }
    }
}
