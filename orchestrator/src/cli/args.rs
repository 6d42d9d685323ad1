//! The command line as typed. What it means is decided in the commands.

use crate::link::reach::Transport;
use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Plans, shows and applies idempotent playbooks on many hosts, over SSH or through a pushed agent.
#[derive(Debug, Parser)]
#[command(name = "okd-play", version, max_term_width = 110, disable_help_subcommand = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Plan, show the diffs, ask once, apply, report
    Run(Box<RunArgs>),
    /// Say what has changed on hosts behind okd-play's back, what has left the playbook, which handlers are owed
    Drift(Box<DriftArgs>),
    /// Plan, show the diffs, and keep the plan in a file; nothing is changed
    Plan(Box<PlanArgs>),
    /// Apply a kept plan: exactly that, or a refusal of each step whose host has moved since
    Apply(Box<ApplyArgs>),
    /// Show a kept plan as text, as JSON, or as one page of HTML
    Show(ShowArgs),
    /// Show the graph of a playbook's steps, before anything is contacted
    Graph(GraphArgs),
    /// Show a cluster's description with all that is chosen and worked out: machines, sites, addresses, packets
    Topology(TopologyArgs),
    /// See whether Proxmox VE gives what a playbook's tasks need: privileges, nodes, clocks, storages; nothing is changed
    Doctor(DoctorArgs),
    /// Show what the inventory says
    Inventory(InventoryArgs),
    /// Show a host's variables; `--why NAME` says which file and line gave a value
    Vars(VarsArgs),
    /// Run one command on some hosts, and show what it prints
    Exec(ExecArgs),
    /// Show what was run from here, and how it ended
    Runs(RunsArgs),
    /// Go on with a run that was killed, was interrupted or failed: plan, show the diffs, ask once, apply
    Resume(ResumeArgs),
    /// Take back what a run changed: plan, show the diffs, ask once, apply
    Undo(UndoArgs),
    /// Encrypt, decrypt, view, edit and rekey files of Ansible Vault
    Vault(VaultCommand),
    /// Describe the modules: parameters, examples, what a plan knows of them
    Doc(DocArgs),
    /// Print a completion script for a shell
    Completion {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// Which inventory and which variables.
#[derive(Debug, Args, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SiteArgs {
    /// Inventory: a file, a folder, or a list of hosts that ends in a comma; may be given again
    #[arg(short = 'i', long = "inventory", value_name = "PATH|HOST,")]
    pub inventory: Vec<String>,
    /// Variables: `k=v`, YAML, or `@FILE`; may be given again
    #[arg(short = 'e', long = "extra-vars", value_name = "K=V|@FILE")]
    pub extra_vars: Vec<String>,
    /// Only these hosts
    #[arg(short = 'l', long, value_name = "PATTERN")]
    pub limit: Option<String>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub vault: VaultArgs,
}

/// Where vault passwords are.
#[derive(Debug, Args, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct VaultArgs {
    /// A vault password: a file, or a program that prints it; else `$ANSIBLE_VAULT_PASSWORD_FILE`
    #[arg(long, value_name = "FILE", alias = "vault-pass-file")]
    pub vault_password_file: Vec<PathBuf>,
    /// A vault password with a label: a file, a program, or `prompt`; may be given again
    #[arg(long, value_name = "[LABEL@]FILE")]
    pub vault_id: Vec<String>,
    /// Ask for a vault password
    #[arg(short = 'J', long, alias = "ask-vault-password")]
    pub ask_vault_pass: bool,
}

/// `okd-play vault`.
#[derive(Debug, Args)]
pub struct VaultCommand {
    /// What to do.
    #[command(subcommand)]
    pub action: VaultAction,
}

