//! Proofs out of the stored tiles.

use counterfoil_protocol::stock::{Algorithm, Inclusion, LogSigner};
use counterfoil_tlog::{
    proof::{HashReader, prove_consistency, prove_inclusion, verify_consistency, verify_inclusion},
    tile::{BundleId, TileReader},
    tlog_proof::TlogProof,
    tree::{Hash, NodeId, leaf_hash},
    witness::TreeHead,
};

use crate::{
    Error,
    lock::SignedHead,
    sequencer::root_at,
    store::{BlobStore, bundle_entries, required_tile},
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

/// The COSE receipt for the entry at `index` in the tree of `size`, which is the published `tree` or
/// one that it extends. Nothing is signed but a root of the published history.
pub(crate) fn receipt(
    store: &impl BlobStore,
    signer: &LogSigner,
    index: u64,
    size: u64,
    tree: TreeHead,
    algorithm: Algorithm,
) -> Result<Vec<u8>, Error> {
    let damaged = |error: String| Error::Damaged(format!("entry `{index}`: {error}"));
    let (bundle, at) = BundleId::of_entry(index, tree.size)
        .ok_or_else(|| damaged("no bundle holds it".to_owned()))?;
    let entry = bundle_entries(store, bundle)?
        .into_iter()
        .nth(at)
        .ok_or_else(|| damaged("its bundle is short".to_owned()))?;
    let root = if size == tree.size {
        tree.root
    } else {
        root_at(store, size, tree.size)?
    };
    let reader = TileReader::new(tree.size, |tile| required_tile(store, tile));
    let path = prove_inclusion(index, size, &reader).map_err(|error| damaged(error.to_string()))?;
    let leaf = leaf_hash(&entry);
    verify_inclusion(&leaf, index, size, &path, &root)
        .map_err(|error| damaged(error.to_string()))?;
    let inclusion = Inclusion { size, index, path };
    let receipt = signer
        .sign(&entry, inclusion, algorithm)
        .map_err(|failure| damaged(failure.to_string()))?;
    Ok(receipt.encode())
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
