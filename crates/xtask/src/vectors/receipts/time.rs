//! Time bounds and beacons.

use anyhow::Result;
use counterfoil_protocol::digest::CheckpointDigest;
use counterfoil_protocol::failure::FailureCode::{
    BeaconMismatch, CosignatureInvalid, LogProofMalformed, LogUnknown, TimeBoundsContradict,
};
use counterfoil_protocol::numbers::UnixMillis;
use counterfoil_protocol::receipt::Receipt;
use counterfoil_protocol::record::Beacon;
use counterfoil_tlog::note::Note;

use super::super::Case;
use super::super::scene::Scene;
use super::super::transparency::swapped;
use super::{BOTH, REQUEST, WITNESSED, bad, good};
use crate::world::{START, Signing, World, beacon, both};

/// Time bounds.
pub(super) fn times(world: &World) -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    let made = |time: u64, note: &Note| -> Result<Receipt> {
        let mut record = world.record(REQUEST)?;
        record.time = UnixMillis::new(time * 1000);
        record.beacon = Some(beacon(note)?);
        Ok(Receipt {
            beacon: Some(note.to_string().into_bytes()),
            ..Scene::new(world, 2, world.sign(&record))?.receipt(world)?
        })
    };
    let two = &world.checkpoints.two;
    for (name, time, within) in [
        ("time-at-not-before", START - 20, true),
        ("time-at-not-after", START + 6, true),
        ("time-before-bounds", START - 21, false),
        ("time-after-bounds", START + 7, false),
    ] {
        let comment = if within {
            "the claimed time is on the bound"
        } else {
            "the operator's clock is wrong, and the report says so"
        };
        cases.push(
            good(name, comment, &made(time, two)?, BOTH, &WITNESSED)
                .with("time-within-bounds", within),
        );
    }
    let future = world
        .log
        .checkpoint(2, &both(&world.witnesses, START + 100))?;
    cases.push(bad(
        "time-bounds-contradict",
        "time_bounds",
        TimeBoundsContradict,
        "the beacon was cosigned after the checkpoint that covers the record",
        made(START, &future)?.encode(),
    ));

    let whole = world.acme_receipt(REQUEST)?;
    let with = |note: Vec<u8>| {
        Receipt {
            beacon: Some(note),
            ..whole.clone()
        }
        .encode()
    };
    cases.push(bad(
        "beacon-other-checkpoint",
        "time_bounds",
        BeaconMismatch,
        "another checkpoint than the record names",
        with(world.checkpoints.one.to_string().into_bytes()),
    ));
    let [one, two_witness] = &world.witnesses;
    let again = world.log.checkpoint(
        2,
        &[
            Signing {
                witness: one,
                at: START - 20,
            },
            Signing {
                witness: two_witness,
                at: START - 18,
            },
        ],
    )?;
    cases.push(bad(
        "beacon-other-cosignatures",
        "time_bounds",
        BeaconMismatch,
        "the same tree, cosigned a second later",
        with(again.to_string().into_bytes()),
    ));
    let unasked = Receipt {
        beacon: Some(two.to_string().into_bytes()),
        ..world.acme_receipt(0)?
    };
    cases.push(bad(
        "beacon-not-named",
        "time_bounds",
        BeaconMismatch,
        "the record names no beacon",
        unasked.encode(),
    ));

    let naming = |size: u64, note: Vec<u8>| -> Result<Vec<u8>> {
        let mut record = world.record(REQUEST)?;
        record.beacon = Some(Beacon {
            size,
            checkpoint: CheckpointDigest::of(&note),
        });
        Ok(Receipt {
            beacon: Some(note),
            ..Scene::new(world, 2, world.sign(&record))?.receipt(world)?
        }
        .encode())
    };
    cases.push(bad(
        "beacon-size-other",
        "time_bounds",
        BeaconMismatch,
        "the record says size 3 of a checkpoint of size 2",
        naming(3, two.to_string().into_bytes())?,
    ));
    cases.push(bad(
        "beacon-not-a-note",
        "time_bounds",
        LogProofMalformed,
        "a text without signatures",
        naming(2, two.text().as_bytes().to_vec())?,
    ));
    let foreign = world.other_log.checkpoint_with_root(
        2,
        world.log.root(2)?,
        &both(&world.witnesses, START - 20),
    )?;
    cases.push(bad(
        "beacon-log-unknown",
        "time_bounds",
        LogUnknown,
        "a log that the trust file does not name",
        naming(2, foreign.to_string().into_bytes())?,
    ));
    let fake = swapped(two, two_witness, one)?;
    cases.push(bad(
        "beacon-witness-key-swapped",
        "time_bounds",
        CosignatureInvalid,
        "the second witness's name, the first one's key",
        naming(2, fake.to_string().into_bytes())?,
    ));
    Ok(cases)
}
