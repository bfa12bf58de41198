//! The steps of a verification, one function each. Spec: verification §2.

use counterfoil_tlog::note::Note;
use counterfoil_tlog::policy::Quorum;
use counterfoil_tlog::tlog_proof::TlogProof;
use counterfoil_tlog::tree::Hash;

use super::checks::{
    check_disclosures, check_log_proof, listed_key, manifest_chain, manifests_in_log, not_revoked,
    policy_failure,
};
use super::report::{Facts, Report, StepName};
use crate::batch;
use crate::commitment::{UnverifiedCommitment, VerifiedCommitment};
use crate::digest::{CheckpointDigest, KeyThumbprint};
use crate::disclosure::{self, DisclosedField};
use crate::failure::{Failure, FailureCode};
use crate::keys::PublicKey;
use crate::manifest::VerifiedManifest;
use crate::names::OperatorName;
use crate::numbers::UnixSeconds;
use crate::receipt::Receipt;
use crate::record::{UnverifiedRecord, VerifiedRecord};
use crate::trust::Trust;

/// Where something stands in the log.
#[derive(Clone, Debug)]
pub(crate) struct LogPosition {
    /// The index of its entry.
    pub(crate) index: u64,
    size: u64,
    /// The origin of the log.
    pub(crate) origin: String,
    /// It was there by then: from the witnesses.
    pub(crate) not_after: Option<UnixSeconds>,
    /// Whether the quorum is met.
    pub(crate) witnessed: bool,
}

impl LogPosition {
    /// Checks that `entry` is in a trusted log, and says where.
    pub(crate) fn of(proof: &[u8], entry: &[u8], trust: &Trust) -> Result<Self, Failure> {
        let (proof, quorum) = check_log_proof(proof, entry, trust)?;
        Ok(Self::found(&proof, &quorum, trust))
    }

    /// What a log proof that has been checked says.
    pub(crate) fn found(proof: &TlogProof, quorum: &Quorum, trust: &Trust) -> Self {
        let checkpoint = quorum.checkpoint();
        Self {
            index: proof.index(),
            size: checkpoint.size(),
            origin: checkpoint.origin().as_str().to_owned(),
            not_after: quorum.not_after().map(UnixSeconds::new),
            witnessed: quorum.is_met() && trust.policy().needs_witnesses(),
        }
    }
}

pub(super) fn record(receipt: &Receipt, report: &mut Report) -> Result<UnverifiedRecord, Failure> {
    report.begin(StepName::Record);
    let record = UnverifiedRecord::parse(&receipt.record)?;
    report.pass(format!(
        "{} {} of {}, id {}",
        record.unverified_content().body.kind(),
        record.unverified_content().sequence,
        record.issuer(),
        record.id()
    ));
    Ok(record)
}

pub(super) fn manifests(
    receipt: &Receipt,
    operator: &OperatorName,
    trust: &Trust,
    report: &mut Report,
) -> Result<Vec<VerifiedManifest>, Failure> {
    report.begin(StepName::Manifests);
    let chain = manifest_chain(&receipt.manifests, operator, trust)?;
    if let Some(last) = chain.last() {
        report.pass(format!(
            "version {} of {operator}, an unbroken chain from a trusted root key",
            last.manifest().version
        ));
    }
    Ok(chain)
}

pub(super) fn key(
    manifests: &[VerifiedManifest],
    operator: &OperatorName,
    kid: KeyThumbprint,
    report: &mut Report,
) -> Result<PublicKey, Failure> {
    report.begin(StepName::Key);
    let key = listed_key(manifests, operator, kid)?.clone();
    report.pass(format!("enforcer key {kid} is listed by {operator}"));
    Ok(key)
}

pub(super) fn record_signature(
    record: UnverifiedRecord,
    key: &PublicKey,
    report: &mut Report,
) -> Result<VerifiedRecord, Failure> {
    report.begin(StepName::RecordSignature);
    let record = record.verify(key)?;
    report.facts = Some(Facts {
        id: record.id(),
        issuer: record.issuer().clone(),
        kid: record.kid(),
        record: record.record().clone(),
    });
    report.pass("Ed25519, verified strictly".to_owned());
    Ok(record)
}

pub(super) fn disclosures(
    receipt: &Receipt,
    record: &VerifiedRecord,
    report: &mut Report,
) -> Result<(), Failure> {
    report.begin(StepName::Disclosures);
    check_disclosures(&receipt.disclosures, record)?;
    report.disclosed = receipt.disclosures.iter().map(|each| each.field).collect();
    report.hidden = disclosure::hidden(record.record(), &receipt.disclosures);
    let names = |fields: &[DisclosedField]| {
        let names: Vec<&str> = fields.iter().map(|field| field.name()).collect();
        names.join(", ")
    };
    let hidden = match report.hidden.as_slice() {
        [] => "nothing stays closed".to_owned(),
        hidden => format!("still closed: {}", names(hidden)),
    };
    match report.disclosed.as_slice() {
        [] => report.absent(&format!("nothing is disclosed; {hidden}")),
        disclosed => {
            let disclosed = names(disclosed);
            report.pass(format!(
                "disclosed and equal to the record: {disclosed}; {hidden}"
            ));
        }
    }
    Ok(())
}

