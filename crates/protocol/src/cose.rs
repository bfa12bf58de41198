//! The COSE_Sign1 profile (RFC 9052) that every signed object follows.
//!
//! Tagged 18, algorithm Ed25519 (-19) and nothing else, every header protected, payload attached,
//! and all of it deterministic. The profile leaves so little open that parsing it directly is
//! shorter than restricting a general library to it: four items, and a header of five or seven
//! labels. Received bytes are verified as received, never re-encoded.
//!
//! Spec: records §2.

use ciborium::Value;

use crate::cbor::fields::{array, bytes, fixed, integer, text, unsigned};
use crate::cbor::{Encoder, Fields, Limits, decode};
use crate::digest::{KeyThumbprint, sha256};
use crate::failure::{Failure, FailureCode};
use crate::keys::{PublicKey, SigningKey};
use crate::names::OperatorName;
use crate::numbers::UnixSeconds;

/// COSE algorithm Ed25519, fully specified (RFC 9864).
pub const ALGORITHM_ED25519: i64 = -19;
/// COSE algorithm EdDSA (RFC 9053), which says less: in COSE receipts for others only.
pub const ALGORITHM_EDDSA: i64 = -8;
/// Header parameter `vds` (RFC 9942): which verifiable data structure the payload is a root of.
pub const LABEL_VDS: i64 = 395;
/// `vds` value RFC9162_SHA256.
pub const VDS_RFC9162_SHA256: i64 = 1;
/// Our private-use header parameter: the batch header of a commitment.
pub const LABEL_BATCH: i64 = -65537;

pub(crate) const TAG_SIGN1: u64 = 18;
pub(crate) const LABEL_ALGORITHM: i64 = 1;
pub(crate) const LABEL_KID: i64 = 4;
pub(crate) const LABEL_CWT_CLAIMS: i64 = 15;
pub(crate) const LABEL_TYPE: i64 = 16;
pub(crate) const CLAIM_ISSUER: i64 = 1;
pub(crate) const CLAIM_SUBJECT: i64 = 2;
const CLAIM_ISSUED_AT: i64 = 6;

/// The most bytes a signed object may have: what fits one log entry.
pub const MAX_BYTES: usize = 65_535;

const OUTER: Limits = Limits {
    max_bytes: MAX_BYTES,
    max_items: 16,
    max_depth: 4,
    tags: &[TAG_SIGN1],
};
const INNER: Limits = Limits::untagged(MAX_BYTES);

/// Which kind of object a signature is over. It is signed too, so that a signature over one kind
/// can never pass for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectType {
    /// A record of an enforcer.
    Record,
    /// The signed root of a batch.
    Commitment,
    /// An operator's list of keys and endpoints.
    Manifest,
    /// What binds a receipt to the audience that it is shown to.
    Presentation,
}

impl ObjectType {
    /// The media type in header parameter `typ` (RFC 9596).
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Record => "application/counterfoil-record+cose",
            Self::Commitment => "application/counterfoil-commitment+cose",
            Self::Manifest => "application/counterfoil-manifest+cose",
            Self::Presentation => "application/counterfoil-presentation+cose",
        }
    }

    /// The CWT claim `sub`, which a SCITT signed statement must have.
    pub const fn subject(self) -> &'static str {
        match self {
            Self::Record => "record",
            Self::Commitment => "commitment",
            Self::Manifest => "manifest",
            Self::Presentation => "presentation",
        }
    }
}

/// What every protected header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The kind of object.
    pub object: ObjectType,
    /// The operator that signs: CWT claim `iss`.
    pub issuer: OperatorName,
    /// When it was signed, by the signer's clock: CWT claim `iat`.
    pub issued_at: UnixSeconds,
    /// Which key signed.
    pub kid: KeyThumbprint,
}

impl Header {
    /// Encodes the protected header; `batch` writes the batch header of a commitment.
    pub(crate) fn encode(&self, batch: Option<&dyn Fn(&mut Encoder)>) -> Vec<u8> {
        self.encode_with(ALGORITHM_ED25519, batch)
    }

