//! What contradicts a commitment: another one, or a record that its batch does not hold. Spec:
//! faults §3.

use counterfoil_tlog::proof::root_from_inclusion;
use counterfoil_tlog::tree::{Hash, leaf_hash};

use super::conflict::{Shown, ascending, not_shown, same_stream};
use super::kind::FaultKind;
use crate::commitment::VerifiedCommitment;
use crate::failure::{Failure, FailureCode};
use crate::record::VerifiedRecord;

/// Two commitments, for the kinds that are made of two commitments.
pub(super) fn commitments(
    kind: FaultKind,
    a: &VerifiedCommitment,
    b: &VerifiedCommitment,
) -> Shown {
    same_stream(a.kid(), b.kid())?;
    match kind {
        FaultKind::CommitmentFork => commitment_fork(a, b),
        FaultKind::CommitmentLink => commitment_link(a, b),
        other => Err(not_shown(format!("{other} is not made of two commitments"))),
    }
}

fn commitment_fork(a: &VerifiedCommitment, b: &VerifiedCommitment) -> Shown {
    let number = a.commitment().number;
    if number != b.commitment().number {
        return Err(not_shown("the commitments have different numbers"));
    }
    ascending(a.id(), b.id())?;
    Ok(format!(
        "commitments {} and {} are both number {number} of stream {}",
        a.digest(),
        b.digest(),
        a.kid()
    ))
}

fn commitment_link(a: &VerifiedCommitment, b: &VerifiedCommitment) -> Shown {
    let (one, other) = (a.commitment(), b.commitment());
    let steps = other.number.get().checked_sub(one.number.get());
    let steps = match steps {
        Some(steps) if steps > 0 => steps,
        _ => return Err(not_shown("the second commitment is not a later one")),
    };
    // Each batch between them has a record at least.
    let end = u128::from(one.first.get()) + u128::from(one.count);
    let earliest = end + u128::from(steps - 1);
    let first = u128::from(other.first.get());
    if first < earliest || (steps == 1 && first != end) {
        return Ok(format!(
            "batch {} ends before record {end}, and batch {} begins with record {first}",
            one.number, other.number
        ));
    }
    if steps == 1 && other.previous != Some(a.digest()) {
        return Ok(format!(
            "batch {} names another predecessor than batch {}, {}",
            other.number,
            one.number,
            a.digest()
        ));
    }
    Err(not_shown("the second commitment continues the first"))
}

/// A record, a commitment that covers its place, and what the batch holds there.
pub(super) fn record_replaced(
    record: (&VerifiedRecord, &[u8]),
    commitment: &VerifiedCommitment,
    leaf: (&Hash, &[Hash]),
) -> Shown {
    let (record, bytes) = record;
    let (leaf, path) = leaf;
    same_stream(record.kid(), commitment.kid())?;
    let batch = commitment.commitment();
    let sequence = record.record().sequence;
    let index = batch
        .index_of(sequence)
        .map_err(|failure| not_shown(failure.detail()))?;
    let root = root_from_inclusion(leaf, index, batch.count, path)
        .map_err(|error| Failure::new(FailureCode::BatchPathInvalid, error.to_string()))?;
    if root != batch.root {
        return Err(Failure::new(
            FailureCode::BatchPathInvalid,
            format!(
                "the path leads to {root}, the commitment holds {}",
                batch.root
            ),
        ));
    }
    if *leaf == leaf_hash(bytes) {
        return Err(not_shown("the batch holds the record in its place"));
    }
    Ok(format!(
        "batch {} holds something else than record {} in the place of number {sequence}",
        batch.number,
        record.id()
    ))
}
