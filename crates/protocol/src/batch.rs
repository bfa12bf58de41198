//! The tree of one batch: RFC 9162 with SHA-256, a leaf for each record's whole bytes.
//!
//! Trees are built with rs_merkle. Paths are checked by the strict verifier of the tlog crate
//! only: rs_merkle's own accepts trailing hashes, aliased positions and leaves that are not there.
//!
//! Spec: batches §2; bundles §3 for [`BatchTree::multiproof`].

use counterfoil_tlog::proof::root_from_inclusion;
use counterfoil_tlog::tree::{Hash, leaf_hash, node_hash};
use rs_merkle::{Hasher, MerkleTree};

use crate::failure::{Failure, FailureCode};

/// The most records of one batch.
pub const MAX_RECORDS: u64 = 65_536;
/// The most hashes of a path in a batch.
pub const MAX_PATH: usize = 16;

/// RFC 9162 hashing for rs_merkle. Its leaves come hashed already; an odd node moves up as it is.
#[derive(Clone, Debug)]
struct Rfc9162;

impl Hasher for Rfc9162 {
    type Hash = [u8; 32];

    fn hash(data: &[u8]) -> [u8; 32] {
        *leaf_hash(data).as_bytes()
    }

    fn concat_and_hash(left: &[u8; 32], right: Option<&[u8; 32]>) -> [u8; 32] {
        match right {
            Some(right) => {
                *node_hash(&Hash::from_bytes(*left), &Hash::from_bytes(*right)).as_bytes()
            }
            None => *left,
        }
    }
}

/// The tree over the records of one batch.
pub struct BatchTree {
    tree: MerkleTree<Rfc9162>,
    count: u64,
    root: Hash,
}

impl BatchTree {
    /// Builds the tree over the whole bytes of the records, in stream order.
    ///
    /// # Errors
    /// [`FailureCode::StructureOutOfRange`] for no record or more than [`MAX_RECORDS`].
    pub fn build<'a>(records: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, Failure> {
        let leaves: Vec<[u8; 32]> = records.into_iter().map(Rfc9162::hash).collect();
        let count = leaves.len() as u64;
        let tree = MerkleTree::from_leaves(&leaves);
        match tree.root() {
            Some(root) if count <= MAX_RECORDS => Ok(Self {
                tree,
                count,
                root: Hash::from_bytes(root),
            }),
            _ => Err(Failure::new(
                FailureCode::StructureOutOfRange,
                format!("a batch of {count} records, between 1 and {MAX_RECORDS} are allowed"),
            )),
        }
    }

    /// The root.
    pub const fn root(&self) -> Hash {
        self.root
    }

    /// The number of records.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The path from the record at `index` to the root, leaf side first; none outside the batch.
    pub fn path(&self, index: u64) -> Option<Vec<Hash>> {
        if index >= self.count {
            return None;
        }
        let proof = self.tree.proof(&[usize::try_from(index).ok()?]);
        Some(
            proof
                .proof_hashes()
                .iter()
                .map(|hash| Hash::from_bytes(*hash))
                .collect(),
        )
    }

    /// The hashes that prove the records at these indexes together, for
    /// [`PartialTree::verify`](crate::multiproof::PartialTree::verify). None when there is no
    /// index, they do not ascend, or one lies outside the batch.
    pub fn multiproof(&self, indexes: &[u64]) -> Option<Vec<Hash>> {
        let last = *indexes.last()?;
        if last >= self.count || !indexes.is_sorted_by(|a, b| a < b) {
            return None;
        }
        if indexes.len() as u64 == self.count {
            // rs_merkle would look for each leaf among all of them, to find nothing missing.
            return Some(Vec::new());
        }
        let indexes: Vec<usize> = indexes
            .iter()
            .map(|index| usize::try_from(*index).ok())
            .collect::<Option<_>>()?;
        let proof = self.tree.proof(&indexes);
        Some(
            proof
                .proof_hashes()
                .iter()
                .map(|hash| Hash::from_bytes(*hash))
                .collect(),
        )
    }
}

impl core::fmt::Debug for BatchTree {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "BatchTree({} records, root {})", self.count, self.root)
    }
}

/// Checks that `record` is leaf `index` of the tree of `count` leaves with this `root`.
///
/// # Errors
/// [`FailureCode::BatchPathInvalid`].
pub fn verify_path(
    record: &[u8],
    index: u64,
    count: u64,
    path: &[Hash],
    root: &Hash,
) -> Result<(), Failure> {
    let computed = root_from_inclusion(&leaf_hash(record), index, count, path)
        .map_err(|error| Failure::new(FailureCode::BatchPathInvalid, error.to_string()))?;
    if computed == *root {
        Ok(())
    } else {
        Err(Failure::new(
            FailureCode::BatchPathInvalid,
            format!("the path leads to {computed}, the commitment holds {root}"),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(count: u8) -> Vec<Vec<u8>> {
        (0..count).map(|i| vec![i; usize::from(i) + 1]).collect()
    }

    fn tree(count: u8) -> BatchTree {
        BatchTree::build(records(count).iter().map(Vec::as_slice)).unwrap()
    }

    #[test]
    fn every_path_of_every_small_batch_verifies() {
        for count in 1..=130_u8 {
            let tree = tree(count);
            for (index, record) in records(count).iter().enumerate() {
                let path = tree.path(index as u64).unwrap();
                verify_path(record, index as u64, u64::from(count), &path, &tree.root()).unwrap();
            }
            assert!(tree.path(u64::from(count)).is_none());
        }
    }

    /// The proofs that rs_merkle's verifier accepts although the leaf is not there.
    #[test]
    fn what_rs_merkle_would_accept_is_refused() {
        let tree = tree(7);
        let records = records(7);
        let record = &records[3];
        let path = tree.path(3).unwrap();
        let refused = |index, count, path: &[Hash]| {
            assert_eq!(
                verify_path(record, index, count, path, &tree.root())
                    .unwrap_err()
                    .code(),
                FailureCode::BatchPathInvalid,
                "index {index} of {count}"
            );
        };
        refused(11, 4, &path);
        refused(19, 5, &path);
        refused(35, 7, &path);
        refused(3, 9, &path);
        let mut longer = path.clone();
        longer.push(path[0]);
        refused(3, 7, &longer);
        refused(3, 7, &path[..2]);
        refused(2, 7, &path);

        let proof = tree.tree.proof(&[3]);
        let mut forged: Vec<[u8; 32]> = proof.proof_hashes().to_vec();
        forged.push([0; 32]);
        assert!(
            rs_merkle::MerkleProof::<Rfc9162>::new(forged).verify(
                *tree.root().as_bytes(),
                &[3],
                &[Rfc9162::hash(record)],
                7
            ),
            "the reason for our own verifier has gone away"
        );
    }

    #[test]
    fn an_empty_batch_cannot_be_built() {
        assert!(BatchTree::build(core::iter::empty()).is_err());
    }
}
