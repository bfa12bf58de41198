//! Why the enforcer cannot work, as opposed to why it denies.

use counterfoil_durable::committer::CommitError;
use counterfoil_protocol::Failure;
use counterfoil_protocol::names::ReasonCode;

/// Why the enforcer could not do what was asked. Whoever gets one of these while deciding denies.
#[derive(Clone, Debug, thiserror::Error)]
pub enum EnforcerError {
    /// The journal could not be opened, created or read.
    #[error("journal: {0}")]
    Journal(String),
    /// The journal does not hold together: something was changed, cut or swapped.
    #[error("the journal does not hold together: {0}")]
    JournalBroken(String),
    /// The journal belongs to another operator or key.
    #[error("the journal belongs to {0}")]
    JournalForeign(String),
    /// The journal was copied or restored, so that it may be older than what was signed since. It is
    /// read, and never continued. Spec: faults §6.
    #[error("the journal was copied or restored and is not continued: {0}")]
    JournalCopied(String),
    /// A record could not be made durable. Nothing is decided any more until the next start.
    #[error("a record could not be written: {0}")]
    Commit(String),
    /// Too many decisions are waiting to be written.
    #[error("too many decisions are waiting to be written")]
    Busy,
    /// More messages that no operator has signed were refused than are recorded. Spec: mcp §5.
    #[error("too many messages without valid evidence were refused")]
    TooManyRefusals,
    /// The enforcer refuses to decide for now.
    #[error("{}", .0.detail())]
    Blocked(Blocked),
    /// The budgets of the configuration cannot be kept.
    #[error("budgets: {0}")]
    Budgets(String),
    /// The system has no randomness to give.
    #[error("no randomness: {0}")]
    Entropy(String),
    /// The numbers of the stream or a channel are used up.
    #[error("the stream has no more numbers")]
    Exhausted,
    /// A name, key or other object is not acceptable.
    #[error("{0}")]
    Protocol(#[from] Failure),
    /// The log refused or could not be reached.
    #[error("log: {0}")]
    Log(String),
    /// What another operator sent is refused.
    #[error("{explanation} ({reason})")]
    Refused {
        /// Why, for machines.
        reason: ReasonCode,
        /// Why, for people.
        explanation: String,
    },
    /// A contract cannot be proposed, accepted or ended.
    #[error("contract: {detail} ({code})")]
    Contract {
        /// A stable code for machines.
        code: &'static str,
        /// What is wrong, for people.
        detail: String,
    },
    /// What was asked for is not there.
    #[error("{0}")]
    NotFound(String),
}

impl EnforcerError {
    /// A stable code for machines.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Journal(_) => "journal_unavailable",
            Self::JournalBroken(_) => "journal_broken",
            Self::JournalForeign(_) => "journal_foreign",
            Self::JournalCopied(_) => "journal_copied",
            Self::Commit(_) => "journal_write_failed",
            Self::Busy => "enforcer_busy",
            Self::TooManyRefusals => "too_many_refusals",
            Self::Blocked(blocked) => blocked.code(),
            Self::Budgets(_) => "budgets_invalid",
            Self::Entropy(_) => "entropy_unavailable",
            Self::Exhausted => "stream_exhausted",
            Self::Protocol(failure) => failure.code().as_str(),
            Self::Log(_) => "log_unavailable",
            Self::Refused { .. } => "evidence_refused",
            Self::Contract { code, .. } => code,
            Self::NotFound(_) => "not_found",
        }
    }
}

impl From<counterfoil_durable::Error> for EnforcerError {
    fn from(error: counterfoil_durable::Error) -> Self {
        Self::Journal(error.to_string())
    }
}

impl From<rusqlite::Error> for EnforcerError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Journal(error.to_string())
    }
}

impl From<CommitError> for EnforcerError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Full { .. } => Self::Busy,
            other => Self::Commit(other.to_string()),
        }
    }
}

/// Why an enforcer that is otherwise sound refuses to decide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Blocked {
    /// The log has not yet confirmed that it knows no more of this stream than the journal does.
    LogUnconfirmed(String),
    /// The log and the journal contradict each other: one of them is older than its past.
    LogDisagrees(String),
    /// The counterparties have not all said yet which of our records they hold.
    CounterpartiesUnconfirmed(String),
    /// A counterparty holds a record of this stream that the journal does not: the journal is older
    /// than its past.
    CounterpartyDisagrees(String),
    /// The newest manifest revokes our key, or does not list it any more.
    KeyLost {
        /// Whether it is revoked.
        revoked: bool,
        /// Which version of the manifest says so.
        version: u64,
    },
    /// The stream has ended, and a new one has not begun.
    StreamEnded,
    /// The clock is further behind the last record than can be an adjustment.
    ClockBehind {
        /// How far, in milliseconds.
        behind_millis: u64,
    },
    /// Part of the enforcer has stopped; it works again after a restart at the earliest.
    Failed(String),
    /// More records wait to be logged than the configuration allows.
    Backlog {
        /// How many records wait.
        waiting: u64,
        /// How many may.
        limit: u64,
    },
}

impl Blocked {
    /// A stable code for machines.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::LogUnconfirmed(_) => "log_unconfirmed",
            Self::LogDisagrees(_) => "log_disagrees",
            Self::CounterpartiesUnconfirmed(_) => "counterparties_unconfirmed",
            Self::CounterpartyDisagrees(_) => "counterparty_disagrees",
            Self::KeyLost { revoked: true, .. } => "key_revoked",
            Self::KeyLost { revoked: false, .. } => "key_unknown",
            Self::StreamEnded => "stream_ended",
            Self::ClockBehind { .. } => "clock_behind",
            Self::Failed(_) => "enforcer_failed",
            Self::Backlog { .. } => "log_backlog",
        }
    }

    /// What is wrong, for people.
    pub fn detail(&self) -> String {
        match self {
            Self::LogUnconfirmed(detail) => {
                format!("the log has not confirmed the journal yet: {detail}")
            }
            Self::LogDisagrees(detail) => {
                format!("the log and the journal contradict each other: {detail}")
            }
            Self::CounterpartiesUnconfirmed(detail) => {
                format!("the counterparties have not confirmed the journal yet: {detail}")
            }
            Self::CounterpartyDisagrees(detail) => {
                format!("a counterparty and the journal contradict each other: {detail}")
            }
            Self::KeyLost { revoked, version } => {
                let why = if *revoked { "revokes" } else { "does not list" };
                format!("version {version} of our manifest {why} the key of this enforcer")
            }
            Self::StreamEnded => "the stream of this key has ended".to_owned(),
            Self::ClockBehind { behind_millis } => {
                format!("the clock is {behind_millis} ms behind the last record")
            }
            Self::Failed(detail) => format!("the enforcer has stopped: {detail}"),
            Self::Backlog { waiting, limit } => {
                format!("{waiting} records wait to be logged, at most {limit} may")
            }
        }
    }
}
