//! YAML to a tree that keeps the place of every key and scalar, how each scalar was written, and its tag.

use super::Span;

/// A YAML node with its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Where it stands. For an alias: where it is used.
    pub span: Span,
    /// Where its anchor defines it, when it came by an alias or a merge key.
    pub defined: Option<Span>,
    /// An application tag such as `!vault` or `!unsafe`, without core-schema tags.
    pub tag: Option<String>,
    /// What it is.
    pub kind: NodeKind,
}

/// What a node holds. Plain scalars are resolved as Ansible's YAML 1.1 does: `yes/no/on/off` are booleans, `0644` is octal.
#[derive(Debug, Clone, PartialEq)]
pub enum NodeKind {
    /// `null`, `~` or nothing.
    Null,
    /// A boolean.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number with a fraction.
    Float(f64),
    /// Text, with the way it was written.
    Str(String, Style),
    /// A sequence.
    Seq(Vec<Node>),
    /// A mapping in the order written; keys are unique (duplicates are an error), merge keys are resolved.
    Map(Vec<(Node, Node)>),
}

/// How a scalar was written; template offsets map back to the file through it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Without quotes.
    Plain,
    /// `'…'`.
    Single,
    /// `"…"`.
    Double,
    /// `|`.
    Literal,
    /// `>`.
    Folded,
}
