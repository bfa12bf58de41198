//! Takes signed objects apart, spoils one thing, and signs them again.

use anyhow::{Context as _, Result, bail};
use ciborium::Value;
use counterfoil_protocol::keys::SigningKey;

/// The entries of a map.
pub(super) type Entries = Vec<(Value, Value)>;

/// The four parts of a COSE_Sign1.
#[derive(Clone, Debug)]
pub(super) struct Parts {
    /// The protected header, as bytes.
    pub(super) protected: Vec<u8>,
    /// The unprotected header.
    pub(super) unprotected: Value,
    /// The payload, as bytes.
    pub(super) payload: Vec<u8>,
    /// The signature.
    pub(super) signature: Vec<u8>,
}

impl Parts {
    pub(super) fn of(object: &[u8]) -> Result<Self> {
        let Value::Tag(18, inner) = decode(object)? else {
            bail!("not a COSE_Sign1");
        };
        match inner.into_array().ok().as_deref() {
            Some(
                [
                    Value::Bytes(protected),
                    unprotected,
                    Value::Bytes(payload),
                    Value::Bytes(signature),
                ],
            ) => Ok(Self {
                protected: protected.clone(),
                unprotected: unprotected.clone(),
                payload: payload.clone(),
                signature: signature.clone(),
            }),
            _ => bail!("not a COSE_Sign1"),
        }
    }

    /// Spoils the protected header.
    pub(super) fn header(mut self, edit: impl FnOnce(&mut Entries)) -> Result<Self> {
        self.protected = edited(&self.protected, edit)?;
        Ok(self)
    }

    /// Spoils a map inside the protected header.
    pub(super) fn header_map(self, label: i64, edit: impl FnOnce(&mut Entries)) -> Result<Self> {
        self.header(|entries| within(entries, label, edit))
    }

    /// Spoils the payload.
    pub(super) fn payload(mut self, edit: impl FnOnce(&mut Entries)) -> Result<Self> {
        self.payload = edited(&self.payload, edit)?;
        Ok(self)
    }

    /// Signs what it is now and returns the object.
    pub(super) fn sign(mut self, key: &SigningKey) -> Result<Vec<u8>> {
        self.signature = key.sign(&self.signature_structure()?).to_vec();
        self.object()
    }

    /// The object with the signature it has.
    pub(super) fn object(&self) -> Result<Vec<u8>> {
        self.wrapped(18)
    }

    /// The object under another tag.
    pub(super) fn wrapped(&self, tag: u64) -> Result<Vec<u8>> {
        encode(&Value::Tag(tag, Box::new(Value::Array(self.items()))))
    }

    /// The four parts.
    pub(super) fn items(&self) -> Vec<Value> {
        vec![
            Value::Bytes(self.protected.clone()),
            self.unprotected.clone(),
            Value::Bytes(self.payload.clone()),
            Value::Bytes(self.signature.clone()),
        ]
    }

    /// What the signature is over.
    pub(super) fn signature_structure(&self) -> Result<Vec<u8>> {
        encode(&Value::Array(vec![
            Value::from("Signature1"),
            Value::Bytes(self.protected.clone()),
            Value::Bytes(Vec::new()),
            Value::Bytes(self.payload.clone()),
        ]))
    }
}

/// The value of a byte string that holds a map, with the map spoilt.
pub(super) fn edited(map: &[u8], edit: impl FnOnce(&mut Entries)) -> Result<Vec<u8>> {
    let Value::Map(mut entries) = decode(map)? else {
        bail!("not a map");
    };
    edit(&mut entries);
    encode(&Value::Map(entries))
}

/// Spoils the map that is the value of `key`.
pub(super) fn within(entries: &mut Entries, key: i64, edit: impl FnOnce(&mut Entries)) {
    if let Some((_, Value::Map(inner))) = entries.iter_mut().find(|(k, _)| *k == Value::from(key)) {
        edit(inner);
    }
}

/// Puts a value into a map: in place of the one there is, or where the key belongs.
pub(super) fn set(entries: &mut Entries, key: i64, value: impl Into<Value>) {
    let value = value.into();
    match entries.iter_mut().find(|(k, _)| *k == Value::from(key)) {
        Some((_, present)) => *present = value,
        None => {
            entries.push((Value::from(key), value));
            entries.sort_by_key(|(key, _)| encode(key).unwrap_or_default());
        }
    }
}

/// Takes a key out of a map.
pub(super) fn remove(entries: &mut Entries, key: i64) {
    entries.retain(|(k, _)| *k != Value::from(key));
}

/// A byte string.
pub(super) fn bytes(bytes: impl Into<Vec<u8>>) -> Value {
    Value::Bytes(bytes.into())
}

/// Encodes without looking at order or meaning.
pub(super) fn encode(value: &Value) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    ciborium::into_writer(value, &mut out).context("encode")?;
    Ok(out)
}

pub(super) fn decode(bytes: &[u8]) -> Result<Value> {
    ciborium::from_reader(bytes).context("decode")
}

/// Bytes from hexadecimal digits; blanks are skipped.
pub(super) fn hex(text: &str) -> Result<Vec<u8>> {
    let digits: Vec<u32> = text
        .chars()
        .filter(|c| !c.is_whitespace())
        .map(|c| c.to_digit(16).context("not a hexadecimal digit"))
        .collect::<Result<_>>()?;
    Ok(digits
        .chunks(2)
        .map(|pair| {
            pair.iter()
                .fold(0, |byte, digit| (byte << 4) | *digit as u8)
        })
        .collect())
}

/// Lower-case hexadecimal digits.
pub(super) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes with `from`, which stands in them exactly once, replaced by `to`.
pub(super) fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Result<Vec<u8>> {
    let places: Vec<usize> = bytes
        .windows(from.len())
        .enumerate()
        .filter_map(|(at, window)| (window == from).then_some(at))
        .collect();
    let [at] = places.as_slice() else {
        bail!("what is replaced stands {} times", places.len());
    };
    let (head, tail) = bytes.split_at(*at);
    Ok([head, to, tail.get(from.len()..).unwrap_or_default()].concat())
}
