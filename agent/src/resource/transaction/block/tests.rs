//! A block
