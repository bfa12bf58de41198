//! What travels between a log and a witness (c2sp.org/tlog-witness), and the witness's decision.
//!
//! No HTTP here: [`AddCheckpoint`] is the request body, [`AddCheckpoint::check`] says whether the
//! witness may cosign, and [`Refusal`] knows the status, type and body of the answer otherwise.

use core::fmt;

use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::checkpoint::{Checkpoint, CheckpointError, Origin};
use crate::note::{
    MAX_NOTE_BYTES, Note, NoteError, NoteSignature, VerifierKey, parse_signature_lines,
};
use crate::proof::{MAX_HASHES, ProofError, verify_consistency};
use crate::text::{hex, parse_decimal};
use crate::tree::{EMPTY_ROOT, Hash};

/// The content type of a 409 answer's body.
pub const SIZE_CONTENT_TYPE: &str = "text/x.tlog.size";

/// The largest request body in bytes: a note, 63 hash lines and the first line.
pub const MAX_REQUEST_BYTES: usize = MAX_NOTE_BYTES + 64 * 45;

/// Why a request or an answer could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum WitnessError {
    /// The body exceeds [`MAX_REQUEST_BYTES`].
    #[error("request is too large")]
    TooLarge,
    /// No empty line separates the proof from the checkpoint, or the head is not UTF-8.
    #[error("request is not text with an empty line before its checkpoint")]
    Form,
    /// The first line is not `old <size>`.
    #[error("first line is not `old` and a decimal without leading zeroes")]
    OldSize,
    /// A proof line is not 32 bytes of strict base64.
    #[error("proof line `{0}` is not 32 bytes of strict base64")]
    ProofHash(usize),
    /// There are more than 63 proof lines.
    #[error("proof has more than 63 hashes")]
    ProofTooLong,
    /// The checkpoint is not a signed note.
    #[error("checkpoint: {0}")]
    Note(NoteError),
    /// The signed note is not a checkpoint.
    #[error("checkpoint: {0}")]
    Checkpoint(CheckpointError),
    /// The answer is not signature lines, or a known key's cosignature fails.
    #[error("cosignatures: {0}")]
    Cosignatures(NoteError),
    /// The body of a 409 answer is not a size.
    #[error("body is not a size and a newline")]
    SizeBody,
}

impl WitnessError {
    /// A stable code for machines.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLarge => "request_too_large",
            Self::Form => "request_form",
            Self::OldSize => "request_old_size",
            Self::ProofHash(_) => "request_proof_hash",
            Self::ProofTooLong => "request_proof_too_long",
            Self::Note(error) | Self::Cosignatures(error) => error.code(),
            Self::Checkpoint(error) => error.code(),
            Self::SizeBody => "size_body",
        }
    }
}

/// The body of an `add-checkpoint` request (tlog-witness, section "add-checkpoint"). `Display`
/// writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddCheckpoint {
    old_size: u64,
    proof: Vec<Hash>,
    note: Note,
    checkpoint: Checkpoint,
}

/// The newest tree of a log that a witness has cosigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TreeHead {
    /// Number of leaves.
    pub size: u64,
    /// Root of the tree.
    pub root: Hash,
}

impl AddCheckpoint {
    /// Puts a request together. A log should send only its own signature lines, because witnesses
    /// limit the size of requests.
    ///
    /// # Errors
    /// [`WitnessError::ProofTooLong`] or [`WitnessError::Checkpoint`].
    pub fn new(old_size: u64, proof: Vec<Hash>, note: Note) -> Result<Self, WitnessError> {
        if proof.len() > MAX_HASHES {
            return Err(WitnessError::ProofTooLong);
        }
        let checkpoint = Checkpoint::parse(note.text()).map_err(WitnessError::Checkpoint)?;
        Ok(Self {
            old_size,
            proof,
            note,
            checkpoint,
        })
    }

