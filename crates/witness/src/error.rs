//! Why a witness cannot run, and why it refuses a request.

use std::path::PathBuf;

use counterfoil_durable::committer::CommitError;
use counterfoil_tlog::{
    checkpoint::CheckpointError,
    note::KeyError,
    witness::{self, WitnessError},
};

/// Why a witness could not be created, opened or kept running.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The configuration has an unknown key, a wrong value or a wrong form.
    #[error("`{path}` line {line}: {detail}")]
    Config {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong with it.
        detail: String,
    },
    /// The private key file holds no usable key.
    #[error("`{path}`: {source}")]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: KeyError,
    },
    /// The private key is not one that makes cosignatures.
    #[error("`{path}` holds no cosignature key (type 0x04)")]
    KeyType {
        /// The file.
        path: PathBuf,
    },
    /// The name for a new witness is not a key name.
    #[error("witness name `{name}`: {source}")]
    Name {
        /// The name.
        name: String,
        /// What is wrong.
        source: KeyError,
    },
    /// The stored state of a log does not parse.
    #[error("stored state of log `{origin}` is damaged: {detail}")]
    State {
        /// The log.
        origin: String,
        /// What is wrong.
        detail: String,
    },
    /// Files, database or directory lock.
    #[error(transparent)]
    Durable(#[from] counterfoil_durable::Error),
    /// A checkpoint could not be stored. The process must stop: what is on the disk is unknown
    /// until it is read again.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The system has no random bytes for a key.
    #[error("no randomness from the system: {0}")]
    Randomness(getrandom::Error),
    /// The address cannot be listened on, or the listener failed.
    #[error("cannot listen on `{address}`: {source}")]
    Listen {
        /// The address of the configuration.
        address: String,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Why a checkpoint is not cosigned.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The request does not have the specified form: 400.
    #[error("malformed request: {0}")]
    Malformed(WitnessError),
    /// The rule of the specification forbids it; it has its own status.
    #[error(transparent)]
    Rule(#[from] witness::Refusal),
    /// The clock is too far behind the last cosignature for this log: 500.
    #[error("clock is `{behind}` seconds behind the last cosignature")]
    ClockBehind {
        /// By how much, in seconds.
        behind: u64,
    },
    /// The cosignature could not be made: 500.
    #[error("cannot cosign: {0}")]
    Cosign(CheckpointError),
    /// The checkpoint could not be stored, so it is not signed: 500.
    #[error("cannot store the checkpoint: {0}")]
    Storage(CommitError),
}

impl Refusal {
    /// A stable code for machines.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Malformed(error) => error.code(),
            Self::Rule(refusal) => refusal.code(),
            Self::ClockBehind { .. } => "clock_behind",
            Self::Cosign(error) => error.code(),
            Self::Storage(_) => "storage_failed",
        }
    }

    /// The HTTP status of the answer.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::Malformed(_) => 400,
            Self::Rule(refusal) => refusal.status(),
            Self::ClockBehind { .. } | Self::Cosign(_) | Self::Storage(_) => 500,
        }
    }
}
