//! Digests, each kind a type of its own, so that one can never stand where another is meant.
//!
//! Spec: records §3 (ids), batches §2 (trees), records §6 (content digests).

use core::fmt;

use sha2::{Digest as _, Sha256};

use crate::failure::{Failure, FailureCode};

macro_rules! digest_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 32]);

        impl $name {
            /// Wraps 32 digest bytes.
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// The 32 digest bytes.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }

            /// Parses 64 lower-case hexadecimal digits.
            ///
            /// # Errors
            /// [`FailureCode::StructureWrongType`] when `text` is anything else.
            pub fn from_hex(text: &str) -> Result<Self, Failure> {
                parse_hex(text).map(Self).ok_or_else(|| {
                    Failure::new(
                        FailureCode::StructureWrongType,
                        format!("`{text}` is not 64 lower-case hexadecimal digits"),
                    )
                })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(f, &self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "("))?;
                write_hex(f, &self.0)?;
                f.write_str(")")
            }
        }
    };
}

digest_type! {
    /// The id of a record: SHA-256 of its COSE `Sig_structure`. Links between records are ids.
    RecordId
}
digest_type! {
    /// SHA-256 over the whole bytes of a commitment, as the next commitment refers to it.
    CommitmentDigest
}
digest_type! {
    /// SHA-256 over the whole bytes of a manifest, as the next manifest refers to it.
    ManifestDigest
}
digest_type! {
    /// SHA-256 over the bytes of a cosigned checkpoint note, as a beacon refers to it.
    CheckpointDigest
}
digest_type! {
    /// SHA-256 over the bytes of a receipt without its presentation, as a presentation refers to it.
    ReceiptDigest
}
digest_type! {
    /// BLAKE3 over content: parameters, results, policy sets, evaluation inputs.
    ContentDigest
}
digest_type! {
    /// RFC 9679 COSE key thumbprint (SHA-256) of an Ed25519 public key; the `kid` of everything
    /// the key signs, and the name of its stream.
    KeyThumbprint
}

impl CommitmentDigest {
    /// Digests the bytes of a commitment as received.
    pub fn of(bytes: &[u8]) -> Self {
        Self(sha256(bytes))
    }
}

impl ManifestDigest {
    /// Digests the bytes of a manifest as received.
    pub fn of(bytes: &[u8]) -> Self {
        Self(sha256(bytes))
    }
}

impl CheckpointDigest {
    /// Digests the bytes of a cosigned checkpoint note as received.
    pub fn of(bytes: &[u8]) -> Self {
        Self(sha256(bytes))
    }
}

impl ReceiptDigest {
    /// Digests the bytes of a receipt without its presentation.
    pub fn of(bytes: &[u8]) -> Self {
        Self(sha256(bytes))
    }
}

impl ContentDigest {
    /// BLAKE3 over `content`, unsalted: only for content nobody could guess or that is public,
    /// such as a policy set.
    pub fn of(content: &[u8]) -> Self {
        Self(*blake3::hash(content).as_bytes())
    }
}

pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// 128 random bits that make a content digest impossible to guess. Never used twice.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Salt([u8; 16]);

impl Salt {
    /// Wraps 16 bytes, which the caller has drawn from the operating system.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The 16 bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for Salt {
    // A salt protects what it was hashed with: it stays out of logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Salt(..)")
    }
}

fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

fn parse_hex(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let mut bytes = [0_u8; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *byte = (hex_digit(*high)? << 4) | hex_digit(*low)?;
    }
    Some(bytes)
}

const fn hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_round_trips_and_refuses_upper_case() {
        let id = RecordId::from_bytes([0xab; 32]);
        assert_eq!(RecordId::from_hex(&id.to_string()).unwrap(), id);
        assert!(RecordId::from_hex(&id.to_string().to_uppercase()).is_err());
        assert!(RecordId::from_hex("ab").is_err());
    }

    #[test]
    fn a_salt_is_not_printed() {
        assert_eq!(format!("{:?}", Salt::from_bytes([7; 16])), "Salt(..)");
    }
}
