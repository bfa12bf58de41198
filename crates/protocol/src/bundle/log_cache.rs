//! What logs and witnesses say, each checkpoint checked once.

use std::collections::BTreeMap;
use std::sync::Arc;

use counterfoil_tlog::note::Note;
use counterfoil_tlog::policy::Quorum;

use crate::digest::CheckpointDigest;
use crate::failure::{Failure, FailureCode};
use crate::trust::Trust;
use crate::verify::LogPosition;
use crate::verify::checks::{check_checkpoint, check_inclusion, parse_log_proof};

/// How many checkpoints are remembered. Parts that follow each other mostly share theirs.
const MAX_CACHED: usize = 64;

/// The checkpoints that have been checked, by the digest of their bytes.
#[derive(Debug)]
pub(super) struct LogCache<'t> {
    trust: &'t Trust,
    checked: BTreeMap<CheckpointDigest, Result<Arc<Quorum>, Failure>>,
}

impl<'t> LogCache<'t> {
    pub(super) const fn new(trust: &'t Trust) -> Self {
        Self {
            trust,
            checked: BTreeMap::new(),
        }
    }

    pub(super) const fn trust(&self) -> &'t Trust {
        self.trust
    }

    /// Checks that `entry` is in a trusted log, and says where.
    pub(super) fn place(&mut self, proof: &[u8], entry: &[u8]) -> Result<LogPosition, Failure> {
        let parsed = parse_log_proof(proof)?;
        // A proof is its own lines, an empty line, and the checkpoint verbatim.
        let checkpoint = proof
            .windows(2)
            .position(|pair| pair == b"\n\n")
            .and_then(|end| proof.get(end + 2..))
            .unwrap_or_default();
        let quorum = self.checked(CheckpointDigest::of(checkpoint), || Ok(parsed.note()))?;
        check_inclusion(&parsed, entry, &quorum)?;
        Ok(LogPosition::found(&parsed, &quorum, self.trust))
    }

    /// Checks the checkpoint that a beacon names.
    pub(super) fn beacon(
        &mut self,
        digest: CheckpointDigest,
        note: &[u8],
    ) -> Result<Arc<Quorum>, Failure> {
        let mut parsed = None;
        self.checked(digest, || {
            let note = Note::parse(note)
                .map_err(|error| Failure::new(FailureCode::LogProofMalformed, error.to_string()))?;
            Ok(parsed.insert(note))
        })
    }

    fn checked<'n>(
        &mut self,
        digest: CheckpointDigest,
        note: impl FnOnce() -> Result<&'n Note, Failure>,
    ) -> Result<Arc<Quorum>, Failure> {
        if let Some(known) = self.checked.get(&digest) {
            return known.clone();
        }
        let quorum = note().and_then(|note| check_checkpoint(note, self.trust).map(Arc::new));
        if self.checked.len() >= MAX_CACHED {
            self.checked.clear();
        }
        self.checked.insert(digest, quorum.clone());
        quorum
    }
}
