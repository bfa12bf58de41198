//! Proofs out of the stored tiles.

use counterfoil_tlog::{
    proof::{HashReader, prove_consistency, prove_inclusion, verify_consistency, verify_inclusion},
    tile::TileReader,
    tlog_proof::TlogProof,
    tree::{Hash, NodeId},
    witness::TreeHead,
};

use crate::{
    Error,
    lock::SignedHead,
    store::{BlobStore, required_tile},
};

/// The proof that the entry at `index` is in the tree of a checkpoint, which must cover it.
///
/// Verified before it leaves: a log that hands out a proof that does not verify has lost its
/// entry, and it had better notice first.
pub(crate) fn inclusion(
    store: &impl BlobStore,
    index: u64,
    signed: &SignedHead,
) -> Result<TlogProof, Error> {
    let TreeHead { size, root } = signed.head;
    let reader = TileReader::new(size, |tile| required_tile(store, tile));
    let damaged = |error: String| Error::Damaged(format!("entry `{index}`: {error}"));
    let node = NodeId::leaf(index).ok_or_else(|| damaged("no such leaf".to_owned()))?;
    let leaf = reader
        .read(&[node])
        .map_err(|error| damaged(error.to_string()))?;
    let leaf: Hash = leaf
        .first()
        .copied()
        .ok_or_else(|| damaged("no leaf".to_owned()))?;
    let path = prove_inclusion(index, size, &reader).map_err(|error| damaged(error.to_string()))?;
    verify_inclusion(&leaf, index, size, &path, &root)
        .map_err(|error| damaged(error.to_string()))?;
    TlogProof::new(None, index, path, signed.note.clone())
        .map_err(|error| damaged(error.to_string()))
}

/// The proof that one tree of this log extends another, verified. Empty from the empty tree.
pub(crate) fn consistency(
    store: &impl BlobStore,
    old: TreeHead,
    new: TreeHead,
) -> Result<Vec<Hash>, Error> {
    if old.size == 0 {
        return Ok(Vec::new());
    }
    let contradicts = |_| Error::PublishedContradicts { size: old.size };
    let reader = TileReader::new(new.size, |tile| required_tile(store, tile));
    let proof = prove_consistency(old.size, new.size, &reader)
        .map_err(|error| Error::Damaged(error.to_string()))?;
    verify_consistency(old.size, &old.root, new.size, &new.root, &proof).map_err(contradicts)?;
    Ok(proof)
}
