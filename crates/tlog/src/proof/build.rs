//! Building proofs from stored nodes (RFC 9162 sections 2.1.3.1 and 2.1.4.1).

use thiserror::Error;

use super::{ProofError, consistency_length, inclusion_length};
use crate::tree::{EMPTY_ROOT, Frontier, Hash, NodeId, cover, fold_right};

/// Reads stored tree hashes, for example out of tiles ([`TileReader`](crate::tile::TileReader)).
pub trait HashReader {
    /// Why reading failed.
    type Error;

    /// Returns the hashes of the nodes, in the order asked and exactly as many.
    ///
    /// # Errors
    /// When a node cannot be read.
    fn read(&self, ids: &[NodeId]) -> Result<Vec<Hash>, Self::Error>;
}

impl<R: HashReader + ?Sized> HashReader for &R {
    type Error = R::Error;

    fn read(&self, ids: &[NodeId]) -> Result<Vec<Hash>, Self::Error> {
        (**self).read(ids)
    }
}

/// Why a proof could not be built.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BuildError<E> {
    /// The sizes or the index allow no proof.
    #[error(transparent)]
    Proof(ProofError),
    /// The reader failed.
    #[error("reading tree nodes: {0}")]
    Read(E),
    /// The reader returned another number of hashes than it was asked for.
    #[error("reader returned `{got}` hashes instead of `{asked}`")]
    ReaderCount {
        /// Number of hashes asked for.
        asked: usize,
        /// Number of hashes returned.
        got: usize,
    },
}

impl<E> BuildError<E> {
    /// A stable code for machines.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Proof(error) => error.code(),
            Self::Read(_) => "tree_read_failed",
            Self::ReaderCount { .. } => "tree_reader_count",
        }
    }
}

/// Builds the inclusion path of `index` in the tree of `size` leaves (RFC 9162 section 2.1.3.1).
///
/// # Errors
/// [`BuildError`] when there is no such proof or a node cannot be read.
pub fn prove_inclusion<R: HashReader>(
    index: u64,
    size: u64,
    reader: &R,
) -> Result<Vec<Hash>, BuildError<R::Error>> {
    inclusion_length(index, size).map_err(BuildError::Proof)?;
    read_ranges(&inclusion_ranges(index, size), reader)
}

/// Builds the consistency proof from `old_size` to `new_size` (RFC 9162 section 2.1.4.1).
///
/// # Errors
/// [`BuildError`] when there is no such proof or a node cannot be read.
pub fn prove_consistency<R: HashReader>(
    old_size: u64,
    new_size: u64,
    reader: &R,
) -> Result<Vec<Hash>, BuildError<R::Error>> {
    consistency_length(old_size, new_size).map_err(BuildError::Proof)?;
    let ranges = consistency_ranges(old_size, new_size).map_err(BuildError::Proof)?;
    read_ranges(&ranges, reader)
}

/// Computes the root of the first `size` leaves from stored nodes.
///
/// # Errors
/// [`BuildError`] when a node cannot be read.
pub fn root<R: HashReader>(size: u64, reader: &R) -> Result<Hash, BuildError<R::Error>> {
    let hashes = read_exactly(&Frontier::node_ids(size), reader)?;
    Ok(fold_right(&hashes).unwrap_or(EMPTY_ROOT))
}

/// The stored nodes [`prove_inclusion`] will ask for, so that a client can fetch their tiles first.
///
/// # Errors
/// The same [`ProofError`]s as [`inclusion_length`].
pub fn inclusion_nodes(index: u64, size: u64) -> Result<Vec<NodeId>, ProofError> {
    inclusion_length(index, size)?;
    Ok(inclusion_ranges(index, size)
        .into_iter()
        .flat_map(|(a, b)| cover(a, b))
        .collect())
}

/// The stored nodes [`prove_consistency`] will ask for.
///
/// # Errors
/// The same [`ProofError`]s as [`consistency_length`].
pub fn consistency_nodes(old_size: u64, new_size: u64) -> Result<Vec<NodeId>, ProofError> {
    consistency_length(old_size, new_size)?;
    let ranges = consistency_ranges(old_size, new_size)?;
    Ok(ranges.into_iter().flat_map(|(a, b)| cover(a, b)).collect())
}

