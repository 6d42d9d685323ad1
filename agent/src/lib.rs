//! Everything that happens on a machine: the resources, the worlds they act in, and the frames by which the
//! orchestrator speaks to the agent that it pushes there. No async runtime, no YAML, no templates, no terminal.

pub mod value;

pub use value::Value;