/// What `okd-play vault` does.
#[derive(Debug, Subcommand)]
pub enum VaultAction {
    /// Encrypt files in place
    Encrypt(VaultFiles),
    /// Decrypt files in place; they are for their owner alone then
    Decrypt(VaultFiles),
    /// Print what encrypted files hold
    View(VaultFiles),
    /// Change an encrypted file in `$VISUAL` or `$EDITOR`
    Edit(VaultFiles),
    /// Encrypt a value for a playbook; it is read from the standard input, or asked for
    #[command(alias = "encrypt_string")]
    EncryptString {
        /// The variable's name
        #[arg(short = 'n', long, value_name = "NAME")]
        name: Option<String>,
        #[command(flatten)]
        #[allow(missing_docs)]
        seal: SealArgs,
    },
    /// Encrypt files with another password
    Rekey {
        #[command(flatten)]
        #[allow(missing_docs)]
        files: VaultFiles,
        /// The new password: a file, or a program that prints it; without it, it is asked for
        #[arg(long, value_name = "FILE")]
        new_vault_password_file: Option<PathBuf>,
        /// The new password with a label
        #[arg(long, value_name = "[LABEL@]FILE", conflicts_with = "new_vault_password_file")]
        new_vault_id: Option<String>,
    },
}

/// Files, and the passwords for them.
#[derive(Debug, Args)]
pub struct VaultFiles {
    /// The files
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub seal: SealArgs,
}

/// Passwords, and which of them encrypts.
#[derive(Debug, Args)]
pub struct SealArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub vault: VaultArgs,
    /// The label of the password that encrypts, where there are several
    #[arg(long, value_name = "LABEL")]
    pub encrypt_vault_id: Option<String>,
}

/// How hosts are reached.
#[derive(Debug, Args, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct LinkArgs {
    /// How steps are carried out: by the agent, by plain SSH, or by what the host allows
    #[arg(long, value_enum, default_value_t = TransportArg::Auto)]
    pub transport: TransportArg,
    /// Log in as this user
    #[arg(short = 'u', long = "user", value_name = "USER")]
    pub user: Option<String>,
    /// Log in with this key
    #[arg(long = "private-key", alias = "key-file", value_name = "FILE")]
    pub private_key: Option<PathBuf>,
    /// The connection where the inventory does not say: `ssh` or `local`
    #[arg(short = 'c', long, value_name = "CONNECTION")]
    pub connection: Option<String>,
    /// Become another user by sudo
    #[arg(short = 'b', long = "become")]
    pub r#become: bool,
    /// The user to become
    #[arg(long, value_name = "USER")]
    pub become_user: Option<String>,
    /// Ask for the password that sudo wants
    #[arg(short = 'K', long = "ask-become-pass")]
    pub ask_become_pass: bool,
    /// Read the password that sudo wants from this file
    #[arg(long, value_name = "FILE", conflicts_with = "ask_become_pass")]
    pub become_password_file: Option<PathBuf>,
    /// Options for all SSH connections, such as `-o ProxyJump=HOST`
    #[arg(long, value_name = "ARGS", allow_hyphen_values = true)]
    pub ssh_common_args: Option<String>,
    /// Further options for SSH connections
    #[arg(long, value_name = "ARGS", allow_hyphen_values = true)]
    pub ssh_extra_args: Option<String>,
    /// Hosts that are worked on at once
    #[arg(short = 'f', long, default_value_t = 32, value_name = "N")]
    pub forks: usize,
}

/// `okd-play run`.
#[derive(Debug, Args, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RunArgs {
    /// The playbook
    pub playbook: PathBuf,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub site: SiteArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub link: LinkArgs,
    /// Plan and show the diffs only; nothing is changed
    #[arg(short = 'C', long)]
    pub check: bool,
    /// With `--check`: exit with 10 when something would change
    #[arg(long, requires = "check")]
    pub exit_code: bool,
    /// Apply without asking; needed where there is no terminal
    #[arg(short = 'y', long, conflicts_with = "check")]
    pub yes: bool,
    /// Only steps with these tags
    #[arg(short = 't', long, value_delimiter = ',', value_name = "TAGS")]
    pub tags: Vec<String>,
    /// Not the steps with these tags
    #[arg(long, value_delimiter = ',', value_name = "TAGS")]
    pub skip_tags: Vec<String>,
    /// Begin at the step with this name
    #[arg(long, value_name = "NAME")]
    pub start_at_task: Option<String>,
    /// Show diffs (the default)
    #[arg(short = 'D', long, overrides_with = "no_diff")]
    pub diff: bool,
    /// Show only what would change, not how
    #[arg(long)]
    pub no_diff: bool,
    /// Show diffs and lists whole
    #[arg(long)]
    pub full: bool,
    /// What is printed
    #[arg(short = 'o', long, value_enum, default_value_t = OutputArg::Text)]
    pub output: OutputArg,
    /// Say more: -v also steps that are as they should be and every result, -vv connections, -vvv facts and beginnings
    #[arg(short = 'v', long, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Colours: `auto`, `always` or `never`
    #[arg(long, value_enum, default_value_t = ColourArg::Auto, alias = "colour")]
    pub color: ColourArg,
    /// Inspect everything again after it was changed
    #[arg(long)]
    pub verify: bool,
    /// Wait so long for a host that another run is changing
    #[arg(long, value_name = "SECONDS", default_value_t = 0, hide_default_value = true)]
    pub wait_lock: u64,
    /// List the hosts, and contact none
    #[arg(long)]
    pub list_hosts: bool,
    /// List the steps, and contact nothing
    #[arg(long)]
    pub list_tasks: bool,
    /// List the tags, and contact nothing
    #[arg(long)]
    pub list_tags: bool,
    /// Read everything, and contact nothing
    #[arg(long)]
    pub syntax_check: bool,
}

