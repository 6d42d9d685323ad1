//! What names a step's input from run to run: a digest of what is asked for, in which a secret is its name alone. Nothing
//! of a secret's bytes goes into it, since it stands in journals.

use super::deed::Deed;
use okd_agent::secret::Secrets;
use okd_agent::wire;
use sha2::{Digest, Sha256};

/// The digest of a step, or of one item of its loop, with the environment of its commands.
pub(super) fn of(deed: &Deed, env: &[(String, String)]) -> u64 {
    let mut bytes = wire::plain(&(deed, env)).unwrap_or_default();
    for placeholder in Secrets::named_in(&bytes) {
        bytes = without_id(&bytes, &placeholder);
    }
    let digest = Sha256::digest(&bytes);
    digest.iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

/// The bytes with a placeholder's name where the placeholder stood.
fn without_id(bytes: &[u8], placeholder: &str) -> Vec<u8> {
    let name = placeholder.rsplit_once(':').map_or(placeholder, |(name, _)| name);
    let mut plain = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(at) = rest
        .windows(placeholder.len())
        .position(|part| part == placeholder.as_bytes())
    {
        plain.extend_from_slice(&rest[..at]);
        plain.extend_from_slice(name.as_bytes());
        rest = &rest[at + placeholder.len()..];
    }
    plain.extend_from_slice(rest);
    plain
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use okd_agent::value::map;

    fn digest(content: &str) -> u64 {
        let args = map([("dest", "/etc/word".into()), ("content", content.into())]);
        of(&Deed::decode("copy", &args).unwrap().unwrap(), &[])
    }

    #[test]
    fn a_secret_is_its_name_alone() {
        let word = |name: &str, id: &str| format!("a={}\nb\n", Secrets::placeholder(name, id));
        assert_eq!(digest(&word("word", "0a1b")), digest(&word("word", "9f8e")));
        assert_ne!(digest(&word("word", "0a1b")), digest(&word("other", "0a1b")));
    }

    #[test]
    fn it_is_the_same_in_every_process() {
        assert_eq!(digest("plain"), 0);
    }
}
