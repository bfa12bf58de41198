//! Key names, key IDs and verifier keys (signed-note, sections "Format", "Signatures" and
//! "Verifier keys").

use core::fmt;
use core::str::FromStr;

use ed25519_dalek::VerifyingKey;
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use super::SignatureError;
use crate::cosignature;
use crate::ed25519::{self, Ed25519Error};
use crate::text::{base64_decode, base64_encode, hex};

/// Why a key or its name was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The name is empty, longer than 255 bytes, or has a blank, a plus or a control character.
    #[error(
        "key name is empty, longer than 255 bytes, or has a blank, a plus or a control character"
    )]
    Name,
    /// The text is not `<name>+<8 hex digits>+<base64>`.
    #[error("key is not of the form name+id+base64")]
    Form,
    /// The key ID is not 8 lower-case hex digits.
    #[error("key ID is not 8 lower-case hex digits")]
    IdText,
    /// The key ID does not belong to name and key.
    #[error("key ID does not belong to this name and key")]
    IdMismatch,
    /// The base64 part is not strict base64.
    #[error("key material is not strict base64")]
    Base64,
    /// The signature type is none that this crate verifies.
    #[error("signature type `{0:#04x}` is not supported")]
    UnsupportedType(u8),
    /// The key material is not a type byte and 32 bytes.
    #[error("key material has the wrong length")]
    Length,
    /// The public key is one that must not be trusted.
    #[error("{0}")]
    PublicKey(#[from] Ed25519Error),
}

impl KeyError {
    /// A stable code for machines.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Name => "key_name",
            Self::Form => "key_form",
            Self::IdText => "key_id_text",
            Self::IdMismatch => "key_id_mismatch",
            Self::Base64 => "key_base64",
            Self::UnsupportedType(_) => "key_unsupported_type",
            Self::Length => "key_length",
            Self::PublicKey(error) => error.code(),
        }
    }
}

/// A key name: 1 to 255 bytes without Unicode blanks, `+` or control characters.
///
/// By convention a URL without a scheme; a log's key name is its origin.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyName(String);

impl KeyName {
    /// The longest name in bytes. ML-DSA cosignatures have one byte for the length.
    pub const MAX_BYTES: usize = 255;

    /// Checks a name.
    ///
    /// # Errors
    /// [`KeyError::Name`].
    pub fn parse(name: &str) -> Result<Self, KeyError> {
        let allowed = |c: char| !c.is_whitespace() && c != '+' && c >= ' ';
        if name.is_empty() || name.len() > Self::MAX_BYTES || !name.chars().all(allowed) {
            return Err(KeyError::Name);
        }
        Ok(Self(name.to_owned()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for KeyName {
    type Err = KeyError;

    fn from_str(name: &str) -> Result<Self, KeyError> {
        Self::parse(name)
    }
}

/// The four bytes that, with the name, say which key signed. Not collision resistant: it selects
/// a key, the signature proves it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; 4]);

impl KeyId {
    /// Wraps the four bytes, big-endian as on the signature line.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 4]) -> Self {
        Self(bytes)
    }

    /// The four bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 4] {
        &self.0
    }

    /// `SHA-256(name || 0x0A || type || public key)[:4]`.
    #[must_use]
    pub fn compute(name: &KeyName, algorithm: Algorithm, public_key: &[u8; 32]) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(name.as_str());
        hasher.update([b'\n', algorithm.type_byte()]);
        hasher.update(public_key);
        let [a, b, c, d, ..]: [u8; 32] = hasher.finalize().into();
        Self([a, b, c, d])
    }
}

/// Eight lower-case hex digits, as in verifier keys.
impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The signature types this crate makes and verifies (signed-note, section "Signature types").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// `0x04`: Ed25519 over a timestamp and the text (tlog-cosignature).
    CosignatureEd25519,
    /// `0x01`: Ed25519 over the text.
    Ed25519,
}

impl Algorithm {
    /// The type byte.
    #[must_use]
    pub const fn type_byte(self) -> u8 {
        match self {
            Self::CosignatureEd25519 => 0x04,
            Self::Ed25519 => 0x01,
        }
    }

    /// The algorithm of a type byte.
    ///
    /// # Errors
    /// [`KeyError::UnsupportedType`].
    pub const fn from_type_byte(byte: u8) -> Result<Self, KeyError> {
        match byte {
            0x01 => Ok(Self::Ed25519),
            0x04 => Ok(Self::CosignatureEd25519),
            other => Err(KeyError::UnsupportedType(other)),
        }
    }
}

