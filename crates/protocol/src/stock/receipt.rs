//! A COSE receipt of an operator or of a log.

use ciborium::Value;
use counterfoil_tlog::checkpoint::Origin;
use counterfoil_tlog::proof::{MAX_HASHES, root_from_inclusion};
use counterfoil_tlog::tree::{Hash, leaf_hash};

use super::entry;
use super::{Algorithm, Inclusion, LABEL_TREE_SIZE, LABEL_VDP, LOG_RECEIPT_TYPE, PROOF_INCLUSION};
use crate::cbor::fields::{array, bytes, fixed, integer, row, text, unsigned};
use crate::cbor::{Encoder, Fields, Limits, decode};
use crate::commitment::{Commitment, UnverifiedCommitment};
use crate::cose::{
    self, CLAIM_ISSUER, CLAIM_SUBJECT, LABEL_ALGORITHM, LABEL_CWT_CLAIMS, LABEL_KID, LABEL_TYPE,
    LABEL_VDS, ObjectType, TAG_SIGN1, VDS_RFC9162_SHA256, signature_structure,
};
use crate::digest::KeyThumbprint;
use crate::failure::{Failure, FailureCode};
use crate::keys::{PublicKey, SigningKey};
use crate::record::UnverifiedRecord;

/// The most bytes of a COSE receipt.
pub const MAX_BYTES: usize = 16 * 1024;

const OUTER: Limits = Limits {
    max_bytes: MAX_BYTES,
    max_items: 32,
    max_depth: 8,
    tags: &[TAG_SIGN1],
};
const INNER: Limits = Limits::untagged(MAX_BYTES);

/// A COSE receipt for one entry: well formed, and its path leads to a root. Its signature over that
/// root has not been checked yet.
#[derive(Clone, Debug)]
pub struct CoseReceipt {
    protected: Vec<u8>,
    signature: [u8; 64],
    inclusion: Inclusion,
    algorithm: Algorithm,
    issuer: String,
    kid: KeyThumbprint,
    root: Hash,
}

/// Signs the roots of a log's tree as COSE receipts.
#[derive(Debug)]
pub struct LogSigner {
    origin: String,
    key: SigningKey,
}

impl LogSigner {
    /// With the origin of the log and the key that signs its checkpoints.
    pub const fn new(origin: String, key: SigningKey) -> Self {
        Self { origin, key }
    }

    /// The public key.
    pub const fn key(&self) -> &PublicKey {
        self.key.public()
    }

    /// The receipt that `entry` stands in the tree.
    ///
    /// # Errors
    /// When `entry` is neither commitment nor manifest, or the path is not one of such a tree.
    pub fn sign(
        &self,
        entry: &[u8],
        inclusion: Inclusion,
        algorithm: Algorithm,
    ) -> Result<CoseReceipt, Failure> {
        let protected = self.protected(entry::subject(entry)?, inclusion.size, algorithm);
        let root = root(entry, &inclusion, FailureCode::LogPathInvalid)?;
        let signature = self
            .key
            .sign(&signature_structure(&protected, root.as_bytes()));
        Ok(CoseReceipt {
            protected,
            signature,
            inclusion,
            algorithm,
            issuer: self.origin.clone(),
            kid: self.key.public().thumbprint(),
            root,
        })
    }

    fn protected(&self, subject: &str, size: u64, algorithm: Algorithm) -> Vec<u8> {
        let mut encoder = Encoder::with_capacity(256);
        encoder.map(|map| {
            map.key(LABEL_ALGORITHM).integer(algorithm.number());
            map.key(LABEL_KID)
                .bytes(self.key.public().thumbprint().as_bytes());
            map.key(LABEL_CWT_CLAIMS).map(|claims| {
                claims.key(CLAIM_ISSUER).text(&self.origin);
                claims.key(CLAIM_SUBJECT).text(subject);
            });
            map.key(LABEL_TYPE).text(LOG_RECEIPT_TYPE);
            map.key(LABEL_VDS).integer(VDS_RFC9162_SHA256);
            map.key(LABEL_TREE_SIZE).unsigned(size);
        });
        encoder.into_bytes()
    }
}

impl CoseReceipt {
    /// The operator's receipt for a record, made of its commitment as it is. It needs no key: the
    /// signature is the commitment's.
    ///
    /// # Errors
    /// When the path does not lead from the record to the root of the commitment.
    pub fn of_batch(record: &[u8], commitment: &[u8], path: Vec<Hash>) -> Result<Self, Failure> {
        let parsed = UnverifiedCommitment::parse(commitment)?;
        let protected = parsed.protected(Algorithm::Ed25519.number());
        let signature = *parsed.signature();
        Self::put_together(
            record,
            &parsed,
            path,
            protected,
            signature,
            Algorithm::Ed25519,
        )
    }

