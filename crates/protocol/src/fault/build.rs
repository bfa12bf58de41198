//! Proofs against operators and logs that are not made of records and commitments.
//!
//! Like the detector these compare what they are given and verify no signature: that is what
//! [`super::verify_fault`] is for.

use counterfoil_tlog::checkpoint::Checkpoint;
use counterfoil_tlog::note::Note;
use counterfoil_tlog::tlog_proof::TlogProof;
use counterfoil_tlog::tree::leaf_hash;

use super::breach;
use super::kind::FaultKind;
use super::proof::{Accused, FaultProof, Statement};
use crate::contract::ContractReport;
use crate::manifest::UnverifiedManifest;
use crate::receipt::{LoggedManifest, Receipt};
use crate::record::VerifiedRecord;

impl FaultProof {
    /// The proofs that a record of an operator breaks the terms that it was made under: of each
    /// breach that the record and the contract show by themselves. `contract` is the contract file,
    /// which `report` has found verified.
    pub fn of_contract(
        manifests: &[LoggedManifest],
        record: &VerifiedRecord,
        receipt: &Receipt,
        contract: &[u8],
        report: &ContractReport,
    ) -> Vec<Self> {
        let kinds = [FaultKind::OutsideContract, FaultKind::EvidenceTooLow];
        let shown = |kind: &FaultKind| breach::contract(*kind, record, receipt, report).is_ok();
        let proof = |kind| Self {
            kind,
            accused: Accused::Operator(record.issuer().clone()),
            manifests: manifests.to_vec(),
            statements: vec![
                Statement::record(receipt.clone()),
                Statement::Contract(contract.to_vec()),
            ],
        };
        kinds.into_iter().filter(shown).map(proof).collect()
    }

    /// The proof that two manifests are both of one version, if they are. `before` are the
    /// manifests before them, oldest first.
    pub fn of_manifests(before: Vec<LoggedManifest>, a: &[u8], b: &[u8]) -> Option<Self> {
        let one = UnverifiedManifest::parse(a).ok()?;
        let other = UnverifiedManifest::parse(b).ok()?;
        if one.operator() != other.operator() || one.version() != other.version() {
            return None;
        }
        let accused = Accused::Operator(one.operator().clone());
        let statement = |bytes: &[u8]| Statement::Manifest(bytes.to_vec());
        let statements = ordered((one.id(), statement(a)), (other.id(), statement(b)))?;
        Some(Self {
            kind: FaultKind::ManifestFork,
            accused,
            manifests: before,
            statements,
        })
    }

    /// The proof that a log signed two trees of one size, if these checkpoint notes show it.
    pub fn of_checkpoints(a: &[u8], b: &[u8]) -> Option<Self> {
        let one = Checkpoint::parse(Note::parse(a).ok()?.text()).ok()?;
        let other = Checkpoint::parse(Note::parse(b).ok()?.text()).ok()?;
        if one.origin() != other.origin() || one.size() != other.size() {
            return None;
        }
        let statement = |bytes: &[u8]| Statement::Checkpoint(bytes.to_vec());
        let statements = ordered(
            (*one.root().as_bytes(), statement(a)),
            (*other.root().as_bytes(), statement(b)),
        )?;
        Some(Self {
            kind: FaultKind::LogFork,
            accused: Accused::Log(one.origin().clone()),
            manifests: Vec::new(),
            statements,
        })
    }

    /// The proof that a log holds different entries at one index, or signed two trees of one size,
    /// if two entries with their tlog-proofs show it.
    pub fn of_entries(a: (&[u8], &[u8]), b: (&[u8], &[u8])) -> Option<Self> {
        let one = TlogProof::parse(a.1).ok()?;
        let other = TlogProof::parse(b.1).ok()?;
        let rewritten = one.checkpoint().origin() == other.checkpoint().origin()
            && one.index() == other.index();
        let statement = |(entry, log_proof): (&[u8], &[u8])| {
            let leaf = *leaf_hash(entry).as_bytes();
            let statement = Statement::Entry {
                entry: entry.to_vec(),
                log_proof: log_proof.to_vec(),
            };
            (leaf, statement)
        };
        match ordered(statement(a), statement(b)).filter(|_| rewritten) {
            Some(statements) => Some(Self {
                kind: FaultKind::LogRewritten,
                accused: Accused::Log(one.checkpoint().origin().clone()),
                manifests: Vec::new(),
                statements,
            }),
            None => Self::of_checkpoints(
                one.note().to_string().as_bytes(),
                other.note().to_string().as_bytes(),
            ),
        }
    }
}

/// The statements in the one order that a proof has, or none if they are the same.
fn ordered(a: ([u8; 32], Statement), b: ([u8; 32], Statement)) -> Option<Vec<Statement>> {
    match a.0.cmp(&b.0) {
        core::cmp::Ordering::Less => Some(vec![a.1, b.1]),
        core::cmp::Ordering::Equal => None,
        core::cmp::Ordering::Greater => Some(vec![b.1, a.1]),
    }
}
