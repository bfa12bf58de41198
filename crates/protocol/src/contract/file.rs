//! The contract file: terms, and the receipts of the records that made and ended them.
//!
//! Spec: contracts §6.

use crate::cbor::fields::{bytes, text};
use crate::cbor::{Encoder, Fields, Limits, decode};
use crate::disclosure::{DisclosedField, Disclosure};
use crate::failure::{Failure, FailureCode};

/// The first field of every contract file, which says what the file is.
pub const FORMAT: &str = "counterfoil/contract-file/v1";
/// The file name extension of a contract file.
pub const FILE_EXTENSION: &str = "contract";
/// The most bytes of a contract file: 16 MiB.
pub const MAX_FILE_BYTES: usize = 16 << 20;

/// A contract file: the parts as they were received, none of them verified yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContractFile {
    /// What opens the contract's digest.
    pub terms: Disclosure,
    /// The receipt of the record that proposed it.
    pub proposal: Vec<u8>,
    /// The receipt of the record that accepted it.
    pub acceptance: Option<Vec<u8>>,
    /// The receipt of the record that ended it, or took the proposal back.
    pub end: Option<Vec<u8>>,
}

impl ContractFile {
    /// Encodes the file.
    pub fn encode(&self) -> Vec<u8> {
        let mut encoder = Encoder::with_capacity(16 << 10);
        encoder.map(|map| {
            map.key(1).text(FORMAT);
            map.key(2).bytes(&self.terms.encode());
            map.key(3).bytes(&self.proposal);
            map.optional(4, self.acceptance.as_ref(), |encoder, receipt| {
                encoder.bytes(receipt);
            });
            map.optional(5, self.end.as_ref(), |encoder, receipt| {
                encoder.bytes(receipt);
            });
        });
        encoder.into_bytes()
    }

    /// Parses the bytes of a contract file.
    ///
    /// # Errors
    /// A CBOR or structure code.
    pub fn parse(encoded: &[u8]) -> Result<Self, Failure> {
        let value = decode(encoded, &Limits::untagged(MAX_FILE_BYTES))?;
        let mut fields = Fields::of(value, "the contract file")?;
        if text(fields.required(1)?, "the format")? != FORMAT {
            return Err(Failure::new(
                FailureCode::StructureOutOfRange,
                format!("the format is not `{FORMAT}`"),
            ));
        }
        let terms = bytes(fields.required(2)?, "the terms")?;
        let terms = Disclosure::parse(&terms).map_err(|failure| failure.at("terms"))?;
        if terms.field != DisclosedField::Contract {
            return Err(Failure::new(
                FailureCode::StructureOutOfRange,
                format!("a disclosure of {} instead of terms", terms.field.name()),
            ));
        }
        let proposal = bytes(fields.required(3)?, "the proposal")?;
        let acceptance = fields
            .optional(4)
            .map(|value| bytes(value, "the acceptance"))
            .transpose()?;
        let end = fields
            .optional(5)
            .map(|value| bytes(value, "the end"))
            .transpose()?;
        fields.finish()?;
        Ok(Self {
            terms,
            proposal,
            acceptance,
            end,
        })
    }
}
