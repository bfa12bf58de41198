//! Contracts: what two operators agreed may be requested, and with which evidence.
//!
//! [`Terms`] are the text of a contract, which stays private: records hold its salted digest. It
//! comes into being by two records, one that proposes it and one of the other side that accepts
//! it; [`ContractFile`] holds the terms with the receipts of those records, and
//! [`verify_contract`] checks such a file offline. [`Terms::permits`] says whether a call is one
//! that the contract allows, and under which conditions; both gateways ask it, and so does
//! whoever judges them later.
//!
//! Spec: contracts.

mod decode;
mod encode;
mod file;
mod parameters;
mod pattern;
mod permits;
mod terms;
mod verify;

pub use file::{ContractFile, FILE_EXTENSION, FORMAT as FILE_FORMAT, MAX_FILE_BYTES};
pub use pattern::{Pattern, Pointer};
pub use permits::{Call, OutsideContract, Permitted};
pub use terms::{
    Clauses, FORMAT, MAX_BUDGETS, MAX_CONTACTS, MAX_PERMISSIONS, MAX_TARGETS, MAX_TERMS_BYTES,
    Party, Permission, Target, Terms,
};
pub use verify::{ContractReport, ContractState, ContractStep, ContractStepName, verify_contract};
