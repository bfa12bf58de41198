//! The strict checker: definite lengths, shortest forms, ascending keys, no floats, no tags but
//! those allowed, nothing after the item. One pass, no allocation.

use core::cmp::Ordering;

use crate::failure::{Failure, FailureCode};

/// The most items of any object of the protocol.
pub const MAX_ITEMS: usize = 8192;

/// What one kind of object may hold.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The most bytes.
    pub max_bytes: usize,
    /// The most items, so that a decoder's memory stays in proportion to the bytes.
    pub max_items: usize,
    /// How deeply arrays, maps and tags may nest.
    pub max_depth: u8,
    /// The tags that may appear.
    pub tags: &'static [u64],
}

impl Limits {
    /// Limits for an object without tags.
    pub const fn untagged(max_bytes: usize) -> Self {
        Self {
            max_bytes,
            max_items: MAX_ITEMS,
            max_depth: 8,
            tags: &[],
        }
    }
}

/// Checks that `bytes` are exactly one deterministically encoded item within `limits`.
///
/// # Errors
/// The code of the first rule broken, with its byte offset.
pub fn check(bytes: &[u8], limits: &Limits) -> Result<(), Failure> {
    if bytes.len() > limits.max_bytes {
        return Err(Failure::new(
            FailureCode::CborTooLarge,
            format!(
                "{} bytes, at most {} are allowed",
                bytes.len(),
                limits.max_bytes
            ),
        ));
    }
    let mut cursor = Cursor {
        bytes,
        at: 0,
        items: 0,
        limits,
    };
    cursor.item(0)?;
    if cursor.at == bytes.len() {
        Ok(())
    } else {
        Err(cursor.refuse(FailureCode::CborTrailingBytes, "bytes follow the item"))
    }
}

const UNSIGNED: u8 = 0;
const NEGATIVE: u8 = 1;
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;
const MAP: u8 = 5;
const TAG: u8 = 6;

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    items: usize,
    limits: &'a Limits,
}

impl<'a> Cursor<'a> {
    fn item(&mut self, depth: u8) -> Result<(), Failure> {
        if depth >= self.limits.max_depth {
            return Err(self.refuse(FailureCode::CborTooDeep, "nested too deeply"));
        }
        self.items = self.items.saturating_add(1);
        if self.items > self.limits.max_items {
            return Err(self.refuse(FailureCode::CborTooLarge, "too many items"));
        }
        let start = self.at;
        let (major, argument) = self.head()?;
        match major {
            UNSIGNED | NEGATIVE => Ok(()),
            BYTES => self.take(argument).map(|_| ()),
            TEXT => {
                let text = self.take(argument)?;
                match core::str::from_utf8(text) {
                    Ok(_) => Ok(()),
                    Err(_) => Err(refuse_at(
                        start,
                        FailureCode::CborInvalidText,
                        "text is not UTF-8",
                    )),
                }
            }
            ARRAY => (0..argument).try_for_each(|_| self.item(depth.saturating_add(1))),
            MAP => self.map(argument, depth.saturating_add(1)),
            TAG if self.limits.tags.contains(&argument) => self.item(depth.saturating_add(1)),
            TAG => Err(refuse_at(
                start,
                FailureCode::CborTag,
                "tag is not allowed here",
            )),
            // Major type 7 was checked in full by `head`.
            _ => Ok(()),
        }
    }

    fn map(&mut self, entries: u64, depth: u8) -> Result<(), Failure> {
        let mut previous: Option<&'a [u8]> = None;
        for _ in 0..entries {
            let start = self.at;
            self.item(depth)?;
            let key = self.bytes.get(start..self.at).unwrap_or_default();
            match previous.map(|previous| previous.cmp(key)) {
                None | Some(Ordering::Less) => {}
                Some(Ordering::Equal) => {
                    return Err(refuse_at(
                        start,
                        FailureCode::CborDuplicateKey,
                        "key stands twice",
                    ));
                }
                Some(Ordering::Greater) => {
                    return Err(refuse_at(
                        start,
                        FailureCode::CborUnsortedKeys,
                        "key is out of order",
                    ));
                }
            }
            previous = Some(key);
            self.item(depth)?;
        }
        Ok(())
    }