    /// As [`CoseReceipt::of_batch`], signed again by the key of the commitment under the algorithm
    /// number -8. It says what the commitment says, and is none.
    ///
    /// # Errors
    /// [`FailureCode::KeyUnknown`] when the key is another, and as [`CoseReceipt::of_batch`].
    pub fn of_batch_signed_again(
        record: &[u8],
        commitment: &[u8],
        path: Vec<Hash>,
        key: &SigningKey,
    ) -> Result<Self, Failure> {
        let parsed = UnverifiedCommitment::parse(commitment)?;
        // Nothing is signed but what this key has signed before.
        UnverifiedCommitment::parse(commitment)?.verify(key.public())?;
        let algorithm = Algorithm::EdDsa;
        let protected = parsed.protected(algorithm.number());
        let root = parsed.unverified_content().root;
        let signature = key.sign(&signature_structure(&protected, root.as_bytes()));
        Self::put_together(record, &parsed, path, protected, signature, algorithm)
    }

    fn put_together(
        record: &[u8],
        commitment: &UnverifiedCommitment,
        path: Vec<Hash>,
        protected: Vec<u8>,
        signature: [u8; 64],
        algorithm: Algorithm,
    ) -> Result<Self, Failure> {
        let content = commitment.unverified_content();
        let sequence = UnverifiedRecord::parse(record)?
            .unverified_content()
            .sequence;
        let inclusion = Inclusion {
            size: content.count,
            index: content.index_of(sequence)?,
            path,
        };
        let root = root(record, &inclusion, FailureCode::BatchPathInvalid)?;
        if root != content.root {
            return Err(Failure::new(
                FailureCode::BatchPathInvalid,
                format!(
                    "the path leads to {root}, the commitment holds {}",
                    content.root
                ),
            ));
        }
        Ok(Self {
            protected,
            signature,
            inclusion,
            algorithm,
            issuer: commitment.issuer().as_str().to_owned(),
            kid: commitment.kid(),
            root,
        })
    }

    /// Encodes the receipt.
    pub fn encode(&self) -> Vec<u8> {
        let mut proof = Encoder::with_capacity(64 + 34 * self.inclusion.path.len());
        proof
            .array(3)
            .unsigned(self.inclusion.size)
            .unsigned(self.inclusion.index)
            .array(self.inclusion.path.len());
        for hash in &self.inclusion.path {
            proof.bytes(hash.as_bytes());
        }
        let proof = proof.into_bytes();
        let mut encoder = Encoder::with_capacity(self.protected.len() + proof.len() + 96);
        encoder.tag(TAG_SIGN1).array(4).bytes(&self.protected);
        encoder.map(|map| {
            map.key(LABEL_VDP).map(|proofs| {
                proofs.key(PROOF_INCLUSION).array(1).bytes(&proof);
            });
        });
        encoder.null().bytes(&self.signature);
        encoder.into_bytes()
    }

    /// Reads a receipt for `entry`: a record if an operator signed it, a commitment or manifest if a
    /// log did.
    ///
    /// # Errors
    /// A CBOR, structure or COSE code; those of parsing the entry; [`FailureCode::BatchPathInvalid`]
    /// or [`FailureCode::LogPathInvalid`] when the path is not one for its index and size;
    /// [`FailureCode::CommitmentStreamMismatch`] or [`FailureCode::CommitmentRangeMismatch`] when
    /// the record stands elsewhere.
    pub fn parse(receipt: &[u8], entry: &[u8]) -> Result<Self, Failure> {
        let parts = Parts::parse(receipt)?;
        let header =
            decode(&parts.protected, &INNER).map_err(|failure| failure.at("protected header"))?;
        match label(&header, LABEL_TYPE) {
            Some(Value::Text(name)) if name == LOG_RECEIPT_TYPE => parts.of_log(header, entry),
            _ => parts.of_operator(header, entry),
        }
    }

    /// Checks the signature over the root.
    ///
    /// # Errors
    /// [`FailureCode::KeyUnknown`] when `key` is not the one named,
    /// [`FailureCode::SignatureInvalid`] when the signature does not verify: because it is not the
    /// key's, or because the path leads to another root than it is over.
    pub fn verify(&self, key: &PublicKey) -> Result<(), Failure> {
        if key.thumbprint() != self.kid {
            return Err(Failure::new(
                FailureCode::KeyUnknown,
                format!("signed with key {}, not {}", self.kid, key.thumbprint()),
            ));
        }
        let signed = signature_structure(&self.protected, self.root.as_bytes());
        key.verify(&signed, &self.signature)
    }

