//! Everything that happens on a machine: the resources, the worlds they act in, and the frames by which the
//! orchestrator speaks to the agent that it pushes there. No async runtime, no YAML, no templates, no terminal.

pub mod diff;
mod inbox;
pub mod ledger;
pub mod order;
pub mod pack;
pub mod param;
pub mod path;
pub mod resource;
pub mod secret;
pub mod seen;
pub mod serve;
pub mod system;
mod turn;
pub mod value;
pub mod wire;

pub use inbox::Stop;
pub use turn::Turn;
pub use value::Value;
