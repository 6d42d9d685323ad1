//! Where the run keeps its secrets: text holds placeholders, the bytes are here, and only the last step before a machine
//! puts them in.

use super::{VaultError, cipher};
use crate::source::FileId;
use crate::template::SecretStore;
use okd_agent::secret::{Secret, Secrets};
use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Shorter lines of a secret may be anything.
const SHORTEST_PART: usize = 12;

/// The secrets of a run.
pub struct Keeper {
    /// Makes the placeholders unguessable.
    key: Secret,
    /// Where others will have the key: what placeholders follow from, by the secret's own digest.
    slow: Option<Mutex<HashMap<Vec<u8>, Secret>>>,
    /// Files in which secrets stand in plain.
    plain: Mutex<HashSet<FileId>>,
    secrets: Mutex<Secrets>,
    /// Placeholders of secrets that are templates.
    templates: Mutex<HashSet<String>>,
}

impl Keeper {
    /// A keeper whose placeholders follow from this key: the same secret has the same placeholder in the next run, and a
    /// kept plan stays readable to who has the key.
    #[must_use]
    pub fn new(key: Secret) -> Self {
        Keeper {
            key,
            slow: None,
            plain: Mutex::default(),
            secrets: Mutex::default(),
            templates: Mutex::default(),
        }
    }

    /// As [`Keeper::new`], for a key that others will have: who has it and a placeholder can try out secrets only slowly.
    #[must_use]
    pub fn open(key: Secret) -> Self {
        Keeper {
            slow: Some(Mutex::default()),
            ..Keeper::new(key)
        }
    }

    /// A keeper whose placeholders are its own.
    ///
    /// # Errors
    /// [`VaultError::Random`] where the system gives no random bytes.
    pub fn random() -> Result<Self, VaultError> {
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(|_| VaultError::Random)?;
        Ok(Keeper::new(Secret::new(key)))
    }

    /// Keeps a secret and gives its placeholder. The name is shown to people. Its lines, and it without the blanks around
    /// it, are secrets too: hosts show them singly.
    pub fn keep(&self, name: &str, secret: Secret) -> String {
        let name: String = name
            .chars()
            .map(|c| {
                if c.is_alphanumeric() || "_-.".contains(c) {
                    c
                } else {
                    '_'
                }
            })
            .collect();
        let bytes = secret.reveal();
        let root = self.root(bytes);
        let lines = bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
        for part in lines
            .chain([bytes.trim_ascii()])
            .filter(|part| part.len() >= SHORTEST_PART && *part != bytes)
        {
            let of_part = match self.slow {
                Some(_) => Secret::new(cipher::digest(root.reveal(), &[part])),
                None => Secret::new(part),
            };
            self.insert(&name, Secret::new(part), &of_part);
        }
        self.insert(&name, secret, &root)
    }

    /// What a secret's placeholders follow from.
    fn root(&self, bytes: &[u8]) -> Secret {
        let Some(known) = &self.slow else {
            return Secret::new(bytes);
        };
        let digest = cipher::digest(self.key.reveal(), &[bytes]);
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        let root = known
            .entry(digest)
            .or_insert_with(|| Secret::new(cipher::stretched(bytes, self.key.reveal())));
        root.clone()
    }

    fn insert(&self, name: &str, secret: Secret, root: &Secret) -> String {
        let id = cipher::digest(self.key.reveal(), &[name.as_bytes(), root.reveal()]);
        let placeholder = Secrets::placeholder(name, &cipher::to_hex(&id[..id.len().min(8)]));
        crate::report::scrub::know(&secret);
        self.lock().insert(placeholder.clone(), secret);
        placeholder
    }

    /// A secret stands in this file in plain.
    pub fn note_plain(&self, file: FileId) {
        self.plain.lock().unwrap_or_else(PoisonError::into_inner).insert(file);
    }

    /// The files in which secrets stand in plain, as far as that is known by what they are.
    #[must_use]
    pub fn plain(&self) -> HashSet<FileId> {
        self.plain.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// As [`Keeper::keep`], for text that is rendered before it is used.
    pub fn keep_template(&self, name: &str, secret: Secret) -> String {
        let placeholder = self.keep(name, secret);
        self.templates
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(placeholder.clone());
        placeholder
    }

    /// Those with these placeholders, for a world that puts the bytes in.
    #[must_use]
    pub fn secrets(&self, names: &[String]) -> Secrets {
        self.lock().of(names)
    }

    /// Text from a host, without the secrets that nobody expected there. Short ones, which may be ordinary words, stay.
    pub(crate) fn mask(&self, bytes: &[u8]) -> Vec<u8> {
        self.lock().mask_long(bytes)
    }

    fn lock(&self) -> MutexGuard<'_, Secrets> {
        self.secrets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Keeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keeper(‹hidden›)")
    }
}

impl SecretStore for Keeper {
    fn reveal(&self, text: &str) -> Option<String> {
        if !Secrets::marked(text) {
            return None;
        }
        let revealed = String::from_utf8(self.lock().reveal(text.as_bytes())).ok()?;
        (revealed != text).then_some(revealed)
    }

    fn derive(&self, name: &str, value: String) -> String {
        self.keep(name, Secret::new(value))
    }

    fn any(&self) -> bool {
        !self.lock().is_empty()
    }

    fn holds(&self, text: &str) -> bool {
        self.mask(text.as_bytes()) != text.as_bytes()
    }

    fn template(&self, placeholder: &str) -> Option<String> {
        let templates = self.templates.lock().unwrap_or_else(PoisonError::into_inner);
        templates
            .contains(placeholder)
            .then(|| self.reveal(placeholder))
            .flatten()
    }
}
