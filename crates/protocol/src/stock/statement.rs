//! A SCITT transparent statement: a signed statement with its receipts in the unprotected header.

use ciborium::Value;

use super::{LABEL_RECEIPTS, receipt};
use crate::cbor::fields::{array, bytes, fixed};
use crate::cbor::{Encoder, Fields, Limits, decode};
use crate::cose::{MAX_BYTES as MAX_STATEMENT_BYTES, TAG_SIGN1};
use crate::failure::{Failure, FailureCode};

/// The most receipts of one statement.
pub const MAX_RECEIPTS: usize = 16;
const MAX_BYTES: usize = MAX_STATEMENT_BYTES + MAX_RECEIPTS * receipt::MAX_BYTES;

const OUTER: Limits = Limits {
    max_bytes: MAX_BYTES,
    max_items: 64,
    max_depth: 8,
    tags: &[TAG_SIGN1],
};

/// A signed statement and the receipts that it stands in trees; none of it verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransparentStatement {
    /// The statement with an empty unprotected header: the very bytes that are a leaf.
    pub statement: Vec<u8>,
    /// Its COSE receipts.
    pub receipts: Vec<Vec<u8>>,
}

impl TransparentStatement {
    /// Puts receipts into the unprotected header of a signed statement. The signature does not
    /// cover that header, so it stays good.
    ///
    /// # Errors
    /// When `statement` is no COSE_Sign1 with an empty unprotected header, or there is not at
    /// least one receipt and at most [`MAX_RECEIPTS`].
    pub fn encode(&self) -> Result<Vec<u8>, Failure> {
        let parts = Parts::parse(&self.statement)?;
        if parts.unprotected != Value::Map(Vec::new()) {
            return Err(Failure::new(
                FailureCode::CoseHeader,
                "the unprotected header is not an empty map",
            ));
        }
        check_count(self.receipts.len())?;
        Ok(parts.encode(&self.receipts))
    }

    /// Takes a transparent statement apart again.
    ///
    /// # Errors
    /// A CBOR or structure code, [`FailureCode::CoseStructure`] or [`FailureCode::CoseHeader`].
    pub fn parse(transparent: &[u8]) -> Result<Self, Failure> {
        let mut parts = Parts::parse(transparent)?;
        let refuse = |failure: Failure| Failure::new(FailureCode::CoseHeader, failure.detail());
        let unprotected = core::mem::replace(&mut parts.unprotected, Value::Null);
        let mut labels = Fields::of(unprotected, "the unprotected header").map_err(refuse)?;
        let receipts = labels.required(LABEL_RECEIPTS).map_err(refuse)?;
        labels.finish().map_err(refuse)?;
        let receipts: Vec<Vec<u8>> = array(receipts, MAX_RECEIPTS, "receipts")?
            .into_iter()
            .map(|receipt| bytes(receipt, "a receipt"))
            .collect::<Result<_, _>>()?;
        check_count(receipts.len())?;
        Ok(Self {
            statement: parts.encode(&[]),
            receipts,
        })
    }
}

fn check_count(receipts: usize) -> Result<(), Failure> {
    if (1..=MAX_RECEIPTS).contains(&receipts) {
        Ok(())
    } else {
        Err(Failure::new(
            FailureCode::StructureOutOfRange,
            format!("{receipts} receipts, 1 to {MAX_RECEIPTS} may be"),
        ))
    }
}

/// The parts of a COSE_Sign1 with its payload attached.
struct Parts {
    protected: Vec<u8>,
    unprotected: Value,
    payload: Vec<u8>,
    signature: [u8; 64],
}

impl Parts {
    fn parse(object: &[u8]) -> Result<Self, Failure> {
        let structure = |what: &str| Failure::new(FailureCode::CoseStructure, what);
        let Value::Tag(TAG_SIGN1, inner) = decode(object, &OUTER)? else {
            return Err(structure("not tagged as a COSE_Sign1"));
        };
        let parts: [Value; 4] = array(*inner, 4, "the COSE_Sign1")
            .and_then(|parts| parts.try_into().map_err(|_| structure("not four parts")))
            .map_err(|failure| structure(failure.detail()))?;
        let [protected, unprotected, payload, signature] = parts;
        let part = |failure: Failure| structure(failure.detail());
        Ok(Self {
            protected: bytes(protected, "the protected header").map_err(part)?,
            unprotected,
            payload: bytes(payload, "the payload").map_err(part)?,
            signature: fixed(&signature, "the signature").map_err(part)?,
        })
    }

    fn encode(&self, receipts: &[Vec<u8>]) -> Vec<u8> {
        let size: usize = receipts.iter().map(Vec::len).sum();
        let mut encoder = Encoder::with_capacity(self.payload.len() + size + 1024);
        encoder.tag(TAG_SIGN1).array(4).bytes(&self.protected);
        encoder.map(|map| {
            if !receipts.is_empty() {
                let list = map.key(LABEL_RECEIPTS).array(receipts.len());
                for receipt in receipts {
                    list.bytes(receipt);
                }
            }
        });
        encoder.bytes(&self.payload).bytes(&self.signature);
        encoder.into_bytes()
    }
}
