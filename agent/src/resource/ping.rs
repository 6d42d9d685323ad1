//! Whether a machine answers at all.

use super::{Resource, ResourceError, View, Touches};
use crate::diff::Change;
use crate::params;
use crate::path::AbsPath;
use crate::system::System;
use crate::value::{Map, map};
use serde::Serialize;

params! {
    /// Asks the machine for a sign of life; `register` holds `ping: pong`.
    pub struct Ping {
        /// What the answer should be; `crash` makes the step fail.
        data: String = "pong",
    }
}

/// It has answered.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct State;

impl View for State {
    fn changes(&self, _want: &Self) -> Vec<Change> {
        Vec::new()
    }
}

impl Resource for Ping {
    const NAMES: &'static [&'static str] = &["ping", "ansible.builtin.ping"];
    const EXAMPLE: &'static str = "- name: Is it there\n  ping:\n";
    const PREDICTS: &'static str = "everything";
    const TOUCHES: Touches = Touches::Nothing;
    type World = dyn System;
    type State = State;

    fn inspect(&self, world: &Self::World) -> Result<State, ResourceError> {
        if self.data == "crash" {
            return Err(ResourceError::message("boom, as `data: crash` asks for"));
        }
        let root = AbsPath::new("/").map_err(ResourceError::message)?;
        world.stat(&root)?;
        Ok(State)
    }

    fn desire(&self, now: &State) -> Result<State, ResourceError> {
        Ok(now.clone())
    }

    fn apply(&self, _now: &State, _want: &State, _world: &Self::World) -> Result<Map, ResourceError> {
        Ok(Map::new())
    }

    fn result(&self, _state: &State) -> Map {
        map([("ping", self.data.as_str().into())])
    }
}
