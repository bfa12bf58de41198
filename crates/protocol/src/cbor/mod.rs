//! Deterministic CBOR (RFC 8949 §4.2.1), and nothing but it.
//!
//! [`strict`] is one pass over foreign bytes that refuses whatever a deterministic encoder would
//! not have written; it runs before any decoder sees them. [`encode`] writes only such bytes.
//! [`fields`] takes a decoded map apart and refuses what the format does not name.
//!
//! Spec: records §1.

pub mod encode;
pub mod fields;
mod read;
pub mod strict;

pub use encode::{Encoder, MapEncoder};
pub use fields::Fields;
pub use strict::{Limits, check};

use ciborium::Value;

use crate::failure::{Failure, FailureCode};

/// Checks `bytes` strictly, then decodes them.
///
/// # Errors
/// The code of the first rule that `bytes` break.
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Value, Failure> {
    check(bytes, limits)?;
    read::read(bytes)
        .ok_or_else(|| Failure::new(FailureCode::CborTruncated, "the item cannot be read"))
}
