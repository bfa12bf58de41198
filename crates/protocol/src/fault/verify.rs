//! Verifies a fault proof and explains every step. Spec: faults §5.

use super::batches;
use super::breach::{self, Publication};
use super::conflict::{self, ascending, not_shown};
use super::keys::manifest_place;
use super::kind::FaultKind;
use super::log;
use super::proof::{Accused, FaultProof, LoggedCommitment, Statement};
use super::report::{FaultReport, FaultStepName};
use crate::commitment::{UnverifiedCommitment, VerifiedCommitment};
use crate::contract::{ContractReport, verify_contract};
use crate::digest::CheckpointDigest;
use crate::failure::{Failure, FailureCode};
use crate::level::Level;
use crate::manifest::{UnverifiedManifest, VerifiedManifest};
use crate::names::OperatorName;
use crate::numbers::UnixSeconds;
use crate::receipt::Receipt;
use crate::record::{UnverifiedRecord, VerifiedRecord};
use crate::trust::Trust;
use crate::verify::checks::{listed_key, manifest_chain};
use crate::verify::{self, LogPosition, Report, statement};
use counterfoil_tlog::policy::Quorum;

/// Verifies the bytes of a fault proof against a trust file. The accused is convicted if the report
/// says so: [`FaultReport::convicts`].
pub fn verify_fault(proof: &[u8], trust: &Trust) -> FaultReport {
    let mut report = FaultReport::default();
    if let Err(failure) = run(proof, trust, &mut report) {
        report.finding = None;
        report.fail(failure);
    }
    report
}

fn run(encoded: &[u8], trust: &Trust, report: &mut FaultReport) -> Result<(), Failure> {
    report.begin(FaultStepName::Proof);
    let proof = FaultProof::parse(encoded)?;
    report.kind = Some(proof.kind);
    report.accused = Some(proof.accused.clone());
    report.pass(format!(
        "{} is accused of {}: {}",
        proof.accused,
        proof.kind,
        proof.kind.sentence()
    ));
    match &proof.accused {
        Accused::Log(origin) => log::hear(&proof, origin.as_str(), trust, report),
        Accused::Operator(operator) => Case::open(&proof, operator, trust, report)?.hear(report),
    }
}

/// The case against an operator.
pub(super) struct Case<'a> {
    pub(super) proof: &'a FaultProof,
    pub(super) accused: &'a OperatorName,
    pub(super) trust: &'a Trust,
    pub(super) manifests: Vec<VerifiedManifest>,
    /// Where each manifest is logged, if that is shown.
    pub(super) places: Vec<Option<LogPosition>>,
}

/// A statement that has been found genuine.
pub(super) enum Genuine<'a> {
    Record {
        record: Box<VerifiedRecord>,
        receipt: &'a Receipt,
        place: Option<LogPosition>,
    },
    Request(Box<UnverifiedRecord>),
    Commitment {
        commitment: Box<VerifiedCommitment>,
        place: Option<LogPosition>,
    },
    Manifest(Box<VerifiedManifest>),
    Receipt(Box<Report>),
    Checkpoint {
        digest: CheckpointDigest,
        quorum: Quorum,
    },
    Contract(Box<ContractReport>),
    /// It is checked where it is used.
    Other(&'a Statement),
}

impl<'a> Case<'a> {
    fn open(
        proof: &'a FaultProof,
        accused: &'a OperatorName,
        trust: &'a Trust,
        report: &mut FaultReport,
    ) -> Result<Self, Failure> {
        report.begin(FaultStepName::Manifests);
        // The first version has none before it: two of them stand alone.
        let manifests = if proof.kind == FaultKind::ManifestFork && proof.manifests.is_empty() {
            trust.roots(accused)?;
            Vec::new()
        } else {
            manifest_chain(&proof.manifests, accused, trust)?
        };
        let places = proof
            .manifests
            .iter()
            .map(|logged| manifest_place(logged, trust))
            .collect::<Result<Vec<_>, _>>()?;
        report.keys_known_to_size = places
            .last()
            .and_then(Option::as_ref)
            .map(|place| place.index.saturating_add(1));
        match manifests.last() {
            Some(newest) => report.pass(format!(
                "version {} of {accused}, an unbroken chain from a trusted root key",
                newest.manifest().version
            )),
            None => report.absent("there is none before a first version"),
        }
        Ok(Self {
            proof,
            accused,
            trust,
            manifests,
            places,
        })
    }

