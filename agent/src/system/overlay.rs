//! The predicted world: reads fall through to the machine below, writes stay in memory.
