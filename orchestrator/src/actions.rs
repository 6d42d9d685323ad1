//! Modules that need no machine: they run in the orchestrator under the same life as every other step. Also the one list
//! of all module names, theirs and the resources'.

use crate::control::API_KINDS;
use crate::history::OWN_KINDS;
use crate::media::MEDIA_KINDS;
use okd_agent::param::{Params, Spec};
use okd_agent::resource::{KINDS, KindInfo};
use okd_agent::{Value, params};
use std::sync::LazyLock;

params! {
    /// Prints a message or a variable.
    pub struct Debug {
        /// What to print.
        msg: Option<Value>,
        /// A variable or expression to print, without braces.
        var: Option<String>,
        /// Print only from this many `-v` on.
        verbosity: i64 = "0",
    }
}
params! {
    /// Fails unless every expression is true.
    pub struct Assert {
        /// Expressions, without braces.
        that: Value,
        /// What to say when one is false.
        fail_msg: Option<Value> ["msg"],
        /// What to say when all are true.
        success_msg: Option<Value>,
        /// Say nothing of each expression.
        quiet: bool = "no",
    }
}
params! {
    /// Fails with a message.
    pub struct Fail {
        /// What to say.
        msg: String = "Failed as requested from task",
    }
}
params! {
    /// Waits.
    pub struct Pause {
        /// How many seconds.
        seconds: Option<f64>,
        /// How many minutes.
        minutes: Option<f64>,
        /// A question; only asked on a terminal.
        prompt: Option<String>,
        /// Whether the answer is echoed.
        echo: bool = "yes",
    }
}
params! {
    /// Adds a host to the inventory of this run.
    pub struct AddHost {
        /// Its name.
        name: String ["hostname", "host"],
        /// Groups that it joins.
        groups: Vec<String> ["group", "groupname"],
    }
}
params! {
    /// Groups hosts by a value.
    pub struct GroupBy {
        /// The group's name.
        key: String,
        /// Groups that it is a part of.
        parents: Vec<String>,
    }
}
params! {
    /// Reads variables from a file on the control node.
    pub struct IncludeVars {
        /// The file.
        file: Option<String> ["_raw_params"],
        /// A folder of files.
        dir: Option<String>,
        /// Put the variables below this name.
        name: Option<String>,
        /// How deep to look below `dir`; 0: no limit.
        depth: i64 = "0",
        /// Only files whose name matches this pattern.
        files_matching: Option<String>,
        /// Endings of files that are read.
        extensions: Vec<String> = "yaml,yml,json",
    }
}
params! {
    /// Steers the run: `flush_handlers`, `end_play`, `end_host`, `end_batch`, `clear_host_errors`, `clear_facts`,
    /// `refresh_inventory`, `noop`.
    pub struct Meta {
        /// What to do.
        free_form: String ["_raw_params"],
    }
}
params! {
    /// Renders a template of the control node into a file of the host.
    pub struct Template {
        /// The template, looked for in `templates/`.
        src: String,
        /// The file on the host.
        dest: String,
        /// Permission bits.
        mode: Option<Value>,
        /// Owner's name or number.
        owner: Option<String>,
        /// Group's name or number.
        group: Option<String>,
        /// Keep the old file beside it.
        backup: bool = "no",
        /// Replace a file that differs.
        force: bool = "yes",
        /// Follow a link at the path.
        follow: bool = "no",
        /// A checker; `%s` becomes the temporary file.
        validate: Option<String>,
        /// Line ends: `\n`, `\r\n` or `\r`.
        newline_sequence: Option<String>,
        /// Swallow the line end after a block tag.
        trim_blocks: bool = "yes",
        /// Swallow blanks before a block tag.
        lstrip_blocks: bool = "no",
        /// What begins an expression; only `{{` is supported.
        variable_start_string: Option<String>,
        /// What ends an expression; only `}}` is supported.
        variable_end_string: Option<String>,
    }
}
params! {
    /// Brings a host's file to the control node.
    pub struct Fetch {
        /// The file on the host.
        src: String,
        /// Where to put it.
        dest: String,
        /// Take `dest` as the file itself, not as a folder of hosts.
        flat: bool = "no",
        /// Fail where there is no such file.
        fail_on_missing: bool = "yes",
    }
}
params! {
    /// Runs a script of the control node on the host.
    pub struct Script {
        /// The script with its arguments.
        cmd: String ["_raw_params"],
        /// The folder that it starts in.
        chdir: Option<String>,
        /// Not run where this is there.
        creates: Option<String>,
        /// Not run where this is not there.
        removes: Option<String>,
        /// The program that runs it.
        executable: Option<String>,
    }
}
params! {
    /// Tasks of a file, put here when the playbook is read (`import_tasks`) or when this step is reached (`include_tasks`).
    pub struct Tasks {
        /// The file.
        file: String ["_raw_params"],
        /// Keywords for its tasks (`include_tasks`).
        apply: Option<Value>,
    }
}
params! {
    /// A role's tasks, put here when the playbook is read (`import_role`) or when this step is reached (`include_role`).
    pub struct RoleTasks {
        /// The role.
        name: String ["role"],
        /// Another file than `tasks/main.yml`.
        tasks_from: Option<String>,
        /// Another file than `handlers/main.yml`.
        handlers_from: Option<String>,
        /// Another file than `vars/main.yml`.
        vars_from: Option<String>,
        /// Another file than `defaults/main.yml`.
        defaults_from: Option<String>,
        /// Whether its defaults and vars are seen by later tasks.
        public: bool = "no",
        /// Accepted: a role may always be named twice here.
        allow_duplicates: bool = "yes",
        /// Keywords for its tasks (`include_role`).
        apply: Option<Value>,
    }
}
params! {
    /// Restarts the machine and waits until it answers again, as another boot.
    pub struct Reboot {
        /// Seconds that it may take at most.
        reboot_timeout: i64 ["reboot_timeout_sec"] = "600",
        /// Seconds before the machine goes down; at least 2, so that the answer gets away.
        pre_reboot_delay: i64 ["pre_reboot_delay_sec"] = "0",
        /// Seconds before it is tried for the first time.
        post_reboot_delay: i64 ["post_reboot_delay_sec"] = "0",
        /// What those who are logged in are told.
        msg: Option<String>,
    }
}
params! {
    /// Waits until the host can be reached; a plan asks once.
    pub struct WaitForConnection {
        /// Seconds at most.
        timeout: i64 = "600",
        /// Seconds before the first try.
        delay: i64 = "0",
        /// Seconds between tries.
        sleep: i64 = "1",
    }
}

