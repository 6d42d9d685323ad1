//! Boot media: images that are made on the control node and uploaded from there. Their kinds act on this machine's files like
//! those of any machine, under the same `converge`, but only here: no agent carries them, and images too large for memory are
//! worked on in place.

pub mod coreos;
mod iso9660;
#[cfg(test)]
mod laws;
pub mod nocloud;

use okd_agent::resource::{Failure, Outcome, Resource};
use okd_agent::serve::Work;
use okd_agent::system::System;

okd_agent::kinds! {
    /// Any kind of the control node's own.
    pub enum MediaKind, MEDIA_KINDS, in (dyn System + 'static) { coreos::CoreosIso, nocloud::NocloudIso }
}

impl Work for MediaKind {
    fn converge(&self, world: &(dyn System + 'static), expect: Option<u64>) -> Result<Outcome, Box<Failure>> {
        MediaKind::converge(self, world, expect)
    }

    fn veil(&mut self, as_read: &dyn Fn(&[u8]) -> Vec<u8>) {
        match self {
            MediaKind::CoreosIso(kind) => kind.veil(as_read),
            MediaKind::NocloudIso(kind) => kind.veil(as_read),
        }
    }
}