    /// Reads an initial byte and its argument. Refuses every head that is not shortest.
    fn head(&mut self) -> Result<(u8, u64), Failure> {
        let start = self.at;
        let initial = *self.take(1)?.first().unwrap_or(&0);
        let (major, info) = (initial >> 5, initial & 0x1f);
        if major == 7 {
            return match info {
                20..=22 => Ok((major, u64::from(info))),
                25..=27 => Err(refuse_at(
                    start,
                    FailureCode::CborFloat,
                    "floating-point number",
                )),
                31 => Err(refuse_at(
                    start,
                    FailureCode::CborIndefiniteLength,
                    "break code",
                )),
                _ => Err(refuse_at(
                    start,
                    FailureCode::CborSimpleValue,
                    "simple value",
                )),
            };
        }
        let (argument, least) = match info {
            0..=23 => (u64::from(info), 0),
            24 => (self.number(1)?, 24),
            25 => (self.number(2)?, 0x100),
            26 => (self.number(4)?, 0x1_0000),
            27 => (self.number(8)?, 0x1_0000_0000),
            31 => {
                return Err(refuse_at(
                    start,
                    FailureCode::CborIndefiniteLength,
                    "indefinite length",
                ));
            }
            _ => {
                return Err(refuse_at(
                    start,
                    FailureCode::CborSimpleValue,
                    "reserved head",
                ));
            }
        };
        if argument < least {
            return Err(refuse_at(
                start,
                FailureCode::CborNotShortest,
                "head is not in its shortest form",
            ));
        }
        Ok((major, argument))
    }

    fn number(&mut self, bytes: u64) -> Result<u64, Failure> {
        let digits = self.take(bytes)?;
        Ok(digits
            .iter()
            .fold(0, |number, &digit| (number << 8) | u64::from(digit)))
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], Failure> {
        let taken = usize::try_from(length)
            .ok()
            .and_then(|length| self.at.checked_add(length))
            .and_then(|end| self.bytes.get(self.at..end));
        match taken {
            Some(taken) => {
                self.at += taken.len();
                Ok(taken)
            }
            None => Err(self.refuse(FailureCode::CborTruncated, "ends before the item does")),
        }
    }

    #[cold]
    fn refuse(&self, code: FailureCode, what: &str) -> Failure {
        refuse_at(self.at, code, what)
    }
}

#[cold]
fn refuse_at(offset: usize, code: FailureCode, what: &str) -> Failure {
    Failure::new(code, format!("{what} at byte {offset}"))
}

#[cfg(test)]
mod tests {
    use ciborium::Value;
    use proptest::prelude::*;

    use super::*;

    const LIMITS: Limits = Limits {
        max_bytes: 4096,
        max_items: 512,
        max_depth: 8,
        tags: &[18],
    };

