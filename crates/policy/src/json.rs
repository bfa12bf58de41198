//! JSON as an agent sent it, read strictly: one value, no name twice, no name that has a special
//! meaning in Cedar's own JSON format.

use core::fmt;
use std::collections::BTreeMap;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// A JSON value. Numbers are kept only as far as a policy can use them.
#[derive(Debug, PartialEq)]
pub(crate) enum Json {
    Null,
    Boolean(bool),
    Integer(i64),
    /// A fraction, a power of ten, or an integer outside 64 bits.
    OtherNumber,
    Text(String),
    List(Vec<Json>),
    Object(BTreeMap<String, Json>),
}

impl Json {
    /// Reads `bytes` as exactly one value.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }

    /// What kind of value it is, for people.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean(_) => "a boolean",
            Self::Integer(_) => "an integer",
            Self::OtherNumber => "a fraction or an integer outside 64 bits",
            Self::Text(_) => "a string",
            Self::List(_) => "a list",
            Self::Object(_) => "an object",
        }
    }
}

/// Whether Cedar's JSON format gives the name a meaning, as it does with `__entity`. We never use
/// that format, so this is a second lock on the same door.
pub(crate) fn is_reserved_name(name: &str) -> bool {
    name.starts_with("__")
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Boolean(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Integer(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(i64::try_from(value).map_or(Json::OtherNumber, Json::Integer))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Json, E> {
        Ok(Json::OtherNumber)
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Json, E> {
        Ok(Json::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Json, A::Error> {
        let mut object = BTreeMap::new();
        while let Some(name) = members.next_key::<String>()? {
            if is_reserved_name(&name) {
                return Err(de::Error::custom("a member name begins with `__`"));
            }
            if object.insert(name, members.next_value()?).is_some() {
                return Err(de::Error::custom("a member name stands twice"));
            }
        }
        Ok(Json::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_a_policy_cannot_hold_are_marked() {
        for (text, expected) in [
            ("9223372036854775807", Json::Integer(i64::MAX)),
            ("-9223372036854775808", Json::Integer(i64::MIN)),
            ("9223372036854775808", Json::OtherNumber),
            ("-9223372036854775809", Json::OtherNumber),
            ("18446744073709551616", Json::OtherNumber),
            ("1.0", Json::OtherNumber),
            ("1e2", Json::OtherNumber),
            ("-0", Json::OtherNumber),
        ] {
            assert_eq!(Json::parse(text.as_bytes()).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn what_two_parsers_could_read_differently_is_refused() {
        for bad in [
            "",
            " ",
            "{} {}",
            "{\"a\":1,}",
            "{\"a\":1,\"a\":1}",
            "{\"a\":{\"b\":1,\"\\u0062\":2}}",
            "{\"__entity\":{\"type\":\"Agent\",\"id\":\"x\"}}",
            "[{\"\\u005f_extn\":1}]",
            "\u{feff}{}",
            "NaN",
            "{'a':1}",
            "\"\\ud800\"",
        ] {
            assert!(Json::parse(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(Json::parse(&[b'"', 0xff, b'"']).is_err());
        let deep = "[".repeat(1000) + &"]".repeat(1000);
        assert!(Json::parse(deep.as_bytes()).is_err());
    }
}
