//! Takes a decoded map apart: every field is asked for by its key, and what nobody asked for is
//! refused at the end. Maps of signed content are closed.

use ciborium::Value;

use crate::failure::{Failure, FailureCode};

/// The entries of a map with integer keys that have not been asked for yet.
#[derive(Debug)]
pub struct Fields {
    entries: std::vec::IntoIter<(Value, Value)>,
    next: Option<(Value, Value)>,
    place: &'static str,
}

impl Fields {
    /// Takes `value` apart; `place` names it in refusals.
    ///
    /// # Errors
    /// [`FailureCode::StructureWrongType`] when it is not a map.
    pub fn of(value: Value, place: &'static str) -> Result<Self, Failure> {
        match value {
            Value::Map(entries) => {
                let mut entries = entries.into_iter();
                let next = entries.next();
                Ok(Self {
                    entries,
                    next,
                    place,
                })
            }
            _ => Err(Failure::new(
                FailureCode::StructureWrongType,
                format!("{place} is not a map"),
            )),
        }
    }

    /// The value of `key`, if there is one. Keys must be asked for in ascending order.
    pub fn optional(&mut self, key: i64) -> Option<Value> {
        match &self.next {
            Some((Value::Integer(found), _)) if i128::from(*found) == i128::from(key) => {
                let value = self.next.take().map(|(_, value)| value);
                self.next = self.entries.next();
                value
            }
            _ => None,
        }
    }

    /// The value of `key`.
    ///
    /// # Errors
    /// [`FailureCode::StructureUnknownField`] when a field that nobody asked for stands before its
    /// place, [`FailureCode::StructureMissingField`] when there is just none.
    pub fn required(&mut self, key: i64) -> Result<Value, Failure> {
        if let Some(value) = self.optional(key) {
            return Ok(value);
        }
        match &self.next {
            Some((Value::Integer(found), _)) if rank(i128::from(*found)) < rank(key.into()) => {
                Err(self.unknown(&Value::Integer(*found)))
            }
            _ => Err(Failure::new(
                FailureCode::StructureMissingField,
                format!("{} has no field {key}", self.place),
            )),
        }
    }

    /// Ends the map.
    ///
    /// # Errors
    /// [`FailureCode::StructureUnknownField`] when a field was not asked for.
    pub fn finish(self) -> Result<(), Failure> {
        match &self.next {
            None => Ok(()),
            Some((key, _)) => Err(self.unknown(key)),
        }
    }

    fn unknown(&self, key: &Value) -> Failure {
        let key = match key {
            Value::Integer(key) => i128::from(*key).to_string(),
            _ => "that is not an integer".to_owned(),
        };
        Failure::new(
            FailureCode::StructureUnknownField,
            format!("{} has an unknown field {key}", self.place),
        )
    }
}

/// Where an integer key stands in bytewise order: 0, 1, 2, … and after them -1, -2, -3, ….
const fn rank(key: i128) -> (bool, i128) {
    (key < 0, key.abs())
}

fn wrong(place: &str, expected: &str) -> Failure {
    Failure::new(
        FailureCode::StructureWrongType,
        format!("{place} is not {expected}"),
    )
}

/// Reads an unsigned integer.
pub(crate) fn unsigned(value: &Value, place: &str) -> Result<u64, Failure> {
    match value {
        Value::Integer(number) => {
            u64::try_from(*number).map_err(|_| wrong(place, "an unsigned integer"))
        }
        _ => Err(wrong(place, "an unsigned integer")),
    }
}

/// Reads an integer that fits 64 bits with its sign.
pub(crate) fn integer(value: &Value, place: &str) -> Result<i128, Failure> {
    match value {
        Value::Integer(number) => Ok(i128::from(*number)),
        _ => Err(wrong(place, "an integer")),
    }
}

/// Reads a text string.
pub(crate) fn text(value: Value, place: &str) -> Result<String, Failure> {
    match value {
        Value::Text(text) => Ok(text),
        _ => Err(wrong(place, "a text string")),
    }
}

/// Reads a byte string.
pub(crate) fn bytes(value: Value, place: &str) -> Result<Vec<u8>, Failure> {
    match value {
        Value::Bytes(bytes) => Ok(bytes),
        _ => Err(wrong(place, "a byte string")),
    }
}

/// Reads a byte string of exactly `N` bytes.
pub(crate) fn fixed<const N: usize>(value: &Value, place: &str) -> Result<[u8; N], Failure> {
    match value {
        Value::Bytes(bytes) => bytes
            .as_slice()
            .try_into()
            .map_err(|_| wrong(place, &format!("a byte string of {N} bytes"))),
        _ => Err(wrong(place, &format!("a byte string of {N} bytes"))),
    }
}

/// Reads an array of at most `most` items.
pub(crate) fn array(value: Value, most: usize, place: &str) -> Result<Vec<Value>, Failure> {
    match value {
        Value::Array(items) if items.len() <= most => Ok(items),
        Value::Array(items) => Err(Failure::new(
            FailureCode::StructureOutOfRange,
            format!(
                "{place} has {} items, at most {most} are allowed",
                items.len()
            ),
        )),
        _ => Err(wrong(place, "an array")),
    }
}

/// Reads null as none.
/// An array that always has `N` items.
pub(crate) fn row<const N: usize>(value: Value, place: &str) -> Result<[Value; N], Failure> {
    match value {
        Value::Array(items) => items.try_into().ok(),
        _ => None,
    }
    .ok_or_else(|| wrong(place, &format!("an array of {N} items")))
}

pub(crate) fn nullable(value: Value) -> Option<Value> {
    if value.is_null() { None } else { Some(value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(keys: &[i64]) -> Value {
        Value::Map(
            keys.iter()
                .map(|&key| (Value::from(key), Value::from(key)))
                .collect(),
        )
    }

    #[test]
    fn every_field_must_be_asked_for() {
        let mut fields = Fields::of(map(&[1, 3, -65537]), "thing").unwrap();
        assert!(fields.required(1).is_ok());
        assert!(fields.optional(2).is_none());
        assert!(fields.required(3).is_ok());
        let refused = fields.finish().unwrap_err();
        assert_eq!(refused.code(), FailureCode::StructureUnknownField);
        assert_eq!(refused.detail(), "thing has an unknown field -65537");
    }

    #[test]
    fn a_missing_field_is_named() {
        let mut fields = Fields::of(map(&[2]), "thing").unwrap();
        let refused = fields.required(1).unwrap_err();
        assert_eq!(refused.code(), FailureCode::StructureMissingField);
    }

    #[test]
    fn an_unknown_field_is_not_called_a_missing_one() {
        for (present, asked) in [(2, 3), (0, 1), (7, -1), (-1, -65537)] {
            let mut fields = Fields::of(map(&[present]), "thing").unwrap();
            let refused = fields.required(asked).unwrap_err();
            assert_eq!(refused.code(), FailureCode::StructureUnknownField);
        }
    }
}
