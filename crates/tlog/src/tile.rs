//! Tiles and entry bundles (c2sp.org/tlog-tiles): their names, their bytes, and which of them a
//! growing tree needs.
//!
//! A hash tile at level `l` holds up to 256 roots of subtrees of `256^l` leaves; a bundle holds up
//! to 256 entries. Full ones never change; the rightmost of each level is partial and its name says
//! how wide it is.

mod bundle;
mod edge;
mod path;
mod reader;

use thiserror::Error;

use crate::tree::{Hash, NodeId, TreeError, fold_right};

pub use bundle::{MAX_ENTRY_BYTES, parse_bundle, push_entry};
pub use edge::{RightEdge, TileData};
pub use path::ResourcePath;
pub use reader::{TileReadError, TileReader, tiles_for_nodes};

/// Levels a tree of at most 2^64 - 1 leaves can have.
const LEVELS: u8 = 8;

/// Why a tile, a bundle or a path was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TileError {
    /// The path is not a canonical tile or bundle path.
    #[error("not a tile path")]
    Path,
    /// The tile's bytes are not as many hashes as its width says.
    #[error("tile has `{got}` bytes, expected `{expected}`")]
    TileLength {
        /// Expected number of bytes.
        expected: usize,
        /// Actual number of bytes.
        got: usize,
    },
    /// The bundle ends inside an entry.
    #[error("entry bundle is cut off in entry `{0}`")]
    BundleCutOff(usize),
    /// The bundle has another number of entries than its width says.
    #[error("entry bundle has other than `{0}` entries")]
    BundleCount(u16),
    /// An entry is larger than its 16-bit length prefix can say.
    #[error("entry has `{0}` bytes, at most 65535 are allowed")]
    EntryTooLarge(usize),
    /// A node is not part of the tree.
    #[error("node `{level}/{index}` is outside a tree of size `{size}`")]
    NodeOutsideTree {
        /// Level of the node.
        level: u8,
        /// Index of the node in its level.
        index: u64,
        /// Tree size.
        size: u64,
    },
    /// The tree cannot grow further.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

impl TileError {
    /// A stable code for machines.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Path => "tile_path",
            Self::TileLength { .. } => "tile_length",
            Self::BundleCutOff(_) => "bundle_cut_off",
            Self::BundleCount(_) => "bundle_count",
            Self::EntryTooLarge(_) => "entry_too_large",
            Self::NodeOutsideTree { .. } => "node_outside_tree",
            Self::Tree(error) => error.code(),
        }
    }
}

/// How many hashes or entries a tile or bundle has: 1 to 256.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Width(u16);

impl Width {
    /// 256, the width of a tile that will not change any more.
    pub const FULL: Self = Self(256);

    /// Checks a width; `None` outside 1 to 256.
    #[must_use]
    pub const fn new(width: u16) -> Option<Self> {
        match width {
            1..=256 => Some(Self(width)),
            _ => None,
        }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }

    /// Whether the width is 256.
    #[must_use]
    pub const fn is_full(self) -> bool {
        self.0 == Self::FULL.0
    }

    /// The width of the tile with that index when its level has `total` hashes.
    const fn of(index: u64, total: u64) -> Option<Self> {
        match index.checked_mul(256) {
            Some(start) if start < total => {
                let left = total - start;
                Some(if left >= 256 {
                    Self::FULL
                } else {
                    Self(left as u16)
                })
            }
            _ => None,
        }
    }
}

/// The name of a hash tile: level, index in the level, width (tlog-tiles, section "Merkle Tree").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TileId {
    level: u8,
    index: u64,
    width: Width,
}

impl TileId {
    /// The highest level a path may have.
    pub const MAX_LEVEL: u8 = 63;

    /// Names a tile; `None` for a level above 63.
    #[must_use]
    pub const fn new(level: u8, index: u64, width: Width) -> Option<Self> {
        if level > Self::MAX_LEVEL {
            None
        } else {
            Some(Self {
                level,
                index,
                width,
            })
        }
    }

    /// The tile with that level and index as it is in a tree of `size` leaves; `None` when the
    /// tree has no such tile.
    #[must_use]
    pub fn in_tree(level: u8, index: u64, size: u64) -> Option<Self> {
        let width = Width::of(index, hashes_at(level, size))?;
        Self::new(level, index, width)
    }

    /// Level above the leaves, in steps of 8 tree levels.
    #[must_use]
    pub const fn level(self) -> u8 {
        self.level
    }

    /// Index within the level.
    #[must_use]
    pub const fn index(self) -> u64 {
        self.index
    }

    /// Number of hashes.
    #[must_use]
    pub const fn width(self) -> Width {
        self.width
    }

    /// The full tile with the same place, which may replace a partial one that is gone
    /// (tlog-tiles, section "Partial Tiles").
    #[must_use]
    pub const fn full(self) -> Self {
        Self {
            width: Width::FULL,
            ..self
        }
    }

    /// Index of the first entry the full tile spans; `None` beyond 64 bits.
    #[must_use]
    pub fn start_index(self) -> Option<u64> {
        let span = 1u64.checked_shl(8 * (u32::from(self.level) + 1))?;
        self.index.checked_mul(span)
    }

    /// Index after the last entry the full tile spans; `None` beyond 64 bits. Pruning may remove a
    /// tile whose end index is at most the minimum index (tlog-tiles, section "Pruning").
    #[must_use]
    pub fn end_index(self) -> Option<u64> {
        Self {
            index: self.index.checked_add(1)?,
            ..self
        }
        .start_index()
    }