    /// Who claims to have signed: an operator, or the origin of a log.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The key it claims to be signed with.
    pub const fn kid(&self) -> KeyThumbprint {
        self.kid
    }

    /// The algorithm number.
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Where the entry stands.
    pub const fn inclusion(&self) -> &Inclusion {
        &self.inclusion
    }

    /// The root that the path leads to.
    pub const fn root(&self) -> &Hash {
        &self.root
    }
}

/// A receipt taken apart.
struct Parts {
    protected: Vec<u8>,
    inclusion: Inclusion,
    signature: [u8; 64],
}

impl Parts {
    fn parse(receipt: &[u8]) -> Result<Self, Failure> {
        let structure = |what: &str| Failure::new(FailureCode::CoseStructure, what);
        let Value::Tag(TAG_SIGN1, inner) = decode(receipt, &OUTER)? else {
            return Err(structure("not tagged as a COSE_Sign1"));
        };
        let parts: [Value; 4] = array(*inner, 4, "the COSE_Sign1")
            .and_then(|parts| parts.try_into().map_err(|_| structure("not four parts")))
            .map_err(|failure| structure(failure.detail()))?;
        let [protected, unprotected, payload, signature] = parts;
        let part = |failure: Failure| structure(failure.detail());
        let protected = bytes(protected, "the protected header").map_err(part)?;
        if payload != Value::Null {
            return Err(structure("the payload of a receipt is not detached"));
        }
        let signature = fixed::<64>(&signature, "the signature").map_err(part)?;
        Ok(Self {
            protected,
            inclusion: proof(unprotected)?,
            signature,
        })
    }

    /// The receipt of an operator: a commitment with its payload detached.
    fn of_operator(self, header: Value, entry: &[u8]) -> Result<CoseReceipt, Failure> {
        let algorithm = algorithm(&header)?;
        let (header, batch) =
            cose::parse_header(header, ObjectType::Commitment, algorithm.number())?;
        let record = UnverifiedRecord::parse(entry).map_err(|failure| failure.at("entry"))?;
        if record.kid() != header.kid || *record.issuer() != header.issuer {
            return Err(Failure::new(
                FailureCode::CommitmentStreamMismatch,
                format!(
                    "the record is of stream {} of {}, the receipt of {} of {}",
                    record.kid(),
                    record.issuer(),
                    header.kid,
                    header.issuer
                ),
            ));
        }
        let root = root(entry, &self.inclusion, FailureCode::BatchPathInvalid)?;
        let batch = batch.unwrap_or(Value::Null);
        let commitment = Commitment::decode(batch, root, header.issued_at)?;
        let index = commitment.index_of(record.unverified_content().sequence)?;
        if (self.inclusion.size, self.inclusion.index) != (commitment.count, index) {
            return Err(Failure::new(
                FailureCode::CommitmentRangeMismatch,
                format!(
                    "the proof is for leaf {} of {}, the record is leaf {index} of {}",
                    self.inclusion.index, self.inclusion.size, commitment.count
                ),
            ));
        }
        Ok(CoseReceipt {
            protected: self.protected,
            signature: self.signature,
            inclusion: self.inclusion,
            algorithm,
            issuer: header.issuer.as_str().to_owned(),
            kid: header.kid,
            root,
        })
    }

