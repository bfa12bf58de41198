//! The encoder. It can write only what [`super::strict`] accepts, provided that map keys are
//! given in ascending order, which debug builds assert.
//!
//! Every map we write has fewer than 24 entries, so that its head is one byte and can be filled
//! in when the map is closed: optional fields need no counting beforehand.

/// Writes CBOR items one after another into a buffer.
#[derive(Clone, Debug, Default)]
pub struct Encoder {
    out: Vec<u8>,
}

impl Encoder {
    /// An encoder whose buffer has room for `bytes`.
    pub fn with_capacity(bytes: usize) -> Self {
        Self {
            out: Vec::with_capacity(bytes),
        }
    }

    /// The bytes written.
    pub fn into_bytes(self) -> Vec<u8> {
        self.out
    }

    /// Writes an unsigned integer.
    pub fn unsigned(&mut self, value: u64) -> &mut Self {
        self.head(0, value)
    }

    /// Writes an integer.
    pub fn integer(&mut self, value: i64) -> &mut Self {
        if value < 0 {
            // -1 - value, without overflow at the lowest value.
            self.head(1, !value.cast_unsigned())
        } else {
            self.head(0, value.cast_unsigned())
        }
    }

    /// Writes a byte string.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.head(2, length(bytes));
        self.out.extend_from_slice(bytes);
        self
    }

    /// Writes a text string.
    pub fn text(&mut self, text: &str) -> &mut Self {
        self.head(3, length(text.as_bytes()));
        self.out.extend_from_slice(text.as_bytes());
        self
    }

    /// Begins a byte string of `length` bytes; they must follow by other means.
    pub(crate) fn bytes_head(&mut self, length: usize) -> &mut Self {
        self.head(2, length as u64)
    }

    /// Begins an array; `items` items must follow.
    pub fn array(&mut self, items: usize) -> &mut Self {
        self.head(4, items as u64)
    }

    /// Writes a tag; one item must follow.
    pub fn tag(&mut self, tag: u64) -> &mut Self {
        self.head(6, tag)
    }

    /// Writes null.
    pub fn null(&mut self) -> &mut Self {
        self.out.push(0xf6);
        self
    }

    /// Writes a map with integer keys, whose entries `entries` adds in ascending order.
    pub fn map(&mut self, entries: impl FnOnce(&mut MapEncoder<'_>)) -> &mut Self {
        let head = self.out.len();
        self.out.push(0xa0);
        let mut map = MapEncoder {
            encoder: self,
            entries: 0,
            last_key: None,
        };
        entries(&mut map);
        let count = map.entries;
        debug_assert!(count < 24, "a map has at most 23 entries");
        if let Some(byte) = self.out.get_mut(head) {
            *byte = 0xa0 | (count & 0x1f);
        }
        self
    }

    fn head(&mut self, major: u8, argument: u64) -> &mut Self {
        let major = major << 5;
        let bytes = argument.to_be_bytes();
        let (info, digits) = match argument {
            0..=23 => (bytes[7], 0),
            24..=0xff => (24, 1),
            0x100..=0xffff => (25, 2),
            0x1_0000..=0xffff_ffff => (26, 4),
            _ => (27, 8),
        };
        self.out.push(major | info);
        self.out.extend(bytes.iter().skip(8 - digits));
        self
    }
}

/// Adds entries to a map being written.
#[derive(Debug)]
pub struct MapEncoder<'a> {
    encoder: &'a mut Encoder,
    entries: u8,
    last_key: Option<(bool, u64)>,
}

impl MapEncoder<'_> {
    /// Writes a key; the caller writes exactly one value with the encoder it gets.
    pub fn key(&mut self, key: i64) -> &mut Encoder {
        // Bytewise order of integer keys: 0, 1, 2, … and after them -1, -2, -3, ….
        let rank = (key < 0, key.unsigned_abs());
        debug_assert!(self.last_key < Some(rank), "map keys ascend");
        self.last_key = Some(rank);
        self.entries = self.entries.saturating_add(1);
        self.encoder.integer(key)
    }

    /// Writes a key and its value, if there is one.
    pub fn optional<T>(&mut self, key: i64, value: Option<T>, write: impl FnOnce(&mut Encoder, T)) {
        if let Some(value) = value {
            write(self.key(key), value);
        }
    }
}

fn length(bytes: &[u8]) -> u64 {
    bytes.len() as u64
}

#[cfg(test)]
mod tests {
    use ciborium::Value;
    use proptest::prelude::*;

    use super::*;
    use crate::cbor::strict::{Limits, check};

    proptest! {
        #[test]
        fn writes_what_ciborium_reads(unsigned: u64, signed: i64, bytes: Vec<u8>, text: String) {
            let mut encoder = Encoder::default();
            encoder.array(5).unsigned(unsigned).integer(signed).bytes(&bytes).text(&text).null();
            let encoded = encoder.into_bytes();
            check(&encoded, &Limits::untagged(1 << 20)).unwrap();
            let decoded: Value = ciborium::from_reader(encoded.as_slice()).unwrap();
            prop_assert_eq!(decoded, Value::Array(vec![
                Value::from(unsigned), Value::from(signed), Value::Bytes(bytes), Value::Text(text), Value::Null,
            ]));
        }
    }

    #[test]
    fn a_map_counts_its_entries_and_skips_absent_ones() {
        let mut encoder = Encoder::default();
        encoder.map(|map| {
            map.key(1).unsigned(7);
            map.optional(2, None::<u64>, |encoder, value| {
                encoder.unsigned(value);
            });
            map.optional(3, Some("x"), |encoder, value| {
                encoder.text(value);
            });
            map.key(-65537).null();
        });
        let bytes = encoder.into_bytes();
        assert_eq!(bytes, [0xa3, 1, 7, 3, 0x61, b'x', 0x3a, 0, 1, 0, 0, 0xf6]);
        check(&bytes, &Limits::untagged(64)).unwrap();
    }
}
