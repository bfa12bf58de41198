//! Timestamped Ed25519 cosignatures, type `0x04` (c2sp.org/tlog-cosignature).
//!
//! A witness says with one: at that time, this was the largest tree I had seen of this log, and
//! it was consistent with all I had seen before. The signed message does not name the witness, so a
//! witness key must be used under one name only.

use ed25519_dalek::VerifyingKey;

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::ed25519;
use crate::note::{Algorithm, NoteError, NoteSignature, SignatureError, SignerKey};

/// The largest timestamp, 2^63 - 1 seconds since 1970.
pub const MAX_TIMESTAMP: u64 = i64::MAX as u64;

/// Cosigns a checkpoint's note text, extension lines included, at `unix_seconds`.
///
/// The caller must have checked and stored the checkpoint before; see
/// [`witness`](crate::witness).
///
/// # Errors
/// [`CheckpointError`] when the text is not a checkpoint, the key is not of type `0x04`, or the
/// timestamp is 0 or above [`MAX_TIMESTAMP`].
pub fn cosign(
    checkpoint_text: &str,
    signer: &SignerKey,
    unix_seconds: u64,
) -> Result<NoteSignature, CheckpointError> {
    Checkpoint::parse(checkpoint_text)?;
    if signer.algorithm() != Algorithm::CosignatureEd25519 {
        return Err(NoteError::WrongAlgorithm(signer.name().clone()).into());
    }
    if !is_timestamp(unix_seconds) {
        let (name, reason) = (signer.name().clone(), SignatureError::Timestamp);
        return Err(NoteError::BadSignature { name, reason }.into());
    }
    let mut bytes = unix_seconds.to_be_bytes().to_vec();
    bytes.extend_from_slice(&signer.sign_bytes(&message(checkpoint_text, unix_seconds)));
    Ok(signer.line(bytes)?)
}

/// The bytes a cosignature signs: `cosignature/v1`, the time line, the whole note text
/// (tlog-cosignature, section "Ed25519 signed message").
#[must_use]
pub fn message(checkpoint_text: &str, unix_seconds: u64) -> Vec<u8> {
    format!("cosignature/v1\ntime {unix_seconds}\n{checkpoint_text}").into_bytes()
}

/// Verifies `u64 timestamp || Ed25519 signature` over a note text and returns the timestamp.
pub(crate) fn verify(
    key: &VerifyingKey,
    text: &str,
    signature: &[u8],
) -> Result<u64, SignatureError> {
    let (timestamp, signature) = signature
        .split_first_chunk::<8>()
        .ok_or(SignatureError::Length)?;
    let signature = signature.try_into().map_err(|_| SignatureError::Length)?;
    let timestamp = u64::from_be_bytes(*timestamp);
    if !is_timestamp(timestamp) {
        return Err(SignatureError::Timestamp);
    }
    ed25519::verify(key, &message(text, timestamp), signature)?;
    Ok(timestamp)
}

/// Zero would claim nothing about time, and tlog-witness forbids it to witnesses.
const fn is_timestamp(seconds: u64) -> bool {
    seconds != 0 && seconds <= MAX_TIMESTAMP
}
