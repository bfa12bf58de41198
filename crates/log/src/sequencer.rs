//! Growing the tree, one step at a time: stage, swap, apply, read back.

use counterfoil_protocol::numbers::UnixMillis;
use counterfoil_tlog::{
    checkpoint::{Checkpoint, Origin},
    note::SignerKey,
    proof::root,
    tile::{BundleId, RightEdge, TileId, TileReader, new_bundles, new_tiles, push_entry},
    tree::{EMPTY_ROOT, Hash, leaf_hash},
    witness::TreeHead,
};

use crate::{
    Error,
    lock::{CheckpointLock, Effect, SequencedEntry, SignedHead, Swap},
    staged::Staged,
    store::{Blob, BlobStore, bundle_entries, required_tile, tile_hashes},
};

/// An entry that admission has let in.
#[derive(Clone, Debug)]
pub(crate) struct AdmittedEntry {
    pub(crate) content: Vec<u8>,
    pub(crate) leaf: Hash,
    pub(crate) effect: Effect,
}

/// The one place where the tree grows.
#[derive(Debug)]
pub(crate) struct Sequencer<S, L> {
    store: S,
    lock: L,
    signer: SignerKey,
    /// INVARIANT: what the lock holds and the tiles show, as long as no step has failed.
    current: SignedHead,
}

impl<S: BlobStore, L: CheckpointLock> Sequencer<S, L> {
    /// Reads the lock and brings the tiles up to it, from the staged bundle if need be.
    ///
    /// # Errors
    ///
    /// [`Error::TilesContradict`] if the tiles are not those of the signed checkpoint and the
    /// staged bundle does not make them so.
    pub(crate) fn load(store: S, lock: L, signer: SignerKey) -> Result<Self, Error> {
        let current = SignedHead::of_log(lock.load()?, signer.verifier())?;
        let staged = store.staged()?.and_then(|bytes| Staged::parse(&bytes));
        let staged = staged.filter(|staged| staged.new == current.head);
        let head = current.head;
        if let Some(staged) = &staged {
            // The last step, which may have been cut short anywhere after the swap.
            let old = staged.old.size;
            if verify_right_edge(&store, head, old).is_err() {
                apply(&store, staged)?;
            }
            store.settle(&paths(old, head.size))?;
            as_contradiction(head, verify_right_edge(&store, head, old))?;
            remove_partials(&store, old, head.size);
        } else {
            store.settle(&[])?;
            as_contradiction(head, verify_right_edge(&store, head, head.size))?;
        }
        Ok(Self {
            store,
            lock,
            signer,
            current,
        })
    }

    /// The newest signed checkpoint.
    pub(crate) const fn current(&self) -> &SignedHead {
        &self.current
    }

    /// Adds entries to the tree, durably, and signs the checkpoint that covers them.
    ///
    /// `may_commit` is asked right before the commit point, after everything that takes time.
    ///
    /// # Errors
    ///
    /// What `may_commit` says; nothing has happened then. After any other error the state is
    /// unknown: nothing may be done but to stop and load again.
    pub(crate) fn sequence(
        &mut self,
        entries: Vec<AdmittedEntry>,
        time: UnixMillis,
        may_commit: impl FnOnce() -> Result<(), Error>,
    ) -> Result<&SignedHead, Error> {
        let old = self.current.head;
        let mut edge = load_edge(&self.store, old)?;
        let leaves: Vec<Hash> = entries.iter().map(|entry| entry.leaf).collect();
        edge.append(&leaves)
            .map_err(|error| Error::Tree(error.to_string()))?;
        let new = TreeHead {
            size: edge.size(),
            root: edge.root(),
        };
        let origin = Origin::from(self.signer.name().clone());
        let note = Checkpoint::new(origin, new.size, new.root).sign(&self.signer)?;
        let signed = SignedHead { head: new, note };

        let (contents, entries): (Vec<_>, Vec<_>) = entries
            .into_iter()
            .zip(old.size..)
            .map(|(entry, index)| {
                let AdmittedEntry {
                    content,
                    leaf,
                    effect,
                } = entry;
                (
                    content,
                    SequencedEntry {
                        index,
                        leaf,
                        effect,
                    },
                )
            })
            .unzip();
        let staged = Staged {
            old,
            new,
            entries: contents,
        };
        self.store.stage(&staged.encode()?)?;
        may_commit()?;
        // The commit point. Before it nothing has happened, after it nothing can be taken back.
        self.lock.swap(
            old,
            &Swap {
                signed: signed.clone(),
                time,
                entries,
            },
        )?;
        apply(&self.store, &staged)?;
        verify_right_edge(&self.store, new, old.size)?;
        remove_partials(&self.store, old.size, new.size);
        self.current = signed;
        Ok(&self.current)
    }
}