    fn code(hex: &str) -> FailureCode {
        check(&bytes(hex), &LIMITS).unwrap_err().code()
    }

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len())
            .step_by(2)
            .map(|i| u8::from_str_radix(hex.get(i..i + 2).unwrap(), 16).unwrap())
            .collect()
    }

    /// One fault each; the encodings are those of RFC 8949 Appendix A and F, made worse.
    #[test]
    fn every_rule_has_its_own_code() {
        for (hex, expected) in [
            ("", FailureCode::CborTruncated),
            ("18", FailureCode::CborTruncated),
            ("4401", FailureCode::CborTruncated),
            ("82", FailureCode::CborTruncated),
            ("a101", FailureCode::CborTruncated),
            ("5bffffffffffffffff", FailureCode::CborTruncated),
            ("9bffffffffffffffff", FailureCode::CborTruncated),
            ("0000", FailureCode::CborTrailingBytes),
            ("1800", FailureCode::CborNotShortest),
            ("1817", FailureCode::CborNotShortest),
            ("1900ff", FailureCode::CborNotShortest),
            ("1a0000ffff", FailureCode::CborNotShortest),
            ("1b00000000ffffffff", FailureCode::CborNotShortest),
            ("3800", FailureCode::CborNotShortest),
            ("580101", FailureCode::CborNotShortest),
            ("d81200", FailureCode::CborNotShortest),
            ("5f42010243030405ff", FailureCode::CborIndefiniteLength),
            ("9fff", FailureCode::CborIndefiniteLength),
            ("bfff", FailureCode::CborIndefiniteLength),
            ("ff", FailureCode::CborIndefiniteLength),
            ("a202000100", FailureCode::CborUnsortedKeys),
            ("a220000000", FailureCode::CborUnsortedKeys),
            (
                "a2626161006162 00".replace(' ', "").as_str(),
                FailureCode::CborUnsortedKeys,
            ),
            ("a201000100", FailureCode::CborDuplicateKey),
            ("62c328", FailureCode::CborInvalidText),
            ("63eda080", FailureCode::CborInvalidText),
            ("f93c00", FailureCode::CborFloat),
            ("fa47c35000", FailureCode::CborFloat),
            ("fb3ff199999999999a", FailureCode::CborFloat),
            ("f7", FailureCode::CborSimpleValue),
            ("f0", FailureCode::CborSimpleValue),
            ("f814", FailureCode::CborSimpleValue),
            ("1c", FailureCode::CborSimpleValue),
            ("c100", FailureCode::CborTag),
            ("c24101", FailureCode::CborTag),
            ("818181818181818100", FailureCode::CborTooDeep),
        ] {
            assert_eq!(code(hex), expected, "{hex}");
        }
        assert_eq!(
            check(&[0x40; 5000], &LIMITS).unwrap_err().code(),
            FailureCode::CborTooLarge
        );
    }

    #[test]
    fn items_are_counted() {
        let mut array = vec![0x99, 0x02, 0x00];
        array.extend([0; 512]);
        assert_eq!(
            check(&array, &LIMITS).unwrap_err().code(),
            FailureCode::CborTooLarge
        );
        array[2] = 0xff;
        array[1] = 0x01;
        array.pop();
        assert!(check(&array, &LIMITS).is_ok());
    }

    #[test]
    fn keys_sort_by_their_bytes_not_by_length() {
        // RFC 8949 §4.2.1: 10, 100, -1, "z", "aa", [100], [-1], false.
        assert!(
            check(
                &bytes(
                    "a80a00186400200061 7a0062616100811864008120 00f400"
                        .replace(' ', "")
                        .as_str()
                ),
                &LIMITS
            )
            .is_ok()
        );
        // The length-first order of RFC 7049 is refused.
        assert_eq!(code("a30a002000186400"), FailureCode::CborUnsortedKeys);
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<bool>().prop_map(Value::from),
            Just(Value::Null),
            proptest::collection::vec(any::<u8>(), 0..40).prop_map(Value::Bytes),
            ".{0,12}".prop_map(Value::Text),
        ];
        leaf.prop_recursive(3, 24, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
                proptest::collection::vec((inner.clone(), inner.clone()), 0..5)
                    .prop_map(Value::Map),
                (prop_oneof![Just(18_u64), Just(1)], inner)
                    .prop_map(|(tag, inner)| Value::Tag(tag, Box::new(inner))),
            ]
        })
    }

    /// The model: a value is fine if it has no float, no foreign tag, and its maps ascend.
    fn model(value: &Value) -> bool {
        match value {
            Value::Float(_) => false,
            Value::Tag(tag, inner) => *tag == 18 && model(inner),
            Value::Array(items) => items.iter().all(model),
            Value::Map(entries) => {
                let keys: Vec<Vec<u8>> = entries.iter().map(|(key, _)| encoded(key)).collect();
                keys.windows(2).all(|pair| pair[0] < pair[1])
                    && entries
                        .iter()
                        .all(|(key, value)| model(key) && model(value))
            }
            _ => true,
        }
    }

    fn encoded(value: &Value) -> Vec<u8> {
        let mut out = Vec::new();
        ciborium::into_writer(value, &mut out).unwrap();
        out
    }

    proptest! {
        #[test]
        fn agrees_with_the_model(value in value()) {
            let bytes = encoded(&value);
            prop_assert_eq!(check(&bytes, &LIMITS).is_ok(), model(&value));
        }

        #[test]
        fn what_passes_re_encodes_to_itself(bytes in proptest::collection::vec(any::<u8>(), 0..24)) {
            if check(&bytes, &LIMITS).is_ok() {
                let value: Value = ciborium::from_reader(bytes.as_slice()).unwrap();
                prop_assert_eq!(encoded(&value), bytes);
            }
        }
    }
}
