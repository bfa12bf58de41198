//! The full check: derive the whole tree again from the entries and compare everything with it.

use std::path::Path;

use counterfoil_tlog::{
    tile::{BundleId, RightEdge, TileData, TileId},
    tree::{EMPTY_ROOT, Hash, leaf_hash},
};

use crate::{
    Error,
    database::Reader,
    init::read_key,
    lock::SignedHead,
    node::read_published,
    registry::Registry,
    store::{FileStore, bundle_entries, required_tile},
};

/// What a log was found to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FsckReport {
    /// Size of the newest signed checkpoint; so many entries were read and hashed.
    pub size: u64,
    /// Its root, derived from the entries.
    pub root: Hash,
    /// Size of the published checkpoint, if there is one.
    pub published: Option<u64>,
}

/// Reads every entry of a log, builds its tree, and compares with it every tile, the signed and
/// the published checkpoint, and every row of the database's index. Changes nothing.
///
/// Meant for a log that is not running; beside a running one the tree may grow under it, which can
/// look like damage.
///
/// # Errors
///
/// [`Error`] naming the first thing that is missing or wrong.
pub fn fsck(directory: &Path) -> Result<FsckReport, Error> {
    let key = read_key(directory)?.verifier().clone();
    let reader = Reader::open_read_only(directory)?;
    let locked = SignedHead::of_log(reader.lock()?, &key)?;
    let store = FileStore::new(directory);
    let published = read_published(&store, &key)?;
    let published_size = published.as_ref().map(|published| published.head.size);
    if let Some(size) = published_size.filter(|size| *size > locked.head.size) {
        return Err(Error::LockBehind {
            published: size,
            locked: locked.head.size,
        });
    }
    let size = locked.head.size;
    let entries = reader.entries()?;
    if entries != size {
        return Err(Error::Damaged(format!(
            "database has `{entries}` entries, lock `{size}`"
        )));
    }

    let mut edge = RightEdge::new();
    let mut published_root = EMPTY_ROOT;
    while edge.size() < size {
        let start = edge.size();
        let next = (start + 256).min(size);
        // A bundle at a time, and a stop at the published size to take its root.
        let stop = published_size
            .filter(|at| (start + 1..next).contains(at))
            .unwrap_or(next);
        let (bundle, from) = BundleId::of_entry(start, size)
            .ok_or_else(|| Error::Tree(format!("no bundle for entry `{start}`")))?;
        let leaves: Vec<Hash> = bundle_entries(&store, bundle)?
            .iter()
            .map(|entry| leaf_hash(entry))
            .skip(from)
            .take(usize::try_from(stop.min((start / 256 + 1) * 256) - start).unwrap_or(256))
            .collect();
        for (leaf, index) in leaves.iter().zip(start..) {
            match reader.index_of(leaf)? {
                Some(found) if found == index => {}
                found => {
                    let detail = format!("entry `{index}` is indexed as `{found:?}`");
                    return Err(Error::Damaged(detail));
                }
            }
        }
        let tiles = edge
            .append(&leaves)
            .map_err(|error| Error::Tree(error.to_string()))?;
        let mut full = tiles.iter().filter(|tile| tile.id.width().is_full());
        full.try_for_each(|tile| compare(&store, tile))?;
        if Some(edge.size()) == published_size {
            published_root = edge.root();
        }
    }
    if edge.root() != locked.head.root {
        return Err(Error::wrong_root(locked.head, "the tree of all entries"));
    }
    check_right_edge(&store, &edge)?;
    if published.is_some_and(|published| published.head.root != published_root) {
        return Err(Error::PublishedContradicts {
            size: published_size.unwrap_or(0),
        });
    }
    // Every manifest is verified in its chain, every stream must be in one.
    Registry::load(&reader.manifests()?, reader.streams()?)?;
    Ok(FsckReport {
        size,
        root: edge.root(),
        published: published_size,
    })
}

fn check_right_edge(store: &FileStore, edge: &RightEdge) -> Result<(), Error> {
    let stored = RightEdge::load(edge.size(), |tile: TileId| required_tile(store, tile))
        .map_err(|error| Error::Damaged(error.to_string()))?;
    if stored == *edge {
        Ok(())
    } else {
        Err(Error::Damaged(
            "a partial tile does not belong to the entries".to_owned(),
        ))
    }
}

fn compare(store: &FileStore, tile: &TileData) -> Result<(), Error> {
    if required_tile(store, tile.id)? == tile.bytes {
        Ok(())
    } else {
        Err(Error::TileContradicts {
            path: tile.id.path(),
        })
    }
}
