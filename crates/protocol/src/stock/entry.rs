//! What a COSE receipt is for: one of our signed objects, whole, as it stands in a tree.

use crate::commitment::UnverifiedCommitment;
use crate::cose::ObjectType;
use crate::failure::{Failure, FailureCode};
use crate::manifest::UnverifiedManifest;

/// Checks that `entry` is an object that a log takes, and that `subject` is its kind.
pub(super) fn check_logged(entry: &[u8], subject: &str) -> Result<(), Failure> {
    if subject == ObjectType::Commitment.subject() {
        UnverifiedCommitment::parse(entry).map(|_| ())
    } else if subject == ObjectType::Manifest.subject() {
        UnverifiedManifest::parse(entry).map(|_| ())
    } else {
        Err(Failure::new(
            FailureCode::CoseType,
            format!("a log holds no `{subject}`"),
        ))
    }
}

/// The `sub` of an entry of a log, which its receipt repeats.
pub(super) fn subject(entry: &[u8]) -> Result<&'static str, Failure> {
    match UnverifiedCommitment::parse(entry) {
        Ok(_) => Ok(ObjectType::Commitment.subject()),
        Err(failure) if failure.code() == FailureCode::CoseType => {
            UnverifiedManifest::parse(entry).map(|_| ObjectType::Manifest.subject())
        }
        Err(failure) => Err(failure),
    }
}
