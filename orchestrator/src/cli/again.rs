//! What a command line said of the inventory, of variables and of connections, as words for the command that tries only a
//! part of it again.

use super::args::{RunArgs, TransportArg};

/// The words; values of variables are left out, since one may be a secret.
pub(super) fn words(args: &RunArgs) -> Vec<String> {
    let mut words = Vec::new();
    let mut with = |flag: &str, value: Option<String>| {
        if let Some(value) = value {
            words.extend([flag.to_owned(), value]);
        }
    };
    let path = |path: &std::path::PathBuf| path.display().to_string();
    for inventory in &args.site.inventory {
        with("-i", Some(inventory.clone()));
    }
    for given in &args.site.extra_vars {
        with("-e", Some(variable(given)));
    }
    let vault = &args.site.vault;
    for file in &vault.vault_password_file {
        with("--vault-password-file", Some(path(file)));
    }
    for given in &vault.vault_id {
        with("--vault-id", Some(given.clone()));
    }
    let link = &args.link;
    with("-u", link.user.clone());
    with("-c", link.connection.clone());
    with("--private-key", link.private_key.as_ref().map(path));
    with("--become-user", link.become_user.clone());
    with("--become-password-file", link.become_password_file.as_ref().map(path));
    with("--ssh-common-args", link.ssh_common_args.clone());
    with("--ssh-extra-args", link.ssh_extra_args.clone());
    let transport = match link.transport {
        TransportArg::Auto => None,
        TransportArg::Agent => Some("agent".to_owned()),
        TransportArg::Ssh => Some("ssh".to_owned()),
    };
    with("--transport", transport);
    for (flag, set) in [
        ("-b", link.r#become),
        ("-J", vault.ask_vault_pass),
        ("-K", link.ask_become_pass),
        ("--check", args.check),
        ("--yes", args.yes),
    ] {
        if set {
            words.push(flag.to_owned());
        }
    }
    words
}

fn variable(given: &str) -> String {
    match given.split_once('=') {
        _ if given.starts_with('@') => given.to_owned(),
        Some((name, _)) if !given.starts_with('{') => format!("{name}=…"),
        _ => "{…}".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::{Cli, Command};
    use clap::Parser;

    #[test]
    fn the_way_to_the_hosts_is_kept_and_values_are_not() {
        let line = "okd-play run site.yml -i lab/ -i web1, -e @vars.yml -e password=x --transport ssh -b -u auto --limit web1 -t dns";
        let Command::Run(args) = Cli::parse_from(line.split(' ')).command else {
            unreachable!()
        };
        assert_eq!(
            words(&args).join(" "),
            "-i lab/ -i web1, -e @vars.yml -e password=… -u auto --transport ssh -b"
        );
    }
}
