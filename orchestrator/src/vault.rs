//! Ansible Vault: encrypted files and `!vault` values are read into secrets, whose bytes stay with the [`Keeper`].

mod cipher;
mod keeper;
mod reply;

pub use keeper::Keeper;

use crate::error::{Diagnostic, Diagnostics};
use crate::source::yaml::{self, Node, NodeKind, Style};
use crate::source::{FileId, SourceMap};
use crate::template::SecretStore;
use okd_agent::secret::{Secret, Secrets};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

const HEADER: &str = "$ANSIBLE_VAULT;";
const CIPHER: &str = "AES256";
/// The label of a password that has none.
pub const DEFAULT_LABEL: &str = "default";
/// Variables that are passwords wherever they stand.
const PASSWORDS: [&str; 6] = [
    "ansible_become_pass",
    "ansible_become_password",
    "ansible_password",
    "ansible_ssh_pass",
    "ansible_sudo_pass",
    "ansible_ssh_private_key_passphrase",
];

/// Why something cannot be encrypted or decrypted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VaultError {
    /// It does not begin with `$ANSIBLE_VAULT;`.
    #[error("it is not encrypted with Ansible Vault")]
    NotVault,
    /// A version of the format other than 1.1 and 1.2.
    #[error("version `{0}` of the vault format is not supported, only 1.1 and 1.2")]
    Version(String),
    /// A cipher other than AES256.
    #[error("the vault cipher `{0}` is not supported, only AES256")]
    Cipher(String),
    /// The body is not what the cipher makes.
    #[error("the encrypted text is damaged")]
    Malformed,
    /// No password was given.
    #[error("it is encrypted, and no vault password was given")]
    Locked,
    /// No password fits.
    #[error("no vault password fits")]
    Password,
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    Random,
}

/// A vault password with its label (`--vault-id LABEL@FILE`).
#[derive(Debug, Clone)]
pub struct VaultKey {
    /// `default` unless given.
    pub label: String,
    /// Where it is from, for people.
    pub origin: String,
    password: Secret,
}

impl VaultKey {
    /// A password.
    #[must_use]
    pub fn new(label: &str, password: Secret) -> Self {
        VaultKey {
            label: label.to_owned(),
            origin: "a question".to_owned(),
            password,
        }
    }

    /// The password.
    #[must_use]
    pub fn password(&self) -> &Secret {
        &self.password
    }

    /// A password from a file, without the blanks around it; a file that is executable is run, and says it on its output.
    /// One whose name ends in `-client` is told the label, as Ansible does.
    ///
    /// # Errors
    /// `vault-password` where the file cannot be read, the program fails, or nothing comes of it.
    pub fn read(label: &str, path: &Path) -> Result<Self, Diagnostic> {
        let failed = |why: String| {
            let message = format!("cannot take the vault password from {}: {why}", path.display());
            Diagnostic::new("vault-password", message)
        };
        let meta = path.metadata().map_err(|error| failed(error.to_string()))?;
        let bytes = if meta.is_file() && meta.permissions().mode() & 0o111 != 0 {
            let program = path.canonicalize().map_err(|error| failed(error.to_string()))?;
            let client = path
                .file_stem()
                .is_some_and(|stem| stem.to_string_lossy().ends_with("-client"));
            let output = std::process::Command::new(program)
                .args(["--vault-id", label].iter().filter(|_| client))
                .stderr(std::process::Stdio::inherit())
                .output()
                .map_err(|error| failed(error.to_string()))?;
            if !output.status.success() {
                return Err(failed(format!("it ended with {}", output.status)));
            }
            output.stdout
        } else {
            std::fs::read(path).map_err(|error| failed(error.to_string()))?
        };
        match bytes.trim_ascii() {
            [] => Err(failed("it is empty".to_owned())),
            password => Ok(VaultKey {
                origin: path.display().to_string(),
                ..VaultKey::new(label, Secret::new(password))
            }),
        }
    }
}

/// The passwords of a run, and the keeper of what they open.
#[derive(Debug, Clone)]
pub struct Vault {
    keys: Vec<VaultKey>,
    keeper: Arc<Keeper>,
}

/// Whether text begins as an encrypted file does.
#[must_use]
pub fn is_encrypted(text: &str) -> bool {
    text.starts_with(HEADER)
}

impl Vault {
    /// A vault with these passwords. Its placeholders follow from the first one; without any, from random bytes.
    ///
    /// # Errors
    /// [`VaultError::Random`].
    pub fn new(keys: Vec<VaultKey>) -> Result<Self, VaultError> {
        Vault::kept(keys, None)
    }

