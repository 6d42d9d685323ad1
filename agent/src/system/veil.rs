//! Puts secrets in on the way to a machine and takes them out on the way back.

use super::{Action, Alter, Answer, Entry, FileWrite, Make, Meta, Probe, Removal, Staged, System, SystemError};
use crate::path::AbsPath;
use crate::secret::Secrets;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A machine that is told secrets where others see placeholders.
pub struct Veil {
    under: Arc<dyn System>,
    secrets: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    secrets: Secrets,
    /// The placeholders that the step at work names; `None` where that is not known.
    expected: Option<Vec<String>>,
}

impl Known {
    fn mask(&self, bytes: &[u8]) -> Vec<u8> {
        match &self.expected {
            Some(names) => self.secrets.mask_expecting(bytes, names),
            None => self.secrets.mask(bytes),
        }
    }
}

impl Veil {
    /// A veil that knows no secret yet.
    #[must_use]
    pub fn new(under: Arc<dyn System>) -> Self {
        Veil {
            under,
            secrets: Mutex::default(),
        }
    }

    /// Adds secrets to those that are known.
    pub fn learn(&self, secrets: Secrets) {
        self.lock().secrets.merge(secrets);
    }

    /// Whether it knows any.
    #[must_use]
    pub fn knows(&self) -> bool {
        !self.lock().secrets.is_empty()
    }

    /// A step begins that names these placeholders; see [`Secrets::mask_expecting`].
    pub fn expect(&self, names: Vec<String>) {
        self.lock().expected = Some(names);
    }

    /// Bytes as they will be read back once they have been written: plain text that happens to be a secret is one.
    #[must_use]
    pub fn as_read(&self, bytes: &[u8]) -> Vec<u8> {
        let known = self.lock();
        known.mask(&known.secrets.reveal(bytes))
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.secrets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes with the secrets that are known in the place of their placeholders.
    pub(crate) fn reveal(&self, bytes: &[u8]) -> Vec<u8> {
        self.lock().secrets.reveal(bytes)
    }

    fn reveal_text(&self, text: &str) -> Result<String, SystemError> {
        String::from_utf8(self.reveal(text.as_bytes()))
            .map_err(|_| SystemError::Secret("a secret that is not text cannot stand in the environment".to_owned()))
    }

    fn reveal_env(&self, env: &[(String, String)]) -> Result<Vec<(String, String)>, SystemError> {
        env.iter()
            .map(|(name, value)| Ok((name.clone(), self.reveal_text(value)?)))
            .collect()
    }

    fn mask(&self, bytes: &[u8]) -> Vec<u8> {
        self.lock().mask(bytes)
    }

    fn mask_text(&self, text: &str) -> String {
        String::from_utf8_lossy(&self.mask(text.as_bytes())).into_owned()
    }

    fn mask_answer(&self, answer: Answer) -> Answer {
        Answer {
            stdout: self.mask(&answer.stdout),
            stderr: self.mask(&answer.stderr),
            ..answer
        }
    }

    fn mask_error(&self, error: SystemError) -> SystemError {
        let text = |text: String| self.mask_text(&text);
        let texts = |texts: Vec<String>| texts.into_iter().map(text).collect();
        match error {
            SystemError::Io { verb, path, reason } => SystemError::Io {
                verb,
                path: text(path),
                reason: text(reason),
            },
            SystemError::WrongKind { path, expected, found } => SystemError::WrongKind {
                path: text(path),
                expected,
                found,
            },
            SystemError::TooLarge { path, size, limit } => SystemError::TooLarge {
                path: text(path),
                size,
                limit,
            },
            SystemError::NoSuchId { kind, name } => SystemError::NoSuchId { kind, name: text(name) },
            SystemError::Refused { path, argv, answer } => SystemError::Refused {
                path: text(path),
                argv: texts(argv),
                answer: self.mask_answer(answer),
            },
            SystemError::Command { argv, reason } => SystemError::Command {
                argv: texts(argv),
                reason: text(reason),
            },
            SystemError::Timeout { argv, seconds } => SystemError::Timeout {
                argv: texts(argv),
                seconds,
            },
            SystemError::Lost(reason) => SystemError::Lost(text(reason)),
            SystemError::Unknown(reason) => SystemError::Unknown(text(reason)),
            SystemError::Moved(path) => SystemError::Moved(text(path)),
            SystemError::Guard(reason) => SystemError::Guard(text(reason)),
            SystemError::Busy { by } => SystemError::Busy { by },
            SystemError::Secret(reason) => SystemError::Secret(text(reason)),
        }
    }
}

/// Refuses placeholders where everyone on the machine could read what they stand for.
fn public<'a>(what: &str, texts: impl IntoIterator<Item = &'a str>) -> Result<(), SystemError> {
    if texts.into_iter().any(Secrets::marked) {
        Err(SystemError::Secret(what.to_owned()))
    } else {
        Ok(())
    }
}

