//! Receipts in a log of their own, for what the shared world does not hold.

use anyhow::{Context as _, Result};
use counterfoil_protocol::batch::BatchTree;
use counterfoil_protocol::commitment::Commitment;
use counterfoil_protocol::receipt::{BatchPart, LoggedManifest, Receipt};
use counterfoil_tlog::tree::Hash;

use crate::world::{Log, START, World, both, keys};

/// A batch in which one leaf is something else, in a log that is otherwise right.
#[derive(Clone, Debug)]
pub(super) struct Scene {
    /// The record at the leaf.
    pub(super) record: Vec<u8>,
    /// Which leaf of the seven.
    pub(super) leaf: usize,
    /// What the commitment says; its root is filled in.
    pub(super) commitment: Commitment,
    /// Whether the manifest is logged before the commitment.
    pub(super) manifest_first: bool,
}

impl Scene {
    /// Acme's batch 0, with `record` at `leaf`.
    pub(super) fn new(world: &World, leaf: usize, record: Vec<u8>) -> Result<Self> {
        let batch = world.acme_stream.batches.first().context("no batch")?;
        Ok(Self {
            record,
            leaf,
            commitment: batch.commitment.clone(),
            manifest_first: true,
        })
    }

    /// The path of the leaf, and the root.
    pub(super) fn tree(&self, world: &World) -> Result<(Vec<Hash>, Hash)> {
        let leaves = world.acme_stream.records.iter().take(7).enumerate();
        let tree = BatchTree::build(leaves.map(|(index, made)| {
            if index == self.leaf {
                self.record.as_slice()
            } else {
                made.bytes.as_slice()
            }
        }))?;
        let path = tree
            .path(self.leaf as u64)
            .context("leaf outside the batch")?;
        Ok((path, tree.root()))
    }

    /// Signs, logs and cosigns it all, at five seconds after the start.
    pub(super) fn receipt(mut self, world: &World) -> Result<Receipt> {
        let stream = &world.acme_stream;
        let (path, root) = self.tree(world)?;
        self.commitment.root = root;
        let commitment = self.commitment.sign(&stream.operator, &stream.key);
        let manifest = &world.acme_manifests.first().context("no manifest")?.bytes;

        let mut log = Log::new(keys::log_key("log.example/2026")?)?;
        let entries: [&[u8]; 2] = if self.manifest_first {
            [manifest, &commitment]
        } else {
            [&commitment, manifest]
        };
        for entry in entries {
            log.append(entry);
        }
        log.append(&world.globex_manifest.bytes);
        let checkpoint = log.checkpoint(3, &both(&world.witnesses, START + 5))?;
        let proof = |index| -> Result<Vec<u8>> {
            Ok(log.proof(index, &checkpoint)?.to_string().into_bytes())
        };
        let (manifest_index, commitment_index) = if self.manifest_first { (0, 1) } else { (1, 0) };
        Ok(Receipt {
            record: self.record,
            manifests: vec![LoggedManifest {
                manifest: manifest.clone(),
                log_proof: Some(proof(manifest_index)?),
            }],
            batch: Some(BatchPart { path, commitment }),
            log_proof: Some(proof(commitment_index)?),
            beacon: None,
            disclosures: Vec::new(),
            presentation: None,
        })
    }
}