/// `okd-play drift`.
#[derive(Debug, Args)]
pub struct DriftArgs {
    /// The playbook
    pub playbook: PathBuf,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub site: SiteArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub link: LinkArgs,
    /// Plan the removal of what has left the playbook, ask, remove
    #[arg(long)]
    pub prune: bool,
    /// With --prune: plan and show; remove nothing
    #[arg(short = 'C', long, requires = "prune")]
    pub check: bool,
    /// With --prune: remove without asking
    #[arg(short = 'y', long, requires = "prune", conflicts_with = "check")]
    pub yes: bool,
    /// Show only what has changed, not how
    #[arg(long)]
    pub no_diff: bool,
    /// Show diffs and lists whole
    #[arg(long)]
    pub full: bool,
    /// What is printed
    #[arg(short = 'o', long, value_enum, default_value_t = OutputArg::Text)]
    pub output: OutputArg,
    /// Colours: `auto`, `always` or `never`
    #[arg(long, value_enum, default_value_t = ColourArg::Auto, alias = "colour")]
    pub color: ColourArg,
}

/// `okd-play plan`.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// The playbook
    pub playbook: PathBuf,
    /// The file that keeps the plan
    #[arg(short = 'o', long = "out", value_name = "FILE")]
    pub out: PathBuf,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub site: SiteArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub link: LinkArgs,
    /// Exit with 10 when something would change
    #[arg(long)]
    pub exit_code: bool,
    /// Only steps with these tags
    #[arg(short = 't', long, value_delimiter = ',', value_name = "TAGS")]
    pub tags: Vec<String>,
    /// Not the steps with these tags
    #[arg(long, value_delimiter = ',', value_name = "TAGS")]
    pub skip_tags: Vec<String>,
    /// Begin at the step with this name
    #[arg(long, value_name = "NAME")]
    pub start_at_task: Option<String>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub look: LookArgs,
}

/// What is printed of a run, and how.
#[derive(Debug, Args, Clone, Default)]
pub struct LookArgs {
    /// What is printed
    #[arg(long, value_enum, default_value_t = OutputArg::Text)]
    pub output: OutputArg,
    /// Show only what would change, not how
    #[arg(long)]
    pub no_diff: bool,
    /// Show diffs and lists whole
    #[arg(long)]
    pub full: bool,
    /// Say more: -v also steps that are as they should be and every result, -vv connections, -vvv facts and beginnings
    #[arg(short = 'v', long, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Colours: `auto`, `always` or `never`
    #[arg(long, value_enum, default_value_t = ColourArg::Auto, alias = "colour")]
    pub color: ColourArg,
}

impl LookArgs {
    /// A `run` of which the same is printed.
    #[must_use]
    pub fn of_run(&self, playbook: &Path) -> RunArgs {
        RunArgs {
            playbook: playbook.to_path_buf(),
            no_diff: self.no_diff,
            full: self.full,
            output: self.output,
            verbose: self.verbose,
            color: self.color,
            ..RunArgs::default()
        }
    }
}

