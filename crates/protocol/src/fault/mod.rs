//! Fault proofs: statements that convict whoever signed them, in one file that anyone verifies
//! offline.
//!
//! A *contradiction* is made of statements that nobody who runs the protocol honestly signs; a
//! *breach*, of statements that show that agreed terms were not kept. [`verify_fault`] checks a
//! proof step by step, like a receipt. [`Detector`] finds the contradictions in whatever records
//! and commitments of an operator somebody has collected, and makes the proofs.
//!
//! What can only be seen by whoever expects it, that something is missing, is no fault here: it is
//! a finding of a monitor or of a reconciliation.
//!
//! Spec: faults.

mod batches;
mod breach;
mod build;
mod conflict;
mod detect;
mod keys;
mod kind;
mod log;
mod proof;
mod report;
mod verify;

#[cfg(test)]
mod tests;

pub use detect::{Detector, Evidence, Finding, Found, as_request, between};
pub use kind::{FaultClass, FaultKind};
pub use proof::{
    Accused, FILE_EXTENSION, FORMAT, FaultProof, LoggedCommitment, MAX_BYTES, MAX_STATEMENTS,
    Statement,
};
pub use report::{FaultReport, FaultStep, FaultStepName};
pub use verify::verify_fault;
