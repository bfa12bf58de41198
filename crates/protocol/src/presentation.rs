//! Presentations: what binds a receipt, with all that it discloses, to one audience.
//!
//! Disclosures prove what they open to whoever holds them. A presentation is the signature of the
//! operator that hands them over: it says to whom, and when. The audience can then demand that
//! what it is shown was meant for it, and whoever is shown it by somebody else sees that it was
//! not.
//!
//! Spec: receipts §6.

use crate::cbor::fields::{fixed, text, unsigned};
use crate::cbor::{Encoder, Fields, Limits, decode};
use crate::cose::{Header, MAX_BYTES, ObjectType, Unsigned, Unverified};
use crate::digest::{KeyThumbprint, ReceiptDigest};
use crate::failure::{Failure, FailureCode};
use crate::keys::{PublicKey, SigningKey};
use crate::names::OperatorName;
use crate::numbers::UnixMillis;

/// The content of a presentation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presentation {
    /// The operator that presents.
    pub presenter: OperatorName,
    /// The operator that it presents to.
    pub audience: OperatorName,
    /// What it presents.
    pub receipt: ReceiptDigest,
    /// When, by the presenter's clock.
    pub time: UnixMillis,
    /// What the audience asked to be repeated, if it did.
    pub nonce: Option<[u8; 16]>,
}

impl Presentation {
    /// Signs it with an enforcer key of the presenter: the tagged COSE_Sign1 bytes.
    pub fn sign(&self, key: &SigningKey) -> Vec<u8> {
        let header = Header {
            object: ObjectType::Presentation,
            issuer: self.presenter.clone(),
            issued_at: self.time.seconds(),
            kid: key.public().thumbprint(),
        };
        let mut payload = Encoder::with_capacity(128);
        payload.map(|map| {
            map.key(1).text(self.audience.as_str());
            map.key(2).bytes(self.receipt.as_bytes());
            map.key(3).unsigned(self.time.get());
            map.optional(4, self.nonce, |encoder, nonce| {
                encoder.bytes(&nonce);
            });
        });
        Unsigned::new(header.encode(None), payload.into_bytes()).sign(key)
    }
}

/// A well-formed presentation whose signature has not been checked yet.
#[derive(Clone, Debug)]
pub struct UnverifiedPresentation {
    object: Unverified,
    presentation: Presentation,
}

impl UnverifiedPresentation {
    /// Parses the bytes of a presentation.
    ///
    /// # Errors
    /// A CBOR, structure or COSE code, [`FailureCode::NameInvalid`] or
    /// [`FailureCode::RecordTimeMismatch`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Failure> {
        let object = Unverified::parse(bytes, ObjectType::Presentation)?;
        let presentation = parse_payload(&object).map_err(|failure| failure.at("presentation"))?;
        Ok(Self {
            object,
            presentation,
        })
    }

    /// The key it claims to be signed with.
    pub const fn kid(&self) -> KeyThumbprint {
        self.object.header.kid
    }

    /// Its content, not to be relied on.
    pub const fn unverified_content(&self) -> &Presentation {
        &self.presentation
    }

    /// Checks the signature.
    ///
    /// # Errors
    /// [`FailureCode::KeyUnknown`] when it names another key,
    /// [`FailureCode::SignatureInvalid`] when the signature does not verify.
    pub fn verify(self, key: &PublicKey) -> Result<Presentation, Failure> {
        self.object.verify(key)?;
        Ok(self.presentation)
    }
}

fn parse_payload(object: &Unverified) -> Result<Presentation, Failure> {
    let value = decode(&object.payload, &Limits::untagged(MAX_BYTES))?;
    let mut fields = Fields::of(value, "the presentation")?;
    let presentation = Presentation {
        presenter: object.header.issuer.clone(),
        audience: OperatorName::new(text(fields.required(1)?, "the audience")?)?,
        receipt: ReceiptDigest::from_bytes(fixed(&fields.required(2)?, "the receipt's digest")?),
        time: UnixMillis::new(unsigned(&fields.required(3)?, "time")?),
        nonce: fields
            .optional(4)
            .map(|value| fixed(&value, "nonce"))
            .transpose()?,
    };
    fields.finish()?;
    if presentation.time.seconds() != object.header.issued_at {
        return Err(Failure::new(
            FailureCode::RecordTimeMismatch,
            "iat is not the presentation's time in whole seconds",
        ));
    }
    Ok(presentation)
}
