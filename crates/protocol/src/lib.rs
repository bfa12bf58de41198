//! The Counterfoil evidence protocol: records, batches, commitments, manifests, receipts, and the
//! verifier that explains what it checked.
//!
//! Nothing here does I/O, reads a clock or draws randomness: all of that comes in through
//! parameters, so that every object can be rebuilt and every verdict repeated, on a server, in a
//! browser, or years later.
//!
//! Reading order: [`cbor`] and [`cose`] are the byte layer; [`record`], [`batch`],
//! [`commitment`] and [`manifest`] are the signed objects; [`receipt`] puts them in one file;
//! [`trust`] says whom the verifier believes; [`verify`] checks a receipt step by step;
//! [`contract`] is what two operators agreed on; [`fault`] convicts whoever contradicts itself or
//! breaks a contract. Every refusal anywhere carries a [`FailureCode`] from one closed list.
//!
//! The byte formats are specified in `spec/`; section numbers in these docs refer to it.

pub mod attestation;
pub mod batch;
pub mod bundle;
pub mod cbor;
pub mod commitment;
pub mod contract;
pub mod cose;
pub mod digest;
pub mod disclosure;
pub mod failure;
pub mod fault;
pub mod keys;
pub mod level;
pub mod manifest;
pub mod multiproof;
pub mod names;
pub mod numbers;
pub mod presentation;
pub mod receipt;
pub mod reconcile;
pub mod record;
pub mod stock;
pub mod trust;
pub mod verify;

pub use failure::{Failure, FailureCode};