    /// Parses a request body. Any error is answered with 400.
    ///
    /// # Errors
    /// [`WitnessError`] naming what is malformed.
    pub fn parse(body: &[u8]) -> Result<Self, WitnessError> {
        if body.len() > MAX_REQUEST_BYTES {
            return Err(WitnessError::TooLarge);
        }
        let end = body
            .windows(2)
            .position(|pair| pair == b"\n\n")
            .ok_or(WitnessError::Form)?;
        let (head, rest) = body.split_at_checked(end).ok_or(WitnessError::Form)?;
        let head = core::str::from_utf8(head).map_err(|_| WitnessError::Form)?;
        let note = rest.strip_prefix(b"\n\n").ok_or(WitnessError::Form)?;

        let mut lines = head.split('\n');
        let old_size = lines.next().and_then(|line| line.strip_prefix("old "));
        let old_size = old_size
            .and_then(parse_decimal)
            .ok_or(WitnessError::OldSize)?;
        let mut proof = Vec::new();
        for (number, line) in lines.enumerate() {
            if number == MAX_HASHES {
                return Err(WitnessError::ProofTooLong);
            }
            proof.push(Hash::parse(line).ok_or(WitnessError::ProofHash(number + 1))?);
        }
        Self::new(
            old_size,
            proof,
            Note::parse(note).map_err(WitnessError::Note)?,
        )
    }

    /// The size the log believes the witness has cosigned last.
    #[must_use]
    pub const fn old_size(&self) -> u64 {
        self.old_size
    }

    /// The consistency proof from the old size to the checkpoint's.
    #[must_use]
    pub fn proof(&self) -> &[Hash] {
        &self.proof
    }

    /// The checkpoint with its signatures.
    #[must_use]
    pub const fn note(&self) -> &Note {
        &self.note
    }

    /// What the checkpoint says, not yet verified.
    #[must_use]
    pub const fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Decides whether the witness may cosign. `log_keys` are the keys it trusts for the
    /// checkpoint's origin (empty: the origin is unknown); `latest` is what it cosigned last for
    /// that origin.
    ///
    /// On `Ok` the witness must store the checkpoint as the new latest, in one atomic step with
    /// having read the old one, before it answers with a cosignature.
    ///
    /// # Errors
    /// The [`Refusal`] to answer with.
    pub fn check(
        &self,
        log_keys: &[VerifierKey],
        latest: Option<TreeHead>,
    ) -> Result<&Checkpoint, Refusal> {
        let tree = &self.checkpoint;
        let of_origin = |key: &&VerifierKey| key.name() == tree.origin().key_name();
        let trusted: Vec<VerifierKey> = log_keys.iter().filter(of_origin).cloned().collect();
        if trusted.is_empty() {
            return Err(Refusal::UnknownOrigin);
        }
        self.note.verify(&trusted).map_err(Refusal::Signature)?;
        if self.old_size > tree.size() {
            return Err(Refusal::OldSizeLarger);
        }
        let latest = latest.unwrap_or(TreeHead {
            size: 0,
            root: EMPTY_ROOT,
        });
        if self.old_size != latest.size {
            return Err(Refusal::Conflict {
                latest: latest.size,
            });
        }
        if tree.size() == 0 && *tree.root() != EMPTY_ROOT {
            return Err(Refusal::EmptyTreeRoot);
        }
        if latest.size == 0 {
            // Every tree extends the empty one, and there is nothing a proof could say.
            return if self.proof.is_empty() {
                Ok(tree)
            } else {
                Err(Refusal::NeedlessProof)
            };
        }
        verify_consistency(
            latest.size,
            &latest.root,
            tree.size(),
            tree.root(),
            &self.proof,
        )
        .map_err(Refusal::Inconsistent)?;
        Ok(tree)
    }
}

impl fmt::Display for AddCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}", self.old_size)?;
        self.proof
            .iter()
            .try_for_each(|hash| writeln!(f, "{hash}"))?;
        write!(f, "\n{}", self.note)
    }
}

/// Why a witness does not cosign, each with its answer (tlog-witness, section "add-checkpoint").
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Refusal {
    /// 400: the old size exceeds the checkpoint's size.
    #[error("old size is larger than the checkpoint")]
    OldSizeLarger,
    /// 403: no trusted key signed, or a trusted key's signature fails.
    #[error("checkpoint: {0}")]
    Signature(NoteError),
    /// 404: the witness does not know the origin.
    #[error("origin is not known here")]
    UnknownOrigin,
    /// 409: the old size is not what the witness cosigned last. The body is that size.
    #[error("latest cosigned size is `{latest}`")]
    Conflict {
        /// The size cosigned last, 0 if none.
        latest: u64,
    },
    /// 422: a checkpoint of size 0 with another root than the empty tree has.
    #[error("checkpoint of size 0 does not have the root of the empty tree")]
    EmptyTreeRoot,
    /// 422: an old size of 0 with a proof.
    #[error("a proof from size 0 must be empty")]
    NeedlessProof,
    /// 422: the trees are not consistent. The log may have misbehaved: keep the request.
    #[error("consistency: {0}")]
    Inconsistent(ProofError),
}

