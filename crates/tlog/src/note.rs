//! Signed notes (c2sp.org/signed-note): a text and lines of signatures below it.
//!
//! Parsing is strict and byte exact: what parses prints back to the same bytes. Verification
//! follows the "Signatures" section: a signature by a key that is not known is ignored, a
//! signature by a known key that fails rejects the whole note, and a note on which no known key
//! verified is rejected.

mod key;
mod signer;

use core::fmt;

use thiserror::Error;

use crate::ed25519::Ed25519Error;
use crate::text::{base64_decode, base64_encode};

pub use key::{Algorithm, KeyError, KeyId, KeyName, VerifierKey};
pub use signer::SignerKey;

/// The largest note in bytes. The specification leaves the limit to the verifier.
pub const MAX_NOTE_BYTES: usize = 1 << 20;

/// The most signatures on a note. The specification asks for at least 16.
pub const MAX_SIGNATURES: usize = 100;

/// How every signature line starts: EM DASH and a space.
const SIGNATURE_PREFIX: &str = "\u{2014} ";

/// Why a note was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NoteError {
    /// The note exceeds [`MAX_NOTE_BYTES`].
    #[error("note is larger than 1048576 bytes")]
    TooLarge,
    /// The note is not UTF-8.
    #[error("note is not valid UTF-8")]
    NotUtf8,
    /// The note has a control character other than newline.
    #[error("note has a control character at byte `{0}`")]
    ControlCharacter(usize),
    /// The text does not end in a newline, or there is none.
    #[error("note text does not end in a newline")]
    UnterminatedText,
    /// No empty line separates the text from the signatures.
    #[error("note has no empty line before its signatures")]
    NoSeparator,
    /// There are no signature lines.
    #[error("note has no signatures")]
    NoSignatures,
    /// There are more than [`MAX_SIGNATURES`] lines.
    #[error("note has more than 100 signatures")]
    TooManySignatures,
    /// A signature line is not `— <name> <base64>` or does not end in a newline.
    #[error("signature line `{0}` is malformed")]
    MalformedSignature(usize),
    /// Two different keys in the list of known keys share both name and key ID.
    #[error("two known keys share the name `{0}` and the key ID")]
    AmbiguousKey(KeyName),
    /// A signature by a known key does not verify.
    #[error("signature by known key `{name}` was refused: {reason}")]
    BadSignature {
        /// The key's name.
        name: KeyName,
        /// What is wrong with the signature.
        reason: SignatureError,
    },
    /// No known key signed the note.
    #[error("no known key signed the note")]
    NoKnownSignature,
    /// The signer's key is of the wrong type for this signature.
    #[error("key `{0}` is of the wrong type for this signature")]
    WrongAlgorithm(KeyName),
}

impl NoteError {
    /// A stable code for machines.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLarge => "note_too_large",
            Self::NotUtf8 => "note_not_utf8",
            Self::ControlCharacter(_) => "note_control_character",
            Self::UnterminatedText => "note_unterminated_text",
            Self::NoSeparator => "note_no_separator",
            Self::NoSignatures => "note_no_signatures",
            Self::TooManySignatures => "note_too_many_signatures",
            Self::MalformedSignature(_) => "note_malformed_signature",
            Self::AmbiguousKey(_) => "note_ambiguous_key",
            Self::BadSignature { .. } => "note_bad_signature",
            Self::NoKnownSignature => "note_no_known_signature",
            Self::WrongAlgorithm(_) => "note_wrong_algorithm",
        }
    }
}

/// What is wrong with one signature by a known key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// The signature has the wrong length for its type.
    #[error("wrong length")]
    Length,
    /// A cosignature's timestamp is 0 or above 2^63 - 1.
    #[error("timestamp is 0 or above 2^63 - 1")]
    Timestamp,
    /// The Ed25519 check failed.
    #[error("{0}")]
    Ed25519(#[from] Ed25519Error),
}

/// One signature line: who claims to have signed, and the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteSignature {
    name: KeyName,
    key_id: KeyId,
    signature: Vec<u8>,
}

