//! Private keys of logs and witnesses.

use core::fmt;

use ed25519_dalek::{Signer as _, SigningKey};
use zeroize::Zeroizing;

use super::key::{check_id, split_key_text};
use super::{Algorithm, KeyError, KeyName, Note, NoteError, NoteSignature, VerifierKey};
use crate::text::{base64_decode, base64_encode};

/// What the private key text of the Go note package starts with.
const TEXT_PREFIX: &str = "PRIVATE+KEY+";

/// A private key with its name and type. Erased from memory when dropped; `Debug` shows only the
/// public half.
///
/// ```
/// use counterfoil_tlog::note::{Algorithm, KeyName, Note, SignerKey};
///
/// // A fixed seed for the example. A real one comes from the system's random generator.
/// let key = SignerKey::from_seed(KeyName::parse("example.com/log")?, Algorithm::Ed25519, &[7; 32]);
/// let note = Note::new("hello\n".to_owned(), vec![key.sign("hello\n")?])?;
/// assert!(note.verify(&[key.verifier().clone()]).is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct SignerKey {
    verifier: VerifierKey,
    key: SigningKey,
}

impl SignerKey {
    /// Makes a key from a 32-byte seed (the RFC 8032 private key).
    #[must_use]
    pub fn from_seed(name: KeyName, algorithm: Algorithm, seed: &[u8; 32]) -> Self {
        let key = SigningKey::from_bytes(seed);
        let verifier = VerifierKey::from_checked(name, algorithm, key.verifying_key());
        Self { verifier, key }
    }

    /// Parses `PRIVATE+KEY+<name>+<id>+<base64(type || seed)>`, the form of Go's
    /// `golang.org/x/mod/sumdb/note` that log tools exchange.
    ///
    /// # Errors
    /// [`KeyError`] naming what is wrong; it never holds any part of the key.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let rest = text.strip_prefix(TEXT_PREFIX).ok_or(KeyError::Form)?;
        let (name, id, material) = split_key_text(rest)?;
        let name = KeyName::parse(name)?;
        let bytes = Zeroizing::new(base64_decode(material).ok_or(KeyError::Base64)?);
        let (type_byte, seed) = bytes.split_first().ok_or(KeyError::Length)?;
        let algorithm = Algorithm::from_type_byte(*type_byte)?;
        let seed: &[u8; 32] = seed.try_into().map_err(|_| KeyError::Length)?;
        let key = Self::from_seed(name, algorithm, seed);
        check_id(id, key.verifier.id())?;
        Ok(key)
    }

    /// The text [`SignerKey::parse`] reads. It is the secret: write it to files with mode 0600 only.
    #[must_use]
    pub fn to_secret_text(&self) -> Zeroizing<String> {
        let mut material = Zeroizing::new([0u8; 33]);
        let (type_byte, seed) = material.split_at_mut(1);
        type_byte.copy_from_slice(&[self.algorithm().type_byte()]);
        seed.copy_from_slice(self.key.as_bytes());
        let encoded = Zeroizing::new(base64_encode(material.as_slice()));
        // Reserved at once, so that growing leaves no copy behind.
        let mut text = Zeroizing::new(String::with_capacity(
            TEXT_PREFIX.len() + KeyName::MAX_BYTES + 1 + 8 + 1 + encoded.len(),
        ));
        let id = self.verifier.id().to_string();
        for part in [TEXT_PREFIX, self.name().as_str(), "+", &id, "+", &encoded] {
            text.push_str(part);
        }
        text
    }

    /// The seed, for other formats of the same key.
    #[must_use]
    pub fn seed(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.key.to_bytes())
    }

    /// The public half.
    #[must_use]
    pub const fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// The name.
    #[must_use]
    pub const fn name(&self) -> &KeyName {
        self.verifier.name()
    }

    /// The signature type.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.verifier.algorithm()
    }

    /// Signs a note text with a plain Ed25519 signature (type `0x01`).
    ///
    /// # Errors
    /// [`NoteError::WrongAlgorithm`] for a cosignature key (use
    /// [`cosign`](crate::cosignature::cosign)), and the text errors of [`Note::new`].
    pub fn sign(&self, text: &str) -> Result<NoteSignature, NoteError> {
        if self.algorithm() != Algorithm::Ed25519 {
            return Err(NoteError::WrongAlgorithm(self.name().clone()));
        }
        let signature = self.line(self.sign_bytes(text.as_bytes()).to_vec())?;
        Note::new(text.to_owned(), vec![signature.clone()])?;
        Ok(signature)
    }

    pub(crate) fn sign_bytes(&self, message: &[u8]) -> [u8; 64] {
        self.key.sign(message).to_bytes()
    }

    pub(crate) fn line(&self, signature: Vec<u8>) -> Result<NoteSignature, NoteError> {
        NoteSignature::new(self.name().clone(), self.verifier.id(), signature)
            .ok_or(NoteError::NoSignatures)
    }
}

impl fmt::Debug for SignerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignerKey")
            .field("verifier", &self.verifier)
            .finish_non_exhaustive()
    }
}
