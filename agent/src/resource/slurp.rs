//! A file's content brought to the orchestrator, for later steps.

use super::content::{promised, resolve};
use super::{Resource, ResourceError, View, Touches};
use crate::diff::Change;
use crate::params;
use crate::path::AbsPath;
use crate::system::{System, SystemError};
use crate::value::{Map, map};
use serde::Serialize;

/// The most that is brought, in bytes: it goes through variables and templates.
const READ_LIMIT: u64 = 32 << 20;

params! {
    /// Reads a file of the machine; `register` holds `content`, in base64.
    pub struct Slurp {
        /// The file.
        src: AbsPath ["path"],
    }
}

/// The content.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct State(Vec<u8>);

impl View for State {
    fn changes(&self, _want: &Self) -> Vec<Change> {
        Vec::new()
    }
}

/// Base64 with padding, RFC 4648 section 4.
#[must_use]
pub fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let number = (0..3).fold(0_u32, |number, at| number << 8 | u32::from(chunk.get(at).copied().unwrap_or(0)));
        for digit in 0..4 {
            let value = (number >> (18 - 6 * digit)) & 63;
            out.push(if digit > chunk.len() { '=' } else { DIGITS[value as usize] as char });
        }
    }
    out
}

impl Resource for Slurp {
    const NAMES: &'static [&'static str] = &["slurp", "ansible.builtin.slurp"];
    const EXAMPLE: &'static str = "- name: Fetch the host key\n  slurp:\n    src: /etc/ssh/ssh_host_ed25519_key.pub\n  register: host_key\n";
    const PREDICTS: &'static str = "everything; a file that an earlier step will bring is unknown until applied";
    const TOUCHES: Touches = Touches::Nothing;
    type World = dyn System;
    type State = State;

    fn inspect(&self, world: &Self::World) -> Result<State, ResourceError> {
        if let Some(bytes) = world.read(&resolve(&self.src, world)?, READ_LIMIT)? {
            return Ok(State(bytes));
        }
        match promised(world) {
            Some(packages) => Err(SystemError::Unknown(format!("reads {}, which {packages} may bring", self.src)).into()),
            None => Err(ResourceError::message(format!("there is no file {}", self.src))),
        }
    }

    fn desire(&self, now: &State) -> Result<State, ResourceError> {
        Ok(now.clone())
    }

    fn apply(&self, _now: &State, _want: &State, _world: &Self::World) -> Result<Map, ResourceError> {
        Ok(Map::new())
    }

    fn result(&self, state: &State) -> Map {
        map([
            ("content", base64(&state.0).into()),
            ("encoding", "base64".into()),
            ("source", self.src.as_str().into()),
        ])
    }
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::resource::content::given;
    use crate::resource::converge;
    use crate::resource::laws::laws;
    use crate::system::fake::Fake;

    #[test]
    fn base64_is_that_of_the_rfc() {
        for (plain, encoded) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
        assert_eq!(base64(&[0xff, 0xfe, 0xfd]), "//79");
    }

    #[test]
    pub(crate) fn slurp_keeps_the_laws() {
        let world = || Fake::new().file("/etc/x", "foo").link("/etc/l", "x");
        laws(&given::<Slurp>(&[("src", "/etc/l")]), world);
        laws(&given::<Slurp>(&[("src", "/etc/none")]), world);
        let slurp: Slurp = given(&[("src", "/etc/l")]);
        let outcome = converge(&slurp, &world() as &(dyn System + 'static), None).unwrap();
        assert_eq!(outcome.result["content"].as_str(), Some("Zm9v"));
    }
}