impl NoteSignature {
    /// Puts a line together; `None` when the signature is empty.
    #[must_use]
    pub fn new(name: KeyName, key_id: KeyId, signature: Vec<u8>) -> Option<Self> {
        (!signature.is_empty()).then_some(Self {
            name,
            key_id,
            signature,
        })
    }

    /// The key name on the line.
    #[must_use]
    pub const fn name(&self) -> &KeyName {
        &self.name
    }

    /// The key ID, the first four bytes of the base64 part.
    #[must_use]
    pub const fn key_id(&self) -> KeyId {
        self.key_id
    }

    /// The bytes after the key ID. Their meaning depends on the key's type.
    #[must_use]
    pub fn signature(&self) -> &[u8] {
        &self.signature
    }

    /// Parses one line without its newline.
    fn parse(line: &str) -> Option<Self> {
        let (name, encoded) = line.strip_prefix(SIGNATURE_PREFIX)?.split_once(' ')?;
        let bytes = base64_decode(encoded)?;
        let (id, signature) = bytes.split_first_chunk::<4>()?;
        Self::new(
            KeyName::parse(name).ok()?,
            KeyId::from_bytes(*id),
            signature.to_vec(),
        )
    }
}

/// Writes the whole line, newline included.
impl fmt::Display for NoteSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = self.key_id.as_bytes().to_vec();
        bytes.extend_from_slice(&self.signature);
        writeln!(
            f,
            "{SIGNATURE_PREFIX}{} {}",
            self.name,
            base64_encode(&bytes)
        )
    }
}

/// Parses signature lines, each ending in a newline: the end of a note, or the answer of a witness.
///
/// # Errors
/// [`NoteError::NoSignatures`], [`NoteError::TooManySignatures`] or
/// [`NoteError::MalformedSignature`] with the number of the line, counted from 1.
pub fn parse_signature_lines(text: &str) -> Result<Vec<NoteSignature>, NoteError> {
    if text.is_empty() {
        return Err(NoteError::NoSignatures);
    }
    let mut signatures = Vec::new();
    for (number, line) in text.split_inclusive('\n').enumerate() {
        if number == MAX_SIGNATURES {
            return Err(NoteError::TooManySignatures);
        }
        let signature = line.strip_suffix('\n').and_then(NoteSignature::parse);
        signatures.push(signature.ok_or(NoteError::MalformedSignature(number + 1))?);
    }
    Ok(signatures)
}

/// A note as read or made, not yet verified. Nothing in it may be believed before
/// [`Note::verify`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    text: String,
    // INVARIANT: 1 to MAX_SIGNATURES, and the whole note prints to at most MAX_NOTE_BYTES.
    signatures: Vec<NoteSignature>,
}

impl Note {
    /// Puts a note together.
    ///
    /// # Errors
    /// [`NoteError`] when the text is not valid or a limit is exceeded.
    pub fn new(text: String, signatures: Vec<NoteSignature>) -> Result<Self, NoteError> {
        check_characters(text.as_bytes())?;
        if !text.ends_with('\n') {
            return Err(NoteError::UnterminatedText);
        }
        let note = Self { text, signatures };
        note.check_limits()?;
        Ok(note)
    }

