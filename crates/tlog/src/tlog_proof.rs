//! Offline proofs that an entry is logged (c2sp.org/tlog-proof, files named `.tlog-proof`).
//!
//! A proof carries an index, an inclusion path and a checkpoint with its signatures. Together with
//! a [`Policy`] it needs nothing else to be verified.

use core::fmt;

use thiserror::Error;

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::note::{Note, NoteError};
use crate::policy::{Policy, PolicyCheckError, Quorum};
use crate::proof::{MAX_HASHES, ProofError, verify_inclusion};
use crate::text::{base64_decode, base64_encode, parse_decimal};
use crate::tree::Hash;

/// The first line of every proof.
pub const HEADER: &str = "c2sp.org/tlog-proof@v1";

/// The most bytes of extra data a proof may carry. The specification leaves the limit open.
pub const MAX_EXTRA_BYTES: usize = 1 << 20;

/// Why a proof was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TlogProofError {
    /// The bytes before the checkpoint are not UTF-8, or no empty line ends them.
    #[error("proof is not text with an empty line before its checkpoint")]
    Form,
    /// The first line is not [`HEADER`].
    #[error("first line is not `c2sp.org/tlog-proof@v1`")]
    Header,
    /// The extra line is empty, too large or not strict base64.
    #[error("extra data is empty, too large or not strict base64")]
    Extra,
    /// The index line is missing or not a decimal without leading zeroes.
    #[error("index line is missing or not a decimal without leading zeroes")]
    Index,
    /// A path line is not 32 bytes of strict base64.
    #[error("path line `{0}` is not 32 bytes of strict base64")]
    PathHash(usize),
    /// There are more than 63 path lines.
    #[error("path has more than 63 hashes")]
    PathTooLong,
    /// The checkpoint is not a signed note.
    #[error("checkpoint: {0}")]
    Note(NoteError),
    /// The signed note is not a checkpoint.
    #[error("checkpoint: {0}")]
    Checkpoint(CheckpointError),
    /// The inclusion path does not verify.
    #[error("inclusion: {0}")]
    Inclusion(ProofError),
    /// The checkpoint does not satisfy the policy.
    #[error(transparent)]
    Policy(#[from] PolicyCheckError),
}

impl TlogProofError {
    /// A stable code for machines.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Form => "tlog_proof_form",
            Self::Header => "tlog_proof_header",
            Self::Extra => "tlog_proof_extra",
            Self::Index => "tlog_proof_index",
            Self::PathHash(_) => "tlog_proof_path_hash",
            Self::PathTooLong => "tlog_proof_path_too_long",
            Self::Note(error) => error.code(),
            Self::Checkpoint(error) => error.code(),
            Self::Inclusion(error) => error.code(),
            Self::Policy(error) => error.code(),
        }
    }
}

/// A proof as read or made; believe nothing in it before [`TlogProof::verify`] or
/// [`TlogProof::check`]. The extra data is never authenticated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlogProof {
    extra: Option<Vec<u8>>,
    index: u64,
    path: Vec<Hash>,
    // INVARIANT: a note prints to the bytes it was parsed from, so this is the checkpoint verbatim.
    note: Note,
    checkpoint: Checkpoint,
}

impl TlogProof {
    /// Puts a proof together. `checkpoint` is the signed note, with all signatures to be kept.
    ///
    /// # Errors
    /// [`TlogProofError`] when the note is not a checkpoint or a limit is exceeded.
    pub fn new(
        extra: Option<Vec<u8>>,
        index: u64,
        path: Vec<Hash>,
        checkpoint: Note,
    ) -> Result<Self, TlogProofError> {
        if extra.as_ref().is_some_and(|extra| !is_extra(extra)) {
            return Err(TlogProofError::Extra);
        }
        if path.len() > MAX_HASHES {
            return Err(TlogProofError::PathTooLong);
        }
        let parsed = Checkpoint::parse(checkpoint.text()).map_err(TlogProofError::Checkpoint)?;
        Ok(Self {
            extra,
            index,
            path,
            note: checkpoint,
            checkpoint: parsed,
        })
    }