/// A public key with its name and type, checked when it is made.
///
/// ```
/// use counterfoil_tlog::note::VerifierKey;
///
/// let text = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
/// let key: VerifierKey = text.parse()?;
/// assert_eq!(key.name().as_str(), "example.com/foo");
/// assert_eq!(key.to_string(), text);
/// # Ok::<(), counterfoil_tlog::note::KeyError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifierKey {
    name: KeyName,
    id: KeyId,
    algorithm: Algorithm,
    key: VerifyingKey,
}

impl VerifierKey {
    /// Makes a key from its parts.
    ///
    /// # Errors
    /// [`KeyError::PublicKey`] when [`ed25519::check_public_key`] refuses the key.
    pub fn new(
        name: KeyName,
        algorithm: Algorithm,
        public_key: &[u8; 32],
    ) -> Result<Self, KeyError> {
        Ok(Self::from_checked(
            name,
            algorithm,
            ed25519::check_public_key(public_key)?,
        ))
    }

    /// For keys that passed the check or were computed from a seed, which cannot fail it.
    pub(super) fn from_checked(name: KeyName, algorithm: Algorithm, key: VerifyingKey) -> Self {
        let id = KeyId::compute(&name, algorithm, key.as_bytes());
        Self {
            name,
            id,
            algorithm,
            key,
        }
    }

    /// Parses `<name>+<id>+<base64>`. Only the first two pluses separate: base64 has its own.
    ///
    /// # Errors
    /// [`KeyError`] naming what is wrong.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let (name, id, material) = split_key_text(text)?;
        let name = KeyName::parse(name)?;
        let (algorithm, public_key) = decode_material(material)?;
        let key = Self::new(name, algorithm, &public_key)?;
        check_id(id, key.id)?;
        Ok(key)
    }

    /// The name.
    #[must_use]
    pub const fn name(&self) -> &KeyName {
        &self.name
    }

    /// The key ID.
    #[must_use]
    pub const fn id(&self) -> KeyId {
        self.id
    }

    /// The signature type.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The 32-byte public key (RFC 8032 section 5.1.5).
    #[must_use]
    pub fn public_key(&self) -> &[u8; 32] {
        self.key.as_bytes()
    }

    /// Verifies the signature bytes of a note line over a note text. Returns the timestamp of a
    /// cosignature, `None` for a plain signature.
    ///
    /// # Errors
    /// [`SignatureError`] naming what is wrong.
    pub fn verify(&self, text: &str, signature: &[u8]) -> Result<Option<u64>, SignatureError> {
        match self.algorithm {
            Algorithm::CosignatureEd25519 => {
                cosignature::verify(&self.key, text, signature).map(Some)
            }
            Algorithm::Ed25519 => {
                let signature = signature.try_into().map_err(|_| SignatureError::Length)?;
                ed25519::verify(&self.key, text.as_bytes(), signature)?;
                Ok(None)
            }
        }
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut material = vec![self.algorithm.type_byte()];
        material.extend_from_slice(self.public_key());
        write!(f, "{}+{}+{}", self.name, self.id, base64_encode(&material))
    }
}

impl FromStr for VerifierKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        Self::parse(text)
    }
}

/// Splits `<name>+<id>+<base64>` at the first two pluses.
pub(super) fn split_key_text(text: &str) -> Result<(&str, &str, &str), KeyError> {
    let (name, rest) = text.split_once('+').ok_or(KeyError::Form)?;
    let (id, material) = rest.split_once('+').ok_or(KeyError::Form)?;
    Ok((name, id, material))
}

/// Compares the written key ID with the computed one.
pub(super) fn check_id(written: &str, computed: KeyId) -> Result<(), KeyError> {
    let digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    if written.len() != 8 || !written.bytes().all(digit) {
        return Err(KeyError::IdText);
    }
    if written == computed.to_string() {
        Ok(())
    } else {
        Err(KeyError::IdMismatch)
    }
}

fn decode_material(material: &str) -> Result<(Algorithm, [u8; 32]), KeyError> {
    let bytes = base64_decode(material).ok_or(KeyError::Base64)?;
    let (type_byte, key) = bytes.split_first().ok_or(KeyError::Length)?;
    let algorithm = Algorithm::from_type_byte(*type_byte)?;
    Ok((algorithm, key.try_into().map_err(|_| KeyError::Length)?))
}
