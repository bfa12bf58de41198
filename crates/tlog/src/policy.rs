//! Trust policies (c2sp.org/tlog-policy): which logs and witnesses a verifier relies on.

mod parse;
mod quorum;

use thiserror::Error;

use crate::checkpoint::{Checkpoint, CheckpointError, Origin};
use crate::note::{KeyError, Note, NoteError, VerifierKey};

pub use quorum::{Cosignature, Quorum};

/// The largest policy file in bytes.
pub const MAX_POLICY_BYTES: usize = 1 << 20;

/// Why a policy file was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// The file exceeds [`MAX_POLICY_BYTES`].
    #[error("policy is larger than 1048576 bytes")]
    TooLarge,
    /// The last line does not end in a newline, as after a cut-off download.
    #[error("line {0}: line does not end in a newline")]
    UnterminatedLine(usize),
    /// There is no quorum line.
    #[error("policy has no quorum line")]
    NoQuorum,
    /// A line is wrong.
    #[error("line {line}: {problem}")]
    Line {
        /// Number of the line, from 1.
        line: usize,
        /// What is wrong with it.
        problem: LineProblem,
    },
}

impl PolicyError {
    /// A stable code for machines.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLarge => "policy_too_large",
            Self::UnterminatedLine(_) => "policy_unterminated_line",
            Self::NoQuorum => "policy_no_quorum",
            Self::Line { problem, .. } => problem.code(),
        }
    }
}

/// What is wrong with one line of a policy. Names are shown with odd octets replaced.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LineProblem {
    /// An octet outside tab, 0x20 to 0x7E and 0x80 to 0xFF.
    #[error("control character `{0:#04x}`")]
    ControlCharacter(u8),
    /// The first word is none of `log`, `witness`, `group`, `quorum`.
    #[error("unknown keyword `{0}`")]
    UnknownKeyword(String),
    /// Too few or too many words.
    #[error("expected `{0}`")]
    Words(&'static str),
    /// The key was refused.
    #[error("key: {0}")]
    Key(KeyError),
    /// A log's key is not of type `0x01`, or a witness's not of type `0x04`.
    #[error("key is of the wrong signature type")]
    KeyType,
    /// The same public key appeared before in the same role.
    #[error("public key was listed before")]
    DuplicateKey,
    /// The name is defined already.
    #[error("name `{0}` is defined already")]
    DuplicateName(String),
    /// `none` cannot be defined and cannot be a member.
    #[error("name `none` is reserved")]
    ReservedName,
    /// The name is not defined on a line before.
    #[error("name `{0}` is not defined on a line before")]
    UnknownName(String),
    /// The name is a member of a group already.
    #[error("name `{0}` is a group member already")]
    DuplicateMember(String),
    /// The threshold is not `any`, `all` or a number from 1 to the number of members.
    #[error("threshold `{0}` is not `any`, `all` or a number from 1 to the number of members")]
    Threshold(String),
    /// There is a quorum line already.
    #[error("second quorum line")]
    SecondQuorum,
}

impl LineProblem {
    /// A stable code for machines.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::ControlCharacter(_) => "policy_control_character",
            Self::UnknownKeyword(_) => "policy_unknown_keyword",
            Self::Words(_) => "policy_words",
            Self::Key(error) => error.code(),
            Self::KeyType => "policy_key_type",
            Self::DuplicateKey => "policy_duplicate_key",
            Self::DuplicateName(_) => "policy_duplicate_name",
            Self::ReservedName => "policy_reserved_name",
            Self::UnknownName(_) => "policy_unknown_name",
            Self::DuplicateMember(_) => "policy_duplicate_member",
            Self::Threshold(_) => "policy_threshold",
            Self::SecondQuorum => "policy_second_quorum",
        }
    }
}

