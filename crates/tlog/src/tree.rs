//! The RFC 6962 Merkle tree over SHA-256: hashes, node names, and appending.
//!
//! The hash rule is RFC 6962 section 2.1 (the same as RFC 9162 section 2.1.1): a leaf is
//! `SHA-256(0x00 || entry)`, a node is `SHA-256(0x01 || left || right)`, and the empty tree hashes
//! to `SHA-256("")`. tlog-tiles fixes SHA-256 for every public log.

use core::fmt;
use core::str::FromStr;

use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::text;

/// The root of the empty tree, `SHA-256("")` (RFC 6962 section 2.1).
pub const EMPTY_ROOT: Hash = Hash([
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24,
    0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
]);

/// A SHA-256 tree hash: a leaf hash, an inner node or a root.
///
/// `Display` writes base64 as checkpoints and proofs do; `Debug` writes hex.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash([u8; Hash::LEN]);

impl Hash {
    /// The length of a hash in bytes.
    pub const LEN: usize = 32;

    /// Wraps 32 bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; Hash::LEN]) -> Self {
        Self(bytes)
    }

    /// Wraps a slice of exactly 32 bytes; `None` for any other length.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Hash::LEN] {
        &self.0
    }

    /// Parses the base64 form used in checkpoints and proofs: 44 characters, strict.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != 44 {
            return None;
        }
        Self::from_slice(&text::base64_decode(text)?)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text::base64_encode(&self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text::hex(&self.0))
    }
}

impl FromStr for Hash {
    type Err = TreeError;

    fn from_str(text: &str) -> Result<Self, TreeError> {
        Self::parse(text).ok_or(TreeError::HashText)
    }
}

impl AsRef<[u8]> for Hash {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl From<[u8; Hash::LEN]> for Hash {
    fn from(bytes: [u8; Hash::LEN]) -> Self {
        Self(bytes)
    }
}

/// Why a tree value was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TreeError {
    /// A hash is not 32 bytes of strict base64.
    #[error("hash is not 32 bytes of strict base64")]
    HashText,
    /// Appending would exceed the largest size a 64-bit number can hold.
    #[error("tree is full")]
    Full,
    /// A frontier was given another number of nodes than its size has.
    #[error("a tree of size `{size}` has `{expected}` frontier nodes, got `{got}`")]
    NodeCount {
        /// The claimed tree size.
        size: u64,
        /// Number of ones in the binary form of the size.
        expected: usize,
        /// Number of nodes given.
        got: usize,
    },
}

impl TreeError {
    /// A stable code for machines.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::HashText => "hash_text",
            Self::Full => "tree_full",
            Self::NodeCount { .. } => "frontier_node_count",
        }
    }
}

/// The hash of a leaf, `SHA-256(0x00 || entry)` (RFC 6962 section 2.1).
#[must_use]
pub fn leaf_hash(entry: &[u8]) -> Hash {
    let mut hasher = Sha256::new();
    hasher.update([0x00]);
    hasher.update(entry);
    Hash(hasher.finalize().into())
}

/// The hash of an inner node, `SHA-256(0x01 || left || right)` (RFC 6962 section 2.1).
#[must_use]
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut block = [0u8; 1 + 2 * Hash::LEN];
    let (prefix, children) = block.split_at_mut(1);
    let (left_half, right_half) = children.split_at_mut(Hash::LEN);
    prefix.copy_from_slice(&[0x01]);
    left_half.copy_from_slice(&left.0);
    right_half.copy_from_slice(&right.0);
    Hash(Sha256::digest(block).into())
}

/// The name of a full subtree: the root over leaves `[index * 2^level, (index + 1) * 2^level)`.
///
/// Such a hash never changes once all its leaves exist, whatever the tree grows to. That is what
/// makes it storable in tiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId {
    level: u8,
    index: u64,
}

impl NodeId {
    /// Names a node; `None` when its leaves would not fit a tree of at most 2^64 - 1 leaves.
    #[must_use]
    pub fn new(level: u8, index: u64) -> Option<Self> {
        let width = 1u64.checked_shl(u32::from(level))?;
        index.checked_add(1)?.checked_mul(width)?;
        Some(Self { level, index })
    }

    /// The node of one leaf; `None` for `u64::MAX`, which no tree holds.
    #[must_use]
    pub fn leaf(index: u64) -> Option<Self> {
        Self::new(0, index)
    }