    /// As [`Vault::new`], for a plan that is kept, which holds the `salt` that placeholders follow from where there is no
    /// password.
    ///
    /// # Errors
    /// [`VaultError::Random`].
    pub fn kept(keys: Vec<VaultKey>, salt: Option<[u8; 32]>) -> Result<Self, VaultError> {
        let keeper = match (keys.first(), salt) {
            (Some(key), _) => Keeper::new(Secret::new(cipher::digest(key.password.reveal(), &[b"placeholders"]))),
            (None, Some(salt)) => Keeper::open(Secret::new(salt)),
            (None, None) => Keeper::random()?,
        };
        Ok(Vault {
            keys,
            keeper: Arc::new(keeper),
        })
    }

    /// Where the secrets are.
    #[must_use]
    pub fn keeper(&self) -> &Arc<Keeper> {
        &self.keeper
    }

    /// Decrypts a whole file's text or a `!vault` value. Passwords with the text's label are tried first.
    ///
    /// # Errors
    /// See [`VaultError`].
    pub fn decrypt(&self, text: &str) -> Result<Secret, VaultError> {
        self.unlock(text).map(|(secret, _)| secret)
    }

    /// As [`Vault::decrypt`], with the password that fits.
    ///
    /// # Errors
    /// See [`VaultError`].
    pub fn unlock(&self, text: &str) -> Result<(Secret, &VaultKey), VaultError> {
        let mut lines = text.trim_start().lines();
        let label = header(lines.next().unwrap_or_default())?;
        let sealed = cipher::Sealed::read(lines)?;
        if self.keys.is_empty() {
            return Err(VaultError::Locked);
        }
        let (fitting, others): (Vec<&VaultKey>, Vec<&VaultKey>) = self.keys.iter().partition(|key| key.label == label);
        for key in fitting.into_iter().chain(others) {
            match sealed.open(key.password.reveal()) {
                Err(VaultError::Password) => {}
                opened => return opened.map(|bytes| (Secret::new(bytes), key)),
            }
        }
        Err(VaultError::Password)
    }

    /// Encrypts with the password of a label, or the first one.
    ///
    /// # Errors
    /// [`VaultError::Locked`] where there is no such password.
    pub fn encrypt(&self, plain: &[u8], label: Option<&str>) -> Result<String, VaultError> {
        let key = self
            .keys
            .iter()
            .find(|key| label.is_none_or(|label| key.label == label));
        key.ok_or(VaultError::Locked)?.encrypt(plain)
    }

    /// The passwords, in the order given.
    #[must_use]
    pub fn keys(&self) -> &[VaultKey] {
        &self.keys
    }

    /// A message that something cannot be decrypted, with what to do about it.
    #[must_use]
    pub fn mistake(&self, what: &str, error: &VaultError) -> Diagnostic {
        let found = Diagnostic::new("vault", format!("cannot decrypt {what}: {error}"));
        match error {
            VaultError::Locked => found.help(
                "give the password by `--vault-password-file FILE`, `--vault-id LABEL@FILE` or `--ask-vault-pass`",
            ),
            VaultError::Password => {
                let tried = self
                    .keys
                    .iter()
                    .map(|key| format!("`{}` from {}", key.label, key.origin));
                found.note(format!("tried {}", tried.collect::<Vec<_>>().join(", ")))
            }
            _ => found,
        }
    }

    /// The placeholder for what a file holds, where it is encrypted.
    ///
    /// # Errors
    /// When it cannot be decrypted.
    pub fn file(&self, path: &Path, bytes: &[u8]) -> Result<Option<String>, Diagnostic> {
        if !bytes.starts_with(HEADER.as_bytes()) {
            return Ok(None);
        }
        let text = String::from_utf8_lossy(bytes);
        let secret = self
            .decrypt(&text)
            .map_err(|error| self.mistake(&path.display().to_string(), &error))?;
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        Ok(Some(self.keeper.keep(&name.unwrap_or_default(), secret)))
    }

    /// A variable as it may be shown: connection passwords that stand in plain are secrets too.
    #[must_use]
    pub fn variable(&self, name: &str, mut value: Node) -> Node {
        self.guard(name, name, &mut value);
        value
    }