    /// The same with another algorithm number, for COSE receipts.
    pub(crate) fn encode_with(
        &self,
        algorithm: i64,
        batch: Option<&dyn Fn(&mut Encoder)>,
    ) -> Vec<u8> {
        let mut encoder = Encoder::with_capacity(256);
        encoder.map(|map| {
            map.key(LABEL_ALGORITHM).integer(algorithm);
            map.key(LABEL_KID).bytes(self.kid.as_bytes());
            map.key(LABEL_CWT_CLAIMS).map(|claims| {
                claims.key(CLAIM_ISSUER).text(self.issuer.as_str());
                claims.key(CLAIM_SUBJECT).text(self.object.subject());
                claims.key(CLAIM_ISSUED_AT).unsigned(self.issued_at.get());
            });
            map.key(LABEL_TYPE).text(self.object.media_type());
            if let Some(batch) = batch {
                map.key(LABEL_VDS).integer(VDS_RFC9162_SHA256);
                batch(map.key(LABEL_BATCH));
            }
        });
        encoder.into_bytes()
    }
}

/// An object that is complete but for its signature. Its id is known before it is signed, so that
/// the next record can link to it while this one is being signed elsewhere.
#[derive(Clone, Debug)]
pub struct Unsigned {
    protected: Vec<u8>,
    payload: Vec<u8>,
    to_be_signed: Vec<u8>,
}

impl Unsigned {
    pub(crate) fn new(protected: Vec<u8>, payload: Vec<u8>) -> Self {
        let to_be_signed = signature_structure(&protected, &payload);
        Self {
            protected,
            payload,
            to_be_signed,
        }
    }

    /// SHA-256 of the `Sig_structure`.
    pub fn id(&self) -> [u8; 32] {
        sha256(&self.to_be_signed)
    }

    /// Signs the object and returns the tagged COSE_Sign1 bytes.
    pub fn sign(&self, key: &SigningKey) -> Vec<u8> {
        let signature = key.sign(&self.to_be_signed);
        let mut encoder = Encoder::with_capacity(self.protected.len() + self.payload.len() + 80);
        encoder.tag(TAG_SIGN1).array(4).bytes(&self.protected);
        encoder.map(|_| {});
        encoder.bytes(&self.payload).bytes(&signature);
        encoder.into_bytes()
    }
}

/// A well-formed signed object whose signature has not been checked yet.
#[derive(Clone, Debug)]
pub struct Unverified {
    /// The protected header.
    pub header: Header,
    /// The batch header, undecoded: commitments have it, nothing else may.
    pub(crate) batch: Option<Value>,
    /// The payload bytes.
    pub payload: Vec<u8>,
    to_be_signed: Vec<u8>,
    signature: [u8; 64],
}

impl Unverified {
    /// Parses the bytes of an object of the expected kind.
    ///
    /// # Errors
    /// A CBOR code when the encoding is not strict, [`FailureCode::CoseStructure`],
    /// [`FailureCode::CoseAlgorithm`], [`FailureCode::CoseHeader`] or [`FailureCode::CoseType`]
    /// when it is not of this profile.
    pub fn parse(object: &[u8], expected: ObjectType) -> Result<Self, Failure> {
        let structure = |what: &str| Failure::new(FailureCode::CoseStructure, what);
        let Value::Tag(TAG_SIGN1, inner) = decode(object, &OUTER)? else {
            return Err(structure("not tagged as a COSE_Sign1"));
        };
        let parts: [Value; 4] = array(*inner, 4, "the COSE_Sign1")
            .and_then(|parts| parts.try_into().map_err(|_| structure("not four parts")))
            .map_err(|failure| structure(failure.detail()))?;
        let [protected, unprotected, payload, signature] = parts;
        let part = |failure: Failure| structure(failure.detail());
        let protected = bytes(protected, "the protected header").map_err(part)?;
        if unprotected != Value::Map(Vec::new()) {
            return Err(Failure::new(
                FailureCode::CoseHeader,
                "the unprotected header is not an empty map",
            ));
        }
        let payload = bytes(payload, "the payload").map_err(part)?;
        let signature = fixed::<64>(&signature, "the signature").map_err(part)?;

        let header =
            decode(&protected, &INNER).map_err(|failure| failure.at("protected header"))?;
        let (header, batch) = parse_header(header, expected, ALGORITHM_ED25519)?;
        let to_be_signed = signature_structure(&protected, &payload);
        Ok(Self {
            header,
            batch,
            payload,
            to_be_signed,
            signature,
        })
    }

