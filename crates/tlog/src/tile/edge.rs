//! Appending to a tiled tree while holding only its right edge.

use super::{LEVELS, TileId, TileReadError, Width, full_root};
use crate::tree::{EMPTY_ROOT, Hash, TreeError, fold_right};

/// One tile and its bytes, ready to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TileData {
    /// The tile's name.
    pub id: TileId,
    /// Its hashes, 32 bytes each.
    pub bytes: Vec<u8>,
}

/// The partial tiles on the right edge of a tree: all a log needs to append leaves, to write the
/// tiles that result, and to know the root (tlog-tiles, section "Partial Tiles").
///
/// At most 8 tiles, 64 KiB, whatever the size of the tree.
///
/// ```
/// use counterfoil_tlog::tile::RightEdge;
/// use counterfoil_tlog::tree::leaf_hash;
///
/// let mut edge = RightEdge::new();
/// let tiles = edge.append(&[leaf_hash(b"first"), leaf_hash(b"second")])?;
/// assert_eq!(tiles.len(), 1);
/// assert_eq!(tiles[0].id.path(), "tile/0/000.p/2");
/// # Ok::<(), counterfoil_tlog::tree::TreeError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RightEdge {
    size: u64,
    // INVARIANT: level `l` has `floor(size / 256^l) mod 256` hashes.
    levels: [Vec<Hash>; LEVELS as usize],
}

impl RightEdge {
    /// The edge of the empty tree.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The tiles [`RightEdge::load`] reads for a tree of `size` leaves.
    #[must_use]
    pub fn tiles(size: u64) -> Vec<TileId> {
        let partial = |level| {
            let hashes = super::hashes_at(level, size);
            TileId::in_tree(level, hashes / 256, size)
        };
        (0..LEVELS).filter_map(partial).collect()
    }

    /// Restores the edge of a tree from its stored partial tiles. Compare [`RightEdge::root`] with
    /// the signed root before building on it.
    ///
    /// # Errors
    /// [`TileReadError`] when a tile cannot be fetched or has the wrong length.
    pub fn load<E>(
        size: u64,
        mut fetch: impl FnMut(TileId) -> Result<Vec<u8>, E>,
    ) -> Result<Self, TileReadError<E>> {
        let mut edge = Self {
            size,
            ..Self::default()
        };
        for tile in Self::tiles(size) {
            let bytes = fetch(tile).map_err(|error| TileReadError::Fetch { tile, error })?;
            let hashes = tile.hashes(&bytes)?;
            if let Some(level) = edge.levels.get_mut(usize::from(tile.level())) {
                *level = hashes;
            }
        }
        Ok(edge)
    }

    /// Appends leaf hashes and returns the tiles to write: those of [`new_tiles`](super::new_tiles)
    /// from the old size to the new one.
    ///
    /// # Errors
    /// [`TreeError::Full`] when the size would exceed 64 bits; the edge is then unchanged.
    pub fn append(&mut self, leaves: &[Hash]) -> Result<Vec<TileData>, TreeError> {
        let grown = self
            .size
            .checked_add(leaves.len() as u64)
            .ok_or(TreeError::Full)?;
        let mut written = Vec::new();
        let mut touched = 0;
        for leaf in leaves {
            touched = touched.max(self.push(*leaf, &mut written));
        }
        debug_assert_eq!(self.size, grown);
        for (level, hashes) in (0..touched).zip(&self.levels) {
            let index = super::hashes_at(level, self.size) / 256;
            written.extend(tile_data(level, index, hashes));
        }
        Ok(written)
    }

    /// Number of leaves.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The root of the tree, [`EMPTY_ROOT`] when there are no leaves.
    #[must_use]
    pub fn root(&self) -> Hash {
        let peaks: Vec<Hash> = self
            .levels
            .iter()
            .rev()
            .flat_map(|level| peaks(level))
            .collect();
        fold_right(&peaks).unwrap_or(EMPTY_ROOT)
    }

    /// Adds one leaf; returns the number of levels it touched.
    fn push(&mut self, leaf: Hash, written: &mut Vec<TileData>) -> u8 {
        self.size += 1;
        let mut hash = leaf;
        let mut touched = 0;
        for (level, hashes) in (0..LEVELS).zip(&mut self.levels) {
            touched = level + 1;
            hashes.push(hash);
            if hashes.len() < usize::from(Width::FULL.get()) {
                break;
            }
            let index = (super::hashes_at(level, self.size) / 256).saturating_sub(1);
            written.extend(tile_data(level, index, hashes));
            let Some(root) = full_root(hashes) else { break };
            hash = root;
            hashes.clear();
        }
        touched
    }
}

/// The tile over these hashes; `None` when there are none.
fn tile_data(level: u8, index: u64, hashes: &[Hash]) -> Option<TileData> {
    let width = Width::new(u16::try_from(hashes.len()).ok()?)?;
    let id = TileId::new(level, index, width)?;
    Some(TileData {
        id,
        bytes: hashes.iter().flat_map(|hash| *hash.as_bytes()).collect(),
    })
}

/// The roots of the full subtrees that cover one tile, left to right.
fn peaks(hashes: &[Hash]) -> Vec<Hash> {
    let mut peaks = Vec::new();
    let mut rest = hashes;
    while !rest.is_empty() {
        let Some((full, tail)) = rest.split_at_checked(1 << rest.len().ilog2()) else {
            break;
        };
        peaks.extend(full_root(full));
        rest = tail;
    }
    peaks
}
