//! One error for callers that use several modules.

use thiserror::Error;

use crate::checkpoint::CheckpointError;
use crate::ed25519::Ed25519Error;
use crate::note::{KeyError, NoteError};
use crate::policy::{PolicyCheckError, PolicyError};
use crate::proof::ProofError;
use crate::tile::TileError;
use crate::tlog_proof::TlogProofError;
use crate::tree::TreeError;
use crate::witness::{Refusal, WitnessError};

/// Any error of this crate.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Error {
    /// From [`checkpoint`](crate::checkpoint) and [`cosignature`](crate::cosignature).
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// From [`ed25519`](crate::ed25519).
    #[error(transparent)]
    Ed25519(#[from] Ed25519Error),
    /// From keys in [`note`](crate::note).
    #[error(transparent)]
    Key(#[from] KeyError),
    /// From notes in [`note`](crate::note).
    #[error(transparent)]
    Note(#[from] NoteError),
    /// From parsing in [`policy`](crate::policy).
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// From checking in [`policy`](crate::policy).
    #[error(transparent)]
    PolicyCheck(#[from] PolicyCheckError),
    /// From [`proof`](crate::proof).
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// From decisions in [`witness`](crate::witness).
    #[error(transparent)]
    Refusal(#[from] Refusal),
    /// From [`tile`](crate::tile).
    #[error(transparent)]
    Tile(#[from] TileError),
    /// From [`tlog_proof`](crate::tlog_proof).
    #[error(transparent)]
    TlogProof(#[from] TlogProofError),
    /// From [`tree`](crate::tree).
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// From parsing in [`witness`](crate::witness).
    #[error(transparent)]
    Witness(#[from] WitnessError),
}

impl Error {
    /// A stable code for machines.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Checkpoint(error) => error.code(),
            Self::Ed25519(error) => error.code(),
            Self::Key(error) => error.code(),
            Self::Note(error) => error.code(),
            Self::Policy(error) => error.code(),
            Self::PolicyCheck(error) => error.code(),
            Self::Proof(error) => error.code(),
            Self::Refusal(error) => error.code(),
            Self::Tile(error) => error.code(),
            Self::TlogProof(error) => error.code(),
            Self::Tree(error) => error.code(),
            Self::Witness(error) => error.code(),
        }
    }
}
