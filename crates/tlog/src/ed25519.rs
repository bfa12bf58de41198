//! Ed25519 (RFC 8032) with one answer per signature: keys checked once, verification strict.
//!
//! RFC 8032 leaves room in which two correct libraries disagree about odd keys and signatures. A
//! key that passes [`check_public_key`] and a signature that passes [`verify`] are outside it.

use ed25519_dalek::{Signature, VerifyingKey};
use thiserror::Error;

/// Why a public key or a signature was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Ed25519Error {
    /// The bytes do not decode to a point on the curve.
    #[error("public key is not a point on the curve")]
    NotAPoint,
    /// The bytes are a second spelling of a point (RFC 8032 section 5.1.3).
    #[error("public key is not canonically encoded")]
    NotCanonical,
    /// The key has small order: signatures for it can be made without a secret.
    #[error("public key has small order")]
    SmallOrder,
    /// The key is outside the prime-order group, so verifiers may disagree about its signatures.
    #[error("public key is not in the prime-order group")]
    MixedOrder,
    /// The signature does not verify.
    #[error("signature does not verify")]
    BadSignature,
}

impl Ed25519Error {
    /// A stable code for machines.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotAPoint => "key_not_a_point",
            Self::NotCanonical => "key_not_canonical",
            Self::SmallOrder => "key_small_order",
            Self::MixedOrder => "key_mixed_order",
            Self::BadSignature => "bad_signature",
        }
    }
}

/// Decodes a 32-byte public key (RFC 8032 section 5.1.3) and refuses what honest key generation
/// never makes: another spelling of a point, small order, or a torsion component.
///
/// # Errors
/// The [`Ed25519Error`] naming the first check that failed.
pub fn check_public_key(bytes: &[u8; 32]) -> Result<VerifyingKey, Ed25519Error> {
    let key = VerifyingKey::from_bytes(bytes).map_err(|_| Ed25519Error::NotAPoint)?;
    let point = key.to_edwards();
    if point.compress().as_bytes() != bytes {
        return Err(Ed25519Error::NotCanonical);
    }
    if key.is_weak() {
        return Err(Ed25519Error::SmallOrder);
    }
    if !point.is_torsion_free() {
        return Err(Ed25519Error::MixedOrder);
    }
    Ok(key)
}

/// Verifies one signature strictly: canonical `S`, canonical `R` of large order, no cofactor.
///
/// # Errors
/// [`Ed25519Error::BadSignature`].
pub fn verify(
    key: &VerifyingKey,
    message: &[u8],
    signature: &[u8; 64],
) -> Result<(), Ed25519Error> {
    key.verify_strict(message, &Signature::from_bytes(signature))
        .map_err(|_| Ed25519Error::BadSignature)
}
