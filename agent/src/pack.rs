//! How a kind's parameters cross the wire: value after value, without names or types, which both halves of a build know.
//!
//! No reader of one value can fail: past the end of its bytes a [`Reader`] gives zeros and empty texts, and tells so when
//! it is asked at the end. So to read forty parameters is forty calls, without forty ways out that drop what was read so
//! far; for all kinds together those are a twentieth of the pushed agent.

use crate::value::Value;
use indexmap::IndexMap;

/// A type that crosses the wire as a parameter.
pub trait Pack: Sized {
    /// Appends it.
    fn pack(&self, to: &mut Vec<u8>);

    /// Takes it; see [`Reader::is_whole`] for what it is worth.
    fn unpack(from: &mut Reader<'_>) -> Self;
}

/// Takes values in the order in which they were packed.
#[derive(Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
    torn: bool,
}

impl<'a> Reader<'a> {
    /// A reader at the first of these bytes.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Reader {
            rest: bytes,
            torn: false,
        }
    }

    /// Whether all that was taken was there, and nothing is left. Otherwise nothing that was taken may be used.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        !self.torn && self.rest.is_empty()
    }

    /// One of these by its place, as a byte tells it.
    pub fn one_of<T: Copy, const N: usize>(&mut self, all: [T; N]) -> T {
        let place = usize::from(self.byte());
        if place < N {
            return all[place];
        }
        self.tear();
        all[0]
    }

    /// A text.
    pub fn text(&mut self) -> &'a str {
        match std::str::from_utf8(self.bytes()) {
            Ok(text) => text,
            Err(_) => {
                self.tear();
                ""
            }
        }
    }

    fn tear(&mut self) {
        self.torn = true;
        self.rest = &[];
    }

    fn byte(&mut self) -> u8 {
        match self.rest.split_first() {
            Some((first, rest)) => {
                self.rest = rest;
                *first
            }
            None => {
                self.tear();
                0
            }
        }
    }

    /// Seven bits a byte, the low ones first; the eighth says that another byte follows.
    fn number(&mut self) -> u64 {
        let mut number = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.byte();
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return number;
            }
        }
        self.tear();
        0
    }

    fn narrow<T: TryFrom<u64> + Default>(&mut self) -> T {
        T::try_from(self.number()).unwrap_or_else(|_| {
            self.tear();
            T::default()
        })
    }

    /// Bytes behind their number.
    pub(crate) fn bytes(&mut self) -> &'a [u8] {
        let length = usize::try_from(self.number()).unwrap_or(usize::MAX);
        match self.rest.split_at_checked(length) {
            Some((bytes, rest)) => {
                self.rest = rest;
                bytes
            }
            None => {
                self.tear();
                &[]
            }
        }
    }

    /// Calls `item` as often as a number says, as long as there is something left to take.
    fn repeat(&mut self, item: &mut dyn FnMut(&mut Self)) {
        for _ in 0..self.number() {
            if self.torn {
                return;
            }
            item(self);
        }
    }
}

/// Appends bytes as [`Reader::text`] takes them, where they are text.
pub fn bytes(bytes: &[u8], to: &mut Vec<u8>) {
    number(bytes.len() as u64, to);
    to.extend_from_slice(bytes);
}

fn number(mut number: u64, to: &mut Vec<u8>) {
    while number >= 0x80 {
        to.push(number as u8 | 0x80);
        number >>= 7;
    }
    to.push(number as u8);
}

impl Pack for u64 {
    fn pack(&self, to: &mut Vec<u8>) {
        number(*self, to);
    }
    fn unpack(from: &mut Reader<'_>) -> Self {
        from.number()
    }
}

impl Pack for u32 {
    fn pack(&self, to: &mut Vec<u8>) {
        number(u64::from(*self), to);
    }
    fn unpack(from: &mut Reader<'_>) -> Self {
        from.narrow()
    }
}

impl Pack for u16 {
    fn pack(&self, to: &mut Vec<u8>) {
        number(u64::from(*self), to);
    }
    fn unpack(from: &mut Reader<'_>) -> Self {
        from.narrow()
    }
}

impl Pack for i64 {
    fn pack(&self, to: &mut Vec<u8>) {
        number(self.cast_unsigned(), to);
    }
    fn unpack(from: &mut Reader<'_>) -> Self {
        from.number().cast_signed()
    }
}

impl Pack for f64 {
    fn pack(&self, to: &mut Vec<u8>) {
        number(self.to_bits(), to);
    }
    fn unpack(from: &mut Reader<'_>) -> Self {
        f64::from_bits(from.number())
    }
}

impl Pack for bool {
    fn pack(&self, to: &mut Vec<u8>) {
        to.push(u8::from(*self));
    }
    fn unpack(from: &mut Reader<'_>) -> Self {
        from.one_of([false, true])
    }
}

impl Pack for String {
    fn pack(&self, to: &mut Vec<u8>) {
        bytes(self.as_bytes(), to);
    }
    fn unpack(from: &mut Reader<'_>) -> Self {
        from.text().to_owned()
    }
}