    fn hear(&self, report: &mut FaultReport) -> Result<(), Failure> {
        let mut genuine = Vec::with_capacity(self.proof.statements.len());
        for (index, statement) in self.proof.statements.iter().enumerate() {
            report.begin(FaultStepName::Statement);
            let place = format!("statement {}", index + 1);
            let (one, detail) = self
                .statement(statement)
                .map_err(|failure| failure.at(&place))?;
            report.pass(format!("{place}: {detail}"));
            genuine.push(one);
        }
        self.keys(&genuine, report)?;
        report.begin(FaultStepName::Fault);
        let finding = self.fault(&genuine)?;
        report.finding = Some(finding.clone());
        report.pass(finding);
        Ok(())
    }

    /// Checks one statement by itself.
    fn statement(&self, statement: &'a Statement) -> Result<(Genuine<'a>, String), Failure> {
        match statement {
            Statement::Record(receipt) => self.record(receipt),
            Statement::Commitment(logged) => self.commitment(logged),
            Statement::Manifest(bytes) => self.manifest(bytes),
            Statement::Request(bytes) => {
                let request = UnverifiedRecord::parse(bytes)?;
                let detail = format!(
                    "a record with id {}, which vouches for its content",
                    request.id()
                );
                Ok((Genuine::Request(Box::new(request)), detail))
            }
            Statement::Leaf { hash, .. } => {
                Ok((Genuine::Other(statement), format!("the leaf {hash}")))
            }
            Statement::Receipt(bytes) => self.receipt(bytes),
            Statement::Checkpoint(note) => {
                let quorum = log::checkpoint(note, self.trust)?;
                let size = quorum.checkpoint().size();
                let digest = CheckpointDigest::of(note);
                let detail = format!("the checkpoint {digest} of size {size}");
                Ok((Genuine::Checkpoint { digest, quorum }, detail))
            }
            Statement::Contract(bytes) => self.contract(bytes),
            Statement::Entry { .. } => Err(not_shown("it is not a statement of an operator")),
        }
    }

    fn record(&self, receipt: &'a Receipt) -> Result<(Genuine<'a>, String), Failure> {
        let (record, place) = statement(receipt, self.accused, &self.manifests, self.trust)?;
        let detail = format!(
            "{} {} of stream {}, id {}, signed by {}{}",
            record.record().body.kind(),
            record.record().sequence,
            record.kid(),
            record.id(),
            self.accused,
            logged_at(place.as_ref())
        );
        let genuine = Genuine::Record {
            record: Box::new(record),
            receipt,
            place,
        };
        Ok((genuine, detail))
    }

    fn commitment(&self, logged: &LoggedCommitment) -> Result<(Genuine<'a>, String), Failure> {
        let commitment = UnverifiedCommitment::parse(&logged.commitment)?;
        is_of(commitment.issuer(), self.accused)?;
        let key = listed_key(&self.manifests, self.accused, commitment.kid())?;
        let commitment = commitment.verify(key)?;
        let place = logged
            .log_proof
            .as_ref()
            .map(|proof| LogPosition::of(proof, &logged.commitment, self.trust))
            .transpose()?;
        let detail = format!(
            "commitment {} of stream {}, signed by {}{}",
            commitment.commitment().number,
            commitment.kid(),
            self.accused,
            logged_at(place.as_ref())
        );
        let genuine = Genuine::Commitment {
            commitment: Box::new(commitment),
            place,
        };
        Ok((genuine, detail))
    }

