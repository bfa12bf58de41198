//! External attestations: evidence from elsewhere that a record refers to.
//!
//! A record can say that something it concerns is attested by others too: a payment provider's
//! receipt, a chain transaction, an in-toto statement. It names it by kind, digest and location.
//! Verifying a record never verifies what it refers to; it reports that it is referred to.
//!
//! Spec: records §7.

use core::fmt;

use ciborium::Value;
use sha2::{Digest as _, Sha256, Sha384, Sha512};

use crate::cbor::fields::{array, bytes, integer, row, text};
use crate::cbor::{Encoder, Fields};
use crate::failure::{Failure, FailureCode};
use crate::names::{AttestationKind, Location};

/// The most attestations that one record may refer to.
pub const MAX_ATTESTATIONS: usize = 16;

/// A reference to evidence from elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attestation {
    /// What kind of evidence it is: a media type, or a URI that names the kind.
    pub kind: AttestationKind,
    /// The digest of its bytes.
    pub digest: AttestationDigest,
    /// Where it can be had, if it can be had somewhere.
    pub location: Option<Location>,
}

/// The algorithms that a digest may be of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DigestAlgorithm {
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl DigestAlgorithm {
    /// The digest of evidence: of its bytes, exactly as they are.
    pub fn digest(self, evidence: &[u8]) -> AttestationDigest {
        match self {
            Self::Sha256 => AttestationDigest::Sha256(Sha256::digest(evidence).into()),
            Self::Sha384 => AttestationDigest::Sha384(Sha384::digest(evidence).into()),
            Self::Sha512 => AttestationDigest::Sha512(Sha512::digest(evidence).into()),
        }
    }
}

/// A digest as others make it, with its COSE algorithm number (RFC 9054).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttestationDigest {
    /// SHA-256, -16.
    Sha256([u8; 32]),
    /// SHA-384, -43.
    Sha384([u8; 48]),
    /// SHA-512, -44.
    Sha512([u8; 64]),
}

impl AttestationDigest {
    /// The algorithm's COSE number.
    pub const fn algorithm(&self) -> i64 {
        match self {
            Self::Sha256(_) => -16,
            Self::Sha384(_) => -43,
            Self::Sha512(_) => -44,
        }
    }

    /// The algorithm's name.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Sha256(_) => "sha-256",
            Self::Sha384(_) => "sha-384",
            Self::Sha512(_) => "sha-512",
        }
    }

    /// The digest's bytes.
    pub const fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Sha256(bytes) => bytes,
            Self::Sha384(bytes) => bytes,
            Self::Sha512(bytes) => bytes,
        }
    }

    /// Whether it is the digest of these bytes.
    pub fn is_of(&self, evidence: &[u8]) -> bool {
        let algorithm = match self {
            Self::Sha256(_) => DigestAlgorithm::Sha256,
            Self::Sha384(_) => DigestAlgorithm::Sha384,
            Self::Sha512(_) => DigestAlgorithm::Sha512,
        };
        algorithm.digest(evidence) == *self
    }

    /// Reads the text form, as it is printed: `sha-256:` and lower-case hex.
    ///
    /// # Errors
    /// As [`AttestationDigest::new`], in the words of the text form.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        let (name, digits) = text.split_once(':').unwrap_or((text, ""));
        let algorithm = match name {
            "sha-256" => -16,
            "sha-384" => -43,
            "sha-512" => -44,
            _ => {
                return Err(Failure::new(
                    FailureCode::StructureOutOfRange,
                    "a digest begins with `sha-256:`, `sha-384:` or `sha-512:`, and no other \
                     algorithm is known",
                ));
            }
        };
        let digest = from_hex(digits).ok_or_else(|| {
            Failure::new(
                FailureCode::StructureWrongType,
                format!("the digits of a {name} digest are not lower-case hex, two for a byte"),
            )
        })?;
        Self::new(algorithm, &digest).map_err(|failure| {
            let detail = format!("a {name} digest is not {} bytes", digest.len());
            Failure::new(failure.code(), detail)
        })
    }

    /// A digest from its COSE algorithm number and bytes.
    ///
    /// # Errors
    /// [`FailureCode::StructureOutOfRange`] for another algorithm,
    /// [`FailureCode::StructureWrongType`] when the digest has another size.
    pub fn new(algorithm: i64, digest: &[u8]) -> Result<Self, Failure> {
        let size = |_| {
            Failure::new(
                FailureCode::StructureWrongType,
                format!(
                    "a digest of algorithm {algorithm} is not {} bytes",
                    digest.len()
                ),
            )
        };
        match algorithm {
            -16 => digest.try_into().map(Self::Sha256).map_err(size),
            -43 => digest.try_into().map(Self::Sha384).map_err(size),
            -44 => digest.try_into().map(Self::Sha512).map_err(size),
            _ => Err(unknown(algorithm.into())),
        }
    }
}

