//! What a revoked key signed convicts only if it was logged before the revocation: a thief of a key
//! cannot convict the operator that revoked it.

use counterfoil_protocol::batch::BatchTree;
use counterfoil_protocol::commitment::Commitment;
use counterfoil_protocol::digest::RecordId;
use counterfoil_protocol::fault::{Accused, FaultKind, FaultProof, Statement, verify_fault};
use counterfoil_protocol::names::ReasonCode;
use counterfoil_protocol::numbers::{BatchNumber, Sequence, UnixMillis};
use counterfoil_protocol::receipt::{BatchPart, LoggedManifest, Receipt};
use counterfoil_protocol::record::{Body, Event, Record};

use super::collected::{bare, code};
use super::world::{Log, Manifests, globex, key, trust};

/// Record 3 of the stream of key 1, in two versions, the one with the lower id first.
fn fork() -> [Vec<u8>; 2] {
    let mut records = [1_000, 2_000].map(|time| {
        let record = Record {
            sequence: Sequence::new(3),
            previous: Some(RecordId::from_bytes([1; 32])),
            time: UnixMillis::new(time),
            beacon: None,
            body: Body::Control(Event::MessageRefused {
                reason: ReasonCode::literal("json_malformed"),
            }),
        };
        let prepared = record.prepare(&globex(), key(1).public().thumbprint());
        (prepared.id(), prepared.sign(&key(1)))
    });
    records.sort();
    records.map(|(_, bytes)| bytes)
}

/// A commitment that holds nothing but this record.
fn commitment(record: &[u8], number: u64) -> Vec<u8> {
    let tree = BatchTree::build([record]).unwrap();
    Commitment {
        number: BatchNumber::new(number),
        first: Sequence::new(3),
        count: 1,
        previous: Some(counterfoil_protocol::digest::CommitmentDigest::from_bytes(
            [1; 32],
        )),
        opened: UnixMillis::new(1_000),
        sealed: UnixMillis::new(1_000),
        beacon: None,
        root: tree.root(),
    }
    .sign(&globex(), &key(1))
}

fn receipt(record: &[u8], commitment: Vec<u8>, log_proof: Option<Vec<u8>>) -> Receipt {
    Receipt {
        batch: Some(BatchPart {
            path: Vec::new(),
            commitment,
        }),
        log_proof,
        ..bare(record)
    }
}

struct Case {
    log: Log,
    manifests: Vec<Vec<u8>>,
    /// Where each manifest is logged.
    places: Vec<Option<u64>>,
    witnessed: bool,
}

impl Case {
    fn verdict(&self, statements: [Receipt; 2]) -> &'static str {
        let logged = self.manifests.iter().zip(&self.places);
        let proof = FaultProof {
            kind: FaultKind::StreamFork,
            accused: Accused::Operator(globex()),
            manifests: logged
                .map(|(manifest, place)| LoggedManifest {
                    manifest: manifest.clone(),
                    log_proof: place.map(|index| self.log.proof(index, self.witnessed)),
                })
                .collect(),
            statements: statements.map(Statement::record).to_vec(),
        };
        code(&verify_fault(&proof.encode(), &trust()))
    }
}

#[test]
fn statements_of_a_revoked_key_count_only_if_logged_before() {
    let [low, high] = fork();
    let mut manifests = Manifests::new(globex());
    let mut log = Log::default();
    let first = log.add(&manifests.publish(&[&key(1)], &[]));
    let one = commitment(&low, 1);
    let other = commitment(&high, 2);
    let before = [log.add(&one), log.add(&other)];
    let revoking = log.add(&manifests.publish(&[&key(1), &key(2)], &[&key(1)]));
    let late = commitment(&high, 3);
    let after = log.add(&late);
    let mut case = Case {
        log,
        manifests: manifests.versions,
        places: vec![Some(first), Some(revoking)],
        witnessed: true,
    };
    let proof = |case: &Case, index| Some(case.log.proof(index, case.witnessed));
    let low_before = receipt(&low, one.clone(), proof(&case, before[0]));
    let high_before = receipt(&high, other.clone(), proof(&case, before[1]));
    let high_after = receipt(&high, late, proof(&case, after));
    let high_committed = receipt(&high, other.clone(), None);

    assert_eq!(
        case.verdict([low_before.clone(), high_before.clone()]),
        "convicts"
    );
    assert_eq!(
        case.verdict([low_before.clone(), high_after]),
        "key_revoked"
    );
    assert_eq!(
        case.verdict([low_before.clone(), high_committed]),
        "key_revoked"
    );
    assert_eq!(
        case.verdict([low_before.clone(), bare(&high)]),
        "key_revoked"
    );
    assert_eq!(
        case.verdict([bare(&low), high_before.clone()]),
        "key_revoked"
    );

    // Nobody can tell when a manifest was published that is not logged.
    case.places[1] = None;
    assert_eq!(
        case.verdict([low_before.clone(), high_before.clone()]),
        "key_revoked"
    );
    // What the log alone says about before and after is not enough where witnesses are asked for.
    case.places[1] = Some(revoking);
    case.witnessed = false;
    assert_eq!(
        case.verdict([low_before.clone(), high_before.clone()]),
        "quorum_not_met"
    );
    case.witnessed = true;
    let unwitnessed = receipt(&high, other, Some(case.log.proof(before[1], false)));
    assert_eq!(case.verdict([low_before, unwitnessed]), "quorum_not_met");

    // Without the revocation nothing need be logged.
    case.manifests.pop();
    case.places.pop();
    assert_eq!(case.verdict([bare(&low), bare(&high)]), "convicts");
}

#[test]
fn what_is_shown_of_a_statement_must_hold() {
    let [low, high] = fork();
    let mut manifests = Manifests::new(globex());
    let mut log = Log::default();
    log.add(&manifests.publish(&[&key(1)], &[]));
    let one = commitment(&low, 1);
    let place = log.add(&one);
    let case = Case {
        places: vec![None],
        manifests: manifests.versions,
        witnessed: true,
        log,
    };
    let good = Some(case.log.proof(place, true));
    let low_logged = receipt(&low, one.clone(), good.clone());
    assert_eq!(case.verdict([low_logged, bare(&high)]), "convicts");
    // The other record is not in that batch.
    let lied = receipt(&high, one.clone(), good.clone());
    assert_eq!(case.verdict([bare(&low), lied]), "batch_path_invalid");
    // The other commitment is not at that place of the log.
    let lied = receipt(&high, commitment(&high, 2), good);
    assert_eq!(case.verdict([bare(&low), lied]), "log_path_invalid");
    let lied = receipt(&low, one, Some(b"no proof".to_vec()));
    assert_eq!(case.verdict([lied, bare(&high)]), "log_proof_malformed");
}

#[test]
fn a_key_that_was_only_left_out_is_not_revoked() {
    let [low, high] = fork();
    let mut manifests = Manifests::new(globex());
    manifests.publish(&[&key(1)], &[]);
    manifests.publish(&[&key(2)], &[]);
    let case = Case {
        log: Log::default(),
        manifests: manifests.versions,
        places: vec![None, None],
        witnessed: true,
    };
    assert_eq!(case.verdict([bare(&low), bare(&high)]), "convicts");
}