    /// Parses a proof (tlog-proof, section "Format"). Only the canonical spelling is accepted.
    ///
    /// # Errors
    /// [`TlogProofError`] naming what is malformed.
    pub fn parse(bytes: &[u8]) -> Result<Self, TlogProofError> {
        let end = bytes
            .windows(2)
            .position(|pair| pair == b"\n\n")
            .ok_or(TlogProofError::Form)?;
        let (head, rest) = bytes.split_at_checked(end).ok_or(TlogProofError::Form)?;
        let head = core::str::from_utf8(head).map_err(|_| TlogProofError::Form)?;
        let note = rest.strip_prefix(b"\n\n").ok_or(TlogProofError::Form)?;

        let mut lines = head.split('\n');
        if lines.next() != Some(HEADER) {
            return Err(TlogProofError::Header);
        }
        let mut line = lines.next().ok_or(TlogProofError::Index)?;
        let mut extra = None;
        if let Some(encoded) = line.strip_prefix("extra ") {
            let decoded = base64_decode(encoded).filter(|extra| is_extra(extra));
            extra = Some(decoded.ok_or(TlogProofError::Extra)?);
            line = lines.next().ok_or(TlogProofError::Index)?;
        }
        let index = line.strip_prefix("index ").and_then(parse_decimal);
        let index = index.ok_or(TlogProofError::Index)?;
        let mut path = Vec::new();
        for (number, line) in lines.enumerate() {
            if number == MAX_HASHES {
                return Err(TlogProofError::PathTooLong);
            }
            path.push(Hash::parse(line).ok_or(TlogProofError::PathHash(number + 1))?);
        }
        let note = Note::parse(note).map_err(TlogProofError::Note)?;
        Self::new(extra, index, path, note)
    }

    /// Unauthenticated data the log added, or none.
    #[must_use]
    pub fn extra(&self) -> Option<&[u8]> {
        self.extra.as_deref()
    }

    /// The claimed index of the entry.
    #[must_use]
    pub const fn index(&self) -> u64 {
        self.index
    }

    /// The inclusion path, the leaf's sibling first.
    #[must_use]
    pub fn path(&self) -> &[Hash] {
        &self.path
    }

    /// The checkpoint with its signatures; it prints to the bytes that were parsed.
    #[must_use]
    pub const fn note(&self) -> &Note {
        &self.note
    }

    /// What the checkpoint says, not yet verified.
    #[must_use]
    pub const fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Checks that a log of the policy signed the checkpoint and that the leaf is in its tree, and
    /// says which witnesses cosigned. **Does not require the quorum**: look at [`Quorum::is_met`],
    /// or call [`TlogProof::verify`].
    ///
    /// # Errors
    /// [`TlogProofError::Policy`] or [`TlogProofError::Inclusion`].
    pub fn check(&self, leaf: &Hash, policy: &Policy) -> Result<Quorum, TlogProofError> {
        let quorum = policy.check(&self.note)?;
        let tree = quorum.checkpoint();
        verify_inclusion(leaf, self.index, tree.size(), &self.path, tree.root())
            .map_err(TlogProofError::Inclusion)?;
        Ok(quorum)
    }

    /// Checks all that [`TlogProof::check`] does and that the quorum is met.
    ///
    /// # Errors
    /// As [`TlogProof::check`], and [`PolicyCheckError::QuorumNotMet`].
    pub fn verify(&self, leaf: &Hash, policy: &Policy) -> Result<Quorum, TlogProofError> {
        let quorum = self.check(leaf, policy)?;
        if quorum.is_met() {
            Ok(quorum)
        } else {
            Err(PolicyCheckError::QuorumNotMet.into())
        }
    }
}

/// Writes the bytes of the proof.
fn is_extra(extra: &[u8]) -> bool {
    !extra.is_empty() && extra.len() <= MAX_EXTRA_BYTES
}

impl fmt::Display for TlogProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEADER}")?;
        if let Some(extra) = &self.extra {
            writeln!(f, "extra {}", base64_encode(extra))?;
        }
        writeln!(f, "index {}", self.index)?;
        self.path
            .iter()
            .try_for_each(|hash| writeln!(f, "{hash}"))?;
        write!(f, "\n{}", self.note)
    }
}
