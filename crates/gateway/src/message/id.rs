//! Request ids.

use std::fmt;
use std::hash::{Hash, Hasher};

use super::json::{Kind, Value};

/// The id of a request: a string or an integer.
///
/// Two ids are equal when a peer would take them for the same: strings are compared unescaped,
/// and `1` is not `"1"`. The original text is kept for answers. MCP allows neither `null` nor
/// fractions; integers must be in canonical form and fit 64 bits with a sign.
#[derive(Clone, Debug)]
pub struct Id {
    key: Key,
    json: Box<str>,
}

impl Id {
    /// The id as it was written, a JSON string or integer.
    pub fn as_json(&self) -> &str {
        &self.json
    }

    /// Reads an id from a scanned value; `None` if the value cannot be an id.
    pub(super) fn read(value: Value, text: &[u8]) -> Option<Self> {
        let json = std::str::from_utf8(value.span.of(text)).ok()?;
        let key = match value.kind {
            Kind::String => Key::Text(value.as_text(text)?.into()),
            Kind::Number if json != "-0" => Key::Integer(json.parse().ok()?),
            _ => return None,
        };
        Some(Self {
            key,
            json: json.into(),
        })
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.json)
    }
}

impl Eq for Id {}

impl Hash for Id {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key.hash(state);
    }
}

impl PartialEq for Id {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Integer(i64),
    Text(Box<str>),
}