pub(super) fn commitment(
    receipt: &Receipt,
    record: &VerifiedRecord,
    key: &PublicKey,
    report: &mut Report,
) -> Result<Option<VerifiedCommitment>, Failure> {
    report.begin(StepName::Commitment);
    let Some(batch) = &receipt.batch else {
        report.absent("the receipt holds no commitment");
        return Ok(None);
    };
    let commitment = UnverifiedCommitment::parse(&batch.commitment)
        .map_err(|failure| failure.at("commitment"))?;
    if commitment.kid() != record.kid() || commitment.issuer() != record.issuer() {
        return Err(Failure::new(
            FailureCode::CommitmentStreamMismatch,
            format!(
                "the record is of stream {} of {}, the commitment of {} of {}",
                record.kid(),
                record.issuer(),
                commitment.kid(),
                commitment.issuer()
            ),
        ));
    }
    let commitment = commitment
        .verify(key)
        .map_err(|failure| failure.at("commitment"))?;
    let content = commitment.commitment();
    content.index_of(record.record().sequence)?;
    report.pass(format!(
        "batch {} signed by the same key, {} records from {}",
        content.number, content.count, content.first
    ));
    Ok(Some(commitment))
}

pub(super) fn batch_path(
    record_bytes: &[u8],
    record: &VerifiedRecord,
    commitment: &VerifiedCommitment,
    path: &[Hash],
    report: &mut Report,
) -> Result<(), Failure> {
    report.begin(StepName::BatchPath);
    let content = commitment.commitment();
    let index = content.index_of(record.record().sequence)?;
    batch::verify_path(record_bytes, index, content.count, path, &content.root)?;
    report.pass(format!("the record is leaf {index} of the batch's tree"));
    Ok(())
}

pub(super) fn log(
    receipt: &Receipt,
    trust: &Trust,
    report: &mut Report,
) -> Result<Option<LogPosition>, Failure> {
    report.begin(StepName::LogInclusion);
    let (Some(proof), Some(batch)) = (&receipt.log_proof, &receipt.batch) else {
        report.absent("the receipt holds no proof from a log");
        return Ok(None);
    };
    let (proof, quorum) = check_log_proof(proof, &batch.commitment, trust)?;
    let needs_witnesses = trust.policy().needs_witnesses();
    let logged = LogPosition::found(&proof, &quorum, trust);
    report.pass(format!(
        "entry {} of {}, in its tree of size {}",
        logged.index, logged.origin, logged.size
    ));

    report.begin(StepName::Witnesses);
    let names: Vec<_> = quorum
        .cosignatures()
        .iter()
        .map(|c| String::from_utf8_lossy(c.witness()))
        .collect();
    if logged.witnessed {
        report.pass(format!(
            "the quorum is met, cosigned by {}",
            names.join(", ")
        ));
    } else if needs_witnesses {
        report.absent(&format!(
            "the quorum is not met, cosigned by {} witnesses",
            names.len()
        ));
    } else {
        report.absent("the trust file asks for no witnesses");
    }
    Ok(Some(logged))
}

pub(super) fn manifest_log(
    receipt: &Receipt,
    manifests: &[VerifiedManifest],
    kid: KeyThumbprint,
    logged: Option<&LogPosition>,
    trust: &Trust,
    report: &mut Report,
) -> Result<(), Failure> {
    report.begin(StepName::ManifestLog);
    let Some(logged) = logged else {
        not_revoked(manifests, kid)?;
        report.absent("not logged: the newest manifest shown does not revoke the key");
        return Ok(());
    };
    let known_to = manifests_in_log(&receipt.manifests, manifests, kid, logged, |part, proof| {
        LogPosition::of(proof, &part.manifest, trust)
    })?;
    report.keys_known_to_size = Some(known_to);
    report.pass(format!(
        "the key was listed before entry {}; no manifest shown revokes it, and manifests logged \
         after size {known_to} are not known",
        logged.index
    ));
    Ok(())
}

pub(super) fn time_bounds(
    receipt: &Receipt,
    record: &VerifiedRecord,
    logged: Option<&LogPosition>,
    trust: &Trust,
    report: &mut Report,
) -> Result<(), Failure> {
    report.begin(StepName::TimeBounds);
    if let Some(note) = &receipt.beacon {
        let named = record.record().beacon.ok_or_else(|| {
            Failure::new(FailureCode::BeaconMismatch, "the record names no beacon")
        })?;
        if named.checkpoint != CheckpointDigest::of(note) {
            return Err(Failure::new(
                FailureCode::BeaconMismatch,
                format!("the record names checkpoint {}", named.checkpoint),
            ));
        }
        let note = Note::parse(note)
            .map_err(|error| Failure::new(FailureCode::LogProofMalformed, error.to_string()))?;
        let quorum = trust
            .policy()
            .check(&note)
            .map_err(|error| policy_failure(error, trust))?;
        if quorum.checkpoint().size() != named.size {
            return Err(Failure::new(
                FailureCode::BeaconMismatch,
                format!("the record says size {}", named.size),
            ));
        }
        report.not_before = quorum.not_before().map(UnixSeconds::new);
    }
    report.not_after = logged.and_then(|logged| logged.not_after);
    if let (Some(from), Some(to)) = (report.not_before, report.not_after)
        && from > to
    {
        return Err(Failure::new(
            FailureCode::TimeBoundsContradict,
            format!("not before {from} and not after {to}"),
        ));
    }
    if report.not_before.is_none() && report.not_after.is_none() {
        report.absent("no witness bounds the time; it rests on the operator's own clock");
        return Ok(());
    }
    let claimed = record.record().time.seconds();
    let within = report.not_before.is_none_or(|from| claimed >= from)
        && report.not_after.is_none_or(|to| claimed <= to);
    report.time_within_bounds = Some(within);
    let bound = |bound: Option<UnixSeconds>| bound.map_or("unknown".to_owned(), |b| b.to_string());
    report.pass(format!(
        "not before {}, not after {}; the operator claims {claimed}, {} the bounds",
        bound(report.not_before),
        bound(report.not_after),
        if within { "within" } else { "OUTSIDE" }
    ));
    Ok(())
}