    fn guard(&self, name: &str, path: &str, value: &mut Node) {
        let plain = match &value.kind {
            NodeKind::Str(text, _) => !text.is_empty() && !text.contains("{{") && !Secrets::marked(text),
            NodeKind::Int(_) => true,
            _ => false,
        };
        if plain && PASSWORDS.contains(&name) {
            let secret = Secret::new(value.to_value().to_string());
            self.keeper.note_plain(value.span.file);
            value.kind = NodeKind::Str(self.keeper.keep(path, secret), Style::Plain);
        }
    }

    /// As [`yaml::parse`], with all that is encrypted opened: `!vault` values become placeholders, and so does every text
    /// and number of a file that is encrypted as a whole.
    ///
    /// # Errors
    /// What is wrong with the YAML or cannot be decrypted. Mistakes inside an encrypted file are told without its words.
    pub fn parse(&self, sources: &SourceMap, file: FileId) -> Result<Node, Diagnostics> {
        let source = sources.file(file);
        if !is_encrypted(&source.text) {
            let mut node = yaml::parse(sources, file)?;
            let mut mistakes = Diagnostics::default();
            self.open(&mut node, "", false, &mut mistakes);
            return mistakes.into_result(node);
        }
        let name = source.path.display().to_string();
        let end = source.text.lines().next().map_or(0, str::len) as u32;
        let place = crate::source::Span { file, start: 0, end };
        let secret = self
            .decrypt(&source.text)
            .map_err(|error| self.mistake(&name, &error).at(place, ""))?;
        let text = String::from_utf8(secret.reveal().to_vec())
            .map_err(|_| Diagnostic::new("vault", format!("what {name} holds is not UTF-8 text")).at(place, ""))?;
        let hidden = sources.add_hidden(&source.path, text);
        let mut node = yaml::parse(sources, hidden).map_err(silenced)?;
        let mut mistakes = Diagnostics::default();
        self.open(&mut node, "", true, &mut mistakes);
        mistakes.into_result(node)
    }

    /// Puts placeholders for what is secret in a tree. `path` names the place in it.
    fn open(&self, node: &mut Node, path: &str, all: bool, mistakes: &mut Diagnostics) {
        let below = |name: &str| {
            if path.is_empty() {
                name.to_owned()
            } else {
                format!("{path}.{name}")
            }
        };
        let locked = matches!(node.tag.as_deref(), Some("!vault" | "!vault-encrypted"));
        let secret = match &mut node.kind {
            NodeKind::Seq(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    self.open(item, &below(&index.to_string()), all, mistakes);
                }
                return;
            }
            NodeKind::Map(entries) => {
                for (key, value) in entries {
                    let name = key.to_value().to_string();
                    self.open(value, &below(&name), all, mistakes);
                    self.guard(&name, &below(&name), value);
                }
                return;
            }
            NodeKind::Str(text, _) if locked => match self.decrypt(text) {
                Ok(secret) => secret,
                Err(error) => {
                    mistakes.push(self.mistake(&format!("`{path}`"), &error).at(node.span, ""));
                    return;
                }
            },
            NodeKind::Str(text, _) if all && text.is_empty() => return,
            NodeKind::Str(text, _) if all && text.contains(['{']) && crate::template::is_template(text) => {
                node.kind = NodeKind::Str(
                    self.keeper.keep_template(path, Secret::new(text.as_str())),
                    Style::Plain,
                );
                return;
            }
            NodeKind::Str(..) | NodeKind::Int(_) | NodeKind::Float(_) if all => {
                Secret::new(node.to_value().to_string())
            }
            _ => return,
        };
        node.tag = None;
        node.kind = NodeKind::Str(self.keeper.keep(path, secret), Style::Plain);
    }
}

impl VaultKey {
    /// Encrypts with this password.
    ///
    /// # Errors
    /// [`VaultError::Random`].
    pub fn encrypt(&self, plain: &[u8]) -> Result<String, VaultError> {
        let mut salt = [0; 32];
        getrandom::fill(&mut salt).map_err(|_| VaultError::Random)?;
        let body = cipher::seal(self.password.reveal(), plain, &salt)?;
        Ok(match self.label.as_str() {
            DEFAULT_LABEL => format!("{HEADER}1.1;{CIPHER}\n{body}"),
            label => format!("{HEADER}1.2;{CIPHER};{label}\n{body}"),
        })
    }
}

impl SecretStore for Vault {
    fn reveal(&self, text: &str) -> Option<String> {
        self.keeper.reveal(text)
    }

