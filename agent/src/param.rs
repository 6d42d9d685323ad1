//! A kind's parameters, said once: `params!` makes the struct, its decoder, its form on the wire, and the table that documentation, checks
//! and "did you mean" are made from.

use crate::pack::{self, Pack, Reader};
use crate::path::{AbsPath, Mode};
use crate::value::{Map, Value};

/// One parameter, as documentation and error messages show it.
#[derive(Debug)]
pub struct Param {
    /// The name in playbooks.
    pub name: &'static str,
    /// Further names for it.
    pub aliases: &'static [&'static str],
    /// What it holds.
    pub kind: ParamKind,
    /// The default as a person would type it.
    pub default: Option<&'static str>,
    /// Whether leaving it out is an error.
    pub required: bool,
    /// What it means, one entry a line.
    pub doc: &'static [&'static str],
}

/// A table of parameters with its documentation.
#[derive(Debug)]
pub struct Spec {
    /// What the whole is for, one entry a line.
    pub doc: &'static [&'static str],
    /// Its parameters.
    pub params: &'static [Param],
}

/// What a parameter holds.
#[derive(Debug, Clone, Copy)]
pub enum ParamKind {
    /// Text; numbers and booleans are taken as they were written.
    Str,
    /// `true`/`false`, `yes`/`no`.
    Bool,
    /// A whole number.
    Int,
    /// A number.
    Float,
    /// An absolute path.
    Path,
    /// Permission bits.
    Mode,
    /// One of some words.
    OneOf(&'static [&'static str]),
    /// A list; a single value stands for a list of one, and text is split at commas.
    List(&'static ParamKind),
    /// A mapping with its own table.
    Dict(&'static Spec),
    /// A mapping from free names to values of one kind.
    MapOf(&'static ParamKind),
    /// Anything.
    Any,
}

/// What is wrong with one argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParamError {
    /// Keys and indices from the arguments' root to the place.
    pub path: Vec<String>,
    /// What is wrong there.
    pub problem: Problem,
}

/// See [`ParamError`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// No such parameter; the names that there are.
    Unknown(Vec<&'static str>),
    /// A parameter that has to be given is not.
    Missing(&'static str),
    /// The same parameter under two names.
    Twice(&'static str),
    /// The value does not fit: what was expected, and where one of some words was, those words.
    Invalid(String, Vec<&'static str>),
}

impl ParamError {
    /// An ill-fitting value at the place itself.
    #[must_use]
    pub fn invalid(expected: impl Into<String>) -> Vec<Self> {
        vec![ParamError {
            path: Vec::new(),
            problem: Problem::Invalid(expected.into(), Vec::new()),
        }]
    }

    fn below(errors: Vec<Self>, key: &str) -> Vec<Self> {
        errors
            .into_iter()
            .map(|mut error| {
                error.path.insert(0, key.to_owned());
                error
            })
            .collect()
    }
}

/// A type that a parameter can have.
pub trait FromParam: Sized {
    /// How documentation names it.
    const KIND: ParamKind;

    /// Takes a rendered value.
    ///
    /// # Errors
    /// Every mistake in the value, with its place inside it.
    fn from_param(value: &Value) -> Result<Self, Vec<ParamError>>;

    /// What leaving it out means; `None` makes the parameter required.
    #[must_use]
    fn absent() -> Option<Self> {
        None
    }
}

/// A struct made by [`params!`](crate::params).
pub trait Params: Sized {
    /// Its table.
    const SPEC: Spec;

    /// Makes it from rendered arguments.
    ///
    /// # Errors
    /// Every mistake in the arguments.
    fn decode(args: &Map) -> Result<Self, Vec<ParamError>>;
}

impl FromParam for String {
    const KIND: ParamKind = ParamKind::Str;
    fn from_param(value: &Value) -> Result<Self, Vec<ParamError>> {
        match value {
            Value::Str(text) => Ok(text.clone()),
            Value::Int(_) | Value::Float(_) | Value::Bool(_) => Ok(match value {
                Value::Bool(true) => "True".to_owned(),
                Value::Bool(false) => "False".to_owned(),
                other => other.to_string(),
            }),
            other => Err(ParamError::invalid(format!("a string, not {}", other.type_name()))),
        }
    }
}

impl FromParam for bool {
    const KIND: ParamKind = ParamKind::Bool;
    fn from_param(value: &Value) -> Result<Self, Vec<ParamError>> {
        value
            .to_bool()
            .ok_or_else(|| ParamError::invalid(format!("true or false, not {}", shown(value))))
    }
}

impl FromParam for i64 {
    const KIND: ParamKind = ParamKind::Int;
    fn from_param(value: &Value) -> Result<Self, Vec<ParamError>> {
        match value {
            Value::Int(number) => Some(*number),
            Value::Float(number) if number.fract() == 0.0 => Some(*number as i64),
            Value::Str(text) => text.trim().parse().ok(),
            _ => None,
        }
        .ok_or_else(|| ParamError::invalid(format!("a whole number, not {}", shown(value))))
    }
}

impl FromParam for u64 {
    const KIND: ParamKind = ParamKind::Int;
    fn from_param(value: &Value) -> Result<Self, Vec<ParamError>> {
        let number = i64::from_param(value)?;
        u64::try_from(number).map_err(|_| ParamError::invalid(format!("a number from 0 on, not {number}")))
    }
}

impl FromParam for u16 {
    const KIND: ParamKind = ParamKind::Int;
    fn from_param(value: &Value) -> Result<Self, Vec<ParamError>> {
        let number = i64::from_param(value)?;
        u16::try_from(number).map_err(|_| ParamError::invalid(format!("a number from 0 to 65535, not {number}")))
    }
}

impl FromParam for f64 {
    const KIND: ParamKind = ParamKind::Float;
    fn from_param(value: &Value) -> Result<Self, Vec<ParamError>> {
        match value {
            Value::Int(number) => Some(*number as f64),
            Value::Float(number) => Some(*number),
            Value::Str(text) => text.trim().parse().ok(),
            _ => None,
        }
        .ok_or_else(|| ParamError::invalid(format!("a number, not {}", shown(value))))
    }
}

impl FromParam for AbsPath {
    const KIND: ParamKind = ParamKind::Path;
    fn from_param(value: &Value) -> Result<Self, Vec<ParamError>> {
        AbsPath::new(&String::from_param(value)?).map_err(ParamError::invalid)
    }
}

impl FromParam for Mode {
    const KIND: ParamKind = ParamKind::Mode;
    fn from_param(value: &Value) -> Result<Self, Vec<ParamError>> {
        match value {
            Value::Int(bits) => u32::try_from(*bits)
                .ok()
                .filter(|bits| *bits <= 0o7777)
                .map(Mode::Octal)
                .ok_or_else(|| ParamError::invalid("permission bits such as \"0644\"")),
            other => Mode::new(&String::from_param(other)?).map_err(ParamError::invalid),
        }
    }
}

/// Bytes: text in a playbook, or what the orchestrator read from a file or made from a template.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Pack for Bytes {
    fn pack(&self, to: &mut Vec<u8>) {
        pack::bytes(&self.0, to);
    }
    fn unpack(from: &mut Reader<'_>) -> Self {
        Bytes(from.bytes().to_vec())
    }
}

impl FromParam for Bytes {
    const KIND: ParamKind = ParamKind::Str;
    fn from_param(value: &Value) -> Result<Self, Vec<ParamError>> {
        String::from_param(value).map(|text| Bytes(text.into_bytes()))
    }
}

/// Where a file goes: a path that a `/` at its end marks as the folder to put it into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    path: AbsPath,
    folder: bool,
}

impl Destination {
    /// The path, without the `/` at its end.
    #[must_use]
    pub fn path(&self) -> &AbsPath {
        &self.path
    }

    /// Whether it was written with a `/` at its end.
    #[must_use]
    pub fn is_folder(&self) -> bool {
        self.folder
    }
}

impl Pack for Destination {
    fn pack(&self, to: &mut Vec<u8>) {
        self.path.pack(to);
        self.folder.pack(to);
    }
    fn unpack(from: &mut Reader<'_>) -> Self {
        Destination {
            path: Pack::unpack(from),
            folder: Pack::unpack(from),
        }
    }
}

impl FromParam for Destination {
    const KIND: ParamKind = ParamKind::Path;
    fn from_param(value: &Value) -> Result<Self, Vec<ParamError>> {
        let path = AbsPath::from_param(value)?;
        let folder = String::from_param(value)?.ends_with('/');
        Ok(Destination { path, folder })
    }
}

/// Permission bits of a file that is copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileMode {
    /// Those of the source: `preserve`.
    Preserve,
    /// These.
    Bits(Mode),
}

impl FileMode {
    /// The bits that were asked for, where they do not depend on the source.
    #[must_use]
    pub fn bits(&self) -> Option<&Mode> {
        match self {
            FileMode::Preserve => None,
            FileMode::Bits(mode) => Some(mode),
        }
    }
}

impl Pack for FileMode {
    fn pack(&self, to: &mut Vec<u8>) {
        self.bits().cloned().pack(to);
    }
    fn unpack(from: &mut Reader<'_>) -> Self {
        Option::unpack(from).map_or(FileMode::Preserve, FileMode::Bits)
    }
}

impl FromParam for FileMode {
    const KIND: ParamKind = ParamKind::Mode;
    fn from_param(value: &Value) -> Result<Self, Vec<ParamError>> {
        match value.as_str() {
            Some("preserve") => Ok(FileMode::Preserve),
            _ => Mode::from_param(value).map(FileMode::Bits),
        }
    }
}

impl FromParam for Value {
    const KIND: ParamKind = ParamKind::Any;
    fn from_param(value: &Value) -> Result<Self, Vec<ParamError>> {
        Ok(value.clone())
    }
}

impl<T: FromParam> FromParam for Option<T> {
    const KIND: ParamKind = T::KIND;
    fn from_param(value: &Value) -> Result<Self, Vec<ParamError>> {
        match value {
            Value::Null => Ok(None),
            other => T::from_param(other).map(Some),
        }
    }
    fn absent() -> Option<Self> {
        Some(None)
    }
}

impl<T: FromParam> FromParam for Vec<T> {
    const KIND: ParamKind = ParamKind::List(&T::KIND);
    fn from_param(value: &Value) -> Result<Self, Vec<ParamError>> {
        let list = match value {
            Value::Null => Vec::new(),
            Value::List(list) => list.clone(),
            Value::Str(text) if text.is_empty() => Vec::new(),
            Value::Str(text) if matches!(T::KIND, ParamKind::Str | ParamKind::OneOf(_) | ParamKind::Int) => {
                text.split(',').map(|part| Value::Str(part.trim().to_owned())).collect()
            }
            other => vec![other.clone()],
        };
        let (mut items, mut errors) = (Vec::new(), Vec::new());
        for (index, item) in list.iter().enumerate() {
            match T::from_param(item) {
                Ok(item) => items.push(item),
                Err(found) => errors.extend(ParamError::below(found, &index.to_string())),
            }
        }
        if errors.is_empty() { Ok(items) } else { Err(errors) }
    }
    fn absent() -> Option<Self> {
        Some(Vec::new())
    }
}

impl<T: FromParam> FromParam for indexmap::IndexMap<String, T> {
    const KIND: ParamKind = ParamKind::MapOf(&T::KIND);
    fn from_param(value: &Value) -> Result<Self, Vec<ParamError>> {
        let Value::Map(map) = value else {
            return Err(ParamError::invalid(format!("a mapping, not {}", value.type_name())));
        };
        let (mut items, mut errors) = (indexmap::IndexMap::new(), Vec::new());
        for (key, item) in map {
            match T::from_param(item) {
                Ok(item) => {
                    items.insert(key.clone(), item);
                }
                Err(found) => errors.extend(ParamError::below(found, key)),
            }
        }
        if errors.is_empty() { Ok(items) } else { Err(errors) }
    }
    fn absent() -> Option<Self> {
        Some(indexmap::IndexMap::new())
    }
}

/// A value in a message.
#[must_use]
pub fn shown(value: &Value) -> String {
    match value {
        Value::Str(text) => format!("`{text}`"),
        Value::List(_) | Value::Map(_) | Value::Unknown(_) | Value::Null => value.type_name().to_owned(),
        other => format!("`{other}`"),
    }
}

/// Takes one parameter out of the arguments; used by [`params!`](crate::params).
///
/// Mistakes go to `errors`; the result is `None` where there was one.
pub fn take<T: FromParam>(args: &Map, param: &Param, errors: &mut Vec<ParamError>) -> Option<T> {
    let given: Vec<(&str, &Value)> = std::iter::once(&param.name)
        .chain(param.aliases)
        .filter_map(|name| args.get(*name).map(|value| (*name, value)))
        .collect();
    if let [_, (second, _), ..] = given.as_slice() {
        errors.push(ParamError {
            path: vec![(*second).to_owned()],
            problem: Problem::Twice(param.name),
        });
    }
    let result = match (given.first(), param.default) {
        (Some((name, value)), _) => T::from_param(value).map_err(|found| ParamError::below(found, name)),
        (None, Some(text)) => T::from_param(&Value::from(text)),
        (None, None) => T::absent().ok_or_else(|| {
            vec![ParamError {
                path: Vec::new(),
                problem: Problem::Missing(param.name),
            }]
        }),
    };
    result.map_err(|found| errors.extend(found)).ok()
}

/// Reports arguments that no parameter has; used by [`params!`](crate::params).
pub fn refuse_unknown(args: &Map, spec: &Spec, errors: &mut Vec<ParamError>) {
    for key in args.keys() {
        let known = |param: &Param| param.name == key || param.aliases.contains(&key.as_str());
        if !spec.params.iter().any(known) {
            let names = spec.params.iter().map(|param| param.name).collect();
            errors.push(ParamError {
                path: vec![key.clone()],
                problem: Problem::Unknown(names),
            });
        }
    }
}

/// Makes a struct of parameters.
///
/// ```
/// okd_agent::params! {
///     /// Greets.
///     pub struct Greet {
///         /// Whom.
///         name: String ["whom"],
///         /// How often.
///         times: i64 = "1",
///         /// In which words.
///         words: Vec<String>,
///     }
/// }
/// ```
/// A type that can be left out (`Option`, `Vec`, a map) makes the parameter optional; `= "text"` gives a default as a
/// person would type it; names in brackets are aliases. The struct can itself be a parameter's type.
#[macro_export]
macro_rules! params {
    (
        $(#[doc = $doc:literal])*
        pub struct $name:ident {
            $(
                $(#[doc = $field_doc:literal])*
                $field:ident : $type:ty $([$($alias:literal),*])? $(= $default:literal)?
            ),* $(,)?
        }
    ) => {
        $(#[doc = $doc])*
        #[allow(unreachable_pub)]
        #[derive(Debug, Clone, PartialEq)]
        pub struct $name {
            $( $(#[doc = $field_doc])* pub $field: $type, )*
        }

        impl $crate::param::Params for $name {
            const SPEC: $crate::param::Spec = $crate::param::Spec {
                doc: &[$($doc),*],
                params: &[
                    $( $crate::param::Param {
                        name: $crate::param::bare(stringify!($field)),
                        aliases: &[$($($alias),*)?],
                        kind: <$type as $crate::param::FromParam>::KIND,
                        default: $crate::params!(@default $($default)?),
                        required: $crate::param::is_required(
                            &<$type as $crate::param::FromParam>::KIND,
                            stringify!($type),
                            $crate::params!(@default $($default)?),
                        ),
                        doc: &[$($field_doc),*],
                    }, )*
                ],
            };

            fn decode(args: &$crate::value::Map) -> Result<Self, Vec<$crate::param::ParamError>> {
                let spec = &<Self as $crate::param::Params>::SPEC;
                let mut errors = Vec::new();
                $crate::param::refuse_unknown(args, spec, &mut errors);
                let mut params = spec.params.iter();
                $(
                    let $field: Option<$type> =
                        params.next().and_then(|param| $crate::param::take(args, param, &mut errors));
                )*
                match ($($field,)*) {
                    ($(Some($field),)*) if errors.is_empty() => Ok($name { $($field),* }),
                    _ => Err(errors),
                }
            }
        }

        impl $crate::pack::Pack for $name {
            #[allow(unused_variables)]
            fn pack(&self, to: &mut Vec<u8>) {
                $( $crate::pack::Pack::pack(&self.$field, to); )*
            }
            #[allow(unused_variables)]
            fn unpack(from: &mut $crate::pack::Reader<'_>) -> Self {
                $name { $( $field: $crate::pack::Pack::unpack(from) ),* }
            }
        }

        impl $crate::param::FromParam for $name {
            const KIND: $crate::param::ParamKind =
                $crate::param::ParamKind::Dict(&<$name as $crate::param::Params>::SPEC);
            fn from_param(value: &$crate::value::Value) -> Result<Self, Vec<$crate::param::ParamError>> {
                match value {
                    $crate::value::Value::Map(map) => <$name as $crate::param::Params>::decode(map),
                    other => Err($crate::param::ParamError::invalid(format!("a mapping, not {}", other.type_name()))),
                }
            }
        }
    };
    (@default) => { None };
    (@default $default:literal) => { Some($default) };
}

/// A field's name without Rust's `r#`.
#[must_use]
pub const fn bare(name: &'static str) -> &'static str {
    match name.as_bytes() {
        [b'r', b'#', ..] => name.split_at(2).1,
        _ => name,
    }
}

/// Whether a parameter of this type has to be given.
#[must_use]
pub const fn is_required(kind: &ParamKind, type_name: &str, default: Option<&str>) -> bool {
    if default.is_some() || matches!(kind, ParamKind::List(_) | ParamKind::MapOf(_)) {
        return false;
    }
    !matches!(type_name.as_bytes(), [b'O', b'p', b't', b'i', b'o', b'n', ..])
}

/// Makes an enum whose variants are words in playbooks.
///
/// ```
/// okd_agent::choice! {
///     /// What a path should be.
///     pub enum State { Present = "present", Absent = "absent" }
/// }
/// ```
#[macro_export]
macro_rules! choice {
    (
        $(#[doc = $doc:literal])*
        pub enum $name:ident { $( $(#[doc = $variant_doc:literal])* $variant:ident = $word:literal $(| $other:literal)* ),* $(,)? }
    ) => {
        $(#[doc = $doc])*
        #[allow(unreachable_pub)]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
        pub enum $name { $( $(#[doc = $variant_doc])* #[doc = concat!("`", $word, "`")] $variant ),* }

        impl $name {
            /// The word in playbooks.
            #[must_use]
            #[allow(unreachable_pub, dead_code)]
            pub fn word(self) -> &'static str {
                match self { $( Self::$variant => $word ),* }
            }
        }

        impl $crate::pack::Pack for $name {
            fn pack(&self, to: &mut Vec<u8>) {
                to.push(*self as u8);
            }
            fn unpack(from: &mut $crate::pack::Reader<'_>) -> Self {
                from.one_of([$(Self::$variant),*])
            }
        }

        impl $crate::param::FromParam for $name {
            const KIND: $crate::param::ParamKind = $crate::param::ParamKind::OneOf(&[$($word),*]);
            fn from_param(value: &$crate::value::Value) -> Result<Self, Vec<$crate::param::ParamError>> {
                let text = match value {
                    $crate::value::Value::Bool(true) => "yes".to_owned(),
                    $crate::value::Value::Bool(false) => "no".to_owned(),
                    other => <String as $crate::param::FromParam>::from_param(other)?,
                };
                match text.as_str() {
                    $( $word $(| $other)* => Ok(Self::$variant), )*
                    _ => Err(vec![$crate::param::ParamError {
                        path: Vec::new(),
                        problem: $crate::param::Problem::Invalid(
                            format!("one of {}, not {}", [$($word),*].join(", "), $crate::param::shown(value)),
                            vec![$($word),*],
                        ),
                    }]),
                }
            }
        }
    };
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::value::map;

    choice! {
        /// A state.
        pub enum State { Present = "present", Absent = "absent" | "gone" }
    }
    params! {
        /// A probe of the macro.
        pub struct Sample {
            /// The path.
            path: AbsPath ["dest", "name"],
            /// The mode.
            mode: Option<Mode>,
            /// The state.
            state: State = "present",
            /// Names.
            r#type: Vec<String>,
            /// Nested.
            inner: Option<Inner>,
        }
    }
    params! {
        /// Inside.
        pub struct Inner {
            /// How many.
            count: i64,
        }
    }

    #[test]
    fn arguments_decode_with_aliases_and_defaults() {
        let args = map([
            ("dest", "/etc/x".into()),
            ("mode", Value::Int(0o644)),
            ("type", "a, b".into()),
        ]);
        let sample = Sample::decode(&args).unwrap();
        assert_eq!(sample.path.as_str(), "/etc/x");
        assert_eq!(sample.mode, Some(Mode::Octal(0o644)));
        assert_eq!(sample.state, State::Present);
        assert_eq!(sample.r#type, ["a", "b"]);
    }

    #[test]
    fn every_mistake_is_reported_with_its_place() {
        let inner = Value::Map(map([("count", "many".into())]));
        let args = map([("moed", "x".into()), ("state", "presnt".into()), ("inner", inner)]);
        let errors = Sample::decode(&args).unwrap_err();
        let places: Vec<String> = errors.iter().map(|error| error.path.join(".")).collect();
        assert_eq!(places, ["moed", "", "state", "inner.count"]);
        assert_eq!(errors[1].problem, Problem::Missing("path"));
    }

    #[test]
    fn the_table_knows_what_is_required() {
        let required: Vec<&str> = Sample::SPEC
            .params
            .iter()
            .filter(|p| p.required)
            .map(|p| p.name)
            .collect();
        assert_eq!(required, ["path"]);
        assert_eq!(Sample::SPEC.params[3].name, "type");
    }
}
