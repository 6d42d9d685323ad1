//! What a step brings about: something on a machine, or something through an interface.

use crate::control::ApiKind;
use crate::history::OwnKind;
use crate::media::MediaKind;
use okd_agent::param::ParamError;
use okd_agent::resource::Kind;
use okd_agent::resource::transaction::block::Commit;
use okd_agent::value::Map;
use serde::{Deserialize, Serialize};

/// See the module.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Deed {
    /// On the step's machine.
    Machine(Kind),
    /// From the control node.
    Api(ApiKind),
    /// On the control node.
    Media(MediaKind),
    /// On the step's machine: what a block has staged is put in place.
    Commit(Box<Commit>),
    /// On the step's machine, what only okd-play itself asks for.
    Own(OwnKind),
}

impl Deed {
    /// Makes one from a module's name and its rendered arguments; `None` where no kind has the name.
    #[must_use]
    pub fn decode(name: &str, args: &Map) -> Option<Result<Deed, Vec<ParamError>>> {
        if let Some(kind) = Kind::decode(name, args) {
            return Some(kind.map(Deed::Machine));
        }
        if let Some(kind) = MediaKind::decode(name, args) {
            return Some(kind.map(Deed::Media));
        }
        match OwnKind::decode(name, args) {
            Some(kind) => Some(kind.map(Deed::Own)),
            None => Some(ApiKind::decode(name, args)?.map(Deed::Api)),
        }
    }

    /// The interface that it goes through.
    #[must_use]
    pub fn interface(&self) -> Option<&'static str> {
        match self {
            Deed::Machine(_) | Deed::Media(_) | Deed::Commit(_) | Deed::Own(_) => None,
            Deed::Api(kind) => Some(kind.interface()),
        }
    }

    /// See [`okd_agent::resource::Resource::check`].
    ///
    /// # Errors
    /// One sentence for each contradiction.
    pub fn check(&self) -> Result<(), Vec<String>> {
        match self {
            Deed::Machine(kind) => kind.check(),
            Deed::Api(kind) => kind.check(),
            Deed::Media(kind) => kind.check(),
            Deed::Commit(_) => Ok(()),
            Deed::Own(kind) => kind.check(),
        }
    }
}
