//! Commitments: the signed root of a batch, and what the log holds.
//!
//! The batch header stands in the protected header and the root is the payload, so that a
//! commitment with an inclusion path and its payload detached is the operator's RFC 9942 receipt.
//! A record's index in its batch is its sequence minus the first, never a claimed number: a signed
//! record has exactly one place where it must appear.
//!
//! Spec: batches §3.

use ciborium::Value;
use counterfoil_tlog::tree::Hash;

use crate::batch::MAX_RECORDS;
use crate::cbor::Encoder;
use crate::cbor::Fields;
use crate::cbor::fields::{fixed, nullable, unsigned};
use crate::cose::{ALGORITHM_ED25519, Header, ObjectType, Unsigned, Unverified};
use crate::digest::{CommitmentDigest, KeyThumbprint};
use crate::failure::{Failure, FailureCode};
use crate::keys::{PublicKey, SigningKey};
use crate::names::OperatorName;
use crate::numbers::{BatchNumber, Sequence, UnixMillis, UnixSeconds};
use crate::record::Beacon;

/// The content of a commitment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commitment {
    /// Its place in the stream's commitments.
    pub number: BatchNumber,
    /// The sequence of the batch's first record.
    pub first: Sequence,
    /// How many records the batch has, at least one.
    pub count: u64,
    /// The digest of the commitment before it; none only for batch 0.
    pub previous: Option<CommitmentDigest>,
    /// When the batch was opened, by the operator's clock.
    pub opened: UnixMillis,
    /// When it was sealed, by the operator's clock.
    pub sealed: UnixMillis,
    /// The newest cosigned checkpoint the enforcer knew.
    pub beacon: Option<Beacon>,
    /// The root of the batch's tree.
    pub root: Hash,
}

impl Commitment {
    /// Signs it: the tagged COSE_Sign1 bytes.
    pub fn sign(&self, issuer: &OperatorName, key: &SigningKey) -> Vec<u8> {
        let header = Header {
            object: ObjectType::Commitment,
            issuer: issuer.clone(),
            issued_at: self.sealed.seconds(),
            kid: key.public().thumbprint(),
        };
        let protected = self.protected(&header, ALGORITHM_ED25519);
        Unsigned::new(protected, self.root.as_bytes().to_vec()).sign(key)
    }

    /// The index in this batch of the record with this sequence.
    ///
    /// # Errors
    /// [`FailureCode::CommitmentRangeMismatch`] when it lies outside.
    pub fn index_of(&self, sequence: Sequence) -> Result<u64, Failure> {
        match sequence.get().checked_sub(self.first.get()) {
            Some(index) if index < self.count => Ok(index),
            _ => Err(Failure::new(
                FailureCode::CommitmentRangeMismatch,
                format!(
                    "record {sequence} is not among the {} records from {}",
                    self.count, self.first
                ),
            )),
        }
    }

    /// The protected header with one of the algorithm numbers of a COSE receipt.
    pub(crate) fn protected(&self, header: &Header, algorithm: i64) -> Vec<u8> {
        header.encode_with(algorithm, Some(&|encoder| self.encode_header(encoder)))
    }

    /// Reads the batch header of a commitment to `root`.
    pub(crate) fn decode(
        header: Value,
        root: Hash,
        issued_at: UnixSeconds,
    ) -> Result<Self, Failure> {
        let mut fields = Fields::of(header, "the batch header")?;
        let commitment = Self {
            number: BatchNumber::new(unsigned(&fields.required(1)?, "batch number")?),
            first: Sequence::new(unsigned(&fields.required(2)?, "first sequence")?),
            count: count(&fields.required(3)?)?,
            previous: nullable(fields.required(4)?)
                .map(|value| fixed(&value, "previous commitment").map(CommitmentDigest::from_bytes))
                .transpose()?,
            opened: UnixMillis::new(unsigned(&fields.required(5)?, "opening time")?),
            sealed: UnixMillis::new(unsigned(&fields.required(6)?, "sealing time")?),
            beacon: fields
                .optional(7)
                .map(crate::record::decode_beacon)
                .transpose()?,
            root,
        };
        fields.finish()?;
        check_ranges(&commitment)?;
        if commitment.sealed.seconds() != issued_at {
            return Err(Failure::new(
                FailureCode::RecordTimeMismatch,
                "iat is not the sealing time in whole seconds",
            ));
        }
        Ok(commitment)
    }

    fn encode_header(&self, encoder: &mut Encoder) {
        encoder.map(|map| {
            map.key(1).unsigned(self.number.get());
            map.key(2).unsigned(self.first.get());
            map.key(3).unsigned(self.count);
            match self.previous {
                Some(previous) => map.key(4).bytes(previous.as_bytes()),
                None => map.key(4).null(),
            };
            map.key(5).unsigned(self.opened.get());
            map.key(6).unsigned(self.sealed.get());
            map.optional(7, self.beacon, crate::record::encode_beacon);
        });
    }
}

