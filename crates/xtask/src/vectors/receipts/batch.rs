//! The commitment, what it covers, and forged paths.

use anyhow::{Context as _, Result};
use counterfoil_protocol::digest::ContentDigest;
use counterfoil_protocol::failure::FailureCode::{
    BatchPathInvalid, CommitmentRangeMismatch, CommitmentStreamMismatch, CoseType, SignatureInvalid,
};
use counterfoil_protocol::numbers::Sequence;
use counterfoil_protocol::receipt::{BatchPart, Receipt};
use counterfoil_protocol::record::{Body, Event, Record};
use counterfoil_tlog::tree::leaf_hash;

use super::super::Case;
use super::super::edit::Parts;
use super::super::scene::Scene;
use super::{REQUEST, bad};
use crate::world::{World, record};

/// The commitment, and what it covers.
pub(super) fn batch_faults(world: &World) -> Result<Vec<Case>> {
    let whole = world.acme_receipt(REQUEST)?;
    let mut cases = Vec::new();
    let mut add = |name: &str, step: &str, code, comment: &str, receipt: Receipt| {
        cases.push(bad(name, step, code, comment, receipt.encode()));
    };
    let part = whole.batch.clone().context("no batch")?;
    let with = |commitment: Vec<u8>| Receipt {
        batch: Some(BatchPart {
            commitment,
            ..part.clone()
        }),
        ..whole.clone()
    };
    let globex = world.globex_stream.batches.first().context("no batch")?;
    add(
        "commitment-of-other-operator",
        "commitment",
        CommitmentStreamMismatch,
        "globex's commitment for acme's record",
        with(globex.bytes.clone()),
    );
    let next = world.acme_next_stream.batches.first().context("no batch")?;
    add(
        "commitment-of-other-stream",
        "commitment",
        CommitmentStreamMismatch,
        "the commitment of acme's second key",
        with(next.bytes.clone()),
    );
    let later = world.acme_stream.batches.get(1).context("no batch")?;
    add(
        "commitment-of-later-batch",
        "commitment",
        CommitmentRangeMismatch,
        "batch 1 for a record of batch 0",
        with(later.bytes.clone()),
    );
    let mut flipped = Parts::of(&part.commitment)?;
    if let Some(byte) = flipped.signature.last_mut() {
        *byte ^= 1;
    }
    add(
        "commitment-signature-flipped",
        "commitment",
        SignatureInvalid,
        "one bit",
        with(flipped.object()?),
    );
    add(
        "commitment-is-record",
        "commitment",
        CoseType,
        "a record where the commitment should be",
        with(whole.record.clone()),
    );

    let path = |path: Vec<_>| Receipt {
        batch: Some(BatchPart {
            path,
            ..part.clone()
        }),
        ..whole.clone()
    };
    let mut longer = part.path.clone();
    longer.push(leaf_hash(b"more"));
    add(
        "batch-path-trailing-hash",
        "batch_path",
        BatchPathInvalid,
        "a hash too many, which rs_merkle accepts",
        path(longer),
    );
    let shorter = part.path.split_last().context("no path")?.1.to_vec();
    add(
        "batch-path-short",
        "batch_path",
        BatchPathInvalid,
        "a hash too few",
        path(shorter),
    );
    add(
        "batch-path-empty",
        "batch_path",
        BatchPathInvalid,
        "no hash, as if the record were the root",
        path(Vec::new()),
    );
    let mut reversed = part.path.clone();
    reversed.reverse();
    add(
        "batch-path-reversed",
        "batch_path",
        BatchPathInvalid,
        "root side first",
        path(reversed),
    );
    let neighbour = world
        .acme_stream
        .batches
        .first()
        .context("no batch")?
        .part(3)?;
    add(
        "batch-path-of-neighbour",
        "batch_path",
        BatchPathInvalid,
        "the path of record 3",
        path(neighbour.path),
    );
    let other = record(&world.acme_stream, 3)?.bytes.clone();
    add(
        "record-of-neighbour",
        "batch_path",
        BatchPathInvalid,
        "record 3 with the path of record 2",
        Receipt {
            record: other,
            beacon: None,
            ..whole.clone()
        },
    );
    let mut twin = world.record(REQUEST)?;
    twin.time = twin.time.saturating_add(1);
    add(
        "record-twin",
        "batch_path",
        BatchPathInvalid,
        "a second record 2, signed by the same key, with the place of the first",
        Receipt {
            record: world.sign(&twin),
            ..whole
        },
    );
    Ok(cases)
}

/// What rs_merkle's verifier accepts: the position and the size are not bound to the proof. A
/// receipt claims neither: the index is the sequence minus the first, the count is signed.
pub(super) fn forged_paths(world: &World) -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for (sequence, count) in [(11, 4), (19, 5), (35, 7)] {
        let aliased = Record {
            sequence: Sequence::new(sequence),
            ..world.record(3)?
        };
        let mut scene = Scene::new(world, 3, world.sign(&aliased))?;
        scene.commitment.count = count;
        cases.push(bad(
            &format!("forged-index-{sequence}-of-{count}"),
            "commitment",
            CommitmentRangeMismatch,
            "leaf 3 of 7 under an index outside the tree; rs_merkle accepts it",
            scene.receipt(world)?.encode(),
        ));
    }
    for (count, comment) in [
        (
            4,
            "leaf 3 of 4 has a shorter path; rs_merkle ignores what is left over",
        ),
        (9, "leaf 3 of 9 has a longer path"),
    ] {
        let mut scene = Scene::new(world, 3, record(&world.acme_stream, 3)?.bytes.clone())?;
        scene.commitment.count = count;
        cases.push(bad(
            &format!("forged-count-{count}"),
            "batch_path",
            BatchPathInvalid,
            comment,
            scene.receipt(world)?.encode(),
        ));
    }

    // rs_merkle, given a position more than once, accepts a leaf that is not in the tree as long
    // as it is not the last one given. In a receipt there is one leaf, and it must be hashed.
    let mut foreign = world.record(REQUEST)?;
    foreign.body = Body::Control(Event::Started {
        policy_set: ContentDigest::of(b"another"),
        unresolved: 0,
    });
    let duplicate = Receipt {
        record: world.sign(&foreign),
        ..world.acme_receipt(REQUEST)?
    };
    cases.push(bad(
        "forged-foreign-leaf",
        "batch_path",
        BatchPathInvalid,
        "a record that was never in the batch, with the path of the one that was",
        duplicate.encode(),
    ));
    let mut scene = Scene::new(world, 2, record(&world.acme_stream, REQUEST)?.bytes.clone())?;
    scene.commitment.count = 3;
    let mut repeated = scene.receipt(world)?;
    if let Some(batch) = &mut repeated.batch {
        let leaf = leaf_hash(&repeated.record);
        batch.path = vec![leaf, leaf];
    }
    cases.push(bad(
        "forged-duplicate-leaf",
        "batch_path",
        BatchPathInvalid,
        "the leaf as its own sibling, as duplicating trees have it",
        repeated.encode(),
    ));
    Ok(cases)
}
