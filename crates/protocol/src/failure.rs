//! The closed list of reasons why bytes are refused or a receipt does not verify.
//!
//! A code is stable: it stands in reports, in vectors and in the specification (verification §5),
//! and another implementation must answer the same one. The detail is for people and may change.

use core::fmt;

macro_rules! failure_codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $code:literal,)+) => {
        /// Why something was refused. Spec: verification §5.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum FailureCode {
            $($(#[doc = $doc])+ $name,)+
        }

        impl FailureCode {
            /// Every code there is, in the order of the specification.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The stable text of the code.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $code,)+
                }
            }

            /// What the code means, in a sentence.
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(Self::$name => concat!($($doc),+),)+
                }
            }
        }
    };
}

failure_codes! {
    /// The CBOR ends before its last item does.
    CborTruncated = "cbor_truncated",
    /// Bytes follow the CBOR item.
    CborTrailingBytes = "cbor_trailing_bytes",
    /// An integer, length or tag is not in its shortest form.
    CborNotShortest = "cbor_not_shortest",
    /// A string, array or map has indefinite length.
    CborIndefiniteLength = "cbor_indefinite_length",
    /// Map keys are not in ascending bytewise order.
    CborUnsortedKeys = "cbor_unsorted_keys",
    /// A map holds a key twice.
    CborDuplicateKey = "cbor_duplicate_key",
    /// A text string is not UTF-8.
    CborInvalidText = "cbor_invalid_text",
    /// A floating-point number stands where none may.
    CborFloat = "cbor_float",
    /// A simple value other than false, true or null, or a reserved head.
    CborSimpleValue = "cbor_simple_value",
    /// A tag that is not allowed at this place.
    CborTag = "cbor_tag",
    /// Items are nested more deeply than allowed.
    CborTooDeep = "cbor_too_deep",
    /// The object has more bytes than allowed.
    CborTooLarge = "cbor_too_large",
    /// A required field is missing.
    StructureMissingField = "structure_missing_field",
    /// A field stands where the format has none.
    StructureUnknownField = "structure_unknown_field",
    /// A field has another type or size than the format says.
    StructureWrongType = "structure_wrong_type",
    /// A number or count is outside its range.
    StructureOutOfRange = "structure_out_of_range",
    /// A name has a form that names of its kind may not have.
    NameInvalid = "name_invalid",
    /// The object is not a tagged COSE_Sign1 with its four parts.
    CoseStructure = "cose_structure",
    /// The signature algorithm is not Ed25519 (-19).
    CoseAlgorithm = "cose_algorithm",
    /// A header parameter is missing, unknown or malformed.
    CoseHeader = "cose_header",
    /// The object is of another type than expected here.
    CoseType = "cose_type",
    /// A public key is not a canonical Ed25519 key of prime order.
    KeyInvalid = "key_invalid",
    /// No manifest known here lists the signing key.
    KeyUnknown = "key_unknown",
    /// The signing key was revoked before this was logged.
    KeyRevoked = "key_revoked",
    /// A signature does not verify.
    SignatureInvalid = "signature_invalid",
    /// The time in the header and the time in the payload differ.
    RecordTimeMismatch = "record_time_mismatch",
    /// The first record of a stream or channel names a predecessor, or a later one does not, or
    /// another record than the first says that the stream opened, or the first does not.
    RecordChainStart = "record_chain_start",
    /// The record and the commitment come from different streams.
    CommitmentStreamMismatch = "commitment_stream_mismatch",
    /// The record's sequence lies outside the batch.
    CommitmentRangeMismatch = "commitment_range_mismatch",
    /// The first commitment of a stream names a predecessor, or a later one does not.
    CommitmentChainStart = "commitment_chain_start",
    /// The path in the batch does not lead from the record to the signed root.
    BatchPathInvalid = "batch_path_invalid",
    /// The log proof is not a well-formed tlog-proof.
    LogProofMalformed = "log_proof_malformed",
    /// The checkpoint comes from a log that the trust file does not name.
    LogUnknown = "log_unknown",
    /// The log's signature on the checkpoint does not verify.
    CheckpointSignatureInvalid = "checkpoint_signature_invalid",
    /// The path in the log does not lead from the entry to the checkpoint's root.
    LogPathInvalid = "log_path_invalid",
    /// A witness known to the trust file signed the checkpoint, and its signature does not verify.
    CosignatureInvalid = "cosignature_invalid",
    /// Too few of the trusted witnesses cosigned the checkpoint.
    QuorumNotMet = "quorum_not_met",
    /// The trust file names no root key for the operator.
    OperatorUnknown = "operator_unknown",
    /// The manifests are not an unbroken chain from a trusted root key.
    ManifestChainBroken = "manifest_chain_broken",
    /// A manifest is not shown to be in the log, or only after what it vouches for.
    ManifestNotLogged = "manifest_not_logged",
    /// A disclosure does not hash to what the record holds.
    DisclosureMismatch = "disclosure_mismatch",
    /// The presentation is of another receipt than the one that it stands in.
    PresentationMismatch = "presentation_mismatch",
    /// The receipt was presented to another audience than the verifier, or to none where it had to
    /// be.
    AudienceMismatch = "audience_mismatch",
    /// The checkpoint given for the beacon is not the one the record names.
    BeaconMismatch = "beacon_mismatch",
    /// The receipt has a later part without the earlier one that it needs.
    ReceiptIncomplete = "receipt_incomplete",
    /// The bundle holds no record.
    BundleEmpty = "bundle_empty",
    /// The parts or records of a bundle are not in order, or one stands twice.
    BundleOrder = "bundle_order",
    /// A part of the bundle is of another operator, stream or channel than it has to be.
    BundleMismatch = "bundle_mismatch",
    /// A record or commitment does not name the one before it, which is there too.
    LinkBroken = "link_broken",
    /// The receipt does not reach the level that was asked for.
    LevelNotReached = "level_not_reached",
    /// The witnesses of the beacon signed later than those of the checkpoint that covers the record.
    TimeBoundsContradict = "time_bounds_contradict",
    /// A record in the contract file is not the one that must stand there.
    ContractMismatch = "contract_mismatch",
    /// A statement of a fault proof is not by the one accused.
    FaultAccusedMismatch = "fault_accused_mismatch",
    /// The statements are genuine, and do not show the fault.
    FaultNotShown = "fault_not_shown",
    /// The trust file is malformed.
    TrustMalformed = "trust_malformed",
}

impl fmt::Display for FailureCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A refusal: a stable code, and a detail for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    code: FailureCode,
    detail: String,
}

impl Failure {
    /// A refusal with its detail: lower case, what was wrong and where.
    #[cold]
    pub fn new(code: FailureCode, detail: impl Into<String>) -> Self {
        Self {
            code,
            detail: detail.into(),
        }
    }

    /// The stable code.
    pub const fn code(&self) -> FailureCode {
        self.code
    }

    /// What was wrong and where, for people.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// The same refusal, with the place it happened put in front of the detail.
    #[must_use]
    pub fn at(mut self, place: &str) -> Self {
        self.detail = format!("{place}: {}", self.detail);
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.detail, self.code)
    }
}

impl core::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_and_spelled_alike() {
        let mut seen = std::collections::BTreeSet::new();
        for code in FailureCode::ALL {
            assert!(seen.insert(code.as_str()), "{code} stands twice");
            assert!(
                code.as_str()
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b == b'_'),
                "{code}"
            );
            assert!(!code.meaning().is_empty());
        }
    }
}