    /// The receipt of a log.
    fn of_log(self, header: Value, entry: &[u8]) -> Result<CoseReceipt, Failure> {
        let refuse = |failure: Failure| Failure::new(FailureCode::CoseHeader, failure.detail());
        let algorithm = algorithm(&header)?;
        let mut labels = Fields::of(header, "the protected header").map_err(refuse)?;
        labels.required(LABEL_ALGORITHM).map_err(refuse)?;
        let kid = labels
            .required(LABEL_KID)
            .and_then(|value| fixed::<32>(&value, "kid"))
            .map_err(refuse)?;
        let claims = labels.required(LABEL_CWT_CLAIMS).map_err(refuse)?;
        labels.required(LABEL_TYPE).map_err(refuse)?;
        let vds = labels
            .required(LABEL_VDS)
            .and_then(|value| integer(&value, "vds"))
            .map_err(refuse)?;
        let size = labels
            .required(LABEL_TREE_SIZE)
            .and_then(|value| unsigned(&value, "the tree size"))
            .map_err(refuse)?;
        labels.finish().map_err(refuse)?;
        if vds != i128::from(VDS_RFC9162_SHA256) {
            return Err(Failure::new(
                FailureCode::CoseHeader,
                "vds is not RFC9162_SHA256 (1)",
            ));
        }
        let mut claims = Fields::of(claims, "the CWT claims").map_err(refuse)?;
        let claim = |value: Result<Value, Failure>, name| {
            value.and_then(|value| text(value, name)).map_err(refuse)
        };
        let issuer = claim(claims.required(CLAIM_ISSUER), "iss")?;
        let subject = claim(claims.required(CLAIM_SUBJECT), "sub")?;
        claims.finish().map_err(refuse)?;
        let object = entry::logged_type(&subject)?;
        check_origin(&issuer)?;
        entry::check_logged(entry, object).map_err(|failure| failure.at("entry"))?;
        if size != self.inclusion.size {
            return Err(Failure::new(
                FailureCode::LogPathInvalid,
                format!(
                    "the proof is for a tree of {}, signed is one of {size}",
                    self.inclusion.size
                ),
            ));
        }
        let root = root(entry, &self.inclusion, FailureCode::LogPathInvalid)?;
        Ok(CoseReceipt {
            protected: self.protected,
            signature: self.signature,
            inclusion: self.inclusion,
            algorithm,
            issuer,
            kid: KeyThumbprint::from_bytes(kid),
            root,
        })
    }
}

/// The one inclusion proof in the unprotected header.
fn proof(unprotected: Value) -> Result<Inclusion, Failure> {
    let refuse = |failure: Failure| Failure::new(FailureCode::CoseHeader, failure.detail());
    let mut labels = Fields::of(unprotected, "the unprotected header").map_err(refuse)?;
    let proofs = labels.required(LABEL_VDP).map_err(refuse)?;
    labels.finish().map_err(refuse)?;
    let mut proofs = Fields::of(proofs, "vdp").map_err(refuse)?;
    let inclusions = proofs.required(PROOF_INCLUSION).map_err(refuse)?;
    proofs.finish().map_err(refuse)?;
    let one: [Value; 1] = array(inclusions, 1, "the inclusion proofs")?
        .try_into()
        .map_err(|_| {
            Failure::new(
                FailureCode::StructureOutOfRange,
                "there is not one inclusion proof",
            )
        })?;
    let [proof] = one;
    let proof = bytes(proof, "an inclusion proof")?;
    let proof = decode(&proof, &INNER).map_err(|failure| failure.at("inclusion proof"))?;
    let [size, index, path] = row::<3>(proof, "an inclusion proof")?;
    Ok(Inclusion {
        size: unsigned(&size, "the tree size")?,
        index: unsigned(&index, "the leaf index")?,
        path: array(path, MAX_HASHES, "an inclusion path")?
            .iter()
            .map(|value| fixed(value, "a hash of the path").map(Hash::from_bytes))
            .collect::<Result<_, _>>()?,
    })
}

fn root(entry: &[u8], inclusion: &Inclusion, code: FailureCode) -> Result<Hash, Failure> {
    let Inclusion { size, index, path } = inclusion;
    root_from_inclusion(&leaf_hash(entry), *index, *size, path)
        .map_err(|error| Failure::new(code, error.to_string()))
}

fn check_origin(issuer: &str) -> Result<(), Failure> {
    Origin::parse(issuer)
        .map(|_| ())
        .map_err(|error| Failure::new(FailureCode::NameInvalid, format!("iss: {error}")))
}

fn label(header: &Value, label: i64) -> Option<&Value> {
    let Value::Map(entries) = header else {
        return None;
    };
    entries
        .iter()
        .find(|(key, _)| *key == Value::from(label))
        .map(|(_, value)| value)
}

fn algorithm(header: &Value) -> Result<Algorithm, Failure> {
    let refuse = |code, what: &str| Failure::new(code, what);
    let number = label(header, LABEL_ALGORITHM)
        .ok_or_else(|| refuse(FailureCode::CoseHeader, "there is no algorithm"))?;
    integer(number, "the algorithm")
        .map_err(|failure| refuse(FailureCode::CoseHeader, failure.detail()))
        .map(Algorithm::of_number)?
        .ok_or_else(|| {
            refuse(
                FailureCode::CoseAlgorithm,
                "the algorithm is neither Ed25519 (-19) nor EdDSA (-8)",
            )
        })
}