    fn derive(&self, name: &str, value: String) -> String {
        self.keeper.derive(name, value)
    }

    fn any(&self) -> bool {
        self.keeper.any()
    }

    fn holds(&self, text: &str) -> bool {
        self.keeper.holds(text)
    }

    fn template(&self, placeholder: &str) -> Option<String> {
        self.keeper.template(placeholder)
    }

    fn open(&self, path: &Path, text: String) -> Result<String, String> {
        let opened = self.file(path, text.as_bytes()).map_err(|found| found.message)?;
        Ok(opened.unwrap_or(text))
    }
}

/// The label in an encrypted text's first line.
fn header(line: &str) -> Result<&str, VaultError> {
    let rest = line.trim_end().strip_prefix(HEADER).ok_or(VaultError::NotVault)?;
    let mut parts = rest.split(';').map(str::trim);
    let version = parts.next().unwrap_or_default();
    let cipher = parts.next().unwrap_or_default();
    if !["1.1", "1.2"].contains(&version) {
        return Err(VaultError::Version(version.to_owned()));
    }
    if cipher != CIPHER {
        return Err(VaultError::Cipher(cipher.to_owned()));
    }
    Ok(parts.next().unwrap_or(DEFAULT_LABEL))
}

/// Mistakes in a decrypted text: their kind and place, and none of its words.
fn silenced(mistakes: Diagnostics) -> Diagnostics {
    let told = mistakes.into_iter().map(|one| {
        let place = one.labels.first().map(|label| label.span);
        Diagnostic::new(
            one.code,
            "a mistake in what this encrypted file holds; its words are hidden",
        )
        .at_some(place, "")
        .help("decrypt the file and check it there")
    });
    Diagnostics(told.collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    /// Written by `ansible-vault encrypt`, password `pass1`.
    const FILE: &str = "$ANSIBLE_VAULT;1.1;AES256
38356330626131313561383964353037316338333563313066386464323533343035653964323261
3762346338656464636239323963353463386532343535340a346430653534306634323734656335
37613962633634346639623166316431346131306635666336373631306631356634386533393833
3961336531306639320a353434363439623262353666343030363337353465353639383835323038
65633439326533636662366234323734323763303534366165636265333435376533
";
    /// Written by `ansible-vault encrypt_string --vault-id prod@…`, password `pass1`.
    const VALUE: &str = "db: !vault |
          $ANSIBLE_VAULT;1.2;AES256;prod
          32316665346636333439363536346264343435613136636236666134666131613036646266623263
          3664653065386438393838636339383763326530646665320a376232313266643463393066663762
          62326561316137643334316239656531373966643561353866666232343864663062353733356265
          3637663361336261620a366463343739373437313538363065353038616630653436643732663465
          6137
list: [{port: 5}]
";

    fn vault(passwords: &[(&str, &str)]) -> Vault {
        let keys = passwords
            .iter()
            .map(|(label, password)| VaultKey::new(label, Secret::new(*password)));
        Vault::new(keys.collect()).unwrap()
    }

    fn parsed(vault: &Vault, text: &str) -> (SourceMap, Result<Node, Diagnostics>) {
        let sources = SourceMap::default();
        let file = sources.add(Path::new("vars.yml"), text.to_owned());
        let node = vault.parse(&sources, file);
        (sources, node)
    }

    #[test]
    fn opens_what_ansible_sealed() {
        let vault = vault(&[("other", "wrong"), (DEFAULT_LABEL, "pass1")]);
        assert_eq!(vault.decrypt(FILE).unwrap().reveal(), "hello: wörld\nn: 5\n".as_bytes());
        let (_, node) = parsed(&vault, VALUE);
        let node = node.unwrap();
        let shown = node.get("db").unwrap().as_str().unwrap().to_owned();
        assert!(shown.starts_with("‹secret:db:"), "{shown}");
        assert_eq!(
            vault.keeper().reveal(&format!("a {shown} b")).unwrap(),
            "a geheim {{ x }} b"
        );
        assert_eq!(node.get("list").unwrap().to_value().to_string(), r#"[{"port": 5}]"#);
    }

    #[test]
    fn a_whole_encrypted_file_is_secret() {
        let vault = vault(&[(DEFAULT_LABEL, "pass1")]);
        let (sources, node) = parsed(&vault, FILE);
        let node = node.unwrap();
        let hello = node.get("hello").unwrap();
        assert_eq!(vault.keeper().reveal(hello.as_str().unwrap()).unwrap(), "wörld");
        assert_eq!(
            vault.keeper().reveal(node.get("n").unwrap().as_str().unwrap()).unwrap(),
            "5"
        );
        let told = Diagnostic::new("odd", "odd")
            .at(hello.span, "this")
            .render(&sources, false);
        assert!(told.contains("vars.yml:1:8") && !told.contains("wörld"), "{told}");
        let again = parsed(&super::tests::vault(&[(DEFAULT_LABEL, "pass1")]), FILE)
            .1
            .unwrap();
        assert_eq!(again.get("hello").unwrap().as_str(), hello.as_str());
    }

    #[test]
    fn mistakes_inside_keep_silent() {
        let vault = vault(&[(DEFAULT_LABEL, "p")]);
        let sealed = vault.encrypt(b"canary: canary: canary\n", None).unwrap();
        let (sources, node) = parsed(&vault, &sealed);
        let told = node.unwrap_err().render(&sources, true);
        assert!(!told.contains("canary") && told.contains("vars.yml:1:"), "{told}");
    }

    #[test]
    fn seals_as_ansible_does() {
        let (first, body) = FILE.split_once('\n').unwrap();
        let sealed = cipher::Sealed::read(body.lines()).unwrap();
        let salt: [u8; 32] = sealed.salt.try_into().unwrap();
        let again = cipher::seal(b"pass1", "hello: wörld\nn: 5\n".as_bytes(), &salt).unwrap();
        assert_eq!((header(first), again.as_str()), (Ok(DEFAULT_LABEL), body));
    }

    #[test]
    fn seals_and_opens() {
        let vault = vault(&[(DEFAULT_LABEL, "pässword"), ("prod", "two")]);
        for (plain, label) in [
            ("", None),
            ("sixteen bytes ..", None),
            (&*"long ".repeat(100), Some("prod")),
        ] {
            let sealed = vault.encrypt(plain.as_bytes(), label).unwrap();
            assert!(sealed.lines().all(|line| line.len() <= 80));
            assert_eq!(vault.decrypt(&sealed).unwrap().reveal(), plain.as_bytes());
        }
        assert!(
            vault
                .encrypt(b"x", Some("prod"))
                .unwrap()
                .starts_with("$ANSIBLE_VAULT;1.2;AES256;prod\n")
        );
        assert_eq!(vault.encrypt(b"x", Some("none")), Err(VaultError::Locked));
    }

    #[test]
    fn refuses_with_the_reason() {
        let none = vault(&[]);
        let wrong = vault(&[(DEFAULT_LABEL, "wrong")]);
        assert_eq!(none.decrypt(FILE), Err(VaultError::Locked));
        assert_eq!(wrong.decrypt(FILE), Err(VaultError::Password));
        assert_eq!(wrong.decrypt("x"), Err(VaultError::NotVault));
        assert_eq!(
            wrong.decrypt("$ANSIBLE_VAULT;1.0;AES\n00"),
            Err(VaultError::Version("1.0".into()))
        );
        assert_eq!(
            wrong.decrypt("$ANSIBLE_VAULT;1.1;AES\n00"),
            Err(VaultError::Cipher("AES".into()))
        );
        for body in ["", "zz", "0", "00", "6162", "0a0a", "610a620a"] {
            assert_eq!(
                wrong.decrypt(&format!("$ANSIBLE_VAULT;1.1;AES256\n{body}")),
                Err(VaultError::Malformed),
                "{body}"
            );
        }
        let (sources, node) = parsed(&none, VALUE);
        let told = node.unwrap_err().render(&sources, false);
        assert!(
            told.starts_with("error[vault]: cannot decrypt `db`: it is encrypted, and no vault password was given"),
            "{told}"
        );
        let (sources, node) = parsed(&none, FILE);
        assert!(
            node.unwrap_err()
                .render(&sources, false)
                .contains("cannot decrypt vars.yml")
        );
    }

    #[test]
    fn passwords_come_from_files_and_programs() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "pass1\n").unwrap();
        let program = dir.path().join("program");
        std::fs::write(&program, "#!/bin/sh\necho pass1\n").unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
        for path in [&file, &program] {
            let key = VaultKey::read(DEFAULT_LABEL, path).unwrap();
            assert!(Vault::new(vec![key]).unwrap().decrypt(FILE).is_ok());
        }
        std::fs::write(&file, "\n").unwrap();
        assert_eq!(VaultKey::read("x", &file).unwrap_err().code, "vault-password");
    }
}