/// `okd-play apply`.
#[derive(Debug, Args)]
pub struct ApplyArgs {
    /// The kept plan
    pub plan: PathBuf,
    /// Apply without asking; needed where there is no terminal
    #[arg(short = 'y', long)]
    pub yes: bool,
    /// Apply steps that were unknown when the plan was made without asking about each
    #[arg(long)]
    pub yes_unknown: bool,
    /// Variables that the plan does not hold because they are secrets: `k=v`, YAML, or `@FILE`; may be given again
    #[arg(short = 'e', long = "extra-vars", value_name = "K=V|@FILE")]
    pub extra_vars: Vec<String>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub vault: VaultArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub link: LinkArgs,
    /// Inspect everything again after it was changed
    #[arg(long)]
    pub verify: bool,
    /// Wait so long for a host that another run is changing
    #[arg(long, value_name = "SECONDS", default_value_t = 0, hide_default_value = true)]
    pub wait_lock: u64,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub look: LookArgs,
}

/// `okd-play show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The kept plan
    pub plan: PathBuf,
    /// What is printed
    #[arg(long, value_enum, default_value_t = ShowFormat::Text)]
    pub format: ShowFormat,
    /// Write to this file instead of the standard output
    #[arg(short = 'o', long = "out", value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Show diffs and lists whole
    #[arg(long)]
    pub full: bool,
    /// Also steps that are as they should be
    #[arg(short = 'v', long, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Colours: `auto`, `always` or `never`
    #[arg(long, value_enum, default_value_t = ColourArg::Auto, alias = "colour")]
    pub color: ColourArg,
}

/// What `show` prints.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum ShowFormat {
    /// For a person
    #[default]
    Text,
    /// One JSON object
    Json,
    /// One page that needs nothing else
    Html,
}

/// `okd-play graph`.
#[derive(Debug, Args)]
pub struct GraphArgs {
    /// The playbook
    pub playbook: PathBuf,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub site: SiteArgs,
    /// What is printed
    #[arg(long, value_enum, default_value_t = GraphFormat::Dot)]
    pub format: GraphFormat,
    /// Only steps with these tags
    #[arg(short = 't', long, value_delimiter = ',')]
    pub tags: Vec<String>,
    /// Not the steps with these tags
    #[arg(long, value_delimiter = ',')]
    pub skip_tags: Vec<String>,
}

/// `okd-play doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// The playbook
    pub playbook: PathBuf,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub site: SiteArgs,
    /// Only steps with these tags
    #[arg(short = 't', long, value_delimiter = ',')]
    pub tags: Vec<String>,
    /// Not the steps with these tags
    #[arg(long, value_delimiter = ',')]
    pub skip_tags: Vec<String>,
}

/// `okd-play topology`.
#[derive(Debug, Args)]
pub struct TopologyArgs {
    /// A playbook whose hosts and variables count; without one, every host of the inventory
    pub playbook: Option<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub site: SiteArgs,
    /// What is printed
    #[arg(long, value_enum, default_value_t = TopologyFormat::Table)]
    pub format: TopologyFormat,
}

/// `okd-play inventory`.
#[derive(Debug, Args)]
pub struct InventoryArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub site: SiteArgs,
    /// The variables of one host, as JSON
    #[arg(long, value_name = "HOST", conflicts_with = "graph")]
    pub host: Option<String>,
    /// Groups and hosts as a tree
    #[arg(long)]
    pub graph: bool,
    /// Everything, as JSON in the form of Ansible's inventory scripts
    #[arg(long)]
    pub list: bool,
}

/// `okd-play vars`.
#[derive(Debug, Args)]
pub struct VarsArgs {
    /// The host
    pub host: String,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub site: SiteArgs,
    /// Show where this variable's value comes from, and what it hides
    #[arg(long, value_name = "NAME")]
    pub why: Option<String>,
}

/// `okd-play exec`.
#[derive(Debug, Args)]
pub struct ExecArgs {
    /// The hosts
    pub pattern: String,
    /// The command
    #[arg(last = true, required = true)]
    pub command: Vec<String>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub site: SiteArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub link: LinkArgs,
}