impl Refusal {
    /// The HTTP status of the answer.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::OldSizeLarger => 400,
            Self::Signature(_) => 403,
            Self::UnknownOrigin => 404,
            Self::Conflict { .. } => 409,
            Self::EmptyTreeRoot | Self::NeedlessProof | Self::Inconsistent(_) => 422,
        }
    }

    /// The content type of the answer.
    #[must_use]
    pub const fn content_type(&self) -> &'static str {
        match self {
            Self::Conflict { .. } => SIZE_CONTENT_TYPE,
            _ => "text/plain; charset=utf-8",
        }
    }

    /// The body of the answer.
    #[must_use]
    pub fn body(&self) -> String {
        match self {
            Self::Conflict { latest } => size_body(*latest),
            other => format!("{other}\n"),
        }
    }

    /// A stable code for machines.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::OldSizeLarger => "old_size_larger",
            Self::Signature(error) => error.code(),
            Self::UnknownOrigin => "unknown_origin",
            Self::Conflict { .. } => "conflict",
            Self::EmptyTreeRoot => "empty_tree_root",
            Self::NeedlessProof => "needless_proof",
            Self::Inconsistent(error) => error.code(),
        }
    }
}

/// The body of a 409 answer: the latest cosigned size and a newline.
#[must_use]
pub fn size_body(size: u64) -> String {
    format!("{size}\n")
}

/// Parses the body of a 409 answer. A 409 whose body is no size must be treated as an alarm, not
/// retried: some witnesses answer so when roots differ.
///
/// # Errors
/// [`WitnessError::SizeBody`].
pub fn parse_size_body(body: &[u8]) -> Result<u64, WitnessError> {
    core::str::from_utf8(body)
        .ok()
        .and_then(|text| text.strip_suffix('\n'))
        .and_then(parse_decimal)
        .ok_or(WitnessError::SizeBody)
}

/// The body of a 200 answer: the witness's cosignature lines.
#[must_use]
pub fn cosignature_body(cosignatures: &[NoteSignature]) -> String {
    cosignatures.iter().map(ToString::to_string).collect()
}

/// Parses a 200 answer and returns the lines that are verified cosignatures by the known witness
/// keys over `checkpoint_text`; lines by other keys are dropped. Add them to the checkpoint with
/// [`Note::with_signatures`].
///
/// # Errors
/// [`WitnessError::Cosignatures`] when the body is malformed, a known key's line fails, or no known
/// key cosigned.
pub fn accept_cosignatures(
    checkpoint_text: &str,
    body: &[u8],
    witness_keys: &[VerifierKey],
) -> Result<Vec<NoteSignature>, WitnessError> {
    let refused = WitnessError::Cosignatures;
    if body.len() > MAX_NOTE_BYTES {
        return Err(refused(NoteError::TooLarge));
    }
    let body = core::str::from_utf8(body).map_err(|_| refused(NoteError::NotUtf8))?;
    let lines = parse_signature_lines(body).map_err(refused)?;
    let note = Note::new(checkpoint_text.to_owned(), lines).map_err(refused)?;
    note.verify(witness_keys).map_err(refused)?;
    let known = |line: &NoteSignature| {
        witness_keys
            .iter()
            .any(|key| key.name() == line.name() && key.id() == line.key_id())
    };
    Ok(note
        .signatures()
        .iter()
        .filter(|line| known(line))
        .cloned()
        .collect())
}

/// The path below a witness's monitoring prefix at which it serves its newest cosigned checkpoint
/// of a log: `<hex SHA-256 of the origin>/checkpoint`.
#[must_use]
pub fn monitoring_path(origin: &Origin) -> String {
    format!("{}/checkpoint", hex(&Sha256::digest(origin.as_str())))
}