/// Where the tiles and bundles of one step lie.
fn paths(old: u64, new: u64) -> Vec<String> {
    let tiles = new_tiles(old, new).map(TileId::path);
    tiles
        .chain(new_bundles(old, new).map(BundleId::path))
        .collect()
}

/// Tiles that cannot be read as those of the signed tree contradict it.
fn as_contradiction(head: TreeHead, verified: Result<(), Error>) -> Result<(), Error> {
    match verified {
        Err(Error::Damaged(detail)) => Err(Error::TilesContradict {
            size: head.size,
            detail,
        }),
        other => other,
    }
}

/// Writes the tiles and bundles of one step. Doing it again, or finishing half of it, is the same
/// as doing it once.
fn apply(store: &impl BlobStore, staged: &Staged) -> Result<(), Error> {
    let (old, new) = (staged.old.size, staged.new.size);
    let mut edge = load_edge(store, staged.old)?;
    let tiles = edge
        .append(&staged.leaves())
        .map_err(|error| Error::Tree(error.to_string()))?;
    if edge.root() != staged.new.root {
        return Err(Error::wrong_root(staged.new, "the staged bundle"));
    }
    // The bundle that was partial is written again, longer: its entries come first.
    let before = match BundleId::of_entry(old.saturating_sub(1), old) {
        Some((id, _)) if !id.width().is_full() => bundle_entries(store, id)?,
        _ => Vec::new(),
    };
    let mut entries = before.iter().chain(&staged.entries);
    let mut blobs = Vec::new();
    for bundle in new_bundles(old, new) {
        let mut content = Vec::new();
        for entry in entries.by_ref().take(usize::from(bundle.width().get())) {
            push_entry(&mut content, entry).map_err(|error| Error::Tree(error.to_string()))?;
        }
        blobs.push(Blob {
            path: bundle.path(),
            content,
        });
    }
    blobs.extend(tiles.into_iter().map(|tile| Blob {
        path: tile.id.path(),
        content: tile.bytes,
    }));
    store.put(&blobs)
}

/// Reads back what a step has written: the edge must have the signed root, every bundle since
/// `old_size` must hash to its tile, and every tile since then must be there.
fn verify_right_edge(store: &impl BlobStore, head: TreeHead, old_size: u64) -> Result<(), Error> {
    load_edge(store, head)?;
    let last = head.size.saturating_sub(1);
    for bundle in new_bundles(old_size.min(last), head.size) {
        let tile = TileId::in_tree(0, bundle.index(), head.size);
        let tile = tile.ok_or_else(|| Error::Tree(format!("no tile over `{bundle}`")))?;
        let hashes: Vec<Hash> = bundle_entries(store, bundle)?
            .iter()
            .map(|entry| leaf_hash(entry))
            .collect();
        if hashes != tile_hashes(store, tile)? {
            let detail = format!("`{bundle}` does not hash to `{tile}`");
            return Err(Error::TilesContradict {
                size: head.size,
                detail,
            });
        }
    }
    for tile in new_tiles(old_size.min(last), head.size) {
        tile_hashes(store, tile)?;
    }
    Ok(())
}

/// The partial tiles on the right edge of a tree that must have this root.
fn load_edge(store: &impl BlobStore, head: TreeHead) -> Result<RightEdge, Error> {
    let edge = RightEdge::load(head.size, |tile| required_tile(store, tile))
        .map_err(|error| Error::Damaged(error.to_string()))?;
    if edge.root() == head.root {
        Ok(edge)
    } else {
        Err(Error::wrong_root(head, "the right edge"))
    }
}

/// The root of the first `size` leaves of a tree that has `tree_size`.
pub(crate) fn root_at(store: &impl BlobStore, size: u64, tree_size: u64) -> Result<Hash, Error> {
    if size == 0 {
        return Ok(EMPTY_ROOT);
    }
    let reader = TileReader::new(tree_size, |tile| required_tile(store, tile));
    root(size, &reader).map_err(|error| Error::Damaged(error.to_string()))
}

/// Drops partial tiles and bundles that have become full: whoever asks for one gets its part of
/// the full one.
fn remove_partials(store: &impl BlobStore, old: u64, new: u64) {
    let tiles = new_tiles(old, new)
        .filter(|tile| tile.width().is_full())
        .map(TileId::path);
    let bundles = new_bundles(old, new)
        .filter(|b| b.width().is_full())
        .map(BundleId::path);
    for path in tiles.chain(bundles) {
        store.remove_partials(&path);
    }
}

#[cfg(test)]
mod tests;
