//! The form of a fault proof: strict, and written in one way.

use super::*;
use crate::cbor::{Encoder, MapEncoder};
use crate::failure::FailureCode;
use crate::receipt::{LoggedManifest, Receipt};

fn bare(record: &[u8]) -> Receipt {
    Receipt {
        record: record.to_vec(),
        manifests: Vec::new(),
        batch: None,
        log_proof: None,
        beacon: None,
        disclosures: Vec::new(),
        presentation: None,
    }
}

fn proof() -> FaultProof {
    FaultProof {
        kind: FaultKind::StreamFork,
        accused: Accused::Operator(crate::names::OperatorName::literal("globex.example")),
        manifests: vec![LoggedManifest {
            manifest: vec![1],
            log_proof: None,
        }],
        statements: vec![
            Statement::record(bare(b"one")),
            Statement::record(bare(b"two")),
        ],
    }
}

fn code(proof: &FaultProof) -> FailureCode {
    FaultProof::parse(&proof.encode()).unwrap_err().code()
}

fn written(fields: impl FnOnce(&mut MapEncoder<'_>)) -> Result<FaultProof, FailureCode> {
    let mut encoder = Encoder::with_capacity(64);
    encoder.map(fields);
    FaultProof::parse(&encoder.into_bytes()).map_err(|failure| failure.code())
}

#[test]
fn a_proof_survives_its_bytes() {
    let commitment = |log_proof| {
        Statement::Commitment(LoggedCommitment {
            commitment: vec![1, 2],
            log_proof,
        })
    };
    let leaf = Statement::Leaf {
        hash: counterfoil_tlog::tree::Hash::from_bytes([1; 32]),
        path: vec![counterfoil_tlog::tree::Hash::from_bytes([2; 32]); 3],
    };
    let one = Statement::record(bare(b"one"));
    for (kind, statements) in [
        (FaultKind::StreamFork, proof().statements),
        (
            FaultKind::CommitmentFork,
            vec![commitment(None), commitment(Some(vec![3]))],
        ),
        (
            FaultKind::RecordReplaced,
            vec![one.clone(), commitment(None), leaf],
        ),
        (
            FaultKind::ManifestFork,
            vec![Statement::Manifest(vec![1]), Statement::Manifest(vec![2])],
        ),
        (
            FaultKind::AllowedOtherwise,
            vec![Statement::Request(vec![1]), one],
        ),
    ] {
        let proof = FaultProof {
            kind,
            statements,
            ..proof()
        };
        assert_eq!(FaultProof::parse(&proof.encode()).unwrap(), proof);
    }
    assert_eq!(proof().file_name(), "globex.example.stream_fork.fault");
}

#[test]
fn statements_are_those_of_the_kind() {
    let mut wrong = proof();
    wrong.statements.pop();
    assert_eq!(code(&wrong), FailureCode::StructureOutOfRange);
    let mut wrong = proof();
    wrong.statements.push(Statement::Manifest(vec![1]));
    assert_eq!(code(&wrong), FailureCode::StructureOutOfRange);
    let mut wrong = proof();
    wrong.kind = FaultKind::CommitmentFork;
    assert_eq!(code(&wrong), FailureCode::StructureWrongType);
    let mut wrong = proof();
    wrong.statements[1] = Statement::Leaf {
        hash: counterfoil_tlog::tree::Hash::from_bytes([1; 32]),
        path: Vec::new(),
    };
    assert_eq!(code(&wrong), FailureCode::StructureWrongType);
}

#[test]
fn a_statement_has_nothing_that_nobody_checks() {
    let with = |receipt| {
        let mut proof = proof();
        proof.statements[0] = Statement::Record(Box::new(receipt));
        code(&proof)
    };
    let manifests = proof().manifests;
    assert_eq!(
        with(Receipt {
            manifests,
            ..bare(b"one")
        }),
        FailureCode::StructureOutOfRange
    );
    assert_eq!(
        with(Receipt {
            beacon: Some(vec![1]),
            ..bare(b"one")
        }),
        FailureCode::StructureUnknownField
    );
}

#[test]
fn a_log_has_no_manifests_and_an_operator_has_a_name() {
    let mut wrong = proof();
    wrong.kind = FaultKind::LogFork;
    assert_eq!(code(&wrong), FailureCode::StructureOutOfRange);
    let head = |kind: u64, accused: &'static str| {
        written(|map| {
            map.key(1).text(FORMAT);
            map.key(2).unsigned(kind);
            map.key(3).text(accused);
            map.key(4).array(0);
            map.key(5).array(2).bytes(&[]).bytes(&[]);
        })
    };
    assert_eq!(head(1, "Globex"), Err(FailureCode::NameInvalid));
    assert_eq!(head(14, ""), Err(FailureCode::NameInvalid));
    assert_eq!(
        head(99, "globex.example"),
        Err(FailureCode::StructureOutOfRange)
    );
    assert_eq!(head(1, "globex.example"), Err(FailureCode::CborTruncated));
    assert!(head(14, "log.example/2026").is_ok());
}

#[test]
fn the_file_says_what_it_is() {
    assert_eq!(
        written(|map| {
            map.key(1).text("counterfoil/receipt/v1");
        }),
        Err(FailureCode::StructureOutOfRange)
    );
    assert_eq!(written(|_| {}), Err(FailureCode::StructureMissingField));
    let more = written(|map| {
        map.key(1).text(FORMAT);
        map.key(2).unsigned(14);
        map.key(3).text("log.example/2026");
        map.key(4).array(0);
        map.key(5).array(2).bytes(&[]).bytes(&[]);
        map.key(6).unsigned(1);
    });
    assert_eq!(more, Err(FailureCode::StructureUnknownField));
}
