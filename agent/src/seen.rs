//! What a step saw, as a tree with names: its fingerprint tells whether something has moved, and two trees tell what.
//!
//! A tree may be kept in a file. So it holds no more than the step's diff would show: what is secret by its nature is a
//! digest, and so is what a diff would hide.

use crate::diff;
use crate::secret::Secrets;
use serde::ser::{self, Serialize, Serializer};
use serde::{Deserialize, Serialize as Derive};
use sha2::{Digest, Sha256};
use std::fmt;

/// Longer bytes and texts are told by their digest.
const LONGEST: usize = 1 << 20;
/// The name that [`hidden`] gives.
const HIDDEN: &str = "\u{2039}hidden\u{203a}";

/// A state, or a part of one.
#[derive(Debug, Clone, PartialEq, Eq, Derive, Deserialize)]
pub enum Seen {
    /// Nothing is there.
    Nothing,
    /// A truth.
    Flag(bool),
    /// A whole number.
    Number(i64),
    /// Text, also for other numbers.
    Text(String),
    /// Bytes that need not be text.
    Bytes(Vec<u8>),
    /// Several, in order.
    List(Vec<Seen>),
    /// Parts with their names.
    Parts(Vec<(String, Seen)>),
    /// What is not told, or is too long: the first bytes of its SHA-256.
    Digest(u64),
}

/// Serialises a field of a state that is never told, such as a password's hash.
///
/// # Errors
/// The serializer's.
pub fn hidden<T: Serialize + ?Sized, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_newtype_struct(HIDDEN, value)
}

impl Seen {
    /// A state as a tree; `None` where it cannot be one.
    #[must_use]
    pub fn of<T: Serialize + ?Sized>(state: &T) -> Option<Seen> {
        let mut tree = Tree::default();
        state.serialize(&mut tree).ok()?;
        tree.done
    }

