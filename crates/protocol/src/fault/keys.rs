//! Whether the keys of the accused were revoked before their statements were logged. Spec: faults §5.

use super::kind::FaultKind;
use super::report::{FaultReport, FaultStepName};
use super::verify::{Case, Genuine};
use crate::digest::KeyThumbprint;
use crate::failure::{Failure, FailureCode};
use crate::receipt::LoggedManifest;
use crate::trust::Trust;
use crate::verify::LogPosition;

/// Where a manifest is logged, if that is shown.
pub(super) fn manifest_place(
    logged: &LoggedManifest,
    trust: &Trust,
) -> Result<Option<LogPosition>, Failure> {
    logged
        .log_proof
        .as_ref()
        .map(|proof| LogPosition::of(proof, &logged.manifest, trust))
        .transpose()
}

impl Case<'_> {
    /// Checks that each statement was logged before its key was revoked, if it was.
    pub(super) fn keys(
        &self,
        genuine: &[Genuine<'_>],
        report: &mut FaultReport,
    ) -> Result<(), Failure> {
        report.begin(FaultStepName::Keys);
        if self.proof.kind == FaultKind::ManifestFork {
            report.absent("each manifest is signed with a root key of the version before");
            return Ok(());
        }
        for (index, statement) in genuine.iter().enumerate() {
            let (kid, place) = match statement {
                Genuine::Record { record, place, .. } => (record.kid(), place.as_ref()),
                Genuine::Commitment { commitment, place } => (commitment.kid(), place.as_ref()),
                _ => continue,
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
}