    fn manifest(&self, bytes: &[u8]) -> Result<(Genuine<'a>, String), Failure> {
        let manifest = UnverifiedManifest::parse(bytes)?;
        is_of(manifest.operator(), self.accused)?;
        let manifest = match self.manifests.last() {
            Some(before) => manifest.verify_next(before)?,
            None => {
                let trusted = self.trust.roots(self.accused)?;
                manifest.verify_first(|root| trusted.contains(root))?
            }
        };
        let detail = format!(
            "manifest {} of {}, signed with a root key",
            manifest.manifest().version,
            self.accused
        );
        Ok((Genuine::Manifest(Box::new(manifest)), detail))
    }

    fn receipt(&self, bytes: &[u8]) -> Result<(Genuine<'a>, String), Failure> {
        let report = verify::verify(bytes, self.trust, Level::Witnessed);
        if let Some(failure) = &report.failure {
            return Err(failure.clone());
        }
        let detail = report.facts.as_ref().map_or(String::new(), |facts| {
            format!("a witnessed record of {}, id {}", facts.issuer, facts.id)
        });
        Ok((Genuine::Receipt(Box::new(report)), detail))
    }

    fn contract(&self, bytes: &[u8]) -> Result<(Genuine<'a>, String), Failure> {
        let report = verify_contract(bytes, self.trust, Level::Signed);
        if let Some(failure) = &report.failure {
            return Err(failure.clone());
        }
        let detail = match (report.state, report.digest) {
            (Some(state), Some(digest)) => format!("contract {digest}, {}", state.as_str()),
            _ => String::new(),
        };
        Ok((Genuine::Contract(Box::new(report)), detail))
    }

    /// What the statements show together.
    fn fault(&self, genuine: &[Genuine<'_>]) -> Result<String, Failure> {
        match genuine {
            [
                Genuine::Record { record: a, .. },
                Genuine::Record { record: b, .. },
            ] => conflict::records(self.proof.kind, a, b),
            [
                Genuine::Commitment { commitment: a, .. },
                Genuine::Commitment { commitment: b, .. },
            ] => batches::commitments(self.proof.kind, a, b),
            [
                Genuine::Record {
                    record, receipt, ..
                },
                Genuine::Commitment { commitment, .. },
                Genuine::Other(Statement::Leaf { hash, path }),
            ] => batches::record_replaced((record, &receipt.record), commitment, (hash, path)),
            [Genuine::Request(request), Genuine::Record { record, .. }] => {
                conflict::allowed_otherwise(request.id(), request.unverified_content(), record)
            }
            [Genuine::Manifest(a), Genuine::Manifest(b)] => {
                // Both follow the same version, so they are of one version.
                ascending(a.id(), b.id())?;
                Ok(format!(
                    "manifests {} and {} are both version {} of {}",
                    a.digest(),
                    b.digest(),
                    a.manifest().version,
                    self.accused
                ))
            }
            [
                Genuine::Record {
                    record, receipt, ..
                },
                Genuine::Contract(contract),
            ] => breach::contract(self.proof.kind, record, receipt, contract),
            [
                Genuine::Record { record, .. },
                Genuine::Receipt(seen),
                Genuine::Commitment { commitment, .. },
                Genuine::Checkpoint { digest, quorum },
                Genuine::Contract(contract),
            ] => {
                let facts = seen.facts.as_ref();
                let facts = facts.ok_or_else(|| not_shown("the receipt has no record"))?;
                breach::late(&Publication {
                    record,
                    seen: (&facts.record, seen.not_after),
                    commitment,
                    beacon: (
                        *digest,
                        quorum.checkpoint().size(),
                        quorum.not_before().map(UnixSeconds::new),
                    ),
                    terms: breach::terms(record.record(), contract)?,
                })
            }
            _ => Err(not_shown("the statements are not of the kind")),
        }
    }
}

fn is_of(issuer: &OperatorName, accused: &OperatorName) -> Result<(), Failure> {
    if issuer == accused {
        Ok(())
    } else {
        Err(Failure::new(
            FailureCode::FaultAccusedMismatch,
            format!("it is of {issuer}, not of {accused}"),
        ))
    }
}

fn logged_at(place: Option<&LogPosition>) -> String {
    place.map_or(String::new(), |place| {
        format!(", entry {} of {}", place.index, place.origin)
    })
}
