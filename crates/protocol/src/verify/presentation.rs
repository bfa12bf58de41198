//! Step 13: whether the receipt was presented to this verifier. Spec: verification §2, receipts §6.

use super::checks::{check_log_proof, manifest_chain};
use super::report::{Report, StepName};
use super::{Audience, Request};
use crate::failure::{Failure, FailureCode};
use crate::manifest::VerifiedManifest;
use crate::presentation::UnverifiedPresentation;
use crate::receipt::Receipt;
use crate::record::VerifiedRecord;
use crate::trust::Trust;

pub(super) fn presentation(
    receipt: &Receipt,
    record: &VerifiedRecord,
    manifests: &[VerifiedManifest],
    trust: &Trust,
    request: &Request<'_>,
    report: &mut Report,
) -> Result<(), Failure> {
    report.begin(StepName::Presentation);
    let elsewhere = |detail: String| Failure::new(FailureCode::AudienceMismatch, detail);
    let Some(part) = &receipt.presentation else {
        return match request.audience {
            Audience::Presented(name) => Err(elsewhere(format!(
                "the receipt was presented to nobody, and must be to {name}"
            ))),
            Audience::Unnamed | Audience::Named(_) => {
                report.absent("the receipt was presented to nobody in particular");
                Ok(())
            }
        };
    };
    let presentation = UnverifiedPresentation::parse(&part.presentation)?;
    let content = presentation.unverified_content();
    match request.audience {
        Audience::Named(name) | Audience::Presented(name) if *name == content.audience => {}
        Audience::Named(name) | Audience::Presented(name) => {
            return Err(elsewhere(format!(
                "the receipt was presented to {}, and is verified for {name}",
                content.audience
            )));
        }
        Audience::Unnamed => {
            return Err(elsewhere(format!(
                "the receipt was presented to {}, and is verified for nobody named",
                content.audience
            )));
        }
    }
    if content.receipt != receipt.digest() {
        return Err(Failure::new(
            FailureCode::PresentationMismatch,
            "what was presented is another receipt, or this one with other disclosures",
        ));
    }
    let presenter = content.presenter.clone();
    let own;
    let chain = if presenter == *record.issuer() {
        if !part.manifests.is_empty() {
            return Err(Failure::new(
                FailureCode::StructureOutOfRange,
                format!("manifests of {presenter} stand in the receipt twice"),
            ));
        }
        manifests
    } else {
        own = manifest_chain(&part.manifests, &presenter, trust)?;
        for logged in &part.manifests {
            if let Some(proof) = &logged.log_proof {
                // Whether the quorum is met says nothing about the key, whose state is not dated here.
                let (_proof, _quorum) = check_log_proof(proof, &logged.manifest, trust)
                    .map_err(|failure| failure.at("manifest of the presenter"))?;
            }
        }
        &own
    };
    // A presentation has no place in the log: the newest manifest shown decides about its key.
    let key = chain
        .last()
        .map(|newest| newest.manifest().enforcer(presentation.kid()))
        .transpose()?
        .ok_or_else(|| {
            Failure::new(
                FailureCode::ManifestChainBroken,
                format!("no manifest of {presenter}"),
            )
        })?;
    let presented = presentation.verify(key)?;
    report.pass(format!(
        "{presenter} presented it to {} at {}",
        presented.audience, presented.time
    ));
    report.presented = Some(presented);
    Ok(())
}
