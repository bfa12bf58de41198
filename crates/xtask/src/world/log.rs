//! A small transparency log in memory, with its witnesses.

use anyhow::{Context as _, Result, anyhow};
use counterfoil_protocol::digest::CheckpointDigest;
use counterfoil_protocol::record::Beacon;
use counterfoil_tlog::checkpoint::{Checkpoint, Origin};
use counterfoil_tlog::cosignature::cosign;
use counterfoil_tlog::note::{Note, SignerKey};
use counterfoil_tlog::proof::{LeafSlice, prove_inclusion, root};
use counterfoil_tlog::tlog_proof::TlogProof;
use counterfoil_tlog::tree::{Hash, leaf_hash};

/// A log: its key and its entries.
#[derive(Debug)]
pub struct Log {
    origin: Origin,
    key: SignerKey,
    leaves: Vec<Hash>,
}

/// A witness and when it cosigns.
#[derive(Clone, Copy, Debug)]
pub struct Signing<'a> {
    /// Its key.
    pub witness: &'a SignerKey,
    /// Seconds since 1970.
    pub at: u64,
}

impl Log {
    /// An empty log whose origin is the name of its key.
    ///
    /// # Errors
    /// When the name is no origin.
    pub fn new(key: SignerKey) -> Result<Self> {
        let origin = Origin::parse(key.name().as_str()).map_err(|error| anyhow!("{error}"))?;
        Ok(Self {
            origin,
            key,
            leaves: Vec::new(),
        })
    }

    /// Appends an entry and returns its index.
    pub fn append(&mut self, entry: &[u8]) -> u64 {
        self.leaves.push(leaf_hash(entry));
        self.size() - 1
    }

    /// The number of entries.
    pub fn size(&self) -> u64 {
        self.leaves.len() as u64
    }

    /// The log's key.
    pub const fn key(&self) -> &SignerKey {
        &self.key
    }

    /// The checkpoint at a size, signed by the log and cosigned.
    ///
    /// # Errors
    /// When the log is smaller.
    pub fn checkpoint(&self, size: u64, cosigners: &[Signing<'_>]) -> Result<Note> {
        self.checkpoint_with_root(size, self.root(size)?, cosigners)
    }

    /// The same with a root of the caller's choice, as a lying log would sign.
    ///
    /// # Errors
    /// When a key cannot sign it.
    pub fn checkpoint_with_root(
        &self,
        size: u64,
        root: Hash,
        cosigners: &[Signing<'_>],
    ) -> Result<Note> {
        let note = Checkpoint::new(self.origin.clone(), size, root).sign(&self.key)?;
        let cosignatures = cosigners
            .iter()
            .map(|signing| Ok(cosign(note.text(), signing.witness, signing.at)?))
            .collect::<Result<Vec<_>>>()?;
        Ok(note.with_signatures(cosignatures)?)
    }

    /// The root at a size.
    ///
    /// # Errors
    /// When the log is smaller.
    pub fn root(&self, size: u64) -> Result<Hash> {
        root(size, &LeafSlice(&self.leaves)).map_err(|error| anyhow!("{error}"))
    }

    /// The inclusion path of an entry in the tree of a size.
    ///
    /// # Errors
    /// When the entry is not in it.
    pub fn path(&self, index: u64, size: u64) -> Result<Vec<Hash>> {
        prove_inclusion(index, size, &LeafSlice(&self.leaves)).map_err(|error| anyhow!("{error}"))
    }

    /// The tlog-proof of an entry under a checkpoint.
    ///
    /// # Errors
    /// When the checkpoint does not cover the entry.
    pub fn proof(&self, index: u64, checkpoint: &Note) -> Result<TlogProof> {
        let size = Checkpoint::parse(checkpoint.text())?.size();
        let path = self.path(index, size).context("proof")?;
        Ok(TlogProof::new(None, index, path, checkpoint.clone())?)
    }
}

/// The beacon that a record names for a checkpoint.
///
/// # Errors
/// When the note is no checkpoint.
pub fn beacon(checkpoint: &Note) -> Result<Beacon> {
    Ok(Beacon {
        size: Checkpoint::parse(checkpoint.text())?.size(),
        checkpoint: CheckpointDigest::of(checkpoint.to_string().as_bytes()),
    })
}