    /// Number of bytes of the tile: 32 for each hash.
    #[must_use]
    pub const fn byte_len(self) -> usize {
        self.width.0 as usize * Hash::LEN
    }

    /// Reads the tile's hashes from its bytes.
    ///
    /// # Errors
    /// [`TileError::TileLength`] unless there are exactly [`TileId::byte_len`] bytes.
    pub fn hashes(self, bytes: &[u8]) -> Result<Vec<Hash>, TileError> {
        if bytes.len() != self.byte_len() {
            return Err(TileError::TileLength {
                expected: self.byte_len(),
                got: bytes.len(),
            });
        }
        Ok(bytes
            .chunks_exact(Hash::LEN)
            .filter_map(Hash::from_slice)
            .collect())
    }
}

/// The name of an entry bundle: index and width (tlog-tiles, section "Log entries").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BundleId {
    index: u64,
    width: Width,
}

impl BundleId {
    /// Names a bundle.
    #[must_use]
    pub const fn new(index: u64, width: Width) -> Self {
        Self { index, width }
    }

    /// The bundle that holds an entry, as it is in a tree of `size` leaves, and the entry's
    /// position in it; `None` when the tree has no such entry.
    #[must_use]
    pub fn of_entry(entry: u64, size: u64) -> Option<(Self, usize)> {
        if entry >= size {
            return None;
        }
        let index = entry / 256;
        Some((
            Self {
                index,
                width: Width::of(index, size)?,
            },
            (entry % 256) as usize,
        ))
    }

    /// Index among the bundles.
    #[must_use]
    pub const fn index(self) -> u64 {
        self.index
    }

    /// Number of entries.
    #[must_use]
    pub const fn width(self) -> Width {
        self.width
    }

    /// The full bundle with the same place.
    #[must_use]
    pub const fn full(self) -> Self {
        Self {
            width: Width::FULL,
            ..self
        }
    }
}

/// Where in which tile a node's hash is found.
///
/// Tiles store every eighth tree level. A node between two stored levels is hashed from the 2, 4 ...
/// 128 neighbouring hashes of the level below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeLocation {
    tile: TileId,
    first: u16,
    count: u16,
}

impl NodeLocation {
    /// Locates a node in a tree of `size` leaves, naming the tile with the width it has there.
    ///
    /// # Errors
    /// [`TileError::NodeOutsideTree`] when some leaf below the node is not in the tree.
    pub fn of(node: NodeId, size: u64) -> Result<Self, TileError> {
        let outside = TileError::NodeOutsideTree {
            level: node.level(),
            index: node.index(),
            size,
        };
        if node.end() > size {
            return Err(outside);
        }
        let height = node.level() % 8;
        // INVARIANT: `node.end()` fits 64 bits, so shifting the index by less than its level does.
        let first = node.index() << height;
        let tile = TileId::in_tree(node.level() / 8, first / 256, size).ok_or(outside)?;
        Ok(Self {
            tile,
            first: (first % 256) as u16,
            count: 1 << height,
        })
    }

    /// The tile.
    #[must_use]
    pub const fn tile(&self) -> TileId {
        self.tile
    }

    /// Computes the node's hash from the tile's hashes. A wider version of the same tile serves too.
    ///
    /// # Errors
    /// [`TileError::TileLength`] when the tile has too few hashes.
    pub fn hash(&self, tile: &[Hash]) -> Result<Hash, TileError> {
        let (first, end) = (
            usize::from(self.first),
            usize::from(self.first + self.count),
        );
        tile.get(first..end)
            .and_then(full_root)
            .ok_or(TileError::TileLength {
                expected: end * Hash::LEN,
                got: tile.len() * Hash::LEN,
            })
    }
}

/// The hash tiles that a log must write when its tree grows from `old` to `new` leaves: every tile
/// that becomes full and the new partial tile of every level that changes.
///
/// Empty when `new <= old`. The iterator is lazy; it does not hold the tiles of a huge step.
pub fn new_tiles(old: u64, new: u64) -> impl Iterator<Item = TileId> {
    (0..LEVELS).flat_map(move |level| {
        changed(hashes_at(level, old), hashes_at(level, new))
            .filter_map(move |index| TileId::in_tree(level, index, new))
    })
}

/// The entry bundles that a log must write when its tree grows from `old` to `new` leaves.
pub fn new_bundles(old: u64, new: u64) -> impl Iterator<Item = BundleId> {
    changed(old, new).filter_map(move |index| {
        Some(BundleId {
            index,
            width: Width::of(index, new)?,
        })
    })
}

/// Number of hashes at a tile level: one for each complete subtree of `256^level` leaves.
fn hashes_at(level: u8, size: u64) -> u64 {
    size.checked_shr(8 * u32::from(level)).unwrap_or(0)
}

/// Indices of the tiles of a level that differ between two hash counts.
fn changed(old: u64, new: u64) -> core::ops::Range<u64> {
    if old < new {
        old / 256..new.div_ceil(256)
    } else {
        0..0
    }
}

/// The root over a power of two of hashes; `None` for none.
fn full_root(hashes: &[Hash]) -> Option<Hash> {
    let mut row = hashes.to_vec();
    while row.len() > 1 {
        row = row.chunks(2).filter_map(fold_right).collect();
    }
    row.first().copied()
}