/// Lower-case digits only, so that a digest has one text form.
fn from_hex(digits: &str) -> Option<Vec<u8>> {
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    digits
        .as_bytes()
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => Some(value(*high)? << 4 | value(*low)?),
            _ => None,
        })
        .collect()
}

/// The number of an algorithm, whatever size the digest has.
fn known(algorithm: i128) -> Result<i64, Failure> {
    match algorithm {
        -16 => Ok(-16),
        -43 => Ok(-43),
        -44 => Ok(-44),
        _ => Err(unknown(algorithm)),
    }
}

fn unknown(algorithm: i128) -> Failure {
    Failure::new(
        FailureCode::StructureOutOfRange,
        format!("digest algorithm {algorithm} is not SHA-256, SHA-384 or SHA-512"),
    )
}

impl fmt::Display for AttestationDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.name())?;
        for byte in self.as_bytes() {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl Attestation {
    pub(crate) fn encode(&self, encoder: &mut Encoder) {
        encoder.map(|map| {
            map.key(1).text(self.kind.as_str());
            map.key(2)
                .array(2)
                .integer(self.digest.algorithm())
                .bytes(self.digest.as_bytes());
            map.optional(3, self.location.as_ref(), |encoder, location| {
                encoder.text(location.as_str());
            });
        });
    }

    fn decode(value: Value) -> Result<Self, Failure> {
        let mut fields = Fields::of(value, "an attestation")?;
        let kind = AttestationKind::new(text(fields.required(1)?, "the kind")?)?;
        let [algorithm, digest] = row(fields.required(2)?, "the digest")?;
        let algorithm = known(integer(&algorithm, "the digest algorithm")?)?;
        let digest = AttestationDigest::new(algorithm, &bytes(digest, "the digest")?)?;
        let location = fields
            .optional(3)
            .map(|value| Location::new(text(value, "the location")?))
            .transpose()?;
        fields.finish()?;
        Ok(Self {
            kind,
            digest,
            location,
        })
    }
}

/// The attestations of a record: absent when there are none, never an empty array.
pub(crate) fn decode_all(value: Value) -> Result<Vec<Attestation>, Failure> {
    let attestations: Vec<Attestation> = array(value, MAX_ATTESTATIONS, "attestations")?
        .into_iter()
        .map(Attestation::decode)
        .collect::<Result<_, _>>()?;
    if attestations.is_empty() {
        return Err(Failure::new(
            FailureCode::StructureOutOfRange,
            "an empty array of attestations",
        ));
    }
    Ok(attestations)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_of_the_very_bytes_and_has_one_text_form() {
        for (algorithm, name) in [
            (DigestAlgorithm::Sha256, "sha-256:"),
            (DigestAlgorithm::Sha384, "sha-384:"),
            (DigestAlgorithm::Sha512, "sha-512:"),
        ] {
            let digest = algorithm.digest(b"{}");
            assert!(digest.is_of(b"{}"));
            assert!(!digest.is_of(b"{} "));
            let text = digest.to_string();
            assert!(text.starts_with(name));
            assert_eq!(AttestationDigest::parse(&text).unwrap(), digest);
            let refused = [
                text.to_uppercase(),
                text.replace(name, &name.replace('-', "")),
                text.replace(name, "sha-1:"),
                text.replace(name, ""),
                format!("{text}00"),
                text.get(..text.len() - 1).unwrap().to_owned(),
                format!("{name}{}", text.get(name.len()..).unwrap().to_uppercase()),
            ];
            for bad in refused {
                assert!(AttestationDigest::parse(&bad).is_err(), "{bad}");
            }
        }
        // FIPS 180-4: the empty message.
        assert_eq!(
            DigestAlgorithm::Sha256.digest(b"").to_string(),
            "sha-256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
    }
}
