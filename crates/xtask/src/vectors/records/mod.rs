//! Records: every kind, and every fault that a record can have by itself.

mod agreement;
mod header;
mod payload;
mod structure;

use anyhow::Result;
use counterfoil_protocol::failure::FailureCode;

use super::Case;
use super::edit::{Parts, to_hex};
use crate::world::{Stream, World, record};

const OBJECT: &str = "record";

/// Acme's records by what they are.
const REQUEST: u64 = 2;

const OUTCOME: u64 = 3;

const DENIED: u64 = 4;

const REFUSED: u64 = 5;

const DECISION: u64 = 6;

/// Records of the streams in which the contract was made, acme's but for the acceptance.
const PROPOSED: u64 = 1;

const ACCEPTED: u64 = 1;

const STATEMENT: u64 = 2;

const CLOSED: u64 = 4;

pub(super) fn cases(world: &World) -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for (stream, sequence, name, comment) in [
        (
            &world.acme_stream,
            0,
            "control-stream-opened",
            "the first record of every stream",
        ),
        (
            &world.acme_stream,
            1,
            "control-started",
            "an enforcer starts; two calls were left without an outcome",
        ),
        (
            &world.acme_stream,
            REFUSED,
            "control-message-refused",
            "a message that was no action",
        ),
        (
            &world.acme_stream,
            REQUEST,
            "request",
            "with a reservation, a beacon, a contract, attestations, on someone's behalf",
        ),
        (
            &world.acme_stream,
            OUTCOME,
            "outcome-asking-side",
            "answers to globex's outcome; settles a reservation",
        ),
        (
            &world.acme_stream,
            DENIED,
            "decision-deny",
            "refused before any policy: no evaluation input",
        ),
        (
            &world.acme_stream,
            DECISION,
            "decision-local",
            "no other operator takes part",
        ),
        (
            &world.acme_stream,
            7,
            "outcome-unknown",
            "nobody knows what became of it",
        ),
        (
            &world.acme_next_stream,
            0,
            "control-stream-continued",
            "the first record of the stream of another key",
        ),
        (
            &world.globex_stream,
            1,
            "decision-for-counterparty",
            "names acme's request, acknowledges it, says how far it was verified",
        ),
        (
            &world.globex_stream,
            2,
            "outcome-executing-side",
            "with the digest of the result",
        ),
        (
            &world.agreement.acme,
            PROPOSED,
            "control-contract-proposed",
            "acme proposes a contract; its first record in the channel",
        ),
        (
            &world.agreement.globex,
            ACCEPTED,
            "control-contract-accepted",
            "globex accepts; names the proposal and acknowledges it",
        ),
        (
            &world.agreement.acme,
            STATEMENT,
            "control-statement",
            "names what came of globex's stream",
        ),
        (
            &world.agreement.globex,
            2,
            "control-record-denied",
            "a record that is said to be globex's and is not",
        ),
        (
            &world.agreement.acme,
            3,
            "control-contract-ended",
            "acme ends the contract",
        ),
        (
            &world.agreement.acme,
            CLOSED,
            "control-stream-closed",
            "names the key that goes on",
        ),
    ] {
        let made = record(stream, sequence)?;
        cases.push(
            Case::success(OBJECT, name, comment, made.bytes.clone())
                .with("key", key(stream))
                .with("id", made.id),
        );
    }
    cases.extend(header::header_faults(world)?);
    cases.extend(structure::structure_faults(world)?);
    cases.extend(payload::payload_faults(world)?);
    cases.extend(agreement::agreement_faults(world)?);
    cases.extend(agreement::call_faults(world)?);
    Ok(cases)
}

fn key(stream: &Stream) -> String {
    to_hex(stream.key.public().as_bytes())
}

fn parts(world: &World, sequence: u64) -> Result<Parts> {
    Parts::of(&record(&world.acme_stream, sequence)?.bytes)
}

fn refused(world: &World, name: &str, code: FailureCode, comment: &str, object: Vec<u8>) -> Case {
    Case::refused(OBJECT, name, code, comment, object).with("key", key(&world.acme_stream))
}
