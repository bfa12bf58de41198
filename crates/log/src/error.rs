//! Why a log cannot run, and why it refuses a request.

use std::path::PathBuf;

use counterfoil_protocol::Failure;
use counterfoil_tlog::{
    checkpoint::CheckpointError, note::KeyError, policy::PolicyError, witness::TreeHead,
};

/// Why a log could not be created, opened or kept running. A log that meets one of these stops.
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
    /// The witness policy is wrong; the message names the line.
    #[error("`{path}`: {source}")]
    Policy {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: PolicyError,
    },
    /// The witness policy names a witness that cannot be asked.
    #[error("`{path}`: {detail}")]
    PolicyUse {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// The private key file holds no usable key, or not this log's.
    #[error("`{path}`: {detail}")]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// The origin of a new log is not a key name.
    #[error("origin `{origin}`: {source}")]
    Origin {
        /// The origin.
        origin: String,
        /// What is wrong.
        source: KeyError,
    },
    /// Files, database or directory lock.
    #[error(transparent)]
    Durable(#[from] counterfoil_durable::Error),
    /// The database failed.
    #[error("database: {0}")]
    Database(#[from] rusqlite::Error),
    /// Something stored does not parse or does not fit what is stored beside it.
    #[error("stored state is damaged: {0}")]
    Damaged(String),
    /// The lock holds another checkpoint than the one this process put there.
    #[error("the lock moved from size `{expected}` without this process")]
    LockMoved {
        /// The size this process expected.
        expected: u64,
    },
    /// The published checkpoint is larger than the lock's: the lock was rolled back, for example by
    /// restoring a backup. Going on would sign a second history.
    #[error("published checkpoint of size `{published}` is ahead of the lock at size `{locked}`")]
    LockBehind {
        /// Size of the published checkpoint.
        published: u64,
        /// Size of the lock's checkpoint.
        locked: u64,
    },
    /// The published checkpoint is not a prefix of the tree: the log has two histories.
    #[error("published checkpoint of size `{size}` contradicts the tree")]
    PublishedContradicts {
        /// Size of the published checkpoint.
        size: u64,
    },
    /// The tiles do not have the signed root and the staged bundle does not mend them.
    #[error("tiles do not match the signed checkpoint of size `{size}`: {detail}")]
    TilesContradict {
        /// Size of the signed checkpoint.
        size: u64,
        /// What was found.
        detail: String,
    },
    /// A tile that exists has other bytes than it should.
    #[error("`{path}` exists with other content")]
    TileContradicts {
        /// Path of the tile.
        path: String,
    },
    /// Someone has seen another history of this log. What was being done is left undone; the log
    /// goes on to serve what it has published.
    #[error("fork suspected: {0}")]
    ForkSuspected(String),
    /// A checkpoint could not be signed.
    #[error("cannot sign: {0}")]
    Sign(#[from] CheckpointError),
    /// The tree cannot grow or is malformed.
    #[error("tree: {0}")]
    Tree(String),
    /// The system has no random bytes for a key, or no thread.
    #[error("system: {0}")]
    System(String),
    /// The address cannot be listened on, or the listener failed.
    #[error("cannot listen on `{address}`: {source}")]
    Listen {
        /// The address of the configuration.
        address: String,
        /// What the system said.
        source: std::io::Error,
    },
}

impl Error {
    /// The tiles lead to another root than the signed one.
    pub(crate) fn wrong_root(head: TreeHead, what: &str) -> Self {
        Self::TilesContradict {
            size: head.size,
            detail: format!("{what} has another root"),
        }
    }
}

/// Why a request is refused.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// 400: the entry is neither a well-formed commitment nor a manifest.
    #[error("{0}")]
    Malformed(Failure),
    /// 400: the request itself is malformed.
    #[error("{0}")]
    Request(String),
    /// 400: no witnesses are configured, so nothing will ever be witnessed.
    #[error("this log has no witnesses")]
    NoWitnesses,
    /// 401: a new operator needs the admission token.
    #[error("a new operator needs the admission token")]
    Unauthorized,
    /// 403: the operator is not registered.
    #[error("operator `{0}` is not registered")]
    OperatorUnknown(String),
    /// 403: the key is unknown or revoked, or the signature or the manifest's chain is wrong.
    #[error("{0}")]
    Forbidden(Failure),
    /// 403: a key of the manifest belongs to another operator.
    #[error("key `{kid}` belongs to operator `{operator}`")]
    KeyTaken {
        /// Thumbprint of the key.
        kid: String,
        /// Its operator.
        operator: String,
    },
    /// 404: no such thing.
    #[error("no such {0}")]
    NotFound(&'static str),
    /// 404: no published checkpoint covers the entry yet.
    #[error("entry `{index}` is not covered by the published checkpoint of size `{size}`")]
    NotCovered {
        /// The index asked for.
        index: u64,
        /// Size of the published checkpoint.
        size: u64,
    },
    /// 404: no tree of this size is published yet.
    #[error("no tree of size `{size}` is published, only up to `{published}`")]
    NotPublished {
        /// The size asked for.
        size: u64,
        /// Size of the published checkpoint.
        published: u64,
    },
    /// 409: not the next batch of its stream.
    #[error("batch `{batch}` is not the next of its stream, `{expected}` is")]
    NotNextBatch {
        /// The commitment's batch number.
        batch: u64,
        /// The next batch number.
        expected: u64,
    },
    /// 409: the next batch, but it does not continue where the one before ended.
    #[error("batch `{batch}` does not continue its stream: {detail}")]
    ChainBroken {
        /// The commitment's batch number.
        batch: u64,
        /// What does not fit.
        detail: String,
    },
    /// 409: not the next version of the operator's manifest.
    #[error("manifest version `{version}` is not the next, `{expected}` is")]
    NotNextVersion {
        /// The manifest's version.
        version: u64,
        /// The next version.
        expected: u64,
    },
    /// 408: the body did not arrive in time.
    #[error("the body took too long")]
    SlowBody,
    /// 413: larger than an entry may be.
    #[error("an entry has at most 65535 bytes")]
    TooLarge,
    /// 503: too many submissions are being answered.
    #[error("too many requests at the same time")]
    Busy,
    /// 503: too much is waiting to be sequenced.
    #[error("too many entries are waiting")]
    PoolFull,
    /// 503: too much is waiting to be witnessed and published.
    #[error("too many entries are not published yet")]
    BacklogFull,
    /// 503: a witness has seen another history of this log. It signs nothing more.
    #[error("{0}")]
    ForkSuspected(String),
    /// 503: the entry is taken, but nothing is logged before enough witnesses have confirmed, since
    /// this process started, that they know no newer checkpoint than the log does.
    #[error("witnesses have not confirmed the log's newest checkpoint yet; submit the entry again")]
    ForkUnconfirmed,
    /// 503: the process is ending.
    #[error("the log is stopping")]
    Stopping,
    /// 504: the entry is taken and not logged yet. It has no index before it is.
    #[error("the entry may be logged; submit it again to find out")]
    NotLogged,
    /// 504: the entry is logged, but what was to be waited for did not happen in time.
    #[error("entry `{index}` is not {what} yet; it stays in the log")]
    Timeout {
        /// Index of the entry.
        index: u64,
        /// What was waited for.
        what: &'static str,
    },
    /// 500: a fault of the log.
    #[error("{0}")]
    Internal(String),
}

impl Refusal {
    /// A stable code for machines.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Malformed(failure) | Self::Forbidden(failure) => failure.code().as_str(),
            Self::Request(_) => "malformed_request",
            Self::NoWitnesses => "no_witnesses",
            Self::Unauthorized => "admission_token",
            Self::OperatorUnknown(_) => "operator_unknown",
            Self::KeyTaken { .. } => "key_taken",
            Self::NotFound(_) => "not_found",
            Self::NotCovered { .. } => "not_covered",
            Self::NotPublished { .. } => "not_published",
            Self::NotNextBatch { .. } => "not_next_batch",
            Self::ChainBroken { .. } => "chain_broken",
            Self::NotNextVersion { .. } => "not_next_version",
            Self::TooLarge => "entry_too_large",
            Self::SlowBody => "slow_body",
            Self::Busy => "busy",
            Self::PoolFull => "pool_full",
            Self::BacklogFull => "backlog_full",
            Self::ForkSuspected(_) => "fork_suspected",
            Self::ForkUnconfirmed => "fork_unconfirmed",
            Self::Stopping => "stopping",
            Self::NotLogged | Self::Timeout { .. } => "timeout",
            Self::Internal(_) => "internal",
        }
    }

    /// The HTTP status of the answer.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::Malformed(_) | Self::Request(_) | Self::NoWitnesses => 400,
            Self::Unauthorized => 401,
            Self::OperatorUnknown(_) | Self::Forbidden(_) | Self::KeyTaken { .. } => 403,
            Self::NotFound(_) | Self::NotCovered { .. } | Self::NotPublished { .. } => 404,
            Self::NotNextBatch { .. } | Self::ChainBroken { .. } | Self::NotNextVersion { .. } => {
                409
            }
            Self::SlowBody => 408,
            Self::TooLarge => 413,
            Self::Internal(_) => 500,
            Self::Busy
            | Self::PoolFull
            | Self::BacklogFull
            | Self::ForkSuspected(_)
            | Self::ForkUnconfirmed
            | Self::Stopping => 503,
            Self::NotLogged | Self::Timeout { .. } => 504,
        }
    }
}