/// A well-formed commitment whose signature has not been checked yet.
#[derive(Clone, Debug)]
pub struct UnverifiedCommitment {
    object: Unverified,
    digest: CommitmentDigest,
    commitment: Commitment,
}

impl UnverifiedCommitment {
    /// Parses the bytes of a commitment.
    ///
    /// # Errors
    /// A CBOR, structure, COSE or commitment code: see spec verification §2, step 7.
    pub fn parse(bytes: &[u8]) -> Result<Self, Failure> {
        let mut object = Unverified::parse(bytes, ObjectType::Commitment)?;
        let root: [u8; 32] = object.payload.as_slice().try_into().map_err(|_| {
            Failure::new(
                FailureCode::StructureWrongType,
                "the payload is not a root of 32 bytes",
            )
        })?;
        let header = object.batch.take().unwrap_or(Value::Null);
        let root = Hash::from_bytes(root);
        let commitment = Commitment::decode(header, root, object.header.issued_at)?;
        Ok(Self {
            object,
            digest: CommitmentDigest::of(bytes),
            commitment,
        })
    }

    /// The operator it claims to come from.
    pub const fn issuer(&self) -> &OperatorName {
        &self.object.header.issuer
    }

    /// The key it claims to be signed with, which names the stream.
    pub const fn kid(&self) -> KeyThumbprint {
        self.object.header.kid
    }

    /// Its content, not to be relied on.
    pub const fn unverified_content(&self) -> &Commitment {
        &self.commitment
    }

    /// Its protected header with one of the algorithm numbers of a COSE receipt.
    pub(crate) fn protected(&self, algorithm: i64) -> Vec<u8> {
        self.commitment.protected(&self.object.header, algorithm)
    }

    /// Its signature, which nobody has checked yet.
    pub(crate) const fn signature(&self) -> &[u8; 64] {
        self.object.signature()
    }

    /// Checks the signature.
    ///
    /// # Errors
    /// [`FailureCode::KeyUnknown`] or [`FailureCode::SignatureInvalid`].
    pub fn verify(self, key: &PublicKey) -> Result<VerifiedCommitment, Failure> {
        self.object.verify(key)?;
        Ok(VerifiedCommitment {
            id: self.object.id(),
            issuer: self.object.header.issuer,
            kid: self.object.header.kid,
            digest: self.digest,
            commitment: self.commitment,
        })
    }
}

fn count(value: &Value) -> Result<u64, Failure> {
    let count = unsigned(value, "record count")?;
    if count == 0 || count > MAX_RECORDS {
        return Err(Failure::new(
            FailureCode::StructureOutOfRange,
            format!("a batch of {count} records"),
        ));
    }
    Ok(count)
}

fn check_ranges(commitment: &Commitment) -> Result<(), Failure> {
    let range = |detail: String| Err(Failure::new(FailureCode::StructureOutOfRange, detail));
    if commitment
        .first
        .get()
        .checked_add(commitment.count)
        .is_none()
    {
        return range(format!("a batch from sequence {}", commitment.first));
    }
    if commitment.sealed < commitment.opened {
        return range("a batch sealed before it was opened".to_owned());
    }
    let first_batch = commitment.number.get() == 0;
    if first_batch != commitment.previous.is_none() || first_batch != (commitment.first.get() == 0)
    {
        return Err(Failure::new(
            FailureCode::CommitmentChainStart,
            format!(
                "batch {} from sequence {} with{} a predecessor",
                commitment.number,
                commitment.first,
                if commitment.previous.is_none() {
                    "out"
                } else {
                    ""
                }
            ),
        ));
    }
    Ok(())
}

/// A commitment whose signature has been verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedCommitment {
    issuer: OperatorName,
    kid: KeyThumbprint,
    id: [u8; 32],
    digest: CommitmentDigest,
    commitment: Commitment,
}

impl VerifiedCommitment {
    /// The operator that signed it.
    pub const fn issuer(&self) -> &OperatorName {
        &self.issuer
    }

    /// The key that signed it, which names the stream.
    pub const fn kid(&self) -> KeyThumbprint {
        self.kid
    }

    /// SHA-256 of what is signed: the same however often it is signed.
    pub(crate) const fn id(&self) -> &[u8; 32] {
        &self.id
    }

    /// SHA-256 over its bytes.
    pub const fn digest(&self) -> CommitmentDigest {
        self.digest
    }

    /// Its content.
    pub const fn commitment(&self) -> &Commitment {
        &self.commitment
    }
}
