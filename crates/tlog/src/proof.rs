//! Inclusion and consistency proofs: strict verifiers, and builders over stored nodes.
//!
//! Verification follows RFC 9162 sections 2.1.3.2 and 2.1.4.2. A proof is accepted only when it has
//! exactly the hashes its sizes call for: an extra hash, a missing hash, or an index outside the
//! tree is refused, so one statement has one proof and one position has one index.

mod build;

use thiserror::Error;

use crate::tree::{Hash, node_hash};

pub use build::{
    BuildError, HashReader, LeafSlice, consistency_nodes, inclusion_nodes, prove_consistency,
    prove_inclusion, root,
};

/// The most hashes a proof may have (tlog-witness and tlog-mirror: at most 63 lines).
pub const MAX_HASHES: usize = 63;

/// Why a proof was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProofError {
    /// The index is not below the tree size.
    #[error("index `{index}` is outside a tree of size `{size}`")]
    IndexOutOfRange {
        /// The claimed index.
        index: u64,
        /// The tree size.
        size: u64,
    },
    /// A consistency proof was asked from the empty tree, which says nothing.
    #[error("old tree is empty, there is nothing to be consistent with")]
    OldSizeZero,
    /// The old tree is larger than the new one.
    #[error("old size `{old}` is larger than new size `{new}`")]
    OldSizeLarger {
        /// The old size.
        old: u64,
        /// The new size.
        new: u64,
    },
    /// The proof has another number of hashes than its sizes call for.
    #[error("proof has `{got}` hashes, expected `{expected}`")]
    WrongLength {
        /// Number of hashes the sizes call for.
        expected: usize,
        /// Number of hashes given.
        got: usize,
    },
    /// The sizes call for more than [`MAX_HASHES`] hashes.
    #[error("proof would need more than 63 hashes")]
    TooLong,
    /// The proof leads to another root than the (new) tree has.
    #[error("proof does not lead to the root of the tree")]
    RootMismatch,
    /// The consistency proof leads to another root than the old tree had.
    #[error("proof does not lead to the root of the old tree")]
    OldRootMismatch,
}

impl ProofError {
    /// A stable code for machines.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::IndexOutOfRange { .. } => "index_out_of_range",
            Self::OldSizeZero => "old_size_zero",
            Self::OldSizeLarger { .. } => "old_size_larger",
            Self::WrongLength { .. } => "proof_wrong_length",
            Self::TooLong => "proof_too_long",
            Self::RootMismatch => "root_mismatch",
            Self::OldRootMismatch => "old_root_mismatch",
        }
    }
}

/// Checks that `leaf` is the leaf hash at `index` in the tree of `size` leaves with that root
/// (RFC 9162 section 2.1.3.2).
///
/// `size` and `root` must come from something signed, never from whoever supplies the path.
///
/// # Errors
/// Any [`ProofError`] that concerns inclusion; see its variants.
pub fn verify_inclusion(
    leaf: &Hash,
    index: u64,
    size: u64,
    path: &[Hash],
    root: &Hash,
) -> Result<(), ProofError> {
    if root_from_inclusion(leaf, index, size, path)? == *root {
        Ok(())
    } else {
        Err(ProofError::RootMismatch)
    }
}

/// The root that an inclusion path leads to, for a caller who compares it with a signed one.
///
/// # Errors
/// [`ProofError::IndexOutOfRange`], [`ProofError::TooLong`], or [`ProofError::WrongLength`].
pub fn root_from_inclusion(
    leaf: &Hash,
    index: u64,
    size: u64,
    path: &[Hash],
) -> Result<Hash, ProofError> {
    let expected = inclusion_length(index, size)?;
    if path.len() != expected {
        return Err(ProofError::WrongLength {
            expected,
            got: path.len(),
        });
    }
    let mut node = index;
    let mut last = size - 1;
    let mut hash = *leaf;
    // Once the node is the last of its level, it stays on the right edge, where every sibling is on
    // the left. The path has no hash for levels where it has no sibling; they need no counting here,
    // because the length of the path is known to be right.
    for sibling in path {
        if node & 1 == 1 || node == last {
            hash = node_hash(sibling, &hash);
        } else {
            hash = node_hash(&hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    Ok(hash)
}

/// Number of hashes in the inclusion path of `index` in a tree of `size` leaves
/// (RFC 9162 section 2.1.3.1).
///
/// # Errors
/// [`ProofError::IndexOutOfRange`], or [`ProofError::TooLong`] above 63.
pub fn inclusion_length(index: u64, size: u64) -> Result<usize, ProofError> {
    if index >= size {
        return Err(ProofError::IndexOutOfRange { index, size });
    }
    // Below the point where the leaf and the right edge part, every level has a sibling. Above it
    // the leaf is under the right edge's left siblings only: one per one bit.
    let inner = u64::BITS - (index ^ (size - 1)).leading_zeros();
    let border = index.checked_shr(inner).unwrap_or(0).count_ones();
    let length = (inner + border) as usize;
    if length > MAX_HASHES {
        Err(ProofError::TooLong)
    } else {
        Ok(length)
    }
}

/// Checks that the tree (`old_size`, `old_root`) is a prefix of the tree (`new_size`, `new_root`)
/// (RFC 9162 section 2.1.4.2).
///
/// Equal sizes need equal roots and an empty path. An old size of zero is refused: whether an empty
/// tree may be extended without proof is for the caller to say (tlog-witness does say so).
///
/// # Errors
/// Any [`ProofError`] that concerns consistency; see its variants.
pub fn verify_consistency(
    old_size: u64,
    old_root: &Hash,
    new_size: u64,
    new_root: &Hash,
    path: &[Hash],
) -> Result<(), ProofError> {
    let expected = consistency_length(old_size, new_size)?;
    if path.len() != expected {
        return Err(ProofError::WrongLength {
            expected,
            got: path.len(),
        });
    }
    if old_size == new_size {
        return if old_root == new_root {
            Ok(())
        } else {
            Err(ProofError::RootMismatch)
        };
    }

    // Start at the largest full subtree that ends where the old tree ends.
    let shift = (old_size - 1).trailing_ones();
    let mut node = (old_size - 1).checked_shr(shift).unwrap_or(0);
    let mut last = (new_size - 1).checked_shr(shift).unwrap_or(0);
    let (start, rest) = if old_size.is_power_of_two() {
        (*old_root, path)
    } else {
        match path.split_first() {
            Some((first, rest)) => (*first, rest),
            None => return Err(ProofError::WrongLength { expected, got: 0 }),
        }
    };
    let (mut old_hash, mut new_hash) = (start, start);
    for sibling in rest {
        if node & 1 == 1 || node == last {
            old_hash = node_hash(sibling, &old_hash);
            new_hash = node_hash(sibling, &new_hash);
        } else {
            new_hash = node_hash(&new_hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    if old_hash != *old_root {
        Err(ProofError::OldRootMismatch)
    } else if new_hash != *new_root {
        Err(ProofError::RootMismatch)
    } else {
        Ok(())
    }
}

/// Number of hashes in the consistency proof between two sizes (RFC 9162 section 2.1.4.1).
///
/// # Errors
/// [`ProofError::OldSizeZero`], [`ProofError::OldSizeLarger`], or [`ProofError::TooLong`] above 63.
pub fn consistency_length(old_size: u64, new_size: u64) -> Result<usize, ProofError> {
    let length = build::consistency_ranges(old_size, new_size)?.len();
    if length > MAX_HASHES {
        Err(ProofError::TooLong)
    } else {
        Ok(length)
    }
}
