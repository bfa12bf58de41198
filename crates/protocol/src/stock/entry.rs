//! What a COSE receipt is for: one of our signed objects, whole, as it stands in a tree.

use crate::commitment::UnverifiedCommitment;
use crate::cose::ObjectType;
use crate::failure::{Failure, FailureCode};
use crate::manifest::UnverifiedManifest;

/// The kind of object that a log's receipt with this `sub` is for.
pub(super) fn logged_type(subject: &str) -> Result<ObjectType, Failure> {
    [ObjectType::Commitment, ObjectType::Manifest]
        .into_iter()
        .find(|object| object.subject() == subject)
        .ok_or_else(|| Failure::new(FailureCode::CoseType, format!("a log holds no `{subject}`")))
}

/// Checks that `entry` is such an object.
pub(super) fn check_logged(entry: &[u8], object: ObjectType) -> Result<(), Failure> {
    match object {
        ObjectType::Commitment => UnverifiedCommitment::parse(entry).map(|_| ()),
        _ => UnverifiedManifest::parse(entry).map(|_| ()),
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
