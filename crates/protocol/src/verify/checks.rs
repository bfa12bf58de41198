//! What every verification of this crate has to check, whatever file it comes in.

use counterfoil_tlog::note::{Note, NoteError};
use counterfoil_tlog::policy::{PolicyCheckError, Quorum};
use counterfoil_tlog::proof::verify_inclusion;
use counterfoil_tlog::tlog_proof::TlogProof;
use counterfoil_tlog::tree::leaf_hash;

use super::steps::LogPosition;
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
    if manifests.is_empty() {
        return Err(Failure::new(
            FailureCode::ManifestChainBroken,
            format!("no manifest of {operator}"),
        ));
    }
    let parsed = manifests
        .iter()
        .map(|logged| UnverifiedManifest::parse(&logged.manifest))
        .collect::<Result<Vec<_>, _>>()?;
    for manifest in &parsed {
        if manifest.operator() != operator {
            return Err(Failure::new(
                FailureCode::ManifestChainBroken,
                format!(
                    "a manifest of {}, one of {operator} is needed",
                    manifest.operator()
                ),
            ));
        }
    }
    let mut chain: Vec<VerifiedManifest> = Vec::with_capacity(manifests.len());
    for manifest in parsed {
        chain.push(match chain.last() {
            None => manifest.verify_first(|root| trusted.contains(root))?,
            Some(before) => manifest.verify_next(before)?,
        });
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

/// Checks that no manifest revokes a key: what is not logged has no place to judge by, so that any
/// revocation counts. A key that was only left out keeps the worth of what it signed.
pub(crate) fn not_revoked(
    manifests: &[VerifiedManifest],
    kid: KeyThumbprint,
) -> Result<(), Failure> {
    match manifests.last().map(VerifiedManifest::manifest) {
        Some(newest) if newest.revoked.contains(&kid) => Err(Failure::new(
            FailureCode::KeyRevoked,
            format!("{} has revoked key {kid}", newest.operator),
        )),
        _ => Ok(()),
    }
}

/// Checks that each disclosure hashes to what the record holds, and that what should be a name is
/// one.
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
        disclosure.check_content()?;
    }
    Ok(())
}

/// Checks that `entry` is in a trusted log. The quorum may not be met.
pub(crate) fn check_log_proof(
    proof: &[u8],
    entry: &[u8],
    trust: &Trust,
) -> Result<(TlogProof, Quorum), Failure> {
    let proof = parse_log_proof(proof)?;
    let quorum = check_checkpoint(proof.note(), trust)?;
    check_inclusion(&proof, entry, &quorum)?;
    Ok((proof, quorum))
}

/// Parses a log proof.
pub(crate) fn parse_log_proof(proof: &[u8]) -> Result<TlogProof, Failure> {
    let malformed = |detail: String| Failure::new(FailureCode::LogProofMalformed, detail);
    let proof = TlogProof::parse(proof).map_err(|error| malformed(error.to_string()))?;
    if proof.extra().is_some() {
        // Nothing authenticates the extra line, so a receipt has none.
        return Err(malformed("the proof has an extra line".to_owned()));
    }
    Ok(proof)
}

/// Checks that a trusted log signed a checkpoint. The quorum may not be met.
pub(crate) fn check_checkpoint(note: &Note, trust: &Trust) -> Result<Quorum, Failure> {
    trust
        .policy()
        .check(note)
        .map_err(|error| policy_failure(error, trust))
}

/// Checks that `entry` is in the tree of a checkpoint that has been checked.
pub(crate) fn check_inclusion(
    proof: &TlogProof,
    entry: &[u8],
    quorum: &Quorum,
) -> Result<(), Failure> {
    let tree = quorum.checkpoint();
    verify_inclusion(
        &leaf_hash(entry),
        proof.index(),
        tree.size(),
        proof.path(),
        tree.root(),
    )
    .map_err(|error| Failure::new(FailureCode::LogPathInvalid, error.to_string()))
}

/// Checks that the manifests are in the log, in order, and that before `logged` one of them lists
/// the key `kid` and none revokes it. `place` checks a manifest's log proof. The answer is the size
/// of the log up to which the keys are known. Spec: verification §3.
pub(crate) fn manifests_in_log(
    parts: &[LoggedManifest],
    manifests: &[VerifiedManifest],
    kid: KeyThumbprint,
    logged: &LogPosition,
    mut place: impl FnMut(&LoggedManifest, &[u8]) -> Result<LogPosition, Failure>,
) -> Result<u64, Failure> {
    let not_logged = |detail: String| Failure::new(FailureCode::ManifestNotLogged, detail);
    let mut listed = false;
    let mut known_to = 0;
    let mut previous_index = None;
    for (part, verified) in parts.iter().zip(manifests) {
        let manifest = verified.manifest();
        let version = manifest.version;
        let proof = part
            .log_proof
            .as_ref()
            .ok_or_else(|| not_logged(format!("version {version} comes without a log proof")))?;
        let found = place(part, proof)
            .map_err(|failure| failure.at(&format!("manifest version {version}")))?;
        if found.origin != logged.origin {
            return Err(not_logged(format!("version {version} is in another log")));
        }
        if logged.witnessed && !found.witnessed {
            return Err(Failure::new(
                FailureCode::QuorumNotMet,
                format!("the quorum is not met for manifest version {version}"),
            ));
        }
        if previous_index.is_some_and(|previous| found.index <= previous) {
            return Err(not_logged(format!(
                "version {version} is logged out of order"
            )));
        }
        previous_index = Some(found.index);
        // Up to here nothing can have changed: every version so far has been shown.
        known_to = found.index.saturating_add(1);
        if found.index < logged.index {
            listed |= manifest.enforcers.iter().any(|key| key.thumbprint() == kid);
            if manifest.revoked.contains(&kid) {
                return Err(Failure::new(
                    FailureCode::KeyRevoked,
                    format!(
                        "key {kid} was revoked at entry {}, the commitment is entry {}",
                        found.index, logged.index
                    ),
                ));
            }
        }
    }
    if !listed {
        return Err(not_logged(format!(
            "no manifest that lists key {kid} was logged before entry {}",
            logged.index
        )));
    }
    Ok(known_to)
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