/// `okd-play runs`.
#[derive(Debug, Args)]
pub struct RunsArgs {
    /// The run whose steps are shown: its id, or a part of it; none lists all runs
    pub run: Option<String>,
    /// What is printed
    #[arg(short = 'o', long, value_enum, default_value_t = RunsOutput::Text)]
    pub output: RunsOutput,
}

/// `okd-play undo`.
#[derive(Debug, Args)]
pub struct UndoArgs {
    /// The run: its id, or a part of it
    pub run: String,
    /// Only on these hosts
    #[arg(short = 'l', long, value_name = "PATTERN")]
    pub limit: Option<String>,
    /// Also what somebody has changed since, and machines and disks that the run made
    #[arg(long)]
    pub force: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub past: PastArgs,
}

/// `okd-play resume`.
#[derive(Debug, Args)]
pub struct ResumeArgs {
    /// The run: its id, or a part of it; else the last one
    pub run: Option<String>,
    /// Also where files were changed since the run began
    #[arg(long)]
    pub changed: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub past: PastArgs,
}

/// What is said anew where a run is taken up or taken back; all else is as it was said then.
#[derive(Debug, Args)]
pub struct PastArgs {
    /// Variables: `k=v`, YAML, or `@FILE`; may be given again
    #[arg(short = 'e', long = "extra-vars", value_name = "K=V|@FILE")]
    pub extra_vars: Vec<String>,
    /// Plan and show the diffs only; nothing is changed
    #[arg(short = 'C', long)]
    pub check: bool,
    /// Apply without asking; needed where there is no terminal
    #[arg(short = 'y', long, conflicts_with = "check")]
    pub yes: bool,
    /// Show only what would change, not how
    #[arg(long)]
    pub no_diff: bool,
    /// Show diffs and lists whole
    #[arg(long)]
    pub full: bool,
    /// What is printed
    #[arg(short = 'o', long, value_enum, default_value_t = OutputArg::Text)]
    pub output: OutputArg,
    /// Say more, as `run`
    #[arg(short = 'v', long, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Colours: `auto`, `always` or `never`
    #[arg(long, value_enum, default_value_t = ColourArg::Auto, alias = "colour")]
    pub color: ColourArg,
    /// Wait so long for a host that another run is changing
    #[arg(long, value_name = "SECONDS", default_value_t = 0, hide_default_value = true)]
    pub wait_lock: u64,
}

/// What `runs` prints.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum RunsOutput {
    /// For a person
    #[default]
    Text,
    /// One JSON object a line
    Json,
}

/// `okd-play doc`.
#[derive(Debug, Args)]
pub struct DocArgs {
    /// The module; none lists them all
    pub module: Option<String>,
    /// Describe every module, as one page of Markdown
    #[arg(long, conflicts_with = "module")]
    pub all: bool,
}

/// See [`Transport`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub enum TransportArg {
    /// The agent where it runs, else plain SSH
    #[default]
    Auto,
    /// The agent or nothing
    Agent,
    /// Plain SSH
    Ssh,
}

impl From<TransportArg> for Transport {
    fn from(arg: TransportArg) -> Self {
        match arg {
            TransportArg::Auto => Transport::Auto,
            TransportArg::Agent => Transport::Agent,
            TransportArg::Ssh => Transport::Ssh,
        }
    }
}

/// What `run` prints.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub enum OutputArg {
    /// For a person
    #[default]
    Text,
    /// One JSON object a line
    Json,
    /// JUnit XML, for CI
    Junit,
}

/// When colours are used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub enum ColourArg {
    /// On a terminal, unless `$NO_COLOR` is set
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

impl ColourArg {
    /// Whether the output is coloured.
    #[must_use]
    pub fn on(self) -> bool {
        match self {
            ColourArg::Always => true,
            ColourArg::Never => false,
            ColourArg::Auto => anstream::AutoStream::choice(&std::io::stdout()) != anstream::ColorChoice::Never,
        }
    }
}

/// What `graph` prints.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum GraphFormat {
    /// Graphviz
    #[default]
    Dot,
    /// Mermaid
    Mermaid,
    /// A picture
    Svg,
}

/// What `topology` prints.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum TopologyFormat {
    /// For a terminal
    #[default]
    Table,
    /// A picture
    Svg,
    /// The variable `topology`
    Json,
}
