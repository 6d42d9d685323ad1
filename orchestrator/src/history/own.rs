//! What only okd-play itself asks for, in playbooks that it makes. Its kinds act on a machine by its verbs, under the same
//! `converge`, from the control node: no agent carries them, so it is done over plain SSH.

use okd_agent::resource::{Failure, Outcome, undo};
use okd_agent::serve::Work;
use okd_agent::system::System;

okd_agent::kinds! {
    /// Any such kind.
    pub enum OwnKind, OWN_KINDS, in (dyn System + 'static) { undo::Undo }
}

impl Work for OwnKind {
    fn converge(&self, world: &(dyn System + 'static), expect: Option<u64>) -> Result<Outcome, Box<Failure>> {
        OwnKind::converge(self, world, expect)
    }

    fn veil(&mut self, _: &dyn Fn(&[u8]) -> Vec<u8>) {}

    fn undoes(&self) -> Option<u64> {
        let OwnKind::Undo(undo) = self;
        Some(undo.ledger())
    }
}