impl<T: Pack> Pack for Option<T> {
    fn pack(&self, to: &mut Vec<u8>) {
        self.is_some().pack(to);
        if let Some(value) = self {
            value.pack(to);
        }
    }
    fn unpack(from: &mut Reader<'_>) -> Self {
        bool::unpack(from).then(|| T::unpack(from))
    }
}

impl<T: Pack> Pack for Vec<T> {
    fn pack(&self, to: &mut Vec<u8>) {
        number(self.len() as u64, to);
        for item in self {
            item.pack(to);
        }
    }
    fn unpack(from: &mut Reader<'_>) -> Self {
        let mut list = Vec::new();
        from.repeat(&mut |from| list.push(T::unpack(from)));
        list
    }
}

impl<T: Pack> Pack for IndexMap<String, T> {
    fn pack(&self, to: &mut Vec<u8>) {
        number(self.len() as u64, to);
        for (key, item) in self {
            key.pack(to);
            item.pack(to);
        }
    }
    fn unpack(from: &mut Reader<'_>) -> Self {
        let mut map = IndexMap::new();
        from.repeat(&mut |from| {
            let key = String::unpack(from);
            map.insert(key, T::unpack(from));
        });
        map
    }
}

impl Pack for Value {
    fn pack(&self, to: &mut Vec<u8>) {
        match self {
            Value::Null => to.push(0),
            Value::Bool(truth) => tagged(1, truth, to),
            Value::Int(number) => tagged(2, number, to),
            Value::Float(number) => tagged(3, number, to),
            Value::Str(text) => tagged(4, text, to),
            Value::List(list) => tagged(5, list, to),
            Value::Map(map) => tagged(6, map, to),
            Value::Unknown(reason) => tagged(7, reason, to),
        }
    }
    fn unpack(from: &mut Reader<'_>) -> Self {
        match from.byte() {
            1 => Value::Bool(Pack::unpack(from)),
            2 => Value::Int(Pack::unpack(from)),
            3 => Value::Float(Pack::unpack(from)),
            4 => Value::Str(Pack::unpack(from)),
            5 => Value::List(Pack::unpack(from)),
            6 => Value::Map(Pack::unpack(from)),
            7 => Value::Unknown(Pack::unpack(from)),
            0 => Value::Null,
            _ => {
                from.tear();
                Value::Null
            }
        }
    }
}

fn tagged(tag: u8, value: &impl Pack, to: &mut Vec<u8>) {
    to.push(tag);
    value.pack(to);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::map;

    fn value() -> Value {
        Value::Map(map([
            ("null", Value::Null),
            ("whether", Value::Bool(true)),
            ("numbers", vec![0_i64, -1, 127, 128, i64::MIN, i64::MAX].into()),
            ("part", Value::Float(-0.25)),
            ("text", "täglich".into()),
            ("later", Value::Unknown("runs `make`".to_owned())),
        ]))
    }

    #[test]
    fn what_is_packed_is_unpacked() {
        type All = (Option<u16>, Vec<Option<String>>, IndexMap<String, u64>);
        let (port, words, counts): All = (
            Some(u16::MAX),
            vec![None, Some(String::new())],
            [("a".to_owned(), u64::MAX)].into(),
        );
        let mut bytes = Vec::new();
        value().pack(&mut bytes);
        port.pack(&mut bytes);
        words.pack(&mut bytes);
        counts.pack(&mut bytes);
        let mut from = Reader::new(&bytes);
        assert_eq!(Value::unpack(&mut from), value());
        assert_eq!(Option::<u16>::unpack(&mut from), port);
        assert_eq!(Vec::<Option<String>>::unpack(&mut from), words);
        assert!(!from.is_whole());
        assert_eq!(IndexMap::<String, u64>::unpack(&mut from), counts);
        assert!(from.is_whole());
    }

    #[test]
    fn what_is_torn_is_told() {
        let mut bytes = Vec::new();
        value().pack(&mut bytes);
        for length in 0..bytes.len() {
            let mut from = Reader::new(&bytes[..length]);
            let _ = Value::unpack(&mut from);
            assert!(!from.is_whole(), "{length}");
        }
    }

    #[test]
    fn what_was_never_packed_is_told() {
        let whole = |bytes: &[u8], take: fn(&mut Reader<'_>)| {
            let mut from = Reader::new(bytes);
            take(&mut from);
            from.is_whole()
        };
        assert!(!whole(&[8], |from| drop(Value::unpack(from))));
        assert!(!whole(&[2], |from| _ = bool::unpack(from)));
        assert!(!whole(&[0xff, 0xff, 0x7f], |from| _ = u16::unpack(from)));
        assert!(!whole(&[0xff; 11], |from| _ = u64::unpack(from)));
        assert!(!whole(&[1, 0xff], |from| drop(String::unpack(from))));
        assert!(!whole(&[0xff, 0xff, 0xff, 0xff, 0x0f, 1], |from| drop(
            Vec::<bool>::unpack(from)
        )));
    }
}