    /// SHA-256 of the `Sig_structure`.
    pub fn id(&self) -> [u8; 32] {
        sha256(&self.to_be_signed)
    }

    pub(crate) const fn signature(&self) -> &[u8; 64] {
        &self.signature
    }

    /// Checks the signature with the key that the header names.
    ///
    /// # Errors
    /// [`FailureCode::KeyUnknown`] when `key` is not the one named,
    /// [`FailureCode::SignatureInvalid`] when the signature does not verify.
    pub fn verify(&self, key: &PublicKey) -> Result<(), Failure> {
        if key.thumbprint() != self.header.kid {
            return Err(Failure::new(
                FailureCode::KeyUnknown,
                format!(
                    "signed with key {}, not {}",
                    self.header.kid,
                    key.thumbprint()
                ),
            ));
        }
        key.verify(&self.to_be_signed, &self.signature)
    }
}

/// Reads the protected header of an object of the expected kind and algorithm.
pub(crate) fn parse_header(
    header: Value,
    expected: ObjectType,
    expected_algorithm: i64,
) -> Result<(Header, Option<Value>), Failure> {
    let refuse = |what: &str| Failure::new(FailureCode::CoseHeader, what);
    let inside = |failure: Failure| match failure.code() {
        FailureCode::NameInvalid => failure,
        _ => refuse(failure.detail()),
    };
    let mut labels = Fields::of(header, "the protected header").map_err(inside)?;
    let algorithm = labels.required(LABEL_ALGORITHM).map_err(inside)?;
    if integer(&algorithm, "the algorithm").map_err(inside)? != i128::from(expected_algorithm) {
        return Err(Failure::new(
            FailureCode::CoseAlgorithm,
            format!("the algorithm is not {expected_algorithm}"),
        ));
    }
    let kid = fixed::<32>(&labels.required(LABEL_KID).map_err(inside)?, "kid").map_err(inside)?;
    let claims = labels.required(LABEL_CWT_CLAIMS).map_err(inside)?;
    let media_type = labels
        .required(LABEL_TYPE)
        .and_then(|value| text(value, "typ"))
        .map_err(inside)?;
    if media_type != expected.media_type() {
        return Err(Failure::new(
            FailureCode::CoseType,
            format!("the object is not of type `{}`", expected.media_type()),
        ));
    }
    let batch = if expected == ObjectType::Commitment {
        let vds = labels.required(LABEL_VDS).map_err(inside)?;
        if integer(&vds, "vds").map_err(inside)? != VDS_RFC9162_SHA256.into() {
            return Err(refuse("vds is not RFC9162_SHA256 (1)"));
        }
        Some(labels.required(LABEL_BATCH).map_err(inside)?)
    } else {
        None
    };
    labels.finish().map_err(inside)?;

    let mut claims = Fields::of(claims, "the CWT claims").map_err(inside)?;
    let issuer = claims
        .required(CLAIM_ISSUER)
        .and_then(|value| text(value, "iss"))
        .map_err(inside)?;
    let subject = claims
        .required(CLAIM_SUBJECT)
        .and_then(|value| text(value, "sub"))
        .map_err(inside)?;
    let issued_at = claims
        .required(CLAIM_ISSUED_AT)
        .and_then(|value| unsigned(&value, "iat"))
        .map_err(inside)?;
    claims.finish().map_err(inside)?;
    if subject != expected.subject() {
        return Err(Failure::new(
            FailureCode::CoseType,
            format!("the subject is not `{}`", expected.subject()),
        ));
    }
    let header = Header {
        object: expected,
        issuer: OperatorName::new(issuer)?,
        issued_at: UnixSeconds::new(issued_at),
        kid: KeyThumbprint::from_bytes(kid),
    };
    Ok((header, batch))
}

/// RFC 9052 §4.4, with empty external data.
pub(crate) fn signature_structure(protected: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut encoder = Encoder::with_capacity(protected.len() + payload.len() + 32);
    encoder
        .array(4)
        .text("Signature1")
        .bytes(protected)
        .bytes(&[])
        .bytes(payload);
    encoder.into_bytes()
}
