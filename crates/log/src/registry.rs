//! Operators and streams as they stand after everything admitted so far, sequenced or waiting.
//!
//! Admission order is log order, and an entry once admitted is either sequenced or the process
//! ends. So this view runs ahead of the disk but never has to be rolled back.

use std::collections::{BTreeMap, HashMap};

use counterfoil_protocol::{
    commitment::VerifiedCommitment,
    digest::{CommitmentDigest, KeyThumbprint},
    keys::PublicKey,
    manifest::{UnverifiedManifest, VerifiedManifest},
    names::OperatorName,
};

use crate::{
    Error, Refusal,
    database::{ManifestRow, StreamRow},
};

/// The operators of the log, their newest manifests and their streams.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    operators: BTreeMap<OperatorName, VerifiedManifest>,
    streams: HashMap<KeyThumbprint, Stream>,
}

/// Where a stream ends.
#[derive(Clone, Debug)]
struct Stream {
    operator: OperatorName,
    key: PublicKey,
    batches: u64,
    records: u64,
    last: Option<CommitmentDigest>,
}

impl Registry {
    /// Restores the registry from what is logged. Every manifest is verified again.
    pub(crate) fn load(manifests: &[ManifestRow], streams: Vec<StreamRow>) -> Result<Self, Error> {
        let mut registry = Self::default();
        for row in manifests {
            let damaged = |reason: String| {
                Error::Damaged(format!(
                    "manifest {} of `{}`: {reason}",
                    row.version, row.operator
                ))
            };
            let manifest = UnverifiedManifest::parse(&row.content)
                .map_err(|failure| damaged(failure.to_string()))?;
            let verified = registry
                .check_manifest(manifest)
                .map_err(|refusal| damaged(refusal.to_string()))?;
            if verified.manifest().operator.as_str() != row.operator {
                return Err(damaged("it is another operator's".to_owned()));
            }
            registry.add_manifest(verified);
        }
        for row in streams {
            let stream = registry
                .streams
                .get_mut(&row.kid)
                .filter(|stream| stream.operator.as_str() == row.operator);
            let Some(stream) = stream else {
                return Err(Error::Damaged(format!(
                    "stream `{}` is in no manifest",
                    row.kid
                )));
            };
            (stream.batches, stream.records) = (row.batches, row.records);
            stream.last = row.last_commitment;
        }
        Ok(registry)
    }

    /// Whether an operator of that name has a manifest.
    pub(crate) fn knows(&self, operator: &OperatorName) -> bool {
        self.operators.contains_key(operator)
    }

    /// The key that may sign commitments of an operator: one that any of its manifests lists, and
    /// that the newest does not revoke. A retired key's last batches may come after the manifest
    /// that leaves it out. Spec: manifests §1.
    pub(crate) fn enforcer(
        &self,
        operator: &OperatorName,
        kid: KeyThumbprint,
    ) -> Result<&PublicKey, Refusal> {
        let newest = self
            .operators
            .get(operator)
            .ok_or_else(|| Refusal::OperatorUnknown(operator.to_string()))?
            .manifest();
        let retired = self
            .streams
            .get(&kid)
            .filter(|stream| stream.operator == *operator && !newest.revoked.contains(&kid));
        match retired {
            Some(stream) => Ok(&stream.key),
            None => newest.enforcer(kid).map_err(Refusal::Forbidden),
        }
    }

    /// Whether a commitment is the next batch of its stream.
    pub(crate) fn check_commitment(&self, verified: &VerifiedCommitment) -> Result<(), Refusal> {
        // The key may have been revoked while the signature was being checked.
        self.enforcer(verified.issuer(), verified.kid())?;
        let stream = self
            .streams
            .get(&verified.kid())
            .ok_or_else(|| Refusal::Internal("a listed key has no stream".to_owned()))?;
        let commitment = verified.commitment();
        let batch = commitment.number.get();
        if batch != stream.batches {
            return Err(Refusal::NotNextBatch {
                batch,
                expected: stream.batches,
            });
        }
        let broken = |detail: String| Err(Refusal::ChainBroken { batch, detail });
        if commitment.first.get() != stream.records {
            return broken(format!(
                "it starts at record `{}`, the next is `{}`",
                commitment.first, stream.records
            ));
        }
        if commitment.previous != stream.last {
            return broken("it names another commitment as the one before".to_owned());
        }
        Ok(())
    }

    /// Moves a stream on by a commitment that was checked.
    pub(crate) fn add_commitment(&mut self, verified: &VerifiedCommitment) {
        if let Some(stream) = self.streams.get_mut(&verified.kid()) {
            stream.batches += 1;
            stream.records += verified.commitment().count;
            stream.last = Some(verified.digest());
        }
    }

    /// Whether a manifest is the first or the next of its operator, and its keys are free.
    pub(crate) fn check_manifest(
        &self,
        manifest: UnverifiedManifest,
    ) -> Result<VerifiedManifest, Refusal> {
        let version = manifest.version().get();
        let before = self.operators.get(manifest.operator());
        let expected = before.map_or(Some(1), |before| {
            before
                .manifest()
                .version
                .next()
                .map(|version| version.get())
        });
        if expected != Some(version) {
            let expected = expected.unwrap_or(u64::MAX);
            return Err(Refusal::NotNextVersion { version, expected });
        }
        let verified = match before {
            // Who may register is decided by the admission token, not by a list of root keys.
            None => manifest.verify_first(|_| true),
            Some(before) => manifest.verify_next(before),
        }
        .map_err(Refusal::Forbidden)?;
        for key in &verified.manifest().enforcers {
            let taken = self
                .streams
                .get(&key.thumbprint())
                .filter(|stream| stream.operator != verified.manifest().operator);
            if let Some(stream) = taken {
                // A key names a stream, so two operators cannot share one.
                return Err(Refusal::KeyTaken {
                    kid: key.thumbprint().to_string(),
                    operator: stream.operator.to_string(),
                });
            }
        }
        Ok(verified)
    }

    /// Takes in a manifest that was checked.
    pub(crate) fn add_manifest(&mut self, verified: VerifiedManifest) {
        let operator = verified.manifest().operator.clone();
        for key in &verified.manifest().enforcers {
            self.streams
                .entry(key.thumbprint())
                .or_insert_with(|| Stream {
                    operator: operator.clone(),
                    key: key.clone(),
                    batches: 0,
                    records: 0,
                    last: None,
                });
        }
        self.operators.insert(operator, verified);
    }
}
