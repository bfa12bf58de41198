//! Salted digests, and the disclosures that open them.
//!
//! A sensitive field stands in its record as BLAKE3 over `[salt, content, field]`, the shape of an
//! SD-CWT disclosure. Whoever holds the disclosure can check it; who does not can neither read nor
//! guess the content, because the salt has 128 bits.
//!
//! Spec: records §6.

use crate::cbor::fields::{bytes, fixed, row, unsigned};
use crate::cbor::{Encoder, Limits, decode};
use crate::digest::{ContentDigest, Salt};
use crate::failure::{Failure, FailureCode};
use crate::names::{PrincipalName, SessionName};
use crate::record::Record;

/// The most bytes of content that a disclosure may carry: 16 MiB.
pub const MAX_CONTENT_BYTES: usize = 16 << 20;

/// Which field of a record a disclosure opens. Fields at the top of a record go by their key there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DisclosedField {
    /// The parameters, as the bytes that were sent.
    Parameters,
    /// The exact input of the policy evaluation.
    EvaluationInput,
    /// The result, as the bytes that came back.
    Result,
    /// The terms of the contract.
    Contract,
    /// The name of the person or service on whose behalf the agent acts.
    OnBehalfOf,
    /// The name of the agent's session.
    Session,
}

impl DisclosedField {
    /// All of them, in the order of their keys.
    pub const ALL: [Self; 6] = [
        Self::Parameters,
        Self::EvaluationInput,
        Self::Result,
        Self::Contract,
        Self::OnBehalfOf,
        Self::Session,
    ];

    /// The field's number in disclosures.
    pub const fn key(self) -> u64 {
        match self {
            Self::Parameters => 9,
            Self::EvaluationInput => 10,
            Self::Result => 15,
            Self::Contract => 19,
            Self::OnBehalfOf => 21,
            Self::Session => 22,
        }
    }

    /// The field's name for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Parameters => "parameters",
            Self::EvaluationInput => "evaluation input",
            Self::Result => "result",
            Self::Contract => "contract",
            Self::OnBehalfOf => "on behalf of",
            Self::Session => "session",
        }
    }

    /// The field with this number.
    ///
    /// # Errors
    /// [`FailureCode::StructureOutOfRange`] when no field that can be disclosed has it.
    pub fn from_key(key: u64) -> Result<Self, Failure> {
        Self::ALL
            .into_iter()
            .find(|field| field.key() == key)
            .ok_or_else(|| {
                Failure::new(
                    FailureCode::StructureOutOfRange,
                    format!("a disclosure names field {key}, which cannot be disclosed"),
                )
            })
    }
}

/// The fields that a record has a salted digest for and that none of these disclosures opens.
pub fn hidden(record: &Record, disclosures: &[Disclosure]) -> Vec<DisclosedField> {
    let closed = |field: &DisclosedField| {
        record.disclosable(*field).is_some()
            && !disclosures
                .iter()
                .any(|disclosure| disclosure.field == *field)
    };
    DisclosedField::ALL.into_iter().filter(closed).collect()
}

/// The salted digest of `content` as the value of `field`.
pub fn salted_digest(salt: &Salt, field: DisclosedField, content: &[u8]) -> ContentDigest {
    let mut head = Encoder::with_capacity(32);
    head.array(3).bytes(salt.as_bytes());
    let mut hasher = blake3::Hasher::new();
    hasher.update(&head.into_bytes());
    hasher.update(&bytes_head(content.len()));
    hasher.update(content);
    let mut tail = Encoder::with_capacity(4);
    tail.unsigned(field.key());
    hasher.update(&tail.into_bytes());
    ContentDigest::from_bytes(*hasher.finalize().as_bytes())
}

/// The head of a byte string, so that large content is hashed without being copied.
fn bytes_head(length: usize) -> Vec<u8> {
    let mut encoder = Encoder::with_capacity(9);
    encoder.bytes_head(length);
    encoder.into_bytes()
}

/// What opens one field: its salt and its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disclosure {
    /// Which field.
    pub field: DisclosedField,
    /// Its salt.
    pub salt: Salt,
    /// Its content, byte by byte.
    pub content: Vec<u8>,
}

impl Disclosure {
    /// The digest that the record must hold.
    pub fn digest(&self) -> ContentDigest {
        salted_digest(&self.salt, self.field, &self.content)
    }

    /// Checks that the content has the form that the field asks for: persons and sessions are
    /// names, all else is bytes.
    ///
    /// # Errors
    /// [`FailureCode::NameInvalid`].
    pub fn check_content(&self) -> Result<(), Failure> {
        let name = || {
            core::str::from_utf8(&self.content).map_err(|_| {
                Failure::new(
                    FailureCode::NameInvalid,
                    format!("the {} that is disclosed is not UTF-8", self.field.name()),
                )
            })
        };
        match self.field {
            DisclosedField::OnBehalfOf => PrincipalName::new(name()?).map(|_| ()),
            DisclosedField::Session => SessionName::new(name()?).map(|_| ()),
            DisclosedField::Parameters
            | DisclosedField::EvaluationInput
            | DisclosedField::Result
            | DisclosedField::Contract => Ok(()),
        }
    }

    /// Encodes `[salt, content, field]`.
    pub fn encode(&self) -> Vec<u8> {
        let mut encoder = Encoder::with_capacity(self.content.len() + 32);
        encoder
            .array(3)
            .bytes(self.salt.as_bytes())
            .bytes(&self.content)
            .unsigned(self.field.key());
        encoder.into_bytes()
    }

    /// Parses `[salt, content, field]`.
    ///
    /// # Errors
    /// A CBOR or structure code.
    pub fn parse(encoded: &[u8]) -> Result<Self, Failure> {
        let value = decode(encoded, &Limits::untagged(MAX_CONTENT_BYTES + 64))?;
        let [salt, content, field] = row(value, "a disclosure")?;
        Ok(Self {
            salt: Salt::from_bytes(fixed(&salt, "a salt")?),
            content: bytes(content, "disclosed content")?,
            field: DisclosedField::from_key(unsigned(&field, "a disclosed field")?)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_over_the_encoded_disclosure() {
        for length in [0, 1, 23, 24, 255, 256, 70_000] {
            let disclosure = Disclosure {
                field: DisclosedField::Result,
                salt: Salt::from_bytes([9; 16]),
                content: vec![b'x'; length],
            };
            assert_eq!(disclosure.digest(), ContentDigest::of(&disclosure.encode()));
            assert_eq!(Disclosure::parse(&disclosure.encode()).unwrap(), disclosure);
        }
    }

    #[test]
    fn salt_field_and_content_all_matter() {
        let digest = |salt, field, content: &[u8]| {
            salted_digest(&Salt::from_bytes([salt; 16]), field, content)
        };
        let one = digest(1, DisclosedField::Parameters, b"a");
        assert_ne!(one, digest(2, DisclosedField::Parameters, b"a"));
        assert_ne!(one, digest(1, DisclosedField::Result, b"a"));
        assert_ne!(one, digest(1, DisclosedField::Parameters, b"b"));
    }
}