/// Why a checkpoint does not satisfy a policy.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PolicyCheckError {
    /// The note is not a checkpoint.
    #[error("checkpoint: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// No log of the policy has that origin.
    #[error("policy has no log with origin `{0}`")]
    UnknownOrigin(Origin),
    /// A known key's signature fails.
    #[error("checkpoint: {0}")]
    Note(#[from] NoteError),
    /// The log of that origin did not sign.
    #[error("checkpoint is not signed by log `{0}`")]
    NoLogSignature(Origin),
    /// Too few witnesses cosigned.
    #[error("witness quorum is not met")]
    QuorumNotMet,
}

impl PolicyCheckError {
    /// A stable code for machines.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Checkpoint(error) => error.code(),
            Self::UnknownOrigin(_) => "unknown_origin",
            Self::Note(error) => error.code(),
            Self::NoLogSignature(_) => "no_log_signature",
            Self::QuorumNotMet => "quorum_not_met",
        }
    }
}

/// A log the policy accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyLog {
    key: VerifierKey,
    url: Option<Vec<u8>>,
}

impl PolicyLog {
    /// The log's key. Its name is the log's origin.
    #[must_use]
    pub const fn key(&self) -> &VerifierKey {
        &self.key
    }

    /// The URL on the line, if any: octets without blanks, otherwise unchecked.
    #[must_use]
    pub fn url(&self) -> Option<&[u8]> {
        self.url.as_deref()
    }
}

/// A witness the policy names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyWitness {
    name: Vec<u8>,
    key: VerifierKey,
    url: Option<Vec<u8>>,
}

impl PolicyWitness {
    /// The witness's name within the policy file: opaque octets, unlike its key's name.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// The witness's cosignature key.
    #[must_use]
    pub const fn key(&self) -> &VerifierKey {
        &self.key
    }

    /// The URL on the line, if any. By recommendation the tlog-witness submission prefix.
    #[must_use]
    pub fn url(&self) -> Option<&[u8]> {
        self.url.as_deref()
    }
}

/// A group: witnessed when at least `threshold` of its members are.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Group {
    name: Vec<u8>,
    // INVARIANT: 1 <= threshold <= members.len().
    threshold: usize,
    // INVARIANT: positions of earlier definitions.
    members: Vec<usize>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Definition {
    Group(Group),
    // Boxed: a key with its decoded point is several times a group's size.
    Witness(Box<PolicyWitness>),
}

impl Definition {
    fn name(&self) -> &[u8] {
        match self {
            Self::Group(group) => &group.name,
            Self::Witness(witness) => &witness.name,
        }
    }
}

/// A parsed policy.
///
/// ```
/// use counterfoil_tlog::policy::Policy;
///
/// let policy = Policy::parse(b"\
///     log example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k\n\
///     witness w remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2\n\
///     group all-witnesses all w\n\
///     quorum all-witnesses\n")?;
/// assert_eq!(policy.witnesses().count(), 1);
/// # Ok::<(), counterfoil_tlog::policy::PolicyError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    logs: Vec<PolicyLog>,
    // In the order of their lines.
    definitions: Vec<Definition>,
    // Position among the definitions; `None` for `quorum none`.
    quorum: Option<usize>,
}

impl Policy {
    /// Parses a policy file.
    ///
    /// # Errors
    /// [`PolicyError`] with the number of the line that is wrong.
    pub fn parse(bytes: &[u8]) -> Result<Self, PolicyError> {
        parse::parse(bytes)
    }

    /// A policy that accepts checkpoints of these logs without any witness.
    #[must_use]
    pub fn of_logs(keys: Vec<VerifierKey>) -> Self {
        let logs = keys
            .into_iter()
            .map(|key| PolicyLog { key, url: None })
            .collect();
        Self {
            logs,
            definitions: Vec::new(),
            quorum: None,
        }
    }

    /// The same policy with one more accepted log, unless it has that log already. For callers who
    /// know their log from elsewhere and use a policy file without log lines.
    #[must_use]
    pub fn with_log(mut self, key: VerifierKey) -> Self {
        if !self.logs.iter().any(|log| log.key == key) {
            self.logs.push(PolicyLog { key, url: None });
        }
        self
    }

