//! `okd-play vault`: encrypted files by hand. A file is replaced as a whole or not at all, and is never open to others.

use super::args::{SealArgs, VaultAction};
use super::terminal::Terminal;
use super::{End, print, unlock};
use crate::error::{Diagnostic, Diagnostics, Exit};
use crate::vault::{DEFAULT_LABEL, Vault, VaultError, VaultKey, is_encrypted};
use okd_agent::secret::Secret;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{IsTerminal, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

pub(super) fn vault(action: &VaultAction) -> End {
    match action {
        VaultAction::Encrypt(given) => {
            let vault = opened(&given.seal)?;
            let key = sealing(&vault, given.seal.encrypt_vault_id.as_deref())?;
            each(&given.files, |file| {
                let plain = read(file)?;
                if plain.reveal().starts_with(b"$ANSIBLE_VAULT;") {
                    return Err(failed(file, "it is encrypted already"));
                }
                replace(file, sealed(key, plain.reveal())?.as_bytes(), true)
            })
        }
        VaultAction::Decrypt(given) => {
            let vault = opened(&given.seal)?;
            each(&given.files, |file| {
                let (secret, _) = unlocked(&vault, file)?;
                replace(file, secret.reveal(), false)
            })
        }
        VaultAction::View(given) => {
            let vault = opened(&given.seal)?;
            each(&given.files, |file| {
                let (secret, _) = unlocked(&vault, file)?;
                let mut out = std::io::stdout();
                let _ = out.write_all(secret.reveal()).and_then(|()| out.flush());
                Ok(())
            })
        }
        VaultAction::Edit(given) => {
            let vault = opened(&given.seal)?;
            each(&given.files, |file| {
                let (secret, key) = unlocked(&vault, file)?;
                let changed = Draft::new(file, &secret)?.edit()?;
                if changed == secret {
                    return Ok(());
                }
                replace(file, sealed(key, changed.reveal())?.as_bytes(), true)
            })
        }
        VaultAction::EncryptString { name, seal } => {
            let vault = opened(seal)?;
            let key = sealing(&vault, seal.encrypt_vault_id.as_deref())?;
            let text = sealed(key, value()?.reveal())?;
            let mut shown = name.as_ref().map_or_else(String::new, |name| format!("{name}: "));
            shown.push_str("!vault |\n");
            text.lines()
                .for_each(|line| shown.push_str(&format!("          {line}\n")));
            print(&shown);
            Ok(Exit::Ok)
        }
        VaultAction::Rekey {
            files: given,
            new_vault_password_file,
            new_vault_id,
        } => {
            let vault = opened(&given.seal)?;
            let key = match (new_vault_id, new_vault_password_file) {
                (Some(given), _) => unlock::labelled(given)?,
                (None, Some(file)) => unlock::read(DEFAULT_LABEL, file)?,
                (None, None) => twice()?,
            };
            let mut all = Vec::new();
            for file in &given.files {
                all.push((file, unlocked(&vault, file)?.0));
            }
            for (file, secret) in all {
                replace(file, sealed(&key, secret.reveal())?.as_bytes(), true)?;
            }
            Ok(Exit::Ok)
        }
    }
}

/// The passwords given, or one that is asked for.
fn opened(seal: &SealArgs) -> Result<Arc<Vault>, Diagnostic> {
    let vault = unlock::vault(&seal.vault)?;
    if !vault.keys().is_empty() {
        return Ok(vault);
    }
    let key = unlock::asked(DEFAULT_LABEL, "Vault password: ")?;
    Vault::new(vec![key]).map(Arc::new).map_err(|error| wrong(&error))
}

/// The password that encrypts: a choice between several is the person's.
fn sealing<'v>(vault: &'v Vault, label: Option<&str>) -> Result<&'v VaultKey, Diagnostic> {
    let labels: Vec<&str> = vault.keys().iter().map(|key| key.label.as_str()).collect();
    match (vault.keys(), label) {
        ([only], None) => Ok(only),
        (_, None) => Err(Diagnostic::new("vault", "there are several vault passwords")
            .note(format!("their labels: {}", labels.join(", ")))
            .help("say by `--encrypt-vault-id LABEL` which one encrypts")),
        (keys, Some(label)) => keys.iter().find(|key| key.label == label).ok_or_else(|| {
            Diagnostic::new("vault", format!("no vault password has the label `{label}`")).did_you_mean(label, labels)
        }),
    }
}

fn each(files: &[PathBuf], mut work: impl FnMut(&Path) -> Result<(), Diagnostic>) -> End {
    let mut mistakes = Diagnostics::default();
    for file in files {
        if let Err(found) = work(file) {
            mistakes.push(found);
        }
    }
    mistakes.into_result(Exit::Ok)
}

fn wrong(error: &VaultError) -> Diagnostic {
    Diagnostic::new("vault", error.to_string())
}

fn failed(file: &Path, why: impl std::fmt::Display) -> Diagnostic {
    Diagnostic::new("vault", format!("{}: {why}", file.display()))
}