/// Leaf hashes held in memory, readable as a tree. For small trees such as one batch: each node is
/// hashed anew from its leaves.
#[derive(Clone, Copy, Debug)]
pub struct LeafSlice<'a>(pub &'a [Hash]);

impl HashReader for LeafSlice<'_> {
    type Error = ProofError;

    fn read(&self, ids: &[NodeId]) -> Result<Vec<Hash>, ProofError> {
        ids.iter().map(|id| self.node(*id)).collect()
    }
}

impl LeafSlice<'_> {
    fn node(&self, id: NodeId) -> Result<Hash, ProofError> {
        let size = self.0.len() as u64;
        let outside = ProofError::IndexOutOfRange {
            index: id.end() - 1,
            size,
        };
        let start = usize::try_from(id.start()).map_err(|_| outside)?;
        let end = usize::try_from(id.end()).map_err(|_| outside)?;
        let mut row = self.0.get(start..end).ok_or(outside)?.to_vec();
        while row.len() > 1 {
            row = row.chunks(2).filter_map(fold_right).collect();
        }
        row.first().copied().ok_or(outside)
    }
}

/// Leaf ranges whose roots form the path, leaf's sibling first. Needs `index < size`.
fn inclusion_ranges(index: u64, size: u64) -> Vec<(u64, u64)> {
    let mut ranges = Vec::new();
    let (mut low, mut high) = (0, size);
    while high - low > 1 {
        let middle = low + split(high - low);
        if index < middle {
            ranges.push((middle, high));
            high = middle;
        } else {
            ranges.push((low, middle));
            low = middle;
        }
    }
    ranges.reverse();
    ranges
}

/// Leaf ranges whose roots form the consistency proof, in proof order.
pub(super) fn consistency_ranges(
    old_size: u64,
    new_size: u64,
) -> Result<Vec<(u64, u64)>, ProofError> {
    if old_size == 0 {
        return Err(ProofError::OldSizeZero);
    }
    if old_size > new_size {
        return Err(ProofError::OldSizeLarger {
            old: old_size,
            new: new_size,
        });
    }
    let mut ranges = Vec::new();
    let (mut low, mut high) = (0, new_size);
    while old_size != high {
        let middle = low + split(high - low);
        if old_size <= middle {
            ranges.push((middle, high));
            high = middle;
        } else {
            ranges.push((low, middle));
            low = middle;
        }
    }
    // The verifier knows this subtree already when it is the whole old tree.
    if low != 0 {
        ranges.push((low, high));
    }
    ranges.reverse();
    Ok(ranges)
}

/// The largest power of two smaller than `count`, for `count > 1` (RFC 6962 section 2.1).
const fn split(count: u64) -> u64 {
    1 << (count - 1).ilog2()
}

fn read_ranges<R: HashReader>(
    ranges: &[(u64, u64)],
    reader: &R,
) -> Result<Vec<Hash>, BuildError<R::Error>> {
    let covers: Vec<Vec<NodeId>> = ranges.iter().map(|(a, b)| cover(*a, *b)).collect();
    let ids: Vec<NodeId> = covers.iter().flatten().copied().collect();
    let mut hashes = read_exactly(&ids, reader)?.into_iter();
    let roots = covers.iter().filter_map(|nodes| {
        let parts: Vec<Hash> = hashes.by_ref().take(nodes.len()).collect();
        fold_right(&parts)
    });
    Ok(roots.collect())
}

fn read_exactly<R: HashReader>(
    ids: &[NodeId],
    reader: &R,
) -> Result<Vec<Hash>, BuildError<R::Error>> {
    let hashes = reader.read(ids).map_err(BuildError::Read)?;
    if hashes.len() == ids.len() {
        Ok(hashes)
    } else {
        Err(BuildError::ReaderCount {
            asked: ids.len(),
            got: hashes.len(),
        })
    }
}
