//! What every verification of this crate has to check, whatever file it comes in.

use counterfoil_tlog::note::NoteError;
use counterfoil_tlog::policy::{PolicyCheckError, Quorum};
use counterfoil_tlog::tlog_proof::{TlogProof, TlogProofError};
use counterfoil_tlog::tree::leaf_hash;

use crate::digest::KeyThumbprint;
use crate::disclosure::Disclosure;
use crate::failure::{Failure, FailureCode};
use crate::keys::PublicKey;
use crate::manifest::{UnverifiedManifest, VerifiedManifest};
use crate::names::OperatorName;
use crate::receipt::LoggedManifest;
use crate::record::VerifiedRecord;
use crate::trust::Trust;

/// Checks that the manifests are an unbroken chain of `operator` from a trusted root key. There is
/// at least one.
pub(crate) fn manifest_chain(
    manifests: &[LoggedManifest],
    operator: &OperatorName,
    trust: &Trust,
) -> Result<Vec<VerifiedManifest>, Failure> {
    let trusted = trust.roots(operator)?;
    let mut chain: Vec<VerifiedManifest> = Vec::with_capacity(manifests.len());
    for logged in manifests {
        let manifest = UnverifiedManifest::parse(&logged.manifest)?;
        if manifest.operator() != operator {
            return Err(Failure::new(
                FailureCode::ManifestChainBroken,
                format!(
                    "a manifest of {}, one of {operator} is needed",
                    manifest.operator()
                ),
            ));
        }
        chain.push(match chain.last() {
            None => manifest.verify_first(|root| trusted.contains(root))?,
            Some(before) => manifest.verify_next(before)?,
        });
    }
    if chain.is_empty() {
        return Err(Failure::new(
            FailureCode::ManifestChainBroken,
            format!("no manifest of {operator}"),
        ));
    }
    Ok(chain)
}

/// The enforcer key that one of the manifests lists under this thumbprint, revoked or not.
pub(crate) fn listed_key<'a>(
    manifests: &'a [VerifiedManifest],
    operator: &OperatorName,
    kid: KeyThumbprint,
) -> Result<&'a PublicKey, Failure> {
    manifests
        .iter()
        .flat_map(|manifest| &manifest.manifest().enforcers)
        .find(|key| key.thumbprint() == kid)
        .ok_or_else(|| {
            Failure::new(
                FailureCode::KeyUnknown,
                format!("no manifest of {operator} lists enforcer key {kid}"),
            )
        })
}

/// Checks that each disclosure hashes to what the record holds.
pub(crate) fn check_disclosures(
    disclosures: &[Disclosure],
    record: &VerifiedRecord,
) -> Result<(), Failure> {
    for disclosure in disclosures {
        if record.record().disclosable(disclosure.field) != Some(disclosure.digest()) {
            return Err(Failure::new(
                FailureCode::DisclosureMismatch,
                format!(
                    "what is disclosed is not the {} of the record",
                    disclosure.field.name()
                ),
            ));
        }
    }
    Ok(())
}

/// Checks that `entry` is in a trusted log. The quorum may not be met.
pub(crate) fn check_log_proof(
    proof: &[u8],
    entry: &[u8],
    trust: &Trust,
) -> Result<(TlogProof, Quorum), Failure> {
    let malformed = |detail: String| Failure::new(FailureCode::LogProofMalformed, detail);
    let proof = TlogProof::parse(proof).map_err(|error| malformed(error.to_string()))?;
    if proof.extra().is_some() {
        // Nothing authenticates the extra line, so a receipt has none.
        return Err(malformed("the proof has an extra line".to_owned()));
    }
    let quorum = proof
        .check(&leaf_hash(entry), trust.policy())
        .map_err(|error| match error {
            TlogProofError::Policy(error) => policy_failure(error, trust),
            TlogProofError::Inclusion(error) => {
                Failure::new(FailureCode::LogPathInvalid, error.to_string())
            }
            error => malformed(error.to_string()),
        })?;
    Ok((proof, quorum))
}

/// The code for what a tlog-policy says against a checkpoint.
pub(crate) fn policy_failure(error: PolicyCheckError, trust: &Trust) -> Failure {
    let code = match &error {
        PolicyCheckError::UnknownOrigin(_) => FailureCode::LogUnknown,
        PolicyCheckError::Note(NoteError::BadSignature { name, .. })
            if !trust
                .policy()
                .logs()
                .iter()
                .any(|log| log.key().name() == name) =>
        {
            FailureCode::CosignatureInvalid
        }
        PolicyCheckError::NoLogSignature(_)
        | PolicyCheckError::Note(NoteError::BadSignature { .. }) => {
            FailureCode::CheckpointSignatureInvalid
        }
        PolicyCheckError::QuorumNotMet => FailureCode::QuorumNotMet,
        _ => FailureCode::LogProofMalformed,
    };
    Failure::new(code, error.to_string())
}