    /// The same state gives the same number.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let mut hash = Sha256::new();
        self.feed(&mut hash);
        first(&hash.finalize())
    }

    fn feed(&self, hash: &mut Sha256) {
        let mut part = |mark: u8, bytes: &[u8]| {
            hash.update([mark]);
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        match self {
            Seen::Nothing => part(0, &[]),
            Seen::Flag(truth) => part(1, &[u8::from(*truth)]),
            Seen::Number(number) => part(2, &number.to_le_bytes()),
            Seen::Text(text) => part(3, text.as_bytes()),
            Seen::Bytes(bytes) => part(4, bytes),
            Seen::Digest(digest) => part(5, &digest.to_le_bytes()),
            Seen::List(items) => {
                part(6, &(items.len() as u64).to_le_bytes());
                items.iter().for_each(|item| item.feed(hash));
            }
            Seen::Parts(parts) => {
                part(7, &(parts.len() as u64).to_le_bytes());
                for (name, item) in parts {
                    Seen::Text(name.clone()).feed(hash);
                    item.feed(hash);
                }
            }
        }
    }

    /// What may be kept of it beside what is wanted: where a secret comes, the old one may stand, which nobody knows.
    #[must_use]
    pub fn told(self, want: &Seen) -> Seen {
        match (self, want) {
            (now, want) if now == *want || !want.marked() => now,
            (Seen::Parts(now), Seen::Parts(want))
                if now.iter().map(|(name, _)| name).eq(want.iter().map(|(name, _)| name)) =>
            {
                let pairs = now.into_iter().zip(want);
                Seen::Parts(pairs.map(|((name, now), (_, want))| (name, now.told(want))).collect())
            }
            (Seen::List(now), Seen::List(want)) if now.len() == want.len() => {
                Seen::List(now.into_iter().zip(want).map(|(now, want)| now.told(want)).collect())
            }
            (now, want) => match (now.as_text(), want.as_text()) {
                (Some(old), Some(new)) if old.contains('\n') => Seen::Text(diff::old_side(old, new)),
                _ => now.silent(),
            },
        }
    }

    /// The text, where this is one.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Seen::Text(text) => Some(text),
            Seen::Bytes(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    /// Whether a secret stands in it.
    fn marked(&self) -> bool {
        match self {
            Seen::List(items) => items.iter().any(Seen::marked),
            Seen::Parts(parts) => parts.iter().any(|(_, part)| part.marked()),
            other => other.as_text().is_some_and(Secrets::marked),
        }
    }

    /// Nothing of its texts.
    fn silent(self) -> Seen {
        match self {
            Seen::Text(_) | Seen::Bytes(_) => Seen::Digest(self.fingerprint()),
            Seen::List(items) => Seen::List(items.into_iter().map(Seen::silent).collect()),
            Seen::Parts(parts) => Seen::Parts(parts.into_iter().map(|(name, part)| (name, part.silent())).collect()),
            other => other,
        }
    }
}

fn first(digest: &[u8]) -> u64 {
    digest.first_chunk::<8>().map_or(0, |first| u64::from_le_bytes(*first))
}

/// A tree that grows as a state is serialised. Nothing in it depends on the state's type, so that the code for each
/// state is a row of calls.
#[derive(Default)]
struct Tree {
    /// The lists and mappings that have begun and not ended, the innermost last.
    open: Vec<Open>,
    done: Option<Seen>,
}

#[derive(Default)]
struct Open {
    named: bool,
    /// The name of the part that comes next.
    name: String,
    parts: Vec<(String, Seen)>,
    items: Vec<Seen>,
    /// Of a list that has held nothing but bytes.
    bytes: Vec<u8>,
    /// Of bytes that are too many.
    digest: Option<Sha256>,
}

impl Open {
    fn byte(&mut self, byte: u8) {
        self.bytes.push(byte);
        if self.bytes.len() > LONGEST {
            self.digest.get_or_insert_default().update(&self.bytes);
            self.bytes.clear();
        }
    }

    fn put(&mut self, seen: Seen) {
        if self.named {
            return self.parts.push((std::mem::take(&mut self.name), seen));
        }
        let bytes = std::mem::take(&mut self.bytes);
        self.items
            .extend(bytes.into_iter().map(|byte| Seen::Number(byte.into())));
        self.items.push(seen);
    }

    fn close(self) -> Seen {
        match self.digest {
            _ if self.named => Seen::Parts(self.parts),
            Some(digest) => Seen::Digest(first(&digest.chain_update(&self.bytes).finalize())),
            None if self.bytes.is_empty() => Seen::List(self.items),
            None => Seen::Bytes(self.bytes),
        }
    }
}

impl Tree {
    fn put(&mut self, seen: Seen) {
        match self.open.last_mut() {
            Some(open) => open.put(seen),
            None => self.done = Some(seen),
        }
    }

    fn byte(&mut self, byte: u8) {
        match self.open.last_mut().filter(|open| !open.named && open.items.is_empty()) {
            Some(open) => open.byte(byte),
            None => self.put(Seen::Number(byte.into())),
        }
    }

    fn text(&mut self, text: &str) {
        self.put(match text.len() > LONGEST {
            true => Seen::Digest(first(&Sha256::digest(text))),
            false => Seen::Text(text.to_owned()),
        });
    }

    fn begin(&mut self, named: bool) {
        self.open.push(Open {
            named,
            ..Open::default()
        });
    }

    fn name(&mut self, name: &str) {
        if let Some(open) = self.open.last_mut() {
            name.clone_into(&mut open.name);
        }
    }

    fn end(&mut self) {
        if let Some(open) = self.open.pop() {
            self.put(open.close());
        }
    }

    /// Only the digest of what was begun is kept.
    fn hide(&mut self) {
        if let Some(open) = self.open.pop() {
            let digest = open.close().fingerprint();
            self.put(Seen::Digest(digest));
        }
    }

    /// A mapping's key has come as a value: its name.
    fn key(&mut self) {
        let last = self.open.last_mut().and_then(|open| Some((open.parts.pop()?.1, open)));
        if let Some((key, open)) = last {
            open.name = match key {
                Seen::Text(text) => text,
                Seen::Number(number) => number.to_string(),
                other => format!("{:x}", other.fingerprint()),
            };
        }
    }
}

/// A state that says it cannot be serialised.
#[derive(Debug)]
struct Unserialisable;

impl fmt::Display for Unserialisable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a state that is no tree")
    }
}

impl std::error::Error for Unserialisable {}

impl ser::Error for Unserialisable {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Unserialisable
    }
}

