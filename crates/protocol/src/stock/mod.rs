//! Stock receipts: ours as COSE receipts (RFC 9942) and SCITT transparent statements (RFC 9943),
//! for whoever has a verifier of those and none of ours.
//!
//! Both of our trees are those of `vds` 1 and their leaves are whole signed statements with an empty
//! unprotected header, so nothing has to be hashed anew. A commitment is an operator's receipt for
//! a record as it stands: its payload is detached and the path put under `vdp`. For a log's entry
//! the log signs the root of its tree once more, as a COSE_Sign1. Two algorithm numbers are
//! written for the same Ed25519 signatures: -19, and -8 for verifiers that know no other.
//!
//! Spec: stock receipts.

mod entry;
mod key;
mod receipt;
mod statement;

use counterfoil_tlog::tree::Hash;

pub use key::{cose_key, cose_key_set};
pub use receipt::{CoseReceipt, LogSigner, MAX_BYTES};
pub use statement::{MAX_RECEIPTS, TransparentStatement};

use crate::cose::{ALGORITHM_ED25519, ALGORITHM_EDDSA};

/// Header parameter `receipts`.
pub const LABEL_RECEIPTS: i64 = 394;
/// Header parameter `vdp`, verifiable data structure proofs.
pub const LABEL_VDP: i64 = 396;
/// The inclusion proofs in `vdp`.
pub const PROOF_INCLUSION: i64 = -1;
/// Our private-use header parameter: how many leaves the tree has whose root a log's receipt signs.
/// Nothing else that is signed says it, and a path can fit trees of several sizes.
pub const LABEL_TREE_SIZE: i64 = -65538;
/// `typ` of a log's receipts.
pub const LOG_RECEIPT_TYPE: &str = "application/scitt-receipt+cose";

/// Under which number a COSE receipt names the algorithm of its signature, Ed25519 in both cases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// -19, fully specified (RFC 9864).
    Ed25519,
    /// -8, as older verifiers know it (RFC 9053).
    EdDsa,
}

impl Algorithm {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Ed25519, Self::EdDsa];

    /// The COSE number.
    pub const fn number(self) -> i64 {
        match self {
            Self::Ed25519 => ALGORITHM_ED25519,
            Self::EdDsa => ALGORITHM_EDDSA,
        }
    }

    /// The algorithm with this COSE number.
    pub fn of_number(number: i128) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|algorithm| i128::from(algorithm.number()) == number)
    }
}

/// Where an entry stands in a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inclusion {
    /// How many leaves the tree has.
    pub size: u64,
    /// Which of them the entry is.
    pub index: u64,
    /// The path to the root, leaf side first; empty in a tree of one leaf.
    pub path: Vec<Hash>,
}
