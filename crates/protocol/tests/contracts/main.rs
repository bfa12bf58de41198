//! Contracts, contract files, disclosures and presentations, between two operators.
#![allow(missing_docs, reason = "tests")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test stops where it fails"
)]

mod disclosures;
mod files;
mod operators;
mod permissions;
mod presentations;
mod terms;
