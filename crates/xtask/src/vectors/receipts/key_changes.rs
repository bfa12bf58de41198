//! Key changes, revocation, trees of one leaf.

use anyhow::{Context as _, Result};
use counterfoil_protocol::failure::FailureCode::KeyRevoked;
use counterfoil_protocol::receipt::{LoggedManifest, Receipt};
use counterfoil_tlog::note::Note;

use super::super::Case;
use super::{BOTH, Expected, REQUEST, WITNESSED, bad, good};
use crate::world::{START, World, record};

/// Key changes, revocation, trees of one leaf.
pub(super) fn keys_over_time(world: &World) -> Result<Vec<Case>> {
    let eight = &world.checkpoints.eight;
    let manifests = |upto: usize, note: &Note| -> Result<Vec<LoggedManifest>> {
        world
            .acme_manifests
            .iter()
            .take(upto)
            .map(|m| world.logged(m, note))
            .collect()
    };
    let mut cases = Vec::new();

    let batch = world.acme_next_stream.batches.first().context("no batch")?;
    let second_key = Receipt {
        record: record(&world.acme_next_stream, 0)?.bytes.clone(),
        manifests: manifests(2, &world.checkpoints.six)?,
        batch: Some(batch.part(0)?),
        log_proof: Some(world.proof(world.commitments.acme_next, &world.checkpoints.six)?),
        beacon: None,
        disclosures: Vec::new(),
        presentation: None,
    };
    cases.push(good(
        "rotation",
        "signed by the key of version 2; a batch of one record",
        &second_key,
        BOTH,
        &Expected {
            not_before: None,
            keys_known_to: Some(5),
            ..WITNESSED
        },
    ));
    let still = Receipt {
        manifests: manifests(3, eight)?,
        log_proof: Some(world.proof(world.commitments.acme_next, eight)?),
        ..second_key.clone()
    };
    let later = Expected {
        not_after: Some(START + 66),
        keys_known_to: Some(7),
        ..WITNESSED
    };
    cases.push(good(
        "rotation-under-later-checkpoint",
        "the same under a later tree",
        &still,
        BOTH,
        &Expected {
            not_before: None,
            ..later
        },
    ));

    let before = Receipt {
        manifests: manifests(3, eight)?,
        log_proof: Some(world.proof(world.commitments.acme, eight)?),
        ..world.acme_receipt(REQUEST)?
    };
    cases.push(good(
        "revoked-later",
        "the key was revoked after the commitment was logged",
        &before,
        BOTH,
        &later,
    ));
    let mixed = Receipt {
        manifests: manifests(3, eight)?,
        ..world.acme_receipt(REQUEST)?
    };
    cases.push(good(
        "revoked-later-mixed-checkpoints",
        "manifests proven under a later tree than the commitment",
        &mixed,
        BOTH,
        &Expected {
            keys_known_to: Some(7),
            ..WITNESSED
        },
    ));
    let first = world.acme_manifests.first().context("no manifest")?;
    let one = Receipt {
        manifests: vec![world.logged(first, &world.checkpoints.one)?],
        ..world.acme_receipt(REQUEST)?
    };
    cases.push(good(
        "manifest-in-log-of-one",
        "the manifest's path has no hash",
        &one,
        BOTH,
        &WITNESSED,
    ));

    let late_batch = world.acme_stream.batches.get(1).context("no batch")?;
    let late = Receipt {
        record: record(&world.acme_stream, 7)?.bytes.clone(),
        manifests: manifests(3, eight)?,
        batch: Some(late_batch.part(7)?),
        log_proof: Some(world.proof(world.commitments.acme_late, eight)?),
        beacon: None,
        disclosures: Vec::new(),
        presentation: None,
    };
    cases.push(bad(
        "revoked-before",
        "manifest_log",
        KeyRevoked,
        "the commitment was logged after the revocation, whatever times it claims",
        late.encode(),
    ));
    let unlogged = Receipt {
        log_proof: None,
        ..late.clone()
    };
    cases.push(
        bad(
            "revoked-not-logged",
            "manifest_log",
            KeyRevoked,
            "without a place in the log any revocation counts",
            unlogged.encode(),
        )
        .replacing("require", "committed"),
    );
    let retired = Receipt {
        manifests: world.acme_retired()?,
        log_proof: None,
        beacon: None,
        ..world.acme_receipt(REQUEST)?
    };
    cases.push(good(
        "retired-not-logged",
        "version 2 leaves the key out and does not revoke it: what it signed keeps its worth",
        &retired,
        BOTH,
        &Expected {
            level: "committed",
            not_before: None,
            not_after: None,
            keys_known_to: None,
        },
    ));
    let unaware = Receipt {
        manifests: manifests(2, eight)?,
        ..late
    };
    cases.push(good(
        "revocation-withheld",
        "without version 3 nobody can see it: the keys are known up to size 5",
        &unaware,
        BOTH,
        &Expected {
            not_before: None,
            keys_known_to: Some(5),
            ..later
        },
    ));
    Ok(cases)
}