    /// The accepted logs.
    #[must_use]
    pub fn logs(&self) -> &[PolicyLog] {
        &self.logs
    }

    /// The witnesses, in the order of their lines, whether or not the quorum needs them.
    pub fn witnesses(&self) -> impl Iterator<Item = &PolicyWitness> {
        self.definitions
            .iter()
            .filter_map(|definition| match definition {
                Definition::Group(_) => None,
                Definition::Witness(witness) => Some(witness.as_ref()),
            })
    }

    /// Whether any cosignature is needed (`false` for `quorum none`).
    #[must_use]
    pub const fn needs_witnesses(&self) -> bool {
        self.quorum.is_some()
    }

    /// Verifies a checkpoint: a log of the policy with that origin must have signed it, no
    /// signature by a known key may fail, and the result says which witnesses cosigned and
    /// whether they meet the quorum.
    ///
    /// # Errors
    /// [`PolicyCheckError`], but never `QuorumNotMet`: ask [`Quorum::is_met`], or use
    /// [`Policy::verify`].
    pub fn check(&self, note: &Note) -> Result<Quorum, PolicyCheckError> {
        let checkpoint = Checkpoint::parse(note.text())?;
        let origin = checkpoint.origin().clone();
        let of_origin = |log: &&PolicyLog| log.key.name() == origin.key_name();
        let mut known: Vec<VerifierKey> = self
            .logs
            .iter()
            .filter(of_origin)
            .map(|log| log.key.clone())
            .collect();
        if known.is_empty() {
            return Err(PolicyCheckError::UnknownOrigin(origin));
        }
        let logs = known.len();
        known.extend(self.witnesses().map(|witness| witness.key.clone()));

        let verified = match note.verify(&known) {
            Err(NoteError::NoKnownSignature) => {
                return Err(PolicyCheckError::NoLogSignature(origin));
            }
            other => other?,
        };
        let log_keys: Vec<VerifierKey> = known
            .iter()
            .take(logs)
            .filter(|key| verified.is_signed_by(key))
            .cloned()
            .collect();
        if log_keys.is_empty() {
            return Err(PolicyCheckError::NoLogSignature(origin));
        }
        Ok(quorum::evaluate(self, checkpoint, log_keys, &verified))
    }

    /// Verifies a checkpoint and requires the quorum.
    ///
    /// # Errors
    /// [`PolicyCheckError`].
    pub fn verify(&self, note: &Note) -> Result<Quorum, PolicyCheckError> {
        let quorum = self.check(note)?;
        if quorum.is_met() {
            Ok(quorum)
        } else {
            Err(PolicyCheckError::QuorumNotMet)
        }
    }

    /// Writes the policy as a file that parses to the same policy. Comments are not kept.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut file = Vec::new();
        let mut line = |words: &[&[u8]]| {
            file.extend_from_slice(&words.join(&b' '));
            file.push(b'\n');
        };
        for log in &self.logs {
            let key = log.key.to_string();
            let mut words = vec![&b"log"[..], key.as_bytes()];
            words.extend(log.url());
            line(&words);
        }
        for definition in &self.definitions {
            match definition {
                Definition::Group(group) => {
                    let threshold = group.threshold.to_string();
                    let mut words = vec![&b"group"[..], &group.name, threshold.as_bytes()];
                    words.extend(
                        group
                            .members
                            .iter()
                            .filter_map(|member| self.name_of(*member)),
                    );
                    line(&words);
                }
                Definition::Witness(witness) => {
                    let key = witness.key.to_string();
                    let mut words = vec![&b"witness"[..], &witness.name, key.as_bytes()];
                    words.extend(witness.url());
                    line(&words);
                }
            }
        }
        let quorum = self.quorum.and_then(|position| self.name_of(position));
        line(&[b"quorum", quorum.unwrap_or(parse::NONE)]);
        file
    }

    fn name_of(&self, position: usize) -> Option<&[u8]> {
        self.definitions.get(position).map(Definition::name)
    }
}