type Put = Result<(), Unserialisable>;
type Begun<'a> = Result<&'a mut Tree, Unserialisable>;

macro_rules! leaves {
    ($($name:ident($type:ty) $value:ident, $tree:ident => $put:expr;)*) => {
        $(fn $name(self, $value: $type) -> Put {
            let $tree = self;
            $put;
            Ok(())
        })*
    };
}

impl<'a> Serializer for &'a mut Tree {
    type Ok = ();
    type Error = Unserialisable;
    type SerializeSeq = &'a mut Tree;
    type SerializeTuple = &'a mut Tree;
    type SerializeTupleStruct = &'a mut Tree;
    type SerializeTupleVariant = &'a mut Tree;
    type SerializeMap = &'a mut Tree;
    type SerializeStruct = &'a mut Tree;
    type SerializeStructVariant = &'a mut Tree;

    leaves! {
        serialize_bool(bool) value, tree => tree.put(Seen::Flag(value));
        serialize_i8(i8) value, tree => tree.put(Seen::Number(value.into()));
        serialize_i16(i16) value, tree => tree.put(Seen::Number(value.into()));
        serialize_i32(i32) value, tree => tree.put(Seen::Number(value.into()));
        serialize_i64(i64) value, tree => tree.put(Seen::Number(value));
        serialize_u8(u8) value, tree => tree.byte(value);
        serialize_u16(u16) value, tree => tree.put(Seen::Number(value.into()));
        serialize_u32(u32) value, tree => tree.put(Seen::Number(value.into()));
        serialize_u64(u64) value, tree => match i64::try_from(value) {
            Ok(value) => tree.put(Seen::Number(value)),
            Err(_) => tree.text(&value.to_string()),
        };
        serialize_f32(f32) value, tree => tree.text(&value.to_string());
        serialize_f64(f64) value, tree => tree.text(&value.to_string());
        serialize_char(char) value, tree => tree.text(value.encode_utf8(&mut [0; 4]));
        serialize_str(&str) value, tree => tree.text(value);
        serialize_bytes(&[u8]) value, tree => {
            tree.begin(false);
            value.iter().for_each(|byte| tree.byte(*byte));
            tree.end()
        };
        serialize_unit_struct(&'static str) name, tree => tree.text(name);
    }

    fn serialize_none(self) -> Put {
        self.serialize_unit()
    }
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Put {
        value.serialize(self)
    }
    fn serialize_unit(self) -> Put {
        self.put(Seen::Nothing);
        Ok(())
    }
    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Put {
        self.text(variant);
        Ok(())
    }
    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> Put {
        if name != HIDDEN {
            return value.serialize(self);
        }
        self.begin(false);
        value.serialize(&mut *self)?;
        self.hide();
        Ok(())
    }
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Put {
        self.begin(true);
        self.name(variant);
        value.serialize(&mut *self)?;
        self.end();
        Ok(())
    }
    fn serialize_seq(self, _: Option<usize>) -> Begun<'a> {
        self.begin(false);
        Ok(self)
    }
    fn serialize_tuple(self, _: usize) -> Begun<'a> {
        self.serialize_seq(None)
    }
    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Begun<'a> {
        self.serialize_seq(None)
    }
    fn serialize_tuple_variant(self, _: &'static str, _: u32, variant: &'static str, _: usize) -> Begun<'a> {
        self.begin(false);
        self.text(variant);
        Ok(self)
    }
    fn serialize_map(self, _: Option<usize>) -> Begun<'a> {
        self.begin(true);
        Ok(self)
    }
    fn serialize_struct(self, _: &'static str, _: usize) -> Begun<'a> {
        self.serialize_map(None)
    }
    fn serialize_struct_variant(self, _: &'static str, _: u32, variant: &'static str, _: usize) -> Begun<'a> {
        self.begin(true);
        self.name("is");
        self.text(variant);
        Ok(self)
    }
}

macro_rules! compounds {
    ($($trait:ident :: $add:ident),*) => {
        $(impl ser::$trait for &mut Tree {
            type Ok = ();
            type Error = Unserialisable;
            fn $add<T: Serialize + ?Sized>(&mut self, value: &T) -> Put {
                value.serialize(&mut **self)
            }
            fn end(self) -> Put {
                Tree::end(self);
                Ok(())
            }
        })*
    };
}