    /// Parses a note from its bytes (signed-note, section "Format").
    ///
    /// # Errors
    /// [`NoteError`] naming what is malformed.
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        if bytes.len() > MAX_NOTE_BYTES {
            return Err(NoteError::TooLarge);
        }
        let whole = core::str::from_utf8(bytes).map_err(|_| NoteError::NotUtf8)?;
        check_characters(bytes)?;
        // The text may have empty lines of its own, so the last one separates.
        let (text, lines) = whole
            .rfind("\n\n")
            .and_then(|at| whole.split_at_checked(at + 1))
            .ok_or(NoteError::NoSeparator)?;
        let lines = lines.strip_prefix('\n').unwrap_or(lines);
        Ok(Self {
            text: text.to_owned(),
            signatures: parse_signature_lines(lines)?,
        })
    }

    /// The text, final newline included, separating line excluded.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signature lines in their order.
    #[must_use]
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// Adds signatures below the existing ones, leaving out exact duplicates.
    ///
    /// # Errors
    /// [`NoteError::TooManySignatures`] or [`NoteError::TooLarge`].
    pub fn with_signatures(mut self, more: Vec<NoteSignature>) -> Result<Self, NoteError> {
        for signature in more {
            if !self.signatures.contains(&signature) {
                self.signatures.push(signature);
            }
        }
        self.check_limits()?;
        Ok(self)
    }

    /// Keeps only the signatures for which `keep` says true, for example the log's own lines
    /// before a checkpoint goes to a witness. `None` when no signature is left.
    #[must_use]
    pub fn retain_signatures(mut self, keep: impl Fn(&NoteSignature) -> bool) -> Option<Self> {
        self.signatures.retain(keep);
        (!self.signatures.is_empty()).then_some(self)
    }

    /// Verifies the note against the known keys (signed-note, section "Signatures").
    ///
    /// # Errors
    /// [`NoteError::BadSignature`] when a known key's signature fails,
    /// [`NoteError::NoKnownSignature`] when no known key signed, and [`NoteError::AmbiguousKey`]
    /// when two different known keys cannot be told apart.
    pub fn verify<'a>(&'a self, known: &'a [VerifierKey]) -> Result<VerifiedNote<'a>, NoteError> {
        let mut verified = Vec::new();
        for signature in &self.signatures {
            let mut candidates = known
                .iter()
                .filter(|key| key.name() == &signature.name && key.id() == signature.key_id);
            let Some(key) = candidates.next() else {
                continue;
            };
            if candidates.any(|other| other != key) {
                return Err(NoteError::AmbiguousKey(signature.name.clone()));
            }
            let timestamp = key
                .verify(&self.text, &signature.signature)
                .map_err(|reason| NoteError::BadSignature {
                    name: signature.name.clone(),
                    reason,
                })?;
            verified.push(VerifiedSignature { key, timestamp });
        }
        if verified.is_empty() {
            return Err(NoteError::NoKnownSignature);
        }
        Ok(VerifiedNote {
            text: &self.text,
            signatures: verified,
        })
    }

    fn check_limits(&self) -> Result<(), NoteError> {
        if self.signatures.is_empty() {
            return Err(NoteError::NoSignatures);
        }
        if self.signatures.len() > MAX_SIGNATURES {
            return Err(NoteError::TooManySignatures);
        }
        if self.to_string().len() > MAX_NOTE_BYTES {
            return Err(NoteError::TooLarge);
        }
        Ok(())
    }
}

/// Writes the note's bytes: the text, an empty line, the signature lines.
impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures
            .iter()
            .try_for_each(|signature| write!(f, "{signature}"))
    }
}

/// The part of a note that was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedNote<'a> {
    text: &'a str,
    signatures: Vec<VerifiedSignature<'a>>,
}

impl<'a> VerifiedNote<'a> {
    /// The signed text.
    #[must_use]
    pub const fn text(&self) -> &'a str {
        self.text
    }

    /// The signatures by known keys, at least one, in the order of their lines.
    #[must_use]
    pub fn signatures(&self) -> &[VerifiedSignature<'a>] {
        &self.signatures
    }

    /// Whether that key signed.
    #[must_use]
    pub fn is_signed_by(&self, key: &VerifierKey) -> bool {
        self.signatures.iter().any(|signature| signature.key == key)
    }
}

/// One verified signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifiedSignature<'a> {
    key: &'a VerifierKey,
    timestamp: Option<u64>,
}

impl<'a> VerifiedSignature<'a> {
    /// The known key that signed.
    #[must_use]
    pub const fn key(&self) -> &'a VerifierKey {
        self.key
    }

    /// When a cosignature says it was made, in seconds since 1970; `None` for a plain signature.
    #[must_use]
    pub const fn timestamp(&self) -> Option<u64> {
        self.timestamp
    }
}

fn check_characters(bytes: &[u8]) -> Result<(), NoteError> {
    match bytes.iter().position(|byte| *byte < 0x20 && *byte != b'\n') {
        Some(at) => Err(NoteError::ControlCharacter(at)),
        None => Ok(()),
    }
}