    /// Height above the leaves, 0 to 63.
    #[must_use]
    pub const fn level(self) -> u8 {
        self.level
    }

    /// Position within the level, counted from the left.
    #[must_use]
    pub const fn index(self) -> u64 {
        self.index
    }

    /// Index of the first leaf below the node.
    #[must_use]
    pub const fn start(self) -> u64 {
        // INVARIANT: `new` checked that `(index + 1) << level` fits.
        self.index << self.level
    }

    /// Index after the last leaf below the node: the smallest tree size that has this node.
    #[must_use]
    pub const fn end(self) -> u64 {
        (self.index + 1) << self.level
    }
}

/// The full subtrees that together cover leaves `[start, end)`, left to right.
///
/// `start` must be a multiple of the smallest power of two that is at least `end - start`, which is
/// true of every range in an RFC 6962 proof.
pub(crate) fn cover(start: u64, end: u64) -> Vec<NodeId> {
    let mut nodes = Vec::new();
    let mut at = start;
    while let Some(left) = end.checked_sub(at).filter(|left| *left > 0) {
        let level = left.ilog2();
        nodes.push(NodeId {
            level: level as u8,
            index: at >> level,
        });
        at += 1 << level;
    }
    nodes
}

/// Hashes neighbouring subtrees, left to right and each smaller than the one before, into one.
/// `None` for an empty list.
pub(crate) fn fold_right(nodes: &[Hash]) -> Option<Hash> {
    let (last, rest) = nodes.split_last()?;
    Some(
        rest.iter()
            .rev()
            .fold(*last, |right, left| node_hash(left, &right)),
    )
}

/// The state needed to append leaves and to know the root: the roots of the full subtrees that
/// cover the tree, one for each one in the binary form of the size (RFC 9162 section 2.1.2).
///
/// ```
/// use counterfoil_tlog::tree::{EMPTY_ROOT, Frontier, leaf_hash, node_hash};
///
/// let mut frontier = Frontier::new();
/// assert_eq!(frontier.root(), EMPTY_ROOT);
/// let (a, b) = (leaf_hash(b"a"), leaf_hash(b"b"));
/// frontier.append(a)?;
/// frontier.append(b)?;
/// assert_eq!(frontier.size(), 2);
/// assert_eq!(frontier.root(), node_hash(&a, &b));
/// # Ok::<(), counterfoil_tlog::tree::TreeError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    // INVARIANT: `nodes.len() == size.count_ones()`, largest subtree first.
    nodes: Vec<Hash>,
}

impl Frontier {
    /// The frontier of the empty tree.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            size: 0,
            nodes: Vec::new(),
        }
    }

    /// Restores a frontier from the hashes named by [`Frontier::node_ids`] for that size.
    ///
    /// # Errors
    /// [`TreeError::NodeCount`] when the number of hashes does not belong to the size.
    pub fn from_nodes(size: u64, nodes: Vec<Hash>) -> Result<Self, TreeError> {
        let expected = size.count_ones() as usize;
        if nodes.len() != expected {
            return Err(TreeError::NodeCount {
                size,
                expected,
                got: nodes.len(),
            });
        }
        Ok(Self { size, nodes })
    }

    /// The nodes a frontier of that size consists of, left to right.
    #[must_use]
    pub fn node_ids(size: u64) -> Vec<NodeId> {
        cover(0, size)
    }

    /// Adds one leaf hash on the right.
    ///
    /// # Errors
    /// [`TreeError::Full`] at size 2^64 - 1; the frontier is then unchanged.
    pub fn append(&mut self, leaf: Hash) -> Result<(), TreeError> {
        let grown = self.size.checked_add(1).ok_or(TreeError::Full)?;
        let mut hash = leaf;
        // Each trailing one of the old size is a full subtree that the new leaf completes.
        for _ in 0..self.size.trailing_ones() {
            let Some(left) = self.nodes.pop() else { break };
            hash = node_hash(&left, &hash);
        }
        self.nodes.push(hash);
        self.size = grown;
        Ok(())
    }

    /// Number of leaves.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The hashes of [`Frontier::node_ids`], left to right.
    #[must_use]
    pub fn nodes(&self) -> &[Hash] {
        &self.nodes
    }

    /// The root of the tree, [`EMPTY_ROOT`] when there are no leaves.
    #[must_use]
    pub fn root(&self) -> Hash {
        fold_right(&self.nodes).unwrap_or(EMPTY_ROOT)
    }
}