/// One module of the orchestrator's own.
#[derive(Debug)]
pub struct ActionInfo {
    /// Its name.
    pub name: &'static str,
    /// Its parameters; `None` takes any (`set_fact`).
    pub spec: Option<&'static Spec>,
    /// What it is for, where it has no table.
    pub doc: &'static str,
    /// An example.
    pub example: &'static str,
}

const fn action(name: &'static str, spec: &'static Spec, example: &'static str) -> ActionInfo {
    ActionInfo {
        name,
        spec: Some(spec),
        doc: "",
        example,
    }
}

/// The orchestrator's own modules.
pub const ACTIONS: &[ActionInfo] = &[
    action(
        "add_host",
        &AddHost::SPEC,
        "- add_host:\n    name: new1\n    groups: [masters]\n",
    ),
    action(
        "assert",
        &Assert::SPEC,
        "- assert:\n    that: cluster.machines | length > 0\n    fail_msg: no machines\n",
    ),
    action(
        "debug",
        &Debug::SPEC,
        "- debug:\n    msg: \"{{ inventory_hostname }} is {{ ansible_distribution }}\"\n",
    ),
    action(
        "fail",
        &Fail::SPEC,
        "- fail:\n    msg: not on this host\n  when: ansible_os_family != 'RedHat'\n",
    ),
    action(
        "fetch",
        &Fetch::SPEC,
        "- fetch:\n    src: /etc/os-release\n    dest: fetched/\n",
    ),
    action(
        "group_by",
        &GroupBy::SPEC,
        "- group_by:\n    key: os_{{ ansible_os_family }}\n",
    ),
    action("import_role", &RoleTasks::SPEC, "- import_role:\n    name: dns\n"),
    action("import_tasks", &Tasks::SPEC, "- import_tasks: dns.yml\n"),
    action(
        "include_role",
        &RoleTasks::SPEC,
        "- include_role:\n    name: \"{{ item }}\"\n  loop: [dns, web]\n",
    ),
    action(
        "include_tasks",
        &Tasks::SPEC,
        "- include_tasks: \"{{ ansible_os_family }}.yml\"\n",
    ),
    action(
        "include_vars",
        &IncludeVars::SPEC,
        "- include_vars: \"{{ ansible_distribution }}.yml\"\n",
    ),
    action("meta", &Meta::SPEC, "- meta: flush_handlers\n"),
    action("pause", &Pause::SPEC, "- pause:\n    seconds: 5\n"),
    action("reboot", &Reboot::SPEC, "- reboot:\n    reboot_timeout: 300\n"),
    action("script", &Script::SPEC, "- script: files/prepare.sh --fast\n"),
    ActionInfo {
        name: "set_fact",
        spec: None,
        doc: "Sets variables of the host for the rest of the run.",
        example: "- set_fact:\n    api: \"api.{{ cluster.name }}.{{ cluster.domain }}\"\n",
    },
    action(
        "template",
        &Template::SPEC,
        "- template:\n    src: motd.j2\n    dest: /etc/motd\n    mode: \"0644\"\n",
    ),
    action(
        "wait_for_connection",
        &WaitForConnection::SPEC,
        "- wait_for_connection:\n    timeout: 300\n",
    ),
];

static NAMES: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
    let kinds = kinds().flat_map(|kind| kind.names.iter().copied());
    let mut names: Vec<&'static str> = ACTIONS.iter().map(|action| action.name).chain(kinds).collect();
    names.sort_unstable();
    names
});

/// Every kind, of machines, of interfaces and of the control node.
pub fn kinds() -> impl Iterator<Item = &'static KindInfo> {
    KINDS.iter().chain(API_KINDS).chain(MEDIA_KINDS)
}

/// Every module's name, the short ones and the full ones.
#[must_use]
pub fn module_names() -> &'static [&'static str] {
    &NAMES
}

/// Whether there is a module of this name (without `ansible.builtin.`).
#[must_use]
pub fn is_module(name: &str) -> bool {
    NAMES.binary_search(&crate::playbook::short(name)).is_ok() || is_own(name)
}

/// Whether only okd-play itself may ask for it, in playbooks that it makes.
#[must_use]
pub fn is_own(name: &str) -> bool {
    OWN_KINDS.iter().any(|kind| kind.names.contains(&name))
}
