//! Reading tree nodes out of tiles.

use std::collections::BTreeMap;

use thiserror::Error;

use super::{NodeLocation, TileError, TileId};
use crate::proof::HashReader;
use crate::tree::{Hash, NodeId};

/// Why a node could not be read from tiles.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TileReadError<E> {
    /// A tile could not be fetched.
    #[error("fetching `{tile}`: {error}")]
    Fetch {
        /// The tile asked for.
        tile: TileId,
        /// What the fetcher said.
        error: E,
    },
    /// A tile or node does not fit the tree.
    #[error(transparent)]
    Tile(TileError),
}

impl<E> TileReadError<E> {
    /// A stable code for machines.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Fetch { .. } => "tile_fetch_failed",
            Self::Tile(error) => error.code(),
        }
    }
}

impl<E> From<TileError> for TileReadError<E> {
    fn from(error: TileError) -> Self {
        Self::Tile(error)
    }
}

/// The tiles that hold these nodes in a tree of `size` leaves, each once, sorted.
///
/// # Errors
/// [`TileError::NodeOutsideTree`].
pub fn tiles_for_nodes(nodes: &[NodeId], size: u64) -> Result<Vec<TileId>, TileError> {
    let mut tiles = nodes
        .iter()
        .map(|node| NodeLocation::of(*node, size).map(|location| location.tile()))
        .collect::<Result<Vec<TileId>, TileError>>()?;
    tiles.sort_unstable();
    tiles.dedup();
    Ok(tiles)
}

/// A [`HashReader`] over a tree of a given size whose tiles a function fetches. Each call of `read`
/// fetches every needed tile once.
///
/// The reader does not check the tiles against a root. A proof built from them is checked by
/// verifying it, which costs next to nothing; do so before handing it out.
#[derive(Clone, Copy, Debug)]
pub struct TileReader<F> {
    size: u64,
    fetch: F,
}

impl<F> TileReader<F> {
    /// Reads from a tree of `size` leaves. `fetch` is asked for tiles with the width they have at
    /// that size; where a partial tile is gone it may return the bytes of [`TileId::full`].
    pub const fn new(size: u64, fetch: F) -> Self {
        Self { size, fetch }
    }
}

impl<F, E> HashReader for TileReader<F>
where
    F: Fn(TileId) -> Result<Vec<u8>, E>,
{
    type Error = TileReadError<E>;

    fn read(&self, ids: &[NodeId]) -> Result<Vec<Hash>, TileReadError<E>> {
        let mut tiles: BTreeMap<TileId, Vec<Hash>> = BTreeMap::new();
        for tile in tiles_for_nodes(ids, self.size)? {
            let bytes = (self.fetch)(tile).map_err(|error| TileReadError::Fetch { tile, error })?;
            let hashes = if bytes.len() == tile.full().byte_len() {
                tile.full().hashes(&bytes)?
            } else {
                tile.hashes(&bytes)?
            };
            tiles.insert(tile, hashes);
        }
        ids.iter()
            .map(|id| {
                let location = NodeLocation::of(*id, self.size)?;
                let hashes = tiles.get(&location.tile()).map_or(&[][..], Vec::as_slice);
                Ok(location.hash(hashes)?)
            })
            .collect()
    }
}