fn sealed(key: &VaultKey, plain: &[u8]) -> Result<String, Diagnostic> {
    key.encrypt(plain).map_err(|error| wrong(&error))
}

fn read(file: &Path) -> Result<Secret, Diagnostic> {
    std::fs::read(file)
        .map(Secret::new)
        .map_err(|error| failed(file, error))
}

fn unlocked<'v>(vault: &'v Vault, file: &Path) -> Result<(Secret, &'v VaultKey), Diagnostic> {
    let bytes = read(file)?;
    let text = String::from_utf8_lossy(bytes.reveal());
    if !is_encrypted(&text) {
        return Err(failed(file, VaultError::NotVault));
    }
    vault
        .unlock(&text)
        .map_err(|error| vault.mistake(&file.display().to_string(), &error))
}

/// What is to be encrypted: typed twice, or the standard input to its end.
fn value() -> Result<Secret, Diagnostic> {
    if std::io::stdin().is_terminal() {
        let answer = Terminal::ask("Value to encrypt: ", true).unwrap_or_default();
        return Ok(Secret::new(answer));
    }
    let mut bytes = Vec::new();
    let read = std::io::stdin().read_to_end(&mut bytes);
    read.map_err(|error| Diagnostic::new("vault", format!("standard input: {error}")))?;
    Ok(Secret::new(bytes))
}

fn twice() -> Result<VaultKey, Diagnostic> {
    let first = unlock::asked(DEFAULT_LABEL, "New vault password: ")?;
    let second = unlock::asked(DEFAULT_LABEL, "New vault password again: ")?;
    match first.password() == second.password() {
        true => Ok(first),
        false => Err(Diagnostic::new("vault-password", "the passwords differ")),
    }
}

/// Puts content in a file's place: written beside it for the owner alone, synced, renamed over it.
fn replace(file: &Path, content: &[u8], encrypted: bool) -> Result<(), Diagnostic> {
    let told = |error: std::io::Error| failed(file, error);
    let target = file.canonicalize().map_err(told)?;
    let meta = target.metadata().map_err(told)?;
    let (Some(folder), Some(name)) = (target.parent(), target.file_name()) else {
        return Err(failed(file, "it is no file"));
    };
    let beside = folder.join(format!(".{}.{}", name.to_string_lossy(), std::process::id()));
    let write = || {
        let mut out = owned(&beside)?;
        out.write_all(content)?;
        let mode = if encrypted {
            meta.mode() & 0o7777
        } else {
            meta.mode() & 0o700
        };
        if (meta.uid(), meta.gid()) != (out.metadata()?.uid(), out.metadata()?.gid()) {
            fchown(&out, Some(meta.uid()), Some(meta.gid()))?;
        }
        out.set_permissions(Permissions::from_mode(mode))?;
        out.sync_all()?;
        std::fs::rename(&beside, &target)?;
        File::open(folder)?.sync_all()
    };
    write().map_err(|error| {
        let _ = std::fs::remove_file(&beside);
        told(error)
    })
}

/// A new file for its owner alone.
fn owned(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// What an encrypted file holds, in the hands of an editor; in memory where the system has a place for that. It is
/// overwritten and removed when dropped.
struct Draft {
    folder: PathBuf,
    file: PathBuf,
}

impl Draft {
    fn new(of: &Path, secret: &Secret) -> Result<Draft, Diagnostic> {
        let told = |error: std::io::Error| failed(of, error);
        let memory = Path::new("/dev/shm");
        let room = if memory.is_dir() {
            memory.to_path_buf()
        } else {
            std::env::temp_dir()
        };
        let mut salt = [0; 8];
        getrandom::fill(&mut salt).map_err(|_| wrong(&VaultError::Random))?;
        let folder = room.join(format!("okd-play-{:016x}", u64::from_be_bytes(salt)));
        std::fs::DirBuilder::new().mode(0o700).create(&folder).map_err(told)?;
        let file = folder.join(of.file_name().unwrap_or_default());
        let draft = Draft { folder, file };
        owned(&draft.file)
            .and_then(|mut out| out.write_all(secret.reveal()))
            .map_err(told)?;
        Ok(draft)
    }

    fn edit(&self) -> Result<Secret, Diagnostic> {
        let editor = ["VISUAL", "EDITOR"]
            .iter()
            .find_map(|name| std::env::var(name).ok().filter(|it| !it.is_empty()));
        let editor = editor.unwrap_or_else(|| "vi".to_owned());
        let status = Command::new("/bin/sh")
            .args(["-c", &format!("{editor} \"$1\""), "edit"])
            .arg(&self.file)
            .status()
            .map_err(|error| Diagnostic::new("vault", format!("{editor}: {error}")))?;
        if !status.success() {
            return Err(Diagnostic::new(
                "vault",
                format!("{editor} ended with {status}; the file is as it was"),
            ));
        }
        read(&self.file)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        let length = self.file.metadata().map_or(0, |meta| meta.len());
        if let Ok(mut file) = OpenOptions::new().write(true).open(&self.file) {
            let _ = file.write_all(&vec![0; length as usize]).and_then(|()| file.sync_all());
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
