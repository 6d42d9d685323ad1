//! Vault passwords from the command line: files, programs, questions.

use super::args::VaultArgs;
use super::terminal::Terminal;
use crate::error::Diagnostic;
use crate::report::scrub;
use crate::vault::{DEFAULT_LABEL, Vault, VaultKey};
use okd_agent::secret::Secret;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The vault that these passwords open; without any, one that refuses what is encrypted.
///
/// # Errors
/// `vault-password` where a password cannot be had.
pub(super) fn vault(args: &VaultArgs) -> Result<Arc<Vault>, Diagnostic> {
    kept(keys(args)?, None)
}

/// As [`vault`], for a plan that is kept; see [`Vault::kept`].
///
/// # Errors
/// Where the system gives no random bytes.
pub(super) fn kept(keys: Vec<VaultKey>, salt: Option<[u8; 32]>) -> Result<Arc<Vault>, Diagnostic> {
    let vault = Vault::kept(keys, salt).map_err(|error| Diagnostic::new("vault", error.to_string()))?;
    Ok(Arc::new(vault))
}

/// The passwords that the command line gives.
///
/// # Errors
/// As [`vault`].
pub(super) fn keys(args: &VaultArgs) -> Result<Vec<VaultKey>, Diagnostic> {
    let mut keys = Vec::new();
    for given in &args.vault_id {
        keys.push(labelled(given)?);
    }
    let mut files = args.vault_password_file.clone();
    if files.is_empty() {
        let named = std::env::var_os("ANSIBLE_VAULT_PASSWORD_FILE").filter(|path| !path.is_empty());
        files.extend(named.map(PathBuf::from));
    }
    for file in &files {
        keys.push(read(DEFAULT_LABEL, file)?);
    }
    if args.ask_vault_pass {
        keys.push(asked(DEFAULT_LABEL, "Vault password: ")?);
    }
    Ok(keys)
}

/// `[LABEL@]FILE`, or `[LABEL@]prompt`.
///
/// # Errors
/// As [`vault`].
pub(super) fn labelled(given: &str) -> Result<VaultKey, Diagnostic> {
    let (label, source) = given.split_once('@').unwrap_or((DEFAULT_LABEL, given));
    let label = if label.is_empty() { DEFAULT_LABEL } else { label };
    match source {
        "prompt" | "prompt_ask_vault_pass" => asked(label, &format!("Vault password ({label}): ")),
        file => read(label, Path::new(file)),
    }
}

/// The password in a file, or that a program prints.
///
/// # Errors
/// As [`vault`].
pub(super) fn read(label: &str, file: &Path) -> Result<VaultKey, Diagnostic> {
    let file = match file.strip_prefix("~") {
        Ok(rest) => std::env::home_dir().unwrap_or_default().join(rest),
        Err(_) => file.to_path_buf(),
    };
    let key = VaultKey::read(label, &file)?;
    scrub::know(key.password());
    Ok(key)
}

/// The password that a person types.
///
/// # Errors
/// As [`vault`].
pub(super) fn asked(label: &str, question: &str) -> Result<VaultKey, Diagnostic> {
    let Some(answer) = Terminal::ask(question, true) else {
        let said = "a vault password is asked for, and there is no terminal to ask on";
        return Err(Diagnostic::new("no-terminal", said).help("`--vault-password-file FILE` reads it from a file"));
    };
    if answer.is_empty() {
        return Err(Diagnostic::new("vault-password", "the vault password is empty"));
    }
    let key = VaultKey::new(label, Secret::new(answer));
    scrub::know(key.password());
    Ok(key)
}
