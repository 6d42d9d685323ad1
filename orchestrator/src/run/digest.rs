//! What names a step's input: digests of what is asked for.

use super::deed::Deed;
use okd_agent::secret::Secrets;
use okd_agent::wire;
use sha2::{Digest, Sha256};

/// The digests of a step, or of one item of its loop, with the environment of its commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Digests {
    /// Of all of it. A secret is its placeholder.
    pub(super) exact: u64,
    /// The same in every process: a secret is its name alone, and nothing of its bytes goes into it, since it stands in
    /// journals.
    pub(super) lasting: u64,
}

impl Digests {
    pub(super) fn of(deed: &Deed, env: &[(String, String)]) -> Digests {
        let mut bytes = wire::plain(&(deed, env)).unwrap_or_default();
        let exact = digest(&bytes);
        for placeholder in Secrets::named_in(&bytes) {
            bytes = without_id(&bytes, &placeholder);
        }
        Digests {
            exact,
            lasting: digest(&bytes),
        }
    }
}

fn digest(bytes: &[u8]) -> u64 {
    let digest = Sha256::digest(bytes);
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

    fn digests(name: &str, id: &str) -> Digests {
        let content = format!("a={}\nb\n", Secrets::placeholder(name, id));
        let args = map([("dest", "/etc/word".into()), ("content", content.into())]);
        Digests::of(&Deed::decode("copy", &args).unwrap().unwrap(), &[])
    }

    #[test]
    fn what_lasts_knows_a_secret_by_its_name_alone() {
        let (one, other) = (digests("word", "0a1b"), digests("word", "9f8e"));
        assert_eq!(one.lasting, other.lasting);
        assert_ne!(one.exact, other.exact);
        assert_ne!(one.lasting, digests("other", "0a1b").lasting);
    }
}
