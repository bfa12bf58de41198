//! Records that were published later than was agreed on, by the times of witnesses.

use counterfoil_protocol::batch::BatchTree;
use counterfoil_protocol::commitment::Commitment;
use counterfoil_protocol::digest::{CheckpointDigest, CommitmentDigest, RecordId};
use counterfoil_protocol::fault::{
    Accused, FaultKind, FaultProof, LoggedCommitment, Statement, verify_fault,
};
use counterfoil_protocol::level::Level;
use counterfoil_protocol::names::{OperatorName, ReasonCode};
use counterfoil_protocol::numbers::{BatchNumber, ChannelSequence, Sequence, UnixMillis};
use counterfoil_protocol::receipt::{BatchPart, LoggedManifest, Receipt};
use counterfoil_protocol::record::{Acknowledgement, Beacon, Body, ChannelControl, ChannelEvent};

use super::breaches::{
    ACME, GLOBEX, START, contract, decided, decision, link, manifests, record, signed,
};
use super::collected::{bare, code};
use super::world::{Log, Manifests, globex, key, peer, trust};

/// The times of a publication, in seconds after the start, and what is wrong with it.
struct Publication {
    seen: u64,
    beacon: u64,
    acknowledges: Option<RecordId>,
    covers: u64,
    names_beacon: bool,
    witnessed: bool,
}

const LATE: Publication = Publication {
    seen: 100,
    beacon: 161,
    acknowledges: None,
    covers: 9,
    names_beacon: true,
    witnessed: true,
};

fn published(how: &Publication) -> &'static str {
    let start = START / 1000;
    let decision = decided(9, 20, decision("read", "/", Level::Witnessed));
    let (id, decision) = signed(&globex(), GLOBEX, &decision);

    // Acme's record that acknowledges it, in a log that witnesses saw.
    let mut acme = Manifests::new(peer(0));
    let mut log = Log::default();
    let place = log.add(&acme.publish(&[&key(ACME)], &[]));
    let mut channel = link(&globex(), 5);
    channel.acknowledged = Some(Acknowledgement {
        stream: key(GLOBEX).public().thumbprint(),
        sequence: ChannelSequence::new(5),
        id: how.acknowledges.unwrap_or(id),
    });
    let event = ChannelEvent::RecordDenied {
        record: RecordId::from_bytes([8; 32]),
        reason: ReasonCode::literal("not_ours"),
    };
    let control = Body::Channel(ChannelControl { channel, event });
    let (_, acknowledging) = signed(&peer(0), ACME, &record(7, 30, control));
    let commit = |operator: &OperatorName, seed, first, record: &[u8], beacon| {
        let tree = BatchTree::build([record]).unwrap();
        Commitment {
            number: BatchNumber::new(4),
            first: Sequence::new(first),
            count: 1,
            previous: Some(CommitmentDigest::from_bytes([1; 32])),
            opened: UnixMillis::new(START),
            sealed: UnixMillis::new(START),
            beacon,
            root: tree.root(),
        }
        .sign(operator, &key(seed))
    };
    let commitment = commit(&peer(0), ACME, 7, &acknowledging, None);
    let entry = log.add(&commitment);
    let checkpoint = if how.witnessed {
        log.checkpoint_at(start + how.seen)
    } else {
        log.checkpoint(false)
    };
    let receipt = Receipt {
        manifests: vec![LoggedManifest {
            manifest: acme.versions[0].clone(),
            log_proof: Some(log.proof_under(place, checkpoint.clone())),
        }],
        batch: Some(BatchPart {
            path: Vec::new(),
            commitment,
        }),
        log_proof: Some(log.proof_under(entry, checkpoint)),
        ..bare(&acknowledging)
    };

    // Globex's batch, which names a checkpoint that witnesses saw later.
    log.add(b"something");
    let note = log
        .checkpoint_at(start + how.beacon)
        .to_string()
        .into_bytes();
    let beacon = how.names_beacon.then(|| Beacon {
        size: log.entries.len() as u64,
        checkpoint: CheckpointDigest::of(&note),
    });
    let commitment = commit(&globex(), GLOBEX, how.covers, &decision, beacon);
    let proof = FaultProof {
        kind: FaultKind::PublishedLate,
        accused: Accused::Operator(globex()),
        manifests: manifests(&globex(), GLOBEX),
        statements: vec![
            Statement::record(bare(&decision)),
            Statement::Receipt(receipt.encode()),
            Statement::Commitment(LoggedCommitment {
                commitment,
                log_proof: None,
            }),
            Statement::Checkpoint(note),
            Statement::Contract(contract(2)),
        ],
    };
    let bytes = proof.encode();
    assert_eq!(FaultProof::parse(&bytes).unwrap(), proof);
    code(&verify_fault(&bytes, &trust()))
}

#[test]
fn a_record_that_was_published_late() {
    assert_eq!(published(&LATE), "convicts");
    let in_time = Publication {
        beacon: 160,
        ..LATE
    };
    assert_eq!(published(&in_time), "fault_not_shown");
    let unknown = Publication {
        acknowledges: Some(RecordId::from_bytes([3; 32])),
        ..LATE
    };
    assert_eq!(published(&unknown), "fault_not_shown");
    let another_batch = Publication { covers: 10, ..LATE };
    assert_eq!(published(&another_batch), "fault_not_shown");
    let no_beacon = Publication {
        names_beacon: false,
        ..LATE
    };
    assert_eq!(published(&no_beacon), "fault_not_shown");
    // Only what witnesses saw bounds a time.
    let unseen = Publication {
        witnessed: false,
        ..LATE
    };
    assert_eq!(published(&unseen), "quorum_not_met");
}
