//! Verifies a fault proof and explains every step. Spec: faults §5.

use super::conflict::{self, ascending, not_shown};
use super::kind::FaultKind;
use super::log;
use super::proof::{Accused, FaultProof, LoggedCommitment, Statement};
use super::report::{FaultReport, FaultStepName};
use crate::commitment::{UnverifiedCommitment, VerifiedCommitment};
use crate::digest::KeyThumbprint;
use crate::failure::{Failure, FailureCode};
use crate::manifest::{UnverifiedManifest, VerifiedManifest};
use crate::names::OperatorName;
use crate::receipt::{LoggedManifest, Receipt};
use crate::record::{UnverifiedRecord, VerifiedRecord};
use crate::trust::Trust;
use crate::verify::checks::{listed_key, manifest_chain};
use crate::verify::{LogPosition, statement};

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
    proof: &'a FaultProof,
    pub(super) accused: &'a OperatorName,
    pub(super) trust: &'a Trust,
    manifests: Vec<VerifiedManifest>,
    /// By whose authority each manifest is logged, where it is.
    places: Vec<Option<LogPosition>>,
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
        report.begin(FaultStepName::Contract);
        report.absent("no contract is needed to see a contradiction");
        report.begin(FaultStepName::Fault);
        let finding = self.contradiction(&genuine)?;
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
            Statement::Checkpoint(_) | Statement::Entry { .. } => {
                Err(not_shown("it is not a statement of an operator"))
            }
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

    /// Checks that each statement was logged before its key was revoked, if it was.
    fn keys(&self, genuine: &[Genuine<'_>], report: &mut FaultReport) -> Result<(), Failure> {
        report.begin(FaultStepName::Keys);
        if self.proof.kind == FaultKind::ManifestFork {
            report.absent("each manifest is signed with a root key of the version before");
            return Ok(());
        }
        for (index, statement) in genuine.iter().enumerate() {
            let (kid, place) = match statement {
                Genuine::Record { record, place, .. } => (record.kid(), place.as_ref()),
                Genuine::Commitment { commitment, place } => (commitment.kid(), place.as_ref()),
                Genuine::Request(_) | Genuine::Manifest(_) | Genuine::Other(_) => continue,
            };
            self.key(kid, place)
                .map_err(|failure| failure.at(&format!("statement {}", index + 1)))?;
        }
        report.pass(match self.manifests.last() {
            Some(newest) => format!(
                "version {} revokes none of the keys before the statements were logged; later \
                 versions are not known",
                newest.manifest().version
            ),
            None => String::new(),
        });
        Ok(())
    }

    fn key(&self, kid: KeyThumbprint, place: Option<&LogPosition>) -> Result<(), Failure> {
        let revoking = self
            .manifests
            .iter()
            .zip(&self.places)
            .find(|(manifest, _)| manifest.manifest().revoked.contains(&kid));
        let Some((manifest, revoked_at)) = revoking else {
            return Ok(());
        };
        let version = manifest.manifest().version;
        let revoked = |why: String| Failure::new(FailureCode::KeyRevoked, why);
        let Some(revoked_at) = revoked_at else {
            return Err(revoked(format!(
                "version {version} revokes key {kid}, and it is not shown when"
            )));
        };
        let Some(place) = place else {
            return Err(revoked(format!(
                "version {version} revokes key {kid}, and the statement is not shown to be logged"
            )));
        };
        if place.origin != revoked_at.origin || place.index >= revoked_at.index {
            return Err(revoked(format!(
                "version {version} revokes key {kid} at entry {} of {}, the statement is in entry \
                 {} of {}",
                revoked_at.index, revoked_at.origin, place.index, place.origin
            )));
        }
        if self.trust.policy().needs_witnesses() && !(place.witnessed && revoked_at.witnessed) {
            return Err(Failure::new(
                FailureCode::QuorumNotMet,
                "which of the two was logged first is not witnessed",
            ));
        }
        Ok(())
    }

    fn contradiction(&self, genuine: &[Genuine<'_>]) -> Result<String, Failure> {
        match genuine {
            [
                Genuine::Record { record: a, .. },
                Genuine::Record { record: b, .. },
            ] => conflict::records(self.proof.kind, a, b),
            [
                Genuine::Commitment { commitment: a, .. },
                Genuine::Commitment { commitment: b, .. },
            ] => conflict::commitments(self.proof.kind, a, b),
            [
                Genuine::Record {
                    record, receipt, ..
                },
                Genuine::Commitment { commitment, .. },
                Genuine::Other(Statement::Leaf { hash, path }),
            ] => conflict::record_replaced((record, &receipt.record), commitment, (hash, path)),
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
            _ => Err(not_shown("the statements are not of the kind")),
        }
    }
}

fn manifest_place(logged: &LoggedManifest, trust: &Trust) -> Result<Option<LogPosition>, Failure> {
    logged
        .log_proof
        .as_ref()
        .map(|proof| LogPosition::of(proof, &logged.manifest, trust))
        .transpose()
}

pub(super) fn is_of(issuer: &OperatorName, accused: &OperatorName) -> Result<(), Failure> {
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