fn public_argv(argv: &[String]) -> Result<(), SystemError> {
    public(
        "a secret may not stand in a command's arguments; give it by `stdin` or `environment`",
        argv.iter().map(String::as_str),
    )
}

fn public_path(path: &AbsPath) -> Result<(), SystemError> {
    public("a secret may not stand in a path", [path.as_str()])
}

impl System for Veil {
    fn stat(&self, path: &AbsPath) -> Result<Option<Meta>, SystemError> {
        public_path(path)?;
        let meta = self.under.stat(path).map_err(|error| self.mask_error(error))?;
        Ok(meta.map(|meta| Meta {
            target: meta.target.map(|target| self.mask_text(&target)),
            ..meta
        }))
    }

    fn read(&self, path: &AbsPath, limit: u64) -> Result<Option<Vec<u8>>, SystemError> {
        public_path(path)?;
        let bytes = self.under.read(path, limit).map_err(|error| self.mask_error(error))?;
        Ok(bytes.map(|bytes| self.mask(&bytes)))
    }

    fn list(&self, dir: &AbsPath) -> Result<Vec<Entry>, SystemError> {
        public_path(dir)?;
        self.under.list(dir).map_err(|error| self.mask_error(error))
    }

    fn probe(&self, probe: &Probe) -> Result<Answer, SystemError> {
        public_argv(&probe.argv)?;
        let stage = probe.stage.iter().map(|file| {
            public("a secret may not stand in a path", [file.path.as_str()])?;
            Ok(Staged {
                path: file.path.clone(),
                bytes: self.reveal(&file.bytes),
            })
        });
        let revealed = Probe {
            stdin: self.reveal(&probe.stdin),
            env: self.reveal_env(&probe.env)?,
            stage: stage.collect::<Result<_, SystemError>>()?,
            key: probe.key.clone(),
            argv: probe.argv.clone(),
            timeout: probe.timeout,
        };
        let answer = self.under.probe(&revealed).map_err(|error| self.mask_error(error))?;
        Ok(self.mask_answer(answer))
    }

    fn write(&self, file: &FileWrite) -> Result<(), SystemError> {
        public_path(&file.path)?;
        public_argv(file.validate.as_deref().unwrap_or_default())?;
        public(
            "a secret may not name an owner",
            file.owner.iter().chain(&file.group).map(String::as_str),
        )?;
        let bytes = self.reveal(&file.bytes);
        let revealed = FileWrite {
            path: file.path.clone(),
            secret: file.secret || bytes != file.bytes,
            bytes,
            mode: file.mode,
            owner: file.owner.clone(),
            group: file.group.clone(),
            validate: file.validate.clone(),
            replaces_link: file.replaces_link,
        };
        self.under.write(&revealed).map_err(|error| self.mask_error(error))
    }

    fn make(&self, path: &AbsPath, kind: &Make) -> Result<(), SystemError> {
        public_path(path)?;
        match kind {
            Make::Link { target } => public("a secret may not stand in a link", [target.as_str()])?,
            Make::Hard { source } => public_path(source)?,
            Make::Directory { .. } => {}
        }
        self.under.make(path, kind).map_err(|error| self.mask_error(error))
    }

    fn alter(&self, path: &AbsPath, change: &Alter) -> Result<(), SystemError> {
        public_path(path)?;
        public(
            "a secret may not name an owner",
            change.owner.iter().chain(&change.group).map(String::as_str),
        )?;
        self.under.alter(path, change).map_err(|error| self.mask_error(error))
    }

    fn remove(&self, path: &AbsPath, how: Removal) -> Result<(), SystemError> {
        public_path(path)?;
        self.under.remove(path, how).map_err(|error| self.mask_error(error))
    }

    fn act(&self, action: &Action) -> Result<Answer, SystemError> {
        public_argv(&action.argv)?;
        action.cwd.iter().try_for_each(public_path)?;
        let revealed = Action {
            argv: action.argv.clone(),
            stdin: self.reveal(&action.stdin),
            env: self.reveal_env(&action.env)?,
            cwd: action.cwd.clone(),
            timeout: action.timeout,
            effect: action.effect.clone(),
        };
        let answer = self.under.act(&revealed).map_err(|error| self.mask_error(error))?;
        Ok(self.mask_answer(answer))
    }

    fn promised(&self) -> Vec<String> {
        self.under.promised()
    }

    fn predicted(&self) -> bool {
        self.under.predicted()
    }
}
