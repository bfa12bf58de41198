//! Checkpoints (c2sp.org/tlog-checkpoint): the signed size and root of a log.

use core::fmt;
use core::str::FromStr;

use thiserror::Error;

use crate::note::{KeyName, Note, NoteError, SignerKey};
use crate::text::parse_decimal;
use crate::tree::Hash;

/// Why a checkpoint text or an origin was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The origin breaks the rules of [`Origin`].
    #[error(
        "origin is empty, longer than 255 bytes, or has a blank, a plus or a control character"
    )]
    Origin,
    /// The text has fewer than three lines or does not end in a newline.
    #[error("checkpoint does not have three lines that end in newlines")]
    Lines,
    /// The tree size is not a decimal without leading zeroes.
    #[error("tree size is not a decimal without leading zeroes")]
    Size,
    /// The root hash is not 32 bytes of strict base64.
    #[error("root hash is not 32 bytes of strict base64")]
    Root,
    /// An extension line is empty or has a control character.
    #[error("extension line is empty or has a control character")]
    Extension,
    /// The signing key's name is not the origin.
    #[error("key name `{key}` is not the origin `{origin}`")]
    KeyName {
        /// The name of the key.
        key: KeyName,
        /// The origin of the checkpoint.
        origin: Origin,
    },
    /// The note could not be made or read.
    #[error(transparent)]
    Note(#[from] NoteError),
}

impl CheckpointError {
    /// A stable code for machines.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Origin => "checkpoint_origin",
            Self::Lines => "checkpoint_lines",
            Self::Size => "checkpoint_size",
            Self::Root => "checkpoint_root",
            Self::Extension => "checkpoint_extension",
            Self::KeyName { .. } => "checkpoint_key_name",
            Self::Note(error) => error.code(),
        }
    }
}

/// The identity of a log, the first line of its checkpoints.
///
/// 1 to 255 bytes without Unicode blanks, `+` or control characters, so that it is a key name too
/// and fits the one-byte length of ML-DSA cosignatures. By convention a URL without a scheme.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin(KeyName);

impl Origin {
    /// Checks an origin.
    ///
    /// # Errors
    /// [`CheckpointError::Origin`].
    pub fn parse(origin: &str) -> Result<Self, CheckpointError> {
        KeyName::parse(origin)
            .map(Self)
            .map_err(|_| CheckpointError::Origin)
    }

    /// The origin as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The key name a log with this origin signs under.
    #[must_use]
    pub const fn key_name(&self) -> &KeyName {
        &self.0
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Origin {
    type Err = CheckpointError;

    fn from_str(origin: &str) -> Result<Self, CheckpointError> {
        Self::parse(origin)
    }
}

impl From<KeyName> for Origin {
    fn from(name: KeyName) -> Self {
        Self(name)
    }
}

/// The text of a checkpoint (tlog-checkpoint, section "Note text"). `Display` writes it.
///
/// ```
/// use counterfoil_tlog::checkpoint::Checkpoint;
///
/// let text = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
/// let checkpoint = Checkpoint::parse(text)?;
/// assert_eq!(checkpoint.size(), 20852163);
/// assert_eq!(checkpoint.to_string(), text);
/// # Ok::<(), counterfoil_tlog::checkpoint::CheckpointError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    origin: Origin,
    size: u64,
    root: Hash,
    extensions: Vec<String>,
}

impl Checkpoint {
    /// A checkpoint without extension lines; this crate never makes any (they are NOT
    /// RECOMMENDED, and some witnesses refuse them).
    #[must_use]
    pub const fn new(origin: Origin, size: u64, root: Hash) -> Self {
        Self {
            origin,
            size,
            root,
            extensions: Vec::new(),
        }
    }

    /// Parses a note text. Extension lines are kept, because signatures cover them.
    ///
    /// # Errors
    /// [`CheckpointError`] naming the line that is wrong.
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        let body = text.strip_suffix('\n').ok_or(CheckpointError::Lines)?;
        let mut lines = body.split('\n');
        let mut line = || lines.next().ok_or(CheckpointError::Lines);
        let (origin, size, root) = (line()?, line()?, line()?);
        let origin = Origin::parse(origin)?;
        let size = parse_decimal(size).ok_or(CheckpointError::Size)?;
        let root = Hash::parse(root).ok_or(CheckpointError::Root)?;
        let extensions: Vec<String> = lines.map(str::to_owned).collect();
        if extensions
            .iter()
            .any(|line| line.is_empty() || line.bytes().any(|b| b < 0x20))
        {
            return Err(CheckpointError::Extension);
        }
        Ok(Self {
            origin,
            size,
            root,
            extensions,
        })
    }

    /// The log's identity.
    #[must_use]
    pub const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Number of leaves in the tree.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Root of the tree.
    #[must_use]
    pub const fn root(&self) -> &Hash {
        &self.root
    }

    /// Lines after the third, opaque.
    #[must_use]
    pub fn extensions(&self) -> &[String] {
        &self.extensions
    }

    /// Signs the checkpoint with the log's plain Ed25519 key (type `0x01`), whose name must be the
    /// origin.
    ///
    /// # Errors
    /// [`CheckpointError::KeyName`], or [`CheckpointError::Note`] for a key of another type.
    pub fn sign(&self, signer: &SignerKey) -> Result<Note, CheckpointError> {
        if signer.name() != self.origin.key_name() {
            return Err(CheckpointError::KeyName {
                key: signer.name().clone(),
                origin: self.origin.clone(),
            });
        }
        let text = self.to_string();
        let signature = signer.sign(&text)?;
        Ok(Note::new(text, vec![signature])?)
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{}\n{}\n", self.origin, self.size, self.root)?;
        self.extensions
            .iter()
            .try_for_each(|line| writeln!(f, "{line}"))
    }
}
