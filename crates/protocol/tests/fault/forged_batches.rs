//! Proofs from commitments of what did not happen are refused, each for its reason.

use counterfoil_protocol::commitment::Commitment;
use counterfoil_protocol::digest::CommitmentDigest;
use counterfoil_protocol::fault::{FaultKind, LoggedCommitment, Statement};
use counterfoil_protocol::numbers::{BatchNumber, Sequence, UnixMillis};
use counterfoil_tlog::tree::{Hash, leaf_hash};

use super::collected::{bare, code};
use super::statements::{accuse, record, refused, signed, signed_again};
use super::world::{globex, key, path, peer, root};

fn commitment(number: u64, first: u64, leaves: &[Hash]) -> Commitment {
    Commitment {
        number: BatchNumber::new(number),
        first: Sequence::new(first),
        count: leaves.len() as u64,
        previous: (number > 0).then(|| CommitmentDigest::from_bytes([5; 32])),
        opened: UnixMillis::new(1_700_000_000_000),
        sealed: UnixMillis::new(1_700_000_000_000),
        beacon: None,
        root: root(leaves),
    }
}

fn logged(commitment: &[u8]) -> Statement {
    Statement::Commitment(LoggedCommitment {
        commitment: commitment.to_vec(),
        log_proof: None,
    })
}

fn batches(kind: FaultKind, a: &[u8], b: &[u8]) -> &'static str {
    code(&accuse(kind, vec![logged(a), logged(b)]))
}

#[test]
fn a_commitment_that_was_signed_again_is_the_same() {
    let leaves = [Hash::from_bytes([1; 32]); 3];
    let one = commitment(2, 10, &leaves).sign(&globex(), &key(1));
    let again = signed_again(1, &one);
    assert_ne!(one, again);
    for (a, b) in [(&one, &again), (&again, &one), (&one, &one)] {
        assert_eq!(batches(FaultKind::CommitmentFork, a, b), "fault_not_shown");
        assert_eq!(batches(FaultKind::CommitmentLink, a, b), "fault_not_shown");
    }
}

#[test]
fn commitments_must_be_of_one_stream_and_leave_no_room() {
    let leaves = [Hash::from_bytes([1; 32]); 3];
    let one = commitment(2, 10, &leaves).sign(&globex(), &key(1));
    let mut next = commitment(3, 13, &leaves);
    assert_eq!(
        batches(
            FaultKind::CommitmentLink,
            &one,
            &next.sign(&globex(), &key(1))
        ),
        "convicts"
    );
    next.previous = Some(CommitmentDigest::of(&one));
    let good = next.sign(&globex(), &key(1));
    assert_eq!(
        batches(FaultKind::CommitmentLink, &one, &good),
        "fault_not_shown"
    );
    assert_eq!(
        batches(FaultKind::CommitmentLink, &good, &one),
        "fault_not_shown"
    );
    assert_eq!(
        batches(FaultKind::CommitmentFork, &one, &good),
        "fault_not_shown"
    );
    next.first = Sequence::new(14);
    let gap = next.sign(&globex(), &key(1));
    assert_eq!(batches(FaultKind::CommitmentLink, &one, &gap), "convicts");
    let later = |first| commitment(5, first, &leaves).sign(&globex(), &key(1));
    assert_eq!(
        batches(FaultKind::CommitmentLink, &one, &later(15)),
        "fault_not_shown"
    );
    assert_eq!(
        batches(FaultKind::CommitmentLink, &one, &later(14)),
        "convicts"
    );
    let elsewhere = commitment(2, 11, &leaves).sign(&globex(), &key(2));
    for (a, b) in [(&one, &elsewhere), (&elsewhere, &one)] {
        assert_eq!(batches(FaultKind::CommitmentFork, a, b), "fault_not_shown");
    }
    let foreign = commitment(2, 11, &leaves).sign(&peer(0), &key(1));
    let report = batches(FaultKind::CommitmentFork, &one, &foreign);
    assert_eq!(report, "fault_accused_mismatch");
}

#[test]
fn a_batch_must_hold_something_else_in_the_very_place() {
    let own = signed(1, &record(11, refused()));
    let other = [7; 32];
    let leaves = [
        Hash::from_bytes([1; 32]),
        Hash::from_bytes(other),
        Hash::from_bytes([2; 32]),
    ];
    let honest = [leaves[0], leaf_hash(&own.1), leaves[2]];
    let statement = |leaves: &[Hash], seed, first, at: usize| {
        let commitment = commitment(2, first, leaves).sign(&globex(), &key(seed));
        let leaf = Statement::Leaf {
            hash: leaves[at],
            path: path(at, leaves),
        };
        let record = Statement::record(bare(&own.1));
        code(&accuse(
            FaultKind::RecordReplaced,
            vec![record, logged(&commitment), leaf],
        ))
    };
    assert_eq!(statement(&leaves, 1, 10, 1), "convicts");
    assert_eq!(statement(&honest, 1, 10, 1), "fault_not_shown");
    // What stands beside it, or above it, does not stand in its place.
    assert_eq!(statement(&honest, 1, 10, 0), "batch_path_invalid");
    assert_eq!(statement(&honest, 1, 10, 2), "batch_path_invalid");
    assert_eq!(statement(&leaves, 2, 10, 1), "fault_not_shown");
    assert_eq!(statement(&leaves, 1, 12, 1), "fault_not_shown");
    let above = vec![
        Statement::record(bare(&own.1)),
        logged(&commitment(2, 10, &honest).sign(&globex(), &key(1))),
        Statement::Leaf {
            hash: root(&honest[..2]),
            path: vec![honest[2]],
        },
    ];
    assert_eq!(
        code(&accuse(FaultKind::RecordReplaced, above)),
        "batch_path_invalid"
    );
}