macro_rules! mappings {
    ($($trait:ident),*) => {
        $(impl ser::$trait for &mut Tree {
            type Ok = ();
            type Error = Unserialisable;
            fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Put {
                self.name(name);
                value.serialize(&mut **self)
            }
            fn end(self) -> Put {
                Tree::end(self);
                Ok(())
            }
        })*
    };
}

compounds!(
    SerializeSeq::serialize_element,
    SerializeTuple::serialize_element,
    SerializeTupleStruct::serialize_field,
    SerializeTupleVariant::serialize_field
);
mappings!(SerializeStruct, SerializeStructVariant);

impl ser::SerializeMap for &mut Tree {
    type Ok = ();
    type Error = Unserialisable;
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Put {
        key.serialize(&mut **self)?;
        self.key();
        Ok(())
    }
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Put {
        value.serialize(&mut **self)
    }
    fn end(self) -> Put {
        Tree::end(self);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::collections::BTreeMap;

    #[derive(Derive)]
    struct State {
        mode: u32,
        bytes: Option<Vec<u8>>,
        #[serde(serialize_with = "hidden")]
        hash: &'static str,
        kind: Kind,
        more: BTreeMap<&'static str, (u8, bool)>,
    }

    #[derive(Derive)]
    enum Kind {
        Plain,
        Link { to: &'static str },
    }

    fn state(bytes: &[u8], hash: &'static str) -> State {
        State {
            mode: 0o644,
            bytes: Some(bytes.to_vec()),
            hash,
            kind: if bytes.is_empty() {
                Kind::Plain
            } else {
                Kind::Link { to: "/x" }
            },
            more: [("a", (1, true))].into(),
        }
    }

    #[test]
    fn a_state_keeps_its_names_and_what_is_secret_is_a_digest() {
        let tree = Seen::of(&state(b"a\xff", "$6$old")).unwrap();
        let text = format!("{tree:?}");
        assert!(
            text.contains("\"mode\", Number(420)") && text.contains("Bytes([97, 255])"),
            "{text}"
        );
        assert!(
            text.contains("(\"is\", Text(\"Link\")), (\"to\", Text(\"/x\"))"),
            "{text}"
        );
        assert!(
            text.contains("List([Number(1), Flag(true)])") && !text.contains("$6$"),
            "{text}"
        );
        let same = Seen::of(&state(b"a\xff", "$6$old")).unwrap();
        assert_eq!(tree.fingerprint(), same.fingerprint());
        for other in [state(b"a", "$6$old"), state(b"a\xff", "$6$new"), state(b"", "$6$old")] {
            assert_ne!(tree.fingerprint(), Seen::of(&other).unwrap().fingerprint());
        }
    }

    #[test]
    fn long_bytes_are_told_by_their_digest() {
        let long = |last: u8| Seen::of(&[&vec![0; 3 * LONGEST][..], &[last]].concat()).unwrap();
        assert!(matches!(long(0), Seen::Digest(_)));
        assert_eq!(long(0), long(0));
        assert_ne!(long(0), long(1));
    }

    #[test]
    fn an_old_secret_is_not_told_and_the_rest_is() {
        let place = Secrets::placeholder("db", "0a");
        let file = |text: &str| Seen::Parts(vec![("bytes".to_owned(), Seen::Bytes(text.into()))]);
        let (now, want) = (
            file("user=x\npassword=old\n"),
            file(&format!("user=x\npassword={place}\n")),
        );
        let Seen::Parts(parts) = now.clone().told(&want) else {
            unreachable!()
        };
        assert_eq!(parts[0].1, Seen::Text(format!("user=x\n{HIDDEN}\n")));
        assert_eq!(now.clone().told(&file("other\n")), now);
        let short = |text: &str| Seen::List(vec![Seen::Text(text.to_owned())]);
        let told = short("old").told(&short(&place));
        assert!(
            matches!(&told, Seen::List(items) if matches!(items[0], Seen::Digest(_))),
            "{told:?}"
        );
        let grown = Seen::List(vec![Seen::Text("a".to_owned()), Seen::Text(place)]);
        assert!(!format!("{:?}", short("old").told(&grown)).contains("old"));
    }
}
